//! Which files the globs name right now. Looks at the file system, opens nothing, remembers nothing but what it warned of.
//!
//! The directories are walked here, one listing for each of them and one look at each file: what a scan costs decides how often there can
//! be one.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{DirEntry, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Group;
use super::identity::FileId;
use super::siblings;
use crate::heartbeat::{Beat, Doing};

/// Directories below one another that `**` goes into: deeper ones are a loop of mounts.
const MAX_DEPTH: usize = 64;
/// Paths that were warned of are remembered up to this number; beyond it a warning may come twice.
const MAX_WARNED: usize = 1024;

/// A regular file that a glob names.
#[derive(Debug)]
pub struct Candidate {
    /// The index of the first group that names it.
    pub group: usize,
    /// Where it is.
    pub path: PathBuf,
    /// Its other names, where it has hard links that a glob names too.
    pub others: Vec<PathBuf>,
    /// What a look at it said.
    pub metadata: Metadata,
}

/// What a scan found.
#[derive(Debug, Default)]
pub struct Scan {
    /// Files, each once however many globs or links name it.
    pub files: BTreeMap<FileId, Candidate>,
    /// Per group, what is compressed, no regular file, or cannot be looked at.
    pub ignored: BTreeMap<usize, i64>,
    /// The directories whose content decides what a scan finds.
    pub directories: BTreeSet<PathBuf>,
    /// What could not be looked at: that a file below is missing here does not mean that it is gone.
    failed: Vec<PathBuf>,
}

impl Scan {
    /// What could not be looked at.
    pub fn failed(&self) -> &[PathBuf] {
        &self.failed
    }

    /// Whether a look at this path can have failed.
    pub fn is_unsure_of(&self, path: &Path) -> bool {
        self.failed.iter().any(|failed| path.starts_with(failed))
    }
}

/// A glob, cut into what the names at one depth have to be.
#[derive(Debug, Clone)]
pub struct Glob {
    parts: Vec<Part>,
}

#[derive(Debug, Clone)]
enum Part {
    Name(String),
    Wild(glob::Pattern),
    /// `**`: any number of directories.
    Deep,
}

impl Glob {
    /// Compiles an absolute glob.
    pub fn new(glob: &str) -> Result<Self, glob::PatternError> {
        // As a whole first: its errors count characters from the beginning.
        glob::Pattern::new(glob)?;
        let part = |name: &str| match name {
            "**" => Ok(Part::Deep),
            name if name.contains(['*', '?', '[']) => glob::Pattern::new(name).map(Part::Wild),
            name => Ok(Part::Name(name.to_owned())),
        };
        let mut parts: Vec<Part> =
            glob.split('/').filter(|name| !name.is_empty() && *name != ".").map(part).collect::<Result<_, _>>()?;
        if matches!(parts.last(), Some(Part::Deep)) {
            // Whatever lies below.
            parts.push(Part::Wild(glob::Pattern::new("*")?));
        }
        Ok(Self { parts })
    }
}

/// Paths that are left out.
#[derive(Debug, Clone, Default)]
pub struct Excludes {
    /// Compared with whole paths.
    paths: Vec<glob::Pattern>,
    /// Compared with the last name of a path.
    names: Vec<glob::Pattern>,
}

impl Excludes {
    /// Compiles globs of absolute paths, or of names without a directory.
    pub fn new<'a>(globs: impl IntoIterator<Item = &'a str>) -> Result<Self, glob::PatternError> {
        let mut excludes = Self::default();
        for glob in globs {
            let pattern = glob::Pattern::new(glob)?;
            if glob.contains('/') { &mut excludes.paths } else { &mut excludes.names }.push(pattern);
        }
        Ok(excludes)
    }

    /// Whether this path is left out.
    pub fn has(&self, path: &Path) -> bool {
        let name = path.file_name().map(|name| name.to_string_lossy());
        self.paths.iter().any(|p| p.matches_path(path))
            || name.is_some_and(|name| self.names.iter().any(|p| p.matches(&name)))
    }
}

