//! Accounts, the log of their keys, and what only the authority asks about them.

use ahoy_proto::{AccountId, Name, UnixTime, v1};
use rusqlite::{OptionalExtension, Row, params};
use sha2::{Digest, Sha256};

use crate::batch::{Transaction, Verb};
use crate::devices::{self, Device};
use crate::invites::{self, Admission};
use crate::{StoreError, lists};

crate::statements::statements! {
    BY_NAME = "SELECT account, name, account_key, opaque_record, sealed_account_key, recovery_verifier,
        recovery_sealed_account_key, suspended FROM accounts WHERE name = ?1";
    BY_ID = "SELECT account, name, account_key, opaque_record, sealed_account_key, recovery_verifier,
        recovery_sealed_account_key, suspended FROM accounts WHERE account = ?1";
    FIND = "SELECT account, name, account_key FROM accounts WHERE name = ?1";
    NAME_TAKEN = "SELECT 1 FROM accounts WHERE name = ?1";
    INSERT = "INSERT INTO accounts (account, name, account_key, opaque_record, sealed_account_key, recovery_verifier,
        recovery_sealed_account_key, calls_from, suspended, made_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0, ?9)";
    LOG_HEAD = "SELECT sequence, head FROM account_key_log WHERE sequence = (SELECT max(sequence) FROM account_key_log)";
    LOG_APPEND = "INSERT INTO account_key_log (sequence, account, account_key, at, head) VALUES (?1, ?2, ?3, ?4, ?5)";
    SET_CALLS_FROM = "UPDATE accounts SET calls_from = ?2 WHERE account = ?1";
    SET_PASSWORD = "UPDATE accounts SET opaque_record = ?2, sealed_account_key = ?3 WHERE account = ?1";
    SET_RECOVERY = "UPDATE accounts SET recovery_verifier = ?2, recovery_sealed_account_key = ?3 WHERE account = ?1";
    SET_SUSPENDED = "UPDATE accounts SET suspended = ?2 WHERE account = ?1";
}

/// An account as the authority keeps it.
#[derive(Clone)]
pub struct Account {
    /// Its id.
    pub account: AccountId,
    /// Its name.
    pub name: Name,
    /// Ed25519, public.
    pub account_key: [u8; 32],
    /// OPAQUE's registration record.
    pub opaque_record: Vec<u8>,
    /// Sealed under the export key.
    pub sealed_account_key: Vec<u8>,
    /// The way in without the password.
    pub recovery: Recovery,
    /// By the operator.
    pub suspended: bool,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account").field("account", &self.account).finish_non_exhaustive()
    }
}

/// What is kept so that a recovery code works.
#[derive(Clone)]
pub struct Recovery {
    /// SHA-256 of the recovery secret.
    pub verifier: [u8; 32],
    /// The account key, sealed under the recovery code.
    pub sealed_account_key: Vec<u8>,
}

impl std::fmt::Debug for Recovery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Recovery")
    }
}

fn account(row: &Row<'_>) -> rusqlite::Result<Account> {
    Ok(Account {
        account: AccountId(row.get(0)?),
        name: name(row, 1)?,
        account_key: row.get(2)?,
        opaque_record: row.get(3)?,
        sealed_account_key: row.get(4)?,
        recovery: Recovery { verifier: row.get(5)?, sealed_account_key: row.get(6)? },
        suspended: row.get(7)?,
    })
}

fn name(row: &Row<'_>, column: usize) -> rusqlite::Result<Name> {
    let text: String = row.get(column)?;
    let wrong = |error| rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error));
    Name::parse(&text).map_err(wrong)
}

/// The account of a name, if there is one.
#[derive(Debug)]
pub struct AccountByName {
    /// The name.
    pub name: Name,
}

impl Verb for AccountByName {
    type Output = Option<Account>;
    fn run(self, transaction: &Transaction<'_>) -> Result<Option<Account>, StoreError> {
        let mut statement = transaction.0.prepare_cached(BY_NAME)?;
        Ok(statement.query_row([self.name.as_str()], account).optional()?)
    }
}

