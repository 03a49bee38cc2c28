//! Sections of outputs: the streams, and what goes elsewhere. The options are those of three plugins: `kinesis_streams` of Fluent Bit,
//! `kinesis` of AWS's plugin in Go, and what both have of Fluent Bit itself.

use super::classic::{Document, Entry, Section};
use super::note::{Notes, Weight};
use super::tag::Pattern;
use super::{Plan, filter};
use crate::config::{Compression, Format};

/// What both plugins write times like, if `time_key` is there and nothing else is said.
const TIME_FORMAT: &str = "%Y-%m-%dT%H:%M:%S";
/// What a note says of an option that is a matter of course.
const BY_ITSELF: &str = "kinetail does this by itself, or has no need of it";
/// What it says of one that nobody knows.
const UNKNOWN: &str = "kinetail knows no such option; nothing is done by it";

/// A stream and the events that go there.
#[derive(Debug, Clone)]
pub struct Output {
    /// The tags of its events.
    pub pattern: Pattern,
    /// The stream's name.
    pub stream: String,
    /// Its region; by default kinetail's.
    pub region: Option<String>,
    /// The field whose value is the partition key, nested ones as `a.b`; by default a random key.
    pub partition_key: Option<String>,
    /// An address in place of the region's, with its scheme.
    pub endpoint: Option<String>,
    /// The role that is assumed to send.
    pub role_arn: Option<String>,
    /// The external id that the role asks for.
    pub external_id: Option<String>,
    /// The only fields that are sent; all of them if there are none.
    pub data_keys: Vec<String>,
    /// The field whose bare value is sent in place of the event.
    pub log_key: Option<String>,
    /// The field that the event's time is put in.
    pub time_key: Option<String>,
    /// How it is written there, in the way of `strftime`.
    pub time_key_format: String,
    /// What the plugin would put into a record, and what its consumers expect.
    pub format: Format,
    /// How records are compressed, where kinetail can do that with this format.
    pub compression: Compression,
    /// Whether each event ends with a newline.
    pub newline: bool,
    /// The file in which it is.
    pub file: String,
    /// The line of its section.
    pub line: usize,
}

/// Tags whose events do not go to a stream.
#[derive(Debug, Clone)]
pub struct Nowhere {
    /// Of which tags; none at all without a pattern.
    pub pattern: Option<Pattern>,
    /// The plugin that would take them.
    pub plugin: String,
    /// Whether they are to be thrown away, as by `null`.
    pub on_purpose: bool,
    /// The file in which it is.
    pub file: String,
    /// The line of its section.
    pub line: usize,
}

impl Nowhere {
    /// Whether a tag is one of these.
    pub fn matches(&self, tag: &str) -> bool {
        self.pattern.as_ref().is_some_and(|pattern| pattern.matches(tag))
    }
}

/// What a section says, one after the other.
#[derive(Debug, Default)]
struct Draft {
    stream: String,
    region: Option<String>,
    partition_key: Option<String>,
    endpoint: Option<String>,
    port: Option<String>,
    role_arn: Option<String>,
    external_id: Option<String>,
    data_keys: Vec<String>,
    log_key: Option<String>,
    time_key: Option<String>,
    time_key_format: Option<String>,
    format: Option<Format>,
    newline: bool,
}

