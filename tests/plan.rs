//! `kinetail plan` on three samples, on a page of metrics and on an agent that runs, with figures that are computed here by hand from what was
//! written.

#![expect(clippy::unwrap_used, reason = "a panic is how a test's helpers fail")]

#[path = "support/canned.rs"]
#[expect(dead_code, reason = "what was asked is of no interest here")]
mod canned;
#[path = "support/harness.rs"]
#[expect(dead_code, reason = "not every test file needs all of it")]
mod harness;

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use canned::{Canned, Reply};
use harness::{Setup, Stand, until};
use serde_json::{Value, json};

const MONTH_SECONDS: f64 = 730.0 * 3_600.0;

fn plan(sample: &Path, flags: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_kinetail"))
        .env_clear()
        .env("KINETAIL_STREAM", "logs")
        .env("KINETAIL_PATHS", "/var/log/app/*.log")
        .arg("plan")
        .arg(sample)
        .args(flags)
        .arg("--json")
        .output()
        .expect("the binary runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("it prints JSON")
}

fn write(lines: impl IntoIterator<Item = String>) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("there is room for a file");
    let text: String = lines.into_iter().flat_map(|line| [line, "\n".to_owned()]).collect();
    std::fs::write(file.path(), text).expect("a file is written");
    file
}

#[track_caller]
fn close_to(got: &Value, want: f64, within: f64) {
    let got = got.as_f64().unwrap_or_else(|| panic!("{got} is no number"));
    assert!((got - want).abs() <= want.abs() * within, "{got} is not {want}");
}

/// 1,000 lines of 199 bytes are events of 200 with their newline. In an aggregate each takes 8 bytes more: the tag and length of the
/// record (three bytes), the index of its key (two), the tag and length of its data (three). With 54 for its own key, the key in it, magic and MD5, 51,200
/// bytes have 245 of them, which at 5,000 a second is quicker than the 100 ms that they wait at most.
#[test]
fn plain_lines_at_five_thousand_a_second() {
    let sample = write((0..1_000).map(|n| format!("{n:0199}")));
    let plan = plan(sample.path(), &["--events-per-second", "5000", "--peak", "4", "--headroom", "50"]);
    let records = 5_000.0 / 245.0;
    close_to(&plan["load"]["event_bytes"], 1_000_000.0, 1e-9);
    close_to(&plan["load"]["packed"]["records"], records, 0.01);
    close_to(&plan["load"]["packed"]["bytes"], records * (245.0 * 208.0 + 54.0), 0.01);
    close_to(&plan["load"]["packed"]["payload_units"], 2.0 * records, 0.01);
    close_to(&plan["load"]["one_by_one"]["payload_units"], 5_000.0, 1e-9);
    close_to(&plan["load"]["one_by_one"]["rounded_bytes"], 5_120_000.0, 1e-9);
    // 1.041 MB/s, four times that and a half more: 5.96 shards. 5,000 records/s the same way: 30.
    assert_eq!((&plan["shards"]["packed"]["needed"], &plan["shards"]["one_by_one"]["needed"]), (&6.into(), &30.into()));
    let units = 2.0 * records * MONTH_SECONDS / 1e6;
    close_to(&plan["month"]["packed"]["provisioned"], 6.0 * 730.0 * 0.015 + units * 0.014, 0.01);
    let alone = 30.0 * 730.0 * 0.015 + 5_000.0 * MONTH_SECONDS / 1e6 * 0.014;
    close_to(&plan["month"]["one_by_one"]["provisioned"], alone, 1e-6);
    let gigabytes = 5_120_000.0 * MONTH_SECONDS / f64::from(1 << 30);
    close_to(&plan["month"]["one_by_one"]["on_demand"], 730.0 * 0.04 + gigabytes * 0.08, 1e-6);
}

