//! A load from a sample of logs: its events as the agent would make them, packed by the agent's own encoder as if they came evenly. Compression
//! is left out: what it saves depends on what is said, and a plan that is wrong should be on the safe side.

use std::collections::BTreeMap;

use crate::config::{Format, KinesisConfig, PartitionKey};
use crate::kinesis::aggregate::Bill;
use crate::kinesis::encode::{Encoder, Keys};
use crate::kinesis::hash::{MAX_HASH_KEY_DIGITS, hash_key};
use crate::plan::{KeyShare, Load, Sent, float};

/// Lanes of the hash space where no map of shards is known; the sender's number.
const LANES: u128 = 128;
/// Characters of a random partition key, as the sender draws them; the keys of sources are much the same.
const KEY_BYTES: usize = 16;
/// A short sample is gone through again until there are this many events, so that records are of their usual size.
const ENOUGH_EVENTS: usize = 50_000;

/// One event of the sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sampled {
    /// Its bytes, without a delimiter.
    pub bytes: usize,
    /// The partition key that it brings.
    pub key: Option<String>,
}

/// How the events are spread.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Events a second of all agents together.
    pub events: f64,
    /// How many agents share them evenly.
    pub agents: u32,
}

/// One open record.
struct Open {
    encoder: Encoder,
    /// When its first event came.
    since: f64,
}

/// What has been closed.
#[derive(Default)]
struct Closed {
    records: u64,
    bill: Bill,
}

impl Closed {
    fn add(&mut self, size: usize) {
        self.records += 1;
        self.bill.add(size);
    }

    fn per_second(&self, seconds: f64, agents: u32) -> Sent {
        let each = |count: u64| float(count) / seconds * f64::from(agents);
        Sent {
            records: each(self.records),
            bytes: each(self.bill.bytes),
            payload_units: each(self.bill.payload_units),
            rounded_bytes: each(self.bill.rounded_bytes),
        }
    }
}

/// The load that these events are at a rate; none without events.
pub fn load(events: &[Sampled], rate: Rate, kinesis: &KinesisConfig) -> Option<Load> {
    if events.is_empty() {
        return None;
    }
    let delimiter = kinesis.delimiter.len();
    let rounds = ENOUGH_EVENTS.div_ceil(events.len());
    let per_agent = rate.events / f64::from(rate.agents);
    let (mut packed, mut alone) = (Packer::new(kinesis), Closed::default());
    let mut total = 0_u64;
    for (index, event) in (0..rounds).flat_map(|_| events).enumerate() {
        let size = event.bytes + delimiter;
        total += size as u64;
        alone.add(size + event.key.as_ref().map_or(KEY_BYTES, String::len));
        packed.add(event, size, float(index as u64) / per_agent);
    }
    let count = float((rounds * events.len()) as u64);
    let seconds = count / per_agent;
    Some(Load {
        events: rate.events,
        event_bytes: float(total) / count * rate.events,
        sent: packed.end().per_second(seconds, rate.agents),
        alone: alone.per_second(seconds, rate.agents),
        keys: keys(events),
    })
}

/// Packs events as the sender would: a record closes when it is full or old.
struct Packer<'a> {
    kinesis: &'a KinesisConfig,
    open: BTreeMap<u128, Open>,
    closed: Closed,
    zeros: Vec<u8>,
}

impl<'a> Packer<'a> {
    fn new(kinesis: &'a KinesisConfig) -> Self {
        Self { kinesis, open: BTreeMap::new(), closed: Closed::default(), zeros: Vec::new() }
    }

    fn add(&mut self, event: &Sampled, size: usize, now: f64) {
        if self.kinesis.format == Format::Single {
            let key = event.key.as_ref().map_or(KEY_BYTES, String::len);
            return self.closed.add(size + key);
        }
        let max_age = self.kinesis.aggregate.max_age.as_secs_f64();
        let max_records = u32::try_from(self.kinesis.aggregate.max_records).ok().filter(|&n| n > 0).unwrap_or(u32::MAX);
        let (lane, outer, explicit) = self.place(event);
        let digits = "0".repeat(MAX_HASH_KEY_DIGITS);
        let random = "0".repeat(KEY_BYTES);
        let keys = Keys {
            partition_key: event.key.as_deref().unwrap_or(&random),
            explicit_hash_key: explicit.then_some(digits.as_str()),
        };
        let target = self.kinesis.aggregate.target_bytes;
        if let Some(open) = self.open.get(&lane) {
            let is_full = open.encoder.size() + open.encoder.cost(keys, size) + outer > target
                || open.encoder.count() >= max_records
                || now - open.since >= max_age;
            if is_full && let Some(open) = self.open.remove(&lane) {
                self.close(&open, outer);
            }
        }
        self.zeros.resize(self.zeros.len().max(size), 0);
        let open =
            self.open.entry(lane).or_insert_with(|| Open { encoder: Encoder::with_capacity(target), since: now });
        open.encoder.add(keys, &[&self.zeros[..size]]);
    }

    /// The lane of an event, the bytes of the key around its record, and whether a hash key is stamped on all that is in it.
    fn place(&self, event: &Sampled) -> (u128, usize, bool) {
        match (&self.kinesis.partition_key, &event.key) {
            (PartitionKey::Template(_), Some(key)) => (hash_key(key) / (u128::MAX / LANES), KEY_BYTES, true),
            _ => (LANES, KEY_BYTES, false),
        }
    }

    fn close(&mut self, open: &Open, outer: usize) {
        let size = match self.kinesis.format {
            Format::Lines => open.encoder.size().saturating_sub(open.encoder.count() as usize),
            Format::Kpl | Format::Single => open.encoder.size(),
        };
        self.closed.add(size + outer);
    }

    fn end(mut self) -> Closed {
        for open in std::mem::take(&mut self.open).into_values() {
            self.close(&open, KEY_BYTES);
        }
        self.closed
    }
}

/// Each key's part of all bytes, the largest first.
fn keys(events: &[Sampled]) -> Vec<KeyShare> {
    let (mut by_key, mut total) = (BTreeMap::<&str, u64>::new(), 0_u64);
    for event in events {
        total += event.bytes as u64;
        if let Some(key) = &event.key {
            *by_key.entry(key).or_default() += event.bytes as u64;
        }
    }
    let share = |bytes: u64| float(bytes) / float(total.max(1));
    let mut keys: Vec<KeyShare> =
        by_key.into_iter().map(|(key, bytes)| KeyShare { key: key.to_owned(), share: share(bytes) }).collect();
    keys.sort_by(|a, b| b.share.total_cmp(&a.share));
    keys
}
