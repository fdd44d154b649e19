//! One link's machine: it proves itself, then it is a session.
//!
//! Invariant: before proof nothing but `Prove` is read, and nothing is kept but one unfinished message of 4 KiB.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ahoy_proto::document::{self, Credential, DocumentError, Revocations, Roster, SupernodeCertificate};
use ahoy_proto::flow::FlowId;
use ahoy_proto::frame::{Assembler, Deframer};
use ahoy_proto::proof::{proof_input, trunk_input};
use ahoy_proto::{AccountId, DeviceId, NetworkId, SupernodeId, TRUNK_VERSION, UnixTime, limits, v1};
use ed25519_dalek::{Signature, VerifyingKey};
use smallvec::SmallVec;

use crate::rate::Buckets;
use crate::{ExchangeConfig, Lists, Now};

/// Longest time between two looks at whether a credential has expired, because the wall clock may be set meanwhile: 100,000
/// sessions cost 28 looks a second.
const EXPIRY_LOOK_EVERY: Duration = Duration::from_secs(3600);

/// A rule that a peer has broken. Each closes the link with its own wire error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Bytes that are not a message of the schema.
    #[error("that is not a message of this protocol")]
    Malformed,
    /// A message longer than the limit in force.
    #[error("the message is longer than the limit in force")]
    MessageTooLong,
    /// A request before proof, or a second proof.
    #[error("a link proves itself first, and once")]
    OutOfOrder,
    /// Request number 0, or one that is still unanswered.
    #[error("a request has a number above 0 that no unanswered request has")]
    RequestNumber,
    /// No proof in time.
    #[error("the link has not proven itself in time")]
    ProofTimeout,
    /// A credential that no key of this network signed, or that can't be read.
    #[error("the credential is not signed by this network")]
    CredentialForged,
    /// A credential whose time is over or has not begun.
    #[error("the credential has expired or is not valid yet: renew it and check the clock")]
    CredentialExpired,
    /// A credential on the revocation list.
    #[error("the credential has been revoked: sign in again")]
    CredentialRevoked,
    /// A credential of another network.
    #[error("the credential belongs to another network")]
    WrongNetwork,
    /// A proof that does not verify under the credential's device key.
    #[error("the proof is not signed by the credential's device key")]
    ProofInvalid,
    /// A version below the least one served.
    #[error("this version is no longer served: update the program")]
    VersionTooOld,
    /// More unanswered requests than allowed.
    #[error("too many unanswered requests")]
    TooManyRequests,
    /// A long message while the shard holds as many unfinished ones as it can, or one that is unfinished for too long: nobody's fault.
    #[error("this supernode can't hold an unfinished long message now: try again")]
    NoRoom,
}

impl Violation {
    /// All violations, in the order of [`index`](Self::index).
    pub const ALL: [Self; 13] = [
        Self::Malformed,
        Self::MessageTooLong,
        Self::OutOfOrder,
        Self::RequestNumber,
        Self::ProofTimeout,
        Self::CredentialForged,
        Self::CredentialExpired,
        Self::CredentialRevoked,
        Self::WrongNetwork,
        Self::ProofInvalid,
        Self::VersionTooOld,
        Self::TooManyRequests,
        Self::NoRoom,
    ];

    /// Its place in [`Counters::violations`](crate::Counters::violations).
    pub fn index(self) -> usize {
        self as usize
    }

    /// The wire error code that closes the link.
    pub fn code(self) -> v1::ErrorCode {
        match self {
            Self::Malformed => v1::ErrorCode::Malformed,
            Self::MessageTooLong => v1::ErrorCode::MessageTooLong,
            Self::OutOfOrder => v1::ErrorCode::OutOfOrder,
            Self::RequestNumber => v1::ErrorCode::RequestNumber,
            Self::ProofTimeout => v1::ErrorCode::ProofTimeout,
            Self::CredentialForged => v1::ErrorCode::CredentialForged,
            Self::CredentialExpired => v1::ErrorCode::CredentialExpired,
            Self::CredentialRevoked => v1::ErrorCode::CredentialRevoked,
            Self::WrongNetwork => v1::ErrorCode::WrongNetwork,
            Self::ProofInvalid => v1::ErrorCode::ProofInvalid,
            Self::VersionTooOld => v1::ErrorCode::VersionTooOld,
            Self::TooManyRequests => v1::ErrorCode::TooManyRequests,
            Self::NoRoom => v1::ErrorCode::Overloaded,
        }
    }
}

