//! Lines that need no list of fields: text as it is, and JSON that is checked and passed on, with what is added spliced in. Nothing is looked at that
//! need not be, and each byte is copied once at most.

use std::borrow::Cow;

use memchr::memrchr;

use super::added::{Fields, MESSAGE, TAKES_ADDED};
use crate::event::{self, Event, Value};

/// The ways that need no list of fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direct {
    /// The line's bytes are the event.
    Raw,
    /// The line is a JSON object.
    Json,
}

/// What a parser made of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// The line, without white space around it, is the event as it stands: this range of it.
    Verbatim {
        /// The first byte.
        start: usize,
        /// The byte after the last.
        end: usize,
    },
    /// The event was appended to the output.
    Rendered,
    /// The line is blank, and a blank line means nothing to this parser.
    Blank,
    /// The line is not what the parser reads.
    Refused,
    /// An event was made of it, and dropped.
    Dropped,
}
/// Makes an event of a line. `invalid_utf8` is raised when the line's bytes had to be replaced.
pub fn parse(way: Direct, line: &[u8], fields: Fields<'_>, out: &mut Vec<u8>, invalid_utf8: &mut bool) -> Parsed {
    match way {
        Direct::Raw if fields.is_empty() && !fields.added.objects => {
            Parsed::Verbatim { start: 0, end: without_return(line).len() }
        }
        Direct::Raw => {
            message(without_return(line), &[], fields, out, invalid_utf8);
            Parsed::Rendered
        }
        Direct::Json => json(line, fields, out, invalid_utf8),
    }
}

fn json(line: &[u8], fields: Fields<'_>, out: &mut Vec<u8>, invalid_utf8: &mut bool) -> Parsed {
    let trimmed = line.trim_ascii();
    if trimmed.is_empty() {
        return Parsed::Blank;
    }
    if trimmed.first() != Some(&b'{') {
        return Parsed::Refused;
    }
    let text = text(trimmed);
    if event::is_too_deep(&text) {
        return Parsed::Refused;
    }
    let shape = if fields.is_empty() {
        event::check_object(&text).map(|()| None)
    } else if fields.clearly_missing(&text) {
        let shape = event::Shape { empty: is_empty_object(&text), taken: 0 };
        event::check_object(&text).map(|()| Some(shape))
    } else {
        event::look_at(&text, |name| fields.taken(name)).map(Some)
    };
    match (shape, &text) {
        (Err(_), _) => return Parsed::Refused,
        (Ok(None), Cow::Borrowed(_)) => {
            let start = line.len() - line.trim_ascii_start().len();
            return Parsed::Verbatim { start, end: start + trimmed.len() };
        }
        (Ok(None), Cow::Owned(replaced)) => out.extend_from_slice(replaced.as_bytes()),
        (Ok(Some(shape)), _) if shape.taken & TAKES_ADDED != 0 => {
            let mut event = Event::from_json(&text).expect("its syntax was checked a moment ago");
            fields.set_on(&mut event);
            event.write_to(out);
        }
        (Ok(Some(shape)), _) => {
            let end = memrchr(b'}', text.as_bytes()).expect("an object ends with a brace");
            out.extend_from_slice(&text.as_bytes()[..end]);
            fields.close(!shape.empty, shape.taken, out);
        }
    }
    *invalid_utf8 |= matches!(text, Cow::Owned(_));
    Parsed::Rendered
}

/// Whether an object that is known to be one has no field.
fn is_empty_object(object: &str) -> bool {
    object.strip_prefix('{').is_some_and(|rest| rest.trim_ascii_start().starts_with('}'))
}

/// The bytes as text. The check comes first because it is several times as fast as the replacement that it mostly saves.
pub fn text(bytes: &[u8]) -> Cow<'_, str> {
    simdutf8::basic::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

/// A line as text has it: a carriage return at its end belongs to the line's end.
pub fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Appends `{"message": line, ...}` with these further fields.
pub fn message(
    line: &[u8],
    further: &[(&str, Value<'_>)],
    fields: Fields<'_>,
    out: &mut Vec<u8>,
    invalid_utf8: &mut bool,
) {
    let text = text(line);
    *invalid_utf8 |= matches!(text, Cow::Owned(_));
    let mut event = Event::default();
    if further.is_empty() && !fields.added.has(MESSAGE) {
        // What nearly all lines are spared is a list of fields.
        out.extend_from_slice(b"{\"message\":");
        event::write_text(&text, out);
        return fields.close(true, 0, out);
    }
    event.set(MESSAGE, Value::Text(text));
    for (name, value) in further {
        event.set(name, value.clone());
    }
    fields.set_on(&mut event);
    event.write_to(out);
}
