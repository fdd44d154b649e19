//! What the authority must remember between two requests travels with the client, sealed: nonce (24 bytes), then
//! XChaCha20-Poly1305 of expiry (8 bytes, big-endian) and JSON, with the purpose as associated data.

use std::time::Duration;

use ahoy_proto::UnixTime;
use ahoy_proto::api::Base64Url;
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305,
    aead::{Aead, Payload},
};
use hkdf::Hkdf;
use serde::{Serialize, de::DeserializeOwned};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::Keys;

const NONCE: usize = 24;
const EXPIRY: usize = 8;

/// Something that is sealed for later; one purpose's can't pass for another's.
pub(crate) trait Sealable: Serialize + DeserializeOwned {
    const PURPOSE: &'static [u8];
    const LIFE: Duration;
}

/// Seals and opens. Its key is made from the OPAQUE key, so that it is the same after a restart.
pub(crate) struct Sealer(XChaCha20Poly1305);

impl Sealer {
    pub(crate) fn new(keys: &Keys) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(None, keys.opaque_setup())
            .expand(b"ahoy/1 authority state", &mut *key)
            .expect("HKDF gives up to 8160 bytes");
        Self(XChaCha20Poly1305::new((&*key).into()))
    }

    pub(crate) fn seal<T: Sealable>(&self, state: &T, now: UnixTime) -> Base64Url {
        let json = serde_json::to_vec(state).expect("states have string keys only");
        let plain = Zeroizing::new([&now.plus(T::LIFE).0.to_be_bytes()[..], &json].concat());
        let nonce: [u8; NONCE] = rand::random();
        let sealed = self
            .0
            .encrypt((&nonce).into(), Payload { msg: &plain, aad: T::PURPOSE })
            .expect("a state is far below the cipher's limit");
        Base64Url([&nonce[..], &sealed].concat())
    }

    /// `None` when it is too old, for another purpose or not ours.
    pub(crate) fn open<T: Sealable>(&self, sealed: &Base64Url, now: UnixTime) -> Option<T> {
        let (nonce, sealed) = sealed.0.split_at_checked(NONCE)?;
        let plain = self.0.decrypt(nonce.into(), Payload { msg: sealed, aad: T::PURPOSE }).ok()?;
        let plain = Zeroizing::new(plain);
        let (expires, json) = plain.split_at_checked(EXPIRY)?;
        if now.0 > u64::from_be_bytes(expires.try_into().ok()?) {
            return None;
        }
        serde_json::from_slice(json).ok()
    }
}
