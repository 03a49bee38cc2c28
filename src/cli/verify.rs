//! `kinetail verify`: whether a stream has all that was sent, from the flags to the exit code. How that is found is not here.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::process::ExitCode;
use std::time::Duration;

use memchr::memchr;
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::consume::{ReadArgs, Reading, read, stoppable};
use super::{EXIT_FAILED, EXIT_USAGE, answer, complain, runtime};
use crate::config::{LogConfig, LogFormat, LogLevel};
use crate::consume::start::{Begin, End};
use crate::consume::{Ended, Reader, Summary};
use crate::kinesis::client::Aws;
use crate::log;
use crate::verify::Check;
use crate::verify::report::Outcome;

/// Bytes of stdin that are read at once.
const CHUNK_BYTES: usize = 256 * 1024;
/// The longest line of stdin: several times the largest event.
const MAX_LINE_BYTES: usize = 128 << 20;
/// After a signal, for what is still on its way through a pipe whose writer got the signal too.
const AFTER_SIGNAL: Duration = Duration::from_secs(5);
const STOPPED: &str = "a signal ended it";

/// Whether events are missing.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    read: ReadArgs,
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
    /// - reads the lines of kinetail consume from stdin, in place of a stream
    #[arg(value_name = "-", value_parser = ["-"])]
    stdin: Option<String>,
}

/// Checks, and says by the exit code whether something is missing.
pub(super) fn verify(args: &VerifyArgs, environment: BTreeMap<String, String>) -> ExitCode {
    log::init(&LogConfig { level: LogLevel::Warn, format: LogFormat::Text });
    // A check that follows for ever would never say anything.
    let end = if args.read.has_idle() { End::Never } else { End::CaughtUp };
    let reading = match (&args.stdin, args.read.resolve(environment, end)) {
        (Some(_), _) => None,
        (None, Ok(reading)) => Some(reading),
        (None, Err(problem)) => return complain(&problem, EXIT_USAGE),
    };
    match runtime() {
        Ok(runtime) => {
            let code = runtime.block_on(stoppable(async |stop| check(args, reading, stop).await));
            // A thread may wait for stdin.
            runtime.shutdown_background();
            code
        }
        Err(error) => complain(&format_args!("the runtime cannot be started: {error}"), EXIT_FAILED),
    }
}

async fn check(args: &VerifyArgs, reading: Option<Reading>, stop: oneshot::Receiver<()>) -> ExitCode {
    let mut check = Check::default();
    let read = match reading {
        Some(reading) => from_stream(&mut check, reading, stop).await,
        None => from_stdin(&mut check, stop).await.map_err(|error| format!("stdin: {error}")),
    };
    let (notes, failed) = match read {
        Ok(notes) => (notes, None),
        Err(problem) => (Vec::new(), Some(problem)),
    };
    let report = check.report(notes);
    let complete = report.outcome == Outcome::Complete;
    let said = match (args.json, serde_json::to_string_pretty(&report)) {
        (true, Ok(text)) => answer(&text),
        _ => answer(&report),
    };
    match failed {
        Some(problem) => complain(&format_args!("not everything was read: {problem}"), EXIT_FAILED),
        None if complete => said,
        None => ExitCode::from(EXIT_FAILED),
    }
}

/// Checks a stream. Answers what has to be known beside the outcome.
async fn from_stream(
    check: &mut Check,
    Reading { plan, kinesis }: Reading,
    stop: oneshot::Receiver<()>,
) -> Result<Vec<String>, String> {
    let begin = plan.begin;
    let whole = plan.shards.is_empty();
    let client = Aws::new(&kinesis).await.map_err(|error| error.to_string())?;
    let mut reader = Reader::open(client, plan, None).await.map_err(|error| error.to_string())?;
    match read(&mut reader, check, None, stop).await {
        Ok(Ended::Done) => Ok(notes(begin, whole, reader.summary())),
        Ok(Ended::Stopped) => Err(STOPPED.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn notes(begin: Begin, whole: bool, summary: &Summary) -> Vec<String> {
    let mut notes = Vec::new();
    if begin != Begin::Horizon {
        let note = "reading began in the middle of the stream: a gap near the beginning of a file can be events that came before";
        notes.push(note.to_owned());
    }
    if !whole {
        notes.push("not all shards were read: gaps can be events in the others".to_owned());
    }
    if summary.discarded > 0 {
        let Summary { discarded, discarded_events, .. } = summary;
        notes.push(format!(
            "a consumer with KCL would throw away {discarded} records with {discarded_events} events or more; they count as missing"
        ));
    }
    if summary.damaged > 0 {
        notes.push(format!("{} compressed parts cannot be decompressed; they count as missing", summary.damaged));
    }
    notes
}

/// Checks lines. At a signal it takes what still comes, and not for ever.
async fn from_stdin(check: &mut Check, stop: oneshot::Receiver<()>) -> io::Result<Vec<String>> {
    // A descriptor of our own, without std's lock and buffer.
    let mut stdin = std::fs::File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut lines = Lines::default();
    let late = async {
        if stop.await.is_err() {
            std::future::pending::<()>().await;
        }
        sleep(AFTER_SIGNAL).await;
    };
    let mut late = std::pin::pin!(late);
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let reading = tokio::task::spawn_blocking(move || {
            let read = stdin.read(&mut chunk);
            (stdin, chunk, read)
        });
        let read = tokio::select! {
            read = reading => read.map_err(io::Error::other)?,
            () = &mut late => return Err(io::Error::other(STOPPED)),
        };
        let length;
        (stdin, chunk, length) = (read.0, read.1, read.2);
        match length {
            Ok(0) => break,
            Ok(length) => lines.take(chunk.get(..length).unwrap_or_default(), check)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    lines.end(check);
    Ok(Vec::new())
}

/// Lines out of chunks.
#[derive(Debug, Default)]
struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    fn take(&mut self, mut chunk: &[u8], check: &mut Check) -> io::Result<()> {
        while let Some((line, rest)) = memchr(b'\n', chunk).and_then(|end| chunk.split_at_checked(end)) {
            self.begun.extend_from_slice(line);
            self.end(check);
            chunk = rest.get(1..).unwrap_or_default();
        }
        self.begun.extend_from_slice(chunk);
        if self.begun.len() > MAX_LINE_BYTES {
            return Err(io::Error::other(format!("a line has over {MAX_LINE_BYTES} bytes, which no event has")));
        }
        Ok(())
    }

    fn end(&mut self, check: &mut Check) {
        if !self.begun.trim_ascii().is_empty() {
            check.line(&self.begun);
        }
        self.begun.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_wherever_chunks_end() {
        let text = b"{\"_id\":\"t-0-1\"}\n\n{\"_id\":\"t-1-2\"}\n{\"_id\":\"t-2-3\"}";
        for size in 1..text.len() {
            let (mut lines, mut check) = (Lines::default(), Check::default());
            for chunk in text.chunks(size) {
                lines.take(chunk, &mut check).unwrap();
            }
            lines.end(&mut check);
            let report = check.report(Vec::new());
            assert_eq!((report.events, report.outcome), (3, Outcome::Complete), "{size}");
        }
    }
}
