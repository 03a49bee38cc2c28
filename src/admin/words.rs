//! Numbers as people read them: three digits and a unit, ages, shares. The page's and the terminal's; JSON has them exactly.

use std::time::{Duration, SystemTime};

const BINARY: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
const MINUTE: f64 = 60.0;
const HOUR: f64 = 60.0 * MINUTE;
const DAY: f64 = 24.0 * HOUR;

/// Three digits, or all of a whole number below a thousand.
fn three_digits(value: f64) -> String {
    match value {
        value if value >= 99.95 || value.fract() == 0.0 => format!("{value:.0}"),
        value if value >= 9.995 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

/// A size: `12.3 MiB`.
pub fn bytes(bytes: f64) -> String {
    let (mut value, mut unit) = (bytes.max(0.0), 0);
    // What would be shown as 1024 of one unit is 1 of the next.
    while value >= 1023.5 && unit + 1 < BINARY.len() {
        (value, unit) = (value / 1024.0, unit + 1);
    }
    let shown = if unit == 0 { format!("{value:.0}") } else { three_digits(value) };
    format!("{shown} {}", BINARY[unit])
}

/// A count, with a space between each three digits.
pub fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            // A narrow space that does not break.
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// A number a second that need not be whole: `0.4`, `12.3`, `4 200`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "not negative, and the cast stops at the largest"
)]
pub fn number(value: f64) -> String {
    let value = value.max(0.0);
    if value >= 999.5 { count(value.round() as u64) } else { three_digits(value) }
}

/// A part of a whole: `3.2 %`. What is not nothing is not shown as nothing.
pub fn share(part: f64) -> String {
    let percent = part * 100.0;
    match percent {
        percent if percent <= 0.0 => "0 %".to_owned(),
        percent if percent < 0.1 => "< 0.1 %".to_owned(),
        // What is not all is not shown as all.
        percent if (99.5..100.0).contains(&percent) => format!("{:.1} %", percent.min(99.9)),
        percent if percent < 9.95 => format!("{percent:.1} %"),
        percent => format!("{percent:.0} %"),
    }
}

/// A length of time: `45 ms`, `3.2 s`, `5 min`, `2 h 5 min`, `3 d 4 h`.
pub fn seconds(seconds: f64) -> String {
    let whole = |value: f64| value.floor();
    let two = |large: f64, unit: &str, small: f64, sub: &str| {
        if small < 1.0 { format!("{large:.0} {unit}") } else { format!("{large:.0} {unit} {small:.0} {sub}") }
    };
    match seconds {
        s if s <= 0.0 => "0 s".to_owned(),
        s if s < 0.9995 => format!("{:.0} ms", (s * 1000.0).max(1.0)),
        s if s < 9.95 => format!("{s:.1} s"),
        s if s < 119.5 => format!("{s:.0} s"),
        s if s < HOUR => format!("{:.0} min", whole(s / MINUTE)),
        s if s < DAY => two(whole(s / HOUR), "h", whole(s % HOUR / MINUTE), "min"),
        s => two(whole(s / DAY), "d", whole(s % DAY / HOUR), "h"),
    }
}

/// A time of day in UTC: `2026-01-02 03:04:05Z`.
pub fn time(at: SystemTime) -> String {
    let whole = at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(whole);
    humantime::format_rfc3339_seconds(at).to_string().replace('T', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_say_what_they_are() {
        let kib = 1024.0;
        for (value, shown) in [
            (0.0, "0 B"),
            (-1.0, "0 B"),
            (1.4, "1 B"),
            (1023.0, "1023 B"),
            (1023.9, "1.00 KiB"),
            (kib * 1.5, "1.50 KiB"),
            (kib * 12.34, "12.3 KiB"),
            (kib * 1023.6, "1.00 MiB"),
            (kib * kib * 512.0, "512 MiB"),
            (f64::from(u32::MAX), "4.00 GiB"),
        ] {
            assert_eq!(bytes(value), shown, "{value}");
        }
        for (value, shown) in
            [(0, "0"), (999, "999"), (1000, "1 000"), (12_345_678, "12 345 678"), (123_456, "123 456")]
        {
            assert_eq!(count(value).replace('\u{202f}', " "), shown);
        }
        for (value, shown) in
            [(0.0, "0"), (0.456, "0.46"), (3.0, "3"), (12.34, "12.3"), (999.4, "999"), (4200.4, "4 200")]
        {
            assert_eq!(number(value).replace('\u{202f}', " "), shown);
        }
        for (value, shown) in [
            (0.0, "0 %"),
            (0.0001, "< 0.1 %"),
            (0.0123, "1.2 %"),
            (0.5, "50 %"),
            (0.998, "99.8 %"),
            (0.999_99, "99.9 %"),
            (1.0, "100 %"),
        ] {
            assert_eq!(share(value), shown);
        }
    }

    #[test]
    fn times_have_the_unit_that_matters() {
        for (value, shown) in [
            (0.0, "0 s"),
            (0.0001, "1 ms"),
            (0.0454, "45 ms"),
            (3.21, "3.2 s"),
            (75.0, "75 s"),
            (119.6, "1 min"),
            (330.0, "5 min"),
            (7200.0, "2 h"),
            (7500.0, "2 h 5 min"),
            (86_400.0 * 3.0 + 4.0 * 3600.0, "3 d 4 h"),
        ] {
            assert_eq!(seconds(value), shown, "{value}");
        }
        assert_eq!(time(SystemTime::UNIX_EPOCH + Duration::from_millis(86_399_999)), "1970-01-01 23:59:59Z");
    }
}
