//! The Collector: which records go into the next request. Pure; it keeps the order of each lane, is fair between shards and between the lanes of
//! a shard, and lets a shard have what the Pacer gives it. It knows no network and no clock.
//!
//! For all sequences of calls: at most one record of a lane is out at a time, and a lane's records go out in the order in which they came.

use std::collections::{BTreeMap, VecDeque};

use tokio::time::Instant;

use crate::event::LaneId;
use crate::kinesis::pace::{Pacer, ShardIndex};
use crate::kinesis::record::KinesisRecord;
use crate::kinesis::shards::{Follows, Shards};

/// What one request may hold.
#[derive(Debug, Clone, Copy)]
pub struct RequestLimits {
    /// Records. The service takes 500.
    pub records: usize,
    /// Bytes of data and partition keys. One record always fits.
    pub bytes: usize,
}

/// A lane that has a record out, or records that wait.
#[derive(Debug, Default)]
struct Lane {
    queue: VecDeque<KinesisRecord>,
    out: bool,
}

/// What could go to one shard, in the order in which it may.
#[derive(Debug, Default)]
struct Queue {
    /// Refused records whose time has come.
    again: VecDeque<KinesisRecord>,
    /// Lanes that have a record to send and none out, in the order in which they became so.
    ready: VecDeque<LaneId>,
    /// Records without a lane, oldest first.
    unordered: VecDeque<KinesisRecord>,
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.again.is_empty() && self.ready.is_empty() && self.unordered.is_empty()
    }
}

/// Records that wait to be sent.
#[derive(Debug)]
pub struct Collector {
    limits: RequestLimits,
    /// By shard; those whose shard is not known yet are together.
    queues: BTreeMap<Option<ShardIndex>, Queue>,
    /// The shard that was served last: the next request begins with the one after it.
    last: Option<ShardIndex>,
    lanes: BTreeMap<LaneId, Lane>,
    /// Lanes of a new layout, and those of the old one that they wait for.
    behind: BTreeMap<LaneId, Vec<LaneId>>,
    /// Refused records, by the time at which they are sent again.
    refused: BTreeMap<(Instant, u64), KinesisRecord>,
    refusals: u64,
    /// Halves of a request that the service did not take: each is a request of its own.
    halves: VecDeque<Vec<KinesisRecord>>,
    /// Bytes of all that waits.
    bytes: usize,
}

impl Collector {
    /// A collector without records.
    pub fn new(limits: RequestLimits) -> Self {
        Self {
            limits,
            queues: BTreeMap::new(),
            last: None,
            lanes: BTreeMap::new(),
            behind: BTreeMap::new(),
            refused: BTreeMap::new(),
            refusals: 0,
            halves: VecDeque::new(),
            bytes: 0,
        }
    }

    /// Takes a new record.
    pub fn push(&mut self, record: KinesisRecord, shards: &Shards) {
        self.bytes += record.size;
        let shard = shards.shard(record.hash);
        let Some(id) = record.lane else {
            self.queues.entry(shard).or_default().unordered.push_back(record);
            return;
        };
        let lane = self.lanes.entry(id).or_default();
        lane.queue.push_back(record);
        if !lane.out && lane.queue.len() == 1 && !self.behind.contains_key(&id) {
            self.queues.entry(shard).or_default().ready.push_back(id);
        }
    }

    /// Whether a record of this lane would be the next one of it to go out.
    pub fn is_idle(&self, lane: LaneId) -> bool {
        !self.lanes.contains_key(&lane) && !self.behind.contains_key(&lane)
    }

    /// The lane's record that was out is settled. Answers the lanes that are idle now: this one, and others that waited for it.
    pub fn settled(&mut self, id: LaneId, shards: &Shards) -> Vec<LaneId> {
        let Some(lane) = self.lanes.get_mut(&id) else { return Vec::new() };
        debug_assert!(lane.out, "only a lane that has a record out can settle one");
        lane.out = false;
        if let Some(next) = lane.queue.front() {
            self.queues.entry(shards.shard(next.hash)).or_default().ready.push_back(id);
            return Vec::new();
        }
        self.lanes.remove(&id);
        let mut idle = vec![id];
        self.let_follow(id, shards, &mut idle);
        idle
    }

    /// A lane is gone: those that waited for it alone may go.
    fn let_follow(&mut self, gone: LaneId, shards: &Shards, idle: &mut Vec<LaneId>) {
        let free = self.behind.extract_if(.., |_, after| {
            after.retain(|lane| *lane != gone);
            after.is_empty()
        });
        for (id, _) in free.collect::<Vec<_>>() {
            if let Some(first) = self.lanes.get(&id).and_then(|lane| lane.queue.front()) {
                self.queues.entry(shards.shard(first.hash)).or_default().ready.push_back(id);
            } else {
                idle.push(id);
                // It may be of an old layout itself, and nothing will ever come to it.
                self.let_follow(id, shards, idle);
            }
        }
    }

