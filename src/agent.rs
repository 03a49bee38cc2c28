//! The agent: wires the line, owns its threads and tasks, and ends them in order.
//!
//! Three threads: the reader, the writer of checkpoints, and this one, which runs the sender and the admin server; and the watchdog. A stop closes
//! channels from the source on: the reader reads to the end of its files and lets go of the batches, the sender drains and lets go
//! of the settled spans, the reader writes the last checkpoint. What is not settled at the deadline stays uncommitted and is read again.

mod renewing;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::admin::shown::Known;
use crate::admin::{self, Admin, View};
use crate::budget::Budget;
use crate::checkpoint::{self, Entry, Found, StateDir};
use crate::config::{Config, Format, SourceConfig, SourceKind};
use crate::deadletter::DeadLetters;
use crate::deliver::{self, Delivery};
use crate::enrich::places::{self, Places, Shared};
use crate::firelens;
use crate::heartbeat::{Beats, Doing};
use crate::kinesis::aggregate::Packing;
use crate::kinesis::client::{self, Aws};
use crate::kinesis::facts::DEFAULT_RECORD_LIMIT;
use crate::kinesis::{SenderConfig, Statuses};
use crate::log::recent::Problems;
use crate::metrics::Metrics;
use crate::reload::Reloader;
use crate::route::{Router, Rules, Streams};
use crate::source::feeders::{self, Feeders};
use crate::source::file::Group;
use crate::source::file::reader::{self, Reader};
use crate::spool::{self, Feed, Keeping, Spool};
use crate::watchdog::{Stalled, Watchdog, Watching};
use renewing::{Renewing, Told};

/// Batches between the reader and the sender: one in the making, one in the hand. More only hides which of the two is slow.
const BATCH_QUEUE: usize = 4;
/// Buffers on their way back to the reader.
const SPARE_QUEUE: usize = BATCH_QUEUE;
/// Lists of settled spans on their way to the reader. The sender joins what does not fit yet.
const SETTLED_QUEUE: usize = 16;
/// After the sender has ended, the last checkpoint takes one write and two syncs.
const CLOSING_TIME: Duration = Duration::from_secs(5);

