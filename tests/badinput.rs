//! The real binary against what goes wrong around it: state that cannot be kept, files that are no logs, lines that are no lines, endpoints
//! that are not there. Each with a clear message, and nothing lost.

#![expect(clippy::unwrap_used, reason = "a panic is how a test's helpers fail")]

#[path = "support/harness.rs"]
mod harness;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use harness::{Agent, Consumer, Log, Setup, Stand, Tally, assert_exact, total, until};
use kinetail::demo::parts::{Joined, Parts};
use serde_json::{Value, json};

/// A stream, settings for it that keep the order, and a consumer.
async fn start() -> (Stand, Setup, Consumer) {
    let stand = Stand::start(1).await;
    let mut setup = Setup::new(&stand.endpoint());
    setup.set("KINETAIL_PARTITION_KEY", "source");
    let consumer = Consumer::new(&stand).await;
    (stand, setup, consumer)
}

/// A path in the state directory.
fn state(setup: &Setup, name: &str) -> PathBuf {
    setup.dir.path().join("state").join(name)
}

/// That an agent with these settings does not start, and says all of this.
fn assert_refused(setup: &Setup, words: &[&str]) {
    let output = setup.command().stderr(Stdio::piped()).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    for words in words {
        assert!(message.contains(words), "no {words:?} in {message}");
    }
}

/// Waits until the lines of the log are there, stops the agent and reads once more: they came once and in order.
async fn assert_delivered(agent: Agent, log: &Log, consumer: &mut Consumer) {
    consumer.receive(&[log]).await;
    agent.stop().await;
    consumer.look().await;
    assert_exact(&[log], consumer, true);
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

// === the state directory ===

#[tokio::test]
async fn a_state_directory_that_cannot_be_is_refused() {
    let (_stand, mut setup, _consumer) = start().await;
    let file = setup.log("a-file");
    std::fs::write(&file, "").unwrap();
    for path in [text(&file.join("state")), text(&file), "/proc/kinetail/state"] {
        setup.set("KINETAIL_STATE_DIR", path);
        assert_refused(&setup, &[&format!("state_dir {path}: "), "mount a writable volume", "KINETAIL_STATE_DIR"]);
    }
}

#[tokio::test]
async fn a_second_agent_with_the_same_state_is_refused() {
    let (_stand, setup, mut consumer) = start().await;
    let agent = setup.run().await;
    let mut log = Log::create(&setup.log("app.log"));
    assert_refused(&setup, &[text(&state(&setup, "")).trim_end_matches('/'), "is in use by another kinetail"]);
    log.append(10);
    assert_delivered(agent, &log, &mut consumer).await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_refused() {
    let (_stand, mut setup, _consumer) = start().await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    setup.set("KINETAIL_ADMIN_LISTEN", &address);
    assert_refused(&setup, &[&format!("admin.listen {address}: "), "KINETAIL_ADMIN_LISTEN"]);
}

#[tokio::test]
async fn delivery_goes_on_without_a_checkpoint() {
    let (_stand, setup, mut consumer) = start().await;
    let blockade = state(&setup, "checkpoint.json.tmp");
    std::fs::create_dir_all(&blockade).unwrap();
    let mut log = Log::create(&setup.log("app.log"));
    log.append(100);
    let agent = setup.run().await;
    consumer.receive(&[&log]).await;
    let message = agent.said("the checkpoint cannot be written").await;
    assert_eq!(message["level"], "error");
    assert!(message["message"].as_str().unwrap().contains("make state_dir writable"), "{message}");
    assert_eq!(message["state_dir"], text(&setup.dir.path().join("state")));
    assert!(agent.metric("checkpoint_errors_total").await > 0);
    log.append(100);
    consumer.receive(&[&log]).await;
    std::fs::remove_dir(&blockade).unwrap();
    log.append(1);
    agent.said("checkpoints can be written again").await;
    assert_delivered(agent, &log, &mut consumer).await;
    let agent = setup.run().await;
    log.append(1);
    assert_delivered(agent, &log, &mut consumer).await;
}

/// A file system of its own, which goes with this.
struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    fn new(path: &'a Path) -> Option<Self> {
        std::fs::create_dir(path).unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "kinetail-test", text(path)]).output();
        mounted.is_ok_and(|output| output.status.success()).then_some(Self(path))
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let ended = Command::new("umount").args(["--lazy", text(self.0)]).status();
        assert!(std::thread::panicking() || ended.unwrap().success());
    }
}

