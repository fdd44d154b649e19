//! The calls at home on this shard: ringing, answering, legs that lose their links and return, and how each call ends.
//!
//! Invariants: every device that was told of a call is told once how it ended, and again when it asks; a flow's peers are the attached legs of its
//! own, answered call and nobody else. A call that is unknown here and not remembered as ended comes back to life by a
//! call token: the supernode that served it is gone.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use ahoy_proto::call_token::{self, CallTokenClaims, CallTokenKey};
use ahoy_proto::flow::FlowId;
use ahoy_proto::v1::supernode_message::Body;
use ahoy_proto::{AccountId, CallId, ConversationId, DeviceId, LegId, NetworkId, UnixTime, limits, v1};
use bytes::Bytes;
use rand::Rng;
use rand_chacha::ChaCha20Rng;
use smallvec::SmallVec;

use crate::outbox::{Outbox, Refusal, framed};
use crate::peer::{Devices, JoinCall, NewCall, Party, Peer, Reach};
use crate::relay::Peers;
use crate::timers::{Due, Timers};
use crate::{Fleet, Node, Now, Recipient, Timer};

/// Ended calls that are remembered, so that a call token which outlives its call does not bring it back. At about 100
/// bytes each, 1.6 MB; what is forgotten early comes back for `LEG_RETURN` at most.
const ENDED_CALLS_MAX: usize = 16_384;

#[derive(Debug)]
pub(crate) struct Calls {
    calls: BTreeMap<CallId, Call>,
    calls_max: usize,
    answered: usize,
    ended: Ended,
    mint: TokenMint,
    timers: Timers,
}

#[derive(Debug)]
struct Call {
    conversation: ConversationId,
    legs: [Leg; 2],
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    Ringing(Ringing),
    Answered(Answered),
}

/// The caller's leg is the first one; the second has no device yet.
#[derive(Debug)]
struct Ringing {
    /// Whether at least one device has rung.
    rings: bool,
    until: Instant,
    devices: SmallVec<[(DeviceId, Recipient); 2]>,
}

#[derive(Debug)]
struct Answered {
    at: UnixTime,
    tokens_due: Instant,
}

/// One participant's place in a call.
#[derive(Debug)]
struct Leg {
    account: AccountId,
    device: DeviceId,
    leg: LegId,
    sealed: Bytes,
    attachment: Attachment,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attachment {
    /// Nobody has answered yet.
    Vacant,
    /// The link's shard opens a flow; `request` is answered with LegAttached, unless it is 0.
    Opening { link: Recipient, request: u64 },
    /// Voice can flow.
    Attached { link: Recipient, flow: FlowId },
    /// The link is lost; it may return.
    Away { until: Instant },
}

const CALLER: usize = 0;
const CALLEE: usize = 1;

/// Requests and events of calls.
impl Calls {
    pub(crate) fn new(mint: TokenMint, calls_max: usize) -> Self {
        Self {
            calls: BTreeMap::new(),
            calls_max,
            answered: 0,
            ended: Ended::default(),
            mint,
            timers: Timers::default(),
        }
    }

    /// A new call; or its caller asks again, after a lost link, for one that is there.
    pub(crate) fn start(&mut self, new: NewCall, now: Now, outbox: &mut Outbox) {
        let NewCall { call: id, conversation, caller, request, leg, sealed, callee, welcome } = new;
        if let Some(call) = self.calls.get(&id) {
            if let Some(index) = call.place_of(caller) {
                return self.start_again(id, index, Leg::of(caller, leg, sealed, 0), caller, request, outbox);
            }
            if !call.legs.iter().any(|leg| leg.account == caller.account) {
                outbox.tell_account(caller.account, Peer::Disengage { call: id, account: caller.account });
            }
            return outbox.refuse(caller.link, request, CALL_EXISTS);
        }
        let refusal = if self.ended.tell(id, caller, callee, now.instant, outbox) {
            Some(NO_CALL)
        } else {
            (self.calls.len() >= self.calls_max).then_some(FULL)
        };
        if let Some(refusal) = refusal {
            outbox.tell_account(caller.account, Peer::Disengage { call: id, account: caller.account });
            return outbox.refuse(caller.link, request, refusal);
        }
        outbox.counters.calls += 1;
        let legs = [Leg::of(caller, leg, sealed, 0), Leg::vacant(callee)];
        // Should the callee's home not be heard of, the call ends even so.
        let until = now.instant + limits::RING_TIMEOUT;
        self.timers.set(until, Due::Ring(id));
        let phase = Phase::Ringing(Ringing { rings: false, until, devices: SmallVec::new() });
        self.calls.insert(id, Call { conversation, legs, phase });
        outbox.respond(caller.link, request, Body::Done(v1::Done {}));
        outbox.open_flow(id, caller);
        outbox.tell_account(callee, Peer::Reach { call: id, caller: caller.account, callee, welcome });
    }

