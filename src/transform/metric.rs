//! `metric`: counters and histograms of what events say. It keeps the numbers; whoever exports them asks for them.

use std::collections::BTreeMap;

use super::Context;
use super::condition::Condition;
use super::text::Text;
use crate::event::Event;

/// What the labels of events beyond `max_series` say.
pub const OTHER: &str = "_other";

/// Bytes of a label's value. Longer ones are cut: they are texts, not kinds.
const MAX_LABEL_BYTES: usize = 128;

/// What stands between values of labels; it is taken out of them.
const BETWEEN: char = '\0';

/// A metric that is derived from events.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    name: String,
    help: String,
    kind: MetricKind,
    value: Option<Text>,
    labels: Vec<(String, Text)>,
    when: Option<Condition>,
    max_series: usize,
}

/// What a metric is.
#[derive(Debug, Clone, PartialEq)]
pub enum MetricKind {
    /// A sum; without a value, of events.
    Counter,
    /// How values are spread over buckets, of which these are the upper ends.
    Histogram(Vec<f64>),
}

/// The parts of a metric.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricParts {
    /// The metric's name.
    pub name: String,
    /// What it means.
    pub help: String,
    /// What it is.
    pub kind: MetricKind,
    /// The number that an event has for it.
    pub value: Option<Text>,
    /// Names and values of labels.
    pub labels: Vec<(String, Text)>,
    /// Which events are for it.
    pub when: Option<Condition>,
    /// How many different labels it may have.
    pub max_series: usize,
}

/// The numbers of a metric.
#[derive(Debug, Clone, Default)]
pub struct Series {
    by_labels: BTreeMap<Box<str>, Sample>,
    /// Events whose labels would be one series too many: they are in the series whose labels are all [`OTHER`].
    pub overflow: u64,
    /// Events without a number for it.
    pub invalid: u64,
}

/// What one series has.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sample {
    /// The sum of the values.
    pub sum: f64,
    /// How many there were.
    pub count: u64,
    /// How many there were in each bucket, and not in one before it; of a counter there are none. The last one has no upper end.
    pub buckets: Vec<u64>,
}

/// A metric as it is exported.
#[derive(Debug, Clone, Copy)]
pub struct Derived<'m> {
    metric: &'m Metric,
    /// The numbers.
    pub series: &'m Series,
}

impl Metric {
    /// A metric of these parts.
    pub fn new(parts: MetricParts) -> Self {
        let MetricParts { name, help, kind, value, labels, when, max_series } = parts;
        Self { name, help, kind, value, labels, when, max_series }
    }

    /// Counts an event, and answers whether it was for this metric.
    pub(super) fn count(
        &self,
        (series, scratch): (&mut Series, &mut String),
        event: &Event<'_>,
        at: &Context<'_>,
    ) -> bool {
        if self.when.as_ref().is_some_and(|when| !when.holds(event)) {
            return false;
        }
        scratch.clear();
        let Some(value) = self.number(event, at, scratch) else {
            series.invalid += 1;
            return true;
        };
        self.write_labels(event, at, scratch);
        if !series.by_labels.contains_key(scratch.as_str()) {
            if series.by_labels.len() >= self.max_series {
                series.overflow += 1;
                scratch.clear();
                let other: Vec<&str> = self.labels.iter().map(|_| OTHER).collect();
                scratch.push_str(&other.join(&BETWEEN.to_string()));
            }
            series.by_labels.entry(scratch.as_str().into()).or_default();
        }
        let Some(sample) = series.by_labels.get_mut(scratch.as_str()) else { return true };
        sample.sum += value;
        sample.count += 1;
        if let MetricKind::Histogram(ends) = &self.kind {
            sample.buckets.resize(ends.len() + 1, 0);
            sample.buckets[ends.partition_point(|end| *end < value)] += 1;
        }
        true
    }

    /// The number of an event: one for each, or what its value says. What a counter would fall by is none.
    fn number(&self, event: &Event<'_>, at: &Context<'_>, scratch: &mut String) -> Option<f64> {
        let Some(value) = &self.value else { return Some(1.0) };
        let number = match value.only_name() {
            Some(name) => name.see(event)?.number()?,
            None if value.write(event, at, scratch) => scratch.trim().parse().ok()?,
            None => return None,
        };
        let is_good = number.is_finite() && (number >= 0.0 || self.kind != MetricKind::Counter);
        is_good.then_some(number)
    }

    /// A label whose fields are not there is empty, which to Prometheus is no label.
    fn write_labels(&self, event: &Event<'_>, at: &Context<'_>, out: &mut String) {
        out.clear();
        for (index, (_, label)) in self.labels.iter().enumerate() {
            if index > 0 {
                out.push(BETWEEN);
            }
            let start = out.len();
            if !label.write(event, at, out) {
                out.truncate(start);
            }
            let end = (start..=out.len().min(start + MAX_LABEL_BYTES)).rev().find(|end| out.is_char_boundary(*end));
            out.truncate(end.unwrap_or(start));
            while let Some(found) = out.get(start..).and_then(|label| label.find(BETWEEN)) {
                out.remove(start + found);
            }
        }
    }

