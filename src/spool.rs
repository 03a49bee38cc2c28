//! The spool: what cannot be read twice is written to files first, which the reader tails like any others. A feeder (a wrapped command, stdin, a
//! FIFO) gives whole lines, and hears when they are kept; the [`keeper`] writes them to the [`segments`].

mod cover;
pub mod keeper;
pub mod segments;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use crate::config::{Config, LineFormat, SourceConfig, SourceKind, StartAt};
use crate::heartbeat::Beat;
use crate::metrics::Metrics;
use crate::source::file::Group;
use cover::Cover;
use keeper::{Drop, Keeper};

/// The directory of all spools.
const SPOOLS: &str = "spool";
/// Hand-overs that may wait for the disk. A feeder waits for its own; this bounds how many feeders of one spool do.
const QUEUE: usize = 16;

/// Lines on their way to the spool.
#[derive(Debug)]
pub struct Lines {
    /// Whole lines in the spool's format, each with its newline.
    pub bytes: Vec<u8>,
    /// How many events they are.
    pub events: u64,
}

/// The spool takes nothing any more: the agent stops, and what was not kept is the feeder's to keep or to lose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the spool is closed: the agent stops")]
pub struct Closed;

/// A feeder's end of a spool. Clones feed the same one; what one clone writes stays in order.
#[derive(Debug, Clone)]
pub struct Feed {
    to: mpsc::Sender<Handed>,
}

/// What arrives at the spool's own thread.
#[derive(Debug)]
pub struct Handed {
    /// What is to be kept.
    pub lines: Lines,
    /// Told when it is kept, or dropped because the policy says so. Dropped without a word if it is neither.
    pub kept: oneshot::Sender<()>,
}

impl Feed {
    /// A feed, and the end at which its lines arrive.
    pub fn new() -> (Self, mpsc::Receiver<Handed>) {
        let (to, from) = mpsc::channel(QUEUE);
        (Self { to }, from)
    }

    /// Keeps lines: returns when they are on the disk, as far as `spool.fsync` demands, or dropped by `spool.on_full`. With `block` it waits
    /// for as long as the spool is full.
    pub async fn write(&self, lines: Lines) -> Result<(), Closed> {
        let (kept, heard) = oneshot::channel();
        self.to.send(Handed { lines, kept }).await.map_err(|_| Closed)?;
        heard.await.map_err(|_| Closed)
    }

    /// The same for a feeder that has a thread of its own.
    pub fn write_blocking(&self, lines: Lines) -> Result<(), Closed> {
        let (kept, heard) = oneshot::channel();
        self.to.blocking_send(Handed { lines, kept }).map_err(|_| Closed)?;
        heard.blocking_recv().map_err(|_| Closed)
    }
}

/// Why a spool cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(
    "the spool {dir} of {name} cannot be opened: {source}; make state_dir writable for this user, and give it space"
)]
pub struct Error {
    dir: PathBuf,
    name: Arc<str>,
    source: std::io::Error,
}

/// Where the spool of a source lies.
fn directory(state_dir: &Path, source: &str) -> PathBuf {
    state_dir.join(SPOOLS).join(source)
}

/// The segment that is written to.
fn current(state_dir: &Path, source: &str) -> PathBuf {
    directory(state_dir, source).join(segments::CURRENT)
}

/// What the reader reads of a source: a spool's segments, or the files themselves.
pub fn group(source: &SourceConfig, state_dir: &Path, host: &str) -> Group {
    let group = Group::new(&as_files(source, state_dir), host);
    if source.kind == SourceKind::File { group } else { group.with_spool(current(state_dir, &source.name)) }
}

/// A source as the reader sees it: a spool's segments are a rotated log in the format of the CRI.
fn as_files(source: &SourceConfig, state_dir: &Path) -> SourceConfig {
    if source.kind == SourceKind::File {
        return source.clone();
    }
    let path = current(state_dir, &source.name);
    SourceConfig {
        // A name of a source has no characters that mean something in a glob; a directory may.
        paths: vec![glob::Pattern::escape(&path.to_string_lossy())],
        exclude: Vec::new(),
        start_at: StartAt::Beginning,
        // The Forward server writes a JSON object a line.
        format: if source.kind == SourceKind::Forward { LineFormat::Plain } else { LineFormat::Cri },
        // Nobody writes to a segment that has been renamed.
        rotate_wait: Duration::ZERO,
        oldest_first: true,
        ..source.clone()
    }
}

