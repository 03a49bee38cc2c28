//! The sockets: the webhook over TLS, health and metrics without. What is answered to a review is not here.

use std::cell::Cell;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::certificates::{CertificatePaths, Certificates};
use super::metrics::{Metrics, Outcome};
use super::review::{self, NoAnswer};
use super::settings::Settings;
use crate::metrics::CONTENT_TYPE as METRICS_TYPE;

/// Where reviews are sent to.
const MUTATE: &str = "/mutate";
/// What a review may have: the API server takes no more from its clients.
const MAX_BODY_BYTES: usize = 3 * 1024 * 1024;
/// Reviews whose bodies are being read, which is what takes memory. They are answered one by one, so that there is one tree at a time.
const MAX_BODIES: usize = 16;
/// Connections at once; the next ones wait in the backlog. API servers keep theirs, and there are a few of these.
const MAX_CONNECTIONS: usize = 256;
/// The same of health and metrics.
const MAX_ADMIN_CONNECTIONS: usize = 32;
/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a new connection may be without a request.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one may be without another. Clients in Go close them after 90 s, and should be the first.
const IDLE_TIMEOUT: Duration = Duration::from_secs(100);
/// How long a body may take to come. An API server waits for 30 s at most, and for 10 unless it is told otherwise.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection is used; after that the client takes another one, with the certificate of then.
const CONNECTION_TIMEOUT: Duration = Duration::from_mins(10);
/// How long requests under way may take after the end of the drain.
const END_TIMEOUT: Duration = Duration::from_secs(10);
/// What a request head may take.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// A pause after an accept that failed, for instance for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What an injector needs.
#[derive(Debug)]
pub struct Options {
    /// Where the webhook listens.
    pub listen: SocketAddr,
    /// Where health and metrics are; none for nowhere.
    pub admin: Option<SocketAddr>,
    /// The certificate and its key.
    pub certificates: CertificatePaths,
    /// How often they are looked at.
    pub reload: Duration,
    /// For how long new connections are taken after the signal: so long it may take until everybody knows that this one ends.
    pub drain: Duration,
    /// Whom it serves, and how.
    pub settings: Settings,
}

/// Why it cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A socket.
    #[error("--{flag} {address}: {source}; give another address")]
    Listen {
        /// The flag.
        flag: &'static str,
        /// What it says.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// The certificate.
    #[error("--tls-cert and --tls-key: {0}")]
    Certificate(String),
}

/// An injector that listens.
#[derive(Debug)]
pub struct Injector {
    webhook: TcpListener,
    admin: Option<TcpListener>,
    certificates: Certificates,
    acceptor: TlsAcceptorOf,
    reload: Duration,
    drain: Duration,
    server: Server,
}

/// The acceptor is no more than its configuration, which shows nothing.
struct TlsAcceptorOf(TlsAcceptor);

impl std::fmt::Debug for TlsAcceptorOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsAcceptor")
    }
}

/// What every connection shares.
#[derive(Debug)]
struct Server {
    settings: Settings,
    metrics: Metrics,
    bodies: Semaphore,
    /// How far the end has come.
    stage: watch::Sender<Stage>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Serving,
    /// Not ready any more; whoever comes is answered, and sent away.
    Draining,
    Ending,
}

impl Injector {
    /// Loads the certificate and listens; port 0 has the system choose one.
    ///
    /// # Errors
    ///
    /// An address or a certificate that cannot be used.
    pub async fn bind(options: Options) -> Result<Self, Error> {
        let Options { listen, admin, certificates, reload, drain, settings } = options;
        let (certificates, acceptor) = Certificates::load(certificates).await.map_err(Error::Certificate)?;
        let webhook = bind("listen", listen).await?;
        let admin = match admin {
            Some(address) => Some(bind("admin", address).await?),
            None => None,
        };
        let server = Server {
            settings,
            metrics: Metrics::new(),
            bodies: Semaphore::new(MAX_BODIES),
            stage: watch::Sender::new(Stage::Serving),
        };
        Ok(Self { webhook, admin, certificates, acceptor: TlsAcceptorOf(acceptor), reload, drain, server })
    }

    /// Where the webhook listens, and where health and metrics are.
    pub fn addresses(&self) -> (Option<SocketAddr>, Option<SocketAddr>) {
        let address = |listener: &TcpListener| listener.local_addr().ok();
        (address(&self.webhook), self.admin.as_ref().and_then(address))
    }

