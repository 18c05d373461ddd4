//! The way to Zoom: what downloads and questions to the API have in common. No redirect is followed by itself, no
//! `Referer` is sent (it would carry the query), and no proxy stands before this machine itself.

use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderName};
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder};
use url::Url;

use crate::config::zoom::ZoomConfig;
use crate::domain::origin::is_loopback;

/// Two clients, of which [`for_url`](Self::for_url) chooses.
#[derive(Debug, Clone)]
pub(super) struct Clients {
    /// Through the environment's proxy, where there is one.
    proxied: Client,
    /// For this machine itself, which no proxy leads to.
    direct: Client,
}

impl Clients {
    /// Clients as `config` has them; `adapt` sets what is special about their use.
    pub(super) fn new(
        config: &ZoomConfig,
        adapt: impl Fn(ClientBuilder) -> ClientBuilder,
    ) -> reqwest::Result<Self> {
        let builder = || {
            let common = Client::builder()
                .redirect(Policy::none())
                .referer(false)
                .connect_timeout(config.connect_timeout())
                .user_agent(concat!("zoom-archiver/", env!("CARGO_PKG_VERSION")));
            adapt(common)
        };
        Ok(Self { proxied: builder().build()?, direct: builder().no_proxy().build()? })
    }

    pub(super) fn for_url(&self, url: &Url) -> &Client {
        if is_loopback(url) { &self.direct } else { &self.proxied }
    }
}

/// A header as text; empty when it is missing or no text.
pub(super) fn header_text(headers: &HeaderMap, name: HeaderName) -> &str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().trim()
}

/// `Retry-After` in seconds.
pub(super) fn retry_after_secs(headers: &HeaderMap) -> Option<Duration> {
    header_text(headers, RETRY_AFTER).parse().ok().map(Duration::from_secs)
}

/// Why a connection failed, in words, without its URL: `reqwest` would print it with its query.
pub(super) fn connection_words(error: &reqwest::Error) -> String {
    let kind = if error.is_connect() { "cannot connect" } else { "broken off" };
    match causes(error).last() {
        Some(cause) => format!("{kind} ({cause})"),
        None => kind.to_owned(),
    }
}

/// What lies below an error, from the outside in.
pub(super) fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(std::error::Error::source(error), |cause| cause.source())
}
