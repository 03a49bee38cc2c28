//! What the status page shows, as plain data: made of the gathered metrics, what the senders say of themselves, the history and the configuration.
//! `/status` answers it as JSON, the page renders it, and the terminal reads it.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::history::{History, INTERVAL, MAX_SHARDS, OfShard, OfSource, OfStream, Ring};
use super::judgement::Judgement;
use crate::config::{Config, SourceKind};
use crate::kinesis::{Blocked, Status, Statuses, oldest_unsent};
use crate::log::recent;
use crate::metrics::gathered::Gathered;

/// Points of which the trend of a backlog is told: a minute.
const TREND_POINTS: usize = 12;

/// Bytes of a hash that tell configurations apart.
const HASH_BYTES: usize = 8;

/// What the configuration says.
#[derive(Debug)]
pub struct Known {
    /// The machine.
    pub host: String,
    /// The stream of events that name none.
    pub stream: String,
    /// The directory of the checkpoint.
    pub state_dir: String,
    /// What a spool may have.
    pub spool_max_bytes: u64,
    /// What a hot key is.
    pub hot_key_share: f64,
    /// Sources: name, kind, where it reads from, stream.
    pub sources: Vec<KnownSource>,
    /// The whole of it, masked.
    pub configuration: String,
    /// What tells it from another one.
    pub hash: String,
    /// When it was loaded.
    pub loaded: SystemTime,
}

/// A source as it is configured.
#[derive(Debug, Clone)]
pub struct KnownSource {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: SourceKind,
    /// What it reads.
    pub reads: String,
}

impl Known {
    /// What a configuration says.
    pub fn new(config: &Config, host: String) -> Self {
        let source = |source: &crate::config::SourceConfig| KnownSource {
            name: source.name.clone(),
            kind: source.kind,
            reads: match source.kind {
                SourceKind::Forward => {
                    source.forward.listen.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
                }
                _ => source.paths.join(", "),
            },
        };
        let configuration = config.effective().to_string();
        Self {
            hash: hash(&configuration),
            loaded: crate::clock::now(),
            host,
            stream: config.kinesis.stream.clone(),
            state_dir: config.state_dir.display().to_string(),
            spool_max_bytes: config.spool.max_bytes,
            hot_key_share: config.kinesis.hot_key_share,
            sources: config.sources.iter().map(source).collect(),
            configuration,
        }
    }
}

/// The first bytes of the SHA-256 of a configuration in effect: the same configuration has the same one on every machine.
fn hash(configuration: &str) -> String {
    Sha256::digest(configuration).iter().take(HASH_BYTES).map(|byte| format!("{byte:02x}")).collect()
}

/// Everything.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "names are those of the JSON, which README.md explains")]
pub struct Shown {
    pub version: &'static str,
    pub host: String,
    pub time: String,
    pub uptime_seconds: u64,
    pub ready: bool,
    pub delivering: Judgement,
    pub stream: String,
    pub blocked: Option<BlockedShown>,
    pub oldest_unsent_seconds: f64,
    pub requests_in_flight: usize,
    pub events_per_second: Rates,
    pub latency_seconds: Latency,
    pub sources: Vec<SourceShown>,
    pub streams: BTreeMap<String, StreamShown>,
    pub shards_left_out: usize,
    pub buffer: Buffer,
    pub ledger: Ledger,
    pub dropped: Vec<Dropped>,
    pub abandoned_bytes: BTreeMap<String, u64>,
    pub kinesis: KinesisTotals,
    pub checkpoint: Checkpoint,
    pub problems: Vec<ProblemShown>,
    pub configuration: String,
    pub configuration_hash: String,
    pub configuration_loaded: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<HistoryShown>,
}

#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "as above")]
pub struct BlockedShown {
    pub code: String,
    pub way_out: &'static str,
    pub since_unix: u64,
}

#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "as above")]
pub struct Rates {
    pub read: f64,
    pub delivered: f64,
    pub dropped: f64,
}

/// Of the last half minute in which there were any.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "as above")]
pub struct Latency {
    pub median: Option<f64>,
    pub p99: Option<f64>,
}

#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "as above")]
pub struct SourceShown {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub reads: String,
    pub files: BTreeMap<String, i64>,
    pub read_bytes: u64,
    pub read_lines: u64,
    pub read_bytes_per_second: f64,
    pub read_lines_per_second: f64,
    pub backlog_bytes: u64,
    pub backlog_seconds: f64,
    /// By how much the backlog grows a second; it shrinks where this is below zero.
    pub backlog_growth_bytes_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spool: Option<SpoolShown>,
}

