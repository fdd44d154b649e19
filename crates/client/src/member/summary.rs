//! Conversations as they are told: in lists, and by events when something about them changes.

use std::collections::BTreeSet;

use ahoy_proto::{AccountId, ConversationId, DeviceId};
use serde::{Deserialize, Serialize};

use super::Member;
use super::conversation::{Conversation, KindRecord};
use super::event::{ConversationStanding, Event, Kind, MemberOf, Person, Summary};

pub(super) const DEVICES_KEY: &[u8] = b"own-devices";

/// Devices of this account that were seen in groups: those of years.
const SEEN_DEVICES_MAX: usize = 256;

/// Devices of this account that its owner has been told of.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct SeenDevices(BTreeSet<DeviceId>);

impl Member {
    /// All conversations of this account that are known here.
    pub fn conversations(&self) -> Vec<Summary> {
        self.conversations.values().filter_map(|entry| self.summary(entry)).collect()
    }

    /// Who is in a conversation: the owner of a group first, then by how long they have been. Empty when it is not known.
    pub fn members(&self, conversation: ConversationId) -> Vec<MemberOf> {
        let Some(entry) = self.conversations.get(&conversation) else { return Vec::new() };
        let member = |(at, account): (usize, AccountId)| MemberOf {
            account,
            person: self.person(account),
            is_owner: at == 0 && entry.is_group(),
            devices: entry.roll.leaves.iter().filter(|(of, _)| *of == account).count(),
        };
        entry.members(self.identity.account).into_iter().enumerate().map(member).collect()
    }

    /// Somebody whose key is pinned, or this account itself.
    pub(super) fn person(&self, account: AccountId) -> Option<Person> {
        if account == self.identity.account {
            return Some(Person { account, name: self.identity.name.clone() });
        }
        self.people.pin(account).map(|pin| Person { account, name: pin.name.clone() })
    }

    fn summary(&self, entry: &Conversation) -> Option<Summary> {
        let kind = match entry.record.kind? {
            KindRecord::Pair(peer) => Kind::Pair(peer, self.person(peer)),
            KindRecord::Group => Kind::Group { title: entry.roll.title.clone() },
        };
        let standing = match &entry.refused {
            Some(why) => ConversationStanding::Refused(why.clone()),
            None if entry.is_inside() => ConversationStanding::Inside,
            None => ConversationStanding::Joining,
        };
        Some(Summary {
            conversation: entry.id,
            kind,
            standing,
            members: entry.members(self.identity.account).len(),
            head: entry.record.head,
            read: entry.record.read,
        })
    }

    /// Tells of conversations that are otherwise than they were told last. How long their log is does not count: the
    /// history tells.
    pub(super) fn tell_summaries(&mut self) {
        for id in std::mem::take(&mut self.touched) {
            self.tell_devices(id);
            let Some(entry) = self.conversations.get(&id) else { continue };
            let Some(summary) = self.summary(entry) else { continue };
            let same =
                entry.told.as_ref().is_some_and(|told| Summary { head: summary.head, ..told.clone() } == summary);
            if same {
                continue;
            }
            if let Some(entry) = self.conversations.get_mut(&id) {
                entry.told = Some(summary.clone());
            }
            self.outbox.event(Event::Conversation(summary));
        }
    }

    /// Takes note of this account's devices that its owner knows.
    fn see_devices(&mut self, devices: impl IntoIterator<Item = DeviceId>) {
        let before = self.seen.0.len();
        self.seen.0.extend(devices);
        if self.seen.0.len() != before {
            self.outbox.write(DEVICES_KEY.to_vec(), &self.seen);
        }
    }

    /// Takes the devices that this account has for known, where none have been seen before.
    pub(super) fn see_first_devices(&mut self, devices: &BTreeSet<DeviceId>) {
        if self.seen.0.is_empty() {
            self.see_devices(devices.iter().copied());
        }
    }

    /// Tells of devices of this account that stand in a group and were not known, once the supernode has listed them: leaves of devices
    /// that were revoked before this one came stand in groups too.
    fn tell_devices(&mut self, id: ConversationId) {
        let (own, this) = (self.identity.account, self.identity.device);
        let Some(entry) = self.conversations.get(&id) else { return };
        let ours = entry.roll.leaves.iter().filter(|(account, device)| *account == own && *device != this);
        let is_new = |device: &DeviceId| !self.seen.0.contains(device) && self.devices.is_listed(*device);
        let new: Vec<DeviceId> = ours.map(|(_, device)| *device).filter(is_new).collect();
        // The first time all devices are new.
        let first = self.seen.0.is_empty();
        if new.is_empty() || self.seen.0.len() >= SEEN_DEVICES_MAX {
            return;
        }
        self.see_devices(new.iter().copied().chain([this]));
        if !first {
            for device in new {
                self.outbox.event(Event::NewOwnDevice { device });
            }
        }
    }
}
