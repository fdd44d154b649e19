//! What the supernode says about calls.

use std::time::Instant;

use ahoy_proto::flow::FlowId;
use ahoy_proto::{AccountId, CallId, ConversationId, DeviceId, LegId, v1};
use v1::supernode_message::Body;

use super::super::event::{Ending, Event, PeerLeg, Person};
use super::super::requests::Request;
use super::super::{Member, Timer, find, passes, refusal};
use super::offer::OfferError;
use super::{Call, HELD_MAX, Held, OPENED_MAX, Opened, Phase, RINGS_AT_MOST};

impl Member {
    /// Takes an event about a call. `last`: its conversation is as up to date as it will be.
    pub(in crate::member) fn handle_call_event(&mut self, body: &Body, last: bool, now: Instant) {
        match body {
            Body::IncomingCall(incoming) => self.take_incoming(incoming, last, now),
            Body::CallRinging(ringing) => {
                if let Some(call) = self.call_mut(&ringing.call)
                    && matches!(call.phase, Phase::Calling)
                {
                    let call = call.id;
                    self.outbox.event(Event::Ringing { call });
                }
            }
            Body::LegAttached(attached) => self.take_attached(attached),
            Body::LegUp(up) => self.take_leg_up(up, last, now),
            Body::LegDown(down) => self.take_leg_down(down),
            Body::CallEnded(ended) => {
                self.held.retain(|held| !is_about(&held.body, &ended.call));
                for call in self.calls.values_mut() {
                    call.crossing.take_if(|crossing| crossing.call == ended.call);
                }
                if let Some(id) = self.call_mut(&ended.call).map(|call| call.id) {
                    self.end_call(id, Ending::Cause(ended.cause()), now);
                }
            }
            Body::CallToken(token) => {
                if let Some(call) = self.call_mut(&token.call) {
                    call.call_token = token.call_token.clone();
                }
            }
            _ => {}
        }
    }

    pub(in crate::member) fn handle_call_response(&mut self, request: Request, body: &Body, now: Instant) {
        match request {
            Request::FindCallee(id) => self.callee_found(id, body, now),
            Request::StartCall(id) => self.started(id, body, now),
            Request::FindCaller(id) => self.caller_found(id, body, now),
            Request::AnswerCall(id) => self.answered(id, body, now),
            Request::AttachLeg(id) => self.attached(id, body, now),
            _ => {}
        }
    }

    fn started(&mut self, id: CallId, body: &Body, now: Instant) {
        if matches!(body, Body::Done(_)) {
            // From here on it is the supernode that ends it, unless that forgets it.
            self.timers.remove(&Timer::GiveUp(id));
            self.timers.insert(Timer::Ring(id), now + RINGS_AT_MOST);
        } else if !self.ask_again(id, body, now) {
            self.end_call(id, Ending::Refused(refusal(body)), now);
        }
    }

    fn take_incoming(&mut self, incoming: &v1::IncomingCall, last: bool, now: Instant) {
        let ids = (
            CallId::try_from(&incoming.call[..]),
            LegId::try_from(&incoming.leg[..]),
            ConversationId::try_from(&incoming.conversation[..]),
            AccountId::try_from(&incoming.caller[..]),
        );
        let (Ok(id), Ok(leg), Ok(conversation), Ok(caller)) = ids else { return };
        // To somebody who is blocked it is as if nobody were here.
        if self.is_blocked(caller) {
            return;
        }
        // It has crossed with a call of ours, and the supernode ends one of them.
        if let Some(ours) = self.calls.values_mut().find(|call| call.id != id && call.crosses(caller, incoming)) {
            ours.crossing = Some(incoming.clone());
            return;
        }
        let known = self.opened.iter().find(|(of, opened)| *of == id && opened.offer.leg == leg);
        let opened = match known {
            Some((_, opened)) => Ok(opened.clone()),
            None => self.open_offer(conversation, id, leg, caller, &incoming.sealed),
        };
        let opened = match opened {
            Ok(opened) => opened,
            Err(OfferError::Behind) if !last => {
                return self.hold(conversation, Body::IncomingCall(incoming.clone()), now);
            }
            // Another device of this account may be able to open it.
            Err(OfferError::Behind | OfferError::Sealed) => return,
            Err(OfferError::Wrong) => return self.send_decline(id, v1::Cause::Incompatible),
        };
        self.remember(id, &opened);
        if let Some(call) = self.call_mut(&id.0) {
            // It rings already; the caller has come back with another leg.
            call.keep_offer(opened.offer);
            if call.rings() {
                self.timers.remove(&Timer::GiveUp(id));
                self.timers.insert(Timer::Ring(id), now + RINGS_AT_MOST);
            }
            return;
        }
        let Some(name) = opened.name.clone() else { return self.send_decline(id, v1::Cause::Incompatible) };
        if self.is_full() {
            return self.send_decline(id, v1::Cause::Busy);
        }
        self.timers.insert(Timer::Ring(id), now + RINGS_AT_MOST);
        let mut call = Call::new(id, Phase::Checking { name: name.clone(), account_key: opened.account_key });
        call.conversation = Some(conversation);
        call.keep_offer(opened.offer);
        self.calls.insert(id, call);
        // A name that is known to be this account's has been made sure of before.
        if self.people.find(&name).is_some_and(|(account, _)| account == caller) {
            self.ring(id, Person { account: caller, name });
        } else {
            self.check_caller(id);
        }
    }

