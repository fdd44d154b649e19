//! Contacts: how each account has others, by the table of docs/protocol.md, section 6.2.
//!
//! What an account may do is decided by its own row, what reaches it by that account's row. Where both rows are ACCEPTED the
//! two see each other; a row is ACCEPTED only beside one that is ACCEPTED or BLOCKED.

use ahoy_proto::limits::{CONTACT_REQUESTS_IN_MAX, CONTACT_REQUESTS_OUT_MAX, CONTACTS_MAX, DECLINE_LASTS};
use ahoy_proto::{AccountId, UnixTime, v1};
use bytes::Bytes;

use crate::devices::Day;
use crate::sql::{Row, Transaction, params};
use crate::verb::{Key, Verb};
use crate::{StoreError, accounts, inbox, settings};

crate::statements::statements! {
    STANDING = "SELECT state, since FROM contacts WHERE account = ?1 AND peer = ?2";
    SET = "INSERT INTO contacts (account, peer, state, since, note) VALUES (?1, ?2, ?3, ?4, ?5)
        ON CONFLICT (account, peer) DO UPDATE SET state = excluded.state, since = excluded.since, note = excluded.note";
    CLEAR = "DELETE FROM contacts WHERE account = ?1 AND peer = ?2";
    RAISE_SERIAL = "UPDATE accounts SET contacts_serial = contacts_serial + 1 WHERE account = ?1";
    COUNT = "SELECT count(*) FROM contacts WHERE account = ?1 AND state < 100";
    COUNT_IN_STATE = "SELECT count(*) FROM contacts WHERE account = ?1 AND state = ?2";
    SHOWN = "SELECT accounts.name, accounts.account_key, contacts.state, contacts.since, contacts.note,
        (SELECT contacts_serial FROM accounts WHERE account = ?1)
        FROM accounts LEFT JOIN contacts ON contacts.account = ?1 AND contacts.peer = accounts.account
        WHERE accounts.account = ?2";
    LIST = "SELECT contacts.peer, accounts.name, accounts.account_key, contacts.state, contacts.since, contacts.note,
        accounts.last_seen_day, other.state, other.since
        FROM contacts JOIN accounts ON accounts.account = contacts.peer
        LEFT JOIN contacts AS other ON other.account = contacts.peer AND other.peer = contacts.account
        WHERE contacts.account = ?1 AND contacts.peer > ?2 AND contacts.state < 100 ORDER BY contacts.peer";
    SEEN_BY = "SELECT account FROM contacts WHERE peer = ?1 AND state < 100";
    CLEAR_OWN = "DELETE FROM contacts WHERE account = ?1";
    CLEAR_OTHERS = "DELETE FROM contacts WHERE peer = ?1";
}

/// How an account has another. Stored as the number of `ahoy.v1.ContactState`; `None` is no row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    None,
    Asked,
    Asks,
    Accepted,
    Blocked,
    /// Since then. Shown as none.
    Declined(UnixTime),
}

/// Stored for [`Standing::Declined`]. Greater than every `ContactState`.
pub(crate) const DECLINED: i32 = 100;

impl Standing {
    fn read(state: i32, since: UnixTime) -> Self {
        match v1::ContactState::try_from(state) {
            Ok(v1::ContactState::Asked) => Self::Asked,
            Ok(v1::ContactState::Asks) => Self::Asks,
            Ok(v1::ContactState::Accepted) => Self::Accepted,
            Ok(v1::ContactState::Blocked) => Self::Blocked,
            Ok(v1::ContactState::Unspecified | v1::ContactState::None) => Self::None,
            Err(_) => Self::Declined(since),
        }
    }

    /// The number to store, or `None` where there is no row.
    fn stored(self) -> Option<i32> {
        match self {
            Self::None => None,
            Self::Asked => Some(v1::ContactState::Asked.into()),
            Self::Asks => Some(v1::ContactState::Asks.into()),
            Self::Accepted => Some(v1::ContactState::Accepted.into()),
            Self::Blocked => Some(v1::ContactState::Blocked.into()),
            Self::Declined(_) => Some(DECLINED),
        }
    }

    /// A refusal that has lasted long enough is none.
    fn at(self, now: UnixTime) -> Self {
        match self {
            Self::Declined(since) if since.plus(DECLINE_LASTS) <= now => Self::None,
            other => other,
        }
    }

    /// Whether the account has no row that it sees.
    fn is_unseen(self) -> bool {
        matches!(self, Self::None | Self::Declined(_))
    }
}

