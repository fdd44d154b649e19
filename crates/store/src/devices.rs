//! Devices of accounts.

use ahoy_proto::limits::DEVICES_MAX;
use ahoy_proto::{AccountId, DeviceId, UnixTime};
use rusqlite::{OptionalExtension, Row, params};

use crate::batch::{Transaction, Verb};
use crate::{StoreError, lists};

crate::statements::statements! {
    FIND = "SELECT account, device_key FROM devices WHERE device = ?1";
    COUNT = "SELECT count(*) FROM devices WHERE account = ?1";
    INSERT = "INSERT INTO devices (device, account, name, device_key, binding, made_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    DELETE = "DELETE FROM devices WHERE device = ?1 AND account = ?2";
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
    fn run(self, transaction: &Transaction<'_>) -> Result<(AccountId, [u8; 32]), StoreError> {
        find(transaction, self.device)?.ok_or(StoreError::NotFound)
    }
}

fn find(transaction: &Transaction<'_>, device: DeviceId) -> Result<Option<(AccountId, [u8; 32])>, StoreError> {
    let owner = |row: &Row<'_>| Ok((AccountId(row.get(0)?), row.get(1)?));
    Ok(transaction.0.prepare_cached(FIND)?.query_row([device.0], owner).optional()?)
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
    fn run(self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        if find(transaction, self.device.device)? == Some((self.account, self.device.device_key)) {
            return Ok(());
        }
        let count: usize = transaction.0.prepare_cached(COUNT)?.query_row([self.account.0], |row| row.get(0))?;
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
    let row = params![device.device.0, account.0, device.name, device.device_key, device.binding, at.0];
    transaction.0.prepare_cached(INSERT)?.execute(row)?;
    Ok(())
}

/// Forgets a device with its key packages and inbox, and voids its credentials. [`StoreError::NotFound`] when the
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
    fn run(self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        let deleted = transaction.0.prepare_cached(DELETE)?.execute(params![self.device.0, self.account.0])?;
        if deleted == 0 {
            return Err(StoreError::NotFound);
        }
        lists::revoke_device(transaction, self.device, self.at)
    }
}
