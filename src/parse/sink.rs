//! Where a parser puts the fields that it finds: the list of an event's fields, or, where nothing is done to an event, its JSON at once.

use super::added::{Fields, TAKES_ADDED};
use super::cursor;
use crate::event::{Event, Value, needs_escape, write_text};

/// A field's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name<'a> {
    plain: &'a str,
    /// What comes before a text in JSON: the name with its escapes in quotes, a colon and a quote.
    json: &'a str,
}

impl<'a> Name<'a> {
    /// A name and what [`Name::json_of`] makes of it.
    pub const fn new(plain: &'a str, json: &'a str) -> Self {
        Self { plain, json }
    }

    /// What comes before the text of a field of this name in JSON.
    pub fn json_of(name: &str) -> String {
        let mut json = Vec::new();
        write_text(name, &mut json);
        json.extend_from_slice(b":\"");
        String::from_utf8(json).expect("JSON is UTF-8")
    }
}

/// A name that is known when this is compiled, and has nothing to escape.
macro_rules! name {
    ($name:expr) => {
        const { $crate::parse::sink::Name::new($name, concat!("\"", $name, "\":\"")) }
    };
}
pub(crate) use name;

/// What takes a line's fields.
pub trait Sink<'a> {
    /// Appends a field.
    fn put(&mut self, name: Name<'a>, value: Value<'a>);

    /// Appends a text, unless it is the `-` by which access logs say that there is none.
    fn put_text(&mut self, name: Name<'a>, text: &'a str) {
        if text != NOTHING {
            self.put(name, Value::text(text));
        }
    }

    /// Appends a number with the digits it was written with, or as text what is none, unless it is that `-`.
    fn put_number(&mut self, name: Name<'a>, text: &'a str) {
        if text != NOTHING {
            self.put(name, cursor::number(text));
        }
    }
}

/// What stands for nothing.
const NOTHING: &str = "-";

impl<'a> Sink<'a> for Event<'a> {
    fn put(&mut self, name: Name<'a>, value: Value<'a>) {
        self.push(name.plain, value);
    }
}

/// Writes fields as JSON as they come.
#[derive(Debug)]
pub struct Writer<'w> {
    out: &'w mut Vec<u8>,
    /// Where the event begins in it.
    from: usize,
    /// What all events of the file get.
    fields: Fields<'w>,
    has_more: bool,
    taken: u8,
}

impl<'w> Writer<'w> {
    /// Begins an event.
    pub fn new(fields: Fields<'w>, out: &'w mut Vec<u8>) -> Self {
        let from = out.len();
        out.push(b'{');
        Self { out, from, has_more: !fields.is_empty(), fields, taken: 0 }
    }

    /// Ends the event. One in which a field stands in the place of another cannot be written as it comes: then nothing is left of it, and the
    /// answer is false.
    pub fn end(self) -> bool {
        if self.taken & TAKES_ADDED != 0 {
            self.take_back();
            return false;
        }
        let is_empty = self.out.len() == self.from + 1;
        if !is_empty {
            self.out.pop();
        }
        if self.has_more {
            self.fields.close(!is_empty, self.taken, self.out);
        } else {
            self.out.push(b'}');
        }
        true
    }

    /// Takes back all of it.
    pub fn take_back(self) {
        self.out.truncate(self.from);
    }
}

impl<'a> Sink<'a> for Writer<'_> {
    #[inline]
    fn put(&mut self, name: Name<'a>, value: Value<'a>) {
        if self.has_more {
            self.taken |= self.fields.taken(name.plain);
        }
        let out = &mut *self.out;
        match value {
            Value::Text(text) if !needs_escape(text.as_bytes()) => {
                out.reserve(name.json.len() + text.len() + 2);
                out.extend_from_slice(name.json.as_bytes());
                out.extend_from_slice(text.as_bytes());
                out.extend_from_slice(b"\",");
            }
            value => {
                let before = name.json.as_bytes();
                out.extend_from_slice(&before[..before.len() - 1]);
                value.write_to(out);
                out.push(b',');
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::added::{Added, Origin};
    use super::super::check::strange;
    use super::super::kind::Kind;
    use super::super::regex::Regex;
    use super::super::{apache, nginx};
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;
    use std::collections::BTreeMap;

    const LINES: &[&str] = &[
        r#"172.17.0.1 - - [31/Mar/2021:12:04:07 +0000] "GET /a?b HTTP/1.1" 200 612 "-" "curl/7.75.0""#,
        r#"example.com 10.0.0.1 - é [29/Jul/2023:10:26:06 -0700] "\x16\x03" 400 007 "-" "-" x"#,
        "a b=1\u{1}",
    ];

    /// Parsers that write, among them a pattern whose fields have the names of what all events get, and names with escapes.
    fn kinds() -> Vec<Kind> {
        let pattern = "^(?<stream>[^ ]*) (?<kubernetes>.*?)(?<_id>=.)?(?<host>.)?$";
        let regex = Regex::new(pattern, &BTreeMap::new()).unwrap();
        vec![Kind::Nginx(nginx::Access), Kind::Apache(apache::Access), Kind::Regex(regex)]
    }

    /// What all events of a file can get.
    fn added() -> Vec<Added> {
        let fixed = |name: &str| Added::new([(name.to_owned(), json!({"a": [1]}))], true);
        let origin = || Added::default().with_origin(true, true, Some(json!({"pod": "p"})));
        vec![Added::default(), fixed("env"), fixed("host"), fixed("status"), origin(), origin().with_id("x".to_owned())]
    }

    fn listed(kind: &Kind, line: &str, fields: Fields<'_>) -> Option<String> {
        let (mut event, mut out) = (Event::default(), Vec::new());
        kind.parse(line, &mut event).ok()?;
        fields.set_on(&mut event);
        event.write_to(&mut out);
        Some(String::from_utf8(out).unwrap())
    }

    /// None if the line is not what the parser reads or the event cannot be written as it comes.
    fn written(kind: &Kind, line: &str, fields: Fields<'_>) -> Option<String> {
        let mut out = b"before".to_vec();
        let mut writer = Writer::new(fields, &mut out);
        let fits = kind.write(line, &mut writer).unwrap().is_ok();
        if !fits {
            writer.take_back();
        } else if writer.end() {
            return Some(String::from_utf8(out.split_off(6)).unwrap());
        }
        assert_eq!(out, b"before");
        None
    }

    #[test]
    fn what_stands_in_the_place_of_another_is_not_written() {
        let [nginx, ..] = &kinds()[..] else { unreachable!("there are three") };
        let all = added();
        let is_written = all.iter().map(|added| {
            let fields = Fields { added, offset: 7, id: added.id(), origin: None };
            written(nginx, LINES[0], fields).is_some()
        });
        assert_eq!(is_written.collect::<Vec<_>>(), [true, true, true, false, true, true]);
    }

    proptest! {
        /// What is written as it comes is what a list of fields is written as.
        #[test]
        fn both_ways_make_the_same_event(line in strange(LINES), has_origin: bool) {
            for kind in kinds() {
                for added in added() {
                    let origin = has_origin.then_some(Origin { stream: "stdout", time: "2021-03-31T12:04:07Z" });
                    let fields = Fields { added: &added, offset: 7, id: added.id(), origin };
                    if let Some(written) = written(&kind, &line, fields) {
                        prop_assert_eq!(Some(written), listed(&kind, &line, fields));
                    }
                }
            }
        }
    }
}