impl From<DocumentError> for Violation {
    fn from(error: DocumentError) -> Self {
        match error {
            DocumentError::Malformed | DocumentError::Forged => Self::CredentialForged,
            DocumentError::WrongNetwork => Self::WrongNetwork,
            DocumentError::Expired => Self::CredentialExpired,
        }
    }
}

/// A link and how far it has come.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) deframer: Deframer,
    pub(crate) phase: Phase,
}

#[derive(Debug)]
pub(crate) enum Phase {
    /// The challenge is out.
    Proving(Proving),
    /// The proof was accepted.
    Online(Online),
}

#[derive(Debug)]
pub(crate) struct Proving {
    pub(crate) nonce: [u8; 32],
    pub(crate) exporter: Option<[u8; 32]>,
    pub(crate) deadline: Instant,
}

#[derive(Debug)]
pub(crate) struct Online {
    pub(crate) account: AccountId,
    pub(crate) device: DeviceId,
    pub(crate) standing: Standing,
    pub(crate) unanswered: SmallVec<[u64; 2]>,
    pub(crate) flows: SmallVec<[FlowId; 1]>,
    /// [`Now::steady_ms`].
    pub(crate) signed_in_ms: u64,
    pub(crate) buckets: Buckets,
    /// The long message that is under way.
    pub(crate) long: Option<Box<Long>>,
}

/// A long message of which some fragments are there.
#[derive(Debug)]
pub(crate) struct Long {
    pub(crate) pieces: Assembler,
    /// When it must be whole.
    pub(crate) until: Instant,
}

/// What a session rests on: its newest credential.
#[derive(Debug)]
pub(crate) struct Standing {
    pub(crate) device_key: [u8; 32],
    /// When the credential was signed: revocations go by it.
    pub(crate) issued_at: UnixTime,
    /// Its last second.
    expires: UnixTime,
    /// When the timer looks at it.
    pub(crate) look_at: Instant,
}

impl Standing {
    pub(crate) fn of(credential: &Credential, now: Now) -> Self {
        let mut standing = Self {
            device_key: *credential.confirmation.jwk.bytes(),
            issued_at: credential.issued_at,
            expires: credential.expires,
            look_at: now.instant,
        };
        standing.look_again(now);
        standing
    }

    pub(crate) fn is_over(&self, now: Now) -> bool {
        now.unix() > self.expires
    }

    /// Puts off the next look until the credential is over, as far as the clocks can say.
    pub(crate) fn look_again(&mut self, now: Now) {
        let over_ms = self.expires.0.saturating_add(1).saturating_mul(1000);
        let left = Duration::from_millis(over_ms.saturating_sub(now.unix_ms));
        self.look_at = now.instant + left.min(EXPIRY_LOOK_EVERY);
    }
}

impl Phase {
    /// The longest message accepted now, in bytes.
    pub(crate) fn message_max(&self) -> usize {
        match self {
            Self::Proving(_) => limits::UNPROVEN_MESSAGE_MAX,
            Self::Online(_) => limits::MESSAGE_MAX,
        }
    }
}

impl Proving {
    /// Checks a proof: version, credential, revocations, signature.
    pub(crate) fn verify(
        &self,
        prove: &v1::Prove,
        config: &ExchangeConfig,
        authority: &Authority,
        now: UnixTime,
    ) -> Result<Credential, Violation> {
        if prove.version < config.minimum_version {
            return Err(Violation::VersionTooOld);
        }
        let credential = authority.verify(&prove.credential, config.network, now)?;
        let key = credential.confirmation.jwk.verifying_key().ok_or(Violation::ProofInvalid)?;
        let signature = Signature::from_slice(&prove.signature).map_err(|_| Violation::ProofInvalid)?;
        let input = proof_input(config.network, config.supernode, &self.nonce, self.exporter.as_ref());
        key.verify_strict(&input, &signature).map_err(|_| Violation::ProofInvalid)?;
        Ok(credential)
    }

