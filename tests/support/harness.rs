//! What the tests of the whole program share: the embedded stream on a thread of its own, the agent as a process, a consumer, and logs whose
//! every line is known. No test is here, and nothing waits for a time: conditions are awaited, with a deadline for a slow machine.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::config::{BehaviorVersion, Config, Credentials, Region};
use aws_sdk_kinesis::types::ShardIteratorType;
use kinetail::kinesis::deaggregate::{Deaggregated, deaggregate};
use kinetail::local::{LocalOptions, LocalStream};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

/// How long anything may take before a test fails; generous, for a loaded machine.
pub(crate) const DEADLINE: Duration = Duration::from_mins(2);
/// Between two looks at a condition.
const LOOK: Duration = Duration::from_millis(10);
/// The stream that everything goes to.
pub(crate) const STREAM: &str = "events";
/// What of the agent's log is shown when a test fails.
const SHOWN_LOG_LINES: usize = 40;

/// Waits for a condition.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(began.elapsed() < DEADLINE, "waited in vain for {what}");
        sleep(LOOK).await;
    }
}

// === the stream ===

/// The embedded stream; it ends with this.
#[derive(Debug)]
pub(crate) struct Stand {
    pub(crate) address: SocketAddr,
    pub(crate) client: Client,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Stand {
    /// A stand-in with the stream, which takes as much as it is given.
    pub(crate) async fn start(shards: u32) -> Self {
        Self::with(vec![(STREAM.to_owned(), shards)]).await
    }

    /// A stand-in with these streams.
    pub(crate) async fn with(streams: Vec<(String, u32)>) -> Self {
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let options = LocalOptions { listen, streams, limits: false, ..LocalOptions::default() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, bound) = oneshot::channel();
        let serve = async move {
            let local = LocalStream::bind(options).await.unwrap();
            ready.send(local.addr()).unwrap();
            local.run(async { drop(stopped.await) }).await.unwrap();
        };
        let thread = std::thread::spawn(move || runtime.block_on(serve));
        let address = bound.await.unwrap();
        Self { address, client: client(&url(address)), stop: Some(stop), thread: Some(thread) }
    }

    pub(crate) fn endpoint(&self) -> String {
        url(self.address)
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().map(std::thread::JoinHandle::join);
        assert!(std::thread::panicking() || ended.is_none_or(|ended| ended.is_ok()), "the stand-in has panicked");
    }
}

fn url(address: SocketAddr) -> String {
    format!("http://{address}")
}

fn client(endpoint: &str) -> Client {
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint)
        .credentials_provider(Credentials::new("key", "secret", None, None, "test"))
        .retry_config(RetryConfig::disabled())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    Client::from_conf(config)
}

/// A request by hand: the status and the body of the answer.
pub(crate) async fn http(address: SocketAddr, method: &str, path: &str, body: &str) -> (u16, String) {
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: local\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let answer = timeout(DEADLINE, exchange).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

// === the agent ===

/// Directories and settings for agents that run one after the other.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) dir: TempDir,
    environment: BTreeMap<&'static str, String>,
}

impl Setup {
    /// Settings by environment alone, as a sidecar has them.
    pub(crate) fn new(endpoint: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("logs")).unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let environment = BTreeMap::from([
            ("KINETAIL_STREAM", STREAM.to_owned()),
            ("KINETAIL_PATHS", path("logs/*.log")),
            ("KINETAIL_STATE_DIR", path("state")),
            ("KINETAIL_ENDPOINT", endpoint.to_owned()),
            ("KINETAIL_REGION", "us-east-1".to_owned()),
            ("KINETAIL_ADMIN_LISTEN", "127.0.0.1:0".to_owned()),
            ("KINETAIL_LOG", "info,json".to_owned()),
            ("AWS_ACCESS_KEY_ID", "key".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "secret".to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ]);
        Self { dir, environment }
    }

    /// Sets a variable; with nothing it is empty, which counts as not set.
    pub(crate) fn set(&mut self, name: &'static str, value: &str) {
        self.environment.insert(name, value.to_owned());
    }

    /// What of the configuration has no variable of its own.
    pub(crate) fn configure(&mut self, document: &Value) {
        self.set("KINETAIL_CONFIG", &document.to_string());
    }

