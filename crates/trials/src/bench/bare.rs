//! The least that keeping messages can cost: SQLite alone, with the rows, the index and the durability of a supernode's log, and nobody
//! to tell.

use std::path::Path;
use std::time::{Duration, Instant};

use ahoy_proto::{AccountId, ConversationId, DeviceId, v1};
use anyhow::{Context as _, ensure};
use prost::Message as _;
use rusqlite::{Connection, params};

use super::{filled, messages, micros};
use crate::wire::noise;

/// Microseconds of processor time by row.
#[derive(Debug, Clone, Copy)]
pub struct Costs {
    /// Written durably.
    pub written: f64,
    /// Read, in the order of its conversation.
    pub read: f64,
}

/// How many rows.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Conversations, which take turns.
    pub conversations: usize,
    /// Rows of each.
    pub rows: usize,
}

/// A supernode's log, without the rows that it refers to.
const TABLE: &str = "CREATE TABLE log (
        arrival INTEGER NOT NULL PRIMARY KEY,
        conversation BLOB NOT NULL,
        sequence INTEGER NOT NULL,
        entry BLOB NOT NULL,
        at_ms INTEGER NOT NULL,
        account BLOB,
        bytes INTEGER NOT NULL,
        UNIQUE (conversation, sequence)
    ) STRICT";

/// Rows of a batch at most, as the store has it.
const BATCH_MAX: usize = 1_000;

/// Age of a batch at which it is committed, as the store has it.
const BATCH_AGE: Duration = Duration::from_millis(2);

/// Measures both, in a file of its own.
///
/// # Errors
/// When the file can't be written.
pub fn round(folder: &Path, load: Load) -> anyhow::Result<Costs> {
    let file = folder.join(format!("bare-{}.sqlite", rand::random::<u32>()));
    // A thread of its own, whose time is counted.
    let measured = std::thread::spawn(move || measure(&file, load));
    measured.join().map_err(|_| anyhow::anyhow!("the bare store panicked"))?
}

fn measure(file: &Path, load: Load) -> anyhow::Result<Costs> {
    let connection = Connection::open(file)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.execute_batch(TABLE)?;
    let conversations: Vec<_> = (0..load.conversations).map(|_| ConversationId(rand::random())).collect();
    let rows: Vec<_> =
        (1..=load.rows).flat_map(|sequence| conversations.iter().map(move |id| (id, sequence))).collect();
    let entries: Vec<_> = rows.iter().map(|(id, sequence)| entry(**id, *sequence as u64).encode_to_vec()).collect();
    let before = thread_time()?;
    write(&connection, &rows, &entries)?;
    let between = thread_time()?;
    let read = read(&connection, &conversations)?;
    let after = thread_time()?;
    ensure!(read == rows.len(), "{read} of {} rows were read", rows.len());
    Ok(Costs { written: micros(between - before, read), read: micros(after - between, read) })
}

/// As it stands in a supernode's log.
fn entry(conversation: ConversationId, sequence: u64) -> v1::LogEntry {
    let message = v1::SealedMessage { number: sequence, sealed: noise(messages::SEALED) };
    v1::LogEntry {
        conversation: conversation.to_bytes(),
        sequence,
        generation: filled::GENERATION,
        epoch: filled::EPOCH,
        device: DeviceId(rand::random()).to_bytes(),
        account: AccountId(rand::random()).to_bytes(),
        at_ms: 1 << 40,
        body: Some(v1::log_entry::Body::Message(message)),
        added: Vec::new(),
        removed: Vec::new(),
    }
}

fn write(connection: &Connection, rows: &[(&ConversationId, usize)], entries: &[Vec<u8>]) -> rusqlite::Result<()> {
    let mut insert = connection.prepare(
        "INSERT INTO log (conversation, sequence, at_ms, account, bytes, entry) VALUES (?1, ?2, ?3, ?1, ?4, ?5)",
    )?;
    let mut left = rows.iter().zip(entries).peekable();
    while left.peek().is_some() {
        connection.execute_batch("BEGIN IMMEDIATE")?;
        let due = Instant::now() + BATCH_AGE;
        for ((conversation, sequence), entry) in left.by_ref().take(BATCH_MAX) {
            insert.execute(params![conversation.0, *sequence, 1u64 << 40, entry.len(), entry])?;
            if Instant::now() >= due {
                break;
            }
        }
        connection.execute_batch("COMMIT")?;
    }
    Ok(())
}

/// Gives the number of rows. Each is copied out, as for a page.
fn read(connection: &Connection, conversations: &[ConversationId]) -> rusqlite::Result<usize> {
    let mut select =
        connection.prepare("SELECT entry FROM log WHERE conversation = ?1 AND sequence > ?2 ORDER BY sequence")?;
    let mut count = 0;
    for conversation in conversations {
        let mut rows = select.query(params![conversation.0, 0])?;
        while let Some(row) = rows.next()? {
            std::hint::black_box(row.get::<_, Vec<u8>>(0)?);
            count += 1;
        }
    }
    Ok(count)
}

/// Time that this thread has spent on a processor.
fn thread_time() -> anyhow::Result<Duration> {
    // The kernel brings the count up to date when a thread leaves its processor.
    std::thread::sleep(Duration::from_millis(1));
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let time = text.split(' ').next().and_then(|time| time.parse().ok());
    Ok(Duration::from_nanos(time.context("schedstat has a time")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_more_than_one_batch_are_all_read_back() {
        let folder = tempfile::tempdir().unwrap();
        // More than one batch.
        let load = Load { conversations: 7, rows: 200 };
        let costs = round(folder.path(), load).unwrap();
        assert!(costs.written > 0.0 && costs.read > 0.0, "{costs:?}");
    }
}
