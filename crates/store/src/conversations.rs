//! Conversations: which there are, and the sealed state that lets a device join one.

use ahoy_proto::{AccountId, ConversationId, DeviceId, v1};
use bytes::Bytes;

use crate::inbox::{self, Welcoming};
use crate::members::{self, check_member};
use crate::sql::{Row, Transaction, params};
use crate::verb::{Key, Verb};
use crate::{Delivery, StoreError, accounts, cursors, log};

crate::statements::statements! {
    EXISTS = "SELECT 1 FROM conversations WHERE conversation = ?1";
    OF_PAIR = "SELECT conversation FROM conversations WHERE pair = ?1";
    IS_PAIR = "SELECT pair IS NOT NULL FROM conversations WHERE conversation = ?1";
    INSERT = "INSERT INTO conversations (conversation, pair, generation, epoch, head) VALUES (?1, ?2, 1, ?3, 0)";
    INSERT_GROUP_INFO = "INSERT INTO group_infos (conversation, group_info) VALUES (?1, ?2)";
    GROUP_INFO = "SELECT generation, epoch, head, group_info
        FROM conversations JOIN group_infos ON group_infos.conversation = conversations.conversation
        WHERE conversations.conversation = ?1";
    LIST = "SELECT conversations.conversation, pair, generation, epoch, head, receipts_serial, acknowledged,
        coalesce(cursors.sent, (SELECT numbers.sent FROM numbers
            WHERE numbers.conversation = members.conversation AND numbers.device = ?3))
        FROM members JOIN conversations ON conversations.conversation = members.conversation
        LEFT JOIN cursors ON cursors.conversation = members.conversation AND cursors.device = ?3
        WHERE members.account = ?1 AND members.conversation > ?2 ORDER BY members.conversation";
    ONE = "SELECT conversations.conversation, pair, generation, epoch, head, receipts_serial, acknowledged,
        coalesce(cursors.sent, (SELECT numbers.sent FROM numbers
            WHERE numbers.conversation = conversations.conversation AND numbers.device = ?2))
        FROM conversations
        LEFT JOIN cursors ON cursors.conversation = conversations.conversation AND cursors.device = ?2
        WHERE conversations.conversation = ?1";
    DROP_LOG = "DELETE FROM log WHERE conversation = ?1 RETURNING account, bytes";
    DROP_MEMBERS = "DELETE FROM members WHERE conversation = ?1";
    DROP = "DELETE FROM conversations WHERE conversation = ?1";
}

/// What became of a proposed conversation.
#[derive(Debug, Clone, PartialEq)]
pub enum Created {
    /// It was made.
    New {
        /// As listed.
        conversation: v1::Conversation,
        /// The Welcomes.
        deliveries: Vec<Delivery>,
    },
    /// The pair has one already.
    Existing {
        /// As listed.
        conversation: v1::Conversation,
    },
}

/// Makes the one-to-one conversation of two accounts, or finds the one there is; or makes a group of the asking account alone.
/// Fails with [`StoreError::NotFound`] (no such peer), [`StoreError::Forbidden`] (none to write to),
/// [`StoreError::AlreadyExists`] (the id), [`StoreError::LimitReached`] or [`StoreError::Conflict`] (a Welcome for a device of
/// no member, or one that is no more).
#[derive(Debug)]
pub struct CreateConversation {
    /// Who asks.
    pub account: AccountId,
    /// On which device.
    pub device: DeviceId,
    /// The id proposed.
    pub conversation: ConversationId,
    /// The other member; `None`: a group.
    pub peer: Option<AccountId>,
    /// The epoch that the group stands in.
    pub epoch: u64,
    /// MLS GroupInfo.
    pub group_info: Bytes,
    /// MLS Welcomes.
    pub welcomes: Vec<Welcoming>,
}

impl Verb for CreateConversation {
    type Output = Created;

    fn key(&self) -> Key {
        self.conversation.into()
    }

    fn run(&self, transaction: &Transaction<'_>) -> Result<Created, StoreError> {
        let Self { account, device, conversation: id, peer, ref group_info, .. } = *self;
        let epoch = i64::try_from(self.epoch).map_err(|_| StoreError::Invalid)?;
        if peer == Some(account) || group_info.is_empty() {
            return Err(StoreError::Invalid);
        }
        let pair = peer.map(|peer| pair_of(account, peer));
        if let Some((peer, pair)) = peer.zip(pair.as_ref()) {
            if !accounts::exists(transaction, peer)? {
                return Err(StoreError::NotFound);
            }
            let of_pair = transaction.first(OF_PAIR, params![pair], |row| row.get(0))?;
            if let Some(existing) = of_pair {
                let conversation = one(transaction, account, device, ConversationId(existing))?;
                return Ok(Created::Existing { conversation });
            }
        }
        if transaction.exists(EXISTS, params![id])? {
            return Err(StoreError::AlreadyExists);
        }
        if let Some(peer) = peer
            && !members::may_write(transaction, account, peer)?
        {
            return Err(StoreError::Forbidden);
        }
        transaction.execute(INSERT, params![id, pair, epoch])?;
        transaction.execute(INSERT_GROUP_INFO, params![id, group_info])?;
        for member in [account].into_iter().chain(peer) {
            members::join(transaction, member, id, 0)?;
        }
        cursors::enter(transaction, id, device, 0)?;
        let header = v1::InboxEntry {
            conversation: id.to_bytes(),
            generation: 1,
            account: account.to_bytes(),
            ..v1::InboxEntry::default()
        };
        let deliveries = inbox::welcome(transaction, id, header, &self.welcomes)?;
        Ok(Created::New { conversation: one(transaction, account, device, id)?, deliveries })
    }
}

