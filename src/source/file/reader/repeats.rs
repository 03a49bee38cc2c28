//! Repeats that transforms left out of a file that has fallen silent since: no event of it comes that could say how many there were, so they get one of
//! their own.

use std::time::Duration;

use super::{Channels, Reader, Wait};
use crate::clock;
use crate::line::Lines;

impl Reader {
    /// Sends what is to be told; at the end of reading, all of it. Answers what has to be waited for, if anything is left.
    pub(super) fn tell_repeats(&mut self, ch: &Channels, is_end: bool) -> Option<Wait> {
        let now = clock::unix_nanos();
        for (index, (group, shaping)) in self.groups.iter().zip(&mut self.shaping).enumerate() {
            let Some(within) = group.line.shape.pipeline.dedupes_within() else { continue };
            let silent = shaping.quiet(now, if is_end { Duration::ZERO } else { within });
            self.repeats.extend(silent.into_iter().map(|repeats| (index, repeats)));
        }
        while !self.repeats.is_empty() {
            let permit = match self.room(ch) {
                Ok(permit) => permit,
                Err(wait) => return Some(wait),
            };
            let (group, repeats) = self.repeats.pop_front()?;
            // A file that is gone has others of its source to speak for it, if there are any; the count of what was dropped is kept in any case.
            let of_group = || self.files.iter().filter(move |g| g.group == group);
            let file = of_group().find(|g| g.lane_path.to_string_lossy() == repeats.path).or_else(|| of_group().next());
            let Some(id) = file.map(|g| g.id) else { continue };
            let mut lines = self.with_shaping(group, Lines::default());
            let at = self.files.update(id, |g| g.tell(&repeats.event, &mut lines));
            self.keep_shaping(group, &mut lines);
            if let Some(at) = at {
                self.send(ch, (id, Vec::new()), lines, (at, at), permit);
            }
        }
        None
    }
}
