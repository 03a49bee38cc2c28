//! The sender's way in: batches become open records, and the ledger hears of what they hold. Nothing is sent here.

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::aggregate::{Goes, MAX_KEY_BYTES, UserRecord, max_event};
use super::client::PutRecords;
use super::pace::SHARD_BYTES_PER_SECOND;
use super::place::{EventKeys, Place};
use super::record::KinesisRecord;
use super::{DEAD_LETTER_RETRY, Sender, Spare, goes};
use crate::clock::unix_seconds;
use crate::deadletter::DeadLetter;
use crate::event::{Batch, LaneId, Span, join_span};
use crate::line::{DROP_REASONS, Shaped};

impl<P: PutRecords> Sender<P> {
    pub(super) fn take(&mut self, batch: Batch, spare: &mpsc::Sender<Spare>) {
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

    pub(super) fn unpark(&mut self, spare: &mpsc::Sender<Spare>) {
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
        let transformed: u64 = c.shaped.dropped.iter().sum();
        let dropped = c.dropped_blank + c.dropped_parse + transformed;
        m.read_bytes.with_label_values(source).inc_by(batch.end - batch.start);
        m.read_lines.with_label_values(source).inc_by(c.lines);
        m.events.with_label_values(source).inc_by((batch.events.len() + batch.rejected.len()) as u64 + dropped);
        for (count, reason) in [(c.dropped_blank, "blank"), (c.dropped_parse, "parse_error")] {
            if count > 0 {
                m.dropped_events.with_label_values(&["parse", reason]).inc_by(count);
            }
        }
        for (count, reason) in c.shaped.dropped.iter().zip(DROP_REASONS) {
            if *count > 0 {
                m.dropped_events.with_label_values(&["transform", reason]).inc_by(*count);
            }
        }
        self.account_times(&batch.source_name, &c.shaped);
        if c.parse_errors > 0 {
            m.parse_errors.with_label_values(&[&*batch.parser]).inc_by(c.parse_errors);
        }
        for (count, format) in [(c.cri_errors, "cri"), (c.docker_errors, "docker"), (c.nested_errors, "nested")] {
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
        let routes = &batch.routes.counts;
        let keys = routes.keys().map(|(count, reason)| (&m.key_fallbacks, count, reason));
        let streams = routes.streams().map(|(count, reason)| (&m.stream_fallbacks, count, reason));
        for (fallbacks, count, reason) in keys.into_iter().chain(streams) {
            if count > 0 {
                fallbacks.with_label_values(&[reason]).inc_by(count);
            }
        }
    }

    fn account_times(&self, source: &str, shaped: &Shaped) {
        let m = &self.metrics;
        for (count, reason) in [(shaped.times_missing, "missing"), (shaped.times_unreadable, "unreadable")] {
            if count > 0 {
                m.timestamp_errors.with_label_values(&[source, reason]).inc_by(count);
            }
        }
        if let Some(nanos) = shaped.skew_nanos {
            #[expect(clippy::cast_precision_loss, reason = "to the nanosecond nobody wants it of days")]
            m.event_skew.with_label_values(&[source]).set(nanos as f64 / 1e9);
        }
    }

    fn pack(&mut self, batch: Batch, spare: &mpsc::Sender<Spare>) {
        let now = Instant::now();
        let mut more = &batch.more[..];
        // The size of what is open in the lane of the event before.
        let mut known = None;
        for (index, event) in batch.events.iter().enumerate() {
            let count = more.iter().take_while(|further| further.event as usize == index).count();
            let (further, rest) = more.split_at(count);
            more = rest;
            let own = batch.routes.partition_key(index).filter(|own| self.has_room_for(own, batch.bytes(event)));
            let keys =
                EventKeys { lane: batch.lane, source: &batch.partition_key, own, hash: batch.routes.hash_key(index) };
            let place = self.placement.place(&keys);
            let record = UserRecord {
                partition_key: keys.own,
                data: batch.bytes(event),
                span: Span { source: batch.source, start: event.span_start, end: event.span_end },
                further,
                read_at: batch.read_at,
            };
            if let Some(hot) = &mut self.hot {
                hot.add(keys.own.unwrap_or(keys.source), record.data.len() as u64);
            }
            let size = match known {
                Some((lane, size)) if lane == place.lane => size,
                _ => self.size(place.lane),
            };
            known = Some((place.lane, size));
            if self.aggregator.add_below(size, place.lane, &record) {
                continue;
            }
            known = None;
            if let Some(closed) = self.add(&record, &keys, (place, size), now) {
                self.collector.push(closed, &self.placement.shards);
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

    /// Events are cut so that a record holds one with keys of ASCII. Beside the largest of them, a longer key gives way to that of the source.
    fn has_room_for(&self, own: &str, data: &[u8]) -> bool {
        let fits = own.len() <= MAX_KEY_BYTES || data.len() + 2 * own.len() <= max_event(self.config.packing.max);
        if !fits {
            self.metrics.key_fallbacks.with_label_values(&["too_long"]).inc();
        }
        fits
    }

    /// The size at which what is open in a lane is full.
    fn size(&self, lane: Option<LaneId>) -> usize {
        let target = self.config.packing.target;
        let shard = self.aggregator.key(lane).and_then(|key| self.placement.shards.shard(key.hash));
        shard.map_or(target, |shard| self.pacer.record_size(shard, target))
    }

    /// Adds an event to what is full at this size, and answers a record when one had to be closed first.
    fn add(
        &mut self,
        record: &UserRecord<'_>,
        keys: &EventKeys<'_>,
        (place, size): (Place, usize),
        now: Instant,
    ) -> Option<KinesisRecord> {
        let Self { aggregator, collector, placement, pacer, config, .. } = self;
        let (lane, target, shards) = (place.lane, config.packing.target, &placement.shards);
        let shard = aggregator.key(lane).and_then(|key| shards.shard(key.hash));
        let mut full = aggregator.is_full(lane, record, size);
        // A record that can go out at once stops there; one that has to wait anyway grows. Where shards have limits, only those of lanes do: while
        // another one grew, the other shards would be idle.
        let grown = match shard {
            Some(shard) if lane.is_some() || pacer.rate(shard) > SHARD_BYTES_PER_SECOND => {
                pacer.grown_size(shard, target)
            }
            _ => size,
        };
        if full
            && grown > size
            && let Some(key) = aggregator.key(lane)
        {
            let waits = goes(lane, key, (collector, pacer, shards), now) != Goes::Now;
            full = !waits || aggregator.is_full(lane, record, grown.min(config.max_bytes).max(size));
        }
        let closed = if full { aggregator.close(lane) } else { None };
        aggregator.add(lane, record, || placement.outer_key(keys, place, pacer, now));
        closed
    }
}
