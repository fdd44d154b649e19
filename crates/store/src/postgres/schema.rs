//! The schema at the server and how a database gets there: one script a version, run in one transaction each.

use tokio_postgres::Client;

use super::connection::{ConnectError, Connection, describe};
use crate::OpenError;

/// `MIGRATIONS[n]` leads from schema version n to n + 1. Never changed once released, only added to. The versions are not those
/// of SQLite's schema.
const MIGRATIONS: &[&str] = &[include_str!("../../migrations/postgres/0001.sql")];

/// The one row that says the version. Who changes the schema locks it, so that of two daemons that start together one waits.
const MAKE_ROW: &str = "CREATE TABLE IF NOT EXISTS ahoy_schema (id BIGINT PRIMARY KEY, version BIGINT NOT NULL);
    INSERT INTO ahoy_schema (id, version) VALUES (1, 0) ON CONFLICT (id) DO NOTHING";
const LOCK_ROW: &str = "SELECT version FROM ahoy_schema WHERE id = 1 FOR UPDATE";
const SET_VERSION: &str = "UPDATE ahoy_schema SET version = $1 WHERE id = 1";

impl From<ConnectError> for OpenError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Runtime(error) => Self::Thread(error),
            ConnectError::Server(error) if error.code().is_some() => Self::Postgres(describe(&error)),
            ConnectError::Server(error) => Self::Unreachable(describe(&error)),
            ConnectError::Late => Self::Unreachable("it does not answer in time".to_owned()),
        }
    }
}

impl From<tokio_postgres::Error> for OpenError {
    fn from(error: tokio_postgres::Error) -> Self {
        if error.code().is_some() { Self::Postgres(describe(&error)) } else { Self::Unreachable(describe(&error)) }
    }
}

/// Checks that the database is a fit one, and runs what scripts it lacks.
pub(crate) fn bring_up_to_date(connection: &mut Connection) -> Result<(), OpenError> {
    let (runtime, client) = connection.parts();
    runtime.block_on(async {
        let encoding: String = client.query_one("SHOW server_encoding", &[]).await?.try_get(0)?;
        if encoding != "UTF8" {
            return Err(OpenError::Encoding(encoding));
        }
        // Two who make the table at the same moment: one of them is told that it exists.
        if client.batch_execute(MAKE_ROW).await.is_err() {
            client.batch_execute(MAKE_ROW).await?;
        }
        while step(client).await? {}
        Ok(())
    })
}

/// Refuses a database that a migration has not filled yet.
pub(super) fn check_complete(connection: &mut Connection) -> Result<(), OpenError> {
    let (runtime, client) = connection.parts();
    let unfinished = runtime.block_on(client.query_opt("SELECT id FROM ahoy_migration", &[]))?;
    if unfinished.is_some() { Err(OpenError::Unfinished) } else { Ok(()) }
}

/// Runs the next script, if there is one.
async fn step(client: &mut Client) -> Result<bool, OpenError> {
    let transaction = client.transaction().await?;
    // Somebody else's script, or ours, may take its time.
    transaction.batch_execute("SET LOCAL statement_timeout = 0").await?;
    let found: i64 = transaction.query_one(LOCK_ROW, &[]).await?.try_get(0)?;
    let known = MIGRATIONS.len() as i64;
    let version = usize::try_from(found).ok().filter(|version| *version <= MIGRATIONS.len());
    let version = version.ok_or(OpenError::Newer { found, known })?;
    let Some(script) = MIGRATIONS.get(version) else { return Ok(false) };
    transaction.batch_execute(script).await?;
    transaction.execute(SET_VERSION, &[&(found + 1)]).await?;
    transaction.commit().await?;
    tracing::info!(version = found + 1, "database schema brought up to date");
    Ok(true)
}
