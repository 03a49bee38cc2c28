//! One stream: its shards, how hash keys are routed to the open ones, and how resharding replaces them.
//!
//! The open shards always divide the whole space of hash keys among themselves; every change goes through [`Stream::split`]
//! or [`Stream::merge`], which replace ranges by the same ranges.

use std::collections::BTreeMap;

use super::refusal::Refusal;
use super::shard::{HashRange, Shard, shard_id};
use super::{ACCOUNT, REGION};

/// The retention of a new stream, in hours; also the shortest.
pub(crate) const MIN_RETENTION_HOURS: u64 = 24;
/// The longest retention, in hours: 365 days.
pub(crate) const MAX_RETENTION_HOURS: u64 = 8760;
/// The record size limit of a new stream, in KiB; also the lowest.
pub(crate) const MIN_RECORD_KIB: u64 = 1024;
/// The highest record size limit, in KiB.
pub(crate) const MAX_RECORD_KIB: u64 = 10_240;
/// Shards of one stream, open and closed. A bound on memory; the service's own quotas are by account and region.
pub(crate) const MAX_SHARDS: usize = 10_000;
/// The step from one record to the next in a stream that spreads them: 2^128 by the golden ratio, which visits all parts of
/// the space evenly.
const SPREAD_STEP: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
/// Milliseconds of an hour.
const HOUR_MS: u64 = 3_600_000;

/// Who decides how many shards there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Provisioned,
    OnDemand,
}

/// A stream.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) name: String,
    /// Tells this stream from an earlier one of the same name.
    pub(crate) generation: u64,
    pub(crate) mode: Mode,
    pub(crate) created_ms: u64,
    /// When it becomes ACTIVE.
    pub(crate) active_ms: u64,
    pub(crate) retention_hours: u64,
    pub(crate) max_record_kib: u64,
    /// Whether the service spreads records by itself and ignores their keys (`RecordDistributionStrategy` AUTO).
    pub(crate) spreads: bool,
    /// Where in the space the last record went that was spread.
    spread_to: u128,
    /// Requests to put something here that were in order.
    pub(crate) put_requests: u64,
    shards: BTreeMap<u64, Shard>,
    /// The open shards, by the first hash key of their ranges.
    open: BTreeMap<u128, u64>,
    next_shard: u64,
}

impl Stream {
    /// A stream whose shards have equal ranges.
    pub(crate) fn new(name: String, generation: u64, shard_count: u32, created_ms: u64) -> Self {
        let mut stream = Self {
            name,
            generation,
            mode: Mode::Provisioned,
            created_ms,
            active_ms: created_ms,
            retention_hours: MIN_RETENTION_HOURS,
            max_record_kib: MIN_RECORD_KIB,
            spreads: false,
            spread_to: 0,
            put_requests: 0,
            shards: BTreeMap::new(),
            open: BTreeMap::new(),
            next_shard: 0,
        };
        for range in even_ranges(shard_count) {
            stream.open_shard(range, [None, None], created_ms);
        }
        stream
    }

    pub(crate) fn arn(&self) -> String {
        format!("arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/{}", self.name)
    }

    pub(crate) fn is_active(&self, now_ms: u64) -> bool {
        now_ms >= self.active_ms
    }

    /// Key and data of a record may be this long together, in bytes.
    pub(crate) fn max_record_bytes(&self) -> usize {
        usize::try_from(self.max_record_kib * 1024).unwrap_or(usize::MAX)
    }

    /// All shards, by number.
    pub(crate) fn shards(&self) -> impl DoubleEndedIterator<Item = &Shard> {
        self.shards.values()
    }

    /// All shards, by number.
    pub(crate) fn shards_mut(&mut self) -> impl Iterator<Item = &mut Shard> {
        self.shards.values_mut()
    }

    pub(crate) fn shard(&self, number: u64) -> Option<&Shard> {
        self.shards.get(&number)
    }

    pub(crate) fn shard_mut(&mut self, number: u64) -> Option<&mut Shard> {
        self.shards.get_mut(&number)
    }

    pub(crate) fn shard_count(&self) -> usize {
        self.shards.len()
    }

    pub(crate) fn open_count(&self) -> usize {
        self.open.len()
    }

    /// The open shard that owns a hash key; in a stream that spreads records by itself, any.
    pub(crate) fn route(&mut self, hash_key: u128) -> &mut Shard {
        self.spread_to = self.spread_to.wrapping_add(SPREAD_STEP);
        let hash_key = if self.spreads { self.spread_to } else { hash_key };
        let number = self.open_at(hash_key);
        self.shards.get_mut(&number).expect("every open shard is one of the shards")
    }

    /// The shards that came out of a closed one.
    pub(crate) fn children(&self, number: u64) -> impl Iterator<Item = &Shard> {
        let is_child = move |shard: &&Shard| shard.parent == Some(number) || shard.adjacent_parent == Some(number);
        self.shards.values().filter(is_child)
    }

