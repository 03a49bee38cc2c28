//! Finding named fields in an event's JSON, in one pass over its top level. Nothing nested is looked at unless a name leads into it.

use std::fmt;

use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::template::MAX_PARTS;
use crate::event::Key;

/// The fields that templates ask for, by the names at an event's top level under which they may lie.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// Each name once; its place is its slot.
    names: Vec<String>,
    fields: Vec<Field>,
}

/// One field. Of `a.b.c` the name `a.b.c` is looked for first, then `c` in `a.b`, then `b.c` in `a`.
#[derive(Debug)]
struct Field {
    name: String,
    candidates: Vec<Candidate>,
}

#[derive(Debug)]
struct Candidate {
    slot: usize,
    /// Where it lies in the value of that name; empty if it is the value.
    rest: String,
}

/// The values of an event's wanted names, as JSON, by slot.
pub(super) type Found<'a> = Vec<Option<&'a str>>;

impl Wanted {
    pub(super) fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The number of a field, which is added if it is new.
    pub(super) fn field(&mut self, name: &str) -> usize {
        if let Some(known) = self.fields.iter().position(|field| field.name == name) {
            return known;
        }
        let dots = name.match_indices('.').map(|(at, _)| at).rev();
        let splits =
            std::iter::once((name, "")).chain(dots.filter_map(|at| Some((name.get(..at)?, name.get(at + 1..)?))));
        let candidates =
            splits.map(|(top, rest)| Candidate { slot: slot(&mut self.names, top), rest: rest.to_owned() });
        let field = Field { name: name.to_owned(), candidates: candidates.collect() };
        self.fields.push(field);
        self.fields.len() - 1
    }

    /// Empty slots for [`Wanted::find`].
    pub(super) fn slots<'a>(&self) -> Found<'a> {
        vec![None; self.names.len()]
    }

    /// Fills the slots from one event. An event that is no JSON object has no fields.
    pub(super) fn find<'a>(&self, event: &'a [u8], found: &mut Found<'a>) {
        found.fill(None);
        if event.trim_ascii_start().first() != Some(&b'{') {
            return;
        }
        let Ok(text) = std::str::from_utf8(event) else { return };
        let slot = |name: &str| self.names.iter().position(|wanted| wanted == name);
        // Of names that are there twice the last one counts, as it does for nearly all readers of JSON.
        if for_each(text, slot, |slot, value| found[slot] = Some(value)).is_err() {
            found.fill(None);
        }
    }

    /// Appends a field's text, and answers whether there is any: null, objects and arrays have none.
    pub(super) fn write(&self, field: usize, found: &Found<'_>, out: &mut String) -> bool {
        self.fields[field].candidates.iter().any(|Candidate { slot, rest }| {
            found[*slot]
                .is_some_and(|value| if rest.is_empty() { write(value, out) } else { write_inner(value, rest, out) })
        })
    }
}

fn slot(names: &mut Vec<String>, name: &str) -> usize {
    if let Some(known) = names.iter().position(|known| known == name) {
        return known;
    }
    names.push(name.to_owned());
    names.len() - 1
}

/// The same within a value.
fn write_inner(object: &str, path: &str, out: &mut String) -> bool {
    let mut found: [Option<(&str, &str)>; MAX_PARTS] = [None; MAX_PARTS];
    let within = |name: &str| {
        let rest = path.strip_prefix(name)?;
        let rest = if rest.is_empty() { rest } else { rest.strip_prefix('.')? };
        Some((name.matches('.').count(), rest))
    };
    let is_object = object.starts_with('{');
    if !is_object || for_each(object, within, |(dots, rest), value| found[dots] = Some((rest, value))).is_err() {
        return false;
    }
    // The longest name first.
    found
        .iter()
        .rev()
        .flatten()
        .any(|(rest, value)| if rest.is_empty() { write(value, out) } else { write_inner(value, rest, out) })
}

/// Appends the text of a scalar.
fn write(value: &str, out: &mut String) -> bool {
    match value.as_bytes().first() {
        Some(b'"') => {
            let plain =
                value.strip_prefix('"').and_then(|text| text.strip_suffix('"')).filter(|text| !text.contains('\\'));
            if let Some(text) = plain {
                out.push_str(text);
                return true;
            }
            // Half of a surrogate pair is no text.
            serde_json::from_str::<String>(value).map(|text| out.push_str(&text)).is_ok()
        }
        Some(b't' | b'f' | b'-' | b'0'..=b'9') => {
            out.push_str(value);
            true
        }
        _ => false,
    }
}

/// Goes over the fields of an object: those of which `wanted` says something are taken, with what it said.
fn for_each<'a, T>(
    object: &'a str,
    wanted: impl Fn(&str) -> Option<T>,
    take: impl FnMut(T, &'a str),
) -> Result<(), serde_json::Error> {
    let mut de = serde_json::Deserializer::from_str(object);
    de.deserialize_map(Fields { wanted, take })?;
    de.end()
}

struct Fields<W, F> {
    wanted: W,
    take: F,
}

