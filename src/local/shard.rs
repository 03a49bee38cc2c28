//! One shard: a range of hash keys, the records that were put there, and the limits on putting more.
//!
//! Who its parents and children are is decided in `stream.rs`.

use std::collections::VecDeque;

use serde::Serialize;

use super::bucket::TokenBucket;
use super::sequence::{LAST_PLACE, SequenceNumber};
use crate::kinesis::hash::hash_key_text;

/// What a stored record costs in memory besides its data and key, in bytes; an estimate that includes the allocator.
const RECORD_OVERHEAD: usize = 96;
/// One read returns no more than this many bytes of data and keys.
const MAX_READ_BYTES: usize = 10 * 1024 * 1024;
/// Reads per second of a shard, where they are limited at all.
pub(crate) const READS_PER_SECOND: u32 = 5;

/// Both ends of a range of hash keys belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HashRange {
    pub(crate) start: u128,
    pub(crate) end: u128,
}

/// A stored record.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    /// Its place in the shard; records of one shard have consecutive places.
    pub(crate) place: u64,
    pub(crate) arrival_ms: u64,
    pub(crate) partition_key: Box<str>,
    pub(crate) data: Box<[u8]>,
}

impl Record {
    /// What it counts against limits: its data and its key.
    pub(crate) fn size(&self) -> usize {
        self.data.len() + self.partition_key.len()
    }

    /// What it costs in memory.
    pub(crate) fn footprint(&self) -> usize {
        self.size() + RECORD_OVERHEAD
    }
}

/// What happened to a shard since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct ShardCounts {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) throttled: u64,
    pub(crate) failed: u64,
    pub(crate) trimmed: u64,
    pub(crate) reads: u64,
    pub(crate) records_read: u64,
}

/// How much a shard takes, per second; 0 is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ShardLimits {
    pub(crate) bytes: u32,
    pub(crate) records: u32,
    pub(crate) reads: u32,
}

/// The limits on one shard, as they fill.
#[derive(Debug, Clone)]
struct Buckets {
    of: ShardLimits,
    bytes: TokenBucket,
    records: TokenBucket,
    reads: TokenBucket,
}

impl Buckets {
    fn new(of: ShardLimits, now_ms: u64) -> Self {
        let bucket = |rate| TokenBucket::new(rate, now_ms);
        Self { of, bytes: bucket(of.bytes), records: bucket(of.records), reads: bucket(of.reads) }
    }
}

/// A shard, open or closed.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) number: u64,
    pub(crate) range: HashRange,
    pub(crate) parent: Option<u64>,
    pub(crate) adjacent_parent: Option<u64>,
    /// Later than the parents' own, so that sequence numbers grow along a line of descent.
    pub(crate) opened_ms: u64,
    pub(crate) closed_ms: Option<u64>,
    pub(crate) counts: ShardCounts,
    records: VecDeque<Record>,
    next_place: u64,
    buckets: Option<Buckets>,
}

/// What a read found.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    pub(crate) records: Vec<&'a Record>,
    /// The place to go on from.
    pub(crate) next: u64,
    /// How old the first record is that was not read; 0 when there is none.
    pub(crate) behind_ms: u64,
}

impl Shard {
    pub(crate) fn new(number: u64, range: HashRange, opened_ms: u64) -> Self {
        Self {
            number,
            range,
            parent: None,
            adjacent_parent: None,
            opened_ms,
            closed_ms: None,
            counts: ShardCounts::default(),
            records: VecDeque::new(),
            next_place: 1,
            buckets: None,
        }
    }

    pub(crate) fn id(&self) -> String {
        shard_id(self.number)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.closed_ms.is_none()
    }

    /// The number of the record at `place`.
    pub(crate) fn sequence(&self, place: u64, arrival_ms: u64) -> SequenceNumber {
        SequenceNumber { epoch_ms: self.opened_ms, place, arrival_ms, shard: self.number }
    }

    /// The number before the first record.
    pub(crate) fn first_sequence(&self) -> SequenceNumber {
        self.sequence(0, self.opened_ms)
    }

    /// The number after the last record, once the shard is closed.
    pub(crate) fn last_sequence(&self) -> Option<SequenceNumber> {
        self.closed_ms.map(|closed_ms| self.sequence(LAST_PLACE, closed_ms))
    }

    /// Whether a record of `size` bytes may enter now; takes it off the limits if so.
    pub(crate) fn admit(&mut self, size: usize, limits: ShardLimits, now_ms: u64) -> bool {
        let cost = u32::try_from(size).unwrap_or(u32::MAX);
        let buckets = self.buckets(limits, now_ms);
        let admitted = buckets.bytes.has(cost, now_ms) && buckets.records.has(1, now_ms);
        if admitted {
            buckets.bytes.take(cost);
            buckets.records.take(1);
        }
        admitted
    }

