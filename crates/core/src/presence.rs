//! Who sees whom: at the home of an account, its accepted contacts and what they were told of it.
//!
//! Invariant: everybody in an account's set was told its presence as it stands in `told`, and whoever has left the set was told
//! OFFLINE; a device is told the presence of whoever is in its account's set, and OFFLINE of whoever leaves it. Both homes
//! speak up when they add the other to their set, and what one home says to another keeps its order: so whichever comes last, each
//! side ends up with what is true. A home delivers and answers only what comes from its own set: to everybody else it
//! looks as if nobody were there.
//!
//! Contacts and settings are changed in the store, from any shard. Their serials tell what is newer, so that it does not matter in what order
//! changes and pages of the list get here.

use std::time::Duration;

use ahoy_proto::v1::supernode_message::Body;
use ahoy_proto::{AccountId, limits, v1};
use bytes::{Bytes, BytesMut};

use crate::Fleet;
use crate::accounts::Accounts;
use crate::outbox::{Outbox, framed};
use crate::peer::{Devices, Party, Peer};

/// Changed contacts whose serial is remembered, so that nothing older undoes them: what 8 devices change at once, at 24 bytes
/// each. Changes that are older than all of these are no longer under way.
const CHANGES_MAX: usize = 256;

/// What the home of an account keeps for presence, from the first list or change on and while one of its devices is online.
#[derive(Debug, Default)]
pub(crate) struct Presence {
    /// The set: accepted contacts, in order.
    contacts: Vec<AccountId>,
    /// The serials of the newest changes known, in the order of the contacts.
    changes: Vec<(AccountId, u64)>,
    /// Of older changes than this nothing is remembered.
    forgotten: u64,
    /// Nobody sees an account whose settings are not known: it may want to be invisible.
    settings: Option<Settings>,
    /// What everybody in the set was told.
    told: Told,
    /// Of the set: those whose home has died or moved and who have not said since how they are, in order.
    doubtful: Vec<AccountId>,
}

#[derive(Debug)]
struct Settings {
    serial: u64,
    availability: v1::Availability,
    mood: Box<str>,
}

/// What others see of an account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Told {
    #[default]
    Offline,
    There {
        availability: v1::Availability,
        mood: Box<str>,
    },
}

/// A page of an account's contacts, as far as presence goes.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    /// Behind this contact it begins; `None`: at the first one.
    pub(crate) after: Option<AccountId>,
    /// With this one it ends; `None`: with the last one.
    pub(crate) last: Option<AccountId>,
    pub(crate) serial: u64,
    pub(crate) settings: Option<v1::Settings>,
    /// In order.
    pub(crate) accepted: Vec<AccountId>,
}

impl Page {
    pub(crate) fn of(after: Option<AccountId>, contacts: &v1::Contacts) -> Self {
        let id = |contact: &v1::Contact| AccountId::try_from(&contact.account[..]).ok();
        let accepted = contacts.contacts.iter().filter(|contact| contact.state() == v1::ContactState::Accepted);
        let mut accepted: Vec<_> = accepted.filter_map(id).collect();
        accepted.sort_unstable();
        let last = contacts.contacts.last().filter(|_| contacts.more).and_then(id);
        Self { after, last, serial: contacts.serial, settings: contacts.settings.clone(), accepted }
    }

    fn covers(&self, contact: AccountId) -> bool {
        self.after.is_none_or(|after| contact > after) && self.last.is_none_or(|last| contact <= last)
    }
}

/// The event that says that an account is not there.
pub(crate) fn offline(account: AccountId) -> Bytes {
    Told::Offline.event(account)
}

impl Presence {
    /// Doubts that those contacts are as they were who are given a time to say so; gives the longest of these times.
    pub(crate) fn doubt(&mut self, patience: impl Fn(AccountId) -> Option<Duration>) -> Option<Duration> {
        let mut longest = None;
        for contact in &self.contacts {
            let time = patience(*contact);
            longest = longest.max(time);
            self.doubtful.extend(time.map(|_| *contact));
        }
        self.doubtful.sort_unstable();
        self.doubtful.dedup();
        longest
    }

