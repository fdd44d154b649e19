//! Conversations: members, epochs, the log with everybody's cursors, and receipts.

use std::collections::{BTreeMap, BTreeSet};

use ahoy_proto::{AccountId, ConversationId, DeviceId, limits, v1};
use bytes::Bytes;

use super::contacts::Contacts;
use super::{Accounts, Devices, page};
use crate::{Answer, Commit, Delivery, Question, Welcoming};

/// The only generation that a conversation has here.
const GENERATION: u32 = 1;

#[derive(Debug, Clone, Default)]
pub(super) struct Conversations {
    all: BTreeMap<ConversationId, Conversation>,
    /// Bytes of kept messages, by the account that sent them.
    mailboxes: BTreeMap<AccountId, u64>,
}

#[derive(Debug, Clone)]
struct Conversation {
    /// Of two accounts, for good.
    one_to_one: bool,
    /// The log entry that each became a member with.
    members: BTreeMap<AccountId, u64>,
    epoch: u64,
    group_info: Bytes,
    head: u64,
    log: Vec<v1::LogEntry>,
    /// Devices that stand in the group.
    cursors: BTreeMap<DeviceId, Cursor>,
    /// The numbers of the last messages of devices that stood there before.
    numbers: BTreeMap<DeviceId, u64>,
    receipts: BTreeMap<DeviceId, v1::Receipt>,
    receipts_serial: u64,
}

#[derive(Debug, Clone)]
struct Cursor {
    account: AccountId,
    acknowledged: u64,
    /// The number of its last message in the log.
    sent: u64,
}

/// A message that is to be appended.
struct NewMessage {
    account: AccountId,
    device: DeviceId,
    number: u64,
    generation: u32,
    epoch: u64,
    sealed: Bytes,
    at_ms: u64,
}

/// A conversation that is to be made.
struct NewConversation {
    account: AccountId,
    device: DeviceId,
    id: ConversationId,
    peer: Option<AccountId>,
    epoch: u64,
    group_info: Bytes,
    welcomes: Vec<Welcoming>,
}

/// What tests put in and look at.
impl Conversations {
    pub(super) fn add(&mut self, id: ConversationId, members: [AccountId; 2], devices: BTreeMap<DeviceId, AccountId>) {
        let mut made = Conversation::new(true, members, 1, Bytes::from_static(b"group info"));
        made.enter(devices);
        self.all.insert(id, made);
    }

    pub(super) fn log(&self, id: ConversationId) -> &[v1::LogEntry] {
        self.all.get(&id).map_or(&[], |conversation| &conversation.log)
    }

    pub(super) fn head(&self, id: ConversationId) -> Option<u64> {
        self.all.get(&id).map(|conversation| conversation.head)
    }

    pub(super) fn cursor(&self, id: ConversationId, device: DeviceId) -> Option<(u64, u64)> {
        let cursor = self.all.get(&id)?.cursors.get(&device)?;
        Some((cursor.acknowledged, cursor.sent))
    }

    pub(super) fn of(&self, account: AccountId) -> Vec<ConversationId> {
        let of = self.all.iter().filter(|(_, conversation)| conversation.members.contains_key(&account));
        of.map(|(id, _)| *id).collect()
    }

    /// All members, for one of them.
    pub(super) fn members(&self, account: AccountId, id: ConversationId) -> Option<Vec<AccountId>> {
        Some(self.of_member(account, id)?.member_ids())
    }

    pub(super) fn forget_device(&mut self, device: DeviceId) {
        for conversation in self.all.values_mut() {
            conversation.cursors.remove(&device);
            conversation.numbers.remove(&device);
            conversation.receipts.remove(&device);
            conversation.trim(&mut self.mailboxes);
        }
    }

    /// Forgets entries made before a moment.
    pub(super) fn expire(&mut self, before_ms: u64) {
        for conversation in self.all.values_mut() {
            conversation.forget(|entry| entry.at_ms < before_ms, &mut self.mailboxes);
        }
    }
}

/// Verbs.
impl Conversations {
    pub(super) fn acknowledge(&mut self, device: DeviceId, logs: &[(ConversationId, u64)]) {
        for (id, sequence) in logs {
            let Some(conversation) = self.all.get_mut(id) else { continue };
            let head = conversation.head;
            let Some(cursor) = conversation.cursors.get_mut(&device) else { continue };
            cursor.acknowledged = cursor.acknowledged.max((*sequence).min(head));
            conversation.trim(&mut self.mailboxes);
        }
    }

