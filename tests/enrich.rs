//! Metadata from the real places: an ECS endpoint that misbehaves at first, and a downward volume that the kubelet swaps.

#![expect(clippy::unwrap_used, reason = "a panic is how a test's helpers fail")]

use std::path::Path;
use std::time::Duration;

use kinetail::enrich::kubernetes::Variables;
use kinetail::enrich::{Chosen, Metadata, POLL, Settings, Sources, ecs};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

/// How long anything here may take; the slowest waits for one timeout and some waits of up to four seconds.
const DEADLINE: Duration = Duration::from_mins(2);

const TASK: &str = r#"{
  "Cluster": "arn:aws:ecs:eu-west-1:111122223333:cluster/prod",
  "TaskARN": "arn:aws:ecs:eu-west-1:111122223333:task/prod/158d1c8083dd49d6b527399fd6414f5c",
  "Family": "checkout", "Revision": "26", "DesiredStatus": "RUNNING", "KnownStatus": "RUNNING",
  "Limits": {"CPU": 0.25, "Memory": 512}, "AvailabilityZone": "eu-west-1b", "LaunchType": "FARGATE",
  "Containers": [{"DockerId": "other", "Name": "app"}, {"DockerId": "ea32192c8553", "Name": "kinetail"}]
}"#;
const CONTAINER: &str = r#"{
  "DockerId": "ea32192c8553", "Name": "kinetail", "DockerName": "ecs-checkout-26-kinetail-cca48e8dcadd97805600",
  "Image": "111122223333.dkr.ecr.eu-west-1.amazonaws.com/kinetail:1", "ImageID": "sha256:d691691e9652",
  "Labels": {"com.amazonaws.ecs.task-definition-family": "checkout"},
  "ContainerARN": "arn:aws:ecs:eu-west-1:111122223333:container/0206b271", "LogDriver": "awslogs"
}"#;

/// What the endpoint does with one connection.
#[derive(Clone, Copy)]
enum Does {
    /// Takes the request and never answers.
    Hang,
    /// Answers, and then goes on sending without end.
    Flood,
    /// The same with its length in front.
    Announce,
    Answer(u16, &'static str),
    /// Half of what it announced.
    Tear,
    /// Something that is not HTTP.
    Babble,
    /// What it should.
    Right,
}

/// The path that was asked for.
async fn request(socket: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.to_ascii_lowercase().contains("\r\nhost: 127.0.0.1:"), "{head}");
    head.split(' ').nth(1).unwrap().to_owned()
}

/// Whoever asked may have gone: that is what some of these are for.
async fn answer(mut socket: TcpStream, does: Does) -> Option<()> {
    let path = request(&mut socket).await;
    let right = match path.as_str() {
        "/v4/abc/task" => TASK,
        "/v4/abc" => CONTAINER,
        other => panic!("{other} was asked for"),
    };
    let head = |status: u16, length: usize| format!("HTTP/1.1 {status} Reason\r\nContent-Length: {length}\r\n\r\n");
    let text = match does {
        Does::Hang => {
            // Until the other end gives up.
            socket.read_u8().await.ok();
            return None;
        }
        Does::Flood => {
            socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.ok()?;
            loop {
                socket.write_all(&[b' '; 8192]).await.ok()?;
            }
        }
        Does::Announce => {
            let body = " ".repeat(ecs::MAX_BODY_BYTES + 1 - right.len()) + right;
            head(200, body.len()) + &body
        }
        Does::Answer(status, body) => head(status, body.len()) + body,
        Does::Tear => head(200, right.len() * 2) + right,
        Does::Babble => "\u{1}\u{2}\u{3} nonsense\r\n\r\n".to_owned(),
        Does::Right => head(200, right.len()) + right,
    };
    socket.write_all(text.as_bytes()).await.ok()
}

