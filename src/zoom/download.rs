//! Fetching a file from Zoom: from allowed hosts only, redirects followed by hand, and what answers in place
//! of the file recognised for what it is.
//!
//! The token goes into the `Authorization` header, never into the URL, and is dropped when a redirect leaves
//! the origin it was meant for. There is no total time limit: a download may take hours, but never stand
//! still for longer than the stall limit.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT_ENCODING, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, StatusCode};
use reqwest::Response;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;

use super::address::is_public;
use super::client::{Clients, causes, connection_words, header_text, retry_after_secs};
use crate::config::zoom::ZoomConfig;
use crate::domain::media::looks_like_html;
use crate::domain::origin::{AllowedOrigin, OriginError, is_zoom};

/// Redirects followed for one download.
const MAX_REDIRECTS: usize = 5;
/// Bytes of the body that are looked at before it is believed to be the file.
const PEEK_BYTES: usize = 512;
/// Longest JSON body that may be an error instead of the file, in bytes.
const MAX_ERROR_BODY_BYTES: u64 = 4096;
/// Zoom's error code for a token that is invalid or has expired (Zoom API reference, error definitions).
const CODE_INVALID_TOKEN: i64 = 124;

/// Why a file could not be fetched. The variant is the decision; no text holds a URL's path or a token.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// The URL, or a redirect, leads to where we must not go. A person may allow it in the configuration.
    #[error("{0}")]
    NotAllowed(String),
    /// The token or the URL has expired, or was never good: a fresh one is needed.
    #[error("Zoom wants a fresh token: {0}")]
    Expired(String),
    /// What was announced as the URL is none: another one is needed.
    #[error("Zoom announced a download URL that is no URL")]
    NoUrl,
    /// Zoom says that there is no such file.
    #[error("Zoom answered 404")]
    NotFound,
    /// Zoom is busy or in trouble, or answered with something else than the file: later, perhaps.
    #[error("{reason}")]
    Refused {
        /// In words.
        reason: String,
        /// When Zoom said to come again.
        retry_after: Option<Duration>,
    },
    /// The connection failed, before or amid the body.
    #[error("connection to Zoom failed: {0}")]
    Interrupted(String),
    /// No byte for as long as the stall limit.
    #[error("no byte from Zoom for {} s", .0.as_secs())]
    Stalled(Duration),
}

/// Fetches files.
#[derive(Debug, Clone)]
pub struct Downloader {
    clients: Clients,
    allowed: Arc<[AllowedOrigin]>,
    stall: Duration,
}

impl Downloader {
    /// A downloader for the hosts of `config` that gives up on a body after `stall` without a byte.
    ///
    /// # Errors
    /// When an entry of `zoom.download_hosts` makes no sense or TLS cannot be set up.
    pub fn new(config: &ZoomConfig, stall: Duration) -> Result<Self, DownloaderError> {
        let allowed: Arc<[AllowedOrigin]> = config
            .download_hosts
            .iter()
            .map(|entry| AllowedOrigin::parse(entry))
            .collect::<Result<_, _>>()?;
        let resolver = Arc::new(PublicResolver::new(&allowed));
        let clients = Clients::new(config, |builder| builder.dns_resolver(Arc::clone(&resolver)))?;
        Ok(Self { clients, allowed, stall })
    }

    /// Opens a file: follows redirects, and returns once its first bytes have come and look like a file.
    ///
    /// # Errors
    /// See [`DownloadError`].
    pub async fn open(
        &self,
        url: &SecretString,
        token: Option<&SecretString>,
    ) -> Result<Download, DownloadError> {
        let first = Url::parse(url.expose_secret()).map_err(|_| DownloadError::NoUrl)?;
        let mut at = first.clone();
        for _ in 0..=MAX_REDIRECTS {
            self.check_allowed(&at)?;
            let token = token.filter(|_| at.origin() == first.origin());
            let response = self.ask(&at, token).await?;
            if !response.status().is_redirection() {
                return self.accept(response).await;
            }
            at = redirect_target(&at, response.headers())?;
        }
        Err(refused(format!("more than {MAX_REDIRECTS} redirects")))
    }

