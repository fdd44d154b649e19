//! What a member gives out.

use std::fmt;
use std::time::Instant;

use ahoy_proto::flow::FlowId;
use ahoy_proto::{AccountId, CallId, DeviceId, LegId, Name, v1};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Writes (`Some`) and removals (`None`) by key, to be committed in one transaction.
pub type Batch = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// The next thing to do.
#[derive(Debug)]
pub enum Output {
    /// To the supernode, on the session that is up. What is left of a session that went down may be dropped.
    Send(v1::ClientMessage),
    /// Commit this before any later output leaves.
    Persist(Batch),
    /// For whoever uses the member.
    Event(Event),
    /// Nothing more until the next input; call [`Member::handle_timeout`](super::Member::handle_timeout) at `wake`.
    Idle {
        /// `None`: no timer runs.
        wake: Option<Instant>,
    },
}

/// Something happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Inbox and conversations are taken in after a session came up: the device can be called by everybody who may.
    Ready,
    /// At least one device of the person called rings.
    Ringing {
        /// The outgoing call.
        call: CallId,
    },
    /// Somebody calls. It rings until `Connected` or `Ended`.
    Incoming {
        /// The call.
        call: CallId,
        /// Who calls, proven.
        from: Person,
    },
    /// The call stands: this device's leg and the other's are attached.
    Connected {
        /// The call.
        call: CallId,
        /// The other side.
        peer: Person,
        /// What to send with.
        own: OwnLeg,
        /// What to receive with.
        legs: Vec<PeerLeg>,
    },
    /// This device's leg is attached anew, after its session was lost: send with this from now on.
    OwnLegChanged {
        /// The call.
        call: CallId,
        /// The new leg.
        own: OwnLeg,
    },
    /// Another leg is attached, or attached anew. It replaces any other leg of the same device.
    PeerLegChanged {
        /// The call.
        call: CallId,
        /// The leg.
        leg: PeerLeg,
    },
    /// Another leg lost its link; `PeerLegChanged` or `Ended` follows.
    PeerLost {
        /// The call.
        call: CallId,
        /// The leg.
        leg: LegId,
    },
    /// The call is over, or never came about.
    Ended {
        /// The call.
        call: CallId,
        /// Why.
        ending: Ending,
    },
    /// The authority, or a device, shows another account or account key for a name than the one pinned. Calls with
    /// this person are refused until [`Member::accept_key`](super::Member::accept_key).
    AccountKeyChanged {
        /// The person.
        name: Name,
    },
    /// Response to [`Member::verify`](super::Member::verify).
    Comparison {
        /// The person.
        name: Name,
        /// 12 groups of 5 digits.
        code: Result<String, Refusal>,
    },
    /// Response to [`Member::set_calls_from`](super::Member::set_calls_from).
    CallsFromSet(Result<v1::CallsFrom, Refusal>),
}

/// Why a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// As both sides see it.
    Cause(v1::Cause),
    /// The call did not get as far as ringing.
    Refused(Refusal),
}

/// Why something asked of the network did not come about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No account has this name.
    #[error("nobody has this name")]
    NoSuchName,
    /// The person's account or account key is not the one pinned.
    #[error("the account key of this name has changed: compare keys, then accept the new one")]
    AccountKeyChanged,
    /// The conversation with this person holds a device that can't be trusted, or can't be entered.
    #[error("the conversation with this person can't be trusted")]
    ConversationRefused,
    /// The session was lost before the answer.
    #[error("the connection was lost")]
    SessionLost,
    /// The supernode says no.
    #[error("{text}")]
    Supernode {
        /// Below 100.
        code: v1::ErrorCode,
        /// One sentence for a person.
        text: String,
        /// Milliseconds; 0 where waiting does not help.
        retry_after_ms: u32,
    },
}

/// Somebody whose account key is pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The account.
    pub account: AccountId,
    /// Its name.
    pub name: Name,
}

/// This device's attachment to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnLeg {
    /// Fresh at every attachment.
    pub leg: LegId,
    /// Stands in front of each datagram sent.
    pub flow: FlowId,
    /// Seals what is sent.
    pub key: VoiceKey,
}

/// Another device's attachment to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerLeg {
    /// Fresh at every attachment.
    pub leg: LegId,
    /// Stands in front of each datagram received.
    pub flow: FlowId,
    /// Whose it is.
    pub account: AccountId,
    /// Which device.
    pub device: DeviceId,
    /// Opens what is received.
    pub key: VoiceKey,
}

/// The `base_key` (RFC 9605) of one leg; KID 0.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct VoiceKey([u8; 16]);

impl VoiceKey {
    pub(crate) fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// For the SFrame key derivation.
    pub fn bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for VoiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VoiceKey(…)")
    }
}
