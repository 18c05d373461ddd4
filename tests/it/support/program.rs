//! The program, however a test starts it. This is the one place that all of its processes pass through, so that all that
//! any of them says can be searched for what none may say: tokens, signed URLs, and every secret that it was given.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::process::{Output, Stdio};
use std::sync::Mutex;

use tokio::process::{Child, Command};
use zoom_archiver::simulator::library::Library;
use zoom_archiver::simulator::{FakeZoom, Options};

/// Shortest secret that tests may use, all of which are searched for: a shorter one may be a word of the text.
const SHORTEST_SECRET: usize = 12;
/// Shortest piece of a JWT, in characters.
const SHORTEST_PIECE: usize = 16;
/// What is signed in a URL of the fake Zoom lies behind this path.
const SIGNED: &str = "webhook_download";
/// What is signed in the URL of an object names its signature so.
const SIGNED_BY_US: &str = "X-Amz-Signature";

/// What stands in the events of the fake Zoom beside tokens and is a secret, too.
const OF_EVERY_ZOOM: [&str; 2] = ["fake-password", "fake-passcode"];

/// The fake Zooms of all tests so far, by their origins.
static ZOOMS: Mutex<Vec<(String, Library)>> = Mutex::new(Vec::new());

/// What all programs so far were given.
static GIVEN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Starts a fake Zoom. Whatever it gives out is searched for in all that programs say which are pointed at it.
pub(crate) async fn fake_zoom(options: Options) -> FakeZoom {
    let zoom = FakeZoom::start(options).await.expect("a fake Zoom");
    ZOOMS.lock().unwrap().push((zoom.origin(), zoom.library().clone()));
    zoom
}

/// What must not be said.
#[derive(Debug, Clone, Default)]
pub(crate) struct Secrets {
    /// What the program was given.
    own: Vec<String>,
    /// Origins of the fake Zooms that it was pointed at.
    zooms: Vec<String>,
}

impl Secrets {
    /// Those among variables, by the names that the program knows; the password in a URL; and those in the files that
    /// variables and settings name.
    fn among(environment: &BTreeMap<OsString, OsString>) -> Self {
        let mut secrets = Self::default();
        for (name, value) in environment {
            let (Some(name), Some(value)) = (name.to_str(), value.to_str()) else { continue };
            let zooms = ZOOMS.lock().unwrap();
            secrets
                .zooms
                .extend(zooms.iter().map(|(origin, _)| origin).filter(|it| value.contains(*it)).cloned());
            drop(zooms);
            if name == "ZOOM_ARCHIVER_CONFIG" {
                let settings = std::fs::read_to_string(value).unwrap_or_default();
                secrets.of_settings(&toml::Value::Table(settings.parse().unwrap_or_default()));
            }
            if name.starts_with("ZOOM_ARCHIVER_") {
                continue;
            }
            secrets.add(name, value);
        }
        let is_short = |secret: &str| secret.len() < SHORTEST_SECRET;
        secrets.own.retain(|secret| !is_short(secret) || !(secret.is_empty() || is_of_a_server(secret)));
        let short = secrets.own.iter().find(|secret| is_short(secret));
        assert!(short.is_none(), "{short:?} is too short to be searched for: take a longer secret");
        secrets
    }

    /// All that is in use anywhere in the tests: what any program so far was given, and any fake Zoom has given out.
    pub(crate) fn in_use() -> Self {
        let zooms = ZOOMS.lock().unwrap().iter().map(|(origin, _)| origin.clone()).collect();
        Self { own: GIVEN.lock().unwrap().iter().cloned().collect(), zooms }
    }

    /// Something that was given under a name.
    fn add(&mut self, name: &str, value: &str) {
        let name = name.to_lowercase();
        if let Some(name) = name.strip_suffix("_file") {
            // One that is not there is what some tests are about.
            return self.add(name, std::fs::read_to_string(value).unwrap_or_default().trim());
        }
        if name == "url" {
            // Where a receiver of notifications is, is a secret, too.
            let path = url::Url::parse(value).ok().map(|url| url.path().to_owned());
            self.own.extend(path.filter(|path| path.len() >= SHORTEST_SECRET));
        }
        if ["secret", "token", "password"].iter().any(|word| name.contains(word)) {
            self.own.extend(value.split(',').map(|secret| secret.trim().to_owned()));
        }
        if name.starts_with("otel_") && name.ends_with("_headers") {
            self.own.extend(value.split(',').filter_map(secret_in_header));
        }
        let password = url::Url::parse(value).ok().and_then(|url| Some(url.password()?.to_owned()));
        self.own.extend(password);
    }

