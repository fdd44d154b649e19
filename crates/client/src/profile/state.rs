//! What a member keeps: keys and values in SQLite, written one batch a transaction.

use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::ProfileError;
use crate::member::Batch;

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// The member's store. A batch that [`commit`](Self::commit) has acknowledged is on the disk.
#[derive(Debug)]
pub struct State {
    connection: Connection,
    path: PathBuf,
}

impl State {
    pub(super) fn open(path: &Path) -> Result<Self, ProfileError> {
        let failed = |error| ProfileError::State { path: path.to_owned(), error };
        let connection = Connection::open(path).map_err(failed)?;
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL;
                 PRAGMA synchronous = FULL;
                 PRAGMA secure_delete = ON;
                 CREATE TABLE IF NOT EXISTS state (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID, STRICT;",
            )
            .map_err(failed)?;
        Ok(Self { connection, path: path.to_owned() })
    }

    /// Everything kept, in the order of the keys.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn load(&self) -> Result<Vec<Pair>, ProfileError> {
        let read = || {
            let mut statement = self.connection.prepare("SELECT key, value FROM state ORDER BY key")?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect::<Result<_, _>>()
        };
        read().map_err(|error| self.failed(error))
    }

    /// Makes all writes of a batch durable, or none.
    ///
    /// # Errors
    /// When the disk does not take them.
    pub fn commit(&mut self, batch: &Batch) -> Result<(), ProfileError> {
        self.write(batch).map_err(|error| self.failed(error))
    }

    fn write(&mut self, batch: &Batch) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        {
            let mut put = transaction.prepare_cached("INSERT OR REPLACE INTO state (key, value) VALUES (?1, ?2)")?;
            let mut remove = transaction.prepare_cached("DELETE FROM state WHERE key = ?1")?;
            for (key, value) in batch {
                match value {
                    Some(value) => put.execute((key, value))?,
                    None => remove.execute((key,))?,
                };
            }
        }
        transaction.commit()
    }

    fn failed(&self, error: rusqlite::Error) -> ProfileError {
        ProfileError::State { path: self.path.clone(), error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_kept_and_the_last_write_of_a_key_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        {
            let mut state = State::open(&path).unwrap();
            state.commit(&vec![(b"a".to_vec(), Some(b"1".to_vec())), (b"b".to_vec(), Some(b"2".to_vec()))]).unwrap();
            state.commit(&vec![(b"a".to_vec(), None), (b"b".to_vec(), Some(b"3".to_vec()))]).unwrap();
        }
        assert_eq!(State::open(&path).unwrap().load().unwrap(), [(b"b".to_vec(), b"3".to_vec())]);
    }
}
