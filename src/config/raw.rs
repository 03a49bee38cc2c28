//! The configuration as it is written: every setting with its shape and meaning, nothing checked beyond the shape.
//!
//! The JSON Schema, the checks of the document, the environment variables, the flags and the README's table all come from
//! these types. The extensions are: `x-env` and `x-flag`, where else it can be set; `x-allowed`, what it can be, where the
//! schema's own words do not say it for people.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::limits;
use super::transforms::RawTransform;
use super::{
    Compression, Format, Fsync, LineFormat, LogFormat, LogLevel, LongLines, OnFull, OnParseError, SourceKind, StartAt,
};

/// The settings of kinetail.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawConfig {
    /// The directory of the checkpoint, the lock and the dead letters; has to survive a restart for nothing to be read
    /// twice. An absolute path. (Vector: `data_dir`; Fluent Bit: `DB`.)
    #[schemars(extend(
        "default" = limits::STATE_DIR, "x-env" = "KINETAIL_STATE_DIR", "x-flag" = "state-dir",
        "x-allowed" = "an absolute path"
    ))]
    pub(super) state_dir: Option<String>,
    /// Log data that may be in memory at once, read and not yet taken by Kinesis; when it is reached, reading waits. A size.
    /// (Fluent Bit: `Mem_Buf_Limit`; Vector: `buffer.max_size`.)
    #[schemars(extend(
        "default" = limits::MEMORY_LIMIT.default.to_string(), "x-env" = "KINETAIL_MEMORY_LIMIT",
        "x-allowed" = limits::MEMORY_LIMIT.allowed()
    ))]
    pub(super) memory_limit: Option<Amount>,
    /// Whether a router's container of ECS's `FireLens` without sources of its own does what was generated there for Fluent Bit: `auto`, `off`, or
    /// the file to read, wherever it runs.
    #[schemars(extend(
        "default" = limits::FIRELENS_AUTO, "x-env" = "KINETAIL_FIRELENS", "x-allowed" = "an absolute path, or the words auto and off"
    ))]
    pub(super) firelens: Option<String>,
    /// What is read: groups of files that are treated alike.
    #[schemars(extend("x-allowed" = "a list of sources"))]
    pub(super) sources: Option<Vec<RawSource>>,
    /// Where it goes.
    pub(super) kinesis: Option<RawKinesis>,
    /// What is remembered of files.
    pub(super) checkpoint: Option<RawCheckpoint>,
    /// The server of metrics and health.
    pub(super) admin: Option<RawAdmin>,
    /// The files that keep what cannot be read twice: of each source that is no file.
    pub(super) spool: Option<RawSpool>,
    /// How a stop is carried out.
    pub(super) shutdown: Option<RawShutdown>,
    /// When the configuration is loaded anew.
    pub(super) reload: Option<RawReload>,
    /// The agent's own log, on stderr.
    pub(super) log: Option<RawLog>,
}

