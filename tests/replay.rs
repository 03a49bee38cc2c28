//! `kinetail replay` with the real binary and the embedded stream: dead letters arrive once, whatever the stream does, whoever appends meanwhile
//! and wherever it is killed; what cannot be sent stays.

#![expect(clippy::unwrap_used, reason = "a panic is how a test's helpers fail")]

#[path = "support/harness.rs"]
#[expect(dead_code, reason = "not every test file needs all of it")]
mod harness;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use harness::{Consumer, STREAM, Setup, Stand, http, open, until};
use kinetail::deadletter::{DeadLetter, DeadLetters};
use serde_json::{Value, json};

/// What of the harness only these tests need.
impl Stand {
    async fn faults(&self, mut plan: Value) {
        plan["operations"] = json!(["PutRecords"]);
        let (status, body) = http(self.address, "POST", "/_kinetail/faults", &plan.to_string()).await;
        assert_eq!(status, 200, "{body}");
    }
}

impl Setup {
    fn state(&self, name: &str) -> PathBuf {
        self.dir.path().join("state").join(name)
    }

    /// Writes letters as an agent does.
    fn letters<'a>(&self, reason: &str, data: impl IntoIterator<Item = &'a [u8]>) {
        std::fs::create_dir_all(self.state("")).unwrap();
        let (stream, partition_key, message) = (STREAM, "key", "");
        let letter = DeadLetter { time: 1, reason, message, stream, partition_key, data: None, data_base64: None };
        let letter = || DeadLetter { data: None, data_base64: None, ..letter };
        DeadLetters::new(&self.state("")).write(data.into_iter().map(|data| (letter(), data))).unwrap();
    }

    fn replay(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kinetail"));
        let settings = self.command();
        command.arg("replay").args(arguments).env_clear();
        command.envs(settings.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs it to its end: the exit code, stdout and stderr.
    async fn replayed(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut command = self.replay(arguments);
        // The stand-in has a thread of its own; this one may wait.
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    fn is_empty(&self) -> bool {
        let names = ["dead_letters.jsonl", "dead_letters.replay.jsonl", "dead_letters.replay.offset"];
        names.iter().all(|name| !self.state(name).exists())
    }
}

fn numbered(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|number| format!("event {number:05}\n").into_bytes()).collect()
}

fn slices(data: &[Vec<u8>]) -> impl Iterator<Item = &[u8]> {
    data.iter().map(Vec::as_slice)
}

/// How often each event has arrived.
async fn arrived(consumer: &mut Consumer) -> BTreeMap<String, usize> {
    consumer.look().await;
    let mut arrived = BTreeMap::new();
    for event in &consumer.events {
        *arrived.entry(String::from_utf8_lossy(&event.data).into_owned()).or_default() += 1;
    }
    arrived
}

async fn start() -> (Stand, Setup, Consumer) {
    let stand = Stand::start(2).await;
    let setup = Setup::new(&stand.endpoint());
    let consumer = Consumer::new(&stand).await;
    (stand, setup, consumer)
}

#[tokio::test]
async fn what_a_parser_has_refused_is_sent_as_it_is_while_the_agent_runs() {
    let (_stand, mut setup, mut consumer) = start().await;
    let paths = setup.dir.path().join("logs/*.log");
    setup.configure(&json!({
        "sources": [{ "paths": [paths], "parse": "json", "on_parse_error": "dead_letter" }],
    }));
    setup.set("KINETAIL_PATHS", "");
    let mut log = open(&setup.log("app.log"));
    let agent = setup.run().await;
    for round in ["first", "second"] {
        writeln!(log, "{{\"round\":\"{round}\"}}\nno json, {round}").unwrap();
        let letters = setup.state("dead_letters.jsonl");
        until("the dead letter", async || (std::fs::metadata(&letters).ok()?.len() > 0).then_some(())).await;
        let (code, stdout, stderr) = setup.replayed(&[]).await;
        assert_eq!((code, &*stdout), (0, "events: 1 delivered\n"), "{stderr}");
        assert!(setup.is_empty());
    }
    until("all events", async || (arrived(&mut consumer).await.len() == 4).then_some(())).await;
    agent.stop().await;
    let arrived = arrived(&mut consumer).await;
    assert!(arrived.values().all(|count| *count == 1), "{arrived:?}");
    assert!(arrived.contains_key("no json, first") && arrived.contains_key("no json, second"), "{arrived:?}");
    let (code, stdout, _) = setup.replayed(&[]).await;
    assert_eq!((code, &*stdout), (0, "no dead letters\n"));
}

#[tokio::test]
async fn what_is_refused_again_goes_back_and_the_rest_is_delivered() {
    let (stand, setup, mut consumer) = start().await;
    let mut data = numbered(5);
    data.insert(3, vec![b'x'; (1 << 20) + 1]);
    data.push(b"\xff\x00\n".to_vec());
    setup.letters("ValidationException", slices(&data));
    let (code, stdout, _) = setup.replayed(&[]).await;
    let refused = "events: 6 delivered\nevents: 1 refused again (ValidationException) and back in dead_letters.jsonl\n";
    assert_eq!((code, &*stdout), (1, refused));
    consumer.look().await;
    assert_eq!(consumer.events.len(), 6);
    assert!(consumer.events.iter().any(|event| event.data == b"\xff\x00"));

    let arn = format!("arn:aws:kinesis:us-east-1:000000000000:stream/{STREAM}");
    stand.client.update_max_record_size().stream_arn(arn).max_record_size_in_kib(2048).send().await.unwrap();
    let (code, stdout, _) = setup.replayed(&[]).await;
    assert_eq!((code, &*stdout), (0, "events: 1 delivered\n"));
    consumer.look().await;
    assert_eq!(consumer.events[6].data.len(), (1 << 20) + 1);
    assert!(setup.is_empty());
}

#[tokio::test]
async fn a_dry_run_changes_nothing_and_lines_that_are_no_letters_stay() {
    let (stand, setup, mut consumer) = start().await;
    stand.client.create_stream().stream_name("other").shard_count(1).send().await.unwrap();
    setup.letters("parse_error", [&b"a"[..], b"b\n"]);
    let path = setup.state("dead_letters.jsonl");
    let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"{\"time\":1,\"reas\n\n").unwrap();
    let before = std::fs::read(&path).unwrap();

    let note = "1 lines that are no dead letters, left in dead_letters.jsonl\n";
    let (code, stdout, _) = setup.replayed(&["--dry-run"]).await;
    assert_eq!((code, stdout), (0, format!("events: 2 to send\n{note}")));
    let (_, stdout, _) = setup.replayed(&["--dry-run", "--stream", "other"]).await;
    assert_eq!(stdout, format!("other: 2 to send\n{note}"));
    assert_eq!(std::fs::read(&path).unwrap(), before);
    assert_eq!(arrived(&mut consumer).await, BTreeMap::new());

    let (code, stdout, _) = setup.replayed(&["--stream", "other"]).await;
    assert_eq!((code, stdout), (1, format!("other: 2 delivered\n{note}")));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"time\":1,\"reas\n");
    assert_eq!(arrived(&mut consumer).await, BTreeMap::new(), "nothing goes to the stream that they were for");
    let shards = stand.client.describe_stream_summary().stream_name("other").send().await.unwrap();
    assert_eq!(shards.stream_description_summary().unwrap().open_shard_count(), 1);
    let (_, stats) = http(stand.address, "GET", "/_kinetail/stats", "").await;
    let stats: Value = serde_json::from_str(&stats).unwrap();
    assert_eq!(stats["streams"]["other"]["records"], 2);
}