/// Adds what a section says.
pub(super) fn add(plan: &mut Plan, section: &Section, document: &Document, notes: &mut Notes) {
    let plugin = document.resolve(section.plugin().unwrap_or_default()).to_ascii_lowercase();
    let on_purpose = plugin == "null";
    let in_c = plugin == "kinesis_streams";
    let weight = if on_purpose { Weight::Moot } else { Weight::Lost };
    let pattern = pattern(section, document, notes, weight);
    let mut nowhere = |pattern: Option<Pattern>| {
        let (file, line) = (section.place.file.to_string(), section.place.line);
        plan.nowhere.push(Nowhere { pattern, plugin: plugin.clone(), on_purpose, file, line });
    };
    if !in_c && plugin != "kinesis" {
        if !on_purpose {
            notes.section(section, Weight::Lost, &elsewhere(&plugin, pattern.as_ref()));
        }
        return nowhere(pattern);
    }
    // AWS's plugin in Go ends events with a newline only if it is told to, Fluent Bit's own always does.
    let mut draft = Draft { newline: in_c, ..Draft::default() };
    for entry in &section.entries {
        draft.take(section, entry, document.resolve(&entry.value), notes);
    }
    let Some(known) = pattern else { return nowhere(None) };
    if draft.stream.is_empty() {
        let instead = format!("it names no stream; what is tagged {} goes nowhere", known.text());
        notes.section(section, Weight::Lost, &instead);
        return nowhere(Some(known));
    }
    let output = draft.output(known, section, document, notes);
    plan.outputs.push(output);
}

/// What a note says of a plugin that sends elsewhere.
fn elsewhere(plugin: &str, pattern: Option<&Pattern>) -> String {
    let tags = pattern.map_or("", Pattern::text);
    match plugin {
        "firehose" | "kinesis_firehose" => format!(
            "kinetail sends to Kinesis Data Streams, which a Firehose can read from; what is tagged {tags} goes nowhere"
        ),
        _ => format!("kinetail sends to Kinesis Data Streams and nowhere else; what is tagged {tags} goes nowhere"),
    }
}

/// The pattern of a section's tags; none if it has none that can be used, which is noted.
pub(super) fn pattern(section: &Section, document: &Document, notes: &mut Notes, weight: Weight) -> Option<Pattern> {
    let mut found = None;
    for entry in &section.entries {
        match entry.key.to_ascii_lowercase().as_str() {
            "match" => found = Some(Pattern::Glob(document.resolve(&entry.value))),
            "match_regex" => match filter::tags(&document.resolve(&entry.value)) {
                Ok(regex) => found = Some(Pattern::Regex(regex)),
                Err(why) => notes.entry(section, entry, weight, &format!("no tag is matched: {why}")),
            },
            _ => {}
        }
    }
    if found.is_none() {
        notes.section(section, weight, "it has no Match, and so nothing to do");
    }
    found
}

/// Notes what follows from all sections together: a stream that would get a copy of what goes to another.
pub(super) fn settle(plan: &mut Plan, notes: &mut Notes) {
    for (at, output) in plan.outputs.iter().enumerate() {
        for earlier in plan.outputs.iter().take(at).filter(|earlier| earlier.pattern.overlaps(&output.pattern)) {
            let place = super::classic::Place { file: output.file.as_str().into(), line: output.line };
            let instead = format!(
                "it is for tags of {} too, and each event goes to one stream: that of the longer Match, or else the first",
                earlier.stream
            );
            notes.at(&place, Weight::Lost, ["OUTPUT", "Match", output.pattern.text()], &instead);
        }
    }
}

impl Draft {
    fn take(&mut self, section: &Section, entry: &Entry, value: String, notes: &mut Notes) {
        let some = Some(value.clone()).filter(|value| !value.is_empty());
        match entry.key.to_ascii_lowercase().as_str() {
            "name" | "match" | "match_regex" | "compression" => {}
            "stream" => self.stream = value,
            "region" => self.region = some,
            "partition_key" => self.partition_key = some.map(|key| key.replace("->", ".")),
            "endpoint" => self.endpoint = some,
            "port" => self.port = some,
            "role_arn" => self.role_arn = some,
            "external_id" => self.external_id = some,
            "data_keys" => {
                let keys = value.split(',').map(str::trim).filter(|key| !key.is_empty());
                self.data_keys = keys.map(str::to_owned).collect();
            }
            "log_key" => self.log_key = some,
            "time_key" => self.time_key = some,
            "time_key_format" => self.time_key_format = some,
            "aggregation" => self.format = truthy(&value).then_some(Format::Kpl),
            "simple_aggregation" => self.format = truthy(&value).then_some(Format::Lines),
            "append_newline" => self.newline = truthy(&value),
            _ => other(section, entry, notes),
        }
    }

