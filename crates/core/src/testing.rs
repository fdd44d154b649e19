//! For tests and the simulator: an in-memory store that answers questions as the real one does, and an origin of virtual
//! time.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use ahoy_proto::{AccountId, ConversationId, DeviceId, Name, limits, v1};
use bytes::Bytes;
use prost::Message;

use crate::{Answer, Callee, Delivery, Question};

/// Where virtual time starts. Only differences to it mean anything: nothing may depend on its value.
#[expect(clippy::disallowed_methods, reason = "an Instant can't be made from nothing")]
pub fn origin() -> Instant {
    Instant::now()
}

/// What must last, in memory: answers in the order asked, and never fails.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    accounts: BTreeMap<AccountId, Account>,
    devices: BTreeMap<DeviceId, Device>,
    conversations: BTreeMap<ConversationId, Conversation>,
    inbox_sequence: u64,
}

#[derive(Debug, Clone)]
struct Account {
    name: Name,
    account_key: [u8; 32],
    calls_from: v1::CallsFrom,
}

#[derive(Debug, Clone)]
struct Device {
    account: AccountId,
    key_packages: VecDeque<Bytes>,
    last_resort: Option<Bytes>,
    inbox: VecDeque<v1::InboxEntry>,
}

#[derive(Debug, Clone)]
struct Conversation {
    members: [AccountId; 2],
    epoch: u64,
    group_info: Bytes,
    log: Vec<v1::LogEntry>,
}

/// The only generation that a conversation has here.
const GENERATION: u32 = 1;

impl MemoryStore {
    /// An account that anyone may call.
    pub fn add_account(&mut self, account: AccountId, name: Name, account_key: [u8; 32]) {
        self.accounts.insert(account, Account { name, account_key, calls_from: v1::CallsFrom::Anyone });
    }

    /// A device of an account.
    pub fn add_device(&mut self, account: AccountId, device: DeviceId) {
        let device_of = Device { account, key_packages: VecDeque::new(), last_resort: None, inbox: VecDeque::new() };
        self.devices.insert(device, device_of);
    }

    /// A one-to-one conversation that nobody asked for.
    pub fn add_conversation(&mut self, conversation: ConversationId, members: [AccountId; 2]) {
        let made = Conversation { members, epoch: 1, group_info: Bytes::from_static(b"group info"), log: Vec::new() };
        self.conversations.insert(conversation, made);
    }

    /// What stands in a device's inbox.
    pub fn inbox(&self, device: DeviceId) -> Vec<v1::InboxEntry> {
        self.devices.get(&device).map_or_else(Vec::new, |device| device.inbox.iter().cloned().collect())
    }

    /// What stands in a conversation's log.
    pub fn log(&self, conversation: ConversationId) -> &[v1::LogEntry] {
        self.conversations.get(&conversation).map_or(&[], |conversation| &conversation.log)
    }

    /// Whether there is such a conversation.
    pub fn has_conversation(&self, conversation: ConversationId) -> bool {
        self.conversations.contains_key(&conversation)
    }

    /// The conversations of an account.
    pub fn conversations(&self, account: AccountId) -> Vec<ConversationId> {
        let of = self.conversations.iter().filter(|(_, conversation)| conversation.members.contains(&account));
        of.map(|(id, _)| *id).collect()
    }

