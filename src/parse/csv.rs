//! Comma-separated values (RFC 4180), one record a line, and its relatives with other delimiters: TSV as IANA registered it (no quotes) and whatever
//! an application delimits its lines with. As in the readers of most languages, a quote within a value is text unless the value begins with one.
//!
//! Written by hand, since `csv-core` copies every field into a buffer of its caller's, where these are borrowed from the line.
//!
//! A name comes from the settings, as in Fluentd; a value without one is `column3` by its place, so that nothing is lost. Values are text, as in
//! Vector and Fluentd, unless [`Types::Auto`] is asked for.

use std::borrow::Cow;

use memchr::memchr;

use crate::event::{Event, Value};
use crate::parse::delimiter::Delimiter;
use crate::parse::fields::push;
use crate::parse::scan::Scan;
use crate::parse::types::Types;

/// The field that holds the time, if the columns are named so.
pub const TIME: &str = "time";
/// The field that holds the level, if the columns are named so.
pub const LEVEL: Option<&str> = Some("level");

/// How lines are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The names of the columns.
    pub columns: Vec<String>,
    /// What stands between values: one character.
    pub delimiter: String,
    /// What stands around values that have a delimiter in them, doubled where it is itself part of one; nothing, if no value is quoted.
    pub quote: Option<u8>,
    /// Values that mean that there is none, where they are not quoted.
    pub null_values: Vec<String>,
    /// What becomes of values that look like numbers and are not quoted.
    pub types: Types,
    /// Whether a line must have as many values as there are columns; otherwise the last ones may be missing, and there may be more.
    pub exact: bool,
    /// Whether the last column takes the rest of the line, delimiters and quotes and all.
    pub rest: bool,
}

impl Options {
    /// Comma-separated values.
    pub fn csv(columns: Vec<String>) -> Self {
        Self {
            columns,
            delimiter: ",".to_owned(),
            quote: Some(b'"'),
            null_values: Vec::new(),
            types: Types::Text,
            exact: false,
            rest: false,
        }
    }

    /// Tab-separated values.
    pub fn tsv(columns: Vec<String>) -> Self {
        Self { delimiter: "\t".to_owned(), quote: None, ..Self::csv(columns) }
    }
}

/// A parser of delimited values.
#[derive(Debug, Clone)]
pub struct Csv {
    columns: Vec<String>,
    delimiter: Delimiter,
    quote: Option<u8>,
    null_values: Vec<String>,
    types: Types,
    exact: bool,
    rest: bool,
}

impl Csv {
    /// A parser of lines that are written this way, or why there can be none.
    pub fn new(options: Options) -> Result<Self, String> {
        let Options { columns, delimiter, quote, null_values, types, exact, rest } = options;
        if delimiter.chars().count() != 1 {
            return Err(format!("delimiter {delimiter:?} must be a single character"));
        }
        if let Some(quote) = quote.filter(|quote| !quote.is_ascii() || delimiter.as_bytes() == [*quote]) {
            return Err(format!("quote {:?} must be a character of ASCII other than the delimiter", char::from(quote)));
        }
        if let Some(twice) = columns.iter().enumerate().find(|(at, name)| columns.iter().take(*at).any(|n| n == *name))
        {
            return Err(format!("columns has {:?} twice: each column needs a name of its own", twice.1));
        }
        if columns.is_empty() && (exact || rest) {
            return Err("columns is empty: without names, `exact` and `rest` mean nothing".to_owned());
        }
        Ok(Self { columns, delimiter: Delimiter::exact(&delimiter), quote, null_values, types, exact, rest })
    }

