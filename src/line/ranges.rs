//! The byte ranges of a file that an event was made of. Nearly always there is one; a line that was joined across others has more.

/// A byte range of a file: the first byte and the byte after the last.
pub type Range = (u64, u64);

/// The ranges of something that is held back, in file order. Adjacent ones are one.
#[derive(Debug, Clone, Default)]
pub(super) struct Ranges(Vec<Range>);

impl Ranges {
    pub(super) fn push(&mut self, next: Range) {
        match self.0.last_mut() {
            Some(last) if last.1 == next.0 => last.1 = next.1,
            _ => self.0.push(next),
        }
    }

    pub(super) fn append(&mut self, spans: Spans<'_>) {
        for range in spans.all() {
            self.push(range);
        }
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn first(&self) -> Option<u64> {
        self.0.first().map(|range| range.0)
    }

    pub(super) fn len(&self) -> u64 {
        self.0.iter().map(|(start, end)| end - start).sum()
    }

    /// All of them; there has to be one.
    pub(super) fn spans(&self) -> Spans<'_> {
        let (last, earlier) = self.0.split_last().expect("what is held back has bytes");
        Spans { earlier, last: *last }
    }
}

/// The ranges of one event, borrowed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spans<'a> {
    pub(super) earlier: &'a [Range],
    pub(super) last: Range,
}

impl<'a> Spans<'a> {
    pub(super) fn one(range: Range) -> Self {
        Self { earlier: &[], last: range }
    }

    pub(super) fn all(self) -> impl Iterator<Item = Range> + 'a {
        self.earlier.iter().copied().chain([self.last])
    }

    pub(super) fn len(self) -> u64 {
        self.all().map(|(start, end)| end - start).sum()
    }

    /// The bytes from `skip` on, `take` of them at most, counted through all ranges. Past the end, it is the empty range there.
    pub(super) fn cut(self, mut skip: u64, mut take: u64) -> Ranges {
        let mut cut = Ranges::default();
        for (start, end) in self.all() {
            let from = start + skip.min(end - start);
            skip -= from - start;
            let to = from + take.min(end - from);
            take -= to - from;
            if from < to {
                cut.push((from, to));
            }
        }
        if cut.0.is_empty() {
            cut.push((self.last.1, self.last.1));
        }
        cut
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_of_ranges_are_counted_through_their_gaps() {
        let mut ranges = Ranges::default();
        for range in [(0, 4), (4, 6), (10, 13)] {
            ranges.push(range);
        }
        let spans = ranges.spans();
        assert_eq!((spans.earlier, spans.last, spans.len()), (&[(0, 6)][..], (10, 13), 9));
        assert_eq!(spans.cut(5, 2).0, [(5, 6), (10, 11)]);
        assert_eq!(spans.cut(7, 100).0, [(11, 13)]);
        assert_eq!(spans.cut(9, 1).0, [(13, 13)]);
    }
}
