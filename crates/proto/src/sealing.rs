//! How an account key travels through the authority without the authority holding it: sealed under a key made from
//! OPAQUE's export key, and once more under a key made from the recovery code.
//!
//! Every derivation is HKDF-SHA256 (RFC 5869) with an empty salt and 32 bytes of output:
//!
//! | from | info | gives |
//! |---|---|---|
//! | export key (64 bytes) | `ahoy/1 account key` | [`SealingKey`] of the sealed account key |
//! | recovery code (20 bytes) | `ahoy/1 recovery key` | [`SealingKey`] of the copy for recovery |
//! | recovery code (20 bytes) | `ahoy/1 recovery secret` | what is shown to the authority to recover |
//! | account key's secret (32 bytes) | `ahoy/1 request key` | [`RequestSecret`](crate::request_key::RequestSecret) |
//!
//! A sealed account key is nonce (24 bytes), then XChaCha20-Poly1305 of the 32 bytes of the Ed25519 secret, with the
//! account id as associated data. The authority keeps the SHA-256 of the recovery secret.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305,
    aead::{Aead, Payload},
};
use data_encoding::{Encoding, Specification};
use ed25519_dalek::SigningKey;
use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::AccountId;

const NONCE: usize = 24;
const SECRET: usize = 32;
const TAG: usize = 16;

/// Length of a sealed account key, in bytes.
pub const SEALED_ACCOUNT_KEY_LENGTH: usize = NONCE + SECRET + TAG;

/// Bytes of a recovery code: 160 random bits, so that nothing has to slow a guess down.
pub const RECOVERY_CODE_LENGTH: usize = 20;

/// What an account key is sealed with.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SealingKey([u8; 32]);

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey(…)")
    }
}

impl SealingKey {
    /// From the export key of an OPAQUE registration or sign-in.
    pub fn of_export_key(export_key: &[u8]) -> Self {
        Self(derive(export_key, "ahoy/1 account key"))
    }
}

/// Another key, another account, or bytes that were changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sealed account key does not open")]
pub struct NotOpened;

/// Seals an account key; `nonce` must be random.
pub fn seal_account_key(secret: &SigningKey, account: AccountId, key: &SealingKey, nonce: [u8; NONCE]) -> Vec<u8> {
    let sealed = XChaCha20Poly1305::new((&key.0).into())
        .encrypt((&nonce).into(), Payload { msg: secret.as_bytes(), aad: &account.0 })
        .expect("32 bytes are far below the cipher's limit");
    [&nonce[..], &sealed].concat()
}

/// Opens a sealed account key.
///
/// # Errors
/// When it was not sealed with this key for this account.
pub fn open_account_key(sealed: &[u8], account: AccountId, key: &SealingKey) -> Result<SigningKey, NotOpened> {
    let (nonce, sealed) = sealed.split_at_checked(NONCE).ok_or(NotOpened)?;
    let plain = XChaCha20Poly1305::new((&key.0).into())
        .decrypt(nonce.into(), Payload { msg: sealed, aad: &account.0 })
        .map_err(|_| NotOpened)?;
    let plain = Zeroizing::new(plain);
    SigningKey::try_from(&plain[..]).map_err(|_| NotOpened)
}

/// What its owner writes down at sign-up: the way back in without the password.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct RecoveryCode([u8; RECOVERY_CODE_LENGTH]);

impl fmt::Debug for RecoveryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryCode(…)")
    }
}

/// Not 32 characters of Crockford's base32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a recovery code is 8 groups of 4 letters and digits")]
pub struct InvalidRecoveryCode;

impl RecoveryCode {
    /// The code of these bytes, which must be random.
    pub fn new(bytes: [u8; RECOVERY_CODE_LENGTH]) -> Self {
        Self(bytes)
    }

    /// As it is shown: 8 groups of 4, joined by hyphens.
    pub fn to_text(&self) -> Zeroizing<String> {
        let text = Zeroizing::new(CROCKFORD.encode(&self.0));
        let groups: Vec<_> = text.as_bytes().chunks(4).map(String::from_utf8_lossy).collect();
        Zeroizing::new(groups.join("-"))
    }

    /// What is shown to the authority to recover.
    pub fn secret(&self) -> RecoverySecret {
        RecoverySecret(derive(&self.0, "ahoy/1 recovery secret"))
    }

