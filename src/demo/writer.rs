//! Writes the logs: those of services at a steady rate, or the lines of a file as fast as it can. Each line is announced before it is
//! written, and half way through the logs are rotated.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::ledger::{Expected, digest};
use super::logs::Logs;
use super::parts::joined;
use super::services::{SERVICES, Services};
use super::{Error, Message};
use crate::config::Parser;
use crate::event::{Event, Value};
use crate::kinesis::aggregate::max_event;
use crate::kinesis::facts::DEFAULT_RECORD_LIMIT;
use crate::parse::{self, Added, Fields, Parsed};

/// How often services write: often enough to look steady, seldom enough to cost nothing.
const TICK: Duration = Duration::from_millis(10);
/// Bytes of a file that are written at once.
const WRITE_BYTES: usize = 64 * 1024;

/// Whoever writes.
#[derive(Debug)]
pub struct Writer {
    logs: Logs,
    tell: mpsc::Sender<Message>,
    halt: watch::Receiver<bool>,
}

impl Writer {
    /// A writer to these logs, which tells what it does and ends early when `halt` becomes true.
    pub fn new(logs: Logs, tell: mpsc::Sender<Message>, halt: watch::Receiver<bool>) -> Self {
        Self { logs, tell, halt }
    }

    /// Writes what services would, so many lines a second.
    pub async fn services(mut self, mut services: Services, rate: u32, seconds: u32) -> Result<(), Error> {
        let (total, mut written) = (u64::from(rate) * u64::from(seconds), 0);
        let mut rotated = false;
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let start = Instant::now();
        while written < total && !*self.halt.borrow() {
            let now = ticks.tick().await;
            let since_start = now.saturating_duration_since(start);
            let due = (since_start.as_secs_f64() * f64::from(rate)).floor();
            let mut chunks: [Chunk; SERVICES.len()] = Default::default();
            while written < total && exact(written) < due {
                let (log, line) = services.line(since_start);
                chunks[log].add(log, &line, &line);
                written += 1;
            }
            for (log, chunk) in chunks.into_iter().enumerate() {
                self.write(log, chunk).await?;
            }
            if !rotated && written >= total / 2 {
                rotated = true;
                self.rotate().await?;
            }
        }
        Ok(())
    }

    /// Writes the lines of a file into the first log.
    pub async fn file(mut self, source: Source, parse: Parser) -> Result<(), Error> {
        let Source { path, mut reader, size } = source;
        let unreadable = |source| Error::Input { path: path.clone(), source };
        let (mut chunk, mut line) = (Chunk::default(), Vec::new());
        let (mut read, mut rotated) = (0, false);
        while !*self.halt.borrow() {
            line.clear();
            let bytes = reader.read_until(b'\n', &mut line).map_err(unreadable)?;
            read += u64::try_from(bytes).unwrap_or(u64::MAX);
            chunk.add_raw(&line, &parse);
            let half = !rotated && bytes > 0 && read >= size / 2;
            if bytes == 0 || half || chunk.bytes.len() >= WRITE_BYTES {
                self.write(0, std::mem::take(&mut chunk)).await?;
                // The others get their turn, however fast this is.
                tokio::task::yield_now().await;
            }
            if half {
                rotated = true;
                self.rotate().await?;
            }
            if bytes == 0 {
                break;
            }
        }
        Ok(())
    }

    async fn write(&mut self, log: usize, chunk: Chunk) -> Result<(), Error> {
        if chunk.bytes.is_empty() {
            return Ok(());
        }
        self.tell(Message::Written { lines: chunk.lines, blank: chunk.blank, at: Instant::now() }).await?;
        self.logs.append(log, &chunk.bytes).map_err(Error::Log)
    }

    async fn rotate(&mut self) -> Result<(), Error> {
        self.logs.rotate().map_err(Error::Log)?;
        self.tell(Message::Rotated { logs: self.logs.count() }).await
    }

    async fn tell(&self, message: Message) -> Result<(), Error> {
        self.tell.send(message).await.map_err(|_| Error::Ended)
    }
}

/// A file to write again.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    reader: BufReader<File>,
    size: u64,
}

impl Source {
    /// Opens the file.
    pub fn open(path: PathBuf) -> Result<Self, Error> {
        let open = || {
            let file = File::open(&path)?;
            let metadata = file.metadata()?;
            if metadata.is_dir() {
                return Err(io::ErrorKind::IsADirectory.into());
            }
            Ok((file, metadata.len()))
        };
        match open() {
            Ok((file, size)) => Ok(Self { path, reader: BufReader::with_capacity(WRITE_BYTES, file), size }),
            Err(source) => Err(Error::Input { path, source }),
        }
    }

