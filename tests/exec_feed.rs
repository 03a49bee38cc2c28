//! Real children, pipes and FIFOs, and a stand-in for the spool that says when it has kept something: every line that was written is handed over, in order,
//! and the child's end is ours. What a signal or a kill does to the agent is tried on a process of its own: this program again, as [`agent`].

#![expect(clippy::unwrap_used, reason = "a panic is how a test's helpers fail")]

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child as Process, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use kinetail::container::{Stream, cri};
use kinetail::source::exec::{self, Child, Error, ExecOptions, Exit, Finished, Orphan, shim};
use kinetail::source::pipe::Why;
use kinetail::source::{fifo, stdin};
use kinetail::spool::{Feed, Handed};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

/// What a slow and busy machine may take for anything here.
const PATIENCE: Duration = Duration::from_mins(1);

/// Longer than any test: what is to end earlier has another reason to.
const FOR_EVER: Duration = Duration::from_hours(1);

// --- the spool's stand-in --------------------------------------------------------------------------------------------

/// A piece of a line, as it was handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Piece {
    stream: Stream,
    partial: bool,
    text: Vec<u8>,
}

/// Checks the format and takes the lines apart.
fn pieces(bytes: &[u8]) -> Vec<Piece> {
    assert!(bytes.is_empty() || bytes.ends_with(b"\n"), "half a line was handed over");
    let lines = bytes.split_inclusive(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\n").unwrap());
    lines
        .map(|line| {
            let piece = cri::parse(line).unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(line)));
            assert!(
                piece.time.len() == 30 && piece.time.ends_with('Z') && piece.time.starts_with("20"),
                "{}",
                piece.time
            );
            Piece { stream: piece.stream, partial: piece.partial, text: piece.text.to_owned() }
        })
        .collect()
}

/// The whole lines of a stream.
fn lines(bytes: &[u8], stream: Stream) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = Vec::new();
    for piece in pieces(bytes).into_iter().filter(|piece| piece.stream == stream) {
        line.extend(piece.text);
        if !piece.partial {
            lines.push(String::from_utf8_lossy(&std::mem::take(&mut line)).into_owned());
        }
    }
    assert!(line.is_empty(), "a line without its last part");
    lines
}

/// Keeps what is handed over by this function, on a thread of its own, until all feeds are gone.
fn keep(mut with: impl FnMut(&[u8]) + Send + 'static) -> (Feed, JoinHandle<u64>) {
    let (feed, mut from) = Feed::new();
    let keeper = std::thread::spawn(move || {
        let mut events = 0;
        while let Some(Handed { lines, kept }) = from.blocking_recv() {
            assert!(!lines.bytes.is_empty());
            with(&lines.bytes);
            events += lines.events;
            kept.send(()).unwrap();
        }
        events
    });
    (feed, keeper)
}

/// Keeps everything in memory.
fn keep_all() -> (Feed, JoinHandle<Vec<u8>>) {
    let (all, from) = std::sync::mpsc::sync_channel(100_000);
    let (feed, keeper) = keep(move |bytes| all.send(bytes.to_owned()).unwrap());
    let collect = std::thread::spawn(move || {
        let events = keeper.join().unwrap();
        let all = from.iter().collect::<Vec<_>>().concat();
        assert_eq!(events, pieces(&all).iter().filter(|piece| !piece.partial).count() as u64);
        all
    });
    (feed, collect)
}

fn shell(script: &str) -> Vec<OsString> {
    ["/bin/sh", "-c", script].map(OsString::from).to_vec()
}

fn plain() -> ExecOptions {
    ExecOptions { tee: false, grace: FOR_EVER, orphan: Orphan::Keep }
}

fn code(code: u8) -> Exit {
    Exit { code, signal: None }
}

/// Runs a script to its end: how it ended, and what was kept.
async fn run_with(script: &str, options: ExecOptions) -> (Finished, Vec<u8>) {
    let (feed, keeper) = keep_all();
    let mut child = Child::spawn(&shell(script), feed, &options).unwrap();
    let finished = timeout(PATIENCE, child.wait()).await.unwrap();
    (finished, keeper.join().unwrap())
}

