//! The aggregation format against vectors that other libraries made (`aws_kinesis_agg`, `aws-kinesis-agg`, KCL), and against KCL's rule: whatever the
//! Aggregator packs must survive every number of shards. It sends nothing.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use kinetail::budget::Budget;
use kinetail::config::{Format, PartitionKey};
use kinetail::event::{LaneId, SourceId, Span};
use kinetail::kinesis::aggregate::{Aggregator, Packing, UserRecord, max_event};
use kinetail::kinesis::deaggregate::{Deaggregated, deaggregate};
use kinetail::kinesis::encode::{Encoder, Keys};
use kinetail::kinesis::hash::hash_key;
use kinetail::kinesis::md5;
use kinetail::kinesis::record::{KinesisRecord, finish};
use proptest::prelude::*;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

const SMALL: &str = include_str!("data/vectors_small.json");
const NEGATIVE: &str = include_str!("data/vectors_negative.json");
const ALL_KEYS: RangeInclusive<u128> = 0..=u128::MAX;
const SHARD_COUNTS: [u128; 4] = [1, 2, 4, 16];

#[derive(Deserialize)]
struct Vector {
    name: String,
    user_records: Vec<VectorRecord>,
    aggregated_b64: String,
    aggregated_len: usize,
    aggregated_sha256: String,
}

#[derive(Deserialize)]
struct VectorRecord {
    pk: String,
    ehk: Option<String>,
    data_b64: String,
    hash_key: String,
}

#[derive(Deserialize)]
struct Blob {
    name: String,
    #[serde(rename = "blob_b64")]
    base64: String,
    kcl: String,
}

fn base64(text: &str) -> Vec<u8> {
    base64_simd::STANDARD.decode_to_vec(text).expect("vectors hold base64")
}

fn sha256(data: &[u8]) -> String {
    let hex = |byte: u8| [byte >> 4, byte & 15].map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)]));
    Sha256::digest(data).iter().flat_map(|byte| hex(*byte)).collect()
}

fn small() -> Vec<Vector> {
    serde_json::from_str(SMALL).expect("the vectors are JSON")
}

fn seal(encoder: Encoder) -> Vec<u8> {
    let open = encoder.finish();
    let digest = md5::digest(open.protobuf());
    open.seal(digest).bytes().to_vec()
}

/// The range of the one of `count` equal shards that owns a hash key.
fn shard(hash_key: u128, count: u128) -> RangeInclusive<u128> {
    if count == 1 {
        return ALL_KEYS;
    }
    // 2^128 does not fit; for powers of two this is the exact quotient.
    let width = u128::MAX / count + 1;
    let from = hash_key / width * width;
    from..=from + (width - 1)
}

#[test]
fn the_encoder_makes_the_bytes_that_other_libraries_make() {
    let vectors = small();
    assert_eq!(vectors.len(), 11);
    for vector in vectors {
        let name = &vector.name;
        let want = base64(&vector.aggregated_b64);
        assert_eq!((want.len(), sha256(&want)), (vector.aggregated_len, vector.aggregated_sha256), "{name}");
        let mut encoder = Encoder::with_capacity(0);
        let records: Vec<(&VectorRecord, Vec<u8>)> =
            vector.user_records.iter().map(|r| (r, base64(&r.data_b64))).collect();
        for (record, data) in &records {
            encoder.add(Keys { partition_key: &record.pk, explicit_hash_key: record.ehk.as_deref() }, &[data]);
        }
        assert_eq!(encoder.size(), want.len(), "{name}");
        assert!(seal(encoder) == want, "{name}: the bytes differ");

        let Deaggregated::Records(got) = deaggregate(&want, ALL_KEYS) else { panic!("{name} is no aggregate") };
        assert_eq!(got.len(), records.len(), "{name}");
        for (got, (want, data)) in got.iter().zip(&records) {
            let got = (got.partition_key, got.explicit_hash_key, got.data);
            assert_eq!(got, (&*want.pk, want.ehk.as_deref(), &data[..]), "{name}");
            if want.ehk.is_none() {
                assert_eq!(hash_key(&want.pk).to_string(), want.hash_key, "{name}");
            }
        }
    }
}

