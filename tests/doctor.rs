//! `kinetail doctor` with the real binary against stand-ins for everything that can be wrong: the right line fails, with the right fix, and no other
//! line fails with it.

#![expect(clippy::unwrap_used, reason = "a panic is how a test's helpers fail")]

#[path = "support/harness.rs"]
#[expect(dead_code, reason = "not every test file needs all of it")]
mod harness;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use harness::{STREAM, Setup, Stand};
use kinetail::checkpoint::StateDir;
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

const ARN: &str = "arn:aws:kinesis:us-east-1:123456789012:stream/events";
const CALLER: &str = "arn:aws:sts::123456789012:assumed-role/app/session";

// === a stand-in for the service and for STS ===

/// What the stand-in answers.
#[derive(Debug, Clone)]
struct Script {
    /// By operation: a status and a body.
    answers: BTreeMap<&'static str, (u16, Value)>,
    identity: (u16, String),
    /// How far its clock is ahead, in seconds.
    ahead: i64,
}

impl Default for Script {
    fn default() -> Self {
        let range = json!({"StartingHashKey": "0", "EndingHashKey": "340282366920938463463374607431768211455"});
        let shard = json!({"ShardId": "shardId-000000000000", "HashKeyRange": range, "SequenceNumberRange": {"StartingSequenceNumber": "1"}});
        let identity = format!(
            "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult><Arn>{CALLER}</Arn>\
             <UserId>A:b</UserId><Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>"
        );
        let answers = BTreeMap::from([
            ("DescribeStreamSummary", (200, summary(&json!({})))),
            ("ListShards", (200, json!({"Shards": [shard]}))),
            (
                "PutRecords",
                refusal("DryRunOperationException", "Request would have succeeded, but DryRun flag is set."),
            ),
        ]);
        Self { answers, identity: (200, identity), ahead: 0 }
    }
}

impl Script {
    fn with(operation: &'static str, answer: (u16, Value)) -> Self {
        let mut script = Self::default();
        script.answers.insert(operation, answer);
        script
    }
}

fn summary(more: &Value) -> Value {
    let mut summary = json!({
        "StreamName": STREAM, "StreamARN": ARN, "StreamStatus": "ACTIVE", "StreamModeDetails": {"StreamMode": "PROVISIONED"},
        "RetentionPeriodHours": 24, "StreamCreationTimestamp": 1_700_000_000.0, "EnhancedMonitoring": [], "OpenShardCount": 1,
    });
    summary.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "StreamDescriptionSummary": summary })
}

fn refusal(code: &str, message: &str) -> (u16, Value) {
    (400, json!({"__type": code, "message": message}))
}

fn denied(operation: &str) -> (u16, Value) {
    let message = format!(
        "User: {CALLER} is not authorized to perform: kinesis:{operation} on resource: {ARN} because no identity-based policy allows the kinesis:{operation} action"
    );
    refusal("AccessDeniedException", &message)
}

/// The stand-in; it ends with this.
struct Cloud {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
}

impl Cloud {
    fn start(script: Script, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let (stream, script, tls) = (stream.unwrap(), script.clone(), tls.clone());
                std::thread::spawn(move || {
                    // Some clients go away in the middle, as they should.
                    match tls {
                        Some(tls) => {
                            let connection = ServerConnection::new(tls).unwrap();
                            exchange(StreamOwned::new(connection, stream), &script).ok();
                        }
                        None => {
                            exchange(stream, &script).ok();
                        }
                    }
                });
            }
        });
        Self { address, stop }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        TcpStream::connect(self.address).ok();
    }
}

/// One request and its answer.
fn exchange(stream: impl Read + Write, script: &Script) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.insert(name.to_lowercase(), value.trim().to_owned());
        }
    }
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    let operation = headers.get("x-amz-target").map(|target| target.rsplit('.').next().unwrap());
    let (status, kind, answer) = match operation {
        Some(operation) => {
            let (status, answer) = script.answers[operation].clone();
            (status, "application/x-amz-json-1.1", answer.to_string())
        }
        None if body.starts_with(b"Action=GetCallerIdentity") => {
            (script.identity.0, "text/xml", script.identity.1.clone())
        }
        None => (404, "text/plain", "nothing here".to_owned()),
    };
    let now = DateTime::from(kinetail::clock::now());
    let date = DateTime::from_secs(now.secs() + script.ahead).fmt(Format::HttpDate).unwrap();
    let length = answer.len();
    let stream = stream.get_mut();
    write!(
        stream,
        "HTTP/1.1 {status} x\r\ndate: {date}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{answer}"
    )?;
    stream.flush()
}

