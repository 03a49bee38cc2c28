//! Events as lines of JSON, to stdout or to a file. Writing happens on a thread that may wait for whoever reads, so that signals are heard meanwhile.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::value::RawValue;

use super::start::shown;
use super::state::Written;
use super::unpack::Event;
use super::{Origin, Sink};

/// So much is written at once; a record that has more is written as a whole.
const FULL_BYTES: usize = 256 * 1024;

/// What a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// A JSON object or another value: the event, or what holds one that is no JSON.
    Json,
    /// A JSON object with the event in it, and where it was.
    Meta,
    /// The event's bytes as they are.
    Raw,
}

/// Why there is no output.
#[derive(Debug, thiserror::Error)]
#[error("--out {path}: {source}")]
pub struct Error {
    path: PathBuf,
    source: io::Error,
}

/// The output.
#[derive(Debug)]
pub struct Output {
    /// Away while something is written.
    file: Option<File>,
    /// How long the file is with all that was flushed; none of a pipe, which cannot be synced and cut.
    flushed: Option<u64>,
    look: Look,
    buffer: Vec<u8>,
}

impl Output {
    /// Stdout.
    pub fn stdout(look: Look) -> io::Result<Self> {
        // A descriptor of our own: the one of std looks for newlines, and would be locked by a thread that waits.
        let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        Ok(Self { file: Some(file), flushed: None, look, buffer: Vec::new() })
    }

    /// A file, to which events are appended. What the last run wrote behind what it has saved is cut off: it comes again.
    pub fn file(path: &Path, look: Look, resumed: Option<&Written>) -> Result<Self, Error> {
        let failed = |source| Error { path: path.to_owned(), source };
        let file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        let regular = metadata.is_file();
        if let Some(written) = resumed.filter(|written| regular && written.file == (metadata.dev(), metadata.ino()))
            && written.bytes < metadata.len()
        {
            file.set_len(written.bytes).map_err(failed)?;
        }
        let mut flushed = None;
        if regular {
            finish_line(&file).map_err(failed)?;
            flushed = Some(file.metadata().map_err(failed)?.len());
        }
        Ok(Self { file: Some(file), flushed, look, buffer: Vec::new() })
    }
}

/// Ends a line that somebody left unfinished.
fn finish_line(mut file: &File) -> io::Result<()> {
    if file.metadata()?.len() == 0 {
        return Ok(());
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    if last == *b"\n" { Ok(()) } else { file.write_all(b"\n") }
}

impl Sink for Output {
    fn take(&mut self, origin: &Origin<'_>, event: &Event<'_>) {
        match self.look {
            Look::Raw => self.buffer.extend_from_slice(event.data),
            Look::Json => match Shown::of(event.data) {
                Shown::Json(json) => self.buffer.extend_from_slice(json.get().as_bytes()),
                other => to_json(&mut self.buffer, &Held::from(other)),
            },
            Look::Meta => to_json(
                &mut self.buffer,
                &Meta {
                    shard: origin.shard,
                    sequence_number: origin.sequence,
                    sub_sequence_number: event.number,
                    partition_key: event.partition_key,
                    explicit_hash_key: event.explicit_hash_key,
                    arrival: origin.arrival.map(shown),
                    held: Held::from(Shown::of(event.data)),
                },
            ),
        }
        self.buffer.push(b'\n');
    }

    fn is_full(&self) -> bool {
        self.buffer.len() >= FULL_BYTES
    }

    async fn flush(&mut self) -> io::Result<()> {
        let Some(mut file) = self.file.take() else { return Err(io::ErrorKind::BrokenPipe.into()) };
        let mut buffer = std::mem::take(&mut self.buffer);
        let bytes = buffer.len() as u64;
        let written = tokio::task::spawn_blocking(move || {
            let written = file.write_all(&buffer);
            buffer.clear();
            (file, buffer, written)
        });
        let (file, buffer, written) = written.await.map_err(io::Error::other)?;
        (self.file, self.buffer) = (Some(file), buffer);
        // One very long record is no reason to keep its memory.
        self.buffer.shrink_to(2 * FULL_BYTES);
        written?;
        self.flushed = self.flushed.map(|before| before + bytes);
        Ok(())
    }

    async fn settle(&mut self) -> io::Result<Option<Written>> {
        let (Some(file), Some(bytes)) = (&self.file, self.flushed) else { return Ok(None) };
        file.sync_data()?;
        let metadata = file.metadata()?;
        Ok(Some(Written { file: (metadata.dev(), metadata.ino()), bytes }))
    }
}

/// An event as it can be shown.
enum Shown<'a> {
    /// JSON on one line.
    Json(&'a RawValue),
    Text(&'a str),
    Bytes(&'a [u8]),
}

impl<'a> Shown<'a> {
    fn of(data: &'a [u8]) -> Self {
        let Ok(text) = std::str::from_utf8(data) else { return Self::Bytes(data) };
        match serde_json::from_str::<&RawValue>(text) {
            Ok(json) if !text.contains(['\n', '\r']) => Self::Json(json),
            _ => Self::Text(text),
        }
    }
}

/// An event within an object.
#[derive(Default, Serialize)]
struct Held<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
}

impl<'a> From<Shown<'a>> for Held<'a> {
    fn from(shown: Shown<'a>) -> Self {
        match shown {
            Shown::Json(json) => Self { event: Some(json), ..Self::default() },
            Shown::Text(text) => Self { message: Some(text), ..Self::default() },
            Shown::Bytes(bytes) => {
                let text = base64_simd::STANDARD.encode_to_string(bytes);
                Self { data_base64: Some(text), ..Self::default() }
            }
        }
    }
}

#[derive(Serialize)]
struct Meta<'a> {
    shard: &'a str,
    sequence_number: &'a str,
    sub_sequence_number: usize,
    partition_key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    explicit_hash_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arrival: Option<String>,
    #[serde(flatten)]
    held: Held<'a>,
}

