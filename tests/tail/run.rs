//! Runs one script: the steps on disk, the agent's life, and the sender's part, which takes what the reader makes and settles it when it likes.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::agent::{Agent, Delivery, Known, Memory, Range, Settings};
use crate::disk::{Disk, Plan};
use crate::oracle::shown;
use crate::script::{Act, Kind, Script, Step};

/// The rounds at the end in which last lines may come that only a stop brings: an overloaded machine may need another.
const LAST_ROUNDS: usize = 4;

/// A promise that was broken, and what led there.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) what: String,
    pub(crate) trace: Vec<String>,
}

/// What a run came to.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Outcome {
    pub(crate) lines: usize,
    pub(crate) runs: usize,
    pub(crate) deliveries: u64,
    pub(crate) duplicates: u64,
}

/// What a run takes beside its script.
#[derive(Debug, Clone)]
pub(crate) struct Options<'a> {
    pub(crate) kinds: &'a [Kind],
    /// Nothing takes that long, unless it never comes.
    pub(crate) deadline: Duration,
}

/// Runs a script in directories of its own.
pub(crate) fn run(script: &Script, options: &Options<'_>) -> Result<Outcome, Failure> {
    let logs = tempfile::tempdir().expect("a directory");
    let state = memory_backed().map_or_else(tempfile::tempdir, tempfile::tempdir_in).expect("a directory");
    let plan = Plan { root: logs.path(), layouts: &script.layouts, kinds: options.kinds, long_wait: script.long_wait };
    let disk = Disk::new(&plan, &mut fastrand::Rng::with_seed(script.seed));
    let settings = Settings {
        state_dir: state.path().join("state"),
        globs: disk.globs(),
        rotate_wait: if script.long_wait { "1h" } else { "50ms" },
        memory_limit: script.memory_limit,
    };
    let mut driver = Driver {
        disk,
        settings,
        deadline: options.deadline,
        agent: None,
        sources: BTreeMap::new(),
        pending: Vec::new(),
        prompt: true,
        stalled: false,
        held: false,
        stopping: false,
        rng: fastrand::Rng::with_seed(script.seed ^ 1),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let result = runtime.block_on(driver.play(script));
    driver.listen();
    let Driver { disk, .. } = driver;
    match result {
        Ok(()) => Ok(Outcome {
            lines: disk.oracle.lines.len(),
            runs: disk.runs,
            deliveries: disk.oracle.deliveries,
            duplicates: disk.oracle.duplicates,
        }),
        Err(what) => Err(Failure { what, trace: disk.trace }),
    }
}

/// Where a sync costs nothing, since no power will fail here.
fn memory_backed() -> Option<&'static Path> {
    Some(Path::new("/dev/shm")).filter(|path| path.is_dir())
}

/// What was delivered and is not settled.
struct Pending {
    source: u32,
    index: usize,
    /// The memory of its batch.
    _memory: Rc<Memory>,
}

struct Sent {
    text: Option<Vec<u8>>,
    spans: Vec<Range>,
    settled: bool,
}

#[expect(clippy::struct_excessive_bools, reason = "independent moods of a sender")]
struct Driver {
    disk: Disk,
    settings: Settings,
    deadline: Duration,
    agent: Option<Agent>,
    /// What this run's agent sent of each of its sources, and where that ends.
    sources: BTreeMap<u32, (u64, Vec<Sent>)>,
    pending: Vec<Pending>,
    /// The sender settles at once.
    prompt: bool,
    /// The sender takes nothing.
    stalled: bool,
    /// Checkpoints are not written.
    held: bool,
    stopping: bool,
    rng: fastrand::Rng,
}

impl Driver {
    async fn play(&mut self, script: &Script) -> Result<(), String> {
        for step in &script.steps {
            self.disk.trace.push(format!("step {}: {:?} log {}", step.number, step.act, step.log));
            self.step(*step).await?;
            self.absorb().await?;
            self.listen();
        }
        self.disk.trace.push("the end".to_owned());
        self.end().await
    }

