//! `kinetail demo` as the real binary: what it shows, what it counts and what it leaves behind.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

/// A demo whose directories are made in this one.
fn demo(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kinetail"));
    command.arg("demo").args(arguments).env_clear().env("TMPDIR", directory).stdin(Stdio::null());
    command
}

fn run(directory: &Path, arguments: &[&str]) -> Output {
    demo(directory, arguments).output().expect("the binary was built for this test")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("the output is text")
}

/// The rows of the summary: labels and the words behind them.
fn summary(output: &Output) -> BTreeMap<String, Vec<String>> {
    let stdout = text(&output.stdout);
    let rows = stdout.lines().skip_while(|line| !line.starts_with("lines written "));
    let row = |line: &str| {
        let (label, values) = line.split_at_checked(18)?;
        Some((label.trim().to_owned(), values.split_whitespace().map(str::to_owned).collect()))
    };
    rows.take_while(|line| !line.is_empty()).filter_map(row).collect()
}

fn number(rows: &BTreeMap<String, Vec<String>>, label: &str) -> u64 {
    let value = rows.get(label).and_then(|values| values.first());
    value.unwrap_or_else(|| panic!("no {label} in {rows:?}")).replace(',', "").parse().expect("a number")
}

fn assert_empty(directory: &Path) {
    let left: Vec<_> =
        std::fs::read_dir(directory).expect("it is there").map(|entry| entry.expect("it is there").path()).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// That every one of these lines arrived once, in order if that was promised.
fn assert_delivered(output: &Output, lines: u64, ordered: bool) -> BTreeMap<String, Vec<String>> {
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert_eq!((output.status.code(), stderr.as_str()), (Some(0), ""), "{stdout}");
    let rows = summary(output);
    assert_eq!((number(&rows, "lines written"), number(&rows, "events received")), (lines, lines), "{stdout}");
    assert_eq!((number(&rows, "lost"), number(&rows, "duplicates")), (0, 0), "{stdout}");
    if ordered {
        assert_eq!(number(&rows, "out of order"), 0, "{stdout}");
    }
    assert!(!rows.contains_key("unknown") && !rows.contains_key("discarded"), "{stdout}");
    rows
}

fn count(n: usize) -> u64 {
    u64::try_from(n).expect("a small number")
}

#[test]
fn services_are_carried_and_every_line_is_accounted_for() {
    let directory = tempfile::tempdir().unwrap();
    let output = run(directory.path(), &["--seconds", "2", "--rate", "400"]);
    let rows = assert_delivered(&output, 800, true);
    assert!(number(&rows, "Kinesis records") * 4 < 800, "{rows:?}");
    assert!(number(&rows, "payload units") * 4 < 800, "{rows:?}");
    let stdout = text(&output.stdout);
    assert!(!stdout.contains('\x1b') && !stdout.contains('\r'), "no terminal: {stdout:?}");
    let place = |what: &str| stdout.find(what).unwrap_or_else(|| panic!("no {what:?} in {stdout}"));
    assert!(place("\nshard ") < place(" rotated: ") && place(" rotated: ") < place("\nlines written "));
    assert_eq!(stdout.matches(" rotated: ").count(), 1);
    let metrics = &rows["metrics"][0];
    assert!(metrics.starts_with("http://127.0.0.1:") && metrics.ends_with("/metrics"), "{metrics}");
    assert!(place(metrics) < place("\nshard "), "the address is told while it can be used");
    assert_empty(directory.path());
}

/// Bytes that logs hold: carriage returns, blank lines, NULs, no UTF-8, lines that look alike, long ones, no newline at the end.
fn odd_file() -> (Vec<u8>, u64) {
    let mut bytes =
        b"\r\n\n\n  \nsame\nsame\r\nsame\n\0\0\nnul \0 within\n\xff\xfe\xc3(\n{\"a\":1}\n{\"a\":\n\x1b[31mred\n"
            .to_vec();
    for n in 0..300 {
        bytes.extend(format!("{n} ").repeat(n).into_bytes());
        bytes.push(b'\n');
    }
    bytes.extend(b"x".repeat(200_000));
    bytes.extend(b"\nthe last line has no newline");
    let lines = bytes.split(|&byte| byte == b'\n').count();
    (bytes, count(lines))
}

#[test]
fn a_file_of_odd_bytes_arrives_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let files = tempfile::tempdir().unwrap();
    let (bytes, lines) = odd_file();
    let path = files.path().join("odd [1]*.log");
    std::fs::write(&path, &bytes).unwrap();
    let path = path.to_str().unwrap();
    for (format, partition_key) in [("kpl", "source"), ("kpl", "random"), ("lines", "source"), ("single", "random")] {
        let output = run(directory.path(), &["--file", path, "--format", format, "--partition-key", partition_key]);
        assert_delivered(&output, lines, partition_key == "source");
    }
    assert_eq!(std::fs::read(path).unwrap(), bytes, "the file is only read");
    assert_empty(directory.path());
}

