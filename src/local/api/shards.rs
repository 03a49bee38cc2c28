//! `ListShards`, `SplitShard`, `MergeShards` and `UpdateShardCount`.

use serde::{Deserialize, Serialize};

use super::read::ITERATOR_LIFE_MS;
use super::{StreamRef, encode, milliseconds, not_future, parse};
use crate::kinesis::hash::{HashKeyError, parse_hash_key};
use crate::local::ACCOUNT;
use crate::local::refusal::{Refusal, Violations};
use crate::local::shard::{Shard, ShardView, shard_number};
use crate::local::state::State;
use crate::local::stream::{MAX_SHARDS, Mode, Stream};

/// Shards of one answer, if the request doesn't say.
const DEFAULT_SHARDS: i64 = 1000;
/// Shards of one answer at most.
const MAX_LISTED_SHARDS: i64 = 10_000;
/// A token for the next page lives as long as an iterator.
const TOKEN_LIFE_MS: u64 = ITERATOR_LIFE_MS;

/// Which shards a listing is about.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum Filter {
    All,
    Open,
    /// Open at this time.
    At(u64),
    /// Open at this time or later.
    From(u64),
}

impl Filter {
    fn includes(self, shard: &Shard) -> bool {
        let open_until = |ms| shard.closed_ms.is_none_or(|closed_ms| closed_ms >= ms);
        match self {
            Self::All => true,
            Self::Open => shard.is_open(),
            Self::At(ms) => shard.opened_ms <= ms && open_until(ms),
            Self::From(ms) => open_until(ms),
        }
    }
}

