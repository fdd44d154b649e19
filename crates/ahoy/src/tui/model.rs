//! Everything that the terminal client shows, as plain values.
//!
//! What people wrote stands here as it came; it is made harmless where it is shown (`Model::…_text`, [`clean`]).
//! Bounded: of each conversation the newest [`LINES_KEPT`] lines, [`TOASTS`] toasts, [`FORMS`] sheets on top of each other.

use std::collections::{BTreeMap, VecDeque};

use ahoy_client::member::{
    Change, Contact, ContactState, ConversationStanding, Kind, MemberOf, Message, MessageBody, MessageRef, Presence,
    Settings, Summary,
};
use ahoy_proto::v1::{Availability, CallsFrom, LastSeen};
use ahoy_proto::{AccountId, CallId, ConversationId, Name};
use ratatui::layout::Rect;

use super::field::{Field, FieldKind};
use super::form::Form;
use super::message::Press;
use super::theme::Theme;
use crate::text::{clean, clean_line};
use crate::when::Clock;

/// Lines of a conversation that are at hand; older ones are read again from the profile. At 200 B a line, 200 KB a conversation.
pub(crate) const LINES_KEPT: usize = 1_000;

/// Toasts that are shown at once.
pub(crate) const TOASTS: usize = 3;

/// Sheets on top of each other: a menu, what it opens, a question, its confirmation.
pub(crate) const FORMS: usize = 4;

/// How long a toast stays.
pub(crate) const TOAST_MS: u64 = 6_000;

/// The other side stops typing after this long without word of it.
pub(crate) const TYPING_MS: u64 = 10_000;

/// The terminal client.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) stage: Stage,
    pub(crate) clock: Clock,
    pub(crate) theme: Theme,
    pub(crate) me: Me,
    pub(crate) link: Link,
    pub(crate) settings: Settings,
    pub(crate) contacts: BTreeMap<AccountId, Contact>,
    pub(crate) conversations: BTreeMap<ConversationId, Conversation>,
    /// Of accounts that are no contacts.
    pub(crate) names: BTreeMap<AccountId, Name>,
    pub(crate) drafts: BTreeMap<Entry, Draft>,
    /// What is chosen in the list, and so shown beside it.
    pub(crate) open: Entry,
    /// A conversation that was made here and is to be opened once it is heard of.
    pub(crate) awaited: Option<ConversationId>,
    pub(crate) focus: Focus,
    /// The line that is chosen, with the focus on lines.
    pub(crate) picked: Option<MessageRef>,
    /// Rows that the conversation is scrolled up by.
    pub(crate) scrolled: usize,
    /// The line that the next picture is to show.
    pub(crate) reveal: Option<MessageRef>,
    pub(crate) call: Option<Call>,
    pub(crate) forms: Vec<Form>,
    pub(crate) toasts: VecDeque<Toast>,
    /// Whether calls have a microphone and a loudspeaker.
    pub(crate) has_sound: bool,
    /// When a key was last pressed, and whether contacts were told that nobody is here.
    pub(crate) pressed_ms: u64,
    pub(crate) is_away: bool,
    /// When the other side was last told that one types.
    pub(crate) typed_ms: u64,
    /// What was drawn last, for the mouse.
    pub(crate) drawn: Drawn,
}

/// How far along the program is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Nobody is signed in: the sheet asks who it is.
    SignedOut,
    /// What it waits for.
    Starting(String),
    /// The network is asked to let somebody in.
    Entering { is_new: bool },
    /// Signed in, with everything that waited taken in.
    Running,
    /// It ended, for this reason.
    Stopped(String),
}

/// Who is signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Me {
    pub(crate) account: AccountId,
    /// Empty while nobody is.
    pub(crate) name: String,
    pub(crate) network: String,
}

/// The session with a supernode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Link {
    Connecting,
    Up { round_trip_ms: u64 },
    Lost,
}

/// A row of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Entry {
    Nothing,
    /// Those who ask to become contacts.
    Requests,
    Conversation(ConversationId),
    /// A contact without a conversation so far.
    Person(AccountId),
}

/// Where keys go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Focus {
    People,
    Lines,
    Input,
}

/// A message that is being written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Draft {
    pub(crate) field: Field,
    pub(crate) purpose: Purpose,
}

impl Default for Draft {
    fn default() -> Self {
        Self { field: Field::new(FieldKind::Lines, ""), purpose: Purpose::New }
    }
}

/// What the text is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    New,
    Reply(MessageRef),
    Edit(MessageRef),
}