// === runs ===

/// A machine with settings, on which everything is right until a test changes it.
struct Scene {
    dir: TempDir,
    environment: BTreeMap<&'static str, String>,
    arguments: Vec<&'static str>,
    binary: PathBuf,
    uid: Option<u32>,
    _cloud: Cloud,
}

impl Scene {
    fn new(script: Script) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["logs", "state"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        std::fs::write(dir.path().join("logs/app.log"), "a line\n").unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let cloud = Cloud::start(script, None);
        let environment = BTreeMap::from([
            ("KINETAIL_STREAM", STREAM.to_owned()),
            ("KINETAIL_PATHS", path("logs/*.log")),
            ("KINETAIL_STATE_DIR", path("state")),
            ("KINETAIL_ENDPOINT", cloud.url()),
            ("KINETAIL_REGION", "us-east-1".to_owned()),
            ("KINETAIL_ADMIN_LISTEN", "127.0.0.1:0".to_owned()),
            ("AWS_ENDPOINT_URL_STS", cloud.url()),
            ("AWS_ACCESS_KEY_ID", "AKIATEST".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "secret".to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ]);
        let binary = PathBuf::from(env!("CARGO_BIN_EXE_kinetail"));
        Self { dir, environment, arguments: Vec::new(), binary, uid: None, _cloud: cloud }
    }

    fn set(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.environment.insert(name, value.into());
        self
    }

    fn unset(mut self, name: &'static str) -> Self {
        self.environment.remove(name);
        self
    }

    fn argument(mut self, argument: &'static str) -> Self {
        self.arguments.push(argument);
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn mode(&self, name: &str, mode: u32) {
        std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Runs as somebody for whom permissions count: they do not for root.
    fn by_somebody(mut self) -> Self {
        if std::fs::metadata(self.dir.path()).unwrap().uid() == 0 {
            // The build may lie where others cannot go.
            let binary = self.path("kinetail");
            std::fs::copy(&self.binary, &binary).unwrap();
            (self.binary, self.uid) = (binary, Some(65534));
            std::os::unix::fs::chown(self.path("state"), Some(65534), None).unwrap();
        }
        self
    }

    fn run(&self) -> Outcome {
        let mut command = Command::new(&self.binary);
        command.args(["doctor", "--json"]).args(&self.arguments).env_clear().envs(&self.environment);
        command.stdin(Stdio::null()).current_dir("/");
        if let Some(uid) = self.uid {
            command.uid(uid).gid(uid);
        }
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let report: Value = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr)));
        Outcome { code: output.status.code().unwrap(), lines: report["checks"].as_array().unwrap().clone() }
    }
}

#[derive(Debug)]
struct Outcome {
    code: i32,
    lines: Vec<Value>,
}

impl Outcome {
    fn of(&self, level: &str) -> Vec<&Value> {
        self.lines.iter().filter(|line| line["level"] == level).collect()
    }

    /// That this check fails alone, and its line and its fix have these words.
    fn fails(&self, check: &str, words: &[&str]) {
        assert_eq!(self.code, 1, "{self:#?}");
        let failed = self.of("fail");
        assert!(!failed.is_empty() && failed.iter().all(|line| line["check"] == check), "{check}: {failed:#?}");
        assert_said(&failed, words);
    }

    /// That this check is a warning, and nothing fails.
    fn warns(&self, check: &str, words: &[&str]) {
        assert_eq!((self.code, self.of("fail").len()), (0, 0), "{self:#?}");
        let warned: Vec<&Value> = self.of("warn").into_iter().filter(|line| line["check"] == check).collect();
        assert!(!warned.is_empty(), "{check}: {self:#?}");
        assert_said(&warned, words);
    }

