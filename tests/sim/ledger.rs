//! What the outside sees: which lines were stored, how often, in which order, and what the agent was told. It states the promises.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::file::{Fate, File, LineId};
use kinetail::config::PartitionKey;

/// A broken promise.
#[derive(Debug)]
pub(crate) struct Violation(pub(crate) String);

/// Ends a check with a violation unless something holds.
macro_rules! ensure {
    ($holds:expr, $($why:tt)+) => {
        if !$holds {
            return Err($crate::ledger::Violation(format!($($why)+)));
        }
    };
}
pub(crate) use ensure;

/// Lines of one lane and key keep their order.
type Ordering = (u32, Option<usize>);

#[derive(Debug, Default, Clone)]
struct Seen {
    /// How often it was stored.
    stored: u32,
    /// How often the agent could not know that it was.
    excuses: u32,
    /// The agent of this run has been told that it is stored.
    told: bool,
    /// It is in a request that is under way.
    out: bool,
    /// The record that this run's agent packed it into.
    record: Option<u64>,
    /// It shared a record with a poisoned line.
    poisoned: bool,
}

#[derive(Debug)]
pub(crate) struct Ledger {
    files: Rc<Vec<File>>,
    ordered: bool,
    /// Keys have an order of their own.
    keyed: bool,
    seen: Vec<Vec<Seen>>,
    /// The last line of each lane and key, counted through its files, that was stored for the first time.
    last: BTreeMap<Ordering, usize>,
    /// What has an order and is in a request that is under way.
    out: BTreeSet<Ordering>,
    trace: Sha256,
    pub(crate) deliveries: u64,
    pub(crate) duplicates: u64,
}

impl Ledger {
    pub(crate) fn new(files: Rc<Vec<File>>, partition_key: &PartitionKey) -> Self {
        let seen = files.iter().map(|f| vec![Seen::default(); f.lines.len()]).collect();
        let ordered = *partition_key != PartitionKey::Random;
        let keyed = matches!(partition_key, PartitionKey::Template(_));
        let (last, out) = (BTreeMap::new(), BTreeSet::new());
        Self { files, ordered, keyed, seen, last, out, trace: Sha256::new(), deliveries: 0, duplicates: 0 }
    }

    fn at(&mut self, id: LineId) -> Result<&mut Seen, Violation> {
        let seen = self.seen.get_mut(id.file).and_then(|f| f.get_mut(id.line));
        seen.ok_or_else(|| Violation(format!("{id:?} was never written")))
    }

    /// What a line keeps its order with.
    fn ordering(&self, id: LineId) -> Ordering {
        let file = &self.files[id.file];
        (file.lane, file.lines[id.line].key.filter(|_| self.keyed))
    }

    fn orderings(&self, lines: &[LineId]) -> BTreeSet<Ordering> {
        lines.iter().map(|id| self.ordering(*id)).collect()
    }

    /// A record with these lines leaves the agent.
    pub(crate) fn departs(&mut self, lines: &[LineId]) -> Result<(), Violation> {
        for ordering in self.orderings(lines) {
            ensure!(!self.ordered || self.out.insert(ordering), "two records of {ordering:?} are under way at once");
        }
        Ok(())
    }

    /// Nothing more is awaited of it.
    pub(crate) fn lands(&mut self, lines: &[LineId]) {
        for ordering in self.orderings(lines) {
            self.out.remove(&ordering);
        }
    }

    /// A line leaves the agent in a record of which this is the hash.
    pub(crate) fn sent(&mut self, id: LineId, record: u64, poisoned: bool) -> Result<(), Violation> {
        let seen = self.at(id)?;
        ensure!(!seen.out, "{id:?} is in two requests at once");
        ensure!(!seen.told, "{id:?} is sent again though it is known to be stored");
        ensure!(seen.record.is_none_or(|r| r == record), "{id:?} is sent again in other bytes");
        seen.out = true;
        seen.record = Some(record);
        seen.poisoned |= poisoned;
        Ok(())
    }

    pub(crate) fn landed(&mut self, id: LineId) -> Result<(), Violation> {
        self.at(id)?.out = false;
        Ok(())
    }

