//! The task behind a [`Client`](super::Client): waits for whatever comes next, tells the member, does what it says.

mod listening;
mod moving;
mod pulse;
mod replaced;

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use ahoy_net::{ClientLink, LinkEnd};
use ahoy_proto::frame::{self, Assembler, TooLong};
use ahoy_proto::limits::LARGE_MESSAGE_MAX;
use ahoy_proto::{CallId, SupernodeId, v1};
use bytes::Bytes;
use prost::Message;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep_until, timeout};

use super::backoff::{Backoff, SPREAD};
use super::connect::{ConnectError, Route, Session, is_final, unix_ms, wall_clock};
use super::events::Outlet;
use super::fleet::Fleet;
use super::order::{Order, Reply, Tickets, View};
use super::renewal::{self, Asked};
use super::{ClientError, ClientOptions, Command, Event, Online};
use crate::account::AccountError;
use crate::member::{self, Batch, Member, Output, OwnLeg, PeerLeg, Person, SignInError};
use crate::profile::{Identity, Profile, State};
use crate::voice::{CallStatistics, Engine, EngineEvent, EngineHandle, Sorter, Speaker, Statements, Wiring};
use listening::Silence;
use moving::Leaving;
use pulse::Pulse;

/// How often the link is listened at in a call; an eighth of the silence that counts.
const WATCH_EVERY: Duration = Duration::from_millis(100);

/// How long closing waits for the supernode to answer what was asked, such as to hang up.
const FAREWELL: Duration = Duration::from_secs(1);

/// How long closing waits for the close itself to be heard.
const LAST_WORD: Duration = Duration::from_millis(300);

/// The longest pause that a supernode can ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

type Connecting = Pin<Box<dyn Future<Output = Result<Session, ConnectError>> + Send>>;

/// Everything that a running client owns.
pub(super) struct Driver {
    profile: Profile,
    state: State,
    identity: Identity,
    member: Member,
    options: ClientOptions,
    events: Outlet,
    statements: Statements,
    session: Option<Session>,
    /// Unanswered requests of the session.
    unanswered: usize,
    /// The session has given way to one of ours whose welcome is on its way: until when that is waited for.
    superseded: Option<Instant>,
    /// Of the session, too: a long message that has come in part.
    assembler: Assembler,
    connecting: Option<Connecting>,
    retry_at: Option<Instant>,
    /// The pause that the session's supernode asked for before it closed the link.
    retry_after: Duration,
    backoff: Backoff,
    fleet: Fleet,
    /// The supernode used last.
    last: Option<SupernodeId>,
    leaving: Option<Leaving>,
    /// The session that takes the place of the one that there is.
    moving: Option<Connecting>,
    /// The link before, and until when it is kept.
    parting: Option<(Arc<ClientLink>, Instant)>,
    resync_at: Option<Instant>,
    silence: Silence,
    pulse: Pulse,
    /// `LinkLost` is out and `LinkUp` is not.
    lost_told: bool,
    refreshing: Option<JoinHandle<Result<Identity, AccountError>>>,
    asked: Asked,
    /// Of each call that this device has placed or answered.
    speeches: BTreeMap<CallId, Speech>,
    sorter: Sorter,
    tickets: Tickets,
    /// To be told once everything that the member said is done.
    replies: Vec<Reply>,
    wake: Option<Instant>,
}

/// This device's side of a call.
enum Speech {
    /// Not answered yet.
    Waiting(Speaker),
    Speaking(EngineHandle),
}

enum Input {
    Command(Option<Command>),
    Message(Result<Bytes, LinkEnd>),
    Connected(Result<Session, ConnectError>),
    Moved(Result<Session, ConnectError>),
    Refreshed(Result<Box<Identity>, AccountError>),
    Voice(CallId, Option<EngineEvent>),
    Wake,
    Retry,
    Leave,
    Part,
    Resync,
    Superseded,
    Watch,
    Pulse,
    Look,
}