    /// What the account key's copy for recovery is sealed with.
    pub fn sealing_key(&self) -> SealingKey {
        SealingKey(derive(&self.0, "ahoy/1 recovery key"))
    }
}

/// Reads a code as a person types it: hyphens, spaces and case don't matter; I and L are 1, O is 0.
impl FromStr for RecoveryCode {
    type Err = InvalidRecoveryCode;
    fn from_str(text: &str) -> Result<Self, InvalidRecoveryCode> {
        let bytes = Zeroizing::new(CROCKFORD.decode(text.trim().as_bytes()).map_err(|_| InvalidRecoveryCode)?);
        bytes.as_slice().try_into().map(Self).map_err(|_| InvalidRecoveryCode)
    }
}

/// Proof that its holder knows the recovery code.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct RecoverySecret([u8; 32]);

impl fmt::Debug for RecoverySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoverySecret(…)")
    }
}

impl RecoverySecret {
    /// The secret of these bytes, as received.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes that stand in [`Recover`](crate::api::Recover).
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// What the authority keeps of it: SHA-256.
    pub fn verifier(&self) -> [u8; 32] {
        Sha256::digest(self.0).into()
    }
}

pub(crate) fn derive(secret: &[u8], label: &str) -> [u8; 32] {
    let mut key = [0; 32];
    Hkdf::<Sha256>::new(None, secret).expand(label.as_bytes(), &mut key).expect("HKDF gives up to 8160 bytes");
    key
}

static CROCKFORD: LazyLock<Encoding> = LazyLock::new(|| {
    let mut specification = Specification::new();
    specification.symbols.push_str("0123456789ABCDEFGHJKMNPQRSTVWXYZ");
    specification.translate.from.push_str("abcdefghjkmnpqrstvwxyzIiLlOo");
    specification.translate.to.push_str("ABCDEFGHJKMNPQRSTVWXYZ111100");
    specification.ignore.push_str("- ");
    specification.encoding().expect("32 symbols, each translation to one of them")
});

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ACCOUNT: AccountId = AccountId([7; 16]);

    #[test]
    fn an_account_key_opens_with_its_key_for_its_account_and_with_nothing_else() {
        let secret = SigningKey::from_bytes(&[1; 32]);
        let key = SealingKey::of_export_key(&[2; 64]);
        let sealed = seal_account_key(&secret, ACCOUNT, &key, [3; 24]);
        assert_eq!(sealed.len(), SEALED_ACCOUNT_KEY_LENGTH);
        assert_eq!(open_account_key(&sealed, ACCOUNT, &key).map(|key| key.to_bytes()), Ok([1; 32]));
        assert_eq!(open_account_key(&sealed, AccountId([8; 16]), &key), Err(NotOpened));
        assert_eq!(open_account_key(&sealed, ACCOUNT, &RecoveryCode::new([2; 20]).sealing_key()), Err(NotOpened));
        for length in 0..sealed.len() {
            assert_eq!(open_account_key(&sealed[..length], ACCOUNT, &key), Err(NotOpened));
        }
    }

    #[test]
    fn a_recovery_code_is_read_as_people_type_it() {
        let code = RecoveryCode::new([0x08; 20]);
        let text = code.to_text();
        assert_eq!(text.as_str(), "1040-G208-1040-G208-1040-G208-1040-G208");
        assert_eq!(text.to_lowercase().replace('-', " ").parse(), Ok(code.clone()));
        assert_eq!(text.replace('1', "l").replace('0', "O").parse(), Ok(code));
        assert_eq!("1040-G208".parse::<RecoveryCode>(), Err(InvalidRecoveryCode));
        assert_eq!(text.replace('G', "U").parse::<RecoveryCode>(), Err(InvalidRecoveryCode));
    }

    #[test]
    fn secret_and_sealing_key_of_a_code_tell_nothing_of_each_other() {
        let code = RecoveryCode::new([9; 20]);
        assert_ne!(code.secret().as_bytes(), &code.sealing_key().0);
        assert_ne!(&code.secret().verifier(), code.secret().as_bytes());
    }

    proptest! {
        #[test]
        fn every_code_survives_text(bytes: [u8; 20]) {
            let code = RecoveryCode::new(bytes);
            prop_assert_eq!(code.to_text().parse(), Ok(code));
        }

        #[test]
        fn no_text_panics(text: String) {
            let _ = text.parse::<RecoveryCode>();
        }
    }
}
