//! The simulated Kinesis: shards with token buckets behind a network that fails in every way that is known. It keeps the service's limits and
//! sees, as the service does, nothing but requests; consumers read through KCL's rule.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use kinetail::budget::Budget;
use kinetail::config::Format;
use kinetail::kinesis::client::{Answer, EntryResult, OpenShard, PutRecords, Request, RequestError};
use kinetail::kinesis::deaggregate::{Deaggregated, deaggregate};
use kinetail::kinesis::hash;
use kinetail::kinesis::verdict::Origin;
use kinetail::metrics::Metrics;
use tokio::time::{Instant, sleep};

use crate::file::{LineId, POISON, line_id};
use crate::ledger::{Ledger, Violation, ensure};
use crate::plan::{Mutant, Plan, millis, one};

/// The service's limits.
const REQUEST_RECORDS: usize = 500;
const REQUEST_BYTES: usize = 10 << 20;
const SHARD_BYTES: f64 = 1_048_576.0;
const SHARD_RECORDS: f64 = 1000.0;

struct Shard {
    name: String,
    range: RangeInclusive<u128>,
    bytes: f64,
    records: f64,
    filled: Duration,
}

/// A record as it is on the wire.
struct Entry {
    partition_key: String,
    hash: u128,
    data: Vec<u8>,
    lines: Vec<LineId>,
    poisoned: bool,
}

/// What the agent shows of itself while it runs.
pub(crate) struct Inside {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) budget: Arc<Budget>,
    /// What the budget may be exceeded by.
    pub(crate) largest_batch: usize,
}

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doom {
    None,
    Before,
    Lost,
    HangBefore,
    HangAfter,
    Mismatch { stored: bool, results: usize },
}

pub(crate) struct Stream {
    plan: Rc<Plan>,
    start: Instant,
    rng: fastrand::Rng,
    shards: Vec<Shard>,
    /// Reshards that have happened.
    resharded: usize,
    first_shard: u32,
    /// Requests whose sender has gone away and that arrive all the same, by time.
    late: BTreeMap<(Duration, u64), Vec<Entry>>,
    late_count: u64,
    pub(crate) ledger: Ledger,
    pub(crate) violation: Option<Violation>,
    pub(crate) inside: Option<Inside>,
    /// Kinds of faults that happened, to see that they do.
    pub(crate) met: BTreeMap<&'static str, u64>,
}

type Shared = Rc<RefCell<Stream>>;

impl Stream {
    pub(crate) fn new(plan: Rc<Plan>, ledger: Ledger, start: Instant) -> Self {
        let mut rng = fastrand::Rng::with_seed(plan.seed ^ 0x5eed);
        rng.u64(..);
        Self {
            shards: shards(plan.shards, 0, Duration::ZERO),
            plan,
            start,
            rng,
            resharded: 0,
            first_shard: 0,
            late: BTreeMap::new(),
            late_count: 0,
            ledger,
            violation: None,
            inside: None,
            met: BTreeMap::new(),
        }
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn meet(&mut self, what: &'static str) {
        *self.met.entry(what).or_default() += 1;
    }

    /// Keeps the first violation; what follows from it is of no interest.
    pub(crate) fn check<T>(&mut self, result: Result<T, Violation>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(violation) => {
                self.violation.get_or_insert(violation);
                None
            }
        }
    }

    /// A request leaves the agent.
    fn depart(&mut self, request: &Request) -> Result<Vec<Entry>, Violation> {
        let limit = self.plan.raised.filter(|(at, _)| *at <= self.now()).map_or(self.plan.packing.max, |(_, max)| max);
        ensure!((1..=REQUEST_RECORDS).contains(&request.entries.len()), "{} records", request.entries.len());
        let (mut entries, mut total) = (Vec::new(), 0);
        for entry in &request.entries {
            let (partition_key, data) = (entry.partition_key.to_string(), entry.data.to_vec());
            ensure!((1..=256).contains(&partition_key.chars().count()), "the key {partition_key:?}");
            let size = data.len() + partition_key.len();
            ensure!(size <= limit, "a record of {size} bytes, and {limit} are allowed");
            total += size;
            let events = events(self.plan.packing.format, &data, 0..=u128::MAX)?;
            let lines: Vec<LineId> = events.iter().map(|(id, _)| *id).collect();
            let hash = entry.hash_key.unwrap_or_else(|| hash::hash_key(&partition_key));
            let poisoned = data.windows(POISON.len()).any(|w| w == POISON.as_bytes());
            let mut hasher = DefaultHasher::new();
            (&entry.data, &entry.partition_key, entry.hash_key).hash(&mut hasher);
            for (id, _) in &events {
                self.ledger.sent(*id, hasher.finish(), poisoned)?;
            }
            self.ledger.departs(&lines)?;
            entries.push(Entry { partition_key, hash, data, lines, poisoned });
        }
        ensure!(total <= REQUEST_BYTES, "a request of {total} bytes");
        self.inspect()?;
        Ok(entries)
    }

