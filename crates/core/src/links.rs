//! The links of this shard: sign-in, requests and their responses, and the way out for everything that closes one.
//!
//! Invariant: every request taken in is answered once or its link is gone; a link that is forgotten leaves no flow.

mod sign_in;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ahoy_proto::flow::FlowId;
use ahoy_proto::frame::Assembler;
use ahoy_proto::v1::supernode_message::Body;
use ahoy_proto::{AccountId, CallId, ConversationId, DeviceId, LegId, limits, v1};
use bytes::Bytes;
use prost::Message;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;
use smallvec::SmallVec;

use self::sign_in::refuse_link;
use crate::admission::Admission;
use crate::answers::{self, STORE_UNAVAILABLE};
use crate::calls::{CALL_TOKEN_REFUSED, TokenMint};
use crate::fleet::Departed;
use crate::outbox::{Outbox, Refusal, framed};
use crate::peer::{Devices, JoinCall, NewCall, Party, Peer};
use crate::presence::Page;
use crate::relay::Relay;
use crate::requests::{self, Asker, Kind, Request};
use crate::session::{Authority, Long, Online, Phase, Session, Standing, Violation};
use crate::timers::{Due, Timers};
use crate::{
    Answer, CallWelcome, Callee, ExchangeConfig, Fleet, LinkId, Lists, Node, Now, Output, QueryId, Question, Seat,
    StoreError, Timer,
};

/// Questions that one shard may have with the store at a time: what a store answers in about a second. From half of it on it takes no
/// more of those that give way.
const QUERIES_MAX: usize = 20_000;

/// Legs that one session can have attached at a time: one for each call of its account, and as many again whose calls have
/// ended elsewhere and that are not closed yet.
const FLOWS_PER_SESSION_MAX: usize = 2 * limits::CALLS_PER_ACCOUNT_MAX;

/// Over how long sessions tell everything anew after their account's home has died: a tenth of 100,000 sessions list their contacts
/// and conversations at 2,000 a second.
const RESYNC_AFTER_DEATH: Duration = Duration::from_secs(5);

/// The same when the home has only moved, and nothing was lost but what is told anew.
const RESYNC_AFTER_MOVE: Duration = Duration::from_secs(30);

/// Sessions whose account is at home on a supernode nearby that has joined go there from now on …
const MOVE_IN: Duration = Duration::from_secs(5);

/// … over this long: a third of 100,000 sessions are 280 sign-ins a second.
const MOVE_SPREAD: Duration = Duration::from_secs(120);

#[derive(Debug)]
pub(crate) struct Links {
    config: ExchangeConfig,
    rng: ChaCha20Rng,
    authority: Authority,
    mint: TokenMint,
    /// Until when flows may be without a home.
    orphans_until: Option<Instant>,
    /// Boxed, so that a node of the map stays small.
    sessions: BTreeMap<LinkId, Box<Session>>,
    half_open: usize,
    admission: Admission,
    timers: Timers,
    queries: BTreeMap<QueryId, Query>,
    last_query: u64,
    /// Bytes of long messages that are unfinished or with the store.
    long_bytes: usize,
    going: Option<v1::GoAway>,
    departed: Departed,
}

/// A question that waits for its answer.
#[derive(Debug)]
struct Query {
    party: Party,
    request: u64,
    purpose: Purpose,
    /// Bytes that it holds, where they came as a long message.
    long_bytes: usize,
}

/// What becomes of an answer.
#[derive(Debug)]
enum Purpose {
    /// It is the response.
    Respond,
    /// Accounts are the response; to a search, or to a look-up.
    Names { searched: bool },
    /// The account's home hears of its contacts, and hands on the response.
    Listed { after: Option<AccountId> },
    /// The account's home hears of its settings, and hands on the response.
    Settings,
    /// Members hear a signal.
    Signal { conversation: ConversationId, sealed: Bytes },
    /// Callees ring.
    Start(Box<Start>),
    /// The call of a stranger has become a contact request.
    Requested(Box<Start>, AccountId),
}

#[derive(Debug, Clone)]
struct Start {
    call: CallId,
    conversation: ConversationId,
    leg: LegId,
    sealed: Bytes,
}

