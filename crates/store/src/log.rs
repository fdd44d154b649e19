//! Logs: what was said and changed in each conversation, in the one order that all members see.

use std::collections::BTreeMap;

use ahoy_proto::limits::MAILBOX_BYTES_MAX;
use ahoy_proto::{AccountId, ConversationId, DeviceId, v1};
use bytes::Bytes;
use prost::Message;

use crate::cursors::SENT_UNKNOWN;
use crate::members::members;
use crate::sql::{Row, Transaction, Value, params};
use crate::verb::{Key, Verb};
use crate::{StoreError, inbox};

crate::statements::statements! {
    SENDING = "SELECT generation, epoch, head, cursors.sent, usage.bytes
        FROM members JOIN conversations ON conversations.conversation = members.conversation
        LEFT JOIN cursors ON cursors.conversation = members.conversation AND cursors.device = ?3
        LEFT JOIN usage ON usage.account = members.account
        WHERE members.account = ?1 AND members.conversation = ?2";
    SENT = "UPDATE cursors SET sent = ?3 WHERE conversation = ?1 AND device = ?2";
    SET_HEAD = "UPDATE conversations SET head = ?2 WHERE conversation = ?1";
    USAGE = "SELECT bytes FROM usage WHERE account = ?1";
    APPEND = "INSERT INTO log (conversation, sequence, at_ms, account, bytes, entry) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    GROW = "INSERT INTO usage (account, bytes) VALUES (?1, ?2)
        ON CONFLICT (account) DO UPDATE SET bytes = usage.bytes + excluded.bytes";
    SHRINK = "UPDATE usage SET bytes = bytes - ?2 WHERE account = ?1";
    FLOOR = "SELECT floor FROM members JOIN conversations ON conversations.conversation = members.conversation
        WHERE members.account = ?1 AND members.conversation = ?2";
    NEWEST = "SELECT entry FROM log WHERE conversation = ?1 ORDER BY sequence DESC LIMIT 1";
    AFTER = "SELECT entry FROM log WHERE conversation = ?1 AND sequence > ?2 ORDER BY sequence";
}

/// An entry that stands in the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Appended {
    /// As it stands there.
    pub entry: v1::LogEntry,
    /// Whose devices are to hear of it, the sender's included.
    pub members: Vec<AccountId>,
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq)]
pub enum Sent {
    /// It stands in the log.
    Appended(Appended),
    /// Its number stood there already. The newest entry that is kept, for whoever was not told because the reply was lost: it shows
    /// them what they lack.
    Repeated(Option<Appended>),
}

/// Appends a message to the log, once. Fails with [`StoreError::NotFound`] for those who are no members,
/// [`StoreError::Conflict`] when the device is not in the group, the number leaves a gap or the epoch is over, or
/// [`StoreError::LimitReached`].
#[derive(Debug)]
pub struct SendMessage {
    /// Who sends.
    pub account: AccountId,
    /// On which device.
    pub device: DeviceId,
    /// Where.
    pub conversation: ConversationId,
    /// The device's own, from 1.
    pub number: u64,
    /// The generation that it is sealed in.
    pub generation: u32,
    /// The epoch that it is sealed in.
    pub epoch: u64,
    /// MLS message.
    pub sealed: Bytes,
    /// Now.
    pub at_ms: u64,
}

impl Verb for SendMessage {
    type Output = Sent;

    fn key(&self) -> Key {
        self.conversation.into()
    }

    fn run(&self, transaction: &Transaction<'_>) -> Result<Sent, StoreError> {
        let (account, device, id) = (self.account, self.device, self.conversation);
        let sending = params![account, id, device];
        let state = transaction.one(SENDING, sending, Sending::read)?;
        let sent = state.sent.ok_or(StoreError::Conflict)?;
        let number = i64::try_from(self.number).map_err(|_| StoreError::Conflict)?;
        if number <= sent {
            return Ok(Sent::Repeated(newest(transaction, id)?));
        }
        // Of an epoch that is over, those who have entered since could not read it, and those who were removed could.
        let is_current = (self.generation, self.epoch) == (state.generation, state.epoch);
        let follows = number == sent + 1 || sent == SENT_UNKNOWN;
        if !follows || !is_current {
            return Err(StoreError::Conflict);
        }
        let message = v1::SealedMessage { number: self.number, sealed: self.sealed.clone() };
        let entry = v1::LogEntry {
            conversation: id.to_bytes(),
            sequence: state.head + 1,
            generation: self.generation,
            epoch: self.epoch,
            device: device.to_bytes(),
            account: account.to_bytes(),
            at_ms: self.at_ms,
            body: Some(v1::log_entry::Body::Message(message)),
            added: Vec::new(),
            removed: Vec::new(),
        };
        if state.usage + entry.encoded_len() as u64 > MAILBOX_BYTES_MAX {
            return Err(StoreError::LimitReached);
        }
        transaction.execute(SENT, params![id, device, self.number])?;
        transaction.execute(SET_HEAD, params![id, entry.sequence])?;
        append(transaction, id, &entry, Some(account))?;
        Ok(Sent::Appended(Appended { members: members(transaction, id)?, entry }))
    }
}

