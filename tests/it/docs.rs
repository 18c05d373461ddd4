//! The documents: every test that they name exists, and so does every metric, every setting and every command; and what they
//! say of other files is so.

use std::path::Path;

use zoom_archiver::zoom::events::EVENTS;

use crate::support::program::program;

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

/// The words of a command line; quotation marks hold words together, and what comes behind `#` is a remark.
fn words(line: &str) -> Vec<String> {
    let line = line.split(" #").next().unwrap_or(line);
    let outside = |piece: &str| piece.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let pieces = line.split('\'').enumerate();
    pieces
        .flat_map(|(index, piece)| if index % 2 == 0 { outside(piece) } else { vec![piece.to_owned()] })
        .collect()
}

/// The command lines of this program in a text, as their arguments: whole lines of a block, and what stands between backticks
/// and begins with the program's name or with one of its `commands` and something behind it.
fn command_lines(text: &str, commands: &[String]) -> Vec<Vec<String>> {
    let mut lines = Vec::new();
    for piece in quoted(text) {
        let is_block = piece.contains('\n') && !piece.starts_with("zoom-archiver");
        let of_piece: Vec<&str> = if is_block { piece.lines().collect() } else { vec![piece] };
        for line in of_piece {
            let mut words = words(line);
            let is_named = words.first().is_some_and(|word| word == "zoom-archiver");
            if is_named {
                words.remove(0);
            }
            let is_mentioned = words.len() > 1 && !is_block && commands.contains(&words[0]);
            if (is_named && !words.is_empty()) || is_mentioned {
                lines.push(words);
            }
        }
    }
    lines
}

/// The same with something in the place of what a reader is to put in; one for each word of `list|retry`.
fn as_typed(words: &[String]) -> Vec<Vec<String>> {
    let typed = words.iter().filter(|word| *word != "…").map(|word| match word.as_str() {
        "DAY" | "DATE" => "2026-01-31".to_owned(),
        "SHELL" => "bash".to_owned(),
        "KIND" => "notify".to_owned(),
        "STATE" => "dead".to_owned(),
        word if word.ends_with("_ID") => "01980000-0000-7000-8000-000000000000".to_owned(),
        word => word.trim_end_matches(['…', ',']).to_owned(),
    });
    let mut lines = vec![Vec::new()];
    for word in typed {
        let ways: Vec<&str> = word.split('|').collect();
        let longer = |line: &Vec<String>| {
            let ways = ways.iter().map(|way| [line.as_slice(), &[(*way).to_owned()]].concat());
            ways.collect::<Vec<_>>()
        };
        lines = lines.iter().flat_map(longer).collect();
    }
    lines
}

/// What the program says against these arguments, if it does. It is not made to do anything: of what is well it shows the help.
async fn complaint(arguments: &[String]) -> Option<String> {
    let output = program().args(arguments).arg("--help").output().await.unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    // What is spoken of in passing, as an option without its value.
    let is_cut_short = words.contains("a value is required for");
    (!output.status.success() && !is_cut_short).then_some(words)
}

/// The names of all commands, as the program's help lists them.
async fn commands() -> Vec<String> {
    let output = program().arg("--help").output().await.unwrap();
    let help = String::from_utf8_lossy(&output.stdout).into_owned();
    let (_, rest) = help.split_once("Commands:\n").expect("there are commands");
    let lines = rest.lines().take_while(|line| !line.is_empty());
    lines
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .filter(|name| name != "help")
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_that_a_document_or_an_alarm_names_is_understood() {
    let commands = commands().await;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let watched =
        std::fs::read_dir(root.join("deploy/prometheus")).unwrap().map(|entry| entry.unwrap().path());
    let watched = watched.map(|path| (path.display().to_string(), std::fs::read_to_string(&path).unwrap()));
    let mut tried = std::collections::BTreeMap::new();
    for (document, text) in documents().into_iter().chain(watched) {
        for line in command_lines(&text, &commands) {
            for arguments in as_typed(&line) {
                tried.entry(arguments).or_insert_with(|| document.clone());
            }
        }
    }
    assert!(tried.len() > 40, "{tried:#?}");
    let mut wrong = Vec::new();
    for (arguments, document) in &tried {
        if let Some(complaint) = complaint(arguments).await {
            wrong.push(format!("{document}: {}: {complaint}", arguments.join(" ")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn a_command_that_is_not_understood_is_found_however_it_is_quoted() {
    let commands = ["files".to_owned(), "status".to_owned()];
    let text = "Call `files lisst --state a`, or `zoom-archiver\nstatus`, `files`, `status.rs`:\n\
                ```sh\nzoom-archiver files skip FILE_ID … --reason 'so it is'   # why\nfiles here\n```\n";
    let lines = command_lines(text, &commands);
    let joined: Vec<_> = lines.iter().map(|line| line.join(" ")).collect();
    assert_eq!(joined, ["files lisst --state a", "status", "files skip FILE_ID … --reason so it is"]);
    assert_eq!(as_typed(&words("a b|c d"))[1], ["a", "c", "d"]);
    for (line, is_understood) in [
        ("files lisst", false),
        ("files list --stat parked", false),
        ("files list --state pinned", false),
        ("files list --state parked,dead --json", true),
    ] {
        assert_eq!(complaint(&words(line)).await.is_none(), is_understood, "{line}");
    }
}

#[test]
fn the_scrape_example_reaches_what_the_compose_file_starts() {
    let compose = include_str!("../../docker-compose.yml");
    let example = include_str!("../../.env.example");
    let handbook = include_str!("../../docs/operating.md");
    let (_, rest) = handbook.split_once("targets: [\"").expect("there is an example");
    let (service, port) = rest.split('"').next().and_then(|target| target.split_once(':')).expect("a target");
    assert!(compose.contains(&format!("\n  {service}: ")), "{service}");
    for variable in
        ["ADMIN_TOKEN: ${ADMIN_TOKEN:-}", "ZOOM_ARCHIVER_HTTP__ADMIN_LISTEN: ${ADMIN_LISTEN:-127.0.0.1:8081}"]
    {
        assert!(compose.contains(variable), "{variable}");
    }
    let listen = format!("ADMIN_LISTEN=0.0.0.0:{port}");
    assert!(
        example.contains(&listen) && example.contains("ADMIN_TOKEN=") && handbook.contains(&listen),
        "{listen}"
    );
}