#[tokio::test]
async fn delivery_goes_on_with_a_full_disk() {
    let (_stand, setup, mut consumer) = start().await;
    let state = state(&setup, "");
    let Some(_mounted) = Mounted::new(&state) else {
        println!("skipped: this process may not mount file systems");
        return;
    };
    let mut log = Log::create(&setup.log("app.log"));
    let agent = setup.run().await;
    log.append(50);
    consumer.receive(&[&log]).await;
    let mut filler = std::fs::File::create(state.join("filler")).unwrap();
    while filler.write_all(&[0; 512]).is_ok() {}
    log.append(50);
    consumer.receive(&[&log]).await;
    agent.said("the checkpoint cannot be written").await;
    let errors = agent.metric("checkpoint_errors_total").await;
    assert!(errors > 0);
    drop(filler);
    std::fs::remove_file(state.join("filler")).unwrap();
    log.append(50);
    agent.said("checkpoints can be written again").await;
    assert_delivered(agent, &log, &mut consumer).await;
    let agent = setup.run().await;
    assert_delivered(agent, &log, &mut consumer).await;
}

#[tokio::test]
async fn a_checkpoint_that_makes_no_sense_is_put_aside_and_everything_is_read_again() {
    let (_stand, setup, mut consumer) = start().await;
    let mut log = Log::create(&setup.log("app.log"));
    log.append(20);
    let agent = setup.run().await;
    assert_delivered(agent, &log, &mut consumer).await;
    let checkpoint = state(&setup, "checkpoint.json");
    let good = std::fs::read(&checkpoint).unwrap();
    for (round, bad) in [&b"\0\xff no json"[..], &good[..good.len() / 2], b""].into_iter().enumerate() {
        std::fs::write(&checkpoint, bad).unwrap();
        let agent = setup.run().await;
        let message = agent.said("the checkpoint cannot be read").await;
        assert_eq!(message["level"], "error");
        let aside = message["aside"].as_str().unwrap();
        assert_eq!(std::fs::read(aside).unwrap(), bad);
        log.append(20);
        consumer.receive(&[&log]).await;
        agent.stop().await;
        consumer.look().await;
        // Everything that was there before comes again, which is what the message says.
        let duplicates = (0..=round).map(|earlier| 20 * (earlier + 1)).sum();
        assert_eq!(log.tally(&consumer.events), Tally { duplicates, ..Tally::default() });
    }
}

#[tokio::test]
async fn a_checkpoint_of_a_newer_version_is_left_alone() {
    let (_stand, setup, mut consumer) = start().await;
    let mut log = Log::create(&setup.log("app.log"));
    log.append(20);
    assert_delivered(setup.run().await, &log, &mut consumer).await;
    let checkpoint = state(&setup, "checkpoint.json");
    let good = std::fs::read(&checkpoint).unwrap();
    let newer = r#"{"version":99,"of":"the future"}"#;
    std::fs::write(&checkpoint, newer).unwrap();
    assert_refused(&setup, &[text(&checkpoint), "has version 99", "run the newer kinetail again, or remove the file"]);
    assert_eq!(std::fs::read_to_string(&checkpoint).unwrap(), newer);
    std::fs::write(&checkpoint, good).unwrap();
    log.append(20);
    assert_delivered(setup.run().await, &log, &mut consumer).await;
}

// === files that are no logs ===

