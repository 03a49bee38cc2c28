//! `kinetail doctor`: the preflight, from its flags to its exit code. What is looked at is not here.

use std::collections::BTreeMap;
use std::process::ExitCode;

use super::{EXIT_FAILED, SettingFlags, answer, complain, drop_in, runtime};
use crate::config::{Config, LogConfig, LogFormat, LogLevel};
use crate::doctor::{Level, Line, Options, Report, examine};
use crate::log;

const CHECK: &str = "configuration";

/// What is looked at, and how it is said.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    settings: SettingFlags,
    /// Send a test event to each stream: nothing else proves that it takes one, and that its key can be used
    #[arg(long)]
    send: bool,
    /// The settings are those of kinetail exec
    #[arg(long)]
    exec: bool,
    /// Print the lines as JSON
    #[arg(long)]
    json: bool,
}

/// Looks at everything, and says by the exit code whether the agent would work.
pub(super) fn doctor(args: &DoctorArgs, environment: BTreeMap<String, String>) -> ExitCode {
    // What is wrong is said in lines of its own.
    log::init(&LogConfig { level: LogLevel::Error, format: LogFormat::Text });
    let mut report = Report::default();
    match args.load(environment, &mut report) {
        Ok(config) => {
            let options = Options { send: args.send, ..Options::default() };
            let runtime = match runtime() {
                Ok(runtime) => runtime,
                Err(error) => return complain(&format_args!("the runtime cannot be started: {error}"), EXIT_FAILED),
            };
            report.checks.extend(runtime.block_on(Box::pin(examine(&config, &options))).checks);
            // Resolving a name takes a thread, which may hang for longer than anybody waits.
            runtime.shutdown_background();
        }
        Err(refused) => {
            let fix = "correct the configuration; kinetail check says the same, and README.md has all settings";
            report.checks.extend(refused.to_string().lines().map(|line| Line::fail(CHECK, line, fix)));
        }
    }
    say(&report, args.json)
}

impl DoctorArgs {
    fn load(&self, environment: BTreeMap<String, String>, report: &mut Report) -> Result<Config, drop_in::Refused> {
        if self.exec {
            let config = Config::load_exec(&self.settings.layers(environment)?)?;
            report.checks.push(Line::pass(CHECK, described(&config)));
            return Ok(config);
        }
        let (config, drop_in) = drop_in::load(&self.settings, environment)?;
        report.checks.push(Line::pass(CHECK, described(&config)));
        for note in drop_in.notes() {
            let fix = "see what of FireLens is honoured in the README";
            report.checks.push(Line::warn(CHECK, note.to_string(), fix));
        }
        Ok(config)
    }
}

fn described(config: &Config) -> String {
    let sources: Vec<&str> = config.sources.iter().map(|source| source.name.as_str()).collect();
    let stream = config.kinesis.stream_arn.as_deref().unwrap_or(&config.kinesis.stream);
    format!("valid: {} to {stream}", sources.join(", "))
}

fn say(report: &Report, json: bool) -> ExitCode {
    let said = match (json, serde_json::to_string_pretty(report)) {
        (true, Ok(text)) => answer(&text),
        _ => answer(report),
    };
    if report.level() == Level::Fail { ExitCode::from(EXIT_FAILED) } else { said }
}
