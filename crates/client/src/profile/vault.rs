//! `state.db`: SQLite in which every content is sealed and every name is a pseudonym.
//!
//! Anything committed is on the disk (`synchronous = FULL`), whole transactions or nothing; what was removed is overwritten.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction};
use zeroize::Zeroizing;

use super::ProfileError;
use super::seal::{Place, ProfileKey, Seal, Table};

/// `user_version` of the layout below; 0 is a file that was just made, or the plain layout of the first versions.
const LAYOUT: i64 = 1;

/// In `own`: a row that opens with the profile's key alone.
const CHECK: &str = "check";

const PRAGMAS: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA secure_delete = ON;";

/// `sequence`, `born`, `local` and `counts` are plain because rows are sought by them; all are bound to the sealed content.
const TABLES: &str = "
    CREATE TABLE own (name BLOB PRIMARY KEY, sealed BLOB NOT NULL) WITHOUT ROWID, STRICT;
    CREATE TABLE pairs (name BLOB PRIMARY KEY, sealed BLOB NOT NULL) WITHOUT ROWID, STRICT;
    CREATE TABLE lines (
        conversation BLOB NOT NULL,
        reference BLOB NOT NULL,
        sequence INTEGER NOT NULL,
        born INTEGER NOT NULL,
        local INTEGER NOT NULL UNIQUE,
        counts INTEGER NOT NULL,
        sealed BLOB NOT NULL,
        PRIMARY KEY (conversation, reference)
    ) STRICT;
    CREATE UNIQUE INDEX lines_in_order ON lines (conversation, sequence, born);
    CREATE INDEX lines_unread ON lines (conversation, sequence) WHERE counts = 1;
    PRAGMA user_version = 1;";

/// Leaves an empty file.
pub(super) const EMPTY: &str = "
    BEGIN;
    DROP TABLE own;
    DROP TABLE pairs;
    DROP TABLE lines;
    PRAGMA user_version = 0;
    COMMIT;";

/// What can go wrong with a row.
#[derive(Debug)]
pub(super) enum RowError {
    /// SQLite says so.
    Sql(rusqlite::Error),
    /// It does not open, or does not hold what it should.
    Sealed,
}

impl From<rusqlite::Error> for RowError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

/// The open file and what opens its rows.
#[derive(Debug)]
pub(super) struct Vault {
    pub(super) connection: Connection,
    pub(super) seal: Seal,
    path: PathBuf,
}

/// Which layout a file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// Nothing in it.
    Empty,
    /// A table of plain keys and values, as the first versions wrote it.
    Plain,
    /// As described above.
    Sealed,
}

/// Opens the file, which must exist, and says what is in it.
pub(super) fn look(path: &Path) -> Result<(Connection, Layout), ProfileError> {
    let look = || {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.execute_batch(PRAGMAS)?;
        let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        let plain = connection.table_exists(None, "state")?;
        Ok((connection, version, plain))
    };
    let (connection, version, plain) = look().map_err(|error| failed(path, RowError::Sql(error)))?;
    match (version, plain) {
        (0, true) => Ok((connection, Layout::Plain)),
        (0, false) => Ok((connection, Layout::Empty)),
        (LAYOUT, _) => Ok((connection, Layout::Sealed)),
        _ => Err(ProfileError::Damaged { path: path.to_owned(), cause: "a newer ahoy has written it".to_owned() }),
    }
}

impl Vault {
    /// Takes a sealed file whose key this is.
    pub(super) fn open(path: &Path, connection: Connection, key: &ProfileKey) -> Result<Self, ProfileError> {
        let vault = Self { connection, seal: Seal::new(key), path: path.to_owned() };
        match vault.own(CHECK) {
            Ok(Some(_)) => Ok(vault),
            Ok(None) => Err(vault.failed(RowError::Sealed)),
            Err(error) => Err(vault.failed(error)),
        }
    }

    /// An empty one that no file holds.
    pub(super) fn in_memory() -> Result<Self, ProfileError> {
        let path = Path::new("(memory)");
        let connection = Connection::open_in_memory().map_err(|error| failed(path, error.into()))?;
        Self::make(path, connection, &ProfileKey::random(), |_, _| Ok(()))
    }

    /// Makes the tables in an empty or plain file, together with whatever `fill` writes.
    pub(super) fn make(
        path: &Path,
        connection: Connection,
        key: &ProfileKey,
        fill: impl FnOnce(&Transaction<'_>, &Seal) -> Result<(), RowError>,
    ) -> Result<Self, ProfileError> {
        let mut vault = Self { connection, seal: Seal::new(key), path: path.to_owned() };
        vault
            .write(|transaction, seal| {
                transaction.execute_batch(TABLES)?;
                put_own(transaction, seal, CHECK, &[])?;
                fill(transaction, seal)
            })
            .map_err(|error| failed(path, error))?;
        Ok(vault)
    }

    /// One transaction: all of it, or nothing if anything fails.
    pub(super) fn write<T>(
        &mut self,
        act: impl FnOnce(&Transaction<'_>, &Seal) -> Result<T, RowError>,
    ) -> Result<T, RowError> {
        let transaction = self.connection.transaction()?;
        let result = act(&transaction, &self.seal)?;
        transaction.commit()?;
        Ok(result)
    }

    /// One of the profile's own things.
    pub(super) fn own(&self, key: &str) -> Result<Option<Zeroizing<Vec<u8>>>, RowError> {
        own(&self.connection, &self.seal, key)
    }

    /// Empties the log file too, so that what was erased is not left in it.
    pub(super) fn wipe_log(&self) -> Result<(), RowError> {
        // Somebody who reads at this moment keeps the log: the next erasure empties it.
        Ok(self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
    }

    pub(super) fn failed(&self, error: RowError) -> ProfileError {
        failed(&self.path, error)
    }
}

/// One of the profile's own things.
pub(super) fn own(connection: &Connection, seal: &Seal, key: &str) -> Result<Option<Zeroizing<Vec<u8>>>, RowError> {
    let name = seal.name(Table::Own, key.as_bytes());
    let mut statement = connection.prepare_cached("SELECT sealed FROM own WHERE name = ?1")?;
    let sealed: Option<Vec<u8>> = statement.query_row((name,), |row| row.get(0)).optional()?;
    let Some(sealed) = sealed else { return Ok(None) };
    seal.open(&Place::new(Table::Own, &name), &sealed).map(Some).ok_or(RowError::Sealed)
}

/// Keeps one of the profile's own things.
pub(super) fn put_own(connection: &Connection, seal: &Seal, key: &str, content: &[u8]) -> Result<(), RowError> {
    let name = seal.name(Table::Own, key.as_bytes());
    let sealed = seal.seal(&Place::new(Table::Own, &name), content);
    connection.prepare_cached("INSERT OR REPLACE INTO own (name, sealed) VALUES (?1, ?2)")?.execute((name, sealed))?;
    Ok(())
}

pub(super) fn failed(path: &Path, error: RowError) -> ProfileError {
    match error {
        RowError::Sql(error) => ProfileError::State { path: path.to_owned(), error },
        RowError::Sealed => ProfileError::NotOpened { path: path.to_owned() },
    }
}