/// A link comes up, proves itself and goes.
impl Links {
    pub(crate) fn new(config: ExchangeConfig, mut rng: ChaCha20Rng) -> Self {
        let mint = TokenMint::new(config.network, config.call_token_key.clone(), ChaCha20Rng::from_rng(&mut rng));
        Self {
            config,
            rng,
            authority: Authority::default(),
            mint,
            orphans_until: None,
            sessions: BTreeMap::new(),
            half_open: 0,
            admission: Admission::default(),
            timers: Timers::default(),
            queries: BTreeMap::new(),
            last_query: 0,
            long_bytes: 0,
            going: None,
            departed: Departed::default(),
        }
    }

    pub(crate) fn bytes(&mut self, link: LinkId, bytes: &[u8], now: Now, relay: &mut Relay, outbox: &mut Outbox) {
        let Some(session) = self.sessions.get_mut(&link) else { return };
        session.deframer.push(bytes);
        // Ends: every turn takes a message off the buffer, or returns.
        while let Some(session) = self.sessions.get_mut(&link) {
            let taken = match session.deframer.next(session.phase.message_max()) {
                Ok(None) => return,
                Ok(Some(message)) => match v1::ClientMessage::decode(message) {
                    Ok(message) => self.take(link, message, now, relay, outbox),
                    Err(_) => Err(Violation::Malformed),
                },
                Err(_) => Err(Violation::MessageTooLong),
            };
            if let Err(violation) = taken {
                self.violated(link, violation, relay, outbox);
            }
        }
    }

    fn take(
        &mut self,
        link: LinkId,
        message: v1::ClientMessage,
        now: Now,
        relay: &Relay,
        outbox: &mut Outbox,
    ) -> Result<(), Violation> {
        let v1::ClientMessage { request, body } = message;
        if let Some(v1::client_message::Body::Fragment(fragment)) = &body {
            let taken = self.take_fragment(link, request, fragment, now, relay, outbox);
            outbox.counters.fragments_refused += u64::from(taken.is_err());
            return taken;
        }
        let Some(session) = self.sessions.get_mut(&link) else { return Ok(()) };
        outbox.counters.requests += 1;
        if request == 0 {
            return Err(Violation::RequestNumber);
        }
        match (&mut session.phase, body) {
            (Phase::Proving(_), Some(v1::client_message::Body::Prove(prove))) => {
                self.prove(link, request, &prove, now, outbox)
            }
            (Phase::Proving(proving), Some(v1::client_message::Body::JoinTrunk(join))) => {
                let dialler = proving.verify_trunk(&join, &self.config, &self.authority, now.unix())?;
                outbox.send(link, framed(request, Body::TrunkJoined(self.config.trunk_joined())));
                outbox.joined(Output::Joined {
                    link,
                    supernode: dialler,
                    incarnation: join.incarnation,
                    shards: join.shards.clamp(1, 256) as u16,
                });
                self.forget(link);
                Ok(())
            }
            (Phase::Online(online), body) => {
                let Some(kind) = Kind::of(body.as_ref()) else { return Err(Violation::OutOfOrder) };
                online.begin(request)?;
                if let Err(refusal) = self.serve(link, Asked { request, kind, body }, now, relay, outbox) {
                    self.deliver(link, request, framed(request, refusal.body()), outbox);
                }
                Ok(())
            }
            (Phase::Proving(_), _) => Err(Violation::OutOfOrder),
        }
    }

