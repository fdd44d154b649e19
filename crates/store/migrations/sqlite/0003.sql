-- What triggers did, the verbs do now: other engines have no triggers to rely on. Numbers that count up for one device stand in
-- its own row, and those of reports beside the other serial numbers, so that both engines give them alike.

DROP TRIGGER log_grows;
DROP TRIGGER log_shrinks;
DROP TRIGGER welcome_goes;

-- The last sequence number that was given in the device's inbox. Those that are there go on above all that were given to any.
ALTER TABLE devices ADD COLUMN inbox_sequence INTEGER NOT NULL DEFAULT 0;
UPDATE devices SET inbox_sequence = coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'inbox'), 0);

CREATE TABLE inboxes (
    device BLOB NOT NULL REFERENCES devices (device) ON DELETE CASCADE,
    sequence INTEGER NOT NULL,
    welcome INTEGER NOT NULL REFERENCES welcomes (welcome) ON DELETE CASCADE,
    PRIMARY KEY (device, sequence)
) STRICT, WITHOUT ROWID;

INSERT INTO inboxes (device, sequence, welcome) SELECT device, sequence, welcome FROM inbox;
DROP TABLE inbox;
ALTER TABLE inboxes RENAME TO inbox;
CREATE INDEX inbox_by_welcome ON inbox (welcome);

DROP INDEX welcomes_unseen;
CREATE INDEX welcomes_by_time ON welcomes (at);

-- 3: the last arrival of a report.
INSERT INTO serials (list, serial) SELECT 3, coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'reports'), 0);
