//! Which bytes of a file are accounted for, as ranges that are joined where they meet: as many as there are holes, not events. Pure.

use std::collections::BTreeMap;

/// Disjoint ranges that do not touch one another, by their start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Intervals(BTreeMap<u64, u64>);

impl Intervals {
    /// Whether a byte is in one of them.
    pub fn has(&self, byte: u64) -> bool {
        self.0.range(..=byte).next_back().is_some_and(|(_, end)| byte < *end)
    }

    /// Adds a range, which is not empty.
    pub fn add(&mut self, start: u64, end: u64) {
        let (mut start, mut end) = (start, end);
        if let Some((&before, &until)) = self.0.range(..=start).next_back()
            && until >= start
        {
            start = before;
            end = end.max(until);
        }
        while let Some((&next, &until)) = self.0.range(start..=end).next() {
            self.0.remove(&next);
            end = end.max(until);
        }
        self.0.insert(start, end);
    }

    /// The holes between them.
    pub fn gaps(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.values().zip(self.0.keys().skip(1)).map(|(end, start)| (*end, *start))
    }

    /// The first byte and the one after the last.
    pub fn bounds(&self) -> Option<(u64, u64)> {
        Some((*self.0.first_key_value()?.0, *self.0.last_key_value()?.1))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn they_are_a_set_of_bytes(ranges in proptest::collection::vec((0_u64..60, 1_u64..9), 0..40)) {
            let (mut intervals, mut bytes) = (Intervals::default(), [false; 80]);
            for (start, length) in ranges {
                intervals.add(start, start + length);
                for byte in start..start + length {
                    bytes[usize::try_from(byte).unwrap()] = true;
                }
            }
            for (byte, known) in (0_u64..).zip(bytes) {
                prop_assert_eq!(intervals.has(byte), known);
            }
            let (first, last) = (bytes.iter().position(|b| *b), bytes.iter().rposition(|b| *b));
            let bounds = first.zip(last).map(|(first, last)| (first as u64, last as u64 + 1));
            prop_assert_eq!(intervals.bounds(), bounds);
            let runs = bytes.windows(2).filter(|pair| pair[0] && !pair[1]).count();
            prop_assert_eq!(intervals.len(), runs);
            let missing: u64 = intervals.gaps().map(|(start, end)| end - start).sum();
            let within = first.zip(last).map_or(0, |(first, last)| bytes[first..=last].iter().filter(|b| !**b).count());
            prop_assert_eq!(missing, within as u64);
            prop_assert_eq!(intervals.gaps().count(), intervals.len().saturating_sub(1));
        }
    }
}
