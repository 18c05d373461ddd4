-- What those see who watch: the trace that a job belongs to, and the depth of the queue without a walk through what
-- is finished.

-- W3C trace context (`traceparent`) of the event that announced what the job is about; NULL when it was not traced.
ALTER TABLE jobs ADD COLUMN trace text;

-- The claim, as before; and, with the kind beside it, how many jobs of each kind wait, from the index alone.
DROP INDEX jobs_waiting;
CREATE INDEX jobs_waiting ON jobs (account, loses_at, run_at, id) INCLUDE (kind) WHERE state = 'waiting' AND kind <> 'notify';

-- What stands still, and since when.
CREATE INDEX jobs_stopped ON jobs (state, kind, run_at) WHERE state IN ('parked', 'dead');
