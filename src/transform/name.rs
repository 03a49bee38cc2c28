//! The name of a field, and where it leads in an event.
//!
//! The rule for dots is that of templates. Of `a.b.c` the field `a.b.c` is meant if there is one, then `c` in `a.b`, then `b.c` in `a`, and so on
//! inwards. What is not there is made in the innermost object that is there, under the rest of the name, or at the top level under all of it.

use std::borrow::Cow;

use super::json;
use crate::event::{Event, Value};
use crate::route::MAX_PARTS;

/// Bytes of a name. Longer ones are nobody's.
const MAX_NAME_BYTES: usize = 256;

/// Why a text is no name of a field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// There is nothing.
    #[error("the name is empty; write the name of a field")]
    Empty,
    /// A dot at an end, or two in a row.
    #[error("{0:?} has a dot with nothing on one side of it; write names of nested fields like a.b")]
    Dots(String),
    /// It leads too deep.
    #[error("{0:?} leads more than {MAX_PARTS} levels deep; name a field that lies higher")]
    TooDeep(String),
    /// It is too long.
    #[error("the name has {0} bytes; allowed: up to {MAX_NAME_BYTES}")]
    TooLong(usize),
}

/// The name of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    text: String,
    is_dotted: bool,
}

impl Name {
    /// Checks a name.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > MAX_NAME_BYTES {
            return Err(NameError::TooLong(text.len()));
        }
        if text.split('.').any(str::is_empty) {
            return Err(NameError::Dots(text.to_owned()));
        }
        if text.split('.').count() > MAX_PARTS {
            return Err(NameError::TooDeep(text.to_owned()));
        }
        Ok(Self { text: text.to_owned(), is_dotted: text.contains('.') })
    }

    /// The name as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What an event has under the name.
    pub(super) fn see<'e>(&self, event: &'e Event<'_>) -> Option<Seen<'e>> {
        if let Some(value) = event.get(&self.text) {
            return Some(Seen::of(value));
        }
        self.splits().find_map(|(top, rest)| {
            let json = event.get(top)?.json()?;
            let spot = json::locate(json, rest)?;
            json.get(spot.value).map(Seen::of_json)
        })
    }

    /// The same as a value of its own, which is borrowed from where the event's is.
    pub(super) fn value<'a>(&self, event: &Event<'a>) -> Option<Value<'a>> {
        if let Some(value) = event.get(&self.text) {
            return Some(value.clone());
        }
        self.splits().find_map(|(top, rest)| part(event.get(top)?, rest))
    }

    /// Takes a field out of an event, and answers its value.
    pub(super) fn take<'a>(&self, event: &mut Event<'a>) -> Option<Value<'a>> {
        if let Some(value) = event.remove(&self.text) {
            return Some(value);
        }
        for (top, rest) in self.splits() {
            let Some(whole) = event.get(top) else { continue };
            let Some(taken) = part(whole, rest) else { continue };
            let json = whole.json()?;
            let spot = json::locate(json, rest)?;
            let name = rest.get(rest.len() - spot.name_len..)?;
            let left = json::without(json, &spot.object, name);
            replace(event, top, Value::Json(left));
            return Some(taken);
        }
        None
    }

    /// Gives a field a value: where it is, or where the rule says that it is made.
    pub(super) fn put<'a>(&'a self, event: &mut Event<'a>, value: Value<'a>) {
        if !self.is_dotted || event.get(&self.text).is_some() {
            return event.set(&self.text, value);
        }
        let target = self.splits().find_map(|(top, rest)| {
            let json = event.get(top)?.json().filter(|json| json::is_object(json))?;
            Some((top, with(json, rest, &text_of(&value))))
        });
        match target {
            Some((top, json)) => replace(event, top, Value::Json(json)),
            None => event.set(&self.text, value),
        }
    }

    /// The parts before and after each dot, the longest beginning first.
    fn splits(&self) -> impl Iterator<Item = (&str, &str)> {
        splits(&self.text)
    }
}

