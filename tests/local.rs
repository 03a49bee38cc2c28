//! The embedded stream from outside: the AWS SDK over HTTP, raw HTTP where the SDK can't misbehave, and the program itself.
//!
//! What depends on the time is tested where the time can be told, in `src/local/`; here nothing waits for a clock.

#![expect(clippy::unwrap_used, reason = "a panic is how a test's helpers fail")]

use std::collections::BTreeSet;
use std::future::pending;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::config::timeout::TimeoutConfig;
use aws_sdk_kinesis::config::{BehaviorVersion, Config, Credentials, Region};
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::operation::get_records::GetRecordsOutput;
use aws_sdk_kinesis::operation::put_records::PutRecordsOutput;
use aws_sdk_kinesis::primitives::{Blob, DateTime};
use aws_sdk_kinesis::types::{
    PutRecordsRequestEntry, Record, RecordDistributionStrategy, ScalingType, Shard, ShardFilter, ShardFilterType,
    ShardIteratorType, StreamMode, StreamModeDetails, StreamStatus,
};
use kinetail::kinesis::hash::{hash_key, hash_key_text, parse_hash_key};
use kinetail::local::{Error, LocalOptions, LocalStream};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// How long anything may take before a test fails; generous, for a loaded machine.
const DEADLINE: Duration = Duration::from_mins(1);
/// The stream that is there from the start.
const STREAM: &str = "events";
/// Its ARN.
const ARN: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/events";

/// A stand-in that runs until it is dropped.
#[derive(Debug)]
struct Local {
    address: String,
    endpoint: String,
    client: Client,
    _task: JoinSet<()>,
}

impl Local {
    async fn start(shards: u32) -> Self {
        Self::with(LocalOptions { streams: vec![(STREAM.to_owned(), shards)], limits: false, ..anywhere() }).await
    }

    async fn with(options: LocalOptions) -> Self {
        let local = LocalStream::bind(options).await.unwrap();
        let (address, endpoint) = (local.addr().to_string(), local.endpoint());
        let mut task = JoinSet::new();
        task.spawn(async move { local.run(pending()).await.unwrap() });
        let client = client(&endpoint);
        Self { address, endpoint, client, _task: task }
    }

    async fn put(&self, records: impl IntoIterator<Item = (&str, &[u8])>) -> PutRecordsOutput {
        let entries = records.into_iter().map(|(key, data)| entry(key, data)).collect();
        self.client.put_records().stream_name(STREAM).set_records(Some(entries)).send().await.unwrap()
    }

    async fn shards(&self) -> Vec<Shard> {
        self.client.list_shards().stream_name(STREAM).send().await.unwrap().shards.unwrap()
    }

    async fn open_shards(&self) -> Vec<Shard> {
        let open = |shard: &Shard| shard.sequence_number_range().unwrap().ending_sequence_number().is_none();
        self.shards().await.into_iter().filter(open).collect()
    }

    async fn iterator(&self, shard: &str, kind: ShardIteratorType) -> String {
        let request = self.client.get_shard_iterator().stream_name(STREAM).shard_id(shard).shard_iterator_type(kind);
        request.send().await.unwrap().shard_iterator.unwrap()
    }

    async fn get(&self, iterator: &str) -> GetRecordsOutput {
        self.client.get_records().shard_iterator(iterator).send().await.unwrap()
    }

    /// What is in a shard now.
    async fn read(&self, shard: &str) -> Vec<Record> {
        let iterator = self.iterator(shard, ShardIteratorType::TrimHorizon).await;
        self.get(&iterator).await.records
    }

    /// All data in all shards, sorted.
    async fn stored(&self) -> Vec<String> {
        let mut stored = Vec::new();
        for shard in self.shards().await {
            let records = self.read(shard.shard_id()).await;
            stored.extend(records.iter().map(|record| String::from_utf8(record.data.as_ref().to_vec()).unwrap()));
        }
        stored.sort();
        stored
    }

    async fn faults(&self, plan: Value) {
        let (status, body) = self.http("POST", "/_kinetail/faults", "", plan.to_string().as_bytes()).await;
        assert_eq!(status, 200, "{body}");
    }

    async fn stats(&self) -> Value {
        let (status, body) = self.http("GET", "/_kinetail/stats", "", b"").await;
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    /// A request by hand. Returns the status and the body.
    async fn http(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> (u16, String) {
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: local\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
        );
        let exchange = async {
            let mut stream = TcpStream::connect(&self.address).await.unwrap();
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(body).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let answer = tokio::time::timeout(DEADLINE, exchange).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }
}

fn anywhere() -> LocalOptions {
    LocalOptions { listen: "127.0.0.1:0".parse().unwrap(), ..LocalOptions::default() }
}

/// A client that never tries twice.
fn client(endpoint: &str) -> Client {
    let timeouts = TimeoutConfig::builder().operation_timeout(DEADLINE).build();
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint)
        .credentials_provider(Credentials::new("key", "secret", None, None, "test"))
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts)
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    Client::from_conf(config)
}

