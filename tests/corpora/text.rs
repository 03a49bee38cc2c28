//! Cases of the text formats: logfmt, keys and values, LTSV, CSV and TSV, CEF, klog and glog, syslog. The sources' settings become ours, and our fields
//! become the sources'; what is mapped to what stands at each family's function.

use std::collections::BTreeMap;
use std::path::Path;

use kinetail::event::Event;
use kinetail::parse::cef::Cef;
use kinetail::parse::csv::{self, Csv};
use kinetail::parse::key_value::{self, KeyValue, Whitespace};
use kinetail::parse::klog::Klog;
use kinetail::parse::logfmt::Logfmt;
use kinetail::parse::ltsv::{self, Ltsv};
use kinetail::parse::syslog::{FACILITIES, Format, SEVERITIES, Syslog};
use regex::Regex;
use serde_json::{Map, Value, json};

/// Where we differ on purpose, and why.
const DIFFERENT: [(&str, &str); 2] = [
    (
        "causes different result/128",
        "the same line as /129 with the other answer: a word without a colon is the message, not a program",
    ),
    (
        "rfc5424_space_empty_message/159",
        "the same line as /160 with the other answer: a space before no message is taken",
    ),
];

/// The families, and how each makes its case's fields, under the source's names, of the case and a line.
pub(super) const FAMILIES: [(&str, Run); 14] = [
    ("logfmt", logfmt),
    ("logfmt_vrl", plain_logfmt),
    ("key_value", key_value),
    ("ltsv", ltsv),
    ("csv", csv),
    ("tsv", csv),
    ("cef", cef),
    ("klog", klog),
    ("glog", klog),
    ("syslog_auto", syslog_vrl),
    ("syslog_rfc3164", syslog_go),
    ("syslog_rfc5424", syslog_go),
    ("syslog_fluentd", syslog_fluentd),
    ("syslog_crowdsec", syslog_crowdsec),
];

pub(super) type Run = fn(&Value, &str) -> Result<Fields, String>;
pub(super) type Fields = Map<String, Value>;

/// What became of a family's cases.
#[derive(Debug, Default)]
pub(super) struct Tally {
    cases: usize,
    pub(super) equal: usize,
    explained: usize,
    /// Why, of each of these.
    pub(super) explained_by: Vec<&'static str>,
    pub(super) failed: Vec<String>,
}

/// Every case of a text format gives its source's fields, or there is a reason.
#[test]
fn text_formats() {
    let Some(folder) = std::env::var_os("KINETAIL_CORPORA") else {
        return println!("KINETAIL_CORPORA is not set");
    };
    let mut failed = Vec::new();
    for (family, run) in FAMILIES {
        let tally = tally(&Path::new(&folder).join("cases").join(format!("{family}.jsonl")), run);
        println!("{family}: {} of {} equal, {} explained", tally.equal, tally.cases, tally.explained);
        failed.extend(tally.failed);
    }
    assert!(failed.is_empty(), "{} cases:\n{}", failed.len(), failed.join("\n"));
}

pub(super) fn tally(path: &Path, run: Run) -> Tally {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut tally = Tally::default();
    for case in text.lines().map(|line| serde_json::from_str::<Value>(line).expect("a case")) {
        let id = case["id"].as_str().unwrap_or_default();
        tally.cases += 1;
        let input = input(&case);
        let got = run(&case, &input);
        match difference(&case, got) {
            None => tally.equal += 1,
            Some(why) => match DIFFERENT.iter().find(|(part, _)| id.contains(part)) {
                Some((_, reason)) => {
                    tally.explained += 1;
                    tally.explained_by.push(*reason);
                }
                None => tally.failed.push(format!("{id}: {input:?}\n  {why}")),
            },
        }
    }
    tally
}

/// The line as parsers get it: bytes that are not UTF-8 are replaced before.
fn input(case: &Value) -> String {
    match case["input_b64"].as_str() {
        Some(text) => lossy(text),
        None => case["input"].as_str().unwrap_or_default().to_owned(),
    }
}

