//! The dead-letter file: what Kinesis does not take and what a parser refuses, one JSON object a line, for a person to look at and send again.
//!
//! Who appends holds a lock on the file and has checked that it still has the file's name. So a replay, which takes the file away under the same
//! lock, has all of it, and who appends next makes a new one.

pub mod taken;

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The file's name in `state_dir`.
pub const FILE_NAME: &str = "dead_letters.jsonl";

/// The file's limit. Past it the agent waits rather than drops: so many refusals are a fault that somebody has to look at.
const MAX_BYTES: u64 = 64 << 20;

/// How often the file is opened anew because it was taken away in between. A replay takes it twice at most.
const MAX_OPENS: usize = 10;

/// One event that was set aside.
#[derive(Debug, Serialize)]
pub struct DeadLetter<'a> {
    /// When, in seconds since 1970.
    pub time: u64,
    /// Why, as the `reason` label says it.
    pub reason: &'a str,
    /// What the service said.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub message: &'a str,
    /// The stream it was for.
    pub stream: &'a str,
    /// Its partition key.
    pub partition_key: &'a str,
    /// Its bytes, if they are UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<&'a str>,
    /// Its bytes in base64, if they are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_base64: Option<String>,
}

/// One event, as it is read again.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Letter {
    /// Why it was set aside.
    pub reason: String,
    /// The stream it was for.
    pub stream: String,
    /// Its partition key.
    pub partition_key: String,
    data: Option<String>,
    data_base64: Option<String>,
}

impl Letter {
    /// Reads a line of the file, if it is one.
    pub fn parse(line: &[u8]) -> Option<(Self, Vec<u8>)> {
        let mut letter: Self = serde_json::from_slice(line).ok()?;
        let data = match (letter.data.take(), letter.data_base64.take()) {
            (Some(text), None) => text.into_bytes(),
            (None, Some(base64)) => base64_simd::STANDARD.decode_to_vec(base64).ok()?,
            _ => return None,
        };
        Some((letter, data))
    }
}

/// Why nothing could be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error("dead-letter file {path}: {source}; make state_dir writable and give it space")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The limit is reached.
    #[error(
        "dead-letter file {path} has reached its limit of {MAX_BYTES} bytes; look at why events are refused, then move the file away"
    )]
    Full {
        /// The file.
        path: PathBuf,
    },
}

/// The file, opened when it is first needed.
#[derive(Debug, Clone)]
pub struct DeadLetters {
    path: PathBuf,
}

impl DeadLetters {
    /// The file in this state directory.
    pub fn new(state_dir: &Path) -> Self {
        Self { path: state_dir.join(FILE_NAME) }
    }

    /// Appends events and makes them durable before their bytes are settled.
    pub fn write<'a>(&self, letters: impl IntoIterator<Item = (DeadLetter<'a>, &'a [u8])>) -> Result<(), Error> {
        let io = |source| Error::Io { path: self.path.clone(), source };
        let mut out = Vec::new();
        for (mut letter, data) in letters {
            match std::str::from_utf8(data) {
                Ok(text) => letter.data = Some(text),
                Err(_) => letter.data_base64 = Some(base64_simd::STANDARD.encode_to_string(data)),
            }
            serde_json::to_writer(&mut out, &letter).map_err(|e| io(e.into()))?;
            out.push(b'\n');
        }
        self.append(&out)
    }

    /// Appends lines and makes them durable.
    pub fn append(&self, lines: &[u8]) -> Result<(), Error> {
        let io = |source| Error::Io { path: self.path.clone(), source };
        let mut file = self.open().map_err(io)?;
        let before = file.metadata().map_err(io)?.len();
        if before + lines.len() as u64 > MAX_BYTES {
            return Err(Error::Full { path: self.path.clone() });
        }
        let mut append = || {
            if before > 0 && last_byte(&mut file)? != b'\n' {
                // Somebody was killed in the middle of a line, and the next should not be spoilt by it.
                file.write_all(b"\n")?;
            }
            file.write_all(lines)?;
            file.sync_data()
        };
        append().map_err(|source| {
            // Half a line would spoil the file for whoever reads it; if even this fails there is nothing better to do.
            file.set_len(before).ok();
            io(source)
        })
    }

    /// The file of this name, locked until it is closed.
    fn open(&self) -> std::io::Result<File> {
        for _ in 0..MAX_OPENS {
            let file = OpenOptions::new().create(true).read(true).append(true).mode(0o600).open(&self.path)?;
            lock(&file)?;
            if has_name(&file, &self.path)? {
                return Ok(file);
            }
        }
        Err(std::io::Error::other("the file is taken away again and again"))
    }
}

