//! What the authority signs as lists: revocations, and the roster (`supernodes`), each with a serial number that goes up with
//! every change.

use ahoy_proto::document::Revoked;
use ahoy_proto::{AccountId, DeviceId, UnixTime};

use crate::StoreError;
use crate::sql::{Transaction, params};
use crate::verb::Verb;

crate::statements::statements! {
    SERIAL = "SELECT serial FROM serials WHERE list = ?1";
    NEXT_SERIAL = "UPDATE serials SET serial = serial + 1 WHERE list = ?1 RETURNING serial";
    REVOKE = "INSERT INTO revocations (kind, id, at) VALUES (?1, ?2, ?3) ON CONFLICT (kind, id) DO UPDATE SET at = excluded.at";
    REVOKED = "SELECT id, at FROM revocations WHERE kind = ?1 ORDER BY id";
    PRUNE = "DELETE FROM revocations WHERE at < ?1";
}

/// What is numbered.
#[derive(Clone, Copy)]
pub(crate) enum List {
    Revocations = 1,
    Roster = 2,
    /// Signed by nobody: it numbers the reports.
    Reports = 3,
    /// Likewise: how many supernodes there have been.
    Numbers = 4,
}

#[derive(Clone, Copy)]
enum Kind {
    Device = 1,
    Account = 2,
}

/// Everything that is revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationLists {
    /// Of this state of the lists.
    pub serial: u64,
    /// Devices.
    pub devices: Vec<Revoked<DeviceId>>,
    /// Accounts.
    pub accounts: Vec<Revoked<AccountId>>,
}

/// Asks for everything that is revoked.
#[derive(Debug)]
pub struct Revocations;

impl Verb for Revocations {
    type Output = RevocationLists;
    fn run(&self, transaction: &Transaction<'_>) -> Result<RevocationLists, StoreError> {
        Ok(RevocationLists {
            serial: serial(transaction, List::Revocations)?,
            devices: revoked(transaction, Kind::Device, DeviceId)?,
            accounts: revoked(transaction, Kind::Account, AccountId)?,
        })
    }
}

/// How far the lists have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Serials {
    /// Of the revocation list.
    pub revocations: u64,
    /// Of the roster.
    pub roster: u64,
}

/// Asks for the serial numbers of the lists alone, to see whether another process has changed them.
#[derive(Debug)]
pub struct ListSerials;

impl Verb for ListSerials {
    type Output = Serials;
    fn run(&self, transaction: &Transaction<'_>) -> Result<Serials, StoreError> {
        Ok(Serials { revocations: serial(transaction, List::Revocations)?, roster: serial(transaction, List::Roster)? })
    }
}

fn revoked<Id>(
    transaction: &Transaction<'_>,
    kind: Kind,
    id: fn([u8; 16]) -> Id,
) -> Result<Vec<Revoked<Id>>, StoreError> {
    transaction.all(REVOKED, params![kind as i32], |row| Ok(Revoked { id: id(row.get(0)?), at: row.get(1)? }))
}

/// Forgets revocations from before a time: nothing signed then is valid any more.
#[derive(Debug)]
pub struct PruneRevocations {
    /// The first second to keep.
    pub before: UnixTime,
}

impl Verb for PruneRevocations {
    type Output = ();
    fn run(&self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        let pruned = transaction.execute(PRUNE, params![self.before])?;
        if pruned > 0 { raise_serial(transaction, List::Revocations) } else { Ok(()) }
    }
}

pub(crate) fn revoke_device(transaction: &Transaction<'_>, device: DeviceId, at: UnixTime) -> Result<(), StoreError> {
    revoke(transaction, Kind::Device, device.0, at)
}

pub(crate) fn revoke_account(
    transaction: &Transaction<'_>,
    account: AccountId,
    at: UnixTime,
) -> Result<(), StoreError> {
    revoke(transaction, Kind::Account, account.0, at)
}

fn revoke(transaction: &Transaction<'_>, kind: Kind, id: [u8; 16], at: UnixTime) -> Result<(), StoreError> {
    transaction.execute(REVOKE, params![kind as i32, id, at])?;
    raise_serial(transaction, List::Revocations)
}

pub(crate) fn serial(transaction: &Transaction<'_>, list: List) -> Result<u64, StoreError> {
    transaction.one(SERIAL, params![list as i32], |row| row.get(0))
}

pub(crate) fn raise_serial(transaction: &Transaction<'_>, list: List) -> Result<(), StoreError> {
    next_serial(transaction, list).map(|_| ())
}

/// The arrival of the next report.
pub(crate) fn next_report(transaction: &Transaction<'_>) -> Result<u64, StoreError> {
    next_serial(transaction, List::Reports)
}

fn next_serial(transaction: &Transaction<'_>, list: List) -> Result<u64, StoreError> {
    transaction.one(NEXT_SERIAL, params![list as i32], |row| row.get(0))
}
