//! Questions about the way to a stream, for those who look before anything is sent: where requests go, whose credentials sign them, and whether
//! they may. Nothing here is part of sending.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sdk_kinesis::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_kinesis::error::BoxError;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use aws_smithy_runtime_api::client::interceptors::context::BeforeTransmitInterceptorContextRef;
use tokio::time::timeout;

use super::credentials::{self, Keeper, Source};
use super::{Aws, Error, RequestError, RoleRefused, cause, credentials_error, http_client, is_arn, request_error};
use crate::config::KinesisConfig;
use crate::kinesis::verdict::Origin;

/// How long one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// 2^128: the first number that is no hash key. A record with it is refused by whoever looks at it.
const NO_HASH_KEY: &str = "340282366920938463463374607431768211456";

/// Whose credentials sign requests.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Where they come from, as the SDK calls it.
    pub provider: String,
    /// The access key, which is no secret.
    pub access_key_id: String,
    /// Until when they are good.
    pub expires: Option<SystemTime>,
    /// Who that is, as STS says: its ARN.
    pub arn: Result<String, RequestError>,
}

/// Finds out whose credentials there are: `sts:GetCallerIdentity`, which needs no permission.
pub async fn caller(config: &KinesisConfig) -> Result<Result<Caller, RequestError>, Error> {
    let region = config.region.clone().map(aws_config::Region::new);
    let mut source = Source { http: http_client(config)?, region, role: config.assume_role.clone() };
    let found = source.look().await;
    source.region = found.region().cloned();
    let keeper = Arc::new(Keeper::new(source));
    let credentials = match keeper.credentials().await {
        Ok(credentials) => credentials,
        Err(error) => {
            let code = credentials_error(&error).unwrap_or("CredentialsFailed").to_owned();
            let said = cause::<RoleRefused>(&error).map(ToString::to_string);
            let message = said.unwrap_or_else(|| credentials::reasons(&error));
            return Ok(Err(RequestError { code, message, origin: Origin::Credentials }));
        }
    };
    let sts = aws_sdk_sts::config::Builder::from(&found).credentials_provider(credentials::Shared(keeper)).build();
    let asked = aws_sdk_sts::Client::from_conf(sts).get_caller_identity().send();
    let arn = Box::pin(within(async { asked.await.map_err(|error| request_error(&error)) })).await;
    Ok(Ok(Caller {
        provider: provider(&credentials),
        access_key_id: credentials.access_key_id().to_owned(),
        expires: credentials.expiry(),
        arn: arn.map(|identity| identity.arn.unwrap_or_default()),
    }))
}

/// The provider's name, which the SDK tells nobody but those who print credentials, without their secrets.
fn provider(credentials: &Credentials) -> String {
    let printed = format!("{credentials:?}");
    let name = printed.split_once("provider_name: \"").and_then(|(_, rest)| rest.split_once('"'));
    name.map_or("an unnamed provider", |(name, _)| name).to_owned()
}

/// What is known of whether records may be put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allowed {
    /// They may, as the service says.
    Yes,
    /// The service looked at a record, which it does for those who may.
    Seemingly,
    /// A server took a record that cannot be.
    Odd,
    /// The service does not say.
    Unknown(RequestError),
    /// They may not, or something else stands in the way.
    No(RequestError),
}

/// Notes where a request would go, and ends it.
#[derive(Debug)]
struct Destination(Arc<OnceLock<String>>);

impl Intercept for Destination {
    fn name(&self) -> &'static str {
        "Destination"
    }

    fn read_before_signing(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.get_or_init(|| context.request().uri().to_owned());
        Err("only the address was asked for".into())
    }
}

impl Aws {
    /// The region, if there is one.
    pub fn region(&self) -> Option<String> {
        self.client.config().region().map(ToString::to_string)
    }

    /// The address that requests about a stream go to. Nothing is sent, and no credentials are looked for.
    pub async fn destination(&self, stream: &str) -> Result<String, RequestError> {
        let request = self.client.describe_stream_summary();
        let request = if is_arn(stream) { request.stream_arn(stream) } else { request.stream_name(stream) };
        let noted = Arc::new(OnceLock::new());
        let nobody = Credentials::new("none", "none", None, None, "none");
        let overridden = aws_sdk_kinesis::config::Builder::new().credentials_provider(nobody);
        let request = request.customize().interceptor(Destination(Arc::clone(&noted))).config_override(overridden);
        match (request.send().await, noted.get()) {
            (_, Some(uri)) => Ok(uri.clone()),
            (Err(error), None) => Err(request_error(&error)),
            (Ok(_), None) => Err(super::describe::unreadable("an answer to a request that was not sent".to_owned())),
        }
    }

    /// Whether records may be put. Nothing is written, whoever answers: the request only asks (`DryRun`), and its one record has a hash key that
    /// there is not.
    pub async fn may_put(&self, stream: &str) -> Allowed {
        let entry = PutRecordsRequestEntry::builder()
            .data(Blob::new(*b"\n"))
            .partition_key("kinetail-doctor")
            .explicit_hash_key(NO_HASH_KEY)
            .build();
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => return Allowed::Unknown(super::describe::unreadable(error.to_string())),
        };
        let request = self.client.put_records().records(entry).dry_run(true);
        let request = if is_arn(stream) { request.stream_arn(stream) } else { request.stream_name(stream) };
        let answer = within(async { request.send().await.map_err(|error| request_error(&error)) }).await;
        let Err(error) = answer else { return Allowed::Odd };
        match &*error.code {
            "DryRunOperationException" => Allowed::Yes,
            "InvalidArgumentException" => Allowed::Seemingly,
            // These can come from before anybody looked at who asks.
            "ValidationException" | "SerializationException" | "UnknownOperationException" => Allowed::Unknown(error),
            _ => Allowed::No(error),
        }
    }
}

async fn within<T>(call: impl Future<Output = Result<T, RequestError>>) -> Result<T, RequestError> {
    let late = |_| {
        let message = format!("no answer within {CALL_TIMEOUT:?}");
        Err(RequestError { code: "Timeout".to_owned(), message, origin: Origin::Transport })
    };
    timeout(CALL_TIMEOUT, call).await.unwrap_or_else(late)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_is_named_and_no_secret() {
        let credentials = Credentials::new("AKIA", "hush", Some("token".to_owned()), None, "EnvironmentVariable");
        assert_eq!(provider(&credentials), "EnvironmentVariable");
    }
}
