//! Other projects' cases and real log files, run through the line. They are not part of the repository: the variable `KINETAIL_CORPORA` names
//! the folder that holds them, and without it there is nothing to do here.

#[path = "corpora/redact.rs"]
mod redact;
#[path = "corpora/table.rs"]
mod table;
#[path = "corpora/text.rs"]
mod text;
#[path = "corpora/times.rs"]
mod times;
#[path = "corpora/web.rs"]
mod web;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kinetail::config::{Encoding, LineFormat, Preset};
use kinetail::container::{cri, docker, kubelet};
use kinetail::line::{LineBuilder, LineConfig, Lines};
use kinetail::multiline::custom::{Custom, Until};
use kinetail::multiline::trace::Presets;
use kinetail::multiline::{Multiline, Rule};
use kinetail::parse::Added;
use regex::bytes::Regex;
use serde_json::Value;
use tokio::time::Instant;

/// Where we differ on purpose, and why.
const DIFFERENT: [(&str, &str); 3] = [
    (
        "detect-exceptions/max_lines",
        "a trace over max_lines goes on in another event, in place of an event for each line",
    ),
    ("fluent-bit/multiline/container_mix", "a file has one format, and a raw newline in a JSON string is not JSON"),
    (
        "multiline_start_regexp_and_multiline_end_regexp",
        "a record that has an end goes up to it, as in Vector's halt_with",
    ),
];

/// The largest event, which none of these cases comes near.
const MAX_EVENT: usize = 1 << 20;

#[derive(Debug, Default)]
struct Report {
    passed: usize,
    skipped: BTreeMap<String, usize>,
    failed: Vec<String>,
}

impl Report {
    fn check(&mut self, id: &str, got: &[String], want: &[String]) {
        if let Some((_, why)) = DIFFERENT.iter().find(|(part, _)| id.contains(part)) {
            return self.skip(&format!("{id}: {why}"));
        }
        if got == want {
            self.passed += 1;
        } else {
            self.failed.push(format!("{id}:\n  got  {got:#?}\n  want {want:#?}"));
        }
    }

    fn skip(&mut self, why: &str) {
        *self.skipped.entry(why.to_owned()).or_default() += 1;
    }
}

fn folder() -> Option<PathBuf> {
    std::env::var_os("KINETAIL_CORPORA").map(PathBuf::from)
}

fn cases(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))).collect()
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(|s| s.as_str().unwrap_or_default().to_owned()).collect()
}

/// The events of a file, read in one piece.
fn events(config: LineConfig, file: &[u8]) -> Vec<String> {
    let mut line = LineBuilder::new(Arc::new(config), Added::default(), "tag".to_owned(), 0, 0);
    let mut lines = Lines::default();
    let used = line.advance(file, 0, MAX_EVENT, Instant::now(), &mut lines);
    let count = lines.events.len();
    line.flush(&file[used..], used as u64, MAX_EVENT, &mut lines);
    let text = |(index, event): (usize, &kinetail::event::EventRef)| {
        let chunk = if index < count { file } else { &file[used..] };
        let from = if event.rendered { &lines.rendered } else { chunk };
        String::from_utf8_lossy(&from[event.start as usize..event.end as usize]).into_owned()
    };
    lines.events.iter().enumerate().map(text).collect()
}

fn plain(multiline: impl Into<Option<Multiline>>) -> LineConfig {
    LineConfig { multiline: multiline.into(), ..LineConfig::default() }
}

fn rule(rule: Rule, max_lines: usize) -> Multiline {
    Multiline { rule, timeout: Duration::from_secs(1), max_lines }
}

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"))
}

fn custom(start: Option<&str>, until: Until) -> Multiline {
    let start = start.map(regex);
    rule(Rule::Custom(Custom { start, until }), 1000)
}

/// A pattern as the cases of Ruby projects write it.
fn ruby(pattern: &Value) -> Option<Regex> {
    Regex::new(pattern.as_str()?.strip_prefix('/')?.strip_suffix('/')?).ok()
}

