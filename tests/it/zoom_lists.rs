//! Lists of recordings: windows and pages without gap or double, at a pace that Zoom bears.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use zoom_archiver::clock::Clock;
use zoom_archiver::domain::event::Event;
use zoom_archiver::domain::recording::{RecordingIdentity, RecordingKind};
use zoom_archiver::simulator::credentials::{ACCOUNT_ID, SECOND};
use zoom_archiver::simulator::ledger::{Endpoint, Weight};
use zoom_archiver::simulator::{ApiFault, FakeFile, FakeRecording, When};
use zoom_archiver::zoom::api::change::Removal;
use zoom_archiver::zoom::api::days::Days;
use zoom_archiver::zoom::api::list::{ListOf, Page, Trashed, Within};
use zoom_archiver::zoom::api::live::Control;
use zoom_archiver::zoom::api::{Api, ApiError};

use crate::support::api::{Scene, announcement, identity};
use crate::support::database::Database;

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn days(from: &str, until: &str) -> Within {
    Within::Days(Days::new(day(from), day(until)))
}

fn sessions() -> ListOf {
    ListOf::Sessions { account_id: ACCOUNT_ID.to_owned() }
}

fn at(mut recording: FakeRecording, start: DateTime<Utc>) -> FakeRecording {
    recording.start_time = start;
    recording
}

/// A session of one small file.
fn small(seed: u64, start: DateTime<Utc>) -> FakeRecording {
    at(FakeRecording::new(RecordingKind::VideoSdk, seed).with([FakeFile::generated(seed, 10)]), start)
}

async fn pages(api: &Api, of: ListOf, within: Within) -> Result<Vec<Page>, ApiError> {
    let mut listing = api.recordings(of, within);
    let mut pages = Vec::new();
    while let Some(page) = listing.next().await? {
        pages.push(page);
    }
    Ok(pages)
}

async fn listed(api: &Api, of: ListOf, within: Within) -> Vec<Event> {
    let pages = pages(api, of, within).await.unwrap();
    assert!(pages.iter().all(|page| page.odd.is_empty()));
    pages.into_iter().flat_map(|page| page.events).collect()
}

fn ids(events: &[Event]) -> Vec<String> {
    events.iter().map(|event| announcement(event).recording.identity.instance_id.clone()).collect()
}

#[tokio::test]
async fn lists_cross_months_and_pages_without_gap_or_double() {
    let scene = Scene::start().await.with("ZOOM_ARCHIVER_ZOOM__API_PAGE_SIZE", "7");
    let scene = scene.with("ZOOM_ARCHIVER_ZOOM__API_MEDIUM_PER_SEC", "80");
    let first: DateTime<Utc> = "2025-12-30T00:00:00Z".parse().unwrap();
    let mut expected = BTreeSet::new();
    // Every five hours for a hundred days, and a second before and at each midnight of the first ten.
    let regular = (0..480).map(|step| first + TimeDelta::hours(5 * step));
    let midnights = (1..10).flat_map(|day| {
        let midnight = first + TimeDelta::days(day);
        [midnight - TimeDelta::seconds(1), midnight]
    });
    for (seed, start) in (1000..).zip(regular.chain(midnights)) {
        let recording = small(seed, start);
        scene.zoom.library().add(&recording);
        if (day("2026-01-01")..day("2026-03-15")).contains(&start.date_naive()) {
            expected.insert(recording.instance_id);
        }
    }
    let events = listed(&scene.api(), sessions(), days("2026-01-01", "2026-03-15")).await;
    let found = ids(&events);
    assert_eq!(found.len(), expected.len(), "none twice");
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected);
    // Three windows; Zoom refuses any that is longer than a month.
    let windows: BTreeSet<_> = scene.zoom.library().api_requests().iter().map(|it| it.status).collect();
    assert_eq!(windows, BTreeSet::from([200]));
}

/// A session for each of thirty days from 2026-02-01 on; returns their ids.
fn one_a_day(scene: &Scene) -> BTreeSet<String> {
    let first: DateTime<Utc> = "2026-02-01T12:00:00Z".parse().unwrap();
    let sessions = (0..30).map(|number| {
        let recording = small(number, first + TimeDelta::days(i64::try_from(number).unwrap()));
        scene.zoom.library().add(&recording);
        recording.instance_id
    });
    sessions.collect()
}