/// A group of files that are read in the same way.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSource {
    /// The `source` label of metrics; unique. The second source without a name is `files-2`.
    #[schemars(extend(
        "default" = limits::SOURCE_NAME, "x-allowed" = "1 to 128 letters, digits, \"_\", \".\" and \"-\""
    ))]
    pub(super) name: Option<String>,
    /// What it is: `file` (and so without it), `stdin`, a `fifo` in a shared volume, the command of `kinetail exec`, or `forward`, a server for
    /// `FireLens`, docker's `fluentd` log driver and the fluent-logger libraries.
    #[schemars(extend("default" = SourceKind::File))]
    #[serde(rename = "type")]
    pub(super) kind: Option<SourceKind>,
    /// The stream that its events go to: a name, or a template over their fields, such as `logs-{team}`. What names no stream, or one
    /// beyond `kinesis.max_streams`, goes to `kinesis.stream` and is counted; that is the default too.
    #[schemars(extend("x-allowed" = "a stream's name, or a template of one, such as logs-{team}"))]
    pub(super) stream: Option<String>,
    /// The files, as globs of absolute paths; as a variable or flag separated by commas, and for the only source. Of a `fifo` its path; `-` is
    /// stdin. Required for both.
    /// (Fluent Bit: `Path`; Vector: `include`.)
    #[schemars(extend(
        "x-env" = "KINETAIL_PATHS", "x-flag" = "paths", "x-allowed" = "globs of absolute paths, such as /var/log/app/*.log"
    ))]
    pub(super) paths: Option<Vec<String>>,
    /// What of them is left out: globs of absolute paths, or of names without a directory. (Fluent Bit: `Exclude_Path`; Vector:
    /// `exclude`.)
    #[schemars(extend("x-allowed" = "globs of absolute paths, such as /var/log/app/debug-*.log, or of names, such as *.tmp"))]
    pub(super) exclude: Option<Vec<String>>,
    /// Where a file starts that was there before the agent ever ran; as a variable or flag in every source. (Fluent Bit:
    /// `Read_from_Head`; Vector: `read_from`.)
    #[schemars(extend("default" = limits::START_AT, "x-env" = "KINETAIL_START_AT", "x-flag" = "start-at"))]
    pub(super) start_at: Option<StartAt>,
    /// The longest line, without its newline, that stays whole. A size. (Fluent Bit: `Buffer_Max_Size`; Vector:
    /// `max_line_bytes`.)
    #[schemars(extend(
        "default" = limits::MAX_LINE_BYTES.default.to_string(), "x-allowed" = limits::MAX_LINE_BYTES.allowed()
    ))]
    pub(super) max_line_bytes: Option<Amount>,
    /// What happens to longer lines: `split` makes several events of one, `truncate` drops its end and counts it. (Fluent
    /// Bit: `Skip_Long_Lines`.)
    #[schemars(extend("default" = limits::LONG_LINES))]
    pub(super) long_lines: Option<LongLines>,
    /// The permissions of a FIFO that has to be made, in octal and in quotes. (`mkfifo --mode`.)
    #[schemars(extend("default" = limits::FIFO_MODE, "x-allowed" = "permissions in octal, such as \"0622\""))]
    pub(super) mode: Option<String>,
    /// Where a source of type `forward` listens.
    pub(super) forward: Option<RawForward>,
    /// Who wrote the files: `plain` the service, `cri` a container runtime such as containerd, `docker` Docker's json-file driver;
    /// `auto` looks at the first line of each file. (Fluent Bit: `multiline.parser`; Vector: `kubernetes_logs`.)
    #[schemars(extend("default" = limits::LINE_FORMAT))]
    pub(super) format: Option<LineFormat>,
    /// How long the rest of a line is waited for, before what there is of it is sent; what comes after that is a line of its own. `0s`
    /// waits without end. A time. (Fluent Bit: `Flush_Timeout`; OpenTelemetry: `force_flush_period`.)
    #[schemars(extend(
        "default" = limits::PARTIAL_LINE_TIMEOUT.default.to_string(), "x-allowed" = limits::PARTIAL_LINE_TIMEOUT.allowed()
    ))]
    pub(super) partial_line_timeout: Option<Amount>,
    /// Which lines are one record.
    pub(super) multiline: Option<RawMultiline>,
    /// How the files' text is encoded: `auto` is UTF-8, or UTF-16 in files that begin with a byte order mark of that. (Fluent
    /// Bit: `generic.encoding`; Vector: `encoding.charset`.)
    #[schemars(extend(
        "default" = crate::encoding::AUTO, "x-allowed" = "auto or a label of the WHATWG's, such as windows-1252"
    ))]
    pub(super) encoding: Option<String>,
    /// How a line becomes an event: a parser's name, a list of which the first that fits is taken, or a mapping of `as` and options; see "Parsing and
    /// shaping". As a variable or flag names separated by commas, in every source. (Fluent Bit: `Parser`; Vector: `parse_json` and others.)
    #[schemars(
        with = "Option<RawParse>",
        extend("default" = limits::PARSE, "x-env" = "KINETAIL_PARSE", "x-flag" = "parse", "x-allowed" = super::parse::ALLOWED)
    )]
    pub(super) parse: Option<Value>,
    /// The time of an event, as RFC 3339 with nanoseconds; without this it stays as it was written.
    pub(super) timestamp: Option<RawTimestamp>,
    /// The level of an event, as one of trace, debug, info, warn, error and fatal; without this it stays as it was written.
    pub(super) level: Option<RawLevel>,
    /// Whose names the fields of known formats get: those of OpenTelemetry's semantic conventions or of Elastic's common schema; by default they keep the
    /// format's own.
    pub(super) names: Option<RawNames>,
    /// What is done with events, in order: a list of mappings with one key each; see "Parsing and shaping". (Fluent Bit: filters; Vector: `remap`, `filter`,
    /// `sample` and others.)
    #[schemars(with = "Option<Vec<RawTransform>>", extend("x-allowed" = "a list of transforms"))]
    pub(super) transforms: Option<Vec<Written<RawTransform>>>,
    /// What happens to a line that the parser refuses: `keep` sends it as `{"message": line}`, `drop` counts it,
    /// `dead_letter` writes it to a file in `state_dir`.
    #[schemars(extend("default" = limits::ON_PARSE_ERROR))]
    pub(super) on_parse_error: Option<OnParseError>,
    /// How long a rotated file is still watched after its last growth. A time. (Fluent Bit: `Rotate_Wait`; Vector:
    /// `rotate_wait_secs`.)
    #[schemars(extend(
        "default" = limits::ROTATE_WAIT.default.to_string(), "x-allowed" = limits::ROTATE_WAIT.allowed()
    ))]
    pub(super) rotate_wait: Option<Amount>,
    /// Whether a file is read to its end before a newer one is begun; otherwise files are read in turns. (Vector: `oldest_first`.)
    #[schemars(extend("default" = false))]
    pub(super) oldest_first: Option<bool>,
    /// What happens to files that are deleted before all of them was read.
    pub(super) deleted: Option<RawDeleted>,
    /// What is added to each event; an event's own field of the same name is replaced.
    pub(super) add: Option<RawAdd>,
}

