//! The real binary, from log files to a consumer: loads, stops, kills, rotations and everything that a stream can do wrong. Nothing is lost,
//! nothing comes twice where nothing broke off, order is kept where it was promised, and the metrics say so.

#![expect(clippy::unwrap_used, reason = "a panic is how a test's helpers fail")]

#[path = "support/harness.rs"]
mod harness;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use harness::{Agent, Consumer, DEADLINE, Log, STREAM, Setup, Stand, assert_exact, http, open, total, until};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep};

/// What of the harness only these tests need.
impl Stand {
    /// From now on this goes wrong with `PutRecords`, and only this.
    async fn faults(&self, mut plan: Value) {
        plan["operations"] = json!(["PutRecords"]);
        let (status, body) = http(self.address, "POST", "/_kinetail/faults", &plan.to_string()).await;
        assert_eq!(status, 200, "{body}");
    }

    /// From now on nothing goes wrong.
    async fn heal(&self) {
        self.faults(json!({})).await;
    }
}

/// The same.
impl Log {
    /// Renames the file and goes on in a new one in its place, as logrotate has it.
    fn rotate(&mut self, suffix: &str) {
        let mut rotated = self.path.clone().into_os_string();
        rotated.push(suffix);
        std::fs::rename(&self.path, rotated).unwrap();
        self.file = open(&self.path);
    }

    /// Empties the file.
    fn truncate(&mut self) {
        self.file.set_len(0).unwrap();
    }
}

/// Between two writes of a service under load.
const BURST: Duration = Duration::from_millis(2);

/// What a service writes under load: so many bursts of so many lines.
async fn load(log: &mut Log, bursts: usize, lines: usize) {
    for _ in 0..bursts {
        log.append(lines);
        sleep(BURST).await;
    }
}

/// An agent that keeps the order of each file, its stream and the consumer.
async fn ordered(shards: u32) -> (Stand, Setup, Consumer) {
    let stand = Stand::start(shards).await;
    let mut setup = Setup::new(&stand.endpoint());
    setup.set("KINETAIL_PARTITION_KEY", "source");
    let consumer = Consumer::new(&stand).await;
    (stand, setup, consumer)
}

/// Waits until all has arrived, stops the agent and reads once more: nothing else may have come.
async fn assert_delivered(agent: Agent, logs: &[&Log], consumer: &mut Consumer, in_order: bool) {
    consumer.receive(logs).await;
    agent.stop().await;
    consumer.look().await;
    assert_exact(logs, consumer, in_order);
}

// === formats and keys ===

#[tokio::test]
async fn every_format_and_key_delivers_what_is_appended_while_it_runs() {
    for (format, key) in [
        ("kpl", "source"),
        ("kpl", "random"),
        ("lines", "source"),
        ("lines", "random"),
        ("single", "source"),
        ("single", "random"),
    ] {
        let stand = Stand::start(3).await;
        let mut setup = Setup::new(&stand.endpoint());
        setup.set("KINETAIL_FORMAT", format);
        setup.set("KINETAIL_PARTITION_KEY", key);
        let mut consumer = Consumer::new(&stand).await;
        let mut before = Log::create(&setup.log("before.log"));
        before.append(500);
        let agent = setup.run().await;
        let mut during = Log::create(&setup.log("during.log"));
        load(&mut before, 10, 30).await;
        load(&mut during, 10, 30).await;
        consumer.receive(&[&before, &during]).await;
        until("the counts", async || {
            let metrics = agent.get("/metrics").await.1;
            (total(&metrics, "kinesis_user_records_total") == 1100).then(|| {
                assert_eq!(total(&metrics, "events_total"), 1100, "{format} {key}");
                assert_eq!(total(&metrics, "source_read_lines_total"), 1100, "{format} {key}");
                assert_eq!(total(&metrics, "dropped_events_total"), 0, "{format} {key}");
            })
        })
        .await;
        let delivered = agent.metric("kinesis_records_total").await;
        assert_delivered(agent, &[&before, &during], &mut consumer, key == "source").await;
        assert_eq!(consumer.records as u64, delivered, "{format} {key}");
        assert_eq!(format == "single", consumer.records == 1100, "{format} {key}: {} records", consumer.records);
        if key == "source" {
            for log in [&before, &during] {
                let of_log = consumer.events.iter().filter(|e| log.has(&e.data));
                let shards: BTreeSet<usize> = of_log.map(|e| e.shard).collect();
                assert_eq!(shards.len(), 1, "a source's events go to one shard");
            }
        }
    }
}

