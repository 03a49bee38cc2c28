//! Segments of a full spool that are dropped: what was not read of one is counted, event by event, and the segment removed.

use super::Reader;
use crate::source::file::generation::{self, State};
use crate::spool::keeper;
use crate::spool::segments::{count_events, remove};

impl Reader {
    pub(super) fn drop_segment(&mut self, order: keeper::Drop) {
        let keeper::Drop { segment, source, done } = order;
        let path = &segment.path;
        let read = self.files.by_file(segment.id);
        // What was read of a line that is not whole yet is not an event, and never becomes one now.
        let from = match read.and_then(|id| self.files.get(id)) {
            Some(g) => g.content().end() - g.partial_line_bytes(),
            None => self.known_offset(path).unwrap_or(0),
        };
        match count_events(path, from) {
            Ok(events) => {
                self.metrics.events.with_label_values(&[&*source]).inc_by(events);
                self.metrics.dropped_events.with_label_values(&["spool", "drop_oldest"]).inc_by(events);
                tracing::warn!(source = &*source, events, "the spool is full, and its oldest events are dropped");
            }
            Err(error) => {
                self.metrics.abandoned_bytes.with_label_values(&["spool"]).inc_by(segment.bytes.saturating_sub(from));
                tracing::error!(path = %path.display(), %error, "a segment of the spool cannot be read, and is dropped with all that it holds");
            }
        }
        if let Some(id) = read {
            self.files.update(id, |g| {
                g.state = State::Done;
                g.replaced = true;
            });
        }
        if let Err(error) = remove(path) {
            tracing::error!(path = %path.display(), %error, "a segment of the spool cannot be removed");
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
