//! What stands in a secret's place.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::Preset;

/// Bytes of a hash that are shown: enough to tell secrets apart, in 16 characters.
const HASH_BYTES: usize = 8;

/// What stands in a secret's place.
#[derive(Clone, PartialEq, Eq)]
pub enum With {
    /// A fixed text. It has no quotes, backslashes or control characters, so that it fits into any text as it is.
    Mask(String),
    /// A keyed hash, which is the same for the same secret: `hash:` and 16 hex digits.
    Hash {
        /// The key, without which nobody can try out all secrets.
        salt: String,
    },
    /// Nothing.
    Remove,
    /// A sign that is nothing the next time: what is removed at once cannot be told from what was never there.
    Removed {
        /// Whether fields that are named go as a whole.
        fields: bool,
    },
}

impl fmt::Debug for With {
    /// The salt is nobody's business.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mask(text) => write!(f, "Mask({text:?})"),
            Self::Hash { .. } => f.write_str("Hash"),
            Self::Remove => f.write_str("Remove"),
            Self::Removed { .. } => f.write_str("Removed"),
        }
    }
}

impl With {
    /// The mask of those who name none.
    pub const MASK: &'static str = "***";

    /// The longest that a mask may be: it stands in the place of secrets that can be shorter.
    pub const MAX_MASK_BYTES: usize = 32;

    /// What stands for something that is still to be removed. It is no character: Unicode keeps it for such use within a program.
    pub(super) const REMOVED: char = '\u{fdd0}';

    /// The same for lines that come by again.
    pub(super) fn provisional(&self) -> Self {
        match self {
            Self::Remove => Self::Removed { fields: true },
            Self::Mask(mask) if mask.is_empty() => Self::Removed { fields: false },
            other => other.clone(),
        }
    }

    /// Whether nothing stands in a secret's place in the end.
    pub(super) fn is_nothing(&self) -> bool {
        match self {
            Self::Remove => true,
            Self::Mask(mask) => mask.is_empty(),
            Self::Hash { .. } | Self::Removed { .. } => false,
        }
    }

    /// Whether fields that are named go as a whole.
    pub(super) fn removes_fields(&self) -> bool {
        matches!(self, Self::Remove | Self::Removed { fields: true })
    }

    /// Whether what was found begins what stands in a secret's place already.
    pub(super) fn is_covered(&self, text: &str, found: &str) -> bool {
        match self {
            Self::Mask(mask) => !mask.is_empty() && found.len() <= mask.len() && text.starts_with(mask.as_str()),
            Self::Hash { .. } => found.strip_prefix("hash:").is_some_and(|hash| {
                hash.len() == 2 * HASH_BYTES && hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
            }),
            Self::Remove | Self::Removed { .. } => false,
        }
    }

    /// Whether a text can be a mask.
    pub fn is_mask(text: &str) -> bool {
        text.len() <= Self::MAX_MASK_BYTES && text.bytes().all(|b| matches!(b, b' '..=b'~') && b != b'"' && b != b'\\')
    }

    /// Appends what stands in the place of a secret.
    pub(super) fn write(&self, preset: Option<Preset>, secret: &str, out: &mut String) {
        match self {
            Self::Mask(text) => out.push_str(text),
            Self::Remove => {}
            Self::Removed { .. } => out.push(Self::REMOVED),
            Self::Hash { salt } => {
                let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(salt.as_bytes()) else {
                    return out.push_str(Self::MASK);
                };
                match preset {
                    // However it is grouped.
                    Some(Preset::Card) => {
                        secret.bytes().filter(u8::is_ascii_digit).for_each(|digit| mac.update(&[digit]));
                    }
                    Some(Preset::Email) => mac.update(secret.to_lowercase().as_bytes()),
                    _ => mac.update(secret.as_bytes()),
                }
                out.push_str("hash:");
                for byte in mac.finalize().into_bytes().iter().take(HASH_BYTES) {
                    for digit in [byte >> 4, byte & 15] {
                        out.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covered(with: &With, preset: Option<Preset>, secret: &str) -> String {
        let mut out = String::new();
        with.write(preset, secret, &mut out);
        out
    }

    #[test]
    fn a_hash_is_keyed_and_the_same_for_the_same_secret() {
        // RFC 4231, test case 2.
        let with = With::Hash { salt: "Jefe".to_owned() };
        assert_eq!(covered(&with, None, "what do ya want for nothing?"), "hash:5bdcc146bf60754e");
        let cards = ["4111111111111111", "4111-1111-1111-1111"].map(|card| covered(&with, Some(Preset::Card), card));
        assert_eq!(cards[0], cards[1]);
        assert_ne!(covered(&With::Hash { salt: "x".to_owned() }, None, "a"), covered(&with, None, "a"));
        assert_eq!(format!("{with:?}"), "Hash");
    }

    #[test]
    fn masks_fit_anywhere() {
        assert!(With::is_mask("***") && With::is_mask("[REDACTED]") && With::is_mask(""));
        assert!(
            !With::is_mask("\"") && !With::is_mask("a\\") && !With::is_mask("é") && !With::is_mask(&"x".repeat(33))
        );
    }
}