    /// What stands in a file of settings.
    fn of_settings(&mut self, settings: &toml::Value) {
        match settings {
            toml::Value::Table(table) => {
                for (name, value) in table {
                    match value {
                        toml::Value::String(text) => self.add(name, text),
                        other => self.of_settings(other),
                    }
                }
            }
            toml::Value::Array(all) => all.iter().for_each(|one| self.of_settings(one)),
            _ => {}
        }
    }

    /// Those that the fake Zooms have given out: what is signed, and the signature, of each token. What all tokens begin
    /// with is none.
    fn given_out(&self) -> Vec<String> {
        let zooms = ZOOMS.lock().unwrap();
        let ours = zooms.iter().filter(|(origin, _)| self.zooms.contains(origin));
        let tokens: Vec<String> = ours.flat_map(|(_, library)| library.issued()).collect();
        let pieces = tokens.iter().flat_map(|token| token.split('.').skip(1)).map(str::to_owned);
        pieces.chain(OF_EVERY_ZOOM.map(str::to_owned)).collect()
    }

    /// Panics when a text holds one of them, a token or a signed URL.
    pub(crate) fn assert_none_in(&self, text: &str) {
        let said =
            self.own.iter().chain(&self.given_out()).find(|secret| text.contains(secret.as_str())).cloned();
        assert!(said.is_none(), "it says the secret {}:\n{text}", said.unwrap());
        let is_signed = [SIGNED, SIGNED_BY_US].iter().any(|sign| text.contains(sign));
        assert!(!is_signed, "it says a signed URL:\n{text}");
        let token = token_in(text);
        assert!(token.is_none(), "it says the token {}:\n{text}", token.unwrap());
    }
}

/// Whether it lets tests into a server that was there before them, and is not theirs to choose: `postgres`, `minioadmin`.
fn is_of_a_server(secret: &str) -> bool {
    let database = std::env::var("TEST_DATABASE_URL").ok().and_then(|url| url::Url::parse(&url).ok());
    let of_bucket = std::env::var("AWS_SECRET_ACCESS_KEY");
    database.is_some_and(|url| url.password() == Some(secret)) || of_bucket.is_ok_and(|it| it == secret)
}

/// The last word of `name=a%20header`: what comes before says of which kind it is.
fn secret_in_header(header: &str) -> Option<String> {
    let (_, value) = header.split_once('=')?;
    let value = percent_encoding::percent_decode_str(value).decode_utf8().ok()?;
    value.split_whitespace().last().filter(|word| word.len() >= SHORTEST_SECRET).map(str::to_owned)
}

/// A JWT in a text: also such as this program makes, which nobody else has seen.
fn token_in(text: &str) -> Option<&str> {
    let is_of_a_piece = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    text.match_indices("eyJ").map(|(at, _)| &text[at..]).find_map(|rest| {
        let head = rest.split(|c| !is_of_a_piece(c)).next()?;
        let body = rest[head.len()..].strip_prefix('.')?.split(|c| !is_of_a_piece(c)).next()?;
        (head.len() >= SHORTEST_PIECE && body.len() >= SHORTEST_PIECE).then_some(head)
    })
}

/// A command of the program with an environment of its own: nothing of the tests' settings leaks in.
#[derive(Debug)]
pub(crate) struct Program {
    command: Command,
    environment: BTreeMap<OsString, OsString>,
}

pub(crate) fn program() -> Program {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zoom-archiver"));
    command.env_clear();
    for name in ["PATH", "HOME", "LLVM_PROFILE_FILE"] {
        if let Ok(value) = std::env::var(name) {
            command.env(name, value);
        }
    }
    Program { command, environment: BTreeMap::new() }
}

impl Program {
    pub(crate) fn arg(&mut self, argument: impl AsRef<OsStr>) -> &mut Self {
        self.command.arg(argument);
        self
    }

    pub(crate) fn args<A: AsRef<OsStr>>(&mut self, arguments: impl IntoIterator<Item = A>) -> &mut Self {
        self.command.args(arguments);
        self
    }

