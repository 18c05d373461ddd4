//! `[filters]`: which files are taken.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Problems;
use crate::domain::account::AccountNames;
use crate::domain::filter::{Filter, Pattern, Rules};
use crate::domain::recording::RecordingKind;

/// See `config/default.toml`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FiltersConfig {
    /// Shortest recording that is taken, in seconds.
    pub min_duration_secs: u64,
    /// Smallest file of sound or video that is taken, in bytes.
    pub min_bytes: u64,
    /// What is taken; everything where a list is empty.
    pub include: RulesConfig,
    /// What is not taken all the same.
    pub exclude: RulesConfig,
}

/// Lists of patterns.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RulesConfig {
    /// Zoom's account ids, or names of accounts.
    pub accounts: Vec<String>,
    /// Products.
    pub kinds: Vec<String>,
    /// Types of files.
    pub file_types: Vec<String>,
    /// Types of recordings.
    pub recording_types: Vec<String>,
    /// Hosts and users.
    pub hosts: Vec<String>,
    /// Topics.
    pub names: Vec<String>,
}

impl FiltersConfig {
    /// The rules, compiled, for accounts of these names. Kinds that do not exist have been refused by the check.
    #[must_use]
    pub fn filter(&self, names: AccountNames) -> Filter {
        Filter {
            include: self.include.rules(),
            exclude: self.exclude.rules(),
            min_duration: Duration::from_secs(self.min_duration_secs),
            min_bytes: self.min_bytes,
            names,
        }
    }

    pub(super) fn check(&self, problems: &mut Problems) {
        let lists = [
            ("filters.include.accounts", &self.include.accounts),
            ("filters.include.file_types", &self.include.file_types),
            ("filters.include.recording_types", &self.include.recording_types),
            ("filters.include.hosts", &self.include.hosts),
            ("filters.include.names", &self.include.names),
            ("filters.exclude.accounts", &self.exclude.accounts),
            ("filters.exclude.file_types", &self.exclude.file_types),
            ("filters.exclude.recording_types", &self.exclude.recording_types),
            ("filters.exclude.hosts", &self.exclude.hosts),
            ("filters.exclude.names", &self.exclude.names),
        ];
        for (key, _) in lists.iter().filter(|(_, list)| list.iter().any(|text| text.trim().is_empty())) {
            problems.add(key, "has an empty pattern, which nothing matches");
        }
        for (key, kinds) in
            [("filters.include.kinds", &self.include.kinds), ("filters.exclude.kinds", &self.exclude.kinds)]
        {
            for kind in kinds.iter().filter(|kind| kind.parse::<RecordingKind>().is_err()) {
                let known = RecordingKind::ALL.map(RecordingKind::as_str).join(", ");
                problems.add(key, format!("`{kind}` is no product; there are {known}"));
            }
        }
    }
}

impl RulesConfig {
    fn rules(&self) -> Rules {
        let patterns = |texts: &[String]| texts.iter().map(|text| Pattern::new(text.trim())).collect();
        Rules {
            accounts: patterns(&self.accounts),
            kinds: self.kinds.iter().filter_map(|kind| kind.parse().ok()).collect(),
            file_types: patterns(&self.file_types),
            recording_types: patterns(&self.recording_types),
            hosts: patterns(&self.hosts),
            names: patterns(&self.names),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::load::{Environment, load};

    fn told(key: &str, value: &str) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (section, key) = key.rsplit_once('.').unwrap();
        std::fs::write(file.path(), format!("[{section}]\n{key} = {value}\n")).unwrap();
        load(Some(file.path()), &Environment::new()).map_or_else(|error| error.to_string(), |_| String::new())
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_key() {
        assert_eq!(told("filters.include.kinds", r#"["video_sdk", "phone"]"#), "");
        let refused = told("filters.exclude.kinds", r#"["meetings"]"#);
        assert!(refused.contains("filters.exclude.kinds: `meetings`"), "{refused}");
        assert!(refused.contains("webinar"), "{refused}");
        let refused = told("filters.exclude.names", r#"["a", " "]"#);
        assert!(refused.contains("filters.exclude.names"), "{refused}");
        let refused = told("filters.exclude.name", r#"["a"]"#);
        assert!(refused.contains("filters.exclude.name") && refused.contains("did you mean"), "{refused}");
        assert!(told("filters.min_bytes", "-1").contains("min_bytes"));
    }
}
