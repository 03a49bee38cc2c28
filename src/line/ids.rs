//! What events are called: the file's tag and the bytes that the event stands for, its own and those before it that no event was made of. So the
//! names of a file's events together cover the file, and whoever has them can tell that nothing is missing. It writes names and keeps no event.

use std::fmt::Write as _;

use super::ranges::{Range, Ranges, Spans};

/// The names of one file's events.
#[derive(Debug)]
pub(super) struct Ids {
    tag: String,
    /// Bytes that no event was made of since the last one. What lies between two of them is held back, so that they are as few as that.
    gaps: Vec<Range>,
    current: String,
}

impl Ids {
    /// The names of a file's events, which begin with this.
    pub(super) fn new(tag: &str) -> Self {
        Self { tag: tag.to_owned(), gaps: Vec::new(), current: String::new() }
    }

    /// The name that was made last.
    pub(super) fn current(&self) -> &str {
        &self.current
    }

    /// Makes the name of an event of these bytes.
    pub(super) fn name(&mut self, spans: Spans<'_>) {
        self.current.clear();
        self.current.push_str(&self.tag);
        if spans.earlier.is_empty() && self.gaps.is_empty() {
            return self.add(spans.last, '-');
        }
        let mut all: Vec<Range> = self.gaps.iter().copied().chain(spans.all()).collect();
        all.sort_unstable();
        let mut joined = Ranges::default();
        for range in all {
            joined.push(range);
        }
        for (index, range) in joined.spans().all().enumerate() {
            self.add(range, if index == 0 { '-' } else { '+' });
        }
    }

    /// The longest name that a part of these bytes can have.
    pub(super) fn longest(&self, spans: Spans<'_>) -> usize {
        const RANGE_BYTES: usize = 2 * 20 + 2;
        self.tag.len() + (self.gaps.len() + spans.earlier.len() + 1) * RANGE_BYTES
    }

    /// An event of the name that was made last is there: what went with it has been told of.
    pub(super) fn told(&mut self) {
        self.gaps.clear();
    }

    /// No event is made of these bytes.
    pub(super) fn skipped(&mut self, range: Range) {
        match self.gaps.last_mut() {
            Some(last) if last.1 == range.0 => last.1 = range.1,
            _ => self.gaps.push(range),
        }
    }

    fn add(&mut self, (start, end): Range, before: char) {
        // Text takes every write.
        write!(self.current, "{before}{start}-{end}").ok();
    }
}
