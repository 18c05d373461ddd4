-- Lists for people: each is walked in the order of ids (UUIDs of version 7, so of time), from where the last page ended.

CREATE INDEX recordings_by_account ON recordings (account_id, id);

CREATE INDEX events_by_recording ON events (recording_id, id) WHERE recording_id IS NOT NULL;
CREATE INDEX events_unreadable ON events (id) WHERE unreadable IS NOT NULL;

-- What somebody has to look at. What waits, runs or is done is not in it: the queue pays nothing for this.
CREATE INDEX jobs_to_look_at ON jobs (state, id) WHERE state IN ('parked', 'dead', 'cancelled');

-- How much has been archived of late.
CREATE INDEX files_by_archival ON files (archived_at) WHERE state = 'archived';
