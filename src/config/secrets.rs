//! What comes from the environment alone: secrets, and the addresses that hold them. Never in a file of
//! settings, never in `Debug`.

use std::path::{Path, PathBuf};

use secrecy::SecretString;

use super::load::{ConfigError, Environment};

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
        let tokens = value(environment, "ZOOM_WEBHOOK_SECRET_TOKEN")?.unwrap_or_default();
        let under = |name: &str| {
            std::path::absolute(data_dir.join(name))
                .map_err(|error| ConfigError::DataDir(data_dir.to_owned(), error))
        };
        let database_url = match value(environment, "DATABASE_URL")? {
            Some(url) => url,
            None => format!("sqlite:{}", under("zoom-archiver.db")?.display()),
        };
        let archive_url = match value(environment, "ARCHIVE_URL")? {
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
            admin_token: value(environment, "ADMIN_TOKEN")?.map(SecretString::from),
            data_dir: data_dir.to_owned(),
        })
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