/// A server of the Fluent Forward protocol. Each event is one JSON object: the record, with `tag` and `time` where it has none, unless `add` says
/// otherwise. With `parse: json`, the members of a `log` that is an object itself take its place.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawForward {
    /// Addresses of TCP; heartbeats over UDP are answered there too. (Fluent Bit: `Listen` and `Port`.)
    #[schemars(extend("default" = [limits::FORWARD_LISTEN], "x-allowed" = "a list of IP addresses and ports, such as 127.0.0.1:24224"))]
    pub(super) listen: Option<Vec<String>>,
    /// A Unix socket that is made there. (Fluent Bit: `Unix_Path`.)
    #[schemars(extend("x-allowed" = "an absolute path"))]
    pub(super) unix: Option<String>,
    /// A key that clients on TCP have to know. (Fluent Bit: `Shared_Key`.)
    pub(super) shared_key: Option<String>,
    /// The certificate of TLS on TCP, in PEM; needs `tls_key`. (Fluent Bit: `tls.crt_file`.)
    #[schemars(extend("x-allowed" = "an absolute path"))]
    pub(super) tls_certificate: Option<String>,
    /// Its private key, in PEM. (Fluent Bit: `tls.key_file`.)
    #[schemars(extend("x-allowed" = "an absolute path"))]
    pub(super) tls_key: Option<String>,
    /// The most that a message may have, packed and unpacked; a larger one closes its connection. A size. (Fluent Bit: `Buffer_Max_Size`.)
    #[schemars(extend(
        "default" = limits::FORWARD_MESSAGE_BYTES.default.to_string(), "x-allowed" = limits::FORWARD_MESSAGE_BYTES.allowed()
    ))]
    pub(super) max_message_bytes: Option<Amount>,
    /// The most connections at once; more are closed. A whole number.
    #[schemars(
        with = "Option<u64>",
        extend("default" = limits::FORWARD_CONNECTIONS.default, "x-allowed" = limits::FORWARD_CONNECTIONS.allowed())
    )]
    pub(super) max_connections: Option<Amount>,
    /// How long a connection may say nothing before it is closed, which can lose what a client without acknowledgements sends next; `0s` is without
    /// end. A time.
    #[schemars(extend(
        "default" = limits::FORWARD_IDLE_TIMEOUT.default.to_string(), "x-allowed" = limits::FORWARD_IDLE_TIMEOUT.allowed()
    ))]
    pub(super) idle_timeout: Option<Amount>,
}

/// What happens to files that are deleted before all of them was read.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDeleted {
    /// How long a deleted file is held open, and its space on disk with it, for what is unread; what is given up then is counted. A time.
    /// (Vector: `rotate_wait_secs`.)
    #[schemars(extend(
        "default" = limits::DELETED_MAX_WAIT.default.to_string(), "x-allowed" = limits::DELETED_MAX_WAIT.allowed()
    ))]
    pub(super) max_wait: Option<Amount>,
}

