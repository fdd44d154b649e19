//! What must hold in every world, whatever happens. Checkers see what goes over the wire and what devices are told, never
//! the insides of what they check.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ahoy_core::testing::MemoryStore;
use ahoy_core::{Answer, LinkId, Question, Recipient};
use ahoy_proto::{AccountId, CallId, ConversationId, DeviceId, v1};
use bytes::Bytes;

/// A rule that holds in every world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Checker {
    /// At most one live session for each device.
    OneSession,
    /// Voice reaches legs of the call that it belongs to, and nobody else.
    Authorised,
    /// Every call ends or talks, with a cause that both sides agree on; one whose links return goes on.
    Calls,
    /// A timer moves time on.
    NoSpin,
    /// Nothing grows without bound, and nothing is left behind.
    Bounds,
    /// What was acknowledged is there.
    NothingLost,
    /// Nothing is taken in twice, and everybody has the same.
    NothingTwice,
    /// Each sender's letters stand in the order in which they were written.
    Order,
    /// What devices were told of their contacts' presence is true.
    Presence,
    /// Contacts are on both sides what they are in the store.
    Contacts,
}

/// A rule that did not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{checker:?} is broken after {at:?}: {what} (seed {seed})")]
pub struct Broken {
    /// The seed that shows it.
    pub seed: u64,
    /// The rule.
    pub checker: Checker,
    /// Virtual time since the world began.
    pub at: Duration,
    /// What was seen.
    pub what: String,
    /// The last things that happened before.
    pub chronicle: Vec<String>,
}

/// What one checker saw, before it is known when.
pub(crate) type Finding = (Checker, String);

/// Sessions as the wire shows them: opened by Welcome, ended by close or loss.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    of_device: BTreeMap<DeviceId, BTreeSet<LinkId>>,
    of_link: BTreeMap<LinkId, DeviceId>,
}

impl Sessions {
    pub(crate) fn open(&mut self, link: LinkId, device: DeviceId) {
        self.of_device.entry(device).or_default().insert(link);
        self.of_link.insert(link, device);
    }

    pub(crate) fn close(&mut self, link: LinkId) {
        if let Some(links) = self.of_link.remove(&link).and_then(|device| self.of_device.get_mut(&device)) {
            links.remove(&link);
        }
    }

    pub(crate) fn close_where(&mut self, gone: impl Fn(LinkId) -> bool) {
        let links: Vec<_> = self.of_link.keys().copied().filter(|link| gone(*link)).collect();
        links.into_iter().for_each(|link| self.close(link));
    }

    /// To be asked when no message between shards is under way.
    pub(crate) fn check(&self) -> Result<(), Finding> {
        match self.of_device.iter().find(|(_, links)| links.len() > 1) {
            Some((device, links)) => {
                Err((Checker::OneSession, format!("device {device} has {} sessions", links.len())))
            }
            None => Ok(()),
        }
    }
}

/// Who may hear whom, from the requests that devices made and the flows that they were given.
#[derive(Debug, Default)]
pub(crate) struct Flows {
    conversations: BTreeMap<CallId, ConversationId>,
    /// Calls that a link has asked to be in.
    asked: BTreeSet<(LinkId, CallId)>,
    given: BTreeMap<(LinkId, u64), CallId>,
    tokens: BTreeMap<Bytes, CallId>,
}

impl Flows {
    /// A request has arrived at the supernode.
    pub(crate) fn asked(&mut self, link: LinkId, body: &v1::client_message::Body) {
        use v1::client_message::Body;
        let call = match body {
            Body::StartCall(start) => {
                let call = CallId::try_from(&start.call[..]).ok();
                if let (Some(call), Ok(conversation)) = (call, ConversationId::try_from(&start.conversation[..])) {
                    self.conversations.entry(call).or_insert(conversation);
                }
                call
            }
            Body::AnswerCall(answer) => CallId::try_from(&answer.call[..]).ok(),
            Body::AttachLeg(attach) => self.tokens.get(&attach.call_token).copied(),
            _ => None,
        };
        if let Some(call) = call {
            self.asked.insert((link, call));
        }
    }

    /// A message has left the supernode.
    pub(crate) fn told(&mut self, link: LinkId, body: &v1::supernode_message::Body) {
        use v1::supernode_message::Body;
        let (call, token) = match body {
            Body::LegAttached(attached) => (&attached.call, &attached.call_token),
            Body::CallToken(token) => (&token.call, &token.call_token),
            _ => return,
        };
        let Ok(call) = CallId::try_from(&call[..]) else { return };
        self.tokens.insert(token.clone(), call);
        if let Body::LegAttached(attached) = body {
            self.given.insert((link, attached.flow), call);
        }
    }

