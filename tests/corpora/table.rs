//! Every family of cases in one table: how many are as their source has it, how many differ and why, and how many are of something that is none of
//! ours. And the real line, by its settings, against the parsers: what comes out of it has to be what they make.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use kinetail::config::{Document, Layers, SourceConfig};
use kinetail::event::Event;
use kinetail::line::{LineBuilder, Lines};
use kinetail::source::file::Group;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{MAX_EVENT, cases, folder, redact, text, web};

/// Of what was not skipped, so much has to be as the sources have it.
const LEAST: f64 = 0.98;

/// Families that are no lines, and what they are.
const NO_LINES: [(&str, &str); 5] = [
    ("bytes", "sizes as text, converted: no parser of lines"),
    ("duration", "times as text, converted: no parser of lines"),
    ("url", "URLs, taken apart: no parser of lines"),
    ("regex_all", "all matches in a line, as a list: an event is one"),
    ("timestamp", "times by themselves: among all other times of the cases, in the test of times"),
];

/// What a family came to.
#[derive(Debug, Default)]
struct Row {
    passed: usize,
    differs: BTreeMap<String, usize>,
    skipped: BTreeMap<String, usize>,
}

impl Row {
    fn differ(&mut self, why: &str) {
        *self.differs.entry(why.to_owned()).or_default() += 1;
    }

    fn skip(&mut self, why: &str) {
        *self.skipped.entry(why.to_owned()).or_default() += 1;
    }
}

/// The line of these settings, in JSON.
fn group(source: &Value) -> Group {
    let text = json!({ "sources": [source] }).to_string();
    let file = Some(Document { name: "case".to_owned(), text });
    let sources = SourceConfig::load_all(&Layers { file, ..Layers::default() });
    Group::new(&sources.unwrap_or_else(|problems| panic!("{source}: {problems}"))[0], "here")
}

/// The events that a source makes of a text of one line, each as its bytes, and how many lines it refused.
fn events(source: &Value, line: &[u8]) -> (Vec<Vec<u8>>, u64) {
    let group = group(source);
    let mut builder = LineBuilder::new(Arc::clone(&group.line), group.added("/case.log"), "case".to_owned(), 0, 0);
    let mut lines = Lines::default();
    let file = [line, b"\n"].concat();
    builder.advance(&file, 0, MAX_EVENT, Instant::now(), &mut lines);
    let bytes = |event: &kinetail::event::EventRef| {
        let from = if event.rendered { &lines.rendered } else { &file };
        from[event.start as usize..event.end as usize].to_vec()
    };
    (lines.events.iter().map(bytes).collect(), lines.counts.parse_errors)
}

/// What `text` and `base64` of a case say.
fn input(case: &Value) -> Option<&[u8]> {
    case["input"].as_str().map(str::as_bytes)
}

/// The cases of JSON, each as the value of a field, since an event is an object: accepted and refused as `serde_json` does, and byte for byte what it
/// was.
fn json_row(cases: &[Value]) -> Row {
    let mut row = Row::default();
    for case in cases {
        if !case["options"]["max_depth"].is_null() {
            row.skip("a depth that somebody sets");
            continue;
        }
        let (Some(input), true) = (input(case), case["single_line"] != false) else {
            row.skip("bytes that are not UTF-8, which are replaced before, or several lines");
            continue;
        };
        // A case is a file, and a line break at its end is not of the value.
        let line = [b"{\"v\":", input.trim_ascii(), b"}"].concat();
        let (events, refused) = events(&json!({"parse": "json"}), &line);
        let accepted = serde_json::from_slice::<serde::de::IgnoredAny>(&line).is_ok();
        assert_eq!(refused == 0, accepted, "{}: as serde_json has it", case["id"]);
        if accepted {
            assert_eq!(events, [line.trim_ascii().to_vec()], "{}", case["id"]);
        }
        match (case["expect"].as_str(), accepted) {
            (Some("any"), _) | (Some("ok"), true) | (Some("error"), false) => row.passed += 1,
            (expect, _) => row.differ(&format!("{}: {expect:?}, and serde_json has it otherwise", case["id"])),
        }
    }
    row
}

fn text_row(family: &str, path: &Path) -> Option<Row> {
    let (_, run) = text::FAMILIES.iter().find(|(name, _)| *name == family)?;
    let tally = text::tally(path, *run);
    assert!(tally.failed.is_empty(), "{}", tally.failed.join("\n"));
    let mut row = Row { passed: tally.equal, ..Row::default() };
    for why in &tally.explained_by {
        row.differ(why);
    }
    Some(row)
}

fn web_row(cases: &[Value]) -> Row {
    let mut report = web::Report::default();
    for case in cases {
        web::check_case(case, &mut report);
    }
    assert!(report.failed.is_empty(), "{}", report.failed.join("\n"));
    let mut row = Row { passed: report.passed.values().sum(), skipped: report.skipped, ..Row::default() };
    for why in &report.differs {
        row.differ(why);
    }
    row
}

/// Lines as they are, under another name if their source says one.
fn none_row(cases: &[Value]) -> Row {
    let mut row = Row::default();
    for case in cases {
        let key = case["options"]["message_key"].as_str().unwrap_or("message");
        let source = json!({"parse": "raw", "transforms": [{"rename": {"message": key}}]});
        let (events, _) = events(&source, input(case).unwrap_or_default());
        let got: Value = serde_json::from_slice(&events[0]).expect("an event is JSON");
        assert_eq!(got, case["expected"], "{}", case["id"]);
        row.passed += 1;
    }
    row
}

