//! The watchdog: a thread that looks whether every stage of the line moves, and names the one that does not. It has a thread of its own since the
//! one that stands still may be that of the admin server. It judges by looks, not by the clock: a process that was stopped and goes on
//! has not stood still.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use prometheus::IntGaugeVec;
use tokio::sync::watch;

use crate::heartbeat::{Beat, Doing, Patience};
use crate::kinesis::Statuses;

/// Looks at a stage that does not move before it counts as stalled.
const LOOKS: u32 = 10;

/// A stage that is looked at.
#[derive(Debug)]
struct Watched {
    name: String,
    beat: Arc<Beat>,
    moved: u64,
    /// Looks since it moved last.
    looks: u32,
}

/// A stage that has work and does not move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stalled {
    /// Its name: `reader`, `sender`, `checkpoint`, `admin`, or `spool:` and a source.
    pub stage: String,
    /// What it does, or waits for.
    pub doing: Doing,
    /// For how long it has not moved.
    pub since: Duration,
}

impl std::fmt::Display for Stalled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} has not moved for {} s: it {}", self.stage, self.since.as_secs(), self.doing.words())
    }
}

/// Looks at stages. Pure: when it looks is its thread's business.
#[derive(Debug)]
pub struct Watchdog {
    stages: Vec<Watched>,
    interval: Duration,
}

impl Watchdog {
    /// One for these stages, by name; one that has not moved for `limit` is stalled.
    pub fn new(stages: impl IntoIterator<Item = (String, Arc<Beat>)>, limit: Duration) -> Self {
        let watch = |(name, beat)| Watched { name, moved: 0, looks: 0, beat };
        Self { stages: stages.into_iter().map(watch).collect(), interval: limit / LOOKS }
    }

    /// Looks at all of them, `limit / LOOKS` after the last time. `is_sending` says whether something is on its way to Kinesis.
    pub fn look(&mut self, is_sending: bool) -> Vec<Stalled> {
        let mut stalled = Vec::new();
        for stage in &mut self.stages {
            let (moved, doing) = (stage.beat.moved(), stage.beat.doing());
            let may_wait = match doing.patience() {
                Patience::None => false,
                Patience::WhileSending => is_sending,
                Patience::Endless => true,
            };
            if may_wait || std::mem::replace(&mut stage.moved, moved) != moved {
                stage.looks = 0;
                continue;
            }
            stage.looks += 1;
            if stage.looks >= LOOKS {
                stalled.push(Stalled { stage: stage.name.clone(), doing, since: self.interval * stage.looks });
            }
        }
        stalled
    }

    /// Starts the thread, which looks until what this answers is dropped.
    pub fn spawn(
        mut self,
        statuses: watch::Receiver<Statuses>,
        gauge: IntGaugeVec,
    ) -> std::io::Result<(Watching, watch::Receiver<Vec<Stalled>>)> {
        let (stop, stopped) = channel::<()>();
        let (found, seen) = watch::channel(Vec::new());
        for stage in &self.stages {
            gauge.with_label_values(&[&stage.name]).set(0);
        }
        let look = move || {
            // However it is ended, it is by hanging up.
            while stopped.recv_timeout(self.interval) == Err(RecvTimeoutError::Timeout) {
                let is_sending = statuses.borrow().values().any(|status| {
                    status.blocked.is_some() || status.oldest_unsent.is_some() || status.requests_in_flight > 0
                });
                let stalled = self.look(is_sending);
                tell(&found.borrow(), &stalled, &gauge);
                found.send_if_modified(|before| std::mem::replace(before, stalled.clone()) != stalled);
            }
        };
        std::thread::Builder::new().name("watchdog".to_owned()).spawn(look)?;
        Ok((Watching(stop), seen))
    }
}