    /// What must hold inside the agent at any time.
    pub(crate) fn inspect(&self) -> Result<(), Violation> {
        let Some(Inside { metrics, budget, largest_batch }) = &self.inside else { return Ok(()) };
        let events = Metrics::total(&metrics.events);
        let (delivered, dropped) = (Metrics::total(&metrics.user_records), Metrics::total(&metrics.dropped_events));
        let flying = metrics.in_flight_events.get();
        ensure!(
            i64::try_from(events - delivered - dropped) == Ok(flying),
            "the ledger: {events} events, {delivered} delivered, {dropped} dropped, {flying} in flight"
        );
        let refused: u64 = metrics.dropped_events.with_label_values(&["deliver", "ValidationException"]).get();
        ensure!(refused == 0 || delivered > 0, "a record was refused for good before anything was delivered");
        let (used, limit) = (budget.used(), budget.limit());
        ensure!(used <= limit + largest_batch, "{used} bytes in flight; {limit} and one batch of {largest_batch}");
        Ok(())
    }

    fn doom(&mut self, entries: usize) -> Doom {
        let f = self.plan.faults;
        let rng = &mut self.rng;
        if rng.f64() < f.before {
            Doom::Before
        } else if rng.f64() < f.lost {
            Doom::Lost
        } else if rng.f64() < f.hang {
            if rng.bool() { Doom::HangBefore } else { Doom::HangAfter }
        } else if rng.f64() < f.mismatch {
            let results = if rng.bool() { entries + rng.usize(1..3) } else { rng.usize(..entries) };
            Doom::Mismatch { stored: rng.bool(), results }
        } else {
            Doom::None
        }
    }

    /// What the service says before it looks at single records.
    fn refuse(&mut self, entries: &[Entry], doom: Doom) -> Option<RequestError> {
        let now = self.now();
        if let Some(spell) = self.plan.spells.iter().find(|s| (s.from..s.to).contains(&now)) {
            let code = spell.code;
            self.meet("spell");
            return Some(error(code, Origin::Service(400)));
        }
        if entries.iter().any(|e| e.poisoned) {
            self.meet("poison");
            return Some(error("ValidationException", Origin::Service(400)));
        }
        if doom != Doom::Before {
            return None;
        }
        self.meet("before");
        let errors = [
            ("InternalFailure", Origin::Service(500)),
            ("ServiceUnavailable", Origin::Service(503)),
            ("", Origin::Service(502)),
            ("LimitExceededException", Origin::Service(400)),
            ("ConnectionFailed", Origin::Transport),
        ];
        let (code, origin) = *one(&mut self.rng, &errors);
        Some(error(code, origin))
    }

    /// The records reach their shards.
    fn store(&mut self, entries: &[Entry]) -> Vec<EntryResult> {
        self.reshard();
        let now = self.now();
        entries.iter().map(|entry| self.store_entry(entry, now)).collect()
    }