/// Runs the globs.
#[derive(Debug, Default)]
pub struct Discovery {
    warned: BTreeSet<PathBuf>,
    beat: Arc<Beat>,
}

/// One glob's walk.
struct Walk<'a> {
    group: usize,
    excludes: &'a Excludes,
    scan: &'a mut Scan,
    warned: &'a mut BTreeSet<PathBuf>,
    beat: &'a Beat,
}

impl Discovery {
    /// One that says at every step that it moves: a slow file system with many files is no standstill.
    pub fn new(beat: Arc<Beat>) -> Self {
        Self { warned: BTreeSet::new(), beat }
    }

    /// Looks at every path that a group's globs name.
    pub fn scan(&mut self, groups: &[Group]) -> Scan {
        let mut scan = Scan::default();
        for (group, config) in groups.iter().enumerate() {
            for glob in &config.globs {
                let excludes = &config.excludes;
                let (warned, beat) = (&mut self.warned, &*self.beat);
                let mut walk = Walk { group, excludes, scan: &mut scan, warned, beat };
                walk.descend(&PathBuf::from("/"), &glob.parts, 0);
            }
        }
        scan
    }
}

impl Walk<'_> {
    fn descend(&mut self, dir: &Path, parts: &[Part], depth: usize) {
        match parts {
            [] => {}
            [Part::Name(name)] => {
                self.scan.directories.insert(dir.to_owned());
                self.look_at(dir.join(name), true);
            }
            [Part::Name(name), rest @ ..] => self.descend(&dir.join(name), rest, depth),
            [Part::Wild(pattern), rest @ ..] => {
                for entry in self.list(dir) {
                    if !pattern.matches(&entry.file_name().to_string_lossy()) {
                        continue;
                    }
                    if rest.is_empty() {
                        self.look_at(entry.path(), false);
                    } else if is_directory(&entry, true) && !self.excludes.has(&entry.path()) {
                        self.descend(&entry.path(), rest, depth);
                    }
                }
            }
            [Part::Deep, rest @ ..] => {
                self.descend(dir, rest, depth);
                if depth == MAX_DEPTH {
                    return self.fail(dir, "it lies too deep; is one directory mounted below itself?");
                }
                for entry in self.list(dir) {
                    // Links to directories are not followed here: they may lead upwards.
                    if is_directory(&entry, false) && !self.excludes.has(&entry.path()) {
                        self.descend(&entry.path(), parts, depth + 1);
                    }
                }
            }
        }
    }

    fn list(&mut self, dir: &Path) -> Vec<DirEntry> {
        self.beat.at(Doing::Scans);
        self.scan.directories.insert(dir.to_owned());
        match std::fs::read_dir(dir) {
            Ok(entries) => {
                entries.filter_map(|entry| entry.inspect_err(|error| self.fail(dir, &error.to_string())).ok()).collect()
            }
            // It does not exist yet, or is a file where another path has a directory.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Vec::new(),
            Err(error) => {
                self.fail(dir, &error.to_string());
                Vec::new()
            }
        }
    }

    fn look_at(&mut self, path: PathBuf, named: bool) {
        if self.excludes.has(&path) {
            return;
        }
        if siblings::is_compressed(&path) {
            if named {
                self.warn_once(&path, "its name says that it is compressed");
            }
            *self.scan.ignored.entry(self.group).or_default() += 1;
            return;
        }
        self.beat.at(Doing::Scans);
        // Links are followed: the file that counts is the one that is written to.
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => {
                let id = FileId::of(&metadata);
                match self.scan.files.entry(id) {
                    Entry::Vacant(place) => {
                        place.insert(Candidate { group: self.group, path, others: Vec::new(), metadata });
                    }
                    Entry::Occupied(mut found) => {
                        let found = found.get_mut();
                        if metadata.nlink() > 1 && found.path != path && !found.others.contains(&path) {
                            found.others.push(path);
                        }
                    }
                }
            }
            Ok(metadata) if metadata.is_dir() && !named => {}
            Ok(metadata) => {
                *self.scan.ignored.entry(self.group).or_default() += 1;
                self.warn_once(&path, kind(&metadata));
            }
            // It went away between the two looks, or is a link to what is not there yet.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(error) => self.fail(&path, &error.to_string()),
        }
    }

    fn fail(&mut self, path: &Path, why: &str) {
        *self.scan.ignored.entry(self.group).or_default() += 1;
        self.warn_once(path, why);
        self.scan.failed.push(path.to_owned());
    }

    fn warn_once(&mut self, path: &Path, why: &str) {
        if self.warned.len() < MAX_WARNED && self.warned.insert(path.to_owned()) {
            tracing::warn!(path = %path.display(), why, "a path that the globs name is not read; only regular files are");
        }
    }
}

