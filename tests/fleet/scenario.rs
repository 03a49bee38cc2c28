//! What a fleet is told to do. Plain data; nothing here runs.

/// Nanoseconds since the start of a run.
pub(crate) type Nanos = u64;
/// A second of them.
pub(crate) const SECOND: Nanos = 1_000_000_000;
/// A millisecond of them.
pub(crate) const MILLISECOND: Nanos = 1_000_000;

/// How a sidecar chooses shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Each sidecar has up to so many files, each with a shard of its own choice and one record under way at a time.
    Source(u32),
    /// Every record goes to any shard that is open.
    Random,
}

/// How the service keeps a shard's limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limits {
    /// Two token buckets of one second each.
    Buckets,
    /// Counters that begin anew with every second.
    Windows,
}

/// One fleet, from its start to its end.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) sidecars: u32,
    pub(crate) shards: u32,
    pub(crate) mode: Mode,
    pub(crate) limits: Limits,
    /// What is written, as a multiple of what the stream takes ...
    pub(crate) load: f64,
    /// ... and from some time on.
    pub(crate) then: Option<(Nanos, f64)>,
    /// Shard 0 is written to so many times as much.
    pub(crate) hot: f64,
    /// Shard 0 is split at this time.
    pub(crate) split: Option<Nanos>,
    /// When measuring begins.
    pub(crate) warm: Nanos,
    /// When it ends.
    pub(crate) end: Nanos,
    pub(crate) seed: u64,
}

impl Scenario {
    pub(crate) fn new(name: &'static str, sidecars: u32, shards: u32) -> Self {
        Self {
            name,
            sidecars,
            shards,
            mode: Mode::Source(1),
            limits: Limits::Buckets,
            load: 2.0,
            then: None,
            hot: 1.0,
            split: None,
            warm: 900 * SECOND,
            end: 1500 * SECOND,
            seed: 1,
        }
    }

    /// Whether there are so many pairs of a sidecar and a shard that a long run would take minutes.
    pub(crate) fn is_large(&self) -> bool {
        self.mode == Mode::Random && self.sidecars * self.shards > 20_000 && self.load >= 1.0
    }

    /// What is written to a shard at this time, as a multiple of what it takes.
    pub(crate) fn load_at(&self, shard: u32, now: Nanos) -> f64 {
        let load = self.then.filter(|(at, _)| *at <= now).map_or(self.load, |(_, load)| load);
        if shard == 0 { load * self.hot } else { load }
    }
}
