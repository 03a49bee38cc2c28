//! `kinetail plan`: what a stream for these logs needs and costs, from a sample of them or from what a running agent sends. Of the two only the
//! latter opens a connection, to that agent; what the figures are made of is in `plan.rs`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{EXIT_FAILED, EXIT_USAGE, SettingFlags, answer, complain, drop_in, runtime};
use crate::agent::host_name;
use crate::ask;
use crate::budget::Budget;
use crate::clock;
use crate::config::Config;
use crate::event::{Batch, LaneId, SourceId};
use crate::kinesis::aggregate::max_event;
use crate::kinesis::facts::DEFAULT_RECORD_LIMIT;
use crate::line::{LineBuilder, Lines};
use crate::plan::exposition::Exposition;
use crate::plan::measured::{self, Measured, Readings};
use crate::plan::prices::{self, Prices};
use crate::plan::report::Report;
use crate::plan::sample::{self, Rate, Sampled};
use crate::plan::{Load, Margin, Plan, float};
use crate::route::{Router, Routes, Rules, Streams};
use crate::shape::Shaping;
use crate::source::file::Group;

/// The name of stdin on the command line.
const STDIN: &str = "-";
/// How much of a sample is read; more tells no more.
const MAX_SAMPLE_BYTES: u64 = 64 << 20;
/// How much of it is looked at at once.
const CHUNK_BYTES: usize = 1 << 20;
/// How long a running agent may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// For how long it is measured if nothing is said.
const DEFAULT_SECONDS: u32 = 30;

/// What is planned for.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    settings: SettingFlags,
    /// The sample: log files, of which up to 64 MiB each are read; - is stdin
    #[arg(value_name = "FILE", required_unless_present = "from", conflicts_with = "from")]
    files: Vec<PathBuf>,
    /// In place of a sample: the admin server of an agent that runs, such as <http://127.0.0.1:9464>, whose metrics are read twice. Of the settings
    /// only --stream counts then, for an agent that delivers to several
    #[arg(long, value_name = "URL")]
    from: Option<String>,
    /// The seconds between the two, 30 if nothing is said
    #[arg(long, value_name = "NUMBER", requires = "from", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: Option<u32>,
    /// Read as this source says, in place of the first
    #[arg(long, value_name = "NAME", conflicts_with = "from")]
    source: Option<String>,
    /// How many events all agents together have in a second, on average
    #[arg(long, value_name = "NUMBER", required_unless_present_any = ["over", "from"], conflicts_with = "from", value_parser = positive)]
    events_per_second: Option<f64>,
    /// In place of that: the time in which the sample was written, such as 1h
    #[arg(long, value_name = "TIME", conflicts_with_all = ["events_per_second", "from"], value_parser = humantime::parse_duration)]
    over: Option<Duration>,
    /// How many agents share the events, each packing its own; with --from, how many like that one there are
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    agents: u32,
    /// How many times the average the busiest seconds have
    #[arg(long, value_name = "NUMBER", default_value_t = 3.0, value_parser = positive)]
    peak: f64,
    /// What stays free even then, in percent of what is used
    #[arg(long, value_name = "PERCENT", default_value_t = 25, value_parser = clap::value_parser!(u32).range(0..=1000))]
    headroom: u32,
    /// Prices in place of the built-in ones: a JSON object
    #[arg(long, value_name = "FILE")]
    prices: Option<PathBuf>,
    /// Print JSON
    #[arg(long, conflicts_with = "terraform")]
    json: bool,
    /// Print the variables of the Terraform module for a stream
    #[arg(long)]
    terraform: bool,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Settings(#[from] drop_in::Refused),
    #[error("--source: there is no source \"{name}\"; the sources are {known}")]
    Source { name: String, known: String },
    #[error(transparent)]
    Prices(#[from] prices::Error),
    #[error("{name}: cannot be read: {source}")]
    Read { name: String, source: io::Error },
    #[error(
        "the sample has no events; give files with lines that the parser takes (kinetail parse FILE shows what becomes of them)"
    )]
    Empty,
    #[error("--from: {0}")]
    Ask(#[from] ask::Error),
    #[error("--from: {url} answered {status}, where an agent's admin server answers 200")]
    Answer { url: String, status: u16 },
    #[error("--from: {url} is no page of kinetail: {source}")]
    Status { url: String, source: serde_json::Error },
    #[error("--from {url}: {source}")]
    Measured { url: String, source: measured::Error },
    #[error("the runtime cannot be started: {0}")]
    Runtime(io::Error),
}

