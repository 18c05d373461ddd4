-- Whose transfers they are, so that no worker need take more of one Zoom account at once than it should.

-- The account of a transfer's recording; NULL for jobs that ask nothing of Zoom.
ALTER TABLE jobs ADD COLUMN account text;

UPDATE jobs SET account = recordings.account_id
FROM files JOIN recordings ON recordings.id = files.recording_id
WHERE jobs.kind = 'transfer' AND files.id = jobs.subject;

-- The claim past accounts that are full: due jobs of one account, oldest first.
CREATE INDEX jobs_waiting_of_account ON jobs (account, run_at, id) WHERE state = 'waiting';
