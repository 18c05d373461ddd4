//! Everything that goes wrong at Zoom, on every way into the archive: the right bytes or the right state with the
//! right reason, and little fetched twice: less than a run that began anew would fetch.
//!
//! A row of the matrix is a [`Case`], a column a [`Way`]. The cases of a column share one service, each with a
//! recording of its own, so that a cell costs no more than its bytes.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;
use sha2::{Digest, Sha256};
use tokio::sync::{Mutex, watch};
use zoom_archiver::domain::file::{ArchivedFile, FileRow, FileState, Sha256Digest};
use zoom_archiver::domain::recording::RecordingKind;
use zoom_archiver::simulator::events::EventKind;
use zoom_archiver::simulator::recording::AnnouncedSize;
use zoom_archiver::simulator::{Content, FakeFile, FakeRecording, Fault, Options, RedirectTo, When};
use zoom_archiver::store::SharedStore;

use crate::support::place::Place;
use crate::support::scene::{Scene, patient_sender_to};

const MIB: u64 = 1024 * 1024;
/// A part, as the services here are told: the least that S3 allows.
const PART: u64 = 5 * MIB;
/// What a server has sent and a run that ends has not taken into a part: what its connections hold, which grows while its
/// parts are all on their way into the archive.
const IN_THE_NETWORK: u64 = 4 * MIB;
/// Much less than a part.
const SMALL: u64 = 100_000;
/// Cells that a service plays at once.
const CONCURRENCY: u64 = 6;
/// Time for one cell, which shares a service and a machine with all others.
const CELL_PATIENCE: Duration = Duration::from_secs(300);

/// A way into the archive.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// One request to an S3 server.
    Put,
    /// Parts, sent to an S3 server.
    Multipart,
    /// Parts, written into a directory.
    Directory,
}

/// A column of the matrix.
#[derive(Debug, Clone, Copy)]
struct Column {
    way: Way,
    /// `transfer.ranges_in_flight`.
    ranges: u64,
    /// `transfer.parts_in_flight`.
    parts: u64,
}

impl Column {
    fn new(way: Way, ranges: u64) -> Self {
        Self { way, ranges, parts: ranges.max(2) }
    }

    /// Length of the files. A large one is so long that, where it ends, more parts are in the archive than on their way:
    /// beginning anew costs more there than an interruption may.
    fn file_bytes(self) -> u64 {
        match self.way {
            Way::Put => SMALL,
            Way::Multipart | Way::Directory => 2 * self.parts * PART + PART / 2 + 7,
        }
    }

    async fn place(self) -> Place {
        match self.way {
            Way::Put | Way::Multipart => Place::bucket().await,
            Way::Directory => Place::directory(),
        }
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = match self.way {
            Way::Put => "one request to S3",
            Way::Multipart => "parts to S3",
            Way::Directory => "directory",
        };
        write!(f, "{way}, {} at once", self.ranges)
    }
}

/// How a case must end: always in the archive, sometimes after somebody has done something.
#[derive(Debug, Clone)]
enum End {
    /// In the archive, with nothing to remark.
    Archived,
    /// In the archive, marked, because it is not as long as was announced.
    Marked,
    /// Parked for a token, for a reason that says this; the next event lets it go on.
    AfterToken(&'static str),
    /// Parked for a person, for a reason that says this; a retry lets it go on.
    AfterRetry(&'static str),
}

/// What may be fetched twice.
#[derive(Debug, Clone, Copy)]
enum Twice {
    /// Parts: as many as are in flight, for each interruption.
    Parts,
    /// The file, for each interruption: ranges do not work.
    File,
}

/// A row of the matrix.
#[derive(Debug, Clone)]
struct Case {
    name: String,
    faults: Vec<(Fault, When)>,
    announced: AnnouncedSize,
    end: End,
    /// Connections that broke off and were replaced by others, while the run went on.
    cuts: u64,
    /// Runs that ended amid the file.
    interruptions: u64,
    twice: Twice,
    /// What is in the archive at the end, when it is not what was there at first.
    replaced_by: Option<Content>,
    /// How long Zoom said to stay away.
    stay_away: Duration,
}

impl Case {
    fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            faults: Vec::new(),
            announced: AnnouncedSize::True,
            end: End::Archived,
            cuts: 0,
            interruptions: 0,
            twice: Twice::Parts,
            replaced_by: None,
            stay_away: Duration::ZERO,
        }
    }

