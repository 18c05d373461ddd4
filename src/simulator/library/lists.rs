//! The recordings as lists have them, and what becomes of them: trash, recovery, the end.

use chrono::NaiveDate;

use super::Library;
use super::api::ApiShelf;
use crate::domain::recording::RecordingKind;
use crate::simulator::credentials::{FakeAccount, owner};
use crate::simulator::events::{HOST_EMAIL, HOST_ID};
use crate::simulator::recording::FakeRecording;

/// By what a list is made.
pub(in crate::simulator) struct ListedBy<'a> {
    pub(in crate::simulator) account: &'a FakeAccount,
    /// Of these kinds.
    pub(in crate::simulator) kinds: &'a [RecordingKind],
    /// First and last day; `None` for what is in the trash.
    pub(in crate::simulator) days: Option<(NaiveDate, NaiveDate)>,
    /// Of what is in the trash: recordings of which single files are there, or those that are there as a whole.
    pub(in crate::simulator) files_only: bool,
}

/// A part of a list.
pub(in crate::simulator) struct Listed {
    pub(in crate::simulator) recordings: Vec<FakeRecording>,
    pub(in crate::simulator) total: usize,
}

impl ApiShelf {
    /// Whether all of a recording is in the trash, or single files of it.
    fn has_in_trash(&self, recording: &FakeRecording, files_only: bool) -> bool {
        let in_trash = recording.files.iter().filter(|file| self.is_in_trash(&file.key)).count();
        in_trash > 0 && (in_trash < recording.files.len()) == files_only
    }

    fn is_listed(&self, recording: &FakeRecording, by: &ListedBy<'_>) -> bool {
        let day = recording.start_time.date_naive();
        owner(&recording.account_id) == by.account
            && by.kinds.contains(&recording.kind)
            && match by.days {
                Some((first, last)) => {
                    (first..=last).contains(&day)
                        && recording.files.iter().any(|file| !self.is_in_trash(&file.key))
                }
                None => self.has_in_trash(recording, by.files_only),
            }
    }
}

/// What becomes of recordings.
impl Library {
    /// Throws a recording into the trash, or only the file with this id. `false` when nothing of it was there.
    pub fn trash(&self, instance_id: &str, file: Option<&str>) -> bool {
        let mut shelf = self.shelf();
        let keys = keys(&shelf.api, instance_id, file, false);
        shelf.api.trashed.extend(keys.iter().cloned());
        !keys.is_empty()
    }

    /// Brings back what is in the trash. `false` when there was nothing.
    pub fn recover(&self, instance_id: &str, file: Option<&str>) -> bool {
        let mut shelf = self.shelf();
        let keys = keys(&shelf.api, instance_id, file, true);
        shelf.api.trashed.retain(|key| !keys.contains(key));
        !keys.is_empty()
    }

    /// Deletes a recording for good, or only the file with this id, in the trash or not. `false` when nothing of it
    /// was there.
    pub fn delete(&self, instance_id: &str, file: Option<&str>) -> bool {
        let mut shelf = self.shelf();
        let mut keys = keys(&shelf.api, instance_id, file, false);
        keys.extend(self::keys(&shelf.api, instance_id, file, true));
        for key in &keys {
            shelf.files.remove(key);
            shelf.api.trashed.remove(key);
        }
        if let Some(recording) = shelf.api.recordings.get_mut(instance_id) {
            recording.files.retain(|file| !keys.contains(&file.key));
            if recording.files.is_empty() {
                shelf.api.recordings.remove(instance_id);
            }
        }
        !keys.is_empty()
    }

    /// Whether a file is in the trash.
    #[must_use]
    pub fn is_in_trash(&self, key: &str) -> bool {
        self.shelf().api.is_in_trash(key)
    }

    /// Part of a list in order of time, from the `skip`th entry on.
    pub(in crate::simulator) fn list(&self, by: &ListedBy<'_>, skip: usize, most: usize) -> Listed {
        let shelf = self.shelf();
        let mut found: Vec<_> =
            shelf.api.recordings.values().filter(|recording| shelf.api.is_listed(recording, by)).collect();
        found.sort_by_key(|recording| (recording.start_time, &recording.instance_id));
        let total = found.len();
        Listed { recordings: found.into_iter().skip(skip).take(most).cloned().collect(), total }
    }

    /// Whether there is such a user.
    pub(in crate::simulator) fn is_user(user: &str) -> bool {
        [HOST_ID, HOST_EMAIL, "me"].contains(&user)
    }
}

/// Keys of the files of a recording, or of one of them, that are in the trash or not.
fn keys(shelf: &ApiShelf, instance_id: &str, file: Option<&str>, in_trash: bool) -> Vec<String> {
    let files = shelf.recordings.get(instance_id).map(|recording| recording.files.as_slice());
    let wanted = files.unwrap_or_default().iter().filter(|it| {
        file.is_none_or(|id| it.id.as_deref() == Some(id)) && shelf.is_in_trash(&it.key) == in_trash
    });
    wanted.map(|file| file.key.clone()).collect()
}
