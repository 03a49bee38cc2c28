//! All that the stand-in knows: the streams, the fault plan and the counters. One task owns it.
//!
//! What requests do with it is in `api/`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use super::LocalOptions;
use super::faults::{FaultPlan, Faults};
use super::refusal::Refusal;
use super::seal::Sealer;
use super::shard::{READS_PER_SECOND, ShardLimits};
use super::stream::Stream;

/// What a shard takes of the service, in bytes per second.
const SHARD_BYTES_PER_SECOND: u32 = 1024 * 1024;
/// What a shard takes of the service, in records per second.
const SHARD_RECORDS_PER_SECOND: u32 = 1000;
/// Streams at once. A bound on memory.
pub(crate) const MAX_STREAMS: usize = 1000;
/// How often the retention is looked at, in milliseconds; it is counted in hours.
const EXPIRY_INTERVAL_MS: u64 = 1000;

/// Everything.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) streams: BTreeMap<String, Stream>,
    pub(crate) faults: Faults,
    pub(crate) sealer: Sealer,
    pub(crate) create_delay: Duration,
    limits: bool,
    limit_reads: bool,
    max_memory: usize,
    memory: usize,
    initial: Vec<(String, u32)>,
    next_generation: u64,
    expired_ms: u64,
    requests: BTreeMap<&'static str, u64>,
    errors: BTreeMap<String, u64>,
    access_keys: BTreeMap<String, u64>,
}

impl State {
    /// The state at the start.
    pub(crate) fn new(options: &LocalOptions, secret: u128, now_ms: u64) -> Self {
        let mut state = Self {
            streams: BTreeMap::new(),
            faults: Faults::new(FaultPlan::default()),
            sealer: Sealer::new(secret),
            create_delay: options.create_delay,
            limits: options.limits,
            limit_reads: options.limit_reads,
            max_memory: options.max_memory,
            memory: 0,
            initial: options.streams.clone(),
            next_generation: 0,
            expired_ms: now_ms,
            requests: BTreeMap::new(),
            errors: BTreeMap::new(),
            access_keys: BTreeMap::new(),
        };
        state.reset(now_ms);
        state
    }

    /// Back to the start: the first streams, empty; no faults; counters at zero. Old iterators lead nowhere.
    pub(crate) fn reset(&mut self, now_ms: u64) {
        self.streams.clear();
        self.memory = 0;
        self.requests.clear();
        self.errors.clear();
        self.access_keys.clear();
        self.faults = Faults::new(FaultPlan::default());
        for (name, shards) in self.initial.clone() {
            let stream = Stream::new(name.clone(), self.generation(), shards, now_ms);
            self.streams.insert(name, stream);
        }
    }

    /// A number that no stream has had yet.
    pub(crate) fn generation(&mut self) -> u64 {
        self.next_generation += 1;
        self.next_generation
    }

    /// A stream by its name.
    pub(crate) fn stream(&mut self, name: &str) -> Result<&mut Stream, Refusal> {
        self.streams.get_mut(name).ok_or_else(|| Refusal::no_stream(name))
    }

    /// A stream by its name, if it is ACTIVE.
    pub(crate) fn active_stream(&mut self, name: &str, now_ms: u64) -> Result<&mut Stream, Refusal> {
        let stream = self.stream(name)?;
        if stream.is_active(now_ms) {
            return Ok(stream);
        }
        let account = super::ACCOUNT;
        Err(Refusal::in_use(format!("Stream {name} under account {account} not ACTIVE, instead in state CREATING")))
    }

    /// Removes a stream and all that it holds.
    pub(crate) fn remove_stream(&mut self, name: &str) {
        if let Some(stream) = self.streams.remove(name) {
            self.memory -= stream.shards().map(super::shard::Shard::footprint).sum::<usize>();
        }
    }

    /// The limits on each shard now.
    pub(crate) fn shard_limits(&self) -> ShardLimits {
        let plan = &self.faults.plan;
        let or_default = |planned: Option<u32>, default| planned.unwrap_or(if self.limits { default } else { 0 });
        ShardLimits {
            bytes: or_default(plan.shard_bytes_per_s, SHARD_BYTES_PER_SECOND),
            records: or_default(plan.shard_records_per_s, SHARD_RECORDS_PER_SECOND),
            reads: if self.limit_reads { READS_PER_SECOND } else { 0 },
        }
    }

    /// Notes that records now take `bytes` more, and drops the oldest ones of all streams if that is too much.
    pub(crate) fn stored(&mut self, bytes: usize) {
        self.memory += bytes;
        while self.memory > self.max_memory {
            let shards = self.streams.values_mut().flat_map(Stream::shards_mut);
            let oldest = shards.filter_map(|shard| shard.oldest_ms().map(|oldest_ms| (oldest_ms, shard)));
            let Some((oldest_ms, shard)) = oldest.min_by_key(|(oldest_ms, _)| *oldest_ms) else { break };
            // All that arrived in this shard in this millisecond: looking for the oldest shard takes its time.
            while self.memory > self.max_memory && shard.oldest_ms() == Some(oldest_ms) {
                self.memory -= shard.trim_one();
            }
        }
    }

