//! One sidecar: what is written to its files, which record goes when. A small model of the sender around the real pacer.

use std::collections::{BTreeMap, VecDeque};

use crate::pace::Pace;
use crate::scenario::{MILLISECOND, Mode, Nanos, SECOND, Scenario};
use crate::service::SHARD_BYTES;

/// Bytes of an event in its record.
const EVENT: f64 = 300.0;
/// The size at which a record goes as soon as it can.
pub(crate) const TARGET: usize = 51_200;
/// How long an event waits for company.
const MAX_AGE: Nanos = 100 * MILLISECOND;
/// Requests under way.
const MAX_REQUESTS: usize = 4;
/// What a sidecar holds in memory of records that are out or refused.
const MEMORY: usize = 8 << 20;

/// A record from when it is closed until it is stored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record {
    pub(crate) lane: usize,
    /// The shard as the sidecar knows it.
    pub(crate) shard: u32,
    /// The half of the shard in which its key lies.
    pub(crate) upper: bool,
    pub(crate) size: usize,
    /// When its oldest event was written.
    pub(crate) oldest: Nanos,
    pub(crate) sent_at: Nanos,
}

/// Bytes that were written and are in no record yet.
#[derive(Debug, Default)]
struct Backlog {
    bytes: usize,
    /// When they were written, and how many.
    chunks: VecDeque<(Nanos, usize)>,
}

impl Backlog {
    fn add(&mut self, at: Nanos, bytes: usize) {
        self.bytes += bytes;
        match self.chunks.back_mut() {
            // Nobody asks for the age of a long backlog to the second.
            Some((since, last)) if self.bytes > 4 * TARGET && at < *since + 5 * SECOND => *last += bytes,
            _ => self.chunks.push_back((at, bytes)),
        }
    }

    fn oldest(&self) -> Option<Nanos> {
        self.chunks.front().map(|(at, _)| *at)
    }

    fn take(&mut self, most: usize) -> usize {
        let take = self.bytes.min(most);
        self.bytes -= take;
        let mut left = take;
        while let Some((_, bytes)) = self.chunks.front_mut() {
            if *bytes > left {
                *bytes -= left;
                break;
            }
            left -= *bytes;
            self.chunks.pop_front();
        }
        take
    }
}

#[derive(Debug)]
struct Lane {
    /// Its shard; none where any will do.
    shard: Option<u32>,
    upper: bool,
    /// A record of it is out or refused.
    out: bool,
    backlog: Backlog,
    /// Its part of what is written to the shard.
    part: f64,
    next_write: Nanos,
    written: u64,
}

#[derive(Debug)]
pub(crate) struct Sidecar {
    pub(crate) pace: Pace,
    lanes: Vec<Lane>,
    refused: BTreeMap<(Nanos, u64), Record>,
    refusals: u64,
    requests: usize,
    held: usize,
    /// Shards of the stream, as it knows them ...
    shards: Vec<u32>,
    /// ... and when its pacer opens each, by number; asking it anew for every shard would take most of a run.
    opens: Vec<Nanos>,
    rng: fastrand::Rng,
    pub(crate) latency: Nanos,
    pub(crate) start: Nanos,
    /// The time of the one wake-up that counts.
    pub(crate) wake: Option<Nanos>,
}

fn exponential(rng: &mut fastrand::Rng) -> f64 {
    -(1.0 - rng.f64()).ln()
}

impl Lane {
    fn new(shard: Option<u32>, part: f64, rng: &mut fastrand::Rng) -> Self {
        let (upper, backlog) = (rng.bool(), Backlog::default());
        Self { shard, upper, out: false, backlog, part, next_write: 0, written: 0 }
    }

