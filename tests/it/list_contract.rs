//! What every store promises of its lists, tried on each of them.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, TimeZone, Utc};
use serde_json::{Map, json};
use uuid::Uuid;
use zoom_archiver::clock::Clock;
use zoom_archiver::domain::event::{Event, EventContent, EventRow};
use zoom_archiver::domain::file::{ArchivedFile, FileRow, FileState, RecordingRow, Sha256Digest};
use zoom_archiver::domain::filter::Filter;
use zoom_archiver::domain::ids::{EventId, FileId, JobId, RecordingId};
use zoom_archiver::domain::job::{Carried, Completion, Cost, JobRow, JobState, Settlement, Task, WaitsFor};
use zoom_archiver::domain::loss::IN_TRASH;
use zoom_archiver::domain::recording::{
    AnnouncedFile, AnnouncedRecording, Announcement, Change, FileIdentity, RecordingIdentity, RecordingKind,
    RecordingState, Scope,
};
use zoom_archiver::store::{
    EventFilter, FileFilter, Intake, JobFilter, Losing, Order, Page, RecordingFilter, Resting, SharedStore,
    StoreError, Tally,
};

use crate::support::database::{Database, on_each_database};

const LEASE: Duration = Duration::from_secs(600);
const NEWEST: Page = Page { after: None, order: Order::Newest, limit: 100 };

fn at(second: i64) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 3, 1, 12, 0, 0).unwrap() + TimeDelta::seconds(second)
}

fn file(name: &str, file_type: &str) -> AnnouncedFile {
    AnnouncedFile {
        identity: FileIdentity { collection: "recording_files".into(), name: name.into() },
        recording_type: String::new(),
        file_type: file_type.into(),
        extension: "mp4".into(),
        recording_start: Some(at(60)),
        announced_bytes: Some(1000),
        download_url: Some(format!("https://zoom.us/rec/{name}").into()),
        download_token: Some("a-token".to_owned().into()),
        token_expires_at: None,
        content: None,
        skip: None,
        metadata: Map::new(),
    }
}

/// A recording of this account, with files of these types.
fn event(account: &str, instance: &str, types: &[&str]) -> Event {
    let files = types.iter().enumerate().map(|(number, kind)| file(&format!("{instance}-{number}"), kind));
    Event {
        id: EventId::new(),
        received_at: at(100),
        name: "session.recording_completed".into(),
        body: json!({ "event": "session.recording_completed", "instance": instance }).to_string().into(),
        content: EventContent::Announcement(Announcement {
            recording: AnnouncedRecording {
                identity: RecordingIdentity {
                    account_id: account.into(),
                    kind: RecordingKind::VideoSdk,
                    instance_id: instance.into(),
                },
                topic: Some("weekly".into()),
                start_time: Some(at(0)),
                metadata: Map::new(),
            },
            happened_at: Some(at(90)),
            change: Change { state: Some(RecordingState::Completed), ..Change::default() },
            scope: Scope::Recording,
            files: files.collect(),
            odd: vec!["an odd entry".into()],
        }),
        trace: None,
    }
}

fn raw(event: &Event) -> Event {
    let content = EventContent::Unreadable { reason: "no session_id".into() };
    Event { content, body: b"{\"event\":\"x\",\"download_token\":\"raw\"}".to_vec(), ..event.clone() }
}

async fn record(store: &SharedStore, account: &str, instance: &str, types: &[&str]) {
    store.record(&event(account, instance, types)).await.expect("the event is recorded");
}

/// Everything that a list gives, page by page, `limit` at a time; each page must be in order.
async fn all<T, F>(
    order: Order,
    limit: u32,
    id: impl Fn(&T) -> Uuid,
    mut list: impl FnMut(Page) -> F,
) -> Vec<T>
where
    F: Future<Output = Result<Vec<T>, StoreError>>,
{
    let (mut rows, mut after) = (Vec::new(), None);
    loop {
        let page = list(Page { after, order, limit }).await.expect("the page is read");
        assert!(page.len() <= limit as usize);
        let Some(last) = page.last() else { break };
        after = Some(id(last));
        rows.extend(page);
    }
    let ids: Vec<_> = rows.iter().map(&id).collect();
    let mut sorted = ids.clone();
    sorted.sort_unstable();
    sorted.dedup();
    if order == Order::Newest {
        sorted.reverse();
    }
    assert_eq!(ids, sorted, "in order, and each once");
    rows
}

