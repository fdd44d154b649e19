//! Taking in the list of contacts, and the changes of it that come as events.
//!
//! Serials tell order: pages that differ in serial are not one list, and a change newer than the list that is being taken in
//! means that the list has to be asked for again. A change that follows on the list held is applied as it is.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ahoy_proto::limits::CONTACTS_MAX;
use ahoy_proto::{AccountId, Name, v1};
use bytes::Bytes;
use v1::client_message::Body as Ask;
use v1::supernode_message::Body;

use super::super::event::{ContactState, Event, Presence};
use super::super::people::Standing;
use super::super::requests::Request;
use super::super::{Member, Timer};
use super::{ContactRequest, Row, read, read_presence};

/// Lists begun anew without a pause, because the contacts changed meanwhile: with thousands of changes a second a list would
/// never be whole.
const RELISTS_AT_ONCE: u32 = 3;

/// How long a new home may take to say who is there: a fleet takes 15 s to be sure of those whose home was lost as well.
const PRESENCES_WITHIN: Duration = Duration::from_secs(20);

/// How far the contacts of a session are known.
#[derive(Default)]
pub(in crate::member) struct Progress {
    step: Step,
    /// The newest serial that was spoken of.
    newest: u64,
    /// Lists begun anew since the last one that was whole.
    relists: u32,
}

#[derive(Default)]
enum Step {
    /// The list has not been asked for, or waits for its timer.
    #[default]
    Waiting,
    /// Pages come.
    Asking(Listing),
    /// The list was whole, and is up to date as of this serial.
    Known(u64),
}

/// A list that is being taken in.
#[derive(Default)]
struct Listing {
    /// Known from the first page on.
    serial: Option<u64>,
    /// The last contact of the page before.
    after: Option<AccountId>,
    /// Contacts told, those included that can't be read.
    told: usize,
    rows: BTreeMap<AccountId, Row>,
    settings: Option<v1::Settings>,
}

/// What a change is to what is known.
enum News {
    /// Told by the list already.
    Old,
    /// To be applied.
    New,
    /// To be applied; others before it were missed.
    Gap,
}

impl Progress {
    /// Whether the contacts have been taken in.
    pub(in crate::member) fn is_known(&self) -> bool {
        matches!(self.step, Step::Known(_))
    }

    fn take(&mut self, serial: u64) -> News {
        self.newest = self.newest.max(serial);
        match &mut self.step {
            Step::Known(known) if serial <= *known => News::Old,
            Step::Known(known) if serial - *known == 1 => {
                *known = serial;
                News::New
            }
            Step::Known(_) => News::Gap,
            Step::Asking(listing) if listing.serial.is_some_and(|listed| serial <= listed) => News::Old,
            Step::Asking(_) | Step::Waiting => News::New,
        }
    }
}

impl Member {
    /// Asks for the contacts, from the first.
    pub(in crate::member) fn list_contacts(&mut self) {
        let Some(session) = &mut self.session else { return };
        session.contacts.step = Step::Asking(Listing::default());
        self.fetch_contacts(Bytes::new());
    }

    fn fetch_contacts(&mut self, after: Bytes) {
        self.ask(Request::Contacts(ContactRequest::List), Ask::ListContacts(v1::ListContacts { after }));
    }

    /// Nobody is there until it is told.
    pub(in crate::member) fn forget_presences(&mut self) {
        self.contacts.forget_presences(&mut self.outbox);
    }

    /// A home that spoke of contacts is gone: until the new one has had its say they are taken to be as they were.
    pub(in crate::member) fn doubt_presences(&mut self, now: Instant) {
        let there = |presence: &Presence| presence.availability != v1::Availability::Offline;
        let doubted = self.contacts.presences.iter().filter(|(_, presence)| there(presence));
        self.contacts.doubted = doubted.map(|(account, _)| *account).collect();
        self.timers.insert(Timer::Presences, now + PRESENCES_WITHIN);
    }

    pub(in crate::member) fn drop_doubted_presences(&mut self) {
        for account in std::mem::take(&mut self.contacts.doubted) {
            let mood = self.contacts.presences.get(&account).map(|presence| presence.mood.clone()).unwrap_or_default();
            self.contacts.put_presence(account, Presence { mood, ..Presence::default() }, &mut self.outbox);
        }
    }

