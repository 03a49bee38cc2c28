//! `GetShardIterator` and `GetRecords`.

use serde::{Deserialize, Serialize};

use super::{StreamRef, dry_run_refusal, encode, milliseconds, not_future, parse, seconds};
use crate::local::ACCOUNT;
use crate::local::refusal::{Refusal, Violations};
use crate::local::seal::MAX_TOKEN_CHARS;
use crate::local::sequence::SequenceNumber;
use crate::local::shard::{RangeView, Record, Shard, shard_id, shard_number};
use crate::local::state::State;
use crate::local::stream::Stream;

/// How long an iterator may be used, in milliseconds.
pub(super) const ITERATOR_LIFE_MS: u64 = 300_000;
/// Records of one answer.
const MAX_RECORDS: i64 = 10_000;

/// What a shard iterator holds. Short names: the API limits the token's length, and streams' names may be long.
#[derive(Debug, Serialize, Deserialize)]
struct Iterator {
    #[serde(rename = "s")]
    stream: String,
    #[serde(rename = "g")]
    generation: u64,
    #[serde(rename = "n")]
    shard: u64,
    #[serde(rename = "p")]
    place: u64,
    #[serde(rename = "t")]
    issued_ms: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GetShardIteratorInput {
    #[serde(flatten)]
    stream: StreamRef,
    shard_id: Option<String>,
    shard_iterator_type: Option<String>,
    starting_sequence_number: Option<String>,
    timestamp: Option<f64>,
    dry_run: Option<bool>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct GetShardIteratorOutput {
    shard_iterator: String,
}

/// `GetShardIterator`.
pub(super) fn get_shard_iterator(state: &mut State, body: &[u8], now_ms: u64) -> Result<Vec<u8>, Refusal> {
    let input: GetShardIteratorInput = parse(body)?;
    let mut violations = Violations::default();
    input.stream.check(&mut violations);
    match &input.shard_id {
        None => violations.missing("shardId"),
        Some(id) => violations.name("shardId", id),
    }
    let types = ["AFTER_SEQUENCE_NUMBER", "LATEST", "AT_TIMESTAMP", "AT_SEQUENCE_NUMBER", "TRIM_HORIZON"];
    match &input.shard_iterator_type {
        None => violations.missing("shardIteratorType"),
        Some(kind) => violations.one_of("shardIteratorType", kind, &types),
    }
    violations.finish()?;
    let name = input.stream.resolve()?;
    let stream = state.stream(name)?;
    if !stream.is_active(now_ms) {
        return Err(Refusal::no_stream(name));
    }
    let id = input.shard_id.as_deref().unwrap_or_default();
    let shard = shard_number(id).and_then(|number| stream.shard(number)).ok_or_else(|| {
        Refusal::not_found(format!("Shard {id} in stream {name} under account {ACCOUNT} does not exist"))
    })?;
    let place = starting_place(shard, &input, now_ms)?;
    if input.dry_run.unwrap_or_default() {
        return Err(dry_run_refusal());
    }
    let iterator = Iterator {
        stream: name.to_owned(),
        generation: stream.generation,
        shard: shard.number,
        place,
        issued_ms: now_ms,
    };
    encode(&GetShardIteratorOutput { shard_iterator: state.sealer.seal(&iterator) })
}

/// Where in its shard an iterator starts.
fn starting_place(shard: &Shard, input: &GetShardIteratorInput, now_ms: u64) -> Result<u64, Refusal> {
    match input.shard_iterator_type.as_deref() {
        Some("TRIM_HORIZON") => Ok(0),
        Some("AT_TIMESTAMP") => {
            let Some(timestamp) = input.timestamp else {
                return Err(Refusal::argument(
                    "Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP.",
                ));
            };
            Ok(shard.place_at(not_future(milliseconds(timestamp), now_ms)?))
        }
        Some(kind @ ("AT_SEQUENCE_NUMBER" | "AFTER_SEQUENCE_NUMBER")) => {
            let Some(text) = input.starting_sequence_number.as_deref() else {
                let message = format!("Must specify startingSequenceNumber parameter for iterator of type {kind}.");
                return Err(Refusal::argument(message));
            };
            let number = own_number(shard, text)?;
            let place = if kind == "AT_SEQUENCE_NUMBER" { number.place } else { number.place + 1 };
            // The number that closes the shard is beyond all records.
            Ok(place.min(shard.end()))
        }
        _ => Ok(shard.end()),
    }
}

/// A sequence number that must be of this shard.
fn own_number(shard: &Shard, text: &str) -> Result<SequenceNumber, Refusal> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits {
        let mut violations = Violations::default();
        let pattern = r"Member must satisfy regular expression pattern: 0|([1-9]\d{0,128})";
        violations.add("startingSequenceNumber", text, pattern);
        violations.finish()?;
    }
    let Some(number) = SequenceNumber::parse(text) else {
        return Err(Refusal::argument(format!("StartingSequenceNumber {text} used in GetShardIterator is invalid.")));
    };
    if number.shard != shard.number || number.epoch_ms != shard.opened_ms {
        let (other, id) = (shard_id(number.shard), shard.id());
        return Err(Refusal::argument(format!(
            "Invalid StartingSequenceNumber. It encodes {other}, while it was used in a call to a shard with {id}"
        )));
    }
    Ok(number)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GetRecordsInput {
    #[serde(flatten)]
    stream: StreamRef,
    shard_iterator: Option<String>,
    limit: Option<i64>,
    dry_run: Option<bool>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct RecordView<'a> {
    sequence_number: String,
    approximate_arrival_timestamp: f64,
    data: String,
    partition_key: &'a str,
    encryption_type: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ChildView {
    shard_id: String,
    parent_shards: Vec<String>,
    hash_key_range: RangeView,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct GetRecordsOutput<'a> {
    records: Vec<RecordView<'a>>,
    next_shard_iterator: Option<String>,
    millis_behind_latest: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    child_shards: Option<Vec<ChildView>>,
}

/// `GetRecords`.
pub(super) fn get_records(state: &mut State, body: &[u8], now_ms: u64) -> Result<Vec<u8>, Refusal> {
    let input: GetRecordsInput = parse(body)?;
    let iterator = check_get_records(state, &input, now_ms)?;
    let limits = state.shard_limits();
    let (name, id) = (iterator.stream.clone(), shard_id(iterator.shard));
    let State { streams, sealer, .. } = state;
    // An iterator of a stream that was deleted doesn't lead to its namesake.
    let stream = streams.get_mut(&name).filter(|stream| stream.generation == iterator.generation);
    let stream = stream.ok_or_else(|| Refusal::no_stream(&name))?;
    if input.dry_run.unwrap_or_default() {
        return Err(dry_run_refusal());
    }
    let gone = || Refusal::not_found(format!("Shard {id} in stream {name} under account {ACCOUNT} does not exist"));
    if !stream.shard_mut(iterator.shard).ok_or_else(gone)?.admit_read(limits, now_ms) {
        let text = format!("Rate exceeded for shard {id} in stream {name} under account {ACCOUNT}.");
        return Err(Refusal::new("ProvisionedThroughputExceededException", text));
    }
    let shard = stream.shard(iterator.shard).ok_or_else(gone)?;
    let limit = usize::try_from(input.limit.unwrap_or(MAX_RECORDS)).unwrap_or(usize::MAX);
    let batch = shard.read(iterator.place, limit, now_ms);
    // The end of a closed shard is told together with its last records.
    let finished = !shard.is_open() && batch.next >= shard.end();
    let next = Iterator { place: batch.next, issued_ms: now_ms, ..iterator };
    let answer = encode(&GetRecordsOutput {
        records: batch.records.iter().map(|record| view(shard, record)).collect(),
        next_shard_iterator: (!finished).then(|| sealer.seal(&next)),
        millis_behind_latest: batch.behind_ms,
        child_shards: finished.then(|| children(stream, shard)),
    })?;
    let count = batch.records.len();
    stream.shard_mut(next.shard).ok_or_else(gone)?.count_read(count);
    Ok(answer)
}

fn check_get_records(state: &State, input: &GetRecordsInput, now_ms: u64) -> Result<Iterator, Refusal> {
    let mut violations = Violations::default();
    input.stream.check(&mut violations);
    match &input.shard_iterator {
        None => violations.missing("shardIterator"),
        Some(token) => violations.length("shardIterator", token, 1, MAX_TOKEN_CHARS),
    }
    if let Some(limit) = input.limit {
        violations.range("limit", limit, 1, MAX_RECORDS);
    }
    violations.finish()?;
    let token = input.shard_iterator.as_deref().unwrap_or_default();
    let iterator: Iterator = state.sealer.open(token).ok_or_else(|| Refusal::argument("Invalid ShardIterator."))?;
    if !input.stream.is_empty() && input.stream.resolve()? != iterator.stream {
        return Err(Refusal::argument("The ShardIterator is of another stream."));
    }
    let age_ms = now_ms.saturating_sub(iterator.issued_ms);
    if age_ms > ITERATOR_LIFE_MS {
        let issued_ms = iterator.issued_ms;
        return Err(Refusal::new(
            "ExpiredIteratorException",
            format!(
                "Iterator expired. The iterator was created at time {issued_ms} ms while right now it is {now_ms} ms which \
                 is further in the future than the tolerated delay of {ITERATOR_LIFE_MS} milliseconds."
            ),
        ));
    }
    Ok(iterator)
}

fn view<'a>(shard: &Shard, record: &'a Record) -> RecordView<'a> {
    RecordView {
        sequence_number: shard.sequence(record.place, record.arrival_ms).to_string(),
        approximate_arrival_timestamp: seconds(record.arrival_ms),
        data: base64_simd::STANDARD.encode_to_string(&record.data),
        partition_key: &record.partition_key,
        encryption_type: "NONE",
    }
}

/// What comes after a closed shard.
fn children(stream: &Stream, shard: &Shard) -> Vec<ChildView> {
    let view = |child: &Shard| ChildView {
        shard_id: child.id(),
        parent_shards: [child.parent, child.adjacent_parent].into_iter().flatten().map(shard_id).collect(),
        hash_key_range: child.range.into(),
    };
    stream.children(shard.number).map(view).collect()
}
