//! The `kinetail` binary: from the command line to an exit code. Everything else is in the library.

use std::process::ExitCode;

use clap::Parser;
use kinetail::cli;
use kinetail::source::exec::shim;

fn main() -> ExitCode {
    // What starts a wrapped command is this program once more.
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == shim::NAME) {
        return ExitCode::from(shim::become_command(&arguments.collect::<Vec<_>>()));
    }
    match cli::Cli::try_parse() {
        Ok(cli) => cli::main(&cli, cli::environment()),
        Err(error) => cli::usage(&error),
    }
}
