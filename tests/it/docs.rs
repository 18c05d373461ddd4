//! The documents: every test that they name exists, and so does every metric and every setting.

use std::path::Path;

use zoom_archiver::zoom::events::EVENTS;

/// What stands between backticks in a text.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn sources(folder: &Path, into: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push_str(&std::fs::read_to_string(&path).unwrap());
        }
    }
}

fn documents() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut documents = vec![root.join("README.md"), root.join("CHANGELOG.md")];
    documents.extend(std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path()));
    let read =
        |path: &std::path::PathBuf| (path.display().to_string(), std::fs::read_to_string(path).unwrap());
    documents.iter().map(read).collect()
}

#[test]
fn every_test_and_every_metric_that_a_document_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut code = String::new();
    sources(&root.join("src"), &mut code);
    sources(&root.join("tests"), &mut code);
    let mut named = 0;
    for (document, text) in documents() {
        let is_sentence = |word: &&str| {
            word.matches('_').count() >= 3
                && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        };
        for name in quoted(&text).filter(is_sentence) {
            // What begins so is the name of a metric.
            if name.starts_with("zoom_archiver_") {
                assert!(
                    code.contains(&format!("\"{name}\"")),
                    "{document} names the metric {name}, which is not there"
                );
                continue;
            }
            named += 1;
            assert!(
                code.contains(&format!("fn {name}(")),
                "{document} names the test {name}, which is not there"
            );
        }
    }
    assert!(named > 10, "the documents name their tests");
}

#[test]
fn the_page_about_zoom_says_of_every_event_what_becomes_of_it_and_which_test_shows_it() {
    let page = include_str!("../../docs/zoom.md");
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    for kind in EVENTS {
        let row = rows.iter().find(|row| quoted(row[0]).any(|name| name == kind.name));
        let row = row.unwrap_or_else(|| panic!("{} stands in no row", kind.name));
        assert!(row.len() >= 3 && row[1..3].iter().all(|cell| !cell.is_empty()), "{}: {row:?}", kind.name);
    }
}

#[test]
fn every_setting_that_a_document_names_exists() {
    let reference: toml::Table = include_str!("../../config/default.toml").parse().unwrap();
    for (document, text) in documents() {
        for name in quoted(&text) {
            let Some((section, key)) = name.split_once('.') else { continue };
            let Some(known) = reference.get(section).and_then(toml::Value::as_table) else { continue };
            // Fields of the log, and host names.
            let other = ["http.addr", "http.admin_addr", "zoom.account", "zoom.us", "zoom.com"];
            if other.contains(&name) || key.contains(['/', '(', ' ']) {
                continue;
            }
            let found = key
                .split('.')
                .try_fold(toml::Value::Table(known.clone()), |value, part| value.get(part).cloned());
            assert!(found.is_some(), "{document} names the setting {name}, which is not there");
        }
    }
}
