//! Reads a URL of PostgreSQL with several hosts and the parameters of libpq ("Connection Strings" and "Parameter Key Words" in
//! PostgreSQL's manual). sqlx knows one host and ignores what it does not know; here that is refused.

use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use url::Url;
use url::form_urlencoded::Serializer;

use super::StoreError;
use super::url::wrong;

/// What a URL says.
#[derive(Debug)]
pub(super) struct PostgresUrl {
    /// The servers in the order in which they are tried; at least one.
    pub(super) hosts: Vec<PgConnectOptions>,
    /// `connect_timeout`: longest time to connect to one server.
    pub(super) connect_timeout: Option<Duration>,
}

/// Parameters that are left to sqlx.
const KNOWN_TO_SQLX: &[&str] = &[
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "hostaddr",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

/// Parameters of the kernel's own watch over a connection. Idle connections are asked every few seconds and every statement has
/// a limit, which is stricter than any of these.
const KEEPALIVE: &[&str] =
    &["keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout"];

/// Parameters of which only these values say what is done anyway. Every session is one that can write.
const FIXED: &[(&str, &[&str])] = &[
    ("target_session_attrs", &["read-write", "primary", "any"]),
    ("load_balance_hosts", &["disable"]),
    ("channel_binding", &["disable", "prefer"]),
    ("gssencmode", &["disable", "prefer"]),
    ("client_encoding", &["UTF8", "utf8", "UTF-8", "utf-8", "auto"]),
];

/// # Errors
/// [`StoreError::Url`], in words that hold no password.
pub(super) fn read(url: &str) -> Result<PostgresUrl, StoreError> {
    let mut parameters = Parameters::default();
    let mut hosts = Vec::new();
    for url in one_for_each_host(url) {
        let mut url = parse(&url)?;
        parameters = Parameters::read(&url)?;
        url.set_query(None);
        for place in parameters.places()? {
            let mut query = Serializer::new(String::new());
            query.extend_pairs(&parameters.for_sqlx).extend_pairs(place);
            url.set_query(Some(&query.finish()));
            hosts.push(options(url.as_str())?);
        }
    }
    Ok(PostgresUrl { hosts, connect_timeout: parameters.connect_timeout })
}

/// `postgres://user@a:1,b:2/db` names the servers `a:1` and `b:2`.
fn one_for_each_host(url: &str) -> Vec<String> {
    let Some((scheme, rest)) = url.split_once("://") else { return vec![url.to_owned()] };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, behind) = rest.split_at(end);
    let (user, hosts) = match authority.rsplit_once('@') {
        Some((user, hosts)) => (format!("{user}@"), hosts),
        None => (String::new(), authority),
    };
    hosts.split(',').map(|host| format!("{scheme}://{user}{host}{behind}")).collect()
}

fn parse(url: &str) -> Result<Url, StoreError> {
    let parsed = Url::parse(url).map_err(|error| wrong(&format!("cannot be read: {error}")))?;
    // A `/`, `?` or `#` in a password that is not percent-encoded cuts it there, and the rest, up to the `@`,
    // would be taken for a path or for parameters, which are quoted in errors and logs.
    let behind_the_host = [Some(parsed.path()), parsed.query(), parsed.fragment()];
    if behind_the_host.into_iter().flatten().any(|part| part.contains('@')) {
        return Err(wrong("has an `@` behind the host: percent-encode special characters of the password"));
    }
    Ok(parsed)
}

fn options(url: &str) -> Result<PgConnectOptions, StoreError> {
    let options = PgConnectOptions::from_str(url).map_err(|error| wrong(&unusable(&error)))?;
    // Not sent: PgBouncer refuses it unless `ignore_startup_parameters` names it, and every version of PostgreSQL that is
    // supported prints numbers exactly without it.
    let options = options.extra_float_digits(None);
    Ok(match options.get_application_name() {
        Some(_) => options,
        None => options.application_name("zoom-archiver"),
    })
}

fn unusable(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Configuration(reason) => format!("cannot be used: {reason}"),
        _ => "cannot be used".to_owned(),
    }
}

/// What stands behind the `?`.
#[derive(Debug, Default)]
struct Parameters {
    for_sqlx: Vec<(String, String)>,
    hosts: Vec<String>,
    ports: Vec<String>,
    connect_timeout: Option<Duration>,
}

