//! `kinetail consume`: a stream's events as lines of JSON, from the flags to the exit code. How a stream is read is not here.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use tokio::sync::oneshot;

use super::{EXIT_FAILED, EXIT_USAGE, SettingFlags, complain, runtime};
use crate::config::{Format, KinesisConfig, LogConfig, LogFormat, LogLevel};
use crate::consume::output::{Look, Output};
use crate::consume::start::{Begin, End};
use crate::consume::state::StateFile;
use crate::consume::{Ended, Error, Plan, Reader, Sink, unpack};
use crate::kinesis::client::Aws;
use crate::signal::Signals;
use crate::{clock, log};

/// What is read, and from where to where.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct ReadArgs {
    /// The configuration file of the agent that sends: stream, region, endpoint, role and delimiter are taken from it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The stream's name or ARN
    #[arg(long, value_name = "NAME")]
    stream: Option<String>,
    /// An endpoint in place of the region's
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// The stream's region
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// Where to begin: `TRIM_HORIZON`, `LATEST`, a time such as 2026-01-31T08:00:00Z, or how long ago, such as -1h
    #[arg(long, value_name = "WHERE", default_value = "TRIM_HORIZON", allow_hyphen_values = true)]
    from: String,
    /// Where to end: now, a time, or how long ago
    #[arg(long, value_name = "WHEN", allow_hyphen_values = true)]
    until: Option<String>,
    /// End when everything is read and nothing came for so long
    #[arg(long, value_name = "TIME")]
    idle: Option<humantime::Duration>,
    /// Read this shard alone, without what comes of it; may be given several times
    #[arg(long = "shard", value_name = "ID")]
    shards: Vec<String>,
}

/// A stream's events.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct ConsumeArgs {
    #[command(flatten)]
    read: ReadArgs,
    /// Append the events to this file; - is stdout
    #[arg(long, value_name = "FILE", default_value = "-")]
    out: PathBuf,
    /// Go on where the last run with this file ended, and save there how far each shard is read
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Put each event into an object with its shard, sequence number and partition key
    #[arg(long, conflicts_with = "raw")]
    meta: bool,
    /// Print each event's bytes as they are, JSON or not
    #[arg(long)]
    raw: bool,
}

/// What the flags and the configuration come to.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) plan: Plan,
    pub(super) kinesis: KinesisConfig,
}

impl ReadArgs {
    /// Whether it ends by itself when nothing comes.
    pub(super) fn has_idle(&self) -> bool {
        self.idle.is_some()
    }

    /// What is to be read. Without a place where it ends there is this one.
    pub(super) fn resolve(&self, environment: BTreeMap<String, String>, end: End) -> Result<Reading, String> {
        let arn = self.stream.clone().filter(|stream| stream.starts_with("arn:"));
        let flags = SettingFlags {
            config: self.config.clone(),
            stream: if arn.is_some() { None } else { self.stream.clone() },
            endpoint: self.endpoint.clone(),
            region: self.region.clone(),
            ..SettingFlags::default()
        };
        let loaded = flags.layers(environment).and_then(|layers| KinesisConfig::load(&layers));
        let mut kinesis = loaded.map_err(|problems| problems.to_string())?;
        if let Some(arn) = &arn {
            let region = arn.split(':').nth(3).filter(|region| !region.is_empty());
            kinesis.region = self.region.clone().or_else(|| region.map(str::to_owned)).or(kinesis.region);
        } else if self.stream.is_some() {
            kinesis.stream_arn = None;
        }
        let stream = arn.or_else(|| kinesis.stream_arn.clone()).unwrap_or_else(|| kinesis.stream.clone());
        if stream.is_empty() {
            return Err("kinesis.stream: is required; name the stream with --stream, with KINETAIL_STREAM or in the document of --config".to_owned());
        }
        let now = clock::now();
        let plan = Plan {
            stream,
            begin: Begin::parse(&self.from, now)?,
            end: self.until.as_deref().map_or(Ok(end), |until| End::parse(until, now))?,
            idle: self.idle.map(Duration::from),
            shards: self.shards.clone(),
            format: unpack::Format {
                delimiter: kinesis.delimiter.clone().into_bytes(),
                single: kinesis.format == Format::Single,
            },
        };
        Ok(Reading { plan, kinesis })
    }
}

