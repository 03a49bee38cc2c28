//! Other projects' cases of web servers, load balancers, loggers and patterns, through the parsers of `src/parse/`.
//!
//! Sources have names of their own for fields: `NAMES` says what each is here. Values are compared as text, so that `"200"` is 200; `-`, null,
//! nothing at all, and a field that is not there are the same, since sources differ in which of them they mean by it. What a parser has beyond an
//! exact expectation must be among what is named in `BESIDES`. A case whose parser or option is none of ours is skipped, and counted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kinetail::event::Event;
use kinetail::parse::regex::{Regex, Type};
use kinetail::parse::{alb, apache, grok, haproxy, log4j, nginx};
use serde_json::{Map, Value, json};

/// Where we differ on purpose: a part of the case's id, and why.
const DIFFERENT: [(&str, &str); 2] = [
    ("kinesis-agent/common-extra", "what follows the common format is the combined one, which has more fields"),
    (
        "CLOUDFRONT_ACCESS_LOG/legacy/6",
        "Logstash's greedy pattern finds x_forwarded_for in a later column; here it is its own, and empty",
    ),
];

/// Names of a source, and ours.
type Names = &'static [(&'static str, &'static str)];

/// nginx's variables, by which its access logs are told of whatever else a source calls them.
const NGINX: Names = &[
    ("remote_addr", "client"),
    ("remote_user", "user"),
    ("time_local", "timestamp"),
    ("body_bytes_sent", "size"),
    ("body_bytes_size", "size"),
    ("http_referer", "referer"),
    ("http_user_agent", "agent"),
];

/// By family and source: a source's name of a field, and ours. Names that are not here are the same; an empty one is not a part of the format.
const NAMES: &[(&str, &str, Names)] = &[
    ("nginx_error", "vrl", &[("severity", "level"), ("cid", "connection"), ("referer", "referrer")]),
    ("nginx_combined", "", &[("remote", "client"), ("code", "status"), ("compression", "gzip_ratio")]),
    (
        "apache_error",
        "",
        &[
            ("severity", "level"),
            ("processid", "pid"),
            ("threadid", "tid"),
            ("thread", "tid"),
            ("client", "client:port"),
        ],
    ),
    (
        "apache",
        "",
        &[
            ("ident", "identity"),
            ("authuser", "user"),
            ("datetime", "timestamp"),
            ("time", "timestamp"),
            ("message", "request"),
            ("response", "status"),
            ("code", "status"),
            ("bytes", "size"),
            ("referrer", "referer"),
        ],
    ),
    (
        "aws_alb",
        "vrl",
        &[
            ("timestamp", "time"),
            ("client_host", "client_ip:client_port"),
            ("target_host", "target_ip:target_port"),
            ("request_method", "request_verb"),
            ("request_protocol", "request_proto"),
            ("traceability_id", "conn_trace_id"),
        ],
    ),
    (
        "crowdsec/nginx-logs",
        "",
        &[("request", "path|request"), ("verb", "method"), ("http_version", "protocol"), ("target_fqdn", "host")],
    ),
    (
        "crowdsec/haproxy-logs",
        "",
        &[
            ("request", "path"),
            ("verb", "method"),
            ("srvconn", "srv_conn"),
            ("http_status_code", "status_code"),
            ("http_request", "path"),
            ("http_verb", "method"),
            ("http_version", "protocol"),
            ("server_name", "server_name|bind_name"),
            ("haproxy_hour", ""),
            ("haproxy_milliseconds", ""),
            ("haproxy_minute", ""),
            ("haproxy_month", ""),
            ("haproxy_monthday", ""),
            ("haproxy_second", ""),
            ("haproxy_time", ""),
            ("haproxy_year", ""),
        ],
    ),
    ("crowdsec/baikal-logs", "", &[("source_ip", "client"), ("source_port", "port"), ("username", "")]),
    ("crowdsec/stirling-pdf-logs", "", &[("log_level", "level"), ("source_ip", "")]),
    ("crowdsec/keycloak-logs", "", &[("datetime", "timestamp"), ("log_level", "level"), ("parsed_message", "message")]),
    (
        "crowdsec/apereo-cas-audit-logs",
        "",
        &[
            ("time", ""),
            ("loglevel", "level"),
            ("threadname", "thread"),
            ("cas_client_ip", ""),
            ("cas_invalid_user", ""),
        ],
    ),
];

