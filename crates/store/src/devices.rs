//! Devices of accounts, and on which day they were last there.

use std::time::Duration;

use ahoy_proto::limits::DEVICES_MAX;
use ahoy_proto::{AccountId, DeviceId, UnixTime, v1};

use crate::sql::{Row, Transaction, params};
use crate::verb::{Key, TIME_MAX_OF_MANY, Verb};
use crate::{StoreError, accounts, cursors, inbox, lists};

crate::statements::statements! {
    FIND = "SELECT account, device_key FROM devices WHERE device = ?1";
    COUNT = "SELECT count(*) FROM devices WHERE account = ?1";
    INSERT = "INSERT INTO devices (device, account, name, device_key, binding, made_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    DELETE = "DELETE FROM devices WHERE device = ?1 AND account = ?2";
    RENAME = "UPDATE devices SET name = ?3 WHERE device = ?1 AND account = ?2";
    LIST = "SELECT device, name, made_at, last_seen_day FROM devices WHERE account = ?1 ORDER BY device";
    STATE_SERIAL = "SELECT state_serial FROM devices WHERE device = ?1 AND account = ?2";
    CHECK_IN = "UPDATE devices SET state_serial = ?2,
        last_seen_day = CASE WHEN last_seen_day < ?3 THEN ?3 ELSE last_seen_day END WHERE device = ?1";
    MARK_SEEN = "UPDATE accounts SET last_seen_day = ?2 WHERE account = ?1 AND last_seen_day < ?2 AND availability <> ?3";
}

/// A device that is about to be kept.
#[derive(Debug, Clone)]
pub struct Device {
    /// Random, made by the device.
    pub device: DeviceId,
    /// For the owner's eyes.
    pub name: String,
    /// Ed25519, public.
    pub device_key: [u8; 32],
    /// `ahoy.v1.Binding`
    pub binding: Vec<u8>,
}

/// Whose device an id is and its key, or [`StoreError::NotFound`].
#[derive(Debug)]
pub struct DeviceOf {
    /// The device.
    pub device: DeviceId,
}

impl Verb for DeviceOf {
    type Output = (AccountId, [u8; 32]);

    fn key(&self) -> Key {
        self.device.into()
    }

    fn run(&self, transaction: &Transaction<'_>) -> Result<(AccountId, [u8; 32]), StoreError> {
        find(transaction, self.device)?.ok_or(StoreError::NotFound)
    }
}

fn find(transaction: &Transaction<'_>, device: DeviceId) -> Result<Option<(AccountId, [u8; 32])>, StoreError> {
    let owner = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
    transaction.first(FIND, params![device], owner)
}

/// Whose device an id is, if it is one.
pub(crate) fn owner(transaction: &Transaction<'_>, device: DeviceId) -> Result<Option<AccountId>, StoreError> {
    Ok(find(transaction, device)?.map(|(account, _)| account))
}

/// Adds a device to an account. The same again does nothing, so that a request whose response was lost can be repeated;
/// an id in use otherwise is [`StoreError::AlreadyExists`], one device too many [`StoreError::LimitReached`].
#[derive(Debug)]
pub struct AddDevice {
    /// Whose.
    pub account: AccountId,
    /// The device.
    pub device: Device,
    /// Now.
    pub at: UnixTime,
}

impl Verb for AddDevice {
    type Output = ();

    fn key(&self) -> Key {
        self.account.into()
    }

    fn run(&self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        if find(transaction, self.device.device)? == Some((self.account, self.device.device_key)) {
            return Ok(());
        }
        let count: usize = transaction.one(COUNT, params![self.account], |row| row.get(0))?;
        if count >= DEVICES_MAX {
            return Err(StoreError::LimitReached);
        }
        insert(transaction, self.account, &self.device, self.at)
    }
}

pub(crate) fn insert(
    transaction: &Transaction<'_>,
    account: AccountId,
    device: &Device,
    at: UnixTime,
) -> Result<(), StoreError> {
    if find(transaction, device.device)?.is_some() {
        return Err(StoreError::AlreadyExists);
    }
    let row = params![device.device, account, device.name, device.device_key, device.binding, at];
    transaction.execute(INSERT, row)?;
    Ok(())
}

/// Forgets a device with its key packages, inbox, cursors and receipts, and voids its credentials. [`StoreError::NotFound`] when the
/// account has no such device.
#[derive(Debug)]
pub struct RevokeDevice {
    /// Whose.
    pub account: AccountId,
    /// The device.
    pub device: DeviceId,
    /// Now: credentials signed until this second are void.
    pub at: UnixTime,
}

