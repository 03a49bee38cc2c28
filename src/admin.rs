//! The admin server: metrics, health, status. It shows what others keep, and changes nothing.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::budget::Budget;
use crate::config::Config;
use crate::kinesis::{Blocked, Status, Statuses, oldest_unsent};
use crate::metrics::{self, Metrics};

/// Connections at once: a few scrapers and probes. The next ones wait in the backlog.
const MAX_CONNECTIONS: usize = 32;
/// How long a client may take to send its request head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection is served; a scraper comes back.
const CONNECTION_TIMEOUT: Duration = Duration::from_mins(5);
/// What a request head may take.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// A pause after an accept that failed, for instance for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why it cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("admin.listen {address}: {source}; give another address (KINETAIL_ADMIN_LISTEN), or \"off\"")]
pub struct Error {
    address: SocketAddr,
    source: std::io::Error,
}

/// A server that listens.
#[derive(Debug)]
pub struct Admin {
    listener: TcpListener,
    address: SocketAddr,
}

/// What it shows.
#[derive(Debug)]
pub struct View {
    metrics: Arc<Metrics>,
    budget: Arc<Budget>,
    status: watch::Receiver<Statuses>,
    stream: String,
    ready_max_age: Duration,
    started: Instant,
}

impl View {
    /// The view of an agent that starts now.
    pub fn new(config: &Config, metrics: Arc<Metrics>, budget: Arc<Budget>, status: watch::Receiver<Statuses>) -> Self {
        let (stream, ready_max_age) = (config.kinesis.stream.clone(), config.admin.ready_max_age);
        Self { metrics, budget, status, stream, ready_max_age, started: Instant::now() }
    }

    fn metrics(&self) -> Vec<u8> {
        let int = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.metrics.buffer_bytes.set(int(self.budget.used()));
        self.metrics.buffer_capacity_bytes.set(int(self.budget.limit()));
        self.metrics.render()
    }

    /// Why the agent is not ready, if it is not.
    fn not_ready(&self) -> Option<String> {
        let statuses = self.status.borrow();
        for (stream, status) in &*statuses {
            if let Some(blocked) = &status.blocked {
                return Some(format!("stream {stream} is blocked: {}: {}", blocked.code, blocked.way_out));
            }
        }
        let age = oldest_unsent(&statuses)?.elapsed();
        (age > self.ready_max_age).then(|| {
            format!(
                "the oldest unsent event is {} s old, over admin.ready_max_age of {} s",
                age.as_secs(),
                self.ready_max_age.as_secs()
            )
        })
    }

    fn status(&self) -> serde_json::Value {
        let statuses = self.status.borrow().clone();
        let streams: serde_json::Map<_, _> =
            statuses.iter().map(|(name, status)| (name.to_string(), stream(status))).collect();
        let m = &self.metrics;
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_seconds": self.started.elapsed().as_secs(),
            "ready": self.not_ready().is_none(),
            "stream": self.stream,
            "blocked": statuses.values().find_map(|status| status.blocked.as_ref()).map(blocked),
            "oldest_unsent_seconds": age(oldest_unsent(&statuses)),
            "requests_in_flight": statuses.values().map(|status| status.requests_in_flight).sum::<usize>(),
            "streams": streams,
            "buffer": {"bytes": self.budget.used(), "capacity_bytes": self.budget.limit()},
            "ledger": {
                "events": Metrics::total(&m.events),
                "delivered": Metrics::total(&m.user_records),
                "dropped": Metrics::total(&m.dropped_events),
                "in_flight": m.in_flight_events.get(),
            },
            "kinesis": {
                "records": Metrics::total(&m.records),
                "bytes": Metrics::total(&m.bytes),
                "payload_units": Metrics::total(&m.payload_units),
                "requests": Metrics::total(&m.requests),
                "throttled_records": Metrics::total(&m.throttled_records),
            },
        })
    }
}

impl Admin {
    /// Listens; port 0 has the system choose one.
    pub async fn bind(address: SocketAddr) -> Result<Self, Error> {
        let failed = |source| Error { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        tracing::info!(%address, "the admin server listens: /metrics /livez /readyz /status");
        Ok(Self { listener, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until it is dropped.
    pub async fn serve(self, view: View) {
        let mut connections = FuturesUnordered::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                    Ok((socket, _)) => connections.push(timeout(CONNECTION_TIMEOUT, connection(socket, &view))),
                    Err(error) => {
                        tracing::warn!(%error, "the admin server cannot accept a connection");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_) = connections.next() => {}
            }
        }
    }
}

async fn connection(socket: TcpStream, view: &View) {
    let service = service_fn(|request| std::future::ready(Ok::<_, Infallible>(answer(&request, view))));
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(MAX_HEAD_BYTES);
    // A client that breaks off, or says nothing HTTP would understand, is its own affair.
    http.serve_connection(TokioIo::new(socket), service).await.ok();
}

fn answer(request: &Request<Incoming>, view: &View) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
        refused.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    match request.uri().path() {
        "/metrics" => reply(StatusCode::OK, metrics::CONTENT_TYPE, view.metrics()),
        "/livez" => text(StatusCode::OK, "ok\n"),
        "/readyz" => match view.not_ready() {
            None => text(StatusCode::OK, "ok\n"),
            Some(why) => text(StatusCode::SERVICE_UNAVAILABLE, &format!("{why}\n")),
        },
        "/status" => reply(StatusCode::OK, "application/json", format!("{:#}\n", view.status()).into_bytes()),
        "/" => text(StatusCode::OK, "kinetail: /metrics /livez /readyz /status\n"),
        _ => text(StatusCode::NOT_FOUND, "there is /metrics /livez /readyz /status\n"),
    }
}

fn stream(status: &Status) -> serde_json::Value {
    json!({
        "blocked": status.blocked.as_ref().map(blocked),
        "oldest_unsent_seconds": age(status.oldest_unsent),
        "requests_in_flight": status.requests_in_flight,
        "hot_keys": status.hot_keys.iter().map(|hot| json!({
            "partition_key": hot.key,
            "bytes_per_second": hot.bytes_per_second.round(),
            "share_of_stream": hot.share,
        })).collect::<Vec<_>>(),
    })
}

fn blocked(blocked: &Blocked) -> serde_json::Value {
    let since = blocked.since.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs());
    json!({"code": blocked.code, "way_out": blocked.way_out, "since_unix": since})
}

fn age(since: Option<Instant>) -> f64 {
    since.map_or(0.0, |at| at.elapsed().as_secs_f64())
}

fn text(status: StatusCode, body: &str) -> Response<Full<Bytes>> {
    reply(status, "text/plain; charset=utf-8", body.as_bytes().to_vec())
}

fn reply(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(content_type));
    response
}
