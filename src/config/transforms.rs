//! The meaning of `transforms`: what each item is written as, and what is made of it. What a transform does to an event is in `transform.rs`.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::limits::{Range, Share, Size, Time};
use super::mask::quoted;
use super::problem::{did_you_mean, listed};
use super::raw::Amount;
use super::resolve::Resolver;
use crate::transform::{
    Arrays, Condition, Dedupe, Flatten, Glob, Metric, MetricKind, MetricParts, Name, Nest, Nested, Preset, RateLimit,
    Redact, Remove, Rename, Sample, Set, Setting, Text, Transform, Truncate, With,
};

/// The part of events that is kept. A millionth is finer than anybody's statistics.
const RATE: Range<Share> = Range { min: Share(0.000_001), default: Share(0.1), max: Share(1.0) };

/// Events of a rate limit. More than the largest is no limit.
const EVENTS: Range<u64> = Range { min: 1, default: 100, max: 100_000_000 };

/// The time of a rate limit.
const PER: Range<Time> = Range { min: millis(1), default: millis(1000), max: millis(24 * 3_600_000) };

/// Levels that are flattened.
const MAX_DEPTH: Range<u64> = Range { min: 1, default: 8, max: 64 };

/// Bytes of a value. The smallest has room for what shows that it was cut.
const BYTES: Range<Size> = Range { min: Size(4), default: Size(1000), max: Size(10 * 1024 * 1024) };

/// How long an event is a repeat of another one.
const WITHIN: Range<Time> = Range { min: millis(1), default: millis(5000), max: millis(24 * 3_600_000) };

/// Series of a metric, each of which takes some hundred bytes here and more where it is stored.
const MAX_SERIES: Range<u64> = Range { min: 1, default: 100, max: 100_000 };

/// Upper ends of a histogram, unless others are named: those of Prometheus' own libraries, for seconds.
const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Upper ends that a histogram may have.
const MAX_BUCKETS: usize = 100;

/// Labels that a metric may have.
const MAX_LABELS: usize = 16;

/// Bytes of a separator.
const MAX_SEPARATOR_BYTES: usize = 8;

/// What a salt has to have to be none that is guessed.
const MIN_SALT_BYTES: usize = 8;

/// What the agent's own metrics begin with.
const OWN_METRICS: &str = "kinetail_";

const CONDITION: &str = "a condition, such as status >= 500 and not path matches \"^/health\"";
const TEMPLATE: &str = "a template, such as \"{user_id}\"";
const NAMES: &str = "a list of fields' names";

const fn millis(millis: u64) -> Time {
    Time(Duration::from_millis(millis))
}

