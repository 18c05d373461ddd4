-- The queue. One job per kind and subject, ever: it is woken, not doubled. The CHECKs repeat the picture in
-- docs/job-states.md.
--
-- No index holds a column that a heartbeat changes, and pages keep some room: so extending a lease stays within
-- its page (a heap-only update) and leaves the indexes alone.

CREATE TABLE jobs (
    id               uuid        PRIMARY KEY,
    kind             text        NOT NULL,
    subject          uuid        NOT NULL,
    state            text        NOT NULL,
    run_at           timestamptz NOT NULL,
    attempts         bigint      NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    snoozes          bigint      NOT NULL DEFAULT 0 CHECK (snoozes >= 0),
    lost_leases      bigint      NOT NULL DEFAULT 0 CHECK (lost_leases >= 0),
    wanted_again     boolean     NOT NULL DEFAULT false,
    lease_owner      text,
    lease_token      bigint      NOT NULL DEFAULT 0 CHECK (lease_token >= 0),
    lease_expires_at timestamptz,
    checkpoint       jsonb,
    waits_for        text,
    reason           text,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    finished_at      timestamptz,

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
) WITH (fillfactor = 80);

-- The claim: due jobs, oldest first.
CREATE INDEX jobs_waiting ON jobs (run_at, id) WHERE state = 'waiting';

-- The sweep: all that run.
CREATE INDEX jobs_running ON jobs (id) WHERE state = 'running';