async fn run(script: &str) -> (Finished, Vec<u8>) {
    let (finished, kept) = run_with(script, plain()).await;
    assert_eq!((finished.stdout.why, finished.stderr.why), (Why::Eof, Why::Eof));
    (finished, kept)
}

/// Waits until this is so.
fn until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        pause();
    }
}

#[expect(clippy::disallowed_methods, reason = "between two looks at another process")]
fn pause() {
    std::thread::sleep(Duration::from_millis(5));
}

// --- what is written is handed over ----------------------------------------------------------------------------------

#[tokio::test]
async fn a_child_that_exits_at_once_after_its_last_line_loses_nothing() {
    let (feed, keeper) = keep_all();
    for n in 0..200_u8 {
        let mut child = Child::spawn(&shell(&format!("echo {n}; exit {n}")), feed.clone(), &plain()).unwrap();
        let finished = timeout(PATIENCE, child.wait()).await.unwrap();
        assert_eq!((finished.exit, finished.stdout.events), (code(n), 1));
    }
    drop(feed);
    let kept = keeper.join().unwrap();
    assert_eq!(lines(&kept, Stream::Stdout), (0..200).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_burst_of_64_mb_arrives_in_order() {
    const LINES: u64 = 640_000;
    let mut next = 0;
    let (feed, keeper) = keep(move |bytes| {
        for piece in pieces(bytes) {
            next += 1;
            assert_eq!(std::str::from_utf8(&piece.text).unwrap().parse(), Ok(next));
        }
    });
    let script = format!("exec seq -f %0100.0f 1 {LINES}");
    let mut child = Child::spawn(&shell(&script), feed, &plain()).unwrap();
    let finished = timeout(PATIENCE, child.wait()).await.unwrap();
    assert_eq!((finished.exit, finished.stdout.bytes), (code(0), LINES * 101));
    drop(child);
    assert_eq!(keeper.join().unwrap(), LINES);
}

#[tokio::test]
async fn stdout_and_stderr_are_apart_and_each_in_order() {
    let (_, kept) = run("i=0; while [ $i -lt 3000 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done").await;
    let expected = |word: &str| (0..3000).map(|n| format!("{word} {n}")).collect::<Vec<_>>();
    assert_eq!(lines(&kept, Stream::Stdout), expected("out"));
    assert_eq!(lines(&kept, Stream::Stderr), expected("err"));
}

#[tokio::test]
async fn bytes_are_not_looked_at_and_a_newline_may_be_missing() {
    let (_, kept) = run(r"printf 'a\000\001\377\r\n\n\303('; printf 'end\000' >&2").await;
    let piece = |stream, text: &[u8]| Piece { stream, partial: false, text: text.to_owned() };
    let got = |stream| pieces(&kept).into_iter().filter(|piece| piece.stream == stream).collect::<Vec<_>>();
    let expected = [b"a\0\x01\xff\r".as_slice(), b"", b"\xc3("].map(|text| piece(Stream::Stdout, text));
    assert_eq!(got(Stream::Stdout), expected);
    assert_eq!(got(Stream::Stderr), [piece(Stream::Stderr, b"end\0")]);
}

#[tokio::test]
async fn a_long_line_is_cut_as_containerd_cuts_it() {
    let (_, kept) = run("head -c 40000 /dev/zero | tr '\\0' x; echo; echo next").await;
    let got: Vec<_> = pieces(&kept).iter().map(|piece| (piece.partial, piece.text.len())).collect();
    assert_eq!(got, [(true, 16384), (true, 16384), (false, 40000 - 32768), (false, 4)]);
}

#[tokio::test]
async fn half_a_line_waits_for_the_other() {
    let (_, kept) = run("printf one; sleep 0.3; echo ' line'; printf two; sleep 0.3; printf ' ends'").await;
    assert_eq!(lines(&kept, Stream::Stdout), ["one line", "two ends"]);
}

#[tokio::test]
async fn lines_that_are_written_one_by_one_are_not_kept_one_by_one() {
    const LINES: u32 = 20_000;
    let count = Arc::new(AtomicU32::new(0));
    let counted = count.clone();
    let (feed, keeper) = keep(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    let start = Instant::now();
    let script = format!("i=0; while [ $i -lt {LINES} ]; do echo some line; i=$((i+1)); done");
    let mut child = Child::spawn(&shell(&script), feed, &plain()).unwrap();
    assert_eq!(timeout(PATIENCE, child.wait()).await.unwrap().stdout.events, u64::from(LINES));
    let seconds = start.elapsed().as_secs_f64();
    drop(child);
    assert_eq!(keeper.join().unwrap(), u64::from(LINES));
    // 500 a second, a few where much was there at once, and some more, since signals of other tests' children cut pauses short.
    let most = seconds * 500.0 + 200.0;
    let count = count.load(Ordering::Relaxed);
    assert!(f64::from(count) < most, "{count} hand-overs in {seconds} s");
}

// --- how it ends -----------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_signal_that_kills_it_is_in_the_exit_code() {
    for signal in [9_u8, 15, 13] {
        let (finished, kept) = run(&format!("echo before; kill -{signal} $$; echo after")).await;
        assert_eq!(finished.exit, Exit { code: 128 + signal, signal: Some(signal.into()) });
        assert_eq!(lines(&kept, Stream::Stdout), ["before"]);
    }
}

#[tokio::test]
async fn it_may_close_its_output_and_go_on() {
    let (finished, kept) = run("echo one; exec >&- 2>&-; sleep 0.3; exit 9").await;
    assert_eq!(finished.exit, code(9));
    assert_eq!(lines(&kept, Stream::Stdout), ["one"]);
}

#[tokio::test]
async fn what_it_leaves_behind_is_listened_to() {
    let (finished, kept) = run("(sleep 0.5; echo late) & echo early; exit 3").await;
    assert_eq!(finished.exit, code(3));
    assert_eq!(lines(&kept, Stream::Stdout), ["early", "late"]);
}

#[tokio::test]
async fn what_it_leaves_behind_is_not_waited_for_beyond_the_grace_time() {
    let options = ExecOptions { grace: Duration::from_millis(200), ..plain() };
    // One is quiet, the other never rests and never ends a line.
    for background in ["sleep 3600", "exec cat /dev/zero"] {
        let (finished, kept) =
            run_with(&format!("echo said; {background} & echo $! >&2; exit 4"), options.clone()).await;
        assert_eq!((finished.exit, finished.stdout.why), (code(4), Why::Stopped));
        assert_eq!(pieces(&kept).iter().find(|piece| piece.stream == Stream::Stdout).unwrap().text, b"said");
        let left = lines(&kept, Stream::Stderr).remove(0);
        // One that writes gets what a command gets whose reader is gone; the other has to be sent off.
        if background.starts_with("sleep") {
            assert!(Command::new("kill").arg(&left).status().unwrap().success());
        }
        until("it is gone", || !is_running(&left));
    }
}

/// Whether there is such a process, and it is no zombie that a parent has forgotten.
fn is_running(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| !status.contains("State:\tZ"))
}

#[tokio::test]
async fn what_cannot_be_run_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str, mode| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path.into_os_string()
    };
    let die = ExecOptions { orphan: dies(), ..plain() };
    for options in [plain(), die] {
        let spawn = |command: OsString| Child::spawn(&[command], Feed::new().0, &options);
        let error = spawn("no-such-command".into()).unwrap_err();
        assert!(matches!(error, Error::NotFound { .. }) && error.code() == 127, "{error}");
        assert!(error.to_string().contains("no-such-command was not found"), "{error}");
        assert_eq!(spawn("/no/such/file".into()).unwrap_err().code(), 127);
        assert_eq!(spawn("".into()).unwrap_err().code(), 127);
        assert_eq!(spawn("/".into()).unwrap_err().code(), 126);
        assert_eq!(spawn(file("data", "#!/bin/sh\n", 0o644)).unwrap_err().code(), 126);
        // What only the attempt shows, the shim tells by its exit code, and says to whoever listens.
        let (feed, _keeper) = keep_all();
        let code = match Child::spawn(&[file("script", "#!/no/such/interpreter\n", 0o755)], feed, &options) {
            Err(error) => error.code(),
            Ok(mut child) => {
                let finished = timeout(PATIENCE, child.wait()).await.unwrap();
                assert!(finished.stderr.events > 0);
                finished.exit.code
            }
        };
        assert_eq!(code, 127);
    }
    // Some systems take such a file for a script of the shell if they are asked by way of the shim.
    let error = Child::spawn(&[file("text", "no program", 0o755)], Feed::new().0, &plain()).unwrap_err();
    assert!(matches!(error, Error::NotExecutable { .. }) && error.code() == 126, "{error}");
    let error = Child::spawn(&[], Feed::new().0, &plain()).unwrap_err();
    assert!(matches!(error, Error::NoCommand) && error.code() == exec::OWN_FAILURE);
}

