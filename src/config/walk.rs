//! A tree against the schema: unknown fields, wrong types, words that are not a choice. Not what the values mean.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::problem::{Place, Problem, did_you_mean, listed, nearest};
use super::schema::{Setting, Shape, allowed, join, properties, resolve, shape};
use super::tree::{Entry, Kind, Node};

/// What is left of a tree when everything that does not fit is taken out of it.
#[derive(Debug, Default)]
pub(super) struct Walked {
    /// The values that fit.
    pub(super) value: Value,
    /// Where each field stands.
    pub(super) places: BTreeMap<String, Place>,
    /// The fields that were reported, about which nothing more should be said.
    pub(super) bad: BTreeSet<String>,
}

/// Checks a tree and adds what does not fit to the problems.
pub(super) fn walk(schema: &Value, settings: &[Setting], root: &Node, problems: &mut Vec<Problem>) -> Walked {
    let mut walk = Walk { root: schema, settings, problems, walked: Walked::default() };
    let value = walk.node("", schema, root, &root.place);
    Walked { value: value.unwrap_or_else(|| Value::Object(serde_json::Map::new())), ..walk.walked }
}

struct Walk<'a> {
    root: &'a Value,
    settings: &'a [Setting],
    problems: &'a mut Vec<Problem>,
    walked: Walked,
}

impl Walk<'_> {
    fn report(&mut self, path: &str, place: &Place, message: String) {
        self.walked.bad.insert(path.to_owned());
        self.problems.push(Problem { place: place.clone(), field: path.to_owned(), message });
    }

    /// The value of a node if it fits, without the parts of it that do not.
    fn node(&mut self, path: &str, declared: &Value, node: &Node, key_place: &Place) -> Option<Value> {
        let schema = resolve(self.root, declared);
        // A person looks for a container at its name, and for a value where it stands.
        let is_container = matches!(node.kind, Kind::List(_) | Kind::Map(_));
        let place = if is_container { key_place } else { &node.place };
        self.walked.places.insert(path.to_owned(), place.clone());
        match (shape(schema), &node.kind) {
            (_, Kind::Bad) => {
                self.walked.bad.insert(path.to_owned());
                None
            }
            (Shape::Any, _) => {
                self.parts(path, node);
                node.to_json()
            }
            // A key whose fields are all commented out is as good as none.
            (_, Kind::Null) => None,
            (Shape::Choice(words), Kind::Text(text)) => {
                if words.contains(&text.as_str()) {
                    return Some(Value::String(text.clone()));
                }
                let hint = did_you_mean(text, words.iter().copied());
                self.report(path, place, format!("{node} is not one of {}{hint}", listed(words)));
                None
            }
            (Shape::Map, Kind::Map(entries)) => Some(self.map(path, schema, entries)),
            (Shape::OpenMap, Kind::Map(entries)) => Some(self.open_map(path, schema, entries)),
            (Shape::List(item), Kind::List(items)) => Some(self.list(path, item, items)),
            (Shape::Scalar(types), _) if types.iter().any(|name| is_of_type(node, name)) => node.to_json(),
            _ => {
                let message = mismatch(node, &allowed(declared, schema), schema);
                self.report(path, place, message);
                None
            }
        }
    }

    /// Where the parts of something stand that is checked later, and the keys of it that are given twice.
    fn parts(&mut self, path: &str, node: &Node) {
        match &node.kind {
            Kind::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    let path = format!("{path}[{index}]");
                    self.walked.places.insert(path.clone(), item.place.clone());
                    self.parts(&path, item);
                }
            }
            Kind::Map(entries) => {
                for entry in self.unique(path, entries) {
                    let path = join(path, &entry.key);
                    let is_container = matches!(entry.value.kind, Kind::List(_) | Kind::Map(_));
                    let place = if is_container { &entry.place } else { &entry.value.place };
                    self.walked.places.insert(path.clone(), place.clone());
                    self.parts(&path, &entry.value);
                }
            }
            Kind::Bad | Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) => {}
        }
    }

    fn list(&mut self, path: &str, item: &Value, items: &[Node]) -> Value {
        let mut values = Vec::new();
        for (index, node) in items.iter().enumerate() {
            let path = format!("{path}[{index}]");
            if node.kind == Kind::Null {
                self.report(&path, &node.place, "is empty; write a value, or remove the item".to_owned());
            }
            // The items after one that does not fit keep their place: what stands for it is the empty value of its kind.
            let stand_in = if matches!(shape(resolve(self.root, item)), Shape::Map) {
                Value::Object(serde_json::Map::new())
            } else {
                Value::String(String::new())
            };
            values.push(self.node(&path, item, node, &node.place).unwrap_or(stand_in));
        }
        Value::Array(values)
    }

    fn map(&mut self, path: &str, schema: &Value, entries: &[Entry]) -> Value {
        let mut values = serde_json::Map::new();
        let known = properties(schema);
        for entry in self.unique(path, entries) {
            let field = join(path, &entry.key);
            if let Some(declared) = known.and_then(|known| known.get(&entry.key)) {
                if let Some(value) = self.node(&field, declared, &entry.value, &entry.place) {
                    values.insert(entry.key.clone(), value);
                }
                continue;
            }
            let names = || known.into_iter().flat_map(|known| known.keys()).map(String::as_str);
            let message = self.unknown(&entry.key, names());
            self.report(&field, &entry.place, message);
            // That the setting which was meant is missing is not another mistake.
            if let Some(meant) = nearest(&entry.key, names()) {
                self.walked.bad.insert(join(path, meant));
            }
        }
        Value::Object(values)
    }

    fn open_map(&mut self, path: &str, schema: &Value, entries: &[Entry]) -> Value {
        let item = schema.get("additionalProperties").unwrap_or(&Value::Bool(true));
        let mut values = serde_json::Map::new();
        for entry in self.unique(path, entries) {
            if let Some(value) = self.node(&join(path, &entry.key), item, &entry.value, &entry.place) {
                values.insert(entry.key.clone(), value);
            }
        }
        Value::Object(values)
    }

    /// The first entry of each key; the others are reported.
    fn unique<'n>(&mut self, path: &str, entries: &'n [Entry]) -> Vec<&'n Entry> {
        let mut first: BTreeMap<&str, &Entry> = BTreeMap::new();
        let mut unique = Vec::new();
        for entry in entries {
            if let Some(before) = first.get(entry.key.as_str()) {
                let line = match &before.place {
                    Place::Line { line, .. } => format!(", first in line {line}"),
                    Place::Variable(_) | Place::Flag(_) | Place::Unset => String::new(),
                };
                let message = format!("is given twice{line}; remove one of them");
                let field = join(path, &entry.key);
                self.problems.push(Problem { place: entry.place.clone(), field, message });
            } else {
                first.insert(&entry.key, entry);
                unique.push(entry);
            }
        }
        unique
    }

    fn unknown<'k>(&self, key: &str, known: impl Iterator<Item = &'k str>) -> String {
        let known: Vec<&str> = known.collect();
        let list = listed(known.iter().copied());
        if nearest(key, known.iter().copied()).is_some() {
            return format!("is not a setting; allowed: {list}{}", did_you_mean(key, known));
        }
        // The right name at the wrong depth is as common as a typo.
        let elsewhere = self.settings.iter().map(|setting| setting.path.as_str());
        let namesake = elsewhere.clone().find(|path| path.rsplit('.').next() == Some(key));
        match namesake {
            Some(path) => format!("is not a setting; allowed: {list} (did you mean \"{path}\"?)"),
            None => format!("is not a setting; allowed: {list}"),
        }
    }
}

