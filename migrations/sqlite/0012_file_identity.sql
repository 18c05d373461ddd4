-- One row for each file: what identifies a file is its list and Zoom's id of it. `recording_type` is an attribute like others,
-- since Zoom names it in one place and not in another; so until now one file could have several rows.
--
-- Rows that are the same file are merged:
-- - The archived row is kept, whatever the others are; of several archived rows the one that was archived first.
-- - A further archived row stays as it is, object and proof, under its name with ` (duplicate N)` behind it: nothing archived
--   is forgotten, and its object and its entry in the manifest still belong to a row.
-- - Where none is archived, the row is kept that has an upload in progress, or else the one that is nearest to being fetched.
-- - All other rows go, with their jobs. What they knew and the kept row did not (type, size, URL, metadata) is taken over, and
--   notifications that were sent about them count as sent. An upload that such a row had begun is given up by the janitor: its
--   job stays, cancelled, with the checkpoint that names the upload.
--
-- Three more kinds of rows get the name that their file has from now on: transcripts of calls, which have the id of their
-- recording and now a list of their own; files without an id, whose names hold a time, now in UTC and whole seconds; and files
-- that were announced without an id and with one.
--
-- The table's own constraint stays: SQLite cannot drop it, and it allows whatever the new index does.

CREATE TABLE file_merge AS
WITH described AS (
    SELECT files.id, files.recording_id, files.name,
        CASE
            WHEN recordings.kind = 'phone' AND files.collection = 'recordings'
                AND files.recording_type = 'call_transcript' THEN 'call_transcripts'
            ELSE files.collection
        END AS collection,
        CASE WHEN files.collection LIKE '%\_files' ESCAPE '\' AND files.file_type <> '' AND files.recording_start IS NOT NULL
            THEN files.file_type || '@' || strftime('%Y-%m-%dT%H:%M:%SZ', files.recording_start / 1000, 'unixepoch')
        END AS stand_in,
        substr(files.name, 1, length(files.file_type) + 1) = files.file_type || '@' AS has_no_id
    FROM files JOIN recordings ON recordings.id = files.recording_id
),
alike AS (
    SELECT recording_id, collection, stand_in, min(name) AS name
    FROM described WHERE stand_in IS NOT NULL AND NOT has_no_id
    GROUP BY recording_id, collection, stand_in HAVING count(DISTINCT name) = 1
),
named AS (
    SELECT described.id, described.recording_id, described.collection,
        CASE WHEN has_no_id AND stand_in IS NOT NULL THEN COALESCE(alike.name, stand_in)
            ELSE described.name END AS name
    FROM described LEFT JOIN alike USING (recording_id, collection, stand_in)
),
ranked AS (
    SELECT named.*, first_value(named.id) OVER same AS kept, row_number() OVER same AS place,
        count(*) OVER (PARTITION BY named.recording_id, named.collection, named.name) AS members
    FROM named JOIN files ON files.id = named.id
        LEFT JOIN jobs ON jobs.kind = 'transfer' AND jobs.subject = named.id
    WINDOW same AS (
        PARTITION BY named.recording_id, named.collection, named.name
        ORDER BY CASE files.state WHEN 'archived' THEN 0 ELSE 1 END, files.archived_at,
            CASE WHEN jobs.checkpoint IS NOT NULL THEN 0 ELSE 1 END,
            CASE files.state WHEN 'pending' THEN 0 WHEN 'parked' THEN 1 WHEN 'dead' THEN 2 WHEN 'skipped' THEN 3
                ELSE 4 END,
            named.id
    )
)
SELECT ranked.id, ranked.recording_id, ranked.collection, ranked.name, kept, place,
    place > 1 AND files.state <> 'archived' AS goes
FROM ranked JOIN files ON files.id = ranked.id
WHERE ranked.members > 1 OR ranked.collection <> files.collection OR ranked.name <> files.name;

CREATE UNIQUE INDEX file_merge_id ON file_merge (id);
CREATE INDEX file_merge_kept ON file_merge (kept, place);

-- Out of the way, also of the constraint that there was so far.
UPDATE files SET collection = merge.collection, name = merge.name || ' (duplicate ' || (merge.place - 1) || ')'
FROM file_merge merge WHERE merge.id = files.id AND merge.place > 1;

-- What the others know; `place` 1 is the kept row itself.
UPDATE files SET
    recording_type = COALESCE((
        SELECT other.recording_type FROM file_merge same JOIN files other USING (id)
        WHERE same.kept = files.id AND other.recording_type <> '' ORDER BY same.place LIMIT 1
    ), ''),
    file_type = COALESCE((
        SELECT other.file_type FROM file_merge same JOIN files other USING (id)
        WHERE same.kept = files.id AND other.file_type <> '' ORDER BY same.place LIMIT 1
    ), ''),
    extension = COALESCE((
        SELECT other.extension FROM file_merge same JOIN files other USING (id)
        WHERE same.kept = files.id AND other.extension <> '' ORDER BY same.place LIMIT 1
    ), ''),
    recording_start = (
        SELECT other.recording_start FROM file_merge same JOIN files other USING (id)
        WHERE same.kept = files.id AND other.recording_start IS NOT NULL ORDER BY same.place LIMIT 1
    ),
    announced_bytes = (
        SELECT other.announced_bytes FROM file_merge same JOIN files other USING (id)
        WHERE same.kept = files.id AND other.announced_bytes IS NOT NULL ORDER BY same.place LIMIT 1
    ),
    metadata = json_patch((
        SELECT other.metadata FROM file_merge same JOIN files other USING (id)
        WHERE same.kept = files.id AND same.place = 2
    ), files.metadata),
    (announced_at, first_event_id) = (
        SELECT other.announced_at, other.first_event_id FROM file_merge same JOIN files other USING (id)
        WHERE same.kept = files.id ORDER BY other.announced_at, same.place LIMIT 1
    )
