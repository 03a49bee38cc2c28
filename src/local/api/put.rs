//! `PutRecord` and `PutRecords`.
//!
//! A request is checked as a whole before any of it is stored; what is then refused is refused record by record.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{StreamRef, dry_run_refusal, encode, parse};
use crate::kinesis::hash::{HashKeyError, hash_key, parse_hash_key};
use crate::local::ACCOUNT;
use crate::local::faults::{Faults, RecordFault};
use crate::local::refusal::{Refusal, Violations};
use crate::local::shard::ShardLimits;
use crate::local::state::State;
use crate::local::stream::{MAX_RECORD_KIB, Stream};

/// Records of one request.
const MAX_RECORDS: usize = 500;
/// Data and keys of one request, in bytes.
const MAX_REQUEST_BYTES: usize = 10 * 1024 * 1024;
/// Characters of a partition key.
const MAX_KEY_CHARS: usize = 256;

/// Text that is taken from the request without a copy where it has no escapes. As a type of its own because serde borrows
/// only bare `Cow`s, not optional ones.
#[derive(Debug, Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The members of a record.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry<'a> {
    #[serde(borrow)]
    data: Option<Text<'a>>,
    #[serde(borrow)]
    partition_key: Option<Text<'a>>,
    #[serde(borrow)]
    explicit_hash_key: Option<Text<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutRecordInput<'a> {
    // Not flattened: serde would copy all the data to do that.
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    #[serde(borrow)]
    data: Option<Text<'a>>,
    #[serde(borrow)]
    partition_key: Option<Text<'a>>,
    #[serde(borrow)]
    explicit_hash_key: Option<Text<'a>>,
    sequence_number_for_ordering: Option<String>,
    dry_run: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutRecordsInput<'a> {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    #[serde(borrow)]
    records: Option<Vec<Entry<'a>>>,
    dry_run: Option<bool>,
}

/// Where a record is, or why it is nowhere.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Placed {
    #[serde(rename_all = "PascalCase")]
    Stored { sequence_number: String, shard_id: String },
    #[serde(rename_all = "PascalCase")]
    Refused { error_code: &'static str, error_message: String },
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct PutRecordsOutput {
    failed_record_count: usize,
    encryption_type: &'static str,
    records: Vec<Placed>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct PutRecordOutput {
    shard_id: String,
    sequence_number: String,
    encryption_type: &'static str,
}

/// A record that has passed all checks.
#[derive(Debug)]
struct Put<'a> {
    data: Vec<u8>,
    partition_key: &'a str,
    hash_key: u128,
}

/// The records of a request, and whether it only asks if they would be taken.
#[derive(Debug)]
struct Puts<'a> {
    puts: Vec<Put<'a>>,
    dry_run: bool,
}

/// `PutRecords`.
pub(super) fn many(state: &mut State, body: &[u8], now_ms: u64) -> Result<Vec<u8>, Refusal> {
    let input: PutRecordsInput = parse(body)?;
    let stream_ref = StreamRef { stream_name: input.stream_name, stream_arn: input.stream_arn };
    let mut violations = Violations::default();
    stream_ref.check(&mut violations);
    let entries = input.records.as_deref().unwrap_or_default();
    if input.records.is_none() {
        violations.missing("records");
    } else if entries.is_empty() {
        violations.add("records", "[]", "Member must have length greater than or equal to 1");
    } else if entries.len() > MAX_RECORDS {
        let shown = format!("[{} records]", entries.len());
        violations.add("records", &shown, &format!("Member must have length less than or equal to {MAX_RECORDS}"));
        return violations.finish().map(|()| Vec::new());
    }
    let member = |index: usize| format!("records.{}.member.", index + 1);
    let puts = check(entries, member, needs_keys(state, &stream_ref), &mut violations)?;
    violations.finish()?;
    let puts = Puts { puts, dry_run: input.dry_run.unwrap_or_default() };
    let placed = store(state, stream_ref.resolve()?, puts, member, now_ms)?;
    let failed = placed.iter().filter(|placed| matches!(placed, Placed::Refused { .. })).count();
    let wrong = if failed > 0 { 0 } else { placed.len() };
    let failed_record_count = if state.faults.plan.wrong_failed_count { wrong } else { failed };
    encode(&PutRecordsOutput { failed_record_count, encryption_type: "NONE", records: placed })
}