    /// Writes what is written until now: batches of events that come together, at random times.
    fn advance(&mut self, scenario: &Scenario, now: Nanos, rng: &mut fastrand::Rng) {
        while self.next_write <= now {
            let load = scenario.load_at(self.shard.unwrap_or(u32::MAX), self.next_write);
            let rate = load * self.part * SHARD_BYTES;
            let events = (rate * 0.2 / EVENT).max(2.0);
            let wait = if rate > 0.0 { exponential(rng) * events * EVENT / rate } else { 10.0 };
            if rate > 0.0 && self.next_write > 0 {
                let bytes = (exponential(rng) / (1.0 + 1.0 / (events - 1.0)).ln()).floor() * EVENT + EVENT;
                self.backlog.add(self.next_write, bytes as usize);
                self.written += bytes as u64;
            }
            self.next_write += (wait * SECOND as f64) as Nanos + 1;
        }
    }

    /// When its next record has grown or waited enough.
    fn ripe_at(&self, now: Nanos) -> Nanos {
        match self.backlog.oldest() {
            Some(_) if self.backlog.bytes >= TARGET => now,
            Some(oldest) => oldest + MAX_AGE,
            None => self.next_write + MAX_AGE,
        }
    }
}

impl Sidecar {
    pub(crate) fn new(scenario: &Scenario, shards: &[(u32, f64)], pace: Pace, mut rng: fastrand::Rng) -> Self {
        let start = rng.u64(..10 * SECOND);
        let mut lanes: Vec<Lane> = match scenario.mode {
            Mode::Random => {
                let part = f64::from(scenario.shards) / f64::from(scenario.sidecars);
                vec![Lane::new(None, part, &mut rng)]
            }
            Mode::Source(_) => shards.iter().map(|(s, part)| Lane::new(Some(*s), *part, &mut rng)).collect(),
        };
        for lane in &mut lanes {
            lane.next_write = start + 1;
        }
        Self {
            pace,
            lanes,
            refused: BTreeMap::new(),
            refusals: 0,
            requests: 0,
            held: 0,
            shards: (0..scenario.shards).collect(),
            opens: vec![0; scenario.shards as usize + 2],
            latency: rng.u64(2 * MILLISECOND..20 * MILLISECOND),
            rng,
            start,
            wake: None,
        }
    }

    /// The records of the next request.
    pub(crate) fn step(&mut self, scenario: &Scenario, clock: &Clock, now: Nanos) -> Vec<Record> {
        let mut request = Vec::new();
        while let Some(entry) = self.refused.first_entry().filter(|e| e.key().0 <= now) {
            let record = entry.remove();
            self.pace.sent(record.shard, record.size, clock.at(now));
            self.note(record.shard, clock, now);
            request.push(Record { sent_at: now, ..record });
        }
        if self.lanes.iter().any(|lane| lane.shard.is_none()) {
            self.pace.choose(&self.shards, clock.at(now));
        }
        let first = self.rng.usize(..self.lanes.len());
        for i in 0..self.lanes.len() {
            let index = (first + i) % self.lanes.len();
            self.lanes[index].advance(scenario, now, &mut self.rng);
            self.take(index, (clock, now), &mut request);
        }
        if !request.is_empty() {
            self.requests += 1;
        }
        request
    }

    fn take(&mut self, index: usize, (clock, now): (&Clock, Nanos), request: &mut Vec<Record>) {
        while self.requests < MAX_REQUESTS && self.held < MEMORY && request.len() < 500 {
            let lane = &self.lanes[index];
            if lane.out || lane.backlog.bytes == 0 || lane.ripe_at(now) > now {
                return;
            }
            let Some(shard) = self.open(index, now) else {
                return;
            };
            let lane = &mut self.lanes[index];
            // What waits for a lane's last record grows.
            let most = match lane.shard {
                Some(_) => self.pace.grown_size(shard, TARGET),
                None => self.pace.record_size(shard, TARGET),
            };
            let oldest = lane.backlog.oldest().unwrap_or(now);
            let size = lane.backlog.take(most);
            let upper = if lane.shard.is_some() { lane.upper } else { self.rng.bool() };
            request.push(Record { lane: index, shard, upper, size, oldest, sent_at: now });
            lane.out = lane.shard.is_some();
            self.held += size;
            self.pace.sent(shard, size, clock.at(now));
            self.note(shard, clock, now);
        }
    }

