//! The operations: from the bytes of a request to the bytes of an answer. Pure but for the state; the caller says what time
//! it is.
//!
//! HTTP is the business of `server.rs`, faults of whole requests that of `owner.rs`.

mod put;
mod read;
mod shards;
mod streams;
#[cfg(test)]
mod timed;

use serde::{Deserialize, Serialize};

use super::refusal::{Refusal, Violations};
use super::state::State;
use super::{ACCOUNT, REGION};

/// What names the API and its version in `X-Amz-Target`.
const TARGET_PREFIX: &str = "Kinesis_20131202.";

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    CreateStream,
    DecreaseStreamRetentionPeriod,
    DeleteStream,
    DescribeStream,
    DescribeStreamSummary,
    GetRecords,
    GetShardIterator,
    IncreaseStreamRetentionPeriod,
    ListShards,
    ListStreams,
    MergeShards,
    PutRecord,
    PutRecords,
    SplitShard,
    UpdateMaxRecordSize,
    UpdateShardCount,
}

impl Operation {
    const ALL: [Self; 16] = [
        Self::CreateStream,
        Self::DecreaseStreamRetentionPeriod,
        Self::DeleteStream,
        Self::DescribeStream,
        Self::DescribeStreamSummary,
        Self::GetRecords,
        Self::GetShardIterator,
        Self::IncreaseStreamRetentionPeriod,
        Self::ListShards,
        Self::ListStreams,
        Self::MergeShards,
        Self::PutRecord,
        Self::PutRecords,
        Self::SplitShard,
        Self::UpdateMaxRecordSize,
        Self::UpdateShardCount,
    ];

    /// The API's name for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::CreateStream => "CreateStream",
            Self::DecreaseStreamRetentionPeriod => "DecreaseStreamRetentionPeriod",
            Self::DeleteStream => "DeleteStream",
            Self::DescribeStream => "DescribeStream",
            Self::DescribeStreamSummary => "DescribeStreamSummary",
            Self::GetRecords => "GetRecords",
            Self::GetShardIterator => "GetShardIterator",
            Self::IncreaseStreamRetentionPeriod => "IncreaseStreamRetentionPeriod",
            Self::ListShards => "ListShards",
            Self::ListStreams => "ListStreams",
            Self::MergeShards => "MergeShards",
            Self::PutRecord => "PutRecord",
            Self::PutRecords => "PutRecords",
            Self::SplitShard => "SplitShard",
            Self::UpdateMaxRecordSize => "UpdateMaxRecordSize",
            Self::UpdateShardCount => "UpdateShardCount",
        }
    }

    /// All names.
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        Self::ALL.into_iter().map(Self::name)
    }

    /// The operation of this name.
    pub(crate) fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| operation.name() == name)
    }

    /// The operation that `X-Amz-Target` asks for.
    pub(crate) fn by_target(target: &str) -> Option<Self> {
        Self::by_name(target.strip_prefix(TARGET_PREFIX)?)
    }
}

/// Carries out a request. Returns the body of the answer; some operations answer with an empty one.
pub(crate) fn call(state: &mut State, operation: Operation, body: &[u8], now_ms: u64) -> Result<Vec<u8>, Refusal> {
    match operation {
        Operation::CreateStream => streams::create(state, body, now_ms),
        Operation::DecreaseStreamRetentionPeriod => streams::decrease_retention(state, body, now_ms),
        Operation::DeleteStream => streams::delete(state, body),
        Operation::DescribeStream => streams::describe(state, body, now_ms),
        Operation::DescribeStreamSummary => streams::describe_summary(state, body, now_ms),
        Operation::GetRecords => read::get_records(state, body, now_ms),
        Operation::GetShardIterator => read::get_shard_iterator(state, body, now_ms),
        Operation::IncreaseStreamRetentionPeriod => streams::increase_retention(state, body, now_ms),
        Operation::ListShards => shards::list(state, body, now_ms),
        Operation::ListStreams => streams::list(state, body, now_ms),
        Operation::MergeShards => shards::merge(state, body, now_ms),
        Operation::PutRecord => put::one(state, body, now_ms),
        Operation::PutRecords => put::many(state, body, now_ms),
        Operation::SplitShard => shards::split(state, body, now_ms),
        Operation::UpdateMaxRecordSize => streams::update_max_record_size(state, body, now_ms),
        Operation::UpdateShardCount => shards::update_count(state, body, now_ms),
    }
}

/// Reads the members of a request. Those that nobody here knows are ignored, as the service ignores them.
fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| Refusal::new("SerializationException", error.to_string()))
}

/// Writes an answer.
fn encode<T: Serialize>(answer: &T) -> Result<Vec<u8>, Refusal> {
    serde_json::to_vec(answer).map_err(|error| Refusal::new("InternalFailure", error.to_string()))
}

/// Which stream a request means; part of almost every request.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct StreamRef {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
}

impl StreamRef {
    /// Whether the request names no stream.
    fn is_empty(&self) -> bool {
        self.stream_name.is_none() && self.stream_arn.is_none()
    }

