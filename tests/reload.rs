//! The real binary and other configurations while it runs: nothing is lost or comes twice whatever the sources are meanwhile, what is wrong is refused,
//! and the metrics say so. And the ways to its end: a second signal, `POST /-/quit`, and whatever `--exit-when-gone` names.

#![expect(clippy::unwrap_used, reason = "a panic is how a test's helpers fail")]

#[path = "support/canned.rs"]
#[expect(dead_code, reason = "these tests need one answer")]
mod canned;
#[path = "support/harness.rs"]
#[expect(dead_code, reason = "these tests have logs of their own")]
mod harness;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use canned::{Canned, Reply};
use harness::{Agent, Consumer, DEADLINE, Event, Setup, Stand, http, open, total, until};
use serde_json::{Value, json};
use tokio::time::sleep;

/// How often the stress loads another configuration; the variable is for longer runs by hand.
const RELOADS: usize = 30;
const RELOADS_VARIABLE: &str = "KINETAIL_TEST_RELOADS";

/// A setup whose sources are in a file.
struct Scene {
    stand: Stand,
    setup: Setup,
    consumer: Consumer,
}

impl Scene {
    async fn new(shards: u32) -> Self {
        let stand = Stand::start(shards).await;
        let mut setup = Setup::new(&stand.endpoint());
        setup.set("KINETAIL_PATHS", "");
        setup.set("KINETAIL_PARTITION_KEY", "source");
        let consumer = Consumer::new(&stand).await;
        Self { stand, setup, consumer }
    }

    fn file(&self) -> PathBuf {
        self.setup.dir.path().join("kinetail.yaml")
    }

    /// Puts a configuration in the place of the other, as a whole.
    fn configure(&self, document: &Value) {
        let aside = self.setup.dir.path().join("kinetail.yaml.new");
        fs::write(&aside, document.to_string()).unwrap();
        fs::rename(aside, self.file()).unwrap();
    }

    fn command(&self) -> Command {
        let mut command = self.setup.command();
        command.arg("--config").arg(self.file());
        command
    }

    async fn run(&self) -> Agent {
        self.setup.start(self.command()).await
    }

    /// What is wrong with a command by `kinetail check`.
    fn check(&self) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kinetail"));
        command.arg("check").arg("--config").arg(self.file()).env_clear().env("KINETAIL_STREAM", harness::STREAM);
        String::from_utf8(command.output().unwrap().stderr).unwrap()
    }

    /// From now on this goes wrong with `PutRecords`.
    async fn faults(&self, mut plan: Value) {
        plan["operations"] = json!(["PutRecords"]);
        let (status, body) = http(self.stand.address, "POST", "/_kinetail/faults", &plan.to_string()).await;
        assert_eq!(status, 200, "{body}");
    }

    fn log(&self, name: &str) -> PathBuf {
        self.setup.log(name)
    }

    /// Reads until there are so many events.
    async fn receive(&mut self, count: usize) -> Vec<Value> {
        until("all events", async || {
            self.consumer.look().await;
            (self.consumer.events.len() >= count).then_some(())
        })
        .await;
        assert_eq!(self.consumer.events.len(), count);
        self.consumer.events.iter().map(value).collect()
    }
}

/// An event as JSON, or its text.
fn value(event: &Event) -> Value {
    serde_json::from_slice(&event.data)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&event.data).into_owned()))
}

/// What only these tests need of the agent.
trait Reloading {
    /// How many configurations were loaded.
    async fn reloads(&self, result: &str) -> u64;
    /// Sends SIGHUP, and waits for what comes of it: the label.
    async fn reload(&self) -> &'static str;
}

impl Reloading for Agent {
    async fn reloads(&self, result: &str) -> u64 {
        self.metric(&format!("config_reloads_total{{result=\"{result}\"}}")).await
    }