    fn start_again(&mut self, id: CallId, index: usize, leg: Leg, caller: Party, request: u64, outbox: &mut Outbox) {
        outbox.respond(caller.link, request, Body::Done(v1::Done {}));
        self.take_up(id, index, leg, caller, outbox);
        let rings = matches!(&self.calls[&id].phase, Phase::Ringing(Ringing { rings: true, .. }));
        if rings {
            outbox.event(caller.link, Body::CallRinging(v1::CallRinging { call: id.to_bytes() }));
        }
    }

    /// The callee's home says what became of reaching it.
    pub(crate) fn reached(&mut self, id: CallId, reach: Reach, now: Now, outbox: &mut Outbox) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Phase::Ringing(ringing) = &mut call.phase else { return };
        match reach {
            Reach::Requested => self.end(id, v1::Cause::Requested, now, outbox),
            Reach::Unreachable => self.end(id, v1::Cause::Unreachable, now, outbox),
            Reach::Busy => self.end(id, v1::Cause::Busy, now, outbox),
            Reach::Ringing(devices) => {
                let until = now.instant + limits::RING_TIMEOUT;
                self.timers.clear(std::mem::replace(&mut ringing.until, until), Due::Ring(id));
                ringing.rings = true;
                self.timers.set(until, Due::Ring(id));
                let incoming = call.incoming(id);
                for (device, link) in devices {
                    call.ring(device, link, &incoming, outbox);
                }
                if let Some(link) = call.legs[CALLER].link() {
                    outbox.event(link, Body::CallRinging(v1::CallRinging { call: id.to_bytes() }));
                }
            }
        }
    }

    /// A device of the callee has signed in while it rings, or anew on another link.
    pub(crate) fn device_up(&mut self, id: CallId, party: Party, outbox: &mut Outbox) {
        let Some(call) = self.calls.get_mut(&id).filter(|call| call.legs[CALLEE].account == party.account) else {
            return;
        };
        let incoming = call.incoming(id);
        call.ring(party.device, party.link, &incoming, outbox);
    }

    /// The other of two calls that crossed goes on instead of this one.
    pub(crate) fn give_way(&mut self, id: CallId, now: Now, outbox: &mut Outbox) {
        if self.calls.get(&id).is_some_and(|call| matches!(call.phase, Phase::Ringing(_))) {
            self.end(id, v1::Cause::Busy, now, outbox);
        }
    }

    /// The first device to answer takes the call. It may ask again after a lost link, while it has no call token.
    pub(crate) fn answer(&mut self, join: JoinCall, now: Now, outbox: &mut Outbox) {
        let JoinCall { call: id, party, request, leg, sealed } = join;
        let call = self.calls.get_mut(&id).filter(|call| call.legs[CALLEE].account == party.account);
        let Some(call) = call else { return self.no_call(id, party, request, now, outbox) };
        let leg = Leg::of(party, leg, sealed, request);
        let Phase::Ringing(ringing) = &mut call.phase else {
            if call.legs[CALLEE].device == party.device {
                return self.take_up(id, CALLEE, leg, party, outbox);
            }
            return outbox.refuse(party.link, request, NO_CALL);
        };
        self.timers.clear(ringing.until, Due::Ring(id));
        let devices = std::mem::take(&mut ringing.devices);
        let tokens_due = now.instant + limits::CALL_TOKEN_LIFE / 2;
        call.phase = Phase::Answered(Answered { at: now.unix(), tokens_due });
        self.timers.set(tokens_due, Due::CallToken(id));
        self.answered += 1;
        let elsewhere = ended_framed(id, v1::Cause::AnsweredElsewhere);
        for (_, link) in devices.iter().filter(|(device, _)| *device != party.device) {
            outbox.event_framed(*link, elsewhere.clone());
        }
        call.answered(id, outbox);
        // First, because the caller's call token names the device that answered.
        self.take_up(id, CALLEE, leg, party, outbox);
        self.connect(id, CALLER, 0, now, outbox);
    }

