//! `kinetail plan` on three samples, with figures that are computed here by hand from what was written.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

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
