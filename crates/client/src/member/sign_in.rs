//! Sign-in on a new link: challenge, proof, welcome.

use ahoy_proto::document::{self, DocumentError, Jwk, SupernodeCertificate};
use ahoy_proto::limits::CLOCK_SKEW_MAX;
use ahoy_proto::proof::proof_input;
use ahoy_proto::{NetworkId, SupernodeId, UnixTime, v1};
use bytes::Bytes;
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};

use v1::supernode_message::Body;

/// The request number of `Prove`, the first of every link.
const PROVE: u64 = 1;

/// Signs in on one link. Give it the supernode's messages until it says [`SignInStep::SignedIn`].
pub struct SignIn {
    network: NetworkId,
    supernode: SupernodeId,
    exporter: Option<[u8; 32]>,
    credential: String,
    device_key: SigningKey,
    agent: String,
    urgency: v1::Urgency,
    check: Option<Check>,
    proven: bool,
}

/// What a supernode's certificate is checked with.
struct Check {
    signing_keys: Vec<VerifyingKey>,
    /// Of the roster entry that was dialled.
    key: Jwk,
}

impl std::fmt::Debug for SignIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignIn")
            .field("supernode", &self.supernode)
            .field("proven", &self.proven)
            .finish_non_exhaustive()
    }
}

/// What to do next.
#[derive(Debug)]
pub enum SignInStep {
    /// Send this and go on.
    Send(v1::ClientMessage),
    /// The link is a session: [`Member::handle_session_up`](super::Member::handle_session_up).
    SignedIn(v1::Welcome),
}

/// Why this link becomes no session; close it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignInError {
    /// The two clocks differ by more than credentials allow.
    #[error("this device's clock is {seconds} s {} the network's: set it right", if *.behind { "behind" } else { "ahead of" })]
    ClockSkewed {
        /// By how much.
        seconds: u64,
        /// Whether this device's clock is the earlier one.
        behind: bool,
    },
    /// The supernode serves newer protocol versions only.
    #[error(
        "this program is too old for the network (it speaks version {}, at least {minimum} is needed): update it",
        ahoy_proto::VERSION
    )]
    VersionTooOld {
        /// Least version served.
        minimum: u32,
    },
    /// The authority's word that this is a supernode is missing or not good.
    #[error("the supernode {supernode} can't show that it is one: {why}")]
    NotCertified {
        /// Which.
        supernode: SupernodeId,
        /// What is wrong.
        why: CertificateError,
    },
    /// Another supernode than the one dialled.
    #[error("another supernode answered than the one dialled")]
    WrongSupernode,
    /// Not what the protocol has at this place.
    #[error("the supernode does not keep to the protocol")]
    OutOfOrder,
    /// The supernode says no.
    #[error("{text}")]
    Refused {
        /// 100 or above where the link closes.
        code: v1::ErrorCode,
        /// One sentence for a person.
        text: String,
        /// Milliseconds; 0 where waiting does not help.
        retry_after_ms: u32,
    },
}

/// What is wrong with a supernode's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// It shows none.
    #[error("it has no certificate")]
    Missing,
    /// Not this network's word, or not for today.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// It is another supernode's.
    #[error("its certificate is that of another one")]
    OfAnother,
}

impl SignIn {
    /// For a fresh link to `supernode`. `exporter`: 32 bytes of the TLS exporter on a native link. `agent`: name and
    /// version of the program, at most 64 bytes.
    pub fn new(
        identity: &super::Identity,
        credential: String,
        supernode: SupernodeId,
        exporter: Option<[u8; 32]>,
        agent: String,
    ) -> Self {
        let (network, device_key) = (identity.network, identity.device_key.clone());
        let urgency = v1::Urgency::Unspecified;
        Self { network, supernode, exporter, credential, device_key, agent, urgency, check: None, proven: false }
    }

    /// Says why; where nobody does, nothing was there before.
    #[must_use]
    pub fn urgent(mut self, urgency: v1::Urgency) -> Self {
        self.urgency = urgency;
        self
    }

    /// Asks the supernode, before anything is proven to it, for the authority's word that it is one. `signing_keys` are the network's,
    /// `key` stands in the roster entry that was dialled. Every client that dials by a roster does this.
    #[must_use]
    pub fn checking(mut self, signing_keys: Vec<VerifyingKey>, key: Jwk) -> Self {
        self.check = Some(Check { signing_keys, key });
        self
    }

    /// Takes a message; `clock_ms` is this device's clock in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// When this link becomes no session.
    pub fn handle_message(&mut self, message: &v1::SupernodeMessage, clock_ms: u64) -> Result<SignInStep, SignInError> {
        match &message.body {
            Some(Body::Challenge(challenge)) if !self.proven => self.prove(challenge, clock_ms),
            Some(Body::Welcome(welcome)) if self.proven && message.in_reply_to == PROVE => {
                Ok(SignInStep::SignedIn(welcome.clone()))
            }
            Some(Body::Error(error)) => Err(SignInError::Refused {
                code: error.code(),
                text: error.text.clone(),
                retry_after_ms: error.retry_after_ms,
            }),
            _ => Err(SignInError::OutOfOrder),
        }
    }

    fn prove(&mut self, challenge: &v1::Challenge, clock_ms: u64) -> Result<SignInStep, SignInError> {
        if challenge.minimum_version > ahoy_proto::VERSION {
            return Err(SignInError::VersionTooOld { minimum: challenge.minimum_version });
        }
        if challenge.supernode != self.supernode.0[..] {
            return Err(SignInError::WrongSupernode);
        }
        let skew_ms = challenge.time_ms.abs_diff(clock_ms);
        if u128::from(skew_ms) > CLOCK_SKEW_MAX.as_millis() {
            return Err(SignInError::ClockSkewed { seconds: skew_ms / 1000, behind: clock_ms < challenge.time_ms });
        }
        // After the clocks: with a wrong one every certificate looks expired.
        if let Some(check) = &self.check {
            let now = UnixTime(clock_ms / 1000);
            let who = (self.supernode, &check.key);
            check_certificate(&challenge.certificate, &check.signing_keys, self.network, who, now)
                .map_err(|why| SignInError::NotCertified { supernode: self.supernode, why })?;
        }
        let nonce: &[u8; 32] = challenge.nonce[..].try_into().map_err(|_| SignInError::OutOfOrder)?;
        let input = proof_input(self.network, self.supernode, nonce, self.exporter.as_ref());
        let signature = Bytes::copy_from_slice(&self.device_key.sign(&input).to_bytes());
        self.proven = true;
        let prove = v1::Prove {
            credential: self.credential.clone(),
            signature,
            version: ahoy_proto::VERSION,
            agent: self.agent.clone(),
            urgency: self.urgency.into(),
        };
        let body = Some(v1::client_message::Body::Prove(prove));
        Ok(SignInStep::Send(v1::ClientMessage { request: PROVE, body }))
    }
}

/// Whether the certificate that a supernode shows is that of the one dialled, whose key stands in the roster.
///
/// # Errors
/// Says what is wrong with it.
pub fn check_certificate(
    token: &str,
    signing_keys: &[VerifyingKey],
    network: NetworkId,
    (supernode, key): (SupernodeId, &Jwk),
    now: UnixTime,
) -> Result<SupernodeCertificate, CertificateError> {
    if token.is_empty() {
        return Err(CertificateError::Missing);
    }
    let certificate: SupernodeCertificate = document::verify(token, signing_keys, network, now)?;
    let is_it = certificate.supernode == supernode && certificate.confirmation.jwk == *key;
    if is_it { Ok(certificate) } else { Err(CertificateError::OfAnother) }
}
