//! The quick look: whether an event could have a secret at all. Nearly none has, and one pass over its text shows it.

use super::view::{self, View};
use super::{Preset, Redact, With, address, card};
use crate::event::{Event, Value};

/// Whether a thorough look would find nothing. The text of the event is put together for that, each part apart from the others.
pub(super) fn finds_nothing(redact: &Redact, event: &Event<'_>, scratch: &mut String) -> bool {
    if !redact.patterns.is_empty() || !redact.fields.is_empty() {
        return false;
    }
    scratch.clear();
    for (name, value) in event.fields() {
        scratch.push_str(name);
        scratch.push_str("\" ");
        let is_plain = match value {
            Value::Text(text) => push(text, scratch),
            Value::Raw(json) => push(json, scratch),
            Value::Json(json) => push(json, scratch),
            // The largest that is no card's.
            Value::Number(n) => *n < 1_000_000_000_000,
            Value::Bool(_) => true,
        };
        if !is_plain {
            return false;
        }
        scratch.push_str(" \"");
    }
    let could_be = redact.words.could_be_in(scratch)
        || redact.with.is_nothing() && scratch.contains(With::REMOVED)
        || redact.presets.iter().any(|preset| could_have(*preset, scratch));
    !could_be
}

/// Appends a text, and answers whether it reads as it is written: escapes that only part words are blanks, others need a thorough look.
fn push(text: &str, scratch: &mut String) -> bool {
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        if !matches!(rest.as_bytes().get(at + 1), Some(b'n' | b'r' | b't' | b'"')) {
            return false;
        }
        scratch.push_str(rest.get(..at).unwrap_or_default());
        scratch.push(' ');
        rest = rest.get(at + 2..).unwrap_or_default();
    }
    scratch.push_str(rest);
    push_decoded(text, scratch);
    true
}

/// Appends the text as it reads without the percent signs of URLs in it, however often it was encoded.
fn push_decoded(text: &str, scratch: &mut String) {
    let mut view = view::has_percent(text).then(|| View::of_url(text));
    for _ in 0..super::MAX_VIEWS {
        let Some(decoded) = view else { return };
        scratch.push_str("\" \"");
        scratch.push_str(&decoded.text);
        view = view::has_percent(&decoded.text).then(|| View::of_url(&decoded.text));
    }
}

fn could_have(preset: Preset, text: &str) -> bool {
    let mut finds = false;
    match preset {
        Preset::Email => return memchr::memchr(b'@', text.as_bytes()).is_some() || text.contains("%40"),
        Preset::Card => card::find(text, &mut |_| finds = true),
        Preset::Ip => address::find(text, &mut |_| finds = true),
        // Their words have been looked for.
        Preset::AwsKeys | Preset::Bearer | Preset::PrivateKey | Preset::Tokens | Preset::Passwords => {}
    }
    finds
}
