//! What cannot be read twice, with the real binary and the embedded stream: a wrapped command, stdin, a FIFO and Forward clients, through full
//! spools, outages and kills.

#![expect(clippy::unwrap_used, reason = "a panic is how a test's helpers fail")]

#[path = "support/harness.rs"]
#[expect(dead_code, reason = "not every test file needs all of it")]
mod harness;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use harness::{Consumer, Setup, Stand, http, until};
use serde_json::{Value, json};

/// What of the harness only these tests need.
impl Stand {
    async fn faults(&self, plan: Value) {
        let (status, body) = http(self.address, "POST", "/_kinetail/faults", &plan.to_string()).await;
        assert_eq!(status, 200, "{body}");
    }

    /// Nothing is taken until further notice.
    async fn outage(&self, is_on: bool) {
        let plan = if is_on { json!({ "operations": ["PutRecords"], "fail_requests": 1.0 }) } else { json!({}) };
        self.faults(plan).await;
    }
}

impl Setup {
    fn spooled(endpoint: &str, source: &Value, spool: &Value) -> Self {
        let mut setup = Self::new(endpoint);
        setup.set("KINETAIL_PATHS", "");
        setup.configure(&json!({
            "sources": [source],
            "spool": spool,
            "kinesis": { "partition_key": "source", "aggregate": { "max_age": "10ms" } },
        }));
        setup
    }

    fn exec(&self, command: &[&str]) -> Command {
        let settings = self.command();
        let mut exec = Command::new(env!("CARGO_BIN_EXE_kinetail"));
        exec.args(["exec", "--"]).args(command).env_clear();
        exec.envs(settings.get_envs().filter_map(|(name, value)| Some((name, value?))));
        exec.env("PATH", "/usr/bin:/bin").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        exec
    }
}

/// The plain lines of a spooled source: no fields beside the line.
fn plain(kind: &str) -> Value {
    json!({ "type": kind, "add": { "stream": false, "time": false } })
}

/// How often each line has come.
async fn counted(consumer: &mut Consumer) -> BTreeMap<String, usize> {
    consumer.look().await;
    let mut lines = BTreeMap::new();
    for event in &consumer.events {
        let line = String::from_utf8(event.data.clone()).unwrap();
        *lines.entry(line.trim_end().to_owned()).or_default() += 1;
    }
    lines
}

fn numbered(count: usize) -> BTreeMap<String, usize> {
    (1..=count).map(|n| (format!("line {n}"), 1)).collect()
}

