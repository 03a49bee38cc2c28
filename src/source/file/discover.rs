//! Which files the globs name right now. Looks at the file system, opens nothing, remembers nothing but what it warned of.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::path::{Path, PathBuf};

use super::Group;
use super::identity::FileId;

/// A regular file that a glob names.
#[derive(Debug)]
pub struct Candidate {
    /// The index of the first group that names it.
    pub group: usize,
    /// Where it is.
    pub path: PathBuf,
    /// What a look at it said.
    pub metadata: Metadata,
}

/// What a scan found.
#[derive(Debug, Default)]
pub struct Scan {
    /// Files, each once however many globs or links name it.
    pub files: BTreeMap<FileId, Candidate>,
    /// Per group, what is no regular file, or cannot be looked at.
    pub ignored: BTreeMap<usize, i64>,
    /// Something could not be looked at: that a file is missing here does not mean that it is gone.
    pub incomplete: bool,
}

/// Runs the globs.
#[derive(Debug, Default)]
pub struct Discovery {
    warned: BTreeSet<PathBuf>,
}

/// Paths that were warned of are remembered up to this number; beyond it a warning may come twice.
const MAX_WARNED: usize = 1024;

impl Discovery {
    /// Looks at every path that a group's globs name.
    pub fn scan(&mut self, groups: &[Group]) -> Scan {
        let mut scan = Scan::default();
        for (group, config) in groups.iter().enumerate() {
            for pattern in &config.patterns {
                self.scan_pattern(group, pattern.as_str(), &mut scan);
            }
        }
        scan
    }

    fn scan_pattern(&mut self, group: usize, pattern: &str, scan: &mut Scan) {
        let Ok(paths) = glob::glob(pattern) else { return };
        for found in paths {
            let (path, looked) = match found {
                Ok(path) => {
                    // Links are followed: the file that counts is the one that is written to.
                    let looked = std::fs::metadata(&path);
                    (path, looked)
                }
                Err(error) => (error.path().to_owned(), Err(std::io::Error::from(error))),
            };
            match looked {
                Ok(metadata) if metadata.is_file() => {
                    let id = FileId::of(&metadata);
                    scan.files.entry(id).or_insert(Candidate { group, path, metadata });
                }
                Ok(metadata) => {
                    *scan.ignored.entry(group).or_default() += 1;
                    self.warn_once(&path, kind(&metadata));
                }
                // It went away between the two looks.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    scan.incomplete = true;
                    *scan.ignored.entry(group).or_default() += 1;
                    self.warn_once(&path, &error.to_string());
                }
            }
        }
    }

    fn warn_once(&mut self, path: &Path, why: &str) {
        if self.warned.len() < MAX_WARNED && self.warned.insert(path.to_owned()) {
            tracing::warn!(path = %path.display(), why, "a path that the globs name is not read; only regular files are");
        }
    }
}

fn kind(metadata: &Metadata) -> &'static str {
    use std::os::unix::fs::FileTypeExt as _;
    let kind = metadata.file_type();
    match () {
        () if kind.is_dir() => "it is a directory",
        () if kind.is_fifo() => "it is a FIFO",
        () if kind.is_socket() => "it is a socket",
        () => "it is a device",
    }
}

/// The directory of a glob that does not depend on its wildcards.
pub fn fixed_directory(pattern: &str) -> PathBuf {
    let path = Path::new(pattern);
    let wild = |part: &std::ffi::OsStr| part.to_string_lossy().contains(['*', '?', '[']);
    let fixed: PathBuf = path.iter().take_while(|part| !wild(part)).collect();
    if fixed == path { fixed.parent().map_or(fixed.clone(), Path::to_owned) } else { fixed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fixed_part_ends_before_the_first_wildcard() {
        for (glob, want) in [
            ("/var/log/app.log", "/var/log"),
            ("/var/log/*.log", "/var/log"),
            ("/var/log/pods/*/x/*.log", "/var/log/pods"),
            ("/*", "/"),
        ] {
            assert_eq!(fixed_directory(glob), Path::new(want), "{glob}");
        }
    }
}
