//! What travels down the line: spans, batches and events. Plain data and its rendering; it reads no file and sends nothing.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use memchr::{memchr, memchr2_iter};
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::budget::Permit;
use crate::line::Counts;
use crate::route::Routes;

/// One file as it was opened: a rotated file and its successor under the same path are two sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(pub u32);

/// A byte range of one source. Spans are how an acknowledgement finds its way back to the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The file.
    pub source: SourceId,
    /// The first byte.
    pub start: u64,
    /// The byte after the last.
    pub end: u64,
}

/// Adds a span to a list, growing the last one where the two are adjacent: a list stays as long as it has holes, not events.
pub fn join_span(spans: &mut Vec<Span>, next: Span) {
    match spans.last_mut() {
        Some(last) if last.source == next.source && last.end == next.start => last.end = next.end,
        _ => spans.push(next),
    }
}

/// Events that must arrive in the order they were read share a lane; a lane has one partition key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneId(pub u32);

/// The place of one event's bytes in its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventRef {
    /// The first byte, in the chunk or among the rendered bytes.
    pub start: u32,
    /// The byte after the last.
    pub end: u32,
    /// Whether the event was rendered; otherwise it is a range of the chunk as it was read.
    pub rendered: bool,
    /// Where the event's span begins in the file: the last of its ranges, and for nearly all events the only one.
    pub span_start: u64,
    /// Where it ends.
    pub span_end: u64,
}

/// A further range of the file that belongs to an event: pieces of other lines lie between it and the event's span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Further {
    /// The event's index in its batch.
    pub event: u32,
    /// The first byte.
    pub start: u64,
    /// The byte after the last.
    pub end: u64,
}

/// A line that no event was made of and that goes to the dead-letter file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Its bytes.
    pub line: Vec<u8>,
    /// Why, in the words of the `reason` label.
    pub reason: &'static str,
}

/// What one read produced. It crosses from the reader to the sender once, with the memory it takes.
#[derive(Debug)]
pub struct Batch {
    /// The file it was read from.
    pub source: SourceId,
    /// The name of the configured source that the file belongs to.
    pub source_name: Arc<str>,
    /// The name of the parser, as the label says it.
    pub parser: Arc<str>,
    /// The ordering lane of the file.
    pub lane: LaneId,
    /// The partition key of the lane.
    pub partition_key: Arc<str>,
    /// The bytes as they were read.
    pub chunk: Vec<u8>,
    /// The bytes of events that are not ranges of the chunk.
    pub rendered: Vec<u8>,
    /// The events, in the order in which they ended in the file.
    pub events: Vec<EventRef>,
    /// Further ranges of events, in the order of the events. Empty but for lines that were joined across others.
    pub more: Vec<Further>,
    /// Ranges that no event was made of, and none will be.
    pub unused: Vec<(u64, u64)>,
    /// Lines for the dead-letter file.
    pub rejected: Vec<Rejected>,
    /// What was seen while it was made.
    pub counts: Counts,
    /// Where its events go by their own words.
    pub routes: Routes,
    /// The file's bytes that were read for it: from here. Some may be held back and come with a later batch ...
    pub start: u64,
    /// ... to here.
    pub end: u64,
    /// When it was read.
    pub read_at: Instant,
    /// The memory it holds.
    pub permit: Permit,
}

impl Batch {
    /// The bytes of one event, without the newline that ends it.
    pub fn bytes(&self, event: &EventRef) -> &[u8] {
        let from = if event.rendered { &self.rendered } else { &self.chunk };
        &from[event.start as usize..event.end as usize]
    }

    /// The spans that no event was made of.
    pub fn unused(&self) -> impl Iterator<Item = Span> {
        self.unused.iter().map(|&(start, end)| Span { source: self.source, start, end })
    }
}

