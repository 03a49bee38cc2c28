//! The dead-letter file, taken away to be sent again. Whoever appends meanwhile makes a new one.
//!
//! ```text
//! dead_letters.jsonl ──renamed──▶ dead_letters.replay.jsonl + dead_letters.replay.offset (what is done of it)
//! ```
//!
//! What breaks off leaves both, and the next replay goes on with them. Between a delivery and the note of it lies one chunk, which then comes twice;
//! nothing is ever removed before it was delivered or written elsewhere.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufRead as _, BufReader, ErrorKind, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::{FILE_NAME, has_name};

/// The file that was taken.
pub const TAKEN_NAME: &str = "dead_letters.replay.jsonl";
/// How many of its bytes are done, in decimal.
const OFFSET_NAME: &str = "dead_letters.replay.offset";
/// Held by a replay.
const LOCK_NAME: &str = "dead_letters.replay.lock";

/// Why letters could not be taken, or what became of them not be noted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error("{path}: {source}; make state_dir writable for this user and give it space")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Somebody else does the same.
    #[error("{path}: another replay is under way; wait for its end")]
    Busy {
        /// The lock.
        path: PathBuf,
    },
    /// The file system has no locks.
    #[error(
        "{path}: cannot be locked ({source}), so that an agent could write to it while it is taken away; stop the agent and rename the \
         file to dead_letters.replay.jsonl by hand"
    )]
    NoLocks {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

/// The right to take letters out of a state directory.
#[derive(Debug)]
pub struct Taker {
    state_dir: PathBuf,
    /// Holds the lock for as long as it is open.
    _lock: File,
}

impl Taker {
    /// Nobody else may have it.
    pub fn new(state_dir: &Path) -> Result<Self, Error> {
        let path = state_dir.join(LOCK_NAME);
        let io = |source| Error::Io { path: path.clone(), source };
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path).map_err(io)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { state_dir: state_dir.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(Error::Busy { path }),
            Err(TryLockError::Error(source)) => Err(Error::NoLocks { path, source }),
        }
    }

    /// What an earlier replay has left.
    pub fn left(&self) -> Result<Option<Taken>, Error> {
        let path = self.state_dir.join(TAKEN_NAME);
        match File::open(&path) {
            Ok(file) => Taken::new(&self.state_dir, file, noted(&self.state_dir)).map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::Io { path, source }),
        }
    }

    /// The file that agents append to, if there is one. What an earlier replay has left has to be finished before.
    pub fn take(&self) -> Result<Option<Taken>, Error> {
        let path = self.state_dir.join(FILE_NAME);
        let io = |source| Error::Io { path: path.clone(), source };
        let taken = self.state_dir.join(TAKEN_NAME);
        assert!(!taken.exists(), "what an earlier replay has left is finished first");
        let file = match OpenOptions::new().read(true).append(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io(error)),
        };
        file.lock().map_err(|source| Error::NoLocks { path: path.clone(), source })?;
        // Only a person renames it beside us; then there is nothing to take.
        if !has_name(&file, &path).map_err(io)? || file.metadata().map_err(io)?.len() == 0 {
            return Ok(None);
        }
        // An offset that was left is that of a file which is gone.
        remove(&self.state_dir.join(OFFSET_NAME))?;
        std::fs::rename(&path, &taken).map_err(io)?;
        sync_directory(&self.state_dir)?;
        Taken::new(&self.state_dir, file, 0).map(Some)
    }
}

/// What a replay would find, to be read and nothing else.
pub fn peek(state_dir: &Path) -> Result<Vec<Taken>, Error> {
    let mut found = Vec::new();
    for (name, offset) in [(TAKEN_NAME, noted(state_dir)), (FILE_NAME, 0)] {
        let path = state_dir.join(name);
        match File::open(&path) {
            Ok(file) => found.push(Taken::new(state_dir, file, offset)?),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(source) => return Err(Error::Io { path, source }),
        }
    }
    Ok(found)
}

/// How much of what was taken is done. Without a note that can be read nothing is: it comes twice rather than never.
fn noted(state_dir: &Path) -> u64 {
    let text = std::fs::read_to_string(state_dir.join(OFFSET_NAME)).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

/// A line of the file, and where the next begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The line without its newline.
    pub bytes: Vec<u8>,
    /// The offset after it.
    pub end: u64,
}

/// The file that was taken.
#[derive(Debug)]
pub struct Taken {
    state_dir: PathBuf,
    file: BufReader<File>,
    read: u64,
}

