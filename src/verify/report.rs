//! The outcome of a check, for people and for machines.

use std::fmt;

use serde::Serialize;

/// Files of a table; those with something wrong come first.
const SHOWN_SOURCES: usize = 50;
/// Gaps that are named below it.
const SHOWN_GAPS: usize = 20;

/// Bytes of a file that no event accounts for, between events that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// The first byte.
    pub start: u64,
    /// The byte after the last.
    pub end: u64,
}

impl Gap {
    fn bytes(self) -> u64 {
        self.end - self.start
    }
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Source {
    /// What its events' ids call it.
    pub tag: String,
    /// Its path, where its events have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Events, duplicates with them.
    pub events: u64,
    /// Events that had come before.
    pub duplicates: u64,
    /// Events that came for the first time after a later one of the file in the same shard; none where the shards are not known.
    pub out_of_order: Option<u64>,
    /// The first byte that an event accounts for: where reading began.
    pub from: u64,
    /// The byte after the last that one accounts for.
    pub to: u64,
    /// What is missing.
    pub gaps: Vec<Gap>,
}

impl Source {
    fn missing(&self) -> u64 {
        self.gaps.iter().map(|gap| gap.bytes()).sum()
    }
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Nothing is missing between the first event of each file and its last.
    Complete,
    /// Something is.
    Gaps,
    /// No event has an id, so that nothing can be said.
    NoIds,
    /// There was no event.
    Nothing,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// In a word.
    pub outcome: Outcome,
    /// Events.
    pub events: u64,
    /// Events without an `_id`.
    pub without_id: u64,
    /// Events with one that is none of kinetail's.
    pub foreign_ids: u64,
    /// Events that had come before.
    pub duplicates: u64,
    /// Events that came too late; none where the shards are not known.
    pub out_of_order: Option<u64>,
    /// How many ranges of bytes are missing.
    pub gaps: u64,
    /// How many bytes.
    pub gap_bytes: u64,
    /// By file; those with something wrong first.
    pub sources: Vec<Source>,
    /// What has to be known beside this.
    pub notes: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.table(f)?;
        let gaps = self.sources.iter().flat_map(|source| source.gaps.iter().map(move |gap| (source, gap)));
        for (source, gap) in gaps.take(SHOWN_GAPS) {
            let Gap { start, end } = gap;
            writeln!(f, "gap: {}: bytes {start} to {end} ({} bytes) are in no event", name(source), gap.bytes())?;
        }
        if self.gaps > SHOWN_GAPS as u64 {
            writeln!(f, "… and {} more gaps", self.gaps - SHOWN_GAPS as u64)?;
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        let Self { events, duplicates, gaps, gap_bytes, .. } = self;
        let files = self.sources.len();
        match self.outcome {
            Outcome::Complete => {
                write!(f, "complete: {events} events of {files} files, no gaps, {duplicates} duplicates")
            }
            Outcome::Gaps => write!(
                f,
                "GAPS: {gap_bytes} bytes are missing in {gaps} places; {events} events of {files} files, {duplicates} duplicates"
            ),
            Outcome::NoIds => write!(
                f,
                "nothing can be proven: none of {events} events has an _id; set add: {{id: true}} on the sources of the agents that send"
            ),
            Outcome::Nothing => write!(f, "nothing can be proven: there were no events"),
        }
    }
}

impl Report {
    fn table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.sources.is_empty() {
            return Ok(());
        }
        let head = ["events", "duplicates", "out of order", "gaps", "bytes missing", "from", "to"];
        let shown = || self.sources.iter().take(SHOWN_SOURCES);
        let cells = |source: &Source| {
            let gaps = source.gaps.len().to_string();
            let order = source.out_of_order.map_or("-".to_owned(), |count| count.to_string());
            let numbers = [source.events, source.duplicates, source.missing(), source.from, source.to];
            let [events, duplicates, missing, from, to] = numbers.map(|number| number.to_string());
            [events, duplicates, order, gaps, missing, from, to]
        };
        let first = shown().map(|source| name(source).chars().count()).max().unwrap_or_default().max("source".len());
        let mut widths = head.map(str::len);
        for row in shown().map(cells) {
            for (width, cell) in widths.iter_mut().zip(&row) {
                *width = (*width).max(cell.len());
            }
        }
        let mut line = |name: &str, cells: &[String]| {
            write!(f, "{name:first$}")?;
            for (cell, width) in cells.iter().zip(widths) {
                write!(f, "  {cell:>width$}")?;
            }
            writeln!(f)
        };
        line("source", &head.map(str::to_owned))?;
        for source in shown() {
            line(&name(source), &cells(source))?;
        }
        if self.sources.len() > SHOWN_SOURCES {
            writeln!(f, "… and {} more files, all of them in --json", self.sources.len() - SHOWN_SOURCES)?;
        }
        Ok(())
    }
}

fn name(source: &Source) -> String {
    source.path.as_ref().map_or_else(|| source.tag.clone(), |path| format!("{} {path}", source.tag))
}