/// At one event in ten seconds nothing waits for company as long as that: a record is an event, and rounding is all that counts.
#[test]
fn a_quiet_service_has_nothing_to_pack() {
    let sample = write((0..60).map(|n| format!("{{\"n\":{n}}}")));
    let plan = plan(sample.path(), &["--over", "10m", "--parse", "json"]);
    close_to(&plan["load"]["events"], 0.1, 1e-9);
    close_to(&plan["load"]["packed"]["records"], 0.1, 0.001);
    close_to(&plan["load"]["packed"]["payload_units"], 0.1, 0.01);
    assert_eq!(plan["shards"]["packed"]["needed"], 1);
    close_to(&plan["month"]["packed"]["provisioned"], 730.0 * 0.015 + 0.1 * MONTH_SECONDS / 1e6 * 0.014, 0.001);
}

/// Nine lines in ten are one tenant's. 10,000 events of 312 bytes a second are 3 MB, of which one shard takes one.
#[test]
fn a_hot_key_is_told_of_and_no_number_of_shards_hides_it() {
    let pad = "x".repeat(270);
    let tenant = |n: usize| if n.is_multiple_of(10) { format!("t{}", n % 70) } else { "big".to_owned() };
    let sample = write((0..5_000).map(|n| format!("{{\"tenant\":\"{}\",\"pad\":\"{pad}\"}}", tenant(n))));
    let flags = [
        "--parse",
        "json",
        "--partition-key",
        "{tenant}",
        "--events-per-second",
        "10000",
        "--peak",
        "1",
        "--agents",
        "20",
    ];
    let plan = plan(sample.path(), &flags);
    assert_eq!(plan["keys"][0]["partition_key"], "big");
    close_to(&plan["keys"][0]["share"], 0.9, 0.01);
    assert_eq!(plan["shards"]["packed"]["for_keys"], Value::Null);
    let warning = plan["hot_key"].as_str().unwrap();
    assert!(warning.contains("\"big\" alone takes") && warning.contains("random"), "{warning}");
}

#[test]
fn what_cannot_be_planned_is_said() {
    let fails = |arguments: &[&str], code: i32, says: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_kinetail"))
            .env_clear()
            .envs([("KINETAIL_STREAM", "logs"), ("KINETAIL_PATHS", "/var/log/app/*.log")])
            .arg("plan")
            .args(arguments)
            .output()
            .expect("the binary runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(says), "{said}");
    };
    let empty = write([]);
    let prices = write(["{\"shard_hour\": -1}".to_owned()]);
    let (empty, prices) = (empty.path().to_str().unwrap(), prices.path().to_str().unwrap());
    fails(&[empty, "--events-per-second", "1"], 1, "the sample has no events");
    fails(&["/no/such.log", "--events-per-second", "1"], 1, "/no/such.log: cannot be read");
    fails(&[empty], 2, "--events-per-second");
    fails(&[empty, "--events-per-second", "0"], 2, "a number above 0");
    fails(&[empty, "--over", "1h", "--source", "x"], 2, "there is no source \"x\"; the sources are files");
    fails(&[empty, "--over", "1h", "--prices", prices], 2, "shard_hour is -1");
}

// === from an agent that runs ===