#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "as above")]
pub struct SpoolShown {
    pub bytes: u64,
    pub capacity_bytes: u64,
    pub oldest_age_seconds: f64,
}

#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "as above")]
pub struct StreamShown {
    pub blocked: Option<BlockedShown>,
    pub oldest_unsent_seconds: f64,
    pub requests_in_flight: usize,
    pub hot_keys: Vec<HotKeyShown>,
    pub open_shards: Option<u64>,
    pub events_per_second: f64,
    pub bytes_per_second: f64,
    pub records_per_second: f64,
    pub requests_per_second: f64,
    pub refused_share: f64,
    pub errors: BTreeMap<String, u64>,
    pub shards: Vec<ShardShown>,
}

#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "as above")]
pub struct HotKeyShown {
    pub partition_key: String,
    pub bytes_per_second: f64,
    pub share_of_stream: f64,
}

#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "as above")]
pub struct ShardShown {
    pub id: String,
    pub records: u64,
    pub bytes: u64,
    pub throttled_records: u64,
    pub bytes_per_second: f64,
    pub throttled_share: f64,
    pub limit_bytes_per_second: Option<f64>,
}

#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "as above")]
pub struct Buffer {
    pub bytes: usize,
    pub capacity_bytes: usize,
    pub waiting_share: f64,
}

#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "as above")]
pub struct Ledger {
    pub events: u64,
    pub delivered: u64,
    pub dropped: u64,
    pub in_flight: u64,
}

#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "as above")]
pub struct Dropped {
    pub stage: String,
    pub reason: String,
    pub events: u64,
}

#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "as above")]
pub struct KinesisTotals {
    pub records: u64,
    pub bytes: u64,
    pub payload_units: u64,
    pub requests: u64,
    pub throttled_records: u64,
    pub retries: u64,
}

#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "as above")]
pub struct Checkpoint {
    pub state_dir: String,
    pub behind_seconds: f64,
    pub errors: u64,
}

#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "as above")]
pub struct ProblemShown {
    pub level: &'static str,
    pub message: String,
    pub details: String,
    pub way_out: Option<&'static str>,
    pub count: u64,
    pub first: String,
    pub last: String,
}

/// The charts' points, every five seconds, the last one now; none where nothing is known.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "as above")]
pub struct HistoryShown {
    pub interval_seconds: u64,
    pub read_bytes_per_second: Vec<Option<f64>>,
    pub delivered_events_per_second: Vec<Option<f64>>,
    pub backlog_bytes: Vec<Option<f64>>,
    pub throttled_share: Vec<Option<f64>>,
    pub latency_p99_seconds: Vec<Option<f64>>,
}

/// What it is made of.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// The metrics of this moment.
    pub now: &'a Gathered,
    /// How the senders are doing.
    pub statuses: &'a Statuses,
    /// The last quarter of an hour.
    pub history: &'a History,
    /// What the configuration says.
    pub known: &'a Known,
}

/// Three digits after the point.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// How old something is; nothing is not old.
pub fn age(since: Option<tokio::time::Instant>) -> f64 {
    since.map_or(0.0, |at| at.elapsed().as_secs_f64())
}

/// A hold.
pub fn blocked(blocked: &Blocked) -> BlockedShown {
    let since_unix = blocked.since.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs());
    BlockedShown { code: blocked.code.clone(), way_out: blocked.way_out, since_unix }
}

/// By how much a ring grows a second, of late.
pub fn trend(ring: &Ring) -> Option<f64> {
    let last: Vec<f64> = ring.iter().rev().take(TREND_POINTS).take_while(|value| !value.is_nan()).collect();
    let (newest, oldest) = (last.first()?, last.last()?);
    let steps = u32::try_from(last.len()).ok()?.checked_sub(1).filter(|steps| *steps > 0)?;
    Some((newest - oldest) / (INTERVAL * steps).as_secs_f64())
}

fn recent(ring: &Ring) -> f64 {
    rounded(ring.recent().unwrap_or(0.0))
}

