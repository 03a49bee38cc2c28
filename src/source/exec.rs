//! A wrapped command as a feeder: `kinetail exec -- CMD ARGS…`. The command's stdout and stderr are pipes of ours, apart from each other; all else is as
//! if it had been started in our place: arguments, environment, directory, umask, stdin, limits, descriptors that we inherited (none of our own),
//! and signals, with SIGPIPE as it is by default and no signal blocked. There is no terminal at its output, so that
//! many programs write there in blocks; they have options or variables against that (`PYTHONUNBUFFERED=1`, `stdbuf -oL`, `grep --line-buffered`).
//!
//! **Its end.** Its exit code becomes ours, 128 + n if signal n killed it. What it wrote is read to the end of both pipes. Processes that it has left
//! behind may hold them open: they are listened to for a grace time after its exit, then for what is in the pipes by then, and what they write
//! later fails, as it does for a container's when its first process ends.
//!
//! **Signals** that services understand ([`forward`]) are sent on to it, and to nothing else of its. It leads a process group of its own, so that one that
//! signals its whole group (`kill 0`) does not hit us. Only if stdin is a terminal it stays in our group, or else it could not
//! read; what the terminal sends to the group then (Ctrl-C) is not sent again, nor are these signals if they come from elsewhere.
//!
//! **As PID 1**, or as a subreaper, this process is also the parent of all orphans around it: they are reaped. So no other
//! part of this process may start processes and wait for them itself.
//!
//! **If this process is killed**, the pipes have no reader any more: the command's next write gets SIGPIPE, or EPIPE if it ignores that. What happens
//! before is for [`Orphan`] to say: by default it is sent SIGTERM at once. As PID 1 of a container the question does not
//! arise: the kernel kills everything in it.
//!
//! **Passing through** is for `kubectl logs` and the like: the bytes also go to our own stdout and stderr, after they are kept, unchanged. A slow reader there
//! slows the command down, as it would without us; one that is gone does not matter.

pub mod forward;
pub mod lookup;
pub mod shim;

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, wait, waitpid};
use tokio::signal::unix::{SignalKind, signal};

use self::forward::Forward;
use self::lookup::Missing;
use super::pipe::tee::Tee;
use super::pipe::{Ended, Pipe, Running};
use crate::container::Stream;
use crate::spool::Feed;

/// The exit code for a command that does not exist: that of shells, and of container runtimes.
pub const NOT_FOUND: u8 = 127;

/// The exit code for a command that cannot be run: theirs, too.
pub const NOT_EXECUTABLE: u8 = 126;

/// The exit code if it is not the command that failed: that of `docker run`, `env` and `nohup`.
pub const OWN_FAILURE: u8 = 125;

/// What is added to the number of the signal that killed a command.
const BY_SIGNAL: i32 = 128;

/// The grace time unless another is asked for: for last words of processes that end because the command did.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(2);

/// What becomes of the command when this process is killed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Orphan {
    /// It is sent SIGTERM by the kernel, so that whoever starts both again does not get a second one beside the first, whose log nobody reads.
    /// `through` starts the program that asks for that, in general [`shim::this_program`]. The kernel means the *thread* that called
    /// [`Child::spawn`]: it has to live as long as the process.
    Die {
        /// What starts the shim, before its own arguments.
        through: Vec<OsString>,
    },
    /// It goes on, without a log: every write to stdout or stderr fails.
    Keep,
}

/// How a command is wrapped.
#[derive(Debug, Clone)]
pub struct ExecOptions {
    /// Passes on what it writes.
    pub tee: bool,
    /// How long processes that it leaves behind are listened to.
    pub grace: Duration,
    /// What becomes of it without us.
    pub orphan: Orphan,
}

impl Default for ExecOptions {
    fn default() -> Self {
        Self { tee: true, grace: DEFAULT_GRACE, orphan: Orphan::Die { through: shim::this_program() } }
    }
}

/// Why a command does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is none.
    #[error("no command: say which after `--`")]
    NoCommand,
    /// It is not there.
    #[error(
        "{command} was not found: name it by its path, or check PATH ({path}); of a script, also the interpreter in its first line has to exist"
    )]
    NotFound {
        /// The command.
        command: String,
        /// Where it was looked for.
        path: String,
    },
    /// It is no program.
    #[error(
        "{command} cannot be run: {reason}; it has to be a file with the permission to be executed, made for this machine"
    )]
    NotExecutable {
        /// The command.
        command: String,
        /// What the system says.
        reason: io::Error,
    },
    /// There are not enough processes, threads or descriptors.
    #[error("cannot start {command}: {source}")]
    Start {
        /// The command.
        command: String,
        /// Why.
        source: io::Error,
    },
}