    /// A piece of a long message, which is taken in once it is whole.
    fn take_fragment(
        &mut self,
        link: LinkId,
        request: u64,
        fragment: &v1::Fragment,
        now: Now,
        relay: &Relay,
        outbox: &mut Outbox,
    ) -> Result<(), Violation> {
        let Some(online) = self.online_mut(link) else { return Err(Violation::OutOfOrder) };
        if request != 0 {
            return Err(Violation::RequestNumber);
        }
        if fragment.piece.is_empty() {
            return Err(Violation::Malformed);
        }
        let long = online.long.get_or_insert_with(|| {
            Box::new(Long { pieces: Assembler::default(), until: now.instant + limits::LARGE_MESSAGE_TIME })
        });
        let (before, until) = (long.pieces.held(), long.until);
        let pushed = long.pieces.push(fragment, limits::LARGE_MESSAGE_MAX);
        let held = long.pieces.held();
        if held == 0 {
            online.long = None;
        }
        match (before, held) {
            (0, 1..) => self.timers.set(until, Due::Long(link)),
            (1.., 0) => self.timers.clear(until, Due::Long(link)),
            _ => {}
        }
        self.long_bytes = self.long_bytes + held - before;
        let Some(whole) = pushed.map_err(|_| Violation::MessageTooLong)? else {
            let full = self.long_bytes > limits::LARGE_MESSAGES_SHARD_MAX;
            return if full { Err(Violation::NoRoom) } else { Ok(()) };
        };
        let message = v1::ClientMessage::decode(whole).map_err(|_| Violation::Malformed)?;
        match message.body {
            Some(v1::client_message::Body::Commit(_) | v1::client_message::Body::CreateConversation(_)) => {
                self.take(link, message, now, relay, outbox)
            }
            _ => Err(Violation::MessageTooLong),
        }
    }

    pub(crate) fn lost(&mut self, link: LinkId, relay: &mut Relay, outbox: &mut Outbox) {
        let Some(session) = self.sessions.remove(&link) else { return };
        self.no_longer_half_open(link, &session.phase);
        let Phase::Online(online) = session.phase else { return };
        self.timers.clear(online.standing.look_at, Due::Expiry(link));
        let party = online.party(link, outbox);
        if let Some(long) = online.long {
            self.timers.clear(long.until, Due::Long(link));
            self.long_bytes -= long.pieces.held();
        }
        for flow in online.flows {
            if let Some(flow) = relay.close(flow) {
                outbox.tell(flow.home, Peer::LinkLost { call: flow.call, device: flow.device, link: party.link });
            }
        }
        outbox.tell_account(party.account, Peer::SignedOut { party });
    }

    fn close(
        &mut self,
        link: LinkId,
        code: v1::ErrorCode,
        text: impl ToString,
        relay: &mut Relay,
        outbox: &mut Outbox,
    ) {
        refuse_link(link, code, text, Duration::ZERO, outbox);
        self.lost(link, relay, outbox);
    }

    fn violated(&mut self, link: LinkId, violation: Violation, relay: &mut Relay, outbox: &mut Outbox) {
        outbox.counters.violations[violation.index()] += 1;
        tracing::debug!(link = link.0, %violation, "link closed");
        self.close(link, violation.code(), violation, relay, outbox);
    }

    pub(crate) fn timeout(&mut self, now: Now, relay: &mut Relay, outbox: &mut Outbox) {
        while let Some(due) = self.timers.take_due(now.instant) {
            match due {
                Due::Proof(link) => self.violated(link, Violation::ProofTimeout, relay, outbox),
                Due::Expiry(link) => self.look_at_credential(link, now, relay, outbox),
                Due::Long(link) => {
                    outbox.counters.fragments_refused += 1;
                    self.violated(link, Violation::NoRoom, relay, outbox);
                }
                Due::Orphans => self.close_orphans(relay),
                Due::Ring(_) | Due::LegReturn(..) | Due::CallToken(_) | Due::Names(_) => {}
            }
        }
    }

    /// A session ends with its credential.
    fn look_at_credential(&mut self, link: LinkId, now: Now, relay: &mut Relay, outbox: &mut Outbox) {
        let Some(online) = self.online_mut(link) else { return };
        if online.standing.is_over(now) {
            return self.violated(link, Violation::CredentialExpired, relay, outbox);
        }
        online.standing.look_again(now);
        let look_at = online.standing.look_at;
        self.timers.set(look_at, Due::Expiry(link));
    }

    /// The device signed in elsewhere.
    pub(crate) fn replaced(&mut self, link: LinkId, relay: &mut Relay, outbox: &mut Outbox) {
        if self.sessions.contains_key(&link) {
            outbox.counters.sessions_replaced += 1;
            self.close(link, v1::ErrorCode::SessionReplaced, "this device signed in on another link", relay, outbox);
        }
    }