/// How a contact stands after a change.
#[derive(Debug, Clone, PartialEq)]
pub struct ContactChange {
    /// As the asking account has it.
    pub own: v1::ContactChanged,
    /// As the other account has it; `None` when nothing is to be told there.
    pub other: Option<v1::ContactChanged>,
}

/// Two accounts, seen from the first.
#[derive(Debug, Clone, Copy)]
struct Pair {
    own: AccountId,
    other: AccountId,
}

impl Pair {
    /// Checks that the other account can be a contact.
    fn of(transaction: &Transaction<'_>, own: AccountId, other: AccountId) -> Result<Self, StoreError> {
        if own == other {
            return Err(StoreError::Invalid);
        }
        if accounts::exists(transaction, other)? { Ok(Self { own, other }) } else { Err(StoreError::NotFound) }
    }

    fn reversed(self) -> Self {
        Self { own: self.other, other: self.own }
    }

    fn standing(self, transaction: &Transaction<'_>) -> Result<Standing, StoreError> {
        standing(transaction, self.own, self.other)
    }

    /// Changes the own row.
    fn set(self, transaction: &Transaction<'_>, to: Standing, at: UnixTime, note: &[u8]) -> Result<(), StoreError> {
        let (own, other) = (self.own.0, self.other.0);
        match to.stored() {
            Some(state) => transaction.execute(SET, params![own, other, state, at, note])?,
            None => transaction.execute(CLEAR, params![own, other])?,
        };
        raise_serial(transaction, self.own)
    }

    /// The own row as it is now, and the other one if it has `changed`.
    fn shown(self, transaction: &Transaction<'_>, changed: bool) -> Result<ContactChange, StoreError> {
        let other = if changed { Some(shown(transaction, self.reversed())?) } else { None };
        Ok(ContactChange { own: shown(transaction, self)?, other })
    }

    /// Both see each other from here on; says whether the other row changed. It does not where it is BLOCKED.
    fn accept(self, transaction: &Transaction<'_>, other: Standing, at: UnixTime) -> Result<bool, StoreError> {
        self.set(transaction, Standing::Accepted, at, &[])?;
        let changes = !matches!(other, Standing::Accepted | Standing::Blocked);
        if changes {
            self.reversed().set(transaction, Standing::Accepted, at, &[])?;
        }
        Ok(changes)
    }

