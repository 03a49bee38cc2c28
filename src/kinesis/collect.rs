//! The Collector: which records go into the next request. Pure; it keeps the order of each lane, knows no network and no clock.
//!
//! For all sequences of calls: at most one record of a lane is out at a time, and a lane's records go out in the order in which they came.

use std::collections::{BTreeMap, VecDeque};

use tokio::time::Instant;

use crate::event::LaneId;
use crate::kinesis::record::KinesisRecord;

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

/// Records that wait to be sent.
#[derive(Debug)]
pub struct Collector {
    limits: RequestLimits,
    /// Records without a lane, oldest first.
    unordered: VecDeque<KinesisRecord>,
    lanes: BTreeMap<LaneId, Lane>,
    /// Lanes that have a record to send and none out, in the order in which they became so.
    ready: VecDeque<LaneId>,
    /// Refused records, by the time at which they are sent again.
    refused: BTreeMap<(Instant, u64), KinesisRecord>,
    refusals: u64,
    /// Halves of a request that the service did not take: each is a request of its own.
    halves: VecDeque<Vec<KinesisRecord>>,
}

impl Collector {
    /// A collector without records.
    pub fn new(limits: RequestLimits) -> Self {
        Self {
            limits,
            unordered: VecDeque::new(),
            lanes: BTreeMap::new(),
            ready: VecDeque::new(),
            refused: BTreeMap::new(),
            refusals: 0,
            halves: VecDeque::new(),
        }
    }

    /// Takes a new record.
    pub fn push(&mut self, record: KinesisRecord) {
        let Some(id) = record.lane else {
            self.unordered.push_back(record);
            return;
        };
        let lane = self.lanes.entry(id).or_default();
        lane.queue.push_back(record);
        if !lane.out && lane.queue.len() == 1 {
            self.ready.push_back(id);
        }
    }

    /// Whether a record of this lane could go out at once.
    pub fn is_idle(&self, lane: LaneId) -> bool {
        !self.lanes.contains_key(&lane)
    }

    /// The lane's record that was out is settled. Answers whether the lane is idle now.
    pub fn settled(&mut self, id: LaneId) -> bool {
        let Some(lane) = self.lanes.get_mut(&id) else { return true };
        debug_assert!(lane.out, "only a lane that has a record out can settle one");
        lane.out = false;
        if lane.queue.is_empty() {
            self.lanes.remove(&id);
            return true;
        }
        self.ready.push_back(id);
        false
    }

    /// Takes a record back that was refused. Its lane, if it has one, waits for it.
    pub fn resend(&mut self, record: KinesisRecord, at: Instant) {
        self.refusals += 1;
        self.refused.insert((at, self.refusals), record);
    }

    /// Takes a request back of which the service minds some record: it goes out again in two halves.
    pub fn bisect(&mut self, mut records: Vec<KinesisRecord>) {
        let second = records.split_off(records.len() / 2);
        for half in [records, second] {
            if !half.is_empty() {
                self.halves.push_back(half);
            }
        }
    }

    /// The records of the next request: refused ones whose time has come first, then a record of each ready lane, then those without a lane.
    pub fn next_request(&mut self, now: Instant) -> Option<Vec<KinesisRecord>> {
        if let Some(half) = self.halves.pop_front() {
            return Some(half);
        }
        let (mut request, mut bytes) = (Vec::new(), 0);
        let limits = self.limits;
        let fits = |bytes: &mut usize, count: usize, record: &KinesisRecord| {
            let fits = count == 0 || (count < limits.records && *bytes + record.size <= limits.bytes);
            if fits {
                *bytes += record.size;
            }
            fits
        };
        while let Some(entry) = self.refused.first_entry() {
            if entry.key().0 > now || !fits(&mut bytes, request.len(), entry.get()) {
                break;
            }
            request.push(entry.remove());
        }
        while let Some(id) = self.ready.front() {
            let Some(lane) = self.lanes.get_mut(id) else { unreachable!("a ready lane has records") };
            if lane.queue.front().is_none_or(|record| !fits(&mut bytes, request.len(), record)) {
                break;
            }
            lane.out = true;
            request.extend(lane.queue.pop_front());
            self.ready.pop_front();
        }
        while let Some(record) = self.unordered.pop_front_if(|record| fits(&mut bytes, request.len(), record)) {
            request.push(record);
        }
        (!request.is_empty()).then_some(request)
    }

    /// Whether [`Collector::next_request`] would answer a request.
    pub fn has_request(&self, now: Instant) -> bool {
        !self.halves.is_empty()
            || !self.ready.is_empty()
            || !self.unordered.is_empty()
            || self.refused.first_key_value().is_some_and(|((at, _), _)| *at <= now)
    }

    /// When the next refused record is to be sent again.
    pub fn next_due(&self) -> Option<Instant> {
        self.refused.first_key_value().map(|((at, _), _)| *at)
    }