fn lossy(base64: &str) -> String {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = base64.bytes().filter_map(|b| alphabet.iter().position(|a| *a == b));
    let bits: Vec<bool> = digits.flat_map(|digit| (0..6).rev().map(move |bit| digit >> bit & 1 == 1)).collect();
    let bytes: Vec<u8> =
        bits.chunks_exact(8).map(|byte| byte.iter().fold(0, |byte, bit| byte << 1 | u8::from(*bit))).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn difference(case: &Value, got: Result<Fields, String>) -> Option<String> {
    let got = match (case["expect"].as_str(), got) {
        (Some("any"), _) | (Some("error"), Err(_)) => return None,
        (Some("error"), Ok(got)) => return Some(format!("should be refused, became {}", Value::Object(got))),
        (_, Err(why)) => return Some(format!("was refused: {why}")),
        (_, Ok(got)) => got,
    };
    let want = wanted(case);
    let exact = case["match"] == "exact";
    let same = want.iter().all(|(name, value)| got.get(name).unwrap_or(&Value::Null) == value)
        && (!exact || got.keys().all(|name| want.contains_key(name)));
    (!same).then(|| format!("got  {}\n  want {}", Value::Object(got), Value::Object(want)))
}

/// What the source yields. Logfmt is a list of pairs, and CSV without names a list of values; the rest are fields, with times in one form.
fn wanted(case: &Value) -> Fields {
    let expected = &case["expected"];
    if let Some(records) = expected["records"].as_array() {
        return records.iter().enumerate().map(|(n, pairs)| (n.to_string(), pairs_of(pairs))).collect();
    }
    if let Some(values) = expected.as_array() {
        return values.iter().enumerate().map(|(n, value)| (format!("column{}", n + 1), value.clone())).collect();
    }
    let mut fields = expected.as_object().cloned().unwrap_or_default();
    for (name, value) in &mut fields {
        if let Some(time) = value["$timestamp"].as_str().or(value["$timestamp_current_year"].as_str()) {
            *value = Value::from(time);
        }
        if let Some(text) = value.as_str().filter(|_| name == "timestamp") {
            *value = Value::from(utc(text));
        }
    }
    if let Some(message) = fields.remove("message_b64") {
        fields.insert("message".to_owned(), Value::from(lossy(message.as_str().unwrap_or_default())));
    }
    // A byte order mark says what a message is written in; we take it off.
    if let Some(message) = fields.get("message").and_then(Value::as_str).and_then(|m| m.strip_prefix('\u{feff}')) {
        let message = Value::from(message);
        fields.insert("message".to_owned(), message);
    }
    fields
}

/// Pairs as our fields: the values of a key that repeats in an array. A source has no value where we have `true`.
fn pairs_of(pairs: &Value) -> Value {
    let mut fields: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for pair in pairs.as_array().expect("a case of this form") {
        let value = if pair[1].is_null() { json!("") } else { pair[1].clone() };
        fields.entry(pair[0].as_str().unwrap_or_default().to_owned()).or_default().push(value);
    }
    let one = |mut values: Vec<Value>| if values.len() == 1 { values.remove(0) } else { Value::Array(values) };
    fields.into_iter().map(|(name, values)| (name, one(values))).collect::<Fields>().into()
}

fn fields<'a>(
    line: &'a str,
    parse: impl Fn(&'a str, &mut Event<'a>) -> Result<(), &'static str>,
) -> Result<Fields, String> {
    let mut event = Event::default();
    parse(line, &mut event)?;
    let mut json = Vec::new();
    event.write_to(&mut json);
    Ok(serde_json::from_slice(&json).expect("an event is an object"))
}

/// A record a line, as a tailer has it. `true` is what we say of a key without a value, and `""` or nothing what the sources say.
fn logfmt(case: &Value, input: &str) -> Result<Fields, String> {
    let mut records = Fields::new();
    for (n, line) in input.lines().enumerate() {
        let mut record = Value::Object(plain_logfmt(case, line)?);
        for value in record.as_object_mut().expect("a case of this form").values_mut() {
            for value in value.as_array_mut().map_or(&mut [][..], |a| &mut a[..]) {
                *value = if *value == true { json!("") } else { value.clone() };
            }
            if *value == true {
                *value = json!("");
            }
        }
        records.insert(n.to_string(), record);
    }
    Ok(records)
}

fn plain_logfmt(_: &Value, line: &str) -> Result<Fields, String> {
    fields(line, |line, event| Logfmt::default().parse(line, event))
}