/// `kinetail plan` without any settings, on a thread of its own.
async fn plan_from(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kinetail"));
    command.env_clear().arg("plan").args(arguments);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

async fn planned(arguments: &[&str]) -> Value {
    let output = plan_from(arguments).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// An agent's metrics after so many records of 160 events each: of 51,200 bytes, which are three payload units of 25,600 as they are a byte over two.
fn metrics(records: u64) -> String {
    let mut text = "# HELP kinetail_build_info The version that runs; always 1.\n# TYPE kinetail_build_info gauge\nkinetail_build_info{version=\"0.1.0\"} 1\n".to_owned();
    let each = [
        ("kinesis_user_records_total", 160),
        ("kinesis_records_total", 1),
        ("kinesis_bytes_total", 51_201),
        ("kinesis_payload_units_total", 3),
        ("kinesis_rounded_bytes_total", 52_224),
        ("kinesis_unaggregated_bytes_total", 160 * 316),
        ("kinesis_unaggregated_payload_units_total", 160),
        ("kinesis_unaggregated_rounded_bytes_total", 160 * 1_024),
    ];
    for (name, each) in each {
        let line = format!("kinetail_{name}{{stream=\"logs\"}} {}\n", records * each);
        text.extend(["# TYPE kinetail_", name, " counter\n", &line]);
    }
    let read = records * 160 * 300;
    text + &format!(
        "kinetail_source_read_bytes_total{{source=\"app\"}} {read}\nkinetail_source_backlog_bytes{{source=\"app\"}} 0\nkinetail_kinesis_shards{{stream=\"logs\"}} 2\n"
    )
}

/// 40 records between the two readings, of 20 such agents: 800 and 128,000 events. A tenth of the bytes is of one key.
#[tokio::test]
async fn figures_are_those_of_the_metrics_that_are_served() {
    let mut scrapes = 0;
    let server = Canned::start(move |asked| match &*asked.path {
        "/metrics" => {
            scrapes += 1;
            Reply::Say(200, "text/plain", metrics(if scrapes % 2 == 1 { 1_000 } else { 1_040 }))
        }
        "/status" => {
            let hot = json!([{"partition_key": "big", "share_of_stream": 0.1}]);
            let status = json!({
                "streams": {"logs": {"hot_keys": hot}}, "configuration": "kinesis:\n  partition_key: \"{tenant}\"\n",
                "history": {"delivered_events_per_second": [null, 1.0]},
            });
            Reply::Say(200, "application/json", status.to_string())
        }
        _ => Reply::Say(404, "text/plain", String::new()),
    })
    .await;
    let from = format!("http://{}/", server.address);
    let flags = ["--from", &from, "--seconds", "1", "--agents", "20", "--peak", "4", "--headroom", "50"];
    let plan = planned(&[&flags[..], &["--json"]].concat()).await;
    let seconds = plan["measured"]["seconds"].as_f64().unwrap();
    assert!((1.0..30.0).contains(&seconds), "{seconds}");
    assert_eq!(plan["measured"]["delivered_events"], 6_400.0);
    assert_eq!((&plan["measured"]["open_shards"], &plan["measured"]["stream"]), (&json!(2.0), &json!("logs")));
    let records = 800.0 / seconds;
    let (packed, alone) = (&plan["load"]["packed"], &plan["load"]["one_by_one"]);
    close_to(&packed["records"], records, 1e-9);
    close_to(&packed["bytes"], records * 51_201.0, 1e-9);
    close_to(&packed["payload_units"], records * 3.0, 1e-9);
    close_to(&packed["rounded_bytes"], records * 52_224.0, 1e-9);
    close_to(&alone["records"], records * 160.0, 1e-9);
    close_to(&alone["bytes"], records * 160.0 * 316.0, 1e-9);
    close_to(&alone["rounded_bytes"], records * 160.0 * 1_024.0, 1e-9);
    // Four times that and a half more, in shards of 1 MiB and 1,000 records a second.
    let for_bytes = (records * 51_201.0 * 6.0 / 1_048_576.0).ceil();
    close_to(&plan["shards"]["packed"]["for_bytes"], for_bytes, 1e-9);
    close_to(&plan["shards"]["one_by_one"]["for_records"], (records * 160.0 * 6.0 / 1_000.0).ceil(), 1e-9);
    // A tenth of that is of one key, which is more than a shard takes.
    assert_eq!(plan["keys"], json!([{"partition_key": "big", "share": 0.1}]));
    assert_eq!(plan["shards"]["packed"]["for_keys"], Value::Null);
    assert!(plan["hot_key"].as_str().unwrap().contains("\"big\" alone takes"));
    let units = records * 3.0 * MONTH_SECONDS / 1e6;
    close_to(&plan["month"]["packed"]["provisioned"], for_bytes * 730.0 * 0.015 + units * 0.014, 1e-9);
    let gigabytes = records * 52_224.0 * MONTH_SECONDS / f64::from(1 << 30);
    close_to(&plan["month"]["packed"]["on_demand"], 730.0 * 0.04 + gigabytes * 0.08, 1e-9);

    let output = plan_from(&flags).await;
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains(&format!(
            "http://{}: 6400 events delivered to logs, which has 2 open shards; 20 agents like it",
            server.address
        )),
        "{text}"
    );
    assert!(
        text.contains(
            "gain        160.0 times fewer records, 53.3 times fewer PUT payload units, 3.1 times fewer bytes billed"
        ),
        "{text}"
    );
    let output = plan_from(&[&flags[..], &["--terraform"]].concat()).await;
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("mode        = \"PROVISIONED\"\nshard_count = "), "{text}");
}