    /// A device refuses for all devices of its account.
    pub(crate) fn decline(
        &mut self,
        id: CallId,
        party: Party,
        request: u64,
        cause: v1::Cause,
        now: Now,
        outbox: &mut Outbox,
    ) {
        let call = self.calls.get_mut(&id).filter(|call| call.legs[CALLEE].account == party.account);
        let Some(call) = call else { return self.no_call(id, party, request, now, outbox) };
        let Phase::Ringing(ringing) = &mut call.phase else { return outbox.refuse(party.link, request, NO_CALL) };
        outbox.respond(party.link, request, Body::Done(v1::Done {}));
        let elsewhere = ended_framed(id, v1::Cause::DeclinedElsewhere);
        ringing.devices.retain(|(device, link)| {
            let declined_here = *device == party.device;
            if !declined_here {
                outbox.event_framed(*link, elsewhere.clone());
            }
            declined_here
        });
        self.end(id, cause, now, outbox);
    }

    /// A participant leaves, which ends a call of two.
    pub(crate) fn hang_up(
        &mut self,
        id: CallId,
        party: Party,
        request: u64,
        cause: v1::Cause,
        now: Now,
        outbox: &mut Outbox,
    ) {
        let Some(call) = self.calls.get(&id) else {
            self.no_call(id, party, request, now, outbox);
            // It has overtaken what begins the call, or is here before the other leg is that has lost the same home.
            return self.ended.remember_early(id, cause, party.account, now.instant);
        };
        if !call.legs.iter().any(|leg| leg.account == party.account) {
            return self.no_call(id, party, request, now, outbox);
        }
        let cause = match call.phase {
            Phase::Answered(_) => cause,
            Phase::Ringing(_) if call.legs[CALLER].account == party.account => v1::Cause::Cancelled,
            Phase::Ringing(_) => return self.decline(id, party, request, v1::Cause::Declined, now, outbox),
        };
        outbox.respond(party.link, request, Body::Done(v1::Done {}));
        self.end(id, cause, now, outbox);
    }

    /// A leg returns with its call token, to this supernode or to the successor of one that is gone.
    pub(crate) fn attach(&mut self, join: JoinCall, call_token: &Bytes, now: Now, outbox: &mut Outbox) {
        let JoinCall { call: id, party, request, .. } = join;
        // The link's shard has opened it before: another one, of another supernode, is not believed.
        let Some(claims) = self.mint.open(call_token, party, now.unix()).filter(|claims| claims.call == id) else {
            return outbox.refuse(party.link, request, CALL_TOKEN_REFUSED);
        };
        self.stop_ringing_if_answered_elsewhere(id, party, &claims, outbox);
        if let Some(call) = self.calls.get(&id) {
            let caller = &call.legs[CALLER];
            // The caller had not heard of the answer when the supernode died, and has started the call again.
            let answered_before = matches!(call.phase, Phase::Ringing(_))
                && call.legs[CALLEE].account == party.account
                && claims.peers == [(caller.account, caller.device)];
            if answered_before {
                return self.answer(join, now, outbox);
            }
            let Some(index) = call.place_of(party).filter(|_| matches!(call.phase, Phase::Answered(_))) else {
                return outbox.refuse(party.link, request, NO_CALL);
            };
            let leg = Leg::of(party, join.leg, join.sealed, request);
            return self.take_up(id, index, leg, party, outbox);
        }
        let [(peer, device)] = claims.peers[..] else { return outbox.refuse(party.link, request, NO_CALL) };
        if self.ended.tell(id, party, peer, now.instant, outbox) {
            return outbox.refuse(party.link, request, NO_CALL);
        }
        if self.calls.len() >= self.calls_max {
            return outbox.refuse(party.link, request, FULL);
        }
        outbox.counters.calls_recreated += 1;
        let until = now.instant + limits::LEG_RETURN;
        let tokens_due = now.instant + limits::CALL_TOKEN_LIFE / 2;
        let away = Leg { device, attachment: Attachment::Away { until }, ..Leg::vacant(peer) };
        let phase = Phase::Answered(Answered { at: claims.answered_at, tokens_due });
        let leg = Leg::of(party, join.leg, join.sealed, request);
        let call = Call { conversation: claims.conversation, legs: [leg, away], phase };
        call.answered(id, outbox);
        self.timers.set(until, Due::LegReturn(id, CALLEE as u8));
        self.timers.set(tokens_due, Due::CallToken(id));
        self.calls.insert(id, call);
        self.answered += 1;
        outbox.open_flow(id, party);
    }

