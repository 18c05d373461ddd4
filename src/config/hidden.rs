//! Secrets that stand in a file of settings, or in a file of their own that the settings name.

use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::load::ConfigError;

/// A text that is in no output.
#[derive(Debug, Clone)]
pub(super) struct Hidden(SecretString);

impl<'de> Deserialize<'de> for Hidden {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match toml::Value::deserialize(deserializer)? {
            toml::Value::String(text) => Ok(Self(text.into())),
            // Its value is not repeated.
            _ => Err(D::Error::custom("a secret must be a text")),
        }
    }
}

/// Reads a secret in one of its two forms; `key` is what an error calls it.
pub(super) fn read(
    key: &str,
    text: Option<&Hidden>,
    file: Option<&PathBuf>,
) -> Result<Option<SecretString>, ConfigError> {
    let text = match (text, file) {
        (Some(Hidden(text)), _) => text.expose_secret().trim().to_owned(),
        (None, Some(path)) => std::fs::read_to_string(path)
            .map_err(|error| ConfigError::SecretFile(format!("{key}_file"), path.clone(), error))?
            .trim()
            .to_owned(),
        (None, None) => return Ok(None),
    };
    if text.is_empty() {
        return Err(ConfigError::Value(format!("{key} is empty")));
    }
    Ok(Some(text.into()))
}