/// `PutRecord`: one record, whose refusal is that of the request.
pub(super) fn one(state: &mut State, body: &[u8], now_ms: u64) -> Result<Vec<u8>, Refusal> {
    let input: PutRecordInput = parse(body)?;
    let stream_ref = StreamRef { stream_name: input.stream_name, stream_arn: input.stream_arn };
    let mut violations = Violations::default();
    stream_ref.check(&mut violations);
    // Numbers always grow here, so that there is nothing to do to order a record after this one.
    if let Some(number) = input.sequence_number_for_ordering.as_deref()
        && (number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()))
    {
        let pattern = r"Member must satisfy regular expression pattern: 0|([1-9]\d{0,128})";
        violations.add("sequenceNumberForOrdering", number, pattern);
    }
    let member = |_| String::new();
    let (data, partition_key) = (input.data, input.partition_key);
    let entries = [Entry { data, partition_key, explicit_hash_key: input.explicit_hash_key }];
    let puts = check(&entries, member, needs_keys(state, &stream_ref), &mut violations)?;
    violations.finish()?;
    let puts = Puts { puts, dry_run: input.dry_run.unwrap_or_default() };
    match store(state, stream_ref.resolve()?, puts, member, now_ms)?.pop() {
        Some(Placed::Stored { sequence_number, shard_id }) => {
            encode(&PutRecordOutput { shard_id, sequence_number, encryption_type: "NONE" })
        }
        Some(Placed::Refused { error_code, error_message }) => Err(Refusal::new(error_code, error_message)),
        None => Err(Refusal::new("InternalFailure", "the record got lost")),
    }
}

/// Whether records need partition keys: not where the service spreads them.
fn needs_keys(state: &State, stream_ref: &StreamRef) -> bool {
    let stream = stream_ref.resolve().ok().and_then(|name| state.streams.get(name));
    !stream.is_some_and(|stream| stream.spreads)
}

/// Checks what can be checked without the stream's limits.
fn check<'a>(
    entries: &'a [Entry<'a>],
    member: impl Fn(usize) -> String,
    needs_keys: bool,
    violations: &mut Violations,
) -> Result<Vec<Put<'a>>, Refusal> {
    let mut puts = Vec::with_capacity(entries.len());
    let mut beyond = None;
    for (index, entry) in entries.iter().enumerate() {
        let at = |name: &str| format!("{}{name}", member(index));
        let partition_key = match &entry.partition_key {
            None => {
                if needs_keys {
                    violations.missing(&at("partitionKey"));
                }
                ""
            }
            Some(Text(key)) => {
                violations.length(&at("partitionKey"), key, 1, MAX_KEY_CHARS);
                key.as_ref()
            }
        };
        let hash_key = match &entry.explicit_hash_key {
            None => hash_key(partition_key),
            Some(Text(text)) => parse_hash_key(text).unwrap_or_else(|error| {
                match error {
                    HashKeyError::NotDecimal(text) => {
                        let pattern = r"Member must satisfy regular expression pattern: 0|([1-9]\d{0,38})";
                        violations.add(&at("explicitHashKey"), &text, pattern);
                    }
                    HashKeyError::TooLarge(text) => beyond = Some(text),
                }
                0
            }),
        };
        let data = match &entry.data {
            None => {
                violations.missing(&at("data"));
                Vec::new()
            }
            Some(Text(text)) => decode(text)?,
        };
        if data.len() > kib_to_bytes(MAX_RECORD_KIB) {
            too_long(violations, &at("data"), data.len(), kib_to_bytes(MAX_RECORD_KIB));
        }
        puts.push(Put { data, partition_key, hash_key });
    }
    if let (Some(text), true) = (beyond, violations.is_empty()) {
        return Err(Refusal::argument(format!(
            "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. Specified value was {text}"
        )));
    }
    Ok(puts)
}

