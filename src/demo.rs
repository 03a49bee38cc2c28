//! `kinetail demo`: the whole way in one process. Logs are written, the agent carries them over HTTP to the embedded stream, a consumer
//! reads them back, and every line is accounted for.
//!
//! The agent is the one that `kinetail run` runs, with nothing switched off. Nothing of this is on the way of real logs.
//!
//! ```text
//! writer ──log files──▶ agent ──PutRecords──▶ stand-in ──GetRecords──▶ consumer
//!    └──────────what was written──────▶ ledger ◀──────what arrived────────┘
//! ```

pub mod consumer;
pub mod ledger;
pub mod logs;
pub mod parts;
pub mod report;
pub mod scratch;
pub mod screen;
pub mod services;
pub mod stand_in;
pub mod writer;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use aws_sdk_kinesis::config::Credentials;
use serde_json::json;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use crate::agent::{self, Agent};
use crate::config::{Config, Document, Layers, Problems};
use crate::kinesis::client::{self, Aws};
use crate::metrics::Metrics;
use consumer::Consumer;
use ledger::{Expected, Ledger, Record};
use logs::Logs;
use report::Report;
use scratch::Scratch;
use screen::{Ability, Colour, Screen};
use services::{SERVICES, Services};
use stand_in::StandIn;
use writer::{Source, Writer};

/// The stream and the source.
const NAME: &str = "demo";
/// Two, so that it shows if records are packed by a wrong rule.
const SHARDS: u32 = 2;
/// The stand-in checks no signature, but the SDK wants something to sign with.
const KEY: &str = "kinetail-demo";
/// Messages to whoever keeps the ledger: a few, so that a slow screen slows the writer down and takes no memory.
const MESSAGE_QUEUE: usize = 64;
/// How long the agent may take until it has the logs open, on a machine that has much else to do.
const START_LIMIT: Duration = Duration::from_secs(30);
/// Between two looks whether it has.
const START_PAUSE: Duration = Duration::from_millis(2);
/// How long the agent may take to send what is left, at least.
const STOP_SECONDS: u64 = 60;
/// And the longest that the configuration allows.
const MAX_STOP_SECONDS: u64 = 3600;
/// Bytes a second that one shard takes for sure, in however small records: what a large file needs longer for is added to the limit.
const SLOWEST_BYTES: u64 = 64 * 1024;
/// How often the screen changes: an event at a time, ten a second can still be read.
const REFRESH_INTERVAL: Duration = Duration::from_millis(100);

/// What is shown.
#[derive(Debug, Clone)]
pub struct Options {
    /// The logs.
    pub input: Input,
    /// Settings by the names of their flags: `parse`, `format`, `partition-key`.
    pub flags: BTreeMap<String, String>,
    /// What the screen can do.
    pub ability: Ability,
}

/// Where log lines come from.
#[derive(Debug, Clone)]
pub enum Input {
    /// Services that the demo makes up.
    Services {
        /// For how long they write.
        seconds: u32,
        /// Lines a second.
        rate: u32,
    },
    /// A file that is written again, line by line.
    File(PathBuf),
}

