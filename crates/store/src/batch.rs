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

    /// What it is about. Verbs of one store with the same key take effect in the order they were submitted in; others may
    /// overtake each other. Whose callers don't wait for one answer before they submit the next needs one key for both.
    /// Without a word, a verb shares its key with all others that say nothing.
    fn key(&self) -> Key {
        Key::REST
    }

    /// Does the work. An error undoes everything this verb wrote. May be run again, on a database as if it never had been, when
    /// others were in its way; what it answers and what it writes follow from itself and the database alone.
    ///
    /// # Errors
    /// Each verb says which.
    fn run(&self, transaction: &Transaction<'_>) -> Result<Self::Output, StoreError>;
}

/// What a verb is about: an account, a device, a conversation, a name, or the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key(pub(crate) u64);

impl Key {
    /// Nothing of these.
    pub const REST: Self = Self(0);
}

macro_rules! key_of {
    ($($id:ident),*) => { $(
        impl From<ahoy_proto::$id> for Key {
            /// Ids are random, so a part is as good as the whole.
            fn from(id: ahoy_proto::$id) -> Self {
                Self(u128::from_be_bytes(id.0) as u64)
            }
        }
    )* };
}
key_of!(AccountId, DeviceId, ConversationId);

impl From<&ahoy_proto::Name> for Key {
    fn from(name: &ahoy_proto::Name) -> Self {
        let spread = |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte));
        Self(name.as_str().bytes().fold(0, spread))
    }
}

/// What a verb works on; only this crate can look inside.
#[derive(Debug)]
pub struct Transaction<'a>(pub(crate) &'a Connection);

/// A verb with its reply, its type erased.
pub(crate) trait Job: Send {
    /// Runs the verb and keeps what came of it, in the place of what came of it before.
    fn run(&mut self, transaction: &Transaction<'_>) -> Result<(), StoreError>;
    /// Replies what came of the last run, or why it came to nothing.
    fn reply(self: Box<Self>, outcome: Result<(), StoreError>);
}

pub(crate) fn job<V, R>(verb: V, reply: R) -> Box<dyn Job>
where
    V: Verb,
    R: FnOnce(Result<V::Output, StoreError>) + Send + 'static,
{
    Box::new(VerbJob { verb, reply, result: Err(StoreError::Unavailable) })
}

struct VerbJob<V: Verb, R> {
    verb: V,
    reply: R,
    result: Result<V::Output, StoreError>,
}

impl<V: Verb, R: FnOnce(Result<V::Output, StoreError>) + Send + 'static> Job for VerbJob<V, R> {
    fn run(&mut self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        self.result = self.verb.run(transaction);
        self.result.as_ref().map(|_| ()).map_err(|error| *error)
    }

    fn reply(self: Box<Self>, outcome: Result<(), StoreError>) {
        let Self { reply, result, .. } = *self;
        reply(outcome.and(result));
    }
}

/// Runs the verb. What it did and found stands or falls with the batch; only what it says itself is in the job.
fn in_savepoint(connection: &Connection, job: &mut dyn Job) -> Result<(), StoreError> {
    connection.prepare_cached("SAVEPOINT verb")?.execute([])?;
    let result = job.run(&Transaction(connection));
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
        return first.reply(Err(error));
    }
    let deadline = Instant::now() + BATCH_AGE;
    let mut done = Vec::new();
    let mut next = Some(first);
    while let Some(mut job) = next {
        let result = in_savepoint(connection, &mut *job);
        done.push((job, result));
        let goes_on = !connection.is_autocommit() && done.len() < BATCH_MAX && Instant::now() < deadline;
        next = if goes_on { queue.try_recv().ok() } else { None };
    }
    let outcome = commit(connection);
    for (job, result) in done {
        job.reply(result.and(outcome));
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