    /// A path in the directory that the globs name.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.dir.path().join("logs").join(name)
    }

    /// The agent, not started.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kinetail"));
        command.arg("run").env_clear().envs(&self.environment).stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    /// Starts an agent and waits until its admin server listens.
    pub(crate) async fn run(&self) -> Agent {
        self.start(self.command()).await
    }

    /// The same with this command.
    pub(crate) async fn start(&self, mut command: Command) -> Agent {
        let (stderr, path) = tempfile::NamedTempFile::new_in(&self.dir).unwrap().keep().unwrap();
        let child = command.stderr(stderr).spawn().unwrap();
        let mut agent = Agent { child, admin: SocketAddr::from(([0, 0, 0, 0], 0)), stderr: path };
        agent.admin = until("the admin server", async || {
            assert!(agent.child.try_wait().unwrap().is_none(), "the agent has ended: {}", agent.log());
            let line = agent.message("the admin server listens")?;
            line["address"].as_str().unwrap().parse().ok()
        })
        .await;
        agent
    }
}

/// An agent that runs; it is killed with this.
#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) child: Child,
    pub(crate) admin: SocketAddr,
    stderr: PathBuf,
}

impl Agent {
    /// What it has said so far.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.stderr).unwrap()).into_owned()
    }

    /// The first message of its log that contains this, with its fields.
    pub(crate) fn message(&self, words: &str) -> Option<Value> {
        let log = self.log();
        // The last line may be half written.
        let mut lines = log.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let line = lines.find(|line| line.contains(words))?;
        Some(serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
    }

    /// The same, waited for.
    pub(crate) async fn said(&self, words: &str) -> Value {
        until(words, async || self.message(words)).await
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        http(self.admin, "GET", path, "").await
    }

    /// The sum of all series of this name, or of one series if its labels are given.
    pub(crate) async fn metric(&self, name: &str) -> u64 {
        total(&self.get("/metrics").await.1, name)
    }

    /// Sends a signal, such as `-STOP`.
    pub(crate) fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Asks it to stop.
    pub(crate) fn terminate(&self) {
        self.signal("-TERM");
    }

    /// Waits for its end, which has to be an orderly one.
    pub(crate) async fn ended(mut self) {
        let status = until("the agent's end", async || self.child.try_wait().unwrap()).await;
        assert_eq!(status.code(), Some(0), "{}", self.log());
    }

    /// An orderly stop.
    pub(crate) async fn stop(self) {
        self.terminate();
        self.ended().await;
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended already, and then there is nothing to kill.
        self.child.kill().unwrap_or_default();
        self.child.wait().unwrap();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let shown = lines[lines.len().saturating_sub(SHOWN_LOG_LINES)..].join("\n");
            writeln!(std::io::stderr().lock(), "the end of the agent's log:\n{shown}").unwrap();
        }
    }
}

/// The sum of the series of a metric in the text format, to which labels may be given in full.
pub(crate) fn total(metrics: &str, name: &str) -> u64 {
    let name = format!("kinetail_{name}");
    let of_series = |line: &str| {
        let rest = line.strip_prefix(&name)?;
        rest.starts_with(['{', ' ']).then(|| rest.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
    };
    metrics.lines().filter_map(of_series).sum()
}

// === the consumer ===

/// An event as a consumer with KCL gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) shard: usize,
    /// The number of its Kinesis record.
    pub(crate) record: usize,
    pub(crate) data: Vec<u8>,
}

/// Reads all shards from their beginning.
#[derive(Debug)]
pub(crate) struct Consumer {
    client: Client,
    /// The range of each, and where to go on in it; nowhere once a closed one is read to its end.
    shards: Vec<(RangeInclusive<u128>, Option<String>)>,
    /// All events so far, those of a shard in its order.
    pub(crate) events: Vec<Event>,
    /// Kinesis records so far.
    pub(crate) records: usize,
}

impl Consumer {
    pub(crate) async fn new(stand: &Stand) -> Self {
        Self::of(stand, STREAM).await
    }

    /// Of a stream that has another name.
    pub(crate) async fn of(stand: &Stand, stream: &str) -> Self {
        let client = stand.client.clone();
        let mut shards = Vec::new();
        for shard in client.list_shards().stream_name(stream).send().await.unwrap().shards() {
            let range = shard.hash_key_range().unwrap();
            let range = range.starting_hash_key().parse().unwrap()..=range.ending_hash_key().parse().unwrap();
            let request = client.get_shard_iterator().stream_name(stream).shard_id(shard.shard_id());
            let request = request.shard_iterator_type(ShardIteratorType::TrimHorizon);
            shards.push((range, request.send().await.unwrap().shard_iterator));
        }
        Self { client, shards, events: Vec::new(), records: 0 }
    }