    async fn step(&mut self, Step { act, log, seed, .. }: Step) -> Result<(), String> {
        let mut rng = fastrand::Rng::with_seed(seed);
        let rng = &mut rng;
        match act {
            Act::Write => self.disk.write(log, rng.clone().usize(1..8), rng),
            Act::Burst => self.disk.write(log, rng.clone().usize(200..900), rng),
            Act::Part => self.disk.write_part(log, rng),
            Act::Twins => {
                let (long, other) = (rng.bool(), rng.usize(..self.disk.logs.len()));
                self.disk.write_equal(log, long);
                self.disk.write_equal(other, long);
            }
            Act::Create => self.disk.create(log, rng),
            Act::Rotate | Act::RotateLate | Act::Swap => self.rotate(act, log, rng).await?,
            Act::CopyTruncate | Act::CopyTruncateRegrow | Act::Truncate | Act::TruncateRegrow => {
                let copy = matches!(act, Act::CopyTruncate | Act::CopyTruncateRegrow);
                let size = self.disk.truncate(log, copy, rng);
                if matches!(act, Act::CopyTruncateRegrow | Act::TruncateRegrow) {
                    self.disk.regrow(log, size, rng.bool(), rng);
                }
            }
            Act::Delete | Act::DeleteLate | Act::Replace => self.delete(act, log, rng).await?,
            Act::Link => self.disk.link(log),
            Act::Unlink => self.disk.unlink(log),
            Act::Compress => self.disk.compress(log, rng),
            Act::RemoveCompressed => self.disk.remove_compressed(log),
            Act::Reuse => self.disk.reuse(log, rng),
            _ => self.step_of_the_agent(act, rng).await?,
        }
        Ok(())
    }

    async fn step_of_the_agent(&mut self, act: Act, rng: &mut fastrand::Rng) -> Result<(), String> {
        match act {
            Act::Stall => self.stalled = true,
            Act::Unstall => self.stalled = false,
            Act::Prompt => self.prompt = true,
            Act::Lazy => self.prompt = false,
            Act::Settle => {
                let some = rng.usize(..=self.pending.len());
                self.settle(some, rng).await;
            }
            Act::HoldCheckpoints => self.held = true,
            Act::WriteCheckpoints => self.held = false,
            Act::Await if self.is_something_to_come() => self.take("anything").await?,
            Act::Sync => self.sync().await?,
            Act::Commit => self.commit().await?,
            Act::Stop => self.stop(false, rng).await?,
            Act::StopEarly => self.stop(true, rng).await?,
            Act::Kill => self.kill()?,
            Act::Start => self.start()?,
            _ => {}
        }
        Ok(())
    }

    fn is_something_to_come(&self) -> bool {
        self.agent.is_some() && !self.stalled && self.pending.is_empty() && !self.disk.oracle.caught_up()
    }

    async fn rotate(&mut self, act: Act, log: usize, rng: &mut fastrand::Rng) -> Result<(), String> {
        if self.disk.may_rename(log).is_none() {
            self.wait_until_held(log, rng).await?;
        }
        if self.disk.may_rename(log) != Some(true) {
            return Ok(());
        }
        match act {
            Act::Swap => self.disk.swap(log, rng),
            Act::RotateLate => self.disk.rename_away(log, rng, true),
            _ => {
                self.disk.rename_away(log, rng, false);
                self.disk.create(log, rng);
            }
        }
        Ok(())
    }

    async fn delete(&mut self, act: Act, log: usize, rng: &mut fastrand::Rng) -> Result<(), String> {
        // What is deleted before the agent opened it is gone for anybody.
        if rng.bool() {
            self.wait_until_held(log, rng).await?;
        }
        match act {
            Act::Replace => self.disk.replace(log, rng),
            Act::DeleteLate => self.disk.delete(log, rng, true),
            _ => {
                self.disk.delete(log, rng, false);
                self.disk.create(log, rng);
            }
        }
        Ok(())
    }

    // === the agent's life ===

    fn start(&mut self) -> Result<(), String> {
        if self.agent.is_none() {
            self.disk.trace.push("the agent starts".to_owned());
            self.agent = Some(Agent::start(&self.settings)?);
            self.disk.up = true;
            self.disk.runs += 1;
            self.disk.oracle.next_run();
        }
        Ok(())
    }

    /// Notes what the reader said.
    fn listen(&mut self) {
        if let Some(agent) = &self.agent {
            self.disk.trace.extend(agent.said());
        }
    }

    fn kill(&mut self) -> Result<(), String> {
        self.listen();
        let Some(agent) = self.agent.take() else { return Ok(()) };
        let known = agent.kill()?;
        self.disk.oracle.excuse_uncertain();
        self.gone(known.as_deref());
        Ok(())
    }

