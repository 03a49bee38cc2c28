//! The pacer of each sidecar: the real one, and mutants of it that a simulation has to notice.

use std::time::Duration;

use kinetail::kinesis::pace::{Pacer, ShardIndex};
use tokio::time::Instant;

/// What is wrong with a pacer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutant {
    None,
    /// It learns nothing from throttling.
    NeverDecreases,
    /// A throttled record goes again after 100 ms, whatever the pace.
    FixedBackoff,
}

#[derive(Debug)]
pub(crate) struct Pace {
    pacer: Pacer,
    mutant: Mutant,
}

impl Pace {
    pub(crate) fn new(seed: u64, mutant: Mutant) -> Self {
        Self { pacer: Pacer::new(seed), mutant }
    }

    pub(crate) fn opens_at(&self, shard: u32, now: Instant) -> Option<Instant> {
        self.pacer.opens_at(ShardIndex(shard), now)
    }

    pub(crate) fn sent(&mut self, shard: u32, size: usize, now: Instant) {
        self.pacer.sent(ShardIndex(shard), size, now);
    }

    pub(crate) fn stored(&mut self, shard: u32, size: usize, now: Instant) {
        self.pacer.stored(ShardIndex(shard), size, now);
    }

    pub(crate) fn throttled(&mut self, shard: u32, size: usize, sent_at: Instant, now: Instant) -> Instant {
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

    pub(crate) fn choose(&mut self, shards: &[u32], now: Instant) {
        self.pacer.choose(shards.iter().copied().map(ShardIndex), now);
    }

    pub(crate) fn is_chosen(&self, shard: u32) -> bool {
        self.pacer.is_chosen(ShardIndex(shard))
    }

    pub(crate) fn record_size(&self, shard: u32, target: usize) -> usize {
        self.pacer.record_size(ShardIndex(shard), target)
    }

    pub(crate) fn grown_size(&self, shard: u32, target: usize) -> usize {
        self.pacer.grown_size(ShardIndex(shard), target)
    }
}
