//! Accounts, the log of their keys, and what only the authority asks about them.

use ahoy_proto::limits::SEARCH_RESULTS_MAX;
use ahoy_proto::{AccountId, Name, UnixTime, v1};
use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::devices::{self, Device};
use crate::invites::{self, Admission};
use crate::sql::{Row, Transaction, params};
use crate::verb::{Key, Verb};
use crate::{StoreError, lists};

crate::statements::statements! {
    BY_NAME = "SELECT account, name, account_key, opaque_record, sealed_account_key, recovery_verifier,
        recovery_sealed_account_key, suspended FROM accounts WHERE name = ?1";
    BY_ID = "SELECT account, name, account_key, opaque_record, sealed_account_key, recovery_verifier,
        recovery_sealed_account_key, suspended FROM accounts WHERE account = ?1";
    FIND = "SELECT account, name, account_key, request_key FROM accounts WHERE name = ?1";
    SEARCH = "SELECT account, name, account_key, request_key FROM accounts
        WHERE listed = 1 AND name >= ?1 AND name < ?2 AND suspended = 0 ORDER BY name LIMIT ?3";
    EXISTS = "SELECT 1 FROM accounts WHERE account = ?1";
    NAME_TAKEN = "SELECT 1 FROM accounts WHERE name = ?1";
    NAME_KEPT = "SELECT 1 FROM departed_names WHERE name = ?1 AND until > ?2";
    INSERT = "INSERT INTO accounts (account, name, account_key, opaque_record, sealed_account_key, recovery_verifier,
        recovery_sealed_account_key, calls_from, suspended, made_at, request_key)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0, ?9, ?10)";
    BEGIN_USAGE = "INSERT INTO usage (account, bytes) VALUES (?1, 0)";
    LOG_HEAD = "SELECT sequence, head FROM account_key_log WHERE sequence = (SELECT max(sequence) FROM account_key_log)";
    LOG_APPEND = "INSERT INTO account_key_log (sequence, account, account_key, at, head) VALUES (?1, ?2, ?3, ?4, ?5)";
    SET_REQUEST_KEY = "UPDATE accounts SET request_key = ?2 WHERE account = ?1";
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

fn account(row: &Row<'_>) -> Result<Account, StoreError> {
    Ok(Account {
        account: row.get(0)?,
        name: name(row, 1)?,
        account_key: row.get(2)?,
        opaque_record: row.get(3)?,
        sealed_account_key: row.get(4)?,
        recovery: Recovery { verifier: row.get(5)?, sealed_account_key: row.get(6)? },
        suspended: row.get(7)?,
    })
}

pub(crate) fn name(row: &Row<'_>, column: usize) -> Result<Name, StoreError> {
    Name::parse(&row.get::<String>(column)?).map_err(|error| {
        tracing::error!(%error, "the database holds a name that is none");
        StoreError::Unavailable
    })
}

/// The account of a name, if there is one.
#[derive(Debug)]
pub struct AccountByName {
    /// The name.
    pub name: Name,
}

impl Verb for AccountByName {
    type Output = Option<Account>;

    fn key(&self) -> Key {
        (&self.name).into()
    }