/// Why the demo could not be shown.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Error {
    #[error("{path}: {source}; give a file that can be read")]
    Input { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Settings(#[from] Problems),
    #[error("a directory for the logs cannot be made in {path}: {source}; set TMPDIR to one that can be written to")]
    Scratch { path: PathBuf, source: std::io::Error },
    #[error("the demo's log cannot be written: {0}; set TMPDIR to a directory with more space")]
    Log(std::io::Error),
    #[error("the screen cannot be written to: {0}")]
    Output(std::io::Error),
    #[error(transparent)]
    StandIn(#[from] stand_in::Error),
    #[error(transparent)]
    Client(#[from] client::Error),
    #[error(transparent)]
    Agent(#[from] agent::Error),
    #[error("{operation} was not answered: {message}")]
    Sdk { operation: &'static str, message: String },
    #[error("shard {id} has no range of hash keys; this is a bug in the embedded stream")]
    Shard { id: String },
    #[error("the agent has not opened the logs after {START_LIMIT:?}; is the machine very busy?")]
    NotOpened,
    #[error("a part of the demo has ended before the others; this is a bug")]
    Ended,
}

/// What the writer and the consumer tell whoever keeps the ledger.
#[derive(Debug)]
pub enum Message {
    /// These lines are about to be written.
    Written {
        /// Those that events are made of.
        lines: Vec<Expected>,
        /// How many others there are.
        blank: u64,
        /// When.
        at: Instant,
    },
    /// All logs were rotated.
    Rotated {
        /// How many they are.
        logs: usize,
    },
    /// These records were read.
    Read {
        /// The number of the shard.
        shard: usize,
        /// The records.
        records: Vec<Record>,
        /// When.
        at: Instant,
    },
}

/// Shows the agent at work. It stops writing early when `halt` becomes true, and makes it true itself when nobody looks any more.
pub async fn demo(options: Options, halt: &watch::Sender<bool>) -> Result<Report, Error> {
    let Options { input, flags, ability } = options;
    let job = Job::open(&input)?;
    let parent = std::env::temp_dir();
    let scratch = Scratch::create(&parent).map_err(|source| Error::Scratch { path: parent, source })?;
    let stand_in = StandIn::start(NAME, SHARDS).await?;
    let config = config(scratch.path(), stand_in.endpoint(), job.bytes(), flags)?;
    let (parse, partition_key) = (config.sources[0].parse.clone(), config.kinesis.partition_key.clone());
    let aws = Aws::with_credentials(&config.kinesis, Credentials::new(KEY, KEY, None, None, NAME))?;

    let (tell, inbox) = mpsc::channel(MESSAGE_QUEUE);
    let (consumer, ranges) = Consumer::open(aws.sdk().clone(), NAME, tell.clone()).await?;
    let logs = Logs::create(scratch.path(), job.logs()).map_err(Error::Log)?;
    let count = logs.count();
    let agent = Box::pin(Agent::start_with(config, aws)).await?;
    let (metrics, admin) = (agent.metrics(), agent.admin_address());
    let admin = admin.map(|address| format!("http://{address}/metrics"));
    let mut observer = Observer::new(ability, ranges);
    observer.greet(&input, scratch.path(), stand_in.endpoint(), admin.as_deref());

    let writer = Writer::new(logs, tell, halt.subscribe());
    let (stop, stopped) = oneshot::channel::<()>();
    let (done, is_done) = watch::channel(false);
    let write = async {
        opened(&metrics, count).await?;
        match job {
            Job::Services { services, rate, seconds } => writer.services(services, rate, seconds).await?,
            Job::File(source) => writer.file(source, parse).await?,
        }
        // Nothing more is written: the agent may read to the end.
        drop(stop);
        Ok(())
    };
    let carry = async {
        let ended = agent.run(async { drop(stopped.await) }).await;
        done.send_replace(true);
        ended.map(drop).map_err(Error::Agent)
    };
    let work = async { tokio::try_join!(write, carry, consumer.run(is_done), observer.run(inbox, halt)) };
    Box::pin(work).await?;
    let retries = metrics.retries.get();
    observer.conclude(|totals, blank, rotations| Report {
        totals,
        blank,
        rotations,
        retries,
        partition_key,
        metrics: admin,
    })
}

/// What the writer does.
#[derive(Debug)]
enum Job {
    Services { services: Services, seconds: u32, rate: u32 },
    File(Source),
}

impl Job {
    fn open(input: &Input) -> Result<Self, Error> {
        Ok(match input {
            &Input::Services { seconds, rate } => {
                Self::Services { services: Services::new(fastrand::u64(..), wall_clock()), seconds, rate }
            }
            Input::File(path) => Self::File(Source::open(path.clone())?),
        })
    }

    /// The names of the logs.
    fn logs(&self) -> &'static [&'static str] {
        match self {
            Self::Services { .. } => &SERVICES,
            Self::File(_) => &[NAME],
        }
    }

    /// What there is to send at once.
    fn bytes(&self) -> u64 {
        match self {
            Self::Services { .. } => 0,
            Self::File(source) => source.size(),
        }
    }
}

/// The agent's configuration, as a user would write it.
fn config(directory: &Path, endpoint: &str, bytes: u64, flags: BTreeMap<String, String>) -> Result<Config, Problems> {
    let directory = directory.to_string_lossy();
    let logs = format!("{}/*.{}", glob::Pattern::escape(&directory), logs::EXTENSION);
    let timeout = (STOP_SECONDS + bytes / SLOWEST_BYTES).min(MAX_STOP_SECONDS);
    let document = json!({
        "state_dir": format!("{directory}/state"),
        "sources": [{ "name": NAME, "paths": [logs] }],
        "kinesis": { "stream": NAME, "region": "us-east-1", "endpoint": endpoint },
        "admin": { "listen": "127.0.0.1:0" },
        "shutdown": { "timeout": format!("{timeout}s") },
    });
    let file = Some(Document { name: "the demo's configuration".to_owned(), text: document.to_string() });
    Config::load(&Layers { file, environment: BTreeMap::new(), flags })
}

/// Completes when the agent has all logs open: a log that is rotated before would be another program's mistake, not the agent's.
async fn opened(metrics: &Metrics, logs: usize) -> Result<(), Error> {
    let live = metrics.files.with_label_values(&[NAME, "live"]);
    let opened = async {
        while usize::try_from(live.get()).unwrap_or_default() < logs {
            sleep(START_PAUSE).await;
        }
    };
    timeout(START_LIMIT, opened).await.map_err(|_| Error::NotOpened)
}

#[expect(clippy::disallowed_methods, reason = "the time that the services' lines show; nothing depends on it")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}

/// Keeps the ledger and the screen.
#[derive(Debug)]
struct Observer {
    screen: Screen,
    ledger: Ledger,
    ranges: Vec<RangeInclusive<u128>>,
    blank: u64,
    rotations: u64,
    started: Instant,
}

impl Observer {
    fn new(ability: Ability, ranges: Vec<RangeInclusive<u128>>) -> Self {
        let started = Instant::now();
        let screen = Screen::new(ability);
        Self { screen, ledger: Ledger::default(), ranges, blank: 0, rotations: 0, started }
    }

    fn greet(&mut self, input: &Input, directory: &Path, endpoint: &str, metrics: Option<&str>) {
        let screen = &mut self.screen;
        let what = match input {
            Input::Services { seconds, rate } => {
                format!("{} services write {rate} lines a second for {seconds} s", SERVICES.len())
            }
            Input::File(path) => format!("the lines of {} are written again", path.display()),
        };
        screen.line(format_args!("logs      {}: {what}", directory.display()));
        screen.line(format_args!("stream    {endpoint}: embedded, {SHARDS} shards with the limits of real ones"));
        if let Some(metrics) = metrics {
            screen.line(format_args!("metrics   {metrics} (for as long as this demo lives)"));
        }
        screen.line("");
    }

    /// Takes messages until all who tell are gone.
    async fn run(&mut self, mut inbox: mpsc::Receiver<Message>, halt: &watch::Sender<bool>) -> Result<(), Error> {
        let mut ticks = interval(REFRESH_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                message = inbox.recv() => match message {
                    Some(message) => self.take(message),
                    None => break,
                },
                _ = ticks.tick() => self.refresh(),
            }
            if let Some(error) = self.screen.error() {
                return Err(Error::Output(error));
            }
            if self.screen.is_closed() {
                halt.send_replace(true);
            }
        }
        self.screen.show_event();
        self.screen.progress(String::new());
        Ok(())
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Written { lines, blank, at } => {
                self.ledger.expect(&lines, at);
                self.blank += blank;
            }
            Message::Rotated { logs } => {
                self.rotations += 1;
                let what = if logs == 1 { "the log was".to_owned() } else { format!("all {logs} logs were") };
                let text = format!("-- {what} rotated: renamed, and opened anew --");
                let text = self.screen.paint(Colour::Yellow, text);
                self.screen.line(text);
            }
            Message::Read { shard, records, at } => {
                let Some(range) = self.ranges.get(shard) else { return };
                let screen = &mut self.screen;
                for record in &records {
                    self.ledger.receive(record, range.clone(), at, |event, latency| {
                        screen.offer(shard, event, latency);
                    });
                }
            }
        }
    }

    fn refresh(&mut self) {
        self.screen.show_event();
        let (written, received) = self.ledger.so_far();
        let seconds = self.started.elapsed().as_secs_f64();
        let under_way = written.saturating_sub(received);
        self.screen.progress(format!(
            "{seconds:5.1} s   {written} lines written   {received} events received   {under_way} under way"
        ));
    }

    /// Shows the summary.
    fn conclude(mut self, report: impl FnOnce(ledger::Totals, u64, u64) -> Report) -> Result<Report, Error> {
        let report = report(self.ledger.close(), self.blank, self.rotations);
        let verdict = if report.is_complete() {
            self.screen.paint(Colour::Green, "Every line arrived, byte for byte.")
        } else {
            self.screen.paint(Colour::Red, "Not every line arrived as it was written.")
        };
        self.screen.line(format_args!("\n{report}\n\n{verdict}"));
        self.screen.error().map_or(Ok(report), |error| Err(Error::Output(error)))
    }
}