// === stops and kills ===

#[tokio::test]
async fn a_stop_under_load_loses_and_repeats_nothing() {
    let (stand, setup, mut consumer) = ordered(2).await;
    stand.faults(json!({ "latency_min_ms": 5, "latency_max_ms": 30 })).await;
    let (mut a, mut b) = (Log::create(&setup.log("a.log")), Log::create(&setup.log("b.log")));
    for round in 0..4 {
        let agent = setup.run().await;
        load(&mut a, 8 + round, 400).await;
        load(&mut b, 5, 400).await;
        agent.terminate();
        load(&mut a, 5, 100).await;
        agent.ended().await;
        a.append(100);
    }
    let agent = setup.run().await;
    assert_delivered(agent, &[&a, &b], &mut consumer, true).await;
}

#[tokio::test]
async fn the_last_line_without_a_newline_is_delivered_at_the_stop_and_its_rest_after_it() {
    let (_stand, setup, mut consumer) = ordered(1).await;
    let mut log = Log::create(&setup.log("app.log"));
    let agent = setup.run().await;
    log.append(3);
    log.raw(b"the last words");
    consumer.receive(&[&log]).await;
    agent.stop().await;
    consumer.look().await;
    assert_eq!(consumer.events.last().unwrap().data, b"the last words");
    assert_eq!(consumer.events.len(), 4);

    // Nothing but the newline that was missing: no event.
    log.raw(b"\n");
    log.append(2);
    let agent = setup.run().await;
    consumer.receive(&[&log]).await;
    log.raw(b"again half");
    agent.stop().await;
    consumer.look().await;
    assert_eq!(consumer.events.len(), 7, "{:?}", consumer.events);
    assert_eq!(consumer.events.last().unwrap().data, b"again half");

    // More of the line: it arrives, by itself.
    log.raw(b" and the other half\n");
    log.append(1);
    let agent = setup.run().await;
    consumer.receive(&[&log]).await;
    agent.stop().await;
    consumer.look().await;
    assert_eq!(consumer.events.len(), 9, "{:?}", consumer.events);
    let rest = String::from_utf8(consumer.events[7].data.clone()).unwrap();
    assert!(rest.contains(" and the other half"), "{rest}");
}

#[tokio::test]
async fn kills_lose_nothing_and_repeat_little() {
    /// Kills of one state directory.
    const KILLS: usize = 6;
    /// Bytes.
    const MEMORY_LIMIT: usize = 1 << 20;
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let (stand, mut setup, mut consumer) = ordered(2).await;
    // Many small records, so that it shows how many come again.
    setup.configure(&json!({ "memory_limit": MEMORY_LIMIT, "kinesis": { "aggregate": { "max_age": "0s" } } }));
    stand.faults(json!({ "latency_min_ms": 1, "latency_max_ms": 10 })).await;
    let mut logs = [Log::create(&setup.log("a.log")), Log::create(&setup.log("b.log"))];
    for _ in 0..KILLS {
        let agent = setup.run().await;
        for _ in 0..rng.usize(1..80) {
            logs[rng.usize(..2)].append(rng.usize(1..100));
            sleep(Duration::from_micros(rng.u64(..5000))).await;
        }
        // Dropping it is what kills it.
        drop(agent);
    }
    let agent = setup.run().await;
    let logs: Vec<&Log> = logs.iter().collect();
    consumer.receive(&logs).await;
    agent.stop().await;
    consumer.look().await;
    let (mut repeated, mut all) = (0, 0);
    for log in &logs {
        let tally = log.tally(&consumer.events);
        assert_eq!((tally.lost, tally.out_of_order), (0, 0), "seed {seed}");
        repeated += tally.duplicates;
        all += log.len();
    }
    assert_eq!(consumer.events.len(), all + repeated, "seed {seed}: events that nobody wrote");
    // In source mode a file has one record under way. That one comes again, and the one before it if its answer was not noted yet.
    let mut first = BTreeMap::new();
    let (mut again, mut bytes) = (BTreeSet::new(), 0);
    for event in &consumer.events {
        let record = *first.entry(&event.data).or_insert(event.record);
        if record != event.record {
            again.insert(record);
            bytes += event.data.len();
        }
    }
    // That is far less than what the memory may hold.
    assert!(bytes <= KILLS * MEMORY_LIMIT, "seed {seed}: {bytes} bytes came again");
    println!("{repeated} of {all} lines came again, of {} of {} records", again.len(), consumer.records);
    assert!(again.len() <= 2 * KILLS * logs.len(), "seed {seed}: {} records came again", again.len());
}

