//! Reads a stream as a consumer does: all shards at once, those that came of others after them, from a place to a place. What becomes of the events
//! is a [`Sink`]'s business.
//!
//! One task reads, and at most some reads are under way. What a read gave is handed on before the shard is read again, and a shard counts as read up
//! to where its sink has flushed.

pub mod lineage;
pub mod output;
pub mod start;
pub mod state;
pub mod unpack;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep, sleep_until};

use crate::backoff::Backoff;
use crate::clock;
use crate::kinesis::client::{Aws, Batch, Place, ReadRecord, ReadShard, RequestError};
use crate::kinesis::verdict::{self, Verdict};
use lineage::{Lineage, Progress};
use start::{Begin, End};
use state::{Resumed, StateFile, Written};
use unpack::{Event, Format, Unpacked, unpack};

/// Reads under way at once: each can bring 10 MiB.
const MAX_UNDER_WAY: usize = 8;
/// Between two reads of a shard. The service allows five a second for all consumers together; this leaves one to others.
const READ_PAUSE: Duration = Duration::from_millis(250);
/// Between two reads of a shard that has nothing new.
const TIP_PAUSE: Duration = Duration::from_secs(1);
/// After a read that was refused for the shard's limits, or failed.
const RETRY: Backoff = Backoff { base: Duration::from_millis(500), cap: Duration::from_secs(10) };
/// A shard that cannot be read for this time ends it all.
const GIVEN_UP_AFTER: Duration = Duration::from_mins(2);
/// Attempts to list the shards, with pauses that add up to some seconds.
const LIST_ATTEMPTS: u32 = 5;
/// Between two looks for the shards that came of one that was read to its end, where that was not said with its last records.
const RELIST_PAUSE: Duration = Duration::from_secs(2);
/// Looks until a shard counts as one of which nothing came.
const MAX_RELISTS: u32 = 15;
/// Between two saves of the state.
const SAVE_PAUSE: Duration = Duration::from_secs(1);

/// What is read.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The stream's name or ARN.
    pub stream: String,
    /// Where reading begins.
    pub begin: Begin,
    /// Where it ends.
    pub end: End,
    /// It ends as well when nothing came for so long.
    pub idle: Option<Duration>,
    /// The shards that are read; none is all, and what comes of them.
    pub shards: Vec<String>,
    /// How records are taken apart.
    pub format: Format,
}

/// Where an event was.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// Its shard.
    pub shard: &'a str,
    /// Its record's sequence number.
    pub sequence: &'a str,
    /// When the service got it.
    pub arrival: Option<SystemTime>,
}

/// What takes the events.
pub trait Sink {
    /// Takes an event.
    fn take(&mut self, origin: &Origin<'_>, event: &Event<'_>);

    /// Whether it holds so much that it should be flushed.
    fn is_full(&self) -> bool {
        false
    }

    /// Passes on what it holds.
    fn flush(&mut self) -> impl Future<Output = std::io::Result<()>> {
        std::future::ready(Ok(()))
    }

    /// Makes what was flushed last, and says where that ended.
    fn settle(&mut self) -> impl Future<Output = std::io::Result<Option<Written>>> {
        std::future::ready(Ok(None))
    }
}

/// How it ended in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Where the plan ends.
    Done,
    /// When it was told to stop.
    Stopped,
}

/// Why it ended before its time.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The stream cannot be read until somebody acts.
    #[error("stream {stream}: {code}: {said}; {way_out}")]
    Held {
        /// The stream.
        stream: String,
        /// The error code.
        code: String,
        /// The service's words.
        said: String,
        /// What to do.
        way_out: &'static str,
    },
    /// It could not be reached for too long.
    #[error(
        "stream {stream}: nothing can be read for {GIVEN_UP_AFTER:?}, at last because of {code}: {said}; try again later"
    )]
    GivenUp {
        /// The stream.
        stream: String,
        /// The error code.
        code: String,
        /// What is known beyond the code.
        said: String,
    },
    /// It has no such shard.
    #[error("--shard: the stream {stream} has no shard {id}; it has {known}")]
    NoShard {
        /// The stream.
        stream: String,
        /// The shard.
        id: String,
        /// The first of those that it has.
        known: String,
    },
    /// Events cannot be written.
    #[error("the events cannot be written: {0}")]
    Output(std::io::Error),
    /// The state cannot be saved.
    #[error(transparent)]
    State(#[from] state::Error),
}