    /// Serves until `stop` is over, and then until nobody needs it any more.
    pub async fn serve(self, stop: impl Future<Output = ()>) {
        let Self { webhook, admin, certificates, acceptor, reload, drain, server } = self;
        let (server, acceptor) = (&server, watch::Sender::new(acceptor.0));
        let keeping = keep(certificates, &acceptor, reload, server);
        let reviews = accept(&webhook, MAX_CONNECTIONS, server, |socket| {
            let acceptor = acceptor.borrow().clone();
            secured(socket, acceptor, server)
        });
        let health = async {
            match &admin {
                Some(listener) => accept(listener, MAX_ADMIN_CONNECTIONS, server, |socket| plain(socket, server)).await,
                None => server.until(Stage::Ending).await,
            }
        };
        let ending = async {
            stop.await;
            tracing::info!(seconds = drain.as_secs(), "stopping: no longer ready, and answering for a while");
            server.stage.send_replace(Stage::Draining);
            sleep(drain).await;
            server.stage.send_replace(Stage::Ending);
        };
        let whole = async { tokio::join!(reviews, health, ending) };
        tokio::select! {
            _ = whole => {}
            () = keeping => {}
        }
    }
}

async fn bind(flag: &'static str, address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|source| Error::Listen { flag, address, source })
}

/// Looks at the certificate again and again.
async fn keep(mut certificates: Certificates, acceptor: &watch::Sender<TlsAcceptor>, every: Duration, server: &Server) {
    loop {
        sleep(every).await;
        match certificates.changed().await {
            None => {}
            Some(Ok(changed)) => {
                acceptor.send_replace(changed);
                server.metrics.reloaded(true);
                tracing::info!("a new certificate is used");
            }
            Some(Err(problem)) => {
                server.metrics.reloaded(false);
                tracing::warn!(problem, "the certificate has changed and cannot be used; the one before is kept");
            }
        }
    }
}