// === rotation ===

#[tokio::test]
async fn rotations_under_load_lose_nothing_and_keep_the_order() {
    let (stand, setup, mut consumer) = ordered(1).await;
    stand.faults(json!({ "latency_max_ms": 10 })).await;
    let mut log = Log::create(&setup.log("app.log"));
    let agent = setup.run().await;
    for rotation in 1..=6 {
        load(&mut log, 10, 150).await;
        log.rotate(&format!(".{rotation}"));
    }
    load(&mut log, 5, 150).await;
    consumer.receive(&[&log]).await;
    // Each file takes a while to be retired; what counts is that each was seen to go.
    until("the rotations", async || (agent.metric("file_rotations_total{kind=\"rename\"}").await >= 1).then_some(()))
        .await;
    assert_delivered(agent, &[&log], &mut consumer, true).await;
}

#[tokio::test]
async fn a_rotation_while_it_is_down_is_followed() {
    let (stand, setup, mut consumer) = ordered(1).await;
    let mut log = Log::create(&setup.log("app.log"));
    let agent = setup.run().await;
    load(&mut log, 5, 100).await;
    consumer.receive(&[&log]).await;
    // It is killed while there is much to send, which is then left to the next run.
    stand.faults(json!({ "hang": 1 })).await;
    load(&mut log, 5, 100).await;
    drop(agent);
    load(&mut log, 5, 100).await;
    log.rotate(".1");
    load(&mut log, 5, 100).await;
    stand.heal().await;
    let agent = setup.run().await;
    assert_delivered(agent, &[&log], &mut consumer, true).await;
}

#[tokio::test]
async fn a_truncated_file_is_read_from_its_beginning() {
    let (_stand, setup, mut consumer) = ordered(1).await;
    let mut log = Log::create(&setup.log("app.log"));
    let agent = setup.run().await;
    for round in 1..=3 {
        load(&mut log, 3, 50).await;
        consumer.receive(&[&log]).await;
        log.truncate();
        // Shorter than before, as long and longer: the file's size alone tells nothing.
        load(&mut log, 1, 100 * round).await;
        consumer.receive(&[&log]).await;
    }
    assert!(agent.metric("file_rotations_total{kind=\"truncate\"}").await >= 1);
    assert_delivered(agent, &[&log], &mut consumer, true).await;
}

// === what a stream does wrong ===

