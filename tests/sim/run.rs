//! One simulation from the first line to the last: the agent's runs one after the other, each ended as planned, and what is left at the end.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use kinetail::budget::Budget;
use kinetail::deadletter::{DeadLetters, FILE_NAME};
use kinetail::kinesis::facts::Facts;
use kinetail::kinesis::{self, Sender, SenderConfig, Statuses};
use kinetail::metrics::Metrics;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use crate::file::{LineId, line_id};
use crate::ledger::{Ledger, Violation, ensure};
use crate::plan::{End, Mutant, Plan, millis};
use crate::reader::{self, Disk, Reader};
use crate::stream::{Client, Inside, Stream};

/// The queues between reader and sender, as the agent has them.
const BATCH_QUEUE: usize = 4;
const SETTLED_QUEUE: usize = 16;
/// So often nothing that runs needs to be looked at in one moment.
const POLLS_AT_ONCE: u32 = 50_000;

/// What came of a simulation.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The hash of all deliveries and their times.
    pub(crate) trace: [u8; 32],
    pub(crate) deliveries: u64,
    pub(crate) duplicates: u64,
    pub(crate) met: BTreeMap<&'static str, u64>,
}

/// Runs the plan of a seed.
pub(crate) fn run(seed: u64, mutant: Mutant) -> Result<Outcome, Violation> {
    run_plan(|| Plan::new(seed, mutant))
}

/// Runs a plan.
pub(crate) fn run_plan(plan: impl FnOnce() -> Plan) -> Result<Outcome, Violation> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime needs nothing but memory");
    let scratch = tempfile::tempdir().expect("tests need a temporary directory");
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        runtime.block_on(async { Simulation::new(plan(), scratch.path()).run().await })
    }));
    result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        Err(Violation(format!("panic: {}", text.unwrap_or_default())))
    })
}

struct Simulation<'a> {
    plan: Rc<Plan>,
    stream: Rc<RefCell<Stream>>,
    disk: Disk,
    start: Instant,
    scratch: &'a Path,
}

impl<'a> Simulation<'a> {
    fn new(plan: Plan, scratch: &'a Path) -> Self {
        let start = Instant::now();
        let ledger = Ledger::new(Rc::clone(&plan.files), &plan.partition_key);
        let plan = Rc::new(plan);
        let disk = Rc::new(RefCell::new(vec![0; plan.files.len()]));
        let stream = Rc::new(RefCell::new(Stream::new(Rc::clone(&plan), ledger, start)));
        Self { plan, stream, disk, start, scratch }
    }

    async fn run(self) -> Result<Outcome, Violation> {
        for (number, end) in self.plan.runs.iter().enumerate() {
            let drained = self.one_run(number as u64, *end).await?;
            let mut stream = self.stream.borrow_mut();
            stream.inside = None;
            stream.ledger.run_ended(&self.disk.borrow(), drained)?;
        }
        for (index, (file, offset)) in self.plan.files.iter().zip(&*self.disk.borrow()).enumerate() {
            let length = file.bytes.len() as u64;
            ensure!(*offset == length, "file {index} is committed up to {offset} of {length} bytes");
        }
        let mut stream = self.stream.borrow_mut();
        stream.arrivals(true);
        let dead = self.dead_letters(&mut stream.ledger)?;
        if let Some(violation) = stream.violation.take() {
            return Err(violation);
        }
        let trace = stream.ledger.finish(&dead)?;
        let (deliveries, duplicates) = (stream.ledger.deliveries, stream.ledger.duplicates);
        Ok(Outcome { trace, deliveries, duplicates, met: std::mem::take(&mut stream.met) })
    }

    /// One life of the agent. Answers whether it drained.
    async fn one_run(&self, number: u64, end: End) -> Result<bool, Violation> {
        let plan = &self.plan;
        let (budget, metrics) = (Budget::new(plan.memory), Arc::new(Metrics::new()));
        self.stream.borrow_mut().inside = Some(Inside {
            metrics: Arc::clone(&metrics),
            budget: Arc::clone(&budget),
            largest_batch: 2 * plan.read_bytes,
        });
        let (batch_tx, batches) = mpsc::channel(BATCH_QUEUE);
        let (spare, spare_rx) = mpsc::channel(BATCH_QUEUE);
        let (settled, settled_rx) = mpsc::channel(SETTLED_QUEUE);
        let (stop_tx, stop) = watch::channel(false);
        let (status, _status) = watch::channel(Statuses::new());
        let (limit_tx, record_limit) = watch::channel(self.limit());
        let dead_letters = DeadLetters::new(&self.scratch.join("state"));
        let pool = budget.try_reserve(0).expect("nothing always fits");
        let client = Client(Rc::clone(&self.stream));
        let sender = Sender::new(client, self.config(number), pool, dead_letters, Arc::clone(&metrics));
        let last = matches!(end, End::Last);
        let reader = Reader::new(plan, &self.stream, Arc::clone(&budget), &self.disk, self.start, last);
        let reading = reader::Channels {
            batches: batch_tx,
            spare: spare_rx,
            settled: settled_rx,
            stop,
            record_limit: record_limit.clone(),
        };
        let mut reading = Box::pin(reader.run(reading));
        let (facts_tx, facts) = watch::channel(Facts::default());
        let resharded = Arc::new(Notify::new());
        let map = self.follow_shards(&facts_tx, &resharded, number);
        let channels = kinesis::Channels {
            batches,
            settled,
            spare,
            status,
            record_limit,
            facts,
            resharded: Arc::clone(&resharded),
        };
        let mut sending = Box::pin(sender.run(channels));
        let drained = {
            let line = async { tokio::join!(&mut sending, &mut reading) };
            let run = async {
                tokio::select! {
                    biased;
                    _ = line => true,
                    () = until(end, plan.patience, &stop_tx) => false,
                    never = self.follow(&limit_tx) => match never {},
                    never = map => match never {},
                }
            };
            Watched { stream: &self.stream, inner: pin!(run), at: Instant::now(), polls: 0 }.await?
        };
        let used = budget.used();
        drop(sending);
        if drained {
            ensure!(used == 0, "{used} bytes are still in flight after everything is settled");
        }
        match end {
            // The reader ends with its sender, and writes the last checkpoint.
            End::Stop(..) if !drained => {
                Watched { stream: &self.stream, inner: pin!(reading), at: Instant::now(), polls: 0 }.await?;
            }
            End::Crash(_) | End::Stop(..) => {}
            End::Last => self.has_drained(drained, used)?,
        }
        self.stream.borrow().inspect()?;
        Ok(drained)
    }