    /// Whether nothing waits here. Records that are out do not count.
    pub fn is_empty(&self) -> bool {
        self.unordered.is_empty()
            && self.refused.is_empty()
            && self.ready.is_empty()
            && self.halves.is_empty()
            && self.lanes.values().all(|lane| lane.queue.is_empty())
    }

    /// Every record that waits, in no particular order.
    pub fn waiting(&self) -> impl Iterator<Item = &KinesisRecord> {
        let queued = self.lanes.values().flat_map(|lane| &lane.queue);
        self.unordered.iter().chain(queued).chain(self.refused.values()).chain(self.halves.iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinesis::record::tests::record;
    use proptest::prelude::*;
    use std::time::Duration;

    const LIMITS: RequestLimits = RequestLimits { records: 3, bytes: 100 };

    fn data(request: &[KinesisRecord]) -> Vec<String> {
        let text = |r: &KinesisRecord| match &r.payload {
            crate::kinesis::record::Payload::Data(data) => String::from_utf8(data.clone()).unwrap(),
            _ => unreachable!(),
        };
        request.iter().map(text).collect()
    }

    #[test]
    fn a_request_stops_at_either_limit_but_one_record_always_fits() {
        let now = Instant::now();
        let mut collector = Collector::new(LIMITS);
        for len in [40, 40, 40, 500, 1, 1, 1, 1] {
            collector.push(record(None, &"x".repeat(len)));
        }
        let sizes: Vec<Vec<usize>> = std::iter::from_fn(|| collector.next_request(now))
            .map(|request| request.iter().map(|r| r.size - 1).collect())
            .collect();
        assert_eq!(sizes, [vec![40, 40], vec![40], vec![500], vec![1, 1, 1], vec![1]]);
        assert!(collector.is_empty());
    }

    #[test]
    fn a_refused_record_holds_its_lane_and_goes_first_when_its_time_has_come() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        let mut collector = Collector::new(LIMITS);
        for (lane, text) in [(1, "a1"), (1, "a2"), (2, "b1")] {
            collector.push(record(Some(lane), text));
        }
        let mut request = collector.next_request(now).unwrap();
        assert_eq!(data(&request), ["a1", "b1"]);
        assert!(collector.settled(LaneId(2)));
        collector.resend(request.remove(0), later);
        assert!(collector.next_request(now).is_none() && !collector.has_request(now));
        assert_eq!(collector.next_due(), Some(later));
        assert_eq!(data(&collector.next_request(later).unwrap()), ["a1"]);
        assert!(!collector.settled(LaneId(1)));
        assert_eq!(data(&collector.next_request(later).unwrap()), ["a2"]);
    }

    #[test]
    fn halves_are_requests_of_their_own() {
        let now = Instant::now();
        let mut collector = Collector::new(LIMITS);
        collector.push(record(None, "later"));
        collector.bisect(vec![record(None, "a"), record(None, "b"), record(None, "c")]);
        let requests: Vec<_> = std::iter::from_fn(|| collector.next_request(now)).map(|r| data(&r)).collect();
        assert_eq!(requests, [vec!["a"], vec!["b", "c"], vec!["later"]]);
    }

    proptest! {
        /// For all refusals and answers in any order, each lane's records are settled in the order in which they were pushed,
        /// one at a time.
        #[test]
        fn lanes_keep_their_order(seed in any::<u64>(), lanes in 1u32..5, count in 1usize..60) {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut now = Instant::now();
            let mut collector = Collector::new(LIMITS);
            let mut pushed = vec![0usize; lanes as usize];
            let mut settled = vec![0usize; lanes as usize];
            let mut out: Vec<KinesisRecord> = Vec::new();
            let mut left = count;
            while left > 0 || !out.is_empty() || !collector.is_empty() {
                if left > 0 && rng.bool() {
                    let lane = rng.usize(..pushed.len());
                    collector.push(record(Some(u32::try_from(lane).unwrap()), &pushed[lane].to_string()));
                    pushed[lane] += 1;
                    left -= 1;
                }
                if let Some(request) = collector.next_request(now) {
                    for r in &request {
                        prop_assert!(out.iter().all(|o| o.lane != r.lane), "one record of a lane at a time");
                    }
                    out.extend(request);
                }
                if !out.is_empty() && rng.bool() {
                    let r = out.swap_remove(rng.usize(..out.len()));
                    if rng.u8(..3) == 0 {
                        collector.resend(r, now + Duration::from_millis(rng.u64(..50)));
                    } else {
                        let lane = r.lane.unwrap();
                        let at = &mut settled[lane.0 as usize];
                        prop_assert_eq!(data(std::slice::from_ref(&r)), [at.to_string()]);
                        *at += 1;
                        collector.settled(lane);
                    }
                }
                now += Duration::from_millis(10);
            }
            prop_assert_eq!(pushed, settled);
        }
    }
}
