//! The documents against the code: tables, the configuration by example, names of metrics, files and tests, links. Not their prose.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use kinetail::config::{Config, Document, Layers, settings};
use kinetail::inject;
use kinetail::metrics::Metrics;

const README: &str = include_str!("../README.md");
const ARCHITECTURE: &str = include_str!("../ARCHITECTURE.md");
const CHANGELOG: &str = include_str!("../CHANGELOG.md");

/// What stands between `<!-- begin: name -->` and `<!-- end: name -->`.
fn marked<'a>(text: &'a str, name: &str) -> &'a str {
    let (begin, end) = (format!("<!-- begin: {name} -->"), format!("<!-- end: {name} -->"));
    let (_, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("there is no {begin}"));
    let (marked, _) = rest.split_once(&end).unwrap_or_else(|| panic!("there is no {end}"));
    marked.trim()
}

/// A table in Markdown.
fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let line = |cells: &[String]| format!("| {} |", cells.join(" | "));
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let rule = vec!["---".to_owned(); head.len()];
    let rows = rows.into_iter().map(|cells| cells.iter().map(|cell| cell.replace('|', "\\|")).collect());
    let lines: Vec<Vec<String>> = [head, rule].into_iter().chain(rows).collect();
    lines.iter().map(|cells| line(cells)).collect::<Vec<_>>().join("\n")
}

fn code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{text}`") }
}

/// The text between each pair of backticks, outside of fenced blocks.
fn code_spans(text: &str) -> Vec<&str> {
    let prose = text.split("```").step_by(2);
    prose.flat_map(|prose| prose.split('`').skip(1).step_by(2)).collect()
}

fn is_rust(path: impl AsRef<Path>) -> bool {
    path.as_ref().extension().is_some_and(|extension| extension == "rs")
}

/// All Rust files below a directory of the crate, by their paths from there.
fn rust_files(directory: &str) -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let (mut found, mut open) = (BTreeMap::new(), vec![root.clone()]);
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).expect("the crate's directories can be read") {
            let path = entry.expect("the crate's directories can be read").path();
            if path.is_dir() {
                open.push(path);
            } else if is_rust(&path) {
                let text = std::fs::read_to_string(&path).expect("the crate's files can be read");
                let name = path.strip_prefix(&root).expect("it lies below the root");
                found.insert(name.to_string_lossy().into_owned(), text);
            }
        }
    }
    found
}

#[test]
fn the_table_of_settings_is_that_of_the_code() {
    let head = ["Setting", "Variable", "Default", "Allowed", "Meaning"];
    let rows = settings().into_iter().map(|setting| {
        let (variable, default) = (setting.variable.unwrap_or_default(), setting.default.unwrap_or_default());
        vec![code(&setting.path), code(&variable), code(&default), setting.allowed, setting.doc]
    });
    let want = table(&head, rows);
    assert_eq!(marked(README, "settings"), want, "README.md needs this table:\n\n{want}\n");
}

#[test]
fn the_table_of_metrics_is_that_of_the_code() {
    let metrics = Metrics::new();
    let rows = metrics.descriptions().iter().map(|metric| {
        let labels: Vec<String> = metric.labels.iter().map(|label| code(label)).collect();
        vec![code(&metric.name), metric.kind.to_owned(), labels.join(", "), metric.help.clone()]
    });
    let want = table(&["Metric", "Kind", "Labels", "Meaning"], rows);
    assert_eq!(marked(README, "metrics"), want, "README.md needs this table:\n\n{want}\n");
}

#[test]
fn every_parser_is_in_the_table() {
    let named: BTreeSet<&str> = marked(README, "parsers")
        .lines()
        .skip(2)
        .filter_map(|row| row.split('|').nth(1))
        .flat_map(code_spans)
        .collect();
    assert_eq!(named, kinetail::parse::kind::NAMES.into_iter().collect());
}

#[test]
fn the_tables_of_the_injector_are_those_of_the_code() {
    let metrics = inject::metrics::Metrics::new();
    let rows = metrics.descriptions().iter().map(|metric| {
        let labels: Vec<String> = metric.labels.iter().map(|label| code(label)).collect();
        vec![code(&metric.name), metric.kind.to_owned(), labels.join(", "), metric.help.clone()]
    });
    let want = table(&["Metric", "Kind", "Labels", "Meaning"], rows);
    assert_eq!(marked(README, "injector metrics"), want, "README.md needs this table:\n\n{want}\n");
    let rows = inject::annotations::ANNOTATIONS.iter().map(|annotation| {
        let name = format!("{}{}", inject::annotations::PREFIX, annotation.name);
        vec![code(&name), annotation.allowed.to_owned(), annotation.meaning.to_owned()]
    });
    let want = table(&["Annotation", "Allowed", "Meaning"], rows);
    assert_eq!(marked(README, "annotations"), want, "README.md needs this table:\n\n{want}\n");
}

