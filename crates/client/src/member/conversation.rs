//! One conversation as this device keeps it.
//!
//! What lasts is in four places: the [`Record`] (cursor and epoch, small, written with every entry), the [`Roll`] (who
//! and what it is called, written when that changes), the values of the MLS group, and the queue of messages that are
//! not in the log yet. All of them change by batches of the outbox only.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ahoy_proto::limits::GROUP_MEMBERS_MAX;
use ahoy_proto::{AccountId, ConversationId, DeviceId, v1};
use serde::{Deserialize, Serialize};

use crate::mls::{Group, Leaf, Mls, MlsError, PAST_EPOCHS, Snapshot, Unsealed, Values, epoch_of, group_id};

use super::changes::{Change, Wish};
use super::event::{Refusal, Summary};
use super::making::Purpose;
use super::outbox::Outbox;
use super::queue::{QUEUE_PREFIX, Queue, SEALED_PREFIX, number_of};

pub(super) const RECORD_PREFIX: &[u8] = b"conversation/";
pub(super) const ROLL_PREFIX: &[u8] = b"roll/";
pub(super) const GROUP_PREFIX: &[u8] = b"group/";

/// A conversation of this device's account.
pub(super) struct Conversation {
    pub(super) id: ConversationId,
    pub(super) record: Record,
    pub(super) roll: Roll,
    /// The group in its present epoch; `None` while this device is not in it.
    snapshot: Option<Snapshot>,
    /// The group as it was in epochs before, whose messages may still come; oldest first.
    past: VecDeque<(u64, Snapshot)>,
    /// Messages of this device that are not in the log yet, as far as it knows.
    pub(super) queue: Queue,
    /// A Welcome that waits until it is known who should be in the group.
    pub(super) welcome: Option<Box<v1::InboxEntry>>,
    /// The supernode has spoken of it in this session.
    pub(super) listed: bool,
    /// The members are to be asked for: not known, or not all of their names and keys.
    pub(super) members_due: bool,
    /// Newest log entry that the supernode spoke of.
    pub(super) known_head: u64,
    /// The same when the log was last asked for: what was told since may not be in the answer.
    pub(super) asked_head: u64,
    /// Number of this device's last message that was seen in the log since the session came up: a list of conversations may be older
    /// than an answer that came before it.
    pub(super) in_log: u64,
    /// Something was seen that the log may explain.
    pub(super) doubt: bool,
    pub(super) sync: Sync,
    /// Attempts to get in or up to date that failed since the session came up.
    pub(super) failures: u32,
    /// Times that the group's state was of no use since the session came up.
    pub(super) losses: u32,
    /// How often the inbox had been read when this device was first seen to be outside; `None`: it is inside, or nobody has looked.
    pub(super) outside_since: Option<u64>,
    /// Set when this device gave up on the group until the next session, or until a key is accepted.
    pub(super) refused: Option<Refusal>,
    /// Changes that the owner of this device wants, oldest first; they end with the session.
    pub(super) wishes: VecDeque<Wish>,
    /// Leaves that stand for nobody are removed without waiting for others to do it.
    pub(super) sweep_now: bool,
    /// What waits until it can be used.
    pub(super) awaiting: Vec<Purpose>,
    /// Newest serial of receipts that the supernode spoke of.
    pub(super) receipts_known: u64,
    /// As it was told last.
    pub(super) told: Option<Summary>,
}

/// What is persisted beside the group itself, with every entry of the log.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) generation: u32,
    pub(super) epoch: u64,
    /// Last log entry taken in.
    pub(super) head: u64,
    /// `None` until the supernode has said.
    pub(super) kind: Option<KindRecord>,
    /// Number of this device's last message, sent or not.
    pub(super) last: u64,
    /// How far this account has read.
    pub(super) read: u64,
    /// Serial of the last receipt taken in.
    pub(super) receipts_serial: u64,
    /// How far each other account has received and read, on the furthest of its devices: of a pair or a small group.
    #[serde(default)]
    pub(super) receipts: Vec<(AccountId, u64, u64)>,
    /// There is something to tell of what was received and read.
    pub(super) receipt_owed: bool,
    /// SHA-256 of the commit of this device that may be in the log.
    pub(super) pending: Option<[u8; 32]>,
    /// Voice secrets of the present epoch and a few before it, oldest first.
    pub(super) voice: VecDeque<(u64, [u8; 32])>,
}

