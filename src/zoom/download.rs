//! Fetching a file from Zoom: from allowed hosts only, redirects followed by hand, and what answers in place
//! of the file recognised for what it is.
//!
//! The token goes into the `Authorization` header, never into the URL, and is dropped when a redirect leaves
//! the origin it was meant for. There is no total time limit: a download may take hours, but never stand
//! still for longer than the stall limit, nor trickle below the floor rate.
//!
//! Any piece of a file can be asked for by its offsets (RFC 9110, section 14). Whether the piece that comes is
//! the one that was asked for, of the file that was asked for, is checked before a byte of it is handed out.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_RANGE, LAST_MODIFIED, LOCATION,
    RANGE,
};
use http::{HeaderMap, StatusCode};
use percent_encoding::{AsciiSet, percent_encode};
use reqwest::Response;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;
use url::Url;

use super::address::is_public;
use crate::clock::Clock;
use crate::config::transfer::TransferConfig;
use crate::config::zoom::ZoomConfig;
use crate::domain::json;
use crate::domain::media::looks_like_html;
use crate::domain::origin::{AllowedOrigin, OriginError, is_zoom};
use crate::outgoing::{Clients, causes, connection_words, header_text, retry_after};

/// Redirects followed for one download.
const MAX_REDIRECTS: usize = 5;
/// Bytes of the body that are looked at before it is believed to be the file.
const PEEK_BYTES: usize = 512;
/// Longest JSON body that may be an error instead of the file, in bytes.
const MAX_ERROR_BODY_BYTES: u64 = 4096;
/// Encodes nothing but bytes that are no ASCII.
const NON_ASCII: &AsciiSet = &AsciiSet::EMPTY;
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
        /// Whether it is the account that asks too much (429), not this file alone.
        whole_account: bool,
    },
    /// The connection failed, before or amid the body.
    #[error("connection to Zoom failed: {0}")]
    Interrupted(String),
    /// No byte for as long as the stall limit.
    #[error("no byte from Zoom for {} s", .0.as_secs())]
    Stalled(Duration),
    /// Fewer bytes than the floor rate allows.
    #[error("Zoom sent {bytes} bytes in {} s, less than transfer.min_bytes_per_sec", .time.as_secs())]
    TooSlow {
        /// Bytes that came.
        bytes: u64,
        /// While we waited for them so long.
        time: Duration,
    },
    /// A piece was asked for, and something else was sent: the file must be read from its start.
    #[error("Zoom does not send the piece that was asked for: {0}")]
    NoRanges(String),
    /// A piece was asked for that begins at the end of the file or behind it.
    #[error("the file ends before the piece that was asked for")]
    BeyondEnd {
        /// Length of the file, where Zoom said it.
        length: Option<u64>,
    },
    /// More came than the file may have.
    #[error("Zoom sent more than {limit} bytes, the limit by {key}")]
    TooLarge {
        /// The limit, in bytes.
        limit: u64,
        /// The setting that it follows from.
        key: &'static str,
    },
    /// The file is not the one whose beginning has been fetched.
    #[error("the file has changed at Zoom: {0}")]
    Changed(String),
}

impl DownloadError {
    /// What kind it is, as a word for metrics.
    #[must_use]
    pub fn class(&self) -> &'static str {
        match self {
            Self::NotAllowed(_) => "not_allowed",
            Self::Expired(_) => "expired",
            Self::NoUrl => "no_url",
            Self::NotFound => "not_found",
            Self::Refused { whole_account: true, .. } => "too_many",
            Self::Refused { .. } => "refused",
            Self::Interrupted(_) => "interrupted",
            Self::Stalled(_) => "stalled",
            Self::TooSlow { .. } => "too_slow",
            Self::NoRanges(_) | Self::BeyondEnd { .. } => "no_ranges",
            Self::TooLarge { .. } => "too_large",
            Self::Changed(_) => "changed",
        }
    }
}

/// A file at Zoom: where it is, and what opens it.
#[derive(Debug)]
pub struct Remote {
    url: SecretString,
    token: Option<SecretString>,
    /// Where the last redirect led to, without the token: the next piece is asked for there.
    shortcut: Mutex<Option<Url>>,
    /// Whether pieces are asked for without `If-Range`.
    unconditional: AtomicBool,
}

impl Remote {
    /// The file behind a URL, with the bearer token for it.
    #[must_use]
    pub fn new(url: SecretString, token: Option<SecretString>) -> Self {
        Self { url, token, shortcut: Mutex::new(None), unconditional: AtomicBool::new(false) }
    }

