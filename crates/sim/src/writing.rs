//! What people write, whom they know, and where they let themselves be seen: acts of a person, and what must have come of
//! them once the weather is calm.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ahoy_client::member::{
    Change, ContactState, ConversationStanding, HistoryChange, Kind, Member, MessageBody, MessageRef, Reaction,
    SettingsChange, Ticket,
};
use ahoy_core::{Answer, Question};
use ahoy_proto::{AccountId, ConversationId, DeviceId, Name, v1};
use rand::RngExt;

use crate::checkers::{Checker, Finding};
use crate::device::Device;
use crate::world::World;

/// Groups of one world: enough for several a person, and few enough to be compared line by line.
const GROUPS_MAX: usize = 3;

/// Rounds of making up after a quarrel, each of [`ROUND`]: unblock, ask from both sides, accept.
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(10);

/// In calm weather everything written has reached everybody within this time, healing included.
const SETTLES_WITHIN: Duration = Duration::from_secs(60);

/// What was written in a world.
#[derive(Debug, Default)]
pub(crate) struct Letters {
    /// Counts texts, so that no two are alike.
    written: u64,
    groups: usize,
    /// Texts that devices have committed, by conversation and reference.
    texts: BTreeMap<(ConversationId, MessageRef), String>,
    /// Those of them whose sender was told their place in the log.
    placed: BTreeMap<(ConversationId, u64), MessageRef>,
    /// The epoch that each log entry was made in.
    epochs: BTreeMap<(ConversationId, u64), u64>,
    /// Who has blocked whom at any time: what was said meanwhile is kept from them.
    blocked: BTreeSet<(AccountId, AccountId)>,
}

impl Letters {
    /// A device has committed a change of its history.
    pub(crate) fn committed(&mut self, (conversation, change): &HistoryChange) {
        match change {
            Change::Put(message) if message.sequence.is_none() => {
                if let MessageBody::Text { text, .. } = &message.body {
                    self.texts.insert((*conversation, message.reference), text.clone());
                }
            }
            Change::Placed { reference, sequence, .. } if self.texts.contains_key(&(*conversation, *reference)) => {
                self.placed.insert((*conversation, *sequence), *reference);
            }
            _ => {}
        }
    }

    /// Something stands in a log.
    pub(crate) fn logged(&mut self, entry: &v1::LogEntry) {
        if let Ok(id) = ConversationId::try_from(&entry.conversation[..]) {
            self.epochs.insert((id, entry.sequence), entry.epoch);
        }
    }

    /// Whether a device that entered with one entry can open another: it was not sealed before that.
    fn opens(&self, conversation: ConversationId, entered: u64, sequence: u64) -> bool {
        let epoch = |sequence| self.epochs.get(&(conversation, sequence));
        epoch(entered).is_none_or(|entered| epoch(sequence) > Some(entered))
    }

    /// Texts that stand in logs.
    pub(crate) fn placed(&self) -> usize {
        self.placed.len()
    }
}

/// What a person may do about others and in writing.
impl World {
    /// One thing out of many, or nothing.
    pub(crate) fn write(&mut self, device: usize) {
        match self.rng.random_range(0..100) {
            0..50 => self.write_somewhere(device),
            50..58 => self.amend(device),
            58..66 => self.read_or_type(device),
            66..70 => self.make_group(device),
            70..78 => self.change_group(device),
            78..86 => self.change_presence(device),
            86..94 if self.plan.quarrels => self.change_contact(device),
            _ => {}
        }
    }

    /// Lets a person's member do something, and carries out what comes of it. That it can't be done is no mistake.
    fn with_member<T>(&mut self, device: usize, act: impl FnOnce(&mut Member, Ticket, Instant) -> T) {
        let now = self.agenda.now();
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        if let Some(member) = &mut self.devices[device].member {
            member.set_clock(now.unix_ms, now.instant);
            act(member, ticket, now.instant);
        }
        self.drain_member(device);
    }

    fn write_somewhere(&mut self, device: usize) {
        let conversations = self.devices[device].inside();
        if conversations.is_empty() || self.rng.random_bool(0.1) {
            return self.open_pair(device);
        }
        let (conversation, _) = conversations[self.rng.random_range(0..conversations.len())];
        self.letters.written += 1;
        let text = format!("letter {}", self.letters.written);
        self.with_member(device, |member, _, now| member.send(conversation, &text, None, None, now));
    }