    /// Tells these contacts how the account is, and asks how they are.
    pub(crate) fn greet(&self, id: AccountId, whom: impl Fn(AccountId, &Fleet) -> bool, outbox: &mut Outbox) {
        let fleet = outbox.fleet();
        let contacts: Vec<_> = self.contacts.iter().copied().filter(|contact| whom(*contact, fleet)).collect();
        tell(id, &contacts, self.told.news(id), Some(Devices::All), outbox);
    }

    /// Those who have not been heard of again.
    pub(crate) fn give_up(&mut self) -> Vec<AccountId> {
        let doubtful = std::mem::take(&mut self.doubtful);
        doubtful.into_iter().filter(|contact| self.has(*contact)).collect()
    }

    /// A contact has said how it is.
    fn hear(&mut self, contact: AccountId) {
        if let Ok(index) = self.doubtful.binary_search(&contact) {
            self.doubtful.remove(index);
        }
    }

    fn has(&self, contact: AccountId) -> bool {
        self.contacts.binary_search(&contact).is_ok()
    }

    /// Whether something of this serial is the newest that is known of a contact.
    fn is_newest(&self, contact: AccountId, serial: u64) -> bool {
        let known = self.changes.binary_search_by_key(&contact, |(changed, _)| *changed);
        serial >= known.map_or(self.forgotten, |index| self.changes[index].1)
    }

    fn remember(&mut self, contact: AccountId, serial: u64) {
        match self.changes.binary_search_by_key(&contact, |(changed, _)| *changed) {
            Ok(index) => self.changes[index].1 = serial,
            Err(index) => self.changes.insert(index, (contact, serial)),
        }
        if self.changes.len() > CHANGES_MAX
            && let Some(oldest) = self.changes.iter().map(|(_, serial)| *serial).min()
        {
            self.forgotten = oldest;
            self.changes.retain(|(_, serial)| *serial > oldest);
        }
    }

    /// Adds a contact; says whether it was not there.
    fn add(&mut self, contact: AccountId) -> bool {
        match self.contacts.binary_search(&contact) {
            Ok(_) => false,
            // The store keeps the bound; this one only keeps a fault of its from growing.
            Err(_) if self.contacts.len() >= limits::CONTACTS_MAX => false,
            Err(index) => {
                self.contacts.insert(index, contact);
                true
            }
        }
    }

    /// Takes a contact out; says whether it was there.
    fn remove(&mut self, contact: AccountId) -> bool {
        let place = self.contacts.binary_search(&contact);
        place.is_ok_and(|index| self.contacts.remove(index) == contact)
    }

    fn set(&mut self, settings: &v1::Settings, serial: u64) {
        if self.settings.as_ref().is_none_or(|known| serial >= known.serial) {
            let (availability, mood) = (settings.availability(), settings.mood.as_str().into());
            self.settings = Some(Settings { serial, availability, mood });
        }
    }

    /// What others are to see, when so much is known of the devices.
    fn shown(&self, all_away: bool) -> Told {
        use v1::Availability::{Away, DoNotDisturb, Invisible, Online};
        let Some(Settings { availability, mood, .. }) = &self.settings else { return Told::Offline };
        let availability = match availability {
            Invisible => return Told::Offline,
            DoNotDisturb => DoNotDisturb,
            Away => Away,
            _ if all_away => Away,
            _ => Online,
        };
        Told::There { availability, mood: mood.clone() }
    }

    fn is_invisible(&self) -> bool {
        self.settings.as_ref().is_some_and(|settings| settings.availability == v1::Availability::Invisible)
    }
}

impl Told {
    /// The event that says so.
    fn event(&self, account: AccountId) -> Bytes {
        let presence = match self {
            Self::Offline => v1::Presence {
                availability: v1::Availability::Offline.into(),
                mood: String::new(),
                last_seen: v1::LastSeen::Today.into(),
            },
            Self::There { availability, mood } => v1::Presence {
                availability: (*availability).into(),
                mood: mood.to_string(),
                last_seen: v1::LastSeen::Unspecified.into(),
            },
        };
        let account = account.to_bytes();
        framed(0, Body::PresenceChanged(v1::PresenceChanged { account, presence: Some(presence) }))
    }

    /// The event for those who think that nobody is there; `None`: they are right.
    fn news(&self, account: AccountId) -> Option<Bytes> {
        (*self != Self::Offline).then(|| self.event(account))
    }
}