    fn fault(mut self, fault: Fault, when: When) -> Self {
        self.faults.push((fault, when));
        self
    }

    /// A connection breaks in this way, and the run goes on by another one.
    fn cut(mut self, fault: Fault) -> Self {
        self.cuts += 1;
        self.fault(fault, When::First(1))
    }

    /// A connection breaks in this way, and the run ends: it gets no other one.
    fn interrupted(mut self, fault: Fault) -> Self {
        self.interruptions += 1;
        self.fault(fault, When::First(1))
    }

    fn ends(mut self, end: End) -> Self {
        self.end = end;
        self
    }

    fn announced(mut self, size: AnnouncedSize) -> Self {
        self.announced = size;
        self
    }

    fn without_ranges(mut self) -> Self {
        self.twice = Twice::File;
        self
    }

    /// How many bytes may be fetched twice. A refusal while nothing else is on its way costs nothing, and a cut no more
    /// than what the network held.
    fn allowed_twice(&self, column: Column) -> u64 {
        let file = column.file_bytes();
        match self.twice {
            Twice::Parts => {
                let interruption = column.parts * PART + IN_THE_NETWORK;
                self.cuts * file.min(PART) + self.interruptions * file.min(interruption)
            }
            // An answer that is the whole file where a piece was asked for is let go, and another lane reads its own.
            Twice::File => {
                (self.cuts + self.interruptions) * file + (column.ranges - 1) * IN_THE_NETWORK.min(file)
            }
        }
    }

    fn recording(&self, number: u64, column: Column) -> FakeRecording {
        let mut file = FakeFile::generated(9000 + number, column.file_bytes());
        file.announced = self.announced;
        FakeRecording::new(RecordingKind::VideoSdk, 500 + number).with([file])
    }
}

/// Ten places to cut a file at.
fn places_to_cut(bytes: u64) -> [u64; 10] {
    let last = bytes - 1;
    if bytes > PART {
        [0, 1, PART / 2, PART - 1, PART, PART + 1, 2 * PART + PART / 3, 3 * PART, 4 * PART + 1, last]
    } else {
        [0, 1, bytes / 10, bytes / 4, bytes / 3, bytes / 2, bytes / 3 * 2, bytes / 10 * 9, last - 1, last]
    }
}

/// Where a file breaks off when it is the rest that matters: in its last part, where beginning anew would fetch more of
/// a large file twice than is allowed.
fn midway(bytes: u64) -> u64 {
    bytes - (bytes / 10).min(PART / 4)
}

fn status(code: StatusCode, retry_after: Option<u64>) -> Fault {
    Fault::Status { code, retry_after }
}

fn redirect(url: &str) -> Fault {
    Fault::Redirect(RedirectTo::Anywhere(url.to_owned()))
}

/// The rows of the matrix, for files of so many bytes.
fn cases(bytes: u64) -> Vec<Case> {
    let mut cases = vec![Case::new("nothing goes wrong")];
    cases.extend(cuts(bytes));
    cases.extend(refusals(bytes));
    cases.extend(expiries(bytes));
    cases.extend(lies(bytes));
    cases.extend(odd_ranges(bytes));
    cases.extend(redirects(bytes));
    cases.extend(replacements(bytes));
    cases
}

fn cuts(bytes: u64) -> impl Iterator<Item = Case> {
    let cut = |position| Fault::CutAt { position };
    let once = places_to_cut(bytes)
        .map(|position| Case::new(format!("cut at byte {position} of {bytes}")).cut(cut(position)));
    once.into_iter().chain([
        Case::new("cut twice").cut(cut(bytes / 2)).cut(cut(midway(bytes))),
        Case::new("cut twice at the same byte").cut(cut(midway(bytes))).cut(cut(midway(bytes))),
        Case::new("stall").cut(Fault::StallAt { position: midway(bytes) }),
    ])
}