/// A load against a stream with these faults, which end some time after it.
async fn against(plan: Value, document: Value, may_repeat: bool) {
    let (stand, mut setup, mut consumer) = ordered(2).await;
    setup.configure(&document);
    let (mut a, mut b) = (Log::create(&setup.log("a.log")), Log::create(&setup.log("b.log")));
    stand.faults(plan.clone()).await;
    let agent = setup.run().await;
    for _ in 0..10 {
        load(&mut a, 1, 300).await;
        load(&mut b, 1, 200).await;
        sleep(Duration::from_millis(20)).await;
    }
    until("a fault", async || {
        let metrics = agent.get("/metrics").await.1;
        (total(&metrics, "kinesis_retries_total") > 0 || plan["wrong_failed_count"] == true).then_some(())
    })
    .await;
    consumer.receive(&[&a, &b]).await;
    stand.heal().await;
    agent.stop().await;
    consumer.look().await;
    for log in [&a, &b] {
        let tally = log.tally(&consumer.events);
        assert_eq!((tally.lost, tally.out_of_order), (0, 0), "{plan}");
        assert!(may_repeat || tally.duplicates == 0, "{plan}: {tally:?}");
    }
}

#[tokio::test]
async fn throttled_records_are_sent_again_in_order() {
    against(json!({ "throttle": 0.2, "seed": 1 }), json!({}), false).await;
}

#[tokio::test]
async fn failed_records_are_sent_again_in_order() {
    against(json!({ "fail_records": 0.1, "throttle": 0.1, "seed": 2 }), json!({}), false).await;
}

#[tokio::test]
async fn failed_requests_are_sent_again() {
    let plan = json!({ "fail_requests": 0.4, "fail_requests_code": "ServiceUnavailable", "seed": 3 });
    against(plan, json!({}), false).await;
}

#[tokio::test]
async fn lost_replies_lose_nothing() {
    against(json!({ "close_after": 0.3, "close_before": 0.1, "seed": 4 }), json!({}), true).await;
}

#[tokio::test]
async fn requests_that_hang_are_given_up_and_sent_again() {
    let document = json!({ "kinesis": { "request_timeout": "300ms" } });
    against(json!({ "hang": 0.3, "seed": 5 }), document, true).await;
}

#[tokio::test]
async fn a_wrong_count_of_failures_is_not_believed() {
    against(json!({ "wrong_failed_count": true, "seed": 6 }), json!({}), false).await;
    against(json!({ "wrong_failed_count": true, "throttle": 0.3, "seed": 7 }), json!({}), false).await;
}

/// A time in which every request is refused with this code: it shows, with a way out, and passes.
async fn blocked_by(code: &str, way_out: &str) {
    let (stand, setup, mut consumer) = ordered(1).await;
    let mut log = Log::create(&setup.log("app.log"));
    let agent = setup.run().await;
    load(&mut log, 2, 100).await;
    consumer.receive(&[&log]).await;
    assert_eq!(agent.get("/readyz").await, (200, "ok\n".to_owned()));
    stand.faults(json!({ "fail_requests": 1, "fail_requests_code": code })).await;
    load(&mut log, 2, 100).await;
    assert_blocked(&agent, code, way_out).await;
    stand.heal().await;
    load(&mut log, 2, 100).await;
    consumer.receive(&[&log]).await;
    assert_unblocked(&agent, code).await;
    assert_delivered(agent, &[&log], &mut consumer, true).await;
}

async fn assert_blocked(agent: &Agent, code: &str, way_out: &str) {
    let why = until("/readyz to say no", async || {
        let (status, why) = agent.get("/readyz").await;
        (status == 503).then_some(why)
    })
    .await;
    assert!(why.contains(code) && why.contains(way_out), "{why}");
    assert_eq!(agent.metric(&blocked(code)).await, 1);
    let message = agent.said("delivery is blocked").await;
    assert_eq!((&message["level"], &message["code"]), (&json!("error"), &json!(code)), "{message}");
    assert!(message["message"].as_str().unwrap().contains(way_out), "{message}");
    let status: Value = serde_json::from_str(&agent.get("/status").await.1).unwrap();
    assert_eq!((&status["ready"], &status["blocked"]["code"]), (&json!(false), &json!(code)), "{status}");
    assert_eq!(agent.get("/livez").await.0, 200, "a restart would help nobody");
}

async fn assert_unblocked(agent: &Agent, code: &str) {
    until("/readyz to say yes", async || (agent.get("/readyz").await.0 == 200).then_some(())).await;
    let metrics = agent.get("/metrics").await.1;
    assert!(metrics.contains(&format!("kinetail_{} 0\n", blocked(code))), "{metrics}");
    assert!(agent.log().contains("delivery goes on"));
}

