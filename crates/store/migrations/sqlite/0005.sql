-- A migration of this database to PostgreSQL: at most one row. While there is one, the copy at the other end belongs to this file.
CREATE TABLE migration (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    -- Random: known at the other end too.
    migration BLOB NOT NULL,
    -- 1: it is complete. This file is no store any more.
    finished INTEGER NOT NULL
) STRICT;
