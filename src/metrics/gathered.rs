//! The values of all metrics at one moment, to be asked by name. What the status page and its charts are made of: they show what `/metrics` says.

use prometheus::proto::{Histogram, Metric, MetricFamily, MetricType};

/// What was gathered, by name.
#[derive(Debug, Default)]
pub struct Gathered {
    /// In the order of their names.
    families: Vec<MetricFamily>,
}

/// A series: its labels and its value.
#[derive(Debug, Clone, Copy)]
pub struct Series<'a> {
    metric: &'a Metric,
    kind: MetricType,
}

impl<'a> Series<'a> {
    /// What a label says; empty if there is none of the name.
    pub fn label(&self, name: &str) -> &'a str {
        self.metric.get_label().iter().find(|label| label.name() == name).map_or("", |label| label.value())
    }

    /// The value of a counter or a gauge; of a histogram, how many it has seen.
    pub fn value(&self) -> f64 {
        match self.kind {
            MetricType::COUNTER => self.metric.get_counter().get_value(),
            MetricType::GAUGE => self.metric.get_gauge().get_value(),
            #[expect(clippy::cast_precision_loss, reason = "a count of observations stays below 2^53")]
            _ => self.metric.get_histogram().get_sample_count() as f64,
        }
    }

    /// The same as a whole number, as counters and gauges of events and bytes are; nothing is below zero.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counters hold whole numbers below 2^53, and the cast stops at zero"
    )]
    pub fn count(&self) -> u64 {
        self.value() as u64
    }

    /// The histogram.
    pub fn histogram(&self) -> &'a Histogram {
        self.metric.get_histogram()
    }
}

impl Gathered {
    /// From what a registry gathers, which is sorted by name.
    pub fn new(families: Vec<MetricFamily>) -> Self {
        debug_assert!(families.is_sorted_by_key(|family| family.name().to_owned()));
        Self { families }
    }

    /// All of it.
    pub fn families(&self) -> &[MetricFamily] {
        &self.families
    }

    /// The series of a metric, by its name without `kinetail_`; none if it has none yet.
    pub fn series(&self, name: &str) -> impl Iterator<Item = Series<'_>> {
        let found = self
            .families
            .binary_search_by(|family| family.name().strip_prefix("kinetail_").unwrap_or_default().cmp(name));
        let family = found.ok().and_then(|index| self.families.get(index));
        family.into_iter().flat_map(|family| {
            let kind = family.get_field_type();
            family.get_metric().iter().map(move |metric| Series { metric, kind })
        })
    }

    /// The sum over all series.
    pub fn total(&self, name: &str) -> f64 {
        self.series(name).map(|series| series.value()).sum()
    }

    /// The same as a whole number.
    pub fn total_count(&self, name: &str) -> u64 {
        self.series(name).map(|series| series.count()).sum()
    }

    /// The sum over the series of which a label says this.
    pub fn total_of(&self, name: &str, label: &str, value: &str) -> f64 {
        self.series(name).filter(|series| series.label(label) == value).map(|series| series.value()).sum()
    }

    /// The same as a whole number.
    pub fn count_of(&self, name: &str, label: &str, value: &str) -> u64 {
        self.series(name).filter(|series| series.label(label) == value).map(|series| series.count()).sum()
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "whole numbers and short fractions, which are exact")]
mod tests {
    use crate::metrics::Metrics;

    #[test]
    fn values_are_found_by_name_and_label() {
        let metrics = Metrics::new();
        metrics.events.with_label_values(&["a"]).inc_by(2);
        metrics.events.with_label_values(&["b"]).inc_by(3);
        metrics.in_flight_events.set(-1);
        metrics.backlog_seconds.with_label_values(&["a"]).set(1.5);
        metrics.put_duration.with_label_values(&["s"]).observe(0.2);
        let gathered = metrics.gather();
        assert_eq!((gathered.total_count("events_total"), gathered.count_of("events_total", "source", "b")), (5, 3));
        assert_eq!((gathered.total("in_flight_events"), gathered.total_count("in_flight_events")), (-1.0, 0));
        assert_eq!(gathered.total_of("source_backlog_seconds", "source", "a"), 1.5);
        assert_eq!(gathered.total("kinesis_put_duration_seconds"), 1.0);
        assert_eq!(gathered.total("nothing_of_the_kind"), 0.0);
        let [series] = gathered.series("kinesis_put_duration_seconds").collect::<Vec<_>>()[..] else { panic!() };
        assert_eq!(
            (series.label("stream"), series.label("other"), series.histogram().get_sample_sum()),
            ("s", "", 0.2)
        );
        // All that there is can be asked for by its name.
        for family in gathered.families() {
            let name = family.name().strip_prefix("kinetail_").unwrap();
            assert_eq!(gathered.series(name).count(), family.get_metric().len(), "{name}");
        }
    }
}