impl Driver {
    pub(super) async fn start(
        profile: Profile,
        options: ClientOptions,
        events: Outlet,
        statements: Statements,
    ) -> Result<Self, ClientError> {
        let identity = profile.identity()?.ok_or(ClientError::NotSignedIn)?;
        let identity = freshened(&profile, identity).await?;
        let fleet = Fleet::new(profile.round_trips()?);
        let (identity, session) = first_session(&profile, identity, &options, &fleet).await?;
        let state = profile.state(identity.account)?;
        let mut member = Member::new(named(&identity)?, state.load()?, rand::random());
        member.set_clock(unix_ms(), Instant::now());
        member.set_calls_max(options.calls_max);
        member.handle_session_up(Instant::now());
        let sorter = Sorter::start();
        sorter.set_link(Some(session.link.clone()));
        let last = Some(session.entry.supernode);
        let mut backoff = Backoff::default();
        backoff.handle_up(Instant::now());
        let mut driver = Self {
            profile,
            state,
            identity,
            member,
            options,
            events,
            statements,
            session: Some(session),
            unanswered: 0,
            superseded: None,
            assembler: Assembler::default(),
            connecting: None,
            retry_at: None,
            retry_after: Duration::ZERO,
            backoff,
            fleet,
            last,
            leaving: None,
            moving: None,
            parting: None,
            resync_at: None,
            silence: Silence { packets: 0, since: Instant::now() },
            pulse: Pulse::begin(Instant::now(), rand::random()),
            lost_told: false,
            refreshing: None,
            asked: Asked::default(),
            speeches: BTreeMap::new(),
            sorter,
            tickets: Tickets::default(),
            replies: Vec::new(),
            wake: None,
        };
        driver.keep_round_trips()?;
        driver.look_at_roster();
        Ok(driver)
    }

    pub(super) fn own(&self) -> Person {
        Person { account: self.identity.account, name: self.identity.name.clone() }
    }

    /// Where the first session is.
    pub(super) fn online(&self) -> Online {
        online(self.session.as_ref().expect("a client starts with a session"))
    }

