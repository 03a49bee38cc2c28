//! The KPL's aggregation format (aggregation-format.md of awslabs/amazon-kinesis-producer): magic, a protobuf message of key tables and
//! records, MD5. Written by hand so that its size is exact before a record is added and each record is copied once.

use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;

/// What every aggregate begins with.
pub const MAGIC: [u8; 4] = [0xF3, 0x89, 0x9A, 0xC2];
/// The MD5 of the protobuf that every aggregate ends with.
pub const DIGEST_BYTES: usize = 16;

/// Tags of the message: field number and wire type 2 (length-delimited) or 0 (varint).
const PARTITION_KEY_TABLE: u8 = 1 << 3 | 2;
const EXPLICIT_HASH_KEY_TABLE: u8 = 2 << 3 | 2;
const RECORDS: u8 = 3 << 3 | 2;
const PARTITION_KEY_INDEX: u8 = 1 << 3;
const EXPLICIT_HASH_KEY_INDEX: u8 = 2 << 3;
const DATA: u8 = 3 << 3 | 2;

/// Room before the records for the magic and the tables: enough for one key of 256 characters of one byte and one explicit hash key.
/// Larger tables cost one move of the records.
const HEADROOM: usize = 320;

/// A user record's own keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keys<'a> {
    /// The partition key.
    pub partition_key: &'a str,
    /// The explicit hash key, in decimal.
    pub explicit_hash_key: Option<&'a str>,
}

/// A key table: its wire form, and the index of each key in it.
#[derive(Debug, Default)]
struct Table {
    wire: Vec<u8>,
    indices: BTreeMap<Rc<str>, u64>,
    /// Keys come in runs: asking for the same again needs no search.
    last: Option<(Rc<str>, u64)>,
}

impl Table {
    fn find(&self, key: &str) -> Option<u64> {
        match &self.last {
            Some((last, index)) if **last == *key => Some(*index),
            _ => self.indices.get(key).copied(),
        }
    }

    /// The key's index, and the bytes that the table grows by to have it.
    fn cost(&self, key: &str) -> (u64, usize) {
        match self.find(key) {
            Some(index) => (index, 0),
            None => (self.indices.len() as u64, 1 + varint_len(key.len() as u64) + key.len()),
        }
    }

    fn intern(&mut self, tag: u8, key: &str) -> u64 {
        if let Some((last, index)) = &self.last
            && **last == *key
        {
            return *index;
        }
        if let Some((key, index)) = self.indices.get_key_value(key) {
            self.last = Some((Rc::clone(key), *index));
            return *index;
        }
        let (key, index) = (Rc::<str>::from(key), self.indices.len() as u64);
        self.wire.push(tag);
        put_varint(&mut self.wire, key.len() as u64);
        self.wire.extend_from_slice(key.as_bytes());
        self.indices.insert(Rc::clone(&key), index);
        self.last = Some((key, index));
        index
    }
}

/// An aggregate that user records are added to.
#[derive(Debug)]
pub struct Encoder {
    /// [`HEADROOM`], then the records.
    buf: Vec<u8>,
    partition_keys: Table,
    explicit_hash_keys: Table,
    count: u32,
}

impl Encoder {
    /// An empty aggregate that expects to hold about this many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        let mut buf = Vec::with_capacity(HEADROOM + bytes + DIGEST_BYTES);
        buf.resize(HEADROOM, 0);
        Self { buf, partition_keys: Table::default(), explicit_hash_keys: Table::default(), count: 0 }
    }

    /// How many user records it holds.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The exact size of the finished aggregate.
    pub fn size(&self) -> usize {
        MAGIC.len() + self.tables_len() + (self.buf.len() - HEADROOM) + DIGEST_BYTES
    }

    /// The exact number of bytes that a user record of this length would add.
    pub fn cost(&self, keys: Keys<'_>, data_len: usize) -> usize {
        let (pk, pk_table) = self.partition_keys.cost(keys.partition_key);
        let (ehk, ehk_table) = keys.explicit_hash_key.map_or((None, 0), |key| {
            let (index, table) = self.explicit_hash_keys.cost(key);
            (Some(index), table)
        });
        let inner = record_len(pk, ehk, data_len);
        pk_table + ehk_table + 1 + varint_len(inner as u64) + inner
    }

    /// Adds a user record whose data is these pieces in a row.
    pub fn add(&mut self, keys: Keys<'_>, data: &[&[u8]]) {
        let pk = self.partition_keys.intern(PARTITION_KEY_TABLE, keys.partition_key);
        let ehk = keys.explicit_hash_key.map(|key| self.explicit_hash_keys.intern(EXPLICIT_HASH_KEY_TABLE, key));
        let len = data.iter().map(|d| d.len()).sum();
        let buf = &mut self.buf;
        buf.push(RECORDS);
        put_varint(buf, record_len(pk, ehk, len) as u64);
        // The index is a required field of proto2: it is written even where it is 0, or consumers reject the message.
        buf.push(PARTITION_KEY_INDEX);
        put_varint(buf, pk);
        if let Some(ehk) = ehk {
            buf.push(EXPLICIT_HASH_KEY_INDEX);
            put_varint(buf, ehk);
        }
        buf.push(DATA);
        put_varint(buf, len as u64);
        for piece in data {
            buf.extend_from_slice(piece);
        }
        self.count += 1;
    }

    /// Closes the aggregate: all of it but the digest, which is best computed for several at once.
    pub fn finish(mut self) -> Undigested {
        let front = MAGIC.len() + self.tables_len();
        let start = HEADROOM.saturating_sub(front);
        if front > HEADROOM {
            self.buf.splice(0..0, std::iter::repeat_n(0, front - HEADROOM));
        }
        let tables = start + MAGIC.len();
        let keys_end = tables + self.partition_keys.wire.len();
        let end = keys_end + self.explicit_hash_keys.wire.len();
        self.buf[start..tables].copy_from_slice(&MAGIC);
        self.buf[tables..keys_end].copy_from_slice(&self.partition_keys.wire);
        self.buf[keys_end..end].copy_from_slice(&self.explicit_hash_keys.wire);
        trim(&mut self.buf, DIGEST_BYTES);
        Undigested { buf: self.buf, start }
    }

    fn tables_len(&self) -> usize {
        self.partition_keys.wire.len() + self.explicit_hash_keys.wire.len()
    }
}