#[tokio::test]
async fn a_stream_that_refuses_is_asked_again_for_what_it_refused_alone() {
    let (stand, setup, mut consumer) = start().await;
    let data = numbered(2000);
    setup.letters("InternalFailure", slices(&data));
    stand.faults(json!({ "throttle": 0.3, "fail_requests": 0.2, "close_before": 0.1, "seed": 11 })).await;
    let (code, stdout, stderr) = setup.replayed(&[]).await;
    assert_eq!((code, &*stdout), (0, "events: 2000 delivered\n"), "{stderr}");
    let arrived = arrived(&mut consumer).await;
    assert!(arrived.len() == 2000 && arrived.values().all(|count| *count == 1));
    assert!(setup.is_empty());
}

#[tokio::test]
async fn a_stream_that_somebody_has_to_see_to_ends_it_and_everything_is_kept() {
    let (stand, setup, mut consumer) = start().await;
    let data = numbered(700);
    setup.letters("InternalFailure", slices(&data));
    stand.faults(json!({ "fail_requests": 1, "fail_requests_code": "AccessDeniedException" })).await;
    let (code, _, stderr) = setup.replayed(&[]).await;
    assert_eq!(code, 1);
    for words in ["stream events", "AccessDeniedException", "kinesis:PutRecords", "what is left is kept"] {
        assert!(stderr.contains(words), "no {words:?} in {stderr}");
    }
    assert!(arrived(&mut consumer).await.is_empty());
    stand.faults(json!({})).await;
    setup.letters("InternalFailure", [&b"later\n"[..]]);
    let (code, stdout, _) = setup.replayed(&[]).await;
    assert_eq!((code, &*stdout), (0, "events: 701 delivered\n"));
    let arrived = arrived(&mut consumer).await;
    assert!(arrived.len() == 701 && arrived.values().all(|count| *count == 1));
}