fn splits(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.rmatch_indices('.').filter_map(|(at, _)| Some((text.get(..at)?, text.get(at + 1..)?)))
}

/// A part of a value, borrowed from the line if the value is.
fn part<'a>(whole: &Value<'a>, rest: &str) -> Option<Value<'a>> {
    match whole {
        Value::Raw(json) => json.get(json::locate(json, rest)?.value).map(Value::Raw),
        Value::Json(json) => json.get(json::locate(json, rest)?.value).map(|part| Value::Json(part.to_owned())),
        Value::Text(_) | Value::Number(_) | Value::Bool(_) => None,
    }
}

/// An object with a value under a name.
fn with(object: &str, path: &str, value: &str) -> String {
    if let Some(spot) = json::locate(object, path) {
        return json::replaced(object, &spot.value, value);
    }
    let inner = splits(path).find_map(|(outer, rest)| {
        let place = json::locate(object, outer)?.value;
        json::is_object(object.get(place.clone())?).then_some((place, rest))
    });
    match inner {
        Some((place, rest)) => json::extended(object, &place, rest, value),
        None => json::extended(object, &(0..object.len()), path, value),
    }
}

/// Changes the value of a field that is there. Of several of a name it is the last.
pub(super) fn replace<'a>(event: &mut Event<'a>, name: &str, value: Value<'a>) {
    if let Some((_, old)) = event.fields_mut().iter_mut().rev().find(|(n, _)| n == name) {
        *old = value;
    }
}

/// A value as JSON.
pub(super) fn text_of(value: &Value<'_>) -> String {
    if let Some(json) = value.json() {
        return json.to_owned();
    }
    let mut out = Vec::new();
    value.write_to(&mut out);
    String::from_utf8(out).unwrap_or_default()
}

