-- One recording for each session, meeting or webinar. Meetings and webinars share their ids, and some events leave open
-- which of the two it was.

-- Rows that stand for one of each: what the meeting has goes to the webinar. A file that both have keeps its row under
-- another name of its list: nothing that was announced is forgotten.
UPDATE files SET collection = files.collection || ' (meeting)'
FROM recordings meeting
    JOIN recordings webinar USING (account_id, instance_id)
    JOIN files twin ON twin.recording_id = webinar.id
WHERE meeting.kind = 'meeting' AND webinar.kind = 'webinar' AND files.recording_id = meeting.id
    AND twin.collection = files.collection AND twin.name = files.name AND twin.recording_type = files.recording_type;

UPDATE files SET recording_id = webinar.id
FROM recordings meeting JOIN recordings webinar USING (account_id, instance_id)
WHERE meeting.kind = 'meeting' AND webinar.kind = 'webinar' AND files.recording_id = meeting.id;

UPDATE events SET recording_id = webinar.id
FROM recordings meeting JOIN recordings webinar USING (account_id, instance_id)
WHERE meeting.kind = 'meeting' AND webinar.kind = 'webinar' AND events.recording_id = meeting.id;

UPDATE recordings SET
    folder = COALESCE(recordings.folder, meeting.folder),
    summary = COALESCE(recordings.summary, meeting.summary),
    summary_at = COALESCE(recordings.summary_at, meeting.summary_at),
    metadata = meeting.metadata || recordings.metadata
FROM recordings meeting
WHERE recordings.kind = 'webinar' AND meeting.kind = 'meeting' AND meeting.account_id = recordings.account_id
    AND meeting.instance_id = recordings.instance_id;

-- Its jobs are those of the webinar, whose manifest is written again.
DELETE FROM jobs
USING recordings meeting JOIN recordings webinar USING (account_id, instance_id)
WHERE meeting.kind = 'meeting' AND webinar.kind = 'webinar' AND jobs.subject = meeting.id
    AND EXISTS (SELECT 1 FROM jobs known WHERE known.kind = jobs.kind AND known.subject = webinar.id);

UPDATE jobs SET subject = webinar.id
FROM recordings meeting JOIN recordings webinar USING (account_id, instance_id)
WHERE meeting.kind = 'meeting' AND webinar.kind = 'webinar' AND jobs.subject = meeting.id;

UPDATE jobs SET state = 'waiting', run_at = now(), finished_at = NULL
FROM recordings meeting JOIN recordings webinar USING (account_id, instance_id)
WHERE meeting.kind = 'meeting' AND webinar.kind = 'webinar' AND jobs.subject = webinar.id
    AND jobs.kind = 'manifest' AND jobs.state = 'done';

DELETE FROM recordings meeting USING recordings webinar
WHERE meeting.kind = 'meeting' AND webinar.kind = 'webinar' AND meeting.account_id = webinar.account_id
    AND meeting.instance_id = webinar.instance_id;

-- The instance first: so it also finds what is known under another account.
ALTER TABLE recordings DROP CONSTRAINT recordings_identity;
CREATE UNIQUE INDEX recordings_identity
    ON recordings (instance_id, account_id, (replace(kind, 'webinar', 'meeting')));

-- Who has decided whether a file is taken: the rules, by their fingerprint, `storage`, `twin` or `person`. Rules judge again
-- only what the very same rules have judged; so they leave alone what was there before this column.
ALTER TABLE files ADD COLUMN decided_by text;

-- Files that another account has.
CREATE INDEX files_twins ON files (state) WHERE decided_by = 'twin';
