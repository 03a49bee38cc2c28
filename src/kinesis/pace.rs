//! The pacer.
use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// A shard as the sender numbers them (its id's text is kept elsewhere).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardIndex(pub u32);

const SHARD_BYTES: f64 = 1_048_576.0;
const SHARD_RECORDS: f64 = 1_000.0;

/// Tunables
#[derive(Debug, Clone, Copy)]
struct Law {
    p0: f64,
    delta: f64,
    b: f64,
    x: f64,
    k: f64,
    floor: f64,
    burst: f64,
    backoff: f64,
}

fn var(name: &str, default: f64) -> f64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

fn law() -> &'static Law {
    static LAW: std::sync::OnceLock<Law> = std::sync::OnceLock::new();
    LAW.get_or_init(|| Law {
        p0: var("P0", 0.04),
        delta: var("DELTA", 0.3),
        b: var("B", 0.08),
        x: var("X", 2.0),
        k: var("K", 1.0),
        floor: 1.0 / 4096.0,
        burst: var("BURST", 0.1),
        backoff: var("BACKOFF", 1.0),
    })
}

#[derive(Debug, Clone, Copy)]
struct Shard {
    share: f64,
    balance: f64,
    at: Instant,
    stored: u32,
    refused: u32,
    decreased: Option<Instant>,
}

fn cost(size: usize) -> f64 {
    (size as f64 / SHARD_BYTES).max(1.0 / SHARD_RECORDS)
}

impl Shard {
    fn new(now: Instant) -> Self {
        Self { share: 1.0, balance: law().burst, at: now, stored: 0, refused: 0, decreased: None }
    }
    fn refill(&mut self, now: Instant) {
        let dt = now.saturating_duration_since(self.at).as_secs_f64();
        self.balance = (self.balance + dt * self.share).min(law().burst * self.share);
        self.at = self.at.max(now);
    }
    fn opens_at(&self) -> Instant {
        if self.balance >= 0.0 { self.at } else { self.at + Duration::from_secs_f64(-self.balance / self.share) }
    }
}

/// The pacer.
#[derive(Debug)]
pub struct Pacer {
    shards: BTreeMap<ShardIndex, Shard>,
    rng: fastrand::Rng,
}

impl Pacer {
    /// new
    pub fn new(seed: u64) -> Self {
        Self { shards: BTreeMap::new(), rng: fastrand::Rng::with_seed(seed) }
    }
    /// When a record may go to this shard: now or earlier if at once.
    pub fn opens_at(&self, shard: ShardIndex, now: Instant) -> Option<Instant> {
        self.shards.get(&shard).map(Shard::opens_at).filter(|at| *at > now)
    }
    /// sent
    pub fn sent(&mut self, shard: ShardIndex, size: usize, now: Instant) {
        let s = self.shards.entry(shard).or_insert_with(|| Shard::new(now));
        s.refill(now);
        s.balance -= cost(size);
    }
    /// stored
    pub fn stored(&mut self, shard: ShardIndex, _size: usize, _sent_at: Instant, now: Instant) {
        let law = law();
        let s = self.shards.entry(shard).or_insert_with(|| Shard::new(now));
        s.refill(now);
        s.stored += 1;
        s.refused = 0;
        let p = law.p0 * (s.share * 1000.0).powf(-law.delta);
        let x = f64::from(s.stored) * p;
        let grow = (law.b * p * (1.0 + (x / law.x).powi(2))).min(0.2);
        s.share = (s.share * (1.0 + grow)).min(1.0);
    }
    /// throttled
    pub fn throttled(&mut self, shard: ShardIndex, size: usize, sent_at: Instant, now: Instant) -> Instant {
        let law = law();
        let s = self.shards.entry(shard).or_insert_with(|| Shard::new(now));
        s.refill(now);
        if s.decreased.is_none_or(|at| at <= sent_at) {
            s.refused += 1;
            let b = (law.b * (1.0 + law.k * f64::from(s.refused - 1))).min(0.5);
            s.share = (s.share * (1.0 - b)).max(law.floor);
            s.stored = 0;
            s.decreased = Some(now);
        }
        let interval = (cost(size) / s.share).max(0.1);
        s.opens_at().max(now) + Duration::from_secs_f64(law.backoff * interval * self.rng.f64())
    }
    /// rate
    pub fn rate(&self, shard: ShardIndex) -> f64 {
        self.shards.get(&shard).map_or(1.0, |s| s.share) * SHARD_BYTES
    }
    /// retain
    pub fn retain(&mut self, mut keep: impl FnMut(ShardIndex) -> bool) {
        self.shards.retain(|shard, _| keep(*shard));
    }
    /// shards
    pub fn shards(&self) -> impl Iterator<Item = ShardIndex> {
        self.shards.keys().copied()
    }
}
