//! Taking in the log: commits, messages, departures, in order, each once.
//!
//! What an entry comes to (history, ratchet, cursor) is one batch; only then is it acknowledged. An entry that does not
//! open is passed over: nobody can stop a log by what they put into it. One that this device can't follow makes it fall
//! out of the group and enter anew.

use std::time::{Duration, Instant};

use ahoy_proto::limits::LOG_MARKS_MAX;
use ahoy_proto::{AccountId, ConversationId, DeviceId, v1};
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use v1::client_message::Body as Ask;
use v1::log_entry::Body as Entry;
use v1::supernode_message::Body;

use crate::mls::MlsError;

use super::content::{self, Taken};
use super::conversation::{Conversation, Staged, Sync};
use super::event::Event;
use super::history::{Change, Message, MessageBody, MessageRef};
use super::requests::Request;
use super::sync::Failure;
use super::vet::{Circumstances, vet, vet_change};
use super::{Member, Timer};

/// How long acknowledgements wait for others: a busy group costs two requests a second.
const ACKNOWLEDGE_AFTER: Duration = Duration::from_millis(500);

/// Longest pause before a device does what others may do too: ask for a removal, tell a title.
pub(super) const COURTESY_MS: u64 = 5_000;

/// A log entry, with its fields parsed.
struct Place<'a> {
    entry: &'a v1::LogEntry,
    account: AccountId,
    device: DeviceId,
    added: Vec<AccountId>,
    removed: Vec<AccountId>,
}

impl<'a> Place<'a> {
    fn of(entry: &'a v1::LogEntry) -> Option<Self> {
        let account = AccountId::try_from(&entry.account[..]).ok()?;
        let device = DeviceId::try_from(&entry.device[..]).ok()?;
        Some(Self { entry, account, device, added: accounts(&entry.added), removed: accounts(&entry.removed) })
    }
}

impl Member {
    pub(super) fn take_log_event(&mut self, entry: &v1::LogEntry, now: Instant) {
        let Ok(id) = ConversationId::try_from(&entry.conversation[..]) else { return };
        self.know(id, entry.generation);
        let Some(conversation) = self.conversations.get_mut(&id) else { return };
        conversation.known_head = conversation.known_head.max(entry.sequence);
        let own = &self.identity.account.0[..];
        if entry.removed.iter().any(|account| *account == *own) {
            return self.removed(id, AccountId::try_from(&entry.account[..]).ok(), now);
        }
        let next = conversation.is_inside()
            && conversation.record.kind.is_some()
            && matches!(conversation.sync, Sync::Idle)
            && conversation.refused.is_none()
            && entry.sequence == conversation.record.head + 1;
        if next {
            self.take_log_entry(id, entry, now);
            self.mark_taken(id, now);
        }
        self.advance(id, now);
    }

    pub(super) fn log_fetched(&mut self, id: ConversationId, body: &Body, now: Instant) {
        let Some(conversation) = self.conversations.get_mut(&id) else { return };
        conversation.sync = Sync::Idle;
        let page = match body {
            Body::LogEntries(page) => page,
            Body::Error(error) if error.code() == v1::ErrorCode::NotFound => return self.forget(id, None, now),
            body => return self.fail(id, body, now),
        };
        conversation.doubt = page.more;
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
        if conversation.is_inside() && conversation.record.head == before && conversation.refused.is_none() {
            let newer = page.entries.iter().any(|entry| entry.sequence > before);
            if newer || conversation.asked_head > before && !page.more {
                // There is a gap that the supernode can't fill.
                conversation.fall_out(conversation.record.generation, &mut self.outbox);
            } else if page.more {
                return self.fail(id, body, now);
            }
        }
        self.mark_taken(id, now);
        self.advance(id, now);
    }