fn entry(key: &str, data: &[u8]) -> PutRecordsRequestEntry {
    PutRecordsRequestEntry::builder().partition_key(key).data(Blob::new(data)).build().unwrap()
}

/// The code that a request was refused with, and the status of the answer.
fn refused<T: std::fmt::Debug, E: ProvideErrorMetadata + std::fmt::Debug>(
    result: Result<T, SdkError<E>>,
) -> (String, u16) {
    let error = result.expect_err("the request should have been refused");
    let status = error.raw_response().expect("there should be an answer").status().as_u16();
    (error.code().expect("the answer should have a code").to_owned(), status)
}

fn is(code: &str) -> (String, u16) {
    (code.to_owned(), 400)
}

fn data(records: &[Record]) -> Vec<&[u8]> {
    records.iter().map(|record| record.data.as_ref()).collect()
}

fn range(shard: &Shard) -> (u128, u128) {
    let range = shard.hash_key_range().unwrap();
    (parse_hash_key(range.starting_hash_key()).unwrap(), parse_hash_key(range.ending_hash_key()).unwrap())
}

#[tokio::test]
async fn records_go_to_the_shard_that_their_keys_hash_to() {
    let local = Local::start(5).await;
    let keys: Vec<String> = (0..200).map(|index| format!("kéy-{index}")).collect();
    let output = local.put(keys.iter().map(|key| (key.as_str(), key.as_bytes()))).await;
    assert_eq!(output.failed_record_count(), Some(0));
    let shards = local.shards().await;
    for (key, result) in keys.iter().zip(output.records()) {
        let shard = shards.iter().find(|shard| Some(shard.shard_id()) == result.shard_id()).unwrap();
        let (start, end) = range(shard);
        assert!((start..=end).contains(&hash_key(key)), "{key}");
    }
    let mut seen = 0;
    for shard in &shards {
        let records = local.read(shard.shard_id()).await;
        for record in &records {
            assert_eq!(record.data.as_ref(), record.partition_key().unwrap().as_bytes());
        }
        seen += records.len();
    }
    assert_eq!(seen, keys.len());
}

#[tokio::test]
async fn an_explicit_hash_key_decides_alone() {
    let local = Local::start(4).await;
    for shard in local.shards().await {
        let (start, end) = range(&shard);
        for hash_key in [start, end] {
            let request = local.client.put_record().stream_name(STREAM).partition_key("same").data(Blob::new("x"));
            let output = request.explicit_hash_key(hash_key_text(hash_key)).send().await.unwrap();
            assert_eq!(output.shard_id(), shard.shard_id());
        }
    }
}

#[tokio::test]
async fn a_shard_keeps_the_order_and_its_numbers_grow() {
    let local = Local::start(1).await;
    let mut put = Vec::new();
    for round in 0..3 {
        let texts: Vec<String> = (0..100).map(|index| format!("{round}-{index}")).collect();
        let output = local.put(texts.iter().map(|text| ("k", text.as_bytes()))).await;
        put.extend(output.records().iter().map(|record| record.sequence_number().unwrap().to_owned()));
    }
    let records = local.read("shardId-000000000000").await;
    let read: Vec<_> = records.iter().map(|record| record.sequence_number().to_owned()).collect();
    assert_eq!(read, put);
    assert!(read.iter().all(|number| number.len() == 56), "{}", read[0]);
    assert!(read.windows(2).all(|pair| pair[0] < pair[1]));
    let arrivals: Vec<_> =
        records.iter().map(|record| record.approximate_arrival_timestamp().unwrap().to_millis().unwrap()).collect();
    assert!(arrivals.windows(2).all(|pair| pair[0] <= pair[1]));
}

#[tokio::test]
async fn empty_data_is_data() {
    let local = Local::start(1).await;
    local.put([("k", b"".as_slice()), ("k", b"after")]).await;
    assert_eq!(data(&local.read("shardId-000000000000").await), [b"".as_slice(), b"after"]);
}

