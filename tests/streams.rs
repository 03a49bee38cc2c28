//! Several streams, keys that events name, and shards that are split on the way: the real binary against the embedded stream.

#![expect(clippy::unwrap_used, reason = "a panic is how a test's helpers fail")]

#[path = "support/harness.rs"]
#[expect(dead_code, reason = "other tests need the rest")]
mod harness;

use std::collections::BTreeMap;

use harness::{Consumer, Log, STREAM, Setup, Stand, assert_exact, open, until};
use serde_json::{Value, json};

/// A source that reads one log, with more settings.
fn source(setup: &Setup, name: &str, more: &Value) -> Value {
    let mut source = json!({"name": name, "paths": [setup.log(&format!("{name}.log"))]});
    source.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    source
}

#[tokio::test]
async fn a_stream_that_does_not_exist_holds_up_only_its_own_events() {
    let stand = Stand::start(2).await;
    let mut setup = Setup::new(&stand.endpoint());
    let sources = json!([source(&setup, "good", &json!({})), source(&setup, "bad", &json!({"stream": "later"}))]);
    setup.set("KINETAIL_PATHS", "");
    setup.configure(&json!({"memory_limit": "2MiB", "sources": sources}));
    let (mut good, mut bad) = (Log::create(&setup.log("good.log")), Log::create(&setup.log("bad.log")));
    let agent = setup.run().await;
    // Far more than there is memory for.
    for _ in 0..8 {
        bad.append(8_000);
        good.append(50);
    }
    agent.said("delivery is blocked").await;
    let mut consumer = Consumer::new(&stand).await;
    for _ in 0..3 {
        good.append(20_000);
        consumer.receive(&[&good]).await;
    }
    let (code, why) = agent.get("/readyz").await;
    assert_eq!(code, 503, "{why}");
    assert!(why.contains("stream later is blocked: ResourceNotFoundException"), "{why}");
    let status: Value = serde_json::from_str(&agent.get("/status").await.1).unwrap();
    assert_eq!(status["streams"]["later"]["blocked"]["code"], "ResourceNotFoundException");
    assert_eq!(status["streams"][STREAM]["blocked"], Value::Null);

    stand.client.create_stream().stream_name("later").shard_count(1).send().await.unwrap();
    until("the stream", async || {
        let described = stand.client.describe_stream_summary().stream_name("later").send().await.unwrap();
        let status = described.stream_description_summary.unwrap().stream_status;
        (status.as_str() == "ACTIVE").then_some(())
    })
    .await;
    let mut late = Consumer::of(&stand, "later").await;
    late.receive(&[&bad]).await;
    agent.stop().await;
    consumer.look().await;
    late.look().await;
    assert_exact(&[&good], &consumer, false);
    assert_exact(&[&bad], &late, false);
}

/// An event of a team, with a key and a number.
fn event(team: &str, key: usize, number: usize) -> String {
    json!({"team": team, "user": {"id": format!("u{key}")}, "n": number}).to_string()
}

#[tokio::test]
async fn events_name_their_streams_and_keys_and_each_key_keeps_its_order_through_splits() {
    let streams = ["events", "logs-red", "logs-blue"].map(|name| (name.to_owned(), 2));
    let stand = Stand::with(streams.to_vec()).await;
    let mut setup = Setup::new(&stand.endpoint());
    let named = source(&setup, "named", &json!({"parse": "json", "stream": "logs-{team}"}));
    setup.set("KINETAIL_PATHS", "");
    setup.configure(&json!({
        "sources": [named],
        "kinesis": {"partition_key": "{user.id}", "max_streams": 3, "delimiter": "\n"},
    }));
    let mut log = open(&setup.log("named.log"));
    let agent = setup.run().await;
    // Of a fourth team there is no room for a stream, and of the fifth's name none can be made.
    let teams = ["red", "blue", "red", "green", "no such name"];
    let (count, parts) = (6_000, 6);
    for part in 0..parts {
        let lines = (part * count / parts..(part + 1) * count / parts).map(|n| event(teams[n % 5], n % 13, n) + "\n");
        std::io::Write::write_all(&mut log, lines.collect::<String>().as_bytes()).unwrap();
        if part % 2 == 1 {
            split_a_shard(&stand, "logs-red").await;
        }
    }
    let delivered = async || (agent.metric("kinesis_user_records_total").await == count as u64).then_some(());
    until("all events", delivered).await;
    assert_eq!(agent.metric("stream_fallbacks_total").await, 2 * count as u64 / 5);
    assert_eq!(agent.metric("partition_key_fallbacks_total").await, 0);
    agent.stop().await;

    let mut of_team = BTreeMap::<String, usize>::new();
    for (stream, teams) in
        [("events", &["green", "no such name"][..]), ("logs-red", &["red"]), ("logs-blue", &["blue"])]
    {
        let mut consumer = Consumer::of(&stand, stream).await;
        consumer.look().await;
        // By key and shard: a split gives a key's later events to a child.
        let mut last = BTreeMap::<(String, usize), u64>::new();
        for event in &consumer.events {
            let fields: Value = serde_json::from_slice(&event.data).unwrap();
            let (team, key) = (fields["team"].as_str().unwrap(), fields["user"]["id"].as_str().unwrap());
            assert!(teams.contains(&team), "an event of {team} is in {stream}");
            *of_team.entry(team.to_owned()).or_default() += 1;
            let number = fields["n"].as_u64().unwrap();
            let before = last.insert((key.to_owned(), event.shard), number);
            assert!(before < Some(number), "{key} in {stream}: {number} comes after {before:?}");
        }
    }
    assert_eq!(of_team["red"], 2 * count / 5);
    assert_eq!(of_team.values().sum::<usize>(), count, "{of_team:?}");
}

/// Splits the first open shard of a stream in its middle.
async fn split_a_shard(stand: &Stand, stream: &str) {
    let shards = stand.client.list_shards().stream_name(stream).send().await.unwrap();
    let open = shards
        .shards()
        .iter()
        .find(|shard| shard.sequence_number_range().is_some_and(|range| range.ending_sequence_number().is_none()));
    let (id, range) = open.map(|shard| (shard.shard_id(), shard.hash_key_range().unwrap())).unwrap();
    let (start, end): (u128, u128) =
        (range.starting_hash_key().parse().unwrap(), range.ending_hash_key().parse().unwrap());
    let middle = (start / 2 + end / 2).to_string();
    let split = stand.client.split_shard().stream_name(stream).shard_to_split(id).new_starting_hash_key(middle);
    // While the one before is under way, the service refuses the next.
    until("a split", async || split.clone().send().await.ok()).await;
}
