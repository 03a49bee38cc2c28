//! The text of a `/metrics` page as samples that can be asked for. Of Prometheus' text format it reads what agents write: a line is a name, labels
//! and a value. Comments and lines that are anything else are left out.

use std::collections::BTreeSet;

/// A page of metrics.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Exposition {
    samples: Vec<Sample>,
}

#[derive(Debug, Clone, PartialEq)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Sample {
    fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(label, _)| label == name).map(|(_, value)| value.as_str())
    }
}

impl Exposition {
    /// Reads a page.
    pub fn parse(text: &str) -> Self {
        Self { samples: text.lines().filter_map(sample).collect() }
    }

    /// The sum of the series of a metric that have these labels; none if there is no such series.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let fits = |sample: &&Sample| labels.iter().all(|(label, value)| sample.label(label) == Some(*value));
        let mut found = self.samples.iter().filter(|sample| sample.name == name).filter(fits).peekable();
        found.peek()?;
        Some(found.map(|sample| sample.value).sum())
    }

    /// What a label says in the series of a metric.
    pub fn values(&self, name: &str, label: &str) -> BTreeSet<&str> {
        self.samples.iter().filter(|sample| sample.name == name).filter_map(|sample| sample.label(label)).collect()
    }
}

fn sample(line: &str) -> Option<Sample> {
    if line.starts_with('#') {
        return None;
    }
    let end = line.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':')?;
    let (name, rest) = line.split_at_checked(end)?;
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Vec::new(), rest),
    };
    // A timestamp may follow.
    let value = rest.split_ascii_whitespace().next()?.parse().ok()?;
    (!name.is_empty()).then(|| Sample { name: name.to_owned(), labels, value })
}

/// Labels up to the closing brace, and what comes after it.
fn labels(mut rest: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut labels = Vec::new();
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, after) = rest.split_once("=\"")?;
        let (value, after) = quoted(after)?;
        labels.push((name.to_owned(), value));
        rest = after;
    }
}

/// A value up to its closing quote.
fn quoted(text: &str) -> Option<(String, &str)> {
    let (mut value, mut chars) = (String::new(), text.char_indices());
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn series_are_told_apart_by_their_labels() {
        let page = Exposition::parse(
            "# HELP a_total An example.\n# TYPE a_total counter\na_total{stream=\"x\",shard=\"1\"} 3\na_total{stream=\"x\",shard=\"2\"} 4.5\n\
             a_total{stream=\"y \\\"}\\\\\\n\"} 1e3 1700000000\na_totals 7\nb -1\nnonsense\n{} 1\nc{open=\"\nd{x=1} 2\n",
        );
        assert_eq!(page.sum("a_total", &[]), Some(1007.5));
        assert_eq!(page.sum("a_total", &[("stream", "x")]), Some(7.5));
        assert_eq!(page.sum("a_total", &[("shard", "2"), ("stream", "x")]), Some(4.5));
        assert_eq!(page.sum("a_total", &[("stream", "z")]), None);
        assert_eq!((page.sum("b", &[]), page.sum("c", &[]), page.sum("d", &[])), (Some(-1.0), None, None));
        assert_eq!(page.values("a_total", "stream").into_iter().collect::<Vec<_>>(), ["x", "y \"}\\\n"]);
    }

    proptest! {
        /// Whatever a server answers, reading it ends.
        #[test]
        fn any_text_is_read(text in any::<String>(), labels in "[a-z{}=\", \\\\]{0,40}") {
            Exposition::parse(&text);
            Exposition::parse(&format!("a{{{labels}"));
        }

        #[test]
        fn what_prometheus_writes_is_read_back(value in any::<u32>(), label in "[^\r]{0,20}") {
            let escaped = label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            // Other ends of lines than the newline are text of a label to Prometheus, and are in no label of an agent's.
            prop_assume!(!label.chars().any(|c| c.is_control() && c != '\n'));
            let page = Exposition::parse(&format!("m{{l=\"{escaped}\"}} {value}"));
            prop_assert_eq!(page.sum("m", &[("l", &label)]), Some(f64::from(value)));
        }
    }
}
