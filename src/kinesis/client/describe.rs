//! What a stream is: two questions of the control plane, asked rarely and with the answers in our own types. When to ask, and what to do
//! without an answer, is the caller's business.

use std::pin::Pin;
use std::time::{Duration, SystemTime};

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::operation::list_shards::ListShardsOutput;
use aws_sdk_kinesis::types::{
    EncryptionType, RecordDistributionStrategy, Shard, ShardFilter, ShardFilterType, StreamDescriptionSummary,
    StreamMode,
};
use tokio::time::timeout;

use super::{Aws, RequestError, is_arn, request_error};
use crate::kinesis::hash::parse_hash_key;
use crate::kinesis::verdict::Origin;

/// How long one call may take. These answers are small and nothing waits for them, but a call that hangs would never be asked again.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Shards on a page: the most that the service takes, and so the fewest calls.
pub(super) const PAGE_SHARDS: i32 = 1000;
/// Pages that are followed: 100,000 shards, which is more than any stream has. A server that always has one more page is not followed for ever.
pub(super) const MAX_PAGES: usize = 100;

/// The record limit of a stream that does not say one, in bytes: what it was for all of them before it could be set.
const UNSAID_RECORD_LIMIT: usize = 1 << 20;

/// An answer of the control plane, on its way.
pub type Asked<T> = Pin<Box<dyn Future<Output = Result<T, RequestError>>>>;

/// What the sender asks about a stream beside sending to it. Both questions are optional: a role may lack the permission.
pub trait DescribeStream {
    /// What the stream is: `kinesis:DescribeStreamSummary`. The service allows 20 such calls a second to an account.
    fn stream_info(&self, stream: &str) -> Asked<StreamInfo>;

    /// The stream's open shards, by their ranges: `kinesis:ListShards`, all pages.
    fn open_shards(&self, stream: &str) -> Asked<Vec<OpenShard>>;
}

/// What a stream is, as `DescribeStreamSummary` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamInfo {
    /// Its ARN.
    pub arn: String,
    /// When it was created. A stream of the same name with another time is another stream.
    pub created: Option<SystemTime>,
    /// `CREATING`, `ACTIVE`, `UPDATING` or `DELETING`.
    pub status: String,
    /// Its capacity is the service's business, and it is billed by the kibibyte of each record.
    pub on_demand: bool,
    /// The most that data and partition key of a record may have together, in bytes.
    pub record_limit: usize,
    /// How many shards are open.
    pub open_shards: Option<u32>,
    /// The KMS key that it is encrypted with, if it is.
    pub encryption_key: Option<String>,
    /// The service places records where it likes (`RecordDistributionStrategy` is `AUTO`): keys mean nothing, and consumers with KCL throw
    /// aggregates away.
    pub auto_distribution: bool,
}

/// A shard that takes records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenShard {
    /// Its id.
    pub id: String,
    /// The first hash key of its range.
    pub start: u128,
    /// The last one.
    pub end: u128,
}

impl DescribeStream for Aws {
    fn stream_info(&self, stream: &str) -> Asked<StreamInfo> {
        Box::pin(stream_info(self.client.clone(), stream.to_owned()))
    }

    fn open_shards(&self, stream: &str) -> Asked<Vec<OpenShard>> {
        Box::pin(open_shards(self.client.clone(), stream.to_owned()))
    }
}

async fn stream_info(client: Client, stream: String) -> Result<StreamInfo, RequestError> {
    let request = client.describe_stream_summary();
    let request = if is_arn(&stream) { request.stream_arn(stream) } else { request.stream_name(stream) };
    let answer = within(async { request.send().await.map_err(|error| request_error(&error)) }).await?;
    answer
        .stream_description_summary
        .as_ref()
        .map(info)
        .ok_or_else(|| unreadable("an answer without a stream".to_owned()))
}

fn info(summary: &StreamDescriptionSummary) -> StreamInfo {
    let created = summary.stream_creation_timestamp;
    let kib = summary.max_record_size_in_kib.and_then(|kib| usize::try_from(kib).ok());
    StreamInfo {
        arn: summary.stream_arn.clone(),
        // The SDK makes 1970 of a time that is missing.
        created: SystemTime::try_from(created).ok().filter(|_| created.secs() > 0),
        status: summary.stream_status.as_str().to_owned(),
        on_demand: summary.stream_mode_details().is_some_and(|mode| mode.stream_mode == StreamMode::OnDemand),
        record_limit: kib.map_or(UNSAID_RECORD_LIMIT, |kib| kib * 1024),
        open_shards: u32::try_from(summary.open_shard_count).ok().filter(|count| *count > 0),
        encryption_key: summary.key_id.clone().filter(|_| summary.encryption_type == Some(EncryptionType::Kms)),
        auto_distribution: summary.record_distribution_strategy == Some(RecordDistributionStrategy::Auto),
    }
}

async fn open_shards(client: Client, stream: String) -> Result<Vec<OpenShard>, RequestError> {
    let latest = ShardFilter::builder().r#type(ShardFilterType::AtLatest).build();
    let latest = latest.map_err(|error| unreadable(error.to_string()))?;
    let request = client.list_shards().max_results(PAGE_SHARDS).shard_filter(latest);
    let mut request = if is_arn(&stream) { request.stream_arn(stream) } else { request.stream_name(stream) };
    let mut open = Vec::new();
    for _ in 0..MAX_PAGES {
        let page = async { request.send().await.map_err(|error| request_error(&error)) };
        let ListShardsOutput { shards, next_token, .. } = within(page).await?;
        // What does not know the filter lists closed shards too.
        for shard in shards.unwrap_or_default().iter().filter(|shard| is_open(shard)) {
            open.push(open_shard(shard)?);
        }
        let Some(token) = next_token else {
            open.sort_by_key(|shard| shard.start);
            return Ok(open);
        };
        // The token stands for the stream and the filter; with either beside it the service refuses the request.
        request = client.list_shards().max_results(PAGE_SHARDS).next_token(token);
    }
    Err(unreadable(format!("over {MAX_PAGES} pages of shards")))
}

fn is_open(shard: &Shard) -> bool {
    shard.sequence_number_range().is_none_or(|range| range.ending_sequence_number.is_none())
}

fn open_shard(shard: &Shard) -> Result<OpenShard, RequestError> {
    let id = shard.shard_id.clone();
    let range = shard.hash_key_range().ok_or_else(|| unreadable(format!("shard {id} without a range")))?;
    let key = |text: &str| parse_hash_key(text).map_err(|error| unreadable(format!("shard {id}: {error}")));
    let (start, end) = (key(&range.starting_hash_key)?, key(&range.ending_hash_key)?);
    Ok(OpenShard { id, start, end })
}

/// An answer that makes no sense.
pub(super) fn unreadable(message: String) -> RequestError {
    RequestError { code: "UnreadableResponse".to_owned(), message, origin: Origin::Transport }
}

async fn within<T>(call: impl Future<Output = Result<T, RequestError>>) -> Result<T, RequestError> {
    let late = |_| {
        let message = format!("no answer within {CALL_TIMEOUT:?}");
        Err(RequestError { code: "Timeout".to_owned(), message, origin: Origin::Transport })
    };
    timeout(CALL_TIMEOUT, call).await.unwrap_or_else(late)
}
