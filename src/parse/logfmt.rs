//! logfmt: `level=info msg="it is done" took=3ms`. There is no standard; this is the grammar of go-logfmt's decoder, which Grafana's tools use too,
//! and the escapes are those that Go's loggers write (JSON's and those of `%q`). Where it differs:
//!
//! - A key without a value is `true`, as in Vector and Fluent Bit; `key=` is empty text.
//! - A line with more words than pairs is prose that has an `=` in it at most (`session opened for root by (uid=0)`). It is refused, so that a chain
//!   of parsers goes on to the next. A word by itself is taken.
//! - Control characters in quotes are taken, and a backslash that begins no escape stands for itself.
//!
//! Values are text unless [`Types::Auto`] is asked for, as Vector's `parse_logfmt` and Fluent Bit's `logfmt` have it. Field names are the line's own.

use crate::event::{Event, Value};
use crate::parse::escape;
use crate::parse::fields::{join_repeated, push};
use crate::parse::scan::Scan;
use crate::parse::types::Types;

/// The field that holds the time: logrus and slog call it so. go-kit says `ts`.
pub const TIME: &str = "time";
/// The field that holds the level.
pub const LEVEL: Option<&str> = Some("level");

/// A parser of logfmt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Logfmt {
    /// What becomes of values that look like numbers.
    pub types: Types,
    /// Whether a key may stand without a value.
    pub standalone_keys: bool,
}

impl Default for Logfmt {
    fn default() -> Self {
        Self { types: Types::Text, standalone_keys: true }
    }
}

impl Logfmt {
    /// Appends the fields of a line. Values of a key that comes again are gathered in an array.
    pub fn parse<'a>(&self, line: &'a str, event: &mut Event<'a>) -> Result<(), &'static str> {
        let from = event.len();
        let mut scan = Scan::new(line);
        let mut pairs = 0;
        loop {
            scan.skip(is_gap);
            if scan.is_done() {
                break;
            }
            let key = scan.until(ends_word);
            let value = match scan.peek() {
                Some(b'"') => return Err("a quote in a key"),
                Some(b'=') if key.is_empty() => return Err("a value without a key"),
                Some(b'=') => {
                    pairs += 1;
                    scan.take(1);
                    self.value(&mut scan)?
                }
                _ if self.standalone_keys => Value::Bool(true),
                _ => return Err("a key without a value"),
            };
            push(event, key, value)?;
        }
        let words = event.len() - from - pairs;
        if words + pairs == 0 {
            return Err("no key in the line");
        }
        if words > 1 && words > pairs {
            return Err("more words than key=value");
        }
        join_repeated(event, from);
        Ok(())
    }

    fn value<'a>(self, scan: &mut Scan<'a>) -> Result<Value<'a>, &'static str> {
        if scan.peek() != Some(b'"') {
            let text = scan.until(ends_word);
            return match scan.peek() {
                Some(b'"') => Err("a quote within a value that has no quotes around it"),
                Some(b'=') => Err("an = within a value that has no quotes around it"),
                _ => Ok(self.types.value(text)),
            };
        }
        let quoted = scan.quoted(b'"').ok_or("no closing quote")?;
        if !scan.peek().is_none_or(is_gap) {
            return Err("something right behind a closing quote");
        }
        if quoted.escaped {
            escape::quoted(quoted.inner).map(|text| Value::Text(text.into()))
        } else {
            Ok(Value::text(quoted.inner))
        }
    }
}

/// What stands between fields: white space, and whatever else sorts below it.
const fn is_gap(byte: u8) -> bool {
    byte <= b' '
}

