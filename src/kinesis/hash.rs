//! Hash keys: where a partition key lies in the 128-bit space that the shards of a stream divide among themselves.
//!
//! Pure arithmetic on keys and texts. Which shard owns a hash key is the business of whoever holds the shards.

use md5::{Digest, Md5};

/// The longest decimal text of a hash key: 2^128 - 1 has 39 digits.
pub const MAX_HASH_KEY_DIGITS: usize = 39;

/// Why a text isn't a hash key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HashKeyError {
    /// It isn't the decimal text of an integer as the service writes it.
    #[error("hash key {0:?} isn't a decimal integer without sign and leading zeros; write it like 0 or 1701411834")]
    NotDecimal(String),
    /// It is an integer, but past the end of the space.
    #[error("hash key {0} is over 2^128 - 1; choose one from 0 to 340282366920938463463374607431768211455")]
    TooLarge(String),
}

/// The hash key of a partition key: the MD5 of its UTF-8 bytes, read as a big-endian integer.
pub fn hash_key(partition_key: &str) -> u128 {
    let digest: [u8; 16] = Md5::digest(partition_key.as_bytes()).into();
    u128::from_be_bytes(digest)
}

/// Reads an explicit hash key, `0|([1-9]\d{0,38})` and at most 2^128 - 1.
pub fn parse_hash_key(text: &str) -> Result<u128, HashKeyError> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let padded = text.len() > 1 && text.starts_with('0');
    if !digits || padded || text.len() > MAX_HASH_KEY_DIGITS {
        return Err(HashKeyError::NotDecimal(text.to_owned()));
    }
    text.parse().map_err(|_| HashKeyError::TooLarge(text.to_owned()))
}

/// A hash key as the service writes it: decimal, without leading zeros.
pub fn hash_key_text(hash_key: u128) -> String {
    hash_key.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The digests are those of RFC 1321's own test suite, in decimal.
    #[test]
    fn a_partition_key_hashes_to_its_md5() {
        assert_eq!(hash_key(""), 0xd41d_8cd9_8f00_b204_e980_0998_ecf8_427e);
        assert_eq!(hash_key("a"), 0x0cc1_75b9_c0f1_b6a8_31c3_99e2_6977_2661);
        assert_eq!(hash_key("message digest"), 0xf96b_697d_7cb7_938d_525a_2f31_aaf1_61d0);
    }

    #[test]
    fn a_key_outside_ascii_is_hashed_as_utf8() {
        let digest: [u8; 16] = Md5::digest([0xc3, 0xbc]).into();
        assert_eq!(hash_key("ü"), u128::from_be_bytes(digest));
    }

    #[test]
    fn the_ends_of_the_space_are_read_and_written() {
        for value in [0, 1, 10, 1 << 127, u128::MAX] {
            assert_eq!(parse_hash_key(&hash_key_text(value)), Ok(value));
        }
    }

    #[test]
    fn texts_that_the_service_refuses_are_refused() {
        for text in ["", "-1", "+1", "01", "00", " 1", "1.0", "0x10", "1e3", "١"] {
            assert_eq!(parse_hash_key(text), Err(HashKeyError::NotDecimal(text.to_owned())), "{text:?}");
        }
        let beyond = "340282366920938463463374607431768211456";
        assert_eq!(parse_hash_key(beyond), Err(HashKeyError::TooLarge(beyond.to_owned())));
        let long = "1".repeat(MAX_HASH_KEY_DIGITS + 1);
        assert_eq!(parse_hash_key(&long), Err(HashKeyError::NotDecimal(long)));
    }
}