/// One thing that is done with events: a mapping of one key.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTransform {
    /// Events for which the condition does not hold are dropped. (Vector: `filter`; Fluent Bit: `grep`.)
    #[schemars(extend("x-allowed" = CONDITION))]
    pub(super) keep: Option<String>,
    /// Events for which the condition holds are dropped. (Fluent Bit: `grep`.)
    #[schemars(extend("x-allowed" = CONDITION))]
    pub(super) drop: Option<String>,
    /// A part of the events is kept, and says in `sample_rate` which part that is. (Vector: `sample`.)
    pub(super) sample: Option<RawSample>,
    /// So many events in a time are kept. (Vector: `throttle`; Fluent Bit: `throttle`.)
    pub(super) rate_limit: Option<RawRateLimit>,
    /// Fields get other names: old ones with new ones. They are renamed in the order of the old names. (Fluent Bit: `modify`.)
    #[schemars(extend("x-allowed" = "a mapping of old names and new ones, such as msg: message"))]
    pub(super) rename: Option<BTreeMap<String, String>>,
    /// Fields are removed; a star stands for any characters of a name. (Fluent Bit: `record_modifier`.)
    #[schemars(extend("x-allowed" = "a list of fields' names, such as debug or tmp_*"))]
    pub(super) remove: Option<Vec<String>>,
    /// Fields get values: fixed ones of any kind, or templates; `"{a}"` alone is the value of `a` with its kind. They are set in the order of
    /// their names. (Vector: `remap`; Fluent Bit: `record_modifier`.)
    #[schemars(extend("x-allowed" = "a mapping of names and values, such as greeting: \"hello {user|'nobody'}\""))]
    pub(super) set: Option<BTreeMap<String, Value>>,
    /// Nested objects become fields with dotted names. (Fluent Bit: `nest` with `lift`.)
    pub(super) flatten: Option<RawFlatten>,
    /// Fields become members of an object. (Fluent Bit: `nest`.)
    pub(super) nest: Option<RawNest>,
    /// Secrets are covered. (Vector: `redact`.)
    pub(super) redact: Option<RawRedact>,
    /// Values that are too long lose their ends; `message_truncated` says how long `message` was. (Vector: `truncate`.)
    pub(super) truncate: Option<RawTruncate>,
    /// Repeats of an event, one after the other in a file, are left out; the next event says in `repeats_dropped` how many. (Vector: `dedupe`.)
    pub(super) dedupe: Option<RawDedupe>,
    /// A metric is made of what events say. (Vector: `log_to_metric`; Fluent Bit: `log_to_metrics`.)
    pub(super) metric: Option<RawMetric>,
    /// The text of a field is parsed, and its fields take its place. (Fluent Bit: `parser`.)
    #[schemars(extend("x-allowed" = "a mapping of field and as, such as {field: log, as: json}"))]
    pub(super) parse: Option<Value>,
}

/// A part of the events.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSample {
    /// The part that is kept. Required in `sample`. A number. (Vector: `rate`.)
    #[schemars(with = "Option<f64>", extend("x-allowed" = RATE.allowed()))]
    pub(super) rate: Option<Amount>,
    /// What decides: all events of a key are kept, or none; without it, chance does. (Vector: `key_field`.)
    #[schemars(extend("x-allowed" = TEMPLATE))]
    pub(super) key: Option<String>,
    /// Which events it is for; others are kept.
    #[schemars(extend("x-allowed" = CONDITION))]
    pub(super) when: Option<String>,
}

/// So many events in a time.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRateLimit {
    /// How many events are kept. Required in `rate_limit`. A whole number. (Vector: `threshold`.)
    #[schemars(with = "Option<u64>", extend("x-allowed" = EVENTS.allowed()))]
    pub(super) events: Option<Amount>,
    /// In which time. A time. (Vector: `window_secs`.)
    #[schemars(extend("default" = PER.default.to_string(), "x-allowed" = PER.allowed()))]
    pub(super) per: Option<Amount>,
    /// What has a limit of its own; without it, all events share one. (Vector: `key_field`.)
    #[schemars(extend("x-allowed" = TEMPLATE))]
    pub(super) key: Option<String>,
    /// Which events it is for; others are kept.
    #[schemars(extend("x-allowed" = CONDITION))]
    pub(super) when: Option<String>,
}

/// Nested objects to fields.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFlatten {
    /// What stands between the names.
    #[schemars(extend("default" = ".", "x-allowed" = format!("text of 1 to {MAX_SEPARATOR_BYTES} bytes")))]
    pub(super) separator: Option<String>,
    /// What happens to arrays: `keep` leaves them as they are, `index` makes a field of each element, numbered from 0.
    #[schemars(extend("default" = RawArrays::Keep))]
    pub(super) arrays: Option<RawArrays>,
    /// What is nested deeper stays nested. A whole number.
    #[schemars(with = "Option<u64>", extend("default" = MAX_DEPTH.default, "x-allowed" = MAX_DEPTH.allowed()))]
    pub(super) max_depth: Option<Amount>,
    /// Only these fields; by default all.
    #[schemars(extend("x-allowed" = NAMES))]
    pub(super) fields: Option<Vec<String>>,
}

/// What happens to arrays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawArrays {
    /// They stay as they are.
    Keep,
    /// Their elements become fields.
    Index,
}

