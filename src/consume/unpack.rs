//! A Kinesis record to the events in it: de-aggregated by KCL's rule, decompressed, cut at the delimiter. Pure.

use std::borrow::Cow;
use std::io::Read;
use std::ops::RangeInclusive;

use memchr::memmem;

use crate::kinesis::deaggregate::{Deaggregated, Loss, deaggregate};

/// What a zstd frame begins with.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];
/// What a gzip member of deflated data begins with.
const GZIP_MAGIC: [u8; 3] = [0x1F, 0x8B, 0x08];
/// The most that one record may become: several times the largest record that the agent compresses, and no bomb.
const MAX_DECOMPRESSED_BYTES: u64 = 64 << 20;

/// How records are taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    /// What each event ends with; empty where there is nothing.
    pub delimiter: Vec<u8>,
    /// A record that is no aggregate is one event, whatever is in it.
    pub single: bool,
}

/// An event.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// Its bytes, without the delimiter.
    pub data: &'a [u8],
    /// Its partition key.
    pub partition_key: &'a str,
    /// Its explicit hash key, if it has one.
    pub explicit_hash_key: Option<&'a str>,
    /// Its number in its record.
    pub number: usize,
}

/// What became of a record beside its events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Events that were handed on.
    pub events: u64,
    /// Why KCL would throw away the aggregate, or the rest of it.
    pub lost: Option<Loss>,
    /// How many events that takes, as far as it can be seen.
    pub lost_events: u64,
    /// Parts that are compressed and cannot be decompressed; they are handed on as they are.
    pub damaged: u64,
}

/// Hands on the events of a record that was read from a shard of this range.
pub fn unpack(
    (partition_key, data): (&str, &[u8]),
    shard: &RangeInclusive<u128>,
    format: &Format,
    mut take: impl FnMut(Event<'_>),
) -> Unpacked {
    let mut unpacked = Unpacked::default();
    let (records, lost) = match deaggregate(data, shard.clone()) {
        Deaggregated::Raw(data) => {
            let data = unpacked.plain(data);
            let mut number = 0;
            let event = |data: &[u8]| {
                take(Event { data, partition_key, explicit_hash_key: None, number });
                number += 1;
            };
            if format.single {
                std::iter::once(format.without_delimiter(&data)).for_each(event);
            } else {
                format.split(&data).for_each(event);
            }
            unpacked.events = count(number);
            return unpacked;
        }
        Deaggregated::Records(records) => (records, None),
        Deaggregated::Lost { kept, why } => (kept, Some(why)),
    };
    for (number, record) in records.iter().enumerate() {
        let data = unpacked.plain(record.data);
        let (partition_key, explicit_hash_key) = (record.partition_key, record.explicit_hash_key);
        take(Event { data: format.without_delimiter(&data), partition_key, explicit_hash_key, number });
    }
    unpacked.events = count(records.len());
    if lost.is_some() {
        // What hashes elsewhere can be counted by looking at it as if there were one shard.
        if let Deaggregated::Records(all) = deaggregate(data, 0..=u128::MAX) {
            unpacked.lost_events = count(all.len() - records.len());
        }
        unpacked.lost = lost;
    }
    unpacked
}

impl Unpacked {
    fn plain<'a>(&mut self, data: &'a [u8]) -> Cow<'a, [u8]> {
        let plain = if data.starts_with(&ZSTD_MAGIC) {
            zstd::stream::Decoder::new(data).ok().and_then(read)
        } else if data.starts_with(&GZIP_MAGIC) {
            read(flate2::read::MultiGzDecoder::new(data))
        } else {
            return Cow::Borrowed(data);
        };
        if let Some(plain) = plain {
            return Cow::Owned(plain);
        }
        self.damaged += 1;
        Cow::Borrowed(data)
    }
}

/// All that there is, unless it is damaged or too much.
fn read(from: impl Read) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let read = from.take(MAX_DECOMPRESSED_BYTES + 1).read_to_end(&mut out).ok()?;
    (read as u64 <= MAX_DECOMPRESSED_BYTES).then_some(out)
}

