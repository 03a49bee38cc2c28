//! A configuration as a tree whose every node knows where it was written. Not typed: any document fits.

use std::fmt;

use serde_json::{Number, Value};

use super::problem::Place;

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    /// Where it stands.
    pub(super) place: Place,
    /// What it is.
    pub(super) kind: Kind,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// Something that was already reported as a problem.
    Bad,
    /// Nothing: `key:` with no value counts as not given.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number that JSON has too.
    Number(Number),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the order of the document, with the keys that are given twice.
    Map(Vec<Entry>),
}

/// A key of a mapping and its value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    /// The key.
    pub(super) key: String,
    /// Where the key stands.
    pub(super) place: Place,
    /// Its value.
    pub(super) value: Node,
}

impl Node {
    pub(super) fn text(place: &Place, text: &str) -> Self {
        Self { place: place.clone(), kind: Kind::Text(text.to_owned()) }
    }

    pub(super) fn list(place: &Place, items: impl IntoIterator<Item = Self>) -> Self {
        Self { place: place.clone(), kind: Kind::List(items.into_iter().collect()) }
    }

    pub(super) fn empty_map(place: &Place) -> Self {
        Self { place: place.clone(), kind: Kind::Map(Vec::new()) }
    }

    /// What a person calls this kind of value.
    pub(super) fn kind_name(&self) -> &'static str {
        match self.kind {
            Kind::Bad | Kind::Null => "empty",
            Kind::Bool(_) => "true/false",
            Kind::Number(_) => "a number",
            Kind::Text(_) => "text",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a mapping",
        }
    }

    /// The value of a key, made if it is missing; none if this is something else than a mapping or nothing.
    pub(super) fn get_or_insert(&mut self, key: &str, place: &Place) -> Option<&mut Self> {
        if self.kind == Kind::Null {
            self.kind = Kind::Map(Vec::new());
        }
        let Kind::Map(entries) = &mut self.kind else { return None };
        let index = entries.iter().position(|entry| entry.key == key).unwrap_or_else(|| {
            let value = Self { place: place.clone(), kind: Kind::Null };
            entries.push(Entry { key: key.to_owned(), place: place.clone(), value });
            entries.len() - 1
        });
        entries.get_mut(index).map(|entry| &mut entry.value)
    }

    /// The value of a key, if this is a mapping that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        let Kind::Map(entries) = &self.kind else { return None };
        entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// A value that stands at a place, with all of its parts.
    pub(super) fn from_json(place: &Place, value: &Value) -> Self {
        let kind = match value {
            Value::Null => Kind::Null,
            Value::Bool(value) => Kind::Bool(*value),
            Value::Number(number) => Kind::Number(number.clone()),
            Value::String(text) => Kind::Text(text.clone()),
            Value::Array(items) => Kind::List(items.iter().map(|item| Self::from_json(place, item)).collect()),
            Value::Object(fields) => Kind::Map(
                fields
                    .iter()
                    .map(|(key, value)| Entry {
                        key: key.clone(),
                        place: place.clone(),
                        value: Self::from_json(place, value),
                    })
                    .collect(),
            ),
        };
        Self { place: place.clone(), kind }
    }

    /// Takes over what is not given here. A list with anything in it is given as a whole.
    pub(super) fn fill(&mut self, below: &Self) {
        match (&mut self.kind, &below.kind) {
            (Kind::Map(_), Kind::Map(entries)) => {
                for entry in entries {
                    if let Some(value) = self.get_or_insert(&entry.key, &entry.place) {
                        value.fill(&entry.value);
                    }
                }
            }
            (Kind::Null, _) => *self = below.clone(),
            (Kind::List(items), Kind::List(_)) if items.is_empty() => *self = below.clone(),
            _ => {}
        }
    }

    /// The same value without the places; none if a part of it was already reported.
    pub(super) fn to_json(&self) -> Option<Value> {
        Some(match &self.kind {
            Kind::Bad => return None,
            Kind::Null => Value::Null,
            Kind::Bool(value) => Value::Bool(*value),
            Kind::Number(number) => Value::Number(number.clone()),
            Kind::Text(text) => Value::String(text.clone()),
            Kind::List(items) => Value::Array(items.iter().map(Self::to_json).collect::<Option<_>>()?),
            Kind::Map(entries) => Value::Object(
                entries.iter().map(|entry| Some((entry.key.clone(), entry.value.to_json()?))).collect::<Option<_>>()?,
            ),
        })
    }
}

impl fmt::Display for Node {
    /// As a message shows it: scalars in full, with secrets masked, and anything larger by its kind.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Bool(value) => write!(f, "{value}"),
            Kind::Number(number) => write!(f, "{number}"),
            Kind::Text(text) => f.write_str(&super::mask::quoted(text)),
            Kind::Bad | Kind::Null | Kind::List(_) | Kind::Map(_) => f.write_str(self.kind_name()),
        }
    }
}
