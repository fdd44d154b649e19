//! Commits: each moves a conversation to its next epoch, and with it who is a member.

use ahoy_proto::limits::GROUP_MEMBERS_MAX;
use ahoy_proto::{AccountId, ConversationId, DeviceId, v1};
use bytes::Bytes;
use prost::Message;

use crate::inbox::{self, Welcoming};
use crate::sql::{Row, Transaction, params};
use crate::verb::{Key, Verb};
use crate::{Delivery, StoreError, cursors, log, members};

crate::statements::statements! {
    STATE = "SELECT generation, epoch, head, pair IS NOT NULL FROM members
        JOIN conversations ON conversations.conversation = members.conversation
        WHERE members.account = ?1 AND members.conversation = ?2";
    ADVANCE = "UPDATE conversations SET epoch = ?2, head = ?3 WHERE conversation = ?1";
    SET_GROUP_INFO = "UPDATE group_infos SET group_info = ?2 WHERE conversation = ?1";
}

/// A commit that was accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct Committed {
    /// Its place in the log.
    pub entry: v1::LogEntry,
    /// Whose devices are to hear of it: members, and those who are no more.
    pub members: Vec<AccountId>,
    /// The Welcomes.
    pub deliveries: Vec<Delivery>,
}

/// Moves a conversation to its next epoch. Fails with
/// - [`StoreError::NotFound`] for those who are no members;
/// - [`StoreError::Conflict`] unless generation and epoch are the current ones, accounts to add are no members, accounts to
///   remove are, and every Welcome is for a member's device;
/// - [`StoreError::Forbidden`] when somebody is to be added who is none to write to, or removed by another than the owner, or
///   the owner itself, or the conversation is one-to-one;
/// - [`StoreError::LimitReached`].
#[derive(Debug)]
pub struct Commit {
    /// Who asks.
    pub account: AccountId,
    /// On which device.
    pub device: DeviceId,
    /// The conversation.
    pub conversation: ConversationId,
    /// The generation that the commit was made in.
    pub generation: u32,
    /// The epoch that the commit was made in.
    pub epoch: u64,
    /// MLS message.
    pub commit: Bytes,
    /// MLS GroupInfo of the epoch that it leads to.
    pub group_info: Bytes,
    /// MLS Welcomes.
    pub welcomes: Vec<Welcoming>,
    /// Accounts that become members.
    pub add: Vec<AccountId>,
    /// Accounts that are members no more.
    pub remove: Vec<AccountId>,
    /// Now.
    pub at_ms: u64,
}

impl Verb for Commit {
    type Output = Committed;

    fn key(&self) -> Key {
        self.conversation.into()
    }

    fn run(&self, transaction: &Transaction<'_>) -> Result<Committed, StoreError> {
        let (account, id) = (self.account, self.conversation);
        if self.commit.is_empty() || self.group_info.is_empty() {
            return Err(StoreError::Invalid);
        }
        let before = transaction.one(STATE, params![account, id], State::read)?;
        if (self.generation, self.epoch) != (before.generation, before.epoch) {
            return Err(StoreError::Conflict);
        }
        let sequence = before.head + 1;
        before.change_members(transaction, self)?;
        let ids = |accounts: &[AccountId]| accounts.iter().map(|account| account.to_bytes()).collect();
        let entry = v1::LogEntry {
            conversation: id.to_bytes(),
            sequence,
            generation: before.generation,
            epoch: before.epoch,
            device: self.device.to_bytes(),
            account: account.to_bytes(),
            at_ms: self.at_ms,
            body: Some(v1::log_entry::Body::Commit(self.commit.clone())),
            added: ids(&self.add),
            removed: ids(&self.remove),
        };
        log::check_quota(transaction, account, entry.encoded_len())?;
        transaction.execute(ADVANCE, params![id, before.epoch + 1, sequence])?;
        transaction.execute(SET_GROUP_INFO, params![id, self.group_info])?;
        log::append(transaction, id, &entry, Some(account))?;
        cursors::enter(transaction, id, self.device, sequence)?;
        let header = v1::InboxEntry {
            conversation: id.to_bytes(),
            generation: before.generation,
            head: sequence,
            account: account.to_bytes(),
            ..v1::InboxEntry::default()
        };
        let deliveries = inbox::welcome(transaction, id, header, &self.welcomes)?;
        cursors::settle_floor(transaction, id)?;
        let mut members = members::members(transaction, id)?;
        members.extend(&self.remove);
        Ok(Committed { entry, members, deliveries })
    }
}

/// How the conversation stands before the commit.
struct State {
    generation: u32,
    epoch: u64,
    head: u64,
    is_pair: bool,
}

impl State {
    fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self { generation: row.get(0)?, epoch: row.get(1)?, head: row.get(2)?, is_pair: row.get(3)? })
    }

    /// Takes out whom the owner removes, and lets in whom a member adds.
    fn change_members(&self, transaction: &Transaction<'_>, commit: &Commit) -> Result<(), StoreError> {
        let (account, id) = (commit.account, commit.conversation);
        if commit.add.is_empty() && commit.remove.is_empty() {
            return Ok(());
        }
        if self.is_pair {
            return Err(StoreError::Forbidden);
        }
        // An owner who goes leaves: the commit is of a group that it is in.
        let removes = !commit.remove.is_empty();
        if removes && (members::owner(transaction, id)? != Some(account) || commit.remove.contains(&account)) {
            return Err(StoreError::Forbidden);
        }
        for added in &commit.add {
            if !members::may_write(transaction, account, *added)? {
                return Err(StoreError::Forbidden);
            }
        }
        for removed in &commit.remove {
            if !members::is_member(transaction, *removed, id)? {
                return Err(StoreError::Conflict);
            }
            members::part(transaction, *removed, id)?;
        }
        for added in &commit.add {
            if commit.remove.contains(added) || members::is_member(transaction, *added, id)? {
                return Err(StoreError::Conflict);
            }
            members::join(transaction, *added, id, self.head + 1)?;
        }
        if members::count(transaction, id)? > GROUP_MEMBERS_MAX { Err(StoreError::LimitReached) } else { Ok(()) }
    }
}
