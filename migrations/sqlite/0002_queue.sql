-- The queue. One job per kind and subject, ever: it is woken, not doubled. The CHECKs repeat the picture in
-- docs/job-states.md.
--
-- No index holds a column that a heartbeat changes: extending a lease writes the row and nothing else.

CREATE TABLE jobs (
    id               BLOB    PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    kind             TEXT    NOT NULL,
    subject          BLOB    NOT NULL CHECK (length(subject) = 16),
    state            TEXT    NOT NULL,
    run_at           INTEGER NOT NULL,
    attempts         INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    snoozes          INTEGER NOT NULL DEFAULT 0 CHECK (snoozes >= 0),
    lost_leases      INTEGER NOT NULL DEFAULT 0 CHECK (lost_leases >= 0),
    wanted_again     INTEGER NOT NULL DEFAULT 0 CHECK (wanted_again IN (0, 1)),
    lease_owner      TEXT,
    lease_token      INTEGER NOT NULL DEFAULT 0 CHECK (lease_token >= 0),
    lease_expires_at INTEGER,
    checkpoint       TEXT    CHECK (json_valid(checkpoint)),
    waits_for        TEXT,
    reason           TEXT,
    created_at       INTEGER NOT NULL,
    updated_at       INTEGER NOT NULL,
    finished_at      INTEGER,

    CONSTRAINT jobs_identity UNIQUE (kind, subject),
    CONSTRAINT jobs_state CHECK (
        state IN ('waiting', 'running', 'parked', 'done', 'dead', 'cancelled')
    ),
    CONSTRAINT jobs_running_is_leased CHECK (
        (state = 'running') = (lease_owner IS NOT NULL)
        AND (state = 'running') = (lease_expires_at IS NOT NULL)
    ),
    CONSTRAINT jobs_running_was_claimed CHECK (state <> 'running' OR lease_token > 0),
    CONSTRAINT jobs_wanted_again_while_running CHECK (NOT wanted_again OR state = 'running'),
    CONSTRAINT jobs_parked_waits_for CHECK ((state = 'parked') = (waits_for IS NOT NULL)),
    CONSTRAINT jobs_waits_for CHECK (waits_for IN ('token', 'person')),
    CONSTRAINT jobs_stopped_has_reason CHECK (state NOT IN ('parked', 'dead') OR reason IS NOT NULL),
    CONSTRAINT jobs_finished_at CHECK (
        (state IN ('done', 'dead', 'cancelled')) = (finished_at IS NOT NULL)
    ),
    CONSTRAINT jobs_done_has_no_checkpoint CHECK (state <> 'done' OR checkpoint IS NULL)
) STRICT;

-- The claim: due jobs, oldest first.
CREATE INDEX jobs_waiting ON jobs (run_at, id) WHERE state = 'waiting';

-- The sweep: all that run.
CREATE INDEX jobs_running ON jobs (id) WHERE state = 'running';
