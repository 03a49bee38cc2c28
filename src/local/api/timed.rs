//! Tests of operations that depend on the time, which they are told: expiry, limits, phases, filters by time.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Operation, call};
use crate::local::LocalOptions;
use crate::local::state::State;

const NOW_MS: u64 = 1_763_800_000_000;
const HOUR_MS: u64 = 3_600_000;

fn state(options: &LocalOptions) -> State {
    let streams = vec![("s".to_owned(), 1)];
    State::new(&LocalOptions { streams, ..options.clone() }, 7, NOW_MS)
}

fn ask(state: &mut State, operation: Operation, input: &Value, now_ms: u64) -> Result<Value, String> {
    match call(state, operation, input.to_string().as_bytes(), now_ms) {
        Ok(body) if body.is_empty() => Ok(Value::Null),
        Ok(body) => Ok(serde_json::from_slice(&body).unwrap()),
        Err(refusal) => Err(refusal.code.into_owned()),
    }
}

/// Puts `count` records of `size` bytes, keys included, under one key. Returns the error codes, empty where there is none.
fn put(state: &mut State, count: usize, size: usize, now_ms: u64) -> Vec<String> {
    let data = base64_simd::STANDARD.encode_to_string(vec![b'x'; size - 1]);
    let records: Vec<_> = (0..count).map(|_| json!({"Data": data, "PartitionKey": "k"})).collect();
    let output = ask(state, Operation::PutRecords, &json!({"StreamName": "s", "Records": records}), now_ms).unwrap();
    let codes: Vec<_> = output["Records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|record| record["ErrorCode"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(output["FailedRecordCount"], codes.iter().filter(|code| !code.is_empty()).count());
    codes
}

fn accepted(codes: &[String]) -> usize {
    codes.iter().filter(|code| code.is_empty()).count()
}

fn iterator(state: &mut State, shard: &str, more: &Value, now_ms: u64) -> Result<String, String> {
    let mut input = json!({"StreamName": "s", "ShardId": shard});
    input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let output = ask(state, Operation::GetShardIterator, &input, now_ms)?;
    Ok(output["ShardIterator"].as_str().unwrap().to_owned())
}

const FIRST: &str = "shardId-000000000000";

#[test]
fn a_shard_takes_1000_records_a_second() {
    let mut state = state(&LocalOptions::default());
    assert_eq!(accepted(&put(&mut state, 500, 10, NOW_MS)), 500);
    assert_eq!(accepted(&put(&mut state, 500, 10, NOW_MS)), 500);
    let codes = put(&mut state, 3, 10, NOW_MS);
    assert_eq!(codes, ["ProvisionedThroughputExceededException"; 3]);
    assert_eq!(accepted(&put(&mut state, 500, 10, NOW_MS + 100)), 100);
    assert_eq!(accepted(&put(&mut state, 500, 10, NOW_MS + 10_000)), 500);
}

#[test]
fn a_shard_takes_1_mib_a_second() {
    let mut state = state(&LocalOptions::default());
    let quarter = 256 * 1024;
    let codes = put(&mut state, 6, quarter, NOW_MS);
    assert_eq!(accepted(&codes), 4);
    assert_eq!(codes[4], "ProvisionedThroughputExceededException");
    assert_eq!(accepted(&put(&mut state, 6, quarter, NOW_MS + 250)), 1);
    // A small record still fits where a large one doesn't.
    assert_eq!(accepted(&put(&mut state, 1, 2000, NOW_MS + 255)), 1);
    assert_eq!(state.stats()["streams"]["s"]["shards"][FIRST]["throttled"], 7);
}

#[test]
fn without_limits_there_are_none() {
    let mut state = state(&LocalOptions { limits: false, ..LocalOptions::default() });
    for _ in 0..10 {
        assert_eq!(accepted(&put(&mut state, 500, 2000, NOW_MS)), 500);
    }
}

#[test]
fn reads_are_limited_only_if_asked_for() {
    for (limit_reads, allowed) in [(false, 20), (true, 5)] {
        let mut state = state(&LocalOptions { limit_reads, ..LocalOptions::default() });
        let token = iterator(&mut state, FIRST, &json!({"ShardIteratorType": "LATEST"}), NOW_MS).unwrap();
        let input = json!({"ShardIterator": token});
        let answers: Vec<_> = (0..20).map(|_| ask(&mut state, Operation::GetRecords, &input, NOW_MS)).collect();
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), allowed);
        assert!(answers.iter().filter_map(|answer| answer.as_ref().err()).all(|code| code.starts_with("Provisioned")));
    }
}

#[test]
fn an_iterator_lives_five_minutes() {
    let mut state = state(&LocalOptions::default());
    let token = iterator(&mut state, FIRST, &json!({"ShardIteratorType": "TRIM_HORIZON"}), NOW_MS).unwrap();
    let input = json!({"ShardIterator": token});
    let answer = ask(&mut state, Operation::GetRecords, &input, NOW_MS + 300_000).unwrap();
    let late = ask(&mut state, Operation::GetRecords, &input, NOW_MS + 300_001);
    assert_eq!(late.unwrap_err(), "ExpiredIteratorException");
    let fresh = json!({"ShardIterator": answer["NextShardIterator"]});
    ask(&mut state, Operation::GetRecords, &fresh, NOW_MS + 600_000).unwrap();
}

