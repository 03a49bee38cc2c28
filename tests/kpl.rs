//! The aggregation format against vectors that other libraries made (`aws_kinesis_agg`, `aws-kinesis-agg`, KCL), and against KCL's rule: whatever the
//! Aggregator packs must survive every number of shards. It sends nothing.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use kinetail::budget::Budget;
use kinetail::config::{Compression, Format, PartitionKey};
use kinetail::event::{LaneId, SourceId, Span};
use kinetail::kinesis::aggregate::{Aggregator, Goes, Packing, UserRecord, max_event};
use kinetail::kinesis::client::OpenShard;
use kinetail::kinesis::deaggregate::{Deaggregated, deaggregate};
use kinetail::kinesis::encode::{Encoder, Keys};
use kinetail::kinesis::hash::hash_key;
use kinetail::kinesis::md5;
use kinetail::kinesis::pace::Pacer;
use kinetail::kinesis::place::{EventKeys, Placement};
use kinetail::kinesis::record::{KinesisRecord, finish};
use kinetail::route::Template;
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
    open.seal(digest).to_vec()
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

/// How events are packed and placed.
#[derive(Debug, Clone)]
struct Plan {
    packing: Packing,
    partition_key: PartitionKey,
    /// The stream's shards are known to be so many; none if they are not known.
    shards: Option<u128>,
}

impl Plan {
    fn placement(&self, seed: u64) -> Placement {
        let mut placement = Placement::new(self.partition_key.clone(), self.packing.format, seed);
        if let Some(count) = self.shards {
            let open = |i: u128| {
                let range = shard(i * (u128::MAX / count + u128::from(count > 1)), count);
                OpenShard { id: format!("shardId-{i:012}"), start: *range.start(), end: *range.end() }
            };
            placement.shards.replace(&(0..count).map(open).collect::<Vec<_>>()).expect("it is a whole map");
        }
        placement
    }

    /// The key that an event brings along, if keys come from events. Some are long, and none is ASCII.
    fn own_key(&self, data: &[u8]) -> Option<String> {
        let is_keyed = matches!(self.partition_key, PartitionKey::Template(_)) && !data.len().is_multiple_of(5);
        is_keyed.then(|| format!("ü{}", data.len() % 7).repeat(1 + data.len() % 3))
    }
}

fn source_key(lane: u32) -> Arc<str> {
    format!("host:/var/log/é{lane}.log").into()
}