impl Error {
    /// Whoever read the output has gone, which is no failure.
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == std::io::ErrorKind::BrokenPipe)
    }
}

/// What was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Events that were handed on.
    pub events: u64,
    /// Kinesis records.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Shards that were begun.
    pub shards: u64,
    /// Aggregates that KCL would throw away, in whole or in part.
    pub discarded: u64,
    /// The events in them that it would throw away, as far as they can be counted.
    pub discarded_events: u64,
    /// Compressed parts that cannot be decompressed.
    pub damaged: u64,
    /// Reads that were refused for a shard's limits.
    pub throttled: u64,
    /// Shards that went with what was not read of them yet.
    pub vanished: u64,
}

impl Summary {
    /// Whether all that was read could be handed on.
    pub fn is_whole(&self) -> bool {
        self.discarded == 0 && self.damaged == 0 && self.vanished == 0
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { events, records, bytes, shards, throttled, .. } = self;
        write!(f, "{events} events in {records} records ({bytes} bytes) of {shards} shards")?;
        if *throttled > 0 {
            write!(f, "; {throttled} reads refused for a shard's limits and made again")?;
        }
        if self.discarded > 0 {
            let (records, events) = (self.discarded, self.discarded_events);
            write!(f, "\n{records} records that a consumer with KCL would throw away, with {events} events or more")?;
        }
        if self.damaged > 0 {
            write!(f, "\n{} compressed parts that cannot be decompressed", self.damaged)?;
        }
        if self.vanished > 0 {
            write!(
                f,
                "\n{} shards that are past the stream's retention, with what was not read of them",
                self.vanished
            )?;
        }
        Ok(())
    }
}

/// A shard that is being read.
#[derive(Debug)]
struct Reading {
    shard: ReadShard,
    iterator: Option<String>,
    /// A read is on its way.
    under_way: bool,
    due: Instant,
    caught_up: bool,
    failures: u32,
    failing_since: Option<Instant>,
}

/// What a read came to.
struct Look {
    id: String,
    began: Instant,
    /// The iterator, if it is still good.
    iterator: Option<String>,
    answer: Result<Batch, RequestError>,
}

type UnderWay = Pin<Box<dyn Future<Output = Look>>>;

/// Reads a stream.
pub struct Reader {
    client: Aws,
    plan: Plan,
    /// Stands for the tip of shards that had nothing since.
    began: SystemTime,
    lineage: Lineage,
    /// How far each shard is that was begun.
    places: BTreeMap<String, Place>,
    reading: BTreeMap<String, Reading>,
    under_way: FuturesUnordered<UnderWay>,
    /// The next look for shards, and how many there were.
    relist: Option<(Instant, u32)>,
    last_record: Instant,
    last_save: Instant,
    summary: Summary,
    rng: fastrand::Rng,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("plan", &self.plan).field("summary", &self.summary).finish_non_exhaustive()
    }
}

impl Reader {
    /// A reader of the shards that there are, which goes on where the last run left.
    pub async fn open(client: Aws, plan: Plan, resumed: Option<&Resumed>) -> Result<Self, Error> {
        let (now, began) = (Instant::now(), clock::now());
        let mut reader = Self {
            client,
            plan,
            began,
            lineage: Lineage::default(),
            places: BTreeMap::new(),
            reading: BTreeMap::new(),
            under_way: FuturesUnordered::new(),
            relist: None,
            last_record: now,
            last_save: now,
            summary: Summary::default(),
            rng: fastrand::Rng::new(),
        };
        let listed = reader.list().await?;
        reader.choose(listed, resumed)?;
        Ok(reader)
    }

