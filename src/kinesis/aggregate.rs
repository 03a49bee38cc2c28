//! The Aggregator: events in, Kinesis records out. Pure; the time and the state of a lane are handed in, its random keys come from a seed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::budget::Permit;
use crate::config::{Format, PartitionKey};
use crate::event::{Further, LaneId, Span, join_span};
use crate::kinesis::encode::{DIGEST_BYTES, Encoder, Keys, MAGIC};
use crate::kinesis::record::{KinesisRecord, Payload, memory};

/// Every event ends with this, so that what Firehose writes to S3 is one event a line.
const DELIMITER: &[u8] = b"\n";
/// A random partition key: 64 random bits, which is 16 hexadecimal digits. Two records that draw the same key only share a shard.
const RANDOM_KEY_BYTES: usize = 16;
/// What the longest partition key and its table entry take, with one record around the largest event: what an event must leave free.
const ENVELOPE_BYTES: usize = MAGIC.len() + DIGEST_BYTES + 2 * MAX_KEY_BYTES + 64;
/// Partition keys are at most 256 characters; ours are ASCII.
pub const MAX_KEY_BYTES: usize = 256;
/// What a new aggregate of an ordered lane has room for at first; there may be thousands of lanes.
const FIRST_CAPACITY_BYTES: usize = 4096;

/// The largest event that fits into a record of this size, in any format.
pub fn max_event(max_record: usize) -> usize {
    max_record.saturating_sub(ENVELOPE_BYTES)
}

/// How events are packed.
#[derive(Debug, Clone)]
pub struct Packing {
    /// What a record holds.
    pub format: Format,
    /// Whose order is kept.
    pub partition_key: PartitionKey,
    /// The size, with the partition key, at which a record goes out as soon as it can.
    pub target: usize,
    /// The size that no record passes.
    pub max: usize,
    /// The longest an event waits for company.
    pub max_age: Duration,
}

/// One event as it is added.
#[derive(Debug, Clone, Copy)]
pub struct UserRecord<'a> {
    /// The ordering lane that it belongs to.
    pub lane: LaneId,
    /// The lane's partition key.
    pub partition_key: &'a Arc<str>,
    /// The event's bytes.
    pub data: &'a [u8],
    /// The bytes of the file that it stands for ...
    pub span: Span,
    /// ... and those that lie apart from them, of the same file.
    pub further: &'a [Further],
    /// When it was read.
    pub read_at: Instant,
}

#[derive(Debug)]
enum Body {
    Kpl(Encoder),
    Lines(Vec<u8>),
}

#[derive(Debug)]
struct Open {
    body: Body,
    partition_key: Arc<str>,
    count: u32,
    spans: Vec<Span>,
    oldest: Instant,
}

impl Open {
    /// The record's size as Kinesis counts it.
    fn size(&self) -> usize {
        let data = match &self.body {
            Body::Kpl(encoder) => encoder.size(),
            Body::Lines(data) => data.len(),
        };
        data + self.partition_key.len()
    }

    fn cost(&self, data: usize) -> usize {
        match &self.body {
            Body::Kpl(encoder) => encoder.cost(keys(&self.partition_key), data + DELIMITER.len()),
            Body::Lines(_) => data + DELIMITER.len(),
        }
    }

    fn add(&mut self, record: &UserRecord<'_>) {
        match &mut self.body {
            Body::Kpl(encoder) => encoder.add(keys(&self.partition_key), &[record.data, DELIMITER]),
            Body::Lines(data) => {
                data.extend_from_slice(record.data);
                data.extend_from_slice(DELIMITER);
            }
        }
        self.count += 1;
        self.oldest = self.oldest.min(record.read_at);
        for further in record.further {
            join_span(&mut self.spans, Span { start: further.start, end: further.end, ..record.span });
        }
        join_span(&mut self.spans, record.span);
    }
}

fn keys(partition_key: &str) -> Keys<'_> {
    Keys { partition_key, explicit_hash_key: None }
}

/// Open records, one a lane, or one in all where order does not count.
#[derive(Debug)]
pub struct Aggregator {
    packing: Packing,
    open: BTreeMap<Option<LaneId>, Open>,
    /// When each open record has waited long enough.
    due: BTreeSet<(Instant, Option<LaneId>)>,
    pool: Permit,
    rng: fastrand::Rng,
}

impl Aggregator {
    /// An aggregator without events; `pool` is an empty permit of the budget that batches are charged to.
    pub fn new(packing: Packing, pool: Permit, seed: u64) -> Self {
        let (open, due) = (BTreeMap::new(), BTreeSet::new());
        Self { packing, open, due, pool, rng: fastrand::Rng::with_seed(seed) }
    }

