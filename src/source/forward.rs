//! The Fluent Forward server: what `FireLens`, docker's `fluentd` log driver, Fluent Bit, Fluentd and the fluent-logger libraries speak. Each event
//! becomes one line of JSON in the spool. An acknowledgement is sent when the spool has kept the events, and never before.
//!
//! A line is the record as it came, with `tag` and `time` before its fields where it has none of these names, unless its [`Layout`] says otherwise. One
//! server can feed several sources, by the tags of events. A message that cannot be read closes
//! its connection, since nobody knows where the next one begins; what was complete before is kept. A shared key and TLS are asked for on TCP
//! only: the Unix socket has the permissions of its file, and its clients (docker) know neither.
//!
//! Lines that docker cut into parts are joined, unless their messages ask for acknowledgements: a part that waits for others is not kept
//! yet, and its client may not send the others before it is acknowledged. Such parts are lines of their own, and counted.

mod connection;
mod dispatch;
mod handshake;
mod json;
mod layout;
mod line;
mod listen;
mod message;
mod msgpack;
mod partial;
#[cfg(test)]
mod tests;
mod time;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

pub use dispatch::{Dispatch, Outlet};
pub use handshake::SharedKey;
pub use layout::Layout;

use connection::Connection;
use listen::{Accepted, Listeners, Wire};

use crate::metrics::ledger::Aside;

/// The port of Forward.
pub const DEFAULT_PORT: u16 = 24224;
/// Bytes of a message, packed and unpacked. Fluent Bit's have 2 MiB, Fluentd's 8 MiB.
pub const DEFAULT_MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;
/// Connections at once. Docker has one for each container.
pub const DEFAULT_MAX_CONNECTIONS: usize = 1024;
/// How long a message that has begun may take. On the same machine it is there at once.
pub const DEFAULT_MESSAGE_TIMEOUT: Duration = Duration::from_mins(1);
/// Who may write to the Unix socket: everybody who can see it, since containers run as whom they like.
pub const DEFAULT_UNIX_MODE: u32 = 0o666;

/// Connections whose messages are decoded, and kept, at the same time. As many as may wait for the spool.
const TURNS: usize = 16;
/// Connections whose buffers may be larger than [`LARGE_BYTES`]: together at most so many times the largest message, twice for growth.
const LARGE_CONNECTIONS: usize = 4;
/// A buffer that holds more than this is large.
const LARGE_BYTES: usize = 128 * 1024;
/// Messages that are decompressed at the same time, each up to the largest message.
const DECOMPRESSING: usize = 4;
/// Once the agent stops, a connection that says nothing for so long has nothing more to say ...
const DRAIN_PAUSE: Duration = Duration::from_millis(50);
/// ... and one that goes on and on is closed.
const DRAIN_TIME: Duration = Duration::from_secs(2);
/// A pause after an accept that failed, for instance for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The settings of a server.
#[derive(Debug, Clone)]
pub struct ForwardConfig {
    /// Where TCP is listened on; port 0 has the system choose one.
    pub listen: Vec<SocketAddr>,
    /// Where a Unix socket is made.
    pub unix: Option<PathBuf>,
    /// The permissions of that socket.
    pub unix_mode: u32,
    /// The key that clients on TCP have to know.
    pub shared_key: Option<SharedKey>,
    /// What the server calls itself in the handshake.
    pub self_hostname: String,
    /// TLS on TCP.
    pub tls: Option<TlsPaths>,
    /// Whether heartbeats over UDP are answered, on the ports of TCP.
    pub heartbeats: bool,
    /// The most that a message may have, packed and unpacked.
    pub max_message_bytes: usize,
    /// The most connections at once; more are accepted and closed.
    pub max_connections: usize,
    /// How long a message that has begun, a handshake, or the reading of acknowledgements may take.
    pub message_timeout: Duration,
    /// How long a connection may say nothing between messages. Closing one can lose what a client without acknowledgements sends next, so
    /// that none are closed unless this is set.
    pub idle_timeout: Option<Duration>,
}

impl Default for ForwardConfig {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            unix: None,
            unix_mode: DEFAULT_UNIX_MODE,
            shared_key: None,
            self_hostname: "localhost".to_owned(),
            tls: None,
            heartbeats: true,
            max_message_bytes: DEFAULT_MAX_MESSAGE_BYTES,
            max_connections: DEFAULT_MAX_CONNECTIONS,
            message_timeout: DEFAULT_MESSAGE_TIMEOUT,
            idle_timeout: None,
        }
    }
}