async fn ends_all(store: &SharedStore, settlement: impl Fn(FileId) -> Settlement) {
    for job in store.claim("worker", 100, LEASE, &[]).await.unwrap() {
        let Task::Transfer(file) = job.task else { continue };
        store.settle(&job.lease, settlement(file)).await.unwrap();
    }
}

fn park(_: FileId) -> Settlement {
    Settlement::Park { waits_for: WaitsFor::Person, reason: "why not".into() }
}

fn dead(_: FileId) -> Settlement {
    Settlement::Dead { reason: "too often".into() }
}

fn archive(file: FileId) -> Settlement {
    let archived = ArchivedFile {
        object_key: format!("folder/{file}"),
        bytes: 700,
        sha256: Sha256Digest([7; 32]),
        content_type: "video/mp4".into(),
        store_checksum: None,
        etag: None,
        version_id: None,
        mark: None,
    };
    Settlement::Done(Box::new(Completion { archived: Some((file, archived)), ..Completion::default() }))
}

async fn pages_hold_each_row_once_either_way_whatever_their_size(database: Database) {
    let store = database.store().await;
    for number in 0..7 {
        record(&store, "a", &format!("s{number}"), &["MP4"]).await;
    }
    for order in [Order::Newest, Order::Oldest] {
        for limit in [1, 2, 7, 100] {
            let filter = FileFilter::default();
            let files =
                all(order, limit, |file: &FileRow| file.id.0, |page| store.list_files(&filter, page)).await;
            assert_eq!(files.len(), 7);
            let filter = EventFilter::default();
            let events =
                all(order, limit, |event: &EventRow| event.id.0, |page| store.list_events(&filter, page))
                    .await;
            assert_eq!(events.len(), 7);
            let filter = JobFilter::default();
            let jobs =
                all(order, limit, |job: &JobRow| job.id.0, |page| store.list_jobs(&filter, page)).await;
            assert_eq!(jobs.len(), 7);
            let filter = RecordingFilter::default();
            let recordings =
                all(order, limit, |it: &RecordingRow| it.id.0, |page| store.list_recordings(&filter, page))
                    .await;
            assert_eq!(recordings.len(), 7);
        }
    }
}

async fn what_is_recorded_between_two_pages_shifts_nothing(database: Database) {
    let store = database.store().await;
    for number in 0..6 {
        record(&store, "a", &format!("s{number}"), &["MP4"]).await;
    }
    let filter = FileFilter::default();
    let before: Vec<_> =
        store.list_files(&filter, NEWEST).await.unwrap().iter().map(|file| file.id).collect();
    let mut seen = Vec::new();
    let mut page = Page { limit: 2, ..NEWEST };
    for number in 0..3 {
        let rows = store.list_files(&filter, page).await.unwrap();
        page.after = rows.last().map(|file: &FileRow| file.id.0);
        seen.extend(rows.into_iter().map(|file| file.id));
        record(&store, "a", &format!("late{number}"), &["MP4", "M4A"]).await;
    }
    assert_eq!(seen, before);
}