#[test]
fn a_reader_is_told_how_far_behind_it_is() {
    let mut state = state(&LocalOptions::default());
    put(&mut state, 1, 10, NOW_MS);
    put(&mut state, 1, 10, NOW_MS + 2000);
    let token = iterator(&mut state, FIRST, &json!({"ShardIteratorType": "TRIM_HORIZON"}), NOW_MS).unwrap();
    let answer = ask(&mut state, Operation::GetRecords, &json!({"ShardIterator": token, "Limit": 1}), NOW_MS + 5000);
    let answer = answer.unwrap();
    assert_eq!(answer["MillisBehindLatest"], 3000);
    assert_eq!(answer["Records"][0]["ApproximateArrivalTimestamp"], 1_763_800_000.0);
    let next = json!({"ShardIterator": answer["NextShardIterator"]});
    assert_eq!(ask(&mut state, Operation::GetRecords, &next, NOW_MS + 5000).unwrap()["MillisBehindLatest"], 0);
}

#[test]
fn an_iterator_by_time_starts_at_the_first_record_not_before_it() {
    let mut state = state(&LocalOptions::default());
    for offset_ms in [0, 1000, 2000] {
        put(&mut state, 1, 10, NOW_MS + offset_ms);
    }
    let later_ms = NOW_MS + 10_000;
    let mut found = |timestamp: f64| {
        let more = json!({"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": timestamp});
        let token = iterator(&mut state, FIRST, &more, later_ms)?;
        let answer = ask(&mut state, Operation::GetRecords, &json!({"ShardIterator": token}), later_ms)?;
        Ok::<_, String>(answer["Records"].as_array().unwrap().len())
    };
    assert_eq!(found(1.0), Ok(3));
    assert_eq!(found(1_763_800_001.0), Ok(2));
    assert_eq!(found(1_763_800_001.001), Ok(1));
    assert_eq!(found(1_763_800_009.0), Ok(0));
    assert_eq!(found(1_763_800_011.0), Err("InvalidArgumentException".to_owned()));
}

#[test]
fn a_stream_in_creation_takes_nothing() {
    let mut state = state(&LocalOptions { create_delay: Duration::from_secs(2), ..LocalOptions::default() });
    let new = json!({"StreamName": "new", "ShardCount": 1});
    ask(&mut state, Operation::CreateStream, &new, NOW_MS).unwrap();
    let name = json!({"StreamName": "new"});
    let record = json!({"StreamName": "new", "Data": "", "PartitionKey": "k"});
    let summary = ask(&mut state, Operation::DescribeStreamSummary, &name, NOW_MS).unwrap();
    assert_eq!(summary["StreamDescriptionSummary"]["StreamStatus"], "CREATING");
    let description = ask(&mut state, Operation::DescribeStream, &name, NOW_MS).unwrap();
    assert_eq!(description["StreamDescription"]["Shards"], json!([]));
    let put = ask(&mut state, Operation::PutRecord, &record, NOW_MS + 1999);
    assert_eq!(put.unwrap_err(), "ResourceNotFoundException");
    let listed = ask(&mut state, Operation::ListShards, &name, NOW_MS + 1999);
    assert_eq!(listed.unwrap_err(), "ResourceInUseException");
    ask(&mut state, Operation::PutRecord, &record, NOW_MS + 2000).unwrap();
    let summary = ask(&mut state, Operation::DescribeStreamSummary, &name, NOW_MS + 2000).unwrap();
    assert_eq!(summary["StreamDescriptionSummary"]["StreamStatus"], "ACTIVE");
}

