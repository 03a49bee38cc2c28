//! From a line's bytes to an event's bytes. Pure; framing happened before, packing comes after.

use std::borrow::Cow;

use memchr::memrchr;

use crate::config::Parse;
use crate::event::{self, Event, Value};

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
}

/// Fields that every event of a file gets, ready to be written.
#[derive(Debug, Clone, Default)]
pub struct Added {
    names: Vec<String>,
    /// The values as JSON, in the order of the names.
    values: Vec<String>,
    /// `"name":value` of all of them, joined by commas.
    joined: Vec<u8>,
    offset: bool,
}

/// The name of the field that holds a line's offset.
const OFFSET: &str = "offset";
/// The name of the field that holds a line that has no fields of its own.
pub const MESSAGE: &str = "message";

impl Added {
    /// Fields with fixed values, and whether the line's offset is one too.
    pub fn new(fields: impl IntoIterator<Item = (String, serde_json::Value)>, offset: bool) -> Self {
        let mut added = Self { offset, ..Self::default() };
        for (name, value) in fields {
            if !added.joined.is_empty() {
                added.joined.push(b',');
            }
            event::write_text(&name, &mut added.joined);
            added.joined.push(b':');
            let value = value.to_string();
            added.joined.extend_from_slice(value.as_bytes());
            added.names.push(name);
            added.values.push(value);
        }
        added
    }

    /// Whether there is nothing to add.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && !self.offset
    }

    fn has(&self, name: &str) -> bool {
        self.names.iter().any(|n| n == name) || (self.offset && name == OFFSET)
    }

    fn set_on<'a>(&'a self, event: &mut Event<'a>, offset: u64) {
        for (name, value) in self.names.iter().zip(&self.values) {
            event.set(name, Value::Raw(value));
        }
        if self.offset {
            event.set(OFFSET, Value::Number(offset));
        }
    }

    fn splice(&self, object: &str, empty: bool, offset: u64, out: &mut Vec<u8>) {
        let end = memrchr(b'}', object.as_bytes()).expect("an object ends with a brace");
        out.extend_from_slice(&object.as_bytes()[..end]);
        let mut comma = !empty;
        if !self.joined.is_empty() {
            if comma {
                out.push(b',');
            }
            out.extend_from_slice(&self.joined);
            comma = true;
        }
        if self.offset {
            if comma {
                out.push(b',');
            }
            out.extend_from_slice(b"\"offset\":");
            event::write_number(offset, out);
        }
        out.push(b'}');
    }
}

/// Makes an event of a line. `invalid_utf8` is raised when the line's bytes had to be replaced.
pub fn parse(
    parser: Parse,
    line: &[u8],
    added: &Added,
    offset: u64,
    out: &mut Vec<u8>,
    invalid_utf8: &mut bool,
) -> Parsed {
    match parser {
        Parse::Raw if added.is_empty() => Parsed::Verbatim { start: 0, end: line.len() },
        Parse::Raw => {
            message(without_return(line), &[], added, offset, out, invalid_utf8);
            Parsed::Rendered
        }
        Parse::Json => json(line, added, offset, out, invalid_utf8),
    }
}

fn json(line: &[u8], added: &Added, offset: u64, out: &mut Vec<u8>, invalid_utf8: &mut bool) -> Parsed {
    let trimmed = line.trim_ascii();
    if trimmed.is_empty() {
        return Parsed::Blank;
    }
    if trimmed.first() != Some(&b'{') {
        return Parsed::Refused;
    }
    let text = text(trimmed);
    let shape = if added.is_empty() {
        event::check_object(&text).map(|()| None)
    } else {
        event::look_at(&text, |name| added.has(name)).map(Some)
    };
    match (shape, &text) {
        (Err(_), _) => return Parsed::Refused,
        (Ok(None), Cow::Borrowed(_)) => {
            let start = line.len() - line.trim_ascii_start().len();
            return Parsed::Verbatim { start, end: start + trimmed.len() };
        }
        (Ok(None), Cow::Owned(replaced)) => out.extend_from_slice(replaced.as_bytes()),
        (Ok(Some(shape)), _) if shape.taken => {
            let mut event = Event::from_json(&text).expect("its syntax was checked a moment ago");
            added.set_on(&mut event, offset);
            event.write_to(out);
        }
        (Ok(Some(shape)), _) => added.splice(&text, shape.empty, offset, out),
    }
    *invalid_utf8 |= matches!(text, Cow::Owned(_));
    Parsed::Rendered
}

/// The bytes as text. The check comes first because it is several times as fast as the replacement that it mostly saves.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

