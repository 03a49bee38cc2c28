//! Why a path cannot be used by this process, down to the component that stands in the way, and what changes that.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use rustix::process::{getegid, geteuid, getgroups};

/// Links that are followed, as the system has it.
const MAX_LINKS: usize = 40;

/// What is wanted of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// To read a file.
    Read,
    /// To list a directory and open what is in it.
    List,
    /// To go through a directory.
    Search,
    /// To make files in a directory.
    Write,
}

impl Want {
    fn access(self) -> Access {
        match self {
            Self::Read => Access::READ_OK,
            Self::List => Access::READ_OK | Access::EXEC_OK,
            Self::Search => Access::EXEC_OK,
            Self::Write => Access::WRITE_OK | Access::EXEC_OK,
        }
    }

    /// The bits of a mode that it takes, for others.
    fn bits(self) -> u32 {
        match self {
            Self::Read => 0o4,
            Self::List => 0o5,
            Self::Search => 0o1,
            Self::Write => 0o3,
        }
    }

    fn letters(self) -> &'static str {
        match self {
            Self::Read => "r",
            Self::List => "rx",
            Self::Search => "x",
            Self::Write => "wx",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::List => "listed",
            Self::Search => "entered",
            Self::Write => "written to",
        }
    }
}

/// Something that stands in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// What.
    pub path: PathBuf,
    /// What is wanted of it.
    pub want: Want,
    owner: u32,
    group: u32,
    mode: u32,
}

/// What is in the way of a path, if anything is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// It is not allowed.
    Denied(Denied),
    /// This does not exist.
    Missing(PathBuf),
    /// Something else, in the system's words.
    Other(PathBuf, String),
}

/// Looks for what is in the way of a path, component by component and through links.
pub fn obstacle(path: &Path, want: Want) -> Option<Obstacle> {
    look(path, want, 0)
}

fn look(path: &Path, want: Want, links: usize) -> Option<Obstacle> {
    if links > MAX_LINKS {
        return Some(Obstacle::Other(path.to_owned(), "a loop of links".to_owned()));
    }
    let mut sofar = PathBuf::new();
    let mut components = path.components().peekable();
    while let Some(component) = components.next() {
        sofar.push(component);
        let last = components.peek().is_none();
        let want = if last { want } else { Want::Search };
        match std::fs::symlink_metadata(&sofar) {
            Ok(metadata) if metadata.is_symlink() => {
                let target = std::fs::read_link(&sofar).ok()?;
                let target = sofar.parent().map_or_else(|| target.clone(), |parent| parent.join(&target));
                if let Some(found) = look(&target, want, links + 1) {
                    return Some(found);
                }
            }
            Ok(metadata) => match access(&sofar, want.access()) {
                Ok(()) => {}
                Err(rustix::io::Errno::ACCESS) => return Some(Obstacle::Denied(Denied::new(sofar, want, &metadata))),
                Err(error) => return Some(Obstacle::Other(sofar, io::Error::from(error).to_string())),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Some(Obstacle::Missing(sofar)),
            Err(error) => return Some(Obstacle::Other(sofar, error.to_string())),
        }
    }
    None
}

impl Denied {
    fn new(path: PathBuf, want: Want, metadata: &Metadata) -> Self {
        let (owner, group, mode) = (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777);
        Self { path, want, owner, group, mode }
    }

    /// What was seen.
    pub fn said(&self) -> String {
        let Self { path, want, owner, group, mode } = self;
        let groups = getgroups().unwrap_or_default();
        let groups: Vec<String> = groups.iter().map(|group| group.as_raw().to_string()).collect();
        let me = format!("uid {}, gid {}, groups {}", geteuid().as_raw(), getegid().as_raw(), groups.join(" "));
        format!(
            "{} cannot be {}: it belongs to {owner}:{group} with mode {mode:04o}, and this process has {me}",
            path.display(),
            want.words()
        )
    }

    /// What changes it.
    pub fn fix(&self) -> String {
        let Self { path, want, owner, group, mode } = self;
        let chmod = format!("chmod o+{} '{}'", want.letters(), path.display());
        if (mode >> 3) & want.bits() == want.bits() {
            return format!(
                "add this process to the group: securityContext: {{fsGroup: {group}}} of the pod (supplementalGroups: [{group}] for a hostPath), --group-add {group} of docker; or: {chmod}"
            );
        }
        let g = format!(
            "chmod g+{} '{}' with securityContext: {{fsGroup: {group}}} of the pod",
            want.letters(),
            path.display()
        );
        format!("{chmod}; or {g}; or run as its owner: securityContext: {{runAsUser: {owner}}}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied(want: Want, mode: u32) -> Denied {
        Denied { path: "/var/log/app".into(), want, owner: 1000, group: 2000, mode }
    }

    #[test]
    fn the_fix_is_what_the_mode_leaves_to_do() {
        assert!(
            denied(Want::List, 0o750)
                .fix()
                .starts_with("add this process to the group: securityContext: {fsGroup: 2000}")
        );
        let fix = denied(Want::List, 0o700).fix();
        assert!(fix.starts_with("chmod o+rx '/var/log/app'") && fix.contains("runAsUser: 1000"), "{fix}");
        assert!(denied(Want::Read, 0o600).fix().starts_with("chmod o+r "));
        assert!(denied(Want::Read, 0o640).said().contains("1000:2000 with mode 0640"));
    }

    #[test]
    fn what_is_missing_is_found_through_links() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        std::fs::create_dir(dir.join("a")).unwrap();
        std::os::unix::fs::symlink("a", dir.join("link")).unwrap();
        std::os::unix::fs::symlink("loop", dir.join("loop")).unwrap();
        assert_eq!(obstacle(&dir.join("link"), Want::List), None);
        assert_eq!(obstacle(&dir.join("link/b/c"), Want::Read), Some(Obstacle::Missing(dir.join("link/b"))));
        assert!(
            matches!(obstacle(&dir.join("loop"), Want::Read), Some(Obstacle::Other(_, why)) if why.contains("loop"))
        );
    }
}
