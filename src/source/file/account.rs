//! Where the bytes of a source's files are: not read, in flight, settled or given up. Files that are open count for themselves; what became of those
//! that are not any more is kept here. The sums are told as one picture, so that they add up whenever somebody looks.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::generation::Generation;
use crate::event::{SourceId, Span};
use crate::metrics::ledger::{Bytes, Picture};

/// What became of the bytes of files that are not there any more.
#[derive(Debug, Default)]
pub struct Account {
    /// By group.
    closed: Vec<Bytes>,
    /// By the names of groups that are not there any more.
    retired: BTreeMap<Arc<str>, Bytes>,
    abandoned: BTreeMap<&'static str, u64>,
    /// Files that were let go while bytes of theirs were in flight: their group, and how many are left. Bounded by what is in flight.
    gone: BTreeMap<SourceId, (usize, u64)>,
}

impl Account {
    /// Of so many groups.
    pub fn new(groups: usize) -> Self {
        Self { closed: vec![Bytes::default(); groups], ..Self::default() }
    }

    /// Bytes that nobody gets.
    pub fn abandon(&mut self, reason: &'static str, bytes: u64) {
        *self.abandoned.entry(reason).or_default() += bytes;
    }

    /// Bytes of a file that was never opened.
    pub fn find(&mut self, group: usize, bytes: u64) {
        self.change(group, |closed| closed.found += bytes);
    }

    /// Bytes that were dropped without being read.
    pub fn settle(&mut self, group: usize, bytes: u64) {
        self.change(group, |closed| closed.settled += bytes);
    }

    /// A file is let go.
    pub fn close(&mut self, generation: &Generation) {
        let cut = generation.cut();
        if cut > 0 {
            self.abandon("truncated", cut);
        }
        let (group, in_flight) = (generation.group, generation.in_flight());
        if in_flight > 0 {
            self.gone.insert(generation.id, (group, in_flight));
        }
        self.change(group, |closed| {
            closed.found += generation.found();
            closed.settled += generation.tracker.settled();
            closed.in_flight += in_flight;
        });
    }

    /// Something of a file that was let go is settled.
    pub fn settle_of_gone(&mut self, span: Span) {
        let Some((group, left)) = self.gone.get_mut(&span.source) else { return };
        let (group, bytes) = (*group, (span.end - span.start).min(*left));
        *left -= bytes;
        if *left == 0 {
            self.gone.remove(&span.source);
        }
        self.change(group, |closed| {
            closed.settled += bytes;
            closed.in_flight -= bytes;
        });
    }

    /// Other groups take the place of those that there are: each of them goes on at one of these places, of so many.
    pub fn renew(&mut self, places: &[usize], groups: usize) {
        let before = std::mem::replace(&mut self.closed, vec![Bytes::default(); groups]);
        let place = |group: usize| places.get(group).copied().unwrap_or_default();
        for (group, bytes) in before.into_iter().enumerate() {
            self.change(place(group), |closed| closed.add(&bytes));
        }
        self.gone.values_mut().for_each(|(group, _)| *group = place(*group));
    }

    /// Whether bytes of files that were let go are in flight.
    pub fn is_in_flight(&self, group: usize) -> bool {
        self.closed.get(group).is_some_and(|closed| closed.in_flight > 0)
    }

    /// The last group goes. What it has counted stays.
    pub fn retire(&mut self, group: usize, name: &Arc<str>) {
        let bytes = self.closed.get(group).copied().unwrap_or_default();
        self.closed.truncate(group);
        self.retired.entry(Arc::clone(name)).or_default().add(&bytes);
    }

    /// What is known here of groups with these names. Open files are to be added.
    pub fn picture(&self, names: impl Iterator<Item = Arc<str>>) -> Picture {
        let sources = names.zip(self.closed.iter().copied()).collect();
        Picture { sources, retired: self.retired.clone(), abandoned: self.abandoned.clone() }
    }

    fn change(&mut self, group: usize, change: impl FnOnce(&mut Bytes)) {
        if let Some(closed) = self.closed.get_mut(group) {
            change(closed);
        }
    }
}

/// Adds an open file. What may be a copy of another one does not count before it is known to be none.
pub fn add(bytes: &mut Bytes, generation: &mut Generation, now_nanos: u64) {
    if generation.unproven.is_some() {
        return;
    }
    bytes.found += generation.found();
    bytes.settled += generation.tracker.settled();
    bytes.in_flight += generation.in_flight();
    bytes.backlog += generation.backlog();
    bytes.behind = bytes.behind.max(generation.behind(now_nanos).unwrap_or(0.0));
}
