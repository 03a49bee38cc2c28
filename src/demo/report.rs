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
        row("out of order", grouped(t.out_of_order), order(&self.partition_key).to_owned());
        if t.in_parts > 0 {
            row("in parts", grouped(t.in_parts), "lines that no record holds, joined again".to_owned());
        }
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

fn order(partition_key: &PartitionKey) -> &'static str {
    match partition_key {
        PartitionKey::Source => "one key for each log keeps its order",
        PartitionKey::Template(_) => "events of one key keep their order",
        PartitionKey::Random => "random keys promise none; --partition-key source does",
    }
}

fn savings(totals: &Totals) -> String {
    let alone = grouped(totals.units_alone);
    if totals.units_alone <= totals.units {
        return format!("{alone} un-aggregated");
    }
    format!("{alone} un-aggregated, {} times as many", ratio(totals.units_alone, totals.units))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_aligned_and_says_it_all() {
        let totals = Totals {
            written: 8000,
            received: 8000,
            records: 80,
            units: 160,
            units_alone: 8000,
            p50: Duration::from_millis(62),
            p99: Duration::from_millis(1110),
            ..Totals::default()
        };
        let partition_key = PartitionKey::Source;
        let metrics = Some("http://127.0.0.1:4000/metrics".to_owned());
        let report = Report { totals, blank: 0, rotations: 1, retries: 2, partition_key, metrics };
        let expected = "\
lines written      8,000  (rotated once on the way)
events received    8,000
lost               0
duplicates         0
out of order       0      (one key for each log keeps its order)
Kinesis records    80     (2 sent again)
events per record  100.0
payload units      160    (8,000 un-aggregated, 50.0 times as many)
latency p50        62 ms  (from writing a line to reading its event)
latency p99        1110 ms
metrics            http://127.0.0.1:4000/metrics  (until now)";
        assert_eq!(report.to_string(), expected);
        assert!(report.is_complete());
    }

    #[test]
    fn what_went_wrong_has_a_row() {
        let totals = Totals { lost: 1_234_567, unknown: 2, discarded: 3, ..Totals::default() };
        let partition_key = PartitionKey::Random;
        let report = Report { totals, blank: 4, rotations: 0, retries: 0, partition_key, metrics: None };
        let text = report.to_string();
        for row in
            ["lost               1,234,567", "unknown            2", "discarded          3", "blank lines        4"]
        {
            assert!(text.lines().any(|line| line.starts_with(row)), "{text}");
        }
        assert!(!report.is_complete());
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let texts = [0, 999, 1000, 12_345, 1_234_567].map(grouped);
        assert_eq!(texts, ["0", "999", "1,000", "12,345", "1,234,567"]);
        assert_eq!([ratio(8000, 297), ratio(0, 5), ratio(5, 0), ratio(10_000, 1)], ["26.9", "0.0", "0", "10,000.0"]);
    }
}