/// A field's value: borrowed from the line wherever it can be.
#[derive(Debug, Clone)]
pub enum Value<'a> {
    /// JSON as it stands in the line.
    Raw(&'a str),
    /// JSON that was made.
    Json(String),
    /// Text to be quoted.
    Text(Cow<'a, str>),
    /// A number.
    Number(u64),
    /// A truth value.
    Bool(bool),
}

impl<'a> Value<'a> {
    /// JSON's null.
    pub const NULL: Value<'static> = Value::Raw("null");

    /// Text that is borrowed.
    pub const fn text(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }

    /// A number with the digits that it was written with, if JSON's readers take it as it stands; a sign of plus and leading zeros are not.
    pub fn number(text: &'a str) -> Option<Self> {
        (is_json_number(text) && is_in_range(text)).then_some(Self::Raw(text))
    }

    /// A number where [`Value::number`] takes it, text otherwise.
    pub fn number_or_text(text: &'a str) -> Self {
        Self::number(text).unwrap_or(Self::text(text))
    }

    /// The value with what it borrowed copied.
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Self::Raw(json) => Value::Json(json.to_owned()),
            Self::Json(json) => Value::Json(json),
            Self::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
            Self::Number(n) => Value::Number(n),
            Self::Bool(b) => Value::Bool(b),
        }
    }

    /// What the value says: text without its quotes and escapes, anything else as its JSON.
    pub fn as_str(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            Self::Number(n) => Cow::Owned(n.to_string()),
            Self::Bool(b) => Cow::Borrowed(if *b { "true" } else { "false" }),
            Self::Raw(_) | Self::Json(_) => {
                self.string().unwrap_or_else(|| Cow::Borrowed(self.json().unwrap_or_default()))
            }
        }
    }

    /// The text of a value that is text, without its quotes and escapes.
    pub fn string(&self) -> Option<Cow<'_, str>> {
        let json = match self {
            Self::Text(text) => return Some(Cow::Borrowed(text)),
            Self::Number(_) | Self::Bool(_) => return None,
            Self::Raw(json) => *json,
            Self::Json(json) => json,
        };
        let inner = json.strip_prefix('"')?.strip_suffix('"')?;
        if memchr(b'\\', inner.as_bytes()).is_none() {
            return Some(Cow::Borrowed(inner));
        }
        serde_json::from_str(json).ok().map(Cow::Owned)
    }

    /// The JSON of a value that is held as JSON.
    pub fn json(&self) -> Option<&str> {
        match self {
            Self::Raw(json) => Some(json),
            Self::Json(json) => Some(json),
            Self::Text(_) | Self::Number(_) | Self::Bool(_) => None,
        }
    }

    /// About how many bytes it takes.
    #[inline]
    fn size_hint(&self) -> usize {
        match self {
            Self::Raw(json) => json.len(),
            Self::Json(json) => json.len(),
            Self::Text(text) => text.len() + 2,
            Self::Number(_) | Self::Bool(_) => 8,
        }
    }

    /// Appends the value as JSON.
    #[inline]
    pub fn write_to(&self, out: &mut Vec<u8>) {
        match self {
            Self::Raw(json) => out.extend_from_slice(json.as_bytes()),
            Self::Json(json) => out.extend_from_slice(json.as_bytes()),
            Self::Text(text) => write_text(text, out),
            Self::Number(n) => write_number(*n, out),
            Self::Bool(b) => out.extend_from_slice(if *b { b"true" } else { b"false" }),
        }
    }
}

/// Whether JSON's grammar takes the text as a number.
pub fn is_json_number(text: &str) -> bool {
    let digits = |bytes: &mut &[u8]| {
        let count = bytes.iter().take_while(|b| b.is_ascii_digit()).count();
        *bytes = &bytes[count..];
        count
    };
    let bytes = &mut text.as_bytes();
    if let [b'-', rest @ ..] = *bytes {
        *bytes = rest;
    }
    let zero = bytes.first() == Some(&b'0');
    let whole = digits(bytes);
    if whole == 0 || zero && whole > 1 {
        return false;
    }
    if let [b'.', rest @ ..] = *bytes {
        *bytes = rest;
        if digits(bytes) == 0 {
            return false;
        }
    }
    if let [b'e' | b'E', rest @ ..] = *bytes {
        *bytes = rest;
        if let [b'+' | b'-', rest @ ..] = *bytes {
            *bytes = rest;
        }
        if digits(bytes) == 0 {
            return false;
        }
    }
    bytes.is_empty()
}

