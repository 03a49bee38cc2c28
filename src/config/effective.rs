//! The configuration in effect, as a document that gives the same one again, but for the secrets, which are masked.

use std::fmt::{self, Display};

use serde::Serialize;

use super::limits::{ADMIN_OFF, FIRELENS_AUTO, FIRELENS_OFF, Size, Time};
use super::mask::mask_url;
use super::resolve::shown_size;
use super::shape::{written_level, written_timestamp};
use super::{
    AggregateConfig, AssumeRole, Config, FireLens, ForwardSettings, KinesisConfig, MultilineConfig, PartitionKey,
    SourceConfig, SourceKind, Template, Until,
};
use crate::names::Scheme;
use crate::shape::Shape;

/// Shows a configuration in effect.
#[derive(Debug)]
pub struct Effective<'a>(&'a Config);

impl Config {
    /// The configuration as a YAML document with every default written out and secrets masked.
    pub fn effective(&self) -> Effective<'_> {
        Effective(self)
    }
}

impl Display for Effective<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(config) = self;
        writeln!(f, "state_dir: {}", text(&config.state_dir.to_string_lossy()))?;
        writeln!(f, "memory_limit: {}", shown_size(config.memory_limit))?;
        let firelens = match &config.firelens {
            FireLens::Auto => FIRELENS_AUTO.into(),
            FireLens::Off => FIRELENS_OFF.into(),
            FireLens::File(path) => path.to_string_lossy(),
        };
        writeln!(f, "firelens: {}", text(&firelens))?;
        writeln!(f, "sources:")?;
        for source in &config.sources {
            write_source(f, source)?;
        }
        write_kinesis(f, &config.kinesis)?;
        writeln!(f, "checkpoint:")?;
        writeln!(f, "  expire_after: {}", Time(config.checkpoint.expire_after))?;
        writeln!(f, "admin:")?;
        match config.admin.listen {
            Some(address) => writeln!(f, "  listen: {}", text(&address.to_string()))?,
            None => writeln!(f, "  listen: {}", text(ADMIN_OFF))?,
        }
        writeln!(f, "  ready_max_age: {}", Time(config.admin.ready_max_age))?;
        writeln!(f, "  watchdog: {}", Time(config.admin.watchdog.unwrap_or_default()))?;
        writeln!(f, "spool:")?;
        writeln!(f, "  max_bytes: {}", Size(config.spool.max_bytes))?;
        writeln!(f, "  segment_bytes: {}", Size(config.spool.segment_bytes))?;
        writeln!(f, "  on_full: {}", word(&config.spool.on_full))?;
        writeln!(f, "  fsync: {}", word(&config.spool.fsync))?;
        writeln!(f, "shutdown:")?;
        writeln!(f, "  timeout: {}", Time(config.shutdown.timeout))?;
        writeln!(f, "reload:")?;
        writeln!(f, "  watch: {}", config.reload.watch)?;
        writeln!(f, "log:")?;
        writeln!(f, "  level: {}", word(&config.log.level))?;
        write!(f, "  format: {}", word(&config.log.format))
    }
}