impl Record {
    /// Keeps how far a device of an account has come; gives how far the furthest has.
    pub(super) fn receive(&mut self, account: AccountId, delivered: u64, read: u64) -> (u64, u64) {
        if let Some((_, so_far, seen)) = self.receipts.iter_mut().find(|(of, ..)| *of == account) {
            (*so_far, *seen) = ((*so_far).max(delivered), (*seen).max(read));
            return (*so_far, *seen);
        }
        // Bounded by the accounts that may be in a group.
        if self.receipts.len() < GROUP_MEMBERS_MAX {
            self.receipts.push((account, delivered, read));
        }
        (delivered, read)
    }
}

/// With whom a conversation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum KindRecord {
    Pair(AccountId),
    Group,
}

/// Who is in a conversation, and what it is called.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Roll {
    /// The epoch of `leaves`.
    pub(super) epoch: u64,
    /// Devices in the group.
    pub(super) leaves: Vec<(AccountId, DeviceId)>,
    /// Accounts in a group, by how long they have been: the first is its owner. Empty: not known.
    pub(super) members: Vec<AccountId>,
    /// What a group is called; empty: not known.
    pub(super) title: String,
    /// The log entry that said so.
    pub(super) title_at: u64,
}

/// How far getting up to date has come.
pub(super) enum Sync {
    /// Nothing under way.
    Idle,
    /// Waits for its timer after a failure.
    Waiting,
    /// The list, the members, the log or the GroupInfo has been asked for.
    Asking,
    /// An external commit is with the supernode; this takes effect when it is accepted.
    Entering(Box<Staged>),
    /// A commit of this device, a member, is with the supernode. The group holds it as pending.
    Committing(Change),
}

/// A group state that takes effect once the supernode has accepted it.
pub(super) struct Staged {
    pub(super) record: Record,
    pub(super) snapshot: Snapshot,
    pub(super) leaves: Vec<(AccountId, DeviceId)>,
}

impl Conversation {
    /// One that this device is not in yet.
    pub(super) fn outside(id: ConversationId, generation: u32, kind: Option<KindRecord>) -> Self {
        Self {
            id,
            record: Record { generation, kind, ..Record::default() },
            roll: Roll::default(),
            snapshot: None,
            past: VecDeque::new(),
            queue: Queue::default(),
            welcome: None,
            listed: false,
            members_due: true,
            known_head: 0,
            asked_head: 0,
            in_log: 0,
            doubt: false,
            sync: Sync::Idle,
            failures: 0,
            losses: 0,
            outside_since: None,
            refused: None,
            wishes: VecDeque::new(),
            sweep_now: false,
            awaiting: Vec::new(),
            receipts_known: 0,
            told: None,
        }
    }

    /// As persisted.
    pub(super) fn restored(id: ConversationId, record: Record) -> Self {
        let known_head = record.head;
        Self { record, known_head, ..Self::outside(id, 0, None) }
    }

    /// Takes over the persisted roll. One that can't be read is asked for again.
    fn restore_roll(&mut self, value: &[u8]) {
        if let Ok(roll) = serde_json::from_slice(value) {
            self.roll = roll;
            self.members_due = false;
        }
    }

    /// Takes over one persisted value of the group in one of its epochs. They come in the order of their keys.
    fn restore_value(&mut self, rest: &[u8], value: Vec<u8>) {
        let Some((epoch, place)) = rest.split_first_chunk::<8>() else { return };
        let epoch = u64::from_be_bytes(*epoch);
        let snapshot = if epoch == self.record.epoch {
            self.snapshot.get_or_insert_with(Snapshot::default)
        } else {
            if self.past.back().is_none_or(|(last, _)| *last != epoch) {
                self.past.push_back((epoch, Snapshot::default()));
            }
            let Some((_, snapshot)) = self.past.back_mut() else { return };
            snapshot
        };
        snapshot.values.insert(place.to_vec(), value);
    }

    /// Whether this device is in the group.
    pub(super) fn is_inside(&self) -> bool {
        self.snapshot.is_some()
    }

    /// Whether this device is in the group and has taken in all that it knows of.
    pub(super) fn is_current(&self) -> bool {
        self.is_inside()
            && self.record.kind.is_some()
            && !self.members_due
            && !self.is_behind()
            && !self.doubt
            && matches!(self.sync, Sync::Idle)
    }

    /// Whether it is known who is in the group in its present epoch.
    pub(super) fn knows_leaves(&self) -> bool {
        !self.roll.leaves.is_empty() && self.roll.epoch == self.record.epoch
    }

