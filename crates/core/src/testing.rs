//! For tests and the simulator: an in-memory store that answers questions as the real one does, and an origin of virtual
//! time.

mod contacts;
mod conversations;

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use ahoy_proto::{AccountId, ConversationId, DeviceId, Name, UnixTime, limits, v1};
use bytes::Bytes;
use prost::Message;

use crate::{Answer, Callee, Day, FoundAccount, Question};

use contacts::Contacts;
use conversations::Conversations;

/// Where virtual time starts. Only differences to it mean anything: nothing may depend on its value.
#[expect(clippy::disallowed_methods, reason = "an Instant can't be made from nothing")]
pub fn origin() -> Instant {
    Instant::now()
}

/// What must last, in memory: answers in the order asked, and never fails.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    accounts: Accounts,
    devices: Devices,
    contacts: Contacts,
    conversations: Conversations,
}

type Accounts = BTreeMap<AccountId, Account>;

type Devices = BTreeMap<DeviceId, Device>;

#[derive(Debug, Clone)]
struct Account {
    name: Name,
    account_key: [u8; 32],
    request_key: Bytes,
    settings: v1::Settings,
    /// Counts the changes of contacts and settings.
    serial: u64,
    seen: Option<Day>,
    reports: Vec<UnixTime>,
}

#[derive(Debug, Clone)]
struct Device {
    account: AccountId,
    state_serial: u64,
    seen: Option<Day>,
    key_packages: VecDeque<Bytes>,
    last_resort: Option<Bytes>,
    inbox: VecDeque<v1::InboxEntry>,
    inbox_sequence: u64,
}

/// What tests put in and look at.
impl MemoryStore {
    /// An account that contacts may call, and nobody else.
    pub fn add_account(&mut self, account: AccountId, name: Name, account_key: [u8; 32]) {
        let settings = v1::Settings {
            calls_from: v1::CallsFrom::Contacts.into(),
            availability: v1::Availability::Online.into(),
            mood: String::new(),
            listed: false,
        };
        let request_key = Bytes::new();
        let made = Account { name, account_key, request_key, settings, serial: 0, seen: None, reports: Vec::new() };
        self.accounts.insert(account, made);
    }

    /// A device of an account.
    pub fn add_device(&mut self, account: AccountId, device: DeviceId) {
        let made = Device {
            account,
            state_serial: 0,
            seen: None,
            key_packages: VecDeque::new(),
            last_resort: None,
            inbox: VecDeque::new(),
            inbox_sequence: 0,
        };
        self.devices.insert(device, made);
    }

    /// A device that was revoked: what it had is gone.
    pub fn remove_device(&mut self, device: DeviceId) {
        self.devices.remove(&device);
        self.conversations.forget_device(device);
    }

    /// Who may call an account.
    pub fn set_calls_from(&mut self, account: AccountId, calls_from: v1::CallsFrom) {
        if let Some(account) = self.accounts.get_mut(&account) {
            account.settings.calls_from = calls_from.into();
        }
    }

    /// The key that notes to an account are sealed to.
    pub fn set_request_key(&mut self, account: AccountId, request_key: Bytes) {
        if let Some(account) = self.accounts.get_mut(&account) {
            account.request_key = request_key;
        }
    }

    /// Two accounts that are contacts though neither has asked.
    pub fn add_contact(&mut self, one: AccountId, other: AccountId) {
        self.contacts.befriend(one, other);
    }

    /// A one-to-one conversation that nobody asked for, with all devices that its members have.
    pub fn add_conversation(&mut self, conversation: ConversationId, members: [AccountId; 2]) {
        let of_members = self.devices.iter().filter(|(_, device)| members.contains(&device.account));
        let devices = of_members.map(|(id, device)| (*id, device.account)).collect();
        self.conversations.add(conversation, members, devices);
    }

    /// How an account has another among its contacts.
    pub fn contact_state(&self, account: AccountId, peer: AccountId) -> v1::ContactState {
        self.contacts.state(account, peer)
    }

    /// What an account has set.
    pub fn settings(&self, account: AccountId) -> Option<&v1::Settings> {
        self.accounts.get(&account).map(|account| &account.settings)
    }

    /// When a device of an account was last there, as far as it was noted.
    pub fn last_seen(&self, account: AccountId) -> Option<Day> {
        self.accounts.get(&account)?.seen
    }

    /// What stands in a device's inbox.
    pub fn inbox(&self, device: DeviceId) -> Vec<v1::InboxEntry> {
        self.devices.get(&device).map_or_else(Vec::new, |device| device.inbox.iter().cloned().collect())
    }