async fn several_states_are_one_list(database: Database) {
    let store = database.store().await;
    record(&store, "a", "s1", &["MP4", "M4A"]).await;
    ends_all(&store, park).await;
    record(&store, "a", "s2", &["MP4", "CHAT"]).await;
    ends_all(&store, dead).await;
    record(&store, "b", "s3", &["MP4"]).await;
    ends_all(&store, archive).await;
    record(&store, "b", "s4", &["MP4"]).await;
    let count = async |filter: &FileFilter| {
        let files =
            all(Order::Newest, 2, |file: &FileRow| file.id.0, |page| store.list_files(filter, page)).await;
        assert_eq!(store.count_files(filter).await.unwrap(), files.len() as u64);
        files.len()
    };
    let of = |states: &[FileState]| FileFilter { states: states.to_vec(), ..FileFilter::default() };
    assert_eq!(count(&of(&[FileState::Parked])).await, 2);
    assert_eq!(count(&of(&[FileState::Dead, FileState::Parked])).await, 4);
    assert_eq!(count(&of(&[FileState::Dead, FileState::Dead])).await, 2);
    assert_eq!(count(&of(&FileState::ALL)).await, 6);
    let narrowed = FileFilter {
        account: Some("a".into()),
        file_type: Some("MP4".into()),
        ..of(&[FileState::Dead, FileState::Parked, FileState::Archived])
    };
    assert_eq!(count(&narrowed).await, 2);
    let recording = store.list_recordings(&RecordingFilter::default(), NEWEST).await.unwrap().pop().unwrap();
    assert_eq!(count(&FileFilter { recording: Some(recording.id), ..FileFilter::default() }).await, 2);

    let jobs = async |states: &[JobState]| {
        let filter = JobFilter { states: states.to_vec(), ..JobFilter::default() };
        all(Order::Oldest, 1, |job: &JobRow| job.id.0, |page| store.list_jobs(&filter, page)).await.len()
    };
    assert_eq!(jobs(&[JobState::Parked, JobState::Dead]).await, 4);
    assert_eq!(jobs(&[JobState::Waiting]).await, 1);
    assert_eq!(jobs(&[JobState::Running, JobState::Cancelled]).await, 0);
}

async fn recordings_are_found_by_what_is_asked(database: Database) {
    let store = database.store().await;
    for (account, instance) in [("a", "s1"), ("a", "s2"), ("b", "s3")] {
        record(&store, account, instance, &["MP4", "M4A"]).await;
    }
    let found = async |filter: RecordingFilter| {
        let rows = store.list_recordings(&filter, NEWEST).await.unwrap();
        rows.into_iter().map(|row| row.identity.instance_id).collect::<Vec<_>>()
    };
    let any = RecordingFilter::default;
    assert_eq!(found(RecordingFilter { account: Some("a".into()), ..any() }).await, ["s2", "s1"]);
    assert_eq!(found(RecordingFilter { instance: Some("s3".into()), ..any() }).await, ["s3"]);
    assert_eq!(found(RecordingFilter { state: Some(RecordingState::Completed), ..any() }).await.len(), 3);
    assert_eq!(found(RecordingFilter { kind: Some(RecordingKind::Phone), ..any() }).await.len(), 0);
    assert_eq!(found(RecordingFilter { from: Some(at(0)), until: Some(at(1)), ..any() }).await.len(), 3);
    assert_eq!(found(RecordingFilter { from: Some(at(1)), ..any() }).await.len(), 0);
    // Postgres holds no NUL: it is no reason to fail.
    assert_eq!(found(RecordingFilter { account: Some("a\0".into()), ..any() }).await.len(), 0);

    let ids: Vec<_> =
        store.list_recordings(&any(), NEWEST).await.unwrap().iter().map(|row| row.id).take(2).collect();
    let tally = store.tally(&ids).await.unwrap();
    let expected =
        |recording: &RecordingId| Tally { recording: *recording, state: FileState::Pending, files: 2 };
    let mut sorted = ids.clone();
    sorted.sort_unstable();
    assert_eq!(tally, sorted.iter().map(expected).collect::<Vec<_>>());
    assert_eq!(store.tally(&[]).await.unwrap(), []);
}

async fn single_rows_are_what_the_lists_say(database: Database) {
    let store = database.store().await;
    record(&store, "a", "s1", &["MP4"]).await;
    ends_all(&store, park).await;
    let listed = store.list_jobs(&JobFilter::default(), NEWEST).await.unwrap().remove(0);
    let job = store.job(listed.id).await.unwrap().expect("it is known");
    let file = store.file(FileId(job.subject)).await.unwrap().expect("it is known");
    assert_eq!((job.kind.as_str(), job.account.as_deref()), ("transfer", Some("a")));
    assert_eq!((job.state, job.waits_for), (JobState::Parked, Some(WaitsFor::Person)));
    assert_eq!((file.state, file.reason), (FileState::Parked, job.reason));
    assert!(job.lease_owner.is_none() && job.finished_at.is_none());
    assert!(store.job(JobId::new()).await.unwrap().is_none());
    assert!(store.file(FileId::new()).await.unwrap().is_none());
    assert!(store.event(EventId::new()).await.unwrap().is_none());
}

