//! The call of this device: at most one.
//!
//! A call goes from finding the person and a conversation with them (outgoing), or opening the caller's offer and
//! making sure of their name (incoming), to ringing, to attached legs. An attached call outlives its session.

mod offer;
mod setup;
mod signalling;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ahoy_proto::flow::FlowId;
use ahoy_proto::{AccountId, CallId, ConversationId, DeviceId, LegId, Name, v1};
use bytes::Bytes;
use v1::client_message::Body as Ask;
use v1::supernode_message::Body;

use super::event::{Ending, Event, OwnLeg, PeerLeg, Person, Refusal, VoiceKey};
use super::requests::Request;
use super::{CommandError, Member, Timer, find};
pub(super) use offer::Opened;

/// How long a call waits for a session to come back: a supernode forgets a leg after 10 s, but one that died may take
/// longer to be replaced, and the call token is good for that.
const PATIENCE: Duration = Duration::from_secs(60);

/// Signalling that waits for its conversation: as many as legs may attach at once.
const HELD_MAX: usize = 16;

/// Offers of calls that are remembered after they were opened: the supernode may bring a call again with the next session,
/// and an offer opens once only.
const OPENED_MAX: usize = 8;

/// A message that can't be opened before its conversation is up to date.
pub(super) struct Held {
    conversation: ConversationId,
    body: Body,
}

