//! The Common Event Format (CEF) of `ArcSight`, by its "Implementing Common Event Format" guide, versions 0 and 1:
//! `CEF:0|vendor|product|version|class|name|severity|key=value key=value`. Field names are those of the format's key names, as in Vector's `parse_cef`,
//! and like there values are text unless [`Types::Auto`] is asked for. What stands before `CEF:`, mostly the header of syslog, is kept as `prefix`.

use std::borrow::Cow;

use memchr::memchr2;
use memchr::memmem;

use crate::event::{Event, Value};
use crate::parse::escape;
use crate::parse::fields::{join_repeated, push};
use crate::parse::scan::Scan;
use crate::parse::types::Types;

/// The field that holds the time: when the device received it.
pub const TIME: &str = "rt";
/// The field that holds the level: 0 to 10, or `Low` to `Very-High`.
pub const LEVEL: Option<&str> = Some("severity");

/// The fields of the header behind the version.
const HEADER: [&str; 6] = ["deviceVendor", "deviceProduct", "deviceVersion", "deviceEventClassId", "name", "severity"];

/// The fields whose meaning another one tells, which is called as they are with `Label` behind it.
const CUSTOM: [&str; 24] = [
    "c6a1",
    "c6a2",
    "c6a3",
    "c6a4",
    "cfp1",
    "cfp2",
    "cfp3",
    "cfp4",
    "cn1",
    "cn2",
    "cn3",
    "cs1",
    "cs2",
    "cs3",
    "cs4",
    "cs5",
    "cs6",
    "deviceCustomDate1",
    "deviceCustomDate2",
    "flexDate1",
    "flexString1",
    "flexString2",
    "flexNumber1",
    "flexNumber2",
];

/// A parser of CEF.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cef {
    /// Whether a field such as `cs1` gets the name that `cs1Label` gives; a line in which one of the two is missing is then refused.
    pub custom_labels: bool,
    /// What becomes of values that look like numbers.
    pub types: Types,
}

impl Cef {
    /// Appends the fields of a line. Values of a key that comes again are gathered in an array.
    pub fn parse<'a>(&self, line: &'a str, event: &mut Event<'a>) -> Result<(), &'static str> {
        let at = memmem::find(line.as_bytes(), b"CEF:").ok_or("no CEF: in the line")?;
        let (prefix, rest) = line.split_at_checked(at).ok_or("no CEF: in the line")?;
        let from = event.len();
        if !prefix.trim_ascii().is_empty() {
            push(event, "prefix", Value::text(prefix.trim_ascii()))?;
        }
        let mut scan = Scan::new(rest);
        scan.eat("CEF:");
        let version = scan.until(|b| b == b'|').trim_ascii();
        if version.is_empty() || !version.bytes().all(|b| b.is_ascii_digit() || b == b'.') || !scan.eat("|") {
            return Err("no version behind CEF:");
        }
        push(event, "cefVersion", self.types.value(version))?;
        for name in HEADER {
            let value = header(&mut scan, name == "severity").ok_or("fewer than seven fields in the header")?;
            push(event, name, self.value(value))?;
        }
        let labelled = event.len();
        self.extension(&mut scan, event)?;
        if self.custom_labels {
            label(event, labelled)?;
        }
        join_repeated(event, from);
        Ok(())
    }

    /// Appends the keys and values behind the header. A value may hold spaces: it ends where the next key begins.
    fn extension<'a>(self, scan: &mut Scan<'a>, event: &mut Event<'a>) -> Result<(), &'static str> {
        scan.skip(|b| b == b' ');
        if scan.is_done() {
            return Ok(());
        }
        let mut key = scan.until(|b| b == b'=');
        if !is_key(key) || !scan.eat("=") {
            return Err("no key= behind the header");
        }
        loop {
            let (value, escaped, next) = value(scan);
            let value = value.trim_ascii_end();
            let value = if escaped { Cow::Owned(escape::some(value, b"=\\|", b"nr")) } else { Cow::Borrowed(value) };
            push(event, key, self.value(value))?;
            match next {
                Some(next) => key = next,
                None => return Ok(()),
            }
        }
    }

    fn value(self, text: Cow<'_, str>) -> Value<'_> {
        match text {
            Cow::Borrowed(text) => self.types.value(text),
            Cow::Owned(text) => Value::Text(text.into()),
        }
    }
}

/// Reads a field of the header. Only the last one may be ended by the line.
fn header<'a>(scan: &mut Scan<'a>, last: bool) -> Option<Cow<'a, str>> {
    let bytes = scan.rest().as_bytes();
    let mut escaped = false;
    let mut at = 0;
    let len = loop {
        match memchr2(b'|', b'\\', bytes.get(at..).unwrap_or_default()) {
            Some(found) if bytes.get(at + found) == Some(&b'|') => break at + found,
            Some(found) => {
                escaped = true;
                at += found + 2;
            }
            None if last => break bytes.len(),
            None => return None,
        }
    };
    let text = scan.take(len);
    scan.eat("|");
    Some(if escaped { Cow::Owned(escape::some(text, b"|\\", b"")) } else { Cow::Borrowed(text) })
}