/// What parsers have beyond what their sources do: the request in one piece and in parts, the time, and what sources drop.
const BESIDES: [&str; 14] = [
    "request",
    "method",
    "path",
    "protocol",
    "time_local",
    "timestamp",
    "time",
    "identity",
    "http_x_forwarded_for",
    "rest",
    "host",
    "port",
    "client_port",
    "target_port",
];

#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) passed: BTreeMap<String, usize>,
    pub(super) skipped: BTreeMap<String, usize>,
    pub(super) differs: Vec<String>,
    pub(super) failed: Vec<String>,
}

impl Report {
    fn check(&mut self, family: &str, id: &str, outcome: Result<(), String>) {
        match (outcome, DIFFERENT.iter().find(|(part, _)| id.contains(part))) {
            (Ok(()), None) => *self.passed.entry(family.to_owned()).or_default() += 1,
            (Ok(()), Some(_)) => self.failed.push(format!("{id}: is in the list of differences and is none")),
            (Err(_), Some((_, why))) => self.differs.push(format!("{family}: {id}: {why}")),
            (Err(why), None) => self.failed.push(format!("{family}: {id}: {why}")),
        }
    }

    fn skip(&mut self, why: String) {
        *self.skipped.entry(why).or_default() += 1;
    }

    /// What was seen, in words; fails if anything differs that is not on the list.
    fn end(&self) -> String {
        assert!(self.failed.is_empty(), "{} differ:\n{}", self.failed.len(), self.failed.join("\n"));
        let passed = self.passed.iter().map(|(family, count)| format!("{family}: {count} as expected"));
        let skipped = self.skipped.iter().map(|(why, count)| format!("skipped {count}: {why}"));
        let differs = self.differs.iter().map(|line| format!("differs: {line}"));
        passed.chain(skipped).chain(differs).collect::<Vec<_>>().join("\n")
    }
}

fn folder() -> Option<PathBuf> {
    std::env::var_os("KINETAIL_CORPORA").map(PathBuf::from)
}

fn json_lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))).collect()
}

/// What a parser makes of a line, as it is rendered.
fn run<'a>(
    line: &'a str,
    parse: impl FnOnce(&'a str, &mut Event<'a>) -> Result<(), &'static str>,
) -> Result<Map<String, Value>, String> {
    let mut event = Event::default();
    parse(line, &mut event).map_err(str::to_owned)?;
    let mut out = Vec::new();
    event.write_to(&mut out);
    serde_json::from_slice(&out).map_err(|error| format!("not JSON: {error}"))
}

/// The parser of a family by name, or why there is none.
fn parse(case: &Value, line: &str) -> Result<Result<Map<String, Value>, String>, String> {
    let family = case["parser"].as_str().unwrap_or_default();
    Ok(match family {
        "nginx_combined" | "nginx_main" | "nginx_ingress" | "crowdsec/nginx-logs" => {
            run(line, |l, e| nginx::Access.parse(l, e))
        }
        "nginx_error" => run(line, |l, e| nginx::ErrorLog.parse(l, e)),
        "apache_common" | "apache_combined" | "apache_fluentd" => run(line, |l, e| apache::Access.parse(l, e)),
        "apache_error" | "crowdsec/baikal-logs" => run(line, |l, e| apache::ErrorLog.parse(l, e)),
        "aws_alb" => run(line, |l, e| alb::Alb.parse(l, e)),
        "crowdsec/haproxy-logs" => run(line, |l, e| haproxy::Haproxy.parse(l, e)),
        "crowdsec/stirling-pdf-logs" | "crowdsec/keycloak-logs" | "crowdsec/apereo-cas-audit-logs" => {
            run(line, |l, e| log4j::Log4j.parse(l, e))
        }
        "regex" | "multiline_regex" => {
            let regex = regex_of(&case["options"])?;
            run(line, |l, e| regex.parse(l, e))
        }
        _ if family == "grok" || family.starts_with("grok/") => match grok_of(case)? {
            Ok(grok) => run(line, |l, e| grok.parse(l, e)),
            Err(error) => Err(error.to_string()),
        },
        _ => return Err(format!("no parser for {family}")),
    })
}

