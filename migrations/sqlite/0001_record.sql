-- The record: what Zoom announced, and what became of every file of it.
-- Times are Unix milliseconds, ids are the 16 bytes of a UUID.

CREATE TABLE recordings (
    id           BLOB    PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    account_id   TEXT    NOT NULL,
    kind         TEXT    NOT NULL,
    instance_id  TEXT    NOT NULL,
    topic        TEXT,
    start_time   INTEGER,
    metadata     TEXT    NOT NULL CHECK (json_valid(metadata)),
    folder       TEXT,
    announced_at INTEGER NOT NULL,

    CONSTRAINT recordings_identity UNIQUE (account_id, kind, instance_id)
) STRICT;

-- One verified delivery each: it names a recording, or says why it could not be read.
CREATE TABLE events (
    id           BLOB    PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    received_at  INTEGER NOT NULL,
    name         TEXT    NOT NULL,
    body         BLOB    NOT NULL,
    recording_id BLOB    REFERENCES recordings (id),
    unreadable   TEXT,
    odd          TEXT    NOT NULL DEFAULT '[]' CHECK (json_valid(odd)),

    CONSTRAINT events_read_or_not CHECK ((recording_id IS NULL) = (unreadable IS NOT NULL))
) STRICT;

CREATE TABLE files (
    id              BLOB    PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    recording_id    BLOB    NOT NULL REFERENCES recordings (id),
    collection      TEXT    NOT NULL,
    name            TEXT    NOT NULL,
    recording_type  TEXT    NOT NULL,
    -- As announced.
    file_type       TEXT    NOT NULL,
    extension       TEXT    NOT NULL,
    recording_start INTEGER,
    announced_bytes INTEGER CHECK (announced_bytes >= 0),
    metadata        TEXT    NOT NULL CHECK (json_valid(metadata)),
    download_url    TEXT,
    download_token  TEXT,
    -- Where it stands.
    state           TEXT    NOT NULL,
    reason          TEXT,
    -- Where it lies, and the proof.
    object_key      TEXT    UNIQUE,
    bytes           INTEGER CHECK (bytes >= 0),
    sha256          BLOB    CHECK (length(sha256) = 32),
    content_type    TEXT,
    store_checksum  TEXT,
    etag            TEXT,
    version_id      TEXT,
    mark            TEXT,
    archived_at     INTEGER,
    -- Where it comes from.
    first_event_id  BLOB    NOT NULL REFERENCES events (id),
    announced_at    INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL,

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
    )
) STRICT;

-- Lists of files by state, in order of announcement (ids are UUIDs of version 7).
CREATE INDEX files_by_state ON files (state, id);
