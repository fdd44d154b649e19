//! Inboxes: what is addressed to one device, until it has taken it over. A Welcome is kept once for all its devices.

use ahoy_proto::limits::{INBOX_MAX, PAGE_BYTES_MAX};
use ahoy_proto::{ConversationId, DeviceId, v1};
use bytes::Bytes;
use prost::Message;
use rusqlite::{Row, params};

use crate::batch::{Transaction, Verb};
use crate::{Delivery, StoreError, cursors, devices, members};

crate::statements::statements! {
    KEEP_WELCOME = "INSERT INTO welcomes (conversation, entry) VALUES (?1, ?2)";
    INSERT = "INSERT INTO inbox (device, welcome) VALUES (?1, ?2)";
    COUNT = "SELECT count(*) FROM inbox WHERE device = ?1";
    DROP_OLDEST = "DELETE FROM inbox WHERE sequence IN
        (SELECT sequence FROM inbox WHERE device = ?1 ORDER BY sequence LIMIT ?2)";
    AFTER = "SELECT inbox.sequence, welcomes.entry FROM inbox JOIN welcomes ON welcomes.welcome = inbox.welcome
        WHERE inbox.device = ?1 AND inbox.sequence > ?2 ORDER BY inbox.sequence";
    ACKNOWLEDGE = "DELETE FROM inbox WHERE device = ?1 AND sequence <= ?2";
}

/// One MLS Welcome, and the devices that it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcoming {
    /// At least one.
    pub devices: Vec<DeviceId>,
    /// MLS Welcome.
    pub welcome: Bytes,
}

/// Puts Welcomes into the inboxes of members' devices, which stand in the group from there on. Any other device is a conflict:
/// it has been revoked since its key package was claimed, and the group must not hold it.
pub(crate) fn welcome(
    transaction: &Transaction<'_>,
    conversation: ConversationId,
    header: v1::InboxEntry,
    welcomes: Vec<Welcoming>,
) -> Result<Vec<Delivery>, StoreError> {
    let mut deliveries = Vec::new();
    for Welcoming { devices, welcome } in welcomes {
        let entry = v1::InboxEntry { body: Some(v1::inbox_entry::Body::Welcome(welcome)), ..header.clone() };
        transaction.0.prepare_cached(KEEP_WELCOME)?.execute(params![conversation.0, entry.encode_to_vec()])?;
        let kept = transaction.0.last_insert_rowid();
        for device in devices {
            let account = devices::owner(transaction, device)?.ok_or(StoreError::Conflict)?;
            if !members::is_member(transaction, account, conversation)? {
                return Err(StoreError::Conflict);
            }
            cursors::enter(transaction, conversation, device, header.head)?;
            let sequence = deliver(transaction, device, kept)?;
            deliveries.push((account, device, v1::InboxEntry { sequence, ..entry.clone() }));
        }
    }
    Ok(deliveries)
}

/// Puts a Welcome into an inbox. Beyond [`INBOX_MAX`] the oldest gives way: whoever has been away for so long finds the
/// conversation by `ListConversations` and joins by external commit.
fn deliver(transaction: &Transaction<'_>, device: DeviceId, welcome: i64) -> Result<u64, StoreError> {
    transaction.0.prepare_cached(INSERT)?.execute(params![device.0, welcome])?;
    let sequence = transaction.0.last_insert_rowid().cast_unsigned();
    let count: usize = transaction.0.prepare_cached(COUNT)?.query_row([device.0], |row| row.get(0))?;
    if let Some(excess) = count.checked_sub(INBOX_MAX).filter(|excess| *excess > 0) {
        transaction.0.prepare_cached(DROP_OLDEST)?.execute(params![device.0, excess])?;
    }
    Ok(sequence)
}

/// A page of an inbox, oldest first.
#[derive(Debug)]
pub struct FetchInbox {
    /// Whose.
    pub device: DeviceId,
    /// The last sequence number of the page before; 0 for the first.
    pub after: u64,
}

impl Verb for FetchInbox {
    type Output = v1::InboxEntries;
    fn run(self, transaction: &Transaction<'_>) -> Result<v1::InboxEntries, StoreError> {
        let after = i64::try_from(self.after).unwrap_or(i64::MAX);
        let mut statement = transaction.0.prepare_cached(AFTER)?;
        let mut rows = statement.query(params![self.device.0, after])?;
        let (entries, more) = page(&mut rows, |row| {
            let entry = decode::<v1::InboxEntry>(&row.get::<_, Vec<u8>>(1)?)?;
            Ok(v1::InboxEntry { sequence: row.get(0)?, ..entry })
        })?;
        Ok(v1::InboxEntries { entries, more })
    }
}

/// Forgets everything up to a sequence number: the device has taken it over.
pub(crate) fn forget(transaction: &Transaction<'_>, device: DeviceId, up_to: u64) -> Result<(), StoreError> {
    let up_to = i64::try_from(up_to).unwrap_or(i64::MAX);
    transaction.0.prepare_cached(ACKNOWLEDGE)?.execute(params![device.0, up_to])?;
    Ok(())
}

/// Bytes that a field number and a length take before an entry of a page.
const ENTRY_OVERHEAD: usize = 4;

/// Reads rows until the entries fill [`PAGE_BYTES_MAX`]; says whether there are more. The first is always taken.
pub(crate) fn page<T: Message>(
    rows: &mut rusqlite::Rows<'_>,
    read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<(Vec<T>, bool), StoreError> {
    let mut entries = Vec::new();
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        let entry = read(row)?;
        bytes += entry.encoded_len() + ENTRY_OVERHEAD;
        if bytes > PAGE_BYTES_MAX && !entries.is_empty() {
            return Ok((entries, true));
        }
        entries.push(entry);
    }
    Ok((entries, false))
}

/// Reads what this crate has written.
pub(crate) fn decode<T: Message + Default>(bytes: &[u8]) -> rusqlite::Result<T> {
    let wrong = |error| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Blob, Box::new(error));
    T::decode(bytes).map_err(wrong)
}
