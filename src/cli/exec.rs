//! `kinetail exec -- COMMAND ARGS…`: runs a service, sends what it writes to stdout and stderr, and ends as it ends. How a command is wrapped is
//! not here.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use tokio::sync::oneshot;

use super::{SettingFlags, complain, runtime};
use crate::agent::{Agent, Error, Summary};
use crate::config::{Config, SourceKind};
use crate::log::recent::Problems;
use crate::reload::Reloader;
use crate::source::exec::{Child, DEFAULT_GRACE, ExecOptions, Finished, OWN_FAILURE, Orphan, shim};
use crate::spool::Feed;

/// Run a service, and send what it writes to stdout and stderr.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct ExecArgs {
    #[command(flatten)]
    settings: SettingFlags,
    /// Whether what the command writes goes to our own stdout and stderr too, as for kubectl logs
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    tee: bool,
    /// How long processes that the command leaves behind are listened to, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = DEFAULT_GRACE.as_secs())]
    grace: u64,
    /// What becomes of the command if kinetail is killed: die (it gets SIGTERM), keep (it goes on without a log)
    #[arg(long, value_name = "POLICY", default_value = "die")]
    orphan: OrphanPolicy,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum OrphanPolicy {
    Die,
    Keep,
}

impl ExecArgs {
    fn options(&self) -> ExecOptions {
        let orphan = match self.orphan {
            OrphanPolicy::Die => Orphan::Die { through: shim::this_program() },
            OrphanPolicy::Keep => Orphan::Keep,
        };
        ExecOptions { tee: self.tee, grace: Duration::from_secs(self.grace), orphan }
    }
}

/// Runs the command to its end, and the agent until everything is sent or `shutdown.timeout` is over.
pub(super) fn exec(args: &ExecArgs, environment: BTreeMap<String, String>) -> ExitCode {
    let load = {
        let settings = args.settings.clone();
        move || settings.layers(environment.clone()).and_then(|layers| Config::load_exec(&layers))
    };
    let reload = load.clone();
    // SIGHUP is the command's.
    let reloader =
        Reloader::new(args.settings.config.clone(), move || reload().map_err(|problems| problems.to_string()));
    let config = match load() {
        Ok(config) => config,
        Err(problems) => return complain(&problems, OWN_FAILURE),
    };
    let problems = crate::log::init(&config.log);
    match runtime() {
        Ok(runtime) => runtime.block_on(wrap(config, args, problems, reloader)),
        Err(error) => complain(&format_args!("the runtime cannot be started: {error}"), OWN_FAILURE),
    }
}

async fn wrap(config: Config, args: &ExecArgs, problems: Problems, reloader: Reloader) -> ExitCode {
    let agent = match Box::pin(Agent::start(config)).await {
        Ok(agent) => agent.with_problems(problems).with_reloader(reloader),
        Err(error) => return complain(&error, OWN_FAILURE),
    };
    let Some(feed) = feed_of(&agent) else {
        return complain(&"no source is of type exec", OWN_FAILURE);
    };
    let mut child = match Child::spawn(&args.command, feed, &args.options()) {
        Ok(child) => child,
        Err(error) => return complain(&error, error.code()),
    };
    let (stop, stopped) = oneshot::channel();
    let service = async {
        let finished = child.wait().await;
        // The agent may be gone already.
        stop.send(()).ok();
        finished
    };
    let stopped = async { drop(stopped.await) };
    let (finished, ended) = tokio::join!(service, Box::pin(agent.run(stopped)));
    conclude(&finished, ended)
}

fn feed_of(agent: &Agent) -> Option<Feed> {
    agent.feeds().find(|(_, kind, _)| *kind == SourceKind::Exec).map(|(_, _, feed)| feed)
}

/// The command's exit code is ours, whatever became of its log: that is on disk, and sent at the next start.
fn conclude(finished: &Finished, ended: Result<Summary, Error>) -> ExitCode {
    let lost = finished.stdout.lost_events + finished.stderr.lost_events;
    if lost > 0 {
        tracing::error!(lost, "lines of the command were not kept");
    }
    match ended {
        Ok(Summary { events, delivered, dropped, unsettled, unread_bytes, drained }) => {
            tracing::info!(
                code = finished.exit.code,
                events,
                delivered,
                dropped,
                unsettled,
                unread_bytes,
                drained,
                "stopped"
            );
        }
        Err(error) => tracing::error!(%error, "kinetail could not go on"),
    }
    ExitCode::from(finished.exit.code)
}
