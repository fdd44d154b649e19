//! Keeping conversations up to date: inbox, list, log, and entering a group from outside.
//!
//! Each conversation has at most one request out. What fails is tried again after a pause, a bounded number of times in
//! a session; a group that this device will not accept is refused until a key is accepted or the next session.

use std::time::Instant;

use ahoy_proto::limits::CONVERSATIONS_MAX;
use ahoy_proto::{AccountId, ConversationId, v1};
use bytes::Bytes;
use v1::client_message::Body as Ask;
use v1::supernode_message::Body;

use crate::mls::{Mls, MlsError, group_id};

use super::conversation::{Conversation, Distrust, Record, Staged, Sync, vet, vet_change};
use super::event::{Event, Refusal};
use super::requests::Request;
use super::{Member, Timer, passes};

/// Failures after which a conversation is left alone for the session: with doubling pauses, about a minute of trying.
const FAILURES_MAX: u32 = 7;

/// Why a group could not be entered or moved on.
enum Failure {
    Mls(MlsError),
    Distrust(Distrust),
}

impl From<MlsError> for Failure {
    fn from(error: MlsError) -> Self {
        Self::Mls(error)
    }
}

impl From<Distrust> for Failure {
    fn from(distrust: Distrust) -> Self {
        Self::Distrust(distrust)
    }
}

impl Member {
    pub(super) fn fetch_inbox(&mut self) {
        let Some(session) = &mut self.session else { return };
        let after = session.inbox_head;
        session.inbox_read = false;
        session.inbox_again = false;
        self.ask(Request::FetchInbox, Ask::FetchInbox(v1::FetchInbox { after }));
    }

    pub(super) fn inbox_fetched(&mut self, body: &Body, now: Instant) {
        let Body::InboxEntries(page) = body else {
            return self.pause_session(Timer::Inbox, body, now);
        };
        for entry in &page.entries {
            self.take_inbox_entry(entry, now);
        }
        self.acknowledge();
        let Some(session) = &mut self.session else { return };
        if session.inbox_again || (page.more && !page.entries.is_empty()) {
            return self.fetch_inbox();
        }
        session.inbox_read = true;
        self.restock();
        self.advance_all(now);
    }

    pub(super) fn take_inbox_event(&mut self, entry: &v1::InboxEntry, now: Instant) {
        let Some(session) = &mut self.session else { return };
        if !session.inbox_read {
            session.inbox_again = true;
            return;
        }
        if entry.sequence <= session.inbox_head {
            return;
        }
        self.take_inbox_entry(entry, now);
        self.acknowledge();
        self.restock();
    }

    /// What came of the entries goes out, as a batch, before the acknowledgement does.
    fn acknowledge(&mut self) {
        let Some(session) = &self.session else { return };
        let up_to = session.inbox_head;
        if up_to > 0 {
            self.ask(Request::Unminded, Ask::Acknowledge(v1::Acknowledge { inbox: up_to, logs: Vec::new() }));
        }
    }

    fn take_inbox_entry(&mut self, entry: &v1::InboxEntry, now: Instant) {
        let Some(session) = &mut self.session else { return };
        session.inbox_head = session.inbox_head.max(entry.sequence);
        let Some(v1::inbox_entry::Body::Welcome(welcome)) = &entry.body else { return };
        let Ok(id) = ConversationId::try_from(&entry.conversation[..]) else { return };
        let known = self.conversations.get(&id);
        if known.is_some_and(Conversation::is_inside) || known.is_none() && !self.has_room() {
            return;
        }
        let peer = known.and_then(|conversation| conversation.record.peer);
        if self.join(id, entry.generation, peer, welcome).is_ok() {
            self.advance(id, now);
        }
    }

    /// Enters a group by a Welcome. One that fails leaves no trace: there is the way from outside.
    fn join(
        &mut self,
        id: ConversationId,
        generation: u32,
        peer: Option<AccountId>,
        welcome: &[u8],
    ) -> Result<(), Failure> {
        let (own, people) = (&self.identity, &self.people);
        let mut found = None;
        let group = self.key_packages.join(&self.mls, welcome, &mut self.outbox, |group| {
            if *group.id() != group_id(id, generation) {
                return Err(Failure::Mls(MlsError::Malformed));
            }
            found = vet(&group.leaves()?, own, peer, people)?;
            Ok(())
        })?;
        // The log may hold entries from before this epoch: they are passed over when they come.
        let before = Record::outside(generation, peer);
        let record = Record::of(&group, &before, found, 0)?;
        let staged = Staged { record, values: group.close() };
        let conversation = self.conversations.entry(id).or_insert_with(|| Conversation::outside(id, generation, found));
        conversation.adopt(staged, &mut self.outbox);
        Ok(())
    }