#[tokio::test]
async fn what_zoom_leaves_out_of_a_list_is_asked_for_in_pieces() {
    let scene = Scene::start().await.with("ZOOM_ARCHIVER_ZOOM__API_MEDIUM_PER_SEC", "80");
    let expected = one_a_day(&scene);
    scene.zoom.library().shorten_lists(Some(4), None);
    let pages = pages(&scene.api(), sessions(), days("2026-02-01", "2026-03-03")).await.unwrap();
    assert!(pages.iter().all(|page| page.unlisted.is_empty()), "{pages:?}");
    let events: Vec<_> = pages.into_iter().flat_map(|page| page.events).collect();
    let found = ids(&events);
    assert_eq!(found.len(), expected.len(), "none twice");
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected);
}

#[tokio::test]
async fn what_zoom_does_not_list_however_it_is_asked_is_said() {
    let scene = Scene::start().await;
    one_a_day(&scene);
    scene.zoom.library().shorten_lists(None, Some(day("2026-02-11")));
    let pages = pages(&scene.api(), sessions(), days("2026-02-01", "2026-03-03")).await.unwrap();
    let unlisted: Vec<_> = pages.iter().flat_map(|page| page.unlisted.clone()).collect();
    assert_eq!(unlisted, [Days::new(day("2026-02-01"), day("2026-02-11"))]);
    let events: usize = pages.iter().map(|page| page.events.len()).sum();
    assert_eq!(events, 20, "the rest is listed, and nothing twice");
}

#[tokio::test]
async fn a_page_token_that_has_expired_has_its_part_read_anew_and_brings_nothing_twice() {
    let scene = Scene::start().await.with("ZOOM_ARCHIVER_ZOOM__API_PAGE_SIZE", "5");
    let expected = one_a_day(&scene);
    let library = scene.zoom.library();
    let not_yet = ApiFault::Slow(Duration::ZERO);
    library.inject_call(Endpoint::Sessions, not_yet, When::First(3));
    library.inject_call(Endpoint::Sessions, ApiFault::InvalidField, When::First(1));
    let events = listed(&scene.api(), sessions(), days("2026-02-01", "2026-03-03")).await;
    let found = ids(&events);
    assert_eq!(found.len(), expected.len(), "none twice");
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected);
    let refused = library.api_requests().iter().filter(|it| it.status == 400).count();
    assert_eq!(refused, 1, "the token that has expired is not shown again");
}

#[tokio::test]
async fn a_list_whose_pages_never_hold_is_given_up_and_not_read_for_ever() {
    let scene = Scene::start().await.with("ZOOM_ARCHIVER_ZOOM__API_PAGE_SIZE", "5");
    let _ = one_a_day(&scene);
    let library = scene.zoom.library();
    for _ in 0..20 {
        library.inject_call(Endpoint::Sessions, ApiFault::Slow(Duration::ZERO), When::First(1));
        library.inject_call(Endpoint::Sessions, ApiFault::InvalidField, When::First(1));
    }
    let api = scene.api();
    let mut listing = api.recordings(sessions(), days("2026-02-01", "2026-03-03"));
    let mut pages = 0;
    let error = loop {
        match listing.next().await {
            Ok(page) => assert!(page.is_some(), "it ended"),
            Err(error) => break error,
        }
        pages += 1;
        assert!(pages < 20, "it goes on for ever");
    };
    assert!(matches!(error, ApiError::Invalid(_)), "{error}");
}

#[tokio::test]
async fn a_list_that_is_refused_at_its_first_page_is_not_asked_for_again() {
    let scene = Scene::start().await;
    scene.zoom.library().inject_call(Endpoint::Sessions, ApiFault::InvalidField, When::Always);
    let error = pages(&scene.api(), sessions(), days("2026-02-01", "2026-02-03")).await.unwrap_err();
    assert!(matches!(error, ApiError::Invalid(_)), "{error:?}");
    assert_eq!(scene.zoom.library().api_requests().len(), 1);
}

#[tokio::test]
async fn a_name_that_is_half_an_emoji_spoils_no_list() {
    let scene = Scene::start().await;
    let expected = one_a_day(&scene);
    scene.zoom.library().inject_call(Endpoint::Sessions, ApiFault::HalfAnEmoji, When::Always);
    let events = listed(&scene.api(), sessions(), days("2026-02-01", "2026-03-03")).await;
    assert_eq!(ids(&events).into_iter().collect::<BTreeSet<_>>(), expected);
    let topics = events.iter().map(|event| announcement(event).recording.topic.clone().unwrap());
    assert!(topics.into_iter().all(|topic| topic.starts_with('\u{fffd}')));
}

