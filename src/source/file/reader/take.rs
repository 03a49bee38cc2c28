//! Reading: whose turn it is, how much it may have, and what becomes of a read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::super::generation::{Generation, Look, READ_BYTES, Read, State};
use super::super::siblings::is_rotated;
use super::super::writes::Writes;
use super::{
    Channels, LAST_LINE_WAIT, QUANTUM_BYTES, READ_COST, Reader, SWEEP_INTERVAL, SWEEP_INTERVAL_MAX, SWEEP_SHARE, Wait,
};
use crate::budget::Permit;
use crate::clock;
use crate::event::{Batch, SourceId};
use crate::heartbeat::Doing;
use crate::kinesis::Spare;
use crate::kinesis::aggregate::max_event;
use crate::kinesis::record::batch_memory;
use crate::line::Lines;
use crate::route::Routes;
use crate::shape::Shaping;

/// From so many quiet files on, writes to them are listened to.
const MANY_QUIET_FILES: usize = 500;
/// How often it is looked what to listen to, where all quiet files are listened to.
const COVERED_SWEEP_INTERVAL: Duration = Duration::from_secs(5);
/// An unfinished last line of a rotated file holds up the file's successor for so long after it last grew.
const LAST_LINE_HOLD: Duration = Duration::from_secs(5);
/// A file that may be a copy counts as one of its own when nothing was truncated for so long after it last grew.
const PROOF_WAIT: Duration = Duration::from_secs(5);