    /// Notes what is wrong with the name and the ARN as such.
    fn check(&self, violations: &mut Violations) {
        if let Some(name) = &self.stream_name {
            violations.name("streamName", name);
        }
        if let Some(arn) = &self.stream_arn {
            violations.length("streamARN", arn, 1, 2048);
            if split_arn(arn).is_none() {
                let pattern = r"Member must satisfy regular expression pattern: arn:aws.*:kinesis:.*:\d{12}:stream/\S+";
                violations.add("streamARN", arn, pattern);
            }
        }
    }

    /// The name of the stream that is meant; that of another account or region doesn't exist here.
    fn resolve(&self) -> Result<&str, Refusal> {
        let by_arn = match self.stream_arn.as_deref() {
            None => None,
            Some(arn) => match split_arn(arn) {
                Some((REGION, ACCOUNT, name)) => Some(name),
                _ => return Err(Refusal::not_found(format!("Stream {arn} not found."))),
            },
        };
        match (self.stream_name.as_deref(), by_arn) {
            (Some(name), Some(other)) if name != other => {
                Err(Refusal::argument(format!("StreamName {name} and StreamARN for {other} name different streams.")))
            }
            (Some(name), _) | (None, Some(name)) => Ok(name),
            (None, None) => Err(Refusal::argument("Either StreamName or StreamARN should be provided.")),
        }
    }
}

/// Region, account and name in a stream's ARN.
fn split_arn(arn: &str) -> Option<(&str, &str, &str)> {
    let (partition, rest) = arn.strip_prefix("arn:")?.split_once(":kinesis:")?;
    let (region, rest) = rest.split_once(':')?;
    let (account, rest) = rest.split_once(':')?;
    let name = rest.strip_prefix("stream/")?;
    let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    let is_name = !name.is_empty() && !name.contains(char::is_whitespace);
    (partition.starts_with("aws") && is_account && is_name).then_some((region, account, name))
}

/// A time as AWS JSON writes it: seconds since 1970, with a fraction.
fn seconds(ms: u64) -> f64 {
    std::time::Duration::from_millis(ms).as_secs_f64()
}

/// Reads a time in seconds; one before 1970 counts as 1970.
fn milliseconds(seconds: f64) -> u64 {
    let half_ms = std::time::Duration::from_micros(500);
    let duration = std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default();
    u64::try_from(duration.saturating_add(half_ms).as_millis()).unwrap_or(u64::MAX)
}

/// The answer to a request that is in order but only asks whether it is. That it is this one for all that only ask, and only
/// for those in order, is what the model suggests; it is not verified.
fn dry_run_refusal() -> Refusal {
    Refusal::new("DryRunOperationException", "The request was rejected because the DryRun parameter was specified.")
}

/// Refuses times that haven't come yet, as the service does.
fn not_future(ms: u64, now_ms: u64) -> Result<u64, Refusal> {
    if ms <= now_ms {
        return Ok(ms);
    }
    Err(Refusal::argument(format!(
        "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. timestampInMillis: {ms}, \
         currentTimestampInMillis: {now_ms}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_found_by_their_target() {
        for operation in Operation::ALL {
            let target = format!("Kinesis_20131202.{}", operation.name());
            assert_eq!(Operation::by_target(&target), Some(operation));
        }
        for target in ["", "PutRecords", "Kinesis_20131202.", "Kinesis_20131202.SubscribeToShard", "X.PutRecords"] {
            assert_eq!(Operation::by_target(target), None, "{target}");
        }
    }

    #[test]
    fn a_stream_is_found_by_name_or_by_arn() {
        let resolve = |name: Option<&str>, arn: Option<&str>| {
            let (stream_name, stream_arn) = (name.map(str::to_owned), arn.map(str::to_owned));
            StreamRef { stream_name, stream_arn }
                .resolve()
                .map(str::to_owned)
                .map_err(|refusal| refusal.code.into_owned())
        };
        let arn = "arn:aws:kinesis:us-east-1:000000000000:stream/orders";
        assert_eq!(resolve(Some("orders"), None), Ok("orders".to_owned()));
        assert_eq!(resolve(None, Some(arn)), Ok("orders".to_owned()));
        assert_eq!(resolve(Some("orders"), Some(arn)), Ok("orders".to_owned()));
        assert_eq!(resolve(Some("other"), Some(arn)), Err("InvalidArgumentException".to_owned()));
        assert_eq!(resolve(None, None), Err("InvalidArgumentException".to_owned()));
        let foreign = "arn:aws:kinesis:us-east-1:123456789012:stream/orders";
        assert_eq!(resolve(None, Some(foreign)), Err("ResourceNotFoundException".to_owned()));
    }

    #[test]
    fn times_keep_their_milliseconds() {
        for ms in [0, 1, 999, 1_763_800_000_123, 1_763_800_000_999] {
            assert_eq!(milliseconds(seconds(ms)), ms);
        }
        assert_eq!(milliseconds(-5.0), 0);
        assert_eq!(milliseconds(f64::NAN), 0);
    }
}
