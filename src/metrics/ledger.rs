//! What threads beside the senders' add to the ledger, so that every scrape is one picture. Counters that belong together are gathered one after the
//! other: if another thread changed them meanwhile, the sum would be wrong. So the reader hands over what it knows of bytes as a whole, and whoever
//! drops events before they are read counts each drop once; both get into the metrics on the thread that gathers.

use std::collections::BTreeMap;
use std::sync::Arc;

use prometheus::core::Collector as _;
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntCounterVec, Opts};

use super::Metrics;

/// Where the bytes of a source's files are, at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Bytes {
    /// Those that files were seen to hold, from where reading began. It is what the others and what was given up add up to, over all sources.
    pub found: u64,
    /// Those whose events are delivered or dropped, or of which there are none.
    pub settled: u64,
    /// Those that were read and are not settled.
    pub in_flight: u64,
    /// Those that were not read.
    pub backlog: u64,
    /// The age of the oldest that is not committed, in seconds.
    pub behind: f64,
}

impl Bytes {
    /// Adds those of another one.
    pub fn add(&mut self, other: &Self) {
        self.found += other.found;
        self.settled += other.settled;
        self.in_flight += other.in_flight;
        self.backlog += other.backlog;
        self.behind = self.behind.max(other.behind);
    }
}

/// Where all bytes are, at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Picture {
    /// By source. One that is replaced can be there beside its successor of the same name.
    pub sources: Vec<(Arc<str>, Bytes)>,
    /// Sources that are not there any more.
    pub retired: BTreeMap<Arc<str>, Bytes>,
    /// Those that nobody gets, by reason.
    pub abandoned: BTreeMap<&'static str, u64>,
}

impl Picture {
    /// Bytes that were not read, of all sources.
    pub fn backlog(&self) -> u64 {
        self.sources.iter().map(|(_, bytes)| bytes.backlog).sum()
    }
}

/// Counts events that are dropped before they are read: one count for each drop, of which the ledger makes an event and its drop.
#[derive(Debug, Clone)]
pub struct Aside(IntCounterVec);

impl Default for Aside {
    fn default() -> Self {
        let opts = Opts::new("aside", "Events that are dropped before they are read.");
        Self(IntCounterVec::new(opts, &["reason", "source", "stage"]).expect("names and labels are valid"))
    }
}

impl Aside {
    /// Counts events.
    pub fn dropped(&self, source: &str, (stage, reason): (&str, &str), events: u64) {
        self.0.with_label_values(&[reason, source, stage]).inc_by(events);
    }

    /// Each series: reason, source and stage, and its value of this moment.
    fn each(&self, mut tell: impl FnMut([&str; 3], u64)) {
        for metric in self.0.collect().iter().flat_map(MetricFamily::get_metric) {
            let labels = metric.get_label();
            let label = |name| labels.iter().find(|label| label.name() == name).map_or("", |label| label.value());
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "counters hold whole numbers below 2^53"
            )]
            tell(["reason", "source", "stage"].map(label), metric.get_counter().get_value() as u64);
        }
    }
}

impl Metrics {
    /// Brings what other threads have counted into the metrics. Only the thread of the senders may call it, which is the one that gathers.
    pub fn collect_ledger(&self) {
        self.aside.each(|[reason, source, stage], total| {
            let told = self.aside_told.0.with_label_values(&[reason, source, stage]);
            let new = total.saturating_sub(told.get());
            if new > 0 {
                told.inc_by(new);
                self.events.with_label_values(&[source]).inc_by(new);
                self.dropped_events.with_label_values(&[stage, reason]).inc_by(new);
            }
        });
        let picture = Arc::clone(&self.picture.borrow());
        let int = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        let mut sources = BTreeMap::<_, Bytes>::new();
        for (source, bytes) in &picture.sources {
            sources.entry(source).or_default().add(bytes);
        }
        for (source, retired) in &picture.retired {
            match sources.get_mut(source) {
                Some(bytes) => bytes.add(retired),
                // It has no state any more, but what it has counted stays.
                None => {
                    self.forget_bytes(source);
                    raise(&self.found_bytes.with_label_values(&[source]), retired.found);
                    raise(&self.settled_bytes.with_label_values(&[source]), retired.settled);
                }
            }
        }
        for (source, bytes) in sources {
            let source = &[&**source];
            raise(&self.found_bytes.with_label_values(source), bytes.found);
            raise(&self.settled_bytes.with_label_values(source), bytes.settled);
            self.in_flight_bytes.with_label_values(source).set(int(bytes.in_flight));
            self.backlog_bytes.with_label_values(source).set(int(bytes.backlog));
            self.backlog_seconds.with_label_values(source).set(bytes.behind);
        }
        for (reason, bytes) in &picture.abandoned {
            raise(&self.abandoned_bytes.with_label_values(&[reason]), *bytes);
        }
    }
}

/// Brings a counter that nobody else changes to a total.
pub fn raise(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drop_elsewhere_is_an_event_and_its_drop_at_once() {
        let metrics = Metrics::new();
        metrics.aside.dropped("app", ("spool", "drop_newest"), 3);
        assert_eq!((Metrics::total(&metrics.events), Metrics::total(&metrics.dropped_events)), (0, 0));
        for more in [0, 4] {
            metrics.aside.dropped("app", ("spool", "drop_newest"), more);
            let gathered = metrics.gather();
            assert_eq!(gathered.count_of("events_total", "source", "app"), 3 + more);
            assert_eq!(gathered.count_of("dropped_events_total", "reason", "drop_newest"), 3 + more);
        }
    }

    #[test]
    fn a_picture_is_shown_as_a_whole() {
        let metrics = Metrics::new();
        let bytes = Bytes { found: 10, settled: 4, in_flight: 3, backlog: 2, behind: 1.5 };
        let picture = Picture {
            sources: vec![("app".into(), bytes)],
            retired: BTreeMap::new(),
            abandoned: [("deleted", 1)].into(),
        };
        assert_eq!(picture.backlog(), 2);
        metrics.picture.send_replace(Arc::new(picture));
        // Gathered twice, it is the same.
        for _ in 0..2 {
            let gathered = metrics.gather();
            let of = |name| gathered.total_count(name);
            let sum = of("source_settled_bytes_total") + of("source_in_flight_bytes") + of("source_backlog_bytes");
            assert_eq!(of("source_found_bytes_total"), sum + of("abandoned_bytes_total"));
        }
    }
}
