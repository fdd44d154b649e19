//! The store's thread: verbs in savepoints, savepoints in batches, replies after the commit.

use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::StoreError;

/// Verbs of one batch, so that the first does not wait for more than some 30 ms of others.
const BATCH_MAX: usize = 1_000;

/// Age of a batch at which it is committed though more is queued: about eight times what a commit costs.
const BATCH_AGE: Duration = Duration::from_millis(2);

/// A change or a question that takes effect whole or not at all.
pub trait Verb: Send + Sized + 'static {
    /// What its reply holds.
    type Output: Send + 'static;

    /// Does the work. An error undoes everything this verb wrote.
    ///
    /// # Errors
    /// Each verb says which.
    fn run(self, transaction: &Transaction<'_>) -> Result<Self::Output, StoreError>;
}

/// What a verb works on; only this crate can look inside, so that another engine can stand there.
#[derive(Debug)]
pub struct Transaction<'a>(pub(crate) &'a Connection);

/// A verb with its reply, its type erased.
pub(crate) trait Job: Send {
    /// Runs the verb in a savepoint. The reply leaves when it is told how the batch ended.
    fn run(self: Box<Self>, connection: &Connection) -> Reply;
    /// Replies without running.
    fn refuse(self: Box<Self>, error: StoreError);
}

type Reply = Box<dyn FnOnce(Result<(), StoreError>)>;

pub(crate) fn job<V, R>(verb: V, reply: R) -> Box<dyn Job>
where
    V: Verb,
    R: FnOnce(Result<V::Output, StoreError>) + Send + 'static,
{
    Box::new(VerbJob { verb, reply })
}

struct VerbJob<V, R> {
    verb: V,
    reply: R,
}

impl<V: Verb, R: FnOnce(Result<V::Output, StoreError>) + Send + 'static> Job for VerbJob<V, R> {
    fn run(self: Box<Self>, connection: &Connection) -> Reply {
        let Self { verb, reply } = *self;
        let result = in_savepoint(connection, verb);
        Box::new(move |batch| reply(result.and_then(|output| batch.map(|()| output))))
    }

    fn refuse(self: Box<Self>, error: StoreError) {
        (self.reply)(Err(error));
    }
}

fn in_savepoint<V: Verb>(connection: &Connection, verb: V) -> Result<V::Output, StoreError> {
    connection.prepare_cached("SAVEPOINT verb")?.execute([])?;
    let result = verb.run(&Transaction(connection));
    // After a full disk SQLite may have rolled the whole batch back, savepoints included.
    if connection.is_autocommit() {
        return result.and(Err(StoreError::Unavailable));
    }
    if result.is_err() {
        connection.prepare_cached("ROLLBACK TO verb")?.execute([])?;
    }
    connection.prepare_cached("RELEASE verb")?.execute([])?;
    result
}

/// Serves the queue until every sender is gone and it is empty.
pub(crate) fn run(connection: &Connection, queue: &Receiver<Box<dyn Job>>) {
    while let Ok(first) = queue.recv() {
        batch(connection, first, queue);
    }
}

fn batch(connection: &Connection, first: Box<dyn Job>, queue: &Receiver<Box<dyn Job>>) {
    if let Err(error) = execute(connection, "BEGIN IMMEDIATE") {
        return first.refuse(error);
    }
    let deadline = Instant::now() + BATCH_AGE;
    let mut replies = vec![first.run(connection)];
    while !connection.is_autocommit() && replies.len() < BATCH_MAX && Instant::now() < deadline {
        let Ok(job) = queue.try_recv() else { break };
        replies.push(job.run(connection));
    }
    let outcome = commit(connection);
    for reply in replies {
        reply(outcome);
    }
}

/// Commits, or leaves the connection outside of any transaction with nothing of the batch kept.
fn commit(connection: &Connection) -> Result<(), StoreError> {
    if connection.is_autocommit() {
        return Err(StoreError::Unavailable);
    }
    execute(connection, "COMMIT").inspect_err(|_| {
        if !connection.is_autocommit() {
            _ = execute(connection, "ROLLBACK");
        }
    })
}

fn execute(connection: &Connection, statement: &str) -> Result<(), StoreError> {
    connection.prepare_cached(statement)?.execute([])?;
    Ok(())
}