    pub(super) fn answer(
        &mut self,
        accounts: &Accounts,
        contacts: &Contacts,
        devices: &mut Devices,
        question: Question,
    ) -> Answer {
        match question {
            Question::CreateConversation { account, device, conversation: id, peer, epoch, group_info, welcomes } => {
                let new = NewConversation { account, device, id, peer, epoch, group_info, welcomes };
                self.create(accounts, contacts, devices, new)
            }
            Question::Commit(commit) => match self.commit(accounts, contacts, devices, *commit) {
                Ok(committed) => committed,
                Err(refusal) => *refusal,
            },
            Question::SendMessage { account, device, conversation, number, generation, epoch, sealed, at_ms } => {
                let message = NewMessage { account, device, number, generation, epoch, sealed, at_ms };
                self.send(conversation, message)
            }
            Question::SetReceipt { account, device, conversation, sealed } => {
                self.set_receipt(account, device, conversation, sealed)
            }
            Question::LeaveConversation { account, device, conversation, at_ms } => {
                let answer = self.leave(account, device, conversation, at_ms);
                if !self.all.contains_key(&conversation) {
                    for device in devices.values_mut() {
                        device.inbox.retain(|entry| entry.conversation != conversation.0[..]);
                    }
                }
                answer
            }
            question => self.look(accounts, question).unwrap_or(Answer::NotFound),
        }
    }

    /// Verbs that change nothing. `None`: not for the asking account to know.
    fn look(&self, accounts: &Accounts, question: Question) -> Option<Answer> {
        Some(match question {
            Question::ListConversations { account, device, after } => {
                let later = self.all.iter().filter(|(id, _)| after.is_none_or(|after| **id > after));
                let of_account = later.filter(|(_, conversation)| conversation.members.contains_key(&account));
                let listed = of_account.map(|(id, conversation)| conversation.listed(*id, account, device));
                let (conversations, more) = page(listed);
                Answer::Conversations(v1::Conversations { conversations, more })
            }
            Question::FetchGroupInfo { account, conversation: id } => {
                Answer::GroupInfo(self.of_member(account, id)?.info(id))
            }
            Question::FetchLog { account, conversation, after } => {
                let log = &self.of_member(account, conversation)?.log;
                let (entries, more) = page(log.iter().filter(|entry| entry.sequence > after).cloned());
                Answer::LogEntries(v1::LogEntries { entries, more })
            }
            Question::ListMemberIds { account, conversation } => {
                Answer::MemberIds(self.members(account, conversation)?)
            }
            Question::FetchMembers { account, conversation: id } => {
                let member = |(since, account): (u64, AccountId)| {
                    let of = accounts.get(&account)?;
                    let account_key = Bytes::copy_from_slice(&of.account_key);
                    Some(v1::Member { account: account.to_bytes(), name: of.name.clone().into(), account_key, since })
                };
                let members = self.of_member(account, id)?.by_standing().into_iter().filter_map(member).collect();
                Answer::Members(v1::Members { conversation: id.to_bytes(), members })
            }
            Question::FetchReceipts { account, conversation, after } => {
                let receipts = self.of_member(account, conversation)?.receipts.values();
                let mut later: Vec<_> = receipts.filter(|receipt| receipt.serial > after).cloned().collect();
                later.sort_by_key(|receipt| receipt.serial);
                let (receipts, more) = page(later.into_iter());
                Answer::Receipts(v1::Receipts { receipts, more })
            }
            _ => return None,
        })
    }

