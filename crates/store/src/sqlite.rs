//! SQLite: one connection on one thread, verbs in batches.

pub(crate) mod batch;
pub(crate) mod schema;

use std::path::{Path, PathBuf};

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Row};

use crate::sql::{self, Value};
use crate::thread::Worker;
use crate::verb::Job;
use crate::{OpenError, QUEUE_MAX, StoreError};

/// The engine of a store in one file.
#[derive(Debug)]
pub(crate) struct Sqlite {
    path: PathBuf,
    worker: Worker,
}

impl Sqlite {
    /// Opens or creates the file.
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        let connection = schema::open(path)?;
        // A copy that is not complete is worth nothing once somebody writes here.
        connection.execute("DELETE FROM migration WHERE finished = 0", [])?;
        if connection.prepare("SELECT 1 FROM migration")?.exists([])? {
            return Err(OpenError::Moved);
        }
        let worker = Worker::start("store".to_owned(), QUEUE_MAX, move |queue| batch::run(&connection, queue))?;
        Ok(Self { path: path.to_owned(), worker })
    }

    pub(crate) fn submit(&self, job: Box<dyn Job>) {
        self.worker.submit(job);
    }

    /// The database file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Carries out a statement, and says how many rows it touched.
pub(crate) fn execute(
    connection: &Connection,
    statement: &'static str,
    params: &[Value<'_>],
) -> Result<usize, StoreError> {
    let mut statement = connection.prepare_cached(statement)?;
    bind(&mut statement, params)?;
    Ok(statement.raw_execute()?)
}

/// Hands over the rows of an answer, as long as `take` says true.
pub(crate) fn query(
    connection: &Connection,
    statement: &'static str,
    params: &[Value<'_>],
    take: &mut dyn FnMut(&sql::Row<'_>) -> Result<bool, StoreError>,
) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached(statement)?;
    bind(&mut statement, params)?;
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next()? {
        if !take(&sql::Row::Sqlite(row))? {
            break;
        }
    }
    Ok(())
}

fn bind(statement: &mut rusqlite::Statement<'_>, params: &[Value<'_>]) -> Result<(), StoreError> {
    for (index, value) in params.iter().enumerate() {
        statement.raw_bind_parameter(index + 1, value)?;
    }
    Ok(())
}

impl rusqlite::ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Value::Null => ValueRef::Null,
            Value::Integer(number) => ValueRef::Integer(*number),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

/// What a column holds.
pub(crate) fn value<'a>(row: &'a Row<'_>, column: usize) -> Result<Value<'a>, StoreError> {
    Ok(match row.get_ref(column)? {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        ValueRef::Text(text) => Value::Text(std::str::from_utf8(text).map_err(|_| StoreError::Unavailable)?),
        ValueRef::Blob(bytes) => Value::Blob(bytes),
        ValueRef::Real(_) => return Err(StoreError::Unavailable),
    })
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            _ if matches!(error, rusqlite::Error::QueryReturnedNoRows) => Self::NotFound,
            Some(rusqlite::ErrorCode::DiskFull) => Self::Full,
            // A session may outlive its device or account by a moment.
            _ if refers_to_nothing(&error) => Self::NotFound,
            _ => {
                tracing::error!(%error, "the database failed");
                Self::Unavailable
            }
        }
    }
}

fn refers_to_nothing(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| error.extended_code == rusqlite::ffi::SQLITE_CONSTRAINT_FOREIGNKEY)
}