    /// A call that rings here though its caller has a token of it: while supernodes could not reach each other it was started again at
    /// another home, and answered there.
    fn stop_ringing_if_answered_elsewhere(
        &mut self,
        id: CallId,
        party: Party,
        claims: &CallTokenClaims,
        outbox: &mut Outbox,
    ) {
        let [(peer, device)] = claims.peers[..] else { return };
        let rings_for = |call: &&Call| {
            matches!(call.phase, Phase::Ringing(_))
                && call.place_of(party) == Some(CALLER)
                && call.legs[CALLEE].account == peer
        };
        if self.calls.get(&id).filter(rings_for).is_none() {
            return;
        }
        let Some(Call { phase: Phase::Ringing(ringing), .. }) = self.take_out(id) else { return };
        let elsewhere = ended_framed(id, v1::Cause::AnsweredElsewhere);
        for (_, link) in ringing.devices.iter().filter(|(other, _)| *other != device) {
            outbox.event_framed(*link, elsewhere.clone());
        }
    }

    /// The fleet has changed. Calls whose home is elsewhere now are let go of, to be taken up again there while their voice goes on.
    /// Legs and devices of supernodes that are gone have lost their links.
    pub(crate) fn fleet_changed(&mut self, before: &Fleet, now: Now, outbox: &mut Outbox) {
        self.hand_over(outbox);
        let alive = |link: Recipient, outbox: &Outbox| outbox.fleet().node(link.node).is_some();
        let mut lost = Vec::new();
        for (id, call) in &mut self.calls {
            for leg in &call.legs {
                lost.extend(leg.link().filter(|link| !alive(*link, outbox)).map(|link| (*id, leg.device, link)));
            }
            match &mut call.phase {
                Phase::Ringing(ringing) => ringing.devices.retain(|(_, link)| alive(*link, outbox)),
                Phase::Answered(_) => call.answered_where_homes_moved(*id, before, outbox),
            }
        }
        for (id, device, link) in lost {
            self.link_lost(id, device, link, now, outbox);
        }
    }

    fn hand_over(&mut self, outbox: &mut Outbox) {
        let elsewhere = |id: &CallId| outbox.fleet().home_of_call(*id).node != Node::OWN;
        let calls: Vec<_> = self.calls.keys().copied().filter(elsewhere).collect();
        for id in calls {
            let Some(call) = self.take_out(id) else { continue };
            for link in call.legs.iter().filter_map(Leg::link) {
                outbox.tell(link.seat(), Peer::LetGo { call: id, link: link.link });
            }
        }
    }

    /// Takes out a call with its timers.
    fn take_out(&mut self, id: CallId) -> Option<Call> {
        let call = self.calls.remove(&id)?;
        for (index, leg) in call.legs.iter().enumerate() {
            if let Attachment::Away { until } = leg.attachment {
                self.timers.clear(until, Due::LegReturn(id, index as u8));
            }
        }
        match &call.phase {
            Phase::Ringing(ringing) => self.timers.clear(ringing.until, Due::Ring(id)),
            Phase::Answered(answered) => {
                self.timers.clear(answered.tokens_due, Due::CallToken(id));
                self.answered -= 1;
            }
        }
        Some(call)
    }

