//! `demo`: the whole way from signed event to proven object, with a fake Zoom, on the embedded default. Needs
//! nothing: no account, no bucket, no network.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::IsTerminal;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{Common, failed};
use crate::app::{App, Role, Service};
use crate::archive::{SharedArchive, read_back};
use crate::clock::Clock;
use crate::config::load::{self, Environment};
use crate::config::log::LogFormat;
use crate::config::{Config, Secrets};
use crate::domain::file::{FileRow, FileState};
use crate::domain::ids::FileId;
use crate::domain::job::{JobState, Task};
use crate::domain::key::MANIFEST_NAME;
use crate::http::public::WEBHOOK_PATH;
use crate::simulator::events::{EventKind, Quirks};
use crate::simulator::{FakeRecording, FakeZoom, Options, Sender};
use crate::store::SharedStore;
use crate::telemetry::{self, LogTarget};

/// Options of `demo`.
#[derive(Debug, Args)]
pub(super) struct DemoArgs {}

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Longest that one step of the demo may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often the bars are drawn.
const FRAME: Duration = Duration::from_millis(80);
/// How fast the fake Zoom sends on a terminal, in bytes per second and download, so that there is something to
/// see.
const VISIBLE_BYTES_PER_SEC: u64 = 24 * 1024;

pub(super) async fn run(common: &Common, _: DemoArgs) -> ExitCode {
    telemetry::init_log(LogFormat::Text, LogTarget::Stderr, Some("warn"));
    match demo(common).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&format!("the demo failed: {error}")),
    }
}

async fn demo(common: &Common) -> Result<(), Failure> {
    let bytes_per_sec = std::io::stderr().is_terminal().then_some(VISIBLE_BYTES_PER_SEC);
    let seed = rand::random::<u64>();
    let zoom = FakeZoom::start(Options { bytes_per_sec, seed, ..Options::default() }).await?;
    let secret = SecretString::from(format!("{:032x}", rand::random::<u128>()));
    let stage = Stage::open(common, &zoom, secret.clone()).await?;
    let target = Url::parse(&format!("http://{}{WEBHOOK_PATH}", stage.service.public_addr))?;
    let sender = Sender::new(target.clone(), secret, Vec::new())?;
    let session = FakeRecording::video_sdk(seed);

    say(&format!("A fake Zoom serves recordings at {}.", zoom.origin()));
    say(&format!("The service listens at {target}, with {}.\n", stage.store.describe()));
    sender.validate_url("a-plain-token-of-the-demo").await?;
    say("1. Zoom has validated the URL.");

    let announce = [
        (EventKind::Recording, "2. The session has ended: video, audio, chat, timeline, participant tracks."),
        (EventKind::Transcript, "3. Later: the transcript."),
        (EventKind::Summary, "4. Later still: the summary."),
    ];
    let mut bars = Bars::new();
    for (kind, line) in announce {
        say(line);
        bars.begin_step();
        deliver(&sender, &zoom, &session, kind).await?;
        stage.watch(&mut bars).await?;
    }
    say("5. Zoom sends all three events again, with other URLs and tokens: nothing may be doubled.");
    bars.begin_step();
    for kind in EventKind::of(&session) {
        deliver(&sender, &zoom, &session, kind).await?;
    }
    stage.watch(&mut bars).await?;

    say(
        "6. Another session has ended, but its webhook is lost: neither the event nor a repetition of it arrives.",
    );
    bars.begin_step();
    let lost = lose(&zoom, seed.wrapping_add(1));
    stage.watch(&mut bars).await?;
    let known = stage.files().await?.len();
    say(&format!("   {known} files are known; of this session none."));
    say(
        "7. The reconciler asks Zoom's API what was recorded lately, as it does every six hours, and finds it.",
    );
    bars.begin_step();
    stage.store.repeat(Task::Reconcile, Duration::ZERO).await?;
    stage.watch(&mut bars).await?;

    let (files, recorded) = (stage.files().await?, session.files.len() + lost.files.len());
    if files.len() != recorded {
        return Err(format!("{recorded} files were recorded, {} are known", files.len()).into());
    }
    say("\nRead back and hashed again:\n");
    let table = proof_table(&stage.archive, &files).await?;
    say(&table.to_string());
    say(&stage.what_next(&files));
    stage.close().await
}

