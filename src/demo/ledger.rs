//! What was written against what arrived, line by line. Pure: bytes and times in, totals out.
//!
//! Lines are told apart by a digest of their bytes, so that a line that arrives altered counts as one that was lost and one that nobody
//! wrote. Identical lines are counted as often as they were written.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use tokio::time::Instant;

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
    totals: Totals,
}

/// What it came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Lines that were written.
    pub written: u64,
    /// Events that were received.
    pub received: u64,
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
        self.totals.received += 1;
        self.totals.units_alone += units(event.len() + 1);
        let Some(line) = self.lines.get_mut(&digest(event)) else {
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