/// Takes connections until the end, and waits for those that are there.
async fn accept<F: Future<Output = ()>>(
    listener: &TcpListener,
    limit: usize,
    server: &Server,
    serve: impl Fn(TcpStream) -> F,
) {
    let mut connections = FuturesUnordered::new();
    let mut ending = pin!(server.until(Stage::Ending));
    loop {
        tokio::select! {
            () = &mut ending => break,
            accepted = listener.accept(), if connections.len() < limit => match accepted {
                Ok((socket, _)) => connections.push(timeout(CONNECTION_TIMEOUT, serve(socket))),
                Err(error) => {
                    tracing::warn!(%error, "a connection cannot be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.next() => {}
        }
    }
    let rest = async { while connections.next().await.is_some() {} };
    if timeout(END_TIMEOUT, rest).await.is_err() {
        tracing::warn!("connections that did not end are closed");
    }
}

async fn secured(socket: TcpStream, acceptor: TlsAcceptor, server: &Server) {
    server.metrics.connections.inc();
    socket.set_nodelay(true).ok();
    match timeout(HANDSHAKE_TIMEOUT, acceptor.accept(socket)).await {
        Ok(Ok(stream)) => server.connection(stream, true).await,
        Ok(Err(error)) => {
            server.metrics.handshake_errors.inc();
            tracing::debug!(%error, "a client and we do not agree on TLS");
        }
        Err(_) => server.metrics.handshake_errors.inc(),
    }
    server.metrics.connections.dec();
}

async fn plain(socket: TcpStream, server: &Server) {
    server.connection(socket, false).await;
}

impl Server {
    async fn until(&self, stage: Stage) {
        // It cannot fail: the sender is ours.
        self.stage.subscribe().wait_for(|now| *now >= stage).await.ok();
    }

    async fn connection(&self, io: impl AsyncRead + AsyncWrite + Unpin, is_webhook: bool) {
        let has_asked = Cell::new(false);
        let service = service_fn(|request| {
            has_asked.set(true);
            async move { Ok::<_, Infallible>(self.respond(request, is_webhook).await) }
        });
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(IDLE_TIMEOUT).max_buf_size(MAX_HEAD_BYTES);
        let mut connection = pin!(http.serve_connection(TokioIo::new(io), service));
        let mut silent = pin!(async {
            sleep(FIRST_REQUEST_TIMEOUT).await;
            if has_asked.get() {
                std::future::pending::<()>().await;
            }
        });
        let mut ending = pin!(self.until(Stage::Ending));
        let mut is_ending = false;
        loop {
            tokio::select! {
                // A client that breaks off, or says nothing HTTP would understand, is its own affair.
                _ = connection.as_mut() => return,
                () = silent.as_mut() => return,
                () = ending.as_mut(), if !is_ending => {
                    is_ending = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }

    async fn respond(&self, request: Request<Incoming>, is_webhook: bool) -> Response<Full<Bytes>> {
        let mut response = match (request.uri().path(), is_webhook) {
            (MUTATE, true) => self.review(request).await,
            (path, _) if !matches!(*request.method(), Method::GET | Method::HEAD) => {
                let is_known = ["/metrics", "/healthz", "/livez", "/readyz", "/"].contains(&path);
                if is_known { only("GET, HEAD") } else { not_found(is_webhook) }
            }
            ("/healthz" | "/livez", _) => text(StatusCode::OK, "ok\n"),
            ("/readyz", _) if *self.stage.borrow() == Stage::Serving => text(StatusCode::OK, "ok\n"),
            ("/readyz", _) => text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
            ("/metrics", false) => reply(StatusCode::OK, METRICS_TYPE, self.metrics.render()),
            _ => not_found(is_webhook),
        };
        // Whoever asks again finds another one, or at least knows that this one ends.
        if *self.stage.borrow() != Stage::Serving {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    async fn review(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if *request.method() != Method::POST {
            return only("POST");
        }
        let started = Cell::new(Instant::now());
        let outcome = match self.body(request).await {
            Ok(body) => {
                started.set(Instant::now());
                review::answer(&self.settings, &body).map_err(|none| match none {
                    NoAnswer::TooLarge(reason) => (Outcome::TooLarge, StatusCode::PAYLOAD_TOO_LARGE, reason),
                    NoAnswer::Malformed(reason) => (Outcome::Malformed, StatusCode::BAD_REQUEST, reason),
                })
            }
            Err(refused) => Err(refused),
        };
        match outcome {
            Ok(answer) => {
                self.metrics.answered(answer.outcome, started.get().elapsed());
                reply(StatusCode::OK, "application/json", answer.body)
            }
            Err((outcome, status, reason)) => {
                self.metrics.answered(outcome, started.get().elapsed());
                tracing::warn!(reason, "a request has no answer, and Kubernetes goes on without us");
                text(status, &format!("{reason}\n"))
            }
        }
    }

    /// The whole of a review.
    async fn body(&self, request: Request<Incoming>) -> Result<Bytes, (Outcome, StatusCode, String)> {
        let header = |name| request.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let kind = header(CONTENT_TYPE).unwrap_or_default();
        if !kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json")) {
            let reason = "the content type is not application/json".to_owned();
            return Err((Outcome::Malformed, StatusCode::UNSUPPORTED_MEDIA_TYPE, reason));
        }
        let too_large = || {
            let reason = format!("a review of more than {MAX_BODY_BYTES} bytes is refused");
            (Outcome::TooLarge, StatusCode::PAYLOAD_TOO_LARGE, reason)
        };
        let length = header(CONTENT_LENGTH).and_then(|length| length.parse::<usize>().ok());
        if length.is_some_and(|length| length > MAX_BODY_BYTES) {
            return Err(too_large());
        }
        let collected = async {
            // It is never closed.
            let _permit = self.bodies.acquire().await.ok();
            Limited::new(request.into_body(), MAX_BODY_BYTES).collect().await
        };
        match timeout(BODY_TIMEOUT, collected).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
            Ok(Err(error)) => {
                Err((Outcome::Malformed, StatusCode::BAD_REQUEST, format!("the request broke off: {error}")))
            }
            Err(_) => {
                let reason = format!("the request did not come within {} s", BODY_TIMEOUT.as_secs());
                Err((Outcome::TimedOut, StatusCode::REQUEST_TIMEOUT, reason))
            }
        }
    }
}

fn only(methods: &'static str) -> Response<Full<Bytes>> {
    let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, &format!("only {methods}\n"));
    refused.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    refused
}

fn not_found(is_webhook: bool) -> Response<Full<Bytes>> {
    let paths = if is_webhook { "/mutate /healthz /livez /readyz" } else { "/metrics /healthz /livez /readyz" };
    text(StatusCode::NOT_FOUND, &format!("there is {paths}\n"))
}

fn text(status: StatusCode, body: &str) -> Response<Full<Bytes>> {
    reply(status, "text/plain; charset=utf-8", body.as_bytes().to_vec())
}

fn reply(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