/// An endpoint that does one after the other, the last of them from then on. Its address, and how many connections it had.
async fn endpoint(tasks: &mut JoinSet<()>, script: Vec<Does>) -> (String, watch::Receiver<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}/v4/abc", listener.local_addr().unwrap());
    let (count, counted) = watch::channel(0);
    tasks.spawn(async move {
        let mut open = JoinSet::new();
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let at = (*count.borrow()).min(script.len() - 1);
            open.spawn(answer(socket, script[at]));
            count.send_modify(|n| *n += 1);
        }
    });
    (uri, counted)
}

/// Keeps the metadata of an environment, as the agent does.
fn keep(
    tasks: &mut JoinSet<()>,
    settings: Settings,
    env: impl Fn(&str) -> Option<String>,
) -> watch::Receiver<Metadata> {
    let sources = Sources::find(&Chosen::parse(&["*"]).unwrap(), settings, "node-7", env);
    let (to, metadata) = watch::channel(Metadata::default());
    tasks.spawn(sources.keep(to));
    metadata
}

fn all(metadata: &Metadata) -> serde_json::Value {
    let members = metadata.members(&Chosen::parse(&["*"]).unwrap());
    serde_json::from_str(&format!("{{{}}}", String::from_utf8(members).unwrap())).unwrap()
}

async fn until(metadata: &mut watch::Receiver<Metadata>, what: &str, holds: impl FnMut(&Metadata) -> bool) -> Metadata {
    let waited = timeout(DEADLINE, metadata.wait_for(holds)).await;
    waited.unwrap_or_else(|_| panic!("{what} did not come")).unwrap().clone()
}

#[tokio::test]
async fn a_task_is_known_as_soon_as_its_endpoint_answers_rightly_and_is_not_asked_again() {
    let mut tasks = JoinSet::new();
    let script = vec![Does::Answer(500, "not yet"), Does::Flood, Does::Answer(200, "{\"Cluster\": "), Does::Right];
    let (uri, mut counted) = endpoint(&mut tasks, script.clone()).await;
    let mut metadata = keep(&mut tasks, Settings::default(), |name| (name == ecs::VARIABLE).then(|| uri.clone()));
    let first = until(&mut metadata, "the machine's name", |m| m.get("host.name").is_some()).await;
    assert_eq!(first.get("host.name"), Some("node-7"));
    let known = until(&mut metadata, "the task", Metadata::is_complete).await;
    assert_eq!(
        all(&known),
        serde_json::json!({
            "ecs": {
                "cluster": "prod",
                "task_arn": "arn:aws:ecs:eu-west-1:111122223333:task/prod/158d1c8083dd49d6b527399fd6414f5c",
                "task_id": "158d1c8083dd49d6b527399fd6414f5c",
                "task_family": "checkout",
                "task_revision": "26",
                "launch_type": "FARGATE",
                "container_name": "kinetail",
                "container_arn": "arn:aws:ecs:eu-west-1:111122223333:container/0206b271",
                "container_id": "ea32192c8553",
                "image": "111122223333.dkr.ecr.eu-west-1.amazonaws.com/kinetail:1",
            },
            "cloud": {"availability_zone": "eu-west-1b"},
            "host": {"name": "node-7"},
        })
    );
    let asked = *counted.borrow_and_update();
    assert_eq!(asked, script.len() + 1, "three that failed, and two for the task and the container");
    // Paused, so that an hour takes no time: whoever asked again would do so within it.
    tokio::time::pause();
    sleep(Duration::from_hours(1)).await;
    tokio::time::resume();
    assert_eq!(*counted.borrow(), asked);
}

/// What one request says of an endpoint that does this.
async fn error_of(script: Vec<Does>) -> ecs::Error {
    let mut tasks = JoinSet::new();
    let (uri, _counted) = endpoint(&mut tasks, script).await;
    let endpoint = ecs::Endpoint::parse(&uri).unwrap();
    timeout(DEADLINE, endpoint.once()).await.expect("it ends by itself").unwrap_err()
}

