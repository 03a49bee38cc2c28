//! Following files through rotations: renamed, deleted, truncated, copied. What is left of the old one is read before the new one.

use std::fs::File;
use std::path::{Path, PathBuf};

use tokio::time::Instant;

use super::super::discover::Scan;
use super::super::generation::{Generation, State};
use super::super::identity::{Content, Named, Overlap, born};
use super::super::siblings::{self, Sibling, is_rotated};
use super::find::{ALIKE_BYTES, Adoption};
use super::{Channels, Reader};
use crate::budget::Permit;
use crate::event::SourceId;

/// What a scan says of a file that is being read.
#[derive(Debug)]
enum Change {
    /// It has another name that a glob names.
    Renamed(PathBuf),
    /// No glob names it any more.
    Gone,
    /// It is where it was, and longer or shorter than it was.
    Resized,
}

impl Reader {
    /// Compares what the globs name now with what is being read. Answers the paths whose files were rotated.
    pub(super) fn follow_renames(&mut self, scan: &Scan, now: Instant) -> Vec<PathBuf> {
        let mut changes = Vec::new();
        self.files.for_each(|g| {
            let found = scan.files.get(&g.file_id);
            g.notice_size(found.map(|f| &f.metadata));
            match (found, g.state) {
                (Some(found), State::Live) if g.path.as_os_str() == found.path.as_os_str() => {
                    if found.metadata.len() != g.content().end() {
                        changes.push((g.id, Change::Resized));
                    }
                }
                (Some(found), State::Live | State::Draining(_)) => {
                    changes.push((g.id, Change::Renamed(found.path.clone())));
                }
                // A directory that could not be listed says nothing of what is in it.
                (None, State::Live) if scan.is_unsure_of(&g.path) && g.links() != Some(0) => {}
                (None, State::Live) => changes.push((g.id, Change::Gone)),
                (_, State::Done) | (None, State::Draining(_)) => {}
            }
        });
        for (place, candidate) in scan.files.iter().filter(|(_, candidate)| !candidate.others.is_empty()) {
            if let Some(id) = self.files.by_file(*place) {
                candidate.others.iter().chain([&candidate.path]).for_each(|name| self.files.alias(id, name));
            }
        }
        let deleted = |g: &&Generation| g.deleted_at.is_none() && g.links() == Some(0);
        let deleted: Vec<SourceId> = self.files.closing().filter(deleted).map(|g| g.id).collect();
        for id in deleted {
            self.files.update(id, |g| g.deleted_at = Some(now));
        }
        let mut rotated = Vec::new();
        for (id, change) in changes {
            match change {
                Change::Renamed(path) => {
                    self.files.update(id, |g| {
                        // A name that a glob names, or its old one again.
                        rotated.push(std::mem::replace(&mut g.path, path));
                        g.state = State::Live;
                        g.is_copy = false;
                        g.deleted_at = None;
                        g.supersede(now);
                    });
                    self.metrics.rotations.with_label_values(&["rename"]).inc();
                    self.dirty = true;
                }
                // A quiet one of whose writes nothing was heard. Any other one is looked at anyway.
                Change::Resized if self.files.is_quiet(id) => {
                    self.files.update(id, |g| g.wake(now));
                }
                Change::Resized => {}
                Change::Gone => {
                    rotated.extend(self.files.get(id).map(|g| g.path.clone()));
                    self.gone(id, now);
                }
            }
        }
        rotated
    }

    /// A file lost its name. It is read on for as long as somebody may still write to it.
    fn gone(&mut self, id: SourceId, now: Instant) {
        let Some(generation) = self.files.get(id) else { return };
        if generation.links().is_none() && !self.find_closed(id) {
            return;
        }
        let Some(generation) = self.files.get(id) else { return };
        let kind = if generation.links() == Some(0) { "delete" } else { "rename" };
        self.metrics.rotations.with_label_values(&[kind]).inc();
        self.files.update(id, |g| {
            g.state = State::Draining(now);
            g.deleted_at = (kind == "delete").then_some(now);
            g.supersede(now);
        });
        self.dirty = true;
        self.close_one_too_many(id);
    }

    /// Where there are more files than descriptors, each is opened for its turn only.
    pub(super) fn close_one_too_many(&mut self, id: SourceId) {
        if self.files.has_too_many_open() {
            self.files.update(id, Generation::close_if_possible);
        }
    }

    /// A file that was closed for being quiet is not at its path any more.
    pub(super) fn moved(&mut self, id: SourceId, now: Instant) {
        if self.files.get(id).is_some_and(|g| g.state == State::Live) {
            self.gone(id, now);
        } else if self.find_closed(id) {
            self.files.update(id, |g| g.wake(now));
        }
    }

