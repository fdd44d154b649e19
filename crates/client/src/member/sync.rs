//! Keeping conversations up to date: inbox, list, members, and the ways into a group.
//!
//! Each conversation has at most one request of this kind out. What fails is tried again after a pause, a bounded number of
//! times in a session; a group that this device will not accept is refused until a key is accepted or the next session.

use std::time::Instant;

use ahoy_proto::limits::{CONVERSATIONS_MAX, GROUP_MEMBERS_MAX};
use ahoy_proto::{AccountId, ConversationId, Name, v1};
use bytes::Bytes;
use v1::client_message::Body as Ask;
use v1::content::Body as Say;
use v1::supernode_message::Body;

use crate::mls::{Mls, MlsError, group_id};

use super::conversation::{Conversation, KindRecord, Record, Staged, Sync};
use super::event::{Event, Refusal};
use super::history::{Change, Message, MessageBody, MessageRef};
use super::people::Standing;
use super::requests::Request;
use super::vet::{Distrust, vet};
use super::{Member, Timer, passes};

/// Failures after which something is left alone for the session: with doubling pauses, about a minute of trying.
pub(super) const FAILURES_MAX: u32 = 7;

/// Times in a session that a group is entered anew because its state was of no use.
const LOSSES_MAX: u32 = 3;