/// Fields to members of an object.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawNest {
    /// The object's name. Required in `nest`. (Fluent Bit: `Nest_under`.)
    #[schemars(extend("x-allowed" = "a field's name"))]
    pub(super) under: Option<String>,
    /// What goes there. Required in `nest`. (Fluent Bit: `Wildcard`.)
    #[schemars(extend("x-allowed" = NAMES))]
    pub(super) fields: Option<Vec<String>>,
}

/// Secrets that are covered.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRedact {
    /// Kinds of secrets that are found wherever they stand. (Vector: `filters`.)
    #[schemars(extend("x-allowed" = format!("a list of {}", listed(Preset::ALL.map(|(name, _)| name)))))]
    pub(super) presets: Option<Vec<String>>,
    /// Others, as regular expressions in the syntax of Rust's regex crate. (Vector: `filters`.)
    #[schemars(extend("x-allowed" = "a list of regular expressions"))]
    pub(super) patterns: Option<Vec<String>>,
    /// Fields that are covered whatever they hold: names at any depth, or paths with dots; a star stands for any characters.
    #[schemars(extend("x-allowed" = "a list of fields' names, such as password or user.*"))]
    pub(super) fields: Option<Vec<String>>,
    /// What stands in the place of a secret: `mask` a fixed text, `hash` a keyed hash, the same for the same secret, `remove` nothing.
    /// (Vector: `redactor`.)
    #[schemars(extend("default" = RawWith::Mask))]
    pub(super) with: Option<RawWith>,
    /// The text of `with: mask`.
    #[schemars(extend(
        "default" = With::MASK, "x-allowed" = format!("up to {} characters of ASCII without quotes and backslashes", With::MAX_MASK_BYTES)
    ))]
    pub(super) mask: Option<String>,
    /// The key of `with: hash`, which is required for it.
    #[schemars(extend("x-allowed" = format!("text of {MIN_SALT_BYTES} bytes or more that nobody else knows")))]
    pub(super) salt: Option<String>,
}

/// What stands in the place of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawWith {
    /// A fixed text.
    Mask,
    /// A keyed hash.
    Hash,
    /// Nothing.
    Remove,
}

/// The longest that values may be.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTruncate {
    /// Which values; by default all at the top.
    #[schemars(extend("x-allowed" = NAMES))]
    pub(super) fields: Option<Vec<String>>,
    /// How long they may be. Required in `truncate`. A size. (Vector: `limit`.)
    #[schemars(extend("x-allowed" = BYTES.allowed()))]
    pub(super) bytes: Option<Amount>,
}

/// Repeats that are left out.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDedupe {
    /// What repeats have in common. Required in `dedupe`. (Vector: `fields.match`.)
    #[schemars(extend("x-allowed" = NAMES))]
    pub(super) fields: Option<Vec<String>>,
    /// How long after the event that was let through. A time. (Vector: `time_settings`.)
    #[schemars(extend("default" = WITHIN.default.to_string(), "x-allowed" = WITHIN.allowed()))]
    pub(super) within: Option<Amount>,
}

