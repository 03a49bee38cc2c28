//! One Kinesis record on its way: what it holds, whose bytes it settles, and the form in which it is sent.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use crate::budget::Permit;
use crate::config::Format;
use crate::event::{EventRef, LaneId, Span};
use crate::kinesis::aggregate::Bill;
use crate::kinesis::client::Entry;
use crate::kinesis::encode::Undigested;
use crate::kinesis::md5;

/// Bytes of memory that a record takes beside its payload: this struct, its spans, its keys.
const OVERHEAD_BYTES: usize = 512;

/// The memory that a payload of this length takes until it is settled. It is kept as it was packed: the base64 of a request is made while it
/// is sent, a piece at a time.
pub fn memory(payload: usize) -> usize {
    payload + OVERHEAD_BYTES
}

/// What an event takes in an aggregate beside its bytes: tags, lengths, the newline.
const EVENT_BYTES: usize = 12;

/// The memory that a batch's events take when they are packed, with this key. Where each becomes a record of its own, that is far more than
/// their bytes.
pub fn batch_memory(format: Format, partition_key: &str, events: &[EventRef]) -> usize {
    let lengths = events.iter().map(|e| (e.end - e.start) as usize + EVENT_BYTES);
    match format {
        Format::Kpl | Format::Lines => memory(lengths.sum()),
        Format::Single => lengths.map(|length| memory(length + partition_key.len())).sum(),
    }
}

/// A closed aggregate (or whatever the format makes of events) with all that is needed to send it, send it again, and settle it.
#[derive(Debug)]
pub struct KinesisRecord {
    /// The lane whose order it keeps; none where order does not count.
    pub lane: Option<LaneId>,
    /// Its partition key.
    pub partition_key: Arc<str>,
    /// Where it lies in the hash space.
    pub hash: u128,
    /// That is said by an explicit hash key, and not by the partition key.
    pub explicit: bool,
    /// What Kinesis counts: the length of data and partition key.
    pub size: usize,
    /// The events in it.
    pub user_records: u32,
    /// What they would be billed for one by one.
    pub alone: Bill,
    /// The bytes of files that it settles.
    pub spans: Vec<Span>,
    /// When the oldest of its events was read.
    pub oldest: Instant,
    /// The memory it holds.
    pub permit: Permit,
    /// How often it has been sent.
    pub attempts: u32,
    /// Its data.
    pub payload: Payload,
}

/// A record's data, first as it was packed, then as it is sent. A resend is the same bytes.
#[derive(Debug)]
pub enum Payload {
    /// An aggregate that lacks its digest.
    Undigested(Undigested),
    /// Finished data.
    Data(Bytes),
}

impl Payload {
    /// The length of the data that is sent.
    pub fn len(&self) -> usize {
        match self {
            Self::Undigested(open) => open.size(),
            Self::Data(data) => data.len(),
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl KinesisRecord {
    /// The element of `Records`. [`finish`] has been called before.
    pub fn entry(&self) -> Entry {
        let hash_key = self.explicit.then_some(self.hash);
        Entry { data: self.data().clone(), partition_key: Arc::clone(&self.partition_key), hash_key }
    }

    /// The record's data. [`finish`] has been called before.
    pub fn data(&self) -> &Bytes {
        match &self.payload {
            Payload::Data(data) => data,
            Payload::Undigested(_) => unreachable!("a record is finished before it is sent"),
        }
    }
}

/// Brings records into the form in which they are sent. Digests are computed for several aggregates at once.
pub fn finish(records: &mut [KinesisRecord]) {
    let mut waiting: Vec<(usize, Undigested)> = Vec::with_capacity(md5::LANES);
    for (index, record) in records.iter_mut().enumerate() {
        match std::mem::replace(&mut record.payload, Payload::Data(Bytes::new())) {
            Payload::Undigested(open) => waiting.push((index, open)),
            done @ Payload::Data(_) => record.payload = done,
        }
    }
    // Those of a length stay side by side to the end.
    waiting.sort_by_key(|(_, open)| open.size());
    let mut rest = waiting.into_iter().peekable();
    while rest.peek().is_some() {
        let group: Vec<_> = rest.by_ref().take(md5::LANES).collect();
        for ((index, open), digest) in digests(group) {
            records[index].payload = Payload::Data(open.seal(digest));
        }
    }
}

fn digests(group: Vec<(usize, Undigested)>) -> Vec<((usize, Undigested), [u8; 16])> {
    // Two or three are hashed in lockstep too: lanes that repeat a message cost nothing more.
    let digests: Vec<_> = match &group[..] {
        [] => Vec::new(),
        [one] => vec![md5::digest(one.1.protobuf())],
        several => {
            let lanes = std::array::from_fn(|i| several[i % several.len()].1.protobuf());
            md5::digest_lanes(lanes).into()
        }
    };
    group.into_iter().zip(digests).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::budget::Budget;
    use crate::kinesis::encode::{Encoder, Keys};
    use crate::kinesis::hash::hash_key;

    /// A record of one event, for tests of what handles records.
    pub(crate) fn record(lane: Option<u32>, data: &str) -> KinesisRecord {
        KinesisRecord {
            lane: lane.map(LaneId),
            partition_key: "k".into(),
            hash: hash_key("k"),
            explicit: false,
            size: data.len() + 1,
            user_records: 1,
            alone: Bill::default(),
            spans: Vec::new(),
            oldest: Instant::now(),
            permit: Budget::new(usize::MAX).try_reserve(0).unwrap(),
            attempts: 0,
            payload: Payload::Data(Bytes::copy_from_slice(data.as_bytes())),
        }
    }

    #[test]
    fn a_finished_record_has_its_digest_and_stays_as_it_is() {
        for count in [1, 3, 4, 9] {
            let mut records: Vec<_> = (0..count).map(|i| record(None, &"x".repeat(i * 100))).collect();
            for r in records.iter_mut().skip(1) {
                let keys = Keys { partition_key: "k", explicit_hash_key: None };
                let mut open = Encoder::with_capacity(0);
                let data = r.size.to_string();
                open.add(keys, &[data.as_bytes()]);
                r.explicit = r.size % 2 == 0;
                r.payload = Payload::Undigested(open.finish());
            }
            finish(&mut records);
            for r in &records {
                assert_eq!(r.entry().hash_key.is_some(), r.explicit);
                if let Some(protobuf) = r.data().strip_prefix(&crate::kinesis::encode::MAGIC) {
                    let (protobuf, digest) = protobuf.split_at(protobuf.len() - 16);
                    assert_eq!(md5::digest(protobuf), digest);
                }
            }
            let before: Vec<_> = records.iter().map(|r| r.data().clone()).collect();
            finish(&mut records);
            let after: Vec<_> = records.iter().map(|r| r.data().clone()).collect();
            assert_eq!(before, after, "a resend is the same bytes");
        }
    }
}