    /// Whether the supernode spoke of entries that this device has not taken in.
    pub(super) fn is_behind(&self) -> bool {
        self.known_head > self.record.head
    }

    /// The other account of a one-to-one conversation.
    pub(super) fn peer(&self) -> Option<AccountId> {
        match self.record.kind {
            Some(KindRecord::Pair(peer)) => Some(peer),
            Some(KindRecord::Group) | None => None,
        }
    }

    pub(super) fn is_group(&self) -> bool {
        self.record.kind == Some(KindRecord::Group)
    }

    /// All accounts in it, the owner of a group first.
    pub(super) fn members(&self, own: AccountId) -> Vec<AccountId> {
        match self.record.kind {
            Some(KindRecord::Pair(peer)) => vec![own, peer],
            Some(KindRecord::Group) | None => self.roll.members.clone(),
        }
    }

    /// Devices in the group that stand for nobody: of accounts that are no members any more, or that `own` (this device's
    /// account and its devices, if they are known) has no more.
    pub(super) fn strangers(&self, account: AccountId, gone: &BTreeSet<DeviceId>) -> Vec<DeviceId> {
        if self.is_group() && self.roll.members.is_empty() {
            return Vec::new();
        }
        let members = self.members(account);
        let is_stranger =
            |of: &AccountId, device: &DeviceId| !members.contains(of) || (*of == account && gone.contains(device));
        let strangers = self.roll.leaves.iter().filter(|(of, device)| is_stranger(of, device));
        strangers.map(|(_, device)| *device).collect()
    }

    /// Opens a transaction on the group.
    pub(super) fn group<'a>(&self, mls: &'a Mls) -> Result<Group<'a>, MlsError> {
        let snapshot = self.snapshot.as_ref().ok_or(MlsError::NoGroup)?;
        Group::open(mls, &group_id(self.id, self.record.generation), snapshot)
    }

    /// Opens an application message of the present epoch or of one not too long ago. What opens is used up: it does so once.
    pub(super) fn unseal(&mut self, mls: &Mls, bytes: &[u8], outbox: &mut Outbox) -> Result<Unsealed, MlsError> {
        let epoch = epoch_of(bytes)?;
        let Some(at) = self.past.iter().position(|(past, _)| *past == epoch) else {
            let mut group = self.group(mls)?;
            let unsealed = group.unseal(bytes)?;
            self.keep(group, outbox);
            return Ok(unsealed);
        };
        let mut group = Group::open(mls, &group_id(self.id, self.record.generation), &self.past[at].1)?;
        let unsealed = group.unseal(bytes)?;
        let (prefix, kept) = (self.prefix(epoch), group.close());
        outbox.write_values(&prefix, &self.past[at].1.values, &kept.values);
        self.past[at].1 = kept;
        Ok(unsealed)
    }

    /// The voice secret of an epoch that is not too long ago.
    pub(super) fn voice_secret(&self, epoch: u64) -> Option<&[u8; 32]> {
        self.record.voice.iter().find(|(at, _)| *at == epoch).map(|(_, secret)| secret)
    }

    /// Keeps what a transaction that stayed in its epoch left behind.
    pub(super) fn keep(&mut self, group: Group<'_>, outbox: &mut Outbox) {
        self.put(group.close(), outbox);
    }

    /// Takes a new state of the group, and keeps the one before for a while.
    pub(super) fn adopt(&mut self, staged: Staged, outbox: &mut Outbox) {
        if let Some(before) = self.snapshot.take() {
            self.past.push_back((self.record.epoch, before));
        }
        while self.past.len() > PAST_EPOCHS {
            self.drop_oldest(outbox);
        }
        self.outside_since = None;
        self.record = staged.record;
        self.known_head = self.known_head.max(self.record.head);
        self.refused = None;
        self.failures = 0;
        self.roll.leaves = staged.leaves;
        self.roll.epoch = self.record.epoch;
        self.put(staged.snapshot, outbox);
        self.write_record(outbox);
        self.write_roll(outbox);
    }

    /// Marks log entries as taken in.
    pub(super) fn pass(&mut self, head: u64, outbox: &mut Outbox) {
        self.record.head = head;
        self.known_head = self.known_head.max(head);
        self.write_record(outbox);
    }

    /// Forgets the group, to enter it (or its successor) anew. What was said and queued stays.
    pub(super) fn fall_out(&mut self, generation: u32, outbox: &mut Outbox) {
        self.drop_group(outbox);
        self.known_head = 0;
        self.doubt = false;
        self.members_due = true;
        self.record =
            Record { generation, epoch: 0, head: 0, pending: None, voice: VecDeque::new(), ..self.record.clone() };
        self.roll.leaves.clear();
        self.queue.unseal(self.id, outbox);
        self.write_record(outbox);
        self.write_roll(outbox);
    }

    /// Forgets everything: this account is not in it any more.
    pub(super) fn erase(&mut self, outbox: &mut Outbox) {
        self.drop_group(outbox);
        self.queue.erase(self.id, outbox);
        outbox.remove([RECORD_PREFIX, &self.id.0].concat());
        outbox.remove([ROLL_PREFIX, &self.id.0].concat());
    }

    fn drop_group(&mut self, outbox: &mut Outbox) {
        while !self.past.is_empty() {
            self.drop_oldest(outbox);
        }
        self.put(Snapshot::default(), outbox);
        self.snapshot = None;
    }

    fn drop_oldest(&mut self, outbox: &mut Outbox) {
        if let Some((epoch, snapshot)) = self.past.pop_front() {
            outbox.write_values(&self.prefix(epoch), &snapshot.values, &Values::new());
        }
    }

    fn put(&mut self, snapshot: Snapshot, outbox: &mut Outbox) {
        let old = self.snapshot.take().unwrap_or_default();
        outbox.write_values(&self.prefix(self.record.epoch), &old.values, &snapshot.values);
        self.snapshot = Some(snapshot);
    }

    /// What the keys of the group's values in an epoch begin with.
    fn prefix(&self, epoch: u64) -> Vec<u8> {
        [GROUP_PREFIX, &self.id.0, &epoch.to_be_bytes()].concat()
    }

    pub(super) fn write_record(&self, outbox: &mut Outbox) {
        outbox.write([RECORD_PREFIX, &self.id.0].concat(), &self.record);
    }

    pub(super) fn write_roll(&self, outbox: &mut Outbox) {
        outbox.write([ROLL_PREFIX, &self.id.0].concat(), &self.roll);
    }
}

