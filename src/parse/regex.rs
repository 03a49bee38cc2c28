//! Users' own patterns: a field for each named group. The engine is linear in the line's length whatever the pattern, so that no line can
//! make it slow; in return there are no lookarounds and no references back.
//!
//! A record of several lines is searched as one: `.` matches newlines too, and `^` and `$` are its ends. `(?-s)` and `(?m)` in a pattern
//! change that. Groups that took no part in the match are left out.
//!
//! A pattern is quickest that begins with `^`: most such are run in steps, several times as fast as the engine, and with the same groups. The
//! engine runs the others, and whatever the steps cannot tell.

mod scan;
mod steps;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use regex::{CaptureLocations, RegexBuilder};
use serde_json::value::RawValue;

use super::sink::{Name, Sink};
use crate::event::{Value, is_in_range, is_json_number, write_text};
use scan::{Found, Scanner};

/// What a group's text is to become. Text that is not of its type stays text, so that nothing is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Type {
    /// As it is.
    #[default]
    String,
    /// A whole number. `-` and nothing at all are null, as for the other numbers.
    Int,
    /// Any number of JSON's, with its digits; `.5`, `+1` and `007` are made such.
    Number,
    /// `true`, `yes`, `on`, `1` and their opposites, in any case.
    Bool,
    /// JSON of any kind.
    Json,
}

impl Type {
    /// The names that settings have for the types, with what Fluentd, Logstash and Vector call them.
    pub const NAMES: [(&'static str, Self); 9] = [
        ("int", Self::Int),
        ("integer", Self::Int),
        ("float", Self::Number),
        ("number", Self::Number),
        ("bool", Self::Bool),
        ("boolean", Self::Bool),
        ("string", Self::String),
        ("text", Self::String),
        ("json", Self::Json),
    ];

    /// The type of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind)
    }

    /// A text as this type.
    pub fn value(self, text: &str) -> Value<'_> {
        let made = match self {
            Self::String => None,
            Self::Int => number(text).filter(|_| !text.contains(['.', 'e', 'E'])),
            Self::Number => number(text),
            Self::Bool => truth(text).map(Value::Bool),
            Self::Json => json(text),
        };
        made.unwrap_or(Value::text(text))
    }
}

/// A number, also of those spellings that JSON does not have.
fn number(text: &str) -> Option<Value<'_>> {
    if matches!(text, "" | "-") {
        return Some(Value::NULL);
    }
    Value::number(text).or_else(|| {
        let (sign, digits) =
            text.strip_prefix('-').map_or(("", text.strip_prefix('+').unwrap_or(text)), |rest| ("-", rest));
        let digits = digits.trim_start_matches('0');
        let zero = if digits.starts_with(|c: char| c.is_ascii_digit()) { "" } else { "0" };
        let point = digits.strip_suffix('.').unwrap_or(digits);
        // Nothing but zeros is one of them, and a sign alone is no number.
        if point.is_empty() && !text.contains('0') {
            return None;
        }
        let json = format!("{sign}{zero}{point}");
        (is_json_number(&json) && is_in_range(&json)).then_some(Value::Json(json))
    })
}

/// The levels of JSON that its readers take at least; the event is one more.
const MAX_DEPTH: usize = 127;

/// JSON as it stands, unless it is deeper than readers of the event take it. A record of several lines can have newlines in it, which an event
/// must not: in JSON they are nothing but space.
fn json(text: &str) -> Option<Value<'_>> {
    let json = serde_json::from_str::<&RawValue>(text).ok()?.get();
    // To count is quick, and `serde_json` goes no deeper than they.
    if json.bytes().filter(|b| matches!(b, b'[' | b'{')).count() >= MAX_DEPTH {
        serde_json::from_str::<serde_json::Value>(&format!("[{json}]")).ok()?;
    }
    Some(if json.contains(['\n', '\r']) { Value::Json(json.replace(['\n', '\r'], " ")) } else { Value::Raw(json) })
}

fn truth(text: &str) -> Option<bool> {
    let is = |names: [&str; 4]| names.iter().any(|name| text.eq_ignore_ascii_case(name));
    if is(["true", "yes", "on", "1"]) {
        Some(true)
    } else if is(["false", "no", "off", "0"]) {
        Some(false)
    } else {
        None
    }
}

/// Why a pattern cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// Its syntax is wrong, or asks for what the engine does not have; in the engine's words.
    Pattern(String),
    /// It has no named group, so that no field would come of it.
    NoGroup,
    /// A type is given for a field that no group has the name of.
    NoField(String),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pattern(why) => write!(f, "cannot use the pattern: {why}"),
            Self::NoGroup => {
                f.write_str("the pattern has no named group: write (?P<name>…) around what is to become a field")
            }
            Self::NoField(name) => write!(f, "there is a type for {name:?}, but no group of that name in the pattern"),
        }
    }
}