    /// Carries out one verb.
    pub fn answer(&mut self, question: Question) -> Answer {
        match question {
            Question::FindAccount { name } => self.find(&name),
            Question::SetCallsFrom { account, calls_from } => match self.accounts.get_mut(&account) {
                Some(account) => {
                    account.calls_from = calls_from;
                    Answer::Done
                }
                None => Answer::NotFound,
            },
            Question::PublishKeyPackages { device, packages, last_resort, .. } => {
                self.publish(device, packages, last_resort)
            }
            Question::ClaimKeyPackages { account } => self.claim(account),
            Question::ListConversations { account, after } => self.list(account, after),
            Question::CreateConversation { .. } | Question::Commit { .. } => self.change(question),
            Question::FetchGroupInfo { account, conversation: id } => match self.of_member(account, id) {
                Some(conversation) => Answer::GroupInfo(conversation.info(id)),
                None => Answer::NotFound,
            },
            Question::FetchLog { account, conversation, after } => match self.of_member(account, conversation) {
                Some(conversation) => {
                    let later = conversation.log.iter().filter(|entry| entry.sequence > after);
                    let (entries, more) = page(later.cloned());
                    Answer::LogEntries(v1::LogEntries { entries, more })
                }
                None => Answer::NotFound,
            },
            Question::FetchInbox { device, after } => {
                let inbox = self.devices.get(&device).map(|device| &device.inbox).into_iter().flatten();
                let (entries, more) = page(inbox.filter(|entry| entry.sequence > after).cloned());
                Answer::InboxEntries(v1::InboxEntries { entries, more })
            }
            Question::AcknowledgeInbox { device, up_to } => {
                if let Some(device) = self.devices.get_mut(&device) {
                    device.inbox.retain(|entry| entry.sequence > up_to);
                }
                Answer::Done
            }
            Question::Callees { account, conversation } => match self.of_member(account, conversation) {
                Some(conversation) => {
                    let others = conversation.members.iter().filter(|member| **member != account);
                    Answer::Callees(others.filter_map(|member| self.callee(*member)).collect())
                }
                None => Answer::NotFound,
            },
        }
    }

    fn find(&self, name: &Name) -> Answer {
        match self.accounts.iter().find(|(_, account)| account.name == *name) {
            Some((id, Account { name, account_key, .. })) => {
                Answer::Account { account: *id, name: name.clone(), account_key: *account_key }
            }
            None => Answer::NotFound,
        }
    }

    fn callee(&self, account: AccountId) -> Option<Callee> {
        self.accounts.get(&account).map(|of| Callee { account, calls_from: of.calls_from })
    }

    fn of_member(&self, account: AccountId, conversation: ConversationId) -> Option<&Conversation> {
        self.conversations.get(&conversation).filter(|conversation| conversation.members.contains(&account))
    }

    fn publish(&mut self, device: DeviceId, packages: Vec<Bytes>, last_resort: Option<Bytes>) -> Answer {
        let Some(device) = self.devices.get_mut(&device) else { return Answer::NotFound };
        device.key_packages.extend(packages);
        device.key_packages.truncate(limits::KEY_PACKAGES_MAX);
        device.last_resort = last_resort.or_else(|| device.last_resort.take());
        Answer::Done
    }

    fn claim(&mut self, account: AccountId) -> Answer {
        if !self.accounts.contains_key(&account) {
            return Answer::NotFound;
        }
        let of_account = self.devices.iter_mut().filter(|(_, device)| device.account == account);
        let packages = of_account.filter_map(|(id, device)| {
            let key_package = device.key_packages.pop_front().or_else(|| device.last_resort.clone())?;
            Some(v1::DeviceKeyPackage { device: id.to_bytes(), key_package })
        });
        Answer::KeyPackages(v1::KeyPackages { packages: packages.collect() })
    }

    fn list(&self, account: AccountId, after: Option<ConversationId>) -> Answer {
        let later = self.conversations.iter().filter(|(id, _)| after.is_none_or(|after| **id > after));
        let of_account = later.filter(|(_, conversation)| conversation.members.contains(&account));
        let (conversations, more) = page(of_account.map(|(id, conversation)| conversation.listed(*id)));
        Answer::Conversations(v1::Conversations { conversations, more })
    }

