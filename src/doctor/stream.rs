//! The service: whose credentials there are, what the stream is, and whether records may be put.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use bytesize::ByteSize;

use super::policy::{allow, named_resource, role_of, stream_arn};
use super::{Line, Options, reach};
use crate::clock;
use crate::config::{Config, Format, KinesisConfig, StreamRule};
use crate::consume::start::shown;
use crate::kinesis::client::{
    Allowed, Aws, DescribeStream, Entry, EntryResult, PutRecords, Request, RequestError, StreamInfo, caller,
};
use crate::kinesis::verdict;

const REGION: &str = "region";
const CREDENTIALS: &str = "credentials";
const IDENTITY: &str = "identity";
const STREAM: &str = "stream";
const DISTRIBUTION: &str = "distribution";
const RECORD_LIMIT: &str = "record_limit";
const ENCRYPTION: &str = "encryption";
const SHARDS: &str = "shards";
const PUT: &str = "put_records";

/// The alias of the key that the service has in every account: whoever may put may use it.
const OWN_KEY: &str = "alias/aws/kinesis";

/// Looks at the service, as far as it can be reached.
pub async fn service(config: &Config, options: &Options, checks: &mut Vec<Line>) {
    let kinesis = &config.kinesis;
    let aws = match Aws::new(kinesis).await {
        Ok(aws) => aws,
        Err(error) => {
            return checks.push(Line::fail("tls", error.to_string(), "correct kinesis.ca_file (KINETAIL_CA_FILE)"));
        }
    };
    let Some(region) = aws.region() else {
        let fix = "set kinesis.region (KINETAIL_REGION), or AWS_REGION";
        return checks.push(Line::fail(REGION, "no region is set, and none was found", fix));
    };
    checks.push(Line::pass(REGION, region.clone()));
    let who = Box::pin(credentials(kinesis, checks)).await;
    let main: Arc<str> = kinesis.stream_arn.as_deref().unwrap_or(&kinesis.stream).into();
    match aws.destination(&main).await {
        Ok(url) => {
            if !Box::pin(reach::endpoint(&url, kinesis.ca_file.as_deref(), checks)).await {
                return;
            }
        }
        Err(error) => {
            let fix = "correct kinesis.region and kinesis.endpoint";
            return checks.push(Line::fail("endpoint", spoken(&error), fix));
        }
    }
    let Some(who) = who else { return };
    for name in streams(config, &main) {
        let arn = stream_arn(&name, &region, who.arn.as_deref());
        let probe = Probe { aws: &aws, config: kinesis, name, arn, who: &who, send: options.send };
        Box::pin(probe.run(checks)).await;
    }
}

/// The streams that are known before an event is.
fn streams(config: &Config, main: &Arc<str>) -> Vec<Arc<str>> {
    let rules = config.sources.iter().filter_map(|source| source.stream.as_ref());
    let fixed: BTreeSet<&str> = rules.map(StreamRule::text).filter(|text| !text.contains('{')).collect();
    let more = fixed.into_iter().filter(|name| **name != *config.kinesis.stream).map(Arc::from);
    std::iter::once(Arc::clone(main)).chain(more).collect()
}

/// Who asks.
struct Who {
    arn: Option<String>,
}

impl Who {
    fn named(&self) -> String {
        self.arn.as_deref().map_or("the role that this runs under".to_owned(), role_of)
    }
}

async fn credentials(config: &KinesisConfig, checks: &mut Vec<Line>) -> Option<Who> {
    let caller = match Box::pin(caller(config)).await {
        Ok(Ok(caller)) => caller,
        Ok(Err(error)) => {
            checks.push(Line::fail(CREDENTIALS, spoken(&error), verdict::way_out(&error.code)));
            return None;
        }
        Err(error) => {
            checks.push(Line::fail(CREDENTIALS, error.to_string(), "correct kinesis.ca_file (KINETAIL_CA_FILE)"));
            return None;
        }
    };
    let role = config.assume_role.as_ref().map_or(String::new(), |role| format!(", which assume {}", role.arn));
    let until = caller.expires.map_or(String::new(), |expires| format!(", good until {}", shown(expires)));
    let said = format!("{}{role}: access key {}{until}", caller.provider, caller.access_key_id);
    checks.push(match caller.expires {
        Some(expires) if expires <= clock::now() => {
            Line::fail(CREDENTIALS, said, verdict::way_out("ExpiredTokenException"))
        }
        _ => Line::pass(CREDENTIALS, said),
    });
    let arn = match caller.arn {
        Ok(arn) => {
            checks.push(Line::pass(IDENTITY, arn.clone()));
            Some(arn)
        }
        Err(error) if verdict::on_credentials(&error.code) => {
            checks.push(Line::fail(IDENTITY, spoken(&error), verdict::way_out(&error.code)));
            None
        }
        Err(error) => {
            let fix = "STS is not needed to send: nothing to do if this network has no way there; AWS_ENDPOINT_URL_STS gives another address";
            checks.push(Line::warn(IDENTITY, format!("STS does not say: {}", spoken(&error)), fix));
            None
        }
    };
    Some(Who { arn })
}