/// The call of this device.
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
    /// Attempts to attach, or to make sure of the caller, that failed.
    failures: u32,
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
            failures: 0,
        }
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
    /// When there is no session, this device is in a call, or the name is one's own.
    pub fn call(&mut self, name: &Name, _now: Instant) -> Result<CallId, CommandError> {
        if self.session.is_none() {
            return Err(CommandError::NotSignedIn);
        }
        if self.call.is_some() {
            return Err(CommandError::InCall);
        }
        if *name == self.identity.name {
            return Err(CommandError::OwnName);
        }
        let id = CallId(self.mls.random_id());
        self.call = Some(Call::new(id, Phase::Finding(name.clone())));
        self.ask(Request::FindCallee(id), find(name));
        Ok(id)
    }

    /// Answers an incoming call.
    ///
    /// # Errors
    /// When it does not ring any more, there is no session, or the answer can't be sealed.
    pub fn answer(&mut self, call: CallId, _now: Instant) -> Result<(), CommandError> {
        let ringing = |entry: &Call| entry.id == call && matches!(entry.phase, Phase::Incoming);
        let current = self.call.as_ref().filter(|entry| ringing(entry)).ok_or(CommandError::NoSuchCall)?;
        if self.session.is_none() {
            return Err(CommandError::NotSignedIn);
        }
        let conversation = current.conversation.ok_or(CommandError::NoSuchCall)?;
        let (own, sealed) = self.seal_offer(call, conversation).ok_or(CommandError::NotSealed)?;
        let leg = own.leg.to_bytes();
        if let Some(current) = &mut self.call {
            current.own = Some(own);
            current.phase = Phase::Answering;
        }
        let body = Ask::AnswerCall(v1::AnswerCall { call: call.to_bytes(), leg, sealed });
        self.ask(Request::AnswerCall(call), body);
        Ok(())
    }

    /// Declines an incoming call with `DECLINED`, `BUSY` or `INCOMPATIBLE`, on behalf of all devices of the account.
    ///
    /// # Errors
    /// When it does not ring any more.
    pub fn decline(&mut self, call: CallId, cause: v1::Cause, now: Instant) -> Result<(), CommandError> {
        let ringing = |entry: &Call| entry.id == call && matches!(entry.phase, Phase::Incoming);
        if !self.call.as_ref().is_some_and(ringing) {
            return Err(CommandError::NoSuchCall);
        }
        self.send_decline(call, cause);
        self.end_call(Ending::Cause(cause), now);
        Ok(())
    }

    /// Ends a call, answered or not; works without a session too.
    ///
    /// # Errors
    /// When there is no such call.
    pub fn hang_up(&mut self, call: CallId, now: Instant) -> Result<(), CommandError> {
        let current = self.call.as_ref().filter(|entry| entry.id == call).ok_or(CommandError::NoSuchCall)?;
        match current.phase {
            Phase::Finding(_) | Phase::Preparing => self.end_call(Ending::Cause(v1::Cause::Cancelled), now),
            Phase::Calling => {
                let cause = if current.own_leg().is_some() { v1::Cause::HungUp } else { v1::Cause::Cancelled };
                self.send_hang_up(call, v1::Cause::HungUp);
                self.end_call(Ending::Cause(cause), now);
            }
            Phase::Incoming => return self.decline(call, v1::Cause::Declined, now),
            // Nobody has been told of it yet.
            Phase::Checking { .. } => return Err(CommandError::NoSuchCall),
            Phase::Answering | Phase::Attached => {
                self.send_hang_up(call, v1::Cause::HungUp);
                self.end_call(Ending::Cause(v1::Cause::HungUp), now);
            }
        }
        Ok(())
    }

    /// Keeps, for a while, a call that the supernode may still have; any other is lost with its session.
    pub(super) fn suspend_call(&mut self, now: Instant) {
        self.crossing = None;
        let Some(call) = &mut self.call else { return };
        match call.phase {
            Phase::Calling | Phase::Answering | Phase::Attached => {
                if let Some(own) = &mut call.own {
                    own.flow = None;
                }
                self.timers.insert(Timer::GiveUp, now + PATIENCE);
            }
            Phase::Finding(_) | Phase::Preparing => self.end_call(Ending::Refused(Refusal::SessionLost), now),
            // If it still rings, the next session brings it again.
            Phase::Checking { .. } | Phase::Incoming => self.end_call(Ending::Cause(v1::Cause::Lost), now),
        }
    }

    /// Takes up a call again on a new session, with a fresh leg: asks anew for what was asked before, or attaches.
    pub(super) fn resume_call(&mut self, now: Instant) {
        let Some(call) = &self.call else { return };
        let Some(conversation) = call.conversation.filter(|_| self.session.is_some()) else { return };
        let (id, call_token) = (call.id, call.call_token.clone());
        let Some((own, sealed)) = self.seal_offer(id, conversation) else {
            return self.end_call(Ending::Cause(v1::Cause::Incompatible), now);
        };
        let (call, leg) = (id.to_bytes(), own.leg.to_bytes());
        let Some(entry) = &mut self.call else { return };
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

    /// Tells the supernode of a call that was hung up, if it has not heard of it.
    pub(super) fn say_farewell(&mut self) {
        if let Some(call) = self.farewell.take() {
            self.send_hang_up(call, v1::Cause::HungUp);
        }
    }

    /// Ends the call of this device, if there is one. A call that crossed with it gets its turn.
    pub(super) fn end_call(&mut self, ending: Ending, now: Instant) {
        let Some(call) = self.call.take() else { return };
        self.timers.remove(&Timer::GiveUp);
        self.timers.remove(&Timer::Attach);
        self.timers.remove(&Timer::Check);
        // Nobody has been told of a call that is still being checked.
        if !matches!(call.phase, Phase::Checking { .. }) {
            self.outbox.event(Event::Ended { call: call.id, ending });
        }
        if let Some(crossing) = self.crossing.take() {
            self.handle_call_event(&Body::IncomingCall(crossing), false, now);
        }
    }

    fn send_hang_up(&mut self, call: CallId, cause: v1::Cause) {
        if self.session.is_none() {
            self.farewell = Some(call);
        }
        let body = Ask::HangUp(v1::HangUp { call: call.to_bytes(), cause: cause.into() });
        self.ask(Request::HangUp(call), body);
    }

    fn send_decline(&mut self, call: CallId, cause: v1::Cause) {
        let body = Ask::DeclineCall(v1::DeclineCall { call: call.to_bytes(), cause: cause.into() });
        self.ask(Request::Unminded, body);
    }

    /// The call with this id, if it is the one of this device.
    fn call_mut(&mut self, id: &[u8]) -> Option<&mut Call> {
        self.call.as_mut().filter(|call| call.id.0[..] == *id)
    }
}
