//! Plain data as a YAML document, for people who look at a pod: blocks, with the keys in order. It is read back by tests only.

use std::fmt::Write as _;

use serde_json::Value;

use crate::config::yaml_text;

/// The document.
pub(super) fn document(value: &Value) -> String {
    let mut out = String::new();
    block(&mut out, value, 0);
    out
}

fn block(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, value) in fields {
                line(out, depth, &format!("{}:", yaml_text(key)));
                inner(out, value, depth);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                item_of(out, item, depth);
            }
        }
        other => line(out, depth, &scalar(other)),
    }
}

/// What comes after a key: on the same line if it is short, or below it.
fn inner(out: &mut String, value: &Value, depth: usize) {
    if is_block(value) {
        let depth = if value.is_array() { depth } else { depth + 1 };
        block(out, value, depth);
    } else {
        on_last_line(out, &scalar(value));
    }
}

/// An item's first key stands behind its dash.
fn item_of(out: &mut String, item: &Value, depth: usize) {
    if !is_block(item) {
        return line(out, depth, &format!("- {}", scalar(item)));
    }
    let mut rest = String::new();
    block(&mut rest, item, depth + 1);
    let indented = "  ".repeat(depth + 1);
    let first = rest.strip_prefix(&indented).unwrap_or(&rest);
    line(out, depth, &format!("- {}", first.trim_end_matches('\n')));
}

fn is_block(value: &Value) -> bool {
    match value {
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => yaml_text(text),
        other => other.to_string(),
    }
}

fn line(out: &mut String, depth: usize, text: &str) {
    let indent = depth * 2;
    // Writing to text does not fail.
    writeln!(out, "{:indent$}{text}", "").ok();
}

fn on_last_line(out: &mut String, text: &str) {
    if out.ends_with('\n') {
        out.pop();
    }
    writeln!(out, " {text}").ok();
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::config::{Document, value};

    #[test]
    fn it_reads_well() {
        let data = json!({
            "kinesis": {"stream": "shop", "region": "eu-west-1"},
            "sources": [{"name": "app", "paths": ["/var/log/app/*.log", "/x y"], "parse": "json"}, [], {}],
            "admin": {},
            "n": [1, [2, 3], null, true, "true", ""],
        });
        let want = "admin: {}\nkinesis:\n  region: eu-west-1\n  stream: shop\nn:\n- 1\n- - 2\n  - 3\n- null\n- true\n- \"true\"\n- \"\"\nsources:\n- name: app\n  parse: json\n  paths:\n  - \"/var/log/app/*.log\"\n  - \"/x y\"\n- []\n- {}\n";
        assert_eq!(document(&data), want);
    }

    fn data() -> impl Strategy<Value = Value> {
        let text = prop_oneof![".{0,12}", "[ -~]{0,12}", "(null|~|yes|0x1f|1e3|-|- a|a: b|#|\\?)"];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            text.clone().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(
                    text.clone().prop_filter("merge keys are refused", |key| key != "<<"),
                    inner,
                    0..4
                )
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_is_read_back(data in data()) {
            let text = document(&data);
            let back = value(&Document { name: "test".to_owned(), text: text.clone() });
            prop_assert_eq!(back.map_err(|problems| problems.to_string()), Ok(data), "{}", text);
        }
    }
}
