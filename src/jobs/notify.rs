//! Sends one notice to one receiver. It was written down in the transaction that made it true, so it is sent at least
//! once; a receiver that gets it twice (because we were stopped before we could write down that it was taken) knows it by
//! its id. No order is kept: a notice that fails lets later ones pass.

use tracing::{debug, info};

use super::Jobs;
use crate::domain::ids::NoticeId;
use crate::domain::job::Outcome;
use crate::notify::message::Story;
use crate::worker::JobContext;

/// Runs the job.
pub async fn run(jobs: &Jobs, notice: NoticeId, context: &JobContext) -> Outcome {
    tokio::select! {
        biased;
        () = context.stopped() => Outcome::Stopped,
        sent = send(jobs, notice) => sent.map_or_else(|outcome| outcome, |()| Outcome::Done(Box::default())),
    }
}

async fn send(jobs: &Jobs, id: NoticeId) -> Result<(), Outcome> {
    let Some(work) = jobs.store.notice_work(id).await? else {
        return Err(Outcome::Dead { reason: "what it tells of is not known any more".to_owned() });
    };
    let Some(target) = jobs.notifier.target(&work.target) else {
        let reason = format!("notify.targets names no `{}` any more", work.target);
        return Err(Outcome::Dead { reason });
    };
    let story = Story {
        notice: &work.notice,
        recording: &work.recording,
        file: work.file.as_ref(),
        account: jobs.names.label(&work.recording.identity.account_id),
    };
    let message = story.message(target.template);
    let sent = jobs.notifier.send(target, &message).await;
    let event = work.notice.kind.as_str();
    let class = sent.as_ref().map_or_else(|error| error.class(), |()| "sent");
    let labels = [("target", work.target.clone()), ("event", event.to_owned()), ("class", class.to_owned())];
    metrics::counter!("zoom_archiver_notifications_total", &labels).increment(1);
    match sent {
        Ok(()) => debug!(notice.event = event, notice.target = work.target, "notification sent"),
        Err(error) => {
            info!(notice.event = event, notice.target = work.target, %error, "notification not taken");
            return Err(error.into());
        }
    }
    Ok(())
}
