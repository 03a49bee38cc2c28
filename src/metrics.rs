//! Every metric that the agent exposes, by name. Counters of the ledger change on one thread, that of the sender, so that they add up at
//! every scrape: events = delivered + dropped + in flight. What other threads add to it gets there by [`ledger`].

pub mod derived;
pub mod gathered;
pub mod ledger;
pub mod openmetrics;

use std::cell::RefCell;
use std::sync::Arc;

use prometheus::core::{Collector as _, Desc};
use prometheus::proto::{MetricFamily, MetricType};
use prometheus::{
    CounterVec, Encoder as _, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};
use tokio::sync::watch;

use crate::heartbeat::Beats;
use gathered::Gathered;
use ledger::{Aside, Picture};

/// Seconds from reading an event to its sequence number, and of one request: from a local stand-in to a stream that is far behind.
const SECONDS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// The content type of the text format.
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// A metric, as documentation shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Its full name.
    pub name: String,
    /// Counter, gauge or histogram.
    pub kind: &'static str,
    /// The names of its labels.
    pub labels: Vec<String>,
    /// What it means.
    pub help: String,
}

/// The registry while it is filled. The registry itself shows only metrics that have a series by now.
#[derive(Debug, Default)]
pub(crate) struct Table {
    registry: Registry,
    descriptions: RefCell<Vec<Description>>,
}

