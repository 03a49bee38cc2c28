//! Which shard a hash key belongs to: as the stream's own map says, or as answers have shown where there is none. Pure; it asks nobody.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::event::LaneId;
use crate::kinesis::client::OpenShard;
use crate::kinesis::pace::ShardIndex;

/// Without a map the hash space is divided into so many ranges: fine enough that a stream of up to as many shards is spread evenly, coarse
/// enough that an aggregate finds company.
pub const FIXED_RANGES: u32 = 128;
/// Shard ids that are kept: a stream has at most 20,000 shards where an account was granted that, and a server that answers with ever new
/// ones must not fill the memory.
const MAX_SHARD_IDS: usize = 20_000;

/// A stretch of the hash space, up to the start of the next one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Range {
    start: u128,
    shard: Option<ShardIndex>,
}

/// A lane of the new layout, and those of the old one that it must not overtake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Follows {
    /// The new lane.
    pub lane: LaneId,
    /// The old ones.
    pub after: Vec<LaneId>,
}

/// What is known of a stream's shards.
#[derive(Debug)]
pub struct Shards {
    ids: Vec<Arc<str>>,
    known: BTreeMap<Arc<str>, ShardIndex>,
    ranges: Vec<Range>,
    /// The ranges are the shards, from the stream's own map.
    mapped: bool,
    /// The lane of the first range. No two layouts share a lane.
    first_lane: u32,
}

impl Default for Shards {
    fn default() -> Self {
        let width = u128::MAX / u128::from(FIXED_RANGES) + 1;
        let ranges = (0..u128::from(FIXED_RANGES)).map(|i| Range { start: i * width, shard: None }).collect();
        Self { ids: Vec::new(), known: BTreeMap::new(), ranges, mapped: false, first_lane: 0 }
    }
}

impl Shards {
    fn range(&self, hash: u128) -> usize {
        self.ranges.partition_point(|range| range.start <= hash).saturating_sub(1)
    }

    /// The lane of all events whose keys hash into the same range.
    pub fn lane(&self, hash: u128) -> LaneId {
        self.lane_at(self.range(hash))
    }

    fn lane_at(&self, range: usize) -> LaneId {
        let range = u32::try_from(range).expect("there are at most MAX_SHARD_IDS ranges");
        LaneId(self.first_lane.wrapping_add(range))
    }

    /// The one hash key that records of this hash's range carry.
    pub fn stamp(&self, hash: u128) -> u128 {
        self.ranges[self.range(hash)].start
    }

    /// The shard of a hash, if it is known.
    pub fn shard(&self, hash: u128) -> Option<ShardIndex> {
        self.ranges[self.range(hash)].shard
    }

    /// A shard's id.
    pub fn id(&self, shard: ShardIndex) -> Option<&Arc<str>> {
        self.ids.get(shard.0 as usize)
    }

    /// The number of a shard of this id; none once there are too many.
    pub fn index(&mut self, id: &str) -> Option<ShardIndex> {
        if let Some(index) = self.known.get(id) {
            return Some(*index);
        }
        if id.is_empty() || self.ids.len() >= MAX_SHARD_IDS {
            return None;
        }
        let index = ShardIndex(u32::try_from(self.ids.len()).ok()?);
        let id: Arc<str> = id.into();
        self.ids.push(Arc::clone(&id));
        self.known.insert(id, index);
        Some(index)
    }

    /// A record of this hash was taken, or throttled, by this shard. Answers whether the map says otherwise: it is out of date.
    pub fn seen(&mut self, hash: u128, shard: ShardIndex) -> bool {
        let (at, mapped) = (self.range(hash), self.mapped);
        let range = &mut self.ranges[at];
        if mapped {
            return range.shard != Some(shard);
        }
        range.shard = Some(shard);
        false
    }

    /// The shards that records go to, as far as is known: those of the map, or those that have answered.
    pub fn open(&self) -> impl Iterator<Item = ShardIndex> {
        self.ranges.iter().filter_map(|range| range.shard)
    }

    /// How many shards the stream has, if there is a map.
    pub fn count(&self) -> Option<usize> {
        self.mapped.then_some(self.ranges.len())
    }

    /// How many ranges the hash space is divided into.
    pub fn ranges(&self) -> usize {
        self.ranges.len()
    }

    /// So many ranges from this one on: the first and the last hash in them, and the shard of the first.
    pub fn stretch(&self, range: usize, count: usize) -> (u128, u128, Option<ShardIndex>) {
        (self.ranges[range].start, self.end(range + count - 1), self.ranges[range].shard)
    }

    fn end(&self, range: usize) -> u128 {
        self.ranges.get(range + 1).map_or(u128::MAX, |next| next.start - 1)
    }