const fn ends_word(byte: u8) -> bool {
    is_gap(byte) || byte == b'=' || byte == b'"'
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::testing::{outcome, refused, sound};
    use proptest::prelude::*;

    const TEXT: Logfmt = Logfmt { types: Types::Text, standalone_keys: true };
    const AUTO: Logfmt = Logfmt { types: Types::Auto, standalone_keys: true };

    fn text(line: &str) -> String {
        outcome(line, |line, event| TEXT.parse(line, event))
    }

    #[test]
    fn lines_as_loggers_write_them() {
        let cases = [
            (
                r#"time="2024-05-01T10:00:00Z" level=info msg="Started \"api\"\n" pid=7 path=/a?b"#,
                r#"{"time":"2024-05-01T10:00:00Z","level":"info","msg":"Started \"api\"\n","pid":"7","path":"/a?b"}"#,
            ),
            (
                "at=info method=GET host=x.herokuapp.com fwd=\"204.204.204.204\" dyno=web.1 connect=1ms status=200",
                r#"{"at":"info","method":"GET","host":"x.herokuapp.com","fwd":"204.204.204.204","dyno":"web.1","connect":"1ms","status":"200"}"#,
            ),
            ("a= b=\"\" c d=é\n", r#"{"a":"","b":"","c":true,"d":"é"}"#),
            (r#"msg="\x1b[31mred" k=\ "#, r#"{"msg":"\u001b[31mred","k":"\\"}"#),
            ("tag=a tag=b x=1 tag", r#"{"tag":["a","b",true],"x":"1"}"#),
            ("alone", r#"{"alone":true}"#),
        ];
        for (line, want) in cases {
            assert_eq!(text(line), want);
        }
    }

    #[test]
    fn types_are_told_by_how_a_value_is_written() {
        assert_eq!(
            outcome("n=1.50 q=\"1\" t=true z=007 id=9007199254740993 x=null", |line, event| AUTO.parse(line, event)),
            r#"{"n":1.50,"q":"1","t":true,"z":"007","id":9007199254740993,"x":null}"#
        );
    }

    #[test]
    fn what_is_not_logfmt_is_refused() {
        let cases = [
            ("", "no key in the line"),
            ("  \t", "no key in the line"),
            ("Listening on port 80", "more words than key=value"),
            ("session opened for user root by (uid=0)", "more words than key=value"),
            ("=x", "a value without a key"),
            ("a=1 k\"ey=x", "a quote in a key"),
            ("\"k\"=x", "a quote in a key"),
            ("k=b=ar", "an = within a value that has no quotes around it"),
            ("k=b\"ar", "a quote within a value that has no quotes around it"),
            ("k=\"b\"ar", "something right behind a closing quote"),
            ("k=\"b", "no closing quote"),
            ("k=\"b\\\"", "no closing quote"),
            ("k=\"\\u1\"", "an escape in quotes that is cut short"),
        ];
        for (line, why) in cases {
            assert_eq!(refused(line, |line, event| TEXT.parse(line, event)), why, "{line}");
        }
        let strict = Logfmt { standalone_keys: false, ..TEXT };
        assert_eq!(refused("a=1 b", |line, event| strict.parse(line, event)), "a key without a value");
    }

    proptest! {
        #[test]
        fn any_line_is_read_or_refused(line in "(?s)([a-c]=|[ \"\\\\=]|\"[a-z ]*\"|\\\\[nux\"]|[0-9.e-]|\\PC|.){0,60}") {
            sound(&line, |line, event| TEXT.parse(line, event))?;
            sound(&line, |line, event| AUTO.parse(line, event))?;
        }

        #[test]
        fn what_go_would_quote_comes_back(values in proptest::collection::vec("\\PC{0,12}", 1..8)) {
            let line: Vec<String> = values.iter().enumerate().map(|(n, v)| format!("k{n}={}", serde_json::json!(v))).collect();
            let line = line.join(" ");
            let mut event = Event::default();
            TEXT.parse(&line, &mut event).unwrap();
            let got: Vec<String> = event.fields().iter().map(|(_, v)| v.as_str().into_owned()).collect();
            prop_assert_eq!(got, values);
        }
    }
}
