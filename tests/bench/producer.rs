//! The producer's steps, each by itself and each for a second: what time of a processor an event costs in it. No test, and no measure of the whole, which `bench/` takes.
//!
//! `cargo bench` runs it; a word after it picks the steps that have it in their names.

use std::hint::black_box;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use kinetail::budget::Budget;
use kinetail::config::Compression;
use kinetail::event::{Batch, EventRef, LaneId, SourceId};
use kinetail::kinesis::collect::{Collector, RequestLimits};
use kinetail::kinesis::compress::Compressor;
use kinetail::kinesis::encode::{Encoder, Keys};
use kinetail::kinesis::hash::hash_key;
use kinetail::kinesis::md5;
use kinetail::kinesis::pace::Pacer;
use kinetail::kinesis::record::{KinesisRecord, Payload};
use kinetail::kinesis::shards::Shards;
use kinetail::line::Counts;
use kinetail::route::{Router, Routes, Rules, Streams, Template};
use tokio::time::Instant;

/// How long each step is timed.
const TIME: Duration = Duration::from_secs(1);
/// Events of a round: about what one read brings.
const EVENTS: usize = 400;

/// Which steps are wanted.
struct Bench(Option<String>);

impl Bench {
    /// Times a step: `round` does it for so many events of so many bytes in all.
    fn step(&self, name: &str, (events, bytes): (usize, usize), mut round: impl FnMut()) {
        if self.0.as_ref().is_some_and(|wanted| !name.contains(wanted)) {
            return;
        }
        round();
        let (began, spent, mut rounds) = (Instant::now(), cpu_time(), 0_u32);
        while began.elapsed() < TIME {
            round();
            rounds += 1;
        }
        let took = cpu_time().saturating_sub(spent).as_secs_f64() / f64::from(rounds);
        #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^53")]
        let (each, rate) = (took * 1e9 / events as f64, bytes as f64 / took / 1e6);
        let line = format!("{name:<40} {each:>8.0} ns/event {rate:>8.0} MB/s\n");
        // A reader that is gone wants no more of it.
        std::io::stdout().lock().write_all(line.as_bytes()).ok();
    }
}

/// What this thread has had of a processor: others that are busy do not count. It is up to date within a tick.
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("it is Linux, with its statistics");
    let nanos = text.split_whitespace().next().and_then(|field| field.parse().ok());
    Duration::from_nanos(nanos.expect("the first field is a time"))
}

fn main() {
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let bench = Bench(wanted);
    let events = events();
    hash(&bench);
    route(&bench, &events);
    encode(&bench, &events);
    collect(&bench);
    compress(&bench, &events);
}

/// Log lines as services write them, of some 300 bytes.
fn events() -> Vec<String> {
    let event = |n: usize| {
        format!(
            "{{\"time\":\"2026-01-02T03:04:05.{:03}Z\",\"level\":\"info\",\"logger\":\"http.server\",\"message\":\"request done\",\
             \"method\":\"GET\",\"path\":\"/api/v1/orders/{}\",\"status\":200,\"took_ms\":{},\"user_id\":\"user-{:06}\",\
             \"app\":\"shop\",\"kubernetes\":{{\"namespace\":\"prod\",\"pod\":\"shop-{}\",\"labels\":{{\"tier\":\"web\"}}}}}}",
            n % 1000,
            n * 7919 % 100_000,
            n * 31 % 500,
            n * 104_729 % 1_000_000,
            n % 7
        )
    };
    (0..EVENTS).map(event).collect()
}

fn total(events: &[String]) -> (usize, usize) {
    (events.len(), events.iter().map(String::len).sum())
}

fn hash(bench: &Bench) {
    let keys: Vec<String> = (0..EVENTS).map(|n| format!("user-{n:06}")).collect();
    bench.step("hash: MD5 of a key", total(&keys), || {
        for key in &keys {
            black_box(hash_key(black_box(key)));
        }
    });
}

fn batch(events: &[String]) -> Batch {
    let (mut chunk, mut refs) = (Vec::new(), Vec::new());
    for event in events {
        let at = chunk.len();
        chunk.extend_from_slice(event.as_bytes());
        let place = |at: usize| u32::try_from(at).expect("a read is less than 4 GiB");
        let (start, end) = (place(at), place(chunk.len()));
        chunk.push(b'\n');
        refs.push(EventRef { start, end, rendered: false, span_start: at as u64, span_end: chunk.len() as u64 });
    }
    Batch {
        source: SourceId(1),
        source_name: "app".into(),
        parser: "json".into(),
        lane: LaneId(1),
        partition_key: "host:/var/log/app.log".into(),
        end: chunk.len() as u64,
        chunk,
        rendered: Vec::new(),
        events: refs,
        more: Vec::new(),
        unused: Vec::new(),
        rejected: Vec::new(),
        counts: Counts::default(),
        routes: Routes::default(),
        start: 0,
        read_at: Instant::now(),
        permit: Budget::new(0).try_reserve(0).expect("nothing always fits"),
    }
}

