//! A place in a line, and the steps that the parsers of access logs take from there. It knows no format.

use memchr::{memchr, memchr2};

use crate::event::Value;

/// What is left of a line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    /// At the beginning of a line.
    #[inline]
    pub(super) fn new(line: &'a str) -> Self {
        Self { rest: line }
    }

    /// All that is left.
    #[inline]
    pub(super) fn rest(self) -> &'a str {
        self.rest
    }

    /// Whether nothing is left.
    #[inline]
    pub(super) fn is_done(self) -> bool {
        self.rest.is_empty()
    }

    /// The next byte.
    #[inline]
    pub(super) fn peek(self) -> Option<u8> {
        self.rest.as_bytes().first().copied()
    }

    /// Steps over a text, if it is what comes next.
    #[inline]
    pub(super) fn eat(&mut self, text: &str) -> bool {
        let Some(rest) = self.rest.strip_prefix(text) else { return false };
        self.rest = rest;
        true
    }

    /// Steps over spaces.
    pub(super) fn spaces(&mut self) {
        while self.eat(" ") {}
    }

    /// The next bytes, and steps over one more that is ASCII: a separator.
    #[inline]
    fn take(&mut self, len: usize) -> Option<&'a str> {
        let (head, tail) = self.rest.split_at_checked(len)?;
        self.rest = tail.get(1..)?;
        Some(head)
    }

    /// What comes before an ASCII byte, and steps over both.
    #[inline]
    pub(super) fn until(&mut self, byte: u8) -> Option<&'a str> {
        self.take(memchr(byte, self.rest.as_bytes())?)
    }

    /// What comes before the next space, or all of it, and steps over both. Words are short: a plain loop is quicker than a search.
    #[inline]
    pub(super) fn word(&mut self) -> &'a str {
        match self.rest.bytes().position(|b| b == b' ') {
            Some(len) => self.take(len).unwrap_or_default(),
            None => std::mem::take(&mut self.rest),
        }
    }

    /// The text in quotes that comes next, as it stands. A quote after a backslash is part of it.
    #[inline]
    pub(super) fn quoted(&mut self) -> Option<&'a str> {
        let inner = self.rest.strip_prefix("\"")?;
        let bytes = inner.as_bytes();
        let mut at = 0;
        loop {
            at += memchr2(b'"', b'\\', bytes.get(at..)?)?;
            if bytes[at] == b'"' {
                self.rest = inner;
                return self.take(at);
            }
            at += 2;
        }
    }

    /// Text in quotes, or else a word; steps over a space after it.
    pub(super) fn quoted_or_word(&mut self) -> Option<&'a str> {
        if self.peek() != Some(b'"') {
            return Some(self.word());
        }
        let text = self.quoted()?;
        (self.eat(" ") || self.is_done()).then_some(text)
    }
}

/// A text, or null for the `-` that stands for nothing.
#[inline]
pub(super) fn text(text: &str) -> Value<'_> {
    if text == "-" { Value::NULL } else { Value::text(text) }
}

/// A number with the digits it was written with, null for the `-` that stands for nothing, and anything else as text, exponents too: nothing
/// that counts writes them, but hashes look as if they had them.
#[inline]
pub(super) fn number(text: &str) -> Value<'_> {
    match text {
        "-" => Value::NULL,
        _ if is_plain(text) => Value::Raw(text),
        _ if text.bytes().any(|b| b | 0x20 == b'e') => Value::text(text),
        _ => Value::number_or_text(text),
    }
}

/// Whether a text is such a number as most are, digits without a zero before the others, so that nothing else need be looked for.
#[inline]
fn is_plain(text: &str) -> bool {
    let bytes = text.as_bytes();
    matches!(bytes, [b'0'] | [b'1'..=b'9', ..]) && bytes.len() < 18 && bytes.iter().all(u8::is_ascii_digit)
}

/// A number of digits alone, as ports and processes have.
pub(super) fn digits(text: &str) -> Option<Value<'_>> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| Value::number(text)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_end_where_no_backslash_is_before_them() {
        let quoted = |text| {
            let mut cursor = Cursor::new(text);
            cursor.quoted().map(|inner| (inner, cursor.rest()))
        };
        assert_eq!(quoted(r#""a" b"#), Some(("a", " b")));
        assert_eq!(quoted(r#""a\"b\\" c"#), Some((r#"a\"b\\"#, " c")));
        assert_eq!(quoted(r#""" "#), Some(("", " ")));
        for bad in ["", "a", "\"", "\"a", r#""a\""#, "\"\\"] {
            assert_eq!(quoted(bad), None, "{bad}");
        }
    }

    #[test]
    fn words_are_what_spaces_separate() {
        let mut cursor = Cursor::new("é b  c");
        assert_eq!(
            [cursor.word(), cursor.word(), cursor.word(), cursor.word(), cursor.word()],
            ["é", "b", "", "c", ""]
        );
        assert!(cursor.is_done());
    }
}