/// The account of an id, or [`StoreError::NotFound`].
#[derive(Debug)]
pub struct AccountOf {
    /// The id.
    pub account: AccountId,
}

impl Verb for AccountOf {
    type Output = Account;
    fn run(self, transaction: &Transaction<'_>) -> Result<Account, StoreError> {
        Ok(transaction.0.prepare_cached(BY_ID)?.query_row([self.account.0], account)?)
    }
}

/// What anybody who knows a name may know of the account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundAccount {
    /// Its id.
    pub account: AccountId,
    /// Its name.
    pub name: Name,
    /// Ed25519, public.
    pub account_key: [u8; 32],
}

/// Exact look-up by name, or [`StoreError::NotFound`].
#[derive(Debug)]
pub struct FindAccount {
    /// The name.
    pub name: Name,
}

impl Verb for FindAccount {
    type Output = FoundAccount;
    fn run(self, transaction: &Transaction<'_>) -> Result<FoundAccount, StoreError> {
        let found = |row: &Row<'_>| {
            Ok(FoundAccount { account: AccountId(row.get(0)?), name: name(row, 1)?, account_key: row.get(2)? })
        };
        Ok(transaction.0.prepare_cached(FIND)?.query_row([self.name.as_str()], found)?)
    }
}

/// Who may make the account's devices ring.
#[derive(Debug)]
pub struct SetCallsFrom {
    /// Whose.
    pub account: AccountId,
    /// From now on.
    pub calls_from: v1::CallsFrom,
}

impl Verb for SetCallsFrom {
    type Output = ();
    fn run(self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        if self.calls_from == v1::CallsFrom::Unspecified {
            return Err(StoreError::Invalid);
        }
        let changed =
            transaction.0.prepare_cached(SET_CALLS_FROM)?.execute(params![self.account.0, self.calls_from as i32])?;
        found(changed)
    }
}

/// An account that is about to be made.
#[derive(Clone)]
pub struct NewAccount {
    /// Random.
    pub account: AccountId,
    /// As wished.
    pub name: Name,
    /// Ed25519, public.
    pub account_key: [u8; 32],
    /// OPAQUE's registration record.
    pub opaque_record: Vec<u8>,
    /// Sealed under the export key.
    pub sealed_account_key: Vec<u8>,
    /// The way in without the password.
    pub recovery: Recovery,
}

impl std::fmt::Debug for NewAccount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewAccount").field("account", &self.account).finish_non_exhaustive()
    }
}

/// Makes an account with its first device, uses up the invite and logs the account key. Fails with
/// [`StoreError::NameTaken`], [`StoreError::InviteRefused`] or [`StoreError::AlreadyExists`] (the device id).
#[derive(Debug)]
pub struct AddAccount {
    /// The account.
    pub account: NewAccount,
    /// Its first device.
    pub device: Device,
    /// What it takes to get in.
    pub admission: Admission,
    /// SHA-256 of the token.
    pub invite: Option<[u8; 32]>,
    /// Now.
    pub at: UnixTime,
}

impl Verb for AddAccount {
    type Output = ();
    fn run(self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        let new = self.account;
        invites::use_up(transaction, self.admission, self.invite, self.at)?;
        if name_taken(transaction, &new.name)? {
            return Err(StoreError::NameTaken);
        }
        transaction.0.prepare_cached(INSERT)?.execute(params![
            new.account.0,
            new.name.as_str(),
            new.account_key,
            new.opaque_record,
            new.sealed_account_key,
            new.recovery.verifier,
            new.recovery.sealed_account_key,
            v1::CallsFrom::Anyone as i32,
            self.at.0,
        ])?;
        append_to_key_log(transaction, new.account, &new.account_key, self.at)?;
        devices::insert(transaction, new.account, &self.device, self.at)
    }
}

