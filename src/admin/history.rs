//! The last quarter of an hour of what the status page has charts of, sampled from the gathered metrics into rings of fixed size. How many series
//! there are is bounded: of shards only the busiest are followed. It is told the time.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use prometheus::proto::Histogram;
use tokio::time::Instant;

use crate::metrics::gathered::Gathered;

/// How often it is sampled.
pub const INTERVAL: Duration = Duration::from_secs(5);
/// Points of a series: a quarter of an hour.
pub const POINTS: usize = 180;
/// Points that "now" is the average of: half a minute, in which a sender that waits between two tries has been seen at both.
pub const RECENT: usize = 6;
/// Sources with charts. A series takes 720 bytes, and all there can be 350 KB.
const MAX_SOURCES: usize = 48;
/// Streams with charts: as many as there may be by default.
const MAX_STREAMS: usize = 16;
/// Shards with charts.
pub const MAX_SHARDS: usize = 32;
/// Shards that are compared by how busy they are, so that the busiest have the charts; those beyond are only counted.
const MAX_COMPARED: usize = 2048;
/// A shard has to be so much busier than the least busy one that is followed to take its place, or two of a kind would take turns.
const BUSIER: f64 = 1.5;
/// Bytes that a refused record counts for how busy a shard is: a full aggregate.
const REFUSED_BYTES: f64 = 50.0 * 1024.0;

/// The last points of a series; one without a value is not a number.
#[derive(Debug, Clone)]
pub struct Ring {
    points: Box<[f32; POINTS]>,
    next: usize,
    len: usize,
}

impl Default for Ring {
    fn default() -> Self {
        Self { points: Box::new([f32::NAN; POINTS]), next: 0, len: 0 }
    }
}

impl Ring {
    #[expect(clippy::cast_possible_truncation, reason = "a chart shows three digits")]
    fn push(&mut self, value: f64) {
        self.points[self.next] = value as f32;
        self.next = (self.next + 1) % POINTS;
        self.len = (self.len + 1).min(POINTS);
    }

    /// The points, the oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = f64> {
        let start = self.next + POINTS - self.len;
        (0..self.len).map(move |at| f64::from(self.points[(start + at) % POINTS]))
    }

    /// The last point that has a value.
    pub fn last(&self) -> Option<f64> {
        self.iter().rev().find(|value| !value.is_nan())
    }

    /// The average of the last points.
    pub fn recent(&self) -> Option<f64> {
        let (mut sum, mut count) = (0.0, 0.0);
        for value in self.iter().rev().take(RECENT).filter(|value| !value.is_nan()) {
            sum += value;
            count += 1.0;
        }
        (count > 0.0).then(|| sum / count)
    }

    /// The highest point.
    pub fn highest(&self) -> Option<f64> {
        self.iter().filter(|value| !value.is_nan()).max_by(f64::total_cmp)
    }
}

/// A counter, as its rate a second.
#[derive(Debug, Clone, Default)]
pub struct Rate {
    total: Count,
    /// Rates.
    pub ring: Ring,
}

impl Rate {
    /// Notes the counter's value `seconds` after the last time. Answers by how much it grew.
    fn note(&mut self, total: f64, seconds: f64) -> f64 {
        let grown = self.total.grow(total);
        self.ring.push(grown / seconds);
        grown
    }
}

/// A counter. A series begins when something is counted for the first time: that it was nothing before is known.
#[derive(Debug, Clone, Copy, Default)]
struct Count(f64);

impl Count {
    /// By how much it grew since the last time.
    fn grow(&mut self, total: f64) -> f64 {
        (total - std::mem::replace(&mut self.0, total)).max(0.0)
    }
}

/// Buckets of a histogram at some moment.
#[derive(Debug, Clone, Default)]
struct Buckets(Vec<(f64, u64)>);

