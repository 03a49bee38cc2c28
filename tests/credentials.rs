//! Every source of AWS credentials, with the real binary and a stand-in for the source's endpoint: that it is asked as it has to be, that requests
//! are signed with what it gave, and that nothing is lost or comes twice while credentials change under load.
//!
//! A task on ECS gets its endpoint as a path (`AWS_CONTAINER_CREDENTIALS_RELATIVE_URI`) on 169.254.170.2, an address that a test without
//! privileges cannot have; the same provider takes the whole address from `AWS_CONTAINER_CREDENTIALS_FULL_URI`, which is what is used here.

#![expect(clippy::unwrap_used, reason = "a panic is how a test's helpers fail")]

#[path = "support/canned.rs"]
#[expect(dead_code, reason = "these endpoints always answer")]
mod canned;
#[path = "support/harness.rs"]
#[expect(dead_code, reason = "not every test file needs all of it")]
mod harness;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use canned::{Asked, Canned, Reply};
use harness::{Agent, Consumer, DEADLINE, Log, STREAM, Setup, Stand, assert_exact, http, until};
use kinetail::config::{AssumeRole, Config, KinesisConfig, Layers};
use kinetail::kinesis::client::Aws;
use kinetail::{agent, cli, clock};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

/// The role of the web identity, and the one that is assumed.
const ROLE: &str = "arn:aws:iam::123456789012:role/logs";

/// What of the harness only these tests need.
impl Stand {
    /// From now on requests with these access keys are refused.
    async fn expire(&self, keys: &[String]) {
        let plan = json!({ "expired_keys": keys, "operations": ["PutRecords"], "latency_max_ms": 10 });
        let (status, body) = http(self.address, "POST", "/_kinetail/faults", &plan.to_string()).await;
        assert_eq!(status, 200, "{body}");
    }

    /// The access keys of all requests that were not refused for them, the consumer's own aside.
    async fn access_keys(&self) -> Vec<String> {
        let (_, stats) = http(self.address, "GET", "/_kinetail/stats", "").await;
        let stats: Value = serde_json::from_str(&stats).unwrap();
        let keys = stats["access_keys"].as_object().unwrap().keys().filter(|key| *key != "key");
        keys.cloned().collect()
    }
}

/// Issues access keys `ASIA1`, `ASIA2`, ... that live so long.
#[derive(Debug)]
struct Issuer {
    canned: Canned,
    issued: Arc<AtomicU64>,
}

impl Issuer {
    async fn start(life: Duration) -> Self {
        let issued = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&issued);
        let canned = Canned::start(move |asked| {
            let number = count.fetch_add(1, Ordering::Relaxed) + 1;
            let expires = DateTime::from(clock::now() + life).fmt(Format::DateTime).unwrap();
            issue(asked, &format!("ASIA{number}"), &expires)
        })
        .await;
        Self { canned, issued }
    }

    fn issued(&self) -> u64 {
        self.issued.load(Ordering::Relaxed)
    }

    fn keys(&self) -> Vec<String> {
        (1..=self.issued()).map(|number| format!("ASIA{number}")).collect()
    }
}

/// An answer in the form of the container endpoint or of STS.
fn issue(asked: &Asked, key: &str, expires: &str) -> Reply {
    if asked.path == "/v1/credentials" {
        let body = json!({ "AccessKeyId": key, "SecretAccessKey": "s", "Token": "t", "Expiration": expires });
        return Reply::Say(200, "application/json", body.to_string());
    }
    let action = form(asked)["Action"].clone();
    let body = format!(
        "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result><Credentials>\
         <AccessKeyId>{key}</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>\
         <Expiration>{expires}</Expiration></Credentials><AssumedRoleUser><Arn>{ROLE}</Arn><AssumedRoleId>A:b</AssumedRoleId>\
         </AssumedRoleUser></{action}Result></{action}Response>"
    );
    Reply::Say(200, "text/xml", body)
}

/// The fields of a request to STS, percent-decoded as far as these tests need it.
fn form(asked: &Asked) -> BTreeMap<String, String> {
    let decoded = |text: &str| text.replace("%3A", ":").replace("%2F", "/").replace("%3D", "=");
    let field = |field: &str| field.split_once('=').map(|(name, value)| (name.to_owned(), decoded(value)));
    asked.body.split('&').filter_map(field).collect()
}

