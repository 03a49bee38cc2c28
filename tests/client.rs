//! The client's own questions and requests against the embedded stream: what a stream is, its open shards, and streams named by their ARN.

#![expect(clippy::unwrap_used, reason = "a panic is how a test's helpers fail")]

#[path = "support/harness.rs"]
#[expect(dead_code, reason = "these tests need the stream alone")]
mod harness;

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_kinesis::config::Credentials;
use aws_sdk_kinesis::types::{RecordDistributionStrategy, StreamMode, StreamModeDetails};
use bytes::Bytes;
use harness::{STREAM, Stand};
use kinetail::config::{Config, Layers};
use kinetail::kinesis::client::{Aws, DescribeStream, Entry, EntryResult, PutRecords, Request};
use kinetail::kinesis::hash::{hash_key, hash_key_text};
use kinetail::kinesis::verdict::Origin;

fn arn(stream: &str) -> String {
    format!("arn:aws:kinesis:us-east-1:000000000000:stream/{stream}")
}

fn client(stand: &Stand) -> Aws {
    let settings = [
        ("KINETAIL_STREAM", STREAM.to_owned()),
        ("KINETAIL_PATHS", "/nowhere/*.log".to_owned()),
        ("KINETAIL_ENDPOINT", stand.endpoint()),
        ("KINETAIL_REGION", "us-east-1".to_owned()),
    ];
    let environment = settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let config = Config::load(&Layers { file: None, environment, flags: BTreeMap::new() }).unwrap();
    Aws::with_credentials(&config.kinesis, Credentials::new("key", "secret", None, None, "test")).unwrap()
}

async fn put(aws: &Aws, stream: &str) -> Vec<EntryResult> {
    let entry = Entry { data: Bytes::from_static(b"x"), partition_key: "key".into(), hash_key: None };
    aws.put_records(Request { stream: stream.into(), entries: vec![entry.clone(), entry] }).await.unwrap()
}

#[tokio::test]
async fn a_stream_tells_what_it_is() {
    let stand = Stand::start(3).await;
    let aws = client(&stand);
    for name in [STREAM.to_owned(), arn(STREAM)] {
        let info = aws.stream_info(&name).await.unwrap();
        assert_eq!((&*info.arn, &*info.status), (&*arn(STREAM), "ACTIVE"));
        assert_eq!((info.open_shards, info.record_limit), (Some(3), 1 << 20));
        assert!(!info.on_demand && !info.auto_distribution);
        let age = info.created.unwrap().elapsed().unwrap();
        assert!(age < Duration::from_mins(5), "{age:?}");
    }
    stand.client.update_max_record_size().stream_arn(arn(STREAM)).max_record_size_in_kib(2048).send().await.unwrap();
    assert_eq!(aws.stream_info(STREAM).await.unwrap().record_limit, 2 << 20);

    let on_demand = StreamModeDetails::builder().stream_mode(StreamMode::OnDemand).build().unwrap();
    let create = stand.client.create_stream().stream_name("auto").stream_mode_details(on_demand);
    create.record_distribution_strategy(RecordDistributionStrategy::Auto).send().await.unwrap();
    let info = aws.stream_info("auto").await.unwrap();
    assert!(info.on_demand && info.auto_distribution, "{info:?}");
}

#[tokio::test]
async fn a_stream_that_is_not_there_is_an_error_with_its_code() {
    let stand = Stand::start(1).await;
    let aws = client(&stand);
    let foreign = "arn:aws:kinesis:us-east-1:123456789012:stream/events";
    for stream in ["other", foreign] {
        let (info, shards) = (aws.stream_info(stream).await.unwrap_err(), aws.open_shards(stream).await.unwrap_err());
        for error in [info, shards] {
            assert_eq!((&*error.code, error.origin), ("ResourceNotFoundException", Origin::Service(400)), "{stream}");
        }
    }
}

#[tokio::test]
async fn open_shards_are_all_of_them_over_all_pages_and_cover_the_space_once() {
    let stand = Stand::start(2500).await;
    let aws = client(&stand);
    // A shard that is closed is none that records go to.
    let half = hash_key_text(hash_key("key"));
    let before = aws.open_shards(STREAM).await.unwrap();
    let split = before.iter().find(|shard| (shard.start + 1..=shard.end).contains(&hash_key("key"))).unwrap();
    let request = stand.client.split_shard().stream_name(STREAM).shard_to_split(&split.id);
    request.new_starting_hash_key(half).send().await.unwrap();
    for name in [STREAM.to_owned(), arn(STREAM)] {
        let shards = aws.open_shards(&name).await.unwrap();
        assert_eq!((before.len(), shards.len()), (2500, 2501));
        assert!(shards.iter().all(|shard| shard.id != split.id));
        assert_eq!((shards[0].start, shards[2500].end), (0, u128::MAX));
        assert!(shards.windows(2).all(|pair| pair[0].end + 1 == pair[1].start));
        let owner = shards.iter().find(|shard| (shard.start..=shard.end).contains(&hash_key("key"))).unwrap();
        let stored = EntryResult::Stored { shard: owner.id.clone() };
        assert_eq!(put(&aws, &name).await, vec![stored.clone(), stored], "{name}");
    }
}