    fn create(
        &mut self,
        accounts: &Accounts,
        contacts: &Contacts,
        devices: &mut Devices,
        new: NewConversation,
    ) -> Answer {
        let NewConversation { account, device, id, peer, epoch, group_info, welcomes } = new;
        if peer.is_some_and(|peer| !accounts.contains_key(&peer)) {
            return Answer::NotFound;
        }
        let members: BTreeSet<_> = peer.into_iter().chain([account]).collect();
        let is_pair = |of: &Conversation| of.one_to_one && of.members.keys().eq(&members);
        if let Some((id, pair)) = self.all.iter().find(|(_, conversation)| is_pair(conversation)) {
            return Answer::Existing { conversation: pair.listed(*id, account, device) };
        }
        if self.all.contains_key(&id) {
            return Answer::AlreadyExists;
        }
        if peer.is_some_and(|peer| !may_write(accounts, contacts, account, peer)) {
            return Answer::Forbidden;
        }
        if members.iter().any(|member| self.of(*member).len() >= limits::CONVERSATIONS_MAX) {
            return Answer::LimitReached;
        }
        let mut made = Conversation::new(peer.is_some(), members, epoch, group_info);
        let Some(mut entering) = made.welcomed(&welcomes, devices) else { return Answer::Conflict };
        let deliveries = welcome(id, 0, account, welcomes, devices);
        entering.insert(device, account);
        made.enter(entering);
        let conversation = made.listed(id, account, device);
        self.all.insert(id, made);
        Answer::Created { conversation, deliveries }
    }

    /// The next epoch, or why there is none.
    fn commit(
        &mut self,
        accounts: &Accounts,
        contacts: &Contacts,
        devices: &mut Devices,
        commit: Commit,
    ) -> Result<Answer, Box<Answer>> {
        let Commit { account, device, conversation: id, generation, epoch, welcomes, add, remove, .. } = commit;
        let mut next = self.of_member(account, id).ok_or_else(|| Box::new(Answer::NotFound))?.clone();
        if (generation, epoch) != (GENERATION, next.epoch) {
            return Err(Box::new(Answer::Conflict));
        }
        if next.one_to_one && !(add.is_empty() && remove.is_empty()) {
            return Err(Box::new(Answer::Forbidden));
        }
        if !remove.is_empty() && (next.owner() != Some(account) || remove.contains(&account)) {
            return Err(Box::new(Answer::Forbidden));
        }
        if !add.iter().all(|peer| may_write(accounts, contacts, account, *peer)) {
            return Err(Box::new(Answer::Forbidden));
        }
        let strangers = remove.iter().any(|member| !next.members.contains_key(member));
        if strangers || add.iter().any(|member| next.members.contains_key(member)) {
            return Err(Box::new(Answer::Conflict));
        }
        let mut hearing = next.member_ids();
        hearing.extend(&add);
        let sequence = next.head + 1;
        next.epoch += 1;
        next.group_info = commit.group_info;
        remove.iter().for_each(|member| next.dismiss(*member));
        next.members.extend(add.iter().map(|member| (*member, sequence)));
        if next.members.len() > limits::GROUP_MEMBERS_MAX
            || add.iter().any(|member| self.of(*member).len() >= limits::CONVERSATIONS_MAX)
        {
            return Err(Box::new(Answer::LimitReached));
        }
        let mut entering = next.welcomed(&welcomes, devices).ok_or_else(|| Box::new(Answer::Conflict))?;
        entering.insert(device, account);
        let entry = next.append(v1::LogEntry {
            conversation: id.to_bytes(),
            generation,
            epoch,
            device: device.to_bytes(),
            account: account.to_bytes(),
            at_ms: commit.at_ms,
            body: Some(v1::log_entry::Body::Commit(commit.commit)),
            added: add.iter().map(|account| account.to_bytes()).collect(),
            removed: remove.iter().map(|account| account.to_bytes()).collect(),
            ..Default::default()
        });
        next.enter(entering);
        next.trim(&mut self.mailboxes);
        self.all.insert(id, next);
        Ok(Answer::Committed { entry, members: hearing, deliveries: welcome(id, sequence, account, welcomes, devices) })
    }

