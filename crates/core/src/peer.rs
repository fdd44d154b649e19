//! What shards tell each other, those of one supernode and those of a fleet. Messages between two shards keep their order;
//! nothing else is assumed. A message that a shard addresses to itself takes the same way without leaving the exchange, and one
//! for another supernode is a `TrunkMessage` on the wire ([`crate::trunk`]).

use ahoy_proto::flow::FlowId;
use ahoy_proto::{AccountId, CallId, ConversationId, DeviceId, LegId, v1};
use bytes::Bytes;
use smallvec::SmallVec;

use crate::presence::Page;
use crate::relay::Peers;
use crate::{CallWelcome, LinkId, Question, Recipient, Seat};

/// From one shard of a supernode to another. Opaque to the shell, which only carries it.
#[derive(Debug, Clone)]
pub struct PeerMessage(pub(crate) Peer);

#[derive(Debug, Clone)]
pub(crate) enum Peer {
    // To the home of an account.
    SignedIn {
        party: Party,
        /// [`Now::steady_ms`](crate::Now) of the link's supernode.
        at_ms: u64,
    },
    SignedOut {
        party: Party,
    },
    /// An event for devices of an account that are online.
    Notify {
        account: AccountId,
        devices: Devices,
        message: Bytes,
    },
    /// The same for many accounts of one shard.
    NotifyAll {
        accounts: Vec<AccountId>,
        devices: Devices,
        message: Bytes,
    },
    /// A device asks what its account's home is to hear the answer of.
    AskAtHome {
        party: Party,
        request: u64,
        question: Box<Question>,
    },
    /// A device asks for so many names at most.
    AskNames {
        party: Party,
        request: u64,
        question: Box<Question>,
        cost: usize,
    },
    SetActivity {
        party: Party,
        request: u64,
        away: bool,
    },
    /// The store's response to a device that changed the settings.
    SettingsChanged {
        party: Party,
        request: u64,
        change: Box<v1::SettingsChanged>,
    },
    /// The store's response to a device that lists contacts, framed, and what it says.
    Listed {
        party: Party,
        request: u64,
        response: Bytes,
        page: Box<Page>,
    },
    /// Tells contacts of an account how it is, and asks how they are, for some devices of the account.
    Presence {
        from: AccountId,
        to: Vec<AccountId>,
        event: Option<Bytes>,
        wish: Option<Devices>,
    },
    /// Contacts that are there say so.
    Presences {
        to: AccountId,
        devices: Devices,
        told: Vec<(AccountId, Bytes)>,
    },
    /// The last device of the account has gone.
    MarkSeen {
        account: AccountId,
    },
    /// How one of the account's contacts stands.
    ContactChanged {
        account: AccountId,
        devices: Devices,
        change: Box<v1::ContactChanged>,
    },
    StartCall(Box<NewCall>),
    /// Can the callee be called, and which devices ring?
    Reach {
        call: CallId,
        caller: AccountId,
        callee: AccountId,
        welcome: CallWelcome,
    },
    /// The account takes part in this answered call.
    Answered {
        call: CallId,
        account: AccountId,
        peer: AccountId,
    },
    Disengage {
        call: CallId,
        account: AccountId,
    },

    // To the home of a call.
    NewCall(Box<NewCall>),
    Reached {
        call: CallId,
        reach: Reach,
    },
    /// A device of an account in the call has signed in.
    DeviceUp {
        call: CallId,
        party: Party,
    },
    /// Two accounts call each other; this call gives way.
    GiveWay {
        call: CallId,
    },
    Answer(Box<JoinCall>),
    Decline {
        call: CallId,
        party: Party,
        request: u64,
        cause: v1::Cause,
    },
    HangUp {
        call: CallId,
        party: Party,
        request: u64,
        cause: v1::Cause,
    },
    /// With the call token that the device brought.
    Attach(Box<JoinCall>, Bytes),
    /// `None`: the link is gone, or there is no room.
    FlowOpened {
        call: CallId,
        device: DeviceId,
        link: Recipient,
        flow: Option<FlowId>,
    },
    LinkLost {
        call: CallId,
        device: DeviceId,
        link: Recipient,
    },

    // To the shard of a link.
    Replaced {
        link: LinkId,
    },
    /// A framed message for a link; it answers a request unless that is 0.
    Deliver {
        link: LinkId,
        in_reply_to: u64,
        message: Bytes,
    },
    OpenFlow {
        call: CallId,
        device: DeviceId,
        link: LinkId,
        /// The shard that asks.
        home: Seat,
    },
    SetPeers {
        flow: FlowId,
        peers: Peers,
    },
    CloseFlow {
        link: LinkId,
        flow: FlowId,
    },
    /// The home of a call lets go of it: the link's device is to attach anew.
    LetGo {
        call: CallId,
        link: LinkId,
    },
}

impl Peer {
    /// The one account that it is for the home of.
    pub(crate) fn for_home_of(&self) -> Option<AccountId> {
        Some(match self {
            Self::SignedIn { party, .. }
            | Self::SignedOut { party }
            | Self::AskAtHome { party, .. }
            | Self::AskNames { party, .. }
            | Self::SetActivity { party, .. }
            | Self::SettingsChanged { party, .. }
            | Self::Listed { party, .. } => party.account,
            Self::Notify { account, .. }
            | Self::MarkSeen { account }
            | Self::ContactChanged { account, .. }
            | Self::Answered { account, .. }
            | Self::Disengage { account, .. }
            | Self::Presences { to: account, .. } => *account,
            Self::StartCall(new) => new.caller.account,
            Self::Reach { callee, .. } => *callee,
            _ => return None,
        })
    }

    /// The call that it is for the home of.
    pub(crate) fn for_home_of_call(&self) -> Option<CallId> {
        Some(match self {
            Self::NewCall(new) => new.call,
            Self::Answer(join) | Self::Attach(join, _) => join.call,
            Self::Reached { call, .. }
            | Self::DeviceUp { call, .. }
            | Self::GiveWay { call }
            | Self::Decline { call, .. }
            | Self::HangUp { call, .. }
            | Self::FlowOpened { call, .. }
            | Self::LinkLost { call, .. } => *call,
            _ => return None,
        })
    }
}

/// A device and the link that it can be reached by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Party {
    pub(crate) account: AccountId,
    pub(crate) device: DeviceId,
    pub(crate) link: Recipient,
}

/// Which devices of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Devices {
    All,
    One(DeviceId),
    AllBut(DeviceId),
}

/// A call that somebody starts.
#[derive(Debug, Clone)]
pub(crate) struct NewCall {
    pub(crate) call: CallId,
    pub(crate) conversation: ConversationId,
    pub(crate) caller: Party,
    pub(crate) request: u64,
    pub(crate) leg: LegId,
    pub(crate) sealed: Bytes,
    pub(crate) callee: AccountId,
    pub(crate) welcome: CallWelcome,
}

/// A leg that wants to be attached.
#[derive(Debug, Clone)]
pub(crate) struct JoinCall {
    pub(crate) call: CallId,
    pub(crate) party: Party,
    pub(crate) request: u64,
    pub(crate) leg: LegId,
    pub(crate) sealed: Bytes,
}

/// What became of trying to reach a callee.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reach {
    Ringing(SmallVec<[(DeviceId, Recipient); 2]>),
    Busy,
    /// It has become a contact request.
    Requested,
    Unreachable,
}
