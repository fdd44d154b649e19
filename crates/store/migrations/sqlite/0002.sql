-- Contacts, settings, groups, messages, receipts, reports, and the end of an account. Days are days since the Unix epoch.

ALTER TABLE accounts ADD COLUMN request_key BLOB;
-- ahoy.v1.Availability
ALTER TABLE accounts ADD COLUMN availability INTEGER NOT NULL DEFAULT 1;
ALTER TABLE accounts ADD COLUMN mood TEXT NOT NULL DEFAULT '';
ALTER TABLE accounts ADD COLUMN listed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE accounts ADD COLUMN contacts_serial INTEGER NOT NULL DEFAULT 0;
ALTER TABLE accounts ADD COLUMN last_seen_day INTEGER NOT NULL DEFAULT 0;

CREATE INDEX accounts_listed ON accounts (name) WHERE listed = 1;

ALTER TABLE devices ADD COLUMN state_serial INTEGER NOT NULL DEFAULT 0;
ALTER TABLE devices ADD COLUMN last_seen_day INTEGER NOT NULL DEFAULT 0;

-- How an account has another among its contacts.
CREATE TABLE contacts (
    account BLOB NOT NULL REFERENCES accounts (account),
    peer BLOB NOT NULL REFERENCES accounts (account),
    -- ahoy.v1.ContactState; 100: declined, which is nobody's to see.
    state INTEGER NOT NULL,
    since INTEGER NOT NULL,
    note BLOB NOT NULL,
    PRIMARY KEY (account, peer)
) STRICT, WITHOUT ROWID;

CREATE INDEX contacts_by_peer ON contacts (peer);
CREATE INDEX contacts_by_state ON contacts (account, state);
CREATE INDEX contacts_declined ON contacts (since) WHERE state = 100;

-- The log entry that made it a member; 0: from the beginning.
ALTER TABLE members ADD COLUMN since INTEGER NOT NULL DEFAULT 0;
DROP INDEX members_by_conversation;
CREATE INDEX members_by_standing ON members (conversation, since, account);

ALTER TABLE conversations ADD COLUMN receipts_serial INTEGER NOT NULL DEFAULT 0;
-- Log entries up to this one are gone.
ALTER TABLE conversations ADD COLUMN floor INTEGER NOT NULL DEFAULT 0;
-- Messages sealed in an earlier epoch are refused: somebody who is a member no more could read them.
ALTER TABLE conversations ADD COLUMN safe_epoch INTEGER NOT NULL DEFAULT 0;
-- 1: somebody has departed since the last commit.
ALTER TABLE conversations ADD COLUMN departed INTEGER NOT NULL DEFAULT 0;

-- Apart from the conversation, whose row changes with every message: a GroupInfo may take a megabyte.
CREATE TABLE group_infos (
    conversation BLOB NOT NULL PRIMARY KEY REFERENCES conversations (conversation) ON DELETE CASCADE,
    group_info BLOB NOT NULL
) STRICT;

INSERT INTO group_infos (conversation, group_info) SELECT conversation, group_info FROM conversations;
ALTER TABLE conversations DROP COLUMN group_info;

-- A device that stands in a conversation's MLS group, as far as the store knows.
CREATE TABLE cursors (
    conversation BLOB NOT NULL REFERENCES conversations (conversation) ON DELETE CASCADE,
    device BLOB NOT NULL REFERENCES devices (device) ON DELETE CASCADE,
    -- The last log entry that it has taken over.
    acknowledged INTEGER NOT NULL,
    -- The number of its last message.
    sent INTEGER NOT NULL,
    PRIMARY KEY (conversation, device)
) STRICT, WITHOUT ROWID;

CREATE INDEX cursors_by_device ON cursors (device);

-- The number of the last message of a device whose account has left: should it come back, its numbers go on, so that no
-- two messages of a conversation have the same name.
CREATE TABLE numbers (
    conversation BLOB NOT NULL REFERENCES conversations (conversation) ON DELETE CASCADE,
    device BLOB NOT NULL REFERENCES devices (device) ON DELETE CASCADE,
    sent INTEGER NOT NULL,
    PRIMARY KEY (conversation, device)
) STRICT, WITHOUT ROWID;

