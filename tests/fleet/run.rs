//! A fleet in virtual time: events in their order, and what is counted on the way.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::outcome::{Outcome, Tally};
use crate::pace::{Mutant, Pace};
use crate::scenario::{MILLISECOND, Mode, Nanos, SECOND, Scenario};
use crate::service::Service;
use crate::sidecar::{Clock, Record, Sidecar};

/// After this a request counts as lost.
const REQUEST_TIMEOUT: Nanos = 5 * SECOND;
/// One reply in so many is lost.
const LOST: u32 = 1000;
/// How often the backlog of the whole fleet is looked at.
const LOOK: Nanos = 5 * SECOND;
/// Until when every sidecar has heard of a split.
const LEARNT: Nanos = 60 * SECOND;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Wake(usize),
    Arrive(usize),
    Reply(usize),
    Learn(usize),
    Look,
}

#[derive(Debug)]
struct Request {
    sidecar: usize,
    records: Vec<Record>,
    /// None: the reply is lost.
    stored: Option<Vec<bool>>,
}

struct Run<'a> {
    scenario: &'a Scenario,
    clock: Clock,
    events: BinaryHeap<Reverse<(Nanos, u64, What)>>,
    sequence: u64,
    sidecars: Vec<Sidecar>,
    service: Service,
    requests: Vec<Option<Request>>,
    free: Vec<usize>,
    rng: fastrand::Rng,
    tally: Tally,
}

/// Which shards each sidecar's files belong to: as even as can be, in random order.
fn shards(scenario: &Scenario, rng: &mut fastrand::Rng) -> Vec<Vec<u32>> {
    let Mode::Source(most) = scenario.mode else { return vec![Vec::new(); scenario.sidecars as usize] };
    let counts: Vec<u32> = (0..scenario.sidecars).map(|i| 1 + i % most).collect();
    let mut all: Vec<u32> = (0..counts.iter().sum::<u32>()).map(|i| i % scenario.shards).collect();
    rng.shuffle(&mut all);
    let mut all = all.into_iter();
    counts.iter().map(|count| all.by_ref().take(*count as usize).collect()).collect()
}

/// Runs a scenario to its end.
pub(crate) fn run(scenario: &Scenario, mutant: Mutant) -> Outcome {
    let mut rng = fastrand::Rng::with_seed(scenario.seed);
    let shards = shards(scenario, &mut rng);
    // Senders of each shard: every one of them has the same part of it, whatever the number of its files.
    let mut senders = vec![0u32; scenario.shards as usize];
    for own in &shards {
        let mut own = own.clone();
        own.sort_unstable();
        own.dedup();
        for shard in own {
            senders[shard as usize] += 1;
        }
    }
    let mut fair = Vec::new();
    let mut sidecars = Vec::new();
    for own in &shards {
        let part = |s: &u32| 1.0 / f64::from(senders[*s as usize]) / own.iter().filter(|o| *o == s).count() as f64;
        let parts: Vec<(u32, f64)> = own.iter().map(|s| (*s, part(s))).collect();
        fair.push(match scenario.mode {
            Mode::Random => f64::from(scenario.shards) / f64::from(scenario.sidecars),
            Mode::Source(_) => parts.iter().map(|(_, part)| part).sum(),
        });
        let pace = Pace::new(rng.u64(..), mutant);
        sidecars.push(Sidecar::new(scenario, &parts, pace, rng.fork()));
    }
    let mut run = Run {
        scenario,
        clock: Clock(tokio::time::Instant::now()),
        events: BinaryHeap::new(),
        sequence: 0,
        sidecars,
        service: Service::new(scenario),
        requests: Vec::new(),
        free: Vec::new(),
        rng,
        tally: Tally::new(scenario, fair),
    };
    run.go();
    run.tally.outcome(scenario)
}

impl Run<'_> {
    fn at(&mut self, at: Nanos, what: What) {
        self.sequence += 1;
        self.events.push(Reverse((at, self.sequence, what)));
    }

    fn go(&mut self) {
        for i in 0..self.sidecars.len() {
            self.wake(i, self.sidecars[i].start + 1);
            if let Some(at) = self.scenario.split {
                let learnt = at + self.rng.u64(..LEARNT);
                self.at(learnt, What::Learn(i));
            }
        }
        self.at(0, What::Look);
        while let Some(Reverse((now, _, what))) = self.events.pop() {
            if now > self.scenario.end {
                break;
            }
            match what {
                What::Wake(i) if self.sidecars[i].wake == Some(now) => self.step(i, now),
                What::Wake(_) => {}
                What::Arrive(id) => self.arrive(id, now),
                What::Reply(id) => self.reply(id, now),
                What::Learn(i) => self.sidecars[i].learn(self.scenario.shards),
                What::Look => self.look(now),
            }
        }
    }

    fn wake(&mut self, i: usize, at: Nanos) {
        self.sidecars[i].wake = Some(at);
        self.at(at, What::Wake(i));
    }

    fn latency(&mut self, i: usize) -> Nanos {
        self.sidecars[i].latency / 2 + self.rng.u64(..5 * MILLISECOND)
    }

    fn step(&mut self, i: usize, now: Nanos) {
        let records = self.sidecars[i].step(self.scenario, &self.clock, now);
        if !records.is_empty() {
            let request = Some(Request { sidecar: i, records, stored: None });
            let id = self.free.pop().unwrap_or_else(|| {
                self.requests.push(None);
                self.requests.len() - 1
            });
            self.requests[id] = request;
            let arrives = now + self.latency(i);
            self.at(arrives, What::Arrive(id));
        }
        match self.sidecars[i].next_wake(now) {
            Some(at) => self.wake(i, at),
            None => self.sidecars[i].wake = None,
        }
    }

    fn arrive(&mut self, id: usize, now: Nanos) {
        let request = self.requests[id].as_mut().expect("it is under way");
        let service = &mut self.service;
        let stored = request.records.iter().map(|r| service.put(service.route(r.shard, r.upper, now), r.size, now));
        let stored = stored.collect();
        let sidecar = request.sidecar;
        let reply = if self.rng.u32(..LOST) == 0 {
            now + REQUEST_TIMEOUT
        } else {
            request.stored = Some(stored);
            now + self.latency(sidecar)
        };
        self.at(reply, What::Reply(id));
    }

    fn reply(&mut self, id: usize, now: Nanos) {
        let request = self.requests[id].take().expect("it is under way");
        self.free.push(id);
        let sidecar = &mut self.sidecars[request.sidecar];
        sidecar.landed();
        for (index, record) in request.records.into_iter().enumerate() {
            match request.stored.as_ref().map(|stored| stored[index]) {
                Some(true) => {
                    self.tally.stored(request.sidecar, &record, now);
                    sidecar.stored(&record, &self.clock, now);
                }
                Some(false) => {
                    self.tally.throttled();
                    sidecar.throttled(record, &self.clock, now);
                }
                None => sidecar.lost(record, now),
            }
        }
        self.step(request.sidecar, now);
    }

    fn look(&mut self, now: Nanos) {
        let backlog = self.sidecars.iter_mut().map(|s| s.backlog(self.scenario, now)).sum();
        let written = self.sidecars.iter().map(Sidecar::written).sum();
        self.tally.look(now, backlog, written);
        self.at(now + LOOK, What::Look);
    }
}