fn decode(text: &str) -> Result<Vec<u8>, Refusal> {
    let decoded = base64_simd::STANDARD.decode_to_vec(text.as_bytes());
    decoded.map_err(|_| Refusal::new("SerializationException", "Data isn't valid base64"))
}

fn kib_to_bytes(kib: u64) -> usize {
    usize::try_from(kib * 1024).unwrap_or(usize::MAX)
}

/// Words it as the service does, which shows a buffer in place of the value.
fn too_long(violations: &mut Violations, member: &str, size: usize, max: usize) {
    let shown = format!("java.nio.HeapByteBuffer[pos=0 lim={size} cap={size}]");
    violations.add(member, &shown, &format!("Member must have length less than or equal to {max}"));
}

/// Checks sizes against the stream's limit, then stores what the shards take.
fn store(
    state: &mut State,
    name: &str,
    Puts { puts, dry_run }: Puts<'_>,
    member: impl Fn(usize) -> String,
    now_ms: u64,
) -> Result<Vec<Placed>, Refusal> {
    let limits = state.shard_limits();
    let stream = state.streams.get_mut(name).ok_or_else(|| Refusal::no_stream(name))?;
    if !stream.is_active(now_ms) {
        // The operation's own list of errors has no ResourceInUseException; a stream in creation isn't found.
        return Err(Refusal::no_stream(name));
    }
    let max = stream.max_record_bytes();
    let mut violations = Violations::default();
    let mut total = 0_usize;
    for (index, put) in puts.iter().enumerate() {
        let size = put.data.len() + put.partition_key.len();
        total += size;
        // That one long record refuses the whole request is what old reports about the service say; for limits that
        // UpdateMaxRecordSize has raised it is not verified.
        if size > max {
            too_long(&mut violations, &format!("{}data", member(index)), size, max);
        }
    }
    violations.finish()?;
    // The limit was 5 MB in the days of the reports that quote this message.
    if total > MAX_REQUEST_BYTES {
        return Err(Refusal::argument("Records size exceeds 10 MB limit"));
    }
    if dry_run {
        return Err(dry_run_refusal());
    }
    stream.put_requests += 1;
    let mut stored_bytes = 0;
    let placed = puts
        .into_iter()
        .map(|put| {
            let (placed, footprint) = place(stream, &mut state.faults, limits, put, now_ms);
            stored_bytes += footprint;
            placed
        })
        .collect();
    state.stored(stored_bytes);
    Ok(placed)
}

/// Stores a record, or not. Returns also what it costs in memory.
fn place(stream: &mut Stream, faults: &mut Faults, limits: ShardLimits, put: Put<'_>, now_ms: u64) -> (Placed, usize) {
    let fault = faults.for_record();
    let name = stream.name.clone();
    let shard = stream.route(put.hash_key);
    let refused = |error_code, error_message| (Placed::Refused { error_code, error_message }, 0);
    if fault == RecordFault::Fail {
        shard.counts.failed += 1;
        return refused("InternalFailure", "Internal service failure.".to_owned());
    }
    let size = put.data.len() + put.partition_key.len();
    if fault == RecordFault::Throttle || !shard.admit(size, limits, now_ms) {
        shard.counts.throttled += 1;
        let message = format!("Rate exceeded for shard {} in stream {name} under account {ACCOUNT}.", shard.id());
        return refused("ProvisionedThroughputExceededException", message);
    }
    let (number, footprint) = shard.put(put.partition_key, put.data, now_ms);
    (Placed::Stored { sequence_number: number.to_string(), shard_id: shard.id() }, footprint)
}
