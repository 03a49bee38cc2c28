//! A line whose configuration is replaced in the middle of its file. What an event looks like changes at once, with whatever is held back. How
//! lines are told apart and joined changes where the next chunk begins, since what is held back by then belongs to the old way.

use std::sync::Arc;

use super::{LineBuilder, LineConfig, Lines};
use crate::parse::Added;

impl LineBuilder {
    /// Lines become events as this says from now on. The file begins with `head`.
    pub fn renew(&mut self, config: &Arc<LineConfig>, added: Added, head: &[u8]) {
        let old = &self.emit.config;
        let is_joined_alike =
            (&old.multiline, old.format, old.encoding) == (&config.multiline, config.format, config.encoding);
        let (now, next) = if is_joined_alike {
            (Arc::clone(config), None)
        } else {
            let (multiline, format, encoding) = (old.multiline.clone(), old.format, old.encoding);
            let mixed = LineConfig { multiline, format, encoding, ..LineConfig::clone(config) };
            (Arc::new(mixed), Some((Arc::clone(config), head.to_vec())))
        };
        self.framer.set_max(now.max_frame(self.format));
        self.framer.set_long_lines(now.long_lines);
        self.emit.renew(now, added);
        self.next = next;
    }

    /// Goes over to what comes next, if there is anything. A record that is held ends where it is, as its next line would be joined by another
    /// rule; pieces of a container's line stay together, unless the format itself is another one.
    pub(super) fn turn_over(&mut self, lines: &mut Lines) {
        let Some((next, head)) = self.next.take() else { return };
        let (old, is_other_format) = (Arc::clone(&self.emit.config), next.format != self.emit.config.format);
        if let Some(streams) = &mut self.streams {
            if is_other_format {
                streams.expire(None, &mut self.emit, lines);
            } else if old.multiline != next.multiline {
                streams.end_records(&mut self.emit, lines);
            }
        }
        if is_other_format {
            self.format = next.format;
            self.continued = None;
            self.in_line = self.framer.is_within();
            self.framer.set_max(next.max_frame(next.format));
        }
        if old.encoding != next.encoding
            && self.standard.is_some()
            && let Some((standard, _)) = next.encoding.detect(&head, true)
        {
            self.set_encoding(standard);
        }
        self.emit.config = next;
    }

    /// Gives up what is held back of records and of pieces: all of it becomes events.
    pub fn let_go(&mut self, max_event: usize, lines: &mut Lines) {
        self.emit.max_event = max_event;
        if let Some(streams) = &mut self.streams {
            streams.expire(None, &mut self.emit, lines);
        }
        self.emit.end(lines);
    }
}
