//! The settings as data: a JSON Schema of the raw types, and the list of settings that is read off it. Checks nothing.

use serde_json::Value;

use super::problem::listed;
use super::raw::RawConfig;

/// A setting, as documentation shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its path, such as `sources[].start_at`.
    pub path: String,
    /// The environment variable that sets it too.
    pub variable: Option<String>,
    /// The flag that sets it too, without its dashes.
    pub flag: Option<String>,
    /// What it can be.
    pub allowed: String,
    /// What it is if it is not set.
    pub default: Option<String>,
    /// What it means.
    pub doc: String,
}

/// The JSON Schema of a configuration file.
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(RawConfig).to_value();
    if let Some(object) = schema.as_object_mut() {
        object.insert("title".to_owned(), "kinetail".into());
    }
    schema
}

/// Every setting that holds a value, sorted by its path.
pub fn settings() -> Vec<Setting> {
    let root = schema();
    let mut found = Vec::new();
    collect(&root, &root, "", &mut found);
    found
}

fn collect(root: &Value, schema: &Value, path: &str, found: &mut Vec<Setting>) {
    for (name, declared) in properties(schema).into_iter().flatten() {
        let path = join(path, name);
        let resolved = resolve(root, declared);
        match shape(resolved) {
            Shape::Map => collect(root, resolved, &path, found),
            Shape::List(item) if matches!(shape(resolve(root, item)), Shape::Map) => {
                collect(root, resolve(root, item), &format!("{path}[]"), found);
            }
            _ => found.push(setting(path, declared, resolved)),
        }
    }
}

fn setting(path: String, declared: &Value, resolved: &Value) -> Setting {
    let text = |key: &str| declared.get(key).and_then(Value::as_str).map(str::to_owned);
    let default = declared.get("default").map(|value| match value {
        // A line's end would end a row of a table.
        Value::String(text) if !text.contains(char::is_control) => text.clone(),
        other => other.to_string(),
    });
    let doc = text("description").unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
    Setting { path, variable: text("x-env"), flag: text("x-flag"), allowed: allowed(declared, resolved), default, doc }
}

/// What a value can be.
pub(super) enum Shape<'a> {
    /// One of some words.
    Choice(Vec<&'a str>),
    /// A mapping of the schema's properties.
    Map,
    /// A mapping of names of the user's choice.
    OpenMap,
    /// A list of such items.
    List(&'a Value),
    /// A scalar of one of these types.
    Scalar(Vec<&'a str>),
    /// Anything.
    Any,
}

/// The shape that a resolved schema describes.
pub(super) fn shape(schema: &Value) -> Shape<'_> {
    let words = choices(schema);
    if !words.is_empty() {
        return Shape::Choice(words);
    }
    if schema.get("properties").is_some() {
        return Shape::Map;
    }
    if let Some(item) = schema.get("items") {
        return Shape::List(item);
    }
    let types: Vec<&str> = match schema.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).filter(|&t| t != "null").collect(),
        _ => return Shape::Any,
    };
    if types.contains(&"object") { Shape::OpenMap } else { Shape::Scalar(types) }
}

fn choices(schema: &Value) -> Vec<&str> {
    let plain = schema.get("enum").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let described = schema.get("oneOf").and_then(Value::as_array).into_iter().flatten();
    plain.chain(described.filter_map(|one| one.get("const").and_then(Value::as_str))).collect()
}

/// The fields of a mapping's schema.
pub(super) fn properties(schema: &Value) -> Option<&serde_json::Map<String, Value>> {
    schema.get("properties").and_then(Value::as_object)
}

/// Follows references, and leaves out the null that every optional field allows.
pub(super) fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let target = reference.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
        return target.map_or(schema, |target| resolve(root, target));
    }
    let options = schema.get("anyOf").and_then(Value::as_array).into_iter().flatten();
    let mut real = options.filter(|option| option.get("type").and_then(Value::as_str) != Some("null"));
    real.next().map_or(schema, |option| resolve(root, option))
}

/// What a setting can be, for people.
pub(super) fn allowed(declared: &Value, resolved: &Value) -> String {
    if let Some(text) = declared.get("x-allowed").and_then(Value::as_str) {
        return text.to_owned();
    }
    match shape(resolved) {
        Shape::Choice(words) => listed(words),
        Shape::Map => "a mapping".to_owned(),
        Shape::OpenMap => "a mapping of names and values".to_owned(),
        Shape::List(_) => "a list".to_owned(),
        Shape::Scalar(types) if types == ["boolean"] => "true, false".to_owned(),
        Shape::Scalar(types) => types.join(" or "),
        Shape::Any => "any value".to_owned(),
    }
}

/// A path with one more field.
pub(super) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
