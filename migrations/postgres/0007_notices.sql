-- Notices to receivers outside: each is a job, written in the transaction that makes true what it tells.

-- What it tells; `account` of such a job is its receiver.
ALTER TABLE jobs
    ADD COLUMN notice jsonb,
    ADD CONSTRAINT jobs_notice CHECK ((kind = 'notify') = (notice IS NOT NULL));

-- The two queues, which are claimed apart. The second is told by the notice: for its kind another index would offer itself.
DROP INDEX jobs_waiting;
CREATE INDEX jobs_waiting ON jobs (account, loses_at, run_at, id) WHERE state = 'waiting' AND kind <> 'notify';
CREATE INDEX jobs_notices_waiting ON jobs (account, loses_at, run_at, id) WHERE state = 'waiting' AND notice IS NOT NULL;

-- The occasion of which each kind of news of a recording or file was told last, so that it is told once.
CREATE TABLE told (
    kind     text   NOT NULL,
    subject  uuid   NOT NULL,
    occasion bigint NOT NULL,

    PRIMARY KEY (subject, kind)
);