async fn deliver(
    sender: &Sender,
    zoom: &FakeZoom,
    session: &FakeRecording,
    kind: EventKind,
) -> Result<(), Failure> {
    let delivery = sender.deliver(&zoom.announce(session, kind, Quirks::default())).await;
    if delivery.answer.is_accepted() {
        return Ok(());
    }
    Err(format!("the receiver did not accept an event: {}", delivery.answer).into())
}

/// A session of just now, of which the service hears nothing.
fn lose(zoom: &FakeZoom, seed: u64) -> FakeRecording {
    let mut session = FakeRecording::video_sdk(seed);
    session.start_time = Clock::System.now();
    for kind in EventKind::of(&session) {
        zoom.library().lose(&zoom.announce(&session, kind, Quirks::default()));
    }
    session
}

/// The service on the embedded default, and what belongs to this run of the demo.
struct Stage {
    service: Service,
    store: SharedStore,
    archive: SharedArchive,
    data_dir: PathBuf,
    known_before: HashSet<FileId>,
    stop: CancellationToken,
}

impl Stage {
    async fn open(common: &Common, zoom: &FakeZoom, secret: SecretString) -> Result<Self, Failure> {
        // The embedded default whatever the environment says: a demo must not write into a real bucket.
        let mut config: Config = load::load(None, &Environment::new())?;
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        config.http.listen = any_port;
        config.http.admin_listen = any_port;
        config.zoom.download_hosts = vec![zoom.origin(), zoom.second_origin()];
        config.worker.poll_interval_ms = 100;
        config.transfer.manifest_delay_ms = 200;
        config.zoom.api_base_url = Url::parse(&zoom.api_base_url())?;
        // The demo says itself when it is time.
        config.reconcile.interval_secs = 0;
        let credentials = zoom.video_sdk_credentials();
        let credentials = credentials.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut secrets = Secrets::read(&Environment::from(credentials), &common.data_dir)?;
        secrets.webhook_secret_tokens = vec![secret];
        let app = App::open(config, secrets, &Role::ALL).await?;
        let (store, archive) = (Arc::clone(&app.store), Arc::clone(&app.archive));
        let known_before = all_files(&store).await?.into_iter().map(|file| file.id).collect();
        let stop = CancellationToken::new();
        let service = app.start(&Role::ALL, telemetry::init_metrics()?, stop.clone()).await?;
        let data_dir = std::path::absolute(&common.data_dir)?;
        Ok(Self { service, store, archive, data_dir, known_before, stop })
    }

    /// The files of this run.
    async fn files(&self) -> Result<Vec<FileRow>, Failure> {
        let mut files = all_files(&self.store).await?;
        files.retain(|file| !self.known_before.contains(&file.id));
        Ok(files)
    }

    /// Draws the bars until the queue is empty.
    async fn watch(&self, bars: &mut Bars) -> Result<(), Failure> {
        let watched = async {
            loop {
                let files = self.files().await?;
                bars.draw(&files, &self.carried());
                if let Some(stuck) = files.iter().find(|file| is_stuck(file.state)) {
                    let reason = stuck.reason.as_deref().unwrap_or("for no reason given");
                    return Err(format!("{} is {}: {reason}", label(stuck), stuck.state).into());
                }
                if self.is_idle().await? {
                    bars.draw(&self.files().await?, &self.carried());
                    return Ok::<(), Failure>(());
                }
                tokio::time::sleep(FRAME).await;
            }
        };
        tokio::time::timeout(PATIENCE, watched)
            .await
            .map_err(|_| format!("not finished after {} s", PATIENCE.as_secs()))?
    }

    fn carried(&self) -> BTreeMap<FileId, u64> {
        let running = self.service.board.running().into_iter();
        running
            .filter_map(|running| match running.task {
                Task::Transfer(file) => Some((file, running.bytes)),
                Task::Manifest(_) | Task::Remove(_) | Task::Reconcile | Task::Verify | Task::Notify(_) => {
                    None
                }
            })
            .collect()
    }

    async fn is_idle(&self) -> Result<bool, Failure> {
        let busy = |state| matches!(state, JobState::Waiting | JobState::Running);
        Ok(!self.store.depth().await?.iter().any(|depth| depth.jobs > 0 && busy(depth.state)))
    }

