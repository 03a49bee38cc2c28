//! `kinetail parse`: shows the events that the agent would make of lines, by the agent's own line. Sends nothing, keeps no state, and
//! is not the agent's reader: what is read here is read once.

mod follow;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Read, StdoutLock, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use tokio::time::Instant;

use super::{EXIT_FAILED, EXIT_USAGE, SettingFlags, complain};
use crate::agent::host_name;
use crate::clock;
use crate::config::{OnParseError, Problems, SourceConfig};
use crate::kinesis::aggregate::max_event;
use crate::kinesis::facts::DEFAULT_RECORD_LIMIT;
use crate::line::{Counts, LineBuilder, Lines};
use crate::source::file::Group;
use crate::source::file::generation::READ_BYTES;
use crate::source::file::identity::FileId;

/// The name of stdin, on the command line and in what is shown.
const STDIN: &str = "-";

/// Which lines are shown, and how they are read.
#[derive(Debug, Clone, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag by itself")]
pub(super) struct ParseArgs {
    #[command(flatten)]
    settings: SettingFlags,
    /// The files to read; none, or -, is stdin
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Read as this source says, in place of the one whose globs name the file, or else of the first
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Tell on stderr what was done to each line: which parser fits and why others do not, and what became of it
    #[arg(long)]
    explain: bool,
    /// Write the file's name and a tab before each event
    #[arg(long)]
    with_path: bool,
    /// Go on with what is appended, until interrupted
    ///
    /// Begins at the end of the files. A file that does not exist yet is waited for; its directory has to exist.
    ///
    /// This is a preview by the library linemux and not the agent's reader. When a file is rotated, lines may be missing, come twice or be
    /// torn, and the new file may not be shown at all; a line that is written in pieces may be torn too. Lines that are not UTF-8 are left
    /// out with a message, carriage returns at the end of lines are not seen, offsets are counted as if no file was ever rotated, and a
    /// line that is told of as +3 is the third since the start. If a directory is removed and made again, start it anew. `kinetail run` has
    /// none of these gaps.
    #[arg(long, requires = "files")]
    follow: bool,
    /// With --follow: begin at the beginning of the files
    #[arg(long, requires = "follow")]
    from_start: bool,
}

