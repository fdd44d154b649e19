//! What the exchange asks the store, and what it may hear: one question is one store verb, in one transaction.
//!
//! All fields have been checked against the limits of the protocol before a question leaves.

use ahoy_proto::{AccountId, ConversationId, DeviceId, Name, UnixTime, v1};
use bytes::Bytes;

/// Names a question until its answer is back. Unique within a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueryId(pub u64);

/// One store verb. `account` and `device` are those that ask, unless it says otherwise.
#[derive(Debug, Clone, PartialEq)]
pub enum Question {
    /// Exact look-up. Answer: `Accounts` with one, or `NotFound`.
    FindAccount {
        /// The name.
        name: Name,
    },
    /// Listed accounts whose names begin so, by name. Answer: `Accounts`, at most `SEARCH_RESULTS_MAX`.
    SearchDirectory {
        /// Lower case, of characters that names are made of, at least `SEARCH_PREFIX_MIN`.
        prefix: String,
    },
    /// Takes note of a device's state serial and of the day. Answer: `Devices`, `StateTooOld` when the serial is not above
    /// the last one, `NotFound`.
    CheckIn {
        /// The asking account.
        account: AccountId,
        /// The asking device.
        device: DeviceId,
        /// One more than the device's last.
        serial: u64,
        /// The day.
        today: Day,
    },
    /// Answer: `Devices`.
    ListDevices {
        /// The asking account.
        account: AccountId,
        /// For how long ago the others were seen.
        today: Day,
    },
    /// The last device of an account that was there has gone. Answer: `Done`.
    MarkSeen {
        /// The account.
        account: AccountId,
        /// The day.
        today: Day,
    },
    /// Changes those settings that are there. Answer: `Settings`.
    ChangeSettings {
        /// The asking account.
        account: AccountId,
        /// Checked: known values, a mood that is not too long.
        change: v1::ChangeSettings,
    },
    /// A page of contacts, with the settings on the first. Answer: `Contacts`.
    ListContacts {
        /// The asking account.
        account: AccountId,
        /// The last contact of the page before.
        after: Option<AccountId>,
        /// For how long ago contacts were seen.
        today: Day,
    },
    /// Answer: `Contact`, `NotFound` when there is no such account, `Forbidden` when it is blocked by the asking one,
    /// `LimitReached`.
    RequestContact {
        /// The asking account.
        account: AccountId,
        /// Whom it asks.
        peer: AccountId,
        /// Sealed; may be empty.
        note: Bytes,
        /// Now.
        at: UnixTime,
    },
    /// Answer: `Contact`, or `NotFound` when that account does not ask.
    AnswerContact {
        /// The asking account.
        account: AccountId,
        /// Who asked.
        peer: AccountId,
        /// Yes or no.
        accept: bool,
        /// Now.
        at: UnixTime,
    },
    /// Answer: `Contact`, or `NotFound` when there is neither contact nor request.
    RemoveContact {
        /// The asking account.
        account: AccountId,
        /// The other.
        peer: AccountId,
    },
    /// Answer: `Contact`, `NotFound` when there is no such account, `LimitReached`.
    BlockAccount {
        /// The asking account.
        account: AccountId,
        /// The other.
        peer: AccountId,
        /// Or no longer.
        block: bool,
        /// Now.
        at: UnixTime,
    },
    /// Keeps a report for the operator. Answer: `Done`, `NotFound` when there is no such account, `LimitReached`.
    Report {
        /// The asking account.
        account: AccountId,
        /// The account complained of.
        about: AccountId,
        /// To the operator's report key.
        sealed: Bytes,
        /// Now.
        at: UnixTime,
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
        /// The asking device, whose cursors are told.
        device: DeviceId,
        /// The last conversation of the page before.
        after: Option<ConversationId>,
    },
    /// Makes a conversation with its GroupInfo, and puts the Welcomes into inboxes. Answer: `Created`, `Existing` when the
    /// pair has one, `NotFound` when there is no such peer, `Forbidden` when it is none that the asking account may write to,
    /// `AlreadyExists` when the id is taken, `Conflict` for a Welcome to a device of no member, `LimitReached`.
    CreateConversation {
        /// The asking account.
        account: AccountId,
        /// The asking device.
        device: DeviceId,
        /// The id proposed.
        conversation: ConversationId,
        /// The other member; `None`: a group of the asking account alone.
        peer: Option<AccountId>,
        /// The epoch that the group stands in.
        epoch: u64,
        /// MLS GroupInfo.
        group_info: Bytes,
        /// MLS Welcomes.
        welcomes: Vec<Welcoming>,
    },
    /// Answer: `GroupInfo`, or `NotFound` also for those who are no members.
    FetchGroupInfo {
        /// The asking account.
        account: AccountId,
        /// Which.
        conversation: ConversationId,
    },
    /// Compare-and-swap on generation and epoch; log entry, GroupInfo, Welcomes and membership together. Answer: `Committed`,
    /// `Conflict`, `NotFound`, `Forbidden` (see the schema), `LimitReached`.
    Commit(Box<Commit>),
    /// Appends a message to the log, once. Answer: `Appended`, `Repeated` when its number stands there, `Conflict` (a gap, or
    /// an epoch that is over), `NotFound`, `LimitReached`.
    SendMessage {
        /// The asking account.
        account: AccountId,
        /// The asking device.
        device: DeviceId,
        /// Which.
        conversation: ConversationId,
        /// The device's own, from 1.
        number: u64,
        /// The generation that it is sealed in.
        generation: u32,
        /// The epoch that it is sealed in.
        epoch: u64,
        /// MLS message.
        sealed: Bytes,
        /// Now.
        at_ms: u64,
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
    /// Moves the device's cursors, and forgets what nobody waits for any more. Conversations that it is not in are passed over.
    /// Answer: `Done`.
    Acknowledge {
        /// The asking device.
        device: DeviceId,
        /// Sequence number of the last inbox entry to forget; 0: none.
        inbox: u64,
        /// How far it has come in which logs; at most `LOG_MARKS_MAX`.
        logs: Vec<(ConversationId, u64)>,
    },
    /// Answer: `MemberIds`, or `NotFound` also for those who are no members.
    ListMemberIds {
        /// The asking account.
        account: AccountId,
        /// Which.
        conversation: ConversationId,
    },
    /// Answer: `Members`, or `NotFound` also for those who are no members.
    FetchMembers {
        /// The asking account.
        account: AccountId,
        /// Which.
        conversation: ConversationId,
    },
    /// Replaces the device's receipt. Answer: `ReceiptSet`, or `NotFound` also for those who are no members.
    SetReceipt {
        /// The asking account.
        account: AccountId,
        /// The asking device.
        device: DeviceId,
        /// Which.
        conversation: ConversationId,
        /// The receipt.
        sealed: Bytes,
    },
    /// A page of receipts. Answer: `Receipts`, or `NotFound` also for those who are no members.
    FetchReceipts {
        /// The asking account.
        account: AccountId,
        /// Which.
        conversation: ConversationId,
        /// Serial before the first one wanted.
        after: u64,
    },
    /// Ends a membership; an entry in the log says so. Answer: `Appended`, `NotFound` also for those who are no members,
    /// `Forbidden` for a one-to-one conversation.
    LeaveConversation {
        /// The asking account.
        account: AccountId,
        /// The asking device.
        device: DeviceId,
        /// Which.
        conversation: ConversationId,
        /// Now.
        at_ms: u64,
    },
    /// The other members of a conversation. Answer: `Callees`, or `NotFound` also for those who are no members.
    Callees {
        /// The asking account.
        account: AccountId,
        /// Which.
        conversation: ConversationId,
    },
}

/// Days since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(pub u32);

/// One MLS Welcome, and the devices that it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcoming {
    /// At least one.
    pub devices: Vec<DeviceId>,
    /// MLS Welcome.
    pub welcome: Bytes,
}

