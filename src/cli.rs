//! The command line: one variant and one file for each subcommand, and the exit codes.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | it did what it was asked for |
//! | 1 | it failed at run time |
//! | 2 | the command line or the configuration is wrong; nothing was done |
//!
//! `exec` answers the code of its command, and 125 to 127 where there is none, as `docker run` does.
//!
//! A new subcommand is a module, a variant of [`Command`] and a match arm in [`main`]. What a command does with the
//! configuration is not here.

mod check;
mod consume;
mod demo;
mod doctor;
pub mod drop_in;
mod exec;
mod healthcheck;
mod inject;
mod install;
mod local;
mod parse;
mod plan;
mod replay;
mod run;
mod schema;
mod test;
mod top;
mod verify;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, Document, Layers, Problems, SourceConfig};

/// Exit code: it failed at run time.
pub const EXIT_FAILED: u8 = 1;

/// Exit code: the command line or the configuration is wrong. It is the code that clap uses too.
pub const EXIT_USAGE: u8 = 2;

/// Tails log files into Amazon Kinesis Data Streams without losing a line.
#[derive(Debug, Parser)]
#[command(name = "kinetail", version, max_term_width = 100, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What kinetail is asked to do.
#[derive(Debug, Subcommand)]
enum Command {
    /// Tail the files and send what they say, until SIGTERM
    Run(run::RunArgs),
    /// Run a service, and send what it writes to stdout and stderr; the exit code is the service's
    Exec(exec::ExecArgs),
    /// Check the configuration and print what is in effect, with secrets masked
    Check(SettingFlags),
    /// Show what the agent would make of lines; nothing is sent, and nothing is kept
    Parse(parse::ParseArgs),
    /// Run lines through a source's settings, and compare the events with those that files expect
    Test(test::TestArgs),
    /// Send the dead letters of the state directory again; with --stream, all of them to that stream
    Replay(replay::ReplayArgs),
    /// Say what a stream for these logs needs and costs, from a sample of them
    Plan(plan::PlanArgs),
    /// Try everything that has to be right before the agent runs, and say what is wrong with its fix
    Doctor(doctor::DoctorArgs),
    /// Print the events of a stream as lines of JSON: all shards, through splits and merges
    Consume(consume::ConsumeArgs),
    /// Prove from the events' ids that a stream has all that was sent, or say what is missing
    Verify(verify::VerifyArgs),
    /// Ask the agent beside this whether all is well; the exit code says it
    Healthcheck(healthcheck::HealthcheckArgs),
    /// Show the status page of a running agent in the terminal, until q
    Top(top::TopArgs),
    /// Copy this program to a file or a directory, for init containers
    Install(install::InstallArgs),
    /// Print the JSON Schema of the configuration file
    Schema,
    /// Give pods the sidecars that their annotations ask for: a mutating admission webhook of Kubernetes
    Inject(inject::InjectArgs),
    /// Show the agent at work on this machine: logs in, an embedded stream, events out, every line accounted for
    Demo(demo::DemoArgs),
    /// Serve the Kinesis Data Streams API on loopback, for development and tests
    Local(local::LocalArgs),
}

/// The settings that flags can set; they count more than the environment (`KINETAIL_*`), and that more than the file.
#[derive(Debug, Clone, Default, Args)]
pub struct SettingFlags {
    /// The configuration file (YAML); the variable `KINETAIL_CONFIG` can hold the document itself
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The stream's name
    #[arg(long, value_name = "NAME")]
    stream: Option<String>,
    /// The files to read: globs of absolute paths, separated by commas
    #[arg(long, value_name = "GLOBS")]
    paths: Option<String>,
    /// The directory of the checkpoint
    #[arg(long, value_name = "DIRECTORY")]
    state_dir: Option<String>,
    /// An endpoint in place of the region's
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// The stream's region
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// How a line becomes an event: a parser's name such as raw, json, nginx, or several separated by commas
    #[arg(long, value_name = "PARSER")]
    parse: Option<String>,
    /// What a Kinesis record holds: kpl, lines, single
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// How records are spread over shards: random, source
    #[arg(long, value_name = "KEY")]
    partition_key: Option<String>,
    /// Where a file starts that was there before the first run: beginning, end
    #[arg(long, value_name = "WHERE")]
    start_at: Option<String>,
    /// The level of kinetail's own log, and its look after a comma: debug,json
    #[arg(long, value_name = "LEVEL")]
    log: Option<String>,
}

impl SettingFlags {
    /// The checked configuration, from the flags, this environment and the file that `--config` names.
    pub fn load(&self, environment: BTreeMap<String, String>) -> Result<Config, drop_in::Refused> {
        drop_in::load(self, environment).map(|(config, _)| config)
    }

    /// The checked sources alone; nothing has to be set.
    fn load_sources(&self, environment: BTreeMap<String, String>) -> Result<Vec<SourceConfig>, Problems> {
        SourceConfig::load_all(&self.layers(environment)?)
    }

