//! `kinetail parse --follow`: what is appended to files, by linemux. For people who look on, and for nothing else: linemux loses and tears
//! lines under rotation, and gives no offsets (ARCHITECTURE.md has the measurements). The agent's reader is in `source/file/`.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;

use linemux::{Line, MuxedLines};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Error, Output, Preview, Sources, Start};
use crate::cli::runtime;
use crate::signal::Signals;
use crate::source::file::identity::FileId;

/// Lines between the thread that follows and the one that shows: enough for one write to stdout to show many.
const QUEUE_LINES: usize = 256;

/// Shows what is appended to the files, until a signal.
pub(super) fn follow(files: &[PathBuf], from_start: bool, sources: &Sources, output: &mut Output) -> Result<(), Error> {
    let runtime = runtime().map_err(|error| Error::Start("the runtime", error))?;
    runtime.block_on(async {
        let mut signals = Signals::catch().map_err(|error| Error::Start("the catching of signals", error))?;
        let mut lines = MuxedLines::new().map_err(Error::Watch)?;
        let mut previews = BTreeMap::new();
        for file in files {
            let (path, preview) = add(&mut lines, file, from_start, sources, output).await?;
            // A file that is named twice is shown once.
            previews.entry(path).or_insert(preview);
        }
        let mut lines = on_a_thread(lines)?;
        show(&mut previews, &mut lines, &mut signals, output).await
    })
}

/// Has one more file followed. Answers the path that its lines will come under.
async fn add(
    lines: &mut MuxedLines,
    file: &Path,
    from_start: bool,
    sources: &Sources,
    output: &mut Output,
) -> Result<(PathBuf, Preview), Error> {
    let name = file.display();
    let refuse = |reason: String| Error::Follow { name: name.to_string(), reason };
    let metadata = match std::fs::metadata(file) {
        Ok(metadata) if metadata.is_file() => Some(metadata),
        Ok(_) => return Err(refuse("it is not a regular file; without --follow it is read as it is".to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(refuse(error.to_string())),
    };
    let directory = file.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    if !directory.is_dir() {
        return Err(refuse(format!("there is no directory {}; make it first", directory.display())));
    }
    let added = if from_start { lines.add_file_from_start(file).await } else { lines.add_file(file).await };
    let path = added.map_err(|error| refuse(error.to_string()))?;
    if metadata.is_none() {
        output.say(&format!("{name}: does not exist yet; waiting for it"), b"")?;
    }
    let start = match &metadata {
        Some(metadata) if !from_start => Start::At(metadata.len()),
        Some(_) | None => Start::Beginning,
    };
    Ok((path, sources.preview(file, metadata.as_ref().map(FileId::of), start)))
}

/// linemux can get into a loop that never yields, in which no signal would be seen: so it has a thread for itself, which ends with the
/// process.
fn on_a_thread(mut lines: MuxedLines) -> Result<mpsc::Receiver<io::Result<Line>>, Error> {
    let (sender, receiver) = mpsc::channel(QUEUE_LINES);
    let start = |error| Error::Start("the thread that follows files", error);
    let runtime = runtime().map_err(start)?;
    let forward = async move {
        while let Some(next) = lines.next_line().await.transpose() {
            if sender.send(next).await.is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new().name("follow".to_owned()).spawn(move || runtime.block_on(forward)).map_err(start)?;
    Ok(receiver)
}

async fn show(
    previews: &mut BTreeMap<PathBuf, Preview>,
    lines: &mut mpsc::Receiver<io::Result<Line>>,
    signals: &mut Signals,
    output: &mut Output,
) -> Result<(), Error> {
    let mut come = Vec::with_capacity(QUEUE_LINES);
    let mut stopped = pin!(signals.next());
    loop {
        let due = previews.values().filter_map(Preview::due).min();
        tokio::select! {
            biased;
            () = &mut stopped => break,
            () = at(due) => {
                let now = Instant::now();
                for preview in previews.values_mut().filter(|preview| preview.due().is_some_and(|due| due <= now)) {
                    preview.expire(now, output)?;
                }
            }
            number = lines.recv_many(&mut come, QUEUE_LINES) => {
                if number == 0 {
                    return Err(Error::Ended);
                }
                for line in come.drain(..) {
                    take(previews, line, output)?;
                }
            }
        }
        output.flush()?;
    }
    for preview in previews.values_mut() {
        preview.finish(output)?;
    }
    output.flush()?;
    Ok(())
}

/// Completes at this time, if there is one.
async fn at(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

fn take(previews: &mut BTreeMap<PathBuf, Preview>, line: io::Result<Line>, output: &mut Output) -> io::Result<()> {
    match line {
        Ok(line) => {
            let Some(preview) = previews.get_mut(line.source()) else { return Ok(()) };
            // The newline is gone, and with it whether there was one.
            preview.feed(&[line.line().as_bytes(), b"\n"].concat(), output)
        }
        Err(error) => output.say(&format!("a line is left out: {error}"), b""),
    }
}
