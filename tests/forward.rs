//! The Forward server over real sockets: what clients really sent (`tests/forward_samples`), and what none should. The spool is a stand-in that keeps
//! lines when the test says so.

#![expect(clippy::unwrap_used, reason = "a panic is how a test's helpers fail")]

use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kinetail::source::forward::{
    Counters, Dispatch, Error, ForwardConfig, Layout, Outlet, Server, SharedKey, TlsPaths,
};
use kinetail::spool::{Feed, Handed};
use proptest::prelude::*;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha512};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Far longer than anything takes on a machine that is busy with other things.
const DEADLINE: Duration = Duration::from_mins(1);

/// A server and the other end of its feed.
struct Rig {
    address: SocketAddr,
    spool: mpsc::Receiver<Handed>,
    counters: Counters,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Rig {
    async fn start(config: ForwardConfig) -> Self {
        let server = Server::bind(config).await.unwrap();
        let address = server.addresses().first().copied().unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
        let ((feed, spool), counters) = (Feed::new(), Counters::new());
        let outlet = Outlet { source: "forward".into(), feed, layout: Layout::default() };
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(server.run(Dispatch::to(outlet), counters.clone(), stopped));
        Self { address, spool, counters, stop, tasks }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// The next lines that are handed over. They are kept when `kept` is used.
    async fn handed(&mut self) -> Handed {
        within(self.spool.recv()).await.expect("the server runs")
    }

    /// Keeps lines until there are so many, and gives them as JSON.
    async fn keep(&mut self, count: usize) -> Vec<Value> {
        let mut lines = Vec::new();
        while lines.len() < count {
            let handed = self.handed().await;
            let parsed = parse(&handed.lines.bytes);
            assert_eq!(parsed.len() as u64, handed.lines.events);
            lines.extend(parsed);
            handed.kept.send(()).unwrap();
        }
        assert_eq!(lines.len(), count, "{lines:#?}");
        lines
    }

    /// Stops the server, and keeps what it still hands over.
    async fn stop(mut self) -> Vec<Value> {
        self.stop.send_replace(true);
        let mut lines = Vec::new();
        while let Some(handed) = within(self.spool.recv()).await {
            lines.extend(parse(&handed.lines.bytes));
            handed.kept.send(()).unwrap();
        }
        within(self.tasks.join_next()).await.unwrap().unwrap();
        assert_eq!(self.counters.connections.get(), 0);
        lines
    }

    fn rejected(&self, reason: &str) -> u64 {
        self.counters.rejected.with_label_values(&[reason]).get()
    }

    fn partials(&self, outcome: &str) -> u64 {
        self.counters.partials.with_label_values(&[outcome]).get()
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.expect("it happens in time")
}

/// Waits for something that nothing tells of.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

fn parse(lines: &[u8]) -> Vec<Value> {
    assert_eq!(lines.last(), Some(&b'\n'));
    let lines = lines.strip_suffix(b"\n").unwrap().split(|byte| *byte == b'\n');
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

fn local() -> ForwardConfig {
    ForwardConfig { listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))], ..ForwardConfig::default() }
}

fn sample(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/forward_samples").join(name)).unwrap()
}

/// A short text of msgpack.
fn text(text: &str) -> Vec<u8> {
    let mut out = vec![0xdb];
    out.extend_from_slice(&u32::try_from(text.len()).unwrap().to_be_bytes());
    out.extend_from_slice(text.as_bytes());
    out
}

/// A message of one event, whose fields are texts.
fn message(fields: &[(&str, &str)], chunk: Option<&str>) -> Vec<u8> {
    let mut out = vec![0x94];
    out.extend(text("app"));
    out.extend_from_slice(&[0xce, 0x65, 0x53, 0xf1, 0x00, 0x80 | u8::try_from(fields.len()).unwrap()]);
    for (name, value) in fields {
        out.extend(text(name));
        out.extend(text(value));
    }
    out.push(0x80 | u8::from(chunk.is_some()));
    if let Some(chunk) = chunk {
        out.extend(text("chunk"));
        out.extend(text(chunk));
    }
    out
}

fn ack(chunk: &str) -> Vec<u8> {
    [&b"\x81\xa3ack"[..], &text(chunk)].concat()
}

fn part(id: &str, ordinal: u32, last: bool, log: &str, chunk: Option<&str>) -> Vec<u8> {
    let (ordinal, last) = (ordinal.to_string(), last.to_string());
    let fields = [
        ("partial_id", id),
        ("log", log),
        ("source", "stdout"),
        ("partial_message", "true"),
        ("partial_last", &last),
        ("partial_ordinal", &ordinal),
    ];
    message(&fields, chunk)
}

/// What comes until the server closes the connection.
async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut rest = Vec::new();
    // A reset says the same as an end.
    within(stream.read_to_end(&mut rest)).await.ok();
    rest
}

