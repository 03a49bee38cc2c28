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

    /// A random key in a stretch whose turn it is and whose shard is chosen and takes records: all of these get the same. Where none takes
    /// anything, the record waits for one that is chosen.
    fn random_key(&mut self, pacer: &Pacer, now: Instant) -> OuterKey {
        let rank = |shard: Option<ShardIndex>| match shard {
            Some(shard) if !pacer.is_chosen(shard) => Rank::Other,
            Some(shard) if pacer.opens_at(shard, now).is_some() => Rank::Closed,
            Some(_) | None => Rank::Open,
        };
        let (start, end) = self.next_stretch(rank);
        let mut best: Option<(Rank, String, u128)> = None;
        for _ in 0..MAX_DRAWS {
            let key = format!("{:0RANDOM_KEY_BYTES$x}", self.rng.u64(..));
            let hash = hash_key(&key);
            if (start..=end).contains(&hash) {
                return OuterKey { partition_key: key.into(), hash, explicit: false };
            }
            let rank = rank(self.shards.shard(hash));
            if best.as_ref().is_none_or(|(other, ..)| rank >= *other) {
                best = Some((rank, key, hash));
            }
        }
        let (_, key, hash) = best.expect("at least one key was drawn");
        OuterKey { partition_key: key.into(), hash, explicit: false }
    }

    fn next_stretch(&mut self, rank: impl Fn(Option<ShardIndex>) -> Rank) -> (u128, u128) {
        let step = if self.shards.count().is_some() { 1 } else { RANGES_A_STRETCH };
        let count = self.shards.ranges() / step;
        let first = |least: Rank| {
            let mut tried = (0..count).map(|i| (self.turn + i) % count);
            tried.find(|at| rank(self.shards.stretch(at * step, step).2) >= least)
        };
        let at = first(Rank::Open).or_else(|| first(Rank::Closed)).unwrap_or(self.turn % count);
        self.turn = (at + 1) % count;
        let (start, end, _) = self.shards.stretch(at * step, step);
        (start, end)
    }
}

/// How well a shard suits a random key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// It is not one of those that were chosen.
    Other,
    /// It is, and takes nothing yet.
    Closed,
    /// It is, and takes records; or nothing is known of it.
    Open,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinesis::client::OpenShard;
    use std::time::Duration;

    const SHARDS: u32 = 8;

    fn open() -> Vec<OpenShard> {
        let width = u128::MAX / u128::from(SHARDS) + 1;
        let end = |i: u32| if i + 1 == SHARDS { u128::MAX } else { u128::from(i + 1) * width - 1 };
        let shard = |i| OpenShard { id: format!("shardId-{i:012}"), start: u128::from(i) * width, end: end(i) };
        (0..SHARDS).map(shard).collect()
    }

    /// Where all shards are closed is where a small part of a stream is taken: the next record waits for one of the few, and not for any.
    #[test]
    fn a_key_is_that_of_a_chosen_shard_also_while_none_takes_anything() {
        let mut placement = Placement::new(PartitionKey::Random, Format::Kpl, 1);
        placement.shards.replace(&open()).unwrap();
        let (mut pacer, mut now) = (Pacer::new(1), Instant::now());
        let all: Vec<ShardIndex> = placement.shards.open().collect();
        let chosen = |pacer: &Pacer| all.iter().filter(|shard| pacer.is_chosen(**shard)).count();
        pacer.choose(all.iter().copied(), now);
        while chosen(&pacer) > 2 {
            now += Duration::from_secs(1);
            pacer.throttled(all[0], 100, now, now);
            pacer.choose(all.iter().copied(), now);
        }
        for shard in &all {
            pacer.sent(*shard, 1 << 20, now);
        }
        for _ in 0..200 {
            let key = placement.random_key(&pacer, now);
            let shard = placement.shards.shard(key.hash).unwrap();
            assert!(pacer.is_chosen(shard) && pacer.opens_at(shard, now).is_some(), "{shard:?}");
        }
    }
}
