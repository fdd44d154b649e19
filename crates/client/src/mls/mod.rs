//! Conversations' cryptography: MLS groups (RFC 9420) by openmls, with this device's key as signature key.
//!
//! Every operation is a transaction: it reads a [`Snapshot`] and gives a new one, or fails and changes nothing. openmls keeps
//! one epoch only; what past ones need is in their own snapshots, so that a message rewrites a few kilobytes, however many
//! devices there are.
//! Nothing here decides whom to trust; [`Group::leaves`] and [`Change`] tell the caller who is, and who would be, in
//! a group, on the word of bindings that have been checked.

mod group;
mod leaf;
mod provider;
#[cfg(test)]
mod tests;

pub(crate) use group::{Change, Group, Snapshot, Unsealed};
pub(crate) use leaf::Leaf;
pub(crate) use provider::Values;

use ahoy_proto::{CallId, ConversationId, DeviceId, LegId, v1};
use bytes::Bytes;
use ed25519_dalek::SigningKey;
use openmls::prelude::tls_codec::{DeserializeBytes as _, Serialize as _};
use openmls::prelude::{
    BasicCredential, Capabilities, Ciphersuite, CredentialWithKey, GroupId, KeyPackage, KeyPackageIn, Lifetime,
    MlsGroupJoinConfig, MlsMessageBodyIn, MlsMessageIn, ProtocolMessage, ProtocolVersion, SenderRatchetConfiguration,
};
use openmls_rust_crypto::RustCrypto;
use prost::Message;

use group::Opened;
use provider::{DeviceSigner, Provider, Randomness};

/// The one suite of today.
const SUITE: Ciphersuite = Ciphersuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519;

/// Epochs whose messages still open after the group has moved on: each change of a member's devices makes one, and
/// call signalling is at most seconds behind.
pub(crate) const PAST_EPOCHS: usize = 5;

/// Messages of one sender that may be lost, or come late, in an epoch.
const FORWARD_DISTANCE_MAX: u32 = 1000;
const OUT_OF_ORDER_MAX: u32 = 16;

/// Sealed parts are padded to a multiple of this many bytes, so that a name's length does not show.
const PADDING: usize = 64;

/// Why an operation failed; nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MlsError {
    /// Not an MLS message of the kind expected, or of another group or suite.
    #[error("not the MLS message expected")]
    Malformed,
    /// Of an epoch that this device is not in yet.
    #[error("of an epoch to come")]
    Future,
    /// Does not open or verify: forged, replayed, from too long ago, or for somebody else.
    #[error("does not open")]
    Refused,
    /// A leaf whose binding is not signed by its account key, or is of another device key.
    #[error("a leaf without a valid binding")]
    Unbound,
    /// The values do not hold a group.
    #[error("no group state")]
    NoGroup,
}

/// This device as a member of groups.
pub(crate) struct Mls {
    crypto: RustCrypto,
    randomness: Randomness,
    signer: DeviceSigner,
    credential: CredentialWithKey,
    opened: Opened,
}

/// Which group a conversation is in: conversation id and generation (4 bytes, big-endian).
pub(crate) fn group_id(conversation: ConversationId, generation: u32) -> GroupId {
    GroupId::from_slice(&[&conversation.0[..], &generation.to_be_bytes()].concat())
}

impl Mls {
    /// The device that holds `device_key` and stands in leaves with `binding`.
    pub(crate) fn new(device_key: &SigningKey, binding: &v1::Binding, seed: [u8; 32]) -> Self {
        let credential = CredentialWithKey {
            credential: BasicCredential::new(binding.encode_to_vec()).into(),
            signature_key: device_key.verifying_key().as_bytes()[..].into(),
        };
        let signer = DeviceSigner(device_key.clone());
        let randomness = Randomness::new(seed);
        Self { crypto: RustCrypto::default(), randomness, signer, credential, opened: Opened::default() }
    }

    /// 16 random bytes, for ids.
    pub(crate) fn random_id(&self) -> [u8; 16] {
        self.randomness.array()
    }

    /// 32 random bytes, for an ephemeral key.
    pub(crate) fn random_seed(&self) -> [u8; 32] {
        self.randomness.array()
    }

    /// 24 random bytes, for nonces.
    pub(crate) fn random_nonce(&self) -> [u8; 24] {
        self.randomness.array()
    }

    /// A random number below `bound`, for jitter; 0 when the bound is.
    pub(crate) fn random_below(&self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { u64::from_le_bytes(self.randomness.array()) % bound }
    }

    /// Makes key packages, the secrets of which are added to `shelf`.
    pub(crate) fn key_packages(&self, shelf: &mut Values, count: usize) -> Result<Vec<Bytes>, MlsError> {
        (0..count).map(|_| self.key_package(shelf, false)).collect()
    }

