//! A throw-away entry point: runs the embedded stream.

use clap::Parser;
use kinetail::cli::local::{LocalArgs, run};

#[derive(Debug, Parser)]
enum Cli {
    Local(LocalArgs),
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Cli::Local(args) = Cli::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(run(args))?)
}