    fn layers(&self, environment: BTreeMap<String, String>) -> Result<Layers, Problems> {
        let file = self.config.as_deref().map(Document::read).transpose()?;
        Ok(Layers { file, environment, flags: self.given() })
    }

    fn given(&self) -> BTreeMap<String, String> {
        let all = [
            ("stream", &self.stream),
            ("paths", &self.paths),
            ("state-dir", &self.state_dir),
            ("endpoint", &self.endpoint),
            ("region", &self.region),
            ("parse", &self.parse),
            ("format", &self.format),
            ("partition-key", &self.partition_key),
            ("start-at", &self.start_at),
            ("log", &self.log),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?))).collect()
    }
}

/// Does what the command line asks for.
pub fn main(cli: &Cli, environment: BTreeMap<String, String>) -> ExitCode {
    match &cli.command {
        Command::Run(args) => run::run(args, environment),
        Command::Exec(args) => exec::exec(args, environment),
        Command::Check(flags) => check::check(flags, environment),
        Command::Parse(args) => parse::parse(args, environment),
        Command::Test(args) => test::test(args),
        Command::Replay(args) => replay::replay(args, environment),
        Command::Plan(args) => plan::plan(args, environment),
        Command::Doctor(args) => doctor::doctor(args, environment),
        Command::Consume(args) => consume::consume(args, environment),
        Command::Verify(args) => verify::verify(args, environment),
        Command::Healthcheck(args) => healthcheck::healthcheck(args, environment),
        Command::Top(args) => top::top(args, environment),
        Command::Install(args) => install::install(args),
        Command::Schema => schema::schema(),
        Command::Inject(args) => inject::inject(args),
        Command::Demo(args) => demo::show(args, &environment),
        Command::Local(args) => local::local(args),
    }
}

/// Tells what is wrong with a command line; help and version come this way too, and are no failure.
pub fn usage(error: &clap::Error) -> ExitCode {
    match error.print() {
        Ok(()) => ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(EXIT_USAGE)),
        Err(_) => ExitCode::from(EXIT_FAILED),
    }
}

/// The environment as the configuration takes it. A value that is not Unicode cannot be a valid one of ours: its odd
/// bytes become marks that the checks refuse and show.
pub fn environment() -> BTreeMap<String, String> {
    let text = |os: std::ffi::OsString| os.to_string_lossy().into_owned();
    std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect()
}

/// The runtime of a command: one thread, since a sidecar is given a fraction of a core.
fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// Writes a command's result to stdout.
fn answer(text: &impl Display) -> ExitCode {
    match writeln!(io::stdout().lock(), "{text}") {
        // Whoever closed the pipe, such as `head`, has seen enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => complain(&error, EXIT_FAILED),
        Ok(()) | Err(_) => ExitCode::SUCCESS,
    }
}

/// Writes to stderr why a command ends with this code.
fn complain(reason: &impl Display, code: u8) -> ExitCode {
    match writeln!(io::stderr().lock(), "{reason}") {
        // Without stderr the code has to say it all.
        Ok(()) | Err(_) => ExitCode::from(code),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory;

    use super::*;
    use crate::config::settings;

    #[test]
    fn the_flags_are_those_that_the_settings_declare() {
        Cli::command().debug_assert();
        let declared: BTreeSet<String> = settings().into_iter().filter_map(|setting| setting.flag).collect();
        let command = Cli::command();
        for name in ["run", "check"] {
            let command = command.find_subcommand(name).unwrap();
            let flags: BTreeSet<String> =
                command.get_arguments().filter_map(|arg| arg.get_long()).map(str::to_owned).collect();
            let mut expected: BTreeSet<String> = declared.iter().cloned().chain(["config".to_owned()]).collect();
            expected.extend((name == "run").then(|| "exit-when-gone".to_owned()));
            assert_eq!(flags, expected, "{name}");
        }
        let command = command.find_subcommand("parse").unwrap();
        let flags: BTreeSet<&str> = command.get_arguments().filter_map(|arg| arg.get_long()).collect();
        assert!(declared.iter().all(|name| flags.contains(name.as_str())), "{flags:?}");
    }

    #[test]
    fn every_flag_reaches_the_configuration() {
        let flags: BTreeSet<String> = settings().into_iter().filter_map(|setting| setting.flag).collect();
        let mut arguments = vec!["kinetail".to_owned(), "check".to_owned()];
        arguments.extend(flags.iter().flat_map(|flag| [format!("--{flag}"), "x".to_owned()]));
        let cli = Cli::try_parse_from(arguments).unwrap();
        let Command::Check(given) = cli.command else { panic!("another command") };
        assert_eq!(given.given().into_keys().collect::<BTreeSet<_>>(), flags);
    }
}
