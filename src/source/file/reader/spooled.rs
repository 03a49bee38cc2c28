//! Segments of spools. They are the agent's own files, so that nothing about them has to be guessed: their names are numbers, none is a copy, and
//! each is removed here, as soon as all of it is delivered or because the spool is full and drops it.

use std::path::Path;

use tokio::time::Instant;

use super::Reader;
use super::find::{Adoption, rotated_siblings};
use crate::event::SourceId;
use crate::source::file::generation::{self, Generation, State};
use crate::source::file::identity::FileId;
use crate::source::file::siblings::Sibling;
use crate::spool::keeper;
use crate::spool::segments::{count_events, number, remove};

impl Reader {
    /// Reads the finished segments of spools that are not being read yet, whatever the clock says of when they came.
    pub(super) fn adopt_segments(&mut self, now: Instant) {
        for group in 0..self.groups.len() {
            let Some(lane) = self.groups[group].spool.clone() else { continue };
            let mut segments = rotated_siblings(&lane);
            segments.retain(|s| number(&s.path).is_some() && self.files.by_file(s.id).is_none());
            segments.sort_by_key(|s| number(&s.path));
            for segment in segments {
                if let Err(error) = self.adopt_segment(group, &lane, &segment, now) {
                    tracing::error!(path = %segment.path.display(), %error, "a segment of the spool cannot be read; the next scan tries again");
                }
            }
        }
    }

    fn adopt_segment(&mut self, group: usize, lane: &Path, segment: &Sibling, now: Instant) -> std::io::Result<()> {
        let file = generation::open(&segment.path)?;
        let known = self.known.of(&file, &file.metadata()?)?.map(|entry| (entry.offset, entry.generation));
        let (offset, tag) = known.unwrap_or_else(|| (0, self.rng.u64(..)));
        let (path, lane, state) = (lane.to_owned(), lane.to_owned(), State::Draining(now));
        self.add(Adoption { group, path, lane, offset, tag, state, unproven: false, birth: None }, file, now)
    }

    /// Removes a segment of which everything is delivered.
    pub(super) fn release_segment(&self, generation: &mut Generation) {
        if self.groups[generation.group].spool.is_none() {
            return;
        }
        if let Some(path) = generation.name().filter(|path| number(path).is_some()) {
            let is_over = std::fs::metadata(&path)
                .is_ok_and(|m| FileId::of(&m) == generation.file_id && m.len() == generation.tracker.committed());
            match if is_over { remove(&path) } else { Ok(()) } {
                Ok(()) => generation.replaced |= is_over,
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "a segment of the spool is delivered and cannot be removed");
                }
            }
        }
        self.released.send_modify(|()| {});
    }

    /// The same for all of them, at the end.
    pub(super) fn release_segments(&mut self) {
        let is_over = |g: &&Generation| {
            self.groups[g.group].spool.is_some() && g.is_committed() && g.content().end() == g.current_size()
        };
        let over: Vec<SourceId> = self.files.closing().filter(is_over).map(|g| g.id).collect();
        for id in over {
            self.forget(id);
        }
    }

    /// Drops a segment of a full spool: what was not read of it is counted, event by event.
    pub(super) fn drop_segment(&mut self, order: keeper::Drop) {
        let keeper::Drop { segment, source, done } = order;
        let path = &segment.path;
        let read = self.files.by_file(segment.id);
        // What was read of a line that is not whole yet is not an event, and never becomes one now.
        let from = match read.and_then(|id| self.files.get(id)) {
            Some(g) => g.content().end() - g.partial_line_bytes(),
            None => self.known_offset(path).unwrap_or(0),
        };
        let counted = count_events(path, from);
        if read.is_none() && counted.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
            // All of it was delivered, and it was removed, before the order came.
            done.send(()).ok();
            return;
        }
        let bytes = match read {
            Some(id) => self.files.update(id, |g| (g.group, g.give_up(true))),
            // It was not begun in this run.
            None => self.groups.iter().position(|group| group.name == source).map(|group| {
                let bytes = segment.bytes.saturating_sub(from);
                self.account.find(group, bytes);
                (group, bytes)
            }),
        };
        match counted {
            Ok(events) => {
                self.metrics.aside.dropped(&source, ("spool", "drop_oldest"), events);
                if let Some((group, bytes)) = bytes {
                    self.account.settle(group, bytes);
                }
                tracing::warn!(source = &*source, events, "the spool is full, and its oldest events are dropped");
            }
            Err(error) => {
                self.account.abandon("spool", bytes.map_or(0, |(_, bytes)| bytes));
                tracing::error!(path = %path.display(), %error, "a segment of the spool cannot be read, and is dropped with all that it holds");
            }
        }
        if let Err(error) = remove(path) {
            tracing::error!(path = %path.display(), %error, "a segment of the spool cannot be removed");
        }
        if let Some(id) = read {
            self.files.update(id, |g| g.replaced = true);
            self.forget(id);
        }
        // A keeper that has gone does not need to know.
        done.send(()).ok();
    }

    fn known_offset(&self, path: &std::path::Path) -> Option<u64> {
        let file = generation::open(path).ok()?;
        let metadata = file.metadata().ok()?;
        self.known.of(&file, &metadata).ok()?.map(|entry| entry.offset)
    }
}
