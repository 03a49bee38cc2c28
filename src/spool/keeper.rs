//! The keeper of one spool: takes lines from the feeders, writes them to the segments, and does what `spool.on_full` says when there is no room
//! for them, be it by `spool.max_bytes` or because the disk is full. It runs on a thread of its own, since a disk takes its time.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep};

use super::cover::Cover;
use super::segments::{Segment, Segments};
use super::{Handed, Lines};
use crate::clock;
use crate::config::{Fsync, OnFull, SpoolConfig};
use crate::heartbeat::{Beat, Doing};
use crate::metrics::Metrics;

/// How long it waits before it tries a full disk again.
const DISK_RETRY: Duration = Duration::from_secs(1);
/// How often the disk is asked for what it holds back, with `fsync: interval`, and the age of what is kept is told; as often as there are
/// checkpoints.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// An order to the reader: what it has not read yet of this segment is dropped, and the segment removed.
#[derive(Debug)]
pub struct Drop {
    /// The segment.
    pub segment: Segment,
    /// The source whose events they are.
    pub source: Arc<str>,
    /// Told when it is gone.
    pub done: oneshot::Sender<()>,
}

/// The ends of the channels.
#[derive(Debug)]
pub struct Channels {
    /// Lines from the feeders. Its end is the end of the keeper.
    pub handed: mpsc::Receiver<Handed>,
    /// Told when the reader has removed a segment: all of it is delivered.
    pub released: watch::Receiver<()>,
    /// To the reader.
    pub drops: mpsc::Sender<Drop>,
}

/// The keeper of one spool.
#[derive(Debug)]
pub struct Keeper {
    source: Arc<str>,
    dir: PathBuf,
    config: SpoolConfig,
    segments: Segments,
    metrics: Arc<Metrics>,
    /// What hides secrets from whoever looks at the disk.
    cover: Option<Cover>,
    /// Something was written since the last sync.
    is_dirty: bool,
    sync_due: Instant,
    /// The disk has refused something, and not taken anything since.
    is_failing: bool,
    beat: Arc<Beat>,
}

impl Keeper {
    /// A keeper of the spool in this directory.
    pub fn open(source: Arc<str>, dir: PathBuf, config: SpoolConfig, metrics: Arc<Metrics>) -> std::io::Result<Self> {
        let segments = Segments::open(&dir)?;
        let now = Instant::now();
        let (is_dirty, is_failing) = (false, false);
        let beat = Arc::default();
        let cover = None;
        Ok(Self { source, dir, config, segments, metrics, cover, is_dirty, sync_due: now, is_failing, beat })
    }

    /// The same, with secrets covered before lines are written.
    #[must_use]
    pub(super) fn with_cover(self, cover: Option<Cover>) -> Self {
        Self { cover, ..self }
    }

    /// What the watchdog looks at.
    pub fn beat(&self) -> Arc<Beat> {
        Arc::clone(&self.beat)
    }

    /// Keeps lines until there are no feeders any more.
    pub async fn run(mut self, mut ch: Channels) {
        loop {
            self.tell();
            self.beat.at(Doing::Nothing);
            tokio::select! {
                handed = ch.handed.recv() => match handed {
                    Some(Handed { mut lines, kept }) => {
                        self.beat.at(Doing::Keeps);
                        if let Some(cover) = &mut self.cover {
                            cover.cover(&mut lines);
                        }
                        self.take(&mut ch, &lines).await;
                        // A feeder that has gone meanwhile knows less than it could, and what it wrote is kept all the same.
                        kept.send(()).ok();
                    }
                    None => break,
                },
                Ok(()) = ch.released.changed() => self.segments.notice_released(),
                () = sleep(SYNC_INTERVAL), if self.segments.bytes() > 0 => self.sync(),
            }
        }
        self.sync();
        self.tell();
        self.beat.at(Doing::Nothing);
    }

    async fn take(&mut self, ch: &mut Channels, lines: &Lines) {
        while !self.has_room(lines) || !self.write(&lines.bytes) {
            match self.config.on_full {
                OnFull::Block => self.wait_for_room(ch).await,
                OnFull::DropNewest => return self.count_dropped("drop_newest", lines.events),
                OnFull::DropOldest => {
                    if !self.drop_oldest(ch).await {
                        self.wait_for_room(ch).await;
                    }
                }
            }
        }
        self.metrics.spool_written_bytes.with_label_values(&[&*self.source]).inc_by(lines.bytes.len() as u64);
        match self.config.fsync {
            Fsync::Always => self.sync(),
            Fsync::Interval if self.sync_due <= Instant::now() => self.sync(),
            Fsync::Interval | Fsync::Never => {}
        }
    }

