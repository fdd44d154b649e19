//! Moves a store from SQLite to PostgreSQL: copied, compared, and only then the one in the place of the other.
//!
//! Every table is copied in the order of its key, some rows at a time, each time in a transaction; so what is at the other end
//! already says where to go on after an interruption. While the copy is not complete the other end is no store yet, and a store
//! that is opened on the file in between makes the copy worthless, which the next attempt finds. When all rows have been compared
//! the file is marked as moved, and is no store from there on.

mod source;
mod tables;
mod target;

use std::ops::ControlFlow;
use std::path::Path;

use crate::OpenError;
use source::Source;
use tables::TABLES;
use target::Target;

/// How far a migration has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MoveProgress {
    /// What is being done.
    pub step: MoveStep,
    /// With which table.
    pub table: &'static str,
    /// Rows of it that are done.
    pub done: u64,
    /// Rows of it.
    pub rows: u64,
}

/// What a migration does with a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MoveStep {
    /// Copying it.
    Copy,
    /// Reading the copy to compare it.
    Compare,
}

/// Why a store was not moved. What was copied stays, and the next attempt goes on from there, unless it says something else.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MoveError {
    /// The file is no store of ours, or has been moved.
    #[error("the database to move can't be opened: {0}")]
    Source(OpenError),
    /// The other end is no fit database.
    #[error("the database to move to can't be opened: {0}")]
    Target(OpenError),
    /// A store is open there.
    #[error("the database to move is in use: stop the daemon first")]
    InUse,
    /// The other end has data that is not this file's.
    #[error(
        "the database to move to holds data of another store, or of this one before it was used again: move to an empty one"
    )]
    Occupied,
    /// The copy is not what was copied.
    #[error(
        "the copy of {table} differs: {copied} rows of {rows} are there, or some hold something else; move to an empty database"
    )]
    Differs {
        /// Which table.
        table: &'static str,
        /// Rows at the other end.
        copied: u64,
        /// Rows in the file.
        rows: u64,
    },
    /// By whoever was told of the progress.
    #[error("interrupted")]
    Interrupted,
    /// SQLite failed.
    #[error("the database to move can't be read: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// PostgreSQL failed.
    #[error("PostgreSQL failed: {0}")]
    Postgres(String),
}

/// All columns that are moved.
#[cfg(test)]
pub(crate) fn columns() -> impl Iterator<Item = String> {
    TABLES.iter().flat_map(|table| table.columns.iter().map(|column| format!("{}.{column}", table.name)))
}

/// Moves the store in a file to an empty PostgreSQL database (as [`Store::connect`](crate::Store::connect) takes it), or goes on
/// with it, and gives how many rows there are. No daemon runs on either meanwhile. Whoever breaks `progress` off can call
/// again. Not to be called from within an asynchronous runtime: it blocks.
///
/// # Errors
/// See [`MoveError`].
pub fn migrate(
    from: &Path,
    to: &str,
    progress: &mut dyn FnMut(MoveProgress) -> ControlFlow<()>,
) -> Result<u64, MoveError> {
    let source = Source::open(from)?;
    let mut target = Target::open(to)?;
    let migration = source.migration()?;
    let is_moved = source.lock()?;
    target.claim(&migration, is_moved)?;
    let mut all = 0;
    for table in TABLES {
        let rows = source.count(table)?;
        all += rows;
        let mut tell = |step, done| match progress(MoveProgress { step, table: table.name, done, rows }) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(MoveError::Interrupted),
        };
        if !is_moved {
            let mut done = target.count(table)?;
            tell(MoveStep::Copy, done)?;
            loop {
                let page = source.rows_after(table, target.last_key(table)?)?;
                if page.is_empty() {
                    break;
                }
                target.insert(table, &page)?;
                done += page.len() as u64;
                tell(MoveStep::Copy, done)?;
            }
        }
        let original = tables::digest(table, |after| source.rows_after(table, after), |_| Ok(()))?;
        let copy =
            tables::digest(table, |after| target.rows_after(table, after), |done| tell(MoveStep::Compare, done))?;
        if original != copy {
            return Err(MoveError::Differs { table: table.name, copied: copy.rows, rows });
        }
    }
    target.settle(source.last_welcome()?)?;
    // In this order: at no time are both a store.
    source.finish()?;
    target.finish()?;
    Ok(all)
}
