-- Which archive holds the objects of this record: the id in its marker, and where it was when that was noted. One row at most.
CREATE TABLE archive_identity (
    only_one integer PRIMARY KEY CHECK (only_one = 1),
    id       text    NOT NULL,
    place    text    NOT NULL
);
