//! What an event says of where it came from: its `_id`, `TAG-START-END` or `TAG-S1-E1+S2-E2`. TAG names the file, END is the byte after the event's last
//! one, and START where the event before it ended. Pure.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// An `_id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Id<'a> {
    /// The file.
    pub tag: &'a str,
    /// The ranges of the file that the event accounts for, in their order; at least one, and none empty.
    pub ranges: Vec<(u64, u64)>,
}

impl<'a> Id<'a> {
    /// Reads an id.
    pub fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split('+');
        let (head, end) = parts.next()?.rsplit_once('-')?;
        let (tag, start) = head.rsplit_once('-')?;
        let first = range(start, end)?;
        let further = parts.map(|part| part.split_once('-').and_then(|(start, end)| range(start, end)));
        let ranges: Vec<_> = std::iter::once(Some(first)).chain(further).collect::<Option<_>>()?;
        let ordered = ranges.windows(2).all(|pair| matches!(pair, [(_, end), (start, _)] if end <= start));
        (!tag.is_empty() && ordered).then_some(Self { tag, ranges })
    }

    /// The byte after the event's last one.
    pub fn end(&self) -> u64 {
        self.ranges.last().map_or(0, |(_, end)| *end)
    }
}

fn range(start: &str, end: &str) -> Option<(u64, u64)> {
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    let (start, end) = (number(start)?, number(end)?);
    (start < end).then_some((start, end))
}

/// What of an event is of use here.
#[derive(Debug, Default, Deserialize)]
struct Fields<'a> {
    #[serde(borrow, rename = "_id")]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    path: Option<&'a RawValue>,
}

/// What an event says of where it came from.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Said<'a> {
    /// Its `_id`, as it stands.
    pub id: Option<Cow<'a, str>>,
    /// Its `path`.
    pub path: Option<Cow<'a, str>>,
}

impl<'a> Said<'a> {
    /// Looks into an event; one that is no JSON object says nothing.
    pub fn of(event: &'a [u8]) -> Self {
        let fields: Fields<'a> = serde_json::from_slice(event).unwrap_or_default();
        Self { id: fields.id.and_then(text), path: fields.path.and_then(text) }
    }
}

fn text(json: &RawValue) -> Option<Cow<'_, str>> {
    let inner = json.get().strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str(json.get()).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_a_tag_and_ranges() {
        let id = |tag, ranges: &[(u64, u64)]| Some(Id { tag, ranges: ranges.to_vec() });
        assert_eq!(Id::parse("a1b2-0-17"), id("a1b2", &[(0, 17)]));
        assert_eq!(Id::parse("a-b-5-18446744073709551615"), id("a-b", &[(5, u64::MAX)]));
        assert_eq!(Id::parse("t-1-2+4-9+9-10"), id("t", &[(1, 2), (4, 9), (9, 10)]));
        for text in [
            "",
            "t",
            "t-1",
            "-1-2",
            "t-2-2",
            "t-3-2",
            "t-1-x",
            "t-+1-2",
            "t-1-2+",
            "t-1-2+3",
            "t-1-9+4-12",
            "t-1-18446744073709551616",
        ] {
            assert_eq!(Id::parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_event_says_where_it_came_from() {
        let said = Said::of(br#"{"message":"x","_id":"t-0-1","path":"/a\u0062"}"#);
        assert_eq!((said.id.as_deref(), said.path.as_deref()), (Some("t-0-1"), Some("/ab")));
        for event in [&b"plain"[..], b"[1]", b"{\"_id\":7}", b"{\"_id\":null}", b"\xff", b""] {
            assert_eq!(Said::of(event), Said::default());
        }
    }
}
