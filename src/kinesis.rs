//! The sender: batches in, settled spans out. One task owns everything between the two; it packs, sends, judges the answers and sends again.
//!
//! What it never does: drop a record that was not dead-lettered or delivered, or settle a span for any other reason.

pub mod aggregate;
pub mod client;
pub mod collect;
pub mod compress;
pub mod deaggregate;
pub mod encode;
pub mod facts;
pub mod hash;
pub mod hot;
pub mod md5;
pub mod pace;
pub mod place;
pub mod record;
pub mod shards;
pub mod verdict;

mod gate;
mod intake;
mod outcome;

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep_until};

use crate::budget::Permit;
use crate::config::{Format, PartitionKey};
use crate::deadletter::DeadLetters;
use crate::event::{Batch, EventRef, LaneId, Span};
use crate::heartbeat::Doing;
use crate::metrics::Metrics;
use aggregate::{Aggregator, Goes, OuterKey, Packing};
use client::{Answer, PutRecords};
use collect::{Collector, RequestLimits};
use facts::Facts;
pub use gate::Blocked;
use gate::{AUTO_DISTRIBUTION, Gate};
use hot::{HotKey, HotKeys};
use pace::{Pacer, SHARD_BYTES_PER_SECOND};
use place::Placement;
use record::KinesisRecord;
use shards::Shards;

/// Records in a request: the service's limit.
pub const MAX_REQUEST_RECORDS: usize = 500;
/// Bytes in a request that several records share. The service takes 10 MiB; a tenth of that already drowns the cost of the request itself, and
/// what is in a request that fails has to be sent again.
const REQUEST_BYTES: usize = 1 << 20;
/// Requests under way beside which another one goes whatever its size. Further ones have to be full: over a slow network they are what keeps the
/// line busy, over a quick one they would only cut the same records into more requests.
const EAGER_REQUESTS: usize = 4;
/// How long a batch waits whose refused lines cannot be written to the dead-letter file.
const DEAD_LETTER_RETRY: Duration = Duration::from_secs(5);
/// How many partition keys are shown, of those that carry the most.
const SHOWN_HOT_KEYS: usize = 5;
/// How often it is looked whether one of them is too hot.
const HOT_INTERVAL: Duration = Duration::from_mins(1);
/// How often the age of the oldest unsent event is worked out anew while there is one.
const STATUS_INTERVAL: Duration = Duration::from_millis(500);

/// What the sender is told once.
#[derive(Debug, Clone)]
pub struct SenderConfig {
    /// The stream's name.
    pub stream: Arc<str>,
    /// Its ARN, by which a stream of another account is asked for.
    pub arn: Option<Arc<str>>,
    /// How events are packed.
    pub packing: Packing,
    /// Bytes to which a record may grow while it has to wait.
    pub max_bytes: usize,
    /// The part of a shard's bytes above which a partition key is warned about; zero is never.
    pub hot_key_share: f64,
    /// Whose order is kept.
    pub partition_key: PartitionKey,
    /// Requests under way at once.
    pub max_in_flight: usize,
    /// How long one may take.
    pub request_timeout: Duration,
    /// An earlier run has delivered something: the stream takes what we send.
    pub delivered_before: bool,
    /// Where random keys and jitter begin.
    pub seed: u64,
}

/// How the sender is doing, for health checks and `/status`.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// Set while nothing goes through.
    pub blocked: Option<Blocked>,
    /// When the oldest event was read that has no sequence number yet.
    pub oldest_unsent: Option<Instant>,
    /// Requests under way.
    pub requests_in_flight: usize,
    /// The partition keys that carry the most bytes; none where keys are random.
    pub hot_keys: Vec<HotKey>,
}

/// How the senders are doing, by stream.
pub type Statuses = BTreeMap<Arc<str>, Status>;

/// When the oldest event was read that has no sequence number yet, of all streams.
pub fn oldest_unsent(statuses: &Statuses) -> Option<Instant> {
    statuses.values().filter_map(|status| status.oldest_unsent).min()
}

