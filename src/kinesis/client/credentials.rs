//! Credentials: from the SDK's own chain (environment, profile, web identity, container, instance) or a role that is assumed with them, kept
//! until they should be renewed.
//!
//! The SDK's own cache is not used, for three things that it does not do: credentials that are still good are kept when renewing them fails;
//! what the service has refused is not used again until it expires; and a profile file is read again, since whoever rotates keys in
//! a file does not restart the processes that use them.

use std::error::Error as StdError;
use std::time::{Duration, SystemTime};

use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, ProvideCredentials, SharedCredentialsProvider, future};
use aws_sdk_kinesis::config::SharedHttpClient;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::clock;
use crate::config::AssumeRole;

/// Credentials without an expiry are asked for again after this time: a file may hold others by then. It is what the SDK's cache does.
const KEPT_WITHOUT_EXPIRY: Duration = Duration::from_mins(15);
/// Renewed so long before they expire, and up to half as much earlier, so that a fleet that started at once does not ask at once.
const RENEWED_AHEAD: Duration = Duration::from_mins(1);
/// Sources are asked no more often than this, whatever expiry they give; also the pause after renewing has failed.
const MIN_KEPT: Duration = Duration::from_secs(1);
/// How long a source may take: the instance metadata service is asked several times before it is given up.
const LOAD_TIMEOUT: Duration = Duration::from_secs(8);
/// Calls to STS for one set of credentials: a broken connection should not hold up delivery, and more is up to the sender's own pauses.
const STS_ATTEMPTS: u32 = 2;

/// Why a role could not be assumed.
#[derive(Debug, thiserror::Error)]
#[error(
    "the role {arn} cannot be assumed: {said}; its trust policy has to name the role that this process runs under{external_id}, and that \
     role needs sts:AssumeRole on {arn}"
)]
pub(super) struct RoleRefused {
    arn: String,
    external_id: &'static str,
    said: String,
}

/// What makes a provider of credentials.
#[derive(Debug)]
pub(super) struct Source {
    /// How everything is asked.
    pub(super) http: SharedHttpClient,
    /// Where STS is asked.
    pub(super) region: Option<Region>,
    /// The role, if one is to be assumed.
    pub(super) role: Option<AssumeRole>,
}

impl Source {
    /// Looks at the environment and the files as they are now.
    pub(super) async fn look(&self) -> SdkConfig {
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(self.http.clone())
            .retry_config(RetryConfig::disabled())
            .timeout_config(super::timeouts())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        if let Some(region) = &self.region {
            loader = loader.region(region.clone());
        }
        loader.load().await
    }

    async fn provider(&self, config: &SdkConfig) -> Result<SharedCredentialsProvider, CredentialsError> {
        let Some(role) = &self.role else {
            return config
                .credentials_provider()
                .ok_or_else(|| CredentialsError::not_loaded("the SDK has no chain of credentials"));
        };
        let retries = RetryConfig::standard().with_max_attempts(STS_ATTEMPTS);
        let config = config.clone().into_builder().retry_config(retries).build();
        let mut provider = AssumeRoleProvider::builder(&role.arn).session_name(&role.session_name).configure(&config);
        if let Some(id) = &role.external_id {
            provider = provider.external_id(id);
        }
        let inner = provider.build().await;
        Ok(SharedCredentialsProvider::new(Role { role: role.clone(), inner }))
    }
}

/// Assumes a role, and names it when that fails.
#[derive(Debug)]
struct Role {
    role: AssumeRole,
    inner: AssumeRoleProvider,
}

impl ProvideCredentials for Role {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            self.inner.provide_credentials().await.map_err(|error| {
                CredentialsError::provider_error(RoleRefused {
                    arn: self.role.arn.clone(),
                    external_id: if self.role.external_id.is_some() { " and this external id" } else { "" },
                    said: reasons(&error),
                })
            })
        })
    }
}

