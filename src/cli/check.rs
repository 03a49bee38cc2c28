//! `kinetail check`: tells what is wrong with the configuration, or what is in effect. Opens no file but the document.

use std::collections::BTreeMap;
use std::process::ExitCode;

use super::{EXIT_USAGE, SettingFlags, answer, complain};

/// Checks the configuration.
pub(super) fn check(flags: &SettingFlags, environment: BTreeMap<String, String>) -> ExitCode {
    match flags.load(environment) {
        Ok(config) => answer(&config.effective()),
        Err(problems) => complain(&problems, EXIT_USAGE),
    }
}