    /// What was read so far.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    async fn list(&mut self) -> Result<Vec<ReadShard>, Error> {
        let mut failures = 0;
        loop {
            let error = match self.client.list_shards(&self.plan.stream).await {
                Ok(shards) => return Ok(shards),
                Err(error) => error,
            };
            failures += 1;
            let again = matches!(verdict::on_request(&error.code, error.origin), Verdict::Throttled | Verdict::Failed);
            if !again || failures == LIST_ATTEMPTS {
                return Err(self.held(error));
            }
            sleep(RETRY.wait(failures, &mut self.rng)).await;
        }
    }

    fn choose(&mut self, listed: Vec<ReadShard>, resumed: Option<&Resumed>) -> Result<(), Error> {
        let ids: BTreeSet<String> = listed.iter().map(|shard| shard.id.clone()).collect();
        if let Some(id) = self.plan.shards.iter().find(|id| !ids.contains(*id)) {
            let known = ids.iter().take(8).cloned().collect::<Vec<_>>().join(", ");
            return Err(Error::NoShard { stream: self.plan.stream.clone(), id: id.clone(), known });
        }
        for (id, progress) in resumed.iter().flat_map(|resumed| &resumed.shards) {
            if *progress != Progress::Finished && !ids.contains(id) {
                self.summary.vanished += 1;
                tracing::warn!(shard = id, "the stream no longer has a shard that was not read to its end");
            }
        }
        let (plan, begin) = (&self.plan, self.plan.begin);
        let place = |shard: &ReadShard| {
            if !plan.shards.is_empty() && !plan.shards.contains(&shard.id) {
                return Progress::Finished;
            }
            match (resumed.map(|resumed| resumed.shards.get(&shard.id)), begin) {
                (Some(Some(saved)), _) => saved.clone(),
                // It came of one that was being read.
                (Some(None), _) | (None, Begin::Horizon) => Progress::At(Place::Horizon),
                (None, Begin::Time(time)) => Progress::At(Place::Time(time)),
                (None, Begin::Latest) if shard.open => Progress::At(Place::Latest),
                (None, Begin::Latest) => Progress::Finished,
            }
        };
        self.lineage.add(listed, place);
        Ok(())
    }

    /// Reads until the plan's end, or until it is told to stop.
    pub async fn run<S: Sink>(
        &mut self,
        sink: &mut S,
        state: Option<&StateFile>,
        stop: impl Future<Output = ()>,
    ) -> Result<Ended, Error> {
        let Some(file) = state else { return self.drive(sink, state, stop).await };
        // At once: a first run that is killed has written something by then, and the next one has to know where that began.
        self.save(sink, file).await?;
        let ended = self.drive(sink, state, stop).await;
        // What was handed on and flushed counts, however it ended.
        self.save(sink, file).await.and(ended)
    }

    async fn drive<S: Sink>(
        &mut self,
        sink: &mut S,
        state: Option<&StateFile>,
        stop: impl Future<Output = ()>,
    ) -> Result<Ended, Error> {
        let mut stop = std::pin::pin!(stop);
        loop {
            let now = Instant::now();
            self.begin_ready(now);
            self.look_again(now).await?;
            if self.is_done(now) {
                return Ok(Ended::Done);
            }
            self.launch(now);
            let wake = self.wake(now);
            tokio::select! {
                biased;
                () = &mut stop => return Ok(Ended::Stopped),
                Some(look) = self.under_way.next(), if !self.under_way.is_empty() => self.land(look, sink).await?,
                () = sleep_until(wake) => {}
            }
            if let Some(state) = state
                && self.last_save.elapsed() >= SAVE_PAUSE
            {
                self.save(sink, state).await?;
            }
        }
    }

    async fn save<S: Sink>(&mut self, sink: &mut S, state: &StateFile) -> Result<(), Error> {
        let written = sink.settle().await.map_err(Error::Output)?;
        let begun = self.places.iter().map(|(id, place)| (id.as_str(), Progress::At(place.clone())));
        state.store(self.lineage.resting().chain(begun), written)?;
        self.last_save = Instant::now();
        Ok(())
    }

    fn begin_ready(&mut self, now: Instant) {
        for (shard, place) in self.lineage.take_ready() {
            self.summary.shards += 1;
            self.places.insert(shard.id.clone(), place);
            let reading = Reading {
                iterator: None,
                under_way: false,
                due: now,
                caught_up: false,
                failures: 0,
                failing_since: None,
                shard,
            };
            self.reading.insert(reading.shard.id.clone(), reading);
        }
    }

    /// Lists the shards where it is not known what came of one.
    async fn look_again(&mut self, now: Instant) -> Result<(), Error> {
        if !self.lineage.is_incomplete() {
            self.relist = None;
            return Ok(());
        }
        let (at, looks) = *self.relist.get_or_insert((now, 0));
        if at > now {
            return Ok(());
        }
        if looks == MAX_RELISTS {
            tracing::warn!(
                "a shard is closed, and the service does not say what came of it; its end is taken for the stream's"
            );
            self.lineage.give_up_children();
            return Ok(());
        }
        let listed = self.list().await?;
        let ids = listed.iter().map(|shard| shard.id.clone()).collect();
        self.lineage.add(listed, |_| Progress::At(Place::Horizon));
        self.lineage.forget_trimmed(&ids);
        self.relist = Some((Instant::now() + RELIST_PAUSE, looks + 1));
        self.begin_ready(Instant::now());
        Ok(())
    }

    fn is_done(&self, now: Instant) -> bool {
        if self.reading.is_empty() {
            return !self.lineage.is_incomplete();
        }
        let caught_up = self.reading.values().all(|reading| reading.caught_up);
        caught_up && self.plan.idle.is_some_and(|idle| now.duration_since(self.last_record) >= idle)
    }

    fn launch(&mut self, now: Instant) {
        for reading in self.reading.values_mut().filter(|reading| !reading.under_way && reading.due <= now) {
            if self.under_way.len() >= MAX_UNDER_WAY {
                break;
            }
            let id = reading.shard.id.clone();
            let Some(place) = self.places.get(&id) else { continue };
            let place = match place {
                // Only the first iterator is that of the tip; another one would leave out what came since.
                Place::Latest if reading.failures > 0 || reading.caught_up => Place::Time(self.began),
                place => place.clone(),
            };
            reading.under_way = true;
            let (client, stream) = (self.client.clone(), self.plan.stream.clone());
            let iterator = reading.iterator.take();
            self.under_way.push(Box::pin(look(client, stream, (id, place), iterator, now)));
        }
    }

    fn wake(&self, now: Instant) -> Instant {
        let resting = self.reading.values().filter(|reading| !reading.under_way);
        // Those that are due and were not begun wait for one that is under way.
        let due = resting.map(|reading| reading.due).filter(|due| *due > now);
        let idle = self.plan.idle.map(|idle| self.last_record + idle).filter(|at| *at > now);
        let relist = self.relist.map(|(at, _)| at);
        due.chain(idle).chain(relist).min().unwrap_or(now + TIP_PAUSE)
    }

    async fn land<S: Sink>(&mut self, look: Look, sink: &mut S) -> Result<(), Error> {
        let Look { id, began, iterator, answer } = look;
        if let Some(reading) = self.reading.get_mut(&id) {
            reading.under_way = false;
        }
        match answer {
            Ok(batch) => self.take(&id, began, batch, sink).await,
            Err(error) => self.fail(&id, iterator, error),
        }
    }

    async fn take<S: Sink>(&mut self, id: &str, began: Instant, batch: Batch, sink: &mut S) -> Result<(), Error> {
        let Some(reading) = self.reading.get(id) else { return Ok(()) };
        let (range, ended) = (reading.shard.range.clone(), reading.shard.id.clone());
        let mut past = false;
        let mut last: Option<&str> = None;
        for record in &batch.records {
            past = self.is_past(record);
            if past {
                break;
            }
            let unpacked = hand_on(&ended, record, &range, &self.plan.format, sink);
            self.count(&ended, record, unpacked);
            last = Some(&record.sequence);
            if sink.is_full() {
                sink.flush().await.map_err(Error::Output)?;
                self.places.insert(ended.clone(), Place::After(record.sequence.clone()));
            }
        }
        sink.flush().await.map_err(Error::Output)?;
        if let Some(sequence) = last {
            self.places.insert(ended, Place::After(sequence.to_owned()));
            self.last_record = Instant::now();
        }
        self.go_on(id, began, batch, past);
        Ok(())
    }

    /// Whether a record came after all that is wanted.
    fn is_past(&self, record: &ReadRecord) -> bool {
        let End::Time(until) = self.plan.end else { return false };
        record.arrival.is_some_and(|arrival| arrival > until)
    }

    fn count(&mut self, shard: &str, record: &ReadRecord, unpacked: Unpacked) {
        let Unpacked { events, lost, lost_events, damaged } = unpacked;
        self.summary.records += 1;
        self.summary.bytes += record.data.len() as u64;
        self.summary.events += events;
        self.summary.damaged += damaged;
        let sequence = &record.sequence;
        if let Some(why) = lost {
            self.summary.discarded += 1;
            self.summary.discarded_events += lost_events;
            let why = why.as_str();
            tracing::warn!(shard, sequence, events = lost_events, why, "a consumer with KCL would throw this away");
        }
        if damaged > 0 {
            tracing::warn!(shard, sequence, "something compressed cannot be decompressed; it is handed on as it is");
        }
    }

    /// What comes next for a shard.
    fn go_on(&mut self, id: &str, began: Instant, batch: Batch, past: bool) {
        let Some(reading) = self.reading.get_mut(id) else { return };
        (reading.failures, reading.failing_since) = (0, None);
        let tip = batch.behind.is_zero();
        let Some(next) = batch.next else {
            self.reading.remove(id);
            self.places.remove(id);
            self.lineage.finish(id);
            if self.plan.shards.is_empty() {
                self.lineage.add(batch.children, |_| Progress::At(Place::Horizon));
            } else {
                self.lineage.give_up_children();
            }
            return;
        };
        let reached = match self.plan.end {
            End::Never => false,
            End::CaughtUp => tip,
            End::Time(until) => past || clock::now().checked_sub(batch.behind).is_some_and(|at| at > until),
        };
        if reached {
            self.reading.remove(id);
            return;
        }
        reading.iterator = Some(next);
        reading.caught_up = tip;
        reading.due = began + if tip && batch.records.is_empty() { TIP_PAUSE } else { READ_PAUSE };
    }

    fn fail(&mut self, id: &str, iterator: Option<String>, error: RequestError) -> Result<(), Error> {
        let RequestError { code, message, origin } = &error;
        if code == "ResourceNotFoundException" && message.starts_with("Shard ") {
            tracing::warn!(shard = id, "the shard is past the stream's retention");
            self.summary.vanished += 1;
            self.reading.remove(id);
            self.places.remove(id);
            self.lineage.finish(id);
            return Ok(());
        }
        let verdict = verdict::on_request(code, *origin);
        let held = !matches!(verdict, Verdict::Throttled | Verdict::Failed);
        let Some(reading) = self.reading.get_mut(id) else { return Ok(()) };
        let now = Instant::now();
        reading.failures += 1;
        if code == "ExpiredIteratorException" {
            // Whoever takes the events let it wait for over five minutes.
            reading.due = now;
            return Ok(());
        }
        if held {
            return Err(self.held(error));
        }
        reading.iterator = iterator;
        reading.due = now + RETRY.wait(reading.failures, &mut self.rng).max(READ_PAUSE);
        let since = *reading.failing_since.get_or_insert(now);
        if verdict == Verdict::Throttled {
            self.summary.throttled += 1;
            tracing::debug!(shard = id, code, "a read was refused for the shard's limits");
            return Ok(());
        }
        if now.duration_since(since) > GIVEN_UP_AFTER {
            let RequestError { code, message: said, .. } = error;
            return Err(Error::GivenUp { stream: self.plan.stream.clone(), code, said });
        }
        tracing::warn!(shard = id, code, message, "a read has failed and is made again");
        Ok(())
    }

    fn held(&self, error: RequestError) -> Error {
        let RequestError { code, message: said, .. } = error;
        let way_out = way_out(&code);
        Error::Held { stream: self.plan.stream.clone(), code, said, way_out }
    }
}