impl Error {
    /// Whether another command line would do.
    fn is_usage(&self) -> bool {
        use measured::Error::{NoStream, Streams};
        let is_of_streams = matches!(self, Self::Measured { source: NoStream { .. } | Streams { .. }, .. });
        is_of_streams || matches!(self, Self::Settings(_) | Self::Source { .. } | Self::Prices(_))
    }
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => Err("a number above 0 is needed, such as 500 or 2.5".to_owned()),
    }
}

/// Prints the plan.
pub(super) fn plan(args: &PlanArgs, environment: BTreeMap<String, String>) -> ExitCode {
    match make(args, environment) {
        Ok(text) => answer(&text.trim_end()),
        Err(error) if error.is_usage() => complain(&error, EXIT_USAGE),
        Err(error) => complain(&error, EXIT_FAILED),
    }
}

fn make(args: &PlanArgs, environment: BTreeMap<String, String>) -> Result<String, Error> {
    let prices = args.prices.as_deref().map(Prices::read).transpose()?.unwrap_or_default();
    let (load, measured) = match &args.from {
        Some(url) => {
            let base = base(url);
            let (load, measured) = running(args, &base)?;
            (load, Some((measured, base)))
        }
        None => (sampled(args, environment)?, None),
    };
    let margin = Margin { peak: args.peak, headroom: f64::from(args.headroom) / 100.0 };
    let plan = Plan::new(&load, margin, &prices);
    let measured = measured.as_ref().map(|(measured, from)| (measured, &**from, args.agents));
    let report = Report { load: &load, margin, prices: &prices, plan: &plan, measured };
    Ok(if args.json {
        format!("{:#}", report.json())
    } else if args.terraform {
        report.terraform()
    } else {
        report.text()
    })
}

/// The load of the sample.
fn sampled(args: &PlanArgs, environment: BTreeMap<String, String>) -> Result<Load, Error> {
    let config = args.settings.load(environment)?;
    let events = read_all(args, &config)?;
    let per_second = match (args.events_per_second, args.over) {
        (Some(number), _) => number,
        (None, Some(time)) => float(events.len() as u64) / time.as_secs_f64().max(f64::MIN_POSITIVE),
        (None, None) => unreachable!("the command line demands one of the two, or a running agent"),
    };
    let rate = Rate { events: per_second, agents: args.agents };
    sample::load(&events, rate, &config.kinesis).ok_or(Error::Empty)
}

/// Where an agent is asked: as it was said, but for the page and the scheme.
fn base(said: &str) -> String {
    let url = said.trim_end_matches('/');
    let url = ["/metrics", "/status"].iter().find_map(|page| url.strip_suffix(page)).unwrap_or(url);
    if url.contains("://") { url.to_owned() } else { format!("http://{url}") }
}

/// The load of an agent that runs.
fn running(args: &PlanArgs, base: &str) -> Result<(Load, Measured), Error> {
    let runtime = runtime().map_err(Error::Runtime)?;
    let measured = runtime.block_on(measure(args, base));
    // Resolving a name takes a thread, which may hang for longer than anybody waits.
    runtime.shutdown_background();
    measured
}

async fn measure(args: &PlanArgs, base: &str) -> Result<(Load, Measured), Error> {
    let wrong = |source| Error::Measured { url: base.to_owned(), source };
    let stream = args.settings.stream.as_deref();
    let metrics = format!("{base}/metrics");
    let (before, began) = (Exposition::parse(&ask_for(&metrics).await?), Instant::now());
    measured::check(&before, stream).map_err(wrong)?;
    tokio::time::sleep(Duration::from_secs(args.seconds.unwrap_or(DEFAULT_SECONDS).into())).await;
    let (after, ended) = (Exposition::parse(&ask_for(&metrics).await?), Instant::now());
    let url = format!("{base}/status?history");
    let status = serde_json::from_str(&ask_for(&url).await?).map_err(|source| Error::Status { url, source })?;
    let seconds = (ended - began).as_secs_f64();
    let readings = Readings { before: &before, after: &after, status: &status, seconds, agents: args.agents };
    readings.load(stream).map_err(wrong)
}

