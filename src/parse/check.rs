//! What the tests of parsers have in common: a line's fields as JSON, and lines that are nearly right.

use proptest::prelude::*;
use serde_json::Value as Json;

use crate::event::Event;

/// Runs a parser and renders what it appended; that it is valid JSON with distinct names is checked.
pub(super) fn parsed<'a>(
    line: &'a str,
    parse: impl FnOnce(&'a str, &mut Event<'a>) -> Result<(), &'static str>,
) -> Result<Json, &'static str> {
    let mut event = Event::default();
    let outcome = parse(line, &mut event);
    let mut out = Vec::new();
    event.write_to(&mut out);
    let json: Json =
        serde_json::from_slice(&out).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&out)));
    assert_eq!(json.as_object().unwrap().len(), event.len(), "a name twice: {json}");
    outcome.map(|()| json)
}

/// Anything at all, and real lines that were cut, spliced and written into.
pub(super) fn strange(lines: &'static [&'static str]) -> impl Strategy<Value = String> {
    let piece =
        || (proptest::sample::select(lines), any::<proptest::sample::Index>(), any::<proptest::sample::Index>());
    let cut = |(line, a, b): (&str, proptest::sample::Index, proptest::sample::Index)| {
        let chars: Vec<char> = line.chars().collect();
        let (a, b) = (a.index(chars.len() + 1), b.index(chars.len() + 1));
        chars[a.min(b)..a.max(b)].iter().collect::<String>()
    };
    let inserted = "[ \"'\\\\\\[\\]{}()<>:,;/#*|=+.\\-0-9a-zA-Z\n\té\u{0}]{0,6}";
    let spliced = (piece(), inserted, piece(), inserted, piece())
        .prop_map(move |(a, x, b, y, c)| [cut(a), x, cut(b), y, cut(c)].concat());
    let changed =
        (proptest::sample::select(lines), any::<proptest::sample::Index>(), any::<char>()).prop_map(|(line, at, c)| {
            let mut chars: Vec<char> = line.chars().collect();
            let at = at.index(chars.len());
            chars[at] = c;
            chars.into_iter().collect::<String>()
        });
    prop_oneof![any::<String>(), spliced, changed]
}