impl Reader {
    pub(super) fn read_due(&mut self, ch: &mut Channels, now: Instant) -> Option<Wait> {
        self.take_writes(now);
        if self.next_sweep <= now {
            self.sweep(now);
        }
        let behind = self.oldest_behind();
        for id in self.files.due(now) {
            // One that it preceded may have had it read already, and it may have ended by that.
            if self.files.get(id).is_none_or(|g| g.state == State::Done) {
                continue;
            }
            if !self.is_proven(id, now) || self.has_to_wait(id, &behind) || !self.has_share(id) {
                self.files.update(id, |g| g.pause(now));
                self.quieten(id, now);
                continue;
            }
            match self.read_predecessors(ch, id, now) {
                Ok(true) => {}
                Ok(false) => {
                    // It is looked at again soon, not at once: what it waits for may take its time.
                    self.files.update(id, |g| g.pause(now));
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

    /// Has files read that were written to after a time of quiet.
    fn take_writes(&mut self, now: Instant) {
        let Some(writes) = &mut self.writes else { return };
        let written: Vec<PathBuf> = writes.take().collect();
        for path in written {
            match self.files.quiet_at(&path) {
                Some(id) => {
                    self.files.update(id, |g| g.wake(now));
                }
                None => writes.count_noise(path.parent().unwrap_or(&path)),
            }
        }
        if writes.has_lost() {
            self.has_lost_writes = true;
            self.next_sweep = now;
        }
    }

    /// Looks at quiet files together, which is cheaper than to keep an appointment with each; where there are many, only at those of
    /// whose writes nothing would be heard. The scans look at all of them, now and then.
    fn sweep(&mut self, now: Instant) {
        let began = Instant::now();
        let is_full = std::mem::take(&mut self.has_lost_writes);
        let fresh = self.listen_to_writes();
        let writes = self.writes.as_ref();
        let is_covered = |dir: &Path| writes.is_some_and(|w| w.covers(dir)) && !fresh.contains(dir);
        self.files.sweep(
            |dir| is_full || !is_covered(dir),
            |g| {
                let changed = g.look() == Look::Changed;
                if changed {
                    g.wake(now);
                }
                changed
            },
        );
        let covers = |dir: &Path| self.writes.as_ref().is_some_and(|w| w.covers(dir));
        let interval = if self.files.quiet_directories().all(|(dir, _)| covers(dir)) {
            COVERED_SWEEP_INTERVAL
        } else {
            (began.elapsed() * SWEEP_SHARE).clamp(SWEEP_INTERVAL, SWEEP_INTERVAL_MAX)
        };
        self.next_sweep = now + interval;
    }

    /// Looks at a file only now and then from now on, if nothing is expected of it.
    fn quieten(&mut self, id: SourceId, now: Instant) {
        let Some(generation) = self.files.get(id).filter(|g| g.is_quiet(now)) else { return };
        let directory = generation.directory_and_name().map(|(directory, _)| directory);
        let is_covered = |dir: &Path| self.writes.as_ref().is_some_and(|w| w.covers(dir));
        if !directory.is_some_and(is_covered) {
            self.next_sweep = self.next_sweep.min(now + SWEEP_INTERVAL);
        }
        self.files.make_quiet(id);
    }

    /// Watches for writes where there are many quiet files. Answers the directories that are watched only now.
    fn listen_to_writes(&mut self) -> BTreeSet<PathBuf> {
        if self.files.quiet() < MANY_QUIET_FILES {
            self.writes = None;
            return BTreeSet::new();
        }
        if self.writes.is_none() && !self.is_deaf {
            let made = Writes::new(self.watch.wake());
            self.is_deaf = made.is_err();
            self.writes = made.ok();
        }
        let Some(writes) = &mut self.writes else { return BTreeSet::new() };
        let directories = self.files.quiet_directories().map(|(directory, _)| directory);
        let wanted = directories.filter(|dir| !self.watch.is_silent(dir)).map(Path::to_owned).collect();
        writes.set(&wanted).unwrap_or_else(|error| {
            tracing::warn!(%error, "writes to quiet files cannot be watched; they are found by looking, which costs more (raise fs.inotify.max_user_watches)");
            (self.writes, self.is_deaf) = (None, true);
            BTreeSet::new()
        })
    }

    /// Of the groups that are read oldest file first, the file that has to be read to its end before others are.
    fn oldest_behind(&self) -> BTreeMap<usize, SourceId> {
        let mut behind = BTreeMap::new();
        if self.groups.iter().any(|group| group.oldest_first) {
            let is_behind = |g: &&Generation| {
                self.groups[g.group].oldest_first && g.state != State::Done && (g.ended_at.is_none() || g.backlog() > 0)
            };
            for generation in self.files.iter().filter(is_behind) {
                behind.entry(generation.group).or_insert(generation.id);
            }
        }
        behind
    }

    fn has_to_wait(&self, id: SourceId, behind: &BTreeMap<usize, SourceId>) -> bool {
        let group = self.files.get(id).map(|g| g.group);
        group.and_then(|group| behind.get(&group)).is_some_and(|first| *first < id)
    }

    /// Whether the streams that a file's events go to may hold more than they do. One that takes nothing stops its own files, not the others.
    fn has_share(&self, id: SourceId) -> bool {
        let Some(generation) = self.files.get(id) else { return true };
        match self.groups[generation.group].router.fixed_stream() {
            Some(stream) => self.budget.has_share(stream.0 as usize, READ_COST),
            None => (0..self.streams.names().len()).all(|stream| self.budget.has_share(stream, READ_COST)),
        }
    }

    /// Whether a file is known not to be the copy that a rotator makes before it truncates the original. One that has as yet nothing but what
    /// another one has is left alone, until that is truncated, the two differ, or nothing happens for a while.
    fn is_proven(&mut self, id: SourceId, now: Instant) -> bool {
        let Some(generation) = self.files.get(id) else { return false };
        let Some((since, size)) = generation.unproven else { return true };
        let now_size = generation.current_size();
        let (path, is_live) = (&generation.path, generation.state == State::Live);
        let original = |other: &&Generation| {
            // Of two new files with one content, the one with the name that rotation gives is the copy.
            let is_older = other.path == *path || is_rotated(&other.path, path);
            let may_be = other.unproven.is_none() || is_older;
            // What lost its name between two looks may have been copied before that, and truncated.
            let is_there = other.state == State::Live || !is_live && other.state != State::Done;
            other.id != id && is_there && may_be && other.path.parent() == path.parent()
        };
        let is_copy = now_size > 0
            && self.files.iter().filter(original).any(|other| generation.may_be_copy_of(other).unwrap_or(false));
        let is_soon = now_size != size || now < since + PROOF_WAIT;
        let waits = now_size == 0 && is_live || (is_copy || now_size == 0) && is_soon;
        self.files.update(id, |g| {
            g.unproven = waits.then_some(if now_size == size { (since, size) } else { (now, now_size) });
        });
        if !waits {
            // From now on it is read, and what was read is not to be sent again.
            self.checkpoint_soon();
        }
        !waits
    }

    /// A lane's lines keep their order: before a file is read, the files that it followed are read to their ends, now, whenever they were
    /// looked at before. Answers whether nothing of them is left to come first.
    fn read_predecessors(&mut self, ch: &mut Channels, id: SourceId, now: Instant) -> Result<bool, Wait> {
        let unproven = self.files.before(id).filter(|g| g.unproven.is_some() && g.state != State::Done);
        for id in unproven.map(|g| g.id).collect::<Vec<_>>() {
            self.is_proven(id, now);
        }
        let wait_of = |g: &Generation| self.groups[g.group].rotate_wait;
        let has_rest = |g: &Generation| matches!(g.state, State::Draining(_)) && g.has_partial_line();
        // What may be a copy of this very file is none before it is known to be something else.
        let precedes =
            |g: &&Generation| g.unproven.is_none() && !g.is_last() && (g.may_grow(wait_of(g)) || has_rest(g));
        let older = self.files.before(id).filter(precedes);
        let ids: Vec<SourceId> = older.map(|g| g.id).collect();
        for id in ids {
            if let Some(wait) = self.read_file(ch, id, now) {
                return Err(wait);
            }
            self.flush_if_over(ch, id)?;
            let may_end = |g: &Generation| g.has_partial_line() && now < g.grew_at + LAST_LINE_HOLD;
            let done = |g: &Generation| g.ended_at == Some(now) && !may_end(g) || g.state == State::Done;
            if !self.files.get(id).is_none_or(done) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The last line of a rotated file that nobody writes to any more comes before its successor, however long there is no room for it.
    fn flush_if_over(&mut self, ch: &mut Channels, id: SourceId) -> Result<(), Wait> {
        let is_over = |g: &Generation| {
            let ended = !g.may_grow(self.groups[g.group].rotate_wait);
            matches!(g.state, State::Draining(_)) && ended && g.has_partial_line()
        };
        if self.files.get(id).is_some_and(is_over) {
            let permit = self.room(ch)?;
            self.flush(ch, id, permit);
        }
        Ok(())
    }

    fn read_file(&mut self, ch: &mut Channels, id: SourceId, now: Instant) -> Option<Wait> {
        let wait = self.read_some(ch, id, now);
        self.close_one_too_many(id);
        self.quieten(id, now);
        wait
    }

    fn read_some(&mut self, ch: &mut Channels, id: SourceId, now: Instant) -> Option<Wait> {
        let mut quantum = QUANTUM_BYTES;
        while quantum > 0 && self.has_share(id) {
            self.beat(Doing::Reads);
            let permit = match self.room(ch) {
                Ok(permit) => permit,
                Err(wait) => return Some(wait),
            };
            let mut spare = self.spare.take().or_else(|| ch.spare.try_recv().ok()).unwrap_or_default();
            let group = self.files.get(id)?.group;
            let mut lines = self.with_shaping(group, reuse(&mut spare));
            let limit = max_event(*ch.record_limit.borrow());
            let outcome = self.files.update(id, |g| {
                let read = g.read(&mut spare.chunk, limit, &mut lines, now);
                (read, g.take_head_grew())
            });
            self.keep_shaping(group, &mut lines);
            let (read, head_grew) = outcome?;
            if head_grew {
                // Before anything of it can be settled: should it be renamed while nobody looks, this is how it is found again.
                self.note(id);
            }
            match read {
                Ok(Read::Lines { start, end }) => {
                    self.send(ch, (id, spare.chunk), lines, (start, end), permit);
                    quantum = quantum.saturating_sub(READ_BYTES);
                    continue;
                }
                Ok(Read::Partial) => {
                    self.spare = Some(Spare { chunk: spare.chunk, ..put_back(lines) });
                    continue;
                }
                Ok(Read::End) => {
                    self.spare = Some(Spare { chunk: spare.chunk, ..put_back(lines) });
                    self.at_end(ch, id, permit, now);
                }
                Ok(Read::Truncated) => self.truncated(ch, id, permit, now),
                Ok(Read::Moved) => self.moved(id, now),
                Err(error) => {
                    self.files.update(id, |g| {
                        tracing::warn!(path = %g.path.display(), %error, "a file cannot be read and is tried again");
                        g.pause(now);
                    });
                }
            }
            return None;
        }
        None
    }

    /// A file has nothing more for now.
    fn at_end(&mut self, ch: &mut Channels, id: SourceId, permit: Permit, now: Instant) {
        let Some(generation) = self.files.get(id) else { return };
        let timeout = self.groups[generation.group].line.partial_line_timeout;
        if generation.is_overdue(now, timeout) {
            self.expire(ch, id, permit, now, timeout);
        }
    }

    /// Lends what a group's events are shaped by to the lines that are made next.
    pub(super) fn with_shaping(&mut self, group: usize, mut lines: Lines) -> Lines {
        if self.shaping.len() < self.groups.len() {
            self.shaping.resize_with(self.groups.len(), Shaping::default);
        }
        lines.shaping = self.shaping.get_mut(group).map(std::mem::take).unwrap_or_default();
        if !self.groups[group].line.shape.is_empty() {
            lines.shaping.read_at = clock::unix_nanos();
        }
        lines
    }

    /// Takes it back.
    pub(super) fn keep_shaping(&mut self, group: usize, lines: &mut Lines) {
        if let Some(shaping) = self.shaping.get_mut(group) {
            *shaping = std::mem::take(&mut lines.shaping);
        }
    }

    /// Hands a batch over, for which there was room before it was made: nobody else sends.
    pub(super) fn send(
        &mut self,
        ch: &Channels,
        (id, chunk): (SourceId, Vec<u8>),
        lines: Lines,
        (start, end): (u64, u64),
        mut permit: Permit,
    ) {
        let oldest = lines.counts.shaped.oldest;
        self.files.update(id, |g| g.note_batch(end, oldest));
        let Some(generation) = self.files.get(id) else { return };
        let group = &self.groups[generation.group];
        let rejected: usize = lines.rejected.iter().map(|r| r.line.len()).sum();
        permit.resize(batch_memory(self.format, &generation.partition_key, &lines.events) + rejected);
        let mut batch = Batch {
            source: id,
            source_name: Arc::clone(&group.name),
            parser: Arc::clone(group.parser()),
            lane: generation.lane,
            partition_key: Arc::clone(&generation.partition_key),
            chunk,
            rendered: lines.rendered,
            events: lines.events,
            more: lines.more,
            unused: lines.unused,
            rejected: lines.rejected,
            counts: lines.counts,
            routes: Routes::default(),
            start,
            end,
            read_at: Instant::now(),
            permit,
        };
        group.router.route(&mut batch, &generation.lane_path.to_string_lossy(), &mut self.streams);
        batch.permit.resize(batch.permit.bytes() + batch.routes.memory());
        // An end of the sender is the end of the reader too, at its next turn.
        ch.batches.try_send(batch).ok();
    }

    /// Sends what was waited for in vain.
    fn expire(&mut self, ch: &mut Channels, id: SourceId, permit: Permit, now: Instant, timeout: Duration) {
        let Some(group) = self.files.get(id).map(|g| g.group) else { return };
        let mut spare = Spare::default();
        let mut lines = self.with_shaping(group, Lines::default());
        let limit = max_event(*ch.record_limit.borrow());
        let expired = self.files.update(id, |g| g.expire(&mut spare.chunk, limit, &mut lines, now, timeout));
        self.keep_shaping(group, &mut lines);
        if let Some(Read::Lines { start, end }) = expired {
            self.send(ch, (id, spare.chunk), lines, (start, end), permit);
        }
    }

    /// Sends a last line that has no newline.
    pub(super) fn flush(&mut self, ch: &mut Channels, id: SourceId, permit: Permit) {
        let Some(group) = self.files.get(id).map(|g| g.group) else { return };
        let mut spare = Spare::default();
        let mut lines = self.with_shaping(group, Lines::default());
        let limit = max_event(*ch.record_limit.borrow());
        let flushed = self.files.update(id, |g| g.flush(&mut spare.chunk, limit, &mut lines)).flatten();
        self.keep_shaping(group, &mut lines);
        if let Some(Read::Lines { start, end }) = flushed {
            self.send(ch, (id, spare.chunk), lines, (start, end), permit);
        }
    }

    /// At a stop, sends the last lines without a newline that nobody seems to be writing any more.
    pub(super) fn flush_last_lines(&mut self, ch: &mut Channels, stopped: Instant, now: Instant) -> Option<Wait> {
        let left = |g: &&Generation| {
            let at_end = g.ended_at.is_some_and(|at| at >= stopped);
            g.state != State::Done && at_end && g.has_partial_line() && now >= g.grew_at.max(stopped) + LAST_LINE_WAIT
        };
        let ids: Vec<SourceId> = self.files.iter().filter(left).map(|g| g.id).collect();
        for id in ids {
            match self.room(ch) {
                Ok(permit) => self.flush(ch, id, permit),
                Err(wait) => return Some(wait),
            }
        }
        None
    }

    /// The memory for a read, if there is some and the sender takes another batch.
    pub(super) fn room(&self, ch: &Channels) -> Result<Permit, Wait> {
        if ch.batches.capacity() == 0 {
            return Err(Wait::Sender);
        }
        self.budget.try_reserve(READ_COST).ok_or(Wait::Memory)
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
