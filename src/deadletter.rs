//! The dead-letter file: what Kinesis does not take and what a parser refuses, one JSON object a line, for a person to look at and send again.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// The file's name in `state_dir`.
pub const FILE_NAME: &str = "dead_letters.jsonl";

/// The file's limit. Past it the agent waits rather than drops: so many refusals are a fault that somebody has to look at.
const MAX_BYTES: u64 = 64 << 20;

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
        let mut file = self.open().map_err(io)?;
        let before = file.metadata().map_err(io)?.len();
        if before + out.len() as u64 > MAX_BYTES {
            return Err(Error::Full { path: self.path.clone() });
        }
        file.write_all(&out).and_then(|()| file.sync_data()).map_err(|source| {
            // Half a line would spoil the file for whoever reads it; if even this fails there is nothing better to do.
            file.set_len(before).ok();
            io(source)
        })
    }

    fn open(&self) -> std::io::Result<File> {
        OpenOptions::new().create(true).append(true).mode(0o600).open(&self.path)
    }
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
    fn a_full_file_and_a_missing_directory_are_errors_that_name_the_file() {
        let dir = tempfile::tempdir().unwrap();
        File::create(dir.path().join(FILE_NAME)).unwrap().set_len(MAX_BYTES).unwrap();
        let full = DeadLetters::new(dir.path()).write([(letter(), &b"x"[..])]).unwrap_err();
        assert!(matches!(full, Error::Full { .. }) && full.to_string().contains(FILE_NAME));
        let missing = DeadLetters::new(&dir.path().join("no")).write([(letter(), &b"x"[..])]).unwrap_err();
        assert!(matches!(missing, Error::Io { .. }));
    }
}