    pub(in crate::member) fn check_caller(&mut self, id: CallId) {
        let Some(Call { phase: Phase::Checking { name, .. }, .. }) = self.calls.get(&id) else { return };
        let body = find(name);
        self.ask(Request::FindCaller(id), body);
    }

    fn remember(&mut self, call: CallId, opened: &Opened) {
        self.opened.retain(|(of, known)| *of != call || known.offer.leg != opened.offer.leg);
        if self.opened.len() >= OPENED_MAX {
            self.opened.pop_front();
        }
        self.opened.push_back((call, opened.clone()));
    }

    fn caller_found(&mut self, id: CallId, body: &Body, now: Instant) {
        let Some(call) = self.call_mut(&id.0) else { return };
        let Phase::Checking { name, account_key } = &call.phase else { return };
        let (name, account_key) = (name.clone(), *account_key);
        if passes(body) {
            call.failures += 1;
            let failures = call.failures;
            return self.pause(Timer::Check(id), failures, body, now);
        }
        let caller = call.offers.first().map(|offer| offer.account);
        let proven = match self.learn(&name, body) {
            Ok(account) => Some(account) == caller && self.is_pinned(account, &account_key),
            Err(_) => false,
        };
        match caller {
            Some(account) if proven => self.ring(id, Person { account, name }),
            _ => {
                self.send_decline(id, v1::Cause::Incompatible);
                self.end_call(id, Ending::Cause(v1::Cause::Incompatible), now);
            }
        }
    }

    fn is_pinned(&self, account: AccountId, key: &[u8; 32]) -> bool {
        self.people.pin(account).is_some_and(|pin| pin.key == *key)
    }

