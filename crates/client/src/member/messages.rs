//! What this device writes: from the command, by the queue, into the log.
//!
//! A command takes effect in the history at once and is durable before anything else happens; everything after it may be
//! repeated. A message leaves once this device is up to date, nobody stands in the group who should not, and all messages
//! before it have left; so the log holds each of them once, in order.

use std::time::Instant;

use ahoy_proto::limits::{REACTION_MAX, TEXT_MAX, TITLE_CHARACTERS_MAX};
use ahoy_proto::{ConversationId, v1};
use prost::Message as _;
use v1::client_message::Body as Ask;
use v1::content::Body as Say;
use v1::supernode_message::Body;

use super::content::{self, to_wire};
use super::conversation::Conversation;
use super::event::{Answer, Refusal, Ticket};
use super::history::{Change, Message, MessageBody, MessageRef};
use super::queue::{Flight, Queued, Sealed};
use super::requests::Request;
use super::sync::FAILURES_MAX;
use super::{CommandError, Member, Timer, passes};

impl Member {
    /// Writes a text, perhaps in answer to a message. It is durable with the next batch and leaves when it can, in this
    /// session or a later one; [`Answer::Sent`] tells when it stands in the log.
    ///
    /// # Errors
    /// When there is no such conversation, the text is empty or too long, or too many messages wait.
    pub fn send(
        &mut self,
        conversation: ConversationId,
        text: &str,
        reply_to: Option<MessageRef>,
        ticket: Option<Ticket>,
        now: Instant,
    ) -> Result<MessageRef, CommandError> {
        check_text(text)?;
        let said = Say::Text(v1::Text { text: text.to_owned(), reply_to: reply_to.map(to_wire) });
        self.say(conversation, said, ticket, now)
    }

    /// Replaces the text of a message of this account.
    ///
    /// # Errors
    /// As [`Member::send`].
    pub fn edit(
        &mut self,
        conversation: ConversationId,
        target: MessageRef,
        text: &str,
        ticket: Option<Ticket>,
        now: Instant,
    ) -> Result<MessageRef, CommandError> {
        check_text(text)?;
        let said = Say::Edit(v1::Edit { target: Some(to_wire(target)), text: text.to_owned() });
        self.say(conversation, said, ticket, now)
    }

    /// Takes back a message of this account.
    ///
    /// # Errors
    /// As [`Member::send`].
    pub fn delete(
        &mut self,
        conversation: ConversationId,
        target: MessageRef,
        ticket: Option<Ticket>,
        now: Instant,
    ) -> Result<MessageRef, CommandError> {
        self.say(conversation, Say::Deletion(v1::Deletion { target: Some(to_wire(target)) }), ticket, now)
    }

    /// Sets a reaction on a message, or takes it back.
    ///
    /// # Errors
    /// As [`Member::send`].
    pub fn react(
        &mut self,
        conversation: ConversationId,
        target: MessageRef,
        reaction: Reaction<'_>,
        ticket: Option<Ticket>,
        now: Instant,
    ) -> Result<MessageRef, CommandError> {
        let (emoji, removed) = match reaction {
            Reaction::Set(emoji) => (emoji, false),
            Reaction::TakeBack(emoji) => (emoji, true),
        };
        if emoji.is_empty() || emoji.len() > REACTION_MAX {
            return Err(CommandError::Length);
        }
        let target = Some(to_wire(target));
        self.say(conversation, Say::Reaction(v1::Reaction { target, emoji: emoji.to_owned(), removed }), ticket, now)
    }

    /// Gives a group a title.
    ///
    /// # Errors
    /// When there is no such group, the title is empty or too long, or too many messages wait.
    pub fn rename(
        &mut self,
        conversation: ConversationId,
        title: &str,
        ticket: Ticket,
        now: Instant,
    ) -> Result<MessageRef, CommandError> {
        check_title(title)?;
        if !self.conversations.get(&conversation).is_some_and(Conversation::is_group) {
            return Err(CommandError::NoSuchConversation);
        }
        self.say(conversation, details(title), Some(ticket), now)
    }