impl Parts<'_> {
    /// All sources, in the order of the configuration.
    pub fn sources(&self) -> Vec<SourceShown> {
        self.known.sources.iter().map(|source| self.source(source)).collect()
    }

    fn source(&self, known: &KnownSource) -> SourceShown {
        let (now, name) = (self.now, &*known.name);
        let of = |metric: &str| now.count_of(metric, "source", name);
        let history = self.history.sources.get(name);
        let rate = |ring: fn(&OfSource) -> &Ring| history.map_or(0.0, |history| recent(ring(history)));
        let files = now.series("source_files").filter(|series| series.label("source") == name);
        let spool = (known.kind != SourceKind::File).then(|| SpoolShown {
            bytes: of("spool_bytes"),
            capacity_bytes: self.known.spool_max_bytes,
            oldest_age_seconds: rounded(now.total_of("spool_oldest_age_seconds", "source", name)),
        });
        #[expect(clippy::cast_possible_truncation, reason = "a number of files")]
        let files = files.map(|series| (series.label("state").to_owned(), series.value() as i64));
        SourceShown {
            name: name.to_owned(),
            kind: known.kind.as_str(),
            reads: known.reads.clone(),
            files: files.collect(),
            read_bytes: of("source_read_bytes_total"),
            read_lines: of("source_read_lines_total"),
            read_bytes_per_second: rate(|history| &history.read.ring),
            read_lines_per_second: rate(|history| &history.lines.ring),
            backlog_bytes: of("source_backlog_bytes"),
            backlog_seconds: rounded(now.total_of("source_backlog_seconds", "source", name)),
            backlog_growth_bytes_per_second: history.and_then(|history| trend(&history.backlog)).map(rounded),
            spool,
        }
    }

    /// All streams that there are senders of.
    pub fn streams(&self) -> BTreeMap<String, StreamShown> {
        self.statuses.iter().map(|(name, status)| (name.to_string(), self.stream(name, status))).collect()
    }

    fn stream(&self, name: &str, status: &Status) -> StreamShown {
        let history = self.history.streams.get(name);
        let rate = |ring: fn(&OfStream) -> &Ring| history.map_or(0.0, |history| recent(ring(history)));
        let errors = self.now.series("kinesis_record_errors_total").filter(|series| series.label("stream") == name);
        let open_shards = self.now.series("kinesis_shards").find(|series| series.label("stream") == name);
        let shards = self.history.shards.iter().filter(|((stream, _), _)| stream == name);
        let mut shards: Vec<ShardShown> = shards.map(|((_, id), history)| self.shard(name, id, history)).collect();
        let busy = |shard: &ShardShown| shard.bytes_per_second;
        shards.sort_by(|a, b| busy(b).total_cmp(&busy(a)).then_with(|| a.id.cmp(&b.id)));
        StreamShown {
            blocked: status.blocked.as_ref().map(blocked),
            oldest_unsent_seconds: age(status.oldest_unsent),
            requests_in_flight: status.requests_in_flight,
            hot_keys: status.hot_keys.iter().map(HotKeyShown::new).collect(),
            open_shards: open_shards.map(|series| series.count()),
            events_per_second: rate(|history| &history.delivered.ring),
            bytes_per_second: rate(|history| &history.bytes.ring),
            records_per_second: rate(|history| &history.records.ring),
            requests_per_second: rate(|history| &history.requests.ring),
            refused_share: rate(|history| &history.refused),
            errors: errors.map(|series| (series.label("code").to_owned(), series.count())).collect(),
            shards,
        }
    }

    fn shard(&self, stream: &str, id: &str, history: &OfShard) -> ShardShown {
        let of = |metric: &str| {
            let mut series = self.now.series(metric);
            series.find(|series| series.label("stream") == stream && series.label("shard") == id)
        };
        let count = |metric: &str| of(metric).map_or(0, |series| series.count());
        ShardShown {
            id: id.to_owned(),
            records: count("kinesis_shard_records_total"),
            bytes: count("kinesis_shard_bytes_total"),
            throttled_records: count("kinesis_throttled_records_total"),
            bytes_per_second: recent(&history.bytes.ring),
            throttled_share: recent(&history.throttled),
            limit_bytes_per_second: of("kinesis_shard_rate_bytes").map(|series| series.value().round()),
        }
    }

    /// Shards without a chart.
    pub fn shards_left_out(&self) -> usize {
        self.history.shards_in_all.saturating_sub(self.history.shards.len().min(MAX_SHARDS))
    }

    /// Why events were dropped, the most first.
    pub fn dropped(&self) -> Vec<Dropped> {
        let dropped = self.now.series("dropped_events_total").map(|series| Dropped {
            stage: series.label("stage").to_owned(),
            reason: series.label("reason").to_owned(),
            events: series.count(),
        });
        let mut dropped: Vec<Dropped> = dropped.filter(|dropped| dropped.events > 0).collect();
        dropped.sort_by_key(|dropped| std::cmp::Reverse(dropped.events));
        dropped
    }

    /// Everything but the judgement.
    pub fn shown(&self, delivering: Judgement, ready: bool, uptime_seconds: u64) -> Shown {
        let (now, whole) = (self.now, &self.history.whole);
        let abandoned = now.series("abandoned_bytes_total").map(|s| (s.label("reason").to_owned(), s.count()));
        Shown {
            version: env!("CARGO_PKG_VERSION"),
            host: self.known.host.clone(),
            time: super::words::time(crate::clock::now()),
            uptime_seconds,
            ready,
            delivering,
            stream: self.known.stream.clone(),
            blocked: self.statuses.values().find_map(|status| status.blocked.as_ref()).map(blocked),
            oldest_unsent_seconds: age(oldest_unsent(self.statuses)),
            requests_in_flight: self.statuses.values().map(|status| status.requests_in_flight).sum(),
            events_per_second: Rates {
                read: recent(&whole.events.ring),
                delivered: recent(&whole.delivered.ring),
                dropped: recent(&whole.dropped.ring),
            },
            latency_seconds: Latency {
                median: whole.median.recent().map(rounded),
                p99: whole.p99.recent().map(rounded),
            },
            sources: self.sources(),
            streams: self.streams(),
            shards_left_out: self.shards_left_out(),
            buffer: Buffer {
                bytes: usize::try_from(now.total_count("buffer_bytes")).unwrap_or(usize::MAX),
                capacity_bytes: usize::try_from(now.total_count("buffer_capacity_bytes")).unwrap_or(usize::MAX),
                waiting_share: recent(&whole.waited.ring).min(1.0),
            },
            ledger: Ledger {
                events: now.total_count("events_total"),
                delivered: now.total_count("kinesis_user_records_total"),
                dropped: now.total_count("dropped_events_total"),
                in_flight: now.total_count("in_flight_events"),
            },
            dropped: self.dropped(),
            abandoned_bytes: abandoned.filter(|(_, bytes)| *bytes > 0).collect(),
            kinesis: KinesisTotals {
                records: now.total_count("kinesis_records_total"),
                bytes: now.total_count("kinesis_bytes_total"),
                payload_units: now.total_count("kinesis_payload_units_total"),
                requests: now.total_count("kinesis_requests_total"),
                throttled_records: now.total_count("kinesis_throttled_records_total"),
                retries: now.total_count("kinesis_retries_total"),
            },
            checkpoint: Checkpoint {
                state_dir: self.known.state_dir.clone(),
                behind_seconds: rounded(now.total("checkpoint_age_seconds")),
                errors: now.total_count("checkpoint_errors_total"),
            },
            problems: Vec::new(),
            configuration: self.known.configuration.clone(),
            configuration_hash: self.known.hash.clone(),
            configuration_loaded: super::words::time(self.known.loaded),
            history: None,
        }
    }
}

