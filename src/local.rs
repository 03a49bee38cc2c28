//! `kinetail local`: a stand-in for Kinesis Data Streams on loopback, for development, demonstrations and tests.
//!
//! It speaks the service's API (AWS JSON 1.1 over HTTP/1.1) with real hash routing, sequence numbers, resharding, limits
//! by shard and error codes, and does things wrong when asked to. It keeps everything in memory, checks no signature,
//! and promises nothing: no data that matters belongs here.
//!
//! ```text
//! server (a task per connection) ──Request──▶ owner (one task, all state) ──▶ api ──▶ state, stream, shard
//!                                ◀──Answer──
//! ```

mod api;
mod bucket;
mod clock;
mod faults;
mod owner;
mod refusal;
mod seal;
mod sequence;
mod server;
mod shard;
mod state;
mod stream;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use clock::Clock;
use owner::{Owner, Request};
use refusal::Violations;
use state::{MAX_STREAMS, State};
use stream::MAX_SHARDS;

/// The account that all streams belong to.
const ACCOUNT: &str = "000000000000";
/// The region that all streams are in.
const REGION: &str = "us-east-1";
/// The port that is listened on if none is given.
const DEFAULT_PORT: u16 = 4567;
/// Memory for records if nothing else is said, in bytes: 256 MiB.
pub const DEFAULT_MAX_MEMORY: usize = 256 * 1024 * 1024;
/// Connections at once; more wait in the listener's backlog.
const MAX_CONNECTIONS: usize = 256;
/// Requests that wait for the owner; the connections behind more of them wait themselves.
const MAX_WAITING_REQUESTS: usize = 64;
/// How long to wait after a connection couldn't be accepted, for want of file descriptors say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why the stand-in can't start, or ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address isn't loopback, and nobody said that this is meant.
    #[error(
        "{0} isn't a loopback address, and signatures aren't checked here; listen on 127.0.0.1, or allow remote clients"
    )]
    NotLoopback(SocketAddr),
    /// The address can't be listened on.
    #[error("can't listen on {address}: {source}; is another stand-in running there?")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// A stream that can't be.
    #[error("stream {name:?} with {shards} shards: {reason}")]
    Stream {
        /// Its name.
        name: String,
        /// How many shards it was to have.
        shards: u32,
        /// What is wrong with it.
        reason: String,
    },
    /// A stream as it was written on the command line.
    #[error("stream {0:?} isn't written as NAME or NAME:SHARDS; write it like orders:4")]
    StreamText(String),
    /// The signals that stop it can't be had.
    #[error("can't wait for signals: {0}")]
    Signal(std::io::Error),
    /// Nobody could be told the address.
    #[error("can't write to the standard output: {0}")]
    Output(std::io::Error),
}

/// How the stand-in is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalOptions {
    /// Where to listen; port 0 takes any that is free.
    pub listen: SocketAddr,
    /// Whether that may be an address which others can reach.
    pub allow_remote: bool,
    /// The streams that are there from the start: names and numbers of shards.
    pub streams: Vec<(String, u32)>,
    /// Bytes of memory for records; the oldest go when they need more.
    pub max_memory: usize,
    /// How long a stream stays CREATING.
    pub create_delay: Duration,
    /// Whether a shard takes only 1 MiB and 1,000 records a second.
    pub limits: bool,
    /// Whether a shard is read only five times a second.
    pub limit_reads: bool,
}

impl Default for LocalOptions {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), DEFAULT_PORT),
            allow_remote: false,
            streams: Vec::new(),
            max_memory: DEFAULT_MAX_MEMORY,
            create_delay: Duration::ZERO,
            limits: true,
            limit_reads: false,
        }
    }
}

/// A stand-in that listens but doesn't answer yet.
#[derive(Debug)]
pub struct LocalStream {
    listener: TcpListener,
    address: SocketAddr,
    owner: Owner,
}

impl LocalStream {
    /// Starts to listen. Clients may connect from now on; [`Self::run`] answers them.
    pub async fn bind(options: LocalOptions) -> Result<Self, Error> {
        check_streams(&options.streams)?;
        if !options.listen.ip().is_loopback() {
            if !options.allow_remote {
                return Err(Error::NotLoopback(options.listen));
            }
            tracing::warn!(listen = %options.listen, "anyone who reaches this address can read and write all streams");
        }
        let failed = |source| Error::Listen { address: options.listen, source };
        let listener = TcpListener::bind(options.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let clock = Clock::start();
        let state = State::new(&options, fastrand::u128(..), clock.now_ms());
        Ok(Self { listener, address, owner: Owner::new(state, clock) })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// The URL that clients take for the service's.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers clients until `stop` is ready. Then all connections are closed, answered or not.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), Error> {
        let (requests, inbox) = mpsc::channel(MAX_WAITING_REQUESTS);
        let mut connections = JoinSet::new();
        tokio::select! {
            () = stop => {}
            // These two end only with this function: each holds what the other waits for.
            () = self.owner.run(inbox) => {}
            () = accept(&self.listener, &requests, &mut connections) => {}
        }
        connections.shutdown().await;
        Ok(())
    }
}

/// Accepts connections, each of which gets a task.
async fn accept(listener: &TcpListener, requests: &mpsc::Sender<Request>, connections: &mut JoinSet<()>) {
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    // Small answers shouldn't wait for more to send.
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "can't switch Nagle's algorithm off");
                    }
                    connections.spawn(server::serve(stream, requests.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "can't accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}

/// Checks the streams that are to be there from the start.
fn check_streams(streams: &[(String, u32)]) -> Result<(), Error> {
    let mut total = 0_usize;
    for (index, (name, shards)) in streams.iter().enumerate() {
        let mut violations = Violations::default();
        violations.name("streamName", name);
        total = total.saturating_add(usize::try_from(*shards).unwrap_or(usize::MAX));
        let reason = if let Err(refusal) = violations.finish() {
            refusal.message
        } else if *shards == 0 {
            "a stream has one shard at least".to_owned()
        } else if total > MAX_SHARDS || index >= MAX_STREAMS {
            format!("there is room for {MAX_STREAMS} streams and {MAX_SHARDS} shards")
        } else if streams.iter().take(index).any(|(other, _)| other == name) {
            "another stream has this name".to_owned()
        } else {
            continue;
        };
        return Err(Error::Stream { name: name.clone(), shards: *shards, reason });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_at_the_start_are_checked() {
        let check = |streams: &[(&str, u32)]| {
            let streams: Vec<_> = streams.iter().map(|(name, shards)| ((*name).to_owned(), *shards)).collect();
            check_streams(&streams).is_ok()
        };
        assert!(check(&[("a", 1), ("b.c_d-e", 10)]));
        assert!(!check(&[("a", 0)]));
        assert!(!check(&[("", 1)]));
        assert!(!check(&[("a b", 1)]));
        assert!(!check(&[("a", 1), ("a", 2)]));
        assert!(!check(&[("a", u32::MAX)]));
    }
}
