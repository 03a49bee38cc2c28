//! The drop-in for `FireLens` with the real binary: what the ECS agent generates for Fluent Bit, containers that send as dockerd does, and what
//! arrives in the stream.

#![expect(clippy::unwrap_used, reason = "a panic is how a test's helpers fail")]

#[path = "support/harness.rs"]
#[expect(dead_code, reason = "not every test file needs all of it")]
mod harness;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use harness::{Agent, Consumer, STREAM, Setup, Stand, until};
use serde_json::{Value, json};

/// What dockerd has sent, byte for byte.
const DOCKER: &[u8] = include_bytes!("forward_samples/docker.1.bin");
/// What follows a container's name in its tag.
const TASK_TAG: &str = "firelens-158d1c8083dd49d6b527399fd6414f5c";

/// An address where the agent listens, as its log has it.
async fn address(agent: &Agent, of: &str) -> SocketAddr {
    let said = agent.said("Forward clients are served").await;
    let text = said[of].as_str().unwrap();
    text.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or_else(|error| panic!("{error}: {said}"))
}

/// A task's router: the file that was generated for it, and where it listens.
struct Router {
    setup: Setup,
    socket: PathBuf,
}

impl Router {
    /// With these filters and outputs beside those that are always there.
    fn new(endpoint: &str, filters: &str, outputs: &str) -> Self {
        let mut setup = Setup::new(endpoint);
        let socket = setup.dir.path().join("fluent.sock");
        let generated = format!(
            "
[INPUT]
    Name forward
    unix_path {}
    Mem_Buf_Limit 25MB

[INPUT]
    Name forward
    Listen 127.0.0.1
    Port 0

[INPUT]
    Name tcp
    Tag firelens-healthcheck
    Listen 127.0.0.1
    Port 0
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
        );
        let file = setup.dir.path().join("fluent-bit.conf");
        std::fs::write(&file, generated).unwrap();
        for name in ["KINETAIL_STREAM", "KINETAIL_PATHS", "KINETAIL_REGION"] {
            setup.set(name, "");
        }
        setup.set("KINETAIL_FIRELENS", file.to_str().unwrap());
        setup.set("KINETAIL_MAX_AGE", "10ms");
        setup.set("AWS_REGION", "us-east-1");
        Self { setup, socket }
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
    let health = address(&agent, "health").await;
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

/// What arrives when these are sent and the agent ends, with its last message.
async fn all_of(stand: &Stand, streams: &[&str], router: &Router, messages: &[Vec<u8>]) -> (Vec<Vec<Value>>, Value) {
    let agent = router.setup.run().await;
    let mut client = router.connect().await;
    for message in messages {
        client.write_all(message).unwrap();
    }
    // Each container has a connection of its own; this one says that the others are through.
    until("all messages", async || {
        (agent.metric("forward_messages_total").await == messages.len() as u64).then_some(())
    })
    .await;
    let stopped = stopped(agent).await;
    let mut all = Vec::new();
    for stream in streams {
        let mut consumer = Consumer::of(stand, stream).await;
        consumer.look().await;
        let mut events: Vec<Value> = consumer
            .events
            .iter()
            .map(|event| {
                serde_json::from_slice(&event.data).unwrap_or_else(|_| String::from_utf8_lossy(&event.data).into())
            })
            .collect();
        events.sort_by_key(ToString::to_string);
        all.push(events);
    }
    (all, stopped)
}

/// What it says at its end.
async fn stopped(mut agent: Agent) -> Value {
    agent.terminate();
    until("the agent's end", async || agent.child.try_wait().unwrap()).await;
    let stopped = agent.message("\"stopped\"").unwrap_or_else(|| panic!("{}", agent.log()));
    let number = |name: &str| stopped[name].as_u64().unwrap();
    assert_eq!(number("events"), number("delivered") + number("dropped"), "{stopped}");
    stopped
}

fn logs(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["log"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn each_containers_events_go_where_and_as_its_options_say() {
    let streams = ["logs", "audit", "raw"];
    let stand = Stand::with(streams.map(|stream| (stream.to_owned(), 1)).to_vec()).await;
    let filters = "
[FILTER]
    Name   grep
    Match app-firelens*
    Exclude log health[cC]heck
";
    let outputs = [
        output("app", "    stream logs\n    time_key at\n    time_key_format %Y-%m-%dT%H:%M:%S.%3NZ"),
        output("proxy", "    stream audit\n    data_keys log,ecs_cluster"),
        output("worker", "    stream raw\n    log_key log"),
        output("abroad", "    stream far\n    region eu-west-9\n    role_arn arn:aws:iam::444455556666:role/logs"),
        "\n[OUTPUT]\n    Name cloudwatch\n    Match db-firelens*\n".to_owned(),
    ];
    let router = Router::new(&stand.endpoint(), filters, &outputs.concat());
    let messages = [
        message("app", "one"),
        message("app", "GET /healthcheck"),
        message("proxy", "two"),
        message("worker", "three \"3\"\nand more\n"),
        message("db", "to somewhere else"),
        message("abroad", "to elsewhere"),
        message("unknown", "to nowhere"),
        message("app", "four"),
    ];
    let (received, stopped) = all_of(&stand, &streams, &router, &messages).await;
    let [app, audit, raw] = &received[..] else { panic!("{received:?}") };
    assert_eq!(logs(app), ["four", "one"]);
    assert_eq!(app[0]["at"], "2023-11-14T22:13:20.500Z");
    assert_eq!(*audit, [json!({ "log": "two", "ecs_cluster": "prod" })]);
    assert_eq!(*raw, ["three \"3\"\\nand more"]);
    assert_eq!(stopped["dropped"], 4, "{stopped}");
}

#[tokio::test]
async fn what_goes_nowhere_is_counted_and_said() {
    let stand = Stand::start(1).await;
    let filters =
        "\n[FILTER]\n    Name grep\n    Match *\n    Exclude log noise\n\n[FILTER]\n    Name lua\n    Match *\n";
    let outputs = [
        output("app", &format!("    stream {STREAM}\n    odd_option 1")),
        "\n[OUTPUT]\n    Name cloudwatch\n    Match db-firelens*\n".to_owned(),
        "\n[OUTPUT]\n    Name null\n    Match quiet-firelens*\n".to_owned(),
    ];
    let router = Router::new(&stand.endpoint(), filters, &outputs.concat());
    let agent = router.setup.run().await;
    assert_eq!(agent.said("is done").await["sources"], format!("[\"app: {STREAM}\"]"));
    let said = agent.said("do not go where FireLens would have sent them").await;
    assert!(said["what"].as_str().unwrap().contains("db-firelens* goes nowhere"), "{said}");
    let said = agent.said("odd_option").await;
    assert_eq!(said["level"], "warn", "{said}");
    assert!(said["what"].as_str().unwrap().contains("fluent-bit.conf, line "), "{said}");
    agent.said("Name lua").await;

    let mut tcp = TcpStream::connect(address(&agent, "addresses").await).unwrap();
    for (container, log) in
        [("db", "x"), ("quiet", "x"), ("app", "noise"), ("other", "x"), ("other", "y"), ("app", "kept")]
    {
        tcp.write_all(&message(container, log)).unwrap();
    }
    // No log: the health check's own tag.
    let mut check = vec![0x93];
    text(&mut check, "firelens-healthcheck");
    check.extend_from_slice(&[0x01, 0x80]);
    tcp.write_all(&check).unwrap();
    let mut consumer = Consumer::new(&stand).await;
    assert_eq!(logs(&events(&mut consumer, 1).await), ["kept"]);
    until("all messages", async || (agent.metric("forward_messages_total").await == 7).then_some(())).await;
    for (reason, count) in [("elsewhere", 1), ("discarded", 1), ("filter", 1), ("unmatched", 2)] {
        assert_eq!(dropped(&agent, reason).await, count, "{reason}");
    }
    assert_eq!(agent.metric("events_total").await, 6);
    stopped(agent).await;
}

#[tokio::test]
async fn a_log_that_is_json_takes_its_members_to_the_top() {
    let stand = Stand::start(1).await;
    let mut router = Router::new(&stand.endpoint(), "", &output("app", &format!("    stream {STREAM}")));
    router.setup.set("KINETAIL_PARSE", "json");
    let messages = [
        message("app", r#" {"level":"info","source":"mine","n":1.50,"in":{"a":[1]}} "#),
        message("app", "{\"level\":\"pretty\",\r\n \"ecs_cluster\": null}"),
        message("app", "{}"),
        message("app", "{no json}"),
    ];
    let (received, _) = all_of(&stand, &[STREAM], &router, &messages).await;
    let by_level = |level: Value| received[0].iter().find(|event| event["level"] == level).unwrap().clone();
    let info = by_level("info".into());
    assert_eq!(
        info,
        json!({
            "container_id": "e13c9f6a4ccd", "container_name": "/ecs-shop-26-app", "source": "mine", "level": "info", "n": 1.5,
            "in": { "a": [1] }, "ecs_cluster": "prod", "ecs_task_definition": "shop:26", "ecs_task_arn": info["ecs_task_arn"],
        })
    );
    let pretty = by_level("pretty".into());
    assert_eq!((&pretty["ecs_cluster"], &pretty["source"]), (&Value::Null, &json!("stdout")));
    let plain: Vec<&Value> = received[0].iter().filter(|event| event["level"].is_null()).collect();
    assert_eq!(plain.len(), 2);
    assert!(plain.iter().any(|event| event.get("log").is_none()), "{plain:?}");
    assert!(plain.iter().any(|event| event["log"] == "{no json}"), "{plain:?}");
}

#[tokio::test]
async fn settings_count_more_than_what_firelens_says() {
    let stand = Stand::start(1).await;
    let outputs = output("app", "    stream other\n    aggregation true\n    region eu-west-1");
    let mut router = Router::new(&stand.endpoint(), "", &outputs);
    router.setup.set("KINETAIL_STREAM", STREAM);
    router.setup.set("KINETAIL_REGION", "us-east-1");
    router.setup.configure(&json!({ "kinesis": { "partition_key": "source" } }));
    // A container without options has no output, and its events go to the stream all the same.
    let (received, stopped) =
        all_of(&stand, &[STREAM], &router, &[message("app", "one"), message("bare", "two")]).await;
    assert_eq!(logs(&received[0]), ["one", "two"], "sorted by the container's name");
    assert_eq!(stopped["dropped"], 0);

    // Sources of one's own are all there are.
    router.setup.set("KINETAIL_PATHS", router.setup.log("*.log").to_str().unwrap());
    let agent = router.setup.run().await;
    assert_eq!(agent.said("is not used").await["level"], "warn");
    assert!(UnixStream::connect(&router.socket).is_err());
    agent.stop().await;

    router.setup.set("KINETAIL_PATHS", "");
    router.setup.set("KINETAIL_FIRELENS", "off");
    let output = router.setup.command().stderr(std::process::Stdio::piped()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("sources: is required"), "{said}");
}

/// The task's metadata, once it is there.
async fn metadata(listener: tokio::net::TcpListener, mut is_there: tokio::sync::watch::Receiver<bool>) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    loop {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        let body = if head.starts_with("GET /v4/abc/task ") {
            r#"{"Cluster":"prod","TaskARN":"arn:aws:ecs:eu-west-1:1:task/prod/158d","Family":"shop","Revision":"26","Containers":[]}"#
        } else {
            r#"{"DockerId":"ea32","Name":"log_router","Image":"kinetail","ContainerARN":"arn:aws:ecs:eu-west-1:1:container/0206"}"#
        };
        let status = if *is_there.borrow_and_update() { 200 } else { 503 };
        let answer =
            format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
        socket.write_all(answer.as_bytes()).await.ok();
    }
}

#[tokio::test]
async fn the_tasks_metadata_is_added_once_it_is_known_and_holds_up_nothing() {
    let stand = Stand::start(1).await;
    let mut router = Router::new(&stand.endpoint(), "", &output("app", &format!("    stream {STREAM}")));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    router.setup.set("KINETAIL_METADATA", "ecs.task_family, ecs.cluster,host.name");
    let uri = format!("http://{}/v4/abc", listener.local_addr().unwrap());
    router.setup.set("ECS_CONTAINER_METADATA_URI_V4", &uri);
    let (there, is_there) = tokio::sync::watch::channel(false);
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(metadata(listener, is_there));

    let agent = router.setup.run().await;
    let mut client = router.connect().await;
    client.write_all(&message("app", "before")).unwrap();
    let mut consumer = Consumer::new(&stand).await;
    let before = events(&mut consumer, 1).await.remove(0);
    assert_eq!((before["log"].as_str(), before.get("ecs")), (Some("before"), None));
    assert!(before["host"]["name"].is_string(), "what is known at once is there: {before}");
    there.send_replace(true);
    let after = until("the metadata", async || {
        client.write_all(&message("app", "after")).unwrap();
        consumer.look().await;
        let last: Value = serde_json::from_slice(&consumer.events.last()?.data).unwrap();
        last.get("ecs").is_some().then_some(last)
    })
    .await;
    assert_eq!(after["ecs"], json!({ "cluster": "prod", "task_family": "shop" }));
    assert_eq!((&after["ecs_cluster"], &after["container_id"]), (&json!("prod"), &json!("e13c9f6a4ccd")));
    agent.stop().await;
}