fn to_json(out: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(out, value).expect("text and numbers can be written to memory");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(look: Look, events: &[&[u8]]) -> String {
        let mut output = Output { file: None, flushed: None, look, buffer: Vec::new() };
        let origin = Origin { shard: "s-0", sequence: "17", arrival: Some(std::time::SystemTime::UNIX_EPOCH) };
        for (number, data) in events.iter().enumerate() {
            output.take(&origin, &Event { data, partition_key: "k", explicit_hash_key: None, number });
        }
        String::from_utf8(output.buffer).unwrap()
    }

    #[test]
    fn every_event_is_a_line_of_json() {
        let events: [&[u8]; 6] = [b"{\"a\": 1e3}", b"plain", b"{\"a\":\n1}", b"\xff", b"", b"7"];
        let want = "{\"a\": 1e3}\n{\"message\":\"plain\"}\n{\"message\":\"{\\\"a\\\":\\n1}\"}\n{\"data_base64\":\"/w==\"}\n{\"message\":\"\"}\n7\n";
        assert_eq!(lines(Look::Json, &events), want);
        assert_eq!(lines(Look::Raw, &[b"x", b"\xc3\xa4"]), "x\nä\n");
    }

    #[test]
    fn meta_is_around_the_event() {
        let head = "{\"shard\":\"s-0\",\"sequence_number\":\"17\",\"sub_sequence_number\":0,\"partition_key\":\"k\",\"arrival\":\"1970-01-01T00:00:00Z\",";
        assert_eq!(lines(Look::Meta, &[b"{\"b\":1.0,\"a\":2}"]), format!("{head}\"event\":{{\"b\":1.0,\"a\":2}}}}\n"));
        assert_eq!(lines(Look::Meta, &[b"x"]), format!("{head}\"message\":\"x\"}}\n"));
    }

    #[test]
    fn a_file_is_cut_back_to_what_was_saved_and_a_torn_line_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        std::fs::write(&path, "a\nb\nc").unwrap();
        let metadata = std::fs::metadata(&path).unwrap();
        drop(Output::file(&path, Look::Json, None).unwrap());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a\nb\nc\n");
        let other = Written { file: (metadata.dev(), metadata.ino() + 1), bytes: 2 };
        drop(Output::file(&path, Look::Json, Some(&other)).unwrap());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a\nb\nc\n");
        let ours = Written { file: (metadata.dev(), metadata.ino()), bytes: 2 };
        drop(Output::file(&path, Look::Json, Some(&ours)).unwrap());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a\n");
    }
}