    /// Takes the stream's own map. Answers the lanes of the new layout, if it is another one than before; a map that leaves a part of the
    /// hash space to nobody is none.
    pub fn replace(&mut self, open: &[OpenShard]) -> Option<Vec<Follows>> {
        let mut open: Vec<&OpenShard> = open.iter().collect();
        open.sort_by_key(|shard| shard.start);
        let adjacent = |pair: &[&OpenShard]| pair[0].end.checked_add(1) == Some(pair[1].start);
        let covers = open.first().is_some_and(|shard| shard.start == 0)
            && open.last().is_some_and(|shard| shard.end == u128::MAX)
            && open.windows(2).all(adjacent);
        if !covers || open.len() > MAX_SHARD_IDS {
            return None;
        }
        if self.ids.len() + open.len() > MAX_SHARD_IDS {
            // Of a stream that was resharded thousands of times, the old ids are of no use any more.
            (self.ids, self.known) = (Vec::new(), BTreeMap::new());
        }
        let ranges: Vec<Range> =
            open.iter().map(|shard| Range { start: shard.start, shard: self.index(&shard.id) }).collect();
        if self.mapped && ranges == self.ranges {
            return None;
        }
        let before = (0..self.ranges.len()).map(|at| (self.ranges[at].start, self.end(at), self.lane_at(at)));
        let before: Vec<(u128, u128, LaneId)> = before.collect();
        let count = u32::try_from(self.ranges.len()).expect("there are at most MAX_SHARD_IDS ranges");
        self.first_lane = self.first_lane.wrapping_add(count);
        self.ranges = ranges;
        self.mapped = true;
        let follows = (0..self.ranges.len()).map(|at| {
            let (start, end) = (self.ranges[at].start, self.end(at));
            let overlaps = before.iter().filter(|(from, to, _)| *from <= end && start <= *to);
            Follows { lane: self.lane_at(at), after: overlaps.map(|(_, _, lane)| *lane).collect() }
        });
        Some(follows.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn open(id: &str, start: u128, end: u128) -> OpenShard {
        OpenShard { id: id.to_owned(), start, end }
    }

    #[test]
    fn without_a_map_ranges_learn_their_shard_from_answers() {
        let mut shards = Shards::default();
        let (low, high) = (5, u128::MAX - 5);
        assert_eq!((shards.shard(low), shards.count()), (None, None));
        let [a, b] = ["shardId-000000000000", "shardId-000000000001"].map(|id| shards.index(id).unwrap());
        assert!(!shards.seen(low, a) && !shards.seen(high, b));
        assert_eq!((shards.shard(6), shards.shard(high - 1)), (Some(a), Some(b)));
        assert_ne!(shards.lane(low), shards.lane(high));
        assert_eq!(shards.stamp(low), 0);
    }

    #[test]
    fn a_split_is_noticed_and_its_lanes_follow_those_of_the_parent() {
        let mut shards = Shards::default();
        let half = 1 << 127;
        let parents = [open("shardId-000000000000", 0, half - 1), open("shardId-000000000001", half, u128::MAX)];
        let first = shards.replace(&parents).unwrap();
        assert_eq!(first.iter().map(|f| f.after.len()).collect::<Vec<_>>(), [64, 64]);
        assert!(shards.replace(&parents).is_none(), "the same map is nothing new");
        let child = shards.index("shardId-000000000002").unwrap();
        let parent = shards.lane(7);
        assert!(shards.seen(7, child), "the map says another shard");
        let split = [
            parents[1].clone(),
            open("shardId-000000000002", 0, half / 2 - 1),
            open("shardId-000000000003", half / 2, half - 1),
        ];
        let second = shards.replace(&split).unwrap();
        assert_eq!(second[0], Follows { lane: shards.lane(7), after: vec![parent] });
        assert_eq!(second[1].after, [parent]);
        assert_eq!(shards.shard(7), Some(child));
        assert!(!shards.seen(7, child));
    }

    #[test]
    fn a_map_with_a_hole_is_none() {
        let mut shards = Shards::default();
        assert!(shards.replace(&[]).is_none());
        assert!(shards.replace(&[open("a", 1, u128::MAX)]).is_none());
        assert!(shards.replace(&[open("a", 0, 10), open("b", 12, u128::MAX)]).is_none());
        assert_eq!(shards.count(), None);
    }

    proptest! {
        /// For all cuts of the hash space, a hash lies in the range that it is said to lie in, and its stamp lies there too.
        #[test]
        fn a_hash_and_its_stamp_share_a_shard(cuts in prop::collection::btree_set(1..u128::MAX, 0..20), hash in any::<u128>()) {
            let starts: Vec<u128> = std::iter::once(0).chain(cuts).collect();
            let end = |at: usize| starts.get(at + 1).map_or(u128::MAX, |next| next - 1);
            let map: Vec<_> = starts.iter().enumerate().map(|(at, start)| open(&at.to_string(), *start, end(at))).collect();
            let mut shards = Shards::default();
            shards.replace(&map).unwrap();
            let owner = map.iter().find(|s| (s.start..=s.end).contains(&hash)).unwrap();
            let index = shards.shard(hash).unwrap();
            prop_assert_eq!(&**shards.id(index).unwrap(), &*owner.id);
            prop_assert_eq!(shards.shard(shards.stamp(hash)), Some(index));
            prop_assert_eq!(shards.lane(shards.stamp(hash)), shards.lane(hash));
        }
    }
}
