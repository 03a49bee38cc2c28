//! `kinetail schema`: prints the JSON Schema of the configuration file, for editors and for checks of charts.

use std::process::ExitCode;

use super::answer;

/// Prints the schema.
pub(super) fn schema() -> ExitCode {
    answer(&format_args!("{:#}", crate::config::schema()))
}