/// Why lines cannot be shown.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Settings(#[from] Problems),
    #[error("--source: there is no source \"{name}\"; the sources are {known}")]
    Source { name: String, known: String },
    #[error(
        "--follow: stdin cannot be followed, since it is read to its end anyway; leave out --follow, or name files"
    )]
    FollowStdin,
    #[error("{name}: cannot be followed: {reason}")]
    Follow { name: String, reason: String },
    #[error("files cannot be watched: {0}; of fs.inotify.max_user_instances and max_user_watches, one may be used up")]
    Watch(#[source] io::Error),
    #[error("{0} cannot be started: {1}")]
    Start(&'static str, #[source] io::Error),
    #[error("the thread that follows files has ended by itself")]
    Ended,
    #[error("stdout cannot be written: {0}")]
    Output(#[from] io::Error),
}

impl Error {
    fn code(&self) -> u8 {
        match self {
            Self::Settings(_) | Self::Source { .. } | Self::FollowStdin => EXIT_USAGE,
            Self::Follow { .. } | Self::Watch(_) | Self::Start(..) | Self::Ended | Self::Output(_) => EXIT_FAILED,
        }
    }
}

/// Shows the events of the files.
pub(super) fn parse(args: &ParseArgs, environment: BTreeMap<String, String>) -> ExitCode {
    match show(args, environment) {
        Ok(code) => code,
        // Whoever closed the pipe, such as `head`, has seen enough.
        Err(Error::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => complain(&error, error.code()),
    }
}

fn show(args: &ParseArgs, environment: BTreeMap<String, String>) -> Result<ExitCode, Error> {
    let sources = Sources::new(args.settings.load_sources(environment)?, args.source.as_deref())?;
    let mut output = Output::new(args.with_path, args.explain);
    let stdin = Path::new(STDIN);
    let code = if !args.follow {
        let files: Vec<&Path> = match &args.files[..] {
            [] => vec![stdin],
            files => files.iter().map(PathBuf::as_path).collect(),
        };
        read_all(&files, &sources, &mut output)?
    } else if args.files.iter().any(|file| file == stdin) {
        return Err(Error::FollowStdin);
    } else {
        follow::follow(&args.files, args.from_start, &sources, &mut output)?;
        ExitCode::SUCCESS
    };
    output.summary();
    Ok(code)
}

/// Reads one file after the other to its end. One that cannot be read does not keep the others from being shown.
fn read_all(files: &[&Path], sources: &Sources, output: &mut Output) -> Result<ExitCode, Error> {
    let mut code = ExitCode::SUCCESS;
    for path in files {
        let name = path.display().to_string();
        let opened: io::Result<(Preview, Box<dyn Read>)> = if *path == Path::new(STDIN) {
            Ok((sources.preview(path, None, Start::Beginning), Box::new(io::stdin().lock())))
        } else {
            open(path).map(|(file, id)| (sources.preview(path, Some(id), Start::Beginning), Box::new(file) as _))
        };
        let read = match opened {
            Ok((preview, input)) => read_one(preview, input, output)?,
            Err(error) => Err(error),
        };
        if let Err(error) = read {
            output.flush()?;
            code = complain(&format_args!("{name}: cannot be read: {error}"), EXIT_FAILED);
        }
    }
    Ok(code)
}

fn open(path: &Path) -> io::Result<(File, FileId)> {
    let file = File::open(path)?;
    let id = FileId::of(&file.metadata()?);
    Ok((file, id))
}

/// Reads one to its end. The outer result is that of the output, the inner one that of the input.
fn read_one(mut preview: Preview, mut input: impl Read, output: &mut Output) -> io::Result<io::Result<()>> {
    let mut chunk = vec![0; READ_BYTES];
    let read = loop {
        match input.read(&mut chunk) {
            Ok(0) => break Ok(()),
            Ok(n) => preview.feed(&chunk[..n], output)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => break Err(error),
        }
        // What came through a pipe is to be seen now, and not when the next 128 KiB are full.
        output.flush()?;
    };
    preview.finish(output)?;
    output.flush()?;
    Ok(read)
}

/// The sources as the agent would have them, and which of them a file belongs to.
#[derive(Debug)]
struct Sources {
    groups: Vec<Group>,
    /// The one that was asked for.
    only: Option<usize>,
}

impl Sources {
    fn new(mut configs: Vec<SourceConfig>, only: Option<&str>) -> Result<Self, Error> {
        let named = |name: &str| {
            let known = || configs.iter().map(|config| config.name.as_str()).collect::<Vec<_>>().join(", ");
            let found = configs.iter().position(|config| config.name == name);
            found.ok_or_else(|| Error::Source { name: name.to_owned(), known: known() })
        };
        let only = only.map(named).transpose()?;
        for config in &mut configs {
            // A dropped line is shown too, and only dead letters are handed out.
            if config.on_parse_error == OnParseError::Drop {
                config.on_parse_error = OnParseError::DeadLetter;
            }
        }
        let host = host_name();
        Ok(Self { groups: configs.iter().map(|config| Group::new(config, &host)).collect(), only })
    }

    /// The source of a file; globs are of absolute paths.
    fn of(&self, path: &Path) -> &Group {
        let names = |group: &&Group| group.names(path);
        let found = match self.only {
            Some(index) => self.groups.get(index),
            None => self.groups.iter().find(names).or_else(|| self.groups.first()),
        };
        found.expect("the configuration has a source at least, if only one of defaults")
    }

    /// The preview of a file, which is known by its path and, if it is there, by its place in the file system.
    fn preview(&self, path: &Path, id: Option<FileId>, start: Start) -> Preview {
        let name = path.display().to_string();
        // Stdin is not a file of that name.
        let whole = if name == STDIN { path.to_owned() } else { std::path::absolute(path).unwrap_or(path.to_owned()) };
        let group = self.of(&whole);
        let tag = id.map_or_else(|| name.clone(), |id| format!("{:x}-{:x}", id.dev, id.ino));
        let offset = match start {
            Start::Beginning => 0,
            Start::At(offset) => offset,
        };
        // The agent has a number for each file, which it keeps in its checkpoint.
        let added = group.added_with_id(group.added(&whole.to_string_lossy()), id.map_or(0, |id| id.ino));
        Preview {
            line: LineBuilder::new(Arc::clone(&group.line), added, tag, offset, 0),
            name,
            parser: Arc::clone(group.parser()),
            start,
            lines: Lines::default(),
            rest: Vec::new(),
            offset,
            ended: 0,
        }
    }
}

/// Where a preview begins in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// At its first byte.
    Beginning,
    /// Later, so that the numbers of lines are not known.
    At(u64),
}

/// The line of one file, and the bytes that are no whole line yet. All that this command has to do with [`LineBuilder`] is here.
#[derive(Debug)]
struct Preview {
    line: LineBuilder,
    /// The file, as the command line has it.
    name: String,
    parser: Arc<str>,
    start: Start,
    lines: Lines,
    rest: Vec<u8>,
    /// Where the first of these bytes lies in the file.
    offset: u64,
    /// Newlines that were seen.
    ended: u64,
}

impl Preview {
    /// Shows what becomes of the file's next bytes.
    fn feed(&mut self, bytes: &[u8], output: &mut Output) -> io::Result<()> {
        // Line by line, so that a refused one can be told by its number.
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.lines.trail = output.explain.then(Vec::new);
            self.lines.shaping.read_at = clock::unix_nanos();
            self.rest.extend_from_slice(piece);
            // What is too much for one batch goes on with another; here each is shown at once.
            loop {
                let limit = max_event(DEFAULT_RECORD_LIMIT);
                let used = self.line.advance(&self.rest, self.offset, limit, Instant::now(), &mut self.lines);
                let capped = std::mem::take(&mut self.lines.capped);
                self.emit(used, output)?;
                if !capped {
                    break;
                }
            }
            self.ended += u64::from(piece.ends_with(b"\n"));
        }
        Ok(())
    }

    /// When the line has held something back for long enough.
    fn due(&self) -> Option<Instant> {
        self.line.due()
    }

    /// Shows what the line has held back for long enough.
    fn expire(&mut self, now: Instant, output: &mut Output) -> io::Result<()> {
        self.line.expire(now, max_event(DEFAULT_RECORD_LIMIT), &mut self.lines);
        self.emit(0, output)
    }

    /// Shows what is left: a last line without a newline.
    fn finish(&mut self, output: &mut Output) -> io::Result<()> {
        self.line.flush(&self.rest, self.offset, max_event(DEFAULT_RECORD_LIMIT), &mut self.lines);
        self.emit(self.rest.len(), output)
    }

    /// Writes what the line has made of the first bytes of the rest, and lets go of them.
    fn emit(&mut self, used: usize, output: &mut Output) -> io::Result<()> {
        let sign = if self.start == Start::Beginning { "" } else { "+" };
        let place = format!("{}:{sign}{}", self.name, self.ended + 1);
        for step in self.lines.trail.iter_mut().flat_map(|trail| trail.drain(..)) {
            output.say(&format!("{place}: {step}"), b"")?;
        }
        for event in self.lines.events.drain(..) {
            let from = if event.rendered { &self.lines.rendered } else { &self.rest };
            output.event(&self.name, &from[event.start as usize..event.end as usize])?;
        }
        for rejected in self.lines.rejected.drain(..) {
            output.refused(&format!("{place}: refused by the parser {}: ", self.parser), &rejected.line)?;
        }
        output.totals.add(&std::mem::take(&mut self.lines.counts));
        self.lines.rendered.clear();
        self.lines.more.clear();
        self.lines.unused.clear();
        self.rest.drain(..used);
        self.offset += used as u64;
        Ok(())
    }
}

/// What was seen and shown, in all files.
#[derive(Debug, Default)]
struct Totals {
    lines: u64,
    events: u64,
    parse_errors: u64,
    dropped: u64,
    in_parts: u64,
    cut_short: u64,
    invalid_utf8: u64,
}

impl Totals {
    fn add(&mut self, counts: &Counts) {
        self.lines += counts.lines;
        self.parse_errors += counts.parse_errors;
        let transformed: u64 = counts.shaped.dropped.iter().sum();
        self.dropped += counts.dropped_parse + counts.dropped_blank + transformed;
        self.in_parts += counts.split;
        self.cut_short += counts.truncated;
        self.invalid_utf8 += counts.invalid_utf8;
    }
}

/// Stdout for events, stderr for everything else.
#[derive(Debug)]
struct Output {
    stdout: BufWriter<StdoutLock<'static>>,
    with_path: bool,
    explain: bool,
    totals: Totals,
}

impl Output {
    fn new(with_path: bool, explain: bool) -> Self {
        Self { stdout: BufWriter::new(io::stdout().lock()), with_path, explain, totals: Totals::default() }
    }

    fn event(&mut self, name: &str, event: &[u8]) -> io::Result<()> {
        self.totals.events += 1;
        if self.with_path {
            write!(self.stdout, "{name}\t")?;
        }
        self.stdout.write_all(event)?;
        self.stdout.write_all(b"\n")
    }

    /// A line that no event is made of.
    fn refused(&mut self, why: &str, line: &[u8]) -> io::Result<()> {
        self.totals.dropped += 1;
        self.say(why, line)
    }

    /// Tells something, after what was shown so far. That stderr cannot be written is no reason to stop.
    fn say(&mut self, text: &str, line: &[u8]) -> io::Result<()> {
        self.flush()?;
        let whole = [text.as_bytes(), line, b"\n"].concat();
        io::stderr().lock().write_all(&whole).ok();
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stdout.flush()
    }

    fn summary(&self) {
        let Totals { lines, events, parse_errors, dropped, in_parts, .. } = self.totals;
        let mut text = format!(
            "lines: {lines}, events: {events}, parse errors: {parse_errors}, dropped: {dropped}, in parts: {in_parts}"
        );
        for (name, number) in [("cut short", self.totals.cut_short), ("not UTF-8", self.totals.invalid_utf8)] {
            if number > 0 {
                text = format!("{text}, {name}: {number}");
            }
        }
        // Without stderr there is nobody to tell.
        writeln!(io::stderr().lock(), "{text}").ok();
    }
}
