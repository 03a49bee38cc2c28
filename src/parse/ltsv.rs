//! LTSV, labelled tab-separated values (ltsv.org): `host:127.0.0.1<TAB>status:200`. The delimiters can be others, as in Fluentd's `labeled_tsv`;
//! like that one, it takes fields that have no label. Fluentd drops these, here they are kept under a name of their own unless dropping is asked for.
//! A line without any label is refused.
//!
//! The format has no types: values are text unless [`Types::Auto`] is asked for. Field names are the labels.

use regex::Regex;

use crate::event::{Event, Value};
use crate::parse::delimiter::Delimiter;
use crate::parse::fields::{join_repeated, push};
use crate::parse::types::Types;

/// The field that holds the time, by the labels that ltsv.org recommends.
pub const TIME: &str = "time";
/// The field that holds the level: the recommended labels are those of access logs, which have none; applications say `level`.
pub const LEVEL: Option<&str> = Some("level");
/// The field that holds what has no label.
pub const UNLABELLED: &str = "unlabelled";

/// How lines are written.
#[derive(Debug, Clone)]
pub struct Options {
    /// What stands between fields.
    pub delimiter: String,
    /// What stands between fields, if it is not always the same; in place of the delimiter.
    pub delimiter_pattern: Option<Regex>,
    /// What stands between a label and its value.
    pub label_delimiter: String,
    /// Values that mean that there is none.
    pub null_values: Vec<String>,
    /// What becomes of fields without a label: they are kept, joined by the delimiter, or dropped.
    pub keep_unlabelled: bool,
    /// What becomes of values that look like numbers.
    pub types: Types,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            delimiter: "\t".to_owned(),
            delimiter_pattern: None,
            label_delimiter: ":".to_owned(),
            null_values: Vec::new(),
            keep_unlabelled: true,
            types: Types::Text,
        }
    }
}

/// A parser of LTSV.
#[derive(Debug, Clone)]
pub struct Ltsv {
    delimiter: Delimiter,
    joined_by: String,
    pattern: Option<Regex>,
    label: Delimiter,
    null_values: Vec<String>,
    keep_unlabelled: bool,
    types: Types,
}

impl Ltsv {
    /// A parser of lines that are written this way, or why there can be none.
    pub fn new(options: Options) -> Result<Self, String> {
        for (name, text) in [("delimiter", &options.delimiter), ("label_delimiter", &options.label_delimiter)] {
            if text.is_empty() {
                return Err(format!("{name} is empty: give the text that stands there in the lines"));
            }
        }
        if options.delimiter == options.label_delimiter {
            return Err(format!("delimiter and label_delimiter are both {:?}: they must differ", options.delimiter));
        }
        if let Some(pattern) = options.delimiter_pattern.as_ref().filter(|pattern| pattern.is_match("")) {
            return Err(format!("delimiter_pattern {:?} fits nothing at all, so it is everywhere", pattern.as_str()));
        }
        Ok(Self {
            delimiter: Delimiter::exact(&options.delimiter),
            joined_by: options.delimiter,
            pattern: options.delimiter_pattern,
            label: Delimiter::exact(&options.label_delimiter),
            null_values: options.null_values,
            keep_unlabelled: options.keep_unlabelled,
            types: options.types,
        })
    }

