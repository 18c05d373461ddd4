//! Which origins recordings may be fetched from: a word of the configuration and of the downloader.

use url::{Host, Url};

/// Zoom's own domains; a host equal to one of them or below one may be asked, by https on port 443.
/// zoom.us and zoom.com serve the commercial cloud, zoomgov.com the United States government cloud.
pub const ZOOM_DOMAINS: &[&str] = &["zoom.us", "zoom.com", "zoomgov.com"];

/// One entry of `zoom.download_hosts`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedOrigin {
    /// A bare host name: https, port 443, public addresses only.
    Host(String),
    /// Scheme, host and port: exactly that origin, whatever its address.
    Exact {
        /// `http` or `https`.
        scheme: String,
        /// As [`Url::host_str`] gives it.
        host: String,
        /// The port, also where it is the scheme's default.
        port: u16,
    },
}

/// Why an entry makes no sense.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "`{0}` is neither a host name such as cdn.example.com nor an origin such as https://cdn.example.com:8443"
)]
pub struct OriginError(String);

impl AllowedOrigin {
    /// Reads an entry.
    ///
    /// # Errors
    /// When it is neither a bare host name nor an origin without path, user or query.
    pub fn parse(entry: &str) -> Result<Self, OriginError> {
        let wrong = || OriginError(entry.to_owned());
        if !entry.contains("://") {
            let host = match Host::parse(entry).map_err(|_| wrong())? {
                Host::Domain(name) if is_host_name(&name) => name,
                _ => return Err(wrong()),
            };
            return Ok(Self::Host(host));
        }
        let url = Url::parse(entry).map_err(|_| wrong())?;
        let bare = url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        match (url.scheme(), url.host_str(), url.port_or_known_default()) {
            ("http" | "https", Some(host), Some(port)) if bare => {
                Ok(Self::Exact { scheme: url.scheme().to_owned(), host: host.to_owned(), port })
            }
            _ => Err(wrong()),
        }
    }

    /// Whether this entry names the origin of `url`.
    #[must_use]
    pub fn covers(&self, url: &Url) -> bool {
        match self {
            Self::Host(host) => is_public_https(url) && url.host_str() == Some(host.as_str()),
            Self::Exact { scheme, host, port } => {
                url.scheme() == scheme
                    && url.host_str() == Some(host.as_str())
                    && url.port_or_known_default() == Some(*port)
            }
        }
    }
}

/// No wildcards, and nothing but what a host name may hold.
fn is_host_name(name: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    name.split('.').all(label)
}

/// Whether `url` lies at Zoom itself.
#[must_use]
pub fn is_zoom(url: &Url) -> bool {
    let at_zoom = |host: &str| {
        ZOOM_DOMAINS.iter().any(|domain| {
            host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        })
    };
    is_public_https(url) && url.host_str().is_some_and(at_zoom)
}

/// Whether `url` leads to this machine itself.
#[must_use]
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        // RFC 6761, section 6.3: this name never means another machine.
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

fn is_public_https(url: &Url) -> bool {
    url.scheme() == "https" && url.port_or_known_default() == Some(443)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    #[test]
    fn zoom_is_its_domains_and_what_lies_below_them_by_https() {
        for text in ["https://zoom.us/rec/x", "https://us02web.zoom.us/", "https://ssrweb.zoom.us./x"] {
            assert_eq!(is_zoom(&url(text)), !text.contains("us./"), "{text}");
        }
        for text in [
            "http://zoom.us/",
            "https://zoom.us:8443/",
            "https://evilzoom.us/",
            "https://zoom.us.evil.com/",
            "https://zoom.us@evil.com/",
            "ftp://zoom.us/",
            "https://127.0.0.1/",
        ] {
            assert!(!is_zoom(&url(text)), "{text}");
        }
    }

    #[test]
    fn this_machine_is_known_by_its_addresses_and_by_its_name() {
        for text in ["http://127.0.0.1:9000/v2", "http://127.9.9.9/", "http://[::1]/", "http://LOCALHOST:1/"]
        {
            assert!(is_loopback(&url(text)), "{text}");
        }
        for text in ["http://10.0.0.1/", "http://localhost.example.com/", "http://0.0.0.0/", "data:x"] {
            assert!(!is_loopback(&url(text)), "{text}");
        }
    }

    #[test]
    fn a_bare_host_allows_https_on_the_usual_port_and_no_host_below_it() {
        let entry = AllowedOrigin::parse("CDN.example.com").unwrap();
        assert!(entry.covers(&url("https://cdn.example.com/a")));
        for text in ["http://cdn.example.com/", "https://a.cdn.example.com/", "https://cdn.example.com:444/"]
        {
            assert!(!entry.covers(&url(text)), "{text}");
        }
    }

    #[test]
    fn an_origin_allows_exactly_itself() {
        let entry = AllowedOrigin::parse("http://127.0.0.1:9000").unwrap();
        assert!(entry.covers(&url("http://127.0.0.1:9000/a?b")));
        for text in ["http://127.0.0.1:9001/", "https://127.0.0.1:9000/", "http://127.0.0.2:9000/"] {
            assert!(!entry.covers(&url(text)), "{text}");
        }
    }

    #[test]
    fn entries_that_are_neither_are_refused() {
        for entry in ["", "10.0.0.1", "[::1]", "a b", "http://h/path", "http://u@h", "ftp://h", "*.zoom.us"] {
            assert!(AllowedOrigin::parse(entry).is_err(), "{entry}");
        }
    }
}