    /// Runs until all command senders are gone or nothing can go on.
    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        let mut watch = ticking(WATCH_EVERY);
        let mut look = ticking(renewal::LOOK_EVERY);
        let ended = loop {
            if let Err(error) = self.drain().await {
                break Some(error);
            }
            match self.next_input(&mut inbox, &mut watch, &mut look).await {
                Input::Command(None) => break None,
                input => {
                    if let Err(error) = self.handle(input) {
                        break Some(error);
                    }
                }
            }
        };
        self.say_goodbye().await;
        if let Some(error) = ended {
            self.tell(Event::Stopped(error));
        }
    }

    async fn next_input(
        &mut self,
        inbox: &mut mpsc::Receiver<Command>,
        watch: &mut Interval,
        look: &mut Interval,
    ) -> Input {
        let link = self.serving().map(|session| session.link.clone());
        let speaking = self.is_speaking();
        let leave_at = self.leaving.as_ref().filter(|_| self.moving.is_none()).map(|leaving| leaving.at);
        let pulse_at = link.as_ref().map(|_| self.pulse.at());
        let part_at = self.parting.as_ref().map(|(_, at)| *at);
        tokio::select! {
            command = inbox.recv() => Input::Command(command),
            message = next_message(link.as_deref()) => Input::Message(message),
            connected = done(&mut self.connecting) => Input::Connected(connected),
            moved = done(&mut self.moving) => Input::Moved(moved),
            refreshed = refreshed(&mut self.refreshing) => Input::Refreshed(refreshed.map(Box::new)),
            (call, event) = voice(&mut self.speeches) => Input::Voice(call, event),
            () = reached(self.wake) => Input::Wake,
            () = reached(self.retry_at) => Input::Retry,
            () = reached(leave_at) => Input::Leave,
            () = reached(part_at) => Input::Part,
            () = reached(self.resync_at) => Input::Resync,
            () = reached(self.superseded) => Input::Superseded,
            () = reached(pulse_at) => Input::Pulse,
            _ = watch.tick(), if speaking => Input::Watch,
            _ = look.tick() => Input::Look,
        }
    }

    fn handle(&mut self, input: Input) -> Result<(), ClientError> {
        let now = Instant::now();
        match input {
            Input::Command(Some(command)) => self.handle_command(command, now),
            Input::Command(None) => {}
            Input::Message(Ok(bytes)) => self.handle_message(bytes, now),
            Input::Message(Err(end)) => return self.handle_link_end(&end, now),
            Input::Connected(Ok(session)) => self.handle_session(session, now),
            Input::Moved(result) => self.handle_moved(result, now),
            Input::Leave => self.leave(now),
            Input::Part => self.part(),
            Input::Resync => self.resync(now),
            Input::Superseded => self.lose_session(None, now, "the session that it gave way to does not come about"),
            Input::Connected(Err(error)) => return self.handle_no_session(error, now),
            Input::Refreshed(result) => return self.handle_refreshed(result.map(|identity| *identity)),
            Input::Voice(call, event) => self.handle_voice(call, event, now),
            Input::Wake => {
                self.wake = None;
                self.member.handle_timeout(now);
            }
            Input::Retry => {
                self.retry_at = None;
                if self.connecting.is_none() {
                    self.connecting = Some(Box::pin(self.route().connect()));
                }
            }
            Input::Watch => self.listen_to_link(now),
            Input::Pulse => self.take_pulse(now),
            Input::Look => {
                // It may have been set since.
                self.member.set_clock(unix_ms(), now);
                self.look_at_credential();
                self.look_at_roster_age();
                return self.keep_round_trips();
            }
        }
        Ok(())
    }

    fn handle_command(&mut self, command: Command, now: Instant) {
        // Whoever asked may have gone meanwhile: a reply that nobody takes is no error.
        match command {
            Command::Call { name, speaker, reply } => {
                let called = self.member.call(&name, now);
                if let Ok(call) = called {
                    self.speeches.insert(call, Speech::Waiting(speaker));
                }
                let _ = reply.send(called);
            }
            Command::Answer { call, speaker, reply } => {
                let answered = self.member.answer(call, now);
                if answered.is_ok() {
                    self.speeches.insert(call, Speech::Waiting(speaker));
                }
                let _ = reply.send(answered);
            }
            Command::Decline { call, cause, reply } => {
                let _ = reply.send(self.member.decline(call, cause, now));
            }
            Command::HangUp { call, reply } => {
                let _ = reply.send(self.member.hang_up(call, now));
            }
            Command::Order(Order::Give(give, asker)) => self.tickets.give(&mut self.member, give, asker, now),
            Command::Order(Order::Act(act)) => self.replies.push(act(&mut self.member, now)),
            Command::Order(Order::Look(look)) => {
                look(&View { member: &self.member, state: &self.state, identity: &self.identity });
            }
        }
    }

    fn handle_message(&mut self, bytes: Bytes, now: Instant) {
        let Ok(message) = v1::SupernodeMessage::decode(bytes) else {
            return self.lose_session(None, now, "the supernode sends what is no message");
        };
        let Some(v1::supernode_message::Body::Fragment(fragment)) = &message.body else {
            return self.handle_whole(&message, now);
        };
        match self.assembler.push(fragment, LARGE_MESSAGE_MAX).map(|whole| whole.map(v1::SupernodeMessage::decode)) {
            Ok(None) => {}
            Ok(Some(Ok(message))) => self.handle_whole(&message, now),
            Ok(Some(Err(_))) => self.lose_session(None, now, "the supernode sends pieces of what is no message"),
            Err(TooLong) => self.lose_session(None, now, "the supernode sends a message without end"),
        }
    }

    fn handle_whole(&mut self, message: &v1::SupernodeMessage, now: Instant) {
        if message.in_reply_to != 0 {
            self.unanswered = self.unanswered.saturating_sub(1);
        }
        match &message.body {
            Some(v1::supernode_message::Body::GoAway(go_away)) => self.handle_go_away(go_away, now),
            Some(v1::supernode_message::Body::Resync(resync)) => self.handle_resync(*resync, now),
            Some(v1::supernode_message::Body::Error(error)) if message.in_reply_to == 0 => {
                tracing::debug!(code = error.code, "the supernode ends the link");
                self.retry_after = Duration::from_millis(error.retry_after_ms.into());
            }
            _ => self.member.handle_message(message, now),
        }
    }

    fn handle_link_end(&mut self, end: &LinkEnd, now: Instant) -> Result<(), ClientError> {
        if self.is_taken_over(end, now) {
            return Err(ClientError::Replaced);
        }
        if self.gives_way(end) {
            self.superseded = Some(now + self.patience());
            return Ok(());
        }
        // It closes links because it goes down, is full or has enough of us: others are tried first.
        if let (LinkEnd::Closed(_), Some(session)) = (end, &self.session) {
            self.fleet.shelve(session.entry.supernode, self.retry_after, now);
        }
        self.lose_session(Some(end), now, &end.to_string());
        Ok(())
    }

    /// The session is gone: in a call dials at once, else waits a random while. `end`: as the link's end was heard.
    fn lose_session(&mut self, end: Option<&LinkEnd>, now: Instant, why: &str) {
        tracing::debug!(why, "session lost");
        self.superseded = None;
        let Some(session) = self.session.take() else { return };
        drop(session);
        self.leave_behind(end, now);
        self.part();
        self.resync_at = None;
        self.member.handle_session_down(now);
        self.tell_lost();
        self.set_voice_link(None);
        let wait = self.wait_after_failure(now, self.retry_after);
        // Whoever was asked to go at a moment to come goes then: all others go as well.
        let leave_at = self.leaving.take().map(|leaving| leaving.at).filter(|at| *at > now);
        let moving = self.moving.take();
        if !self.speeches.is_empty() {
            self.dial_at_once();
        } else if self.connecting.is_none() && self.retry_at.is_none() {
            // What is under way elsewhere is the next session.
            self.connecting = moving;
            if self.connecting.is_none() {
                self.retry_at = Some(leave_at.unwrap_or(now + wait));
            }
        }
    }

    /// After a session was lost or an attempt failed.
    fn wait_after_failure(&mut self, now: Instant, retry_after: Duration) -> Duration {
        let roster = self.identity.network.verified_roster(wall_clock());
        let is_fleet = roster.is_ok_and(|roster| roster.supernodes.len() > 1);
        let least = if is_fleet { SPREAD } else { Duration::ZERO };
        let wait = self.backoff.handle_failure(now, least, rand::random());
        // Those who were asked to wait for as long do not come back in the same moment.
        if retry_after.is_zero() { wait } else { retry_after.min(RETRY_AFTER_MAX) + wait }
    }

    /// The way to the next session.
    fn route(&self) -> Route {
        let urgency = if self.speeches.is_empty() { v1::Urgency::Resume } else { v1::Urgency::InCall };
        Route { urgency, ..route(&self.identity, &self.options, &self.fleet) }
    }

    /// While the present link is only silent its supernode is the first to be tried; when it has ended, the last. In a call several
    /// are dialled at a time, again and again.
    fn dial_at_once(&mut self) {
        self.retry_at = None;
        let mut route = self.route();
        let is_silent = self.session.is_some();
        // Stable: the others stay in their order.
        route.entries.sort_by_key(|entry| (Some(entry.supernode) == self.last) != is_silent);
        // The one that is silent may have left the roster.
        route.silent = is_silent && route.entries.first().is_some_and(|entry| Some(entry.supernode) == self.last);
        // A leisurely attempt under way gives way to this one.
        let calls = !self.speeches.is_empty();
        self.connecting = Some(if calls { Box::pin(route.reconnect()) } else { Box::pin(route.connect()) });
    }

    fn handle_session(&mut self, session: Session, now: Instant) {
        let old = self.session.take();
        self.connecting = None;
        self.moving = None;
        self.leaving = None;
        self.resync_at = None;
        self.retry_at = None;
        self.retry_after = Duration::ZERO;
        self.unanswered = 0;
        self.superseded = None;
        self.assembler = Assembler::default();
        self.backoff.handle_up(now);
        self.last = Some(session.entry.supernode);
        self.silence = Silence { packets: 0, since: now };
        self.pulse = Pulse::begin(now, rand::random());
        self.sorter.set_link(Some(session.link.clone()));
        let online = online(&session);
        self.session = Some(session);
        self.lost_told = false;
        // Engines go over to the link with the leg that is attached to it: until then the old one serves.
        match old {
            Some(old) => {
                self.leave_behind(None, now);
                self.part_from(old, now);
                self.member.handle_session_moved(now);
            }
            None => self.member.handle_session_up(now),
        }
        self.renew_session();
        self.tell(Event::LinkUp(online));
        self.look_at_roster();
        self.look_at_doubt(now);
    }

    fn handle_no_session(&mut self, error: ConnectError, now: Instant) -> Result<(), ClientError> {
        tracing::debug!(%error, "no session");
        self.connecting = None;
        match &error {
            ConnectError::SignIn(SignInError::Refused { code: v1::ErrorCode::CredentialExpired, .. }) => {
                self.refresh(renewal::renewed);
            }
            ConnectError::SignIn(refusal) if is_final(refusal) => return Err(error.into()),
            _ if self.asked.due(now) => self.refresh(renewal::with_newest_roster),
            _ => {}
        }
        if self.lose_superseded(now) {
            return Ok(());
        }
        self.retry_at = Some(now + self.wait_after_failure(now, error.retry_after()));
        Ok(())
    }

    fn look_at_credential(&mut self) {
        if renewal::credential_is_due(&self.identity, wall_clock()) {
            self.refresh(renewal::renewed);
        }
    }

    /// Asks for the roster if the supernode knows a newer one.
    fn look_at_roster(&mut self) {
        let known = self.identity.network.verified_roster(wall_clock()).map_or(0, |roster| roster.serial);
        if self.session.as_ref().is_some_and(|session| session.welcome.roster_serial > known) {
            self.refresh(renewal::with_newest_roster);
        }
    }

    /// Asks for the roster where a supernode was not what this one says.
    fn look_at_doubt(&mut self, now: Instant) {
        if self.fleet.take_doubt() && self.asked.due(now) {
            self.refresh(renewal::with_newest_roster);
        }
    }

    /// Asks for the roster daily. While the authority is away the kept one serves until it expires.
    fn look_at_roster_age(&mut self) {
        if renewal::roster_is_due(&self.identity, wall_clock()) {
            self.refresh(renewal::with_newest_roster);
        }
    }

    /// Takes down how far supernodes are, for sessions to come.
    fn keep_round_trips(&self) -> Result<(), ClientError> {
        if let Some(session) = &self.session {
            self.fleet.measured(session.entry.supernode, session.link.rtt(), wall_clock());
        }
        if let Some(round_trips) = self.fleet.take_changed() {
            self.profile.keep_round_trips(&round_trips)?;
        }
        Ok(())
    }

    fn refresh(&mut self, verb: fn(Identity) -> Result<Identity, AccountError>) {
        if self.refreshing.is_none() {
            let identity = self.identity.clone();
            self.refreshing = Some(tokio::task::spawn_blocking(move || verb(identity)));
        }
    }

    fn handle_refreshed(&mut self, result: Result<Identity, AccountError>) -> Result<(), ClientError> {
        self.refreshing = None;
        match result {
            Ok(identity) => {
                self.profile.keep(&identity)?;
                self.identity = identity;
                self.renew_session();
                Ok(())
            }
            Err(error) if renewal::is_signed_out(&error) => Err(error.into()),
            Err(error) => {
                tracing::debug!(%error, "the authority was asked in vain");
                Ok(())
            }
        }
    }

    /// Lets the session go on with the newest credential, if it was opened with an older one.
    fn renew_session(&mut self) {
        let Some(session) = &mut self.session else { return };
        if session.credential != self.identity.credential {
            session.credential.clone_from(&self.identity.credential);
            self.member.renew_session(session.credential.clone());
        }
    }

    fn handle_voice(&mut self, call: CallId, event: Option<EngineEvent>, now: Instant) {
        match event {
            Some(EngineEvent::Heard { silent }) => self.tell(Event::Voice { call, silent }),
            Some(EngineEvent::SourceEnded) => self.tell(Event::SourceEnded { call }),
            Some(EngineEvent::SinkFailed(error)) => self.tell(Event::SinkFailed { call, error }),
            None => {
                tracing::error!(%call, "the voice engine has ended by itself");
                self.speeches.remove(&call);
                // The call may have ended this very moment.
                let _ = self.member.hang_up(call, now);
            }
        }
    }

    /// Does what the member says, until it has nothing more to say.
    async fn drain(&mut self) -> Result<(), ClientError> {
        loop {
            match self.member.poll_output() {
                Output::Send(message) => self.send(&message),
                Output::Persist(batch) => self.persist(batch)?,
                Output::Event(member::Event::StateTooOld) => return Err(ClientError::StateTooOld),
                Output::Event(event) => self.handle_event(event).await,
                Output::Idle { wake } => {
                    self.wake = wake;
                    self.replies.drain(..).for_each(|reply| reply());
                    return Ok(());
                }
            }
        }
    }

    /// Commits, and tells which changes of the history had an effect.
    fn persist(&mut self, batch: Batch) -> Result<(), ClientError> {
        let numbers = self.state.commit(&batch)?;
        for ((conversation, change), number) in batch.history.into_iter().zip(numbers) {
            if let Some(local) = number {
                self.tell(Event::History { conversation, change, local });
            }
        }
        Ok(())
    }

    fn send(&mut self, message: &v1::ClientMessage) {
        let Some(session) = &self.session else { return };
        // What comes of it may have come before the next line.
        let packets = session.link.stats().packets_received;
        match session.link.send(frame::encode_message(message)) {
            Ok(()) => {
                self.unanswered += 1;
                let asks = self.pulse.ask(packets, Instant::now());
                // QUIC acknowledges the request itself.
                if asks && session.link.is_web_socket() {
                    session.link.ping();
                }
            }
            // It reads nothing any more, or has ended: the link's end is the next thing that is heard of it.
            Err(_) => session.link.close(v1::ErrorCode::Unspecified),
        }
    }

    async fn handle_event(&mut self, event: member::Event) {
        match event {
            member::Event::Ready => self.tell(Event::Ready),
            member::Event::Ringing { call } => self.tell(Event::Ringing(call)),
            member::Event::Incoming { call, from, quiet } => self.tell(Event::Incoming { call, from, quiet }),
            member::Event::Connected { call, peer, own, legs } => {
                self.begin_speech(call, &own, legs);
                self.tell(Event::Connected { call, peer });
            }
            member::Event::OwnLegChanged { call, own } => {
                let link = self.session.as_ref().map(|session| session.link.clone());
                self.with_engine(call, |engine| engine.set_own_leg(own, link));
            }
            member::Event::PeerLegChanged { call, leg } => self.with_engine(call, |engine| engine.set_peer_leg(leg)),
            member::Event::PeerLost { call, leg } => {
                self.with_engine(call, |engine| engine.peer_lost(leg));
                self.tell(Event::PeerLost { call });
            }
            member::Event::Ended { call, ending } => {
                let statistics = self.end_speech(call).await;
                self.tell(Event::Ended { call, ending, statistics });
            }
            member::Event::AccountKeyChanged { name } => self.tell(Event::AccountKeyChanged(name)),
            member::Event::Answer { ticket, answer } => self.tickets.answer(ticket, answer),
            member::Event::Contact(contact) => self.tell(Event::Contact(contact)),
            member::Event::Presence { account, presence } => self.tell(Event::Presence { account, presence }),
            member::Event::Settings(settings) => self.tell(Event::Settings(settings)),
            member::Event::Conversation(summary) => self.tell(Event::Conversation(summary)),
            member::Event::ConversationLeft { conversation, by } => {
                self.tell(Event::ConversationLeft { conversation, by });
            }
            member::Event::Receipt { conversation, account, delivered, read } => {
                self.tell(Event::Receipt { conversation, account, delivered, read });
            }
            member::Event::Typing { conversation, account, typing } => {
                self.tell(Event::Typing { conversation, account, typing });
            }
            member::Event::NewOwnDevice { device } => self.tell(Event::NewOwnDevice { device }),
            // The history was told with its batch; `drain` deals with a state that is too old.
            member::Event::History { .. } | member::Event::StateTooOld => {}
        }
    }

    fn begin_speech(&mut self, call: CallId, own: &OwnLeg, legs: Vec<PeerLeg>) {
        let Some(Speech::Waiting(speaker)) = self.speeches.remove(&call) else { return };
        if !self.is_speaking() {
            self.silence = Silence { packets: 0, since: Instant::now() };
        }
        let link = self.session.as_ref().map(|session| session.link.clone());
        let wiring = Wiring { link, sorter: self.sorter.clone(), statements: self.statements.clone() };
        match Engine::start(call, speaker, own, legs, wiring) {
            Ok(engine) => drop(self.speeches.insert(call, Speech::Speaking(engine))),
            Err(error) => {
                tracing::error!(%error, "no voice");
                // The member said a moment ago that there is this call.
                let _ = self.member.hang_up(call, Instant::now());
            }
        }
    }

    async fn end_speech(&mut self, call: CallId) -> Option<CallStatistics> {
        let speech = self.speeches.remove(&call)?;
        if self.speeches.is_empty() && self.connecting.take().is_some() {
            // What was dialled for the call's sake goes on at the pace of a device without one.
            let now = Instant::now();
            if self.session.is_some() {
                self.lose_session(None, now, "the call ended while its link was silent");
            } else {
                self.retry_at = Some(now + self.wait_after_failure(now, Duration::ZERO));
            }
        }
        match speech {
            Speech::Waiting(_) => None,
            Speech::Speaking(engine) => Some(engine.stop().await),
        }
    }

    fn is_speaking(&self) -> bool {
        self.speeches.values().any(|speech| matches!(speech, Speech::Speaking(_)))
    }

    fn with_engine(&self, call: CallId, act: impl FnOnce(&EngineHandle)) {
        if let Some(Speech::Speaking(engine)) = self.speeches.get(&call) {
            act(engine);
        }
    }

    /// From now on the voice of all calls goes over this link; `None`: over none.
    fn set_voice_link(&self, link: Option<&Arc<ClientLink>>) {
        self.sorter.set_link(link.cloned());
        for speech in self.speeches.values() {
            if let Speech::Speaking(engine) = speech {
                engine.set_link(link.cloned());
            }
        }
    }

    fn tell_lost(&mut self) {
        if !std::mem::replace(&mut self.lost_told, true) {
            self.tell(Event::LinkLost);
        }
    }

    fn tell(&self, event: Event) {
        self.events.tell(event);
    }

    /// Hangs up, waits until the supernode knows, and closes the link.
    async fn say_goodbye(&mut self) {
        for call in self.speeches.keys() {
            // It may have ended this very moment.
            let _ = self.member.hang_up(*call, Instant::now());
        }
        // Storage that fails is reported by whatever ended the client.
        let _ = self.drain().await;
        let _ = timeout(FAREWELL, self.hear_answers()).await;
        for speech in std::mem::take(&mut self.speeches).into_values() {
            if let Speech::Speaking(engine) = speech {
                engine.stop().await;
            }
        }
        if let Some(session) = self.session.take() {
            session.link.close(v1::ErrorCode::Unspecified);
            let _ = timeout(LAST_WORD, session.link.flush_close()).await;
        }
    }

    async fn hear_answers(&mut self) {
        while self.unanswered > 0 {
            let Some(link) = self.session.as_ref().map(|session| session.link.clone()) else { return };
            let Ok(bytes) = link.next_message().await else { return };
            self.handle_message(bytes, Instant::now());
            if self.drain().await.is_err() {
                return;
            }
        }
    }
}

