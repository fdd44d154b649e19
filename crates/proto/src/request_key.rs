//! The request key of an account: what a stranger seals the note of a contact request to, before there is a conversation.
//!
//! All devices of an account derive the same X25519 secret from the account key when that key is open before them, and keep
//! it; the account key they forget. The public half is published with the account key's signature, so neither authority
//! nor supernode can put another in its place.

use std::fmt;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::{AccountId, base_mode, sealing};

const LABEL: &[u8] = b"ahoy/1 request key";
const KEY: usize = 32;

/// Length of a published request key, in bytes: the key and a signature.
pub const REQUEST_KEY_LENGTH: usize = KEY + 64;

/// Opens notes; the same on all devices of an account. Zeroized on drop.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct RequestSecret([u8; KEY]);

impl fmt::Debug for RequestSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequestSecret(…)")
    }
}

impl RequestSecret {
    /// The secret of this account key's account.
    pub fn of_account_key(account_key: &SigningKey) -> Self {
        Self(sealing::derive(account_key.as_bytes(), "ahoy/1 request key"))
    }

    /// The secret of these bytes, as a device has kept them.
    pub fn new(bytes: [u8; KEY]) -> Self {
        Self(bytes)
    }

    /// What a device keeps.
    pub fn as_bytes(&self) -> &[u8; KEY] {
        &self.0
    }
}

/// A request key whose signature has been checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestKey([u8; KEY]);

impl RequestKey {
    pub(crate) fn bytes(&self) -> &[u8; KEY] {
        &self.0
    }
}

/// Not 96 bytes, or not signed by the account key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the request key is not signed by its account key")]
pub struct InvalidRequestKey;

/// What is published of an account's request key: the public key, then the account key's signature.
pub fn publish(account: AccountId, account_key: &SigningKey) -> [u8; REQUEST_KEY_LENGTH] {
    let public = base_mode::public_key(&RequestSecret::of_account_key(account_key).0);
    let signature = account_key.sign(&input(account, &public)).to_bytes();
    let mut published = [0; REQUEST_KEY_LENGTH];
    published[..KEY].copy_from_slice(&public);
    published[KEY..].copy_from_slice(&signature);
    published
}

/// Checks what was published for an account against its account key. Whether that is the right one, the caller must know.
///
/// # Errors
/// When the length is wrong or the signature does not verify.
pub fn verify(published: &[u8], account: AccountId, account_key: &[u8; 32]) -> Result<RequestKey, InvalidRequestKey> {
    let (public, signature) = published.split_first_chunk::<KEY>().ok_or(InvalidRequestKey)?;
    let key = VerifyingKey::from_bytes(account_key).map_err(|_| InvalidRequestKey)?;
    let signature = Signature::from_slice(signature).map_err(|_| InvalidRequestKey)?;
    key.verify_strict(&input(account, public), &signature).map_err(|_| InvalidRequestKey)?;
    Ok(RequestKey(*public))
}

/// Label, 0, account, public key.
fn input(account: AccountId, public: &[u8; KEY]) -> Vec<u8> {
    [LABEL, &[0], &account.0, public].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNT: AccountId = AccountId([3; 16]);

    fn account_key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    #[test]
    fn a_published_key_is_that_of_its_account_and_no_other() {
        let key = account_key(1);
        let public = key.verifying_key().to_bytes();
        let published = publish(ACCOUNT, &key);
        assert!(verify(&published, ACCOUNT, &public).is_ok());
        assert_eq!(verify(&published, AccountId([4; 16]), &public), Err(InvalidRequestKey));
        assert_eq!(verify(&published, ACCOUNT, &account_key(2).verifying_key().to_bytes()), Err(InvalidRequestKey));
        for at in 0..published.len() {
            let mut changed = published;
            changed[at] ^= 1;
            assert_eq!(verify(&changed, ACCOUNT, &public), Err(InvalidRequestKey), "byte {at}");
            assert_eq!(verify(&published[..at], ACCOUNT, &public), Err(InvalidRequestKey), "length {at}");
        }
        assert_eq!(verify(&[&published[..], &[0]].concat(), ACCOUNT, &public), Err(InvalidRequestKey));
    }

    #[test]
    fn all_devices_that_open_the_account_key_have_the_same_secret() {
        let secret = RequestSecret::of_account_key(&account_key(1));
        assert_eq!(secret, RequestSecret::of_account_key(&account_key(1)));
        assert_ne!(secret, RequestSecret::of_account_key(&account_key(2)));
        assert_eq!(RequestSecret::new(*secret.as_bytes()), secret);
        assert_ne!(secret.as_bytes(), account_key(1).as_bytes());
    }
}