    async fn reload(&self) -> &'static str {
        let before = self.metric("config_reloads_total").await;
        let of = async || {
            let mut counts = Vec::new();
            for result in ["applied", "unchanged", "refused"] {
                counts.push((result, self.reloads(result).await));
            }
            counts
        };
        let counts = of().await;
        self.signal("-HUP");
        until("the reload", async || (self.metric("config_reloads_total").await > before).then_some(())).await;
        let after = of().await;
        counts.iter().zip(&after).find(|(before, after)| before.1 < after.1).unwrap().0.0
    }
}

#[tokio::test]
async fn sources_change_come_and_go_and_files_go_on_where_they_are() {
    let mut scene = Scene::new(2).await;
    let (a, b) = (scene.log("a.log"), scene.log("b.log"));
    let (mut a_log, mut b_log) = (open(&a), open(&b));
    writeln!(a_log, "n=1").unwrap();
    write!(a_log, "n=2 be").unwrap();
    scene.configure(&json!({ "sources": [{ "name": "a", "paths": [a] }] }));
    let agent = scene.run().await;
    assert_eq!(scene.receive(1).await, ["n=1"]);
    assert_eq!(agent.reload().await, "unchanged");
    // The line that is half there is one of the new way.
    scene.configure(&json!({ "sources": [
        { "name": "a", "paths": [a], "parse": "logfmt", "add": { "fields": { "source": "a" } } },
        { "name": "b", "paths": [b], "parse": "logfmt" },
    ] }));
    assert_eq!(agent.reload().await, "applied");
    writeln!(a_log, "fore=1").unwrap();
    writeln!(b_log, "n=3").unwrap();
    let events = scene.receive(3).await;
    assert!(events.contains(&json!({ "n": "2", "before": "1", "source": "a" })), "{events:?}");
    assert!(events.contains(&json!({ "n": "3" })), "{events:?}");
    // The file goes over to another source, which has another name.
    scene.configure(&json!({ "sources": [{ "name": "c", "paths": [scene.log("*.log")] }] }));
    assert_eq!(agent.reload().await, "applied");
    writeln!(a_log, "n=4").unwrap();
    let events = scene.receive(4).await;
    assert!(events.contains(&json!("n=4")), "{events:?}");
    let metrics = agent.get("/metrics").await.1;
    assert_eq!(total(&metrics, "source_files{source=\"c\",state=\"live\"}"), 2);
    until("the series of what is gone to go", async || {
        let metrics = agent.get("/metrics").await.1;
        (!metrics.contains("source_files{source=\"a\"") && !metrics.contains("source_backlog_bytes{source=\"b\""))
            .then_some(())
    })
    .await;
    // A source goes, what is written meanwhile is read when it comes back, and a file that was there and known to nobody begins as start_at says.
    scene.configure(&json!({ "sources": [{ "paths": [b] }] }));
    assert_eq!(agent.reload().await, "applied");
    writeln!(a_log, "n=5").unwrap();
    fs::write(scene.log("old.txt"), "old\n").unwrap();
    fs::write(scene.log("older.txt"), "older\n").unwrap();
    scene.configure(&json!({ "sources": [
        { "paths": [a] },
        { "name": "old", "paths": [scene.log("old.txt")] },
        { "name": "older", "paths": [scene.log("older.txt")], "start_at": "end" },
    ] }));
    assert_eq!(agent.reload().await, "applied");
    let events = scene.receive(6).await;
    assert!(events.contains(&json!("n=5")) && events.contains(&json!("old")), "{events:?}");
    writeln!(fs::OpenOptions::new().append(true).open(scene.log("older.txt")).unwrap(), "new").unwrap();
    assert!(scene.receive(7).await.contains(&json!("new")));
    let status: Value = serde_json::from_str(&agent.get("/status").await.1).unwrap();
    assert_eq!(status["sources"].as_array().unwrap().len(), 3);
    assert_eq!(status["configuration_hash"].as_str().unwrap().len(), 16);
    agent.stop().await;
}