    /// Whether another read may happen now; takes it off the limit if so.
    pub(crate) fn admit_read(&mut self, limits: ShardLimits, now_ms: u64) -> bool {
        let buckets = self.buckets(limits, now_ms);
        let admitted = buckets.reads.has(1, now_ms);
        if admitted {
            buckets.reads.take(1);
        }
        admitted
    }

    /// Stores a record. Returns its number and what it costs in memory.
    pub(crate) fn put(&mut self, partition_key: &str, data: Vec<u8>, now_ms: u64) -> (SequenceNumber, usize) {
        debug_assert!(self.is_open(), "{} is closed", self.id());
        // Time doesn't step back within a shard, even if the machine's clock does: readers search by it.
        let arrival_ms = self.records.back().map_or(now_ms, |last| last.arrival_ms.max(now_ms));
        let place = self.next_place;
        self.next_place += 1;
        let record = Record { place, arrival_ms, partition_key: partition_key.into(), data: data.into() };
        self.counts.records += 1;
        self.counts.bytes += record.size() as u64;
        let footprint = record.footprint();
        self.records.push_back(record);
        (self.sequence(place, arrival_ms), footprint)
    }

    /// Counts a read of so many records.
    pub(crate) fn count_read(&mut self, records: usize) {
        self.counts.reads += 1;
        self.counts.records_read += records as u64;
    }

    /// Reads up to `limit` records from `place` on.
    pub(crate) fn read(&self, place: u64, limit: usize, now_ms: u64) -> Batch<'_> {
        let first = self.records.front().map_or(self.next_place, |record| record.place);
        // What was trimmed is skipped; places are consecutive, so that a place is an index.
        let skip = usize::try_from(place.saturating_sub(first)).unwrap_or(usize::MAX);
        let mut bytes = 0_usize;
        let mut records = Vec::new();
        for record in self.records.iter().skip(skip).take(limit) {
            bytes += record.size();
            if bytes > MAX_READ_BYTES && !records.is_empty() {
                break;
            }
            records.push(record);
        }
        let next = records.last().map_or(place.max(first), |last| last.place + 1);
        let unread = self.records.get(skip.saturating_add(records.len()));
        let behind_ms = unread.map_or(0, |record| now_ms.saturating_sub(record.arrival_ms));
        Batch { records, next, behind_ms }
    }

    /// The place after the last record.
    pub(crate) fn end(&self) -> u64 {
        self.next_place
    }

    /// The place of the first record that arrived at `ms` or later.
    pub(crate) fn place_at(&self, ms: u64) -> u64 {
        let index = self.records.partition_point(|record| record.arrival_ms < ms);
        self.records.get(index).map_or(self.next_place, |record| record.place)
    }

    /// When the oldest record that is still here arrived.
    pub(crate) fn oldest_ms(&self) -> Option<u64> {
        self.records.front().map(|record| record.arrival_ms)
    }

    /// Drops the oldest record. Returns what it cost in memory.
    pub(crate) fn trim_one(&mut self) -> usize {
        self.records.pop_front().map_or(0, |record| {
            self.counts.trimmed += 1;
            record.footprint()
        })
    }

    /// Drops everything that arrived before `horizon_ms`. Returns what it cost in memory.
    pub(crate) fn trim_before(&mut self, horizon_ms: u64) -> usize {
        let mut freed = 0;
        while self.oldest_ms().is_some_and(|oldest_ms| oldest_ms < horizon_ms) {
            freed += self.trim_one();
        }
        freed
    }

    /// What its records cost in memory.
    pub(crate) fn footprint(&self) -> usize {
        self.records.iter().map(Record::footprint).sum()
    }

    fn buckets(&mut self, limits: ShardLimits, now_ms: u64) -> &mut Buckets {
        // New limits start with full buckets.
        let fits = self.buckets.as_ref().is_some_and(|buckets| buckets.of == limits);
        if !fits {
            self.buckets = None;
        }
        self.buckets.get_or_insert_with(|| Buckets::new(limits, now_ms))
    }
}

/// A shard's id by its number.
pub(crate) fn shard_id(number: u64) -> String {
    format!("shardId-{number:012}")
}

/// The number in a shard's id.
pub(crate) fn shard_number(id: &str) -> Option<u64> {
    let digits = id.strip_prefix("shardId-")?;
    let plain = digits.len() == 12 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

/// A shard as answers describe it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ShardView {
    shard_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_shard_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    adjacent_parent_shard_id: Option<String>,
    hash_key_range: RangeView,
    sequence_number_range: SequenceRangeView,
}

/// A range of hash keys as answers describe it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RangeView {
    starting_hash_key: String,
    ending_hash_key: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct SequenceRangeView {
    starting_sequence_number: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ending_sequence_number: Option<String>,
}

