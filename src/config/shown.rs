//! Addresses for people: without user, password and parameters, in whatever form they were written.

use url::Url;

/// What stands for an address, or the rest of one, that might hold a secret.
const UNKNOWN: &str = "(not shown: it cannot be read, and may hold a password)";

/// Returns a database's or an archive's address as far as it is certain to hold no secret: of a known scheme the hosts and the
/// path; of anything else nothing.
#[must_use]
pub fn address(text: &str) -> String {
    let shown = match text.split_once(':') {
        Some((scheme @ ("sqlite" | "file"), rest)) => path(rest).map(|path| format!("{scheme}:{path}")),
        Some((scheme @ ("postgres" | "postgresql" | "s3"), rest)) => {
            rest.strip_prefix("//").and_then(hosts).map(|place| format!("{scheme}://{place}"))
        }
        // Of what nobody opens, the scheme alone: it says what is wrong.
        Some((scheme, rest)) if rest.starts_with("//") && is_scheme(scheme) => {
            Some(format!("{scheme}://{UNKNOWN}"))
        }
        _ => None,
    };
    shown.unwrap_or_else(|| UNKNOWN.to_owned())
}

fn is_scheme(text: &str) -> bool {
    text.len() <= 16 && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}

/// A path of this machine, without what may be parameters. A host before it may have a user.
fn path(rest: &str) -> Option<&str> {
    let authority = rest.strip_prefix("//").map(|rest| rest.split('/').next().unwrap_or(rest));
    let path = rest.split('?').next().unwrap_or(rest);
    (!authority.is_some_and(|authority| authority.contains('@'))).then_some(path)
}

/// Hosts and path. An `@` behind the hosts says that a special character cut the password in two.
fn hosts(rest: &str) -> Option<String> {
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, behind) = rest.split_at(end);
    if behind.contains('@') {
        return None;
    }
    let hosts = authority.rsplit_once('@').map_or(authority, |(_, hosts)| hosts);
    let host = |host: &str| Some(Url::parse(&format!("http://{host}")).ok()?.host_str()?.to_owned());
    let hosts: Vec<_> = hosts.split(',').map(host).collect::<Option<_>>()?;
    let path = behind.split(['?', '#']).next().unwrap_or_default();
    Some(format!("{}{path}", hosts.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_shown_and_what_opens_them_is_not() {
        for (address_of, shown) in [
            ("sqlite:/var/lib/za.db", "sqlite:/var/lib/za.db"),
            ("sqlite:za.db?key=hunter2", "sqlite:za.db"),
            ("file:///var/lib/archive", "file:///var/lib/archive"),
            ("s3://bucket/prefix", "s3://bucket/prefix"),
            ("s3://AKIA:hunter2@bucket/prefix?secret=hunter2", "s3://bucket/prefix"),
            ("postgres://me:hunter2@db.example:5432/za?password=hunter2", "postgres://db.example/za"),
            ("postgres://me:hunter2@a:1,b:2/za", "postgres://a,b/za"),
            ("postgresql://db/za#hunter2", "postgresql://db/za"),
        ] {
            assert_eq!(address(address_of), shown);
        }
    }

    #[test]
    fn what_cannot_be_read_is_not_shown() {
        for odd in [
            "host=db user=me password=hunter2",
            "password=hunter2:x",
            "hunter2",
            "mysql://root:hunter2@db/x",
            "postgres://root:hunter2@db:port/x",
            "postgres:root:hunter2@db/x",
            "postgres://root:12/hunter2@db/x",
            "postgres://root:12?hunter2@db/x",
            "postgres://root:12#hunter2@db/x",
            "postgres://root:hun ter2@d b/x",
            "sqlite://me:hunter2@host/x.db",
            "file://me:hunter2@host/x",
            "s3://AKIA:12/hunter2@bucket",
            "s3:AKIA:hunter2@bucket",
            "https://key:hunter2@minio:9000/bucket",
        ] {
            assert!(!address(odd).contains("hunter2"), "{odd}: {}", address(odd));
        }
    }
}
