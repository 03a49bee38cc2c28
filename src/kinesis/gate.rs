//! The gate in front of a stream: open, or closed for a while after a request failed as a whole. Pure.
//!
//! A closed gate lets one request through when its time has come, and opens when something is delivered.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::clock;
use crate::kinesis::verdict;

/// After a failure that will pass.
const FAILED: Backoff = Backoff { base: Duration::from_millis(100), cap: Duration::from_secs(5) };
/// After an error that somebody has to act on: asking costs little, and the first answer after the repair should not take a minute.
const HELD: Backoff = Backoff { base: Duration::from_secs(2), cap: Duration::from_secs(30) };

/// Why nothing goes through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocked {
    /// The error code.
    pub code: String,
    /// What is to be done.
    pub way_out: &'static str,
    /// Since when.
    pub since: SystemTime,
}

/// The gate's state.
#[derive(Debug, Default)]
pub(super) struct Gate {
    closed: Option<Closed>,
    /// What the stream is has not been asked yet.
    is_unknown: bool,
    /// What the stream is stands in the way, whatever it would answer.
    refused: Option<Blocked>,
}

/// The stream ignores keys, and aggregates would vanish at its consumers.
pub(super) const AUTO_DISTRIBUTION: &str = "AutoDistribution";

#[derive(Debug)]
struct Closed {
    /// The last time it closed: failures of requests that were out by then tell nothing new.
    at: Instant,
    until: Instant,
    attempts: u32,
    blocked: Option<Blocked>,
}

fn blocked(code: &str) -> Blocked {
    Blocked { code: code.to_owned(), way_out: verdict::way_out(code), since: clock::now() }
}

impl Gate {
    pub(super) fn lets_through(&self, now: Instant, in_flight: usize, max_in_flight: usize) -> bool {
        match &self.closed {
            _ if self.is_refused() => false,
            None => in_flight < max_in_flight,
            Some(closed) => closed.until <= now && in_flight == 0,
        }
    }

    pub(super) fn opens_at(&self) -> Option<Instant> {
        self.closed.as_ref().filter(|_| !self.is_refused()).map(|closed| closed.until)
    }

    fn is_refused(&self) -> bool {
        self.is_unknown || self.refused.is_some()
    }

    /// Whether nothing goes through before it is known what the stream is.
    pub(super) fn wait_for_facts(&mut self, waits: bool) {
        self.is_unknown = waits;
    }

    /// Nothing goes through because of what the stream is, or no longer. Answers what was in the way before.
    pub(super) fn refuse(&mut self, code: Option<&'static str>) -> Option<Blocked> {
        let refused = code.map(blocked);
        std::mem::replace(&mut self.refused, refused)
    }

    pub(super) fn blocked(&self) -> Option<&Blocked> {
        self.refused.as_ref().or_else(|| self.closed.as_ref().and_then(|closed| closed.blocked.as_ref()))
    }

    /// Something was delivered. Answers what had been in the way.
    pub(super) fn open(&mut self) -> Option<Blocked> {
        self.closed.take().and_then(|closed| closed.blocked)
    }

    /// A request failed that was sent at `started`. Answers when the next may go.
    pub(super) fn fail(&mut self, started: Instant, now: Instant, rng: &mut fastrand::Rng) -> Instant {
        self.close(started, now, |attempts| FAILED.wait(attempts, rng))
    }

    /// The stream takes nothing until somebody acts.
    pub(super) fn hold(&mut self, code: &str, started: Instant, now: Instant, rng: &mut fastrand::Rng) -> Instant {
        // At least half of the wait: an error that stays need not be asked about twice in a moment.
        let until = self.close(started, now, |attempts| (HELD.ceiling(attempts) + HELD.wait(attempts, rng)) / 2);
        if let Some(closed) = &mut self.closed
            && closed.blocked.as_ref().is_none_or(|b| b.code != code)
        {
            closed.blocked = Some(blocked(code));
        }
        until
    }

    fn close(&mut self, started: Instant, now: Instant, wait: impl FnOnce(u32) -> Duration) -> Instant {
        let (attempts, blocked) = match self.closed.take() {
            Some(closed) if started < closed.at => {
                let until = closed.until;
                self.closed = Some(closed);
                return until;
            }
            Some(closed) => (closed.attempts + 1, closed.blocked),
            None => (1, None),
        };
        let until = now + wait(attempts);
        self.closed = Some(Closed { at: now, until, attempts, blocked });
        until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_of_one_moment_count_once_and_one_probe_goes_when_the_time_has_come() {
        let (mut gate, mut rng, now) = (Gate::default(), fastrand::Rng::with_seed(1), Instant::now());
        assert!(gate.lets_through(now, 3, 4) && !gate.lets_through(now, 4, 4));
        let until = gate.fail(now, now + Duration::from_millis(1), &mut rng);
        for _ in 0..3 {
            assert_eq!(gate.fail(now, now + Duration::from_millis(2), &mut rng), until);
        }
        assert_eq!(gate.closed.as_ref().unwrap().attempts, 1);
        assert!(!gate.lets_through(until - Duration::from_nanos(1), 0, 4));
        assert!(gate.lets_through(until, 0, 4) && !gate.lets_through(until, 1, 4));
        let next = gate.fail(until, until, &mut rng);
        assert!(next >= until && gate.closed.as_ref().unwrap().attempts == 2);
        assert_eq!(gate.open(), None);
        assert!(gate.lets_through(until, 3, 4));
    }

    #[test]
    fn a_hold_is_told_until_something_is_delivered() {
        let (mut gate, mut rng, now) = (Gate::default(), fastrand::Rng::with_seed(1), Instant::now());
        let until = gate.hold("AccessDeniedException", now, now, &mut rng);
        assert!(until >= now + HELD.base / 2);
        assert!(gate.blocked().unwrap().way_out.contains("kinesis:PutRecords"));
        gate.fail(until, until, &mut rng);
        assert_eq!(gate.blocked().unwrap().code, "AccessDeniedException", "a failed probe does not lift the hold");
        assert_eq!(gate.open().unwrap().code, "AccessDeniedException");
        assert!(gate.blocked().is_none());
    }
}
