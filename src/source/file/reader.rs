//! The reader: one thread that owns every descriptor, offset and tracker. It finds files ([`find`]), follows them through rotations
//! ([`rotate`]), reads them in turns and hands batches to the sender ([`take`]), learns from it what is settled, and keeps the checkpoint
//! ([`keep`]). It waits for memory and for the sender, never for a disk that is slow to sync.

mod find;
mod keep;
mod renew;
mod repeats;
mod resume;
mod rotate;
mod spooled;
mod take;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

pub use self::renew::{NoRoom, Renewal, Renewed};
use super::Group;
use super::account::Account;
use super::discover::Discovery;
use super::files::Files;
use super::generation::{Generation, READ_BYTES, State};
use super::known::Known;
use super::watch::Watch;
use super::writes::Writes;
use crate::budget::Budget;
use crate::checkpoint::{Entry, Found, Journal};
use crate::clock;
use crate::config::Format;
use crate::event::{Batch, Span};
use crate::heartbeat::Doing;
use crate::kinesis::{Spare, Statuses};
use crate::metrics::Metrics;
use crate::route::Streams;
use crate::shape::Shaping;
use crate::spool::keeper;
use crate::transform::Repeats;

/// How often the globs are run, whatever the watches say ...
const SCAN_INTERVAL: Duration = Duration::from_secs(1);
/// ... unless that takes more than one part in so many of the time: then less often ...
const SCAN_SHARE: u32 = 400;
/// ... but so often in any case ...
const SCAN_INTERVAL_MAX: Duration = Duration::from_secs(10);
/// ... and this is the part where no hints come for all that is to be noticed ...
const BLIND_SCAN_SHARE: u32 = 50;
/// ... and this the longest time.
const BLIND_SCAN_INTERVAL_MAX: Duration = Duration::from_secs(3);
/// A scan may come so much later than its time.
const SCAN_SLACK: Duration = Duration::from_millis(500);
/// However many hints come, running the globs takes at most one part in so many of the time. A pause of fixed length would have to be
/// short, since a file that comes and goes between two looks is hard to find again.
const HINTED_SCAN_SHARE: u32 = 10;
/// How often quiet files are looked at ...
const SWEEP_INTERVAL: Duration = Duration::from_millis(500);
/// ... unless that takes more than one part in so many of the time: then less often ...
const SWEEP_SHARE: u32 = 200;
/// ... but within this, so that a line in a quiet file is delivered within a second.
const SWEEP_INTERVAL_MAX: Duration = Duration::from_millis(750);
/// How often the checkpoint is replaced while offsets move ...
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);
/// ... unless gathering it takes more than one part in so many of the time: then less often ...
const CHECKPOINT_SHARE: u32 = 200;
/// ... but so often in any case.
const CHECKPOINT_INTERVAL_MAX: Duration = Duration::from_secs(10);
/// For so long after its file was rotated, a path that has none is looked at for files that came and were rotated meanwhile.
const VACANT_FOR: Duration = Duration::from_mins(1);
/// How often the backlog is told while it moves: a scrape should not find what was true a second ago ...
const TELL_INTERVAL: Duration = Duration::from_millis(200);
/// ... unless adding it up takes more than one part in so many of the time: then less often ...
const TELL_SHARE: u32 = 200;
/// ... but so often in any case.
const TELL_INTERVAL_MAX: Duration = Duration::from_secs(1);
/// Bytes that a file may be read before it is another file's turn.
const QUANTUM_BYTES: usize = 1 << 20;
/// At a stop, a line without a newline is waited for this long: a service that is in the middle of a write finishes it within moments, one that
/// has ended never does.
const LAST_LINE_WAIT: Duration = Duration::from_millis(500);
/// And no line is waited for longer than this: a service that goes on writing has a next line begun at any moment.
const LAST_LINE_LIMIT: Duration = Duration::from_millis(1500);
/// Memory that a read is charged before its events are known: the chunk, and as much again for what becomes of it.
const READ_COST: usize = 2 * READ_BYTES;