#[tokio::test]
async fn kills_lose_nothing_and_repeat_one_chunk_at_most() {
    const KILLS: usize = 4;
    /// Letters of a chunk.
    const CHUNK: usize = 500;
    let (stand, setup, mut consumer) = start().await;
    let data = numbered(6000);
    setup.letters("InternalFailure", slices(&data));
    stand.faults(json!({ "latency_min_ms": 20, "latency_max_ms": 60 })).await;
    let mut killed = 0;
    for _ in 0..KILLS {
        let mut child = setup.replay(&[]).spawn().unwrap();
        let before = arrived(&mut consumer).await.values().sum::<usize>();
        // In the middle of what it does, wherever that is.
        until("some deliveries", async || {
            let ended = child.try_wait().unwrap().is_some();
            (ended || arrived(&mut consumer).await.values().sum::<usize>() > before).then_some(())
        })
        .await;
        tokio::time::sleep(Duration::from_millis(fastrand::u64(0..50))).await;
        child.kill().unwrap();
        killed += usize::from(!child.wait().unwrap().success());
    }
    let (code, _, stderr) = setup.replayed(&[]).await;
    assert_eq!(code, 0, "{stderr}");
    let arrived = arrived(&mut consumer).await;
    let repeated = arrived.values().sum::<usize>() - arrived.len();
    println!("{killed} killed, {repeated} repeated");
    assert!(killed > 0 && arrived.len() == 6000 && repeated <= killed * CHUNK, "{repeated} repeated");
    assert!(setup.is_empty());
}

#[tokio::test]
async fn nothing_is_lost_between_replays_and_whoever_appends() {
    let (_stand, setup, mut consumer) = start().await;
    let data = numbered(3000);
    let writing = async {
        for data in data.chunks(5) {
            setup.letters("parse_error", slices(data));
            tokio::task::yield_now().await;
        }
    };
    let replaying = async {
        let mut delivered = 0;
        while delivered < 3000 {
            let (code, stdout, stderr) = setup.replayed(&[]).await;
            assert_eq!(code, 0, "{stderr}");
            if let Some(count) = stdout.strip_prefix("events: ") {
                delivered += count.split(' ').next().unwrap().parse::<usize>().unwrap();
            }
        }
        delivered
    };
    let (delivered, ()) =
        tokio::time::timeout(harness::DEADLINE, futures_util::future::join(replaying, writing)).await.unwrap();
    let arrived = arrived(&mut consumer).await;
    assert!(delivered == 3000 && arrived.len() == 3000 && arrived.values().all(|count| *count == 1));
}

#[tokio::test]
async fn two_replays_do_not_meet() {
    let (stand, setup, mut consumer) = start().await;
    setup.letters("parse_error", [&b"a\n"[..]]);
    stand.faults(json!({ "hang": 1 })).await;
    let mut first = setup.replay(&[]).spawn().unwrap();
    until("the first to take the file", async || setup.state("dead_letters.replay.jsonl").exists().then_some(())).await;
    let (code, _, stderr) = setup.replayed(&[]).await;
    first.kill().unwrap();
    first.wait().unwrap();
    assert_eq!(code, 1);
    assert!(stderr.contains("another replay is under way"), "{stderr}");
    stand.faults(json!({})).await;
    let (code, stdout, _) = setup.replayed(&[]).await;
    assert_eq!((code, &*stdout), (0, "events: 1 delivered\n"));
    assert_eq!(arrived(&mut consumer).await.len(), 1);
}
