//! What an object and a manifest say against a row. Pure.

use crate::domain::file::{ArchivedFile, ArchivedObject, FileRow, Sha256Digest, StoreChecksum};
use crate::domain::manifest::Manifest;
use crate::domain::verification::{FileFinding, Found};

/// What the archive has of an object.
#[derive(Debug)]
pub(super) enum Object {
    /// Nothing.
    Missing,
    /// One of another size than was proven; it was not read.
    OfSize(u64),
    /// One that it does not give, and why.
    Unreadable(String),
    /// This.
    Read {
        /// Bytes that were read.
        bytes: u64,
        /// SHA-256 over them.
        sha256: Sha256Digest,
        /// The store's own checksum.
        checksum: Option<StoreChecksum>,
    },
}

/// What a recording's manifest says.
#[derive(Debug)]
pub(super) enum Told {
    /// It is about to be written: it is not asked.
    NotYet,
    /// There is none.
    Nothing,
    /// It cannot be read, and why.
    Unreadable(String),
    /// This.
    Manifest(Box<Manifest>),
}

/// What is wrong with a file, the gravest first; the detail tells of both, object and manifest.
pub(super) fn judge(file: &FileRow, archived: &ArchivedFile, object: &Object, told: &Told) -> Option<Found> {
    let of_manifest = manifest(file, archived, told);
    let Some(mut of_object) = against_proof(archived, object) else { return of_manifest };
    if let (Object::Read { bytes, sha256, .. }, Told::Manifest(manifest)) = (object, told)
        && let Some(said) = manifest.file(&file.identity).and_then(|file| file.object.as_ref())
        && (said.bytes, said.sha256) == (*bytes, *sha256)
    {
        of_object
            .detail
            .push_str("; but it is what its manifest says: perhaps it is the database that is wrong");
    } else if let Some(of_manifest) = of_manifest {
        of_object.detail.push_str("; and ");
        of_object.detail.push_str(&of_manifest.detail);
    }
    Some(of_object)
}

fn against_proof(archived: &ArchivedFile, object: &Object) -> Option<Found> {
    let found = |finding, detail: String| Some(Found { finding, detail });
    let proven = archived.bytes;
    match object {
        Object::Missing => found(FileFinding::Missing, "there is no object under its key".to_owned()),
        Object::Unreadable(words) => found(FileFinding::Unreadable, words.clone()),
        Object::OfSize(bytes) | Object::Read { bytes, .. } if *bytes != proven => {
            found(FileFinding::Size, format!("the object has {bytes} bytes, proven were {proven}"))
        }
        Object::OfSize(_) => None,
        Object::Read { sha256, .. } if *sha256 != archived.sha256 => {
            let detail = format!("the object's SHA-256 is {sha256}, proven was {}", archived.sha256);
            found(FileFinding::Sha256, detail)
        }
        Object::Read { checksum, .. } => {
            let (now, then) = (checksum.as_ref()?, archived.store_checksum.as_ref()?);
            if now.algorithm != then.algorithm || now.value == then.value {
                return None;
            }
            found(FileFinding::Checksum, format!("the store says {now} of the object, it said {then}"))
        }
    }
}

fn manifest(file: &FileRow, archived: &ArchivedFile, told: &Told) -> Option<Found> {
    let found = |finding, detail: String| Some(Found { finding, detail });
    let manifest = match told {
        Told::NotYet => return None,
        Told::Nothing => {
            return found(FileFinding::NoManifest, "there is no manifest beside it".to_owned());
        }
        Told::Unreadable(words) => {
            return found(FileFinding::Manifest, format!("its manifest cannot be read: {words}"));
        }
        Told::Manifest(manifest) => manifest,
    };
    let Some(said) = manifest.file(&file.identity) else {
        return found(FileFinding::Manifest, "its manifest does not name it".to_owned());
    };
    let Some(object) = &said.object else {
        return found(FileFinding::Manifest, format!("its manifest calls it {}", said.state));
    };
    let differing = differing(object, archived);
    if differing.is_empty() {
        return None;
    }
    found(FileFinding::Manifest, format!("its manifest says otherwise of its {}", differing.join(", ")))
}

