//! What all HTTP that goes out has in common: to Zoom, and to the receivers of notifications. No redirect is followed by
//! itself, no `Referer` is sent (it would carry the query), and no proxy stands before this machine itself.

use std::time::Duration;

use chrono::{DateTime, Utc};
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderName};
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder};
use url::Url;

use crate::domain::origin::is_loopback;

/// Longest rest that the other side may ask for: Zoom's daily limits end with the day.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);

/// Two clients, of which [`for_url`](Self::for_url) chooses.
#[derive(Debug, Clone)]
pub(crate) struct Clients {
    /// Through the environment's proxy, where there is one.
    proxied: Client,
    /// For this machine itself, which no proxy leads to.
    direct: Client,
}

impl Clients {
    /// Clients that give up connecting after that long; `adapt` sets what is special about their use.
    pub(crate) fn new(
        connect_timeout: Duration,
        adapt: impl Fn(ClientBuilder) -> ClientBuilder,
    ) -> reqwest::Result<Self> {
        let builder = || {
            let common = Client::builder()
                .redirect(Policy::none())
                .referer(false)
                .connect_timeout(connect_timeout)
                .user_agent(concat!("zoom-archiver/", env!("CARGO_PKG_VERSION")));
            adapt(common)
        };
        Ok(Self { proxied: builder().build()?, direct: builder().no_proxy().build()? })
    }

    pub(crate) fn for_url(&self, url: &Url) -> &Client {
        if is_loopback(url) { &self.direct } else { &self.proxied }
    }
}

/// A header as text, bytes that are not UTF-8 replaced; empty when it is missing.
pub(crate) fn header_text(headers: &HeaderMap, name: HeaderName) -> String {
    let value = headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
    value.unwrap_or_default().trim().to_owned()
}

/// `Retry-After`. Zoom gives seconds, or the moment in which a daily limit ends ("Rate limits":
/// `2020-05-31T00:00:00Z`); HTTP has a form of its own for a moment.
pub(crate) fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let text = header_text(headers, RETRY_AFTER);
    let moment = || {
        let moment =
            DateTime::parse_from_rfc3339(&text).or_else(|_| DateTime::parse_from_rfc2822(&text)).ok()?;
        Some((moment.to_utc() - now).to_std().unwrap_or_default())
    };
    let rest = text.parse().ok().map(Duration::from_secs).or_else(moment);
    rest.map(|rest| rest.min(MAX_RETRY_AFTER))
}

/// Why a connection failed, in words, without its URL: `reqwest` would print it with its query.
pub(crate) fn connection_words(error: &reqwest::Error) -> String {
    let kind = if error.is_connect() { "cannot connect" } else { "broken off" };
    match causes(error).last() {
        Some(cause) => format!("{kind} ({cause})"),
        None => kind.to_owned(),
    }
}

/// What lies below an error, from the outside in.
pub(crate) fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(std::error::Error::source(error), |cause| cause.source())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_moment_to_come_again_is_read_in_each_of_its_forms() {
        let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        for (text, secs) in [
            ("7", Some(7)),
            ("2023-11-14T22:13:30Z", Some(10)),
            ("Tue, 14 Nov 2023 22:13:30 GMT", Some(10)),
            ("2023-11-14T00:00:00Z", Some(0)),
            ("99999999999", Some(24 * 3600)),
            ("soon", None),
            ("-1", None),
            ("", None),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(text))]);
            assert_eq!(retry_after(&headers, now), secs.map(Duration::from_secs), "{text}");
        }
    }
}
