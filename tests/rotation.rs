//! The real binary and real files that are rotated, copied, deleted and replaced, seen or unseen: every line arrives once and in order, and what
//! cannot arrive is counted. Thousands of random mixtures of this are in `tail.rs`; here is each by itself, through to the consumer.

#![expect(clippy::unwrap_used, reason = "a panic is how a test's helpers fail")]

#[path = "support/harness.rs"]
mod harness;

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use harness::{Agent, Consumer, Log, Setup, Stand, assert_exact, http, open, until};
use serde_json::json;

/// A stream of one shard, and an agent that keeps the order and watches rotated files no longer than a moment.
async fn start() -> (Stand, Setup, Consumer) {
    let stand = Stand::start(1).await;
    let mut setup = Setup::new(&stand.endpoint());
    setup.set("KINETAIL_PARTITION_KEY", "source");
    let consumer = Consumer::new(&stand).await;
    (stand, setup, consumer)
}

/// A file beside another one.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// What logrotate's `copytruncate` does.
fn copy_and_truncate(log: &Log, suffix: &str) {
    fs::copy(&log.path, beside(&log.path, suffix)).unwrap();
    log.file.set_len(0).unwrap();
}

/// What logrotate does by itself.
fn rename_and_create(log: &mut Log, suffix: &str) {
    fs::rename(&log.path, beside(&log.path, suffix)).unwrap();
    log.file = open(&log.path);
}

/// Waits until all has arrived, stops the agent and reads once more: nothing else may have come.
async fn assert_delivered(agent: Agent, logs: &[&Log], consumer: &mut Consumer) {
    consumer.receive(logs).await;
    agent.stop().await;
    consumer.look().await;
    assert_exact(logs, consumer, true);
}

fn rotations(kind: &str) -> String {
    format!("file_rotations_total{{kind=\"{kind}\"}}")
}

#[tokio::test]
async fn a_copy_is_read_to_its_end_whatever_has_become_of_the_original() {
    for paths in ["app.log", "app*"] {
        let (_stand, mut setup, mut consumer) = start().await;
        setup.set("KINETAIL_PATHS", setup.log(paths).to_str().unwrap());
        let mut log = Log::create(&setup.log("app.log"));
        log.append(300);
        let agent = setup.run().await;
        consumer.receive(&[&log]).await;
        for round in 0..3 {
            // The agent sees nothing until the file is longer than it was before.
            agent.signal("-STOP");
            log.append(200);
            copy_and_truncate(&log, &format!(".{round}"));
            log.append(1500);
            agent.signal("-CONT");
            consumer.receive(&[&log]).await;
            let files = fs::read_dir(setup.log("app.log").parent().unwrap()).unwrap();
            let written: u64 = files.map(|file| file.unwrap().metadata().unwrap().len()).sum();
            let told = async || agent.metric("source_settled_bytes_total").await;
            until("all bytes to be told of", async || (told().await == written).then_some(())).await;
        }
        assert_eq!(agent.metric(&rotations("copytruncate")).await, 3, "{paths}");
        assert_eq!(agent.metric("abandoned_bytes_total").await, 0, "{paths}");
        assert_delivered(agent, &[&log], &mut consumer).await;
    }
}

#[tokio::test]
async fn a_copy_that_was_made_while_it_was_down_is_read_to_its_end() {
    for paths in ["app.log", "app*"] {
        let (_stand, mut setup, mut consumer) = start().await;
        setup.set("KINETAIL_PATHS", setup.log(paths).to_str().unwrap());
        let mut log = Log::create(&setup.log("app.log"));
        log.append(300);
        let agent = setup.run().await;
        consumer.receive(&[&log]).await;
        agent.stop().await;
        log.append(200);
        copy_and_truncate(&log, ".1");
        log.append(1000);
        let agent = setup.run().await;
        assert_delivered(agent, &[&log], &mut consumer).await;
        // What it has learnt of the copy it still knows after another start.
        log.append(10);
        let agent = setup.run().await;
        assert_delivered(agent, &[&log], &mut consumer).await;
    }
}