    fn change(&mut self, question: Question) -> Answer {
        match question {
            Question::CreateConversation { account, conversation: id, peer, epoch, group_info, welcomes, .. } => {
                if !self.accounts.contains_key(&peer) {
                    return Answer::NotFound;
                }
                let mut members = [account, peer];
                members.sort_unstable();
                let of_pair = self.conversations.iter().find(|(_, conversation)| conversation.members == members);
                if let Some((id, conversation)) = of_pair {
                    return Answer::Existing { conversation: conversation.listed(*id) };
                }
                if self.conversations.contains_key(&id) {
                    return Answer::AlreadyExists;
                }
                if !self.are_members(&welcomes, &members) {
                    return Answer::Conflict;
                }
                let made = Conversation { members, epoch, group_info, log: Vec::new() };
                let conversation = made.listed(id);
                self.conversations.insert(id, made);
                Answer::Created { conversation, deliveries: self.welcome(id, welcomes) }
            }
            Question::Commit { account, device, conversation: id, generation, epoch, commit, group_info, welcomes } => {
                let Some(conversation) = self.of_member(account, id) else { return Answer::NotFound };
                let current = (generation, epoch) == (GENERATION, conversation.epoch);
                if !current || !self.are_members(&welcomes, &conversation.members) {
                    return Answer::Conflict;
                }
                let Some(conversation) = self.conversations.get_mut(&id) else { return Answer::NotFound };
                let entry = v1::LogEntry {
                    conversation: id.to_bytes(),
                    sequence: conversation.log.len() as u64 + 1,
                    generation,
                    epoch,
                    device: device.to_bytes(),
                    body: Some(v1::log_entry::Body::Commit(commit)),
                };
                conversation.log.push(entry.clone());
                conversation.epoch += 1;
                conversation.group_info = group_info;
                let members = conversation.members.to_vec();
                Answer::Committed { entry, members, deliveries: self.welcome(id, welcomes) }
            }
            _ => Answer::NotFound,
        }
    }

    fn are_members(&self, welcomes: &[(DeviceId, Bytes)], members: &[AccountId]) -> bool {
        let owner = |device| self.devices.get(device).map(|device| device.account);
        welcomes.iter().all(|(device, _)| owner(device).is_some_and(|owner| members.contains(&owner)))
    }

    fn welcome(&mut self, conversation: ConversationId, welcomes: Vec<(DeviceId, Bytes)>) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        for (id, welcome) in welcomes {
            let Some(device) = self.devices.get_mut(&id) else { continue };
            self.inbox_sequence += 1;
            let entry = v1::InboxEntry {
                sequence: self.inbox_sequence,
                conversation: conversation.to_bytes(),
                generation: GENERATION,
                body: Some(v1::inbox_entry::Body::Welcome(welcome)),
            };
            device.inbox.push_back(entry.clone());
            if device.inbox.len() > limits::INBOX_MAX {
                device.inbox.pop_front();
            }
            deliveries.push(Delivery { account: device.account, device: id, entry });
        }
        deliveries
    }
}

impl Conversation {
    fn listed(&self, id: ConversationId) -> v1::Conversation {
        v1::Conversation {
            conversation: id.to_bytes(),
            generation: GENERATION,
            epoch: self.epoch,
            members: self.members.iter().map(|member| member.to_bytes()).collect(),
            head: self.log.len() as u64,
        }
    }

    fn info(&self, id: ConversationId) -> v1::GroupInfo {
        v1::GroupInfo {
            conversation: id.to_bytes(),
            generation: GENERATION,
            epoch: self.epoch,
            group_info: self.group_info.clone(),
            head: self.log.len() as u64,
        }
    }
}

/// As many as fit into one response, and whether there are more.
fn page<M: Message>(entries: impl Iterator<Item = M>) -> (Vec<M>, bool) {
    let mut taken = Vec::new();
    let mut room = limits::PAGE_BYTES_MAX;
    for entry in entries {
        let Some(left) = room.checked_sub(entry.encoded_len() + 4) else { return (taken, true) };
        room = left;
        taken.push(entry);
    }
    (taken, false)
}