/// Roster and credential that are good now, asking the authority only where the kept ones are not.
async fn freshened(profile: &Profile, identity: Identity) -> Result<Identity, ClientError> {
    let now = wall_clock();
    let verb = match (identity.network.verified_roster(now), identity.verified_credential(now)) {
        (_, Err(_)) => renewal::renewed,
        (Err(_), Ok(_)) => renewal::with_newest_roster,
        (Ok(_), Ok(_)) => return Ok(identity),
    };
    let identity = blocking(move || verb(identity)).await?;
    profile.keep(&identity)?;
    Ok(identity)
}

/// The first session. Where none comes about, the authority is asked, because it knows best why: the roster may be out of
/// date, or nothing at all may run there.
async fn first_session(
    profile: &Profile,
    identity: Identity,
    options: &ClientOptions,
    fleet: &Fleet,
) -> Result<(Identity, Session), ClientError> {
    let error = match route(&identity, options, fleet).connect().await {
        Ok(session) => return Ok((identity, session)),
        Err(error) => error,
    };
    let verb = match &error {
        ConnectError::SignIn(SignInError::Refused { code: v1::ErrorCode::CredentialExpired, .. }) => renewal::renewed,
        ConnectError::SignIn(refusal) if is_final(refusal) => return Err(error.into()),
        _ => renewal::with_newest_roster,
    };
    let before = (identity.network.roster.clone(), identity.credential.clone());
    let identity = match blocking(move || verb(identity)).await {
        Ok(identity) => identity,
        // What a supernode lacks is worth more than that the authority is away as well.
        Err(_) if matches!(error, ConnectError::SignIn(SignInError::NotCertified { .. })) => return Err(error.into()),
        Err(failure) => return Err(failure),
    };
    if before == (identity.network.roster.clone(), identity.credential.clone()) {
        return Err(error.into());
    }
    profile.keep(&identity)?;
    let session = route(&identity, options, fleet).connect().await?;
    Ok((identity, session))
}