    /// Checks whether another supernode of the fleet has dialled: version, certificate, roster, signature.
    pub(crate) fn verify_trunk(
        &self,
        join: &v1::JoinTrunk,
        config: &ExchangeConfig,
        authority: &Authority,
        now: UnixTime,
    ) -> Result<SupernodeId, Violation> {
        if join.version != TRUNK_VERSION {
            return Err(Violation::VersionTooOld);
        }
        let dialler = authority.verify_supernode(&join.certificate, config.network, now)?;
        let exporter = self.exporter.as_ref().filter(|_| dialler.supernode != config.supernode);
        let exporter = exporter.ok_or(Violation::ProofInvalid)?;
        let key = dialler.confirmation.jwk.verifying_key().ok_or(Violation::ProofInvalid)?;
        let signature = Signature::from_slice(&join.signature).map_err(|_| Violation::ProofInvalid)?;
        let (own, theirs) = (config.supernode, dialler.supernode);
        let input = trunk_input(config.network, own, theirs, join.incarnation, &self.nonce, exporter);
        key.verify_strict(&input, &signature).map_err(|_| Violation::ProofInvalid)?;
        Ok(dialler.supernode)
    }
}

impl ExchangeConfig {
    pub(crate) fn trunk_joined(&self) -> v1::TrunkJoined {
        let shards = self.shards.into();
        v1::TrunkJoined { version: TRUNK_VERSION, incarnation: self.incarnation, shards }
    }
}

/// What the authority last said: which keys sign credentials, and which credentials are void.
#[derive(Debug, Default)]
pub(crate) struct Authority {
    pub(crate) signing_keys: Vec<VerifyingKey>,
    pub(crate) revoked: Revoked,
    pub(crate) roster_serial: u64,
    /// This supernode's own.
    pub(crate) certificate: String,
    roster: Option<Arc<Roster>>,
}

impl Authority {
    /// Checks a credential: signature, network, dates, revocations.
    pub(crate) fn verify(&self, token: &str, network: NetworkId, now: UnixTime) -> Result<Credential, Violation> {
        let credential: Credential = document::verify(token, &self.signing_keys, network, now)?;
        if self.revoked.covers(credential.account, credential.device, credential.issued_at) {
            return Err(Violation::CredentialRevoked);
        }
        Ok(credential)
    }

    /// Checks a supernode's certificate: signature, network, dates, and that the roster lists it with this key.
    pub(crate) fn verify_supernode(
        &self,
        token: &str,
        network: NetworkId,
        now: UnixTime,
    ) -> Result<SupernodeCertificate, Violation> {
        let certificate: SupernodeCertificate = document::verify(token, &self.signing_keys, network, now)?;
        let key = &certificate.confirmation.jwk;
        let listed = self.roster.iter().flat_map(|roster| &roster.supernodes).any(|entry| {
            (entry.supernode, &entry.key) == (certificate.supernode, key)
                && SupernodeId::of_roster_key(key.bytes()) == entry.supernode
        });
        if listed { Ok(certificate) } else { Err(Violation::CredentialRevoked) }
    }

    /// Takes over what the authority has signed; says whether the revocation list may void sessions.
    pub(crate) fn set(&mut self, lists: Lists) -> bool {
        let Lists { signing_keys, revocations, roster, certificate } = lists;
        self.signing_keys = signing_keys;
        self.certificate = certificate;
        self.roster_serial = roster.serial;
        self.roster = Some(roster);
        let newer = revocations.serial >= self.revoked.serial;
        if newer {
            self.revoked = Revoked::new(&revocations);
        }
        newer
    }
}

/// A revocation list, for look-up.
#[derive(Debug, Default)]
pub(crate) struct Revoked {
    pub(crate) serial: u64,
    devices: BTreeMap<DeviceId, UnixTime>,
    accounts: BTreeMap<AccountId, UnixTime>,
}

impl Revoked {
    pub(crate) fn new(list: &Revocations) -> Self {
        Self {
            serial: list.serial,
            devices: list.devices.iter().map(|line| (line.id, line.at)).collect(),
            accounts: list.accounts.iter().map(|line| (line.id, line.at)).collect(),
        }
    }

    /// Whether a credential signed at that time is void.
    pub(crate) fn covers(&self, account: AccountId, device: DeviceId, issued_at: UnixTime) -> bool {
        self.devices.get(&device).is_some_and(|at| issued_at <= *at)
            || self.accounts.get(&account).is_some_and(|at| issued_at <= *at)
    }
}