    fn check_allowed(&self, url: &Url) -> Result<(), DownloadError> {
        if is_zoom(url) || self.allowed.iter().any(|origin| origin.covers(url)) {
            return Ok(());
        }
        Err(DownloadError::NotAllowed(format!(
            "{} is not among Zoom's hosts; if recordings are to be fetched from there, add it to \
             zoom.download_hosts",
            url.origin().ascii_serialization()
        )))
    }

    async fn ask(&self, url: &Url, token: Option<&SecretString>) -> Result<Response, DownloadError> {
        let mut request = self.clients.for_url(url).get(url.clone()).header(ACCEPT_ENCODING, "identity");
        if let Some(token) = token {
            request = request.bearer_auth(token.expose_secret());
        }
        match tokio::time::timeout(self.stall, request.send()).await {
            Ok(answer) => answer.map_err(|error| connection_error(&error)),
            Err(_) => Err(DownloadError::Stalled(self.stall)),
        }
    }

    /// Whether an answer is the file: status, content type, first bytes.
    async fn accept(&self, response: Response) -> Result<Download, DownloadError> {
        let status = response.status();
        let retry_after = retry_after_secs(response.headers());
        let content_type = header_text(response.headers(), CONTENT_TYPE).to_owned();
        let mut download =
            Download { length: response.content_length(), response, head: None, stall: self.stall };
        match status {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(DownloadError::Expired(format!("status {}", status.as_u16())));
            }
            StatusCode::NOT_FOUND | StatusCode::GONE => return Err(DownloadError::NotFound),
            _ => {
                let reason = format!("Zoom answered {}", status.as_u16());
                return Err(DownloadError::Refused { reason, retry_after });
            }
        }
        let head = download.peek().await?;
        if looks_like_html(&head) || (content_type.starts_with("text/html") && !head.is_empty()) {
            return Err(DownloadError::Expired("it sent its sign-in page".to_owned()));
        }
        let may_be_error = head.first() == Some(&b'{')
            && download.length.is_none_or(|length| length <= MAX_ERROR_BODY_BYTES);
        if may_be_error {
            download.refuse_json_error().await?;
        }
        Ok(download)
    }
}