    /// The stream has other shards now. Lanes of the new layout wait for those of the old one that still have records, and what waits is
    /// sorted anew.
    pub fn follow(&mut self, follows: Vec<Follows>, shards: &Shards) {
        for Follows { lane, mut after } in follows {
            after.retain(|old| self.lanes.contains_key(old) || self.behind.contains_key(old));
            if !after.is_empty() {
                self.behind.insert(lane, after);
            }
        }
        self.sort(shards);
    }

    /// Puts what waits under the shards that it goes to as of now.
    pub fn sort(&mut self, shards: &Shards) {
        for (_, queue) in std::mem::take(&mut self.queues) {
            for record in queue.again {
                self.queues.entry(shards.shard(record.hash)).or_default().again.push_back(record);
            }
            for id in queue.ready {
                let first = self.lanes.get(&id).and_then(|lane| lane.queue.front());
                let shard = first.and_then(|record| shards.shard(record.hash));
                self.queues.entry(shard).or_default().ready.push_back(id);
            }
            for record in queue.unordered {
                self.queues.entry(shards.shard(record.hash)).or_default().unordered.push_back(record);
            }
        }
    }

    /// Takes a record back that was refused. Its lane, if it has one, waits for it.
    pub fn resend(&mut self, record: KinesisRecord, at: Instant) {
        self.refusals += 1;
        self.bytes += record.size;
        self.refused.insert((at, self.refusals), record);
    }

    /// Takes a request back of which the service minds some record: it goes out again in two halves.
    pub fn bisect(&mut self, mut records: Vec<KinesisRecord>) {
        self.bytes += records.iter().map(|record| record.size).sum::<usize>();
        let second = records.split_off(records.len() / 2);
        for half in [records, second] {
            if !half.is_empty() {
                self.halves.push_back(half);
            }
        }
    }

    /// The records of the next request: of each shard in turn that takes something now, a refused record whose time has come, or else one of
    /// a ready lane, or else one without a lane.
    pub fn next_request(&mut self, now: Instant, pacer: &mut Pacer, shards: &Shards) -> Option<Vec<KinesisRecord>> {
        if let Some(half) = self.halves.pop_front() {
            for record in &half {
                charge(pacer, shards.shard(record.hash), record, now);
                self.bytes -= record.size;
            }
            return Some(half);
        }
        self.wake(now, shards);
        let (mut request, mut bytes) = (Vec::new(), 0);
        let after = self.queues.range((std::ops::Bound::Excluded(self.last), std::ops::Bound::Unbounded));
        let before = self.queues.range(..=self.last);
        let mut turns: VecDeque<Option<ShardIndex>> = after.chain(before).map(|(shard, _)| *shard).collect();
        while let Some(shard) = turns.pop_front() {
            if shard.is_some_and(|shard| pacer.opens_at(shard, now).is_some()) {
                continue;
            }
            let Some(size) = self.next_size(shard) else {
                self.queues.remove(&shard);
                continue;
            };
            let fits = request.is_empty() || (request.len() < self.limits.records && bytes + size <= self.limits.bytes);
            if !fits {
                break;
            }
            if let Some(record) = self.take(shard) {
                bytes += size;
                self.bytes -= size;
                charge(pacer, shard, &record, now);
                request.push(record);
                self.last = shard;
            }
            turns.push_back(shard);
        }
        (!request.is_empty()).then_some(request)
    }

    /// Refused records whose time has come go back under their shards.
    fn wake(&mut self, now: Instant, shards: &Shards) {
        while let Some(entry) = self.refused.first_entry().filter(|entry| entry.key().0 <= now) {
            let record = entry.remove();
            self.queues.entry(shards.shard(record.hash)).or_default().again.push_back(record);
        }
    }

    fn next_size(&self, shard: Option<ShardIndex>) -> Option<usize> {
        let queue = self.queues.get(&shard)?;
        let lane = || self.lanes.get(queue.ready.front()?)?.queue.front();
        queue.again.front().or_else(lane).or_else(|| queue.unordered.front()).map(|record| record.size)
    }

    fn take(&mut self, shard: Option<ShardIndex>) -> Option<KinesisRecord> {
        let queue = self.queues.get_mut(&shard)?;
        if let Some(record) = queue.again.pop_front() {
            return Some(record);
        }
        let Some(id) = queue.ready.pop_front() else { return queue.unordered.pop_front() };
        let lane = self.lanes.get_mut(&id).expect("a ready lane has records");
        lane.out = true;
        lane.queue.pop_front()
    }

