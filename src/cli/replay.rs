//! `kinetail replay`: sends the dead letters of a state directory again, after whatever was wrong is repaired. An agent may run beside it.
//!
//! Each event is a record of its own, under its partition key, as it was; among dead letters there is no order to keep. What is refused again
//! goes back into the dead-letter file. What takes them out of it safely is in `deadletter/taken.rs`.

use std::collections::BTreeMap;
use std::fmt;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::{EXIT_FAILED, EXIT_USAGE, SettingFlags, answer, complain, runtime};
use crate::backoff::Backoff;
use crate::clock::unix_seconds;
use crate::config::Config;
use crate::deadletter::taken::{Line, Taken, Taker};
use crate::deadletter::{self, DeadLetter, DeadLetters, FILE_NAME, Letter, taken};
use crate::kinesis::MAX_REQUEST_RECORDS;
use crate::kinesis::client::{self, Aws, Entry, EntryResult, PutRecords, Request, RequestError};
use crate::kinesis::verdict::{self, Origin, Verdict};

/// Bytes of the file that are sent between two notes of what is done; a request never has more, except of one event that is longer.
const CHUNK_BYTES: usize = 1 << 20;
/// Between two attempts, as the agent has it.
const RESEND: Backoff = Backoff { base: Duration::from_millis(100), cap: Duration::from_secs(5) };
/// Without a delivery for this time it ends: a person waits for it, and what is left is safe.
const GIVEN_UP_AFTER: Duration = Duration::from_mins(1);

/// Send the dead letters of a state directory again.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct ReplayArgs {
    #[command(flatten)]
    settings: SettingFlags,
    /// Say what would be sent, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Why it ended before its time.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// The files cannot be had or changed.
    #[error(transparent)]
    Taken(#[from] taken::Error),
    /// Nothing can be put back.
    #[error(transparent)]
    DeadLetters(#[from] deadletter::Error),
    /// No client could be made.
    #[error(transparent)]
    Client(#[from] client::Error),
    /// A stream takes nothing until somebody acts.
    #[error("stream {stream}: {code}: {said}; {way_out}")]
    Held { stream: String, code: String, said: String, way_out: &'static str },
    /// A stream takes nothing for too long.
    #[error(
        "stream {stream}: nothing was taken for {GIVEN_UP_AFTER:?}, at last because of {code}: {said}; try again later"
    )]
    GivenUp { stream: String, code: String, said: String },
}

impl Error {
    fn held(stream: &str, code: String, said: String) -> Self {
        let way_out = verdict::way_out(&code);
        Self::Held { stream: stream.to_owned(), code, said, way_out }
    }
}

/// Replays, and says by the exit code whether everything was delivered.
pub(super) fn replay(args: &ReplayArgs, environment: BTreeMap<String, String>) -> ExitCode {
    let config = match args.settings.load(environment) {
        Ok(config) => config,
        Err(problems) => return complain(&problems, EXIT_USAGE),
    };
    crate::log::init(&config.log);
    if args.dry_run {
        return match preview(&config, args.settings.stream.as_deref()) {
            Ok(summary) => answer(&summary.to_string().trim_end()),
            Err(error) => complain(&error, EXIT_FAILED),
        };
    }
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&format_args!("the runtime cannot be started: {error}"), EXIT_FAILED),
    };
    let mut summary = Summary { verb: "delivered", ..Summary::default() };
    let ended = runtime.block_on(Box::pin(send_all(&config, args.settings.stream.as_deref(), &mut summary)));
    let said = answer(&summary.to_string().trim_end());
    match ended {
        Err(error) => complain(&format_args!("{error}\nwhat is left is kept; run it again to go on"), EXIT_FAILED),
        Ok(()) if summary.is_complete() => said,
        Ok(()) => ExitCode::from(EXIT_FAILED),
    }
}

// === what it came to ===

/// What became of the letters, by stream.
#[derive(Debug, Default)]
struct Summary {
    verb: &'static str,
    events: BTreeMap<String, u64>,
    /// By stream and code.
    refused: BTreeMap<(String, String), u64>,
    unreadable: u64,
}

impl Summary {
    fn is_complete(&self) -> bool {
        self.refused.is_empty() && self.unreadable == 0
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (stream, count) in &self.events {
            writeln!(f, "{stream}: {count} {}", self.verb)?;
        }
        for ((stream, code), count) in &self.refused {
            writeln!(f, "{stream}: {count} refused again ({code}) and back in {FILE_NAME}")?;
        }
        if self.unreadable > 0 {
            writeln!(f, "{} lines that are no dead letters, left in {FILE_NAME}", self.unreadable)?;
        }
        if self.events.is_empty() && self.is_complete() {
            writeln!(f, "no dead letters")?;
        }
        Ok(())
    }
}