/// A conversation and what was said in it.
#[derive(Debug, Clone)]
pub(crate) struct Conversation {
    pub(crate) summary: Summary,
    /// Oldest first.
    pub(crate) lines: VecDeque<Line>,
    pub(crate) older: Older,
    /// How far others have received and read.
    pub(crate) receipts: BTreeMap<AccountId, Receipt>,
    /// Who types, and until when without word of it.
    pub(crate) typing: BTreeMap<AccountId, u64>,
    /// Once they were asked for.
    pub(crate) members: Vec<MemberOf>,
}

/// Whether there is more in the profile than is at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Older {
    There,
    Asked,
    None,
}

/// How far somebody has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Receipt {
    pub(crate) delivered: u64,
    pub(crate) read: u64,
}

/// One line of a conversation, with what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) message: Message,
    pub(crate) fate: Fate,
    pub(crate) reactions: Vec<Reaction>,
}

/// What became of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Plain,
    Edited,
    Deleted,
    /// It is in nobody's log.
    Failed,
}

/// An emoji and those who set it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reaction {
    pub(crate) emoji: String,
    pub(crate) by: Vec<AccountId>,
}

/// A call, from its first ring.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Call {
    pub(crate) peer: Name,
    pub(crate) stage: CallStage,
}

/// How far along a call is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum CallStage {
    /// Asked for; it has no id yet.
    Placing,
    Calling {
        call: CallId,
        rings: bool,
    },
    Incoming {
        call: CallId,
    },
    Running {
        call: CallId,
        figures: Figures,
        trouble: Option<&'static str>,
    },
}

/// How a call fares.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Figures {
    pub(crate) seconds: u64,
    /// 0 to 1.
    pub(crate) loss: f64,
    pub(crate) delay_ms: u64,
    pub(crate) round_trip_ms: u64,
    /// As in the voice packets: 0 is loudest, 127 is silence.
    pub(crate) said: u8,
    pub(crate) heard: u8,
}

/// Something to be read once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Toast {
    pub(crate) text: String,
    pub(crate) kind: ToastKind,
    pub(crate) until_ms: u64,
}

/// Whether it is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ToastKind {
    Good,
    Bad,
}

/// What the last picture showed where, which only drawing can tell.
#[derive(Debug, Clone, Default)]
pub(crate) struct Drawn {
    /// What a click does; the last one that holds the place counts.
    pub(crate) regions: Vec<(Rect, Press)>,
    pub(crate) lines: Rect,
    /// Rows that the conversation is scrolled up by, with the revealed line in view.
    pub(crate) scrolled: usize,
    /// Rows that can be scrolled up by at most; `None` while older rows were not measured.
    pub(crate) scroll_max: Option<usize>,
    /// The lines shown are the oldest at hand.
    pub(crate) at_top: bool,
}

impl Model {
    /// Nobody's, at this time.
    pub(crate) fn new(clock: Clock, theme: Theme) -> Self {
        let pressed_ms = clock.now_ms;
        Self {
            stage: Stage::SignedOut,
            clock,
            theme,
            me: Me { account: AccountId([0; 16]), name: String::new(), network: String::new() },
            link: Link::Connecting,
            settings: Settings {
                calls_from: CallsFrom::Contacts,
                availability: Availability::Online,
                mood: String::new(),
                listed: false,
            },
            contacts: BTreeMap::new(),
            conversations: BTreeMap::new(),
            names: BTreeMap::new(),
            drafts: BTreeMap::new(),
            open: Entry::Nothing,
            awaited: None,
            focus: Focus::People,
            picked: None,
            scrolled: 0,
            reveal: None,
            call: None,
            forms: Vec::new(),
            toasts: VecDeque::new(),
            has_sound: true,
            pressed_ms,
            is_away: false,
            typed_ms: 0,
            drawn: Drawn::default(),
        }
    }