    /// A shard that the lane's next record may go to now.
    fn open(&mut self, index: usize, now: Nanos) -> Option<u32> {
        let is_open = |shard: &u32| self.opens[*shard as usize] <= now && self.pace.is_chosen(*shard);
        if let Some(shard) = self.lanes[index].shard {
            return Some(shard).filter(is_open);
        }
        let (count, first) = (self.shards.len(), self.rng.usize(..self.shards.len()));
        (0..count).map(|i| self.shards[(first + i) % count]).find(is_open)
    }

    /// The pacer was told something of a shard.
    fn note(&mut self, shard: u32, clock: &Clock, now: Nanos) {
        self.opens[shard as usize] = clock.nanos(self.pace.opens_at(shard, clock.at(now)));
    }

    /// When it should be asked again.
    pub(crate) fn next_wake(&self, now: Nanos) -> Option<Nanos> {
        let refused = self.refused.first_key_value().map(|((at, _), _)| *at);
        let full = self.requests >= MAX_REQUESTS || self.held >= MEMORY;
        let lanes = self.lanes.iter().filter(|lane| !lane.out && !full).filter_map(|lane| {
            let ripe = lane.ripe_at(now);
            let open = match lane.shard {
                Some(shard) => self.opens[shard as usize],
                None if ripe > now => now,
                None => {
                    let chosen = self.shards.iter().filter(|shard| self.pace.is_chosen(**shard));
                    chosen.map(|shard| self.opens[*shard as usize]).min()?
                }
            };
            Some(ripe.max(open))
        });
        lanes.chain(refused).min().map(|at| at.max(now + 1))
    }

    /// A request was answered.
    pub(crate) fn landed(&mut self) {
        self.requests -= 1;
    }

    pub(crate) fn stored(&mut self, record: &Record, clock: &Clock, now: Nanos) {
        self.pace.stored(record.shard, record.size, clock.at(now));
        self.note(record.shard, clock, now);
        self.lanes[record.lane].out = false;
        self.held -= record.size;
    }

    pub(crate) fn throttled(&mut self, record: Record, clock: &Clock, now: Nanos) {
        let at = self.pace.throttled(record.shard, record.size, clock.at(record.sent_at), clock.at(now));
        self.note(record.shard, clock, now);
        self.again(record, clock.nanos(Some(at)).max(now));
    }

    /// Nothing is known of it.
    pub(crate) fn lost(&mut self, record: Record, now: Nanos) {
        let wait = self.rng.u64(..100 * MILLISECOND);
        self.again(record, now + wait);
    }

    fn again(&mut self, record: Record, at: Nanos) {
        self.refusals += 1;
        self.refused.insert((at, self.refusals), record);
    }

    /// It hears of the split.
    pub(crate) fn learn(&mut self, shards: u32) {
        let (lower, upper) = (shards, shards + 1);
        for lane in &mut self.lanes {
            if lane.shard == Some(0) {
                lane.shard = Some(if lane.upper { upper } else { lower });
            }
        }
        self.shards.retain(|s| *s != 0);
        self.shards.extend([lower, upper]);
        for record in self.refused.values_mut().filter(|r| r.shard == 0) {
            record.shard = if record.upper { upper } else { lower };
        }
    }

    /// What was written and is not stored.
    pub(crate) fn backlog(&mut self, scenario: &Scenario, now: Nanos) -> u64 {
        let mut sum = self.held as u64;
        for lane in &mut self.lanes {
            lane.advance(scenario, now, &mut self.rng);
            sum += lane.backlog.bytes as u64;
        }
        sum
    }

    /// What was written so far, by the shard it was meant for at first.
    pub(crate) fn written(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.written).sum()
    }
}

/// The pacer's time.
#[derive(Debug)]
pub(crate) struct Clock(pub(crate) tokio::time::Instant);

impl Clock {
    pub(crate) fn at(&self, now: Nanos) -> tokio::time::Instant {
        self.0 + std::time::Duration::from_nanos(now)
    }

    /// Rounded up, so that what opens at a time is open then.
    pub(crate) fn nanos(&self, at: Option<tokio::time::Instant>) -> Nanos {
        at.map_or(0, |at| Nanos::try_from(at.saturating_duration_since(self.0).as_nanos()).expect("centuries"))
    }
}