fn is_of_type(node: &Node, name: &str) -> bool {
    match (&node.kind, name) {
        (Kind::Bool(_), "boolean") | (Kind::Text(_), "string") | (Kind::Number(_), "number") => true,
        (Kind::Number(number), "integer") => !number.is_f64(),
        _ => false,
    }
}

/// What to say about a value of the wrong type.
fn mismatch(node: &Node, allowed: &str, schema: &Value) -> String {
    let takes_text = matches!(shape(schema), Shape::Scalar(types) if types == ["string"]);
    let takes_bool = matches!(shape(schema), Shape::Scalar(types) if types.contains(&"boolean"));
    let what = match &node.kind {
        Kind::List(_) | Kind::Map(_) | Kind::Null | Kind::Bad => format!("is {}", node.kind_name()),
        Kind::Bool(_) => format!("{node} is true/false, not text"),
        Kind::Number(_) | Kind::Text(_) => format!("{node} is {}", node.kind_name()),
    };
    let hint = match &node.kind {
        Kind::Number(_) | Kind::Bool(_) if takes_text => format!(" (to make it text, quote it: \"{node}\")"),
        Kind::Text(text) if takes_bool => match text.to_lowercase().as_str() {
            "yes" | "on" | "y" | "1" | "true" => " (did you mean true?)".to_owned(),
            "no" | "off" | "n" | "0" | "false" => " (did you mean false?)".to_owned(),
            _ => String::new(),
        },
        // What a template looks like without quotes.
        Kind::Map(entries) if takes_text => match &entries[..] {
            [Entry { key, value: Node { kind: Kind::Null, .. }, .. }] => {
                format!(" (to make it text, quote it: \"{{{key}}}\")")
            }
            _ => String::new(),
        },
        Kind::Text(_) if matches!(shape(schema), Shape::List(_)) => format!(" (as a list: [{node}])"),
        _ => String::new(),
    };
    format!("{what}; allowed: {allowed}{hint}")
}