// --- the child notices nothing ---------------------------------------------------------------------------------------

#[tokio::test]
async fn the_child_is_as_it_would_be_without_us() {
    // The system's library has two signals to itself, behind those that have names, and ignores them at times.
    let script = "echo; env | sort; pwd; umask; ulimit -a; echo $0; \
        grep -E '^(Sig(Blk|Ign)|Groups|NoNewPrivs)' /proc/self/status | sed -E 's/^(Sig...:).*(.{7})$/\\1\\2/'; ls /proc/self/fd";
    let output = Command::new("/bin/sh").args(["-c", script]).stdin(Stdio::inherit()).output().unwrap();
    let expected = String::from_utf8(output.stdout).unwrap();
    let expected: Vec<_> = expected.lines().skip(1).collect();
    let ignored = expected.iter().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    assert_eq!(u64::from_str_radix(ignored, 16).unwrap() & (1 << 12), 0, "SIGPIPE is ignored");
    // By way of the shim, which here is a test, something else is said before, without a newline.
    for orphan in [Orphan::Keep, dies()] {
        let (_, kept) = run_with(script, ExecOptions { orphan, ..plain() }).await;
        let got = lines(&kept, Stream::Stdout);
        assert_eq!(got[got.len() - expected.len()..], expected);
    }
}