/// A line as text has it: a carriage return at its end belongs to the line's end.
pub fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Appends `{"message": line, ...}` with these further fields.
pub fn message<'a>(
    line: &'a [u8],
    further: &[(&'a str, Value<'a>)],
    added: &'a Added,
    offset: u64,
    out: &mut Vec<u8>,
    invalid_utf8: &mut bool,
) {
    let text = text(line);
    *invalid_utf8 |= matches!(text, Cow::Owned(_));
    let mut event = Event::default();
    event.set(MESSAGE, Value::Text(text));
    for (name, value) in further {
        event.set(name, value.clone());
    }
    added.set_on(&mut event, offset);
    event.write_to(out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn added(offset: bool) -> Added {
        Added::new([("host".to_owned(), json!("h1")), ("env".to_owned(), json!({"n": 1}))], offset)
    }

    fn run(parser: Parse, line: &[u8], added: &Added) -> (Parsed, String, bool) {
        let (mut out, mut invalid) = (Vec::new(), false);
        let parsed = parse(parser, line, added, 42, &mut out, &mut invalid);
        (parsed, String::from_utf8(out).unwrap(), invalid)
    }

    #[test]
    fn a_line_that_nothing_changes_is_not_copied() {
        let line = b" \t{\"a\":1}\r";
        assert_eq!(run(Parse::Json, line, &Added::default()).0, Parsed::Verbatim { start: 2, end: 9 });
        assert_eq!(run(Parse::Raw, b"\xff\r", &Added::default()).0, Parsed::Verbatim { start: 0, end: 2 });
    }

    #[test]
    fn added_fields_are_spliced_in_or_replace_the_lines_own() {
        for (line, want) in [
            (r#"{"a":1}"#, r#"{"a":1,"host":"h1","env":{"n":1},"offset":42}"#),
            ("{ }", r#"{ "host":"h1","env":{"n":1},"offset":42}"#),
            (r#"{"host":"x","a":[{}]}"#, r#"{"host":"h1","a":[{}],"env":{"n":1},"offset":42}"#),
            (r#"{"offset":"x"}"#, r#"{"offset":42,"host":"h1","env":{"n":1}}"#),
        ] {
            assert_eq!(run(Parse::Json, line.as_bytes(), &added(true)), (Parsed::Rendered, want.to_owned(), false));
        }
        let only_offset = Added::new([], true);
        assert_eq!(run(Parse::Json, b"{}", &only_offset).1, r#"{"offset":42}"#);
        assert_eq!(run(Parse::Raw, b"x\"y\r", &added(false)).1, r#"{"message":"x\"y","host":"h1","env":{"n":1}}"#);
    }

    #[test]
    fn bytes_that_are_not_utf8_become_replacement_characters_and_are_told_of() {
        let (parsed, text, invalid) = run(Parse::Json, b"{\"a\":\"\xff\"}", &Added::default());
        assert_eq!((parsed, text.as_str(), invalid), (Parsed::Rendered, "{\"a\":\"\u{fffd}\"}", true));
        let (_, text, invalid) = run(Parse::Raw, b"a\xc3(", &Added::new([], true));
        assert_eq!((text.as_str(), invalid), ("{\"message\":\"a\u{fffd}(\",\"offset\":42}", true));
    }

    #[test]
    fn what_is_no_object_is_refused_and_what_is_blank_is_said_to_be() {
        for refused in ["1", "[1]", "\"x\"", "{", "{]", "nginx: started", "{\"a\":\0}"] {
            assert_eq!(run(Parse::Json, refused.as_bytes(), &Added::default()).0, Parsed::Refused, "{refused}");
        }
        for blank in ["", "  \r", "\t"] {
            assert_eq!(run(Parse::Json, blank.as_bytes(), &Added::default()).0, Parsed::Blank);
        }
    }

    proptest! {
        /// For all bytes, whatever the JSON parser lets through is one JSON object with the added fields in it.
        #[test]
        fn what_comes_out_is_json(line in prop_oneof![prop::collection::vec(any::<u8>(), 0..60),
                                                       "[{}\\[\\]\":,a-c0-9\\\\u]{0,24}".prop_map(String::into_bytes),
                                                       "\\{(\"[a-zo\"\\\\]{0,4}\":[0-9],?){0,3}\\}".prop_map(String::into_bytes)]) {
            let fields = added(true);
            let (mut out, mut invalid) = (Vec::new(), false);
            match parse(Parse::Json, &line, &fields, 42, &mut out, &mut invalid) {
                Parsed::Rendered => {
                    let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
                    prop_assert_eq!((&value["host"], &value["offset"]), (&json!("h1"), &json!(42)));
                }
                other => prop_assert!(matches!(other, Parsed::Refused | Parsed::Blank) && out.is_empty()),
            }
            out.clear();
            message(&line, &[], &fields, 42, &mut out, &mut invalid);
            serde_json::from_slice::<serde_json::Value>(&out).unwrap();
        }
    }
}