impl<'de, T, W: Fn(&str) -> Option<T>, F: FnMut(T, &'de str)> Visitor<'de> for Fields<W, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(Key(name)) = map.next_key::<Key<'de>>()? {
            match (self.wanted)(&name) {
                Some(said) => (self.take)(said, map.next_value::<&'de RawValue>()?.get()),
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn get(event: &str, name: &str) -> Option<String> {
        let mut wanted = Wanted::default();
        // Others do not get in its way.
        wanted.field("other.name");
        let field = wanted.field(name);
        let (mut found, mut out) = (wanted.slots(), String::new());
        wanted.find(event.as_bytes(), &mut found);
        wanted.write(field, &found, &mut out).then_some(out)
    }

    #[test]
    fn scalars_have_text_and_nothing_else_has() {
        let event = r#" {"s":"a b","e":"\u00e9\n\"","empty":"","n":-1.50e3,"t":true,"f":false,"null":null,"o":{},"a":[1],"half":"\ud800"} "#;
        for (name, text) in
            [("s", "a b"), ("e", "é\n\""), ("empty", ""), ("n", "-1.50e3"), ("t", "true"), ("f", "false")]
        {
            assert_eq!(get(event, name).as_deref(), Some(text), "{name}");
        }
        for name in ["null", "o", "a", "half", "nowhere", "s.x"] {
            assert_eq!(get(event, name), None, "{name}");
        }
    }

    #[test]
    fn dots_lead_into_objects_and_the_longest_name_comes_first() {
        assert_eq!(get(r#"{"a":{"b":{"c":1}}}"#, "a.b.c").as_deref(), Some("1"));
        assert_eq!(get(r#"{"a.b.c":1,"a.b":{"c":2},"a":{"b":{"c":3}}}"#, "a.b.c").as_deref(), Some("1"));
        assert_eq!(get(r#"{"a":{"b":{"c":3}},"a.b":{"c":2}}"#, "a.b.c").as_deref(), Some("2"));
        assert_eq!(get(r#"{"a":{"b":{"c":3},"b.c":2}}"#, "a.b.c").as_deref(), Some("2"));
        // What is there and has no text does not stand in the way of what has.
        assert_eq!(get(r#"{"a.b":{"x":2},"a":{"b.c":null,"b":{"c":3}}}"#, "a.b.c").as_deref(), Some("3"));
        assert_eq!(get(r#"{"a":"text"}"#, "a.b"), None);
        assert_eq!(get(r#"{"a":{"bc":1,"b":[{"c":1}]}}"#, "a.b.c"), None);
    }

    #[test]
    fn the_last_of_duplicates_counts() {
        assert_eq!(get(r#"{"a":1,"b":2,"a":3}"#, "a").as_deref(), Some("3"));
        assert_eq!(get(r#"{"a":{"b":1},"a":{"b":2,"b":3}}"#, "a.b").as_deref(), Some("3"));
        assert_eq!(get(r#"{"a":1,"a":null}"#, "a"), None);
        assert_eq!(get(r#"{"a":1,"\u0061":2}"#, "a").as_deref(), Some("2"));
    }

    #[test]
    fn only_a_whole_object_has_fields() {
        for event in ["", "text", "[1]", "\"a\"", "{\"a\":1", "{\"a\":1} x", "{\"a\":1}{}", "a{\"a\":1}"] {
            assert_eq!(get(event, "a"), None, "{event}");
        }
        let mut wanted = Wanted::default();
        wanted.field("a");
        let mut found = wanted.slots();
        wanted.find(b"{\"a\":1,\"b\":\"\xff\"}", &mut found);
        assert_eq!(found, [None]);
    }

    /// The same over a loaded tree, the plain way.
    fn looked_up(value: &Value, path: &str) -> Option<String> {
        let fields = value.as_object()?;
        let split = |(at, _): (usize, &str)| path.split_at_checked(at);
        let ends = path.match_indices('.').collect::<Vec<_>>().into_iter().rev().filter_map(split);
        std::iter::once((path, "")).chain(ends).find_map(|(name, rest)| match (fields.get(name)?, rest) {
            (Value::String(text), "") => Some(text.clone()),
            (value @ (Value::Bool(_) | Value::Number(_)), "") => Some(value.to_string()),
            (_, "") => None,
            (value, rest) => looked_up(value, rest.strip_prefix('.')?),
        })
    }

    fn value() -> impl Strategy<Value = Value> {
        let scalar = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[a.\"\\\\é\n]{0,4}".prop_map(Value::from),
            Just(Value::Array(Vec::new())),
        ];
        scalar.prop_recursive(4, 24, 4, |inner| {
            proptest::collection::btree_map("[ab](\\.[ab]){0,2}", inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect()))
        })
    }

    proptest! {
        #[test]
        fn it_finds_what_a_loaded_tree_has(event in value(), names in proptest::collection::vec("[ab](\\.[ab]){0,3}", 1..4)) {
            let text = event.to_string();
            let mut wanted = Wanted::default();
            let fields: Vec<usize> = names.iter().map(|name| wanted.field(name)).collect();
            let mut found = wanted.slots();
            wanted.find(text.as_bytes(), &mut found);
            for (name, field) in names.iter().zip(fields) {
                let mut out = String::new();
                let has = wanted.write(field, &found, &mut out);
                prop_assert_eq!(has.then_some(out), looked_up(&event, name), "{} in {}", name, text);
            }
        }
    }
}
