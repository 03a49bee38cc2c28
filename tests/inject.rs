//! The injector as the real binary, asked over TLS as an API server asks it. The pods are those of `tests/data/pods.yaml`; patches are applied by a crate that
//! is not ours. What Kubernetes' schema says of the results is checked by the suite of the charts.

#![expect(clippy::unwrap_used, reason = "a panic is how a test's helpers fail")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use kinetail::config::{Config, Document, Layers, value};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Far longer than anything takes on a machine that is busy with other things.
const DEADLINE: Duration = Duration::from_mins(1);
/// The name in the certificate.
const HOST: &str = "kinetail-injector.logging.svc";
/// Of whom the pods speak.
const SETTINGS: &str = "exclude: [kube-system]\nsidecar: {config: {kinesis: {stream: shop, region: eu-west-1}}}\n";

/// A certificate and its key, as PEM, and the certificate for those who trust it.
struct Pair {
    certificate: String,
    key: String,
    der: CertificateDer<'static>,
}

fn pair() -> Pair {
    let made = rcgen::generate_simple_self_signed(vec![HOST.to_owned()]).unwrap();
    Pair { certificate: made.cert.pem(), key: made.key_pair.serialize_pem(), der: made.cert.der().clone() }
}

/// A running injector.
struct Rig {
    directory: tempfile::TempDir,
    child: Running,
    webhook: SocketAddr,
    admin: SocketAddr,
    trusted: CertificateDer<'static>,
}

/// The process, which does not outlast its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Puts a certificate where the kubelet puts it: behind a link to a directory, which is swapped.
fn mount(directory: &Path, name: &str, pair: &Pair) {
    let data = directory.join(name);
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("tls.crt"), &pair.certificate).unwrap();
    std::fs::write(data.join("tls.key"), &pair.key).unwrap();
    symlink(name, directory.join("..tmp")).unwrap();
    std::fs::rename(directory.join("..tmp"), directory.join("..data")).unwrap();
    for file in ["tls.crt", "tls.key"] {
        symlink(format!("..data/{file}"), directory.join(file)).ok();
    }
}

impl Rig {
    fn start(settings: &str, more: &[&str]) -> Self {
        let (directory, pair) = (tempfile::tempdir().unwrap(), pair());
        mount(directory.path(), "..1", &pair);
        let at = |name: &str| directory.path().join(name).display().to_string();
        std::fs::write(at("injector.yaml"), settings).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_kinetail"))
            .args(["inject", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--reload", "1"])
            .args(["--tls-cert", &at("tls.crt"), "--tls-key", &at("tls.key"), "--config", &at("injector.yaml")])
            .args(more)
            .env_clear()
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = Running(child.unwrap());
        let mut lines = BufReader::new(child.0.stderr.take().unwrap()).lines().map_while(Result::ok);
        let line = lines.find(|line| line.contains("the injector listens")).expect("it says where it listens");
        std::thread::spawn(move || lines.for_each(drop));
        let address = |name: &str| {
            let (_, rest) = line.split_once(name).unwrap();
            rest.split_whitespace().next().unwrap().trim_matches('"').parse().unwrap()
        };
        let (webhook, admin) = (address("webhook="), address("admin="));
        Self { directory, child, webhook, admin, trusted: pair.der }
    }

    async fn tls(&self, trusted: &CertificateDer<'static>) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(trusted.clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let socket = TcpStream::connect(self.webhook).await?;
        TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(HOST).unwrap(), socket).await
    }

    async fn client(&self) -> Client {
        Client::over(self.tls(&self.trusted).await.unwrap()).await
    }

    async fn metrics(&self) -> String {
        let mut client = Client::over(TcpStream::connect(self.admin).await.unwrap()).await;
        let (status, text) = client.get("/metrics").await;
        assert_eq!(status, StatusCode::OK);
        text
    }

    fn terminate(&self) {
        let pid = rustix::process::Pid::from_child(&self.child.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    async fn ended(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.0.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < DEADLINE, "it does not end");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A connection that is kept.
struct Client {
    sender: SendRequest<Full<Bytes>>,
    _connection: JoinSet<()>,
}

impl Client {
    async fn over(io: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static) -> Self {
        let (sender, connection) = handshake(TokioIo::new(io)).await.unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { drop(connection.await) });
        Self { sender, _connection: tasks }
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> (StatusCode, String) {
        timeout(DEADLINE, async {
            self.sender.ready().await.unwrap();
            let response = self.sender.send_request(request).await.unwrap();
            let status = response.status();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            (status, String::from_utf8(body.to_vec()).unwrap())
        })
        .await
        .expect("there is an answer")
    }

    async fn get(&mut self, path: &str) -> (StatusCode, String) {
        self.send(Request::get(path).body(Full::default()).unwrap()).await
    }

    async fn post(&mut self, body: impl Into<Bytes>) -> (StatusCode, String) {
        let request = Request::post("/mutate?timeout=5s").header("content-type", "application/json");
        self.send(request.body(Full::new(body.into())).unwrap()).await
    }

    /// The answer to a review of a pod.
    async fn review(&mut self, review: &Value) -> Value {
        let (status, text) = self.post(review.to_string()).await;
        assert_eq!(status, StatusCode::OK, "{text}");
        let answer: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&answer["apiVersion"], &answer["kind"]),
            (&json!("admission.k8s.io/v1"), &json!("AdmissionReview"))
        );
        let response = answer["response"].clone();
        assert_eq!((&response["uid"], &response["allowed"]), (&review["request"]["uid"], &json!(true)));
        response
    }
}

fn review(pod: &Value) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "namespace": "shop",
            "operation": "CREATE",
            "userInfo": {"username": "system:node:a", "groups": ["system:nodes"]},
            "object": pod,
            "oldObject": null,
            "dryRun": false,
            "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
        },
    })
}

