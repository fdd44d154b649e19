//! The way to an outgoing call: the person, a conversation with them, the offer.

use std::time::Instant;

use ahoy_proto::{CallId, ConversationId};
use v1::supernode_message::Body;

use super::super::event::{Ending, Person, Refusal};
use super::super::making::Purpose;
use super::super::{Member, Timer, passes, refusal, v1};
use super::Phase;

impl Member {
    pub(super) fn callee_found(&mut self, id: CallId, body: &Body, now: Instant) {
        let Some(Phase::Finding(name)) = self.call_mut(&id.0).map(|call| &call.phase) else { return };
        let name = name.clone();
        let account = match self.learn(&name, body) {
            Ok(account) => account,
            // The store is away: whom this device knows already can be called without it.
            Err(why) => match self.people.find(&name).map(|(account, _)| account) {
                Some(account) if passes(body) => account,
                None if self.ask_again(id, body, now) => return,
                _ => return self.end_call(id, Ending::Refused(why), now),
            },
        };
        let Some(call) = self.call_mut(&id.0) else { return };
        call.peer = Some(Person { account, name });
        call.phase = Phase::Preparing;
        self.timers.remove(&Timer::GiveUp(id));
        let Some(call) = self.call_mut(&id.0) else { return };
        let crossing = call.crossing.take();
        self.pair_for(account, Purpose::Call(id), now);
        // Now it is known whether it does cross.
        if let Some(crossing) = crossing {
            self.handle_call_event(&Body::IncomingCall(crossing), false, now);
        }
    }

    /// The conversation of an outgoing call can be used, or can't.
    pub(in crate::member) fn call_prepared(
        &mut self,
        id: CallId,
        result: Result<ConversationId, Refusal>,
        now: Instant,
    ) {
        let Some(call) = self.call_mut(&id.0).filter(|call| matches!(call.phase, Phase::Preparing)) else { return };
        match result {
            Ok(conversation) => {
                call.conversation = Some(conversation);
                call.phase = Phase::Calling;
                self.resume_call(id, now);
            }
            Err(Refusal::Supernode { code, text, retry_after_ms }) => {
                if let Some(peer) = &call.peer {
                    call.phase = Phase::Finding(peer.name.clone());
                }
                let body = Body::Error(v1::Error { code: code.into(), text, retry_after_ms });
                if !self.ask_again(id, &body, now) {
                    self.end_call(id, Ending::Refused(refusal(&body)), now);
                }
            }
            Err(Refusal::Requested) => self.end_call(id, Ending::Cause(v1::Cause::Requested), now),
            Err(why) => self.end_call(id, Ending::Refused(why), now),
        }
    }

    /// A conversation is up to date, or refused, or gone: goes on with signalling that waited for it.
    pub(in crate::member) fn settle_calls(&mut self, id: ConversationId, now: Instant) {
        let held = std::mem::take(&mut self.held);
        let (ready, waiting): (Vec<_>, Vec<_>) = held.into_iter().partition(|held| held.conversation == id);
        self.held = waiting;
        for held in ready {
            self.handle_call_event(&held.body, true, now);
        }
    }
}