/// Which lines are one record: stack traces, or what patterns say. Patterns are regular expressions in the syntax of Rust's regex crate, and
/// match anywhere in a line.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawMultiline {
    /// Stack traces of these languages, each with the logger's line before it: a name, a list of names, or `auto` for all.
    /// (Fluent Bit: `multiline.parser`.)
    #[schemars(with = "Option<Value>", extend("x-allowed" = super::multiline::PRESETS))]
    pub(super) preset: Option<Value>,
    /// A line that matches begins a record, which goes on up to the next such line unless another pattern says how far. (Vector:
    /// `multiline.start_pattern`.)
    #[schemars(extend("x-allowed" = "a regular expression"))]
    pub(super) start: Option<String>,
    /// A record goes on while lines match. (Vector: `mode: continue_through`.)
    #[schemars(extend("x-allowed" = "a regular expression"))]
    #[serde(rename = "continue")]
    pub(super) going_on: Option<String>,
    /// A record goes on while lines match, and one line more. (Vector: `mode: continue_past`.)
    #[schemars(extend("x-allowed" = "a regular expression"))]
    pub(super) continue_past: Option<String>,
    /// The line that matches is a record's last. (Vector: `mode: halt_with`.)
    #[schemars(extend("x-allowed" = "a regular expression"))]
    pub(super) end: Option<String>,
    /// The line before one that matches is a record's last. (Vector: `mode: halt_before`.)
    #[schemars(extend("x-allowed" = "a regular expression"))]
    pub(super) end_before: Option<String>,
    /// How long a record waits for its next line. A time. (Fluent Bit: `flush_timeout`; Vector: `multiline.timeout_ms`.)
    #[schemars(extend(
        "default" = limits::MULTILINE_TIMEOUT.default.to_string(), "x-allowed" = limits::MULTILINE_TIMEOUT.allowed()
    ))]
    pub(super) timeout: Option<Amount>,
    /// How many lines a record has at most; the rest becomes another one. A whole number.
    #[schemars(
        with = "Option<u64>",
        extend("default" = limits::MULTILINE_MAX_LINES.default, "x-allowed" = limits::MULTILINE_MAX_LINES.allowed())
    )]
    pub(super) max_lines: Option<Amount>,
}

/// The time of an event. Where it has none that can be read, it is that of the container runtime, or of the reading, and counted.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTimestamp {
    /// The field that holds it; by default that of the parser's format, or the first of `@timestamp`, `timestamp`, `time`, `ts` and others with a time.
    #[schemars(extend("x-allowed" = "a field's name"))]
    pub(super) field: Option<String>,
    /// How it is written: `auto` tells by its looks; a name such as `rfc3339`, `clf`, `syslog` or `epoch_ms`; a text with the directives of `strftime`; or a
    /// list of them. (Fluent Bit: `Time_Format`.)
    #[schemars(with = "Option<Value>", extend("default" = "auto", "x-allowed" = "a format's name, a text such as \"%d/%m/%Y %H:%M\", or a list of them"))]
    pub(super) format: Option<Value>,
    /// The zone of times that name none. (Fluent Bit: `Time_Offset`.)
    #[schemars(extend("default" = "UTC", "x-allowed" = "UTC, an offset such as +02:00, a name such as Europe/Paris, or local"))]
    pub(super) zone: Option<String>,
    /// The field that it is put in, in place of the one that held it. (Fluent Bit: `Time_Key`.)
    #[schemars(extend("default" = limits::TIMESTAMP_NAME, "x-allowed" = "a field's name"))]
    pub(super) name: Option<String>,
}

/// The level of an event. One that is not known stays as it is.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLevel {
    /// The field that holds it; by default that of the parser's format, or the first of `level`, `severity`, `lvl` and others with a level.
    #[schemars(extend("x-allowed" = "a field's name"))]
    pub(super) field: Option<String>,
    /// What numbers mean: `tens` from 10, trace, to 60, fatal; `syslog` from 0, emergency, to 7, debug; `otel` from 1 to 24.
    #[schemars(extend("default" = "tens"))]
    pub(super) numbers: Option<RawNumbers>,
    /// The field that it is put in, in place of the one that held it.
    #[schemars(extend("default" = limits::LEVEL_NAME, "x-allowed" = "a field's name"))]
    pub(super) name: Option<String>,
}

/// What a level that is a number means.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawNumbers {
    Tens,
    Syslog,
    Otel,
}