    pub(super) fn list_conversations(&mut self, after: Bytes) {
        self.ask(Request::ListConversations, Ask::ListConversations(v1::ListConversations { after }));
    }

    pub(super) fn conversations_listed(&mut self, body: &Body, now: Instant) {
        let Body::Conversations(page) = body else {
            return self.pause_session(Timer::List, body, now);
        };
        for listed in &page.conversations {
            self.take_listed(listed);
        }
        match page.conversations.last() {
            Some(last) if page.more => self.list_conversations(last.conversation.clone()),
            _ => {
                if let Some(session) = &mut self.session {
                    session.listed = true;
                }
            }
        }
        self.advance_all(now);
    }

    fn take_listed(&mut self, listed: &v1::Conversation) {
        let Ok(id) = ConversationId::try_from(&listed.conversation[..]) else { return };
        let Ok(peer) = AccountId::try_from(&listed.peer[..]) else { return };
        self.know(id, listed.generation, Some(peer));
        let Some(conversation) = self.conversations.get_mut(&id) else { return };
        if listed.generation > conversation.record.generation {
            conversation.leave(listed.generation, &mut self.outbox);
        }
        if listed.generation == conversation.record.generation {
            conversation.known_head = conversation.known_head.max(listed.head);
            conversation.record.peer.get_or_insert(peer);
        }
    }

    /// Makes room for a conversation that the supernode speaks of.
    pub(super) fn know(&mut self, id: ConversationId, generation: u32, peer: Option<AccountId>) {
        if !self.conversations.contains_key(&id) && self.has_room() {
            self.conversations.insert(id, Conversation::outside(id, generation, peer));
        }
    }

    fn has_room(&self) -> bool {
        self.conversations.len() < CONVERSATIONS_MAX
    }

    pub(super) fn advance_all(&mut self, now: Instant) {
        let ids: Vec<ConversationId> = self.conversations.keys().copied().collect();
        for id in ids {
            self.advance(id, now);
        }
    }

    pub(super) fn retry_conversation(&mut self, id: ConversationId, now: Instant) {
        if let Some(conversation) = self.conversations.get_mut(&id) {
            conversation.sync = Sync::Idle;
        }
        self.advance(id, now);
    }

    /// Takes the next step towards being up to date, or tells those who wait that it is.
    pub(super) fn advance(&mut self, id: ConversationId, now: Instant) {
        let Some(session) = &self.session else { return };
        let Some(conversation) = self.conversations.get_mut(&id) else { return };
        if !matches!(conversation.sync, Sync::Idle) {
            return;
        }
        if conversation.refused.is_some() || conversation.is_current() {
            return self.settled(id, now);
        }
        // A Welcome that waits in the inbox is the better way in.
        if !conversation.is_inside() && !session.inbox_read {
            return;
        }
        conversation.sync = Sync::Asking;
        let bytes = id.to_bytes();
        if conversation.is_inside() {
            let after = conversation.record.head;
            self.ask(Request::FetchLog(id), Ask::FetchLog(v1::FetchLog { conversation: bytes, after }));
        } else {
            self.ask(Request::FetchGroupInfo(id), Ask::FetchGroupInfo(v1::FetchGroupInfo { conversation: bytes }));
        }
    }

    pub(super) fn take_log_event(&mut self, entry: &v1::LogEntry, now: Instant) {
        let Ok(id) = ConversationId::try_from(&entry.conversation[..]) else { return };
        self.know(id, entry.generation, None);
        let Some(conversation) = self.conversations.get_mut(&id) else { return };
        conversation.known_head = conversation.known_head.max(entry.sequence);
        let next = conversation.is_inside()
            && matches!(conversation.sync, Sync::Idle)
            && conversation.refused.is_none()
            && entry.sequence == conversation.record.head + 1;
        if next {
            self.take_log_entry(id, entry, now);
        }
        self.advance(id, now);
    }

