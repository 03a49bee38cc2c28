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
    #[expect(dead_code)]
    rates: f64,
}

#[derive(Debug)]
pub struct Tally {
    warm: Nanos,
    /// What each sidecar could have, in shards.
    fair: Vec<f64>,
    goodput: Vec<u64>,
    by_shard: Vec<u64>,
    /// Of the shards that are not hot.
    latencies: Vec<u64>,
    looks: Vec<Look>,
    all: (u64, u64, u64),
    records: u64,
}

#[derive(Debug, Clone)]
pub struct Outcome {
    /// What was stored, as a part of what the stream takes ...
    pub goodput: f64,
    /// ... of the worst shard ...
    pub worst: f64,
    /// ... and of what was written.
    pub delivered: f64,
    /// Of the records that were sent.
    pub throttled: f64,
    pub jain: f64,
    /// What the sidecar got that got least, as a part of its fair share.
    pub least: f64,
    /// Of the shards that are not hot, in seconds.
    pub p50: f64,
    pub p99: f64,
    /// Records in a second and a shard.
    pub records: f64,
    /// From the end of the overload until a tenth of the backlog is left: what was stored, as a part of what the stream takes; and seconds.
    pub drain: Option<(f64, f64)>,
}

impl Tally {
    pub fn new(scenario: &Scenario, fair: Vec<f64>) -> Self {
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

    pub fn stored(&mut self, scenario: &Scenario, sidecar: usize, record: &Record, now: Nanos) {
        self.all.0 += record.size as u64;
        self.all.1 += 1;
        if now >= self.warm {
            self.records += 1;
            self.goodput[sidecar] += record.size as u64;
            self.by_shard[record.shard as usize] += record.size as u64;
            if scenario.hot == 1.0 || record.shard != 0 {
                let age = (now - record.oldest) as f64 / 1e6;
                self.latencies[(age.max(1.0).ln() / STEP.ln()) as usize] += 1;
            }
        }
    }

    pub fn throttled(&mut self, _record: &Record, _now: Nanos) {
        self.all.1 += 1;
        self.all.2 += 1;
    }

    pub fn look(&mut self, at: Nanos, backlog: u64, written: u64, rates: f64) {
        let (stored, sent, throttled) = self.all;
        self.looks.push(Look { at, backlog, written, stored, sent, throttled, rates });
    }

    pub fn worst(&self) {
        let mut all: Vec<_> = self.goodput.iter().enumerate().map(|(i, g)| (*g, i)).collect();
        all.sort_unstable();
        println!("least: {:?}", &all[..5]);
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

    pub fn outcome(&self, scenario: &Scenario) -> Outcome {
        let first = self.looks.iter().find(|l| l.at >= self.warm).expect("it ran that long");
        let last = self.looks.last().expect("it ran");
        let seconds = (last.at - first.at) as f64 / SECOND as f64;
        let shards = f64::from(scenario.shards) + if scenario.split.is_some() { 1.0 } else { 0.0 };
        let window = (scenario.end - self.warm) as f64 / SECOND as f64;
        let shares: Vec<f64> = self.goodput.iter().zip(&self.fair).map(|(got, fair)| *got as f64 / fair).collect();
        let (sum, squares) = (shares.iter().sum::<f64>(), shares.iter().map(|s| s * s).sum::<f64>());
        let mean = sum / shares.len() as f64;
        let by_shard = self.by_shard.iter().filter(|got| **got > 0).min().copied().unwrap_or(0);
        let throttled = last.throttled - first.throttled;
        let parts = |l: &Look, f: &Look| (l.stored - f.stored) as f64;
        if std::env::var("FLEET_TRACE").is_ok() {
            for pair in self.looks.windows(13).step_by(12) {
                let (f, l) = (&pair[0], &pair[12]);
                println!(
                    "  {:5} s: goodput {:.3} throttled {:.3} rates {:.2} backlog {:.1} MiB",
                    l.at / SECOND,
                    parts(l, f) / (shards * SHARD_BYTES * 60.0),
                    (l.throttled - f.throttled) as f64 / (l.sent - f.sent).max(1) as f64,
                    l.rates / SHARD_BYTES,
                    l.backlog as f64 / SHARD_BYTES
                );
            }
        }
        if std::env::var("FLEET_SHARES").is_ok() {
            let mut x: Vec<f64> = shares.iter().map(|s| s / mean).collect();
            x.sort_by(f64::total_cmp);
            let n = x.len();
            println!("{:?}", (0..=10).map(|i| (x[(n - 1) * i / 10] * 100.0).round() / 100.0).collect::<Vec<_>>());
        }
        Outcome {
            goodput: parts(last, first) / (seconds * shards * SHARD_BYTES),
            worst: by_shard as f64 / (window * SHARD_BYTES),
            delivered: parts(last, first) / (last.written - first.written) as f64,
            throttled: throttled as f64 / (last.sent - first.sent) as f64,
            jain: sum * sum / (squares * shares.len() as f64),
            least: shares.iter().copied().fold(f64::MAX, f64::min) / mean,
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
