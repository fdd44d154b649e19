//! Cursors: how far each device of a group has come in its log, and with it what of the log can go.
//!
//! A log entry is kept until every device that stands in the group has acknowledged it. The floor of a conversation is the
//! last entry that all have; entries up to it are never shown again.

use ahoy_proto::{AccountId, ConversationId, DeviceId};

use crate::sql::{Row, Transaction, params};
use crate::verb::{Key, Verb};
use crate::{StoreError, inbox, log};

crate::statements::statements! {
    ENTER = "INSERT INTO cursors (conversation, device, acknowledged, sent) VALUES (?1, ?2, ?3,
        coalesce((SELECT sent FROM numbers WHERE conversation = ?1 AND device = ?2), 0))
        ON CONFLICT (conversation, device) DO NOTHING";
    KEEP_NUMBERS = "INSERT INTO numbers (conversation, device, sent)
        SELECT conversation, device, sent FROM cursors WHERE conversation = ?1 AND sent <> 0
        AND device IN (SELECT device FROM devices WHERE account = ?2)
        ON CONFLICT (conversation, device) DO UPDATE SET sent = excluded.sent";
    DROP_OF_ACCOUNT = "DELETE FROM cursors WHERE conversation = ?1
        AND device IN (SELECT device FROM devices WHERE account = ?2)";
    MARK = "SELECT acknowledged, floor, head FROM cursors
        JOIN conversations ON conversations.conversation = cursors.conversation
        WHERE cursors.conversation = ?1 AND cursors.device = ?2";
    MOVE = "UPDATE cursors SET acknowledged = ?3 WHERE conversation = ?1 AND device = ?2";
    FLOOR = "SELECT floor FROM conversations WHERE conversation = ?1";
    LOWEST = "SELECT min(acknowledged) FROM cursors WHERE conversation = ?1";
    SET_FLOOR = "UPDATE conversations SET floor = ?2 WHERE conversation = ?1";
    DROP_LOG = "DELETE FROM log WHERE conversation = ?1 AND sequence IN
        (SELECT sequence FROM log WHERE conversation = ?1 AND sequence <= ?2 ORDER BY sequence LIMIT ?3)
        RETURNING account, bytes";
    LOWEST_OF_DEVICE = "SELECT cursors.conversation FROM cursors
        JOIN conversations ON conversations.conversation = cursors.conversation
        WHERE cursors.device = ?1 AND acknowledged <= floor AND floor < head";
}

/// What stands for the number of a device's last message after a restoration: it may have sent more than the backup knows.
pub(crate) const SENT_UNKNOWN: i64 = -1;

/// Log entries deleted in one go, so that a device which comes back after a month does not hold up the store: some 10 ms. What
/// is left goes with the next ones, or with its time.
const DROPPED_AT_ONCE_MAX: usize = 1_000;

/// The device stands in the group from this log entry on. One that did before keeps its mark and its numbering: a Welcome that
/// somebody else made must not take away what it has not fetched.
pub(crate) fn enter(
    transaction: &Transaction<'_>,
    conversation: ConversationId,
    device: DeviceId,
    sequence: u64,
) -> Result<(), StoreError> {
    transaction.execute(ENTER, params![conversation, device, sequence])?;
    Ok(())
}

/// None of the account's devices stands in the group any more. How far each has numbered its messages is kept: a number is
/// given once, whoever leaves and comes back.
pub(crate) fn drop_of_account(
    transaction: &Transaction<'_>,
    conversation: ConversationId,
    account: AccountId,
) -> Result<(), StoreError> {
    transaction.execute(KEEP_NUMBERS, params![conversation, account])?;
    transaction.execute(DROP_OF_ACCOUNT, params![conversation, account])?;
    Ok(())
}

/// The conversations whose log may be waiting for this device alone.
pub(crate) fn lowest_of_device(
    transaction: &Transaction<'_>,
    device: DeviceId,
) -> Result<Vec<ConversationId>, StoreError> {
    transaction.all(LOWEST_OF_DEVICE, params![device], |row| row.get(0))
}

/// Raises the floor to the lowest mark of the group's devices, and deletes what is below.
pub(crate) fn settle_floor(transaction: &Transaction<'_>, conversation: ConversationId) -> Result<(), StoreError> {
    let floor = transaction.one(FLOOR, params![conversation], |row| row.get(0))?;
    raise_floor(transaction, conversation, floor)
}

/// As [`settle_floor`], where the floor is known. A log that nobody has come up to stays: its time ends it.
fn raise_floor(transaction: &Transaction<'_>, conversation: ConversationId, floor: u64) -> Result<(), StoreError> {
    let lowest: Option<u64> = transaction.one(LOWEST, params![conversation], |row| row.get(0))?;
    let Some(lowest) = lowest.filter(|lowest| *lowest > floor) else { return Ok(()) };
    transaction.execute(SET_FLOOR, params![conversation, lowest])?;
    log::drop_entries(transaction, DROP_LOG, params![conversation, lowest, DROPPED_AT_ONCE_MAX])?;
    Ok(())
}

/// A device has taken over what came: forgets its inbox up to an entry, and moves its cursors, never backwards and never
/// beyond what there is. Conversations that it is not in are passed over.
#[derive(Debug)]
pub struct Acknowledge {
    /// Whose.
    pub device: DeviceId,
    /// The last inbox entry taken over; 0: none.
    pub inbox: u64,
    /// How far it has come in which logs.
    pub logs: Vec<(ConversationId, u64)>,
}

impl Verb for Acknowledge {
    type Output = ();

    /// One log, and it is known whose other verbs change the same rows.
    fn key(&self) -> Key {
        match &self.logs[..] {
            [(conversation, _)] if self.inbox == 0 => (*conversation).into(),
            _ => self.device.into(),
        }
    }

    fn run(&self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        if self.inbox > 0 {
            inbox::forget(transaction, self.device, self.inbox)?;
        }
        for (conversation, sequence) in &self.logs {
            advance(transaction, *conversation, self.device, *sequence)?;
        }
        Ok(())
    }
}

fn advance(
    transaction: &Transaction<'_>,
    conversation: ConversationId,
    device: DeviceId,
    sequence: u64,
) -> Result<(), StoreError> {
    let mark = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    let found = transaction.first(MARK, params![conversation, device], mark)?;
    let Some((acknowledged, floor, head)): Option<(u64, u64, u64)> = found else { return Ok(()) };
    let sequence = sequence.min(head);
    if sequence <= acknowledged {
        return Ok(());
    }
    transaction.execute(MOVE, params![conversation, device, sequence])?;
    if acknowledged <= floor { raise_floor(transaction, conversation, floor) } else { Ok(()) }
}