/// Reads a value of the extension, and the key behind it if there is one. An `=` is part of the value unless a space and a key are before it.
fn value<'a>(scan: &mut Scan<'a>) -> (&'a str, bool, Option<&'a str>) {
    let bytes = scan.rest().as_bytes();
    let mut escaped = false;
    let mut hidden = false;
    let mut space = None;
    for (at, &byte) in bytes.iter().enumerate() {
        if hidden {
            hidden = false;
            continue;
        }
        match byte {
            b'\\' => {
                hidden = true;
                escaped = true;
            }
            b' ' => space = Some(at),
            b'=' => {
                let key = space.and_then(|space| scan.rest().get(space + 1..at)).filter(|key| is_key(key));
                if let (Some(space), Some(key)) = (space, key) {
                    let value = scan.take(space);
                    scan.take(at + 1 - space);
                    return (value, escaped, Some(key));
                }
                // Of a word with several of them, the first decides.
                space = None;
            }
            _ => {}
        }
    }
    (scan.take(usize::MAX), escaped, None)
}

fn is_key(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-[]".contains(&b))
}

/// Gives custom fields the names that their labels say. Of the fields from a place on.
fn label(event: &mut Event<'_>, from: usize) -> Result<(), &'static str> {
    let fields = event.fields_mut();
    for custom in CUSTOM {
        let find = |wanted: &dyn Fn(&str) -> bool| {
            fields.iter().skip(from).position(|(name, _)| wanted(name)).map(|at| at + from)
        };
        let value = find(&|name| name == custom);
        let label = find(&|name| name.strip_suffix("Label") == Some(custom));
        match (value, label) {
            (None, None) => {}
            (Some(value), Some(label)) => {
                fields[value].0 = Cow::Owned(fields[label].1.as_str().into_owned());
                fields.remove(label);
            }
            _ => return Err("a custom field without its label, or a label without its field"),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::testing::{outcome, refused, sound};
    use proptest::prelude::*;

    const PLAIN: Cef = Cef { custom_labels: false, types: Types::Text };
    const LABELS: Cef = Cef { custom_labels: true, types: Types::Auto };

    fn plain(line: &str) -> String {
        outcome(line, |line, event| PLAIN.parse(line, event))
    }

    #[test]
    fn lines_as_devices_write_them() {
        let head = r#""cefVersion":"0","deviceVendor":"Security","deviceProduct":"threatmanager","deviceVersion":"1.0","deviceEventClassId":"100","#;
        let cases = [
            (
                r"CEF:0|Security|threatmanager|1.0|100|a \| in \\ it|10|src=10.0.0.1 msg=Two words.\nAnd \= more act=blocked a b dst= spt=1232",
                format!(
                    r#"{{{head}"name":"a | in \\ it","severity":"10","src":"10.0.0.1","msg":"Two words.\nAnd = more","act":"blocked a b","dst":"","spt":"1232"}}"#
                ),
            ),
            (
                "<134>Sep 19 08:26:10 host CEF: 0|Security|threatmanager|1.0|100|worm|Very-High",
                format!(r#"{{"prefix":"<134>Sep 19 08:26:10 host",{head}"name":"worm","severity":"Very-High"}}"#),
            ),
            (
                "CEF:0|Security|threatmanager|1.0|100|worm||request=http://x/?a=b&c=d e f=1 ad.k[0]=é  ad.k[0]=2 ",
                format!(
                    r#"{{{head}"name":"worm","severity":"","request":"http://x/?a=b&c=d e","f":"1","ad.k[0]":["é","2"]}}"#
                ),
            ),
        ];
        for (line, want) in cases {
            assert_eq!(plain(line), want);
        }
    }

    #[test]
    fn labels_name_custom_fields() {
        assert_eq!(
            outcome(
                "CEF:1|a|b|c|d|e|3|cs1Label=Rule cs1=x cn1=7 cn1Label=Hits spt=80 cs2Label=Rule cs2=y",
                |line, event| { LABELS.parse(line, event) }
            ),
            r#"{"cefVersion":1,"deviceVendor":"a","deviceProduct":"b","deviceVersion":"c","deviceEventClassId":"d","name":"e","severity":3,"Rule":["x","y"],"Hits":7,"spt":80}"#
        );
        for line in ["CEF:0|a|b|c|d|e|3|cfp1=1.23", "CEF:0|a|b|c|d|e|3|cfp1Label=x"] {
            assert!(refused(line, |line, event| LABELS.parse(line, event)).starts_with("a custom field without"));
        }
    }

    #[test]
    fn what_is_not_cef_is_refused() {
        for (line, why) in [
            ("LEEF:1.0|x", "no CEF: in the line"),
            ("CEF:|a|b|c|d|e|f|", "no version behind CEF:"),
            ("CEF:0", "no version behind CEF:"),
            ("CEF:0|a|b|c|d|e", "fewer than seven fields in the header"),
            ("CEF:0|a|b|c|d|e|f|some text", "no key= behind the header"),
            ("CEF:0|a|b|c|d|e|f|some text=1", "no key= behind the header"),
        ] {
            assert_eq!(refused(line, |line, event| PLAIN.parse(line, event)), why, "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_read_or_refused(rest in "(?s)([|\\\\= ]|cs1=|cs1Label=|[a-z0-9.]|\\PC|.){0,60}", whole: bool) {
            let line = if whole { format!("CEF:0|a|b|c|d|e|f|k={rest}") } else { format!("{rest}CEF:0{rest}") };
            sound(&line, |line, event| PLAIN.parse(line, event))?;
            sound(&line, |line, event| LABELS.parse(line, event))?;
        }
    }
}