    fn has_drained(&self, drained: bool, used: usize) -> Result<(), Violation> {
        let committed = self.disk.borrow().clone();
        let lengths: Vec<_> = self.plan.files.iter().map(|f| f.bytes.len()).collect();
        ensure!(
            drained,
            "not drained within {:?}: {committed:?} of {lengths:?} committed, {used} bytes in flight",
            self.plan.patience
        );
        Ok(())
    }

    fn config(&self, number: u64) -> SenderConfig {
        SenderConfig {
            delivered_before: false,
            stream: "sim".into(),
            arn: None,
            max_bytes: usize::MAX,
            hot_key_share: 0.5,
            partition_key: self.plan.partition_key.clone(),
            packing: kinetail::kinesis::aggregate::Packing { max: self.limit(), ..self.plan.packing.clone() },
            max_in_flight: self.plan.max_in_flight,
            request_timeout: self.plan.request_timeout,
            seed: self.plan.seed.wrapping_add(number),
        }
    }

    fn limit(&self) -> usize {
        match self.plan.raised {
            Some((at, max)) if at <= self.start.elapsed() => max,
            _ => self.plan.packing.max,
        }
    }

    /// What changes around the agent while it runs.
    async fn follow(&self, limit: &watch::Sender<usize>) -> std::convert::Infallible {
        let state = self.scratch.join("state");
        let writable = async {
            sleep_until(self.start + self.plan.dead_letters_from).await;
            std::fs::create_dir_all(&state).expect("the temporary directory can be written");
        };
        let raised = async {
            if let Some((at, max)) = self.plan.raised {
                sleep_until(self.start + at).await;
                limit.send_replace(max);
            }
        };
        tokio::join!(writable, raised);
        std::future::pending().await
    }

    /// The stream's map of its shards, asked for at the start and whenever an answer shows that it is out of date.
    async fn follow_shards(&self, facts: &watch::Sender<Facts>, stale: &Notify, run: u64) -> std::convert::Infallible {
        let mut rng = fastrand::Rng::with_seed(self.plan.seed ^ run);
        sleep(millis(&mut rng, 0, 200)).await;
        facts.send_modify(|facts| facts.asked = true);
        if !self.plan.lists_shards {
            return std::future::pending().await;
        }
        loop {
            sleep(millis(&mut rng, 0, 3000)).await;
            let open = self.stream.borrow_mut().open_shards();
            facts.send_modify(|facts| facts.shards = Some(open.into()));
            stale.notified().await;
        }
    }

    fn dead_letters(&self, ledger: &mut Ledger) -> Result<BTreeSet<LineId>, Violation> {
        let text = std::fs::read_to_string(self.scratch.join("state").join(FILE_NAME)).unwrap_or_default();
        let mut dead = BTreeSet::new();
        for letter in text.lines() {
            let letter: serde_json::Value =
                serde_json::from_str(letter).map_err(|e| Violation(format!("a dead letter is no JSON: {e}")))?;
            let data = letter["data"].as_str().unwrap_or_default();
            // The events of a record without an envelope stay together.
            for id in data.lines().filter_map(|line| line_id(line.as_bytes())) {
                ledger.dead(id, letter["reason"].as_str().unwrap_or_default())?;
                dead.insert(id);
            }
        }
        Ok(dead)
    }
}

/// Completes when the agent is to be gone.
async fn until(end: End, patience: Duration, stop: &watch::Sender<bool>) {
    match end {
        End::Crash(after) => sleep(after).await,
        End::Stop(after, limit) => {
            sleep(after).await;
            stop.send_replace(true);
            sleep(limit).await;
        }
        End::Last => sleep(patience).await,
    }
}

/// Ends a run as soon as a promise is broken, or when it spins without time going on.
struct Watched<'a, F> {
    stream: &'a Rc<RefCell<Stream>>,
    inner: Pin<&'a mut F>,
    at: Instant,
    polls: u32,
}

impl<F: Future> Future for Watched<'_, F> {
    type Output = Result<F::Output, Violation>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = self.inner.as_mut().poll(cx);
        if let Some(violation) = self.stream.borrow_mut().violation.take() {
            return Poll::Ready(Err(violation));
        }
        let now = Instant::now();
        self.polls = if now == self.at { self.polls + 1 } else { 0 };
        self.at = now;
        if self.polls > POLLS_AT_ONCE {
            return Poll::Ready(Err(Violation("it spins: polled again and again while no time passes".to_owned())));
        }
        polled.map(Ok)
    }
}