fn route(bench: &Bench, events: &[String]) {
    let mut batch = batch(events);
    for text in ["{user_id}", "{kubernetes.namespace}/{app}", "{nothing|user_id|'none'}", "{@source}"] {
        let template = Template::parse(text).expect("it is a template");
        let rules = Rules { partition_key: Some(Arc::new(template)), ..Rules::default() };
        let mut streams = Streams::default();
        let router = Router::new(&rules, "app", "host", &mut streams);
        bench.step(&format!("route: {text}"), total(events), || {
            router.route(&mut batch, "/var/log/app.log", &mut streams);
            black_box(batch.routes.partition_key(0));
        });
    }
}

fn encode(bench: &Bench, events: &[String]) {
    let (count, bytes) = total(events);
    for (name, own) in [("encode: one key, and its MD5", false), ("encode: a key each, and its MD5", true)] {
        let keys: Vec<String> =
            (0..count).map(|n| if own { format!("user-{n:06}") } else { "key".to_owned() }).collect();
        bench.step(name, (count, bytes), || {
            let mut encoder = Encoder::with_capacity(2 * bytes);
            for (partition_key, event) in keys.iter().zip(events) {
                let keys =
                    Keys { partition_key, explicit_hash_key: own.then_some("170141183460469231731687303715884105728") };
                black_box(encoder.cost(keys, event.len() + 1));
                encoder.add(keys, &[event.as_bytes(), b"\n"]);
            }
            let closed = encoder.finish();
            let digest = md5::digest(closed.protobuf());
            black_box(closed.seal(digest));
        });
    }
}

/// A record of 50 KiB counts as one event here.
fn collect(bench: &Bench) {
    const SIZE: usize = 50 * 1024;
    let (budget, shards, now) = (Budget::new(0), Shards::default(), Instant::now());
    let record = |n: usize| {
        let lane = LaneId(u32::try_from(n % 100).expect("it is less than 100"));
        KinesisRecord {
            lane: Some(lane),
            partition_key: "key".into(),
            hash: u128::from(lane.0) << 120,
            explicit: false,
            size: SIZE,
            user_records: 1,
            alone: kinetail::kinesis::aggregate::Bill::default(),
            spans: Vec::new(),
            oldest: now,
            permit: budget.try_reserve(0).expect("nothing always fits"),
            attempts: 0,
            payload: Payload::Data(bytes::Bytes::new()),
        }
    };
    bench.step("collect: a record of one of 100 lanes", (EVENTS, EVENTS * SIZE), || {
        let mut pacer = Pacer::new(1);
        let mut collector = Collector::new(RequestLimits { records: 500, bytes: 1 << 20 });
        for n in 0..EVENTS {
            collector.push(record(n), &shards);
        }
        while let Some(records) = collector.next_request(now, &mut pacer, &shards) {
            for lane in records.iter().filter_map(|record| record.lane) {
                collector.settled(lane, &shards);
            }
        }
        assert!(collector.is_empty(), "every lane was let go");
    });
}

fn compress(bench: &Bench, events: &[String]) {
    let mut lines = Vec::new();
    for event in events {
        lines.extend_from_slice(event.as_bytes());
        lines.push(b'\n');
    }
    for (name, kind) in [("gzip", Compression::Gzip), ("zstd", Compression::Zstd)] {
        let (mut compressor, mut out) = (Compressor::new(kind), Vec::new());
        compressor.compress(&lines, &mut out);
        let name = format!("compress: {name}, to {}%", 100 * out.len() / lines.len());
        bench.step(&name, total(events), || {
            out.clear();
            compressor.compress(black_box(&lines), &mut out);
        });
    }
    let (mut compressor, mut out) = (Compressor::new(Compression::Zstd), Vec::new());
    bench.step("compress: zstd, each event", total(events), || {
        for event in events {
            out.clear();
            compressor.compress(black_box(event.as_bytes()), &mut out);
        }
    });
}