    /// Records from before this time are gone.
    pub(crate) fn horizon_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.retention_hours * HOUR_MS).max(self.created_ms)
    }

    /// Drops the records and the closed shards that are past the retention. Returns the memory that they cost.
    pub(crate) fn expire(&mut self, now_ms: u64) -> usize {
        let horizon_ms = self.horizon_ms(now_ms);
        let mut freed = 0;
        self.shards.retain(|_, shard| {
            freed += shard.trim_before(horizon_ms);
            let stays = shard.closed_ms.is_none_or(|closed_ms| closed_ms >= horizon_ms);
            if !stays {
                freed += shard.footprint();
            }
            stays
        });
        freed
    }

    /// Closes an open shard and opens two that share its range; the second begins at `at`.
    pub(crate) fn split(&mut self, number: u64, at: u128, now_ms: u64) -> Result<(), Refusal> {
        let range = self.eligible(number)?.range;
        if at <= range.start || at > range.end {
            return Err(Refusal::argument(format!("{at} doesn't divide {}", shard_id(number))));
        }
        self.room_for(2)?;
        let opened_ms = self.close(number, now_ms);
        self.open_shard(HashRange { start: range.start, end: at - 1 }, [Some(number), None], opened_ms);
        self.open_shard(HashRange { start: at, end: range.end }, [Some(number), None], opened_ms);
        Ok(())
    }

    /// Closes two open shards with adjacent ranges and opens one that has both.
    pub(crate) fn merge(&mut self, number: u64, adjacent: u64, now_ms: u64) -> Result<(), Refusal> {
        let (one, other) = (self.eligible(number)?.range, self.eligible(adjacent)?.range);
        let (lower, upper) = if one.start < other.start { (one, other) } else { (other, one) };
        if lower.end.checked_add(1) != Some(upper.start) {
            let (one, other, name) = (shard_id(number), shard_id(adjacent), &self.name);
            return Err(Refusal::argument(format!(
                "Shards {one} and {other} in stream {name} under account {ACCOUNT} are not an adjacent pair of shards \
                 eligible for merging"
            )));
        }
        self.room_for(1)?;
        let opened_ms = self.close(number, now_ms).max(self.close(adjacent, now_ms));
        let range = HashRange { start: lower.start, end: upper.end };
        self.open_shard(range, [Some(number), Some(adjacent)], opened_ms);
        Ok(())
    }

    /// Splits and merges until there are `target` shards with equal ranges.
    ///
    /// A shard has two parents at most. So the ranges are first split wherever a new one begins, then the pieces of each
    /// new range are merged, two at a time; the shards in between exist for no time at all, but are listed. So it is
    /// with the service.
    pub(crate) fn resize(&mut self, target: u32, now_ms: u64) -> Result<(), Refusal> {
        // Every new boundary splits once, every old one merges once at most.
        let target_count = usize::try_from(target).unwrap_or(usize::MAX);
        self.room_for(target_count.saturating_mul(2).saturating_add(self.open_count()))?;
        for range in even_ranges(target) {
            if !self.open.contains_key(&range.start) {
                self.split(self.open_at(range.start), range.start, now_ms)?;
            }
        }
        for range in even_ranges(target) {
            while let Some((first, second)) = self.first_two_in(range) {
                self.merge(first, second, now_ms)?;
            }
        }
        Ok(())
    }

    /// The first two open shards in a range, unless there is only one.
    fn first_two_in(&self, range: HashRange) -> Option<(u64, u64)> {
        let mut numbers = self.open.range(range.start..=range.end).map(|(_, number)| *number);
        numbers.next().zip(numbers.next())
    }

    fn open_at(&self, hash_key: u128) -> u64 {
        let owner = self.open.range(..=hash_key).next_back();
        *owner.expect("an open shard's range begins at hash key 0").1
    }

    /// An open shard, or why this one can't be split or merged.
    fn eligible(&self, number: u64) -> Result<&Shard, Refusal> {
        let (id, name) = (shard_id(number), &self.name);
        let shard = self.shards.get(&number).ok_or_else(|| {
            Refusal::not_found(format!("Could not find shard {id} in stream {name} under account {ACCOUNT}."))
        })?;
        if shard.is_open() {
            return Ok(shard);
        }
        Err(Refusal::argument(format!(
            "Shard {id} in stream {name} under account {ACCOUNT} has already been merged or split, and thus is not \
             eligible for merging or splitting."
        )))
    }

    fn room_for(&self, count: usize) -> Result<(), Refusal> {
        if self.shards.len().saturating_add(count) > MAX_SHARDS {
            let text = format!("Stream {} would have over {MAX_SHARDS} shards, open and closed.", self.name);
            return Err(Refusal::limit(text));
        }
        Ok(())
    }

    /// Closes a shard. Returns when its children open: later than it did, or their sequence numbers would not be higher.
    fn close(&mut self, number: u64, now_ms: u64) -> u64 {
        let shard = self.shards.get_mut(&number).expect("the caller has looked at this shard");
        let closed_ms = now_ms.max(shard.opened_ms + 1);
        shard.closed_ms = Some(closed_ms);
        self.open.remove(&shard.range.start);
        closed_ms
    }

    fn open_shard(&mut self, range: HashRange, parents: [Option<u64>; 2], opened_ms: u64) {
        let number = self.next_shard;
        self.next_shard += 1;
        let mut shard = Shard::new(number, range, opened_ms);
        [shard.parent, shard.adjacent_parent] = parents;
        self.open.insert(range.start, number);
        self.shards.insert(number, shard);
    }
}

