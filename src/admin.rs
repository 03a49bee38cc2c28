//! The admin server: metrics, health, status, and the page for people. It shows what others keep, and changes nothing; the one thing that it can
//! be asked for, from this machine alone, is the end.

pub mod history;
pub mod judgement;
mod page;
pub mod shown;
mod view;
pub mod words;

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, ORIGIN,
    REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use crate::log::recent::Problems;
use crate::metrics::{self, openmetrics};
use history::INTERVAL;
pub use view::View;

/// Connections at once: a few scrapers and probes. The next ones wait in the backlog.
const MAX_CONNECTIONS: usize = 32;
/// How long a client may take to send its request head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection is served; a scraper comes back.
const CONNECTION_TIMEOUT: Duration = Duration::from_mins(5);
/// What a request head may take.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// The policy of everything but the page, none of which is a document.
const NOTHING: &str = "default-src 'none'; frame-ancestors 'none'";
/// What there is.
const PATHS: &str = "/ /metrics /livez /readyz /startupz /status";
/// Where the end is asked for.
const QUIT: &str = "/-/quit";
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
    problems: Problems,
    quit: Arc<Notify>,
}

impl Admin {
    /// Listens; port 0 has the system choose one.
    pub async fn bind(address: SocketAddr) -> Result<Self, Error> {
        let failed = |source| Error { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        tracing::info!(%address, "the admin server listens: {PATHS}");
        Ok(Self { listener, address, problems: Problems::default(), quit: Arc::default() })
    }

    /// The same with what the log warns of on its page.
    #[must_use]
    pub fn with_problems(self, problems: Problems) -> Self {
        Self { problems, ..self }
    }

    /// Notified when somebody asks for the end.
    pub fn quit(&self) -> Arc<Notify> {
        Arc::clone(&self.quit)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until it is dropped.
    pub async fn serve(self, view: View) {
        let view = view.with_problems(self.problems);
        let mut connections = FuturesUnordered::new();
        let mut beats = interval(view.beat_interval);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut sample_due = Instant::now();
        loop {
            tokio::select! {
                accepted = self.listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                    Ok((socket, peer)) => {
                        let client = Client { address: peer.ip(), quit: &self.quit };
                        connections.push(timeout(CONNECTION_TIMEOUT, connection(socket, client, &view)));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the admin server cannot accept a connection");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_) = connections.next() => {}
                _ = beats.tick() => {
                    view.beat();
                    let now = Instant::now();
                    if sample_due <= now {
                        // From when it was due, so that samples keep their distance however late one is.
                        sample_due = if now < sample_due + INTERVAL { sample_due } else { now } + INTERVAL;
                        view.sample();
                    }
                }
            }
        }
    }
}

/// Who asks, and what it can ask for beside the view.
#[derive(Debug, Clone, Copy)]
struct Client<'a> {
    address: IpAddr,
    quit: &'a Notify,
}

async fn connection(socket: TcpStream, client: Client<'_>, view: &View) {
    let service = service_fn(|request| std::future::ready(Ok::<_, Infallible>(answer(&request, client, view))));
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(MAX_HEAD_BYTES);
    // A client that breaks off, or says nothing HTTP would understand, is its own affair.
    http.serve_connection(TokioIo::new(socket), service).await.ok();
}

fn answer(request: &Request<Incoming>, client: Client<'_>, view: &View) -> Response<Full<Bytes>> {
    if request.uri().path() == QUIT {
        return quit(request, client);
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let refused = text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
        return with(refused, ALLOW, "GET, HEAD");
    }
    match request.uri().path() {
        "/" => with(
            reply(
                StatusCode::OK,
                "text/html; charset=utf-8",
                view.show(|shown, history| page::render(&shown, history)),
            ),
            CONTENT_SECURITY_POLICY,
            &page::POLICY,
        ),
        "/metrics" => scrape(request, view),
        "/livez" => health(view.not_live()),
        "/readyz" => health(view.not_ready()),
        "/startupz" => health(view.not_started().map(str::to_owned)),
        "/status" => {
            let with_history =
                request.uri().query().is_some_and(|query| query.split('&').any(|part| part == "history"));
            reply(StatusCode::OK, "application/json", view.status(with_history))
        }
        _ => text(StatusCode::NOT_FOUND, &format!("there is {PATHS}\n")),
    }
}

/// The end, for whoever shares the network of this pod or task. A page that somebody looks at on this machine could ask for it as well, but its
/// browser says whose page it is.
fn quit(request: &Request<Incoming>, client: Client<'_>) -> Response<Full<Bytes>> {
    if *request.method() != Method::POST {
        return with(text(StatusCode::METHOD_NOT_ALLOWED, "only POST\n"), ALLOW, "POST");
    }
    if !client.address.to_canonical().is_loopback() || request.headers().contains_key(ORIGIN) {
        return text(StatusCode::FORBIDDEN, "only from this pod, task or machine, and not from a browser\n");
    }
    tracing::info!("the admin server was asked to quit");
    client.quit.notify_one();
    text(StatusCode::OK, "stopping: what is there is sent, then kinetail ends\n")
}

/// The metrics, in the format that is asked for.
fn scrape(request: &Request<Incoming>, view: &View) -> Response<Full<Bytes>> {
    let accept = request.headers().get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let accept = accept.collect::<Vec<_>>().join(",");
    let gathered = view.gather();
    let answer = if openmetrics::is_accepted(&accept) {
        reply(StatusCode::OK, openmetrics::CONTENT_TYPE, view.metrics.openmetrics(&gathered))
    } else {
        reply(StatusCode::OK, metrics::CONTENT_TYPE, view.metrics.text(&gathered))
    };
    with(answer, VARY, "Accept")
}

/// Yes, or no and why.
fn health(trouble: Option<String>) -> Response<Full<Bytes>> {
    match trouble {
        None => text(StatusCode::OK, "ok\n"),
        Some(why) => text(StatusCode::SERVICE_UNAVAILABLE, &format!("{why}\n")),
    }
}

fn text(status: StatusCode, body: &str) -> Response<Full<Bytes>> {
    reply(status, "text/plain; charset=utf-8", body.as_bytes().to_vec())
}

/// An answer that nobody keeps, guesses about or puts into a frame: it is true for a moment, and holds what others wrote.
fn reply(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = [
        (CONTENT_TYPE, content_type),
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CONTENT_SECURITY_POLICY, NOTHING),
    ];
    for (name, value) in headers {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn with(mut response: Response<Full<Bytes>>, name: HeaderName, value: &str) -> Response<Full<Bytes>> {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
    response
}
