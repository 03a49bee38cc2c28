//! The simulated reader: it reads the files of a plan as the real one reads a disk, with the real line, budget and tracker, and keeps a
//! checkpoint in memory.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use kinetail::budget::{Budget, Permit};
use kinetail::config::PartitionKey;
use kinetail::event::{Batch, LaneId, SourceId, Span};
use kinetail::kinesis::Spare;
use kinetail::kinesis::aggregate::max_event;
use kinetail::kinesis::record::batch_memory;
use kinetail::line::{LineBuilder, Lines};
use kinetail::offsets::OffsetTracker;
use kinetail::parse::Added;
use kinetail::route::{Router, Routes, Rules, Streams};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use crate::ledger::{Violation, ensure};
use crate::plan::{Mutant, Plan};
use crate::stream::Stream;

/// How often a file is looked at while it grows, and when it does not.
const POLL_HOT: Duration = Duration::from_millis(5);
const POLL_IDLE: Duration = Duration::from_millis(250);

/// The offsets that survive a crash.
pub(crate) type Disk = Rc<RefCell<Vec<u64>>>;

pub(crate) struct Channels {
    pub(crate) batches: mpsc::Sender<Batch>,
    pub(crate) spare: mpsc::Receiver<Spare>,
    pub(crate) settled: mpsc::Receiver<Vec<Span>>,
    pub(crate) stop: watch::Receiver<bool>,
    pub(crate) record_limit: watch::Receiver<usize>,
}

/// What is settled of a file: the real tracker, or a wrong one.
enum Tracker {
    Real(OffsetTracker),
    Highest(u64),
}

impl Tracker {
    fn settle(&mut self, start: u64, end: u64) {
        match self {
            Tracker::Real(tracker) => tracker.settle(start, end),
            Tracker::Highest(highest) => *highest = end.max(*highest),
        }
    }

    fn committed(&self) -> u64 {
        match self {
            Tracker::Real(tracker) => tracker.committed(),
            Tracker::Highest(highest) => *highest,
        }
    }
}

struct Open {
    tracker: Tracker,
    read: usize,
    carry: Vec<u8>,
    line: LineBuilder,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    Memory,
    Sender,
}

pub(crate) struct Reader {
    plan: Rc<Plan>,
    stream: Rc<RefCell<Stream>>,
    budget: Arc<Budget>,
    disk: Disk,
    open: Vec<Open>,
    start: Instant,
    /// When the last run began, if this is it.
    last: Option<Duration>,
    turn: usize,
    poll: Duration,
    next_checkpoint: Instant,
    rng: fastrand::Rng,
}

impl Reader {
    pub(crate) fn new(
        plan: &Rc<Plan>,
        stream: &Rc<RefCell<Stream>>,
        budget: Arc<Budget>,
        disk: &Disk,
        start: Instant,
        last: bool,
    ) -> Self {
        let open = |(index, offset): (usize, &u64)| {
            let line =
                LineBuilder::new(Arc::new(plan.line.clone()), Added::default(), format!("file-{index}"), *offset, 0);
            let tracker = match plan.mutant {
                Mutant::HighestEnd => Tracker::Highest(*offset),
                _ => Tracker::Real(OffsetTracker::starting_at(*offset)),
            };
            Open { tracker, read: usize::try_from(*offset).expect("files fit into memory"), carry: Vec::new(), line }
        };
        Self {
            plan: Rc::clone(plan),
            stream: Rc::clone(stream),
            budget,
            open: disk.borrow().iter().enumerate().map(open).collect(),
            disk: Rc::clone(disk),
            start,
            last: last.then(|| start.elapsed()),
            turn: 0,
            poll: POLL_HOT,
            next_checkpoint: Instant::now(),
            rng: fastrand::Rng::with_seed(plan.seed ^ 0x4ead),
        }
    }