fn spoken(error: &RequestError) -> String {
    format!("{}: {}", error.code, error.message)
}

fn is_denied(error: &RequestError) -> bool {
    matches!(&*error.code, "AccessDenied" | "AccessDeniedException" | "NotAuthorized")
}

// === one stream ===

struct Probe<'a> {
    aws: &'a Aws,
    config: &'a KinesisConfig,
    name: Arc<str>,
    /// Its ARN, as far as it can be known.
    arn: String,
    who: &'a Who,
    send: bool,
}

impl Probe<'_> {
    async fn run(mut self, checks: &mut Vec<Line>) {
        let mut key = None;
        match self.aws.stream_info(&self.name).await {
            Ok(info) => {
                self.arn.clone_from(&info.arn);
                key.clone_from(&info.encryption_key);
                self.describe(&info, checks);
            }
            Err(error) => {
                let missing = error.code == "ResourceNotFoundException";
                checks.push(self.undescribed(&error));
                if missing {
                    return;
                }
            }
        }
        checks.push(self.shards().await);
        let put = if self.send { self.put().await } else { self.may_put().await };
        let proven = self.send && put.level == super::Level::Pass;
        if let Some(key) = key {
            checks.push(self.encryption(&key, proven));
        }
        checks.push(put);
    }

    fn describe(&self, info: &StreamInfo, checks: &mut Vec<Line>) {
        let mode = if info.on_demand { "on-demand" } else { "provisioned" };
        let said = format!("{} is {}, {mode}", info.arn, info.status);
        checks.push(match &*info.status {
            "ACTIVE" | "UPDATING" => Line::pass(STREAM, said),
            "CREATING" => {
                Line::warn(STREAM, said, "nothing to do: it takes records when it is ACTIVE, and the agent waits")
            }
            _ => Line::fail(STREAM, said, "create it anew, or correct kinesis.stream"),
        });
        if info.auto_distribution {
            let said = "the record distribution is AUTO: consumers would drop aggregated records silently";
            checks.push(if self.config.format == Format::Kpl {
                let fix = "set the stream's record distribution to USER_PARTITION_KEY, or kinesis.format (KINETAIL_FORMAT) to lines or single";
                Line::fail(DISTRIBUTION, said, fix)
            } else {
                Line::pass(DISTRIBUTION, format!("AUTO, with kinesis.format: {}", words(self.config.format)))
            });
        } else {
            checks.push(Line::pass(DISTRIBUTION, "USER_PARTITION_KEY"));
        }
        let limit = ByteSize::b(info.record_limit as u64).display().iec().to_string();
        checks.push(match self.config.aggregate.max_bytes {
            Some(most) if most > info.record_limit => Line::warn(
                RECORD_LIMIT,
                format!("a record may have {limit}, and kinesis.aggregate.max_bytes is more"),
                "the agent keeps to the stream's limit; lower kinesis.aggregate.max_bytes, or raise the stream's limit (aws kinesis update-max-record-size)",
            ),
            _ => Line::pass(RECORD_LIMIT, format!("a record may have {limit}")),
        });
    }

    fn undescribed(&self, error: &RequestError) -> Line {
        let said = format!("{}: {}", self.name, spoken(error));
        match &*error.code {
            "ResourceNotFoundException" => Line::fail(
                STREAM,
                said,
                format!(
                    "create it (aws kinesis create-stream --stream-name {}), or correct kinesis.stream, kinesis.region or kinesis.endpoint; one of another account is named by kinesis.stream_arn",
                    self.name.rsplit('/').next().unwrap_or_default()
                ),
            ),
            _ if is_denied(error) => Line::warn(
                STREAM,
                said,
                self.grant(
                    error,
                    &["kinesis:DescribeStreamSummary"],
                    "optional: without it 1 MiB is the record limit, and an AUTO distribution goes unnoticed",
                ),
            ),
            code => Line::fail(STREAM, said, verdict::way_out(code)),
        }
    }

    /// What has to be pasted where.
    fn grant(&self, error: &RequestError, actions: &[&str], why: &str) -> String {
        let arn = named_resource(&error.message).unwrap_or(&self.arn);
        format!("{why}; attach to {}:\n{}", self.who.named(), allow(actions, arn))
    }

    async fn shards(&self) -> Line {
        match self.aws.open_shards(&self.name).await {
            Ok(shards) => {
                let count = shards.len();
                Line::pass(SHARDS, format!("{count} open shards: {count} MB/s, {} records/s", count * 1000))
            }
            Err(error) if is_denied(&error) => Line::warn(
                SHARDS,
                spoken(&error),
                self.grant(
                    &error,
                    &["kinesis:ListShards"],
                    "optional: without it which shard takes what is learnt from answers",
                ),
            ),
            Err(error) => Line::warn(SHARDS, spoken(&error), verdict::way_out(&error.code)),
        }
    }

    fn encryption(&self, key: &str, proven: bool) -> Line {
        if key.ends_with(OWN_KEY) {
            return Line::pass(ENCRYPTION, format!("by the service's own key, {key}"));
        }
        if proven {
            return Line::pass(ENCRYPTION, format!("by {key}, which could be used"));
        }
        let policy = allow(&["kms:GenerateDataKey"], if key.starts_with("arn:") { key } else { "the key's ARN" });
        let fix = format!(
            "whether it may be used only an event shows: kinetail doctor --send sends one. {} needs, and the key's policy must not forbid:\n{policy}",
            self.who.named()
        );
        Line::warn(ENCRYPTION, format!("by {key}"), fix)
    }

    async fn may_put(&self) -> Line {
        match self.aws.may_put(&self.name).await {
            Allowed::Yes => Line::pass(PUT, "allowed (DryRun); nothing was sent"),
            Allowed::Seemingly => Line::pass(
                PUT,
                "not denied: the service looked at a record with an impossible hash key, and refused that; nothing was sent",
            ),
            Allowed::Odd => Line::warn(
                PUT,
                "the endpoint took a record that the service refuses",
                "this is no Kinesis Data Streams: check kinesis.endpoint; kinetail doctor --send sends an event",
            ),
            Allowed::Unknown(error) => Line::warn(
                PUT,
                format!("it cannot be known without an event: {}", spoken(&error)),
                "kinetail doctor --send sends one",
            ),
            Allowed::No(error) => self.refused(&error),
        }
    }

    /// Sends an event that says what it is.
    async fn put(&self) -> Line {
        let time = shown(clock::now());
        let event =
            serde_json::json!({"message": "a test event of kinetail doctor", "kinetail_doctor": true, "time": time});
        let data = format!("{event}{}", self.config.delimiter);
        let partition_key = format!("kinetail-doctor-{:016x}", fastrand::u64(..));
        let entry = Entry { data: Bytes::from(data), partition_key: partition_key.into(), hash_key: None };
        let request = Request { stream: Arc::clone(&self.name), entries: vec![entry] };
        let answer = tokio::time::timeout(self.config.request_timeout, self.aws.put_records(request)).await;
        let failed = |code: &str, message: String| RequestError {
            code: code.to_owned(),
            message,
            origin: verdict::Origin::Transport,
        };
        let answer = answer.unwrap_or_else(|_| {
            let within = self.config.request_timeout;
            Err(failed("Timeout", format!("no answer within {within:?} (kinesis.request_timeout)")))
        });
        match answer {
            Ok(results) => match results.into_iter().next() {
                Some(EntryResult::Stored { shard }) => Line::pass(PUT, format!("a test event is stored in {shard}")),
                Some(EntryResult::Refused { code, message }) => self.refused(&failed(&code, message)),
                None => self.refused(&failed("UnreadableResponse", "an answer without a result".to_owned())),
            },
            Err(error) => self.refused(&error),
        }
    }

    fn refused(&self, error: &RequestError) -> Line {
        let said = spoken(error);
        match verdict::on_request(&error.code, error.origin) {
            _ if is_denied(error) => {
                let fix = self.grant(error, &["kinesis:PutRecords"], "the one permission that sending needs");
                Line::fail(PUT, said, fix)
            }
            _ if error.code.starts_with("KMS") => {
                let policy = allow(&["kms:GenerateDataKey"], named_resource(&error.message).unwrap_or("the key's ARN"));
                Line::fail(PUT, said, format!("{}:\n{policy}", verdict::way_out(&error.code)))
            }
            verdict::Verdict::Throttled => {
                Line::warn(PUT, said, "the stream takes no more at the moment: add shards, or switch it to on-demand")
            }
            _ => Line::fail(PUT, said, verdict::way_out(&error.code)),
        }
    }
}

fn words(format: Format) -> &'static str {
    match format {
        Format::Kpl => "kpl",
        Format::Lines => "lines",
        Format::Single => "single",
    }
}
