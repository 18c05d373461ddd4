//! `[after_archive]`: what becomes of a recording at Zoom once it is archived.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Problems;

/// Longest wait that makes sense, in hours: ten years.
const MOST_WAIT_HOURS: u64 = 87_840;

/// What is done at Zoom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AtZoom {
    /// Nothing.
    Keep,
    /// Moved to the trash, from which it can be recovered for thirty days.
    Trash,
    /// Deleted for good.
    Delete,
}

/// See `config/default.toml`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AfterArchiveConfig {
    /// What is done.
    pub at_zoom: AtZoom,
    /// Hours between the last file's arrival in the archive and that.
    pub wait_hours: u32,
    /// Accounts that it is done in, by name or Zoom's id; all when empty.
    pub accounts: Vec<String>,
    /// Types of files that it is done to; all when empty.
    pub file_types: Vec<String>,
    /// Types of files that stay at Zoom all the same.
    pub keep_file_types: Vec<String>,
}

impl AfterArchiveConfig {
    /// The wait.
    #[must_use]
    pub fn wait(&self) -> Duration {
        Duration::from_secs(u64::from(self.wait_hours) * 3600)
    }

    /// Whether anything is done in an account, known by this name and by Zoom's id.
    #[must_use]
    pub fn is_for(&self, name: &str, account_id: &str) -> bool {
        let is_meant = |account: &String| account == name || account == account_id;
        self.at_zoom != AtZoom::Keep && (self.accounts.is_empty() || self.accounts.iter().any(is_meant))
    }

    /// Whether a file of this type is removed.
    #[must_use]
    pub fn removes(&self, file_type: &str) -> bool {
        let names = |list: &[String]| list.iter().any(|word| word == file_type);
        (self.file_types.is_empty() || names(&self.file_types)) && !names(&self.keep_file_types)
    }

    pub(super) fn check(&self, problems: &mut Problems) {
        problems.at_most("after_archive.wait_hours", self.wait_hours.into(), MOST_WAIT_HOURS);
        super::check_file_types("after_archive.file_types", &self.file_types, problems);
        super::check_file_types("after_archive.keep_file_types", &self.keep_file_types, problems);
        if self.accounts.iter().any(String::is_empty) {
            problems.add("after_archive.accounts", "has an empty name");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load::{Environment, load};

    fn config(pairs: &[(&str, &str)]) -> Result<AfterArchiveConfig, String> {
        let name = |key: &str| format!("ZOOM_ARCHIVER_AFTER_ARCHIVE__{key}");
        let environment = pairs.iter().map(|(key, value)| (name(key), (*value).to_owned()));
        let config = load(None, &environment.collect::<Environment>()).map_err(|error| error.to_string())?;
        Ok(config.after_archive)
    }

    #[test]
    fn nothing_is_done_unless_it_is_asked_for() {
        let default = config(&[]).unwrap();
        assert_eq!(default.at_zoom, AtZoom::Keep);
        assert!(!default.is_for("default", "id"));
    }

    #[test]
    fn accounts_and_types_narrow_what_is_done() {
        let all = config(&[("AT_ZOOM", "trash")]).unwrap();
        assert!(all.is_for("default", "id") && all.removes("MP4") && all.removes(""));
        let some = [("AT_ZOOM", "trash"), ("ACCOUNTS", "emea,id2"), ("FILE_TYPES", "MP4,M4A")];
        let some = config(&[&some[..], &[("KEEP_FILE_TYPES", "M4A")]].concat()).unwrap();
        assert!(some.is_for("emea", "id1") && some.is_for("default", "id2") && !some.is_for("default", "id"));
        assert!(some.removes("MP4") && !some.removes("M4A") && !some.removes("CHAT"));
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_key() {
        for (key, value) in
            [("AT_ZOOM", "burn"), ("WAIT_HOURS", "87841"), ("FILE_TYPES", "mp4"), ("KEEP_FILE_TYPES", "A-B")]
        {
            let told = config(&[(key, value)]).unwrap_err();
            let key = if key == "AT_ZOOM" { "at_zoom".to_owned() } else { key.to_lowercase() };
            assert!(told.contains(&key) || told.contains("burn"), "{told}");
        }
    }
}