    fn ring(&mut self, id: CallId, from: Person) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.phase = Phase::Incoming;
        call.peer = Some(from.clone());
        let quiet = self.is_quiet();
        self.outbox.event(Event::Incoming { call: id, from, quiet });
    }

    /// Keeps a message until its conversation is up to date.
    fn hold(&mut self, conversation: ConversationId, body: Body, now: Instant) {
        if self.held.len() >= HELD_MAX {
            self.held.remove(0);
        }
        self.held.push(Held { conversation, body });
        let known = self.conversations.contains_key(&conversation);
        self.know(conversation, 0);
        if let Some(entry) = self.conversations.get_mut(&conversation) {
            if entry.is_inside() && entry.group(&self.mls).is_err() {
                entry.fall_out(entry.record.generation, &mut self.outbox);
            }
            // It may be of an epoch to come.
            entry.doubt = entry.is_inside();
        }
        if known { self.advance(conversation, now) } else { self.look_into_inbox() }
    }

    fn answered(&mut self, id: CallId, body: &Body, now: Instant) {
        match body {
            Body::LegAttached(attached) => self.take_attached(attached),
            Body::Error(error) if error.code() == v1::ErrorCode::NotFound => {
                self.end_call(id, Ending::Cause(v1::Cause::AnsweredElsewhere), now);
            }
            body if self.ask_again(id, body, now) => {}
            body => self.end_call(id, Ending::Refused(refusal(body)), now),
        }
    }

    fn attached(&mut self, id: CallId, body: &Body, now: Instant) {
        match body {
            Body::LegAttached(attached) => self.take_attached(attached),
            body if self.ask_again(id, body, now) => {}
            _ => self.end_call(id, Ending::Cause(v1::Cause::Lost), now),
        }
    }

    /// This device's leg is attached: for the first time, or again.
    fn take_attached(&mut self, attached: &v1::LegAttached) {
        let Some(flow) = FlowId::new(attached.flow) else { return };
        let Some(call) = self.call_mut(&attached.call) else { return };
        let Some(own) = call.own.as_mut().filter(|own| own.leg.0[..] == attached.leg) else { return };
        own.flow = Some(flow);
        call.call_token = attached.call_token.clone();
        call.phase = Phase::Attached;
        call.failures = 0;
        let changed = call.own_leg().filter(|_| call.connected);
        let id = call.id;
        self.timers.remove(&Timer::GiveUp(id));
        self.timers.remove(&Timer::Ring(id));
        match changed {
            Some(own) => self.outbox.event(Event::OwnLegChanged { call: id, own }),
            None => self.connect(id),
        }
    }

    fn take_leg_up(&mut self, up: &v1::LegUp, last: bool, now: Instant) {
        let ids = (
            LegId::try_from(&up.leg[..]),
            AccountId::try_from(&up.account[..]),
            DeviceId::try_from(&up.device[..]),
            FlowId::new(up.flow),
        );
        let (Ok(leg), Ok(account), Ok(device), Some(flow)) = ids else { return };
        let Some(call) = self.call_mut(&up.call) else { return };
        let (id, Some(conversation)) = (call.id, call.conversation) else { return };
        if call.peer.as_ref().is_none_or(|peer| peer.account != account) {
            return;
        }
        let known = call.offers.iter().find(|offer| offer.leg == leg).cloned();
        let offer = match known {
            Some(offer) => Ok(offer),
            None => self.open_offer(conversation, id, leg, account, &up.sealed).map(|opened| opened.offer),
        };
        let offer = match offer {
            Ok(offer) if offer.device == device => offer,
            Err(OfferError::Behind) if !last => return self.hold(conversation, Body::LegUp(up.clone()), now),
            Ok(_) | Err(_) => {
                self.send_hang_up(id, v1::Cause::Incompatible);
                return self.end_call(id, Ending::Cause(v1::Cause::Incompatible), now);
            }
        };
        let Some(call) = self.calls.get_mut(&id) else { return };
        if !call.offers.iter().any(|known| known.leg == leg) {
            call.keep_offer(offer.clone());
        }
        let leg = PeerLeg { leg, flow, account, device, key: offer.key };
        call.legs.insert(device, leg.clone());
        if call.connected {
            self.outbox.event(Event::PeerLegChanged { call: id, leg });
        } else {
            self.connect(id);
        }
    }

    fn take_leg_down(&mut self, down: &v1::LegDown) {
        let Some(call) = self.call_mut(&down.call) else { return };
        let Some(leg) = call.legs.values().find(|leg| leg.leg.0[..] == down.leg).cloned() else { return };
        call.legs.remove(&leg.device);
        let (call, connected) = (call.id, call.connected);
        if connected {
            self.outbox.event(Event::PeerLost { call, leg: leg.leg });
        }
    }

    /// Says that the call stands, once both sides are attached.
    fn connect(&mut self, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let (Some(own), Some(peer)) = (call.own_leg(), call.peer.clone()) else { return };
        if call.connected || call.legs.is_empty() {
            return;
        }
        call.connected = true;
        let legs = call.legs.values().cloned().collect();
        self.outbox.event(Event::Connected { call: id, peer, own, legs });
    }
}

/// Whether a held message is about this call.
fn is_about(body: &Body, call: &[u8]) -> bool {
    match body {
        Body::IncomingCall(incoming) => incoming.call == *call,
        Body::LegUp(up) => up.call == *call,
        _ => false,
    }
}