/// Counts what is there without taking it.
fn preview(config: &Config, stream: Option<&str>) -> Result<Summary, taken::Error> {
    let mut summary = Summary { verb: "to send", ..Summary::default() };
    for mut waiting in taken::peek(&config.state_dir)? {
        loop {
            let lines = waiting.lines(usize::MAX, CHUNK_BYTES)?;
            if lines.is_empty() {
                break;
            }
            for line in lines.iter().filter(|line| !line.bytes.trim_ascii().is_empty()) {
                match Letter::parse(&line.bytes) {
                    Some((letter, _)) => {
                        let stream = stream.map_or(letter.stream, str::to_owned);
                        *summary.events.entry(stream).or_default() += 1;
                    }
                    None => summary.unreadable += 1,
                }
            }
        }
    }
    Ok(summary)
}

// === sending ===

async fn send_all(config: &Config, stream: Option<&str>, summary: &mut Summary) -> Result<(), Error> {
    let taker = Taker::new(&config.state_dir)?;
    let mut replay = Replay {
        client: Aws::new(&config.kinesis).await?,
        dead_letters: DeadLetters::new(&config.state_dir),
        request_timeout: config.kinesis.request_timeout,
        stream,
        summary,
        rng: fastrand::Rng::new(),
        progress: Instant::now(),
        failures: 0,
    };
    if let Some(left) = taker.left()? {
        replay.send(left).await?;
    }
    // Once: what is refused goes back to where this was taken from, and would be sent for ever.
    if let Some(taken) = taker.take()? {
        replay.send(taken).await?;
    }
    Ok(())
}

/// A letter on its way.
#[derive(Debug)]
struct Item {
    /// As it stands in the file.
    line: Vec<u8>,
    entry: Entry,
}

impl Item {
    fn new(line: Vec<u8>, letter: Letter, mut data: Vec<u8>) -> Self {
        // Every event that the agent sends ends with a newline; a line that a parser has refused was none yet.
        if data.last().is_some_and(|byte| *byte != b'\n') {
            data.push(b'\n');
        }
        let entry = Entry { data: data.into(), partition_key: letter.partition_key.into(), hash_key: None };
        Self { line, entry }
    }
}

/// A letter that was refused again.
#[derive(Debug)]
struct Refused {
    stream: Arc<str>,
    item: Item,
    code: String,
    message: String,
}

/// Some lines of the file, which are done together.
#[derive(Debug, Default)]
struct Chunk {
    /// Requests that are still to be made, the next one last.
    open: Vec<(Arc<str>, Vec<Item>)>,
    delivered: BTreeMap<String, u64>,
    refused: Vec<Refused>,
    unreadable: Vec<Vec<u8>>,
}

impl Chunk {
    fn new(lines: Vec<Line>, stream: Option<&str>) -> Self {
        let mut streams: BTreeMap<String, Vec<Item>> = BTreeMap::new();
        let mut chunk = Self::default();
        for line in lines.into_iter().map(|line| line.bytes).filter(|line| !line.trim_ascii().is_empty()) {
            match Letter::parse(&line) {
                Some((letter, data)) => {
                    let stream = stream.unwrap_or(&letter.stream).to_owned();
                    streams.entry(stream).or_default().push(Item::new(line, letter, data));
                }
                None => chunk.unreadable.push(line),
            }
        }
        chunk.open = streams.into_iter().map(|(stream, items)| (stream.into(), items)).collect();
        chunk
    }

    fn refuse(&mut self, stream: &Arc<str>, item: Item, (code, message): (&str, &str)) {
        let (stream, code, message) = (Arc::clone(stream), code.to_owned(), message.to_owned());
        self.refused.push(Refused { stream, item, code, message });
    }
}

/// What is needed to send letters.
#[derive(Debug)]
struct Replay<'a, P> {
    client: P,
    dead_letters: DeadLetters,
    request_timeout: Duration,
    /// Where everything goes in place of each letter's own stream.
    stream: Option<&'a str>,
    summary: &'a mut Summary,
    rng: fastrand::Rng,
    /// When something was delivered last.
    progress: Instant,
    /// Failures since.
    failures: u32,
}

