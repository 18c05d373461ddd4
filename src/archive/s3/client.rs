//! The SDK's client, and where it finds the store.

use std::fmt;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{
    Credentials, IdentityCache, RequestChecksumCalculation, ResponseChecksumValidation,
    StalledStreamProtectionConfig,
};
use aws_types::service_config::ServiceConfigKey;
use secrecy::{ExposeSecret, SecretString};

use super::credentials::{ReloadOnRefusal, Reloading};
use super::time_limits;
use crate::config::archive::{S3Config, Switch};
use crate::config::proxy::proxy_variable;

/// Region where nothing names one: what AWS takes for its own default, and stores without regions ignore.
const DEFAULT_REGION: &str = "us-east-1";

/// A store named outright instead of by the SDK's chain.
#[derive(Clone)]
pub struct Access {
    /// Such as `http://127.0.0.1:9000`.
    pub endpoint: String,
    /// Such as `us-east-1`.
    pub region: String,
    /// Access key id.
    pub access_key_id: String,
    /// The secret that belongs to it.
    pub secret_access_key: SecretString,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// A client, and the way that its requests go.
pub(super) struct Connected {
    pub(super) client: Client,
    pub(super) is_encrypted: bool,
    /// The variable that names the proxy on the way.
    pub(super) proxy: Option<&'static str>,
}

/// A client for the store that `access` names, or else the SDK's own chain.
pub(super) async fn connect(config: &S3Config, access: Option<&Access>) -> Connected {
    let mut loader = aws_config::defaults(BehaviorVersion::latest());
    if let Some(access) = access {
        let secret = access.secret_access_key.expose_secret();
        loader = loader
            .endpoint_url(&access.endpoint)
            .region(Region::new(access.region.clone()))
            .credentials_provider(Credentials::new(&access.access_key_id, secret, None, None, "given"));
    }
    let found = loader.load().await;
    let region = found.region().cloned().unwrap_or_else(|| Region::new(DEFAULT_REGION));
    let endpoint = own_endpoint(&found);
    let path_style = match config.path_style {
        Switch::On => true,
        Switch::Off => false,
        Switch::Auto => endpoint.is_some(),
    };
    let proxy = match &endpoint {
        Some(endpoint) => proxy_variable(endpoint),
        None => proxy_variable(&format!("https://s3.{region}.amazonaws.com")),
    };
    let settings = aws_sdk_s3::config::Builder::from(&found)
        .region(region)
        .force_path_style(path_style)
        .timeout_config(time_limits(config.attempt_timeout()))
        .retry_config(RetryConfig::standard().with_max_attempts(config.max_attempts))
        // By default the SDK adds checksums of its own choice in trailers, which many stores reject. We name
        // ours on each request that has one.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        // It takes a body that its source delivers slowly for a store that is stuck.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    let settings = match access {
        Some(_) => settings,
        // The SDK's chain reads its files once, and its cache cannot be emptied when the store refuses a key.
        None => {
            let credentials = Reloading::new(found.region().cloned());
            settings
                .interceptor(ReloadOnRefusal::new(credentials.clone()))
                .credentials_provider(credentials)
                .identity_cache(IdentityCache::no_cache())
        }
    };
    let is_encrypted = endpoint.is_none_or(|endpoint| endpoint.starts_with("https:"));
    Connected { client: Client::from_conf(settings.build()), is_encrypted, proxy }
}

/// The endpoint that environment, profile or caller name: then it is not AWS, and its buckets seldom have host names
/// of their own.
fn own_endpoint(found: &SdkConfig) -> Option<String> {
    let key = ServiceConfigKey::builder()
        .service_id("S3")
        .env("AWS_ENDPOINT_URL")
        .profile("endpoint_url")
        .build()
        .ok();
    let for_s3 = key.and_then(|key| found.service_config()?.load_config(key));
    for_s3.or_else(|| found.endpoint_url().map(str::to_owned))
}