fn write_source(f: &mut fmt::Formatter<'_>, source: &SourceConfig) -> fmt::Result {
    writeln!(f, "  - name: {}", text(&source.name))?;
    if let Some(stream) = &source.stream {
        writeln!(f, "    stream: {}", text(stream.text()))?;
    }
    writeln!(f, "    type: {}", word(&source.kind))?;
    if source.kind == SourceKind::Fifo {
        writeln!(f, "    mode: \"{:04o}\"", source.fifo_mode)?;
    }
    if source.kind == SourceKind::Forward {
        write_forward(f, &source.forward)?;
    }
    if !source.paths.is_empty() {
        writeln!(f, "    paths:")?;
    }
    for path in &source.paths {
        writeln!(f, "      - {}", text(path))?;
    }
    if !source.exclude.is_empty() {
        writeln!(f, "    exclude:")?;
        for glob in &source.exclude {
            writeln!(f, "      - {}", text(glob))?;
        }
    }
    writeln!(f, "    start_at: {}", word(&source.start_at))?;
    writeln!(f, "    max_line_bytes: {}", shown_size(source.max_line_bytes))?;
    writeln!(f, "    long_lines: {}", word(&source.long_lines))?;
    writeln!(f, "    format: {}", word(&source.format))?;
    write_multiline(f, source.multiline.as_ref())?;
    writeln!(f, "    encoding: {}", text(&source.encoding.label()))?;
    writeln!(f, "    parse: {}", written(source.parse.spec()))?;
    write_shape(f, &source.shape)?;
    writeln!(f, "    on_parse_error: {}", word(&source.on_parse_error))?;
    writeln!(f, "    rotate_wait: {}", Time(source.rotate_wait))?;
    writeln!(f, "    partial_line_timeout: {}", Time(source.partial_line_timeout))?;
    writeln!(f, "    oldest_first: {}", source.oldest_first)?;
    writeln!(f, "    deleted:")?;
    writeln!(f, "      max_wait: {}", Time(source.deleted_max_wait))?;
    writeln!(f, "    add:")?;
    writeln!(f, "      host: {}", source.add.host)?;
    writeln!(f, "      path: {}", source.add.path)?;
    writeln!(f, "      offset: {}", source.add.offset)?;
    writeln!(f, "      id: {}", source.add.id)?;
    writeln!(f, "      stream: {}", source.add.stream)?;
    writeln!(f, "      time: {}", source.add.time)?;
    writeln!(f, "      tag: {}", source.add.tag)?;
    writeln!(f, "      kubernetes: {}", source.add.kubernetes)?;
    writeln!(f, "      metadata: {}", json(&source.add.metadata))?;
    // JSON is YAML, so that values of any kind need no writer of their own.
    writeln!(f, "      fields: {}", json(&source.add.fields))
}

fn write_shape(f: &mut fmt::Formatter<'_>, shape: &Shape) -> fmt::Result {
    let null = || "null".to_owned();
    writeln!(f, "    timestamp: {}", shape.timestamp.as_ref().map_or_else(null, |t| json(&written_timestamp(t))))?;
    writeln!(f, "    level: {}", shape.level.as_ref().map_or_else(null, |level| json(&written_level(level))))?;
    let names = shape.names.map(|schema| match schema {
        Scheme::Otel => "otel",
        Scheme::Ecs => "ecs",
    });
    writeln!(f, "    names: {}", names.unwrap_or("null"))?;
    writeln!(f, "    transforms: {}", json(&shape.written))
}

fn write_forward(f: &mut fmt::Formatter<'_>, forward: &ForwardSettings) -> fmt::Result {
    writeln!(f, "    forward:")?;
    writeln!(f, "      listen: {}", json(&forward.listen))?;
    if let Some(unix) = &forward.unix {
        writeln!(f, "      unix: {}", text(&unix.to_string_lossy()))?;
    }
    if forward.shared_key.is_some() {
        writeln!(f, "      shared_key: \"***\"")?;
    }
    if let Some((certificate, key)) = &forward.tls {
        writeln!(f, "      tls_certificate: {}", text(&certificate.to_string_lossy()))?;
        writeln!(f, "      tls_key: {}", text(&key.to_string_lossy()))?;
    }
    writeln!(f, "      max_message_bytes: {}", shown_size(forward.max_message_bytes))?;
    writeln!(f, "      max_connections: {}", forward.max_connections)?;
    writeln!(f, "      idle_timeout: {}", Time(forward.idle_timeout))
}

fn write_multiline(f: &mut fmt::Formatter<'_>, multiline: Option<&MultilineConfig>) -> fmt::Result {
    let Some(multiline) = multiline else { return writeln!(f, "    multiline: null") };
    writeln!(f, "    multiline:")?;
    if !multiline.preset.is_empty() {
        writeln!(f, "      preset: {}", json(&multiline.preset))?;
    }
    if let Some(start) = &multiline.start {
        writeln!(f, "      start: {}", json(start))?;
    }
    if let Some((until, pattern)) = &multiline.until {
        let name = match until {
            Until::Continue => "continue",
            Until::ContinuePast => "continue_past",
            Until::End => "end",
            Until::EndBefore => "end_before",
        };
        writeln!(f, "      {name}: {}", json(pattern))?;
    }
    writeln!(f, "      timeout: {}", Time(multiline.timeout))?;
    writeln!(f, "      max_lines: {}", multiline.max_lines)
}