/// Files of a certificate in PEM.
#[derive(Debug, Clone)]
pub struct TlsPaths {
    /// The certificate, and those between it and a root.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Why a server cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A TCP port cannot be had.
    #[error("forward cannot listen on {address}: {source}; give another address, or stop what listens there")]
    Tcp {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// A Unix socket cannot be made.
    #[error("forward cannot make the socket {}: {source}; make its directory writable, or give another path", path.display())]
    Unix {
        /// Its path.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Somebody listens there.
    #[error("forward cannot make the socket {}: another process answers on it; stop that one, or give another path", .0.display())]
    InUse(PathBuf),
    /// Something else has the name.
    #[error("forward cannot make the socket {}: a file that is no socket has this name; remove it, or give another path", .0.display())]
    NoSocket(PathBuf),
    /// A certificate or key cannot be used.
    #[error("forward cannot use {} for TLS: {problem}; give a certificate and its private key in PEM", path.display())]
    Tls {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

/// What is counted. Clones count together, so that those in a registry show what the server does.
#[derive(Debug, Clone)]
pub struct Counters {
    /// Messages that were decoded.
    pub messages: IntCounter,
    /// Events that were kept.
    pub events: IntCounter,
    /// Bytes of the messages.
    pub bytes: IntCounter,
    /// Acknowledgements that were sent.
    pub acks: IntCounter,
    /// Connections that are open.
    pub connections: IntGauge,
    /// Connections that were refused or closed, by `reason`: `too_large`, `too_deep`, `malformed`, `unsupported`, `corrupt`, `handshake`, `tls`, `cut`,
    /// `timeout`, `idle`, `connections`.
    pub rejected: IntCounterVec,
    /// Parts of lines that docker cut, by `outcome`: `joined`, or a line each because of `age`, `room`, or as the connection `ended`.
    pub partials: IntCounterVec,
    /// Events that are dropped, for the ledger: what is not kept is not read from a spool and counted there.
    pub dropped: Aside,
}

impl Counters {
    /// Counters that are in no registry.
    ///
    /// # Panics
    /// Never: the names are constants.
    pub fn new() -> Self {
        let counter = |name: &str, help: &str| IntCounter::new(name, help).expect("the name is a constant");
        let by = |name: &str, help: &str, labels: &[&str]| {
            IntCounterVec::new(Opts::new(name, help), labels).expect("the name is a constant")
        };
        Self {
            messages: counter("forward_messages", "messages"),
            events: counter("forward_events", "events"),
            bytes: counter("forward_bytes", "bytes"),
            acks: counter("forward_acks", "acks"),
            connections: IntGauge::new("forward_connections", "connections").expect("the name is a constant"),
            rejected: by("forward_rejected", "rejected", &["reason"]),
            partials: by("forward_partials", "partials", &["outcome"]),
            dropped: Aside::default(),
        }
    }
}

impl Counters {
    /// Counts an event that is dropped; of a tag that is of no source, the source is the server's kind.
    fn drop(&self, source: Option<&str>, reason: &str, events: u64) {
        if events > 0 {
            self.dropped.dropped(source.unwrap_or("forward"), ("forward", reason), events);
        }
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self::new()
    }
}

/// What all connections have in common.
struct Shared {
    config: ForwardConfig,
    dispatch: Dispatch,
    counters: Counters,
    turns: Semaphore,
    large: Arc<Semaphore>,
    decompressing: Semaphore,
    join_room: Arc<Semaphore>,
}

/// A server that listens.
pub struct Server {
    config: ForwardConfig,
    listeners: Listeners,
    tls: Option<TlsAcceptor>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("config", &self.config)
            .field("listeners", &self.listeners)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// Listens. Nothing is accepted before it runs.
    pub async fn bind(config: ForwardConfig) -> Result<Self, Error> {
        let tls = config.tls.as_ref().map(listen::tls).transpose()?;
        let unix = config.unix.as_deref().map(|path| (path, config.unix_mode));
        let listeners = Listeners::bind(&config.listen, unix).await?;
        tracing::info!(tcp = ?listeners.addresses(), unix = ?config.unix, "Forward is listened for");
        Ok(Self { config, listeners, tls })
    }

    /// Where TCP is listened on.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.addresses()
    }

    /// Serves until `stop` is true or its sender is gone, or a feed is closed. Connections are then read as far as clients have sent, what is
    /// complete is kept, and all are closed.
    pub async fn run(self, dispatch: Dispatch, counters: Counters, mut stop: watch::Receiver<bool>) {
        let Self { config, listeners, tls } = self;
        let beats = if config.heartbeats { listeners.addresses() } else { Vec::new() };
        let shared = Arc::new(Shared {
            config,
            dispatch,
            counters,
            turns: Semaphore::new(TURNS),
            large: Arc::new(Semaphore::new(LARGE_CONNECTIONS)),
            decompressing: Semaphore::new(DECOMPRESSING),
            join_room: Arc::new(Semaphore::new(partial::MAX_HELD_BYTES)),
        });
        let stopped = stop.clone();
        let mut clients = Clients { shared, tls, stop: stopped, tasks: JoinSet::new() };
        tokio::select! {
            () = clients.accept_all(&listeners) => return,
            () = async { listen::heartbeats(beats).await; std::future::pending().await } => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
        // Whoever has connected by now may have sent its last lines.
        while let Ok(Ok(accepted)) = timeout(DRAIN_PAUSE, listeners.accept()).await {
            clients.take(accepted);
        }
        drop(listeners);
        while clients.tasks.join_next().await.is_some() {}
    }
}

/// The connections of a server.
struct Clients {
    shared: Arc<Shared>,
    tls: Option<TlsAcceptor>,
    stop: watch::Receiver<bool>,
    /// Each says whether lines are still kept.
    tasks: JoinSet<bool>,
}

impl Clients {
    /// Accepts connections until nothing is kept any more.
    async fn accept_all(&mut self, listeners: &Listeners) {
        loop {
            tokio::select! {
                accepted = listeners.accept() => match accepted {
                    Ok(accepted) => self.take(accepted),
                    Err(error) => {
                        tracing::warn!(%error, "a Forward connection cannot be accepted; if descriptors are short, raise their limit");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(ended) = self.tasks.join_next() => {
                    if matches!(ended, Ok(false)) {
                        return;
                    }
                }
            }
        }
    }

    /// Serves a connection, or closes it at once if there are too many.
    fn take(&mut self, accepted: Accepted) {
        let peer = accepted.to_string();
        let shared = Arc::clone(&self.shared);
        if self.tasks.len() >= shared.config.max_connections {
            shared.counters.rejected.with_label_values(&["connections"]).inc();
            tracing::warn!(
                peer,
                max_connections = shared.config.max_connections,
                "a Forward connection is closed at once: there are as many as there may be"
            );
            return;
        }
        let (tls, stop) = (self.tls.clone(), self.stop.clone());
        self.tasks.spawn(async move {
            let _open = Open::new(&shared.counters.connections);
            serve(accepted, peer, Arc::clone(&shared), tls, stop).await
        });
    }
}

/// Counts a connection for as long as it is there.
struct Open(IntGauge);

impl Open {
    fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

async fn serve(
    accepted: Accepted,
    peer: String,
    shared: Arc<Shared>,
    tls: Option<TlsAcceptor>,
    stop: watch::Receiver<bool>,
) -> bool {
    let (io, key): (Box<dyn Wire>, _) = match (accepted, tls) {
        (Accepted::Unix(stream), _) => (Box::new(stream), None),
        (Accepted::Tcp(stream, _), None) => (Box::new(stream), shared.config.shared_key.clone()),
        (Accepted::Tcp(stream, _), Some(tls)) => {
            match timeout(shared.config.message_timeout, tls.accept(stream)).await {
                Ok(Ok(stream)) => (Box::new(stream), shared.config.shared_key.clone()),
                failed => {
                    let error = failed.map_or_else(
                        |_| "not in time".to_owned(),
                        |result| result.err().map(|e| e.to_string()).unwrap_or_default(),
                    );
                    shared.counters.rejected.with_label_values(&["tls"]).inc();
                    tracing::warn!(peer, error, "a Forward connection is closed: no TLS could be agreed on");
                    return true;
                }
            }
        }
    };
    Connection::new(io, peer, shared, stop).run(key.as_ref()).await
}
