//! What stands between two parts of a line.

use memchr::memchr;
use memchr::memmem::Finder;

/// A text between parts.
#[derive(Debug, Clone)]
pub enum Delimiter {
    /// Any white space of ASCII, as much of it as there is.
    White,
    /// One byte.
    Byte(u8),
    /// Several bytes.
    Text(Box<Finder<'static>>),
}

impl Delimiter {
    /// A delimiter that is exactly this text.
    pub fn exact(text: &str) -> Self {
        match text.as_bytes() {
            &[byte] => Self::Byte(byte),
            bytes => Self::Text(Box::new(Finder::new(bytes).into_owned())),
        }
    }

    /// A delimiter as people give it: a space stands for any white space.
    pub fn new(text: &str) -> Self {
        if text == " " { Self::White } else { Self::exact(text) }
    }

    /// Whether it is white space.
    pub const fn is_white(&self) -> bool {
        matches!(self, Self::White)
    }

    /// Where it is, first.
    #[inline]
    pub fn find(&self, text: &str) -> Option<usize> {
        match self {
            Self::White => text.bytes().position(|b| b.is_ascii_whitespace()),
            Self::Byte(byte) => memchr(*byte, text.as_bytes()),
            Self::Text(finder) => finder.find(text.as_bytes()),
        }
    }

    /// Its length in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        match self {
            Self::White | Self::Byte(_) => 1,
            Self::Text(finder) => finder.needle().len(),
        }
    }

    /// Whether it is nothing at all, which no parser accepts.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a text starts with it.
    #[inline]
    pub fn starts(&self, text: &str) -> bool {
        match self {
            Self::White => text.starts_with(|c: char| c.is_ascii_whitespace()),
            Self::Byte(byte) => text.as_bytes().first() == Some(byte),
            Self::Text(finder) => text.as_bytes().starts_with(finder.needle()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delimiters_are_found() {
        for (delimiter, text, at, len) in
            [(" ", "ab\tc", 2, 1), (",", "é,b", 2, 1), ("--", "a-b--c", 3, 2), ("§", "a§b", 1, 2)]
        {
            let delimiter = Delimiter::new(delimiter);
            assert_eq!((delimiter.find(text), delimiter.len()), (Some(at), len), "{text}");
            assert!(delimiter.starts(text.get(at..).unwrap()) && !delimiter.starts(text));
        }
        assert_eq!(Delimiter::exact(" ").find("a\tb c"), Some(3));
        assert!(Delimiter::new(" ").is_white());
    }
}
