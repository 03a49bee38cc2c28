//! `kinetail test`: runs lines through a source's own line, and compares what comes out with what a file expects. It reads no log and sends nothing.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;

use super::{EXIT_FAILED, EXIT_USAGE, answer, complain};
use crate::clock;
use crate::config::{Document, Layers, Problems, SourceConfig, plain_yaml};
use crate::kinesis::aggregate::max_event;
use crate::kinesis::facts::DEFAULT_RECORD_LIMIT;
use crate::line::{LineBuilder, Lines};
use crate::source::file::Group;

/// The machine that `add.host` names here, so that a test is the same everywhere.
const HOST: &str = "test-host";
/// The file that lines are from, unless a case says it.
const PATH: &str = "/test.log";

/// Which files of cases are run.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct TestArgs {
    /// Files of cases (YAML): `config` (a path) and `source` (a name), or `source` (the settings of one); `cases`: a list of `name`, `input` or `lines`,
    /// and `expect` (a list of events), `dropped: true` or `error: true`
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

/// Why cases cannot be run.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Settings(#[from] Problems),
    #[error("{file}: {reason}; see `kinetail test --help`")]
    Shape { file: String, reason: String },
    #[error("{file}: source: there is no source \"{name}\" in {config}; the sources are {known}")]
    Source { file: String, name: String, config: String, known: String },
    #[error("{file}: cases[{index}]: {reason}")]
    Case { file: String, index: usize, reason: &'static str },
}

/// A file of cases.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Suite {
    config: Option<PathBuf>,
    source: Option<Value>,
    cases: Vec<Case>,
}

/// Lines, and what is to become of them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: Option<String>,
    /// Text of one or more lines.
    input: Option<String>,
    /// The same as a list of lines.
    lines: Option<Vec<String>>,
    /// The path of the file that they are from.
    path: Option<String>,
    expect: Option<Vec<Value>>,
    dropped: Option<bool>,
    error: Option<bool>,
    /// The events have no other fields than those.
    #[serde(default)]
    exact: bool,
}

/// What came out of a case.
#[derive(Debug)]
struct Outcome {
    events: Vec<Value>,
    parse_errors: u64,
}

/// Runs the cases of the files, and tells of those that fail.
pub(super) fn test(args: &TestArgs) -> ExitCode {
    let (mut passed, mut failed) = (0_usize, 0_usize);
    let mut report = String::new();
    for file in &args.files {
        match run(file, &mut report) {
            Ok((good, bad)) => {
                passed += good;
                failed += bad;
            }
            Err(error) => return complain(&error, EXIT_USAGE),
        }
    }
    // Whoever closed the pipe has seen enough.
    io::stdout().lock().write_all(report.as_bytes()).ok();
    let code = answer(&format_args!("{passed} passed, {failed} failed"));
    if failed == 0 { code } else { ExitCode::from(EXIT_FAILED) }
}

fn run(file: &Path, report: &mut String) -> Result<(usize, usize), Error> {
    let name = file.display().to_string();
    let suite = plain_yaml(&Document::read(file)?)?;
    let suite: Suite = serde_json::from_value(suite)
        .map_err(|error| Error::Shape { file: name.clone(), reason: error.to_string() })?;
    let group = Group::new(&source(file, &name, &suite)?, HOST);
    let (mut passed, mut failed) = (0, 0);
    for (index, case) in suite.cases.iter().enumerate() {
        let differences = check(&group, case).map_err(|reason| Error::Case { file: name.clone(), index, reason })?;
        if differences.is_empty() {
            passed += 1;
            continue;
        }
        failed += 1;
        let title = case.name.as_deref().or(case.input.as_deref()).unwrap_or_default();
        // Text takes every write.
        writeln!(report, "FAIL {name}: cases[{index}]: {title}").ok();
        for difference in differences {
            writeln!(report, "  {difference}").ok();
        }
    }
    Ok((passed, failed))
}

/// The source whose lines they are. Variables do not count: a test is the same wherever it runs.
fn source(file: &Path, name: &str, suite: &Suite) -> Result<SourceConfig, Error> {
    let shape = |reason: &str| Error::Shape { file: name.to_owned(), reason: reason.to_owned() };
    let (document, wanted) = match (&suite.config, &suite.source) {
        (Some(config), wanted) => {
            let path = file.parent().unwrap_or(Path::new("")).join(config);
            let wanted =
                wanted.as_ref().map(|w| w.as_str().ok_or_else(|| shape("source is no name; with config it is")));
            (Document::read(&path)?, wanted.transpose()?)
        }
        (None, Some(settings @ Value::Object(_))) => {
            let text = serde_json::json!({ "sources": [settings] }).to_string();
            (Document { name: name.to_owned(), text }, None)
        }
        (None, _) => return Err(shape("it has neither config, a path, nor source, the settings of one")),
    };
    let config = document.name.clone();
    let sources = SourceConfig::load_all(&Layers { file: Some(document), ..Layers::default() })?;
    let Some(wanted) = wanted else {
        return sources.into_iter().next().ok_or_else(|| shape("the configuration has no source"));
    };
    let known = sources.iter().map(|source| source.name.as_str()).collect::<Vec<_>>().join(", ");
    let found = sources.into_iter().find(|source| source.name == wanted);
    found.ok_or_else(|| Error::Source { file: name.to_owned(), name: wanted.to_owned(), config, known })
}