#[test]
fn aggregates_at_the_edge_of_a_mebibyte() {
    for (zeros, size, want) in [
        (1_048_540, 1_048_576, "3c673f31089ee4b9e2f788990c24ad62efe7ab3628ecfbd519b4127b07df9072"),
        (1_048_536, 1_048_572, "77fa371e0242d5180a29e24c24cf4b7ca9e51756fb48cbe2260ea71503da74f9"),
    ] {
        let mut encoder = Encoder::with_capacity(zeros);
        encoder.add(Keys { partition_key: "edge", explicit_hash_key: None }, &[&vec![0; zeros]]);
        assert_eq!(encoder.size(), size);
        let made = seal(encoder);
        assert_eq!((made.len(), &*sha256(&made)), (size, want));
    }
}

#[test]
fn broken_blobs_become_what_kcl_makes_of_them() {
    let blobs: Vec<Blob> = serde_json::from_str(NEGATIVE).expect("the vectors are JSON");
    assert_eq!(blobs.len(), 19);
    for blob in blobs {
        let data = base64(&blob.base64);
        // Whether each record that KCL delivered came out of an aggregate.
        let aggregated = match deaggregate(&data, ALL_KEYS) {
            Deaggregated::Raw(raw) => {
                assert_eq!(raw, data, "{}", blob.name);
                vec!["'false'"]
            }
            Deaggregated::Records(records) | Deaggregated::Lost { kept: records, .. } => vec!["'true'"; records.len()],
        };
        let got = format!("{} rec, aggregated=[{}]", aggregated.len(), aggregated.join(", "));
        assert_eq!(got, blob.kcl, "{}", blob.name);
    }
}

#[test]
fn mixed_keys_do_not_survive_kcl_and_equal_ones_do() {
    for vector in small() {
        let count = vector.user_records.len();
        let want = match &*vector.name {
            "single" | "shared_pk_3" | "ehk_stamped" => [count; 4],
            "distinct_pk_3" => [count, count, count, 0],
            "empty_data" => [count, count, 0, 0],
            _ => [count, 0, 0, 0],
        };
        let first = vector.user_records.first().expect("no vector is empty");
        let outer: u128 = first.hash_key.parse().expect("hash keys are decimal");
        let data = base64(&vector.aggregated_b64);
        let survivors = SHARD_COUNTS.map(|shards| match deaggregate(&data, shard(outer, shards)) {
            Deaggregated::Records(records) | Deaggregated::Lost { kept: records, .. } => records.len(),
            Deaggregated::Raw(_) => panic!("{} is no aggregate", vector.name),
        });
        assert_eq!(survivors, want, "{}", vector.name);
    }
}

/// An event as it goes in: its lane and its bytes.
type In = (u32, Vec<u8>);

/// Packs events the way the sender does, with lanes that are idle or busy by chance, and answers the records in the order in which they closed.
fn pack(packing: &Packing, events: &[In], rng: &mut fastrand::Rng) -> Vec<KinesisRecord> {
    let budget = Budget::new(usize::MAX);
    let pool = budget.try_reserve(0).expect("nothing always fits");
    let mut aggregator = Aggregator::new(packing.clone(), pool, rng.u64(..));
    let mut now = Instant::now();
    let mut closed = Vec::new();
    let mut offset = 0;
    for (lane, data) in events {
        let key: Arc<str> = format!("host:/var/log/é{lane}.log").into();
        let span = Span { source: SourceId(0), start: offset, end: offset + data.len() as u64 + 1 };
        offset = span.end;
        let record = UserRecord { lane: LaneId(*lane), partition_key: &key, data, span, further: &[], read_at: now };
        closed.extend(aggregator.push(&record, rng.bool()));
        aggregator.absorb(budget.try_reserve(data.len() + 1).expect("the budget has no end"));
        aggregator.release();
        if rng.u8(..4) == 0 {
            now += Duration::from_millis(rng.u64(..400));
            let lane_is_idle = rng.bool();
            closed.extend(aggregator.close_due(now, |_| lane_is_idle));
            closed.extend(aggregator.close_ripe(LaneId(*lane), now));
        }
    }
    closed.extend(aggregator.close_all());
    assert_eq!(aggregator.oldest(), None);
    aggregator.release();
    let held: usize = closed.iter().map(|r| r.permit.bytes()).sum();
    assert_eq!(budget.used(), held, "each record holds its own memory and nothing else does");
    finish(&mut closed);
    closed
}