fn refusals(bytes: u64) -> impl Iterator<Item = Case> {
    let interrupted = |name: &str| Case::new(name).interrupted(Fault::CutAt { position: midway(bytes) });
    let error = status(StatusCode::INTERNAL_SERVER_ERROR, None);
    let busy = status(StatusCode::TOO_MANY_REQUESTS, Some(1));
    let patient = |case: Case| Case { stay_away: Duration::from_secs(1), ..case };
    [
        Case::new("500 twice").fault(error.clone(), When::First(2)),
        interrupted("500 twice midway").fault(error, When::AfterBreak(2)),
        patient(Case::new("429 with Retry-After").fault(busy.clone(), When::First(1))),
        patient(interrupted("429 with Retry-After midway").fault(busy, When::AfterBreak(1))),
    ]
    .into_iter()
}

/// Here no credentials for Zoom's API are at hand: who can renew a token does not wait for the next event.
fn expiries(bytes: u64) -> impl Iterator<Item = Case> {
    let position = midway(bytes);
    [
        Case::new("sign-in page")
            .fault(Fault::SignInPage, When::First(1))
            .ends(End::AfterToken("sign-in page")),
        Case::new("sign-in page midway")
            .interrupted(Fault::CutAt { position })
            .fault(Fault::SignInPage, When::AfterBreak(1))
            .ends(End::AfterToken("sign-in page")),
        Case::new("token expires midway")
            .interrupted(Fault::ExpireAt { position })
            .ends(End::AfterToken("fresh token")),
    ]
    .into_iter()
}

fn lies(bytes: u64) -> impl Iterator<Item = Case> {
    // A length that is not the announced one is asked for once more, by another run.
    let odd = |name: &str| Case { interruptions: 1, ..Case::new(name) };
    let length = |delta| Fault::ContentLength { delta };
    [
        odd("Content-Length says more").fault(length(5), When::First(1)),
        odd("Content-Length says less").fault(length(-5), When::First(1)),
        Case::new("Content-Length is absent").fault(Fault::Chunked, When::Always),
        odd("announced as longer").announced(AnnouncedSize::Lie(bytes + 1000)).ends(End::Marked),
        odd("announced as shorter").announced(AnnouncedSize::Lie(bytes - 1000)).ends(End::Marked),
        Case::new("announced without a size").announced(AnnouncedSize::Missing),
        Case { interruptions: 2, ..Case::new("a content coding that nobody asked for") }
            .fault(Fault::Encoded, When::First(2)),
        Case { interruptions: 1, ..Case::new("a body without an end") }.fault(Fault::Endless, When::First(1)),
        Case::new("no length anywhere").announced(AnnouncedSize::Missing).fault(Fault::Chunked, When::Always),
    ]
    .into_iter()
}

fn odd_ranges(bytes: u64) -> impl Iterator<Item = Case> {
    let cut = |name: &str| Case::new(name).cut(Fault::CutAt { position: midway(bytes) }).without_ranges();
    let shifted = Fault::RangeShifted { by: 1 };
    [
        cut("ranges ignored").fault(Fault::RangesIgnored, When::Always),
        cut("ranges ignored after a cut").fault(Fault::RangesIgnored, When::AfterBreak(u32::MAX)),
        cut("ranges refused").fault(Fault::RangesRefused, When::Always),
        cut("ranges wrong").fault(shifted.clone(), When::Always),
        cut("a range wrong once").fault(shifted, When::AfterBreak(1)),
        cut("ranges ignored when they are conditional").fault(Fault::ConditionalRangesIgnored, When::Always),
        Case::new("no range says how long the file is").fault(Fault::UnknownLength, When::Always),
        Case::new("ranges are shorter than asked for")
            .fault(Fault::ShortRanges { most: MIB / 2 }, When::Always),
    ]
    .into_iter()
}

fn redirects(bytes: u64) -> impl Iterator<Item = Case> {
    let off_the_list = "is not among Zoom's hosts";
    let parked = [
        ("off the list", redirect("https://cdn.example.com/x"), off_the_list),
        ("to a private address", redirect("https://169.254.169.254/latest/meta-data"), off_the_list),
        ("to a private address that answers", Fault::Redirect(RedirectTo::OtherOrigin), off_the_list),
        ("to a name of a private address", redirect("https://localhost/x"), "resolves to a private address"),
    ];
    let parked = parked.into_iter().flat_map(move |(name, fault, reason)| {
        let first = Case::new(format!("redirect {name}")).fault(fault.clone(), When::First(1));
        let midway = Case::new(format!("redirect {name} midway"))
            .interrupted(Fault::CutAt { position: midway(bytes) })
            .fault(fault, When::AfterBreak(1));
        [first, midway].map(|case| case.ends(End::AfterRetry(reason)))
    });
    let followed = Case::new("cut behind a redirect")
        .fault(Fault::Redirect(RedirectTo::OtherPath), When::Always)
        .cut(Fault::CutAt { position: midway(bytes) });
    parked.chain([followed])
}