#[tokio::test]
async fn all_five_kinds_of_iterator_start_where_they_say() {
    let local = Local::start(1).await;
    let shard = "shardId-000000000000";
    let output = local.put([("k", b"a".as_slice()), ("k", b"b"), ("k", b"c")]).await;
    let second = output.records()[1].sequence_number().unwrap();
    let trim = local.iterator(shard, ShardIteratorType::TrimHorizon).await;
    let latest = local.iterator(shard, ShardIteratorType::Latest).await;
    let request = || local.client.get_shard_iterator().stream_arn(ARN).shard_id(shard);
    let at = request().shard_iterator_type(ShardIteratorType::AtSequenceNumber).starting_sequence_number(second);
    let after = request().shard_iterator_type(ShardIteratorType::AfterSequenceNumber).starting_sequence_number(second);
    let long_ago = request().shard_iterator_type(ShardIteratorType::AtTimestamp).timestamp(DateTime::from_secs(1));
    let at = at.send().await.unwrap().shard_iterator.unwrap();
    let after = after.send().await.unwrap().shard_iterator.unwrap();
    let long_ago = long_ago.send().await.unwrap().shard_iterator.unwrap();
    local.put([("k", b"d".as_slice())]).await;
    let expected: [(&str, &[&[u8]]); 5] = [
        (&trim, &[b"a", b"b", b"c", b"d"]),
        (&latest, &[b"d"]),
        (&at, &[b"b", b"c", b"d"]),
        (&after, &[b"c", b"d"]),
        (&long_ago, &[b"a", b"b", b"c", b"d"]),
    ];
    for (iterator, texts) in expected {
        let output = local.get(iterator).await;
        assert_eq!(data(output.records()), texts);
        assert_eq!(output.millis_behind_latest(), Some(0));
        assert_eq!(local.get(output.next_shard_iterator().unwrap()).await.records().len(), 0);
    }
    let page = local.client.get_records().shard_iterator(&trim).limit(3).stream_arn(ARN).send().await.unwrap();
    assert_eq!(data(page.records()), [b"a", b"b", b"c"]);
    assert_eq!(data(local.get(page.next_shard_iterator().unwrap()).await.records()), [b"d"]);
}

#[tokio::test]
async fn a_reader_follows_a_split_from_the_parent_to_its_children() {
    let local = Local::start(1).await;
    let parent = "shardId-000000000000";
    let before = local.put([("a", b"1".as_slice()), ("b", b"2")]).await;
    let middle = hash_key_text(1 << 127);
    let split = local.client.split_shard().stream_name(STREAM).shard_to_split(parent).new_starting_hash_key(middle);
    split.send().await.unwrap();
    let after = local.put([("a", b"3".as_slice()), ("b", b"4"), ("c", b"5")]).await;
    assert!(after.records().iter().all(|record| record.shard_id() != Some(parent)));
    let last_before = before.records()[1].sequence_number().unwrap();
    assert!(after.records().iter().all(|record| record.sequence_number().unwrap() > last_before));

    let iterator = local.iterator(parent, ShardIteratorType::TrimHorizon).await;
    let output = local.client.get_records().shard_iterator(iterator).limit(1).send().await.unwrap();
    assert!(output.child_shards().is_empty());
    let output = local.get(output.next_shard_iterator().unwrap()).await;
    assert_eq!(data(output.records()), [b"2"]);
    assert_eq!(output.next_shard_iterator(), None);
    let children: Vec<_> = output.child_shards().iter().map(|child| child.shard_id().to_owned()).collect();
    assert_eq!(children, ["shardId-000000000001", "shardId-000000000002"]);
    assert!(output.child_shards().iter().all(|child| child.parent_shards() == [parent]));
    let mut texts = Vec::new();
    for child in &children {
        texts.extend(local.read(child).await.iter().map(|record| record.data.as_ref().to_vec()));
    }
    texts.sort();
    assert_eq!(texts, [b"3", b"4", b"5"]);

    let merge = local.client.merge_shards().stream_name(STREAM).shard_to_merge(&children[0]);
    merge.adjacent_shard_to_merge(&children[1]).send().await.unwrap();
    let latest = local.iterator(&children[0], ShardIteratorType::Latest).await;
    let output = local.get(&latest).await;
    assert_eq!((output.records().len(), output.next_shard_iterator()), (0, None));
    assert_eq!(output.child_shards()[0].parent_shards(), children);
}

#[tokio::test]
async fn the_number_of_shards_can_be_changed() {
    let local = Local::start(3).await;
    for target in [6, 4, 2, 1] {
        let request = local.client.update_shard_count().stream_name(STREAM).target_shard_count(target);
        let output = request.scaling_type(ScalingType::UniformScaling).send().await.unwrap();
        assert_eq!(output.target_shard_count(), Some(target));
        let mut ranges: Vec<_> = local.open_shards().await.iter().map(range).collect();
        ranges.sort_unstable();
        assert_eq!(ranges.len(), usize::try_from(target).unwrap());
        assert_eq!((ranges[0].0, ranges.last().unwrap().1), (0, u128::MAX));
        assert!(ranges.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0));
    }
    let request = local.client.update_shard_count().stream_name(STREAM).target_shard_count(3);
    assert_eq!(refused(request.scaling_type(ScalingType::UniformScaling).send().await), is("InvalidArgumentException"));
}