#[tokio::test]
async fn what_a_list_says_of_a_recording_is_what_its_events_and_the_api_say_of_it() {
    let scene = Scene::start().await;
    let start: DateTime<Utc> = "2026-02-10T10:00:00Z".parse().unwrap();
    let recordings = [FakeRecording::video_sdk(1), FakeRecording::meeting(2), FakeRecording::webinar(3)]
        .map(|it| at(it, start));
    let mut answers = BTreeMap::new();
    for recording in &recordings {
        let answer = scene.ask(recording).await.unwrap();
        answers.insert(recording.instance_id.clone(), answer);
    }
    let api = scene.api();
    let mut events = listed(&api, sessions(), days("2026-02-01", "2026-03-01")).await;
    events.extend(listed(&api, ListOf::Meetings, days("2026-02-01", "2026-03-01")).await);
    assert_eq!(events.len(), 3);
    for event in &events {
        let from_list = announcement(event);
        let answered = announcement(&answers[&from_list.recording.identity.instance_id]);
        assert_eq!(from_list.recording, answered.recording);
        let identities = |it: &zoom_archiver::domain::recording::Announcement| {
            it.files.iter().map(|file| file.identity.clone()).collect::<BTreeSet<_>>()
        };
        assert_eq!(identities(from_list), identities(answered));
        assert!(from_list.files.iter().all(|file| file.download_url.is_some()));
        let kept = String::from_utf8(event.body.clone()).unwrap();
        assert!(!kept.contains("webhook_download") && !kept.contains("fake-pass"), "{kept}");
    }
}

#[tokio::test]
async fn a_listed_recording_is_recorded_like_an_event_and_only_once() {
    let scene = Scene::start().await;
    let database = Database::sqlite().await;
    let store = database.store().await;
    let start = "2026-02-10T10:00:00Z".parse().unwrap();
    let recording = at(FakeRecording::video_sdk(1), start);
    let answer = scene.ask(&recording).await.unwrap();
    let files = announcement(&answer).files.len() as u64;
    for new in [files, 0] {
        for event in listed(&scene.api(), sessions(), days("2026-02-10", "2026-02-11")).await {
            assert_eq!(store.record(&event).await.unwrap().new_files, new);
        }
    }
    assert_eq!(store.record(&answer).await.unwrap().new_files, 0);
}

#[tokio::test]
async fn the_recordings_of_one_user_are_listed_by_id_and_by_address() {
    let scene = Scene::start().await;
    let recording = at(FakeRecording::meeting(2), "2026-02-10T10:00:00Z".parse().unwrap());
    scene.zoom.library().add(&recording);
    for user in ["host@example.com", "Hk9fakeHostIdQ0wNr1"] {
        let of = ListOf::MeetingsOfUser(user.to_owned());
        let events = listed(&scene.api(), of, days("2026-02-10", "2026-02-11")).await;
        assert_eq!(ids(&events), [recording.instance_id.as_str()]);
    }
    let of = ListOf::MeetingsOfUser("no/body+@example.com".to_owned());
    let error = pages(&scene.api(), of, days("2026-02-10", "2026-02-11")).await.unwrap_err();
    assert!(
        matches!(&error, ApiError::NotAllowed(words) if words.contains("recordings of this user")),
        "{error}"
    );
}

#[tokio::test]
async fn what_is_in_the_trash_is_listed_there_and_nowhere_else() {
    let scene = Scene::start().await;
    let start = "2026-02-10T10:00:00Z".parse().unwrap();
    let two = [FakeFile::generated(11, 10), FakeFile::generated(12, 10)];
    let kept = at(FakeRecording::new(RecordingKind::VideoSdk, 1).with(two), start);
    let thrown = small(2, start);
    for recording in [&kept, &thrown] {
        scene.zoom.library().add(recording);
    }
    let api = scene.api();
    api.remove(&identity(&thrown), None, Removal::Trash).await.unwrap();
    let events = listed(&api, sessions(), days("2026-02-10", "2026-02-11")).await;
    assert_eq!(ids(&events), [kept.instance_id.as_str()]);
    let events = listed(&api, sessions(), Within::Trash(Trashed::Recordings)).await;
    assert_eq!(ids(&events), [thrown.instance_id.as_str()]);
    assert!(listed(&api, sessions(), Within::Trash(Trashed::Files)).await.is_empty());

    // A single file makes its recording one of the other list.
    let file = kept.files[0].id.clone();
    api.remove(&identity(&kept), file.as_deref(), Removal::Trash).await.unwrap();
    let events = listed(&api, sessions(), Within::Trash(Trashed::Files)).await;
    assert_eq!(ids(&events), [kept.instance_id.as_str()]);
    let events = listed(&api, sessions(), Within::Trash(Trashed::Recordings)).await;
    assert_eq!(ids(&events), [thrown.instance_id.as_str()]);
}

