//! `CreateStream`, `DeleteStream`, `ListStreams`, `DescribeStream`, `DescribeStreamSummary`, and what changes a stream's
//! settings: `IncreaseStreamRetentionPeriod`, `DecreaseStreamRetentionPeriod`, `UpdateMaxRecordSize`.

use serde::{Deserialize, Serialize};

use super::{StreamRef, encode, parse, seconds};
use crate::local::ACCOUNT;
use crate::local::refusal::{Refusal, Violations};
use crate::local::shard::{ShardView, shard_number};
use crate::local::state::{MAX_STREAMS, State};
use crate::local::stream::{
    MAX_RECORD_KIB, MAX_RETENTION_HOURS, MAX_SHARDS, MIN_RECORD_KIB, MIN_RETENTION_HOURS, Mode, Stream,
};

/// Streams or shards of one answer, if the request doesn't say.
const DEFAULT_LISTED: i64 = 100;
/// Streams or shards of one answer at most.
const MAX_LISTED: i64 = 10_000;
/// Shards of a new stream in on-demand mode.
const ON_DEMAND_SHARDS: u32 = 4;
/// Records go where their keys say.
const USER_PARTITION_KEY: &str = "USER_PARTITION_KEY";
/// Records go where the service likes.
const AUTO: &str = "AUTO";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ModeInput {
    stream_mode: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CreateStreamInput {
    stream_name: Option<String>,
    shard_count: Option<i64>,
    stream_mode_details: Option<ModeInput>,
    #[serde(rename = "MaxRecordSizeInKiB")]
    max_record_size_in_kib: Option<i64>,
    record_distribution_strategy: Option<String>,
}

/// `CreateStream`.
pub(super) fn create(state: &mut State, body: &[u8], now_ms: u64) -> Result<Vec<u8>, Refusal> {
    let input: CreateStreamInput = parse(body)?;
    let mut violations = Violations::default();
    match &input.stream_name {
        None => violations.missing("streamName"),
        Some(name) => violations.name("streamName", name),
    }
    if let Some(count) = input.shard_count {
        violations.range("shardCount", count, 1, i64::from(i32::MAX));
    }
    let mode = input.stream_mode_details.and_then(|details| details.stream_mode);
    if let Some(mode) = &mode {
        violations.one_of("streamModeDetails.streamMode", mode, &["ON_DEMAND", "PROVISIONED"]);
    }
    if let Some(strategy) = &input.record_distribution_strategy {
        violations.one_of("recordDistributionStrategy", strategy, &[USER_PARTITION_KEY, AUTO]);
    }
    let max_record_kib = input.max_record_size_in_kib.map(|kib| record_kib(kib, &mut violations));
    violations.finish()?;
    let on_demand = mode.as_deref() == Some("ON_DEMAND");
    let shard_count = match input.shard_count {
        Some(_) if on_demand => {
            let text = "ShardCount must not be provided when creating a stream in ON_DEMAND mode.";
            return Err(Refusal::validation(text));
        }
        None if on_demand => ON_DEMAND_SHARDS,
        None => return Err(Refusal::validation("ShardCount must be provided for a stream in PROVISIONED mode.")),
        Some(count) => u32::try_from(count).unwrap_or(u32::MAX),
    };
    if input.record_distribution_strategy.is_some() && !on_demand {
        let text = "RecordDistributionStrategy is only supported for streams in ON_DEMAND mode.";
        return Err(Refusal::validation(text));
    }
    let name = input.stream_name.unwrap_or_default();
    if state.streams.contains_key(&name) {
        return Err(Refusal::in_use(format!("Stream {name} under account {ACCOUNT} already exists.")));
    }
    let shards: usize = state.streams.values().map(Stream::shard_count).sum();
    let wanted = usize::try_from(shard_count).unwrap_or(usize::MAX);
    if state.streams.len() >= MAX_STREAMS || shards.saturating_add(wanted) > MAX_SHARDS {
        return Err(Refusal::limit(format!(
            "This request would exceed the limit of {MAX_STREAMS} streams or {MAX_SHARDS} shards under account {ACCOUNT}."
        )));
    }
    let mut stream = Stream::new(name.clone(), state.generation(), shard_count, now_ms);
    stream.active_ms = now_ms + u64::try_from(state.create_delay.as_millis()).unwrap_or(0);
    stream.mode = if on_demand { Mode::OnDemand } else { Mode::Provisioned };
    stream.spreads = input.record_distribution_strategy.as_deref() == Some(AUTO);
    stream.max_record_kib = max_record_kib.unwrap_or(stream.max_record_kib);
    state.streams.insert(name, stream);
    Ok(Vec::new())
}

fn record_kib(kib: i64, violations: &mut Violations) -> u64 {
    let bound = |kib| i64::try_from(kib).unwrap_or(i64::MAX);
    violations.range("maxRecordSizeInKiB", kib, bound(MIN_RECORD_KIB), bound(MAX_RECORD_KIB));
    u64::try_from(kib).unwrap_or_default()
}

/// A request that has nothing but its stream.
#[derive(Debug, Deserialize)]
struct StreamInput {
    #[serde(flatten)]
    stream: StreamRef,
}

/// Reads and checks a request that has nothing but its stream.
fn parse_stream(body: &[u8]) -> Result<StreamRef, Refusal> {
    let input: StreamInput = parse(body)?;
    let mut violations = Violations::default();
    input.stream.check(&mut violations);
    violations.finish()?;
    Ok(input.stream)
}

/// `DeleteStream`. The stream is gone at once; there is no DELETING phase.
pub(super) fn delete(state: &mut State, body: &[u8]) -> Result<Vec<u8>, Refusal> {
    let stream = parse_stream(body)?;
    let name = stream.resolve()?;
    state.stream(name)?;
    state.remove_stream(name);
    Ok(Vec::new())
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ModeView {
    stream_mode: &'static str,
}

/// What all descriptions of a stream begin with.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(clippy::struct_field_names, reason = "the API's names")]
struct SummaryView {
    stream_name: String,
    #[serde(rename = "StreamARN")]
    stream_arn: String,
    stream_status: &'static str,
    stream_mode_details: ModeView,
    stream_creation_timestamp: f64,
}

impl SummaryView {
    fn new(stream: &Stream, now_ms: u64) -> Self {
        Self {
            stream_name: stream.name.clone(),
            stream_arn: stream.arn(),
            stream_status: if stream.is_active(now_ms) { "ACTIVE" } else { "CREATING" },
            stream_mode_details: ModeView {
                stream_mode: match stream.mode {
                    Mode::Provisioned => "PROVISIONED",
                    Mode::OnDemand => "ON_DEMAND",
                },
            },
            stream_creation_timestamp: seconds(stream.created_ms),
        }
    }
}

/// What the longer descriptions add to that.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct DetailsView {
    #[serde(flatten)]
    summary: SummaryView,
    retention_period_hours: u64,
    enhanced_monitoring: [MetricsView; 1],
    encryption_type: &'static str,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct MetricsView {
    shard_level_metrics: [&'static str; 0],
}

impl DetailsView {
    fn new(stream: &Stream, now_ms: u64) -> Self {
        Self {
            summary: SummaryView::new(stream, now_ms),
            retention_period_hours: stream.retention_hours,
            enhanced_monitoring: [MetricsView::default()],
            encryption_type: "NONE",
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListStreamsInput {
    limit: Option<i64>,
    exclusive_start_stream_name: Option<String>,
    next_token: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListStreamsOutput {
    stream_names: Vec<String>,
    has_more_streams: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
    stream_summaries: Vec<SummaryView>,
}

/// `ListStreams`.
pub(super) fn list(state: &mut State, body: &[u8], now_ms: u64) -> Result<Vec<u8>, Refusal> {
    let input: ListStreamsInput = parse(body)?;
    let mut violations = Violations::default();
    if let Some(limit) = input.limit {
        violations.range("limit", limit, 1, MAX_LISTED);
    }
    if let Some(name) = &input.exclusive_start_stream_name {
        violations.name("exclusiveStartStreamName", name);
    }
    violations.finish()?;
    let after: String = match &input.next_token {
        Some(token) => state.sealer.open(token).ok_or_else(|| Refusal::argument("Invalid NextToken."))?,
        None => input.exclusive_start_stream_name.unwrap_or_default(),
    };
    let max = usize::try_from(input.limit.unwrap_or(DEFAULT_LISTED)).unwrap_or(usize::MAX);
    let mut rest = state.streams.values().filter(|stream| stream.name > after);
    let stream_summaries: Vec<_> = rest.by_ref().take(max).map(|stream| SummaryView::new(stream, now_ms)).collect();
    let has_more_streams = rest.next().is_some();
    let stream_names: Vec<_> = stream_summaries.iter().map(|summary| summary.stream_name.clone()).collect();
    let next_token = stream_names.last().filter(|_| has_more_streams).map(|name| state.sealer.seal(name));
    encode(&ListStreamsOutput { stream_names, has_more_streams, next_token, stream_summaries })
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DescribeStreamInput {
    #[serde(flatten)]
    stream: StreamRef,
    limit: Option<i64>,
    exclusive_start_shard_id: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct DescriptionView {
    #[serde(flatten)]
    details: DetailsView,
    shards: Vec<ShardView>,
    has_more_shards: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct DescribeStreamOutput {
    stream_description: DescriptionView,
}

/// `DescribeStream`.
pub(super) fn describe(state: &mut State, body: &[u8], now_ms: u64) -> Result<Vec<u8>, Refusal> {
    let input: DescribeStreamInput = parse(body)?;
    let mut violations = Violations::default();
    input.stream.check(&mut violations);
    if let Some(limit) = input.limit {
        violations.range("limit", limit, 1, MAX_LISTED);
    }
    if let Some(id) = &input.exclusive_start_shard_id {
        violations.name("exclusiveStartShardId", id);
    }
    violations.finish()?;
    let stream = state.stream(input.stream.resolve()?)?;
    let after = match &input.exclusive_start_shard_id {
        None => None,
        Some(id) => {
            Some(shard_number(id).ok_or_else(|| Refusal::argument(format!("Invalid ExclusiveStartShardId: {id}")))?)
        }
    };
    let max = usize::try_from(input.limit.unwrap_or(DEFAULT_LISTED)).unwrap_or(usize::MAX);
    // A stream in creation has no shards yet, as far as anyone can see.
    let visible = stream.is_active(now_ms);
    let mut rest = stream.shards().filter(|shard| visible && after.is_none_or(|after| shard.number > after));
    let shards = rest.by_ref().take(max).map(ShardView::from).collect();
    let has_more_shards = rest.next().is_some();
    let details = DetailsView::new(stream, now_ms);
    encode(&DescribeStreamOutput { stream_description: DescriptionView { details, shards, has_more_shards } })
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct DescriptionSummaryView {
    #[serde(flatten)]
    details: DetailsView,
    open_shard_count: usize,
    consumer_count: u32,
    #[serde(rename = "MaxRecordSizeInKiB")]
    max_record_size_in_kib: u64,
    /// Only for streams in on-demand mode.
    #[serde(skip_serializing_if = "Option::is_none")]
    record_distribution_strategy: Option<&'static str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct DescribeStreamSummaryOutput {
    stream_description_summary: DescriptionSummaryView,
}

/// `DescribeStreamSummary`.
pub(super) fn describe_summary(state: &mut State, body: &[u8], now_ms: u64) -> Result<Vec<u8>, Refusal> {
    let stream_ref = parse_stream(body)?;
    let stream = state.stream(stream_ref.resolve()?)?;
    let strategy = if stream.spreads { AUTO } else { USER_PARTITION_KEY };
    let stream_description_summary = DescriptionSummaryView {
        details: DetailsView::new(stream, now_ms),
        open_shard_count: if stream.is_active(now_ms) { stream.open_count() } else { 0 },
        consumer_count: 0,
        max_record_size_in_kib: stream.max_record_kib,
        record_distribution_strategy: (stream.mode == Mode::OnDemand).then_some(strategy),
    };
    encode(&DescribeStreamSummaryOutput { stream_description_summary })
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RetentionInput {
    #[serde(flatten)]
    stream: StreamRef,
    retention_period_hours: Option<i64>,
}

/// Reads a request for another retention. Returns the stream and the hours.
fn parse_retention(body: &[u8]) -> Result<(StreamRef, u64), Refusal> {
    let input: RetentionInput = parse(body)?;
    let mut violations = Violations::default();
    input.stream.check(&mut violations);
    if input.retention_period_hours.is_none() {
        violations.missing("retentionPeriodHours");
    }
    violations.finish()?;
    let hours = input.retention_period_hours.unwrap_or_default();
    let requested = format!("Requested retention period ({hours} hours)");
    let hours = u64::try_from(hours).unwrap_or_default();
    if hours < MIN_RETENTION_HOURS {
        let text =
            format!("Minimum allowed retention period is {MIN_RETENTION_HOURS} hours. {requested} is too short.");
        return Err(Refusal::argument(text));
    }
    if hours > MAX_RETENTION_HOURS {
        let text = format!("Maximum allowed retention period is {MAX_RETENTION_HOURS} hours. {requested} is too long.");
        return Err(Refusal::argument(text));
    }
    Ok((input.stream, hours))
}

/// `IncreaseStreamRetentionPeriod`.
pub(super) fn increase_retention(state: &mut State, body: &[u8], now_ms: u64) -> Result<Vec<u8>, Refusal> {
    let (stream_ref, hours) = parse_retention(body)?;
    let stream = state.active_stream(stream_ref.resolve()?, now_ms)?;
    if hours < stream.retention_hours {
        let (name, existing) = (&stream.name, stream.retention_hours);
        return Err(Refusal::argument(format!(
            "Requested retention period ({hours} hours) for stream {name} can not be shorter than existing retention \
             period ({existing} hours). Use DecreaseStreamRetentionPeriod API."
        )));
    }
    stream.retention_hours = hours;
    Ok(Vec::new())
}

/// `DecreaseStreamRetentionPeriod`. What is then too old goes at the next look at the retention.
pub(super) fn decrease_retention(state: &mut State, body: &[u8], now_ms: u64) -> Result<Vec<u8>, Refusal> {
    let (stream_ref, hours) = parse_retention(body)?;
    let stream = state.active_stream(stream_ref.resolve()?, now_ms)?;
    if hours > stream.retention_hours {
        let (name, existing) = (&stream.name, stream.retention_hours);
        return Err(Refusal::argument(format!(
            "Requested retention period ({hours} hours) for stream {name} can not be longer than existing retention \
             period ({existing} hours). Use IncreaseStreamRetentionPeriod API."
        )));
    }
    stream.retention_hours = hours;
    Ok(Vec::new())
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct MaxRecordSizeInput {
    #[serde(flatten)]
    stream: StreamRef,
    #[serde(rename = "MaxRecordSizeInKiB")]
    max_record_size_in_kib: Option<i64>,
}

/// `UpdateMaxRecordSize`.
pub(super) fn update_max_record_size(state: &mut State, body: &[u8], now_ms: u64) -> Result<Vec<u8>, Refusal> {
    let input: MaxRecordSizeInput = parse(body)?;
    let mut violations = Violations::default();
    input.stream.check(&mut violations);
    let kib = match input.max_record_size_in_kib {
        None => {
            violations.missing("maxRecordSizeInKiB");
            0
        }
        Some(kib) => record_kib(kib, &mut violations),
    };
    violations.finish()?;
    state.active_stream(input.stream.resolve()?, now_ms)?.max_record_kib = kib;
    Ok(Vec::new())
}
