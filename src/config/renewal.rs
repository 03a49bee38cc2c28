//! What of a configuration can be another one while the agent runs: what is read and how, and a few settings beside. The rest is what threads,
//! sockets and senders were made of.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Config, Document, SourceConfig, SourceKind, plain_yaml};
use crate::parse::Direct;

/// What can change, beside `sources`, of which files can.
const CHANGEABLE: [&str; 3] = ["sources", "checkpoint.expire_after", "shutdown.timeout"];
/// The same, with all that is in it.
const CHANGEABLE_WHOLE: &str = "reload";

impl Config {
    /// The settings in which another configuration differs from this one and that only a restart can change, each with both values where those
    /// may be shown.
    pub fn needs_restart(&self, other: &Self) -> Vec<String> {
        let mut found = Vec::new();
        differences("", &document(self), &document(other), &mut found);
        // A secret that is masked looks the same in both.
        let pairs = [
            ("kinesis", self.kinesis == other.kinesis),
            ("admin", self.admin == other.admin),
            ("spool", self.spool == other.spool),
            ("log", self.log == other.log),
        ];
        for (name, is_same) in pairs {
            if !is_same && !found.iter().any(|difference| difference.starts_with(name)) {
                found.push(name.to_owned());
            }
        }
        self.feeders(other, &mut found);
        found
    }

    /// Sources that are no files have threads, sockets and spools.
    fn feeders(&self, other: &Self, found: &mut Vec<String>) {
        let of = |config: &'_ Self| -> BTreeSet<String> { config.sources.iter().map(|s| s.name.clone()).collect() };
        for name in &of(self) | &of(other) {
            let get = |config: &Self| config.sources.iter().find(|source| source.name == name).cloned();
            let (before, after) = (get(self), get(other));
            let is_fed = |source: &Option<SourceConfig>| source.as_ref().is_some_and(|s| s.kind != SourceKind::File);
            if !is_fed(&before) && !is_fed(&after) {
                continue;
            }
            let what = match (before, after) {
                (Some(before), Some(after)) if before.kind == after.kind => match feeding(&before, &after) {
                    [] => continue,
                    fields => fields.iter().map(|field| format!("sources[{name}].{field}")).collect(),
                },
                (Some(before), Some(after)) => {
                    vec![format!("sources[{name}].type ({} to {})", before.kind.as_str(), after.kind.as_str())]
                }
                (Some(before), None) => {
                    vec![format!("sources[{name}] (a source of type {} goes)", before.kind.as_str())]
                }
                (None, Some(after)) => {
                    vec![format!("sources[{name}] (a source of type {} comes)", after.kind.as_str())]
                }
                (None, None) => Vec::new(),
            };
            found.extend(what);
        }
    }
}

/// What of a source that is no file is its feeder's, and differs.
fn feeding(before: &SourceConfig, after: &SourceConfig) -> &'static [&'static str] {
    let is_json = |source: &SourceConfig| source.parse.direct() == Some(Direct::Json);
    let layout = |source: &SourceConfig| (source.add.tag, source.add.time, is_json(source));
    match before.kind {
        SourceKind::Fifo if before.paths != after.paths => &["paths"],
        SourceKind::Fifo if before.fifo_mode != after.fifo_mode => &["mode"],
        SourceKind::Forward if before.forward != after.forward => &["forward"],
        SourceKind::Forward if layout(before) != layout(after) => &["add.tag, add.time or parse: json"],
        _ => &[],
    }
}

/// A configuration in effect as plain values.
fn document(config: &Config) -> Value {
    let document = Document { name: String::new(), text: config.effective().to_string() };
    plain_yaml(&document).unwrap_or_default()
}

fn differences(path: &str, before: &Value, after: &Value, found: &mut Vec<String>) {
    if before == after || CHANGEABLE.contains(&path) || path == CHANGEABLE_WHOLE {
        return;
    }
    if let (Value::Object(before), Value::Object(after)) = (before, after) {
        let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        for name in names {
            let inner = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            let get = |of: &serde_json::Map<String, Value>| of.get(name).cloned().unwrap_or_default();
            differences(&inner, &get(before), &get(after), found);
        }
        return;
    }
    let shown = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    found.push(format!("{path} ({} to {})", shown(before), shown(after)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Layers;

    fn config(text: &str) -> Config {
        let document = Document { name: "c".to_owned(), text: text.to_owned() };
        Config::load(&Layers { file: Some(document), ..Layers::default() }).unwrap()
    }

    const BASE: &str = "kinesis: {stream: s, region: eu-west-1, endpoint: 'http://u:a@h'}\nsources:\n  - paths: [/a]\n";

    #[test]
    fn what_needs_a_restart_is_named_with_both_values() {
        let before = config(BASE);
        for (text, want) in [
            (BASE.to_owned(), &[][..]),
            (BASE.replace("/a]", "/b]\n    parse: nginx\n    transforms: [remove: [x]]"), &[]),
            (format!("{BASE}shutdown: {{timeout: 1s}}\nreload: {{watch: true}}\n"), &[]),
            (format!("{BASE}checkpoint: {{expire_after: 1h}}\n"), &[]),
            (BASE.replace("stream: s", "stream: t"), &["kinesis.stream (s to t)"]),
            (BASE.replace("u:a", "u:b"), &["kinesis"]),
            (
                format!("{BASE}state_dir: /x\nadmin: {{listen: off}}\n"),
                &["admin.listen (0.0.0.0:9464 to off)", "state_dir (/var/lib/kinetail to /x)"],
            ),
            (
                format!("{BASE}  - {{name: f, type: fifo, paths: [/f]}}\n"),
                &["sources[f] (a source of type fifo comes)"],
            ),
            (
                BASE.replace("- paths: [/a]", "- {name: files, type: forward}"),
                &["sources[files].type (file to forward)"],
            ),
        ] {
            assert_eq!(before.needs_restart(&config(&text)), want, "{text}");
        }
    }

    #[test]
    fn what_a_feeder_is_made_of_needs_a_restart_and_what_becomes_of_its_lines_does_not() {
        let with = |source: &str| {
            config(&format!("kinesis: {{stream: s, region: eu-west-1}}\nsources: [{{name: x, {source}}}]\n"))
        };
        for (before, after, want) in [
            ("type: fifo, paths: [/f]", "type: fifo, paths: [/f], parse: json", &[][..]),
            ("type: fifo, paths: [/f]", "type: fifo, paths: [/g]", &["sources[x].paths"]),
            ("type: fifo, paths: [/f]", "type: fifo, paths: [/f], mode: '0600'", &["sources[x].mode"]),
            ("type: forward", "type: forward, transforms: [remove: [x]]", &[]),
            ("type: forward", "type: forward, forward: {shared_key: k}", &["sources[x].forward"]),
            ("type: forward", "type: forward, add: {tag: false}", &["sources[x].add.tag, add.time or parse: json"]),
        ] {
            assert_eq!(with(before).needs_restart(&with(after)), want, "{after}");
        }
    }
}
