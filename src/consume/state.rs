//! The state file of a consumer: how far each shard is read, replaced atomically, and held by one process.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::lineage::Progress;
use crate::kinesis::client::Place;

/// The version of the format that this program writes, and the only one that there is.
const VERSION: u32 = 1;

/// Why the state file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read or written.
    #[error("--state {path}: {source}; give a file in a directory where this process may write")]
    Unusable {
        /// The path.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Another consumer goes on from it.
    #[error(
        "--state {path} is in use by another kinetail; give each consumer a state file of its own, or stop the other one"
    )]
    Locked {
        /// The path.
        path: PathBuf,
    },
    /// It holds something else.
    #[error("--state {path} is no state file of kinetail: {why}; give another file, or remove it to begin at --from")]
    Unreadable {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// It is about another stream.
    #[error(
        "--state {path} is of the stream {theirs}, and {ours} is to be read; give each stream a state file of its own"
    )]
    OtherStream {
        /// The path.
        path: PathBuf,
        /// The stream in it.
        theirs: String,
        /// The one that is to be read.
        ours: String,
    },
}

/// How far a shard is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Saved {
    /// Up to the record with this sequence number.
    After(String),
    /// Up to what arrived at this time, in milliseconds since 1970.
    Since(u64),
    /// Nothing yet.
    Horizon,
    /// To its end.
    Finished,
}

/// Where the output was when the shards were there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// The file's device and inode: another file in its place is none of ours.
    pub file: (u64, u64),
    /// How long it was.
    pub bytes: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Document {
    version: u32,
    stream: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    output: Option<Written>,
    shards: BTreeMap<String, Saved>,
}

/// What the last run left.
#[derive(Debug, Default)]
pub struct Resumed {
    /// How far each shard is read.
    pub shards: BTreeMap<String, Progress>,
    /// Where the output was.
    pub output: Option<Written>,
}

/// A state file, held by this process alone.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
    stream: String,
    /// Reading began at this time, which stands for the tip of shards that had nothing since.
    began: SystemTime,
    /// Holds the lock for as long as it is open.
    _lock: File,
}

impl StateFile {
    /// Locks it, and reads what the last run left, if there was one.
    pub fn open(path: &Path, stream: &str, began: SystemTime) -> Result<(Self, Option<Resumed>), Error> {
        let unusable = |source| Error::Unusable { path: path.to_owned(), source };
        // The file itself is replaced at every save, and a lock goes with the inode.
        let lock = OpenOptions::new().write(true).create(true).truncate(false).open(beside(path, "lock"));
        let lock = lock.map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Err(Error::Locked { path: path.to_owned() }),
            Err(std::fs::TryLockError::Error(source)) => return Err(unusable(source)),
        }
        let resumed = match std::fs::read(path) {
            Ok(text) => Some(read(path, &text, stream)?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(unusable(error)),
        };
        Ok((Self { path: path.to_owned(), stream: stream.to_owned(), began, _lock: lock }, resumed))
    }

    /// Replaces what is saved.
    pub fn store<'a>(
        &self,
        shards: impl Iterator<Item = (&'a str, Progress)>,
        output: Option<Written>,
    ) -> Result<(), Error> {
        let shards = shards.map(|(id, progress)| (id.to_owned(), self.saved(progress))).collect();
        let document = Document { version: VERSION, stream: self.stream.clone(), output, shards };
        self.replace(&document).map_err(|source| Error::Unusable { path: self.path.clone(), source })
    }

    fn saved(&self, progress: Progress) -> Saved {
        let millis = |time: SystemTime| {
            let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        };
        match progress {
            Progress::Finished => Saved::Finished,
            Progress::At(Place::Horizon) => Saved::Horizon,
            Progress::At(Place::Latest) => Saved::Since(millis(self.began)),
            Progress::At(Place::Time(time)) => Saved::Since(millis(time)),
            Progress::At(Place::After(sequence)) => Saved::After(sequence),
        }
    }

    fn replace(&self, document: &Document) -> std::io::Result<()> {
        let mut text = serde_json::to_vec_pretty(document)?;
        text.push(b'\n');
        let aside = beside(&self.path, "tmp");
        let mut file = File::create(&aside)?;
        file.write_all(&text)?;
        file.sync_all()?;
        std::fs::rename(&aside, &self.path)?;
        let directory = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
    }
}

/// `FILE.suffix`.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

fn read(path: &Path, text: &[u8], stream: &str) -> Result<Resumed, Error> {
    let unreadable = |why: String| Error::Unreadable { path: path.to_owned(), why };
    let document: Document = serde_json::from_slice(text).map_err(|error| unreadable(error.to_string()))?;
    if document.version != VERSION {
        return Err(unreadable(format!("its version is {}, and this kinetail knows {VERSION}", document.version)));
    }
    if document.stream != stream {
        return Err(Error::OtherStream { path: path.to_owned(), theirs: document.stream, ours: stream.to_owned() });
    }
    let progress = |saved| match saved {
        Saved::Finished => Progress::Finished,
        Saved::Horizon => Progress::At(Place::Horizon),
        Saved::Since(millis) => Progress::At(Place::Time(SystemTime::UNIX_EPOCH + Duration::from_millis(millis))),
        Saved::After(sequence) => Progress::At(Place::After(sequence)),
    };
    let shards = document.shards.into_iter().map(|(id, saved)| (id, progress(saved))).collect();
    Ok(Resumed { shards, output: document.output })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_found_again_by_one_process_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        let began = SystemTime::UNIX_EPOCH + Duration::from_millis(1_800_000_000_123);
        let (state, resumed) = StateFile::open(&path, "events", began).unwrap();
        assert!(resumed.is_none());
        let shards = [
            ("a", Progress::Finished),
            ("b", Progress::At(Place::After("123".to_owned()))),
            ("c", Progress::At(Place::Horizon)),
            ("d", Progress::At(Place::Latest)),
        ];
        let output = Some(Written { file: (1, 2), bytes: 3 });
        state.store(shards.clone().into_iter(), output.clone()).unwrap();
        assert!(matches!(StateFile::open(&path, "events", began), Err(Error::Locked { .. })));
        drop(state);
        let (state, resumed) = StateFile::open(&path, "events", SystemTime::UNIX_EPOCH).unwrap();
        let resumed = resumed.unwrap();
        assert_eq!(resumed.output, output);
        let mut want: BTreeMap<_, _> = shards.into_iter().map(|(id, progress)| (id.to_owned(), progress)).collect();
        want.insert("d".to_owned(), Progress::At(Place::Time(began)));
        assert_eq!(resumed.shards, want);
        drop(state);
        assert!(matches!(StateFile::open(&path, "others", began), Err(Error::OtherStream { .. })));
        for text in ["", "{}", "{\"version\":2,\"stream\":\"events\",\"shards\":{}}"] {
            std::fs::write(&path, text).unwrap();
            assert!(matches!(StateFile::open(&path, "events", began), Err(Error::Unreadable { .. })), "{text}");
        }
    }
}