    /// Flow ids that links were given, oldest links first.
    pub(crate) fn given(&self) -> impl DoubleEndedIterator<Item = (LinkId, u64, CallId)> {
        self.given.iter().map(|((link, flow), call)| (*link, *flow, *call))
    }

    /// Call tokens that were given out.
    pub(crate) fn tokens(&self) -> impl DoubleEndedIterator<Item = &Bytes> {
        self.tokens.keys()
    }

    /// The relay hands a packet on. `account`: whose a link is.
    pub(crate) fn check(
        &self,
        from: LinkId,
        flow: u64,
        to: &[Recipient],
        account: impl Fn(LinkId) -> Option<AccountId>,
        store: &MemoryStore,
    ) -> Result<(), Finding> {
        let broken = |what: &str| Err((Checker::Authorised, format!("flow {flow} of link {}: {what}", from.0)));
        let Some(call) = self.given.get(&(from, flow)) else { return broken("it was not given to this link") };
        let Some(conversation) = self.conversations.get(call) else { return broken("nobody started its call") };
        let sender = account(from);
        let may = |account: Option<AccountId>| {
            account.is_some_and(|account| store.conversations(account).contains(conversation))
        };
        if !may(sender) {
            return broken("its sender is no member of the conversation");
        }
        for recipient in to {
            let listener = account(recipient.link);
            if !may(listener) || listener == sender {
                return broken("it reaches somebody who is no other member of the conversation");
            }
            if !self.asked.contains(&(recipient.link, *call)) {
                return broken("it reaches a link that did not ask to be in the call");
            }
        }
        Ok(())
    }
}

/// What the store has answered for.
#[derive(Debug, Default)]
pub(crate) struct Promises {
    heads: BTreeMap<ConversationId, u64>,
    inboxes: BTreeMap<DeviceId, BTreeMap<u64, Bytes>>,
}

impl Promises {
    /// An answer has left the store.
    pub(crate) fn made(&mut self, question: &Question, answer: &Answer) {
        if let (Question::Acknowledge { device, inbox: up_to, .. }, Answer::Done) = (question, answer) {
            let inbox = self.inboxes.entry(*device).or_default();
            inbox.retain(|sequence, _| sequence > up_to);
        }
        let (conversation, head, deliveries) = match answer {
            Answer::Created { conversation, deliveries } => (&conversation.conversation, 0, deliveries),
            Answer::Committed { entry, deliveries, .. } => (&entry.conversation, entry.sequence, deliveries),
            Answer::Appended { entry, .. } => (&entry.conversation, entry.sequence, &Vec::new()),
            _ => return,
        };
        if let Ok(id) = ConversationId::try_from(&conversation[..]) {
            self.heads.insert(id, head);
        }
        for delivery in deliveries {
            let inbox = self.inboxes.entry(delivery.device).or_default();
            inbox.insert(delivery.entry.sequence, delivery.entry.conversation.clone());
        }
    }

    /// Its last member has left a group, and nobody needs what let them in.
    pub(crate) fn emptied(&mut self, conversation: ConversationId) {
        self.heads.remove(&conversation);
        for inbox in self.inboxes.values_mut() {
            inbox.retain(|_, of| of[..] != conversation.0);
        }
    }

    pub(crate) fn check(&self, store: &MemoryStore) -> Result<(), Finding> {
        for (conversation, head) in &self.heads {
            if store.head(*conversation).is_none_or(|kept| kept < *head) {
                let what = format!("conversation {conversation} does not reach entry {head}");
                return Err((Checker::NothingLost, what));
            }
        }
        for (device, entries) in &self.inboxes {
            let inbox: BTreeSet<_> = store.inbox(*device).into_iter().map(|entry| entry.sequence).collect();
            if let Some(sequence) = entries.keys().find(|sequence| !inbox.contains(sequence)) {
                let what = format!("entry {sequence} of the inbox of {device} is gone");
                return Err((Checker::NothingLost, what));
            }
        }
        Ok(())
    }
}

/// Wakes of every machine in the present second.
#[derive(Debug, Default)]
pub(crate) struct Wakes {
    second: u64,
    counts: BTreeMap<String, u32>,
}

/// Wakes that one machine may need in a second: a dozen timers, and as many again for messages that set new ones.
const WAKES_PER_SECOND: u32 = 100;

impl Wakes {
    pub(crate) fn count(&mut self, machine: String, at: Duration) -> Result<(), Finding> {
        if self.second != at.as_secs() {
            *self = Self { second: at.as_secs(), counts: BTreeMap::new() };
        }
        let count = self.counts.entry(machine.clone()).or_default();
        *count += 1;
        if *count > WAKES_PER_SECOND {
            return Err((Checker::NoSpin, format!("{machine} woke {count} times in a second")));
        }
        Ok(())
    }
}
