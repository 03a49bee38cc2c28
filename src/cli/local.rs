//! `kinetail local`: runs the embedded stream until it is told to stop.

use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::{EXIT_FAILED, EXIT_USAGE, complain, runtime};
use crate::config::{LogConfig, LogFormat, LogLevel};
use crate::local::{DEFAULT_MAX_MEMORY, Error, LocalOptions, LocalStream};

/// Serve the Kinesis Data Streams API on this machine, in memory, for development and tests.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct LocalArgs {
    /// Where to listen; port 0 takes any that is free.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4567")]
    pub listen: SocketAddr,
    /// Create this stream at the start; may be given several times.
    #[arg(long = "stream", value_name = "NAME[:SHARDS]")]
    pub streams: Vec<String>,
    /// Memory for records, in bytes; the oldest go when they need more.
    #[arg(long, value_name = "BYTES", default_value_t = DEFAULT_MAX_MEMORY)]
    pub max_memory: usize,
    /// How long a new stream stays CREATING, in milliseconds.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub create_ms: u64,
    /// Let shards take any number of bytes and records a second.
    #[arg(long)]
    pub no_limits: bool,
    /// Let shards be read five times a second only, as the service does.
    #[arg(long)]
    pub limit_reads: bool,
    /// Listen on an address that other machines can reach; signatures aren't checked.
    #[arg(long)]
    pub allow_remote: bool,
}

impl LocalArgs {
    fn options(&self) -> Result<LocalOptions, Error> {
        let streams = self.streams.iter().map(|text| parse_stream(text)).collect::<Result<_, _>>()?;
        Ok(LocalOptions {
            listen: self.listen,
            allow_remote: self.allow_remote,
            streams,
            max_memory: self.max_memory,
            create_delay: Duration::from_millis(self.create_ms),
            limits: !self.no_limits,
            limit_reads: self.limit_reads,
        })
    }
}

/// Reads `NAME` or `NAME:SHARDS`.
fn parse_stream(text: &str) -> Result<(String, u32), Error> {
    match text.split_once(':') {
        None => Ok((text.to_owned(), 1)),
        Some((name, shards)) => match shards.parse() {
            Ok(shards) => Ok((name.to_owned(), shards)),
            Err(_) => Err(Error::StreamText(text.to_owned())),
        },
    }
}

/// Serves, and says by the exit code how that ended.
pub(super) fn local(args: &LocalArgs) -> ExitCode {
    crate::log::init(&LogConfig { level: LogLevel::Info, format: LogFormat::Text });
    let served = match runtime() {
        Ok(runtime) => runtime.block_on(run(args.clone())),
        Err(error) => return complain(&format_args!("the runtime cannot be started: {error}"), EXIT_FAILED),
    };
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&error, code(&error)),
    }
}

/// What the command line asked for and cannot be is its mistake; the rest is the machine's.
fn code(error: &Error) -> u8 {
    match error {
        Error::NotLoopback(_) | Error::Stream { .. } | Error::StreamText(_) => EXIT_USAGE,
        _ => EXIT_FAILED,
    }
}

/// Serves until SIGTERM or SIGINT. Prints one line of JSON with the endpoint as soon as clients may connect.
pub(super) async fn run(args: LocalArgs) -> Result<(), Error> {
    // Before the endpoint is known to anyone, so that a signal from then on is seen.
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signal)?;
    let local = LocalStream::bind(args.options()?).await?;
    announce(&local.endpoint()).map_err(Error::Output)?;
    local
        .run(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        })
        .await
}

fn announce(endpoint: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{}", json!({ "endpoint": endpoint }))?;
    stdout.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_read_with_and_without_shards() {
        assert_eq!(parse_stream("orders").unwrap(), ("orders".to_owned(), 1));
        assert_eq!(parse_stream("orders:12").unwrap(), ("orders".to_owned(), 12));
        for text in ["orders:", "orders:x", "orders:-1", "orders:1:2"] {
            assert!(matches!(parse_stream(text), Err(Error::StreamText(_))), "{text}");
        }
    }
}
