//! How often each callsite may speak: a fixed table of atomics, without locks or allocation. Knows no messages, and is
//! told the time.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Messages of one callsite in a window; enough to see a pattern, few enough that a broken stream fills no disk.
pub(super) const MAX_IN_WINDOW: u64 = 10;

/// How long a window is, from its first message.
pub(super) const WINDOW: Duration = Duration::from_secs(30);

/// Callsites that are told apart; the agent and its libraries have some hundred that speak from `warn` on. Those beyond
/// share the last slot, and so one allowance.
const SLOTS: usize = 512;

/// Bits of a window's counter in a slot's state; the rest is its start in milliseconds, which lasts for 34 years.
const COUNT_BITS: u32 = 24;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;

/// The state of a slot that never spoke.
const SILENT: u64 = 0;

/// Whether a message is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spoken {
    /// It is, after a word about those before it that were not.
    Yes {
        /// How many were suppressed since the callsite last spoke.
        suppressed: u64,
    },
    /// It is suppressed.
    No,
}

/// One callsite.
#[derive(Debug, Default)]
struct Slot {
    /// The hash of its identity; 0 while the slot is free. Never given back.
    owner: AtomicU64,
    /// When its window began, and how many messages came in it, in one word so that both change together.
    state: AtomicU64,
}

/// The table of callsites.
#[derive(Debug)]
pub(super) struct Limiter {
    slots: Box<[Slot]>,
}

impl Default for Limiter {
    fn default() -> Self {
        Self { slots: std::iter::repeat_with(Slot::default).take(SLOTS).collect() }
    }
}

impl Limiter {
    /// Counts a message of this callsite, at this time since the start, and says whether it is written.
    pub(super) fn ask(&self, callsite: &impl Hash, now: Duration) -> Spoken {
        let mut hasher = DefaultHasher::new();
        callsite.hash(&mut hasher);
        let slot = self.slot(hasher.finish().max(1));
        let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let mut before = slot.state.load(Ordering::Relaxed);
        loop {
            let (after, spoken) = step(before, now);
            match slot.state.compare_exchange_weak(before, after, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return spoken,
                Err(current) => before = current,
            }
        }
    }

    /// The slot that belongs to this callsite, or is taken for it now.
    fn slot(&self, owner: u64) -> &Slot {
        let (last, own) = self.slots.split_last().expect("there are slots");
        let start = usize::try_from(owner % own.len().max(1) as u64).unwrap_or(0);
        let (before, from) = own.split_at(start);
        for slot in from.iter().chain(before) {
            match slot.owner.compare_exchange(0, owner, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return slot,
                Err(current) if current == owner => return slot,
                Err(_) => {}
            }
        }
        last
    }
}

/// A slot's next state when a message comes, and whether that is written.
fn step(state: u64, now: u64) -> (u64, Spoken) {
    let (start, count) = (state >> COUNT_BITS, state & COUNT_MASK);
    let window = u64::try_from(WINDOW.as_millis()).unwrap_or(u64::MAX);
    if state == SILENT || now.saturating_sub(start) >= window {
        let suppressed = count.saturating_sub(MAX_IN_WINDOW);
        return ((now << COUNT_BITS) | 1, Spoken::Yes { suppressed });
    }
    // The count of what is suppressed stays at its largest rather than starting anew.
    let count = (count + 1).min(COUNT_MASK);
    let spoken = if count <= MAX_IN_WINDOW { Spoken::Yes { suppressed: 0 } } else { Spoken::No };
    ((start << COUNT_BITS) | count, spoken)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// How many of some messages are written, and how many were told to be suppressed.
    fn speak(limiter: &Limiter, callsite: u32, times: u32, now: Duration) -> (u64, u64) {
        let mut totals = (0, 0);
        for _ in 0..times {
            if let Spoken::Yes { suppressed } = limiter.ask(&callsite, now) {
                totals = (totals.0 + 1, totals.1 + suppressed);
            }
        }
        totals
    }

    #[test]
    fn a_window_begins_with_its_first_message() {
        let limiter = Limiter::default();
        assert_eq!(speak(&limiter, 1, 7, millis(29_000)), (7, 0));
        assert_eq!(speak(&limiter, 1, 7, millis(31_000)), (3, 0));
        assert_eq!(speak(&limiter, 1, 1000, millis(58_999)), (0, 0));
        assert_eq!(speak(&limiter, 1, 11, millis(59_000)), (10, 1004));
        assert_eq!(speak(&limiter, 1, 1, millis(90_000)), (1, 1));
        assert_eq!(speak(&limiter, 1, 1, millis(1_000_000)), (1, 0));
    }

    #[test]
    fn callsites_do_not_silence_each_other() {
        let limiter = Limiter::default();
        for callsite in 0..200 {
            assert_eq!(speak(&limiter, callsite, 50, millis(0)).0, MAX_IN_WINDOW, "{callsite}");
        }
    }

    #[test]
    fn callsites_beyond_the_table_share_one_allowance() {
        let limiter = Limiter::default();
        let own = u32::try_from(SLOTS - 1).unwrap();
        let spoken: u64 = (0..own + 100).map(|callsite| speak(&limiter, callsite, 50, millis(0)).0).sum();
        assert_eq!(spoken, u64::from(own) * MAX_IN_WINDOW + MAX_IN_WINDOW);
    }

    #[test]
    fn threads_together_get_one_allowance() {
        let limiter = Limiter::default();
        let spoken: u64 = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| speak(&limiter, 1, 10_000, millis(5)).0)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(spoken, MAX_IN_WINDOW);
        assert_eq!(limiter.ask(&1_u32, WINDOW + millis(5)), Spoken::Yes { suppressed: 39_990 });
    }

    #[test]
    fn the_count_of_suppressed_messages_has_an_end() {
        let full = (7 << COUNT_BITS) | COUNT_MASK;
        assert_eq!(step(full, 7), (full, Spoken::No));
    }
}
