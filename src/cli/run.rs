//! `kinetail run`: the agent, from its configuration to its exit code. What the agent does is not here.

use std::collections::BTreeMap;
use std::process::ExitCode;

use super::{EXIT_FAILED, EXIT_USAGE, SettingFlags, complain, runtime};
use crate::config::Config;

/// Loads the configuration, starts the log and runs the agent to its end.
pub(super) fn run(flags: &SettingFlags, environment: BTreeMap<String, String>) -> ExitCode {
    let config = match flags.load(environment) {
        Ok(config) => config,
        Err(problems) => return complain(&problems, EXIT_USAGE),
    };
    crate::log::init(&config.log);
    announce(&config);
    match runtime() {
        Ok(runtime) => runtime.block_on(std::future::ready(ExitCode::SUCCESS)),
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
