//! Which files are taken: rules over account, product, type, host, name, length and size. A file that is left out is
//! recorded all the same, with the rule that left it out.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use wildmatch::WildMatch;

use super::account::AccountNames;
use super::file::{FileRow, RecordingRow};
use super::recording::{AnnouncedFile, AnnouncedRecording, RecordingIdentity, RecordingKind};

/// Keys of a recording or a file that name a host or a user (Zoom's event references for Video SDK, Meetings and
/// Phone).
const USER_KEYS: &[&str] = &["host_id", "host_email", "user_id", "user_key", "participant_email"];

/// Longest text that a pattern is compared with, in bytes; of a longer one its beginning.
const MAX_MATCHED_BYTES: usize = 1024;

/// Types of files whose size says something: a transcript is short however long the recording is.
const SOUND_AND_VIDEO: &[&str] = &["MP4", "M4A", "MP3", "WAV"];

/// A pattern: `*` stands for anything, `?` for one character, and capital letters for small ones.
#[derive(Clone)]
pub struct Pattern {
    text: String,
    matcher: WildMatch,
}

/// As it was written.
impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

impl Pattern {
    /// Reads a pattern; every text is one.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self { text: text.to_owned(), matcher: WildMatch::new_case_insensitive(text) }
    }

    fn matches(&self, text: &str) -> bool {
        self.matcher.matches(text)
    }
}

/// One list of rules for each thing that can be asked of a file. A file matches a list when it matches one of its
/// entries.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Zoom's account id, or the name that the configuration gives to the account.
    pub accounts: Vec<Pattern>,
    /// The product.
    pub kinds: Vec<RecordingKind>,
    /// `file_type`, such as `MP4`.
    pub file_types: Vec<Pattern>,
    /// `recording_type`, such as `shared_screen_with_speaker_view`.
    pub recording_types: Vec<Pattern>,
    /// Id, e-mail address or key of the host, or of the user whose file it is.
    pub hosts: Vec<Pattern>,
    /// Topic of the meeting, or name of the session.
    pub names: Vec<Pattern>,
}

/// All rules. A file is taken when it matches every list of `include` that has entries and no list of `exclude`, and is
/// long and large enough. What nobody knows of a file leaves it out of an `include` list, and nowhere else.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// What is taken.
    pub include: Rules,
    /// What is not taken all the same.
    pub exclude: Rules,
    /// Shortest recording that is taken.
    pub min_duration: Duration,
    /// Smallest file of sound or video that is taken, in bytes.
    pub min_bytes: u64,
    /// What the accounts are called.
    pub names: AccountNames,
}

/// A file, with all that is known of it and of its recording: what the rules judge.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    identity: &'a RecordingIdentity,
    topic: Option<&'a str>,
    recording_metadata: &'a Map<String, Value>,
    file_type: &'a str,
    recording_type: &'a str,
    recording_start: Option<DateTime<Utc>>,
    bytes: Option<u64>,
    file_metadata: &'a Map<String, Value>,
}

impl<'a> Candidate<'a> {
    /// As one event or answer describes it.
    #[must_use]
    pub fn announced(recording: &'a AnnouncedRecording, file: &'a AnnouncedFile) -> Self {
        Self {
            identity: &recording.identity,
            topic: recording.topic.as_deref(),
            recording_metadata: &recording.metadata,
            file_type: &file.file_type,
            recording_type: &file.recording_type,
            recording_start: file.recording_start,
            bytes: file.announced_bytes,
            file_metadata: &file.metadata,
        }
    }

    /// As everything describes it that was ever said of it.
    #[must_use]
    pub fn known(recording: &'a RecordingRow, file: &'a FileRow) -> Self {
        Self {
            identity: &recording.identity,
            topic: recording.topic.as_deref(),
            recording_metadata: &recording.metadata,
            file_type: &file.file_type,
            recording_type: &file.recording_type,
            recording_start: file.recording_start,
            bytes: file.announced_bytes,
            file_metadata: &file.metadata,
        }
    }
}