/// An error and its causes, each once.
pub(super) fn reasons(error: &(dyn StdError + 'static)) -> String {
    let mut said: Vec<String> = Vec::new();
    let mut cause = Some(error);
    while let Some(error) = cause {
        let words = error.to_string();
        if !said.iter().any(|known| known.contains(&words)) {
            said.push(words);
        }
        cause = error.source();
    }
    said.join(": ")
}

/// What was loaded.
#[derive(Debug)]
struct Kept {
    credentials: Credentials,
    /// When it is to be asked again.
    renew: SystemTime,
}

impl Kept {
    fn is_good(&self, now: SystemTime) -> bool {
        self.credentials.expiry().is_none_or(|expiry| now < expiry)
    }
}

/// When credentials that were loaded `now` are to be renewed. Short-lived ones are used for three quarters of their time.
fn renew_at(expiry: Option<SystemTime>, now: SystemTime, jitter: f64) -> SystemTime {
    let kept = expiry.map_or(KEPT_WITHOUT_EXPIRY, |expiry| {
        let life = expiry.duration_since(now).unwrap_or_default();
        life.saturating_sub(RENEWED_AHEAD.min(life / 4).mul_f64(1.0 + jitter / 2.0))
    });
    now + kept.max(MIN_KEPT)
}

#[derive(Debug, Default)]
struct Held {
    /// None makes the next request look at everything anew.
    provider: Option<SharedCredentialsProvider>,
    kept: Option<Kept>,
}

/// Keeps credentials. Requests that need them while they are renewed wait for one another, and the source is asked once.
#[derive(Debug)]
pub(super) struct Keeper {
    source: Source,
    held: Mutex<Held>,
}

impl Keeper {
    pub(super) fn new(source: Source) -> Self {
        Self { source, held: Mutex::default() }
    }

    /// The service has refused what a request was signed with. It may have been signed before the last renewal; then this asks once more than
    /// it has to, and the sender's pause after a refusal keeps it at that.
    pub(super) async fn refused(&self) {
        *self.held.lock().await = Held::default();
    }

    /// The credentials, kept or new.
    pub(super) async fn credentials(&self) -> provider::Result {
        let mut held = self.held.lock().await;
        let now = clock::now();
        if let Some(kept) = held.kept.as_ref().filter(|kept| now < kept.renew) {
            return Ok(kept.credentials.clone());
        }
        let late = |_| Err(CredentialsError::provider_timed_out(LOAD_TIMEOUT));
        let loaded = timeout(LOAD_TIMEOUT, self.load(&mut held)).await.unwrap_or_else(late);
        match (loaded, &mut held.kept) {
            (Ok(credentials), kept) => {
                let renew = renew_at(credentials.expiry(), now, fastrand::f64());
                *kept = Some(Kept { credentials: credentials.clone(), renew });
                Ok(credentials)
            }
            (Err(error), Some(kept)) if kept.is_good(clock::now()) => {
                tracing::warn!(
                    error = reasons(&error),
                    "credentials cannot be renewed; those at hand are used while they last"
                );
                kept.renew = clock::now() + MIN_KEPT;
                Ok(kept.credentials.clone())
            }
            (Err(error), _) => Err(error),
        }
    }

    async fn load(&self, held: &mut Held) -> provider::Result {
        // Without an expiry they came from the environment or a file, and a chain reads a file only once.
        let for_ever = held.kept.as_ref().is_some_and(|kept| kept.credentials.expiry().is_none());
        let provider = match held.provider.take().filter(|_| !for_ever) {
            Some(provider) => provider,
            None => self.source.provider(&self.source.look().await).await?,
        };
        // Kept over failures too: the one for instances remembers what it got before its service failed.
        held.provider.insert(provider).provide_credentials().await
    }
}

/// A keeper as the SDK takes it.
#[derive(Debug, Clone)]
pub(super) struct Shared(pub(super) std::sync::Arc<Keeper>);

impl ProvideCredentials for Shared {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.0.credentials())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    #[test]
    fn credentials_are_renewed_before_they_expire_and_never_all_the_time() {
        let after = |life: Option<u64>, jitter| {
            let expiry = life.map(|seconds| NOW + Duration::from_secs(seconds));
            renew_at(expiry, NOW, jitter).duration_since(NOW).unwrap()
        };
        assert_eq!(after(Some(3600), 0.0), Duration::from_mins(59));
        assert_eq!(after(Some(3600), 1.0), Duration::from_secs(3600 - 90));
        assert_eq!(after(Some(8), 0.0), Duration::from_secs(6));
        assert_eq!(after(Some(0), 0.5), MIN_KEPT);
        assert_eq!(after(None, 0.5), KEPT_WITHOUT_EXPIRY);
    }

    /// A source that gives one set of credentials, with this much left, and fails from then on.
    #[derive(Debug)]
    struct Once {
        asked: Arc<AtomicU32>,
        expiry: SystemTime,
    }

    impl ProvideCredentials for Once {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            future::ProvideCredentials::ready(match self.asked.fetch_add(1, Ordering::Relaxed) {
                0 => Ok(Credentials::new("a", "b", None, Some(self.expiry), "test")),
                _ => Err(CredentialsError::not_loaded("gone")),
            })
        }
    }

    fn keeper(expiry: SystemTime) -> (Keeper, Arc<AtomicU32>) {
        let http = aws_smithy_http_client::Builder::new().build_http();
        let keeper = Keeper::new(Source { http, region: None, role: None });
        let asked = Arc::new(AtomicU32::new(0));
        let provider = SharedCredentialsProvider::new(Once { asked: Arc::clone(&asked), expiry });
        keeper.held.try_lock().unwrap().provider = Some(provider);
        (keeper, asked)
    }

    async fn renew(keeper: &Keeper) {
        keeper.held.lock().await.kept.as_mut().unwrap().renew = NOW;
    }

    #[tokio::test]
    async fn what_is_still_good_is_kept_when_renewing_fails() {
        let (keeper, asked) = keeper(clock::now() + Duration::from_hours(1));
        for _ in 0..3 {
            assert_eq!(keeper.credentials().await.unwrap().access_key_id(), "a");
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        renew(&keeper).await;
        for _ in 0..3 {
            assert_eq!(keeper.credentials().await.unwrap().access_key_id(), "a");
        }
        assert_eq!(asked.load(Ordering::Relaxed), 2, "a source that fails is not asked for every request");
    }

    #[tokio::test]
    async fn what_has_expired_or_was_refused_is_not_used() {
        let (expired, asked) = keeper(clock::now() - Duration::from_secs(1));
        expired.credentials().await.unwrap();
        renew(&expired).await;
        assert!(expired.credentials().await.is_err());
        assert_eq!(asked.load(Ordering::Relaxed), 2);

        let (keeper, _) = keeper(clock::now() + Duration::from_hours(1));
        keeper.credentials().await.unwrap();
        keeper.refused().await;
        let held = keeper.held.lock().await;
        assert!(held.kept.is_none() && held.provider.is_none());
    }

    #[test]
    fn a_role_that_is_refused_is_named_with_the_way_out() {
        let arn = "arn:aws:iam::123456789012:role/logs".to_owned();
        let cause = CredentialsError::provider_error(CredentialsError::not_loaded("nothing set"));
        let refused = RoleRefused { arn, external_id: " and this external id", said: reasons(&cause) }.to_string();
        for words in ["role/logs", "trust policy", "external id", "sts:AssumeRole", "nothing set"] {
            assert!(refused.contains(words), "no {words:?} in {refused}");
        }
    }
}
