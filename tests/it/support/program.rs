//! The program, however a test starts it. This is the one place that all of its processes pass through, so that all that
//! any of them says can be searched for what none may say: tokens, signed URLs, and every secret that it was given.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::process::{Output, Stdio};

use tokio::process::{Child, Command};

/// Shortest secret that is searched for: a shorter one may be a word of the text.
const SHORTEST_SECRET: usize = 12;
/// Shortest piece of a JWT, in characters.
const SHORTEST_PIECE: usize = 16;
/// What is signed in a URL of the fake Zoom lies behind this path.
const SIGNED: &str = "webhook_download";

/// What must not be said.
#[derive(Debug, Clone, Default)]
pub(crate) struct Secrets(Vec<String>);

impl Secrets {
    /// Those among variables: by the names that the program knows, and the password in a URL.
    fn among(environment: &BTreeMap<OsString, OsString>) -> Self {
        let mut secrets = Vec::new();
        for (name, value) in environment {
            let (Some(name), Some(value)) = (name.to_str(), value.to_str()) else { continue };
            if name.starts_with("ZOOM_ARCHIVER_") || name.ends_with("_FILE") {
                continue;
            }
            if ["SECRET", "TOKEN", "PASSWORD"].iter().any(|word| name.contains(word)) {
                secrets.extend(value.split(',').map(|secret| secret.trim().to_owned()));
            }
            let password = url::Url::parse(value).ok().and_then(|url| Some(url.password()?.to_owned()));
            secrets.extend(password);
        }
        secrets.retain(|secret| secret.len() >= SHORTEST_SECRET);
        Self(secrets)
    }

    /// Panics when a text holds one of them, a token or a signed URL.
    pub(crate) fn assert_none_in(&self, text: &str) {
        let own = self.0.iter().find(|secret| text.contains(secret.as_str()));
        assert!(own.is_none(), "it says the secret {}:\n{text}", own.unwrap());
        assert!(!text.contains(SIGNED), "it says a signed URL:\n{text}");
        let token = token_in(text);
        assert!(token.is_none(), "it says the token {}:\n{text}", token.unwrap());
    }
}

/// A JWT in a text: all tokens of the fake Zoom, and of this program, are such.
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
        Secrets::among(&self.environment)
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

#[test]
fn what_must_not_be_said_is_found_wherever_it_stands() {
    let variables =
        [("ADMIN_TOKEN", "long-enough-token"), ("DATABASE_URL", "postgres://u:long-password@h/d")];
    let environment = variables.map(|(name, value)| (name.into(), value.into()));
    let secrets = Secrets::among(&BTreeMap::from(environment));
    assert_eq!(secrets.0, ["long-enough-token", "long-password"]);
    let header = "eyJhbGciOiJIUzI1NiJ9";
    for text in [
        format!("a {header}.eyJpc3MiOiJ6b29tIn0.x b"),
        "the long-enough-token".to_owned(),
        "https://zoom.us/rec/webhook_download/x".to_owned(),
    ] {
        assert!(std::panic::catch_unwind(|| secrets.assert_none_in(&text)).is_err(), "{text}");
    }
    secrets.assert_none_in(&format!("{header} alone, and zoom.us/rec/x"));
}
