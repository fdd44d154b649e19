//! The thread of the database: verbs in savepoints, savepoints in batches, replies after the commit.

use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::StoreError;
use crate::sql::{Engine, Transaction};
use crate::verb::Job;

/// Verbs of one batch, so that the first does not wait for more than some 30 ms of others.
const BATCH_MAX: usize = 1_000;

/// Age of a batch at which it is committed though more is queued: about eight times what a commit costs.
const BATCH_AGE: Duration = Duration::from_millis(2);

/// Runs the verb. What it did and found stands or falls with the batch; only what it says itself is in the job.
fn in_savepoint(connection: &Connection, job: &mut dyn Job) -> Result<(), StoreError> {
    connection.prepare_cached("SAVEPOINT verb")?.execute([])?;
    let result = job.run(&Transaction(Engine::Sqlite(connection)));
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
