//! One event to one line of JSON: the record as it is, with `tag` and `time` before it where it has no fields of these names.

use std::time::SystemTime;

use super::json;
use super::msgpack::{self, Reader, Token};
use super::partial::Part;
use super::time::{self, Stamp, Time};

/// Why an event has no line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Json(#[from] json::Error),
    #[error(transparent)]
    Time(#[from] time::Error),
    #[error("a record is no map")]
    NoRecord,
}

impl From<msgpack::Error> for Error {
    fn from(error: msgpack::Error) -> Self {
        Self::Json(error.into())
    }
}

/// Names that a record has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Names {
    tag: bool,
    time: bool,
    partial: bool,
}

/// What stands in for fields of a record whose text came in parts.
#[derive(Debug, Clone, Copy)]
struct Joined<'a> {
    log: &'a [u8],
}

/// What becomes of an event.
#[derive(Debug)]
pub(super) enum Made<'a> {
    /// A line.
    Line,
    /// Nothing yet: it is one part of a line.
    Part(Part<'a>),
}

/// Lines in the making.
#[derive(Debug, Default)]
pub(super) struct Lines {
    out: Vec<u8>,
    events: u64,
    stamp: Stamp,
    /// What the last record had: the next one is probably like it.
    guess: Names,
}

/// How far lines were made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    bytes: usize,
    events: u64,
}

impl Lines {
    pub(super) fn len(&self) -> usize {
        self.out.len()
    }

    pub(super) fn mark(&self) -> Mark {
        Mark { bytes: self.out.len(), events: self.events }
    }

    /// Takes back all lines since the mark.
    pub(super) fn undo(&mut self, mark: Mark) {
        self.out.truncate(mark.bytes);
        self.events = mark.events;
    }

    /// The lines, and how many they are. None are left.
    pub(super) fn take(&mut self) -> (Vec<u8>, u64) {
        (std::mem::take(&mut self.out), std::mem::take(&mut self.events))
    }

    /// Appends the event that is read next, its time and its record. A part of a line is given back if it is to be joined.
    pub(super) fn event<'a>(
        &mut self,
        tag: &[u8],
        entry: &mut Reader<'a>,
        now: SystemTime,
        join: bool,
    ) -> Result<Made<'a>, Error> {
        let start = *entry;
        let time = Time::read(entry)?;
        let record = *entry;
        let mark = self.mark();
        let found = self.guessed(tag, &time_or(time, now), entry)?;
        if join && found.partial {
            let read = start.rest().len() - entry.rest().len();
            let part = start.rest().split_at_checked(read).and_then(|(bytes, _)| Part::read(bytes, record));
            if let Some(part) = part {
                self.undo(mark);
                return Ok(Made::Part(part));
            }
        }
        Ok(Made::Line)
    }

    /// Appends the event whose parts are these, in order: the first with the text of all.
    pub(super) fn joined(&mut self, tag: &[u8], parts: &[&[u8]], now: SystemTime) -> Result<(), Error> {
        let mut log = Vec::new();
        for bytes in parts {
            let mut entry = Reader::new(bytes);
            Time::read(&mut entry)?;
            log.extend_from_slice(Part::read(bytes, entry).map_or(&[][..], |part| part.log));
        }
        let mut entry = Reader::new(parts.first().copied().unwrap_or_default());
        let time = time_or(Time::read(&mut entry)?, now);
        let mut look = entry;
        let Token::Map(count) = look.token()? else { return Err(Error::NoRecord) };
        let mut names = Names::default();
        for _ in 0..count {
            names.note(look.token()?);
            look.skip()?;
        }
        self.line(tag, &time, names, &mut entry, Some(Joined { log: &log }))?;
        Ok(())
    }

    /// Appends a record under what the last one had, and once more if that was wrong.
    fn guessed(&mut self, tag: &[u8], time: &Time<'_>, record: &mut Reader<'_>) -> Result<Names, Error> {
        let (again, mark) = (*record, self.mark());
        let found = self.line(tag, time, self.guess, record, None)?;
        if (found.tag, found.time) != (self.guess.tag, self.guess.time) {
            self.undo(mark);
            *record = again;
            self.guess = found;
            self.line(tag, time, found, record, None)?;
        }
        Ok(found)
    }

    fn line(
        &mut self,
        tag: &[u8],
        time: &Time<'_>,
        names: Names,
        record: &mut Reader<'_>,
        joined: Option<Joined<'_>>,
    ) -> Result<Names, Error> {
        let Token::Map(count) = record.token()? else { return Err(Error::NoRecord) };
        let Self { out, stamp, .. } = self;
        out.push(b'{');
        if !names.tag {
            out.extend_from_slice(b"\"tag\":");
            json::string(tag, out);
            out.push(b',');
        }
        if !names.time {
            out.extend_from_slice(b"\"time\":");
            write_time(time, stamp, out);
            out.push(b',');
        }
        let mut found = Names::default();
        for _ in 0..count {
            let key = record.token()?;
            found.note(key);
            match (joined, key) {
                (Some(_), Token::Str(name)) if name.starts_with(b"partial_") => {
                    record.skip()?;
                    continue;
                }
                (Some(Joined { log }), Token::Str(b"log")) => {
                    record.skip()?;
                    json::key(key, stamp, out)?;
                    json::string(log, out);
                }
                _ => {
                    json::key(key, stamp, out)?;
                    json::nested(record, stamp, out, 1)?;
                }
            }
            out.push(b',');
        }
        if out.last() == Some(&b',') {
            out.pop();
        }
        out.extend_from_slice(b"}\n");
        self.events += 1;
        Ok(found)
    }
}

impl Names {
    fn note(&mut self, key: Token<'_>) {
        match key {
            Token::Str(b"tag") => self.tag = true,
            Token::Str(b"time") => self.time = true,
            Token::Str(b"partial_message") => self.partial = true,
            _ => {}
        }
    }
}

fn time_or(time: Time<'_>, now: SystemTime) -> Time<'_> {
    if time == Time::Missing { Time::of_clock(now) } else { time }
}

fn write_time(time: &Time<'_>, stamp: &mut Stamp, out: &mut Vec<u8>) {
    match *time {
        Time::At { seconds, nanos } => {
            out.push(b'"');
            stamp.write(seconds, nanos, out);
            out.push(b'"');
        }
        Time::Odd(number) => json::scalar(number, stamp, out),
        Time::Missing => json::scalar(Token::Nil, stamp, out),
    }
}
