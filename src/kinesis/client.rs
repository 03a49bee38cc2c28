//! The seam to AWS: one trait, and the one that speaks to the service through the SDK.
//!
//! A record's JSON is made once, when it is packed. The SDK is given the request's body as those pieces in a row, with the hash that the
//! signature needs, so that it copies no payload: its own serializer would encode, grow and copy each of them on every attempt.

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_credential_types::provider::error::CredentialsError;
use aws_runtime::auth::SigV4OperationSigningConfig;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::{ConfigBag, Credentials, Intercept, RuntimeComponents, SharedHttpClient};
use aws_sdk_kinesis::error::{BoxError, DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::operation::put_records::PutRecordsOutput;
use aws_sigv4::http_request::SignableBody;
use aws_smithy_http_client::tls::{self, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::interceptors::context::BeforeTransmitInterceptorContextMut;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::config::KinesisConfig;
use crate::kinesis::verdict::Origin;

/// How long setting up a connection may take. The KPL gives it 6 s; a refused or unroutable endpoint should show sooner than a slow request.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// One `PutRecords` request: elements of `Records`, as JSON.
#[derive(Debug, Clone)]
pub struct Request {
    /// The stream's name.
    pub stream: Arc<str>,
    /// The records.
    pub entries: Vec<Bytes>,
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
}

impl Aws {
    /// A client for the configured endpoint, with credentials from the SDK's own chain.
    pub async fn new(config: &KinesisConfig) -> Result<Self, Error> {
        let http = http_client(config)?;
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http)
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        if let Some(region) = &config.region {
            loader = loader.region(aws_config::Region::new(region.clone()));
        }
        let mut service = aws_sdk_kinesis::config::Builder::from(&loader.load().await);
        if let Some(endpoint) = &config.endpoint {
            service = service.endpoint_url(endpoint);
        }
        Ok(Self { client: Client::from_conf(service.build()) })
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
        Ok(Self { client: Client::from_conf(service.build()) })
    }

    /// The SDK's own client, for what the sender does not need.
    pub fn sdk(&self) -> &Client {
        &self.client
    }

    /// The stream's record limit in bytes, if the role may ask for it. The service allows 20 such calls a second to an account.
    pub async fn record_limit(&self, stream: &str) -> Result<Option<usize>, RequestError> {
        let summary =
            self.client.describe_stream_summary().stream_name(stream).send().await.map_err(|e| request_error(&e))?;
        let kib = summary
            .stream_description_summary()
            .and_then(aws_sdk_kinesis::types::StreamDescriptionSummary::max_record_size_in_kib);
        Ok(kib.and_then(|kib| usize::try_from(kib).ok()).map(|kib| kib * 1024))
    }
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
        let operation = self
            .client
            .put_records()
            .stream_name(&*request.stream)
            .customize()
            .interceptor(PreparedBody(body_pieces(&request)));
        Box::pin(async move {
            match operation.send().await {
                Ok(output) => Ok(results(output)),
                Err(error) => Err(request_error(&error)),
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
            (e.err().code().unwrap_or("NoErrorCode").to_owned(), Origin::Service(e.raw().status().as_u16()))
        }
        SdkError::ResponseError(e) => (
            "UnreadableResponse".to_owned(),
            match e.raw().status().as_u16() {
                200..=299 => Origin::Transport,
                status => Origin::Service(status),
            },
        ),
        SdkError::TimeoutError(_) => ("Timeout".to_owned(), Origin::Transport),
        SdkError::ConstructionFailure(_) => ("CredentialsNotFound".to_owned(), Origin::Credentials),
        other if caused_by_credentials(other) => ("CredentialsNotFound".to_owned(), Origin::Credentials),
        _ => ("ConnectionFailed".to_owned(), Origin::Transport),
    };
    let message = match error {
        SdkError::ServiceError(e) => e.err().message().unwrap_or_default().to_owned(),
        other => DisplayErrorContext(other).to_string(),
    };
    RequestError { code, message, origin }
}

fn caused_by_credentials(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<CredentialsError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// `{"Records":[entry,entry],"StreamName":"name"}` in pieces.
fn body_pieces(request: &Request) -> Vec<Bytes> {
    let mut pieces = Vec::with_capacity(2 * request.entries.len() + 1);
    for (i, entry) in request.entries.iter().enumerate() {
        pieces.push(Bytes::from_static(if i == 0 { b"{\"Records\":[" } else { b"," }));
        pieces.push(entry.clone());
    }
    let mut end = b"],\"StreamName\":".to_vec();
    crate::event::write_text(&request.stream, &mut end);
    end.push(b'}');
    pieces.push(end.into());
    pieces
}

/// Puts the body in place of the one that the SDK made (of no records), after it was made and before it is signed.
#[derive(Debug)]
struct PreparedBody(Vec<Bytes>);

impl Intercept for PreparedBody {
    fn name(&self) -> &'static str {
        "PreparedBody"
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let mut hash = Sha256::new();
        let mut length = 0;
        for piece in &self.0 {
            hash.update(piece);
            length += piece.len();
        }
        let hex = hex(&hash.finalize());
        let mut signing = config.load::<SigV4OperationSigningConfig>().cloned().unwrap_or_default();
        signing.signing_options.payload_override = Some(SignableBody::Precomputed(hex));
        config.interceptor_state().store_put(signing);
        let request = context.request_mut();
        request.headers_mut().insert("content-length", length.to_string());
        *request.body_mut() =
            SdkBody::from_body_1_x(Pieces { pieces: self.0.clone().into_iter(), length: length as u64 });
        Ok(())
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    bytes.iter().flat_map(|b| [b >> 4, b & 15]).map(|nibble| DIGITS[usize::from(nibble)]).collect()
}

/// A body of bytes that are in memory already.
struct Pieces {
    pieces: std::vec::IntoIter<Bytes>,
    length: u64,
}

impl fmt::Debug for Pieces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pieces").field("length", &self.length).finish_non_exhaustive()
    }
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        let piece = self.pieces.next();
        self.length -= piece.as_ref().map_or(0, |p| p.len() as u64);
        Poll::Ready(piece.map(|p| Ok(http_body::Frame::data(p))))
    }

    fn is_end_stream(&self) -> bool {
        self.length == 0
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.length)
    }
}
