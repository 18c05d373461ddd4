//! Where the tests' files go: a bucket or a directory of a test's own, and what lies in it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
use zoom_archiver::domain::file::{FileRow, Sha256Digest};
use zoom_archiver::simulator::{Content, FakeRecording};

use super::s3::S3Server;
use super::service::Setup;

/// What the manifest of a recording is called, in its folder.
pub(crate) const MANIFEST: &str = "recording.json";
/// Where an archive keeps the marker by which it is known again.
pub(crate) const MARKER: &str = "zoom-archiver-archive";
/// Where a directory keeps what is unfinished.
const STAGING: &str = ".staging";

/// A bucket, and what a service needs to reach it.
pub(crate) struct Bucket {
    pub(crate) server: S3Server,
    pub(crate) name: String,
}

impl Bucket {
    pub(crate) async fn new() -> Self {
        Self::at(S3Server::start().await).await
    }

    pub(crate) async fn at(server: S3Server) -> Self {
        let name = server.create_bucket().await;
        Self { server, name }
    }

    /// One that keeps versions.
    pub(crate) async fn with_versions(server: S3Server) -> Self {
        let name = server.create_bucket_with_versions().await;
        Self { server, name }
    }

    /// One with Object Lock.
    pub(crate) async fn with_locks(server: S3Server) -> Self {
        let name = server.create_bucket_with_locks().await;
        Self { server, name }
    }

    /// Host and port of its server.
    pub(crate) fn upstream(&self) -> String {
        self.server.access().endpoint.replace("http://", "")
    }

    /// Points a service at the bucket, through `endpoint` when there is something in between.
    pub(crate) fn point(&self, setup: Setup, endpoint: Option<String>) -> Setup {
        let access = self.server.access();
        setup
            .env("ARCHIVE_URL", format!("s3://{}", self.name))
            .env("AWS_ENDPOINT_URL_S3", endpoint.unwrap_or_else(|| access.endpoint.clone()))
            .env("AWS_REGION", access.region.clone())
            .env("AWS_ACCESS_KEY_ID", access.access_key_id.clone())
            .env("AWS_SECRET_ACCESS_KEY", access.secret_access_key.expose_secret())
            .env("AWS_EC2_METADATA_DISABLED", "true")
    }
}

/// One of the two.
pub(crate) enum Place {
    Bucket(Bucket),
    Directory(tempfile::TempDir),
}

impl Place {
    pub(crate) async fn bucket() -> Self {
        Self::Bucket(Bucket::new().await)
    }

    pub(crate) fn directory() -> Self {
        Self::Directory(tempfile::tempdir().expect("a directory"))
    }

    /// Points a service at it.
    pub(crate) fn point(&self, setup: Setup) -> Setup {
        match self {
            Self::Bucket(bucket) => bucket.point(setup, None),
            Self::Directory(root) => setup.env("ARCHIVE_URL", format!("file://{}", root.path().display())),
        }
    }

    /// The keys of all objects.
    pub(crate) async fn objects(&self) -> BTreeSet<String> {
        match self {
            Self::Bucket(bucket) => {
                let keys = bucket.server.objects(&bucket.name).await.into_iter();
                keys.filter(|key| !key.starts_with(MARKER)).collect()
            }
            Self::Directory(root) => {
                let files = files_below(root.path());
                let keys = files.iter().map(|file| file.strip_prefix(root.path()).expect("below the root"));
                let keys = keys.filter(|key| !key.starts_with(STAGING) && !key.starts_with(MARKER));
                keys.map(|key| key.to_str().expect("keys are UTF-8").to_owned()).collect()
            }
        }
    }

    /// The bytes under a key; `None` when there is nothing.
    pub(crate) async fn bytes(&self, key: &str) -> Option<Bytes> {
        match self {
            Self::Bucket(bucket) => bucket.server.bytes(&bucket.name, key).await,
            Self::Directory(root) => std::fs::read(root.path().join(key)).ok().map(Bytes::from),
        }
    }

    /// Writes something under a key, or removes what is there, behind everybody's back.
    pub(crate) async fn overwrite(&self, key: &str, body: Option<&[u8]>) {
        match self {
            Self::Bucket(bucket) => bucket.server.overwrite(&bucket.name, key, body).await,
            Self::Directory(root) => {
                let path = root.path().join(key);
                // Objects are written once: what lies there gives way to something new.
                let _ = std::fs::remove_file(&path);
                if let Some(body) = body {
                    std::fs::create_dir_all(path.parent().expect("a folder")).expect("it can be made");
                    std::fs::write(path, body).expect("it can be written");
                }
            }
        }
    }

