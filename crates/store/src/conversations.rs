//! Conversations: who is in them, the order of their commits, and the sealed state that lets a device join.

use ahoy_proto::limits::CONVERSATIONS_MAX;
use ahoy_proto::{AccountId, ConversationId, DeviceId, v1};
use bytes::Bytes;
use prost::Message;
use rusqlite::{OptionalExtension, Row, params};

use crate::batch::{Transaction, Verb};
use crate::{Delivery, StoreError, devices, inbox};

crate::statements::statements! {
    IS_MEMBER = "SELECT 1 FROM members WHERE account = ?1 AND conversation = ?2";
    MEMBERS = "SELECT account FROM members WHERE conversation = ?1 ORDER BY account";
    CALLEES = "SELECT accounts.account, accounts.calls_from FROM members JOIN accounts ON accounts.account = members.account
        WHERE members.conversation = ?1 AND members.account <> ?2 ORDER BY members.account";
    ACCOUNT_EXISTS = "SELECT 1 FROM accounts WHERE account = ?1";
    EXISTS = "SELECT 1 FROM conversations WHERE conversation = ?1";
    OF_PAIR = "SELECT conversation FROM conversations WHERE pair = ?1";
    AT_LIMIT = "SELECT 1 FROM members WHERE account = ?1 LIMIT 1 OFFSET ?2";
    INSERT = "INSERT INTO conversations (conversation, pair, generation, epoch, head, group_info) VALUES (?1, ?2, 1, ?3, 0, ?4)";
    JOIN = "INSERT INTO members (account, conversation) VALUES (?1, ?2)";
    STATE = "SELECT generation, epoch, head FROM conversations WHERE conversation = ?1";
    GROUP_INFO = "SELECT generation, epoch, head, group_info FROM conversations WHERE conversation = ?1";
    ADVANCE = "UPDATE conversations SET epoch = ?2, head = ?3, group_info = ?4 WHERE conversation = ?1";
    APPEND = "INSERT INTO log (conversation, sequence, entry) VALUES (?1, ?2, ?3)";
    LOG = "SELECT entry FROM log WHERE conversation = ?1 AND sequence > ?2 ORDER BY sequence";
    LIST = "SELECT conversations.conversation, generation, epoch, head
        FROM members JOIN conversations ON conversations.conversation = members.conversation
        WHERE members.account = ?1 AND members.conversation > ?2 ORDER BY members.conversation";
    ONE = "SELECT conversation, generation, epoch, head FROM conversations WHERE conversation = ?1";
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

/// Makes the one-to-one conversation of two accounts, or finds the one there is. Fails with [`StoreError::NotFound`] (no
/// such peer), [`StoreError::AlreadyExists`] (the id), [`StoreError::LimitReached`] or [`StoreError::Conflict`] (a Welcome
/// for a device that is of neither account, or no more).
#[derive(Debug)]
pub struct CreateConversation {
    /// Who asks.
    pub account: AccountId,
    /// On which device.
    pub device: DeviceId,
    /// The id proposed.
    pub conversation: ConversationId,
    /// The other member.
    pub peer: AccountId,
    /// The epoch that the group stands in.
    pub epoch: u64,
    /// MLS GroupInfo.
    pub group_info: Bytes,
    /// MLS Welcomes, each for one device.
    pub welcomes: Vec<(DeviceId, Bytes)>,
}

impl Verb for CreateConversation {
    type Output = Created;
    fn run(self, transaction: &Transaction<'_>) -> Result<Created, StoreError> {
        let Self { account, conversation: id, peer, group_info, .. } = self;
        let epoch = i64::try_from(self.epoch).map_err(|_| StoreError::Invalid)?;
        if peer == account || group_info.is_empty() {
            return Err(StoreError::Invalid);
        }
        if !transaction.0.prepare_cached(ACCOUNT_EXISTS)?.exists([peer.0])? {
            return Err(StoreError::NotFound);
        }
        let (first, second) = if account < peer { (account, peer) } else { (peer, account) };
        let pair = [first.0, second.0].concat();
        let of_pair = transaction.0.prepare_cached(OF_PAIR)?.query_row([&pair], |row| row.get(0)).optional()?;
        if let Some(existing) = of_pair {
            return Ok(Created::Existing { conversation: one(transaction, ConversationId(existing))? });
        }
        if transaction.0.prepare_cached(EXISTS)?.exists([id.0])? {
            return Err(StoreError::AlreadyExists);
        }
        transaction.0.prepare_cached(INSERT)?.execute(params![id.0, pair, epoch, &group_info[..]])?;
        for account in [first, second] {
            if transaction.0.prepare_cached(AT_LIMIT)?.exists(params![account.0, CONVERSATIONS_MAX - 1])? {
                return Err(StoreError::LimitReached);
            }
            transaction.0.prepare_cached(JOIN)?.execute(params![account.0, id.0])?;
        }
        let conversation = one(transaction, id)?;
        let deliveries = welcome(transaction, id, conversation.generation, &[first, second], self.welcomes)?;
        Ok(Created::New { conversation, deliveries })
    }
}

/// A page of an account's conversations, and whether there are more.
#[derive(Debug)]
pub struct ListConversations {
    /// Whose.
    pub account: AccountId,
    /// The last one of the page before.
    pub after: Option<ConversationId>,
}

impl Verb for ListConversations {
    type Output = v1::Conversations;
    fn run(self, transaction: &Transaction<'_>) -> Result<v1::Conversations, StoreError> {
        // Every id is greater than the empty string of bytes.
        let after = self.after.map_or(Vec::new(), |id| id.0.to_vec());
        let mut statement = transaction.0.prepare_cached(LIST)?;
        let mut rows = statement.query(params![self.account.0, after])?;
        let (conversations, more) = inbox::page(&mut rows, |row| conversation(transaction, row))?;
        Ok(v1::Conversations { conversations, more })
    }
}

fn one(transaction: &Transaction<'_>, id: ConversationId) -> Result<v1::Conversation, StoreError> {
    let mut statement = transaction.0.prepare_cached(ONE)?;
    let mut rows = statement.query([id.0])?;
    conversation(transaction, rows.next()?.ok_or(StoreError::NotFound)?)
}

fn conversation(transaction: &Transaction<'_>, row: &Row<'_>) -> Result<v1::Conversation, StoreError> {
    let id = ConversationId(row.get(0)?);
    let members = members(transaction, id)?.into_iter().map(AccountId::to_bytes).collect();
    let (generation, epoch, head) = (row.get(1)?, row.get(2)?, row.get(3)?);
    Ok(v1::Conversation { conversation: id.to_bytes(), generation, epoch, members, head })
}

fn members(transaction: &Transaction<'_>, id: ConversationId) -> Result<Vec<AccountId>, StoreError> {
    let mut statement = transaction.0.prepare_cached(MEMBERS)?;
    let rows = statement.query_map([id.0], |row| row.get(0).map(AccountId))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
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
    fn run(self, transaction: &Transaction<'_>) -> Result<v1::GroupInfo, StoreError> {
        check_member(transaction, self.account, self.conversation)?;
        let group_info = |row: &Row<'_>| {
            Ok(v1::GroupInfo {
                conversation: self.conversation.to_bytes(),
                generation: row.get(0)?,
                epoch: row.get(1)?,
                head: row.get(2)?,
                group_info: row.get::<_, Vec<u8>>(3)?.into(),
            })
        };
        Ok(transaction.0.prepare_cached(GROUP_INFO)?.query_row([self.conversation.0], group_info)?)
    }
}