impl Buckets {
    fn add(&mut self, histogram: &Histogram) {
        let bounds = histogram.get_bucket().iter().map(|b| (b.upper_bound(), b.cumulative_count()));
        let all = bounds.filter(|(bound, _)| bound.is_finite()).chain([(f64::INFINITY, histogram.get_sample_count())]);
        for (index, (bound, count)) in all.enumerate() {
            match self.0.get_mut(index) {
                Some((_, sum)) => *sum += count,
                None => self.0.push((bound, count)),
            }
        }
    }

    /// The value below which a part of what came since `before` lies, as Prometheus estimates it: evenly spread within a bucket, and in the last
    /// one at its lower bound.
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    fn quantile(&self, before: &Self, part: f64) -> Option<f64> {
        let since = |index: usize, count: u64| count.saturating_sub(before.0.get(index).map_or(0, |(_, count)| *count));
        let total = self.0.last().map(|(_, count)| since(self.0.len() - 1, *count)).filter(|total| *total > 0)?;
        let wanted = part * total as f64;
        let (mut lower, mut below) = (0.0, 0.0);
        for (index, (bound, count)) in self.0.iter().enumerate() {
            let count = since(index, *count) as f64;
            if count >= wanted && count > below {
                return Some(if bound.is_finite() {
                    lower + (bound - lower) * (wanted - below) / (count - below)
                } else {
                    lower
                });
            }
            (lower, below) = (*bound, count);
        }
        None
    }
}

/// Of the agent as a whole.
#[derive(Debug, Default)]
pub struct Whole {
    /// Bytes read a second.
    pub read: Rate,
    /// Events made a second.
    pub events: Rate,
    /// Events delivered a second.
    pub delivered: Rate,
    /// Events dropped a second.
    pub dropped: Rate,
    /// Bytes not read yet.
    pub backlog: Ring,
    /// Seconds that the source furthest behind is behind.
    pub behind: Ring,
    /// The part of what was sent that was refused.
    pub refused: Ring,
    /// The part of what was sent that a shard had no room for.
    pub throttled: Ring,
    /// Bytes of log data in memory.
    pub buffer: Ring,
    /// The part of the time that reading waited for memory.
    pub waited: Rate,
    /// Seconds from reading to the sequence number: half of the records.
    pub median: Ring,
    /// The same for 99 in a hundred.
    pub p99: Ring,
}

/// Of a source.
#[derive(Debug, Default)]
pub struct OfSource {
    /// Bytes read a second.
    pub read: Rate,
    /// Lines read a second.
    pub lines: Rate,
    /// Bytes not read yet.
    pub backlog: Ring,
}

/// Of a stream.
#[derive(Debug, Default)]
pub struct OfStream {
    /// Events delivered a second.
    pub delivered: Rate,
    /// Bytes stored a second.
    pub bytes: Rate,
    /// Records stored a second.
    pub records: Rate,
    /// Requests a second.
    pub requests: Rate,
    /// The part of the records that was refused.
    pub refused: Ring,
    all_refused: Count,
}

/// Of a shard.
#[derive(Debug, Default)]
pub struct OfShard {
    /// Bytes stored a second.
    pub bytes: Rate,
    /// The part of the records that it had no room for.
    pub throttled: Ring,
    /// What it is given: the learnt limit.
    pub limit: Ring,
    records: Count,
    refused: Count,
    /// How busy it is of late, in bytes a second.
    busy: f64,
}

/// Stream and shard.
pub type ShardKey = (String, String);

/// All of it.
#[derive(Debug, Default)]
pub struct History {
    sampled: Option<Instant>,
    /// The agent as a whole.
    pub whole: Whole,
    latency: Buckets,
    all_throttled: Count,
    /// Sources by name.
    pub sources: BTreeMap<String, OfSource>,
    /// Streams by name.
    pub streams: BTreeMap<String, OfStream>,
    /// The busiest shards.
    pub shards: BTreeMap<ShardKey, OfShard>,
    /// Shards that are not followed: what they had stored and refused, by the hash of their names.
    others: BTreeMap<u64, f64>,
    /// How many shards there are.
    pub shards_in_all: usize,
}

