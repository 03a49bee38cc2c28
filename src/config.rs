//! The configuration as the agent uses it: checked, complete, in its final units.
//!
//! What the user writes (YAML, environment, flags) is read by the modules below this one; whoever holds a [`Config`] need
//! not check anything again.

mod effective;
mod kinesis;
mod layers;
mod limits;
mod mask;
mod multiline;
mod parse;
mod problem;
mod raw;
mod renewal;
mod resolve;
mod schema;
mod shape;
mod transforms;
mod tree;
mod walk;
mod yaml;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use crate::encoding::Encoding;
pub use crate::multiline::trace::Preset;
pub use crate::parse::Parser;
pub use crate::route::{StreamRule, Template};
pub use crate::shape::Shape;
pub use effective::Effective;
pub(crate) use effective::text as yaml_text;
pub use layers::{Base, BaseSource, CONFIG_VARIABLE, Document, Layers, VARIABLE_PREFIX};
pub use mask::mask_url;
pub(crate) use problem::did_you_mean;
pub use problem::{Place, Problem, Problems};
pub use schema::{Setting, schema, settings};
pub use yaml::value;

/// A YAML document by the rules of the configuration (no anchors, no doubled keys), as plain values.
pub fn plain_yaml(document: &Document) -> Result<serde_json::Value, Problems> {
    let mut problems = Vec::new();
    let root = yaml::parse(document, &mut problems);
    // Against a schema that takes anything, so that only doubled keys are left to be found.
    let walked = root.map(|root| walk::walk(&serde_json::Value::Bool(true), &[], &root, &mut problems));
    match walked {
        Some(walked) if problems.is_empty() => Ok(walked.value),
        _ => Err(Problems::new(problems)),
    }
}

/// Everything that `kinetail run` needs to know.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where the checkpoint, the lock and the dead letters live.
    pub state_dir: PathBuf,
    /// Bytes of log data that may be in memory at once.
    pub memory_limit: usize,
    /// Whether what ECS generated for Fluent Bit is done.
    pub firelens: FireLens,
    /// What is read.
    pub sources: Vec<SourceConfig>,
    /// Where it goes.
    pub kinesis: KinesisConfig,
    /// What is remembered of files.
    pub checkpoint: CheckpointConfig,
    /// The admin server.
    pub admin: AdminConfig,
    /// What cannot be read twice.
    pub spool: SpoolConfig,
    /// How a stop is carried out.
    pub shutdown: ShutdownConfig,
    /// When the configuration is loaded anew.
    pub reload: ReloadConfig,
    /// The agent's own log.
    pub log: LogConfig,
}

impl Config {
    /// Reads and checks everything; all that is wrong is reported at once.
    pub fn load(sources: &Layers) -> Result<Self, Problems> {
        Self::checked(sources, Demand::Complete)
    }

    /// The same over what is set below everything else.
    pub fn load_over(base: &Base, sources: &Layers) -> Result<Self, Problems> {
        Self::merged(Some(base), sources, Demand::Complete)
    }

    /// The same for a command that is run: without a source for it there is one of defaults.
    pub fn load_exec(sources: &Layers) -> Result<Self, Problems> {
        Self::checked(sources, Demand::Exec)
    }

    fn checked(sources: &Layers, demand: Demand) -> Result<Self, Problems> {
        Self::merged(None, sources, demand)
    }

    fn merged(base: Option<&Base>, sources: &Layers, demand: Demand) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        let settings = settings();
        let Some(root) = layers::merge(base, sources, &settings, &mut problems) else {
            return Err(Problems::new(problems));
        };
        let mut walked = walk::walk(&schema(), &settings, &root, &mut problems);
        let raw = match serde_json::from_value(walked.value.take()) {
            Ok(raw) => raw,
            // The schema is made from these types, so that this is a mistake of ours; it is a problem all the same.
            Err(error) => {
                let message = format!("the document cannot be read: {error}");
                problems.push(Problem { place: root.place, field: String::new(), message });
                return Err(Problems::new(problems));
            }
        };
        let config = resolve::resolve(raw, walked, demand, &mut problems);
        if problems.is_empty() { Ok(config) } else { Err(Problems::new(problems)) }
    }
}