CREATE INDEX numbers_by_device ON numbers (device);

INSERT INTO cursors (conversation, device, acknowledged, sent)
    SELECT members.conversation, devices.device, 0, 0 FROM members JOIN devices ON devices.account = members.account;

-- Milliseconds since the Unix epoch.
ALTER TABLE log ADD COLUMN at_ms INTEGER NOT NULL DEFAULT 0;
-- On whose account the bytes go; NULL: nobody's.
ALTER TABLE log ADD COLUMN account BLOB;
ALTER TABLE log ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;

-- What is there has no time of its own: it is kept as if it had arrived in this moment.
UPDATE log SET at_ms = unixepoch() * 1000, bytes = length(entry);

-- Bytes of log entries that an account has sent and that are kept. The two triggers are all that changes it.
CREATE TABLE usage (
    account BLOB NOT NULL PRIMARY KEY REFERENCES accounts (account) ON DELETE CASCADE,
    bytes INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TRIGGER log_grows AFTER INSERT ON log WHEN NEW.account IS NOT NULL
BEGIN
    INSERT INTO usage (account, bytes) VALUES (NEW.account, NEW.bytes)
        ON CONFLICT (account) DO UPDATE SET bytes = bytes + excluded.bytes;
END;

CREATE TRIGGER log_shrinks AFTER DELETE ON log WHEN OLD.account IS NOT NULL
BEGIN UPDATE usage SET bytes = bytes - OLD.bytes WHERE account = OLD.account; END;

-- A Welcome, once for all the devices whose inboxes it stands in; it goes with the last of them.
CREATE TABLE welcomes (
    -- AUTOINCREMENT: an id that is gone must not lead to another Welcome.
    welcome INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    conversation BLOB REFERENCES conversations (conversation) ON DELETE CASCADE,
    -- When it was first seen by what looks for old ones; 0: not yet.
    at INTEGER NOT NULL DEFAULT 0,
    -- ahoy.v1.InboxEntry without its sequence
    entry BLOB NOT NULL
) STRICT;

CREATE INDEX welcomes_by_conversation ON welcomes (conversation);
CREATE INDEX welcomes_unseen ON welcomes (at) WHERE at = 0;

INSERT INTO welcomes (welcome, entry) SELECT sequence, entry FROM inbox;
ALTER TABLE inbox ADD COLUMN welcome INTEGER REFERENCES welcomes (welcome) ON DELETE CASCADE;
UPDATE inbox SET welcome = sequence;
ALTER TABLE inbox DROP COLUMN entry;
CREATE INDEX inbox_by_welcome ON inbox (welcome);

CREATE TRIGGER welcome_goes AFTER DELETE ON inbox
BEGIN
    DELETE FROM welcomes
        WHERE welcome = OLD.welcome AND NOT EXISTS (SELECT 1 FROM inbox WHERE inbox.welcome = OLD.welcome);
END;

-- The newest receipt of each device.
CREATE TABLE receipts (
    conversation BLOB NOT NULL REFERENCES conversations (conversation) ON DELETE CASCADE,
    device BLOB NOT NULL REFERENCES devices (device) ON DELETE CASCADE,
    serial INTEGER NOT NULL,
    sealed BLOB NOT NULL,
    PRIMARY KEY (conversation, device)
) STRICT, WITHOUT ROWID;

CREATE INDEX receipts_by_device ON receipts (device);
CREATE INDEX receipts_by_serial ON receipts (conversation, serial);

-- For the operator.
CREATE TABLE reports (
    arrival INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    reporter BLOB NOT NULL REFERENCES accounts (account),
    about BLOB NOT NULL REFERENCES accounts (account),
    at INTEGER NOT NULL,
    sealed BLOB NOT NULL
) STRICT;

CREATE INDEX reports_by_reporter ON reports (reporter, at);
CREATE INDEX reports_by_subject ON reports (about);

-- Names of accounts that are gone, which nobody may take for some time.
CREATE TABLE departed_names (
    name TEXT NOT NULL PRIMARY KEY,
    until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX departed_names_by_time ON departed_names (until);