/// Lines of 99 bytes and their newline, of which seven in ten are one tenant's: written while it is measured.
#[tokio::test]
async fn an_agent_that_runs_is_measured() {
    let stand = Stand::start(2).await;
    let mut setup = Setup::new(&stand.endpoint());
    setup.set("KINETAIL_PARSE", "json");
    setup.set("KINETAIL_PARTITION_KEY", "{tenant}");
    let agent = setup.run().await;
    let from = agent.admin.to_string();
    let output = plan_from(&["--from", &from, "--seconds", "1"]).await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && said.contains("the agent has delivered nothing yet"), "{said}");

    let mut log = std::fs::File::create(setup.log("app.log")).unwrap();
    let mut write = |count: usize| {
        for n in 0..count {
            let tenant = if n % 10 < 7 { "big" } else { "t00" };
            let line = format!("{{\"tenant\":\"{tenant}\",\"pad\":\"{}\"}}\n", "x".repeat(74));
            assert_eq!(line.len(), 100);
            log.write_all(line.as_bytes()).unwrap();
        }
        count
    };
    let mut written = write(100);
    until("the first events", async || (agent.metric("kinesis_user_records_total").await == 100).then_some(())).await;
    let flags = ["--from", &from, "--seconds", "2", "--json"];
    let measuring = plan_from(&flags);
    let mut measuring = std::pin::pin!(measuring);
    let output = loop {
        tokio::select! {
            output = &mut measuring => break output,
            () = tokio::time::sleep(Duration::from_millis(20)) => written += write(20),
        }
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
    let measured = &plan["measured"];
    let events = measured["delivered_events"].as_f64().unwrap();
    assert!(events > 100.0 && events <= f64::from(u32::try_from(written).unwrap()), "{events} of {written}");
    assert_eq!((&measured["stream"], &measured["open_shards"]), (&json!("events"), &json!(2.0)));
    let (packed, alone) = (&plan["load"]["packed"], &plan["load"]["one_by_one"]);
    let rate = alone["records"].as_f64().unwrap();
    // One by one an event is its 100 bytes with its key of three.
    close_to(&alone["bytes"], rate * 103.0, 1e-9);
    close_to(&alone["payload_units"], rate, 1e-9);
    close_to(&alone["rounded_bytes"], rate * 1_024.0, 1e-9);
    let records = packed["records"].as_f64().unwrap();
    assert!(records < rate / 2.0 && packed["bytes"].as_f64().unwrap() > rate * 100.0, "{packed} for {rate} events/s");
    assert_eq!(plan["keys"][0]["partition_key"], "big");
    close_to(&plan["keys"][0]["share"], 0.7, 0.02);

    let output = plan_from(&["--from", &from, "--seconds", "1", "--stream", "other"]).await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && said.contains("nothing to \"other\"; its streams are events"), "{said}");
    agent.stop().await;
}

#[tokio::test]
async fn what_is_no_agent_is_said() {
    let server = Canned::start(|asked| match &*asked.path {
        "/metrics" => Reply::Say(200, "text/plain", "up 1\n".to_owned()),
        _ => Reply::Say(503, "text/plain", "not here".to_owned()),
    })
    .await;
    let nobody = canned::reserved();
    let free = nobody.local_addr().unwrap().to_string();
    let (other, wrong) = (format!("http://{}", server.address), format!("http://{}/x", server.address));
    for (from, says) in [
        (&*free, "nothing listens there"),
        (&*other, "is no kinetail"),
        (&*wrong, "/x/metrics answered 503"),
        ("https://127.0.0.1:1", "no address that begins with http://"),
    ] {
        let output = plan_from(&["--from", from, "--seconds", "1"]).await;
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && said.contains(says), "{from}: {said}");
    }
    for arguments in [
        &["--from", &*free, "x.log"][..],
        &["--from", &free, "--over", "1h"],
        &["--seconds", "1", "x.log", "--over", "1h"],
        &[],
    ] {
        assert_eq!(plan_from(arguments).await.status.code(), Some(2), "{arguments:?}");
    }
}