/// Whether what ECS generated for Fluent Bit is done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum FireLens {
    /// In a router's container that has no sources of its own.
    #[default]
    Auto,
    /// Never.
    Off,
    /// What this file says, unless there are sources.
    File(PathBuf),
}

/// What a configuration has to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Demand {
    /// All that the agent needs.
    Complete,
    /// The same, of a command's output in place of files.
    Exec,
    /// Nothing: what is said has to be right.
    Partial,
}

/// One group of files that are read in the same way.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceConfig {
    /// The `source` label of metrics; unique.
    pub name: String,
    /// What it is.
    pub kind: SourceKind,
    /// The permissions of a FIFO that has to be made.
    pub fifo_mode: u32,
    /// Where it listens, if it is a server.
    pub forward: ForwardSettings,
    /// Where its events go, if not to the stream of all.
    pub stream: Option<StreamRule>,
    /// Globs.
    pub paths: Vec<String>,
    /// Globs of what is left out.
    pub exclude: Vec<String>,
    /// Where files are started that were there before the agent ever ran.
    pub start_at: StartAt,
    /// The longest line, without its newline, that stays whole.
    pub max_line_bytes: usize,
    /// What happens to longer ones.
    pub long_lines: LongLines,
    /// Who wrote the file.
    pub format: LineFormat,
    /// How long the rest of a line is waited for; zero is without end.
    pub partial_line_timeout: Duration,
    /// Which lines are one record.
    pub multiline: Option<MultilineConfig>,
    /// How the files' text is encoded.
    pub encoding: Encoding,
    /// How a line becomes an event.
    pub parse: Parser,
    /// What is done to the event.
    pub shape: Shape,
    /// What happens to a line that the parser refuses.
    pub on_parse_error: OnParseError,
    /// What is added to each event.
    pub add: AddFields,
    /// How long a rotated file is still watched after its last growth.
    pub rotate_wait: Duration,
    /// Whether a file is read to its end before a newer one is begun.
    pub oldest_first: bool,
    /// How long a deleted file is held for what is unread of it.
    pub deleted_max_wait: Duration,
}

impl SourceConfig {
    /// The sources alone, for those who only want to know how lines are read: neither a stream nor paths are required, and without any
    /// source there is one of defaults. What is wrong anywhere is reported all the same.
    pub fn load_all(sources: &Layers) -> Result<Vec<Self>, Problems> {
        Config::checked(sources, Demand::Partial).map(|config| config.sources)
    }
}

/// What a source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SourceKind {
    /// Files.
    File,
    /// The agent's stdin.
    Stdin,
    /// A named pipe.
    Fifo,
    /// What a command writes that the agent runs.
    Exec,
    /// A server of the Fluent Forward protocol.
    Forward,
}

impl SourceKind {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Stdin => "stdin",
            Self::Fifo => "fifo",
            Self::Exec => "exec",
            Self::Forward => "forward",
        }
    }
}

/// A server of the Fluent Forward protocol.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ForwardSettings {
    /// Where it listens on TCP.
    pub listen: Vec<SocketAddr>,
    /// The Unix socket that it makes.
    pub unix: Option<PathBuf>,
    /// What clients on TCP have to know.
    pub shared_key: Option<String>,
    /// The certificate and the key of TLS.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// The most that a message may have.
    pub max_message_bytes: usize,
    /// The most connections at once.
    pub max_connections: usize,
    /// How long a connection may say nothing; zero is without end.
    pub idle_timeout: Duration,
}

impl fmt::Debug for ForwardSettings {
    /// The key is nobody's business.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForwardSettings")
            .field("listen", &self.listen)
            .field("unix", &self.unix)
            .field("shared_key", &self.shared_key.as_ref().map(|_| "***"))
            .field("tls", &self.tls)
            .field("max_message_bytes", &self.max_message_bytes)
            .field("max_connections", &self.max_connections)
            .field("idle_timeout", &self.idle_timeout)
            .finish()
    }
}

/// What cannot be read twice: how it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpoolConfig {
    /// Bytes that each source may have.
    pub max_bytes: u64,
    /// Bytes of a segment.
    pub segment_bytes: u64,
    /// What happens to lines for which there is no room.
    pub on_full: OnFull,
    /// When the disk is waited for.
    pub fsync: Fsync,
}

