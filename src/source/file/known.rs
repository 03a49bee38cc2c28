//! Files that are known and not open: what the last run left, and what this one has let go. A file that comes back under another name, or from
//! a volume that was away, is not sent again. Bookkeeping; which file a path is, is for the reader to find out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, Metadata};
use std::os::unix::fs::DirEntryExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::identity::{FileId, has_content};
use crate::checkpoint::Entry;

/// How often it is looked whether the files are still there: microseconds.
const REFRESH_EVERY: u64 = 600 * 1_000_000;

/// Entries of files, by their place and by their path.
#[derive(Debug)]
pub struct Known {
    entries: BTreeMap<FileId, Entry>,
    paths: BTreeMap<String, BTreeSet<FileId>>,
    /// Microseconds after which a file that is not there any more is forgotten.
    expire_after: u64,
    refreshed: u64,
}

impl Known {
    /// Knows these.
    pub fn new(entries: Vec<Entry>, expire_after: Duration) -> Self {
        let mut known =
            Self { entries: BTreeMap::new(), paths: BTreeMap::new(), expire_after: micros(expire_after), refreshed: 0 };
        for entry in entries {
            // Of two with one place, the later one is true: an inode is used again.
            if known.entries.get(&place(&entry)).is_none_or(|other| other.seen <= entry.seen) {
                known.insert(entry);
            }
        }
        known
    }

    /// Forgets files that are gone after this time.
    pub fn set_expiry(&mut self, expire_after: Duration) {
        self.expire_after = micros(expire_after);
    }

    /// Takes in a file.
    pub fn insert(&mut self, entry: Entry) {
        let id = place(&entry);
        self.remove(id);
        self.paths.entry(entry.path.clone()).or_default().insert(id);
        self.entries.insert(id, entry);
    }

    /// Forgets a file.
    pub fn remove(&mut self, id: FileId) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        if let Some(ids) = self.paths.get_mut(&entry.path) {
            ids.remove(&id);
            if ids.is_empty() {
                self.paths.remove(&entry.path);
            }
        }
        Some(entry)
    }

    /// The entry of this file, if its content is what is known of it.
    pub fn of(&self, file: &File, metadata: &Metadata) -> std::io::Result<Option<&Entry>> {
        match self.entries.get(&FileId::of(metadata)) {
            Some(entry) if has_content(file, metadata, entry)? => Ok(Some(entry)),
            _ => Ok(None),
        }
    }

    /// Files that were last seen at this path.
    pub fn at_path(&self, path: &Path) -> impl Iterator<Item = &Entry> {
        let ids = path.to_str().and_then(|path| self.paths.get(path));
        ids.into_iter().flatten().filter_map(|id| self.entries.get(id))
    }

    /// All of them.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// Now and then: files that are where they were, under whatever name, are seen; those that have not been for long are forgotten.
    /// Answers whether any were.
    pub fn refresh(&mut self, now: u64) -> bool {
        if now < self.refreshed + REFRESH_EVERY {
            return false;
        }
        self.refreshed = now;
        let mut inodes: BTreeMap<PathBuf, BTreeSet<u64>> = BTreeMap::new();
        for entry in self.entries.values_mut() {
            let Some(dir) = Path::new(&entry.path).parent() else { continue };
            if !inodes.contains_key(dir) {
                let listed = std::fs::read_dir(dir).map(|files| files.flatten().map(|file| file.ino()).collect());
                inodes.insert(dir.to_owned(), listed.unwrap_or_default());
            }
            if inodes.get(dir).is_some_and(|inodes| inodes.contains(&entry.ino)) {
                entry.seen = now;
            }
        }
        let expired = |entry: &&Entry| now.saturating_sub(entry.seen) >= self.expire_after;
        let expired: Vec<FileId> = self.entries.values().filter(expired).map(place).collect();
        for id in &expired {
            self.remove(*id);
        }
        !expired.is_empty()
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Where an entry's file lies.
pub fn place(entry: &Entry) -> FileId {
    FileId { dev: entry.dev, ino: entry.ino }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    fn entry(path: &Path, ino: u64, seen: u64) -> Entry {
        Entry {
            path: path.display().to_string(),
            lane: None,
            dev: 1,
            ino,
            born: None,
            unproven: false,
            generation: ino,
            offset: 0,
            head_len: 0,
            head: 0,
            mark_len: 0,
            mark_end: 0,
            mark: 0,
            seen,
        }
    }

    #[test]
    fn a_file_is_forgotten_only_when_it_has_been_gone_for_long() {
        let dir = tempfile::tempdir().unwrap();
        let there = dir.path().join("there.log");
        std::fs::write(&there, "x").unwrap();
        let ino = std::fs::metadata(&there).unwrap().ino();
        let day = 24 * 3600 * 1_000_000;
        // It was renamed: the inode counts, not the name.
        let entries = vec![entry(&dir.path().join("old name.log"), ino, 1), entry(&there, ino + 1_000_000, 10 * day)];
        let mut known = Known::new(entries, Duration::from_micros(7 * day));
        assert!(!known.refresh(12 * day));
        assert_eq!(known.entries().count(), 2);
        assert!(known.refresh(17 * day));
        assert_eq!(known.entries().map(|e| e.ino).collect::<Vec<_>>(), [ino]);
        assert_eq!(known.at_path(&there).count(), 0);
        assert_eq!(known.at_path(&dir.path().join("old name.log")).count(), 1);
    }
}
