//! Where reading resumes: what is committed of each file, on disk, so that a restart reads everything else again and nothing twice.
//!
//! Two files. `checkpoint.json` names every file by its identity and is replaced atomically (written aside, synced, renamed, directory
//! synced) about once a second. `offsets.journal` has a slot a file, overwritten in place without a sync whenever something is settled:
//! it survives a killed process, and a power failure costs at most what the checkpoint is old. A slot is believed only if its
//! check sum holds and the checkpoint knows the file, so neither a torn nor a stale one can do harm.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::kinesis::md5;

/// The version of the format that this program writes, and the newest that it reads.
const VERSION: u32 = 1;
const FILE_NAME: &str = "checkpoint.json";
const TMP_NAME: &str = "checkpoint.json.tmp";
const CORRUPT_NAME: &str = "checkpoint.json.corrupt";
const JOURNAL_NAME: &str = "offsets.journal";
/// What an agent holds a lock on for as long as it runs.
pub const LOCK_NAME: &str = "kinetail.lock";
/// Far more than a hundred thousand files take.
const MAX_BYTES: u64 = 256 << 20;

/// What the checkpoint knows of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Where it was last seen. For people, and for finding its successor; the identity is in what follows.
    pub path: String,
    /// Where it was when its events got their order, if that was elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lane: Option<String>,
    /// The device that it lies on.
    pub dev: u64,
    /// Its inode.
    pub ino: u64,
    /// When the inode was made, in nanoseconds since 1970, where the file system tells: it is another file's if that differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub born: Option<u64>,
    /// Nothing of it was read, since it may be a copy that is being made of another file.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unproven: bool,
    /// Told apart from an earlier content under the same inode.
    pub generation: u64,
    /// Every byte before this one is delivered, or dropped under a counted reason.
    pub offset: u64,
    /// How many bytes at its start were fingerprinted.
    pub head_len: u64,
    /// Their fingerprint.
    pub head: u64,
    /// How many bytes before [`Entry::mark_end`] were fingerprinted.
    pub mark_len: u64,
    /// Where those bytes end: as a rule at the offset, and never behind what was read.
    pub mark_end: u64,
    /// Their fingerprint.
    pub mark: u64,
    /// When it was last there: the last look at all files, in microseconds since 1970.
    pub seen: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Document {
    version: u32,
    files: Vec<Entry>,
}

/// What a start found.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// No checkpoint: the first start with this state directory.
    Nothing,
    /// What the last run left.
    Entries(Vec<Entry>),
    /// A checkpoint that cannot be read; it was moved aside. All files are read from their beginning, whatever `start_at` says.
    Corrupt {
        /// Where it lies now.
        aside: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be made, or a file in it cannot be opened.
    #[error(
        "state_dir {path}: {source}; this process must be able to write there: mount a writable volume, or set state_dir (KINETAIL_STATE_DIR) to one"
    )]
    Unusable {
        /// The path.
        path: PathBuf,
        /// What the file system says.
        source: std::io::Error,
    },
    /// Another agent works with it.
    #[error(
        "state_dir {path} is in use by another kinetail; give each agent a state_dir of its own, or stop the other one"
    )]
    Locked {
        /// The path.
        path: PathBuf,
    },
    /// It was written by a later version.
    #[error(
        "{path} has version {version}, and this kinetail knows versions up to {VERSION}; run the newer kinetail again, or remove the file to read all logs from their beginning"
    )]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
}

/// The state directory, held by this process alone.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    /// Holds the lock for as long as it is open.
    _lock: File,
}

