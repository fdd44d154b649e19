//! After a backup has taken the database's place: clients remember what came after it, and must notice that it is gone.
//!
//! Every number that counts up leaps so far ahead that no client has seen it. What a client would otherwise take for old news it
//! takes for a gap, and a gap makes it fetch anew or enter the group anew.

use std::time::Duration;

use crate::StoreError;
use crate::cursors::SENT_UNKNOWN;
use crate::sql::{Transaction, params};
use crate::verb::Verb;

/// How far numbers leap: more than any of them has counted in its life, and few enough for two thousand million restorations.
const LEAP: i64 = 1 << 32;

/// How far the numbers of supernodes leap: more than enrol between a backup and its return. Few, for they make flow ids longer.
const LEAP_OF_NUMBERS: i64 = 64;

/// Whole tables, once: no daemon runs.
const LEAP_LOGS: &str = "UPDATE conversations SET head = head + ?1, receipts_serial = receipts_serial + ?1";
const LEAP_CONTACTS: &str = "UPDATE accounts SET contacts_serial = contacts_serial + ?1";
const LEAP_LISTS: &str = "UPDATE serials SET serial = serial + ?1 WHERE list <= 3";
const LEAP_INBOXES: &str = "UPDATE devices SET inbox_sequence = inbox_sequence + ?1";
const LEAP_NUMBERS: &str = "UPDATE serials SET serial = serial + ?1 WHERE list = 4";
const FORGET_SENT: &str = "UPDATE cursors SET sent = ?1";
const FORGET_NUMBERS: &str = "UPDATE numbers SET sent = ?1";

/// Prepares a database that was restored from a backup for clients that are ahead of it. Before a daemon runs on it.
///
/// Logs go on with a gap: the devices of a conversation, whatever they have seen, leave its group and enter the one that the
/// database knows. Devices may have sent more messages than it knows, so the next one that each sends is taken whatever its number.
#[derive(Debug)]
pub struct AfterRestore;

impl Verb for AfterRestore {
    type Output = ();

    /// As long as it takes.
    fn time_max(&self) -> Duration {
        Duration::from_secs(86_400)
    }

    fn run(&self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        for statement in [LEAP_LOGS, LEAP_CONTACTS, LEAP_LISTS, LEAP_INBOXES] {
            transaction.execute(statement, params![LEAP])?;
        }
        transaction.execute(LEAP_NUMBERS, params![LEAP_OF_NUMBERS])?;
        for statement in [FORGET_SENT, FORGET_NUMBERS] {
            transaction.execute(statement, params![SENT_UNKNOWN])?;
        }
        Ok(())
    }
}