    fn passes(&self, check: &str, words: &str) {
        let passed = self.lines.iter().any(|line| {
            line["check"] == check && line["level"] == "pass" && line["said"].as_str().unwrap().contains(words)
        });
        assert!(passed, "{check} {words}: {self:#?}");
    }
}

fn assert_said(lines: &[&Value], words: &[&str]) {
    let text = |line: &&Value| format!("{}\n{}\n", line["said"].as_str().unwrap(), line["fix"].as_str().unwrap());
    let said: String = lines.iter().map(text).collect();
    for words in words {
        assert!(said.contains(words), "no {words:?} in {said}");
    }
}

fn policy(action: &str, resource: &str) -> String {
    let statement = json!({"Effect": "Allow", "Action": [action], "Resource": resource});
    json!({"Version": "2012-10-17", "Statement": [statement]}).to_string()
}

// === all is well ===

#[test]
fn nothing_is_wrong_where_nothing_is_wrong() {
    let outcome = Scene::new(Script::default()).run();
    assert_eq!((outcome.code, outcome.of("fail").len()), (0, 0), "{outcome:#?}");
    for (check, words) in [
        ("configuration", "valid"),
        ("credentials", "EnvironmentVariable: access key AKIATEST"),
        ("identity", CALLER),
        ("endpoint", "answers at 127.0.0.1"),
        ("clock", "agrees"),
        ("stream", "is ACTIVE, provisioned"),
        ("distribution", "USER_PARTITION_KEY"),
        ("record_limit", "1.0 MiB"),
        ("shards", "1 open shards: 1 MB/s, 1000 records/s"),
        ("put_records", "allowed (DryRun)"),
        ("state_dir", "can be written"),
        ("logs", "1 files match"),
        ("admin", "is free"),
    ] {
        outcome.passes(check, words);
    }
    let text = Command::new(env!("CARGO_BIN_EXE_kinetail")).arg("doctor").env_clear().output().unwrap();
    let said = String::from_utf8(text.stdout).unwrap();
    assert_eq!(text.status.code(), Some(1));
    assert!(said.contains("FAIL  configuration  ") && said.contains("0 passed, 0 warnings, 2 failures"), "{said}");
}

#[tokio::test]
async fn an_agent_that_runs_is_recognised_and_nothing_is_sent_unasked() {
    let stand = Stand::start(2).await;
    let mut setup = Setup::new(&stand.endpoint());
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    setup.set("KINETAIL_ADMIN_LISTEN", &port.to_string());
    let agent = setup.run().await;
    let scene = |script| {
        Scene::new(script)
            .set("KINETAIL_ENDPOINT", stand.endpoint())
            .set("KINETAIL_ADMIN_LISTEN", port.to_string())
            .set("KINETAIL_STATE_DIR", setup.dir.path().join("state").to_str().unwrap())
    };
    let run = async |scene: Scene| tokio::task::spawn_blocking(move || scene.run()).await.unwrap();
    let outcome = run(scene(Script::default())).await;
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    outcome.passes("admin", "an agent answers");
    outcome.passes("state_dir", "in use by the agent that answers here");
    outcome.passes("put_records", "nothing was sent");
    outcome.passes("shards", "2 open shards");
    let mut consumer = harness::Consumer::new(&stand).await;
    consumer.look().await;
    assert!(consumer.events.is_empty());
    run(scene(Script::default()).argument("--send")).await.passes("put_records", "a test event is stored in shardId-");
    consumer.look().await;
    assert_eq!(consumer.events.len(), 1);
    agent.stop().await;
}

// === the service ===