#[tokio::test]
async fn shards_are_listed_in_pages_and_by_filter() {
    let local = Local::start(5).await;
    let split = local.client.split_shard().stream_name(STREAM).shard_to_split("shardId-000000000000");
    split.new_starting_hash_key("1000000").send().await.unwrap();
    let mut seen = Vec::new();
    let mut page = local.client.list_shards().stream_arn(ARN).max_results(3).send().await.unwrap();
    loop {
        assert!(page.shards().len() <= 3);
        seen.extend(page.shards().iter().map(|shard| shard.shard_id().to_owned()));
        let Some(token) = page.next_token() else { break };
        page = local.client.list_shards().next_token(token).max_results(3).send().await.unwrap();
    }
    let expected: Vec<_> = (0..7).map(|number| format!("shardId-{number:012}")).collect();
    assert_eq!(seen, expected);

    let filter = ShardFilter::builder().r#type(ShardFilterType::AtLatest).build().unwrap();
    let open = local.client.list_shards().stream_name(STREAM).shard_filter(filter).max_results(2);
    let page = open.send().await.unwrap();
    let token = page.next_token().unwrap();
    let rest = local.client.list_shards().next_token(token).send().await.unwrap();
    assert_eq!(page.shards().len() + rest.shards().len(), 6, "the filter holds on every page");
    let both = local.client.list_shards().next_token(token).stream_name(STREAM).send().await;
    assert_eq!(refused(both), is("InvalidArgumentException"));
    let neither = local.client.list_shards().send().await;
    assert_eq!(refused(neither), is("InvalidArgumentException"));
    let forged = local.client.list_shards().next_token("forged").send().await;
    assert_eq!(refused(forged), is("InvalidArgumentException"));

    let described = local.client.describe_stream().stream_name(STREAM).limit(4).send().await.unwrap();
    let description = described.stream_description().unwrap();
    assert_eq!((description.shards().len(), description.has_more_shards()), (4, true));
    let last = description.shards()[3].shard_id();
    let rest = local.client.describe_stream().stream_name(STREAM).exclusive_start_shard_id(last).send().await.unwrap();
    let description = rest.stream_description().unwrap();
    assert_eq!((description.shards().len(), description.has_more_shards()), (3, false));
}

#[tokio::test]
async fn streams_come_and_go() {
    let local = Local::with(anywhere()).await;
    for name in ["b", "a", "c"] {
        local.client.create_stream().stream_name(name).shard_count(2).send().await.unwrap();
    }
    let on_demand = StreamModeDetails::builder().stream_mode(StreamMode::OnDemand).build().unwrap();
    local.client.create_stream().stream_name("d").stream_mode_details(on_demand).send().await.unwrap();
    let page = local.client.list_streams().limit(3).send().await.unwrap();
    assert_eq!((page.stream_names(), page.has_more_streams()), (["a", "b", "c"].map(str::to_owned).as_slice(), true));
    let rest = local.client.list_streams().next_token(page.next_token().unwrap()).send().await.unwrap();
    assert_eq!((rest.stream_names(), rest.has_more_streams()), (["d".to_owned()].as_slice(), false));
    let rest = local.client.list_streams().exclusive_start_stream_name("c").send().await.unwrap();
    assert_eq!(rest.stream_summaries()[0].stream_arn(), "arn:aws:kinesis:us-east-1:000000000000:stream/d");

    let again = local.client.create_stream().stream_name("a").shard_count(1).send().await;
    assert_eq!(refused(again), is("ResourceInUseException"));
    local.client.delete_stream().stream_name("a").send().await.unwrap();
    let gone = local.client.describe_stream_summary().stream_name("a").send().await;
    assert_eq!(refused(gone), is("ResourceNotFoundException"));
    local.client.create_stream().stream_name("a").shard_count(1).send().await.unwrap();
}

#[tokio::test]
async fn a_stream_may_spread_records_by_itself() {
    let local = Local::with(anywhere()).await;
    let on_demand = StreamModeDetails::builder().stream_mode(StreamMode::OnDemand).build().unwrap();
    let create = local.client.create_stream().stream_name(STREAM).stream_mode_details(on_demand);
    create.record_distribution_strategy(RecordDistributionStrategy::Auto).send().await.unwrap();
    let summary = local.client.describe_stream_summary().stream_name(STREAM).send().await.unwrap();
    let strategy = summary.stream_description_summary().unwrap().record_distribution_strategy().cloned();
    assert_eq!(strategy, Some(RecordDistributionStrategy::Auto));
    let keyless = || PutRecordsRequestEntry::builder().data(Blob::new("x")).build().unwrap();
    let entries = (0..50).map(|_| keyless()).chain((0..50).map(|_| entry("same", b"x"))).collect();
    let output = local.client.put_records().stream_name(STREAM).set_records(Some(entries)).send().await.unwrap();
    let shards: BTreeSet<_> = output.records().iter().map(|record| record.shard_id().unwrap()).collect();
    assert_eq!(shards.len(), 4, "one key goes everywhere");
}

#[tokio::test]
async fn a_dry_run_stores_nothing() {
    let local = Local::start(1).await;
    let dry = |name: &str| local.client.put_records().stream_name(name).records(entry("k", b"x")).dry_run(true).send();
    assert_eq!(refused(dry(STREAM).await), is("DryRunOperationException"));
    assert_eq!(refused(dry("other").await), is("ResourceNotFoundException"));
    assert!(local.stored().await.is_empty());
}