    /// The list beside the conversation: those who ask, conversations by their last line, contacts by name.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        let mut entries = Vec::new();
        if self.requests().next().is_some() {
            entries.push(Entry::Requests);
        }
        let mut talks: Vec<_> = self.conversations.values().filter(|talk| self.is_shown(talk)).collect();
        talks
            .sort_by_key(|talk| (std::cmp::Reverse(talk.lines.back().map_or(0, |line| line.message.at_ms)), talk.id()));
        entries.extend(talks.iter().map(|talk| Entry::Conversation(talk.id())));
        let with = |contact: &&Contact| {
            matches!(contact.state, ContactState::Accepted | ContactState::Asked | ContactState::Blocked)
        };
        let mut alone: Vec<_> = self.contacts.values().filter(with).collect();
        alone.retain(|contact| self.conversation_with(contact.person.account).is_none_or(|talk| !self.is_shown(talk)));
        alone.sort_by_key(|contact| (contact.state, self.name_of(contact.person.account).to_lowercase()));
        entries.extend(alone.iter().map(|contact| Entry::Person(contact.person.account)));
        entries
    }

    /// A conversation with nothing in it and somebody who is no contact says nothing in a list.
    fn is_shown(&self, talk: &Conversation) -> bool {
        match &talk.summary.kind {
            Kind::Group { .. } => true,
            Kind::Pair(account, _) => match self.contacts.get(account).map(|contact| contact.state) {
                Some(ContactState::Blocked | ContactState::Asks) => false,
                Some(_) => true,
                None => !talk.lines.is_empty(),
            },
        }
    }

    /// Those who ask to become contacts, longest waiting first.
    pub(crate) fn requests(&self) -> impl Iterator<Item = &Contact> {
        let mut asking: Vec<_> = self.contacts.values().filter(|contact| contact.state == ContactState::Asks).collect();
        asking.sort_by_key(|contact| (contact.since, contact.person.account));
        asking.into_iter()
    }

    /// Accepted contacts by name.
    pub(crate) fn friends(&self) -> Vec<&Contact> {
        let mut friends: Vec<_> =
            self.contacts.values().filter(|contact| contact.state == ContactState::Accepted).collect();
        friends.sort_by_key(|contact| self.name_of(contact.person.account).to_lowercase());
        friends
    }

    /// The one-to-one conversation with somebody.
    pub(crate) fn conversation_with(&self, account: AccountId) -> Option<&Conversation> {
        self.conversations.values().find(|talk| matches!(talk.summary.kind, Kind::Pair(with, _) if with == account))
    }

    /// The conversation that is open, if it is one.
    pub(crate) fn talk(&self) -> Option<&Conversation> {
        match self.open {
            Entry::Conversation(id) => self.conversations.get(&id),
            _ => None,
        }
    }

    /// The other account of what is open, if it is with one.
    pub(crate) fn peer(&self) -> Option<AccountId> {
        match self.open {
            Entry::Person(account) => Some(account),
            Entry::Conversation(_) => match self.talk()?.summary.kind {
                Kind::Pair(account, _) => Some(account),
                Kind::Group { .. } => None,
            },
            Entry::Nothing | Entry::Requests => None,
        }
    }

    /// What somebody is called here: the alias that one gave, else the name.
    pub(crate) fn name_of(&self, account: AccountId) -> String {
        if account == self.me.account {
            return "you".to_owned();
        }
        let alias = self.contacts.get(&account).and_then(|contact| contact.alias.as_deref()).map(clean_line);
        match alias.filter(|alias| !alias.is_empty()) {
            Some(alias) => alias,
            None => self.account_name(account).map_or_else(|| "somebody".to_owned(), |name| name.to_string()),
        }
    }

    /// The name that an account has on its network, as far as it is known.
    pub(crate) fn account_name(&self, account: AccountId) -> Option<Name> {
        let contact = self.contacts.get(&account).map(|contact| &contact.person.name);
        let of_pair = || {
            self.conversations.values().find_map(|talk| match &talk.summary.kind {
                Kind::Pair(with, Some(person)) if *with == account => Some(&person.name),
                _ => None,
            })
        };
        contact.or_else(|| self.names.get(&account)).or_else(of_pair).cloned()
    }

    /// What a row of the list is called.
    pub(crate) fn entry_name(&self, entry: Entry) -> String {
        match entry {
            Entry::Nothing => String::new(),
            Entry::Requests => match self.requests().count() {
                1 => "1 contact request".to_owned(),
                count => format!("{count} contact requests"),
            },
            Entry::Person(account) => self.name_of(account),
            Entry::Conversation(id) => match self.conversations.get(&id).map(|talk| &talk.summary.kind) {
                Some(Kind::Pair(account, _)) => self.name_of(*account),
                Some(Kind::Group { title }) => Some(clean_line(title))
                    .filter(|title| !title.is_empty())
                    .unwrap_or_else(|| "untitled group".to_owned()),
                None => String::new(),
            },
        }
    }

    /// What is known of somebody's presence; of who is no contact, nothing.
    pub(crate) fn presence(&self, account: AccountId) -> Option<&Presence> {
        self.contacts
            .get(&account)
            .filter(|contact| contact.state == ContactState::Accepted)
            .map(|contact| &contact.presence)
    }

    /// A line's text in one line, for previews and quotes.
    pub(crate) fn line_text(&self, line: &Line) -> String {
        match (&line.message.body, line.fate) {
            (MessageBody::Text { .. }, Fate::Deleted) => "message deleted".to_owned(),
            (MessageBody::Text { text, .. }, _) => clean_line(text),
            (MessageBody::Renamed { title }, _) => {
                format!("{} named the group “{}”", self.name_of(line.message.account), clean_line(title))
            }
            (MessageBody::Membership { joined, left }, _) => self.membership_text(joined, left),
            (MessageBody::Gap, _) => "something may be missing here".to_owned(),
            _ => "something that this version can't show".to_owned(),
        }
    }

    fn membership_text(&self, joined: &[AccountId], left: &[AccountId]) -> String {
        let names = |accounts: &[AccountId]| {
            let names: Vec<String> = accounts.iter().map(|account| self.name_of(*account)).collect();
            names.join(", ")
        };
        match (joined.is_empty(), left.is_empty()) {
            (false, true) => format!("{} joined", names(joined)),
            (true, false) => format!("{} left", names(left)),
            (false, false) => format!("{} joined, {} left", names(joined), names(left)),
            (true, true) => "the members changed".to_owned(),
        }
    }

    /// Whether the topmost sheet may be left: not the one that asks who it is, nor the code that is shown once.
    pub(crate) fn can_close(&self) -> bool {
        self.stage == Stage::Running || self.forms.len() > 1
    }

    /// Whether a text can be sent to what is open.
    pub(crate) fn can_write(&self) -> bool {
        match self.open {
            Entry::Conversation(_) => {
                self.talk().is_some_and(|talk| !matches!(talk.summary.standing, ConversationStanding::Refused(_)))
            }
            Entry::Person(account) => {
                self.contacts.get(&account).is_some_and(|contact| contact.state == ContactState::Accepted)
            }
            Entry::Nothing | Entry::Requests => false,
        }
    }

    pub(crate) fn toast(&mut self, kind: ToastKind, text: impl Into<String>) {
        if self.toasts.len() == TOASTS {
            self.toasts.pop_front();
        }
        self.toasts.push_back(Toast { text: clean(&text.into()), kind, until_ms: self.clock.now_ms + TOAST_MS });
    }

    pub(crate) fn push_form(&mut self, form: Form) {
        if self.forms.len() < FORMS {
            self.forms.push(form);
        }
    }

    /// Lines that others wrote and that were not read, in all conversations.
    pub(crate) fn unread(&self) -> usize {
        self.conversations.values().filter(|talk| self.is_shown(talk)).map(|talk| talk.unread(self.me.account)).sum()
    }
}

