//! The `OpenMetrics` 1.0 text format, of what a registry gathers, and who is given it: the `prometheus` crate writes its own format only.

use std::fmt::{self, Write as _};

use prometheus::proto::{Histogram, LabelPair, Metric, MetricFamily, MetricType};

/// The content type of what [`encode`] writes.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The media type that asks for it.
const MEDIA_TYPE: &str = "application/openmetrics-text";
/// Versions that what is written here is good for.
const VERSIONS: [&str; 2] = ["1.0.0", "0.0.1"];
/// The suffix that counters have in both formats, and their families in the other one only.
const TOTAL: &str = "_total";
/// The suffix of a metric whose labels are the value.
const INFO: &str = "_info";
/// Base units that a name can end with.
const UNITS: [&str; 2] = ["bytes", "seconds"];

/// Whether an `Accept` header asks for `OpenMetrics` rather than for plain text. A client that says nothing gets plain text, and so does a person's
/// browser: both take whatever there is.
pub fn is_accepted(accept: &str) -> bool {
    let (mut open, mut plain) = (0, 0);
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default().to_ascii_lowercase();
        let (mut quality, mut fits) = (Some(1000), true);
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            match &*name.trim().to_ascii_lowercase() {
                "q" => quality = thousandths(value.trim()),
                "version" => fits = VERSIONS.contains(&value.trim().trim_matches('"')),
                _ => {}
            }
        }
        let quality = quality.unwrap_or(0);
        match &*media {
            MEDIA_TYPE if fits => open = open.max(quality),
            "text/plain" | "text/*" => plain = plain.max(quality),
            _ => {}
        }
    }
    open > 0 && open >= plain
}

/// A quality: up to three digits after the point.
fn thousandths(text: &str) -> Option<u32> {
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    if whole.len() != 1 || rest.len() > 3 || !whole.bytes().chain(rest.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    let value = format!("{whole}{rest:0<3}").parse().ok()?;
    (value <= 1000).then_some(value)
}

/// Families in the order in which they are given, each with its type, its unit if it has one, and its help, and then those that are text in the other
/// format; the last line is `# EOF`.
pub fn encode(families: &[MetricFamily], text: &str) -> String {
    let mut out = String::new();
    for family in families {
        write_family(&mut out, family).expect("a string takes everything");
    }
    translate(text, &mut out);
    out.push_str("# EOF\n");
    out
}

/// Only what describes a family is written in another way. A counter keeps the name that its user gave it: without the suffix that counters have, it
/// is of an unknown type here.
fn translate(text: &str, out: &mut String) {
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) else {
            out.push_str(line);
            out.push('\n');
            continue;
        };
        let kind = lines.next_if(|next| next.starts_with("# TYPE ")).and_then(|next| next.rsplit(' ').next());
        let (name, kind) = match (name.strip_suffix(TOTAL), kind) {
            (Some(family), Some("counter")) => (family, "counter"),
            (None, Some("counter")) | (_, None) => (name, "unknown"),
            (_, Some(kind)) => (name, kind),
        };
        // A quote is escaped in this format only.
        let help = help.replace('"', "\\\"");
        writeln!(out, "# TYPE {name} {kind}\n# HELP {name} {help}").expect("a string takes everything");
    }
}

fn write_family(out: &mut String, family: &MetricFamily) -> fmt::Result {
    let full = family.name();
    let (name, kind) = match family.get_field_type() {
        MetricType::COUNTER => (full.strip_suffix(TOTAL).unwrap_or(full), "counter"),
        MetricType::GAUGE if full.ends_with(INFO) => (full.strip_suffix(INFO).unwrap_or(full), "info"),
        MetricType::GAUGE => (full, "gauge"),
        MetricType::HISTOGRAM => (full, "histogram"),
        MetricType::SUMMARY | MetricType::UNTYPED => (full, "unknown"),
    };
    writeln!(out, "# TYPE {name} {kind}")?;
    if let Some(unit) = UNITS.iter().find(|unit| name.strip_suffix(**unit).is_some_and(|rest| rest.ends_with('_'))) {
        writeln!(out, "# UNIT {name} {unit}")?;
    }
    writeln!(out, "# HELP {name} {}", Escaped(family.help()))?;
    for metric in family.get_metric() {
        match kind {
            "counter" => {
                write_name(out, name, TOTAL, metric.get_label(), None)?;
                writeln!(out, "{}", Number(metric.get_counter().get_value()))?;
            }
            "histogram" => write_histogram(out, name, metric, metric.get_histogram())?,
            "info" => {
                write_name(out, name, INFO, metric.get_label(), None)?;
                writeln!(out, "1")?;
            }
            _ => {
                write_name(out, name, "", metric.get_label(), None)?;
                writeln!(out, "{}", Number(metric.get_gauge().get_value()))?;
            }
        }
    }
    Ok(())
}