    /// An orderly end. An early one leaves some of what was sent unsettled.
    async fn stop(&mut self, early: bool, rng: &mut fastrand::Rng) -> Result<(), String> {
        let Some(agent) = &self.agent else { return Ok(()) };
        agent.stop();
        self.stopping = true;
        self.held = false;
        let early = early && !self.disk.has_partial();
        loop {
            if !early {
                self.settle(usize::MAX, rng).await;
            } else if rng.u8(..3) == 0 {
                break;
            }
            // What is not settled may fill the memory: the reader does not end then, and is not waited for.
            let next = match &mut self.agent {
                Some(agent) if !self.pending.is_empty() => agent.try_next(),
                _ => self.next("the end of the reader").await?,
            };
            let Some(delivery) = next else { break };
            self.take_in(delivery)?;
        }
        let left = if early { rng.usize(..=self.pending.len()) } else { usize::MAX };
        self.settle(left, rng).await;
        self.stopping = false;
        self.listen();
        let Some(agent) = self.agent.take() else { return Ok(()) };
        let known = timeout_at(Instant::now() + self.deadline, agent.finish());
        let known = known.await.map_err(|_| "the reader does not end after its channels were closed".to_owned())??;
        // The longest settled beginning of each source is committed, and nothing else.
        for (_, sent) in self.sources.values() {
            for text in sent.iter().take_while(|s| s.settled).filter_map(|s| s.text.as_deref()) {
                self.disk.oracle.committed(text);
            }
        }
        self.disk.oracle.excuse_uncertain();
        self.gone(known.as_deref());
        Ok(())
    }

    fn gone(&mut self, known: Option<&[Known]>) {
        let count = known.map(<[Known]>::len);
        self.disk.trace.push(format!(
            "the agent ended; {} pieces unsettled, {count:?} files in the checkpoint",
            self.pending.len()
        ));
        self.disk.trace.extend(known.unwrap_or_default().iter().map(|known| format!("    {}", known.shown())));
        self.disk.went_down(known);
        self.sources.clear();
        self.pending.clear();
    }

    // === the sender's part ===

    /// The next batch; none at the reader's end.
    async fn next(&mut self, what: &str) -> Result<Option<Delivery>, String> {
        let Some(agent) = &mut self.agent else { return Ok(None) };
        let next = timeout_at(Instant::now() + self.deadline, agent.next(true, self.held));
        next.await.map_err(|_| {
            let missing = self.disk.oracle.missing();
            format!("waiting for {what}, nothing came for {:?}; missing are\n{missing}", self.deadline)
        })
    }

    async fn take(&mut self, what: &str) -> Result<(), String> {
        match self.next(what).await? {
            Some(delivery) => self.take_in(delivery),
            None => Err(self.ended()),
        }
    }

    fn ended(&mut self) -> String {
        let why = self.agent.take().map_or(Ok(None), Agent::kill);
        why.err().unwrap_or_else(|| "the reader ended by itself".to_owned())
    }

    /// Takes what is there.
    async fn absorb(&mut self) -> Result<(), String> {
        while !self.stalled
            && let Some(delivery) = self.agent.as_mut().and_then(Agent::try_next)
        {
            self.take_in(delivery)?;
        }
        if let Some(agent) = self.agent.as_mut().filter(|_| !self.held) {
            agent.write_checkpoint();
        }
        if self.prompt {
            let mut rng = self.rng.fork();
            self.settle(usize::MAX, &mut rng).await;
        }
        Ok(())
    }

    fn take_in(&mut self, delivery: Delivery) -> Result<(), String> {
        let Delivery { source, start, end, pieces, memory } = delivery;
        self.listen();
        let mut spans: Vec<Range> = pieces.iter().flat_map(|p| p.spans.iter().copied()).collect();
        spans.sort_unstable();
        let tiles = spans.first().is_none_or(|s| s.0 == start) && spans.last().is_none_or(|s| s.1 == end);
        if !tiles || spans.is_empty() || spans.windows(2).any(|w| w[0].1 != w[1].0) || spans.iter().any(|s| s.0 >= s.1)
        {
            return Err(format!("the spans of a batch {start}..{end} of source {source} do not tile it: {spans:?}"));
        }
        let memory = Rc::new(memory);
        let texts: Vec<&[u8]> = pieces.iter().filter_map(|p| p.text.as_deref()).collect();
        if let [first, .., last] | [first @ last] = texts[..] {
            let (first, last) = (shown(first), shown(last));
            let from_to = format!("{start}..{end}: {} events, {first} to {last}", texts.len());
            self.disk.trace.push(format!("    source {source} delivers {from_to}"));
        }
        let (next, _) = self.sources.entry(source).or_insert((start, Vec::new()));
        if *next != start {
            return Err(format!("a batch of source {source} begins at {start}, and the one before ended at {next}"));
        }
        *next = end;
        for piece in pieces {
            let text = piece.text;
            if let Some(text) = &text {
                self.check(text)?;
            }
            let (_, sent) = self.sources.entry(source).or_default();
            sent.push(Sent { text, spans: piece.spans, settled: false });
            self.pending.push(Pending { source, index: sent.len() - 1, _memory: Rc::clone(&memory) });
        }
        Ok(())
    }

