//! The `kinetail` binary: from the command line to an exit code. Everything else is in the library.

use std::process::ExitCode;

use clap::Parser;
use kinetail::cli;

fn main() -> ExitCode {
    match cli::Cli::try_parse() {
        Ok(cli) => cli::main(&cli, cli::environment()),
        Err(error) => cli::usage(&error),
    }
}