/// A commit that was accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct Committed {
    /// Its place in the log.
    pub entry: v1::LogEntry,
    /// Whose devices are to hear of it.
    pub members: Vec<AccountId>,
    /// The Welcomes.
    pub deliveries: Vec<Delivery>,
}

/// Moves a conversation to its next epoch: [`StoreError::Conflict`] unless generation and epoch are the current ones,
/// [`StoreError::NotFound`] for those who are no members.
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
    /// MLS Welcomes, each for one device.
    pub welcomes: Vec<(DeviceId, Bytes)>,
}

impl Verb for Commit {
    type Output = Committed;
    fn run(self, transaction: &Transaction<'_>) -> Result<Committed, StoreError> {
        let id = self.conversation;
        if self.commit.is_empty() || self.group_info.is_empty() {
            return Err(StoreError::Invalid);
        }
        check_member(transaction, self.account, id)?;
        let state = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        let (generation, epoch, head): (u32, u64, u64) =
            transaction.0.prepare_cached(STATE)?.query_row([id.0], state)?;
        if (self.generation, self.epoch) != (generation, epoch) {
            return Err(StoreError::Conflict);
        }
        let entry = v1::LogEntry {
            conversation: id.to_bytes(),
            sequence: head + 1,
            generation,
            epoch,
            device: self.device.to_bytes(),
            body: Some(v1::log_entry::Body::Commit(self.commit)),
        };
        let next = params![id.0, epoch + 1, entry.sequence, &self.group_info[..]];
        transaction.0.prepare_cached(ADVANCE)?.execute(next)?;
        let log = params![id.0, entry.sequence, entry.encode_to_vec()];
        transaction.0.prepare_cached(APPEND)?.execute(log)?;
        let members = members(transaction, id)?;
        let deliveries = welcome(transaction, id, generation, &members, self.welcomes)?;
        Ok(Committed { entry, members, deliveries })
    }
}