    fn check(&mut self, text: &[u8]) -> Result<(), String> {
        if !self.disk.oracle.is_known(text) {
            if self.stopping && self.disk.flushed(text) {
                self.disk.trace.push(format!("the stop flushes {}", shown(text)));
            } else if self.disk.oracle.may_be_cut(text) {
                return Ok(());
            }
        }
        let ordered: Vec<bool> = (0..self.disk.logs.len()).map(|log| self.disk.is_ordered(log)).collect();
        for index in self.disk.oracle.deliver(text, &|log| ordered[log])? {
            let line = &self.disk.oracle.lines[index];
            if line.unique {
                self.disk.generations[line.generation].held = true;
            }
        }
        Ok(())
    }

    /// Settles so many pieces of what is pending.
    async fn settle(&mut self, count: usize, rng: &mut fastrand::Rng) {
        let count = count.min(self.pending.len());
        if count < self.pending.len() {
            rng.shuffle(&mut self.pending);
        }
        let mut spans: Vec<(u32, Range)> = Vec::new();
        for Pending { source, index, .. } in self.pending.drain(..count) {
            let Some(sent) = self.sources.get_mut(&source).and_then(|(_, sent)| sent.get_mut(index)) else { continue };
            sent.settled = true;
            for &(start, end) in &sent.spans {
                match spans.last_mut() {
                    Some((last, range)) if *last == source && range.1 == start => range.1 = end,
                    _ => spans.push((source, (start, end))),
                }
            }
            if let Some(text) = &sent.text {
                self.disk.oracle.settle(text);
            }
        }
        if let Some(agent) = &self.agent
            && !spans.is_empty()
        {
            agent.settle(spans).await;
        }
    }

    // === waiting ===

    async fn wait_until_held(&mut self, log: usize, rng: &mut fastrand::Rng) -> Result<(), String> {
        let Some(id) = self.disk.current(log).filter(|_| self.agent.is_some()) else { return Ok(()) };
        if !self.disk.generations[id].held {
            self.disk.write(log, 1, rng);
        }
        while !self.disk.generations[id].held {
            self.settle(usize::MAX, rng).await;
            self.take(&format!("log {log} to be opened")).await?;
        }
        Ok(())
    }

    /// Until all that is due is settled.
    async fn sync(&mut self) -> Result<(), String> {
        if self.agent.is_none() {
            return Ok(());
        }
        self.stalled = false;
        let mut rng = self.rng.fork();
        loop {
            self.settle(usize::MAX, &mut rng).await;
            if self.disk.oracle.caught_up() {
                return Ok(());
            }
            self.take("the agent to catch up").await?;
        }
    }

    /// Until the checkpoint and the journal hold all that is settled.
    async fn commit(&mut self) -> Result<(), String> {
        const LOOK: Duration = Duration::from_millis(5);
        self.sync().await?;
        self.held = false;
        let mut rng = self.rng.fork();
        let wanted = self.disk.committable();
        let deadline = Instant::now() + self.deadline;
        while let Some(agent) = &mut self.agent {
            let known = agent.known()?.unwrap_or_default();
            let has = |inode, end| known.iter().any(|k| k.inode() == inode && k.offset() >= end);
            let Some(open) = wanted.iter().find(|(inode, end, _)| !has(*inode, *end)) else { break };
            if Instant::now() > deadline {
                return Err(format!("{open:?} (inode, offset, generation) is settled and never committed: {known:?}"));
            }
            // What comes meanwhile is taken, so that nothing waits for this.
            let next = timeout_at(Instant::now() + LOOK, agent.next(true, false)).await;
            match next {
                Ok(Some(delivery)) => {
                    self.take_in(delivery)?;
                    // One of equal lines counts as settled when another one came twice: this may be the one.
                    self.settle(usize::MAX, &mut rng).await;
                }
                Ok(None) => return Err(self.ended()),
                Err(_) => {}
            }
        }
        for (_, _, id) in wanted {
            for line in self.disk.generations[id].lines.clone() {
                self.disk.oracle.certain(line);
            }
        }
        Ok(())
    }

    /// Whatever happened, all that must arrive arrives, and nothing comes again after an orderly stop.
    async fn end(&mut self) -> Result<(), String> {
        let mut rng = self.rng.fork();
        (self.prompt, self.held) = (true, false);
        for round in 0..LAST_ROUNDS {
            self.start()?;
            for log in 0..self.disk.logs.len() {
                self.disk.create(log, &mut rng);
                self.disk.write(log, 1, &mut rng);
            }
            self.sync().await?;
            self.stop(false, &mut rng).await?;
            self.disk.oracle.all_due();
            if round > 0 && self.disk.oracle.caught_up() {
                return Ok(());
            }
        }
        Err(format!("after the last stop are missing\n{}", self.disk.oracle.missing()))
    }
}