    /// Appends the fields of a line.
    pub fn parse<'a>(&'a self, line: &'a str, event: &mut Event<'a>) -> Result<(), &'static str> {
        if line.is_empty() {
            return Err("an empty line");
        }
        let mut scan = Scan::new(line);
        let mut column = 0;
        loop {
            let value = if self.rest && column + 1 == self.columns.len() {
                self.plain(scan.take(usize::MAX))
            } else if self.quote.is_some() && scan.peek() == self.quote {
                self.quoted(&mut scan)?
            } else {
                let len = self.delimiter.find(scan.rest()).unwrap_or(scan.rest().len());
                self.plain(scan.take(len))
            };
            push(event, self.name(column), value)?;
            column += 1;
            if scan.is_done() {
                break;
            }
            scan.take(self.delimiter.len());
        }
        if self.exact && column != self.columns.len() {
            return Err("another number of values than there are columns");
        }
        Ok(())
    }

    fn name(&self, column: usize) -> Cow<'_, str> {
        match self.columns.get(column) {
            Some(name) => Cow::Borrowed(name),
            None => Cow::Owned(self.spare(column)),
        }
    }

    /// The name of a column that was given none, and that no other one has.
    fn spare(&self, column: usize) -> String {
        let mut name = format!("column{}", column + 1);
        while self.columns.contains(&name) {
            name.push('_');
        }
        name
    }

    fn plain<'a>(&self, text: &'a str) -> Value<'a> {
        if self.null_values.iter().any(|null| null == text) { Value::NULL } else { self.types.value(text) }
    }

    /// Reads a value that begins with a quote. What follows the closing one, up to the delimiter, is part of it.
    fn quoted<'a>(&self, scan: &mut Scan<'a>) -> Result<Value<'a>, &'static str> {
        let quote = self.quote.unwrap_or_default();
        let mut value = Cow::Borrowed("");
        let mut first = true;
        // The opening quote, or the second of two that stand for one.
        while scan.peek() == Some(quote) {
            scan.take(1);
            let part = scan.take(memchr(quote, scan.rest().as_bytes()).ok_or("no closing quote")?);
            scan.take(1);
            if first {
                value = Cow::Borrowed(part);
                first = false;
            } else {
                let value = value.to_mut();
                value.push(char::from(quote));
                value.push_str(part);
            }
        }
        let len = self.delimiter.find(scan.rest()).unwrap_or(scan.rest().len());
        if len > 0 {
            value.to_mut().push_str(scan.take(len));
        }
        Ok(Value::Text(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::testing::{outcome, refused, sound};
    use proptest::prelude::*;

    fn names(columns: &[&str]) -> Vec<String> {
        columns.iter().map(|&name| name.to_owned()).collect()
    }

    fn parsed(options: Options, line: &str) -> String {
        let parser = Csv::new(options).unwrap();
        let mut event = Event::default();
        parser.parse(line, &mut event).unwrap();
        let mut out = Vec::new();
        event.write_to(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values_are_read_as_the_rfc_has_them() {
        let cases = [
            (r#"1,"b ""x"", c",,"",é"#, r#"{"a":"1","b":"b \"x\", c","column3":"","column4":"","column5":"é"}"#),
            (r#"a "b" c,"d"e,"#, r#"{"a":"a \"b\" c","b":"de","column3":""}"#),
            ("x", r#"{"a":"x"}"#),
            (",", r#"{"a":"","b":""}"#),
        ];
        for (line, want) in cases {
            assert_eq!(parsed(Options::csv(names(&["a", "b"])), line), want, "{line}");
        }
    }

    #[test]
    fn a_doubled_quote_stands_for_one() {
        let parser = Csv::new(Options::csv(names(&["a", "b"]))).unwrap();
        let line = r#""""","""x""""#;
        assert_eq!(outcome_of(&parser, line), r#"{"a":"\"","b":"\"x\""}"#);
        for open in [r#"""#, r#"a,"b"#, r#"a,"b"""#] {
            assert_eq!(refused(open, |line, event| parser.parse(line, event)), "no closing quote", "{open}");
        }
    }

    fn outcome_of<'a>(parser: &'a Csv, line: &'a str) -> String {
        outcome(line, |line, event| parser.parse(line, event))
    }

    #[test]
    fn tabs_have_no_quotes() {
        assert_eq!(parsed(Options::tsv(names(&["a", "b"])), "\"x\t\"y\""), r#"{"a":"\"x","b":"\"y\""}"#);
    }

    #[test]
    fn delimiters_nulls_types_and_the_rest_are_settings() {
        let options = Options {
            delimiter: "§".to_owned(),
            null_values: names(&["-", ""]),
            types: Types::Auto,
            rest: true,
            ..Options::csv(names(&["a", "b", "c", "d", "e"]))
        };
        assert_eq!(parsed(options, "1.0§-§§\"1\"§x§\"y"), r#"{"a":1.0,"b":null,"c":null,"d":"1","e":"x§\"y"}"#);
    }

    #[test]
    fn an_exact_parser_refuses_other_lines() {
        let parser = Csv::new(Options { exact: true, ..Options::csv(names(&["a", "b"])) }).unwrap();
        assert_eq!(outcome_of(&parser, "1,2"), r#"{"a":"1","b":"2"}"#);
        for line in ["1", "1,2,3"] {
            let why = refused(line, |line, event| parser.parse(line, event));
            assert_eq!(why, "another number of values than there are columns");
        }
        assert_eq!(refused("", |line, event| parser.parse(line, event)), "an empty line");
    }

    #[test]
    fn a_spare_name_is_nobody_elses() {
        assert_eq!(parsed(Options::csv(names(&["column2"])), "a,b"), r#"{"column2":"a","column2_":"b"}"#);
    }

    #[test]
    fn settings_that_cannot_work_are_named() {
        let new = |options| Csv::new(options).unwrap_err();
        assert!(new(Options { delimiter: ",,".to_owned(), ..Options::csv(vec![]) }).contains("single character"));
        assert!(new(Options { quote: Some(b','), ..Options::csv(vec![]) }).contains("other than the delimiter"));
        assert!(new(Options::csv(names(&["a", "a"]))).contains("\"a\" twice"));
        assert!(new(Options { rest: true, ..Options::csv(vec![]) }).contains("columns is empty"));
    }

    proptest! {
        #[test]
        fn any_line_is_read_or_refused(line in "(?s)([,\"a;§]|[0-9.e-]|\\PC|.){0,60}", delimiter in prop::sample::select(vec![",", ";", "§", "a"])) {
            let options = Options { delimiter: delimiter.to_owned(), types: Types::Auto, ..Options::csv(names(&["x", "column5"])) };
            let parser = Csv::new(options).unwrap();
            sound(&line, |line, event| parser.parse(line, event))?;
        }

        #[test]
        fn what_is_quoted_comes_back(values in proptest::collection::vec("(?s)([,\"]|.){0,8}", 1..9)) {
            let line: Vec<String> = values.iter().map(|v| format!("\"{}\"", v.replace('"', "\"\""))).collect();
            let (line, parser) = (line.join(","), Csv::new(Options::csv(vec![])).unwrap());
            let mut event = Event::default();
            parser.parse(&line, &mut event).unwrap();
            let got: Vec<String> = event.fields().iter().map(|(_, v)| v.as_str().into_owned()).collect();
            prop_assert_eq!(got, values);
        }
    }
}
