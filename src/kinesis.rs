//! The sender: batches in, settled spans out. One task owns everything between the two; it packs, sends, judges the answers and sends again.
//!
//! What it never does: drop a record that was not dead-lettered or delivered, or settle a span for any other reason.

pub mod aggregate;
pub mod client;
pub mod collect;
pub mod deaggregate;
pub mod encode;
pub mod hash;
pub mod hot;
pub mod md5;
pub mod record;
pub mod verdict;

mod gate;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

use crate::backoff::Backoff;
use crate::budget::Permit;
use crate::clock::unix_seconds;
use crate::deadletter::{DeadLetter, DeadLetters};
use crate::event::{Batch, EventRef, Span, join_span};
use crate::metrics::Metrics;
use aggregate::{Aggregator, Packing, UserRecord};
use client::{Answer, EntryResult, PutRecords, Request, RequestError};
use collect::{Collector, RequestLimits};
use deaggregate::{Deaggregated, deaggregate};
pub use gate::Blocked;
use gate::Gate;
use record::KinesisRecord;
use verdict::{Origin, Verdict};

/// Records in a request: the service's limit.
pub const MAX_REQUEST_RECORDS: usize = 500;
/// Bytes in a request that several records share. The service takes 10 MiB; a tenth of that already drowns the cost of the request itself, and
/// what is in a request that fails has to be sent again.
const REQUEST_BYTES: usize = 1 << 20;
/// What a PUT payload unit is (provisioned streams are billed by them).
const PAYLOAD_UNIT_BYTES: usize = 25 * 1024;
/// Refused records: first after up to 100 ms, since a shard's second has passed by then on average half; 5 s keeps a long outage cheap and its end quick to see.
const RESEND: Backoff = Backoff { base: Duration::from_millis(100), cap: Duration::from_secs(5) };
/// How long a batch waits whose refused lines cannot be written to the dead-letter file.
const DEAD_LETTER_RETRY: Duration = Duration::from_secs(5);
/// How often the age of the oldest unsent event is worked out anew while there is one.
const STATUS_INTERVAL: Duration = Duration::from_millis(500);