    pub(super) fn log_fetched(&mut self, id: ConversationId, body: &Body, now: Instant) {
        let Some(conversation) = self.conversations.get_mut(&id) else { return };
        conversation.sync = Sync::Idle;
        conversation.doubt = false;
        let Body::LogEntries(page) = body else { return self.fail(id, body, now) };
        let before = conversation.record.head;
        for entry in &page.entries {
            let Some(conversation) = self.conversations.get(&id) else { return };
            if !conversation.is_inside() || conversation.refused.is_some() {
                break;
            }
            if entry.conversation == id.0[..] && entry.sequence == conversation.record.head + 1 {
                self.take_log_entry(id, entry, now);
            }
        }
        let Some(conversation) = self.conversations.get_mut(&id) else { return };
        let stuck = conversation.is_inside() && conversation.record.head == before && conversation.is_behind();
        if stuck && conversation.refused.is_none() {
            // There is a gap that the supernode can't fill.
            conversation.leave(conversation.record.generation, &mut self.outbox);
        }
        self.advance(id, now);
    }

    /// Takes in the entry that is next in the log.
    fn take_log_entry(&mut self, id: ConversationId, entry: &v1::LogEntry, now: Instant) {
        let Some(conversation) = self.conversations.get_mut(&id) else { return };
        let record = &conversation.record;
        if entry.generation < record.generation || entry.generation == record.generation && entry.epoch < record.epoch {
            return conversation.pass(entry.sequence, &mut self.outbox);
        }
        let result = match &entry.body {
            Some(v1::log_entry::Body::Commit(commit)) => self.take_commit(id, entry.sequence, commit),
            // Of a kind that a newer client knows.
            None | Some(_) => {
                conversation.pass(entry.sequence, &mut self.outbox);
                Ok(())
            }
        };
        match result {
            Ok(()) => {}
            Err(Failure::Distrust(distrust)) => self.refuse(id, distrust, now),
            Err(Failure::Mls(_)) => {
                // The group has moved on without this device: it enters anew.
                if let Some(conversation) = self.conversations.get_mut(&id) {
                    conversation.leave(entry.generation, &mut self.outbox);
                }
            }
        }
    }

    fn take_commit(&mut self, id: ConversationId, sequence: u64, commit: &[u8]) -> Result<(), Failure> {
        let conversation = self.conversations.get_mut(&id).ok_or(MlsError::NoGroup)?;
        let mut group = conversation.group(&self.mls)?;
        let change = group.advance(commit)?;
        vet_change(&change)?;
        let peer = vet(&group.leaves()?, &self.identity, conversation.record.peer, &self.people)?;
        let record = Record::of(&group, &conversation.record, peer, sequence)?;
        let staged = Staged { record, values: group.close() };
        conversation.adopt(staged, &mut self.outbox);
        Ok(())
    }

    pub(super) fn group_info_fetched(&mut self, id: ConversationId, body: &Body, now: Instant) {
        let Some(conversation) = self.conversations.get_mut(&id) else { return };
        conversation.sync = Sync::Idle;
        if conversation.is_inside() {
            return self.advance(id, now);
        }
        let info = match body {
            Body::GroupInfo(info) if info.conversation == id.0[..] => info,
            Body::Error(error) if error.code() == v1::ErrorCode::NotFound => {
                self.conversations.remove(&id);
                return self.settled(id, now);
            }
            body => return self.fail(id, body, now),
        };
        conversation.record.generation = info.generation;
        let before = conversation.record.clone();
        match enter(&self.mls, id, info, |leaves| vet(leaves, &self.identity, before.peer, &self.people)) {
            Ok((commit, staged)) => {
                conversation.sync = Sync::Entering(Box::new(staged));
                self.ask(Request::Commit(id), Ask::Commit(commit));
            }
            Err(Failure::Distrust(distrust)) => self.refuse(id, distrust, now),
            Err(Failure::Mls(MlsError::Unbound)) => self.refuse(id, Distrust::Rules, now),
            Err(Failure::Mls(_)) => self.fail(id, body, now),
        }
    }