    /// Opens a closed file under the name that it has now. If it has none, it was deleted while it was closed, and that is the end of it.
    fn find_closed(&mut self, id: SourceId) -> bool {
        let Some(generation) = self.files.get(id) else { return false };
        let (path, place) = (generation.path.clone(), generation.file_id);
        let found = siblings::find(
            &path,
            |s| s.id == place,
            |s, file| {
                Ok(generation.content().end() == 0
                    || generation.content().overlap(file, s.metadata.len())? == Overlap::Whole)
            },
        );
        if let Some((_, file)) = found {
            return matches!(self.files.update(id, |g| g.move_to(file)), Some(Ok(())));
        }
        self.metrics.rotations.with_label_values(&["delete"]).inc();
        self.give_up(id, "deleted", true);
        self.files.update(id, |g| {
            g.state = State::Done;
            g.replaced = true;
        });
        false
    }

    /// Nobody gets what was not read of a file, nor, with what is unfinished, the beginning of a line or a record that was.
    fn give_up(&mut self, id: SourceId, reason: &'static str, with_unfinished: bool) {
        let given_up = self.files.update(id, |g| (g.give_up(with_unfinished), g.path.clone()));
        if let Some((bytes, path)) = given_up.filter(|(bytes, _)| *bytes > 0) {
            self.account.abandon(reason, bytes);
            tracing::warn!(path = %path.display(), bytes, reason, "the rest of a file is not delivered");
        }
    }

    /// A file that was truncated starts over as a new generation. What it was goes on in the copy that was made of it, if there is one;
    /// otherwise it stays until what was read of it is committed.
    pub(super) fn truncated(&mut self, ch: &mut Channels, id: SourceId, permit: Permit, now: Instant) {
        let Some(old) = self.files.get(id) else { return };
        let (group, path, lane, state) = (old.group, old.path.clone(), old.lane_path.clone(), old.state);
        let (birth, last_growth) = (Some(old.birth), old.grew_at);
        let file = match self.find_copy(old) {
            Some((copy, file, Overlap::Whole)) => {
                self.metrics.rotations.with_label_values(&["copytruncate"]).inc();
                tracing::info!(path = %path.display(), copy = %copy.path.display(), "a file was truncated; what is left of it is read from its copy");
                self.take_over(ch, &copy);
                self.files.update(id, |g| {
                    g.state = State::Draining(now);
                    g.is_copy = true;
                    g.supersede(now);
                    let original = g.take_file();
                    g.move_to(file).map(|()| original)
                })
            }
            Some((copy, file, _)) => {
                self.metrics.rotations.with_label_values(&["copytruncate"]).inc();
                tracing::info!(path = %path.display(), copy = %copy.path.display(), "a file was truncated; all of its copy had been read");
                self.take_over(ch, &copy);
                self.flush(ch, id, permit);
                self.know_copy(&copy, &file);
                self.end_truncated(id)
            }
            None => {
                self.metrics.rotations.with_label_values(&["truncate"]).inc();
                let unread = old.backlog();
                tracing::warn!(path = %path.display(), unread, "a file was truncated and is read from its beginning; bytes that were unread at the last look are gone, since no copy of it lies beside it");
                self.flush(ch, id, permit);
                self.end_truncated(id)
            }
        };
        let Some(Ok(Some(file))) = file else { return };
        // What came in between is before what the file holds now.
        let birth = birth.filter(|_| state != State::Live || !self.find_missed_copies(&path, last_growth, now));
        // Under a name that no glob has, it may be another file's copy now.
        let unproven = state != State::Live;
        let again = Adoption { group, path, lane, offset: 0, tag: self.rng.u64(..), state, unproven, birth };
        self.close_one_too_many(id);
        if let Err(error) = self.add(again, file, now) {
            tracing::warn!(%error, "a truncated file cannot be read again; the next scan opens it anew");
        }
    }

    /// What was noticed of it and not read is gone.
    fn end_truncated(&mut self, id: SourceId) -> Option<std::io::Result<Option<File>>> {
        self.give_up(id, "truncated", true);
        self.files.update(id, |g| {
            g.state = State::Done;
            // What it was is gone: no checkpoint can describe it any more.
            g.replaced = true;
            Ok(g.take_file())
        })
    }

    /// The copy that a rotator made of a file before it truncated it: the newest file beside it with the same content.
    fn find_copy(&self, old: &Generation) -> Option<(Sibling, File, Overlap)> {
        // One that is being read as what it is can be no copy; one whose content was replaced by a copy can.
        let is_itself = |s: &Sibling, file: &File| -> std::io::Result<bool> {
            let reads = self.files.by_file(s.id).and_then(|id| self.files.get(id)).filter(|g| g.unproven.is_none());
            reads.map_or(Ok(false), |g| Ok(g.content().overlap(file, s.metadata.len())? == Overlap::Whole))
        };
        let is_copy = |s: &Sibling, file: &File, wanted: Overlap| {
            let is_known = self.known.of(file, &s.metadata)?.is_some_and(|entry| !entry.unproven);
            let overlap = old.content().overlap(file, s.metadata.len())?;
            let is_copy = !is_known && overlap == wanted && !is_itself(s, file)?;
            // One that was read before is a log by itself; one that came just now may be the copy, whatever a glob says of its name.
            let is_log =
                self.files.by_file(s.id).and_then(|id| self.files.get(id)).is_some_and(|g| g.unproven.is_none());
            Ok(is_copy && !self.is_anothers([&old.path, &old.lane_path], s, old.content().end(), is_log))
        };
        // What has all of it is its copy, whatever newer files begin as it did.
        [Overlap::Whole, Overlap::Part].into_iter().find_map(|wanted| {
            let is_copy = |s: &Sibling, file: &File| is_copy(s, file, wanted);
            let (sibling, file) = siblings::find(&old.path, |s| s.id != old.file_id, is_copy)?;
            Some((sibling, file, wanted))
        })
    }