    /// What is kept of a conversation's log.
    pub fn log(&self, conversation: ConversationId) -> &[v1::LogEntry] {
        self.conversations.log(conversation)
    }

    /// The sequence number of a log's last entry, kept or not.
    pub fn head(&self, conversation: ConversationId) -> Option<u64> {
        self.conversations.head(conversation)
    }

    /// How far a device has acknowledged a log, and the number of its last message there; `None` when it does not stand in
    /// the group.
    pub fn cursor(&self, conversation: ConversationId, device: DeviceId) -> Option<(u64, u64)> {
        self.conversations.cursor(conversation, device)
    }

    /// Whether there is such a conversation.
    pub fn has_conversation(&self, conversation: ConversationId) -> bool {
        self.conversations.head(conversation).is_some()
    }

    /// The conversations of an account.
    pub fn conversations(&self, account: AccountId) -> Vec<ConversationId> {
        self.conversations.of(account)
    }

    /// Forgets log entries that are older than they are kept.
    pub fn expire(&mut self, now_ms: u64) {
        self.conversations.expire(now_ms.saturating_sub(limits::RETENTION.as_millis() as u64));
    }
}

impl MemoryStore {
    /// Carries out one verb.
    pub fn answer(&mut self, question: Question) -> Answer {
        match question {
            Question::FindAccount { name } => self.find(&name),
            Question::SearchDirectory { prefix } => self.search(&prefix),
            Question::CheckIn { account, device, serial, today } => self.check_in(account, device, serial, today),
            Question::ListDevices { account, today } => self.list_devices(account, today),
            Question::MarkSeen { account, today } => {
                self.mark_seen(account, today);
                Answer::Done
            }
            Question::ChangeSettings { account, change } => self.change_settings(account, change),
            Question::Report { account, about, at, .. } => self.report(account, about, at),
            Question::PublishKeyPackages { device, packages, last_resort, .. } => {
                self.publish(device, packages, last_resort)
            }
            Question::ClaimKeyPackages { account } => self.claim(account),
            Question::FetchInbox { device, after } => {
                let inbox = self.devices.get(&device).map(|device| &device.inbox).into_iter().flatten();
                let (entries, more) = page(inbox.filter(|entry| entry.sequence > after).cloned());
                Answer::InboxEntries(v1::InboxEntries { entries, more })
            }
            Question::Acknowledge { device, inbox, logs } => {
                if let Some(device) = self.devices.get_mut(&device) {
                    device.inbox.retain(|entry| entry.sequence > inbox);
                }
                self.conversations.acknowledge(device, &logs);
                Answer::Done
            }
            Question::Callees { account, conversation } => self.callees(account, conversation),
            question @ (Question::ListContacts { .. }
            | Question::RequestContact { .. }
            | Question::AnswerContact { .. }
            | Question::RemoveContact { .. }
            | Question::BlockAccount { .. }) => self.contacts.answer(&mut self.accounts, question),
            question => self.conversations.answer(&self.accounts, &self.contacts, &mut self.devices, question),
        }
    }

    fn find(&self, name: &Name) -> Answer {
        match self.accounts.iter().find(|(_, account)| account.name == *name) {
            Some((id, account)) => Answer::Accounts(vec![account.found(*id)]),
            None => Answer::NotFound,
        }
    }

    fn search(&self, prefix: &str) -> Answer {
        let listed = self.accounts.iter().filter(|(_, account)| account.settings.listed);
        let like = listed.filter(|(_, account)| String::from(account.name.clone()).starts_with(prefix));
        let mut found: Vec<_> = like.map(|(id, account)| account.found(*id)).collect();
        found.sort_by(|one, other| one.name.cmp(&other.name));
        found.truncate(limits::SEARCH_RESULTS_MAX);
        Answer::Accounts(found)
    }

    fn check_in(&mut self, account: AccountId, device: DeviceId, serial: u64, today: Day) -> Answer {
        let Some(known) = self.devices.get_mut(&device).filter(|known| known.account == account) else {
            return Answer::NotFound;
        };
        if serial <= known.state_serial {
            return Answer::StateTooOld;
        }
        known.state_serial = serial;
        known.seen = known.seen.max(Some(today));
        self.mark_seen(account, today);
        self.list_devices(account, today)
    }

    /// Who is invisible is not seen.
    fn mark_seen(&mut self, account: AccountId, today: Day) {
        if let Some(account) = self.accounts.get_mut(&account)
            && account.settings.availability() != v1::Availability::Invisible
        {
            account.seen = account.seen.max(Some(today));
        }
    }