    fn what_next(&self, files: &[FileRow]) -> String {
        let folder = files
            .iter()
            .find_map(|file| file.object_key.as_deref()?.rsplit_once('/'))
            .map_or_else(String::new, |(folder, _)| folder.to_owned());
        let archive = self.data_dir.join("archive");
        format!(
            "\nEverything lies under {archive}; what it is and what proves it stands in\n  \
             {manifest}\n\nNext: set ZOOM_WEBHOOK_SECRET_TOKEN to your Zoom app's Secret Token and run\n  \
             zoom-archiver serve\nwhich says the URL to register at Zoom and the events to tick. To archive into \
             a bucket,\nset ARCHIVE_URL=s3://BUCKET/PREFIX and the usual AWS_* variables.",
            archive = archive.display(),
            manifest = archive.join(folder).join(MANIFEST_NAME).display(),
        )
    }

    async fn close(self) -> Result<(), Failure> {
        self.stop.cancel();
        Ok(self.service.stopped().await?)
    }
}

fn is_stuck(state: FileState) -> bool {
    matches!(state, FileState::Parked | FileState::Dead | FileState::Gone)
}

async fn all_files(store: &SharedStore) -> Result<Vec<FileRow>, Failure> {
    const PAGE: u32 = 500;
    let mut files: Vec<FileRow> = Vec::new();
    loop {
        let page = store.files(&[], files.last().map(|file| file.id), PAGE).await?;
        let last = page.len() < PAGE as usize;
        files.extend(page);
        if last {
            return Ok(files);
        }
    }
}

/// Reads every object back and compares its digest with the row's.
async fn proof_table(archive: &SharedArchive, files: &[FileRow]) -> Result<Table, Failure> {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY).set_header(["object", "bytes", "SHA-256"]);
    for file in files {
        let archived = file.archived.as_ref().ok_or_else(|| format!("{} is {}", label(file), file.state))?;
        let (_, digest) = read_back(archive.as_ref(), &archived.object_key, |_| ()).await?;
        if digest != archived.sha256 {
            return Err(format!("{} reads back as {digest}", archived.object_key).into());
        }
        let name = archived.object_key.rsplit('/').next().unwrap_or_default();
        table.add_row([name.to_owned(), archived.bytes.to_string(), digest.to_string()]);
    }
    if let Some(column) = table.column_mut(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    Ok(table)
}

/// A file's name for people.
fn label(file: &FileRow) -> String {
    let participant = file.metadata.get("file_name").and_then(|name| name.as_str());
    match participant {
        Some(name) => format!("{} {name}", file.file_type),
        None => format!("{} {}", file.file_type, file.recording_type),
    }
}

/// A progress bar per file on a terminal, a line per file elsewhere.
struct Bars {
    all: MultiProgress,
    bars: HashMap<FileId, ProgressBar>,
    finished: HashSet<FileId>,
}

impl Bars {
    fn new() -> Self {
        Self { all: MultiProgress::new(), bars: HashMap::new(), finished: HashSet::new() }
    }

    /// Leaves the bars of earlier steps where they stand: what is printed from now on comes below them.
    fn begin_step(&mut self) {
        self.all = MultiProgress::new();
        self.bars.clear();
    }

    fn draw(&mut self, files: &[FileRow], carried: &BTreeMap<FileId, u64>) {
        for file in files {
            if self.finished.contains(&file.id) {
                continue;
            }
            let bar = self.bars.entry(file.id).or_insert_with(|| new_bar(&self.all, file));
            if file.state == FileState::Archived {
                bar.set_position(bar.length().unwrap_or_default());
                bar.finish_with_message("archived");
                self.finished.insert(file.id);
                if self.all.is_hidden() {
                    say(&format!("   archived {}", label(file)));
                }
            } else if let Some(bytes) = carried.get(&file.id) {
                bar.set_position(*bytes);
            }
        }
    }
}

fn new_bar(all: &MultiProgress, file: &FileRow) -> ProgressBar {
    let style = ProgressStyle::with_template("   {prefix:42!} {bar:24} {bytes:>10} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(file.announced_bytes.unwrap_or_default()).with_style(style);
    let bar = all.add(bar);
    bar.set_prefix(label(file));
    bar
}

#[allow(clippy::print_stdout, reason = "the command's output")]
fn say(line: &str) {
    println!("{line}");
}