impl Error {
    /// The exit code that tells this.
    pub fn code(&self) -> u8 {
        match self {
            Self::NotFound { .. } => NOT_FOUND,
            Self::NotExecutable { .. } => NOT_EXECUTABLE,
            Self::NoCommand | Self::Start { .. } => OWN_FAILURE,
        }
    }
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// The exit code for this process: the command's own, or 128 + the signal that killed it.
    pub code: u8,
    /// That signal.
    pub signal: Option<i32>,
}

/// How a command ended, and what became of its output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finished {
    /// How it ended.
    pub exit: Exit,
    /// What it wrote to stdout.
    pub stdout: Ended,
    /// What it wrote to stderr.
    pub stderr: Ended,
}

/// A running command. If this is dropped, the command goes on, and nobody reads what it writes.
#[derive(Debug)]
pub struct Child {
    process: Process,
    stdout: Running,
    stderr: Running,
    forward: Forward,
    grace: Duration,
}

impl Child {
    /// Starts a command. To be called in the runtime, by a thread that lives as long as this process does (see [`Orphan::Die`]). Signals are
    /// forwarded from here on: those that come before [`Child::wait`] is polled are when it is.
    pub fn spawn(command: &[OsString], feed: Feed, options: &ExecOptions) -> Result<Self, Error> {
        let Some(program) = command.first() else { return Err(Error::NoCommand) };
        let start = |source| Error::Start { command: program.display().to_string(), source };
        let terminal = rustix::termios::isatty(std::io::stdin());
        let tees = if options.tee {
            (Some(Tee::stdout().map_err(start)?), Some(Tee::stderr().map_err(start)?))
        } else {
            (None, None)
        };
        // Before there is a child, so that no signal for it and no news of it is missed.
        let forward = Forward::catch(terminal).map_err(start)?;
        let changes = signal(SignalKind::child()).map_err(start)?;
        let (pid, outputs) = run(command, &options.orphan, terminal)?;
        let (out, err) = (Stream::Stdout, Stream::Stderr);
        // If a thread cannot be had, the pipes close, and the command notices.
        let stdout = Pipe { input: outputs.0, stream: out, tee: tees.0, feed: feed.clone() };
        let stdout = stdout.start(out.name()).map_err(start)?;
        let stderr = Pipe { input: outputs.1, stream: err, tee: tees.1, feed };
        let stderr = stderr.start(err.name()).map_err(start)?;
        let process = Process { pid, changes, adopts: adopts(), exit: None };
        Ok(Self { process, stdout, stderr, forward, grace: options.grace })
    }

    /// Its process.
    pub fn id(&self) -> i32 {
        self.process.pid.as_raw_nonzero().get()
    }

    /// Sends it a signal; nothing happens if it has ended.
    pub fn signal(&self, number: i32) -> io::Result<()> {
        let signal = Signal::from_named_raw(number).ok_or(io::ErrorKind::InvalidInput)?;
        self.process.send(signal)
    }

    /// Waits for its end: it has exited, both pipes are read to their ends (or to the end of the grace time), and all of it is kept. Signals
    /// are forwarded meanwhile. Can be given up and called again. While the spool is full, this waits for room.
    pub async fn wait(&mut self) -> Finished {
        let exit = self.exit().await;
        let drained = async { (self.stdout.ended().await, self.stderr.ended().await) };
        if let Ok((stdout, stderr)) = self.process.reaping(tokio::time::timeout(self.grace, drained)).await {
            return Finished { exit, stdout, stderr };
        }
        tracing::warn!(
            grace = %humantime::format_duration(self.grace),
            "the command has ended, and its output is still open or not all kept; what is in it now is read, and nothing after that"
        );
        self.stdout.stop();
        self.stderr.stop();
        let drained = async { (self.stdout.ended().await, self.stderr.ended().await) };
        let (stdout, stderr) = self.process.reaping(drained).await;
        Finished { exit, stdout, stderr }
    }

    /// Waits for its exit only, and forwards signals meanwhile.
    pub async fn exit(&mut self) -> Exit {
        loop {
            self.process.reap();
            if let Some(exit) = self.process.exit {
                return exit;
            }
            tokio::select! {
                _ = self.process.changes.recv() => {}
                signal = self.forward.next() => {
                    if let Err(error) = self.process.send(signal) {
                        tracing::warn!(%error, signal = signal.as_raw(), "a signal was not forwarded to the command");
                    }
                }
            }
        }
    }
}

