//! The way to an outgoing call: the person, a conversation with them, the offer.

use std::time::Instant;

use ahoy_proto::limits::DEVICES_MAX;
use ahoy_proto::{AccountId, CallId, ConversationId, v1};
use bytes::Bytes;
use v1::client_message::Body as Ask;
use v1::supernode_message::Body;

use crate::mls::{Leaf, MlsError, group_id};

use super::super::conversation::{Conversation, Record, Staged, vet};
use super::super::event::{Ending, Event, Person, Refusal};
use super::super::people::Standing;
use super::super::requests::Request;
use super::super::{Member, passes, refusal};
use super::Phase;

/// The generation that a conversation begins with.
const FIRST_GENERATION: u32 = 1;

/// A conversation in the making.
pub(in crate::member) struct Creating {
    id: ConversationId,
    peer: AccountId,
    peer_packages: Vec<v1::DeviceKeyPackage>,
    staged: Option<Staged>,
}

impl Member {
    pub(super) fn callee_found(&mut self, id: CallId, body: &Body, now: Instant) {
        let Some(Phase::Finding(name)) = self.call_mut(&id.0).map(|call| &call.phase) else { return };
        let name = name.clone();
        let account = match self.learn(&name, body) {
            Ok(account) => account,
            // The store is away: whom this device knows already can be called without it.
            Err(why) => match self.people.find(&name) {
                Some((account, _)) if passes(body) => account,
                _ => return self.end_call(Ending::Refused(why), now),
            },
        };
        let conversation =
            self.conversations.values().find(|entry| entry.record.peer == Some(account)).map(|entry| entry.id);
        let Some(call) = self.call_mut(&id.0) else { return };
        call.peer = Some(Person { account, name });
        call.conversation = conversation;
        call.phase = Phase::Preparing(None);
        match conversation {
            Some(conversation) => self.advance(conversation, now),
            None => self.ask(Request::ClaimPeer(id, account), claim(account)),
        }
    }

    pub(super) fn peer_claimed(&mut self, id: CallId, peer: AccountId, body: &Body, now: Instant) {
        let Body::KeyPackages(packages) = body else { return self.end_call(Ending::Refused(refusal(body)), now) };
        let creating = Creating {
            id: ConversationId(self.mls.random_id()),
            peer,
            peer_packages: packages.packages.clone(),
            staged: None,
        };
        let own = self.identity.account;
        let Some(call) = self.call_mut(&id.0) else { return };
        call.phase = Phase::Preparing(Some(creating));
        self.ask(Request::ClaimOwn(id), claim(own));
    }

    pub(super) fn own_claimed(&mut self, id: CallId, body: &Body, now: Instant) {
        let Body::KeyPackages(own) = body else { return self.end_call(Ending::Refused(refusal(body)), now) };
        if own.packages.iter().any(|package| package.device == self.identity.device.0[..]) {
            self.key_packages.claimed(&mut self.outbox);
            self.restock();
        }
        let Some(Phase::Preparing(creating)) = self.call_mut(&id.0).map(|call| &mut call.phase) else { return };
        let Some(creating) = creating.take() else { return };
        match self.create(creating, &own.packages) {
            Ok((request, creating)) => {
                if let Some(call) = self.call_mut(&id.0) {
                    call.phase = Phase::Preparing(Some(creating));
                }
                self.ask(Request::CreateConversation(id), Ask::CreateConversation(request));
            }
            Err(why) => self.end_call(Ending::Refused(why), now),
        }
    }

