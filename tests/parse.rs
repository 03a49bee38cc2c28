//! `kinetail parse`, the real binary: which events it shows, what it says of lines that are none, its exit codes, and that it follows files.

#![expect(clippy::unwrap_used, reason = "a panic is how a test's helpers fail")]

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

/// The slowest that anything here may be, on a machine that is busy with other things.
const DEADLINE: Duration = Duration::from_mins(1);

/// How long a line that was appended is waited for before another one is: it may have been before the follower was there.
const PATIENCE: Duration = Duration::from_millis(200);

fn command(directory: &TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kinetail"));
    command.arg("parse").args(arguments).current_dir(directory.path()).env_clear();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Its exit code, stdout and stderr, with this on stdin.
fn parse(directory: &TempDir, arguments: &[&str], stdin: &[u8]) -> (i32, String, String) {
    let mut child = command(directory, arguments).stdin(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        // One that reads no stdin closes it.
        scope.spawn(move || pipe.write_all(stdin).ok());
        child.wait_with_output().unwrap()
    });
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn write(directory: &TempDir, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
    let path = directory.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn append(path: &Path, text: impl AsRef<[u8]>) {
    let mut file: File = OpenOptions::new().append(true).create(true).open(path).unwrap();
    file.write_all(text.as_ref()).unwrap();
}

fn events(stdout: &str) -> Vec<Value> {
    stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn lines_of_files_and_of_stdin_become_events_in_the_order_in_which_they_are_named() {
    let directory = tempfile::tempdir().unwrap();
    write(&directory, "one.log", "{\"a\": 1}\r\nplain\n");
    write(&directory, "two.log", "{\"b\":2}");
    let (code, stdout, stderr) = parse(&directory, &["--parse", "json", "two.log", "-", "one.log"], b"{\"c\":3}\n\n");
    assert_eq!(stdout, "{\"b\":2}\n{\"c\":3}\n{\"a\": 1}\n{\"message\":\"plain\"}\n");
    assert_eq!((code, stderr.as_str()), (0, "lines: 5, events: 4, parse errors: 1, dropped: 1, in parts: 0\n"));
    let (code, stdout, _) = parse(&directory, &[], b"raw \xc3\xa9\r\nlast");
    assert_eq!((code, stdout.as_str()), (0, "raw \u{e9}\nlast\n"));
    let (_, stdout, _) = parse(&directory, &["--with-path", "two.log", "-"], b"x\n");
    assert_eq!(stdout, "two.log\t{\"b\":2}\n-\tx\n");
}

#[test]
fn a_file_is_read_as_the_source_says_whose_globs_name_it() {
    let directory = tempfile::tempdir().unwrap();
    let root = std::path::absolute(directory.path()).unwrap();
    let root = root.to_str().unwrap();
    let config = json!({"sources": [
        {"name": "first", "paths": ["/nonexistent/*.log"], "add": {"fields": {"source": "first"}}},
        {"name": "app", "paths": [format!("{root}/*.log")], "parse": "json",
         "add": {"path": true, "offset": true, "fields": {"env": "prod"}}},
    ]});
    write(&directory, "kinetail.yaml", config.to_string());
    write(&directory, "app.log", "{\"env\":\"x\"}\n{\"a\":1}\n");
    std::fs::create_dir(directory.path().join("deeper")).unwrap();
    write(&directory, "deeper/app.log", "deeper\n");
    let with = |arguments: &[&str]| {
        let (code, stdout, stderr) = parse(&directory, &[&["--config", "kinetail.yaml"], arguments].concat(), b"in\n");
        assert_eq!(code, 0, "{stderr}");
        events(&stdout)
    };
    let path = format!("{root}/app.log");
    let first = json!({"env": "prod", "path": path, "offset": 0});
    assert_eq!(with(&["app.log"]), [first, json!({"a": 1, "path": path, "env": "prod", "offset": 12})]);
    assert_eq!(with(&["deeper/app.log"]), [json!({"message": "deeper", "source": "first"})]);
    assert_eq!(with(&[]), [json!({"message": "in", "source": "first"})]);
    let app = json!({"message": "in", "path": "-", "env": "prod", "offset": 0});
    assert_eq!(with(&["--source", "app"]), [app]);
}

#[test]
fn a_refused_line_is_told_of_by_file_and_number() {
    let directory = tempfile::tempdir().unwrap();
    let text = format!("{{\"a\":1}}\n\n{}\n{{\"b\":2}}\nno end", "long ".repeat(100_000));
    write(&directory, "app.log", &text);
    for policy in ["drop", "dead_letter"] {
        write(&directory, "kinetail.yaml", format!("sources: [{{ parse: json, on_parse_error: {policy} }}]"));
        let (code, stdout, stderr) = parse(&directory, &["--config", "kinetail.yaml", "app.log"], b"");
        assert_eq!((code, stdout.as_str()), (0, "{\"a\":1}\n{\"b\":2}\n"), "{policy}");
        let told: Vec<&str> = stderr.lines().collect();
        assert_eq!(told.len(), 3, "{policy}");
        assert_eq!(told[0], format!("app.log:3: refused by the parser json: {}", "long ".repeat(100_000)));
        assert_eq!(told[1], "app.log:5: refused by the parser json: no end");
        assert_eq!(told[2], "lines: 5, events: 2, parse errors: 2, dropped: 3, in parts: 0");
    }
}

#[test]
fn an_over_long_line_is_shown_in_the_parts_in_which_it_would_be_sent() {
    let directory = tempfile::tempdir().unwrap();
    let line = "0123456789".repeat(250);
    write(&directory, "app.log", format!("x\n{line}\ny\n"));
    write(&directory, "kinetail.yaml", "sources: [{ parse: json, max_line_bytes: 1KiB }]");
    let (code, stdout, stderr) = parse(&directory, &["--config", "kinetail.yaml", "app.log"], b"");
    let events = events(&stdout);
    let marked: Vec<_> = events.iter().filter(|event| event["partial_message"] == "true").collect();
    let joined: String = marked.iter().map(|part| part["message"].as_str().unwrap()).collect();
    assert_eq!((joined, marked.len()), (line, 3));
    assert_eq!(marked[2]["partial_last"], "true");
    assert_eq!((code, stderr.as_str()), (0, "lines: 3, events: 5, parse errors: 2, dropped: 0, in parts: 1\n"));
    write(&directory, "kinetail.yaml", "sources: [{ max_line_bytes: 1KiB, long_lines: truncate }]");
    let (_, stdout, stderr) = parse(&directory, &["--config", "kinetail.yaml", "app.log"], b"");
    assert_eq!(stdout.lines().filter(|line| line.ends_with("\"truncated\":true}")).count(), 1, "{stdout}");
    assert!(stderr.ends_with(", in parts: 0, cut short: 1\n"), "{stderr}");
}

#[test]
fn a_file_that_cannot_be_read_keeps_no_other_from_being_shown() {
    let directory = tempfile::tempdir().unwrap();
    write(&directory, "app.log", "x\n");
    let (code, stdout, stderr) = parse(&directory, &["missing.log", ".", "app.log"], b"");
    assert_eq!((code, stdout.as_str()), (1, "x\n"));
    let told: Vec<&str> = stderr.lines().collect();
    assert!(told[0].starts_with("missing.log: cannot be read: "), "{stderr}");
    assert!(told[1].starts_with(".: cannot be read: "), "{stderr}");
    assert_eq!(told[2], "lines: 1, events: 1, parse errors: 0, dropped: 0, in parts: 0");
}

#[test]
fn what_is_wrong_with_the_settings_or_the_command_line_ends_it_with_2() {
    let directory = tempfile::tempdir().unwrap();
    write(&directory, "wrong.yaml", "sources:\n  - parse: json\n    long_lines: spilt\nkinesis: { stream: 'a b' }\n");
    write(&directory, "two.yaml", "sources: [{ name: a }, { name: b }]");
    for (arguments, want) in [
        (&["--config", "wrong.yaml"][..], "wrong.yaml:3: sources[0].long_lines: \"spilt\" is not one of"),
        (&["--config", "wrong.yaml"], "kinesis.stream"),
        (&["--parse", "xml"], "--parse: \"xml\" is not one of"),
        (&["--config", "two.yaml", "--source", "c"], "there is no source \"c\"; the sources are a, b"),
        (&["--follow"], "<FILE>"),
        (&["--follow", "-"], "stdin cannot be followed"),
        (&["--from-start", "x"], "--follow"),
    ] {
        let (code, stdout, stderr) = parse(&directory, arguments, b"x\n");
        assert_eq!((code, stdout.as_str()), (2, ""), "{arguments:?}: {stderr}");
        assert!(stderr.contains(want), "{arguments:?}: {stderr}");
    }
}

#[test]
fn a_reader_that_has_seen_enough_ends_it_quietly() {
    let directory = tempfile::tempdir().unwrap();
    write(&directory, "app.log", "0123456789\n".repeat(1_000_000));
    let mut child = command(&directory, &["app.log"]).spawn().unwrap();
    let mut first = [0; 11];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(&first, b"0123456789\n");
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

/// `kinetail parse --follow`, under way.
struct Follower {
    child: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
}

/// The lines that come out of a pipe. The thread ends with the pipe, or with the one who listens.
fn lines(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = sync_channel(100_000);
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

impl Follower {
    fn start(directory: &TempDir, arguments: &[&str]) -> Self {
        Self::of(command(directory, &[&["--follow"], arguments].concat()).spawn().unwrap())
    }

    fn of(mut child: Child) -> Self {
        let (stdout, stderr) = (lines(child.stdout.take().unwrap()), lines(child.stderr.take().unwrap()));
        Self { child, stdout, stderr }
    }

    /// Appends numbered lines until one is seen, and answers its number.
    fn append_until_seen(&self, path: &Path) -> usize {
        for number in 0..usize::try_from(DEADLINE.as_millis() / PATIENCE.as_millis()).unwrap() {
            append(path, format!("{{\"probe\":{number}}}\n"));
            match self.stdout.recv_timeout(PATIENCE) {
                Ok(line) => {
                    let first: Value = serde_json::from_str(&line).unwrap();
                    return usize::try_from(first["probe"].as_u64().unwrap()).unwrap();
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => panic!("it has ended: {:?}", self.stderr.recv()),
            }
        }
        panic!("nothing that was appended was seen");
    }

    /// The next line on stdout that satisfies this; those before it do not count.
    fn next(&self, wanted: impl Fn(&str) -> bool) -> String {
        next(&self.stdout, wanted)
    }

    fn interrupt(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    }

    /// Waits until it has used a quarter of a second of a core, with nothing to do. If it never does, linemux has got better, and the thread
    /// that it has for itself can go.
    fn wait_until_it_spins(&self) {
        let path = format!("/proc/{}/stat", self.child.id());
        let ticks = || -> u64 {
            let stat = std::fs::read_to_string(&path).unwrap();
            let (_, fields) = stat.rsplit_once(')').unwrap();
            // The time in user mode and in the kernel, in hundredths of a second; the first field after the name is the third.
            fields.split_whitespace().skip(14 - 3).take(2).map(|field| field.parse::<u64>().unwrap()).sum()
        };
        let before = ticks();
        for _ in 0..DEADLINE.as_millis() / PATIENCE.as_millis() {
            if ticks() >= before + 25 {
                return;
            }
            assert_eq!(self.stdout.recv_timeout(PATIENCE), Err(RecvTimeoutError::Timeout));
        }
        panic!("it does not spin");
    }

    /// Waits for its end, which closes its pipes. Answers the code and what it said last.
    fn end(mut self) -> (ExitStatus, String) {
        let mut last = String::new();
        loop {
            match self.stderr.recv_timeout(DEADLINE) {
                Ok(line) => last = line,
                Err(RecvTimeoutError::Disconnected) => return (self.child.wait().unwrap(), last),
                Err(RecvTimeoutError::Timeout) => panic!("it does not end"),
            }
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        // It may have ended long since.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn next(lines: &Receiver<String>, wanted: impl Fn(&str) -> bool) -> String {
    loop {
        let line = lines.recv_timeout(DEADLINE).expect("the line comes");
        if wanted(&line) {
            return line;
        }
    }
}

#[test]
fn followed_files_are_shown_from_their_ends_on_until_it_is_interrupted() {
    let directory = tempfile::tempdir().unwrap();
    let path = write(&directory, "app.log", "{\"probe\":99999}\n");
    write(&directory, "kinetail.yaml", "sources: [{ parse: json, on_parse_error: drop, add: { fields: { env: e } } }]");
    let follower = Follower::start(&directory, &["--config", "kinetail.yaml", "app.log", "later.log"]);
    next(&follower.stderr, |line| line == "later.log: does not exist yet; waiting for it");
    let first = follower.append_until_seen(&path);
    assert!(first < 99999, "what was there before was shown");
    append(&directory.path().join("later.log"), "{\"later\":true}\n");
    assert_eq!(follower.next(|line| line.contains("later")), "{\"later\":true,\"env\":\"e\"}");
    append(&path, "refused\n");
    let told = next(&follower.stderr, |line| line.contains("refused by"));
    assert!(told.starts_with("app.log:+") && told.ends_with(": refused"), "{told}");
    append(&path, b"\xff\n");
    next(&follower.stderr, |line| line.starts_with("a line is left out: "));
    append(&path, "{\"after\":1}\n");
    assert_eq!(follower.next(|line| line.contains("after")), "{\"after\":1,\"env\":\"e\"}");
    follower.interrupt();
    let (status, last) = follower.end();
    assert_eq!(status.code(), Some(0), "{last}");
    assert!(last.starts_with("lines: ") && last.ends_with(", parse errors: 1, dropped: 1, in parts: 0"), "{last}");
}

#[test]
fn followed_from_the_start_a_file_is_shown_whole() {
    let directory = tempfile::tempdir().unwrap();
    let text: Vec<String> = (0..500).map(|number| format!("line {number}\n")).collect();
    let path = write(&directory, "app.log", text.concat());
    let follower = Follower::start(&directory, &["--from-start", "--with-path", "app.log", "./app.log"]);
    for number in 0..500 {
        assert_eq!(follower.next(|_| true), format!("app.log\tline {number}"));
    }
    append(&path, "appended\n");
    assert_eq!(follower.next(|_| true), "app.log\tappended");
    follower.interrupt();
    let (status, last) = follower.end();
    let want = "lines: 501, events: 501, parse errors: 0, dropped: 0, in parts: 0";
    assert_eq!((status.code(), last.as_str()), (Some(0), want));
}

#[test]
fn following_ends_quietly_when_nobody_listens_any_more() {
    let directory = tempfile::tempdir().unwrap();
    let path = write(&directory, "app.log", "first\n");
    let mut child = command(&directory, &["--follow", "--from-start", "app.log"]).spawn().unwrap();
    let mut stdout: ChildStdout = child.stdout.take().unwrap();
    let mut first = [0; 6];
    stdout.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"first\n");
    drop(stdout);
    append(&path, "second\n");
    let stderr = lines(child.stderr.take().unwrap());
    let ended = stderr.recv_timeout(DEADLINE);
    if ended != Err(RecvTimeoutError::Disconnected) {
        child.kill().ok();
        panic!("it said something, or does not end: {ended:?}");
    }
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_signal_ends_it_when_linemux_no_longer_yields() {
    let directory = tempfile::tempdir().unwrap();
    let logs = directory.path().join("logs");
    std::fs::create_dir(&logs).unwrap();
    write(&directory, "logs/app.log", "first\n");
    let follower = Follower::start(&directory, &["--from-start", "logs/app.log"]);
    follower.next(|line| line == "first");
    // The file goes when its directory is not there any more, so that linemux cannot even wait for another one.
    let elsewhere = directory.path().join("elsewhere");
    std::fs::rename(&logs, &elsewhere).unwrap();
    std::fs::remove_file(elsewhere.join("app.log")).unwrap();
    follower.wait_until_it_spins();
    follower.interrupt();
    let (status, last) = follower.end();
    assert_eq!(status.code(), Some(0), "{last}");
}

#[test]
fn what_cannot_be_followed_is_named() {
    let directory = tempfile::tempdir().unwrap();
    for (file, want) in [("missing/app.log", "there is no directory missing"), (".", "it is not a regular file")] {
        let follower = Follower::start(&directory, &[file]);
        let (status, last) = follower.end();
        assert_eq!(status.code(), Some(1), "{last}");
        assert!(last.starts_with(&format!("{file}: cannot be followed: {want}")), "{last}");
    }
}

#[test]
fn the_example_of_the_readme_is_true() {
    let readme = include_str!("../README.md");
    let (_, rest) = readme.split_once("```console\n").unwrap();
    let (example, _) = rest.split_once("```").unwrap();
    let (command, shown) = example.strip_prefix("$ ").unwrap().split_once('\n').unwrap();
    let programs = Path::new(env!("CARGO_BIN_EXE_kinetail")).parent().unwrap();
    let path = format!("{}:/usr/bin:/bin", programs.display());
    let mut shell = Command::new("sh");
    let output = shell.args(["-c", &format!("{{ {command}; }} 2>&1")]).env_clear().env("PATH", path).output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8(output.stdout).unwrap().as_str()), (Some(0), shown));
}

#[test]
fn linemux_is_for_the_preview_only() {
    let (mut users, mut open) = (Vec::new(), vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")]);
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if std::fs::read_to_string(&path).unwrap().contains("linemux::") {
                users.push(path);
            }
        }
    }
    assert!(users.len() == 1 && users[0].ends_with("src/cli/parse/follow.rs"), "{users:?}");
}

#[test]
fn what_is_done_to_each_line_is_explained() {
    let directory = tempfile::tempdir().unwrap();
    let config = "sources:\n  - parse: [json, logfmt]\n    level: {}\n    transforms:\n      - drop: 'a == 1'\n      - set: {b: 2}\n";
    write(&directory, "kinetail.yaml", config);
    let lines = b"{\"a\":1}\n{\"level\":\"ERR\"}\nk=v\nwords and words\n";
    let (code, stdout, stderr) = parse(&directory, &["--config", "kinetail.yaml", "--explain"], lines);
    assert_eq!(
        stdout,
        "{\"level\":\"error\",\"b\":2}\n{\"k\":\"v\",\"b\":2}\n{\"message\":\"words and words\",\"b\":2}\n"
    );
    assert_eq!(code, 0);
    let want = [
        "-:1: json: fits",
        "-:1: level: none that is known",
        "-:1: transforms[0] drop: dropped",
        "-:2: json: fits",
        "-:2: level: normalised",
        "-:2: transforms[0] drop: nothing, it is not for this event",
        "-:2: transforms[1] set: changed to {\"level\":\"error\",\"b\":2}",
        "-:3: json: refused, since it does not begin with a brace, so it is no JSON object",
        "-:3: logfmt: fits",
    ];
    let told: Vec<&str> = stderr.lines().collect();
    assert_eq!(told[..want.len()], want);
    assert!(told.iter().any(|line| line.starts_with("-:4: logfmt: refused, since ")), "{stderr}");
    assert_eq!(*told.last().unwrap(), "lines: 4, events: 3, parse errors: 1, dropped: 1, in parts: 0");
    // Also where nothing but the direct way is needed.
    let (_, stdout, stderr) = parse(&directory, &["--parse", "json", "--explain"], b"{\"a\" : 1}\n");
    assert_eq!((stdout.as_str(), stderr.lines().next()), ("{\"a\" : 1}\n", Some("-:1: json: fits")));
}

/// The exit code, stdout and stderr of `kinetail test`.
fn test(directory: &TempDir, files: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kinetail"));
    let output = command.arg("test").args(files).current_dir(directory.path()).env_clear().output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn lines_are_compared_with_the_events_that_a_file_expects() {
    let directory = tempfile::tempdir().unwrap();
    let readme = include_str!("../README.md");
    let (_, example) = readme.split_once("```yml\nconfig: kinetail.yaml").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let config = "sources:\n  - name: other\n    paths: [/a]\n  - name: web\n    paths: [/b]\n    parse: [nginx, raw]\n    \
                  transforms: [{drop: 'path == \"/health\"'}]\n    timestamp: {}\n";
    write(&directory, "kinetail.yaml", config.replace("    timestamp: {}\n", ""));
    write(&directory, "example.yaml", format!("config: kinetail.yaml{example}"));
    let (code, stdout, stderr) = test(&directory, &["example.yaml"]);
    // Without `timestamp` the time stays as nginx writes it.
    let want = "FAIL example.yaml: cases[0]: an error that is kept\n  event 1: @timestamp: is missing: - \"2021-03-31T12:04:08.000000000Z\"\n2 passed, 1 failed\n";
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (1, want, ""));
    write(&directory, "kinetail.yaml", config);
    write(
        &directory,
        "example.yaml",
        format!("config: kinetail.yaml{}", example.replace("exact: true", "exact: false")),
    );
    assert_eq!(test(&directory, &["example.yaml"]), (0, "3 passed, 0 failed\n".to_owned(), String::new()));

    let inline = "source: { parse: json, transforms: [{ set: { b: 2 } }] }\ncases:\n  - { input: '{\"a\":1}', expect: [{ a: 1 }], exact: true }\n  \
                  - { lines: ['{\"a\":1}', 'x'], expect: [{ a: 2 }] }\n  - { input: 'x', error: true }\n  - { input: '{}', dropped: true }\n";
    write(&directory, "inline.yaml", inline);
    let (code, stdout, _) = test(&directory, &["inline.yaml"]);
    for line in [
        "event 1: b: was not expected: + 2",
        "1 events were expected, and there are 2",
        "  event 1: a:\n  - 2\n  + 1\n",
        "  + {\"b\":2,\"message\":\"x\"}",
        "dropped: true was expected, and there are 1 events",
        "1 passed, 3 failed\n",
    ] {
        assert!(stdout.contains(line), "{line} in {stdout}");
    }
    assert_eq!(code, 1);
    for (text, why) in [
        ("cases: []", "it has neither config, a path, nor source"),
        ("source: { parse: jsno }\ncases: []", "\"jsno\" is not one of raw, json"),
        ("source: { parse: json }\ncases: [{ input: x }]", "cases[0]: expects nothing"),
        ("source: { parse: json }\ncases: [{ expect: [] }]", "cases[0]: has no input and no lines"),
        (
            "config: kinetail.yaml\nsource: wbe\ncases: []",
            "there is no source \"wbe\" in kinetail.yaml; the sources are other, web",
        ),
        ("source: { parse: json }\ncases: []\ncases: []", "is given twice"),
    ] {
        write(&directory, "wrong.yaml", text);
        let (code, _, stderr) = test(&directory, &["wrong.yaml"]);
        assert!(code == 2 && stderr.contains(why), "{text}: {code}: {stderr}");
    }
}
