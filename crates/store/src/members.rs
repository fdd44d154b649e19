//! Who is in which conversation, and since when. The owner of a group is the member of longest standing.

use ahoy_proto::limits::CONVERSATIONS_MAX;
use ahoy_proto::{AccountId, ConversationId, DeviceId, v1};
use bytes::Bytes;

use crate::contacts::{self, Standing};
use crate::log::{self, Appended};
use crate::sql::{Row, Transaction, params};
use crate::verb::{Key, Verb};
use crate::{StoreError, conversations, cursors, receipts};

crate::statements::statements! {
    IS_MEMBER = "SELECT 1 FROM members WHERE account = ?1 AND conversation = ?2";
    MEMBERS = "SELECT account FROM members WHERE conversation = ?1 ORDER BY since, account";
    OWNER = "SELECT account FROM members WHERE conversation = ?1 ORDER BY since, account LIMIT 1";
    COUNT = "SELECT count(*) FROM members WHERE conversation = ?1";
    DESCRIBED = "SELECT members.account, accounts.name, accounts.account_key, members.since
        FROM members JOIN accounts ON accounts.account = members.account
        WHERE members.conversation = ?1 ORDER BY members.since, members.account";
    CALLEES = "SELECT members.account, accounts.calls_from, own.state, theirs.state
        FROM members JOIN accounts ON accounts.account = members.account
        LEFT JOIN contacts AS own ON own.account = ?2 AND own.peer = members.account
        LEFT JOIN contacts AS theirs ON theirs.account = members.account AND theirs.peer = ?2
        WHERE members.conversation = ?1 AND members.account <> ?2 ORDER BY members.since, members.account";
    CALLS_FROM = "SELECT calls_from FROM accounts WHERE account = ?1";
    AT_LIMIT = "SELECT 1 FROM members WHERE account = ?1 LIMIT 1 OFFSET ?2";
    JOIN = "INSERT INTO members (account, conversation, since) VALUES (?1, ?2, ?3)";
    PART = "DELETE FROM members WHERE account = ?1 AND conversation = ?2";
    STATE = "SELECT generation, epoch, head FROM conversations WHERE conversation = ?1";
    DEPARTED = "UPDATE conversations SET head = ?2 WHERE conversation = ?1";
}

/// All members, by how long they have been.
pub(crate) fn members(transaction: &Transaction<'_>, id: ConversationId) -> Result<Vec<AccountId>, StoreError> {
    transaction.all(MEMBERS, params![id], |row| row.get(0))
}

/// How many members there are.
pub(crate) fn count(transaction: &Transaction<'_>, id: ConversationId) -> Result<usize, StoreError> {
    transaction.one(COUNT, params![id], |row| row.get(0))
}

/// Who may take others out; `None` where nobody is in.
pub(crate) fn owner(transaction: &Transaction<'_>, id: ConversationId) -> Result<Option<AccountId>, StoreError> {
    transaction.first(OWNER, params![id], |row| row.get(0))
}

/// Whether the account is a member.
pub(crate) fn is_member(
    transaction: &Transaction<'_>,
    account: AccountId,
    id: ConversationId,
) -> Result<bool, StoreError> {
    transaction.exists(IS_MEMBER, params![account, id])
}

/// [`StoreError::NotFound`] for those who are no members: they learn nothing.
pub(crate) fn check_member(
    transaction: &Transaction<'_>,
    account: AccountId,
    id: ConversationId,
) -> Result<(), StoreError> {
    if is_member(transaction, account, id)? { Ok(()) } else { Err(StoreError::NotFound) }
}

/// Makes the account a member from a log entry on; [`StoreError::LimitReached`] when it is in too many conversations.
pub(crate) fn join(
    transaction: &Transaction<'_>,
    account: AccountId,
    id: ConversationId,
    since: u64,
) -> Result<(), StoreError> {
    if transaction.exists(AT_LIMIT, params![account, CONVERSATIONS_MAX - 1])? {
        return Err(StoreError::LimitReached);
    }
    transaction.execute(JOIN, params![account, id, since])?;
    Ok(())
}

/// Ends a membership, with all that the account's devices have in the conversation. The floor is the caller's to settle.
pub(crate) fn part(transaction: &Transaction<'_>, account: AccountId, id: ConversationId) -> Result<(), StoreError> {
    transaction.execute(PART, params![account, id])?;
    cursors::drop_of_account(transaction, id, account)?;
    receipts::drop_of_account(transaction, id, account)
}

/// Whether an account may draw another into a conversation: that one is its contact, or takes calls from anyone. The other's
/// own contacts don't count, so that a block does not show.
pub(crate) fn may_write(
    transaction: &Transaction<'_>,
    account: AccountId,
    peer: AccountId,
) -> Result<bool, StoreError> {
    let calls_from: Option<i32> = transaction.first(CALLS_FROM, params![peer], |row| row.get(0))?;
    let Some(calls_from) = calls_from else { return Ok(false) };
    Ok(calls_from == i32::from(v1::CallsFrom::Anyone)
        || contacts::standing(transaction, account, peer)? == Standing::Accepted)
}

/// All members of a conversation, for a member.
#[derive(Debug)]
pub struct ListMemberIds {
    /// Who asks.
    pub account: AccountId,
    /// The conversation.
    pub conversation: ConversationId,
}

