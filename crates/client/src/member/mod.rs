//! The sans-IO member: everything that a signed-in device decides.
//!
//! A [`Member`] keeps this device's people, conversations (MLS groups) and its calls. It has no clock, socket or
//! random source: time and a seed are inputs. The contract: give it one input (`handle_*` or a command), then take
//! outputs by [`Member::poll_output`] until [`Output::Idle`]. An [`Output::Persist`] batch is committed, in one
//! transaction, before any later output leaves; whoever does so may stop at any moment and go on from what was
//! committed.

mod calls;
mod changes;
mod contacts;
mod content;
mod conversation;
mod event;
mod history;
mod identity;
mod key_packages;
mod log;
mod making;
mod messages;
mod outbox;
mod people;
mod queue;
mod receipts;
mod requests;
mod sign_in;
mod state;
mod summary;
mod sync;
#[cfg(test)]
mod tests;
mod vet;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use ahoy_proto::comparison::comparison_code;
use ahoy_proto::{AccountId, CallId, ConversationId, DeviceId, Name, v1};
use bytes::Bytes;
use v1::client_message::Body as Ask;
use v1::supernode_message::Body;

use crate::mls::Mls;

use calls::{Call, Farewell, Held, Opened};
use contacts::Contacts;
use conversation::Conversation;
use key_packages::KeyPackages;
use making::Making;
use outbox::Outbox;
use people::{People, Standing};
use receipts::Tells;
use requests::{Request, Requests};
use state::{OwnDevices, State};
use summary::SeenDevices;

pub use event::{
    Answer, Batch, Contact, ContactState, ConversationStanding, Ending, Event, Kind, MemberOf, Output, OwnLeg, PeerLeg,
    Person, Presence, Refusal, Settings, SettingsChange, Summary, Ticket, VoiceKey,
};
pub use history::{Change, HistoryChange, Message, MessageBody, MessageRef};
pub use identity::Identity;
pub use messages::Reaction;
pub use sign_in::{CertificateError, SignIn, SignInError, SignInStep, check_certificate};

/// How long to wait after a request has failed for a reason that passes.
struct Pauses {
    /// After the first failure; doubled with each.
    min: Duration,
    max: Duration,
}

/// The first is as long as a supernode asks for whose store is behind.
const PAUSES: Pauses = Pauses { min: Duration::from_secs(1), max: Duration::from_secs(30) };

/// Of a leg that is to be attached anew: two people hear silence meanwhile. What its call's dead home was asked is refused once the fleet knows
/// of the death, and the next home is known in that moment. A leg asks some eight times in the 10 s that it is waited for.
const CALL_PAUSES: Pauses = Pauses { min: Duration::from_millis(100), max: Duration::from_secs(2) };

/// Why a command was not taken up at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// There is no session; commands that need one are not kept for later.
    #[error("not signed in to a supernode at the moment")]
    NotSignedIn,
    /// A device is in as many calls as it takes; for people, one.
    #[error("this device is in a call already")]
    InCall,
    /// No such call, or not in a state in which this can be done.
    #[error("there is no such call any more")]
    NoSuchCall,
    /// The name is this account's own.
    #[error("this is your own name")]
    OwnName,
    /// Nothing has changed about this person's key.
    #[error("there is no changed key to accept for this name")]
    NothingToAccept,
    /// No such conversation, or not one in which this can be done.
    #[error("there is no such conversation")]
    NoSuchConversation,
    /// A text, title or list that is empty or too long.
    #[error("too long or empty")]
    Length,
    /// More is waiting already than is kept.
    #[error("too much is waiting already: try again later")]
    TooManyWaiting,
    /// The call's offer could not be sealed.
    #[error("the conversation with this person can't be used at the moment")]
    NotSealed,
    /// Nobody of that name is among the contacts.
    #[error("there is no such contact")]
    NoSuchContact,
}