/// A watchdog that looks until this is dropped.
#[derive(Debug)]
pub struct Watching(#[expect(dead_code, reason = "it hangs up when it is dropped")] Sender<()>);

/// Says what changed, in the log and on the gauge.
fn tell(before: &[Stalled], now: &[Stalled], gauge: &IntGaugeVec) {
    for Stalled { stage, doing, since } in now {
        if before.iter().all(|other| other.stage != *stage) {
            gauge.with_label_values(&[stage]).set(1);
            tracing::error!(
                stage,
                doing = doing.words(),
                seconds = since.as_secs(),
                "a stage of the line has work and does not move: /livez answers 503, and a restart goes on from the last offset (admin.watchdog)"
            );
        }
    }
    for Stalled { stage, .. } in before {
        if now.iter().all(|other| other.stage != *stage) {
            gauge.with_label_values(&[stage]).set(0);
            tracing::warn!(stage, "a stage of the line that did not move goes on");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_mins(1);

    fn watchdog() -> (Watchdog, Arc<Beat>, Arc<Beat>) {
        let (a, b) = (Arc::new(Beat::default()), Arc::new(Beat::default()));
        (Watchdog::new([("a".to_owned(), Arc::clone(&a)), ("b".to_owned(), Arc::clone(&b))], LIMIT), a, b)
    }

    /// What a minute of looks comes to.
    fn minute(dog: &mut Watchdog, is_sending: bool) -> Vec<String> {
        (0..LOOKS).map(|_| dog.look(is_sending)).last().unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_stage_that_has_work_and_does_not_move_is_named_until_it_does() {
        let (mut dog, a, b) = watchdog();
        a.at(Doing::Reads);
        b.at(Doing::Nothing);
        dog.look(false);
        for _ in 1..LOOKS {
            assert_eq!(dog.look(false), []);
        }
        let found = dog.look(false);
        assert_eq!(found, [Stalled { stage: "a".to_owned(), doing: Doing::Reads, since: LIMIT }]);
        assert_eq!(found[0].to_string(), "a has not moved for 60 s: it reads files");
        assert_eq!(minute(&mut dog, false), ["a has not moved for 120 s: it reads files"]);
        a.at(Doing::Reads);
        assert_eq!(dog.look(false), []);
        for _ in 0..100 {
            a.at(Doing::Reads);
            assert_eq!(dog.look(false), [], "it moves");
        }
    }

    #[test]
    fn waiting_is_no_stall_as_long_as_there_is_something_to_wait_for() {
        for (doing, when_idle) in [
            (Doing::Nothing, None),
            (Doing::ForKinesis, None),
            (Doing::ForRoom, None),
            (Doing::ForMemory, Some("a has not moved for 60 s: it waits for memory")),
            (Doing::ForSender, Some("a has not moved for 60 s: it waits for the sender")),
        ] {
            let (mut dog, a, _) = watchdog();
            a.at(doing);
            dog.look(true);
            for _ in 0..10 {
                assert_eq!(minute(&mut dog, true), [""; 0], "{doing:?} while something is under way");
            }
            // With nothing under way there is nobody who would end the wait.
            dog.look(false);
            assert_eq!(minute(&mut dog, false), when_idle.into_iter().collect::<Vec<_>>(), "{doing:?}");
        }
    }

    #[test]
    fn a_stage_that_goes_on_after_a_long_wait_has_its_whole_time() {
        let (mut dog, a, _) = watchdog();
        a.at(Doing::ForKinesis);
        (0..1000).for_each(|_| assert_eq!(dog.look(true), []));
        a.at(Doing::Sends);
        dog.look(true);
        (1..LOOKS).for_each(|_| assert_eq!(dog.look(true), []));
        assert_eq!(dog.look(true).len(), 1);
    }

    #[test]
    fn the_thread_tells_the_gauge_and_ends_when_it_is_dropped() {
        let (stuck, moving) = (Arc::new(Beat::default()), Arc::new(Beat::default()));
        stuck.at(Doing::Stores);
        let stages = [("checkpoint".to_owned(), Arc::clone(&stuck)), ("reader".to_owned(), moving)];
        let gauge = IntGaugeVec::new(prometheus::Opts::new("stalled", "help"), &["stage"]).unwrap();
        let (status, statuses) = watch::channel(Statuses::new());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (watching, mut seen) =
            Watchdog::new(stages, Duration::from_millis(100)).spawn(statuses, gauge.clone()).unwrap();
        let shows = |stage: &str| gauge.with_label_values(&[stage]).get();
        runtime.block_on(seen.wait_for(|stalled| !stalled.is_empty())).unwrap();
        assert_eq!((shows("checkpoint"), shows("reader")), (1, 0));
        assert_eq!(seen.borrow()[0].doing, Doing::Stores);
        stuck.at(Doing::Nothing);
        runtime.block_on(seen.wait_for(Vec::is_empty)).unwrap();
        assert_eq!(shows("checkpoint"), 0);
        drop(watching);
        while runtime.block_on(seen.changed()).is_ok() {}
        assert!(status.is_closed(), "the thread is gone");
    }
}
