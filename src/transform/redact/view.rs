//! Text as it reads when its escapes, or the percent signs of a URL, are what they stand for, and where each part of that stands in the text.

use std::ops::Range;

/// A text with what backslashes stand for in their place.
#[derive(Debug)]
pub(super) struct View {
    pub(super) text: String,
    /// Where something of the view begins, and where in the text it was: at each escape and after it.
    places: Vec<(usize, usize)>,
    source_len: usize,
}

impl View {
    /// The text without its escapes, or if it has none, without its percent signs; nothing if that is no other text.
    pub(super) fn next(source: &str) -> Option<Self> {
        let is_other = |view: &Self| view.text != source;
        let has = |byte: u8| memchr::memchr(byte, source.as_bytes()).is_some();
        let plain = has(b'\\').then(|| Self::of(source)).filter(is_other);
        plain.or_else(|| has_percent(source).then(|| Self::of_url(source)).filter(is_other))
    }

    /// Reads a text as the parts of a URL and forms are written: `%2F` is a slash, and a plus is a blank. What stands for no character of ASCII stays.
    pub(super) fn of_url(source: &str) -> Self {
        let (mut view, mut copied) = (Self::empty(source), 0);
        for at in memchr::memchr2_iter(b'%', b'+', source.as_bytes()) {
            let Some((c, len)) = encoded(source.as_bytes().get(at..).unwrap_or_default()) else { continue };
            view.text.push_str(source.get(copied..at).unwrap_or_default());
            copied = at + len;
            view.push(c, at..copied);
        }
        view.text.push_str(source.get(copied..).unwrap_or_default());
        view
    }

    /// Reads a text's escapes as those of JSON and, for characters of ASCII, `\x22`. A backslash that begins none stays.
    pub(super) fn of(source: &str) -> Self {
        let (mut view, mut rest) = (Self::empty(source), source);
        while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
            let (before, escape) = rest.split_at_checked(at).unwrap_or((rest, ""));
            view.text.push_str(before);
            let start = source.len() - escape.len();
            let (c, len) = escaped(escape).unwrap_or(('\\', 1));
            view.push(c, start..start + len);
            rest = escape.get(len..).unwrap_or_default();
        }
        view.text.push_str(rest);
        view
    }

    /// Nothing of a text yet.
    fn empty(source: &str) -> Self {
        Self { text: String::with_capacity(source.len()), places: vec![(0, 0)], source_len: source.len() }
    }

    /// Appends a character, and what stands for it in the text.
    fn push(&mut self, c: char, source: Range<usize>) {
        self.places.push((self.text.len(), source.start));
        self.text.push(c);
        self.places.push((self.text.len(), source.end));
    }

    /// Where a range of the view was.
    pub(super) fn source(&self, range: &Range<usize>) -> Range<usize> {
        self.place(range.start)..self.place(range.end)
    }

    fn place(&self, at: usize) -> usize {
        let index = self.places.partition_point(|(view, _)| *view <= at);
        let (view, source) = self.places.get(index.saturating_sub(1)).copied().unwrap_or_default();
        (source + at - view).min(self.source_len)
    }
}

/// Whether a text has a percent sign that stands for a character.
pub(super) fn has_percent(text: &str) -> bool {
    let bytes = text.as_bytes();
    memchr::memchr_iter(b'%', bytes).any(|at| encoded(&bytes[at..]).is_some())
}

/// The character that a percent sign with two digits, or a plus, stands for, and how long that is.
fn encoded(bytes: &[u8]) -> Option<(char, usize)> {
    let digit = |at: usize| char::from(*bytes.get(at)?).to_digit(16);
    match bytes.first()? {
        b'+' => Some((' ', 1)),
        b'%' => {
            let byte = u8::try_from(digit(1)? * 16 + digit(2)?).ok()?;
            byte.is_ascii().then(|| (char::from(byte), 3))
        }
        _ => None,
    }
}

/// The character that an escape stands for, and how long the escape is.
fn escaped(escape: &str) -> Option<(char, usize)> {
    let c = match *escape.as_bytes().get(1)? {
        b'n' => '\n',
        b't' => '\t',
        b'r' => '\r',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        c @ (b'"' | b'\\' | b'/') => char::from(c),
        b'u' => return unicode(escape),
        // Not JSON's: nginx and others write quotes so.
        b'x' => return hexadecimal(escape),
        _ => return None,
    };
    Some((c, 2))
}

fn hexadecimal(escape: &str) -> Option<(char, usize)> {
    let byte = escape.get(2..4).and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(u8::is_ascii)?;
    Some((char::from(byte), 4))
}

fn unicode(escape: &str) -> Option<(char, usize)> {
    let unit = |at: usize| escape.get(at..at + 4).and_then(|digits| u32::from_str_radix(digits, 16).ok());
    let high = unit(2)?;
    if let Some(c) = char::from_u32(high) {
        return Some((c, 6));
    }
    let low = if escape.get(6..8) == Some("\\u") { unit(8) } else { None };
    let pair = low.filter(|low| high < 0xdc00 && (0xdc00..0xe000).contains(low));
    let c = pair.and_then(|low| char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)));
    // Half of a pair stands for nothing.
    Some(c.map_or((char::REPLACEMENT_CHARACTER, 6), |c| (c, 12)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escapes_are_read_and_found_again() {
        assert_eq!(View::of(r"\x22a\x0Ab\xC3\xg").text, "\"a\nb\\xC3\\xg");
        let source = r"a\u0040b\n\ud83d\ude00\q\ud800x\\";
        let view = View::of(source);
        assert_eq!(view.text, "a@b\n\u{1F600}\\q\u{FFFD}x\\");
        let at = |part: &str| {
            let start = view.text.find(part).unwrap();
            source.get(view.source(&(start..start + part.len()))).unwrap()
        };
        assert_eq!((at("@"), at("a@b"), at("\u{1F600}"), at("\\q")), (r"\u0040", r"a\u0040b", r"\ud83d\ude00", r"\q"));
        assert_eq!(view.source(&(0..view.text.len())), 0..source.len());
    }

    #[test]
    fn urls_are_read_and_found_again() {
        let source = "?p%3Da%2Fb+c%C3%A4%4&d=100%";
        let view = View::of_url(source);
        assert_eq!(view.text, "?p=a/b c%C3%A4%4&d=100%");
        let start = view.text.find("=a/b c").unwrap();
        assert_eq!(source.get(view.source(&(start..start + 6))), Some("%3Da%2Fb+c"));
        assert_eq!(View::next("a+b").map(|view| view.text), None);
        assert_eq!(View::next(r"a\nb%20c").map(|view| view.text).as_deref(), Some("a\nb%20c"));
        assert_eq!(View::next("a%2520b").map(|view| view.text).as_deref(), Some("a%20b"));
    }

    proptest! {
        #[test]
        fn it_reads_what_serde_reads(text in "\\PC{0,20}", at in 0_usize..20) {
            let quoted = serde_json::to_string(&text).unwrap();
            let inner = &quoted.as_bytes()[1..quoted.len() - 1];
            let inner = std::str::from_utf8(inner).unwrap();
            let view = View::of(inner);
            prop_assert_eq!(&view.text, &text);
            let at = (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap();
            prop_assert!(inner.is_char_boundary(view.source(&(at..text.len())).start));
        }
    }
}
