-- How recordings stand at Zoom, as their events say; and files that an event brings along.
--
-- Events come out of order: beside everything that they may move stands when that happened at Zoom.

ALTER TABLE recordings
    ADD COLUMN state         text,
    ADD COLUMN state_at      timestamptz,
    ADD COLUMN transcript    text,
    ADD COLUMN transcript_at timestamptz,
    ADD COLUMN summary       text,
    ADD COLUMN summary_at    timestamptz,
    -- Of the topic, and of the newest event whose other facts were taken.
    ADD COLUMN topic_at      timestamptz,
    ADD COLUMN told_at       timestamptz,
    ADD CONSTRAINT recordings_state CHECK (
        state IN ('started', 'paused', 'stopped', 'completed', 'trashed', 'deleted', 'recovered')
    ),
    ADD CONSTRAINT recordings_texts CHECK (
        transcript IN ('completed', 'failed') AND summary IN ('completed', 'failed')
    ),
    ADD CONSTRAINT recordings_moved_at CHECK (
        (state IS NULL) = (state_at IS NULL)
        AND (transcript IS NULL) = (transcript_at IS NULL)
        AND (summary IS NULL) = (summary_at IS NULL)
    );

-- The file itself, until it is archived, where no download is needed.
ALTER TABLE files
    ADD COLUMN content bytea,
    ADD CONSTRAINT files_archived_has_no_content CHECK (state <> 'archived' OR content IS NULL);
