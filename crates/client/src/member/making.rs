//! Making conversations: one with another account, for a call or for messages, or a group.
//!
//! Key packages are claimed, the group is made with all devices in it, and the supernode is told. If the pair has a
//! conversation already, that one is entered instead. Whoever asked hears of it when the conversation can be used.

use std::time::Instant;

use ahoy_proto::{AccountId, CallId, ConversationId, DeviceId, v1};
use openmls::prelude::KeyPackage;
use v1::client_message::Body as Ask;
use v1::supernode_message::Body;

use crate::mls::{MlsError, group_id};

use super::conversation::{Conversation, KindRecord, Record, Staged};
use super::event::{Answer, Refusal, Ticket};
use super::messages::{check_title, details};
use super::requests::Request;
use super::sync::Failure;
use super::vet::vet;
use super::{CommandError, Member, refusal};

/// Conversations in the making at once; each is a person who waits.
const MAKING_MAX: usize = 16;

/// The generation that a conversation begins with.
const FIRST_GENERATION: u32 = 1;

/// What a conversation is wanted for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Purpose {
    Call(CallId),
    Command(Ticket),
    /// A group, with the title that it is to have.
    Group(Ticket, String),
}

/// A conversation in the making.
pub(super) struct Making {
    peer: Option<AccountId>,
    purposes: Vec<Purpose>,
    /// Of the peer and of this account's other devices.
    packages: Vec<(DeviceId, KeyPackage)>,
    staged: Option<Staged>,
}

impl Member {
    /// Makes a group whose only member is this account; [`Answer::Conversation`] names it.
    ///
    /// # Errors
    /// When there is no session, the title is empty or too long, or too much is under way.
    pub fn create_group(&mut self, title: &str, ticket: Ticket, _now: Instant) -> Result<(), CommandError> {
        check_title(title)?;
        self.check_making()?;
        self.make(None, Purpose::Group(ticket, title.to_owned()));
        Ok(())
    }

    /// Finds or makes the one-to-one conversation with an account whose key is pinned; [`Answer::Conversation`] names it.
    ///
    /// # Errors
    /// When there is no session, the account is one's own, or too much is under way.
    pub fn open_pair(&mut self, account: AccountId, ticket: Ticket, now: Instant) -> Result<(), CommandError> {
        if account == self.identity.account {
            return Err(CommandError::OwnName);
        }
        self.check_making()?;
        self.pair_for(account, Purpose::Command(ticket), now);
        Ok(())
    }

    fn check_making(&self) -> Result<(), CommandError> {
        if self.session.is_none() {
            Err(CommandError::NotSignedIn)
        } else if self.making.len() >= MAKING_MAX {
            Err(CommandError::TooManyWaiting)
        } else {
            Ok(())
        }
    }

    /// Finds or makes the one-to-one conversation with an account; [`Member::made`] is told when it can be used.
    pub(super) fn pair_for(&mut self, peer: AccountId, purpose: Purpose, now: Instant) {
        if let Some(conversation) = self.conversations.values_mut().find(|entry| entry.peer() == Some(peer)) {
            let id = conversation.id;
            conversation.awaiting.push(purpose);
            return self.advance(id, now);
        }
        if self.people.pin(peer).is_none() {
            return self.made(purpose, Err(Refusal::NoSuchContact), now);
        }
        match self.making.values_mut().find(|making| making.peer == Some(peer)) {
            Some(making) => making.purposes.push(purpose),
            None => self.make(Some(peer), purpose),
        }
    }

    fn make(&mut self, peer: Option<AccountId>, purpose: Purpose) {
        let id = ConversationId(self.mls.random_id());
        let making = Making { peer, purposes: vec![purpose], packages: Vec::new(), staged: None };
        self.making.insert(id, making);
        self.claim(id, peer.unwrap_or(self.identity.account));
    }

    fn claim(&mut self, id: ConversationId, account: AccountId) {
        let body = Ask::ClaimKeyPackages(v1::ClaimKeyPackages { account: account.to_bytes() });
        self.ask(Request::ClaimForMaking(id, account), body);
    }

    pub(super) fn claimed_for_making(&mut self, id: ConversationId, account: AccountId, body: &Body, now: Instant) {
        let own = self.identity.account;
        let offered = match body {
            Body::KeyPackages(offered) => &offered.packages[..],
            // Whoever has never been there has left none, and enters from outside; who they are to us the next step tells.
            Body::Error(error) if error.code() == v1::ErrorCode::NotFound => &[],
            body => return self.give_up_making(id, &refusal(body), now),
        };
        if account == own && offered.iter().any(|package| package.device == self.identity.device.0[..]) {
            self.key_packages.claimed(&mut self.outbox);
            self.restock();
        }
        let checked = match self.check_packages(account, offered) {
            Ok(checked) => checked,
            Err(why) => return self.give_up_making(id, &why, now),
        };
        let this = self.identity.device;
        let Some(making) = self.making.get_mut(&id) else { return };
        making.packages.extend(checked.into_iter().filter(|(device, _)| *device != this));
        if account != own {
            return self.claim(id, own);
        }
        match self.create(id) {
            Ok(request) => self.ask(Request::CreateConversation(id), Ask::CreateConversation(request)),
            Err(_) => self.give_up_making(id, &Refusal::ConversationRefused, now),
        }
    }