/// What can be asked of a file, each with the name of its list.
struct Facts<'a> {
    accounts: Vec<&'a str>,
    kind: RecordingKind,
    file_type: &'a str,
    recording_type: &'a str,
    hosts: Vec<&'a str>,
    name: Option<&'a str>,
}

impl Filter {
    /// Whether there is any rule: without one, everything is taken.
    #[must_use]
    pub fn has_rules(&self) -> bool {
        let by_list = self.include.is_any() || self.exclude.is_any();
        by_list || !self.min_duration.is_zero() || self.min_bytes > 0
    }

    /// Tells these rules from others: the same word for the same rules, in every process.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let rules = format!("{:?}", (&self.include, &self.exclude, self.min_duration, self.min_bytes));
        let digest = Sha256::digest(rules.as_bytes());
        data_encoding::HEXLOWER.encode(&digest[..8])
    }

    /// Why a file is left out, naming the setting; `None` when it is taken.
    #[must_use]
    pub fn leaves_out(&self, file: &Candidate<'_>) -> Option<String> {
        let facts = Facts::of(file, &self.names);
        if let Some(list) = self.include.lists(&facts).find(|list| list.has_entries && !list.matches) {
            return Some(format!("left out by filters.include.{}, which does not name it", list.name));
        }
        if let Some(list) = self.exclude.lists(&facts).find(|list| list.matches) {
            return Some(format!("left out by filters.exclude.{}, which names it", list.name));
        }
        if duration(file).is_some_and(|duration| duration < self.min_duration) {
            return Some("left out by filters.min_duration_secs: it is shorter".to_owned());
        }
        let has_size = SOUND_AND_VIDEO.contains(&file.file_type);
        if has_size && file.bytes.is_some_and(|bytes| bytes < self.min_bytes) {
            return Some("left out by filters.min_bytes: it is smaller".to_owned());
        }
        None
    }
}

/// What one list says of one file.
struct Said {
    name: &'static str,
    has_entries: bool,
    matches: bool,
}

impl Rules {
    fn is_any(&self) -> bool {
        let lists = [&self.accounts, &self.file_types, &self.recording_types, &self.hosts, &self.names];
        !self.kinds.is_empty() || lists.iter().any(|list| !list.is_empty())
    }

    fn lists(&self, facts: &Facts<'_>) -> impl Iterator<Item = Said> {
        let kinds = Said {
            name: "kinds",
            has_entries: !self.kinds.is_empty(),
            matches: self.kinds.contains(&facts.kind),
        };
        let name: Vec<&str> = facts.name.into_iter().collect();
        let lists = [
            said("accounts", &self.accounts, &facts.accounts),
            kinds,
            said("file_types", &self.file_types, &[facts.file_type]),
            said("recording_types", &self.recording_types, &[facts.recording_type]),
            said("hosts", &self.hosts, &facts.hosts),
            said("names", &self.names, &name),
        ];
        lists.into_iter()
    }
}

fn said(name: &'static str, patterns: &[Pattern], texts: &[&str]) -> Said {
    let matches = patterns.iter().any(|pattern| texts.iter().any(|text| pattern.matches(text)));
    Said { name, has_entries: !patterns.is_empty(), matches }
}

impl<'a> Facts<'a> {
    fn of(file: &Candidate<'a>, names: &'a AccountNames) -> Self {
        let account_id = file.identity.account_id.as_str();
        let mut hosts = Vec::new();
        for metadata in [file.recording_metadata, file.file_metadata] {
            hosts.extend(USER_KEYS.iter().filter_map(|key| text(metadata, key)));
            // Whose call it was.
            let owner = metadata.get("owner").and_then(Value::as_object);
            hosts.extend(
                owner.into_iter().flat_map(|owner| [text(owner, "id"), text(owner, "name")]).flatten(),
            );
        }
        Self {
            accounts: [Some(account_id), names.given(account_id)].into_iter().flatten().collect(),
            kind: file.identity.kind,
            file_type: file.file_type,
            recording_type: file.recording_type,
            hosts,
            name: file.topic.map(|topic| &topic[..topic.floor_char_boundary(MAX_MATCHED_BYTES)]),
        }
    }
}

