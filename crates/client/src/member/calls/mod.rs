//! The calls of this device: at most as many as it takes; whoever calls beyond that is told BUSY at once.
//!
//! A call goes from finding the person and a conversation with them (outgoing), or opening the caller's offer and
//! making sure of their name (incoming), to ringing, to attached legs. An attached call outlives its session.

mod offer;
mod setup;
mod signalling;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ahoy_proto::flow::FlowId;
use ahoy_proto::limits::{CALLS_PER_ACCOUNT_MAX, RING_TIMEOUT};
use ahoy_proto::{AccountId, CallId, ConversationId, DeviceId, LegId, Name, v1};
use bytes::Bytes;
use v1::client_message::Body as Ask;
use v1::supernode_message::Body;

use super::event::{Ending, Event, OwnLeg, PeerLeg, Person, Refusal, VoiceKey};
use super::requests::Request;
use super::{CALL_PAUSES, CommandError, Member, PAUSES, Timer, find, passes};
pub(super) use offer::Opened;

/// How long a call waits for a session to come back: a supernode forgets a leg after 10 s, but one that died may take
/// longer to be replaced, and the call token is good for that.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a call rings that nobody ends: the supernode does so after 45 s, unless it has died with the call; a third more for
/// one that the caller has asked for again meanwhile.
pub(super) const RINGS_AT_MOST: Duration = Duration::from_secs(60);

/// Signalling that waits for its conversation: as many as legs may attach, or calls come in, at once. Each holds a sealed part,
/// so all together 256 KiB at most.
const HELD_MAX: usize = CALLS_PER_ACCOUNT_MAX;

/// Offers of calls that are remembered after they were opened: the supernode may bring a call again with the next session,
/// and an offer opens once only. At about 300 bytes each, 20 KB.
const OPENED_MAX: usize = CALLS_PER_ACCOUNT_MAX;

/// Calls hung up or declined that the supernode may not have heard of. Without a session none comes after them.
const FAREWELLS_MAX: usize = CALLS_PER_ACCOUNT_MAX;

/// Times that a step of a call is asked for before whoever calls or answers is told that it can't be had: with pauses of 1, 2 and
/// 4 s and half of that on top, 7 to 11 s, in which the fleet has got over the loss of a supernode.
const ATTEMPTS_MAX: u32 = 4;

/// A message that can't be opened before its conversation is up to date.
pub(super) struct Held {
    conversation: ConversationId,
    body: Body,
}

/// A call of this device.
pub(super) struct Call {
    id: CallId,
    phase: Phase,
    /// Known from the moment that the name has been made sure of.
    peer: Option<Person>,
    conversation: Option<ConversationId>,
    own: Option<Own>,
    /// Opened offers of other legs, newest last: an offer opens once only.
    offers: Vec<Offer>,
    /// Legs that are up, one for each device.
    legs: BTreeMap<DeviceId, PeerLeg>,
    call_token: Bytes,
    /// [`Event::Connected`] is out.
    connected: bool,
    /// A call of the person whom this one goes to; the supernode ends one of the two.
    crossing: Option<v1::IncomingCall>,
    /// Attempts to attach, or to make sure of the caller, that failed.
    failures: u32,
}

/// How this device has left a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Farewell {
    HungUp(v1::Cause),
    Declined(v1::Cause),
}

/// How far a call has come.
enum Phase {
    /// Outgoing: asks who has this name.
    Finding(Name),
    /// Outgoing: the conversation is being made, or brought up to date.
    Preparing,
    /// Outgoing: the supernode has been told; it may ring.
    Calling,
    /// Incoming: asks whose name the offer holds.
    Checking { name: Name, account_key: [u8; 32] },
    /// Incoming: rings here.
    Incoming,
    /// Incoming: answered here, not attached yet.
    Answering,
    /// This device's leg is attached, or being attached again.
    Attached,
}

/// This device's leg.
struct Own {
    leg: LegId,
    key: VoiceKey,
    /// Known once attached.
    flow: Option<FlowId>,
}

/// What another leg's sealed offer said.
#[derive(Clone)]
struct Offer {
    leg: LegId,
    account: AccountId,
    device: DeviceId,
    key: VoiceKey,
}