#[tokio::test]
async fn what_is_no_readable_file_does_not_keep_the_others_from_being_read() {
    let (_stand, setup, mut consumer) = start().await;
    std::fs::create_dir(setup.log("directory.log")).unwrap();
    assert!(Command::new("mkfifo").arg(setup.log("fifo.log")).status().unwrap().success());
    let _socket = std::os::unix::net::UnixListener::bind(setup.log("socket.log")).unwrap();
    symlink("/dev/null", setup.log("null.log")).unwrap();
    symlink("/dev/zero", setup.log("zero.log")).unwrap();
    symlink(setup.log("loop.log"), setup.log("loop.log")).unwrap();
    symlink(setup.log("nowhere"), setup.log("dangling.log")).unwrap();
    // A regular file that can be opened, and gives an error whenever it is read, whoever reads it.
    symlink("/proc/self/mem", setup.log("broken.log")).unwrap();
    std::fs::write(setup.log("empty.log"), "").unwrap();
    std::fs::write(setup.log("gone.log"), "").unwrap();
    let mut log = Log::create(&setup.log("good.log"));
    log.append(20);
    let agent = setup.run().await;
    consumer.receive(&[&log]).await;
    for (name, why) in [
        ("fifo.log", "it is a FIFO"),
        ("socket.log", "it is a socket"),
        ("null.log", "it is a device"),
        ("zero.log", "it is a device"),
        ("loop.log", "symbolic link"),
        ("broken.log", "Input/output error"),
    ] {
        let warned = |log: &str| log.lines().any(|line| line.contains(name) && line.contains(why));
        until(name, async || warned(&agent.log()).then_some(())).await;
    }
    assert_eq!(agent.metric("source_files{source=\"files\",state=\"ignored\"}").await, 5);
    std::fs::remove_file(setup.log("gone.log")).unwrap();
    std::fs::remove_file(setup.log("loop.log")).unwrap();
    until("the deletion to be seen", async || {
        (agent.metric("file_rotations_total{kind=\"delete\"}").await == 1).then_some(())
    })
    .await;
    // What was no log becomes one.
    let mut late = Log::create(&setup.log("loop.log"));
    let mut nowhere = Log::create(&setup.log("nowhere"));
    for log in [&mut late, &mut nowhere, &mut log] {
        log.append(20);
    }
    consumer.receive(&[&late, &nowhere, &log]).await;
    agent.stop().await;
    consumer.look().await;
    assert_exact(&[&late, &nowhere, &log], &consumer, true);
}

#[tokio::test]
async fn bytes_that_are_no_text_arrive_as_they_are() {
    let (_stand, setup, mut consumer) = start().await;
    let mut log = Log::create(&setup.log("app.log"));
    let odd: [&[u8]; 6] = [b"\0", b"a\0b\0\0", &[0; 5000], b"\xff\xfe\xc3(", b"a\rb", b"\x1b[31mred\x07"];
    for line in odd {
        log.raw(line);
        log.raw(b"\n");
    }
    log.append(10);
    let agent = setup.run().await;
    consumer.receive(&[&log]).await;
    agent.stop().await;
    consumer.look().await;
    let received: Vec<&[u8]> = consumer.events.iter().map(|event| event.data.as_slice()).collect();
    // But for NULs at the start of a line, which are what a hole in a file looks like.
    let bare = odd.map(|line| if line.first() == Some(&0) { b"" } else { line });
    assert_eq!(received[..odd.len()], bare);
    assert_eq!(received.len(), odd.len() + 10);
}

#[tokio::test]
async fn a_line_of_many_megabytes_is_delivered_in_parts() {
    const BYTES: usize = 20_000_000;
    let (_stand, setup, mut consumer) = start().await;
    let mut log = Log::create(&setup.log("app.log"));
    log.append(10);
    let mut line = String::with_capacity(BYTES + 100);
    let mut number = 0;
    while line.len() < BYTES {
        number += 1;
        line.push_str(&number.to_string());
        line.push_str(" é\t\"🦀\" ");
    }
    let agent = setup.run().await;
    // A service's pipe breaks long lines into writes.
    for piece in line.as_bytes().chunks(1 << 20) {
        log.raw(piece);
    }
    log.raw(b"\n");
    log.append(10);
    consumer.receive(&[&log]).await;
    assert_eq!(agent.metric("long_lines_total{action=\"split\",source=\"files\"}").await, 1);
    agent.stop().await;
    consumer.look().await;
    let (mut parts, mut joined, mut count) = (Parts::default(), None, 0);
    for event in consumer.events.iter().filter(|event| !log.has(&event.data)) {
        count += 1;
        match parts.offer(&event.data) {
            Joined::Waiting => {}
            Joined::Line(line) => assert!(joined.replace(line).is_none(), "one line"),
            Joined::Alien => panic!("no part"),
        }
    }
    assert!(joined.unwrap() == line.into_bytes(), "the line that its parts make is another");
    assert_eq!(count + 20, consumer.events.len());
    assert_eq!(log.tally(&consumer.events), Tally::default());
}

