//! One conversation as this device keeps it, and who may stand in its group.

use std::collections::VecDeque;

use ahoy_proto::{AccountId, ConversationId, DeviceId};
use serde::{Deserialize, Serialize};

use crate::mls::{Change, Group, Leaf, Mls, MlsError, PAST_EPOCHS, Values, group_id};

use super::Identity;
use super::event::Refusal;
use super::outbox::Outbox;
use super::people::{People, Standing};

pub(super) const RECORD_PREFIX: &[u8] = b"conversation/";
pub(super) const GROUP_PREFIX: &[u8] = b"group/";

/// A conversation of this device's account.
pub(super) struct Conversation {
    pub(super) id: ConversationId,
    pub(super) record: Record,
    /// What openmls stores of the group; `None` while this device is not in it.
    values: Option<Values>,
    /// Newest log entry that the supernode spoke of.
    pub(super) known_head: u64,
    /// Something was seen that the log may explain.
    pub(super) doubt: bool,
    pub(super) sync: Sync,
    /// Attempts to get in or up to date that failed since the session came up.
    pub(super) failures: u32,
    /// Set when this device gave up on the group until the next session, or until a key is accepted.
    pub(super) refused: Option<Refusal>,
}

/// What is persisted beside the group itself.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) generation: u32,
    pub(super) epoch: u64,
    /// Last log entry taken in.
    pub(super) head: u64,
    /// The other account; `None` as long as none of its devices has been seen.
    pub(super) peer: Option<AccountId>,
    /// Voice secrets of the present epoch and a few before it, oldest first.
    voice: VecDeque<(u64, [u8; 32])>,
}

/// How far getting up to date has come.
pub(super) enum Sync {
    /// Nothing under way.
    Idle,
    /// Waits for its timer after a failure.
    Waiting,
    /// The log or the GroupInfo has been asked for.
    Asking,
    /// An external commit is with the supernode; this takes effect when it is accepted.
    Entering(Box<Staged>),
}

/// A group state that takes effect once the supernode has accepted it.
pub(super) struct Staged {
    pub(super) record: Record,
    pub(super) values: Values,
}

/// Why a group, or a change of it, is not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Distrust {
    /// A device of a pinned account shows another account key.
    KeyChanged(AccountId, [u8; 32]),
    /// An account that is no member, a device twice, a removal that is not the committer's business.
    Rules,
}

impl Conversation {
    /// One that this device is not in yet.
    pub(super) fn outside(id: ConversationId, generation: u32, peer: Option<AccountId>) -> Self {
        Self {
            id,
            record: Record::outside(generation, peer),
            values: None,
            known_head: 0,
            doubt: false,
            sync: Sync::Idle,
            failures: 0,
            refused: None,
        }
    }

    /// As persisted.
    pub(super) fn restored(id: ConversationId, record: Record) -> Self {
        let known_head = record.head;
        Self { record, known_head, ..Self::outside(id, 0, None) }
    }

    /// Takes over one persisted value of the group.
    pub(super) fn restore_value(&mut self, key: &[u8], value: Vec<u8>) {
        self.values.get_or_insert_with(Values::new).insert(key.to_vec(), value);
    }

    /// Whether this device is in the group.
    pub(super) fn is_inside(&self) -> bool {
        self.values.is_some()
    }

    /// Whether this device is in the group and has taken in all that it knows of.
    pub(super) fn is_current(&self) -> bool {
        self.is_inside() && !self.is_behind() && !self.doubt && matches!(self.sync, Sync::Idle)
    }

    /// Whether the supernode spoke of entries that this device has not taken in.
    pub(super) fn is_behind(&self) -> bool {
        self.known_head > self.record.head
    }