async fn expect(stream: &mut (impl AsyncRead + Unpin), want: &[u8]) {
    let mut got = vec![0; want.len()];
    within(stream.read_exact(&mut got)).await.unwrap();
    assert_eq!(got, want);
}

async fn send(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) {
    within(stream.write_all(bytes)).await.unwrap();
}

/// Sends the same bytes over a connection in one piece, and over another in many; the lines are the same.
async fn lines_of(name: &str, count: usize) -> Vec<Value> {
    let (mut rig, bytes) = (Rig::start(local()).await, sample(name));
    let mut client = rig.connect().await;
    send(&mut client, &bytes).await;
    let lines = rig.keep(count).await;
    let mut client = rig.connect().await;
    client.set_nodelay(true).unwrap();
    let (pieces, mut again) = (bytes.chunks(bytes.len().div_ceil(300)), Vec::new());
    for piece in pieces {
        send(&mut client, piece).await;
        tokio::task::yield_now().await;
        while let Ok(handed) = rig.spool.try_recv() {
            again.extend(parse(&handed.lines.bytes));
            handed.kept.send(()).unwrap();
        }
    }
    if again.len() < count {
        again.extend(rig.keep(count - again.len()).await);
    }
    assert_eq!(again, lines);
    drop(client);
    assert_eq!(rig.counters.rejected.with_label_values(&["malformed"]).get(), 0);
    assert_eq!(rig.counters.bytes.get(), 2 * bytes.len() as u64);
    assert_eq!(rig.stop().await, Vec::<Value>::new());
    lines
}

#[tokio::test]
async fn what_python_sends() {
    let lines = lines_of("py.1.bin", 2).await;
    assert_eq!(lines[0]["tag"], "app.follow");
    assert!(lines[0]["time"].as_str().unwrap().ends_with(".000000000Z"), "{}", lines[0]["time"]);
    assert_eq!((&lines[1]["tag"], &lines[1]["time"]), (&json!("app"), &json!("2023-11-14T22:13:20.000000000Z")));
    let lines = lines_of("py.2.bin", 2).await;
    assert!(!lines[0]["time"].as_str().unwrap().ends_with(".000000000Z"), "nanoseconds: {}", lines[0]["time"]);
    assert!(lines[1].as_object().unwrap().values().any(|value| value.as_str().is_some_and(|text| text.len() == 300)));
    assert_eq!(lines_of("py.3.bin", 5).await.len(), 5);
}

#[tokio::test]
async fn what_node_sends_in_every_mode() {
    let modes = ["Message", "Message", "Forward", "Forward", "PackedForward", "PackedForward"];
    let compressed = ["CompressedPackedForward"; 2];
    for (number, mode) in (1..).zip(modes.into_iter().chain(compressed)) {
        let lines = lines_of(&format!("node.{number}.bin"), 3).await;
        for (index, line) in lines.iter().enumerate() {
            let names: Vec<&String> = line.as_object().unwrap().keys().collect();
            assert_eq!(names.len(), 4);
            assert_eq!((&line["tag"], &line["i"]), (&json!(format!("node.{mode}.lbl")), &json!(index)));
            let start = format!("{mode} ack={} line {index}", number % 2 == 0);
            assert_eq!(line["log"], *start);
        }
    }
}