/// Whose names fields get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawNames {
    Otel,
    Ecs,
}

/// What is added to each event.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAdd {
    /// Whether `host`, the machine's name, is added. (Vector: `host_key`.)
    #[schemars(extend("default" = false))]
    pub(super) host: Option<bool>,
    /// Whether `path`, the file's path, is added. (Fluent Bit: `Path_Key`; Vector: `file_key`.)
    #[schemars(extend("default" = false))]
    pub(super) path: Option<bool>,
    /// Whether `offset`, the byte in the file at which the line starts, is added. (Fluent Bit: `Offset_Key`; Vector:
    /// `offset_key`.)
    #[schemars(extend("default" = false))]
    pub(super) offset: Option<bool>,
    /// Whether `_id` is added, which names the event for good: its file, and its first and last byte there with those of the lines before it that became
    /// no event. Consumers drop duplicates by it. (Filebeat: `fingerprint`.)
    #[schemars(extend("default" = false))]
    pub(super) id: Option<bool>,
    /// Whether `stream`, `stdout` or `stderr`, is added to a container's lines; their own field of the name wins.
    #[schemars(extend("default" = true))]
    pub(super) stream: Option<bool>,
    /// Whether `time`, when the runtime got the line, is added to a container's lines and to events of type `forward`; their own field of the
    /// name wins.
    #[schemars(extend("default" = true))]
    pub(super) time: Option<bool>,
    /// Whether `tag`, what its sender calls it, is added to events of type `forward`; their own field of the name wins. (Fluent Bit: `tag_key`.)
    #[schemars(extend("default" = true))]
    pub(super) tag: Option<bool>,
    /// What is known of the place, as objects such as `{"ecs": {"cluster": ...}}` as soon as it is known: names of fields, or their beginnings
    /// with a star; as a variable separated by commas, in every source. An event's own field of the object's name wins. (Fluent Bit: `ecs` and
    /// `kubernetes` filters.)
    #[schemars(extend(
        "x-env" = "KINETAIL_METADATA", "x-allowed" = "a list of names, such as ecs.*, kubernetes.pod_name, kubernetes.labels.app and host.name"
    ))]
    pub(super) metadata: Option<Vec<String>>,
    /// Whether `kubernetes`, the pod and container that kubelet's paths name, is added to a container's lines; their own field
    /// of the name wins. (Fluent Bit: the `kubernetes` filter.)
    #[schemars(extend("default" = true))]
    pub(super) kubernetes: Option<bool>,
    /// Fields with fixed values of any kind, such as `env: prod`. (Fluent Bit: `record_modifier`.)
    #[schemars(extend("x-allowed" = "a mapping of names and values"))]
    pub(super) fields: Option<BTreeMap<String, Value>>,
}