/// A part of a whole that may be nothing.
fn part(of: f64, whole: f64) -> f64 {
    if whole > 0.0 { of / whole } else { 0.0 }
}

/// What one sample says of a shard.
#[derive(Debug, Clone, Copy, Default)]
struct ShardSample {
    bytes: f64,
    records: f64,
    refused: f64,
    limit: Option<f64>,
}

impl ShardSample {
    fn busy(self) -> f64 {
        self.bytes + self.refused * REFUSED_BYTES
    }
}

impl History {
    /// Takes a sample. Called every [`INTERVAL`]; what was missed in between stays without a value.
    pub fn sample(&mut self, now: &Gathered, at: Instant) {
        let since = self.sampled.replace(at).map_or(INTERVAL, |before| at.saturating_duration_since(before));
        let seconds = since.as_secs_f64().max(0.001);
        let missed = (since.as_secs_f64() / INTERVAL.as_secs_f64()).round() - 1.0;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it stops at zero and at the largest"
        )]
        for _ in 0..POINTS.min(missed as usize) {
            self.each_ring(|ring| ring.push(f64::NAN));
        }
        self.sample_whole(now, seconds);
        self.sample_sources(now, seconds);
        self.sample_streams(now, seconds);
        self.sample_shards(now, seconds);
    }

    fn sample_whole(&mut self, now: &Gathered, seconds: f64) {
        let whole = &mut self.whole;
        whole.read.note(now.total("source_read_bytes_total"), seconds);
        whole.events.note(now.total("events_total"), seconds);
        whole.delivered.note(now.total("kinesis_user_records_total"), seconds);
        whole.dropped.note(now.total("dropped_events_total"), seconds);
        whole.waited.note(now.total("backpressure_seconds_total"), seconds);
        whole.backlog.push(now.total("source_backlog_bytes"));
        let behind = now.series("source_backlog_seconds").map(|series| series.value());
        whole.behind.push(behind.max_by(f64::total_cmp).unwrap_or(0.0));
        whole.buffer.push(now.total("buffer_bytes"));
        let mut latency = Buckets::default();
        now.series("delivery_latency_seconds").for_each(|series| latency.add(series.histogram()));
        whole.median.push(latency.quantile(&self.latency, 0.5).unwrap_or(f64::NAN));
        whole.p99.push(latency.quantile(&self.latency, 0.99).unwrap_or(f64::NAN));
        self.latency = latency;
    }

    fn sample_sources(&mut self, now: &Gathered, seconds: f64) {
        for series in now.series("source_backlog_bytes") {
            let name = series.label("source");
            if !self.sources.contains_key(name) && self.sources.len() == MAX_SOURCES {
                continue;
            }
            let source = self.sources.entry(name.to_owned()).or_default();
            source.read.note(now.total_of("source_read_bytes_total", "source", name), seconds);
            source.lines.note(now.total_of("source_read_lines_total", "source", name), seconds);
            source.backlog.push(series.value());
        }
    }

    fn sample_streams(&mut self, now: &Gathered, seconds: f64) {
        let (mut sent, mut lost) = (0.0, 0.0);
        // A stream that has taken nothing yet may have refused something.
        let names = now.series("kinesis_requests_total").chain(now.series("kinesis_shards"));
        let names: BTreeSet<&str> = names.map(|series| series.label("stream")).collect();
        for name in names {
            if !self.streams.contains_key(name) && self.streams.len() == MAX_STREAMS {
                continue;
            }
            let stream = self.streams.entry(name.to_owned()).or_default();
            let of = |metric: &str| now.total_of(metric, "stream", name);
            stream.delivered.note(of("kinesis_user_records_total"), seconds);
            stream.bytes.note(of("kinesis_bytes_total"), seconds);
            stream.requests.note(of("kinesis_requests_total"), seconds);
            let stored = stream.records.note(of("kinesis_records_total"), seconds);
            let refused = stream.all_refused.grow(of("kinesis_record_errors_total"));
            stream.refused.push(part(refused, stored + refused));
            (sent, lost) = (sent + stored + refused, lost + refused);
        }
        let throttled = self.all_throttled.grow(now.total("kinesis_throttled_records_total"));
        self.whole.refused.push(part(lost, sent));
        self.whole.throttled.push(part(throttled, sent));
    }

    fn sample_shards(&mut self, now: &Gathered, seconds: f64) {
        let shards = shard_samples(now);
        self.shards_in_all = shards.len();
        self.shards.retain(|(stream, shard), _| shards.contains_key(&(stream.as_str(), shard.as_str())));
        let others = std::mem::take(&mut self.others);
        for ((stream, shard), sample) in shards {
            let key = (stream.to_owned(), shard.to_owned());
            if let Some(followed) = self.shards.get_mut(&key) {
                followed.note(sample, seconds);
                continue;
            }
            // What was not compared either may have stored anything before.
            let (hash, busy) = (hash(&key), sample.busy());
            let before = others.get(&hash).copied().or((others.len() == MAX_COMPARED).then_some(busy));
            let grown = (busy - before.unwrap_or(0.0)) / seconds;
            if self.make_room(grown) {
                let mut followed = OfShard { busy: grown, ..OfShard::default() };
                if before.is_some() {
                    followed.begin(sample);
                }
                followed.note(sample, seconds);
                self.shards.insert(key, followed);
            } else if self.others.len() < MAX_COMPARED {
                self.others.insert(hash, busy);
            }
        }
    }

    /// Whether there is room for a shard that is so busy, which may cost the least busy one its place.
    fn make_room(&mut self, busy: f64) -> bool {
        if self.shards.len() < MAX_SHARDS {
            return true;
        }
        let least = self.shards.iter().min_by(|a, b| a.1.busy.total_cmp(&b.1.busy));
        let Some((key, _)) = least.filter(|(_, least)| busy > least.busy * BUSIER) else { return false };
        let key = key.clone();
        self.shards.remove(&key);
        true
    }

    fn each_ring(&mut self, mut each: impl FnMut(&mut Ring)) {
        let Whole {
            read,
            events,
            delivered,
            dropped,
            backlog,
            behind,
            refused,
            throttled,
            buffer,
            waited,
            median,
            p99,
        } = &mut self.whole;
        for rate in [read, events, delivered, dropped, waited] {
            each(&mut rate.ring);
        }
        [backlog, behind, refused, throttled, buffer, median, p99].into_iter().for_each(&mut each);
        for OfSource { read, lines, backlog } in self.sources.values_mut() {
            [&mut read.ring, &mut lines.ring, backlog].into_iter().for_each(&mut each);
        }
        for OfStream { delivered, bytes, records, requests, refused, .. } in self.streams.values_mut() {
            for rate in [delivered, bytes, records, requests] {
                each(&mut rate.ring);
            }
            each(refused);
        }
        for OfShard { bytes, throttled, limit, .. } in self.shards.values_mut() {
            [&mut bytes.ring, throttled, limit].into_iter().for_each(&mut each);
        }
    }
}

