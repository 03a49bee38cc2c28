//! Joins lines that were longer than a record and came in parts, as a consumer does that knows the marks of Docker's log drivers.
//! Pure. Which lines are too long for a record is known to whoever writes them.

use std::collections::BTreeMap;

use serde::Deserialize;

/// A part of a line.
#[derive(Deserialize)]
struct Part {
    message: String,
    partial_id: String,
    partial_ordinal: String,
    partial_last: String,
}

/// What an event turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Joined {
    /// No part of anything.
    Alien,
    /// A part of a line of which others are missing yet.
    Waiting,
    /// The last part that was missing.
    Line(Vec<u8>),
}

/// Lines that are not complete yet.
#[derive(Debug, Default)]
pub struct Parts(BTreeMap<String, Line>);

#[derive(Debug, Default)]
struct Line {
    parts: BTreeMap<usize, String>,
    last: Option<usize>,
}

impl Parts {
    /// Takes an event. Parts may come in any order.
    pub fn offer(&mut self, event: &[u8]) -> Joined {
        let Ok(part) = serde_json::from_slice::<Part>(event) else { return Joined::Alien };
        let Ok(ordinal) = part.partial_ordinal.parse() else { return Joined::Alien };
        let line = self.0.entry(part.partial_id.clone()).or_default();
        line.parts.insert(ordinal, part.message);
        if part.partial_last == "true" {
            line.last = Some(ordinal);
        }
        if line.last != Some(line.parts.len()) {
            return Joined::Waiting;
        }
        let line = self.0.remove(&part.partial_id).unwrap_or_default();
        Joined::Line(line.parts.into_values().collect::<String>().into_bytes())
    }
}

/// What the parts of this line make together: text, without the carriage return of its end.
pub fn joined(line: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(id: &str, ordinal: u32, message: &str, last: bool) -> Vec<u8> {
        let (ordinal, last) = (ordinal.to_string(), last.to_string());
        serde_json::json!({ "message": message, "partial_message": "true", "partial_id": id, "partial_ordinal": ordinal, "partial_last": last })
            .to_string()
            .into_bytes()
    }

    #[test]
    fn parts_make_a_line_in_whatever_order_they_come() {
        let mut parts = Parts::default();
        assert_eq!(parts.offer(&part("a", 3, "c", true)), Joined::Waiting);
        assert_eq!(parts.offer(&part("b", 1, "x", false)), Joined::Waiting);
        assert_eq!(parts.offer(&part("a", 1, "a", false)), Joined::Waiting);
        assert_eq!(parts.offer(&part("a", 2, "b", false)), Joined::Line(b"abc".to_vec()));
        assert_eq!(parts.offer(b"{\"message\":\"abc\"}"), Joined::Alien);
    }
}
