-- Supernodes: tokens that let one enrol, those that have, and the signed lists for them to read.

-- A token is gone when it has been used.
CREATE TABLE enrolments (
    -- SHA-256 of the token.
    hash BLOB NOT NULL PRIMARY KEY,
    -- What the operator has decided, as JSON; the rest the supernode says.
    granted TEXT NOT NULL,
    expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX enrolments_by_expiry ON enrolments (expires);

-- What stood here came from the configuration, and the authority enters it anew when it starts.
DROP TABLE supernodes;

-- Rows stay: a number is never given twice, and a key that was revoked does not come back.
CREATE TABLE supernodes (
    number INTEGER NOT NULL PRIMARY KEY,
    supernode BLOB NOT NULL UNIQUE,
    roster_key BLOB NOT NULL,
    -- JSON: a list of host:port.
    addresses TEXT NOT NULL,
    region TEXT NOT NULL,
    weight INTEGER NOT NULL,
    enrolled_at INTEGER NOT NULL,
    -- NULL: it is one.
    revoked_at INTEGER
) STRICT;

-- 4: the number of the next supernode.
INSERT INTO serials (list, serial) VALUES (4, 0);

-- The newest signed revocations (list 1) and roster (list 2).
CREATE TABLE published (
    list INTEGER NOT NULL PRIMARY KEY,
    -- Another with each publication, though the serial stays when a list is only signed anew.
    version INTEGER NOT NULL,
    serial INTEGER NOT NULL,
    token TEXT NOT NULL
) STRICT;