impl Conversation {
    pub(crate) fn new(summary: Summary) -> Self {
        Self {
            summary,
            lines: VecDeque::new(),
            older: Older::There,
            receipts: BTreeMap::new(),
            typing: BTreeMap::new(),
            members: Vec::new(),
        }
    }

    pub(crate) fn id(&self) -> ConversationId {
        self.summary.conversation
    }

    pub(crate) fn is_group(&self) -> bool {
        matches!(self.summary.kind, Kind::Group { .. })
    }

    pub(crate) fn line(&self, reference: MessageRef) -> Option<&Line> {
        self.lines.iter().rev().find(|line| line.message.reference == reference)
    }

    /// Texts of others that were not read.
    pub(crate) fn unread(&self, me: AccountId) -> usize {
        let fresh =
            self.lines.iter().rev().take_while(|line| line.message.sequence.is_none_or(|at| at > self.summary.read));
        fresh.filter(|line| line.message.account != me && line.is_text()).count()
    }

    /// The last sequence number at hand.
    pub(crate) fn newest(&self) -> u64 {
        self.lines.iter().filter_map(|line| line.message.sequence).max().unwrap_or(0)
    }

    /// How far a line of this account has come among the others.
    pub(crate) fn reach(&self, line: &Line) -> Reach {
        if line.fate == Fate::Failed {
            return Reach::Nobody;
        }
        let Some(sequence) = line.message.sequence else { return Reach::Underway };
        let others = self.summary.members.saturating_sub(1).max(1);
        let count =
            |far: fn(&Receipt) -> u64| self.receipts.values().filter(|receipt| far(receipt) >= sequence).count();
        if count(|receipt| receipt.read) >= others {
            Reach::Read
        } else if count(|receipt| receipt.delivered.max(receipt.read)) >= others {
            Reach::Delivered
        } else {
            Reach::Sent
        }
    }