/// What the token for the next page holds.
#[derive(Debug, Serialize, Deserialize)]
struct Page {
    stream: String,
    generation: u64,
    filter: Filter,
    /// The last shard that was listed.
    after: Option<u64>,
    issued_ms: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ShardFilter {
    #[serde(rename = "Type")]
    kind: Option<String>,
    shard_id: Option<String>,
    timestamp: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListShardsInput {
    #[serde(flatten)]
    stream: StreamRef,
    next_token: Option<String>,
    exclusive_start_shard_id: Option<String>,
    max_results: Option<i64>,
    shard_filter: Option<ShardFilter>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListShardsOutput {
    shards: Vec<ShardView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

/// `ListShards`.
pub(super) fn list(state: &mut State, body: &[u8], now_ms: u64) -> Result<Vec<u8>, Refusal> {
    let input: ListShardsInput = parse(body)?;
    check_list(&input)?;
    let page = match &input.next_token {
        Some(token) => next_page(state, &input, token, now_ms)?,
        None => first_page(state, &input, now_ms)?,
    };
    let stream = state.active_stream(&page.stream, now_ms)?;
    if stream.generation != page.generation {
        return Err(Refusal::no_stream(&page.stream));
    }
    let max = usize::try_from(input.max_results.unwrap_or(DEFAULT_SHARDS)).unwrap_or(usize::MAX);
    let in_page = |shard: &&Shard| page.after.is_none_or(|after| shard.number > after) && page.filter.includes(shard);
    let listed: Vec<&Shard> = stream.shards().filter(in_page).take(max.saturating_add(1)).collect();
    let more = listed.len() > max;
    let shards: Vec<ShardView> = listed.iter().take(max).map(|shard| ShardView::from(*shard)).collect();
    let last = listed.iter().take(max).next_back().map(|shard| shard.number);
    let rest = Page { after: last, issued_ms: now_ms, ..page };
    encode(&ListShardsOutput { shards, next_token: more.then(|| state.sealer.seal(&rest)) })
}

fn check_list(input: &ListShardsInput) -> Result<(), Refusal> {
    let mut violations = Violations::default();
    input.stream.check(&mut violations);
    if let Some(id) = &input.exclusive_start_shard_id {
        violations.name("exclusiveStartShardId", id);
    }
    if let Some(max) = input.max_results {
        violations.range("maxResults", max, 1, MAX_LISTED_SHARDS);
    }
    if let Some(filter) = &input.shard_filter {
        let kinds =
            ["AFTER_SHARD_ID", "AT_TRIM_HORIZON", "FROM_TRIM_HORIZON", "AT_LATEST", "AT_TIMESTAMP", "FROM_TIMESTAMP"];
        match &filter.kind {
            None => violations.missing("shardFilter.type"),
            Some(kind) => violations.one_of("shardFilter.type", kind, &kinds),
        }
    }
    violations.finish()
}

fn next_page(state: &State, input: &ListShardsInput, token: &str, now_ms: u64) -> Result<Page, Refusal> {
    // The paginators of some SDKs and of the AWS CLI send the stream along; the service refuses that, and so does this.
    for (given, name) in [(&input.stream.stream_arn, "StreamARN"), (&input.stream.stream_name, "StreamName")] {
        if given.is_some() {
            return Err(Refusal::argument(format!("NextToken and {name} cannot be provided together.")));
        }
    }
    let page: Page = state.sealer.open(token).ok_or_else(|| Refusal::argument("Invalid NextToken."))?;
    if now_ms.saturating_sub(page.issued_ms) > TOKEN_LIFE_MS {
        return Err(Refusal::new("ExpiredNextTokenException", "The NextToken has expired."));
    }
    Ok(page)
}

fn first_page(state: &mut State, input: &ListShardsInput, now_ms: u64) -> Result<Page, Refusal> {
    if input.stream.is_empty() {
        return Err(Refusal::argument("Either NextToken or StreamName should be provided."));
    }
    let name = input.stream.resolve()?;
    let stream = state.active_stream(name, now_ms)?;
    let mut after = None;
    let mut filter = Filter::All;
    if let Some(given) = &input.shard_filter {
        (filter, after) = read_filter(given, stream, now_ms)?;
    }
    if let Some(id) = &input.exclusive_start_shard_id {
        after = Some(number_in(id)?);
    }
    Ok(Page { stream: name.to_owned(), generation: stream.generation, filter, after, issued_ms: now_ms })
}

fn number_in(id: &str) -> Result<u64, Refusal> {
    shard_number(id).ok_or_else(|| Refusal::argument(format!("Invalid ShardId: {id}")))
}

/// The filter, and the shard after which the listing starts if it is of that kind.
fn read_filter(given: &ShardFilter, stream: &Stream, now_ms: u64) -> Result<(Filter, Option<u64>), Refusal> {
    let kind = given.kind.as_deref().unwrap_or_default();
    let horizon_ms = stream.horizon_ms(now_ms);
    let timestamp = || match given.timestamp {
        Some(timestamp) => not_future(milliseconds(timestamp), now_ms).map(|ms| ms.max(horizon_ms)),
        None => Err(Refusal::argument(format!("Timestamp must be provided for a ShardFilter of type {kind}."))),
    };
    Ok(match kind {
        "AFTER_SHARD_ID" => {
            let missing = || Refusal::argument("ShardId must be provided for a ShardFilter of type AFTER_SHARD_ID.");
            (Filter::All, Some(number_in(given.shard_id.as_deref().ok_or_else(missing)?)?))
        }
        "AT_LATEST" => (Filter::Open, None),
        "AT_TRIM_HORIZON" => (Filter::At(horizon_ms), None),
        "AT_TIMESTAMP" => (Filter::At(timestamp()?), None),
        "FROM_TIMESTAMP" => (Filter::From(timestamp()?), None),
        _ => (Filter::From(horizon_ms), None),
    })
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SplitShardInput {
    #[serde(flatten)]
    stream: StreamRef,
    shard_to_split: Option<String>,
    new_starting_hash_key: Option<String>,
}

/// `SplitShard`.
pub(super) fn split(state: &mut State, body: &[u8], now_ms: u64) -> Result<Vec<u8>, Refusal> {
    let input: SplitShardInput = parse(body)?;
    let mut violations = Violations::default();
    input.stream.check(&mut violations);
    let id = required_id("shardToSplit", input.shard_to_split.as_deref(), &mut violations);
    let key = input.new_starting_hash_key.as_deref();
    let at = key.map(parse_hash_key);
    match &at {
        None => violations.missing("newStartingHashKey"),
        Some(Err(HashKeyError::NotDecimal(text))) => {
            let pattern = r"Member must satisfy regular expression pattern: 0|([1-9]\d{0,38})";
            violations.add("newStartingHashKey", text, pattern);
        }
        Some(_) => {}
    }
    violations.finish()?;
    let name = input.stream.resolve()?;
    let stream = provisioned(state, name, "SplitShard", now_ms)?;
    let number = known(stream, id)?;
    let range = stream.shard(number).map(|shard| shard.range);
    let key = key.unwrap_or_default();
    // The service's message; its "one plus" keeps a child from having a single hash key.
    let inside = match (range, &at) {
        (Some(range), Some(Ok(at))) => *at > range.start.saturating_add(1) && *at < range.end,
        _ => false,
    };
    if let (Some(range), false) = (range, inside) {
        let (start, end) = (range.start, range.end);
        return Err(Refusal::argument(format!(
            "NewStartingHashKey {key} used in SplitShard() on shard {id} in stream {name} under account {ACCOUNT} is not \
             both greater than one plus the shard's StartingHashKey {start} and less than the shard's EndingHashKey {end}."
        )));
    }
    stream.split(number, at.and_then(Result::ok).unwrap_or_default(), now_ms)?;
    Ok(Vec::new())
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct MergeShardsInput {
    #[serde(flatten)]
    stream: StreamRef,
    shard_to_merge: Option<String>,
    adjacent_shard_to_merge: Option<String>,
}

/// `MergeShards`.
pub(super) fn merge(state: &mut State, body: &[u8], now_ms: u64) -> Result<Vec<u8>, Refusal> {
    let input: MergeShardsInput = parse(body)?;
    let mut violations = Violations::default();
    input.stream.check(&mut violations);
    let id = required_id("shardToMerge", input.shard_to_merge.as_deref(), &mut violations);
    let adjacent = required_id("adjacentShardToMerge", input.adjacent_shard_to_merge.as_deref(), &mut violations);
    violations.finish()?;
    let name = input.stream.resolve()?;
    let stream = provisioned(state, name, "MergeShards", now_ms)?;
    let (number, adjacent) = (known(stream, id)?, known(stream, adjacent)?);
    stream.merge(number, adjacent, now_ms)?;
    Ok(Vec::new())
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UpdateShardCountInput {
    #[serde(flatten)]
    stream: StreamRef,
    target_shard_count: Option<i64>,
    scaling_type: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct UpdateShardCountOutput<'a> {
    stream_name: &'a str,
    current_shard_count: usize,
    target_shard_count: u32,
    #[serde(rename = "StreamARN")]
    stream_arn: String,
}

/// `UpdateShardCount`. The service also allows no more than ten a day; this doesn't count them.
pub(super) fn update_count(state: &mut State, body: &[u8], now_ms: u64) -> Result<Vec<u8>, Refusal> {
    let input: UpdateShardCountInput = parse(body)?;
    let mut violations = Violations::default();
    input.stream.check(&mut violations);
    match input.target_shard_count {
        None => violations.missing("targetShardCount"),
        Some(count) => violations.range("targetShardCount", count, 1, i64::from(i32::MAX)),
    }
    match &input.scaling_type {
        None => violations.missing("scalingType"),
        Some(kind) => violations.one_of("scalingType", kind, &["UNIFORM_SCALING"]),
    }
    violations.finish()?;
    let name = input.stream.resolve()?;
    let stream = provisioned(state, name, "UpdateShardCount", now_ms)?;
    let current = stream.open_count();
    let target = input.target_shard_count.and_then(|count| u32::try_from(count).ok()).unwrap_or(u32::MAX);
    let wanted = usize::try_from(target).unwrap_or(usize::MAX);
    let counts = format!("Current open shard count: {current} Target shard count: {target}");
    if wanted > MAX_SHARDS {
        return Err(Refusal::limit(format!("A stream may have {MAX_SHARDS} shards. {counts}")));
    }
    if wanted > current * 2 {
        let text = "UpdateShardCount cannot scale up over double your current open shard count.";
        return Err(Refusal::argument(format!("{text} {counts}")));
    }
    if wanted * 2 < current {
        let text = "UpdateShardCount cannot scale down below half your current open shard count.";
        return Err(Refusal::argument(format!("{text} {counts}")));
    }
    stream.resize(target, now_ms)?;
    let stream_arn = stream.arn();
    encode(&UpdateShardCountOutput {
        stream_name: name,
        current_shard_count: current,
        target_shard_count: target,
        stream_arn,
    })
}

fn required_id<'a>(member: &str, id: Option<&'a str>, violations: &mut Violations) -> &'a str {
    match id {
        None => violations.missing(member),
        Some(id) => violations.name(member, id),
    }
    id.unwrap_or_default()
}

/// An ACTIVE stream whose shards are its owner's business.
fn provisioned<'a>(state: &'a mut State, name: &str, operation: &str, now_ms: u64) -> Result<&'a mut Stream, Refusal> {
    let stream = state.active_stream(name, now_ms)?;
    if stream.mode == Mode::OnDemand {
        let text = format!("Request is invalid. {operation} is not allowed on stream {name}: its mode is ON_DEMAND.");
        return Err(Refusal::validation(text));
    }
    Ok(stream)
}

/// The number of a shard that exists.
fn known(stream: &Stream, id: &str) -> Result<u64, Refusal> {
    let number = shard_number(id).filter(|number| stream.shard(*number).is_some());
    number.ok_or_else(|| {
        let name = &stream.name;
        Refusal::not_found(format!("Could not find shard {id} in stream {name} under account {ACCOUNT}."))
    })
}
