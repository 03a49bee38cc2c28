//! What the model promises of every line: whether it must arrive, how often it may, and in which order. It knows no files.

use std::collections::{BTreeMap, BTreeSet};

/// The content of a file from its creation, or from a truncation, on.
pub(crate) type GenId = usize;

/// A line that was written, in the terms of its generation.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts of a line")]
pub(crate) struct Line {
    pub(crate) text: Vec<u8>,
    pub(crate) generation: GenId,
    pub(crate) log: usize,
    /// Its generation among those of its log, and itself among the lines of it.
    pub(crate) place: (usize, usize),
    /// The byte after it in its generation.
    pub(crate) end: u64,
    /// No other line has this text.
    pub(crate) unique: bool,
    /// A reader that has caught up must have delivered it; a last line without a newline may still be finished.
    pub(crate) due: bool,
    /// It was overwritten or deleted before anybody could be sure to read it.
    pub(crate) may_lose: bool,
    /// It was overwritten or deleted; it may have come before that.
    pub(crate) is_gone: bool,
}

/// How often a text was written, and came.
#[derive(Debug, Default)]
struct Stat {
    lines: Vec<usize>,
    may_lose: u32,
    delivered: u32,
    settled: u32,
    /// Deliveries that the next kill may forget.
    uncertain: u32,
    /// So many deliveries were forgotten by a kill and may come again.
    excused: u32,
}

/// What was done to a log, and what came of it.
#[derive(Debug, Default)]
struct Order {
    /// The furthest place that was ever delivered.
    furthest: Option<(usize, usize)>,
    /// Per generation, the furthest line that this run delivered.
    run: BTreeMap<usize, usize>,
}

#[derive(Debug, Default)]
pub(crate) struct Oracle {
    pub(crate) lines: Vec<Line>,
    stats: BTreeMap<Vec<u8>, Stat>,
    orders: BTreeMap<usize, Order>,
    /// Lines that are due and not settled.
    missing: BTreeSet<usize>,
    pub(crate) deliveries: u64,
    pub(crate) duplicates: u64,
}

impl Oracle {
    pub(crate) fn write(&mut self, line: Line) -> usize {
        let index = self.lines.len();
        self.stats.entry(line.text.clone()).or_default().lines.push(index);
        if line.may_lose {
            self.stats.entry(line.text.clone()).or_default().may_lose += 1;
        }
        let due = line.due;
        self.lines.push(line);
        if due {
            self.due(index);
        }
        index
    }

    /// From now on the line must come.
    pub(crate) fn due(&mut self, index: usize) {
        self.lines[index].due = true;
        if !self.lines[index].may_lose && !self.is_settled(index) {
            self.missing.insert(index);
        }
    }

    /// From now on all lines must have come.
    pub(crate) fn all_due(&mut self) {
        for index in 0..self.lines.len() {
            self.due(index);
        }
    }

    /// The line need not come.
    pub(crate) fn forgive(&mut self, index: usize) {
        self.lines[index].is_gone = true;
        if self.is_settled(index) || self.lines[index].may_lose {
            return;
        }
        self.lines[index].may_lose = true;
        let stat = self.stats.entry(self.lines[index].text.clone()).or_default();
        stat.may_lose += 1;
        let equal = stat.lines.clone();
        self.missing.remove(&index);
        // Of equal lines nobody knows which of them came.
        for other in equal {
            if self.is_settled(other) {
                self.missing.remove(&other);
            }
        }
    }

    /// The same for all lines of a generation.
    pub(crate) fn forgive_generation(&mut self, lines: &[usize]) {
        for &line in lines {
            self.forgive(line);
        }
    }

    fn stat(&self, index: usize) -> &Stat {
        &self.stats[&self.lines[index].text]
    }

    /// Whether it is settled; of equal lines, whether as many are.
    pub(crate) fn is_settled(&self, index: usize) -> bool {
        let stat = self.stat(index);
        let written = u32::try_from(stat.lines.len()).expect("few lines");
        stat.settled >= if self.lines[index].unique { 1 } else { written.saturating_sub(stat.may_lose) }
    }

    pub(crate) fn is_known(&self, text: &[u8]) -> bool {
        self.stats.contains_key(text)
    }

