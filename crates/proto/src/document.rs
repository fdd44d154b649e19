//! Signed documents: credential, signing-key certificate, roster and revocation list.
//!
//! Each is a compact JWS (RFC 7515) with `alg` EdDSA (RFC 8037), a `typ` of its own, so that one kind can't pass for
//! another, and a `kid`. No other algorithm is read.

use std::time::Duration;

use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use crate::hex::{base64url, hex, unbase64url};
use crate::{AccountId, DeviceId, Name, NetworkId, SupernodeId, UnixTime, limits};

/// A kind of signed document.
pub trait Document: Serialize + DeserializeOwned {
    /// The JWS header's `typ`.
    const TYPE: &'static str;
    /// The network that it speaks for.
    fn network(&self) -> NetworkId;
    /// First and last second of its validity.
    fn validity(&self) -> (UnixTime, UnixTime);
}

/// Why a document is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// Not three base64url parts, not the JSON expected, or of another type or algorithm.
    #[error("the document is malformed")]
    Malformed,
    /// No key given verifies the signature.
    #[error("the document is not signed by a key of this network")]
    Forged,
    /// Signed for another network.
    #[error("the document belongs to another network")]
    WrongNetwork,
    /// Its time is over, or has not begun.
    #[error("the document has expired or is not valid yet")]
    Expired,
}

#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
}

/// A key's name in the `kid` of a header: the first 8 bytes of its SHA-256, in hexadecimal.
pub fn key_id(key: &VerifyingKey) -> String {
    hex(&Sha256::digest(key.as_bytes())[..8])
}

/// The document as a compact JWS.
pub fn sign<D: Document>(document: &D, key: &SigningKey) -> String {
    let header = Header { alg: "EdDSA".to_owned(), typ: D::TYPE.to_owned(), kid: key_id(&key.verifying_key()) };
    let header = serde_json::to_vec(&header).expect("a header of strings is always JSON");
    let claims = serde_json::to_vec(document).expect("documents have string keys only");
    let input = format!("{}.{}", base64url(&header), base64url(&claims));
    let signature = key.sign(input.as_bytes());
    format!("{input}.{}", base64url(&signature.to_bytes()))
}

/// Checks signature, type, network and time, in that order, and gives the document.
///
/// # Errors
/// Says which check failed.
pub fn verify<D: Document>(
    token: &str,
    keys: &[VerifyingKey],
    network: NetworkId,
    now: UnixTime,
) -> Result<D, DocumentError> {
    verify_late(token, keys, network, now, Duration::ZERO)
}

/// As [`verify`], but a document that expired at most `grace` ago passes too.
///
/// # Errors
/// Says which check failed.
pub fn verify_late<D: Document>(
    token: &str,
    keys: &[VerifyingKey],
    network: NetworkId,
    now: UnixTime,
    grace: Duration,
) -> Result<D, DocumentError> {
    let (input, signature) = token.rsplit_once('.').ok_or(DocumentError::Malformed)?;
    let (header, claims) = input.split_once('.').ok_or(DocumentError::Malformed)?;
    let header: Header = parse(header)?;
    if header.alg != "EdDSA" || header.typ != D::TYPE {
        return Err(DocumentError::Malformed);
    }
    let signature = unbase64url(signature).ok_or(DocumentError::Malformed)?;
    let signature = ed25519_dalek::Signature::from_slice(&signature).map_err(|_| DocumentError::Malformed)?;
    let key = keys.iter().find(|key| key_id(key) == header.kid).ok_or(DocumentError::Forged)?;
    key.verify_strict(input.as_bytes(), &signature).map_err(|_| DocumentError::Forged)?;
    let document: D = parse(claims)?;
    if document.network() != network {
        return Err(DocumentError::WrongNetwork);
    }
    let (from, to) = document.validity();
    if now.plus(limits::CLOCK_SKEW_MAX) < from || now > to.plus(grace) {
        return Err(DocumentError::Expired);
    }
    Ok(document)
}

fn parse<T: DeserializeOwned>(part: &str) -> Result<T, DocumentError> {
    let json = unbase64url(part).ok_or(DocumentError::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| DocumentError::Malformed)
}

/// An Ed25519 public key as a JSON Web Key (RFC 8037).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwk {
    kty: KeyType,
    crv: Curve,
    #[serde(with = "key_text")]
    x: [u8; 32],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum KeyType {
    #[serde(rename = "OKP")]
    Okp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Curve {
    Ed25519,
}

impl Jwk {
    /// The 32 bytes of an Ed25519 public key, as a JSON Web Key.
    pub fn ed25519(key: [u8; 32]) -> Self {
        Self { kty: KeyType::Okp, crv: Curve::Ed25519, x: key }
    }

    /// The 32 bytes.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.x
    }

    /// The key, `None` when the bytes are no point of the curve.
    pub fn verifying_key(&self) -> Option<VerifyingKey> {
        VerifyingKey::from_bytes(&self.x).ok()
    }
}