/// Packs events the way the sender does, with lanes that are idle or busy by chance, and answers the records in the order in which they closed.
fn pack(plan: &Plan, events: &[In], rng: &mut fastrand::Rng) -> Vec<KinesisRecord> {
    let budget = Budget::new(usize::MAX);
    let pool = budget.try_reserve(0).expect("nothing always fits");
    let mut placement = plan.placement(rng.u64(..));
    let mut aggregator = Aggregator::new(plan.packing.clone(), pool);
    let pacer = Pacer::new(1);
    let mut now = Instant::now();
    let mut closed = Vec::new();
    let mut offset = 0;
    for (lane, data) in events {
        let (source, own) = (source_key(*lane), plan.own_key(data));
        let span = Span { source: SourceId(0), start: offset, end: offset + data.len() as u64 + 1 };
        offset = span.end;
        let keys = EventKeys { lane: LaneId(*lane), source: &source, own: own.as_deref(), hash: None };
        let place = placement.place(&keys);
        let record = UserRecord { partition_key: keys.own, data, span, further: &[], read_at: now };
        let limit = if rng.bool() { plan.packing.target } else { plan.packing.max };
        if aggregator.is_full(place.lane, &record, limit) {
            closed.extend(aggregator.close(place.lane));
        }
        aggregator.add(place.lane, &record, || placement.outer_key(&keys, place, &pacer, now));
        aggregator.absorb(budget.try_reserve(data.len() + 1).expect("the budget has no end"));
        aggregator.release();
        if rng.u8(..4) == 0 {
            now += Duration::from_millis(rng.u64(..400));
            let goes =
                *rng.choice(&[Goes::Now, Goes::WhenIdle, Goes::At(now + Duration::from_millis(50))]).expect("three");
            closed.extend(aggregator.close_due(now, |_, _| goes));
            aggregator.wake(LaneId(*lane), now);
            closed.extend(aggregator.close_due(now, |_, _| Goes::Now));
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
            let outer = if record.explicit { record.hash } else { hash_key(&record.partition_key) };
            assert_eq!(record.hash, outer);
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
fn check(plan: &Plan, events: &[In], records: &[KinesisRecord]) {
    let packing = &plan.packing;
    let mut placement = plan.placement(1);
    let mut by_lane = BTreeMap::<Option<LaneId>, Vec<Vec<u8>>>::new();
    let mut spans = Vec::new();
    for record in records {
        let data = record.data();
        assert_eq!(record.size, data.len() + record.partition_key.len(), "the size that Kinesis counts");
        assert!(record.size <= packing.max && record.partition_key.chars().count() <= 256);
        let got = consume(packing.format, record, data);
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
        let (source, own) = (source_key(*lane), plan.own_key(data));
        let keys = EventKeys { lane: LaneId(*lane), source: &source, own: own.as_deref(), hash: None };
        want.entry(placement.place(&keys).lane).or_default().push([data, &b"\n"[..]].concat());
    }
    assert!(by_lane == want, "every event is there once, in the order of its lane");
    spans.sort_unstable();
    let total: u64 = events.iter().map(|(_, data)| data.len() as u64 + 1).sum();
    assert!(spans.windows(2).all(|w| w[0].1 == w[1].0), "all spans together have no hole and no overlap");
    assert_eq!((spans.first().map(|s| s.0), spans.last().map(|s| s.1)), (Some(0), Some(total)));
}

fn template() -> PartitionKey {
    PartitionKey::Template(Arc::new(Template::parse("{k}").expect("a template")))
}

fn plan() -> impl Strategy<Value = Plan> {
    let format = prop_oneof![3 => Just(Format::Kpl), 1 => Just(Format::Lines), 1 => Just(Format::Single)];
    let partition_key = prop_oneof![Just(PartitionKey::Random), Just(PartitionKey::Source), Just(template())];
    let shards = prop_oneof![Just(None), Just(Some(1)), Just(Some(4)), Just(Some(16))];
    let max_records = prop_oneof![Just(u32::MAX), 1u32..20];
    (format, partition_key, shards, 100usize..5000, 1500usize..6000, max_records, 0u64..500).prop_map(
        |(format, partition_key, shards, target, max, max_records, age)| {
            let (max_age, delimiter) = (Duration::from_millis(age), (*b"\n").into());
            Plan {
                packing: Packing {
                    format,
                    target,
                    max,
                    max_records,
                    compression: Compression::None,
                    max_age,
                    delimiter,
                },
                partition_key,
                shards,
            }
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
    fn whatever_is_packed_survives(plan in plan(), events in events(), seed in any::<u64>()) {
        let records = pack(&plan, &events, &mut fastrand::Rng::with_seed(seed));
        check(&plan, &events, &records);
    }
}

#[test]
fn the_largest_event_fits_into_a_record_of_any_format() {
    for format in [Format::Kpl, Format::Lines, Format::Single] {
        for partition_key in [PartitionKey::Random, PartitionKey::Source, template()] {
            let (max_records, max_age, delimiter) = (u32::MAX, Duration::from_secs(1), (*b"\n").into());
            let packing = Packing {
                format,
                target: 51_200,
                max: 1 << 20,
                max_records,
                compression: Compression::None,
                max_age,
                delimiter,
            };
            let plan = Plan { packing, partition_key, shards: None };
            let events =
                vec![(0, vec![b'x'; max_event(1 << 20)]), (0, Vec::new()), (1, vec![b'y'; max_event(1 << 20)])];
            let records = pack(&plan, &events, &mut fastrand::Rng::with_seed(1));
            check(&plan, &events, &records);
        }
    }
}