    /// Whether a file that holds so many bytes of a log's file, which has or had these names, is another log's all the same: one that is a log by
    /// itself, or a rotated one by its name. Two logs may well begin with the same line.
    pub(super) fn is_anothers(&self, names: [&Path; 2], sibling: &Sibling, bytes: u64, is_log: bool) -> bool {
        let lanes = self.files.lanes().chain(self.known.entries().map(|e| Path::new(&e.path)));
        let is_of_other = |other: &Path| other.parent() == names[0].parent() && is_rotated(other, &sibling.path);
        bytes < ALIKE_BYTES
            && !names.iter().any(|name| is_rotated(name, &sibling.path))
            && (is_log || lanes.into_iter().any(is_of_other))
    }

    /// A copy may have been found by a glob before, and was not read, then; or it was written over a file that was.
    fn take_over(&mut self, ch: &mut Channels, copy: &Sibling) {
        let Some(id) = self.files.by_file(copy.id) else { return };
        if self.files.get(id).is_some_and(|g| g.unproven.is_some()) {
            self.files.remove(id);
            return;
        }
        if let Ok(permit) = self.room(ch) {
            self.flush(ch, id, permit);
        }
        self.end_truncated(id);
    }

    /// A copy of which everything was read from the original is not read again.
    fn know_copy(&mut self, copy: &Sibling, file: &File) {
        let size = copy.metadata.len();
        match Content::of(file, size) {
            Ok(content) => {
                let (path, tag, born) = (&copy.path, self.rng.u64(..), born(&copy.metadata));
                let named = Named { path, lane: path, id: copy.id, born, unproven: false, tag, seen: self.seen() };
                let entry = content.entry(&named, size, content.mark());
                self.known.insert(entry);
            }
            Err(error) => tracing::warn!(path = %copy.path.display(), %error, "the copy of a file cannot be read"),
        }
    }

    /// Lets go of rotated files that are read to their end and have not grown for a while, and of deleted ones that nobody will ever have
    /// read.
    pub(super) fn retire(&mut self, ch: &mut Channels, now: Instant) {
        if self.let_go_of_left(ch).is_some() {
            return;
        }
        let over = |g: &&Generation| {
            let ended = !g.may_grow(self.groups[g.group].rotate_wait);
            matches!(g.state, State::Draining(_)) && (ended || self.wait_is_over(g, now))
        };
        let over: Vec<SourceId> = self.files.closing().filter(over).map(|g| g.id).collect();
        for id in over {
            let Some(generation) = self.files.get(id) else { continue };
            if generation.has_partial_line() {
                match self.room(ch) {
                    Ok(permit) => self.flush(ch, id, permit),
                    // There is no room for it, and there will not be any in time.
                    Err(_) if self.wait_is_over(generation, now) => {}
                    Err(_) => return,
                }
            }
            self.give_up(id, "deleted", true);
            self.files.update(id, |g| g.state = State::Done);
        }
        let done: Vec<SourceId> = self.files.closing().filter(|g| g.state == State::Done).map(|g| g.id).collect();
        for id in done {
            // A deleted file takes its space for as long as it is open, and no checkpoint needs it.
            let is_over = self.files.update(id, |g| {
                let is_deleted = g.links() == Some(0);
                g.replaced |= is_deleted;
                is_deleted || g.in_flight() == 0
            });
            if is_over == Some(true) {
                self.forget(id);
            }
        }
    }

    /// Whether a deleted file has been held for as long as it may be.
    fn wait_is_over(&self, generation: &Generation, now: Instant) -> bool {
        let max_wait = self.groups[generation.group].deleted_max_wait;
        generation.deleted_at.is_some_and(|at| now >= at + max_wait)
    }

    pub(super) fn forget(&mut self, id: SourceId) {
        let Some(mut generation) = self.files.remove(id) else { return };
        self.left.push(generation.tag);
        self.account.close(&generation);
        self.release_segment(&mut generation);
        // It may come back under a name that a glob names, and is not to be sent again then.
        if !generation.replaced {
            self.known.insert(generation.entry(self.seen()));
        }
        self.dirty = true;
    }
}