/// The last entry that somebody waits for, if any.
fn newest(transaction: &Transaction<'_>, id: ConversationId) -> Result<Option<Appended>, StoreError> {
    let Some(entry) = transaction.first(NEWEST, params![id], |row| inbox::decode(row.get(0)?))? else {
        return Ok(None);
    };
    Ok(Some(Appended { members: members(transaction, id)?, entry }))
}

/// What a message is judged by.
struct Sending {
    generation: u32,
    epoch: u64,
    head: u64,
    /// `None`: the device is not in the group.
    sent: Option<i64>,
    usage: u64,
}

impl Sending {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            generation: row.get(0)?,
            epoch: row.get(1)?,
            head: row.get(2)?,
            sent: row.get(3)?,
            usage: row.get::<Option<u64>>(4)?.unwrap_or(0),
        })
    }
}

/// [`StoreError::LimitReached`] when so many bytes more would be too many for the account.
pub(crate) fn check_quota(transaction: &Transaction<'_>, account: AccountId, bytes: usize) -> Result<(), StoreError> {
    let used: Option<u64> = transaction.first(USAGE, params![account], |row| row.get(0))?;
    if used.unwrap_or(0) + bytes as u64 > MAILBOX_BYTES_MAX { Err(StoreError::LimitReached) } else { Ok(()) }
}

/// Puts an entry into the log, on somebody's account or nobody's. The conversation's head is the caller's to move.
pub(crate) fn append(
    transaction: &Transaction<'_>,
    conversation: ConversationId,
    entry: &v1::LogEntry,
    on_account_of: Option<AccountId>,
) -> Result<(), StoreError> {
    let encoded = entry.encode_to_vec();
    transaction
        .execute(APPEND, params![conversation, entry.sequence, entry.at_ms, on_account_of, encoded.len(), encoded,])?;
    if let Some(account) = on_account_of {
        transaction.execute(GROW, params![account, encoded.len()])?;
    }
    Ok(())
}

/// Deletes entries by a statement that returns on whose account each was and its bytes, and says how many they were.
pub(crate) fn drop_entries(
    transaction: &Transaction<'_>,
    statement: &'static str,
    params: &[Value<'_>],
) -> Result<usize, StoreError> {
    let entry = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let dropped: Vec<(Option<AccountId>, u64)> = transaction.all(statement, params, entry)?;
    let mut given_back = BTreeMap::new();
    for (account, bytes) in &dropped {
        if let Some(account) = account {
            *given_back.entry(*account).or_insert(0) += bytes;
        }
    }
    for (account, bytes) in given_back {
        transaction.execute(SHRINK, params![account, bytes])?;
    }
    Ok(dropped.len())
}

/// A page of a conversation's log, for members. Below what is kept it begins with the first entry that is.
#[derive(Debug)]
pub struct FetchLog {
    /// Who asks.
    pub account: AccountId,
    /// The conversation.
    pub conversation: ConversationId,
    /// The last sequence number of the page before; 0 for the first.
    pub after: u64,
}

impl Verb for FetchLog {
    type Output = v1::LogEntries;

    fn key(&self) -> Key {
        self.conversation.into()
    }

    fn run(&self, transaction: &Transaction<'_>) -> Result<v1::LogEntries, StoreError> {
        let of_member = params![self.account, self.conversation];
        let floor: i64 = transaction.one(FLOOR, of_member, |row| row.get(0))?;
        let after = i64::try_from(self.after).unwrap_or(i64::MAX).max(floor);
        let (entries, more) =
            inbox::page(transaction, AFTER, params![self.conversation, after], |row| inbox::decode(row.get(0)?))?;
        Ok(v1::LogEntries { entries, more })
    }
}