/// Where events go.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawKinesis {
    /// The stream's name. Required. (Fluent Bit: `stream`; Vector: `stream_name`.)
    #[schemars(extend(
        "x-env" = "KINETAIL_STREAM", "x-flag" = "stream",
        "x-allowed" = "1 to 128 letters, digits, \"_\", \".\" and \"-\""
    ))]
    pub(super) stream: Option<String>,
    /// The stream's ARN in place of its name, for one in another account; name and region are in it. Streams of sources are
    /// then in that account too.
    #[schemars(extend(
        "x-env" = "KINETAIL_STREAM_ARN", "x-allowed" = "the ARN of a stream, such as arn:aws:kinesis:eu-west-1:111122223333:stream/logs"
    ))]
    pub(super) stream_arn: Option<String>,
    /// The stream's region, such as `eu-west-1`; by default the variable `AWS_REGION`, and then what the AWS SDK finds.
    #[schemars(extend("x-env" = "KINETAIL_REGION", "x-flag" = "region", "x-allowed" = "a region, such as eu-west-1"))]
    pub(super) region: Option<String>,
    /// An endpoint in place of the region's, such as a VPC endpoint or `kinetail local`. A URL.
    #[schemars(extend(
        "x-env" = "KINETAIL_ENDPOINT", "x-flag" = "endpoint",
        "x-allowed" = "an http or https URL, such as https://kinesis.example.com:4567"
    ))]
    pub(super) endpoint: Option<String>,
    /// A file of PEM certificates that are trusted in place of the system's, for a private endpoint. An absolute path.
    /// (Fluent Bit: `tls.ca_file`; Vector: `tls.ca_file`.)
    #[schemars(extend("x-env" = "KINETAIL_CA_FILE", "x-allowed" = "an absolute path"))]
    pub(super) ca_file: Option<String>,
    /// The role that is assumed to send, such as one of the stream's account.
    pub(super) assume_role: Option<RawAssumeRole>,
    /// What a Kinesis record holds: `kpl` the KPL's aggregates, `lines` events one after the other, a newline after each, `single` one event.
    #[schemars(extend("default" = limits::FORMAT, "x-env" = "KINETAIL_FORMAT", "x-flag" = "format"))]
    pub(super) format: Option<Format>,
    /// How records are spread over shards: `random` evenly, `source` so that a file's events stay in order, or a template over an event's
    /// fields, such as `{user_id}` or `{kubernetes.namespace}/{app|'none'}`, so that events of one key do. (Vector: `partition_key_field`.)
    #[schemars(extend(
        "default" = limits::PARTITION_KEY, "x-env" = "KINETAIL_PARTITION_KEY", "x-flag" = "partition-key",
        "x-allowed" = "the words random and source, or a template, such as \"{user_id}\""
    ))]
    pub(super) partition_key: Option<String>,
    /// The hash key that says in place of the partition key's hash which shard an event goes to: a template, with a template for
    /// `partition_key`. An event without the field goes by its key. (KPL: `explicitHashKey`.)
    #[schemars(extend(
        "x-env" = "KINETAIL_EXPLICIT_HASH_KEY", "x-allowed" = "a template, such as \"{hash_key}\""
    ))]
    pub(super) explicit_hash_key: Option<String>,
    /// What each event ends with; by default a newline, so that what Firehose writes to S3 is one event a line.
    #[schemars(extend(
        "default" = limits::DELIMITER, "x-allowed" = format!("text of up to {} bytes", limits::MAX_DELIMITER_BYTES)
    ))]
    pub(super) delimiter: Option<String>,
    /// How records are compressed: with `format: lines` each as a whole, by `gzip` or `zstd`; with `kpl` each event in it, by `zstd`.
    /// (Vector: `compression`.)
    #[schemars(extend("default" = Compression::None, "x-env" = "KINETAIL_COMPRESSION"))]
    pub(super) compression: Option<Compression>,
    /// `PutRecords` requests under way at once; beyond four of them, only full ones go out. A whole number. (Vector:
    /// `request.concurrency`; KPL: `MaxConnections`.)
    #[schemars(
        with = "Option<u64>",
        extend(
            "default" = limits::MAX_IN_FLIGHT_REQUESTS.default,
            "x-allowed" = limits::MAX_IN_FLIGHT_REQUESTS.allowed()
        )
    )]
    pub(super) max_in_flight_requests: Option<Amount>,
    /// How many streams events may go to, `kinesis.stream` among them. A whole number.
    #[schemars(
        with = "Option<u64>",
        extend("default" = limits::MAX_STREAMS.default, "x-allowed" = limits::MAX_STREAMS.allowed())
    )]
    pub(super) max_streams: Option<Amount>,
    /// The part of a shard's bytes above which a single partition key is warned about, since no reshard helps against that; `0` never
    /// warns. A number.
    #[schemars(
        with = "Option<f64>",
        extend("default" = limits::HOT_KEY_SHARE.default.0, "x-allowed" = limits::HOT_KEY_SHARE.allowed())
    )]
    pub(super) hot_key_share: Option<Amount>,
    /// How long a request may take before it counts as failed and is sent again. A time. (Vector: `request.timeout_secs`;
    /// KPL: `RequestTimeout`.)
    #[schemars(extend(
        "default" = limits::REQUEST_TIMEOUT.default.to_string(), "x-allowed" = limits::REQUEST_TIMEOUT.allowed()
    ))]
    pub(super) request_timeout: Option<Amount>,
    /// When an aggregate is closed and sent.
    pub(super) aggregate: Option<RawAggregate>,
}