impl std::error::Error for Error {}

/// A field, and the groups it can come of: one, but for patterns that are made of others and name it several times.
#[derive(Debug, Clone)]
pub(super) struct Field {
    pub(super) name: String,
    /// The same as it stands in JSON.
    pub(super) json: String,
    pub(super) kind: Type,
    pub(super) groups: Vec<usize>,
    /// Whether it is a field also where its text is empty.
    pub(super) keep_empty: bool,
}

/// A pattern that was compiled.
#[derive(Debug)]
pub struct Regex {
    engine: regex::Regex,
    /// The same in steps, if it can be run so.
    scanner: Option<Scanner>,
    fields: Vec<Field>,
    /// Its place among the groups of each thread.
    id: usize,
}

/// The most that one compiled pattern takes, in bytes. A pattern of 1 KiB takes about 100 KiB.
const MAX_COMPILED: usize = 16 << 20;

static NEXT_ID: AtomicUsize = AtomicUsize::new(0);

/// Where a pattern's groups are in a line.
#[derive(Debug)]
struct Groups {
    /// As the engine found them.
    engine: CaptureLocations,
    /// As they were found in steps.
    steps: scan::Memory,
    by_steps: bool,
}

impl Groups {
    fn get(&self, group: usize) -> Option<(usize, usize)> {
        if self.by_steps { self.steps.group(group) } else { self.engine.get(group) }
    }
}

thread_local! {
    /// Where each pattern's groups were in the last line, so that the next one needs no memory for that.
    static GROUPS: RefCell<Vec<Option<Groups>>> = const { RefCell::new(Vec::new()) };
}

impl Regex {
    /// Compiles a pattern. The names of types are fields'.
    pub fn new(pattern: &str, types: &BTreeMap<String, Type>) -> Result<Self, Error> {
        let engine = compile(pattern)?;
        let groups = engine.capture_names().enumerate();
        let field = |(index, name): (usize, Option<&str>)| {
            let name = name?.to_owned();
            Some(Field {
                json: Name::json_of(&name),
                kind: types.get(&name).copied().unwrap_or_default(),
                name,
                groups: vec![index],
                keep_empty: true,
            })
        };
        let fields: Vec<Field> = groups.filter_map(field).collect();
        if let Some(name) = types.keys().find(|name| fields.iter().all(|field| field.name != **name)) {
            return Err(Error::NoField(name.clone()));
        }
        Self::of_fields(engine, fields)
    }

    /// A pattern whose fields are known.
    pub(super) fn of_fields(engine: regex::Regex, fields: Vec<Field>) -> Result<Self, Error> {
        if fields.is_empty() {
            return Err(Error::NoGroup);
        }
        let groups: Vec<usize> = fields.iter().flat_map(|field| field.groups.iter().copied()).collect();
        let scanner = Scanner::new(engine.as_str(), &groups);
        Ok(Self { engine, scanner, fields, id: NEXT_ID.fetch_add(1, Ordering::Relaxed) })
    }

    /// The names of its fields, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|field| field.name.as_str())
    }

    /// Appends the fields of the first match in a record.
    pub fn parse<'a>(&'a self, line: &'a str, event: &mut impl Sink<'a>) -> Result<(), &'static str> {
        GROUPS.with_borrow_mut(|all| {
            if all.len() <= self.id {
                all.resize_with(self.id + 1, || None);
            }
            let groups = all[self.id].get_or_insert_with(|| Groups {
                engine: self.engine.capture_locations(),
                steps: scan::Memory::default(),
                by_steps: false,
            });
            if !self.find(line, groups) {
                return Err("the pattern does not match");
            }
            for field in &self.fields {
                field.push(line, groups, event);
            }
            Ok(())
        })
    }

    fn find(&self, line: &str, groups: &mut Groups) -> bool {
        let found = self.scanner.as_ref().map_or(Found::Unknown, |scanner| scanner.find(line, &mut groups.steps));
        groups.by_steps = found == Found::Yes;
        match found {
            Found::Yes => true,
            Found::No => false,
            Found::Unknown => self.engine.captures_read(&mut groups.engine, line).is_some(),
        }
    }
}

impl Drop for Regex {
    fn drop(&mut self) {
        // Other threads keep theirs. A thread that ends has none any more.
        _ = GROUPS.try_with(|all| {
            if let Ok(mut all) = all.try_borrow_mut()
                && let Some(place) = all.get_mut(self.id)
            {
                *place = None;
            }
        });
    }
}