#[tokio::test]
async fn the_child_is_no_target_of_its_own_group() {
    let (finished, kept) = run("trap 'exit 5' TERM; echo all; kill -TERM 0; sleep 10").await;
    assert_eq!(finished.exit, code(5));
    assert_eq!(lines(&kept, Stream::Stdout), ["all"]);
}

#[tokio::test]
async fn a_spool_that_is_full_is_felt_by_the_child_and_costs_nothing() {
    let (feed, mut from) = Feed::new();
    let script = "i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i+1)); done; exec seq 3000 50000";
    let mut child = Child::spawn(&shell(script), feed, &plain()).unwrap();
    let mut waiting = std::pin::pin!(child.wait());
    // More than the pipe and a read hold is not written before anything was kept.
    let Handed { lines: first, kept } = timeout(PATIENCE, from.recv()).await.unwrap().unwrap();
    assert!(timeout(Duration::from_millis(300), &mut waiting).await.is_err());
    assert!(from.try_recv().is_err(), "it went on before the first was kept");
    kept.send(()).unwrap();
    let mut all = first.bytes;
    let finished = loop {
        tokio::select! {
            finished = &mut waiting => break finished,
            Some(Handed { lines, kept }) = from.recv() => {
                all.extend(lines.bytes);
                kept.send(()).unwrap();
            }
        }
    };
    assert_eq!(finished.exit, code(0));
    assert_eq!(lines(&all, Stream::Stdout), (0..=50000).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_end_is_told_when_all_is_kept_and_not_before() {
    let (feed, mut from) = Feed::new();
    let mut child = Child::spawn(&shell("echo last; exit 1"), feed, &plain()).unwrap();
    let Handed { kept, .. } = timeout(PATIENCE, from.recv()).await.unwrap().unwrap();
    assert_eq!(timeout(PATIENCE, child.exit()).await.unwrap(), code(1));
    assert!(timeout(Duration::from_millis(300), child.wait()).await.is_err());
    kept.send(()).unwrap();
    let finished = timeout(PATIENCE, child.wait()).await.unwrap();
    assert_eq!((finished.exit, finished.stdout.lost_events), (code(1), 0));
    assert_eq!(timeout(PATIENCE, child.wait()).await.unwrap(), finished, "it can be asked again");
    child.signal(15).unwrap();
    assert!(child.signal(9999).is_err());
}

#[tokio::test]
async fn a_spool_that_closes_closes_the_pipe() {
    let (feed, from) = Feed::new();
    drop::<mpsc::Receiver<Handed>>(from);
    let mut child = Child::spawn(&shell("exec yes"), feed, &plain()).unwrap();
    let finished = timeout(PATIENCE, child.wait()).await.unwrap();
    assert_eq!((finished.exit.signal, finished.stdout.why), (Some(13), Why::Closed));
    assert!(finished.stdout.lost_events > 0 && finished.stdout.lost_events == finished.stdout.events);
}

// --- FIFOs -----------------------------------------------------------------------------------------------------------

fn fifo_path() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    (directory, path)
}

fn writer(path: &Path) -> fs::File {
    OpenOptions::new().write(true).open(path).unwrap()
}

#[tokio::test]
async fn writers_of_a_fifo_come_and_go() {
    let (_directory, path) = fifo_path();
    let (feed, keeper) = keep_all();
    let mut running = fifo::start(&path, 0o666, feed).unwrap();
    let metadata = fs::metadata(&path).unwrap();
    assert!(metadata.file_type().is_fifo());
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o666, "the umask does not matter");
    for n in 0..50 {
        writer(&path).write_all(format!("{n}\n").as_bytes()).unwrap();
    }
    let writers: Vec<_> = (0..2)
        .map(|who| {
            let mut file = writer(&path);
            std::thread::spawn(move || {
                for n in 0..5000 {
                    file.write_all(format!("{who} {n}\n").as_bytes()).unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.join().unwrap();
    }
    writer(&path).write_all(b"no newline").unwrap();
    // What is in it when it is stopped still counts.
    running.stop();
    let ended = timeout(PATIENCE, running.ended()).await.unwrap();
    assert_eq!((ended.why, ended.events), (Why::Stopped, 50 + 10_000 + 1));
    let got = lines(&keeper.join().unwrap(), Stream::Stdout);
    assert_eq!(got[..50], (0..50).map(|n| n.to_string()).collect::<Vec<_>>());
    for who in ["0 ", "1 "] {
        let theirs: Vec<_> = got[50..].iter().filter_map(|line| line.strip_prefix(who)).collect();
        assert_eq!(theirs, (0..5000).map(|n| n.to_string()).collect::<Vec<_>>());
    }
    assert_eq!(got.last().unwrap(), "no newline");

    // The next start reads the same one.
    let (feed, keeper) = keep_all();
    let running = fifo::start(&path, 0o600, feed).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o666);
    writer(&path).write_all(b"again\n").unwrap();
    // Letting go of it is a stop, too.
    drop(running);
    assert_eq!(lines(&keeper.join().unwrap(), Stream::Stdout), ["again"]);
}

#[tokio::test]
async fn a_fifo_without_a_writer_can_be_stopped() {
    let (_directory, path) = fifo_path();
    let mut running = fifo::start(&path, 0o622, Feed::new().0).unwrap();
    assert!(timeout(Duration::from_millis(100), running.ended()).await.is_err(), "there is no end of a FIFO");
    running.stop();
    let ended = timeout(PATIENCE, running.ended()).await.unwrap();
    assert_eq!((ended.why, ended.bytes), (Why::Stopped, 0));
}

#[tokio::test]
async fn a_writer_that_never_rests_does_not_keep_a_fifo_from_stopping() {
    let (_directory, path) = fifo_path();
    let (feed, keeper) = keep_all();
    let mut running = fifo::start(&path, 0o622, feed).unwrap();
    let mut file = writer(&path);
    let (said, heard) = std::sync::mpsc::sync_channel(1);
    let writing = std::thread::spawn(move || {
        let mut sent = 0_u64;
        while file.write_all(&[b'\n'; 1000]).is_ok() {
            sent += 1000;
            if sent == 100_000 {
                said.send(()).unwrap();
            }
        }
        sent
    });
    heard.recv_timeout(PATIENCE).unwrap();
    running.stop();
    assert_eq!(timeout(PATIENCE, running.ended()).await.unwrap().why, Why::Stopped);
    assert!(keeper.join().unwrap().len() > 30 * 30_000);
    assert!(writing.join().unwrap() > 0, "it hears that nobody reads");
}

#[tokio::test]
async fn what_is_no_fifo_is_left_alone() {
    let (directory, path) = fifo_path();
    fs::write(&path, "precious").unwrap();
    for (path, what) in
        [(path.as_path(), "a file"), (directory.path(), "a directory"), (Path::new("/dev/null"), "a device")]
    {
        let error = fifo::start(path, 0o622, Feed::new().0).unwrap_err();
        assert!(error.to_string().contains(&format!("{} is {what}, not a FIFO", path.display())), "{error}");
    }
    assert_eq!(fs::read(&path).unwrap(), b"precious");
    let error = fifo::start(&directory.path().join("none/log"), 0o622, Feed::new().0).unwrap_err();
    assert!(matches!(error, fifo::Error::Create { .. }), "{error}");
}

// --- an agent that is a process --------------------------------------------------------------------------------------

/// What an agent shall do; the variables of its environment.
const SCRIPT: &str = "KINETAIL_TEST_SCRIPT";
const KEPT: &str = "KINETAIL_TEST_KEPT";
const ORPHAN: &str = "KINETAIL_TEST_ORPHAN";
const SUBREAPER: &str = "KINETAIL_TEST_SUBREAPER";

/// Not a test: what other tests start. Wraps a script or reads stdin, keeps lines in a file, and exits with the script's code.
#[tokio::test]
#[ignore = "started by other tests"]
async fn agent() {
    let Some(path) = std::env::var_os(KEPT) else { return };
    if std::env::var_os(SUBREAPER).is_some() {
        rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    }
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    let (feed, keeper) = keep(move |bytes| file.write_all(bytes).unwrap());
    let code = match std::env::var(SCRIPT) {
        Ok(script) => {
            let orphan = if std::env::var_os(ORPHAN).is_some() { dies() } else { Orphan::Keep };
            let options = ExecOptions { tee: true, grace: PATIENCE, orphan };
            let mut child = Child::spawn(&shell(&script), feed, &options).unwrap();
            let finished = child.wait().await;
            i32::from(finished.exit.code)
        }
        Err(_) => i32::from(stdin::start(feed).unwrap().ended().await.why != Why::Eof),
    };
    keeper.join().unwrap();
    std::process::exit(code);
}

/// Not a test: the shim, for agents of this program.
#[test]
#[ignore = "started by other tests"]
fn become_command() {
    let arguments: Vec<_> = std::env::args_os().skip_while(|argument| argument != "--").skip(1).collect();
    if !arguments.is_empty() {
        std::process::exit(shim::become_command(&arguments).into());
    }
}

fn this_program(test: &str) -> Vec<OsString> {
    let program = std::env::current_exe().unwrap().into_os_string();
    let options = ["--exact", test, "--ignored", "--nocapture", "--test-threads=1"];
    std::iter::once(program).chain(options.map(OsString::from)).collect()
}

fn dies() -> Orphan {
    let mut through = this_program("become_command");
    through.push("--".into());
    Orphan::Die { through }
}

/// An agent under test.
struct Agent {
    process: Process,
    kept: PathBuf,
    _directory: tempfile::TempDir,
}

impl Agent {
    fn command() -> (Command, PathBuf, tempfile::TempDir) {
        let directory = tempfile::tempdir().unwrap();
        let kept = directory.path().join("kept");
        let words = this_program("agent");
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).env(KEPT, &kept).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        (command, kept, directory)
    }

    fn start(script: &str, with: impl FnOnce(&mut Command)) -> Self {
        let (mut command, kept, directory) = Self::command();
        command.env(SCRIPT, script);
        with(&mut command);
        Self { process: command.spawn().unwrap(), kept, _directory: directory }
    }

    fn lines(&self, stream: Stream) -> Vec<String> {
        let bytes = fs::read(&self.kept).unwrap_or_default();
        // What is being written just now may be half there.
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        lines(&bytes[..whole], stream)
    }

    fn until_said(&self, what: &str) {
        until(what, || self.lines(Stream::Stdout).iter().any(|line| line == what));
    }

    fn kill(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.process.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    fn end(&mut self) -> ExitStatus {
        let mut status = None;
        until("the agent has ended", || {
            status = self.process.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.process.kill().unwrap_or_default();
        }
    }
}

/// Signals that this process does not ignore. Whoever runs the tests by `nohup` has them, and all that they start, ignore SIGHUP.
fn heard() -> Vec<&'static str> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    let ignored = u64::from_str_radix(mask.trim(), 16).unwrap();
    let signals = [(1, "HUP"), (2, "INT"), (3, "QUIT"), (10, "USR1"), (12, "USR2"), (28, "WINCH")];
    signals.into_iter().filter(|(number, _)| ignored & (1 << (number - 1)) == 0).map(|(_, name)| name).collect()
}

#[test]
fn signals_reach_the_child_and_its_answer_is_ours() {
    let traps: String =
        heard().iter().fold(String::new(), |all, name| all + &format!("trap 'echo got {name}' {name}; "));
    let script = format!("{traps} trap 'echo bye; exit 42' TERM; echo ready; while :; do sleep 0.01; done");
    let mut agent = Agent::start(&script, |_| ());
    agent.until_said("ready");
    for name in heard() {
        agent.kill(&format!("-{name}"));
        agent.until_said(&format!("got {name}"));
    }
    agent.kill("-TERM");
    assert_eq!(agent.end().code(), Some(42));
    assert_eq!(agent.lines(Stream::Stdout).last().unwrap(), "bye");
}

#[test]
fn a_signal_that_was_ignored_stays_ignored() {
    // As `nohup` does it, and shells for what runs in the background.
    let words = this_program("agent");
    let mut agent = Agent::start(
        "trap 'exit 3' TERM; grep SigIgn /proc/self/status; echo ready; while :; do sleep 0.01; done",
        |command| {
            let kept = command.get_envs().find(|(name, _)| *name == KEPT).unwrap().1.unwrap().to_owned();
            let script = command.get_envs().find(|(name, _)| *name == SCRIPT).unwrap().1.unwrap().to_owned();
            *command = Command::new("/bin/sh");
            command.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]).args(&words).env(KEPT, kept).env(SCRIPT, script);
            command.stdout(Stdio::null());
        },
    );
    agent.until_said("ready");
    let ignored = agent.lines(Stream::Stdout).remove(0);
    let mask = u64::from_str_radix(ignored.trim_start_matches("SigIgn:").trim(), 16).unwrap();
    assert_eq!(mask & 1, 1, "{ignored}");
    agent.kill("-HUP");
    agent.kill("-TERM");
    assert_eq!(agent.end().code(), Some(3));
}

#[test]
fn what_the_child_writes_is_passed_through_unchanged() {
    let script = r"printf 'begin>'; seq 1 20000; printf 'a\000\377\r\nb<end'; echo other >&2; exit 6";
    let mut agent = Agent::start(script, |command| {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
    });
    let (mut out, mut err) = (Vec::new(), String::new());
    agent.process.stdout.take().unwrap().read_to_end(&mut out).unwrap();
    agent.process.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!(agent.end().code(), Some(6));
    // Around it is what the test harness says.
    let mut expected = b"begin>".to_vec();
    (1..=20_000).for_each(|n| writeln!(expected, "{n}").unwrap());
    expected.extend(b"a\0\xff\r\nb<end");
    let at = out.windows(6).position(|window| window == b"begin>").unwrap();
    assert!(out[at..].starts_with(&expected));
    assert_eq!(err, "other\n");
}

#[test]
fn delivery_goes_on_when_nobody_reads_what_is_passed_through() {
    let script = "echo ready; read go < $FIFO; seq 1 100000; echo last >&2; exit 8";
    let (_directory, fifo) = fifo_path();
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let mut agent = Agent::start(script, |command| {
        command.stdout(Stdio::piped()).env("FIFO", &fifo);
    });
    agent.until_said("ready");
    drop(agent.process.stdout.take());
    writer(&fifo).write_all(b"go\n").unwrap();
    assert_eq!(agent.end().code(), Some(8));
    assert_eq!(agent.lines(Stream::Stdout)[1..], (1..=100_000).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(agent.lines(Stream::Stderr), ["last"]);
}

/// An orphan of the child's ends, and is gone altogether, while the child still runs; the child's own code is not lost by that.
const ORPHANS: &str = "for i in 1 2 3; do pid=$(sleep 0.3 >/dev/null & echo $!); \
    grep -q \"^PPid:.$PPID$\" /proc/$pid/status || exit 21; n=0; \
    while [ -e /proc/$pid ]; do sleep 0.05; n=$((n+1)); [ $n -lt 1000 ] || exit 22; done; done; echo reaped; exit 23";

#[test]
fn orphans_are_reaped_by_a_subreaper() {
    let mut agent = Agent::start(ORPHANS, |command| {
        command.env(SUBREAPER, "yes");
    });
    assert_eq!(agent.end().code(), Some(23));
    assert_eq!(agent.lines(Stream::Stdout), ["reaped"]);
}

#[test]
fn orphans_are_reaped_by_the_first_process() {
    let unshare = ["-r", "-p", "-f", "--mount-proc"];
    if !Command::new("unshare").args(unshare).arg("true").status().is_ok_and(|status| status.success()) {
        println!("this system does not let us have a PID 1 of our own");
        return;
    }
    let (inner, kept, directory) = Agent::command();
    let mut command = Command::new("unshare");
    command.args(unshare).arg(inner.get_program()).args(inner.get_args()).stdout(Stdio::null());
    command.env(KEPT, &kept).env(SCRIPT, ORPHANS);
    let mut agent = Agent { process: command.spawn().unwrap(), kept, _directory: directory };
    assert_eq!(agent.end().code(), Some(23));
    assert_eq!(agent.lines(Stream::Stdout), ["reaped"]);
}

/// Says in a file how it learnt of the agent's end.
const SURVIVOR: &str = "trap 'echo terminated > $TOLD.new; mv $TOLD.new $TOLD; exit' TERM; trap '' PIPE; echo; echo ready; \
    until [ -e $TOLD.go ]; do sleep 0.05; done; echo more 2>/dev/null || { echo failed > $TOLD.new; mv $TOLD.new $TOLD; }";

/// Kills the agent around it: what the child tells.
fn killed(orphan: bool) -> String {
    let directory = tempfile::tempdir().unwrap();
    let told = directory.path().join("told");
    let mut agent = Agent::start(SURVIVOR, |command| {
        command.env("TOLD", &told);
        if orphan {
            command.env(ORPHAN, "die");
        }
    });
    agent.until_said("ready");
    agent.process.kill().unwrap();
    agent.end();
    if !orphan {
        fs::write(directory.path().join("told.go"), "").unwrap();
    }
    until("the child has told", || told.exists());
    fs::read_to_string(&told).unwrap()
}

#[test]
fn a_child_without_its_agent_is_terminated_or_kept() {
    assert_eq!(killed(true), "terminated\n");
    assert_eq!(killed(false), "failed\n");
}

#[test]
fn stdin_is_read_to_its_end() {
    let (mut command, kept, directory) = Agent::command();
    let mut process = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut input = process.stdin.take().unwrap();
    let mut agent = Agent { process, kept, _directory: directory };
    input.write_all(b"first\n").unwrap();
    agent.until_said("first");
    for n in 0..100_000 {
        writeln!(input, "{n}").unwrap();
    }
    input.write_all(b"last").unwrap();
    drop(input);
    assert_eq!(agent.end().code(), Some(0));
    let got = agent.lines(Stream::Stdout);
    assert_eq!(got[1..100_001], (0..100_000).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!((got[0].as_str(), got[100_001].as_str(), got.len()), ("first", "last", 100_002));
}

#[test]
fn stdin_may_be_a_file() {
    let (mut command, kept, directory) = Agent::command();
    let path = directory.path().join("input");
    fs::write(&path, "one\ntwo").unwrap();
    let process = command.stdin(fs::File::open(&path).unwrap()).spawn().unwrap();
    let mut agent = Agent { process, kept, _directory: directory };
    assert_eq!(agent.end().code(), Some(0));
    assert_eq!(agent.lines(Stream::Stdout), ["one", "two"]);
}