/// What changes an account's set or its presence.
impl Accounts {
    /// A device has come or gone, or is away or back.
    pub(crate) fn refresh_presence(&mut self, id: AccountId, outbox: &mut Outbox) {
        let Some(account) = self.account_mut(id) else { return };
        let all_away = account.all_away();
        let Some(presence) = &mut account.presence else { return };
        let shown = presence.shown(all_away);
        if shown != presence.told {
            presence.told = shown;
            let event = presence.told.event(id);
            tell(id, &presence.contacts, Some(event), None, outbox);
        }
    }

    /// The last device of an account has gone.
    pub(crate) fn forget_presence(&mut self, id: AccountId, outbox: &mut Outbox) {
        let Some(account) = self.account_mut(id) else { return };
        let presence = account.presence.take();
        if let Some(presence) = presence.as_ref().filter(|presence| presence.told != Told::Offline) {
            tell(id, &presence.contacts, Some(Told::Offline.event(id)), None, outbox);
        }
        // Who is invisible was not there.
        if !presence.is_some_and(|presence| presence.is_invisible()) {
            outbox.tell_account(id, Peer::MarkSeen { account: id });
        }
    }

    /// A device says whether somebody sits at it.
    pub(crate) fn set_activity(&mut self, party: Party, request: u64, away: bool, outbox: &mut Outbox) {
        outbox.respond(party.link, request, Body::Done(v1::Done {}));
        let Some(account) = self.account_mut(party.account) else { return };
        account.set_away(party.link, away);
        self.refresh_presence(party.account, outbox);
    }

    /// The account's settings have changed.
    pub(crate) fn settings_changed(
        &mut self,
        party: Party,
        request: u64,
        change: v1::SettingsChanged,
        outbox: &mut Outbox,
    ) {
        outbox.respond(party.link, request, Body::SettingsChanged(change.clone()));
        let event = framed(0, Body::SettingsChanged(change.clone()));
        self.notify(party.account, Devices::AllBut(party.device), &event, outbox);
        if let (Some(presence), Some(settings)) = (self.presence_mut(party.account), &change.settings) {
            presence.set(settings, change.serial);
            self.refresh_presence(party.account, outbox);
        }
    }

    /// A contact of an account has changed.
    pub(crate) fn contact_changed(
        &mut self,
        id: AccountId,
        devices: Devices,
        change: v1::ContactChanged,
        outbox: &mut Outbox,
    ) {
        let Some(contact) = &change.contact else { return };
        let Ok(peer) = AccountId::try_from(&contact.account[..]) else { return };
        let accepted = contact.state() == v1::ContactState::Accepted;
        let Some(presence) = self.presence_mut(id).filter(|presence| presence.is_newest(peer, change.serial)) else {
            return;
        };
        presence.remember(peer, change.serial);
        let added = accepted && presence.add(peer);
        let removed = !accepted && presence.remove(peer);
        let told = presence.told.clone();
        if removed {
            self.notify(id, Devices::All, &Told::Offline.event(peer), outbox);
        }
        self.notify(id, devices, &framed(0, Body::ContactChanged(change)), outbox);
        if added {
            tell(id, &[peer], told.news(id), Some(Devices::All), outbox);
        }
        if removed && told != Told::Offline {
            tell(id, &[peer], Some(Told::Offline.event(id)), None, outbox);
        }
    }