/// Buffers of a batch that is packed, for the reader to use again.
#[derive(Debug, Default)]
pub struct Spare {
    /// A chunk.
    pub chunk: Vec<u8>,
    /// A buffer for rendered events.
    pub rendered: Vec<u8>,
    /// A list of events.
    pub events: Vec<EventRef>,
}

/// The sender's ends of the channels.
#[derive(Debug)]
pub struct Channels {
    /// What the reader made. Its end is the order to drain.
    pub batches: mpsc::Receiver<Batch>,
    /// Spans that need not be read again.
    pub settled: mpsc::Sender<Vec<Span>>,
    /// Buffers on their way back.
    pub spare: mpsc::Sender<Spare>,
    /// The sender's state, for others to look at.
    pub status: watch::Sender<Statuses>,
    /// The stream's record limit, once it is known or when it changes.
    pub record_limit: watch::Receiver<usize>,
    /// What is known of the stream beside that.
    pub facts: watch::Receiver<Facts>,
    /// Told when an answer shows that the map of the shards is out of date.
    pub resharded: Arc<Notify>,
}

/// A request under way.
#[derive(Debug)]
struct Flight {
    records: Vec<KinesisRecord>,
    started: Instant,
}

type Landing = Pin<Box<dyn Future<Output = (u64, Answer)>>>;

/// The sender of one stream.
pub struct Sender<P> {
    client: P,
    config: SenderConfig,
    aggregator: Aggregator,
    collector: Collector,
    placement: Placement,
    pacer: Pacer,
    gate: Gate,
    flights: BTreeMap<u64, Flight>,
    landings: FuturesUnordered<Landing>,
    next_flight: u64,
    settled: Vec<Span>,
    /// A batch that waits for the dead-letter file.
    parked: Option<(Batch, Instant)>,
    dead_letters: DeadLetters,
    /// An answer has shown that the map of the shards is out of date.
    map_is_stale: bool,
    /// Kinesis has taken a record since the start: the stream is there and takes what we send.
    delivered: bool,
    /// What carries the most; none where keys are random.
    hot: Option<HotKeys>,
    hot_due: Instant,
    status_due: Instant,
    /// The status as others see it says that there is nothing to do.
    shown_idle: bool,
    metrics: Arc<Metrics>,
    rng: fastrand::Rng,
}

impl<P> std::fmt::Debug for Sender<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender").field("config", &self.config).finish_non_exhaustive()
    }
}

impl<P: PutRecords> Sender<P> {
    /// A sender without events; `pool` is an empty permit of the budget.
    pub fn new(
        client: P,
        config: SenderConfig,
        pool: Permit,
        dead_letters: DeadLetters,
        metrics: Arc<Metrics>,
    ) -> Self {
        let mut rng = fastrand::Rng::with_seed(config.seed);
        let hot = (config.partition_key != PartitionKey::Random).then(|| HotKeys::new(Instant::now()));
        Self {
            client,
            aggregator: Aggregator::new(config.packing.clone(), pool),
            collector: Collector::new(RequestLimits { records: MAX_REQUEST_RECORDS, bytes: REQUEST_BYTES }),
            placement: Placement::new(config.partition_key.clone(), config.packing.format, rng.u64(..)),
            pacer: Pacer::new(rng.u64(..)),
            delivered: config.delivered_before,
            config,
            gate: Gate::default(),
            map_is_stale: false,
            flights: BTreeMap::new(),
            landings: FuturesUnordered::new(),
            next_flight: 0,
            settled: Vec::new(),
            parked: None,
            dead_letters,
            hot,
            hot_due: Instant::now(),
            status_due: Instant::now(),
            shown_idle: false,
            metrics,
            rng,
        }
    }