    /// What is unfinished: in a bucket the uploads under this key, in a directory everything.
    pub(crate) async fn unfinished(&self, key: &str) -> Vec<String> {
        match self {
            Self::Bucket(bucket) => bucket.server.uploads(&bucket.name, key).await,
            Self::Directory(root) => {
                let files = files_below(&root.path().join(STAGING));
                files.iter().map(|file| file.display().to_string()).collect()
            }
        }
    }

    /// How many whole parts of this length are in what is unfinished under this key.
    pub(crate) async fn parts_held(&self, key: &str, part_bytes: u64) -> u64 {
        let mut held = 0;
        for id in self.unfinished(key).await {
            held += match self {
                Self::Bucket(bucket) => bucket.server.parts(&bucket.name, key, &id).await as u64,
                Self::Directory(_) => std::fs::metadata(&id).map_or(0, |file| file.len()) / part_bytes,
            };
        }
        held
    }

    /// Loses what is unfinished, as stores do with what has lain there for too long; returns how many.
    pub(crate) async fn lose_unfinished(&self, key: &str) -> usize {
        let unfinished = self.unfinished(key).await;
        for id in &unfinished {
            match self {
                Self::Bucket(bucket) => bucket.server.abort(&bucket.name, key, id).await,
                Self::Directory(_) => std::fs::remove_file(id).expect("it can be removed"),
            }
        }
        unfinished.len()
    }

    /// Changes the beginning of what is unfinished behind the back of whoever carries it; returns how many.
    pub(crate) async fn spoil_unfinished(&self, key: &str) -> usize {
        let unfinished = self.unfinished(key).await;
        for id in &unfinished {
            match self {
                Self::Bucket(bucket) => bucket.server.replace_first_part(&bucket.name, key, id).await,
                Self::Directory(_) => {
                    let staged = std::fs::OpenOptions::new().write(true).open(id).expect("it can be opened");
                    std::os::unix::fs::FileExt::write_all_at(&staged, b"spoilt", 0)
                        .expect("it can be written");
                }
            }
        }
        unfinished.len()
    }

    /// The manifest of the recording whose file lies under this key.
    pub(crate) async fn manifest_beside(&self, key: &str) -> Option<serde_json::Value> {
        let (folder, _) = key.rsplit_once('/')?;
        serde_json::from_slice(&self.bytes(&format!("{folder}/{MANIFEST}")).await?).ok()
    }

    /// Asserts that it holds just these files, each once and right, and manifests, and nothing unfinished.
    pub(crate) async fn assert_holds(&self, rows: &[FileRow], contents: &BTreeMap<String, Content>) {
        let (manifests, files): (BTreeSet<String>, BTreeSet<String>) =
            self.objects().await.into_iter().partition(|key| key.ends_with(&format!("/{MANIFEST}")));
        assert_eq!(files.len(), rows.len(), "as many objects as files");
        let recordings: BTreeSet<_> = rows.iter().map(|row| row.recording_id).collect();
        assert_eq!(manifests.len(), recordings.len(), "a manifest for each recording");
        for row in rows {
            let archived = row.archived.as_ref().expect("archived");
            let content = contents[&row.identity.name];
            assert!(files.contains(archived.object_key.as_str()));
            let bytes = self.bytes(&archived.object_key).await.expect("it is there");
            assert_eq!(bytes.len() as u64, content.len());
            assert_eq!(Sha256Digest(Sha256::digest(&bytes).into()), archived.sha256);
            assert_eq!(archived.sha256, content.sha256());
            let unfinished = self.unfinished(&archived.object_key).await;
            assert!(unfinished.is_empty(), "unfinished under {}: {unfinished:?}", archived.object_key);
        }
    }
}

/// What each file holds, by Zoom's id.
pub(crate) fn contents(recordings: &[FakeRecording]) -> BTreeMap<String, Content> {
    let files = recordings.iter().flat_map(|recording| &recording.files);
    files.map(|file| (file.id.clone().expect("an id"), file.content)).collect()
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("readable").path());
    paths.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}
