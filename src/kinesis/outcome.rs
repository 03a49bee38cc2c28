//! The sender's way out and back: requests, and what becomes of each record by the answer.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::aggregate::Bill;
use super::client::{Answer, EntryResult, PutRecords, Request, RequestError};
use super::compress::decompress;
use super::deaggregate::{Deaggregated, deaggregate};
use super::record::{self, KinesisRecord};
use super::verdict::{self, Origin, Verdict};
use super::{Flight, Sender};
use crate::backoff::Backoff;
use crate::clock::unix_seconds;
use crate::deadletter::DeadLetter;
use crate::event::join_span;
use crate::heartbeat::Doing;

/// What a shard says that has no room.
const NO_ROOM: &str = "ProvisionedThroughputExceededException";
/// Refused records: first after up to 100 ms, since a shard's second has passed by then on average half; 5 s keeps a long outage cheap and its end quick to see.
const RESEND: Backoff = Backoff { base: Duration::from_millis(100), cap: Duration::from_secs(5) };

impl<P: PutRecords> Sender<P> {
    pub(super) fn send(&mut self, mut records: Vec<KinesisRecord>, now: Instant) {
        record::finish(&mut records);
        for record in &mut records {
            if record.attempts > 0 {
                self.metrics.retries.inc();
            }
            record.attempts += 1;
        }
        let request = Request {
            stream: Arc::clone(self.config.arn.as_ref().unwrap_or(&self.config.stream)),
            entries: records.iter().map(KinesisRecord::entry).collect(),
        };
        let id = self.next_flight;
        self.next_flight += 1;
        let answer = timeout(self.config.request_timeout, self.client.put_records(request));
        let limit = self.config.request_timeout;
        self.landings.push(Box::pin(async move { (id, answer.await.unwrap_or_else(|_| Err(timed_out(limit)))) }));
        self.flights.insert(id, Flight { records, started: now });
    }

    pub(super) fn land(&mut self, id: u64, answer: Answer) {
        self.beat(Doing::Sends);
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
                EntryResult::Stored { shard: id } => {
                    if let Some(shard) = self.placement.shards.index(&id) {
                        self.map_is_stale |= self.placement.shards.seen(record.hash, shard);
                        self.pacer.stored(shard, record.size, now);
                        let shard = &[&*self.config.stream, &*id];
                        self.metrics.shard_records.with_label_values(shard).inc();
                        self.metrics.shard_bytes.with_label_values(shard).inc_by(record.size as u64);
                    }
                    self.deliver(&record, now);
                }
                EntryResult::Refused { code, message } => self.refused(record, (&code, &message), flight.started, now),
            }
        }
    }

    fn refused(&mut self, record: KinesisRecord, (code, message): (&str, &str), started: Instant, now: Instant) {
        self.count_refusal(code, 1);
        match verdict::on_record(code) {
            Verdict::Throttled if code == NO_ROOM => self.throttled(record, message, started, now),
            // That of the stream's KMS key, for example, says nothing about a shard.
            Verdict::Throttled => self.resend(record, now),
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

    fn throttled(&mut self, record: KinesisRecord, message: &str, started: Instant, now: Instant) {
        let shards = &mut self.placement.shards;
        let said = shard_in(message);
        let shard = match said.and_then(|id| shards.index(id)) {
            Some(shard) => {
                self.map_is_stale |= shards.seen(record.hash, shard);
                Some(shard)
            }
            None => shards.shard(record.hash),
        };
        self.metrics.throttled_records.with_label_values(&[&*self.config.stream, said.unwrap_or("unknown")]).inc();
        match shard {
            Some(shard) => {
                let at = self.pacer.throttled(shard, record.size, started, now);
                self.collector.resend(record, at);
            }
            None => self.resend(record, now),
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
            self.show_blocked(Some(&was.code), None);
        }
        let (m, stream) = (&self.metrics, &[&*self.config.stream]);
        m.user_records.with_label_values(stream).inc_by(u64::from(record.user_records));
        m.records.with_label_values(stream).inc();
        m.bytes.with_label_values(stream).inc_by(record.size as u64);
        let mut bill = Bill::default();
        bill.add(record.size);
        m.payload_units.with_label_values(stream).inc_by(bill.payload_units);
        m.rounded_bytes.with_label_values(stream).inc_by(bill.rounded_bytes);
        m.alone_bytes.with_label_values(stream).inc_by(record.alone.bytes);
        m.alone_payload_units.with_label_values(stream).inc_by(record.alone.payload_units);
        m.alone_rounded_bytes.with_label_values(stream).inc_by(record.alone.rounded_bytes);
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
        if let Some(lane) = record.lane {
            for idle in self.collector.settled(lane, &self.placement.shards) {
                self.aggregator.wake(idle, now);
            }
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
        let before = self.gate.blocked().map(|blocked| blocked.code.clone());
        if before.as_deref() != Some(code) {
            self.say_blocked(code, message);
        }
        self.show_blocked(before.as_deref(), Some(code));
        self.gate.hold(code, started, now, &mut self.rng)
    }

    pub(super) fn say_blocked(&self, code: &str, message: &str) {
        let way_out = verdict::way_out(code);
        tracing::error!(
            code,
            // A field that is called message would take the place of the message.
            said = message,
            stream = &*self.config.stream,
            "delivery is blocked and nothing is dropped: {way_out}"
        );
    }

    /// What is in the way now in place of what was, on the gauge.
    pub(super) fn show_blocked(&self, before: Option<&str>, now: Option<&str>) {
        for (code, value) in [(before, 0), (now, 1)] {
            if let Some(code) = code {
                self.metrics.blocked.with_label_values(&[code]).set(value);
            }
        }
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
        let events: Vec<&[u8]> = match deaggregate(data, 0..=u128::MAX) {
            Deaggregated::Records(records) => records.iter().map(|r| r.data).collect(),
            Deaggregated::Raw(_) | Deaggregated::Lost { .. } => vec![data],
        };
        // As they were before: what is sent again later is not compressed.
        let kind = self.config.packing.compression;
        let plain = |event: &[u8]| decompress(kind, event).unwrap_or_else(|| event.to_vec());
        let events: Vec<Vec<u8>> = events.into_iter().map(plain).collect();
        self.dead_letters.write(events.iter().map(|event| {
            let letter = DeadLetter { time, reason, message, stream, partition_key, data: None, data_base64: None };
            (letter, &event[..])
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