/// What a signed-in device knows and decides. See the module's description for the contract.
pub struct Member {
    identity: Identity,
    mls: Mls,
    state: State,
    people: People,
    contacts: Contacts,
    key_packages: KeyPackages,
    conversations: BTreeMap<ConversationId, Conversation>,
    /// Conversations in the making, by the id that is proposed.
    making: BTreeMap<ConversationId, Making>,
    /// Those that may have to be told anew.
    touched: BTreeSet<ConversationId>,
    devices: OwnDevices,
    seen: SeenDevices,
    tells: Tells,
    /// Counts wishes, to name them.
    wishes_made: u64,
    /// Counts how often the inbox has been read, its later pages included.
    inbox_reads: u64,
    /// Log entries that did not open, or were not by whom they were said to be.
    passed_over: u64,
    /// Wall clock, in milliseconds since the Unix epoch, at a moment.
    clock: Option<(u64, Instant)>,
    calls: BTreeMap<CallId, Call>,
    calls_max: NonZeroUsize,
    /// Signalling that waits for its conversation to be up to date.
    held: Vec<Held>,
    /// Offers of incoming calls that were opened lately.
    opened: VecDeque<(CallId, Opened)>,
    /// Calls hung up or declined that the supernode may not have heard of.
    farewells: VecDeque<(CallId, Farewell)>,
    session: Option<Session>,
    timers: BTreeMap<Timer, Instant>,
    outbox: Outbox,
}

/// What lasts as long as the session.
#[derive(Default)]
struct Session {
    requests: Requests,
    /// The inbox has been read to its end.
    inbox_read: bool,
    /// Last inbox entry taken in.
    inbox_head: u64,
    /// Last inbox entry acknowledged.
    inbox_acknowledged: u64,
    /// How far logs have been taken in, to be acknowledged.
    marks: BTreeMap<ConversationId, u64>,
    /// Something arrived while the inbox was being read.
    inbox_again: bool,
    /// All conversations are known.
    listed: bool,
    contacts: contacts::Progress,
    /// Devices in groups, of this account, that the list of devices did not have; it has been asked for again.
    doubted: BTreeSet<DeviceId>,
    /// The supernode has answered about key packages, or none were needed.
    stocked: bool,
    /// Key packages are on their way.
    publishing: bool,
    /// [`Event::Ready`] is out.
    ready: bool,
    /// Requests that failed for a reason that passes, for the length of pauses.
    failures: u32,
}

/// What a timer does when its time comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// Check in again.
    CheckIn,
    /// List contacts again, from the first.
    Contacts,
    /// Read the inbox again.
    Inbox,
    /// List conversations again, from the first.
    List,
    /// Publish key packages again.
    Publish,
    /// Try again to get into a conversation, or up to date.
    Conversation(ConversationId),
    /// Let a conversation's messages leave again.
    Queue(ConversationId),
    /// Take out leaves that stand for nobody.
    Sweep(ConversationId),
    /// Ask again for key packages of those who are invited.
    Claim(ConversationId),
    /// Tell a group's title to somebody who does not know it.
    Title(ConversationId),
    /// Say how far has been received and read.
    Receipt(ConversationId),
    /// Somebody has not said for a while that they type.
    Typing(ConversationId, AccountId),
    /// Acknowledge what has been taken in.
    Acknowledge,
    /// Ask again whose name an incoming call's offer holds.
    Check(CallId),
    /// Ask again for what moves a call on, such as to attach its leg.
    Attach(CallId),
    /// Say again that calls were hung up or declined.
    Farewells,
    /// Contacts that the supernode has not spoken of anew are gone.
    Presences,
    /// Give up on a call whose session did not come back.
    GiveUp(CallId),
    /// A call has rung for longer than any does that its supernode still knows.
    Ring(CallId),
}

impl Timer {
    /// The conversation that it is about.
    fn conversation(&self) -> Option<ConversationId> {
        match self {
            Self::Conversation(id)
            | Self::Queue(id)
            | Self::Sweep(id)
            | Self::Claim(id)
            | Self::Title(id)
            | Self::Receipt(id)
            | Self::Typing(id, _) => Some(*id),
            _ => None,
        }
    }
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member").field("device", &self.identity.device).finish_non_exhaustive()
    }
}