impl HotKeyShown {
    fn new(hot: &crate::kinesis::hot::HotKey) -> Self {
        Self {
            partition_key: hot.key.clone(),
            bytes_per_second: hot.bytes_per_second.round(),
            share_of_stream: hot.share,
        }
    }
}

impl ProblemShown {
    /// One of the log.
    pub fn new(problem: &recent::Problem) -> Self {
        Self {
            level: if problem.is_error { "error" } else { "warning" },
            message: problem.message.clone(),
            details: problem.details.clone(),
            way_out: problem.way_out,
            count: problem.count,
            first: super::words::time(problem.first),
            last: super::words::time(problem.last),
        }
    }
}

impl HistoryShown {
    /// The points of the charts of the agent as a whole.
    pub fn new(history: &History) -> Self {
        let points = |ring: &Ring| ring.iter().map(|value| (!value.is_nan()).then(|| rounded(value))).collect();
        let whole = &history.whole;
        Self {
            interval_seconds: INTERVAL.as_secs(),
            read_bytes_per_second: points(&whole.read.ring),
            delivered_events_per_second: points(&whole.delivered.ring),
            backlog_bytes: points(&whole.backlog),
            throttled_share: points(&whole.throttled),
            latency_p99_seconds: points(&whole.p99),
        }
    }
}