    fn no_call(&mut self, id: CallId, party: Party, request: u64, now: Now, outbox: &mut Outbox) {
        self.ended.tell(id, party, party.account, now.instant, outbox);
        // Its home may have died with it, and the account's not.
        outbox.tell_account(party.account, Peer::Disengage { call: id, account: party.account });
        outbox.refuse(party.link, request, NO_CALL);
    }

    pub(crate) fn timeout(&mut self, now: Now, outbox: &mut Outbox) {
        while let Some(due) = self.timers.take_due(now.instant) {
            match due {
                Due::Ring(id) => self.end(id, v1::Cause::NoAnswer, now, outbox),
                Due::LegReturn(id, _) => self.lose(id, now, outbox),
                Due::CallToken(id) => self.renew_tokens(id, now, outbox),
                Due::Proof(_) | Due::Names(_) | Due::Expiry(_) | Due::Long(_) | Due::Orphans => {}
            }
        }
    }
}

/// Legs and their flows.
impl Calls {
    /// Gives a place in the call to a leg that opens its flow on a new link. What stood there goes.
    fn take_up(&mut self, id: CallId, index: usize, leg: Leg, party: Party, outbox: &mut Outbox) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let old = std::mem::replace(&mut call.legs[index], leg);
        match old.attachment {
            Attachment::Vacant => {}
            Attachment::Opening { link, request } => superseded(link, request, outbox),
            Attachment::Attached { link, flow } => {
                outbox.tell(link.seat(), Peer::CloseFlow { link: link.link, flow });
                call.set_peers(outbox);
            }
            Attachment::Away { until } => self.timers.clear(until, Due::LegReturn(id, index as u8)),
        }
        outbox.open_flow(id, party);
    }

    /// A link's shard has opened a flow for a leg, or could not because the link is gone.
    pub(crate) fn flow_opened(
        &mut self,
        id: CallId,
        device: DeviceId,
        link: Recipient,
        flow: Option<FlowId>,
        now: Now,
        outbox: &mut Outbox,
    ) {
        let place = self.calls.get_mut(&id).and_then(|call| {
            let opening = |leg: &Leg| matches!(leg.attachment, Attachment::Opening { link: at, .. } if at == link);
            let index = call.legs.iter().position(|leg| leg.device == device && opening(leg))?;
            Some((index, &mut call.legs[index].attachment))
        });
        match (place, flow) {
            (Some((index, attachment)), Some(flow)) => {
                let Attachment::Opening { request, .. } = *attachment else { return };
                *attachment = Attachment::Attached { link, flow };
                self.connect(id, index, request, now, outbox);
            }
            (Some((index, attachment)), None) => {
                if let Attachment::Opening { request, .. } = *attachment {
                    superseded(link, request, outbox);
                }
                let until = now.instant + limits::LEG_RETURN;
                *attachment = Attachment::Away { until };
                self.timers.set(until, Due::LegReturn(id, index as u8));
            }
            (None, Some(flow)) => outbox.tell(link.seat(), Peer::CloseFlow { link: link.link, flow }),
            (None, None) => {}
        }
    }

    /// Tells an attached leg of an answered call, and the others about it.
    fn connect(&mut self, id: CallId, index: usize, request: u64, now: Now, outbox: &mut Outbox) {
        let Some(call) = self.calls.get(&id) else { return };
        let Phase::Answered(answered) = &call.phase else { return };
        let Attachment::Attached { link, flow } = call.legs[index].attachment else { return };
        let attached = v1::LegAttached {
            call: id.to_bytes(),
            leg: call.legs[index].leg.to_bytes(),
            flow: flow.number(),
            call_token: self.mint.token(id, call, answered.at, index, now.unix()),
        };
        // First: whoever hears of the leg may speak to it at once.
        call.set_peers(outbox);
        outbox.respond(link, request, Body::LegAttached(attached));
        let other = &call.legs[1 - index];
        if let Some(there) = other.attached_link() {
            outbox.event(link, Body::LegUp(other.up(id)));
            outbox.event(there, Body::LegUp(call.legs[index].up(id)));
        }
    }

    /// The link of a leg is gone.
    pub(crate) fn link_lost(&mut self, id: CallId, device: DeviceId, link: Recipient, now: Now, outbox: &mut Outbox) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let lost = |leg: &Leg| leg.device == device && leg.link() == Some(link);
        let Some(index) = call.legs.iter().position(lost) else { return };
        let until = now.instant + limits::LEG_RETURN;
        call.legs[index].attachment = Attachment::Away { until };
        self.timers.set(until, Due::LegReturn(id, index as u8));
        if let (Phase::Answered(_), Some(there)) = (&call.phase, call.legs[1 - index].attached_link()) {
            let down = v1::LegDown { call: id.to_bytes(), leg: call.legs[index].leg.to_bytes() };
            outbox.event(there, Body::LegDown(down));
        }
        call.set_peers(outbox);
    }

    fn renew_tokens(&mut self, id: CallId, now: Now, outbox: &mut Outbox) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Phase::Answered(answered) = &mut call.phase else { return };
        answered.tokens_due = now.instant + limits::CALL_TOKEN_LIFE / 2;
        self.timers.set(answered.tokens_due, Due::CallToken(id));
        let at = answered.at;
        call.answered(id, outbox);
        for index in [CALLER, CALLEE] {
            if let Some(link) = call.legs[index].attached_link() {
                let call_token = self.mint.token(id, call, at, index, now.unix());
                outbox.event(link, Body::CallToken(v1::CallToken { call: id.to_bytes(), call_token }));
            }
        }
    }

    /// A leg has not returned. Where none is here any more nobody is told, and nothing remembered: while supernodes could not reach each
    /// other, both legs may have met at another home, and talk there.
    fn lose(&mut self, id: CallId, now: Now, outbox: &mut Outbox) {
        let away = |leg: &Leg| matches!(leg.attachment, Attachment::Away { .. });
        if !self.calls.get(&id).is_some_and(|call| call.legs.iter().all(away)) {
            return self.end(id, v1::Cause::Lost, now, outbox);
        }
        let Some(call) = self.take_out(id) else { return };
        outbox.counters.calls_ended[v1::Cause::Lost as usize] += 1;
        for leg in &call.legs {
            outbox.tell_account(leg.account, Peer::Disengage { call: id, account: leg.account });
        }
    }

    /// Ends a call for everybody who was told of it.
    fn end(&mut self, id: CallId, cause: v1::Cause, now: Now, outbox: &mut Outbox) {
        let Some(call) = self.take_out(id) else { return };
        outbox.counters.calls_ended[cause as usize] += 1;
        let ended = ended_framed(id, cause);
        for leg in &call.legs {
            match leg.attachment {
                Attachment::Vacant => {}
                Attachment::Opening { link, request } => {
                    // First: to whoever only hears of the refusal the call is lost.
                    outbox.event_framed(link, ended.clone());
                    superseded(link, request, outbox);
                }
                Attachment::Attached { link, flow } => {
                    outbox.tell(link.seat(), Peer::CloseFlow { link: link.link, flow });
                    outbox.event_framed(link, ended.clone());
                }
                Attachment::Away { .. } => {
                    outbox.notify(leg.account, Devices::One(leg.device), ended.clone());
                }
            }
            outbox.tell_account(leg.account, Peer::Disengage { call: id, account: leg.account });
        }
        if let Phase::Ringing(ringing) = &call.phase {
            for (_, link) in &ringing.devices {
                outbox.event_framed(*link, ended.clone());
            }
        }
        self.ended.remember(id, cause, call.legs.map(|leg| leg.account), now.instant);
    }

    pub(crate) fn next_timer(&self) -> Option<(Instant, Timer)> {
        self.timers.next()
    }

    /// All calls, and those answered.
    pub(crate) fn len(&self) -> (usize, usize) {
        (self.calls.len(), self.answered)
    }

    pub(crate) fn timers(&self) -> usize {
        self.timers.len()
    }
}