#[tokio::test]
async fn what_is_unread_of_a_removed_source_is_counted_and_read_when_it_comes_back() {
    let mut scene = Scene::new(1).await;
    scene.setup.set("KINETAIL_MEMORY_LIMIT", "1MiB");
    let path = scene.log("a.log");
    let count = 60_000;
    let line = |n: usize| format!("{n} {}\n", "all work and no play ".repeat(4));
    let text: String = (0..count).map(line).collect();
    fs::write(&path, &text).unwrap();
    let with = json!({ "kinesis": { "request_timeout": "1s" }, "sources": [{ "name": "a", "paths": [path], "max_line_bytes": "64KiB" }] });
    let without = json!({ "kinesis": { "request_timeout": "1s" }, "sources": [{ "name": "b", "paths": [scene.log("b.log")], "max_line_bytes": "64KiB" }] });
    scene.configure(&with);
    scene.faults(json!({ "hang": 1 })).await;
    let agent = scene.run().await;
    until("the memory to be used up", async || {
        (total(&agent.get("/metrics").await.1, "source_read_bytes_total") > 200_000).then_some(())
    })
    .await;
    scene.configure(&without);
    assert_eq!(agent.reload().await, "applied");
    let said = agent.said("files have no source any more").await;
    let read = agent.metric("source_read_bytes_total").await;
    let abandoned = agent.metric("abandoned_bytes_total{reason=\"source_removed\"}").await;
    assert_eq!(said["unread"].as_u64(), Some(abandoned));
    // What was read and is no whole line is not read yet.
    assert_eq!(read + abandoned, text.len() as u64);
    scene.faults(json!({})).await;
    until("what was read to be delivered", async || {
        let metrics = agent.get("/metrics").await.1;
        let (events, delivered) = (total(&metrics, "events_total"), total(&metrics, "kinesis_user_records_total"));
        (events == delivered && total(&metrics, "in_flight_events") == 0).then_some(())
    })
    .await;
    scene.consumer.look().await;
    assert!(scene.consumer.events.len() < count);
    let metrics = agent.get("/metrics").await.1;
    assert!(!metrics.contains("source_backlog_bytes{source=\"a\""), "{metrics}");
    scene.configure(&with);
    assert_eq!(agent.reload().await, "applied");
    scene.receive(count).await;
    let sent: String =
        scene.consumer.events.iter().map(|event| format!("{}\n", String::from_utf8_lossy(&event.data))).collect();
    assert!(sent == text, "each line once, and in its order");
    agent.stop().await;
}