    pub(crate) fn set_lists(&mut self, lists: Lists, relay: &mut Relay, outbox: &mut Outbox) {
        if !self.authority.set(lists) {
            return;
        }
        let revoked = &self.authority.revoked;
        let void = |session: &Session| match &session.phase {
            Phase::Online(online) => revoked.covers(online.account, online.device, online.standing.issued_at),
            Phase::Proving(_) => false,
        };
        let closed: Vec<_> = self.sessions.iter().filter(|(_, session)| void(session)).map(|(link, _)| *link).collect();
        for link in closed {
            outbox.counters.sessions_revoked += 1;
            let violation = Violation::CredentialRevoked;
            self.close(link, violation.code(), violation, relay, outbox);
        }
    }

    /// The fleet has changed: sessions whose account's home has moved register there, and tell it everything anew. Flows whose call
    /// has lost its home go on for as long as a leg may take to return. When a supernode has gone or come, what nobody has answered yet is
    /// refused: whoever has it may have been sent on to by others and not be able to answer, so it can't be told which requests those are.
    /// When one has come back that had only been out of reach, or this one has seen nobody before, every session tells everything anew: what
    /// was said over there meanwhile went to homes of that side's own, and nobody here has heard of it.
    pub(crate) fn fleet_changed(&mut self, before: &Fleet, now: Now, relay: &mut Relay, outbox: &mut Outbox) {
        let mut resync = Vec::new();
        let mut go = Vec::new();
        let mut orphans = false;
        let lacks = |fleet: &Fleet, others: &Fleet| others.nodes().iter().any(|node| fleet.node(node.node).is_none());
        let has_other_nodes = lacks(outbox.fleet(), before) || lacks(before, outbox.fleet());
        let heals = self.departed.heals(before, outbox.fleet());
        for (link, session) in &mut self.sessions {
            let Phase::Online(online) = &mut session.phase else { continue };
            if has_other_nodes {
                online.refuse_unanswered(*link, outbox);
            }
            let mut spread = heals.then_some(RESYNC_AFTER_MOVE);
            let (old, new) = (before.home_of_account(online.account), outbox.fleet().home_of_account(online.account));
            if old != new {
                let (party, at_ms) = (online.party(*link, outbox), online.signed_in_ms);
                outbox.tell(new, Peer::SignedIn { party, at_ms });
                let died = outbox.fleet().node(old.node).is_none();
                spread = Some(if died { RESYNC_AFTER_DEATH } else { RESYNC_AFTER_MOVE });
                // While this one drains, all have been asked to go already, and sooner.
                if let Some(nearby) = outbox.fleet().node(new.node).filter(|node| node.near && online.flows.is_empty())
                    && new.node != Node::OWN
                    && self.going.is_none()
                {
                    go.push((*link, nearby.supernode));
                }
            }
            for flow in &online.flows {
                let Some(flow) = relay.flow_mut(*flow) else { continue };
                if flow.home.node != Node::NOWHERE && outbox.fleet().node(flow.home.node).is_none() {
                    flow.home.node = Node::NOWHERE;
                    orphans = true;
                    spread = Some(Duration::ZERO);
                }
            }
            resync.extend(spread.map(|spread| (*link, spread)));
        }
        if orphans {
            self.expect_orphans(now);
        }
        for (link, spread) in resync {
            self.resync(link, spread, outbox);
        }
        for (link, supernode) in go {
            let away = v1::GoAway {
                reconnect_in_ms: millis(MOVE_IN),
                spread_ms: millis(MOVE_SPREAD),
                supernode: supernode.to_bytes(),
            };
            outbox.send(link, framed(0, Body::GoAway(away)));
        }
    }

    /// The home of a call lets go of it. Its voice goes on until the leg is attached anew.
    pub(crate) fn let_go(&mut self, call: CallId, link: LinkId, now: Now, relay: &mut Relay, outbox: &mut Outbox) {
        let Some(online) = self.online_mut(link) else { return };
        let mut orphans = false;
        for flow in &online.flows {
            if let Some(flow) = relay.flow_mut(*flow).filter(|flow| flow.call == call) {
                flow.home.node = Node::NOWHERE;
                orphans = true;
            }
        }
        if orphans {
            self.expect_orphans(now);
        }
        self.resync(link, Duration::ZERO, outbox);
    }

