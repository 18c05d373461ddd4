//! A PostgreSQL and a MinIO of a test's own, which it may stop and start again: from the programs that
//! `TEST_PG_BIN` (a directory) and `TEST_MINIO_BIN` name. `scripts/test` sets both where it finds them.

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sha2::{Digest, Sha256};
use sqlx::{Connection, Executor, PgConnection};
use tempfile::TempDir;
use tokio::process::Child;
use zoom_archiver::archive::s3::Access;

use super::s3::S3Server;
use super::service::{PATIENCE, Setup};

/// Credentials of the private MinIO: made up, and good for it alone.
const MINIO_USER: &str = "zoom-archiver-chaos";
/// How its token service is asked.
const FORM: &str = "application/x-www-form-urlencoded";
/// Ports that the kernel does not hand out by itself, so that one can be taken again after a rest.
const PORTS: std::ops::Range<u16> = 10_000..30_000;
/// Time for a server to end at the end of a test.
const LAST_ORDERS: Duration = Duration::from_secs(10);

/// The program behind a variable.
///
/// # Panics
/// When it is not set: tests that need one are marked `#[ignore]`, and somebody has asked for them all the same.
fn found(variable: &str) -> PathBuf {
    let path = std::env::var_os(variable).filter(|path| !path.is_empty());
    path.unwrap_or_else(|| panic!("{variable} is not set: see scripts/test")).into()
}

/// A server process: its command, and the process while there is one.
struct Program {
    program: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(&'static str, String)>,
    log: PathBuf,
    child: Option<Child>,
    /// What ends it at once and leaves nothing behind.
    last_signal: Signal,
}

impl Program {
    fn start(&mut self) {
        let log = File::options().create(true).append(true).open(&self.log).expect("a log");
        let child = tokio::process::Command::new(&self.program)
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            // The account that it runs under may not be allowed to stand in this directory.
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", self.program.display()));
        self.child = Some(child);
    }

    /// Ends it by a signal, and returns when it has ended.
    async fn end(&mut self, signal: Signal) {
        let mut child = self.child.take().expect("it runs");
        send(&child, signal);
        let ended = tokio::time::timeout(PATIENCE, child.wait()).await;
        ended.unwrap_or_else(|_| panic!("{} does not end", self.program.display())).expect("it ended");
    }