#[tokio::test]
async fn what_is_wrong_or_needs_a_restart_is_refused_and_the_old_one_stays() {
    let mut scene = Scene::new(1).await;
    let path = scene.log("a.log");
    let mut log = open(&path);
    let good = json!({ "sources": [{ "paths": [path] }] });
    scene.configure(&good);
    let agent = scene.run().await;
    let since = async |agent: &Agent| {
        let metrics = agent.get("/metrics").await.1;
        let name = "kinetail_config_last_reload_success_timestamp_seconds ";
        metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap().parse::<f64>().unwrap()
    };
    let began = since(&agent).await;
    assert!(began > 1.7e9);
    assert_eq!(agent.metric("config_last_reload_successful").await, 1);
    for (number, (document, reason)) in [
        (json!({ "sources": [{ "paths": ["a.log"], "start_at": "begining" }] }), ""),
        (json!("nothing"), ""),
        (json!({ "state_dir": "/elsewhere", "sources": [{ "paths": [path] }] }), "state_dir"),
        (
            json!({ "sources": [{ "paths": [path] }], "memory_limit": "2MiB", "kinesis": { "format": "lines" } }),
            "kinesis.format (kpl to lines), memory_limit (12MiB to 2MiB): needs a restart",
        ),
        (
            json!({ "sources": [{ "paths": [path] }, { "name": "f", "type": "fifo", "paths": ["/f"] }] }),
            "sources[f] (a source of type fifo comes): needs a restart",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        scene.configure(&document);
        // Variables have precedence over what is in the file.
        let is_moot = reason == "state_dir";
        assert_eq!(agent.reload().await, if is_moot { "unchanged" } else { "refused" }, "{document}");
        if is_moot {
            continue;
        }
        let said =
            agent.log().lines().rfind(|line| line.contains("the new configuration is refused")).unwrap().to_owned();
        let said: Value = serde_json::from_str(&said).unwrap();
        let said = said["reason"].as_str().unwrap();
        if reason.is_empty() {
            assert_eq!(said, scene.check().trim_end());
        } else {
            assert!(said.starts_with(reason), "{said}");
        }
        assert_eq!(agent.metric("config_last_reload_successful").await, 0);
        writeln!(log, "line {number}").unwrap();
        let received = scene.consumer.events.len() + 1;
        scene.receive(received).await;
    }
    let before = since(&agent).await;
    fs::remove_file(scene.file()).unwrap();
    assert_eq!(agent.reload().await, "refused");
    scene.configure(&json!({ "sources": [{ "paths": [path], "add": { "host": true } }] }));
    assert_eq!(agent.reload().await, "applied");
    assert_eq!(agent.metric("config_last_reload_successful").await, 1);
    assert!(since(&agent).await > before);
    assert_eq!(agent.reloads("refused").await, 5);
    agent.stop().await;
}

#[tokio::test]
async fn a_config_map_that_changes_is_loaded_if_that_is_asked_for() {
    let mut scene = Scene::new(1).await;
    let (a, b, dir) = (scene.log("a.log"), scene.log("b.log"), scene.setup.dir.path().join("config"));
    fs::write(&a, "a\n").unwrap();
    fs::write(&b, "b\n").unwrap();
    fs::create_dir(&dir).unwrap();
    // As kubelet does it: a new directory, and one rename of the link that leads to it.
    let swap = |version: &str, document: &Value| {
        fs::create_dir(dir.join(version)).unwrap();
        fs::write(dir.join(version).join("kinetail.yaml"), document.to_string()).unwrap();
        symlink(version, dir.join("..data_tmp")).unwrap();
        fs::rename(dir.join("..data_tmp"), dir.join("..data")).unwrap();
    };
    swap("..1", &json!({ "reload": { "watch": true }, "sources": [{ "paths": [a] }] }));
    symlink("..data/kinetail.yaml", dir.join("kinetail.yaml")).unwrap();
    let mut command = scene.setup.command();
    command.arg("--config").arg(dir.join("kinetail.yaml"));
    let agent = scene.setup.start(command).await;
    scene.receive(1).await;
    swap("..2", &json!({ "reload": { "watch": true }, "sources": [{ "paths": [a, b] }] }));
    scene.receive(2).await;
    swap("..3", &json!({ "reload": { "watch": true }, "sources": 3 }));
    until("the refusal", async || (agent.reloads("refused").await == 1).then_some(())).await;
    swap("..4", &json!({ "reload": { "watch": false }, "sources": [{ "paths": [a] }] }));
    until("the last one", async || (agent.reloads("applied").await == 2).then_some(())).await;
    agent.stop().await;
}

#[tokio::test]
async fn a_configuration_without_a_file_is_what_it_was() {
    let scene = Scene::new(1).await;
    let mut setup = scene.setup;
    setup.configure(&json!({ "sources": [{ "paths": [setup.log("*.log")] }] }));
    let agent = setup.run().await;
    assert_eq!(agent.reload().await, "unchanged");
    agent.stop().await;
}

// === many reloads ===

/// A log whose lines have numbers, which is written to at odd moments and in odd pieces, and rotated.
struct Numbered {
    name: String,
    path: PathBuf,
    file: fs::File,
    lines: usize,
    /// What of the last line is to be written yet.
    rest: Vec<u8>,
    rotations: usize,
    is_cri: bool,
}

impl Numbered {
    fn create(path: PathBuf, is_cri: bool) -> Self {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        Self { name, file: open(&path), path, lines: 0, rest: Vec::new(), rotations: 0, is_cri }
    }

    /// Appends so many lines; the last one is not always whole.
    fn append(&mut self, count: usize, rng: &mut fastrand::Rng) {
        let mut bytes = std::mem::take(&mut self.rest);
        for _ in 0..count {
            let (name, number) = (&self.name, self.lines);
            // Here and there a line goes on with the one before it.
            let indent = if number % 7 == 3 { "  at " } else { "" };
            let filling = "x".repeat(number % 90);
            let line = format!("{indent}log={name} n={number} filling={filling}");
            if self.is_cri {
                let stream = if number.is_multiple_of(3) { "stderr" } else { "stdout" };
                writeln!(bytes, "2026-01-02T03:04:05.000000000Z {stream} F {line}").unwrap();
            } else {
                writeln!(bytes, "{line}").unwrap();
            }
            self.lines += 1;
        }
        if rng.u8(..) < 100 && bytes.len() > 10 {
            self.rest = bytes.split_off(bytes.len() - rng.usize(1..10));
        }
        self.file.write_all(&bytes).unwrap();
    }

    fn finish(&mut self) {
        self.file.write_all(&std::mem::take(&mut self.rest)).unwrap();
    }

    fn rotate(&mut self) {
        self.finish();
        self.rotations += 1;
        let mut rotated = self.path.clone().into_os_string();
        rotated.push(format!(".{}", self.rotations));
        fs::rename(&self.path, rotated).unwrap();
        self.file = open(&self.path);
    }
}

/// The lines that an event holds, in their order: its log's name and their numbers.
fn numbers(event: &Event) -> Vec<(String, usize)> {
    let text = String::from_utf8_lossy(&event.data);
    // Of a JSON object of fields; otherwise of the text.
    let fields: Option<Value> = serde_json::from_slice(&event.data).ok();
    if let Some((Some(log), Some(number))) =
        fields.as_ref().map(|fields| (fields["log"].as_str(), fields["n"].as_str()))
    {
        return vec![(log.to_owned(), number.parse().unwrap())];
    }
    let lines = text.split("log=").skip(1).map(|line| {
        let (log, rest) = line.split_once(" n=").unwrap();
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        (log.to_owned(), digits.parse().unwrap())
    });
    lines.collect()
}

/// A source of these files that reads them in one of many ways.
fn source(name: &str, paths: &[PathBuf], is_cri: bool, rng: &mut fastrand::Rng) -> Value {
    let mut source =
        json!({ "name": name, "paths": paths, "rotate_wait": "1s", "format": if is_cri { "cri" } else { "plain" } });
    match rng.u8(..6) {
        0 => {}
        1 => source["parse"] = json!(["logfmt", "raw"]),
        2 => {
            source["parse"] = json!(["logfmt", "raw"]);
            source["transforms"] = json!([{ "set": { "version": rng.u8(..) } }]);
        }
        3 => source["add"] = json!({ "id": true, "path": true, "fields": { "version": rng.u8(..) } }),
        4 => source["multiline"] = json!({ "start": "^log", "timeout": "100ms" }),
        _ => source["multiline"] = json!({ "continue": "^  at", "timeout": "50ms" }),
    }
    source
}

/// Some of the sources, in some order, each in some way.
fn sources(logs: &[Numbered], all: bool, rng: &mut fastrand::Rng) -> Value {
    let mut sources: Vec<Value> = Vec::new();
    for log in logs {
        if !all && rng.u8(..) < 80 {
            continue;
        }
        // Under its own name, or under another one.
        let name = if rng.u8(..) < 200 { log.name.clone() } else { format!("{}-{}", log.name, rng.u8(..3)) };
        sources.push(source(&name, std::slice::from_ref(&log.path), log.is_cri, rng));
    }
    if sources.is_empty() {
        sources.push(json!({ "name": "none", "paths": [logs[0].path.with_extension("none")] }));
    }
    rng.shuffle(&mut sources);
    json!({ "sources": sources })
}

/// What arrived against what was written: lines that are missing, that came twice, and that came before an earlier one.
fn compare(logs: &[Numbered], events: &[Event]) -> BTreeMap<String, (Vec<usize>, usize, usize)> {
    let mut seen: BTreeMap<String, (Vec<usize>, usize, usize)> =
        logs.iter().map(|log| (log.name.clone(), (vec![0; log.lines], 0, 0))).collect();
    for (log, number) in events.iter().flat_map(numbers) {
        let (counts, newest, disordered) = seen.get_mut(&log).unwrap();
        counts[number] += 1;
        *disordered += usize::from(number < *newest);
        *newest = number.max(*newest);
    }
    seen.into_iter()
        .map(|(log, (counts, _, disordered))| {
            let missing = (0..counts.len()).filter(|&number| counts[number] == 0).collect();
            (log, (missing, counts.iter().map(|&count| count.saturating_sub(1)).sum(), disordered))
        })
        .collect()
}

#[tokio::test]
async fn many_reloads_under_load_lose_and_repeat_nothing() {
    let reloads = std::env::var(RELOADS_VARIABLE).ok().map_or(RELOADS, |text| text.parse().unwrap());
    let mut scene = Scene::new(4).await;
    let mut rng = fastrand::Rng::with_seed(7);
    let mut logs: Vec<Numbered> = (0..6).map(|n| Numbered::create(scene.log(&format!("log{n}.log")), n == 5)).collect();
    scene.faults(json!({ "latency_min_ms": 1, "latency_max_ms": 40, "throttle": 0.05, "seed": 3 })).await;
    scene.configure(&sources(&logs, true, &mut rng));
    let agent = scene.run().await;
    let mut applied = 0;
    for _ in 0..reloads {
        for _ in 0..rng.usize(1..8) {
            for log in &mut logs {
                log.append(rng.usize(..60), &mut rng);
                if rng.u8(..) < 4 {
                    log.rotate();
                }
            }
            sleep(Duration::from_millis(rng.u64(..25))).await;
        }
        scene.configure(&sources(&logs, false, &mut rng));
        let result = agent.reload().await;
        assert_ne!(result, "refused", "{}", agent.log());
        applied += usize::from(result == "applied");
    }
    logs.iter_mut().for_each(Numbered::finish);
    scene.configure(&sources(&logs, true, &mut rng));
    agent.reload().await;
    scene.faults(json!({})).await;
    let written: usize = logs.iter().map(|log| log.lines).sum();
    let began = tokio::time::Instant::now();
    // What does not come at all is named below.
    while began.elapsed() < DEADLINE {
        scene.consumer.look().await;
        if scene.consumer.events.iter().map(|event| numbers(event).len()).sum::<usize>() >= written {
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
    let metrics = agent.get("/metrics").await.1;
    let said = agent.log();
    agent.stop().await;
    scene.consumer.look().await;
    let compared = compare(&logs, &scene.consumer.events);
    let mut summary = format!("{written} lines, {reloads} reloads, {applied} applied");
    for (log, (missing, repeated, disordered)) in &compared {
        let lost = &missing.len();
        // stderr and stdout of a container are two orders.
        let is_cri = logs.iter().any(|l| l.name == *log && l.is_cri);
        write!(summary, "; {log}: lost {lost}, repeated {repeated}, disordered {disordered}").unwrap();
        assert_eq!((*lost, *repeated), (0, 0), "{summary}; missing: {missing:?}\n{said}");
        assert!(is_cri || *disordered == 0, "{summary}");
    }
    assert_eq!(total(&metrics, "dropped_events_total"), 0);
    writeln!(std::io::stderr().lock(), "{summary}").unwrap();
}

// === ways to its end ===

/// A request with what a browser says of the page that it is of, and from this machine's other address.
async fn quit(admin: SocketAddr, headers: &str) -> u16 {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(admin).await.unwrap();
    let request =
        format!("POST /-/quit HTTP/1.1\r\nHost: local\r\nConnection: close\r\nContent-Length: 0\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

/// The address of this machine that others use, if it has one.
fn other_address() -> Option<std::net::IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    // Nothing is sent: this only asks for a route.
    socket.connect("192.0.2.200:9").ok()?;
    Some(socket.local_addr().unwrap().ip()).filter(|ip| !ip.is_loopback())
}

#[tokio::test]
async fn whoever_shares_the_network_can_ask_for_the_end() {
    let mut scene = Scene::new(1).await;
    scene.setup.set("KINETAIL_ADMIN_LISTEN", "0.0.0.0:0");
    let path = scene.log("a.log");
    fs::write(&path, "a\nb\n").unwrap();
    scene.configure(&json!({ "sources": [{ "paths": [path] }] }));
    let mut agent = scene.run().await;
    agent.admin.set_ip([127, 0, 0, 1].into());
    assert_eq!(agent.get("/-/quit").await.0, 405);
    assert_eq!(http(agent.admin, "DELETE", "/-/quit", "").await.0, 405);
    assert_eq!(http(agent.admin, "POST", "/metrics", "").await.0, 405);
    assert_eq!(quit(agent.admin, "Origin: https://example.com\r\n").await, 403);
    if let Some(ip) = other_address() {
        assert_eq!(quit(SocketAddr::new(ip, agent.admin.port()), "").await, 403);
    }
    assert_eq!(agent.child.try_wait().unwrap(), None);
    assert_eq!(quit(agent.admin, "").await, 200);
    agent.ended().await;
    scene.receive(2).await;
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let scene = Scene::new(1).await;
    let path = scene.log("a.log");
    fs::write(&path, "a\n").unwrap();
    scene.configure(&json!({ "sources": [{ "paths": [path] }], "shutdown": { "timeout": "1h" } }));
    scene.faults(json!({ "hang": 1 })).await;
    let mut agent = scene.run().await;
    until("an event", async || (agent.metric("in_flight_events").await == 1).then_some(())).await;
    agent.terminate();
    agent.said("stopping:").await;
    assert_eq!(agent.child.try_wait().unwrap(), None);
    agent.signal("-INT");
    let status = until("the end", async || agent.child.try_wait().unwrap()).await;
    assert_eq!(status.code(), Some(1));
    agent.said("a second signal").await;
}

/// An agent with a line to deliver that ends when this is gone.
async fn awaiting(scene: &Scene, what: &str) -> Agent {
    let path = scene.log("a.log");
    fs::write(&path, "first\n").unwrap();
    scene.configure(&json!({ "sources": [{ "paths": [path] }] }));
    let mut command = scene.command();
    command.args(["--exit-when-gone", what]);
    scene.setup.start(command).await
}

/// That it goes on, and then, when something is gone, ends well, with all lines.
async fn ends(mut scene: Scene, mut agent: Agent, go: impl AsyncFnOnce()) {
    scene.receive(1).await;
    agent.said("what --exit-when-gone names is awaited").await;
    assert_eq!(agent.child.try_wait().unwrap(), None);
    writeln!(fs::OpenOptions::new().append(true).open(scene.log("a.log")).unwrap(), "last").unwrap();
    go().await;
    agent.said("what --exit-when-gone names is gone").await;
    agent.ended().await;
    scene.receive(2).await;
}

#[tokio::test]
async fn it_ends_after_a_process() {
    let scene = Scene::new(1).await;
    let mut service = Command::new("sleep").arg("1000").spawn().unwrap();
    let agent = awaiting(&scene, &service.id().to_string()).await;
    ends(scene, agent, async || {
        service.kill().unwrap();
        service.wait().unwrap();
    })
    .await;
}

#[tokio::test]
async fn it_ends_when_a_file_is_there() {
    let scene = Scene::new(1).await;
    let done = scene.setup.dir.path().join("done");
    let agent = awaiting(&scene, &format!("file:{}", done.display())).await;
    ends(scene, agent, async || fs::write(&done, "").unwrap()).await;
}

#[tokio::test]
async fn it_ends_after_the_other_containers_of_its_task() {
    let mut scene = Scene::new(1).await;
    let gone = scene.setup.dir.path().join("app-is-gone");
    let status = {
        let gone = gone.clone();
        move || if gone.exists() { "STOPPED" } else { "RUNNING" }
    };
    let metadata = Canned::start(move |asked| {
        let own = json!({ "DockerId": "k", "Name": "kinetail", "Type": "NORMAL", "KnownStatus": "RUNNING" });
        let app = json!({ "DockerId": "a", "Name": "app", "Type": "NORMAL", "KnownStatus": status() });
        let pause = json!({ "DockerId": "p", "Name": "~internal~ecs~pause", "Type": "CNI_PAUSE", "KnownStatus": "RESOURCES_PROVISIONED" });
        let body = match &*asked.path {
            "/v4/k" => own,
            _ => json!({ "TaskARN": "arn", "Containers": [own, app, pause] }),
        };
        Reply::Say(200, "application/json", body.to_string())
    })
    .await;
    let address = metadata.url("/v4/k");
    scene.setup.set("ECS_CONTAINER_METADATA_URI_V4", &address);
    let agent = awaiting(&scene, "container").await;
    ends(scene, agent, async || fs::write(&gone, "").unwrap()).await;
}

/// Whether processes can have a namespace of their own here.
fn can_unshare() -> bool {
    let tried =
        Command::new("unshare").args(["--pid", "--fork", "--mount-proc", "true"]).stderr(Stdio::null()).status();
    tried.is_ok_and(|status| status.success())
}

/// An executable script.
fn script(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn it_ends_after_the_other_containers_of_its_pod() {
    if !can_unshare() {
        return;
    }
    let scene = Scene::new(1).await;
    let dir = scene.setup.dir.path().to_owned();
    // A pod with a shared process namespace: the process that holds it, the service in a file system of its own, and kinetail.
    let pause = dir.join("pause");
    script(
        &pause,
        "#!/bin/sh\ngo=$1; shift\nunshare --mount sh -c \"while ! [ -e $go ]; do sleep 0.1; done\" &\n\"$@\" &\nagent=$!\ntrap 'kill -TERM $agent' TERM\nwait $agent\n",
    );
    let go = dir.join("go");
    let path = scene.log("a.log");
    fs::write(&path, "first\n").unwrap();
    scene.configure(&json!({ "sources": [{ "paths": [path] }] }));
    let inner = scene.command();
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc", "--kill-child"]).arg(&pause).arg(&go);
    command.arg(inner.get_program()).args(inner.get_args()).args(["--exit-when-gone", "container"]);
    command.env_clear().envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("PATH", std::env::var("PATH").unwrap()).stdin(Stdio::null()).stdout(Stdio::null());
    let agent = scene.setup.start(command).await;
    ends(scene, agent, async || fs::write(&go, "").unwrap()).await;
}

#[tokio::test]
async fn what_cannot_be_awaited_is_refused_at_the_start() {
    let scene = Scene::new(1).await;
    scene.configure(&json!({ "sources": [{ "paths": ["/a"] }] }));
    let refused = |what: &str| {
        let output = scene.command().args(["--exit-when-gone", what]).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(refused("app").contains("is none of: a process id"));
    assert!(refused("container:app").contains("only ECS tells the names"));
    if can_unshare() {
        let inner = scene.command();
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--mount-proc"]).arg(inner.get_program()).args(inner.get_args());
        command.args(["--exit-when-gone", "container"]);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8(output.stderr).unwrap().contains("shareProcessNamespace"));
    }
}

/// The process with the number 1 of a namespace, seen from here.
fn first_of(outer: &Child) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", outer.id())).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

#[tokio::test]
async fn as_the_first_process_it_hears_its_signals() {
    if !can_unshare() {
        return;
    }
    let mut scene = Scene::new(1).await;
    let path = scene.log("a.log");
    fs::write(&path, "a\n").unwrap();
    scene.configure(&json!({ "sources": [{ "paths": [path] }] }));
    let inner = scene.command();
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc", "--kill-child"]).arg(inner.get_program()).args(inner.get_args());
    command.env_clear().envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("PATH", std::env::var("PATH").unwrap()).stdin(Stdio::null()).stdout(Stdio::null());
    let agent = scene.setup.start(command).await;
    scene.receive(1).await;
    let first = first_of(&agent.child).unwrap().to_string();
    scene.configure(&json!({ "sources": [{ "paths": [path], "add": { "host": true } }] }));
    assert!(Command::new("kill").args(["-HUP", &first]).status().unwrap().success());
    until("the reload", async || (agent.reloads("applied").await == 1).then_some(())).await;
    assert!(Command::new("kill").args(["-TERM", &first]).status().unwrap().success());
    agent.ended().await;
}
