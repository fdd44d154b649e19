//! Inboxes: what is addressed to one device, until it has taken it over.

use ahoy_proto::limits::{INBOX_MAX, PAGE_BYTES_MAX};
use ahoy_proto::{AccountId, DeviceId, v1};
use prost::Message;
use rusqlite::{Row, params};

use crate::batch::{Transaction, Verb};
use crate::{Delivery, StoreError};

crate::statements::statements! {
    INSERT = "INSERT INTO inbox (device, entry) VALUES (?1, ?2)";
    COUNT = "SELECT count(*) FROM inbox WHERE device = ?1";
    DROP_OLDEST = "DELETE FROM inbox WHERE sequence IN
        (SELECT sequence FROM inbox WHERE device = ?1 ORDER BY sequence LIMIT ?2)";
    AFTER = "SELECT sequence, entry FROM inbox WHERE device = ?1 AND sequence > ?2 ORDER BY sequence";
    ACKNOWLEDGE = "DELETE FROM inbox WHERE device = ?1 AND sequence <= ?2";
}

/// Puts an entry into an inbox. Beyond [`INBOX_MAX`] the oldest gives way: whoever has been away for so long finds the
/// conversation by `ListConversations` and joins by external commit.
pub(crate) fn deliver(
    transaction: &Transaction<'_>,
    account: AccountId,
    device: DeviceId,
    entry: v1::InboxEntry,
) -> Result<Delivery, StoreError> {
    transaction.0.prepare_cached(INSERT)?.execute(params![device.0, entry.encode_to_vec()])?;
    let sequence = transaction.0.last_insert_rowid().cast_unsigned();
    let count: usize = transaction.0.prepare_cached(COUNT)?.query_row([device.0], |row| row.get(0))?;
    if let Some(excess) = count.checked_sub(INBOX_MAX).filter(|excess| *excess > 0) {
        transaction.0.prepare_cached(DROP_OLDEST)?.execute(params![device.0, excess])?;
    }
    Ok((account, device, v1::InboxEntry { sequence, ..entry }))
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
        let after = i64::try_from(self.after).map_err(|_| StoreError::Invalid)?;
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
#[derive(Debug)]
pub struct AcknowledgeInbox {
    /// Whose.
    pub device: DeviceId,
    /// The last sequence number taken over.
    pub up_to: u64,
}

impl Verb for AcknowledgeInbox {
    type Output = ();
    fn run(self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        let up_to = i64::try_from(self.up_to).map_err(|_| StoreError::Invalid)?;
        transaction.0.prepare_cached(ACKNOWLEDGE)?.execute(params![self.device.0, up_to])?;
        Ok(())
    }
}

/// Bytes that a field number and a length take before an entry of a page.
const ENTRY_OVERHEAD: usize = 4;

/// Reads rows until the entries fill [`PAGE_BYTES_MAX`]; says whether there are more. The first is always taken.
pub(crate) fn page<T: Message>(
    rows: &mut rusqlite::Rows<'_>,
    read: impl Fn(&Row<'_>) -> Result<T, StoreError>,
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
pub(crate) fn decode<T: Message + Default>(bytes: &[u8]) -> Result<T, StoreError> {
    T::decode(bytes).map_err(|error| {
        tracing::error!(%error, "a stored entry does not decode");
        StoreError::Unavailable
    })
}
