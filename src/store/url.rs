//! Reads `DATABASE_URL`, and never repeats it: it may hold a password.

use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};

use super::StoreError;
use super::postgres_url::{self, PostgresUrl};

/// The database that a URL names.
pub(super) enum DatabaseUrl {
    /// `postgres://…` or `postgresql://…`.
    Postgres(PostgresUrl),
    /// `sqlite:PATH`; everything after the scheme is the path, as it stands.
    Sqlite(PathBuf),
}

impl DatabaseUrl {
    /// # Errors
    /// [`StoreError::Url`], in words that hold nothing of the URL but its scheme.
    pub(super) fn read(url: &SecretString) -> Result<Self, StoreError> {
        let url = url.expose_secret();
        match url.split_once(':') {
            Some(("sqlite", path)) => sqlite_path(path).map(Self::Sqlite),
            Some(("postgres" | "postgresql", _)) => postgres_url::read(url).map(Self::Postgres),
            _ => Err(wrong("must begin with `sqlite:`, `postgres://` or `postgresql://`")),
        }
    }
}

fn sqlite_path(path: &str) -> Result<PathBuf, StoreError> {
    let path = path.strip_prefix("//").unwrap_or(path);
    if path.is_empty() {
        return Err(wrong("names no file: write `sqlite:PATH`"));
    }
    if path.starts_with(":memory:") {
        return Err(wrong("names a database in memory, which would forget what Zoom was promised"));
    }
    if path.contains('?') {
        return Err(wrong("must be `sqlite:PATH` without parameters"));
    }
    Ok(PathBuf::from(path))
}

pub(super) fn wrong(words: &str) -> StoreError {
    StoreError::Url(words.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(url: &str) -> String {
        match DatabaseUrl::read(&url.to_owned().into()) {
            Ok(_) => panic!("was taken"),
            Err(error) => format!("{error} {error:?}"),
        }
    }

    #[test]
    fn a_path_is_taken_as_it_stands() {
        for (url, path) in [
            ("sqlite:data/a%20b.db", "data/a%20b.db"),
            ("sqlite:///var/lib/a.db", "/var/lib/a.db"),
            ("sqlite:/var/lib/a.db", "/var/lib/a.db"),
        ] {
            let read = DatabaseUrl::read(&url.to_owned().into());
            assert!(matches!(read, Ok(DatabaseUrl::Sqlite(found)) if found == *path), "{url}");
        }
    }

    #[test]
    fn a_database_in_memory_is_refused() {
        assert!(refusal("sqlite::memory:").contains("memory"));
        assert!(refusal("sqlite://:memory:").contains("memory"));
    }

    #[test]
    fn an_unknown_scheme_is_refused_with_those_that_are_known() {
        assert!(refusal("mysql://root:hunter2@db/x").contains("`sqlite:`"));
        assert!(refusal("").contains("`sqlite:`"));
        assert!(refusal("sqlite:").contains("sqlite:PATH"));
        assert!(refusal("sqlite:a.db?mode=rwc").contains("without parameters"));
    }

    #[test]
    fn a_refusal_never_repeats_the_password() {
        for url in [
            "mysql://root:hunter2@db/x",
            "postgres://root:hunter2@db:port/x",
            "postgres://root:12?hunter2@db/x",
            "postgres://root:12/hunter2@db/x",
            "postgres://root:12#hunter2@db/x",
            "postgres://root:hunter2@db/x?sslmode=nonsense",
        ] {
            assert!(!refusal(url).contains("hunter2"), "{url}");
        }
    }
}
