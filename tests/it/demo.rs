//! `demo`, as a newcomer runs it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};
use zoom_archiver::domain::file::Sha256Digest;

use crate::support::place::MARKER;
use crate::support::service::program;

#[tokio::test]
async fn demo_archives_everything_and_sha256_agrees() {
    let data = tempfile::tempdir().unwrap();
    // Each run has two sessions, of which the second is found although its events are lost. The second run on the same
    // data adds its own and leaves those of the first alone.
    for sessions in [2, 4] {
        // A proxy that is not there: nothing on this machine is asked through it.
        let output = program()
            .env("HTTP_PROXY", "http://127.0.0.1:1")
            .arg("demo")
            .arg("--data-dir")
            .arg(data.path())
            .output()
            .await
            .unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
        let archive = data.path().join("archive");
        let manifests = find(&archive, &|path| path.ends_with("recording.json"));
        assert_eq!(manifests.len(), sessions);
        let mut proven = BTreeSet::new();
        for manifest in &manifests {
            let manifest: Value = serde_json::from_slice(&std::fs::read(manifest).unwrap()).unwrap();
            for file in manifest["files"].as_array().unwrap() {
                assert_eq!(file["state"], "archived");
                let path = archive.join(file["object"]["key"].as_str().unwrap());
                let bytes = std::fs::read(&path).unwrap();
                let digest = Sha256Digest(Sha256::digest(&bytes).into()).to_string();
                assert_eq!(file["object"]["sha256"], digest);
                assert_eq!(file["object"]["bytes"], bytes.len());
                if sessions == 2 {
                    assert!(told.contains(&digest), "{told}");
                }
                proven.insert(path);
            }
        }
        let is_ours =
            |path: &Path| path.ends_with("recording.json") || path.starts_with(archive.join(MARKER));
        let there = find(&archive, &|path| path.is_file() && !is_ours(path));
        assert_eq!(there.into_iter().collect::<BTreeSet<_>>(), proven, "nothing else lies there");
        assert_eq!(proven.len(), 9 * sessions);
    }
}

fn find(folder: &Path, wanted: &dyn Fn(&Path) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(find(&path, wanted));
        } else if wanted(&path) {
            found.push(path);
        }
    }
    found
}
