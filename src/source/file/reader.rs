//! The reader: one thread that owns every descriptor, offset and tracker. It finds files, reads them in turns, hands batches to the sender,
//! learns from it what is settled, and keeps the checkpoint. It waits for memory and for the sender, never for a disk that is slow to sync.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::Group;
use super::discover::{Candidate, Discovery, Scan, fixed_directory};
use super::generation::{Generation, Opening, READ_BYTES, Read, State, open};
use super::identity::{self, FileId};
use super::watch::Watch;
use crate::budget::{Budget, Permit};
use crate::checkpoint::{Entry, Found, Journal};
use crate::config::StartAt;
use crate::event::{Batch, LaneId, SourceId, Span};
use crate::kinesis::aggregate::max_event;
use crate::kinesis::record::memory;
use crate::kinesis::{Spare, Status};
use crate::line::Lines;
use crate::metrics::Metrics;

/// How often the globs are run, whatever the watches say.
const SCAN_INTERVAL: Duration = Duration::from_secs(1);
/// How often the checkpoint is replaced while offsets move.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);
/// Bytes that a file may be read before it is another file's turn.
const QUANTUM_BYTES: usize = 1 << 20;
/// At a stop, a line without a newline is waited for this long: a service that is in the middle of a write finishes it within moments, one that
/// has ended never does.
const LAST_LINE_WAIT: Duration = Duration::from_millis(500);
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
    budget: Arc<Budget>,
    metrics: Arc<Metrics>,
    journal: Option<Journal>,
    watch: Watch,
    discovery: Discovery,
    generations: BTreeMap<SourceId, Generation>,
    by_file: BTreeMap<FileId, SourceId>,
    lanes: BTreeMap<PathBuf, LaneId>,
    next_id: u32,
    /// Entries of the last run whose files were not found yet.
    entries: Vec<Entry>,
    /// What `start_at` means for a file without an entry: only the first scan of the first run looks at it.
    first_run: bool,
    scanned: bool,
    unreadable: BTreeSet<PathBuf>,
    next_scan: Instant,
    dirty: bool,
    next_checkpoint: Instant,
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
            budget,
            watch: Watch::new(Arc::clone(&metrics)),
            metrics,
            journal,
            discovery: Discovery::default(),
            generations: BTreeMap::new(),
            by_file: BTreeMap::new(),
            lanes: BTreeMap::new(),
            next_id: 0,
            entries,
            first_run,
            scanned: false,
            unreadable: BTreeSet::new(),
            next_scan: now,
            dirty: true,
            next_checkpoint: now,
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
        if self.next_scan <= now {
            self.next_scan = now + SCAN_INTERVAL;
            self.scan(now);
            self.tell(ch, now);
        }
        let wait = self.read_due(ch, now);
        self.retire(ch, now);
        self.checkpoint(ch, now);
        wait
    }

    async fn wait(&mut self, ch: &mut Channels, wait: Option<Wait>) {
        let began = Instant::now();
        let files = self.generations.values().filter(|g| g.state != State::Done).map(|g| g.next_poll).min();
        let polls = if wait.is_none() { files } else { None };
        let mut wake = polls.unwrap_or(self.next_scan).min(self.next_scan);
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
                self.next_scan = self.next_scan.min(Instant::now());
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
        // Before the files that took their places: a lane's generations are read in the order in which they were opened.
        if !self.scanned {
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
            count("unreadable", i64::try_from(self.unreadable.len()).unwrap_or(i64::MAX));
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
            match (scan.files.get(&generation.file_id), generation.state) {
                (Some(found), State::Live) => generation.path.clone_from(&found.path),
                (Some(found), State::Draining(_)) => {
                    // Renamed back, or into another name that a glob names.
                    generation.path.clone_from(&found.path);
                    generation.state = State::Live;
                    generation.wake(now);
                }
                (None, State::Live) => {
                    let kind = if generation.links() == 0 { "delete" } else { "rename" };
                    self.metrics.rotations.with_label_values(&[kind]).inc();
                    generation.state = State::Draining(now);
                    generation.wake(now);
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
            let (offset, tag) = match self.take_entry(&file, metadata.len(), id, &shown)? {
                Some(entry) => (entry.offset, entry.generation),
                None if self.first_run && !self.scanned && self.groups[group].start_at == StartAt::End => {
                    (metadata.len(), self.rng.u64(..))
                }
                None => (0, self.rng.u64(..)),
            };
            self.add(group, path.clone(), file, (offset, tag), State::Live, now)
        });
        if let Err(error) = result {
            self.unreadable.insert(path.clone());
            tracing::warn!(path = %path.display(), size = metadata.len(), %error, "a file cannot be read and is tried again every second; give this process's user read access to it");
        }
    }

    /// The entry of the last run that is this file's, if there is one.
    fn take_entry(
        &mut self,
        file: &std::fs::File,
        size: u64,
        id: FileId,
        path: &str,
    ) -> std::io::Result<Option<Entry>> {
        let mut best = None;
        for (index, entry) in self.entries.iter().enumerate() {
            let Some(fit) = identity::fits(entry, id, path) else { continue };
            if best.is_none_or(|(b, _)| fit < b) && identity::has_content(file, size, entry)? {
                best = Some((fit, index));
            }
        }
        Ok(best.map(|(_, index)| self.entries.swap_remove(index)))
    }

    /// Files of the last run that were renamed out of the globs while nobody looked: what is left of them is read first.
    fn find_rotated(&mut self, scan: &Scan, now: Instant) {
        for entry in std::mem::take(&mut self.entries) {
            match self.find_sibling(&entry, scan) {
                Some((path, file, group)) => {
                    let at = (entry.offset, entry.generation);
                    let lane_path = PathBuf::from(&entry.path);
                    tracing::info!(path = %path.display(), was = entry.path, offset = entry.offset, "a file that was rotated meanwhile is read to its end");
                    if let Err(error) = self.add(group, lane_path, file, at, State::Draining(now), now) {
                        tracing::warn!(path = %path.display(), %error, "a rotated file cannot be read");
                    }
                }
                None => self.entries.push(entry),
            }
        }
    }

    fn find_sibling(&self, entry: &Entry, scan: &Scan) -> Option<(PathBuf, std::fs::File, usize)> {
        let was = PathBuf::from(&entry.path);
        let group = self.groups.iter().position(|g| g.patterns.iter().any(|p| p.matches_path(&was)))?;
        for found in std::fs::read_dir(was.parent()?).ok()?.flatten() {
            let Ok(metadata) = found.metadata() else { continue };
            let id = FileId::of(&metadata);
            if !metadata.is_file()
                || id != (FileId { dev: entry.dev, ino: entry.ino })
                || scan.files.contains_key(&id)
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

    fn add(
        &mut self,
        group: usize,
        path: PathBuf,
        file: std::fs::File,
        (offset, tag): (u64, u64),
        state: State,
        now: Instant,
    ) -> std::io::Result<()> {
        let id = SourceId(self.next_id);
        let lanes = u32::try_from(self.lanes.len()).unwrap_or(u32::MAX);
        let lane = *self.lanes.entry(path.clone()).or_insert(LaneId(lanes));
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
        // A successor waits until its predecessor's end was reached, so that a lane's lines keep their order.
        let held: BTreeMap<LaneId, SourceId> = self
            .generations
            .values()
            .filter(|g| matches!(g.state, State::Draining(_)) && !g.at_end)
            .map(|g| (g.lane, g.id))
            .rev()
            .collect();
        let due = |g: &&Generation| {
            g.state != State::Done && g.next_poll <= now && held.get(&g.lane).is_none_or(|oldest| g.id <= *oldest)
        };
        let after = self.generations.range(self.turn..).map(|(_, g)| g);
        let before = self.generations.range(..self.turn).map(|(_, g)| g);
        let ids: Vec<SourceId> = after.chain(before).filter(due).map(|g| g.id).collect();
        for id in ids {
            self.turn = id;
            if let Some(wait) = self.read_file(ch, id, now) {
                return Some(wait);
            }
        }
        None
    }

    fn read_file(&mut self, ch: &mut Channels, id: SourceId, now: Instant) -> Option<Wait> {
        let mut quantum = QUANTUM_BYTES;
        loop {
            let Some(permit) = self.budget.try_reserve(READ_COST) else { return Some(Wait::Memory) };
            if ch.batches.capacity() == 0 {
                return Some(Wait::Sender);
            }
            let generation = self.generations.get_mut(&id)?;
            let mut spare = self.spare.take().or_else(|| ch.spare.try_recv().ok()).unwrap_or_default();
            let mut lines = reuse(&mut spare);
            let limit = max_event(*ch.record_limit.borrow());
            match generation.read(&mut spare.chunk, limit, &mut lines, now) {
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
                    generation.looked_in_vain(now);
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
        let bytes: usize = lines.events.iter().map(|e| (e.end - e.start) as usize + EVENT_BYTES).sum();
        let rejected: usize = lines.rejected.iter().map(|r| r.line.len()).sum();
        permit.resize(memory(bytes) + rejected);
        Some(Batch {
            source: id,
            source_name: Arc::clone(&group.name),
            parser: group.parser(),
            lane: generation.lane,
            partition_key: Arc::clone(&generation.partition_key),
            chunk,
            rendered: lines.rendered,
            events: lines.events,
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
        let tag = self.rng.u64(..);
        if let Err(error) = file.and_then(|file| self.add(group, path, file, (0, tag), state, now)) {
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
    fn retire(&mut self, ch: &mut Channels, now: Instant) {
        let quiet = |g: &Generation, groups: &[Group]| {
            let State::Draining(since) = g.state else { return false };
            g.at_end && now >= since.max(g.grew_at) + groups[g.group].rotate_wait
        };
        let over: Vec<SourceId> = self.generations.values().filter(|g| quiet(g, &self.groups)).map(|g| g.id).collect();
        for id in over {
            let has_line = self.generations.get(&id).is_some_and(Generation::has_partial_line);
            if has_line {
                let Some(permit) = self.budget.try_reserve(READ_COST) else { return };
                if ch.batches.capacity() == 0 {
                    return;
                }
                self.flush(ch, id, permit);
            }
            if let Some(generation) = self.generations.get_mut(&id) {
                generation.state = State::Done;
            }
        }
        let gone = self.generations.extract_if(.., |_, g| g.state == State::Done && g.is_committed());
        for (id, generation) in gone {
            if self.by_file.get(&generation.file_id) == Some(&id) {
                self.by_file.remove(&generation.file_id);
            }
            if let Some(journal) = &mut self.journal {
                journal.forget(generation.tag);
            }
            self.dirty = true;
        }
    }

    /// After the stop: to the end of every file, the last line included, for as long as the sender takes batches.
    async fn finish_reading(&mut self, ch: &mut Channels) {
        let stopped = Instant::now();
        self.scan(stopped);
        for generation in self.generations.values_mut() {
            generation.at_end = false;
            generation.wake(stopped);
        }
        while !ch.batches.is_closed() {
            let now = Instant::now();
            let wait = self.read_due(ch, now);
            self.checkpoint(ch, now);
            let open = |g: &&mut Generation| {
                let in_a_line = g.has_partial_line() && now < g.grew_at.max(stopped) + LAST_LINE_WAIT;
                g.state != State::Done && (!g.at_end || in_a_line)
            };
            if wait.is_none() && !self.generations.values_mut().any(|mut g| open(&&mut g)) {
                break;
            }
            self.wait(ch, wait).await;
        }
        let ids: Vec<SourceId> = self.generations.values().filter(|g| g.has_partial_line()).map(|g| g.id).collect();
        for id in ids {
            while self.room(ch).is_none() && !ch.batches.is_closed() {
                self.wait(ch, Some(Wait::Sender)).await;
            }
            if let Some(permit) = self.room(ch) {
                self.flush(ch, id, permit);
            }
        }
    }

    fn room(&self, ch: &Channels) -> Option<Permit> {
        if ch.batches.capacity() == 0 { None } else { self.budget.try_reserve(READ_COST) }
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
            if let (Some(journal), Some(generation)) = (&mut self.journal, self.generations.get(&id))
                && let Err(error) = journal.note(generation.tag, generation.tracker.committed())
            {
                self.metrics.checkpoint_errors.inc();
                tracing::error!(%error, "offsets cannot be noted in state_dir; a restart would send again what was delivered since the last checkpoint");
            }
        }
    }

    fn checkpoint(&mut self, ch: &Channels, now: Instant) {
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
        let open = self.generations.values().filter_map(|generation| {
            generation.entry(seen).inspect_err(|error| {
                tracing::warn!(path = %generation.path.display(), %error, "a file cannot be fingerprinted and is left out of the checkpoint");
            }).ok()
        });
        let gone = self.entries.iter().filter(|e| seen.saturating_sub(e.seen) < FORGET_AFTER).cloned();
        open.chain(gone).collect()
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

/// What an event takes in an aggregate beside its bytes: tags, lengths, the newline.
const EVENT_BYTES: usize = 12;

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

#[expect(
    clippy::disallowed_methods,
    reason = "when a file was last there, to the day: decides only when a vanished one is forgotten"
)]
fn unix_seconds() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs())
}