/// The way to a session: the roster's supernodes, in the order of their placement.
fn route(identity: &Identity, options: &ClientOptions, fleet: &Fleet) -> Route {
    let wall = wall_clock();
    let roster = identity.network.verified_roster(wall).map(|roster| roster.supernodes).unwrap_or_default();
    fleet.prune(&roster);
    let mut entries = fleet.order(identity.account, &roster, wall, Instant::now());
    if let Some(address) = &options.supernode {
        for entry in &mut entries {
            entry.addresses = vec![address.clone()];
        }
    }
    Route {
        identity: named(identity).expect("the binding was read when the client started"),
        credential: identity.credential.clone(),
        silent: false,
        survey: fleet.survey(&entries, wall),
        entries,
        signing_keys: identity.network.verified_signing_keys(wall).unwrap_or_default(),
        fleet: fleet.clone(),
        urgency: v1::Urgency::Unspecified,
        key_log: options.key_log,
        sockets: options.sockets.clone(),
        transport: options.transport,
        is_plain: identity.network.url.is_plain(),
    }
}

fn named(identity: &Identity) -> Result<member::Identity, ClientError> {
    identity.member().map_err(|_| ClientError::NotSignedIn)
}

fn online(session: &Session) -> Online {
    Online {
        address: session.link.remote_address().to_string(),
        by_web_socket: session.link.is_web_socket(),
        supernode: session.entry.supernode,
        region: session.entry.region.clone(),
        round_trip: session.link.rtt(),
        skew_ms: session.skew_ms,
    }
}

