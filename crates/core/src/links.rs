//! The links of this shard: sign-in, requests and their responses, and the way out for everything that closes one.
//!
//! Invariant: every request taken in is answered once or its link is gone; a link that is forgotten leaves no flow.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ahoy_proto::document::Revocations;
use ahoy_proto::flow::FlowId;
use ahoy_proto::frame::Deframer;
use ahoy_proto::v1::supernode_message::Body;
use ahoy_proto::{AccountId, CallId, ConversationId, DeviceId, LegId, call_token, limits, v1};
use bytes::Bytes;
use ed25519_dalek::VerifyingKey;
use prost::Message;
use rand::Rng;
use rand_chacha::ChaCha20Rng;

use crate::outbox::{Outbox, Refusal, framed};
use crate::peer::{Devices, JoinCall, NewCall, Party, Peer};
use crate::rate::Bucket;
use crate::relay::Relay;
use crate::requests::{self, Kind, Request};
use crate::session::{Authority, Online, Phase, Proving, Revoked, Session, Standing, Violation};
use crate::timers::{Due, Timers};
use crate::{Answer, Callee, Delivery, ExchangeConfig, LinkId, Now, QueryId, Question, StoreError, Timer};

/// Questions that one shard may have with the store at a time: what a store answers in about a second.
const QUERIES_MAX: usize = 20_000;

/// Legs that one session can have attached at a time: one for each call of its account, and as many again whose calls have
/// ended elsewhere and that are not closed yet.
const FLOWS_PER_SESSION_MAX: usize = 2 * limits::CALLS_PER_ACCOUNT_MAX;

#[derive(Debug)]
pub(crate) struct Links {
    config: ExchangeConfig,
    rng: ChaCha20Rng,
    authority: Authority,
    /// Boxed, so that a node of the map stays small.
    sessions: BTreeMap<LinkId, Box<Session>>,
    half_open: usize,
    timers: Timers,
    queries: BTreeMap<QueryId, Query>,
    last_query: u64,
    going: Option<v1::GoAway>,
}

/// A question that waits for its answer.
#[derive(Debug)]
struct Query {
    party: Party,
    request: u64,
    /// What a `Callees` question is asked for.
    start: Option<Box<Start>>,
}

#[derive(Debug)]
struct Start {
    call: CallId,
    conversation: ConversationId,
    leg: LegId,
    sealed: Bytes,
}

/// A link comes up, proves itself and goes.
impl Links {
    pub(crate) fn new(config: ExchangeConfig, rng: ChaCha20Rng) -> Self {
        Self {
            config,
            rng,
            authority: Authority::default(),
            sessions: BTreeMap::new(),
            half_open: 0,
            timers: Timers::default(),
            queries: BTreeMap::new(),
            last_query: 0,
            going: None,
        }
    }

    pub(crate) fn up(&mut self, link: LinkId, exporter: Option<[u8; 32]>, now: Now, outbox: &mut Outbox) {
        outbox.counters.links += 1;
        if self.going.is_some() {
            outbox.counters.shut_out += 1;
            return refuse_link(link, v1::ErrorCode::ShuttingDown, SHUTTING_DOWN, outbox);
        }
        if self.sessions.len() >= self.config.links_max || self.half_open >= self.config.half_open_max {
            outbox.counters.overloaded += 1;
            return refuse_link(link, v1::ErrorCode::Overloaded, "this supernode is full: try another", outbox);
        }
        let nonce = self.random();
        let deadline = now.instant + limits::PROOF_TIMEOUT;
        let challenge = v1::Challenge {
            nonce: Bytes::copy_from_slice(&nonce),
            time_ms: now.unix_ms,
            supernode: self.config.supernode.to_bytes(),
            minimum_version: self.config.minimum_version,
        };
        let phase = Phase::Proving(Proving { nonce, exporter, deadline });
        self.sessions.insert(link, Box::new(Session { deframer: Deframer::default(), phase }));
        self.half_open += 1;
        self.timers.set(deadline, Due::Proof(link));
        outbox.send(link, framed(0, Body::Challenge(challenge)));
    }

