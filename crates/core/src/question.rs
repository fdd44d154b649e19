//! What the exchange asks the store, and what it may hear: one question is one store verb, in one transaction.
//!
//! All fields have been checked against the limits of the protocol before a question leaves.

use ahoy_proto::{AccountId, ConversationId, DeviceId, Name, v1};
use bytes::Bytes;

/// Names a question until its answer is back. Unique within a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueryId(pub u64);

/// One store verb.
#[derive(Debug, Clone, PartialEq)]
pub enum Question {
    /// Exact look-up. Answer: `Account` or `NotFound`.
    FindAccount {
        /// The name.
        name: Name,
    },
    /// Answer: `Done`.
    SetCallsFrom {
        /// The asking account.
        account: AccountId,
        /// Never unspecified.
        calls_from: v1::CallsFrom,
    },
    /// Adds key packages, keeping at most `KEY_PACKAGES_MAX`. Answer: `Done`.
    PublishKeyPackages {
        /// The asking account.
        account: AccountId,
        /// The asking device.
        device: DeviceId,
        /// For one use each.
        packages: Vec<Bytes>,
        /// Replaces the one kept so far.
        last_resort: Option<Bytes>,
    },
    /// Takes one key package of every device, the last resort where there is no other. Answer: `KeyPackages` or `NotFound`.
    ClaimKeyPackages {
        /// Whose.
        account: AccountId,
    },
    /// A page of the account's conversations, in the order of their ids. Answer: `Conversations`.
    ListConversations {
        /// The asking account.
        account: AccountId,
        /// The last conversation of the page before.
        after: Option<ConversationId>,
    },
    /// Makes the conversation of a pair, with its GroupInfo, and puts the Welcomes into inboxes. Answer: `Created`,
    /// `Existing` when the pair has one, `NotFound` when there is no such peer, `AlreadyExists` when the id is taken.
    CreateConversation {
        /// The asking account.
        account: AccountId,
        /// The asking device.
        device: DeviceId,
        /// The id proposed.
        conversation: ConversationId,
        /// The other member.
        peer: AccountId,
        /// The epoch that the group stands in.
        epoch: u64,
        /// MLS GroupInfo.
        group_info: Bytes,
        /// MLS Welcomes, each for one device.
        welcomes: Vec<(DeviceId, Bytes)>,
    },
    /// Answer: `GroupInfo`, or `NotFound` also for those who are no members.
    FetchGroupInfo {
        /// The asking account.
        account: AccountId,
        /// Which.
        conversation: ConversationId,
    },
    /// Compare-and-swap on generation and epoch; log entry, GroupInfo and Welcomes together. Answer: `Committed`,
    /// `Conflict` or `NotFound`.
    Commit {
        /// The asking account.
        account: AccountId,
        /// The asking device.
        device: DeviceId,
        /// Which.
        conversation: ConversationId,
        /// The generation that the commit was made in.
        generation: u32,
        /// The epoch that the commit was made in.
        epoch: u64,
        /// MLS message.
        commit: Bytes,
        /// MLS GroupInfo of the epoch that it leads to.
        group_info: Bytes,
        /// MLS Welcomes, each for one device.
        welcomes: Vec<(DeviceId, Bytes)>,
    },
    /// A page of the log. Answer: `LogEntries`, or `NotFound` also for those who are no members.
    FetchLog {
        /// The asking account.
        account: AccountId,
        /// Which.
        conversation: ConversationId,
        /// Sequence number before the first entry wanted.
        after: u64,
    },
    /// A page of the inbox. Answer: `InboxEntries`.
    FetchInbox {
        /// The asking device.
        device: DeviceId,
        /// Sequence number before the first entry wanted.
        after: u64,
    },
    /// Forgets entries. Answer: `Done`.
    AcknowledgeInbox {
        /// The asking device.
        device: DeviceId,
        /// Sequence number of the last entry to forget.
        up_to: u64,
    },
    /// The other members of a conversation. Answer: `Callees`, or `NotFound` also for those who are no members.
    Callees {
        /// The asking account.
        account: AccountId,
        /// Which.
        conversation: ConversationId,
    },
}

/// What a verb came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// It is durable.
    Done,
    /// No such thing, or not for the asking account to know.
    NotFound,
    /// The id proposed is taken.
    AlreadyExists,
    /// The conversation has moved on.
    Conflict,
    /// A bound on what an account or device may hold has been reached.
    LimitReached,
    /// The account found.
    Account {
        /// Its id.
        account: AccountId,
        /// Its name.
        name: Name,
        /// Ed25519.
        account_key: [u8; 32],
    },
    /// One for each device.
    KeyPackages(v1::KeyPackages),
    /// The asking account's conversations.
    Conversations(v1::Conversations),
    /// The conversation was made.
    Created {
        /// As it stands now.
        conversation: v1::Conversation,
        /// What was put into inboxes.
        deliveries: Vec<Delivery>,
    },
    /// The pair has this conversation already.
    Existing {
        /// As it stands now.
        conversation: v1::Conversation,
    },
    /// The newest epoch's GroupInfo.
    GroupInfo(v1::GroupInfo),
    /// The commit stands in the log.
    Committed {
        /// Its log entry.
        entry: v1::LogEntry,
        /// All members, the sender included.
        members: Vec<AccountId>,
        /// What was put into inboxes.
        deliveries: Vec<Delivery>,
    },
    /// A page of a log.
    LogEntries(v1::LogEntries),
    /// A page of an inbox.
    InboxEntries(v1::InboxEntries),
    /// The other members of a conversation.
    Callees(Vec<Callee>),
}

/// Something that was put into a device's inbox; the device hears of it at once if it is online.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// The device's account.
    pub account: AccountId,
    /// The device.
    pub device: DeviceId,
    /// The entry.
    pub entry: v1::InboxEntry,
}

/// Somebody who can be called in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Callee {
    /// The account.
    pub account: AccountId,
    /// Whom its owner lets ring.
    pub calls_from: v1::CallsFrom,
}

/// The store could not carry out a verb; nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Its queue is full.
    #[error("the store is busy")]
    Busy,
    /// It can't read or write: disk full, file gone, thread dead.
    #[error("the store is unavailable")]
    Unavailable,
}