/// A pattern as sources write it, with the types that they name: `user:string,size:integer`, or an object.
fn regex_of(options: &Value) -> Result<Regex, String> {
    for (option, value) in options.as_object().into_iter().flatten() {
        let known =
            ["regex", "expression", "pattern", "format1", "format_firstline", "types", "time_format", "keep_time_key"];
        if !known.contains(&option.as_str()) && option != "types_label_delimiter" {
            return Err(format!("regex: the option {option}: {value}"));
        }
    }
    let pattern = ["regex", "expression", "pattern", "format1"]
        .iter()
        .find_map(|name| options[*name].as_str())
        .unwrap_or_default();
    let ruby = pattern.strip_prefix('/').and_then(|pattern| pattern.strip_suffix('/'));
    let types = types_of(options);
    if types.get("time").is_some_and(|kind| kind == "time") {
        return Err("regex: the type time, which is a matter of timestamps".to_owned());
    }
    // Lists and times stay text here, and are compared as such.
    let types = types.into_iter().map(|(name, kind)| (name, Type::named(&kind).unwrap_or_default())).collect();
    Regex::new(ruby.unwrap_or(pattern), &types).map_err(|error| format!("regex: {error}"))
}

fn types_of(options: &Value) -> BTreeMap<String, String> {
    let Some(types) = options["types"].as_str() else { return BTreeMap::new() };
    let kind = |kind: &str| kind.split(':').next().unwrap_or_default().to_owned();
    if let Ok(object) = serde_json::from_str::<BTreeMap<String, String>>(types) {
        return object.into_iter().map(|(name, text)| (name, kind(&text))).collect();
    }
    let delimiter = options["types_label_delimiter"].as_str().unwrap_or(":");
    let pairs = types.split(',').filter_map(|pair| pair.split_once(delimiter));
    pairs.map(|(name, text)| (name.to_owned(), kind(&text.replace(delimiter, ":")))).collect()
}

type Compiled = Result<grok::Grok, grok::Error>;

fn grok_of(case: &Value) -> Result<Compiled, String> {
    let options = &case["options"];
    let name = case["parser"].as_str().unwrap_or_default().trim_start_matches("grok/");
    let name = name.split(" - ").next().unwrap_or(name);
    let ecs = options["field_style"] == "ecs-v1" && case["expected"].is_object();
    if ecs {
        return Err("grok: the names of fields that ECS has".to_owned());
    }
    let pattern = match options["pattern"].as_str() {
        Some(pattern) => pattern.to_owned(),
        None if grok::patterns::standard(name).is_none() => return Err(format!("grok: no pattern {name}")),
        None if options["anchored"] == true => format!("^%{{{name}:all}}$"),
        None => format!("%{{{name}:all}}"),
    };
    Ok(grok::Grok::new(&pattern, &BTreeMap::new(), &BTreeMap::new()))
}

/// Our name of a source's field.
fn our_name(family: &str, source: &str, name: &str) -> String {
    let of = |(f, s, _): &&(&str, &str, Names)| family.starts_with(f) && (s.is_empty() || *s == source);
    let names = NAMES.iter().find(of).map_or(&[][..], |(_, _, names)| names);
    let variables = if family.contains("nginx") { NGINX } else { &[] };
    names.iter().chain(variables).find(|(theirs, _)| *theirs == name).map_or(name, |(_, ours)| ours).to_owned()
}

