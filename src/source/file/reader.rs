//! The reader: one thread that owns every descriptor, offset and tracker. It finds files, reads them in turns, hands batches to the sender,
//! learns from it what is settled, and keeps the checkpoint. It waits for memory and for the sender, never for a disk that is slow to sync.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::Group;
use super::discover::{Candidate, Discovery, Scan, fixed_directory};
use super::generation::{Generation, Opening, READ_BYTES, Read, State, open};
use super::identity::{self, FileId};
use super::watch::Watch;
use crate::budget::{Budget, Permit};
use crate::checkpoint::{Entry, Found, Journal};
use crate::clock::unix_seconds;
use crate::config::{Format, StartAt};
use crate::event::{Batch, LaneId, SourceId, Span};
use crate::kinesis::aggregate::max_event;
use crate::kinesis::record::batch_memory;
use crate::kinesis::{Spare, Status};
use crate::line::Lines;
use crate::metrics::Metrics;

/// How often the globs are run, whatever the watches say.
const SCAN_INTERVAL: Duration = Duration::from_secs(1);
/// A scan may come so much later than [`SCAN_INTERVAL`] says.
const SCAN_SLACK: Duration = Duration::from_millis(500);
/// However many hints come, running the globs takes at most one part in so many of the time. A pause of fixed length would have to be
/// short, since a file that comes and goes between two looks is never seen.
const SCAN_SHARE: u32 = 10;
/// How often the checkpoint is replaced while offsets move.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);
/// Bytes that a file may be read before it is another file's turn.
const QUANTUM_BYTES: usize = 1 << 20;
/// At a stop, a line without a newline is waited for this long: a service that is in the middle of a write finishes it within moments, one that
/// has ended never does.
const LAST_LINE_WAIT: Duration = Duration::from_millis(500);
/// And no line is waited for longer than this: a service that goes on writing has a next line begun at any moment.
const LAST_LINE_LIMIT: Duration = Duration::from_millis(1500);
/// Memory that a read is charged before its events are known: the chunk, and as much again for what becomes of it.
const READ_COST: usize = 2 * READ_BYTES;
/// A file that is gone is remembered this long, in case its volume comes back: seconds.
const FORGET_AFTER: u64 = 7 * 24 * 3600;

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
    pub sender: watch::Receiver<Status>,
    /// The stream's record limit.
    pub record_limit: watch::Receiver<usize>,
}