/// The ranges of `count` shards as the service divides the space: equal, and what is left over goes to the last.
fn even_ranges(count: u32) -> impl Iterator<Item = HashRange> {
    let count = u128::from(count.max(1));
    // 2^128 / count, rounded down; 2^128 itself doesn't fit.
    let width = if count == 1 { 0 } else { u128::MAX / count + u128::from(u128::MAX % count == count - 1) };
    (0..count).map(move |index| HashRange {
        start: width * index,
        end: if index + 1 == count { u128::MAX } else { width * (index + 1) - 1 },
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kinesis::hash::hash_key;

    const NOW_MS: u64 = 1_763_800_000_000;

    fn stream(shards: u32) -> Stream {
        Stream::new("s".to_owned(), 1, shards, NOW_MS)
    }

    fn open_ranges(stream: &Stream) -> Vec<HashRange> {
        let mut ranges: Vec<_> = stream.shards().filter(|shard| shard.is_open()).map(|shard| shard.range).collect();
        ranges.sort_by_key(|range| range.start);
        ranges
    }

    /// The open shards cover the space without a gap or an overlap, and the router knows exactly them.
    fn check_cover(stream: &Stream) {
        let ranges = open_ranges(stream);
        assert_eq!(ranges.first().unwrap().start, 0);
        assert_eq!(ranges.last().unwrap().end, u128::MAX);
        for pair in ranges.windows(2) {
            assert_eq!(pair[0].end.checked_add(1), Some(pair[1].start));
        }
        assert_eq!(ranges.len(), stream.open_count());
        for range in ranges {
            let owner = stream.shard(stream.open_at(range.start)).unwrap();
            assert_eq!(owner.range, range);
            assert_eq!(stream.open_at(range.end), owner.number);
        }
    }

    /// A child lies within its parents' ranges, opens when they close, and its sequence numbers are higher.
    fn check_descent(stream: &Stream) {
        for shard in stream.shards() {
            for parent in [shard.parent, shard.adjacent_parent].into_iter().flatten() {
                let parent = stream.shard(parent).unwrap();
                let parent_end = parent.last_sequence().unwrap().to_string();
                assert!(parent_end < shard.first_sequence().to_string());
                assert!(parent.closed_ms.unwrap() <= shard.opened_ms);
                assert!(parent.range.start <= shard.range.end && shard.range.start <= parent.range.end);
            }
        }
    }

    #[test]
    fn ranges_are_divided_as_the_service_divides_them() {
        let starts = |count| even_ranges(count).map(|range| range.start).collect::<Vec<_>>();
        assert_eq!(starts(1), [0]);
        assert_eq!(starts(2), [0, 1 << 127]);
        let third = 113_427_455_640_312_821_154_458_202_477_256_070_485;
        assert_eq!(starts(3), [0, third, 2 * third]);
        assert_eq!(even_ranges(3).last().unwrap().end, u128::MAX);
    }

    #[test]
    fn every_hash_key_has_one_owner() {
        let mut stream = stream(4);
        for (key, number) in [(0, 0), ((1 << 126) - 1, 0), (1 << 126, 1), (1 << 127, 2), (u128::MAX, 3)] {
            assert_eq!(stream.route(key).number, number);
        }
        let key = hash_key("user-1");
        let shard = stream.route(key);
        assert!(shard.range.start <= key && key <= shard.range.end);
    }

    #[test]
    fn a_split_opens_two_children_and_closes_their_parent() {
        let mut stream = stream(1);
        stream.split(0, 1 << 127, NOW_MS).unwrap();
        assert!(!stream.shard(0).unwrap().is_open());
        assert_eq!(stream.children(0).map(|shard| shard.number).collect::<Vec<_>>(), [1, 2]);
        assert_eq!((stream.route(0).number, stream.route(u128::MAX).number), (1, 2));
        check_cover(&stream);
        check_descent(&stream);
        let again = stream.split(0, 1 << 126, NOW_MS).unwrap_err();
        assert_eq!(again.code, "InvalidArgumentException");
    }

    #[test]
    fn a_split_must_leave_something_on_both_sides() {
        let mut stream = stream(2);
        for at in [0, 1 << 127, u128::MAX] {
            assert!(stream.split(0, at, NOW_MS).is_err(), "{at}");
        }
        stream.split(0, 1, NOW_MS).unwrap();
        check_cover(&stream);
        assert_eq!(stream.split(99, 5, NOW_MS).unwrap_err().code, "ResourceNotFoundException");
    }

    #[test]
    fn only_neighbours_merge() {
        let mut stream = stream(3);
        assert_eq!(stream.merge(0, 2, NOW_MS).unwrap_err().code, "InvalidArgumentException");
        assert_eq!(stream.merge(0, 0, NOW_MS).unwrap_err().code, "InvalidArgumentException");
        check_cover(&stream);
        stream.merge(1, 0, NOW_MS).unwrap();
        let child = stream.shard(3).unwrap();
        assert_eq!((child.parent, child.adjacent_parent), (Some(1), Some(0)));
        check_cover(&stream);
        check_descent(&stream);
    }

    #[test]
    fn a_resize_ends_with_equal_ranges() {
        for (from, to) in [(1, 2), (2, 1), (3, 4), (5, 3), (4, 4), (7, 13)] {
            let mut stream = stream(from);
            stream.resize(to, NOW_MS).unwrap();
            assert_eq!(open_ranges(&stream), even_ranges(to).collect::<Vec<_>>(), "{from} to {to}");
            check_cover(&stream);
            check_descent(&stream);
        }
    }

    #[test]
    fn the_past_goes_with_the_retention() {
        let mut stream = stream(1);
        let (_, footprint) = stream.route(0).put("old", vec![1], NOW_MS);
        stream.split(0, 1 << 127, NOW_MS + 10).unwrap();
        stream.route(0).put("new", vec![2], NOW_MS + 1000);
        let day_ms = MIN_RETENTION_HOURS * HOUR_MS;
        assert_eq!(stream.expire(NOW_MS + day_ms), 0);
        assert_eq!(stream.expire(NOW_MS + day_ms + 1), footprint);
        assert!(stream.shard(0).is_some(), "its last record might just be gone, but it closed within the retention");
        stream.expire(NOW_MS + day_ms + 11);
        assert!(stream.shard(0).is_none());
        assert_eq!(stream.shards().map(Shard::footprint).filter(|bytes| *bytes > 0).count(), 1);
        check_cover(&stream);
    }

    #[test]
    fn there_is_a_limit_to_shards() {
        let mut stream = stream(6000);
        assert_eq!(stream.resize(6001, NOW_MS).unwrap_err().code, "LimitExceededException");
        check_cover(&stream);
    }

    #[test]
    fn a_stream_that_spreads_records_ignores_their_keys() {
        let mut stream = stream(4);
        stream.spreads = true;
        let mut hits = [0; 4];
        for _ in 0..400 {
            hits[usize::try_from(stream.route(5).number).unwrap()] += 1;
        }
        assert!(hits.iter().all(|count| (90..=110).contains(count)), "{hits:?}");
    }

    #[derive(Debug, Clone)]
    enum Step {
        Split(usize, u128),
        Merge(usize),
        Resize(u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (any::<usize>(), any::<u128>()).prop_map(|(index, at)| Step::Split(index, at)),
            any::<usize>().prop_map(Step::Merge),
            (1_u32..20).prop_map(Step::Resize),
        ]
    }

    fn apply(stream: &mut Stream, step: &Step, now_ms: u64) {
        let ranges = open_ranges(stream);
        match step {
            Step::Split(index, at) => {
                let range = ranges[index % ranges.len()];
                let width = range.end - range.start;
                if width > 0 {
                    let at = range.start + 1 + at % width;
                    stream.split(stream.open_at(range.start), at, now_ms).unwrap();
                }
            }
            Step::Merge(index) if ranges.len() > 1 => {
                let index = index % (ranges.len() - 1);
                let numbers = [index, index + 1].map(|index| stream.open_at(ranges[index].start));
                stream.merge(numbers[0], numbers[1], now_ms).unwrap();
            }
            Step::Merge(_) => {}
            Step::Resize(target) => stream.resize(*target, now_ms).unwrap(),
        }
    }

    proptest! {
        #[test]
        fn open_shards_cover_the_space_after_any_resharding(
            shards in 1_u32..10,
            steps in prop::collection::vec((step(), 0_u64..3), 0..30),
        ) {
            let mut stream = stream(shards);
            let mut now_ms = NOW_MS;
            for (step, pause_ms) in steps {
                now_ms += pause_ms;
                apply(&mut stream, &step, now_ms);
                check_cover(&stream);
            }
            check_descent(&stream);
        }
    }
}
