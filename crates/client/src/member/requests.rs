//! Requests that are out, and what each one is for.

use std::collections::{BTreeMap, VecDeque};

use ahoy_proto::limits::REQUESTS_IN_FLIGHT_MAX;
use ahoy_proto::{AccountId, CallId, ConversationId, Name, v1};
use v1::client_message::Body;

use super::event::Ticket;

/// What a response is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Request {
    FetchInbox,
    ListConversations,
    PublishKeyPackages,
    FetchLog(ConversationId),
    /// What kind of conversation this is.
    ListAlone(ConversationId),
    FetchMembers(ConversationId),
    FetchGroupInfo(ConversationId),
    Commit(ConversationId),
    SendMessage(ConversationId, u64),
    SetReceipt(ConversationId),
    FetchReceipts(ConversationId),
    Leave(ConversationId, Ticket),
    /// Key packages of an account that is invited, and the wish that they are for.
    ClaimForWish(ConversationId, u64, AccountId),
    /// Key packages for a conversation in the making, under the id that is proposed.
    ClaimForMaking(ConversationId, AccountId),
    /// As proposed.
    CreateConversation(ConversationId),
    /// Whom an outgoing call goes to.
    FindCallee(CallId),
    /// Who an incoming call is from.
    FindCaller(CallId),
    FindForVerify(Name, Ticket),
    StartCall(CallId),
    AnswerCall(CallId),
    AttachLeg(CallId),
    HangUp(CallId),
    /// Whatever comes back changes nothing.
    Unminded,
}

/// Numbers requests, and holds back what would be more than the supernode takes at once. What is held back is bounded
/// by what asks: one request for each conversation, call and command.
#[derive(Default)]
pub(super) struct Requests {
    last: u64,
    out: BTreeMap<u64, Request>,
    held: VecDeque<(Request, Body)>,
}

impl Requests {
    /// Takes a request; gives the message if it may leave now.
    pub(super) fn ask(&mut self, request: Request, body: Body) -> Option<v1::ClientMessage> {
        self.held.push_back((request, body));
        self.next()
    }

    /// The next message that may leave.
    pub(super) fn next(&mut self) -> Option<v1::ClientMessage> {
        if self.out.len() >= REQUESTS_IN_FLIGHT_MAX {
            return None;
        }
        let (request, body) = self.held.pop_front()?;
        self.last += 1;
        self.out.insert(self.last, request);
        Some(v1::ClientMessage { request: self.last, body: Some(body) })
    }

    /// What the response with this number is for.
    pub(super) fn answered(&mut self, number: u64) -> Option<Request> {
        self.out.remove(&number)
    }

    /// Forgets everything with the session; gives what will never be answered.
    pub(super) fn lose(&mut self) -> Vec<Request> {
        self.last = 0;
        let held = std::mem::take(&mut self.held).into_iter().map(|(request, _)| request);
        std::mem::take(&mut self.out).into_values().chain(held).collect()
    }
}