mod key_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::hex::{base64url, unbase64url};

    pub(super) fn serialize<S: Serializer>(key: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&base64url(key))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = unbase64url(&text).ok_or_else(|| D::Error::custom("a key is base64url"))?;
        bytes.try_into().map_err(|_| D::Error::custom("a key is 32 bytes"))
    }
}

/// RFC 7800: the key whose holder may use a credential.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmation {
    /// The device key.
    pub jwk: Jwk,
}

/// Opens sessions, nothing else: the authority's word that a device key speaks for an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// The network.
    #[serde(rename = "iss")]
    pub network: NetworkId,
    /// The account.
    #[serde(rename = "sub")]
    pub account: AccountId,
    /// The account's name when this was signed.
    pub name: Name,
    /// The device.
    pub device: DeviceId,
    /// The device key.
    #[serde(rename = "cnf")]
    pub confirmation: Confirmation,
    /// When it was signed.
    #[serde(rename = "iat")]
    pub issued_at: UnixTime,
    /// Its last second.
    #[serde(rename = "exp")]
    pub expires: UnixTime,
}

/// The root key's word for a signing key, with which the authority signs everything else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningKeyCertificate {
    /// The network.
    #[serde(rename = "iss")]
    pub network: NetworkId,
    /// The signing key.
    pub key: Jwk,
    /// When it was signed.
    #[serde(rename = "iat")]
    pub issued_at: UnixTime,
    /// Its last second.
    #[serde(rename = "exp")]
    pub expires: UnixTime,
}

/// The list of supernodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roster {
    /// The network.
    #[serde(rename = "iss")]
    pub network: NetworkId,
    /// Goes up with every change.
    pub serial: u64,
    /// All supernodes that clients may dial.
    pub supernodes: Vec<RosterEntry>,
    /// When it was signed.
    #[serde(rename = "iat")]
    pub issued_at: UnixTime,
    /// Its last second.
    #[serde(rename = "exp")]
    pub expires: UnixTime,
}

/// One supernode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RosterEntry {
    /// Made from `key`; see [`SupernodeId::of_roster_key`].
    pub supernode: SupernodeId,
    /// The key that its TLS certificate must hold.
    pub key: Jwk,
    /// Where it listens: `host:port`, for UDP and TCP alike, in order of preference.
    pub addresses: Vec<String>,
    /// The operator's word for where it stands.
    pub region: String,
    /// Its share of new sessions, relative to the others.
    pub weight: u32,
    /// As in its certificate. 0 in rosters from before there were fleets.
    #[serde(default)]
    pub number: u32,
}

/// The authority's word that a key is a supernode of the network. Made at enrolment, from a token of the operator's; nothing
/// else makes one. It says nothing about today: a supernode is one while its newest certificate lasts *and* the newest roster
/// lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SupernodeCertificate {
    /// The network.
    #[serde(rename = "iss")]
    pub network: NetworkId,
    /// Made from the key; see [`SupernodeId::of_roster_key`].
    #[serde(rename = "sub")]
    pub supernode: SupernodeId,
    /// The supernode's key, as in the roster.
    #[serde(rename = "cnf")]
    pub confirmation: Confirmation,
    /// Unique in the network and never given twice; part of the flow ids that it makes.
    pub number: u32,
    /// How it came to be one.
    pub policy: SupernodePolicy,
    /// When it was signed.
    #[serde(rename = "iat")]
    pub issued_at: UnixTime,
    /// Its last second.
    #[serde(rename = "exp")]
    pub expires: UnixTime,
}

/// Under which rule a certificate was given. There is one: users' machines are not promoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SupernodePolicy {
    /// The operator runs it, and enrolled it with a one-time token.
    Hosted,
}

/// Credentials that are void before their time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocations {
    /// The network.
    #[serde(rename = "iss")]
    pub network: NetworkId,
    /// Goes up with every change.
    pub serial: u64,
    /// Devices whose credentials are void if signed at or before the given time.
    pub devices: Vec<Revoked<DeviceId>>,
    /// The same for whole accounts.
    pub accounts: Vec<Revoked<AccountId>>,
    /// When it was signed.
    #[serde(rename = "iat")]
    pub issued_at: UnixTime,
    /// Its last second.
    #[serde(rename = "exp")]
    pub expires: UnixTime,
}

/// One line of a revocation list. It can be dropped once [`limits::CREDENTIAL_LIFE`] has passed since `at`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked<Id> {
    /// Whose.
    pub id: Id,
    /// Void if signed at or before this.
    pub at: UnixTime,
}

impl Revocations {
    /// Whether a credential is void.
    pub fn covers(&self, credential: &Credential) -> bool {
        let issued = credential.issued_at;
        self.devices.iter().any(|line| line.id == credential.device && issued <= line.at)
            || self.accounts.iter().any(|line| line.id == credential.account && issued <= line.at)
    }
}

macro_rules! document {
    ($name:ident, $type:literal) => {
        impl Document for $name {
            const TYPE: &'static str = $type;
            fn network(&self) -> NetworkId {
                self.network
            }
            fn validity(&self) -> (UnixTime, UnixTime) {
                (self.issued_at, self.expires)
            }
        }
    };
}