    fn told(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        send(&child, self.last_signal);
        let give_up = Instant::now() + LAST_ORDERS;
        while matches!(child.try_wait(), Ok(None)) && Instant::now() < give_up {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn send(child: &Child, signal: Signal) {
    if let Some(pid) = child.id() {
        kill(Pid::from_raw(pid.cast_signed()), signal).expect("it can be signalled");
    }
}

/// A port of the loopback that nobody listens on at this moment.
fn free_port() -> u16 {
    std::iter::repeat_with(|| rand::random_range(PORTS))
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("there is one among so many")
}

/// Runs a command to its end.
fn run(command: &mut Command) {
    let output = command.current_dir("/").output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A PostgreSQL server.
pub(crate) struct PrivatePostgres {
    server: Program,
    url: String,
    port: u16,
    data: TempDir,
}

impl PrivatePostgres {
    /// Starts one.
    pub(crate) async fn start() -> Self {
        let options = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"];
        Self::start_on("initdb", &options).await
    }

    /// Starts one that follows this one, and that can be read from.
    pub(crate) async fn standby(&self) -> Self {
        let port = self.port().to_string();
        let options = ["-U", "postgres", "-h", "127.0.0.1", "-p", &port, "-R", "-c", "fast"];
        Self::start_on("pg_basebackup", &options).await
    }

    /// Starts one on the data that a program makes.
    async fn start_on(maker: &str, options: &[&str]) -> Self {
        let programs = found("TEST_PG_BIN");
        let data = tempfile::tempdir().expect("a directory");
        let cluster = data.path().join("cluster").display().to_string();
        let account = account(data.path());
        let words = |program: &str, options: &[&str]| {
            let mut words: Vec<String> = account.iter().map(|word| (*word).to_owned()).collect();
            words.push(programs.join(program).display().to_string());
            words.extend(["-D", &cluster].iter().chain(options).map(|word| (*word).to_owned()));
            words
        };
        let made = words(maker, options);
        run(Command::new(&made[0]).args(&made[1..]));
        let port = free_port();
        let settings = ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="];
        let mut arguments = words("postgres", &settings);
        arguments.extend(["-p".to_owned(), port.to_string()]);
        let server = Program {
            program: arguments.remove(0).into(),
            arguments,
            environment: Vec::new(),
            log: data.path().join("log"),
            child: None,
            // Immediate: the data is thrown away next.
            last_signal: Signal::SIGQUIT,
        };
        let url = format!("postgres://postgres@127.0.0.1:{port}/postgres");
        let mut this = Self { server, url, port, data };
        this.resume().await;
        this
    }

    /// Its port on the loopback.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Its URL.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Does something as its administrator.
    pub(crate) async fn execute(&self, sql: &'static str) {
        let mut connection = PgConnection::connect(&self.url).await.expect("it runs");
        connection.execute(sql).await.expect("it does it");
    }

    /// Has it take encrypted connections from now on, with a key and a certificate from these files.
    pub(crate) async fn encrypt(&self, key: &str, certificate: &str) {
        for (from, name) in [(key, "server.key"), (certificate, "server.crt")] {
            let to = self.data.path().join("cluster").join(name);
            std::fs::copy(from, &to).expect("it can be copied");
            // PostgreSQL refuses a key that others may read.
            std::fs::set_permissions(&to, PermissionsExt::from_mode(0o600)).expect("it is ours");
            if !account(self.data.path()).is_empty() {
                run(Command::new("chown").arg("postgres:").arg(&to));
            }
        }
        self.execute("ALTER SYSTEM SET ssl = on").await;
        self.execute("SELECT pg_reload_conf()").await;
        let is_on = async || {
            let mut connection = PgConnection::connect(&self.url).await.ok()?;
            let on: String = sqlx::query_scalar("SHOW ssl").fetch_one(&mut connection).await.ok()?;
            (on == "on").then_some(())
        };
        until_it_answers(&self.server, is_on).await;
    }

    /// Has it come back as a standby, which follows a primary that says nothing.
    pub(crate) fn follow(&self) {
        std::fs::write(self.data.path().join("cluster/standby.signal"), "").expect("it can be written");
    }

    /// Stops it: by SIGINT as an administrator does, by SIGQUIT as if it had crashed.
    pub(crate) async fn stop(&mut self, signal: Signal) {
        self.server.end(signal).await;
    }

    /// Starts it again, and returns when it answers.
    pub(crate) async fn resume(&mut self) {
        self.server.start();
        let answers = async || {
            let mut connection = PgConnection::connect(&self.url).await.ok()?;
            connection.ping().await.ok()
        };
        until_it_answers(&self.server, answers).await;
    }
}

async fn until_it_answers<F: Future<Output = Option<()>>>(server: &Program, mut answers: impl FnMut() -> F) {
    let asked = async {
        while answers().await.is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let answered = tokio::time::timeout(PATIENCE, asked).await;
    assert!(answered.is_ok(), "{} does not answer; it said:\n{}", server.program.display(), server.told());
}

/// The words before a command of PostgreSQL's on data below `folder`: it refuses to run as root, so root runs it as
/// `postgres`, who owns the folder then.
fn account(folder: &Path) -> Vec<&'static str> {
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    if !is_root {
        return Vec::new();
    }
    run(Command::new("chown").arg("postgres:").arg(folder));
    vec!["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]
}

/// A MinIO server.
pub(crate) struct PrivateMinio {
    server: Program,
    access: Access,
    _data: TempDir,
}

impl PrivateMinio {
    /// Starts one.
    pub(crate) async fn start() -> Self {
        Self::start_in("us-east-1").await
    }

    /// The same, in some region.
    pub(crate) async fn start_in(region: &str) -> Self {
        let program = found("TEST_MINIO_BIN");
        let data = tempfile::tempdir().expect("a directory");
        let address = format!("127.0.0.1:{}", free_port());
        let place = data.path().join("data").display().to_string();
        let server = Program {
            program,
            arguments: ["server", "--quiet", "--address", &address, &place].map(str::to_owned).to_vec(),
            environment: vec![
                ("MINIO_ROOT_USER", MINIO_USER.to_owned()),
                ("MINIO_ROOT_PASSWORD", MINIO_USER.to_owned()),
                ("MINIO_SITE_REGION", region.to_owned()),
                ("MINIO_BROWSER", "off".to_owned()),
                ("MINIO_UPDATE", "off".to_owned()),
                ("HOME", data.path().display().to_string()),
            ],
            log: data.path().join("log"),
            child: None,
            last_signal: Signal::SIGKILL,
        };
        let access = Access {
            endpoint: format!("http://{address}"),
            region: region.to_owned(),
            access_key_id: MINIO_USER.to_owned(),
            secret_access_key: MINIO_USER.into(),
        };
        let mut this = Self { server, access, _data: data };
        this.resume().await;
        this
    }

    /// A client of it.
    pub(crate) fn client(&self) -> S3Server {
        S3Server::at(self.access.clone())
    }

    /// Keys that may do this and nothing else, for an hour: its token service gives them out (STS, `AssumeRole`). The SDK's own
    /// provider wants a name of the role in the answer, and this one has no roles.
    pub(crate) async fn keys(&self, rights: &[&str]) -> Keys {
        let policy = serde_json::json!({
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": rights, "Resource": "arn:aws:s3:::*"}],
        });
        let body = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("Action", "AssumeRole")
            .append_pair("Version", "2011-06-15")
            .append_pair("DurationSeconds", "3600")
            .append_pair("Policy", &policy.to_string())
            .finish();
        let now = chrono::Utc::now();
        let (date, digest) = (now.format("%Y%m%dT%H%M%SZ").to_string(), hex(&Sha256::digest(&body)));
        let request = reqwest::Client::new()
            .post(format!("{}/", self.access.endpoint))
            .header("content-type", FORM)
            .header("x-amz-content-sha256", &digest)
            .header("x-amz-date", &date)
            .header("authorization", self.signature(&date, &digest))
            .body(body);
        let answer = request.send().await.expect("it answers").text().await.expect("in text");
        let field = |name: &str| {
            let (_, rest) = answer.split_once(&format!("<{name}>")).unwrap_or_else(|| panic!("{answer}"));
            rest.split('<').next().unwrap_or_default().to_owned()
        };
        Keys { id: field("AccessKeyId"), secret: field("SecretAccessKey"), token: field("SessionToken") }
    }

    /// What stands in `Authorization` of a form that is posted to the token service ("AWS Signature Version 4").
    fn signature(&self, date: &str, digest: &str) -> String {
        let host = self.access.endpoint.trim_start_matches("http://");
        let names = "content-type;host;x-amz-content-sha256;x-amz-date";
        let headers =
            format!("content-type:{FORM}\nhost:{host}\nx-amz-content-sha256:{digest}\nx-amz-date:{date}\n");
        let request = format!("POST\n/\n\n{headers}\n{names}\n{digest}");
        let steps = [&date[..8], &self.access.region, "sts", "aws4_request"];
        let scope = steps.join("/");
        let signed = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hex(&Sha256::digest(request)));
        let key = steps.iter().fold(format!("AWS4{MINIO_USER}").into_bytes(), |key, step| mac(&key, step));
        let signature = hex(&mac(&key, &signed));
        format!(
            "AWS4-HMAC-SHA256 Credential={MINIO_USER}/{scope}, SignedHeaders={names}, Signature={signature}"
        )
    }

    /// Stops it: by SIGTERM as an administrator does, by SIGKILL as if it had crashed.
    pub(crate) async fn stop(&mut self, signal: Signal) {
        self.server.end(signal).await;
    }

    /// Starts it again, and returns when it answers.
    pub(crate) async fn resume(&mut self) {
        self.server.start();
        let url = format!("{}/minio/health/ready", self.access.endpoint);
        let answers = async || reqwest::get(&url).await.ok()?.status().is_success().then_some(());
        until_it_answers(&self.server, answers).await;
    }
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// Keys to a bucket, with the token of their session.
pub(crate) struct Keys {
    id: String,
    secret: String,
    token: String,
}

impl Keys {
    /// Has a service use them.
    pub(crate) fn point(&self, setup: Setup) -> Setup {
        setup
            .env("AWS_ACCESS_KEY_ID", &self.id)
            .env("AWS_SECRET_ACCESS_KEY", &self.secret)
            .env("AWS_SESSION_TOKEN", &self.token)
    }
}
