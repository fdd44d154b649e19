//! The database that is moved to.

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::MoveError;
use super::tables::{Cell, Cells, TABLES, Table};
use crate::OpenError;
use crate::postgres::address::Address;
use crate::postgres::connection::{Connection, describe};
use crate::postgres::{schema, value};
use crate::sql::Value;

/// Nobody waits for us.
const SESSION: &str = "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0";

const MIGRATION: &str = "SELECT migration FROM ahoy_migration";
const BEGIN_MIGRATION: &str = "INSERT INTO ahoy_migration (id, migration) VALUES (1, $1)";
const FINISH: &str = "DELETE FROM ahoy_migration";

/// What the schema begins with: the source has its own.
const CLEAR: &str = "DELETE FROM serials WHERE list <= 4";

pub(super) struct Target(Connection);

impl From<tokio_postgres::Error> for MoveError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(describe(&error))
    }
}

impl Target {
    pub(super) fn open(address: &str) -> Result<Self, MoveError> {
        let address = Address::parse(address).map_err(MoveError::Target)?;
        let mut connection = Connection::open(&address).map_err(|error| MoveError::Target(error.into()))?;
        schema::bring_up_to_date(&mut connection).map_err(MoveError::Target)?;
        let (runtime, client) = connection.parts();
        runtime.block_on(client.batch_execute(SESSION))?;
        Ok(Self(connection))
    }

    /// Takes the database for this migration. What is there already is this migration's, or there is nothing.
    pub(super) fn claim(&mut self, migration: &[u8; 16], is_moved: bool) -> Result<(), MoveError> {
        let (runtime, client) = self.0.parts();
        let claimed = runtime.block_on(client.query_opt(MIGRATION, &[]))?;
        let claimed: Option<Vec<u8>> = claimed.map(|row| row.try_get(0)).transpose()?;
        match claimed {
            Some(claimed) if claimed == migration => return Ok(()),
            Some(_) => return Err(MoveError::Occupied),
            None if is_moved => return Err(MoveError::Source(OpenError::Moved)),
            None => {}
        }
        for table in TABLES.iter().filter(|table| table.name != "serials") {
            if self.count(table)? > 0 {
                return Err(MoveError::Occupied);
            }
        }
        let (runtime, client) = self.0.parts();
        runtime.block_on(async {
            let transaction = client.transaction().await?;
            transaction.batch_execute(CLEAR).await?;
            transaction.execute(BEGIN_MIGRATION, &[&&migration[..]]).await?;
            transaction.commit().await
        })?;
        Ok(())
    }

    pub(super) fn count(&mut self, table: &Table) -> Result<u64, MoveError> {
        let (runtime, client) = self.0.parts();
        let row = runtime.block_on(client.query_one(&format!("SELECT count(*) FROM {}", table.name), &[]))?;
        Ok(u64::try_from(row.try_get::<_, i64>(0)?).unwrap_or(0))
    }

    /// The key of the last row.
    pub(super) fn last_key(&mut self, table: &Table) -> Result<Option<Cells>, MoveError> {
        let (runtime, client) = self.0.parts();
        let row = runtime.block_on(client.query_opt(&table.last(), &[]))?;
        row.map(|row| cells(&row, table.keys)).transpose()
    }

    /// The next rows after a key.
    pub(super) fn rows_after(&mut self, table: &Table, key: Option<Cells>) -> Result<Vec<Cells>, MoveError> {
        let key = key.unwrap_or_default();
        let values: Vec<Value<'_>> = key.iter().map(Cell::value).collect();
        let params: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as _).collect();
        let (runtime, client) = self.0.parts();
        let rows = runtime.block_on(client.query(&table.select(!key.is_empty(), parameter), &params))?;
        rows.iter().map(|row| cells(row, table.columns.len())).collect()
    }

    pub(super) fn insert(&mut self, table: &Table, rows: &[Cells]) -> Result<(), MoveError> {
        let values: Vec<Value<'_>> = rows.iter().flatten().map(Cell::value).collect();
        let params: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as _).collect();
        let (runtime, client) = self.0.parts();
        runtime.block_on(client.execute(&table.insert(rows.len(), parameter), &params))?;
        Ok(())
    }

    /// Lets what the database numbers itself go on after what is there, and was there.
    pub(super) fn settle(&mut self, last_welcome: i64) -> Result<(), MoveError> {
        let (runtime, client) = self.0.parts();
        runtime.block_on(async {
            for (table, column, last) in
                [("log", "arrival", 0), ("key_packages", "arrival", 0), ("welcomes", "welcome", last_welcome)]
            {
                let max = format!("SELECT coalesce(max({column}), 0) FROM {table}");
                let next = client.query_one(&max, &[]).await?.try_get::<_, i64>(0)?.max(last) + 1;
                client.batch_execute(&format!("ALTER TABLE {table} ALTER COLUMN {column} RESTART WITH {next}")).await?;
            }
            client.batch_execute("ANALYZE").await
        })?;
        Ok(())
    }

    /// From here on this is a store.
    pub(super) fn finish(&mut self) -> Result<(), MoveError> {
        let (runtime, client) = self.0.parts();
        runtime.block_on(client.execute(FINISH, &[]))?;
        Ok(())
    }
}

fn parameter(number: usize) -> String {
    format!("${number}")
}

fn cells(row: &Row, count: usize) -> Result<Cells, MoveError> {
    let cell = |column| value(row, column).map(Cell::from);
    (0..count).map(cell).collect::<Result<_, _>>().map_err(|error| MoveError::Postgres(error.to_string()))
}