    /// Sends until the batches end and everything is settled. Dropped before that, it leaves the rest uncommitted.
    pub async fn run(mut self, mut channels: Channels) {
        let mut open = true;
        self.learn(&channels.facts.borrow_and_update().clone());
        loop {
            let now = Instant::now();
            self.beat(Doing::Sends);
            if std::mem::take(&mut self.map_is_stale) {
                channels.resharded.notify_one();
            }
            self.step(&channels.status, open, now);
            if !open && self.is_drained() {
                return self.beat(Doing::Nothing);
            }
            let wake = self.next_wake(now);
            self.beat(if self.is_drained() { Doing::Nothing } else { Doing::ForKinesis });
            tokio::select! {
                biased;
                Some((id, answer)) = self.landings.next() => self.land(id, answer),
                permit = channels.settled.reserve(), if !self.settled.is_empty() => {
                    let spans = std::mem::take(&mut self.settled);
                    // Without a reader nobody commits, and what is not committed is read again: nothing is lost.
                    if let Ok(permit) = permit {
                        permit.send(spans);
                    }
                }
                Ok(()) = channels.facts.changed() => {
                    let facts = channels.facts.borrow_and_update().clone();
                    self.learn(&facts);
                }
                batch = channels.batches.recv(), if open && self.takes_more() => match batch {
                    Some(batch) => {
                        // The reader cut these events to the limit of now.
                        self.aggregator.set_max(*channels.record_limit.borrow_and_update());
                        self.take(batch, &channels.spare);
                    }
                    None => open = false,
                },
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {
                    self.unpark(&channels.spare);
                }
            }
        }
    }

    /// Says that it moves, and what it does now.
    fn beat(&self, doing: Doing) {
        self.metrics.beats.sender.at(doing);
    }

    /// Whether another batch is of use. Where order does not count, records that wait only take memory once they fill the next requests.
    fn takes_more(&self) -> bool {
        let is_ordered = self.config.partition_key != PartitionKey::Random;
        self.parked.is_none() && (is_ordered || self.collector.bytes() < 2 * REQUEST_BYTES)
    }

    /// All that the time alone makes due.
    fn step(&mut self, status: &watch::Sender<Statuses>, open: bool, now: Instant) {
        let due = if open {
            let (collector, pacer, shards) = (&self.collector, &self.pacer, &self.placement.shards);
            self.aggregator.close_due(now, |lane, key| goes(lane, key, (collector, pacer, shards), now))
        } else {
            self.aggregator.close_all()
        };
        for record in due {
            self.collector.push(record, &self.placement.shards);
        }
        while self.gate.lets_through(now, self.landings.len(), self.config.max_in_flight)
            && (self.landings.len() < EAGER_REQUESTS || self.collector.fills_request(now, &self.pacer))
        {
            let shards = &self.placement.shards;
            let Some(records) = self.collector.next_request(now, &mut self.pacer, shards) else { break };
            self.send(records, now);
        }
        if self.config.partition_key == PartitionKey::Random {
            self.pacer.choose(self.placement.shards.open(), now);
        }
        if self.status_due <= now {
            self.status_due = now + STATUS_INTERVAL;
            self.publish(status);
        }
    }

    /// What was found out about the stream.
    fn learn(&mut self, facts: &Facts) {
        self.gate.wait_for_facts(!facts.asked);
        let is_refused = facts.auto_distribution && self.config.packing.format == Format::Kpl;
        self.refuse(is_refused.then_some(AUTO_DISTRIBUTION));
        let Some(open) = &facts.shards else { return };
        let Some(follows) = self.placement.shards.replace(open) else { return };
        tracing::info!(shards = open.len(), stream = &*self.config.stream, "the stream's shards");
        self.metrics
            .shards
            .with_label_values(&[&*self.config.stream])
            .set(i64::try_from(open.len()).unwrap_or(i64::MAX));
        if self.placement.has_range_lanes() {
            // What is open belongs to lanes of the old layout.
            for record in self.aggregator.close_all() {
                self.collector.push(record, &self.placement.shards);
            }
            self.collector.follow(follows, &self.placement.shards);
        } else {
            self.collector.sort(&self.placement.shards);
        }
        let open: BTreeSet<_> = self.placement.shards.open().collect();
        let closed: Vec<_> = self.pacer.shards().filter(|shard| !open.contains(shard)).collect();
        for id in closed.into_iter().filter_map(|shard| self.placement.shards.id(shard)) {
            self.metrics.forget_shard(&self.config.stream, id);
        }
        self.pacer.retain(|shard| open.contains(&shard));
    }

