//! How settings come together: the embedded default file, under the user's file, under the environment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::{Config, Problem, secrets};

/// The reference file, as compiled in.
pub const DEFAULT_TOML: &str = include_str!("../../config/default.toml");

/// Prefix of the variables that set keys.
const PREFIX: &str = "ZOOM_ARCHIVER_";

/// Variables with that prefix that are no keys: read by the command line.
const NOT_KEYS: &[&str] = &["ZOOM_ARCHIVER_DATA_DIR", "ZOOM_ARCHIVER_CONFIG"];

/// The keys that hold secrets: lists of sections, each with the word for one of them.
const HOLD_SECRETS: [(&str, &str); 2] = [("zoom.accounts", "accounts"), ("notify.targets", "targets")];

/// The environment as it was when the program started.
pub type Environment = BTreeMap<String, String>;

/// The environment of this process. Variables that are not Unicode are nobody's settings, but for ours.
///
/// # Errors
/// Names a variable of ours that is not Unicode.
pub fn environment() -> Result<Environment, ConfigError> {
    let mut environment = Environment::new();
    for (name, text) in std::env::vars_os() {
        let Ok(name) = name.into_string() else { continue };
        match text.into_string() {
            Ok(text) => drop(environment.insert(name, text)),
            Err(_) if name.starts_with(PREFIX) || secrets::is_name(&name) => {
                return Err(ConfigError::NotUnicode(name));
            }
            Err(_) => {}
        }
    }
    Ok(environment)
}

/// Why the settings cannot be used. Each message names the key, the variable or the file.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The user's file cannot be read.
    #[error("cannot read {0}: {1}")]
    File(PathBuf, std::io::Error),
    /// The user's file is no TOML.
    #[error("{0}: {1}")]
    Syntax(PathBuf, String),
    /// A key that does not exist.
    #[error("{origin}: unknown key `{key}`{hint}; `config show --default` lists all keys")]
    UnknownKey {
        /// The file or the variable it came from.
        origin: String,
        /// The key as understood.
        key: String,
        /// The nearest known key, in words.
        hint: String,
    },
    /// A value of the wrong kind.
    #[error("{origin}: `{key}` must be {expected}, not `{found}`")]
    WrongType {
        /// The file or the variable it came from.
        origin: String,
        /// The key.
        key: String,
        /// What it must be.
        expected: &'static str,
        /// What was found.
        found: String,
    },
    /// A value that its section cannot read.
    #[error("{0}")]
    Value(String),
    /// Values that make no sense.
    #[error("{}", list(.0))]
    Problems(Vec<Problem>),
    /// A secret given both directly and by file.
    #[error("{0} and {0}_FILE are both set; set one of them")]
    Twice(&'static str),
    /// A value with the quotation marks around it that a shell would have taken away.
    #[error("{0}: the value stands within quotation marks; leave them out, they would be part of it")]
    Quoted(String),
    /// A secret's file cannot be read.
    #[error("{0}: cannot read {1}: {2}")]
    SecretFile(String, PathBuf, std::io::Error),
    /// Credentials of which a part is missing.
    #[error("not set: {}; {} count only together, set all of them or none", .missing.join(", "), .names.join(", "))]
    Incomplete {
        /// The variables that are not set.
        missing: Vec<&'static str>,
        /// All that belong together.
        names: Vec<&'static str>,
    },
    /// One account with two names.
    #[error(
        "zoom.accounts: `{name}`: its account_id is that of {variable} in the environment, too; put all secrets of the \
         account into its section, or take the section away"
    )]
    AccountTwice {
        /// The section's name.
        name: String,
        /// The variable.
        variable: &'static str,
    },
    /// A variable that is no text.
    #[error("{0} is not Unicode")]
    NotUnicode(String),
    /// The data directory has no absolute path.
    #[error("data directory {0}: {1}")]
    DataDir(PathBuf, std::io::Error),
}

