-- What verifications found of archived files, and what lies in the archive that no row knows.

-- When its object was last compared with what was proven of it, and what was wrong then.
ALTER TABLE files ADD COLUMN verified_at INTEGER
    CONSTRAINT files_verified_is_archived CHECK (verified_at IS NULL OR state = 'archived');
ALTER TABLE files ADD COLUMN finding TEXT CONSTRAINT files_finding CHECK (
    finding IN ('missing', 'size', 'sha256', 'unreadable', 'checksum', 'no_manifest', 'manifest')
);
ALTER TABLE files ADD COLUMN finding_detail TEXT CONSTRAINT files_finding_was_verified CHECK (
    (finding IS NULL) = (finding_detail IS NULL) AND (finding IS NULL OR verified_at IS NOT NULL)
);
-- What had been proven of a file that is fetched again, until it is archived again.
ALTER TABLE files ADD COLUMN proven_bytes INTEGER CHECK (proven_bytes >= 0);
ALTER TABLE files ADD COLUMN proven_sha256 BLOB CHECK (length(proven_sha256) = 32)
    CONSTRAINT files_proven_before CHECK (
        (proven_bytes IS NULL) = (proven_sha256 IS NULL) AND (proven_sha256 IS NULL OR state <> 'archived')
    );

-- The longest unverified first. What was archived was proven then.
CREATE INDEX files_by_verification ON files (COALESCE(verified_at, archived_at), id) WHERE state = 'archived';
CREATE INDEX files_by_finding ON files (finding, id) WHERE finding IS NOT NULL;

-- Whose manifest lies in a folder.
CREATE INDEX recordings_by_folder ON recordings (folder) WHERE folder IS NOT NULL;

-- Objects that are neither a file's nor a manifest. Keys in the order in which the archive lists them, byte by byte.
CREATE TABLE foreign_objects (
    key      TEXT    PRIMARY KEY NOT NULL,
    bytes    INTEGER CHECK (bytes >= 0),
    found_at INTEGER NOT NULL,
    detail   TEXT
) STRICT, WITHOUT ROWID;
