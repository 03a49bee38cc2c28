//! One event to one line: the record as JSON, with `tag` and `time` before it where it has no fields of these names, or as its layout has it.

use std::cell::RefCell;
use std::time::SystemTime;

use super::json;
use super::layout::{Layout, More};
use super::msgpack::{self, Reader, Token};
use super::partial::Part;
use super::time::{self, Stamp, Time};
use crate::event::{Event, look_at};

/// Fields of a record for which there is room at once. Those of docker have four to a dozen.
const USUAL_FIELDS: usize = 16;

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
    /// Nothing, for this reason.
    Dropped(&'static str),
}

/// What is known of an event beside its record.
#[derive(Debug, Clone, Copy)]
pub(super) struct About<'a> {
    pub(super) layout: &'a Layout,
    pub(super) tag: &'a [u8],
    pub(super) now: SystemTime,
}

/// A field of a record, not looked into.
#[derive(Debug, Clone, Copy)]
struct Field<'a> {
    key: Token<'a>,
    /// Its value in msgpack.
    value: &'a [u8],
}

impl<'a> Field<'a> {
    /// Its name, if it has one.
    fn name(&self) -> Option<&'a [u8]> {
        match self.key {
            Token::Str(name) | Token::Bin(name) => Some(name),
            _ => None,
        }
    }

    /// Its text, if it is one.
    fn text(&self) -> Option<&'a [u8]> {
        match Reader::new(self.value).token() {
            Ok(Token::Str(text) | Token::Bin(text)) => Some(text),
            _ => None,
        }
    }
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
        about: &About<'_>,
        entry: &mut Reader<'a>,
        join: bool,
    ) -> Result<Made<'a>, Error> {
        let start = *entry;
        let time = Time::read(entry)?;
        let record = *entry;
        let mark = self.mark();
        let (found, dropped) = if about.layout.is_plain() {
            (self.guessed(about, &time_or(time, about.now), entry)?.partial, None)
        } else {
            self.shaped(about, &time_or(time, about.now), entry, None)?
        };
        if join && found {
            let read = start.rest().len() - entry.rest().len();
            let part = start.rest().split_at_checked(read).and_then(|(bytes, _)| Part::read(bytes, record));
            if let Some(part) = part {
                self.undo(mark);
                return Ok(Made::Part(part));
            }
        }
        Ok(dropped.map_or(Made::Line, Made::Dropped))
    }

    /// Appends the event whose parts are these, in order: the first with the text of all.
    pub(super) fn joined(&mut self, about: &About<'_>, parts: &[&[u8]]) -> Result<Option<&'static str>, Error> {
        let mut log = Vec::new();
        for bytes in parts {
            let mut entry = Reader::new(bytes);
            Time::read(&mut entry)?;
            log.extend_from_slice(Part::read(bytes, entry).map_or(&[][..], |part| part.log));
        }
        let mut entry = Reader::new(parts.first().copied().unwrap_or_default());
        let time = time_or(Time::read(&mut entry)?, about.now);
        let joined = Some(Joined { log: &log });
        if !about.layout.is_plain() {
            return self.shaped(about, &time, &mut entry, joined).map(|(_, dropped)| dropped);
        }
        let mut look = entry;
        let Token::Map(count) = look.token()? else { return Err(Error::NoRecord) };
        let mut names = Names::default();
        for _ in 0..count {
            names.note(look.token()?);
            look.skip()?;
        }
        self.line((about, &time), names, &mut entry, joined)?;
        Ok(None)
    }

    /// Appends a record under what the last one had, and once more if that was wrong.
    fn guessed(&mut self, about: &About<'_>, time: &Time<'_>, record: &mut Reader<'_>) -> Result<Names, Error> {
        let (again, mark) = (*record, self.mark());
        let found = self.line((about, time), self.guess, record, None)?;
        if (found.tag, found.time) != (self.guess.tag, self.guess.time) {
            self.undo(mark);
            *record = again;
            self.guess = found;
            self.line((about, time), found, record, None)?;
        }
        Ok(found)
    }

    fn line(
        &mut self,
        (about, time): (&About<'_>, &Time<'_>),
        names: Names,
        record: &mut Reader<'_>,
        joined: Option<Joined<'_>>,
    ) -> Result<Names, Error> {
        let Token::Map(count) = record.token()? else { return Err(Error::NoRecord) };
        let Self { out, stamp, .. } = self;
        out.push(b'{');
        if about.layout.tag && !names.tag {
            out.extend_from_slice(b"\"tag\":");
            json::string(about.tag, out);
            out.push(b',');
        }
        if about.layout.time && !names.time {
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

    /// Appends a record as its layout has it. Answers whether it is a part of a line, and why nothing was appended, if that is so.
    fn shaped(
        &mut self,
        about: &About<'_>,
        time: &Time<'_>,
        record: &mut Reader<'_>,
        joined: Option<Joined<'_>>,
    ) -> Result<(bool, Option<&'static str>), Error> {
        let (fields, partial) = fields(record, joined)?;
        let sight = Sight { about, time, fields: &fields, joined };
        let mark = self.mark();
        let Self { out, stamp, .. } = self;
        let mut bare = None;
        if let Some(more) = &about.layout.more {
            if !more.greps.iter().all(|grep| grep.keeps(|name| sight.text_of(more, name))) {
                return Ok((partial, Some("filter")));
            }
            bare = more.bare.as_deref();
        }
        match bare.map(|bare| sight.field(bare)) {
            None => sight.write(stamp, out)?,
            Some(None) => return Ok((partial, Some("log_key"))),
            Some(Some(field)) => {
                match sight.text(field) {
                    Some(text) => write_bare(text, out),
                    None => json::nested(&mut Reader::new(field.value), stamp, out, 1)?,
                }
                if out.len() == mark.bytes {
                    return Ok((partial, Some("blank")));
                }
                out.push(b'\n');
            }
        }
        self.events += 1;
        Ok((partial, None))
    }
}

/// The fields of a record, and whether it is a part of a line. Of a joined one, what says that it came in parts is left out.
fn fields<'a>(record: &mut Reader<'a>, joined: Option<Joined<'_>>) -> Result<(Vec<Field<'a>>, bool), Error> {
    let Token::Map(count) = record.token()? else { return Err(Error::NoRecord) };
    // The count is a claim of whoever sent it.
    let mut fields = Vec::with_capacity(usize::try_from(count).unwrap_or(0).min(USUAL_FIELDS));
    let mut partial = false;
    for _ in 0..count {
        let key = record.token()?;
        if matches!(key, Token::Array(_) | Token::Map(_)) {
            return Err(json::Error::Key.into());
        }
        let value = record.skip()?;
        let field = Field { key, value };
        let name = field.name().unwrap_or_default();
        partial |= name == b"partial_message";
        if joined.is_none() || !name.starts_with(b"partial_") {
            fields.push(field);
        }
    }
    Ok((fields, partial))
}

/// The value of a text without its quotes, on one line.
fn write_bare(text: &[u8], out: &mut Vec<u8>) {
    for (at, line) in text.strip_suffix(b"\n").unwrap_or(text).split(|byte| *byte == b'\n').enumerate() {
        if at > 0 {
            out.extend_from_slice(b"\\n");
        }
        out.extend_from_slice(line);
    }
}

/// All that a shaped line is made of.
#[derive(Debug, Clone, Copy)]
struct Sight<'a> {
    about: &'a About<'a>,
    time: &'a Time<'a>,
    fields: &'a [Field<'a>],
    joined: Option<Joined<'a>>,
}