impl Taken {
    fn new(state_dir: &Path, mut file: File, read: u64) -> Result<Self, Error> {
        let io = |source| Error::Io { path: state_dir.join(TAKEN_NAME), source };
        file.seek(SeekFrom::Start(read)).map_err(io)?;
        Ok(Self { state_dir: state_dir.to_owned(), file: BufReader::new(file), read })
    }

    /// The next lines: so many at most, and of so many bytes unless one alone is longer. None at the end. Blank lines count and say nothing.
    pub fn lines(&mut self, most: usize, bytes: usize) -> Result<Vec<Line>, Error> {
        let io = |source| Error::Io { path: self.state_dir.join(TAKEN_NAME), source };
        let (mut lines, mut length) = (Vec::new(), 0);
        while lines.len() < most && length < bytes {
            let mut line = Vec::new();
            let count = self.file.read_until(b'\n', &mut line).map_err(io)?;
            if count == 0 {
                break;
            }
            length += count;
            self.read += count as u64;
            line.pop_if(|byte| *byte == b'\n');
            lines.push(Line { bytes: line, end: self.read });
        }
        Ok(lines)
    }

    /// Everything before this offset was delivered, or is written elsewhere.
    pub fn done(&self, offset: u64) -> Result<(), Error> {
        let path = self.state_dir.join(OFFSET_NAME);
        let io = |source| Error::Io { path: path.clone(), source };
        let fresh = path.with_extension("tmp");
        let mut file =
            OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&fresh).map_err(io)?;
        writeln!(file, "{offset}").and_then(|()| file.sync_data()).map_err(io)?;
        std::fs::rename(&fresh, &path).map_err(io)?;
        sync_directory(&self.state_dir)
    }

    /// All of it is done: it goes.
    pub fn finish(self) -> Result<(), Error> {
        // The file first would leave an offset that says of the next one what is not so.
        remove(&self.state_dir.join(OFFSET_NAME))?;
        sync_directory(&self.state_dir)?;
        remove(&self.state_dir.join(TAKEN_NAME))?;
        sync_directory(&self.state_dir)
    }
}

fn remove(path: &Path) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != ErrorKind::NotFound => Err(Error::Io { path: path.to_owned(), source }),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn sync_directory(path: &Path) -> Result<(), Error> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    File::open(path).and_then(|directory| directory.sync_all()).map_err(io)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deadletter::DeadLetters;

    fn write(dir: &Path, text: &str) {
        DeadLetters::new(dir).append(text.as_bytes()).unwrap();
    }

    fn all(taken: &mut Taken) -> Vec<String> {
        let lines = taken.lines(usize::MAX, usize::MAX).unwrap();
        lines.into_iter().map(|line| String::from_utf8(line.bytes).unwrap()).collect()
    }

    #[test]
    fn what_comes_meanwhile_goes_into_a_new_file() {
        let dir = tempfile::tempdir().unwrap();
        let taker = Taker::new(dir.path()).unwrap();
        assert!(taker.take().unwrap().is_none() && taker.left().unwrap().is_none());
        write(dir.path(), "a\nb\n");
        let mut file = taker.take().unwrap().unwrap();
        write(dir.path(), "c\n");
        assert_eq!(all(&mut file), ["a", "b"]);
        file.finish().unwrap();
        assert!(taker.left().unwrap().is_none());
        assert_eq!(all(&mut taker.take().unwrap().unwrap()), ["c"]);
    }

    #[test]
    fn what_breaks_off_goes_on_after_what_is_done() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "a\nb\nc\nd");
        {
            let taker = Taker::new(dir.path()).unwrap();
            assert!(matches!(Taker::new(dir.path()), Err(Error::Busy { .. })));
            let mut file = taker.take().unwrap().unwrap();
            assert_eq!(file.lines(1, 100).unwrap().len(), 1);
            let lines = file.lines(9, 3).unwrap();
            assert_eq!(
                (lines.len(), lines[1].end),
                (2, 6),
                "a limit of bytes ends a chunk after the line that reaches it"
            );
            file.done(lines[0].end).unwrap();
        }
        let taker = Taker::new(dir.path()).unwrap();
        let mut file = taker.left().unwrap().unwrap();
        assert_eq!(all(&mut file), ["c", "d"]);
        assert_eq!(all(&mut file), Vec::<String>::new());
        file.finish().unwrap();
        // The offset has gone with the file it was about.
        write(dir.path(), "e\n");
        assert_eq!(all(&mut taker.take().unwrap().unwrap()), ["e"]);
    }
}