#[tokio::test]
async fn an_account_lists_its_own_recordings_only() {
    let scene = Scene::start().await;
    let start = "2026-02-10T10:00:00Z".parse().unwrap();
    let (own, mut foreign) = (at(FakeRecording::meeting(1), start), at(FakeRecording::meeting(2), start));
    foreign.account_id = SECOND.account_id.to_owned();
    for recording in [&own, &foreign] {
        scene.zoom.library().add(recording);
    }
    let events = listed(&scene.api(), ListOf::Meetings, days("2026-02-10", "2026-02-11")).await;
    assert_eq!(ids(&events), [own.instance_id.as_str()]);
    let error = scene.api().recording(&identity(&foreign)).await.unwrap_err();
    assert!(matches!(error, ApiError::NotFound(_)), "{error}");
}

#[tokio::test]
async fn questions_stay_under_the_limit_however_many_ask_at_once() {
    const PER_SEC: usize = 12;
    let scene = Scene::start()
        .await
        .with("ZOOM_ARCHIVER_ZOOM__API_LIGHT_PER_SEC", "10")
        .with("ZOOM_ARCHIVER_ZOOM__API_CALLS_AT_ONCE", "64");
    let recording = FakeRecording::video_sdk(1);
    scene.zoom.library().add(&recording);
    scene.zoom.library().limit_api(Weight::Light, Some(PER_SEC));
    let api = scene.api();
    let identity = identity(&recording);
    let asked = (0..25).map(|_| api.recording(&identity));
    for answer in futures_util::future::join_all(asked).await {
        answer.unwrap();
    }
    let peak = scene.zoom.library().api_peak_rate(Weight::Light);
    assert!((2..=PER_SEC).contains(&peak), "{peak}");
}

#[tokio::test]
async fn each_list_names_the_scope_that_it_lacks() {
    let scene = Scene::start().await;
    let user = ListOf::MeetingsOfUser("host@example.com".to_owned());
    for (endpoint, of, scope) in [
        (Endpoint::Meetings, ListOf::Meetings, "cloud_recording:read:list_account_recordings:admin"),
        (Endpoint::UserMeetings, user, "cloud_recording:read:list_user_recordings:admin"),
    ] {
        scene.zoom.library().inject_call(endpoint, ApiFault::MissingScope, When::Always);
        let error = pages(&scene.api(), of, days("2026-02-10", "2026-02-11")).await.unwrap_err();
        let words = format!("tick {scope} on its Scopes page");
        assert!(matches!(&error, ApiError::NotAllowed(told) if told.contains(&words)), "{error}");
    }
}

/// Asks one question of this kind; about a meeting, or about a file, where that is said.
async fn ask(
    api: &Api,
    endpoint: Endpoint,
    recording: &RecordingIdentity,
    file: Option<&str>,
) -> Result<(), ApiError> {
    let today = || Within::Days(Days::last(1, Clock::System.now()));
    match endpoint {
        Endpoint::SessionRecordings | Endpoint::MeetingRecordings => api.recording(recording).await.map(drop),
        Endpoint::Remove => api.remove(recording, file, Removal::Trash).await,
        Endpoint::Recover => api.recover(recording, file).await,
        Endpoint::SessionEvents => api.control(&recording.instance_id, Control::Start).await,
        Endpoint::Sessions => api.recordings(sessions(), today()).next().await.map(drop),
        Endpoint::Meetings => api.recordings(ListOf::Meetings, today()).next().await.map(drop),
        Endpoint::UserMeetings => {
            api.recordings(ListOf::MeetingsOfUser("me".to_owned()), today()).next().await.map(drop)
        }
        Endpoint::MeetingTranscript => api.transcript(recording).await.map(drop),
        Endpoint::Calls => api.recordings(ListOf::Calls, today()).next().await.map(drop),
        Endpoint::WebhookLog => {
            let now = Clock::System.now();
            api.failed_deliveries(now - TimeDelta::hours(1), now).next().await.map(drop)
        }
        Endpoint::AccessToken => api.bearer(RecordingKind::Meeting, None).await.map(drop),
    }
}