impl OfShard {
    /// What was stored before it was followed is no rate of now.
    fn begin(&mut self, sample: ShardSample) {
        self.bytes.total.grow(sample.bytes);
        self.records.grow(sample.records);
        self.refused.grow(sample.refused);
    }

    fn note(&mut self, sample: ShardSample, seconds: f64) {
        let bytes = self.bytes.note(sample.bytes, seconds);
        let (stored, refused) = (self.records.grow(sample.records), self.refused.grow(sample.refused));
        self.throttled.push(part(refused, stored + refused));
        self.limit.push(sample.limit.unwrap_or(f64::NAN));
        // Forgets a half within a minute.
        self.busy += ((bytes + refused * REFUSED_BYTES) / seconds - self.busy) / 16.0;
    }
}

/// What the metrics say of each stream's shards.
fn shard_samples(now: &Gathered) -> BTreeMap<(&str, &str), ShardSample> {
    let mut shards: BTreeMap<_, ShardSample> = BTreeMap::new();
    let mut each = |name: &str, set: fn(&mut ShardSample, f64)| {
        for series in now.series(name) {
            set(shards.entry((series.label("stream"), series.label("shard"))).or_default(), series.value());
        }
    };
    each("kinesis_shard_bytes_total", |shard, bytes| shard.bytes = bytes);
    each("kinesis_shard_records_total", |shard, records| shard.records = records);
    each("kinesis_shard_rate_bytes", |shard, limit| shard.limit = Some(limit));
    // What refuses has a learnt limit, unless it is closed by now.
    for series in now.series("kinesis_throttled_records_total") {
        if let Some(shard) = shards.get_mut(&(series.label("stream"), series.label("shard"))) {
            shard.refused = series.value();
        }
    }
    shards
}

