//! Parsers and transforms, each through the line by its settings and each for a second: how many megabytes of logs a processor does in a second, beside
//! JSON. No test, and no measure of the whole, which `bench/` takes.
//!
//! `cargo bench --bench parsers` runs it; a word after it picks those that have it in their names.

use std::hint::black_box;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use kinetail::config::{Document, Layers, SourceConfig};
use kinetail::line::{LineBuilder, Lines};
use kinetail::source::file::Group;
use serde_json::{Value, json};
use tokio::time::Instant;

/// How long each is timed.
const TIME: Duration = Duration::from_secs(1);
/// About what one read brings.
const CHUNK_BYTES: usize = 128 * 1024;
const MAX_EVENT: usize = 1 << 20;
const READ_AT: u64 = 1_795_891_200_123_456_789;

const JSON: &str = r#"{"time":"2026-11-28T18:40:00.123Z","level":"info","msg":"request served","method":"GET","path":"/api/v1/orders/4711","status":200,"took":0.0123,"user":"u-1234567","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736"}"#;
const NGINX: &str = r#"203.0.113.7 - alice [28/Nov/2026:18:40:00 +0000] "GET /api/v1/orders/4711?expand=items HTTP/1.1" 200 1532 "https://shop.example.com/cart" "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36""#;
const NGINX_PATTERN: &str = r#"^(?P<remote_addr>\S+) \S+ (?P<remote_user>\S+) \[(?P<time_local>[^\]]+)\] "(?P<method>\S+) (?P<path>\S+) (?P<protocol>[^"]+)" (?P<status>\d+) (?P<body_bytes_sent>\d+) "(?P<http_referer>[^"]*)" "(?P<http_user_agent>[^"]*)"$"#;

/// What is timed: a name, the settings, and a line.
type Timed = (&'static str, Value, &'static str);

/// JSON and lines of nginx, in several ways.
fn ways() -> Vec<Timed> {
    let grok = r#"%{IPORHOST:client} %{DATA} %{USER:user} \[%{HTTPDATE:time}\] "%{WORD:method} %{NOTSPACE:path} %{NOTSPACE:protocol}" %{INT:status:int} %{INT:bytes:int} "%{DATA:referer}" "%{DATA:agent}""#;
    let transforms = json!([
        {"drop": "status < 400 and path matches \"^/health\""},
        {"metric": {"name": "requests", "labels": {"status": "{status}"}}},
        {"set": {"service": "web"}},
    ]);
    vec![
        ("raw", json!({"parse": "raw"}), NGINX),
        ("raw, as an object", json!({"parse": "raw", "add": {"offset": true}}), NGINX),
        ("json", json!({"parse": "json"}), JSON),
        ("json, with a name", json!({"parse": "json", "add": {"id": true}}), JSON),
        ("json, by its fields", json!({"parse": ["json", "raw"]}), JSON),
        ("json, with time and level", json!({"parse": "json", "timestamp": {}, "level": {}}), JSON),
        (
            "json in a field",
            json!({"parse": {"field": "log", "as": "json"}}),
            r#"{"log":"{\"level\":\"info\",\"msg\":\"request served\",\"path\":\"/api/v1/orders/4711\",\"status\":200,\"took\":0.0123}\n","stream":"stdout"}"#,
        ),
        ("nginx", json!({"parse": "nginx"}), NGINX),
        ("nginx, with a time", json!({"parse": "nginx", "timestamp": {}}), NGINX),
        ("nginx, with names", json!({"parse": "nginx", "timestamp": {}, "names": "otel"}), NGINX),
        ("nginx, with transforms", json!({"parse": "nginx", "transforms": transforms}), NGINX),
        (
            "nginx, redacted",
            json!({"parse": "nginx", "transforms": [{"redact": {"presets": ["email", "bearer", "card", "ip"]}}]}),
            NGINX,
        ),
        (
            "regex",
            json!({"parse": {"as": "regex", "pattern": NGINX_PATTERN, "types": {"status": "int", "body_bytes_sent": "int"}}}),
            NGINX,
        ),
        ("grok", json!({"parse": {"as": "grok", "pattern": grok}}), NGINX),
        ("apache", json!({"parse": "apache"}), NGINX),
    ]
}

