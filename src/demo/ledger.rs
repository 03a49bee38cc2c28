//! What was written against what arrived, line by line. Pure: bytes and times in, totals out.
//!
//! Lines are told apart by a digest of their bytes, so that a line that arrives altered counts as one that was lost and one that nobody
//! wrote. Identical lines are counted as often as they were written.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use tokio::time::Instant;

use super::parts::{Joined, Parts};
use crate::kinesis::deaggregate::{Deaggregated, deaggregate};
use crate::kinesis::md5;

/// What a PUT payload unit is, in bytes: provisioned streams are billed by them, begun ones in full.
const PAYLOAD_UNIT_BYTES: usize = 25 * 1024;

/// A line that somebody will write in a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// The number of its log.
    pub log: usize,
    /// What it is known by.
    pub digest: u128,
}

/// What a line is known by.
pub fn digest(event: &[u8]) -> u128 {
    u128::from_be_bytes(md5::digest(event))
}

/// A Kinesis record as it was read.
#[derive(Debug, Clone)]
pub struct Record {
    /// Its data.
    pub data: Vec<u8>,
    /// How long its partition key is, in bytes.
    pub key_bytes: usize,
}

#[derive(Debug)]
struct Line {
    log: usize,
    /// Its place in its log.
    position: u64,
    written_at: Instant,
    written: u32,
    received: u32,
}

/// The comparison.
#[derive(Debug, Default)]
pub struct Ledger {
    lines: BTreeMap<u128, Line>,
    positions: BTreeMap<usize, u64>,
    newest: BTreeMap<usize, u64>,
    latencies: Vec<Duration>,
    parts: Parts,
    totals: Totals,
}

/// What it came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Lines that were written.
    pub written: u64,
    /// Events that were received; those that are parts of one line count as one.
    pub received: u64,
    /// Of those, the ones that came in parts.
    pub in_parts: u64,
    /// Lines that were written and not received.
    pub lost: u64,
    /// Events that were received more often than written.
    pub duplicates: u64,
    /// Events that are no line that was written.
    pub unknown: u64,
    /// Events that came after a later one of their log.
    pub out_of_order: u64,
    /// Kinesis records.
    pub records: u64,
    /// Kinesis records that KCL would throw away, in whole or in part.
    pub discarded: u64,
    /// PUT payload units of the records.
    pub units: u64,
    /// PUT payload units that the events would take in a record each.
    pub units_alone: u64,
    /// The median time from writing to receiving.
    pub p50: Duration,
    /// The time that one in a hundred events takes longer than.
    pub p99: Duration,
}

impl Ledger {
    /// Takes note of lines, in the order in which they are about to be written.
    pub fn expect(&mut self, lines: &[Expected], now: Instant) {
        self.totals.written += count(lines.len());
        for &Expected { log, digest } in lines {
            let position = self.positions.entry(log).or_default();
            *position += 1;
            let new = Line { log, position: *position, written_at: now, written: 0, received: 0 };
            self.lines.entry(digest).or_insert(new).written += 1;
        }
    }

    /// Takes a record that was read from a shard of this range, and hands on each event with its latency if it is known.
    pub fn receive(
        &mut self,
        record: &Record,
        shard: RangeInclusive<u128>,
        now: Instant,
        mut show: impl FnMut(&[u8], Option<Duration>),
    ) {
        self.totals.records += 1;
        self.totals.units += units(record.data.len() + record.key_bytes);
        let take = |event: &[u8]| show(event, self.event(event, now));
        match deaggregate(&record.data, shard) {
            Deaggregated::Raw(data) => lines_of(data).for_each(take),
            Deaggregated::Records(records) => records.iter().map(|r| without_newline(r.data)).for_each(take),
            Deaggregated::Lost { kept, why } => {
                kept.iter().map(|r| without_newline(r.data)).for_each(take);
                self.totals.discarded += 1;
                tracing::error!(?why, "a consumer with KCL would throw this aggregate away");
            }
        }
    }

    fn event(&mut self, event: &[u8], now: Instant) -> Option<Duration> {
        self.totals.units_alone += units(event.len() + 1);
        let mut known = digest(event);
        if !self.lines.contains_key(&known) {
            match self.parts.offer(event) {
                Joined::Alien => {}
                Joined::Waiting => return None,
                Joined::Line(line) => {
                    self.totals.in_parts += 1;
                    known = digest(&line);
                }
            }
        }
        self.line(known, now)
    }

    fn line(&mut self, known: u128, now: Instant) -> Option<Duration> {
        self.totals.received += 1;
        let Some(line) = self.lines.get_mut(&known) else {
            self.totals.unknown += 1;
            return None;
        };
        line.received += 1;
        if line.received > line.written {
            self.totals.duplicates += 1;
        }
        // A place in the log says something about order only if no other line looks the same.
        if line.written == 1 && line.received == 1 {
            let newest = self.newest.entry(line.log).or_default();
            if line.position < *newest {
                self.totals.out_of_order += 1;
            }
            *newest = line.position.max(*newest);
        }
        let latency = now.saturating_duration_since(line.written_at);
        self.latencies.push(latency);
        Some(latency)
    }