#[tokio::test]
async fn a_file_that_came_and_was_rotated_unseen_is_read() {
    for is_down in [false, true] {
        for paths in ["app.log", "app*"] {
            let (_stand, mut setup, mut consumer) = start().await;
            setup.set("KINETAIL_PATHS", setup.log(paths).to_str().unwrap());
            let mut log = Log::create(&setup.log("app.log"));
            // A file that is none of its rotated ones is none of its business.
            fs::write(setup.log("app.log.swp"), "not a log\n").unwrap();
            let swap = setup.log("app.log.swp").to_str().unwrap().to_owned();
            setup.configure(&json!({ "sources": [{ "exclude": [swap] }] }));
            log.append(300);
            let mut agent = Some(setup.run().await);
            consumer.receive(&[&log]).await;
            match &agent {
                Some(agent) if !is_down => agent.signal("-STOP"),
                _ => agent.take().unwrap().stop().await,
            }
            log.append(100);
            rename_and_create(&mut log, ".1");
            log.append(100);
            fs::rename(beside(&log.path, ".1"), beside(&log.path, ".2")).unwrap();
            rename_and_create(&mut log, ".1");
            log.append(100);
            match &agent {
                Some(agent) => agent.signal("-CONT"),
                None => agent = Some(setup.run().await),
            }
            assert_delivered(agent.unwrap(), &[&log], &mut consumer).await;
        }
    }
}

#[tokio::test]
async fn a_file_that_is_saved_anew_is_read_on() {
    let (_stand, setup, mut consumer) = start().await;
    let mut log = Log::create(&setup.log("app.log"));
    log.append(500);
    let agent = setup.run().await;
    consumer.receive(&[&log]).await;
    // As an editor does: what was there and something more, in a new file over the old one.
    let draft = setup.dir.path().join("draft");
    fs::copy(&log.path, &draft).unwrap();
    log.file = OpenOptions::new().append(true).open(&draft).unwrap();
    log.append(50);
    fs::rename(&draft, &log.path).unwrap();
    consumer.receive(&[&log]).await;
    log.append(50);
    until("the replacement", async || (agent.metric(&rotations("replace")).await == 1).then_some(())).await;
    assert_delivered(agent, &[&log], &mut consumer).await;
}

#[tokio::test]
async fn what_a_deleted_file_still_held_is_given_up_in_the_end_and_counted() {
    let (stand, mut setup, mut consumer) = start().await;
    setup.set("KINETAIL_MEMORY_LIMIT", "1MiB");
    setup.configure(&json!({ "sources": [{ "deleted": { "max_wait": "200ms" }, "rotate_wait": "100ms" }] }));
    let denied =
        json!({ "operations": ["PutRecords"], "fail_requests": 1, "fail_requests_code": "AccessDeniedException" });
    assert_eq!(http(stand.address, "POST", "/_kinetail/faults", &denied.to_string()).await.0, 200);
    let mut log = Log::create(&setup.log("app.log"));
    log.append(60_000);
    let size = fs::metadata(&log.path).unwrap().len();
    let agent = setup.run().await;
    until("all the memory to be used", async || (agent.metric("buffer_bytes").await > 700_000).then_some(())).await;
    fs::remove_file(&log.path).unwrap();
    let given_up = until("the end of the wait", async || {
        Some(agent.metric("abandoned_bytes_total{reason=\"deleted\"}").await).filter(|bytes| *bytes > 0)
    })
    .await;
    assert!(agent.log().contains("the rest of a file is not delivered"));
    let read = agent.metric("source_read_bytes_total").await;
    // A partial line at the end of what was read belongs to neither.
    assert!(given_up + read <= size && given_up + read + 256 > size, "{given_up} + {read} of {size}");
    assert_eq!(http(stand.address, "POST", "/_kinetail/faults", "{}").await.0, 200);
    let events = agent.metric("events_total").await;
    until("what was read", async || {
        consumer.look().await;
        (consumer.events.len() as u64 == events).then_some(())
    })
    .await;
    agent.stop().await;
}