impl Member {
    /// A member as its persisted key/value pairs left it; empty for a new device. Pairs that can't be read are left
    /// out: what they were part of is made anew.
    pub fn new(identity: Identity, state: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>, seed: [u8; 32]) -> Self {
        let mls = Mls::new(&identity.device_key, &identity.binding, seed);
        let (mut state_serial, mut contacts) = (State::default(), Contacts::default());
        let mut people = People::default();
        let mut key_packages = KeyPackages::default();
        let mut seen = SeenDevices::default();
        let mut records = BTreeMap::new();
        let mut tells = Tells::default();
        let mut values = Vec::new();
        for (key, value) in state {
            if key == summary::DEVICES_KEY {
                seen = serde_json::from_slice(&value).unwrap_or_default();
            } else if let Some(id) = key.strip_prefix(conversation::RECORD_PREFIX) {
                if let (Ok(id), Ok(record)) = (ConversationId::try_from(id), serde_json::from_slice(&value)) {
                    records.insert(id, Conversation::restored(id, record));
                }
            } else if conversation::is_part(&key) {
                values.push((key, value));
            } else {
                state_serial.restore(&key, &value);
                if key == receipts::TELLS_KEY {
                    tells = serde_json::from_slice(&value).unwrap_or_default();
                }
                people.restore(&key, &value);
                contacts.restore(&key, &value);
                key_packages.restore(&key, value);
            }
        }
        let mut outbox = Outbox::default();
        // In the order of their keys, which has what is queued before what is sealed.
        values.sort();
        for (key, value) in values {
            conversation::restore_part(&mut records, key, value, &mut outbox);
        }
        Self {
            identity,
            mls,
            state: state_serial,
            people,
            contacts,
            key_packages,
            conversations: records,
            making: BTreeMap::new(),
            touched: BTreeSet::new(),
            devices: OwnDevices::default(),
            seen,
            tells,
            wishes_made: 0,
            inbox_reads: 0,
            passed_over: 0,
            clock: None,
            calls: BTreeMap::new(),
            calls_max: NonZeroUsize::MIN,
            held: Vec::new(),
            opened: VecDeque::new(),
            farewells: VecDeque::new(),
            session: None,
            timers: BTreeMap::new(),
            outbox,
        }
    }

    /// Tells the time of day, which written messages bear: at the start, and whenever it may have been set.
    pub fn set_clock(&mut self, unix_ms: u64, now: Instant) {
        self.clock = Some((unix_ms, now));
    }

    /// Takes so many calls at once, in place of one; never more than the network lets an account be in.
    pub fn set_calls_max(&mut self, calls_max: NonZeroUsize) {
        self.calls_max = calls_max;
    }

    /// A session is up: after [`SignInStep::SignedIn`], on a new link. Takes up calls in progress again, then
    /// brings everything up to date; [`Event::Ready`] tells when that is done. The first one in the life of a process checks
    /// in before all that.
    pub fn handle_session_up(&mut self, now: Instant) {
        if self.session.is_some() {
            self.handle_session_down(now);
        }
        self.forget_presences();
        self.enter(Session::default(), now);
    }

    /// The session goes on on another link, after [`SignInStep::SignedIn`] there; the link before was good until this moment. As
    /// [`handle_session_up`](Self::handle_session_up), but nobody is told that anything was lost; calls ring and speak on.
    pub fn handle_session_moved(&mut self, now: Instant) {
        self.outbox.drop_sends();
        self.begin_anew(Requests::default(), now);
    }

    /// Asked to by the supernode ([`v1::Resync`]): tells everything anew and asks for everything anew, as with a new session, but goes on
    /// with this one. Nobody is told that a link was lost; calls ring and speak on. Requests that are unanswered count as lost: their
    /// answers, if they come after all, change nothing.
    pub fn resync(&mut self, now: Instant) {
        if let Some(session) = &self.session {
            self.begin_anew(session.requests.disowned(), now);
        }
    }

    fn begin_anew(&mut self, requests: Requests, now: Instant) {
        let ready = self.session.as_ref().is_some_and(|session| session.ready);
        self.prepare_calls_to_ask_again();
        self.give_up_waiting(now);
        self.keep_calls(now);
        self.doubt_presences(now);
        self.enter(Session { requests, ready, ..Session::default() }, now);
        self.check_ready();
    }

    fn enter(&mut self, session: Session, now: Instant) {
        if self.state.is_too_old() {
            return;
        }
        self.session = Some(session);
        self.timers.retain(|timer, _| matches!(timer, Timer::GiveUp(_) | Timer::Presences));
        for conversation in self.conversations.values_mut() {
            conversation.refused = None;
            conversation.failures = 0;
            conversation.losses = 0;
            conversation.listed = false;
            conversation.in_log = 0;
        }
        if self.state.is_newest() {
            self.begin(now);
        } else {
            self.check_in();
        }
    }

