-- Ids are 16 bytes, keys 32, times Unix seconds. What grows by arrival (log, inbox, key packages) is a rowid
-- table, so that an append touches the end of the file and not a random page.

CREATE TABLE accounts (
    account BLOB NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    account_key BLOB NOT NULL,
    opaque_record BLOB NOT NULL,
    sealed_account_key BLOB NOT NULL,
    recovery_verifier BLOB NOT NULL,
    recovery_sealed_account_key BLOB NOT NULL,
    -- ahoy.v1.CallsFrom
    calls_from INTEGER NOT NULL,
    suspended INTEGER NOT NULL,
    made_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Append only. Each head is SHA-256 over the head before it and this row.
CREATE TABLE account_key_log (
    sequence INTEGER NOT NULL PRIMARY KEY,
    account BLOB NOT NULL,
    account_key BLOB NOT NULL,
    at INTEGER NOT NULL,
    head BLOB NOT NULL
) STRICT;

CREATE TRIGGER account_key_log_is_not_rewritten BEFORE UPDATE ON account_key_log
BEGIN SELECT raise(ABORT, 'the account key log is append only'); END;

CREATE TRIGGER account_key_log_is_not_cut BEFORE DELETE ON account_key_log
BEGIN SELECT raise(ABORT, 'the account key log is append only'); END;

CREATE TABLE invites (
    -- SHA-256 of the token.
    hash BLOB NOT NULL PRIMARY KEY,
    -- 1: to sign up; 2: to any name, whatever the policy.
    admission INTEGER NOT NULL,
    expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX invites_by_expiry ON invites (expires);

CREATE TABLE devices (
    device BLOB NOT NULL PRIMARY KEY,
    account BLOB NOT NULL REFERENCES accounts (account),
    name TEXT NOT NULL,
    device_key BLOB NOT NULL,
    -- ahoy.v1.Binding
    binding BLOB NOT NULL,
    made_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX devices_by_account ON devices (account);

CREATE TABLE key_packages (
    arrival INTEGER NOT NULL PRIMARY KEY,
    device BLOB NOT NULL REFERENCES devices (device) ON DELETE CASCADE,
    -- 1: handed out again and again once all others are used up.
    last_resort INTEGER NOT NULL,
    key_package BLOB NOT NULL
) STRICT;

CREATE INDEX key_packages_by_device ON key_packages (device, last_resort, arrival);

CREATE TABLE conversations (
    conversation BLOB NOT NULL PRIMARY KEY,
    -- Both accounts of a one-to-one conversation, the smaller first: 32 bytes.
    pair BLOB UNIQUE,
    generation INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    head INTEGER NOT NULL,
    group_info BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE members (
    account BLOB NOT NULL REFERENCES accounts (account),
    conversation BLOB NOT NULL REFERENCES conversations (conversation),
    PRIMARY KEY (account, conversation)
) STRICT, WITHOUT ROWID;

CREATE INDEX members_by_conversation ON members (conversation);

CREATE TABLE log (
    arrival INTEGER NOT NULL PRIMARY KEY,
    conversation BLOB NOT NULL REFERENCES conversations (conversation),
    sequence INTEGER NOT NULL,
    -- ahoy.v1.LogEntry
    entry BLOB NOT NULL,
    UNIQUE (conversation, sequence)
) STRICT;

CREATE TABLE inbox (
    -- AUTOINCREMENT: a sequence number is never given twice, though what had it is gone.
    sequence INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    device BLOB NOT NULL REFERENCES devices (device) ON DELETE CASCADE,
    -- ahoy.v1.InboxEntry without its sequence
    entry BLOB NOT NULL
) STRICT;

CREATE INDEX inbox_by_device ON inbox (device, sequence);

-- Devices (kind 1) and accounts (kind 2) whose credentials are void if signed at or before a time.
CREATE TABLE revocations (
    kind INTEGER NOT NULL,
    id BLOB NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX revocations_by_time ON revocations (at);

CREATE TABLE supernodes (
    -- Their order in the roster.
    place INTEGER NOT NULL PRIMARY KEY,
    -- JSON, as in the roster.
    entry TEXT NOT NULL
) STRICT;

-- Serial numbers of the signed lists: 1 revocations, 2 roster.
CREATE TABLE serials (
    list INTEGER NOT NULL PRIMARY KEY,
    serial INTEGER NOT NULL
) STRICT;

INSERT INTO serials (list, serial) VALUES (1, 1), (2, 0);
