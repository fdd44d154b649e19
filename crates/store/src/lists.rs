//! What the authority signs as lists: revocations, and the roster (`supernodes`), each with a serial number that goes up with
//! every change.

use ahoy_proto::document::Revoked;
use ahoy_proto::{AccountId, DeviceId, UnixTime};
use rusqlite::params;

use crate::StoreError;
use crate::batch::{Transaction, Verb};

crate::statements::statements! {
    SERIAL = "SELECT serial FROM serials WHERE list = ?1";
    NEXT_SERIAL = "UPDATE serials SET serial = serial + 1 WHERE list = ?1";
    REVOKE = "INSERT INTO revocations (kind, id, at) VALUES (?1, ?2, ?3) ON CONFLICT (kind, id) DO UPDATE SET at = excluded.at";
    REVOKED = "SELECT id, at FROM revocations WHERE kind = ?1 ORDER BY id";
    PRUNE = "DELETE FROM revocations WHERE at < ?1";
}

/// What is numbered.
#[derive(Clone, Copy)]
pub(crate) enum List {
    Revocations = 1,
    Roster = 2,
    /// Not a list: how many supernodes there have been.
    Numbers = 3,
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
    fn run(self, transaction: &Transaction<'_>) -> Result<RevocationLists, StoreError> {
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
    fn run(self, transaction: &Transaction<'_>) -> Result<Serials, StoreError> {
        Ok(Serials { revocations: serial(transaction, List::Revocations)?, roster: serial(transaction, List::Roster)? })
    }
}

fn revoked<Id>(
    transaction: &Transaction<'_>,
    kind: Kind,
    id: fn([u8; 16]) -> Id,
) -> Result<Vec<Revoked<Id>>, StoreError> {
    let mut statement = transaction.0.prepare_cached(REVOKED)?;
    let rows =
        statement.query_map([kind as i32], |row| Ok(Revoked { id: id(row.get(0)?), at: UnixTime(row.get(1)?) }))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Forgets revocations from before a time: nothing signed then is valid any more.
#[derive(Debug)]
pub struct PruneRevocations {
    /// The first second to keep.
    pub before: UnixTime,
}

impl Verb for PruneRevocations {
    type Output = ();
    fn run(self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        let pruned = transaction.0.prepare_cached(PRUNE)?.execute([self.before.0])?;
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
    transaction.0.prepare_cached(REVOKE)?.execute(params![kind as i32, id, at.0])?;
    raise_serial(transaction, List::Revocations)
}

pub(crate) fn serial(transaction: &Transaction<'_>, list: List) -> Result<u64, StoreError> {
    Ok(transaction.0.prepare_cached(SERIAL)?.query_row([list as i32], |row| row.get(0))?)
}

pub(crate) fn raise_serial(transaction: &Transaction<'_>, list: List) -> Result<(), StoreError> {
    transaction.0.prepare_cached(NEXT_SERIAL)?.execute([list as i32])?;
    Ok(())
}
