//! `kinetail consume` and `kinetail verify` with the real binary and the embedded stream: every event once and in the order of its key through splits,
//! merges, throttling, expired iterators and kills; and gaps, duplicates and what KCL would throw away are told.

#![expect(clippy::unwrap_used, reason = "a panic is how a test's helpers fail")]

#[path = "support/harness.rs"]
#[expect(dead_code, reason = "not every test file needs all of it")]
mod harness;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use harness::{DEADLINE, STREAM, Setup, Stand, http, open, until};
use kinetail::config::Compression;
use kinetail::kinesis::compress::Compressor;
use kinetail::kinesis::encode::{Encoder, Keys};
use kinetail::kinesis::hash::{hash_key, hash_key_text};
use kinetail::kinesis::md5;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

// === what is put ===

impl Stand {
    /// Puts records, all of which have to be taken.
    async fn put<T: Into<Vec<u8>>>(&self, records: impl IntoIterator<Item = (&str, T)>) {
        let entry = |(key, data): (&str, T)| {
            PutRecordsRequestEntry::builder().partition_key(key).data(Blob::new(data.into())).build().unwrap()
        };
        let records: Vec<_> = records.into_iter().map(entry).collect();
        for chunk in records.chunks(500) {
            let put = self.client.put_records().stream_name(STREAM).set_records(Some(chunk.to_vec()));
            assert_eq!(put.send().await.unwrap().failed_record_count, Some(0));
        }
    }

    async fn faults(&self, operations: &[&str], mut plan: Value) {
        plan["operations"] = json!(operations);
        let (status, body) = http(self.address, "POST", "/_kinetail/faults", &plan.to_string()).await;
        assert_eq!(status, 200, "{body}");
    }

    /// Splits the first open shard in the middle, or merges the first two.
    async fn reshard(&self, split: bool) {
        let listed = self.client.list_shards().stream_name(STREAM).send().await.unwrap();
        let is_open =
            |s: &&aws_sdk_kinesis::types::Shard| s.sequence_number_range().unwrap().ending_sequence_number().is_none();
        let mut open: Vec<_> = listed.shards().iter().filter(is_open).collect();
        let key = |text: &str| text.parse::<u128>().unwrap();
        open.sort_by_key(|shard| key(shard.hash_key_range().unwrap().starting_hash_key()));
        let range = open[0].hash_key_range().unwrap();
        let middle = key(range.starting_hash_key()) / 2 + key(range.ending_hash_key()) / 2;
        if split {
            let request = self.client.split_shard().stream_name(STREAM).shard_to_split(open[0].shard_id());
            request.new_starting_hash_key(hash_key_text(middle)).send().await.unwrap();
        } else {
            let request = self.client.merge_shards().stream_name(STREAM).shard_to_merge(open[0].shard_id());
            request.adjacent_shard_to_merge(open[1].shard_id()).send().await.unwrap();
        }
        until("the stream to be active", async || {
            let described = self.client.describe_stream_summary().stream_name(STREAM).send().await.unwrap();
            let status = described.stream_description_summary.unwrap().stream_status;
            (status.as_str() == "ACTIVE").then_some(())
        })
        .await;
    }
}

/// Events of these keys, as the agent packs them when they end with what they have to end with.
fn aggregate(records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut encoder = Encoder::with_capacity(1024);
    for (partition_key, data) in records {
        encoder.add(Keys { partition_key, explicit_hash_key: None }, &[data, b""]);
    }
    let aggregate = encoder.finish();
    let digest = md5::digest(aggregate.protobuf());
    aggregate.seal(digest).to_vec()
}

fn compressed(kind: Compression, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Compressor::new(kind).compress(data, &mut out);
    out
}

/// Events `0..count` of a key, each in its number's place of the key's file.
fn numbered(key: &str, numbers: std::ops::Range<u32>) -> Vec<(String, Vec<u8>)> {
    let event = |n: u32| json!({"_id": format!("{key}-{}-{}", n * 10, n * 10 + 10), "key": key, "n": n});
    numbers.map(|n| (key.to_owned(), event(n).to_string().into_bytes())).collect()
}

fn borrowed(events: &[(String, Vec<u8>)]) -> impl Iterator<Item = (&str, Vec<u8>)> {
    events.iter().map(|(key, data)| (key.as_str(), data.clone()))
}

// === runs ===

