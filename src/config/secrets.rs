//! What comes from the environment alone: secrets, and the addresses that hold them. Never in a file of
//! settings, never in `Debug`.

use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

use super::load::{ConfigError, Environment};

const WEBHOOK_SECRET_TOKEN: &str = "ZOOM_WEBHOOK_SECRET_TOKEN";
const DATABASE_URL: &str = "DATABASE_URL";
const ARCHIVE_URL: &str = "ARCHIVE_URL";
const ADMIN_TOKEN: &str = "ADMIN_TOKEN";

/// Whether a variable is one of those that are read here.
pub(super) fn is_name(variable: &str) -> bool {
    let name = variable.strip_suffix("_FILE").unwrap_or(variable);
    [WEBHOOK_SECRET_TOKEN, DATABASE_URL, ARCHIVE_URL, ADMIN_TOKEN].contains(&name)
}

/// Secrets and addresses.
#[derive(Debug, Clone)]
pub struct Secrets {
    /// Secret Tokens of the Zoom apps; every one of them is tried.
    pub webhook_secret_tokens: Vec<SecretString>,
    /// `sqlite:PATH` or `postgres://…`; may hold a password.
    pub database_url: SecretString,
    /// `s3://bucket/prefix` or `file:///path`.
    pub archive_url: String,
    /// Bearer token of the private door.
    pub admin_token: Option<SecretString>,
    /// Where the defaults of the two addresses lie.
    pub data_dir: PathBuf,
}

impl Secrets {
    /// Reads them from `environment`; what is missing defaults into `data_dir`.
    ///
    /// # Errors
    /// When a `<NAME>_FILE` cannot be read, or a name is given both ways.
    pub fn read(environment: &Environment, data_dir: &Path) -> Result<Self, ConfigError> {
        let tokens = value(environment, WEBHOOK_SECRET_TOKEN)?.unwrap_or_default();
        let under = |name: &str| {
            std::path::absolute(data_dir.join(name))
                .map_err(|error| ConfigError::DataDir(data_dir.to_owned(), error))
        };
        let database_url = match value(environment, DATABASE_URL)? {
            Some(url) => url,
            None => format!("sqlite:{}", under("zoom-archiver.db")?.display()),
        };
        let archive_url = match value(environment, ARCHIVE_URL)? {
            Some(url) => url,
            None => format!("file://{}", under("archive")?.display()),
        };
        Ok(Self {
            webhook_secret_tokens: tokens
                .split(',')
                .map(str::trim)
                .filter(|token| !token.is_empty())
                .map(SecretString::from)
                .collect(),
            database_url: database_url.into(),
            archive_url,
            admin_token: value(environment, ADMIN_TOKEN)?.map(SecretString::from),
            data_dir: data_dir.to_owned(),
        })
    }
}

impl Secrets {
    /// The database's address for people: without user, password and parameters.
    #[must_use]
    pub fn database_without_password(&self) -> String {
        let url = self.database_url.expose_secret();
        match url::Url::parse(url) {
            Ok(parsed) if parsed.host_str().is_some() => {
                format!("{}://{}{}", parsed.scheme(), parsed.host_str().unwrap_or_default(), parsed.path())
            }
            _ => url.split('?').next().unwrap_or_default().to_owned(),
        }
    }
}

/// `NAME`, or the content of the file that `NAME_FILE` names, without white space around it; an empty value is
/// no value.
fn value(environment: &Environment, name: &'static str) -> Result<Option<String>, ConfigError> {
    let direct = environment.get(name).filter(|text| !text.trim().is_empty());
    let file_name = format!("{name}_FILE");
    let file = environment.get(&file_name).filter(|path| !path.is_empty());
    match (direct, file) {
        (Some(_), Some(_)) => Err(ConfigError::Twice(name)),
        (Some(text), None) => Ok(Some(text.trim().to_owned())),
        (None, Some(path)) => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| ConfigError::SecretFile(file_name, PathBuf::from(path), error))?;
            Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty()))
        }
        (None, None) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Secrets, ConfigError> {
        let environment =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Secrets::read(&environment, Path::new("/var/lib/za"))
    }

    #[test]
    fn without_anything_database_and_archive_lie_in_the_data_directory() {
        let secrets = read(&[]).unwrap();
        assert_eq!(secrets.database_url.expose_secret(), "sqlite:/var/lib/za/zoom-archiver.db");
        assert_eq!(secrets.archive_url, "file:///var/lib/za/archive");
        assert!(secrets.webhook_secret_tokens.is_empty());
    }

    #[test]
    fn several_secret_tokens_are_separated_by_commas() {
        let secrets = read(&[("ZOOM_WEBHOOK_SECRET_TOKEN", "one, two,,")]).unwrap();
        let tokens: Vec<_> = secrets.webhook_secret_tokens.iter().map(|t| t.expose_secret()).collect();
        assert_eq!(tokens, ["one", "two"]);
    }

    #[test]
    fn a_secret_may_come_from_a_file_but_not_from_both() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "from-file\n").unwrap();
        let path = file.path().to_str().unwrap();
        let secrets = read(&[("ADMIN_TOKEN_FILE", path)]).unwrap();
        assert_eq!(secrets.admin_token.unwrap().expose_secret(), "from-file");
        let told = read(&[("ADMIN_TOKEN_FILE", path), ("ADMIN_TOKEN", "x")]).unwrap_err().to_string();
        assert!(told.contains("ADMIN_TOKEN and ADMIN_TOKEN_FILE"), "{told}");
        let told = read(&[("DATABASE_URL_FILE", "/no/such")]).unwrap_err().to_string();
        assert!(told.contains("DATABASE_URL_FILE") && told.contains("/no/such"), "{told}");
    }

    #[test]
    fn no_secret_is_in_debug_output_or_in_the_address_for_people() {
        let secrets = read(&[
            ("ZOOM_WEBHOOK_SECRET_TOKEN", "hush1"),
            ("ADMIN_TOKEN", "hush2"),
            ("DATABASE_URL", "postgres://me:hush3@db.example:5432/za?password=hush4"),
        ])
        .unwrap();
        let shown = format!("{secrets:?} {}", secrets.database_without_password());
        assert!(!shown.contains("hush"), "{shown}");
        assert!(shown.contains("postgres://db.example/za"), "{shown}");
    }
}
