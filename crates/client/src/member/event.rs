//! What a member gives out.

use std::fmt;
use std::time::Instant;

use ahoy_proto::flow::FlowId;
use ahoy_proto::{AccountId, CallId, ConversationId, DeviceId, LegId, Name, v1};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::history::{Change, HistoryChange, MessageRef};

/// What is to be committed in one transaction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Writes (`Some`) and removals (`None`) by key.
    pub pairs: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// Changes of what was said, in order.
    pub history: Vec<HistoryChange>,
}

/// Chosen by whoever gives a command, to know its [`Event::Answer`] by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

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
    /// Contacts, inbox and conversations are taken in after a session came up: the device can be called by everybody who may.
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
        /// The account's owner does not want to be disturbed: show it, and don't ring aloud.
        quiet: bool,
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
    /// What came of a command that was given with a ticket. Each gets exactly one.
    Answer {
        /// The command's.
        ticket: Ticket,
        /// What came of it.
        answer: Result<Answer, Refusal>,
    },
    /// A contact is there, or is otherwise than before; with [`ContactState::None`] it is gone.
    Contact(Contact),
    /// The presence of a contact.
    Presence {
        /// Whose.
        account: AccountId,
        /// What others are to see.
        presence: Presence,
    },
    /// The account's settings, as they are now.
    Settings(Settings),
    /// A conversation is there, or is otherwise than before: its title, members, standing.
    Conversation(Summary),
    /// This account is not in a conversation any more.
    ConversationLeft {
        /// Which.
        conversation: ConversationId,
        /// By whom: `None`, by this account itself, or the group is gone.
        by: Option<AccountId>,
    },
    /// The history of a conversation has changed; the batch with it is committed.
    History {
        /// Which.
        conversation: ConversationId,
        /// How.
        change: Change,
    },
    /// How far another device has received and read.
    Receipt {
        /// Which conversation.
        conversation: ConversationId,
        /// Whose.
        account: AccountId,
        /// Received up to this sequence number; 0: not told.
        delivered: u64,
        /// Read up to this sequence number; 0: not told.
        read: u64,
    },
    /// Somebody types, or no longer.
    Typing {
        /// Where.
        conversation: ConversationId,
        /// Who.
        account: AccountId,
        /// Or no longer.
        typing: bool,
    },
    /// A device of this account that was not known here stands in a conversation. If its owner did not sign it in, the
    /// password is known to somebody else.
    NewOwnDevice {
        /// Which.
        device: DeviceId,
    },
    /// The kept state is a copy or comes from a backup and must not be used: this device has to sign in anew. Nothing else
    /// follows.
    StateTooOld,
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// It is done, durably.
    Done,
    /// Names found.
    Found(Vec<Person>),
    /// 12 groups of 5 digits.
    Comparison(String),
    /// The conversation asked for, ready to be used.
    Conversation(ConversationId),
    /// The account's devices.
    Devices(Vec<v1::DeviceRecord>),
    /// A message stands in the log.
    Sent {
        /// Names it.
        reference: MessageRef,
        /// Its place.
        sequence: u64,
    },
}

/// How an account stands to this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ContactState {
    /// Not among the contacts.
    None,
    /// Asked, and has not answered.
    Asked,
    /// Asks, and waits for an answer.
    Asks,
    /// Accepted, both ways.
    Accepted,
    /// Not to be heard of.
    Blocked,
}

/// Somebody among the contacts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// Who.
    pub person: Person,
    /// How they stand.
    pub state: ContactState,
    /// Since when; seconds since the Unix epoch.
    pub since: u64,
    /// What came with a request, if it opens; plain text.
    pub note: Option<String>,
    /// What this device's owner calls them.
    pub alias: Option<String>,
    /// As far as it is told.
    pub presence: Presence,
}

/// What others see of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presence {
    /// Never unspecified or invisible.
    pub availability: v1::Availability,
    /// At most 140 characters of plain text.
    pub mood: String,
    /// Where offline; unspecified when it is not known.
    pub last_seen: v1::LastSeen,
}

impl Default for Presence {
    fn default() -> Self {
        Self { availability: v1::Availability::Offline, mood: String::new(), last_seen: v1::LastSeen::Unspecified }
    }
}

/// What an account has set for all its devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Who may ring.
    pub calls_from: v1::CallsFrom,
    /// Online (follow the devices), away, do not disturb or invisible.
    pub availability: v1::Availability,
    /// At most 140 characters.
    pub mood: String,
    /// Whether the directory shows the name.
    pub listed: bool,
}

/// Settings to be changed; `None` leaves them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SettingsChange {
    /// Who may ring.
    pub calls_from: Option<v1::CallsFrom>,
    /// Online (follow the devices), away, do not disturb or invisible.
    pub availability: Option<v1::Availability>,
    /// At most 140 characters.
    pub mood: Option<String>,
    /// Whether the directory shows the name.
    pub listed: Option<bool>,
}

/// A conversation, for a list of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Names it.
    pub conversation: ConversationId,
    /// With whom.
    pub kind: Kind,
    /// Whether it can be used.
    pub standing: ConversationStanding,
    /// Accounts in it, this one included.
    pub members: usize,
    /// Last log entry taken in.
    pub head: u64,
    /// How far this account has read, on any of its devices.
    pub read: u64,
}

/// With whom a conversation is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// With one other account; `None` while its name is not known here.
    Pair(AccountId, Option<Person>),
    /// With several.
    Group {
        /// Empty while it is not known here.
        title: String,
    },
}

/// Whether a conversation can be used on this device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConversationStanding {
    /// This device is in the group.
    Inside,
    /// This device is on its way in.
    Joining,
    /// This device does not trust the group.
    Refused(Refusal),
}

/// Somebody in a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberOf {
    /// Which account.
    pub account: AccountId,
    /// Who, once it is known here.
    pub person: Option<Person>,
    /// The one who may remove others.
    pub is_owner: bool,
    /// Leaves in the group.
    pub devices: usize,
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
    /// This account is not a contact of theirs: a request to become one has been sent in place of what was asked.
    #[error("not a contact yet: they have been asked to become one")]
    Requested,
    /// The name is in the contacts already, or was asked.
    #[error("this is a contact already, or has been asked")]
    AlreadyContact,
    /// Nobody of that name asks, or is a contact.
    #[error("there is no such contact")]
    NoSuchContact,
    /// No such conversation, or this account is not in it.
    #[error("there is no such conversation")]
    NoSuchConversation,
    /// The text, title, note or mood is too long or empty, or the search too short.
    #[error("too long, too short or empty")]
    Length,
    /// A note or report can't be sealed: there is no key to seal it to, or not the account's own.
    #[error("there is no key to seal this to")]
    NoKey,
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