    /// Its bytes, as far as that can be known.
    pub fn size(&self) -> u64 {
        self.size
    }
}

/// Lines that are written at once.
#[derive(Debug, Default)]
struct Chunk {
    bytes: Vec<u8>,
    lines: Vec<Expected>,
    blank: u64,
}

impl Chunk {
    /// Adds a line without its newline, of which this event will be made.
    fn add(&mut self, log: usize, line: &[u8], event: &[u8]) {
        self.bytes.extend_from_slice(line);
        self.bytes.push(b'\n');
        self.lines.push(Expected { log, digest: digest(event) });
    }

    /// Adds a line as it was read from a file, which may lack a newline if it is the last.
    fn add_raw(&mut self, line: &[u8], parse: &Parser) {
        if line.is_empty() {
            return;
        }
        self.bytes.extend_from_slice(line);
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        match event_of(line, parse) {
            Some(event) => self.lines.push(Expected { log: 0, digest: digest(&event) }),
            None => self.blank += 1,
        }
    }
}

/// The event that a line is expected to become, if any.
fn event_of(line: &[u8], parser: &Parser) -> Option<Vec<u8>> {
    let (added, mut rendered, mut invalid_utf8) = (Added::default(), Vec::new(), false);
    let fields = Fields { added: &added, offset: 0, id: None, origin: None };
    // NULs at a line's start are a hole in the file, which is left out.
    let line = &line[line.iter().take_while(|&&b| b == 0).count()..];
    let Some(way) = parser.direct() else { return by_fields(line, parser) };
    let event = match parse::parse(way, line, fields, &mut rendered, &mut invalid_utf8) {
        Parsed::Verbatim { start, end } => line[start..end].to_vec(),
        Parsed::Rendered => rendered,
        Parsed::Blank | Parsed::Dropped => return None,
        Parsed::Refused => {
            parse::message(line, &[], fields, &mut rendered, &mut invalid_utf8);
            rendered
        }
    };
    // What does not fit into a record comes in parts, which the ledger joins.
    Some(if event.len() > max_event(DEFAULT_RECORD_LIMIT) { joined(line) } else { event })
}

/// The event of a line that is taken apart into fields.
fn by_fields(line: &[u8], parser: &Parser) -> Option<Vec<u8>> {
    let line = parse::without_return(line);
    if line.trim_ascii().is_empty() && !parser.takes_blank() {
        return None;
    }
    let (text, mut event, mut rendered) = (parse::text(line), Event::default(), Vec::new());
    if parser.parse(&text, &mut event, &mut |_, _| {}).is_err() {
        event.push(parse::MESSAGE, Value::text(&text));
    }
    event.write_to(&mut rendered);
    Some(if rendered.len() > max_event(DEFAULT_RECORD_LIMIT) { joined(line) } else { rendered })
}

/// A number of lines, of which there are never so many that a float has none of them.
fn exact(lines: u64) -> f64 {
    f64::from(u32::try_from(lines).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::Direct;

    #[test]
    fn a_line_is_expected_as_the_parser_makes_it() {
        let event = |line: &[u8], way: Direct| {
            event_of(line, &way.into()).map(|event| String::from_utf8_lossy(&event).into_owned())
        };
        assert_eq!(event(b" x\r", Direct::Raw).unwrap(), " x");
        assert_eq!(event(b"", Direct::Raw).unwrap(), "");
        assert_eq!(event(b"\0\0a\0", Direct::Raw).unwrap(), "a\0");
        assert_eq!(event(b" {\"a\":1}\r", Direct::Json).unwrap(), "{\"a\":1}");
        assert_eq!(event(b"text", Direct::Json).unwrap(), "{\"message\":\"text\"}");
        assert_eq!(event(b" \r", Direct::Json), None);
    }

    #[test]
    fn a_chunk_is_the_file_and_its_lines() {
        let mut chunk = Chunk::default();
        for line in [&b"a\n"[..], b"\n", b"{}\n", b"b"] {
            chunk.add_raw(line, &Parser::json());
        }
        chunk.add_raw(b"", &Parser::json());
        assert_eq!((chunk.bytes.as_slice(), chunk.lines.len(), chunk.blank), (&b"a\n\n{}\nb"[..], 3, 1));
    }
}
