//! Reading a stream: its shards with their descent, iterators, and records, in our own types. When to ask, and what to do without an answer, is the
//! caller's business.

use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime};

use aws_sdk_kinesis::operation::list_shards::ListShardsOutput;
use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::types::{ChildShard, HashKeyRange, Shard, ShardIteratorType};
use tokio::time::timeout;

use super::describe::{MAX_PAGES, PAGE_SHARDS, unreadable};
use super::{Aws, RequestError, is_arn, request_error};
use crate::kinesis::hash::parse_hash_key;
use crate::kinesis::verdict::{self, Origin};

/// How long one call may take. An answer has 10 MiB at most, which a slow line takes seconds for.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// A shard, open or closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadShard {
    /// Its id.
    pub id: String,
    /// The hash keys that it takes, or took.
    pub range: RangeInclusive<u128>,
    /// What it was made of by a split or a merge. The service may no longer know them.
    pub parents: Vec<String>,
    /// Whether it still takes records.
    pub open: bool,
}

/// Where in a shard reading begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// At the oldest record that is still there.
    Horizon,
    /// Behind the newest one.
    Latest,
    /// At the first record that arrived at this time or later.
    Time(SystemTime),
    /// Behind the record with this sequence number.
    After(String),
}

/// A record as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadRecord {
    /// Its sequence number.
    pub sequence: String,
    /// When the service got it, to the millisecond, as far as it says.
    pub arrival: Option<SystemTime>,
    /// Its partition key.
    pub partition_key: String,
    /// Its data.
    pub data: Vec<u8>,
}

/// What one read gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The records, in their order.
    pub records: Vec<ReadRecord>,
    /// Where to go on; nowhere once a closed shard is read to its end.
    pub next: Option<String>,
    /// How old what comes next is; nothing at the tip.
    pub behind: Duration,
    /// The shards that came of this one, said with its last records.
    pub children: Vec<ReadShard>,
}

impl Aws {
    /// All shards that the service knows, open and closed: `kinesis:ListShards`, all pages.
    pub async fn list_shards(&self, stream: &str) -> Result<Vec<ReadShard>, RequestError> {
        let request = self.client.list_shards().max_results(PAGE_SHARDS);
        let mut request = if is_arn(stream) { request.stream_arn(stream) } else { request.stream_name(stream) };
        let mut all = Vec::new();
        for _ in 0..MAX_PAGES {
            let page = async { request.send().await.map_err(|error| request_error(&error)) };
            let ListShardsOutput { shards, next_token, .. } = self.heard(page).await?;
            for shard in shards.unwrap_or_default() {
                all.push(listed(&shard)?);
            }
            let Some(token) = next_token else { return Ok(all) };
            // The token stands for the stream too; with both the service refuses the request.
            request = self.client.list_shards().max_results(PAGE_SHARDS).next_token(token);
        }
        Err(unreadable(format!("over {MAX_PAGES} pages of shards")))
    }

    /// Where to begin reading a shard: `kinesis:GetShardIterator`.
    pub async fn shard_iterator(&self, stream: &str, shard: &str, place: &Place) -> Result<String, RequestError> {
        let request = self.client.get_shard_iterator().shard_id(shard);
        let request = if is_arn(stream) { request.stream_arn(stream) } else { request.stream_name(stream) };
        let request = match place {
            Place::Horizon => request.shard_iterator_type(ShardIteratorType::TrimHorizon),
            Place::Latest => request.shard_iterator_type(ShardIteratorType::Latest),
            Place::Time(time) => {
                request.shard_iterator_type(ShardIteratorType::AtTimestamp).timestamp(DateTime::from(*time))
            }
            Place::After(sequence) => {
                request.shard_iterator_type(ShardIteratorType::AfterSequenceNumber).starting_sequence_number(sequence)
            }
        };
        let answer = async { request.send().await.map_err(|error| request_error(&error)) };
        let iterator = self.heard(answer).await?.shard_iterator;
        iterator.ok_or_else(|| unreadable("an answer without an iterator".to_owned()))
    }

    /// What is at an iterator: `kinesis:GetRecords`.
    pub async fn records(&self, stream: &str, iterator: String) -> Result<Batch, RequestError> {
        let request = self.client.get_records().shard_iterator(iterator);
        let request = if is_arn(stream) { request.stream_arn(stream) } else { request };
        let answer = async { request.send().await.map_err(|error| request_error(&error)) };
        let answer = self.heard(answer).await?;
        let record = |record: aws_sdk_kinesis::types::Record| ReadRecord {
            sequence: record.sequence_number,
            arrival: record.approximate_arrival_timestamp.and_then(|time| SystemTime::try_from(time).ok()),
            partition_key: record.partition_key.unwrap_or_default(),
            data: record.data.into_inner(),
        };
        // A server that does not say it is at its tip when it has nothing.
        let unsaid = u64::from(!answer.records.is_empty());
        let behind = answer.millis_behind_latest.and_then(|millis| u64::try_from(millis).ok()).unwrap_or(unsaid);
        Ok(Batch {
            children: answer.child_shards.unwrap_or_default().iter().map(child).collect::<Result<_, _>>()?,
            records: answer.records.into_iter().map(record).collect(),
            next: answer.next_shard_iterator,
            behind: Duration::from_millis(behind),
        })
    }

    /// Waits for an answer, and looks for other credentials where the service minds those that were used.
    async fn heard<T>(&self, call: impl Future<Output = Result<T, RequestError>>) -> Result<T, RequestError> {
        let late = |_| {
            let message = format!("no answer within {CALL_TIMEOUT:?}");
            Err(RequestError { code: "Timeout".to_owned(), message, origin: Origin::Transport })
        };
        let answer = timeout(CALL_TIMEOUT, call).await.unwrap_or_else(late);
        if let (Err(error), Some(keeper)) = (&answer, &self.keeper)
            && verdict::on_credentials(&error.code)
        {
            keeper.refused().await;
        }
        answer
    }
}

fn listed(shard: &Shard) -> Result<ReadShard, RequestError> {
    let parents = [&shard.parent_shard_id, &shard.adjacent_parent_shard_id];
    Ok(ReadShard {
        range: range(&shard.shard_id, shard.hash_key_range())?,
        id: shard.shard_id.clone(),
        parents: parents.into_iter().flatten().cloned().collect(),
        open: shard.sequence_number_range().is_none_or(|range| range.ending_sequence_number.is_none()),
    })
}

fn child(shard: &ChildShard) -> Result<ReadShard, RequestError> {
    Ok(ReadShard {
        range: range(&shard.shard_id, shard.hash_key_range())?,
        id: shard.shard_id.clone(),
        parents: shard.parent_shards.clone(),
        open: true,
    })
}

fn range(id: &str, range: Option<&HashKeyRange>) -> Result<RangeInclusive<u128>, RequestError> {
    let range = range.ok_or_else(|| unreadable(format!("shard {id} without a range")))?;
    let key = |text: &str| parse_hash_key(text).map_err(|error| unreadable(format!("shard {id}: {error}")));
    Ok(key(&range.starting_hash_key)?..=key(&range.ending_hash_key)?)
}
