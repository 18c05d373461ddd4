//! The environment's proxy, which requests to a store go through.

use std::env;

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;

/// Names of the variables, the one that counts first, as the AWS SDK's client reads them.
const OF_HTTP: &[&str] = &["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];
const OF_HTTPS: &[&str] = &["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/// The variable that names the proxy on the way to `url`; `None` when requests go there directly, also because of `NO_PROXY`.
#[must_use]
pub fn proxy_variable(url: &str) -> Option<&'static str> {
    let url: Uri = url.parse().ok()?;
    Matcher::from_env().intercept(&url)?;
    let names = if url.scheme_str() == Some("https") { OF_HTTPS } else { OF_HTTP };
    names.iter().copied().find(|name| env::var_os(name).is_some_and(|value| !value.is_empty()))
}
