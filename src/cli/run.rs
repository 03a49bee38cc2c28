//! `kinetail run`: the agent, from its configuration to its exit code. What the agent does is not here.

use std::collections::BTreeMap;
use std::process::ExitCode;

use tokio::sync::oneshot;

use super::{EXIT_FAILED, EXIT_USAGE, SettingFlags, complain, drop_in, runtime};
use crate::agent::{Agent, Error, Summary};
use crate::config::Config;
use crate::enrich::ecs;
use crate::firelens;
use crate::gone::{Await, Awaited};
use crate::log::recent::Problems;
use crate::reload::Reloader;
use crate::signal::Signals;

/// Tail the files and send what they say, until SIGTERM.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    settings: SettingFlags,
    /// Send what there is and end when this is gone: a process (its id, with a shared process namespace), the service whose last act makes a file
    /// (file:/path), or the other containers of the pod or task (container; on ECS also container:NAME)
    #[arg(long, value_name = "WHAT")]
    exit_when_gone: Option<Awaited>,
}

/// What the agent is started with beside its configuration.
struct Beside {
    firelens: Option<firelens::Dispatch>,
    problems: Problems,
    reloader: Reloader,
    awaited: Option<Await>,
}

/// Loads the configuration, starts the log and runs the agent to its end.
pub(super) fn run(args: &RunArgs, environment: BTreeMap<String, String>) -> ExitCode {
    let RunArgs { settings, exit_when_gone } = args.clone();
    let metadata = environment.get(ecs::VARIABLE).cloned();
    let awaited = match exit_when_gone.map(|awaited| awaited.here(metadata.as_deref())).transpose() {
        Ok(awaited) => awaited,
        Err(error) => return complain(&format_args!("--exit-when-gone {error}"), EXIT_USAGE),
    };
    let load = {
        let (settings, environment) = (settings.clone(), environment.clone());
        move || match drop_in::load(&settings, environment.clone()) {
            Ok((config, _)) => Ok(config),
            Err(refused) => Err(refused.to_string()),
        }
    };
    let reloader = Reloader::new(settings.config.clone(), load);
    let (config, drop_in) = match drop_in::load(&settings, environment) {
        Ok(loaded) => loaded,
        Err(refused) => return complain(&refused, EXIT_USAGE),
    };
    let problems = crate::log::init(&config.log);
    drop_in.announce(&config);
    announce(&config);
    let beside = Beside { firelens: drop_in.dispatch(), problems, reloader, awaited };
    match runtime() {
        Ok(runtime) => runtime.block_on(serve(config, beside)),
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

async fn serve(config: Config, beside: Beside) -> ExitCode {
    let Beside { firelens, problems, reloader, awaited } = beside;
    let caught = Signals::catch().and_then(|signals| Ok((signals, reloader.on_hangup()?)));
    let (mut signals, reloader) = match caught {
        Ok(caught) => caught,
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
        let stopped = async {
            tokio::select! {
                _ = stopped => {}
                () = gone(awaited) => {}
            }
        };
        let agent = Box::pin(Agent::start(config)).await?.with_firelens(firelens).with_problems(problems);
        agent.with_reloader(reloader).run(stopped).await
    };
    tokio::select! {
        ended = Box::pin(agent) => conclude(ended),
        () = twice => {
            tracing::warn!("a second signal: ending at once; what is not checkpointed is sent again at the next start");
            ExitCode::from(EXIT_FAILED)
        }
    }
}

async fn gone(awaited: Option<Await>) {
    match awaited {
        Some(awaited) => awaited.gone().await,
        None => std::future::pending().await,
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