/// What a consumer of every shard count gets out of a record, each event with its newline.
fn consume(format: Format, record: &KinesisRecord, data: &[u8]) -> Vec<Vec<u8>> {
    match format {
        Format::Single => vec![data.to_vec()],
        Format::Lines => data.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect(),
        Format::Kpl => {
            let outer = hash_key(&record.partition_key);
            let mut seen: Option<Vec<Vec<u8>>> = None;
            for count in SHARD_COUNTS {
                let Deaggregated::Records(records) = deaggregate(data, shard(outer, count)) else {
                    panic!("KCL throws it away at {count} shards");
                };
                let events: Vec<_> = records.iter().map(|r| r.data.to_vec()).collect();
                assert!(seen.is_none_or(|s| s == events));
                seen = Some(events);
            }
            seen.expect("there are shard counts")
        }
    }
}

/// Checks everything that must hold for what became of some events.
fn check(packing: &Packing, events: &[In], records: &[KinesisRecord]) {
    let mut by_lane = BTreeMap::<Option<LaneId>, Vec<Vec<u8>>>::new();
    let mut spans = Vec::new();
    for record in records {
        let data = record.data();
        assert_eq!(record.size, data.len() + record.partition_key.len(), "the size that Kinesis counts");
        assert!(record.size <= packing.max && record.partition_key.chars().count() <= 256);
        let got = consume(packing.format, record, &data);
        assert_eq!(got.len(), record.user_records as usize);
        assert!(packing.format != Format::Single || got.len() == 1);
        let bytes: u64 = record.spans.iter().map(|s| s.end - s.start).sum();
        assert_eq!(bytes, got.iter().map(|e| e.len() as u64).sum::<u64>(), "the spans are the events' own");
        assert!(record.spans.windows(2).all(|w| w[0].end < w[1].start), "spans grow, and adjacent ones are one");
        spans.extend(record.spans.iter().map(|s| (s.start, s.end)));
        by_lane.entry(record.lane).or_default().extend(got);
    }
    let mut want = BTreeMap::<Option<LaneId>, Vec<Vec<u8>>>::new();
    for (lane, data) in events {
        let lane = (packing.partition_key == PartitionKey::Source).then_some(LaneId(*lane));
        want.entry(lane).or_default().push([data, &b"\n"[..]].concat());
    }
    assert!(by_lane == want, "every event is there once, in the order of its lane");
    spans.sort_unstable();
    let total: u64 = events.iter().map(|(_, data)| data.len() as u64 + 1).sum();
    assert!(spans.windows(2).all(|w| w[0].1 == w[1].0), "all spans together have no hole and no overlap");
    assert_eq!((spans.first().map(|s| s.0), spans.last().map(|s| s.1)), (Some(0), Some(total)));
}

fn packing() -> impl Strategy<Value = Packing> {
    let format = prop_oneof![3 => Just(Format::Kpl), 1 => Just(Format::Lines), 1 => Just(Format::Single)];
    let partition_key = prop_oneof![Just(PartitionKey::Random), Just(PartitionKey::Source)];
    (format, partition_key, 100usize..5000, 1500usize..6000, 0u64..500).prop_map(
        |(format, partition_key, target, max, age)| Packing {
            format,
            partition_key,
            target,
            max,
            max_age: Duration::from_millis(age),
        },
    )
}

/// Events of up to what fits into the smallest record of [`packing`]. Empty ones are events too.
fn events() -> impl Strategy<Value = Vec<In>> {
    let length = prop_oneof![4 => 0usize..60, 1 => 100usize..140, 1 => Just(max_event(1500))];
    let event = (0u32..4, length, any::<u8>()).prop_map(|(lane, len, byte)| {
        let byte = if byte == b'\n' { 0 } else { byte };
        (lane, vec![byte; len])
    });
    prop::collection::vec(event, 1..150)
}

proptest! {
    /// For all events in every packing: nothing is lost, lanes keep their order, sizes keep the limit, spans add up, and KCL delivers all
    /// of it at every number of shards.
    #[test]
    fn whatever_is_packed_survives(packing in packing(), events in events(), seed in any::<u64>()) {
        let records = pack(&packing, &events, &mut fastrand::Rng::with_seed(seed));
        check(&packing, &events, &records);
    }
}

#[test]
fn the_largest_event_fits_into_a_record_of_any_format() {
    for format in [Format::Kpl, Format::Lines, Format::Single] {
        for partition_key in [PartitionKey::Random, PartitionKey::Source] {
            let packing =
                Packing { format, partition_key, target: 51_200, max: 1 << 20, max_age: Duration::from_secs(1) };
            let events =
                vec![(0, vec![b'x'; max_event(1 << 20)]), (0, Vec::new()), (1, vec![b'y'; max_event(1 << 20)])];
            let records = pack(&packing, &events, &mut fastrand::Rng::with_seed(1));
            check(&packing, &events, &records);
        }
    }
}
