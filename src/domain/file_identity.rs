//! What makes a file the same file within its recording, in whatever words Zoom speaks of it.
//!
//! Where Zoom gives an `id`, the list that the file stands in and that id identify it, and nothing else does. Where it gives
//! none (documented for TIMELINE and CC), file type and start stand in for the id. The same file may be described with an id
//! in one place and without one in another: [`resolve`] tells which descriptions are about one file.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use super::file::FileRow;
use super::recording::AnnouncedFile;

/// What makes a file the same file within its recording.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FileIdentity {
    /// The array it stood in, such as `recording_files` or `participant_audio_files`: the same id may
    /// stand in two of them.
    pub collection: String,
    /// Zoom's `id`; where there is none, see [`stand_in`].
    pub name: String,
}

/// What stands in the name of a row that holds a second archived object of one file. Nothing is announced under such a name.
const DUPLICATE: &str = " (duplicate ";

impl FileIdentity {
    /// The identity of a row that holds another archived object of the same file; with 0 that of the file itself.
    #[must_use]
    pub fn duplicate(&self, number: usize) -> Self {
        let Self { collection, name } = self.clone();
        Self { collection, name: if number == 0 { name } else { format!("{name}{DUPLICATE}{number})") } }
    }
}

/// The name of a file without an id: its type and its start, in UTC and whole seconds, however Zoom writes that time.
#[must_use]
pub fn stand_in(file_type: &str, start: DateTime<Utc>) -> String {
    format!("{file_type}@{}", start.to_rfc3339_opts(SecondsFormat::Secs, true))
}

/// Whether a name is none that Zoom gave: see [`stand_in`].
#[must_use]
pub fn lacks_id(name: &str, file_type: &str) -> bool {
    !file_type.is_empty() && name.strip_prefix(file_type).is_some_and(|rest| rest.starts_with('@'))
}

/// A file as an event, an API answer or a row describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The identity that it has by itself.
    pub identity: FileIdentity,
    /// Whether that is an id of Zoom's.
    pub has_id: bool,
    /// The name that it would have without an id; `None` when type or start is unknown.
    stand_in: Option<String>,
}

impl Description {
    /// A description of a file of this type that began then.
    #[must_use]
    pub fn new(identity: &FileIdentity, file_type: &str, start: Option<DateTime<Utc>>) -> Self {
        let is_duplicate = identity.name.contains(DUPLICATE);
        let start = start.filter(|_| !file_type.is_empty() && !is_duplicate);
        let has_id = !lacks_id(&identity.name, file_type);
        let stand_in = match has_id {
            true => start.map(|start| stand_in(file_type, start)),
            false => Some(identity.name.clone()),
        };
        Self { identity: identity.clone(), has_id, stand_in }
    }

    /// What descriptions of one file agree in, with an id or without.
    fn likeness(&self) -> Option<(&str, &str)> {
        Some((&self.identity.collection, self.stand_in.as_deref()?))
    }
}

impl From<&AnnouncedFile> for Description {
    fn from(file: &AnnouncedFile) -> Self {
        Self::new(&file.identity, &file.file_type, file.recording_start)
    }
}

impl From<&FileRow> for Description {
    fn from(row: &FileRow) -> Self {
        Self::new(&row.identity, &row.file_type, row.recording_start)
    }
}

/// Which announced files are known, and by what identity.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Resolution {
    /// The identity of each announced file, in their order.
    pub identities: Vec<FileIdentity>,
    /// Known files, by their place, that were known without an id and have one now.
    pub renamed: BTreeMap<usize, FileIdentity>,
}

/// Finds the files that two descriptions are about, one with an id and one without. Only where there is no more than one
/// file with an id that it can be: where several began at once, nothing says which of them is meant, and a description
/// without an id is of a file of its own.
#[must_use]
pub fn resolve(announced: &[Description], known: &[Description]) -> Resolution {
    let exactly: BTreeSet<&FileIdentity> = known.iter().map(|file| &file.identity).collect();
    let (announced_ids, known_ids) = (with_ids(announced), with_ids(known));
    let unnamed = without_ids(known);
    let mut resolution = Resolution::default();
    for file in announced {
        let likeness = file.likeness();
        let announced_alike = likeness.and_then(|likeness| announced_ids.get(&likeness)).copied();
        let known_alike = likeness.and_then(|likeness| known_ids.get(&likeness)).copied();
        let only = match (announced_alike, known_alike) {
            (Some(one), Some(other)) if one == other => one.only(),
            (Some(one), None) | (None, Some(one)) => one.only(),
            _ => None,
        };
        let identity = only.unwrap_or(&file.identity).clone();
        // The file was known without an id, and this is what its id is.
        let is_named = only.is_some() && known_alike.is_none() && !exactly.contains(&identity);
        if let Some(&place) = likeness.filter(|_| is_named).and_then(|likeness| unnamed.get(&likeness)) {
            resolution.renamed.insert(place, identity.clone());
        }
        resolution.identities.push(if file.has_id { file.identity.clone() } else { identity });
    }
    resolution
}

