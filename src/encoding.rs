//! Encodings of log files: which one a file is in, and from a line's bytes to text. Framing knows as much of them as it has to.

use encoding_rs::{Decoder, Encoding as Standard};

use crate::frame::Code;

/// How a file's text is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// UTF-16 if the file begins with a byte order mark of that, and UTF-8 otherwise.
    Auto,
    /// This one.
    Fixed(&'static Standard),
}

/// The label of [`Encoding::Auto`].
pub const AUTO: &str = "auto";

/// The longest byte order mark.
const MAX_MARK_BYTES: usize = 3;

impl Encoding {
    /// The encoding of this label: `auto`, or one of the WHATWG's.
    pub fn of_label(label: &str) -> Option<Self> {
        if label == AUTO {
            return Some(Self::Auto);
        }
        Standard::for_label_no_replacement(label.as_bytes()).map(Self::Fixed)
    }

    /// Its name in lower case.
    pub fn label(self) -> String {
        match self {
            Self::Auto => AUTO.to_owned(),
            Self::Fixed(standard) => standard.name().to_ascii_lowercase(),
        }
    }

    /// What a file with these first bytes is in, and the length of its byte order mark. None while they are too few to tell.
    pub fn detect(self, head: &[u8], is_all: bool) -> Option<(&'static Standard, usize)> {
        let is_begun = |mark: &[u8]| head.len() < mark.len() && mark.starts_with(head);
        let found = Standard::for_bom(head).filter(|(found, _)| match self {
            Self::Auto => true,
            Self::Fixed(standard) => *found == standard,
        });
        match (found, self) {
            (Some(found), _) => Some(found),
            (None, Self::Auto)
                if !is_all && [&b"\xEF\xBB\xBF"[..], b"\xFF\xFE", b"\xFE\xFF"].into_iter().any(is_begun) =>
            {
                None
            }
            (None, Self::Auto) => Some((encoding_rs::UTF_8, 0)),
            (None, Self::Fixed(_)) if !is_all && head.len() < MAX_MARK_BYTES && self.may_have_mark(head) => None,
            (None, Self::Fixed(standard)) => Some((standard, 0)),
        }
    }

    fn may_have_mark(self, head: &[u8]) -> bool {
        let Self::Fixed(standard) = self else { return true };
        let mark: &[u8] = match code(standard) {
            Code::Utf8 => b"\xEF\xBB\xBF",
            Code::Utf16Le => b"\xFF\xFE",
            Code::Utf16Be => b"\xFE\xFF",
            Code::Legacy => return false,
        };
        head.len() < mark.len() && mark.starts_with(head)
    }
}

/// What framing has to know of an encoding.
pub fn code(standard: &'static Standard) -> Code {
    if standard == encoding_rs::UTF_8 {
        Code::Utf8
    } else if standard == encoding_rs::UTF_16LE {
        Code::Utf16Le
    } else if standard == encoding_rs::UTF_16BE {
        Code::Utf16Be
    } else {
        Code::Legacy
    }
}

/// Text of a line in another encoding, in a buffer that is used again. Answers whether bytes were replaced that mean nothing in it; none if the
/// line is text as it is.
pub fn decode(standard: &'static Standard, line: &[u8], text: &mut String) -> Option<bool> {
    let code = code(standard);
    if code == Code::Utf8 || (code == Code::Legacy && standard.is_ascii_compatible() && line.is_ascii()) {
        return None;
    }
    let mut decoder: Decoder = standard.new_decoder_without_bom_handling();
    text.clear();
    text.reserve(decoder.max_utf8_buffer_length(line.len()).unwrap_or(line.len()));
    let (_, _, replaced) = decoder.decode_to_string(line, text, true);
    Some(replaced)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(label: &str, line: &[u8]) -> (String, bool) {
        let Some(Encoding::Fixed(standard)) = Encoding::of_label(label) else { panic!("{label}") };
        let mut text = String::new();
        match decode(standard, line, &mut text) {
            Some(replaced) => (text, replaced),
            None => (String::from_utf8(line.to_vec()).unwrap(), false),
        }
    }

    #[test]
    fn lines_are_decoded() {
        for (label, line, want) in [
            ("big5", &b"\xa7\x41\xa6\x6e"[..], "\u{4f60}\u{597d}"),
            ("shift_jis", b"\x93\xfa\x96{", "\u{65e5}\u{672c}"),
            ("euc-kr", b"\xbe\xc8 x", "\u{c548} x"),
            ("windows-1250", b"Cze\x9c\xe6", "Cze\u{15b}\u{107}"),
            ("cp866", b"\x8f\xe0", "\u{41f}\u{440}"),
            ("latin1", b"\xe9\x80", "\u{e9}\u{20ac}"),
            ("utf-16le", b"h\0\x3d\xd8\0\xde", "h\u{1f600}"),
            ("utf-16be", b"\0h\xd8\x3d\xde\0", "h\u{1f600}"),
            ("utf-8", b"plain", "plain"),
        ] {
            assert_eq!(decoded(label, line), (want.to_owned(), false), "{label}");
        }
        assert_eq!(decoded("utf-16le", b"h\0\x3d\xd8"), ("h\u{fffd}".to_owned(), true));
        assert_eq!(decoded("shift_jis", b"a\x93"), ("a\u{fffd}".to_owned(), true));
    }

    #[test]
    fn a_byte_order_mark_tells_the_encoding_and_is_waited_for() {
        for (head, want) in [
            (&b"\xff\xfea\0"[..], Some((encoding_rs::UTF_16LE, 2))),
            (b"\xfe\xff", Some((encoding_rs::UTF_16BE, 2))),
            (b"\xef\xbb\xbfa", Some((encoding_rs::UTF_8, 3))),
            (b"abc", Some((encoding_rs::UTF_8, 0))),
            (b"\xff", None),
            (b"\xef\xbb", None),
            (b"", None),
        ] {
            assert_eq!(Encoding::Auto.detect(head, false), want, "{head:?}");
        }
        assert_eq!(Encoding::Auto.detect(b"\xff", true), Some((encoding_rs::UTF_8, 0)));
        let fixed = Encoding::of_label("UTF-16LE").unwrap();
        assert_eq!(fixed.detect(b"\xff\xfe", false), Some((encoding_rs::UTF_16LE, 2)));
        assert_eq!(fixed.detect(b"\xff", false), None);
        assert_eq!(fixed.detect(b"a\0", false), Some((encoding_rs::UTF_16LE, 0)));
        assert_eq!(Encoding::of_label("cp1252").unwrap().detect(b"\xff", false), Some((encoding_rs::WINDOWS_1252, 0)));
        for unknown in ["", "utf-7", "Auto", "replacement"] {
            assert_eq!(Encoding::of_label(unknown), None, "{unknown}");
        }
    }
}