    /// Opens a transaction on the group.
    pub(super) fn group<'a>(&self, mls: &'a Mls) -> Result<Group<'a>, MlsError> {
        let values = self.values.as_ref().ok_or(MlsError::NoGroup)?;
        Group::open(mls, &group_id(self.id, self.record.generation), values)
    }

    /// The voice secret of an epoch that is not too long ago.
    pub(super) fn voice_secret(&self, epoch: u64) -> Option<&[u8; 32]> {
        self.record.voice.iter().find(|(at, _)| *at == epoch).map(|(_, secret)| secret)
    }

    /// Keeps what a transaction that stayed in its epoch left behind.
    pub(super) fn keep(&mut self, group: Group<'_>, outbox: &mut Outbox) {
        self.put(group.close(), outbox);
    }

    /// Takes a new state of the group.
    pub(super) fn adopt(&mut self, staged: Staged, outbox: &mut Outbox) {
        self.record = staged.record;
        self.known_head = self.known_head.max(self.record.head);
        self.refused = None;
        self.failures = 0;
        self.put(staged.values, outbox);
        self.write_record(outbox);
    }

    /// Marks log entries as taken in.
    pub(super) fn pass(&mut self, head: u64, outbox: &mut Outbox) {
        self.record.head = head;
        self.known_head = self.known_head.max(head);
        self.write_record(outbox);
    }

    /// Forgets the group, to enter it (or its successor) anew.
    pub(super) fn leave(&mut self, generation: u32, outbox: &mut Outbox) {
        self.put(Values::new(), outbox);
        self.values = None;
        self.known_head = 0;
        self.doubt = false;
        self.record = Record::outside(generation, self.record.peer);
        outbox.remove([RECORD_PREFIX, &self.id.0].concat());
    }

    fn put(&mut self, values: Values, outbox: &mut Outbox) {
        let prefix = [GROUP_PREFIX, &self.id.0].concat();
        let old = self.values.take().unwrap_or_default();
        outbox.write_values(&prefix, &old, &values);
        self.values = Some(values);
    }

    fn write_record(&self, outbox: &mut Outbox) {
        outbox.write([RECORD_PREFIX, &self.id.0].concat(), &self.record);
    }
}

impl Record {
    /// Before this device is in the group.
    pub(super) fn outside(generation: u32, peer: Option<AccountId>) -> Self {
        Self { generation, peer, ..Self::default() }
    }

    /// The record of a group in a new epoch.
    pub(super) fn of(group: &Group<'_>, before: &Self, peer: Option<AccountId>, head: u64) -> Result<Self, MlsError> {
        let mut voice = before.voice.clone();
        voice.push_back((group.epoch(), group.voice_secret()?));
        while voice.len() > PAST_EPOCHS + 1 {
            voice.pop_front();
        }
        Ok(Self { generation: before.generation, epoch: group.epoch(), head, peer, voice })
    }
}

/// Checks everybody in a one-to-one group: this device, other devices of its account, and devices of one other
/// account, all under the account keys that are to be theirs. Gives the other account.
pub(super) fn vet(
    leaves: &[Leaf],
    own: &Identity,
    peer: Option<AccountId>,
    people: &People,
) -> Result<Option<AccountId>, Distrust> {
    let mut peer = peer;
    let mut peer_key = None;
    let mut devices: Vec<DeviceId> = Vec::with_capacity(leaves.len());
    for leaf in leaves {
        if devices.contains(&leaf.device) {
            return Err(Distrust::Rules);
        }
        devices.push(leaf.device);
        if leaf.account == own.account {
            if leaf.account_key != own.account_key {
                return Err(Distrust::Rules);
            }
            continue;
        }
        if *peer.get_or_insert(leaf.account) != leaf.account {
            return Err(Distrust::Rules);
        }
        match people.standing(leaf.account, &leaf.account_key) {
            Standing::Pinned => {}
            Standing::Changed => return Err(Distrust::KeyChanged(leaf.account, leaf.account_key)),
            Standing::Unknown if *peer_key.get_or_insert(leaf.account_key) == leaf.account_key => {}
            Standing::Unknown => return Err(Distrust::Rules),
        }
    }
    if devices.contains(&own.device) { Ok(peer) } else { Err(Distrust::Rules) }
}

/// Checks what a commit did: an external commit adds its maker and removes at most that device's old leaf; a member's
/// commit removes devices of its own account only.
pub(super) fn vet_change(change: &Change) -> Result<(), Distrust> {
    let own_leaf = |leaf: &Leaf| leaf.account == change.by.account && leaf.device == change.by.device;
    let fair = if change.external {
        change.added.iter().all(own_leaf) && change.removed.iter().all(own_leaf)
    } else {
        change.removed.iter().all(|leaf| leaf.account == change.by.account)
    };
    if fair { Ok(()) } else { Err(Distrust::Rules) }
}