    /// Has pieces asked for without `If-Range` from now on: some servers send the whole file for each one that is conditional.
    /// Whether a piece is of the right version is seen from its answer all the same. Returns whether that is new.
    pub fn ask_unconditionally(&self) -> bool {
        !self.unconditional.swap(true, Ordering::Relaxed)
    }

    fn shortcut(&self) -> Option<Url> {
        self.shortcut.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn remember(&self, shortcut: Option<Url>) {
        *self.shortcut.lock().unwrap_or_else(PoisonError::into_inner) = shortcut;
    }
}

/// A piece of a file, by its offsets in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// The first byte.
    pub from: u64,
    /// One behind the last; `None` for all that follows.
    pub to: Option<u64>,
}

impl Piece {
    /// The whole file, asked for without a range.
    pub const WHOLE: Self = Self { from: 0, to: None };

    /// All from an offset on.
    #[must_use]
    pub fn from(offset: u64) -> Self {
        Self { from: offset, to: None }
    }

    fn header(self) -> Option<String> {
        match (self.from, self.to) {
            (0, None) => None,
            (from, None) => Some(format!("bytes={from}-")),
            (from, Some(to)) => Some(format!("bytes={from}-{}", to.saturating_sub(1))),
        }
    }
}

/// What must be true of a file for a piece of it to be wanted: it is the one whose beginning has been fetched.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Its length in bytes, where it is known.
    pub length: Option<u64>,
    /// Its entity tag, weak or strong, where it has one.
    pub etag: Option<String>,
    /// `Last-Modified`, as it came, where it was given.
    #[serde(default)]
    pub last_modified: Option<String>,
}

impl Version {
    /// What tells another version of the file from this one, in words; `None` where nothing does. What only one of the two
    /// says decides nothing. A server that gives no validator at all cannot be found out so: length and shape remain.
    #[must_use]
    pub fn changed(&self, now: &Self) -> Option<String> {
        if let (Some(then), Some(now)) = (self.length, now.length)
            && then != now
        {
            return Some(format!("it had {then} bytes, and has {now}"));
        }
        let differs =
            |then: &Option<String>, now: &Option<String>| then.is_some() && now.is_some() && then != now;
        if differs(&self.etag, &now.etag) {
            return Some("it has another entity tag".to_owned());
        }
        differs(&self.last_modified, &now.last_modified).then(|| "it was modified".to_owned())
    }

    /// Whether another version can be told from this one by more than its length.
    #[must_use]
    pub fn has_validator(&self) -> bool {
        self.etag.is_some() || self.last_modified.is_some()
    }

    /// The value of `If-Range`, which only a strong entity tag may be (RFC 9110, section 13.1.5). Other validators are
    /// compared when the answer comes.
    fn if_range(&self) -> Option<&str> {
        self.etag.as_deref().filter(|etag| etag.starts_with('"'))
    }
}

/// How patient a download is.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Longest time without a byte.
    pub stall: Duration,
    /// Fewest bytes per second, over the length of the stall limit; 0 for no such limit.
    pub floor: u64,
}

/// Fetches files.
#[derive(Debug, Clone)]
pub struct Downloader {
    clients: Clients,
    allowed: Arc<[AllowedOrigin]>,
    patience: Patience,
    clock: Clock,
}

impl Downloader {
    /// A downloader for the hosts of `config` with the patience of `transfer`.
    ///
    /// # Errors
    /// When an entry of `zoom.download_hosts` makes no sense or TLS cannot be set up.
    pub fn new(
        config: &ZoomConfig,
        transfer: &TransferConfig,
        clock: Clock,
    ) -> Result<Self, DownloaderError> {
        let allowed: Arc<[AllowedOrigin]> = config
            .download_hosts
            .iter()
            .map(|entry| AllowedOrigin::parse(entry))
            .collect::<Result<_, _>>()?;
        let resolver = Arc::new(PublicResolver::new(&allowed));
        let clients =
            Clients::new(config.connect_timeout(), |builder| builder.dns_resolver(Arc::clone(&resolver)))?;
        let patience = Patience { stall: transfer.stall(), floor: transfer.min_bytes_per_sec };
        Ok(Self { clients, allowed, patience, clock })
    }

    /// Opens a piece of a file: follows redirects, and returns once its first bytes have come and look like a
    /// file. A piece may be answered by the whole file (see [`Download::offset`]): where ranges are not honoured,
    /// and where the file is no longer the one of `version`.
    ///
    /// # Errors
    /// See [`DownloadError`].
    pub async fn open(
        &self,
        remote: &Remote,
        piece: Piece,
        version: &Version,
    ) -> Result<Download, DownloadError> {
        if let Some(shortcut) = remote.shortcut() {
            match self.follow(shortcut, remote, false, piece, version).await {
                Ok((download, _)) => return Ok(download),
                // It was good for a while; the way from the front door may still be.
                Err(DownloadError::Expired(_) | DownloadError::NotFound) => remote.remember(None),
                Err(error) => return Err(error),
            }
        }
        let front = Url::parse(remote.url.expose_secret()).map_err(|_| DownloadError::NoUrl)?;
        let (download, end) = self.follow(front.clone(), remote, true, piece, version).await?;
        if end.origin() != front.origin() {
            remote.remember(Some(end));
        }
        Ok(download)
    }