// === endpoints and credentials ===

/// That an agent with these settings sends nothing and says why, and that the next one, with everything right, sends everything once.
async fn assert_kept(stand: &Stand, mut wrong: Setup, code: &str, words: &str) {
    let mut consumer = Consumer::new(stand).await;
    let mut log = Log::create(&wrong.log("app.log"));
    log.append(100);
    wrong.configure(&json!({ "shutdown": { "timeout": "0s" } }));
    let agent = wrong.run().await;
    let refused = format!("kinesis_record_errors_total{{code=\"{code}\",stream=\"events\"}}");
    until(code, async || (agent.metric(&refused).await > 0).then_some(())).await;
    let log_of_agent = agent.log();
    let said = |line: &str| line.contains(code) && line.contains(words);
    assert!(log_of_agent.lines().any(said), "no {code} with {words:?} in {log_of_agent}");
    agent.stop().await;
    log.append(100);
    let mut right = wrong;
    right.set("KINETAIL_ENDPOINT", &stand.endpoint());
    right.set("KINETAIL_CA_FILE", "");
    right.set("AWS_ACCESS_KEY_ID", "key");
    right.set("AWS_SECRET_ACCESS_KEY", "secret");
    assert_delivered(right.run().await, &log, &mut consumer).await;
}

#[tokio::test]
async fn a_name_that_does_not_resolve_loses_nothing() {
    let (stand, mut setup, _consumer) = start().await;
    setup.set("KINETAIL_ENDPOINT", "http://no-such-host.invalid:1");
    assert_kept(&stand, setup, "ConnectionFailed", "dns error").await;
}

#[tokio::test]
async fn an_endpoint_that_speaks_no_tls_loses_nothing() {
    let (stand, mut setup, _consumer) = start().await;
    setup.set("KINETAIL_ENDPOINT", &stand.endpoint().replace("http:", "https:"));
    assert_kept(&stand, setup, "ConnectionFailed", "InvalidContentType").await;
}

#[tokio::test]
async fn missing_credentials_lose_nothing() {
    let (stand, mut setup, _consumer) = start().await;
    setup.set("AWS_ACCESS_KEY_ID", "");
    setup.set("AWS_SECRET_ACCESS_KEY", "");
    assert_kept(&stand, setup, "CredentialsNotFound", "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY").await;
}

#[tokio::test]
async fn certificates_that_are_none_are_refused() {
    let (_stand, mut setup, _consumer) = start().await;
    let path = setup.log("ca.pem");
    setup.set("KINETAIL_CA_FILE", text(&path));
    assert_refused(&setup, &[&format!("kinesis.ca_file {}: cannot be read", text(&path)), "give a readable PEM file"]);
    for content in ["", "no certificate\n"] {
        std::fs::write(&path, content).unwrap();
        assert_refused(&setup, &[&format!("kinesis.ca_file {}: holds no usable PEM", text(&path))]);
    }
}

/// A certificate of its own authority, and its key. None without `openssl`.
fn certificate(directory: &Path, name: &str) -> Option<[String; 2]> {
    let [certificate, key] = ["crt", "key"].map(|kind| text(&directory.join(format!("{name}.{kind}"))).to_owned());
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]);
    command.args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]);
    let made = command.args(["-out", &certificate, "-keyout", &key]).output();
    made.is_ok_and(|output| output.status.success()).then_some([certificate, key])
}

/// A process that is killed with this.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().unwrap_or_default();
        self.0.wait().unwrap();
    }
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_not_trusted_and_nothing_is_lost() {
    let (stand, mut setup, _consumer) = start().await;
    let directory = setup.dir.path();
    let (Some([own, key]), Some([other, _])) = (certificate(directory, "own"), certificate(directory, "other")) else {
        println!("skipped: there is no openssl to make certificates with");
        return;
    };
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let mut server = Command::new("openssl");
    server.args(["s_server", "-quiet", "-accept", &free, "-cert", &own, "-key", &key]);
    let _server = Killed(server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let address: SocketAddr = format!("127.0.0.1:{free}").parse().unwrap();
    until("the server", async || TcpStream::connect(address).ok()).await;
    setup.set("KINETAIL_ENDPOINT", &format!("https://localhost:{free}"));
    setup.set("KINETAIL_CA_FILE", &other);
    assert_kept(&stand, setup, "ConnectionFailed", "certificate").await;
}

// === a record that the stream minds ===

/// What makes a record a poisoned one.
const POISON: &[u8] = b"poison";

/// Stands in front of the stream and refuses every request that has a poisoned record in it.
fn picky(upstream: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.unwrap();
            // A thread for each connection. A client that is gone ends it.
            std::thread::spawn(move || serve(client, upstream).unwrap_or_default());
        }
    });
    address
}