/// Each of these lines has come once, and no other.
#[track_caller]
fn assert_once(lines: &BTreeMap<String, usize>, expected: &BTreeMap<String, usize>) {
    let missing: Vec<_> = expected.keys().filter(|line| !lines.contains_key(*line)).collect();
    let more: Vec<_> = lines.iter().filter(|(line, times)| expected.get(*line) != Some(times)).collect();
    let (few, some) = (missing.iter().take(5), more.iter().take(5));
    assert!(
        missing.is_empty() && more.is_empty(),
        "{} missing, such as {:?}; {} too often, such as {:?}",
        missing.len(),
        few.collect::<Vec<_>>(),
        more.len(),
        some.collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_command_ends_after_its_last_line_and_all_of_it_arrives() {
    let stand = Stand::start(2).await;
    let setup = Setup::spooled(&stand.endpoint(), &plain("exec"), &json!({}));
    let mut expected = BTreeMap::new();
    for run in 0..20 {
        let script = format!("echo out {run}; echo err {run} >&2; printf 'last {run}'; exit {run}");
        let mut command = setup.exec(&["/bin/sh", "-c", &script]);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(run), "{stderr}");
        assert_eq!(stdout, format!("out {run}\nlast {run}"));
        assert!(stderr.contains(&format!("err {run}\n")));
        expected.extend(["out", "err", "last"].map(|word| (format!("{word} {run}"), 1)));
    }
    let mut consumer = Consumer::new(&stand).await;
    assert_once(&counted(&mut consumer).await, &expected);
}

#[tokio::test]
async fn stdin_is_read_to_its_end_and_so_is_the_agent() {
    let stand = Stand::start(2).await;
    let mut setup = Setup::spooled(&stand.endpoint(), &plain("stdin"), &json!({ "segment_bytes": "64KiB" }));
    setup.set("KINETAIL_PATHS", "-");
    let mut command = setup.command();
    command.stdin(Stdio::piped()).stderr(Stdio::piped());
    let write = move || {
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        for n in 1..=20_000 {
            writeln!(stdin, "line {n}").unwrap();
        }
        drop(stdin);
        child.wait_with_output().unwrap()
    };
    let output = tokio::task::spawn_blocking(write).await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let mut consumer = Consumer::new(&stand).await;
    assert_once(&counted(&mut consumer).await, &numbered(20_000));
}

#[tokio::test]
async fn what_was_kept_survives_the_agent() {
    let stand = Stand::start(2).await;
    let mut setup = Setup::spooled(&stand.endpoint(), &json!({}), &json!({ "segment_bytes": "64KiB" }));
    let socket = setup.dir.path().join("forward.sock");
    setup.configure(&json!({
        "sources": [{ "type": "forward", "forward": { "unix": socket } }],
        "spool": { "segment_bytes": "64KiB" },
        "kinesis": { "partition_key": "source", "aggregate": { "max_age": "10ms" } },
    }));
    let mut sent = 0;
    for round in 0..4 {
        stand.outage(round % 2 == 0).await;
        let agent = setup.run().await;
        let mut client = until("the socket", async || UnixStream::connect(&socket).ok()).await;
        for _ in 0..2_000 {
            sent += 1;
            // [tag, time, {"log": "line n"}, {"chunk": "n"}]
            let text = format!("line {sent}");
            let mut message = vec![0x94, 0xa1, b't', 0xce, 0x65, 0x53, 0xf1, 0x00, 0x81, 0xa3, b'l', b'o', b'g'];
            message.push(0xa0 | u8::try_from(text.len()).unwrap());
            message.extend_from_slice(text.as_bytes());
            message.extend_from_slice(&[0x81, 0xa5, b'c', b'h', b'u', b'n', b'k', 0xa1, b'c']);
            client.write_all(&message).unwrap();
        }
        let acks = 2_000;
        until("all acknowledgements", async || (agent.metric("forward_acks_total").await == acks).then_some(())).await;
        // SIGKILL, by dropping it.
        drop(agent);
    }
    stand.outage(false).await;
    let agent = setup.run().await;
    let mut consumer = Consumer::new(&stand).await;
    let logs = until("all events", async || {
        let logs: BTreeMap<String, usize> =
            counted(&mut consumer).await.into_iter().map(|(line, n)| (log_of(&line), n)).collect();
        (logs.len() == sent).then_some(logs)
    })
    .await;
    assert!(numbered(sent).keys().eq(logs.keys()), "every event that was acknowledged is there");
    agent.stop().await;
}

fn log_of(line: &str) -> String {
    let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    event["log"].as_str().unwrap().to_owned()
}

/// With the stream gone and a small spool, what the ledger says adds up to what was written, event by event.
async fn ledger(on_full: &str) {
    let stand = Stand::start(1).await;
    let spool = json!({ "max_bytes": "1MiB", "segment_bytes": "128KiB", "on_full": on_full });
    let mut setup = Setup::spooled(&stand.endpoint(), &plain("fifo"), &spool);
    let fifo = setup.dir.path().join("in.fifo");
    setup.configure(&json!({
        "memory_limit": "1MiB",
        "sources": [{ "type": "fifo", "paths": [fifo], "add": { "stream": false, "time": false } }],
        "spool": spool,
        "kinesis": { "partition_key": "source", "aggregate": { "max_age": "10ms" } },
    }));
    stand.outage(true).await;
    let agent = setup.run().await;
    until("the FIFO", async || fifo.exists().then_some(())).await;
    let count = 100_000;
    let write = move || {
        let mut pipe = std::fs::OpenOptions::new().write(true).open(&fifo).unwrap();
        let mut lines = Vec::new();
        for n in 1..=count {
            writeln!(lines, "line {n}").unwrap();
        }
        pipe.write_all(&lines).unwrap();
    };
    let writer = std::thread::spawn(write);
    let name = "spool_bytes";
    until("a full spool", async || (agent.metric(name).await > 600 * 1024).then_some(())).await;
    if on_full != "block" {
        // Nobody waits for the stream.
        until("the writer", async || writer.is_finished().then_some(())).await;
    }
    stand.outage(false).await;
    until("the writer", async || writer.is_finished().then_some(())).await;
    let mut consumer = Consumer::new(&stand).await;
    let (delivered, dropped) = until("the end", async || {
        let dropped = agent.metric("dropped_events_total").await;
        let delivered = counted(&mut consumer).await;
        (delivered.len() + usize::try_from(dropped).unwrap() == count).then_some((delivered, dropped))
    })
    .await;
    assert_eq!(dropped == 0, on_full == "block", "{dropped}");
    assert_eq!(agent.metric("events_total").await, count as u64);
    let expected = numbered(count);
    assert!(delivered.keys().all(|line| expected.contains_key(line)));
    let dropped_by = format!("dropped_events_total{{reason=\"{on_full}\",stage=\"spool\"}}");
    assert_eq!(agent.metric(&dropped_by).await, dropped);
    // What is delivered goes by segments, but for the one that is written to.
    until("an empty spool", async || (agent.metric("spool_segments").await <= 1).then_some(())).await;
    agent.stop().await;
}

#[tokio::test]
async fn a_full_spool_makes_the_writer_wait() {
    ledger("block").await;
}

#[tokio::test]
async fn a_full_spool_drops_what_is_oldest() {
    ledger("drop_oldest").await;
}

#[tokio::test]
async fn a_full_spool_drops_what_is_newest() {
    ledger("drop_newest").await;
}

#[tokio::test]
async fn what_a_former_source_has_left_is_told_of() {
    let stand = Stand::start(1).await;
    let mut setup = Setup::spooled(&stand.endpoint(), &plain("stdin"), &json!({}));
    let left = setup.dir.path().join("state/spool/former");
    std::fs::create_dir_all(&left).unwrap();
    std::fs::write(left.join("current.log.000000000003"), "left\n").unwrap();
    setup.set("KINETAIL_PATHS", "-");
    let mut command = setup.command();
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let warning =
        said.lines().find(|line| line.contains("not configured any more")).unwrap_or_else(|| panic!("{said}"));
    assert!(warning.contains("\"bytes\":5") && warning.contains("spool/former"), "{warning}");
    assert!(left.join("current.log.000000000003").exists());
}