    /// Makes the group of all devices whose key packages are good.
    fn create(
        &mut self,
        mut creating: Creating,
        own: &[v1::DeviceKeyPackage],
    ) -> Result<(v1::CreateConversation, Creating), Refusal> {
        let mut packages = Vec::new();
        let mut devices: Vec<Bytes> = Vec::new();
        let own_account = self.identity.account;
        let theirs = creating.peer_packages.iter().map(|offered| (creating.peer, offered));
        let ours = own.iter().map(|offered| (own_account, offered));
        for (account, offered) in theirs.chain(ours) {
            let Ok((package, leaf)) = self.mls.check_key_package(&offered.key_package) else { continue };
            if leaf.account != account || leaf.device.0[..] != offered.device || devices.contains(&offered.device) {
                continue;
            }
            self.check_new_device(&leaf)?;
            if leaf.device != self.identity.device && packages.len() < 2 * DEVICES_MAX {
                devices.push(offered.device.clone());
                packages.push(package);
            }
        }
        let created = self
            .mls
            .create(group_id(creating.id, FIRST_GENERATION), packages)
            .map_err(|_| Refusal::ConversationRefused)?;
        let staged = |leaves: Vec<Leaf>| {
            vet(&leaves, &self.identity, Some(creating.peer), &self.people).map_err(|_| MlsError::Refused)?;
            Record::of(&created.group, &Record::outside(FIRST_GENERATION, None), Some(creating.peer), 0)
        };
        let record = created.group.leaves().and_then(staged).map_err(|_| Refusal::ConversationRefused)?;
        let welcomes = created.welcome.map(|welcome| v1::Welcoming { devices, welcome });
        let request = v1::CreateConversation {
            conversation: creating.id.to_bytes(),
            peer: creating.peer.to_bytes(),
            epoch: record.epoch,
            group_info: created.group_info,
            welcomes: welcomes.into_iter().collect(),
        };
        creating.staged = Some(Staged { record, values: created.group.close() });
        Ok((request, creating))
    }

    /// A device under another account key than the pinned one stops the call.
    fn check_new_device(&mut self, leaf: &Leaf) -> Result<(), Refusal> {
        if leaf.account == self.identity.account {
            return if leaf.account_key == self.identity.account_key {
                Ok(())
            } else {
                Err(Refusal::ConversationRefused)
            };
        }
        if self.people.standing(leaf.account, &leaf.account_key) == Standing::Pinned {
            return Ok(());
        }
        if let Some(name) = self.people.offer(leaf.account, leaf.account_key, &mut self.outbox) {
            self.outbox.event(Event::AccountKeyChanged { name });
        }
        Err(Refusal::AccountKeyChanged)
    }

    pub(super) fn conversation_created(&mut self, id: CallId, body: &Body, now: Instant) {
        let Some(Phase::Preparing(creating)) = self.call_mut(&id.0).map(|call| &mut call.phase) else { return };
        let Some(creating) = creating.take() else { return };
        let listed = match body {
            Body::Conversations(page) => page.conversations.first(),
            Body::Error(error) if error.code() == v1::ErrorCode::Forbidden => {
                self.ask_instead(creating.peer);
                return self.end_call(Ending::Cause(v1::Cause::Requested), now);
            }
            body => return self.end_call(Ending::Refused(refusal(body)), now),
        };
        let found = listed.and_then(|listed| ConversationId::try_from(&listed.conversation[..]).ok());
        let (Some(listed), Some(conversation)) = (listed, found) else {
            return self.end_call(Ending::Refused(refusal(body)), now);
        };
        if let Some(call) = self.call_mut(&id.0) {
            call.conversation = Some(conversation);
        }
        if conversation == creating.id {
            let mut entry = Conversation::outside(conversation, FIRST_GENERATION, Some(creating.peer));
            if let Some(staged) = creating.staged {
                entry.adopt(staged, &mut self.outbox);
            }
            self.conversations.insert(conversation, entry);
            return self.advance(conversation, now);
        }
        // The pair has one already: the way in is a Welcome, or else from outside.
        self.know(conversation, listed.generation, Some(creating.peer));
        if self.conversations.get(&conversation).is_some_and(Conversation::is_inside) {
            return self.advance(conversation, now);
        }
        self.fetch_inbox();
    }

    /// A conversation is up to date, or refused: goes on with whatever waited for it.
    pub(in crate::member) fn settled(&mut self, id: ConversationId, now: Instant) {
        let held = std::mem::take(&mut self.held);
        let (ready, waiting) = held.into_iter().partition(|held| held.conversation == id);
        self.held = waiting;
        let ready: Vec<super::Held> = ready;
        for held in ready {
            self.handle_call_event(&held.body, true, now);
        }
        let Some(call) = &self.call else { return };
        if call.conversation != Some(id) || !matches!(call.phase, Phase::Preparing(None)) {
            return;
        }
        match self.conversations.get(&id) {
            Some(conversation) if conversation.refused.is_none() => {
                if let Some(call) = &mut self.call {
                    call.phase = Phase::Calling;
                }
                self.resume_call(now);
            }
            entry => {
                let why = entry.and_then(|entry| entry.refused.clone()).unwrap_or(Refusal::ConversationRefused);
                self.end_call(Ending::Refused(why), now);
            }
        }
    }
}

fn claim(account: AccountId) -> Ask {
    Ask::ClaimKeyPackages(v1::ClaimKeyPackages { account: account.to_bytes() })
}