#[tokio::test]
async fn what_goes_wrong_is_told_and_bounded() {
    assert!(matches!(error_of(vec![Does::Answer(500, "no")]).await, ecs::Error::Status { .. }));
    assert!(matches!(error_of(vec![Does::Answer(200, "{")]).await, ecs::Error::Json { .. }));
    for early in [Does::Answer(200, "{}"), Does::Answer(200, "[]"), Does::Answer(200, r#"{"Cluster":7}"#)] {
        assert!(matches!(error_of(vec![early]).await, ecs::Error::Json { .. }));
    }
    assert!(
        matches!(error_of(vec![Does::Answer(302, "")]).await, ecs::Error::Status { .. }),
        "it follows nobody elsewhere"
    );
    assert!(matches!(error_of(vec![Does::Flood]).await, ecs::Error::TooLong(_)));
    assert!(matches!(error_of(vec![Does::Announce]).await, ecs::Error::TooLong(_)));
    assert!(matches!(error_of(vec![Does::Tear]).await, ecs::Error::Body { .. }));
    assert!(matches!(error_of(vec![Does::Babble]).await, ecs::Error::Http { .. }));
    let began = Instant::now();
    assert!(matches!(error_of(vec![Does::Hang]).await, ecs::Error::Timeout { .. }));
    assert!(began.elapsed() >= ecs::TIMEOUT);
    // The second of the two requests counts as well.
    assert!(matches!(error_of(vec![Does::Right, Does::Answer(503, "")]).await, ecs::Error::Status { .. }));
    let nobody = ecs::Endpoint::parse("http://127.0.0.1:1/v4").unwrap();
    assert!(matches!(nobody.once().await.unwrap_err(), ecs::Error::Connect { .. }));
}

#[tokio::test]
async fn an_endpoint_that_hangs_holds_up_nothing_that_is_known() {
    let mut tasks = JoinSet::new();
    let (uri, _counted) = endpoint(&mut tasks, vec![Does::Hang]).await;
    let mut metadata = keep(&mut tasks, Settings::default(), |name| match name {
        ecs::VARIABLE => Some(uri.clone()),
        "POD_NAME" => Some("web-1".to_owned()),
        _ => None,
    });
    let first = until(&mut metadata, "the pod", |m| m.get("kubernetes.pod_name").is_some()).await;
    assert!(!first.is_complete());
    assert_eq!(all(&first), serde_json::json!({"kubernetes": {"pod_name": "web-1"}, "host": {"name": "node-7"}}));
}

#[tokio::test]
async fn it_ends_when_nobody_reads_it() {
    let mut tasks = JoinSet::new();
    drop(keep(&mut tasks, Settings::default(), |_| None));
    timeout(DEADLINE, tasks.join_next()).await.expect("it ends").unwrap().unwrap();
}

/// Writes a downward volume's files as the kubelet does: a new directory, and the link swapped in one step.
fn swap(volume: &Path, version: &str, files: &[(&str, &str)]) {
    let directory = volume.join(version);
    std::fs::create_dir(&directory).unwrap();
    for (name, text) in files {
        std::fs::write(directory.join(name), text).unwrap();
        let link = volume.join(name);
        if std::fs::symlink_metadata(&link).is_err() {
            std::os::unix::fs::symlink(Path::new("..data").join(name), link).unwrap();
        }
    }
    std::os::unix::fs::symlink(version, volume.join("..data_tmp")).unwrap();
    std::fs::rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();
}

fn pod(name: &str) -> Option<String> {
    let value = match name {
        "MY_POD" => "web-7d9",
        "POD_NAMESPACE" => "shop",
        "POD_UID" => "0b5f",
        "NODE_NAME" => "ip-10-0-0-1",
        "POD_IP" => "",
        _ => return None,
    };
    Some(value.to_owned())
}

#[tokio::test(start_paused = true)]
async fn labels_are_read_again_when_the_kubelet_has_written_others() {
    let volume = tempfile::tempdir().unwrap();
    let labels = "app=\"web\"\napp.kubernetes.io/version=\"1\"\n";
    swap(volume.path(), "..2026_11_23_1", &[("labels", labels), ("annotations", "note=\"a \\\"b\\\"\\n\"\n")]);
    let settings = Settings {
        variables: Variables { pod_name: "MY_POD".to_owned(), ..Variables::default() },
        volume: Some(volume.path().to_owned()),
    };
    let mut tasks = JoinSet::new();
    let mut metadata = keep(&mut tasks, settings, pod);
    let first = until(&mut metadata, "the pod", |m| m.get("kubernetes.pod_name").is_some()).await;
    assert!(first.is_complete());
    assert_eq!(
        all(&first),
        serde_json::json!({
            "kubernetes": {
                "namespace": "shop", "pod_name": "web-7d9", "pod_uid": "0b5f", "node_name": "ip-10-0-0-1",
                "labels": {"app": "web", "app.kubernetes.io/version": "1"},
                "annotations": {"note": "a \"b\"\n"},
            },
            "host": {"name": "node-7"},
        })
    );

    // Nothing is told while nothing changes.
    sleep(POLL * 5).await;
    assert!(!metadata.has_changed().unwrap());

    // Of the same length, and within the time that a file system tells apart: only the link says so.
    let labels = "app=\"wob\"\napp.kubernetes.io/version=\"2\"\n";
    swap(volume.path(), "..2026_11_23_2", &[("labels", labels), ("annotations", "note=\"a \\\"b\\\"\\n\"\n")]);
    let second = until(&mut metadata, "the new labels", |m| m.get("kubernetes.labels.app") == Some("wob")).await;
    assert_eq!(second.get("kubernetes.labels.app.kubernetes.io/version"), Some("2"));
    assert_eq!(second.get("kubernetes.pod_name"), Some("web-7d9"));

    // What cannot be used takes nothing away.
    swap(volume.path(), "..2026_11_23_3", &[("labels", "app=wrong\n"), ("annotations", "note=\"c\"\n")]);
    let third = until(&mut metadata, "the annotation", |m| m.get("kubernetes.annotations.note") == Some("c")).await;
    assert_eq!(third.get("kubernetes.labels.app"), Some("wob"));

    let huge = format!("app=\"{}\"\n", "x".repeat(2 * 1024 * 1024));
    swap(volume.path(), "..2026_11_23_4", &[("labels", &huge), ("annotations", "note=\"d\"\n")]);
    let fourth = until(&mut metadata, "the annotation", |m| m.get("kubernetes.annotations.note") == Some("d")).await;
    assert_eq!(fourth.get("kubernetes.labels.app"), Some("wob"));

    swap(volume.path(), "..2026_11_23_5", &[("labels", ""), ("annotations", "")]);
    let last = until(&mut metadata, "no labels", |m| m.get("kubernetes.labels.app").is_none()).await;
    assert_eq!(last.get("kubernetes.annotations.note"), None);
}

#[tokio::test(start_paused = true)]
async fn a_volume_may_come_later_and_be_a_plain_directory() {
    let directory = tempfile::tempdir().unwrap();
    let volume = directory.path().join("podinfo");
    let mut tasks = JoinSet::new();
    let settings = Settings { volume: Some(volume.clone()), ..Settings::default() };
    let mut metadata = keep(&mut tasks, settings, |_| None);
    until(&mut metadata, "the machine's name", |m| m.get("host.name").is_some()).await;
    std::fs::create_dir(&volume).unwrap();
    std::fs::write(volume.join("labels"), "app=\"late\"\n").unwrap();
    until(&mut metadata, "the labels", |m| m.get("kubernetes.labels.app") == Some("late")).await;
    std::fs::write(volume.join("labels"), "app=\"later\"\n").unwrap();
    until(&mut metadata, "the labels", |m| m.get("kubernetes.labels.app") == Some("later")).await;
}