pub(crate) fn name_taken(transaction: &Transaction<'_>, name: &Name) -> Result<bool, StoreError> {
    Ok(transaction.0.prepare_cached(NAME_TAKEN)?.exists([name.as_str()])?)
}

/// The newest entry of the account key log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyLogHead {
    /// Entries so far.
    pub sequence: u64,
    /// SHA-256 over the head before (32 zeros at first), sequence (8 bytes, big-endian), account, account key and time
    /// (8 bytes, big-endian).
    pub head: [u8; 32],
}

/// Asks for the newest head of the account key log.
#[derive(Debug)]
pub struct KeyLogHeadNow;

impl Verb for KeyLogHeadNow {
    type Output = KeyLogHead;
    fn run(self, transaction: &Transaction<'_>) -> Result<KeyLogHead, StoreError> {
        let head = |row: &Row<'_>| Ok(KeyLogHead { sequence: row.get(0)?, head: row.get(1)? });
        let newest = transaction.0.prepare_cached(LOG_HEAD)?.query_row([], head).optional()?;
        Ok(newest.unwrap_or(KeyLogHead { sequence: 0, head: [0; 32] }))
    }
}

fn append_to_key_log(
    transaction: &Transaction<'_>,
    account: AccountId,
    account_key: &[u8; 32],
    at: UnixTime,
) -> Result<(), StoreError> {
    let before = KeyLogHeadNow.run(transaction)?;
    let sequence = before.sequence + 1;
    let head: [u8; 32] = Sha256::new()
        .chain_update(before.head)
        .chain_update(sequence.to_be_bytes())
        .chain_update(account.0)
        .chain_update(account_key)
        .chain_update(at.0.to_be_bytes())
        .finalize()
        .into();
    transaction.0.prepare_cached(LOG_APPEND)?.execute(params![sequence, account.0, account_key, at.0, head])?;
    Ok(())
}

/// Puts a new OPAQUE record in the place of a known one; [`StoreError::Conflict`] when it has changed meanwhile.
pub struct ChangePassword {
    /// Whose.
    pub account: AccountId,
    /// The record that the change is based on.
    pub old_record: Vec<u8>,
    /// The record of the new password.
    pub opaque_record: Vec<u8>,
    /// Sealed under the new export key.
    pub sealed_account_key: Vec<u8>,
    /// A new recovery code; `None` keeps the old.
    pub recovery: Option<Recovery>,
}

impl std::fmt::Debug for ChangePassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChangePassword").field("account", &self.account).finish_non_exhaustive()
    }
}

impl Verb for ChangePassword {
    type Output = ();
    fn run(self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        if (AccountOf { account: self.account }).run(transaction)?.opaque_record != self.old_record {
            return Err(StoreError::Conflict);
        }
        let id = self.account.0;
        let password = params![id, self.opaque_record, self.sealed_account_key];
        transaction.0.prepare_cached(SET_PASSWORD)?.execute(password)?;
        if let Some(recovery) = self.recovery {
            let recovery = params![id, recovery.verifier, recovery.sealed_account_key];
            transaction.0.prepare_cached(SET_RECOVERY)?.execute(recovery)?;
        }
        Ok(())
    }
}

/// Shuts an account out, voiding every credential signed until now, or lets it in again.
#[derive(Debug)]
pub struct Suspend {
    /// Whose.
    pub account: AccountId,
    /// `false` lifts the suspension.
    pub suspended: bool,
    /// Now.
    pub at: UnixTime,
}

impl Verb for Suspend {
    type Output = ();
    fn run(self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        let changed = transaction.0.prepare_cached(SET_SUSPENDED)?.execute(params![self.account.0, self.suspended])?;
        found(changed)?;
        if self.suspended { lists::revoke_account(transaction, self.account, self.at) } else { Ok(()) }
    }
}

fn found(rows: usize) -> Result<(), StoreError> {
    if rows == 0 { Err(StoreError::NotFound) } else { Ok(()) }
}