    /// Puts a request before the other account, as far as it wants to hear of it; says whether it does.
    fn reach(
        self,
        transaction: &Transaction<'_>,
        other: Standing,
        at: UnixTime,
        note: &[u8],
    ) -> Result<bool, StoreError> {
        match other {
            Standing::None if !has_room_for_a_request(transaction, self.other)? => Ok(false),
            Standing::None | Standing::Asks => {
                self.reversed().set(transaction, Standing::Asks, at, note)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}

/// How an account has another.
pub(crate) fn standing(
    transaction: &Transaction<'_>,
    account: AccountId,
    peer: AccountId,
) -> Result<Standing, StoreError> {
    let standing = |row: &Row<'_>| Ok(Standing::read(row.get(0)?, row.get(1)?));
    let row = transaction.first(STANDING, params![account, peer], standing)?;
    Ok(row.unwrap_or(Standing::None))
}

fn raise_serial(transaction: &Transaction<'_>, account: AccountId) -> Result<(), StoreError> {
    transaction.execute(RAISE_SERIAL, params![account])?;
    Ok(())
}

fn count(transaction: &Transaction<'_>, account: AccountId) -> Result<usize, StoreError> {
    transaction.one(COUNT, params![account], |row| row.get(0))
}

fn count_in_state(
    transaction: &Transaction<'_>,
    account: AccountId,
    state: v1::ContactState,
) -> Result<usize, StoreError> {
    transaction.one(COUNT_IN_STATE, params![account, i32::from(state)], |row| row.get(0))
}

fn has_room_for_a_request(transaction: &Transaction<'_>, account: AccountId) -> Result<bool, StoreError> {
    Ok(count_in_state(transaction, account, v1::ContactState::Asks)? < CONTACT_REQUESTS_IN_MAX
        && count(transaction, account)? < CONTACTS_MAX)
}

/// [`StoreError::LimitReached`] when an account that does not see a row can't have another one.
fn check_room(transaction: &Transaction<'_>, account: AccountId, own: Standing) -> Result<(), StoreError> {
    let full = own.is_unseen() && count(transaction, account)? >= CONTACTS_MAX;
    if full { Err(StoreError::LimitReached) } else { Ok(()) }
}

fn shown(transaction: &Transaction<'_>, pair: Pair) -> Result<v1::ContactChanged, StoreError> {
    let contact = |row: &Row<'_>| {
        let (state, since): (Option<i32>, Option<u64>) = (row.get(2)?, row.get(3)?);
        let seen = state.filter(|state| *state < DECLINED);
        let contact = v1::Contact {
            account: pair.other.to_bytes(),
            name: row.get(0)?,
            account_key: row.get(1)?,
            state: seen.unwrap_or_else(|| v1::ContactState::None.into()),
            since: since.unwrap_or(0),
            note: row.get::<Option<Vec<u8>>>(4)?.unwrap_or_default().into(),
            last_seen: v1::LastSeen::Unspecified.into(),
        };
        Ok(v1::ContactChanged { contact: Some(contact), serial: row.get(5)? })
    };
    transaction.one(SHOWN, params![pair.own, pair.other], contact)
}

/// Asks an account to become a contact. Fails with [`StoreError::NotFound`], [`StoreError::Forbidden`] when it is blocked by
/// the asking one, or [`StoreError::LimitReached`]; whether the other side wants to hear of it does not show.
#[derive(Debug)]
pub struct RequestContact {
    /// Who asks.
    pub account: AccountId,
    /// Whom.
    pub peer: AccountId,
    /// Sealed; may be empty.
    pub note: Bytes,
    /// Now.
    pub at: UnixTime,
}

impl Verb for RequestContact {
    type Output = ContactChange;

    fn key(&self) -> Key {
        self.account.into()
    }

    fn run(&self, transaction: &Transaction<'_>) -> Result<ContactChange, StoreError> {
        let Self { account, at, ref note, .. } = *self;
        let pair = Pair::of(transaction, account, self.peer)?;
        let (own, other) = (pair.standing(transaction)?, pair.reversed().standing(transaction)?.at(at));
        let told = match own {
            Standing::Blocked => return Err(StoreError::Forbidden),
            Standing::Accepted => false,
            Standing::Asks => pair.accept(transaction, other, at)?,
            Standing::Asked => pair.reach(transaction, other, at, note)?,
            Standing::None | Standing::Declined(_) => {
                check_room(transaction, account, own)?;
                if matches!(other, Standing::Asked | Standing::Accepted) {
                    pair.accept(transaction, other, at)?
                } else {
                    let asked = count_in_state(transaction, account, v1::ContactState::Asked)?;
                    if asked >= CONTACT_REQUESTS_OUT_MAX {
                        return Err(StoreError::LimitReached);
                    }
                    pair.set(transaction, Standing::Asked, at, &[])?;
                    pair.reach(transaction, other, at, note)?
                }
            }
        };
        pair.shown(transaction, told)
    }
}

/// Says yes or no to an account that asks; [`StoreError::NotFound`] when it does not.
#[derive(Debug)]
pub struct AnswerContact {
    /// Who answers.
    pub account: AccountId,
    /// Who asked.
    pub peer: AccountId,
    /// Yes or no.
    pub accept: bool,
    /// Now.
    pub at: UnixTime,
}

impl Verb for AnswerContact {
    type Output = ContactChange;

    fn key(&self) -> Key {
        self.account.into()
    }

    fn run(&self, transaction: &Transaction<'_>) -> Result<ContactChange, StoreError> {
        let pair = Pair::of(transaction, self.account, self.peer)?;
        if pair.standing(transaction)? != Standing::Asks {
            return Err(StoreError::NotFound);
        }
        let told = if self.accept {
            let other = pair.reversed().standing(transaction)?;
            pair.accept(transaction, other, self.at)?
        } else {
            pair.set(transaction, Standing::Declined(self.at), self.at, &[])?;
            false
        };
        pair.shown(transaction, told)
    }
}

/// Ends a contact on both sides, or withdraws a request; [`StoreError::NotFound`] when there is neither.
#[derive(Debug)]
pub struct RemoveContact {
    /// Who ends it.
    pub account: AccountId,
    /// With whom.
    pub peer: AccountId,
}

impl Verb for RemoveContact {
    type Output = ContactChange;

    fn key(&self) -> Key {
        self.account.into()
    }

    fn run(&self, transaction: &Transaction<'_>) -> Result<ContactChange, StoreError> {
        let pair = Pair::of(transaction, self.account, self.peer)?;
        if !matches!(pair.standing(transaction)?, Standing::Asked | Standing::Accepted) {
            return Err(StoreError::NotFound);
        }
        let never = UnixTime(0);
        pair.set(transaction, Standing::None, never, &[])?;
        let told = matches!(pair.reversed().standing(transaction)?, Standing::Asks | Standing::Accepted);
        if told {
            pair.reversed().set(transaction, Standing::None, never, &[])?;
        }
        pair.shown(transaction, told)
    }
}

/// Blocks an account, or no longer. Fails with [`StoreError::NotFound`] when there is no such account, or
/// [`StoreError::LimitReached`].
#[derive(Debug)]
pub struct BlockAccount {
    /// Who blocks.
    pub account: AccountId,
    /// Whom.
    pub peer: AccountId,
    /// Or no longer.
    pub block: bool,
    /// Now.
    pub at: UnixTime,
}

impl Verb for BlockAccount {
    type Output = ContactChange;

    fn key(&self) -> Key {
        self.account.into()
    }

    fn run(&self, transaction: &Transaction<'_>) -> Result<ContactChange, StoreError> {
        let pair = Pair::of(transaction, self.account, self.peer)?;
        let own = pair.standing(transaction)?;
        if self.block == (own == Standing::Blocked) {
            return pair.shown(transaction, false);
        }
        let other = pair.reversed().standing(transaction)?;
        if !self.block {
            let again = if other == Standing::Accepted { Standing::Accepted } else { Standing::None };
            pair.set(transaction, again, self.at, &[])?;
            return pair.shown(transaction, false);
        }
        check_room(transaction, self.account, own)?;
        pair.set(transaction, Standing::Blocked, self.at, &[])?;
        let withdrawn = other == Standing::Asks;
        if withdrawn {
            pair.reversed().set(transaction, Standing::None, self.at, &[])?;
        }
        pair.shown(transaction, withdrawn)
    }
}

/// A page of contacts in the order of their ids, with the settings on the first.
#[derive(Debug)]
pub struct ListContacts {
    /// Whose.
    pub account: AccountId,
    /// The last contact of the page before.
    pub after: Option<AccountId>,
    /// For how long ago contacts were seen.
    pub today: Day,
}

impl Verb for ListContacts {
    type Output = v1::Contacts;

    fn key(&self) -> Key {
        self.account.into()
    }

    fn run(&self, transaction: &Transaction<'_>) -> Result<v1::Contacts, StoreError> {
        let v1::SettingsChanged { settings, serial } = settings::settings(transaction, self.account)?;
        // Every id is greater than the empty string of bytes.
        let after = self.after.map_or(Vec::new(), |id| id.0.to_vec());
        let (contacts, more) =
            inbox::page(transaction, LIST, params![self.account, after], |row| listed(row, self.today))?;
        Ok(v1::Contacts { contacts, more, serial, settings: settings.filter(|_| self.after.is_none()) })
    }
}

fn listed(row: &Row<'_>, today: Day) -> Result<v1::Contact, StoreError> {
    let state = row.get(3)?;
    let last_seen = if state == i32::from(v1::ContactState::Accepted) {
        today.last_seen(Day(row.get::<u32>(6)?.min(blocked_on(row)?)))
    } else {
        v1::LastSeen::Unspecified
    };
    Ok(v1::Contact {
        account: row.get(0)?,
        name: row.get(1)?,
        account_key: row.get(2)?,
        state,
        since: row.get(4)?,
        note: row.get(5)?,
        last_seen: last_seen.into(),
    })
}

/// The day on which the contact blocked the asking account: for all that it may know, the contact was not there after it.
fn blocked_on(row: &Row<'_>) -> Result<u32, StoreError> {
    let (state, since): (Option<i32>, Option<u64>) = (row.get(7)?, row.get(8)?);
    let blocks = state == Some(v1::ContactState::Blocked.into());
    Ok(since.filter(|_| blocks).map_or(u32::MAX, |since| Day::of(UnixTime(since)).0))
}

/// Takes an account out of everybody's contacts, and says what those who saw it have now.
pub(crate) fn forget(
    transaction: &Transaction<'_>,
    account: AccountId,
) -> Result<Vec<(AccountId, v1::ContactChanged)>, StoreError> {
    let seen_by: Vec<AccountId> = transaction.all(SEEN_BY, params![account], |row| row.get(0))?;
    transaction.execute(CLEAR_OWN, params![account])?;
    transaction.execute(CLEAR_OTHERS, params![account])?;
    let mut told = Vec::with_capacity(seen_by.len());
    for own in seen_by {
        raise_serial(transaction, own)?;
        told.push((own, shown(transaction, Pair { own, other: account })?));
    }
    Ok(told)
}