    /// Queues something to be said: numbers it, persists it, and shows it in this device's history.
    pub(super) fn say(
        &mut self,
        id: ConversationId,
        said: Say,
        ticket: Option<Ticket>,
        now: Instant,
    ) -> Result<MessageRef, CommandError> {
        let at_ms = self.clock_ms(now);
        let known = self.conversations.get_mut(&id).filter(|conversation| conversation.record.kind.is_some());
        let conversation = known.ok_or(CommandError::NoSuchConversation)?;
        if conversation.queue.is_full() {
            return Err(CommandError::TooManyWaiting);
        }
        conversation.record.last += 1;
        let reference = MessageRef { device: self.identity.device, number: conversation.record.last };
        if let Some(change) = content::own(reference, self.identity.account, &said, at_ms) {
            self.outbox.history(id, change);
        }
        let number = reference.number;
        let content = v1::Content { sent_at_ms: at_ms, number, body: Some(said) };
        let queued = Queued { number, content, sealed: None, flight: Flight::Waiting, ticket };
        conversation.queue.push(id, queued, &mut self.outbox);
        conversation.write_record(&mut self.outbox);
        self.advance(id, now);
        Ok(reference)
    }

    /// Lets messages leave that may.
    pub(super) fn pump(&mut self, id: ConversationId, now: Instant) {
        if self.session.is_none() {
            return;
        }
        self.settle_in_log(id, now);
        while let Some(conversation) = self.conversations.get_mut(&id) {
            if !conversation.is_current() || conversation.refused.is_some() {
                return;
            }
            let Some(next) = conversation.queue.next() else { return };
            let number = next.number;
            let record = &conversation.record;
            let good = |sealed: &&Sealed| (sealed.generation, sealed.epoch) == (record.generation, record.epoch);
            let sealed = match next.sealed.as_ref().filter(good) {
                Some(sealed) => sealed.clone(),
                None => match self.seal_queued(id, number) {
                    Some(sealed) => sealed,
                    None => return self.lose_group(id, now),
                },
            };
            if let Some(entry) = self.conversations.get_mut(&id).and_then(|entry| entry.queue.find_mut(number)) {
                entry.flight = Flight::Out;
            }
            let message = v1::SendMessage {
                conversation: id.to_bytes(),
                number,
                generation: sealed.generation,
                epoch: sealed.epoch,
                sealed: sealed.bytes,
            };
            self.ask(Request::SendMessage(id, number), Ask::SendMessage(message));
        }
    }

    /// Seals a queued message; the bytes are in one batch with the ratchet that made them. `None` when the group's state is
    /// not to be used.
    fn seal_queued(&mut self, id: ConversationId, number: u64) -> Option<Sealed> {
        let conversation = self.conversations.get_mut(&id)?;
        let content = conversation.queue.find_mut(number)?.content.encode_to_vec();
        let mut group = conversation.group(&self.mls).ok()?;
        let epoch = group.epoch();
        let bytes = group.seal(&self.mls, &content).ok()?;
        conversation.keep(group, &mut self.outbox);
        let sealed = Sealed { generation: conversation.record.generation, epoch, bytes };
        conversation.queue.seal(id, number, sealed.clone(), &mut self.outbox);
        Some(sealed)
    }

    /// What the log was to tell the place of, and did not: it was in a gap, and keeps the last place known.
    fn settle_in_log(&mut self, id: ConversationId, now: Instant) {
        let Some(conversation) = self.conversations.get(&id).filter(|conversation| conversation.is_current()) else {
            return;
        };
        let head = conversation.record.head;
        let lost = conversation.queue.iter().filter(|entry| entry.flight == Flight::InLog);
        let lost: Vec<u64> = lost.map(|entry| entry.number).collect();
        let at_ms = self.clock_ms(now);
        for number in lost {
            self.place(id, number, head, at_ms);
        }
    }