    /// Whether what could go out now fills most of a request.
    pub fn fills_request(&self, now: Instant, pacer: &Pacer) -> bool {
        let takes = |shard: &Option<ShardIndex>| shard.is_none_or(|shard| pacer.opens_at(shard, now).is_none());
        let open = self.queues.iter().filter(|(shard, _)| takes(shard)).map(|(_, queue)| queue);
        let records = open.flat_map(|queue| {
            let lanes = queue.ready.iter().filter_map(|id| self.lanes.get(id)?.queue.front());
            queue.again.iter().chain(lanes).chain(&queue.unordered)
        });
        let (mut count, mut bytes) = (0, 0);
        for record in records {
            (count, bytes) = (count + 1, bytes + record.size);
            if count >= self.limits.records || bytes >= self.limits.bytes / 4 * 3 {
                return true;
            }
        }
        !self.halves.is_empty()
    }

    /// When something that waits here could go out: a refused record, or one of a shard that takes nothing yet.
    pub fn next_due(&self, now: Instant, pacer: &Pacer) -> Option<Instant> {
        let refused = self.refused.first_key_value().map(|((at, _), _)| *at);
        let waiting = self.queues.iter().filter(|(_, queue)| !queue.is_empty());
        let opens = waiting.filter_map(|(shard, _)| pacer.opens_at((*shard)?, now));
        opens.chain(refused).min()
    }

    /// The bytes of all that waits here. Records that are out do not count.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nothing waits here. Records that are out do not count.
    pub fn is_empty(&self) -> bool {
        self.refused.is_empty()
            && self.halves.is_empty()
            && self.queues.values().all(Queue::is_empty)
            && self.lanes.values().all(|lane| lane.queue.is_empty())
    }

    /// Every record that waits, in no particular order.
    pub fn waiting(&self) -> impl Iterator<Item = &KinesisRecord> {
        let queues = self.queues.values().flat_map(|queue| queue.again.iter().chain(&queue.unordered));
        let lanes = self.lanes.values().flat_map(|lane| &lane.queue);
        queues.chain(lanes).chain(self.refused.values()).chain(self.halves.iter().flatten())
    }
}