#[tokio::test]
async fn an_iterator_does_not_lead_to_a_namesake() {
    let local = Local::start(1).await;
    let iterator = local.iterator("shardId-000000000000", ShardIteratorType::TrimHorizon).await;
    local.client.delete_stream().stream_arn(ARN).send().await.unwrap();
    local.client.create_stream().stream_name(STREAM).shard_count(1).send().await.unwrap();
    let answer = local.client.get_records().shard_iterator(iterator).send().await;
    assert_eq!(refused(answer), is("ResourceNotFoundException"));
}

#[tokio::test]
async fn a_streams_settings_are_seen_and_changed() {
    let local = Local::start(2).await;
    let summary = || async {
        let output = local.client.describe_stream_summary().stream_arn(ARN).send().await.unwrap();
        output.stream_description_summary.unwrap()
    };
    let first = summary().await;
    assert_eq!(first.stream_status(), &StreamStatus::Active);
    assert_eq!((first.open_shard_count(), first.retention_period_hours()), (2, 24));
    assert_eq!(first.max_record_size_in_kib(), Some(1024));
    let client = &local.client;
    client.update_max_record_size().stream_arn(ARN).max_record_size_in_kib(2048).send().await.unwrap();
    let longer = client.increase_stream_retention_period().stream_name(STREAM).retention_period_hours(100);
    longer.send().await.unwrap();
    let shorter = client.decrease_stream_retention_period().stream_name(STREAM).retention_period_hours(48);
    shorter.send().await.unwrap();
    let changed = summary().await;
    assert_eq!((changed.retention_period_hours(), changed.max_record_size_in_kib()), (48, Some(2048)));
    for hours in [47, 23, 8761] {
        let request = client.increase_stream_retention_period().stream_name(STREAM).retention_period_hours(hours);
        assert_eq!(refused(request.send().await), is("InvalidArgumentException"), "{hours}");
    }
    for hours in [49, 23] {
        let request = client.decrease_stream_retention_period().stream_name(STREAM).retention_period_hours(hours);
        assert_eq!(refused(request.send().await), is("InvalidArgumentException"), "{hours}");
    }
    let huge = client.update_max_record_size().stream_arn(ARN).max_record_size_in_kib(10_241).send().await;
    assert_eq!(refused(huge), is("ValidationException"));
}

#[tokio::test]
async fn requests_are_validated_as_a_whole() {
    let local = Local::start(1).await;
    let put = |entries: Vec<PutRecordsRequestEntry>| {
        local.client.put_records().stream_name(STREAM).set_records(Some(entries)).send()
    };
    let good = || entry("k", b"good");
    assert_eq!(refused(put(vec![]).await), is("ValidationException"));
    assert_eq!(refused(put(vec![good(); 501]).await), is("ValidationException"));
    assert_eq!(refused(put(vec![good(), entry("", b"")]).await), is("ValidationException"));
    assert_eq!(refused(put(vec![good(), entry(&"k".repeat(257), b"")]).await), is("ValidationException"));
    assert_eq!(refused(put(vec![good(), entry("k", &vec![0; 1024 * 1024])]).await), is("ValidationException"));
    for (hash_key, code) in [
        ("340282366920938463463374607431768211456", "InvalidArgumentException"),
        ("-1", "ValidationException"),
        ("007", "ValidationException"),
    ] {
        let bad = PutRecordsRequestEntry::builder().partition_key("k").data(Blob::new("")).explicit_hash_key(hash_key);
        assert_eq!(refused(put(vec![good(), bad.build().unwrap()]).await), is(code), "{hash_key}");
    }
    let elsewhere = local.client.put_records().stream_name("other").records(good()).send().await;
    assert_eq!(refused(elsewhere), is("ResourceNotFoundException"));
    let foreign = "arn:aws:kinesis:us-east-1:123456789012:stream/events";
    let foreign = local.client.put_records().stream_arn(foreign).records(good()).send().await;
    assert_eq!(refused(foreign), is("ResourceNotFoundException"));
    let nowhere = local.client.put_records().records(good()).send().await;
    assert_eq!(refused(nowhere), is("InvalidArgumentException"));
    assert!(local.stored().await.is_empty(), "nothing of a refused request is stored");
    put(vec![good(); 500]).await.unwrap();
    let iterator = local.client.get_records().shard_iterator("forged").send().await;
    assert_eq!(refused(iterator), is("InvalidArgumentException"));
}

#[tokio::test]
async fn ten_mib_pass_in_one_request() {
    let local = Local::start(1).await;
    let mib = vec![b'x'; 1024 * 1024 - 1];
    let output = local.put((0..10).map(|_| ("k", mib.as_slice()))).await;
    assert_eq!(output.failed_record_count(), Some(0));
    assert_eq!(local.read("shardId-000000000000").await.len(), 10);
}