fn text(option: &Value, or: &str) -> String {
    option.as_str().unwrap_or(or).to_owned()
}

/// The Collector's parser has no keys without values; its `pair_delimiter` is our `field_delimiter`.
fn key_value(case: &Value, line: &str) -> Result<Fields, String> {
    let options = &case["options"];
    let parser = KeyValue::new(&key_value::Options {
        key_value_delimiter: text(&options["key_value_delimiter"], options["delimiter"].as_str().unwrap_or("=")),
        field_delimiter: text(&options["field_delimiter"], options["pair_delimiter"].as_str().unwrap_or(" ")),
        whitespace: if options["whitespace"] == "strict" { Whitespace::Strict } else { Whitespace::Lenient },
        standalone_keys: options["accept_standalone_key"].as_bool().unwrap_or(case["source"] != "otel-contrib"),
        ..key_value::Options::default()
    })?;
    fields(line, |line, event| parser.parse(line, event))
}

/// Values that Fluentd is told to take for nothing, as a list.
fn null_values(options: &Value) -> Vec<String> {
    let pattern = options["null_value_pattern"].as_str().map(|p| p.trim_start_matches("^(").trim_end_matches(")$"));
    let mut nulls: Vec<String> = pattern.into_iter().flat_map(|p| p.split('|')).map(str::to_owned).collect();
    if options["null_empty_string"] == true {
        nulls.push(String::new());
    }
    nulls
}

/// Fluentd takes the time out of a record: here it is compared with what the case says of it, and taken out.
fn take_time(case: &Value, mut got: Fields, name: &str) -> Result<Fields, String> {
    if case["expected"].get(name).is_some() {
        return Ok(got);
    }
    let (time, text) = (got.remove(name), &case["time"]["text"]);
    if text.is_string() && case["time"]["format"] == case["options"]["time_format"] && time.as_ref() != Some(text) {
        return Err(format!("the time was {time:?}"));
    }
    Ok(got)
}

/// Fluentd drops what has no label.
fn ltsv(case: &Value, line: &str) -> Result<Fields, String> {
    let options = &case["options"];
    let pattern = options["delimiter_pattern"].as_str().map(|p| Regex::new(p.trim_matches('/')).expect("a pattern"));
    let parser = Ltsv::new(ltsv::Options {
        delimiter: text(&options["delimiter"], "\t"),
        delimiter_pattern: pattern,
        label_delimiter: text(&options["label_delimiter"], ":"),
        null_values: null_values(options),
        keep_unlabelled: false,
        ..ltsv::Options::default()
    })?;
    take_time(case, fields(line, |line, event| parser.parse(line, event))?, "time")
}

/// Ruby's reader of CSV, below Fluentd's, has nothing for a value that is empty and not quoted. Vector reads the first record of several.
fn csv(case: &Value, input: &str) -> Result<Fields, String> {
    let options = &case["options"];
    let keys = text(&options["keys"], "");
    let columns = serde_json::from_str(&keys)
        .unwrap_or_else(|_| keys.split(',').filter(|key| !key.is_empty()).map(str::to_owned).collect());
    let tsv = case["parser"] == "tsv";
    let base = if tsv { csv::Options::tsv(columns) } else { csv::Options::csv(columns) };
    let mut null_values = null_values(options);
    if case["source"] == "fluentd" && !tsv {
        null_values.push(String::new());
    }
    let parser =
        Csv::new(csv::Options { delimiter: text(&options["delimiter"], &base.delimiter), null_values, ..base })?;
    let line = input.lines().next().unwrap_or_default();
    let mut event = Event::default();
    parser.parse(line, &mut event)?;
    let mut json = Vec::new();
    event.write_to(&mut json);
    let got: Fields = serde_json::from_slice(&json).expect("an event is an object");
    let time = options["time_key"].as_str().filter(|_| options["keep_time_key"] == "false");
    match time {
        Some(name) => take_time(case, got, name),
        None => Ok(got),
    }
}

fn cef(case: &Value, line: &str) -> Result<Fields, String> {
    let custom_labels = case["options"]["translate_custom_fields"] == true;
    fields(line, |line, event| Cef { custom_labels, ..Cef::default() }.parse(line, event))
}