    fn send(&mut self, id: ConversationId, message: NewMessage) -> Answer {
        let NewMessage { account, device, number, generation, epoch, sealed, at_ms } = message;
        let Some(conversation) = self.of_member_mut(account, id) else { return Answer::NotFound };
        let Some(cursor) = conversation.cursors.get(&device) else { return Answer::Conflict };
        if number <= cursor.sent {
            let newest = conversation.log.last().map(|entry| (Box::new(entry.clone()), conversation.member_ids()));
            return Answer::Repeated { newest };
        }
        let is_current = (generation, epoch) == (GENERATION, conversation.epoch);
        if number != cursor.sent + 1 || !is_current {
            return Answer::Conflict;
        }
        let size = sealed.len() as u64;
        let mailbox = self.mailboxes.entry(account).or_default();
        if *mailbox + size > limits::MAILBOX_BYTES_MAX {
            return Answer::LimitReached;
        }
        *mailbox += size;
        let Some(conversation) = self.all.get_mut(&id) else { return Answer::NotFound };
        if let Some(cursor) = conversation.cursors.get_mut(&device) {
            cursor.sent = number;
        }
        let entry = conversation.append(v1::LogEntry {
            conversation: id.to_bytes(),
            generation,
            epoch,
            device: device.to_bytes(),
            account: account.to_bytes(),
            at_ms,
            body: Some(v1::log_entry::Body::Message(v1::SealedMessage { number, sealed })),
            ..Default::default()
        });
        Answer::Appended { entry, members: conversation.member_ids() }
    }

    fn set_receipt(&mut self, account: AccountId, device: DeviceId, id: ConversationId, sealed: Bytes) -> Answer {
        let Some(conversation) = self.of_member_mut(account, id) else { return Answer::NotFound };
        conversation.receipts_serial += 1;
        let receipt = v1::Receipt {
            conversation: id.to_bytes(),
            account: account.to_bytes(),
            device: device.to_bytes(),
            sealed,
            serial: conversation.receipts_serial,
        };
        conversation.receipts.insert(device, receipt.clone());
        Answer::ReceiptSet { receipt, members: conversation.member_ids() }
    }

    fn leave(&mut self, account: AccountId, device: DeviceId, id: ConversationId, at_ms: u64) -> Answer {
        let Some(conversation) = self.of_member_mut(account, id) else { return Answer::NotFound };
        if conversation.one_to_one {
            return Answer::Forbidden;
        }
        let members = conversation.member_ids();
        conversation.dismiss(account);
        let (generation, epoch) = (GENERATION, conversation.epoch);
        let entry = conversation.append(v1::LogEntry {
            conversation: id.to_bytes(),
            generation,
            epoch,
            device: device.to_bytes(),
            account: account.to_bytes(),
            at_ms,
            body: Some(v1::log_entry::Body::Departed(account.to_bytes())),
            ..Default::default()
        });
        if let Some(conversation) = self.all.get_mut(&id) {
            conversation.trim(&mut self.mailboxes);
            if conversation.members.is_empty() {
                conversation.forget(|_| true, &mut self.mailboxes);
                self.all.remove(&id);
            }
        }
        Answer::Appended { entry, members }
    }

    fn of_member(&self, account: AccountId, id: ConversationId) -> Option<&Conversation> {
        self.all.get(&id).filter(|conversation| conversation.members.contains_key(&account))
    }

    fn of_member_mut(&mut self, account: AccountId, id: ConversationId) -> Option<&mut Conversation> {
        self.all.get_mut(&id).filter(|conversation| conversation.members.contains_key(&account))
    }
}

impl Conversation {
    fn new(one_to_one: bool, members: impl IntoIterator<Item = AccountId>, epoch: u64, group_info: Bytes) -> Self {
        Self {
            one_to_one,
            members: members.into_iter().map(|member| (member, 0)).collect(),
            epoch,
            group_info,
            head: 0,
            log: Vec::new(),
            cursors: BTreeMap::new(),
            numbers: BTreeMap::new(),
            receipts: BTreeMap::new(),
            receipts_serial: 0,
        }
    }

    fn by_standing(&self) -> BTreeSet<(u64, AccountId)> {
        self.members.iter().map(|(account, since)| (*since, *account)).collect()
    }

    fn owner(&self) -> Option<AccountId> {
        self.by_standing().first().map(|(_, account)| *account)
    }

    fn member_ids(&self) -> Vec<AccountId> {
        self.members.keys().copied().collect()
    }

    /// The devices that Welcomes are for; `None` when one of them is no member's.
    fn welcomed(&self, welcomes: &[Welcoming], devices: &Devices) -> Option<BTreeMap<DeviceId, AccountId>> {
        let all = welcomes.iter().flat_map(|welcoming| &welcoming.devices);
        let owner = |device| devices.get(device).map(|device| device.account);
        all.map(|device| Some((*device, owner(device).filter(|owner| self.members.contains_key(owner))?))).collect()
    }