/// The metrics of one agent.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    descriptions: Vec<Description>,
    /// What transforms derive from events, as text. It has names of its own.
    pub derived: watch::Sender<Arc<[u8]>>,
    /// What transforms did.
    pub transforms: IntCounterVec,
    /// Events that a metric had no series or no number for.
    pub metric_errors: IntCounterVec,
    /// Whether the stages move: what the watchdog looks at, and no metric by itself.
    pub beats: Beats,
    /// 1 for a stage that has work and does not move.
    pub stalled: IntGaugeVec,
    /// Bytes of files that were read.
    pub read_bytes: IntCounterVec,
    /// Lines that were read.
    pub read_lines: IntCounterVec,
    /// Where the bytes of files are, as the reader knows it.
    pub picture: watch::Sender<Arc<Picture>>,
    /// Events that other threads drop before they are read ...
    pub aside: Aside,
    /// ... and those of them that are in the metrics by now.
    aside_told: Aside,
    /// Bytes that files were seen to hold.
    pub found_bytes: IntCounterVec,
    /// Bytes of files that are done with.
    pub settled_bytes: IntCounterVec,
    /// Bytes of files that were read and are not settled.
    pub in_flight_bytes: IntGaugeVec,
    /// Bytes of files that were not read yet.
    pub backlog_bytes: IntGaugeVec,
    /// The age of the oldest byte that is not committed.
    pub backlog_seconds: GaugeVec,
    /// Bytes in the spool.
    pub spool_bytes: IntGaugeVec,
    /// Files of the spool.
    pub spool_segments: IntGaugeVec,
    /// The age of the oldest of them.
    pub spool_oldest_age: GaugeVec,
    /// Bytes that were written to the spool.
    pub spool_written_bytes: IntCounterVec,
    /// Writes that the disk refused.
    pub spool_errors: IntCounterVec,
    /// How long the writers had to wait.
    pub spool_blocked_seconds: CounterVec,
    /// Messages of Forward clients.
    pub forward_messages: IntCounter,
    /// Their events that were kept.
    pub forward_events: IntCounter,
    /// Their bytes.
    pub forward_bytes: IntCounter,
    /// Acknowledgements that were sent to them.
    pub forward_acks: IntCounter,
    /// Their connections.
    pub forward_connections: IntGauge,
    /// Connections that were refused or closed.
    pub forward_rejected: IntCounterVec,
    /// Parts of lines that docker cut.
    pub forward_partials: IntCounterVec,
    /// Files by state.
    pub files: IntGaugeVec,
    /// Rotations by kind.
    pub rotations: IntCounterVec,
    /// Events made of lines.
    pub events: IntCounterVec,
    /// Lines that a parser refused.
    pub parse_errors: IntCounterVec,
    /// Events that got the time of their reading.
    pub timestamp_errors: IntCounterVec,
    /// How much older than its reading an event says that it is.
    pub event_skew: GaugeVec,
    /// Lines in which bytes were replaced.
    pub invalid_utf8: IntCounterVec,
    /// Lines over the limit.
    pub long_lines: IntCounterVec,
    /// Events whose partition key or hash key is not what a template says.
    pub key_fallbacks: IntCounterVec,
    /// Events that go to the default stream because the one that they name cannot be had.
    pub stream_fallbacks: IntCounterVec,
    /// Events that nobody gets.
    pub dropped_events: IntCounterVec,
    /// Bytes that nobody gets.
    pub abandoned_bytes: IntCounterVec,
    /// Events between the reader and their sequence numbers.
    pub in_flight_events: IntGauge,
    /// Memory in use.
    pub buffer_bytes: IntGauge,
    /// Memory that may be in use.
    pub buffer_capacity_bytes: IntGauge,
    /// Time that the reader waited for memory.
    pub backpressure_seconds: prometheus::Counter,
    /// Events that Kinesis took.
    pub user_records: IntCounterVec,
    /// Records that Kinesis took.
    pub records: IntCounterVec,
    /// Their bytes.
    pub bytes: IntCounterVec,
    /// What provisioned streams bill for them.
    pub payload_units: IntCounterVec,
    /// Their bytes as on-demand streams count them.
    pub rounded_bytes: IntCounterVec,
    /// What its events would have had as bytes of records of their own.
    pub alone_bytes: IntCounterVec,
    /// What would have been billed for the same events one by one.
    pub alone_payload_units: IntCounterVec,
    /// The same as on-demand streams count.
    pub alone_rounded_bytes: IntCounterVec,
    /// Open shards of a stream.
    pub shards: IntGaugeVec,
    /// Records that a shard took.
    pub shard_records: IntCounterVec,
    /// Their bytes.
    pub shard_bytes: IntCounterVec,
    /// What the pacer gives a shard.
    pub shard_rate: GaugeVec,
    /// Requests that were sent.
    pub requests: IntCounterVec,
    /// Records that were refused, alone or with their request.
    pub record_errors: IntCounterVec,
    /// Records that a shard had no room for.
    pub throttled_records: IntCounterVec,
    /// Records that were sent again.
    pub retries: IntCounter,
    /// How long requests took.
    pub put_duration: HistogramVec,
    /// 1 while nothing goes through for this reason.
    pub blocked: IntGaugeVec,
    /// From reading to the sequence number.
    pub delivery_latency: Histogram,
    /// When Kinesis last took a record.
    pub last_success: Gauge,
    /// Since when the checkpoint on disk is what it is.
    pub checkpoint_age: Gauge,
    /// Checkpoints that could not be written.
    pub checkpoint_errors: IntCounter,
    /// How files are watched.
    pub watch_mode: IntGaugeVec,
    /// Directories that are watched.
    pub watched_directories: IntGauge,
    /// Hints that were lost.
    pub watch_overflows: IntCounter,
    /// How often the globs were run.
    pub file_scans: IntCounterVec,
    /// What deleted files that are still read take.
    pub deleted_held_bytes: IntGauge,
    /// Configurations that were loaded while the agent ran, by what came of them.
    pub config_reloads: IntCounterVec,
    /// 1 unless the last one was refused.
    pub config_last_reload_successful: IntGauge,
    /// When the configuration in effect was loaded.
    pub config_last_reload_success: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Metrics of their own registry, all at zero.
    #[expect(clippy::too_many_lines, reason = "one table: a name, a help text, the labels")]
    pub fn new() -> Self {
        let r = Table::default();
        let build_info = gauges(&r, "build_info", "The version that runs; always 1.", &["version"]);
        build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Self {
            read_bytes: counters(&r, "source_read_bytes_total", "Bytes of files read.", &["source"]),
            read_lines: counters(&r, "source_read_lines_total", "Lines read.", &["source"]),
            found_bytes: counters(
                &r,
                "source_found_bytes_total",
                "Bytes that files were seen to hold, from where reading them began.",
                &["source"],
            ),
            settled_bytes: counters(
                &r,
                "source_settled_bytes_total",
                "Bytes of files that are done with: their events are delivered or dropped, or there are none.",
                &["source"],
            ),
            in_flight_bytes: gauges(
                &r,
                "source_in_flight_bytes",
                "Bytes of files read and not settled yet.",
                &["source"],
            ),
            backlog_bytes: gauges(&r, "source_backlog_bytes", "Bytes of files not read yet.", &["source"]),
            backlog_seconds: float_gauges(
                &r,
                "source_backlog_seconds",
                "The age of the oldest byte that is not committed: since its event's time, if that is known (by timestamp or the container runtime), otherwise since it was there to be read.",
                &["source"],
            ),
            spool_bytes: gauges(&r, "spool_bytes", "Bytes in the spool, delivered or not.", &["source"]),
            spool_segments: gauges(&r, "spool_segments", "Files of the spool that hold something.", &["source"]),
            spool_oldest_age: float_gauges(
                &r,
                "spool_oldest_age_seconds",
                "Since when the oldest file of the spool has been written.",
                &["source"],
            ),
            spool_written_bytes: counters(&r, "spool_written_bytes_total", "Bytes written to the spool.", &["source"]),
            spool_errors: counters(&r, "spool_errors_total", "Writes that the spool's disk refused.", &["source"]),
            spool_blocked_seconds: float_counters(
                &r,
                "spool_blocked_seconds_total",
                "How long writers waited for room in the spool.",
                &["source"],
            ),
            forward_messages: counter(&r, "forward_messages_total", "Messages of Forward clients."),
            forward_events: counter(&r, "forward_events_total", "Events of Forward clients that were kept."),
            forward_bytes: counter(&r, "forward_bytes_total", "Bytes of Forward clients' messages."),
            forward_acks: counter(&r, "forward_acks_total", "Acknowledgements sent to Forward clients."),
            forward_connections: gauge(&r, "forward_connections", "Connections of Forward clients."),
            forward_rejected: counters(
                &r,
                "forward_rejected_total",
                "Connections of Forward clients that were refused, or closed for this reason.",
                &["reason"],
            ),
            forward_partials: counters(
                &r,
                "forward_partials_total",
                "Parts of lines that docker cut: joined, or sent one by one for this reason.",
                &["outcome"],
            ),
            files: gauges(
                &r,
                "source_files",
                "Files by state: live, of these quiet (nothing was written to them for a while), draining, unreadable, ignored.",
                &["source", "state"],
            ),
            rotations: counters(
                &r,
                "file_rotations_total",
                "Rotations by kind: rename, delete, truncate, copytruncate (a copy was found and is read to its end), replace (saved anew).",
                &["kind"],
            ),
            events: counters(&r, "events_total", "Events made of lines.", &["source"]),
            parse_errors: counters(
                &r,
                "parse_errors_total",
                "Lines that the parser refused, by its name, or that are not in their file's format (cri, docker); fields that are not what they were to be parsed as (nested).",
                &["parser"],
            ),
            timestamp_errors: counters(
                &r,
                "timestamp_errors_total",
                "Events that got the time of their reading (or of the container runtime) for want of their own: missing, unreadable.",
                &["source", "reason"],
            ),
            event_skew: float_gauges(
                &r,
                "event_skew_seconds",
                "When the last event was read, less the time that it says: how far behind the source is, or, below 0, how far ahead its clock.",
                &["source"],
            ),
            invalid_utf8: counters(
                &r,
                "invalid_utf8_lines_total",
                "Lines in which bytes that are not UTF-8 were replaced by U+FFFD.",
                &["source"],
            ),
            long_lines: counters(
                &r,
                "long_lines_total",
                "Lines over max_line_bytes: split or truncated.",
                &["source", "action"],
            ),
            key_fallbacks: counters(
                &r,
                "partition_key_fallbacks_total",
                "Events that got their source's partition key in place of their own (missing, empty, too_long), or whose explicit hash key is none (invalid_hash_key).",
                &["reason"],
            ),
            stream_fallbacks: counters(
                &r,
                "stream_fallbacks_total",
                "Events that went to kinesis.stream, since the stream they name has no name (missing), an impossible one (invalid), or is one too many (limit).",
                &["reason"],
            ),
            dropped_events: counters(
                &r,
                "dropped_events_total",
                "Events that are not delivered, by reason.",
                &["stage", "reason"],
            ),
            abandoned_bytes: counters(
                &r,
                "abandoned_bytes_total",
                "Bytes of files that are not delivered, by reason.",
                &["reason"],
            ),
            in_flight_events: gauge(&r, "in_flight_events", "Events read and neither delivered nor dropped."),
            buffer_bytes: gauge(&r, "buffer_bytes", "Memory that log data takes."),
            buffer_capacity_bytes: gauge(&r, "buffer_capacity_bytes", "Memory that log data may take (memory_limit)."),
            backpressure_seconds: register(
                &r,
                prometheus::Counter::with_opts(opts(
                    "backpressure_seconds_total",
                    "Time that reading waited for memory.",
                )),
            ),
            user_records: counters(
                &r,
                "kinesis_user_records_total",
                "Events that Kinesis has acknowledged.",
                &["stream"],
            ),
            records: counters(&r, "kinesis_records_total", "Kinesis records acknowledged.", &["stream"]),
            bytes: counters(&r, "kinesis_bytes_total", "Bytes of data and partition keys acknowledged.", &["stream"]),
            payload_units: counters(
                &r,
                "kinesis_payload_units_total",
                "PUT payload units (25 KiB, begun ones count) of the records acknowledged.",
                &["stream"],
            ),
            rounded_bytes: counters(
                &r,
                "kinesis_rounded_bytes_total",
                "Bytes acknowledged, each record's rounded up to 1 KiB, as on-demand streams are billed.",
                &["stream"],
            ),
            alone_bytes: counters(
                &r,
                "kinesis_unaggregated_bytes_total",
                "Bytes of data and partition keys that the same events would have had as records of their own.",
                &["stream"],
            ),
            alone_payload_units: counters(
                &r,
                "kinesis_unaggregated_payload_units_total",
                "PUT payload units that the same events would have taken as records of their own.",
                &["stream"],
            ),
            alone_rounded_bytes: counters(
                &r,
                "kinesis_unaggregated_rounded_bytes_total",
                "Bytes rounded up to 1 KiB that the same events would have taken as records of their own.",
                &["stream"],
            ),
            requests: counters(
                &r,
                "kinesis_requests_total",
                "PutRecords requests that ended, with whatever outcome.",
                &["stream"],
            ),
            record_errors: counters(
                &r,
                "kinesis_record_errors_total",
                "Kinesis records refused, alone or with their request, by error code.",
                &["stream", "code"],
            ),
            throttled_records: counters(
                &r,
                "kinesis_throttled_records_total",
                "Kinesis records that a shard had no room for.",
                &["stream", "shard"],
            ),
            shards: gauges(&r, "kinesis_shards", "Open shards of the stream, if the role may list them.", &["stream"]),
            shard_records: counters(
                &r,
                "kinesis_shard_records_total",
                "Kinesis records that a shard acknowledged, since it was opened.",
                &["stream", "shard"],
            ),
            shard_bytes: counters(
                &r,
                "kinesis_shard_bytes_total",
                "Bytes of data and partition keys that a shard acknowledged, since it was opened.",
                &["stream", "shard"],
            ),
            shard_rate: register(
                &r,
                GaugeVec::new(
                    opts(
                        "kinesis_shard_rate_bytes",
                        "Bytes a second that a shard is given, as learnt from what it takes and refuses.",
                    ),
                    &["stream", "shard"],
                ),
            ),
            retries: register(&r, IntCounter::with_opts(opts("kinesis_retries_total", "Kinesis records sent again."))),
            put_duration: register(
                &r,
                HistogramVec::new(
                    HistogramOpts::new(name("kinesis_put_duration_seconds"), "How long PutRecords requests took.")
                        .buckets(SECONDS.to_vec()),
                    &["stream"],
                ),
            ),
            blocked: gauges(
                &r,
                "kinesis_blocked",
                "1 while nothing can be delivered until somebody acts, by error code.",
                &["code"],
            ),
            delivery_latency: register(
                &r,
                Histogram::with_opts(
                    HistogramOpts::new(
                        name("delivery_latency_seconds"),
                        "From reading a record's oldest event to its sequence number.",
                    )
                    .buckets(SECONDS.to_vec()),
                ),
            ),
            last_success: register(
                &r,
                Gauge::with_opts(opts(
                    "last_success_timestamp_seconds",
                    "When Kinesis last acknowledged a record; 0 if never.",
                )),
            ),
            checkpoint_age: register(
                &r,
                Gauge::with_opts(opts(
                    "checkpoint_age_seconds",
                    "For how long the checkpoint on disk has been behind; 0 if it is not.",
                )),
            ),
            checkpoint_errors: register(
                &r,
                IntCounter::with_opts(opts("checkpoint_errors_total", "Checkpoints that could not be written.")),
            ),
            watch_mode: gauges(
                &r,
                "watch_mode",
                "How new files are noticed: 1 for notify (with a periodic scan), 1 for poll where no notice comes; both where there are both.",
                &["mode"],
            ),
            watched_directories: gauge(&r, "watched_directories", "Directories that are watched."),
            watch_overflows: register(
                &r,
                IntCounter::with_opts(opts(
                    "watch_overflows_total",
                    "Times that the kernel had more to tell of watched directories than it keeps; all files are looked for then.",
                )),
            ),
            file_scans: counters(
                &r,
                "file_scans_total",
                "Searches for files, by what caused them: interval, hint, reload, stop.",
                &["trigger"],
            ),
            deleted_held_bytes: gauge(
                &r,
                "deleted_held_bytes",
                "Bytes of deleted files that are still being read, and take space on disk for as long.",
            ),
            config_reloads: counters(
                &r,
                "config_reloads_total",
                "Configurations loaded while running, by what came of them: applied, unchanged, refused (the one before stays in effect).",
                &["result"],
            ),
            config_last_reload_successful: gauge(
                &r,
                "config_last_reload_successful",
                "1 if the last configuration that was loaded is in effect, 0 if it was refused.",
            ),
            config_last_reload_success: register(
                &r,
                Gauge::with_opts(opts(
                    "config_last_reload_success_timestamp_seconds",
                    "When the configuration in effect was loaded.",
                )),
            ),
            transforms: counters(
                &r,
                "transform_events_total",
                "Events that a transform, by its number in the list and its name, changed or counted (touched), dropped, or could do nothing with (failed), and keys that it had to forget for others (forgotten).",
                &["source", "transform", "outcome"],
            ),
            metric_errors: counters(
                &r,
                "derived_metric_errors_total",
                "Events that a metric of the transforms had no series for, so that they are in the series _other (max_series), or that have no number for it (invalid).",
                &["source", "metric", "reason"],
            ),
            derived: watch::Sender::new(Arc::default()),
            picture: watch::Sender::new(Arc::default()),
            aside: Aside::default(),
            aside_told: Aside::default(),
            stalled: gauges(
                &r,
                "stalled",
                "1 while a stage of the line has work and has not moved for admin.watchdog: reader, sender, checkpoint, admin, or spool: and a source.",
                &["stage"],
            ),
            beats: Beats::default(),
            descriptions: r.descriptions.into_inner(),
            registry: r.registry,
        }
    }

    /// Every metric there is, with a series or without, in the order in which they were registered.
    pub fn descriptions(&self) -> &[Description] {
        &self.descriptions
    }

    /// All values of this moment. Only the thread of the senders may ask for them.
    pub fn gather(&self) -> Gathered {
        self.collect_ledger();
        Gathered::new(self.registry.gather())
    }

    /// The text format, version 0.0.4.
    pub fn render(&self) -> Vec<u8> {
        self.text(&self.gather())
    }

    /// What was gathered, and what transforms derive, in the text format, version 0.0.4.
    pub fn text(&self, gathered: &Gathered) -> Vec<u8> {
        let mut out = text(gathered);
        out.extend_from_slice(&self.derived.borrow());
        out
    }

    /// The same in the format of `OpenMetrics`.
    pub fn openmetrics(&self, gathered: &Gathered) -> Vec<u8> {
        openmetrics::encode(gathered.families(), &String::from_utf8_lossy(&self.derived.borrow())).into_bytes()
    }

    /// Forgets what is known of a shard that is closed: a stream that is resharded again and again has ever new ones. What it refused stays.
    pub fn forget_shard(&self, stream: &str, shard: &str) {
        let labels = &[stream, shard];
        // A shard that nothing was sent to has no series.
        self.shard_rate.remove_label_values(labels).ok();
        self.shard_records.remove_label_values(labels).ok();
        self.shard_bytes.remove_label_values(labels).ok();
    }

    /// Forgets what is so of a source now: there is none of this name any more. What was counted stays.
    pub fn forget_source(&self, source: &str) {
        self.forget_bytes(source);
        self.event_skew.remove_label_values(&[source]).ok();
        for state in ["live", "quiet", "draining", "ignored", "unreadable"] {
            self.files.remove_label_values(&[source, state]).ok();
        }
    }

    /// Forgets where the bytes of a source are now.
    fn forget_bytes(&self, source: &str) {
        // A series that never was is none the less gone.
        for gauge in [&self.in_flight_bytes, &self.backlog_bytes] {
            gauge.remove_label_values(&[source]).ok();
        }
        self.backlog_seconds.remove_label_values(&[source]).ok();
    }

    /// Has the counters of a source's transforms begin anew, as the transforms do.
    pub fn forget_transforms(&self, source: &str, transforms: impl Iterator<Item = String>) {
        for transform in transforms {
            for outcome in ["touched", "dropped", "failed", "forgotten"] {
                self.transforms.remove_label_values(&[source, &*transform, outcome]).ok();
            }
        }
    }

    /// The same of the metrics that they derive.
    pub fn forget_derived(&self, source: &str, metrics: impl Iterator<Item = String>) {
        for metric in metrics {
            for reason in ["max_series", "invalid"] {
                self.metric_errors.remove_label_values(&[source, &*metric, reason]).ok();
            }
        }
    }

    /// The sum over all series of a counter.
    pub fn total(counter: &IntCounterVec) -> u64 {
        let families = counter.collect();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "counters hold whole numbers below 2^53"
        )]
        families
            .iter()
            .flat_map(prometheus::proto::MetricFamily::get_metric)
            .map(|m| m.get_counter().get_value() as u64)
            .sum()
    }
}