    fn open_pair(&mut self, device: usize) {
        if let Some(other) = self.somebody_else(device) {
            self.with_member(device, |member, ticket, now| member.open_pair(other, ticket, now));
        }
    }

    /// Edits, takes back or reacts to a line.
    fn amend(&mut self, device: usize) {
        let of = &self.devices[device].history;
        let lines: Vec<_> = of.conversations().flat_map(|(id, lines)| lines.references(id)).collect();
        if lines.is_empty() {
            return;
        }
        let (conversation, target) = lines[self.rng.random_range(0..lines.len())];
        let roll = self.rng.random_range(0..3);
        self.with_member(device, |member, _, now| match roll {
            0 => member.edit(conversation, target, "another word", None, now),
            1 => member.delete(conversation, target, None, now),
            _ => member.react(conversation, target, Reaction::Set("👍"), None, now),
        });
    }

    fn read_or_type(&mut self, device: usize) {
        let conversations = self.devices[device].inside();
        let types = self.rng.random();
        if let Some((conversation, head)) = conversations.first().copied() {
            self.with_member(device, |member, _, now| {
                if types { member.typing(conversation, true, now) } else { member.mark_read(conversation, head, now) }
            });
        }
    }

    fn make_group(&mut self, device: usize) {
        if self.letters.groups < GROUPS_MAX {
            self.letters.groups += 1;
            let title = format!("group {}", self.letters.groups);
            self.with_member(device, |member, ticket, now| member.create_group(&title, ticket, now));
        }
    }

    fn change_group(&mut self, device: usize) {
        let groups: Vec<_> = self.devices[device].groups();
        let (Some(group), Some(other)) = (groups.first().copied(), self.somebody_else(device)) else { return };
        match self.rng.random_range(0..10) {
            0..6 => self.with_member(device, |member, ticket, now| member.invite(group, vec![other], ticket, now)),
            6 => self.with_member(device, |member, ticket, now| member.remove_member(group, other, ticket, now)),
            7 => self.with_member(device, |member, ticket, now| member.leave(group, ticket, now)),
            _ => self.with_member(device, |member, ticket, now| member.rename(group, "another title", ticket, now)),
        }
    }

    fn change_presence(&mut self, device: usize) {
        let away = self.rng.random();
        if self.rng.random() {
            self.devices[device].away = away;
            return self.with_member(device, |member, _, now| member.set_activity(away, now));
        }
        let choices = [
            v1::Availability::Online,
            v1::Availability::Away,
            v1::Availability::DoNotDisturb,
            v1::Availability::Invisible,
        ];
        let availability = Some(choices[self.rng.random_range(0..choices.len())]);
        let mood = Some(format!("mood {}", self.rng.random_range(0..5)));
        let change = SettingsChange { availability, mood, ..SettingsChange::default() };
        self.with_member(device, |member, ticket, now| member.change_settings(change, ticket, now));
    }

    fn change_contact(&mut self, device: usize) {
        let names = self.names(device);
        let name = names[self.rng.random_range(0..names.len())].clone();
        match self.rng.random_range(0..10) {
            0..3 => self.ask_contact(device, &name),
            3..6 => self.with_member(device, |member, ticket, now| member.answer_contact(&name, true, ticket, now)),
            6 => self.with_member(device, |member, ticket, now| member.answer_contact(&name, false, ticket, now)),
            7 => self.with_member(device, |member, ticket, now| member.remove_contact(&name, ticket, now)),
            8 => {
                let (own, other) = (self.devices[device].identity.account, self.account_of(&name));
                self.letters.blocked.insert((own, other));
                self.with_member(device, |member, ticket, now| member.block(&name, true, ticket, now));
            }
            _ => self.with_member(device, |member, ticket, now| member.block(&name, false, ticket, now)),
        }
    }

    fn ask_contact(&mut self, device: usize, name: &Name) {
        self.with_member(device, |member, ticket, now| member.request_contact(name, "", ticket, now));
    }

