//! What has its time: log entries, Welcomes, reports, refusals and names that are kept back.

use std::time::Duration;

use ahoy_proto::limits::{DECLINE_LASTS, RETENTION};
use ahoy_proto::{ConversationId, UnixTime};

use crate::contacts::DECLINED;
use crate::sql::{Row, Transaction, params};
use crate::verb::{Key, TIME_MAX_OF_MANY, Verb};
use crate::{StoreError, log};

crate::statements::statements! {
    OLDEST_LOG = "SELECT at_ms, conversation, sequence FROM log WHERE arrival > 0 ORDER BY arrival LIMIT ?1";
    DROP_LOG = "DELETE FROM log WHERE conversation = ?1 AND sequence = ?2 RETURNING account, bytes";
    RAISE_FLOOR = "UPDATE conversations SET floor = ?2 WHERE conversation = ?1 AND floor < ?2";
    STAMP_WELCOMES = "UPDATE welcomes SET at = ?1 WHERE at = 0";
    OLDEST_WELCOMES = "SELECT welcome, at FROM welcomes WHERE at > 0 ORDER BY at LIMIT ?1";
    DROP_WELCOME = "DELETE FROM welcomes WHERE welcome = ?1";
    OLDEST_REPORTS = "SELECT arrival, at FROM reports WHERE arrival > 0 ORDER BY arrival LIMIT ?1";
    DROP_REPORT = "DELETE FROM reports WHERE arrival = ?1";
    DROP_DECLINED = "DELETE FROM contacts WHERE (account, peer) IN
        (SELECT account, peer FROM contacts WHERE state = 100 AND since <= ?1 ORDER BY since LIMIT ?2)";
    DROP_NAMES = "DELETE FROM departed_names WHERE name IN
        (SELECT name FROM departed_names WHERE until <= ?1 ORDER BY until LIMIT ?2)";
}

/// Rows of each kind that one step deletes, so that others wait for some 10 ms at most.
const STEP_MAX: usize = 500;

/// Whether a step of [`Expire`] left anything to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expired {
    /// Nothing more is due.
    All,
    /// Another step would find more.
    Some,
}

/// Forgets a bounded number of things whose time is over. What arrives is kept in the order of arrival, so the oldest stand
/// first, and looking at them costs the same whether they are due or not.
#[derive(Debug)]
pub struct Expire {
    /// Now.
    pub now: UnixTime,
}

impl Verb for Expire {
    type Output = Expired;

    fn key(&self) -> Key {
        Key::EXPIRY
    }

    /// Some two thousand statements.
    fn time_max(&self) -> Duration {
        TIME_MAX_OF_MANY
    }

    fn run(&self, transaction: &Transaction<'_>) -> Result<Expired, StoreError> {
        let kept_since = self.now.0.saturating_sub(RETENTION.as_secs());
        let declined_since = self.now.0.saturating_sub(DECLINE_LASTS.as_secs());
        transaction.execute(STAMP_WELCOMES, params![self.now])?;
        let declined = params![declined_since, STEP_MAX];
        let names = params![self.now, STEP_MAX];
        let gone = [
            drop_log(transaction, kept_since)?,
            drop_oldest(transaction, OLDEST_WELCOMES, DROP_WELCOME, kept_since)?,
            drop_oldest(transaction, OLDEST_REPORTS, DROP_REPORT, kept_since)?,
            transaction.execute(DROP_DECLINED, declined)?,
            transaction.execute(DROP_NAMES, names)?,
        ];
        Ok(if gone.contains(&STEP_MAX) { Expired::Some } else { Expired::All })
    }
}

/// Deletes log entries from before a time, and raises the floors of their conversations.
fn drop_log(transaction: &Transaction<'_>, kept_since: u64) -> Result<usize, StoreError> {
    let entry = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    let oldest: Vec<(u64, ConversationId, u64)> = transaction.all(OLDEST_LOG, params![STEP_MAX], entry)?;
    let mut gone = 0;
    for (at_ms, conversation, sequence) in oldest {
        if at_ms / 1_000 >= kept_since {
            break;
        }
        log::drop_entries(transaction, DROP_LOG, params![conversation, sequence])?;
        transaction.execute(RAISE_FLOOR, params![conversation, sequence])?;
        gone += 1;
    }
    Ok(gone)
}

/// Deletes what arrived before a time. `oldest` gives ids and times, `drop` deletes one.
fn drop_oldest(
    transaction: &Transaction<'_>,
    oldest: &'static str,
    drop: &'static str,
    kept_since: u64,
) -> Result<usize, StoreError> {
    let entry = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let oldest: Vec<(i64, u64)> = transaction.all(oldest, params![STEP_MAX], entry)?;
    let mut gone = 0;
    for (id, _) in oldest.into_iter().take_while(|(_, at)| *at < kept_since) {
        transaction.execute(drop, params![id])?;
        gone += 1;
    }
    Ok(gone)
}

const _: () = assert!(DECLINED == 100, "the statement that forgets refusals says the number");