fn list(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// Puts the settings together and checks them.
///
/// # Errors
/// Names the key, the file or the variable that is wrong.
pub fn load(file: Option<&Path>, environment: &Environment) -> Result<Config, ConfigError> {
    let mut table = default_table();
    if let Some(path) = file {
        let text =
            std::fs::read_to_string(path).map_err(|error| ConfigError::File(path.to_owned(), error))?;
        let user: Table = text.parse().map_err(|error: toml::de::Error| {
            ConfigError::Syntax(path.to_owned(), in_words(&error, &text))
        })?;
        merge(&mut table, user, "", &path.display().to_string())?;
    }
    for (name, text) in environment {
        if let Some(key) = name.strip_prefix(PREFIX)
            && !NOT_KEYS.contains(&name.as_str())
            && !is_service_link(key)
        {
            set_from_text(&mut table, name, key, text)?;
        }
    }
    let config: Config =
        table.try_into().map_err(|error: toml::de::Error| ConfigError::Value(without_values(&error)))?;
    match config.check() {
        problems if problems.is_empty() => Ok(config),
        problems => Err(ConfigError::Problems(problems)),
    }
}

/// Whether a variable is one of those that Kubernetes sets for a Service by the name of `zoom-archiver`, or one that begins so
/// (Kubernetes documentation, "Service": environment variables). A key of ours holds `__` between section and name.
fn is_service_link(key: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let words: Vec<&str> = key.split('_').collect();
    !key.contains("__")
        && match words.as_slice() {
            [.., "PORT"] | [.., "SERVICE", "HOST"] => true,
            [.., "PORT", number, "TCP" | "UDP" | "SCTP"]
            | [.., "PORT", number, "TCP" | "UDP" | "SCTP", "PROTO" | "ADDR"] => is_number(number),
            words => words.windows(2).any(|pair| pair == ["SERVICE", "PORT"]),
        }
}

#[allow(clippy::expect_used, reason = "a test parses the same embedded file")]
fn default_table() -> Table {
    DEFAULT_TOML.parse().expect("config/default.toml is valid TOML")
}

/// Lays `over` over `base`, whose keys are the known ones.
fn merge(base: &mut Table, over: Table, path: &str, origin: &str) -> Result<(), ConfigError> {
    for (name, value) in over {
        let key = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match (base.get_mut(&name), value) {
            (Some(Value::Table(inner)), Value::Table(value)) => merge(inner, value, &key, origin)?,
            (Some(known), value) if known.same_type(&value) => *known = value,
            (Some(known), value) => {
                let holds_secrets = HOLD_SECRETS.iter().any(|(holder, _)| key == *holder);
                let found = if holds_secrets { describe(&value).to_owned() } else { shown(&value) };
                return Err(ConfigError::WrongType {
                    origin: origin.to_owned(),
                    key,
                    expected: describe(known),
                    found,
                });
            }
            (None, _) => return Err(unknown(key, origin)),
        }
    }
    Ok(())
}

/// Sets the key that a variable names: `SECTION__KEY`, read by the type of its default.
fn set_from_text(table: &mut Table, variable: &str, name: &str, text: &str) -> Result<(), ConfigError> {
    let path = name.to_lowercase().replace("__", ".");
    if let Some((key, all)) = HOLD_SECRETS.iter().find(|(key, _)| path == *key) {
        let words = format!("{variable}: {all} are named in a file of settings, each as [[{key}]]");
        return Err(ConfigError::Value(words));
    }
    let mut parts: Vec<&str> = path.split('.').collect();
    let last = parts.pop().unwrap_or_default();
    let mut section = table;
    for part in parts {
        section = match section.get_mut(part) {
            Some(Value::Table(inner)) => inner,
            _ => return Err(unknown(path.clone(), variable)),
        };
    }
    let known = match section.get_mut(last) {
        Some(known) if !known.is_table() => known,
        _ => return Err(unknown(path.clone(), variable)),
    };
    let wrong = |known: &Value| ConfigError::WrongType {
        origin: variable.to_owned(),
        key: path.clone(),
        expected: describe(known),
        found: text.to_owned(),
    };
    *known = match known {
        Value::String(_) => Value::String(text.to_owned()),
        Value::Integer(_) => Value::Integer(text.trim().parse().map_err(|_| wrong(known))?),
        Value::Boolean(_) => Value::Boolean(text.trim().parse().map_err(|_| wrong(known))?),
        Value::Array(_) => Value::Array(
            text.split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .map(|item| Value::String(item.to_owned()))
                .collect(),
        ),
        Value::Float(_) | Value::Datetime(_) | Value::Table(_) => return Err(wrong(known)),
    };
    Ok(())
}

/// What is wrong with a file, and where, without the line itself: it may hold a secret.
fn in_words(error: &toml::de::Error, text: &str) -> String {
    let line = |at: usize| text[..text.floor_char_boundary(at)].matches('\n').count() + 1;
    match error.span() {
        Some(span) => format!("line {}: {}", line(span.start), error.message()),
        None => error.message().to_owned(),
    }
}

/// What is wrong with a value. Where it may be a secret it is not repeated.
fn without_values(error: &toml::de::Error) -> String {
    let told = error.to_string();
    let Some((key, _)) = HOLD_SECRETS.iter().find(|(_, all)| told.contains(all)) else { return told };
    let message = error.message();
    let words = if message.starts_with("invalid type") { "each must be a section" } else { message };
    format!("{key}: {words}; write each as [[{key}]]")
}

/// A value of the wrong kind; a list or a section is not repeated: it may hold secrets.
fn shown(value: &Value) -> String {
    match value {
        Value::Array(_) | Value::Table(_) => describe(value).to_owned(),
        value => value.to_string(),
    }
}

fn describe(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a text",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a time",
        Value::Array(_) => "a list",
        Value::Table(_) => "a section",
    }
}