    /// Takes in the entry that is next in the log.
    fn take_log_entry(&mut self, id: ConversationId, entry: &v1::LogEntry, now: Instant) {
        let Some(conversation) = self.conversations.get_mut(&id) else { return };
        let record = &conversation.record;
        let place = Place::of(entry).filter(|_| entry.generation >= record.generation);
        let Some(place) = place else { return conversation.pass(entry.sequence, &mut self.outbox) };
        if place.removed.contains(&self.identity.account) {
            return self.removed(id, Some(place.account), now);
        }
        let result = if entry.generation > record.generation {
            Err(Failure::Mls(MlsError::Future))
        } else {
            match &entry.body {
                Some(Entry::Commit(commit)) => self.take_commit(id, &place, commit),
                Some(Entry::Message(message)) => self.take_message(id, &place, message, now),
                Some(Entry::Departed(account)) => self.take_departed(id, &place, account, now),
                // Of a kind that a newer client knows.
                None => Ok(()),
            }
        };
        match result {
            Ok(()) => {
                if let Some(conversation) = self.conversations.get_mut(&id) {
                    conversation.pass(entry.sequence, &mut self.outbox);
                }
            }
            Err(Failure::Distrust(distrust)) => self.refuse(id, distrust, now),
            Err(Failure::Mls(_)) => {
                // The group has moved on without this device: it enters anew.
                if let Some(conversation) = self.conversations.get_mut(&id) {
                    conversation.fall_out(entry.generation, &mut self.outbox);
                }
            }
        }
    }

    fn take_commit(&mut self, id: ConversationId, place: &Place<'_>, commit: &[u8]) -> Result<(), Failure> {
        let entry = place.entry;
        let conversation = self.conversations.get_mut(&id).ok_or(MlsError::NoGroup)?;
        // One of before this device's time, or its own, accepted while entries before it were on their way.
        if entry.epoch < conversation.record.epoch {
            self.note_members(id, place);
            return Ok(());
        }
        let own = place.device == self.identity.device;
        if own && conversation.record.pending == Some(Sha256::digest(commit).into()) {
            // Its answer was lost, and with it what it did: as if it had removed somebody.
            self.merge(id, entry.sequence)?;
            self.note_members(id, place);
            return Ok(());
        }
        let kind = conversation.record.kind.ok_or(MlsError::NoGroup)?;
        let mut group = conversation.group(&self.mls)?;
        let change = group.advance(commit)?;
        let members = conversation.members(self.identity.account);
        let at = Circumstances {
            members: &members,
            leaves: &conversation.roll.leaves,
            added: &place.added,
            removed: &place.removed,
        };
        vet_change(&change, &at)?;
        vet(&change.leaves, &self.identity, kind, &self.people)?;
        let staged = Staged::of(group, &change.leaves, &conversation.record, entry.sequence)?;
        conversation.adopt(staged, &mut self.outbox);
        self.note_members(id, place);
        Ok(())
    }

    /// Takes over who came and went with a commit, and writes it into the history of a group.
    fn note_members(&mut self, id: ConversationId, place: &Place<'_>) {
        let (added, removed) = (&place.added, &place.removed);
        self.change_members(id, added, removed);
        self.tell_members(id, place.account, place.entry.sequence, place.entry.at_ms, (added, removed));
    }

    /// Changes the members of a group.
    pub(super) fn change_members(&mut self, id: ConversationId, added: &[AccountId], removed: &[AccountId]) {
        let Some(conversation) = self.conversations.get_mut(&id).filter(|entry| entry.is_group()) else { return };
        if conversation.roll.members.is_empty() || added.is_empty() && removed.is_empty() {
            return;
        }
        let members = &mut conversation.roll.members;
        members.retain(|member| !removed.contains(member));
        for account in added.iter().filter(|account| !removed.contains(account)) {
            if !members.contains(account) && members.len() < ahoy_proto::limits::GROUP_MEMBERS_MAX {
                members.push(*account);
            }
        }
        let own = self.identity.account;
        conversation.members_due |= members.iter().any(|member| *member != own && self.people.pin(*member).is_none());
        conversation.write_roll(&mut self.outbox);
    }

