//! `truncate`: the beginnings of values that are too long. Beside each stands how long it was: `message_truncated`.

use std::borrow::Cow;

use super::name::{Name, Seen};
use crate::event::{Event, Value};

/// What a value that was cut ends with. It counts as a part of what is left.
const ELLIPSIS: &str = "…";

/// What a field is called that says how long another one was.
const SUFFIX: &str = "_truncated";

/// The longest that values may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Truncate {
    bytes: usize,
    /// These, with the names of the fields that say how long they were; all at the top if there are none.
    fields: Vec<(Name, Option<Name>)>,
}

impl Truncate {
    /// So many bytes of UTF-8, of these fields or of all at the top.
    pub fn new(fields: Vec<Name>, bytes: usize) -> Self {
        let mark = |name: &Name| Name::parse(&format!("{}{SUFFIX}", name.text())).ok();
        let fields = fields.into_iter().map(|name| (mark(&name), name)).map(|(mark, name)| (name, mark)).collect();
        Self { bytes, fields }
    }

    /// Cuts what is too long, and answers whether anything was. What is no text is cut as the JSON that it is, and is text then.
    pub(super) fn apply<'a>(&'a self, event: &mut Event<'a>) -> bool {
        let mut is_changed = false;
        for (name, mark) in &self.fields {
            let Some((text, len)) = name.value(event).as_ref().and_then(|value| self.cut(value)) else { continue };
            is_changed = true;
            name.put(event, Value::Text(Cow::Owned(text)));
            if let Some(mark) = mark {
                mark.put(event, Value::Number(len));
            }
        }
        if self.fields.is_empty() {
            for at in 0..event.len() {
                let (name, value) = &mut event.fields_mut()[at];
                let Some((text, len)) = self.cut(value) else { continue };
                is_changed = true;
                *value = Value::Text(Cow::Owned(text));
                let mark = format!("{name}{SUFFIX}");
                event.remove(&mark);
                event.push(mark, Value::Number(len));
            }
        }
        is_changed
    }

    /// What is left of a value that is too long, and how long it was.
    fn cut(&self, value: &Value<'_>) -> Option<(String, u64)> {
        let written = value.json().map_or_else(|| value.string().map_or(0, |text| text.len()), str::len);
        // Escapes and quotes only make it longer.
        if written <= self.bytes {
            return None;
        }
        let seen = Seen::of(value);
        let text = match &seen {
            Seen::Text(text) => text,
            _ => value.json()?,
        };
        if text.len() <= self.bytes {
            return None;
        }
        let room = self.bytes.saturating_sub(ELLIPSIS.len());
        let end = (0..=room).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
        let mut left = text.get(..end).unwrap_or_default().to_owned();
        if self.bytes >= ELLIPSIS.len() {
            left.push_str(ELLIPSIS);
        }
        Some((left, u64::try_from(text.len()).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::name::tests::{event, rendered};
    use super::*;
    use proptest::prelude::*;

    fn cut(json: &str, fields: &[&str], bytes: usize) -> String {
        let truncate = Truncate::new(fields.iter().map(|name| Name::parse(name).unwrap()).collect(), bytes);
        let mut event = event(json);
        truncate.apply(&mut event);
        rendered(&event)
    }

    #[test]
    fn what_is_cut_says_how_long_it_was() {
        assert_eq!(cut(r#"{"m":"abcdefghij","x":1}"#, &["m"], 8), r#"{"m":"abcde…","x":1,"m_truncated":10}"#);
        assert_eq!(cut(r#"{"m":"abcdefgh","x":1}"#, &["m"], 8), r#"{"m":"abcdefgh","x":1}"#);
        assert_eq!(cut(r#"{"m":"\u0061\u0061\u0061"}"#, &["m"], 8), r#"{"m":"\u0061\u0061\u0061"}"#);
        assert_eq!(cut(r#"{"m":"éééééé"}"#, &["m"], 8), r#"{"m":"éé…","m_truncated":12}"#);
        assert_eq!(cut(r#"{"a":{"m":"abcdefghij"}}"#, &["a.m"], 8), r#"{"a":{"m":"abcde…","m_truncated":10}}"#);
        assert_eq!(cut(r#"{"a":{"m":"abc"},"s":"short"}"#, &[], 8), r#"{"a":"{\"m\":…","s":"short","a_truncated":11}"#);
        assert_eq!(cut(r#"{"n":123456789012345}"#, &["n"], 8), r#"{"n":"12345…","n_truncated":15}"#);
    }

    proptest! {
        #[test]
        fn nothing_is_longer_than_it_may_be(text in "\\PC{0,40}", bytes in 1_usize..30) {
            let line = serde_json::json!({"m": text}).to_string();
            let out: serde_json::Value = serde_json::from_str(&cut(&line, &[], bytes)).unwrap();
            let left = out["m"].as_str().unwrap();
            prop_assert!(left.len() <= bytes);
            let begins = left.strip_suffix(ELLIPSIS).is_some_and(|start| text.starts_with(start)) || text.starts_with(left);
            prop_assert!(begins);
            prop_assert_eq!(out.get("m_truncated").is_some(), text.len() > bytes);
        }
    }
}