async fn events_are_found_by_name_by_recording_and_by_trouble(database: Database) {
    let store = database.store().await;
    record(&store, "a", "s1", &["MP4"]).await;
    let odd = raw(&event("a", "s2", &["MP4"]));
    store.record(&odd).await.unwrap();
    let found = async |filter: EventFilter| {
        let rows = store.list_events(&filter, NEWEST).await.unwrap();
        rows.into_iter().map(|row| row.id).collect::<BTreeSet<_>>()
    };
    let any = EventFilter::default;
    assert_eq!(found(EventFilter { unreadable: true, ..any() }).await, [odd.id].into());
    assert_eq!(found(EventFilter { name: Some(odd.name.clone()), ..any() }).await.len(), 2);
    let recording = store.list_recordings(&RecordingFilter::default(), NEWEST).await.unwrap().remove(0);
    let about = found(EventFilter { recording: Some(recording.id), ..any() }).await;
    assert!(about.len() == 1 && !about.contains(&odd.id));
    let (row, body) = store.event(odd.id).await.unwrap().expect("it is known");
    assert_eq!((row.unreadable.as_deref(), row.bytes), (Some("no session_id"), body.len() as u64));
    let (row, _) = store.event(*about.first().unwrap()).await.unwrap().expect("it is known");
    assert_eq!((row.odd, row.recording_id), (vec!["an odd entry".to_owned()], Some(recording.id)));
}

async fn an_event_that_was_kept_raw_becomes_one_that_can_be_read_and_stays_so(database: Database) {
    let store = database.store().await;
    let readable = event("a", "s1", &["MP4"]);
    store.record(&raw(&readable)).await.unwrap();
    let recorded = store.record(&readable).await.unwrap();
    assert_eq!(recorded.new_files, 1);
    let (row, body) = store.event(readable.id).await.unwrap().unwrap();
    assert!(row.unreadable.is_none() && row.recording_id.is_some());
    assert_eq!(body, readable.body, "what was raw, and held a token, is gone");
    // Neither a failure to read it nor a repetition moves it back.
    store.record(&raw(&readable)).await.unwrap();
    let changed = Event { body: b"{}".to_vec(), ..readable.clone() };
    assert_eq!(store.record(&changed).await.unwrap().known_files, 1);
    let (row, body) = store.event(readable.id).await.unwrap().unwrap();
    assert!(row.unreadable.is_none() && body == readable.body);
    assert_eq!(store.list_events(&EventFilter::default(), NEWEST).await.unwrap().len(), 1);
}

async fn a_job_that_is_no_transfer_can_be_withdrawn_and_tried_again(database: Database) {
    let store = database.store().await;
    assert!(store.repeat(Task::Reconcile, Duration::ZERO).await.unwrap());
    let filter = JobFilter { kind: Some("reconcile".into()), ..JobFilter::default() };
    let job = async || store.list_jobs(&filter, NEWEST).await.unwrap().remove(0);
    let id = job().await.id;
    assert!(!store.retry_job(id).await.unwrap(), "it waits");
    let claimed = store.claim("worker", 1, LEASE, &[]).await.unwrap().remove(0);
    assert_eq!(job().await.lease_owner.as_deref(), Some("worker"));
    assert!(store.cancel_job(id, "not today").await.unwrap());
    let cancelled = job().await;
    assert_eq!((cancelled.state, cancelled.reason.as_deref()), (JobState::Cancelled, Some("not today")));
    assert!(cancelled.finished_at.is_some() && cancelled.lease_owner.is_none());
    let settled = store.settle(&claimed.lease, Settlement::Dead { reason: "late".into() }).await;
    assert!(matches!(settled, Err(StoreError::LeaseLost(_))), "{settled:?}");
    assert!(!store.cancel_job(id, "twice").await.unwrap());
    assert!(store.retry_job(id).await.unwrap());
    assert_eq!(job().await.state, JobState::Waiting);
    let claimed = store.claim("worker", 1, LEASE, &[]).await.unwrap().remove(0);
    store.settle(&claimed.lease, Settlement::Dead { reason: "too often".into() }).await.unwrap();
    assert!(store.retry_job(id).await.unwrap());
    assert_eq!((job().await.state, job().await.attempts), (JobState::Waiting, 0));

    record(&store, "a", "s1", &["MP4"]).await;
    ends_all(&store, dead).await;
    let filter = JobFilter { kind: Some("transfer".into()), ..JobFilter::default() };
    let transfer = store.list_jobs(&filter, NEWEST).await.unwrap().remove(0).id;
    assert!(!store.retry_job(transfer).await.unwrap() && !store.cancel_job(transfer, "no").await.unwrap());
}