    /// Flows without a home go on for as long as a leg may take to return.
    fn expect_orphans(&mut self, now: Now) {
        if let Some(until) = self.orphans_until {
            self.timers.clear(until, Due::Orphans);
        }
        let until = now.instant + limits::LEG_RETURN;
        self.orphans_until = Some(until);
        self.timers.set(until, Due::Orphans);
    }

    /// What spoke for a session is gone: requests that wait there are refused, and the client tells everything anew.
    pub(crate) fn resync(&mut self, link: LinkId, spread: Duration, outbox: &mut Outbox) {
        let Some(online) = self.online_mut(link) else { return };
        online.refuse_unanswered(link, outbox);
        outbox.counters.resyncs += 1;
        outbox.send(link, framed(0, Body::Resync(v1::Resync { spread_ms: millis(spread) })));
    }

    /// Flows whose call has found no home again.
    fn close_orphans(&mut self, relay: &mut Relay) {
        self.orphans_until = None;
        for session in self.sessions.values_mut() {
            let Phase::Online(online) = &mut session.phase else { continue };
            online.flows.retain(|flow| {
                let orphaned = relay.flow(*flow).is_some_and(|flow| flow.home.node == Node::NOWHERE);
                if orphaned {
                    relay.close(*flow);
                }
                !orphaned
            });
        }
    }

    pub(crate) fn undrain(&mut self) {
        self.going = None;
    }

    pub(crate) fn drain(&mut self, reconnect_in: Duration, spread: Duration, outbox: &mut Outbox) {
        let going =
            v1::GoAway { reconnect_in_ms: millis(reconnect_in), spread_ms: millis(spread), supernode: Bytes::new() };
        self.going = Some(going.clone());
        let farewell = framed(0, Body::GoAway(going));
        for (link, session) in &self.sessions {
            if matches!(session.phase, Phase::Online(_)) {
                outbox.send(*link, farewell.clone());
            }
        }
    }

    fn random<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.rng.fill_bytes(&mut bytes);
        bytes
    }
}

/// A request, and the bucket that it is charged to.
struct Asked {
    request: u64,
    kind: Kind,
    body: Option<v1::client_message::Body>,
}

/// Requests, and what comes back.
impl Links {
    fn serve(
        &mut self,
        link: LinkId,
        asked: Asked,
        now: Now,
        relay: &Relay,
        outbox: &mut Outbox,
    ) -> Result<(), Refusal> {
        let Asked { request, kind, body } = asked;
        let store_is_slow = self.queries.len() >= QUERIES_MAX / 2;
        let Some(online) = self.online_mut(link) else { return Ok(()) };
        if let Err(wait) = online.buckets.take(kind as u8, kind.rate(), now.instant) {
            outbox.counters.rate_limited += 1;
            return Err(Refusal { retry_after_ms: millis(wait).max(1), ..RATE_LIMITED });
        }
        if store_is_slow && kind.gives_way() {
            return Err(STORE_UNAVAILABLE);
        }
        let party = online.party(link, outbox);
        let Party { account, device, .. } = party;
        // Whoever is attached to a call knows where it is.
        let flows = online.flows.iter().filter_map(|flow| relay.flow(*flow));
        let homes: SmallVec<[(CallId, Seat); 1]> = flows.map(|flow| (flow.call, flow.home)).collect();
        let tell_call = |call: CallId, message: Peer, outbox: &mut Outbox| {
            let home = homes.iter().find(|(attached, home)| *attached == call && home.node != Node::NOWHERE);
            match home {
                Some((_, home)) => outbox.tell(*home, message),
                None => outbox.tell_call(call, message),
            }
        };
        let query = |purpose| Query::new(party, request, purpose);
        match requests::check(body, Asker { account, device, now })? {
            Request::Ask(question) => self.ask(query(Purpose::Respond), question, outbox)?,
            Request::AskAtHome(question) => {
                outbox.tell_account(account, Peer::AskAtHome { party, request, question: Box::new(question) });
            }
            Request::AskNames(question, cost) => {
                outbox.tell_account(account, Peer::AskNames { party, request, question: Box::new(question), cost });
            }
            Request::SetActivity { away } => outbox.tell_account(account, Peer::SetActivity { party, request, away }),
            Request::SendSignal { conversation, sealed } => {
                let question = Question::ListMemberIds { account, conversation };
                self.ask(query(Purpose::Signal { conversation, sealed }), question, outbox)?;
            }
            Request::RenewSession { credential } => {
                self.renew(link, &credential, now)?;
                outbox.respond(party.link, request, Body::Done(v1::Done {}));
            }
            Request::StartCall { call, conversation, leg, sealed } => {
                let start = Box::new(Start { call, conversation, leg, sealed });
                self.ask(query(Purpose::Start(start)), Question::Callees { account, conversation }, outbox)?;
            }
            Request::AnswerCall { call, leg, sealed } => {
                tell_call(call, Peer::Answer(Box::new(JoinCall { call, party, request, leg, sealed })), outbox);
            }
            Request::Decline { call, cause } => {
                tell_call(call, Peer::Decline { call, party, request, cause }, outbox);
            }
            Request::HangUp { call, cause } => tell_call(call, Peer::HangUp { call, party, request, cause }, outbox),
            Request::Attach { call_token, leg, sealed } => {
                let Some(claims) = self.mint.open(&call_token, party, now.unix()) else {
                    outbox.counters.call_tokens_refused += 1;
                    return Err(CALL_TOKEN_REFUSED);
                };
                let join = JoinCall { call: claims.call, party, request, leg, sealed };
                tell_call(claims.call, Peer::Attach(Box::new(join), call_token), outbox);
            }
        }
        Ok(())
    }