fn blocked(code: &str) -> String {
    format!("kinesis_blocked{{code=\"{code}\"}}")
}

#[tokio::test]
async fn a_denied_access_holds_everything_until_it_is_granted() {
    blocked_by("AccessDeniedException", "kinesis:PutRecords").await;
}

#[tokio::test]
async fn expired_credentials_hold_everything_until_they_are_renewed() {
    blocked_by("ExpiredTokenException", "renew them, or set the clock").await;
}

#[tokio::test]
async fn a_stream_that_is_created_later_gets_everything() {
    let stand = Stand::with(Vec::new()).await;
    let mut setup = Setup::new(&stand.endpoint());
    setup.set("KINETAIL_PARTITION_KEY", "source");
    let mut log = Log::create(&setup.log("app.log"));
    let agent = setup.run().await;
    load(&mut log, 3, 100).await;
    assert_blocked(&agent, "ResourceNotFoundException", "create it").await;
    stand.client.create_stream().stream_name(STREAM).shard_count(2).send().await.unwrap();
    let mut consumer = Consumer::new(&stand).await;
    consumer.receive(&[&log]).await;
    assert_unblocked(&agent, "ResourceNotFoundException").await;
    assert_delivered(agent, &[&log], &mut consumer, true).await;
}

// === what it shows ===

#[tokio::test]
async fn the_ledger_adds_up_at_every_scrape() {
    let (stand, mut setup, mut consumer) = ordered(2).await;
    setup.set("KINETAIL_PARSE", "json");
    stand.faults(json!({ "throttle": 0.2, "latency_max_ms": 10, "seed": 8 })).await;
    let mut log = Log::create(&setup.log("app.log"));
    let agent = setup.run().await;
    let (mut seen_in_flight, mut scrapes) = (0, 0);
    // Lines are no JSON, so each is wrapped; the tally is that of the metrics alone.
    let mut check = |metrics: &str| {
        let [events, delivered, dropped, in_flight] =
            ["events_total", "kinesis_user_records_total", "dropped_events_total", "in_flight_events"]
                .map(|name| total(metrics, name));
        assert_eq!(events, delivered + dropped + in_flight, "{delivered} + {dropped} + {in_flight}");
        seen_in_flight = seen_in_flight.max(in_flight);
        scrapes += 1;
        (events, dropped, in_flight)
    };
    let began = Instant::now();
    for _ in 0..40 {
        log.append(100);
        log.raw(b"\n  \n");
        check(&agent.get("/metrics").await.1);
        assert!(began.elapsed() < DEADLINE);
    }
    until("everything to be sent", async || {
        let (events, dropped, in_flight) = check(&agent.get("/metrics").await.1);
        (events == 40 * 102 && in_flight == 0).then(|| assert_eq!(dropped, 40 * 2))
    })
    .await;
    assert!(seen_in_flight > 0 && scrapes > 40);
    let status: Value = serde_json::from_str(&agent.get("/status").await.1).unwrap();
    let ledger = json!({ "events": 4080, "delivered": 4000, "dropped": 80, "in_flight": 0 });
    assert_eq!((&status["ledger"], &status["stream"], &status["ready"]), (&ledger, &json!(STREAM), &json!(true)));
    assert_eq!(agent.get("/livez").await, (200, "ok\n".to_owned()));
    agent.stop().await;
    consumer.look().await;
    assert_eq!(consumer.events.len(), 4000);
}

