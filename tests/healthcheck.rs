//! `kinetail healthcheck` with the real binary, against an agent and against servers that do not answer as one.

#![expect(clippy::unwrap_used, reason = "a panic is how a test's helpers fail")]

#[path = "support/canned.rs"]
#[expect(dead_code, reason = "what was asked is of no interest here")]
mod canned;
#[path = "support/harness.rs"]
#[expect(dead_code, reason = "not every test file needs all of it")]
mod harness;

use std::process::Command;

use canned::{Canned, Reply};
use harness::{Log, Setup, Stand, until};
use serde_json::json;
use tokio::time::Instant;

/// The exit code, stdout and stderr.
async fn check(arguments: &[&str], environment: &[(&str, &str)]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kinetail"));
    command.arg("healthcheck").args(arguments).env_clear().envs(environment.iter().copied());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn an_agent_is_asked_where_its_configuration_says() {
    let stand = Stand::start(1).await;
    let setup = Setup::new(&stand.endpoint());
    let agent = setup.run().await;
    let address = agent.admin.to_string();
    let everywhere = format!("0.0.0.0:{}", agent.admin.port());
    for (arguments, environment) in [
        (&["--admin", &address][..], &[][..]),
        (&["--admin", &address, "--live"], &[]),
        (&[], &[("KINETAIL_ADMIN_LISTEN", &*everywhere)]),
        (&["--url", &format!("http://{address}/status")], &[]),
    ] {
        let (code, stdout, stderr) = check(arguments, environment).await;
        assert_eq!((code, stderr.as_str()), (0, ""), "{arguments:?}");
        assert!(stdout == "ok\n" || stdout.contains("\"ledger\""), "{stdout}");
    }
    let file = setup.dir.path().join("kinetail.yaml");
    std::fs::write(&file, json!({"admin": {"listen": address}}).to_string()).unwrap();
    assert_eq!(check(&["--config", file.to_str().unwrap()], &[]).await.0, 0);
    agent.stop().await;
    let (code, stdout, stderr) = check(&["--admin", &address], &[]).await;
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.contains("cannot connect to") && stderr.contains("nothing listens there"), "{stderr}");
}

#[tokio::test]
async fn a_blocked_agent_is_alive_and_not_ready() {
    let stand = Stand::with(vec![("other".to_owned(), 1)]).await;
    let setup = Setup::new(&stand.endpoint());
    let agent = setup.run().await;
    Log::create(&setup.log("app.log")).append(10);
    until("it to be blocked", async || (agent.get("/readyz").await.0 == 503).then_some(())).await;
    let address = agent.admin.to_string();
    let (code, _, stderr) = check(&["--admin", &address], &[]).await;
    assert_eq!(code, 1);
    assert!(stderr.contains("answered 503: stream events is blocked: ResourceNotFoundException"), "{stderr}");
    assert_eq!(check(&["--admin", &address, "--live"], &[]).await.0, 0);
}

#[tokio::test]
async fn what_does_not_answer_is_not_waited_for() {
    for (reply, words) in [
        (Reply::Hang, "did not answer within 200ms"),
        (Reply::Close, "did not answer in HTTP"),
        (Reply::Say(500, "text/plain", "broken".to_owned()), "answered 500: broken"),
    ] {
        let canned = Canned::start(move |_| reply.clone()).await;
        let began = Instant::now();
        let (code, _, stderr) = check(&["--admin", &canned.address.to_string(), "--timeout", "200ms"], &[]).await;
        assert_eq!(code, 1);
        assert!(stderr.contains(words), "no {words:?} in {stderr}");
        assert!(began.elapsed().as_secs() < 30);
    }
}

#[tokio::test]
async fn what_cannot_be_asked_is_said() {
    for (arguments, environment, words) in [
        (&["--admin", "localhost"][..], &[][..], "--admin: \"localhost\" is no address"),
        (&["--url", "https://localhost/"], &[], "no address that begins with http://"),
        (&[], &[("KINETAIL_ADMIN_LISTEN", "off")], "the admin server is off"),
        (&[], &[("KINETAIL_ADMIN_LISTEN", "127.0.0.1:0")], "port is 0"),
        (&[], &[("KINETAIL_ADMIN_LISTEN", "nonsense")], "KINETAIL_ADMIN_LISTEN"),
        (&["--config", "/nonexistent.yaml"], &[], "cannot be read"),
    ] {
        let (code, stdout, stderr) = check(arguments, environment).await;
        assert_eq!((code, stdout.as_str()), (1, ""), "{arguments:?}");
        assert!(stderr.contains(words), "no {words:?} in {stderr}");
    }
}
