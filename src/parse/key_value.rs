//! Keys and values with delimiters of the user's choice: `status:200, path:"/a, b"`. There is no standard; the settings and their defaults are
//! those of Vector's `parse_key_value`, single quotes and unclosed ones are as in the OpenTelemetry Collector's `key_value_parser`. Where it differs:
//!
//! - A field delimiter of one space stands for any white space, as in the Collector. A space after the key then means that the value is empty if
//!   what follows is a pair itself: `user= id=1` has two fields, and `user = x` has one.
//! - A line without any pair is refused, so that a chain of parsers goes on to the next.
//!
//! Values are text unless [`Types::Auto`] is asked for. Field names are the line's own.

use crate::event::{Event, Value};
use crate::parse::delimiter::Delimiter;
use crate::parse::escape;
use crate::parse::fields::{join_repeated, push};
use crate::parse::scan::{Quoted, Scan};
use crate::parse::types::Types;

/// The field that holds the time, by custom of logfmt.
pub const TIME: &str = "time";
/// The field that holds the level.
pub const LEVEL: Option<&str> = Some("level");

/// What is done with spaces around delimiters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Whitespace {
    /// They are not part of keys and values.
    #[default]
    Lenient,
    /// They are.
    Strict,
}

/// How lines are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// What stands between a key and its value.
    pub key_value_delimiter: String,
    /// What stands between fields; a space is any white space.
    pub field_delimiter: String,
    /// What is done with spaces.
    pub whitespace: Whitespace,
    /// Whether a key may stand without a value; it is then `true`.
    pub standalone_keys: bool,
    /// What becomes of values that look like numbers.
    pub types: Types,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            key_value_delimiter: "=".to_owned(),
            field_delimiter: " ".to_owned(),
            whitespace: Whitespace::Lenient,
            standalone_keys: true,
            types: Types::Text,
        }
    }
}

/// A parser of keys and values.
#[derive(Debug, Clone)]
pub struct KeyValue {
    pair: Delimiter,
    field: Delimiter,
    lenient: bool,
    standalone_keys: bool,
    types: Types,
}

impl KeyValue {
    /// A parser of lines that are written this way, or why there can be none.
    pub fn new(options: &Options) -> Result<Self, String> {
        let (pair, field) = (&options.key_value_delimiter, &options.field_delimiter);
        for (name, delimiter) in [("key_value_delimiter", pair), ("field_delimiter", field)] {
            if delimiter.is_empty() {
                return Err(format!("{name} is empty: give the text that stands there in the lines"));
            }
            if delimiter.contains(['"', '\'', '\\']) {
                return Err(format!("{name} {delimiter:?} has a quote or a backslash, which are for values"));
            }
        }
        if pair == field {
            return Err(format!("key_value_delimiter and field_delimiter are both {pair:?}: they must differ"));
        }
        Ok(Self {
            pair: Delimiter::exact(pair),
            field: Delimiter::new(field),
            lenient: options.whitespace == Whitespace::Lenient,
            standalone_keys: options.standalone_keys,
            types: options.types,
        })
    }

    /// Appends the fields of a line. Values of a key that comes again are gathered in an array.
    pub fn parse<'a>(&self, line: &'a str, event: &mut Event<'a>) -> Result<(), &'static str> {
        let from = event.len();
        let mut scan = Scan::new(line);
        let mut pairs = 0;
        loop {
            self.gap(&mut scan);
            if scan.is_done() {
                break;
            }
            let key = self.key(&mut scan)?;
            let value = if self.pair_follows(&mut scan) {
                pairs += 1;
                self.value(&mut scan)?
            } else if self.standalone_keys {
                Value::Bool(true)
            } else {
                return Err("a field without key_value_delimiter");
            };
            let key = match key {
                Quoted { inner, escaped: true } => unescaped(inner).into(),
                Quoted { inner, .. } => std::borrow::Cow::Borrowed(inner),
            };
            if key.is_empty() {
                return Err("a value without a key");
            }
            push(event, key, value)?;
        }
        if pairs == 0 {
            return Err("no key and value in the line");
        }
        join_repeated(event, from);
        Ok(())
    }

    /// Passes what stands before a field: spaces, and delimiters of fields that are empty.
    fn gap(&self, scan: &mut Scan<'_>) {
        loop {
            self.spaces(scan);
            if scan.is_done() || !self.field.starts(scan.rest()) {
                return;
            }
            scan.take(self.field.len());
        }
    }