    /// Makes the group of all devices whose key packages are good.
    fn create(&mut self, id: ConversationId) -> Result<v1::CreateConversation, Failure> {
        let making = self.making.get_mut(&id).ok_or(MlsError::NoGroup)?;
        let (devices, packages): (Vec<_>, Vec<_>) =
            making.packages.drain(..).map(|(device, package)| (device.to_bytes(), package)).unzip();
        let created = self.mls.create(group_id(id, FIRST_GENERATION), packages)?;
        let kind = making.peer.map_or(KindRecord::Group, KindRecord::Pair);
        let leaves = created.group.leaves()?;
        vet(&leaves, &self.identity, kind, &self.people)?;
        let before = Record { generation: FIRST_GENERATION, kind: Some(kind), ..Record::default() };
        let staged = Staged::of(created.group, &leaves, &before, 0)?;
        let welcomes = created.welcome.map(|welcome| v1::Welcoming { devices, welcome });
        let request = v1::CreateConversation {
            conversation: id.to_bytes(),
            peer: making.peer.map(AccountId::to_bytes).unwrap_or_default(),
            epoch: staged.record.epoch,
            group_info: created.group_info,
            welcomes: welcomes.into_iter().collect(),
        };
        making.staged = Some(staged);
        Ok(request)
    }

    pub(super) fn conversation_created(&mut self, id: ConversationId, body: &Body, now: Instant) {
        let listed = match body {
            Body::Conversations(page) => page.conversations.first(),
            Body::Error(error) if error.code() == v1::ErrorCode::Forbidden => return self.ask_in_place(id, body, now),
            body => return self.give_up_making(id, &refusal(body), now),
        };
        let found = listed.and_then(|listed| ConversationId::try_from(&listed.conversation[..]).ok());
        let (Some(listed), Some(found)) = (listed, found) else {
            return self.give_up_making(id, &refusal(body), now);
        };
        let Some(making) = self.making.remove(&id) else { return };
        if found == id
            && let Some(staged) = making.staged
        {
            let mut entry = Conversation::outside(id, FIRST_GENERATION, staged.record.kind);
            entry.listed = true;
            entry.members_due = false;
            if making.peer.is_none() {
                entry.roll.members.push(self.identity.account);
            }
            entry.adopt(staged, &mut self.outbox);
            self.conversations.insert(id, entry);
        } else {
            // The pair has one already: the way in is a Welcome, or else from outside.
            self.take_listed(listed, now);
            if !self.conversations.get(&found).is_some_and(Conversation::is_inside) {
                self.look_into_inbox();
            }
        }
        let titled = making.purposes.iter().find_map(|purpose| match purpose {
            Purpose::Group(_, title) => Some(title.clone()),
            Purpose::Call(_) | Purpose::Command(_) => None,
        });
        match self.conversations.get_mut(&found) {
            Some(conversation) => conversation.awaiting.extend(making.purposes),
            None => {
                for purpose in making.purposes {
                    self.made(purpose, Err(Refusal::ConversationRefused), now);
                }
            }
        }
        if let Some(title) = titled {
            // The queue of a new group is empty.
            let _ = self.say(found, details(&title), None, now);
        }
        self.advance(found, now);
    }

    /// The peer takes calls and messages of contacts only: it is asked to become one.
    fn ask_in_place(&mut self, id: ConversationId, body: &Body, now: Instant) {
        let why = match self.making.get(&id).and_then(|making| making.peer) {
            Some(peer) => self.ask_instead(peer, body),
            None => refusal(body),
        };
        self.give_up_making(id, &why, now);
    }

    fn give_up_making(&mut self, id: ConversationId, why: &Refusal, now: Instant) {
        let Some(making) = self.making.remove(&id) else { return };
        for purpose in making.purposes {
            self.made(purpose, Err(why.clone()), now);
        }
    }

    /// The session is lost: whoever waits has to ask again.
    pub(super) fn lose_makings(&mut self, now: Instant) {
        let ids: Vec<ConversationId> = self.making.keys().copied().collect();
        for id in ids {
            self.give_up_making(id, &Refusal::SessionLost, now);
        }
        let awaiting = self.conversations.values_mut().flat_map(|entry| std::mem::take(&mut entry.awaiting));
        for purpose in awaiting.collect::<Vec<_>>() {
            self.made(purpose, Err(Refusal::SessionLost), now);
        }
    }

    /// Tells those who wait for a conversation that it can be used, or why not.
    pub(super) fn tell_awaiting(&mut self, id: ConversationId, now: Instant) {
        let Some(conversation) = self.conversations.get_mut(&id) else { return };
        let result = conversation.refused.clone().map_or(Ok(id), Err);
        for purpose in std::mem::take(&mut conversation.awaiting) {
            self.made(purpose, result.clone(), now);
        }
    }

    /// What came of finding or making a conversation.
    pub(super) fn made(&mut self, purpose: Purpose, result: Result<ConversationId, Refusal>, now: Instant) {
        match purpose {
            Purpose::Call(call) => self.call_prepared(call, result, now),
            Purpose::Command(ticket) | Purpose::Group(ticket, _) => {
                self.answer_ticket(ticket, result.map(Answer::Conversation));
            }
        }
    }
}
