//! The program itself, as a process of its own: started with real arguments, watched through its log, ended
//! by real signals.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub(crate) use super::program::program;
use super::program::{Program, Secrets};

/// The Secret Token of the tests' Zoom app.
pub(crate) const SECRET: &str = "test-secret-token";

/// Time for a service to come up, or to reach a state that a test waits for; generous, because the machine may
/// be busy. Nothing is timed by it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// How a service is to be started.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    environment: BTreeMap<String, String>,
    roles: Option<&'static str>,
    data_dir: PathBuf,
}

impl Setup {
    /// The embedded default in `data_dir`, impatient enough for tests, with free ports.
    pub(crate) fn new(data_dir: &Path) -> Self {
        let mut setup = Self { environment: BTreeMap::new(), roles: None, data_dir: data_dir.to_owned() };
        for (name, value) in [
            ("ZOOM_WEBHOOK_SECRET_TOKEN", SECRET),
            ("ZOOM_ARCHIVER_HTTP__LISTEN", "127.0.0.1:0"),
            ("ZOOM_ARCHIVER_HTTP__ADMIN_LISTEN", "127.0.0.1:0"),
            ("ZOOM_ARCHIVER_WORKER__POLL_INTERVAL_MS", "50"),
            ("ZOOM_ARCHIVER_WORKER__SWEEP_INTERVAL_MS", "100"),
            ("ZOOM_ARCHIVER_WORKER__LEASE_SECS", "3"),
            ("ZOOM_ARCHIVER_WORKER__RETRY_BASE_MS", "20"),
            ("ZOOM_ARCHIVER_WORKER__RETRY_MAX_MS", "200"),
            ("ZOOM_ARCHIVER_TRANSFER__STALL_SECS", "2"),
            ("ZOOM_ARCHIVER_TRANSFER__MANIFEST_DELAY_MS", "50"),
            // A doubtful file is asked for again once, and at once.
            ("ZOOM_ARCHIVER_TRANSFER__DOUBT_RETRIES", "1"),
            ("ZOOM_ARCHIVER_TRANSFER__DOUBT_REST_SECS", "0"),
            // What a test reads of the database must be of now.
            ("ZOOM_ARCHIVER_HTTP__METRICS_MAX_AGE_MS", "0"),
            // A round asks the API: in tests that count questions, or have the API go wrong, only when it is wanted.
            ("ZOOM_ARCHIVER_RECONCILE__INTERVAL_SECS", "0"),
            // Likewise: a round reads what tests count, and is one job more.
            ("ZOOM_ARCHIVER_VERIFY__PERIOD_DAYS", "0"),
            // Likewise: it asks the archive for something.
            ("ZOOM_ARCHIVER_ARCHIVE__TRY_AT_START", "false"),
        ] {
            setup = setup.env(name, value);
        }
        setup
    }

    /// Sets a variable.
    pub(crate) fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.insert(name.to_owned(), value.into());
        self
    }

    /// Leaves a variable unset.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.environment.remove(name);
        self
    }

    /// Splits the roles.
    pub(crate) fn roles(mut self, roles: &'static str) -> Self {
        self.roles = Some(roles);
        self
    }

    /// The command line of the program, with the settings of the service.
    pub(crate) fn cli(&self, arguments: &[&str]) -> Program {
        let mut command = program();
        command.args(arguments).arg("--data-dir").arg(&self.data_dir).envs(&self.environment);
        command
    }

    fn command(&self) -> Program {
        let mut command = program();
        command.arg("serve").arg("--log-format").arg("json").arg("--data-dir").arg(&self.data_dir);
        if let Some(roles) = self.roles {
            command.arg("--roles").arg(roles);
        }
        command.envs(&self.environment);
        command
    }

    /// Runs another command with the same settings, to its end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> std::process::Output {
        self.cli(arguments).output().await.expect("the program runs")
    }

    /// Starts it and waits until it is ready.
    pub(crate) async fn start(&self) -> Service {
        let service = self.spawn();
        service.ready().await;
        service
    }

    /// Starts it without waiting.
    pub(crate) fn spawn(&self) -> Service {
        let mut command = self.command();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let log = Log::default();
        let readers = vec![
            log.follow(child.stdout.take().expect("stdout is piped")),
            log.follow(child.stderr.take().expect("stderr is piped")),
        ];
        Service { child, log, readers, secrets: command.secrets() }
    }
}

/// A running service.
#[derive(Debug)]
pub(crate) struct Service {
    child: Child,
    /// What it has said so far.
    pub(crate) log: Log,
    readers: Vec<JoinHandle<()>>,
    /// What it must not say.
    secrets: Secrets,
}

/// However a test ends with it: it has said nothing that must not be said.
impl Drop for Service {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.secrets.assert_none_in(&self.log.text());
        }
    }
}

impl Service {
    /// Waits until it says that it is ready.
    pub(crate) async fn ready(&self) {
        self.log.wait_for(|line| line["message"] == "ready").await;
    }

    /// Where the webhook arrives.
    pub(crate) fn webhook(&self) -> String {
        format!("http://{}/webhooks/zoom", self.public_addr())
    }