/// How what comes out of a case differs from what it expects; or what is wrong with the case.
fn check(group: &Group, case: &Case) -> Result<Vec<String>, &'static str> {
    let text = match (&case.input, &case.lines) {
        (Some(input), None) => input.clone(),
        (None, Some(lines)) => lines.join("\n"),
        (None, None) => return Err("has no input and no lines; write one of them"),
        (Some(_), Some(_)) => return Err("has both input and lines; write one of them"),
    };
    let wants = [case.expect.is_some(), case.dropped.is_some(), case.error.is_some()];
    if wants.iter().all(|wanted| !wanted) {
        return Err("expects nothing; write expect, dropped: true or error: true");
    }
    let outcome = outcome(group, &text, case.path.as_deref().unwrap_or(PATH));
    let mut differences = Vec::new();
    if let Some(wanted) = case.error
        && wanted != (outcome.parse_errors > 0)
    {
        let found = if wanted { "no line was refused" } else { "a line was refused" };
        differences.push(format!("error: {wanted} was expected, and {found} by {}", group.parser()));
    }
    if let Some(wanted) = case.dropped
        && wanted != outcome.events.is_empty()
    {
        differences.push(format!("dropped: {wanted} was expected, and there are {} events", outcome.events.len()));
        differences.extend(outcome.events.iter().map(|event| format!("+ {event}")));
    }
    if let Some(expected) = &case.expect {
        compare_all(expected, &outcome.events, case.exact, &mut differences);
    }
    Ok(differences)
}

fn compare_all(expected: &[Value], got: &[Value], exact: bool, differences: &mut Vec<String>) {
    if expected.len() != got.len() {
        differences.push(format!("{} events were expected, and there are {}", expected.len(), got.len()));
    }
    for index in 0..expected.len().max(got.len()) {
        match (expected.get(index), got.get(index)) {
            (Some(expected), Some(got)) => compare(&format!("event {}", index + 1), expected, got, exact, differences),
            (Some(expected), None) => differences.push(format!("- {expected}")),
            (None, Some(got)) => differences.push(format!("+ {got}")),
            (None, None) => {}
        }
    }
}

/// Adds what is different, field by field.
fn compare(place: &str, expected: &Value, got: &Value, exact: bool, differences: &mut Vec<String>) {
    let (Value::Object(wanted), Value::Object(found)) = (expected, got) else {
        if expected != got {
            differences.push(format!("{place}:"));
            differences.push(format!("- {expected}"));
            differences.push(format!("+ {got}"));
        }
        return;
    };
    for (name, value) in wanted {
        let place = format!("{place}: {name}");
        match found.get(name) {
            Some(found) => compare(&place, value, found, exact, differences),
            None => differences.push(format!("{place}: is missing: - {value}")),
        }
    }
    if exact {
        let others = found.iter().filter(|(name, _)| !wanted.contains_key(*name));
        differences.extend(others.map(|(name, value)| format!("{place}: {name}: was not expected: + {value}")));
    }
}

/// What the source makes of a text.
fn outcome(group: &Group, text: &str, path: &str) -> Outcome {
    let added = group.added_with_id(group.added(path), 0);
    let mut line = LineBuilder::new(Arc::clone(&group.line), added, "test".to_owned(), 0, 0);
    let mut lines = Lines::default();
    lines.shaping.read_at = clock::unix_nanos();
    let (limit, bytes) = (max_event(DEFAULT_RECORD_LIMIT), text.as_bytes());
    let mut events = Vec::new();
    let mut parse_errors = 0;
    let mut take = |lines: &mut Lines, chunk: &[u8]| {
        for event in lines.events.drain(..) {
            let from = if event.rendered { &lines.rendered } else { chunk };
            let bytes = &from[event.start as usize..event.end as usize];
            let text = || Value::String(String::from_utf8_lossy(bytes).into_owned());
            events.push(serde_json::from_slice(bytes).unwrap_or_else(|_| text()));
        }
        parse_errors += std::mem::take(&mut lines.counts).parse_errors;
        lines.rendered.clear();
        lines.more.clear();
    };
    let mut at = 0;
    loop {
        let used = line.advance(&bytes[at..], at as u64, limit, Instant::now(), &mut lines);
        take(&mut lines, &bytes[at..]);
        at += used;
        if !std::mem::take(&mut lines.capped) {
            break;
        }
    }
    line.flush(&bytes[at..], at as u64, limit, &mut lines);
    take(&mut lines, &bytes[at..]);
    Outcome { events, parse_errors }
}