fn charge(pacer: &mut Pacer, shard: Option<ShardIndex>, record: &KinesisRecord, now: Instant) {
    if let Some(shard) = shard {
        pacer.sent(shard, record.size, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinesis::client::OpenShard;
    use crate::kinesis::record::tests::record;
    use proptest::prelude::*;
    use std::time::Duration;

    const LIMITS: RequestLimits = RequestLimits { records: 3, bytes: 100 };

    struct Line {
        collector: Collector,
        pacer: Pacer,
        shards: Shards,
    }

    impl Line {
        fn new() -> Self {
            Self { collector: Collector::new(LIMITS), pacer: Pacer::new(1), shards: Shards::default() }
        }

        fn push(&mut self, record: KinesisRecord) {
            self.collector.push(record, &self.shards);
        }

        fn next_request(&mut self, now: Instant) -> Option<Vec<KinesisRecord>> {
            self.collector.next_request(now, &mut self.pacer, &self.shards)
        }

        fn settled(&mut self, lane: u32) -> Vec<u32> {
            self.collector.settled(LaneId(lane), &self.shards).iter().map(|lane| lane.0).collect()
        }

        /// The first shard's map: this many even ones, named from this number on.
        fn reshard(&mut self, count: u32, first: u32) {
            let width = u128::MAX / u128::from(count);
            let end = |i: u32| if i + 1 == count { u128::MAX } else { u128::from(i + 1) * width - 1 };
            let shard = |i: u32| OpenShard {
                id: format!("shardId-{:012}", first + i),
                start: u128::from(i) * width,
                end: end(i),
            };
            let open: Vec<_> = (0..count).map(shard).collect();
            let follows = self.shards.replace(&open).unwrap();
            self.collector.follow(follows, &self.shards);
        }
    }

    fn data(request: &[KinesisRecord]) -> Vec<String> {
        let text = |r: &KinesisRecord| match &r.payload {
            crate::kinesis::record::Payload::Data(data) => String::from_utf8(data.to_vec()).unwrap(),
            crate::kinesis::record::Payload::Undigested(_) => unreachable!(),
        };
        request.iter().map(text).collect()
    }

    #[test]
    fn a_request_stops_at_either_limit_but_one_record_always_fits() {
        let now = Instant::now();
        let mut line = Line::new();
        for len in [40, 40, 40, 500, 1, 1, 1, 1] {
            line.push(record(None, &"x".repeat(len)));
        }
        let sizes: Vec<Vec<usize>> = std::iter::from_fn(|| line.next_request(now))
            .map(|request| request.iter().map(|r| r.size - 1).collect())
            .collect();
        assert_eq!(sizes, [vec![40, 40], vec![40], vec![500], vec![1, 1, 1], vec![1]]);
        assert!(line.collector.is_empty() && line.collector.bytes() == 0);
    }

    #[test]
    fn a_refused_record_holds_its_lane_and_goes_first_when_its_time_has_come() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        let mut line = Line::new();
        for (lane, text) in [(1, "a1"), (1, "a2"), (2, "b1")] {
            line.push(record(Some(lane), text));
        }
        let mut request = line.next_request(now).unwrap();
        assert_eq!(data(&request), ["a1", "b1"]);
        assert_eq!(line.settled(2), [2]);
        line.collector.resend(request.remove(0), later);
        assert!(line.next_request(now).is_none());
        assert_eq!(line.collector.next_due(now, &line.pacer), Some(later));
        assert_eq!(data(&line.next_request(later).unwrap()), ["a1"]);
        assert_eq!(line.settled(1), [0; 0]);
        assert_eq!(data(&line.next_request(later).unwrap()), ["a2"]);
    }

    #[test]
    fn lanes_of_a_new_layout_wait_for_those_that_they_overlap() {
        let now = Instant::now();
        let mut line = Line::new();
        line.reshard(1, 0);
        let old = line.shards.lane(0);
        line.push(record(Some(old.0), "before"));
        assert_eq!(data(&line.next_request(now).unwrap()), ["before"]);
        line.push(record(Some(old.0), "more of before"));
        line.reshard(2, 1);
        let new = [line.shards.lane(0), line.shards.lane(u128::MAX)];
        line.push(record(Some(new[0].0), "after"));
        assert!(!line.collector.is_idle(new[0]) && !line.collector.is_idle(new[1]));
        assert!(line.next_request(now).is_none(), "the old lane has a record out");
        assert_eq!(line.settled(old.0), [0; 0]);
        assert_eq!(data(&line.next_request(now).unwrap()), ["more of before"]);
        assert_eq!(line.settled(old.0), [old.0, new[1].0]);
        assert_eq!(data(&line.next_request(now).unwrap()), ["after"]);
        // A second reshard at once, while the first has records out.
        line.reshard(1, 3);
        let last = line.shards.lane(5);
        line.push(record(Some(last.0), "last"));
        assert!(line.next_request(now).is_none());
        assert_eq!(line.settled(new[0].0), [new[0].0]);
        assert_eq!(data(&line.next_request(now).unwrap()), ["last"]);
    }

    #[test]
    fn halves_are_requests_of_their_own() {
        let now = Instant::now();
        let mut line = Line::new();
        line.push(record(None, "later"));
        line.collector.bisect(vec![record(None, "a"), record(None, "b"), record(None, "c")]);
        let requests: Vec<_> = std::iter::from_fn(|| line.next_request(now)).map(|r| data(&r)).collect();
        assert_eq!(requests, [vec!["a"], vec!["b", "c"], vec!["later"]]);
    }

    proptest! {
        /// For all refusals and answers in any order, each lane's records are settled in the order in which they were pushed,
        /// one at a time.
        #[test]
        fn lanes_keep_their_order(seed in any::<u64>(), lanes in 1u32..5, count in 1usize..60) {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut now = Instant::now();
            let mut line = Line::new();
            let mut pushed = vec![0usize; lanes as usize];
            let mut settled = vec![0usize; lanes as usize];
            let mut out: Vec<KinesisRecord> = Vec::new();
            let mut left = count;
            while left > 0 || !out.is_empty() || !line.collector.is_empty() {
                if left > 0 && rng.bool() {
                    let lane = rng.usize(..pushed.len());
                    line.push(record(Some(u32::try_from(lane).unwrap()), &pushed[lane].to_string()));
                    pushed[lane] += 1;
                    left -= 1;
                }
                if let Some(request) = line.next_request(now) {
                    for r in &request {
                        prop_assert!(out.iter().all(|o| o.lane != r.lane), "one record of a lane at a time");
                    }
                    out.extend(request);
                }
                if !out.is_empty() && rng.bool() {
                    let r = out.swap_remove(rng.usize(..out.len()));
                    if rng.u8(..3) == 0 {
                        line.collector.resend(r, now + Duration::from_millis(rng.u64(..50)));
                    } else {
                        let lane = r.lane.unwrap();
                        let at = &mut settled[lane.0 as usize];
                        prop_assert_eq!(data(std::slice::from_ref(&r)), [at.to_string()]);
                        *at += 1;
                        line.settled(lane.0);
                    }
                }
                now += Duration::from_millis(10);
            }
            prop_assert_eq!(pushed, settled);
        }
    }
}
