//! Who this device is.

use std::fmt;

use ahoy_proto::request_key::RequestSecret;
use ahoy_proto::{AccountId, DeviceId, Name, NetworkId, v1};
use ed25519_dalek::SigningKey;

/// This device, its account and what ties them together.
#[derive(Clone)]
pub struct Identity {
    /// The network that the account is of.
    pub network: NetworkId,
    /// The account.
    pub account: AccountId,
    /// Its name.
    pub name: Name,
    /// This device.
    pub device: DeviceId,
    /// Signs session proofs and MLS messages. Zeroized on drop.
    pub device_key: SigningKey,
    /// The account key, Ed25519, public.
    pub account_key: [u8; 32],
    /// The account key's word that the device belongs to the account.
    pub binding: v1::Binding,
    /// Opens the notes of those who ask to become a contact; a device that has none shows requests without. Zeroized on
    /// drop.
    pub request_secret: Option<RequestSecret>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("account", &self.account).field("device", &self.device).finish_non_exhaustive()
    }
}