    /// An event arrives. `ordered` says whether the order of a log's generations is kept.
    pub(crate) fn deliver(&mut self, text: &[u8], ordered: &dyn Fn(usize) -> bool) -> Result<Vec<usize>, String> {
        self.deliveries += 1;
        let Some(stat) = self.stats.get_mut(text) else {
            return Err(format!("{} was never written like this (torn, or mixed up)", shown(text)));
        };
        stat.delivered += 1;
        stat.uncertain += 1;
        let written = u32::try_from(stat.lines.len()).expect("few lines");
        if stat.delivered > written + stat.excused {
            return Err(format!(
                "{} arrives {} times; it was written {written} times, and {} deliveries were excused by a kill",
                shown(text),
                stat.delivered,
                stat.excused
            ));
        }
        self.duplicates += u64::from(stat.delivered > written);
        let first = stat.delivered == 1;
        let lines = stat.lines.clone();
        if let [index] = lines[..]
            && self.lines[index].unique
        {
            self.check_order(index, first, ordered)?;
        }
        Ok(lines)
    }

    fn check_order(&mut self, index: usize, first: bool, ordered: &dyn Fn(usize) -> bool) -> Result<(), String> {
        let line = &self.lines[index];
        let order = self.orders.entry(line.log).or_default();
        let (generation, seq) = line.place;
        let before = order.run.insert(generation, seq);
        if before >= Some(seq) {
            return Err(format!("{} arrives after line {before:?} of the same generation", shown(&line.text)));
        }
        // What nobody could promise to find is better found late than never.
        if first && !line.may_lose {
            if ordered(line.log) && order.furthest > Some(line.place) {
                return Err(format!(
                    "{} arrives for the first time after a line of a later generation: {:?}",
                    shown(&line.text),
                    order.furthest
                ));
            }
            order.furthest = order.furthest.max(Some(line.place));
        }
        Ok(())
    }

    /// What was delivered is settled.
    pub(crate) fn settle(&mut self, text: &[u8]) {
        let Some(stat) = self.stats.get_mut(text) else { return };
        stat.settled += 1;
        for index in stat.lines.clone() {
            if self.is_settled(index) {
                self.missing.remove(&index);
            }
        }
    }

    /// A delivery of this text can not be forgotten any more.
    pub(crate) fn certain(&mut self, index: usize) {
        if self.lines[index].unique && self.is_settled(index) {
            self.stats.entry(self.lines[index].text.clone()).or_default().uncertain = 0;
        }
    }

    /// One delivery of this text is committed.
    pub(crate) fn committed(&mut self, text: &[u8]) {
        if let Some(stat) = self.stats.get_mut(text) {
            stat.uncertain = stat.uncertain.saturating_sub(1);
        }
    }

    /// The reader is gone: what it delivered and may not have committed may come again.
    pub(crate) fn excuse_uncertain(&mut self) {
        for stat in self.stats.values_mut() {
            stat.excused += std::mem::take(&mut stat.uncertain);
        }
    }

    /// Another reader begins.
    pub(crate) fn next_run(&mut self) {
        self.orders.values_mut().for_each(|order| order.run.clear());
    }

    pub(crate) fn caught_up(&self) -> bool {
        self.missing.is_empty()
    }

    /// What has not come and must, in words.
    pub(crate) fn missing(&self) -> String {
        let name = |&index: &usize| {
            let line = &self.lines[index];
            let delivered = if self.stat(index).delivered > 0 {
                "delivered, but not settled, and never again"
            } else {
                "never delivered"
            };
            format!("  {} (generation {:?} of log {}): {delivered}", shown(&line.text), line.place, line.log)
        };
        let mut list: Vec<String> = self.missing.iter().take(MAX_LISTED).map(name).collect();
        if self.missing.len() > MAX_LISTED {
            list.push(format!("  ... and {} more", self.missing.len() - MAX_LISTED));
        }
        list.join("\n")
    }

    /// A file was cut off while it may have been read: the beginning of one of its last lines is what a reader may have seen of it. A reader
    /// may also have come back to a line that had arrived before a kill.
    pub(crate) fn may_be_cut(&self, text: &[u8]) -> bool {
        let may_come = |stat: &Stat| u64::from(stat.delivered) < stat.lines.len() as u64 + u64::from(stat.excused);
        let is_gone = |l: &Line| l.may_lose || l.is_gone && may_come(&self.stats[&l.text]);
        self.lines.iter().any(|l| l.text.len() > text.len() && l.text.starts_with(text) && is_gone(l))
    }
}

/// More would not fit a screen.
const MAX_LISTED: usize = 12;

/// A text's beginning, as long as its name is.
pub(crate) fn shown(text: &[u8]) -> String {
    const SHOWN: usize = 48;
    let start = String::from_utf8_lossy(&text[..text.len().min(SHOWN)]);
    format!("{start:?} ({} bytes)", text.len())
}