/// A pod that asks for a sidecar and nothing else.
fn asking() -> Value {
    json!({
        "metadata": {"name": "a", "annotations": {"kinetail.dev/inject": "true"}},
        "spec": {"containers": [{"name": "app", "image": "app"}]},
    })
}

fn outcome(response: &Value) -> &str {
    response["auditAnnotations"]["outcome"].as_str().unwrap()
}

fn warnings(response: &Value) -> Vec<&str> {
    response["warnings"].as_array().into_iter().flatten().map(|warning| warning.as_str().unwrap()).collect()
}

/// The pod as the API server makes it of an answer.
fn patched(pod: &Value, response: &Value) -> Value {
    let mut pod = pod.clone();
    if let Some(patch) = response["patch"].as_str() {
        assert_eq!(response["patchType"], json!("JSONPatch"));
        let patch = base64_simd::STANDARD.decode_to_vec(patch).unwrap();
        let patch: json_patch::Patch = serde_json::from_slice(&patch).unwrap();
        json_patch::patch(&mut pod, &patch).unwrap();
    }
    pod
}

struct Case {
    name: String,
    pod: Value,
    outcome: String,
    warning: String,
}

fn cases(is_native: bool) -> Vec<Case> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/pods.yaml");
    let all = value(&Document::read(path.as_ref()).unwrap()).unwrap();
    let case = |case: &Value| {
        let told = case.get("plain").filter(|_| !is_native).unwrap_or(case);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (outcome, warning) = (text(&told["outcome"]), text(&told["warning"]));
        Case { name: text(&case["name"]), pod: grown(case), outcome, warning }
    };
    all.as_array().unwrap().iter().map(case).collect()
}