impl Table {
    /// The registry when it is full, and what is in it.
    pub(crate) fn finish(self) -> (Registry, Vec<Description>) {
        (self.registry, self.descriptions.into_inner())
    }
}

/// What was gathered in the text format, version 0.0.4.
pub fn text(gathered: &Gathered) -> Vec<u8> {
    let mut out = Vec::new();
    if let Err(error) = TextEncoder::new().encode(gathered.families(), &mut out) {
        // The encoder fails on a metric without a name or samples; neither can be registered.
        tracing::error!(%error, "metrics cannot be written");
    }
    out
}

fn name(name: &str) -> String {
    format!("kinetail_{name}")
}

pub(crate) fn opts(metric: &str, help: &str) -> Opts {
    Opts::new(name(metric), help)
}

/// Names are constants of this file; a test builds the whole table, so a bad or a doubled one never ships.
pub(crate) fn register<C: prometheus::core::Collector + Clone + 'static>(
    table: &Table,
    made: prometheus::Result<C>,
) -> C {
    let metric = made.expect("names and labels of metrics are valid");
    table.registry.register(Box::new(metric.clone())).expect("each metric is registered once");
    let kind = metric.collect().first().map_or("untyped", kind);
    let describe = |desc: &&Desc| Description {
        name: desc.fq_name.clone(),
        kind,
        labels: desc.variable_labels.clone(),
        help: desc.help.clone(),
    };
    table.descriptions.borrow_mut().extend(metric.desc().iter().map(describe));
    metric
}

