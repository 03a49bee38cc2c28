//! The seam to AWS: one trait, and the one that speaks to the service through the SDK.
//!
//! The SDK is given a body that makes the request's JSON while it is sent, with the hash that the signature needs, so that no payload is in
//! memory twice: its own serializer would encode, grow and copy each of them on every attempt.

mod body;
mod credentials;
mod describe;
mod probe;
mod read;

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::{Credentials, IdentityCache, SharedHttpClient};
use aws_sdk_kinesis::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::operation::put_records::PutRecordsOutput;
use aws_smithy_http_client::tls::{self, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use bytes::Bytes;

use crate::config::KinesisConfig;
use crate::kinesis::verdict::{self, Origin};
use body::PreparedBody;
use credentials::{Keeper, RoleRefused, Source};
pub use describe::{Asked, DescribeStream, OpenShard, StreamInfo};
pub use probe::{Allowed, Caller, caller};
pub use read::{Batch, Place, ReadRecord, ReadShard};

/// How long setting up a connection may take. The KPL gives it 6 s; a refused or unroutable endpoint should show sooner than a slow request.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How much of a body goes into a message that is no answer of the service, in bytes.
const SHOWN_BODY_BYTES: usize = 200;

/// One `PutRecords` request.
#[derive(Debug, Clone)]
pub struct Request {
    /// The stream's name, or its ARN: a stream of another account has to be named by it.
    pub stream: Arc<str>,
    /// The records.
    pub entries: Vec<Entry>,
}

/// An element of `Records`.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The record's data.
    pub data: Bytes,
    /// Its partition key.
    pub partition_key: Arc<str>,
    /// Its explicit hash key, if it has one.
    pub hash_key: Option<u128>,
}

/// What became of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryResult {
    /// It has a sequence number, in this shard.
    Stored {
        /// The shard's id.
        shard: String,
    },
    /// It was refused.
    Refused {
        /// The error code.
        code: String,
        /// The service's words.
        message: String,
    },
}

/// A request that failed as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestError {
    /// The service's error code, or our name for what kept the request from it.
    pub code: String,
    /// What is known beyond the code.
    pub message: String,
    /// Where it came from.
    pub origin: Origin,
}

/// What became of a request: a result for each record, in the order of the request.
pub type Answer = Result<Vec<EntryResult>, RequestError>;

/// What the sender needs from a stream.
pub trait PutRecords {
    /// Sends a request once. Retries are the sender's.
    fn put_records(&self, request: Request) -> Pin<Box<dyn Future<Output = Answer>>>;
}

/// The service, through the SDK.
#[derive(Debug, Clone)]
pub struct Aws {
    client: Client,
    /// What has to hear of credentials that were refused.
    keeper: Option<Arc<Keeper>>,
}

/// Why no client could be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The certificates cannot be read.
    #[error(
        "kinesis.ca_file {path}: cannot be read: {source}; give a readable PEM file, or leave it out to trust the system's certificates"
    )]
    CaFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The certificates make no sense.
    #[error(
        "kinesis.ca_file {path}: holds no usable PEM certificate; it must contain -----BEGIN CERTIFICATE----- blocks"
    )]
    CaContent {
        /// The file.
        path: PathBuf,
    },
    /// Nothing is trusted, as in an image without certificates, into which the binary alone was put.
    #[error(
        "this system has no certificates that it trusts, so that nothing can be sent by TLS; \
         install ca-certificates in the image, or set kinesis.ca_file (KINETAIL_CA_FILE) or SSL_CERT_FILE to a file of them"
    )]
    NoCertificates,
}

impl Aws {
    /// A client for the configured endpoint, with credentials from the SDK's own chain, or of the role that is assumed with them.
    pub async fn new(config: &KinesisConfig) -> Result<Self, Error> {
        let role = config.assume_role.clone();
        let region = config.region.clone().map(aws_config::Region::new);
        let mut source = Source { http: http_client(config)?, region, role };
        let found = source.look().await;
        // The region is looked for once; the credentials again and again.
        source.region = found.region().cloned();
        let keeper = Arc::new(Keeper::new(source));
        let mut service = aws_sdk_kinesis::config::Builder::from(&found)
            .identity_cache(IdentityCache::no_cache())
            .credentials_provider(credentials::Shared(Arc::clone(&keeper)));
        if let Some(endpoint) = &config.endpoint {
            service = service.endpoint_url(endpoint);
        }
        Ok(Self { client: Client::from_conf(service.build()), keeper: Some(keeper) })
    }

    /// A client with these credentials, which looks neither at the environment nor at the machine for anything else. Without a region in
    /// the configuration it has none.
    pub fn with_credentials(config: &KinesisConfig, credentials: Credentials) -> Result<Self, Error> {
        let mut service = aws_sdk_kinesis::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(http_client(config)?)
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .credentials_provider(credentials);
        if let Some(region) = &config.region {
            service = service.region(aws_config::Region::new(region.clone()));
        }
        if let Some(endpoint) = &config.endpoint {
            service = service.endpoint_url(endpoint);
        }
        Ok(Self { client: Client::from_conf(service.build()), keeper: None })
    }

    /// The SDK's own client, for what the sender does not need.
    pub fn sdk(&self) -> &Client {
        &self.client
    }
}