    pub(crate) fn bytes(&mut self, link: LinkId, bytes: &[u8], now: Now, relay: &mut Relay, outbox: &mut Outbox) {
        let Some(session) = self.sessions.get_mut(&link) else { return };
        session.deframer.push(bytes);
        // Ends: every turn takes a message off the buffer, or returns.
        while let Some(session) = self.sessions.get_mut(&link) {
            let taken = match session.deframer.next(session.phase.message_max()) {
                Ok(None) => return,
                Ok(Some(message)) => match v1::ClientMessage::decode(message) {
                    Ok(message) => self.take(link, message, now, outbox),
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
        outbox: &mut Outbox,
    ) -> Result<(), Violation> {
        let Some(session) = self.sessions.get_mut(&link) else { return Ok(()) };
        outbox.counters.requests += 1;
        let v1::ClientMessage { request, body } = message;
        if request == 0 {
            return Err(Violation::RequestNumber);
        }
        match (&mut session.phase, body) {
            (Phase::Proving(proving), Some(v1::client_message::Body::Prove(prove))) => {
                if prove.agent.len() > limits::AGENT_MAX {
                    let refusal = Refusal::invalid("the program's name has at most 64 bytes");
                    outbox.send(link, framed(request, refusal.body()));
                    return Ok(());
                }
                let credential = proving.verify(&prove, &self.config, &self.authority, now.unix())?;
                let online = Online {
                    account: credential.account,
                    device: credential.device,
                    standing: Standing::of(&credential, now),
                    unanswered: smallvec::SmallVec::new(),
                    flows: smallvec::SmallVec::new(),
                    buckets: [Bucket::default(); Kind::COUNT],
                };
                self.welcome(link, request, online, now.instant, outbox);
                Ok(())
            }
            (Phase::Online(online), body) => {
                let Some(kind) = Kind::of(body.as_ref()) else { return Err(Violation::OutOfOrder) };
                online.begin(request)?;
                if let Err(refusal) = self.serve(link, request, kind, body, now, outbox) {
                    self.deliver(link, request, framed(request, refusal.body()), outbox);
                }
                Ok(())
            }
            (Phase::Proving(_), _) => Err(Violation::OutOfOrder),
        }
    }

    fn welcome(&mut self, link: LinkId, request: u64, online: Online, now: Instant, outbox: &mut Outbox) {
        let session: [u8; 16] = self.random();
        let welcome = v1::Welcome {
            session: Bytes::copy_from_slice(&session),
            keepalive_ms: limits::KEEPALIVE.as_millis() as u32,
            max_message: limits::MESSAGE_MAX as u32,
            roster_serial: self.authority.roster_serial,
            revocations_serial: self.authority.revoked.serial,
        };
        outbox.send(link, framed(request, Body::Welcome(welcome)));
        outbox.counters.sign_ins += 1;
        let party = online.party(link, outbox);
        self.timers.set(online.standing.look_at, Due::Expiry(link));
        if let Some(session) = self.sessions.get_mut(&link) {
            let proven = std::mem::replace(&mut session.phase, Phase::Online(online));
            self.no_longer_half_open(link, &proven);
        }
        outbox.tell_account(party.account, Peer::SignedIn { party, at: now });
    }

    fn no_longer_half_open(&mut self, link: LinkId, phase: &Phase) {
        if let Phase::Proving(proving) = phase {
            self.timers.clear(proving.deadline, Due::Proof(link));
            self.half_open -= 1;
        }
    }

    pub(crate) fn lost(&mut self, link: LinkId, relay: &mut Relay, outbox: &mut Outbox) {
        let Some(session) = self.sessions.remove(&link) else { return };
        self.no_longer_half_open(link, &session.phase);
        let Phase::Online(online) = session.phase else { return };
        self.timers.clear(online.standing.look_at, Due::Expiry(link));
        let party = online.party(link, outbox);
        for flow in online.flows {
            if let Some(flow) = relay.close(flow) {
                outbox.tell_call(flow.call, Peer::LinkLost { call: flow.call, device: flow.device, link: party.link });
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
        refuse_link(link, code, text, outbox);
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
                Due::Ring(_) | Due::LegReturn(..) | Due::CallToken(_) => {}
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

    pub(crate) fn set_keys(
        &mut self,
        signing_keys: Vec<VerifyingKey>,
        revocations: &Revocations,
        roster_serial: u64,
        relay: &mut Relay,
        outbox: &mut Outbox,
    ) {
        self.authority.signing_keys = signing_keys;
        self.authority.roster_serial = roster_serial;
        if revocations.serial < self.authority.revoked.serial {
            return;
        }
        let revoked = Revoked::new(revocations);
        let void = |session: &Session| match &session.phase {
            Phase::Online(online) => revoked.covers(online.account, online.device, online.standing.issued_at),
            Phase::Proving(_) => false,
        };
        let closed: Vec<_> = self.sessions.iter().filter(|(_, session)| void(session)).map(|(link, _)| *link).collect();
        self.authority.revoked = revoked;
        for link in closed {
            outbox.counters.sessions_revoked += 1;
            let violation = Violation::CredentialRevoked;
            self.close(link, violation.code(), violation, relay, outbox);
        }
    }

    pub(crate) fn drain(&mut self, reconnect_in: Duration, spread: Duration, relay: &mut Relay, outbox: &mut Outbox) {
        let going = v1::GoAway { reconnect_in_ms: millis(reconnect_in), spread_ms: millis(spread) };
        self.going = Some(going);
        let farewell = framed(0, Body::GoAway(going));
        let mut unproven = Vec::new();
        for (link, session) in &self.sessions {
            match session.phase {
                Phase::Online(_) => outbox.send(*link, farewell.clone()),
                Phase::Proving(_) => unproven.push(*link),
            }
        }
        for link in unproven {
            outbox.counters.shut_out += 1;
            self.close(link, v1::ErrorCode::ShuttingDown, SHUTTING_DOWN, relay, outbox);
        }
    }

    fn random<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.rng.fill_bytes(&mut bytes);
        bytes
    }
}

/// Requests, and what comes back.
impl Links {
    fn serve(
        &mut self,
        link: LinkId,
        request: u64,
        kind: Kind,
        body: Option<v1::client_message::Body>,
        now: Now,
        outbox: &mut Outbox,
    ) -> Result<(), Refusal> {
        let Some(online) = self.online_mut(link) else { return Ok(()) };
        if let Err(wait) = online.buckets[kind as usize].take(kind.rate(), now.instant) {
            outbox.counters.rate_limited += 1;
            return Err(Refusal { retry_after_ms: millis(wait).max(1), ..RATE_LIMITED });
        }
        let party = online.party(link, outbox);
        match requests::check(body, party.account, party.device)? {
            Request::Ask(question) => self.ask(Query { party, request, start: None }, question, outbox)?,
            Request::RenewSession { credential } => {
                self.renew(link, &credential, now)?;
                outbox.respond(party.link, request, Body::Done(v1::Done {}));
            }
            Request::StartCall { call, conversation, leg, sealed } => {
                let start = Some(Box::new(Start { call, conversation, leg, sealed }));
                let question = Question::Callees { account: party.account, conversation };
                self.ask(Query { party, request, start }, question, outbox)?;
            }
            Request::AnswerCall { call, leg, sealed } => {
                outbox.tell_call(call, Peer::Answer(Box::new(JoinCall { call, party, request, leg, sealed })));
            }
            Request::Decline { call, cause } => outbox.tell_call(call, Peer::Decline { call, party, request, cause }),
            Request::HangUp { call, cause } => outbox.tell_call(call, Peer::HangUp { call, party, request, cause }),
            Request::Attach { call_token, leg, sealed } => {
                let opened =
                    call_token::open(&call_token, self.config.network, &self.config.call_token_key, now.unix());
                let owned = |claims: &call_token::CallTokenClaims| {
                    claims.account == party.account && claims.device == party.device
                };
                let Some(claims) = opened.ok().filter(owned) else {
                    outbox.counters.call_tokens_refused += 1;
                    return Err(CALL_TOKEN_REFUSED);
                };
                let join = JoinCall { call: claims.call, party, request, leg, sealed };
                outbox.tell_call(claims.call, Peer::Attach(Box::new(join), Box::new(claims)));
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

    fn ask(&mut self, query: Query, question: Question, outbox: &mut Outbox) -> Result<(), Refusal> {
        if self.queries.len() >= QUERIES_MAX {
            return Err(STORE_UNAVAILABLE);
        }
        self.last_query += 1;
        let id = QueryId(self.last_query);
        self.queries.insert(id, query);
        outbox.ask(id, question);
        Ok(())
    }

    pub(crate) fn answer(&mut self, query: QueryId, answer: Result<Answer, StoreError>, outbox: &mut Outbox) {
        let Some(Query { party, request, start }) = self.queries.remove(&query) else { return };
        let link = party.link.link;
        if let (Ok(Answer::Callees(callees)), Some(start)) = (&answer, start) {
            if self.is_online(link) {
                start_call(*start, party, request, callees, outbox);
            }
            return;
        }
        if answer.is_err() {
            outbox.counters.store_errors += 1;
        }
        let (body, effects) = respond(answer);
        self.deliver(link, request, framed(request, body), outbox);
        effects.carry_out(outbox);
    }

    /// Hands a message to a link of this shard.
    pub(crate) fn deliver(&mut self, link: LinkId, in_reply_to: u64, message: Bytes, outbox: &mut Outbox) {
        let Some(online) = self.online_mut(link) else { return };
        online.unanswered.retain(|request| *request != in_reply_to);
        outbox.send(link, message);
    }

    pub(crate) fn open_flow(
        &mut self,
        call: CallId,
        device: DeviceId,
        link: LinkId,
        relay: &mut Relay,
        outbox: &mut Outbox,
    ) {
        let online = self.online_mut(link).filter(|online| online.flows.len() < FLOWS_PER_SESSION_MAX);
        let flow = online.and_then(|online| {
            let flow = relay.open(link, call, device)?;
            online.flows.push(flow);
            Some(flow)
        });
        let link = outbox.here(link);
        outbox.tell_call(call, Peer::FlowOpened { call, device, link, flow });
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

    pub(crate) fn timers(&self) -> usize {
        self.timers.len()
    }
}

impl Online {
    fn party(&self, link: LinkId, outbox: &Outbox) -> Party {
        Party { account: self.account, device: self.device, link: outbox.here(link) }
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

/// What others hear of a change in the store.
#[derive(Debug, Default)]
struct Effects {
    entry: Option<(v1::LogEntry, Vec<AccountId>)>,
    deliveries: Vec<Delivery>,
}

impl Effects {
    fn carry_out(self, outbox: &mut Outbox) {
        if let Some((entry, members)) = self.entry {
            // An entry without a sender that can be read goes to nobody's device in particular: all hear of it.
            let sender = DeviceId::try_from(&entry.device[..]).unwrap_or(DeviceId([0; 16]));
            let event = framed(0, Body::LogEntry(entry));
            for member in members {
                outbox.notify(member, Devices::AllBut(sender), event.clone());
            }
        }
        for Delivery { account, device, entry } in self.deliveries {
            outbox.notify(account, Devices::One(device), framed(0, Body::InboxEntry(entry)));
        }
    }
}

/// The response that an answer makes, and what follows from it for others.
fn respond(answer: Result<Answer, StoreError>) -> (Body, Effects) {
    let mut effects = Effects::default();
    let body = match answer {
        Err(StoreError::Busy | StoreError::Unavailable) => STORE_UNAVAILABLE.body(),
        Ok(answer) => match answer {
            Answer::Done => Body::Done(v1::Done {}),
            Answer::NotFound => NOT_FOUND.body(),
            Answer::AlreadyExists => ALREADY_EXISTS.body(),
            Answer::Conflict => CONFLICT.body(),
            Answer::LimitReached => LIMIT_REACHED.body(),
            Answer::Account { account, name, account_key } => Body::AccountFound(v1::AccountFound {
                account: account.to_bytes(),
                name: name.into(),
                account_key: Bytes::copy_from_slice(&account_key),
            }),
            Answer::KeyPackages(packages) => Body::KeyPackages(packages),
            Answer::Conversations(conversations) => Body::Conversations(conversations),
            Answer::Created { conversation, deliveries } => {
                effects.deliveries = deliveries;
                Body::Conversations(v1::Conversations { conversations: vec![conversation], more: false })
            }
            Answer::Existing { conversation } => {
                Body::Conversations(v1::Conversations { conversations: vec![conversation], more: false })
            }
            Answer::GroupInfo(info) => Body::GroupInfo(info),
            Answer::Committed { entry, members, deliveries } => {
                let sequence = entry.sequence;
                effects = Effects { entry: Some((entry, members)), deliveries };
                Body::CommitAccepted(v1::CommitAccepted { sequence })
            }
            Answer::LogEntries(entries) => Body::LogEntries(entries),
            Answer::InboxEntries(entries) => Body::InboxEntries(entries),
            // Only calls ask for them, and they have been served.
            Answer::Callees(_) => STORE_UNAVAILABLE.body(),
        },
    };
    (body, effects)
}

fn start_call(start: Start, caller: Party, request: u64, callees: &[Callee], outbox: &mut Outbox) {
    let Start { call, conversation, leg, sealed } = start;
    let [Callee { account: callee, calls_from }] = *callees else {
        return outbox.refuse(caller.link, request, ONE_TO_ONE_ONLY);
    };
    let allowed = calls_from == v1::CallsFrom::Anyone;
    let new = NewCall { call, conversation, caller, request, leg, sealed, callee, allowed };
    outbox.tell_account(caller.account, Peer::StartCall(Box::new(new)));
}

/// The last words on a link, and its end.
fn refuse_link(link: LinkId, code: v1::ErrorCode, text: impl ToString, outbox: &mut Outbox) {
    let error = v1::Error { code: code.into(), text: text.to_string(), retry_after_ms: 0 };
    outbox.send(link, framed(0, Body::Error(error)));
    outbox.close(link, code);
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

const SHUTTING_DOWN: &str = "this supernode goes down: sign in elsewhere";
const RATE_LIMITED: Refusal = Refusal::new(v1::ErrorCode::RateLimited, "too many requests of this kind");
const CREDENTIAL_REFUSED: Refusal =
    Refusal::new(v1::ErrorCode::Forbidden, "the credential is not a good one of this account, device and device key");
const CALL_TOKEN_REFUSED: Refusal = Refusal::new(
    v1::ErrorCode::CallTokenRefused,
    "the call token is not this device's, not of this network, or expired",
);
const STORE_UNAVAILABLE: Refusal = Refusal::unavailable("the store can't be reached: try again");
const NOT_FOUND: Refusal =
    Refusal::new(v1::ErrorCode::NotFound, "there is no such thing, or it is not for you to know");
const ALREADY_EXISTS: Refusal = Refusal::new(v1::ErrorCode::AlreadyExists, "that id is taken");
const CONFLICT: Refusal = Refusal::new(v1::ErrorCode::Conflict, "the conversation has moved on: fetch its log");
const LIMIT_REACHED: Refusal = Refusal::new(v1::ErrorCode::LimitReached, "there is no room for more");
const ONE_TO_ONE_ONLY: Refusal = Refusal::new(v1::ErrorCode::Unimplemented, "only conversations of two can call");