#[test]
fn credentials_and_who_they_are_of() {
    let bare = |script| Scene::new(script).unset("AWS_ACCESS_KEY_ID").unset("AWS_SECRET_ACCESS_KEY");
    bare(Script::default()).run().fails("credentials", &["CredentialsNotFound", "give the pod or task a role"]);
    let container =
        bare(Script::default()).set("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:1/v1/credentials");
    container.run().fails("credentials", &["CredentialsFailed", "the source of AWS credentials fails"]);
    let error = |code: &str| {
        let body = format!(
            "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>as it says</Message></Error></ErrorResponse>"
        );
        (403, body)
    };
    let expired = Script {
        identity: error("ExpiredToken"),
        answers: Script::with("PutRecords", refusal("ExpiredTokenException", "x")).answers,
        ..Script::default()
    };
    let outcome = Scene::new(expired).run();
    let failed: Vec<&str> = outcome.of("fail").iter().map(|line| line["check"].as_str().unwrap()).collect();
    assert_eq!(failed, ["identity", "put_records"]);
    assert_said(&outcome.of("fail"), &["ExpiredToken", "renew them, or set the clock"]);
    let wrong = Script { identity: error("SignatureDoesNotMatch"), ..Script::default() };
    Scene::new(wrong).run().fails("identity", &["check the access key, the secret"]);
    let away = Scene::new(Script::default()).set("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1");
    away.run().warns("identity", &["STS is not needed to send"]);
}

#[test]
fn a_region_has_to_be_known() {
    let scene = Scene::new(Script::default()).unset("KINETAIL_REGION").set("AWS_CONFIG_FILE", "/nowhere");
    scene.run().fails("region", &["set kinesis.region (KINETAIL_REGION), or AWS_REGION"]);
}

#[test]
fn a_stream_that_cannot_be_sent_to() {
    let missing = refusal("ResourceNotFoundException", "Stream events under account 123456789012 not found.");
    let outcome = Scene::new(Script::with("DescribeStreamSummary", missing)).run();
    outcome.fails("stream", &["aws kinesis create-stream --stream-name events", "kinesis.stream_arn"]);
    let status = |status: &str| Script::with("DescribeStreamSummary", (200, summary(&json!({"StreamStatus": status}))));
    Scene::new(status("DELETING")).run().fails("stream", &["is DELETING", "create it anew"]);
    Scene::new(status("CREATING")).run().warns("stream", &["the agent waits"]);
    let auto = || Script::with("DescribeStreamSummary", (200, summary(&json!({"RecordDistributionStrategy": "AUTO"}))));
    Scene::new(auto()).run().fails("distribution", &["USER_PARTITION_KEY", "lines or single"]);
    let lines = Scene::new(auto()).set("KINETAIL_FORMAT", "lines").run();
    assert_eq!(lines.code, 0, "{lines:#?}");
}

#[test]
fn permissions_come_with_the_statement_that_grants_them() {
    let outcome = Scene::new(Script::with("PutRecords", denied("PutRecords"))).run();
    outcome.fails("put_records", &["the role app", &policy("kinesis:PutRecords", ARN)]);
    let mut optional = Script::with("DescribeStreamSummary", denied("DescribeStreamSummary"));
    optional.answers.insert("ListShards", denied("ListShards"));
    let outcome = Scene::new(optional).run();
    outcome.warns("stream", &["optional", &policy("kinesis:DescribeStreamSummary", ARN)]);
    outcome.warns("shards", &["optional", &policy("kinesis:ListShards", ARN)]);
    outcome.passes("put_records", "allowed");
    // A refusal that names nothing: the ARN is made of what is known.
    let bare = Script::with("PutRecords", refusal("AccessDeniedException", "no"));
    Scene::new(bare).run().fails("put_records", &[&policy("kinesis:PutRecords", ARN)]);
}

#[test]
fn what_only_an_event_shows() {
    let key = "arn:aws:kms:us-east-1:123456789012:key/1";
    let encrypted = (200, summary(&json!({"EncryptionType": "KMS", "KeyId": key})));
    let with = |put| {
        let mut script = Script::with("PutRecords", put);
        script.answers.insert("DescribeStreamSummary", encrypted.clone());
        script
    };
    let outcome = Scene::new(with(refusal("DryRunOperationException", ""))).run();
    outcome.warns("encryption", &["kinetail doctor --send", &policy("kms:GenerateDataKey", key)]);
    let no = refusal(
        "KMSAccessDeniedException",
        &format!("not authorized to perform: kms:GenerateDataKey on resource: {key}"),
    );
    let outcome = Scene::new(with(no)).argument("--send").run();
    outcome.fails("put_records", &["this role's kms:GenerateDataKey", &policy("kms:GenerateDataKey", key)]);
    let taken = (200, json!({"FailedRecordCount": 0, "Records": [{"SequenceNumber": "1", "ShardId": "s"}]}));
    let outcome = Scene::new(with(taken.clone())).argument("--send").run();
    outcome.passes("encryption", "which could be used");
    Scene::new(with(taken)).run().warns("put_records", &["this is no Kinesis Data Streams"]);
    let vague = refusal("ValidationException", "1 validation error");
    Scene::new(with(vague)).run().warns("put_records", &["cannot be known without an event", "doctor --send"]);
    let seen = refusal("InvalidArgumentException", "Invalid ExplicitHashKey.");
    Scene::new(with(seen)).run().passes("put_records", "not denied");
}

