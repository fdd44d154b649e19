//! Account-signed device bindings: who a leaf of an MLS group is, on the account key's word and nobody else's.

use bytes::Bytes;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use crate::{AccountId, DeviceId, UnixTime, v1};

const LABEL: &[u8] = b"ahoy/1 device binding";

/// A binding whose signature has been checked: this device key belongs to this account key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct VerifiedBinding {
    /// The account that the signer claims to be; true only as far as `account_key` is the pinned one.
    pub account: AccountId,
    /// The device.
    pub device: DeviceId,
    /// Ed25519.
    pub device_key: [u8; 32],
    /// Ed25519.
    pub account_key: [u8; 32],
}

/// Fields of the wrong length, or a signature that does not verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the device binding is not signed by its account key")]
pub struct InvalidBinding;

/// The account key's word that the device belongs to the account.
pub fn make(
    account: AccountId,
    device: DeviceId,
    device_key: &VerifyingKey,
    account_key: &SigningKey,
    made_at: UnixTime,
) -> v1::Binding {
    let signature = account_key.sign(&input(account, device, device_key.as_bytes(), made_at.0));
    v1::Binding {
        account: account.to_bytes(),
        device: device.to_bytes(),
        device_key: Bytes::copy_from_slice(device_key.as_bytes()),
        account_key: Bytes::copy_from_slice(account_key.verifying_key().as_bytes()),
        made_at: made_at.0,
        signature: Bytes::copy_from_slice(&signature.to_bytes()),
    }
}

/// Checks the signature of a binding by the account key that it names. Whether that is the right account key, the
/// caller must know.
///
/// # Errors
/// When a field has the wrong length or the signature does not verify.
pub fn verify(binding: &v1::Binding) -> Result<VerifiedBinding, InvalidBinding> {
    let account = AccountId::try_from(&binding.account[..]).map_err(|_| InvalidBinding)?;
    let device = DeviceId::try_from(&binding.device[..]).map_err(|_| InvalidBinding)?;
    let device_key: [u8; 32] = binding.device_key[..].try_into().map_err(|_| InvalidBinding)?;
    let account_key: [u8; 32] = binding.account_key[..].try_into().map_err(|_| InvalidBinding)?;
    let key = VerifyingKey::from_bytes(&account_key).map_err(|_| InvalidBinding)?;
    let signature = Signature::from_slice(&binding.signature).map_err(|_| InvalidBinding)?;
    key.verify_strict(&input(account, device, &device_key, binding.made_at), &signature).map_err(|_| InvalidBinding)?;
    Ok(VerifiedBinding { account, device, device_key, account_key })
}

/// Label, 0, account, device, device key, made_at (8 bytes, big-endian).
fn input(account: AccountId, device: DeviceId, device_key: &[u8; 32], made_at: u64) -> Vec<u8> {
    [LABEL, &[0], &account.0, &device.0, device_key, &made_at.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> v1::Binding {
        let device = SigningKey::from_bytes(&[1; 32]).verifying_key();
        make(AccountId([3; 16]), DeviceId([4; 16]), &device, &SigningKey::from_bytes(&[2; 32]), UnixTime(5))
    }

    #[test]
    fn a_binding_verifies_under_its_account_key() {
        assert!(verify(&sample()).is_ok_and(|binding| binding.device == DeviceId([4; 16])));
    }

    #[test]
    fn every_changed_field_breaks_it() {
        let changes: [fn(&mut v1::Binding); 5] = [
            |b| b.account = vec![9; 16].into(),
            |b| b.device = vec![9; 16].into(),
            |b| b.device_key = vec![9; 32].into(),
            |b| b.made_at += 1,
            |b| b.account_key = SigningKey::from_bytes(&[8; 32]).verifying_key().as_bytes().to_vec().into(),
        ];
        for change in changes {
            let mut binding = sample();
            change(&mut binding);
            assert_eq!(verify(&binding), Err(InvalidBinding));
        }
    }
}