/// Why there is no downloader.
#[derive(Debug, thiserror::Error)]
pub enum DownloaderError {
    /// An entry of `zoom.download_hosts`.
    #[error("zoom.download_hosts: {0}")]
    Origin(#[from] OriginError),
    /// TLS or the resolver.
    #[error("cannot set up the HTTP client: {0}")]
    Client(#[from] reqwest::Error),
}

/// A body that is being read.
#[derive(Debug)]
pub struct Download {
    length: Option<u64>,
    response: Response,
    head: Option<Bytes>,
    stall: Duration,
}

impl Download {
    /// Length that the server declared, in bytes.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// The first bytes of the body (up to 512, all of them when it is shorter), as seen before it was believed.
    #[must_use]
    pub fn head(&self) -> &[u8] {
        self.head.as_deref().unwrap_or_default()
    }

    /// The next piece of the body; `None` at its end.
    ///
    /// # Errors
    /// [`DownloadError::Interrupted`] when it breaks off, also when fewer bytes came than were declared;
    /// [`DownloadError::Stalled`].
    pub async fn next(&mut self) -> Result<Option<Bytes>, DownloadError> {
        match self.head.take() {
            Some(head) if !head.is_empty() => Ok(Some(head)),
            _ => self.read().await,
        }
    }

    async fn read(&mut self) -> Result<Option<Bytes>, DownloadError> {
        match tokio::time::timeout(self.stall, self.response.chunk()).await {
            Ok(chunk) => chunk.map_err(|error| connection_error(&error)),
            Err(_) => Err(DownloadError::Stalled(self.stall)),
        }
    }

    /// Reads until there are enough bytes to look at.
    async fn peek(&mut self) -> Result<Bytes, DownloadError> {
        self.read_head(PEEK_BYTES).await
    }

    async fn read_head(&mut self, wanted: usize) -> Result<Bytes, DownloadError> {
        let first = match self.head.take() {
            Some(head) => head,
            None => self.read().await?.unwrap_or_default(),
        };
        let head = if first.len() >= wanted || first.is_empty() {
            first
        } else {
            let mut joined = BytesMut::from(first);
            while joined.len() < wanted {
                match self.read().await? {
                    Some(chunk) => joined.extend_from_slice(&chunk),
                    None => break,
                }
            }
            joined.freeze()
        };
        self.head = Some(head.clone());
        Ok(head)
    }

    /// Reads a short JSON body whole and refuses it when it is one of Zoom's errors: an object with a numeric
    /// `code` and a `message` and nothing that a recording's file would have.
    async fn refuse_json_error(&mut self) -> Result<(), DownloadError> {
        let limit = usize::try_from(MAX_ERROR_BODY_BYTES).unwrap_or(usize::MAX);
        let head = self.read_head(limit).await?;
        let Ok(Value::Object(object)) = serde_json::from_slice::<Value>(&head) else {
            return Ok(());
        };
        let code = object.get("code").or_else(|| object.get("errorCode")).and_then(Value::as_i64);
        let has_message = object.contains_key("message") || object.contains_key("errorMessage");
        match code {
            Some(CODE_INVALID_TOKEN) if has_message => {
                Err(DownloadError::Expired("error code 124".to_owned()))
            }
            Some(code) if has_message && object.len() <= 5 => {
                Err(refused(format!("Zoom answered 200 with error code {code}")))
            }
            _ => Ok(()),
        }
    }
}

fn refused(reason: String) -> DownloadError {
    DownloadError::Refused { reason, retry_after: None }
}

fn redirect_target(from: &Url, headers: &HeaderMap) -> Result<Url, DownloadError> {
    let location = header_text(headers, LOCATION);
    from.join(location)
        .ok()
        .filter(|_| !location.is_empty())
        .ok_or_else(|| refused("a redirect without a usable target".to_owned()))
}

fn connection_error(error: &reqwest::Error) -> DownloadError {
    match causes(error).find_map(|cause| cause.downcast_ref::<PrivateAddress>()) {
        Some(refusal) => DownloadError::NotAllowed(refusal.to_string()),
        None => DownloadError::Interrupted(connection_words(error)),
    }
}

/// Resolves names to public addresses only, except for hosts that the configuration names as an origin.
#[derive(Debug)]
struct PublicResolver {
    exempt: Arc<HashSet<String>>,
}

/// A name that resolves to private addresses only.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0} resolves to a private address; to allow it, add the whole origin (https://HOST:PORT) to \
     zoom.download_hosts"
)]
struct PrivateAddress(String);

impl PublicResolver {
    fn new(allowed: &[AllowedOrigin]) -> Self {
        let exempt = allowed.iter().filter_map(|origin| match origin {
            AllowedOrigin::Exact { host, .. } => Some(host.clone()),
            AllowedOrigin::Host(_) => None,
        });
        Self { exempt: Arc::new(exempt.collect()) }
    }
}

impl Resolve for PublicResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let exempt = Arc::clone(&self.exempt);
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
            let any = !found.is_empty();
            let usable: Vec<SocketAddr> = found
                .into_iter()
                .filter(|address| exempt.contains(&host) || is_public(address.ip()))
                .collect();
            if any && usable.is_empty() {
                return Err(Box::new(PrivateAddress(host)) as Box<dyn std::error::Error + Send + Sync>);
            }
            Ok(Box::new(usable.into_iter()) as Addrs)
        })
    }
}