#[tokio::test]
async fn each_question_counts_to_the_limit_of_its_weight_and_to_no_other() {
    let scene = Scene::start().await;
    let library = scene.zoom.library();
    let recordings = [FakeRecording::video_sdk(1), FakeRecording::meeting(2)];
    recordings.iter().for_each(|recording| library.add(recording));
    let [session, meeting] = recordings.each_ref().map(identity);
    let file = |recording: &FakeRecording| recording.file("MP4").unwrap().id.clone();
    let [of_session, of_meeting] = recordings.each_ref().map(file);
    let weights = [
        (Weight::Light, Endpoint::SessionRecordings),
        (Weight::Medium, Endpoint::Sessions),
        (Weight::Heavy, Endpoint::WebhookLog),
    ];
    for (endpoint, recording, file, weight) in [
        (Endpoint::SessionRecordings, &session, None, Weight::Light),
        (Endpoint::MeetingRecordings, &meeting, None, Weight::Light),
        (Endpoint::Remove, &session, None, Weight::Light),
        (Endpoint::Remove, &session, of_session.as_deref(), Weight::Light),
        (Endpoint::Remove, &meeting, None, Weight::Light),
        (Endpoint::Remove, &meeting, of_meeting.as_deref(), Weight::Light),
        (Endpoint::Recover, &session, None, Weight::Light),
        (Endpoint::Recover, &session, of_session.as_deref(), Weight::Light),
        (Endpoint::Recover, &meeting, None, Weight::Light),
        (Endpoint::Recover, &meeting, of_meeting.as_deref(), Weight::Light),
        (Endpoint::SessionEvents, &session, None, Weight::Light),
        (Endpoint::Sessions, &session, None, Weight::Medium),
        (Endpoint::Meetings, &meeting, None, Weight::Medium),
        (Endpoint::UserMeetings, &meeting, None, Weight::Medium),
        (Endpoint::WebhookLog, &session, None, Weight::Heavy),
    ] {
        let is_turned_away = |asked: &Result<(), ApiError>| matches!(asked, Err(ApiError::Refused { retry_after: Some(rest), .. }) if rest.as_secs() > 3000);
        library.clear_api_faults();
        let busy = ApiFault::Status { code: 429.try_into().unwrap(), retry_after: Some("3600".to_owned()) };
        library.inject_call(endpoint, busy, When::First(1));
        let api = scene.api();
        let asked = ask(&api, endpoint, recording, file).await;
        assert!(is_turned_away(&asked), "{endpoint:?}: {asked:?}");
        for (other, probe) in weights {
            let asked = ask(&api, probe, &session, None).await;
            assert_eq!(is_turned_away(&asked), other == weight, "{probe:?} after {endpoint:?}: {asked:?}");
        }
    }
}

#[tokio::test]
async fn a_list_that_asks_too_often_waits_as_long_as_zoom_says_and_goes_on() {
    let scene = Scene::start()
        .await
        .with("ZOOM_ARCHIVER_ZOOM__API_PAGE_SIZE", "1")
        .with("ZOOM_ARCHIVER_ZOOM__API_MEDIUM_PER_SEC", "80");
    let start: DateTime<Utc> = "2026-02-10T10:00:00Z".parse().unwrap();
    for seed in 1..=6 {
        scene.zoom.library().add(&small(seed, start));
    }
    scene.zoom.library().limit_api(Weight::Medium, Some(4));
    let events = listed(&scene.api(), sessions(), days("2026-02-10", "2026-02-11")).await;
    assert_eq!(ids(&events).into_iter().collect::<BTreeSet<_>>().len(), 6);
    let turned_away = scene.zoom.library().api_requests().iter().filter(|it| it.status == 429).count();
    assert!((1..=2).contains(&turned_away), "{turned_away}");
}