/// The role that is assumed to send.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAssumeRole {
    /// The role's ARN. Required in `assume_role`. (Fluent Bit: `role_arn`; Vector: `auth.assume_role`.)
    #[schemars(extend(
        "x-env" = "KINETAIL_ROLE_ARN", "x-allowed" = "the ARN of a role, such as arn:aws:iam::111122223333:role/logs"
    ))]
    pub(super) arn: Option<String>,
    /// The external id that the role's trust policy asks for. (Fluent Bit: `external_id`; Vector: `auth.external_id`.)
    #[schemars(extend(
        "x-env" = "KINETAIL_EXTERNAL_ID", "x-allowed" = "2 to 1224 letters, digits, and any of _=,.@:/+-"
    ))]
    pub(super) external_id: Option<String>,
    /// What the session is called in the role's account and its logs.
    #[schemars(extend(
        "default" = limits::SESSION_NAME, "x-allowed" = "2 to 64 letters, digits, and any of _=,.@-"
    ))]
    pub(super) session_name: Option<String>,
}

/// When an aggregate is closed and sent.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAggregate {
    /// The size, with the partition key, at which it is sent as soon as it can be. A size. (KPL: `AggregationMaxSize`.)
    #[schemars(extend(
        "default" = limits::TARGET_BYTES.default.to_string(), "x-allowed" = limits::TARGET_BYTES.allowed()
    ))]
    pub(super) target_bytes: Option<Amount>,
    /// The size, with the partition key, to which it may grow while others of its key are under way; by default the stream's record
    /// limit. A size, at least `target_bytes`.
    #[schemars(extend("x-allowed" = limits::MAX_BYTES.allowed()))]
    pub(super) max_bytes: Option<Amount>,
    /// How many events it has at most; `0` is without end. A whole number. (KPL: `AggregationMaxCount`.)
    #[schemars(
        with = "Option<u64>",
        extend("default" = limits::MAX_RECORDS.default, "x-allowed" = limits::MAX_RECORDS.allowed())
    )]
    pub(super) max_records: Option<Amount>,
    /// The longest an event waits for others to fill its aggregate. A time. (KPL: `RecordMaxBufferedTime`; Fluent Bit:
    /// `Flush`; Vector: `batch.timeout_secs`.)
    #[schemars(extend(
        "default" = limits::MAX_AGE.default.to_string(), "x-env" = "KINETAIL_MAX_AGE",
        "x-allowed" = limits::MAX_AGE.allowed()
    ))]
    pub(super) max_age: Option<Amount>,
}

/// The server of metrics and health.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAdmin {
    /// The address and port it listens on, or `off`. (Fluent Bit: `HTTP_Listen`, `HTTP_Port`; Vector: `api.address`.)
    #[schemars(extend(
        "default" = limits::ADMIN_LISTEN, "x-env" = "KINETAIL_ADMIN_LISTEN",
        "x-allowed" = "an IP address and port, such as 0.0.0.0:9464, or off"
    ))]
    pub(super) listen: Option<String>,
    /// The age of the oldest unsent event above which `/readyz` says no. A time.
    #[schemars(extend(
        "default" = limits::READY_MAX_AGE.default.to_string(), "x-allowed" = limits::READY_MAX_AGE.allowed()
    ))]
    pub(super) ready_max_age: Option<Amount>,
    /// How long a stage of the line that has work may stand still before `/livez` says no and names it; `0s` is for ever. Waiting for Kinesis or for
    /// memory is no standstill. A time.
    #[schemars(extend("default" = limits::WATCHDOG.default.to_string(), "x-allowed" = limits::WATCHDOG.allowed()))]
    pub(super) watchdog: Option<Amount>,
}

/// What is remembered of files.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCheckpoint {
    /// How long a file that is gone is remembered, in case that it comes back. A time. (Filebeat: `clean_inactive`.)
    #[schemars(extend(
        "default" = limits::EXPIRE_AFTER.default.to_string(), "x-allowed" = limits::EXPIRE_AFTER.allowed()
    ))]
    pub(super) expire_after: Option<Amount>,
}