document!(Credential, "ahoy-credential+jwt");
document!(SigningKeyCertificate, "ahoy-signing-key+jwt");
document!(SupernodeCertificate, "ahoy-supernode+jwt");
document!(Roster, "ahoy-roster+jwt");
document!(Revocations, "ahoy-revocations+jwt");

impl Credential {
    /// When its holder should ask for the next one: at half of its life.
    pub fn renew_at(&self) -> UnixTime {
        let life = self.issued_at.distance(self.expires);
        self.issued_at.plus(Duration::from_secs(life.as_secs() / 2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    fn network() -> NetworkId {
        NetworkId::of_root_key(key(9).verifying_key().as_bytes())
    }

    fn credential() -> Credential {
        Credential {
            network: network(),
            account: AccountId([1; 16]),
            name: Name::parse("alice").unwrap(),
            device: DeviceId([2; 16]),
            confirmation: Confirmation { jwk: Jwk::ed25519(*key(3).verifying_key().as_bytes()) },
            issued_at: UnixTime(1000),
            expires: UnixTime(2000),
        }
    }

    #[test]
    fn a_signed_document_verifies() {
        let token = sign(&credential(), &key(1));
        let back = verify(&token, &[key(1).verifying_key()], network(), UnixTime(1500));
        assert_eq!(back, Ok(credential()));
    }

    #[test]
    fn the_largest_roster_is_not_longer_than_what_clients_read() {
        let public = *key(3).verifying_key().as_bytes();
        let entry = RosterEntry {
            supernode: SupernodeId::of_roster_key(&public),
            key: Jwk::ed25519(public),
            addresses: vec!["a".repeat(limits::SUPERNODE_ADDRESS_MAX); limits::SUPERNODE_ADDRESSES_MAX],
            region: "\"".repeat(limits::REGION_MAX),
            weight: u32::MAX,
            number: u32::MAX,
        };
        let roster = Roster {
            network: network(),
            serial: u64::MAX,
            supernodes: vec![entry; limits::SUPERNODES_MAX],
            issued_at: UnixTime(u64::MAX),
            expires: UnixTime(u64::MAX),
        };
        let length = sign(&roster, &key(1)).len();
        assert!((limits::ROSTER_BYTES_MAX * 9 / 10..=limits::ROSTER_BYTES_MAX).contains(&length), "{length}");
    }

    #[test]
    fn a_document_by_a_strange_key_is_forged() {
        let token = sign(&credential(), &key(1));
        let back = verify::<Credential>(&token, &[key(2).verifying_key()], network(), UnixTime(1500));
        assert_eq!(back, Err(DocumentError::Forged));
    }

    #[test]
    fn a_changed_claim_is_forged() {
        let token = sign(&credential(), &key(1));
        let mut other = credential();
        other.expires = UnixTime(9000);
        let theirs = sign(&other, &key(1));
        let parts: Vec<_> = token.split('.').collect();
        let claims = theirs.split('.').nth(1).unwrap();
        let mixed = format!("{}.{claims}.{}", parts[0], parts[2]);
        let back = verify::<Credential>(&mixed, &[key(1).verifying_key()], network(), UnixTime(1500));
        assert_eq!(back, Err(DocumentError::Forged));
    }

    #[test]
    fn a_document_of_one_type_does_not_pass_for_another() {
        let token = sign(&credential(), &key(1));
        let back = verify::<Roster>(&token, &[key(1).verifying_key()], network(), UnixTime(1500));
        assert_eq!(back, Err(DocumentError::Malformed));
    }

    #[test]
    fn time_and_network_are_checked() {
        let token = sign(&credential(), &key(1));
        let keys = [key(1).verifying_key()];
        let late = verify::<Credential>(&token, &keys, network(), UnixTime(2001));
        assert_eq!(late, Err(DocumentError::Expired));
        let grace = Duration::from_secs(1);
        assert_eq!(verify_late(&token, &keys, network(), UnixTime(2001), grace), Ok(credential()));
        let too_late = verify_late::<Credential>(&token, &keys, network(), UnixTime(2002), grace);
        assert_eq!(too_late, Err(DocumentError::Expired));
        let early = verify::<Credential>(&token, &keys, network(), UnixTime(600));
        assert_eq!(early, Err(DocumentError::Expired));
        let abroad = verify::<Credential>(&token, &keys, NetworkId([0; 16]), UnixTime(1500));
        assert_eq!(abroad, Err(DocumentError::WrongNetwork));
    }

    #[test]
    fn a_revocation_voids_what_was_signed_before_it_and_nothing_later() {
        let list = |at| Revocations {
            network: network(),
            serial: 1,
            devices: vec![Revoked { id: DeviceId([2; 16]), at: UnixTime(at) }],
            accounts: vec![],
            issued_at: UnixTime(0),
            expires: UnixTime(9000),
        };
        assert!(list(1000).covers(&credential()));
        assert!(!list(999).covers(&credential()));
    }
}
