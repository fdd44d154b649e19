//! Requests that are out, and what each one is for.

use std::collections::{BTreeMap, VecDeque};

use ahoy_proto::limits::REQUESTS_IN_FLIGHT_MAX;
use ahoy_proto::{AccountId, CallId, ConversationId, DeviceId, Name, v1};
use v1::client_message::Body;

use super::calls::Farewell;
use super::contacts::ContactRequest;
use super::event::Ticket;

/// What a response is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Request {
    CheckIn,
    ListDevices(Ticket),
    /// Whether these are devices of this account.
    ListDoubted(Vec<DeviceId>),
    Contacts(ContactRequest),
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
    /// A call was hung up or declined.
    Farewell(CallId, Farewell),
    /// Whatever comes back changes nothing.
    Unminded,
}

/// Numbers requests, and holds back what would be more than the supernode takes at once. What is held back is bounded
/// by what asks: one request for each conversation, call and command.
#[derive(Clone, Default)]
pub(super) struct Requests {
    last: u64,
    out: BTreeMap<u64, Request>,
    held: VecDeque<(Request, Body)>,
    gate: Gate,
}

/// Whether requests may leave.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Gate {
    #[default]
    Open,
    /// One is out that has to be answered first.
    Shut,
}

impl Requests {
    /// Takes a request; gives the message if it may leave now.
    pub(super) fn ask(&mut self, request: Request, body: Body) -> Option<v1::ClientMessage> {
        self.held.push_back((request, body));
        self.next()
    }

    /// Takes a request that leaves at once; all others wait until [`open`](Self::open).
    pub(super) fn ask_alone(&mut self, request: Request, body: Body) -> v1::ClientMessage {
        self.gate = Gate::Shut;
        self.send(request, body)
    }

    /// Lets the others leave.
    pub(super) fn open(&mut self) {
        self.gate = Gate::Open;
    }

    /// The next message that may leave.
    pub(super) fn next(&mut self) -> Option<v1::ClientMessage> {
        if self.gate == Gate::Shut || self.out.len() >= REQUESTS_IN_FLIGHT_MAX {
            return None;
        }
        let (request, body) = self.held.pop_front()?;
        Some(self.send(request, body))
    }

    fn send(&mut self, request: Request, body: Body) -> v1::ClientMessage {
        self.last += 1;
        self.out.insert(self.last, request);
        v1::ClientMessage { request: self.last, body: Some(body) }
    }

    /// What the response with this number is for.
    pub(super) fn answered(&mut self, number: u64) -> Option<Request> {
        self.out.remove(&number)
    }

    /// For going on with the same link when nobody waits for these any more: numbers go on, what is out still counts until it
    /// is answered, and only what nobody asks for anew is kept of what was held back.
    pub(super) fn disowned(&self) -> Self {
        let out = self.out.keys().map(|number| (*number, Request::Unminded)).collect();
        let held = self.held.iter().filter(|(request, _)| *request == Request::Unminded).cloned().collect();
        Self { last: self.last, out, held, gate: Gate::Open }
    }

    /// The number of the newest request.
    #[cfg(test)]
    pub(super) fn last_number(&self) -> u64 {
        self.last
    }

    /// Forgets everything; gives what will never be answered.
    pub(super) fn lose(&mut self) -> Vec<Request> {
        let held = std::mem::take(&mut self.held).into_iter().map(|(request, _)| request);
        std::mem::take(&mut self.out).into_values().chain(held).collect()
    }
}