/// Our time is the text of the line; Vector's is that time in UTC.
fn klog(_: &Value, line: &str) -> Result<Fields, String> {
    let mut got = fields(line, |line, event| Klog.parse(line, event))?;
    let time = got["timestamp"].as_str().unwrap_or_default().to_owned();
    if let [y1, y2, y3, y4, m1, m2, d1, d2, rest @ ..] = &time.chars().collect::<Vec<_>>()[..] {
        let rest: String = rest.iter().collect();
        let time = format!("{y1}{y2}{y3}{y4}-{m1}{m2}-{d1}{d2}T{}Z", rest.trim());
        got.insert("timestamp".to_owned(), Value::from(utc(&time)));
    }
    Ok(got)
}

fn format(case: &Value) -> Format {
    match (case["parser"].as_str(), case["options"]["message_format"].as_str()) {
        (Some("syslog_rfc5424"), _) | (_, Some("rfc5424")) => Format::Rfc5424,
        (Some("syslog_auto" | "syslog_crowdsec"), _) | (_, Some("auto")) => Format::Auto,
        _ => Format::Rfc3164,
    }
}

fn parsed(case: &Value, line: &str) -> Result<Fields, String> {
    let syslog = Syslog { format: format(case), compliant_message: case["options"]["compliant_msg"] == true };
    fields(line, |line, event| syslog.parse(line, event))
}

/// Vector has the elements of structured data beside the other fields.
fn syslog_vrl(case: &Value, line: &str) -> Result<Fields, String> {
    let mut got = parsed(case, line)?;
    if let Some(Value::Object(data)) = got.remove("structured_data") {
        got.extend(data);
    }
    let time = got["timestamp"].as_str().unwrap_or_default().to_owned();
    let current_year = case["expected"]["timestamp"].get("$timestamp_current_year").is_some();
    let time = if current_year { bsd(&time, "").trim_end_matches('Z').to_owned() } else { utc(&time) };
    got.insert("timestamp".to_owned(), Value::from(time));
    Ok(got)
}

fn number(names: &[&str], name: &Value) -> Option<usize> {
    names.iter().position(|known| name == known)
}

fn rename(fields: &mut Fields, from: &str, to: &str) {
    if let Some(value) = fields.remove(from) {
        fields.insert(to.to_owned(), value);
    }
}

/// The number that priority was, in the line, from the names it became.
fn priority(got: &mut Fields) -> Option<(usize, usize)> {
    let facility = number(&FACILITIES, &got.remove("facility")?)?;
    Some((facility, number(&SEVERITIES, &got.remove("severity")?)?))
}

fn stringify(got: &mut Fields, name: &str) {
    if let Some(value) = got.get_mut(name).filter(|value| value.is_number()) {
        *value = Value::from(value.to_string());
    }
}

/// go-syslog has numbers where we have names, and text where we have a number of a process. The Collector renames these. The Kinesis Agent has other
/// names, and the time as it stands.
fn syslog_go(case: &Value, line: &str) -> Result<Fields, String> {
    let mut got = parsed(case, line)?;
    stringify(&mut got, "procid");
    let names = priority(&mut got);
    if let Some((facility, severity)) = names {
        let mut insert = |name: &str, value: Value| got.insert(name.to_owned(), value);
        insert("facility", json!(facility));
        if case["source"] == "otel-contrib" {
            insert("facility_text", json!(FACILITIES[facility]));
            insert("severity_text", json!(SEVERITIES[severity]));
            insert("priority", json!(facility * 8 + severity));
        } else {
            insert("severity", json!(severity));
            insert("pri", json!(facility * 8 + severity));
        }
    }
    let names: &[(&str, &str)] = match case["source"].as_str() {
        Some("otel-contrib") => &[("procid", "proc_id"), ("msgid", "msg_id")],
        Some("amazon-kinesis-agent") => &[("procid", "processid"), ("appname", "program")],
        _ => &[],
    };
    for (from, to) in names {
        rename(&mut got, from, to);
    }
    if case["source"] == "amazon-kinesis-agent" {
        return Ok(got);
    }
    if let Some(time) = got.get_mut("timestamp") {
        let text = time.as_str().unwrap_or_default();
        *time = Value::from(if case["parser"] == "syslog_rfc3164" { utc(&bsd(text, "0000-")) } else { utc(text) });
    }
    Ok(got)
}