/// What somebody has to do.
fn way_out(code: &str) -> &'static str {
    match code {
        "AccessDenied" | "AccessDeniedException" | "NotAuthorized" => {
            "whoever reads needs kinesis:ListShards, kinesis:GetShardIterator and kinesis:GetRecords on the stream"
        }
        "KMSAccessDeniedException" => "whoever reads needs kms:Decrypt on the stream's key",
        "InvalidArgumentException" | "ValidationException" => {
            "a state file is of one stream: if the stream was made anew, remove the file; otherwise check --from and the endpoint"
        }
        code => verdict::way_out(code),
    }
}

async fn look(
    client: Aws,
    stream: String,
    (id, place): (String, Place),
    iterator: Option<String>,
    began: Instant,
) -> Look {
    let iterator = match iterator {
        Some(iterator) => iterator,
        None => match client.shard_iterator(&stream, &id, &place).await {
            Ok(iterator) => iterator,
            Err(error) => return Look { id, began, iterator: None, answer: Err(error) },
        },
    };
    let answer = client.records(&stream, iterator.clone()).await;
    Look { id, began, iterator: Some(iterator), answer }
}

fn hand_on<S: Sink>(
    shard: &str,
    record: &ReadRecord,
    range: &std::ops::RangeInclusive<u128>,
    format: &Format,
    sink: &mut S,
) -> Unpacked {
    let origin = Origin { shard, sequence: &record.sequence, arrival: record.arrival };
    unpack((&record.partition_key, &record.data), range, format, |event| sink.take(&origin, &event))
}