#[tokio::test]
async fn readiness_ends_when_events_become_too_old() {
    let (stand, mut setup, mut consumer) = ordered(1).await;
    setup.configure(&json!({ "admin": { "ready_max_age": "1s" }, "kinesis": { "request_timeout": "500ms" } }));
    let mut log = Log::create(&setup.log("app.log"));
    let agent = setup.run().await;
    log.append(10);
    consumer.receive(&[&log]).await;
    assert_eq!(agent.get("/readyz").await.0, 200);
    stand.faults(json!({ "hang": 1 })).await;
    log.append(10);
    until("/readyz to say no", async || {
        let (status, why) = agent.get("/readyz").await;
        (status == 503).then(|| assert!(why.contains("over admin.ready_max_age of 1 s"), "{why}"))
    })
    .await;
    assert_eq!(agent.get("/livez").await.0, 200);
    stand.heal().await;
    consumer.receive(&[&log]).await;
    until("/readyz to say yes", async || (agent.get("/readyz").await.0 == 200).then_some(())).await;
    assert_delivered(agent, &[&log], &mut consumer, true).await;
}

/// What a probe hears, once it hears this.
async fn hears(agent: &Agent, path: &str, want: u16) -> String {
    until(path, async || {
        let (status, said) = agent.get(path).await;
        (status == want).then_some(said)
    })
    .await
}

#[tokio::test]
async fn a_stage_that_stands_still_is_named_while_the_others_go_on() {
    let (_stand, mut setup, mut consumer) = ordered(1).await;
    setup.configure(&json!({ "admin": { "watchdog": "1s" } }));
    let mut log = Log::create(&setup.log("app.log"));
    let agent = setup.run().await;
    assert_eq!(hears(&agent, "/startupz", 200).await, "ok\n");
    log.append(10);
    consumer.receive(&[&log]).await;
    // A disk that does not answer: whoever writes the next checkpoint waits for a reader of this pipe.
    let pipe = setup.dir.path().join("state/checkpoint.json.tmp");
    let mkfifo = || std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success();
    until("the pipe to be made", async || mkfifo().then_some(())).await;
    log.append(10);
    let said = hears(&agent, "/livez", 503).await;
    assert!(said.starts_with("checkpoint has not moved for ") && said.contains("writes the checkpoint"), "{said}");
    assert_eq!(agent.metric("stalled{stage=\"checkpoint\"}").await, 1);
    assert_eq!(agent.metric("stalled").await, 1, "no other stage");
    let (_, page) = agent.get("/").await;
    assert!(page.contains("A part of kinetail stands still: checkpoint"), "{page}");
    // Events go on, as far as memory reaches, and so does readiness.
    consumer.receive(&[&log]).await;
    assert_eq!(agent.get("/readyz").await.0, 200);
    // The disk answers again, with an error as long as it is a pipe.
    let reader = std::fs::File::options().read(true).write(true).open(&pipe).unwrap();
    hears(&agent, "/livez", 200).await;
    std::fs::remove_file(&pipe).unwrap();
    drop(reader);
    assert_eq!(agent.metric("stalled").await, 0);
    assert_delivered(agent, &[&log], &mut consumer, true).await;
}

#[tokio::test]
async fn waiting_for_kinesis_is_no_standstill() {
    let (stand, mut setup, mut consumer) = ordered(1).await;
    setup.configure(&json!({
        "admin": { "watchdog": "1s", "ready_max_age": "1s" }, "memory_limit": "1MiB",
        "kinesis": { "request_timeout": "1s" },
    }));
    stand.faults(json!({ "hang": 1 })).await;
    let mut log = Log::create(&setup.log("app.log"));
    log.append(100_000);
    let agent = setup.run().await;
    hears(&agent, "/readyz", 503).await;
    // The whole memory is in use, and reading waits for it.
    let waited = |metrics: &str| {
        let line = metrics.lines().find_map(|l| l.strip_prefix("kinetail_backpressure_seconds_total "));
        line.unwrap().parse::<f64>().unwrap()
    };
    until("reading to wait", async || (waited(&agent.get("/metrics").await.1) > 3.0).then_some(())).await;
    assert_eq!(agent.get("/livez").await, (200, "ok\n".to_owned()));
    stand.heal().await;
    assert_delivered(agent, &[&log], &mut consumer, true).await;
}