fn grown(case: &Value) -> Value {
    let mut pod = case["pod"].clone();
    let Some(grow) = case.get("grow") else { return pod };
    let number = |name: &str| usize::try_from(grow[name].as_u64().unwrap()).unwrap();
    pod["metadata"]["annotations"]["large"] = json!("x".repeat(number("annotation")));
    let containers = pod["spec"]["containers"].as_array_mut().unwrap();
    let more = 1..number("containers");
    containers.extend(
        more.map(
            |n| json!({"name": format!("app-{n}"), "image": "app", "env": [{"name": "N", "value": n.to_string()}]}),
        ),
    );
    pod
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn names(items: &[Value]) -> Vec<&str> {
    items.iter().map(|item| item["name"].as_str().unwrap()).collect()
}

/// What is there before is there after, names are unique, mounts have volumes, and agents take what they are told.
fn is_sound(case: &str, before: &Value, after: &Value) {
    let spec = &after["spec"];
    let volumes: BTreeSet<&str> = names(list(spec, "volumes")).into_iter().collect();
    assert_eq!(volumes.len(), list(spec, "volumes").len(), "{case}");
    let containers: Vec<&Value> = list(spec, "initContainers").iter().chain(list(spec, "containers")).collect();
    let unique: BTreeSet<&str> = containers.iter().map(|container| container["name"].as_str().unwrap()).collect();
    assert_eq!(unique.len(), containers.len(), "{case}");
    for container in &containers {
        for mount in list(container, "volumeMounts") {
            assert!(volumes.contains(mount["name"].as_str().unwrap()), "{case}: {mount}");
        }
        for variable in list(container, "env").iter().filter(|variable| variable["name"] == json!("KINETAIL_CONFIG")) {
            let text = variable["value"].as_str().unwrap().to_owned();
            let file = Some(Document { name: case.to_owned(), text });
            let load = if container["command"].is_array() { Config::load_exec } else { Config::load };
            load(&Layers { file, environment: BTreeMap::new(), flags: BTreeMap::new() })
                .unwrap_or_else(|problems| panic!("{case}: {problems}"));
        }
    }
    for list_name in ["containers", "initContainers", "volumes"] {
        let there = names(list(spec, list_name));
        let was = names(list(&before["spec"], list_name));
        assert_eq!(there.iter().filter(|name| was.contains(name)).copied().collect::<Vec<_>>(), was, "{case}");
    }
}

async fn go_through(kubernetes: &str, is_native: bool) {
    let rig = Rig::start(&format!("{SETTINGS}kubernetes: {kubernetes}\n"), &[]);
    let mut client = rig.client().await;
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    let cases = cases(is_native);
    assert!(cases.len() >= 20);
    for Case { name, pod, outcome: wanted, warning } in cases {
        let response = client.review(&review(&pod)).await;
        *counts.entry(wanted.clone()).or_default() += 1;
        assert_eq!(outcome(&response), wanted, "{name}: {response}");
        let warnings = warnings(&response);
        assert!(warnings.iter().all(|warning| warning.starts_with("kinetail: ") && warning.chars().count() <= 256));
        let is_told =
            warnings.iter().any(|told| told.contains(&warning)) || (warning.is_empty() && warnings.is_empty());
        assert!(is_told, "{name}: {warnings:?}");
        let after = patched(&pod, &response);
        assert_eq!(after != pod, wanted == "injected", "{name}");
        if wanted == "injected" {
            is_sound(&name, &pod, &after);
            let again = client.review(&review(&after)).await;
            *counts.entry("already_injected".to_owned()).or_default() += 1;
            assert_eq!((outcome(&again), again.get("patch")), ("already_injected", None), "{name}");
        }
    }
    let metrics = rig.metrics().await;
    for (outcome, count) in counts {
        let line = format!("kinetail_injector_requests_total{{outcome=\"{outcome}\"}} {count}\n");
        assert!(metrics.contains(&line), "{line} is not in\n{metrics}");
    }
}

#[tokio::test]
async fn pods_get_what_they_ask_for() {
    go_through("v1.33.0", true).await;
}

#[tokio::test]
async fn pods_get_plain_containers_where_there_are_no_native_sidecars() {
    go_through("v1.28.9", false).await;
}

#[tokio::test]
async fn a_sidecar_stands_where_it_should() {
    let rig = Rig::start(&format!("{SETTINGS}kubernetes: v1.33.0\n"), &[]);
    let mut client = rig.client().await;
    let after = async |client: &mut Client, name: &str| {
        let case = cases(true).into_iter().find(|case| case.name == name).unwrap();
        let response = client.review(&review(&case.pod)).await;
        patched(&case.pod, &response)
    };
    let mesh = after(&mut client, "native sidecars of others").await;
    assert_eq!(names(list(&mesh["spec"], "initContainers")), ["mesh-init", "mesh-proxy", "kinetail", "migrate"]);
    let init = after(&mut client, "init containers").await;
    assert_eq!(names(list(&init["spec"], "initContainers")), ["kinetail", "migrate", "wait"]);
    let sidecar = &init["spec"]["initContainers"][0];
    assert_eq!(
        (&sidecar["restartPolicy"], &sidecar["securityContext"]["runAsUser"]),
        (&json!("Always"), &json!(65532))
    );
    assert_eq!(init["spec"]["securityContext"]["fsGroup"], json!(65532));
    // The service's 30 s, the agent's 25, and 5 for the checkpoint.
    assert_eq!(init["spec"]["terminationGracePeriodSeconds"], json!(60));
    let lasting = after(&mut client, "a volume that lasts").await;
    assert_eq!(lasting["spec"].get("securityContext"), None);
    let restricted = after(&mut client, "security contexts").await;
    assert_eq!(restricted["spec"]["securityContext"]["fsGroup"], json!(10001));
    assert_eq!(restricted["spec"]["initContainers"][0]["securityContext"]["runAsUser"], json!(10001));
    let stdout = after(&mut client, "stdout").await;
    let app = &stdout["spec"]["containers"][0];
    assert_eq!(app["command"], json!(["/opt/kinetail/kinetail", "exec", "--", "python", "-m", "app"]));
    assert_eq!((&app["args"], &app["env"][0]), (&json!(["--verbose"]), &json!({"name": "POD_NAME", "value": "own"})));
    assert_eq!(stdout["spec"]["initContainers"][0]["args"], json!(["install", "/opt/kinetail/kinetail"]));
    assert_eq!(list(&stdout["spec"], "containers").len(), 1);
    let taken = after(&mut client, "names that are taken, and Prometheus' annotations").await;
    assert_eq!(taken["metadata"]["annotations"]["prometheus.io/port"], json!("80"));
    assert_eq!(taken["spec"]["initContainers"][0]["ports"][0]["containerPort"], json!(9465));
    let host = after(&mut client, "in the node's network").await;
    let sidecar = &host["spec"]["initContainers"][0];
    assert_eq!((sidecar.get("ports"), sidecar.get("livenessProbe")), (None, None));
    let elsewhere = after(&mut client, "a ConfigMap").await;
    let sidecar = &elsewhere["spec"]["initContainers"][0];
    assert_eq!(sidecar["args"], json!(["run", "--config", "/etc/kinetail/kinetail.yaml"]));
    let listen =
        list(sidecar, "env").iter().find(|variable| variable["name"] == json!("KINETAIL_ADMIN_LISTEN")).unwrap();
    assert_eq!(listen["value"], json!("0.0.0.0:9465"));
}

#[tokio::test]
async fn only_pods_that_are_made_are_its_business() {
    let rig = Rig::start(SETTINGS, &[]);
    let mut client = rig.client().await;
    let pod = asking();
    let with = |changes: &[(&str, Value)]| {
        let mut review = review(&pod);
        for (key, value) in changes {
            review["request"][*key] = value.clone();
        }
        review
    };
    for (changes, wanted) in [
        (vec![("operation", json!("UPDATE"))], "ignored"),
        (vec![("operation", json!("DELETE")), ("object", json!(null))], "ignored"),
        (vec![("operation", json!("CONNECT"))], "ignored"),
        (vec![("subResource", json!("ephemeralcontainers"))], "ignored"),
        (vec![("kind", json!({"group": "apps", "version": "v1", "kind": "Deployment"}))], "ignored"),
        (vec![("namespace", json!("kube-system"))], "excluded"),
        (vec![("dryRun", json!(true))], "injected"),
        (vec![("object", json!(null))], "not_asked"),
        (vec![("object", json!([1]))], "not_asked"),
    ] {
        let response = client.review(&with(&changes)).await;
        assert_eq!(outcome(&response), wanted, "{changes:?}");
        assert_eq!(response.get("patch").is_some(), wanted == "injected");
    }
    let rig = Rig::start(&format!("policy: all\n{SETTINGS}"), &[]);
    let mut client = rig.client().await;
    let silent = json!({"metadata": {"name": "a"}, "spec": {"containers": [{"name": "app"}]}});
    assert_eq!(outcome(&client.review(&review(&silent)).await), "injected");
}

#[tokio::test]
async fn what_is_no_review_is_refused_and_the_next_one_answered() {
    let rig = Rig::start(SETTINGS, &[]);
    let mut client = rig.client().await;
    let mut old = review(&asking());
    old["apiVersion"] = json!("admission.k8s.io/v1beta1");
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    for (body, part) in [
        (String::new(), "no AdmissionReview"),
        ("{".to_owned(), "no AdmissionReview"),
        ("[]".to_owned(), "no AdmissionReview"),
        (deep, "no AdmissionReview"),
        ("{\"apiVersion\": \"v1\", \"kind\": \"Pod\"}".to_owned(), "what is answered is"),
        (old.to_string(), "admission.k8s.io/v1beta1"),
        ("{\"apiVersion\": \"admission.k8s.io/v1\", \"kind\": \"AdmissionReview\"}".to_owned(), "has no request"),
        ("{\"apiVersion\": \"admission.k8s.io/v1\", \"kind\": \"AdmissionReview\", \"request\": {\"uid\": \"\", \"operation\": \"CREATE\"}}".to_owned(), "has no uid"),
    ] {
        let (status, text) = client.post(body.clone()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{text}");
        assert!(text.contains(part), "{text}");
    }
    let (status, _) = client.send(Request::post("/mutate").body(Full::new(Bytes::from("{}"))).unwrap()).await;
    assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    for (path, wanted) in
        [("/mutate", 405), ("/metrics", 404), ("/healthz", 200), ("/livez", 200), ("/readyz", 200), ("/x", 404)]
    {
        assert_eq!(client.get(path).await.0.as_u16(), wanted, "{path}");
    }
    let (status, _) = client.send(Request::post("/healthz").body(Full::default()).unwrap()).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(outcome(&client.review(&review(&asking())).await), "injected");
    // What is too large is not read, however much of it comes.
    let mut stream = rig.tls(&rig.trusted).await.unwrap();
    let length = 3 * 1024 * 1024 + 1;
    let head = format!(
        "POST /mutate HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    timeout(DEADLINE, stream.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
    let mut client = rig.client().await;
    let objects = format!("[{}{{}}]", "{},".repeat(200_000));
    assert_eq!(client.post(objects).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(outcome(&client.review(&review(&asking())).await), "injected");
    let metrics = rig.metrics().await;
    for (outcome, count) in [("malformed", 9), ("too_large", 2), ("injected", 2)] {
        let line = format!("kinetail_injector_requests_total{{outcome=\"{outcome}\"}} {count}\n");
        assert!(metrics.contains(&line), "{line} is not in\n{metrics}");
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for_without_end() {
    let rig = Rig::start(SETTINGS, &[]);
    let mut stream = rig.tls(&rig.trusted).await.unwrap();
    let head = format!(
        "POST /mutate HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{{"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    timeout(DEADLINE, stream.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
    // Who says nothing at all is closed, too; and others are served meanwhile.
    let mut silent = rig.tls(&rig.trusted).await.unwrap();
    let mut client = rig.client().await;
    assert_eq!(outcome(&client.review(&review(&asking())).await), "injected");
    let read = timeout(DEADLINE, silent.read(&mut answer)).await.unwrap();
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
}

#[tokio::test]
async fn certificates_are_replaced_without_a_restart() {
    let rig = Rig::start(SETTINGS, &[]);
    let mut kept = rig.client().await;
    let next = pair();
    assert!(rig.tls(&next.der).await.is_err());
    mount(rig.directory.path(), "..2", &next);
    let start = Instant::now();
    while rig.tls(&next.der).await.is_err() {
        assert!(start.elapsed() < DEADLINE, "the new certificate is not used");
        sleep(Duration::from_millis(50)).await;
    }
    assert!(rig.tls(&rig.trusted).await.is_err(), "the old certificate is still used");
    // A connection that is there goes on.
    assert_eq!(outcome(&kept.review(&review(&asking())).await), "injected");
    // What is no certificate changes nothing.
    std::fs::remove_file(rig.directory.path().join("..2/tls.key")).unwrap();
    let start = Instant::now();
    while !rig.metrics().await.contains("reloads_total{outcome=\"failed\"} 1\n") {
        assert!(start.elapsed() < DEADLINE, "the failure is not counted");
        sleep(Duration::from_millis(50)).await;
    }
    assert!(rig.tls(&next.der).await.is_ok());
    let metrics = rig.metrics().await;
    assert!(metrics.contains("reloads_total{outcome=\"loaded\"} 1\n"), "{metrics}");
}

#[tokio::test]
async fn a_stop_answers_whoever_comes_in_time() {
    let mut rig = Rig::start(SETTINGS, &["--drain", "2"]);
    let (mut client, mut other) = (rig.client().await, rig.client().await);
    assert_eq!(client.get("/readyz").await.0, StatusCode::OK);
    rig.terminate();
    let start = Instant::now();
    loop {
        let mut admin = Client::over(TcpStream::connect(rig.admin).await.unwrap()).await;
        if admin.get("/readyz").await.0 == StatusCode::SERVICE_UNAVAILABLE {
            break;
        }
        assert!(start.elapsed() < DEADLINE, "it stays ready");
    }
    // Who is connected, and who comes now.
    assert_eq!(outcome(&other.review(&review(&asking())).await), "injected");
    assert_eq!(outcome(&rig.client().await.review(&review(&asking())).await), "injected");
    assert_eq!(rig.ended().await.code(), Some(0));
    assert!(TcpStream::connect(rig.webhook).await.is_err());
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let mut rig = Rig::start(SETTINGS, &["--drain", "600"]);
    rig.terminate();
    let mut admin = Client::over(TcpStream::connect(rig.admin).await.unwrap()).await;
    while admin.get("/readyz").await.0 == StatusCode::OK {}
    rig.terminate();
    assert_eq!(rig.ended().await.code(), Some(1));
}

#[test]
fn what_cannot_start_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).display().to_string();
    let pair = pair();
    std::fs::write(at("tls.crt"), &pair.certificate).unwrap();
    std::fs::write(at("tls.key"), "no key").unwrap();
    std::fs::write(at("wrong.yaml"), "polici: all\n").unwrap();
    std::fs::write(at("right.yaml"), SETTINGS).unwrap();
    let config = |name: &str| {
        ["--tls-cert".to_owned(), at("tls.crt"), "--tls-key".to_owned(), at("tls.key"), "--config".to_owned(), at(name)]
    };
    for (arguments, code, part) in [
        (vec![], 2, "--tls-cert"),
        (config("wrong.yaml").to_vec(), 2, "unknown field `polici`"),
        (config("none.yaml").to_vec(), 2, "cannot be read"),
        (config("right.yaml").to_vec(), 1, "tls.key"),
    ] {
        let output =
            Command::new(env!("CARGO_BIN_EXE_kinetail")).arg("inject").args(&arguments).env_clear().output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(text.contains(part), "{text}");
    }
}

/// A figure, and no promise: how long answers take, one after another.
#[tokio::test]
async fn answers_come_in_time() {
    let rig = Rig::start(&format!("{SETTINGS}kubernetes: v1.33.0\n"), &[]);
    let mut client = rig.client().await;
    let pods: Vec<Value> =
        cases(true).into_iter().filter(|case| !case.name.contains("megabyte")).map(|case| review(&case.pod)).collect();
    let mut took = Vec::new();
    for review in pods.iter().cycle().take(1000) {
        let start = Instant::now();
        client.review(review).await;
        took.push(start.elapsed());
    }
    took.sort_unstable();
    println!("1000 reviews: p50 {:?}, p99 {:?}, the slowest {:?}", took[500], took[990], took[999]);
    assert!(took[500] < Duration::from_secs(1), "{:?}", took[500]);
}