#[tokio::test]
async fn who_was_turned_away_for_long_is_told_at_once_and_zoom_is_left_in_peace() {
    let scene = Scene::start().await;
    let recording = FakeRecording::meeting(1);
    scene.zoom.library().add(&recording);
    let busy = ApiFault::Status { code: 429.try_into().unwrap(), retry_after: Some("3600".to_owned()) };
    scene.zoom.library().inject_api(&recording, busy, When::First(1));
    let api = scene.api();
    for asked in [1, 1] {
        let error = api.recording(&identity(&recording)).await.unwrap_err();
        let ApiError::Refused { retry_after: Some(rest), .. } = error else { panic!("{error}") };
        assert!((3590..=3600).contains(&rest.as_secs()), "{rest:?}");
        assert_eq!(scene.calls(Endpoint::MeetingRecordings), asked);
    }
}

#[tokio::test]
async fn a_list_that_was_given_up_begins_its_days_again() {
    let scene = Scene::start()
        .await
        .with("ZOOM_ARCHIVER_ZOOM__API_PAGE_SIZE", "1")
        .with("ZOOM_ARCHIVER_ZOOM__API_MEDIUM_PER_SEC", "80");
    for seed in 1..=3 {
        scene.zoom.library().add(&small(seed, "2026-02-10T10:00:00Z".parse().unwrap()));
    }
    let api = scene.api();
    let mut listing = api.recordings(sessions(), days("2026-02-10", "2026-02-11"));
    let first = listing.next().await.unwrap().unwrap();
    let late = ApiFault::Status { code: 503.try_into().unwrap(), retry_after: Some("7200".to_owned()) };
    scene.zoom.library().inject_call(Endpoint::Sessions, late, When::First(1));
    listing.next().await.unwrap_err();
    let mut again = Vec::new();
    while let Some(page) = listing.next().await.unwrap() {
        again.extend(page.events);
    }
    assert_eq!(ids(&again).len(), 3);
    assert_eq!(ids(&again)[..1], ids(&first.events));
}

#[tokio::test]
async fn a_list_goes_on_after_trouble_and_gives_up_what_a_person_must_mend() {
    let scene = Scene::start().await;
    let start = "2026-02-10T10:00:00Z".parse().unwrap();
    scene.zoom.library().add(&small(1, start));
    let status = |code: u16| ApiFault::Status { code: code.try_into().unwrap(), retry_after: None };
    let within = days("2026-02-10", "2026-02-11");
    for fault in [status(503), ApiFault::Cut, ApiFault::ErrorIn200 { code: 300 }] {
        scene.zoom.library().inject_call(Endpoint::Sessions, fault, When::First(1));
        assert_eq!(listed(&scene.api(), sessions(), within).await.len(), 1);
    }
    scene.zoom.library().inject_call(Endpoint::Meetings, ApiFault::MissingScope, When::Always);
    let error = pages(&scene.api(), ListOf::Meetings, within).await.unwrap_err();
    let scope = "cloud_recording:read:list_account_recordings:admin";
    assert!(matches!(&error, ApiError::NotAllowed(words) if words.contains(scope)), "{error}");
    let late = ApiFault::Status { code: 429.try_into().unwrap(), retry_after: Some("7200".to_owned()) };
    scene.zoom.library().inject_call(Endpoint::Sessions, late, When::Always);
    let api = scene.api();
    let asked = tokio::time::timeout(Duration::from_secs(10), pages(&api, sessions(), within));
    let error = asked.await.expect("it does not wait for two hours").unwrap_err();
    assert!(matches!(error, ApiError::Refused { retry_after: Some(_), .. }), "{error}");
}

#[tokio::test]
async fn a_list_that_goes_round_is_given_up_and_not_read_for_ever() {
    let scene = Scene::start().await;
    for token in ["second", "third", "second"] {
        let page = ApiFault::LeadsTo { token: token.to_owned() };
        scene.zoom.library().inject_call(Endpoint::Sessions, page, When::First(1));
    }
    let api = scene.api();
    let mut listing = api.recordings(sessions(), days("2026-01-01", "2026-01-02"));
    for _ in 0..2 {
        assert!(listing.next().await.unwrap().is_some());
    }
    let told = listing.next().await.unwrap_err();
    assert!(matches!(&told, ApiError::Refused { .. }) && told.to_string().contains("read before"), "{told}");
    // The next time it is right.
    assert!(listing.next().await.unwrap().is_some() && listing.next().await.unwrap().is_none());
}