    /// Drops what is past its retention, now and then.
    pub(crate) fn expire(&mut self, now_ms: u64) {
        if now_ms.saturating_sub(self.expired_ms) >= EXPIRY_INTERVAL_MS {
            self.expired_ms = now_ms;
            self.memory -= self.streams.values_mut().map(|stream| stream.expire(now_ms)).sum::<usize>();
        }
    }

    /// Counts a request.
    pub(crate) fn count_request(&mut self, operation: &'static str) {
        *self.requests.entry(operation).or_default() += 1;
    }

    /// Counts a refusal. The codes are the service's and those of fault plans, so that they are few.
    pub(crate) fn count_error(&mut self, code: &str) {
        count_name(&mut self.errors, code);
    }

    /// Counts a request that wasn't refused for the access key it is signed with.
    pub(crate) fn count_access_key(&mut self, key: &str) {
        count_name(&mut self.access_keys, key);
    }

    /// All counters.
    pub(crate) fn stats(&self) -> serde_json::Value {
        let streams: BTreeMap<_, _> =
            self.streams.values().map(|stream| (&stream.name, stream_stats(stream))).collect();
        json!({
            "requests": self.requests,
            "errors": self.errors,
            "access_keys": self.access_keys,
            "memory_bytes": self.memory,
            "max_memory_bytes": self.max_memory,
            "faults": self.faults.plan,
            "streams": streams,
        })
    }
}

/// Counts something by a name that clients choose: the first ones only, so that they can't fill the memory.
fn count_name(counts: &mut BTreeMap<String, u64>, name: &str) {
    const MAX_NAMES: usize = 100;
    if let Some(count) = counts.get_mut(name) {
        *count += 1;
    } else if counts.len() < MAX_NAMES {
        counts.insert(name.to_owned(), 1);
    }
}

/// The counters of a stream: the sums over its shards, then each shard.
fn stream_stats(stream: &Stream) -> serde_json::Value {
    let sum = |count: fn(&super::shard::ShardCounts) -> u64| stream.shards().map(|shard| count(&shard.counts)).sum();
    let (records, bytes, throttled): (u64, u64, u64) = (sum(|c| c.records), sum(|c| c.bytes), sum(|c| c.throttled));
    let (failed, trimmed, reads): (u64, u64, u64) = (sum(|c| c.failed), sum(|c| c.trimmed), sum(|c| c.reads));
    let records_read: u64 = sum(|c| c.records_read);
    let shards: BTreeMap<_, _> = stream.shards().map(|shard| (shard.id(), &shard.counts)).collect();
    json!({
        "put_requests": stream.put_requests, "records": records, "bytes": bytes, "throttled": throttled, "failed": failed, "trimmed": trimmed,
        "reads": reads, "records_read": records_read, "open_shards": stream.open_count(), "shards": shards,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::shard::Shard;

    const NOW_MS: u64 = 1_763_800_000_000;

    fn state(max_memory: usize) -> State {
        let streams = vec![("a".to_owned(), 2), ("b".to_owned(), 1)];
        State::new(&LocalOptions { streams, max_memory, ..LocalOptions::default() }, 1, NOW_MS)
    }

    fn put(state: &mut State, name: &str, hash_key: u128, now_ms: u64) {
        let shard = state.stream(name).unwrap().route(hash_key);
        let (_, footprint) = shard.put("key", vec![0; 1000], now_ms);
        state.stored(footprint);
    }

    fn held(state: &State) -> usize {
        state.streams.values().flat_map(Stream::shards).map(Shard::footprint).sum()
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_records_go_first() {
        let mut state = state(10_000);
        for index in 0..100_u64 {
            let (name, hash_key) = [("a", 0), ("a", u128::MAX), ("b", 0)][usize::try_from(index % 3).unwrap()];
            put(&mut state, name, hash_key, NOW_MS + index);
            assert_eq!(state.memory, held(&state));
            assert!(state.memory <= 10_000);
        }
        let mut arrivals: Vec<_> =
            state.streams.values().flat_map(Stream::shards).filter_map(Shard::oldest_ms).collect();
        arrivals.sort_unstable();
        assert_eq!(arrivals, [NOW_MS + 91, NOW_MS + 92, NOW_MS + 93], "the newest nine are left, three in each shard");
    }

    #[test]
    fn one_record_over_the_whole_memory_is_not_kept() {
        let mut state = state(500);
        put(&mut state, "b", 0, NOW_MS);
        assert_eq!((state.memory, held(&state)), (0, 0));
    }

    #[test]
    fn a_removed_stream_gives_its_memory_back() {
        let mut state = state(1_000_000);
        put(&mut state, "a", 0, NOW_MS);
        put(&mut state, "b", 0, NOW_MS);
        state.remove_stream("a");
        assert_eq!(state.memory, held(&state));
        state.expire(NOW_MS + 25 * 3_600_000);
        assert_eq!(state.memory, 0);
        state.reset(NOW_MS);
        assert_eq!(state.streams.len(), 2);
    }
}
