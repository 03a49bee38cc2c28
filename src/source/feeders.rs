//! The feeders that the agent itself starts: stdin, FIFOs and Forward servers, each with a thread that writes to its source's spool. A wrapped command is started
//! by whoever was told to run it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::forward::{
    Counters, DEFAULT_UNIX_MODE, Dispatch, ForwardConfig, Layout, Outlet, Server, SharedKey, TlsPaths,
};
use super::pipe::{Running, Why};
use super::{fifo, forward, stdin};
use crate::config::{ForwardSettings, SourceConfig, SourceKind};
use crate::firelens;
use crate::firelens::health;
use crate::metrics::Metrics;
use crate::parse::Direct;
use crate::spool::Feed;

/// Why a feeder cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is stdin.
    #[error("stdin cannot be read: {0}")]
    Stdin(std::io::Error),
    /// It is a FIFO.
    #[error(transparent)]
    Fifo(#[from] fifo::Error),
    /// It is a Forward server.
    #[error(transparent)]
    Forward(#[from] forward::Error),
    /// The task's health check cannot be answered.
    #[error(
        "the health check of FireLens cannot be answered at {address}: {source}; stop what listens there, or set firelens: off and sources of your own"
    )]
    Health {
        /// Where it connects to.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// Its thread ended before it listened.
    #[error("the Forward server ended before it listened; this is a bug")]
    Ended,
    /// The system gives no thread.
    #[error("a thread cannot be started: {0}; raise the limit of processes (pids) of this container")]
    Thread(std::io::Error),
}

/// Feeders that run.
#[derive(Debug, Default)]
pub struct Feeders {
    running: Vec<(String, Running)>,
    servers: Vec<Serving>,
    /// There is nothing to read once they have ended.
    is_all: bool,
}

impl Feeders {
    /// Starts those of all sources; `feed` answers the feed of the one of this name. Those that get their events by tags, as `FireLens` says, have
    /// one server.
    pub async fn start(
        sources: &[SourceConfig],
        firelens: Option<&Arc<firelens::Dispatch>>,
        feed: impl Fn(&str) -> Option<Feed>,
        metrics: &Metrics,
    ) -> Result<Self, Error> {
        let (mut running, mut servers) = (Vec::new(), Vec::new());
        let mut tagged = Vec::new();
        for source in sources {
            let Some(feed) = feed(&source.name) else { continue };
            if firelens.is_some_and(|firelens| firelens.feeds(&source.name)) {
                tagged.push((&source.forward, outlet(source, feed)));
                continue;
            }
            let started = match (source.kind, &source.paths[..]) {
                (SourceKind::Stdin, _) => stdin::start(feed).map_err(Error::Stdin)?,
                (SourceKind::Fifo, [path]) => fifo::start(Path::new(path), source.fifo_mode, feed)?,
                (SourceKind::Forward, _) => {
                    let dispatch = Dispatch::to(outlet(source, feed));
                    let config = forward_config(&source.forward, DEFAULT_UNIX_MODE);
                    servers.push(Serving::start(config, dispatch, None, metrics).await?);
                    continue;
                }
                _ => continue,
            };
            running.push((source.name.clone(), started));
        }
        if let (Some(firelens), Some((settings, _))) = (firelens, tagged.first()) {
            let plan = firelens.plan();
            let mode = plan.listen.unix.first().and_then(|unix| unix.mode);
            let config = forward_config(settings, mode.unwrap_or(DEFAULT_UNIX_MODE));
            let outlets = tagged.into_iter().map(|(_, outlet)| outlet).collect();
            let dispatch = Dispatch::by_tag(outlets, Arc::clone(firelens));
            servers.push(Serving::start(config, dispatch, plan.health, metrics).await?);
        }
        let is_all = !sources.is_empty() && sources.iter().all(|source| source.kind == SourceKind::Stdin);
        Ok(Self { running, servers, is_all })
    }

    /// Completes when everything that there is to read has come to its end by itself: `app | kinetail run` ends after `app`.
    pub async fn ended(&mut self) {
        if !self.is_all {
            return std::future::pending().await;
        }
        for (_, feeder) in &mut self.running {
            feeder.ended().await;
        }
    }

