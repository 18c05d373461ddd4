-- Rows of our own are forgotten when they are old: events that were read, and jobs that are finished. What proves
-- anything stays: recordings, files and what was told.

-- It names the event still when that is forgotten, as the manifest does.
ALTER TABLE files DROP CONSTRAINT files_first_event_id_fkey;

-- What is finished, in the order in which it is forgotten. (Named by two conditions, so that no list of what is done takes
-- it for its own.)
CREATE INDEX jobs_finished ON jobs (finished_at, id) WHERE state = 'done' AND finished_at IS NOT NULL;

-- Each job leaves dead rows behind, also in the index that claims go by: they are to be cleared away after so many jobs,
-- however much of what is finished lies beside them.
ALTER TABLE jobs SET (autovacuum_vacuum_scale_factor = 0.02);

-- How many rows have been forgotten.
CREATE TABLE pruned (
    table_name text        NOT NULL,
    -- Zoom's name of the event; the kind of the job.
    kind       text        NOT NULL,
    rows       bigint      NOT NULL CHECK (rows > 0),
    -- When the newest of them came, or was finished.
    until      timestamptz NOT NULL,

    PRIMARY KEY (table_name, kind),
    CONSTRAINT pruned_table CHECK (table_name IN ('events', 'jobs'))
);