#[tokio::test]
async fn top_shows_what_the_page_shows() {
    let (_stand, setup, mut consumer) = ordered(1).await;
    let mut log = Log::create(&setup.log("app.log"));
    let agent = setup.run().await;
    log.append(10);
    consumer.receive(&[&log]).await;
    until("the ledger to be even", async || (agent.metric("in_flight_events").await == 0).then_some(())).await;
    let top = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_kinetail"));
        let out = command.args(["top", "--admin", &agent.admin.to_string()]).args(arguments).output().unwrap();
        (out.status.success(), String::from_utf8(out.stdout).unwrap(), String::from_utf8(out.stderr).unwrap())
    };
    let (is_well, text, _) = top(&["--once"]);
    assert!(is_well && text.contains("Ledger 10 read = 10 delivered + 0 dropped + 0 in flight"), "{text}");
    let (is_well, _, why) = top(&[]);
    assert!(!is_well && why.contains("--once"), "a pipe is no terminal: {why}");
    agent.stop().await;
}

/// The whole answer to a scraper that accepts this.
async fn scrape(agent: &Agent, accept: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(agent.admin).await.unwrap();
    let request = format!("GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAccept: {accept}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn metrics_come_in_the_format_that_is_asked_for() {
    let (_stand, setup, mut consumer) = ordered(1).await;
    let mut log = Log::create(&setup.log("app.log"));
    let agent = setup.run().await;
    log.append(10);
    consumer.receive(&[&log]).await;
    let open = scrape(&agent, "application/openmetrics-text; version=1.0.0; q=0.8, text/plain; q=0.5").await;
    assert!(open.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"), "{open}");
    assert!(open.contains("\n# TYPE kinetail_events counter\n") && open.ends_with("\n# EOF\n"), "{open}");
    let text = scrape(&agent, "text/plain").await;
    assert!(text.contains("content-type: text/plain; version=0.0.4\r\n") && !text.contains("# EOF"), "{text}");
    assert!(text.contains("\n# TYPE kinetail_events_total counter\n"), "{text}");
    agent.stop().await;
}

#[tokio::test]
async fn memory_stays_within_its_limit_while_nothing_is_taken() {
    const LIMIT: u64 = 1 << 20;
    /// What a read may add: the chunk that was read when the limit was just not reached, and what becomes of it.
    const BATCH: u64 = 512 * 1024;
    /// The development build's code and the rest of the process, beside the data: bytes.
    const PROCESS: u64 = 64 << 20;
    let (stand, mut setup, mut consumer) = ordered(2).await;
    setup.configure(&json!({ "memory_limit": "1MiB", "kinesis": { "request_timeout": "500ms" } }));
    stand.faults(json!({ "hang": 1 })).await;
    let mut log = Log::create(&setup.log("app.log"));
    log.append(100_000);
    let agent = setup.run().await;
    let mut highest = 0;
    until("the memory to be used up", async || {
        let metrics = agent.get("/metrics").await.1;
        highest = total(&metrics, "buffer_bytes").max(highest);
        let waited = metrics.lines().find_map(|l| l.strip_prefix("kinetail_backpressure_seconds_total "));
        (waited.unwrap().parse::<f64>().unwrap() > 1.0).then_some(())
    })
    .await;
    assert_eq!(agent.metric("buffer_capacity_bytes").await, LIMIT);
    assert!(agent.metric("source_backlog_bytes").await > LIMIT);
    stand.heal().await;
    until("everything to be sent", async || {
        let metrics = agent.get("/metrics").await.1;
        highest = total(&metrics, "buffer_bytes").max(highest);
        (total(&metrics, "kinesis_user_records_total") == 100_000).then_some(())
    })
    .await;
    assert!((LIMIT / 4..=LIMIT + BATCH).contains(&highest), "{highest}");
    let process = std::fs::read_to_string(format!("/proc/{}/status", agent.child.id())).unwrap();
    let peak = process.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak = peak.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024;
    println!("peak {peak}, buffer {highest}");
    assert!(peak < PROCESS, "{peak}");
    // Requests that hung were never stored, so nothing came twice.
    assert_delivered(agent, &[&log], &mut consumer, true).await;
}
