//! The file that is moved.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, params_from_iter};

use super::MoveError;
use super::tables::{BYTES_AT_ONCE, Cell, Cells, Table};
use crate::sqlite::{self, schema};

/// Nobody is here but a daemon that should not run.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);

const MIGRATION: &str = "SELECT migration FROM migration";
const BEGIN_MIGRATION: &str = "INSERT INTO migration (id, migration, finished) VALUES (1, ?1, 0)";
const IS_FINISHED: &str = "SELECT finished FROM migration";
const FINISH: &str = "UPDATE migration SET finished = 1";
const LAST_WELCOME: &str = "SELECT seq FROM sqlite_sequence WHERE name = 'welcomes'";

#[derive(Debug)]
pub(super) struct Source(Connection);

impl Source {
    pub(super) fn open(path: &Path) -> Result<Self, MoveError> {
        if !path.is_file() {
            return Err(rusqlite::Error::InvalidPath(path.to_owned()).into());
        }
        let connection = schema::open(path).map_err(MoveError::Source)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        // Only the last one who has the file open can end its write-ahead log.
        let mode = connection.query_row("PRAGMA journal_mode = DELETE", [], |row| row.get::<_, String>(0));
        if mode.map_err(in_use)? == "delete" { Ok(Self(connection)) } else { Err(MoveError::InUse) }
    }

    /// What the migration is known by at both ends.
    pub(super) fn migration(&self) -> Result<[u8; 16], MoveError> {
        if let Some(known) = self.0.query_row(MIGRATION, [], |row| row.get(0)).optional()? {
            return Ok(known);
        }
        let fresh: [u8; 16] = rand::random();
        self.0.execute(BEGIN_MIGRATION, [fresh]).map_err(in_use)?;
        Ok(fresh)
    }

    /// Lets nobody in until this is dropped, and says whether the move was complete before.
    pub(super) fn lock(&self) -> Result<bool, MoveError> {
        self.0.execute_batch("BEGIN EXCLUSIVE").map_err(in_use)?;
        Ok(self.0.query_row(IS_FINISHED, [], |row| row.get(0))?)
    }

    pub(super) fn count(&self, table: &Table) -> Result<u64, MoveError> {
        Ok(self.0.query_row(&format!("SELECT count(*) FROM {}", table.name), [], |row| row.get(0))?)
    }

    /// The next rows after a key.
    pub(super) fn rows_after(&self, table: &Table, key: Option<Cells>) -> Result<Vec<Cells>, MoveError> {
        let mut statement = self.0.prepare_cached(&table.select(key.is_some(), |number| format!("?{number}")))?;
        let key = key.unwrap_or_default();
        let mut found = statement.query(params_from_iter(key.iter().map(Cell::value)))?;
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while let Some(row) = found.next()? {
            let cell = |column| sqlite::value(row, column).map(Cell::from);
            let cells = (0..table.columns.len()).map(cell).collect::<Result<Cells, _>>();
            let cells = cells.map_err(|_| rusqlite::Error::InvalidQuery)?;
            bytes += cells.iter().map(Cell::len).sum::<usize>();
            rows.push(cells);
            if bytes >= BYTES_AT_ONCE {
                break;
            }
        }
        Ok(rows)
    }

    /// The last number that any Welcome had.
    pub(super) fn last_welcome(&self) -> Result<i64, MoveError> {
        Ok(self.0.query_row(LAST_WELCOME, [], |row| row.get(0)).optional()?.unwrap_or(0))
    }

    /// From here on this file is no store.
    pub(super) fn finish(&self) -> Result<(), MoveError> {
        self.0.execute(FINISH, [])?;
        Ok(self.0.execute_batch("COMMIT")?)
    }
}

fn in_use(error: rusqlite::Error) -> MoveError {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DatabaseBusy) => MoveError::InUse,
        _ => error.into(),
    }
}