    /// Writes a change of a group's members into the history.
    pub(super) fn tell_members(
        &mut self,
        id: ConversationId,
        by: AccountId,
        sequence: u64,
        at_ms: u64,
        (joined, left): (&[AccountId], &[AccountId]),
    ) {
        let is_group = self.conversations.get(&id).is_some_and(Conversation::is_group);
        if !is_group || joined.is_empty() && left.is_empty() {
            return;
        }
        let body = MessageBody::Membership { joined: joined.to_vec(), left: left.to_vec() };
        let reference = MessageRef::of_entry(sequence);
        let line = Message { reference, account: by, sequence: Some(sequence), at_ms, body };
        self.outbox.history(id, Change::Put(line));
    }

    fn take_departed(
        &mut self,
        id: ConversationId,
        place: &Place<'_>,
        account: &[u8],
        now: Instant,
    ) -> Result<(), Failure> {
        let Ok(account) = AccountId::try_from(account) else { return Ok(()) };
        if account == self.identity.account {
            self.forget(id, None, now);
            return Ok(());
        }
        self.change_members(id, &[], &[account]);
        self.tell_members(id, account, place.entry.sequence, place.entry.at_ms, (&[], &[account]));
        Ok(())
    }

    fn take_message(
        &mut self,
        id: ConversationId,
        place: &Place<'_>,
        message: &v1::SealedMessage,
        now: Instant,
    ) -> Result<(), Failure> {
        let (entry, own) = (place.entry, self.identity.account);
        if place.device == self.identity.device {
            let Some(conversation) = self.conversations.get_mut(&id) else { return Ok(()) };
            if message.number > conversation.record.last {
                // This device has not given it.
                self.passed_over += 1;
                return Ok(());
            }
            conversation.in_log = conversation.in_log.max(message.number);
            self.place(id, message.number, entry.sequence, entry.at_ms);
            return Ok(());
        }
        let conversation = self.conversations.get_mut(&id).ok_or(MlsError::NoGroup)?;
        if entry.epoch > conversation.record.epoch {
            // The log has brought nothing that led there.
            return Err(MlsError::Future.into());
        }
        let unsealed = match conversation.unseal(&self.mls, &message.sealed, &mut self.outbox) {
            Ok(unsealed) => unsealed,
            Err(MlsError::NoGroup) => return Err(MlsError::NoGroup.into()),
            // Forged, replayed, or of before this device's time.
            Err(_) => {
                self.passed_over += 1;
                return Ok(());
            }
        };
        let sender = unsealed.sender;
        let is_senders = (sender.account, sender.device) == (place.account, place.device);
        let content = v1::Content::decode(&unsealed.plain[..]).ok();
        // Under another number it would pass for another message, and what is said of that one would go to it.
        let named = content.filter(|content| is_senders && content.number == message.number);
        let Some(content) = named else {
            self.passed_over += 1;
            return Ok(());
        };
        if sender.account != own {
            self.receipt_due(id, now);
        }
        let reference = MessageRef { device: sender.device, number: message.number };
        match content::read(content, reference, sender.account, entry.sequence, entry.at_ms) {
            Some(Taken::Change(_)) if self.is_blocked(sender.account) => {}
            Some(Taken::Change(change)) => {
                self.stop_typing(id, sender.account);
                self.outbox.history(id, change);
            }
            Some(Taken::Title(line)) => self.take_title(id, &line),
            Some(Taken::TitleWanted) => self.title_wanted(id, now),
            None => {}
        }
        Ok(())
    }

    /// A group has a title. Nobody else needs to say so.
    pub(super) fn take_title(&mut self, id: ConversationId, line: &Message) {
        let (MessageBody::Renamed { title }, Some(sequence)) = (&line.body, line.sequence) else { return };
        let Some(conversation) = self.conversations.get_mut(&id).filter(|entry| entry.is_group()) else { return };
        if sequence < conversation.roll.title_at {
            return;
        }
        self.timers.remove(&Timer::Title(id));
        self.touched.insert(id);
        conversation.roll.title_at = sequence;
        if conversation.roll.title != *title {
            conversation.roll.title.clone_from(title);
            self.outbox.history(id, Change::Put(line.clone()));
        }
        conversation.write_roll(&mut self.outbox);
    }