/// Why the agent did not start, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state directory cannot be used.
    #[error(transparent)]
    State(#[from] checkpoint::Error),
    /// No client could be made.
    #[error(transparent)]
    Client(#[from] client::Error),
    /// The admin server cannot listen.
    #[error(transparent)]
    Admin(#[from] admin::Error),
    /// A spool cannot be used.
    #[error(transparent)]
    Spool(#[from] spool::Error),
    /// A feeder cannot be started.
    #[error(transparent)]
    Feeders(#[from] feeders::Error),
    /// The system gives no thread.
    #[error("a thread cannot be started: {0}; raise the limit of processes (pids) of this container")]
    Thread(std::io::Error),
    /// The reader ended, which it does only when it is told to.
    #[error("the reader ended by itself; this is a bug, and a restart goes on where it stood")]
    Reader,
}

/// What a run came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Events that were made.
    pub events: u64,
    /// Events that Kinesis has acknowledged.
    pub delivered: u64,
    /// Events that were dropped under a counted reason.
    pub dropped: u64,
    /// Events that were read and are neither; they are read again at the next start.
    pub unsettled: u64,
    /// Bytes of files that were not read.
    pub unread_bytes: u64,
    /// Everything that had been read was settled before the deadline.
    pub drained: bool,
}

/// An agent that is about to run.
#[derive(Debug)]
pub struct Agent {
    config: Config,
    aws: Aws,
    state: Arc<StateDir>,
    delivered_before: bool,
    reader: Reader,
    budget: Arc<Budget>,
    metrics: Arc<Metrics>,
    admin: Option<Admin>,
    spools: Vec<Spool>,
    places: (places::Keeping, Shared),
    reloader: Option<Reloader>,
    firelens: Option<Arc<firelens::Dispatch>>,
}

impl Agent {
    /// Opens all that an agent needs before it reads the first line.
    pub async fn start(config: Config) -> Result<Self, Error> {
        let aws = Aws::new(&config.kinesis).await?;
        Self::start_with(config, aws).await
    }

    /// The same with this client in place of one that finds its credentials by itself.
    pub async fn start_with(config: Config, aws: Aws) -> Result<Self, Error> {
        let state = StateDir::open(&config.state_dir)?;
        let found = state.load()?;
        if let Found::Corrupt { aside, why } = &found {
            tracing::error!(why, aside = %aside.display(), "the checkpoint cannot be read and was moved aside; all files are read from their beginning, so events that were delivered before come again");
        }
        let delivered_before = matches!(&found, Found::Entries(entries) if entries.iter().any(|e| e.offset > 0));
        let metrics = Arc::new(Metrics::new());
        let budget = Budget::to_share(config.memory_limit, config.kinesis.max_streams);
        if names_streams(&config) {
            budget.share();
        }
        let admin = match config.admin.listen {
            Some(address) => Some(Admin::bind(address).await?),
            None => None,
        };
        let journal = open_journal(&state, &found, &metrics);
        let host = host_name();
        let (mut places, mut shared) = (Places::default(), Shared::default());
        let mut streams = Streams::new(&config.kinesis.stream, config.kinesis.max_streams);
        let route = |(group, rules): (Group, Rules)| {
            let router = Router::new(&rules, &group.name, &host, &mut streams);
            group.with_router(router)
        };
        let groups = sources(&config, &host, &mut shared, &mut places).into_iter().map(route).collect();
        let places = (places.find(&host, |name| std::env::var(name).ok()), shared);
        let spools = Spool::open_all(&config, &metrics)?;
        let reader =
            Reader::new(groups, config.kinesis.format, found, journal, Arc::clone(&budget), Arc::clone(&metrics))
                .with_expiry(config.checkpoint.expire_after)
                .with_streams(streams);
        let (state, firelens, reloader) = (Arc::new(state), None, None);
        Ok(Self {
            config,
            aws,
            state,
            delivered_before,
            reader,
            budget,
            metrics,
            admin,
            spools,
            places,
            reloader,
            firelens,
        })
    }

    /// The same with what the log warns of on its status page.
    #[must_use]
    pub fn with_problems(self, problems: Problems) -> Self {
        Self { admin: self.admin.map(|admin| admin.with_problems(problems)), ..self }
    }

    /// The same with events of its sources as `FireLens` says.
    #[must_use]
    pub fn with_firelens(self, dispatch: Option<firelens::Dispatch>) -> Self {
        Self { firelens: dispatch.map(Arc::new), ..self }
    }

    /// The same with a configuration that can be loaded anew while it runs.
    #[must_use]
    pub fn with_reloader(self, reloader: Reloader) -> Self {
        Self { reloader: Some(reloader), ..self }
    }

    /// Where the admin server listens.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(Admin::address)
    }

    /// The feeds of its spools, by source: for feeders that are not the agent's own. The agent ends when all of them have.
    pub fn feeds(&self) -> impl Iterator<Item = (&Arc<str>, SourceKind, Feed)> {
        self.spools.iter().map(Spool::feed)
    }

    /// What it counts, also while it runs.
    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    /// Runs until `stop` completes and everything is sent, or the time for that is over.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<Summary, Error> {
        let Self {
            config,
            aws,
            state,
            delivered_before,
            reader,
            budget,
            metrics,
            admin,
            spools,
            places,
            reloader,
            firelens,
        } = self;
        let (batch_tx, batches) = mpsc::channel(BATCH_QUEUE);
        let (spare, spare_rx) = mpsc::channel(SPARE_QUEUE);
        let (settled, settled_rx) = mpsc::channel(SETTLED_QUEUE);
        let (checkpoint_tx, checkpoints) = mpsc::channel(1);
        let (stop_tx, stop_rx) = watch::channel(false);
        let (status, status_rx) = watch::channel(Statuses::new());
        let (limit_tx, record_limit) = watch::channel(DEFAULT_RECORD_LIMIT);

        let feed = |name: &str| spools.iter().map(Spool::feed).find(|feed| **feed.0 == *name).map(|(_, _, feed)| feed);
        let feeders = Feeders::start(&config.sources, firelens.as_ref(), feed, &metrics).await?;
        let (watching, stalled) = watch_stages(&config, &metrics, &spools, admin.is_some(), status_rx.clone())?;
        let (drops_tx, drops) = mpsc::channel(1);
        let (renewals_tx, renewals) = mpsc::channel(1);
        let (released, released_rx) = watch::channel(());
        let spawn = |spool: Spool| spool.spawn(released_rx.clone(), drops_tx.clone()).map_err(Error::Thread);
        let keeping = spools.into_iter().map(spawn).collect::<Result<Vec<_>, _>>()?;
        drop((released_rx, drops_tx));

        let closed = spawn_writer(Arc::clone(&state), checkpoints, Arc::clone(&metrics))?;
        spawn_reader(
            reader.with_released(released),
            reader::Channels {
                batches: batch_tx,
                spare: spare_rx,
                settled: settled_rx,
                checkpoints: checkpoint_tx,
                stop: stop_rx,
                sender: status_rx.clone(),
                record_limit,
                drops,
                renewals,
            },
        )?;

        let delivery = Delivery {
            client: aws,
            config: sender_config(&config, delivered_before),
            budget: Arc::clone(&budget),
            dead_letters: DeadLetters::new(state.path()),
            metrics: Arc::clone(&metrics),
        };
        let channels = deliver::Channels { batches, settled, spare, status, record_limit: limit_tx };
        let (known, known_rx) = watch::channel(Known::new(&config, host_name()));
        let view = View::new(&config, known_rx, Arc::clone(&metrics), Arc::clone(&budget), (status_rx, stalled));
        let quit = admin.as_ref().map(Admin::quit);
        let (limit, limit_rx) = watch::channel(config.shutdown.timeout);
        let stop = async {
            tokio::select! {
                () = stop => {}
                () = asked_to_quit(quit) => {}
            }
        };
        let told = Told { renewals: renewals_tx, known, stop_limit: limit };
        let renewing = Renewing::new(config, places, reloader, told, (budget, Arc::clone(&metrics)));
        let drained = {
            let stopping = stop_tx.clone();
            let sending = delivery.run(channels);
            let ended = until_stopped(stop, feeders, keeping, &stopping, limit_rx);
            tokio::select! {
                () = sending => true,
                () = ended => false,
                () = renewing.keep() => unreachable!("a configuration can be loaded anew for ever"),
                () = serve(admin, view) => unreachable!("the admin server never ends by itself"),
            }
        };
        drop(watching);
        // The sender is gone, and with it the channel that the reader waits for.
        let stopped = *stop_tx.borrow();
        if timeout(CLOSING_TIME, closed).await.is_err() {
            tracing::error!(
                "the last checkpoint was not written in time; what was delivered since the one before comes again"
            );
        }
        if drained && !stopped {
            return Err(Error::Reader);
        }
        Ok(summary(&metrics, drained))
    }
}

/// Starts the thread that looks whether every stage moves, unless that is switched off.
fn watch_stages(
    config: &Config,
    metrics: &Metrics,
    spools: &[Spool],
    has_admin: bool,
    statuses: watch::Receiver<Statuses>,
) -> Result<(Option<Watching>, watch::Receiver<Vec<Stalled>>), Error> {
    let Some(limit) = config.admin.watchdog else { return Ok((None, watch::channel(Vec::new()).1)) };
    let Beats { reader, sender, checkpoint, admin, .. } = &metrics.beats;
    let stages = [("reader", reader), ("sender", sender), ("checkpoint", checkpoint)];
    let stages = stages.into_iter().chain(has_admin.then_some(("admin", admin)));
    let stages = stages.map(|(name, beat)| (name.to_owned(), Arc::clone(beat)));
    let dog = Watchdog::new(stages.chain(spools.iter().map(Spool::beat)), limit);
    let (watching, stalled) = dog.spawn(statuses, metrics.stalled.clone()).map_err(Error::Thread)?;
    Ok((Some(watching), stalled))
}

fn summary(metrics: &Metrics, drained: bool) -> Summary {
    metrics.collect_ledger();
    let (events, delivered) = (Metrics::total(&metrics.events), Metrics::total(&metrics.user_records));
    let dropped = Metrics::total(&metrics.dropped_events);
    let unsettled = events - delivered - dropped;
    let unread_bytes = metrics.picture.borrow().backlog();
    Summary { events, delivered, dropped, unsettled, unread_bytes, drained }
}

/// Completes at the deadline after the stop.
async fn until_stopped(
    stop: impl Future<Output = ()>,
    mut feeders: Feeders,
    keeping: Vec<Keeping>,
    stopping: &watch::Sender<bool>,
    limit: watch::Receiver<Duration>,
) {
    tokio::select! {
        () = stop => {}
        () = feeders.ended() => tracing::info!("stdin has ended"),
    }
    let limit = *limit.borrow();
    let deadline = Instant::now() + limit;
    tracing::info!(timeout = ?limit, "stopping: reading to the end of the files, then sending what is left");
    // What the feeders have is in files before those are read to their end.
    let kept = async {
        feeders.stop().await;
        for spool in keeping {
            spool.end().await;
        }
    };
    if timeout_at(deadline, kept).await.is_err() {
        tracing::warn!("a spool is full, and what its feeders still have is not kept");
    }
    stopping.send_replace(true);
    sleep_until(deadline).await;
}

/// Completes when somebody asks the admin server for an end.
async fn asked_to_quit(quit: Option<Arc<Notify>>) {
    match quit {
        Some(quit) => quit.notified().await,
        None => std::future::pending().await,
    }
}

async fn serve(admin: Option<Admin>, view: View) {
    match admin {
        Some(admin) => admin.serve(view).await,
        None => std::future::pending().await,
    }
}

fn sender_config(config: &Config, delivered_before: bool) -> SenderConfig {
    let kinesis = &config.kinesis;
    // A record of one event each needs no company to wait for.
    let max_age = if kinesis.format == Format::Single { Duration::ZERO } else { kinesis.aggregate.max_age };
    SenderConfig {
        stream: kinesis.stream.as_str().into(),
        arn: kinesis.stream_arn.as_deref().map(Into::into),
        packing: Packing {
            format: kinesis.format,
            target: kinesis.aggregate.target_bytes,
            max: DEFAULT_RECORD_LIMIT,
            max_records: match u32::try_from(kinesis.aggregate.max_records) {
                Ok(0) | Err(_) => u32::MAX,
                Ok(count) => count,
            },
            compression: kinesis.compression,
            max_age,
            delimiter: kinesis.delimiter.as_bytes().into(),
        },
        max_bytes: kinesis.aggregate.max_bytes.unwrap_or(usize::MAX),
        hot_key_share: kinesis.hot_key_share,
        partition_key: kinesis.partition_key.clone(),
        max_in_flight: kinesis.max_in_flight_requests,
        request_timeout: kinesis.request_timeout,
        delivered_before,
        seed: fastrand::u64(..),
    }
}

/// Whether events can go to more than one stream.
fn names_streams(config: &Config) -> bool {
    config.kinesis.max_streams > 1 && config.sources.iter().any(|source| source.stream.is_some())
}

/// The sources as they are read, and where their events go.
fn sources(config: &Config, host: &str, shared: &mut Shared, places: &mut Places) -> Vec<(Group, Rules)> {
    let mut source = |source: &SourceConfig| {
        let known = shared.show(&source.add.metadata, places);
        let group = spool::group(source, &config.state_dir, host).with_known(known);
        (group, Rules::new(source, &config.kinesis))
    };
    config.sources.iter().map(&mut source).collect()
}

/// The journal begins empty, so what it held goes into the checkpoint first.
fn open_journal(state: &StateDir, found: &Found, metrics: &Metrics) -> Option<checkpoint::Journal> {
    let opened = match found {
        Found::Entries(entries) => state.store(entries.clone()).and_then(|()| state.journal()),
        Found::Nothing | Found::Corrupt { .. } => state.journal(),
    };
    opened
        .inspect_err(|error| {
            metrics.checkpoint_errors.inc();
            tracing::error!(%error, state_dir = %state.path().display(), "offsets cannot be noted; delivery goes on, and a restart sends again what no checkpoint holds: make state_dir writable and give it space");
        })
        .ok()
}

fn spawn_reader(reader: Reader, channels: reader::Channels) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(Error::Thread)?;
    std::thread::Builder::new()
        .name("reader".to_owned())
        .spawn(move || runtime.block_on(reader.run(channels)))
        .map(drop)
        .map_err(Error::Thread)
}