pub(super) async fn blocking<T: Send + 'static>(
    verb: impl FnOnce() -> Result<T, AccountError> + Send + 'static,
) -> Result<T, ClientError> {
    match tokio::task::spawn_blocking(verb).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(ClientError::Stopped),
    }
}

async fn next_message(link: Option<&ClientLink>) -> Result<Bytes, LinkEnd> {
    match link {
        Some(link) => link.next_message().await,
        None => std::future::pending().await,
    }
}

async fn done(connecting: &mut Option<Connecting>) -> Result<Session, ConnectError> {
    match connecting {
        Some(connecting) => connecting.await,
        None => std::future::pending().await,
    }
}

async fn refreshed(
    refreshing: &mut Option<JoinHandle<Result<Identity, AccountError>>>,
) -> Result<Identity, AccountError> {
    match refreshing {
        Some(task) => task.await.unwrap_or(Err(AccountError::Nonsense("the question came to no end"))),
        None => std::future::pending().await,
    }
}

/// What an engine tells, and of which call; `None` when it has ended.
async fn voice(speeches: &mut BTreeMap<CallId, Speech>) -> (CallId, Option<EngineEvent>) {
    poll_fn(|context| {
        for (call, speech) in speeches.iter_mut() {
            if let Speech::Speaking(engine) = speech
                && let Poll::Ready(event) = engine.events.poll_recv(context)
            {
                return Poll::Ready((*call, event));
            }
        }
        Poll::Pending
    })
    .await
}

async fn reached(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

fn ticking(every: Duration) -> Interval {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}