/// Whether a number is one to readers that make a double of it: `1e999`, which is rather a hash than a number, would spoil its whole event.
pub fn is_in_range(number: &str) -> bool {
    let is_short = number.len() < 300 && number.bytes().all(|b| b | 0x20 != b'e');
    is_short || number.parse::<f64>().is_ok_and(f64::is_finite)
}

/// An ordered list of top-level fields.
#[derive(Debug, Clone, Default)]
pub struct Event<'a> {
    fields: Vec<(Cow<'a, str>, Value<'a>)>,
}

impl<'a> Event<'a> {
    /// The top-level fields of a JSON object; nothing nested is looked at but for its syntax.
    pub fn from_json(line: &'a str) -> Result<Self, serde_json::Error> {
        let mut event = Self { fields: Vec::with_capacity(16) };
        event.append_json(line)?;
        Ok(event)
    }

    /// Appends the top-level fields of a JSON object, or says why it is none.
    pub fn read_json(&mut self, line: &'a str) -> Result<(), &'static str> {
        if !line.starts_with('{') {
            return Err("it does not begin with a brace, so it is no JSON object");
        }
        if is_too_deep(line) {
            return Err(TOO_DEEP);
        }
        self.append_json(line).map_err(|error| match error.classify() {
            serde_json::error::Category::Eof => "it is JSON that ends too early",
            _ => "it is not JSON",
        })
    }

    fn append_json(&mut self, line: &'a str) -> Result<(), serde_json::Error> {
        let mut de = serde_json::Deserializer::from_str(line);
        de.deserialize_map(Fields(&mut self.fields))?;
        de.end()
    }

    /// The fields with what they borrowed copied.
    pub fn into_owned(self) -> Vec<(Cow<'static, str>, Value<'static>)> {
        self.fields.into_iter().map(|(name, value)| (Cow::Owned(name.into_owned()), value.into_owned())).collect()
    }

    /// The fields that are JSON as it stands in the line, in their order.
    pub fn raw_fields(&self) -> impl Iterator<Item = (&str, &'a str)> {
        self.fields.iter().filter_map(|(name, value)| match value {
            Value::Raw(json) => Some((&**name, *json)),
            Value::Json(_) | Value::Text(_) | Value::Number(_) | Value::Bool(_) => None,
        })
    }

    /// Appends a field, whether or not there is one of that name.
    #[inline]
    pub fn push(&mut self, name: impl Into<Cow<'a, str>>, value: Value<'a>) {
        self.fields.push((name.into(), value));
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there is no field.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Takes back what was appended after there were this many fields.
    #[inline]
    pub fn truncate(&mut self, len: usize) {
        self.fields.truncate(len);
    }

    /// All fields, in their order.
    pub fn fields(&self) -> &[(Cow<'a, str>, Value<'a>)] {
        &self.fields
    }

    /// All fields, in their order, to be changed.
    pub fn fields_mut(&mut self) -> &mut Vec<(Cow<'a, str>, Value<'a>)> {
        &mut self.fields
    }

    /// A field's value. Of several of a name it is the last, as for most readers of JSON.
    pub fn get(&self, name: &str) -> Option<&Value<'a>> {
        self.fields.iter().rev().find(|(n, _)| n == name).map(|(_, value)| value)
    }

    /// Takes out every field of a name, and answers the last one's value.
    pub fn remove(&mut self, name: &str) -> Option<Value<'a>> {
        let at = self.fields.iter().rposition(|(n, _)| n == name)?;
        let (_, value) = self.fields.remove(at);
        self.fields.retain(|(n, _)| n != name);
        Some(value)
    }