#[tokio::test]
async fn a_line_that_is_never_finished_is_sent_and_its_rest_is_not_lost() {
    let (_stand, mut setup, mut consumer) = start().await;
    setup.configure(&json!({ "sources": [{ "partial_line_timeout": "50ms" }] }));
    let mut log = Log::create(&setup.log("app.log"));
    log.append(10);
    log.raw(b"begun and");
    let agent = setup.run().await;
    let has = |consumer: &Consumer, line: &[u8]| consumer.events.iter().any(|e| e.data == line);
    until("the begun line", async || {
        consumer.look().await;
        has(&consumer, b"begun and").then_some(())
    })
    .await;
    log.raw(b" ended\n");
    until("its rest", async || {
        consumer.look().await;
        has(&consumer, b" ended").then_some(())
    })
    .await;
    consumer.receive(&[&log]).await;
    agent.stop().await;
    consumer.look().await;
    assert_eq!(consumer.events.len(), 12);
}

#[tokio::test]
async fn the_oldest_file_is_read_first_where_that_is_asked_for() {
    let (_stand, mut setup, mut consumer) = start().await;
    setup.set("KINETAIL_PARTITION_KEY", "random");
    setup.configure(&json!({ "sources": [{ "oldest_first": true }], "kinesis": { "max_in_flight_requests": 1 } }));
    // More than one turn's worth of each; by name they would come the other way round.
    let mut old = Log::create(&setup.log("b.log"));
    old.append(20_000);
    let hour_ago = old.file.metadata().unwrap().modified().unwrap() - std::time::Duration::from_hours(1);
    let mut new = Log::create(&setup.log("a.log"));
    new.append(20_000);
    old.file.set_modified(hour_ago).unwrap();
    let agent = setup.run().await;
    consumer.receive(&[&old, &new]).await;
    agent.stop().await;
    let is_old: Vec<bool> = consumer.events.iter().map(|e| old.has(&e.data)).collect();
    let last_old = is_old.iter().rposition(|old| *old).unwrap();
    let early_new = is_old[..last_old].iter().filter(|old| !**old).count();
    assert_eq!(early_new, 0, "lines of the newer file came before the end of the older one");
}

#[tokio::test]
async fn what_is_left_out_and_what_is_compressed_is_not_read() {
    let (_stand, mut setup, mut consumer) = start().await;
    let logs = setup.dir.path().join("logs");
    setup.set("KINETAIL_PATHS", logs.join("**").to_str().unwrap());
    let private = logs.join("private/**").to_str().unwrap().to_owned();
    setup.configure(&json!({ "sources": [{ "exclude": ["*.tmp", private] }] }));
    fs::create_dir_all(logs.join("private/deep")).unwrap();
    for name in ["app.log.1.gz", "app.log.2.zst", "x.tmp", "private/x.log", "private/deep/y.log"] {
        fs::write(logs.join(name), "nobody wants this\n").unwrap();
    }
    fs::create_dir_all(logs.join("later")).unwrap();
    let mut log = Log::create(&logs.join("later/app.log"));
    log.append(10);
    let agent = setup.run().await;
    consumer.receive(&[&log]).await;
    // A directory that comes later, and a link to a file that is read already.
    fs::create_dir_all(logs.join("new/deep/er")).unwrap();
    let mut new = Log::create(&logs.join("new/deep/er/new.log"));
    new.append(10);
    std::os::unix::fs::symlink(&log.path, logs.join("link.log")).unwrap();
    fs::hard_link(&log.path, logs.join("hard.log")).unwrap();
    consumer.receive(&[&log, &new]).await;
    log.append(10);
    until("the ignored ones", async || {
        (agent.metric("source_files{source=\"files\",state=\"ignored\"}").await == 2).then_some(())
    })
    .await;
    assert_delivered(agent, &[&log, &new], &mut consumer).await;
}