/// What the conversation of two accounts is known by: both ids, the smaller first.
fn pair_of(one: AccountId, other: AccountId) -> Vec<u8> {
    [one.min(other).0, one.max(other).0].concat()
}

/// The other account of a pair; empty for a group.
fn peer_of(pair: Option<&[u8]>, account: AccountId) -> Bytes {
    let halves = pair.and_then(|pair| pair.split_at_checked(account.0.len()));
    halves.map_or_else(Bytes::new, |(first, second)| {
        Bytes::copy_from_slice(if *first == account.0 { second } else { first })
    })
}

/// A page of an account's conversations, and whether there are more.
#[derive(Debug)]
pub struct ListConversations {
    /// Whose.
    pub account: AccountId,
    /// Whose cursors are told.
    pub device: DeviceId,
    /// The last one of the page before.
    pub after: Option<ConversationId>,
}

impl Verb for ListConversations {
    type Output = v1::Conversations;

    fn key(&self) -> Key {
        self.account.into()
    }

    fn run(&self, transaction: &Transaction<'_>) -> Result<v1::Conversations, StoreError> {
        // Every id is greater than the empty string of bytes.
        let after = self.after.map_or(Vec::new(), |id| id.0.to_vec());
        let (conversations, more) = inbox::page(transaction, LIST, params![self.account, after, self.device], |row| {
            conversation(self.account, row)
        })?;
        Ok(v1::Conversations { conversations, more })
    }
}

fn one(
    transaction: &Transaction<'_>,
    account: AccountId,
    device: DeviceId,
    id: ConversationId,
) -> Result<v1::Conversation, StoreError> {
    transaction.one(ONE, params![id, device], |row| conversation(account, row))
}

fn conversation(account: AccountId, row: &Row<'_>) -> Result<v1::Conversation, StoreError> {
    let pair: Option<Vec<u8>> = row.get(1)?;
    Ok(v1::Conversation {
        conversation: row.get(0)?,
        peer: peer_of(pair.as_deref(), account),
        generation: row.get(2)?,
        epoch: row.get(3)?,
        head: row.get(4)?,
        receipts_serial: row.get(5)?,
        acknowledged: row.get::<Option<u64>>(6)?.unwrap_or(0),
        // Unknown after a restoration: none, as far as the store can say.
        sent: row.get::<Option<i64>>(7)?.and_then(|sent| u64::try_from(sent).ok()).unwrap_or(0),
    })
}

/// Whether it is a one-to-one conversation.
pub(crate) fn is_pair(transaction: &Transaction<'_>, id: ConversationId) -> Result<bool, StoreError> {
    transaction.one(IS_PAIR, params![id], |row| row.get(0))
}

/// Deletes a conversation with all that belongs to it.
pub(crate) fn forget(transaction: &Transaction<'_>, id: ConversationId) -> Result<(), StoreError> {
    log::drop_entries(transaction, DROP_LOG, params![id])?;
    for statement in [DROP_MEMBERS, DROP] {
        transaction.execute(statement, params![id])?;
    }
    Ok(())
}

/// What a member's device needs to join by external commit. [`StoreError::NotFound`] to everybody else.
#[derive(Debug)]
pub struct FetchGroupInfo {
    /// Who asks.
    pub account: AccountId,
    /// The conversation.
    pub conversation: ConversationId,
}

impl Verb for FetchGroupInfo {
    type Output = v1::GroupInfo;

    fn key(&self) -> Key {
        self.conversation.into()
    }

    fn run(&self, transaction: &Transaction<'_>) -> Result<v1::GroupInfo, StoreError> {
        check_member(transaction, self.account, self.conversation)?;
        let group_info = |row: &Row<'_>| {
            Ok(v1::GroupInfo {
                conversation: self.conversation.to_bytes(),
                generation: row.get(0)?,
                epoch: row.get(1)?,
                head: row.get(2)?,
                group_info: row.get(3)?,
            })
        };
        transaction.one(GROUP_INFO, params![self.conversation], group_info)
    }
}
