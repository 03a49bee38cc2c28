//! From a line's bytes to an event's bytes. Pure; framing happened before, packing comes after.

pub mod alb;
pub mod apache;
#[cfg(test)]
mod check;
mod cursor;
pub mod envoy;
pub mod grok;
pub mod haproxy;
pub mod log4j;
pub mod nginx;
pub mod regex;
mod request;

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use memchr::memmem::Finder;
use memchr::{memchr, memrchr};

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
#[expect(clippy::struct_excessive_bools, reason = "each is a setting by itself")]
pub struct Added {
    names: Vec<String>,
    /// The values as JSON, in the order of the names.
    values: Vec<String>,
    /// `"name":value` of all of them, joined by commas.
    joined: Vec<u8>,
    offset: bool,
    /// What a container runtime says of a line; an event's own fields of these names win.
    stream: bool,
    time: bool,
    /// The value of `kubernetes` as JSON.
    kubernetes: Option<String>,
    /// Text becomes an object even if nothing is added to it.
    objects: bool,
    /// What is known of the place, so far.
    known: Arc<Known>,
}

/// The names of objects that hold what is known of the place.
pub const TOPS: [&str; 4] = ["ecs", "cloud", KUBERNETES, "host"];

/// Objects that events get, such as `ecs`; an event's own field of the name wins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// By their names, which are among [`TOPS`], in that order.
    objects: Vec<(&'static str, String)>,
}

impl Known {
    /// Objects by their names, each in JSON. Names that none of these can have are left out.
    pub fn new(objects: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        Self { objects: objects.into_iter().filter(|(name, _)| TOPS.contains(name)).collect() }
    }
}

/// The name of the field that holds a line's offset.
const OFFSET: &str = "offset";
/// The name of the field that holds a line that has no fields of its own.
pub const MESSAGE: &str = "message";
/// The names of the fields that a container runtime's words are put under.
const STREAM: &str = "stream";
const TIME: &str = "time";
const KUBERNETES: &str = "kubernetes";
/// The same as they stand in an object.
static ORIGIN_NAMES: LazyLock<[Finder<'static>; 3]> =
    LazyLock::new(|| ["\"stream\"", "\"time\"", "\"kubernetes\""].map(Finder::new));
/// Those of what is known of the place.
static KNOWN_NAMES: LazyLock<[Finder<'static>; 4]> =
    LazyLock::new(|| ["\"ecs\"", "\"cloud\"", "\"kubernetes\"", "\"host\""].map(Finder::new));

/// What an object's names can stand in the way of, as bits.
const TAKES_ADDED: u8 = 1;
const TAKES_STREAM: u8 = 2;
const TAKES_TIME: u8 = 4;
const TAKES_KUBERNETES: u8 = 8;
const TAKES_ECS: u8 = 16;
const TAKES_CLOUD: u8 = 32;
const TAKES_HOST: u8 = 64;

/// What a container runtime says of a line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Origin<'a> {
    /// `stdout` or `stderr`; empty if it is not known.
    pub stream: &'static str,
    /// When it was written, in the runtime's own words; empty if that is not known.
    pub time: &'a str,
}

/// The fields that one event gets.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a> {
    /// Those of its file.
    pub added: &'a Added,
    /// Where its line starts in the file.
    pub offset: u64,
    /// What the container runtime said of it, if one did.
    pub origin: Option<Origin<'a>>,
}

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

    /// Adds what a container runtime and its paths say, where an event does not say it itself.
    #[must_use]
    pub fn with_origin(mut self, stream: bool, time: bool, kubernetes: Option<serde_json::Value>) -> Self {
        self.stream = stream && !self.has(STREAM);
        self.time = time && !self.has(TIME);
        self.kubernetes = kubernetes.filter(|_| !self.has(KUBERNETES)).map(|value| value.to_string());
        self
    }

    /// Makes objects of text: where a record can have several lines, its text alone could not be told from several records.
    #[must_use]
    pub fn as_objects(mut self, objects: bool) -> Self {
        self.objects = objects;
        self
    }

    /// Events from now on get this of what is known of the place.
    pub fn know(&mut self, known: Arc<Known>) {
        self.known = known;
    }

    fn has(&self, name: &str) -> bool {
        self.names.iter().any(|n| n == name) || (self.offset && name == OFFSET)
    }
}