    fn store_entry(&mut self, entry: &Entry, now: Duration) -> EntryResult {
        let (taken, until) = self.plan.neighbours;
        let rate = if now < until { 1.0 - taken } else { 1.0 };
        let shard = self.shards.iter_mut().find(|s| s.range.contains(&entry.hash)).expect("the shards cover all keys");
        let since = now.saturating_sub(shard.filled).as_secs_f64() * rate;
        shard.filled = now;
        shard.bytes = (shard.bytes + since * SHARD_BYTES).min(SHARD_BYTES * rate);
        shard.records = (shard.records + since * SHARD_RECORDS).min(SHARD_RECORDS * rate);
        let name = shard.name.clone();
        if shard.bytes <= 0.0 || shard.records <= 0.0 || self.rng.f64() < self.plan.faults.noise {
            self.meet("throttled");
            let message = format!("Rate exceeded for shard {name} in stream sim under account 111122223333.");
            return EntryResult::Refused { code: "ProvisionedThroughputExceededException".to_owned(), message };
        }
        if self.rng.f64() < self.plan.faults.record {
            self.meet("record");
            let codes = ["InternalFailure", "InternalFailure", "ServiceUnavailable", "KMSThrottlingException", "New"];
            let code = (*one(&mut self.rng, &codes)).to_owned();
            return EntryResult::Refused { code, message: "Internal service failure.".to_owned() };
        }
        #[expect(clippy::cast_precision_loss, reason = "a record is far smaller than 2^53 bytes")]
        let size = (entry.data.len() + entry.partition_key.len()) as f64;
        shard.bytes -= size;
        shard.records -= 1.0;
        let range = shard.range.clone();
        let stored = events(self.plan.packing.format, &entry.data, range)
            .and_then(|events| events.iter().try_for_each(|(id, event)| self.ledger.stored(*id, event, now)));
        self.check(stored);
        EntryResult::Stored { shard: name }
    }

    fn reshard(&mut self) {
        let now = self.now();
        while let Some((_, count)) = self.plan.reshards.get(self.resharded).copied().filter(|(at, _)| *at <= now) {
            self.resharded += 1;
            self.first_shard += u32::try_from(self.shards.len()).expect("a handful of shards");
            self.shards = shards(count, self.first_shard, now);
            self.meet("reshard");
        }
    }

    /// The stream's map as of now.
    pub(crate) fn open_shards(&mut self) -> Vec<OpenShard> {
        self.reshard();
        let open = |s: &Shard| OpenShard { id: s.name.clone(), start: *s.range.start(), end: *s.range.end() };
        self.shards.iter().map(open).collect()
    }

    /// Requests whose sender is gone arrive when they arrive.
    pub(crate) fn arrivals(&mut self, all: bool) {
        let now = self.now();
        while let Some(first) = self.late.first_entry() {
            if first.key().0 > now && !all {
                return;
            }
            let entries = first.remove();
            self.meet("late");
            if !entries.iter().any(|e| e.poisoned) {
                self.store(&entries);
            }
            self.adrift(&entries, true);
        }
    }

    fn adrift(&mut self, entries: &[Entry], arrived: bool) {
        let mut lines = entries.iter().flat_map(|e| &e.lines);
        let noted = lines.try_for_each(|id| self.ledger.adrift(*id, arrived));
        self.check(noted);
    }

    fn answered(&mut self, entries: &[Entry], results: &[EntryResult]) {
        for (entry, result) in entries.iter().zip(results) {
            if matches!(result, EntryResult::Stored { .. }) {
                let told = entry.lines.iter().try_for_each(|id| self.ledger.told(*id));
                self.check(told);
            }
        }
    }
}

fn error(code: &str, origin: Origin) -> RequestError {
    RequestError { code: code.to_owned(), message: "as planned".to_owned(), origin }
}

fn shards(count: u32, first: u32, now: Duration) -> Vec<Shard> {
    let width = u128::MAX / u128::from(count);
    let shard = |i: u32| {
        let from = u128::from(i) * width;
        let to = if i + 1 == count { u128::MAX } else { from + width - 1 };
        let name = format!("shardId-{:012}", first + i);
        Shard { name, range: from..=to, bytes: SHARD_BYTES, records: SHARD_RECORDS, filled: now }
    };
    (0..count).map(shard).collect()
}

/// The events that a consumer gets out of a record, without the newline that ends each.
fn events(format: Format, data: &[u8], shard: RangeInclusive<u128>) -> Result<Vec<(LineId, &[u8])>, Violation> {
    let events: Vec<&[u8]> = match format {
        Format::Kpl => match deaggregate(data, shard) {
            Deaggregated::Records(records) => records.iter().map(|r| r.data).collect(),
            other => return Err(Violation(format!("KCL makes of an aggregate: {other:?}"))),
        },
        Format::Lines => data.split_inclusive(|b| *b == b'\n').collect(),
        Format::Single => vec![data],
    };
    ensure!(!events.is_empty(), "a record without events");
    let line = |event: &'_ [u8]| event.strip_suffix(b"\n").and_then(line_id);
    let named = events.into_iter().map(|event| match line(event) {
        Some(id) => Ok((id, &event[..event.len() - 1])),
        None => Err(Violation(format!("an event of no line: {:?}", String::from_utf8_lossy(event)))),
    });
    named.collect()
}

