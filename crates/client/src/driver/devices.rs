//! What a client can do about the account's devices, and about the account as a whole.

use std::time::SystemTime;

use ahoy_proto::{DeviceId, UnixTime, v1};

use super::run::blocking;
use super::{Client, ClientError};
use crate::account;
use crate::member::Answer;
use crate::profile::Identity;

/// A device of this account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Names it to the network.
    pub device: DeviceId,
    /// Names it to its owner.
    pub name: String,
    /// When it signed in.
    pub made_at: UnixTime,
    /// When it was last here, coarsely.
    pub last_seen: v1::LastSeen,
    /// It is this one.
    pub is_own: bool,
}

impl Client {
    /// The account's devices. One that its owner does not know should be [revoked](Self::revoke_device), and the password changed.
    ///
    /// # Errors
    /// When there is no session.
    pub async fn devices(&self) -> Result<Vec<Device>, ClientError> {
        let own = self.identity().await?.device;
        match self.order(|member, ticket, now| member.list_devices(ticket, now)).await? {
            Answer::Devices(records) => Ok(records.iter().filter_map(|record| device(record, own)).collect()),
            other => unreachable!("it is answered by devices, not by {other:?}"),
        }
    }

    /// Calls a device of this account otherwise, this one or another.
    ///
    /// # Errors
    /// When there is no such device, or the authority can't be reached.
    pub async fn rename_device(&self, device: DeviceId, name: &str) -> Result<(), ClientError> {
        let (identity, name) = (self.identity().await?, name.to_owned());
        blocking(move || account::rename_device(&identity, device, &name, SystemTime::now().into())).await
    }

    /// Signs another device of this account out: its credential is void, its session ends, and it is removed from all conversations.
    ///
    /// # Errors
    /// When there is no such device, or the authority can't be reached. The removal from conversations goes on by itself, with the next
    /// session at the latest.
    pub async fn revoke_device(&self, device: DeviceId) -> Result<(), ClientError> {
        let identity = self.identity().await?;
        blocking(move || account::revoke_device(&identity, device, SystemTime::now().into())).await?;
        self.act(move |member, now| member.remove_device(device, now)).await
    }

    /// Deletes the account for good, on all devices. The client stops soon after; then
    /// [`Profile::forget`](crate::profile::Profile::forget) erases what is kept here.
    ///
    /// # Errors
    /// When the password is wrong, or the authority can't be reached.
    pub async fn delete_account(&self, password: &str) -> Result<(), ClientError> {
        let (identity, password) = (self.identity().await?, zeroize::Zeroizing::new(password.to_owned()));
        blocking(move || account::delete_account(&identity, &password)).await
    }

    /// Who this is, with the newest credential.
    async fn identity(&self) -> Result<Identity, ClientError> {
        self.look(|view| view.identity.clone()).await
    }
}

fn device(record: &v1::DeviceRecord, own: DeviceId) -> Option<Device> {
    let device = DeviceId::try_from(&record.device[..]).ok()?;
    Some(Device {
        device,
        name: record.name.clone(),
        made_at: UnixTime(record.made_at),
        last_seen: record.last_seen(),
        is_own: device == own,
    })
}