/// Why a group could not be entered or moved on.
pub(super) enum Failure {
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
        self.inbox_reads += 1;
        self.ask(Request::FetchInbox, Ask::FetchInbox(v1::FetchInbox { after }));
    }

    pub(super) fn inbox_fetched(&mut self, body: &Body, now: Instant) {
        let Body::InboxEntries(page) = body else {
            return self.pause_session(Timer::Inbox, body, now);
        };
        for entry in &page.entries {
            self.take_inbox_entry(entry, now);
        }
        let Some(session) = &mut self.session else { return };
        if session.inbox_again || (page.more && !page.entries.is_empty()) {
            return self.fetch_inbox();
        }
        session.inbox_read = true;
        self.restock();
        self.advance_all(now);
    }

    /// Something has arrived in the inbox. Entries of two senders may be told in another order than they stand there, and an
    /// acknowledgement covers all before it: so the inbox is read, and not what was told.
    pub(super) fn take_inbox_event(&mut self, entry: &v1::InboxEntry) {
        if self.session.as_ref().is_some_and(|session| entry.sequence > session.inbox_head) {
            self.look_into_inbox();
        }
    }

    /// Reads the inbox, once more if it is being read.
    pub(super) fn look_into_inbox(&mut self) {
        match &mut self.session {
            Some(session) if session.inbox_read => self.fetch_inbox(),
            Some(session) => session.inbox_again = true,
            None => {}
        }
    }

    /// Keeps a Welcome until it is known who should be in its group.
    fn take_inbox_entry(&mut self, entry: &v1::InboxEntry, now: Instant) {
        let Some(session) = &mut self.session else { return };
        session.inbox_head = session.inbox_head.max(entry.sequence);
        self.mark_inbox(now);
        let Some(v1::inbox_entry::Body::Welcome(_)) = &entry.body else { return };
        let Ok(id) = ConversationId::try_from(&entry.conversation[..]) else { return };
        self.know(id, entry.generation);
        let Some(conversation) = self.conversations.get_mut(&id) else { return };
        if conversation.is_inside() {
            return;
        }
        conversation.welcome = Some(Box::new(entry.clone()));
        self.advance(id, now);
    }

    /// Enters a group by a Welcome. One that fails leaves no trace: there is the way from outside.
    fn join(&mut self, id: ConversationId, kind: KindRecord, entry: &v1::InboxEntry) -> Result<(), Failure> {
        let Some(v1::inbox_entry::Body::Welcome(welcome)) = &entry.body else { return Ok(()) };
        let (own, people) = (&self.identity, &self.people);
        let mut leaves = Vec::new();
        let group = self.key_packages.join(&self.mls, welcome, &mut self.outbox, |group| {
            if *group.id() != group_id(id, entry.generation) {
                return Err(Failure::Mls(MlsError::Malformed));
            }
            leaves = group.leaves()?;
            Ok(vet(&leaves, own, kind, people)?)
        })?;
        let conversation = self.conversations.get_mut(&id).ok_or(MlsError::NoGroup)?;
        let before = Record { generation: entry.generation, ..conversation.record.clone() };
        let staged = Staged::of(group, &leaves, &before, entry.head)?;
        conversation.adopt(staged, &mut self.outbox);
        // Whoever was in the group then may commit in the part of the log that comes next.
        for (account, _) in conversation.roll.leaves.clone() {
            if conversation.is_group() && !conversation.roll.members.contains(&account) {
                conversation.roll.members.push(account);
            }
        }
        conversation.members_due = conversation.is_group();
        conversation.write_roll(&mut self.outbox);
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
            self.take_listed(listed, now);
        }
        match page.conversations.last() {
            Some(last) if page.more => return self.list_conversations(last.conversation.clone()),
            _ => {
                if let Some(session) = &mut self.session {
                    session.listed = true;
                }
            }
        }
        let gone = self.conversations.values().filter(|entry| !entry.listed && entry.record.kind.is_some());
        for id in gone.map(|entry| entry.id).collect::<Vec<_>>() {
            self.forget(id, None, now);
        }
        self.advance_all(now);
    }

    /// Asks what kind of conversation one is that came up since the list.
    pub(super) fn listed_alone(&mut self, id: ConversationId, body: &Body, now: Instant) {
        let Some(conversation) = self.conversations.get_mut(&id) else { return };
        conversation.sync = Sync::Idle;
        let Body::Conversations(page) = body else { return self.fail(id, body, now) };
        match page.conversations.iter().find(|listed| listed.conversation == id.0[..]) {
            Some(listed) => self.take_listed(listed, now),
            None => return self.forget(id, None, now),
        }
        self.advance(id, now);
    }

    pub(super) fn take_listed(&mut self, listed: &v1::Conversation, now: Instant) {
        let Ok(id) = ConversationId::try_from(&listed.conversation[..]) else { return };
        let kind = match AccountId::try_from(&listed.peer[..]) {
            Ok(peer) => KindRecord::Pair(peer),
            Err(_) if listed.peer.is_empty() => KindRecord::Group,
            Err(_) => return,
        };
        self.know(id, listed.generation);
        let Some(conversation) = self.conversations.get_mut(&id) else { return };
        conversation.listed = true;
        match conversation.record.kind {
            None => {
                conversation.record.kind = Some(kind);
                conversation.record.last = conversation.record.last.max(listed.sent);
                // A pair needs nobody's word for who is in it, only for what the peer is called.
                conversation.members_due = match kind {
                    KindRecord::Pair(peer) => self.people.pin(peer).is_none(),
                    KindRecord::Group => true,
                };
                conversation.write_record(&mut self.outbox);
            }
            Some(_) if listed.sent > conversation.record.last => return self.retire(now),
            // What a conversation is does not change.
            Some(known) if known != kind => return,
            Some(_) => {}
        }
        let sent = listed.sent.max(conversation.in_log);
        // 0 is also said by one that knows no number of this device any more, restored from a backup, and takes any: numbers that went
        // out name messages for good, and are not given again.
        if sent > 0 && conversation.queue.first_number().unwrap_or(conversation.record.last + 1) > sent + 1 {
            // The log lacks messages that this device does not have any more: they are in nobody's, and given up.
            self.fail_queue(id);
            let Some(conversation) = self.conversations.get_mut(&id) else { return };
            conversation.queue.erase(id, &mut self.outbox);
            conversation.record.last = sent;
            conversation.write_record(&mut self.outbox);
        }
        let Some(conversation) = self.conversations.get_mut(&id) else { return };
        conversation.queue.mark_sent(sent);
        conversation.receipts_known = conversation.receipts_known.max(listed.receipts_serial);
        if listed.generation > conversation.record.generation {
            conversation.fall_out(listed.generation, &mut self.outbox);
        }
        if listed.generation == conversation.record.generation {
            conversation.known_head = conversation.known_head.max(listed.head);
        }
        if conversation.record.head > listed.acknowledged {
            self.mark_taken(id, now);
        }
    }

    /// Makes room for a conversation that the supernode speaks of.
    pub(super) fn know(&mut self, id: ConversationId, generation: u32) {
        if !self.conversations.contains_key(&id) && self.conversations.len() < CONVERSATIONS_MAX {
            self.conversations.insert(id, Conversation::outside(id, generation, None));
        }
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

    /// Takes the next step towards being up to date, or goes on with whatever waits for that.
    pub(super) fn advance(&mut self, id: ConversationId, now: Instant) {
        self.touched.insert(id);
        let Some(session) = &self.session else { return };
        let (listed, inbox_read, inbox_reads) = (session.listed, session.inbox_read, self.inbox_reads);
        let Some(conversation) = self.conversations.get_mut(&id) else { return };
        if !matches!(conversation.sync, Sync::Idle) {
            return;
        }
        if conversation.refused.is_some() {
            return self.settled(id, now);
        }
        if conversation.is_inside() && !conversation.knows_leaves() && !self.read_leaves(id) {
            return self.lose_group(id, now);
        }
        let Some(conversation) = self.conversations.get_mut(&id) else { return };
        let inside = conversation.is_inside();
        let Some(kind) = conversation.record.kind else {
            if listed {
                conversation.sync = Sync::Asking;
                let after = before(id);
                self.ask(Request::ListAlone(id), Ask::ListConversations(v1::ListConversations { after }));
            }
            return;
        };
        let conversation_id = id.to_bytes();
        if inside && (conversation.is_behind() || conversation.doubt) {
            conversation.sync = Sync::Asking;
            conversation.asked_head = conversation.known_head;
            let after = conversation.record.head;
            return self
                .ask(Request::FetchLog(id), Ask::FetchLog(v1::FetchLog { conversation: conversation_id, after }));
        }
        if conversation.members_due {
            conversation.sync = Sync::Asking;
            let body = Ask::FetchMembers(v1::FetchMembers { conversation: conversation_id });
            return self.ask(Request::FetchMembers(id), body);
        }
        if inside {
            return self.use_current(id, now);
        }
        // A Welcome is the better way in.
        if let Some(welcome) = conversation.welcome.take() {
            // One that does not open or is not to be trusted leaves the way from outside, where the same is checked again.
            let _ = self.join(id, kind, &welcome);
            self.mark_inbox(now);
            // How many key packages are left shows when the last Welcome has been taken in.
            if self.conversations.values().all(|entry| entry.welcome.is_none()) {
                self.restock();
            }
            return self.advance(id, now);
        }
        // What told of the conversation may have overtaken its Welcome, or the Welcome was told to nobody: who enters from outside can't
        // read what was said before.
        let since = *conversation.outside_since.get_or_insert(inbox_reads);
        if inbox_read && since == inbox_reads {
            self.look_into_inbox();
        } else if inbox_read {
            conversation.sync = Sync::Asking;
            let body = Ask::FetchGroupInfo(v1::FetchGroupInfo { conversation: conversation_id });
            self.ask(Request::FetchGroupInfo(id), body);
        }
    }

    /// Reads who is in the group, where what was kept of that is lost.
    fn read_leaves(&mut self, id: ConversationId) -> bool {
        let Some(conversation) = self.conversations.get_mut(&id) else { return false };
        let Ok(leaves) = conversation.group(&self.mls).and_then(|group| group.leaves()) else { return false };
        conversation.roll.leaves = leaves.iter().map(|leaf| (leaf.account, leaf.device)).collect();
        conversation.roll.epoch = conversation.record.epoch;
        conversation.write_roll(&mut self.outbox);
        true
    }

    /// A conversation is up to date: first those are told who waited for that, then changes and messages leave.
    fn use_current(&mut self, id: ConversationId, now: Instant) {
        self.settled(id, now);
        self.fetch_receipts(id);
        self.resume_receipt(id, now);
        self.next_change(id, now);
        self.pump(id, now);
    }

    pub(super) fn members_fetched(&mut self, id: ConversationId, body: &Body, now: Instant) {
        let Some(conversation) = self.conversations.get_mut(&id) else { return };
        conversation.sync = Sync::Idle;
        let members = match body {
            Body::Members(members) if members.conversation == id.0[..] => &members.members,
            Body::Error(error) if error.code() == v1::ErrorCode::NotFound => return self.forget(id, None, now),
            body => return self.fail(id, body, now),
        };
        let mut accounts = Vec::new();
        for member in members.iter().take(GROUP_MEMBERS_MAX) {
            let Ok(account) = AccountId::try_from(&member.account[..]) else { continue };
            if accounts.contains(&account) {
                continue;
            }
            accounts.push(account);
            let (Ok(name), Ok(key)) = (Name::parse(&member.name), <[u8; 32]>::try_from(&member.account_key[..])) else {
                continue;
            };
            if account != self.identity.account
                && self.people.learn(&name, account, key, &mut self.outbox) == Standing::Changed
            {
                self.outbox.event(Event::AccountKeyChanged { name });
            }
        }
        let Some(conversation) = self.conversations.get_mut(&id) else { return };
        if conversation.is_group() && !(conversation.is_inside() && conversation.is_behind()) {
            conversation.roll.members = accounts;
            conversation.write_roll(&mut self.outbox);
        }
        conversation.members_due = conversation.is_inside() && conversation.is_behind();
        if let (true, Some(kind)) = (conversation.is_inside(), conversation.record.kind) {
            let leaves = conversation.group(&self.mls).and_then(|group| group.leaves());
            match leaves.map(|leaves| vet(&leaves, &self.identity, kind, &self.people)) {
                Ok(Ok(())) => {}
                Ok(Err(distrust)) => return self.refuse(id, distrust, now),
                Err(_) => return self.lose_group(id, now),
            }
        }
        self.advance(id, now);
    }

    pub(super) fn group_info_fetched(&mut self, id: ConversationId, body: &Body, now: Instant) {
        let Some(conversation) = self.conversations.get_mut(&id) else { return };
        conversation.sync = Sync::Idle;
        let Some(kind) = conversation.record.kind.filter(|_| !conversation.is_inside()) else {
            return self.advance(id, now);
        };
        let info = match body {
            Body::GroupInfo(info) if info.conversation == id.0[..] => info,
            Body::Error(error) if error.code() == v1::ErrorCode::NotFound => return self.forget(id, None, now),
            body => return self.fail(id, body, now),
        };
        let before = Record { generation: info.generation, ..conversation.record.clone() };
        match enter(&self.mls, id, info, &before, |leaves| vet(leaves, &self.identity, kind, &self.people)) {
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
        let staged = match std::mem::replace(&mut conversation.sync, Sync::Idle) {
            Sync::Entering(staged) => staged,
            Sync::Committing(change) => return self.change_answered(id, change, body, now),
            other => {
                conversation.sync = other;
                return;
            }
        };
        match body {
            Body::CommitAccepted(accepted) => self.entered(id, *staged, accepted.sequence, now),
            Body::Error(error) if error.code() == v1::ErrorCode::NotFound => self.forget(id, None, now),
            body => self.fail(id, body, now),
        }
    }

    /// This device stands in the group from now on; what was said before may be missing here.
    fn entered(&mut self, id: ConversationId, mut staged: Staged, sequence: u64, now: Instant) {
        let at_ms = self.clock_ms(now);
        let Some(conversation) = self.conversations.get_mut(&id) else { return };
        let receipts = std::mem::take(&mut conversation.record.receipts);
        let Record { last, read, receipts_serial, .. } = conversation.record;
        staged.record = Record { last, read, receipts_serial, receipts, ..staged.record };
        staged.record.head = sequence;
        conversation.adopt(staged, &mut self.outbox);
        conversation.members_due = conversation.is_group();
        let untitled = conversation.is_group() && conversation.roll.title.is_empty();
        let line = Message {
            reference: MessageRef::of_entry(sequence),
            account: self.identity.account,
            sequence: Some(sequence),
            at_ms,
            body: MessageBody::Gap,
        };
        self.outbox.history(id, Change::Put(line));
        self.mark_taken(id, now);
        if untitled {
            // A full queue has things to say that matter more.
            let _ = self.say(id, Say::DetailsWanted(v1::DetailsWanted {}), None, now);
        }
        self.advance(id, now);
    }

    /// Something went wrong that may go right: again after a pause, unless it has been often enough.
    pub(super) fn fail(&mut self, id: ConversationId, body: &Body, now: Instant) {
        let Some(conversation) = self.conversations.get_mut(&id) else { return };
        conversation.failures += 1;
        let failures = conversation.failures;
        // A supernode that asks for patience gets it.
        if failures > FAILURES_MAX && !passes(body) {
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

    /// The group's state is not to be used: this device enters anew, a bounded number of times.
    pub(super) fn lose_group(&mut self, id: ConversationId, now: Instant) {
        let Some(conversation) = self.conversations.get_mut(&id) else { return };
        conversation.fall_out(conversation.record.generation, &mut self.outbox);
        conversation.losses += 1;
        if conversation.losses > LOSSES_MAX {
            conversation.refused = Some(Refusal::ConversationRefused);
        }
        self.advance(id, now);
    }

    pub(super) fn refuse(&mut self, id: ConversationId, distrust: Distrust, now: Instant) {
        let mut refusal = Refusal::ConversationRefused;
        if let Distrust::KeyChanged(account, key) = distrust
            && self.key_changed(account, key)
        {
            refusal = Refusal::AccountKeyChanged;
        }
        if let Some(conversation) = self.conversations.get_mut(&id) {
            conversation.refused = Some(refusal.clone());
        }
        self.fail_wishes(id, &refusal);
        self.settled(id, now);
    }

    /// A device showed another account key than the pinned one; `false` when nothing is pinned.
    pub(super) fn key_changed(&mut self, account: AccountId, key: [u8; 32]) -> bool {
        let Some(name) = self.people.offer(account, key, &mut self.outbox) else { return false };
        self.outbox.event(Event::AccountKeyChanged { name });
        true
    }

    /// A conversation is up to date, or refused, or gone: goes on with whatever waited for it.
    pub(super) fn settled(&mut self, id: ConversationId, now: Instant) {
        self.touched.insert(id);
        self.settle_calls(id, now);
        self.tell_awaiting(id, now);
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
    before: &Record,
    vet: impl FnOnce(&[crate::mls::Leaf]) -> Result<(), Distrust>,
) -> Result<(v1::Commit, Staged), Failure> {
    let entered = mls.enter(&info.group_info)?;
    if *entered.group.id() != group_id(id, info.generation) || entered.group.epoch() != info.epoch.saturating_add(1) {
        return Err(Failure::Mls(MlsError::Malformed));
    }
    let leaves = entered.group.leaves()?;
    vet(&leaves)?;
    let staged = Staged::of(entered.group, &leaves, before, info.head)?;
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
    Ok((commit, staged))
}

/// The id that comes just before this one in a list: whatever follows it begins with this one.
fn before(id: ConversationId) -> Bytes {
    match u128::from_be_bytes(id.0).checked_sub(1) {
        Some(before) => Bytes::copy_from_slice(&before.to_be_bytes()),
        None => Bytes::new(),
    }
}
