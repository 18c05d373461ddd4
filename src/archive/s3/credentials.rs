//! The credentials of the SDK's own chain (environment, files, web identity, container, instance), read again while the program
//! runs: by period, before they expire, and when the store refuses them. A shared credentials file that is replaced, as a
//! mounted secret is, counts without a restart.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use aws_config::Region;
use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future;
use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Credentials, Intercept, ProvideCredentials, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use tokio::sync::Mutex;

/// Time after which credentials are read again.
const PERIOD: Duration = Duration::from_secs(5 * 60);
/// The shortest time between two readings. A store that denies a right would cause one for each request.
const SHORTEST_REST: Duration = Duration::from_secs(2);
/// Time before the expiry of temporary credentials at which they are renewed.
const BEFORE_EXPIRY: Duration = Duration::from_secs(60);

/// The chain, and what it gave last. Clones share it.
#[derive(Clone)]
pub(super) struct Reloading(Arc<Inner>);

struct Inner {
    region: Option<Region>,
    last: Mutex<Option<Loaded>>,
    /// The store has refused what was given last.
    is_refused: AtomicBool,
}

struct Loaded {
    credentials: Credentials,
    since: Instant,
}

impl Loaded {
    fn is_good(&self, is_refused: bool) -> bool {
        let age = self.since.elapsed();
        let expires =
            self.credentials.expiry().map(|at| at.duration_since(SystemTime::now()).unwrap_or_default());
        let is_due = is_refused || age >= PERIOD || expires.is_some_and(|left| left < BEFORE_EXPIRY);
        age < SHORTEST_REST || !is_due
    }

    fn is_expired(&self) -> bool {
        self.credentials.expiry().is_some_and(|at| at <= SystemTime::now())
    }
}

impl Reloading {
    pub(super) fn new(region: Option<Region>) -> Self {
        Self(Arc::new(Inner { region, last: Mutex::default(), is_refused: AtomicBool::new(false) }))
    }

    async fn credentials(&self) -> Result<Credentials, CredentialsError> {
        // One reads, and the others wait for it.
        let mut last = self.0.last.lock().await;
        if let Some(loaded) =
            last.as_ref().filter(|last| last.is_good(self.0.is_refused.load(Ordering::Relaxed)))
        {
            return Ok(loaded.credentials.clone());
        }
        self.0.is_refused.store(false, Ordering::Relaxed);
        // A new chain: the old one remembers what it has read.
        let chain = DefaultCredentialsChain::builder().region(self.0.region.clone()).build().await;
        let since = Instant::now();
        match (chain.provide_credentials().await, last.as_mut()) {
            (Ok(credentials), before) => {
                let id = credentials.access_key_id();
                if before.is_some_and(|before| before.credentials.access_key_id() != id) {
                    tracing::info!("the AWS credentials have changed");
                }
                *last = Some(Loaded { credentials: credentials.clone(), since });
                Ok(credentials)
            }
            // Such as a file that is just being replaced.
            (Err(error), Some(before)) if !before.is_expired() => {
                tracing::warn!(%error, "cannot read the AWS credentials again; keeping the ones from before");
                before.since = since;
                Ok(before.credentials.clone())
            }
            (Err(error), _) => Err(error),
        }
    }
}

impl fmt::Debug for Reloading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloading").finish_non_exhaustive()
    }
}

impl ProvideCredentials for Reloading {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.credentials())
    }
}

/// Has the credentials read again after an answer that may mean that they are not good any more.
#[derive(Debug)]
pub(super) struct ReloadOnRefusal(Reloading);

impl ReloadOnRefusal {
    pub(super) fn new(credentials: Reloading) -> Self {
        Self(credentials)
    }
}

impl Intercept for ReloadOnRefusal {
    fn name(&self) -> &'static str {
        "ReloadOnRefusal"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        // 400 is AWS's answer to an expired token. The code stands in the body, which HEAD does not have.
        if matches!(context.response().status().as_u16(), 400 | 401 | 403) {
            self.0.0.is_refused.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}
