-- The record: what Zoom announced, and what became of every file of it.

CREATE TABLE recordings (
    id           uuid        PRIMARY KEY,
    account_id   text        NOT NULL,
    kind         text        NOT NULL,
    instance_id  text        NOT NULL,
    topic        text,
    start_time   timestamptz,
    metadata     jsonb       NOT NULL,
    folder       text,
    announced_at timestamptz NOT NULL,

    CONSTRAINT recordings_identity UNIQUE (account_id, kind, instance_id)
);

-- One verified delivery each: it names a recording, or says why it could not be read.
CREATE TABLE events (
    id           uuid        PRIMARY KEY,
    received_at  timestamptz NOT NULL,
    name         text        NOT NULL,
    body         bytea       NOT NULL,
    recording_id uuid        REFERENCES recordings (id),
    unreadable   text,
    odd          jsonb       NOT NULL DEFAULT '[]',

    CONSTRAINT events_read_or_not CHECK ((recording_id IS NULL) = (unreadable IS NOT NULL))
);

CREATE TABLE files (
    id              uuid        PRIMARY KEY,
    recording_id    uuid        NOT NULL REFERENCES recordings (id),
    collection      text        NOT NULL,
    name            text        NOT NULL,
    recording_type  text        NOT NULL,
    -- As announced.
    file_type       text        NOT NULL,
    extension       text        NOT NULL,
    recording_start timestamptz,
    announced_bytes bigint      CHECK (announced_bytes >= 0),
    metadata        jsonb       NOT NULL,
    download_url    text,
    download_token  text,
    -- Where it stands.
    state           text        NOT NULL,
    reason          text,
    -- Where it lies, and the proof.
    object_key      text        UNIQUE,
    bytes           bigint      CHECK (bytes >= 0),
    sha256          bytea       CHECK (octet_length(sha256) = 32),
    content_type    text,
    store_checksum  text,
    etag            text,
    version_id      text,
    mark            text,
    archived_at     timestamptz,
    -- Where it comes from.
    first_event_id  uuid        NOT NULL REFERENCES events (id),
    announced_at    timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL DEFAULT now(),

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
);

-- Lists of files by state, in order of announcement (ids are UUIDs of version 7).
CREATE INDEX files_by_state ON files (state, id);
