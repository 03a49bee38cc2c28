//! The Aggregator: events in, Kinesis records out. Pure; the time, the keys and the limits are handed in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::budget::Permit;
use crate::config::{Compression, Format};
use crate::event::{Further, LaneId, Span, join_span};
use crate::kinesis::compress::{Compressor, bound};
use crate::kinesis::encode::{DIGEST_BYTES, Encoder, Keys, MAGIC, trim};
use crate::kinesis::hash::{MAX_HASH_KEY_DIGITS, hash_key_text};
use crate::kinesis::record::{KinesisRecord, Payload, memory};

/// Partition keys are at most 256 characters; ours are ASCII.
pub const MAX_KEY_BYTES: usize = 256;
/// What the longest keys and their table entries take, with one record around the largest event: what an event must leave free.
const ENVELOPE_BYTES: usize = MAGIC.len() + DIGEST_BYTES + 2 * MAX_KEY_BYTES + MAX_HASH_KEY_DIGITS + 64;
/// What a PUT payload unit is (provisioned streams are billed by them).
const PAYLOAD_UNIT_BYTES: usize = 25 * 1024;
/// What the size of a record is rounded up to for the bill of an on-demand stream.
const BILLED_BYTES: usize = 1024;
/// Log lines are taken to shrink to a quarter until some have been compressed.
const FIRST_RATIO: f64 = 4.0;
/// How much of what was learnt before a record's own ratio changes.
const RATIO_WEIGHT: f64 = 0.2;
/// What a new aggregate has room for at first where there may be thousands of lanes.
const FIRST_CAPACITY_BYTES: usize = 4096;

/// The largest event that fits into a record of this size, in any format, with keys of up to [`MAX_KEY_BYTES`].
pub fn max_event(max_record: usize) -> usize {
    max_record.saturating_sub(ENVELOPE_BYTES)
}

/// How events are packed.
#[derive(Debug, Clone)]
pub struct Packing {
    /// What a record holds.
    pub format: Format,
    /// The size, with the partition key, at which a record goes out as soon as it can.
    pub target: usize,
    /// The size that no record passes.
    pub max: usize,
    /// The number of events that no record passes.
    pub max_records: u32,
    /// How what is sent is compressed: records of [`Format::Lines`] as a whole, of [`Format::Kpl`] each event by itself.
    pub compression: Compression,
    /// The longest an event waits for company.
    pub max_age: Duration,
    /// What every event ends with: a newline makes what Firehose writes to S3 one event a line.
    pub delimiter: Arc<[u8]>,
}

impl Packing {
    fn is_compressed_whole(&self) -> bool {
        self.format == Format::Lines && self.compression != Compression::None
    }
}

/// One event as it is added.
#[derive(Debug, Clone, Copy)]
pub struct UserRecord<'a> {
    /// The event's own partition key; none if it has that of its record.
    pub partition_key: Option<&'a str>,
    /// The event's bytes.
    pub data: &'a [u8],
    /// The bytes of the file that it stands for ...
    pub span: Span,
    /// ... and those that lie apart from them, of the same file.
    pub further: &'a [Further],
    /// When it was read.
    pub read_at: Instant,
}

/// The keys of a record.
#[derive(Debug, Clone)]
pub struct OuterKey {
    /// Its partition key.
    pub partition_key: Arc<str>,
    /// Where it lies in the hash space.
    pub hash: u128,
    /// An explicit hash key says so, on the record and on each event in it: their own partition keys may differ.
    pub explicit: bool,
}

/// When a record of a lane could go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goes {
    /// At once.
    Now,
    /// Its shard takes nothing before this.
    At(Instant),
    /// When the lane's record that is out has been answered.
    WhenIdle,
}

/// What records are billed by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bill {
    /// Bytes of data and partition keys.
    pub bytes: u64,
    /// PUT payload units, as provisioned streams count.
    pub payload_units: u64,
    /// Bytes, each record's rounded up to 1 KiB, as on-demand streams count.
    pub rounded_bytes: u64,
}

impl Bill {
    /// Adds a record of this size.
    pub fn add(&mut self, size: usize) {
        self.bytes += size as u64;
        self.payload_units += size.div_ceil(PAYLOAD_UNIT_BYTES).max(1) as u64;
        self.rounded_bytes += size.next_multiple_of(BILLED_BYTES).max(BILLED_BYTES) as u64;
    }
}

#[derive(Debug)]
enum Body {
    Kpl(Encoder),
    Lines(Vec<u8>),
}

#[derive(Debug)]
struct Open {
    body: Body,
    key: OuterKey,
    /// The explicit hash key as text.
    stamp: Option<Box<str>>,
    count: u32,
    /// What its events would be billed for one by one.
    alone: Bill,
    spans: Vec<Span>,
    oldest: Instant,
    /// When it is looked at next, if time alone makes it ready.
    due: Option<Instant>,
}