impl Call {
    fn new(id: CallId, phase: Phase) -> Self {
        Self {
            id,
            phase,
            peer: None,
            conversation: None,
            own: None,
            offers: Vec::new(),
            legs: BTreeMap::new(),
            call_token: Bytes::new(),
            connected: false,
            crossing: None,
            failures: 0,
        }
    }

    /// Whether a call of this account crosses with this one, and no other does: whom this one goes to is not known yet, or is
    /// this account, and nobody has answered.
    fn crosses(&self, caller: AccountId, incoming: &v1::IncomingCall) -> bool {
        if self.crossing.as_ref().is_some_and(|other| other.call != incoming.call) {
            return false;
        }
        match self.phase {
            Phase::Finding(_) => true,
            Phase::Preparing | Phase::Calling => self.peer.as_ref().is_some_and(|peer| peer.account == caller),
            Phase::Checking { .. } | Phase::Incoming | Phase::Answering | Phase::Attached => false,
        }
    }

    fn rings(&self) -> bool {
        matches!(self.phase, Phase::Incoming)
    }

    fn own_leg(&self) -> Option<OwnLeg> {
        let own = self.own.as_ref()?;
        Some(OwnLeg { leg: own.leg, flow: own.flow?, key: own.key.clone() })
    }
}

impl Member {
    /// Calls somebody. What comes of it is told by events about the call.
    ///
    /// # Errors
    /// When there is no session, this device takes no more calls, or the name is one's own.
    pub fn call(&mut self, name: &Name, _now: Instant) -> Result<CallId, CommandError> {
        if self.session.is_none() {
            return Err(CommandError::NotSignedIn);
        }
        if self.is_full() {
            return Err(CommandError::InCall);
        }
        if *name == self.identity.name {
            return Err(CommandError::OwnName);
        }
        let id = CallId(self.mls.random_id());
        self.calls.insert(id, Call::new(id, Phase::Finding(name.clone())));
        self.find_callee(id);
        Ok(id)
    }

    /// Answers an incoming call.
    ///
    /// # Errors
    /// When it does not ring any more, there is no session, or the answer can't be sealed.
    pub fn answer(&mut self, call: CallId, _now: Instant) -> Result<(), CommandError> {
        let entry = self.calls.get(&call).filter(|entry| entry.rings()).ok_or(CommandError::NoSuchCall)?;
        if self.session.is_none() {
            return Err(CommandError::NotSignedIn);
        }
        let conversation = entry.conversation.ok_or(CommandError::NoSuchCall)?;
        let (own, sealed) = self.seal_offer(call, conversation).ok_or(CommandError::NotSealed)?;
        let leg = own.leg.to_bytes();
        if let Some(entry) = self.calls.get_mut(&call) {
            entry.own = Some(own);
            entry.phase = Phase::Answering;
        }
        self.timers.remove(&Timer::GiveUp(call));
        let body = Ask::AnswerCall(v1::AnswerCall { call: call.to_bytes(), leg, sealed });
        self.ask(Request::AnswerCall(call), body);
        Ok(())
    }

    /// Declines an incoming call with `DECLINED`, `BUSY` or `INCOMPATIBLE`, on behalf of all devices of the account.
    ///
    /// # Errors
    /// When it does not ring any more.
    pub fn decline(&mut self, call: CallId, cause: v1::Cause, now: Instant) -> Result<(), CommandError> {
        if !self.calls.get(&call).is_some_and(Call::rings) {
            return Err(CommandError::NoSuchCall);
        }
        self.send_decline(call, cause);
        self.end_call(call, Ending::Cause(cause), now);
        Ok(())
    }

    /// Ends a call, answered or not; works without a session too.
    ///
    /// # Errors
    /// When there is no such call.
    pub fn hang_up(&mut self, call: CallId, now: Instant) -> Result<(), CommandError> {
        let entry = self.calls.get(&call).ok_or(CommandError::NoSuchCall)?;
        match entry.phase {
            Phase::Finding(_) | Phase::Preparing => self.end_call(call, Ending::Cause(v1::Cause::Cancelled), now),
            Phase::Calling => {
                let cause = if entry.own_leg().is_some() { v1::Cause::HungUp } else { v1::Cause::Cancelled };
                self.send_hang_up(call, v1::Cause::HungUp);
                self.end_call(call, Ending::Cause(cause), now);
            }
            Phase::Incoming => return self.decline(call, v1::Cause::Declined, now),
            // Nobody has been told of it yet.
            Phase::Checking { .. } => return Err(CommandError::NoSuchCall),
            Phase::Answering | Phase::Attached => {
                self.send_hang_up(call, v1::Cause::HungUp);
                self.end_call(call, Ending::Cause(v1::Cause::HungUp), now);
            }
        }
        Ok(())
    }