/// Where a manifest and a row disagree.
fn differing(object: &ArchivedObject, archived: &ArchivedFile) -> Vec<&'static str> {
    let checksum = archived.store_checksum.as_ref().map(ToString::to_string);
    [
        ("key", object.key == archived.object_key),
        ("size", object.bytes == archived.bytes),
        ("SHA-256", object.sha256 == archived.sha256),
        ("store's checksum", object.store_checksum == checksum),
    ]
    .into_iter()
    .filter_map(|(what, agrees)| (!agrees).then_some(what))
    .collect()
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use serde_json::Map;

    use super::*;
    use crate::domain::file::{FileState, RecordingRow};
    use crate::domain::ids::{EventId, FileId, RecordingId};
    use crate::domain::recording::{FileIdentity, RecordingIdentity, RecordingKind};

    fn checksum(value: &str) -> StoreChecksum {
        StoreChecksum { algorithm: "crc64nvme".to_owned(), value: value.to_owned() }
    }

    fn archived() -> ArchivedFile {
        ArchivedFile {
            object_key: "folder/f.mp4".to_owned(),
            bytes: 3,
            sha256: Sha256Digest([1; 32]),
            content_type: "video/mp4".to_owned(),
            store_checksum: Some(checksum("AAA=")),
            etag: None,
            version_id: None,
            mark: None,
        }
    }

    fn row(archived: Option<ArchivedFile>) -> FileRow {
        FileRow {
            id: FileId::new(),
            recording_id: RecordingId::new(),
            identity: FileIdentity { collection: "recording_files".to_owned(), name: "f".to_owned() },
            recording_type: String::new(),
            file_type: "MP4".to_owned(),
            extension: String::new(),
            recording_start: None,
            announced_bytes: None,
            metadata: Map::new(),
            token_expires_at: None,
            loses_at: None,
            zoom_state: None,
            zoom_state_at: None,
            state: if archived.is_some() { FileState::Archived } else { FileState::Pending },
            reason: None,
            object_key: None,
            archived,
            archived_at: None,
            verified_at: None,
            found: None,
            proven_before: None,
            earlier_objects: Vec::new(),
            first_event_id: EventId::new(),
            announced_at: DateTime::UNIX_EPOCH,
        }
    }

    fn told(files: &[FileRow]) -> Told {
        let recording = RecordingRow {
            id: RecordingId::new(),
            identity: RecordingIdentity {
                account_id: "a".to_owned(),
                kind: RecordingKind::Meeting,
                instance_id: "m".to_owned(),
            },
            topic: None,
            start_time: None,
            metadata: Map::new(),
            state: None,
            state_at: None,
            transcript: None,
            summary: None,
            folder: Some("folder".to_owned()),
            announced_at: DateTime::UNIX_EPOCH,
        };
        Told::Manifest(Box::new(Manifest::new(&recording, files)))
    }

    fn read(sha256: u8, value: &str) -> Object {
        Object::Read { bytes: 3, sha256: Sha256Digest([sha256; 32]), checksum: Some(checksum(value)) }
    }

    fn finding(object: &Object, told: &Told) -> Option<FileFinding> {
        judge(&row(Some(archived())), &archived(), object, told).map(|found| found.finding)
    }

    #[test]
    fn each_thing_that_can_be_wrong_has_its_word() {
        let right = told(&[row(Some(archived()))]);
        let with = |change: fn(&mut ArchivedFile)| {
            let mut other = archived();
            change(&mut other);
            told(&[row(Some(other))])
        };
        for (object, told, expected) in [
            (read(1, "AAA="), &right, None),
            (read(1, "AAA="), &Told::NotYet, None),
            (Object::Missing, &right, Some(FileFinding::Missing)),
            (Object::OfSize(2), &right, Some(FileFinding::Size)),
            (read(2, "AAA="), &right, Some(FileFinding::Sha256)),
            (Object::Unreadable("why".to_owned()), &right, Some(FileFinding::Unreadable)),
            (read(1, "BBB="), &right, Some(FileFinding::Checksum)),
            (read(1, "AAA="), &Told::Nothing, Some(FileFinding::NoManifest)),
            (read(1, "AAA="), &Told::Unreadable("why".to_owned()), Some(FileFinding::Manifest)),
            (read(1, "AAA="), &told(&[]), Some(FileFinding::Manifest)),
            (read(1, "AAA="), &told(&[row(None)]), Some(FileFinding::Manifest)),
            (read(1, "AAA="), &with(|it| it.sha256 = Sha256Digest([2; 32])), Some(FileFinding::Manifest)),
            (read(1, "AAA="), &with(|it| it.bytes = 4), Some(FileFinding::Manifest)),
            (read(1, "AAA="), &with(|it| it.object_key = "x".to_owned()), Some(FileFinding::Manifest)),
            (read(1, "AAA="), &with(|it| it.store_checksum = None), Some(FileFinding::Manifest)),
            (Object::Missing, &Told::Nothing, Some(FileFinding::Missing)),
        ] {
            assert_eq!(finding(&object, told), expected, "{object:?} {told:?}");
        }
    }

    #[test]
    fn a_store_that_keeps_another_kind_of_checksum_now_says_nothing_by_that() {
        let other = StoreChecksum { algorithm: "crc32c".to_owned(), value: "AAA=".to_owned() };
        for checksum in [Some(other), None] {
            let object = Object::Read { bytes: 3, sha256: Sha256Digest([1; 32]), checksum };
            assert_eq!(finding(&object, &Told::NotYet), None);
        }
    }

    #[test]
    fn an_object_that_is_what_its_manifest_says_puts_the_database_in_doubt() {
        let mut other = archived();
        other.sha256 = Sha256Digest([2; 32]);
        let manifest = told(&[row(Some(other))]);
        let found = judge(&row(Some(archived())), &archived(), &read(2, "AAA="), &manifest).unwrap();
        assert_eq!(found.finding, FileFinding::Sha256);
        assert!(found.detail.contains("it is the database that is wrong"), "{}", found.detail);
    }
}