#[tokio::test]
async fn a_shard_over_its_limit_refuses_single_records_and_says_which_shard() {
    let local = Local::start(2).await;
    // So few a second that a slow machine doesn't let more in.
    local.faults(json!({"shard_records_per_s": 1})).await;
    let keys: Vec<String> = (0..40).map(|index| index.to_string()).collect();
    let output = local.put(keys.iter().map(|key| (key.as_str(), key.as_bytes()))).await;
    assert_eq!(output.failed_record_count(), Some(38));
    let messages: BTreeSet<_> = output.records().iter().filter_map(|record| record.error_message()).collect();
    let expected: BTreeSet<_> = [
        "Rate exceeded for shard shardId-000000000000 in stream events under account 000000000000.",
        "Rate exceeded for shard shardId-000000000001 in stream events under account 000000000000.",
    ]
    .into();
    assert_eq!(messages, expected);
    for record in output.records() {
        let refused = record.error_code().is_some();
        assert!(!refused || record.error_code() == Some("ProvisionedThroughputExceededException"));
        assert_eq!(record.sequence_number().is_none(), refused);
        assert_eq!(record.shard_id().is_none(), refused);
    }
    assert_eq!(local.stored().await.len(), 2);
    local.faults(json!({"shard_bytes_per_s": 1})).await;
    local.put([("k", [0; 100].as_slice())]).await;
    let single = local.client.put_record().stream_name(STREAM).partition_key("k").data(Blob::new("x")).send().await;
    assert_eq!(refused(single), is("ProvisionedThroughputExceededException"));
}

#[tokio::test]
async fn records_fail_as_planned_and_the_rest_is_stored() {
    let local = Local::start(1).await;
    local.faults(json!({"throttle": 0.3, "fail_records": 0.3, "seed": 5})).await;
    let texts: Vec<String> = (0..400).map(|index| format!("{index:03}")).collect();
    let output = local.put(texts.iter().map(|text| ("k", text.as_bytes()))).await;
    let coded = |code: &str| output.records().iter().filter(|record| record.error_code() == Some(code)).count();
    let (throttled, failed) = (coded("ProvisionedThroughputExceededException"), coded("InternalFailure"));
    assert!(throttled > 50 && failed > 50, "{throttled} {failed}");
    assert_eq!(output.failed_record_count(), Some(i32::try_from(throttled + failed).unwrap()));
    let pairs = texts.iter().zip(output.records());
    let accepted: Vec<_> =
        pairs.filter(|(_, record)| record.error_code().is_none()).map(|(text, _)| text.clone()).collect();
    assert_eq!(local.stored().await, accepted);
    let stats = local.stats().await;
    assert_eq!(stats["streams"][STREAM]["put_requests"], 1);
    let counters = &stats["streams"][STREAM]["shards"]["shardId-000000000000"];
    assert_eq!((&counters["throttled"], &counters["failed"]), (&json!(throttled), &json!(failed)));
}

#[tokio::test]
async fn the_count_of_failed_records_can_lie() {
    let local = Local::start(1).await;
    local.faults(json!({"fail_records": 1, "wrong_failed_count": true})).await;
    let output = local.put([("k", b"x".as_slice())]).await;
    assert_eq!(output.failed_record_count(), Some(0));
    assert_eq!(output.records()[0].error_code(), Some("InternalFailure"));
    local.faults(json!({"wrong_failed_count": true})).await;
    let output = local.put([("k", b"x".as_slice())]).await;
    assert_eq!(output.failed_record_count(), Some(1));
    assert_eq!(output.records()[0].error_code(), None);
}

#[tokio::test]
async fn whole_requests_fail_with_the_planned_code() {
    let local = Local::start(1).await;
    for (code, status) in [
        ("AccessDeniedException", 400),
        ("ExpiredTokenException", 400),
        ("InternalFailure", 500),
        ("ServiceUnavailable", 503),
    ] {
        local.faults(json!({"fail_requests": 1, "fail_requests_code": code, "operations": ["PutRecords"]})).await;
        let answer = local.client.put_records().stream_name(STREAM).records(entry("k", b"x")).send().await;
        assert_eq!(refused(answer), (code.to_owned(), status));
    }
    assert!(local.stored().await.is_empty(), "other operations go on, and find nothing");
}

#[tokio::test]
async fn connections_close_before_or_after_storing() {
    let local = Local::start(1).await;
    for (plan, stored) in [("close_before", 0), ("close_after", 1)] {
        local.faults(json!({plan: 1, "operations": ["PutRecords"]})).await;
        let answer = local.client.put_records().stream_name(STREAM).records(entry("k", b"x")).send().await;
        assert!(matches!(answer, Err(SdkError::DispatchFailure(_))), "{answer:?}");
        assert_eq!(local.stored().await.len(), stored, "{plan}");
    }
}

#[tokio::test]
async fn a_hanging_request_holds_nobody_up() {
    let local = Local::start(1).await;
    local.faults(json!({"hang": 1, "operations": ["PutRecords"]})).await;
    let request = local.client.put_records().stream_name(STREAM).records(entry("k", b"x"));
    let mut hanging = JoinSet::new();
    hanging.spawn(request.send());
    let arrived = async {
        while local.stats().await["requests"]["PutRecords"] != 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, arrived).await.unwrap();
    assert!(local.stored().await.is_empty());
    assert!(hanging.try_join_next().is_none(), "still no answer, though others have had theirs");
    hanging.shutdown().await;
    assert!(local.stored().await.is_empty());
}