impl Open {
    /// The record's size as Kinesis counts it.
    fn size(&self) -> usize {
        let data = match &self.body {
            Body::Kpl(encoder) => encoder.size(),
            Body::Lines(data) => data.len(),
        };
        data + self.key.partition_key.len()
    }

    /// The size up to which it may grow, if so many bytes may be sent of it.
    fn room(&self, limit: usize, packing: &Packing, ratio: f64) -> usize {
        if !packing.is_compressed_whole() {
            return limit;
        }
        let key = self.key.partition_key.len();
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "sizes are small"
        )]
        let expected = (limit.saturating_sub(key) as f64 * ratio) as usize;
        expected + key
    }

    /// Whether a record of this size, before it is compressed as a whole, can be sent whatever comes of that.
    fn fits(&self, size: usize, packing: &Packing) -> bool {
        let key = self.key.partition_key.len();
        let sent = if packing.is_compressed_whole() { bound(packing.compression, size - key) + key } else { size };
        sent <= packing.max
    }

    fn cost(&self, record: &UserRecord<'_>, packing: &Packing) -> usize {
        let data = record.data.len() + packing.delimiter.len();
        match &self.body {
            Body::Kpl(encoder) => {
                let partition_key = record.partition_key.unwrap_or(&self.key.partition_key);
                encoder.cost(
                    Keys { partition_key, explicit_hash_key: self.stamp.as_deref() },
                    bound(packing.compression, data),
                )
            }
            Body::Lines(_) => data,
        }
    }

    fn add(&mut self, record: &UserRecord<'_>, delimiter: &[u8], compressor: Option<&mut Compressor>) {
        match &mut self.body {
            Body::Kpl(encoder) => {
                let partition_key = record.partition_key.unwrap_or(&self.key.partition_key);
                let keys = Keys { partition_key, explicit_hash_key: self.stamp.as_deref() };
                match compressor {
                    None => encoder.add(keys, &[record.data, delimiter]),
                    Some(compressor) => {
                        let mut frame = Vec::new();
                        compressor.compress(&[record.data, delimiter].concat(), &mut frame);
                        encoder.add(keys, &[&frame]);
                    }
                }
            }
            Body::Lines(data) => {
                data.extend_from_slice(record.data);
                data.extend_from_slice(delimiter);
            }
        }
        self.count += 1;
        let key = record.partition_key.unwrap_or(&self.key.partition_key);
        self.alone.add(record.data.len() + delimiter.len() + key.len());
        self.oldest = self.oldest.min(record.read_at);
        for further in record.further {
            join_span(&mut self.spans, Span { start: further.start, end: further.end, ..record.span });
        }
        join_span(&mut self.spans, record.span);
    }
}

/// Open records, one a lane, or one in all where order does not count.
#[derive(Debug)]
pub struct Aggregator {
    packing: Packing,
    open: BTreeMap<Option<LaneId>, Open>,
    /// When each open record that waits for time alone is looked at next.
    due: BTreeSet<(Instant, Option<LaneId>)>,
    pool: Permit,
    compressor: Option<Compressor>,
    /// How many bytes become one, as learnt from the records before.
    ratio: f64,
}