    /// Reads what is there.
    pub(crate) async fn look(&mut self) {
        for (shard, (range, iterator)) in self.shards.iter_mut().enumerate() {
            while let Some(at) = iterator.take() {
                let answer = self.client.get_records().shard_iterator(at).send().await.unwrap();
                *iterator = answer.next_shard_iterator;
                for record in &answer.records {
                    let data = record.data.as_ref();
                    self.records += 1;
                    let record = self.records;
                    let mut add = |data: &[u8]| self.events.push(Event { shard, record, data: data.to_vec() });
                    match deaggregate(data, range.clone()) {
                        Deaggregated::Records(records) => records.iter().for_each(|r| add(without_newline(r.data))),
                        Deaggregated::Raw(data) => without_newline(data).split(|&byte| byte == b'\n').for_each(add),
                        Deaggregated::Lost { why, .. } => panic!("a consumer would lose an aggregate: {why:?}"),
                    }
                }
                if answer.records.is_empty() && answer.millis_behind_latest == Some(0) {
                    break;
                }
            }
        }
    }

    /// Reads until every line of these logs is there.
    pub(crate) async fn receive(&mut self, logs: &[&Log]) {
        until("all lines", async || {
            self.look().await;
            logs.iter().all(|log| log.tally(&self.events).lost == 0).then_some(())
        })
        .await;
    }
}

fn without_newline(data: &[u8]) -> &[u8] {
    data.strip_suffix(b"\n").expect("every event ends with a newline")
}

// === logs ===

/// A log whose every line is known.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) path: PathBuf,
    pub(crate) file: File,
    name: String,
    lines: BTreeMap<Vec<u8>, usize>,
}

/// How what arrived compares with what was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Lines that did not arrive.
    pub(crate) lost: usize,
    /// Events that came before.
    pub(crate) duplicates: usize,
    /// Events that came for the first time after one that was written later.
    pub(crate) out_of_order: usize,
}

impl Log {
    pub(crate) fn create(path: &Path) -> Self {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        Self { path: path.to_owned(), file: open(path), name, lines: BTreeMap::new() }
    }

    /// How many lines were written.
    pub(crate) fn len(&self) -> usize {
        self.lines.len()
    }

    /// Appends so many lines with one write.
    pub(crate) fn append(&mut self, count: usize) {
        let mut bytes = Vec::new();
        for _ in 0..count {
            bytes.extend(self.line());
            bytes.push(b'\n');
        }
        self.raw(&bytes);
    }

    /// The next line, which is expected from now on.
    pub(crate) fn line(&mut self) -> Vec<u8> {
        let number = self.lines.len();
        let filling = "all work and no play ".repeat(1 + number % 9);
        let line = format!("{} {number:07} {filling}", self.name).into_bytes();
        self.lines.insert(line.clone(), number);
        line
    }

    /// Appends bytes, which nobody expects.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.file.write_all(bytes).unwrap();
    }

    /// Whether this is one of its lines.
    pub(crate) fn has(&self, line: &[u8]) -> bool {
        self.lines.contains_key(line)
    }

    /// Compares. Events of other logs do not count.
    pub(crate) fn tally(&self, events: &[Event]) -> Tally {
        let mut seen = vec![false; self.lines.len()];
        let (mut tally, mut newest) = (Tally::default(), 0);
        for number in events.iter().filter_map(|event| self.lines.get(&event.data)).copied() {
            if std::mem::replace(&mut seen[number], true) {
                tally.duplicates += 1;
            } else if number < newest {
                tally.out_of_order += 1;
            }
            newest = newest.max(number);
        }
        tally.lost = seen.iter().filter(|&&seen| !seen).count();
        tally
    }
}

/// A new file, to append to.
pub(crate) fn open(path: &Path) -> File {
    OpenOptions::new().create_new(true).append(true).open(path).unwrap()
}

/// That nothing arrived but the lines of these logs, each once, and in order if that was promised.
pub(crate) fn assert_exact(logs: &[&Log], consumer: &Consumer, ordered: bool) {
    for log in logs {
        let tally = log.tally(&consumer.events);
        let out_of_order = if ordered { 0 } else { tally.out_of_order };
        assert_eq!(tally, Tally { out_of_order, ..Tally::default() }, "{}", log.path.display());
    }
    let written: usize = logs.iter().map(|log| log.len()).sum();
    assert_eq!(consumer.events.len(), written, "events that nobody wrote");
}