/// What happens to lines for which there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnFull {
    /// Their writer waits.
    Block,
    /// What has waited longest is dropped and counted.
    DropOldest,
    /// They are dropped and counted.
    DropNewest,
}

impl OnFull {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::DropOldest => "drop_oldest",
            Self::DropNewest => "drop_newest",
        }
    }
}

/// When the disk is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Fsync {
    /// Never.
    Never,
    /// Every second, and nobody waits for that.
    Interval,
    /// Before lines count as kept.
    Always,
}

/// Where a file is started that has no checkpoint when the agent starts for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StartAt {
    /// At its first byte.
    Beginning,
    /// At its end: only what is written from now on.
    End,
}

/// What happens to a line over `max_line_bytes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LongLines {
    /// It becomes several events, each saying which part it is; nothing is lost.
    Split,
    /// Its beginning is kept, the rest is dropped and counted.
    Truncate,
}

/// Who wrote a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LineFormat {
    /// The service: its lines are the lines.
    Plain,
    /// A container runtime in the format of the CRI: containerd, CRI-O, podman.
    Cri,
    /// Docker's json-file driver.
    Docker,
    /// Whoever its first line shows.
    Auto,
}

/// Which lines are one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MultilineConfig {
    /// Stack traces of these languages; none if patterns say it.
    pub preset: Vec<Preset>,
    /// A line that begins a record.
    pub start: Option<String>,
    /// How far a record goes, if not up to the next start.
    pub until: Option<(Until, String)>,
    /// How long a record waits for its next line.
    pub timeout: Duration,
    /// How many lines a record has at most.
    pub max_lines: usize,
}

/// What the pattern that ends a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Lines that match go on with it.
    Continue,
    /// Lines that match go on with it, and so does the one after them.
    ContinuePast,
    /// The line that matches is its last.
    End,
    /// The line that matches does not belong to it.
    EndBefore,
}

/// What happens to a line that the parser refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnParseError {
    /// It is sent as `{"message": line}`.
    Keep,
    /// It is dropped and counted.
    Drop,
    /// It is written to the dead-letter file and counted.
    DeadLetter,
}

/// What is added to each event; an event's own field of the same name is replaced.
#[derive(Debug, Clone, Default, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub struct AddFields {
    /// Fields with fixed values.
    pub fields: BTreeMap<String, serde_json::Value>,
    /// `host`: the machine's name.
    pub host: bool,
    /// `path`: the file's path.
    pub path: bool,
    /// `offset`: the byte in the file at which the line starts.
    pub offset: bool,
    /// `_id`: what names the event, by its file and its bytes there.
    pub id: bool,
    /// `stream`: the container's stream, unless the event has such a field.
    pub stream: bool,
    /// `time`: when the runtime got the line, unless the event has such a field.
    pub time: bool,
    /// `tag`: what its sender calls it, unless the event has such a field.
    pub tag: bool,
    /// What is known of the place, unless the event has a field of the object's name.
    pub metadata: Vec<String>,
    /// `kubernetes`: pod and container, unless the event has such a field.
    pub kubernetes: bool,
}

/// Where events go.
#[derive(Clone, PartialEq)]
pub struct KinesisConfig {
    /// The stream's name.
    pub stream: String,
    /// Its ARN, if it may be in another account.
    pub stream_arn: Option<String>,
    /// The region, if it is not left to the SDK's own chain.
    pub region: Option<String>,
    /// An endpoint in place of the region's.
    pub endpoint: Option<String>,
    /// PEM certificates that are trusted in place of the system's.
    pub ca_file: Option<PathBuf>,
    /// The role that is assumed to send.
    pub assume_role: Option<AssumeRole>,
    /// What a Kinesis record holds.
    pub format: Format,
    /// How records are spread over shards.
    pub partition_key: PartitionKey,
    /// The hash key that an event names for itself.
    pub explicit_hash_key: Option<Arc<Template>>,
    /// What each event ends with.
    pub delimiter: String,
    /// How what is sent is compressed.
    pub compression: Compression,
    /// When an aggregate is closed.
    pub aggregate: AggregateConfig,
    /// `PutRecords` requests under way at once.
    pub max_in_flight_requests: usize,
    /// How many streams events may go to, with this one.
    pub max_streams: usize,
    /// The part of a shard's bytes above which a partition key is warned about; zero is never.
    pub hot_key_share: f64,
    /// How long one request may take before it counts as failed.
    pub request_timeout: Duration,
}

