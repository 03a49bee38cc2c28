//! Sequence numbers: 56 decimal digits, as long as the service's and ordered in the same ways.
//!
//! The service doesn't document what the digits mean and neither may a client ask. Here they are fields of fixed width,
//! so that the order of the texts is the order of the numbers:
//!
//! ```text
//! 49  epoch of the shard, ms (13)  place in the shard (18)  arrival, ms (13)  number of the shard (10)
//! ```
//!
//! Within a shard the place grows; a child's epoch is later than its parents'. Hence the numbers grow strictly along a
//! shard and from any parent to its children.

use std::fmt;

/// What every number begins with, as the service's do.
const PREFIX: &str = "49";
/// The width of a number, in digits.
const DIGITS: usize = 56;
/// The highest place: no record gets it, it closes a shard.
pub(crate) const LAST_PLACE: u64 = 999_999_999_999_999_999;

/// The number of one record, or of one end of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SequenceNumber {
    /// When the shard was opened; unique along a line of descent.
    pub(crate) epoch_ms: u64,
    /// The place in the shard: 0 for its beginning, 1 for its first record.
    pub(crate) place: u64,
    /// When the record arrived.
    pub(crate) arrival_ms: u64,
    /// The number in the shard's id.
    pub(crate) shard: u64,
}

impl SequenceNumber {
    /// Reads a number that [`fmt::Display`] has written.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.len() != DIGITS || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let fields = text.strip_prefix(PREFIX)?;
        let field = |from: usize, to: usize| fields.get(from..to)?.parse().ok();
        Some(Self { epoch_ms: field(0, 13)?, place: field(13, 31)?, arrival_ms: field(31, 44)?, shard: field(44, 54)? })
    }
}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { epoch_ms, place, arrival_ms, shard } = self;
        write!(out, "{PREFIX}{epoch_ms:013}{place:018}{arrival_ms:013}{shard:010}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = 1_763_800_000_123;

    #[test]
    fn a_number_has_56_digits_and_reads_back() {
        for place in [0, 1, 999, LAST_PLACE] {
            let number = SequenceNumber { epoch_ms: NOW_MS, place, arrival_ms: NOW_MS + place % 7, shard: 4711 };
            let text = number.to_string();
            assert_eq!(text.len(), DIGITS);
            assert_eq!(SequenceNumber::parse(&text), Some(number));
        }
    }

    #[test]
    fn the_order_of_texts_is_the_order_of_places_then_of_generations() {
        let at = |epoch_ms, place, shard| SequenceNumber { epoch_ms, place, arrival_ms: NOW_MS, shard }.to_string();
        assert!(at(NOW_MS, 9, 0) < at(NOW_MS, 10, 0));
        assert!(at(NOW_MS, LAST_PLACE, 9) < at(NOW_MS + 1, 0, 1));
    }

    #[test]
    fn other_texts_are_not_numbers() {
        for text in ["", "0", "49", "latest", &"9".repeat(DIGITS), &"4".repeat(DIGITS + 1)] {
            assert_eq!(SequenceNumber::parse(text), None, "{text}");
        }
        let mut text = SequenceNumber { epoch_ms: NOW_MS, place: 1, arrival_ms: NOW_MS, shard: 0 }.to_string();
        text.replace_range(20..21, "x");
        assert_eq!(SequenceNumber::parse(&text), None);
    }
}