    pub(super) fn derived<'m>(&'m self, series: &'m Series) -> Derived<'m> {
        Derived { metric: self, series }
    }
}

impl<'m> Derived<'m> {
    /// The metric's name.
    pub fn name(&self) -> &'m str {
        &self.metric.name
    }

    /// What it means.
    pub fn help(&self) -> &'m str {
        &self.metric.help
    }

    /// What it is.
    pub fn kind(&self) -> &'m MetricKind {
        &self.metric.kind
    }

    /// The names of its labels.
    pub fn labels(&self) -> impl Iterator<Item = &'m str> {
        self.metric.labels.iter().map(|(name, _)| name.as_str())
    }

    /// Its series: the values of the labels, in the order of their names, and the numbers.
    pub fn samples(&self) -> impl Iterator<Item = (Vec<&'m str>, &'m Sample)> {
        let count = self.metric.labels.len();
        self.series.by_labels.iter().map(move |(labels, sample)| (labels.split(BETWEEN).take(count).collect(), sample))
    }
}

#[cfg(test)]
mod tests {
    use super::super::name::tests::event;
    use super::*;

    fn metric(kind: MetricKind, value: Option<&str>, max_series: usize) -> Metric {
        Metric::new(MetricParts {
            name: "orders_created".to_owned(),
            help: "Orders.".to_owned(),
            kind,
            value: value.map(|text| Text::parse(text).unwrap()),
            labels: vec![
                ("type".to_owned(), Text::parse("{type}").unwrap()),
                ("ok".to_owned(), Text::parse("{ok|'?'}").unwrap()),
            ],
            when: Some(Condition::parse("event == 'order'").unwrap()),
            max_series,
        })
    }

    fn counted(metric: &Metric, lines: impl Iterator<Item = String>) -> Series {
        let (mut series, mut scratch) = (Series::default(), String::new());
        for line in lines {
            metric.count((&mut series, &mut scratch), &event(&line), &Context::default());
        }
        series
    }

    fn lines<'a>(lines: &'a [&'a str]) -> impl Iterator<Item = String> {
        lines.iter().map(|line| (*line).to_owned())
    }

    #[test]
    fn a_counter_adds_up_what_events_say() {
        let metric = metric(MetricKind::Counter, Some("{amount}"), 10);
        let series = counted(
            &metric,
            lines(&[
                r#"{"event":"order","type":"a","amount":2.5}"#,
                r#"{"event":"order","type":"a","amount":"4"}"#,
                r#"{"event":"order","ok":true,"amount":1}"#,
                r#"{"event":"order","type":"a","amount":-1}"#,
                r#"{"event":"order","type":"a","amount":"x"}"#,
                r#"{"event":"order","type":"a"}"#,
                r#"{"event":"other","type":"a","amount":9}"#,
            ]),
        );
        let derived = metric.derived(&series);
        let all: Vec<_> = derived.samples().map(|(labels, sample)| (labels, sample.sum, sample.count)).collect();
        assert_eq!(all, [(vec!["", "true"], 1.0, 1), (vec!["a", "?"], 6.5, 2)]);
        assert_eq!((series.invalid, series.overflow), (3, 0));
        assert_eq!(derived.labels().collect::<Vec<_>>(), ["type", "ok"]);
    }

    #[test]
    fn a_histogram_spreads_values_over_buckets() {
        let metric = metric(MetricKind::Histogram(vec![0.1, 1.0]), Some("{s}"), 10);
        let of = |s: &str| format!("{{\"event\":\"order\",\"type\":\"a\",\"s\":{s}}}");
        let series = counted(&metric, ["0.05", "0.1", "0.2", "1", "7", "-3"].into_iter().map(of));
        let sample = metric.derived(&series).samples().next().unwrap().1.clone();
        assert_eq!(sample.buckets, [3, 2, 1]);
        assert_eq!((sample.count, (sample.sum * 100.0).round()), (6, 535.0));
    }

    #[test]
    fn series_are_bounded_and_the_sum_stays_right() {
        let metric = metric(MetricKind::Counter, None, 10);
        let series = counted(&metric, (0..1000).map(|n| format!("{{\"event\":\"order\",\"type\":\"{n}\"}}")));
        let derived = metric.derived(&series);
        assert_eq!((derived.samples().count(), series.overflow), (11, 990));
        assert_eq!(derived.samples().map(|(_, sample)| sample.count).sum::<u64>(), 1000);
        assert!(derived.samples().any(|(labels, sample)| labels == [OTHER, OTHER] && sample.count == 990));
    }

    #[test]
    fn labels_are_cut_and_have_no_nul() {
        let metric = metric(MetricKind::Counter, None, 10);
        let line = format!("{{\"event\":\"order\",\"type\":\"\\u0000a\\u0000{}\"}}", "é".repeat(500));
        let series = counted(&metric, std::iter::once(line));
        let (labels, _) = metric.derived(&series).samples().next().unwrap();
        assert!(labels[0].starts_with("aé") && labels[0].len() <= MAX_LABEL_BYTES && labels.len() == 2);
    }
}
