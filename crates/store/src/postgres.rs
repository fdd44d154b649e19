//! PostgreSQL: a fixed set of threads with a connection each, a transaction for each verb.
//!
//! Each thread takes one verb at a time; the server commits those of different connections together. Verbs of one key go to one
//! thread, so they keep their order. Transactions are serializable: what others disturbed is done again. When the server is away
//! verbs fail at once, and the next ones after a pause try to reach it again.

pub(crate) mod address;
pub(crate) mod connection;
pub(crate) mod schema;
mod worker;

use std::error::Error;
use std::sync::Arc;

use bytes::BufMut;
use tokio_postgres::Row;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

pub(crate) use connection::Transaction;

use address::Address;
use connection::Connection;

use crate::sql::Value;
use crate::thread::Worker;
use crate::verb::{Job, Key};
use crate::{OpenError, QUEUE_MAX, StoreError};

/// Connections to PostgreSQL. With 32, two cores append 6,300 messages a second; a server takes 100 in all unless told otherwise.
pub const CONNECTIONS: usize = 32;

/// The engine of a store at a server.
#[derive(Debug)]
pub(crate) struct Postgres {
    workers: Box<[Worker]>,
}

impl Postgres {
    /// Reaches the server once, brings the schema up to date, and starts the threads. Each connects when it has something to do.
    pub(crate) fn connect(address: &str) -> Result<Self, OpenError> {
        let address = Address::parse(address)?;
        // On a thread of its own: the caller may be in the midst of another runtime.
        std::thread::scope(|scope| {
            let prepared = scope.spawn(|| {
                let mut connection = Connection::open(&address)?;
                schema::bring_up_to_date(&mut connection)?;
                schema::check_complete(&mut connection)
            });
            prepared.join().expect("bringing the schema up to date does not panic")
        })?;
        let server = Arc::new(worker::Server::new(address));
        let start = |index| {
            let server = server.clone();
            let serve = move |queue: &_| worker::run(server, queue);
            Worker::start(format!("store {index}"), QUEUE_MAX / CONNECTIONS, serve)
        };
        Ok(Self { workers: (0..CONNECTIONS).map(start).collect::<Result<_, _>>()? })
    }

    pub(crate) fn submit(&self, key: Key, job: Box<dyn Job>) {
        // Keys of names are not spread evenly by themselves.
        let spread = key.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        self.workers[spread as usize % self.workers.len()].submit(job);
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // All at once, and only then one after the other is waited for.
        self.workers.iter_mut().for_each(Worker::close);
    }
}

impl ToSql for Value<'_> {
    fn to_sql(&self, kind: &Type, out: &mut bytes::BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match (self, kind) {
            (Value::Null, _) => return Ok(IsNull::Yes),
            (Value::Integer(number), &Type::INT8) => out.put_i64(*number),
            (Value::Text(text), &Type::TEXT) => out.put_slice(text.as_bytes()),
            (Value::Blob(bytes), &Type::BYTEA) => out.put_slice(bytes),
            _ => return Err(format!("the statement wants {kind}").into()),
        }
        Ok(IsNull::No)
    }

    fn accepts(kind: &Type) -> bool {
        [Type::INT8, Type::TEXT, Type::BYTEA].contains(kind)
    }

    to_sql_checked!();
}

/// What a column holds.
pub(crate) fn value(row: &Row, column: usize) -> Result<Value<'_>, StoreError> {
    let value = match row.columns().get(column).map(tokio_postgres::Column::type_) {
        Some(&Type::INT8) => row.try_get::<_, Option<i64>>(column).map(|value| value.map(Value::Integer)),
        Some(&Type::BOOL) => {
            row.try_get::<_, Option<bool>>(column).map(|value| value.map(|yes| Value::Integer(yes.into())))
        }
        Some(&Type::TEXT) => row.try_get::<_, Option<&str>>(column).map(|value| value.map(Value::Text)),
        Some(&Type::BYTEA) => row.try_get::<_, Option<&[u8]>>(column).map(|value| value.map(Value::Blob)),
        kind => {
            tracing::error!(column, ?kind, "the statement answers what no column is");
            return Err(StoreError::Unavailable);
        }
    };
    value.map(|value| value.unwrap_or(Value::Null)).map_err(|error| {
        tracing::error!(column, %error, "the database holds what it can't");
        StoreError::Unavailable
    })
}