fn serve(mut client: TcpStream, upstream: SocketAddr) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    let body = loop {
        if let Some(body) = body_of(&request) {
            break body;
        }
        match client.read(&mut buffer)? {
            0 => return Ok(()),
            n => request.extend_from_slice(&buffer[..n]),
        }
    };
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let poisoned = |record: &Value| {
        let data = base64_simd::STANDARD.decode_to_vec(record["Data"].as_str().unwrap()).unwrap();
        data.windows(POISON.len()).any(|window| window == POISON)
    };
    if body["Records"].as_array().is_some_and(|records| records.iter().any(poisoned)) {
        let refusal = json!({ "__type": "InvalidArgumentException", "message": "there is poison in it" }).to_string();
        let (kind, length) = ("application/x-amz-json-1.1", refusal.len());
        let head = format!("HTTP/1.1 400 Bad Request\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n");
        return client.write_all(format!("{head}Connection: close\r\n\r\n{refusal}").as_bytes());
    }
    // One request a connection: what the stream answers ends with it.
    let mut stream = TcpStream::connect(upstream)?;
    let request = String::from_utf8(request).unwrap().replacen("\r\n", "\r\nConnection: close\r\n", 1);
    stream.write_all(request.as_bytes())?;
    std::io::copy(&mut stream, &mut client).map(drop)
}

/// The body of a request, once all of it is there.
fn body_of(request: &[u8]) -> Option<&[u8]> {
    let head_end = request.windows(4).position(|window| window == b"\r\n\r\n")?;
    let (head, body) = request.split_at(head_end + 4);
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let length: usize = head.lines().find_map(|line| line.strip_prefix("content-length:"))?.trim().parse().unwrap();
    (body.len() >= length).then_some(body)
}

#[tokio::test]
async fn a_record_that_the_stream_minds_is_set_aside_and_the_rest_arrives() {
    for format in ["single", "kpl"] {
        let (stand, mut setup, mut consumer) = start().await;
        setup.set("KINETAIL_ENDPOINT", &format!("http://{}", picky(stand.address)));
        setup.set("KINETAIL_FORMAT", format);
        setup.set("KINETAIL_PARTITION_KEY", "random");
        setup.configure(&json!({ "kinesis": { "aggregate": { "target_bytes": "1KiB" } } }));
        let mut log = Log::create(&setup.log("app.log"));
        log.append(20);
        let agent = setup.run().await;
        consumer.receive(&[&log]).await;
        log.append(100);
        log.raw(b"poison \"in\" the middle\n");
        log.append(100);
        let letters = state(&setup, "dead_letters.jsonl");
        until("the dead letter", async || letters.exists().then_some(())).await;
        until("all events to be settled", async || (agent.metric("in_flight_events").await == 0).then_some(())).await;
        let metrics = agent.get("/metrics").await.1;
        let name = "dropped_events_total{reason=\"InvalidArgumentException\",stage=\"deliver\"}";
        agent.stop().await;
        consumer.look().await;
        let letters = std::fs::read_to_string(letters).unwrap();
        let letters: Vec<Value> = letters.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(total(&metrics, name), letters.len() as u64);
        let [poison] = &letters.iter().filter(|l| l["data"] == "poison \"in\" the middle\n").collect::<Vec<_>>()[..]
        else {
            panic!("{letters:?}")
        };
        assert_eq!((&poison["reason"], &poison["stream"]), (&json!("InvalidArgumentException"), &json!("events")));
        assert_eq!(poison["message"], "there is poison in it");
        // What is not among the letters arrived, once.
        let tally = log.tally(&consumer.events);
        assert_eq!((tally.lost, tally.duplicates), (letters.len() - 1, 0));
        if format == "single" {
            assert_eq!(letters.len(), 1, "{letters:?}");
        }
    }
}