/// Files with an id that one description without an id may be about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alike<'a> {
    One(&'a FileIdentity),
    Several,
}

impl<'a> Alike<'a> {
    fn only(self) -> Option<&'a FileIdentity> {
        match self {
            Self::One(only) => Some(only),
            Self::Several => None,
        }
    }
}

/// The files with an id, by what they have in common with a description that has none.
fn with_ids(files: &[Description]) -> BTreeMap<(&str, &str), Alike<'_>> {
    let mut found = BTreeMap::new();
    for file in files.iter().filter(|file| file.has_id) {
        if let Some(likeness) = file.likeness() {
            let alike = found.entry(likeness).or_insert(Alike::One(&file.identity));
            if *alike != Alike::One(&file.identity) {
                *alike = Alike::Several;
            }
        }
    }
    found
}

/// The first place of each description without an id, by what it has in common with the files that have one.
fn without_ids(files: &[Description]) -> BTreeMap<(&str, &str), usize> {
    let mut found = BTreeMap::new();
    for (place, file) in files.iter().enumerate().filter(|(_, file)| !file.has_id) {
        if let Some(likeness) = file.likeness() {
            found.entry(likeness).or_insert(place);
        }
    }
    found
}

/// The row of each announced file, in their order; `None` for a file that has none.
#[must_use]
pub fn rows_of<'a>(announced: &[AnnouncedFile], rows: &'a [FileRow]) -> Vec<Option<&'a FileRow>> {
    let announced: Vec<_> = announced.iter().map(Description::from).collect();
    let known: Vec<_> = rows.iter().map(Description::from).collect();
    let Resolution { identities, renamed } = resolve(&announced, &known);
    let row_of = |identity: &FileIdentity| {
        let mut rows = rows.iter().enumerate();
        rows.find(|(place, row)| renamed.get(place).unwrap_or(&row.identity) == identity).map(|(_, row)| row)
    };
    identities.iter().map(row_of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGAN: &str = "2026-03-01T12:01:00Z";

    fn named(name: &str, start: &str) -> Description {
        in_list("recording_files", name, start)
    }

    fn in_list(collection: &str, name: &str, start: &str) -> Description {
        let identity = FileIdentity { collection: collection.to_owned(), name: name.to_owned() };
        Description::new(&identity, "CC", start.parse().ok())
    }

    fn unnamed(start: &str) -> Description {
        named(&stand_in("CC", start.parse().unwrap()), start)
    }

    fn names(resolution: &Resolution) -> Vec<&str> {
        resolution.identities.iter().map(|identity| identity.name.as_str()).collect()
    }

    #[test]
    fn a_start_stands_for_an_id_however_it_is_written() {
        for start in ["2026-03-01T12:01:00Z", "2026-03-01T12:01:00.250Z", "2026-03-01T13:01:00+01:00"] {
            assert_eq!(stand_in("CC", start.parse().unwrap()), "CC@2026-03-01T12:01:00Z");
        }
    }

    #[test]
    fn a_description_without_an_id_is_of_the_file_that_has_one_in_either_order() {
        let (with, without) = ([named("a", BEGAN)], [unnamed(BEGAN)]);
        assert_eq!(names(&resolve(&without, &with)), ["a"]);
        let later = resolve(&with, &without);
        assert_eq!(names(&later), ["a"]);
        assert_eq!(later.renamed, BTreeMap::from([(0, with[0].identity.clone())]));
        let both = [unnamed(BEGAN), named("a", BEGAN)];
        for known in [&[][..], &with, &without] {
            assert_eq!(names(&resolve(&both, known)), ["a", "a"], "{known:?}");
        }
        assert_eq!(resolve(&both, &without).renamed.len(), 1);
    }

    #[test]
    fn what_may_be_one_of_several_files_is_none_of_them() {
        let several = [named("a", BEGAN), named("b", BEGAN)];
        let without = [unnamed(BEGAN)];
        assert_eq!(names(&resolve(&without, &several)), [without[0].identity.name.as_str()]);
        let later = resolve(&several, &without);
        assert_eq!((names(&later), later.renamed.len()), (vec!["a", "b"], 0));
        let one_more = resolve(&[named("b", BEGAN)], &[named("a", BEGAN), unnamed(BEGAN)]);
        assert_eq!((names(&one_more), one_more.renamed.len()), (vec!["b"], 0));
    }

    #[test]
    fn another_list_another_start_and_no_start_at_all_make_another_file() {
        let known = [named("a", BEGAN)];
        let elsewhere = in_list("participant_audio_files", &unnamed(BEGAN).identity.name, BEGAN);
        for other in [elsewhere, unnamed("2026-03-01T12:31:00Z"), named("CC@soon", "")] {
            let resolution = resolve(std::slice::from_ref(&other), &known);
            assert_eq!(resolution.identities, [other.identity]);
        }
    }
}
