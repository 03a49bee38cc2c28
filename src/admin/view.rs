//! What the admin server sees of the agent: its metrics, what the senders say, whether the stages move, the history and the last problems. It asks,
//! and changes nothing but the history, which is its own.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::history::{History, INTERVAL};
use super::judgement::Evidence;
use super::shown::{HistoryShown, Known, Parts, ProblemShown, Shown};
use crate::budget::Budget;
use crate::clock;
use crate::config::Config;
use crate::heartbeat::Doing;
use crate::kinesis::{Statuses, oldest_unsent};
use crate::log::recent::Problems;
use crate::metrics::Metrics;
use crate::metrics::gathered::Gathered;
use crate::watchdog::Stalled;

/// An error that is older than this explains nothing that is so now.
const FRESH: Duration = Duration::from_mins(2);

/// What is seen.
#[derive(Debug)]
pub struct View {
    pub(super) metrics: Arc<Metrics>,
    budget: Arc<Budget>,
    status: watch::Receiver<Statuses>,
    stalled: watch::Receiver<Vec<Stalled>>,
    problems: RefCell<Problems>,
    history: RefCell<History>,
    known: watch::Receiver<Known>,
    ready_max_age: Duration,
    /// How often the server has to say that it moves.
    pub(super) beat_interval: Duration,
    started: Instant,
}

impl View {
    /// The view of an agent that starts now.
    pub fn new(
        config: &Config,
        known: watch::Receiver<Known>,
        metrics: Arc<Metrics>,
        budget: Arc<Budget>,
        (status, stalled): (watch::Receiver<Statuses>, watch::Receiver<Vec<Stalled>>),
    ) -> Self {
        Self {
            metrics,
            budget,
            status,
            stalled,
            problems: RefCell::default(),
            history: RefCell::default(),
            known,
            ready_max_age: config.admin.ready_max_age,
            beat_interval: config.admin.watchdog.map_or(INTERVAL, |limit| (limit / 4).min(INTERVAL)),
            started: Instant::now(),
        }
    }

    /// The same with the last problems of the log.
    #[must_use]
    pub fn with_problems(self, problems: Problems) -> Self {
        Self { problems: RefCell::new(problems), ..self }
    }

    /// Says that the server, and the thread that it shares with the senders, moves.
    pub(super) fn beat(&self) {
        self.metrics.beats.admin.at(Doing::Serves);
    }

    /// Takes a sample for the charts, and the problems that the log told of.
    pub(super) fn sample(&self) {
        self.problems.borrow_mut().refresh();
        self.history.borrow_mut().sample(&self.gather(), Instant::now());
    }

    /// All metrics of this moment.
    pub(super) fn gather(&self) -> Gathered {
        let int = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.metrics.buffer_bytes.set(int(self.budget.used()));
        self.metrics.buffer_capacity_bytes.set(int(self.budget.limit()));
        self.metrics.gather()
    }

    /// Which stages stand still.
    pub(super) fn not_live(&self) -> Option<String> {
        let stalled = self.stalled.borrow();
        let named: Vec<String> = stalled.iter().map(ToString::to_string).collect();
        (!named.is_empty()).then(|| named.join("; "))
    }

    /// Why the agent is not ready, if it is not.
    pub(super) fn not_ready(&self) -> Option<String> {
        let statuses = self.status.borrow();
        for (stream, status) in &*statuses {
            if let Some(blocked) = &status.blocked {
                return Some(format!("stream {stream} is blocked: {}: {}", blocked.code, blocked.way_out));
            }
        }
        let age = oldest_unsent(&statuses)?.elapsed();
        (age > self.ready_max_age).then(|| {
            format!(
                "the oldest unsent event is {} s old, over admin.ready_max_age of {} s",
                age.as_secs(),
                self.ready_max_age.as_secs()
            )
        })
    }

    /// What the start is still about.
    pub(super) fn not_started(&self) -> Option<&'static str> {
        (!self.metrics.beats.has_scanned())
            .then_some("files are looked for, and compared with the checkpoint, for the first time")
    }

    /// Everything that the page shows; with the points of its charts if they are asked for. `draw` is given the history too.
    pub(super) fn show<T>(&self, draw: impl FnOnce(Shown, &History) -> T) -> T {
        self.problems.borrow_mut().refresh();
        let (problems, history, now) = (self.problems.borrow(), self.history.borrow(), self.gather());
        let statuses = self.status.borrow().clone();
        let known = self.known.borrow();
        let parts = Parts { now: &now, statuses: &statuses, history: &history, known: &known };
        let not_ready = self.not_ready();
        let is_fresh = |at| clock::now().duration_since(at).is_ok_and(|age| age < FRESH);
        let judgement = Evidence {
            parts,
            stalled: &self.stalled.borrow(),
            has_scanned: self.metrics.beats.has_scanned(),
            not_ready: not_ready.as_deref(),
            last_error: problems.iter().find(|problem| !problem.code.is_empty() && is_fresh(problem.last)),
        }
        .judge();
        let mut shown = parts.shown(judgement, not_ready.is_none(), self.started.elapsed().as_secs());
        shown.problems = problems.iter().map(ProblemShown::new).collect();
        draw(shown, &history)
    }

    /// The same as JSON.
    pub(super) fn status(&self, with_history: bool) -> Vec<u8> {
        self.show(|mut shown, history| {
            shown.history = with_history.then(|| HistoryShown::new(history));
            let mut out = serde_json::to_vec_pretty(&shown).expect("it is plain data with text keys");
            out.push(b'\n');
            out
        })
    }
}