impl StateDir {
    /// Makes the directory if it is missing, and locks it.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let unusable = |source| Error::Unusable { path: path.to_owned(), source };
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(unusable)?;
        let lock = private().create(true).truncate(false).open(path.join(LOCK_NAME)).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(std::fs::TryLockError::WouldBlock) => Err(Error::Locked { path: path.to_owned() }),
            // A file system without locks: better to run unguarded than not at all.
            Err(std::fs::TryLockError::Error(error)) => {
                tracing::warn!(%error, path = %path.display(), "state_dir cannot be locked; make sure that no other agent uses it");
                Ok(Self { path: path.to_owned(), _lock: lock })
            }
        }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads what the last run left: the checkpoint, and the journal's newer offsets.
    pub fn load(&self) -> Result<Found, Error> {
        let path = self.path.join(FILE_NAME);
        let unusable = |source| Error::Unusable { path: path.clone(), source };
        let mut text = Vec::new();
        match File::open(&path) {
            Ok(file) => file.take(MAX_BYTES).read_to_end(&mut text).map_err(unusable)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                // A start that found a corrupt one may have ended before it wrote its own.
                let aside = self.path.join(CORRUPT_NAME);
                let why = "it was moved aside by an earlier start".to_owned();
                return Ok(if aside.exists() { Found::Corrupt { aside, why } } else { Found::Nothing });
            }
            Err(error) => return Err(unusable(error)),
        };
        if let Ok(Version { version }) = serde_json::from_slice(&text)
            && version > VERSION
        {
            return Err(Error::TooNew { path, version });
        }
        match serde_json::from_slice::<Document>(&text) {
            Ok(document) => {
                let mut entries = document.files;
                let journal = read_journal(&self.path.join(JOURNAL_NAME));
                for entry in &mut entries {
                    if let Some(slot) = journal.get(&entry.generation) {
                        slot.update(entry);
                    }
                }
                Ok(Found::Entries(entries))
            }
            Err(error) => {
                let aside = self.path.join(CORRUPT_NAME);
                std::fs::rename(&path, &aside).map_err(unusable)?;
                Ok(Found::Corrupt { aside, why: error.to_string() })
            }
        }
    }

    /// Replaces the checkpoint.
    pub fn store(&self, entries: Vec<Entry>) -> std::io::Result<()> {
        let text = serde_json::to_vec_pretty(&Document { version: VERSION, files: entries })?;
        let tmp = self.path.join(TMP_NAME);
        let mut file = private().create(true).truncate(true).open(&tmp)?;
        file.write_all(&text)?;
        file.sync_all()?;
        std::fs::rename(&tmp, self.path.join(FILE_NAME))?;
        File::open(&self.path)?.sync_all()
    }

    /// An empty journal.
    pub fn journal(&self) -> std::io::Result<Journal> {
        let file = private().create(true).truncate(true).open(self.path.join(JOURNAL_NAME))?;
        Ok(Journal { file, slots: BTreeMap::new(), free: Vec::new() })
    }
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

/// Log content is recognisable in fingerprints and paths: only this user reads them.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

/// What the journal notes of a file between two checkpoints. A file's first bytes are part of it, since they may all have come since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// Which file, as [`Entry::generation`] says it.
    pub generation: u64,
    /// [`Entry::offset`].
    pub offset: u64,
    /// [`Entry::head_len`].
    pub head_len: u64,
    /// [`Entry::head`].
    pub head: u64,
    /// [`Entry::mark_len`], of the bytes before this offset; 0 if they could not be had.
    pub mark_len: u64,
    /// [`Entry::mark`].
    pub mark: u64,
}

/// The fields of a slot and its check sum, 8 bytes each.
const SLOT_BYTES: usize = 56;

impl Slot {
    fn bytes(&self) -> [u8; SLOT_BYTES] {
        let mut bytes = [0; SLOT_BYTES];
        let (fields, check) = bytes.split_at_mut(SLOT_BYTES - 8);
        let values = [self.generation, self.offset, self.head_len, self.head, self.mark_len, self.mark];
        for (place, field) in fields.as_chunks_mut::<8>().0.iter_mut().zip(values) {
            *place = field.to_le_bytes();
        }
        check.copy_from_slice(&fingerprint(fields).to_le_bytes());
        bytes
    }

    /// The slot that these bytes are, unless they are torn.
    fn read(bytes: &[u8; SLOT_BYTES]) -> Option<Self> {
        let [generation, offset, head_len, head, mark_len, mark, check] =
            std::array::from_fn(|i| u64::from_le_bytes(std::array::from_fn(|b| bytes[i * 8 + b])));
        (fingerprint(&bytes[..SLOT_BYTES - 8]) == check).then_some(Self {
            generation,
            offset,
            head_len,
            head,
            mark_len,
            mark,
        })
    }

    fn update(&self, entry: &mut Entry) {
        if self.offset >= entry.offset {
            entry.offset = self.offset;
            if self.mark_len > 0 {
                (entry.mark_end, entry.mark_len, entry.mark) = (self.offset, self.mark_len, self.mark);
            }
        }
        if self.head_len > entry.head_len {
            (entry.head_len, entry.head) = (self.head_len, self.head);
        }
    }
}

/// Committed offsets between two checkpoints.
#[derive(Debug)]
pub struct Journal {
    file: File,
    slots: BTreeMap<u64, u64>,
    free: Vec<u64>,
}

impl Journal {
    /// Notes how far a file is.
    pub fn note(&mut self, slot: &Slot) -> std::io::Result<()> {
        let next = self.slots.len() as u64;
        let place = *self.slots.entry(slot.generation).or_insert_with(|| self.free.pop().unwrap_or(next));
        self.file.write_all_at(&slot.bytes(), place * SLOT_BYTES as u64)
    }