impl Staged {
    /// What a group of these leaves comes to in a new epoch; `before` is the record up to it, `head` the log entry that led
    /// there.
    pub(super) fn of(group: Group<'_>, leaves: &[Leaf], before: &Record, head: u64) -> Result<Self, MlsError> {
        let leaves = leaves.iter().map(|leaf| (leaf.account, leaf.device)).collect();
        let mut voice = before.voice.clone();
        voice.push_back((group.epoch(), group.voice_secret()?));
        while voice.len() > PAST_EPOCHS + 1 {
            voice.pop_front();
        }
        let record = Record { epoch: group.epoch(), head, pending: None, voice, ..before.clone() };
        Ok(Self { record, snapshot: group.close(), leaves })
    }
}

/// Whether a persisted pair is a part of a conversation beside its record.
pub(super) fn is_part(key: &[u8]) -> bool {
    [ROLL_PREFIX, GROUP_PREFIX, QUEUE_PREFIX, SEALED_PREFIX].into_iter().any(|prefix| key.starts_with(prefix))
}

/// Takes over one persisted part. One whose record is gone is removed: it must not come up under another record.
pub(super) fn restore_part(
    records: &mut BTreeMap<ConversationId, Conversation>,
    key: Vec<u8>,
    value: Vec<u8>,
    outbox: &mut Outbox,
) {
    let rest = |prefix: &[u8]| key.strip_prefix(prefix);
    let id =
        rest(ROLL_PREFIX).or_else(|| rest(GROUP_PREFIX)).or_else(|| rest(QUEUE_PREFIX)).or_else(|| rest(SEALED_PREFIX));
    let id = id.and_then(|rest| rest.get(..16)).and_then(|id| ConversationId::try_from(id).ok());
    let Some(conversation) = id.and_then(|id| records.get_mut(&id)) else { return outbox.remove(key) };
    if key.starts_with(ROLL_PREFIX) {
        conversation.restore_roll(&value);
    } else if let Some(rest) = rest(GROUP_PREFIX) {
        conversation.restore_value(&rest[16..], value);
    } else if let Some(number) = rest(QUEUE_PREFIX).and_then(number_of) {
        conversation.queue.restore(number, &value);
    } else if let Some(number) = rest(SEALED_PREFIX).and_then(number_of) {
        conversation.queue.restore_sealed(number, &value);
    }
}