FROM file_merge merge WHERE merge.id = files.id AND merge.place = 1
    AND EXISTS (SELECT 1 FROM file_merge other WHERE other.kept = merge.id AND other.place = 2);

-- Access to what is not archived, where only a row that goes has it; the transfer that waited for that is due.
UPDATE files SET download_url = giver.download_url, download_token = giver.download_token,
    token_expires_at = giver.token_expires_at,
    state = CASE files.state WHEN 'parked' THEN 'pending' ELSE files.state END,
    reason = CASE files.state WHEN 'parked' THEN NULL ELSE files.reason END
FROM file_merge merge JOIN files giver ON giver.id = (
    SELECT other.id FROM file_merge same JOIN files other USING (id)
    WHERE same.kept = merge.id AND other.download_url IS NOT NULL ORDER BY same.place LIMIT 1
)
WHERE merge.id = files.id AND merge.place = 1 AND files.state NOT IN ('archived', 'gone') AND files.download_url IS NULL;

UPDATE jobs SET state = 'waiting', run_at = CAST(unixepoch('subsec') * 1000 AS INTEGER), waits_for = NULL, reason = NULL, updated_at = CAST(unixepoch('subsec') * 1000 AS INTEGER)
FROM file_merge merge JOIN files ON files.id = merge.id
WHERE jobs.kind = 'transfer' AND jobs.subject = merge.id AND merge.place = 1 AND jobs.state = 'parked'
    AND files.state = 'pending';

-- The jobs of rows that go. A worker of the release before that runs one loses its lease.
UPDATE jobs SET state = 'cancelled', wanted_again = false, lease_owner = NULL, lease_expires_at = NULL, waits_for = NULL,
    reason = 'merged with another row of the same file', finished_at = CAST(unixepoch('subsec') * 1000 AS INTEGER), updated_at = CAST(unixepoch('subsec') * 1000 AS INTEGER)
FROM file_merge merge
WHERE merge.goes AND jobs.kind = 'transfer' AND jobs.subject = merge.id AND jobs.checkpoint IS NOT NULL;

DELETE FROM jobs
WHERE kind = 'transfer' AND checkpoint IS NULL AND subject IN (SELECT id FROM file_merge WHERE goes);

INSERT INTO told (kind, subject, occasion)
SELECT told.kind, merge.kept, max(told.occasion)
FROM told JOIN file_merge merge ON merge.id = told.subject WHERE merge.goes
GROUP BY told.kind, merge.kept
ON CONFLICT DO NOTHING;

DELETE FROM told WHERE subject IN (SELECT id FROM file_merge WHERE goes);

UPDATE jobs SET notice = json_set(notice, '$.subject', substr(lower(hex(merge.kept)), 1, 8) || '-' || substr(lower(hex(merge.kept)), 9, 4) || '-' || substr(lower(hex(merge.kept)), 13, 4) || '-' || substr(lower(hex(merge.kept)), 17, 4)
    || '-' || substr(lower(hex(merge.kept)), 21))
FROM file_merge merge
WHERE merge.goes AND jobs.kind = 'notify' AND unhex(replace(jobs.notice ->> 'subject', '-', '')) = merge.id;

DELETE FROM files WHERE id IN (SELECT id FROM file_merge WHERE goes);

UPDATE files SET collection = merge.collection, name = merge.name
FROM file_merge merge WHERE merge.id = files.id AND merge.place = 1;

-- Manifests name files by list and id.
UPDATE jobs SET wanted_again = true, updated_at = CAST(unixepoch('subsec') * 1000 AS INTEGER)
WHERE kind = 'manifest' AND state = 'running' AND subject IN (SELECT recording_id FROM file_merge);

INSERT INTO jobs AS known (id, kind, subject, state, run_at, created_at, updated_at)
SELECT randomblob(16), 'manifest', recordings.id, 'waiting', CAST(unixepoch('subsec') * 1000 AS INTEGER), CAST(unixepoch('subsec') * 1000 AS INTEGER), CAST(unixepoch('subsec') * 1000 AS INTEGER) FROM recordings
WHERE folder IS NOT NULL AND id IN (SELECT recording_id FROM file_merge)
ON CONFLICT (kind, subject) DO UPDATE SET state = 'waiting', run_at = CAST(unixepoch('subsec') * 1000 AS INTEGER), attempts = 0, snoozes = 0, lost_leases = 0,
    waits_for = NULL, reason = NULL, finished_at = NULL, updated_at = CAST(unixepoch('subsec') * 1000 AS INTEGER)
WHERE known.state NOT IN ('waiting', 'running');

DROP TABLE file_merge;

CREATE UNIQUE INDEX files_by_identity ON files (recording_id, collection, name);

-- How a single file stands at Zoom, where that differs from its recording: Zoom trashes, deletes and recovers single files, too.
ALTER TABLE files ADD COLUMN zoom_state TEXT
    CONSTRAINT files_zoom_state CHECK (zoom_state IN ('trashed', 'deleted', 'recovered'));
ALTER TABLE files ADD COLUMN zoom_state_at INTEGER
    CONSTRAINT files_zoom_state_at CHECK ((zoom_state IS NULL) = (zoom_state_at IS NULL));