/// What the sender is told once.
#[derive(Debug, Clone)]
pub struct SenderConfig {
    /// The stream's name.
    pub stream: Arc<str>,
    /// How events are packed.
    pub packing: Packing,
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
    pub status: watch::Sender<Status>,
    /// The stream's record limit, once it is known or when it changes.
    pub record_limit: watch::Receiver<usize>,
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
    gate: Gate,
    flights: BTreeMap<u64, Flight>,
    landings: FuturesUnordered<Landing>,
    next_flight: u64,
    settled: Vec<Span>,
    /// A batch that waits for the dead-letter file.
    parked: Option<(Batch, Instant)>,
    dead_letters: DeadLetters,
    /// Kinesis has taken a record since the start: the stream is there and takes what we send.
    delivered: bool,
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
        Self {
            client,
            aggregator: Aggregator::new(config.packing.clone(), pool, rng.u64(..)),
            collector: Collector::new(RequestLimits { records: MAX_REQUEST_RECORDS, bytes: REQUEST_BYTES }),
            delivered: config.delivered_before,
            config,
            gate: Gate::default(),
            flights: BTreeMap::new(),
            landings: FuturesUnordered::new(),
            next_flight: 0,
            settled: Vec::new(),
            parked: None,
            dead_letters,
            status_due: Instant::now(),
            shown_idle: false,
            metrics,
            rng,
        }
    }

    /// Sends until the batches end and everything is settled. Dropped before that, it leaves the rest uncommitted.
    pub async fn run(mut self, mut channels: Channels) {
        let mut open = true;
        loop {
            let now = Instant::now();
            self.step(&channels.status, open, now);
            if !open && self.is_drained() {
                return;
            }
            let wake = self.next_wake(now);
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
                batch = channels.batches.recv(), if open && self.parked.is_none() => match batch {
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

    /// All that the time alone makes due.
    fn step(&mut self, status: &watch::Sender<Status>, open: bool, now: Instant) {
        let due = if open {
            let collector = &self.collector;
            self.aggregator.close_due(now, |lane| collector.is_idle(lane))
        } else {
            self.aggregator.close_all()
        };
        for record in due {
            self.collector.push(record);
        }
        while self.gate.lets_through(now, self.landings.len(), self.config.max_in_flight) {
            let Some(records) = self.collector.next_request(now) else { break };
            self.send(records, now);
        }
        if self.status_due <= now {
            self.status_due = now + STATUS_INTERVAL;
            self.publish(status);
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
        let waiting = gate.into_iter().chain(self.collector.next_due()).filter(|at| *at > now);
        // After the last event has gone this has to be seen as well, or it would look unsent, and older and older, until the next one comes.
        let status = (!self.is_drained() || !self.shown_idle).then_some(self.status_due);
        due.chain(waiting).chain(status).min()
    }

    fn publish(&mut self, status: &watch::Sender<Status>) {
        let flying = self.flights.values().flat_map(|f| &f.records);
        let waiting = self.collector.waiting().chain(flying).map(|r| r.oldest);
        let parked = self.parked.as_ref().map(|(batch, _)| batch.read_at);
        let oldest_unsent = waiting.chain(self.aggregator.oldest()).chain(parked).min();
        let blocked = self.gate.blocked().cloned();
        self.shown_idle = blocked.is_none() && oldest_unsent.is_none() && self.flights.is_empty();
        status.send_replace(Status { blocked, oldest_unsent, requests_in_flight: self.flights.len() });
    }

    // === batches ===

    fn take(&mut self, batch: Batch, spare: &mpsc::Sender<Spare>) {
        if !batch.rejected.is_empty() {
            if let Err(error) = self.write_rejected(&batch) {
                tracing::error!(%error, "refused lines cannot be set aside; reading waits until they can");
                self.parked = Some((batch, Instant::now() + DEAD_LETTER_RETRY));
                return;
            }
            for rejected in &batch.rejected {
                self.metrics.dropped_events.with_label_values(&["parse", rejected.reason]).inc();
            }
        }
        self.metrics.in_flight_events.add(i64::try_from(batch.events.len()).unwrap_or(i64::MAX));
        self.account(&batch);
        self.pack(batch, spare);
    }

    fn unpark(&mut self, spare: &mpsc::Sender<Spare>) {
        if let Some((batch, at)) = self.parked.take() {
            if at <= Instant::now() {
                self.take(batch, spare);
            } else {
                self.parked = Some((batch, at));
            }
        }
    }

    fn write_rejected(&self, batch: &Batch) -> Result<(), crate::deadletter::Error> {
        let (time, stream, partition_key) = (unix_seconds(), &*self.config.stream, &*batch.partition_key);
        self.dead_letters.write(batch.rejected.iter().map(|rejected| {
            let reason = rejected.reason;
            let letter = DeadLetter { time, reason, message: "", stream, partition_key, data: None, data_base64: None };
            (letter, &rejected.line[..])
        }))
    }

    /// The ledger's side of a batch. Lines that became nothing count as events that were dropped.
    fn account(&self, batch: &Batch) {
        let (m, c) = (&self.metrics, &batch.counts);
        let source = &[&*batch.source_name][..];
        let dropped = c.dropped_blank + c.dropped_parse;
        m.read_bytes.with_label_values(source).inc_by(batch.end - batch.start);
        m.read_lines.with_label_values(source).inc_by(c.lines);
        m.events.with_label_values(source).inc_by((batch.events.len() + batch.rejected.len()) as u64 + dropped);
        for (count, reason) in [(c.dropped_blank, "blank"), (c.dropped_parse, "parse_error")] {
            if count > 0 {
                m.dropped_events.with_label_values(&["parse", reason]).inc_by(count);
            }
        }
        if c.parse_errors > 0 {
            m.parse_errors.with_label_values(&[batch.parser]).inc_by(c.parse_errors);
        }
        for (count, format) in [(c.cri_errors, "cri"), (c.docker_errors, "docker")] {
            if count > 0 {
                m.parse_errors.with_label_values(&[format]).inc_by(count);
            }
        }
        if c.invalid_utf8 > 0 {
            m.invalid_utf8.with_label_values(source).inc_by(c.invalid_utf8);
        }
        for (count, action) in [(c.split, "split"), (c.truncated, "truncated")] {
            if count > 0 {
                m.long_lines.with_label_values(&[&*batch.source_name, action]).inc_by(count);
            }
        }
        for (count, reason) in [(c.truncated_bytes, "long_line"), (c.nul_bytes, "nul")] {
            if count > 0 {
                m.abandoned_bytes.with_label_values(&[reason]).inc_by(count);
            }
        }
    }

    fn pack(&mut self, batch: Batch, spare: &mpsc::Sender<Spare>) {
        let mut more = &batch.more[..];
        for (index, event) in batch.events.iter().enumerate() {
            let count = more.iter().take_while(|further| further.event as usize == index).count();
            let (further, rest) = more.split_at(count);
            more = rest;
            let record = UserRecord {
                lane: batch.lane,
                partition_key: &batch.partition_key,
                data: batch.bytes(event),
                span: Span { source: batch.source, start: event.span_start, end: event.span_end },
                further,
                read_at: batch.read_at,
            };
            let idle = self.collector.is_idle(batch.lane);
            if let Some(closed) = self.aggregator.push(&record, idle) {
                self.collector.push(closed);
            }
        }
        for span in batch.unused() {
            join_span(&mut self.settled, span);
        }
        self.aggregator.absorb(batch.permit);
        self.aggregator.release();
        // A reader that has enough buffers, or none that runs, lets this one go.
        let (chunk, rendered, events) = (batch.chunk, batch.rendered, batch.events);
        spare.try_send(Spare { chunk, rendered, events }).ok();
    }

    // === requests and answers ===

    fn send(&mut self, mut records: Vec<KinesisRecord>, now: Instant) {
        record::finish(&mut records);
        for record in &mut records {
            if record.attempts > 0 {
                self.metrics.retries.inc();
            }
            record.attempts += 1;
        }
        let request = Request {
            stream: Arc::clone(&self.config.stream),
            entries: records.iter().map(KinesisRecord::entry).collect(),
        };
        let id = self.next_flight;
        self.next_flight += 1;
        let answer = timeout(self.config.request_timeout, self.client.put_records(request));
        let limit = self.config.request_timeout;
        self.landings.push(Box::pin(async move { (id, answer.await.unwrap_or_else(|_| Err(timed_out(limit)))) }));
        self.flights.insert(id, Flight { records, started: now });
    }

    fn land(&mut self, id: u64, answer: Answer) {
        let Some(flight) = self.flights.remove(&id) else { unreachable!("a request lands once") };
        let now = Instant::now();
        let stream = &[&*self.config.stream];
        self.metrics.requests.with_label_values(stream).inc();
        self.metrics.put_duration.with_label_values(stream).observe((now - flight.started).as_secs_f64());
        match answer {
            Ok(results) if results.len() == flight.records.len() => self.judge_records(flight, results, now),
            Ok(results) => {
                // Which result belongs to which record cannot be told, so all of them are unknown.
                let (got, sent) = (results.len(), flight.records.len());
                let message = format!("{got} results for {sent} records");
                let error = RequestError { code: "ResultCount".to_owned(), message, origin: Origin::Transport };
                self.judge_request(flight, &error, now);
            }
            Err(error) => self.judge_request(flight, &error, now),
        }
    }

    fn judge_records(&mut self, flight: Flight, results: Vec<EntryResult>, now: Instant) {
        for (record, result) in flight.records.into_iter().zip(results) {
            match result {
                EntryResult::Stored { .. } => self.deliver(&record, now),
                EntryResult::Refused { code, message } => self.refused(record, (&code, &message), flight.started, now),
            }
        }
    }

    fn refused(&mut self, record: KinesisRecord, (code, message): (&str, &str), started: Instant, now: Instant) {
        self.count_refusal(code, 1);
        match verdict::on_record(code) {
            Verdict::Throttled => {
                let shard = shard_in(message).unwrap_or("unknown");
                self.metrics.throttled_records.with_label_values(&[&*self.config.stream, shard]).inc();
                self.resend(record, now);
            }
            Verdict::Failed => {
                tracing::warn!(code, said = message, "a record failed and is sent again");
                self.resend(record, now);
            }
            Verdict::Hold => {
                let until = self.hold(code, message, started, now);
                self.collector.resend(record, until);
            }
            Verdict::Reject => self.reject(record, code, message, now),
        }
    }

    fn judge_request(&mut self, flight: Flight, error: &RequestError, now: Instant) {
        let (code, count) = (&*error.code, flight.records.len());
        self.count_refusal(code, count as u64);
        match verdict::on_request(code, error.origin) {
            Verdict::Reject if count > 1 => {
                tracing::warn!(
                    code,
                    records = count,
                    "the service refused a request; looking for the record that it minds"
                );
                self.collector.bisect(flight.records);
            }
            Verdict::Reject => {
                for record in flight.records {
                    self.reject(record, code, &error.message, now);
                }
            }
            Verdict::Hold => {
                let until = self.hold(code, &error.message, flight.started, now);
                self.resend_all(flight.records, until);
            }
            Verdict::Throttled | Verdict::Failed => {
                let until = self.gate.fail(flight.started, now, &mut self.rng);
                let said = &*error.message;
                tracing::warn!(code, said, records = count, wait = ?until - now, "a request failed and is sent again");
                self.resend_all(flight.records, until);
            }
        }
    }

    fn deliver(&mut self, record: &KinesisRecord, now: Instant) {
        self.delivered = true;
        if let Some(was) = self.gate.open() {
            tracing::info!(code = was.code, "delivery goes on");
            self.metrics.blocked.with_label_values(&[&was.code]).set(0);
        }
        let (m, stream) = (&self.metrics, &[&*self.config.stream]);
        m.user_records.with_label_values(stream).inc_by(u64::from(record.user_records));
        m.records.with_label_values(stream).inc();
        m.bytes.with_label_values(stream).inc_by(record.size as u64);
        m.payload_units.with_label_values(stream).inc_by(record.size.div_ceil(PAYLOAD_UNIT_BYTES) as u64);
        m.delivery_latency.observe((now - record.oldest).as_secs_f64());
        #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit into 53 bits")]
        m.last_success.set(unix_seconds() as f64);
        self.settle(record, now);
    }

    fn settle(&mut self, record: &KinesisRecord, now: Instant) {
        self.metrics.in_flight_events.sub(i64::from(record.user_records));
        for span in &record.spans {
            join_span(&mut self.settled, *span);
        }
        if let Some(lane) = record.lane
            && self.collector.settled(lane)
            && let Some(next) = self.aggregator.close_ripe(lane, now)
        {
            self.collector.push(next);
        }
    }

    fn resend(&mut self, record: KinesisRecord, now: Instant) {
        let wait = RESEND.wait(record.attempts, &mut self.rng);
        self.collector.resend(record, now + wait);
    }

    fn resend_all(&mut self, records: Vec<KinesisRecord>, at: Instant) {
        for record in records {
            self.collector.resend(record, at);
        }
    }

    fn hold(&mut self, code: &str, message: &str, started: Instant, now: Instant) -> Instant {
        if self.gate.blocked().is_none_or(|b| b.code != code) {
            let way_out = verdict::way_out(code);
            tracing::error!(
                code,
                // A field that is called message would take the place of the message.
                said = message,
                stream = &*self.config.stream,
                "delivery is blocked and nothing is dropped: {way_out}"
            );
        }
        if let Some(was) = self.gate.blocked() {
            self.metrics.blocked.with_label_values(&[&was.code]).set(0);
        }
        self.metrics.blocked.with_label_values(&[code]).set(1);
        self.gate.hold(code, started, now, &mut self.rng)
    }

    /// A record that the service does not take by itself. Before anything was ever delivered the fault may as well lie with the stream or the
    /// endpoint, so it waits; after that it goes to the dead-letter file.
    fn reject(&mut self, record: KinesisRecord, code: &str, message: &str, now: Instant) {
        if !self.delivered {
            let until = self.hold(code, "", now, now);
            return self.collector.resend(record, until);
        }
        match self.write_dead(&record, code, message) {
            Ok(()) => {
                tracing::error!(
                    code,
                    events = record.user_records,
                    bytes = record.size,
                    "a record was refused for good: its events are in the dead-letter file"
                );
                self.metrics
                    .dropped_events
                    .with_label_values(&["deliver", code])
                    .inc_by(u64::from(record.user_records));
                self.settle(&record, now);
            }
            Err(error) => {
                let until = self.hold("DeadLetterFile", &error.to_string(), now, now);
                self.collector.resend(record, until);
            }
        }
    }

    fn write_dead(&self, record: &KinesisRecord, reason: &str, message: &str) -> Result<(), crate::deadletter::Error> {
        let (time, stream, partition_key) = (unix_seconds(), &*self.config.stream, &*record.partition_key);
        let data = record.data();
        let events: Vec<&[u8]> = match deaggregate(&data, 0..=u128::MAX) {
            Deaggregated::Records(records) => records.iter().map(|r| r.data).collect(),
            Deaggregated::Raw(_) | Deaggregated::Lost { .. } => vec![&data],
        };
        self.dead_letters.write(events.into_iter().map(|event| {
            let letter = DeadLetter { time, reason, message, stream, partition_key, data: None, data_base64: None };
            (letter, event)
        }))
    }

    fn count_refusal(&self, code: &str, records: u64) {
        self.metrics.record_errors.with_label_values(&[&*self.config.stream, code]).inc_by(records);
    }
}

fn timed_out(limit: Duration) -> RequestError {
    let message = format!("no answer within {limit:?} (kinesis.request_timeout)");
    RequestError { code: "Timeout".to_owned(), message, origin: Origin::Transport }
}

/// The shard in the service's words: `Rate exceeded for shard shardId-000000000000 in stream ...`.
fn shard_in(message: &str) -> Option<&str> {
    message.split_whitespace().find(|word| word.starts_with("shardId-") && word.len() <= MAX_SHARD_ID)
}

/// A shard id has 20 characters; the limit keeps a label from taking whatever a server says.
const MAX_SHARD_ID: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;
    use crate::config::{Format, PartitionKey};
    use crate::event::{LaneId, SourceId};
    use crate::line::Counts;
    use tokio::time::sleep;

    /// A stream that takes everything.
    struct Takes;

    impl PutRecords for Takes {
        fn put_records(&self, request: Request) -> Pin<Box<dyn Future<Output = Answer>>> {
            let stored = |_: &bytes::Bytes| EntryResult::Stored { shard: "shardId-000000000000".to_owned() };
            Box::pin(async move {
                sleep(Duration::from_millis(10)).await;
                Ok(request.entries.iter().map(stored).collect())
            })
        }
    }

    fn sender(pool: Permit, metrics: Arc<Metrics>) -> Sender<Takes> {
        let (format, partition_key) = (Format::Kpl, PartitionKey::Source);
        let max_age = Duration::from_millis(100);
        let packing = Packing { format, partition_key, target: 50 * 1024, max: 1 << 20, max_age };
        let (max_in_flight, request_timeout) = (4, Duration::from_secs(10));
        let (stream, delivered_before) = ("s".into(), false);
        let config = SenderConfig { stream, packing, max_in_flight, request_timeout, delivered_before, seed: 1 };
        Sender::new(Takes, config, pool, DeadLetters::new(std::path::Path::new("/nowhere")), metrics)
    }

    fn batch(permit: Permit) -> Batch {
        Batch {
            source: SourceId(1),
            source_name: "files".into(),
            parser: "raw",
            lane: LaneId(1),
            partition_key: "key".into(),
            chunk: b"line\n".to_vec(),
            rendered: Vec::new(),
            events: vec![EventRef { start: 0, end: 4, rendered: false, span_start: 0, span_end: 5 }],
            more: Vec::new(),
            unused: Vec::new(),
            rejected: Vec::new(),
            counts: Counts { lines: 1, ..Counts::default() },
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
        let (status, seen) = watch::channel(Status::default());
        let (_limit, record_limit) = watch::channel(1 << 20);
        let sender = sender(budget.try_reserve(0).unwrap(), Arc::clone(&metrics));
        let sending = sender.run(Channels { batches, settled, spare, status, record_limit });
        let writing = async {
            // By then the first status is old enough to be replaced as soon as there is something to say.
            sleep(2 * STATUS_INTERVAL).await;
            batch_tx.send(batch(budget.try_reserve(1000).unwrap())).await.unwrap();
            assert_eq!(spans.recv().await.unwrap().len(), 1);
            assert!(seen.borrow().oldest_unsent.is_some(), "it was seen while it was on its way");
            sleep(2 * STATUS_INTERVAL).await;
            let status = seen.borrow().clone();
            assert_eq!((status.oldest_unsent, status.requests_in_flight), (None, 0));
        };
        tokio::select! {
            () = sending => panic!("the sender has ended"),
            () = writing => {}
        }
        assert_eq!(Metrics::total(&metrics.user_records), 1);
    }
}
