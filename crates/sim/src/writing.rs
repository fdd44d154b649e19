//! What people write, whom they know, and where they let themselves be seen: acts of a person, and what must have come of
//! them when the weather is calm.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ahoy_client::member::{
    Change, ContactState, ConversationStanding, Event, Kind, Member, MessageBody, MessageRef, SettingsChange, Ticket,
};
use ahoy_proto::{AccountId, ConversationId, Name, v1};
use rand::RngExt;

use crate::checkers::{Checker, Finding};
use crate::plan::Fault;
use crate::world::World;

/// Groups of one world; enough for several per person and few enough to be checked line by line.
const GROUPS_MAX: usize = 4;

/// In calm weather contacts are restored, presence told and queues emptied within this time.
const SETTLES_WITHIN: Duration = Duration::from_secs(60);

/// Texts that devices have committed, and where the log has them.
#[derive(Debug, Default)]
pub(crate) struct Letters {
    /// Counts texts, so that no two are alike.
    written: u64,
    /// Texts whose sender was told their place: conversation, place, text.
    acknowledged: BTreeMap<(ConversationId, u64), (MessageRef, String)>,
}

/// What a person may do about others and in writing.
impl World {
    /// One thing out of many, or nothing.
    pub(crate) fn write(&mut self, device: usize) {
        let roll = self.rng.random_range(0..100);
        match roll {
            0..45 => self.write_somewhere(device),
            45..52 => self.amend(device),
            52..58 => self.read(device),
            58..62 => self.make_group(device),
            62..70 => self.change_group(device),
            70..76 => self.change_presence(device),
            76..84 if self.plan.quarrels => self.change_contact(device),
            84..88 => self.typing(device),
            _ => {}
        }
    }

    /// Lets a person's member do something, and carries out what comes of it.
    fn with_member<T>(
        &mut self,
        device: usize,
        act: impl FnOnce(&mut Member, Ticket, std::time::Instant) -> T,
    ) -> Option<T> {
        let now = self.agenda.now().instant;
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let done = self.devices[device].member.as_mut().map(|member| act(member, ticket, now))?;
        self.drain_member(device);
        Some(done)
    }

    fn conversations_of(&self, device: usize) -> Vec<(ConversationId, Kind)> {
        let Some(member) = &self.devices[device].member else { return Vec::new() };
        let inside = member.conversations().into_iter();
        let inside = inside.filter(|summary| summary.standing == ConversationStanding::Inside);
        inside.map(|summary| (summary.conversation, summary.kind)).collect()
    }

    fn write_somewhere(&mut self, device: usize) {
        let conversations = self.conversations_of(device);
        if conversations.is_empty() || self.rng.random_bool(0.1) {
            return self.open_pair(device);
        }
        let (conversation, _) = conversations[self.rng.random_range(0..conversations.len())];
        self.letters.written += 1;
        let text = format!("letter {}", self.letters.written);
        // Whoever can't write there at the moment is told so.
        let _ = self.with_member(device, |member, _, now| member.send(conversation, &text, None, None, now));
    }

    fn open_pair(&mut self, device: usize) {
        let others = self.accounts(device);
        let account = others[self.rng.random_range(0..others.len())];
        let _ = self.with_member(device, |member, ticket, now| member.open_pair(account, ticket, now));
    }

    /// Edits, takes back or reacts to a line.
    fn amend(&mut self, device: usize) {
        let conversations = self.conversations_of(device);
        let Some((conversation, _)) = conversations.first().cloned() else { return };
        let lines: Vec<_> = self.devices[device]
            .history
            .of(conversation)
            .map(|lines| lines.placed().into_values().map(|message| message.reference).collect())
            .unwrap_or_default();
        if lines.is_empty() {
            return;
        }
        let target: MessageRef = lines[self.rng.random_range(0..lines.len())];
        let roll = self.rng.random_range(0..3);
        let _ = self.with_member(device, |member, _, now| match roll {
            0 => member.edit(conversation, target, "another word", None, now).map(|_| ()),
            1 => member.delete(conversation, target, None, now).map(|_| ()),
            _ => member.react(conversation, target, "👍", true, None, now).map(|_| ()),
        });
    }
}