/// A source of credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Keys in the environment.
    Environment,
    /// A profile in a file.
    Profile,
    /// IAM roles for service accounts on EKS: a token in a file, for STS.
    WebIdentity,
    /// EKS Pod Identity, and ECS tasks: an endpoint, and a token in a file for it.
    Container,
    /// A role that is assumed with keys of the environment.
    AssumeRole,
}

/// A stream, an agent's settings and where its credentials come from.
#[derive(Debug)]
struct Scene {
    kind: Kind,
    stand: Stand,
    setup: Setup,
    issuer: Issuer,
}

impl Scene {
    async fn new(kind: Kind, life: Duration) -> Self {
        let (stand, issuer) = (Stand::start(2).await, Issuer::start(life).await);
        let mut setup = Setup::new(&stand.endpoint());
        setup.set("KINETAIL_PARTITION_KEY", "source");
        let mut scene = Self { kind, stand, setup, issuer };
        scene.write("first");
        scene.prepare();
        scene
    }

    fn prepare(&mut self) {
        let (file, sts) = (self.file(), self.issuer.canned.url(""));
        let file = file.to_str().unwrap();
        let setup = &mut self.setup;
        if !matches!(self.kind, Kind::Environment | Kind::AssumeRole) {
            setup.set("AWS_ACCESS_KEY_ID", "");
            setup.set("AWS_SECRET_ACCESS_KEY", "");
        }
        match self.kind {
            Kind::Environment => setup.set("AWS_ACCESS_KEY_ID", "AKIAENV"),
            Kind::Profile => {
                setup.set("AWS_SHARED_CREDENTIALS_FILE", file);
                setup.set("AWS_CONFIG_FILE", "/nowhere");
                setup.set("AWS_PROFILE", "logs");
            }
            Kind::WebIdentity => {
                setup.set("AWS_WEB_IDENTITY_TOKEN_FILE", file);
                setup.set("AWS_ROLE_ARN", ROLE);
                setup.set("AWS_ROLE_SESSION_NAME", "pod-7");
                setup.set("AWS_ENDPOINT_URL_STS", &sts);
            }
            Kind::Container => {
                setup.set("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file);
                setup.set("AWS_CONTAINER_CREDENTIALS_FULL_URI", &self.issuer.canned.url("/v1/credentials"));
            }
            Kind::AssumeRole => {
                setup.set("AWS_ACCESS_KEY_ID", "AKIAENV");
                setup.set("AWS_ENDPOINT_URL_STS", &sts);
            }
        }
    }

    fn file(&self) -> PathBuf {
        self.setup.dir.path().join("credentials")
    }

    /// Puts a token, or a profile with this access key, into the file, as what rotates them does: atomically.
    fn write(&self, what: &str) {
        let text = match self.kind {
            Kind::Profile => format!("[logs]\naws_access_key_id = {what}\naws_secret_access_key = s\n"),
            _ => what.to_owned(),
        };
        let fresh = self.file().with_extension("new");
        std::fs::write(&fresh, text).unwrap();
        std::fs::rename(fresh, self.file()).unwrap();
    }

    async fn run(&self) -> Agent {
        if self.kind != Kind::AssumeRole {
            return self.setup.run().await;
        }
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--ignored", "--exact", "an_agent_that_assumes_a_role", "--nocapture"]);
        let command = self.setup.command();
        child.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        child.stdin(Stdio::null()).stdout(Stdio::null());
        self.setup.start(child).await
    }
}

/// Not a test: the process that [`Kind::AssumeRole`] runs.
#[tokio::test]
#[ignore = "it is the agent of another test"]
async fn an_agent_that_assumes_a_role() {
    if std::env::var_os("KINETAIL_STREAM").is_none() {
        // Somebody runs all tests that are left out.
        return;
    }
    let layers = Layers { file: None, environment: cli::environment(), flags: BTreeMap::new() };
    let config = Config::load(&layers).unwrap();
    kinetail::log::init(&config.log);
    let role =
        AssumeRole { arn: ROLE.to_owned(), external_id: Some("x-17".to_owned()), session_name: "kinetail".to_owned() };
    let config = Config { kinesis: KinesisConfig { assume_role: Some(role), ..config.kinesis }, ..config };
    let aws = Aws::new(&config.kinesis).await.unwrap();
    let mut signals = kinetail::signal::Signals::catch().unwrap();
    let agent = agent::Agent::start_with(config, aws).await.unwrap();
    agent.run(async { signals.next().await }).await.unwrap();
}

/// Runs an agent with this source and sees all lines arrive, signed with what it gave.
async fn delivers(kind: Kind, signed_with: &str) -> Scene {
    let scene = Scene::new(kind, Duration::from_hours(1)).await;
    let mut consumer = Consumer::new(&scene.stand).await;
    let mut log = Log::create(&scene.setup.log("app.log"));
    log.append(200);
    let agent = scene.run().await;
    consumer.receive(&[&log]).await;
    agent.stop().await;
    consumer.look().await;
    assert_exact(&[&log], &consumer, true);
    assert_eq!(scene.stand.access_keys().await, [signed_with], "{kind:?}");
    scene
}

#[tokio::test]
async fn keys_in_the_environment() {
    assert_eq!(delivers(Kind::Environment, "AKIAENV").await.issuer.issued(), 0);
}

#[tokio::test]
async fn a_profile_in_a_file() {
    assert_eq!(delivers(Kind::Profile, "first").await.issuer.issued(), 0);
}

#[tokio::test]
async fn a_role_for_a_service_account() {
    let scene = delivers(Kind::WebIdentity, "ASIA1").await;
    let asked = scene.issuer.canned.asked();
    let form = form(&asked[0]);
    assert_eq!(asked.len(), 1, "it is asked once for all requests");
    assert_eq!(
        [&form["Action"], &form["RoleArn"], &form["RoleSessionName"], &form["WebIdentityToken"]],
        ["AssumeRoleWithWebIdentity", ROLE, "pod-7", "first"]
    );
}

#[tokio::test]
async fn a_pod_identity_or_the_role_of_a_task() {
    let scene = delivers(Kind::Container, "ASIA1").await;
    let asked = scene.issuer.canned.asked();
    assert_eq!((asked.len(), &*asked[0].headers["authorization"]), (1, "first"));
}

#[tokio::test]
async fn a_role_that_is_assumed() {
    let scene = delivers(Kind::AssumeRole, "ASIA1").await;
    let asked = scene.issuer.canned.asked();
    let form = form(&asked[0]);
    assert_eq!(asked.len(), 1, "it is asked once for all requests");
    assert_eq!(
        [&form["Action"], &form["RoleArn"], &form["RoleSessionName"], &form["ExternalId"]],
        ["AssumeRole", ROLE, "kinetail", "x-17"]
    );
    assert!(asked[0].headers["authorization"].contains("Credential=AKIAENV/"), "{:?}", asked[0].headers);
}

#[tokio::test]
async fn a_role_that_is_refused_holds_everything_and_is_named() {
    let mut scene = Scene::new(Kind::AssumeRole, Duration::from_hours(1)).await;
    let granted = Arc::new(AtomicU64::new(0));
    let grant = Arc::clone(&granted);
    scene.issuer.canned = Canned::start(move |asked| {
        if grant.load(Ordering::Relaxed) == 1 {
            let expires = DateTime::from(clock::now() + Duration::from_hours(1)).fmt(Format::DateTime).unwrap();
            return issue(asked, "ASIA1", &expires);
        }
        let body = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code>\
                    <Message>User is not authorized to perform: sts:AssumeRole</Message></Error></ErrorResponse>";
        Reply::Say(403, "text/xml", body.to_owned())
    })
    .await;
    scene.prepare();
    let mut consumer = Consumer::new(&scene.stand).await;
    let mut log = Log::create(&scene.setup.log("app.log"));
    log.append(20);
    let agent = scene.run().await;
    let said = agent.said("delivery is blocked").await;
    assert_eq!(said["code"], "AssumeRoleFailed", "{said}");
    let (message, why) = (said["message"].as_str().unwrap(), said["said"].as_str().unwrap());
    assert!(message.contains("kinesis.assume_role") && message.contains("trust policy"), "{message}");
    for words in [ROLE, "not authorized to perform", "trust policy", "external id", "sts:AssumeRole"] {
        assert!(why.contains(words), "no {words:?} in {why}");
    }
    until("/readyz to say no", async || (agent.get("/readyz").await.0 == 503).then_some(())).await;
    granted.store(1, Ordering::Relaxed);
    consumer.receive(&[&log]).await;
    agent.stop().await;
    consumer.look().await;
    assert_exact(&[&log], &consumer, true);
}

// === rotation ===

/// What a service writes while credentials change.
async fn load(log: &mut Log, until: Instant) {
    while Instant::now() < until {
        log.append(50);
        sleep(Duration::from_millis(5)).await;
    }
}

/// A load under credentials that live for seconds, of which one set is revoked before it expires.
async fn rotates(kind: Kind) {
    /// The least that is kept for three quarters of its life, so that it is renewed before it expires.
    const LIFE: Duration = Duration::from_secs(3);
    let scene = Scene::new(kind, LIFE).await;
    let mut consumer = Consumer::new(&scene.stand).await;
    let mut log = Log::create(&scene.setup.log("app.log"));
    let agent = scene.run().await;
    let refused = format!("kinesis_record_errors_total{{code=\"ExpiredTokenException\",stream=\"{STREAM}\"}}");
    let (began, mut refusals) = (Instant::now(), 0);
    while scene.issuer.issued() < 4 || refusals == 0 {
        assert!(began.elapsed() < DEADLINE, "{} keys, {refusals} refusals", scene.issuer.issued());
        scene.write(&format!("token-{}", scene.issuer.issued()));
        load(&mut log, Instant::now() + Duration::from_millis(100)).await;
        refusals = agent.metric(&refused).await;
        // All but the newest have expired, and once that one too: it was revoked before its time.
        let mut expired = scene.issuer.keys();
        if refusals > 0 || expired.len() < 2 {
            expired.pop();
        }
        scene.stand.expire(&expired).await;
    }
    consumer.receive(&[&log]).await;
    agent.stop().await;
    consumer.look().await;
    assert_exact(&[&log], &consumer, true);
    assert!(scene.stand.access_keys().await.len() >= 3);
    let asked = scene.issuer.canned.asked();
    assert!(asked.len() < 60, "{} requests for credentials", asked.len());
    let token = |asked: &Asked| match kind {
        Kind::Container => asked.headers["authorization"].clone(),
        _ => form(asked).remove("WebIdentityToken").unwrap_or_default(),
    };
    let fresh = asked.iter().map(token).collect::<std::collections::BTreeSet<_>>().len();
    assert!(kind == Kind::AssumeRole || fresh > 1, "the token's file is read anew: {fresh}");
}

#[tokio::test]
async fn a_pod_identity_changes_under_load() {
    rotates(Kind::Container).await;
}

#[tokio::test]
async fn a_web_identity_changes_under_load() {
    rotates(Kind::WebIdentity).await;
}

#[tokio::test]
async fn an_assumed_role_changes_under_load() {
    rotates(Kind::AssumeRole).await;
}

#[tokio::test]
async fn keys_that_are_rotated_in_a_file_need_no_restart() {
    let scene = Scene::new(Kind::Profile, Duration::ZERO).await;
    let mut consumer = Consumer::new(&scene.stand).await;
    let mut log = Log::create(&scene.setup.log("app.log"));
    let agent = scene.run().await;
    load(&mut log, Instant::now() + Duration::from_millis(200)).await;
    consumer.receive(&[&log]).await;
    scene.stand.expire(&["first".to_owned()]).await;
    load(&mut log, Instant::now() + Duration::from_millis(200)).await;
    assert_eq!(agent.said("delivery is blocked").await["code"], "ExpiredTokenException");
    scene.write("second");
    load(&mut log, Instant::now() + Duration::from_millis(200)).await;
    consumer.receive(&[&log]).await;
    agent.stop().await;
    consumer.look().await;
    assert_exact(&[&log], &consumer, true);
    assert_eq!(scene.stand.access_keys().await, ["first", "second"]);
}