impl fmt::Debug for KinesisConfig {
    /// An endpoint can hold a password, which has no place in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KinesisConfig")
            .field("stream", &self.stream)
            .field("stream_arn", &self.stream_arn)
            .field("region", &self.region)
            .field("endpoint", &self.endpoint.as_deref().map(mask_url))
            .field("ca_file", &self.ca_file)
            .field("assume_role", &self.assume_role)
            .field("format", &self.format)
            .field("partition_key", &self.partition_key)
            .field("explicit_hash_key", &self.explicit_hash_key)
            .field("delimiter", &self.delimiter)
            .field("compression", &self.compression)
            .field("aggregate", &self.aggregate)
            .field("max_in_flight_requests", &self.max_in_flight_requests)
            .field("max_streams", &self.max_streams)
            .field("hot_key_share", &self.hot_key_share)
            .field("request_timeout", &self.request_timeout)
            .finish()
    }
}

/// What a Kinesis record holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Many events in the KPL's aggregation format.
    Kpl,
    /// Many events, one a line.
    Lines,
    /// One event.
    Single,
}

/// How records are spread over shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartitionKey {
    /// A fresh key for each record: the best spread, no order.
    Random,
    /// One key per source file: its events stay in order.
    Source,
    /// The key that each event's fields make: events of one key stay in order.
    Template(Arc<Template>),
}

/// How what is sent is compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// As a gzip member: what every consumer can read.
    Gzip,
    /// As a zstd frame: smaller, and cheaper to make and to read.
    Zstd,
}

impl KinesisConfig {
    /// Where the stream is, for those who only read it: nothing has to be set, not even the stream. What is wrong anywhere is reported all the
    /// same.
    pub fn load(sources: &Layers) -> Result<Self, Problems> {
        Config::checked(sources, Demand::Partial).map(|config| config.kinesis)
    }
}

/// A role that is assumed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssumeRole {
    /// The role.
    pub arn: String,
    /// What the role's owner asks for, so that nobody else's agent can be made to assume it.
    pub external_id: Option<String>,
    /// What the session is called in the role's account.
    pub session_name: String,
}

/// When an aggregate is closed.
#[derive(Debug, Clone, PartialEq)]
pub struct AggregateConfig {
    /// Bytes, with the partition key, at which it is sent as soon as it can be.
    pub target_bytes: usize,
    /// Bytes, with the partition key, to which it may grow while it has to wait; none is the stream's record limit.
    pub max_bytes: Option<usize>,
    /// How many events it has at most; zero is without end.
    pub max_records: usize,
    /// The longest an event waits for others to fill its aggregate.
    pub max_age: Duration,
}

/// What is remembered of files.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckpointConfig {
    /// How long a file that is gone is remembered.
    pub expire_after: Duration,
}

/// The admin server.
#[derive(Debug, Clone, PartialEq)]
pub struct AdminConfig {
    /// Where it listens; none switches it off.
    pub listen: Option<SocketAddr>,
    /// The age of the oldest unsent event above which `/readyz` says no.
    pub ready_max_age: Duration,
    /// How long a stage may have work and not move before `/livez` says no; none is for ever.
    pub watchdog: Option<Duration>,
}

impl AdminConfig {
    /// Where it listens, for those who ask it: nothing else has to be set. What is wrong anywhere is reported all the same.
    pub fn load(sources: &Layers) -> Result<Self, Problems> {
        Config::checked(sources, Demand::Partial).map(|config| config.admin)
    }
}

/// How a stop is carried out.
#[derive(Debug, Clone, PartialEq)]
pub struct ShutdownConfig {
    /// From the signal to the exit, at most.
    pub timeout: Duration,
}

/// When the configuration is loaded anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReloadConfig {
    /// Whenever its file has changed, and not only when somebody asks for it.
    pub watch: bool,
}

/// The agent's own log.
#[derive(Debug, Clone, PartialEq)]
pub struct LogConfig {
    /// The least severe level that is written.
    pub level: LogLevel,
    /// How a message looks.
    pub format: LogFormat,
}

/// A severity of the agent's own log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// How a message of the agent's own log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line, for machines.
    Json,
}