impl Verb for ListMemberIds {
    type Output = Vec<AccountId>;

    fn key(&self) -> Key {
        self.conversation.into()
    }

    fn run(&self, transaction: &Transaction<'_>) -> Result<Vec<AccountId>, StoreError> {
        check_member(transaction, self.account, self.conversation)?;
        members(transaction, self.conversation)
    }
}

/// All members with their names and keys, the owner first, for a member.
#[derive(Debug)]
pub struct FetchMembers {
    /// Who asks.
    pub account: AccountId,
    /// The conversation.
    pub conversation: ConversationId,
}

impl Verb for FetchMembers {
    type Output = v1::Members;

    fn key(&self) -> Key {
        self.conversation.into()
    }

    fn run(&self, transaction: &Transaction<'_>) -> Result<v1::Members, StoreError> {
        check_member(transaction, self.account, self.conversation)?;
        let member = |row: &Row<'_>| {
            Ok(v1::Member { account: row.get(0)?, name: row.get(1)?, account_key: row.get(2)?, since: row.get(3)? })
        };
        let members = transaction.all(DESCRIBED, params![self.conversation], member)?;
        Ok(v1::Members { conversation: self.conversation.to_bytes(), members })
    }
}

/// Ends a membership of a group; an entry in the log says so. A group that nobody is in is gone. Fails with
/// [`StoreError::NotFound`] for those who are no members, [`StoreError::Forbidden`] for a one-to-one conversation.
#[derive(Debug)]
pub struct LeaveConversation {
    /// Who leaves.
    pub account: AccountId,
    /// On which device.
    pub device: DeviceId,
    /// The conversation.
    pub conversation: ConversationId,
    /// Now.
    pub at_ms: u64,
}

impl Verb for LeaveConversation {
    type Output = Appended;

    fn key(&self) -> Key {
        self.conversation.into()
    }

    fn run(&self, transaction: &Transaction<'_>) -> Result<Appended, StoreError> {
        check_member(transaction, self.account, self.conversation)?;
        if conversations::is_pair(transaction, self.conversation)? {
            return Err(StoreError::Forbidden);
        }
        let device = self.device.to_bytes();
        let mut departed = depart(transaction, self.account, device, self.conversation, self.at_ms)?;
        departed.members.push(self.account);
        Ok(departed)
    }
}

/// Takes a member out of a group, and says so in the log; gives those who remain. `device` is empty where the account is gone.
pub(crate) fn depart(
    transaction: &Transaction<'_>,
    account: AccountId,
    device: Bytes,
    id: ConversationId,
    at_ms: u64,
) -> Result<Appended, StoreError> {
    let state = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    let (generation, epoch, head): (u32, u64, u64) = transaction.one(STATE, params![id], state)?;
    let entry = v1::LogEntry {
        conversation: id.to_bytes(),
        sequence: head + 1,
        generation,
        epoch,
        device,
        account: account.to_bytes(),
        at_ms,
        body: Some(v1::log_entry::Body::Departed(account.to_bytes())),
        added: Vec::new(),
        removed: Vec::new(),
    };
    part(transaction, account, id)?;
    let members = members(transaction, id)?;
    if members.is_empty() {
        conversations::forget(transaction, id)?;
    } else {
        transaction.execute(DEPARTED, params![id, entry.sequence])?;
        // Nobody pays for it: leaving is always possible.
        log::append(transaction, id, &entry, None)?;
        cursors::settle_floor(transaction, id)?;
    }
    Ok(Appended { entry, members })
}

/// Somebody who can be called.
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

    fn key(&self) -> Key {
        self.conversation.into()
    }

    fn run(&self, transaction: &Transaction<'_>) -> Result<Vec<Callee>, StoreError> {
        check_member(transaction, self.account, self.conversation)?;
        let callee = |row: &Row<'_>| {
            let calls_from = v1::CallsFrom::try_from(row.get::<i32>(1)?).unwrap_or(v1::CallsFrom::Nobody);
            Ok(Callee { account: row.get(0)?, welcome: welcome(calls_from, row.get(2)?, row.get(3)?) })
        };
        transaction.all(CALLEES, params![self.conversation, self.account], callee)
    }
}

/// What a call comes to, by what the one called has set and by how each has the other. Somebody who is blocked sees what a
/// stranger would, or, as a contact, what is to be seen when nobody is there.
fn welcome(calls_from: v1::CallsFrom, callers: Option<i32>, callees: Option<i32>) -> CallWelcome {
    let is = |row: Option<i32>, state: v1::ContactState| row == Some(state.into());
    let trusts = is(callers, v1::ContactState::Accepted);
    let blocked = is(callees, v1::ContactState::Blocked);
    match calls_from {
        v1::CallsFrom::Nobody => CallWelcome::Unreachable,
        v1::CallsFrom::Anyone if blocked => CallWelcome::Unreachable,
        v1::CallsFrom::Anyone => CallWelcome::Rings,
        _ if is(callees, v1::ContactState::Accepted) => CallWelcome::Rings,
        _ if trusts => CallWelcome::Unreachable,
        _ => CallWelcome::BecomesRequest,
    }
}