/// Names of files.
fn names(files: &[FileRow]) -> Vec<&str> {
    files.iter().map(|file| file.identity.name.as_str()).collect()
}

async fn one_near_file_among_a_thousand_is_the_first_of_the_list(database: Database) {
    // Nobody can ask for another token, so the end of one is the end.
    let store = database.store_with(Intake::new(Filter::default(), |_| false)).await;
    let now = Clock::System.now();
    let lasting = |name: &str, minutes: i64| AnnouncedFile {
        token_expires_at: Some(now + TimeDelta::minutes(minutes)),
        ..file(name, "MP4")
    };
    let mut many = event("a", "s1", &[]);
    let EventContent::Announcement(announcement) = &mut many.content else { panic!("is one") };
    announcement.files = (0..1000).map(|number| lasting(&format!("far-{number}"), 1200)).collect();
    announcement.files.extend([lasting("next", 300), lasting("past", -60), lasting("soon", 180)]);
    announcement.files.push(AnnouncedFile { download_token: None, ..file("never", "MP4") });
    store.record(&many).await.unwrap();

    let any = FileFilter::default;
    let first =
        async |which, filter: &FileFilter, limit| store.losing(which, filter, None, limit).await.unwrap();
    let six_hours = Losing::Within(Duration::from_secs(6 * 3600));
    assert_eq!(names(&first(six_hours, &any(), 100).await), ["past", "soon", "next"]);
    assert_eq!(names(&first(six_hours, &any(), 2).await), ["past", "soon"]);
    assert_eq!(names(&first(Losing::Overdue, &any(), 100).await), ["past"]);
    assert_eq!(names(&first(Losing::Within(Duration::ZERO), &any(), 100).await), ["past"]);
    assert_eq!(names(&first(Losing::Ahead, &any(), 1).await), ["soon"]);
    for nobodys in [
        FileFilter { states: vec![FileState::Parked], ..any() },
        FileFilter { states: vec![FileState::Archived], ..any() },
        FileFilter { account: Some("b".into()), ..any() },
        FileFilter { file_type: Some("CHAT".into()), ..any() },
        FileFilter { recording: Some(RecordingId::new()), ..any() },
        FileFilter { marked: true, ..any() },
    ] {
        assert!(first(six_hours, &nobodys, 100).await.is_empty(), "{nobodys:?}");
    }

    // Page by page, although what a page ends with is archived before the next one is asked for.
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = store.losing(Losing::Within(Duration::MAX), &any(), after, 150).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some((last.loses_at.expect("it is known"), last.id));
        seen.extend(page.iter().map(|file| (file.loses_at, file.id)));
        ends_all(&store, archive).await;
    }
    assert!(seen.is_sorted() && seen.iter().collect::<BTreeSet<_>>().len() == seen.len());
    assert!(seen.len() > 300, "{}", seen.len());
    let parked = FileFilter { states: vec![FileState::Parked, FileState::Dead], ..any() };
    let left = first(Losing::Within(Duration::MAX), &any(), 1).await.remove(0);
    ends_all(&store, park).await;
    let found = first(Losing::Ahead, &parked, 1).await.remove(0);
    assert_eq!((found.id, found.reason.as_deref()), (left.id, Some("why not")));
}

async fn what_bears_a_mark_is_found_by_it(database: Database) {
    let store = database.store().await;
    record(&store, "a", "s1", &["MP4", "M4A", "CHAT"]).await;
    let jobs = store.claim("worker", 2, LEASE, &[]).await.unwrap();
    for (number, job) in jobs.iter().enumerate() {
        let Task::Transfer(file) = job.task else { panic!("a transfer") };
        let mut settlement = archive(file);
        if let (0, Settlement::Done(completion)) = (number, &mut settlement)
            && let Some((_, archived)) = &mut completion.archived
        {
            archived.mark = Some("suspect: no moov".into());
        }
        store.settle(&job.lease, settlement).await.unwrap();
    }
    let marked = FileFilter { marked: true, ..FileFilter::default() };
    let found = store.list_files(&marked, NEWEST).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(Task::Transfer(found[0].id), jobs[0].task);
    assert_eq!(found[0].archived.as_ref().unwrap().mark.as_deref(), Some("suspect: no moov"));
    assert_eq!(store.count_files(&marked).await.unwrap(), 1);
    let dead = FileFilter { states: vec![FileState::Dead], ..marked };
    assert!(store.list_files(&dead, NEWEST).await.unwrap().is_empty());
}

