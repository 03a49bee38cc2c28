//! Placement: which lane an event belongs to, and the keys of the record that it is packed into. Pure; random keys come from a seed.

use std::sync::Arc;

use tokio::time::Instant;

use crate::config::{Format, PartitionKey};
use crate::event::LaneId;
use crate::kinesis::aggregate::OuterKey;
use crate::kinesis::hash::hash_key;
use crate::kinesis::pace::{Pacer, ShardIndex};
use crate::kinesis::shards::Shards;

/// A random partition key: 64 random bits, which is 16 hexadecimal digits. Two records that draw the same key only share a shard.
const RANDOM_KEY_BYTES: usize = 16;
/// Random keys are drawn until one falls into the wanted stretch of the hash space, but not more often than this, which costs as much time as
/// the digest of an aggregate.
const MAX_DRAWS: usize = 64;
/// Keys whose hashes are remembered, and how many of a key's last bytes say where.
const HASHES: usize = 1024;
const SLOT_BYTES: usize = 16;
/// Without a map, random keys are spread over stretches of so many ranges: as few draws as there are stretches.
const RANGES_A_STRETCH: usize = 8;

/// What is known of an event's keys.
#[derive(Debug, Clone, Copy)]
pub struct EventKeys<'a> {
    /// The lane of its file.
    pub lane: LaneId,
    /// The partition key of its file.
    pub source: &'a Arc<str>,
    /// Its own partition key.
    pub own: Option<&'a str>,
    /// Its own explicit hash key.
    pub hash: Option<u128>,
}

/// An event's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its lane; none where order does not count.
    pub lane: Option<LaneId>,
    /// Where its key hashes to; nothing where keys are random.
    pub hash: u128,
}

/// Places events.
#[derive(Debug)]
pub struct Placement {
    partition_key: PartitionKey,
    format: Format,
    /// What is known of the stream's shards.
    pub shards: Shards,
    /// The range that the next random key is wanted in.
    turn: usize,
    /// Hashes of keys that were asked about lately, each in the slot that its bytes give it.
    hashes: Vec<(Box<str>, u128)>,
    rng: fastrand::Rng,
}

impl Placement {
    /// Of a stream of which nothing is known yet.
    pub fn new(partition_key: PartitionKey, format: Format, seed: u64) -> Self {
        let rng = fastrand::Rng::with_seed(seed);
        let hashes = vec![
            ("".into(), hash_key(""));
            if matches!(partition_key, PartitionKey::Template(_)) { HASHES } else { 1 }
        ];
        Self { partition_key, format, shards: Shards::default(), turn: 0, hashes, rng }
    }

    /// Whether lanes are ranges of the hash space, so that they change with the stream's shards.
    pub fn has_range_lanes(&self) -> bool {
        self.is_keyed() && self.format != Format::Single
    }

    fn is_keyed(&self) -> bool {
        !matches!(self.partition_key, PartitionKey::Random | PartitionKey::Source)
    }

    /// Where an event belongs.
    pub fn place(&mut self, event: &EventKeys<'_>) -> Place {
        match self.partition_key {
            PartitionKey::Random => Place { lane: None, hash: 0 },
            PartitionKey::Source => Place { lane: Some(event.lane), hash: 0 },
            PartitionKey::Template(_) => {
                let hash = event.hash.unwrap_or_else(|| self.hash(event.own.unwrap_or(event.source)));
                let lane = match self.format {
                    // A record of one event keeps its own place, so that it waits only for those that share its key, or nearly.
                    Format::Single => LaneId((hash >> 96) as u32),
                    Format::Kpl | Format::Lines => self.shards.lane(hash),
                };
                Place { lane: Some(lane), hash }
            }
        }
    }

    /// Keys come again and again, and an MD5 costs as much as all else that is done for an event.
    fn hash(&mut self, key: &str) -> u128 {
        let mix = |sum: usize, byte: &u8| sum.wrapping_mul(31).wrapping_add(usize::from(*byte));
        let slot = key.as_bytes().iter().rev().take(SLOT_BYTES).fold(key.len(), mix) % self.hashes.len();
        let known = &mut self.hashes[slot];
        if *known.0 != *key {
            *known = (key.into(), hash_key(key));
        }
        known.1
    }

    /// The keys of a record that begins with this event.
    pub fn outer_key(&mut self, event: &EventKeys<'_>, place: Place, pacer: &Pacer, now: Instant) -> OuterKey {
        let own = || event.own.map_or_else(|| Arc::clone(event.source), Into::into);
        match self.partition_key {
            PartitionKey::Random => self.random_key(pacer, now),
            PartitionKey::Source => {
                let partition_key = Arc::clone(event.source);
                OuterKey { hash: self.hash(&partition_key), partition_key, explicit: false }
            }
            PartitionKey::Template(_) => match self.format {
                Format::Single => OuterKey { partition_key: own(), hash: place.hash, explicit: event.hash.is_some() },
                Format::Kpl | Format::Lines => {
                    OuterKey { partition_key: own(), hash: self.shards.stamp(place.hash), explicit: true }
                }
            },
        }
    }

    /// A random key in a stretch whose turn it is and whose shard takes records: all shards get the same, but for those that are throttled.
    fn random_key(&mut self, pacer: &Pacer, now: Instant) -> OuterKey {
        let takes = |shard: Option<ShardIndex>| {
            shard.is_none_or(|shard| pacer.is_chosen(shard) && pacer.opens_at(shard, now).is_none())
        };
        let (start, end) = self.next_stretch(takes);
        let mut second = None;
        for _ in 0..MAX_DRAWS {
            let key = format!("{:0RANDOM_KEY_BYTES$x}", self.rng.u64(..));
            let hash = hash_key(&key);
            if (start..=end).contains(&hash) {
                return OuterKey { partition_key: key.into(), hash, explicit: false };
            }
            if second.is_none() || takes(self.shards.shard(hash)) {
                second = Some((key, hash));
            }
        }
        let (key, hash) = second.expect("at least one key was drawn");
        OuterKey { partition_key: key.into(), hash, explicit: false }
    }

    fn next_stretch(&mut self, takes: impl Fn(Option<ShardIndex>) -> bool) -> (u128, u128) {
        let step = if self.shards.count().is_some() { 1 } else { RANGES_A_STRETCH };
        let count = self.shards.ranges() / step;
        let tried = (0..count).map(|i| (self.turn + i) % count);
        let found = tried.clone().find(|at| takes(self.shards.stretch(at * step, step).2));
        // Where none takes anything, it is the turn's.
        let at = found.unwrap_or(self.turn % count);
        self.turn = (at + 1) % count;
        let (start, end, _) = self.shards.stretch(at * step, step);
        (start, end)
    }
}
