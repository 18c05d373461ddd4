-- What verifications found of archived files, and what lies in the archive that no row knows.

ALTER TABLE files
    -- When its object was last compared with what was proven of it, and what was wrong then.
    ADD COLUMN verified_at    timestamptz,
    ADD COLUMN finding        text,
    ADD COLUMN finding_detail text,
    -- What had been proven of a file that is fetched again, until it is archived again.
    ADD COLUMN proven_bytes   bigint CHECK (proven_bytes >= 0),
    ADD COLUMN proven_sha256  bytea  CHECK (octet_length(proven_sha256) = 32),
    ADD CONSTRAINT files_finding CHECK (
        finding IN ('missing', 'size', 'sha256', 'unreadable', 'checksum', 'no_manifest', 'manifest')
    ),
    ADD CONSTRAINT files_verified_is_archived CHECK (verified_at IS NULL OR state = 'archived'),
    ADD CONSTRAINT files_finding_was_verified CHECK (
        (finding IS NULL) = (finding_detail IS NULL) AND (finding IS NULL OR verified_at IS NOT NULL)
    ),
    ADD CONSTRAINT files_proven_before CHECK (
        (proven_bytes IS NULL) = (proven_sha256 IS NULL) AND (proven_sha256 IS NULL OR state <> 'archived')
    );

-- The longest unverified first. What was archived was proven then.
CREATE INDEX files_by_verification ON files ((COALESCE(verified_at, archived_at)), id) WHERE state = 'archived';
CREATE INDEX files_by_finding ON files (finding, id) WHERE finding IS NOT NULL;

-- Whose manifest lies in a folder.
CREATE INDEX recordings_by_folder ON recordings (folder) WHERE folder IS NOT NULL;

-- Objects that are neither a file's nor a manifest. Keys in the order in which the archive lists them, byte by byte.
CREATE TABLE foreign_objects (
    key      text        COLLATE "C" PRIMARY KEY,
    bytes    bigint      CHECK (bytes >= 0),
    found_at timestamptz NOT NULL,
    detail   text
);
