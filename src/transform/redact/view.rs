//! Text as it reads when its escapes are what they stand for, and where each part of that stands in the text.

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
    /// Reads a text's escapes as those of JSON. A backslash that begins none stays.
    pub(super) fn of(source: &str) -> Self {
        let mut view =
            Self { text: String::with_capacity(source.len()), places: vec![(0, 0)], source_len: source.len() };
        let mut rest = source;
        while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
            let (before, escape) = rest.split_at_checked(at).unwrap_or((rest, ""));
            view.text.push_str(before);
            let start = source.len() - escape.len();
            let (c, len) = escaped(escape).unwrap_or(('\\', 1));
            view.places.push((view.text.len(), start));
            view.text.push(c);
            view.places.push((view.text.len(), start + len));
            rest = escape.get(len..).unwrap_or_default();
        }
        view.text.push_str(rest);
        view
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
        _ => return None,
    };
    Some((c, 2))
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