    /// What every session begins with.
    fn begin(&mut self, now: Instant) {
        self.say_farewells();
        self.resume_calls(now);
        self.fetch_inbox();
        self.list_conversations(Bytes::new());
        self.list_contacts();
        self.tell_activity();
    }

    /// The session is lost. Calls in progress are kept for a while, to be taken up again with the next session.
    pub fn handle_session_down(&mut self, now: Instant) {
        if self.session.is_some() {
            self.outbox.drop_sends();
            self.held.clear();
            self.give_up_waiting(now);
            self.suspend_calls(now);
        }
    }

    /// Gives up whatever waits for an answer: it is asked for anew with what comes next, or whoever asked is told.
    fn give_up_waiting(&mut self, now: Instant) {
        let Some(mut session) = self.session.take() else { return };
        self.stop_all_typing();
        self.timers.clear();
        for conversation in self.conversations.values_mut() {
            conversation.queue.lose_session();
        }
        for id in self.conversations.keys().copied().collect::<Vec<_>>() {
            self.fail_wishes(id, &Refusal::SessionLost);
        }
        for conversation in self.conversations.values_mut() {
            conversation.sync = conversation::Sync::Idle;
            conversation.welcome = None;
        }
        self.conversations.retain(|_, conversation| conversation.record.kind.is_some());
        self.lose_makings(now);
        for request in session.requests.lose() {
            match request {
                Request::FindForVerify(_, ticket) | Request::Leave(_, ticket) | Request::ListDevices(ticket) => {
                    self.answer_ticket(ticket, Err(Refusal::SessionLost));
                }
                Request::Contacts(request) => {
                    if let Some(ticket) = request.ticket() {
                        self.answer_ticket(ticket, Err(Refusal::SessionLost));
                    }
                }
                // The supernode may not have heard it: the peer would wait for this leg to return.
                Request::Farewell(call, farewell) => self.owe_farewell(call, farewell),
                _ => {}
            }
        }
    }

    /// A message of the session that is up.
    pub fn handle_message(&mut self, message: &v1::SupernodeMessage, now: Instant) {
        let Some(session) = &mut self.session else { return };
        let Some(body) = &message.body else { return };
        if message.in_reply_to == 0 {
            self.handle_event(body, now);
        } else if let Some(request) = session.requests.answered(message.in_reply_to) {
            if let Some(next) = session.requests.next() {
                self.outbox.push(Output::Send(next));
            }
            self.handle_response(request, body, now);
        }
        self.check_ready();
    }