impl<'a> Fields<'a> {
    /// Whether there is nothing to add.
    fn is_empty(&self) -> bool {
        let Added { names, offset, stream, time, kubernetes, known, .. } = self.added;
        // Of a runtime's file, all events look alike, also that of a line of which the runtime says nothing.
        let origin = self.origin.is_some() && (*stream || *time || kubernetes.is_some());
        names.is_empty() && !offset && !origin && known.objects.is_empty()
    }

    /// What is known of the place and has no other of its name.
    fn known(&self) -> impl Iterator<Item = (&'static str, &'a str)> + use<'a> {
        let (added, of_path) = (self.added, self.kubernetes().is_some());
        let objects = added.known.objects.iter().map(|(name, value)| (*name, value.as_str()));
        // Of the logs of other pods it is theirs that counts.
        objects.filter(move |(name, _)| !(added.has(name) || of_path && *name == KUBERNETES))
    }

    fn stream(&self) -> Option<&'a str> {
        self.origin.map(|origin| origin.stream).filter(|stream| self.added.stream && !stream.is_empty())
    }

    fn time(&self) -> Option<&'a str> {
        self.origin.map(|origin| origin.time).filter(|time| self.added.time && !time.is_empty())
    }

    fn kubernetes(&self) -> Option<&'a str> {
        self.added.kubernetes.as_deref().filter(|_| self.origin.is_some())
    }

    /// Whether an object has none of the names, as far as a search for them shows, which is quicker than to look at each of its names. One
    /// written with escapes is found by its backslash.
    fn clearly_missing(&self, object: &str) -> bool {
        let Added { names, offset, known, .. } = self.added;
        let bytes = object.as_bytes();
        let lacks = |names: &[Finder<'static>]| names.iter().all(|name| name.find(bytes).is_none());
        names.is_empty()
            && !offset
            && memchr(b'\\', bytes).is_none()
            && (self.origin.is_none() || lacks(&*ORIGIN_NAMES))
            && (known.objects.is_empty() || lacks(&*KNOWN_NAMES))
    }

    /// What an object's name takes.
    fn taken(&self, name: &str) -> u8 {
        match name {
            _ if self.added.has(name) => TAKES_ADDED,
            STREAM => TAKES_STREAM,
            TIME => TAKES_TIME,
            _ => taken_by(name),
        }
    }

    fn set_on(&self, event: &mut Event<'a>) {
        if let Some(stream) = self.stream() {
            event.set_if_absent(STREAM, Value::Text(Cow::Borrowed(stream)));
        }
        if let Some(time) = self.time() {
            event.set_if_absent(TIME, Value::Text(Cow::Borrowed(time)));
        }
        if let Some(kubernetes) = self.kubernetes() {
            event.set_if_absent(KUBERNETES, Value::Raw(kubernetes));
        }
        for (name, value) in self.known() {
            event.set_if_absent(name, Value::Raw(value));
        }
        for (name, value) in self.added.names.iter().zip(&self.added.values) {
            event.set(name, Value::Raw(value));
        }
        if self.added.offset {
            event.set(OFFSET, Value::Number(self.offset));
        }
    }

    /// Appends what is not taken to an object whose brace is still open, and closes it.
    fn close(&self, mut comma: bool, taken: u8, out: &mut Vec<u8>) {
        let mut field = |name: &[u8], value: &mut dyn FnMut(&mut Vec<u8>)| {
            if std::mem::replace(&mut comma, true) {
                out.push(b',');
            }
            out.extend_from_slice(name);
            value(out);
        };
        if let Some(stream) = self.stream().filter(|_| taken & TAKES_STREAM == 0) {
            field(b"\"stream\":", &mut |out| write_plain(stream, out));
        }
        if let Some(time) = self.time().filter(|_| taken & TAKES_TIME == 0) {
            field(b"\"time\":", &mut |out| write_plain(time, out));
        }
        if let Some(kubernetes) = self.kubernetes().filter(|_| taken & TAKES_KUBERNETES == 0) {
            field(b"\"kubernetes\":", &mut |out| out.extend_from_slice(kubernetes.as_bytes()));
        }
        for (name, value) in self.known().filter(|(name, _)| taken & taken_by(name) == 0) {
            field(b"\"", &mut |out| {
                out.extend_from_slice(name.as_bytes());
                out.extend_from_slice(b"\":");
                out.extend_from_slice(value.as_bytes());
            });
        }
        if !self.added.joined.is_empty() {
            field(&self.added.joined, &mut |_| {});
        }
        if self.added.offset {
            field(b"\"offset\":", &mut |out| event::write_number(self.offset, out));
        }
        out.push(b'}');
    }
}

