//! Times that are numbers: seconds, milliseconds, microseconds or nanoseconds since 1970, with or without a fraction. The digits are read as they stand,
//! since a floating-point number would lose some of them.

/// So many digits are kept; more say nothing that a nanosecond could show.
const MAX_DIGITS: u32 = 36;
/// So many digits are in a number of 64 bits: arithmetic of 128 is many times as slow, and for nearly all times it is not needed.
const IN_64: u32 = 19;
/// The powers of ten.
const TENS: [u128; 39] = {
    let mut tens = [1; 39];
    let mut at = 1;
    while at < tens.len() {
        tens[at] = tens[at - 1] * 10;
        at += 1;
    }
    tens
};

/// What a number counts, as the power of ten of its nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unit(pub(super) i32);

impl Unit {
    pub(super) const SECONDS: Self = Self(9);
    pub(super) const MILLIS: Self = Self(6);
    pub(super) const MICROS: Self = Self(3);
    pub(super) const NANOS: Self = Self(0);
}

/// The nanoseconds of a number that counts in a unit.
pub(super) fn nanos(text: &[u8], unit: Unit) -> Option<i128> {
    Number::parse(text.trim_ascii())?.nanos(unit)
}

/// The nanoseconds of a number whose unit is told by its size. From 1973 to 5138 there is one for each number; smaller ones are no times.
pub(super) fn by_size(text: &[u8]) -> Option<i128> {
    let number = Number::parse(text.trim_ascii())?;
    let unit = match number.shifted(0)? {
        100_000_000..=99_999_999_999 => Unit::SECONDS,
        100_000_000_000..=99_999_999_999_999 => Unit::MILLIS,
        100_000_000_000_000..=99_999_999_999_999_999 => Unit::MICROS,
        100_000_000_000_000_000..=99_999_999_999_999_999_999 => Unit::NANOS,
        _ => return None,
    };
    number.nanos(unit).filter(|nanos| *nanos > 0)
}

/// Digits and where their point is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Number {
    negative: bool,
    digits: u128,
    /// The power of ten that the last digit counts.
    power: i32,
}

impl Number {
    fn parse(text: &[u8]) -> Option<Self> {
        let (negative, text) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] | rest => (false, rest),
        };
        let (mut high, mut low, mut kept, mut power) = (0_u64, 0_u64, 0, 0);
        let (mut seen, mut point) = (false, false);
        let mut rest = text;
        while let [byte, after @ ..] = rest {
            match byte {
                b'0'..=b'9' if kept < MAX_DIGITS => {
                    let part = if kept < IN_64 { &mut high } else { &mut low };
                    *part = *part * 10 + u64::from(byte - b'0');
                    kept += u32::from(high > 0);
                    power -= i32::from(point);
                    seen = true;
                }
                b'0'..=b'9' => power += i32::from(!point),
                b'.' | b',' if !point && seen => point = true,
                b'e' | b'E' if seen => {
                    power = exponent(after)?.checked_add(power)?;
                    break;
                }
                _ => return None,
            }
            rest = after;
        }
        let shift = kept.saturating_sub(IN_64) as usize;
        let digits = if shift == 0 { u128::from(high) } else { u128::from(high) * TENS[shift] + u128::from(low) };
        seen.then_some(Self { negative, digits, power })
    }

    /// The number times a power of ten, without what is behind the point then.
    fn shifted(self, power: i32) -> Option<u128> {
        let power = self.power.checked_add(power)?;
        let ten = |power: i32| TENS.get(power.unsigned_abs() as usize).copied();
        if self.digits == 0 {
            return Some(0);
        }
        if power >= 0 {
            return self.digits.checked_mul(ten(power)?);
        }
        let Some(divisor) = ten(power) else { return Some(0) };
        // Division of 128 bits is many times as slow.
        Some(match (u64::try_from(self.digits), u64::try_from(divisor)) {
            (Ok(digits), Ok(divisor)) => u128::from(digits / divisor),
            _ => self.digits / divisor,
        })
    }

    fn nanos(self, unit: Unit) -> Option<i128> {
        let nanos = i128::try_from(self.shifted(unit.0)?).ok()?;
        Some(if self.negative { -nanos } else { nanos })
    }
}

fn exponent(text: &[u8]) -> Option<i32> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] | rest => (false, rest),
    };
    if !(1..=3).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0, |value, digit| value * 10 + i32::from(digit - b'0'));
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_tells_the_unit() {
        let second = 1_000_000_000;
        for (text, want) in [
            ("1700000000", 1_700_000_000 * second),
            ("1700000000.123456789", 1_700_000_000_123_456_789),
            ("1700000000123", 1_700_000_000_123_000_000),
            ("1700000000123.4567", 1_700_000_000_123_456_700),
            ("1700000000123456", 1_700_000_000_123_456_000),
            ("1700000000123456789", 1_700_000_000_123_456_789),
            ("1.7e9", 1_700_000_000 * second),
            ("1.700000000123e+12", 1_700_000_000_123_000_000),
            ("17000000001234567890000e-4", 1_700_000_000_123_456_789),
        ] {
            assert_eq!(by_size(text.as_bytes()), Some(want), "{text}");
        }
        for text in [
            "",
            "0",
            "-1",
            "404",
            "99999999",
            "-1700000000",
            "1e",
            "1e+",
            ".5",
            "1.2.3",
            "0x10",
            "1e999",
            "9e99",
            "NaN",
        ] {
            assert_eq!(by_size(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_unit_that_is_given_holds_for_every_number() {
        for (text, unit, want) in [
            ("100.1", Unit::SECONDS, 100_100_000_000),
            ("0", Unit::MILLIS, 0),
            ("-1.5", Unit::SECONDS, -1_500_000_000),
            ("1", Unit::NANOS, 1),
            ("1.999", Unit::NANOS, 1),
            ("0.0000000000000000000000000000000000000000001", Unit::SECONDS, 0),
            ("1e-60", Unit::SECONDS, 0),
            ("1,5", Unit::MICROS, 1500),
        ] {
            assert_eq!(nanos(text.as_bytes(), unit), Some(want), "{text}");
        }
        assert_eq!(nanos(&[b'9'; 60], Unit::SECONDS), None);
    }
}