    pub(super) fn message_answered(&mut self, id: ConversationId, number: u64, body: &Body, now: Instant) {
        let Some(conversation) = self.conversations.get_mut(&id) else { return };
        if matches!(body, Body::MessageAccepted(_)) {
            conversation.in_log = conversation.in_log.max(number);
        }
        match body {
            Body::MessageAccepted(accepted) if accepted.sequence > 0 => {
                if accepted.sequence == conversation.record.head + 1 && conversation.is_inside() {
                    conversation.pass(accepted.sequence, &mut self.outbox);
                } else {
                    conversation.known_head = conversation.known_head.max(accepted.sequence);
                }
                self.place(id, number, accepted.sequence, accepted.at_ms);
                self.mark_taken(id, now);
                self.advance(id, now);
            }
            Body::MessageAccepted(_) => {
                if let Some(entry) = conversation.queue.find_mut(number) {
                    entry.flight = Flight::InLog;
                    conversation.doubt = true;
                }
                self.advance(id, now);
            }
            Body::Error(error) if error.code() == v1::ErrorCode::NotFound => self.forget(id, None, now),
            body => self.message_refused(id, number, body, now),
        }
    }

    fn message_refused(&mut self, id: ConversationId, number: u64, body: &Body, now: Instant) {
        let Some(conversation) = self.conversations.get_mut(&id) else { return };
        // Those behind one that was refused are refused too: one reason is enough.
        if !conversation.queue.find_mut(number).is_some_and(|entry| entry.flight == Flight::Out) {
            return;
        }
        let conflict = matches!(body, Body::Error(error) if error.code() == v1::ErrorCode::Conflict);
        if conflict {
            conversation.queue.recall(id, &mut self.outbox);
            conversation.doubt = true;
        } else {
            conversation.queue.lose_flight();
        }
        conversation.queue.failures += 1;
        let failures = conversation.queue.failures;
        if !(conflict && failures == 1) {
            conversation.queue.paused = true;
            if failures <= FAILURES_MAX || passes(body) {
                self.pause(Timer::Queue(id), failures, body, now);
            }
        }
        self.advance(id, now);
    }

    pub(super) fn resume_queue(&mut self, id: ConversationId, now: Instant) {
        if let Some(conversation) = self.conversations.get_mut(&id) {
            conversation.queue.paused = false;
        }
        self.advance(id, now);
    }

    /// A message of this device stands in the log.
    pub(super) fn place(&mut self, id: ConversationId, number: u64, sequence: u64, at_ms: u64) {
        let Some(conversation) = self.conversations.get_mut(&id) else { return };
        let Some(queued) = conversation.queue.take(id, number, &mut self.outbox) else { return };
        let reference = MessageRef { device: self.identity.device, number };
        match &queued.content.body {
            Some(Say::Text(_)) => self.outbox.history(id, Change::Placed { reference, sequence, at_ms }),
            Some(Say::Details(details)) => {
                let account = self.identity.account;
                let title = details.title.clone();
                self.take_title(
                    id,
                    &Message {
                        reference,
                        account,
                        sequence: Some(sequence),
                        at_ms,
                        body: MessageBody::Renamed { title },
                    },
                );
            }
            _ => {}
        }
        if let Some(ticket) = queued.ticket {
            self.answer_ticket(ticket, Ok(Answer::Sent { reference, sequence }));
        }
    }

    /// Gives up what was queued for a conversation that is gone.
    pub(super) fn fail_queue(&mut self, id: ConversationId) {
        let Some(conversation) = self.conversations.get(&id) else { return };
        let mut tickets = Vec::new();
        for queued in conversation.queue.iter() {
            if matches!(queued.content.body, Some(Say::Text(_))) {
                let reference = MessageRef { device: self.identity.device, number: queued.number };
                self.outbox.history(id, Change::Failed { reference });
            }
            tickets.extend(queued.ticket);
        }
        for ticket in tickets {
            self.answer_ticket(ticket, Err(Refusal::NoSuchConversation));
        }
    }
}

/// A reaction, set or taken back; one emoji.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaction<'a> {
    /// Set it.
    Set(&'a str),
    /// Take it back.
    TakeBack(&'a str),
}

/// What a group is called, as something to say.
pub(super) fn details(title: &str) -> Say {
    Say::Details(v1::GroupDetails { title: title.to_owned() })
}

pub(super) fn check_title(title: &str) -> Result<(), CommandError> {
    let fits = !title.is_empty() && title.chars().count() <= TITLE_CHARACTERS_MAX;
    if fits { Ok(()) } else { Err(CommandError::Length) }
}

fn check_text(text: &str) -> Result<(), CommandError> {
    if text.is_empty() || text.len() > TEXT_MAX { Err(CommandError::Length) } else { Ok(()) }
}