    /// Takes in what changed, as the profile does.
    pub(crate) fn apply(&mut self, change: &Change) {
        match change {
            Change::Put(message) => self.put(message),
            Change::Placed { reference, sequence, at_ms } => {
                let Some(mut line) = self.remove(*reference) else { return };
                line.message.sequence = Some(*sequence);
                line.message.at_ms = *at_ms;
                self.insert(line);
            }
            Change::Failed { reference } => {
                // It stays where it is, whatever comes after it.
                let place = self.newest();
                self.change(*reference, |line| {
                    line.fate = Fate::Failed;
                    line.message.sequence.get_or_insert(place);
                });
            }
            Change::Edited { target, by, text, .. } => self.change(*target, |line| line.edit(*by, text)),
            Change::Deleted { target, by } => self.change(*target, |line| line.delete(*by)),
            Change::Reacted { target, by, emoji, set } => self.change(*target, |line| line.react(*by, emoji, *set)),
            Change::Forget => self.lines.clear(),
        }
    }

    fn put(&mut self, message: &Message) {
        self.typing.remove(&message.account);
        let line = match self.remove(message.reference) {
            Some(line) => Line { message: message.clone(), ..line },
            None => Line { message: message.clone(), fate: Fate::Plain, reactions: Vec::new() },
        };
        self.insert(line);
    }

    /// Puts a line where it belongs: those with a place by it, then those that wait for one.
    fn insert(&mut self, line: Line) {
        let place = |line: &Line| line.message.sequence.unwrap_or(u64::MAX);
        let at = self.lines.iter().rposition(|other| place(other) <= place(&line)).map_or(0, |index| index + 1);
        self.lines.insert(at, line);
        if self.lines.len() > LINES_KEPT {
            self.lines.pop_front();
            self.older = Older::There;
        }
    }

    /// Takes in older lines, read from the profile.
    pub(crate) fn prepend(&mut self, older: Vec<Line>, are_more: bool) {
        for line in older.into_iter().rev() {
            if self.lines.len() < LINES_KEPT && self.line(line.message.reference).is_none() {
                self.lines.push_front(line);
            }
        }
        self.older = if are_more && self.lines.len() < LINES_KEPT { Older::There } else { Older::None };
    }

    fn remove(&mut self, reference: MessageRef) -> Option<Line> {
        let at = self.lines.iter().rposition(|line| line.message.reference == reference)?;
        self.lines.remove(at)
    }

    fn change(&mut self, reference: MessageRef, change: impl FnOnce(&mut Line)) {
        if let Some(line) = self.lines.iter_mut().rev().find(|line| line.message.reference == reference) {
            change(line);
        }
    }
}

/// How far a message has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    Underway,
    Nobody,
    Sent,
    Delivered,
    Read,
}

impl Line {
    pub(crate) fn is_text(&self) -> bool {
        matches!(self.message.body, MessageBody::Text { .. })
    }

    fn edit(&mut self, by: AccountId, text: &str) {
        let own = self.message.account == by && self.fate != Fate::Deleted;
        if let (true, MessageBody::Text { text: said, .. }) = (own, &mut self.message.body) {
            text.clone_into(said);
            self.fate = Fate::Edited;
        }
    }

    fn delete(&mut self, by: AccountId) {
        if let (true, MessageBody::Text { text, .. }) = (self.message.account == by, &mut self.message.body) {
            text.clear();
            self.reactions.clear();
            self.fate = Fate::Deleted;
        }
    }

    fn react(&mut self, by: AccountId, emoji: &str, set: bool) {
        if self.fate == Fate::Deleted || !self.is_text() {
            return;
        }
        let at = self.reactions.iter().position(|reaction| reaction.emoji == emoji);
        match (at, set) {
            (Some(at), true) if !self.reactions[at].by.contains(&by) => self.reactions[at].by.push(by),
            (None, true) => self.reactions.push(Reaction { emoji: emoji.to_owned(), by: vec![by] }),
            (Some(at), false) => {
                self.reactions[at].by.retain(|account| *account != by);
                self.reactions.retain(|reaction| !reaction.by.is_empty());
            }
            _ => {}
        }
    }
}

/// What a presence is called.
pub(crate) fn availability_word(availability: Availability) -> &'static str {
    match availability {
        Availability::Online => "online",
        Availability::Away => "away",
        Availability::DoNotDisturb => "do not disturb",
        Availability::Invisible => "invisible",
        Availability::Offline | Availability::Unspecified => "offline",
    }
}

/// When somebody who is offline was last there, as coarse as it is told.
pub(crate) fn last_seen_words(last_seen: LastSeen) -> &'static str {
    match last_seen {
        LastSeen::Unspecified => "",
        LastSeen::Today => "seen today",
        LastSeen::ThisWeek => "seen this week",
        LastSeen::Earlier => "not seen for a week",
    }
}
