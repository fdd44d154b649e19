//! Inboxes: what is addressed to one device, until it has taken it over. A Welcome is kept once for all its devices.

use ahoy_proto::limits::{INBOX_MAX, PAGE_BYTES_MAX};
use ahoy_proto::{ConversationId, DeviceId, v1};
use bytes::Bytes;
use prost::Message;

use crate::sql::{Extent, Row, Transaction, Value, params};
use crate::verb::{Key, Verb};
use crate::{Delivery, StoreError, cursors, devices, members};

crate::statements::statements! {
    KEEP_WELCOME = "INSERT INTO welcomes (conversation, entry) VALUES (?1, ?2) RETURNING welcome";
    DROP_WELCOME = "DELETE FROM welcomes
        WHERE welcome = ?1 AND NOT EXISTS (SELECT 1 FROM inbox WHERE inbox.welcome = ?1)";
    NEXT_SEQUENCE = "UPDATE devices SET inbox_sequence = inbox_sequence + 1 WHERE device = ?1 RETURNING inbox_sequence";
    INSERT = "INSERT INTO inbox (device, sequence, welcome) VALUES (?1, ?2, ?3)";
    COUNT = "SELECT count(*) FROM inbox WHERE device = ?1";
    DROP_OLDEST = "DELETE FROM inbox WHERE device = ?1 AND sequence IN
        (SELECT sequence FROM inbox WHERE device = ?1 ORDER BY sequence LIMIT ?2) RETURNING welcome";
    AFTER = "SELECT inbox.sequence, welcomes.entry FROM inbox JOIN welcomes ON welcomes.welcome = inbox.welcome
        WHERE inbox.device = ?1 AND inbox.sequence > ?2 ORDER BY inbox.sequence";
    ACKNOWLEDGE = "DELETE FROM inbox WHERE device = ?1 AND sequence <= ?2 RETURNING welcome";
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
    welcomes: &[Welcoming],
) -> Result<Vec<Delivery>, StoreError> {
    let mut deliveries = Vec::new();
    for Welcoming { devices, welcome } in welcomes {
        let entry = v1::InboxEntry { body: Some(v1::inbox_entry::Body::Welcome(welcome.clone())), ..header.clone() };
        let encoded = entry.encode_to_vec();
        let kept = transaction.one(KEEP_WELCOME, params![conversation, encoded], |row| row.get(0))?;
        for &device in devices {
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
    let sequence: u64 = transaction.one(NEXT_SEQUENCE, params![device], |row| row.get(0))?;
    transaction.execute(INSERT, params![device, sequence, welcome])?;
    let count: usize = transaction.one(COUNT, params![device], |row| row.get(0))?;
    if let Some(excess) = count.checked_sub(INBOX_MAX).filter(|excess| *excess > 0) {
        drop_entries(transaction, DROP_OLDEST, params![device, excess])?;
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

    fn key(&self) -> Key {
        self.device.into()
    }

    fn run(&self, transaction: &Transaction<'_>) -> Result<v1::InboxEntries, StoreError> {
        let after = i64::try_from(self.after).unwrap_or(i64::MAX);
        let (entries, more) = page(transaction, AFTER, params![self.device, after], |row| {
            let entry = decode::<v1::InboxEntry>(row.get(1)?)?;
            Ok(v1::InboxEntry { sequence: row.get(0)?, ..entry })
        })?;
        Ok(v1::InboxEntries { entries, more })
    }
}

/// Forgets everything up to a sequence number: the device has taken it over.
pub(crate) fn forget(transaction: &Transaction<'_>, device: DeviceId, up_to: u64) -> Result<(), StoreError> {
    let up_to = i64::try_from(up_to).unwrap_or(i64::MAX);
    drop_entries(transaction, ACKNOWLEDGE, params![device, up_to])
}

/// Forgets all of it: the device goes.
pub(crate) fn forget_all(transaction: &Transaction<'_>, device: DeviceId) -> Result<(), StoreError> {
    forget(transaction, device, u64::MAX)
}

/// Deletes entries by a statement that returns the Welcome of each, and those Welcomes that stand in no inbox any more.
fn drop_entries(
    transaction: &Transaction<'_>,
    statement: &'static str,
    params: &[Value<'_>],
) -> Result<(), StoreError> {
    let welcomes: Vec<i64> = transaction.all(statement, params, |row| row.get(0))?;
    for welcome in welcomes {
        transaction.execute(DROP_WELCOME, params![welcome])?;
    }
    Ok(())
}

/// Bytes that a field number and a length take before an entry of a page.
const ENTRY_OVERHEAD: usize = 4;

/// Reads entries until they fill [`PAGE_BYTES_MAX`]; says whether there are more. The first is always taken.
pub(crate) fn page<T: Message>(
    transaction: &Transaction<'_>,
    statement: &'static str,
    params: &[Value<'_>],
    read: impl Fn(&Row<'_>) -> Result<T, StoreError>,
) -> Result<(Vec<T>, bool), StoreError> {
    let (mut entries, mut bytes, mut more) = (Vec::new(), 0, false);
    transaction.query(statement, params, Extent::Open, &mut |row| {
        let entry = read(row)?;
        bytes += entry.encoded_len() + ENTRY_OVERHEAD;
        more = bytes > PAGE_BYTES_MAX && !entries.is_empty();
        if !more {
            entries.push(entry);
        }
        Ok(!more)
    })?;
    Ok((entries, more))
}

/// Reads what this crate has written.
pub(crate) fn decode<T: Message + Default>(bytes: Bytes) -> Result<T, StoreError> {
    T::decode(bytes).map_err(|error| {
        tracing::error!(%error, "the database holds what nobody wrote");
        StoreError::Unavailable
    })
}