/// What a field holds, as conditions and templates see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seen<'e> {
    /// JSON's null.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number that was counted here.
    Whole(u64),
    /// A number as it is written.
    Digits(&'e str),
    /// Text, without quotes and escapes.
    Text(Cow<'e, str>),
    /// An object as it is written.
    Object,
    /// An array as it is written.
    Array(&'e str),
}

impl<'e> Seen<'e> {
    pub(super) fn of(value: &'e Value<'_>) -> Self {
        match value {
            Value::Raw(json) => Self::of_json(json),
            Value::Json(json) => Self::of_json(json),
            Value::Text(text) => Self::Text(Cow::Borrowed(text)),
            Value::Number(n) => Self::Whole(*n),
            Value::Bool(b) => Self::Bool(*b),
        }
    }

    pub(super) fn of_json(json: &'e str) -> Self {
        let json = json.trim_ascii();
        match json.as_bytes().first() {
            Some(b'"') => {
                let inner = json.strip_prefix('"').and_then(|json| json.strip_suffix('"')).unwrap_or_default();
                Self::Text(json::unescaped(inner))
            }
            Some(b'{') => Self::Object,
            Some(b'[') => Self::Array(json),
            Some(b't') => Self::Bool(true),
            Some(b'f') => Self::Bool(false),
            Some(b'-' | b'0'..=b'9') => Self::Digits(json),
            _ => Self::Null,
        }
    }

    /// The text of what has one: null, objects and arrays have none.
    pub(super) fn text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Bool(b) => Some(Cow::Borrowed(if *b { "true" } else { "false" })),
            Self::Whole(n) => Some(Cow::Owned(n.to_string())),
            Self::Digits(digits) => Some(Cow::Borrowed(digits)),
            Self::Text(text) => Some(Cow::Borrowed(text)),
            Self::Null | Self::Object | Self::Array(_) => None,
        }
    }

    /// The number of what is one, or is the text of one.
    pub(super) fn number(&self) -> Option<f64> {
        match self {
            // Beyond 2^53 it is the nearest that a float has.
            #[expect(clippy::cast_precision_loss, reason = "the nearest number is meant")]
            Self::Whole(n) => Some(*n as f64),
            Self::Digits(digits) => digits.parse().ok(),
            Self::Text(text) if crate::event::is_json_number(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// Whether it is a number and not only the text of one.
    pub(super) fn is_number(&self) -> bool {
        matches!(self, Self::Whole(_) | Self::Digits(_))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::transform) fn event(json: &str) -> Event<'_> {
        Event::from_json(json).unwrap()
    }

    pub(in crate::transform) fn rendered(event: &Event<'_>) -> String {
        let mut out = Vec::new();
        event.write_to(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    #[test]
    fn dots_lead_inwards_and_the_longest_name_comes_first() {
        let line = r#"{"a.b":{"c":1},"a":{"b":{"c":2,"d":3}},"x":"é"}"#;
        let event = event(line);
        assert_eq!(name("a.b.c").see(&event), Some(Seen::Digits("1")));
        assert_eq!(name("a.b.d").see(&event), Some(Seen::Digits("3")));
        assert_eq!(name("a.b").see(&event), Some(Seen::Object));
        assert_eq!(name("x").see(&event), Some(Seen::Text("é".into())));
        assert_eq!(name("x.y").see(&event), None);
        assert!(matches!(name("a.b.d").value(&event), Some(Value::Raw("3"))));
    }

    #[test]
    fn a_nested_field_can_be_taken_out() {
        let mut event = event(r#"{"a":{"b":{"c":2,"d":3,"c":4}},"x":1}"#);
        assert!(matches!(name("a.b.c").take(&mut event), Some(Value::Raw("4"))));
        assert_eq!(rendered(&event), r#"{"a":{"b":{"d":3}},"x":1}"#);
        assert!(name("a.b.c").take(&mut event).is_none());
        assert!(matches!(name("a.b.d").take(&mut event), Some(Value::Json(d)) if d == "3"));
        assert!(matches!(name("x").take(&mut event), Some(Value::Raw("1"))));
        assert_eq!(rendered(&event), r#"{"a":{"b":{}}}"#);
    }

    #[test]
    fn what_is_not_there_is_made_where_its_name_leads() {
        for (before, text, after) in [
            (r#"{"a":1}"#, "a", r#"{"a":7}"#),
            (r#"{"a":1}"#, "b.c", r#"{"a":1,"b.c":7}"#),
            (r#"{"b":{}}"#, "b.c", r#"{"b":{"c":7}}"#),
            (r#"{"b":{"x":{"y":1}}}"#, "b.x.z", r#"{"b":{"x":{"y":1,"z":7}}}"#),
            (r#"{"b":{"x":{"y":1}}}"#, "b.x.y", r#"{"b":{"x":{"y":7}}}"#),
            (r#"{"b":{"x":1}}"#, "b.x.y", r#"{"b":{"x":1,"x.y":7}}"#),
            (r#"{"b":"text"}"#, "b.c", r#"{"b":"text","b.c":7}"#),
            (r#"{"b.c":1,"b":{"c":2}}"#, "b.c", r#"{"b.c":7,"b":{"c":2}}"#),
        ] {
            let name = name(text);
            let mut event = event(before);
            name.put(&mut event, Value::Number(7));
            assert_eq!(rendered(&event), after, "{before} {text}");
        }
    }

    #[test]
    fn what_is_no_name_says_what_to_write() {
        assert_eq!(Name::parse(""), Err(NameError::Empty));
        assert_eq!(Name::parse("a..b"), Err(NameError::Dots("a..b".to_owned())));
        assert_eq!(Name::parse("a.b.c.d.e.f.g.h.i"), Err(NameError::TooDeep("a.b.c.d.e.f.g.h.i".to_owned())));
        assert_eq!(Name::parse(&"x".repeat(300)), Err(NameError::TooLong(300)));
    }
}