    pub(crate) fn env(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Self {
        let (name, value) = (name.as_ref(), value.as_ref());
        self.environment.insert(name.to_owned(), value.to_owned());
        self.command.env(name, value);
        self
    }

    pub(crate) fn envs<N: AsRef<OsStr>, V: AsRef<OsStr>>(
        &mut self,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> &mut Self {
        for (name, value) in variables {
            self.env(name, value);
        }
        self
    }

    pub(crate) fn stdin(&mut self, from: impl Into<Stdio>) -> &mut Self {
        self.command.stdin(from);
        self
    }

    pub(crate) fn stdout(&mut self, to: impl Into<Stdio>) -> &mut Self {
        self.command.stdout(to);
        self
    }

    pub(crate) fn stderr(&mut self, to: impl Into<Stdio>) -> &mut Self {
        self.command.stderr(to);
        self
    }

    /// What it must not say.
    pub(crate) fn secrets(&self) -> Secrets {
        let secrets = Secrets::among(&self.environment);
        GIVEN.lock().unwrap().extend(secrets.own.iter().cloned());
        secrets
    }

    /// Runs it to its end. It must not have said a secret.
    pub(crate) async fn output(&mut self) -> std::io::Result<Output> {
        let output = self.output_with_a_token().await?;
        self.secrets().assert_none_in(&String::from_utf8_lossy(&output.stdout));
        Ok(output)
    }

    /// The same for a command whose purpose is to print a token.
    pub(crate) async fn output_with_a_token(&mut self) -> std::io::Result<Output> {
        let output = self.command.output().await?;
        self.secrets().assert_none_in(&String::from_utf8_lossy(&output.stderr));
        Ok(output)
    }

    /// Starts it; it ends with the returned value. Whoever reads what it says searches it.
    pub(crate) fn spawn(&mut self) -> std::io::Result<Child> {
        self.command.kill_on_drop(true).spawn()
    }

    /// What is said on standard error goes to a terminal, for the caller to look at and to search for
    /// [secrets](Self::secrets).
    pub(crate) fn spawn_on(&mut self, terminal: impl Into<Stdio>) -> std::io::Result<Child> {
        self.command.stdout(Stdio::null()).stderr(terminal).kill_on_drop(true).spawn()
    }
}

#[tokio::test]
async fn what_must_not_be_said_is_found_wherever_it_stands() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let kept = write("kept", "kept-in-a-file, kept-beside-it\n");
    let hook = write("hook", "https://chat.example/services/a/b");
    let settings = format!(
        "[[notify.targets]]\nurl = \"https://ops.example/where-it-is\"\nsecret = \"whsec_in-the-settings\"\n\
         [[notify.targets]]\nurl_file = \"{hook}\"\n\
         [[zoom.accounts]]\nclient_secret_file = \"{kept}\"\n"
    );
    let zoom = fake_zoom(Options::default()).await;
    let secrets = Secrets::among(&BTreeMap::from(
        [
            ("ADMIN_TOKEN", "long-enough-token".to_owned()),
            ("DATABASE_URL", "postgres://u:long-password@h/d".to_owned()),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=a,authorization=Bearer%20long-in-a-header".to_owned()),
            ("ZOOM_WEBHOOK_SECRET_TOKEN_FILE", kept),
            ("ZOOM_ARCHIVER_CONFIG", write("settings.toml", &settings)),
            ("ZOOM_ARCHIVER_ZOOM__DOWNLOAD_HOSTS", zoom.origin()),
        ]
        .map(|(name, value)| (name.into(), value.into())),
    ));
    let token = zoom.library().issue_token("s", std::time::Duration::from_secs(60));
    let pieces: Vec<&str> = token.split('.').collect();
    let header = pieces[0];
    for text in [
        format!("a {header}.eyJpc3MiOiJ6b29tIn0.x b"),
        "the long-enough-token".to_owned(),
        "long-password".to_owned(),
        "long-in-a-header".to_owned(),
        "kept-beside-it".to_owned(),
        "whsec_in-the-settings".to_owned(),
        "/where-it-is".to_owned(),
        "/services/a/b".to_owned(),
        format!("signed {}", pieces[1]),
        format!("by {}", pieces[2]),
        "fake-passcode".to_owned(),
        "https://zoom.us/rec/webhook_download/x".to_owned(),
        "https://s3.example/b/k?X-Amz-Signature=0a1b".to_owned(),
    ] {
        assert!(std::panic::catch_unwind(|| secrets.assert_none_in(&text)).is_err(), "{text}");
    }
    secrets.assert_none_in(&format!("{header} alone, zoom.us/rec/x, and https://ops.example"));

    // What any program is given is known to whoever searches for all of it.
    let mut given = program();
    given.args(["config", "show", "--default"]).env("ADMIN_TOKEN", "given-to-a-program");
    given.output().await.unwrap();
    let said = std::panic::catch_unwind(|| Secrets::in_use().assert_none_in("a given-to-a-program b"));
    assert!(said.is_err());
    let short = BTreeMap::from([("ADMIN_TOKEN".into(), "short".into())]);
    assert!(std::panic::catch_unwind(|| Secrets::among(&short)).is_err(), "nobody could search for it");
}