    /// Makes a key package for when all others are used up.
    pub(crate) fn last_resort(&self, shelf: &mut Values) -> Result<Bytes, MlsError> {
        self.key_package(shelf, true)
    }

    fn key_package(&self, shelf: &mut Values, last_resort: bool) -> Result<Bytes, MlsError> {
        let mut builder = KeyPackage::builder().key_package_lifetime(lifetime()).leaf_node_capabilities(capabilities());
        if last_resort {
            builder = builder.mark_as_last_resort();
        }
        let provider = Provider::open(self, shelf);
        let bundle =
            builder.build(SUITE, &provider, &self.signer, self.credential.clone()).map_err(|_| MlsError::Malformed)?;
        let message = openmls::prelude::MlsMessageOut::from(bundle.key_package().clone());
        let bytes = message.tls_serialize_detached().map_err(|_| MlsError::Malformed)?;
        *shelf = provider.close();
        Ok(bytes.into())
    }

    /// Checks somebody's key package: suite, signatures, binding.
    pub(crate) fn check_key_package(&self, bytes: &[u8]) -> Result<(KeyPackage, Leaf), MlsError> {
        let MlsMessageBodyIn::KeyPackage(package) = message(bytes)? else { return Err(MlsError::Malformed) };
        self.validate(package)
    }

    fn validate(&self, package: KeyPackageIn) -> Result<(KeyPackage, Leaf), MlsError> {
        let package = package.validate(&self.crypto, ProtocolVersion::Mls10).map_err(|_| MlsError::Refused)?;
        if package.ciphersuite() != SUITE {
            return Err(MlsError::Malformed);
        }
        let node = package.leaf_node();
        let leaf = leaf::read(node.credential(), node.signature_key().as_slice())?;
        Ok((package, leaf))
    }
}

/// The voice key of a leg: HKDF-Expand (RFC 5869, SHA-256) of the epoch's voice secret over call and leg.
pub(crate) fn voice_key(voice_secret: &[u8; 32], call: CallId, leg: LegId) -> [u8; 16] {
    let mut key = [0; 16];
    hkdf::Hkdf::<sha2::Sha256>::from_prk(voice_secret)
        .expect("32 bytes are a pseudorandom key of SHA-256")
        .expand(&[call.0, leg.0].concat(), &mut key)
        .expect("16 bytes are within the reach of HKDF");
    key
}

/// The key of a device's receipts and signals: HKDF-Expand of the epoch's voice secret over label and device.
pub(crate) fn signal_key(voice_secret: &[u8; 32], device: DeviceId) -> [u8; 32] {
    let mut key = [0; 32];
    hkdf::Hkdf::<sha2::Sha256>::from_prk(voice_secret)
        .expect("32 bytes are a pseudorandom key of SHA-256")
        .expand(&[SIGNAL_LABEL, &device.0[..]].concat(), &mut key)
        .expect("32 bytes are within the reach of HKDF");
    key
}

const SIGNAL_LABEL: &[u8] = b"ahoy/1 signal";

/// The epoch that a handshake or application message says it is of.
pub(crate) fn epoch_of(bytes: &[u8]) -> Result<u64, MlsError> {
    match message(bytes)? {
        MlsMessageBodyIn::PublicMessage(message) => Ok(ProtocolMessage::from(message).epoch().as_u64()),
        MlsMessageBodyIn::PrivateMessage(message) => Ok(ProtocolMessage::from(message).epoch().as_u64()),
        _ => Err(MlsError::Malformed),
    }
}

/// Parses any MLS message; the whole of the bytes.
fn message(bytes: &[u8]) -> Result<MlsMessageBodyIn, MlsError> {
    MlsMessageIn::tls_deserialize_exact_bytes(bytes).map(MlsMessageIn::extract).map_err(|_| MlsError::Malformed)
}

/// Key packages end by use, and devices by removal; no clock takes part.
fn lifetime() -> Lifetime {
    Lifetime::init(0, u64::MAX)
}

/// Suite 1 with basic credentials, and nothing else: what leaves must agree on.
fn capabilities() -> Capabilities {
    Capabilities::builder().ciphersuites(vec![SUITE]).build()
}

fn join_config() -> MlsGroupJoinConfig {
    MlsGroupJoinConfig::builder()
        .max_past_epochs(0)
        .padding_size(PADDING)
        .use_ratchet_tree_extension(true)
        .wire_format_policy(openmls::prelude::MIXED_PLAINTEXT_WIRE_FORMAT_POLICY)
        .sender_ratchet_configuration(SenderRatchetConfiguration::new(OUT_OF_ORDER_MAX, FORWARD_DISTANCE_MAX))
        .build()
}
