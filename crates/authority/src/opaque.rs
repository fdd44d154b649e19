//! The authority's half of OPAQUE (RFC 9807). The credential identifier is the account id, so that names may change.

use ahoy_proto::api::Base64Url;
use ahoy_proto::opaque::Suite;
use ahoy_proto::{AccountId, Name};
use hkdf::Hkdf;
use opaque_ke::rand::{self as opaque_rand, CryptoRng, RngCore};
use opaque_ke::{
    CredentialFinalization, CredentialRequest, RegistrationRequest, RegistrationUpload, ServerLogin,
    ServerLoginParameters, ServerRegistration, ServerSetup,
};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::Keys;

/// A message that is none of OPAQUE's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// A new network's OPAQUE key: seed and key pair.
pub(crate) fn new_setup() -> Zeroizing<Vec<u8>> {
    Zeroizing::new(ServerSetup::<Suite>::new(&mut Rng).serialize().to_vec())
}

/// Whether the bytes are such a key, whole.
pub(crate) fn is_setup(bytes: &[u8]) -> bool {
    ServerSetup::<Suite>::deserialize(bytes).is_ok_and(|setup| setup.serialize().as_slice() == bytes)
}

pub(crate) struct OpaqueServer {
    setup: ServerSetup<Suite>,
    unknown_names: Hkdf<Sha256>,
}

impl OpaqueServer {
    pub(crate) fn new(keys: &Keys) -> Self {
        let setup = ServerSetup::deserialize(keys.opaque_setup()).expect("Keys checks it when it reads it");
        Self { setup, unknown_names: Hkdf::new(None, keys.opaque_setup()) }
    }

    /// RegistrationRequest in, RegistrationResponse out.
    pub(crate) fn register(&self, account: AccountId, request: &Base64Url) -> Result<Base64Url, Malformed> {
        let request = RegistrationRequest::deserialize(&request.0).map_err(|_| Malformed)?;
        let started = ServerRegistration::<Suite>::start(&self.setup, request, &account.0).map_err(|_| Malformed)?;
        Ok(Base64Url(started.message.serialize().to_vec()))
    }

    /// RegistrationUpload in, the record to keep out.
    pub(crate) fn record(upload: &Base64Url) -> Result<Vec<u8>, Malformed> {
        let upload = RegistrationUpload::<Suite>::deserialize(&upload.0).map_err(|_| Malformed)?;
        Ok(ServerRegistration::finish(upload).serialize().to_vec())
    }

    /// KE1 in, KE2 and the state to keep out. Without a record it looks and takes as long as with one.
    pub(crate) fn start_sign_in(
        &self,
        account: AccountId,
        record: Option<&[u8]>,
        request: &Base64Url,
    ) -> Result<(Base64Url, Base64Url), Malformed> {
        let request = CredentialRequest::deserialize(&request.0).map_err(|_| Malformed)?;
        let record = record.map(ServerRegistration::deserialize).transpose().map_err(|_| Malformed)?;
        let parameters = ServerLoginParameters::default();
        let started = ServerLogin::<Suite>::start(&mut Rng, &self.setup, record, request, &account.0, parameters)
            .map_err(|_| Malformed)?;
        let state = started.state.serialize().to_vec();
        Ok((Base64Url(started.message.serialize().to_vec()), Base64Url(state)))
    }

    /// Whether KE3 shows that its sender knows the password.
    pub(crate) fn finish_sign_in(state: &Base64Url, finalization: &Base64Url) -> bool {
        let finish = || {
            let state = ServerLogin::<Suite>::deserialize(&state.0).ok()?;
            let finalization = CredentialFinalization::deserialize(&finalization.0).ok()?;
            state.finish(finalization, ServerLoginParameters::default()).ok()
        };
        finish().is_some()
    }

    /// The id that an unknown name goes by: always the same, and like a real one's to whoever lacks our key.
    pub(crate) fn unknown(&self, name: &Name) -> AccountId {
        let mut id = [0; 16];
        self.unknown_names
            .expand_multi_info(&[b"ahoy/1 unknown name\0", name.as_str().as_bytes()], &mut id)
            .expect("HKDF gives up to 8160 bytes");
        AccountId(id)
    }
}

/// Secure randomness (seeded by the operating system) in the shape that OPAQUE's crate asks for.
pub(crate) struct Rng;

impl CryptoRng for Rng {}

impl RngCore for Rng {
    fn next_u32(&mut self) -> u32 {
        rand::random()
    }

    fn next_u64(&mut self) -> u64 {
        rand::random()
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        rand::fill(bytes);
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), opaque_rand::Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}