#[tokio::test]
async fn answers_wait_as_long_as_planned() {
    let local = Local::start(1).await;
    local.faults(json!({"latency_min_ms": 200, "latency_max_ms": 250})).await;
    let start = tokio::time::Instant::now();
    local.put([("k", b"x".as_slice())]).await;
    assert!(start.elapsed() >= Duration::from_millis(200));
}

#[tokio::test]
async fn a_wrong_plan_is_refused_and_changes_nothing() {
    let local = Local::start(1).await;
    local.faults(json!({"throttle": 1})).await;
    let (status, body) = local.http("POST", "/_kinetail/faults", "", br#"{"fail_record":1}"#).await;
    assert_eq!(status, 400);
    assert!(body.contains("fail_records"), "{body}");
    assert_eq!(local.stats().await["faults"]["throttle"], 1.0);
    let (status, _) = local.http("GET", "/_kinetail/nothing", "", b"").await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn an_access_key_expires_when_the_plan_says_so() {
    let local = Local::start(1).await;
    local.put([("k", b"x".as_slice())]).await;
    local.faults(json!({"expired_keys": ["old", "key"], "operations": ["PutRecords"]})).await;
    let put = local.client.put_records().stream_name(STREAM).records(entry("k", b"x")).send().await;
    assert_eq!(refused(put), is("ExpiredTokenException"));
    assert_eq!(local.stored().await.len(), 1);
    local.faults(json!({"expired_keys": ["old"]})).await;
    local.put([("k", b"x".as_slice())]).await;
    let (status, _) = local.http("POST", "/_kinetail/reset", "", b"").await;
    assert_eq!(status, 200);
    local.shards().await;
    assert_eq!(local.stats().await["access_keys"], json!({"key": 1}));
}

#[tokio::test]
async fn a_reset_leads_back_to_the_start() {
    let local = Local::start(1).await;
    local.client.create_stream().stream_name("other").shard_count(1).send().await.unwrap();
    local.put([("k", b"x".as_slice())]).await;
    local.faults(json!({"throttle": 1})).await;
    let (status, _) = local.http("POST", "/_kinetail/reset", "", b"").await;
    assert_eq!(status, 200);
    assert!(local.stored().await.is_empty());
    let names = local.client.list_streams().send().await.unwrap().stream_names;
    assert_eq!(names, [STREAM]);
    assert_eq!(local.put([("k", b"x".as_slice())]).await.failed_record_count(), Some(0));
    assert_eq!(local.stats().await["requests"]["PutRecords"], 1);
}

#[tokio::test]
async fn memory_is_bounded_and_the_oldest_records_go() {
    let streams = vec![(STREAM.to_owned(), 1)];
    let local = Local::with(LocalOptions { streams, max_memory: 100_000, limits: false, ..anywhere() }).await;
    for index in 0..50_u8 {
        local.put([("k", [index; 5000].as_slice())]).await;
    }
    let stats = local.stats().await;
    assert!(stats["memory_bytes"].as_u64().unwrap() <= 100_000, "{stats}");
    let records = local.read("shardId-000000000000").await;
    let kept: Vec<_> = records.iter().map(|record| record.data.as_ref()[0]).collect();
    let expected: Vec<_> = (50 - u8::try_from(kept.len()).unwrap()..50).collect();
    assert!(kept.len() >= 15, "{}", kept.len());
    assert_eq!(kept, expected);
    assert_eq!(stats["streams"][STREAM]["trimmed"], 50 - kept.len());
}

const SIGNED: &str = "Authorization: AWS4-HMAC-SHA256 Credential=x\r\nContent-Type: application/x-amz-json-1.1\r\n";

#[tokio::test]
async fn requests_that_no_sdk_would_send_get_the_services_codes() {
    let local = Local::start(1).await;
    let target = |operation: &str| format!("{SIGNED}X-Amz-Target: Kinesis_20131202.{operation}\r\n");
    let unsigned = "X-Amz-Target: Kinesis_20131202.ListStreams\r\n".to_owned();
    let cbor = target("ListStreams").replace("json", "cbor");
    let too_long = vec![b' '; 17 * 1024 * 1024];
    let wrong_base64 = br#"{"StreamName":"events","Records":[{"Data":"%","PartitionKey":"k"}]}"#;
    let no_key = br#"{"StreamName":"events","Records":[{"Data":""}]}"#;
    let cases: [(&str, String, &[u8], u16, &str); 11] = [
        ("POST", target("SubscribeToShard"), b"{}", 400, "UnknownOperationException"),
        ("POST", SIGNED.to_owned(), b"{}", 400, "UnknownOperationException"),
        ("GET", target("ListStreams"), b"", 400, "UnknownOperationException"),
        ("POST", unsigned, b"{}", 400, "MissingAuthenticationTokenException"),
        ("POST", cbor, b"\xa0", 400, "SerializationException"),
        ("POST", target("ListStreams"), b"{", 400, "SerializationException"),
        ("POST", target("PutRecords"), br#"{"StreamName":5}"#, 400, "SerializationException"),
        ("POST", target("PutRecords"), wrong_base64, 400, "SerializationException"),
        ("POST", target("PutRecords"), no_key, 400, "ValidationException"),
        ("POST", target("PutRecords"), b"{}", 400, "ValidationException"),
        ("POST", target("PutRecords"), &too_long, 413, "RequestEntityTooLargeException"),
    ];
    for (method, headers, body, status, code) in cases {
        let (got, answer) = local.http(method, "/", &headers, body).await;
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!((got, answer["__type"].as_str()), (status, Some(code)), "{method} {headers}");
        assert!(answer["message"].is_string());
    }
    let (status, _) = local.http("POST", "/", &target("ListStreams"), b"{}").await;
    assert_eq!(status, 200);
    let errors = &local.stats().await["errors"];
    assert_eq!(errors["UnknownOperationException"], 3);
}

#[tokio::test]
async fn it_listens_on_loopback_unless_told_otherwise() {
    let listen = "0.0.0.0:0".parse().unwrap();
    let refused = LocalStream::bind(LocalOptions { listen, ..LocalOptions::default() }).await;
    assert!(matches!(refused, Err(Error::NotLoopback(address)) if address == listen));
    LocalStream::bind(LocalOptions { listen, allow_remote: true, ..LocalOptions::default() }).await.unwrap();
}

#[tokio::test]
async fn it_stops_when_told_even_while_a_client_waits() {
    let local = LocalStream::bind(anywhere()).await.unwrap();
    let (address, endpoint) = (local.addr(), local.endpoint());
    assert_eq!(endpoint, format!("http://{address}"));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let mut task = JoinSet::new();
    task.spawn(async move { local.run(async { stopped.await.unwrap() }).await.unwrap() });
    let mut waiting = TcpStream::connect(address).await.unwrap();
    // An answer shows that the connection was accepted.
    waiting.write_all(b"GET /_kinetail/stats HTTP/1.1\r\nHost: local\r\n\r\n").await.unwrap();
    assert!(waiting.read_u8().await.is_ok());
    stop.send(()).unwrap();
    tokio::time::timeout(DEADLINE, task.join_next()).await.unwrap().unwrap().unwrap();
    let mut rest = Vec::new();
    tokio::time::timeout(DEADLINE, waiting.read_to_end(&mut rest)).await.unwrap().unwrap();
}

/// The program, ended when the test ends.
#[derive(Debug)]
struct Program(std::process::Child);

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[tokio::test]
async fn the_program_says_where_it_listens_and_stops_on_sigterm() {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    let mut command = Command::new(env!("CARGO_BIN_EXE_kinetail"));
    command.args(["local", "--listen", "127.0.0.1:0", "--stream", "orders:3", "--stream", "users"]);
    let mut program = Program(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(program.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let announced: Value = serde_json::from_str(&line).unwrap();
    let client = client(announced["endpoint"].as_str().unwrap());
    let names = client.list_streams().send().await.unwrap().stream_names;
    assert_eq!(names, ["orders", "users"]);
    let shards = client.list_shards().stream_name("orders").send().await.unwrap();
    assert_eq!(shards.shards().len(), 3);

    let killed = Command::new("kill").args(["-TERM", &program.0.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let ended = async {
        loop {
            if let Some(status) = program.0.try_wait().unwrap() {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let status = tokio::time::timeout(DEADLINE, ended).await.unwrap();
    assert!(status.success(), "{status}");
}

#[test]
fn the_program_refuses_what_it_cannot_do() {
    for args in
        [["--listen", "0.0.0.0:0"], ["--stream", "bad name"], ["--stream", "orders:x"], ["--stream", "orders:0"]]
    {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_kinetail"));
        let output = command.arg("local").args(args).output().unwrap();
        assert!(!output.status.success(), "{args:?}");
        assert!(output.stdout.is_empty(), "{args:?}");
        assert!(!output.stderr.is_empty(), "{args:?}");
    }
}

#[tokio::test]
async fn one_endpoint_serves_many_clients_at_once() {
    let local = Local::start(4).await;
    let mut clients = JoinSet::new();
    for number in 0..20 {
        let client = client(&local.endpoint);
        clients.spawn(async move {
            for round in 0..10 {
                let text = format!("{number:02}-{round}");
                let request = client.put_record().stream_name(STREAM).partition_key(&text);
                request.data(Blob::new(text.as_str())).send().await.unwrap();
            }
        });
    }
    while let Some(joined) = clients.join_next().await {
        joined.unwrap();
    }
    let stored = local.stored().await;
    assert_eq!(stored.len(), 200);
    assert_eq!(stored.iter().collect::<BTreeSet<_>>().len(), 200);
}