    fn somebody_else(&mut self, device: usize) -> Option<AccountId> {
        let names = self.names(device);
        let name = names.get(self.rng.random_range(0..names.len().max(1)))?.clone();
        Some(self.account_of(&name))
    }

    fn account_of(&self, name: &Name) -> AccountId {
        let device = self.devices.iter().find(|device| device.identity.name == *name);
        device.expect("names are those of devices").identity.account
    }
}

impl Device {
    /// Conversations that this device can write to, and how far it has come in each.
    fn inside(&self) -> Vec<(ConversationId, u64)> {
        let summaries = self.member.iter().flat_map(|member| member.conversations());
        let inside = summaries.filter(|summary| summary.standing == ConversationStanding::Inside);
        inside.map(|summary| (summary.conversation, summary.head)).collect()
    }

    fn groups(&self) -> Vec<ConversationId> {
        let summaries = self.member.iter().flat_map(|member| member.conversations());
        let groups = summaries.filter(|summary| {
            summary.standing == ConversationStanding::Inside && matches!(summary.kind, Kind::Group { .. })
        });
        groups.map(|summary| summary.conversation).collect()
    }
}

/// What must have come of it.
impl World {
    /// Everybody becomes everybody's contact again, whatever they did to each other.
    pub(crate) fn make_peace(&mut self) -> Result<(), Finding> {
        for _ in 0..ROUNDS {
            let first_devices: Vec<usize> = (0..self.devices.len()).filter(|at| self.speaks_for_account(*at)).collect();
            for device in first_devices {
                for name in self.names(device) {
                    let state = self.contact_state(device, &name);
                    match state {
                        ContactState::Accepted => {}
                        ContactState::Blocked => {
                            self.with_member(device, |member, ticket, now| member.block(&name, false, ticket, now));
                        }
                        ContactState::Asks => {
                            self.with_member(device, |member, ticket, now| {
                                member.answer_contact(&name, true, ticket, now)
                            });
                        }
                        ContactState::None | ContactState::Asked => self.ask_contact(device, &name),
                    }
                }
            }
            self.pass(ROUND)?;
        }
        self.check_contacts()
    }

    fn speaks_for_account(&self, at: usize) -> bool {
        let device = &self.devices[at];
        let own = device.identity.account;
        !device.is_stranger && self.devices[..at].iter().all(|other| other.identity.account != own)
    }

    fn contact_state(&self, device: usize, name: &Name) -> ContactState {
        let member = self.devices[device].member.as_ref();
        member.and_then(|member| member.contact(name)).map_or(ContactState::None, |contact| contact.state)
    }

    /// All are contacts again, and every device knows.
    fn check_contacts(&self) -> Result<(), Finding> {
        for device in (0..self.devices.len()).filter(|at| !self.devices[*at].is_stranger) {
            for name in self.names(device) {
                let state = self.contact_state(device, &name);
                if state != ContactState::Accepted {
                    let own = self.devices[device].identity.account;
                    let kept = self.fleet.store.contact_state(own, self.account_of(&name));
                    let what = format!("device {device} has {name} as {state:?}, the store as {kept:?}");
                    return Err((Checker::Contacts, what));
                }
            }
        }
        Ok(())
    }

    /// What every device was told of its contacts' presence is what it is.
    pub(crate) fn check_presence(&self) -> Result<(), Finding> {
        for (at, device) in self.devices.iter().enumerate().filter(|(_, device)| !device.is_stranger) {
            let Some(member) = &device.member else { continue };
            for contact in member.contacts().iter().filter(|contact| contact.state == ContactState::Accepted) {
                let (availability, mood) = self.presence_of(contact.person.account);
                let told = &contact.presence;
                let same = told.availability == availability
                    && (availability == v1::Availability::Offline || told.mood == mood);
                if !same {
                    let what = format!("device {at} sees {:?} as {told:?}: {availability:?}, {mood}", contact.person);
                    return Err((Checker::Presence, what));
                }
            }
        }
        Ok(())
    }

