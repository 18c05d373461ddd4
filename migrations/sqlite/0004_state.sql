-- How recordings stand at Zoom, as their events say; and files that an event brings along.
--
-- Events come out of order: beside everything that they may move stands when that happened at Zoom.

ALTER TABLE recordings ADD COLUMN state TEXT CONSTRAINT recordings_state CHECK (
    state IN ('started', 'paused', 'stopped', 'completed', 'trashed', 'deleted', 'recovered')
);
ALTER TABLE recordings ADD COLUMN state_at INTEGER CHECK ((state IS NULL) = (state_at IS NULL));
ALTER TABLE recordings ADD COLUMN transcript TEXT CHECK (transcript IN ('completed', 'failed'));
ALTER TABLE recordings ADD COLUMN transcript_at INTEGER CHECK ((transcript IS NULL) = (transcript_at IS NULL));
ALTER TABLE recordings ADD COLUMN summary TEXT CHECK (summary IN ('completed', 'failed'));
ALTER TABLE recordings ADD COLUMN summary_at INTEGER CHECK ((summary IS NULL) = (summary_at IS NULL));
-- Of the topic, and of the newest event whose other facts were taken.
ALTER TABLE recordings ADD COLUMN topic_at INTEGER;
ALTER TABLE recordings ADD COLUMN told_at INTEGER;

-- The file itself, until it is archived, where no download is needed.
ALTER TABLE files ADD COLUMN content BLOB
    CONSTRAINT files_archived_has_no_content CHECK (state <> 'archived' OR content IS NULL);