/// The thread that writes checkpoints: a sync can take as long as a disk likes. The answer completes when it has written the last one.
fn spawn_writer(
    state: Arc<StateDir>,
    mut checkpoints: mpsc::Receiver<Vec<Entry>>,
    metrics: Arc<Metrics>,
) -> Result<oneshot::Receiver<()>, Error> {
    let (done, closed) = oneshot::channel();
    let write = move || {
        let mut failing_since: Option<Instant> = None;
        let beat = |doing| metrics.beats.checkpoint.at(doing);
        while let Some(entries) = checkpoints.blocking_recv() {
            beat(Doing::Stores);
            match state.store(entries) {
                Ok(()) => {
                    if failing_since.take().is_some() {
                        tracing::info!("checkpoints can be written again");
                    }
                    metrics.checkpoint_age.set(0.0);
                }
                Err(error) => {
                    let since = *failing_since.get_or_insert_with(Instant::now);
                    metrics.checkpoint_errors.inc();
                    metrics.checkpoint_age.set(since.elapsed().as_secs_f64());
                    tracing::error!(%error, state_dir = %state.path().display(), "the checkpoint cannot be written; delivery goes on, and a restart sends again what was delivered since the last one: make state_dir writable and give it space");
                }
            }
            beat(Doing::Nothing);
        }
        // Nobody waits any more when the time for closing is over.
        done.send(()).ok();
    };
    std::thread::Builder::new().name("checkpoint".to_owned()).spawn(write).map_err(Error::Thread)?;
    Ok(closed)
}

/// The machine's name: in a pod the pod's, in a task the container's.
pub fn host_name() -> String {
    let path = PathBuf::from("/proc/sys/kernel/hostname");
    let name = std::fs::read_to_string(path).unwrap_or_default();
    match name.trim() {
        "" => "localhost".to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_limit_leaves_room_for_an_event_of_nearly_a_mebibyte() {
        assert!(crate::kinesis::aggregate::max_event(DEFAULT_RECORD_LIMIT) > (1 << 20) - 1024);
    }
}