fn presets(mode: &str) -> Option<Vec<Preset>> {
    let name = if mode == "js" { "node" } else { mode };
    if name == "auto" {
        return Some(Preset::ALL.map(|(_, preset)| preset).to_vec());
    }
    Preset::ALL.iter().find(|(known, _)| *known == name).map(|(_, preset)| vec![*preset])
}

/// The configuration of a case by its mode, or why there is none.
fn configured(case: &Value) -> Result<LineConfig, String> {
    let (mode, options) = (case["mode"].as_str().unwrap_or_default(), &case["options"]);
    let pattern = |name: &str| regex(options[name].as_str().unwrap_or_default());
    if let Some(presets) = presets(mode) {
        let max_lines = options["max_lines"].as_u64().map_or(1000, |n| usize::try_from(n).unwrap_or(usize::MAX));
        return Ok(plain(rule(Rule::Presets(Presets::new(presets)), max_lines)));
    }
    match mode {
        "cri" => Ok(LineConfig { format: LineFormat::Cri, ..plain(None) }),
        "docker+cri" => Ok(LineConfig { format: LineFormat::Auto, ..plain(None) }),
        "vector-halt_with" => {
            Ok(plain(custom(options["start_pattern"].as_str(), Until::End(pattern("condition_pattern")))))
        }
        "vector-continue_past" => {
            Ok(plain(custom(options["start_pattern"].as_str(), Until::ContinuePast(pattern("condition_pattern")))))
        }
        "regex" => Ok(plain(custom(None, Until::ContinuePast(regex(r"\\$"))))),
        "otel-split" => match (options["line_start_pattern"].as_str(), options["line_end_pattern"].as_str()) {
            (None, None) => Ok(plain(None)),
            (Some(start), None) => Ok(plain(custom(Some(start), Until::Start))),
            // There is no newline in a line here.
            (None, Some(end)) => Ok(plain(custom(None, Until::End(regex(end.trim_end_matches("\\n")))))),
            (Some(_), Some(_)) => Err("otel-split with two patterns".to_owned()),
        },
        "records" => match (ruby(&options["multiline_start_regexp"]), ruby(&options["multiline_end_regexp"])) {
            _ if !options["stream_identity_key"].is_null() && case["id"] == "concat/stream_identity" => {
                Err("records of several containers in one list".to_owned())
            }
            (Some(start), end) => {
                let until = end.map_or(Until::Start, Until::End);
                Ok(plain(rule(Rule::Custom(Custom { start: Some(start), until }), 1000)))
            }
            (None, Some(_)) => Err("records with newlines at their ends".to_owned()),
            (None, None) => Err("records of other agents: partial_* keys, n_lines".to_owned()),
        },
        other => Err(format!("mode {other}")),
    }
}

#[test]
fn records_of_several_lines() {
    let Some(folder) = folder() else { return println!("KINETAIL_CORPORA is not set: nothing was checked") };
    let mut report = Report::default();
    for case in cases(&folder.join("multiline/cases.jsonl")) {
        let id = format!("{} ({})", case["id"].as_str().unwrap(), case["mode"].as_str().unwrap());
        let config = match configured(&case) {
            Ok(config) => config,
            Err(why) => {
                report.skip(&why);
                continue;
            }
        };
        let records =
            case["records"].as_array().into_iter().flatten().map(|r| r["message"].as_str().unwrap().to_owned());
        let lines: Vec<String> = strings(&case["lines"]).into_iter().chain(records).collect();
        let lines: Vec<&str> = lines.iter().map(|line| line.trim_end_matches('\n')).collect();
        let file = case["input"].as_str().map_or_else(|| lines.join("\n") + "\n", str::to_owned);
        let events = events(config, file.as_bytes());
        let text = |event: &Value| event.as_str().or(event["message"].as_str()).unwrap().to_owned();
        let want: Vec<String> = case["events"].as_array().unwrap().iter().map(text).collect();
        // Whether the last newline belongs to an event is a matter of its format, and what is left at the end is sent.
        let bare = |event: &String| event.trim_end_matches(['\n', '\r']).to_owned();
        let (mut got, want): (Vec<String>, Vec<String>) =
            (events.iter().map(bare).collect(), want.iter().map(bare).collect());
        if matches!(case["mode"].as_str(), Some("otel-split" | "records")) && got.len() == want.len() + 1 {
            got.pop();
        }
        report.check(&id, &got, &want);
    }
    finish("multiline", &report);
}