/// Fluentd has `-` where there is nothing, structured data as text, and no names of facilities.
fn syslog_fluentd(case: &Value, line: &str) -> Result<Fields, String> {
    let mut got = parsed(case, line)?;
    stringify(&mut got, "procid");
    if let Some((facility, severity)) = priority(&mut got) {
        got.insert("pri".to_owned(), json!(facility * 8 + severity));
    }
    if case["match"] == "exact" && case["expected"].get("pri").is_none() {
        got.remove("pri");
    }
    got.remove("version");
    if case["expected"].get("extradata").is_some() {
        for name in ["procid", "msgid"] {
            got.entry(name).or_insert_with(|| json!("-"));
        }
        let data = got.remove("structured_data");
        got.insert("extradata".to_owned(), Value::from(extradata(data.as_ref().and_then(Value::as_object), line)));
    }
    if case["expected"]["message"] == "" {
        got.entry("message").or_insert_with(|| json!(""));
    }
    for (from, to) in [("hostname", "host"), ("appname", "ident"), ("procid", "pid")] {
        rename(&mut got, from, to);
    }
    take_time(case, got, "timestamp")
}

/// Structured data as it was written, in the order of the line.
fn extradata(data: Option<&Fields>, line: &str) -> String {
    let Some(data) = data else { return "-".to_owned() };
    let mut text = String::new();
    for (id, params) in data {
        let mut params: Vec<String> = params
            .as_object()
            .expect("a case of this form")
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        params.sort_by_key(|param| line.find(param.as_str()));
        text.extend(["[", id, " ", &params.join(" "), "]"]);
    }
    text
}

/// `CrowdSec` has two names for the time, the priority as it stands, and `seq_id` for one parameter of structured data.
fn syslog_crowdsec(case: &Value, line: &str) -> Result<Fields, String> {
    let mut got = parsed(case, line)?;
    stringify(&mut got, "procid");
    stringify(&mut got, "version");
    if let Some((facility, severity)) = priority(&mut got) {
        got.insert("syslog_priority".to_owned(), json!((facility * 8 + severity).to_string()));
    }
    if let Some(id) = got.get("structured_data").and_then(|data| data["meta"].get("sequenceId")).cloned() {
        got.insert("seq_id".to_owned(), id);
    }
    let iso = got["timestamp"].as_str().unwrap_or_default().contains('T');
    let time = if iso { "timestamp8601" } else { "timestamp" };
    for (from, to) in [("timestamp", time), ("procid", "pid"), ("appname", "program"), ("version", "syslog_version")] {
        rename(&mut got, from, to);
    }
    Ok(got)
}

/// A time of RFC 3164 as the sources write it.
fn bsd(text: &str, year: &str) -> String {
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let words: Vec<&str> = text.split_whitespace().collect();
    let month = months.iter().position(|month| *month == words[0]).map_or(0, |at| at + 1);
    format!("{year}{month:02}-{:0>2}T{}Z", words[1], words[2])
}

/// A time with a zone, in UTC and without zeros at the end of its second; other text as it is.
fn utc(text: &str) -> String {
    let pattern = Regex::new(r"^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d(?:\.\d+)?)(?:Z|([+-])(\d\d):(\d\d))$")
        .expect("a pattern");
    let Some(c) = pattern.captures(text) else { return text.to_owned() };
    let n = |at: usize| c.get(at).map_or(0, |m| m.as_str().parse::<i64>().unwrap_or_default());
    let sign = if c.get(7).is_some_and(|m| m.as_str() == "-") { 1 } else { -1 };
    // Days since some day, by the calendar that begins in March; it is only compared.
    let (year, month) = if n(2) < 3 { (n(1) - 1, n(2) + 9) } else { (n(1), n(2) - 3) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + n(3);
    let minutes = days * 1440 + n(4) * 60 + n(5) + sign * (n(8) * 60 + n(9));
    let second = if c[6].contains('.') { c[6].trim_end_matches('0').trim_end_matches('.') } else { &c[6] };
    format!("minute {minutes}, second {second}")
}
