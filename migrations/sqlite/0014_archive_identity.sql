-- Which archive holds the objects of this record: the id in its marker, and where it was when that was noted. One row at most.
CREATE TABLE archive_identity (
    only_one INTEGER PRIMARY KEY NOT NULL CHECK (only_one = 1),
    id       TEXT    NOT NULL,
    place    TEXT    NOT NULL
) STRICT;