    /// What is larger than the whole spool is let into an empty one.
    fn has_room(&self, lines: &Lines) -> bool {
        let bytes = self.segments.bytes();
        bytes == 0 || bytes + lines.bytes.len() as u64 <= self.config.max_bytes
    }

    /// Whether the disk took it.
    fn write(&mut self, lines: &[u8]) -> bool {
        let full = self.segments.current_bytes() + lines.len() as u64 > self.config.segment_bytes;
        let rolled = if full && self.segments.current_bytes() > 0 { self.roll() } else { Ok(()) };
        match rolled.and_then(|()| self.segments.append(lines)) {
            Ok(()) => {
                if std::mem::take(&mut self.is_failing) {
                    tracing::info!(dir = %self.dir.display(), "the spool can be written again");
                }
                self.is_dirty = true;
                true
            }
            Err(error) => {
                self.metrics.spool_errors.with_label_values(&[&*self.source]).inc();
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::error!(%error, dir = %self.dir.display(), on_full = self.config.on_full.as_str(), "the spool cannot be written; what happens to new lines is what spool.on_full says: make state_dir writable and give it space");
                }
                false
            }
        }
    }

    fn roll(&mut self) -> std::io::Result<()> {
        if self.config.fsync != Fsync::Never {
            self.segments.sync()?;
        }
        self.segments.roll()
    }

    fn sync(&mut self) {
        self.beat.at(Doing::Keeps);
        self.sync_due = Instant::now() + SYNC_INTERVAL;
        if !std::mem::take(&mut self.is_dirty) || self.config.fsync == Fsync::Never {
            return;
        }
        if let Err(error) = self.segments.sync() {
            self.metrics.spool_errors.with_label_values(&[&*self.source]).inc();
            tracing::error!(%error, dir = %self.dir.display(), "the disk does not say that it holds what the spool was given; a crash of the machine may lose it");
        }
    }

    async fn wait_for_room(&mut self, ch: &mut Channels) {
        let began = Instant::now();
        // A segment goes when it is finished: what is blocked by one that is written to would wait for itself.
        if self.segments.oldest_finished().is_none() && self.segments.current_bytes() > 0 && self.roll().is_err() {
            self.is_failing = true;
        }
        self.beat.at(Doing::ForRoom);
        tokio::select! {
            Ok(()) = ch.released.changed() => {}
            () = sleep(DISK_RETRY) => {}
        }
        self.beat.at(Doing::Keeps);
        self.segments.notice_released();
        self.tell();
        self.metrics.spool_blocked_seconds.with_label_values(&[&*self.source]).inc_by(began.elapsed().as_secs_f64());
    }

    /// Drops the oldest segment. Answers whether there was one.
    async fn drop_oldest(&mut self, ch: &mut Channels) -> bool {
        if self.segments.oldest_finished().is_none() && (self.segments.current_bytes() == 0 || self.roll().is_err()) {
            return false;
        }
        let Some(segment) = self.segments.oldest_finished().cloned() else { return false };
        let (done, gone) = oneshot::channel();
        let order = Drop { segment, source: Arc::clone(&self.source), done };
        // The reader has a heartbeat of its own.
        self.beat.at(Doing::ForRoom);
        // Without a reader the agent stops, and what is kept is for its next run.
        if ch.drops.send(order).await.is_err() || gone.await.is_err() {
            return false;
        }
        self.beat.at(Doing::Keeps);
        self.segments.notice_released();
        true
    }

    fn count_dropped(&self, reason: &str, events: u64) {
        self.metrics.aside.dropped(&self.source, ("spool", reason), events);
    }

    fn tell(&self) {
        let source = &[&*self.source];
        let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.metrics.spool_bytes.with_label_values(source).set(gauge(self.segments.bytes()));
        self.metrics.spool_segments.with_label_values(source).set(gauge(self.segments.count() as u64));
        let age = self.segments.oldest().and_then(|at| clock::now().duration_since(at).ok());
        self.metrics.spool_oldest_age.with_label_values(source).set(age.map_or(0.0, |age| age.as_secs_f64()));
    }
}
