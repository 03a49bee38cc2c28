//! Takes aggregates apart as KCL does (`AggregatorUtil` of awslabs/amazon-kinesis-client): what it would hand on whole is handed on whole,
//! what it would throw away is reported as thrown away.

use std::ops::RangeInclusive;

use crate::kinesis::encode::{DIGEST_BYTES, MAGIC};
use crate::kinesis::hash;
use crate::kinesis::md5;

/// What a consumer gets out of one Kinesis record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deaggregated<'a> {
    /// No aggregate: the record's data as it is.
    Raw(&'a [u8]),
    /// The user records of an aggregate.
    Records(Vec<UserRecord<'a>>),
    /// An aggregate of which KCL delivers nothing from this user record on, or nothing at all.
    Lost {
        /// What it had delivered already.
        kept: Vec<UserRecord<'a>>,
        /// Why.
        why: Loss,
    },
}

/// Why KCL gives up on an aggregate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// A record names a key that the tables do not have.
    KeyIndex,
    /// An explicit hash key is no number of 128 bits.
    HashKey,
    /// A record hashes outside the shard it was read from.
    OutsideShard,
}

impl Loss {
    /// The reason in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::KeyIndex => "a record in it names a key that it does not have",
            Self::HashKey => "a record in it has an explicit hash key that is no number of 128 bits",
            Self::OutsideShard => "a record in it hashes outside the shard that it was read from",
        }
    }
}

/// One user record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserRecord<'a> {
    /// Its partition key.
    pub partition_key: &'a str,
    /// Its explicit hash key.
    pub explicit_hash_key: Option<&'a str>,
    /// Its data.
    pub data: &'a [u8],
}

/// Takes a record's data apart that was read from a shard of this range of hash keys.
pub fn deaggregate(data: &[u8], shard: RangeInclusive<u128>) -> Deaggregated<'_> {
    let Some(message) = protobuf(data).and_then(Message::parse) else { return Deaggregated::Raw(data) };
    let mut kept = Vec::with_capacity(message.records.len());
    for record in &message.records {
        let lost = |kept, why| Deaggregated::Lost { kept, why };
        let Some(&partition_key) = at(&message.partition_keys, record.partition_key) else {
            return lost(kept, Loss::KeyIndex);
        };
        let explicit_hash_key = match record.explicit_hash_key {
            None => None,
            Some(index) => match at(&message.explicit_hash_keys, index) {
                Some(&key) => Some(key),
                None => return lost(kept, Loss::KeyIndex),
            },
        };
        let hash_key = match explicit_hash_key {
            None => hash::hash_key(partition_key),
            Some(key) => match hash::parse_hash_key(key) {
                Ok(hash_key) => hash_key,
                Err(_) => return lost(Vec::new(), Loss::HashKey),
            },
        };
        if !shard.contains(&hash_key) {
            return lost(Vec::new(), Loss::OutsideShard);
        }
        kept.push(UserRecord { partition_key, explicit_hash_key, data: record.data });
    }
    Deaggregated::Records(kept)
}

fn at<T>(table: &[T], index: u64) -> Option<&T> {
    table.get(usize::try_from(index).ok()?)
}

fn protobuf(data: &[u8]) -> Option<&[u8]> {
    let rest = data.strip_prefix(&MAGIC)?;
    let (protobuf, digest) = rest.split_at_checked(rest.len().checked_sub(DIGEST_BYTES)?)?;
    (!protobuf.is_empty() && md5::digest(protobuf) == digest).then_some(protobuf)
}

#[derive(Default)]
struct Message<'a> {
    partition_keys: Vec<&'a str>,
    explicit_hash_keys: Vec<&'a str>,
    records: Vec<Record<'a>>,
}

struct Record<'a> {
    partition_key: u64,
    explicit_hash_key: Option<u64>,
    data: &'a [u8],
}

enum Field<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    /// A fixed-size value, which no field that we know has.
    Other,
}

impl<'a> Message<'a> {
    fn parse(mut wire: &'a [u8]) -> Option<Self> {
        let mut message = Self::default();
        while !wire.is_empty() {
            match field(&mut wire)? {
                (1, Field::Bytes(key)) => message.partition_keys.push(std::str::from_utf8(key).ok()?),
                (2, Field::Bytes(key)) => message.explicit_hash_keys.push(std::str::from_utf8(key).ok()?),
                (3, Field::Bytes(record)) => message.records.push(Record::parse(record)?),
                _ => {}
            }
        }
        Some(message)
    }
}

impl<'a> Record<'a> {
    fn parse(mut wire: &'a [u8]) -> Option<Self> {
        let (mut partition_key, mut explicit_hash_key, mut data) = (None, None, None);
        while !wire.is_empty() {
            match field(&mut wire)? {
                (1, Field::Varint(index)) => partition_key = Some(index),
                (2, Field::Varint(index)) => explicit_hash_key = Some(index),
                (3, Field::Bytes(bytes)) => data = Some(bytes),
                _ => {}
            }
        }
        // Both are required fields: KCL refuses a message that lacks one.
        Some(Self { partition_key: partition_key?, explicit_hash_key, data: data? })
    }
}

fn field<'a>(wire: &mut &'a [u8]) -> Option<(u64, Field<'a>)> {
    let tag = varint(wire)?;
    let value = match tag & 7 {
        0 => Field::Varint(varint(wire)?),
        1 => take(wire, 8).map(|_| Field::Other)?,
        2 => {
            let len = usize::try_from(varint(wire)?).ok()?;
            Field::Bytes(take(wire, len)?)
        }
        5 => take(wire, 4).map(|_| Field::Other)?,
        _ => return None,
    };
    (tag >> 3 > 0).then_some((tag >> 3, value))
}

fn take<'a>(wire: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, rest) = wire.split_at_checked(len)?;
    *wire = rest;
    Some(taken)
}

fn varint(wire: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = wire.split_first()?;
        *wire = rest;
        value |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}
