//! A JSON patch (RFC 6902) and the document that it is for, changed together, so that every operation fits what the ones before it have left.
//! What is changed is not decided here.

use serde_json::{Map, Value, json};

/// A step on the way to a value: the key of an object, or the place in a list.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step<'a> {
    Key(&'a str),
    At(usize),
}

impl<'a> From<&'a str> for Step<'a> {
    fn from(key: &'a str) -> Self {
        Self::Key(key)
    }
}

impl From<usize> for Step<'_> {
    fn from(index: usize) -> Self {
        Self::At(index)
    }
}

/// A document that is being changed.
#[derive(Debug)]
pub(super) struct Patch {
    document: Value,
    operations: Vec<Value>,
}

impl Patch {
    /// Nothing is changed yet.
    pub(super) fn of(document: Value) -> Self {
        Self { document, operations: Vec::new() }
    }

    /// The document as it is by now.
    pub(super) fn document(&self) -> &Value {
        &self.document
    }

    /// The operations.
    pub(super) fn into_operations(self) -> Vec<Value> {
        self.operations
    }

    /// Sets a key of the object at a path; the object is made if there is none. Something else in its place is left alone.
    pub(super) fn set(&mut self, path: &[Step<'_>], key: &str, value: Value) {
        let Some(target) = find(&mut self.document, path) else { return };
        match target {
            Value::Object(fields) => {
                fields.insert(key.to_owned(), value.clone());
                self.add(&format!("{}/{}", pointer(path), escaped(key)), value);
            }
            Value::Null => {
                *target = json!({ key: value });
                let made = target.clone();
                self.add(&pointer(path), made);
            }
            _ => {}
        }
    }

    /// Puts an item into the list at a path, before the one that is there; the list is made if there is none.
    pub(super) fn insert(&mut self, path: &[Step<'_>], index: usize, value: Value) {
        let Some(target) = find(&mut self.document, path) else { return };
        match target {
            Value::Array(items) if !items.is_empty() => {
                let index = index.min(items.len());
                let place = if index == items.len() { "-".to_owned() } else { index.to_string() };
                items.insert(index, value.clone());
                self.add(&format!("{}/{place}", pointer(path)), value);
            }
            Value::Array(_) | Value::Null => {
                *target = json!([value]);
                let made = target.clone();
                self.add(&pointer(path), made);
            }
            _ => {}
        }
    }

    /// Puts an item at the end of the list at a path.
    pub(super) fn append(&mut self, path: &[Step<'_>], value: Value) {
        self.insert(path, usize::MAX, value);
    }

    /// `add` also replaces what is at the place.
    fn add(&mut self, path: &str, value: Value) {
        let members = [("op", "add".into()), ("path", path.into()), ("value", value)];
        self.operations.push(Value::Object(
            members.map(|(name, value)| (name.to_owned(), value)).into_iter().collect::<Map<_, _>>(),
        ));
    }
}

/// The value at a path. Of the last step a missing key is made, as null, so that it can be filled.
fn find<'a>(document: &'a mut Value, path: &[Step<'_>]) -> Option<&'a mut Value> {
    let Some((last, before)) = path.split_last() else { return Some(document) };
    let mut at = document;
    for step in before {
        at = match step {
            Step::Key(key) => at.get_mut(*key)?,
            Step::At(index) => at.get_mut(*index)?,
        };
    }
    match last {
        Step::Key(key) => at.as_object_mut().map(|fields| fields.entry(*key).or_insert(Value::Null)),
        Step::At(index) => at.get_mut(*index),
    }
}

fn pointer(path: &[Step<'_>]) -> String {
    let step = |step: &Step<'_>| match step {
        Step::Key(key) => format!("/{}", escaped(key)),
        Step::At(index) => format!("/{index}"),
    };
    path.iter().map(step).collect()
}

/// A key as it stands in a JSON pointer.
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_made_once() {
        let mut patch = Patch::of(json!({"metadata": {}, "spec": {"containers": [{"name": "a"}], "volumes": []}}));
        patch.set(&["metadata".into(), "annotations".into()], "kinetail.dev/status", json!("injected"));
        patch.set(&["metadata".into(), "annotations".into()], "a~b", json!("c"));
        patch.append(&["spec".into(), "volumes".into()], json!(1));
        patch.append(&["spec".into(), "volumes".into()], json!(2));
        patch.insert(&["spec".into(), "volumes".into()], 1, json!(3));
        patch.append(&["spec".into(), "containers".into(), 0.into(), "env".into()], json!({}));
        assert_eq!(patch.document()["spec"]["volumes"], json!([1, 3, 2]));
        let paths: Vec<String> =
            patch.into_operations().iter().map(|operation| operation["path"].as_str().unwrap().to_owned()).collect();
        assert_eq!(
            paths,
            [
                "/metadata/annotations",
                "/metadata/annotations/a~0b",
                "/spec/volumes",
                "/spec/volumes/-",
                "/spec/volumes/1",
                "/spec/containers/0/env"
            ]
        );
    }

    #[test]
    fn what_is_something_else_stays() {
        let mut patch = Patch::of(json!({"spec": {"volumes": "none"}}));
        patch.append(&["spec".into(), "volumes".into()], json!(1));
        patch.set(&["spec".into(), "volumes".into()], "a", json!(1));
        patch.append(&["nowhere".into(), "at".into(), "all".into()], json!(1));
        assert!(patch.into_operations().is_empty());
    }
}