fn unknown(key: String, origin: &str) -> ConfigError {
    let known = known_keys(&default_table(), "");
    let hint = known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(candidate, &key), candidate))
        .min()
        .filter(|(distance, _)| *distance <= 3)
        .map(|(_, candidate)| format!(" (did you mean `{candidate}`?)"))
        .unwrap_or_default();
    ConfigError::UnknownKey { origin: origin.to_owned(), key, hint }
}

/// Every key of a table, dotted.
fn known_keys(table: &Table, path: &str) -> Vec<String> {
    table
        .iter()
        .flat_map(|(name, value)| {
            let key = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            match value {
                Value::Table(inner) => known_keys(inner, &key),
                _ => vec![key],
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn the_reference_holds_every_key_and_every_default_makes_sense() {
        let config = load(None, &Environment::new()).unwrap();
        // A key of the code that is missing from the reference fails above; a key of the reference that the
        // code does not know is refused by serde; so both know the same keys.
        let shown: Table = toml::to_string(&config).unwrap().parse().unwrap();
        assert_eq!(known_keys(&shown, ""), known_keys(&default_table(), ""));
    }

    #[test]
    fn every_key_of_the_reference_is_explained() {
        let mut explained = false;
        for line in DEFAULT_TOML.lines() {
            match line.trim() {
                "" => explained = false,
                comment if comment.starts_with('#') => explained = true,
                section if section.starts_with('[') => {}
                key => assert!(explained, "{key} has no comment above it"),
            }
        }
    }

    #[test]
    fn a_file_goes_over_the_defaults_and_the_environment_over_both() {
        let file = file("[worker]\nconcurrency = 3\nlease_secs = 9\n");
        let environment = environment(&[("ZOOM_ARCHIVER_WORKER__LEASE_SECS", "10")]);
        let config = load(Some(file.path()), &environment).unwrap();
        assert_eq!((config.worker.concurrency, config.worker.lease_secs), (3, 10));
    }

    #[test]
    fn nested_sections_and_lists_can_be_set_by_the_environment() {
        let environment = environment(&[
            ("ZOOM_ARCHIVER_ARCHIVE__S3__CHECKSUM", "none"),
            ("ZOOM_ARCHIVER_ZOOM__DOWNLOAD_HOSTS", "cdn.example.com, http://127.0.0.1:9000"),
        ]);
        let config = load(None, &environment).unwrap();
        assert_eq!(config.archive.s3.checksum, crate::config::archive::ChecksumMode::None);
        assert_eq!(config.zoom.download_hosts, ["cdn.example.com", "http://127.0.0.1:9000"]);
    }

    #[test]
    fn an_unknown_key_is_refused_by_name_with_the_nearest_known_one() {
        let file = file("[worker]\nconcurency = 3\n");
        let told = load(Some(file.path()), &Environment::new()).unwrap_err().to_string();
        assert!(told.contains("`worker.concurency`"), "{told}");
        assert!(told.contains("did you mean `worker.concurrency`"), "{told}");
        let environment = environment(&[("ZOOM_ARCHIVER_WORKER__NONSENSE", "1")]);
        let told = load(None, &environment).unwrap_err().to_string();
        assert!(
            told.contains("ZOOM_ARCHIVER_WORKER__NONSENSE") && told.contains("`worker.nonsense`"),
            "{told}"
        );
    }

    #[test]
    fn what_kubernetes_sets_for_a_service_of_our_name_is_no_key_and_a_mistyped_key_is_refused() {
        let links = [
            ("ZOOM_ARCHIVER_SERVICE_HOST", "10.0.0.1"),
            ("ZOOM_ARCHIVER_SERVICE_PORT", "80"),
            ("ZOOM_ARCHIVER_SERVICE_PORT_HTTP", "80"),
            ("ZOOM_ARCHIVER_ADMIN_SERVICE_HOST", "10.0.0.2"),
            ("ZOOM_ARCHIVER_PORT", "tcp://10.0.0.1:80"),
            ("ZOOM_ARCHIVER_PORT_80_TCP", "tcp://10.0.0.1:80"),
            ("ZOOM_ARCHIVER_PORT_80_TCP_PROTO", "tcp"),
            ("ZOOM_ARCHIVER_PORT_80_TCP_PORT", "80"),
            ("ZOOM_ARCHIVER_ADMIN_PORT_8081_TCP_ADDR", "10.0.0.2"),
        ];
        load(None, &environment(&links)).unwrap();
        for name in
            ["ZOOM_ARCHIVER_HTTP_LISTEN", "ZOOM_ARCHIVER_WORKER__SERVICE_HOST", "ZOOM_ARCHIVER_PORT_X_TCP"]
        {
            assert!(load(None, &environment(&[(name, "1")])).is_err(), "{name}");
        }
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_refused_by_key() {
        let environment = environment(&[("ZOOM_ARCHIVER_WORKER__CONCURRENCY", "many")]);
        let told = load(None, &environment).unwrap_err().to_string();
        assert!(told.contains("`worker.concurrency` must be a whole number, not `many`"), "{told}");
        let file = file("[http]\nlisten = 80\n");
        let told = load(Some(file.path()), &Environment::new()).unwrap_err().to_string();
        assert!(told.contains("`http.listen` must be a text"), "{told}");
    }

    #[test]
    fn all_senseless_values_are_told_at_once() {
        let environment = environment(&[
            ("ZOOM_ARCHIVER_WORKER__CONCURRENCY", "0"),
            ("ZOOM_ARCHIVER_TRANSFER__PART_BYTES", "1"),
            ("ZOOM_ARCHIVER_ARCHIVE__KEY_TEMPLATE", "{topic}/{file}"),
            ("ZOOM_ARCHIVER_ZOOM__DOWNLOAD_HOSTS", "http://x/y"),
        ]);
        let told = load(None, &environment).unwrap_err().to_string();
        for key in
            ["worker.concurrency", "transfer.part_bytes", "archive.key_template", "zoom.download_hosts"]
        {
            assert!(told.contains(key), "{key} is missing in: {told}");
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let told = load(Some(Path::new("/no/such.toml")), &Environment::new()).unwrap_err().to_string();
        assert!(told.contains("/no/such.toml"), "{told}");
    }

    #[test]
    fn an_address_of_zooms_that_is_no_url_is_refused_by_key() {
        let told = load(None, &environment(&[("ZOOM_ARCHIVER_ZOOM__API_BASE_URL", "zoom")])).unwrap_err();
        assert!(told.to_string().contains("api_base_url"), "{told}");
    }

    #[test]
    fn a_number_beyond_all_sense_is_refused_by_name_instead_of_a_panic_later() {
        for (section, key) in [
            ("HTTP", "MAX_CONNECTIONS"),
            ("HTTP", "MAX_IN_FLIGHT"),
            ("HTTP", "MAX_BODY_MEMORY_BYTES"),
            ("WORKER", "LEASE_SECS"),
            ("TRANSFER", "STALL_SECS"),
        ] {
            let variable = format!("ZOOM_ARCHIVER_{section}__{key}");
            let told = load(None, &environment(&[(&variable, "9223372036854775807")])).unwrap_err();
            let name = format!("{section}.{key}: is 9223372036854775807").to_lowercase();
            assert!(told.to_string().contains(&name), "{told}");
        }
    }
}