    /// A device has entered that does not know the title: one of those who do tells it.
    fn title_wanted(&mut self, id: ConversationId, now: Instant) {
        let known = self.conversations.get(&id).is_some_and(|entry| entry.is_group() && !entry.roll.title.is_empty());
        if known {
            let pause = Duration::from_millis(self.mls.random_below(COURTESY_MS));
            self.timers.entry(Timer::Title(id)).or_insert(now + pause);
        }
    }

    /// Nobody else has told the title.
    pub(super) fn tell_title(&mut self, id: ConversationId, now: Instant) {
        let known = self.conversations.get(&id).filter(|conversation| !conversation.roll.title.is_empty());
        let Some(title) = known.map(|conversation| conversation.roll.title.clone()) else { return };
        // A full queue has things to say that matter more.
        let _ = self.say(id, super::messages::details(&title), None, now);
    }

    /// Remembers to acknowledge how far a log has been taken in.
    pub(super) fn mark_taken(&mut self, id: ConversationId, now: Instant) {
        let Some(head) = self.conversations.get(&id).map(|conversation| conversation.record.head) else { return };
        let Some(session) = self.session.as_mut().filter(|_| head > 0) else { return };
        session.marks.insert(id, head);
        if session.marks.len() >= LOG_MARKS_MAX {
            return self.acknowledge();
        }
        self.timers.entry(Timer::Acknowledge).or_insert(now + ACKNOWLEDGE_AFTER);
    }

    /// Remembers to acknowledge the inbox.
    pub(super) fn mark_inbox(&mut self, now: Instant) {
        self.timers.entry(Timer::Acknowledge).or_insert(now + ACKNOWLEDGE_AFTER);
    }

    /// What came of the entries goes out, as a batch, before the acknowledgement does.
    pub(super) fn acknowledge(&mut self) {
        self.timers.remove(&Timer::Acknowledge);
        // A Welcome that waits is not taken in yet.
        let waiting = self.conversations.values().filter_map(|entry| Some(entry.welcome.as_ref()?.sequence)).min();
        let Some(session) = &mut self.session else { return };
        let inbox = waiting.map_or(session.inbox_head, |waiting| session.inbox_head.min(waiting.saturating_sub(1)));
        let inbox = if inbox > session.inbox_acknowledged { inbox } else { 0 };
        session.inbox_acknowledged = session.inbox_acknowledged.max(inbox);
        let marks = std::mem::take(&mut session.marks);
        let mark = |(id, sequence): (ConversationId, u64)| v1::LogMark { conversation: id.to_bytes(), sequence };
        let logs: Vec<v1::LogMark> = marks.into_iter().map(mark).collect();
        if inbox > 0 || !logs.is_empty() {
            self.ask(Request::Unminded, Ask::Acknowledge(v1::Acknowledge { inbox, logs }));
        }
    }

    /// The log says that this account was removed; it may be in again since.
    fn removed(&mut self, id: ConversationId, by: Option<AccountId>, now: Instant) {
        self.forget(id, by, now);
        self.know(id, 0);
        self.advance(id, now);
    }

    /// This account is not in a conversation any more.
    pub(super) fn forget(&mut self, id: ConversationId, by: Option<AccountId>, now: Instant) {
        self.fail_queue(id);
        self.fail_wishes(id, &super::event::Refusal::NoSuchConversation);
        let Some(mut conversation) = self.conversations.remove(&id) else { return };
        let known = conversation.record.kind.is_some();
        conversation.erase(&mut self.outbox);
        self.timers.retain(|timer, _| timer.conversation() != Some(id));
        if let Some(session) = &mut self.session {
            session.marks.remove(&id);
        }
        if known {
            self.outbox.event(Event::ConversationLeft { conversation: id, by });
        }
        for purpose in conversation.awaiting {
            self.made(purpose, Err(super::event::Refusal::NoSuchConversation), now);
        }
        self.settled(id, now);
    }
}

fn accounts(ids: &[bytes::Bytes]) -> Vec<AccountId> {
    ids.iter().filter_map(|id| AccountId::try_from(&id[..]).ok()).collect()
}
