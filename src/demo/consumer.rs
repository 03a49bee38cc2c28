//! Reads all shards of a stream through the SDK, as a consumer does, from their beginning to their end.

use std::ops::RangeInclusive;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::DisplayErrorContext;
use aws_sdk_kinesis::types::{Shard, ShardIteratorType};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};

use super::ledger::Record;
use super::{Error, Message};

/// Between two looks at shards that had nothing new.
const PAUSE: Duration = Duration::from_millis(10);
/// Reads that may fail in a row before the demo gives up.
const MAX_FAILURES: u32 = 20;
/// Between a read that failed and the next.
const FAILURE_PAUSE: Duration = Duration::from_millis(200);

/// The consumer.
#[derive(Debug)]
pub struct Consumer {
    client: Client,
    shards: Vec<Position>,
    tell: mpsc::Sender<Message>,
}

#[derive(Debug)]
struct Position {
    iterator: Option<String>,
}

/// What one look at all shards came to.
#[derive(Debug, Default)]
struct Look {
    records: usize,
    behind: bool,
}

impl Consumer {
    /// A consumer at the beginning of each shard, and the ranges of their hash keys.
    pub async fn open(
        client: Client,
        stream: &str,
        tell: mpsc::Sender<Message>,
    ) -> Result<(Self, Vec<RangeInclusive<u128>>), Error> {
        let listed = client.list_shards().stream_name(stream).send().await.map_err(|e| sdk("ListShards", &e))?;
        let (mut shards, mut ranges) = (Vec::new(), Vec::new());
        for shard in listed.shards() {
            let request = client.get_shard_iterator().stream_name(stream).shard_id(&shard.shard_id);
            let request = request.shard_iterator_type(ShardIteratorType::TrimHorizon);
            let answer = request.send().await.map_err(|e| sdk("GetShardIterator", &e))?;
            shards.push(Position { iterator: answer.shard_iterator });
            ranges.push(range(shard)?);
        }
        Ok((Self { client, shards, tell }, ranges))
    }

    /// Reads until `done` is true and nothing is left.
    pub async fn run(mut self, done: watch::Receiver<bool>) -> Result<(), Error> {
        let mut failures = 0;
        loop {
            // Looked at first: what was sent before it was true is seen by the reads that follow.
            let last = *done.borrow();
            match self.look().await {
                Ok(Look { records: 0, behind: false }) if last => return Ok(()),
                Ok(Look { records, behind }) => {
                    failures = 0;
                    if records == 0 && !behind {
                        sleep(PAUSE).await;
                    }
                }
                Err(error @ Error::Sdk { .. }) if failures < MAX_FAILURES => {
                    failures += 1;
                    tracing::warn!(%error, "a read has failed and is tried again");
                    sleep(FAILURE_PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn look(&mut self) -> Result<Look, Error> {
        let mut look = Look::default();
        for (shard, position) in self.shards.iter_mut().enumerate() {
            let Some(iterator) = &position.iterator else { continue };
            let answer = self.client.get_records().shard_iterator(iterator).send().await;
            let answer = answer.map_err(|e| sdk("GetRecords", &e))?;
            let (at, behind) = (Instant::now(), answer.millis_behind_latest.unwrap_or_default() > 0);
            position.iterator = answer.next_shard_iterator;
            look.behind |= behind;
            look.records += answer.records.len();
            if answer.records.is_empty() {
                continue;
            }
            let record = |record: aws_sdk_kinesis::types::Record| Record {
                key_bytes: record.partition_key.as_deref().map_or(0, str::len),
                data: record.data.into_inner(),
            };
            let records = answer.records.into_iter().map(record).collect();
            self.tell.send(Message::Read { shard, records, at }).await.map_err(|_| Error::Ended)?;
        }
        Ok(look)
    }
}

fn range(shard: &Shard) -> Result<RangeInclusive<u128>, Error> {
    let range = shard.hash_key_range.as_ref();
    let parsed = range.and_then(|r| Some(r.starting_hash_key.parse().ok()?..=r.ending_hash_key.parse().ok()?));
    parsed.ok_or_else(|| Error::Shard { id: shard.shard_id.clone() })
}

fn sdk(operation: &'static str, error: &(dyn std::error::Error + 'static)) -> Error {
    Error::Sdk { operation, message: DisplayErrorContext(error).to_string() }
}