#[test]
fn lines_of_container_runtimes() {
    let Some(folder) = folder() else { return println!("KINETAIL_CORPORA is not set: nothing was checked") };
    let mut report = Report::default();
    for name in ["cri", "docker_json"] {
        for case in cases(&folder.join(format!("cases/{name}.jsonl"))) {
            let (input, mut buffer) = (case["input"].as_str().unwrap(), Vec::new());
            let piece = match name {
                "cri" => cri::parse(input.as_bytes()),
                _ => docker::parse(input.as_bytes(), &mut buffer),
            };
            let show = |time: &str, stream: &str, text: &str, partial: &str| {
                [time, stream, text, partial].map(str::to_owned).to_vec()
            };
            let got = piece.map_or_else(Vec::new, |piece| {
                let partial = if name == "cri" { piece.partial.to_string() } else { String::new() };
                show(piece.time, piece.stream.name(), std::str::from_utf8(piece.text).unwrap(), &partial)
            });
            let field = |names: &[&str]| names.iter().find_map(|n| case["expected"][*n].as_str()).unwrap_or_default();
            let partial = match (name, &case["expected"]["partial"]) {
                ("cri", Value::Bool(partial)) => partial.to_string(),
                ("cri", _) => (field(&["logtag"]) == "P").to_string(),
                _ => String::new(),
            };
            let want = match case["expect"].as_str() {
                Some("ok") => show(
                    field(&["timestamp", "cri_timestamp"]),
                    field(&["stream"]),
                    field(&["log", "message"]),
                    &partial,
                ),
                _ => Vec::new(),
            };
            report.check(case["id"].as_str().unwrap(), &got, &want);
        }
    }
    for case in cases(&folder.join("cases/k8s_pod_log_path.jsonl")) {
        let found = kubelet::pod_of(Path::new(case["input"].as_str().unwrap()), None).unwrap_or_default();
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let (mut got, mut want) = (Vec::new(), Vec::new());
        for (ours, theirs) in [
            ("namespace_name", "k8s.namespace.name"),
            ("pod_name", "k8s.pod.name"),
            ("pod_id", "k8s.pod.uid"),
            ("container_name", "k8s.container.name"),
            ("restart_count", "k8s.container.restart_count"),
        ] {
            got.push(found.get(ours).map(text).unwrap_or_default());
            want.push(text(&case["expected"][theirs]));
        }
        report.check(case["id"].as_str().unwrap(), &got, &want);
    }
    finish("container", &report);
}

#[test]
fn files_of_dockers_with_records_of_several_lines() {
    let Some(folder) = folder() else { return println!("KINETAIL_CORPORA is not set: nothing was checked") };
    let mut report = Report::default();
    for name in ["dockermode_firstline_detection", "dockermode_splitted_multiple_lines"] {
        let path = |end: &str| folder.join(format!("multiline/files/{name}.{end}"));
        // Their first-line parser is what a line that begins a record is here.
        let multiline = custom(Some("^(Single|Second|Third|2020-)"), Until::Start);
        let config = LineConfig { format: LineFormat::Docker, ..plain(multiline) };
        let got = events(config, &std::fs::read(path("log")).unwrap());
        let text = |case: &Value| case["log"].as_str().unwrap().trim_end_matches('\n').to_owned();
        let want: Vec<String> = cases(&path("expected.jsonl")).iter().map(text).collect();
        report.check(name, &got, &want);
    }
    finish("docker files", &report);
}