fn hash(key: &ShardKey) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "whole numbers and short fractions, which are exact")]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    /// Samples after each of these changes, five seconds apart.
    fn sampled(metrics: &Metrics, history: &mut History, times: usize, mut change: impl FnMut(usize)) {
        let start = history.sampled.map_or_else(Instant::now, |at| at + INTERVAL);
        for (step, at) in (0..times).map(|step| (step, start + INTERVAL * u32::try_from(step).unwrap())) {
            change(step);
            history.sample(&metrics.gather(), at);
        }
    }

    fn points(ring: &Ring) -> Vec<f64> {
        ring.iter().collect()
    }

    #[test]
    fn counters_become_rates_and_gauges_stay() {
        let (metrics, mut history) = (Metrics::new(), History::default());
        sampled(&metrics, &mut history, 3, |step| {
            metrics.read_bytes.with_label_values(&["a"]).inc_by(500);
            metrics.backlog_bytes.with_label_values(&["a"]).set(i64::try_from(step).unwrap());
            metrics.requests.with_label_values(&["s"]).inc();
            metrics.records.with_label_values(&["s"]).inc_by(6);
            metrics.record_errors.with_label_values(&["s", "X"]).inc_by(2);
            metrics.throttled_records.with_label_values(&["s", "shard"]).inc_by(1);
        });
        let source = &history.sources["a"];
        assert_eq!((points(&source.read.ring), points(&source.backlog)), (vec![100.0; 3], vec![0.0, 1.0, 2.0]));
        assert_eq!((points(&history.whole.refused), points(&history.whole.throttled)), (vec![0.25; 3], vec![0.125; 3]));
        assert_eq!(points(&history.streams["s"].records.ring), [1.2_f32; 3].map(f64::from));
        assert_eq!(source.read.ring.recent(), Some(100.0));
    }

    #[test]
    fn a_ring_keeps_a_quarter_of_an_hour_and_shows_what_was_missed() {
        let (metrics, mut history) = (Metrics::new(), History::default());
        sampled(&metrics, &mut history, 1000, |step| {
            metrics.read_bytes.with_label_values(&["a"]).inc_by(5 * u64::try_from(step).unwrap());
            metrics.backlog_bytes.with_label_values(&["a"]).set(0);
        });
        let read = &history.sources["a"].read.ring;
        assert_eq!((read.iter().count(), read.iter().next(), read.last()), (POINTS, Some(820.0), Some(999.0)));
        // A minute in which the process was stopped.
        let at = history.sampled.unwrap() + 12 * INTERVAL;
        metrics.read_bytes.with_label_values(&["a"]).inc_by(600);
        history.sample(&metrics.gather(), at);
        let read = &history.sources["a"].read.ring;
        let tail: Vec<f64> = read.iter().rev().take(13).collect();
        assert!(tail[0] == 10.0 && tail[1..12].iter().all(|v| v.is_nan()) && tail[12] == 999.0, "{tail:?}");
        assert_eq!((read.last(), read.highest()), (Some(10.0), Some(999.0)));
        history.sample(&metrics.gather(), at + INTERVAL * 100_000);
        assert_eq!(history.sources["a"].read.ring.iter().filter(|v| !v.is_nan()).count(), 1);
    }

    #[test]
    fn latencies_are_those_of_the_last_interval() {
        let (metrics, mut history) = (Metrics::new(), History::default());
        sampled(&metrics, &mut history, 3, |step| match step {
            0 => (0..100).for_each(|_| metrics.delivery_latency.observe(0.3)),
            1 => {}
            _ => (0..100).for_each(|n| metrics.delivery_latency.observe(if n < 90 { 0.007 } else { 1e6 })),
        });
        let [first, quiet, last] = points(&history.whole.median)[..] else { panic!() };
        assert!((0.25..=0.5).contains(&first) && quiet.is_nan() && (0.005..=0.01).contains(&last), "{first} {last}");
        assert_eq!(history.whole.p99.last(), Some(300.0), "what is above all bounds is at the last of them");
    }

    fn shard_name(n: usize) -> String {
        format!("shardId-{n:012}")
    }

    #[test]
    fn the_busiest_shards_are_followed_and_the_others_counted() {
        let (metrics, mut history) = (Metrics::new(), History::default());
        let store = |shard: usize, bytes: u64| {
            metrics.shard_bytes.with_label_values(&["s", &shard_name(shard)]).inc_by(bytes);
            metrics.shard_records.with_label_values(&["s", &shard_name(shard)]).inc();
        };
        sampled(&metrics, &mut history, 5, |_| (0..100).for_each(|shard| store(shard, 100)));
        assert_eq!((history.shards.len(), history.shards_in_all), (MAX_SHARDS, 100));
        let follows =
            |history: &History, shard: usize| history.shards.contains_key(&("s".to_owned(), shard_name(shard)));
        assert!(!follows(&history, 99), "all are as busy, so that the first ones stay");
        sampled(&metrics, &mut history, 20, |_| {
            (0..100).for_each(|shard| store(shard, if shard < 90 { 100 } else { 5000 }));
        });
        assert!((90..100).all(|shard| follows(&history, shard)) && history.shards.len() == MAX_SHARDS);
        let busy = &history.shards[&("s".to_owned(), shard_name(99))].bytes.ring;
        assert_eq!((busy.last(), busy.highest()), (Some(1000.0), Some(1000.0)), "what came before is no rate of now");
        // A reshard: what is gone has no chart any more.
        (0..99).for_each(|shard| {
            metrics.shard_bytes.remove_label_values(&["s", &shard_name(shard)]).unwrap();
            metrics.shard_records.remove_label_values(&["s", &shard_name(shard)]).unwrap();
        });
        sampled(&metrics, &mut history, 1, |_| {});
        assert_eq!((history.shards.len(), history.shards_in_all), (1, 1));
    }

    #[test]
    fn it_is_bounded_and_cheap_whatever_there_is() {
        let (metrics, mut history) = (Metrics::new(), History::default());
        for n in 0..5000 {
            metrics.shard_bytes.with_label_values(&["s", &shard_name(n)]).inc();
        }
        for n in 0..200 {
            let name = n.to_string();
            metrics.backlog_bytes.with_label_values(&[&name]).set(1);
            metrics.requests.with_label_values(&[&name]).inc();
        }
        sampled(&metrics, &mut history, 3, |_| {});
        let mut rings = 0;
        history.each_ring(|_| rings += 1);
        let ring = size_of::<[f32; POINTS]>() + size_of::<Ring>();
        let maps = history.others.len() * 32 + (MAX_SHARDS + MAX_SOURCES + MAX_STREAMS) * 200;
        let bytes = rings * ring + maps;
        println!("{rings} series, {bytes} bytes");
        assert!(bytes < 500_000, "{bytes}");
        assert_eq!((history.sources.len(), history.streams.len()), (MAX_SOURCES, MAX_STREAMS));
    }
}