/// Whether this names a stream by its ARN. A name has no colon.
fn is_arn(stream: &str) -> bool {
    stream.starts_with("arn:")
}

fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).build()
}

/// The HTTP client, with TLS that trusts what the configuration says.
fn http_client(config: &KinesisConfig) -> Result<SharedHttpClient, Error> {
    let mut trust = TrustStore::default();
    if let Some(path) = &config.ca_file {
        let pem = std::fs::read(path).map_err(|source| Error::CaFile { path: path.clone(), source })?;
        if !pem.windows(27).any(|w| w == b"-----BEGIN CERTIFICATE-----") {
            return Err(Error::CaContent { path: path.clone() });
        }
        trust = TrustStore::empty().with_pem_certificate(pem);
    } else if rustls_native_certs::load_native_certs().certs.is_empty() {
        // The SDK would panic. Without TLS none is needed, as for a stand-in of the service on this machine.
        if !config.endpoint.as_deref().is_some_and(|url| url.starts_with("http://")) {
            return Err(Error::NoCertificates);
        }
        trust = TrustStore::empty();
    }
    let tls_context = TlsContext::builder()
        .with_trust_store(trust)
        .build()
        .map_err(|_| Error::CaContent { path: config.ca_file.clone().unwrap_or_default() })?;
    Ok(aws_smithy_http_client::Builder::new()
        .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring))
        .tls_context(tls_context)
        .build_https())
}

impl PutRecords for Aws {
    fn put_records(&self, request: Request) -> Pin<Box<dyn Future<Output = Answer>>> {
        let request = Arc::new(request);
        // The endpoint's name can depend on the account in the ARN.
        let stream = &*request.stream;
        let operation = self.client.put_records();
        let operation = if is_arn(stream) { operation.stream_arn(stream) } else { operation.stream_name(stream) };
        let operation = operation.customize().interceptor(PreparedBody(Arc::clone(&request)));
        let keeper = self.keeper.clone();
        Box::pin(async move {
            match operation.send().await {
                Ok(output) => Ok(results(output)),
                Err(error) => {
                    let error = request_error(&error);
                    if let Some(keeper) = keeper.filter(|_| verdict::on_credentials(&error.code)) {
                        keeper.refused().await;
                    }
                    Err(error)
                }
            }
        })
    }
}

fn results(output: PutRecordsOutput) -> Vec<EntryResult> {
    // FailedRecordCount is not looked at: each entry says for itself what became of it.
    let result = |entry: aws_sdk_kinesis::types::PutRecordsResultEntry| match (entry.sequence_number, entry.error_code)
    {
        (Some(_), None) => EntryResult::Stored { shard: entry.shard_id.unwrap_or_default() },
        (_, code) => EntryResult::Refused {
            code: code.unwrap_or_else(|| "NoSequenceNumber".to_owned()),
            message: entry.error_message.unwrap_or_default(),
        },
    };
    output.records.into_iter().map(result).collect()
}

fn request_error<E>(error: &SdkError<E>) -> RequestError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let (code, origin) = match error {
        SdkError::ServiceError(e) => {
            let status = e.raw().status().as_u16();
            (e.err().code().map_or_else(|| status_code(status), str::to_owned), Origin::Service(status))
        }
        SdkError::ResponseError(e) => match e.raw().status().as_u16() {
            200..=299 => ("UnreadableResponse".to_owned(), Origin::Transport),
            status => (status_code(status), Origin::Service(status)),
        },
        SdkError::TimeoutError(_) => ("Timeout".to_owned(), Origin::Transport),
        SdkError::ConstructionFailure(_) => ("CredentialsNotFound".to_owned(), Origin::Credentials),
        other => match credentials_error(other) {
            Some(code) => (code.to_owned(), Origin::Credentials),
            None => ("ConnectionFailed".to_owned(), Origin::Transport),
        },
    };
    let message = match error {
        SdkError::ServiceError(e) => e.err().message().map_or_else(|| answered(e.raw()), str::to_owned),
        SdkError::ResponseError(e) => answered(e.raw()),
        other => match cause::<RoleRefused>(other) {
            Some(refused) => refused.to_string(),
            None => DisplayErrorContext(other).to_string(),
        },
    };
    RequestError { code, message, origin }
}

/// Our name for an answer that has no code of the service.
fn status_code(status: u16) -> String {
    format!("Http{status}")
}

/// What was answered in place of an answer of the service: mostly a proxy's page, of which the beginning tells whose.
fn answered(response: &HttpResponse) -> String {
    let body = response.body().bytes().unwrap_or_default();
    let shown = String::from_utf8_lossy(body.get(..SHOWN_BODY_BYTES).unwrap_or(body));
    format!("status {} and {} bytes that are no answer of the service: {shown}", response.status(), body.len())
}

/// Our name for what is wrong with the credentials, if that is why nothing was sent.
fn credentials_error(error: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    if cause::<RoleRefused>(error).is_some() {
        return Some("AssumeRoleFailed");
    }
    cause::<CredentialsError>(error).map(|error| match error {
        CredentialsError::CredentialsNotLoaded(_) => "CredentialsNotFound",
        _ => "CredentialsFailed",
    })
}

/// The first cause of this kind.
fn cause<'a, T: std::error::Error + 'static>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a T> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}