/// The text of a value, where nothing is what `-` and null are.
fn text_of(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) if text == "-" => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(list)) => list.iter().map(|value| text_of(Some(value))).collect::<Vec<_>>().join(" "),
        Some(other) => other.to_string(),
    }
}

/// The text of ours: `a:b` is both with a colon between them, and `a|b` the first that is there. A request is its parts with spaces between them.
fn ours(got: &Map<String, Value>, name: &str) -> String {
    if let Some((first, second)) = name.split_once('|') {
        return text_of(got.get(first).or_else(|| got.get(second)));
    }
    if name == "request" && !got.contains_key(name) {
        let parts = ["method", "path", "protocol"].map(|part| text_of(got.get(part)));
        return parts.join(" ").trim_end().to_owned();
    }
    match name.split_once(':') {
        Some((first, second)) if got.get(second).is_some_and(|port| !port.is_null()) => {
            format!("{}:{}", text_of(got.get(first)), text_of(got.get(second)))
        }
        Some((first, _)) => text_of(got.get(first)),
        None => text_of(got.get(name)),
    }
}

/// Objects in objects as `a.b`, which is how they are called here.
fn flat(prefix: &str, value: &Value, out: &mut Map<String, Value>) {
    match value {
        Value::Object(fields) if !fields.keys().any(|name| name.starts_with('$')) => {
            for (name, value) in fields {
                flat(&if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") }, value, out);
            }
        }
        other => {
            out.insert(prefix.to_owned(), other.clone());
        }
    }
}

fn same(theirs: &Value, ours: &str) -> bool {
    if let Some(time) = theirs["$timestamp"].as_str() {
        return same_time(time, ours);
    }
    if let Some(text) = theirs["$time"].as_str() {
        return text == ours;
    }
    let theirs = text_of(Some(theirs));
    let numbers = theirs.parse::<f64>().ok().zip(ours.parse::<f64>().ok());
    theirs == ours
        || numbers.is_some_and(|(a, b)| (a - b).abs() < f64::EPSILON * a.abs())
        || theirs.replace(' ', ",") == ours
        || ours.strip_prefix("HTTP/") == Some(&theirs)
        || theirs.ends_with('Z') && same_time(&theirs, ours)
}

/// Whether a text of ours says the same second, if both are of UTC. How times are read is tested elsewhere.
fn same_time(rfc3339: &str, text: &str) -> bool {
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty();
    let parts: Vec<&str> = text.split(['/', ':', ' ', '-', 'T', 'Z', '.']).filter(|part| !part.is_empty()).collect();
    let [first, month, third, hour, minute, second, ..] = parts.as_slice() else { return false };
    let month = months.iter().position(|name| name == month).map_or((*month).to_owned(), |at| format!("{:02}", at + 1));
    let (year, day) = if first.len() == 4 { (first, third) } else { (third, first) };
    number(year) && rfc3339.starts_with(&format!("{year}-{month}-{day}T{hour}:{minute}:{second}"))
}

/// Compares what a parser made with what its source did.
fn compare(case: &Value, got: &Map<String, Value>) -> Result<(), String> {
    let (family, source) = (case["parser"].as_str().unwrap_or_default(), case["source"].as_str().unwrap_or_default());
    let mut expected = Map::new();
    flat("", &case["expected"], &mut expected);
    let mut seen = Vec::new();
    for (name, value) in &expected {
        let name = our_name(family, source, name);
        let mut value = value.clone();
        if family.starts_with("grok/") && name == "message" {
            // Logstash's events have the line as their message, before what the pattern has.
            match &value {
                Value::String(whole) if *whole == case["input"] => continue,
                Value::Array(list) if list.first() == Some(&case["input"]) => {
                    value = list.get(1).cloned().unwrap_or_default();
                }
                _ => {}
            }
        }
        let text = ours(got, &name);
        seen.extend(name.split([':', '|']).map(str::to_owned));
        if !name.is_empty() && !same(&value, &text) {
            return Err(format!("{name}: {text:?}, expected {value}; in {}", json!(got)));
        }
    }
    let more = got.iter().find(|(name, value)| {
        !seen.contains(name) && !BESIDES.contains(&name.as_str()) && !text_of(Some(value)).is_empty()
    });
    match more.filter(|_| case["match"] == "exact") {
        Some((name, value)) => Err(format!("{name}: {value}, of which the source says nothing")),
        None => Ok(()),
    }
}

pub(super) fn check_case(case: &Value, report: &mut Report) {
    let id = case["id"].as_str().unwrap_or_default();
    let family = case["parser"].as_str().unwrap_or_default();
    let family = family.split_once('/').map_or(family, |(first, second)| if first == "grok" { first } else { second });
    let Some(line) = case["input"].as_str() else { return report.skip("input that is not UTF-8".to_owned()) };
    let got = match parse(case, line) {
        Ok(got) => got,
        Err(why) => return report.skip(why),
    };
    let outcome = match (case["expect"].as_str(), got) {
        (Some("ok"), Ok(got)) if case["expected"].is_object() => compare(case, &got),
        (Some("ok"), Ok(_)) | (Some("error"), Err(_)) | (Some("any"), _) => Ok(()),
        (Some("error"), Ok(got)) => Err(format!("was not refused: {}", json!(got))),
        (_, Err(why)) => Err(format!("{why}: {line}")),
        (other, Ok(_)) => Err(format!("an outcome of the kind {other:?}")),
    };
    report.check(family, id, outcome);
}

#[test]
fn web_cases_have_the_fields_that_their_sources_find() {
    let Some(folder) = folder() else { return };
    let mut report = Report::default();
    let mut files: Vec<_> =
        std::fs::read_dir(folder.join("cases")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let ours = ["nginx_", "apache_", "aws_alb", "regex", "grok", "crowdsec", "multiline_regex"];
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if ours.iter().any(|prefix| name.starts_with(prefix)) {
            for case in json_lines(&file) {
                check_case(&case, &mut report);
            }
        }
    }
    println!("{}", report.end());
}

/// The pattern that loghub's format stands for.
fn loghub_pattern(format: &str) -> String {
    let mut pattern = "^".to_owned();
    for (i, part) in format.split(['<', '>']).enumerate() {
        if i % 2 == 1 {
            pattern.extend(["(?P<", part, ">.*?)"]);
        } else {
            let words: Vec<&str> = part.split(' ').collect();
            let runs =
                words.iter().enumerate().filter(|(i, word)| !word.is_empty() || *i == 0 || *i + 1 == words.len());
            pattern.push_str(&runs.map(|(_, word)| *word).collect::<Vec<_>>().join(r"\s+"));
        }
    }
    pattern + "$"
}

#[test]
fn loghub_has_the_same_fields_by_its_own_patterns() {
    let Some(folder) = folder().map(|folder| folder.join("raw/loghub")).filter(|folder| folder.is_dir()) else {
        return;
    };
    let formats: BTreeMap<String, String> =
        serde_json::from_str(&std::fs::read_to_string(folder.join("log_formats.json")).unwrap()).unwrap();
    let mut report = Report::default();
    for (set, format) in formats {
        let regex =
            Regex::new(&loghub_pattern(&format), &BTreeMap::new()).unwrap_or_else(|error| panic!("{set}: {error}"));
        let log = std::fs::read(folder.join(format!("{set}.log"))).unwrap();
        let text = String::from_utf8_lossy(&log);
        for (i, (line, want)) in text.lines().zip(json_lines(&folder.join(format!("{set}.expected.jsonl")))).enumerate()
        {
            if want.is_null() {
                continue;
            }
            let differs = |got: Map<String, Value>| {
                let different = want
                    .as_object()
                    .into_iter()
                    .flatten()
                    .find(|(name, value)| text_of(Some(value)) != text_of(got.get(*name)));
                different.map_or(Ok(()), |(name, value)| Err(format!("{name}: expected {value}, got {}", json!(got))))
            };
            let outcome = run(line.trim(), |l, e| regex.parse(l, e)).and_then(differs);
            report.check(&set, &format!("{set}:{}", i + 1), outcome);
        }
    }
    println!("{}", report.end());
}

#[test]
fn loggers_of_java_have_the_parts_that_loghub_finds() {
    let Some(folder) = folder().map(|folder| folder.join("raw/loghub")).filter(|folder| folder.is_dir()) else {
        return;
    };
    let mut report = Report::default();
    for set in ["Hadoop", "Spark", "HDFS", "Zookeeper", "Apache"] {
        let text = std::fs::read_to_string(folder.join(format!("{set}.log"))).unwrap();
        for (i, (line, want)) in text.lines().zip(json_lines(&folder.join(format!("{set}.expected.jsonl")))).enumerate()
        {
            if want.is_null() {
                continue;
            }
            let get = |name: &str| want[name].as_str().unwrap_or_default();
            let outcome = if set == "Apache" {
                let want = [get("Time"), get("Level"), get("Content")].map(str::to_owned);
                run(line, |l, e| apache::ErrorLog.parse(l, e)).and_then(|got| {
                    // Loghub leaves the client in the message.
                    let client = got
                        .get("client")
                        .map_or(String::new(), |client| format!("[client {}] ", text_of(Some(client))));
                    let got = [ours(&got, "timestamp"), ours(&got, "level"), client + &ours(&got, "message")];
                    if got == want { Ok(()) } else { Err(format!("{got:?}")) }
                })
            } else {
                // Where loghub parts ZooKeeper's `thread:class@line` is its regex's choice; together they are the same.
                let node = if want["Node"].is_null() {
                    get("Process").to_owned()
                } else {
                    format!("{}:{}@{}", get("Node"), get("Component"), get("Id"))
                };
                let logger = if want["Node"].is_null() { get("Component") } else { "" };
                let time = format!("{} {}", get("Date"), get("Time"));
                let want = [&time, get("Level"), &node, logger, get("Content")].map(|part| part.trim().to_owned());
                run(line, |l, e| log4j::Log4j.parse(l, e)).and_then(|got| {
                    let text = |name: &str| ours(&got, name).trim().to_owned();
                    let (thread, logger) = (text("thread"), text("logger"));
                    let (thread, logger) = if set == "Zookeeper" {
                        (format!("{thread}:{logger}"), String::new())
                    } else {
                        (thread, logger)
                    };
                    let got = [text("timestamp"), text("level"), thread, logger, text("message")];
                    if got == want { Ok(()) } else { Err(format!("got {got:?}, expected {want:?}")) }
                })
            };
            report.check(set, &format!("{set}:{}", i + 1), outcome);
        }
    }
    println!("{}", report.end());
}

#[test]
fn real_access_logs_are_parsed_line_by_line() {
    let Some(file) =
        folder().map(|folder| folder.join("raw/access/apache_combined_10k.log")).filter(|file| file.is_file())
    else {
        return;
    };
    let text = std::fs::read(file).unwrap();
    let text = String::from_utf8_lossy(&text);
    for line in text.lines() {
        let apache = run(line, |l, e| apache::Access.parse(l, e)).unwrap_or_else(|why| panic!("{why}: {line}"));
        let nginx = run(line, |l, e| nginx::Access.parse(l, e)).unwrap_or_else(|why| panic!("{why}: {line}"));
        for (a, n) in
            [("host", "client"), ("timestamp", "timestamp"), ("status", "status"), ("size", "size"), ("agent", "agent")]
        {
            assert_eq!(apache.get(a), nginx.get(n), "{line}");
        }
        assert!(apache["status"].is_u64() && line.contains(&ours(&apache, "request")), "{line}");
    }
}
