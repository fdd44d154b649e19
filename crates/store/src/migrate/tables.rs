//! What there is to move: the tables, in an order in which each refers to none that comes after it.

use sha2::{Digest as _, Sha256};

use super::MoveError;
use crate::sql::Value;

/// A table as both engines have it.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: &'static str,
    /// How many of the columns, the first, are the key.
    pub(super) keys: usize,
    pub(super) columns: &'static [&'static str],
}

macro_rules! tables {
    ($($name:ident ($($key:ident),*; $($column:ident),*);)*) => {
        &[$(Table {
            name: stringify!($name),
            keys: [$(stringify!($key)),*].len(),
            columns: &[$(stringify!($key),)* $(stringify!($column)),*],
        }),*]
    };
}

/// All of them.
pub(super) const TABLES: &[Table] = tables! {
    accounts (account; name, account_key, request_key, opaque_record, sealed_account_key, recovery_verifier,
        recovery_sealed_account_key, calls_from, suspended, made_at, availability, mood, listed, contacts_serial, last_seen_day);
    account_key_log (sequence; account, account_key, at, head);
    invites (hash; admission, expires);
    devices (device; account, name, device_key, binding, made_at, state_serial, last_seen_day, inbox_sequence);
    key_packages (device, last_resort, arrival; key_package);
    conversations (conversation; pair, generation, epoch, head, receipts_serial, floor);
    group_infos (conversation; group_info);
    members (account, conversation; since);
    log (conversation, sequence; arrival, at_ms, account, bytes, entry);
    usage (account; bytes);
    cursors (conversation, device; acknowledged, sent);
    numbers (conversation, device; sent);
    welcomes (welcome; conversation, at, entry);
    inbox (device, sequence; welcome);
    receipts (conversation, device; serial, sealed);
    contacts (account, peer; state, since, note);
    reports (arrival; reporter, about, at, sealed);
    departed_names (name; until);
    revocations (kind, id; at);
    enrolments (hash; granted, expires);
    supernodes (number; supernode, roster_key, addresses, region, weight, enrolled_at, revoked_at);
    published (list; version, serial, token);
    serials (list; serial);
};

/// Rows that are read or written at a time, and bytes after which a row is the last: a GroupInfo may take a megabyte.
pub(super) const ROWS_AT_ONCE: usize = 64;
pub(super) const BYTES_AT_ONCE: usize = 4 << 20;

impl Table {
    fn key(&self) -> String {
        self.columns[..self.keys].join(", ")
    }

    /// Selects the rows after a key, or all, in the order of their keys. `parameter` names the parameter of a number.
    pub(super) fn select(&self, has_key: bool, parameter: fn(usize) -> String) -> String {
        let (columns, name, key) = (self.columns.join(", "), self.name, self.key());
        let after =
            if has_key { format!(" WHERE ({key}) > ({})", numbered(1, self.keys, parameter)) } else { String::new() };
        format!("SELECT {columns} FROM {name}{after} ORDER BY {key} LIMIT {ROWS_AT_ONCE}")
    }

    /// Selects the last key.
    pub(super) fn last(&self) -> String {
        let order = self.columns[..self.keys].join(" DESC, ");
        format!("SELECT {} FROM {} ORDER BY {order} DESC LIMIT 1", self.key(), self.name)
    }

    /// Inserts so many rows.
    pub(super) fn insert(&self, rows: usize, parameter: fn(usize) -> String) -> String {
        let width = self.columns.len();
        let values = |row| format!("({})", numbered(row * width + 1, width, parameter));
        let values = (0..rows).map(values).collect::<Vec<_>>().join(", ");
        format!("INSERT INTO {} ({}) VALUES {values}", self.name, self.columns.join(", "))
    }
}

fn numbered(first: usize, count: usize, parameter: fn(usize) -> String) -> String {
    (first..first + count).map(parameter).collect::<Vec<_>>().join(", ")
}

/// What a column holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cell {
    Null,
    Integer(i64),
    Text(String),
    Blob(Vec<u8>),
}

impl Cell {
    pub(super) fn value(&self) -> Value<'_> {
        match self {
            Self::Null => Value::Null,
            Self::Integer(number) => Value::Integer(*number),
            Self::Text(text) => Value::Text(text),
            Self::Blob(bytes) => Value::Blob(bytes),
        }
    }

    /// Bytes that it takes, roughly.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Null | Self::Integer(_) => 8,
            Self::Text(text) => text.len(),
            Self::Blob(bytes) => bytes.len(),
        }
    }

    fn add_to(&self, hash: &mut Sha256) {
        let (kind, bytes): (u8, &[u8]) = match self {
            Self::Null => (0, &[]),
            Self::Integer(number) => (1, &number.to_be_bytes()),
            Self::Text(text) => (2, text.as_bytes()),
            Self::Blob(bytes) => (3, bytes),
        };
        hash.update([kind]);
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    }
}

impl From<Value<'_>> for Cell {
    /// Without the NULs that SQLite's text may hold, and PostgreSQL's can't.
    fn from(value: Value<'_>) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Integer(number) => Self::Integer(number),
            Value::Text(text) => Self::Text(text.replace('\0', "")),
            Value::Blob(bytes) => Self::Blob(bytes.to_vec()),
        }
    }
}

/// A row, the key first.
pub(super) type Cells = Vec<Cell>;

/// What two tables are compared by.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Digest {
    pub(super) rows: u64,
    hash: [u8; 32],
}

/// Reads a whole table, some rows at a time, and tells how many it has read.
pub(super) fn digest(
    table: &Table,
    mut rows_after: impl FnMut(Option<Cells>) -> Result<Vec<Cells>, MoveError>,
    mut tell: impl FnMut(u64) -> Result<(), MoveError>,
) -> Result<Digest, MoveError> {
    let (mut hash, mut count, mut last) = (Sha256::new(), 0, None);
    loop {
        let rows = rows_after(last.take())?;
        let Some(final_row) = rows.last() else { return Ok(Digest { rows: count, hash: hash.finalize().into() }) };
        last = Some(final_row[..table.keys].to_vec());
        rows.iter().flatten().for_each(|cell| cell.add_to(&mut hash));
        count += rows.len() as u64;
        tell(count)?;
    }
}