    /// Asks at `first`, and wherever it redirects to; returns also where the answer came from. `with_token`: the token is sent
    /// to the origin of `first`.
    async fn follow(
        &self,
        first: Url,
        remote: &Remote,
        with_token: bool,
        piece: Piece,
        version: &Version,
    ) -> Result<(Download, Url), DownloadError> {
        let mut at = first.clone();
        for _ in 0..=MAX_REDIRECTS {
            self.check_allowed(&at)?;
            let token = remote.token.as_ref().filter(|_| with_token && at.origin() == first.origin());
            let if_range = version.if_range().filter(|_| !remote.unconditional.load(Ordering::Relaxed));
            let response = self.ask(&at, token, piece, if_range).await?;
            if !response.status().is_redirection() {
                return Ok((self.accept(response, piece, version).await?, at));
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

    async fn ask(
        &self,
        url: &Url,
        token: Option<&SecretString>,
        piece: Piece,
        if_range: Option<&str>,
    ) -> Result<Response, DownloadError> {
        let mut request = self.clients.for_url(url).get(url.clone()).header(ACCEPT_ENCODING, "identity");
        if let Some(range) = piece.header() {
            request = request.header(RANGE, range);
            if let Some(etag) = if_range {
                request = request.header(IF_RANGE, etag);
            }
        }
        if let Some(token) = token {
            request = request.bearer_auth(token.expose_secret());
        }
        let stall = self.patience.stall;
        match tokio::time::timeout(stall, request.send()).await {
            Ok(answer) => answer.map_err(|error| connection_error(&error)),
            Err(_) => Err(DownloadError::Stalled(stall)),
        }
    }

    /// Whether an answer is the file, or the piece of it that was asked for.
    async fn accept(
        &self,
        response: Response,
        piece: Piece,
        version: &Version,
    ) -> Result<Download, DownloadError> {
        let status = response.status();
        if status.is_success() {
            check_coding(&response)?;
        }
        match status {
            StatusCode::OK => self.accept_whole(response).await,
            StatusCode::PARTIAL_CONTENT => self.accept_piece(response, piece, version),
            StatusCode::RANGE_NOT_SATISFIABLE => {
                let range = ContentRange::read(response.headers());
                Err(DownloadError::BeyondEnd { length: range.and_then(|range| range.length) })
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(DownloadError::Expired(format!("status {}", status.as_u16())))
            }
            StatusCode::NOT_FOUND | StatusCode::GONE => Err(DownloadError::NotFound),
            _ => Err(DownloadError::Refused {
                reason: format!("Zoom answered {}", status.as_u16()),
                retry_after: retry_after(response.headers(), self.clock.now()),
                whole_account: status == StatusCode::TOO_MANY_REQUESTS,
            }),
        }
    }

    /// 200: status, content type and first bytes tell the file from what Zoom sends in its place.
    async fn accept_whole(&self, response: Response) -> Result<Download, DownloadError> {
        let content_type = header_text(response.headers(), CONTENT_TYPE);
        let length = response.content_length();
        let mut download = self.download(response, 0, length, length);
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

    /// 206: it says itself which piece of which file it is.
    fn accept_piece(
        &self,
        response: Response,
        piece: Piece,
        version: &Version,
    ) -> Result<Download, DownloadError> {
        let Some(ContentRange { span: Some((from, to)), length }) = ContentRange::read(response.headers())
        else {
            return Err(DownloadError::NoRanges("it does not say which one it sends".to_owned()));
        };
        if from != piece.from || piece.to.is_some_and(|wanted| to > wanted) {
            let reason = format!("bytes {from} to {to} in place of those from {}", piece.from);
            return Err(DownloadError::NoRanges(reason));
        }
        let download = self.download(response, from, Some(to - from), length);
        match version.changed(&download.version()) {
            Some(words) => Err(DownloadError::Changed(words)),
            None => Ok(download),
        }
    }

    fn download(
        &self,
        response: Response,
        offset: u64,
        length: Option<u64>,
        file_length: Option<u64>,
    ) -> Download {
        let validator = |name| Some(header_text(response.headers(), name)).filter(|text| !text.is_empty());
        let (etag, last_modified) = (validator(ETAG), validator(LAST_MODIFIED));
        Download {
            offset,
            length,
            file_length,
            etag,
            last_modified,
            response,
            head: None,
            patience: self.patience,
            waited: Duration::ZERO,
            came: 0,
        }
    }
}

/// A file comes as it is, or it does not come: what a server encodes although `identity` was asked for has another length and
/// other ranges than the file, and is asked for again.
fn check_coding(response: &Response) -> Result<(), DownloadError> {
    let coding = header_text(response.headers(), CONTENT_ENCODING);
    if coding.is_empty() || coding.eq_ignore_ascii_case("identity") {
        return Ok(());
    }
    let coding: String = coding.chars().filter(|c| c.is_ascii_graphic()).take(40).collect();
    Err(refused(format!("the file came with Content-Encoding {coding}, although none was asked for")))
}

/// `Content-Range` (RFC 9110, section 14.4).
struct ContentRange {
    /// First byte, and one behind the last; `None` where there is no such range.
    span: Option<(u64, u64)>,
    /// Length of the file, where it is said.
    length: Option<u64>,
}

impl ContentRange {
    fn read(headers: &HeaderMap) -> Option<Self> {
        let text = header_text(headers, CONTENT_RANGE);
        let (span, length) = text.strip_prefix("bytes ")?.split_once('/')?;
        let span = match span.split_once('-') {
            Some((first, last)) => {
                let (from, to) = (first.parse().ok()?, last.parse::<u64>().ok()?.checked_add(1)?);
                (from < to).then_some((from, to))
            }
            None => None,
        };
        Some(Self { span, length: length.trim().parse().ok() })
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
    offset: u64,
    length: Option<u64>,
    file_length: Option<u64>,
    etag: Option<String>,
    last_modified: Option<String>,
    response: Response,
    head: Option<Bytes>,
    patience: Patience,
    /// Time spent waiting for bytes, and how many came in it, since the floor rate was last looked at.
    waited: Duration,
    came: u64,
}

impl Download {
    /// Where in the file it begins, in bytes: where it was asked to begin, or 0.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether this is a piece, so that others can be had too.
    #[must_use]
    pub fn is_piece(&self) -> bool {
        self.response.status() == StatusCode::PARTIAL_CONTENT
    }

    /// Which file this is, as far as the server said.
    #[must_use]
    pub fn version(&self) -> Version {
        Version {
            length: self.file_length,
            etag: self.etag.clone(),
            last_modified: self.last_modified.clone(),
        }
    }

    /// The next bytes of the body; `None` at its end.
    ///
    /// # Errors
    /// [`DownloadError::Interrupted`] when it breaks off, also when fewer bytes came than were declared;
    /// [`DownloadError::Stalled`], [`DownloadError::TooSlow`].
    pub async fn next(&mut self) -> Result<Option<Bytes>, DownloadError> {
        match self.head.take() {
            Some(head) if !head.is_empty() => Ok(Some(head)),
            _ => self.read().await,
        }
    }

    async fn read(&mut self) -> Result<Option<Bytes>, DownloadError> {
        let stall = self.patience.stall;
        let asked = Instant::now();
        let chunk = match tokio::time::timeout(stall, self.response.chunk()).await {
            Ok(chunk) => chunk.map_err(|error| connection_error(&error))?,
            Err(_) => return Err(DownloadError::Stalled(stall)),
        };
        self.waited += asked.elapsed();
        self.came += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        self.check_rate()?;
        Ok(chunk)
    }

    /// Only the time that we waited for Zoom counts, not that in which Zoom waited for us.
    fn check_rate(&mut self) -> Result<(), DownloadError> {
        if self.waited < self.patience.stall {
            return Ok(());
        }
        let (bytes, time) = (std::mem::take(&mut self.came), std::mem::take(&mut self.waited));
        if bytes < self.patience.floor.saturating_mul(time.as_secs()) {
            return Err(DownloadError::TooSlow { bytes, time });
        }
        Ok(())
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
        let Ok(Value::Object(object)) = json::parse(&head) else {
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
    DownloadError::Refused { reason, retry_after: None, whole_account: false }
}

fn redirect_target(from: &Url, headers: &HeaderMap) -> Result<Url, DownloadError> {
    // Bytes that are no ASCII are percent-encoded as they are: to read them as text would change where they lead.
    let location = headers.get(LOCATION).map(|value| percent_encode(value.as_bytes(), NON_ASCII).to_string());
    let location = location.unwrap_or_default();
    from.join(location.trim())
        .ok()
        .filter(|_| !location.trim().is_empty())
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