impl Field {
    fn push<'a>(&'a self, line: &'a str, groups: &Groups, event: &mut impl Sink<'a>) {
        let text = |group: &usize| groups.get(*group).and_then(|(start, end)| line.get(start..end));
        let mut texts = self.groups.iter().filter_map(text).filter(|text| self.keep_empty || !text.is_empty());
        let Some(first) = texts.next() else { return };
        let first = self.kind.value(first);
        let value = match texts.next() {
            None => first,
            Some(second) => list(first, self.kind.value(second), texts.map(|text| self.kind.value(text))),
        };
        event.put(Name::new(&self.name, &self.json), value);
    }
}

/// Several values of one field.
fn list<'a>(first: Value<'a>, second: Value<'a>, more: impl Iterator<Item = Value<'a>>) -> Value<'a> {
    let mut json = b"[".to_vec();
    for (i, value) in [first, second].into_iter().chain(more).enumerate() {
        if i > 0 {
            json.push(b',');
        }
        match value {
            Value::Text(text) => write_text(&text, &mut json),
            other => other.write_to(&mut json),
        }
    }
    json.push(b']');
    Value::Json(String::from_utf8(json).unwrap_or_default())
}

/// Compiles a pattern for records.
pub(super) fn compile(pattern: &str) -> Result<regex::Regex, Error> {
    let mut builder = RegexBuilder::new(pattern);
    builder.dot_matches_new_line(true).size_limit(MAX_COMPILED);
    builder.build().map_err(|error| Error::Pattern(explain(&error)))
}

/// The engine's words, and what to do where it is about what the engine does not have.
fn explain(error: &regex::Error) -> String {
    let text = error.to_string();
    let way_out = if text.contains("look-around") {
        ": write the text around it out, or use \\b"
    } else if text.contains("backreferences") {
        ": name both places, and compare the fields"
    } else {
        ""
    };
    format!("{text}{way_out}")
}

#[cfg(test)]
mod tests {
    use super::super::check::parsed;
    use super::*;
    use crate::event::Event;
    use proptest::prelude::*;
    use serde_json::{Value as Json, json};

    const ACCESS: &str = r#"^(?<host>[^ ]*) [^ ]* (?<user>[^ ]*) \[(?<time>[^\]]*)\] "(?P<flag>\S+)(?: +(?<path>[^ ]*) +\S*)?" (?<code>[^ ]*) (?<size>[^ ]*)$"#;

    fn regex(pattern: &str, types: &[(&str, Type)]) -> Result<Regex, Error> {
        Regex::new(pattern, &types.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect())
    }