#[test]
fn traces_alone_are_one_event() {
    let Some(folder) = folder() else { return println!("KINETAIL_CORPORA is not set: nothing was checked") };
    let mut report = Report::default();
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder.join("multiline/traces")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let language = presets(name.split('-').next().unwrap()).unwrap();
        let rule = rule(Rule::Presets(Presets::new(language)), 1000);
        let end = text.trim_end_matches('\n').to_owned();
        report.check(&name, &events(plain(rule), text.as_bytes()), &[end]);
    }
    finish("traces", &report);
}

#[test]
fn files_in_other_encodings() {
    let Some(folder) = folder() else { return println!("KINETAIL_CORPORA is not set: nothing was checked") };
    let folder = folder.join("encodings");
    let mut report = Report::default();
    for (name, label) in [
        ("big5", "big5"),
        ("sjis", "shift_jis"),
        ("uhc", "euc-kr"),
        ("win1250", "windows-1250"),
        ("win1252", "windows-1252"),
        ("win1253", "windows-1253"),
        ("win1254", "windows-1254"),
        ("win866", "ibm866"),
    ] {
        let encoding = Encoding::of_label(label).unwrap();
        let file = std::fs::read(folder.join(format!("generic_enc_{name}.log"))).unwrap();
        let got = events(LineConfig { encoding, ..plain(None) }, &file);
        let path = folder.join(format!("generic_enc_{name}.expected.jsonl"));
        if path.exists() {
            let want: Vec<String> = cases(&path).iter().map(|c| c["log"].as_str().unwrap().to_owned()).collect();
            // Some lists lack the last line.
            assert!(got.len() - want.len() <= 1, "{name}");
            report.check(name, &got[..want.len()], &want);
        } else {
            let Encoding::Fixed(standard) = encoding else { unreachable!("it has a label") };
            let (text, _, replaced) = standard.decode(&file);
            assert!(!replaced, "{name}");
            report.check(name, &got, &text.lines().map(str::to_owned).collect::<Vec<_>>());
        }
    }
    for name in ["unicode_c.log", "unicode_be_c.log", "vector-utf-16le.log"] {
        let file = std::fs::read(folder.join(name)).unwrap();
        let got = events(plain(None), &file);
        let units = file.chunks_exact(2).map(|unit| {
            let unit = [unit[0], unit[1]];
            if name.contains("_be_") { u16::from_be_bytes(unit) } else { u16::from_le_bytes(unit) }
        });
        let text: String = char::decode_utf16(units.skip(1)).map(Result::unwrap).collect();
        report.check(name, &got, &text.lines().map(str::to_owned).collect::<Vec<_>>());
        let expected = folder.join(format!("{name}.expected.json"));
        if expected.exists() {
            let want: Value = serde_json::from_str(&std::fs::read_to_string(expected).unwrap()).unwrap();
            report.check(name, &got, &strings(&want));
        }
    }
    finish("encodings", &report);
}

/// Whole folders of real files: nothing panics, and every line is an event.
#[test]
fn real_files_pass_whole() {
    let Some(folder) = folder() else { return println!("KINETAIL_CORPORA is not set: nothing was checked") };
    let (mut open, mut files) = (vec![folder.join("raw")], 0);
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let file = std::fs::read(&path).unwrap();
        let all = rule(Rule::Presets(Presets::new(Preset::ALL.map(|(_, preset)| preset))), 1000);
        let joined = events(plain(all), &file).join("\n");
        let single = events(plain(None), &file).join("\n");
        // Where lines are joined, a carriage return before the newline goes.
        assert_eq!(joined.replace('\r', ""), single.replace('\r', ""), "{}", path.display());
        files += 1;
    }
    println!("{files} files");
}

#[expect(clippy::print_stdout, reason = "this is for the one who asked for it")]
fn finish(what: &str, report: &Report) {
    let skipped: usize = report.skipped.values().sum();
    println!("{what}: {} passed, {skipped} skipped, {} failed", report.passed, report.failed.len());
    for (why, count) in &report.skipped {
        println!("  skipped {count}: {why}");
    }
    assert!(report.failed.is_empty(), "{}", report.failed.join("\n"));
}