impl Call {
    /// Which leg is this device's.
    fn place_of(&self, party: Party) -> Option<usize> {
        self.legs.iter().position(|leg| (leg.account, leg.device) == (party.account, party.device))
    }

    fn incoming(&self, id: CallId) -> Bytes {
        let caller = &self.legs[CALLER];
        let incoming = v1::IncomingCall {
            call: id.to_bytes(),
            conversation: self.conversation.to_bytes(),
            caller: caller.account.to_bytes(),
            leg: caller.leg.to_bytes(),
            sealed: caller.sealed.clone(),
        };
        framed(0, Body::IncomingCall(incoming))
    }

    /// Makes a device ring, on its newest link.
    fn ring(&mut self, device: DeviceId, link: Recipient, incoming: &Bytes, outbox: &mut Outbox) {
        let Phase::Ringing(ringing) = &mut self.phase else { return };
        ringing.devices.retain(|(other, _)| *other != device);
        if ringing.devices.len() < limits::DEVICES_MAX {
            ringing.devices.push((device, link));
            outbox.event_framed(link, incoming.clone());
        }
    }

    /// Tells both homes that their account is in an answered call, or still is.
    fn answered(&self, call: CallId, outbox: &mut Outbox) {
        let [one, two] = [self.legs[0].account, self.legs[1].account];
        for (account, peer) in [(one, two), (two, one)] {
            outbox.tell_account(account, Peer::Answered { call, account, peer });
        }
    }