#[test]
fn small_files_arrive_too() {
    let directory = tempfile::tempdir().unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    for (bytes, lines) in [(&b""[..], 0), (b"\n", 1), (b"x", 1), (b"x\n", 1), (b"\n\n\ny", 4)] {
        std::fs::write(path, bytes).unwrap();
        assert_delivered(&run(directory.path(), &["--file", path]), lines, true);
    }
}

#[test]
fn json_is_parsed_and_blank_lines_are_counted() {
    let directory = tempfile::tempdir().unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), " {\"a\":1} \r\n\n{\"a\":2}\nno json\n{\"a\":2}\n").unwrap();
    let output = run(directory.path(), &["--file", file.path().to_str().unwrap(), "--parse", "json"]);
    let rows = assert_delivered(&output, 4, true);
    assert_eq!(number(&rows, "blank lines"), 1);
}

#[test]
fn a_line_that_no_record_holds_is_joined_again() {
    let directory = tempfile::tempdir().unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    let long: String = (0..).map(|n: u32| format!("é{n}\t")).take(400_000).collect();
    std::fs::write(file.path(), format!("before\n{long}\r\nafter\n")).unwrap();
    let output = run(directory.path(), &["--file", file.path().to_str().unwrap()]);
    let rows = assert_delivered(&output, 3, true);
    assert_eq!(number(&rows, "in parts"), 1);
}

#[test]
fn what_cannot_be_done_is_a_mistake_of_usage() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing").to_string_lossy().into_owned();
    let here = directory.path().to_string_lossy().into_owned();
    let wrong: [&[&str]; 6] = [
        &["--file", &missing],
        &["--file", &here],
        &["--parse", "xml"],
        &["--seconds", "0"],
        &["--rate", "-1"],
        &["--file", &missing, "--rate", "5"],
    ];
    for arguments in wrong {
        let output = run(directory.path(), arguments);
        assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(2), ""), "{arguments:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
    assert_empty(directory.path());
}

fn spawn(directory: &Path, arguments: &[&str]) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut child =
        demo(directory, arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it was built");
    let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
    (child, stdout)
}

/// Reads until an event is shown.
fn first_event(stdout: &mut impl std::io::BufRead) {
    let mut lines = stdout.lines().map(|line| line.expect("it is text"));
    assert!(lines.any(|line| line.starts_with("shard ")), "it ended without an event");
}

#[test]
fn a_reader_that_leaves_ends_the_demo_early_and_is_no_failure() {
    let directory = tempfile::tempdir().unwrap();
    let (child, mut stdout) = spawn(directory.path(), &["--seconds", "300", "--rate", "100"]);
    first_event(&mut stdout);
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
    assert_empty(directory.path());
}

#[test]
fn an_interrupt_ends_the_writing_and_the_summary_comes() {
    let directory = tempfile::tempdir().unwrap();
    let (child, mut stdout) = spawn(directory.path(), &["--seconds", "300", "--rate", "100"]);
    first_event(&mut stdout);
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let mut rest = Vec::new();
    stdout.read_to_end(&mut rest).unwrap();
    let Output { status, stderr, .. } = child.wait_with_output().unwrap();
    let output = Output { status, stdout: rest, stderr };
    let written = number(&summary(&output), "lines written");
    assert_delivered(&output, written, true);
    assert_empty(directory.path());
}