fn kind(family: &MetricFamily) -> &'static str {
    match family.get_field_type() {
        MetricType::COUNTER => "counter",
        MetricType::GAUGE => "gauge",
        MetricType::HISTOGRAM => "histogram",
        _ => "untyped",
    }
}

pub(crate) fn counters(r: &Table, metric: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    register(r, IntCounterVec::new(opts(metric, help), labels))
}

fn counter(r: &Table, metric: &str, help: &str) -> IntCounter {
    register(r, IntCounter::with_opts(opts(metric, help)))
}

fn float_counters(r: &Table, metric: &str, help: &str, labels: &[&str]) -> CounterVec {
    register(r, CounterVec::new(opts(metric, help), labels))
}

fn gauges(r: &Table, metric: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    register(r, IntGaugeVec::new(opts(metric, help), labels))
}

fn float_gauges(r: &Table, metric: &str, help: &str, labels: &[&str]) -> GaugeVec {
    register(r, GaugeVec::new(opts(metric, help), labels))
}

pub(crate) fn gauge(r: &Table, metric: &str, help: &str) -> IntGauge {
    register(r, IntGauge::with_opts(opts(metric, help)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_registers_and_renders() {
        let metrics = Metrics::new();
        metrics.events.with_label_values(&["a"]).inc_by(2);
        metrics.events.with_label_values(&["b"]).inc_by(3);
        assert_eq!(Metrics::total(&metrics.events), 5);
        let text = String::from_utf8(metrics.render()).unwrap();
        assert!(text.contains("kinetail_events_total{source=\"a\"} 2\n"));
        assert!(text.contains("kinetail_build_info{version=\""));
        for line in text.lines().filter(|l| !l.starts_with('#')) {
            assert!(line.starts_with("kinetail_"), "{line}");
        }
    }
}