    /// An event without fields in this one's memory, for another line.
    #[must_use]
    pub fn recycle<'b>(mut self) -> Event<'b> {
        self.fields.clear();
        // The standard library does this in place: the same allocation, another lifetime.
        Event { fields: self.fields.into_iter().map(|_| unreachable!("it was cleared")).collect() }
    }

    /// Sets a field: in its old place if it is there, at the end if it is not. A later duplicate of it goes away.
    pub fn set(&mut self, name: &'a str, value: Value<'a>) {
        let Some(at) = self.fields.iter().position(|(n, _)| n == name) else {
            self.fields.push((Cow::Borrowed(name), value));
            return;
        };
        self.fields[at].1 = value;
        let mut index = 0;
        self.fields.retain(|(n, _)| {
            index += 1;
            index - 1 <= at || n != name
        });
    }

    /// Sets a field unless there is one of that name.
    #[inline]
    pub fn set_if_absent(&mut self, name: &'a str, value: Value<'a>) {
        if self.fields.iter().all(|(n, _)| n != name) {
            self.fields.push((Cow::Borrowed(name), value));
        }
    }

    /// Appends the event as a JSON object.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        let mut before: &[u8] = b"{\"";
        for (name, value) in &self.fields {
            if needs_escape(name.as_bytes()) {
                out.extend_from_slice(&before[..1]);
                write_text(name, out);
                out.push(b':');
            } else {
                // Room for the whole field, and few pieces: this is done for each field of each event.
                out.reserve(name.len() + value.size_hint() + 8);
                out.extend_from_slice(before);
                out.extend_from_slice(name.as_bytes());
                out.extend_from_slice(b"\":");
            }
            value.write_to(out);
            before = b",\"";
        }
        if self.fields.is_empty() {
            out.push(b'{');
        }
        out.push(b'}');
    }
}

/// Appends a JSON string. Hardly any text has what needs an escape, and to look for that in many bytes at a time is several times as fast as
/// what `serde_json` does byte by byte.
#[inline]
pub fn write_text(text: &str, out: &mut Vec<u8>) {
    if needs_escape(text.as_bytes()) {
        serde_json::to_writer(out, text).expect("a Vec takes every write, and every str is a JSON string");
        return;
    }
    out.reserve(text.len() + 2);
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

/// Whether a text has quotes, backslashes or control characters.
pub fn needs_escape(text: &[u8]) -> bool {
    let is_special = |b: u8| u8::from(b < b' ') | u8::from(b == b'"') | u8::from(b == b'\\');
    // Without an end in the middle, the compiler makes one step of each piece. The last one overlaps the one before.
    let has_special = |piece: &[u8; 16]| piece.iter().fold(0, |any, b| any | is_special(*b)) != 0;
    if let Some(last) = text.last_chunk::<16>() {
        return has_special(last) || text.as_chunks::<16>().0.iter().any(has_special);
    }
    if let (Some(first), Some(last)) = (text.first_chunk::<8>(), text.last_chunk::<8>()) {
        return has_special_of_8(*first) || has_special_of_8(*last);
    }
    text.iter().any(|b| is_special(*b) != 0)
}

/// The same for a word of the machine: in `x`, the first bit of each byte that is less than `n`, which is at most 128, is set by `x - n…n & !x`.
fn has_special_of_8(bytes: [u8; 8]) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let word = u64::from_ne_bytes(bytes);
    let less = |x: u64, n: u64| x.wrapping_sub(ONES * n) & !x;
    let equal = |b: u8| less(word ^ (ONES * u64::from(b)), 1);
    (less(word, u64::from(b' ')) | equal(b'"') | equal(b'\\')) & (ONES << 7) != 0
}

/// Appends a JSON number.
pub fn write_number(number: u64, out: &mut Vec<u8>) {
    serde_json::to_writer(out, &number).expect("a Vec takes every write, and every u64 is a JSON number");
}

