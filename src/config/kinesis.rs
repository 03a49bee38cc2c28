//! The meaning of `kinesis`: where events go, by which keys, how they are packed, and which of these settings go together.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::limits;
use super::mask::{mask_url, quoted};
use super::problem::{Place, did_you_mean, listed};
use super::raw::{RawAggregate, RawAssumeRole, RawKinesis, RawSource};
use super::resolve::{Resolver, name_problem, shown_size};
use super::{AggregateConfig, AssumeRole, Compression, Format, KinesisConfig, PartitionKey, SourceConfig};
use crate::route::{MAX_STREAM_CHARS, StreamRule, Template, is_stream_name};

/// The words that `partition_key` can be beside a template.
const RANDOM: &str = "random";
const SOURCE: &str = "source";

/// The shape of the one kind of ARN that names a stream.
const STREAM_ARN: &str = "arn:aws:kinesis:REGION:ACCOUNT:stream/NAME";
/// The shape of the one that names a role.
const ROLE_ARN: &str = "arn:aws:iam::ACCOUNT:role/NAME";

/// The variable that counts only where nothing else names a region.
const FALLBACK_REGION: &str = "AWS_REGION";

impl Resolver<'_> {
    pub(super) fn kinesis(&mut self, raw: RawKinesis) -> KinesisConfig {
        let (stream, region) = self.stream(raw.stream, raw.stream_arn.as_deref(), raw.region);
        if let Some(region) = &region {
            self.region(region);
        }
        if let Some(endpoint) = &raw.endpoint {
            self.endpoint(endpoint);
        }
        let ca_file = raw.ca_file.map(|path| self.directory("kinesis.ca_file", &path));
        let in_flight = "kinesis.max_in_flight_requests";
        let requests = self.amount(in_flight, raw.max_in_flight_requests, &limits::MAX_IN_FLIGHT_REQUESTS);
        let max_streams = self.amount("kinesis.max_streams", raw.max_streams, &limits::MAX_STREAMS);
        let format = raw.format.unwrap_or(limits::FORMAT);
        let partition_key = self.partition_key(raw.partition_key.as_deref());
        KinesisConfig {
            stream,
            stream_arn: raw.stream_arn,
            region,
            endpoint: raw.endpoint,
            ca_file,
            assume_role: raw.assume_role.map(|raw| self.assume_role(raw)),
            format,
            explicit_hash_key: self.explicit_hash_key(raw.explicit_hash_key.as_deref(), &partition_key),
            partition_key,
            delimiter: self.delimiter(raw.delimiter, format),
            compression: self.compression(raw.compression.unwrap_or_default(), format),
            aggregate: self.aggregate(raw.aggregate.unwrap_or_default()),
            max_in_flight_requests: usize::try_from(requests).expect("the range ends at 64"),
            max_streams: usize::try_from(max_streams).expect("the range ends at 256"),
            hot_key_share: self.amount("kinesis.hot_key_share", raw.hot_key_share, &limits::HOT_KEY_SHARE).0,
            request_timeout: self.amount("kinesis.request_timeout", raw.request_timeout, &limits::REQUEST_TIMEOUT).0,
        }
    }

    /// The stream's name and region, from the name, the ARN, or both.
    fn stream(&mut self, name: Option<String>, arn: Option<&str>, region: Option<String>) -> (String, Option<String>) {
        let name = name.unwrap_or_default();
        let Some(arn) = arn else {
            self.stream_name(&name);
            return (name, region);
        };
        let Some((arn_region, arn_name)) = stream_of(arn) else {
            let message = format!("{} is not the ARN of a stream; allowed: {STREAM_ARN}", quoted(arn));
            self.report("kinesis.stream_arn", message);
            return (name, region);
        };
        if !name.is_empty() && name != arn_name {
            let message = format!(
                "{} is not {}, the stream of kinesis.stream_arn; remove one of them",
                quoted(&name),
                quoted(arn_name)
            );
            self.report("kinesis.stream", message);
        }
        let is_fallback = self.places.get("kinesis.region") == Some(&Place::Variable(FALLBACK_REGION.to_owned()));
        match region {
            Some(region) if region != arn_region && !is_fallback => {
                let message = format!(
                    "{} is not {}, the region of kinesis.stream_arn, and a stream is reached in its own; remove this",
                    quoted(&region),
                    quoted(arn_region)
                );
                self.report("kinesis.region", message);
                (arn_name.to_owned(), Some(region))
            }
            _ => (arn_name.to_owned(), Some(arn_region.to_owned())),
        }
    }

    fn stream_name(&mut self, name: &str) {
        if name.is_empty() {
            self.missing("kinesis.stream", "name the stream: in the document, with KINETAIL_STREAM or with --stream");
        } else if let Some(problem) = name_problem(name, MAX_STREAM_CHARS) {
            let hint = match name.rsplit_once(":stream/") {
                Some((_, short)) => {
                    format!(" (of an ARN, only the name: \"{short}\"; for one in another account, kinesis.stream_arn)")
                }
                None => String::new(),
            };
            self.report("kinesis.stream", problem + &hint);
        }
    }

    fn assume_role(&mut self, raw: RawAssumeRole) -> AssumeRole {
        let arn = raw.arn.unwrap_or_default();
        let (path, allowed) = ("kinesis.assume_role.arn", format!("allowed: {ROLE_ARN}"));
        if arn.is_empty() {
            self.missing(path, "name the role to assume, or remove kinesis.assume_role");
        } else if !is_role(&arn) {
            self.report(path, format!("{} is not the ARN of a role; {allowed}", quoted(&arn)));
        }
        let session_name = raw.session_name.unwrap_or_else(|| limits::SESSION_NAME.to_owned());
        let external_id = raw.external_id;
        // The limits and characters are those of the service that gives the credentials.
        let checks = [
            ("session_name", Some(&session_name), 64, "_=,.@-"),
            ("external_id", external_id.as_ref(), 1224, "_=,.@:/+-"),
        ];
        for (name, value, longest, others) in checks {
            let is_allowed = |c: char| c.is_ascii_alphanumeric() || others.contains(c);
            let is_good = |value: &&String| (2..=longest).contains(&value.len()) && value.chars().all(is_allowed);
            if let Some(value) = value.filter(|value| !is_good(value)) {
                let message = format!(
                    "{} is no {name} of a role's session; allowed: 2 to {longest} letters, digits and {others}",
                    quoted(value)
                );
                self.report(&format!("kinesis.assume_role.{name}"), message);
            }
        }
        AssumeRole { arn, external_id, session_name }
    }

    fn partition_key(&mut self, text: Option<&str>) -> PartitionKey {
        let path = "kinesis.partition_key";
        match text {
            None | Some(RANDOM) => PartitionKey::Random,
            Some(SOURCE) => PartitionKey::Source,
            Some(text) if text.contains(['{', '}']) => {
                self.template(path, text).map_or(PartitionKey::Random, PartitionKey::Template)
            }
            Some(word) => {
                let near = did_you_mean(word, [RANDOM, SOURCE]);
                let hint = if near.is_empty() && !word.is_empty() {
                    format!(" (for the field of that name: \"{{{word}}}\")")
                } else {
                    near
                };
                let message = format!(
                    "{} is not one of {}, and no template, which has a field in braces{hint}",
                    quoted(word),
                    listed([RANDOM, SOURCE])
                );
                self.report(path, message);
                PartitionKey::Random
            }
        }
    }

    fn template(&mut self, path: &str, text: &str) -> Option<Arc<Template>> {
        match Template::parse(text) {
            Ok(template) => Some(Arc::new(template)),
            Err(error) => {
                self.report(path, format!("{} is not a template: {error}", quoted(text)));
                None
            }
        }
    }

    fn explicit_hash_key(&mut self, text: Option<&str>, partition_key: &PartitionKey) -> Option<Arc<Template>> {
        let path = "kinesis.explicit_hash_key";
        let template = text.and_then(|text| self.template(path, text));
        if text.is_some()
            && !matches!(partition_key, PartitionKey::Template(_))
            && !self.is_bad("kinesis.partition_key")
        {
            let message = "needs kinesis.partition_key to be a template, such as \"{user_id}\": the other keys are not the events' own";
            self.report(path, message.to_owned());
        }
        template
    }

    fn delimiter(&mut self, delimiter: Option<String>, format: Format) -> String {
        let delimiter = delimiter.unwrap_or_else(|| limits::DELIMITER.to_owned());
        let path = "kinesis.delimiter";
        if delimiter.len() > limits::MAX_DELIMITER_BYTES {
            let (bytes, most) = (delimiter.len(), limits::MAX_DELIMITER_BYTES);
            self.report(path, format!("{} has {bytes} bytes; allowed: up to {most}", quoted(&delimiter)));
        } else if delimiter.is_empty() && format == Format::Lines && !self.is_bad("kinesis.format") {
            let message = "is empty, so that the events of kinesis.format: lines run into each other; write \"\\n\", or use format kpl";
            self.report(path, message.to_owned());
        }
        delimiter
    }

    fn compression(&mut self, compression: Compression, format: Format) -> Compression {
        if self.is_bad("kinesis.format") {
            return compression;
        }
        let reason = match (compression, format) {
            (Compression::None, _) | (_, Format::Lines) | (Compression::Zstd, Format::Kpl) => return compression,
            (Compression::Gzip, Format::Kpl) => {
                "\"gzip\" does not go with kinesis.format: kpl, which compresses each event by itself, where gzip's head and tail take 18 bytes; use zstd, or format lines"
            }
            (Compression::Gzip | Compression::Zstd, Format::Single) => {
                "does not go with kinesis.format: single: one event by itself is hardly smaller when compressed, and costs a record all the same; use format lines, or kpl with zstd"
            }
        };
        self.report("kinesis.compression", reason.to_owned());
        compression
    }

    fn aggregate(&mut self, raw: RawAggregate) -> AggregateConfig {
        let path = "kinesis.aggregate.max_bytes";
        let target_bytes = self.size("kinesis.aggregate.target_bytes", raw.target_bytes, &limits::TARGET_BYTES);
        let max_bytes = raw.max_bytes.map(|raw| self.size(path, Some(raw), &limits::MAX_BYTES));
        if let Some(max) = max_bytes.filter(|max| *max < target_bytes)
            && !self.is_bad(path)
            && !self.is_bad("kinesis.aggregate.target_bytes")
        {
            let (max, target) = (shown_size(max), shown_size(target_bytes));
            let message =
                format!("{max} is less than kinesis.aggregate.target_bytes, {target}; raise it, or lower target_bytes");
            self.report(path, message);
        }
        let max_records = self.amount("kinesis.aggregate.max_records", raw.max_records, &limits::MAX_RECORDS);
        AggregateConfig {
            target_bytes,
            max_bytes,
            max_records: usize::try_from(max_records).expect("the range ends at a million"),
            max_age: self.amount("kinesis.aggregate.max_age", raw.max_age, &limits::MAX_AGE).0,
        }
    }

    fn region(&mut self, region: &str) {
        let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if region.is_empty() || !region.chars().all(is_name) {
            let message = format!("{} is not a region; allowed: a region, such as eu-west-1", quoted(region));
            self.report("kinesis.region", message);
        }
    }

    fn endpoint(&mut self, endpoint: &str) {
        let reason = match endpoint.parse::<hyper::Uri>() {
            Err(error) => format!("it is not a URL ({error})"),
            Ok(uri) if !matches!(uri.scheme_str(), Some("http" | "https")) => {
                "it has no http:// or https://".to_owned()
            }
            Ok(uri) if uri.host().is_none_or(str::is_empty) => "it has no host".to_owned(),
            Ok(uri) if uri.query().is_some() || endpoint.contains('#') => "it has a query or fragment".to_owned(),
            Ok(uri) if has_wrong_port(&uri) => "its port is not a number up to 65535".to_owned(),
            Ok(_) => return,
        };
        let shown = quoted(&mask_url(endpoint));
        let allowed = "an http or https URL, such as https://kinesis.example.com:4567";
        self.report("kinesis.endpoint", format!("{shown} is not an endpoint: {reason}; allowed: {allowed}"));
    }

    /// The stream of one source, if it is not that of all.
    pub(super) fn source_stream(&mut self, path: &str, raw: &RawSource) -> Option<StreamRule> {
        let text = raw.stream.as_deref()?;
        let path = format!("{path}.stream");
        if !text.contains(['{', '}']) {
            if let Some(problem) = name_problem(text, MAX_STREAM_CHARS) {
                self.report(&path, problem);
            }
            return Some(StreamRule::Name(text.to_owned()));
        }
        let template = self.template(&path, text)?;
        if let Some(literal) = template.literals().find(|literal| !is_stream_name(literal)) {
            let message = format!(
                "{} makes no name of a stream, since {} can be in none; allowed: letters, digits, \"_\", \".\" and \"-\", and fields in braces",
                quoted(text),
                quoted(literal)
            );
            self.report(&path, message);
        }
        Some(StreamRule::Template(template))
    }

    /// There has to be room for every stream that is named, and for one more where events name them.
    pub(super) fn streams(&mut self, sources: &[SourceConfig], kinesis: &KinesisConfig) {
        let mut names = BTreeSet::from([kinesis.stream.as_str()]);
        let mut is_open = false;
        for source in sources {
            match &source.stream {
                Some(StreamRule::Name(name)) => drop(names.insert(name)),
                Some(StreamRule::Template(_)) => is_open = true,
                None => {}
            }
        }
        let needed = names.len() + usize::from(is_open);
        let path = "kinesis.max_streams";
        if needed > kinesis.max_streams && !self.is_bad(path) {
            let max = kinesis.max_streams;
            let message = format!(
                "{max} is less than the {needed} streams that kinesis.stream and sources[].stream name; raise it"
            );
            self.report(path, message);
        }
    }
}