    /// Nothing is sent for a reason that lies in the stream, or no longer.
    fn refuse(&mut self, code: Option<&'static str>) {
        let before = self.gate.refuse(code).map(|blocked| blocked.code);
        if before.as_deref() == code {
            return;
        }
        self.show_blocked(before.as_deref(), code);
        if let Some(code) = code {
            self.say_blocked(code, "");
        }
    }

    fn is_drained(&self) -> bool {
        self.parked.is_none()
            && self.settled.is_empty()
            && self.flights.is_empty()
            && self.collector.is_empty()
            && self.aggregator.oldest().is_none()
    }

    /// When time alone makes something due, after the step of `now`.
    fn next_wake(&self, now: Instant) -> Option<Instant> {
        let due = self.aggregator.next_due().into_iter().chain(self.parked.as_ref().map(|(_, at)| *at));
        // What could have gone by now and did not waits for a request under way, which wakes us when it lands: a time that has passed would
        // wake us at once, again and again.
        let gate = if self.collector.is_empty() { None } else { self.gate.opens_at() };
        let waiting = gate.into_iter().chain(self.collector.next_due(now, &self.pacer)).filter(|at| *at > now);
        // After the last event has gone this has to be seen as well, or it would look unsent, and older and older, until the next one comes.
        let status = (!self.is_drained() || !self.shown_idle).then_some(self.status_due);
        due.chain(waiting).chain(status).min()
    }

    fn publish(&mut self, status: &watch::Sender<Statuses>) {
        let flying = self.flights.values().flat_map(|f| &f.records);
        let waiting = self.collector.waiting().chain(flying).map(|r| r.oldest);
        let parked = self.parked.as_ref().map(|(batch, _)| batch.read_at);
        let oldest_unsent = waiting.chain(self.aggregator.oldest()).chain(parked).min();
        let blocked = self.gate.blocked().cloned();
        self.shown_idle = blocked.is_none() && oldest_unsent.is_none() && self.flights.is_empty();
        self.show_rates();
        let now = Instant::now();
        if self.hot_due <= now {
            self.hot_due = now + HOT_INTERVAL;
            self.warn_of_hot_keys(now);
        }
        let hot_keys = self.hot.as_ref().map(|hot| hot.top(SHOWN_HOT_KEYS, now)).unwrap_or_default();
        let shown = Status { blocked, oldest_unsent, requests_in_flight: self.flights.len(), hot_keys };
        let stream = Arc::clone(&self.config.stream);
        status.send_modify(|statuses| {
            statuses.insert(stream, shown);
        });
    }

    /// A key goes to one shard, whatever the number of shards: before it fills it, somebody should know.
    fn warn_of_hot_keys(&mut self, now: Instant) {
        let Some(hot) = &mut self.hot else { return };
        hot.decay(now);
        let limit = self.config.hot_key_share * SHARD_BYTES_PER_SECOND;
        for key in hot.top(SHOWN_HOT_KEYS, now) {
            if limit > 0.0 && key.bytes_per_second > limit {
                tracing::warn!(
                    key = key.key,
                    stream = &*self.config.stream,
                    share_of_shard = format!("{:.2}", key.bytes_per_second / SHARD_BYTES_PER_SECOND),
                    "one partition key takes a large part of what a shard takes, and more shards do not help: choose a finer kinesis.partition_key (kinesis.hot_key_share says when this is warned about)"
                );
            }
        }
    }

    fn show_rates(&self) {
        for shard in self.pacer.shards() {
            if let Some(id) = self.placement.shards.id(shard) {
                self.metrics.shard_rate.with_label_values(&[&*self.config.stream, id]).set(self.pacer.rate(shard));
            }
        }
    }
}