/// The command's process, and those that this one is the parent of by adoption.
#[derive(Debug)]
struct Process {
    pid: Pid,
    changes: tokio::signal::unix::Signal,
    adopts: bool,
    exit: Option<Exit>,
}

impl Process {
    /// Its number is its own until it is reaped, which only [`Process::reap`] does.
    fn send(&self, signal: Signal) -> io::Result<()> {
        if self.exit.is_some() { Ok(()) } else { kill_process(self.pid, signal).map_err(io::Error::from) }
    }

    /// Reaps what has ended: the command, and whoever else is to be.
    fn reap(&mut self) {
        loop {
            let ended = match (self.adopts, self.exit) {
                (true, _) => wait(WaitOptions::NOHANG),
                (false, None) => waitpid(Some(self.pid), WaitOptions::NOHANG),
                (false, Some(_)) => return,
            };
            match ended {
                Ok(Some((pid, status))) if pid == self.pid => self.exit = Some(exit(status)),
                Ok(Some((pid, _))) => tracing::debug!(pid = pid.as_raw_nonzero().get(), "reaped an orphan"),
                Err(Errno::INTR) => {}
                Err(error) if self.exit.is_none() => {
                    tracing::error!(%error, "the command's exit code is lost");
                    self.exit = Some(Exit { code: OWN_FAILURE, signal: None });
                    return;
                }
                Ok(None) | Err(_) => return,
            }
        }
    }

    /// Goes on reaping while something else is waited for.
    async fn reaping<T>(&mut self, other: impl Future<Output = T>) -> T {
        let mut other = std::pin::pin!(other);
        loop {
            tokio::select! {
                result = &mut other => return result,
                _ = self.changes.recv() => self.reap(),
            }
        }
    }
}

/// Whether orphans become children of this process.
fn adopts() -> bool {
    std::process::id() == 1 || rustix::process::child_subreaper().is_ok_and(|subreaper| subreaper.is_some())
}

fn exit(status: WaitStatus) -> Exit {
    let signal = status.terminating_signal();
    let code = signal.map_or(status.exit_status(), |number| Some(BY_SIGNAL + number));
    Exit { code: code.and_then(|code| u8::try_from(code).ok()).unwrap_or(OWN_FAILURE), signal }
}

/// Starts the process: its number, and what its stdout and stderr can be read from.
fn run(command: &[OsString], orphan: &Orphan, terminal: bool) -> Result<(Pid, (OwnedFd, OwnedFd)), Error> {
    let (program, mut run) = prepare(command, orphan)?;
    if !terminal {
        run.process_group(0);
    }
    run.stdin(Stdio::inherit()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = run.spawn().map_err(|error| {
        let is_the_command = run.get_program() == program;
        match (Errno::from_io_error(&error), error.kind()) {
            (Some(Errno::NOENT), _) if is_the_command => not_found(program),
            (Some(Errno::ACCESS | Errno::NOEXEC | Errno::TOOBIG | Errno::TXTBSY), _)
            | (_, io::ErrorKind::InvalidInput) => {
                Error::NotExecutable { command: program.display().to_string(), reason: error }
            }
            _ => Error::Start { command: program.display().to_string(), source: error },
        }
    })?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("the system gave it");
    let outputs = child.stdout.take().zip(child.stderr.take()).expect("both were asked for");
    // What std holds of the child is only its number: letting go of it neither waits nor kills.
    Ok((pid, (outputs.0.into(), outputs.1.into())))
}

/// The program, and what is to be started in order to get it.
fn prepare<'a>(command: &'a [OsString], orphan: &Orphan) -> Result<(&'a OsStr, Command), Error> {
    let Some((program, arguments)) = command.split_first() else { return Err(Error::NoCommand) };
    lookup::look_up(program, std::env::var_os("PATH").as_ref()).map_err(|missing| match missing {
        Missing::NotFound => not_found(program),
        Missing::NotExecutable => Error::NotExecutable {
            command: program.display().to_string(),
            reason: io::ErrorKind::PermissionDenied.into(),
        },
    })?;
    let run = match orphan {
        // The first process of a container need not ask: all others end with it.
        Orphan::Die { through } if std::process::id() != 1 => {
            let mut shim = through.iter().cloned().chain(shim::arguments(command));
            let mut run = Command::new(shim.next().unwrap_or_default());
            run.args(shim);
            run
        }
        _ => {
            let mut run = Command::new(program);
            run.args(arguments);
            run
        }
    };
    Ok((program, run))
}

fn not_found(program: &OsStr) -> Error {
    let path = std::env::var_os("PATH").map_or_else(|| "not set".to_owned(), |path| path.display().to_string());
    Error::NotFound { command: program.display().to_string(), path }
}