fn text<'a>(map: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    let text = map.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())?;
    // Patterns are matched in time that grows with the text.
    Some(&text[..text.floor_char_boundary(MAX_MATCHED_BYTES)])
}

/// How long a file is, from its beginning and end; else how long the recording is. Meetings and sessions say so in
/// minutes, calls in seconds (`duration`).
fn duration(file: &Candidate<'_>) -> Option<Duration> {
    let end = text(file.file_metadata, "recording_end").and_then(|text| text.parse::<DateTime<Utc>>().ok());
    if let (Some(start), Some(end)) = (file.recording_start, end)
        && let Ok(duration) = (end - start).to_std()
    {
        return Some(duration);
    }
    let unit = if file.identity.kind == RecordingKind::Phone { 1 } else { 60 };
    let number = file.recording_metadata.get("duration")?;
    let number = number.as_u64().or_else(|| number.as_str()?.trim().parse().ok())?;
    Some(Duration::from_secs(number.saturating_mul(unit)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::recording::FileIdentity;

    fn recording() -> AnnouncedRecording {
        AnnouncedRecording {
            identity: RecordingIdentity {
                account_id: "aCc1".to_owned(),
                kind: RecordingKind::Meeting,
                instance_id: "u==".to_owned(),
            },
            topic: Some("Board: Übersicht".to_owned()),
            start_time: None,
            metadata: json!({"host_email": "ada@example.com", "duration": 2}).as_object().unwrap().clone(),
        }
    }

    fn file() -> AnnouncedFile {
        AnnouncedFile {
            identity: FileIdentity { collection: "recording_files".to_owned(), name: "f".to_owned() },
            recording_type: "gallery_view".to_owned(),
            file_type: "MP4".to_owned(),
            extension: "mp4".to_owned(),
            recording_start: None,
            announced_bytes: Some(1000),
            download_url: None,
            download_token: None,
            token_expires_at: None,
            content: None,
            skip: None,
            metadata: json!({"user_key": "u-7"}).as_object().unwrap().clone(),
        }
    }

    fn patterns(texts: &[&str]) -> Vec<Pattern> {
        texts.iter().map(|text| Pattern::new(text)).collect()
    }

    fn verdict(change: impl FnOnce(&mut Filter)) -> Option<String> {
        let mut filter = Filter::default();
        change(&mut filter);
        filter.leaves_out(&Candidate::announced(&recording(), &file()))
    }

    #[test]
    fn without_rules_everything_is_taken() {
        assert_eq!(verdict(|_| {}), None);
        assert!(!Filter::default().has_rules());
    }

    #[test]
    fn rules_are_told_apart_by_what_they_say() {
        let naming = |text: &str| {
            let include = Rules { names: patterns(&[text]), ..Rules::default() };
            Filter { include, ..Filter::default() }
        };
        assert_eq!(naming("a*").fingerprint(), naming("a*").fingerprint());
        let all = [Filter::default(), naming("a*"), naming("b*"), Filter { min_bytes: 1, ..naming("a*") }];
        let told: std::collections::BTreeSet<_> = all.iter().map(Filter::fingerprint).collect();
        assert_eq!(told.len(), all.len());
    }

    #[test]
    fn every_list_takes_what_it_includes_and_leaves_out_what_it_does_not() {
        type List = fn(&mut Rules) -> &mut Vec<Pattern>;
        let lists: [(&str, &str, List); 6] = [
            ("accounts", "acc*", |rules| &mut rules.accounts),
            ("file_types", "mp4", |rules| &mut rules.file_types),
            ("recording_types", "*_view", |rules| &mut rules.recording_types),
            ("hosts", "*@EXAMPLE.com", |rules| &mut rules.hosts),
            ("hosts", "u-?", |rules| &mut rules.hosts),
            ("names", "board: ü*", |rules| &mut rules.names),
        ];
        for (name, pattern, list) in lists {
            let with = |texts: &[&str]| patterns(texts);
            assert_eq!(verdict(|filter| *list(&mut filter.include) = with(&["no", pattern])), None, "{name}");
            let told = verdict(|filter| *list(&mut filter.include) = with(&["no"])).unwrap();
            assert!(told.contains(&format!("filters.include.{name}")), "{told}");
            assert_eq!(verdict(|filter| *list(&mut filter.exclude) = with(&["no"])), None, "{name}");
            let told = verdict(|filter| *list(&mut filter.exclude) = with(&["no", pattern])).unwrap();
            assert!(told.contains(&format!("filters.exclude.{name}")), "{told}");
        }
    }

    #[test]
    fn an_account_is_known_by_its_id_and_by_its_name() {
        let names = AccountNames::new([("emea".to_owned(), "aCc1".to_owned())], false);
        for pattern in ["emea", "acc1"] {
            let include = Rules { accounts: patterns(&[pattern]), ..Rules::default() };
            let filter = Filter { include, names: names.clone(), ..Filter::default() };
            assert_eq!(filter.leaves_out(&Candidate::announced(&recording(), &file())), None, "{pattern}");
        }
    }

    #[test]
    fn products_are_told_apart() {
        assert_eq!(verdict(|filter| filter.include.kinds = vec![RecordingKind::Meeting]), None);
        let told = verdict(|filter| filter.include.kinds = vec![RecordingKind::Webinar]).unwrap();
        assert!(told.contains("filters.include.kinds"), "{told}");
        let told = verdict(|filter| filter.exclude.kinds = vec![RecordingKind::Meeting]).unwrap();
        assert!(told.contains("filters.exclude.kinds"), "{told}");
    }

    #[test]
    fn what_is_included_may_be_excluded_all_the_same() {
        let told = verdict(|filter| {
            filter.include.file_types = patterns(&["*"]);
            filter.exclude.names = patterns(&["Board*"]);
        });
        assert!(told.unwrap().contains("filters.exclude.names"));
    }

    #[test]
    fn what_is_unknown_is_in_no_list() {
        let nameless = AnnouncedRecording { topic: None, ..recording() };
        let all = Rules { names: patterns(&["*"]), ..Rules::default() };
        let included = Filter { include: all.clone(), ..Filter::default() };
        assert!(included.leaves_out(&Candidate::announced(&nameless, &file())).is_some());
        let excluded = Filter { exclude: all, ..Filter::default() };
        assert_eq!(excluded.leaves_out(&Candidate::announced(&nameless, &file())), None);
    }

    #[test]
    fn short_recordings_are_left_out_by_their_own_times_or_by_those_of_the_meeting() {
        let at_least = |secs| Filter { min_duration: Duration::from_secs(secs), ..Filter::default() };
        assert_eq!(at_least(120).leaves_out(&Candidate::announced(&recording(), &file())), None);
        assert!(
            at_least(121)
                .leaves_out(&Candidate::announced(&recording(), &file()))
                .unwrap()
                .contains("min_duration_secs")
        );
        let mut timed = file();
        timed.recording_start = "2026-01-02T03:04:05Z".parse().ok();
        timed.metadata.insert("recording_end".to_owned(), json!("2026-01-02T03:04:35Z"));
        assert_eq!(at_least(30).leaves_out(&Candidate::announced(&recording(), &timed)), None);
        assert!(at_least(31).leaves_out(&Candidate::announced(&recording(), &timed)).is_some());
        let untimed = AnnouncedRecording { metadata: Map::new(), ..recording() };
        assert_eq!(at_least(3600).leaves_out(&Candidate::announced(&untimed, &file())), None);
    }

    #[test]
    fn small_files_are_left_out_when_they_are_sound_or_video_and_the_size_is_known() {
        let filter = Filter { min_bytes: 1001, ..Filter::default() };
        assert!(
            filter.leaves_out(&Candidate::announced(&recording(), &file())).unwrap().contains("min_bytes")
        );
        let text = AnnouncedFile { file_type: "TRANSCRIPT".to_owned(), ..file() };
        assert_eq!(filter.leaves_out(&Candidate::announced(&recording(), &text)), None);
        assert_eq!(
            filter.leaves_out(&Candidate::announced(
                &recording(),
                &AnnouncedFile { announced_bytes: None, ..file() }
            )),
            None
        );
    }
}