/// The reader's ends of the channels.
#[derive(Debug)]
pub struct Channels {
    /// To the sender. Dropped when everything is read after a stop.
    pub batches: mpsc::Sender<Batch>,
    /// Buffers coming back.
    pub spare: mpsc::Receiver<Spare>,
    /// What is settled. Its end is the end of the reader.
    pub settled: mpsc::Receiver<Vec<Span>>,
    /// To the thread that writes checkpoints.
    pub checkpoints: mpsc::Sender<Vec<Entry>>,
    /// True when the agent is to stop.
    pub stop: watch::Receiver<bool>,
    /// How the sender is doing.
    pub sender: watch::Receiver<Statuses>,
    /// The stream's record limit.
    pub record_limit: watch::Receiver<usize>,
    /// Segments of spools that are full.
    pub drops: mpsc::Receiver<keeper::Drop>,
    /// Sources that take the place of those that there are.
    pub renewals: mpsc::Receiver<Renewal>,
}

/// After this time a file that is gone is forgotten; until then its volume may come back.
const EXPIRE_AFTER: Duration = Duration::from_hours(7 * 24);

/// Why the reader stopped in the middle of its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// The memory is used up.
    Memory,
    /// The sender has enough batches.
    Sender,
}

/// The reader.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact by itself, and all mixtures of them happen")]
pub struct Reader {
    groups: Vec<Group>,
    /// What the events are packed into: it decides how much memory they take.
    format: Format,
    budget: Arc<Budget>,
    metrics: Arc<Metrics>,
    journal: Option<Journal>,
    watch: Watch,
    discovery: Discovery,
    files: Files,
    /// Files that are not open: of the last run, and let go by this one.
    known: Known,
    /// What `start_at` means for a file without an entry: only the first scan of the first run looks at it.
    first_run: bool,
    scanned: bool,
    /// When the last scan began: what was created after that may have been missed.
    looked_at: SystemTime,
    unreadable: BTreeMap<PathBuf, usize>,
    next_scan: Instant,
    /// When the scan is due that a hint asked for.
    hinted_scan: Option<Instant>,
    /// The earliest time for a scan that a hint asks for.
    scan_again: Instant,
    next_sweep: Instant,
    /// Where there are many quiet files: what is written to them.
    writes: Option<Writes>,
    /// More than could be told of.
    has_lost_writes: bool,
    /// The system gives no watch for that.
    is_deaf: bool,
    next_tell: Instant,
    dirty: bool,
    next_checkpoint: Instant,
    /// The earliest time for one that cannot wait.
    checkpoint_again: Instant,
    checkpoint_failures: u64,
    /// Tags of files that were let go since the last checkpoint was handed over ...
    left: Vec<u64>,
    /// ... and before that, and before the one before it.
    leaving: [Vec<u64>; 2],
    /// Paths whose file was rotated and that had none since: one may come and be rotated before the next look.
    vacant: BTreeMap<PathBuf, Instant>,
    /// What became of the bytes of files that are not there any more.
    account: Account,
    /// Told to stop: whatever is not read by now is for the next run.
    stopping: bool,
    /// The streams that events name.
    streams: Streams,
    /// Told when a segment of a spool is gone.
    released: watch::Sender<()>,
    /// Buffers of a read that brought no line.
    spare: Option<Spare>,
    /// By group: what is remembered from event to event.
    shaping: Vec<Shaping>,
    /// By group: repeats that are to be told of.
    repeats: VecDeque<(usize, Repeats)>,
    /// While the sources are replaced: those before.
    before: Option<Vec<Group>>,
    /// And files that have a source again before all that was read of them was delivered, as they were when they lost theirs.
    returned: Vec<Entry>,
    /// What the last such replacement did.
    renewed: Renewed,
    rng: fastrand::Rng,
}