    /// The session goes on as if it had been opened with this credential; one that could not have opened it changes nothing.
    fn renew(&mut self, link: LinkId, credential: &str, now: Now) -> Result<(), Refusal> {
        let verified = self.authority.verify(credential, self.config.network, now.unix());
        let credential = verified.map_err(|_| CREDENTIAL_REFUSED)?;
        let Some(online) = self.online_mut(link) else { return Ok(()) };
        let renewed = Standing::of(&credential, now);
        let same = (credential.account, credential.device) == (online.account, online.device)
            && renewed.device_key == online.standing.device_key;
        if !same {
            return Err(CREDENTIAL_REFUSED);
        }
        let look_at = renewed.look_at;
        let old = std::mem::replace(&mut online.standing, renewed);
        self.timers.clear(old.look_at, Due::Expiry(link));
        self.timers.set(look_at, Due::Expiry(link));
        Ok(())
    }

    fn ask(&mut self, mut query: Query, question: Question, outbox: &mut Outbox) -> Result<(), Refusal> {
        if self.queries.len() >= QUERIES_MAX {
            return Err(STORE_UNAVAILABLE);
        }
        query.long_bytes = long_bytes(&question);
        self.long_bytes += query.long_bytes;
        self.last_query += 1;
        let id = QueryId(self.last_query);
        self.queries.insert(id, query);
        outbox.ask(id, question);
        Ok(())
    }

    /// Asks for a device of an account that is at home here, on whatever shard its link is.
    pub(crate) fn ask_at_home(&mut self, party: Party, request: u64, question: Question, outbox: &mut Outbox) {
        let purpose = match question {
            Question::ListContacts { after, .. } => Purpose::Listed { after },
            Question::ChangeSettings { .. } => Purpose::Settings,
            _ => Purpose::Respond,
        };
        self.ask_or_refuse(Query::new(party, request, purpose), question, outbox);
    }

    /// The same for names, which have been paid for.
    pub(crate) fn ask_names(&mut self, party: Party, request: u64, question: Question, outbox: &mut Outbox) {
        let searched = matches!(question, Question::SearchDirectory { .. });
        self.ask_or_refuse(Query::new(party, request, Purpose::Names { searched }), question, outbox);
    }

    fn ask_or_refuse(&mut self, query: Query, question: Question, outbox: &mut Outbox) {
        let (link, request) = (query.party.link, query.request);
        if let Err(refusal) = self.ask(query, question, outbox) {
            outbox.refuse(link, request, refusal);
        }
    }

    /// Lets the store know that an account was there today. Nobody waits for the answer.
    pub(crate) fn mark_seen(&mut self, account: AccountId, now: Now, outbox: &mut Outbox) {
        self.last_query += 1;
        outbox.ask(QueryId(self.last_query), Question::MarkSeen { account, today: now.day() });
    }