fn replacements(bytes: u64) -> impl Iterator<Item = Case> {
    let replaced = move |name: String, new_bytes: u64, end| {
        let content = Content::Generated { seed: 77, bytes: new_bytes };
        let mut case = Case::new(format!("replaced midway by something {name}"))
            .interrupted(Fault::ReplaceAt { position: midway(bytes), content })
            .without_ranges()
            .ends(end);
        case.replaced_by = Some(content);
        // Another size is asked for once more.
        case.interruptions += u64::from(new_bytes != bytes);
        case
    };
    // Whatever tells the versions apart.
    let validators = [("a weak entity tag", Fault::WeakEtag), ("a time alone", Fault::LastModifiedOnly)];
    let told_apart = validators.map(|(by, fault)| {
        let case = replaced(format!("as long, told apart by {by}"), bytes, End::Archived);
        // The piece that shows it is on its way by then.
        Case { cuts: 1, ..case }.fault(fault, When::Always)
    });
    [
        replaced("as long".to_owned(), bytes, End::Archived),
        replaced("longer".to_owned(), bytes + 1000, End::Marked),
    ]
    .into_iter()
    .chain(told_apart)
}

/// All rows of files, by Zoom's id, read again and again by one task for all cells.
struct Rows(watch::Receiver<HashMap<String, FileRow>>);

