//! The types of values in formats that have only text.

use crate::event::{Value, is_json_number};

/// The longest number without an exponent that every reader of JSON takes: more digits are beyond what a double can hold.
const MAX_DIGITS: usize = 300;

/// What becomes of a value that looks like a number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Types {
    /// It stays text. What Vector and Fluent Bit do unless they are told otherwise, and the only way a field's type cannot change from line to
    /// line (a trace ID may consist of digits), which tables and indexes of logs do not forgive.
    #[default]
    Text,
    /// Numbers as JSON writes them, `true`, `false` and `null` are what they look like; a number keeps its digits. Text that stood in quotes is
    /// text.
    Auto,
}

impl Types {
    /// The value of a text that did not stand in quotes.
    pub fn value(self, text: &str) -> Value<'_> {
        if self == Self::Text {
            return Value::text(text);
        }
        match text {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            "null" => Value::NULL,
            _ if is_number(text) => Value::Raw(text),
            _ => Value::text(text),
        }
    }
}

/// Whether a text is surely meant as a number: as JSON writes it, small enough for a double, and not an ID of hexadecimal digits such as `12e45`.
fn is_number(text: &str) -> bool {
    if !text.starts_with(|c: char| c == '-' || c.is_ascii_digit()) || !is_json_number(text) {
        return false;
    }
    match text.split_once(['e', 'E']) {
        None => text.len() <= MAX_DIGITS,
        Some((digits, exponent)) => {
            (digits.contains('.') || exponent.starts_with(['+', '-'])) && text.parse().is_ok_and(f64::is_finite)
        }
    }
}

/// Digits as a number, anything else as text: for IDs of processes, which formats allow to be either.
pub fn id(text: &str) -> Value<'_> {
    if is_count(text) { Value::Raw(text) } else { Value::text(text) }
}

/// Whether a text is a number without a sign that 64 bits hold.
pub fn is_count(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit()) && is_json_number(text) && text.parse::<u64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auto(text: &str) -> String {
        let mut out = Vec::new();
        Types::Auto.value(text).write_to(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_keep_their_digits() {
        for same in ["0", "-1", "1.50", "12345678901234567890123", "1e-07", "1E+06", "2.5e3", "true", "false", "null"] {
            assert_eq!(auto(same), same);
        }
    }

    #[test]
    fn what_only_looks_like_a_number_is_text() {
        let long = "9".repeat(400);
        for text in
            ["", "-", "007", "+1", "1.", ".5", "0x1f", "12e4567", "12e45", "1.0e999", "1e-", "NaN", "True", "1 ", &long]
        {
            assert_eq!(auto(text), format!("\"{text}\""));
        }
    }

    #[test]
    fn an_id_is_a_number_if_it_can_be() {
        assert!(is_count("0") && is_count("18446744073709551615"));
        for text in ["", "007", "-1", "1.5", "1e3", "18446744073709551616"] {
            assert!(!is_count(text), "{text}");
        }
    }
}