// === the way there ===

#[test]
fn an_endpoint_that_cannot_be_reached() {
    let to = |endpoint: &str| Scene::new(Script::default()).set("KINETAIL_ENDPOINT", endpoint).run();
    to("https://kinesis.nowhere.invalid").fails("endpoint", &["kinesis.nowhere.invalid has no address", "VPC"]);
    to("http://127.0.0.1:1").fails("endpoint", &["cannot connect to 127.0.0.1:1", "let TCP 1 out"]);
    let plain = Cloud::start(Script::default(), None);
    to(&format!("https://{}", plain.address)).fails("tls", &["no TLS with", "plain HTTP"]);
}

/// A server with a certificate, and that as a file.
fn secure(dir: &Path, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> (Cloud, PathBuf) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).unwrap();
    change(&mut params);
    let made = params.self_signed(&key).unwrap();
    let path = dir.join("ca.pem");
    std::fs::write(&path, made.pem()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.der().clone()], PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der())))
        .unwrap();
    (Cloud::start(Script::default(), Some(Arc::new(config))), path)
}

#[test]
fn certificates_are_refused_with_the_reason() {
    let run = |names: &[&str], host: &str, trust: bool, change: fn(&mut CertificateParams)| {
        let scene = Scene::new(Script::default());
        let (cloud, ca) = secure(scene.dir.path(), names, change);
        let scene = scene.set("KINETAIL_ENDPOINT", format!("https://{host}:{}", cloud.address.port()));
        let scene = if trust { scene.set("KINETAIL_CA_FILE", ca.to_str().unwrap()) } else { scene };
        scene.run()
    };
    let fine = run(&["localhost"], "localhost", true, |_| {});
    assert_eq!(fine.code, 0, "{fine:#?}");
    fine.passes("tls", "the certificate is for localhost");
    run(&["localhost"], "localhost", false, |_| {})
        .fails("tls", &["has issued the certificate of localhost", "KINETAIL_CA_FILE"]);
    run(&["example.com"], "localhost", true, |_| {})
        .fails("tls", &["the certificate is not for localhost", "kinesis.endpoint"]);
    let old = |params: &mut CertificateParams| params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    run(&["localhost"], "localhost", true, old).fails("tls", &["has expired", "renew the certificate"]);
    let early = |params: &mut CertificateParams| params.not_before = rcgen::date_time_ymd(4000, 1, 1);
    run(&["localhost"], "localhost", true, early).fails("tls", &["is not valid yet", "clock"]);
}

#[test]
fn certificates_that_cannot_be_read() {
    let missing = Scene::new(Script::default()).set("KINETAIL_CA_FILE", "/nonexistent.pem").run();
    assert!(
        missing.code == 1
            && missing.of("fail").iter().all(|line| line["said"].as_str().unwrap().contains("/nonexistent.pem")),
        "{missing:#?}"
    );
}

#[test]
fn a_clock_that_is_wrong() {
    Scene::new(Script { ahead: 7230, ..Script::default() })
        .run()
        .fails("clock", &["2h", "behind the endpoint's", "NTP"]);
    Scene::new(Script { ahead: -120, ..Script::default() }).run().warns("clock", &["ahead of"]);
}

// === the machine ===

