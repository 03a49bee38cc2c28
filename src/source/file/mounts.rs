//! Which file systems send no events of what others write: network and FUSE mounts. Reads the kernel's table of mounts.

use std::path::{Path, PathBuf};

/// File systems on which inotify sees only what this machine, or this container, writes.
const SILENT: [&str; 10] = ["nfs", "nfs4", "cifs", "smb3", "9p", "virtiofs", "ceph", "lustre", "glusterfs", "afs"];

/// The mounts that a look at a path has to know.
#[derive(Debug, Default)]
pub struct Mounts {
    /// Mount points and types, in the order in which they were mounted.
    mounts: Vec<(PathBuf, String)>,
}

impl Mounts {
    /// The mounts that this process sees.
    pub fn read() -> Self {
        Self::parse(&std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default())
    }

    /// The type of the file system that a path lies on, if it is a silent one.
    pub fn kind_of(&self, path: &Path) -> Option<&str> {
        let over = self.mounts.iter().filter(|(point, _)| path.starts_with(point));
        // The deepest one; of several at one point, the last one mounted.
        let (_, kind) = over.max_by_key(|(point, _)| point.as_os_str().len())?;
        is_silent(kind).then_some(kind)
    }

    fn parse(table: &str) -> Self {
        let mounts = table.lines().filter_map(|line| {
            // 36 35 98:0 /root /point options - type source options
            let (before, after) = line.split_once(" - ")?;
            let point = before.split(' ').nth(4)?;
            Some((PathBuf::from(unescape(point)), after.split(' ').next()?.to_owned()))
        });
        Self { mounts: mounts.collect() }
    }
}

fn is_silent(kind: &str) -> bool {
    SILENT.contains(&kind) || kind == "fuse" || kind.starts_with("fuse.")
}

/// Space, tab, newline and backslash are written in octal.
fn unescape(point: &str) -> String {
    point.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_mount_counts() {
        let mounts = Mounts::parse(
            "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
             40 22 0:50 / /mnt/efs rw,relatime shared:1 - nfs4 fs-1:/ rw\n\
             41 40 8:2 / /mnt/efs/local rw - xfs /dev/sdb rw\n\
             42 22 0:51 / /mnt/my\\040logs rw - fuse.s3fs s3fs rw\n",
        );
        for (path, want) in [
            ("/var/log", None),
            ("/mnt/efs/app", Some("nfs4")),
            ("/mnt/efs/local/app", None),
            ("/mnt/my logs/x", Some("fuse.s3fs")),
            ("/mnt/efsx", None),
        ] {
            assert_eq!(mounts.kind_of(Path::new(path)), want, "{path}");
        }
    }
}
