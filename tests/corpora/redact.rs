//! Redaction: other projects' cases, and how little of real logs is taken for a secret that is none.

use std::path::{Path, PathBuf};

use kinetail::event::{Event, Value};
use kinetail::transform::{Context, Pipeline, Preset, Redact, Transform, With};

/// What the sources call a filter, and the pattern that is written for it here.
const FILTERS: [(&str, &str); 1] = [("us_social_security_number", r"\b\d{3}-\d{2}-\d{4}\b")];

/// Lines of the real logs in which a preset may find something. They hold no keys and no tokens; the cards and passwords were looked at one by one.
const MOST: [(&str, Preset, usize); 6] = [
    ("aws_keys", Preset::AwsKeys, 0),
    ("bearer", Preset::Bearer, 0),
    ("private_key", Preset::PrivateKey, 0),
    ("tokens", Preset::Tokens, 0),
    ("card", Preset::Card, 1),
    ("passwords", Preset::Passwords, 6),
];

fn pipeline(presets: &[Preset], patterns: &[String], mask: &str) -> Pipeline {
    let redact =
        Redact::new(presets, patterns, Vec::new(), With::Mask(mask.to_owned())).expect("the patterns are right");
    Pipeline::new(vec![Transform::Redact(Box::new(redact))])
}

fn redacted(pipeline: &Pipeline, text: &str) -> String {
    let mut event = Event::default();
    event.push("message", Value::text(text));
    pipeline.apply(&mut pipeline.state(1), &mut event, &Context::default(), &());
    event.get("message").expect("no transform takes it out").as_str().into_owned()
}

#[test]
fn other_projects_cases() {
    let Some(folder) = super::folder() else { return println!("KINETAIL_CORPORA is not set: nothing was checked") };
    assert_eq!(passed(&super::cases(&folder.join("cases/redact.jsonl"))), 2);
}

/// How many cases are of what there is here, each of which has to come out as its source has it.
pub(super) fn passed(cases: &[serde_json::Value]) -> usize {
    let mut passed = 0;
    for case in cases {
        let filters = &case["options"]["filters"][0];
        let filter = filters.as_str().or_else(|| filters["patterns"][0].as_str()).unwrap_or_default();
        // Their hash has no key, and their errors are of settings that are called otherwise.
        if case["expect"] != "ok" || case["options"].get("redactor").is_some() {
            continue;
        }
        let known = FILTERS.iter().find(|(name, _)| *name == filter).map_or(filter, |(_, pattern)| pattern);
        let pipeline = pipeline(&[], &[known.to_owned()], "[REDACTED]");
        assert_eq!(redacted(&pipeline, case["input"].as_str().unwrap_or_default()), case["expected"], "{}", case["id"]);
        passed += 1;
    }
    passed
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("it can be listed").path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

#[test]
fn little_of_real_logs_is_taken_for_a_secret() {
    let Some(folder) = super::folder() else { return println!("KINETAIL_CORPORA is not set: nothing was checked") };
    let mut all = Vec::new();
    files(&folder.join("raw"), &mut all);
    let logs: Vec<Vec<u8>> = all.iter().map(|path| std::fs::read(path).unwrap()).collect();
    let lines: Vec<_> = logs.iter().flat_map(|log| log.split(|b| *b == b'\n')).map(String::from_utf8_lossy).collect();
    for (name, preset, most) in MOST {
        let pipeline = pipeline(&[preset], &[], With::MASK);
        let found: Vec<_> = lines.iter().filter(|line| redacted(&pipeline, line) != ***line).collect();
        assert!(found.len() <= most, "{name}: {} of {} lines: {found:#?}", found.len(), lines.len());
    }
}