    /// A consumer gets this event. Until the agent is told, it may send it once more.
    pub(crate) fn stored(&mut self, id: LineId, event: &[u8], at: Duration) -> Result<(), Violation> {
        let (files, ordered) = (Rc::clone(&self.files), self.ordered);
        let seen = self.at(id)?;
        let file = &files[id.file];
        let line = &file.lines[id.line];
        ensure!(
            matches!(&line.fate, Fate::Event(want) if want == event),
            "{id:?} arrives as {:?}",
            String::from_utf8_lossy(event)
        );
        seen.stored += 1;
        let (stored, excuses, poisoned) = (seen.stored, seen.excuses, seen.poisoned);
        ensure!(stored <= 1 + excuses, "{id:?} is stored {stored} times, and {excuses} times nobody could know");
        seen.excuses += 1;
        let position = file.lines_before + id.line;
        // What was set aside with a poisoned line left the order; a lost request of a run before may still bring it.
        if stored == 1 && !poisoned {
            let ordering = self.ordering(id);
            let before = self.last.insert(ordering, position);
            ensure!(!ordered || before < Some(position), "{id:?} of {ordering:?} comes after {before:?}");
        }
        self.deliveries += 1;
        self.duplicates += u64::from(stored > 1);
        self.trace.update(at.as_nanos().to_le_bytes());
        self.trace.update(id.file.to_le_bytes());
        self.trace.update(id.line.to_le_bytes());
        Ok(())
    }

    /// The agent has given up waiting for a request that may still arrive, or that has arrived now.
    pub(crate) fn adrift(&mut self, id: LineId, arrived: bool) -> Result<(), Violation> {
        let seen = self.at(id)?;
        if arrived {
            seen.excuses -= 1;
        } else {
            seen.excuses += 1;
        }
        Ok(())
    }

    /// The agent is told that an event is stored.
    pub(crate) fn told(&mut self, id: LineId) -> Result<(), Violation> {
        let seen = self.at(id)?;
        seen.excuses -= 1;
        seen.told = true;
        Ok(())
    }

    /// The agent's run is over, and the next one starts at these offsets: what it knew beyond them is forgotten.
    pub(crate) fn run_ended(&mut self, offsets: &[u64], drained: bool) -> Result<(), Violation> {
        for (index, (file, seen)) in self.files.iter().zip(&mut self.seen).enumerate() {
            for (number, (line, seen)) in file.lines.iter().zip(seen).enumerate() {
                if line.end as u64 > offsets[index] && seen.told {
                    ensure!(!drained, "line {number} of file {index} is stored and not in the last checkpoint");
                    seen.excuses += 1;
                }
                *seen = Seen { told: false, out: false, record: None, ..seen.clone() };
            }
        }
        Ok(())
    }

    /// A dead letter was found, of this reason.
    pub(crate) fn dead(&mut self, id: LineId, reason: &str) -> Result<(), Violation> {
        let rejected = self.files.get(id.file).and_then(|f| f.lines.get(id.line)).map(|l| l.fate == Fate::Rejected);
        let poisoned = self.at(id)?.poisoned;
        match reason {
            "parse_error" => ensure!(rejected == Some(true), "{id:?} is a dead letter though it parses"),
            "ValidationException" => ensure!(poisoned, "{id:?} is a dead letter though its record is good"),
            other => return Err(Violation(format!("{id:?} is a dead letter for an unknown reason: {other}"))),
        }
        Ok(())
    }

    /// At the end of everything: every line became what it had to become. The lines in `dead` are in the dead-letter file.
    pub(crate) fn finish(&self, dead: &BTreeSet<LineId>) -> Result<[u8; 32], Violation> {
        for (file, (lines, seen)) in self.files.iter().zip(&self.seen).enumerate() {
            for (number, (line, seen)) in lines.lines.iter().zip(seen).enumerate() {
                let id = LineId { file, line: number };
                let is_dead = dead.contains(&id);
                match &line.fate {
                    Fate::Event(_) if line.poison => {
                        ensure!(is_dead && seen.stored == 0, "{id:?} is poison, and stored {} times", seen.stored);
                    }
                    Fate::Event(_) => ensure!(seen.stored > 0 || is_dead, "{id:?} is lost"),
                    Fate::Rejected => ensure!(is_dead && seen.stored == 0, "{id:?} was refused and is no dead letter"),
                    Fate::Dropped => ensure!(!is_dead && seen.stored == 0, "{id:?} was to be dropped"),
                }
            }
        }
        Ok(self.trace.clone().finalize().into())
    }
}