#[tokio::test]
async fn what_docker_sends_is_joined() {
    let lines = lines_of("docker.1.bin", 4).await;
    let logs: Vec<&str> = lines.iter().map(|line| line["log"].as_str().unwrap()).collect();
    assert_eq!((logs[0], logs[1], logs[2].len(), logs[3]), ("one", "two", 40_000, "last"));
    for line in &lines {
        assert_eq!(line["tag"], "app.ff");
        assert!(line.as_object().unwrap().keys().all(|name| !name.starts_with("partial_")), "{line}");
        assert_eq!(line["container_id"].as_str().unwrap().len(), 64);
    }
    assert_eq!((&lines[0]["source"], &lines[1]["source"]), (&json!("stdout"), &json!("stderr")));
    let lines = lines_of("docker.2.bin", 3).await;
    let logs: Vec<&Value> = lines.iter().map(|line| &line["log"]).collect();
    assert_eq!(logs, [r#"{"i":1}"#, r#"{"i":2}"#, r#"{"i":3}"#]);
}

#[tokio::test]
async fn an_acknowledgement_comes_after_the_line_is_kept_and_not_before() {
    let mut rig = Rig::start(local()).await;
    let mut client = rig.connect().await;
    let messages =
        [message(&[("n", "1")], Some("first")), message(&[("n", "2")], None), message(&[("n", "3")], Some("third"))];
    send(&mut client, &messages.concat()).await;
    let mut held = Vec::new();
    let mut events = 0;
    while events < 3 {
        let handed = rig.handed().await;
        events += handed.lines.events;
        if events < 3 {
            handed.kept.send(()).unwrap();
        } else {
            held.push(handed);
        }
    }
    let last = held.pop().unwrap();
    // What was handed over is not kept yet: however long one waits, there is no word of it.
    let mut acks = vec![0; 512];
    let mut there = 0;
    while let Ok(read) = timeout(Duration::from_millis(100), client.read(&mut acks[there..])).await {
        there += read.unwrap();
    }
    assert!(!String::from_utf8_lossy(&acks[..there]).contains("third"));
    last.kept.send(()).unwrap();
    let want = [ack("first"), ack("third")].concat();
    let mut got = acks[..there].to_vec();
    while got.len() < want.len() {
        got.push(within(client.read_u8()).await.unwrap());
    }
    assert_eq!(got, want);
    until("acks are counted", || rig.counters.acks.get() == 2).await;

    // A spool that ends without a word has kept nothing.
    send(&mut client, &message(&[("n", "4")], Some("fourth"))).await;
    drop(rig.handed().await);
    assert_eq!(rest(&mut client).await, b"");
    within(rig.tasks.join_next()).await.unwrap().unwrap();
}

#[tokio::test]
async fn parts_that_are_to_be_acknowledged_are_lines_of_their_own() {
    let mut rig = Rig::start(local()).await;
    let mut client = rig.connect().await;
    // The client waits for each, as docker does.
    for (ordinal, last) in [(1, false), (2, true)] {
        send(&mut client, &part("id", ordinal, last, "text", Some("c"))).await;
        let lines = rig.keep(1).await;
        assert_eq!(lines[0]["partial_ordinal"], ordinal.to_string());
        expect(&mut client, &ack("c")).await;
    }
    assert_eq!(rig.stop().await, Vec::<Value>::new());
}

#[tokio::test]
async fn parts_are_joined_in_any_order_and_given_up_at_the_end() {
    let mut rig = Rig::start(local()).await;
    let mut client = rig.connect().await;
    let messages = [
        part("a", 2, false, "\u{20ac}", None),
        part("b", 1, false, "x", None),
        part("a", 3, true, "3\n", None),
        message(&[("log", "between"), ("partial_message", "true")], None),
        part("a", 1, false, "1", None),
        part("b", 3, true, "z", None),
    ];
    send(&mut client, &messages.concat()).await;
    let lines = rig.keep(2).await;
    assert_eq!(lines[0]["log"], "between");
    assert_eq!(lines[0]["partial_message"], "true", "a part without a number stays what it is");
    assert_eq!((&lines[1]["log"], &lines[1]["source"]), (&json!("1\u{20ac}3\n"), &json!("stdout")));
    drop(client);
    let lines = rig.keep(2).await;
    assert_eq!((&lines[0]["log"], &lines[1]["log"]), (&json!("x"), &json!("z")));
    assert_eq!(lines[0]["partial_id"], "b");
    until("both are counted", || rig.partials("ended") == 2 && rig.partials("joined") == 3).await;
}

#[tokio::test]
async fn a_part_that_waits_for_too_long_is_given_up() {
    let mut rig = Rig::start(local()).await;
    let mut client = rig.connect().await;
    send(&mut client, &part("a", 1, false, "1", None)).await;
    let lines = rig.keep(1).await;
    assert_eq!((&lines[0]["log"], &lines[0]["partial_last"]), (&json!("1"), &json!("false")));
    assert_eq!(rig.partials("age"), 1);
    drop(client);
}

#[tokio::test]
async fn what_breaks_the_protocol_is_closed_and_what_was_before_it_kept() {
    let good = message(&[("log", "good")], Some("good"));
    let mut deep = message(&[], None);
    deep.truncate(deep.len() - 2);
    deep.extend(b"\x81\xa1k".repeat(70));
    deep.extend_from_slice(b"\x80\x80");
    let cases: [(&[u8], &str); 7] = [
        (b"\xc1", "malformed"),
        (b"{\"log\":1}\n", "malformed"),
        (b"\x93\xa1t\x01\xdb\xff\xff\xff\xff", "too_large"),
        (b"\x93\xa1t\xdd\xff\xff\xff\xff", "too_large"),
        (b"\xdd\x00\xff\xff\xff", "too_large"),
        (b"\x93\xa1t\xa1x\x81\xaacompressed\xa3lz4", "unsupported"),
        (&deep, "too_deep"),
    ];
    for (bad, reason) in cases {
        let mut rig = Rig::start(local()).await;
        let mut client = rig.connect().await;
        send(&mut client, &[&good, bad].concat()).await;
        assert_eq!(rig.keep(1).await[0]["log"], "good");
        assert_eq!(rest(&mut client).await, ack("good"), "{bad:x?}");
        until("it is counted", || rig.rejected(reason) == 1).await;
        // Others go on.
        let mut client = rig.connect().await;
        send(&mut client, &good).await;
        assert_eq!(rig.keep(1).await.len(), 1);
    }
}

#[tokio::test]
async fn an_entry_that_cannot_be_read_has_its_message_refused() {
    let mut rig = Rig::start(local()).await;
    let mut client = rig.connect().await;
    send(&mut client, &[&message(&[("n", "1")], None)[..], b"\x92\xa1t\x92\x92\x01\x80\x92\x01\x05"].concat()).await;
    assert_eq!(rig.keep(1).await[0]["n"], "1");
    assert_eq!(rest(&mut client).await, b"");
    assert_eq!(rig.stop().await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_message_that_is_never_complete_is_closed() {
    let rig = Rig::start(ForwardConfig { message_timeout: Duration::from_millis(200), ..local() }).await;
    let mut client = rig.connect().await;
    send(&mut client, b"\x93\xa1t").await;
    assert_eq!(rest(&mut client).await, b"");
    assert_eq!(rig.rejected("timeout"), 1);
    // One that breaks off is counted, too.
    let mut client = rig.connect().await;
    send(&mut client, b"\x93\xa1t").await;
    client.shutdown().await.unwrap();
    assert_eq!(rest(&mut client).await, b"");
    assert_eq!(rig.rejected("cut"), 1);
}

#[tokio::test]
async fn a_connection_may_be_quiet_unless_told_otherwise() {
    let short = Duration::from_millis(200);
    let mut rig = Rig::start(ForwardConfig { message_timeout: short, ..local() }).await;
    let mut client = rig.connect().await;
    sleep(3 * short).await;
    // Having been quiet is not held against the message that begins now.
    let bytes = message(&[("n", "1")], None);
    send(&mut client, &bytes[..5]).await;
    sleep(Duration::from_millis(20)).await;
    send(&mut client, &bytes[5..]).await;
    assert_eq!(rig.keep(1).await.len(), 1);
    let rig = Rig::start(ForwardConfig { idle_timeout: Some(short), ..local() }).await;
    let mut client = rig.connect().await;
    assert_eq!(rest(&mut client).await, b"");
    assert_eq!(rig.rejected("idle"), 1);
}

#[tokio::test]
async fn more_connections_than_there_may_be_are_closed_at_once() {
    let mut rig = Rig::start(ForwardConfig { max_connections: 2, ..local() }).await;
    let mut first = rig.connect().await;
    let second = rig.connect().await;
    until("both are served", || rig.counters.connections.get() == 2).await;
    let mut third = rig.connect().await;
    assert_eq!(rest(&mut third).await, b"");
    assert_eq!(rig.rejected("connections"), 1);
    drop(second);
    until("one is gone", || rig.counters.connections.get() == 1).await;
    send(&mut first, &message(&[("n", "1")], None)).await;
    assert_eq!(rig.keep(1).await.len(), 1);
    let mut fourth = rig.connect().await;
    send(&mut fourth, &message(&[("n", "2")], None)).await;
    assert_eq!(rig.keep(1).await.len(), 1);
}

#[tokio::test]
async fn heartbeats_are_no_messages() {
    let mut rig = Rig::start(local()).await;
    let mut client = rig.connect().await;
    let one = message(&[("n", "1")], None);
    send(&mut client, &[&[0xc0, 0x00][..], &one, &[0x00], &one, &[0xc0]].concat()).await;
    rig.keep(2).await;
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut byte = [1];
    // A datagram may be lost, and the server may not listen yet.
    let answered = async {
        loop {
            udp.send_to(&[0], rig.address).await.unwrap();
            if let Ok(Ok((length, _))) = timeout(Duration::from_millis(50), udp.recv_from(&mut byte)).await {
                return length;
            }
        }
    };
    assert_eq!(within(answered).await, 1);
    assert_eq!(byte, [0]);
    assert_eq!(rig.stop().await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_large_message_is_kept_in_pieces_and_acknowledged_once() {
    let mut rig = Rig::start(local()).await;
    let mut client = rig.connect().await;
    let count: u32 = 50_000;
    let mut packed = Vec::new();
    for n in 0..count {
        packed.extend_from_slice(b"\x92\xce\x65\x53\xf1\x00\x81\xa1n\xce");
        packed.extend_from_slice(&n.to_be_bytes());
    }
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&packed).unwrap();
    for (body, option) in [
        (packed, [b"\x81".to_vec(), text("chunk"), text("c")].concat()),
        (
            gzip.finish().unwrap(),
            [b"\x82".to_vec(), text("chunk"), text("c"), text("compressed"), text("gzip")].concat(),
        ),
    ] {
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        let bytes = [&b"\x93\xa1t\xc6"[..], &length, &body, &option].concat();
        let (mut reading, mut writing) = client.split();
        let all = usize::try_from(count).unwrap();
        let (lines, ()) = tokio::join!(rig.keep(all), send(&mut writing, &bytes));
        assert!(lines.iter().zip(0..count).all(|(line, n)| line["n"] == n));
        expect(&mut reading, &ack("c")).await;
    }
}

#[tokio::test]
async fn larger_messages_than_allowed_are_refused_before_they_come() {
    let mut rig = Rig::start(ForwardConfig { max_message_bytes: 100_000, ..local() }).await;
    let mut client = rig.connect().await;
    send(&mut client, &message(&[("log", &"x".repeat(99_000))], None)).await;
    assert_eq!(rig.keep(1).await[0]["log"].as_str().unwrap().len(), 99_000);
    let large = message(&[("log", &"x".repeat(100_000))], None);
    send(&mut client, &large[..40]).await;
    assert_eq!(rest(&mut client).await, b"");
    assert_eq!(rig.rejected("too_large"), 1);
}

/// Resident memory of this process, in bytes.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    1024 * line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
}

#[tokio::test]
async fn many_that_promise_much_cost_little() {
    let rig = Rig::start(local()).await;
    let before = memory();
    let mut clients = Vec::new();
    for _ in 0..300 {
        let mut client = rig.connect().await;
        // 16 MB, the most that there may be, and nothing of it comes.
        send(&mut client, b"\x93\xa1t\x01\xdb\x00\xf0\x00\x00").await;
        clients.push(client);
    }
    until("all are served", || rig.counters.connections.get() == 300).await;
    sleep(Duration::from_millis(50)).await;
    let grown = memory().saturating_sub(before);
    // Other tests of this process take some, too; the promises alone are 4.7 GB.
    assert!(grown < 500 << 20, "{grown} bytes");
}

#[tokio::test]
async fn a_stop_keeps_what_was_sent_by_then() {
    let mut rig = Rig::start(local()).await;
    let mut client = rig.connect().await;
    send(&mut client, &message(&[("n", "0")], None)).await;
    rig.keep(1).await;
    // One that goes on talking does not hold it up, and what is cut off is the client's.
    for n in 1..100 {
        send(&mut client, &message(&[("n", &n.to_string())], None)).await;
    }
    send(&mut client, &part("a", 1, false, "part", None)).await;
    send(&mut client, b"\x93\xa1t").await;
    let address = rig.address;
    let lines = rig.stop().await;
    assert_eq!(lines.len(), 100, "{:?}", lines.last());
    assert_eq!((&lines[98]["n"], &lines[99]["log"]), (&json!("99"), &json!("part")));
    assert_eq!(rest(&mut client).await, b"");
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_client_that_never_pauses_does_not_hold_up_a_stop() {
    let mut rig = Rig::start(local()).await;
    let mut client = rig.connect().await;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { while client.write_all(&message(&[("n", "1")], None).repeat(50)).await.is_ok() {} });
    rig.handed().await.kept.send(()).unwrap();
    assert!(!rig.stop().await.is_empty());
    within(tasks.join_next()).await.unwrap().unwrap();
}

#[tokio::test]
async fn the_unix_socket_is_made_and_taken_over_and_removed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fluent.sock");
    // The socket of an agent that was killed.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    // No key is asked for here.
    let config = ForwardConfig {
        unix: Some(path.clone()),
        shared_key: Some(SharedKey::new("s3cret")),
        ..ForwardConfig::default()
    };
    let mut rig = Rig::start(config.clone()).await;
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o666);
    let mut client = UnixStream::connect(&path).await.unwrap();
    send(&mut client, &sample("docker.2.bin")).await;
    assert_eq!(rig.keep(3).await[2]["log"], r#"{"i":3}"#);
    let mut answer = vec![0; 5];
    within(client.read_exact(&mut answer)).await.unwrap();
    assert_eq!(answer, b"\x81\xa3ack");

    // One that is in use is left alone, and so is a file that is none.
    assert!(matches!(Server::bind(config.clone()).await, Err(Error::InUse(_))));
    send(&mut client, &message(&[("n", "1")], None)).await;
    rig.keep(1).await;
    let file = directory.path().join("file");
    std::fs::write(&file, "precious").unwrap();
    let failed = Server::bind(ForwardConfig { unix: Some(file.clone()), ..config }).await;
    assert!(matches!(failed, Err(Error::NoSocket(_))));
    assert_eq!(std::fs::read(&file).unwrap(), b"precious");
    rig.stop().await;
    assert!(!path.exists());
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

/// A client's half of the handshake, with this key. True if the server believes it.
async fn shake_hands(client: &mut (impl AsyncRead + AsyncWrite + Unpin), key: &str) -> bool {
    let mut helo = [0; 48];
    within(client.read_exact(&mut helo)).await.unwrap();
    assert_eq!(&helo[..14], b"\x92\xa4HELO\x83\xa5nonce\xc4"[..].get(..14).unwrap());
    let nonce = &helo[15..31];
    let digest = |name: &str| {
        let hash = Sha512::new().chain_update("salt").chain_update(name).chain_update(nonce).chain_update(key);
        hex(&hash.finalize())
    };
    let ping = [b"\x96".to_vec(), text("PING"), text("cli"), text("salt"), text(&digest("cli")), text(""), text("")];
    // In pieces, as a network may have it.
    let ping = ping.concat();
    send(client, &ping[..20]).await;
    tokio::task::yield_now().await;
    send(client, &ping[20..]).await;
    let mut head = [0; 7];
    within(client.read_exact(&mut head)).await.unwrap();
    assert_eq!(&head[..6], b"\x95\xa4PONG");
    if head[6] == 0xc2 {
        return false;
    }
    let want = [b"\xa0\xa3srv\xd9\x80", digest("srv").as_bytes()].concat();
    expect(client, &want).await;
    true
}

#[tokio::test]
async fn a_shared_key_opens_and_no_other() {
    let config =
        ForwardConfig { shared_key: Some(SharedKey::new("s3cret")), self_hostname: "srv".to_owned(), ..local() };
    let mut rig = Rig::start(config.clone()).await;
    let mut client = rig.connect().await;
    assert!(shake_hands(&mut client, "s3cret").await);
    send(&mut client, &message(&[("n", "1")], Some("c"))).await;
    rig.keep(1).await;
    expect(&mut client, &ack("c")).await;

    let mut client = rig.connect().await;
    assert!(!shake_hands(&mut client, "guess").await);
    rest(&mut client).await;
    assert_eq!(rig.rejected("handshake"), 1);
    // Nor does one come in who says nothing of a key.
    let mut client = rig.connect().await;
    send(&mut client, &message(&[("n", "2")], None)).await;
    rest(&mut client).await;
    assert_eq!(rig.rejected("handshake"), 2);
    assert_eq!(rig.stop().await, Vec::<Value>::new());

    let rig = Rig::start(ForwardConfig { message_timeout: Duration::from_millis(100), ..config }).await;
    let mut client = rig.connect().await;
    assert_eq!(rest(&mut client).await.len(), 48, "HELO and no more");
    assert_eq!(rig.rejected("timeout"), 1);
}

#[tokio::test]
async fn tls_carries_it_all() {
    let directory = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["srv.test".to_owned()]).unwrap();
    let paths = TlsPaths { certificate: directory.path().join("cert.pem"), key: directory.path().join("key.pem") };
    std::fs::write(&paths.certificate, made.cert.pem()).unwrap();
    std::fs::write(&paths.key, made.key_pair.serialize_pem()).unwrap();
    let config = ForwardConfig {
        tls: Some(paths.clone()),
        shared_key: Some(SharedKey::new("s3cret")),
        self_hostname: "srv".to_owned(),
        ..local()
    };
    let mut rig = Rig::start(config.clone()).await;
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("srv.test").unwrap();
    let connector = TlsConnector::from(Arc::new(client));
    let mut client = within(connector.connect(name, rig.connect().await)).await.unwrap();
    assert!(shake_hands(&mut client, "s3cret").await);
    send(&mut client, &message(&[("n", "1")], Some("c"))).await;
    client.flush().await.unwrap();
    rig.keep(1).await;
    expect(&mut client, &ack("c")).await;
    // Who speaks no TLS is told nothing.
    let mut plain = rig.connect().await;
    send(&mut plain, &message(&[("n", "1")], None)).await;
    rest(&mut plain).await;
    until("it is counted", || rig.rejected("tls") == 1).await;

    std::fs::write(&paths.key, "no key").unwrap();
    let error = Server::bind(config).await.unwrap_err().to_string();
    assert!(error.contains("key.pem"), "{error}");
}

#[tokio::test]
async fn connections_do_not_wait_for_each_other() {
    let mut rig = Rig::start(local()).await;
    let mut clients = Vec::new();
    for n in 0..50 {
        let mut client = rig.connect().await;
        send(&mut client, &message(&[("n", &n.to_string())], Some("c"))).await;
        clients.push(client);
    }
    let lines = rig.keep(50).await;
    let mut seen: Vec<u32> = lines.iter().map(|line| line["n"].as_str().unwrap().parse().unwrap()).collect();
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..50));
    for client in &mut clients {
        expect(client, &ack("c")).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever comes, a connection ends, the server stays, and what came before in order is kept.
    #[test]
    fn junk_behind_messages_takes_nothing_of_them(
        count in 0..5_usize,
        junk in prop::collection::vec(any::<u8>(), 0..200),
        step in 1..400_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let rig = Rig::start(local()).await;
            let mut client = rig.connect().await;
            let good = message(&[("log", "good")], None).repeat(count);
            for piece in [good, junk].concat().chunks(step) {
                // It may be closed by now.
                if client.write_all(piece).await.is_err() {
                    break;
                }
            }
            client.shutdown().await.ok();
            until("it is served", || rig.counters.messages.get() >= count as u64).await;
            let lines = rig.stop().await;
            let good = lines.iter().filter(|line| line["log"] == "good").count();
            assert_eq!(good, count);
        });
    }
}