    /// Reads until it is told to stop, or in the last run until the end, then waits for the last spans.
    pub(crate) async fn run(mut self, mut ch: Channels) {
        while !ch.batches.is_closed() {
            let stopping = *ch.stop.borrow();
            let wait = self.read_due(&mut ch, stopping);
            self.checkpoint();
            let ended = stopping || self.last.is_some();
            if ended
                && wait.is_none()
                && (0..self.open.len()).all(|i| self.is_held(i) || self.open[i].read >= self.end(i))
            {
                break;
            }
            self.wait(&mut ch, wait).await;
        }
        for index in 0..self.open.len() {
            while !self.open[index].carry.is_empty() && !ch.batches.is_closed() {
                match self.room(&ch) {
                    Ok(permit) => self.flush(&ch, index, permit),
                    Err(wait) => self.wait(&mut ch, Some(wait)).await,
                }
            }
        }
        let Channels { batches, mut settled, .. } = ch;
        drop(batches);
        while let Some(spans) = settled.recv().await {
            self.settle(spans);
        }
        self.store();
    }

    async fn wait(&mut self, ch: &mut Channels, wait: Option<Wait>) {
        let wake = Instant::now() + self.poll;
        self.poll = (self.poll * 2).min(POLL_IDLE);
        let stopping = *ch.stop.borrow();
        tokio::select! {
            biased;
            _ = ch.stop.changed(), if !stopping => {}
            spans = ch.settled.recv() => match spans {
                Some(spans) => self.settle(spans),
                None => sleep_until(wake).await,
            },
            () = self.budget.freed(), if wait == Some(Wait::Memory) => {}
            _ = ch.batches.reserve(), if wait == Some(Wait::Sender) => {}
            () = sleep_until(wake) => {}
        }
        while let Ok(spans) = ch.settled.try_recv() {
            self.settle(spans);
        }
    }

    /// The end of what there is of a file now; after a stop, of the line that is being written.
    fn visible(&self, index: usize, stopping: bool) -> usize {
        let file = &self.plan.files[index];
        let visible = file.visible(self.start.elapsed(), self.last);
        if stopping && self.last.is_none() { file.line_end(visible.max(self.open[index].read)) } else { visible }
    }

    /// The end that this run will come to.
    fn end(&self, index: usize) -> usize {
        if self.last.is_some() { self.plan.files[index].bytes.len() } else { self.visible(index, true) }
    }

    /// A successor waits until all of its predecessor is read.
    fn is_held(&self, index: usize) -> bool {
        self.plan.files[index].after.is_some_and(|a| self.open[a].read < self.plan.files[a].bytes.len())
    }

    fn read_due(&mut self, ch: &mut Channels, stopping: bool) -> Option<Wait> {
        let count = self.open.len();
        for index in (0..count).map(|i| (self.turn + i) % count).collect::<Vec<_>>() {
            if self.is_held(index) {
                continue;
            }
            self.turn = index;
            while self.open[index].read < self.visible(index, stopping) {
                match self.room(ch) {
                    Ok(permit) => self.read(ch, index, stopping, permit),
                    Err(wait) => return Some(wait),
                }
                self.poll = POLL_HOT;
            }
        }
        None
    }

    fn room(&self, ch: &Channels) -> Result<Permit, Wait> {
        let permit = self.budget.try_reserve(2 * self.plan.read_bytes).ok_or(Wait::Memory)?;
        if ch.batches.capacity() == 0 { Err(Wait::Sender) } else { Ok(permit) }
    }

    fn read(&mut self, ch: &mut Channels, index: usize, stopping: bool, permit: Permit) {
        let to = self.visible(index, stopping);
        let count = self.rng.usize(1..=self.plan.read_bytes);
        let Spare { mut chunk, mut rendered, mut events } = ch.spare.try_recv().unwrap_or_default();
        rendered.clear();
        events.clear();
        let mut lines = Lines { events, rendered, ..Lines::default() };
        let limit = max_event(*ch.record_limit.borrow());
        let open = &mut self.open[index];
        let start = open.read - open.carry.len();
        let end = to.min(open.read + count);
        chunk.clear();
        chunk.append(&mut open.carry);
        chunk.extend_from_slice(&self.plan.files[index].bytes[open.read..end]);
        open.read = end;
        let used = open.line.advance(&chunk, start as u64, limit, Instant::now(), &mut lines);
        open.carry.extend_from_slice(&chunk[used..]);
        if used > 0 {
            self.hand_over(ch, index, chunk, lines, (start, start + used), permit);
        }
    }

