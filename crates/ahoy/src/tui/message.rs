//! What goes into the terminal client's model and what comes out of it.

use ahoy_client::driver::Device;
use ahoy_client::member::{Change, Contact, Ending, MemberOf, MessageRef, Presence, Settings, SettingsChange, Summary};
use ahoy_proto::{AccountId, CallId, ConversationId, DeviceId, Name};
use ratatui::crossterm::event::{KeyEvent, MouseEvent};

use super::model::{Conversation, Drawn, Entry, Figures, Focus, Line, Me, Receipt};

/// Something happened.
#[derive(Debug)]
pub(crate) enum Input {
    Key(KeyEvent),
    Mouse(MouseEvent),
    Pasted(String),
    /// What the picture shows where.
    Drawn(Drawn),
    /// The time, in milliseconds since the Unix epoch.
    Tick(u64),
    News(News),
}

/// Word from the network, or of what became of an effect.
#[derive(Debug, Clone)]
pub(crate) enum News {
    /// Nobody is signed in with the profile: the network's address is a proposal.
    SignedOut {
        network: String,
    },
    /// What it waits for.
    Starting(String),
    /// Sign-up is done: the code is shown this once.
    RecoveryCode(String),
    /// This account is signed in and its session is up.
    SignedIn {
        me: Me,
        round_trip_ms: u64,
    },
    /// Everything that is known at this moment, in place of what was known before.
    Everything(Box<Everything>),
    LinkUp {
        round_trip_ms: u64,
    },
    LinkLost,
    /// Nothing goes on after this.
    Stopped(String),
    Contact(Contact),
    Presence(AccountId, Presence),
    Settings(Settings),
    Conversation(Summary),
    ConversationLeft {
        conversation: ConversationId,
        by: Option<AccountId>,
    },
    /// From the profile: older than those at hand.
    Lines {
        conversation: ConversationId,
        lines: Vec<Line>,
        are_more: bool,
    },
    History {
        conversation: ConversationId,
        change: Change,
    },
    Receipt {
        conversation: ConversationId,
        account: AccountId,
        receipt: Receipt,
    },
    Typing {
        conversation: ConversationId,
        account: AccountId,
        typing: bool,
    },
    Members {
        conversation: ConversationId,
        members: Vec<MemberOf>,
    },
    /// The conversation that was asked for with a first message is there.
    Opened(ConversationId),
    Found(Vec<Name>),
    Devices(Vec<Device>),
    Comparison {
        name: Name,
        code: Result<String, String>,
    },
    KeyChanged(Name),
    NewOwnDevice,
    Calling {
        call: CallId,
    },
    Ringing {
        call: CallId,
    },
    Incoming {
        call: CallId,
        from: Name,
        quiet: bool,
    },
    Connected {
        call: CallId,
        peer: Name,
    },
    Figures(Figures),
    CallTrouble(&'static str),
    CallWell,
    /// Over, or not even placed.
    CallEnded {
        call: Option<CallId>,
        ending: Option<Ending>,
    },
    /// What was asked for is done.
    Done(String),
    /// It is not.
    Failed {
        text: String,
        advice: String,
    },
}

/// What the profile holds.
#[derive(Debug, Clone)]
pub(crate) struct Everything {
    pub(crate) settings: Option<Settings>,
    pub(crate) contacts: Vec<Contact>,
    pub(crate) conversations: Vec<Conversation>,
}

/// What is to be done outside the model.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Effect {
    Send {
        to: Entry,
        text: String,
        reply_to: Option<MessageRef>,
    },
    Edit {
        conversation: ConversationId,
        target: MessageRef,
        text: String,
    },
    Delete {
        conversation: ConversationId,
        target: MessageRef,
    },
    React {
        conversation: ConversationId,
        target: MessageRef,
        emoji: String,
        set: bool,
    },
    Typing {
        conversation: ConversationId,
        typing: bool,
    },
    Read {
        conversation: ConversationId,
        up_to: u64,
    },
    /// Lines before this one.
    Older {
        conversation: ConversationId,
        before: MessageRef,
    },
    Members(ConversationId),
    Call(Name),
    Answer {
        call: CallId,
        peer: Name,
    },
    Decline(CallId),
    HangUp(CallId),
    Ask {
        name: Name,
        note: String,
    },
    AnswerRequest {
        name: Name,
        accept: bool,
    },
    Remove(Name),
    Block {
        name: Name,
        block: bool,
    },
    Alias {
        name: Name,
        alias: Option<String>,
    },
    Search(String),
    Change(SettingsChange),
    Activity {
        away: bool,
    },
    CreateGroup {
        title: String,
        names: Vec<Name>,
    },
    Invite {
        conversation: ConversationId,
        names: Vec<Name>,
    },
    RemoveMember {
        conversation: ConversationId,
        name: Name,
    },
    Leave(ConversationId),
    Rename {
        conversation: ConversationId,
        title: String,
    },
    Devices,
    RenameDevice {
        device: DeviceId,
        name: String,
    },
    RevokeDevice(DeviceId),
    Compare(Name),
    AcceptKey(Name),
    /// With the last lines of the conversation with them.
    Report {
        name: Name,
        reason: String,
    },
    Enter(Box<Entrance>),
    /// The recovery code was read.
    CodeKept,
    Bell,
    Quit,
}

/// How somebody comes in.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Entrance {
    pub(crate) network: String,
    pub(crate) name: String,
    pub(crate) password: String,
    /// A new account is to be made.
    pub(crate) is_new: bool,
}

impl std::fmt::Debug for Entrance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entrance").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What a click does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Press {
    /// Nothing, but what lies below is covered.
    Nothing,
    Command(Command),
    Entry(Entry),
    Line(MessageRef),
    Focus(Focus),
    /// A stop of the topmost sheet: a field, an item, a button.
    Stop(usize),
}

/// What can be asked for from anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    Help,
    Menu,
    Add,
    Group,
    Requests,
    Details,
    Call,
    HangUp,
    Answer,
    Decline,
    Compare,
    Presence,
    Settings,
    Devices,
    Quit,
    /// Closes the topmost sheet.
    Close,
}

/// Every command that has a key: the letter, alone or with Alt; and what it does, for the menu and the help.
pub(crate) const COMMANDS: [(Command, char, &str); 15] = [
    (Command::Call, 'c', "Call this person"),
    (Command::Details, 'i', "About this person or group"),
    (Command::Add, 'a', "Add a contact, search"),
    (Command::Requests, 'r', "Contact requests"),
    (Command::Group, 'g', "New group"),
    (Command::Presence, 'p', "My presence and mood"),
    (Command::Compare, 'v', "Compare keys with this person"),
    (Command::Devices, 'd', "My devices"),
    (Command::Settings, 's', "Settings"),
    (Command::Answer, 'y', "Answer a call"),
    (Command::Decline, 'n', "Decline a call"),
    (Command::HangUp, 'h', "Hang up"),
    (Command::Menu, 'm', "All of this as a menu"),
    (Command::Help, '?', "Help"),
    (Command::Quit, 'q', "Leave"),
];
