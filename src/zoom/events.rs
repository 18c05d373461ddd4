//! Every event of Zoom's that is about a recording, in one table: its name, what it changes, and where in it the
//! recording stands. What an event says in detail is read in [`payload`](super::payload).
//!
//! Names and shapes: Zoom's event references for Video SDK, Meetings and Phone, and the types of Zoom's own library
//! for JavaScript (`rivet-javascript`). `docs/zoom.md` says which of them are promised and which merely observed.

use crate::domain::recording::{Change, RecordingState, TextState};

/// One kind of event.
#[derive(Debug, PartialEq, Eq)]
pub struct EventKind {
    /// The value of `event`, as it is to be ticked in the portal.
    pub name: &'static str,
    /// What it changes.
    pub change: Change,
    /// Where the recording stands in it.
    pub shape: Shape,
}

/// Where in an event its recording, or its recordings, stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// `payload.object` is the recording, and every list whose name ends in `_files` holds files of it.
    Files,
    /// `payload.object` is the recording; files that it may list are not to be had.
    Bare,
    /// `payload.object` lists the ids of meetings or webinars: `meetings[].meeting_uuid`, or `meeting_uuids[]`.
    Batch,
    /// `payload.object` is the summary of a meeting, with its text.
    Summary,
    /// The same, but with another text than before: a newer summary is a file of its own.
    UpdatedSummary,
    /// `payload.object` names the meeting of a summary; a text that it may hold is not to be had, or is known.
    BareSummary,
    /// `payload.object.recordings` lists recorded calls.
    Calls,
    /// The same, but what is ready is their transcripts.
    CallTranscripts,
    /// The same; files are not to be had.
    BareCalls,
    /// `payload.object` is a voicemail.
    Voicemail,
    /// `payload.object` is a voicemail, or lists several in `voice_mails`; files are not to be had.
    BareVoicemail,
    /// `payload.object` names the meeting of which there is a transcript.
    MeetingTranscript,
}

/// The table.
pub const EVENTS: &[EventKind] = &[
    // Video SDK
    stands("session.recording_started", RecordingState::Started, Shape::Bare),
    stands("session.recording_paused", RecordingState::Paused, Shape::Bare),
    stands("session.recording_resumed", RecordingState::Started, Shape::Bare),
    stands("session.recording_stopped", RecordingState::Stopped, Shape::Bare),
    stands("session.recording_completed", RecordingState::Completed, Shape::Files),
    transcript("session.recording_transcript_completed", TextState::Completed, Shape::Files),
    transcript("session.recording_transcript_failed", TextState::Failed, Shape::Bare),
    summary("session.recording_summary_completed", Shape::Files),
    stands("session.recording_trashed", RecordingState::Trashed, Shape::Files),
    stands("session.recording_deleted", RecordingState::Deleted, Shape::Bare),
    stands("session.recording_recovered", RecordingState::Recovered, Shape::Files),
    // Meetings and webinars
    stands("recording.started", RecordingState::Started, Shape::Bare),
    stands("recording.paused", RecordingState::Paused, Shape::Bare),
    stands("recording.resumed", RecordingState::Started, Shape::Bare),
    stands("recording.stopped", RecordingState::Stopped, Shape::Bare),
    stands("recording.completed", RecordingState::Completed, Shape::Files),
    transcript("recording.transcript_completed", TextState::Completed, Shape::Files),
    stands("recording.trashed", RecordingState::Trashed, Shape::Files),
    stands("recording.deleted", RecordingState::Deleted, Shape::Bare),
    stands("recording.recovered", RecordingState::Recovered, Shape::Files),
    stands("recording.batch_trashed", RecordingState::Trashed, Shape::Batch),
    stands("recording.batch_deleted", RecordingState::Deleted, Shape::Batch),
    stands("recording.batch_recovered", RecordingState::Recovered, Shape::Batch),
    EventKind { name: "recording.renamed", change: Change { renamed: true, ..NOTHING }, shape: Shape::Bare },
    // What an archiving account keeps has a life of its own: it says nothing of the cloud recording.
    EventKind { name: "recording.archive_files_completed", change: NOTHING, shape: Shape::Files },
    summary("meeting.summary_completed", Shape::Summary),
    summary("meeting.summary_updated", Shape::UpdatedSummary),
    // What becomes of the summary at Zoom changes nothing of the one that is archived.
    EventKind { name: "meeting.summary_trashed", change: NOTHING, shape: Shape::BareSummary },
    EventKind { name: "meeting.summary_deleted", change: NOTHING, shape: Shape::BareSummary },
    EventKind { name: "meeting.summary_recovered", change: NOTHING, shape: Shape::BareSummary },
    // AI Companion's transcript needs no cloud recording: it says nothing of the recording's own.
    EventKind { name: "meeting.aic_transcript_completed", change: NOTHING, shape: Shape::MeetingTranscript },
    // Phone
    stands("phone.recording_completed", RecordingState::Completed, Shape::Calls),
    stands("phone.recording_completed_for_access_member", RecordingState::Completed, Shape::Calls),
    stands("phone.recording_deleted", RecordingState::Trashed, Shape::BareCalls),
    stands("phone.recording_permanently_deleted", RecordingState::Deleted, Shape::BareCalls),
    transcript("phone.recording_transcript_completed", TextState::Completed, Shape::CallTranscripts),
    stands("phone.voicemail_received", RecordingState::Completed, Shape::Voicemail),
    stands("phone.voicemail_received_for_access_member", RecordingState::Completed, Shape::Voicemail),
    transcript("phone.voicemail_transcript_completed", TextState::Completed, Shape::Voicemail),
    stands("phone.voicemail_deleted", RecordingState::Trashed, Shape::BareVoicemail),
    stands("phone.voicemail_permanently_deleted", RecordingState::Deleted, Shape::BareVoicemail),
];

const NOTHING: Change = Change { state: None, transcript: None, summary: None, renamed: false };

const fn stands(name: &'static str, state: RecordingState, shape: Shape) -> EventKind {
    EventKind { name, change: Change { state: Some(state), ..NOTHING }, shape }
}

const fn transcript(name: &'static str, text: TextState, shape: Shape) -> EventKind {
    EventKind { name, change: Change { transcript: Some(text), ..NOTHING }, shape }
}

const fn summary(name: &'static str, shape: Shape) -> EventKind {
    EventKind { name, change: Change { summary: Some(TextState::Completed), ..NOTHING }, shape }
}

/// The kind of an event, by its name; `None` for those that are about something else.
#[must_use]
pub fn find(name: &str) -> Option<&'static EventKind> {
    EVENTS.iter().find(|kind| kind.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_event_stands_in_the_table_twice() {
        for kind in EVENTS {
            assert_eq!(find(kind.name), Some(kind));
        }
    }

    #[test]
    fn an_event_about_something_else_is_none_of_the_table() {
        for name in ["session.started", "meeting.ended", "recording.registration_created", ""] {
            assert_eq!(find(name), None, "{name}");
        }
    }
}