#[tokio::test]
async fn history_is_not_sent_again_without_a_warning() {
    let (_stand, mut setup, mut consumer) = start().await;
    let mut log = Log::create(&setup.log("app.log"));
    log.append(10);
    let agent = setup.run().await;
    agent.said("state_dir holds no checkpoint").await;
    assert_delivered(agent, &[&log], &mut consumer).await;
    let agent = setup.run().await;
    agent.said("reading a file").await;
    assert!(agent.message("state_dir holds no checkpoint").is_none());
    agent.stop().await;
    setup.set("KINETAIL_STATE_DIR", setup.dir.path().join("another").to_str().unwrap());
    let agent = setup.run().await;
    agent.said("state_dir holds no checkpoint").await;
    agent.stop().await;
}

#[tokio::test]
async fn many_files_take_no_more_descriptors_than_there_are() {
    const LIMIT: usize = 128;
    let (_stand, setup, mut consumer) = start().await;
    let mut logs: Vec<Log> = (0..300).map(|i| Log::create(&setup.log(&format!("{i:03}.log")))).collect();
    for log in &mut logs {
        log.append(20);
    }
    let mut command = Command::new("sh");
    let limited = format!("ulimit -n {LIMIT}; exec \"$0\" run");
    command.args(["-c", &limited, env!("CARGO_BIN_EXE_kinetail")]).env_clear();
    command.envs(setup.command().get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let agent = setup.start(command).await;
    consumer.receive(&logs.iter().collect::<Vec<_>>()).await;
    let descriptors = || fs::read_dir(format!("/proc/{}/fd", agent.child.id())).unwrap().count();
    assert!(descriptors() < LIMIT, "{}", descriptors());
    for (i, log) in logs.iter_mut().enumerate() {
        log.append(5);
        match i % 3 {
            // Closed files are found under another name ...
            0 => rename_and_create(log, ".1"),
            // ... and are told from what took their place.
            1 => copy_and_truncate(log, ".1"),
            _ => {}
        }
        log.append(5);
    }
    consumer.receive(&logs.iter().collect::<Vec<_>>()).await;
    assert!(descriptors() < LIMIT, "{}", descriptors());
    assert!(!agent.log().contains("cannot be read"), "{}", agent.log());
    assert_delivered(agent, &logs.iter().collect::<Vec<_>>(), &mut consumer).await;
}

#[tokio::test]
async fn what_is_written_to_one_of_many_quiet_files_is_noticed() {
    const FILES: usize = 600;
    let (_stand, setup, mut consumer) = start().await;
    let mut logs: Vec<Log> = (0..FILES).map(|i| Log::create(&setup.log(&format!("{i:03}.log")))).collect();
    for log in &mut logs {
        log.append(1);
    }
    let agent = setup.run().await;
    consumer.receive(&logs.iter().collect::<Vec<_>>()).await;
    let quiet = "source_files{source=\"files\",state=\"quiet\"}";
    until("all files to be quiet", async || (agent.metric(quiet).await == FILES as u64).then_some(())).await;
    // One after the other: each wakes its own file, and others in the same directory stay quiet.
    for i in [0, 599, 300, 300] {
        logs[i].append(3);
        consumer.receive(&[&logs[i]]).await;
    }
    // A quiet file is followed through a rotation as any other one.
    rename_and_create(&mut logs[7], ".1");
    logs[7].append(3);
    copy_and_truncate(&logs[8], ".1");
    logs[8].append(3);
    assert_delivered(agent, &logs.iter().collect::<Vec<_>>(), &mut consumer).await;
}
