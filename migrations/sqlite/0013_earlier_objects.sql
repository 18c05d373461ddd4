-- Objects that a file had before the present one: archived with a warning, fetched again on request, and kept. A JSON array in
-- the shape of `files[].object` in the manifest, the oldest first.
ALTER TABLE files ADD COLUMN earlier_objects TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(earlier_objects));

-- Their keys are ours: asked for when the archive is listed.
CREATE INDEX files_with_earlier_objects ON files (id) WHERE earlier_objects <> '[]';
-- Files with a warning are counted.
CREATE INDEX files_with_warning ON files (id) WHERE mark IS NOT NULL;