    pub(super) fn commit_answered(&mut self, id: ConversationId, body: &Body, now: Instant) {
        let Some(conversation) = self.conversations.get_mut(&id) else { return };
        let Sync::Entering(mut staged) = std::mem::replace(&mut conversation.sync, Sync::Idle) else { return };
        match body {
            Body::CommitAccepted(accepted) => {
                staged.record.head = accepted.sequence;
                conversation.adopt(*staged, &mut self.outbox);
                self.advance(id, now);
            }
            body => self.fail(id, body, now),
        }
    }

    /// Something went wrong that may go right: again after a pause, unless it has been often enough.
    fn fail(&mut self, id: ConversationId, body: &Body, now: Instant) {
        let Some(conversation) = self.conversations.get_mut(&id) else { return };
        conversation.failures += 1;
        let failures = conversation.failures;
        if failures > FAILURES_MAX {
            conversation.refused = Some(Refusal::ConversationRefused);
            return self.settled(id, now);
        }
        conversation.sync = Sync::Waiting;
        // The first conflict is most likely over by now.
        let conflict = matches!(body, Body::Error(error) if error.code() == v1::ErrorCode::Conflict);
        if conflict && failures == 1 {
            return self.retry_conversation(id, now);
        }
        self.pause(Timer::Conversation(id), failures, body, now);
    }

    fn refuse(&mut self, id: ConversationId, distrust: Distrust, now: Instant) {
        let mut refusal = Refusal::ConversationRefused;
        if let Distrust::KeyChanged(account, key) = distrust
            && let Some(name) = self.people.offer(account, key, &mut self.outbox)
        {
            refusal = Refusal::AccountKeyChanged;
            self.outbox.event(Event::AccountKeyChanged { name });
        }
        if let Some(conversation) = self.conversations.get_mut(&id) {
            conversation.refused = Some(refusal);
        }
        self.settled(id, now);
    }

    /// Publishes key packages if the stock is low.
    pub(super) fn restock(&mut self) {
        let Some(session) = self.session.as_mut().filter(|session| !session.publishing) else { return };
        match self.key_packages.restock(&self.mls, &mut self.outbox) {
            Some(body) => {
                session.publishing = true;
                self.ask(Request::PublishKeyPackages, body);
            }
            None => session.stocked = true,
        }
    }

    pub(super) fn key_packages_published(&mut self, body: &Body, now: Instant) {
        if let Some(session) = &mut self.session {
            session.stocked = true;
            session.publishing = false;
        }
        match body {
            Body::Done(_) => self.key_packages.restocked(&mut self.outbox),
            body if passes(body) => self.pause_session(Timer::Publish, body, now),
            _ => {}
        }
    }

    /// Says, once in a session, that everything is up to date as far as it can be.
    pub(super) fn check_ready(&mut self) {
        let Some(session) = &mut self.session else { return };
        if session.ready || !session.inbox_read || !session.listed || !session.stocked || !session.contacts.is_known() {
            return;
        }
        let busy = |conversation: &Conversation| matches!(conversation.sync, Sync::Asking | Sync::Entering(_));
        if !self.conversations.values().any(busy) {
            session.ready = true;
            self.outbox.event(Event::Ready);
        }
    }
}

/// Prepares to enter a group from outside.
fn enter(
    mls: &Mls,
    id: ConversationId,
    info: &v1::GroupInfo,
    vet: impl FnOnce(&[crate::mls::Leaf]) -> Result<Option<AccountId>, Distrust>,
) -> Result<(v1::Commit, Staged), Failure> {
    let entered = mls.enter(&info.group_info)?;
    if *entered.group.id() != group_id(id, info.generation) || entered.group.epoch() != info.epoch.saturating_add(1) {
        return Err(Failure::Mls(MlsError::Malformed));
    }
    let peer = vet(&entered.group.leaves()?)?;
    let before = Record::outside(info.generation, peer);
    let record = Record::of(&entered.group, &before, peer, info.head)?;
    let commit = v1::Commit {
        conversation: id.to_bytes(),
        generation: info.generation,
        epoch: info.epoch,
        commit: entered.commit,
        group_info: entered.group_info,
        welcomes: Vec::new(),
        add: Vec::new(),
        remove: Vec::new(),
    };
    Ok((commit, Staged { record, values: entered.group.close() }))
}