    /// Keeps, for a while, calls that the supernode may still have; any other is lost with its session.
    pub(super) fn suspend_calls(&mut self, now: Instant) {
        for id in self.call_ids() {
            let Some(call) = self.calls.get_mut(&id) else { continue };
            call.crossing = None;
            match call.phase {
                Phase::Calling | Phase::Answering | Phase::Attached => {
                    if let Some(own) = &mut call.own {
                        own.flow = None;
                    }
                    self.timers.insert(Timer::GiveUp(id), now + PATIENCE);
                }
                Phase::Finding(_) | Phase::Preparing => {
                    self.end_call(id, Ending::Refused(Refusal::SessionLost), now);
                }
                // If it still rings, the next session brings it again.
                Phase::Checking { .. } | Phase::Incoming => self.end_call(id, Ending::Cause(v1::Cause::Lost), now),
            }
        }
    }

    /// Before what leads to a call is given up for a resync: a call whose conversation is being made begins anew with the person.
    pub(super) fn prepare_calls_to_ask_again(&mut self) {
        for call in self.calls.values_mut() {
            if let (Phase::Preparing, Some(peer)) = (&call.phase, &call.peer) {
                call.phase = Phase::Finding(peer.name.clone());
            }
        }
    }

    /// Keeps all calls for a resync: the link is there, so they ring and speak on. Those that nobody speaks of any more end in time.
    pub(super) fn keep_calls(&mut self, now: Instant) {
        for (id, call) in &mut self.calls {
            call.failures = 0;
            let patience = match call.phase {
                // A ring that has lost its call is not ended by anybody else.
                Phase::Incoming | Phase::Checking { .. } => RING_TIMEOUT,
                Phase::Finding(_) | Phase::Preparing | Phase::Calling | Phase::Answering | Phase::Attached => PATIENCE,
            };
            self.timers.insert(Timer::GiveUp(*id), now + patience);
        }
    }

    /// Takes up again what an earlier session left; what has come or begun since waits for its own answers.
    pub(super) fn resume_calls(&mut self, now: Instant) {
        for id in self.call_ids() {
            if self.timers.contains_key(&Timer::GiveUp(id)) {
                self.resume_call(id, now);
            }
        }
    }

    /// Takes up a call again on a new session, with a fresh leg: asks anew for what was asked before, or attaches.
    pub(super) fn resume_call(&mut self, id: CallId, now: Instant) {
        let Some(entry) = self.calls.get(&id) else { return };
        match entry.phase {
            Phase::Finding(_) => return self.find_callee(id),
            Phase::Checking { .. } => return self.check_caller(id),
            // Waits for a conversation, or for a person.
            Phase::Preparing | Phase::Incoming => return,
            Phase::Calling | Phase::Answering | Phase::Attached => {}
        }
        let Some(conversation) = entry.conversation.filter(|_| self.session.is_some()) else { return };
        let call_token = entry.call_token.clone();
        // With a leg it was asked for before: the supernode may have the call, and it would ring or be waited for there.
        let may_be_known = entry.own.is_some();
        let Some((own, sealed)) = self.seal_offer(id, conversation) else {
            if may_be_known {
                self.send_hang_up(id, v1::Cause::Incompatible);
            }
            return self.end_call(id, Ending::Cause(v1::Cause::Incompatible), now);
        };
        let (call, leg) = (id.to_bytes(), own.leg.to_bytes());
        let Some(entry) = self.calls.get_mut(&id) else { return };
        entry.own = Some(own);
        let (request, body) = match entry.phase {
            Phase::Calling => {
                let conversation = conversation.to_bytes();
                (Request::StartCall(id), Ask::StartCall(v1::StartCall { call, conversation, leg, sealed }))
            }
            Phase::Answering => (Request::AnswerCall(id), Ask::AnswerCall(v1::AnswerCall { call, leg, sealed })),
            _ => (Request::AttachLeg(id), Ask::AttachLeg(v1::AttachLeg { call_token, leg, sealed })),
        };
        self.ask(request, body);
    }

