//! The real binary: exit codes, and what goes to stdout and stderr.

use std::path::PathBuf;
use std::process::{Command, Output};

/// A run of the binary with exactly these variables.
fn kinetail(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kinetail"))
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .output()
        .expect("the binary was built for this test")
}

/// Its exit code, stdout and stderr.
fn outcome(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("the output is text");
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn write(directory: &tempfile::TempDir, text: &str) -> PathBuf {
    let path = directory.path().join("kinetail.yaml");
    std::fs::write(&path, text).expect("the directory was just made");
    path
}

#[test]
fn check_prints_what_is_in_effect() {
    let directory = tempfile::tempdir().unwrap();
    let path = write(&directory, "sources: [{ paths: [/var/log/*.log] }]\nkinesis: { stream: from-file }\n");
    let path = path.to_str().unwrap();
    let (code, stdout, stderr) = outcome(&kinetail(
        &["check", "--config", path, "--stream", "from-flag", "--format=lines"],
        &[("KINETAIL_STREAM", "from-variable"), ("KINETAIL_ENDPOINT", "https://user:hunter2@example.com")],
    ));
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    assert!(stdout.contains("\n  stream: from-flag\n"), "{stdout}");
    assert!(stdout.contains("\n  format: lines\n"), "{stdout}");
    assert!(stdout.contains("\n  endpoint: \"https://***@example.com\"\n"), "{stdout}");
    assert!(stdout.contains("\n      - \"/var/log/*.log\"\n"), "{stdout}");
}

#[test]
fn check_names_every_problem_and_ends_with_2() {
    let directory = tempfile::tempdir().unwrap();
    let path = write(&directory, "sources:\n  - paths: [/a]\n    start_at: begining\n");
    let path = path.to_str().unwrap();
    for command in ["check", "run"] {
        let output = kinetail(&[command, "--config", path, "--parse", "xml"], &[("KINETAIL_FORMAT", "line")]);
        let (code, stdout, stderr) = outcome(&output);
        assert_eq!((code, stdout.as_str()), (Some(2), ""));
        let expected = format!(
            "{path}:1: kinesis.stream: is required; name the stream: in the document, with KINETAIL_STREAM or with --stream\n\
             {path}:3: sources[0].start_at: \"begining\" is not one of beginning, end (did you mean \"beginning\"?)\n\
             KINETAIL_FORMAT: \"line\" is not one of kpl, lines, single (did you mean \"lines\"?)\n\
             --parse: \"xml\" is not one of {}\n",
            kinetail::parse::kind::NAMES.join(", ")
        );
        assert_eq!(stderr, expected);
    }
}

#[test]
fn a_file_that_cannot_be_read_is_a_wrong_configuration() {
    let (code, _, stderr) = outcome(&kinetail(&["check", "--config", "/nonexistent.yaml"], &[]));
    assert_eq!(code, Some(2));
    assert!(stderr.starts_with("--config: \"/nonexistent.yaml\" cannot be read: "), "{stderr}");
}

#[test]
fn a_wrong_command_line_ends_with_2() {
    for arguments in [&["chekc"][..], &["check", "--steam", "x"], &[]] {
        let (code, stdout, stderr) = outcome(&kinetail(arguments, &[]));
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(stderr.contains("kinetail"), "{stderr}");
    }
    let (_, _, stderr) = outcome(&kinetail(&["check", "--steam", "x"], &[]));
    assert!(stderr.contains("--stream"), "{stderr}");
}

#[test]
fn help_and_version_are_no_failure() {
    let (code, stdout, _) = outcome(&kinetail(&["--version"], &[]));
    assert_eq!((code, stdout.trim()), (Some(0), concat!("kinetail ", env!("CARGO_PKG_VERSION"))));
    let (code, stdout, _) = outcome(&kinetail(&["run", "--help"], &[]));
    assert_eq!(code, Some(0));
    assert!(stdout.contains("--state-dir <DIRECTORY>"), "{stdout}");
}

#[test]
fn the_schema_is_json() {
    let (code, stdout, stderr) = outcome(&kinetail(&["schema"], &[]));
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let schema: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(schema, kinetail::config::schema());
    assert_eq!(schema["properties"]["state_dir"]["default"], "/var/lib/kinetail");
}

// === install ===

#[test]
fn install_copies_the_binary_to_a_file_or_a_directory_even_over_one_that_runs() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let own = std::fs::read(env!("CARGO_BIN_EXE_kinetail")).unwrap();
    std::fs::create_dir(at("bin")).unwrap();
    for (path, want) in [(at("bin"), at("bin/kinetail")), (at("bin/"), at("bin/kinetail")), (at("agent"), at("agent"))]
    {
        let (code, stdout, stderr) = outcome(&kinetail(&["install", &path], &[]));
        assert_eq!((code, stdout, stderr.as_str()), (Some(0), format!("{want}\n"), ""));
        assert!(std::fs::read(&want).unwrap() == own);
        assert_eq!(std::fs::metadata(&want).unwrap().permissions().mode() & 0o777, 0o755);
    }
    // A copy that runs cannot be written to, and is replaced.
    let mut command = Command::new(at("agent"));
    let mut running =
        command.args(["local", "--listen", "127.0.0.1:0"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(running.stdout.take().unwrap()), &mut line).unwrap();
    let output = Command::new(at("agent")).args(["install", &at("agent")]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(running.try_wait().unwrap().is_none());
    running.kill().unwrap();
    running.wait().unwrap();
    let names: Vec<_> = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "nothing is left beside it: {names:?}");
}

#[test]
fn install_says_what_keeps_it_from_copying() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("volume/kinetail");
    let (code, stdout, stderr) = outcome(&kinetail(&["install", missing.to_str().unwrap()], &[]));
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(stderr.contains("its directory does not exist"), "{stderr}");
    let (code, _, stderr) = outcome(&kinetail(&["install", "/proc/kinetail"], &[]));
    assert_eq!(code, Some(1));
    assert!(stderr.contains("/proc/kinetail") && stderr.contains("fsGroup"), "{stderr}");
}

#[test]
fn a_system_without_certificates_is_told_of_where_tls_needs_them() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let environment = [
        ("SSL_CERT_FILE", "/there/is/none"),
        ("SSL_CERT_DIR", "/there/is/none"),
        ("AWS_ACCESS_KEY_ID", "any"),
        ("AWS_SECRET_ACCESS_KEY", "any"),
        ("KINETAIL_STREAM", "logs"),
        ("KINETAIL_REGION", "eu-west-1"),
        ("KINETAIL_PATHS", "/there/is/none/*.log"),
        ("KINETAIL_ADMIN_LISTEN", "off"),
        ("KINETAIL_STATE_DIR", state.to_str().unwrap()),
    ];
    let (code, _, said) = outcome(&kinetail(&["run"], &environment));
    assert_eq!(code, Some(1), "{said}");
    for part in ["no certificates that it trusts", "ca-certificates", "kinesis.ca_file", "SSL_CERT_FILE"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}