/// A page of a conversation's log, for members.
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
    fn run(self, transaction: &Transaction<'_>) -> Result<v1::LogEntries, StoreError> {
        check_member(transaction, self.account, self.conversation)?;
        let after = i64::try_from(self.after).map_err(|_| StoreError::Invalid)?;
        let mut statement = transaction.0.prepare_cached(LOG)?;
        let mut rows = statement.query(params![self.conversation.0, after])?;
        let (entries, more) = inbox::page(&mut rows, |row| inbox::decode(&row.get::<_, Vec<u8>>(0)?))?;
        Ok(v1::LogEntries { entries, more })
    }
}

/// Somebody who can be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Callee {
    /// The account.
    pub account: AccountId,
    /// Who may make its devices ring.
    pub calls_from: v1::CallsFrom,
}

/// The other members of a conversation, for a member who wants to call them.
#[derive(Debug)]
pub struct Callees {
    /// Who asks.
    pub account: AccountId,
    /// The conversation.
    pub conversation: ConversationId,
}

impl Verb for Callees {
    type Output = Vec<Callee>;
    fn run(self, transaction: &Transaction<'_>) -> Result<Vec<Callee>, StoreError> {
        check_member(transaction, self.account, self.conversation)?;
        let callee = |row: &Row<'_>| {
            let calls_from = v1::CallsFrom::try_from(row.get::<_, i32>(1)?).unwrap_or(v1::CallsFrom::Nobody);
            Ok(Callee { account: AccountId(row.get(0)?), calls_from })
        };
        let mut statement = transaction.0.prepare_cached(CALLEES)?;
        let rows = statement.query_map(params![self.conversation.0, self.account.0], callee)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

fn check_member(transaction: &Transaction<'_>, account: AccountId, id: ConversationId) -> Result<(), StoreError> {
    let is_member = transaction.0.prepare_cached(IS_MEMBER)?.exists([account.0, id.0])?;
    if is_member { Ok(()) } else { Err(StoreError::NotFound) }
}

/// Puts Welcomes into the inboxes of devices that belong to members. Any other device is a conflict: it has been
/// revoked since its key package was claimed, and the group must not hold it.
fn welcome(
    transaction: &Transaction<'_>,
    conversation: ConversationId,
    generation: u32,
    members: &[AccountId],
    welcomes: Vec<(DeviceId, Bytes)>,
) -> Result<Vec<Delivery>, StoreError> {
    let mut deliveries = Vec::with_capacity(welcomes.len());
    for (device, welcome) in welcomes {
        let owner = devices::owner(transaction, device)?.filter(|owner| members.contains(owner));
        let account = owner.ok_or(StoreError::Conflict)?;
        let entry = v1::InboxEntry {
            sequence: 0,
            conversation: conversation.to_bytes(),
            generation,
            body: Some(v1::inbox_entry::Body::Welcome(welcome)),
        };
        deliveries.push(inbox::deliver(transaction, account, device, entry)?);
    }
    Ok(deliveries)
}
