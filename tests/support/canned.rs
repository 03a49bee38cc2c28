//! A small HTTP server on a thread of its own, whose answers a test makes up: the endpoints of credentials, and what Kinesis never says to a
//! client that behaves. It keeps what it was asked.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinSet, LocalSet};

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

/// What becomes of it.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// An answer: status, content type, body.
    Say(u16, &'static str, String),
    /// The connection is closed.
    Close,
    /// Nothing.
    Hang,
}

/// Connections that may wait.
const BACKLOG: u32 = 128;

/// A port of loopback that nobody else gets, and that refuses connections until somebody listens.
pub(crate) fn reserved() -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    socket
}

/// The server; it ends with this.
#[derive(Debug)]
pub(crate) struct Canned {
    pub(crate) address: SocketAddr,
    asked: watch::Receiver<Vec<Asked>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Canned {
    /// Answers requests one after the other, on a port that is free.
    pub(crate) async fn start(answer: impl FnMut(&Asked) -> Reply + Send + 'static) -> Self {
        Self::start_on(reserved(), answer).await
    }

    /// The same on this port.
    pub(crate) async fn start_on(socket: TcpSocket, mut answer: impl FnMut(&Asked) -> Reply + Send + 'static) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, bound) = oneshot::channel();
        let (note, asked) = watch::channel(Vec::new());
        // What is made of the answers stays on that thread.
        let thread = std::thread::spawn(move || {
            let serve = async move {
                let listener = socket.listen(BACKLOG).unwrap();
                ready.send(listener.local_addr().unwrap()).unwrap();
                let reply = move |asked: Asked| {
                    let reply = answer(&asked);
                    note.send_modify(|all| all.push(asked));
                    reply
                };
                let reply = Rc::new(RefCell::new(reply));
                let mut connections = JoinSet::new();
                let accept = async {
                    loop {
                        let (stream, _) = listener.accept().await.unwrap();
                        connections.spawn_local(connection(stream, Rc::clone(&reply)));
                    }
                };
                tokio::select! {
                    _ = stopped => {}
                    () = accept => {}
                }
            };
            LocalSet::new().block_on(&runtime, serve);
        });
        Self { address: bound.await.unwrap(), asked, stop: Some(stop), thread: Some(thread) }
    }

    /// Its URL, with this path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// All requests so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.borrow().clone()
    }
}

impl Drop for Canned {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().map(std::thread::JoinHandle::join);
        assert!(std::thread::panicking() || ended.is_none_or(|ended| ended.is_ok()), "the server has panicked");
    }
}

async fn connection(stream: TcpStream, reply: Rc<RefCell<impl FnMut(Asked) -> Reply + 'static>>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let reply = Rc::clone(&reply);
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
            let text = |value: &hyper::header::HeaderValue| value.to_str().unwrap_or_default().to_owned();
            let headers = head.headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
            let body = String::from_utf8_lossy(&body).into_owned();
            let asked = Asked { path: head.uri.path().to_owned(), headers, body };
            let reply = (*reply.borrow_mut())(asked);
            match reply {
                Reply::Say(status, kind, body) => {
                    let answer = Response::builder().status(status).header("content-type", kind);
                    answer.body(Full::new(Bytes::from(body))).map_err(|error| error.to_string())
                }
                Reply::Close => Err("closed".to_owned()),
                Reply::Hang => match std::future::pending::<Infallible>().await {},
            }
        }
    });
    // A client that goes away is no news.
    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
}
