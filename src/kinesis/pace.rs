//! stub
use tokio::time::Instant;
/// x
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardIndex(pub u32);
/// x
#[derive(Debug)]
pub struct Pacer;
#[allow(unused, missing_docs, clippy::unused_self)]
impl Pacer {
    pub fn new(seed: u64) -> Self {
        Self
    }
    pub fn opens_at(&self, shard: ShardIndex, now: Instant) -> Option<Instant> {
        None
    }
    pub fn sent(&mut self, shard: ShardIndex, size: usize, now: Instant) {}
    pub fn stored(&mut self, shard: ShardIndex, size: usize, sent_at: Instant, now: Instant) {}
    pub fn throttled(&mut self, shard: ShardIndex, size: usize, sent_at: Instant, now: Instant) -> Instant {
        now + std::time::Duration::from_millis(100)
    }
    pub fn rate(&self, shard: ShardIndex) -> f64 {
        1048576.0
    }
    pub fn retain(&mut self, keep: impl FnMut(ShardIndex) -> bool) {}
    pub fn shards(&self) -> impl Iterator<Item = ShardIndex> {
        std::iter::empty()
    }
}