    fn spaces(&self, scan: &mut Scan<'_>) {
        if self.lenient {
            // A newline or a tab that delimits fields is no space.
            while scan.peek().is_some_and(|b| b.is_ascii_whitespace()) && !self.delimits(scan) {
                scan.take(1);
            }
        }
    }

    fn delimits(&self, scan: &Scan<'_>) -> bool {
        self.field.starts(scan.rest()) || self.pair.starts(scan.rest())
    }

    fn trimmed<'a>(&self, text: &'a str) -> &'a str {
        if self.lenient { text.trim_ascii() } else { text }
    }

    /// Reads a key, and the spaces behind it.
    fn key<'a>(&self, scan: &mut Scan<'a>) -> Result<Quoted<'a>, &'static str> {
        let start = *scan;
        let mut ahead = 0;
        if let Some(quoted) = self.quoted(scan)? {
            if scan.is_done() || self.delimits(scan) {
                return Ok(quoted);
            }
            // The quotes are part of a longer key.
            ahead = start.rest().len() - scan.rest().len();
            *scan = start;
        }
        let rest = scan.rest().get(ahead..).unwrap_or_default();
        let field = self.field.find(rest).unwrap_or(rest.len());
        let pair = self.pair.find(rest.get(..field).unwrap_or_default()).unwrap_or(field);
        Ok(Quoted { inner: self.trimmed(scan.take(ahead + pair)), escaped: false })
    }

    /// Reads the delimiter behind a key, if there is one.
    fn pair_follows(&self, scan: &mut Scan<'_>) -> bool {
        let start = *scan;
        if self.field.is_white() && self.lenient {
            scan.skip(|b| b.is_ascii_whitespace());
        }
        let follows = self.pair.starts(scan.rest());
        if follows {
            scan.take(self.pair.len());
        } else {
            *scan = start;
        }
        follows
    }

    /// Reads a value.
    fn value<'a>(&self, scan: &mut Scan<'a>) -> Result<Value<'a>, &'static str> {
        if self.field.is_white() && self.lenient && !self.is_followed_by_pair(scan) {
            scan.skip(|b| b.is_ascii_whitespace());
        }
        self.spaces(scan);
        let start = *scan;
        let mut ahead = 0;
        if let Some(quoted) = self.quoted(scan)? {
            if scan.is_done() || self.field.starts(scan.rest()) {
                return Ok(match quoted {
                    Quoted { inner, escaped: true } => Value::Text(unescaped(inner).into()),
                    Quoted { inner, .. } => Value::text(inner),
                });
            }
            // The quotes are part of a longer value.
            ahead = start.rest().len() - scan.rest().len();
            *scan = start;
        }
        let rest = scan.rest().get(ahead..).unwrap_or_default();
        let len = ahead + self.field.find(rest).unwrap_or(rest.len());
        Ok(self.types.value(self.trimmed(scan.take(len))))
    }

    /// Whether white space comes next, and then a pair: the value before it is empty.
    fn is_followed_by_pair(&self, scan: &Scan<'_>) -> bool {
        if !scan.peek().is_some_and(|b| b.is_ascii_whitespace()) {
            return false;
        }
        let rest = scan.rest().trim_ascii_start();
        let word = rest.get(..self.field.find(rest).unwrap_or(rest.len())).unwrap_or_default();
        !word.starts_with(['"', '\'']) && self.pair.find(word).is_some_and(|at| at > 0)
    }

    /// Reads text in quotes, and the spaces behind it. `None` if there is no quote here.
    fn quoted<'a>(&self, scan: &mut Scan<'a>) -> Result<Option<Quoted<'a>>, &'static str> {
        let Some(quote @ (b'"' | b'\'')) = scan.peek() else {
            return Ok(None);
        };
        let quoted = scan.quoted(quote).ok_or("no closing quote")?;
        self.spaces(scan);
        Ok(Some(quoted))
    }
}