    /// A last line without a newline.
    fn flush(&mut self, ch: &Channels, index: usize, permit: Permit) {
        let open = &mut self.open[index];
        let chunk = std::mem::take(&mut open.carry);
        let mut lines = Lines::default();
        let start = open.read - chunk.len();
        open.line.flush(&chunk, start as u64, max_event(*ch.record_limit.borrow()), &mut lines);
        let span = (start, open.read);
        self.hand_over(ch, index, chunk, lines, span, permit);
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of a batch")]
    fn hand_over(
        &mut self,
        ch: &Channels,
        index: usize,
        chunk: Vec<u8>,
        lines: Lines,
        (start, end): (usize, usize),
        mut permit: Permit,
    ) {
        let rejected: usize = lines.rejected.iter().map(|r| r.line.len()).sum();
        let lane = self.plan.files[index].lane;
        let partition_key = format!("sim:/var/log/{lane}.log");
        permit.resize(batch_memory(self.plan.packing.format, &partition_key, &lines.events) + rejected);
        {
            let mut stream = self.stream.borrow_mut();
            if let Some(inside) = &mut stream.inside {
                inside.largest_batch = inside.largest_batch.max(permit.bytes());
            }
            let holds = stream.inspect();
            stream.check(holds);
        }
        let mut batch = Batch {
            source: SourceId(u32::try_from(index).expect("a handful of files")),
            source_name: "sim".into(),
            parser: Arc::clone(self.plan.line.parse.label()),
            lane: LaneId(lane),
            partition_key: partition_key.into(),
            chunk,
            rendered: lines.rendered,
            events: lines.events,
            more: lines.more,
            unused: lines.unused,
            rejected: lines.rejected,
            counts: lines.counts,
            routes: Routes::default(),
            start: start as u64,
            end: end as u64,
            read_at: Instant::now(),
            permit,
        };
        let rules = match &self.plan.partition_key {
            PartitionKey::Template(template) => Rules { partition_key: Some(Arc::clone(template)), ..Rules::default() },
            PartitionKey::Random | PartitionKey::Source => Rules::default(),
        };
        let mut streams = Streams::new("sim", 1);
        Router::new(&rules, "sim", "host", &mut streams).route(&mut batch, "", &mut streams);
        ch.batches.try_send(batch).ok();
        if self.plan.mutant == Mutant::CommitOnRead {
            self.open[index].tracker = Tracker::Highest(end as u64);
        }
    }

    fn settle(&mut self, spans: Vec<Span>) {
        for span in spans {
            self.open[span.source.0 as usize].tracker.settle(span.start, span.end);
        }
    }

    fn checkpoint(&mut self) {
        let now = Instant::now();
        if now >= self.next_checkpoint {
            self.next_checkpoint = now + self.plan.checkpoint_interval;
            self.store();
        }
    }

    fn store(&self) {
        let offsets: Vec<u64> = self.open.iter().map(|o| o.tracker.committed()).collect();
        let holds = self.grows(&offsets);
        self.stream.borrow_mut().check(holds);
        *self.disk.borrow_mut() = offsets;
    }

    fn grows(&self, offsets: &[u64]) -> Result<(), Violation> {
        for (index, (old, new)) in self.disk.borrow().iter().zip(offsets).enumerate() {
            ensure!(old <= new, "file {index}: the checkpoint goes back from {old} to {new}");
            let read = self.open[index].read as u64;
            ensure!(*new <= read, "file {index}: the checkpoint is at {new}, and {read} bytes are read");
        }
        Ok(())
    }
}
