//! The last time that was read, for lines of the same second: where nothing differs but the digits after the point, nothing has to be read again.

use super::civil::DAY;
use super::recognise::part;
use super::stamp::{AHEAD, Stamp};

/// Longer texts are read anew each time.
const WIDTH: usize = 40;
const SECOND: i128 = 1_000_000_000;

/// A text that was read, and what came of it.
#[derive(Debug, Clone)]
pub(super) struct Last {
    text: [u8; WIDTH],
    len: usize,
    /// Where the parts of the second stand.
    from: usize,
    to: usize,
    /// The time without them.
    whole: i128,
    has_year: bool,
}

impl Last {
    /// Remembers a text. `fixed` says that another part of the second could be another format's.
    pub(super) fn of(text: &[u8], stamp: &Stamp<'_>, nanos: i128, fixed: bool) -> Option<Self> {
        let mut kept = [0; WIDTH];
        kept.get_mut(..text.len())?.copy_from_slice(text);
        let has_year = stamp.year.is_some() || stamp.epoch.is_some();
        let mut last = Self { text: kept, len: text.len(), from: text.len(), to: text.len(), whole: nanos, has_year };
        if !fixed && !stamp.part.is_empty() {
            // The part is a slice of the text.
            last.from = stamp.part.as_ptr().addr().checked_sub(text.as_ptr().addr())?;
            last.to = last.from + stamp.part.len();
            last.whole -= i128::from(stamp.nanos);
        }
        Some(last)
    }

    /// The time of a text, if it is of the same second.
    pub(super) fn time(&self, text: &[u8], read_at: i128) -> Option<i128> {
        if text.len() != self.len
            || text.get(..self.from)? != self.text.get(..self.from)?
            || text.get(self.to..)? != self.text.get(self.to..self.len)?
            || !self.has_year && !self.keeps_its_year(read_at)
        {
            return None;
        }
        if self.from == self.to {
            return Some(self.whole);
        }
        Some(self.whole + i128::from(part(text.get(self.from..self.to)?)?))
    }

    /// Whether the year would be found again, with a day to spare for the zone.
    fn keeps_its_year(&self, read_at: i128) -> bool {
        let since = read_at.saturating_sub(self.whole);
        (-i128::from(AHEAD - DAY) * SECOND..i128::from(365 * DAY - AHEAD - DAY) * SECOND).contains(&since)
    }
}
