//! What the authority signs as lists: revocations and the roster, each with a serial number that goes up with every change.

use ahoy_proto::document::{Revoked, RosterEntry};
use ahoy_proto::{AccountId, DeviceId, UnixTime};

use crate::StoreError;
use crate::batch::{Transaction, Verb};
use crate::sql::params;

crate::statements::statements! {
    SERIAL = "SELECT serial FROM serials WHERE list = ?1";
    NEXT_SERIAL = "UPDATE serials SET serial = serial + 1 WHERE list = ?1 RETURNING serial";
    REVOKE = "INSERT INTO revocations (kind, id, at) VALUES (?1, ?2, ?3) ON CONFLICT (kind, id) DO UPDATE SET at = excluded.at";
    REVOKED = "SELECT id, at FROM revocations WHERE kind = ?1 ORDER BY id";
    PRUNE = "DELETE FROM revocations WHERE at < ?1";
    ROSTER = "SELECT entry FROM supernodes ORDER BY place";
    CLEAR_ROSTER = "DELETE FROM supernodes";
    ADD_TO_ROSTER = "INSERT INTO supernodes (place, entry) VALUES (?1, ?2)";
}

#[derive(Clone, Copy)]
enum List {
    Revocations = 1,
    Roster = 2,
    /// Signed by nobody: it numbers the reports.
    Reports = 3,
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

/// Asks for the serial number of the revocation list alone, to see whether another process has changed it.
#[derive(Debug)]
pub struct RevocationSerial;

impl Verb for RevocationSerial {
    type Output = u64;
    fn run(&self, transaction: &Transaction<'_>) -> Result<u64, StoreError> {
        serial(transaction, List::Revocations)
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

/// Puts a roster in the place of the last one and gives its serial number, which is a new one if anything differs.
#[derive(Debug)]
pub struct SetRoster {
    /// All supernodes, in order.
    pub supernodes: Vec<RosterEntry>,
}

impl Verb for SetRoster {
    type Output = u64;
    fn run(&self, transaction: &Transaction<'_>) -> Result<u64, StoreError> {
        let json = |entry| serde_json::to_string(entry).expect("a roster entry has string keys only");
        let new: Vec<String> = self.supernodes.iter().map(json).collect();
        let old: Vec<String> = transaction.all(ROSTER, params![], |row| row.get(0))?;
        if new != old {
            transaction.execute(CLEAR_ROSTER, params![])?;
            for (place, entry) in new.iter().enumerate() {
                transaction.execute(ADD_TO_ROSTER, params![place, entry])?;
            }
            raise_serial(transaction, List::Roster)?;
        }
        serial(transaction, List::Roster)
    }
}

fn serial(transaction: &Transaction<'_>, list: List) -> Result<u64, StoreError> {
    transaction.one(SERIAL, params![list as i32], |row| row.get(0))
}

fn raise_serial(transaction: &Transaction<'_>, list: List) -> Result<(), StoreError> {
    next_serial(transaction, list).map(|_| ())
}

/// The arrival of the next report.
pub(crate) fn next_report(transaction: &Transaction<'_>) -> Result<u64, StoreError> {
    next_serial(transaction, List::Reports)
}

fn next_serial(transaction: &Transaction<'_>, list: List) -> Result<u64, StoreError> {
    transaction.one(NEXT_SERIAL, params![list as i32], |row| row.get(0))
}