    /// Tells those homes again that have moved.
    fn answered_where_homes_moved(&self, call: CallId, before: &Fleet, outbox: &mut Outbox) {
        let [one, two] = [self.legs[0].account, self.legs[1].account];
        for (account, peer) in [(one, two), (two, one)] {
            if before.home_of_account(account) != outbox.fleet().home_of_account(account) {
                outbox.tell_account(account, Peer::Answered { call, account, peer });
            }
        }
    }

    /// Lets voice flow between the legs that are attached now, once the call is answered.
    fn set_peers(&self, outbox: &mut Outbox) {
        let Phase::Answered(_) = self.phase else { return };
        for (index, leg) in self.legs.iter().enumerate() {
            if let Attachment::Attached { link, flow } = leg.attachment {
                let peers: Peers = self.legs[1 - index].attached_link().into_iter().collect();
                outbox.tell(link.seat(), Peer::SetPeers { flow, peers });
            }
        }
    }
}

impl Leg {
    fn of(party: Party, leg: LegId, sealed: Bytes, request: u64) -> Self {
        let attachment = Attachment::Opening { link: party.link, request };
        Self { account: party.account, device: party.device, leg, sealed, attachment }
    }

    fn vacant(account: AccountId) -> Self {
        Self {
            account,
            device: DeviceId([0; 16]),
            leg: LegId([0; 16]),
            sealed: Bytes::new(),
            attachment: Attachment::Vacant,
        }
    }

    /// Its link, attached or about to be.
    fn link(&self) -> Option<Recipient> {
        match self.attachment {
            Attachment::Opening { link, .. } | Attachment::Attached { link, .. } => Some(link),
            Attachment::Vacant | Attachment::Away { .. } => None,
        }
    }

    fn attached_link(&self) -> Option<Recipient> {
        self.link().filter(|_| matches!(self.attachment, Attachment::Attached { .. }))
    }

    fn up(&self, call: CallId) -> v1::LegUp {
        let flow = match self.attachment {
            Attachment::Attached { flow, .. } => flow.number(),
            _ => 0,
        };
        v1::LegUp {
            call: call.to_bytes(),
            leg: self.leg.to_bytes(),
            flow,
            account: self.account.to_bytes(),
            device: self.device.to_bytes(),
            sealed: self.sealed.clone(),
        }
    }
}

/// Makes call tokens.
#[derive(Debug)]
pub(crate) struct TokenMint {
    network: NetworkId,
    key: CallTokenKey,
    rng: ChaCha20Rng,
}

impl TokenMint {
    pub(crate) fn new(network: NetworkId, key: CallTokenKey, rng: ChaCha20Rng) -> Self {
        Self { network, key, rng }
    }

    /// Opens a token that this device may use.
    pub(crate) fn open(&self, token: &[u8], party: Party, now: UnixTime) -> Option<CallTokenClaims> {
        let claims = call_token::open(token, self.network, &self.key, now).ok()?;
        ((claims.account, claims.device) == (party.account, party.device)).then_some(claims)
    }