/// What an object's name at the top takes of those that are not set by the user.
fn taken_by(name: &str) -> u8 {
    match name {
        KUBERNETES => TAKES_KUBERNETES,
        "ecs" => TAKES_ECS,
        "cloud" => TAKES_CLOUD,
        "host" => TAKES_HOST,
        _ => 0,
    }
}

/// Appends a JSON string; the words of a container runtime hardly ever need an escape.
fn write_plain(text: &str, out: &mut Vec<u8>) {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b':' | b'.' | b'+');
    if !text.bytes().all(is_plain) {
        return event::write_text(text, out);
    }
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

/// Makes an event of a line. `invalid_utf8` is raised when the line's bytes had to be replaced.
pub fn parse(parser: Parse, line: &[u8], fields: Fields<'_>, out: &mut Vec<u8>, invalid_utf8: &mut bool) -> Parsed {
    match parser {
        Parse::Raw if fields.is_empty() && !fields.added.objects => {
            Parsed::Verbatim { start: 0, end: without_return(line).len() }
        }
        Parse::Raw => {
            message(without_return(line), &[], fields, out, invalid_utf8);
            Parsed::Rendered
        }
        Parse::Json => json(line, fields, out, invalid_utf8),
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
fn text(bytes: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn added(offset: bool) -> Added {
        Added::new([("host".to_owned(), json!("h1")), ("env".to_owned(), json!({"n": 1}))], offset)
    }

    fn run(parser: Parse, line: &[u8], added: &Added) -> (Parsed, String, bool) {
        run_from(parser, line, added, None)
    }

    fn run_from(parser: Parse, line: &[u8], added: &Added, origin: Option<Origin<'_>>) -> (Parsed, String, bool) {
        let (mut out, mut invalid) = (Vec::new(), false);
        let parsed = parse(parser, line, Fields { added, offset: 42, origin }, &mut out, &mut invalid);
        (parsed, String::from_utf8(out).unwrap(), invalid)
    }

    #[test]
    fn a_line_that_nothing_changes_is_not_copied() {
        let line = b" \t{\"a\":1}\r";
        assert_eq!(run(Parse::Json, line, &Added::default()).0, Parsed::Verbatim { start: 2, end: 9 });
        assert_eq!(run(Parse::Raw, b"\xff\r", &Added::default()).0, Parsed::Verbatim { start: 0, end: 1 });
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
    fn what_a_container_runtime_says_is_added_where_the_event_does_not_say_it() {
        let kubernetes = Some(json!({"pod_name": "p"}));
        let added = Added::new([("host".to_owned(), json!("h"))], false).with_origin(true, true, kubernetes);
        let origin = Some(Origin { stream: "stderr", time: "2026-01-02T03:04:05.6+00:00" });
        for (parser, line, want) in [
            (
                Parse::Json,
                r#"{"a":1}"#,
                r#"{"a":1,"stream":"stderr","time":"2026-01-02T03:04:05.6+00:00","kubernetes":{"pod_name":"p"},"host":"h"}"#,
            ),
            (
                Parse::Json,
                r#"{"time":1,"stream":2,"kubernetes":3}"#,
                r#"{"time":1,"stream":2,"kubernetes":3,"host":"h"}"#,
            ),
            (
                Parse::Json,
                r#"{"host":1,"time":2}"#,
                r#"{"host":"h","time":2,"stream":"stderr","kubernetes":{"pod_name":"p"}}"#,
            ),
            (
                Parse::Raw,
                "x",
                r#"{"message":"x","stream":"stderr","time":"2026-01-02T03:04:05.6+00:00","kubernetes":{"pod_name":"p"},"host":"h"}"#,
            ),
        ] {
            assert_eq!(run_from(parser, line.as_bytes(), &added, origin).1, want);
        }
        // A line of another origin has none of it, and a fixed field of the name wins.
        assert_eq!(run(Parse::Json, b"{}", &added).1, r#"{"host":"h"}"#);
        let fixed = Added::new([("time".to_owned(), json!(0))], false).with_origin(false, true, None);
        assert_eq!(run_from(Parse::Json, br#"{"time":1}"#, &fixed, origin).1, r#"{"time":0}"#);
        let nothing = Added::default().with_origin(false, false, None);
        assert_eq!(run_from(Parse::Raw, b"x", &nothing, origin).0, Parsed::Verbatim { start: 0, end: 1 });
    }

    #[test]
    fn what_is_known_of_the_place_is_added_unless_the_event_has_a_field_of_the_name() {
        let objects = [("ecs", r#"{"cluster":"c"}"#), ("kubernetes", r#"{"pod_name":"own"}"#), ("nobody", "1")];
        let known = Arc::new(Known::new(objects.map(|(name, value)| (name, value.to_owned()))));
        let mut plain = Added::default();
        plain.know(Arc::clone(&known));
        let mut both = Added::new([("host".to_owned(), json!("h"))], false);
        both = both.with_origin(true, true, Some(json!({"pod_name": "other"})));
        both.know(known);
        let origin = Some(Origin { stream: "stdout", time: "" });
        for (added, origin, line, want) in [
            (&plain, None, r#"{"a":1}"#, r#"{"a":1,"ecs":{"cluster":"c"},"kubernetes":{"pod_name":"own"}}"#),
            (&plain, None, r#"{"ecs":1,"x":"\u0041"}"#, r#"{"ecs":1,"x":"\u0041","kubernetes":{"pod_name":"own"}}"#),
            (&plain, None, r#"{"kubernetes":{},"ecs":{}}"#, r#"{"kubernetes":{},"ecs":{}}"#),
            (&plain, None, "{}", r#"{"ecs":{"cluster":"c"},"kubernetes":{"pod_name":"own"}}"#),
            (
                &both,
                origin,
                "{}",
                r#"{"stream":"stdout","kubernetes":{"pod_name":"other"},"ecs":{"cluster":"c"},"host":"h"}"#,
            ),
            (
                &both,
                origin,
                r#"{"host":1}"#,
                r#"{"host":"h","stream":"stdout","kubernetes":{"pod_name":"other"},"ecs":{"cluster":"c"}}"#,
            ),
        ] {
            assert_eq!(run_from(Parse::Json, line.as_bytes(), added, origin).1, want);
        }
        assert_eq!(
            run(Parse::Raw, b"x", &plain).1,
            r#"{"message":"x","ecs":{"cluster":"c"},"kubernetes":{"pod_name":"own"}}"#
        );
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
            let fields = Fields { added: &fields, offset: 42, origin: None };
            match parse(Parse::Json, &line, fields, &mut out, &mut invalid) {
                Parsed::Rendered => {
                    let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
                    prop_assert_eq!((&value["host"], &value["offset"]), (&json!("h1"), &json!(42)));
                }
                other => prop_assert!(matches!(other, Parsed::Refused | Parsed::Blank) && out.is_empty()),
            }
            out.clear();
            message(&line, &[], fields, &mut out, &mut invalid);
            serde_json::from_slice::<serde_json::Value>(&out).unwrap();
        }
    }
}