/// Spools that hold something and are no source's, and how much.
fn left_behind(config: &Config) -> Vec<(PathBuf, u64)> {
    let is_known = |name: &OsStr| config.sources.iter().any(|s| s.kind != SourceKind::File && *name == *s.name);
    // Where there is no spool yet, there is nothing to list.
    let dirs = std::fs::read_dir(config.state_dir.join(SPOOLS)).into_iter().flatten().flatten();
    let unknown =
        dirs.filter(|dir| !is_known(&dir.file_name())).map(|dir| (dir.path(), segments::bytes_in(&dir.path())));
    unknown.filter(|(_, bytes)| *bytes > 0).collect()
}

/// A spool that is open, before its keeper runs.
#[derive(Debug)]
pub struct Spool {
    source: Arc<str>,
    kind: SourceKind,
    keeper: Keeper,
    feed: Feed,
    handed: mpsc::Receiver<Handed>,
}

impl Spool {
    /// What the watchdog looks at, by the name of the stage.
    pub fn beat(&self) -> (String, Arc<Beat>) {
        (format!("spool:{}", self.source), self.keeper.beat())
    }

    /// Opens the spools of all sources that have one.
    pub fn open_all(config: &Config, metrics: &Arc<Metrics>) -> Result<Vec<Self>, Error> {
        let spooled = config.sources.iter().filter(|source| source.kind != SourceKind::File);
        for (dir, bytes) in left_behind(config) {
            tracing::warn!(dir = %dir.display(), bytes, "a spool holds events of a source that is not configured any more: they are sent when a source has the spool's name again; remove the directory if nobody needs them");
        }
        spooled.map(|source| Self::open(source, config, Arc::clone(metrics))).collect()
    }

    fn open(source: &SourceConfig, config: &Config, metrics: Arc<Metrics>) -> Result<Self, Error> {
        let name: Arc<str> = source.name.as_str().into();
        let dir = directory(&config.state_dir, &source.name);
        let keeper = Keeper::open(Arc::clone(&name), dir.clone(), config.spool, metrics).map_err(|source| Error {
            dir,
            name: Arc::clone(&name),
            source,
        })?;
        let keeper = keeper.with_cover(Cover::new(source));
        let (feed, handed) = Feed::new();
        Ok(Self { source: name, kind: source.kind, keeper, feed, handed })
    }

    /// Its source, what that is, and a feed of it.
    pub fn feed(&self) -> (&Arc<str>, SourceKind, Feed) {
        (&self.source, self.kind, self.feed.clone())
    }

    /// Starts the thread that keeps what the feeders give.
    pub fn spawn(self, released: watch::Receiver<()>, drops: mpsc::Sender<Drop>) -> std::io::Result<Keeping> {
        let Self { source, keeper, feed, handed, .. } = self;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let (done, ended) = oneshot::channel();
        let keep = move || {
            runtime.block_on(keeper.run(keeper::Channels { handed, released, drops }));
            // Nobody waits any more after the deadline.
            done.send(()).ok();
        };
        std::thread::Builder::new().name("spool".to_owned()).spawn(keep)?;
        Ok(Keeping { source, feed, ended })
    }
}

/// A spool whose keeper runs.
#[derive(Debug)]
pub struct Keeping {
    source: Arc<str>,
    feed: Feed,
    ended: oneshot::Receiver<()>,
}

impl Keeping {
    /// Completes when all feeders have ended and what they gave is kept.
    pub async fn end(self) {
        let Self { source, feed, ended } = self;
        drop(feed);
        if ended.await.is_err() {
            tracing::error!(source = &*source, "the keeper of a spool ended by itself; this is a bug");
        }
    }
}