/// A metric that is made of events.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawMetric {
    /// The metric's name. Required in `metric`. (Fluent Bit: `metric_name`.)
    #[schemars(extend("x-allowed" = "letters, digits, \"_\" and \":\", such as orders_created_total; not beginning with kinetail_"))]
    pub(super) name: Option<String>,
    /// What it means, for those who look at it. (Fluent Bit: `metric_description`.)
    pub(super) help: Option<String>,
    /// What it is: `counter` a sum, `histogram` how values are spread. (Fluent Bit: `metric_mode`.)
    #[schemars(extend("default" = RawMetricType::Counter))]
    #[serde(rename = "type")]
    pub(super) kind: Option<RawMetricType>,
    /// An event's number; by default each event counts 1. Required for a histogram. (Fluent Bit: `value_field`; Vector: `field`.)
    #[schemars(extend("x-allowed" = "a template of a number, such as \"{amount}\""))]
    pub(super) value: Option<String>,
    /// Labels: names and templates of their values. (Fluent Bit: `label_field`; Vector: `tags`.)
    #[schemars(extend("x-allowed" = "a mapping of names and templates, such as type: \"{type}\""))]
    pub(super) labels: Option<BTreeMap<String, String>>,
    /// Which events it is for.
    #[schemars(extend("x-allowed" = CONDITION))]
    pub(super) when: Option<String>,
    /// How many different labels it may have; the rest is one series, whose labels are `_other`. A whole number.
    #[schemars(with = "Option<u64>", extend("default" = MAX_SERIES.default, "x-allowed" = MAX_SERIES.allowed()))]
    pub(super) max_series: Option<Amount>,
    /// The upper ends of a histogram's buckets, rising. (Fluent Bit: `bucket`.)
    #[schemars(with = "Option<Vec<f64>>", extend("default" = BUCKETS, "x-allowed" = "a list of rising numbers"))]
    pub(super) buckets: Option<Vec<Value>>,
}

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawMetricType {
    /// A sum.
    Counter,
    /// How values are spread.
    Histogram,
}

impl RawTransform {
    /// The keys that are there.
    fn given(&self) -> Vec<&'static str> {
        let all = [
            ("keep", self.keep.is_some()),
            ("drop", self.drop.is_some()),
            ("sample", self.sample.is_some()),
            ("rate_limit", self.rate_limit.is_some()),
            ("rename", self.rename.is_some()),
            ("remove", self.remove.is_some()),
            ("set", self.set.is_some()),
            ("flatten", self.flatten.is_some()),
            ("nest", self.nest.is_some()),
            ("redact", self.redact.is_some()),
            ("truncate", self.truncate.is_some()),
            ("dedupe", self.dedupe.is_some()),
            ("metric", self.metric.is_some()),
            ("parse", self.parse.is_some()),
        ];
        all.into_iter().filter(|(_, is_there)| *is_there).map(|(name, _)| name).collect()
    }
}