    pub(crate) fn answer(&mut self, query: QueryId, answer: Result<Answer, StoreError>, now: Now, outbox: &mut Outbox) {
        let Some(Query { party, request, purpose, long_bytes }) = self.queries.remove(&query) else { return };
        self.long_bytes -= long_bytes;
        if answer.is_err() {
            outbox.counters.store_errors += 1;
        }
        match (purpose, answer) {
            (Purpose::Start(start), Ok(Answer::Callees(callees))) => {
                if self.is_online(party.link.link) {
                    self.ring(*start, party, request, &callees, now, outbox);
                }
            }
            (Purpose::Requested(start, callee), Ok(Answer::Contact(change))) => {
                start_call(
                    *start,
                    party,
                    request,
                    Callee { account: callee, welcome: CallWelcome::BecomesRequest },
                    outbox,
                );
                answers::tell_contact(party.account, Devices::All, *change, outbox);
            }
            (Purpose::Signal { conversation, sealed }, Ok(Answer::MemberIds(members))) => {
                outbox.counters.signals += 1;
                outbox.respond(party.link, request, Body::Done(v1::Done {}));
                let (account, device) = (party.account.to_bytes(), party.device.to_bytes());
                let signal = v1::Signal { conversation: conversation.to_bytes(), account, device, sealed };
                outbox.notify_all(&members, Devices::AllBut(party.device), &framed(0, Body::Signal(signal)));
            }
            (Purpose::Listed { after }, Ok(Answer::Contacts(contacts))) => {
                let page = Box::new(Page::of(after, &contacts));
                let response = framed(request, Body::Contacts(contacts));
                outbox.tell_account(party.account, Peer::Listed { party, request, response, page });
            }
            (Purpose::Settings, Ok(Answer::Settings(change))) => {
                let change = Box::new(change);
                outbox.tell_account(party.account, Peer::SettingsChanged { party, request, change });
            }
            (Purpose::Names { searched }, Ok(Answer::Accounts(accounts))) => {
                outbox.respond(party.link, request, answers::found(accounts, searched));
            }
            (_, answer) => {
                let (body, effects) = answers::respond(answer, outbox);
                outbox.respond(party.link, request, body);
                effects.carry_out(party, now.instant, outbox);
            }
        }
    }

    /// Goes on with a call, now that it is known who may be called.
    fn ring(&mut self, start: Start, party: Party, request: u64, callees: &[Callee], now: Now, outbox: &mut Outbox) {
        let [callee] = *callees else { return outbox.refuse(party.link, request, ONE_TO_ONE_ONLY) };
        if callee.welcome != CallWelcome::BecomesRequest {
            return start_call(start, party, request, callee, outbox);
        }
        let (account, peer) = (party.account, callee.account);
        let question = Question::RequestContact { account, peer, note: Bytes::new(), at: now.unix() };
        self.ask_or_refuse(Query::new(party, request, Purpose::Requested(Box::new(start), peer)), question, outbox);
    }

    /// Hands a message to a link of this shard.
    pub(crate) fn deliver(&mut self, link: LinkId, in_reply_to: u64, message: Bytes, outbox: &mut Outbox) {
        let Some(online) = self.online_mut(link) else { return };
        let waiting = online.unanswered.len();
        online.unanswered.retain(|request| *request != in_reply_to);
        // Nobody waits for what was refused meanwhile.
        if in_reply_to == 0 || online.unanswered.len() < waiting {
            outbox.send(link, message);
        }
    }

    pub(crate) fn open_flow(
        &mut self,
        call: CallId,
        device: DeviceId,
        link: LinkId,
        home: Seat,
        relay: &mut Relay,
        outbox: &mut Outbox,
    ) {
        let online = self.online_mut(link).filter(|online| online.flows.len() < FLOWS_PER_SESSION_MAX);
        let flow = online.and_then(|online| {
            // What this device had at a home that is gone, or has let go of the call.
            online.flows.retain(|old| {
                let superseded = relay.flow(*old).is_some_and(|flow| flow.call == call && flow.home != home);
                if superseded {
                    relay.close(*old);
                }
                !superseded
            });
            let flow = relay.open(link, call, device, home)?;
            online.flows.push(flow);
            Some(flow)
        });
        let link = outbox.here(link);
        outbox.tell(home, Peer::FlowOpened { call, device, link, flow });
    }