#[test]
fn every_metric_that_is_named_exists() {
    let (metrics, injector) = (Metrics::new(), inject::metrics::Metrics::new());
    let described = metrics.descriptions().iter().chain(injector.descriptions());
    let names: BTreeSet<&str> = described.map(|metric| metric.name.as_str()).collect();
    for text in [README, ARCHITECTURE, CHANGELOG] {
        for word in text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
            // The beginning alone is what no other metric may have.
            assert!(
                !word.starts_with("kinetail_") || word == "kinetail_" || names.contains(word),
                "there is no metric {word}"
            );
        }
    }
}

#[test]
fn every_variable_that_is_named_exists() {
    let settings = settings();
    let known: BTreeSet<&str> = settings.iter().filter_map(|setting| setting.variable.as_deref()).collect();
    for word in README.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
        let is_ours = word.starts_with("KINETAIL_") && word != kinetail::config::CONFIG_VARIABLE;
        assert!(!is_ours || known.contains(word), "there is no variable {word}");
    }
}

#[test]
fn the_configuration_by_example_is_one() {
    let blocks: Vec<&str> = README.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!blocks.is_empty());
    for text in blocks {
        let file = Some(Document { name: "README.md".to_owned(), text: text.to_owned() });
        let config =
            Config::load(&Layers { file, ..Layers::default() }).unwrap_or_else(|problems| panic!("{problems}"));
        assert!(!config.sources.is_empty());
    }
}

/// The anchor that a heading gets on the usual sites.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn links_lead_somewhere() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    for (name, text) in [("README.md", README), ("ARCHITECTURE.md", ARCHITECTURE), ("CHANGELOG.md", CHANGELOG)] {
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") {
                continue;
            }
            let (path, fragment) = target.split_once('#').unwrap_or((target, ""));
            let file = root.join(if path.is_empty() { name } else { path });
            assert!(file.exists(), "{name} leads to {target}, which is not there");
            if !fragment.is_empty() {
                let text = std::fs::read_to_string(&file).unwrap();
                let mut headings = text.lines().filter_map(|line| line.strip_prefix('#'));
                let found = headings.any(|heading| anchor(heading.trim_start_matches('#')) == fragment);
                assert!(found, "{name} leads to {target}, and there is no such heading");
            }
        }
    }
}

/// `a/{b,c}.rs` is `a/b.rs` and `a/c.rs`.
fn expand(name: &str) -> Vec<String> {
    match (name.split_once('{'), name.split_once('}')) {
        (Some((before, rest)), Some((_, after))) => {
            let inner = rest.split('}').next().unwrap_or_default();
            inner.split(',').map(|part| format!("{before}{part}{after}")).collect()
        }
        _ => vec![name.to_owned()],
    }
}

#[test]
fn the_code_map_names_every_file_and_no_other() {
    let map = marked(ARCHITECTURE, "code map");
    let spans = code_spans(map).into_iter().filter(|span| is_rust(span));
    let named: BTreeSet<String> = spans.flat_map(expand).collect();
    let files: BTreeSet<String> = rust_files("src").into_keys().collect();
    let missing: Vec<_> = files.difference(&named).collect();
    let gone: Vec<_> = named.difference(&files).collect();
    assert!(missing.is_empty() && gone.is_empty(), "not on the map: {missing:?}; not in src/: {gone:?}");
}

#[test]
fn tests_and_files_that_are_named_exist() {
    let sources: Vec<String> = rust_files("src").into_values().chain(rust_files("tests").into_values()).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for span in code_spans(ARCHITECTURE) {
        let is_name = span.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if is_name && span.matches('_').count() >= 3 && !span.starts_with("kinetail_") {
            let definition = format!("fn {span}(");
            assert!(sources.iter().any(|text| text.contains(&definition)), "there is no function {span}");
        }
        if span.starts_with("src/") || span.starts_with("tests/") {
            assert!(root.join(span).exists(), "there is no file {span}");
        }
    }
}