/// A `log` that is an object.
#[derive(Debug)]
struct Merged<'a> {
    text: &'a str,
    is_empty: bool,
    /// The names of other fields that it has too: its own win.
    clashes: Vec<&'a [u8]>,
}

impl<'a> Sight<'a> {
    /// The last field of this name, as those who read JSON have it.
    fn field(&self, name: &str) -> Option<&'a Field<'a>> {
        self.fields.iter().rfind(|field| field.name() == Some(name.as_bytes()))
    }

    /// What a field says, if it is text.
    fn text(&self, field: &Field<'a>) -> Option<&'a [u8]> {
        match (self.joined, field.name()) {
            (Some(Joined { log }), Some(b"log")) => Some(log),
            _ => field.text(),
        }
    }

    /// The same by its name, as filters look at it.
    fn text_of(&self, more: &'a More, name: &str) -> Option<&'a str> {
        let own = self.field(name).and_then(|field| self.text(field)).and_then(|text| std::str::from_utf8(text).ok());
        own.or_else(|| more.members.iter().find(|member| member.name == name).map(|member| &*member.value))
    }

    /// The object that is to take the place of `log`, if that is one.
    fn merged(&self) -> Option<Merged<'a>> {
        let log = self.field("log").filter(|_| self.about.layout.parse_log)?;
        let text = std::str::from_utf8(self.text(log)?.trim_ascii()).ok().filter(|text| text.starts_with('{'))?;
        let members = self.about.layout.more.iter().flat_map(|more| &more.members).map(|member| member.name.as_bytes());
        let own = || self.fields.iter().filter_map(Field::name).chain(members.clone()).chain([&b"tag"[..], b"time"]);
        let clashes = RefCell::new(Vec::new());
        let note = |name: &str| {
            clashes.borrow_mut().extend(own().find(|own| *own == name.as_bytes()));
            0
        };
        let is_empty = look_at(text, note).ok()?.empty;
        Some(Merged { text, is_empty, clashes: clashes.into_inner() })
    }

    /// Appends the line.
    fn write(&self, stamp: &mut Stamp, out: &mut Vec<u8>) -> Result<(), Error> {
        let (layout, merged, none) = (self.about.layout, self.merged(), More::default());
        let more = layout.more.as_deref().unwrap_or(&none);
        let is_taken = |name: &[u8]| merged.as_ref().is_some_and(|log| log.clashes.contains(&name));
        let is_free = |name: &str| {
            self.field(name).is_none()
                && !is_taken(name.as_bytes())
                && !more.replaces(name.as_bytes())
                && more.keeps(name.as_bytes())
        };
        out.push(b'{');
        if layout.tag && is_free("tag") {
            out.extend_from_slice(b"\"tag\":");
            json::string(self.about.tag, out);
        }
        if layout.time && is_free("time") {
            comma(out);
            out.extend_from_slice(b"\"time\":");
            write_time(self.time, stamp, out);
        }
        for field in self.fields {
            let name = field.name().unwrap_or_default();
            if is_taken(name) || more.replaces(name) || !more.keeps(name) || merged.is_some() && name == b"log" {
                continue;
            }
            comma(out);
            json::key(field.key, stamp, out)?;
            match self.joined {
                Some(Joined { log }) if name == b"log" => json::string(log, out),
                _ => json::nested(&mut Reader::new(field.value), stamp, out, 1)?,
            }
        }
        if let Some(log) = &merged {
            log.write(more, out);
        }
        for member in more.members.iter().filter(|member| more.keeps(member.name.as_bytes())) {
            if !is_taken(member.name.as_bytes()) && !more.stamps(member.name.as_bytes()) {
                comma(out);
                json::string(member.name.as_bytes(), out);
                out.push(b':');
                json::string(member.value.as_bytes(), out);
            }
        }
        if let Some((name, format)) = more.stamp.as_ref().filter(|(name, _)| more.keeps(name.as_bytes())) {
            comma(out);
            json::string(name.as_bytes(), out);
            out.push(b':');
            match *self.time {
                Time::At { seconds, nanos } => json::string(format.text_of(seconds, nanos).as_bytes(), out),
                _ => write_time(self.time, stamp, out),
            }
        }
        out.extend_from_slice(b"}\n");
        Ok(())
    }
}

impl Merged<'_> {
    /// Appends its members as they are written, or those of them that are kept.
    fn write(&self, more: &More, out: &mut Vec<u8>) {
        if self.is_empty {
            return;
        }
        let is_whole = more.only.is_empty() && !self.clashes.iter().any(|name| more.stamps(name));
        if is_whole {
            comma(out);
            let inside = self.text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or_default();
            return on_one_line(inside.trim_ascii().as_bytes(), out);
        }
        // Its syntax was checked a moment ago.
        let Ok(event) = Event::from_json(self.text) else { return };
        for (name, value) in event.raw_fields() {
            if more.keeps(name.as_bytes()) && !more.stamps(name.as_bytes()) {
                comma(out);
                json::string(name.as_bytes(), out);
                out.push(b':');
                on_one_line(value.as_bytes(), out);
            }
        }
    }
}

/// Appends JSON. A line break in it is white space, since those in texts are escaped.
fn on_one_line(json: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(json);
    for byte in out.iter_mut().skip(start).filter(|byte| matches!(**byte, b'\n' | b'\r')) {
        *byte = b' ';
    }
}

/// A comma, unless what is before it is the beginning.
fn comma(out: &mut Vec<u8>) {
    if out.last() != Some(&b'{') {
        out.push(b',');
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
