//! Key packages: what others need to add a device to a group while it is away.

use ahoy_proto::limits::{DEVICES_MAX, KEY_PACKAGE_MAX, KEY_PACKAGES_MAX};
use ahoy_proto::{AccountId, DeviceId, v1};
use bytes::Bytes;

use crate::StoreError;
use crate::devices;
use crate::sql::{Row, Transaction, params};
use crate::verb::{Key, Verb};

crate::statements::statements! {
    INSERT = "INSERT INTO key_packages (device, last_resort, key_package) VALUES (?1, ?2, ?3)";
    DROP_LAST_RESORT = "DELETE FROM key_packages WHERE device = ?1 AND last_resort = 1";
    COUNT = "SELECT count(*) FROM key_packages WHERE device = ?1 AND last_resort = 0";
    DROP_OLDEST = "DELETE FROM key_packages WHERE device = ?1 AND arrival IN
        (SELECT arrival FROM key_packages WHERE device = ?1 AND last_resort = 0 ORDER BY arrival LIMIT ?2)";
    DEVICES = "SELECT device FROM devices WHERE account = ?1 ORDER BY device LIMIT ?2";
    NEXT = "SELECT arrival, last_resort, key_package FROM key_packages WHERE device = ?1 ORDER BY last_resort, arrival LIMIT 1";
    TAKE = "DELETE FROM key_packages WHERE device = ?1 AND arrival = ?2";
}

/// Adds to a device's key packages. Beyond [`KEY_PACKAGES_MAX`] the oldest give way: their makers have the newer keys.
#[derive(Debug)]
pub struct PublishKeyPackages {
    /// Whose.
    pub account: AccountId,
    /// The device that made them.
    pub device: DeviceId,
    /// For one use each.
    pub packages: Vec<Bytes>,
    /// Replaces the one that is handed out when all others are used up.
    pub last_resort: Option<Bytes>,
}

impl Verb for PublishKeyPackages {
    type Output = ();

    fn key(&self) -> Key {
        self.account.into()
    }

    fn run(&self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        let sound = |package: &Bytes| (1..=KEY_PACKAGE_MAX).contains(&package.len());
        if self.packages.len() > KEY_PACKAGES_MAX || !self.packages.iter().chain(&self.last_resort).all(sound) {
            return Err(StoreError::Invalid);
        }
        if devices::owner(transaction, self.device)? != Some(self.account) {
            return Err(StoreError::NotFound);
        }
        let device = self.device.0;
        if let Some(last_resort) = &self.last_resort {
            transaction.execute(DROP_LAST_RESORT, params![device])?;
            transaction.execute(INSERT, params![device, true, last_resort])?;
        }
        for package in &self.packages {
            transaction.execute(INSERT, params![device, false, package])?;
        }
        let count: usize = transaction.one(COUNT, params![device], |row| row.get(0))?;
        if let Some(excess) = count.checked_sub(KEY_PACKAGES_MAX).filter(|excess| *excess > 0) {
            transaction.execute(DROP_OLDEST, params![device, excess])?;
        }
        Ok(())
    }
}

/// Takes one key package of every device of an account, the oldest first and the last resort when there is no other.
/// Devices without any are left out.
#[derive(Debug)]
pub struct ClaimKeyPackages {
    /// Whose.
    pub account: AccountId,
}

impl Verb for ClaimKeyPackages {
    type Output = v1::KeyPackages;

    fn key(&self) -> Key {
        self.account.into()
    }

    fn run(&self, transaction: &Transaction<'_>) -> Result<v1::KeyPackages, StoreError> {
        let devices: Vec<[u8; 16]> = transaction.all(DEVICES, params![self.account, DEVICES_MAX], |row| row.get(0))?;
        let mut packages = Vec::with_capacity(devices.len());
        for device in devices {
            if let Some(key_package) = take(transaction, device)? {
                let device = Bytes::copy_from_slice(&device);
                packages.push(v1::DeviceKeyPackage { device, key_package });
            }
        }
        if packages.is_empty() { Err(StoreError::NotFound) } else { Ok(v1::KeyPackages { packages }) }
    }
}

fn take(transaction: &Transaction<'_>, device: [u8; 16]) -> Result<Option<Bytes>, StoreError> {
    let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    let next = transaction.first(NEXT, params![device], row)?;
    let Some((arrival, last_resort, key_package)): Option<(i64, bool, Bytes)> = next else { return Ok(None) };
    if !last_resort {
        transaction.execute(TAKE, params![device, arrival])?;
    }
    Ok(Some(key_package))
}