/// The region and name in the ARN of a stream.
fn stream_of(arn: &str) -> Option<(&str, &str)> {
    let mut parts = arn.splitn(6, ':');
    let mut part = || parts.next();
    let (arn, partition, service, region, account, resource) = (part()?, part()?, part()?, part()?, part()?, part()?);
    let name = resource.strip_prefix("stream/")?;
    let is_good = arn == "arn" && is_partition(partition) && service == "kinesis" && !region.is_empty();
    (is_good && is_account(account) && is_stream_name(name)).then_some((region, name))
}

fn is_role(arn: &str) -> bool {
    match arn.splitn(6, ':').collect::<Vec<_>>()[..] {
        ["arn", partition, "iam", "", account, role] => {
            let name = role.strip_prefix("role/").unwrap_or_default();
            is_partition(partition) && is_account(account) && !name.is_empty() && !name.ends_with('/')
        }
        _ => false,
    }
}

/// The partitions are `aws`, `aws-cn`, `aws-us-gov` and others that begin like them.
fn is_partition(text: &str) -> bool {
    text == "aws" || text.starts_with("aws-")
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether something stands after the host that is no port.
fn has_wrong_port(uri: &hyper::Uri) -> bool {
    let Some(authority) = uri.authority() else { return false };
    let place = authority.as_str().rsplit('@').next().unwrap_or_default();
    let after_host = place.strip_prefix(authority.host()).unwrap_or_default();
    !after_host.is_empty() && authority.port_u16().is_none()
}
