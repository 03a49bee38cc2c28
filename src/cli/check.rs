//! `kinetail check`: tells what is wrong with the configuration, or what is in effect. Opens no file but the document, and in a router's container of
//! `FireLens` what was generated there.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::process::ExitCode;

use super::{EXIT_USAGE, SettingFlags, answer, complain, drop_in};

/// Checks the configuration.
pub(super) fn check(flags: &SettingFlags, environment: BTreeMap<String, String>) -> ExitCode {
    match drop_in::load(flags, environment) {
        Ok((config, drop_in)) => {
            for note in drop_in.notes() {
                // Without stderr, what is in effect is still worth to be shown.
                writeln!(io::stderr().lock(), "{note}").ok();
            }
            answer(&config.effective())
        }
        Err(refused) => complain(&refused, EXIT_USAGE),
    }
}