    /// Asks again after a pause for what moves a call on; `false` when it has been asked for often enough, or would not be had later either.
    pub(super) fn ask_again(&mut self, id: CallId, body: &Body, now: Instant) -> bool {
        let Some(call) = self.calls.get_mut(&id).filter(|_| passes(body)) else { return false };
        call.failures += 1;
        let failures = call.failures;
        // A leg that was attached before has its own patience.
        let pauses = match call.phase {
            Phase::Attached => &CALL_PAUSES,
            _ if failures >= ATTEMPTS_MAX => return false,
            _ => &PAUSES,
        };
        self.pause_by(pauses, Timer::Attach(id), failures, body, now);
        true
    }

    fn find_callee(&mut self, id: CallId) {
        let Some(Call { phase: Phase::Finding(name), .. }) = self.calls.get(&id) else { return };
        let body = find(name);
        self.ask(Request::FindCallee(id), body);
    }

    /// Tells the supernode of calls that were hung up or declined, as far as it has not heard of them.
    pub(super) fn say_farewells(&mut self) {
        for (call, farewell) in std::mem::take(&mut self.farewells) {
            self.send_farewell(call, farewell);
        }
    }

    pub(super) fn owe_farewell(&mut self, call: CallId, farewell: Farewell) {
        if self.farewells.len() >= FAREWELLS_MAX {
            self.farewells.pop_front();
        }
        self.farewells.push_back((call, farewell));
    }

    /// Nobody may have heard it: it is said again.
    pub(super) fn farewell_said(&mut self, call: CallId, farewell: Farewell, body: &Body, now: Instant) {
        if passes(body) {
            self.owe_farewell(call, farewell);
            self.pause_session(Timer::Farewells, body, now);
        }
    }

    /// Ends a call, if there is such a one. A call that crossed with it gets its turn.
    pub(super) fn end_call(&mut self, id: CallId, ending: Ending, now: Instant) {
        let Some(call) = self.calls.remove(&id) else { return };
        for timer in [Timer::GiveUp(id), Timer::Ring(id), Timer::Attach(id), Timer::Check(id)] {
            self.timers.remove(&timer);
        }
        // Nobody has been told of a call that is still being checked.
        if !matches!(call.phase, Phase::Checking { .. }) {
            self.outbox.event(Event::Ended { call: id, ending });
        }
        if let Some(crossing) = call.crossing {
            self.handle_call_event(&Body::IncomingCall(crossing), false, now);
        }
    }

    fn send_hang_up(&mut self, call: CallId, cause: v1::Cause) {
        self.send_farewell(call, Farewell::HungUp(cause));
    }

    fn send_decline(&mut self, call: CallId, cause: v1::Cause) {
        self.send_farewell(call, Farewell::Declined(cause));
    }

    fn send_farewell(&mut self, id: CallId, farewell: Farewell) {
        let call = id.to_bytes();
        let body = match farewell {
            Farewell::HungUp(cause) => Ask::HangUp(v1::HangUp { call, cause: cause.into() }),
            Farewell::Declined(cause) => Ask::DeclineCall(v1::DeclineCall { call, cause: cause.into() }),
        };
        if self.session.is_none() {
            return self.owe_farewell(id, farewell);
        }
        self.ask(Request::Farewell(id, farewell), body);
    }

    /// Whether this device takes no more calls.
    fn is_full(&self) -> bool {
        self.calls.len() >= self.calls_max.get().min(CALLS_PER_ACCOUNT_MAX)
    }

    /// A call of this device, by its id on the wire.
    fn call_mut(&mut self, id: &[u8]) -> Option<&mut Call> {
        CallId::try_from(id).ok().and_then(|id| self.calls.get_mut(&id))
    }

    pub(super) fn call_ids(&self) -> Vec<CallId> {
        self.calls.keys().copied().collect()
    }
}