fn kinetail(stand: &Stand, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kinetail"));
    command.args(arguments).env_clear().envs([
        ("KINETAIL_STREAM", STREAM),
        ("KINETAIL_ENDPOINT", &stand.endpoint()),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "reader"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The exit code, stdout and stderr of a run.
async fn ran(mut command: Command) -> (i32, String, String) {
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

async fn run(stand: &Stand, arguments: &[&str]) -> (i32, String, String) {
    ran(kinetail(stand, arguments)).await
}

/// What was printed by a run that went well.
async fn printed(stand: &Stand, arguments: &[&str]) -> Vec<String> {
    let (code, stdout, stderr) = run(stand, arguments).await;
    assert_eq!(code, 0, "{stderr}");
    stdout.lines().map(str::to_owned).collect()
}

/// The numbers of each key, in the order in which they were printed.
fn by_key(lines: &[String]) -> BTreeMap<String, Vec<u64>> {
    let mut numbers: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for line in lines {
        let event: Value = serde_json::from_str(line).unwrap();
        let key = event["key"].as_str().unwrap().to_owned();
        numbers.entry(key).or_default().push(event["n"].as_u64().unwrap());
    }
    numbers
}

async fn ended(child: &mut Child) -> i32 {
    until("the end", async || child.try_wait().unwrap()).await.code().unwrap()
}

fn signal(child: &Child, signal: &str) {
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
}

// === consume ===

#[tokio::test]
async fn every_kind_of_record_becomes_its_events() {
    let stand = Stand::start(1).await;
    let zstd = compressed(Compression::Zstd, b"{\"n\":4}\n");
    stand
        .put([
            ("a", b"{\"n\":1}\n".to_vec()),
            ("a", b"plain\n".to_vec()),
            ("a", aggregate(&[("a", b"{\"n\":2}\n"), ("a", b"{\"n\":3}")])),
            ("a", aggregate(&[("a", &zstd)])),
            ("a", compressed(Compression::Gzip, b"{\"n\":5}\n{\"n\":6}\n")),
            ("a", compressed(Compression::Zstd, b"{\"n\":7}\nlast\n")),
            ("a", b"\xff\n".to_vec()),
        ])
        .await;
    let lines = printed(&stand, &["consume", "--until", "now"]).await;
    let want = "{\"n\":1}|{\"message\":\"plain\"}|{\"n\":2}|{\"n\":3}|{\"n\":4}|{\"n\":5}|{\"n\":6}|{\"n\":7}|{\"message\":\"last\"}|{\"data_base64\":\"/w==\"}";
    assert_eq!(lines.join("|"), want);

    let meta = printed(&stand, &["consume", "--until", "now", "--meta"]).await;
    let third: Value = serde_json::from_str(&meta[3]).unwrap();
    assert_eq!(third["event"], json!({"n": 3}));
    assert_eq!(third["shard"], "shardId-000000000000");
    assert_eq!((&third["sub_sequence_number"], &third["partition_key"]), (&json!(1), &json!("a")));
    // More digits than any integer of Rust has.
    assert!(third["sequence_number"].as_str().unwrap().bytes().all(|byte| byte.is_ascii_digit()));
    assert!(third["arrival"].as_str().unwrap().ends_with('Z'), "{third}");

    let raw = kinetail(&stand, &["consume", "--until", "now", "--raw"]);
    let raw = tokio::task::spawn_blocking(move || { raw }.output().unwrap()).await.unwrap().stdout;
    let want = b"{\"n\":1}\nplain\n{\"n\":2}\n{\"n\":3}\n{\"n\":4}\n{\"n\":5}\n{\"n\":6}\n{\"n\":7}\nlast\n\xff\n";
    assert_eq!(raw, want);
}

#[tokio::test]
async fn keys_keep_their_order_through_three_reshards() {
    let stand = Stand::start(2).await;
    let keys: Vec<String> = (0..12).map(|n| format!("k{n}")).collect();
    for (round, split) in [(0, true), (1, true), (2, false), (3, true)] {
        for key in &keys {
            stand.put(borrowed(&numbered(key, round * 20..round * 20 + 20))).await;
        }
        if round < 3 {
            stand.reshard(split).await;
        }
    }
    let lines = printed(&stand, &["consume", "--until", "now"]).await;
    let whole: Vec<u64> = (0..80).collect();
    let got = by_key(&lines);
    assert_eq!(got.len(), keys.len());
    for (key, numbers) in got {
        assert_eq!(numbers, whole, "{key}");
    }
    let (code, stdout, stderr) = run(&stand, &["verify", "--json"]).await;
    assert_eq!(code, 0, "{stdout}{stderr}");
    let report: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&report["events"], &report["gaps"], &report["out_of_order"]), (&json!(960), &json!(0), &json!(0)));
}

#[tokio::test]
async fn reshards_are_followed_while_reading() {
    let stand = Stand::start(1).await;
    let dir = tempfile::tempdir().unwrap();
    let (out, state) = (dir.path().join("out"), dir.path().join("state"));
    let (out, state) = (out.to_str().unwrap(), state.to_str().unwrap());
    let mut child = kinetail(&stand, &["consume", "--out", out, "--state", state]).spawn().unwrap();
    let read =
        || by_key(&std::fs::read_to_string(out).unwrap_or_default().lines().map(str::to_owned).collect::<Vec<_>>());
    for round in 0..4_u32 {
        for key in ["a", "b", "c", "d"] {
            stand.put(borrowed(&numbered(key, round * 50..round * 50 + 50))).await;
        }
        stand.reshard(round != 2).await;
        if round == 1 {
            until("what was put", async || (read().get("d")?.len() == 100).then_some(())).await;
        }
    }
    until("all", async || {
        let read = read();
        (read.len() == 4 && read.values().all(|numbers| numbers.len() >= 200)).then_some(())
    })
    .await;
    signal(&child, "-TERM");
    assert_eq!(ended(&mut child).await, 0);
    let whole: Vec<u64> = (0..200).collect();
    assert!(read().values().all(|numbers| *numbers == whole));
    // Nothing is left, and nothing comes again.
    assert!(printed(&stand, &["consume", "--state", state, "--until", "now"]).await.is_empty());
}

#[tokio::test]
async fn a_killed_consumer_goes_on_and_its_file_has_everything_once() {
    let stand = Stand::start(3).await;
    let dir = tempfile::tempdir().unwrap();
    let (out, state) = (dir.path().join("out"), dir.path().join("state"));
    let (out, state) = (out.to_str().unwrap(), state.to_str().unwrap());
    let arguments = ["consume", "--out", out, "--state", state];
    let keys = ["a", "b", "c", "d", "e"];
    let lines = || std::fs::read_to_string(out).unwrap_or_default().lines().count();
    for round in 0..6_u32 {
        let before = lines();
        let mut child = kinetail(&stand, &arguments).spawn().unwrap();
        for part in 0..4 {
            for key in keys {
                let first = round * 40 + part * 10;
                stand.put(borrowed(&numbered(key, first..first + 10))).await;
            }
            sleep(Duration::from_millis(150)).await;
        }
        until("some events", async || (lines() > before).then_some(())).await;
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let (code, _, stderr) = run(&stand, &[&arguments[..], &["--until", "now"]].concat()).await;
    assert_eq!(code, 0, "{stderr}");
    let text = std::fs::read_to_string(out).unwrap();
    let got = by_key(&text.lines().map(str::to_owned).collect::<Vec<_>>());
    let whole: Vec<u64> = (0..240).collect();
    for key in keys {
        assert_eq!(got[key], whole, "{key}");
    }
}

#[tokio::test]
async fn a_state_file_has_one_consumer_and_one_stream() {
    let stand = Stand::with(vec![(STREAM.to_owned(), 1), ("other".to_owned(), 1)]).await;
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let state = state.to_str().unwrap();
    let mut child = kinetail(&stand, &["consume", "--state", state]).spawn().unwrap();
    until("the state", async || std::path::Path::new(state).exists().then_some(())).await;
    let (code, _, stderr) = run(&stand, &["consume", "--state", state, "--until", "now"]).await;
    assert_eq!(code, 1);
    assert!(stderr.contains("in use by another kinetail"), "{stderr}");
    signal(&child, "-INT");
    assert_eq!(ended(&mut child).await, 0);
    let (code, _, stderr) = run(&stand, &["consume", "--state", state, "--until", "now", "--stream", "other"]).await;
    assert_eq!(code, 1);
    assert!(stderr.contains("is of the stream events, and other is to be read"), "{stderr}");
}

#[tokio::test]
async fn what_goes_wrong_on_the_way_is_made_good() {
    let stand = Stand::start(4).await;
    let keys: Vec<String> = (0..8).map(|n| format!("k{n}")).collect();
    for key in &keys {
        stand.put(borrowed(&numbered(key, 0..100))).await;
    }
    let code = |code: &str| json!({"fail_requests": 0.6, "fail_requests_code": code, "seed": 3});
    for (operations, plan) in [
        (&["GetRecords"][..], code("ProvisionedThroughputExceededException")),
        (&["GetRecords"], code("ExpiredIteratorException")),
        (&["GetRecords", "GetShardIterator", "ListShards"], code("InternalFailure")),
        (&["GetRecords"], json!({"close_before": 0.3, "close_after": 0.3, "seed": 5})),
    ] {
        stand.faults(operations, plan.clone()).await;
        let (code, stdout, stderr) = run(&stand, &["consume", "--until", "now"]).await;
        assert_eq!(code, 0, "{plan}: {stderr}");
        let got = by_key(&stdout.lines().map(str::to_owned).collect::<Vec<_>>());
        let whole: Vec<u64> = (0..100).collect();
        assert!(got.len() == keys.len() && got.values().all(|numbers| *numbers == whole), "{plan}");
        assert!(
            !plan.to_string().contains("Throughput") || stderr.contains("reads refused for a shard's limits"),
            "{stderr}"
        );
    }
}

#[tokio::test]
async fn what_kcl_would_discard_is_told_and_fails() {
    let stand = Stand::start(2).await;
    // Two keys of different shards in one aggregate: the service takes it, and KCL throws it away.
    let shard = |key: &str| hash_key(key) >> 127;
    let (here, there) = ("k1", (2..1000).map(|n| format!("k{n}")).find(|key| shard(key) != shard("k1")).unwrap());
    let mixed = aggregate(&[(here, b"{\"n\":1}"), (&there, b"{\"n\":2}")]);
    stand.put([(here, mixed), (here, b"{\"n\":3}\n".to_vec())]).await;
    let (code, stdout, stderr) = run(&stand, &["consume", "--until", "now"]).await;
    assert_eq!((code, stdout.as_str()), (1, "{\"n\":3}\n"), "{stderr}");
    assert!(stderr.contains("hashes outside the shard"), "{stderr}");
    assert!(stderr.contains("1 records that a consumer with KCL would throw away, with 2 events"), "{stderr}");
}

#[tokio::test]
async fn reading_begins_and_ends_where_it_is_told() {
    let stand = Stand::start(2).await;
    let event = |n: u32| vec![("a", format!("{{\"key\":\"a\",\"n\":{n}}}\n"))];
    stand.put(event(1)).await;
    sleep(Duration::from_millis(1100)).await;
    let middle = kinetail::consume::start::shown(kinetail::clock::now());
    sleep(Duration::from_millis(20)).await;
    stand.put(event(2)).await;
    let all = |lines: &[String]| by_key(lines).remove("a").unwrap_or_default();
    for (arguments, want) in [
        (&["--from", "TRIM_HORIZON"][..], &[1, 2][..]),
        (&["--from=-1h"], &[1, 2]),
        (&["--from", "-1h"], &[1, 2]),
        (&["--from", &middle], &[2]),
        (&["--until", &middle], &[1]),
        (&["--from=latest"], &[]),
        (&["--idle", "1s"], &[1, 2]),
    ] {
        let end =
            if arguments[0].starts_with("--until") || arguments[0] == "--idle" { &[][..] } else { &["--until", "now"] };
        let lines = printed(&stand, &[&["consume"], arguments, end].concat()).await;
        assert_eq!(all(&lines), want, "{arguments:?}");
    }
    let shard = if hash_key("a") >> 127 == 0 {
        ["shardId-000000000000", "shardId-000000000001"]
    } else {
        ["shardId-000000000001", "shardId-000000000000"]
    };
    assert_eq!(all(&printed(&stand, &["consume", "--until", "now", "--shard", shard[0]]).await), [1, 2]);
    assert!(printed(&stand, &["consume", "--until", "now", "--shard", shard[1]]).await.is_empty());
    let arn = format!("arn:aws:kinesis:us-east-1:000000000000:stream/{STREAM}");
    assert_eq!(printed(&stand, &["consume", "--until", "now", "--stream", &arn]).await.len(), 2);
}

#[tokio::test]
async fn latest_is_what_comes_from_now_on_even_after_a_pause() {
    let stand = Stand::start(1).await;
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let arguments = ["consume", "--from", "LATEST", "--state", state.to_str().unwrap(), "--until", "now"];
    stand.put(borrowed(&numbered("old", 0..5))).await;
    sleep(Duration::from_millis(20)).await;
    assert!(printed(&stand, &arguments).await.is_empty());
    // Nothing was read yet, and what comes between two runs is not left out.
    stand.put(borrowed(&numbered("new", 0..5))).await;
    assert_eq!(by_key(&printed(&stand, &arguments).await), BTreeMap::from([("new".to_owned(), (0..5).collect())]));
}

#[tokio::test]
async fn a_reader_that_goes_away_is_no_failure() {
    let stand = Stand::start(1).await;
    let events = numbered("a", 0..20_000);
    stand.put(borrowed(&events)).await;
    let mut child = kinetail(&stand, &["consume"]).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.contains("\"n\":0"), "{first}");
    assert_eq!(ended(&mut child).await, 0);
}

#[tokio::test]
async fn a_check_that_a_signal_ends_is_no_proof() {
    let stand = Stand::start(1).await;
    stand.put(borrowed(&numbered("t", 0..10))).await;
    let mut child = kinetail(&stand, &["verify", "--idle", "1h"]).spawn().unwrap();
    // The shard was asked for by then.
    let reads = async || {
        let (_, stats) = http(stand.address, "GET", "/_kinetail/stats", "").await;
        stats.contains("\"records_read\":10").then_some(())
    };
    until("the events to be read", reads).await;
    sleep(Duration::from_millis(300)).await;
    signal(&child, "-TERM");
    let code = ended(&mut child).await;
    let (mut stdout, mut stderr) = (String::new(), String::new());
    child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(code, 1);
    assert!(stderr.contains("not everything was read: a signal ended it"), "{stderr}");
    assert!(stdout.contains("no gaps"), "{stdout}");
}

#[tokio::test]
async fn a_signal_is_heard_while_nobody_reads() {
    let stand = Stand::start(1).await;
    stand.put(borrowed(&numbered("a", 0..20_000))).await;
    let mut child = kinetail(&stand, &["consume"]).spawn().unwrap();
    // The pipe is full, and stays so.
    sleep(Duration::from_secs(2)).await;
    signal(&child, "-TERM");
    sleep(Duration::from_millis(200)).await;
    signal(&child, "-TERM");
    assert_eq!(ended(&mut child).await, 1);
}

#[tokio::test]
async fn what_cannot_be_read_is_said() {
    let stand = Stand::start(1).await;
    for (arguments, code, words) in [
        (&["--stream", "nothing"][..], 1, "the stream does not exist in this region and account"),
        (&["--shard", "shardId-7"], 1, "has no shard shardId-7; it has shardId-000000000000"),
        (&["--stream", ""], 2, "name the stream with --stream"),
        (&["--from", "yesterday"], 2, "is not one of TRIM_HORIZON, LATEST"),
        (&["--until", "soon"], 2, "is not one of now"),
        (&["--out", "/nonexistent/out"], 1, "--out /nonexistent/out"),
        (&["--state", "/nonexistent/state"], 1, "--state /nonexistent/state"),
        (&["--endpoint", "http://127.0.0.1:1"], 1, "ConnectionFailed"),
        (&["--config", "/nonexistent.yaml"], 2, "cannot be read"),
    ] {
        let end = if arguments[0] == "--until" { &[][..] } else { &["--until", "now"] };
        let mut command = kinetail(&stand, &[&["consume"], end, arguments].concat());
        if arguments == ["--stream", ""] {
            command.env_remove("KINETAIL_STREAM");
        }
        let (ended, stdout, stderr) = ran(command).await;
        assert_eq!((ended, stdout.as_str()), (code, ""), "{arguments:?}: {stderr}");
        assert!(stderr.contains(words), "no {words:?} in {stderr}");
    }
    stand.faults(&["ListShards"], json!({"fail_requests": 1, "fail_requests_code": "AccessDeniedException"})).await;
    let (code, _, stderr) = run(&stand, &["consume", "--until", "now"]).await;
    assert_eq!(code, 1);
    assert!(stderr.contains("kinesis:ListShards, kinesis:GetShardIterator and kinesis:GetRecords"), "{stderr}");
}

// === verify ===

#[tokio::test]
async fn gaps_duplicates_and_disorder_are_found() {
    let stand = Stand::start(1).await;
    let events = numbered("t", 0..100);
    let without = |numbers: &[usize]| {
        let kept = events.iter().enumerate().filter(|(n, _)| !numbers.contains(n));
        kept.map(|(_, event)| event.clone()).collect::<Vec<_>>()
    };
    stand.put(borrowed(&without(&[17, 40, 41]))).await;
    let (code, stdout, _) = run(&stand, &["verify"]).await;
    assert_eq!(code, 1);
    for words in [
        "gap: t: bytes 170 to 180 (10 bytes)",
        "gap: t: bytes 400 to 420 (20 bytes)",
        "GAPS: 30 bytes are missing in 2 places",
    ] {
        assert!(stdout.contains(words), "no {words:?} in {stdout}");
    }
    stand.put(borrowed(&events[40..42])).await;
    stand.put(borrowed(&events[17..18])).await;
    stand.put(borrowed(&events[90..100])).await;
    let (code, stdout, stderr) = run(&stand, &["verify", "--json"]).await;
    assert_eq!(code, 0, "{stderr}");
    let report: Value = serde_json::from_str(&stdout).unwrap();
    let source = &report["sources"][0];
    assert_eq!(
        (&source["events"], &source["duplicates"], &source["out_of_order"]),
        (&json!(110), &json!(10), &json!(3))
    );
    assert_eq!((&source["from"], &source["to"], &report["outcome"]), (&json!(0), &json!(1000), &json!("complete")));
}

#[tokio::test]
async fn what_kcl_would_discard_is_missing() {
    let stand = Stand::start(2).await;
    let shard = |key: &str| hash_key(key) >> 127;
    let there = (2..1000).map(|n| format!("k{n}")).find(|key| shard(key) != shard("t")).unwrap();
    let events = numbered("t", 0..10);
    stand.put(borrowed(&events[..4])).await;
    let mixed: Vec<(&str, &[u8])> = vec![("t", &events[4].1), ("t", &events[5].1), (&there, b"{}")];
    stand.put([("t", aggregate(&mixed))]).await;
    let rest: Vec<(&str, &[u8])> = events[6..].iter().map(|(key, data)| (key.as_str(), &data[..])).collect();
    stand.put([("t", aggregate(&rest))]).await;
    let (code, stdout, _) = run(&stand, &["verify"]).await;
    assert_eq!(code, 1);
    assert!(stdout.contains("bytes 40 to 60 (20 bytes)"), "{stdout}");
    assert!(stdout.contains("would throw away 1 records with 3 events"), "{stdout}");
}

#[tokio::test]
async fn a_file_that_was_not_read_from_its_beginning_is_said() {
    let stand = Stand::start(1).await;
    stand.put(borrowed(&numbered("t", 50..60))).await;
    let (code, stdout, _) = run(&stand, &["verify", "--from=-1h"]).await;
    assert_eq!(code, 0, "{stdout}");
    assert!(
        stdout.contains("1 files were not read from their first byte")
            && stdout.contains("in the middle of the stream"),
        "{stdout}"
    );
    assert!(stdout.contains("complete: 10 events of 1 files, no gaps, 0 duplicates"), "{stdout}");
}

#[tokio::test]
async fn without_ids_it_is_said_what_to_set() {
    let stand = Stand::start(1).await;
    let (code, stdout, _) = run(&stand, &["verify"]).await;
    assert_eq!(code, 1);
    assert!(stdout.contains("there were no events"), "{stdout}");
    stand.put([("a", "{\"n\":1}\n"), ("a", "plain\n")]).await;
    let (code, stdout, _) = run(&stand, &["verify"]).await;
    assert_eq!(code, 1);
    assert!(stdout.contains("none of 2 events has an _id; set add: {id: true}"), "{stdout}");
    let (code, _, stderr) = run(&stand, &["verify", "--stream", "nothing"]).await;
    assert_eq!(code, 1);
    assert!(stderr.contains("not everything was read: stream nothing"), "{stderr}");
}

#[tokio::test]
async fn lines_from_stdin_are_checked_too() {
    let stand = Stand::start(4).await;
    let keys: Vec<String> = (0..6).map(|n| format!("f{n}")).collect();
    for (round, key) in (0..3).flat_map(|round| keys.iter().map(move |key| (round, key))) {
        stand.put(borrowed(&numbered(key, round * 30..round * 30 + 30))).await;
        if key == "f3" {
            stand.reshard(round != 1).await;
        }
    }
    for (meta, out_of_order) in [(&["--meta"][..], json!(0)), (&[], Value::Null)] {
        let mut consume = kinetail(&stand, &[&["consume", "--until", "now"], meta].concat());
        let mut consume = consume.stderr(Stdio::null()).spawn().unwrap();
        let mut verify = kinetail(&stand, &["verify", "--json", "-"]);
        verify.stdin(consume.stdout.take().unwrap());
        let (code, stdout, stderr) = ran(verify).await;
        assert_eq!(code, 0, "{stdout}{stderr}");
        assert_eq!(ended(&mut consume).await, 0);
        let report: Value = serde_json::from_str(&stdout).unwrap();
        assert_eq!((&report["events"], &report["duplicates"]), (&json!(540), &json!(0)));
        assert_eq!(report["out_of_order"], out_of_order);
    }
    let mut verify = kinetail(&stand, &["verify", "-"]);
    let mut verify = verify.stdin(Stdio::piped()).spawn().unwrap();
    verify.stdin.take().unwrap().write_all(b"{\"_id\":\"t-0-5\"}\n{\"_id\":\"t-6-9\"}").unwrap();
    assert_eq!(ended(&mut verify).await, 1);
    let mut said = String::new();
    verify.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains("bytes 5 to 6 (1 bytes)"), "{said}");
}

/// An agent with lines that bring their ids, killed fifty times while the stream is resharded: nothing is missing, and what came twice is
/// counted as it is.
#[tokio::test]
async fn an_agent_that_is_killed_loses_nothing() {
    let stand = Stand::start(2).await;
    let mut setup = Setup::new(&stand.endpoint());
    setup.set("KINETAIL_PARTITION_KEY", "source");
    setup.set("KINETAIL_PARSE", "json");
    setup.set("KINETAIL_COMPRESSION", "zstd");
    let mut file = open(&setup.log("app.log"));
    let (mut at, mut lines) = (0_usize, 0);
    let mut write = |count: usize| {
        for _ in 0..count {
            // An id has to have the length of the line that it is in.
            let line =
                |end: usize| json!({"_id": format!("app-{at}-{end}"), "message": "x".repeat(lines % 50)}).to_string();
            let mut length = line(at).len() + 1;
            while line(at + length).len() + 1 != length {
                length = line(at + length).len() + 1;
            }
            let text = line(at + length);
            file.write_all(text.as_bytes()).unwrap();
            file.write_all(b"\n").unwrap();
            at += length;
            lines += 1;
        }
    };
    let began = Instant::now();
    for round in 0..50 {
        assert!(began.elapsed() < 2 * DEADLINE);
        write(100);
        let mut agent = setup.run().await;
        write(100);
        if round % 16 == 5 {
            stand.reshard(round != 21).await;
        }
        let sent = format!("kinesis_user_records_total{{stream=\"{STREAM}\"}}");
        until("something to be sent", async || (agent.metric(&sent).await > 0).then_some(())).await;
        agent.child.kill().unwrap();
        agent.child.wait().unwrap();
    }
    let agent = setup.run().await;
    until("the rest", async || (agent.metric("source_backlog_bytes").await == 0).then_some(())).await;
    agent.stop().await;
    let (code, stdout, stderr) = run(&stand, &["verify", "--json"]).await;
    assert_eq!(code, 0, "{stdout}{stderr}");
    let report: Value = serde_json::from_str(&stdout).unwrap();
    let source = &report["sources"][0];
    assert_eq!((&source["from"], &source["to"]), (&json!(0), &json!(at)));
    let ids: Vec<String> = printed(&stand, &["consume", "--until", "now"]).await;
    let ids: Vec<String> =
        ids.iter().map(|line| serde_json::from_str::<Value>(line).unwrap()["_id"].to_string()).collect();
    let distinct = ids.iter().collect::<BTreeSet<_>>().len();
    assert_eq!(distinct, lines);
    assert_eq!(report["duplicates"], json!(ids.len() - distinct));
    assert_eq!(report["out_of_order"], json!(0));
}