struct Fields<'f, 'de>(&'f mut Vec<(Cow<'de, str>, Value<'de>)>);

impl<'de> Visitor<'de> for Fields<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some((Key(name), value)) = map.next_entry::<Key<'de>, &'de RawValue>()? {
            self.0.push((name, Value::Raw(value.get())));
        }
        Ok(())
    }
}

/// How deep objects and lists may lie in each other: what most readers of JSON take at most, by recursion as they read it.
pub const MAX_DEPTH: usize = 128;
/// What is said of JSON that is deeper.
pub const TOO_DEEP: &str = "it is JSON with more than 128 levels, which readers of it refuse";

/// Whether JSON is deeper than its readers take it.
pub fn is_too_deep(json: &str) -> bool {
    let json = json.as_bytes();
    // Hardly anything has so many braces and brackets at all, and to count them is quick.
    memchr2_iter(b'{', b'[', json).nth(MAX_DEPTH).is_some() && depth(json) > MAX_DEPTH
}

/// How deep JSON is at most, of which the syntax need not be right.
fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_text, mut escaped) = (0_usize, 0, false, false);
    for byte in json {
        match byte {
            _ if std::mem::take(&mut escaped) => {}
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// What a look at a line's top-level names found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// The object has no field.
    pub empty: bool,
    /// What the caller said of its names, all of it together.
    pub taken: u8,
}

/// Checks that a line is one JSON object: the quickest way, which looks at no name.
pub fn check_object(line: &str) -> Result<(), serde_json::Error> {
    let mut de = serde_json::Deserializer::from_str(line);
    // Of the values that begin with a brace, all are objects.
    if line.trim_ascii_start().starts_with('{') {
        de.deserialize_ignored_any(IgnoredAny)?;
        de.end()
    } else {
        look_at(line, |_| 0).map(drop)
    }
}

/// Checks that a line is one JSON object, and asks its caller about each name at its top level, in one pass.
pub fn look_at(line: &str, taken: impl Fn(&str) -> u8) -> Result<Shape, serde_json::Error> {
    let mut de = serde_json::Deserializer::from_str(line);
    let shape = de.deserialize_map(Look(taken))?;
    de.end()?;
    Ok(shape)
}

struct Look<F>(F);

impl<'de, F: Fn(&str) -> u8> Visitor<'de> for Look<F> {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shape, A::Error> {
        let mut shape = Shape { empty: true, taken: 0 };
        while let Some(Key(name)) = map.next_key::<Key<'de>>()? {
            map.next_value::<IgnoredAny>()?;
            shape.empty = false;
            shape.taken |= (self.0)(&name);
        }
        Ok(shape)
    }
}

/// A field's name, borrowed unless it has escapes.
pub(crate) struct Key<'a>(pub(crate) Cow<'a, str>);