    /// A device has listed some of its account's contacts. It hears of all of them; they hear of it unless they have before.
    pub(crate) fn listed(&mut self, party: Party, request: u64, response: Bytes, page: &Page, outbox: &mut Outbox) {
        outbox
            .tell(party.link.seat(), Peer::Deliver { link: party.link.link, in_reply_to: request, message: response });
        let id = party.account;
        // A device that has gone may have asked before its account was forgotten here.
        if !self.account_mut(id).is_some_and(|account| account.has_link(party.link)) {
            return;
        }
        let Some(presence) = self.presence_mut(id) else { return };
        if let Some(settings) = &page.settings {
            presence.set(settings, page.serial);
            self.refresh_presence(id, outbox);
        }
        let Some(presence) = self.presence_mut(id) else { return };
        let told = presence.told.clone();
        let gone: Vec<_> = presence.contacts.iter().copied().filter(|contact| page.covers(*contact)).collect();
        let gone: Vec<_> = gone
            .into_iter()
            .filter(|contact| page.accepted.binary_search(contact).is_err())
            .filter(|contact| presence.is_newest(*contact, page.serial) && presence.remove(*contact))
            .collect();
        let listed = page.accepted.iter().copied().filter(|contact| presence.is_newest(*contact, page.serial));
        let listed: Vec<_> = listed.collect();
        // Those whose newest change is newer than the page are of the set too, and the device has begun anew with them.
        let known: Vec<_> = presence.contacts.iter().copied().filter(|contact| page.covers(*contact)).collect();
        let new: Vec<_> = listed.into_iter().filter(|contact| presence.add(*contact)).collect();
        for contact in &gone {
            self.notify(id, Devices::All, &Told::Offline.event(*contact), outbox);
        }
        if told != Told::Offline {
            tell(id, &gone, Some(Told::Offline.event(id)), None, outbox);
        }
        tell(id, &new, told.news(id), Some(Devices::All), outbox);
        tell(id, &known, None, Some(Devices::One(party.device)), outbox);
    }

    /// Presence state of an account that is online.
    fn presence_mut(&mut self, id: AccountId) -> Option<&mut Presence> {
        Some(self.account_mut(id)?.presence.get_or_insert_default())
    }
}

/// What other accounts say.
impl Accounts {
    /// An account tells some of this shard's how it is, or wants to know how they are.
    pub(crate) fn hear(
        &mut self,
        from: AccountId,
        to: &[AccountId],
        event: Option<&Bytes>,
        wish: Option<Devices>,
        outbox: &mut Outbox,
    ) {
        let mut told = Vec::new();
        for id in to {
            let Some(account) = self.account_mut(*id) else { continue };
            let Some(presence) = account.presence.as_mut().filter(|presence| presence.has(from)) else { continue };
            // Who only asks may be one whose new home did not know yet whom to tell that nobody is there any more.
            if event.is_some() {
                presence.hear(from);
            }
            if let Some(event) = wish.and_then(|_| presence.told.news(*id)) {
                told.push((*id, event));
            }
            if let Some(event) = event {
                self.notify(*id, Devices::All, event, outbox);
            }
        }
        if let Some(devices) = wish.filter(|_| !told.is_empty()) {
            outbox.counters.presence_told += told.len() as u64;
            outbox.tell_account(from, Peer::Presences { to: from, devices, told });
        }
    }

    /// Contacts that are there answer an account that wanted to know.
    pub(crate) fn hear_all(
        &mut self,
        to: AccountId,
        devices: Devices,
        told: &[(AccountId, Bytes)],
        outbox: &mut Outbox,
    ) {
        let Some(presence) = self.account_mut(to).and_then(|account| account.presence.as_mut()) else { return };
        told.iter().for_each(|(from, _)| presence.hear(*from));
        let Some(presence) = self.account(to).and_then(|account| account.presence.as_ref()) else { return };
        // Many small events in few messages.
        let mut events = BytesMut::new();
        for (_, event) in told.iter().filter(|(from, _)| presence.has(*from)) {
            if events.len() + event.len() > limits::MESSAGE_MAX {
                self.notify(to, devices, &events.split().freeze(), outbox);
            }
            events.extend_from_slice(event);
        }
        if !events.is_empty() {
            self.notify(to, devices, &events.freeze(), outbox);
        }
    }
}

/// Asks contacts of an account how they are.
pub(crate) fn ask(from: AccountId, contacts: &[AccountId], outbox: &mut Outbox) {
    tell(from, contacts, None, Some(Devices::All), outbox);
}

/// Tells contacts of an account something about it, or asks them, with one message for each of their homes.
fn tell(from: AccountId, to: &[AccountId], event: Option<Bytes>, wish: Option<Devices>, outbox: &mut Outbox) {
    if event.is_some() {
        outbox.counters.presence_told += to.len() as u64;
    }
    for (home, to) in outbox.by_home(to) {
        outbox.tell(home, Peer::Presence { from, to, event: event.clone(), wish });
    }
}