/// A request under way. Dropped before it arrived, it may arrive all the same.
struct Passage {
    stream: Shared,
    entries: Vec<Entry>,
    arrived: bool,
}

impl Drop for Passage {
    fn drop(&mut self) {
        let mut stream = self.stream.borrow_mut();
        let entries = std::mem::take(&mut self.entries);
        for entry in &entries {
            stream.ledger.lands(&entry.lines);
            let landed = entry.lines.iter().try_for_each(|id| stream.ledger.landed(*id));
            stream.check(landed);
        }
        if !self.arrived && stream.rng.bool() {
            let at = stream.now() + millis(&mut stream.rng, 0, 15_000);
            stream.adrift(&entries, false);
            stream.late_count += 1;
            let key = (at, stream.late_count);
            stream.late.insert(key, entries);
        }
    }
}

/// The agent's way to the stream.
#[derive(Clone)]
pub(crate) struct Client(pub(crate) Shared);

impl PutRecords for Client {
    fn put_records(&self, request: Request) -> Pin<Box<dyn Future<Output = Answer>>> {
        let mutant = self.0.borrow().plan.mutant;
        let count = request.entries.len();
        let sent = self.send(&request);
        let twice = (mutant == Mutant::ClientRetries).then(|| self.send(&request));
        Box::pin(async move {
            if let Some(twice) = twice {
                drop(twice.await);
            }
            bug(mutant, sent.await, count)
        })
    }
}

impl Client {
    fn send(&self, request: &Request) -> Pin<Box<dyn Future<Output = Answer>>> {
        let stream = Rc::clone(&self.0);
        let (passage, there, back, doom) = {
            let mut s = stream.borrow_mut();
            s.arrivals(false);
            let departed = s.depart(request);
            let entries = s.check(departed).unwrap_or_default();
            let doom = s.doom(request.entries.len());
            let (there, back) = (millis(&mut s.rng, 2, 250), millis(&mut s.rng, 3, 250));
            (Passage { stream: Rc::clone(&stream), entries, arrived: false }, there, back, doom)
        };
        Box::pin(travel(passage, there, back, doom))
    }
}

async fn travel(mut passage: Passage, there: Duration, back: Duration, doom: Doom) -> Answer {
    let stream = Rc::clone(&passage.stream);
    sleep(there).await;
    if doom == Doom::HangBefore {
        stream.borrow_mut().meet("hang");
        return std::future::pending().await;
    }
    passage.arrived = true;
    let answer = {
        let mut s = stream.borrow_mut();
        s.arrivals(false);
        match s.refuse(&passage.entries, doom) {
            Some(error) => Err(error),
            None if matches!(doom, Doom::Mismatch { stored: false, .. }) => Ok(Vec::new()),
            None => Ok(s.store(&passage.entries)),
        }
    };
    sleep(back).await;
    if doom == Doom::HangAfter {
        stream.borrow_mut().meet("hang");
        return std::future::pending().await;
    }
    let mut s = stream.borrow_mut();
    match (doom, answer) {
        (_, Err(error)) => Err(error),
        (Doom::Lost, _) => {
            s.meet("lost");
            Err(error("ConnectionFailed", Origin::Transport))
        }
        (Doom::Mismatch { results, .. }, _) => {
            s.meet("mismatch");
            let one = EntryResult::Stored { shard: "shardId-000000000000".to_owned() };
            Ok(vec![one; results])
        }
        (_, Ok(results)) => {
            s.answered(&passage.entries, &results);
            Ok(results)
        }
    }
}

/// What a sender with a bug would make of an answer.
fn bug(mutant: Mutant, answer: Answer, count: usize) -> Answer {
    let stored = || EntryResult::Stored { shard: "shardId-000000000000".to_owned() };
    match (mutant, answer) {
        (Mutant::RefusalIsSuccess, Ok(results)) => Ok(vec![stored(); results.len()]),
        (Mutant::MismatchIsSuccess, Ok(results)) if results.len() != count => Ok(vec![stored(); count]),
        (Mutant::LostReplyIsSuccess, Err(error)) if error.origin == Origin::Transport => Ok(vec![stored(); count]),
        (Mutant::ResultsReversed, Ok(mut results)) => {
            results.reverse();
            Ok(results)
        }
        (_, answer) => answer,
    }
}
