//! Where Zoom lets nobody begin midway, the file is read from its start; what the archive holds of it already is not sent
//! once more.

use zoom_archiver::simulator::{Fault, When};

use super::{FILE, MIDWAY, PART, Transfer};
use crate::support::place::Place;
use crate::support::service::eventually;

/// Its worker is killed when the archive holds all parts that Zoom has sent whole; the next one finds no ranges.
async fn only_what_is_missing_is_sent(place: Place, without_ranges: Fault) {
    let held = MIDWAY / PART;
    let transfer = Transfer::stage(place, 1).await;
    let victim = transfer.worker().start().await;
    let key = transfer.is_midway().await;
    eventually("the archive holds what came whole", || async {
        (transfer.split.place.parts_held(&key, PART).await == held).then_some(())
    })
    .await;
    victim.kill().await;
    transfer.split.zoom.library().inject(transfer.key_at_zoom(), without_ranges, When::Always);
    let heir = transfer.worker().start().await;
    transfer.arrives(transfer.content()).await;
    let kept = heir.metric("zoom_archiver_parts_kept_total", "").await;
    let sent = heir.metric("zoom_archiver_parts_sent_total", "").await;
    assert_eq!((kept, sent), (held as f64, (FILE.div_ceil(PART) - held) as f64));
    transfer.end([heir]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_ranges_are_ignored_only_what_is_missing_is_sent_to_a_bucket() {
    only_what_is_missing_is_sent(Place::bucket().await, Fault::RangesIgnored).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_ranges_are_refused_only_what_is_missing_is_sent_to_a_bucket() {
    only_what_is_missing_is_sent(Place::bucket().await, Fault::RangesRefused).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_ranges_are_ignored_only_what_is_missing_is_written_into_a_directory() {
    only_what_is_missing_is_sent(Place::directory(), Fault::RangesIgnored).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_ranges_are_refused_only_what_is_missing_is_written_into_a_directory() {
    only_what_is_missing_is_sent(Place::directory(), Fault::RangesRefused).await;
}