    /// Frees the slot of a file that is done with.
    pub fn forget(&mut self, generation: u64) {
        // `next` above counts slots in use: a freed one is reused before a new one is made.
        if let Some(slot) = self.slots.remove(&generation) {
            self.free.push(slot);
        }
    }
}

fn read_journal(path: &Path) -> BTreeMap<u64, Slot> {
    let mut slots: BTreeMap<u64, Slot> = BTreeMap::new();
    let mut bytes = Vec::new();
    let Ok(file) = File::open(path) else { return slots };
    if file.take(MAX_BYTES).read_to_end(&mut bytes).is_err() {
        return slots;
    }
    for slot in bytes.as_chunks::<SLOT_BYTES>().0.iter().filter_map(Slot::read) {
        let known = slots.entry(slot.generation).or_insert(slot);
        if slot.offset > known.offset {
            *known = slot;
        }
    }
    slots
}

/// 64 bits of a hash: enough to tell files apart, and nobody's log can be read from it.
pub fn fingerprint(bytes: &[u8]) -> u64 {
    let digest = md5::digest(bytes);
    u64::from_le_bytes(std::array::from_fn(|i| digest[i]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(generation: u64, offset: u64) -> Entry {
        Entry {
            path: "/x".to_owned(),
            lane: None,
            dev: 1,
            ino: 2,
            born: None,
            unproven: false,
            generation,
            offset,
            head_len: 3,
            head: u64::MAX,
            mark_len: 4,
            mark_end: offset,
            mark: 5,
            seen: 6,
        }
    }

    #[test]
    fn what_is_stored_is_found_with_the_journals_newer_offsets() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(&dir.path().join("a/b")).unwrap();
        assert_eq!(state.load().unwrap(), Found::Nothing);
        state.store(vec![entry(7, 100), entry(8, 100), entry(9, 100)]).unwrap();
        let mut journal = state.journal().unwrap();
        for (generation, offset, head_len) in [(7, 50, 2), (8, 150, 9), (8, 170, 200), (1, 1000, 1)] {
            journal.note(&Slot { generation, offset, head_len, head: 77, mark_len: 0, mark: 0 }).unwrap();
        }
        let Found::Entries(entries) = state.load().unwrap() else { panic!() };
        assert_eq!(entries.iter().map(|e| e.offset).collect::<Vec<_>>(), [100, 170, 100]);
        assert_eq!(entries.iter().map(|e| e.head_len).collect::<Vec<_>>(), [3, 200, 3]);
        assert_eq!(entries[1].head, 77);
    }

    #[test]
    fn a_torn_slot_is_not_believed_and_a_freed_one_is_used_again() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        state.store(vec![entry(7, 10), entry(8, 10)]).unwrap();
        let mut journal = state.journal().unwrap();
        let note = |journal: &mut Journal, generation, offset| {
            journal.note(&Slot { generation, offset, head_len: 0, head: 0, mark_len: 0, mark: 0 }).unwrap();
        };
        note(&mut journal, 7, 20);
        note(&mut journal, 8, 20);
        journal.forget(7);
        note(&mut journal, 9, 5);
        note(&mut journal, 8, 30);
        let file = dir.path().join(JOURNAL_NAME);
        assert_eq!(std::fs::metadata(&file).unwrap().len(), 2 * SLOT_BYTES as u64);
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[SLOT_BYTES + 9] ^= 1;
        std::fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
        let Found::Entries(entries) = state.load().unwrap() else { panic!() };
        assert_eq!(entries.iter().map(|e| e.offset).collect::<Vec<_>>(), [10, 10]);
    }

    #[test]
    fn a_corrupt_checkpoint_is_moved_aside_and_a_newer_one_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        let file = dir.path().join(FILE_NAME);
        for bad in ["", "{", "{\"version\":1,\"files\":[{}]}", "\0\0\0"] {
            std::fs::write(&file, bad).unwrap();
            assert!(matches!(state.load().unwrap(), Found::Corrupt { .. }), "{bad}");
            assert!(!file.exists() && dir.path().join(CORRUPT_NAME).exists());
        }
        std::fs::write(&file, "{\"version\":2,\"shape\":\"unknown\"}").unwrap();
        let error = state.load().unwrap_err();
        assert!(matches!(error, Error::TooNew { version: 2, .. }), "{error}");
        assert!(file.exists());
    }

    #[test]
    fn a_second_agent_is_kept_out() {
        let dir = tempfile::tempdir().unwrap();
        let first = StateDir::open(dir.path()).unwrap();
        assert!(matches!(StateDir::open(dir.path()), Err(Error::Locked { .. })));
        drop(first);
        StateDir::open(dir.path()).unwrap();
    }
}