impl Rows {
    fn watch(store: SharedStore) -> Self {
        let (sender, receiver) = watch::channel(HashMap::new());
        tokio::spawn(async move {
            while !sender.is_closed() {
                let rows = store.files(&[], None, 10_000).await.unwrap_or_default();
                sender.send_replace(rows.into_iter().map(|row| (row.identity.name.clone(), row)).collect());
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        Self(receiver)
    }

    /// Waits until a file is in `wanted`, and fails when it is in `hopeless`, or when it takes too long.
    async fn until(&self, id: &str, wanted: FileState, hopeless: &[FileState]) -> Result<FileRow, String> {
        let mut rows = self.0.clone();
        let settled = rows.wait_for(|rows| {
            rows.get(id).is_some_and(|row| row.state == wanted || hopeless.contains(&row.state))
        });
        // Whether in time or not: how it stands now is what is told.
        let _ = tokio::time::timeout(CELL_PATIENCE, settled).await.map(|rows| rows.map(drop));
        let row = self.0.borrow().get(id).cloned().ok_or("never recorded")?;
        let told = || format!("{} ({:?}) instead of {wanted}", row.state, row.reason);
        if row.state == wanted { Ok(row) } else { Err(told()) }
    }
}

/// What all cells of a column share.
struct Stage {
    column: Column,
    place: Place,
    scene: Scene,
    rows: Rows,
    /// Events come one after another: a crowd of them would be a test of its own.
    one_event: Mutex<()>,
}

impl Stage {
    async fn set(column: Column) -> Self {
        let place = column.place().await;
        let mut scene = Scene::staged(Options::default(), |setup, zoom| {
            place
                .point(setup)
                // The bare name stands for any host that is allowed and turns out to lie in our own network.
                .env("ZOOM_ARCHIVER_ZOOM__DOWNLOAD_HOSTS", format!("{},localhost", zoom.origin()))
                .env("ZOOM_ARCHIVER_TRANSFER__PART_BYTES", PART.to_string())
                .env("ZOOM_ARCHIVER_TRANSFER__PARTS_IN_FLIGHT", column.parts.to_string())
                .env("ZOOM_ARCHIVER_TRANSFER__RANGES_IN_FLIGHT", column.ranges.to_string())
                // A machine that is busy must not be taken for a fault: it would be one more interruption.
                .env("ZOOM_ARCHIVER_TRANSFER__STALL_SECS", "10")
                .env("ZOOM_ARCHIVER_WORKER__LEASE_SECS", "30")
                .env("ZOOM_ARCHIVER_STORE__ACQUIRE_TIMEOUT_MS", "20000")
                .env("ZOOM_ARCHIVER_WORKER__CONCURRENCY", CONCURRENCY.to_string())
                .env("ZOOM_ARCHIVER_TRANSFER__MEMORY_BYTES", (CONCURRENCY * 32 * MIB).to_string())
        })
        .await;
        let rows = Rows::watch(scene.store.clone());
        scene.sender = patient_sender_to(&scene.service);
        Self { column, place, scene, rows, one_event: Mutex::default() }
    }

    async fn announce(&self, recording: &FakeRecording) {
        let _one = self.one_event.lock().await;
        self.scene.announce(recording, EventKind::Recording).await;
    }

    /// Plays one cell to its end.
    async fn play(&self, case: &Case, recording: &FakeRecording) -> Result<(), String> {
        let file = &recording.files[0];
        let id = file.id.as_deref().ok_or("no id")?;
        self.announce(recording).await;
        let row = match case.end {
            End::Archived | End::Marked => {
                let hopeless = [FileState::Parked, FileState::Dead, FileState::Gone];
                self.rows.until(id, FileState::Archived, &hopeless).await?
            }
            End::AfterToken(reason) => {
                self.parked(id, reason).await?;
                self.announce(recording).await;
                self.rows.until(id, FileState::Archived, &[FileState::Dead]).await?
            }
            End::AfterRetry(reason) => {
                let row = self.parked(id, reason).await?;
                let woken = self.scene.store.retry(row.id).await.map_err(|error| error.to_string())?;
                expect(woken, || "a person's retry did not wake it".to_owned())?;
                self.rows.until(id, FileState::Archived, &[FileState::Dead]).await?
            }
        };
        self.check_object(&row, case.replaced_by.unwrap_or(file.content)).await?;
        self.check_mark(&row, case)?;
        self.check_bytes_twice(&row, case, &file.key)?;
        self.check_patience(case, &file.key)
    }

    async fn parked(&self, id: &str, reason: &str) -> Result<FileRow, String> {
        let row = self.rows.until(id, FileState::Parked, &[FileState::Archived, FileState::Dead]).await?;
        let told = row.reason.clone().unwrap_or_default();
        expect(told.contains(reason), || format!("parked, but for another reason: {told}"))?;
        Ok(row)
    }

    /// The object and the row agree with what Zoom has.
    async fn check_object(&self, row: &FileRow, content: Content) -> Result<(), String> {
        let archived = archived(row)?;
        let bytes = self.place.bytes(&archived.object_key).await.ok_or("there is no object")?;
        let (expected, found) = tokio::task::spawn_blocking(move || {
            (content.sha256(), Sha256Digest(Sha256::digest(&bytes).into()))
        })
        .await
        .map_err(|error| error.to_string())?;
        expect(found == expected, || "the object holds other bytes".to_owned())?;
        expect(archived.sha256 == expected, || "the row names another SHA-256".to_owned())?;
        expect(archived.bytes == content.len(), || format!("the row names {} bytes", archived.bytes))
    }

    fn check_mark(&self, row: &FileRow, case: &Case) -> Result<(), String> {
        let archived = archived(row)?;
        let mark = archived.mark.as_deref();
        let right = match case.end {
            End::Marked => mark.is_some_and(|mark| {
                let announced = row.announced_bytes.unwrap_or_default();
                mark.contains(&announced.to_string()) && mark.contains(&archived.bytes.to_string())
            }),
            _ => mark.is_none(),
        };
        expect(right, || format!("marked as {mark:?}"))
    }

    fn check_bytes_twice(&self, row: &FileRow, case: &Case, key: &str) -> Result<(), String> {
        let served = self.scene.zoom.library().bytes_served(Some(key));
        let twice = served.saturating_sub(archived(row)?.bytes);
        let allowed = case.allowed_twice(self.column);
        expect(twice <= allowed, || format!("{twice} bytes fetched twice, {allowed} allowed"))
    }

    /// Whether a file that was not to be asked for was left alone for as long as Zoom had said.
    fn check_patience(&self, case: &Case, key: &str) -> Result<(), String> {
        let account = self.scene.zoom.library().account(key).ok_or("nobody has asked for it")?;
        let requests = account.recent.iter();
        let from_there = requests.skip_while(|request| request.status != StatusCode::TOO_MANY_REQUESTS);
        let times: Vec<_> = from_there.map(|request| request.at).collect();
        let mut rests = times.windows(2).map(|pair| pair[1] - pair[0]);
        // Requests for other ranges may be on their way when the answer comes.
        let rest = if self.column.ranges > 1 { rests.max() } else { rests.next() };
        expect(rest.unwrap_or_default() >= case.stay_away, || format!("asked for again after {rest:?}"))
    }

    /// Whether the manifest beside a file's object says the same as its row.
    async fn check_manifest(&self, row: &FileRow) -> Result<(), String> {
        let archived = archived(row)?;
        let manifest =
            self.place.manifest_beside(&archived.object_key).await.ok_or("there is no manifest")?;
        let object = &manifest["files"][0]["object"];
        let right = object["key"] == archived.object_key
            && object["bytes"] == archived.bytes
            && object["sha256"] == archived.sha256.to_string();
        expect(right, || format!("the manifest says {object}"))
    }
}

fn archived(row: &FileRow) -> Result<&ArchivedFile, String> {
    row.archived.as_ref().ok_or_else(|| "there is no proof".to_owned())
}

fn expect(is_so: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if is_so { Ok(()) } else { Err(otherwise()) }
}

/// Plays every case of a column, all at once, and then looks at all that is left behind.
async fn every_case(column: Column) {
    let cases = cases(column.file_bytes());
    let stage = Stage::set(column).await;
    let recordings: Vec<_> = (0..).zip(&cases).map(|(number, case)| case.recording(number, column)).collect();
    for (case, recording) in cases.iter().zip(&recordings) {
        stage.scene.shelve(recording);
        for (fault, when) in &case.faults {
            stage.scene.zoom.library().inject(&recording.files[0].key, fault.clone(), *when);
        }
    }
    let played = cases.iter().zip(&recordings).map(|(case, recording)| stage.play(case, recording));
    report(column, &cases, join_all(played).await);

    stage.scene.settled().await;
    let rows = stage.scene.files().await;
    let by_id: HashMap<_, _> = rows.iter().map(|row| (row.identity.name.as_str(), row)).collect();
    let manifests = recordings.iter().map(|recording| {
        let row = by_id[recording.files[0].id.as_deref().expect("an id")];
        stage.check_manifest(row)
    });
    report(column, &cases, join_all(manifests).await);
    let contents: BTreeMap<_, _> = cases
        .iter()
        .zip(&recordings)
        .map(|(case, recording)| {
            let file = &recording.files[0];
            (file.id.clone().expect("an id"), case.replaced_by.unwrap_or(file.content))
        })
        .collect();
    stage.place.assert_holds(&rows, &contents).await;
    stage.scene.close().await;
}

/// Fails with the name of every cell that failed.
fn report(column: Column, cases: &[Case], results: Vec<Result<(), String>>) {
    let failures: Vec<String> = cases
        .iter()
        .zip(results)
        .filter_map(|(case, result)| Some(format!("{column}: {}: {}", case.name, result.err()?)))
        .collect();
    assert!(failures.is_empty(), "{} of {} cells:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_goes_wrong_a_small_file_arrives_in_one_request() {
    every_case(Column::new(Way::Put, 1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_goes_wrong_a_small_file_arrives_in_one_request_where_large_ones_come_by_several_ranges() {
    every_case(Column::new(Way::Put, 3)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_goes_wrong_a_large_file_arrives_in_parts() {
    every_case(Column::new(Way::Multipart, 1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_goes_wrong_a_large_file_that_comes_by_several_ranges_arrives_in_parts() {
    every_case(Column::new(Way::Multipart, 3)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_goes_wrong_a_large_file_arrives_in_a_directory() {
    every_case(Column::new(Way::Directory, 1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_goes_wrong_a_large_file_that_comes_by_several_ranges_arrives_in_a_directory() {
    every_case(Column::new(Way::Directory, 3)).await;
}