async fn why_most_of_them_do_not_move_is_said_of_each_state(database: Database) {
    let store = database.store().await;
    assert_eq!(store.holdups().await.unwrap(), []);
    assert_eq!(store.resting().await.unwrap(), Resting::default());
    record(&store, "a", "s", &["MP4"; 22]).await;
    assert_eq!(store.holdups().await.unwrap(), [], "what has not failed has no reason");
    let trash = |number: usize| format!("{IN_TRASH}, and is lost on a day: of recording {number}");
    let rests = |reason: &str, cost| Settlement::Wait {
        after: LEASE * (1 + u32::from(cost == Cost::Attempt)),
        reason: Some(reason.into()),
        cost,
    };
    let parks = |reason: String| Settlement::Park { waits_for: WaitsFor::Token, reason };
    let jobs = store.claim("worker", 21, LEASE, &[]).await.unwrap();
    for (number, job) in jobs.iter().enumerate() {
        let settlement = match number {
            0..3 => dead(FileId::new()),
            3..8 => rests("archive is not available", Cost::Snooze),
            8..10 => rests("Zoom answered 500", Cost::Attempt),
            // Each says another recording, and all of them the same.
            10..12 => parks(trash(number)),
            12..21 => parks(format!("reason {}", number % 3)),
            _ => unreachable!(),
        };
        store.settle(&job.lease, settlement).await.unwrap();
    }
    let told: Vec<_> = store.holdups().await.unwrap();
    let told: Vec<_> = told.iter().map(|it| (it.state, it.reason.as_str(), it.jobs)).collect();
    let expected = [
        (JobState::Dead, "too often", 3),
        // However few they are; and of the others the most frequent ones.
        (JobState::Parked, "reason 0", 3),
        (JobState::Parked, "reason 1", 3),
        (JobState::Parked, IN_TRASH, 2),
        (JobState::Waiting, "archive is not available", 5),
        (JobState::Waiting, "Zoom answered 500", 2),
    ];
    assert_eq!(told, expected);
    let resting = store.resting().await.unwrap();
    assert_eq!((resting.jobs, resting.put_back), (7, 5));
    let next = resting.next.expect("one of them is the first");
    assert!(next <= LEASE && next > LEASE - Duration::from_secs(60), "{next:?}");
}

async fn what_could_not_be_read_is_counted_until_it_is(database: Database) {
    let store = database.store().await;
    assert_eq!(store.unreadable_events().await.unwrap(), 0);
    record(&store, "a", "s1", &["MP4"]).await;
    let readable = event("a", "s2", &["MP4"]);
    store.record(&raw(&readable)).await.unwrap();
    store.record(&raw(&event("a", "s3", &["MP4"]))).await.unwrap();
    assert_eq!(store.unreadable_events().await.unwrap(), 2);
    store.record(&readable).await.unwrap();
    assert_eq!(store.unreadable_events().await.unwrap(), 1);
}

async fn what_was_archived_of_late_and_what_is_left_is_counted(database: Database) {
    let store = database.store().await;
    record(&store, "a", "s1", &["MP4", "M4A"]).await;
    ends_all(&store, archive).await;
    let mut unknown = event("a", "s2", &["MP4", "M4A"]);
    let EventContent::Announcement(announcement) = &mut unknown.content else { panic!("is one") };
    announcement.files[0].announced_bytes = None;
    store.record(&unknown).await.unwrap();
    let flow = store.flow(Duration::from_secs(60)).await.unwrap();
    assert_eq!((flow.files, flow.bytes), (2, 1400));
    assert_eq!((flow.files_left, flow.bytes_left, flow.files_of_unknown_size), (2, 1000, 1));
    assert_eq!((flow.bytes_running, flow.bytes_carried, flow.carried_per_sec), (0, 0, 0));
    let flow = store.flow(Duration::ZERO).await.unwrap();
    assert_eq!((flow.files, flow.bytes), (0, 0));
}

