//! `flatten`: nested objects become fields at the top, with dotted names.

use std::collections::BTreeSet;

use super::json;
use super::name::Name;
use crate::event::{Event, Value};

/// Fields that one event is flattened to. What is nested beyond that stays nested: nothing is lost, and nobody's columns explode.
const MAX_FIELDS: usize = 1000;

/// How arrays are treated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arrays {
    /// They stay as they are.
    #[default]
    Keep,
    /// Their elements become fields too, numbered from 0.
    Index,
}

/// Nested objects to fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flatten {
    separator: String,
    arrays: Arrays,
    max_depth: usize,
    /// Only these; all if there are none.
    fields: Vec<Name>,
}

impl Flatten {
    /// Names are joined by the separator; what is nested deeper than so many levels stays nested.
    pub fn new(separator: String, arrays: Arrays, max_depth: usize, fields: Vec<Name>) -> Self {
        Self { separator, arrays, max_depth, fields }
    }

    fn is_wanted(&self, name: &str, value: &Value<'_>) -> bool {
        (self.fields.is_empty() || self.fields.iter().any(|field| field.text() == name))
            && value.json().is_some_and(|json| self.opens(json))
    }

    fn opens(&self, json: &str) -> bool {
        match json.trim_ascii_start().as_bytes().first() {
            Some(b'{') => json::members(json).next().is_some(),
            Some(b'[') => self.arrays == Arrays::Index && json::elements(json).next().is_some(),
            _ => false,
        }
    }

    /// Flattens, and answers whether there was anything to flatten. Of fields that get the same name the last one counts.
    pub(super) fn apply(&self, event: &mut Event<'_>) -> bool {
        if self.max_depth == 0 || !event.fields().iter().any(|(name, value)| self.is_wanted(name, value)) {
            return false;
        }
        let more = Vec::with_capacity(event.len() + 16);
        let before = std::mem::replace(event.fields_mut(), more);
        for (name, value) in before {
            match &value {
                Value::Raw(json) if self.is_wanted(&name, &value) => {
                    let made = &mut |name: String, value| event.push(name, Value::Raw(value));
                    self.open(&name, json, 1, &mut MAX_FIELDS.clone(), made);
                }
                Value::Json(json) if self.is_wanted(&name, &value) => {
                    let made = &mut |name: String, value: &str| event.push(name, Value::Json(value.to_owned()));
                    self.open(&name, json, 1, &mut MAX_FIELDS.clone(), made);
                }
                _ => event.push(name, value),
            }
        }
        last_of_each(event);
        true
    }

    fn open<'j>(
        &self,
        outer: &str,
        json: &'j str,
        depth: usize,
        left: &mut usize,
        made: &mut impl FnMut(String, &'j str),
    ) {
        let mut one = |name: &str, value: &'j str| {
            let name = format!("{outer}{}{name}", self.separator);
            if depth < self.max_depth && *left > 0 && self.opens(value) {
                return self.open(&name, value, depth + 1, left, made);
            }
            *left = left.saturating_sub(1);
            made(name, value);
        };
        if json::is_object(json) {
            json::members(json).for_each(|member| one(&member.plain_name(), member.value));
        } else {
            json::elements(json).enumerate().for_each(|(index, value)| one(&index.to_string(), value));
        }
    }
}

/// Fields up to which comparing each name with each is quicker than sorting them.
const FEW: usize = 32;

/// Leaves the last of the fields of each name.
fn last_of_each(event: &mut Event<'_>) {
    let fields = event.fields();
    let keep: Vec<bool> = if fields.len() <= FEW {
        let is_last = |at: usize| fields[at + 1..].iter().all(|(name, _)| *name != fields[at].0);
        (0..fields.len()).map(is_last).collect()
    } else {
        let mut seen = BTreeSet::new();
        let mut keep: Vec<bool> = fields.iter().rev().map(|(name, _)| seen.insert(&**name)).collect();
        keep.reverse();
        keep
    };
    let mut keep = keep.into_iter();
    event.fields_mut().retain(|_| keep.next().unwrap_or(true));
}

#[cfg(test)]
mod tests {
    use super::super::name::tests::{event, rendered};
    use super::*;
    use proptest::prelude::*;

    fn flat(json: &str, arrays: Arrays, depth: usize) -> String {
        let mut event = event(json);
        Flatten::new(".".to_owned(), arrays, depth, Vec::new()).apply(&mut event);
        rendered(&event)
    }

    #[test]
    fn objects_become_fields() {
        let json = r#"{"a":{"b":1,"c":{"d":"x\"","e":[1,{"f":2}],"g":{}}},"h":[]}"#;
        let kept = r#"{"a.b":1,"a.c.d":"x\"","a.c.e":[1,{"f":2}],"a.c.g":{},"h":[]}"#;
        assert_eq!(flat(json, Arrays::Keep, 8), kept);
        let indexed = r#"{"a.b":1,"a.c.d":"x\"","a.c.e.0":1,"a.c.e.1.f":2,"a.c.g":{},"h":[]}"#;
        assert_eq!(flat(json, Arrays::Index, 8), indexed);
        assert_eq!(flat(json, Arrays::Keep, 1), r#"{"a.b":1,"a.c":{"d":"x\"","e":[1,{"f":2}],"g":{}},"h":[]}"#);
        assert_eq!(flat(r#"{"a.b":1,"a":{"b":2}}"#, Arrays::Keep, 8), r#"{"a.b":2}"#);
    }

    #[test]
    fn fields_are_bounded_and_nothing_is_lost() {
        let many: Vec<String> = (0..3000).map(|n| format!("\"k{n}\":{{\"x\":{n}}}")).collect();
        let line = format!("{{\"a\":{{{}}}}}", many.join(","));
        let mut event = event(&line);
        Flatten::new("_".to_owned(), Arrays::Keep, 8, Vec::new()).apply(&mut event);
        assert_eq!(event.len(), 3000);
        assert!(event.get("a_k0_x").is_some() && event.get("a_k2999").is_some());
    }

    proptest! {
        #[test]
        fn it_is_json_afterwards(json in super::super::tests::object()) {
            let line = json.to_string();
            for arrays in [Arrays::Keep, Arrays::Index] {
                let out = flat(&line, arrays, 3);
                prop_assert!(serde_json::from_str::<serde_json::Value>(&out).unwrap().is_object());
            }
        }
    }
}
