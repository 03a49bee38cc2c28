//! The stream's side: what each shard takes, and where a key lies after a split.

use crate::scenario::{Limits, Nanos, SECOND, Scenario};

/// Bytes that a shard takes in a second.
pub(crate) const SHARD_BYTES: f64 = 1_048_576.0;
/// Records that a shard takes in a second.
pub(crate) const SHARD_RECORDS: f64 = 1_000.0;

#[derive(Debug)]
struct Shard {
    bytes: f64,
    records: f64,
    at: Nanos,
}

#[derive(Debug)]
pub(crate) struct Service {
    limits: Limits,
    shards: Vec<Shard>,
    /// When shard 0 becomes the last two shards.
    split: Option<Nanos>,
}

impl Service {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let count = scenario.shards + if scenario.split.is_some() { 2 } else { 0 };
        let shards = (0..count).map(|_| Shard { bytes: SHARD_BYTES, records: SHARD_RECORDS, at: 0 }).collect();
        Self { limits: scenario.limits, shards, split: scenario.split }
    }

    /// The shard that a key of `shard` belongs to at this time.
    pub(crate) fn route(&self, shard: u32, upper: bool, now: Nanos) -> u32 {
        let last = self.shards.len() as u32 - 1;
        match self.split {
            Some(at) if at <= now && shard == 0 => last - u32::from(!upper),
            _ => shard,
        }
    }

    /// Whether a record is stored.
    pub(crate) fn put(&mut self, shard: u32, size: usize, now: Nanos) -> bool {
        let shard = &mut self.shards[shard as usize];
        match self.limits {
            Limits::Buckets => {
                let passed = (now - shard.at) as f64 / SECOND as f64;
                shard.bytes = (shard.bytes + passed * SHARD_BYTES).min(SHARD_BYTES);
                shard.records = (shard.records + passed * SHARD_RECORDS).min(SHARD_RECORDS);
            }
            Limits::Windows if now / SECOND > shard.at / SECOND => {
                (shard.bytes, shard.records) = (SHARD_BYTES, SHARD_RECORDS);
            }
            Limits::Windows => {}
        }
        shard.at = now;
        let fits = shard.bytes >= size as f64 && shard.records >= 1.0;
        if fits {
            shard.bytes -= size as f64;
            shard.records -= 1.0;
        }
        fits
    }
}