impl Resolver<'_> {
    /// The transforms of a source. Whoever has the parsers makes what parses a field, and reports what is wrong with it.
    pub(super) fn transforms(
        &mut self,
        path: &str,
        raw: Vec<RawTransform>,
        parse: &mut dyn FnMut(&mut Self, &str, &Value) -> Option<Nested>,
    ) -> Vec<Transform> {
        let mut transforms = Vec::new();
        let mut metrics: BTreeMap<String, usize> = BTreeMap::new();
        for (index, raw) in raw.into_iter().enumerate() {
            let item = format!("{path}[{index}]");
            let given = raw.given();
            let [key] = given[..] else {
                self.not_one(&item, &given);
                continue;
            };
            if let Some(name) = raw.metric.as_ref().and_then(|metric| metric.name.clone()) {
                if let Some(first) = metrics.get(&name) {
                    let message = format!("{} is the name of {path}[{first}] too; give each its own", quoted(&name));
                    self.report(&format!("{item}.metric.name"), message);
                }
                metrics.entry(name).or_insert(index);
            }
            transforms.extend(self.transform(&format!("{item}.{key}"), raw, parse));
        }
        transforms
    }

    /// An item that is nothing, or several things at once.
    fn not_one(&mut self, path: &str, given: &[&str]) {
        if given.is_empty() {
            if !self.is_bad(path) && !self.has_bad_part(path) {
                let all = "keep, drop, sample, rate_limit, rename, remove, set, flatten, nest, redact, truncate, dedupe, metric, parse";
                self.report(path, format!("says nothing; write one of {all}, such as flatten: {{}}"));
            }
        } else {
            let message = format!(
                "has {} in one item; write each as an item of its own, in the order in which they are done",
                given.join(" and ")
            );
            self.report(path, message);
        }
    }

    fn transform(
        &mut self,
        path: &str,
        raw: RawTransform,
        parse: &mut dyn FnMut(&mut Self, &str, &Value) -> Option<Nested>,
    ) -> Option<Transform> {
        let RawTransform { keep, drop, sample, rate_limit, rename, remove, set, flatten, nest, .. } = raw;
        if let Some(text) = keep {
            return self.condition(path, Some(text))?.map(Transform::Keep);
        }
        if let Some(text) = drop {
            return self.condition(path, Some(text))?.map(Transform::Drop);
        }
        if let Some(raw) = sample {
            return self.sample(path, raw);
        }
        if let Some(raw) = rate_limit {
            return self.rate_limit(path, raw);
        }
        if let Some(raw) = rename {
            return self.rename(path, &raw);
        }
        if let Some(raw) = remove {
            return self.remove(path, &raw);
        }
        if let Some(raw) = set {
            return self.set(path, &raw);
        }
        if let Some(raw) = flatten {
            return self.flatten(path, raw);
        }
        if let Some(raw) = nest {
            return self.nest(path, raw);
        }
        if let Some(raw) = raw.redact {
            return self.redact(path, raw);
        }
        if let Some(raw) = raw.truncate {
            return self.truncate(path, raw);
        }
        if let Some(raw) = raw.dedupe {
            return self.dedupe(path, raw);
        }
        if let Some(raw) = raw.metric {
            return self.metric(path, raw);
        }
        raw.parse.and_then(|raw| parse(self, path, &raw)).map(Transform::Parse)
    }

    /// A condition, if one is given; nothing at all if it is none.
    #[expect(clippy::option_option, reason = "one that is not given is not one that is wrong")]
    fn condition(&mut self, path: &str, text: Option<String>) -> Option<Option<Condition>> {
        let Some(text) = text else { return Some(None) };
        match Condition::parse(&text) {
            Ok(condition) => Some(Some(condition)),
            Err(error) => {
                self.report(path, format!("{} is not a condition: {error}", quoted(&text)));
                None
            }
        }
    }

    /// The same of a template.
    #[expect(clippy::option_option, reason = "one that is not given is not one that is wrong")]
    fn text(&mut self, path: &str, text: Option<String>) -> Option<Option<Text>> {
        let Some(text) = text else { return Some(None) };
        match Text::parse(&text) {
            Ok(template) => Some(Some(template)),
            Err(error) => {
                self.report(path, format!("{} is not a template: {error}", quoted(&text)));
                None
            }
        }
    }

    fn name(&mut self, path: &str, text: &str) -> Option<Name> {
        match Name::parse(text) {
            Ok(name) => Some(name),
            Err(_) if self.is_bad(path) => None,
            Err(error) => {
                self.report(path, error.to_string());
                None
            }
        }
    }

    fn names_of(&mut self, path: &str, raw: &[String]) -> Option<Vec<Name>> {
        let names: Vec<Option<Name>> =
            raw.iter().enumerate().map(|(index, text)| self.name(&format!("{path}[{index}]"), text)).collect();
        names.into_iter().collect()
    }

    /// Names that have to be there.
    fn some_names(&mut self, path: &str, raw: Option<Vec<String>>) -> Option<Vec<Name>> {
        let names = raw.unwrap_or_default();
        if names.is_empty() {
            self.required(path, "name the fields, as a list");
            return None;
        }
        self.names_of(path, &names)
    }

    fn sample(&mut self, path: &str, raw: RawSample) -> Option<Transform> {
        let rate_path = format!("{path}.rate");
        if raw.rate.is_none() {
            self.required(&rate_path, "write the part that is kept, such as 0.1");
        }
        let rate = self.amount(&rate_path, raw.rate, &RATE);
        let key = self.text(&format!("{path}.key"), raw.key);
        let when = self.condition(&format!("{path}.when"), raw.when);
        Some(Transform::Sample(Sample::new(rate.0, key?, when?)))
    }

    fn rate_limit(&mut self, path: &str, raw: RawRateLimit) -> Option<Transform> {
        let events_path = format!("{path}.events");
        if raw.events.is_none() {
            self.required(&events_path, "write how many events are kept, such as 100");
        }
        let events = self.amount(&events_path, raw.events, &EVENTS);
        let per = self.amount(&format!("{path}.per"), raw.per, &PER).0;
        let key = self.text(&format!("{path}.key"), raw.key);
        let when = self.condition(&format!("{path}.when"), raw.when);
        Some(Transform::RateLimit(RateLimit::new(events, per, key?, when?)))
    }

    fn rename(&mut self, path: &str, raw: &BTreeMap<String, String>) -> Option<Transform> {
        if raw.is_empty() {
            self.required(path, "write old names with new ones, such as {msg: message}");
        }
        let mut names = Vec::new();
        for (old, new) in raw {
            let item = format!("{path}.{old}");
            names.push(self.name(&item, old).zip(self.name(&item, new))?);
        }
        Some(Transform::Rename(Rename::new(names)))
    }

    fn remove(&mut self, path: &str, raw: &[String]) -> Option<Transform> {
        if raw.is_empty() {
            self.required(path, "name the fields, as a list");
        }
        let (mut names, mut globs) = (Vec::new(), Vec::new());
        for (index, text) in raw.iter().enumerate() {
            if text.contains('*') {
                globs.push(Glob::new(text));
            } else {
                names.push(self.name(&format!("{path}[{index}]"), text)?);
            }
        }
        Some(Transform::Remove(Remove::new(names, globs)))
    }

    fn set(&mut self, path: &str, raw: &BTreeMap<String, Value>) -> Option<Transform> {
        if raw.is_empty() {
            self.required(path, "write names and values, such as {env: prod}");
        }
        let mut fields = Vec::new();
        for (name, value) in raw {
            let item = format!("{path}.{name}");
            let name = self.name(&item, name)?;
            match Setting::of(value) {
                Ok(setting) => fields.push((name, setting)),
                Err(error) => {
                    let shown = value.as_str().map_or_else(String::new, quoted);
                    self.report(&item, format!("{shown} is not a template: {error}"));
                    return None;
                }
            }
        }
        Some(Transform::Set(Set::new(fields)))
    }

    fn flatten(&mut self, path: &str, raw: RawFlatten) -> Option<Transform> {
        let separator = raw.separator.unwrap_or_else(|| ".".to_owned());
        if separator.is_empty() || separator.len() > MAX_SEPARATOR_BYTES {
            let message = format!("{} is no separator; allowed: 1 to {MAX_SEPARATOR_BYTES} bytes", quoted(&separator));
            self.report(&format!("{path}.separator"), message);
        }
        let arrays = match raw.arrays.unwrap_or(RawArrays::Keep) {
            RawArrays::Keep => Arrays::Keep,
            RawArrays::Index => Arrays::Index,
        };
        let depth = self.amount(&format!("{path}.max_depth"), raw.max_depth, &MAX_DEPTH);
        let fields = self.names_of(&format!("{path}.fields"), &raw.fields.unwrap_or_default())?;
        Some(Transform::Flatten(Flatten::new(separator, arrays, usize::try_from(depth).unwrap_or(usize::MAX), fields)))
    }

    fn nest(&mut self, path: &str, raw: RawNest) -> Option<Transform> {
        let under_path = format!("{path}.under");
        if raw.under.is_none() {
            self.required(&under_path, "name the object");
        }
        let under = raw.under.and_then(|text| self.name(&under_path, &text));
        let fields = self.some_names(&format!("{path}.fields"), raw.fields);
        Some(Transform::Nest(Nest::new(under?, fields?)))
    }

    fn redact(&mut self, path: &str, raw: RawRedact) -> Option<Transform> {
        let mut presets = Vec::new();
        for (index, name) in raw.presets.iter().flatten().enumerate() {
            let item = format!("{path}.presets[{index}]");
            if let Some((_, preset)) = Preset::ALL.iter().find(|(known, _)| known == name) {
                presets.push(*preset);
            } else if !self.is_bad(&item) {
                let known = Preset::ALL.map(|(known, _)| known);
                let (list, hint) = (listed(known), did_you_mean(name, known));
                self.report(&item, format!("{} is not one of {list}{hint}", quoted(name)));
            }
        }
        let (patterns, fields) = (raw.patterns.unwrap_or_default(), raw.fields.unwrap_or_default());
        let says_nothing = raw.presets.as_ref().is_none_or(Vec::is_empty) && patterns.is_empty() && fields.is_empty();
        if says_nothing && !self.is_bad(path) && !self.has_bad_part(path) {
            self.report(path, "hides nothing; name presets, patterns or fields".to_owned());
        }
        for (kind, list) in [("patterns", &patterns), ("fields", &fields)] {
            for index in list.iter().enumerate().filter(|(_, text)| text.is_empty()).map(|(index, _)| index) {
                let item = format!("{path}.{kind}[{index}]");
                if !self.is_bad(&item) {
                    self.report(&item, "is empty; write it, or remove the item".to_owned());
                }
            }
        }
        let with = self.with(path, raw.with.unwrap_or(RawWith::Mask), raw.mask, raw.salt)?;
        let fields = fields.iter().map(|text| Glob::new(text)).collect();
        match Redact::new(&presets, &patterns, fields, with) {
            Ok(redact) => Some(Transform::Redact(Box::new(redact))),
            Err(error) => {
                let pattern = patterns.get(error.index).map_or_else(String::new, |pattern| quoted(pattern));
                let message = format!("{pattern} is not a regular expression: {}", error.why);
                self.report(&format!("{path}.patterns[{}]", error.index), message);
                None
            }
        }
    }

    fn with(&mut self, path: &str, with: RawWith, mask: Option<String>, salt: Option<String>) -> Option<With> {
        if mask.is_some() && with != RawWith::Mask {
            self.report(&format!("{path}.mask"), "goes with with: mask alone; remove one of them".to_owned());
        }
        let salt_path = format!("{path}.salt");
        if salt.is_some() && with != RawWith::Hash {
            self.report(&salt_path, "goes with with: hash alone; remove it, or write with: hash".to_owned());
        }
        match with {
            RawWith::Remove => Some(With::Remove),
            RawWith::Mask => {
                let mask = mask.unwrap_or_else(|| With::MASK.to_owned());
                if With::is_mask(&mask) {
                    return Some(With::Mask(mask));
                }
                let most = With::MAX_MASK_BYTES;
                let message = format!(
                    "{} does not fit into every text; allowed: up to {most} characters of ASCII without quotes and backslashes",
                    quoted(&mask)
                );
                self.report(&format!("{path}.mask"), message);
                None
            }
            RawWith::Hash => {
                let Some(salt) = salt else {
                    self.required(&salt_path, "without it, whoever sees a hash finds the secret by trying");
                    return None;
                };
                if salt.len() < MIN_SALT_BYTES {
                    let message =
                        format!("has {} bytes, which can be guessed; allowed: {MIN_SALT_BYTES} or more", salt.len());
                    self.report(&salt_path, message);
                }
                Some(With::Hash { salt })
            }
        }
    }

    fn truncate(&mut self, path: &str, raw: RawTruncate) -> Option<Transform> {
        let bytes_path = format!("{path}.bytes");
        if raw.bytes.is_none() {
            self.required(&bytes_path, "write how long values may be, such as 1000");
        }
        let bytes = self.size(&bytes_path, raw.bytes, &BYTES);
        let fields = self.names_of(&format!("{path}.fields"), &raw.fields.unwrap_or_default())?;
        Some(Transform::Truncate(Truncate::new(fields, bytes)))
    }

    fn dedupe(&mut self, path: &str, raw: RawDedupe) -> Option<Transform> {
        let within = self.amount(&format!("{path}.within"), raw.within, &WITHIN).0;
        let fields = self.some_names(&format!("{path}.fields"), raw.fields)?;
        Some(Transform::Dedupe(Dedupe::new(fields, within)))
    }

    fn metric(&mut self, path: &str, raw: RawMetric) -> Option<Transform> {
        let name = self.metric_name(&format!("{path}.name"), raw.name);
        let is_histogram = raw.kind == Some(RawMetricType::Histogram);
        if is_histogram && raw.value.is_none() {
            self.required(
                &format!("{path}.value"),
                "a histogram is of numbers; write where they are, such as \"{seconds}\"",
            );
        }
        if !is_histogram && raw.buckets.is_some() {
            let message = "goes with type: histogram alone; remove it, or write type: histogram".to_owned();
            self.report(&format!("{path}.buckets"), message);
        }
        let buckets = self.buckets(&format!("{path}.buckets"), raw.buckets);
        let value = self.text(&format!("{path}.value"), raw.value);
        let labels = self.labels(&format!("{path}.labels"), raw.labels.unwrap_or_default(), is_histogram);
        let when = self.condition(&format!("{path}.when"), raw.when);
        let max_series = self.amount(&format!("{path}.max_series"), raw.max_series, &MAX_SERIES);
        Some(Transform::Metric(Metric::new(MetricParts {
            name: name?,
            help: raw.help.unwrap_or_else(|| "Derived from events.".to_owned()),
            kind: if is_histogram { MetricKind::Histogram(buckets) } else { MetricKind::Counter },
            value: value?,
            labels: labels?,
            when: when?,
            max_series: usize::try_from(max_series).unwrap_or(usize::MAX),
        })))
    }

    fn metric_name(&mut self, path: &str, name: Option<String>) -> Option<String> {
        let Some(name) = name else {
            self.required(path, "give the metric a name, such as orders_created_total");
            return None;
        };
        if name.starts_with(OWN_METRICS) {
            let message = format!("{} could be one of the agent's own; begin it with something else", quoted(&name));
            self.report(path, message);
        } else if !is_metric_name(&name, true) {
            let allowed = "letters, digits, \"_\" and \":\", and no digit first";
            self.report(path, format!("{} is not a metric's name; allowed: {allowed}", quoted(&name)));
        } else {
            return Some(name);
        }
        None
    }

    fn labels(&mut self, path: &str, raw: BTreeMap<String, String>, is_histogram: bool) -> Option<Vec<(String, Text)>> {
        if raw.len() > MAX_LABELS {
            self.report(path, format!("has {} labels; allowed: up to {MAX_LABELS}", raw.len()));
            return None;
        }
        let mut labels = Vec::new();
        for (name, template) in raw {
            let item = format!("{path}.{name}");
            // `le` is where a histogram's buckets say their ends, and two lines begin what belongs to Prometheus.
            let is_taken = name.starts_with("__") || is_histogram && name == "le";
            if is_taken || !is_metric_name(&name, false) {
                let allowed = "letters, digits and \"_\", no digit first, no \"__\" first, and not le of a histogram";
                self.report(&item, format!("{} is not a label's name; allowed: {allowed}", quoted(&name)));
                return None;
            }
            labels.push((name, self.text(&item, Some(template))??));
        }
        Some(labels)
    }

    fn buckets(&mut self, path: &str, raw: Option<Vec<Value>>) -> Vec<f64> {
        let Some(raw) = raw else { return BUCKETS.to_vec() };
        let ends: Vec<f64> = raw.iter().filter_map(Value::as_f64).collect();
        let is_rising = ends.windows(2).all(|pair| pair[0] < pair[1]);
        if (!is_rising || ends.is_empty() || ends.len() > MAX_BUCKETS) && !self.is_bad(path) && ends.len() == raw.len()
        {
            self.report(path, format!("is not a list of 1 to {MAX_BUCKETS} rising numbers, such as [0.1, 1, 10]"));
        }
        ends
    }
}

fn is_metric_name(name: &str, takes_colons: bool) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || (takes_colons && c == ':');
    name.chars().all(is_allowed) && name.chars().next().is_some_and(|c| !c.is_ascii_digit())
}

#[cfg(test)]
mod tests;