#[test]
fn shards_are_listed_by_when_they_were_open() {
    let mut state = state(&LocalOptions::default());
    let (split_ms, later_ms) = (NOW_MS + 10_000, NOW_MS + 20_000);
    let split = json!({
        "StreamName": "s", "ShardToSplit": FIRST,
        "NewStartingHashKey": "170141183460469231731687303715884105728",
    });
    ask(&mut state, Operation::SplitShard, &split, split_ms).unwrap();
    let mut listed = |filter: Value, now_ms: u64| {
        let input = json!({"StreamName": "s", "ShardFilter": filter});
        let answer = ask(&mut state, Operation::ListShards, &input, now_ms)?;
        let shards = answer["Shards"].as_array().unwrap();
        Ok::<_, String>(
            shards
                .iter()
                .map(|shard| shard["ShardId"].as_str().unwrap().replace("shardId-0000000000", ""))
                .collect::<String>(),
        )
    };
    let kind = |kind: &str| json!({"Type": kind});
    let at = |kind: &str, timestamp: f64| json!({"Type": kind, "Timestamp": timestamp});
    let ok = |numbers: &str| Ok(numbers.to_owned());
    assert_eq!(listed(kind("AT_LATEST"), later_ms), ok("0102"));
    assert_eq!(listed(kind("AT_TRIM_HORIZON"), later_ms), ok("00"));
    assert_eq!(listed(kind("FROM_TRIM_HORIZON"), later_ms), ok("000102"));
    assert_eq!(listed(at("AT_TIMESTAMP", 1_763_800_005.0), later_ms), ok("00"));
    assert_eq!(listed(at("AT_TIMESTAMP", 1_763_800_015.0), later_ms), ok("0102"));
    assert_eq!(listed(at("FROM_TIMESTAMP", 1_763_800_005.0), later_ms), ok("000102"));
    assert_eq!(listed(at("FROM_TIMESTAMP", 1_763_800_015.0), later_ms), ok("0102"));
    assert_eq!(listed(json!({"Type": "AFTER_SHARD_ID", "ShardId": "shardId-000000000001"}), later_ms), ok("02"));
    let refused = Err("InvalidArgumentException".to_owned());
    assert_eq!(listed(at("AT_TIMESTAMP", 1_763_800_021.0), later_ms), refused);
    assert_eq!(listed(kind("AT_TIMESTAMP"), later_ms), refused);
    assert_eq!(listed(kind("AFTER_SHARD_ID"), later_ms), refused);
    assert_eq!(listed(kind("LATEST"), later_ms), Err("ValidationException".to_owned()));
    // A day later the trim horizon has passed the split.
    assert_eq!(listed(kind("AT_TRIM_HORIZON"), split_ms + 24 * HOUR_MS + 1), ok("0102"));
}

#[test]
fn a_token_for_the_next_page_lives_five_minutes() {
    let mut state = state(&LocalOptions::default());
    let wide = json!({"StreamName": "wide", "ShardCount": 3});
    ask(&mut state, Operation::CreateStream, &wide, NOW_MS).unwrap();
    let page = ask(&mut state, Operation::ListShards, &json!({"StreamName": "wide", "MaxResults": 2}), NOW_MS).unwrap();
    let next = json!({"NextToken": page["NextToken"]});
    let rest = ask(&mut state, Operation::ListShards, &next, NOW_MS + 300_000).unwrap();
    assert_eq!(rest["Shards"].as_array().unwrap().len(), 1);
    let late = ask(&mut state, Operation::ListShards, &next, NOW_MS + 300_001);
    assert_eq!(late.unwrap_err(), "ExpiredNextTokenException");
}

#[test]
fn records_past_the_retention_are_gone() {
    let mut state = state(&LocalOptions::default());
    put(&mut state, 2, 10, NOW_MS);
    let longer = json!({"StreamName": "s", "RetentionPeriodHours": 48});
    ask(&mut state, Operation::IncreaseStreamRetentionPeriod, &longer, NOW_MS).unwrap();
    let mut left = |now_ms: u64| {
        state.expire(now_ms);
        let token = iterator(&mut state, FIRST, &json!({"ShardIteratorType": "TRIM_HORIZON"}), now_ms).unwrap();
        let answer = ask(&mut state, Operation::GetRecords, &json!({"ShardIterator": token}), now_ms).unwrap();
        answer["Records"].as_array().unwrap().len()
    };
    assert_eq!(left(NOW_MS + 48 * HOUR_MS), 2);
    assert_eq!(left(NOW_MS + 49 * HOUR_MS), 0);
}

#[test]
fn only_records_up_to_the_streams_limit_are_taken() {
    let mut state = state(&LocalOptions { limits: false, ..LocalOptions::default() });
    let mib = 1024 * 1024;
    assert_eq!(accepted(&put(&mut state, 1, mib, NOW_MS)), 1);
    let data = base64_simd::STANDARD.encode_to_string(vec![0; mib]);
    let record = json!({"StreamName": "s", "Data": data, "PartitionKey": "k"});
    let refused = ask(&mut state, Operation::PutRecord, &record, NOW_MS);
    assert_eq!(refused.unwrap_err(), "ValidationException", "the key counts too");
    let larger = json!({"StreamARN": "arn:aws:kinesis:us-east-1:000000000000:stream/s", "MaxRecordSizeInKiB": 10_240});
    ask(&mut state, Operation::UpdateMaxRecordSize, &larger, NOW_MS).unwrap();
    ask(&mut state, Operation::PutRecord, &record, NOW_MS).unwrap();
    assert_eq!(accepted(&put(&mut state, 1, 10 * mib, NOW_MS)), 1);
    assert_eq!(accepted(&put(&mut state, 2, 5 * mib, NOW_MS)), 2);
    let entry = |size: usize| {
        let data = base64_simd::STANDARD.encode_to_string(vec![0; size - 1]);
        json!({"Data": data, "PartitionKey": "k"})
    };
    let input = json!({"StreamName": "s", "Records": [entry(5 * mib), entry(5 * mib + 1)]});
    assert_eq!(ask(&mut state, Operation::PutRecords, &input, NOW_MS).unwrap_err(), "InvalidArgumentException");
}