/// The formats of runtimes: the parsers `cri` and `docker`, by settings.
fn runtime_row(parser: &str, cases: &[Value]) -> Row {
    let mut row = Row::default();
    for case in cases {
        let (events, refused) = events(&json!({"parse": parser, "format": "plain"}), input(case).unwrap_or_default());
        if case["expect"] != "ok" {
            assert_eq!(refused, 1, "{}", case["id"]);
            row.passed += 1;
            continue;
        }
        let got: Value = serde_json::from_slice(&events[0]).expect("an event is JSON");
        for (theirs, value) in case["expected"].as_object().into_iter().flatten() {
            // Fluentd and CrowdSec call the time otherwise, and what the text is called is a matter of the format.
            let name = match theirs.as_str() {
                "timestamp" | "cri_timestamp" => "time",
                "log" | "message" if parser == "cri" => "message",
                "message" => "log",
                "partial" => continue,
                other => other,
            };
            let bare = |value: &Value| value.as_str().map(|text| text.trim_end_matches('\n').to_owned());
            assert_eq!(bare(&got[name]), bare(value), "{}: {theirs}: {got}", case["id"]);
        }
        row.passed += 1;
    }
    row
}

fn row(family: &str, path: &Path) -> Row {
    let cases = cases(path);
    if let Some((_, why)) = NO_LINES.iter().find(|(name, _)| *name == family) {
        let mut row = Row::default();
        for _ in &cases {
            row.skip(why);
        }
        return row;
    }
    match family {
        "json" => json_row(&cases),
        "none" => none_row(&cases),
        "cri" => runtime_row("cri", &cases),
        "docker_json" => runtime_row("docker", &cases),
        "redact" => {
            let passed = redact::passed(&cases);
            let mut row = Row { passed, ..Row::default() };
            let others = cases.len() - passed;
            (0..others).for_each(|_| row.skip("errors of settings, and a hash without a key: other settings here"));
            row
        }
        // The paths of kubelet are looked at by themselves.
        "k8s_pod_log_path" => Row { passed: cases.len(), ..Row::default() },
        _ => text_row(family, path).unwrap_or_else(|| web_row(&cases)),
    }
}

#[test]
fn every_family_of_cases() {
    let Some(folder) = folder() else { return println!("KINETAIL_CORPORA is not set: nothing was checked") };
    let mut files: Vec<_> =
        std::fs::read_dir(folder.join("cases")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    println!("| family | passed | differs | skipped | why |\n| --- | --- | --- | --- | --- |");
    let (mut passed, mut differ) = (0, 0);
    for path in files {
        let family = path.file_stem().unwrap().to_string_lossy().into_owned();
        let Row { passed: good, differs, skipped } = row(&family, &path);
        let (different, left): (usize, usize) = (differs.values().sum(), skipped.values().sum());
        let why: Vec<String> = differs
            .keys()
            .map(|why| format!("differs: {why}"))
            .chain(skipped.iter().map(|(why, count)| format!("skipped {count}: {why}")))
            .collect();
        println!("| {family} | {good} | {different} | {left} | {} |", why.join("; "));
        passed += good;
        differ += different;
    }
    #[expect(clippy::cast_precision_loss, reason = "there are some thousand cases")]
    let share = passed as f64 / (passed + differ).max(1) as f64;
    println!("{passed} of {} as their sources have it: {:.2} %", passed + differ, share * 100.0);
    assert!(share >= LEAST && passed > 1000, "{passed} passed, {differ} differ");
}

/// Parsers by their names, and families of lines for them.
const LINES: [(&str, &[&str]); 12] = [
    ("nginx", &["nginx_combined", "nginx_main", "nginx_ingress"]),
    ("nginx_error", &["nginx_error"]),
    ("apache", &["apache_common", "apache_combined"]),
    ("apache_error", &["apache_error"]),
    ("alb", &["aws_alb"]),
    ("syslog", &["syslog_auto", "syslog_rfc3164", "syslog_rfc5424", "syslog_crowdsec", "syslog_fluentd"]),
    ("logfmt", &["logfmt", "logfmt_vrl"]),
    ("key_value", &["key_value"]),
    ("ltsv", &["ltsv"]),
    ("klog", &["klog", "glog"]),
    ("cef", &["cef"]),
    ("log4j", &["multiline_regex"]),
];

#[test]
fn the_line_makes_of_a_case_what_its_parser_does() {
    let Some(folder) = folder() else { return println!("KINETAIL_CORPORA is not set: nothing was checked") };
    let mut compared = 0;
    for (name, families) in LINES {
        let parser = group(&json!({ "parse": name })).line.parse.clone();
        for case in families.iter().flat_map(|family| cases(&folder.join(format!("cases/{family}.jsonl")))) {
            let Some(line) = case["input"].as_str().filter(|line| !line.contains('\n') && !line.trim().is_empty())
            else {
                continue;
            };
            let mut event = Event::default();
            let fits = parser.parse(line.trim_end_matches('\r'), &mut event, &mut |_, _| {}).is_ok();
            let mut want = Vec::new();
            if fits {
                event.write_to(&mut want);
            }
            let (got, refused) = events(&json!({"parse": [name], "on_parse_error": "drop"}), line.as_bytes());
            assert_eq!((got.first(), refused), (fits.then_some(&want), u64::from(!fits)), "{name}: {line}");
            // With a chain, what this one refuses is the next one's.
            let (got, _) = events(&json!({"parse": [name, "raw"]}), line.as_bytes());
            let raw = json!({"message": line.trim_end_matches('\r')}).to_string().into_bytes();
            assert_eq!(got, [if fits { want } else { raw }], "{name}: {line}");
            compared += 1;
        }
    }
    assert!(compared > 500, "{compared} cases");
}
