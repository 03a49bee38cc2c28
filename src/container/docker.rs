//! A line in the format of Docker's json-file driver: `{"log":..,"stream":..,"time":..}`. The text in `log` mostly is JSON itself, so that
//! undoing its escapes is most of the work; it is done by hand, into a buffer that is used again.

use memchr::memchr;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Piece, Stream};

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    log: &'a RawValue,
    #[serde(borrow)]
    stream: Option<&'a RawValue>,
    #[serde(borrow)]
    time: Option<&'a RawValue>,
}

/// Whether a line is such an entry, with everything that the driver writes.
pub fn is_entry(line: &[u8]) -> bool {
    let entry = line.starts_with(b"{").then(|| serde_json::from_slice::<Entry<'_>>(line).ok()).flatten();
    entry.is_some_and(|e| e.log.get().starts_with('"') && e.stream.is_some() && e.time.is_some())
}

/// Takes a line apart; nothing if it is not in the format. The buffer is for text that has escapes.
pub fn parse<'a>(line: &'a [u8], buffer: &'a mut Vec<u8>) -> Option<Piece<'a>> {
    if !line.starts_with(b"{") {
        return None;
    }
    let entry: Entry<'a> = serde_json::from_slice(line).ok()?;
    let log = entry.log.get().as_bytes().strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let stream = match entry.stream.map(RawValue::get) {
        Some("\"stdout\"") => Stream::Stdout,
        Some("\"stderr\"") => Stream::Stderr,
        _ => Stream::Unknown,
    };
    let time = entry.time.map_or("", RawValue::get);
    let time = time.strip_prefix('"').and_then(|time| time.strip_suffix('"')).filter(|time| !time.contains('\\'));
    let time = time.unwrap_or_default();
    // The newline at the end of a line is the one escape that nearly all lines have.
    let (text, ended) = match memchr(b'\\', log) {
        None => (log, false),
        Some(at) if log[at..] == *b"\\n" => (&log[..at], true),
        Some(_) => {
            unescape(log, buffer);
            let text = &buffer[..];
            let line = text.strip_suffix(b"\n");
            return Some(Piece { stream, time, text: line.unwrap_or(text), at: None, partial: line.is_none() });
        }
    };
    let at = log.as_ptr().addr() - line.as_ptr().addr();
    Some(Piece { stream, time, text, at: Some(at), partial: !ended })
}

/// Undoes the escapes of a JSON string whose syntax was checked. Half of a surrogate pair becomes U+FFFD.
fn unescape(mut text: &[u8], out: &mut Vec<u8>) {
    out.clear();
    while let Some(at) = memchr(b'\\', text) {
        out.extend_from_slice(&text[..at]);
        let escape = text.get(at + 1).copied().unwrap_or(b'\\');
        text = text.get(at + 2..).unwrap_or_default();
        match escape {
            b'n' => out.push(b'\n'),
            b't' => out.push(b'\t'),
            b'r' => out.push(b'\r'),
            b'b' => out.push(0x08),
            b'f' => out.push(0x0c),
            b'u' => {
                let (c, used) = character(text);
                text = text.get(used..).unwrap_or_default();
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
            other => out.push(other),
        }
    }
    out.extend_from_slice(text);
}

/// The character that four hexadecimal digits, or two groups of them, stand for, and how many bytes that took.
fn character(text: &[u8]) -> (char, usize) {
    const DIGITS: usize = 4;
    let first = unit(text).unwrap_or_default();
    if let Some(c) = char::from_u32(first) {
        return (c, DIGITS);
    }
    let second = text.get(DIGITS..).and_then(|rest| rest.strip_prefix(b"\\u")).and_then(unit);
    let pair = second.filter(|low| first < 0xDC00 && (0xDC00..0xE000).contains(low));
    let c = pair.and_then(|low| char::from_u32(0x10000 + ((first - 0xD800) << 10) + (low - 0xDC00)));
    c.map_or((char::REPLACEMENT_CHARACTER, DIGITS), |c| (c, 2 * DIGITS + 2))
}

fn unit(text: &[u8]) -> Option<u32> {
    text.get(..4)?.iter().try_fold(0, |n, &b| Some(n * 16 + char::from(b).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(line: &str) -> Option<(String, bool)> {
        let mut buffer = Vec::new();
        parse(line.as_bytes(), &mut buffer).map(|p| (String::from_utf8(p.text.to_vec()).unwrap(), p.partial))
    }

    #[test]
    fn an_entry_is_taken_apart_and_borrowed_where_only_its_newline_is_escaped() {
        let line = br#"{"log":"one two\n","stream":"stderr","time":"2026-11-22T18:35:23.3Z","attrs":{"a":"b"}}"#;
        let mut buffer = Vec::new();
        let piece = parse(line, &mut buffer).unwrap();
        let want = Piece {
            stream: Stream::Stderr,
            time: "2026-11-22T18:35:23.3Z",
            text: b"one two",
            at: Some(8),
            partial: false,
        };
        assert_eq!(piece, want);
        assert!(is_entry(line));
    }

    #[test]
    fn a_log_that_does_not_end_with_a_newline_is_partial() {
        assert_eq!(text(r#"{"log":"no newline at end"}"#), Some(("no newline at end".to_owned(), true)));
        assert_eq!(text(r#"{"log":"a\\n"}"#), Some(("a\\n".to_owned(), true)));
        assert_eq!(text(r#"{"log":"a\\\n"}"#), Some(("a\\".to_owned(), false)));
        assert_eq!(text(r#"{"log":"\n"}"#), Some((String::new(), false)));
    }

    #[test]
    fn what_is_no_entry_is_refused() {
        for line in
            ["", "{", "[]", "{}", r#"{"log":1}"#, r#"{"log":null}"#, r#"{"stream":"stdout"}"#, r#"{"log":"a"} x"#]
        {
            assert_eq!(text(line), None, "{line}");
        }
        assert!(!is_entry(br#"{"log":"a\n"}"#));
        assert_eq!(text(r#"{"log":"\ud83d\ude00\udc00\ud83dx\n"}"#).unwrap().0, "\u{1f600}\u{fffd}\u{fffd}x");
    }

    proptest! {
        /// For all texts, what JSON makes of them and this undoes is the text.
        #[test]
        fn escapes_are_undone(log in any::<String>(), ascii in "[\\x00-\\x7f\"\\\\\n]{0,40}") {
            for log in [log, ascii] {
                let line = serde_json::json!({ "log": log }).to_string();
                let (got, partial) = text(&line).unwrap();
                prop_assert_eq!(if partial { got } else { got + "\n" }, log);
            }
        }
    }
}