fn write_kinesis(f: &mut fmt::Formatter<'_>, kinesis: &KinesisConfig) -> fmt::Result {
    writeln!(f, "kinesis:")?;
    writeln!(f, "  stream: {}", text(&kinesis.stream))?;
    writeln!(f, "  stream_arn: {}", optional(kinesis.stream_arn.as_deref()))?;
    writeln!(f, "  region: {}", optional(kinesis.region.as_deref()))?;
    writeln!(f, "  endpoint: {}", optional(kinesis.endpoint.as_deref().map(mask_url).as_deref()))?;
    writeln!(f, "  ca_file: {}", optional(kinesis.ca_file.as_ref().map(|path| path.to_string_lossy()).as_deref()))?;
    write_assume_role(f, kinesis.assume_role.as_ref())?;
    writeln!(f, "  format: {}", word(&kinesis.format))?;
    let partition_key = match &kinesis.partition_key {
        PartitionKey::Random => "random",
        PartitionKey::Source => "source",
        PartitionKey::Template(template) => template.text(),
    };
    writeln!(f, "  partition_key: {}", text(partition_key))?;
    let explicit_hash_key = kinesis.explicit_hash_key.as_deref().map(Template::text);
    writeln!(f, "  explicit_hash_key: {}", optional(explicit_hash_key))?;
    writeln!(f, "  delimiter: {}", json(&kinesis.delimiter))?;
    writeln!(f, "  compression: {}", word(&kinesis.compression))?;
    writeln!(f, "  max_in_flight_requests: {}", kinesis.max_in_flight_requests)?;
    writeln!(f, "  max_streams: {}", kinesis.max_streams)?;
    writeln!(f, "  hot_key_share: {}", kinesis.hot_key_share)?;
    writeln!(f, "  request_timeout: {}", Time(kinesis.request_timeout))?;
    write_aggregate(f, &kinesis.aggregate)
}

fn write_assume_role(f: &mut fmt::Formatter<'_>, role: Option<&AssumeRole>) -> fmt::Result {
    let Some(role) = role else { return writeln!(f, "  assume_role: null") };
    writeln!(f, "  assume_role:")?;
    writeln!(f, "    arn: {}", text(&role.arn))?;
    writeln!(f, "    external_id: {}", optional(role.external_id.as_deref()))?;
    writeln!(f, "    session_name: {}", text(&role.session_name))
}

fn write_aggregate(f: &mut fmt::Formatter<'_>, aggregate: &AggregateConfig) -> fmt::Result {
    writeln!(f, "  aggregate:")?;
    writeln!(f, "    target_bytes: {}", shown_size(aggregate.target_bytes))?;
    match aggregate.max_bytes {
        Some(bytes) => writeln!(f, "    max_bytes: {}", shown_size(bytes))?,
        None => writeln!(f, "    max_bytes: null")?,
    }
    writeln!(f, "    max_records: {}", aggregate.max_records)?;
    writeln!(f, "    max_age: {}", Time(aggregate.max_age))
}

/// A setting that can be a word or more, which is JSON then.
fn written(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| json(value), text)
}

/// A word of an enumeration.
fn word(value: &impl Serialize) -> String {
    json(value).trim_matches('"').to_owned()
}

fn optional(value: Option<&str>) -> String {
    value.map_or_else(|| "null".to_owned(), text)
}

/// Text, quoted unless nothing in it can mean anything else in YAML.
pub(crate) fn text(text: &str) -> String {
    let is_harmless = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    let begins_well = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    let is_word =
        !matches!(text.to_ascii_lowercase().as_str(), "null" | "true" | "false" | "yes" | "no" | "on" | "off");
    if begins_well && is_word && text.chars().all(is_harmless) { text.to_owned() } else { json(&text) }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("settings are plain data with text keys")
}