impl Aggregator {
    /// An aggregator without events; `pool` is an empty permit of the budget that batches are charged to.
    pub fn new(packing: Packing, pool: Permit) -> Self {
        let compressor = (packing.compression != Compression::None).then(|| Compressor::new(packing.compression));
        Self { packing, open: BTreeMap::new(), due: BTreeSet::new(), pool, compressor, ratio: FIRST_RATIO }
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

    /// The keys of what is open in a lane.
    pub fn key(&self, lane: Option<LaneId>) -> Option<&OuterKey> {
        self.open.get(&lane).map(|open| &open.key)
    }

    /// Whether what is open in a lane has to be closed before this event, if it may hold so many bytes.
    pub fn is_full(&self, lane: Option<LaneId>, record: &UserRecord<'_>, limit: usize) -> bool {
        let packing = &self.packing;
        self.open.get(&lane).is_some_and(|open| {
            packing.format == Format::Single || open.count >= packing.max_records || {
                let size = open.size() + open.cost(record, packing);
                size > open.room(limit, packing, self.ratio) || !open.fits(size, packing)
            }
        })
    }

    /// Adds an event to what is open in its lane if that stays below this size, and answers whether it did: all that there is to do for most events.
    pub fn add_below(&mut self, size: usize, lane: Option<LaneId>, record: &UserRecord<'_>) -> bool {
        let packing = &self.packing;
        if packing.compression != Compression::None || packing.format == Format::Single {
            return false;
        }
        let Some(open) = self.open.get_mut(&lane).filter(|open| open.count < packing.max_records) else { return false };
        let fits = open.size() + open.cost(record, packing) <= size.min(packing.max);
        if fits {
            open.add(record, &packing.delimiter, None);
        }
        fits
    }

    /// Adds an event to its lane; `key` makes the keys of a new record.
    pub fn add(&mut self, lane: Option<LaneId>, record: &UserRecord<'_>, key: impl FnOnce() -> OuterKey) {
        let packing = &self.packing;
        let open = self.open.entry(lane).or_insert_with(|| {
            let due = record.read_at + packing.max_age;
            self.due.insert((due, lane));
            start(packing, lane, key(), record, due)
        });
        let compressor = self.compressor.as_mut().filter(|_| packing.format == Format::Kpl);
        open.add(record, &packing.delimiter, compressor);
        debug_assert!(open.fits(open.size(), packing), "events are cut to what a record can hold");
    }

    /// Closes what is open in a lane.
    pub fn close(&mut self, lane: Option<LaneId>) -> Option<KinesisRecord> {
        let open = self.open.remove(&lane)?;
        if let Some(due) = open.due {
            self.due.remove(&(due, lane));
        }
        let partition_key = open.key.partition_key;
        let payload = match open.body {
            Body::Kpl(encoder) => Payload::Undigested(encoder.finish()),
            Body::Lines(data) => Payload::Data(self.compressed(data).into()),
        };
        let size = payload.len() + partition_key.len();
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
            payload,
            partition_key,
            alone: open.alone,
            hash: open.key.hash,
            explicit: open.key.explicit,
        })
    }

    fn compressed(&mut self, mut data: Vec<u8>) -> Vec<u8> {
        let Some(compressor) = &mut self.compressor else {
            trim(&mut data, 0);
            return data;
        };
        let mut out = Vec::new();
        compressor.compress(&data, &mut out);
        #[expect(clippy::cast_precision_loss, reason = "sizes are small")]
        let ratio = data.len() as f64 / out.len().max(1) as f64;
        self.ratio += (ratio - self.ratio) * RATIO_WEIGHT;
        trim(&mut out, 0);
        out
    }

    /// What is open in a lane that has become idle is looked at at once if it has waited or grown enough.
    pub fn wake(&mut self, lane: LaneId, now: Instant) {
        let lane = Some(lane);
        let Some(open) = self.open.get_mut(&lane) else { return };
        let ripe = open.size() >= open.room(self.packing.target, &self.packing, self.ratio)
            || open.count >= self.packing.max_records
            || self.packing.format == Format::Single;
        let due = if ripe { now } else { open.oldest + self.packing.max_age };
        if let Some(before) = open.due.replace(due) {
            self.due.remove(&(before, lane));
        }
        self.due.insert((due, lane));
    }

    /// When the next open record has waited long enough.
    pub fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Closes what has waited long enough and could go out. Of a busy lane it stays open until [`Aggregator::wake`], and of a shard that
    /// takes nothing yet, until it does.
    pub fn close_due(&mut self, now: Instant, goes: impl Fn(Option<LaneId>, &OuterKey) -> Goes) -> Vec<KinesisRecord> {
        let mut closed = Vec::new();
        while let Some((_, lane)) = self.due.first().copied().filter(|(due, _)| *due <= now) {
            self.due.pop_first();
            let Some(open) = self.open.get_mut(&lane) else { unreachable!("what is due is open") };
            open.due = None;
            match goes(lane, &open.key) {
                Goes::Now => closed.extend(self.close(lane)),
                Goes::At(at) => {
                    open.due = Some(at);
                    self.due.insert((at, lane));
                }
                Goes::WhenIdle => {}
            }
        }
        closed
    }

    /// Closes everything: no more events will come, or not to these lanes.
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

fn start(packing: &Packing, lane: Option<LaneId>, key: OuterKey, record: &UserRecord<'_>, due: Instant) -> Open {
    let capacity = if lane.is_none() { packing.target } else { FIRST_CAPACITY_BYTES };
    let body = match packing.format {
        Format::Kpl => Body::Kpl(Encoder::with_capacity(capacity)),
        Format::Lines => Body::Lines(Vec::with_capacity(capacity)),
        Format::Single => Body::Lines(Vec::with_capacity(record.data.len() + packing.delimiter.len())),
    };
    let stamp = key.explicit.then(|| hash_key_text(key.hash).into());
    Open {
        body,
        key,
        stamp,
        count: 0,
        alone: Bill::default(),
        spans: Vec::with_capacity(2),
        oldest: record.read_at,
        due: Some(due),
    }
}