    /// Has all of them read what is there by now, and waits until it is kept.
    pub async fn stop(mut self) {
        let began = Instant::now();
        for (_, feeder) in &mut self.running {
            feeder.stop();
        }
        for server in self.servers {
            server.stop().await;
        }
        for (source, feeder) in &mut self.running {
            let ended = feeder.ended().await;
            let (bytes, events, lost_events) = (ended.bytes, ended.events, ended.lost_events);
            if let Why::Failed(error) = ended.why {
                tracing::error!(source, %error, bytes, events, "a source could not be read any more");
            }
            if lost_events > 0 {
                tracing::error!(source, lost_events, "events were read that the spool did not take any more");
            }
            tracing::debug!(source, bytes, events, took = ?began.elapsed(), "a source has ended");
        }
    }
}

/// A Forward server on a thread of its own: decoding must not hold up the sender.
#[derive(Debug)]
struct Serving {
    stop: watch::Sender<bool>,
    ended: oneshot::Receiver<()>,
}

impl Serving {
    async fn start(
        config: ForwardConfig,
        dispatch: Dispatch,
        health: Option<SocketAddr>,
        metrics: &Metrics,
    ) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Thread)?;
        let unix = config.unix.clone();
        let counters = Counters {
            messages: metrics.forward_messages.clone(),
            events: metrics.forward_events.clone(),
            bytes: metrics.forward_bytes.clone(),
            acks: metrics.forward_acks.clone(),
            connections: metrics.forward_connections.clone(),
            rejected: metrics.forward_rejected.clone(),
            partials: metrics.forward_partials.clone(),
            dropped: metrics.aside.clone(),
        };
        let (stop, stopped) = watch::channel(false);
        let (ready, bound) = oneshot::channel();
        let (done, ended) = oneshot::channel();
        let serve = async move {
            match bind(config, health).await {
                Ok((server, health)) => {
                    // Whoever started it waits for that.
                    let checked = health.as_ref().and_then(|listener| listener.local_addr().ok());
                    ready.send(Ok((server.addresses(), checked))).ok();
                    tokio::select! {
                        () = server.run(dispatch, counters, stopped) => {}
                        () = answer(health) => {}
                    }
                    // Nobody waits any more after the deadline.
                    done.send(()).ok();
                }
                Err(error) => drop(ready.send(Err(error))),
            }
        };
        let run = move || runtime.block_on(serve);
        std::thread::Builder::new().name("forward".to_owned()).spawn(run).map_err(Error::Thread)?;
        let (addresses, health) = bound.await.map_err(|_| Error::Ended)??;
        tracing::info!(?addresses, ?unix, ?health, "Forward clients are served");
        Ok(Self { stop, ended })
    }

    async fn stop(self) {
        self.stop.send_replace(true);
        if self.ended.await.is_err() {
            tracing::error!("the Forward server ended by itself; this is a bug");
        }
    }
}

/// All that is listened on.
async fn bind(config: ForwardConfig, health: Option<SocketAddr>) -> Result<(Server, Option<TcpListener>), Error> {
    let server = Server::bind(config).await?;
    let listener = match health {
        Some(address) => Some(health::bind(address).await.map_err(|source| Error::Health { address, source })?),
        None => None,
    };
    Ok((server, listener))
}

/// Answers health checks, for ever.
async fn answer(health: Option<TcpListener>) {
    match health {
        Some(listener) => health::serve(listener).await,
        None => std::future::pending().await,
    }
}

/// What a server makes of a source's events.
fn outlet(source: &SourceConfig, feed: Feed) -> Outlet {
    let layout = Layout::new(source.add.tag, source.add.time, source.parse.direct() == Some(Direct::Json));
    Outlet { source: source.name.as_str().into(), feed, layout }
}

fn forward_config(settings: &ForwardSettings, unix_mode: u32) -> ForwardConfig {
    let tls = settings.tls.clone().map(|(certificate, key)| TlsPaths { certificate, key });
    ForwardConfig {
        listen: settings.listen.clone(),
        unix: settings.unix.clone(),
        unix_mode,
        shared_key: settings.shared_key.clone().map(SharedKey::new),
        self_hostname: crate::agent::host_name(),
        tls,
        max_message_bytes: settings.max_message_bytes,
        max_connections: settings.max_connections,
        idle_timeout: Some(settings.idle_timeout).filter(|limit| !limit.is_zero()),
        ..ForwardConfig::default()
    }
}
