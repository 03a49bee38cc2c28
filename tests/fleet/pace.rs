//! The pacer of each sidecar: the real one, and mutants of it that a simulation has to notice.

use std::time::Duration;

use kinetail::kinesis::pace::{Pacer, ShardIndex};
use tokio::time::Instant;

/// What is wrong with a pacer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    None,
    /// It learns nothing from throttling.
    NeverDecreases,
    /// A throttled record goes again after 100 ms, whatever the pace.
    FixedBackoff,
}

#[derive(Debug)]
pub struct Pace {
    pacer: Pacer,
    mutant: Mutant,
}

impl Pace {
    pub fn new(seed: u64, mutant: Mutant) -> Self {
        Self { pacer: Pacer::new(seed), mutant }
    }

    pub fn opens_at(&self, shard: u32, now: Instant) -> Option<Instant> {
        self.pacer.opens_at(ShardIndex(shard), now)
    }

    pub fn sent(&mut self, shard: u32, size: usize, now: Instant) {
        self.pacer.sent(ShardIndex(shard), size, now);
    }

    pub fn stored(&mut self, shard: u32, size: usize, sent_at: Instant, now: Instant) {
        self.pacer.stored(ShardIndex(shard), size, sent_at, now);
    }

    pub fn throttled(&mut self, shard: u32, size: usize, sent_at: Instant, now: Instant) -> Instant {
        let fixed = now + Duration::from_millis(100);
        match self.mutant {
            Mutant::None => self.pacer.throttled(ShardIndex(shard), size, sent_at, now),
            Mutant::NeverDecreases => self.opens_at(shard, now).unwrap_or(now).max(fixed),
            Mutant::FixedBackoff => {
                self.pacer.throttled(ShardIndex(shard), size, sent_at, now);
                fixed
            }
        }
    }

    pub fn record_size(&self, shard: u32, target: usize) -> usize {
        self.pacer.record_size(ShardIndex(shard), target)
    }

    pub fn rate(&self, shard: u32) -> f64 {
        self.pacer.rate(ShardIndex(shard))
    }
}
