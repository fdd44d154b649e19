//! Copies of the database: made while the store runs, and checked before one takes its place.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use crate::sqlite::schema;

/// Pages copied between two calls of `progress`: 4 MiB, some 10 ms.
const PAGES_AT_ONCE: i32 = 1_024;

/// How far a copy has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Pages copied.
    pub copied: u64,
    /// Pages there are.
    pub pages: u64,
}

/// Why there is no copy, or why one is no good.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// Something is there already; it is left as it is.
    #[error("there is a file already: a backup overwrites nothing")]
    Exists,
    /// The database is not SQLite's.
    #[error("the database is PostgreSQL's: copy it with pg_dump or pg_basebackup")]
    Postgres,
    /// Not a database of ours, or a damaged one.
    #[error("the copy is damaged: {0}")]
    Damaged(String),
    /// Written by a newer version of this software.
    #[error("the copy has schema version {found}, this program knows up to {known}: install a newer version")]
    Newer {
        /// In the file.
        found: i64,
        /// By this program.
        known: i64,
    },
    /// SQLite refuses it.
    #[error("the database can't be read: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The file system refuses it.
    #[error("the copy can't be written: {0}")]
    Io(#[from] io::Error),
}

/// Copies a database that is in use, as it is in one moment, and returns once the copy is on the disk. Readers don't hold up
/// writers, so the store goes on; its write-ahead log grows by what is written meanwhile.
pub(crate) fn make(from: &Path, to: &Path, progress: &mut dyn FnMut(Progress)) -> Result<(), BackupError> {
    // The name is claimed first and filled last, so that whatever has it is either whole or empty.
    match OpenOptions::new().write(true).create_new(true).open(to) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(BackupError::Exists),
        Err(error) => return Err(error.into()),
    }
    let partial = partial(to);
    let made = copy(from, &partial, progress).and_then(|()| Ok(settle(&partial, to)?));
    if made.is_err() {
        // What can't be deleted is an empty file, or says by its name that it is not whole.
        _ = fs::remove_file(&partial);
        _ = fs::remove_file(to);
    }
    made
}

fn partial(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".partial");
    name.into()
}

fn copy(from: &Path, to: &Path, progress: &mut dyn FnMut(Progress)) -> Result<(), BackupError> {
    if fs::exists(to)? {
        return Err(BackupError::Exists);
    }
    let from = Connection::open_with_flags(from, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    // One read transaction around all steps: the copy is of one moment, and no write makes it begin again.
    from.execute_batch("BEGIN")?;
    from.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    let mut to = Connection::open(to)?;
    {
        let backup = Backup::new(&from, &mut to)?;
        loop {
            let step = backup.step(PAGES_AT_ONCE)?;
            let rusqlite::backup::Progress { remaining, pagecount } = backup.progress();
            let pages = u64::try_from(pagecount).unwrap_or(0);
            progress(Progress { copied: pages - u64::try_from(remaining).unwrap_or(0).min(pages), pages });
            match step {
                StepResult::Done => break,
                StepResult::More => {}
                // Nobody else knows of the copy, and readers of the original are not locked out.
                _ => return Err(BackupError::Damaged("another process holds the database".to_owned())),
            }
        }
    }
    // The copy is one file, not three.
    to.pragma_update(None, "journal_mode", "DELETE")?;
    Ok(())
}

/// Brings the copy to the disk, and then under its name.
fn settle(partial: &Path, to: &Path) -> io::Result<()> {
    File::open(partial)?.sync_all()?;
    fs::rename(partial, to)?;
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    File::open(folder)?.sync_all()
}

/// Checks that a copy is whole and of a version that this program knows, and gives its schema version.
///
/// # Errors
/// When it is not, or can't be read.
pub fn check(path: &Path) -> Result<u32, BackupError> {
    let copy = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    let version = match schema::version(&copy) {
        Ok(0) => return Err(BackupError::Damaged("it is empty".to_owned())),
        Ok(version) => version,
        Err(crate::OpenError::Newer { found, known }) => return Err(BackupError::Newer { found, known }),
        Err(error) => return Err(BackupError::Damaged(error.to_string())),
    };
    let found: String = copy.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if found != "ok" {
        return Err(BackupError::Damaged(found));
    }
    if copy.prepare("PRAGMA foreign_key_check")?.exists([])? {
        return Err(BackupError::Damaged("a row refers to one that is not there".to_owned()));
    }
    Ok(u32::try_from(version).unwrap_or(u32::MAX))
}
