//! HPKE (RFC 9180) in base mode with DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and AES-128-GCM: anybody can seal to a public
//! key, and nothing says who did. Contact requests' notes and reports travel so, each with its own info.
//!
//! The ephemeral key comes of a seed that the caller gives: 32 random bytes, used once.

use std::convert::Infallible;

use hpke::aead::AesGcm128;
use hpke::kdf::HkdfSha256;
use hpke::kem::{Kem, X25519HkdfSha256};
use hpke::rand_core::{TryCryptoRng, TryRng};
use hpke::{Deserializable, OpModeR, OpModeS, Serializable, single_shot_open, single_shot_seal_with_rng};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

const KEY: usize = 32;

/// The public key of an X25519 secret.
pub(crate) fn public_key(secret: &[u8; KEY]) -> [u8; KEY] {
    X25519HkdfSha256::sk_to_pk(&private(secret)).to_bytes().into()
}

/// What is sent: the KEM's output (32 bytes), then the ciphertext. `None` when the key is of small order.
pub(crate) fn seal(key: &[u8; KEY], info: &[u8], aad: &[u8], plain: &[u8], seed: [u8; KEY]) -> Option<Vec<u8>> {
    let key = <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(key).ok()?;
    let (shared, sealed) = single_shot_seal_with_rng::<AesGcm128, HkdfSha256, X25519HkdfSha256>(
        &OpModeS::Base,
        &key,
        info,
        plain,
        aad,
        &mut Once(Some(Seed(seed))),
    )
    .ok()?;
    Some([&shared.to_bytes()[..], &sealed].concat())
}

/// Opens what [`seal`] made; `None` for other keys, info or aad, and for bytes that were changed.
pub(crate) fn open(secret: &[u8; KEY], info: &[u8], aad: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (shared, sealed) = sealed.split_at_checked(KEY)?;
    let shared = <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(shared).ok()?;
    let mode = OpModeR::Base;
    single_shot_open::<AesGcm128, HkdfSha256, X25519HkdfSha256>(&mode, &private(secret), &shared, info, sealed, aad)
        .ok()
        .map(Zeroizing::new)
}

fn private(secret: &[u8; KEY]) -> <X25519HkdfSha256 as Kem>::PrivateKey {
    <X25519HkdfSha256 as Kem>::PrivateKey::from_bytes(secret).expect("every 32 bytes are an X25519 secret")
}

#[derive(Zeroize, ZeroizeOnDrop)]
struct Seed([u8; KEY]);

/// A source of randomness that holds the material of one ephemeral key.
struct Once(Option<Seed>);

impl TryRng for Once {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("DHKEM draws its key material in one piece")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unreachable!("DHKEM draws its key material in one piece")
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        let seed = self.0.take().expect("DHKEM draws once");
        bytes.copy_from_slice(&seed.0);
        Ok(())
    }
}

impl TryCryptoRng for Once {}

#[cfg(test)]
mod tests {
    use super::*;

    fn unhex(text: &str) -> Vec<u8> {
        crate::hex::unhex(text).unwrap()
    }

    /// RFC 9180, appendix A.1.1: the suite of these functions, base mode, sequence number 0.
    #[test]
    fn it_is_the_suite_of_the_rfc() {
        let ephemeral = unhex("7268600d403fce431561aef583ee1613527cff655c1343f29812e66706df3234");
        let secret = unhex("4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8");
        let public = unhex("3948cfe0ad1ddb695d780e59077195da6c56506b027329794ab02bca80815c4d");
        let info = unhex("4f6465206f6e2061204772656369616e2055726e");
        let plain = unhex("4265617574792069732074727574682c20747275746820626561757479");
        let aad = unhex("436f756e742d30");
        let shared = unhex("37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431");
        let sealed =
            unhex("f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a96d8770ac83d07bea87e13c512a");
        let expected = [shared, sealed].concat();
        let secret: [u8; 32] = secret.try_into().unwrap();
        let public: [u8; 32] = public.try_into().unwrap();
        assert_eq!(public_key(&secret), public);
        let made = seal(&public, &info, &aad, &plain, ephemeral.try_into().unwrap());
        assert_eq!(made.as_ref(), Some(&expected));
        assert_eq!(open(&secret, &info, &aad, &expected).as_deref(), Some(&plain));
    }

    #[test]
    fn what_was_changed_does_not_open() {
        let secret = [7; 32];
        let sealed = seal(&public_key(&secret), b"info", b"aad", b"plain", [1; 32]).unwrap();
        assert!(open(&secret, b"info", b"aad", &sealed).is_some());
        assert!(open(&[8; 32], b"info", b"aad", &sealed).is_none());
        assert!(open(&secret, b"other", b"aad", &sealed).is_none());
        assert!(open(&secret, b"info", b"other", &sealed).is_none());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(open(&secret, b"info", b"aad", &changed).is_none(), "byte {at}");
            assert!(open(&secret, b"info", b"aad", &sealed[..at]).is_none(), "length {at}");
        }
    }

    #[test]
    fn nothing_is_sealed_to_a_key_of_small_order() {
        assert!(seal(&[0; 32], b"info", b"aad", b"plain", [1; 32]).is_none());
    }
}
