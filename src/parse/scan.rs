//! A place in a line that moves on: what hand-written parsers share. It knows no format.

use memchr::{memchr, memchr2};

/// The part of a line that was not read yet.
#[derive(Debug, Clone, Copy)]
pub struct Scan<'a> {
    rest: &'a str,
}

/// Text from between quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quoted<'a> {
    /// What stands between them, as it stands.
    pub inner: &'a str,
    /// Whether there is a backslash in it.
    pub escaped: bool,
}

impl<'a> Scan<'a> {
    /// At the start of a text.
    pub const fn new(text: &'a str) -> Self {
        Self { rest: text }
    }

    /// What was not read yet.
    pub const fn rest(&self) -> &'a str {
        self.rest
    }

    /// Whether all is read.
    pub const fn is_done(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next byte.
    #[inline]
    pub fn peek(&self) -> Option<u8> {
        self.rest.as_bytes().first().copied()
    }

    /// Reads this many bytes; the whole rest if there are fewer, or if that would be within a character.
    #[inline]
    pub fn take(&mut self, len: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at_checked(len).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    /// Reads up to the first byte that fits, or all. Only ASCII may fit, so that no character is cut.
    #[inline]
    pub fn until(&mut self, fits: impl Fn(u8) -> bool) -> &'a str {
        let len = self.rest.bytes().position(|b| b.is_ascii() && fits(b)).unwrap_or(self.rest.len());
        self.take(len)
    }

    /// Reads while bytes of ASCII fit.
    #[inline]
    pub fn skip(&mut self, fits: impl Fn(u8) -> bool) -> &'a str {
        let len = self.rest.bytes().position(|b| !(b.is_ascii() && fits(b))).unwrap_or(self.rest.len());
        self.take(len)
    }

    /// Reads a text if it is the next.
    #[inline]
    pub fn eat(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// Reads up to the next space, and the space.
    #[inline]
    pub fn word(&mut self) -> &'a str {
        let word = self.take(memchr(b' ', self.rest.as_bytes()).unwrap_or(self.rest.len()));
        self.eat(" ");
        word
    }

    /// Reads text in quotes, when the next byte is the opening one. A backslash hides the character after it. `None`, and nothing read, if no
    /// quote closes it.
    #[inline]
    pub fn quoted(&mut self, quote: u8) -> Option<Quoted<'a>> {
        let bytes = self.rest.as_bytes();
        let mut at = 1;
        let mut escaped = false;
        loop {
            at += memchr2(quote, b'\\', bytes.get(at..)?)?;
            if bytes.get(at) == Some(&quote) {
                let inner = self.rest.get(1..at)?;
                self.take(at + 1);
                return Some(Quoted { inner, escaped });
            }
            escaped = true;
            at += 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_character_is_cut() {
        let mut scan = Scan::new("ƒé=x y");
        assert_eq!(scan.until(|b| b == b'='), "ƒé");
        assert!(scan.eat("=") && !scan.eat("="));
        assert_eq!((scan.word(), scan.rest(), scan.peek()), ("x", "y", Some(b'y')));
        assert_eq!(Scan::new("é").take(1), "é");
        assert_eq!(Scan::new("  é x").skip(|b| b == b' '), "  ");
    }

    #[test]
    fn quotes_end_where_no_backslash_hides_them() {
        let quoted = |text| Scan::new(text).quoted(b'"').map(|q| (q.inner, q.escaped));
        assert_eq!(quoted(r#""a b" c"#), Some(("a b", false)));
        assert_eq!(quoted(r#""a\"b\\" c"#), Some((r#"a\"b\\"#, true)));
        for open in [r#"""#, r#""a"#, r#""a\"#, r#""a\""#, "\"\\é"] {
            assert_eq!(quoted(open), None, "{open}");
        }
    }
}