/// The other parsers, each with a line of its own.
fn others() -> Vec<Timed> {
    vec![
        (
            "nginx_error",
            json!({"parse": "nginx_error"}),
            r#"2022/04/15 08:16:13 [error] 7164#7164: *20 connect() failed (113: No route to host) while connecting to upstream, client: 10.244.0.0, server: test.local, request: "GET / HTTP/2.0", upstream: "http://127.0.0.1:80/""#,
        ),
        (
            "logfmt",
            json!({"parse": "logfmt"}),
            r#"time=2026-11-28T18:40:00.123Z level=info msg="request served" method=GET path=/api/v1/orders/4711 status=200 took=12.3ms user=u-1234567"#,
        ),
        (
            "key_value",
            json!({"parse": "key_value"}),
            r"time=2026-11-28T18:40:00.123Z level=info method=GET path=/api/v1/orders/4711 status=200 took=12.3ms user=u-1234567",
        ),
        (
            "ltsv",
            json!({"parse": "ltsv"}),
            "time:28/Nov/2026:18:40:00 +0000\thost:203.0.113.7\treq:GET /api/v1/orders/4711 HTTP/1.1\tstatus:200\tsize:1532\tua:curl/8.1",
        ),
        (
            "csv",
            json!({"parse": {"as": "csv", "columns": ["time", "level", "host", "path", "status", "took"]}}),
            r#"2026-11-28T18:40:00.123Z,info,web-1,"/api/v1/orders/4711",200,0.0123"#,
        ),
        (
            "syslog",
            json!({"parse": "syslog"}),
            r#"<165>1 2026-11-28T18:40:00.003Z web-1.example.com app 1234 ID47 [req@32473 id="4711" user="alice"] request served in 12 ms"#,
        ),
        (
            "klog",
            json!({"parse": "klog"}),
            "I1128 18:40:00.123456       1 controller.go:123] reconciled the object default/orders in 12 ms",
        ),
        (
            "cef",
            json!({"parse": "cef"}),
            "CEF:0|Security|threatmanager|1.0|100|worm stopped|10|src=10.0.0.1 dst=2.1.2.2 spt=1232 msg=a worm was stopped",
        ),
        (
            "log4j",
            json!({"parse": "log4j"}),
            "2026-11-28 18:40:00,123 INFO  [http-nio-8080-exec-1] com.example.shop.OrderController - order 4711 was created in 12 ms",
        ),
        (
            "haproxy",
            json!({"parse": "haproxy"}),
            r#"Nov 28 18:40:00 lb haproxy[14389]: 10.0.1.2:33317 [28/Nov/2026:18:40:00.655] http-in static/srv1 10/0/30/69/109 200 2750 - - ---- 1/1/1/1/0 0/0 {1wt.eu} {} "GET /index.html HTTP/1.1""#,
        ),
        (
            "envoy",
            json!({"parse": "envoy"}),
            r#"[2026-11-28T18:40:00.310Z] "POST /api/v1/locations HTTP/2" 204 - 154 0 226 100 "10.0.35.28" "nsq2http" "cc21d9b0-cf5c-432b-8c7e-98aeb7988cd2" "locations" "tcp://10.0.2.1:80""#,
        ),
        (
            "alb",
            json!({"parse": "alb"}),
            r#"http 2026-11-28T18:40:00.216357Z app/my-lb/50dc6c495c0c9188 192.168.131.39:2817 10.0.0.1:80 0.000 0.001 0.000 200 200 34 366 "GET http://www.example.com:80/ HTTP/1.1" "curl/7.46.0" - - arn:aws:elasticloadbalancing:us-east-2:123456789012:targetgroup/my-targets/73e2d6bc24d8a067 "Root=1-58337262-36d228ad5d99923122bbe354" "-" "-" 0 2026-11-28T18:39:59.364000Z "forward" "-" "-" "10.0.0.1:80" "200" "-" "-""#,
        ),
    ]
}

fn group(settings: &Value) -> Group {
    let text = json!({ "sources": [settings] }).to_string();
    let file = Some(Document { name: "bench".to_owned(), text });
    let sources = SourceConfig::load_all(&Layers { file, ..Layers::default() });
    Group::new(&sources.unwrap_or_else(|problems| panic!("{problems}"))[0], "here")
}

/// Megabytes of lines a second, and nanoseconds a line.
fn rate(settings: &Value, line: &str) -> (f64, f64) {
    let group = group(settings);
    let added = group.added_with_id(group.added("/bench.log"), 1);
    let mut builder = LineBuilder::new(Arc::clone(&group.line), added, "bench".to_owned(), 0, 0);
    let count = CHUNK_BYTES / (line.len() + 1);
    let chunk = format!("{line}\n").repeat(count);
    let (mut lines, mut offset, mut rounds) = (Lines::default(), 0, 0_u32);
    lines.shaping.read_at = READ_AT;
    let mut round = || {
        let mut at = 0;
        while at < chunk.len() {
            at += builder.advance(&chunk.as_bytes()[at..], offset + at as u64, MAX_EVENT, Instant::now(), &mut lines);
            assert_eq!(lines.counts.parse_errors, 0, "{settings}: {line}");
            black_box(&lines.rendered);
            lines.events.clear();
            lines.rendered.clear();
            lines.unused.clear();
        }
        offset += chunk.len() as u64;
    };
    round();
    let (began, spent) = (Instant::now(), cpu_time());
    while began.elapsed() < TIME {
        round();
        rounds += 1;
    }
    let took = cpu_time().saturating_sub(spent).as_secs_f64() / f64::from(rounds);
    #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^53")]
    let (bytes, lines) = (chunk.len() as f64, count as f64);
    (bytes / took / 1e6, took * 1e9 / lines)
}

/// What this thread has had of a processor: others that are busy do not count. It is up to date within a tick.
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("it is Linux, with its statistics");
    let nanos = text.split_whitespace().next().and_then(|field| field.parse().ok());
    Duration::from_nanos(nanos.expect("the first field is a time"))
}

fn main() {
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let mut stdout = std::io::stdout().lock();
    let json = rate(&json!({"parse": "json"}), JSON).0;
    // A reader that is gone wants no more of it.
    writeln!(stdout, "| | MB/s | ns/line | of JSON's |\n| --- | --- | --- | --- |").ok();
    for (name, settings, line) in ways().into_iter().chain(others()) {
        if wanted.as_ref().is_none_or(|wanted| name.contains(wanted.as_str())) {
            let (rate, each) = rate(&settings, line);
            writeln!(stdout, "| {name} | {rate:.0} | {each:.0} | {:.2} |", rate / json).ok();
        }
    }
}