    /// Appends the fields of a line. Values of a label that comes again are gathered in an array.
    pub fn parse<'a>(&self, line: &'a str, event: &mut Event<'a>) -> Result<(), &'static str> {
        let from = event.len();
        let mut unlabelled: Option<Value<'a>> = None;
        let mut field = |text: &'a str| match self.label.find(text).and_then(|at| text.split_at_checked(at)) {
            Some((label, value)) if !label.is_empty() => {
                push(event, label, self.value(value.get(self.label.len()..).unwrap_or_default()))
            }
            _ if text.is_empty() || !self.keep_unlabelled => Ok(()),
            _ => {
                unlabelled = Some(match unlabelled.take() {
                    Some(Value::Text(before)) => {
                        let mut before = before.into_owned();
                        before.push_str(&self.joined_by);
                        before.push_str(text);
                        Value::Text(before.into())
                    }
                    _ => Value::text(text),
                });
                Ok(())
            }
        };
        if let Some(pattern) = &self.pattern {
            pattern.split(line).try_for_each(&mut field)?;
        } else {
            self.split(line).try_for_each(&mut field)?;
        }
        if event.len() == from {
            return Err("no field with a label");
        }
        if let Some(value) = unlabelled {
            push(event, UNLABELLED, value)?;
        }
        join_repeated(event, from);
        Ok(())
    }

    fn split<'a>(&self, line: &'a str) -> impl Iterator<Item = &'a str> {
        let mut rest = Some(line);
        std::iter::from_fn(move || {
            let text = rest?;
            let Some((field, after)) = self.delimiter.find(text).and_then(|at| text.split_at_checked(at)) else {
                rest = None;
                return Some(text);
            };
            rest = after.get(self.delimiter.len()..);
            Some(field)
        })
    }

    fn value<'a>(&self, text: &'a str) -> Value<'a> {
        if self.null_values.iter().any(|null| null == text) { Value::NULL } else { self.types.value(text) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::testing::{outcome, refused, sound};
    use proptest::prelude::*;

    fn ltsv(options: Options) -> Ltsv {
        Ltsv::new(options).unwrap()
    }

    #[test]
    fn lines_as_servers_write_them() {
        let parser = ltsv(Options::default());
        let cases = [
            (
                "host:127.0.0.1\tident:-\ttime:[10/Oct/2000:13:55:36 -0700]\treq:GET /a HTTP/1.0\tstatus:200\tsize:2326",
                r#"{"host":"127.0.0.1","ident":"-","time":"[10/Oct/2000:13:55:36 -0700]","req":"GET /a HTTP/1.0","status":"200","size":"2326"}"#,
            ),
            ("a:\tb:x:y\t\tc", r#"{"a":"","b":"x:y","unlabelled":"c"}"#),
            ("lead\ta:1\t:x\ta:2", r#"{"a":["1","2"],"unlabelled":"lead\t:x"}"#),
        ];
        for (line, want) in cases {
            assert_eq!(outcome(line, |line, event| parser.parse(line, event)), want);
        }
        for line in ["", "\t\t", "no label here", ":x"] {
            assert_eq!(refused(line, |line, event| parser.parse(line, event)), "no field with a label");
        }
    }

    #[test]
    fn delimiters_nulls_and_types_are_settings() {
        let parser = ltsv(Options {
            delimiter_pattern: Some(Regex::new(r"\s+").unwrap()),
            label_delimiter: "=".to_owned(),
            null_values: vec!["-".to_owned(), String::new()],
            keep_unlabelled: false,
            types: Types::Auto,
            ..Options::default()
        });
        assert_eq!(
            outcome("a=1 \t b=- x c= d=1.20", |line, event| parser.parse(line, event)),
            r#"{"a":1,"b":null,"c":null,"d":1.20}"#
        );
    }

    #[test]
    fn delimiters_that_cannot_work_are_named() {
        let new = |options| Ltsv::new(options).unwrap_err();
        assert!(new(Options { delimiter: String::new(), ..Options::default() }).starts_with("delimiter is empty"));
        assert!(new(Options { label_delimiter: "\t".to_owned(), ..Options::default() }).contains("must differ"));
        let pattern = Regex::new(r"\s*").ok();
        assert!(new(Options { delimiter_pattern: pattern, ..Options::default() }).contains("is everywhere"));
    }

    proptest! {
        #[test]
        fn any_line_is_read_or_refused(line in "(?s)([a-c]:|[\t: ]|[0-9.e-]|\\PC|.){0,60}") {
            let parser = ltsv(Options { types: Types::Auto, ..Options::default() });
            sound(&line, |line, event| parser.parse(line, event))?;
        }
    }
}