fn write_histogram(out: &mut String, name: &str, metric: &Metric, histogram: &Histogram) -> fmt::Result {
    let labels = metric.get_label();
    let bounds = histogram.get_bucket().iter().filter(|bucket| bucket.upper_bound().is_finite());
    for bucket in bounds {
        write_name(out, name, "_bucket", labels, Some(bucket.upper_bound()))?;
        writeln!(out, "{}", bucket.cumulative_count())?;
    }
    write_name(out, name, "_bucket", labels, Some(f64::INFINITY))?;
    writeln!(out, "{}", histogram.get_sample_count())?;
    write_name(out, name, "_count", labels, None)?;
    writeln!(out, "{}", histogram.get_sample_count())?;
    write_name(out, name, "_sum", labels, None)?;
    writeln!(out, "{}", Number(histogram.get_sample_sum()))
}

/// A sample up to its value.
fn write_name(out: &mut String, name: &str, suffix: &str, labels: &[LabelPair], bound: Option<f64>) -> fmt::Result {
    write!(out, "{name}{suffix}")?;
    let mut before = '{';
    for label in labels {
        write!(out, "{before}{}=\"{}\"", label.name(), Escaped(label.value()))?;
        before = ',';
    }
    if let Some(bound) = bound {
        // As the specification has bounds: with a point, so that one bound is one label whoever writes it.
        let text = if bound.is_finite() { format!("{bound:?}") } else { "+Inf".to_owned() };
        write!(out, "{before}le=\"{text}\"")?;
        before = ',';
    }
    if before == ',' {
        out.push('}');
    }
    out.push(' ');
    Ok(())
}

/// Text in which a line break, a quote and a backslash are escaped.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '\\' => f.write_str("\\\\"),
            '"' => f.write_str("\\\""),
            '\n' => f.write_str("\\n"),
            c => f.write_char(c),
        })
    }
}

