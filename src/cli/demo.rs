//! `kinetail demo`: the demo, from its flags to its exit code. What is shown is not here.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;

use tokio::sync::watch;

use super::{EXIT_FAILED, EXIT_USAGE, complain, runtime};
use crate::config::{LogConfig, LogFormat, LogLevel};
use crate::demo::screen::Ability;
use crate::demo::{Error, Input, Options, demo};
use crate::signal::Signals;

/// Show the agent at work on this machine: logs in, an embedded stream, events out, every line accounted for.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct DemoArgs {
    /// Send the lines of this file in place of made-up ones
    #[arg(long, value_name = "PATH", conflicts_with_all = ["seconds", "rate"])]
    file: Option<PathBuf>,
    /// For how long lines are made up
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=300))]
    seconds: u32,
    /// Lines a second
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=5000))]
    rate: u32,
    /// How a line becomes an event
    #[arg(long, value_name = "PARSER", default_value = "raw", value_parser = ["raw", "json"])]
    parse: String,
    /// What a Kinesis record holds
    #[arg(long, value_name = "FORMAT", default_value = "kpl", value_parser = ["kpl", "lines", "single"])]
    format: String,
    /// How records are spread over shards: a key for each log, which keeps its order, or one for each record
    #[arg(long, value_name = "KEY", default_value = "source", value_parser = ["random", "source"])]
    partition_key: String,
}

impl DemoArgs {
    fn options(&self, ability: Ability) -> Options {
        let (seconds, rate) = (self.seconds, self.rate);
        let input = self.file.clone().map_or(Input::Services { seconds, rate }, Input::File);
        let flags = [("parse", &self.parse), ("format", &self.format), ("partition-key", &self.partition_key)];
        let flags = flags.map(|(name, value)| (name.to_owned(), value.clone())).into();
        Options { input, flags, ability }
    }
}

/// Shows the demo. The code says whether everything arrived.
pub(super) fn show(args: &DemoArgs, environment: &BTreeMap<String, String>) -> ExitCode {
    crate::log::init(&LogConfig { level: LogLevel::Warn, format: LogFormat::Text });
    let options = args.options(ability(environment));
    match runtime() {
        Ok(runtime) => runtime.block_on(until_told(options)),
        Err(error) => complain(&format_args!("the runtime cannot be started: {error}"), EXIT_FAILED),
    }
}

/// What stdout can do, by the conventions of <https://no-color.org> and of terminfo.
fn ability(environment: &BTreeMap<String, String>) -> Ability {
    let dumb = environment.get("TERM").is_some_and(|term| term == "dumb");
    let progress = io::stdout().is_terminal() && !dumb;
    let colourless = environment.get("NO_COLOR").is_some_and(|value| !value.is_empty());
    Ability { progress, colour: progress && !colourless }
}

/// The first signal ends the writing, the second everything.
async fn until_told(options: Options) -> ExitCode {
    let mut signals = match Signals::catch() {
        Ok(signals) => signals,
        Err(error) => return complain(&format_args!("signals cannot be caught: {error}"), EXIT_FAILED),
    };
    let (halt, _) = watch::channel(false);
    let twice = async {
        signals.next().await;
        halt.send_replace(true);
        signals.next().await;
    };
    let shown = tokio::select! {
        shown = Box::pin(demo(options, &halt)) => shown,
        () = twice => return complain(&"interrupted; not everything was read back", EXIT_FAILED),
    };
    match shown {
        Ok(report) if report.is_complete() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(EXIT_FAILED),
        Err(error @ Error::Input { .. }) => complain(&error, EXIT_USAGE),
        Err(error) => complain(&error, EXIT_FAILED),
    }
}
