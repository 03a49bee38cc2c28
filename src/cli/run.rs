//! `kinetail run`: the agent, from its configuration to its exit code. What the agent does is not here.

use std::collections::BTreeMap;
use std::process::ExitCode;

use tokio::sync::oneshot;

use super::{EXIT_FAILED, EXIT_USAGE, SettingFlags, complain, drop_in, runtime};
use crate::agent::{Agent, Error, Summary};
use crate::config::Config;
use crate::firelens;
use crate::log::recent::Problems;
use crate::signal::Signals;

/// Loads the configuration, starts the log and runs the agent to its end.
pub(super) fn run(flags: &SettingFlags, environment: BTreeMap<String, String>) -> ExitCode {
    let (config, drop_in) = match drop_in::load(flags, environment) {
        Ok(loaded) => loaded,
        Err(refused) => return complain(&refused, EXIT_USAGE),
    };
    let problems = crate::log::init(&config.log);
    drop_in.announce(&config);
    announce(&config);
    match runtime() {
        Ok(runtime) => runtime.block_on(serve(config, drop_in.dispatch(), problems)),
        Err(error) => complain(&format_args!("the runtime cannot be started: {error}"), EXIT_FAILED),
    }
}

/// Says what was made of the configuration, which is the first thing to look at when no data comes.
fn announce(config: &Config) {
    let globs: Vec<&str> = config.sources.iter().flat_map(|source| &source.paths).map(String::as_str).collect();
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        stream = config.kinesis.stream,
        region = config.kinesis.region,
        endpoint = config.kinesis.endpoint.as_deref().map(crate::config::mask_url),
        state_dir = %config.state_dir.display(),
        paths = ?globs,
        "configuration loaded"
    );
}

async fn serve(config: Config, firelens: Option<firelens::Dispatch>, problems: Problems) -> ExitCode {
    let mut signals = match Signals::catch() {
        Ok(signals) => signals,
        Err(error) => return complain(&format_args!("signals cannot be caught: {error}"), EXIT_FAILED),
    };
    let (stop, stopped) = oneshot::channel();
    let twice = async {
        signals.next().await;
        // The agent may be gone already.
        stop.send(()).ok();
        signals.next().await;
    };
    let agent = async {
        let stopped = async { drop(stopped.await) };
        let agent = Box::pin(Agent::start(config)).await?.with_firelens(firelens).with_problems(problems);
        agent.run(stopped).await
    };
    tokio::select! {
        ended = Box::pin(agent) => conclude(ended),
        () = twice => {
            tracing::warn!("a second signal: ending at once; what is not checkpointed is sent again at the next start");
            ExitCode::from(EXIT_FAILED)
        }
    }
}

/// An orderly stop is a success whether everything went out or not: what did not is still in the files.
fn conclude(ended: Result<Summary, Error>) -> ExitCode {
    match ended {
        Ok(Summary { events, delivered, dropped, unsettled, unread_bytes, drained }) => {
            tracing::info!(events, delivered, dropped, unsettled, unread_bytes, drained, "stopped");
            ExitCode::SUCCESS
        }
        Err(error) => {
            tracing::error!(%error, "kinetail cannot go on");
            ExitCode::from(EXIT_FAILED)
        }
    }
}