impl<'de> serde::Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(de: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field name")
            }

            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(name)))
            }

            fn visit_str<E>(self, name: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(name.to_owned())))
            }
        }
        de.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(event: &Event<'_>) -> String {
        let mut out = Vec::new();
        event.write_to(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values_stay_as_they_were_written() {
        let line = r#"{"n": 1.50e3, "nested": {"a" : [1, 2]}, "t":"\u00e9"}"#;
        let event = Event::from_json(line).unwrap();
        assert_eq!(rendered(&event), r#"{"n":1.50e3,"nested":{"a" : [1, 2]},"t":"\u00e9"}"#);
    }

    #[test]
    fn setting_a_field_replaces_every_field_of_that_name() {
        let mut event = Event::from_json(r#"{"host":"a","x":1,"host":"b"}"#).unwrap();
        event.set("host", Value::Text("c".into()));
        event.set("offset", Value::Number(7));
        assert_eq!(rendered(&event), r#"{"host":"c","x":1,"offset":7}"#);
    }

    #[test]
    fn an_escaped_name_is_the_name_it_stands_for() {
        assert_eq!(look_at(r#"{"h\u006fst":1}"#, |n| u8::from(n == "host")).unwrap(), Shape { empty: false, taken: 1 });
        assert_eq!(
            look_at(r#"{"a":{"host":1}}"#, |n| u8::from(n == "host")).unwrap(),
            Shape { empty: false, taken: 0 }
        );
        assert_eq!(look_at(" { } ", |_| 1).unwrap(), Shape { empty: true, taken: 0 });
    }

    #[test]
    fn only_one_whole_object_is_an_event() {
        for bad in ["", "1", "[]", "null", "{", "{}{}", r#"{"a":1} x"#, "{\"a\":\"\u{1}\"}"] {
            assert!(look_at(bad, |_| 1).is_err(), "{bad}");
            assert!(check_object(bad).is_err(), "{bad}");
            assert!(Event::from_json(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn json_is_too_deep_from_one_level_on_more_than_its_readers_take() {
        let nested = |depth: usize| format!("{{\"a\":{}1{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
        let text = format!("{{\"a\":\"{}\\\"{}\"}}", "[".repeat(500), "{".repeat(500));
        let wide = format!("{{\"a\":[{}{{}}]}}", "{},".repeat(500));
        for (json, deep) in [(nested(MAX_DEPTH), false), (nested(MAX_DEPTH + 1), true), (text, false), (wide, false)] {
            assert_eq!(is_too_deep(&json), deep, "{json}");
            assert_eq!(Event::default().read_json(&json), if deep { Err(TOO_DEEP) } else { Ok(()) });
        }
    }

    #[test]
    fn numbers_are_those_of_json() {
        for good in ["0", "-0", "12", "1.50", "1e9", "-1.5E-3", "123456789012345678901234567890"] {
            assert!(is_json_number(good) && serde_json::from_str::<serde_json::Number>(good).is_ok(), "{good}");
        }
        let long = "9".repeat(400);
        assert!(
            ["1e999", "-1E400", long.as_str()].iter().all(|far| is_json_number(far) && Value::number(far).is_none())
        );
        for bad in ["", "-", "+1", "01", "1.", ".5", "1e", "0x1", "1 ", "NaN", "1_000"] {
            assert!(!is_json_number(bad), "{bad}");
        }
    }

    #[test]
    fn an_event_keeps_its_memory_for_the_next_line() {
        let mut event = Event::default();
        (0..9).for_each(|n| event.push("x", Value::Number(n)));
        let before = event.fields.as_ptr();
        let mut event: Event<'_> = event.recycle();
        assert!(event.is_empty());
        event.push("y", Value::NULL);
        assert_eq!(event.fields.as_ptr().cast::<u8>(), before.cast::<u8>());
        assert_eq!(event.remove("y").map(|v| v.as_str().into_owned()), Some("null".to_owned()));
    }

    #[test]
    fn adjacent_spans_become_one() {
        let span = |source, start, end| Span { source: SourceId(source), start, end };
        let mut spans = Vec::new();
        for next in [span(1, 0, 5), span(1, 5, 9), span(2, 9, 12), span(1, 9, 10), span(1, 11, 12)] {
            join_span(&mut spans, next);
        }
        assert_eq!(spans, [span(1, 0, 9), span(2, 9, 12), span(1, 9, 10), span(1, 11, 12)]);
    }

    #[test]
    fn text_is_written_as_serde_json_writes_it() {
        let agrees = |text: &str| {
            let mut out = Vec::new();
            write_text(text, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), serde_json::to_string(text).unwrap());
        };
        // Each byte at each place of a text of each length that is looked at in another way.
        for len in (0..20).chain([31, 32, 33, 48]) {
            for special in (0..128).map(char::from).chain(['é', '\u{2028}', '\u{10ffff}']) {
                agrees(&"a".repeat(len));
                (0..=len).for_each(|at| agrees(&format!("{}{special}{}", "~".repeat(at), "!".repeat(len - at))));
            }
        }
    }
}