/// When a record of this lane with these keys could go out.
fn goes(
    lane: Option<LaneId>,
    key: &OuterKey,
    (collector, pacer, shards): (&Collector, &Pacer, &Shards),
    now: Instant,
) -> Goes {
    if lane.is_some_and(|lane| !collector.is_idle(lane)) {
        return Goes::WhenIdle;
    }
    shards.shard(key.hash).and_then(|shard| pacer.opens_at(shard, now)).map_or(Goes::Now, Goes::At)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;
    use crate::config::Compression;
    use crate::event::SourceId;
    use crate::line::Counts;
    use client::{EntryResult, Request};
    use tokio::time::sleep;

    /// A stream that takes everything.
    struct Takes;

    impl PutRecords for Takes {
        fn put_records(&self, request: Request) -> Pin<Box<dyn Future<Output = Answer>>> {
            let stored = |_: &client::Entry| EntryResult::Stored { shard: "shardId-000000000000".to_owned() };
            Box::pin(async move {
                sleep(Duration::from_millis(10)).await;
                Ok(request.entries.iter().map(stored).collect())
            })
        }
    }

    fn sender(pool: Permit, metrics: Arc<Metrics>) -> Sender<Takes> {
        let (format, partition_key) = (Format::Kpl, PartitionKey::Source);
        let max_age = Duration::from_millis(100);
        let delimiter = (*b"\n").into();
        let packing = Packing {
            format,
            target: 50 * 1024,
            max: 1 << 20,
            max_records: u32::MAX,
            compression: Compression::None,
            max_age,
            delimiter,
        };
        let (max_in_flight, request_timeout) = (4, Duration::from_secs(10));
        let config = SenderConfig {
            stream: "s".into(),
            arn: None,
            packing,
            max_bytes: usize::MAX,
            hot_key_share: 0.5,
            partition_key,
            max_in_flight,
            request_timeout,
            delivered_before: false,
            seed: 1,
        };
        Sender::new(Takes, config, pool, DeadLetters::new(std::path::Path::new("/nowhere")), metrics)
    }

    fn batch(permit: Permit) -> Batch {
        Batch {
            source: SourceId(1),
            source_name: "files".into(),
            parser: "raw".into(),
            lane: LaneId(1),
            partition_key: "key".into(),
            chunk: b"line\n".to_vec(),
            rendered: Vec::new(),
            events: vec![EventRef { start: 0, end: 4, rendered: false, span_start: 0, span_end: 5 }],
            more: Vec::new(),
            unused: Vec::new(),
            rejected: Vec::new(),
            counts: Counts { lines: 1, ..Counts::default() },
            routes: crate::route::Routes::default(),
            start: 0,
            end: 5,
            read_at: Instant::now(),
            permit,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_looks_unsent_when_all_is_sent_and_nothing_follows() {
        let (budget, metrics) = (Budget::new(1 << 20), Arc::new(Metrics::new()));
        let (batch_tx, batches) = mpsc::channel(1);
        let (settled, mut spans) = mpsc::channel(1);
        let (spare, _spares) = mpsc::channel(1);
        let (status, seen) = watch::channel(Statuses::new());
        let (_limit, record_limit) = watch::channel(1 << 20);
        let sender = sender(budget.try_reserve(0).unwrap(), Arc::clone(&metrics));
        let (_facts, facts) = watch::channel(Facts { asked: true, ..Facts::default() });
        let resharded = Arc::new(Notify::new());
        let sending = sender.run(Channels { batches, settled, spare, status, record_limit, facts, resharded });
        let writing = async {
            // By then the first status is old enough to be replaced as soon as there is something to say.
            sleep(2 * STATUS_INTERVAL).await;
            batch_tx.send(batch(budget.try_reserve(1000).unwrap())).await.unwrap();
            assert_eq!(spans.recv().await.unwrap().len(), 1);
            assert!(oldest_unsent(&seen.borrow()).is_some(), "it was seen while it was on its way");
            sleep(2 * STATUS_INTERVAL).await;
            let status = seen.borrow()["s"].clone();
            assert_eq!((status.oldest_unsent, status.requests_in_flight), (None, 0));
        };
        tokio::select! {
            () = sending => panic!("the sender has ended"),
            () = writing => {}
        }
        assert_eq!(Metrics::total(&metrics.user_records), 1);
    }
}
