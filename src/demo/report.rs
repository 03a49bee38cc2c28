//! The summary: an aligned table of what a run came to.

use std::fmt;
use std::time::Duration;

use super::ledger::Totals;
use crate::config::PartitionKey;

/// Characters of the column of labels.
const LABEL_CHARS: usize = 18;

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The comparison of what was written with what arrived.
    pub totals: Totals,
    /// Lines that no event is made of.
    pub blank: u64,
    /// How often each log was rotated.
    pub rotations: u64,
    /// Records that were sent again.
    pub retries: u64,
    /// How records were spread over shards.
    pub partition_key: PartitionKey,
    /// Where the metrics were.
    pub metrics: Option<String>,
}

impl Report {
    /// Whether every line arrived as it was written.
    pub fn is_complete(&self) -> bool {
        self.totals.lost == 0 && self.totals.unknown == 0
    }

    /// Labels, values and what is to be said about them.
    fn rows(&self) -> Vec<(&'static str, String, String)> {
        let t = &self.totals;
        let mut rows = Vec::new();
        let mut row = |label, value, note: String| rows.push((label, value, note));
        row("lines written", grouped(t.written), rotations(self.rotations));
        row("events received", grouped(t.received), String::new());
        row("lost", grouped(t.lost), String::new());
        row("duplicates", grouped(t.duplicates), String::new());
        row("out of order", grouped(t.out_of_order), order(self.partition_key).to_owned());
        if t.unknown > 0 {
            row("unknown", grouped(t.unknown), "events that are no line that was written".to_owned());
        }
        if t.discarded > 0 {
            row("discarded", grouped(t.discarded), "aggregates that KCL would throw away".to_owned());
        }
        if self.blank > 0 {
            row("blank lines", grouped(self.blank), "no JSON, and no events".to_owned());
        }
        let sent_again = if self.retries > 0 { format!("{} sent again", grouped(self.retries)) } else { String::new() };
        row("Kinesis records", grouped(t.records), sent_again);
        row("events per record", ratio(t.received, t.records), String::new());
        row("payload units", grouped(t.units), savings(t));
        row("latency p50", millis(t.p50), "from writing a line to reading its event".to_owned());
        row("latency p99", millis(t.p99), String::new());
        if let Some(metrics) = &self.metrics {
            row("metrics", metrics.clone(), "until now".to_owned());
        }
        rows
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.rows();
        let chars = |value: &String| value.chars().count();
        let noted = rows.iter().filter(|(_, value, note)| !note.is_empty() && chars(value) <= LABEL_CHARS);
        let width = noted.map(|(_, value, _)| chars(value)).max().unwrap_or_default();
        for (index, (label, value, note)) in rows.iter().enumerate() {
            let newline = if index > 0 { "\n" } else { "" };
            match note.as_str() {
                "" => write!(f, "{newline}{label:<LABEL_CHARS$} {value}")?,
                note => write!(f, "{newline}{label:<LABEL_CHARS$} {value:<width$}  ({note})")?,
            }
        }
        Ok(())
    }
}

fn rotations(rotations: u64) -> String {
    match rotations {
        0 => "not rotated".to_owned(),
        1 => "rotated once on the way".to_owned(),
        more => format!("rotated {more} times on the way"),
    }
}

fn order(partition_key: PartitionKey) -> &'static str {
    match partition_key {
        PartitionKey::Source => "one key for each log keeps its order",
        PartitionKey::Random => "random keys promise none; --partition-key source does",
    }
}

fn savings(totals: &Totals) -> String {
    let (units, alone) = (grouped(totals.units), totals.units_alone);
    if totals.units == 0 || alone <= totals.units {
        return format!("{units} of {} un-aggregated", grouped(alone));
    }
    format!("{} un-aggregated, {} times as many", grouped(alone), ratio(alone, totals.units))
}

/// With one decimal place.
fn ratio(many: u64, few: u64) -> String {
    match (many * 10).checked_div(few) {
        Some(tenths) => format!("{}.{}", grouped(tenths / 10), tenths % 10),
        None => "0".to_owned(),
    }
}

fn millis(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}

/// With a comma before every three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