impl ConsumeArgs {
    fn look(&self) -> Look {
        match (self.meta, self.raw) {
            (true, _) => Look::Meta,
            (_, true) => Look::Raw,
            _ => Look::Json,
        }
    }
}

/// Prints the events. The code says whether all that was read could be handed on.
pub(super) fn consume(args: &ConsumeArgs, environment: BTreeMap<String, String>) -> ExitCode {
    let reading = match args.read.resolve(environment, End::Never) {
        Ok(reading) => reading,
        Err(problem) => return complain(&problem, EXIT_USAGE),
    };
    log::init(&LogConfig { level: LogLevel::Warn, format: LogFormat::Text });
    match runtime() {
        Ok(runtime) => {
            let code = runtime.block_on(until_told(args, reading));
            // A thread may wait for whoever reads stdout.
            runtime.shutdown_background();
            code
        }
        Err(error) => complain(&format_args!("the runtime cannot be started: {error}"), EXIT_FAILED),
    }
}

async fn until_told(args: &ConsumeArgs, Reading { plan, kinesis }: Reading) -> ExitCode {
    let opened = args.state.as_deref().map(|path| StateFile::open(path, &plan.stream, clock::now()));
    let (state, resumed) = match opened {
        None => (None, None),
        Some(Ok((state, resumed))) => (Some(state), resumed),
        Some(Err(error)) => return complain(&error, EXIT_FAILED),
    };
    let written = resumed.as_ref().and_then(|resumed| resumed.output.as_ref());
    let output = if args.out.as_os_str() == "-" {
        Output::stdout(args.look()).map_err(|error| format!("stdout: {error}"))
    } else {
        Output::file(&args.out, args.look(), written).map_err(|error| error.to_string())
    };
    let mut output = match output {
        Ok(output) => output,
        Err(problem) => return complain(&problem, EXIT_FAILED),
    };
    let work = async move |stop: oneshot::Receiver<()>| {
        let client = match Aws::new(&kinesis).await {
            Ok(client) => client,
            Err(error) => return complain(&error, EXIT_FAILED),
        };
        let mut reader = match Reader::open(client, plan, resumed.as_ref()).await {
            Ok(reader) => reader,
            Err(error) => return complain(&error, EXIT_FAILED),
        };
        let ended = read(&mut reader, &mut output, state.as_ref(), stop).await;
        let whole = reader.summary().is_whole();
        conclude(ended, reader.summary(), if whole { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) })
    };
    stoppable(work).await
}

/// Does something that the first signal asks to end, and the second ends.
pub(super) async fn stoppable(work: impl AsyncFnOnce(oneshot::Receiver<()>) -> ExitCode) -> ExitCode {
    let mut signals = match Signals::catch() {
        Ok(signals) => signals,
        Err(error) => return complain(&format_args!("signals cannot be caught: {error}"), EXIT_FAILED),
    };
    let (stop, stopped) = oneshot::channel();
    let twice = async {
        signals.next().await;
        // It may have ended already.
        stop.send(()).ok();
        signals.next().await;
    };
    tokio::select! {
        code = Box::pin(work(stopped)) => code,
        () = twice => complain(&"a second signal: ending at once", EXIT_FAILED),
    }
}

/// Reads until the end, or until it is told to stop.
pub(super) async fn read<S: Sink>(
    reader: &mut Reader,
    sink: &mut S,
    state: Option<&StateFile>,
    stop: oneshot::Receiver<()>,
) -> Result<Ended, Error> {
    let stop = async {
        if stop.await.is_err() {
            // Nobody can tell it any more; that is no reason to end.
            std::future::pending::<()>().await;
        }
    };
    Box::pin(reader.run(sink, state, stop)).await
}

/// Says what was read, and what kept it from more.
fn conclude(ended: Result<Ended, Error>, summary: &impl std::fmt::Display, code: ExitCode) -> ExitCode {
    match ended {
        Ok(_) => {
            complain(summary, EXIT_FAILED);
            code
        }
        // Whoever closed the pipe, such as `head`, has seen enough.
        Err(error) if error.is_broken_pipe() => ExitCode::SUCCESS,
        Err(error) => complain(&format_args!("{summary}\n{error}"), EXIT_FAILED),
    }
}