impl<P: PutRecords> Replay<'_, P> {
    /// Sends a whole file.
    async fn send(&mut self, mut taken: Taken) -> Result<(), Error> {
        loop {
            let lines = taken.lines(MAX_REQUEST_RECORDS, CHUNK_BYTES)?;
            let Some(end) = lines.last().map(|line| line.end) else { break };
            let mut chunk = Chunk::new(lines, self.stream);
            let ended = self.send_chunk(&mut chunk).await;
            // One that breaks off before anything of it was delivered stays where it is.
            if ended.is_ok() || !chunk.delivered.is_empty() {
                self.put_back(chunk)?;
                taken.done(end)?;
            }
            ended?;
        }
        Ok(taken.finish()?)
    }

    /// Makes requests until none is left, or it makes no sense to go on.
    async fn send_chunk(&mut self, chunk: &mut Chunk) -> Result<(), Error> {
        while let Some((stream, items)) = chunk.open.pop() {
            let entries = items.iter().map(|item| item.entry.clone()).collect();
            let request = Request { stream: Arc::clone(&stream), entries };
            let answer = timeout(self.request_timeout, self.client.put_records(request)).await;
            let failed = match answer.unwrap_or_else(|_| Err(self.timed_out())) {
                Ok(results) if results.len() == items.len() => self.judge_records(chunk, &stream, items, results)?,
                Ok(results) => {
                    let message = format!("{} results for {} records", results.len(), items.len());
                    let code = "ResultCount".to_owned();
                    let unknown = RequestError { code, message, origin: Origin::Transport };
                    judge_request(chunk, &stream, items, unknown)?
                }
                Err(error) => judge_request(chunk, &stream, items, error)?,
            };
            if let Some((code, said)) = failed {
                self.pause(&stream, code, said).await?;
            }
        }
        Ok(())
    }

    fn timed_out(&self) -> RequestError {
        let message = format!("no answer within {:?} (kinesis.request_timeout)", self.request_timeout);
        RequestError { code: "Timeout".to_owned(), message, origin: Origin::Transport }
    }

    /// Sorts the records of a request that was taken. Answers why some go again, after a pause.
    fn judge_records(
        &mut self,
        chunk: &mut Chunk,
        stream: &Arc<str>,
        items: Vec<Item>,
        results: Vec<EntryResult>,
    ) -> Result<Option<(String, String)>, Error> {
        let (mut again, mut failed, mut held) = (Vec::new(), None, None);
        for (item, result) in items.into_iter().zip(results) {
            match result {
                EntryResult::Stored { .. } => {
                    (self.progress, self.failures) = (Instant::now(), 0);
                    *chunk.delivered.entry(stream.to_string()).or_default() += 1;
                }
                EntryResult::Refused { code, message } => match verdict::on_record(&code) {
                    Verdict::Reject => chunk.refuse(stream, item, (&code, &message)),
                    Verdict::Throttled | Verdict::Failed => {
                        failed = Some((code, message));
                        again.push(item);
                    }
                    Verdict::Hold => {
                        held = Some((code, message));
                        again.push(item);
                    }
                },
            }
        }
        if !again.is_empty() {
            chunk.open.push((Arc::clone(stream), again));
        }
        held.map_or(Ok(failed), |(code, said)| Err(Error::held(stream, code, said)))
    }

    async fn pause(&mut self, stream: &Arc<str>, code: String, said: String) -> Result<(), Error> {
        self.failures += 1;
        if self.progress.elapsed() > GIVEN_UP_AFTER {
            return Err(Error::GivenUp { stream: stream.to_string(), code, said });
        }
        sleep(RESEND.wait(self.failures, &mut self.rng)).await;
        Ok(())
    }

    /// Makes what was not delivered durable elsewhere, and counts.
    fn put_back(&mut self, chunk: Chunk) -> Result<(), Error> {
        let time = unix_seconds();
        let letters = chunk.refused.iter().map(|refused| {
            let Refused { stream, item, code, message } = refused;
            let (reason, partition_key) = (&**code, &*item.entry.partition_key);
            let letter = DeadLetter { time, reason, message, stream, partition_key, data: None, data_base64: None };
            (letter, &*item.entry.data)
        });
        if !chunk.refused.is_empty() {
            self.dead_letters.write(letters)?;
        }
        let open = chunk.open.iter().flat_map(|(_, items)| items).map(|item| &item.line);
        let lines: Vec<u8> = open.chain(&chunk.unreadable).flat_map(|line| line.iter().chain(b"\n")).copied().collect();
        if !lines.is_empty() {
            self.dead_letters.append(&lines)?;
        }
        for (stream, count) in chunk.delivered {
            *self.summary.events.entry(stream).or_default() += count;
        }
        for refused in chunk.refused {
            *self.summary.refused.entry((refused.stream.to_string(), refused.code)).or_default() += 1;
        }
        self.summary.unreadable += chunk.unreadable.len() as u64;
        Ok(())
    }
}

/// What becomes of a request that failed as a whole. Answers why it goes again, after a pause.
fn judge_request(
    chunk: &mut Chunk,
    stream: &Arc<str>,
    mut items: Vec<Item>,
    error: RequestError,
) -> Result<Option<(String, String)>, Error> {
    let RequestError { code, message, origin } = error;
    match verdict::on_request(&code, origin) {
        Verdict::Reject if items.len() > 1 => {
            // One of them is minded: halves find it.
            let half = items.split_off(items.len() / 2);
            chunk.open.push((Arc::clone(stream), half));
            chunk.open.push((Arc::clone(stream), items));
            Ok(None)
        }
        Verdict::Reject => {
            for item in items {
                chunk.refuse(stream, item, (&code, &message));
            }
            Ok(None)
        }
        Verdict::Hold => {
            chunk.open.push((Arc::clone(stream), items));
            Err(Error::held(stream, code, message))
        }
        Verdict::Throttled | Verdict::Failed => {
            chunk.open.push((Arc::clone(stream), items));
            Ok(Some((code, message)))
        }
    }
}