    /// The moment named by [`Output::Idle`] has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        let due: Vec<Timer> = self.timers.iter().filter(|(_, at)| **at <= now).map(|(timer, _)| *timer).collect();
        for timer in due {
            self.timers.remove(&timer);
            match timer {
                Timer::CheckIn => self.check_in(),
                Timer::Contacts => self.list_contacts(),
                Timer::Inbox => self.fetch_inbox(),
                Timer::List => self.list_conversations(Bytes::new()),
                Timer::Publish => self.restock(),
                Timer::Conversation(id) => self.retry_conversation(id, now),
                Timer::Queue(id) => self.resume_queue(id, now),
                Timer::Sweep(id) => self.sweep(id, now),
                Timer::Claim(id) => self.claim_for_wishes(id, now),
                Timer::Title(id) => self.tell_title(id, now),
                Timer::Receipt(id) => self.send_receipt(id),
                Timer::Typing(conversation, account) => {
                    self.outbox.event(Event::Typing { conversation, account, typing: false });
                }
                Timer::Acknowledge => self.acknowledge(),
                Timer::Check(call) => self.check_caller(call),
                Timer::Attach(call) => self.resume_call(call, now),
                Timer::Farewells => self.say_farewells(),
                Timer::Presences => self.drop_doubted_presences(),
                Timer::GiveUp(call) | Timer::Ring(call) => self.end_call(call, Ending::Cause(v1::Cause::Lost), now),
            }
        }
        self.check_ready();
    }

    /// Asks for the comparison code with somebody: [`Answer::Comparison`].
    ///
    /// # Errors
    /// When the name is one's own, or the person is not known yet and there is no session.
    pub fn verify(&mut self, name: &Name, ticket: Ticket, _now: Instant) -> Result<(), CommandError> {
        if *name == self.identity.name {
            return Err(CommandError::OwnName);
        }
        if self.session.is_some() {
            self.ask(Request::FindForVerify(name.clone(), ticket), find(name));
        } else if self.people.find(name).is_some() || self.people.has_changed(name) {
            self.compare(name, ticket);
        } else {
            return Err(CommandError::NotSignedIn);
        }
        Ok(())
    }

    /// Accepts the changed account that [`Event::AccountKeyChanged`] announced: from now on it is the pinned one.
    ///
    /// # Errors
    /// When no change was announced for this name.
    pub fn accept_key(&mut self, name: &Name, now: Instant) -> Result<(), CommandError> {
        if !self.people.accept(name, &mut self.outbox) {
            return Err(CommandError::NothingToAccept);
        }
        let refused: Vec<ConversationId> =
            self.conversations.values().filter(|entry| entry.refused.is_some()).map(|entry| entry.id).collect();
        for id in refused {
            if let Some(conversation) = self.conversations.get_mut(&id) {
                conversation.refused = None;
            }
            self.advance(id, now);
        }
        Ok(())
    }

    /// The credential has been renewed: the session goes on with this one. Without a session the next one is opened with it.
    pub fn renew_session(&mut self, credential: String) {
        self.ask(Request::Unminded, Ask::RenewSession(v1::RenewSession { credential }));
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Output {
        if let Some(output) = self.outbox.pop() {
            return output;
        }
        self.tell_summaries();
        self.outbox.pop().unwrap_or_else(|| Output::Idle { wake: self.timers.values().min().copied() })
    }

    /// Log entries so far that did not open, or were not by whom, or not of the number, that they were said to be.
    pub fn passed_over(&self) -> u64 {
        self.passed_over
    }

    fn handle_event(&mut self, body: &Body, now: Instant) {
        match body {
            Body::LogEntry(entry) => self.take_log_event(entry, now),
            Body::InboxEntry(entry) => self.take_inbox_event(entry),
            Body::ContactChanged(changed) => self.contact_changed(changed, body, now),
            Body::SettingsChanged(changed) => self.settings_changed(changed, body, now),
            Body::PresenceChanged(changed) => self.presence_changed(changed),
            Body::Receipt(receipt) => self.take_receipt(receipt),
            Body::Signal(signal) => self.take_signal(signal, now),
            body => self.handle_call_event(body, false, now),
        }
    }

    fn handle_response(&mut self, request: Request, body: &Body, now: Instant) {
        match request {
            Request::CheckIn => self.checked_in(body, now),
            Request::ListDevices(ticket) => self.devices_listed(ticket, body, now),
            Request::ListDoubted(doubted) => self.doubted_listed(&doubted, body, now),
            Request::Contacts(request) => self.handle_contact_response(request, body, now),
            Request::FetchInbox => self.inbox_fetched(body, now),
            Request::ListConversations => self.conversations_listed(body, now),
            Request::PublishKeyPackages => self.key_packages_published(body, now),
            Request::FetchLog(id) => self.log_fetched(id, body, now),
            Request::FetchGroupInfo(id) => self.group_info_fetched(id, body, now),
            Request::Commit(id) => self.commit_answered(id, body, now),
            Request::ListAlone(id) => self.listed_alone(id, body, now),
            Request::FetchMembers(id) => self.members_fetched(id, body, now),
            Request::SendMessage(id, number) => self.message_answered(id, number, body, now),
            Request::SetReceipt(id) => self.receipt_answered(id, body, now),
            Request::FetchReceipts(id) => self.receipts_fetched(id, body),
            Request::Leave(id, ticket) => self.left(id, ticket, body, now),
            Request::ClaimForWish(id, wish, account) => self.claimed_for_wish(id, wish, account, body, now),
            Request::ClaimForMaking(id, account) => self.claimed_for_making(id, account, body, now),
            Request::CreateConversation(id) => self.conversation_created(id, body, now),
            Request::FindForVerify(name, ticket) => self.found_for_verify(&name, ticket, body),
            Request::Farewell(call, farewell) => self.farewell_said(call, farewell, body, now),
            Request::Unminded => {}
            request => self.handle_call_response(request, body, now),
        }
    }

    fn found_for_verify(&mut self, name: &Name, ticket: Ticket, body: &Body) {
        match self.learn(name, body) {
            Ok(_) => self.compare(name, ticket),
            Err(Refusal::Supernode { .. }) if self.people.find(name).is_some() => self.compare(name, ticket),
            Err(why) => self.answer_ticket(ticket, Err(why)),
        }
    }

    fn compare(&mut self, name: &Name, ticket: Ticket) {
        let code = self.people.find(name).ok_or(Refusal::AccountKeyChanged).map(|(account, pin)| {
            comparison_code((self.identity.account, &self.identity.account_key), (account, &pin.key))
        });
        self.answer_ticket(ticket, code.map(Answer::Comparison));
    }

    /// The time of day, as far as it is known.
    fn clock_ms(&self, now: Instant) -> u64 {
        let since = |(unix_ms, at): (u64, Instant)| unix_ms + now.saturating_duration_since(at).as_millis() as u64;
        self.clock.map_or(0, since)
    }

    /// Says what came of a command.
    fn answer_ticket(&mut self, ticket: Ticket, answer: Result<Answer, Refusal>) {
        self.outbox.event(Event::Answer { ticket, answer });
    }

    /// Takes in the response to FindAccount; gives the account if its key is the pinned one, or now is.
    fn learn(&mut self, name: &Name, body: &Body) -> Result<AccountId, Refusal> {
        let found = match body {
            Body::AccountFound(found) => found,
            Body::Error(error) if error.code() == v1::ErrorCode::NotFound => return Err(Refusal::NoSuchName),
            body => return Err(refusal(body)),
        };
        let account = AccountId::try_from(&found.account[..]).map_err(|_| refusal(body))?;
        let key: [u8; 32] = found.account_key[..].try_into().map_err(|_| refusal(body))?;
        if account == self.identity.account || found.name != name.as_str() {
            return Err(refusal(body));
        }
        match self.people.learn(name, account, key, &mut self.outbox) {
            Standing::Pinned | Standing::Unknown => Ok(account),
            Standing::Changed => {
                self.outbox.event(Event::AccountKeyChanged { name: name.clone() });
                Err(Refusal::AccountKeyChanged)
            }
        }
    }

    /// Sends a request, or keeps it until the supernode takes more. Without a session it goes nowhere.
    fn ask(&mut self, request: Request, body: Ask) {
        let Some(session) = &mut self.session else { return };
        if let Some(message) = session.requests.ask(request, body) {
            self.outbox.push(Output::Send(message));
        }
    }

    /// Sets a timer after a failure: what the supernode asks for, or a pause that doubles, and a random half on top.
    fn pause(&mut self, timer: Timer, failures: u32, body: &Body, now: Instant) {
        self.pause_by(&PAUSES, timer, failures, body, now);
    }

    /// The same, at another pace.
    fn pause_by(&mut self, pauses: &Pauses, timer: Timer, failures: u32, body: &Body, now: Instant) {
        let pause = pauses.min.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(pauses.max);
        let asked = if let Body::Error(error) = body { error.retry_after_ms } else { 0 };
        let pause = pause.max(Duration::from_millis(asked.into()));
        let jitter = self.mls.random_below(pause.as_millis() as u64 / 2);
        self.timers.insert(timer, now + pause + Duration::from_millis(jitter));
    }

    /// A timer for something of the session as a whole.
    fn pause_session(&mut self, timer: Timer, body: &Body, now: Instant) {
        let Some(session) = &mut self.session else { return };
        session.failures += 1;
        let failures = session.failures;
        self.pause(timer, failures, body, now);
    }
}

fn find(name: &Name) -> Ask {
    Ask::FindAccount(v1::FindAccount { name: name.as_str().to_owned() })
}

/// A response that is not the one hoped for, as a refusal.
fn refusal(body: &Body) -> Refusal {
    let Body::Error(error) = body else {
        let text = "the supernode does not keep to the protocol".to_owned();
        return Refusal::Supernode { code: v1::ErrorCode::Malformed, text, retry_after_ms: 0 };
    };
    Refusal::Supernode { code: error.code(), text: error.text.clone(), retry_after_ms: error.retry_after_ms }
}

/// Whether the same request makes sense again later.
fn passes(body: &Body) -> bool {
    matches!(body, Body::Error(error)
        if matches!(error.code(), v1::ErrorCode::Unavailable | v1::ErrorCode::RateLimited))
}
