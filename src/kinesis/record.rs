//! One Kinesis record on its way: what it holds, whose bytes it settles, and the form in which it is sent.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use crate::budget::Permit;
use crate::config::Format;
use crate::event::{EventRef, LaneId, Span};
use crate::kinesis::aggregate::Bill;
use crate::kinesis::encode::Undigested;
use crate::kinesis::hash::{MAX_HASH_KEY_DIGITS, hash_key_text};
use crate::kinesis::md5;

/// Bytes of memory that a record takes beside its payload: this struct, its spans, the JSON around the payload.
const OVERHEAD_BYTES: usize = 512;

/// The memory that a payload of this length takes until it is settled: it is kept as base64, which is a third longer.
pub fn memory(payload: usize) -> usize {
    payload.div_ceil(3) * 4 + OVERHEAD_BYTES
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
    Data(Vec<u8>),
    /// An element of a request's `Records`, as JSON.
    Entry(Bytes),
}

impl Payload {
    /// The length of the data that is sent, while it is not sent yet.
    pub fn len(&self) -> usize {
        match self {
            Self::Undigested(open) => open.size(),
            Self::Data(data) => data.len(),
            Self::Entry(_) => unreachable!("a record's size is known before it is an entry"),
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl KinesisRecord {
    /// Its explicit hash key, if it has one.
    fn hash_key(&self) -> Option<u128> {
        self.explicit.then_some(self.hash)
    }

    /// The element of `Records`. [`finish`] has been called before.
    pub fn entry(&self) -> Bytes {
        match &self.payload {
            Payload::Entry(entry) => entry.clone(),
            Payload::Undigested(_) | Payload::Data(_) => unreachable!("a record is finished before it is sent"),
        }
    }

    /// The record's data once more, for the dead-letter file.
    pub fn data(&self) -> Vec<u8> {
        let entry = self.entry();
        let end = memchr::memchr(b'"', &entry[DATA_OPEN.len()..]).map_or(entry.len(), |at| DATA_OPEN.len() + at);
        base64_simd::STANDARD.decode_to_vec(&entry[DATA_OPEN.len()..end]).expect("it was encoded here")
    }
}

const DATA_OPEN: &[u8] = b"{\"Data\":\"";
const KEY_OPEN: &[u8] = b"\",\"PartitionKey\":";
const HASH_KEY_OPEN: &[u8] = b",\"ExplicitHashKey\":\"";

/// Brings records into the form in which they are sent. Digests are computed for several aggregates at once.
pub fn finish(records: &mut [KinesisRecord]) {
    let mut waiting: Vec<(usize, Undigested)> = Vec::with_capacity(md5::LANES);
    for (index, record) in records.iter_mut().enumerate() {
        match std::mem::replace(&mut record.payload, Payload::Data(Vec::new())) {
            Payload::Undigested(open) => waiting.push((index, open)),
            Payload::Data(data) => {
                record.payload = Payload::Entry(entry(&data, &record.partition_key, record.hash_key()));
            }
            done @ Payload::Entry(_) => record.payload = done,
        }
    }
    let mut rest = waiting.into_iter().peekable();
    while rest.peek().is_some() {
        let group: Vec<_> = rest.by_ref().take(md5::LANES).collect();
        for ((index, open), digest) in digests(group) {
            let record = &mut records[index];
            record.payload = Payload::Entry(entry(open.seal(digest).bytes(), &record.partition_key, record.hash_key()));
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

/// An element of `Records`, as JSON.
pub fn entry(data: &[u8], partition_key: &str, hash_key: Option<u128>) -> Bytes {
    let encoded = base64_simd::STANDARD.encoded_length(data.len());
    let keys = KEY_OPEN.len() + partition_key.len() + 3 + HASH_KEY_OPEN.len() + MAX_HASH_KEY_DIGITS + 1;
    let mut out = Vec::with_capacity(DATA_OPEN.len() + encoded + keys);
    out.extend_from_slice(DATA_OPEN);
    base64_simd::STANDARD.encode_append(data, &mut out);
    out.extend_from_slice(KEY_OPEN);
    crate::event::write_text(partition_key, &mut out);
    if let Some(hash) = hash_key {
        out.extend_from_slice(HASH_KEY_OPEN);
        out.extend_from_slice(hash_key_text(hash).as_bytes());
        out.push(b'"');
    }
    out.push(b'}');
    out.into()
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
            payload: Payload::Data(data.as_bytes().to_vec()),
        }
    }

    #[test]
    fn an_entry_is_what_the_api_wants_and_gives_its_data_back() {
        for count in [1, 3, 4, 9] {
            let mut records: Vec<_> = (0..count).map(|i| record(None, &"x".repeat(i * 100))).collect();
            for r in records.iter_mut().skip(1) {
                let keys = Keys { partition_key: "k\"é", explicit_hash_key: None };
                let mut open = Encoder::with_capacity(0);
                let data = r.size.to_string();
                open.add(keys, &[data.as_bytes()]);
                r.partition_key = keys.partition_key.into();
                r.explicit = r.size % 2 == 0;
                r.payload = Payload::Undigested(open.finish());
            }
            finish(&mut records);
            for r in &records {
                let json: serde_json::Value = serde_json::from_slice(&r.entry()).unwrap();
                assert_eq!(json["PartitionKey"], *r.partition_key);
                assert_eq!(json["ExplicitHashKey"].as_str().is_some(), r.explicit);
                let data = base64_simd::STANDARD.decode_to_vec(json["Data"].as_str().unwrap()).unwrap();
                assert_eq!(data, r.data());
                if let Some(protobuf) = data.strip_prefix(&crate::kinesis::encode::MAGIC) {
                    let (protobuf, digest) = protobuf.split_at(protobuf.len() - 16);
                    assert_eq!(md5::digest(protobuf), digest);
                }
            }
            let before: Vec<_> = records.iter().map(KinesisRecord::entry).collect();
            finish(&mut records);
            assert_eq!(
                before,
                records.iter().map(KinesisRecord::entry).collect::<Vec<_>>(),
                "a resend is the same bytes"
            );
        }
    }
}
