//! A connection, and one transaction at a time on it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::error::Error;
use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::runtime::{self, Runtime};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, IsolationLevel, NoTls, Socket, Statement};

use super::address::Address;
use crate::StoreError;
use crate::sql::{self, Extent, Value};
use crate::verb::TIME_MAX;

/// How long a server may take to let us in. A healthy one takes some milliseconds.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(2);

/// Rows asked for at a time where not all may be wanted: at 64 KiB a message, 2 MiB.
const PORTION: i32 = 32;

/// No statement takes longer than [`TIME_MAX`], in milliseconds, so that a verb which we have given up holds no locks for long.
const SESSION: &str = "SET statement_timeout = 5000; SET idle_in_transaction_session_timeout = 5000";

/// For those that may take longer.
const NO_LIMIT: &str = "SET LOCAL statement_timeout = 0";

/// While tables are small the planner would read them whole, and a serializable transaction that has read a whole table is in
/// the way of everybody who writes to it. Servers that don't know the setting go without.
const ALWAYS_BY_INDEX: &str = "SET enable_seqscan = off";

/// A connection with a runtime of its own: when it is dropped, so is the socket.
pub(crate) struct Connection {
    runtime: Runtime,
    client: Client,
    statements: RefCell<HashMap<&'static str, Statement>>,
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum ConnectError {
    /// No runtime: we have no file descriptor left, perhaps.
    Runtime(io::Error),
    /// Nobody let us in, or nobody was there.
    Server(tokio_postgres::Error),
    /// [`CONNECT_TIME_MAX`] is over.
    Late,
}

/// Why a transaction came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The verb says so, or the server does for good.
    Verb(StoreError),
    /// Others were in its way.
    Contended,
    /// It broke a constraint: what it was based on has just changed, or the verb is to blame.
    Constraint(StoreError),
    /// It never began: the connection was lost while nobody looked.
    NotBegun,
    /// The connection is lost or of no more use, and it is not known what became of a commit.
    Lost,
}

impl Connection {
    pub(crate) fn open(address: &Address) -> Result<Self, ConnectError> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(ConnectError::Runtime)?;
        let open = async {
            let client = match &address.tls {
                Some(tls) => connect(&address.config, tls.clone()).await?,
                None => connect(&address.config, NoTls).await?,
            };
            client.batch_execute(SESSION).await?;
            _ = client.batch_execute(ALWAYS_BY_INDEX).await;
            Ok::<_, tokio_postgres::Error>(client)
        };
        let opened = runtime.block_on(async { timeout(CONNECT_TIME_MAX, open).await });
        let failure = match opened {
            Ok(Ok(client)) => return Ok(Self { runtime, client, statements: RefCell::default() }),
            Ok(Err(error)) => ConnectError::Server(error),
            Err(_) => ConnectError::Late,
        };
        // It may still be looking up a name, which nothing can end.
        runtime.shutdown_background();
        Err(failure)
    }

    /// For what is no verb: the client, and a runtime to wait in.
    pub(crate) fn parts(&mut self) -> (&Runtime, &mut Client) {
        (&self.runtime, &mut self.client)
    }

    /// Runs `work` in a transaction of its own, and commits what it did unless it fails.
    pub(crate) fn transact(
        &mut self,
        deadline: Instant,
        work: impl FnOnce(&sql::Transaction<'_>) -> Result<(), StoreError>,
    ) -> Result<(), Failure> {
        let Self { runtime, client, statements } = self;
        let start = client.build_transaction().isolation_level(IsolationLevel::Serializable).start();
        let begun = runtime.block_on(async { timeout_at(deadline, start).await });
        let inner = match begun {
            Ok(Ok(inner)) => inner,
            Ok(Err(error)) => {
                tracing::info!(error = describe(&error), "a connection to PostgreSQL was lost");
                return Err(Failure::NotBegun);
            }
            Err(_) => return Err(Failure::Lost),
        };
        if deadline.saturating_duration_since(Instant::now()) > TIME_MAX {
            in_time(runtime, deadline, inner.batch_execute(NO_LIMIT))?;
        }
        let transaction = Transaction { runtime, inner, statements, deadline, failure: Cell::new(None) };
        let result = work(&sql::Transaction(sql::Engine::Postgres(&transaction)));
        let Transaction { inner, failure, .. } = transaction;
        let failure = failure.get().or_else(|| result.err().map(Failure::Verb));
        let Some(failure) = failure else {
            return in_time(runtime, deadline, inner.commit());
        };
        // A lost connection takes the transaction with it.
        if failure != Failure::Lost {
            in_time(runtime, deadline, inner.rollback())?;
        }
        Err(failure)
    }
}