    fn run(pattern: &str, types: &[(&str, Type)], line: &str) -> Result<Json, &'static str> {
        let regex = regex(pattern, types).unwrap();
        parsed(line, |line, event| regex.parse(line, event))
    }

    #[test]
    fn named_groups_are_fields_of_their_types() {
        let types = [("flag", Type::Bool), ("code", Type::Number), ("size", Type::Int)];
        let line = r#"192.168.0.1 - - [28/Feb/2013:12:00:00 +0900] "true /a HTTP/1.1" 200.50 777"#;
        let want = json!({"host": "192.168.0.1", "user": "-", "time": "28/Feb/2013:12:00:00 +0900", "flag": true, "path": "/a",
            "code": 200.5, "size": 777});
        assert_eq!(run(ACCESS, &types, line), Ok(want));
        assert_eq!(run(ACCESS, &types, "x"), Err("the pattern does not match"));
    }

    #[test]
    fn a_group_that_took_no_part_is_left_out() {
        assert_eq!(run("(?<a>x)|(?<b>y)", &[], "y"), Ok(json!({"b": "y"})));
        assert_eq!(run("(?<a>x?)(?<b>y)?", &[], ""), Ok(json!({"a": ""})));
    }

    #[test]
    fn a_record_of_several_lines_is_one_text() {
        let line = "2013-3-03 14:27:33 [main] ERROR Main - Exception\njava.lang.X: null\n\tat Main.main(Main.java:16)";
        let got = run(r"^(?<time>\S+ \S+) \[(?<thread>.*)\] (?<level>\S+)(?<message>.*)$", &[], line).unwrap();
        assert_eq!(got["message"], " Main - Exception\njava.lang.X: null\n\tat Main.main(Main.java:16)");
        assert_eq!(run("^(?-s)(?<first>.*)", &[], "a\nb"), Ok(json!({"first": "a"})));
    }

    #[test]
    fn text_that_is_not_of_its_type_stays_text() {
        let value = |kind: Type, text: &str| {
            let mut out = Vec::new();
            kind.value(text).write_to(&mut out);
            String::from_utf8(out).unwrap()
        };
        for (text, want) in [
            ("12", "12"),
            ("-0.50", "-0.50"),
            ("+5", "5"),
            ("007", "7"),
            ("-007", "-7"),
            ("000", "0"),
            ("-00", "-0"),
            (".5", "0.5"),
            ("-.5", "-0.5"),
            ("1.", "1"),
            ("0.", "0"),
            ("1e9", "1e9"),
            ("00.10", "0.10"),
            ("-", "null"),
            ("", "null"),
            ("+", "\"+\""),
            (".", "\".\""),
            ("0x10", "\"0x10\""),
            ("1,5", "\"1,5\""),
            ("NaN", "\"NaN\""),
            ("1e999", "\"1e999\""),
            ("+1e999", "\"+1e999\""),
            ("--1", "\"--1\""),
            ("+-1", "\"+-1\""),
            ("-.", "\"-.\""),
        ] {
            assert_eq!(value(Type::Number, text), want, "{text}");
        }
        assert_eq!(
            (value(Type::Int, "1.5"), value(Type::Int, "1e3"), value(Type::Int, "15")),
            ("\"1.5\"".into(), "\"1e3\"".into(), "15".into())
        );
        assert_eq!(
            (value(Type::Bool, "Yes"), value(Type::Bool, "off"), value(Type::Bool, "y")),
            ("true".into(), "false".into(), "\"y\"".into())
        );
        assert_eq!(
            (value(Type::Json, r#"{"a": [1]}"#), value(Type::Json, "{a}")),
            (r#"{"a": [1]}"#.into(), "\"{a}\"".into())
        );
    }

    #[test]
    fn json_in_a_field_is_one_line_and_not_too_deep() {
        let types = [("j", Type::Json)];
        let regex = regex("(?<j>.*)", &types).unwrap();
        let rendered = |line: &str| {
            let (mut event, mut out) = (Event::default(), Vec::new());
            regex.parse(line, &mut event).unwrap();
            event.write_to(&mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(rendered("{\"a\":\r\n [1,\n 2]}"), "{\"j\":{\"a\":   [1,  2]}}");
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        for (depth, is_json) in [(100, true), (126, true), (127, false), (100_000, false)] {
            let out = rendered(&nested(depth));
            assert_eq!(out.starts_with("{\"j\":["), is_json, "{depth}");
            assert!(serde_json::from_str::<Json>(&out).is_ok(), "{depth}");
        }
        assert_eq!(rendered(&format!("[{}0]", "[],".repeat(500))), format!("{{\"j\":[{}0]}}", "[],".repeat(500)));
    }

    #[test]
    fn errors_say_what_to_do() {
        let error = |pattern, types: &[(&str, Type)]| regex(pattern, types).unwrap_err().to_string();
        assert!(
            error("(?<a>x)(?=y)", &[])
                .contains("look-around, including look-ahead and look-behind, is not supported: write the text")
        );
        assert!(error(r"(?<a>x)\1", &[]).contains("compare the fields"));
        assert!(error("(x)", &[]).contains("(?P<name>…)"));
        assert!(error("(?<a>x)", &[("b", Type::Int)]).contains("\"b\""));
        assert!(error("(?<a>(?:[a-z]{500}){500}{500})", &[]).contains("size limit"));
        assert_eq!((Type::named("integer"), Type::named("array")), (Some(Type::Int), None));
    }

    #[test]
    fn patterns_on_one_thread_do_not_mix_their_groups() {
        let (one, two) = (regex("(?<a>.)(?<b>.)", &[]).unwrap(), regex("(?<c>.)", &[]).unwrap());
        for _ in 0..3 {
            assert_eq!(parsed("xy", |line, event| one.parse(line, event)), Ok(json!({"a": "x", "b": "y"})));
            assert_eq!(parsed("z", |line, event| two.parse(line, event)), Ok(json!({"c": "z"})));
        }
        let there =
            std::thread::scope(|s| s.spawn(|| parsed("xy", |line, event| one.parse(line, event))).join().unwrap());
        assert_eq!(there, Ok(json!({"a": "x", "b": "y"})));
    }

    proptest! {
        #[test]
        fn no_line_is_a_panic_and_every_event_is_json(line in any::<String>(), kind in 0..5_usize) {
            let kind = [Type::String, Type::Int, Type::Number, Type::Bool, Type::Json][kind];
            for pattern in ["(?<a>.*)", r"(?<a>[-+.\d]+)", r"(?<a>\S+)\s(?<b>.)?"] {
                _ = run(pattern, &[("a", kind)], &line);
            }
        }

        #[test]
        fn numbers_keep_their_value(text in r"[-+]?[0-9]{0,4}\.?[0-9]{0,3}") {
            let mut out = Vec::new();
            Type::Number.value(&text).write_to(&mut out);
            if let (Ok(want), Ok(got)) = (text.parse::<f64>(), serde_json::from_slice::<f64>(&out)) {
                prop_assert_eq!(want.to_bits(), got.to_bits());
            } else {
                prop_assert!(!text.contains(|c: char| c.is_ascii_digit()));
            }
        }
    }
}
