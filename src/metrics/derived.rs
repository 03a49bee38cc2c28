//! Metrics that transforms derive from events, in Prometheus' text format. Their names are the user's own; those of all sources are told together, each
//! with its source as a label.

use std::collections::BTreeMap;
use std::io::Write as _;

use crate::transform::{Derived, MetricKind, MetricSample};

/// Metrics of several sources, by their names.
#[derive(Debug, Default)]
pub struct Families(BTreeMap<String, Family>);

#[derive(Debug)]
struct Family {
    kind: &'static str,
    help: String,
    lines: Vec<u8>,
}

impl Families {
    /// Adds what a source has of a metric. Of two sources with one name, the first says what it is; another kind of that name is left out.
    pub fn add(&mut self, source: &str, metric: &Derived<'_>) {
        let kind = match metric.kind() {
            MetricKind::Counter => "counter",
            MetricKind::Histogram(_) => "histogram",
        };
        let new = || Family { kind, help: metric.help().to_owned(), lines: Vec::new() };
        let family = self.0.entry(metric.name().to_owned()).or_insert_with(new);
        if family.kind != kind {
            return;
        }
        for (values, sample) in metric.samples() {
            let mut labels = String::new();
            add_label(&mut labels, "source", source);
            for (name, value) in metric.labels().zip(values) {
                add_label(&mut labels, name, value);
            }
            write_sample(metric.name(), &labels, metric.kind(), sample, &mut family.lines);
        }
    }

    /// The text of all of them.
    pub fn render(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, Family { kind, help, lines }) in &self.0 {
            let help = help.replace('\\', "\\\\").replace('\n', "\\n");
            // A Vec takes every write.
            write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n").ok();
            out.extend_from_slice(lines);
        }
        out
    }
}

fn write_sample(name: &str, labels: &str, kind: &MetricKind, sample: &MetricSample, out: &mut Vec<u8>) {
    // A Vec takes every write.
    match kind {
        MetricKind::Counter => writeln!(out, "{name}{{{labels}}} {}", sample.sum).ok(),
        MetricKind::Histogram(ends) => {
            let mut count = 0;
            // With a point in any case: OpenMetrics demands it, and one bound is one label in both formats.
            let ends = ends.iter().map(|end| format!("{end:?}")).chain(["+Inf".to_owned()]);
            for (end, in_bucket) in ends.zip(&sample.buckets) {
                count += in_bucket;
                writeln!(out, "{name}_bucket{{{labels},le=\"{end}\"}} {count}").ok();
            }
            writeln!(out, "{name}_sum{{{labels}}} {}", sample.sum).ok();
            writeln!(out, "{name}_count{{{labels}}} {}", sample.count).ok()
        }
    };
}

fn add_label(labels: &mut String, name: &str, value: &str) {
    if !labels.is_empty() {
        labels.push(',');
    }
    labels.push_str(name);
    labels.push_str("=\"");
    for c in value.chars() {
        match c {
            '\\' => labels.push_str("\\\\"),
            '"' => labels.push_str("\\\""),
            '\n' => labels.push_str("\\n"),
            other => labels.push(other),
        }
    }
    labels.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;
    use crate::transform::{Context, Metric, MetricParts, Pipeline, Text, Transform};

    fn metric(name: &str, kind: MetricKind, value: Option<&str>) -> Transform {
        let text = |text: &str| Text::parse(text).unwrap();
        Transform::Metric(Metric::new(MetricParts {
            name: name.to_owned(),
            help: "Of a\\b.".to_owned(),
            kind,
            value: value.map(text),
            labels: vec![("type".to_owned(), text("{type}"))],
            when: None,
            max_series: 2,
        }))
    }

    #[test]
    fn metrics_are_told_as_prometheus_reads_them() {
        let pipeline = Pipeline::new(vec![
            metric("orders", MetricKind::Counter, None),
            metric("took_seconds", MetricKind::Histogram(vec![0.5, 1.0]), Some("{took}")),
        ]);
        let mut state = pipeline.state(1);
        for line in [r#"{"type":"a\"\n","took":0.25}"#, r#"{"type":"a\"\n","took":4}"#] {
            let mut event = Event::from_json(line).unwrap();
            pipeline.apply(&mut state, &mut event, &Context::default(), &());
        }
        let mut families = Families::default();
        for source in ["app", "web"] {
            pipeline.derived(&state).for_each(|metric| families.add(source, &metric));
        }
        let text = String::from_utf8(families.render()).unwrap();
        let head = "# HELP orders Of a\\\\b.\n# TYPE orders counter\norders{source=\"app\",type=\"a\\\"\\n\"} 2\norders{source=\"web\",type=";
        assert!(text.starts_with(head), "{text}");
        for line in [
            "took_seconds_bucket{source=\"app\",type=\"a\\\"\\n\",le=\"0.5\"} 1\n",
            "took_seconds_bucket{source=\"app\",type=\"a\\\"\\n\",le=\"1.0\"} 1\n",
            "took_seconds_bucket{source=\"app\",type=\"a\\\"\\n\",le=\"+Inf\"} 2\n",
            "took_seconds_sum{source=\"app\",type=\"a\\\"\\n\"} 4.25\n",
            "took_seconds_count{source=\"app\",type=\"a\\\"\\n\"} 2\n",
        ] {
            assert_eq!(text.matches(line).count(), 1, "{line} in {text}");
        }
        assert_eq!(text.matches("# TYPE").count(), 2);
    }
}