impl Verb for RevokeDevice {
    type Output = ();

    fn key(&self) -> Key {
        self.account.into()
    }

    fn time_max(&self) -> Duration {
        TIME_MAX_OF_MANY
    }

    fn run(&self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        let waited_for = cursors::lowest_of_device(transaction, self.device)?;
        inbox::forget_all(transaction, self.device)?;
        let deleted = transaction.execute(DELETE, params![self.device, self.account])?;
        if deleted == 0 {
            return Err(StoreError::NotFound);
        }
        for conversation in waited_for {
            cursors::settle_floor(transaction, conversation)?;
        }
        lists::revoke_device(transaction, self.device, self.at)
    }
}

/// Gives a device another name. [`StoreError::NotFound`] when the account has no such device.
#[derive(Debug)]
pub struct RenameDevice {
    /// Whose.
    pub account: AccountId,
    /// The device.
    pub device: DeviceId,
    /// For the owner's eyes.
    pub name: String,
}

impl Verb for RenameDevice {
    type Output = ();

    fn key(&self) -> Key {
        self.account.into()
    }

    fn run(&self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        let renamed = params![self.device, self.account, self.name];
        accounts::found(transaction.execute(RENAME, renamed)?)
    }
}

/// Days since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(pub u32);

impl Day {
    /// The day, in UTC, that a time falls on.
    pub fn of(time: UnixTime) -> Self {
        Self(u32::try_from(time.0 / 86_400).unwrap_or(u32::MAX))
    }

    /// How a day of the past looks from this one. Day 0 stands for never.
    pub(crate) fn last_seen(self, day: Self) -> v1::LastSeen {
        match self.0.saturating_sub(day.0) {
            _ if day.0 == 0 => v1::LastSeen::Unspecified,
            0 => v1::LastSeen::Today,
            1..7 => v1::LastSeen::ThisWeek,
            _ => v1::LastSeen::Earlier,
        }
    }
}

/// The devices of an account, in the order of their ids.
#[derive(Debug)]
pub struct ListDevices {
    /// Whose.
    pub account: AccountId,
    /// For how long ago they were seen.
    pub today: Day,
}

impl Verb for ListDevices {
    type Output = Vec<v1::DeviceRecord>;

    fn key(&self) -> Key {
        self.account.into()
    }

    fn run(&self, transaction: &Transaction<'_>) -> Result<Vec<v1::DeviceRecord>, StoreError> {
        let record = |row: &Row<'_>| {
            Ok(v1::DeviceRecord {
                device: row.get(0)?,
                name: row.get(1)?,
                made_at: row.get(2)?,
                last_seen: self.today.last_seen(Day(row.get(3)?)).into(),
            })
        };
        transaction.all(LIST, params![self.account], record)
    }
}

/// Takes note of a device's state serial and of the day. [`StoreError::StateTooOld`] when the serial is not above the last
/// one, [`StoreError::NotFound`] when the account has no such device.
#[derive(Debug)]
pub struct CheckIn {
    /// Whose.
    pub account: AccountId,
    /// The device.
    pub device: DeviceId,
    /// One more than the device's last.
    pub serial: u64,
    /// The day.
    pub today: Day,
}

impl Verb for CheckIn {
    type Output = Vec<v1::DeviceRecord>;

    fn key(&self) -> Key {
        self.account.into()
    }

    fn run(&self, transaction: &Transaction<'_>) -> Result<Vec<v1::DeviceRecord>, StoreError> {
        let Self { account, device, today, .. } = *self;
        let serial = i64::try_from(self.serial).map_err(|_| StoreError::Invalid)?;
        let of_device = params![device, account];
        let last: i64 = transaction.one(STATE_SERIAL, of_device, |row| row.get(0))?;
        if serial <= last {
            return Err(StoreError::StateTooOld);
        }
        transaction.execute(CHECK_IN, params![device, serial, today])?;
        MarkSeen { account, today }.run(transaction)?;
        ListDevices { account, today }.run(transaction)
    }
}

/// Takes note of the day on which an account was last there, unless it is invisible. Writes once a day.
#[derive(Debug)]
pub struct MarkSeen {
    /// Whose.
    pub account: AccountId,
    /// The day.
    pub today: Day,
}

impl Verb for MarkSeen {
    type Output = ();

    fn key(&self) -> Key {
        self.account.into()
    }

    fn run(&self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        let invisible = i32::from(v1::Availability::Invisible);
        transaction.execute(MARK_SEEN, params![self.account, self.today, invisible])?;
        Ok(())
    }
}