fn is_directory(entry: &DirEntry, follow: bool) -> bool {
    match entry.file_type() {
        Ok(kind) if kind.is_symlink() => follow && std::fs::metadata(entry.path()).is_ok_and(|m| m.is_dir()),
        Ok(kind) => kind.is_dir(),
        Err(_) => false,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn found(root: &Path, glob: &str, excludes: &[&str]) -> Vec<String> {
        let glob = Glob::new(&format!("{}/{glob}", root.display())).unwrap();
        let excludes: Vec<String> = excludes
            .iter()
            .map(|e| if e.contains('/') { format!("{}/{e}", root.display()) } else { (*e).to_owned() })
            .collect();
        let excludes = Excludes::new(excludes.iter().map(String::as_str)).unwrap();
        let (mut scan, mut warned) = (Scan::default(), BTreeSet::new());
        let beat = &Beat::default();
        let mut walk = Walk { group: 0, excludes: &excludes, scan: &mut scan, warned: &mut warned, beat };
        walk.descend(Path::new("/"), &glob.parts, 0);
        let name = |c: &Candidate| c.path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
        let mut names: Vec<String> = scan.files.values().map(name).collect();
        names.sort();
        names
    }

    #[test]
    fn globs_name_what_they_say() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for path in ["a.log", "b.txt", "x/a.log", "x/y/b.log", "x/y/b.log.gz", "x/y/z/c.log", "w/a.log"] {
            std::fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            std::fs::write(root.join(path), "").unwrap();
        }
        std::os::unix::fs::symlink(root.join("x"), root.join("link")).unwrap();
        std::os::unix::fs::symlink(root, root.join("x/loop")).unwrap();
        for (glob, excludes, want) in [
            ("a.log", &[][..], &["a.log"][..]),
            ("*.log", &[], &["a.log"]),
            ("[ab].*", &["*.txt"], &["a.log"]),
            ("*/a.log", &[], &["link/a.log", "w/a.log"]),
            ("x/**/*.log", &[], &["x/a.log", "x/y/b.log", "x/y/z/c.log"]),
            ("**/b.log", &[], &["x/y/b.log"]),
            ("x/y/**", &[], &["x/y/b.log", "x/y/z/c.log"]),
            ("**/*.log", &["x/y/**", "w/*"], &["a.log", "x/a.log"]),
            ("x/**/*.log", &["x/y"], &["x/a.log"]),
            ("missing/*/a.log", &[], &[]),
        ] {
            let mut got = found(root, glob, excludes);
            // One file by two paths is found by one of them.
            got.iter_mut().filter(|p| *p == "x/a.log" && glob == "*/a.log").for_each(|p| *p = "link/a.log".to_owned());
            got.sort();
            assert_eq!(got, want, "{glob}");
        }
    }

    #[test]
    fn what_cannot_be_listed_is_not_taken_for_empty() {
        let mut scan = Scan::default();
        scan.failed.push(PathBuf::from("/var/log/private"));
        assert!(scan.is_unsure_of(Path::new("/var/log/private/a/b.log")));
        assert!(!scan.is_unsure_of(Path::new("/var/log/privateer.log")));
    }
}