/// A closed aggregate without its digest.
#[derive(Debug)]
pub struct Undigested {
    buf: Vec<u8>,
    start: usize,
}

impl Undigested {
    /// What the digest is computed over.
    pub fn protobuf(&self) -> &[u8] {
        &self.buf[self.start + MAGIC.len()..]
    }

    /// The length with the digest.
    pub fn size(&self) -> usize {
        self.buf.len() - self.start + DIGEST_BYTES
    }

    /// Appends the digest: the finished aggregate.
    pub fn seal(mut self, digest: [u8; DIGEST_BYTES]) -> Bytes {
        self.buf.extend_from_slice(&digest);
        Bytes::from(self.buf).slice(self.start..)
    }
}

/// Gives back what a payload does not use but for this much: it may wait for long, and one that grew has room for twice its size.
pub fn trim(payload: &mut Vec<u8>, spare: usize) {
    let needed = payload.len() + spare;
    if payload.capacity() > needed + needed / 8 {
        payload.shrink_to(needed);
    }
}

#[inline]
fn record_len(pk: u64, ehk: Option<u64>, data_len: usize) -> usize {
    1 + varint_len(pk) + ehk.map_or(0, |ehk| 1 + varint_len(ehk)) + 1 + varint_len(data_len as u64) + data_len
}

#[inline]
fn varint_len(n: u64) -> usize {
    // Seven bits a byte; zero takes one byte too.
    (64 - (n | 1).leading_zeros() as usize).div_ceil(7)
}

#[inline]
fn put_varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n.to_le_bytes()[0] | 0x80);
        n >>= 7;
    }
    out.push(n.to_le_bytes()[0]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinesis::md5;
    use proptest::prelude::*;

    #[derive(Clone, PartialEq, prost::Message)]
    struct AggregatedRecord {
        #[prost(string, repeated, tag = "1")]
        partition_key_table: Vec<String>,
        #[prost(string, repeated, tag = "2")]
        explicit_hash_key_table: Vec<String>,
        #[prost(message, repeated, tag = "3")]
        records: Vec<Record>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    struct Record {
        #[prost(uint64, required, tag = "1")]
        partition_key_index: u64,
        #[prost(uint64, optional, tag = "2")]
        explicit_hash_key_index: Option<u64>,
        #[prost(bytes = "vec", required, tag = "3")]
        data: Vec<u8>,
    }

    type UserRecord = (String, Option<String>, Vec<u8>);

    fn user_record() -> impl Strategy<Value = UserRecord> {
        let key = prop_oneof![Just("k".to_owned()), "[a-zé]{0,40}", "[a-z]{120,140}"];
        (key, prop::option::of("[0-9]{1,39}"), prop::collection::vec(any::<u8>(), 0..300))
    }

    proptest! {
        /// For all user records, the size foretold is the size made, and another protobuf implementation makes the same bytes.
        #[test]
        fn same_bytes_as_prost_and_exact_in_size(records in prop::collection::vec(user_record(), 1..40)) {
            let mut encoder = Encoder::with_capacity(100);
            let mut message = AggregatedRecord { partition_key_table: vec![], explicit_hash_key_table: vec![], records: vec![] };
            let index = |table: &mut Vec<String>, key: &String| {
                let at = table.iter().position(|k| k == key).unwrap_or(table.len());
                if at == table.len() {
                    table.push(key.clone());
                }
                at as u64
            };
            for (pk, ehk, data) in &records {
                let keys = Keys { partition_key: pk, explicit_hash_key: ehk.as_deref() };
                let foretold = encoder.size() + encoder.cost(keys, data.len());
                let (a, b) = data.split_at(data.len() / 2);
                encoder.add(keys, &[a, b]);
                prop_assert_eq!(encoder.size(), foretold);
                let partition_key_index = index(&mut message.partition_key_table, pk);
                let explicit_hash_key_index = ehk.as_ref().map(|k| index(&mut message.explicit_hash_key_table, k));
                message.records.push(Record { partition_key_index, explicit_hash_key_index, data: data.clone() });
            }
            let size = encoder.size();
            let closed = encoder.finish();
            prop_assert_eq!(closed.size(), size);
            prop_assert_eq!(closed.protobuf(), prost::Message::encode_to_vec(&message));
            let digest = md5::digest(closed.protobuf());
            let sealed = closed.seal(digest);
            prop_assert_eq!(sealed.len(), size);
            prop_assert!(sealed.starts_with(&MAGIC) && sealed.ends_with(&digest));
        }
    }

    #[test]
    fn varints_at_their_borders() {
        for (n, len) in [(0, 1), (127, 1), (128, 2), (16_383, 2), (16_384, 3), (u64::MAX, 10)] {
            let mut out = Vec::new();
            put_varint(&mut out, n);
            assert_eq!((out.len(), varint_len(n)), (len, len), "{n}");
        }
    }
}