    /// The public door.
    pub(crate) fn public_addr(&self) -> SocketAddr {
        self.address("http.addr")
    }

    /// The private door.
    pub(crate) fn admin_addr(&self) -> SocketAddr {
        self.address("http.admin_addr")
    }

    fn address(&self, field: &str) -> SocketAddr {
        let lines = self.log.lines();
        let line = lines.iter().find(|line| line["message"] == "ready").expect("it is ready");
        line[field].as_str().expect("the address is a field").parse().expect("and can be read")
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid().cast_signed()), signal).expect("it can be signalled");
    }

    /// Stops reading its log: whatever it writes from now on fails.
    pub(crate) async fn close_log(&mut self) {
        for reader in self.readers.drain(..) {
            reader.abort();
            assert!(reader.await.is_err_and(|error| error.is_cancelled()));
        }
    }

    /// Kills it as the kernel would.
    pub(crate) async fn kill(mut self) -> Log {
        self.signal(Signal::SIGKILL);
        self.ended().await.1
    }

    /// Stops it softly and returns its exit code.
    pub(crate) async fn stop(mut self) -> (Option<i32>, Log) {
        self.signal(Signal::SIGTERM);
        self.ended().await
    }

    /// Waits until it ends by itself.
    pub(crate) async fn ended(&mut self) -> (Option<i32>, Log) {
        let status = tokio::time::timeout(PATIENCE, self.child.wait())
            .await
            .unwrap_or_else(|_| panic!("it does not end; log:\n{}", self.log.text()))
            .expect("it can be waited for");
        for reader in self.readers.drain(..) {
            reader.await.expect("the log is read to its end");
        }
        (status.code(), self.log.clone())
    }

    /// Peak memory of the process so far, in bytes, but for the pages of the program itself: those of a build for tests are
    /// many, and as many as the system happens to hold.
    pub(crate) fn peak_memory(&self) -> u64 {
        self.status_kib("VmHWM:").saturating_sub(self.status_kib("RssFile:")) * 1024
    }

    /// Memory of the process now, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        self.status_kib("VmRSS:") * 1024
    }

    fn status_kib(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = status.lines().find(|line| line.starts_with(field)).expect("the kernel counts it");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("in KiB")
    }

    /// What it must not say, in answers as in its log.
    pub(crate) fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Its metrics, which must not hold a secret.
    pub(crate) async fn metrics(&self) -> String {
        let url = format!("http://{}/metrics", self.admin_addr());
        let text = reqwest::get(url).await.expect("metrics answer").text().await.expect("in text");
        self.secrets.assert_none_in(&text);
        text
    }

    /// One number of its metrics: the sum over all series of this name whose labels contain `label`.
    pub(crate) async fn metric(&self, name: &str, label: &str) -> f64 {
        let text = self.metrics().await;
        text.lines()
            .filter(|line| line.starts_with(name) && line.contains(label))
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
            .sum()
    }

    /// How many failures of this class have ended a run.
    pub(crate) async fn failures(&self, side: &str, class: &str) -> f64 {
        self.metric("zoom_archiver_failures_total", &format!(r#"side="{side}",class="{class}""#)).await
    }
}

/// The log of a service, read as it comes.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    grown: watch::Sender<usize>,
}

impl Default for Log {
    fn default() -> Self {
        Self { lines: Arc::default(), grown: watch::Sender::new(0) }
    }
}

impl Log {
    fn follow(&self, stream: impl tokio::io::AsyncRead + Unpin + Send + 'static) -> JoinHandle<()> {
        let log = self.clone();
        tokio::spawn(async move {
            let mut lines = BufReader::new(stream).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                log.lines.lock().unwrap().push(line);
                log.grown.send_modify(|count| *count += 1);
            }
        })
    }

    /// Everything so far, as it came.
    pub(crate) fn text(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }

    /// Everything so far that is JSON.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let lines = self.lines.lock().unwrap();
        lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Waits for a line, already said or not.
    pub(crate) async fn wait_for(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut grown = self.grown.subscribe();
        let found = async {
            loop {
                grown.borrow_and_update();
                if let Some(line) = self.lines().into_iter().find(&wanted) {
                    return line;
                }
                grown.changed().await.expect("the log is still there");
            }
        };
        tokio::time::timeout(PATIENCE, found)
            .await
            .unwrap_or_else(|_| panic!("the log does not say it; log:\n{}", self.text()))
    }

    /// Panics when a secret was logged.
    pub(crate) fn assert_free_of<'a>(&self, secrets: impl IntoIterator<Item = &'a str>) {
        let text = self.text();
        for secret in secrets {
            assert!(!text.contains(secret), "the log holds the secret {secret}:\n{text}");
        }
    }
}

/// Waits until a question, asked again and again, is answered with `Some`.
pub(crate) async fn eventually<T, F>(what: &str, ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    eventually_within(PATIENCE, what, ask).await
}

/// The same, for so long.
pub(crate) async fn eventually_within<T, F>(patience: Duration, what: &str, mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let asked = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(patience, asked).await.unwrap_or_else(|_| panic!("never happened: {what}"))
}