/// The files that keep what cannot be read twice until it is delivered: in `state_dir`, for each source that is no file.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSpool {
    /// How much a source may have there. A size. (Fluent Bit: `storage.total_limit_size`; Vector: `buffer.max_size`.)
    #[schemars(extend(
        "default" = limits::SPOOL_MAX_BYTES.default.to_string(), "x-env" = "KINETAIL_SPOOL_MAX_BYTES",
        "x-allowed" = limits::SPOOL_MAX_BYTES.allowed()
    ))]
    pub(super) max_bytes: Option<Amount>,
    /// How large each of the files becomes; one goes when all of it is delivered. A size, half of `max_bytes` at most.
    #[schemars(extend(
        "default" = limits::SPOOL_SEGMENT_BYTES.default.to_string(), "x-allowed" = limits::SPOOL_SEGMENT_BYTES.allowed()
    ))]
    pub(super) segment_bytes: Option<Amount>,
    /// What happens to new lines when it is full, or the disk is: `block` makes their writer wait, `drop_oldest` drops what has waited longest,
    /// `drop_newest` drops them; what is dropped is counted. (Vector: `when_full`.)
    #[schemars(extend("default" = limits::SPOOL_ON_FULL, "x-env" = "KINETAIL_SPOOL_ON_FULL"))]
    pub(super) on_full: Option<OnFull>,
    /// When the disk is waited for: `never`, every second (`interval`), or before anything counts as kept (`always`). A crash of the agent loses
    /// nothing in any case; this is for crashes of the machine. (Fluent Bit: `storage.sync`.)
    #[schemars(extend("default" = limits::SPOOL_FSYNC))]
    pub(super) fsync: Option<Fsync>,
}

/// How a stop is carried out.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawShutdown {
    /// From the signal to the exit, at most; what is not sent by then is read again at the next start. A time, shorter than
    /// the platform's own. (Fluent Bit: `Grace`; Vector: `--graceful-shutdown-limit-secs`.)
    #[schemars(extend(
        "default" = limits::SHUTDOWN_TIMEOUT.default.to_string(), "x-allowed" = limits::SHUTDOWN_TIMEOUT.allowed()
    ))]
    pub(super) timeout: Option<Amount>,
}

/// When the configuration is loaded anew. SIGHUP asks for that in any case.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawReload {
    /// Whether it is loaded anew whenever its file has changed, which a `ConfigMap` that is mounted as a directory does too. (Vector: `--watch-config`.)
    #[schemars(extend("default" = false))]
    pub(super) watch: Option<bool>,
}

/// The agent's own log, on stderr.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLog {
    /// The least severe level that is written; as a variable or flag `level` or `level,format`. (Fluent Bit: `Log_Level`;
    /// Vector: `VECTOR_LOG`.)
    #[schemars(extend("default" = limits::LOG_LEVEL, "x-env" = "KINETAIL_LOG", "x-flag" = "log"))]
    pub(super) level: Option<LogLevel>,
    /// How a message looks: `text` for people, `json` one object a line; as a variable or flag the part after the comma.
    /// (Vector: `VECTOR_LOG_FORMAT`.)
    #[schemars(extend("default" = limits::LOG_FORMAT, "x-env" = "KINETAIL_LOG", "x-flag" = "log"))]
    pub(super) format: Option<LogFormat>,
}

/// A size, a time or a number as it was written: `8MiB`, `8388608`, `100ms`.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub(super) struct Amount(pub(super) Value);

impl JsonSchema for Amount {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Amount".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": ["string", "integer"] })
    }

    fn inline_schema() -> bool {
        true
    }
}

/// Something, and how it is written.
#[derive(Debug)]
pub(super) struct Written<T> {
    /// What it is.
    pub(super) raw: T,
    /// How it is written.
    pub(super) text: Value,
}

impl<'de, T: serde::de::DeserializeOwned> Deserialize<'de> for Written<T> {
    fn deserialize<D: serde::Deserializer<'de>>(de: D) -> Result<Self, D::Error> {
        let text = Value::deserialize(de)?;
        let raw = T::deserialize(&text).map_err(serde::de::Error::custom)?;
        Ok(Self { raw, text })
    }
}

/// A parser as it is written: a name, a list, or a mapping. What is right of it is checked where it is compiled.
#[derive(Debug)]
pub(super) enum RawParse {}

impl JsonSchema for RawParse {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Parse".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let name = serde_json::json!({ "type": "string", "enum": crate::parse::kind::NAMES });
        let mapping = serde_json::json!({
            "type": "object",
            "required": ["as"],
            "properties": {
                "as": { "description": "The parser's name; with field also a list or a mapping." },
                "field": { "type": "string", "description": "The line is a JSON object, and this field of it is parsed." },
            },
        });
        let items = serde_json::json!({ "oneOf": [name, mapping] });
        schemars::json_schema!({ "oneOf": [name, mapping, { "type": "array", "minItems": 1, "items": items }] })
    }

    fn inline_schema() -> bool {
        true
    }
}