    /// Lines written and events received so far.
    pub fn so_far(&self) -> (u64, u64) {
        (self.totals.written, self.totals.received)
    }

    /// The totals, once everything that will arrive has arrived.
    pub fn close(mut self) -> Totals {
        let missing = |line: &Line| u64::from(line.written.saturating_sub(line.received));
        self.totals.lost = self.lines.values().map(missing).sum();
        self.latencies.sort_unstable();
        let at = |percent: usize| self.latencies.get((self.latencies.len() * percent).div_ceil(100).saturating_sub(1));
        self.totals.p50 = at(50).copied().unwrap_or_default();
        self.totals.p99 = at(99).copied().unwrap_or_default();
        self.totals
    }
}

/// The events of a record that is no aggregate: one, or one a line.
fn lines_of(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    without_newline(data).split(|&byte| byte == b'\n')
}

fn without_newline(data: &[u8]) -> &[u8] {
    data.strip_suffix(b"\n").unwrap_or(data)
}

fn units(bytes: usize) -> u64 {
    count(bytes.div_ceil(PAYLOAD_UNIT_BYTES).max(1))
}

/// A count of things in memory.
fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: RangeInclusive<u128> = 0..=u128::MAX;

    fn written(ledger: &mut Ledger, log: usize, lines: &[&str], now: Instant) {
        let lines: Vec<_> = lines.iter().map(|l| Expected { log, digest: digest(l.as_bytes()) }).collect();
        ledger.expect(&lines, now);
    }

    fn received(ledger: &mut Ledger, data: &str, now: Instant) {
        let record = Record { data: data.as_bytes().to_vec(), key_bytes: 1 };
        ledger.receive(&record, ALL, now, |_, _| {});
    }

    #[test]
    fn what_arrives_as_it_was_written_is_complete() {
        let (mut ledger, now) = (Ledger::default(), Instant::now());
        written(&mut ledger, 0, &["a", "", "a", "b\r"], now);
        received(&mut ledger, "a\n\na\n", now);
        received(&mut ledger, "b\r\n", now + Duration::from_millis(30));
        let totals = ledger.close();
        let expected = Totals {
            written: 4,
            received: 4,
            records: 2,
            units: 2,
            units_alone: 4,
            p99: Duration::from_millis(30),
            ..Totals::default()
        };
        assert_eq!(totals, expected);
    }

    #[test]
    fn losses_duplicates_and_alterations_are_told_apart() {
        let (mut ledger, now) = (Ledger::default(), Instant::now());
        written(&mut ledger, 0, &["once", "twice", "twice", "never", "altered"], now);
        received(&mut ledger, "once\nonce\ntwice\nalteréd\n", now);
        let Totals { lost, duplicates, unknown, received, .. } = ledger.close();
        assert_eq!((lost, duplicates, unknown, received), (3, 1, 1, 4));
    }

    #[test]
    fn order_is_that_of_each_log_and_of_lines_that_differ() {
        let (mut ledger, now) = (Ledger::default(), Instant::now());
        written(&mut ledger, 0, &["1", "2", "same", "3", "same"], now);
        written(&mut ledger, 1, &["one", "two"], now);
        received(&mut ledger, "one\n1\nsame\nsame\n3\ntwo\n2\n", now);
        assert_eq!(ledger.close().out_of_order, 1);
    }

    #[test]
    fn an_aggregate_from_another_shard_counts_as_lost() {
        use crate::kinesis::encode::{Encoder, Keys};
        let (mut ledger, now) = (Ledger::default(), Instant::now());
        written(&mut ledger, 0, &["x"], now);
        let mut encoder = Encoder::with_capacity(64);
        encoder.add(Keys { partition_key: "k", explicit_hash_key: None }, &[b"x", b"\n"]);
        let aggregate = encoder.finish();
        let digest = md5::digest(aggregate.protobuf());
        let record = Record { data: aggregate.seal(digest).to_vec(), key_bytes: 1 };
        let hash = crate::kinesis::hash::hash_key("k");
        ledger.receive(&record, 0..=hash - 1, now, |_, _| {});
        assert_eq!((ledger.totals.received, ledger.totals.discarded), (0, 1));
        ledger.receive(&record, ALL, now, |event, _| assert_eq!(event, b"x"));
        let Totals { lost, duplicates, received, .. } = ledger.close();
        assert_eq!((lost, duplicates, received), (0, 0, 1));
    }

    #[test]
    fn payload_units_are_begun_ones_of_25_kibibytes() {
        let sizes = [0, 1, 25 * 1024, 25 * 1024 + 1, 51_200];
        assert_eq!(sizes.map(units), [1, 1, 1, 2, 2]);
    }
}
