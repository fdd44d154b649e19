//! What openmls is given: cryptography, seeded randomness, this device's signature, and storage in a snapshot.

use std::cell::RefCell;
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::RwLock;

use ed25519_dalek::{Signer as _, SigningKey};
use openmls_memory_storage::MemoryStorage;
use openmls_rust_crypto::RustCrypto;
use openmls_traits::OpenMlsProvider;
use openmls_traits::random::OpenMlsRand;
use openmls_traits::signatures::{Signer, SignerError};
use openmls_traits::types::SignatureScheme;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;

use super::Mls;

/// What openmls stores of one group, or of all unused key packages.
pub(crate) type Values = HashMap<Vec<u8>, Vec<u8>>;

/// The member's random numbers. Everything that a member draws comes from its seed, but for the ephemeral keys of
/// HPKE, which the cryptography library draws itself: ciphertexts differ between runs of one seed, lengths do not.
pub(crate) struct Randomness(RefCell<ChaCha20Rng>);

impl Randomness {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self(RefCell::new(ChaCha20Rng::from_seed(seed)))
    }

    pub(crate) fn array<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.borrow_mut().fill_bytes(&mut bytes);
        bytes
    }
}

impl OpenMlsRand for Randomness {
    type Error = Infallible;

    fn random_array<const N: usize>(&self) -> Result<[u8; N], Infallible> {
        Ok(self.array())
    }

    fn random_vec(&self, len: usize) -> Result<Vec<u8>, Infallible> {
        let mut bytes = vec![0; len];
        self.0.borrow_mut().fill_bytes(&mut bytes);
        Ok(bytes)
    }
}

/// The device key, as openmls wants it.
pub(crate) struct DeviceSigner(pub(crate) SigningKey);

impl Signer for DeviceSigner {
    fn sign(&self, payload: &[u8]) -> Result<Vec<u8>, SignerError> {
        Ok(self.0.sign(payload).to_bytes().to_vec())
    }

    fn signature_scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

/// A transaction's view: changes land in its own copy of the values.
pub(crate) struct Provider<'a> {
    mls: &'a Mls,
    storage: MemoryStorage,
}

impl<'a> Provider<'a> {
    /// Begins with a copy of `values`.
    pub(crate) fn open(mls: &'a Mls, values: &Values) -> Self {
        Self { mls, storage: MemoryStorage { values: RwLock::new(values.clone()) } }
    }

    /// Whose it is.
    pub(crate) fn mls(&self) -> &'a Mls {
        self.mls
    }

    /// What the transaction leaves behind.
    pub(crate) fn close(self) -> Values {
        self.storage.values.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl OpenMlsProvider for Provider<'_> {
    type CryptoProvider = RustCrypto;
    type RandProvider = Randomness;
    type StorageProvider = MemoryStorage;

    fn storage(&self) -> &MemoryStorage {
        &self.storage
    }

    fn crypto(&self) -> &RustCrypto {
        &self.mls.crypto
    }

    fn rand(&self) -> &Randomness {
        &self.mls.randomness
    }
}