    fn presence_of(&self, account: AccountId) -> (v1::Availability, String) {
        let devices = || self.devices.iter().filter(|device| device.identity.account == account && device.is_online());
        let settings = devices().find_map(|device| device.member.as_ref()?.settings());
        let Some(settings) = settings else { return (v1::Availability::Offline, String::new()) };
        let availability = match settings.availability {
            v1::Availability::Invisible => v1::Availability::Offline,
            v1::Availability::Online if devices().any(|device| !device.away) => v1::Availability::Online,
            v1::Availability::Online => v1::Availability::Away,
            set => set,
        };
        (availability, settings.mood)
    }

    /// Waits until nothing is under way, then compares what everybody has.
    pub(crate) fn check_letters(&mut self) -> Result<(), Finding> {
        self.pass(SETTLES_WITHIN)?;
        for conversation in self.letters.placed.keys().map(|(id, _)| *id).collect::<BTreeSet<_>>() {
            self.check_conversation(conversation)?;
        }
        for (at, device) in self.devices.iter().enumerate().filter(|(_, device)| !device.is_stranger) {
            for (conversation, _) in device.inside() {
                let waiting = device.history.of(conversation).map_or(0, |lines| lines.waiting());
                if waiting > 0 {
                    let what = format!("{waiting} letters of device {at} in {conversation} wait in calm weather");
                    return Err((Checker::NothingLost, what));
                }
            }
        }
        Ok(())
    }

    fn check_conversation(&mut self, conversation: ConversationId) -> Result<(), Finding> {
        let members = self.members_since(conversation);
        let mut agreed: BTreeMap<u64, MessageRef> = BTreeMap::new();
        for at in 0..self.devices.len() {
            let Some(lines) = self.devices[at].history.of(conversation) else { continue };
            let mut last: BTreeMap<DeviceId, u64> = BTreeMap::new();
            for (sequence, message) in lines.placed() {
                let reference = message.reference;
                if *agreed.entry(sequence).or_insert(reference) != reference {
                    let what = format!("entry {sequence} of {conversation} is another on device {at}");
                    return Err((Checker::NothingTwice, what));
                }
                let before = last.insert(reference.device, reference.number).unwrap_or_default();
                if before >= reference.number {
                    let what = format!("{reference:?} of {conversation} comes after {before} on device {at}");
                    return Err((Checker::Order, what));
                }
            }
            let account = self.devices[at].identity.account;
            let Some(since) = members.get(&account) else { continue };
            if self.devices[at].inside().iter().any(|(id, _)| *id == conversation) {
                self.check_complete(conversation, at, *since)?;
            }
        }
        Ok(())
    }

    /// A device that is in a group has every letter since it entered, but those that were sealed before, and those of people
    /// whom its owner has blocked.
    fn check_complete(&self, conversation: ConversationId, at: usize, since: u64) -> Result<(), Finding> {
        let device = &self.devices[at];
        let Some(lines) = device.history.of(conversation) else { return Ok(()) };
        let after = since.max(lines.complete_after());
        let placed = lines.placed();
        let expected = self.letters.placed.range((conversation, after + 1)..=(conversation, u64::MAX));
        for ((_, sequence), reference) in expected {
            let sender = self.devices.iter().find(|other| other.identity.device == reference.device);
            let Some(sender) = sender.map(|sender| sender.identity.account) else { continue };
            let kept_from = self.letters.blocked.contains(&(device.identity.account, sender));
            if kept_from || !self.letters.opens(conversation, after, *sequence) {
                continue;
            }
            if placed.get(sequence).is_none_or(|message| message.reference != *reference) {
                let what = format!("entry {sequence} of {conversation}, {reference:?}, is missing on device {at}");
                return Err((Checker::NothingLost, what));
            }
        }
        Ok(())
    }

    /// The members of a conversation, and the entry that made them such.
    fn members_since(&mut self, conversation: ConversationId) -> BTreeMap<AccountId, u64> {
        let accounts: BTreeSet<_> = self.devices.iter().map(|device| device.identity.account).collect();
        for account in accounts {
            if let Answer::Members(members) = self.fleet.store.answer(Question::FetchMembers { account, conversation })
            {
                let since = |member: v1::Member| Some((AccountId::try_from(&member.account[..]).ok()?, member.since));
                return members.members.into_iter().filter_map(since).collect();
            }
        }
        BTreeMap::new()
    }
}
