//! What is counted, and what it says.

use crate::scenario::{Nanos, SECOND, Scenario};
use crate::service::SHARD_BYTES;
use crate::sidecar::Record;

/// Latencies are counted in steps of a tenth.
const STEP: f64 = 1.1;

#[derive(Debug, Clone, Copy)]
struct Look {
    at: Nanos,
    backlog: u64,
    written: u64,
    stored: u64,
    sent: u64,
    throttled: u64,
}

#[derive(Debug)]
pub(crate) struct Tally {
    warm: Nanos,
    /// What each sidecar could have, in shards.
    fair: Vec<f64>,
    goodput: Vec<u64>,
    by_shard: Vec<u64>,
    /// Of all shards but the first, which may be hot.
    latencies: Vec<u64>,
    looks: Vec<Look>,
    all: (u64, u64, u64),
    records: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    /// What was stored, as a part of what the stream takes ...
    pub(crate) goodput: f64,
    /// ... of the shards but the first, which may be hot ...
    pub(crate) cold: f64,
    /// ... and of what was written.
    pub(crate) delivered: f64,
    /// Of the records that were sent.
    pub(crate) throttled: f64,
    pub(crate) jain: f64,
    /// What the sidecar got that got least, as a part of its fair share.
    pub(crate) least: f64,
    /// Of the same shards, in seconds.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// Records in a second and a shard.
    pub(crate) records: f64,
    /// From the end of the overload until a tenth of the backlog is left: what was stored, as a part of what the stream takes; and seconds.
    pub(crate) drain: Option<(f64, f64)>,
}

impl Tally {
    pub(crate) fn new(scenario: &Scenario, fair: Vec<f64>) -> Self {
        Self {
            warm: scenario.warm,
            goodput: vec![0; fair.len()],
            fair,
            by_shard: vec![0; scenario.shards as usize + 2],
            latencies: vec![0; 300],
            looks: Vec::new(),
            all: (0, 0, 0),
            records: 0,
        }
    }

    pub(crate) fn stored(&mut self, sidecar: usize, record: &Record, now: Nanos) {
        self.all.0 += record.size as u64;
        self.all.1 += 1;
        if now >= self.warm {
            self.records += 1;
            self.goodput[sidecar] += record.size as u64;
            self.by_shard[record.shard as usize] += record.size as u64;
            if record.shard != 0 {
                let age = (now - record.oldest) as f64 / 1e6;
                self.latencies[(age.max(1.0).ln() / STEP.ln()) as usize] += 1;
            }
        }
    }

    pub(crate) fn throttled(&mut self) {
        self.all.1 += 1;
        self.all.2 += 1;
    }

    pub(crate) fn look(&mut self, at: Nanos, backlog: u64, written: u64) {
        let (stored, sent, throttled) = self.all;
        self.looks.push(Look { at, backlog, written, stored, sent, throttled });
    }

    fn percentile(&self, part: f64) -> f64 {
        let all: u64 = self.latencies.iter().sum();
        let mut seen = 0;
        let index = self.latencies.iter().position(|count| {
            seen += count;
            seen as f64 >= part * all as f64
        });
        STEP.powf(index.unwrap_or(0) as f64 + 0.5) / 1e3
    }

    pub(crate) fn outcome(&self, scenario: &Scenario) -> Outcome {
        let first = self.looks.iter().find(|l| l.at >= self.warm).expect("it ran that long");
        let last = self.looks.last().expect("it ran");
        let seconds = (last.at - first.at) as f64 / SECOND as f64;
        let shards = f64::from(scenario.shards) + if scenario.split.is_some() { 1.0 } else { 0.0 };
        let window = (scenario.end - self.warm) as f64 / SECOND as f64;
        let parts_of_fair: Vec<f64> =
            self.goodput.iter().zip(&self.fair).map(|(got, fair)| *got as f64 / fair).collect();
        let (sum, squares) = (parts_of_fair.iter().sum::<f64>(), parts_of_fair.iter().map(|s| s * s).sum::<f64>());
        let mean = sum / parts_of_fair.len() as f64;
        let cold: u64 = self.by_shard[1..scenario.shards as usize].iter().sum();
        let throttled = last.throttled - first.throttled;
        let parts = |l: &Look, f: &Look| (l.stored - f.stored) as f64;
        Outcome {
            goodput: parts(last, first) / (seconds * shards * SHARD_BYTES),
            cold: cold as f64 / (window * SHARD_BYTES * f64::from(scenario.shards.max(2) - 1)),
            delivered: parts(last, first) / (last.written - first.written) as f64,
            throttled: throttled as f64 / (last.sent - first.sent) as f64,
            jain: sum * sum / (squares * parts_of_fair.len() as f64),
            least: parts_of_fair.iter().copied().fold(f64::MAX, f64::min) / mean,
            p50: self.percentile(0.5),
            p99: self.percentile(0.99),
            records: self.records as f64 / window / shards,
            drain: scenario.then.and_then(|(at, _)| self.drain(at, shards)),
        }
    }

    fn drain(&self, from: Nanos, shards: f64) -> Option<(f64, f64)> {
        let first = self.looks.iter().find(|l| l.at >= from)?;
        let last = self.looks.iter().find(|l| l.at > from && l.backlog < first.backlog / 10)?;
        let seconds = (last.at - first.at) as f64 / SECOND as f64;
        Some(((last.stored - first.stored) as f64 / (seconds * shards * SHARD_BYTES), seconds))
    }
}