    /// The lane under which this aggregator keeps events: none where order does not count.
    pub fn lane(&self, lane: LaneId) -> Option<LaneId> {
        match self.packing.partition_key {
            PartitionKey::Random => None,
            PartitionKey::Source | PartitionKey::Template(_) => Some(lane),
        }
    }

    /// Takes over the memory of a batch whose events are added next.
    pub fn absorb(&mut self, permit: Permit) {
        self.pool.merge(permit);
    }

    /// Gives back what the batch took beyond what its events need now.
    pub fn release(&mut self) {
        let needed = self.open.values().map(|open| memory(open.size())).sum();
        self.pool.resize(needed);
    }

    /// Adds an event, and answers a record when one had to be closed first. A record that can go out at once stops at the target; one that
    /// has to wait for its lane grows up to the limit.
    pub fn push(&mut self, record: &UserRecord<'_>, lane_is_idle: bool) -> Option<KinesisRecord> {
        let lane = self.lane(record.lane);
        let limit = if lane_is_idle { self.packing.target.min(self.packing.max) } else { self.packing.max };
        let full = self.open.get(&lane).is_some_and(|open| {
            self.packing.format == Format::Single || open.size() + open.cost(record.data.len()) > limit
        });
        let closed = if full { self.close(lane) } else { None };
        if !self.open.contains_key(&lane) {
            let open = self.start(record);
            self.due.insert((open.oldest + self.packing.max_age, lane));
            self.open.insert(lane, open);
        }
        if let Some(open) = self.open.get_mut(&lane) {
            open.add(record);
            debug_assert!(open.size() <= self.packing.max, "events are cut to what a record can hold");
        }
        closed
    }

    fn start(&mut self, record: &UserRecord<'_>) -> Open {
        let (partition_key, capacity) = match self.packing.partition_key {
            PartitionKey::Random => (self.random_key(), self.packing.target),
            PartitionKey::Source | PartitionKey::Template(_) => {
                (Arc::clone(record.partition_key), FIRST_CAPACITY_BYTES)
            }
        };
        let body = match self.packing.format {
            Format::Kpl => Body::Kpl(Encoder::with_capacity(capacity)),
            Format::Lines => Body::Lines(Vec::with_capacity(capacity)),
            Format::Single => Body::Lines(Vec::with_capacity(record.data.len() + DELIMITER.len())),
        };
        Open { body, partition_key, count: 0, spans: Vec::with_capacity(2), oldest: record.read_at }
    }

    fn random_key(&mut self) -> Arc<str> {
        format!("{:0RANDOM_KEY_BYTES$x}", self.rng.u64(..)).into()
    }

    /// Closes what is open in a lane.
    pub fn close(&mut self, lane: Option<LaneId>) -> Option<KinesisRecord> {
        let open = self.open.remove(&lane)?;
        self.due.remove(&(open.oldest + self.packing.max_age, lane));
        let size = open.size();
        let mut permit = self.pool.split(memory(size));
        permit.resize(memory(size));
        Some(KinesisRecord {
            lane,
            size,
            user_records: open.count,
            spans: open.spans,
            oldest: open.oldest,
            permit,
            attempts: 0,
            payload: match open.body {
                Body::Kpl(encoder) => Payload::Undigested(encoder.finish()),
                Body::Lines(data) => Payload::Data(data),
            },
            partition_key: open.partition_key,
        })
    }

    /// Closes what is open in a lane that has become idle, if it has waited or grown enough.
    pub fn close_ripe(&mut self, lane: LaneId, now: Instant) -> Option<KinesisRecord> {
        let open = self.open.get(&Some(lane))?;
        let ripe = open.size() >= self.packing.target
            || open.oldest + self.packing.max_age <= now
            || self.packing.format == Format::Single;
        if ripe { self.close(Some(lane)) } else { None }
    }

    /// When the next open record has waited long enough.
    pub fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Closes what has waited long enough. Of a busy lane it stays open, and [`Aggregator::close_ripe`] closes it when the lane is idle.
    pub fn close_due(&mut self, now: Instant, is_idle: impl Fn(LaneId) -> bool) -> Vec<KinesisRecord> {
        let mut closed = Vec::new();
        while let Some((_, lane)) = self.due.first().copied().filter(|(due, _)| *due <= now) {
            self.due.pop_first();
            if lane.is_none_or(&is_idle) {
                closed.extend(self.close(lane));
            }
        }
        closed
    }

    /// Closes everything: no more events will come.
    pub fn close_all(&mut self) -> Vec<KinesisRecord> {
        let lanes: Vec<_> = self.open.keys().copied().collect();
        lanes.into_iter().filter_map(|lane| self.close(lane)).collect()
    }

    /// When the oldest open event was read.
    pub fn oldest(&self) -> Option<Instant> {
        self.open.values().map(|open| open.oldest).min()
    }

    /// Follows the stream's record limit.
    pub fn set_max(&mut self, max: usize) {
        self.packing.max = max;
    }
}