    fn list_devices(&self, account: AccountId, today: Day) -> Answer {
        let of_account = self.devices.iter().filter(|(_, device)| device.account == account);
        let record = |(id, device): (&DeviceId, &Device)| v1::DeviceRecord {
            device: id.to_bytes(),
            name: "device".to_owned(),
            made_at: 0,
            last_seen: last_seen(device.seen, today).into(),
        };
        Answer::Devices(of_account.map(record).collect())
    }

    fn change_settings(&mut self, account: AccountId, change: v1::ChangeSettings) -> Answer {
        let Some(account) = self.accounts.get_mut(&account) else { return Answer::NotFound };
        let v1::ChangeSettings { calls_from, availability, mood, listed } = change;
        let old = account.settings.clone();
        account.settings = v1::Settings {
            calls_from: calls_from.unwrap_or(old.calls_from),
            availability: availability.unwrap_or(old.availability),
            mood: mood.unwrap_or(old.mood),
            listed: listed.unwrap_or(old.listed),
        };
        account.serial += 1;
        Answer::Settings(v1::SettingsChanged { settings: Some(account.settings.clone()), serial: account.serial })
    }

    fn report(&mut self, account: AccountId, about: AccountId, at: UnixTime) -> Answer {
        if !self.accounts.contains_key(&about) {
            return Answer::NotFound;
        }
        let Some(account) = self.accounts.get_mut(&account) else { return Answer::NotFound };
        account.reports.retain(|before| before.0 + 86_400 > at.0);
        if account.reports.len() >= limits::REPORTS_PER_DAY_MAX {
            return Answer::LimitReached;
        }
        account.reports.push(at);
        Answer::Done
    }

    fn publish(&mut self, device: DeviceId, packages: Vec<Bytes>, last_resort: Option<Bytes>) -> Answer {
        let Some(device) = self.devices.get_mut(&device) else { return Answer::NotFound };
        device.key_packages.extend(packages);
        let excess = device.key_packages.len().saturating_sub(limits::KEY_PACKAGES_MAX);
        device.key_packages.drain(..excess);
        device.last_resort = last_resort.or_else(|| device.last_resort.take());
        Answer::Done
    }

    fn claim(&mut self, account: AccountId) -> Answer {
        let of_account = self.devices.iter_mut().filter(|(_, device)| device.account == account);
        let packages = of_account.filter_map(|(id, device)| {
            let key_package = device.key_packages.pop_front().or_else(|| device.last_resort.clone())?;
            Some(v1::DeviceKeyPackage { device: id.to_bytes(), key_package })
        });
        let packages: Vec<_> = packages.collect();
        if packages.is_empty() { Answer::NotFound } else { Answer::KeyPackages(v1::KeyPackages { packages }) }
    }

    fn callees(&self, account: AccountId, conversation: ConversationId) -> Answer {
        let Some(members) = self.conversations.members(account, conversation) else { return Answer::NotFound };
        let others = members.into_iter().filter(|member| *member != account);
        let callee = |callee| {
            let calls_from = self.accounts.get(&callee)?.settings.calls_from();
            Some(Callee { account: callee, welcome: self.contacts.welcome(account, callee, calls_from) })
        };
        Answer::Callees(others.filter_map(callee).collect())
    }
}

impl Account {
    fn found(&self, account: AccountId) -> FoundAccount {
        let Self { name, account_key, request_key, .. } = self;
        FoundAccount { account, name: name.clone(), account_key: *account_key, request_key: request_key.clone() }
    }

    fn change(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }
}

/// How long ago a day was, coarsely.
fn last_seen(seen: Option<Day>, today: Day) -> v1::LastSeen {
    match seen.map(|seen| today.0.saturating_sub(seen.0)) {
        None => v1::LastSeen::Unspecified,
        Some(0) => v1::LastSeen::Today,
        Some(1..7) => v1::LastSeen::ThisWeek,
        Some(_) => v1::LastSeen::Earlier,
    }
}

/// As many as fit into one response, and whether there are more.
fn page<M: Message>(entries: impl Iterator<Item = M>) -> (Vec<M>, bool) {
    let mut taken = Vec::new();
    let mut room = limits::PAGE_BYTES_MAX;
    for entry in entries {
        // The first one always fits: a commit of a large group is longer than a page and travels in fragments.
        match room.checked_sub(entry.encoded_len() + 4) {
            None if !taken.is_empty() => return (taken, true),
            left => room = left.unwrap_or(0),
        }
        taken.push(entry);
    }
    (taken, false)
}