impl From<HashRange> for RangeView {
    fn from(range: HashRange) -> Self {
        Self { starting_hash_key: hash_key_text(range.start), ending_hash_key: hash_key_text(range.end) }
    }
}

impl From<&Shard> for ShardView {
    fn from(shard: &Shard) -> Self {
        Self {
            shard_id: shard.id(),
            parent_shard_id: shard.parent.map(shard_id),
            adjacent_parent_shard_id: shard.adjacent_parent.map(shard_id),
            hash_key_range: shard.range.into(),
            sequence_number_range: SequenceRangeView {
                starting_sequence_number: shard.first_sequence().to_string(),
                ending_sequence_number: shard.last_sequence().map(|number| number.to_string()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: HashRange = HashRange { start: 0, end: u128::MAX };
    const NOW_MS: u64 = 1_763_800_000_000;

    fn with_records(count: u64) -> Shard {
        let mut shard = Shard::new(0, WHOLE, NOW_MS);
        for index in 0..count {
            shard.put("key", index.to_string().into_bytes(), NOW_MS + index);
        }
        shard
    }

    #[test]
    fn numbers_grow_even_when_the_clock_steps_back() {
        let mut shard = Shard::new(3, WHOLE, NOW_MS);
        let (first, _) = shard.put("a", vec![], NOW_MS + 5);
        let (second, _) = shard.put("a", vec![], NOW_MS + 1);
        assert!(shard.first_sequence().to_string() < first.to_string());
        assert!(first.to_string() < second.to_string());
        assert_eq!(second.arrival_ms, NOW_MS + 5);
        shard.closed_ms = Some(NOW_MS + 6);
        assert!(second.to_string() < shard.last_sequence().unwrap().to_string());
    }

    #[test]
    fn a_read_goes_on_where_the_last_one_ended() {
        let shard = with_records(5);
        let batch = shard.read(0, 3, NOW_MS + 10);
        assert_eq!(batch.records.iter().map(|record| record.place).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!((batch.next, batch.behind_ms), (4, 7));
        let batch = shard.read(4, 3, NOW_MS + 10);
        assert_eq!((batch.records.len(), batch.next, batch.behind_ms), (2, 6, 0));
        let batch = shard.read(6, 3, NOW_MS + 10);
        assert_eq!((batch.records.len(), batch.next, batch.behind_ms), (0, 6, 0));
    }

    #[test]
    fn a_read_skips_what_was_trimmed() {
        let mut shard = with_records(5);
        assert!(shard.trim_before(NOW_MS + 2) > 0);
        let batch = shard.read(1, 10, NOW_MS);
        assert_eq!(batch.records.iter().map(|record| record.place).collect::<Vec<_>>(), [3, 4, 5]);
        while shard.trim_one() > 0 {}
        assert_eq!(shard.read(2, 10, NOW_MS).next, 6);
        assert_eq!(shard.counts.trimmed, 5);
        assert_eq!(shard.footprint(), 0);
    }

    #[test]
    fn a_read_ends_before_10_mib_but_never_before_its_first_record() {
        let mut shard = Shard::new(0, WHOLE, NOW_MS);
        for _ in 0..3 {
            shard.put("k", vec![0; 6 * 1024 * 1024], NOW_MS);
        }
        shard.put("k", vec![0; MAX_READ_BYTES + 1], NOW_MS);
        assert_eq!(shard.read(1, 10, NOW_MS).records.len(), 1);
        assert_eq!(shard.read(4, 10, NOW_MS).records.len(), 1);
    }

    #[test]
    fn a_time_leads_to_the_first_record_not_before_it() {
        let shard = with_records(5);
        assert_eq!(shard.place_at(0), 1);
        assert_eq!(shard.place_at(NOW_MS + 2), 3);
        assert_eq!(shard.place_at(NOW_MS + 99), 6);
    }

    #[test]
    fn both_limits_hold_and_a_refused_record_costs_nothing() {
        let limits = ShardLimits { bytes: 100, records: 3, reads: 0 };
        let mut shard = Shard::new(0, WHOLE, NOW_MS);
        assert!(shard.admit(60, limits, NOW_MS));
        assert!(!shard.admit(60, limits, NOW_MS));
        assert!(shard.admit(20, limits, NOW_MS));
        assert!(shard.admit(20, limits, NOW_MS));
        assert!(!shard.admit(0, limits, NOW_MS), "the third record was the last of this second");
        assert!(shard.admit(30, limits, NOW_MS + 334));
        assert!((0..100).all(|_| shard.admit_read(limits, NOW_MS)));
    }

    #[test]
    fn ids_read_back() {
        assert_eq!(shard_number(&shard_id(42)), Some(42));
        for other in ["", "shardId-", "shardId-1", "shard-000000000001", "shardId-00000000000x"] {
            assert_eq!(shard_number(other), None, "{other}");
        }
    }
}
