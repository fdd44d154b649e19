//! The schema and how a database gets there: one script a version, run in one transaction each.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use crate::OpenError;

/// `MIGRATIONS[n]` leads from schema version n to n + 1. Never changed once released, only added to.
const MIGRATIONS: &[&str] = &[
    include_str!("../../migrations/sqlite/0001.sql"),
    include_str!("../../migrations/sqlite/0002.sql"),
    include_str!("../../migrations/sqlite/0003.sql"),
    include_str!("../../migrations/sqlite/0004.sql"),
    include_str!("../../migrations/sqlite/0005.sql"),
    include_str!("../../migrations/sqlite/0006.sql"),
];

/// How long another process (a backup) may hold the database before a batch fails.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Prepared statements kept: all of ours, twice over.
const STATEMENT_CACHE: usize = 256;

pub(crate) fn open(path: &Path) -> Result<Connection, OpenError> {
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // Checked first, so that a file of a newer version is left as it is.
    version(&connection)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
    migrate(&mut connection)?;
    Ok(connection)
}

fn migrate(connection: &mut Connection) -> Result<(), OpenError> {
    loop {
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let version = version(&transaction)?;
        let Some(script) = MIGRATIONS.get(version) else { return Ok(()) };
        transaction.execute_batch(script)?;
        transaction.pragma_update(None, "user_version", version + 1)?;
        transaction.commit()?;
        tracing::info!(version = version + 1, "database schema brought up to date");
    }
}

/// The schema version, at most the newest that we know.
pub(crate) fn version(connection: &Connection) -> Result<usize, OpenError> {
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let newer = OpenError::Newer { found, known: MIGRATIONS.len() as i64 };
    usize::try_from(found).ok().filter(|version| *version <= MIGRATIONS.len()).ok_or(newer)
}