    /// Devices that stand in the group from the last log entry on; those that do already stay as they are.
    fn enter(&mut self, devices: BTreeMap<DeviceId, AccountId>) {
        let acknowledged = self.head;
        for (device, account) in devices {
            let sent = self.numbers.get(&device).copied().unwrap_or_default();
            self.cursors.entry(device).or_insert(Cursor { account, acknowledged, sent });
        }
    }

    fn dismiss(&mut self, account: AccountId) {
        self.members.remove(&account);
        let leaves = |cursor: &Cursor| cursor.account == account;
        let left = self.cursors.iter().filter(|(_, cursor)| leaves(cursor));
        self.numbers.extend(left.map(|(device, cursor)| (*device, cursor.sent)));
        self.cursors.retain(|_, cursor| !leaves(cursor));
        self.receipts.retain(|_, receipt| receipt.account != account.0[..]);
    }

    fn append(&mut self, entry: v1::LogEntry) -> v1::LogEntry {
        self.head += 1;
        let entry = v1::LogEntry { sequence: self.head, ..entry };
        self.log.push(entry.clone());
        entry
    }

    /// Forgets what every device of the group has acknowledged.
    fn trim(&mut self, mailboxes: &mut BTreeMap<AccountId, u64>) {
        let Some(least) = self.cursors.values().map(|cursor| cursor.acknowledged).min() else { return };
        self.forget(|entry| entry.sequence <= least, mailboxes);
    }

    fn forget(&mut self, which: impl Fn(&v1::LogEntry) -> bool, mailboxes: &mut BTreeMap<AccountId, u64>) {
        self.log.retain(|entry| {
            let gone = which(entry);
            if let (true, Some(v1::log_entry::Body::Message(message))) = (gone, &entry.body)
                && let Some(mailbox) = sender(entry).and_then(|sender| mailboxes.get_mut(&sender))
            {
                *mailbox -= message.sealed.len() as u64;
            }
            !gone
        });
    }

    fn listed(&self, id: ConversationId, account: AccountId, device: DeviceId) -> v1::Conversation {
        let peer = self.members.keys().find(|member| self.one_to_one && **member != account);
        let cursor = self.cursors.get(&device);
        v1::Conversation {
            conversation: id.to_bytes(),
            generation: GENERATION,
            epoch: self.epoch,
            peer: peer.map(|peer| peer.to_bytes()).unwrap_or_default(),
            head: self.head,
            acknowledged: cursor.map_or(0, |cursor| cursor.acknowledged),
            sent: cursor.map(|cursor| cursor.sent).or_else(|| self.numbers.get(&device).copied()).unwrap_or(0),
            receipts_serial: self.receipts_serial,
        }
    }

    fn info(&self, id: ConversationId) -> v1::GroupInfo {
        v1::GroupInfo {
            conversation: id.to_bytes(),
            generation: GENERATION,
            epoch: self.epoch,
            group_info: self.group_info.clone(),
            head: self.head,
        }
    }
}

fn sender(entry: &v1::LogEntry) -> Option<AccountId> {
    AccountId::try_from(&entry.account[..]).ok()
}

/// Whether an account may begin or widen a conversation with another.
fn may_write(accounts: &Accounts, contacts: &Contacts, account: AccountId, peer: AccountId) -> bool {
    let of_peer = accounts.get(&peer);
    of_peer.is_some_and(|of| contacts.is_accepted(account, peer) || of.settings.calls_from() == v1::CallsFrom::Anyone)
}

fn welcome(
    conversation: ConversationId,
    head: u64,
    account: AccountId,
    welcomes: Vec<Welcoming>,
    devices: &mut Devices,
) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    for Welcoming { devices: whose, welcome } in welcomes {
        for id in whose {
            let Some(device) = devices.get_mut(&id) else { continue };
            device.inbox_sequence += 1;
            let entry = v1::InboxEntry {
                sequence: device.inbox_sequence,
                conversation: conversation.to_bytes(),
                generation: GENERATION,
                head,
                account: account.to_bytes(),
                body: Some(v1::inbox_entry::Body::Welcome(welcome.clone())),
            };
            device.inbox.push_back(entry.clone());
            if device.inbox.len() > limits::INBOX_MAX {
                device.inbox.pop_front();
            }
            deliveries.push(Delivery { account: device.account, device: id, entry });
        }
    }
    deliveries
}