impl Format {
    fn without_delimiter<'a>(&self, data: &'a [u8]) -> &'a [u8] {
        data.strip_suffix(&*self.delimiter).unwrap_or(data)
    }

    /// The events of a record of lines.
    fn split<'a>(&'a self, data: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = Some(self.without_delimiter(data));
        std::iter::from_fn(move || {
            let data = rest.take()?;
            let cut = if self.delimiter.is_empty() { None } else { memmem::find(data, &self.delimiter) };
            let Some((event, after)) = cut.and_then(|cut| data.split_at_checked(cut)) else { return Some(data) };
            rest = after.get(self.delimiter.len()..);
            Some(event)
        })
    }
}

/// A count of things in memory.
fn count(n: usize) -> u64 {
    n as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Compression;
    use crate::kinesis::compress::Compressor;
    use crate::kinesis::encode::{Encoder, Keys};
    use crate::kinesis::md5;

    const ALL: RangeInclusive<u128> = 0..=u128::MAX;

    fn format(delimiter: &str, single: bool) -> Format {
        Format { delimiter: delimiter.as_bytes().to_vec(), single }
    }

    fn compressed(kind: Compression, data: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        Compressor::new(kind).compress(data, &mut out);
        out
    }

    fn aggregate(records: &[(&str, &[u8])]) -> Vec<u8> {
        let mut encoder = Encoder::with_capacity(64);
        for (partition_key, data) in records {
            encoder.add(Keys { partition_key, explicit_hash_key: None }, &[data, b""]);
        }
        let aggregate = encoder.finish();
        let digest = md5::digest(aggregate.protobuf());
        aggregate.seal(digest).to_vec()
    }

    fn events(data: &[u8], format: &Format) -> (Vec<(String, Vec<u8>, usize)>, Unpacked) {
        let mut events = Vec::new();
        let unpacked = unpack(("outer", data), &ALL, format, |event| {
            events.push((event.partition_key.to_owned(), event.data.to_vec(), event.number));
        });
        (events, unpacked)
    }

    fn data(data: &[u8], of: &Format) -> Vec<Vec<u8>> {
        events(data, of).0.into_iter().map(|(_, data, _)| data).collect()
    }

    #[test]
    fn a_record_of_lines_is_cut_at_the_delimiter() {
        assert_eq!(data(b"a\n\nb\n", &format("\n", false)), [&b"a"[..], b"", b"b"]);
        assert_eq!(data(b"a\nb", &format("\n", false)), [&b"a"[..], b"b"]);
        assert_eq!(data(b"a\nb\n", &format("\n", true)), [&b"a\nb"[..]]);
        assert_eq!(data(b"a||b\n||", &format("||", false)), [&b"a"[..], b"b\n"]);
        assert_eq!(data(b"a\n", &format("", false)), [&b"a\n"[..]]);
        assert_eq!(data(b"", &format("\n", false)), [&b""[..]]);
    }

    #[test]
    fn compressed_records_and_events_are_decompressed() {
        for kind in [Compression::Gzip, Compression::Zstd] {
            assert_eq!(data(&compressed(kind, b"a\nb\n"), &format("\n", false)), [&b"a"[..], b"b"]);
        }
        let (a, b) = (compressed(Compression::Zstd, b"{\"a\":1}\n"), b"plain\n");
        let (events, unpacked) = events(&aggregate(&[("k", &a), ("k", b)]), &format("\n", false));
        assert_eq!(events, [("k".into(), b"{\"a\":1}".to_vec(), 0), ("k".into(), b"plain".to_vec(), 1)]);
        assert_eq!(unpacked, Unpacked { events: 2, ..Unpacked::default() });
    }

    #[test]
    fn what_cannot_be_decompressed_is_handed_on_and_counted() {
        let mut torn = compressed(Compression::Gzip, b"something long enough to be torn");
        torn.truncate(20);
        let (events, unpacked) = events(&torn, &format("\n", true));
        assert_eq!((events[0].1.clone(), unpacked.damaged), (torn, 1));
        let bomb = compressed(Compression::Zstd, &vec![0; 65 << 20]);
        assert_eq!(self::events(&bomb, &format("\n", true)).1.damaged, 1);
    }

    #[test]
    fn what_kcl_would_discard_is_counted() {
        let record = aggregate(&[("a", b"1"), ("b", b"2"), ("c", b"3")]);
        let hash = crate::kinesis::hash::hash_key("b");
        let mut seen = 0;
        let unpacked = unpack(("a", &record), &(hash + 1..=u128::MAX), &format("\n", false), |_| seen += 1);
        assert_eq!((seen, unpacked.lost_events, unpacked.lost), (0, 3, Some(Loss::OutsideShard)));
    }
}