    pub(crate) fn close_flow(&mut self, link: LinkId, flow: FlowId, relay: &mut Relay) {
        relay.close(flow);
        if let Some(online) = self.online_mut(link) {
            online.flows.retain(|other| *other != flow);
        }
    }

    pub(crate) fn is_online(&self, link: LinkId) -> bool {
        self.sessions.get(&link).is_some_and(|session| matches!(session.phase, Phase::Online(_)))
    }

    fn online_mut(&mut self, link: LinkId) -> Option<&mut Online> {
        match &mut self.sessions.get_mut(&link)?.phase {
            Phase::Online(online) => Some(online),
            Phase::Proving(_) => None,
        }
    }

    pub(crate) fn next_timer(&self) -> Option<(Instant, Timer)> {
        self.timers.next()
    }

    pub(crate) fn len(&self) -> usize {
        self.sessions.len()
    }

    pub(crate) fn half_open(&self) -> usize {
        self.half_open
    }

    pub(crate) fn queries(&self) -> usize {
        self.queries.len()
    }

    pub(crate) fn long_bytes(&self) -> usize {
        self.long_bytes
    }

    pub(crate) fn timers(&self) -> usize {
        self.timers.len()
    }
}

impl Query {
    fn new(party: Party, request: u64, purpose: Purpose) -> Self {
        Self { party, request, purpose, long_bytes: 0 }
    }
}

/// Bytes of a question that came as a long message, for as long as it is with the store; 0: it is a short one.
fn long_bytes(question: &Question) -> usize {
    let (group_info, welcomes, commit) = match question {
        Question::CreateConversation { group_info, welcomes, .. } => (group_info, welcomes, 0),
        Question::Commit(commit) => (&commit.group_info, &commit.welcomes, commit.commit.len()),
        _ => return 0,
    };
    let bytes = group_info.len() + commit + welcomes.iter().map(|welcoming| welcoming.welcome.len()).sum::<usize>();
    if bytes > limits::MESSAGE_MAX { bytes } else { 0 }
}

impl Online {
    fn party(&self, link: LinkId, outbox: &Outbox) -> Party {
        Party { account: self.account, device: self.device, link: outbox.here(link) }
    }

    /// Requests that may have died with whoever had them.
    fn refuse_unanswered(&mut self, link: LinkId, outbox: &mut Outbox) {
        for request in std::mem::take(&mut self.unanswered) {
            outbox.send(link, framed(request, FLEET_CHANGED.body()));
        }
    }

    /// Takes a request in as unanswered.
    fn begin(&mut self, request: u64) -> Result<(), Violation> {
        if self.unanswered.contains(&request) {
            return Err(Violation::RequestNumber);
        }
        if self.unanswered.len() >= limits::REQUESTS_IN_FLIGHT_MAX {
            return Err(Violation::TooManyRequests);
        }
        self.unanswered.push(request);
        Ok(())
    }
}

fn start_call(start: Start, caller: Party, request: u64, callee: Callee, outbox: &mut Outbox) {
    let Start { call, conversation, leg, sealed } = start;
    let Callee { account: callee, welcome } = callee;
    let new = NewCall { call, conversation, caller, request, leg, sealed, callee, welcome };
    outbox.tell_account(caller.account, Peer::StartCall(Box::new(new)));
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

/// Whoever takes the place of the dead is known already: only what others still see differently is waited for.
const FLEET_CHANGED: Refusal = Refusal {
    retry_after_ms: 100,
    ..Refusal::unavailable("the fleet has changed before this was answered: try again")
};

const RATE_LIMITED: Refusal = Refusal::new(v1::ErrorCode::RateLimited, "too many requests of this kind");
const CREDENTIAL_REFUSED: Refusal =
    Refusal::new(v1::ErrorCode::Forbidden, "the credential is not a good one of this account, device and device key");
const ONE_TO_ONE_ONLY: Refusal = Refusal::new(v1::ErrorCode::Unimplemented, "only conversations of two can call");