#[test]
fn a_state_directory_that_cannot_be_used() {
    let scene = Scene::new(Script::default());
    let held = StateDir::open(&scene.path("state")).unwrap();
    scene.run().fails("state_dir", &["in use by another kinetail", "a state_dir of its own"]);
    drop(held);
    assert_eq!(scene.run().code, 0);
    let file = scene.path("logs/app.log/state");
    scene
        .set("KINETAIL_STATE_DIR", file.to_str().unwrap())
        .run()
        .fails("state_dir", &["is no directory", "KINETAIL_STATE_DIR"]);

    let scene = Scene::new(Script::default()).by_somebody();
    scene.mode("state", 0o500);
    scene.run().fails("state_dir", &["cannot be written to", "mount a writable volume", "chmod"]);
    let below = scene.path("closed/state");
    std::fs::create_dir(scene.path("closed")).unwrap();
    scene.mode("closed", 0o555);
    scene.set("KINETAIL_STATE_DIR", below.to_str().unwrap()).run().fails("state_dir", &["closed cannot be written to"]);
}

#[test]
fn a_state_directory_in_memory_is_warned_of() {
    let Ok(memory) = tempfile::tempdir_in("/dev/shm") else { return };
    let scene = Scene::new(Script::default()).set("KINETAIL_STATE_DIR", memory.path().to_str().unwrap());
    scene.run().warns("state_lasts", &["tmpfs", "an emptyDir outlives restarts of the container"]);
}

#[test]
fn logs_that_cannot_be_read() {
    let scene = Scene::new(Script::default()).by_somebody();
    scene.mode("logs/app.log", 0o200);
    let path = scene.path("logs/app.log");
    scene.run().fails("logs", &["app.log cannot be read", &format!("chmod o+r '{}'", path.display()), "mode 0200"]);

    scene.mode("logs/app.log", 0o644);
    scene.mode("logs", 0o000);
    let path = scene.path("logs");
    scene.run().fails("logs", &["logs cannot be listed", &format!("chmod o+rx '{}'", path.display())]);
    scene.mode("logs", 0o755);

    // A group that may is the better way.
    if scene.uid.is_some() {
        std::os::unix::fs::chown(scene.path("logs/app.log"), Some(1000), Some(2000)).unwrap();
        scene.mode("logs/app.log", 0o640);
        scene
            .run()
            .fails("logs", &["it belongs to 1000:2000 with mode 0640", "fsGroup: 2000", "supplementalGroups: [2000]"]);
    }
}

#[test]
fn logs_that_are_not_there() {
    let scene = Scene::new(Script::default());
    let missing = scene.path("elsewhere/*.log");
    let scene = scene.set("KINETAIL_PATHS", missing.to_str().unwrap());
    scene.run().warns("logs", &["elsewhere does not exist", "mount the volume"]);
    let none = scene.path("logs/*.txt");
    scene
        .set("KINETAIL_PATHS", none.to_str().unwrap())
        .run()
        .warns("logs", &["no file matches", "has not written yet"]);
}

#[test]
fn an_admin_port_that_is_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let began = kinetail::clock::now();
    Scene::new(Script::default())
        .set("KINETAIL_ADMIN_LISTEN", &*address)
        .run()
        .fails("admin", &[&address, "give a free address"]);
    assert!(kinetail::clock::now().duration_since(began).unwrap() < Duration::from_mins(1));
    Scene::new(Script::default()).set("KINETAIL_ADMIN_LISTEN", "off").run().warns("admin", &["is off"]);
}

#[test]
fn a_configuration_that_is_wrong_is_said_line_by_line() {
    let outcome = Scene::new(Script::default()).set("KINETAIL_FORMAT", "xml").set("KINETAIL_STREAM", "a b").run();
    outcome.fails("configuration", &["KINETAIL_FORMAT: \"xml\" is not one of kpl", "kinetail check"]);
    assert_eq!(outcome.of("fail").len(), 2, "{outcome:#?}");
    let wrapper = || Scene::new(Script::default()).unset("KINETAIL_PATHS");
    wrapper().run().fails("configuration", &["sources"]);
    let outcome = wrapper().argument("--exec").run();
    assert_eq!(outcome.code, 0, "{outcome:#?}");
}