/// A value.
struct Number(f64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            value if value.is_nan() => f.write_str("NaN"),
            f64::INFINITY => f.write_str("+Inf"),
            f64::NEG_INFINITY => f.write_str("-Inf"),
            value => write!(f, "{value}"),
        }
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "whole numbers and short fractions, which are exact")]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::metrics::Metrics;
    use proptest::prelude::*;

    /// What a line of samples says.
    #[derive(Debug, PartialEq)]
    struct Sample {
        name: String,
        labels: Vec<(String, String)>,
        value: f64,
    }

    /// A family of a document.
    #[derive(Debug, Default)]
    struct Family {
        name: String,
        kind: String,
        unit: Option<String>,
        help: String,
        samples: Vec<Sample>,
    }

    fn is_name(text: &str) -> bool {
        let mut chars = text.chars();
        chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
            && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
    }

    fn unescape(text: &str) -> String {
        let (mut out, mut chars) = (String::new(), text.chars());
        while let Some(c) = chars.next() {
            assert!(c != '"' && c != '\n', "unescaped in {text:?}");
            out.push(match c {
                '\\' => match chars.next() {
                    Some('n') => '\n',
                    Some(c @ ('\\' | '"')) => c,
                    other => panic!("an escape of {other:?} in {text:?}"),
                },
                c => c,
            });
        }
        out
    }

    /// `name{label="value",…} value`, and nothing else.
    fn sample(line: &str) -> Sample {
        let end = line.find(['{', ' ']).expect("a sample has a value");
        let (name, mut rest) = line.split_at(end);
        assert!(is_name(name), "{line}");
        let mut labels = Vec::new();
        if let Some(inner) = rest.strip_prefix('{') {
            rest = inner;
            loop {
                let (label, after) = rest.split_once("=\"").expect("a label has a value");
                assert!(is_name(label), "{line}");
                let mut escaped = false;
                let is_end = |c: char| {
                    let ends = c == '"' && !escaped;
                    escaped = c == '\\' && !escaped;
                    ends
                };
                let end = after.find(is_end).expect("a value of a label ends");
                let (value, after) = after.split_at(end);
                labels.push((label.to_owned(), unescape(value)));
                match after.strip_prefix("\"}") {
                    Some(after) => {
                        rest = after;
                        break;
                    }
                    None => rest = after.strip_prefix("\",").expect("another label follows"),
                }
            }
        }
        let value = rest.strip_prefix(' ').expect("one space before the value");
        assert!(!value.contains(' '), "neither time nor exemplar: {line}");
        let value = match value {
            "+Inf" => f64::INFINITY,
            "-Inf" => f64::NEG_INFINITY,
            value => value.parse().unwrap_or_else(|_| panic!("a number: {line}")),
        };
        Sample { name: name.to_owned(), labels, value }
    }

    /// A strict reader of the format, made from its specification.
    fn parse(text: &str) -> Vec<Family> {
        let body = text.strip_suffix("# EOF\n").expect("it ends with EOF");
        let mut families: Vec<Family> = Vec::new();
        for line in body.split_terminator('\n') {
            let Some(comment) = line.strip_prefix("# ") else {
                assert!(!line.is_empty() && !line.starts_with('#'), "{line:?}");
                families.last_mut().expect("samples follow their family").samples.push(sample(line));
                continue;
            };
            let mut parts = comment.splitn(3, ' ');
            let (word, name, rest) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap_or_default());
            if families.last().is_none_or(|family| family.name != name) {
                assert!(is_name(name) && families.iter().all(|family| family.name != name), "{name} comes twice");
                families.push(Family { name: name.to_owned(), ..Family::default() });
            }
            let family = families.last_mut().unwrap();
            assert!(family.samples.is_empty(), "what describes {name} comes first");
            match word {
                "TYPE" => assert!(std::mem::replace(&mut family.kind, rest.to_owned()).is_empty()),
                "UNIT" => assert!(family.unit.replace(rest.to_owned()).is_none()),
                "HELP" => assert!(std::mem::replace(&mut family.help, unescape(rest)).is_empty()),
                other => panic!("no word of the format: {other}"),
            }
        }
        families.iter().for_each(check);
        families
    }

    /// What the specification asks of a family.
    fn check(family: &Family) {
        let name = &family.name;
        if let Some(unit) = &family.unit {
            assert!(name.ends_with(&format!("_{unit}")), "{name} ends with {unit}");
        }
        let suffixes: &[&str] = match &*family.kind {
            "counter" => &["_total"],
            "gauge" => &[""],
            "info" => &["_info"],
            "histogram" => &["_bucket", "_count", "_sum"],
            other => panic!("{name} is of type {other}"),
        };
        let mut seen = BTreeSet::new();
        for Sample { name: sample, labels, value } in &family.samples {
            assert!(suffixes.iter().any(|suffix| *sample == format!("{name}{suffix}")), "{sample} of {name}");
            let names: BTreeSet<&String> = labels.iter().map(|(label, _)| label).collect();
            assert_eq!(names.len(), labels.len(), "labels of {sample}");
            assert!(seen.insert((sample.clone(), labels.clone())), "{sample} comes twice");
            assert!(family.kind != "counter" || *value >= 0.0);
            assert!(family.kind != "info" || *value == 1.0);
        }
        if family.kind == "histogram" {
            check_buckets(family);
        }
    }

    fn check_buckets(family: &Family) {
        let buckets: Vec<&Sample> = family.samples.iter().filter(|s| s.name.ends_with("_bucket")).collect();
        let bound = |s: &Sample| {
            let (_, text) = s.labels.iter().find(|(name, _)| name == "le").expect("a bucket has a bound");
            assert!(text == "+Inf" || text.contains('.'), "canonical: {text}");
            text.parse::<f64>().unwrap()
        };
        let of = |s: &Sample| s.labels.iter().filter(|(name, _)| name != "le").cloned().collect::<Vec<_>>();
        for group in buckets.chunk_by(|a, b| of(a) == of(b)) {
            assert!(group.is_sorted_by(|a, b| bound(a) < bound(b) && a.value <= b.value));
            let last = group.last().unwrap();
            assert_eq!(bound(last), f64::INFINITY);
            let is_count = |s: &&Sample| s.name.ends_with("_count") && s.labels == of(last);
            assert_eq!(family.samples.iter().find(is_count).unwrap().value, last.value);
        }
    }

    #[test]
    fn everything_that_is_counted_is_written_as_the_specification_has_it() {
        let metrics = Metrics::new();
        metrics.events.with_label_values(&["a"]).inc_by(2);
        metrics.read_bytes.with_label_values(&["a"]).inc_by(1 << 52);
        metrics.backlog_seconds.with_label_values(&["a"]).set(0.25);
        metrics.backpressure_seconds.inc_by(1.5);
        metrics.shards.with_label_values(&["s"]).set(-3);
        for seconds in [0.004, 0.2, 1000.0] {
            metrics.put_duration.with_label_values(&["s"]).observe(seconds);
            metrics.put_duration.with_label_values(&["t"]).observe(seconds);
        }
        let gathered = metrics.gather();
        let families = parse(&encode(gathered.families(), ""));
        assert_eq!(families.len(), gathered.families().len());
        let family =
            |name: &str| families.iter().find(|family| family.name == name).unwrap_or_else(|| panic!("{name}"));
        let bytes = family("kinetail_source_read_bytes");
        assert_eq!(
            (&*bytes.kind, bytes.unit.as_deref(), &*bytes.help),
            ("counter", Some("bytes"), "Bytes of files read.")
        );
        assert_eq!(bytes.samples, [sample("kinetail_source_read_bytes_total{source=\"a\"} 4503599627370496")]);
        assert_eq!(family("kinetail_backpressure_seconds").samples[0].value, 1.5);
        assert_eq!(
            (&*family("kinetail_build").kind, family("kinetail_kinesis_shards").samples[0].value),
            ("info", -3.0)
        );
        let put = family("kinetail_kinesis_put_duration_seconds");
        assert_eq!((put.unit.as_deref(), put.samples.len()), (Some("seconds"), 2 * (14 + 3)));
        let line = "kinetail_kinesis_put_duration_seconds_bucket{stream=\"t\",le=\"300.0\"} 2";
        assert!(put.samples.contains(&sample(line)), "{:#?}", put.samples);
        // Whatever is a counter is one by its name, so that no other name appears in this format.
        for family in gathered.families() {
            assert!(
                family.get_field_type() != MetricType::COUNTER || family.name().ends_with(TOTAL),
                "{}",
                family.name()
            );
        }
    }

    #[test]
    fn what_users_count_keeps_its_name() {
        let text = "# HELP orders_total Of a.\n# TYPE orders_total counter\norders_total{source=\"app\"} 2\n# HELP paid \n# TYPE paid counter\npaid{source=\"app\"} 1\n";
        let written = encode(&[], text);
        let want = "# TYPE orders counter\n# HELP orders Of a.\norders_total{source=\"app\"} 2\n# TYPE paid unknown\n# HELP paid \npaid{source=\"app\"} 1\n# EOF\n";
        assert_eq!(written, want);
        let took = "# HELP took_seconds How \"long\".\n# TYPE took_seconds histogram\ntook_seconds_bucket{source=\"a\",le=\"1.0\"} 1\ntook_seconds_bucket{source=\"a\",le=\"+Inf\"} 2\ntook_seconds_sum{source=\"a\"} 4.5\ntook_seconds_count{source=\"a\"} 2\n";
        let families = parse(&encode(&[], took));
        assert_eq!((&*families[0].help, families[0].samples.len()), ("How \"long\".", 4));
    }

    #[test]
    fn openmetrics_is_for_those_who_ask_for_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";
        for (accept, is_open) in [
            (prometheus, true),
            ("application/openmetrics-text", true),
            ("Application/OpenMetrics-Text; Version=\"1.0.0\"; charset=utf-8", true),
            ("application/openmetrics-text;version=0.0.1", true),
            ("application/openmetrics-text;q=0.5, text/plain;q=0.5", true),
            ("application/openmetrics-text;q=0.4, text/plain;q=0.5", false),
            ("text/plain, application/openmetrics-text;q=0.9", false),
            ("application/openmetrics-text;version=2.0.0", false),
            ("application/openmetrics-text;q=0", false),
            ("application/openmetrics-text;q=1.5", false),
            ("application/openmetrics-text;q=x", false),
            ("application/openmetrics-text;q=é.5", false),
            (browser, false),
            ("*/*", false),
            ("application/*", false),
            ("", false),
            (",;q=,;;=", false),
        ] {
            assert_eq!(is_accepted(accept), is_open, "{accept}");
        }
    }

    proptest! {
        #[test]
        fn whatever_a_label_says_is_read_back(value in any::<String>(), other in "[\\\\\"\n}{,= a-z#]{0,12}") {
            let metrics = Metrics::new();
            metrics.record_errors.with_label_values(&[&value, &other]).inc();
            let families = parse(&encode(metrics.gather().families(), ""));
            let errors = families.iter().find(|f| f.name == "kinetail_kinesis_record_errors").unwrap();
            let labels = [("code", other), ("stream", value)].map(|(name, value)| (name.to_owned(), value));
            prop_assert_eq!(&errors.samples[0].labels, &labels);
        }

        #[test]
        fn no_header_is_a_problem(accept in "\\PC{0,40}|[a-z/*;,=q.0-9 ]{0,40}") {
            is_accepted(&accept);
        }
    }
}
