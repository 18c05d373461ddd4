-- Rows of our own are forgotten when they are old: events that were read, and jobs that are finished. What proves
-- anything stays: recordings, files and what was told.

-- It names the event still when that is forgotten, as the manifest does: `first_event_id` is no reference any more. SQLite
-- cannot drop one, so the table is written anew, as the steps so far have made it but for that.
CREATE TABLE files_anew (
    id               BLOB    PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    recording_id     BLOB    NOT NULL REFERENCES recordings (id),
    collection       TEXT    NOT NULL,
    name             TEXT    NOT NULL,
    recording_type   TEXT    NOT NULL,
    -- As announced.
    file_type        TEXT    NOT NULL,
    extension        TEXT    NOT NULL,
    recording_start  INTEGER,
    announced_bytes  INTEGER CHECK (announced_bytes >= 0),
    metadata         TEXT    NOT NULL CHECK (json_valid(metadata)),
    download_url     TEXT,
    download_token   TEXT,
    -- When the token ends, and whether another one can be asked for.
    token_expires_at INTEGER,
    renewable        INTEGER NOT NULL DEFAULT 1 CHECK (renewable IN (0, 1)),
    -- The file itself, until it is archived, where no download is needed.
    content          BLOB,
    -- Where it stands, who has decided whether it is taken, and after when it cannot be had any more.
    state            TEXT    NOT NULL,
    reason           TEXT,
    decided_by       TEXT,
    loses_at         INTEGER,
    -- Where it lies, and the proof.
    object_key       TEXT    UNIQUE,
    bytes            INTEGER CHECK (bytes >= 0),
    sha256           BLOB    CHECK (length(sha256) = 32),
    content_type     TEXT,
    store_checksum   TEXT,
    etag             TEXT,
    version_id       TEXT,
    mark             TEXT,
    archived_at      INTEGER,
    -- What the last verification found, and what had been proven of a file that is fetched again.
    verified_at      INTEGER,
    finding          TEXT,
    finding_detail   TEXT,
    proven_bytes     INTEGER CHECK (proven_bytes >= 0),
    proven_sha256    BLOB    CHECK (length(proven_sha256) = 32),
    -- Where it comes from.
    first_event_id   BLOB    NOT NULL,
    announced_at     INTEGER NOT NULL,
    updated_at       INTEGER NOT NULL,

    CONSTRAINT files_identity UNIQUE (recording_id, collection, name, recording_type),
    CONSTRAINT files_state CHECK (
        state IN ('pending', 'parked', 'archived', 'skipped', 'gone', 'dead')
    ),
    CONSTRAINT files_resting_has_reason CHECK (
        state IN ('pending', 'archived') OR reason IS NOT NULL
    ),
    CONSTRAINT files_archived_has_proof CHECK (
        CASE WHEN state = 'archived'
            THEN object_key IS NOT NULL AND bytes IS NOT NULL AND sha256 IS NOT NULL
                AND content_type IS NOT NULL AND archived_at IS NOT NULL
            ELSE bytes IS NULL AND sha256 IS NULL AND content_type IS NULL AND archived_at IS NULL
                AND store_checksum IS NULL AND etag IS NULL AND version_id IS NULL AND mark IS NULL
        END
    ),
    CONSTRAINT files_archived_has_no_secrets CHECK (
        state <> 'archived' OR (download_url IS NULL AND download_token IS NULL)
    ),
    CONSTRAINT files_archived_has_no_content CHECK (state <> 'archived' OR content IS NULL),
    CONSTRAINT files_token_expires CHECK (token_expires_at IS NULL OR download_token IS NOT NULL),
    CONSTRAINT files_finished_loses_nothing CHECK (state NOT IN ('archived', 'gone') OR loses_at IS NULL),
    CONSTRAINT files_gone_has_no_secrets CHECK (
        state <> 'gone' OR (download_url IS NULL AND download_token IS NULL)
    ),
    CONSTRAINT files_finding CHECK (
        finding IN ('missing', 'size', 'sha256', 'unreadable', 'checksum', 'no_manifest', 'manifest')
    ),
    CONSTRAINT files_verified_is_archived CHECK (verified_at IS NULL OR state = 'archived'),
    CONSTRAINT files_finding_was_verified CHECK (
        (finding IS NULL) = (finding_detail IS NULL) AND (finding IS NULL OR verified_at IS NOT NULL)
    ),
    CONSTRAINT files_proven_before CHECK (
        (proven_bytes IS NULL) = (proven_sha256 IS NULL) AND (proven_sha256 IS NULL OR state <> 'archived')
    )
) STRICT;

INSERT INTO files_anew
    (id, recording_id, collection, name, recording_type, file_type, extension, recording_start, announced_bytes,
     metadata, download_url, download_token, token_expires_at, renewable, content, state, reason, decided_by, loses_at,
     object_key, bytes, sha256, content_type, store_checksum, etag, version_id, mark, archived_at, verified_at, finding,
     finding_detail, proven_bytes, proven_sha256, first_event_id, announced_at, updated_at)
SELECT id, recording_id, collection, name, recording_type, file_type, extension, recording_start, announced_bytes,
    metadata, download_url, download_token, token_expires_at, renewable, content, state, reason, decided_by, loses_at,
    object_key, bytes, sha256, content_type, store_checksum, etag, version_id, mark, archived_at, verified_at, finding,
    finding_detail, proven_bytes, proven_sha256, first_event_id, announced_at, updated_at
FROM files ORDER BY id;

DROP TABLE files;
ALTER TABLE files_anew RENAME TO files;

CREATE INDEX files_by_state ON files (state, id);
CREATE INDEX files_by_loss ON files (loses_at) WHERE state IN ('pending', 'parked', 'dead');
CREATE INDEX files_twins ON files (state) WHERE decided_by = 'twin';
CREATE INDEX files_by_archival ON files (archived_at) WHERE state = 'archived';
CREATE INDEX files_by_verification ON files (COALESCE(verified_at, archived_at), id) WHERE state = 'archived';
CREATE INDEX files_by_finding ON files (finding, id) WHERE finding IS NOT NULL;

-- What is finished, in the order in which it is forgotten. (Named by two conditions, so that no list of what is done takes
-- it for its own.)
CREATE INDEX jobs_finished ON jobs (finished_at, id) WHERE state = 'done' AND finished_at IS NOT NULL;

-- How many rows have been forgotten.
CREATE TABLE pruned (
    table_name TEXT    NOT NULL,
    -- Zoom's name of the event; the kind of the job.
    kind       TEXT    NOT NULL,
    rows       INTEGER NOT NULL CHECK (rows > 0),
    -- When the newest of them came, or was finished.
    until      INTEGER NOT NULL,

    PRIMARY KEY (table_name, kind),
    CONSTRAINT pruned_table CHECK (table_name IN ('events', 'jobs'))
) STRICT, WITHOUT ROWID;
