//! Which bytes of a file are settled, and up to where without a gap. Pure bookkeeping; nothing is written here.

use std::collections::BTreeMap;

/// Settled ranges of one file, as the longest settled prefix and what lies beyond it.
///
/// For all sequences of calls: `committed` never shrinks, and every byte below it has been settled exactly once.
#[derive(Debug, Clone, Default)]
pub struct OffsetTracker {
    committed: u64,
    /// Bytes that were settled here, in front of the gap or behind it.
    settled: u64,
    /// Ranges settled ahead of a gap, start to end. They are disjoint and never adjacent, so memory is O(gaps).
    ahead: BTreeMap<u64, u64>,
}

impl OffsetTracker {
    /// A tracker of a file that is read from this offset on.
    pub fn starting_at(offset: u64) -> Self {
        Self { committed: offset, settled: 0, ahead: BTreeMap::new() }
    }

    /// The end of the longest settled prefix: where a restart may resume.
    pub fn committed(&self) -> u64 {
        self.committed
    }

    /// How many bytes were settled.
    pub fn settled(&self) -> u64 {
        self.settled
    }

    /// Marks a range as settled.
    ///
    /// # Panics
    ///
    /// When part of it has been settled before: an event counted twice is a bug that would hide a lost one.
    pub fn settle(&mut self, mut start: u64, mut end: u64) {
        assert!(start <= end, "span {start}..{end} is backwards");
        if start == end {
            return;
        }
        let before = self.ahead.range(..=start).next_back().map(|(&s, &e)| (s, e));
        let after = self.ahead.range(start..).next().map(|(&s, &e)| (s, e));
        assert!(
            start >= self.committed && before.is_none_or(|(_, e)| e <= start) && after.is_none_or(|(s, _)| s >= end),
            "span {start}..{end} settles twice; committed {}, neighbours {before:?} and {after:?}",
            self.committed
        );
        self.settled += end - start;
        if let Some((s, e)) = before.filter(|&(_, e)| e == start) {
            self.ahead.remove(&s);
            (start, _) = (s, e);
        }
        if let Some((s, e)) = after.filter(|&(s, _)| s == end) {
            self.ahead.remove(&s);
            end = e;
        }
        if start == self.committed {
            self.committed = end;
        } else {
            self.ahead.insert(start, end);
        }
    }

    /// How many ranges wait behind a gap.
    pub fn gaps(&self) -> usize {
        self.ahead.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// For all orders in which the pieces of a file settle, the tracker agrees with a plain bitmap after each of them.
        #[test]
        fn agrees_with_a_bitmap(cuts in prop::collection::btree_set(1u64..400, 0..60), order in any::<u64>(), origin in 0u64..1000) {
            let mut edges: Vec<u64> = std::iter::once(0).chain(cuts).chain([400]).collect();
            edges.dedup();
            let mut pieces: Vec<_> = edges.windows(2).map(|w| (w[0], w[1])).collect();
            fastrand::Rng::with_seed(order).shuffle(&mut pieces);
            let mut tracker = OffsetTracker::starting_at(origin);
            let mut settled = [false; 401];
            for (start, end) in pieces {
                tracker.settle(origin + start, origin + end);
                for byte in start..end {
                    settled[usize::try_from(byte).unwrap()] = true;
                }
                let prefix = settled.iter().position(|&s| !s).unwrap() as u64;
                prop_assert_eq!(tracker.committed(), origin + prefix);
                prop_assert_eq!(tracker.settled(), settled.iter().filter(|&&s| s).count() as u64);
            }
            prop_assert_eq!(tracker.gaps(), 0);
        }
    }

    #[test]
    fn ranges_behind_a_stuck_head_are_held_as_one() {
        let mut tracker = OffsetTracker::default();
        for i in 1..10_000 {
            tracker.settle(i * 10, i * 10 + 10);
        }
        assert_eq!((tracker.committed(), tracker.gaps()), (0, 1));
        tracker.settle(0, 10);
        assert_eq!((tracker.committed(), tracker.gaps()), (100_000, 0));
    }

    #[test]
    #[should_panic(expected = "settles twice")]
    fn settling_below_the_commit_is_a_bug() {
        let mut tracker = OffsetTracker::starting_at(10);
        tracker.settle(5, 12);
    }

    #[test]
    #[should_panic(expected = "settles twice")]
    fn settling_into_a_settled_range_is_a_bug() {
        let mut tracker = OffsetTracker::default();
        tracker.settle(10, 20);
        tracker.settle(19, 25);
    }
}
