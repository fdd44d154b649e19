//! Invites: tokens that admit one sign-up each. Only their hashes are kept.

use ahoy_proto::{Name, UnixTime};

use crate::sql::{Transaction, params};
use crate::verb::{Key, Verb};
use crate::{StoreError, accounts};

crate::statements::statements! {
    INSERT = "INSERT INTO invites (hash, admission, expires) VALUES (?1, ?2, ?3)";
    FIND = "SELECT admission FROM invites WHERE hash = ?1 AND expires >= ?2";
    USE_UP = "DELETE FROM invites WHERE hash = ?1";
    PRUNE = "DELETE FROM invites WHERE expires < ?1";
}

/// What it takes to sign up, each including those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Admission {
    /// Nothing.
    Anyone = 0,
    /// An invite.
    Invited = 1,
    /// An invite made for the operator's own accounts: any name, whatever the policy.
    Operator = 2,
}

/// Keeps an invite, and forgets those that have expired.
pub struct AddInvite {
    /// SHA-256 of the token.
    pub hash: [u8; 32],
    /// What it admits to.
    pub admission: Admission,
    /// Its last second.
    pub expires: UnixTime,
    /// Now.
    pub at: UnixTime,
}

impl std::fmt::Debug for AddInvite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AddInvite").field("admission", &self.admission).finish_non_exhaustive()
    }
}

impl Verb for AddInvite {
    type Output = ();
    fn run(&self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        transaction.execute(PRUNE, params![self.at])?;
        transaction.execute(INSERT, params![self.hash, self.admission as i32, self.expires])?;
        Ok(())
    }
}

/// Whether a sign-up would be let in as things stand: [`StoreError::NameTaken`] or [`StoreError::InviteRefused`] if not.
pub struct CheckAdmission {
    /// The name wished for.
    pub name: Name,
    /// What it takes to get in.
    pub admission: Admission,
    /// SHA-256 of the token.
    pub invite: Option<[u8; 32]>,
    /// Now.
    pub at: UnixTime,
}

impl std::fmt::Debug for CheckAdmission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CheckAdmission").field("admission", &self.admission).finish_non_exhaustive()
    }
}

impl Verb for CheckAdmission {
    type Output = ();

    fn key(&self) -> Key {
        (&self.name).into()
    }

    fn run(&self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        check(transaction, self.admission, self.invite, self.at)?;
        if accounts::name_taken(transaction, &self.name, self.at)? { Err(StoreError::NameTaken) } else { Ok(()) }
    }
}

fn check(
    transaction: &Transaction<'_>,
    admission: Admission,
    invite: Option<[u8; 32]>,
    at: UnixTime,
) -> Result<(), StoreError> {
    if admission == Admission::Anyone {
        return Ok(());
    }
    let hash = invite.ok_or(StoreError::InviteRefused)?;
    let admits: Option<i32> = transaction.first(FIND, params![hash, at], |row| row.get(0))?;
    if admits.is_some_and(|admits| admits >= admission as i32) { Ok(()) } else { Err(StoreError::InviteRefused) }
}

/// Checks the invite and forgets it, where one is needed.
pub(crate) fn use_up(
    transaction: &Transaction<'_>,
    admission: Admission,
    invite: Option<[u8; 32]>,
    at: UnixTime,
) -> Result<(), StoreError> {
    check(transaction, admission, invite, at)?;
    if let Some(hash) = invite.filter(|_| admission != Admission::Anyone) {
        transaction.execute(USE_UP, params![hash])?;
    }
    Ok(())
}