async fn ask_for(url: &str) -> Result<String, Error> {
    let reply = ask::get(url, ANSWER_TIMEOUT).await?;
    if reply.status == 200 {
        Ok(reply.text())
    } else {
        Err(Error::Answer { url: url.to_owned(), status: reply.status })
    }
}

/// The events of all files, by the source that was asked for.
fn read_all(args: &PlanArgs, config: &Config) -> Result<Vec<Sampled>, Error> {
    let named = |name: &String| {
        let known = || config.sources.iter().map(|s| s.name.as_str()).collect::<Vec<_>>().join(", ");
        let found = config.sources.iter().find(|s| s.name == *name);
        found.ok_or_else(|| Error::Source { name: name.clone(), known: known() })
    };
    let source = match &args.source {
        Some(name) => named(name)?,
        None => config.sources.first().expect("the configuration has been checked: it has a source"),
    };
    let host = host_name();
    let mut streams = Streams::new(&config.kinesis.stream, config.kinesis.max_streams);
    let router = Router::new(&Rules::new(source, &config.kinesis), &source.name, &host, &mut streams);
    let mut sampler = Sampler { group: Group::new(source, &host).with_router(router), streams, events: Vec::new() };
    for path in &args.files {
        let failed = |source| Error::Read { name: path.display().to_string(), source };
        let input: Box<dyn Read> = if path.as_os_str() == STDIN {
            Box::new(io::stdin().lock())
        } else {
            Box::new(File::open(path).map_err(failed)?)
        };
        sampler.read(path, input).map_err(failed)?;
    }
    Ok(sampler.events)
}

/// Files to events, by the agent's own line and router.
struct Sampler {
    group: Group,
    streams: Streams,
    events: Vec<Sampled>,
}

impl Sampler {
    fn read(&mut self, path: &Path, input: impl Read) -> io::Result<()> {
        let name = std::path::absolute(path).unwrap_or(path.to_owned()).to_string_lossy().into_owned();
        let mut line = LineBuilder::new(Arc::clone(&self.group.line), self.group.added(&name), name.clone(), 0, 0);
        let (mut input, mut rest, mut offset) = (input.take(MAX_SAMPLE_BYTES), Vec::new(), 0_u64);
        let limit = max_event(DEFAULT_RECORD_LIMIT);
        let mut shaping = Shaping::at(clock::unix_nanos());
        loop {
            let before = rest.len();
            (&mut input).take(CHUNK_BYTES as u64).read_to_end(&mut rest)?;
            if rest.len() == before {
                break;
            }
            loop {
                let mut lines = Lines { shaping: std::mem::take(&mut shaping), ..Lines::default() };
                let used = line.advance(&rest, offset, limit, Instant::now(), &mut lines);
                let capped = lines.capped;
                shaping = std::mem::take(&mut lines.shaping);
                self.take(&name, &rest, lines);
                rest.drain(..used);
                offset += used as u64;
                if !capped {
                    break;
                }
            }
        }
        let mut lines = Lines { shaping, ..Lines::default() };
        line.flush(&rest, offset, limit, &mut lines);
        self.take(&name, &rest, lines);
        Ok(())
    }

    fn take(&mut self, path: &str, chunk: &[u8], lines: Lines) {
        let permit = Budget::new(0).try_reserve(0).expect("nothing always fits");
        let mut batch = Batch {
            source: SourceId(0),
            source_name: Arc::clone(&self.group.name),
            parser: Arc::clone(self.group.parser()),
            lane: LaneId(0),
            partition_key: "".into(),
            chunk: chunk.to_vec(),
            rendered: lines.rendered,
            events: lines.events,
            more: Vec::new(),
            unused: Vec::new(),
            rejected: Vec::new(),
            counts: lines.counts,
            routes: Routes::default(),
            start: 0,
            end: 0,
            read_at: Instant::now(),
            permit,
        };
        self.group.router.route(&mut batch, path, &mut self.streams);
        for (index, event) in batch.events.iter().enumerate() {
            let key = batch.routes.partition_key(index).map(str::to_owned);
            self.events.push(Sampled { bytes: (event.end - event.start) as usize, key });
        }
    }
}