/// What text in quotes stands for. Other backslashes than these are themselves.
fn unescaped(text: &str) -> String {
    escape::some(text, b"\"'\\", b"nrt")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::testing::{outcome, refused, sound};
    use proptest::prelude::*;

    fn parser(pair: &str, field: &str) -> KeyValue {
        let options =
            Options { key_value_delimiter: pair.to_owned(), field_delimiter: field.to_owned(), ..Options::default() };
        KeyValue::new(&options).unwrap()
    }

    #[test]
    fn lines_with_delimiters_of_many_kinds() {
        let cases = [
            (
                "=",
                " ",
                r#"id=firewall time="2005-03-18 14:01:46" fw=TOPSEC src='1.2.3.4'"#,
                r#"{"id":"firewall","time":"2005-03-18 14:01:46","fw":"TOPSEC","src":"1.2.3.4"}"#,
            ),
            (
                ":",
                ",",
                r#"path:"/a, b", host : x.com,beta, ms:"1"x,"#,
                r#"{"path":"/a, b","host":"x.com","beta":true,"ms":"\"1\"x"}"#,
            ),
            (
                "--",
                "||",
                r#""zork one" -- "zoog\"zink"  ||  nonk  -- nink"#,
                r#"{"zork one":"zoog\"zink","nonk":"nink"}"#,
            ),
            ("=", "|", "a=1|b=  2 | c=d=e||", r#"{"a":"1","b":"2","c":"d=e"}"#),
            (":", "\n", "To: tom\nCc: \"a\" b\r\n", r#"{"To":"tom","Cc":"\"a\" b"}"#),
            ("=", " ", "user= id=7 a = b\tc =d e", r#"{"user":"","id":"7","a":"b","c":"d","e":true}"#),
            ("=>", " ", "é=>ü tags=>a tags=>b", r#"{"é":"ü","tags":["a","b"]}"#),
            ("\t", ";", "a\t1;b\t", r#"{"a":"1","b":""}"#),
            ("=", "^", r"k=C:\new^p='it\'s'", r#"{"k":"C:\\new","p":"it's"}"#),
        ];
        for (pair, field, line, want) in cases {
            let parser = parser(pair, field);
            assert_eq!(outcome(line, |line, event| parser.parse(line, event)), want);
        }
    }

    #[test]
    fn spaces_and_types_are_settings() {
        let options = Options { whitespace: Whitespace::Strict, types: Types::Auto, ..Options::default() };
        let parser = KeyValue::new(&options).unwrap();
        assert_eq!(
            outcome("foo= bar= n=1.0 q=\"1\" x", |line, event| parser.parse(line, event)),
            r#"{"foo":"","bar":"","n":1.0,"q":"1","x":true}"#
        );
        let parser = KeyValue::new(&Options { field_delimiter: ",".to_owned(), ..options }).unwrap();
        assert_eq!(outcome("a= 1 , b=2", |line, event| parser.parse(line, event)), r#"{"a":" 1 "," b":2}"#);
    }

    #[test]
    fn what_has_no_pairs_is_refused() {
        let plain = parser("=", " ");
        for (line, why) in [
            ("", "no key and value in the line"),
            ("just some words", "no key and value in the line"),
            ("a=1 =2", "a value without a key"),
            ("k1='v1' k2='v2", "no closing quote"),
        ] {
            assert_eq!(refused(line, |line, event| plain.parse(line, event)), why, "{line}");
        }
        let strict = KeyValue::new(&Options { standalone_keys: false, ..Options::default() }).unwrap();
        assert_eq!(refused("a=1 text", |line, event| strict.parse(line, event)), "a field without key_value_delimiter");
    }

    #[test]
    fn delimiters_that_cannot_work_are_named() {
        let new = |pair: &str, field: &str| {
            let options =
                Options { key_value_delimiter: pair.into(), field_delimiter: field.into(), ..Options::default() };
            KeyValue::new(&options).unwrap_err()
        };
        assert!(new("", " ").starts_with("key_value_delimiter is empty"));
        assert!(new("=", "").starts_with("field_delimiter is empty"));
        assert!(new("=", "=").contains("both \"=\""));
        assert!(new("=", "\\").contains("backslash"));
    }

    proptest! {
        #[test]
        fn any_line_is_read_or_refused(
            line in "(?s)([a-c]=|[ \"'\\\\=:,|-]|\"[a-z ]*\"|--|[0-9.e]|\\PC|.){0,60}",
            pair in prop::sample::select(vec!["=", ":", "--", " ", "é"]),
            field in prop::sample::select(vec![" ", ",", "||", "\n", "§"]),
            lenient: bool,
        ) {
            prop_assume!(pair != field);
            let whitespace = if lenient { Whitespace::Lenient } else { Whitespace::Strict };
            let options = Options { key_value_delimiter: pair.into(), field_delimiter: field.into(), whitespace, types: Types::Auto, ..Options::default() };
            let parser = KeyValue::new(&options).unwrap();
            sound(&line, |line, event| parser.parse(line, event))?;
        }
    }
}
