//! The drop-in for `FireLens` with the real binary: what the ECS agent generates for Fluent Bit, containers that send as dockerd does, and what
//! arrives in the stream.

#![expect(clippy::unwrap_used, reason = "a panic is how a test's helpers fail")]

#[path = "support/harness.rs"]
#[expect(dead_code, reason = "not every test file needs all of it")]
mod harness;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use harness::{Agent, Consumer, STREAM, Setup, Stand, until};
use serde_json::{Value, json};

/// What dockerd has sent, byte for byte.
const DOCKER: &[u8] = include_bytes!("forward_samples/docker.1.bin");
/// The time in it, of the first events.
const TASK_TAG: &str = "firelens-158d1c8083dd49d6b527399fd6414f5c";

/// Addresses that nobody listens at, as far as can be known.
fn free_ports<const N: usize>() -> [SocketAddr; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap())
}

/// A task's router: the file that was generated for it, and where it listens.
struct Router {
    setup: Setup,
    socket: PathBuf,
    tcp: SocketAddr,
    health: SocketAddr,
}

impl Router {
    /// With these filters and outputs beside those that are always there.
    fn new(endpoint: &str, filters: &str, outputs: &str) -> Self {
        let mut setup = Setup::new(endpoint);
        let socket = setup.dir.path().join("fluent.sock");
        let [tcp, health] = free_ports();
        let generated = format!(
            "
[INPUT]
    Name forward
    unix_path {}
    Mem_Buf_Limit 25MB

[INPUT]
    Name forward
    Listen 127.0.0.1
    Port {}

[INPUT]
    Name tcp
    Tag firelens-healthcheck
    Listen 127.0.0.1
    Port {}
{filters}
[FILTER]
    Name record_modifier
    Match *
    Record ecs_cluster prod
    Record ecs_task_arn arn:aws:ecs:eu-west-1:111122223333:task/prod/158d1c8083dd49d6b527399fd6414f5c
    Record ecs_task_definition shop:26

[OUTPUT]
    Name null
    Match firelens-healthcheck
{outputs}",
            socket.display(),
            tcp.port(),
            health.port(),
        );
        let file = setup.dir.path().join("fluent-bit.conf");
        std::fs::write(&file, generated).unwrap();
        for name in ["KINETAIL_STREAM", "KINETAIL_PATHS", "KINETAIL_REGION"] {
            setup.set(name, "");
        }
        setup.set("KINETAIL_FIRELENS", file.to_str().unwrap());
        setup.set("KINETAIL_MAX_AGE", "10ms");
        setup.set("AWS_REGION", "us-east-1");
        Self { setup, socket, tcp, health }
    }

    async fn connect(&self) -> UnixStream {
        until("the socket", async || UnixStream::connect(&self.socket).ok()).await
    }
}

/// An output of `logConfiguration`, in the order in which the ECS agent writes it.
fn output(container: &str, options: &str) -> String {
    format!("\n[OUTPUT]\n    Name kinesis_streams\n    Match {container}-firelens*\n{options}\n")
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.push(0xda);
    out.extend_from_slice(&u16::try_from(text.len()).unwrap().to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// A message as dockerd writes it: `[tag, time, record, {}]`, at 2023-11-14T22:13:20.5Z.
fn message(container: &str, log: &str) -> Vec<u8> {
    let mut out = vec![0x94];
    text(&mut out, &format!("{container}-{TASK_TAG}"));
    out.extend_from_slice(&[0xd7, 0x00, 0x65, 0x53, 0xf1, 0x00, 0x1d, 0xcd, 0x65, 0x00, 0x84]);
    let name = format!("/ecs-shop-26-{container}");
    for (key, value) in
        [("container_id", "e13c9f6a4ccd"), ("container_name", name.as_str()), ("source", "stdout"), ("log", log)]
    {
        text(&mut out, key);
        text(&mut out, value);
    }
    out.push(0x80);
    out
}

/// The sample of dockerd's with a container's tag in place of its own.
fn docker(container: &str) -> Vec<u8> {
    let mut head = vec![0x94];
    text(&mut head, &format!("{container}-{TASK_TAG}"));
    let own = b"\x94\xa6app.ff";
    let mut out = Vec::new();
    let mut rest = DOCKER;
    while let Some(at) = rest.windows(own.len()).position(|window| window == own) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(&head);
        rest = &rest[at + own.len()..];
    }
    out.extend_from_slice(rest);
    out
}

async fn events(consumer: &mut Consumer, count: usize) -> Vec<Value> {
    until("all events", async || {
        consumer.look().await;
        (consumer.events.len() >= count).then_some(())
    })
    .await;
    assert_eq!(consumer.events.len(), count);
    let read = |data: &Vec<u8>| serde_json::from_slice(data).unwrap_or_else(|e| panic!("{e}: {data:?}"));
    consumer.events.iter().map(|event| read(&event.data)).collect()
}

fn names(event: &Value) -> Vec<&str> {
    event.as_object().unwrap().keys().map(String::as_str).collect()
}

async fn dropped(agent: &Agent, reason: &str) -> u64 {
    agent.metric(&format!("dropped_events_total{{reason=\"{reason}\",stage=\"forward\"}}")).await
}

#[tokio::test]
async fn a_task_definition_for_fluent_bit_works_as_it_is() {
    let stand = Stand::start(1).await;
    let options = format!("    region us-east-1\n    stream {STREAM}\n    retry_limit 5");
    let router = Router::new(&stand.endpoint(), "", &output("app", &options));
    let agent = router.setup.run().await;
    let mut app = router.connect().await;
    app.write_all(&docker("app")).unwrap();
    // What the task's health check does.
    let health = router.health;
    let check = move || {
        let mut stream = TcpStream::connect(health).unwrap();
        stream.write_all(b"{\"health\":\"check\"}\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        answer
    };
    assert_eq!(tokio::task::spawn_blocking(check).await.unwrap(), b"");

    let mut consumer = Consumer::new(&stand).await;
    until("an event", async || {
        consumer.look().await;
        (!consumer.events.is_empty()).then_some(())
    })
    .await;
    app.write_all(&message("app", "the last line")).unwrap();
    agent.stop().await;

    consumer.look().await;
    assert_eq!(consumer.records, consumer.events.len(), "without aggregation, each event is a record");
    let events: Vec<Value> = consumer.events.iter().map(|e| serde_json::from_slice(&e.data).unwrap()).collect();
    let first = &events[0];
    assert_eq!(
        *first,
        json!({
            "container_id": "e13c9f6a4ccdaa5885c417312340b7338ca2fd7336c28b87cb49b554aa7c17f8", "container_name": "/ff", "source": "stdout", "log": "one",
            "FOO": "bar", "x": "y", "ecs_cluster": "prod", "ecs_task_definition": "shop:26",
            "ecs_task_arn": "arn:aws:ecs:eu-west-1:111122223333:task/prod/158d1c8083dd49d6b527399fd6414f5c",
        })
    );
    let joined = events.iter().find(|event| event["log"].as_str().unwrap().len() > 16 * 1024).unwrap();
    assert!(names(joined).iter().all(|name| !name.starts_with("partial_")), "{:?}", names(joined));
    assert_eq!(joined["ecs_cluster"], "prod");
    assert!(events.iter().any(|event| event["log"] == "the last line"), "it came before the end");
}