/// Connects. A task of the runtime that this is called in moves the bytes.
async fn connect<T>(config: &Config, tls: T) -> Result<Client, tokio_postgres::Error>
where
    T: MakeTlsConnect<Socket, Stream: Send + 'static>,
{
    let (client, connection) = config.connect(tls).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = describe(&error), "a connection to PostgreSQL ended");
        }
    });
    Ok(client)
}

/// Waits for the server, but not for ever.
fn in_time<T>(
    runtime: &Runtime,
    deadline: Instant,
    answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, Failure> {
    match runtime.block_on(async { timeout_at(deadline, answer).await }) {
        Ok(answer) => answer.map_err(|error| judge(&error)),
        Err(_) => {
            tracing::error!("PostgreSQL does not answer in time");
            Err(Failure::Lost)
        }
    }
}

/// A transaction that a verb works on.
pub(crate) struct Transaction<'a> {
    runtime: &'a Runtime,
    inner: tokio_postgres::Transaction<'a>,
    statements: &'a RefCell<HashMap<&'static str, Statement>>,
    deadline: Instant,
    /// The first that went wrong: nothing after it counts, whatever the verb makes of it.
    failure: Cell<Option<Failure>>,
}

impl Transaction<'_> {
    pub(crate) fn execute(&self, statement: &'static str, params: &[Value<'_>]) -> Result<usize, StoreError> {
        let statement = self.prepared(statement)?;
        let touched = self.wait(self.inner.execute_raw(&statement, params.iter().copied()))?;
        Ok(usize::try_from(touched).unwrap_or(usize::MAX))
    }

    pub(crate) fn query(
        &self,
        statement: &'static str,
        params: &[Value<'_>],
        extent: Extent,
        take: &mut dyn FnMut(&sql::Row<'_>) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        let statement = self.prepared(statement)?;
        let params: Vec<&(dyn ToSql + Sync)> = params.iter().map(|value| value as _).collect();
        if extent == Extent::Bounded {
            for row in self.wait(self.inner.query(&statement, &params))? {
                if !take(&sql::Row::Postgres(&row))? {
                    break;
                }
            }
            return Ok(());
        }
        let portal = self.wait(self.inner.bind(&statement, &params))?;
        loop {
            let portion = self.wait(self.inner.query_portal(&portal, PORTION))?;
            for row in &portion {
                if !take(&sql::Row::Postgres(row))? {
                    return Ok(());
                }
            }
            if portion.len() < PORTION as usize {
                return Ok(());
            }
        }
    }

    /// The statement as the server knows it, from the second time on without asking.
    fn prepared(&self, statement: &'static str) -> Result<Statement, StoreError> {
        if let Some(known) = self.statements.borrow().get(statement) {
            return Ok(known.clone());
        }
        let prepared = self.wait(self.inner.prepare(&numbered(statement)))?;
        self.statements.borrow_mut().insert(statement, prepared.clone());
        Ok(prepared)
    }

    fn wait<T>(&self, answer: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, StoreError> {
        in_time(self.runtime, self.deadline, answer).map_err(|failure| {
            self.failure.set(self.failure.get().or(Some(failure)));
            match failure {
                Failure::Verb(error) | Failure::Constraint(error) => error,
                Failure::Contended | Failure::NotBegun | Failure::Lost => StoreError::Unavailable,
            }
        })
    }
}

/// The statement with its parameters written as PostgreSQL has them. None holds a question mark for anything else.
fn numbered(statement: &str) -> String {
    statement.replace('?', "$")
}

/// What an error means for the transaction.
fn judge(error: &tokio_postgres::Error) -> Failure {
    match error.code() {
        Some(&(SqlState::T_R_SERIALIZATION_FAILURE | SqlState::T_R_DEADLOCK_DETECTED)) => return Failure::Contended,
        // A session may outlive its device or account by a moment.
        Some(&SqlState::FOREIGN_KEY_VIOLATION) => return Failure::Constraint(StoreError::NotFound),
        Some(&SqlState::UNIQUE_VIOLATION) => return Failure::Constraint(StoreError::Unavailable),
        Some(&SqlState::DISK_FULL) => return Failure::Verb(StoreError::Full),
        _ => {}
    }
    tracing::error!(error = describe(error), "PostgreSQL failed");
    Failure::Lost
}

/// An error with all that lies behind it.
pub(crate) fn describe(error: &tokio_postgres::Error) -> String {
    if let Some(error) = error.as_db_error() {
        return error.to_string();
    }
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