/// The next epoch of a conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Commit {
    /// The asking account.
    pub account: AccountId,
    /// The asking device.
    pub device: DeviceId,
    /// Which.
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

/// What a verb came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// It is durable.
    Done,
    /// No such thing, or not for the asking account to know.
    NotFound,
    /// Known, but not allowed.
    Forbidden,
    /// The id proposed is taken.
    AlreadyExists,
    /// The conversation has moved on.
    Conflict,
    /// A bound on what an account or device may hold has been reached.
    LimitReached,
    /// The device's state is a copy, or restored from one.
    StateTooOld,
    /// Accounts found.
    Accounts(Vec<FoundAccount>),
    /// The devices of an account.
    Devices(Vec<v1::DeviceRecord>),
    /// The settings as they are now.
    Settings(v1::SettingsChanged),
    /// A page of contacts.
    Contacts(v1::Contacts),
    /// A contact has changed.
    Contact(Box<ContactChange>),
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
        /// All who are to hear of it: members, the sender and those removed included.
        members: Vec<AccountId>,
        /// What was put into inboxes.
        deliveries: Vec<Delivery>,
    },
    /// Something stands in the log.
    Appended {
        /// Its log entry.
        entry: v1::LogEntry,
        /// All members, the sender included.
        members: Vec<AccountId>,
    },
    /// It stood in the log already.
    Repeated {
        /// The newest log entry that is kept, and all members.
        newest: Option<(Box<v1::LogEntry>, Vec<AccountId>)>,
    },
    /// A page of a log.
    LogEntries(v1::LogEntries),
    /// A page of an inbox.
    InboxEntries(v1::InboxEntries),
    /// All members, the asking one included.
    MemberIds(Vec<AccountId>),
    /// All members, by how long they have been.
    Members(v1::Members),
    /// The receipt was replaced.
    ReceiptSet {
        /// As it stands now.
        receipt: v1::Receipt,
        /// All members, the sender included.
        members: Vec<AccountId>,
    },
    /// A page of receipts.
    Receipts(v1::Receipts),
    /// The other members of a conversation.
    Callees(Vec<Callee>),
}

/// What anybody who knows a name may know of the account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundAccount {
    /// Its id.
    pub account: AccountId,
    /// Its name.
    pub name: Name,
    /// Ed25519.
    pub account_key: [u8; 32],
    /// As in `AccountFound`; empty when the account has none.
    pub request_key: Bytes,
}

/// How a contact stands after a change.
#[derive(Debug, Clone, PartialEq)]
pub struct ContactChange {
    /// As the asking account has it now.
    pub own: v1::ContactChanged,
    /// As the other account has it now; `None` when nothing is to be told there.
    pub other: Option<v1::ContactChanged>,
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
    /// What a call of the asking account comes to there.
    pub welcome: CallWelcome,
}

/// What a call comes to, as far as the store knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallWelcome {
    /// The devices ring.
    Rings,
    /// It becomes a contact request.
    BecomesRequest,
    /// It looks as if nobody were there.
    Unreachable,
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