/// Waits for the lock of a file; who holds it holds it for one write or one renaming.
fn lock(file: &File) -> std::io::Result<()> {
    match file.lock() {
        // Where there are no locks, nobody can take the file away safely, and whoever tries is told so; appending goes on.
        Err(error) if error.kind() == ErrorKind::Unsupported => Ok(()),
        locked => locked,
    }
}

/// Whether this name still means this file.
fn has_name(file: &File, path: &Path) -> std::io::Result<bool> {
    let ours = file.metadata()?;
    match std::fs::metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn last_byte(file: &mut File) -> std::io::Result<u8> {
    let mut byte = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut byte)?;
    Ok(byte[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter<'a>() -> DeadLetter<'a> {
        let (reason, message, stream, partition_key) = ("r", "", "s", "k");
        DeadLetter { time: 1, reason, message, stream, partition_key, data: None, data_base64: None }
    }

    #[test]
    fn text_stays_text_and_bytes_become_base64() {
        let dir = tempfile::tempdir().unwrap();
        let letters = DeadLetters::new(dir.path());
        letters.write([(letter(), &b"a\"b"[..]), (letter(), b"\xff")]).unwrap();
        let text = std::fs::read_to_string(dir.path().join(FILE_NAME)).unwrap();
        assert_eq!(
            text,
            "{\"time\":1,\"reason\":\"r\",\"stream\":\"s\",\"partition_key\":\"k\",\"data\":\"a\\\"b\"}\n\
             {\"time\":1,\"reason\":\"r\",\"stream\":\"s\",\"partition_key\":\"k\",\"data_base64\":\"/w==\"}\n"
        );
    }

    #[test]
    fn a_letter_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let data: [&[u8]; 3] = ["a\"b\u{0}é\n".as_bytes(), b"\xff\x00", b""];
        DeadLetters::new(dir.path()).write(data.map(|data| (letter(), data))).unwrap();
        let file = std::fs::read(dir.path().join(FILE_NAME)).unwrap();
        let lines: Vec<&[u8]> = file.trim_ascii_end().split(|byte| *byte == b'\n').collect();
        assert_eq!(lines.len(), 3);
        for (line, data) in lines.into_iter().zip(data) {
            let (letter, read) = Letter::parse(line).unwrap();
            assert_eq!((&*letter.stream, &*letter.partition_key, &*letter.reason), ("s", "k", "r"));
            assert_eq!(read, data);
        }
        for line in
            ["", "{}", r#"{"reason":"r","stream":"s","partition_key":"k"}"#, r#"{"reason":"r","stream":"s","part"#]
        {
            assert_eq!(Letter::parse(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn a_torn_line_spoils_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        std::fs::write(&path, "{\"time\":1,\"rea").unwrap();
        DeadLetters::new(dir.path()).write([(letter(), &b"x"[..])]).unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "{\"time\":1,\"rea");
        assert!(Letter::parse(lines[1].as_bytes()).is_some());
    }

    #[test]
    fn a_full_file_and_a_missing_directory_are_errors_that_name_the_file() {
        let dir = tempfile::tempdir().unwrap();
        File::create(dir.path().join(FILE_NAME)).unwrap().set_len(MAX_BYTES).unwrap();
        let full = DeadLetters::new(dir.path()).write([(letter(), &b"x"[..])]).unwrap_err();
        assert!(matches!(full, Error::Full { .. }) && full.to_string().contains(FILE_NAME));
        let missing = DeadLetters::new(&dir.path().join("no")).write([(letter(), &b"x"[..])]).unwrap_err();
        assert!(matches!(missing, Error::Io { .. }));
    }
}