    fn token(&mut self, id: CallId, call: &Call, answered_at: UnixTime, index: usize, now: UnixTime) -> Bytes {
        let (leg, peer) = (&call.legs[index], &call.legs[1 - index]);
        let claims = CallTokenClaims {
            call: id,
            conversation: call.conversation,
            account: leg.account,
            device: leg.device,
            peers: vec![(peer.account, peer.device)],
            answered_at,
            expires: now.plus(limits::CALL_TOKEN_LIFE),
        };
        let mut nonce = [0; 24];
        self.rng.fill_bytes(&mut nonce);
        call_token::seal(&claims, self.network, &self.key, nonce).into()
    }
}

/// Calls that are over, for as long as their call tokens live.
#[derive(Debug, Default)]
struct Ended {
    calls: BTreeMap<CallId, EndedCall>,
    oldest_first: VecDeque<(Instant, CallId)>,
}

#[derive(Debug)]
struct EndedCall {
    cause: v1::Cause,
    by: EndedBy,
}

#[derive(Debug)]
enum EndedBy {
    /// Its home, which knew who took part.
    Home([AccountId; 2]),
    /// Somebody who hung up before anything was known of it here: good for calls which that account turns out to be in.
    One(AccountId),
}

impl Ended {
    fn remember(&mut self, call: CallId, cause: v1::Cause, accounts: [AccountId; 2], now: Instant) {
        self.insert(call, EndedCall { cause, by: EndedBy::Home(accounts) }, now);
    }

    fn remember_early(&mut self, call: CallId, cause: v1::Cause, account: AccountId, now: Instant) {
        let by_home = self.calls.get(&call).is_some_and(|ended| matches!(ended.by, EndedBy::Home(_)));
        if !by_home {
            self.insert(call, EndedCall { cause, by: EndedBy::One(account) }, now);
        }
    }

    fn insert(&mut self, call: CallId, ended: EndedCall, now: Instant) {
        self.calls.insert(call, ended);
        self.oldest_first.push_back((now + limits::CALL_TOKEN_LIFE, call));
        self.forget(now);
    }

    /// Tells one who took part how the call ended; says whether a call of this id, which these two would be in, is over.
    fn tell(&mut self, call: CallId, party: Party, peer: AccountId, now: Instant, outbox: &mut Outbox) -> bool {
        self.forget(now);
        let Some(EndedCall { cause, by }) = self.calls.get(&call) else { return false };
        let (is_over, took_part) = match by {
            EndedBy::Home(accounts) => (true, accounts.contains(&party.account)),
            EndedBy::One(one) => ([party.account, peer].contains(one), true),
        };
        if is_over && took_part {
            outbox.event_framed(party.link, ended_framed(call, *cause));
        }
        is_over
    }

    fn forget(&mut self, now: Instant) {
        let full = |ended: &Self| ended.oldest_first.len() > ENDED_CALLS_MAX;
        while let Some((until, call)) = self.oldest_first.front().copied() {
            if until > now && !full(self) {
                return;
            }
            self.oldest_first.pop_front();
            self.calls.remove(&call);
        }
    }
}

fn ended_framed(call: CallId, cause: v1::Cause) -> Bytes {
    framed(0, Body::CallEnded(v1::CallEnded { call: call.to_bytes(), cause: cause.into() }))
}

/// A request to attach that came to nothing: the call ended meanwhile, or the device asked again.
fn superseded(link: Recipient, request: u64, outbox: &mut Outbox) {
    if request != 0 {
        outbox.refuse(link, request, NO_CALL);
    }
}

const CALL_EXISTS: Refusal = Refusal::new(v1::ErrorCode::AlreadyExists, "there is a call of this id");
const NO_CALL: Refusal = Refusal::new(v1::ErrorCode::NotFound, "that call is over, or is not yours");
pub(crate) const CALL_TOKEN_REFUSED: Refusal = Refusal::new(
    v1::ErrorCode::CallTokenRefused,
    "the call token is not this device's, not of this network, or expired",
);
const FULL: Refusal = Refusal::unavailable("this supernode carries as many calls as it can");