    pub(super) fn contacts_listed(&mut self, body: &Body, now: Instant) {
        let Some(session) = &mut self.session else { return };
        let Step::Asking(listing) = &mut session.contacts.step else { return };
        let Body::Contacts(page) = body else {
            session.contacts.step = Step::Waiting;
            return self.pause_session(Timer::Contacts, body, now);
        };
        if *listing.serial.get_or_insert(page.serial) != page.serial {
            return self.relist(body, now);
        }
        if let Some(settings) = &page.settings {
            listing.settings = Some(settings.clone());
        }
        listing.told += page.contacts.len();
        for contact in &page.contacts {
            if let Some((account, Some(row))) = read(contact, &self.identity) {
                listing.rows.insert(account, row);
            }
        }
        let last = page.contacts.last().and_then(|contact| AccountId::try_from(&contact.account[..]).ok());
        match last.filter(|last| Some(*last) > listing.after) {
            Some(last) if page.more && listing.told < CONTACTS_MAX => {
                listing.after = Some(last);
                self.fetch_contacts(last.to_bytes());
            }
            _ => self.contacts_whole(body, now),
        }
    }

    /// All pages are here.
    fn contacts_whole(&mut self, body: &Body, now: Instant) {
        let Some(session) = &mut self.session else { return };
        let progress = &mut session.contacts;
        let Step::Asking(listing) = &mut progress.step else { return };
        let serial = listing.serial.unwrap_or_default();
        let outdated = progress.newest > serial;
        if outdated && progress.relists < RELISTS_AT_ONCE {
            return self.relist(body, now);
        }
        let listing = std::mem::take(listing);
        progress.step = Step::Known(serial);
        self.adopt(listing);
        if outdated {
            return self.relist(body, now);
        }
        if let Some(session) = &mut self.session {
            session.contacts.relists = 0;
        }
    }

    /// Begins the list anew: at once, or after a pause when that has not helped.
    fn relist(&mut self, body: &Body, now: Instant) {
        let Some(session) = &mut self.session else { return };
        let progress = &mut session.contacts;
        progress.relists += 1;
        if progress.relists <= RELISTS_AT_ONCE {
            return self.list_contacts();
        }
        if matches!(progress.step, Step::Asking(_)) {
            progress.step = Step::Waiting;
        }
        let failures = progress.relists - RELISTS_AT_ONCE;
        self.pause(Timer::Contacts, failures, body, now);
    }

    fn adopt(&mut self, listing: Listing) {
        let known = self.contacts.rows.keys();
        let gone: Vec<AccountId> = known.filter(|account| !listing.rows.contains_key(account)).copied().collect();
        for account in gone {
            self.contacts.put(account, None, &mut self.outbox);
        }
        for (account, row) in listing.rows {
            self.put_contact(account, Some(row));
        }
        if let Some(settings) = &listing.settings {
            self.contacts.put_settings(settings, &mut self.outbox);
        }
    }

    /// A contact has changed: as an event, or as the response to a request.
    pub(in crate::member) fn contact_changed(&mut self, changed: &v1::ContactChanged, body: &Body, now: Instant) {
        let Some(session) = &mut self.session else { return };
        let news = session.contacts.take(changed.serial);
        if matches!(news, News::Old) {
            return;
        }
        if let Some(contact) = &changed.contact
            && let Some((account, row)) = read(contact, &self.identity)
        {
            self.put_contact(account, row);
        }
        if matches!(news, News::Gap) {
            self.relist(body, now);
        }
    }

    pub(in crate::member) fn settings_changed(&mut self, changed: &v1::SettingsChanged, body: &Body, now: Instant) {
        let Some(session) = &mut self.session else { return };
        let news = session.contacts.take(changed.serial);
        if matches!(news, News::Old) {
            return;
        }
        if let Some(settings) = &changed.settings {
            self.contacts.put_settings(settings, &mut self.outbox);
        }
        if matches!(news, News::Gap) {
            self.relist(body, now);
        }
    }

    pub(in crate::member) fn presence_changed(&mut self, changed: &v1::PresenceChanged) {
        let Ok(account) = AccountId::try_from(&changed.account[..]) else { return };
        let presence = changed.presence.as_ref().map(read_presence).unwrap_or_default();
        self.contacts.doubted.remove(&account);
        self.contacts.put_presence(account, presence, &mut self.outbox);
    }

    /// Takes a row over. The account key of an accepted contact is pinned like that of a name looked up.
    fn put_contact(&mut self, account: AccountId, row: Option<Row>) {
        if let Some(row) = row.as_ref().filter(|row| row.state == ContactState::Accepted) {
            self.pin_contact(&row.name, account, row.key);
        }
        self.contacts.put(account, row, &mut self.outbox);
    }

    /// Whether this key is the pinned one, or is so from now on. That it is not is announced once.
    pub(super) fn pin_contact(&mut self, name: &Name, account: AccountId, key: [u8; 32]) -> bool {
        let known = self.people.has_changed(name);
        let changed = self.people.learn(name, account, key, &mut self.outbox) == Standing::Changed;
        if changed && !known {
            self.outbox.event(Event::AccountKeyChanged { name: name.clone() });
        }
        !changed
    }
}