    fn output(self, pattern: Pattern, section: &Section, document: &Document, notes: &mut Notes) -> Output {
        let format = self.format.unwrap_or(Format::Single);
        let compression = compression(format, section, document, notes);
        let endpoint = self.endpoint.map(|endpoint| address(&endpoint, self.port.as_deref()));
        let (file, line) = (section.place.file.to_string(), section.place.line);
        Output {
            pattern,
            stream: self.stream,
            region: self.region,
            partition_key: self.partition_key,
            endpoint,
            role_arn: self.role_arn,
            external_id: self.external_id,
            data_keys: self.data_keys,
            log_key: self.log_key,
            time_key: self.time_key,
            time_key_format: self.time_key_format.unwrap_or_else(|| TIME_FORMAT.to_owned()),
            format,
            compression,
            newline: self.newline,
            file,
            line,
        }
    }
}

/// Notes an option that is not taken over.
fn other(section: &Section, entry: &Entry, notes: &mut Notes) {
    match entry.key.to_ascii_lowercase().as_str() {
        "retry_limit" => {
            notes.moot(section, entry, "kinetail sends again until the stream takes it, and gives nothing up");
        }
        "auto_retry_requests"
        | "experimental_concurrency"
        | "experimental_concurrency_retries"
        | "http_request_timeout"
        | "aggregation_maximum_record_size"
        | "skip_aggregation_record_size"
        | "workers"
        | "alias"
        | "log_level"
        | "log_suppress_interval"
        | "tls"
        | "tls.verify" => notes.moot(section, entry, BY_ITSELF),
        key if key.starts_with("net.") || key.starts_with("storage.") => notes.moot(section, entry, BY_ITSELF),
        key if key.starts_with("tls.") => notes.differs(section, entry, "it is not used; set kinesis.ca_file instead"),
        "profile" => notes.differs(section, entry, "the task's own credentials are used; set AWS_PROFILE instead"),
        "sts_endpoint" => notes.differs(section, entry, "the region's is used; set AWS_ENDPOINT_URL_STS instead"),
        "replace_dots" => notes.differs(section, entry, "names of fields keep their dots"),
        _ => notes.differs(section, entry, UNKNOWN),
    }
}

/// The compression that a section asks for, if kinetail has it for records of that format.
fn compression(format: Format, section: &Section, document: &Document, notes: &mut Notes) -> Compression {
    let Some(entry) = section.entries.iter().rfind(|entry| entry.key.eq_ignore_ascii_case("compression")) else {
        return Compression::None;
    };
    match (document.resolve(&entry.value).to_ascii_lowercase().as_str(), format) {
        ("none" | "", _) => Compression::None,
        ("gzip", Format::Lines) => Compression::Gzip,
        ("zstd", Format::Lines | Format::Kpl) => Compression::Zstd,
        _ => {
            notes.differs(
                section,
                entry,
                "not with records of this kind: they are sent as they are; see kinesis.format and kinesis.compression",
            );
            Compression::None
        }
    }
}

/// An address with its scheme and, if it is told apart, its port.
fn address(endpoint: &str, port: Option<&str>) -> String {
    let (scheme, rest) = endpoint.split_once("://").unwrap_or(("https", endpoint));
    match port {
        Some(port) if !rest.contains([':', '/']) => format!("{scheme}://{rest}:{port}"),
        _ => format!("{scheme}://{rest}"),
    }
}

/// What Fluent Bit takes for yes.
fn truthy(value: &str) -> bool {
    ["true", "on", "yes", "1"].iter().any(|yes| value.eq_ignore_ascii_case(yes))
}