    fn run(&self, transaction: &Transaction<'_>) -> Result<Option<Account>, StoreError> {
        transaction.first(BY_NAME, params![self.name.as_str()], account)
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

    fn key(&self) -> Key {
        self.account.into()
    }

    fn run(&self, transaction: &Transaction<'_>) -> Result<Account, StoreError> {
        transaction.one(BY_ID, params![self.account], account)
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
    /// As in `ahoy.v1.AccountFound`; empty when the account has none.
    pub request_key: Bytes,
}

fn found_account(row: &Row<'_>) -> Result<FoundAccount, StoreError> {
    let request_key = row.get::<Option<Vec<u8>>>(3)?.unwrap_or_default().into();
    Ok(FoundAccount { account: row.get(0)?, name: name(row, 1)?, account_key: row.get(2)?, request_key })
}

/// Exact look-up by name, or [`StoreError::NotFound`].
#[derive(Debug)]
pub struct FindAccount {
    /// The name.
    pub name: Name,
}

impl Verb for FindAccount {
    type Output = FoundAccount;

    fn key(&self) -> Key {
        (&self.name).into()
    }

    fn run(&self, transaction: &Transaction<'_>) -> Result<FoundAccount, StoreError> {
        transaction.one(FIND, params![self.name.as_str()], found_account)
    }
}

/// Listed accounts whose names begin so, by name; at most [`SEARCH_RESULTS_MAX`].
#[derive(Debug)]
pub struct SearchDirectory {
    /// Of characters that names are made of, not empty.
    pub prefix: String,
}

impl Verb for SearchDirectory {
    type Output = Vec<FoundAccount>;

    fn key(&self) -> Key {
        Key::of_text(&self.prefix)
    }

    fn run(&self, transaction: &Transaction<'_>) -> Result<Vec<FoundAccount>, StoreError> {
        // Names are ASCII: all that begin with the prefix stand below the prefix whose last character is one higher.
        let last = self.prefix.bytes().last().filter(|_| self.prefix.is_ascii()).ok_or(StoreError::Invalid)?;
        let end = format!("{}{}", &self.prefix[..self.prefix.len() - 1], char::from(last + 1));
        transaction.all(SEARCH, params![self.prefix, end, SEARCH_RESULTS_MAX], found_account)
    }
}

/// Whether there is such an account.
pub(crate) fn exists(transaction: &Transaction<'_>, account: AccountId) -> Result<bool, StoreError> {
    transaction.exists(EXISTS, params![account])
}

/// Length of a request key: X25519 and its signature.
const REQUEST_KEY_LENGTH: usize = 32 + 64;

/// Keeps the key that contact requests to an account are sealed to, in the place of any other. [`StoreError::Invalid`] when
/// it has not the length of one.
#[derive(Debug)]
pub struct SetRequestKey {
    /// Whose.
    pub account: AccountId,
    /// X25519, then the account key's signature.
    pub request_key: Vec<u8>,
}

impl Verb for SetRequestKey {
    type Output = ();

    fn key(&self) -> Key {
        self.account.into()
    }

    fn run(&self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        if self.request_key.len() != REQUEST_KEY_LENGTH {
            return Err(StoreError::Invalid);
        }
        let key = params![self.account, self.request_key];
        found(transaction.execute(SET_REQUEST_KEY, key)?)
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
    /// X25519, then the account key's signature; `None`: the account takes no notes.
    pub request_key: Option<Vec<u8>>,
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
/// [`StoreError::NameTaken`], [`StoreError::InviteRefused`], [`StoreError::AlreadyExists`] (the device id) or
/// [`StoreError::Invalid`] (the length of the request key).
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

    /// With all others: each extends the one account key log.
    fn key(&self) -> Key {
        Key::REST
    }

    fn run(&self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        let new = &self.account;
        if new.request_key.as_ref().is_some_and(|key| key.len() != REQUEST_KEY_LENGTH) {
            return Err(StoreError::Invalid);
        }
        invites::use_up(transaction, self.admission, self.invite, self.at)?;
        if name_taken(transaction, &new.name, self.at)? {
            return Err(StoreError::NameTaken);
        }
        transaction.execute(
            INSERT,
            params![
                new.account,
                new.name.as_str(),
                new.account_key,
                new.opaque_record,
                new.sealed_account_key,
                new.recovery.verifier,
                new.recovery.sealed_account_key,
                v1::CallsFrom::Contacts as i32,
                self.at,
                new.request_key,
            ],
        )?;
        // Made here, for the first messages of many would be in each other's way: the row of each stands beside the others'.
        transaction.execute(BEGIN_USAGE, params![new.account])?;
        append_to_key_log(transaction, new.account, &new.account_key, self.at)?;
        devices::insert(transaction, new.account, &self.device, self.at)
    }
}

/// Whether an account has this name, or had it lately.
pub(crate) fn name_taken(transaction: &Transaction<'_>, name: &Name, at: UnixTime) -> Result<bool, StoreError> {
    Ok(transaction.exists(NAME_TAKEN, params![name.as_str()])?
        || transaction.exists(NAME_KEPT, params![name.as_str(), at])?)
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
    fn run(&self, transaction: &Transaction<'_>) -> Result<KeyLogHead, StoreError> {
        let head = |row: &Row<'_>| Ok(KeyLogHead { sequence: row.get(0)?, head: row.get(1)? });
        let newest = transaction.first(LOG_HEAD, params![], head)?;
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
    transaction.execute(LOG_APPEND, params![sequence, account, account_key, at, head])?;
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

    fn key(&self) -> Key {
        self.account.into()
    }

    fn run(&self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        if (AccountOf { account: self.account }).run(transaction)?.opaque_record != self.old_record {
            return Err(StoreError::Conflict);
        }
        let id = self.account.0;
        let password = params![id, self.opaque_record, self.sealed_account_key];
        transaction.execute(SET_PASSWORD, password)?;
        if let Some(recovery) = &self.recovery {
            let recovery = params![id, recovery.verifier, recovery.sealed_account_key];
            transaction.execute(SET_RECOVERY, recovery)?;
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

    fn key(&self) -> Key {
        self.account.into()
    }

    fn run(&self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        let changed = transaction.execute(SET_SUSPENDED, params![self.account, self.suspended])?;
        found(changed)?;
        if self.suspended { lists::revoke_account(transaction, self.account, self.at) } else { Ok(()) }
    }
}

pub(crate) fn found(rows: usize) -> Result<(), StoreError> {
    if rows == 0 { Err(StoreError::NotFound) } else { Ok(()) }
}