/// A file that was found, and where reading it begins.
#[derive(Debug)]
struct Adoption {
    group: usize,
    path: PathBuf,
    offset: u64,
    tag: u64,
    state: State,
}

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
pub struct Reader {
    groups: Vec<Group>,
    /// What the events are packed into: it decides how much memory they take.
    format: Format,
    budget: Arc<Budget>,
    metrics: Arc<Metrics>,
    journal: Option<Journal>,
    watch: Watch,
    discovery: Discovery,
    generations: BTreeMap<SourceId, Generation>,
    by_file: BTreeMap<FileId, SourceId>,
    lanes: BTreeMap<PathBuf, LaneId>,
    next_id: u32,
    next_lane: u32,
    /// Entries of the last run whose files were not found yet.
    entries: Vec<Entry>,
    /// What `start_at` means for a file without an entry: only the first scan of the first run looks at it.
    first_run: bool,
    scanned: bool,
    unreadable: BTreeMap<PathBuf, usize>,
    next_scan: Instant,
    /// When the scan is due that a hint asked for.
    hinted_scan: Option<Instant>,
    /// The earliest time for a scan that a hint asks for.
    scan_again: Instant,
    dirty: bool,
    next_checkpoint: Instant,
    checkpoint_failures: u64,
    behind_since: BTreeMap<usize, Instant>,
    /// Whose turn comes next.
    turn: SourceId,
    /// Buffers of a read that brought no line.
    spare: Option<Spare>,
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
        let now = Instant::now();
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
            metrics,
            journal,
            discovery: Discovery::default(),
            generations: BTreeMap::new(),
            by_file: BTreeMap::new(),
            lanes: BTreeMap::new(),
            next_id: 0,
            next_lane: 0,
            entries,
            first_run,
            scanned: false,
            unreadable: BTreeMap::new(),
            next_scan: now,
            hinted_scan: None,
            scan_again: now,
            dirty: true,
            next_checkpoint: now,
            checkpoint_failures: 0,
            behind_since: BTreeMap::new(),
            turn: SourceId(0),
            spare: None,
            rng: fastrand::Rng::new(),
        }
    }

    /// Reads until it is told to stop, then to the end of every file, then waits for the last spans to be settled.
    pub async fn run(mut self, mut ch: Channels) {
        while !*ch.stop.borrow() && !ch.batches.is_closed() {
            let wait = self.turn(&mut ch, Instant::now());
            self.wait(&mut ch, wait).await;
        }
        self.finish_reading(&mut ch).await;
        let Channels { batches, mut settled, checkpoints, .. } = ch;
        drop(batches);
        while let Some(spans) = settled.recv().await {
            self.settle(spans);
        }
        let entries = self.snapshot();
        // The writer ends when this sender does, after it has written what it was given.
        if checkpoints.send(entries).await.is_err() {
            tracing::error!("the last checkpoint was not written");
        }
    }

    /// One round: scan if it is time, read what is due, keep the checkpoint.
    fn turn(&mut self, ch: &mut Channels, now: Instant) -> Option<Wait> {
        if self.next_scan <= now || self.hinted_scan.is_some_and(|hinted| hinted <= now) {
            self.next_scan = now + SCAN_INTERVAL;
            self.hinted_scan = None;
            let began = Instant::now();
            self.scan(now);
            let ended = Instant::now();
            self.scan_again = ended + (ended - began) * SCAN_SHARE;
            self.tell(ch, now);
        }
        let wait = self.read_due(ch, now);
        self.retire(ch);
        self.checkpoint(ch, now);
        wait
    }

    async fn wait(&mut self, ch: &mut Channels, wait: Option<Wait>) {
        let began = Instant::now();
        let files = self.generations.values().filter(|g| g.state != State::Done).map(|g| g.next_poll).min();
        let polls = if wait.is_none() { files } else { None };
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
            () = self.watch.hint() => {
                self.hinted_scan = Some(Instant::now().max(self.scan_again));
            }
            () = sleep_until(wake) => {}
        }
        if wait == Some(Wait::Memory) {
            self.metrics.backpressure_seconds.inc_by(began.elapsed().as_secs_f64());
        }
        while let Ok(spans) = ch.settled.try_recv() {
            self.settle(spans);
        }
    }

    // === finding files ===

    fn scan(&mut self, now: Instant) {
        let scan = self.discovery.scan(&self.groups);
        self.watch_directories(&scan);
        self.follow_renames(&scan, now);
        self.unreadable.clear();
        if !self.scanned {
            // Before their successors, so that a lane's lines keep their order.
            self.find_rotated(&scan, now);
        }
        let mut new: Vec<_> = scan.files.into_iter().filter(|(id, _)| !self.by_file.contains_key(id)).collect();
        // Older files first: what was written first is sent first.
        new.sort_by_key(|(_, c)| c.metadata.modified().ok());
        for (_, candidate) in new {
            self.open_candidate(candidate, now);
        }
        self.scanned = true;
        for (index, group) in self.groups.iter().enumerate() {
            let count = |state: &str, n: i64| self.metrics.files.with_label_values(&[&*group.name, state]).set(n);
            let of = |f: fn(&State) -> bool| {
                i64::try_from(self.generations.values().filter(|g| g.group == index && f(&g.state)).count())
                    .unwrap_or(i64::MAX)
            };
            count("live", of(|s| *s == State::Live));
            count("draining", of(|s| matches!(s, State::Draining(_))));
            count("ignored", scan.ignored.get(&index).copied().unwrap_or(0));
            let unreadable = self.unreadable.values().filter(|g| **g == index).count();
            count("unreadable", i64::try_from(unreadable).unwrap_or(i64::MAX));
        }
    }

    fn watch_directories(&mut self, scan: &Scan) {
        let globs = self.groups.iter().flat_map(|g| &g.patterns).map(|p| fixed_directory(p.as_str()));
        let parents = scan.files.values().filter_map(|c| c.path.parent()).map(PathBuf::from);
        self.watch.set(globs.chain(parents).collect());
    }

    /// Compares what the globs name now with what is open.
    fn follow_renames(&mut self, scan: &Scan, now: Instant) {
        for generation in self.generations.values_mut() {
            let found = scan.files.get(&generation.file_id);
            generation.notice_size(found.map(|f| &f.metadata));
            match (found, generation.state) {
                (Some(found), State::Live) if generation.path == found.path => {}
                (Some(found), State::Live | State::Draining(_)) => {
                    // Renamed to another name that a glob names, or back.
                    generation.path.clone_from(&found.path);
                    generation.state = State::Live;
                    generation.supersede(now);
                }
                // A directory that could not be listed says nothing of what is in it.
                (None, State::Live) if scan.incomplete && generation.links() > 0 => {}
                (None, State::Live) => {
                    let kind = if generation.links() == 0 { "delete" } else { "rename" };
                    self.metrics.rotations.with_label_values(&[kind]).inc();
                    generation.state = State::Draining(now);
                    generation.supersede(now);
                    self.dirty = true;
                }
                (_, State::Done) | (None, State::Draining(_)) => {}
            }
        }
    }

    fn open_candidate(&mut self, candidate: Candidate, now: Instant) {
        let Candidate { group, path, metadata } = candidate;
        let result = open(&path).and_then(|file| {
            let metadata = file.metadata()?;
            let id = FileId::of(&metadata);
            // It was replaced between the two looks: the next scan sees what is there then.
            if !metadata.is_file() || self.by_file.contains_key(&id) {
                return Ok(());
            }
            let shown = path.to_string_lossy().into_owned();
            let entry = self.find_entry(&file, metadata.len(), id, &shown)?;
            let (offset, tag) = match entry.map(|index| &self.entries[index]) {
                Some(entry) => (entry.offset, entry.generation),
                None if self.first_run && !self.scanned && self.groups[group].start_at == StartAt::End => {
                    (metadata.len(), self.rng.u64(..))
                }
                None => (0, self.rng.u64(..)),
            };
            self.add(Adoption { group, path: path.clone(), offset, tag, state: State::Live }, file, now)?;
            // Only now: had it failed, the next scan would need the entry again.
            entry.map(|index| self.entries.swap_remove(index));
            Ok(())
        });
        if let Err(error) = result {
            self.unreadable.insert(path.clone(), group);
            tracing::warn!(path = %path.display(), size = metadata.len(), %error, "a file cannot be read and is tried again every second; give this process's user read access to it");
        }
    }

    /// The entry that is this file's, if there is one.
    fn find_entry(&self, file: &std::fs::File, size: u64, id: FileId, path: &str) -> std::io::Result<Option<usize>> {
        let mut best = None;
        for (index, entry) in self.entries.iter().enumerate() {
            let Some(fit) = identity::fits(entry, id, path) else { continue };
            if best.is_none_or(|(b, _)| fit < b) && identity::has_content(file, size, entry)? {
                best = Some((fit, index));
            }
        }
        Ok(best.map(|(_, index)| index))
    }

    /// Files of the last run that were renamed out of the globs while nobody looked: what is left of them is read first.
    fn find_rotated(&mut self, scan: &Scan, now: Instant) {
        for entry in std::mem::take(&mut self.entries) {
            let named = scan.files.contains_key(&FileId { dev: entry.dev, ino: entry.ino });
            let Some((path, file, group)) = (if named { None } else { self.find_sibling(&entry) }) else {
                self.entries.push(entry);
                continue;
            };
            tracing::info!(path = %path.display(), was = entry.path, offset = entry.offset, "a file that was rotated meanwhile is read to its end");
            let (offset, tag, state) = (entry.offset, entry.generation, State::Draining(now));
            // Its lane is that of its old name, under which its successor comes next.
            let found = Adoption { group, path: PathBuf::from(&entry.path), offset, tag, state };
            if let Err(error) = self.add(found, file, now) {
                tracing::warn!(path = %path.display(), %error, "a rotated file cannot be read; the next start tries again");
                self.entries.push(entry);
            }
        }
    }

    fn find_sibling(&self, entry: &Entry) -> Option<(PathBuf, std::fs::File, usize)> {
        if entry.head_len == 0 {
            // Nothing of it was ever read: any file would do.
            return None;
        }
        let was = PathBuf::from(&entry.path);
        let group = self.groups.iter().position(|g| g.patterns.iter().any(|p| p.matches_path(&was)))?;
        for found in std::fs::read_dir(was.parent()?).ok()?.flatten() {
            let Ok(metadata) = found.metadata() else { continue };
            let id = FileId::of(&metadata);
            if !metadata.is_file()
                || id != (FileId { dev: entry.dev, ino: entry.ino })
                || self.by_file.contains_key(&id)
            {
                continue;
            }
            let file = open(&found.path()).ok()?;
            if identity::has_content(&file, metadata.len(), entry).unwrap_or(false) {
                return Some((found.path(), file, group));
            }
        }
        None
    }

    fn add(&mut self, found: Adoption, file: std::fs::File, now: Instant) -> std::io::Result<()> {
        let Adoption { group, path, offset, tag, state } = found;
        let id = SourceId(self.next_id);
        let lane = *self.lanes.entry(path.clone()).or_insert_with(|| {
            self.next_lane += 1;
            LaneId(self.next_lane)
        });
        let partition_key = self.groups[group].partition_key(&path.to_string_lossy());
        let opening = Opening { id, group, path, lane, partition_key, tag, offset, state };
        let generation = Generation::new(opening, file, &self.groups[group], now)?;
        tracing::info!(path = %generation.path.display(), offset, size = generation.size, "reading a file");
        self.next_id += 1;
        self.by_file.insert(generation.file_id, id);
        self.generations.insert(id, generation);
        self.dirty = true;
        self.next_checkpoint = now;
        Ok(())
    }

    // === reading ===

    fn read_due(&mut self, ch: &mut Channels, now: Instant) -> Option<Wait> {
        let due = |g: &&Generation| g.state != State::Done && g.next_poll <= now;
        let after = self.generations.range(self.turn..).map(|(_, g)| g);
        let before = self.generations.range(..self.turn).map(|(_, g)| g);
        let due: Vec<(SourceId, LaneId)> = after.chain(before).filter(due).map(|g| (g.id, g.lane)).collect();
        for (id, lane) in due {
            self.turn = id;
            match self.read_predecessors(ch, id, lane, now) {
                Ok(true) => {}
                Ok(false) => {
                    // It is looked at again soon, not at once: what it waits for may take its time.
                    self.generations.entry(id).and_modify(|g| g.pause(now));
                    continue;
                }
                Err(wait) => return Some(wait),
            }
            if let Some(wait) = self.read_file(ch, id, now) {
                return Some(wait);
            }
        }
        None
    }

    /// A lane's lines keep their order: before a file is read, the files that it followed are read to their ends, now, whenever they were
    /// looked at before. Answers whether nothing of them is left to come first.
    fn read_predecessors(&mut self, ch: &mut Channels, id: SourceId, lane: LaneId, now: Instant) -> Result<bool, Wait> {
        let wait_of = |g: &Generation| self.groups[g.group].rotate_wait;
        let older = self.generations.range(..id).map(|(_, g)| g);
        let ids: Vec<SourceId> = older.filter(|g| g.lane == lane && g.may_grow(wait_of(g))).map(|g| g.id).collect();
        for id in ids {
            if let Some(wait) = self.read_file(ch, id, now) {
                return Err(wait);
            }
            let done = |g: &Generation| g.ended_at == Some(now) && !g.has_partial_line();
            if !self.generations.get(&id).is_none_or(done) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn read_file(&mut self, ch: &mut Channels, id: SourceId, now: Instant) -> Option<Wait> {
        let mut quantum = QUANTUM_BYTES;
        loop {
            let permit = match self.room(ch) {
                Ok(permit) => permit,
                Err(wait) => {
                    if quantum < QUANTUM_BYTES {
                        // It had some; what comes free next is for the next file.
                        self.turn = SourceId(id.0 + 1);
                    }
                    return Some(wait);
                }
            };
            let generation = self.generations.get_mut(&id)?;
            let mut spare = self.spare.take().or_else(|| ch.spare.try_recv().ok()).unwrap_or_default();
            let mut lines = reuse(&mut spare);
            let limit = max_event(*ch.record_limit.borrow());
            let read = generation.read(&mut spare.chunk, limit, &mut lines, now);
            if generation.take_head_grew() {
                // Before anything of it can be settled: should it be renamed while nobody looks, this is how it is found again.
                self.note(id);
            }
            let generation = self.generations.get_mut(&id)?;
            match read {
                Ok(Read::Lines { start, end }) => {
                    let batch = self.batch(id, spare.chunk, lines, (start, end), permit)?;
                    // There was room a moment ago, and nobody else sends.
                    ch.batches.try_send(batch).ok();
                    quantum = quantum.saturating_sub(READ_BYTES);
                    if quantum == 0 {
                        return None;
                    }
                }
                Ok(Read::Partial) => self.spare = Some(Spare { chunk: spare.chunk, ..put_back(lines) }),
                Ok(Read::End) => {
                    self.spare = Some(Spare { chunk: spare.chunk, ..put_back(lines) });
                    return None;
                }
                Ok(Read::Truncated) => {
                    self.truncated(ch, id, permit, now);
                    return None;
                }
                Err(error) => {
                    tracing::warn!(path = %generation.path.display(), %error, "a file cannot be read and is tried again");
                    generation.pause(now);
                    return None;
                }
            }
        }
    }

    fn batch(
        &self,
        id: SourceId,
        chunk: Vec<u8>,
        lines: Lines,
        (start, end): (u64, u64),
        mut permit: Permit,
    ) -> Option<Batch> {
        let generation = self.generations.get(&id)?;
        let group = &self.groups[generation.group];
        let rejected: usize = lines.rejected.iter().map(|r| r.line.len()).sum();
        permit.resize(batch_memory(self.format, &generation.partition_key, &lines.events) + rejected);
        Some(Batch {
            source: id,
            source_name: Arc::clone(&group.name),
            parser: group.parser(),
            lane: generation.lane,
            partition_key: Arc::clone(&generation.partition_key),
            chunk,
            rendered: lines.rendered,
            events: lines.events,
            more: lines.more,
            unused: lines.unused,
            rejected: lines.rejected,
            counts: lines.counts,
            start,
            end,
            read_at: Instant::now(),
            permit,
        })
    }

    /// A file that was truncated starts over as a new generation; the old one stays until what was read of it is committed.
    fn truncated(&mut self, ch: &mut Channels, id: SourceId, permit: Permit, now: Instant) {
        self.flush(ch, id, permit);
        let Some(old) = self.generations.get_mut(&id) else { return };
        self.metrics.rotations.with_label_values(&["truncate"]).inc();
        let unread = old.backlog();
        self.metrics.abandoned_bytes.with_label_values(&["truncated"]).inc_by(unread);
        tracing::warn!(path = %old.path.display(), unread, "a file was truncated and is read from its beginning; bytes that were unread at the last look are gone unless a copy was kept");
        let (group, path, state, file) = (old.group, old.path.clone(), old.state, old.reopen());
        old.state = State::Done;
        // What it was is gone: no checkpoint can describe it any more.
        old.replaced = true;
        let again = Adoption { group, path, offset: 0, tag: self.rng.u64(..), state };
        if let Err(error) = file.and_then(|file| self.add(again, file, now)) {
            tracing::warn!(%error, "a truncated file cannot be read again; the next scan opens it anew");
        }
    }

    /// Sends a last line that has no newline.
    fn flush(&mut self, ch: &mut Channels, id: SourceId, permit: Permit) {
        let Some(generation) = self.generations.get_mut(&id) else { return };
        let mut spare = Spare::default();
        let mut lines = Lines::default();
        let limit = max_event(*ch.record_limit.borrow());
        if let Some(Read::Lines { start, end }) = generation.flush(&mut spare.chunk, limit, &mut lines)
            && let Some(batch) = self.batch(id, spare.chunk, lines, (start, end), permit)
        {
            ch.batches.try_send(batch).ok();
        }
    }

    /// Lets go of rotated files that are read to their end and have not grown for a while.
    fn retire(&mut self, ch: &mut Channels) {
        let over =
            |g: &&Generation| matches!(g.state, State::Draining(_)) && !g.may_grow(self.groups[g.group].rotate_wait);
        let over: Vec<SourceId> = self.generations.values().filter(over).map(|g| g.id).collect();
        for id in over {
            if self.generations.get(&id).is_some_and(Generation::has_partial_line) {
                let Ok(permit) = self.room(ch) else { return };
                self.flush(ch, id, permit);
            }
            if let Some(generation) = self.generations.get_mut(&id) {
                generation.state = State::Done;
            }
        }
        let gone: Vec<Generation> = self
            .generations
            .extract_if(.., |_, g| g.state == State::Done && g.is_committed())
            .map(|(_, generation)| generation)
            .collect();
        for generation in gone {
            self.forget(&generation);
        }
    }

    fn forget(&mut self, generation: &Generation) {
        if self.by_file.get(&generation.file_id) == Some(&generation.id) {
            self.by_file.remove(&generation.file_id);
        }
        if let Some(journal) = &mut self.journal {
            journal.forget(generation.tag);
        }
        if !self.generations.values().any(|g| g.lane == generation.lane) {
            self.lanes.retain(|_, lane| *lane != generation.lane);
        }
        // It may come back under a name that a glob names, and is not to be sent again then.
        if !generation.replaced && generation.links() > 0 {
            self.entries.extend(Self::entry_of(generation, unix_seconds()));
        }
        self.dirty = true;
    }

    /// After the stop: to the end of every file, the last line included, for as long as the sender takes batches.
    async fn finish_reading(&mut self, ch: &mut Channels) {
        let stopped = Instant::now();
        self.scan(stopped);
        for generation in self.generations.values_mut() {
            generation.wake(stopped);
        }
        while !ch.batches.is_closed() {
            let now = Instant::now();
            (self.next_scan, self.hinted_scan) = (now + SCAN_INTERVAL, None);
            let wait = self.read_due(ch, now).or_else(|| self.flush_last_lines(ch, stopped, now));
            self.checkpoint(ch, now);
            // A writer that goes on writes for the next run: one look at its end is enough.
            let unfinished = |g: &Generation| {
                let in_a_line = g.has_partial_line() && now < stopped + LAST_LINE_LIMIT;
                g.state != State::Done && (g.ended_at.is_none_or(|at| at < stopped) || in_a_line)
            };
            if wait.is_none() && !self.generations.values().any(unfinished) {
                break;
            }
            self.wait(ch, wait).await;
        }
    }

    /// Sends the last lines without a newline that nobody seems to be writing any more.
    fn flush_last_lines(&mut self, ch: &mut Channels, stopped: Instant, now: Instant) -> Option<Wait> {
        let left = |g: &&Generation| {
            let at_end = g.ended_at.is_some_and(|at| at >= stopped);
            g.state != State::Done && at_end && g.has_partial_line() && now >= g.grew_at.max(stopped) + LAST_LINE_WAIT
        };
        let ids: Vec<SourceId> = self.generations.values().filter(left).map(|g| g.id).collect();
        for id in ids {
            match self.room(ch) {
                Ok(permit) => self.flush(ch, id, permit),
                Err(wait) => return Some(wait),
            }
        }
        None
    }

    /// The memory for a read, if there is some and the sender takes another batch.
    fn room(&self, ch: &Channels) -> Result<Permit, Wait> {
        if ch.batches.capacity() == 0 {
            return Err(Wait::Sender);
        }
        self.budget.try_reserve(READ_COST).ok_or(Wait::Memory)
    }

    // === what is settled ===

    fn settle(&mut self, spans: Vec<Span>) {
        let mut moved = BTreeSet::new();
        for span in spans {
            if let Some(generation) = self.generations.get_mut(&span.source) {
                generation.tracker.settle(span.start, span.end);
                moved.insert(span.source);
            }
        }
        for id in moved {
            self.dirty = true;
            self.note(id);
        }
    }

    /// Notes in the journal how far a file is, which costs one small write and no sync.
    fn note(&mut self, id: SourceId) {
        if let (Some(journal), Some(generation)) = (&mut self.journal, self.generations.get(&id))
            && let Err(error) = journal.note(&generation.slot())
        {
            self.metrics.checkpoint_errors.inc();
            tracing::error!(%error, "offsets cannot be noted in state_dir; a restart would send again what was delivered since the last checkpoint");
        }
    }

    fn checkpoint(&mut self, ch: &Channels, now: Instant) {
        // One that could not be written is to be written again, whether anything moves or not.
        let failures = self.metrics.checkpoint_errors.get();
        self.dirty |= std::mem::replace(&mut self.checkpoint_failures, failures) != failures;
        if !self.dirty || now < self.next_checkpoint {
            return;
        }
        self.next_checkpoint = now + CHECKPOINT_INTERVAL;
        // While the writer is busy with the last one this waits for the next round.
        if let Ok(slot) = ch.checkpoints.try_reserve() {
            slot.send(self.snapshot());
            self.dirty = false;
        }
    }

    fn snapshot(&self) -> Vec<Entry> {
        let seen = unix_seconds();
        let open = self.generations.values().filter(|g| !g.replaced).filter_map(|g| Self::entry_of(g, seen));
        let gone = self.entries.iter().filter(|e| seen.saturating_sub(e.seen) < FORGET_AFTER).cloned();
        open.chain(gone).collect()
    }

    fn entry_of(generation: &Generation, seen: u64) -> Option<Entry> {
        let path = generation.path.display();
        match generation.entry(seen) {
            Ok(entry) => entry,
            Err(error) => {
                tracing::warn!(%path, %error, "a file cannot be fingerprinted and is left out of the checkpoint");
                None
            }
        }
    }

    fn tell(&mut self, ch: &Channels, now: Instant) {
        let oldest = ch.sender.borrow().oldest_unsent;
        for (index, group) in self.groups.iter().enumerate() {
            let backlog: u64 = self.generations.values().filter(|g| g.group == index).map(Generation::backlog).sum();
            if backlog == 0 {
                self.behind_since.remove(&index);
            }
            let since = (backlog > 0).then(|| *self.behind_since.entry(index).or_insert(now));
            let oldest = since.into_iter().chain(oldest).min();
            let name = &[&*group.name];
            self.metrics.backlog_bytes.with_label_values(name).set(i64::try_from(backlog).unwrap_or(i64::MAX));
            self.metrics.backlog_seconds.with_label_values(name).set(oldest.map_or(0.0, |at| (now - at).as_secs_f64()));
        }
    }
}

/// The buffers of lines that are not sent.
fn put_back(lines: Lines) -> Spare {
    Spare { rendered: lines.rendered, events: lines.events, ..Spare::default() }
}

/// Empties the buffers of an earlier batch.
fn reuse(spare: &mut Spare) -> Lines {
    spare.rendered.clear();
    spare.events.clear();
    Lines {
        events: std::mem::take(&mut spare.events),
        rendered: std::mem::take(&mut spare.rendered),
        ..Lines::default()
    }
}