async fn what_running_transfers_have_carried_and_how_fast_is_summed_up(database: Database) {
    let store = database.store().await;
    let mut unknown = event("a", "s1", &["MP4", "M4A", "CHAT"]);
    let EventContent::Announcement(announcement) = &mut unknown.content else { panic!("is one") };
    announcement.files[2].announced_bytes = None;
    store.record(&unknown).await.unwrap();
    let jobs = store.claim("worker", 3, LEASE, &[]).await.unwrap();
    let flow = store.flow(LEASE).await.unwrap();
    assert_eq!((flow.bytes_running, flow.bytes_carried, flow.carried_per_sec), (2000, 0, 0));
    // Each by its file: what was announced, what the archive has, and the run of it.
    let of = |carried: u64, bytes: u64, millis: u64| json!({ "upload": { "measured": { "bytes": carried } }, "pace": { "bytes": bytes, "millis": millis } });
    for (job, checkpoint) in jobs.iter().zip([
        of(400, 300, 2000),
        // More than was announced is no more than all of it.
        of(1500, 1500, 500),
        of(7, 7, 1000),
    ]) {
        let Task::Transfer(file) = job.task else { panic!("a transfer") };
        let is_unknown = store.file(file).await.unwrap().unwrap().announced_bytes.is_none();
        assert_eq!(is_unknown, job.lease.job == jobs[2].lease.job, "in the order of their announcement");
        store.checkpoint(&job.lease, &checkpoint).await.unwrap();
    }
    let flow = store.flow(LEASE).await.unwrap();
    assert_eq!((flow.bytes_running, flow.bytes_carried, flow.carried_per_sec), (2000, 1400, 150 + 3000 + 7));
    // Each of them says so by itself.
    let carried = async |number: usize| store.job(jobs[number].lease.job).await.unwrap().unwrap().carried;
    let of = |of, bytes, per_sec| Some(Carried { of, bytes, per_sec });
    assert_eq!(carried(0).await, of(Some(1000), 400, 150));
    assert_eq!(carried(1).await, of(Some(1000), 1000, 3000));
    assert_eq!(carried(2).await, of(None, 7, 7));
    let filter = JobFilter { states: vec![JobState::Running, JobState::Dead], ..JobFilter::default() };
    let listed = store.list_jobs(&filter, Page { order: Order::Oldest, ..NEWEST }).await.unwrap();
    assert_eq!(listed.iter().filter_map(|job| job.carried).map(|it| it.bytes).sum::<u64>(), 1407);
    // What an unknown version has written is no trouble, and what has ended does not run.
    store.note(&jobs[0].lease, &json!({ "upload": "elsewhere" })).await.unwrap();
    store.settle(&jobs[1].lease, Settlement::Dead { reason: "a test".into() }).await.unwrap();
    let flow = store.flow(LEASE).await.unwrap();
    assert_eq!((flow.bytes_running, flow.bytes_carried, flow.carried_per_sec), (1000, 0, 7));
    assert_eq!(carried(0).await, of(Some(1000), 0, 0));
    assert_eq!(carried(1).await, None);
}

on_each_database!(
    pages_hold_each_row_once_either_way_whatever_their_size,
    what_is_recorded_between_two_pages_shifts_nothing,
    several_states_are_one_list,
    recordings_are_found_by_what_is_asked,
    single_rows_are_what_the_lists_say,
    events_are_found_by_name_by_recording_and_by_trouble,
    an_event_that_was_kept_raw_becomes_one_that_can_be_read_and_stays_so,
    a_job_that_is_no_transfer_can_be_withdrawn_and_tried_again,
    one_near_file_among_a_thousand_is_the_first_of_the_list,
    what_bears_a_mark_is_found_by_it,
    why_most_of_them_do_not_move_is_said_of_each_state,
    what_could_not_be_read_is_counted_until_it_is,
    what_was_archived_of_late_and_what_is_left_is_counted,
    what_running_transfers_have_carried_and_how_fast_is_summed_up,
);
