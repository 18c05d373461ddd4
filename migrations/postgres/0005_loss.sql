-- Until when a file can be had, and the order in which the queue works: what is lost first comes first.

ALTER TABLE recordings
    -- When Zoom deletes it by itself, as far as it said.
    ADD COLUMN auto_delete_at timestamptz;

ALTER TABLE files
    -- When its token ends, and whether another one can be asked for.
    ADD COLUMN token_expires_at timestamptz,
    ADD COLUMN renewable        boolean NOT NULL DEFAULT true,
    -- After that it cannot be had any more; NULL when nothing is known, and when it is archived or gone.
    ADD COLUMN loses_at         timestamptz,
    ADD CONSTRAINT files_token_expires CHECK (token_expires_at IS NULL OR download_token IS NOT NULL),
    ADD CONSTRAINT files_gone_has_no_secrets CHECK (
        state <> 'gone' OR (download_url IS NULL AND download_token IS NULL)
    ),
    ADD CONSTRAINT files_finished_loses_nothing CHECK (
        state NOT IN ('archived', 'gone') OR loses_at IS NULL
    );

-- The nearest loss.
CREATE INDEX files_by_loss ON files (loses_at) WHERE state IN ('pending', 'parked', 'dead');

-- The moment of its file, for the claim; far away when there is none.
ALTER TABLE jobs ADD COLUMN loses_at timestamptz NOT NULL DEFAULT '9999-12-31T00:00:00Z';

-- The claim: the waiting jobs of one account, nearest loss first, then oldest first.
DROP INDEX jobs_waiting;
DROP INDEX jobs_waiting_of_account;
CREATE INDEX jobs_waiting ON jobs (account, loses_at, run_at, id) WHERE state = 'waiting';