impl Parameters {
    fn read(url: &Url) -> Result<Self, StoreError> {
        let mut read = Self::default();
        let holds_password = url.query_pairs().any(|(key, _)| key == "password");
        for (key, value) in url.query_pairs() {
            let fixed = FIXED.iter().find(|(name, _)| *name == key);
            match &*key {
                "host" => read.hosts = value.split(',').map(str::to_owned).collect(),
                "port" => read.ports = value.split(',').map(str::to_owned).collect(),
                "connect_timeout" => read.connect_timeout = connect_timeout(&value)?,
                name if KEEPALIVE.contains(&name) => {}
                name if KNOWN_TO_SQLX.contains(&name) || name.starts_with("options[") => {
                    read.for_sqlx.push((key.into_owned(), value.into_owned()));
                }
                name => match fixed {
                    Some((_, values)) if values.contains(&&*value) => {}
                    Some((_, values)) => {
                        return Err(wrong(&format!("cannot have `{name}` other than {}", values.join(", "))));
                    }
                    // An `&` in a password cuts it, and the rest is taken for a parameter.
                    None if holds_password => return Err(wrong("has a parameter that is not supported")),
                    None => {
                        return Err(wrong(&format!("has the parameter `{name}`, which is not supported")));
                    }
                },
            }
        }
        Ok(read)
    }

    /// The parameters that name the server, for each server that `host` names; one without any where it does not stand there.
    fn places(&self) -> Result<Vec<Vec<(&'static str, &str)>>, StoreError> {
        let count = self.hosts.len().max(1);
        if self.ports.len() > 1 && self.ports.len() != count {
            return Err(wrong(&format!("names {count} hosts and {} ports", self.ports.len())));
        }
        let place = |number: usize| {
            let host = self.hosts.get(number).map(|host| ("host", host.as_str()));
            let port = self.ports.get(number).or(self.ports.first()).filter(|port| !port.is_empty());
            host.into_iter().chain(port.map(|port| ("port", port.as_str()))).collect()
        };
        Ok((0..count).map(place).collect())
    }
}

/// As in libpq: whole seconds, none or zero for no limit of the user's.
fn connect_timeout(value: &str) -> Result<Option<Duration>, StoreError> {
    match value.parse() {
        Ok(0) => Ok(None),
        Ok(seconds) => Ok(Some(Duration::from_secs(seconds))),
        Err(_) => Err(wrong("has a `connect_timeout` that is no number of seconds")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(url: &str) -> Vec<(String, u16)> {
        let read = read(url).unwrap_or_else(|error| panic!("{url}: {error}"));
        read.hosts.iter().map(|host| (host.get_host().to_owned(), host.get_port())).collect()
    }

    #[test]
    fn several_hosts_are_tried_in_their_order() {
        let both = [("a.example.com".to_owned(), 5433), ("b.example.com".to_owned(), 5434)];
        for url in [
            "postgres://user:pass,word@a.example.com:5433,b.example.com:5434/db?target_session_attrs=read-write",
            "postgres:///db?host=a.example.com,b.example.com&port=5433,5434&user=user",
        ] {
            assert_eq!(hosts(url), both, "{url}");
        }
        let one_port = [("a".to_owned(), 5433), ("b".to_owned(), 5433)];
        assert_eq!(hosts("postgres:///db?host=a,b&port=5433&user=user"), one_port);
    }

    #[test]
    fn parameters_that_hold_anyway_or_are_honoured_are_taken() {
        for parameter in [
            "target_session_attrs=read-write",
            "target_session_attrs=primary",
            "keepalives_idle=30",
            "tcp_user_timeout=10000",
            "channel_binding=prefer",
            "options[search_path]=archive",
        ] {
            assert_eq!(hosts(&format!("postgres://user@db:5432/x?{parameter}")), [("db".to_owned(), 5432)]);
        }
        let timeout =
            |value| read(&format!("postgres://db/x?connect_timeout={value}")).unwrap().connect_timeout;
        assert_eq!(timeout("7"), Some(Duration::from_secs(7)));
        assert_eq!(timeout("0"), None);
    }

    #[test]
    fn what_is_not_honoured_is_refused_by_name() {
        for (parameter, key) in [
            ("target_session_attrs=standby", "target_session_attrs"),
            ("target_session_attrs=prefer-standby", "target_session_attrs"),
            ("channel_binding=require", "channel_binding"),
            ("gssencmode=require", "gssencmode"),
            ("load_balance_hosts=random", "load_balance_hosts"),
            ("connect_timeout=soon", "connect_timeout"),
            ("sslcrl=crl.pem", "sslcrl"),
            ("require_auth=scram-sha-256", "require_auth"),
        ] {
            let error = read(&format!("postgres://user@db/x?{parameter}")).unwrap_err().to_string();
            assert!(error.contains(&format!("`{key}`")), "{error}");
        }
    }

    #[test]
    fn the_rest_of_a_password_is_not_repeated() {
        let error = read("postgres://db/x?user=user&password=hunter&two=").unwrap_err().to_string();
        assert!(!error.contains("two"), "{error}");
        let error = read("postgres://user:pass@a:x,b:y/db").unwrap_err().to_string();
        assert!(!error.contains("pass"), "{error}");
    }
}