impl Reader {
    /// A reader that goes on where the last run left.
    pub fn new(
        groups: Vec<Group>,
        format: Format,
        found: Found,
        journal: Option<Journal>,
        budget: Arc<Budget>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (now, groups_len) = (Instant::now(), groups.len());
        let (entries, first_run) = match found {
            Found::Nothing => (Vec::new(), true),
            Found::Entries(entries) => (entries, false),
            // Where things stood is not known, so nothing is skipped.
            Found::Corrupt { .. } => (Vec::new(), false),
        };
        Self {
            groups,
            format,
            budget,
            watch: Watch::new(Arc::clone(&metrics)),
            discovery: Discovery::new(Arc::clone(&metrics.beats.reader)),
            metrics,
            journal,
            files: Files::new(),
            known: Known::new(entries, EXPIRE_AFTER),
            first_run,
            scanned: false,
            looked_at: clock::now(),
            unreadable: BTreeMap::new(),
            next_scan: now,
            hinted_scan: None,
            scan_again: now,
            next_sweep: now,
            writes: None,
            has_lost_writes: false,
            is_deaf: false,
            next_tell: now,
            dirty: true,
            next_checkpoint: now,
            checkpoint_again: now,
            checkpoint_failures: 0,
            left: Vec::new(),
            leaving: [Vec::new(), Vec::new()],
            vacant: BTreeMap::new(),
            account: Account::new(groups_len),
            streams: Streams::default(),
            released: watch::Sender::default(),
            stopping: false,
            spare: None,
            shaping: Vec::new(),
            repeats: VecDeque::new(),
            before: None,
            returned: Vec::new(),
            renewed: Renewed::default(),
            rng: fastrand::Rng::new(),
        }
    }

    /// Forgets files that are gone after this time in place of the default.
    #[must_use]
    pub fn with_expiry(mut self, expire_after: Duration) -> Self {
        self.known.set_expiry(expire_after);
        self
    }

    /// Numbers the streams that events name as this does, which knows those that the groups' routers were made with.
    #[must_use]
    pub fn with_streams(self, streams: Streams) -> Self {
        Self { streams, ..self }
    }

    /// Tells this one whenever a segment of a spool is gone.
    #[must_use]
    pub fn with_released(self, released: watch::Sender<()>) -> Self {
        Self { released, ..self }
    }

    /// Reads until it is told to stop, then to the end of every file, then waits for the last spans to be settled.
    pub async fn run(mut self, mut ch: Channels) {
        while !*ch.stop.borrow() && !ch.batches.is_closed() {
            let wait = self.turn(&mut ch, Instant::now());
            self.wait(&mut ch, wait).await;
        }
        self.finish_reading(&mut ch).await;
        self.tell();
        let Channels { batches, mut settled, checkpoints, .. } = ch;
        drop(batches);
        // What is left to do is up to others.
        self.beat(Doing::Nothing);
        while let Some(spans) = settled.recv().await {
            self.settle(spans);
            let now = Instant::now();
            if self.next_tell <= now {
                self.tell();
            }
        }
        self.tell();
        self.release_segments();
        let entries = self.snapshot(Instant::now());
        // The writer ends when this sender does, after it has written what it was given.
        if checkpoints.send(entries).await.is_err() {
            tracing::error!("the last checkpoint was not written");
        }
    }

    /// One round: scan if it is time, read what is due, keep the checkpoint.
    fn turn(&mut self, ch: &mut Channels, now: Instant) -> Option<Wait> {
        if self.next_scan <= now || self.hinted_scan.is_some_and(|hinted| hinted <= now) {
            self.scan_now(if self.next_scan <= now { "interval" } else { "hint" }, now);
        }
        if self.next_tell <= now {
            self.drop_left();
            self.tell();
            // What there is no room for now is told of the next time.
            self.tell_repeats(ch, false);
        }
        let wait = self.read_due(ch, now);
        self.retire(ch, now);
        self.checkpoint(ch, now);
        wait
    }

    /// Says that it moves, and what it does now.
    fn beat(&self, doing: Doing) {
        self.metrics.beats.reader.at(doing);
    }

