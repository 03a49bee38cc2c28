//! A time as RFC 3339 has it, always of the same width: in UTC, with nine digits of the second's parts. So texts sort as times do.

use super::civil::{DAY, date, split};

/// The width of a time as text.
pub const WIDTH: usize = 30;
/// The numbers of two digits.
const PAIRS: [[u8; 2]; 100] = {
    const DIGITS: &[u8; 10] = b"0123456789";
    let mut pairs = [[0; 2]; 100];
    let mut at = 0;
    while at < pairs.len() {
        pairs[at] = [DIGITS[at / 10], DIGITS[at % 10]];
        at += 1;
    }
    pairs
};
const ZERO: &[u8; WIDTH] = b"0000-00-00T00:00:00.000000000Z";

/// Appends a time, given in nanoseconds since 1970: `2026-11-28T18:40:00.123456789Z`. What four digits of a year cannot say becomes the nearest that
/// they can.
pub fn write_rfc3339(nanos: i128, out: &mut Vec<u8>) {
    out.extend_from_slice(&rfc3339(nanos));
}

/// A time as text: ASCII.
pub fn rfc3339(nanos: i128) -> [u8; WIDTH] {
    let (second, nanos) = split(nanos);
    let mut text = *ZERO;
    put_second(&mut text, second);
    put_nanos(&mut text, nanos);
    text
}

/// Writes times, and keeps the text of the last second.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    second: i64,
    text: [u8; WIDTH],
}

impl Default for Writer {
    fn default() -> Self {
        Self { second: 0, text: rfc3339(0) }
    }
}

impl Writer {
    pub(super) fn rfc3339(&mut self, nanos: i128) -> &[u8; WIDTH] {
        let (second, nanos) = split(nanos);
        if second != self.second {
            put_second(&mut self.text, second);
            self.second = second;
        }
        put_nanos(&mut self.text, nanos);
        &self.text
    }
}

fn put_second(text: &mut [u8; WIDTH], second: i64) {
    let (year, month, day) = date(second.div_euclid(DAY));
    let of_day = u32::try_from(second.rem_euclid(DAY)).unwrap_or_default();
    let year = u32::try_from(year).unwrap_or_default();
    for (at, two) in [
        (0, year / 100),
        (2, year % 100),
        (5, month),
        (8, day),
        (11, of_day / 3600),
        (14, of_day / 60 % 60),
        (17, of_day % 60),
    ] {
        put(text, at, two);
    }
}

fn put_nanos(text: &mut [u8; WIDTH], nanos: u32) {
    put(text, 20, nanos / 10_000_000);
    put(text, 22, nanos / 100_000 % 100);
    put(text, 24, nanos / 1000 % 100);
    put(text, 26, nanos / 10 % 100);
    text[28] = PAIRS.get((nanos % 10) as usize).map_or(b'0', |[_, digit]| *digit);
}

fn put(text: &mut [u8; WIDTH], at: usize, two: u32) {
    if let (Some(to), Some(digits)) = (text.get_mut(at..at + 2), PAIRS.get(two as usize)) {
        to.copy_from_slice(digits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::times::civil::{FIRST, LAST};

    fn text(nanos: i128) -> String {
        let mut out = Vec::new();
        write_rfc3339(nanos, &mut out);
        let mut writer = Writer::default();
        for other in [nanos, nanos.saturating_add(1_000_000_001), nanos] {
            assert_eq!(*writer.rfc3339(other), rfc3339(other));
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn times_are_written_with_nine_digits() {
        assert_eq!(text(0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(text(-1), "1969-12-31T23:59:59.999999999Z");
        assert_eq!(text(1_795_891_200_123_456_789), "2026-11-28T18:40:00.123456789Z");
        assert_eq!(text(i128::from(LAST) * 1_000_000_000), "9999-12-31T23:59:59.000000000Z");
        assert_eq!(text(i128::from(FIRST) * 1_000_000_000), "0000-01-01T00:00:00.000000000Z");
    }

    #[test]
    fn what_cannot_be_written_becomes_the_nearest() {
        assert_eq!(text(i128::MAX), "9999-12-31T23:59:59.999999999Z");
        assert_eq!(text(i128::MIN), "0000-01-01T00:00:00.000000000Z");
    }
}