    fn scan_now(&mut self, trigger: &str, now: Instant) {
        self.beat(Doing::Scans);
        self.metrics.file_scans.with_label_values(&[trigger]).inc();
        self.hinted_scan = None;
        let began = Instant::now();
        self.scan(now);
        self.metrics.beats.note_scan();
        self.beat(Doing::Reads);
        let ended = Instant::now();
        let took = ended - began;
        self.scan_again = ended + took * HINTED_SCAN_SHARE;
        let (share, longest) = if self.watch.is_blind() {
            (BLIND_SCAN_SHARE, BLIND_SCAN_INTERVAL_MAX)
        } else {
            (SCAN_SHARE, SCAN_INTERVAL_MAX)
        };
        self.next_scan = now + (took * share).clamp(SCAN_INTERVAL, longest);
    }

    /// After the stop: to the end of every file, the last line included, for as long as the sender takes batches.
    async fn finish_reading(&mut self, ch: &mut Channels) {
        let stopped = Instant::now();
        self.stopping = true;
        self.scan_now("stop", stopped);
        for id in self.files.ids() {
            self.files.update(id, |g| g.wake(stopped));
        }
        while !ch.batches.is_closed() {
            let now = Instant::now();
            if self.next_tell <= now {
                self.tell();
            }
            (self.next_scan, self.hinted_scan) = (now + SCAN_INTERVAL, None);
            self.next_sweep = now + SWEEP_INTERVAL;
            let mut wait = self.let_go_of_left(ch).or_else(|| self.read_due(ch, now));
            wait = wait.or_else(|| self.flush_last_lines(ch, stopped, now));
            self.checkpoint(ch, now);
            // A writer that goes on writes for the next run: one look at its end is enough.
            let unfinished = |g: &Generation| {
                if g.unproven.is_some() {
                    return false;
                }
                let in_a_line = g.has_partial_line() && now < stopped + LAST_LINE_LIMIT;
                g.state != State::Done && (g.ended_at.is_none_or(|at| at < stopped) || in_a_line)
            };
            if wait.is_none() && !self.files.iter().any(unfinished) {
                wait = self.tell_repeats(ch, true);
                if wait.is_none() {
                    break;
                }
            }
            self.wait(ch, wait).await;
        }
    }

    async fn wait(&mut self, ch: &mut Channels, wait: Option<Wait>) {
        let began = Instant::now();
        let sweep = (self.files.quiet() > 0).then_some(self.next_sweep);
        let looks = self.files.next_due().into_iter().chain(sweep).min();
        let polls = if wait.is_none() { looks } else { None };
        // A scan waits for a look that is due soon after it: one waking instead of two.
        let mut wake = match polls {
            Some(polls) if polls > self.next_scan + SCAN_SLACK => self.next_scan,
            Some(polls) => polls,
            None => self.next_scan,
        };
        wake = self.hinted_scan.map_or(wake, |hinted| wake.min(hinted));
        if self.dirty {
            wake = wake.min(self.next_checkpoint.max(began + Duration::from_millis(1)));
        }
        self.beat(match wait {
            Some(Wait::Memory) => Doing::ForMemory,
            Some(Wait::Sender) => Doing::ForSender,
            None => Doing::ForFiles,
        });
        let mut renewal = None;
        tokio::select! {
            biased;
            changed = ch.stop.changed() => if changed.is_err() { sleep_until(wake).await },
            spans = ch.settled.recv() => match spans {
                Some(spans) => self.settle(spans),
                // The sender is gone: the loop ends, since its batches are closed too.
                None => sleep_until(wake.min(began + SCAN_INTERVAL)).await,
            },
            () = self.budget.freed(), if wait == Some(Wait::Memory) => {}
            _ = ch.batches.reserve(), if wait == Some(Wait::Sender) => {}
            Some(order) = ch.drops.recv() => self.drop_segment(order),
            Some(asked) = ch.renewals.recv() => renewal = Some(asked),
            () = self.watch.written() => {}
            () = self.watch.hint() => {
                self.hinted_scan = Some(Instant::now().max(self.scan_again));
            }
            () = sleep_until(wake) => {}
        }
        self.beat(Doing::Reads);
        if wait == Some(Wait::Memory) {
            self.metrics.backpressure_seconds.inc_by(began.elapsed().as_secs_f64());
        }
        while let Ok(spans) = ch.settled.try_recv() {
            self.settle(spans);
        }
        if let Some(renewal) = renewal {
            self.renew(ch, renewal);
        }
    }
}
