//! Contacts: who stands how to this account, their presence, and the account's settings.
//!
//! The supernode's rows are the truth and this device's are a copy, kept so that they are there without a session. Two
//! things are this device's own: the alias, and the opened note. What strangers write is plain text of one line.

mod commands;
mod listing;

use std::collections::{BTreeMap, BTreeSet};

use ahoy_proto::limits::{CONTACTS_MAX, MOOD_CHARACTERS_MAX};
use ahoy_proto::{AccountId, Name, note, v1};
use serde::{Deserialize, Serialize};

use super::event::{Contact, ContactState, Event, Person, Presence, Settings};
use super::outbox::Outbox;
use super::{Identity, Member};
pub(super) use commands::ContactRequest;
pub(super) use listing::Progress;

const CONTACT_PREFIX: &[u8] = b"contact/";
const SETTINGS_KEY: &[u8] = b"settings";

/// Presences kept: those of all contacts, and as many again of accounts that are about to become some.
const PRESENCES_MAX: usize = 2 * CONTACTS_MAX;

/// Everybody that this account has to do with. Bounded by [`CONTACTS_MAX`].
#[derive(Default)]
pub(super) struct Contacts {
    rows: BTreeMap<AccountId, Row>,
    /// What was told in this session, and the moods of those before it.
    presences: BTreeMap<AccountId, Presence>,
    /// Those of whom it was told by a home that is gone, and by nobody since.
    doubted: BTreeSet<AccountId>,
    settings: Option<SettingsRecord>,
    activity: Activity,
}

/// One contact, as persisted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Row {
    name: Name,
    /// What the authority says; the pinned one is another matter.
    key: [u8; 32],
    state: ContactState,
    since: u64,
    /// Opened and cleaned.
    note: Option<String>,
    alias: Option<String>,
    #[serde(skip)]
    last_seen: v1::LastSeen,
}

/// [`Settings`], as persisted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SettingsRecord {
    calls_from: i32,
    availability: i32,
    mood: String,
    listed: bool,
}

/// Whether somebody sits at this device. A supernode takes a new session for away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Activity {
    #[default]
    Away,
    Here,
}

impl Contacts {
    /// Takes over one persisted pair.
    pub(super) fn restore(&mut self, key: &[u8], value: &[u8]) {
        if key == SETTINGS_KEY {
            self.settings = serde_json::from_slice(value).ok();
        } else if let Some(account) = key.strip_prefix(CONTACT_PREFIX).and_then(|id| AccountId::try_from(id).ok())
            && let Ok(row) = serde_json::from_slice(value)
        {
            self.rows.insert(account, row);
        }
    }

    fn find(&self, name: &Name) -> Option<(AccountId, &Row)> {
        self.rows.iter().find(|(_, row)| row.name == *name).map(|(account, row)| (*account, row))
    }

    fn contact(&self, account: AccountId, row: &Row) -> Contact {
        Contact {
            person: Person { account, name: row.name.clone() },
            state: row.state,
            since: row.since,
            note: row.note.clone(),
            alias: row.alias.clone(),
            presence: self.presence(account),
        }
    }

    fn presence(&self, account: AccountId) -> Presence {
        let Some(row) = self.rows.get(&account).filter(|row| row.state == ContactState::Accepted) else {
            return Presence::default();
        };
        let mut presence = self.presences.get(&account).cloned().unwrap_or_default();
        if presence.availability == v1::Availability::Offline && presence.last_seen == v1::LastSeen::Unspecified {
            presence.last_seen = row.last_seen;
        }
        presence
    }

    /// Puts a row in the place of the old one, or removes it with `None`; tells when that changes anything.
    fn put(&mut self, account: AccountId, row: Option<Row>, outbox: &mut Outbox) {
        let key = [CONTACT_PREFIX, &account.0].concat();
        let Some(mut row) = row else {
            let Some(old) = self.rows.remove(&account) else { return };
            self.presences.remove(&account);
            outbox.remove(key);
            let gone = Row { state: ContactState::None, since: 0, note: None, alias: None, ..old };
            return outbox.event(Event::Contact(self.contact(account, &gone)));
        };
        let old = self.rows.get(&account);
        if old.is_none() && self.rows.len() >= CONTACTS_MAX {
            return;
        }
        row.alias = old.and_then(|old| old.alias.clone());
        if old == Some(&row) {
            return;
        }
        if row.state != ContactState::Accepted && old.is_some_and(|old| old.state == ContactState::Accepted) {
            self.presences.remove(&account);
        }
        outbox.write(key, &row);
        self.rows.insert(account, row.clone());
        outbox.event(Event::Contact(self.contact(account, &row)));
    }

    fn put_settings(&mut self, settings: &v1::Settings, outbox: &mut Outbox) {
        let record = SettingsRecord::of(settings);
        if self.settings.as_ref() == Some(&record) {
            return;
        }
        outbox.write(SETTINGS_KEY.to_vec(), &record);
        let told = record.settings();
        self.settings = Some(record);
        outbox.event(Event::Settings(told));
    }

    fn put_presence(&mut self, account: AccountId, presence: Presence, outbox: &mut Outbox) {
        if !self.presences.contains_key(&account) && self.presences.len() >= PRESENCES_MAX {
            return;
        }
        let before = self.presence(account);
        self.presences.insert(account, presence);
        let presence = self.presence(account);
        if presence != before {
            outbox.event(Event::Presence { account, presence });
        }
    }

    /// A session begins: nobody is there until the supernode says so. Moods last.
    fn forget_presences(&mut self, outbox: &mut Outbox) {
        let told: Vec<AccountId> = self.presences.keys().copied().collect();
        for account in told {
            let mood = self.presences.get(&account).map(|presence| presence.mood.clone()).unwrap_or_default();
            self.put_presence(account, Presence { mood, ..Presence::default() }, outbox);
        }
    }
}

impl SettingsRecord {
    fn of(settings: &v1::Settings) -> Self {
        Self {
            calls_from: settings.calls_from,
            availability: settings.availability,
            mood: mood(&settings.mood),
            listed: settings.listed,
        }
    }

    /// Values that this program does not know are taken for the defaults.
    fn settings(&self) -> Settings {
        let calls_from = v1::CallsFrom::try_from(self.calls_from).ok();
        let availability = v1::Availability::try_from(self.availability).ok();
        Settings {
            calls_from: calls_from
                .filter(|calls_from| *calls_from != v1::CallsFrom::Unspecified)
                .unwrap_or(v1::CallsFrom::Contacts),
            availability: availability
                .filter(|availability| can_be_set(*availability))
                .unwrap_or(v1::Availability::Online),
            mood: self.mood.clone(),
            listed: self.listed,
        }
    }
}

impl Member {
    /// Everybody that this account has to do with, by name; as far as it is known, also without a session.
    pub fn contacts(&self) -> Vec<Contact> {
        let rows = self.contacts.rows.iter();
        let mut contacts: Vec<Contact> = rows.map(|(account, row)| self.contacts.contact(*account, row)).collect();
        contacts.sort_by(|a, b| a.person.name.cmp(&b.person.name));
        contacts
    }

    /// One of [`contacts`](Self::contacts).
    pub fn contact(&self, name: &Name) -> Option<Contact> {
        self.contacts.find(name).map(|(account, row)| self.contacts.contact(account, row))
    }

    /// The account's settings; `None` until they have been heard of for the first time.
    pub fn settings(&self) -> Option<Settings> {
        self.contacts.settings.as_ref().map(SettingsRecord::settings)
    }

    /// The presence of a contact; of anybody else it is not known.
    pub fn presence(&self, account: AccountId) -> Presence {
        self.contacts.presence(account)
    }

    /// Whether this account has blocked another: nothing of it is shown, and it does not ring.
    pub fn is_blocked(&self, account: AccountId) -> bool {
        self.contacts.rows.get(&account).is_some_and(|row| row.state == ContactState::Blocked)
    }

    /// Whether the account's owner does not want to be disturbed, by any device.
    pub(super) fn is_quiet(&self) -> bool {
        self.settings().is_some_and(|settings| settings.availability == v1::Availability::DoNotDisturb)
    }
}

/// One contact as the supernode tells it; `None` when it is none that a protocol of this version has.
fn read(contact: &v1::Contact, identity: &Identity) -> Option<(AccountId, Option<Row>)> {
    let account = AccountId::try_from(&contact.account[..]).ok()?;
    let state = match contact.state() {
        v1::ContactState::None => return Some((account, None)),
        v1::ContactState::Asked => ContactState::Asked,
        v1::ContactState::Asks => ContactState::Asks,
        v1::ContactState::Accepted => ContactState::Accepted,
        v1::ContactState::Blocked => ContactState::Blocked,
        v1::ContactState::Unspecified => return None,
    };
    let name = Name::parse(&contact.name).ok().filter(|name| name.as_str() == contact.name)?;
    let key = contact.account_key[..].try_into().ok()?;
    let note = || {
        let secret = identity.request_secret.as_ref()?;
        let text = note::open(&contact.note, account, identity.account, secret).ok()?;
        Some(one_line(&text)).filter(|text| !text.is_empty())
    };
    let note = if state == ContactState::Asks { note() } else { None };
    let last_seen = if state == ContactState::Accepted { contact.last_seen() } else { v1::LastSeen::Unspecified };
    let row = Row { name, key, state, since: contact.since, note, alias: None, last_seen };
    (account != identity.account).then_some((account, Some(row)))
}

/// Presence as it is told of others. What can't be is taken for absence.
fn read_presence(presence: &v1::Presence) -> Presence {
    use v1::Availability::{Away, DoNotDisturb, Invisible, Offline, Online, Unspecified};
    let (availability, last_seen) = match presence.availability() {
        there @ (Online | Away | DoNotDisturb) => (there, v1::LastSeen::Unspecified),
        Offline | Invisible | Unspecified => (Offline, presence.last_seen()),
    };
    Presence { availability, mood: mood(&presence.mood), last_seen }
}

/// Whether an account can set this for itself.
fn can_be_set(availability: v1::Availability) -> bool {
    use v1::Availability::{Away, DoNotDisturb, Invisible, Online};
    matches!(availability, Online | Away | DoNotDisturb | Invisible)
}

fn mood(text: &str) -> String {
    one_line(text).chars().take(MOOD_CHARACTERS_MAX).collect()
}

/// Text by somebody else as one line: what would break it becomes a space, what would turn the direction of what stands
/// around it is left out.
fn one_line(text: &str) -> String {
    let turns = |letter: char| matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let breaks = |letter: char| letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}');
    let kept = text.chars().filter(|letter| !turns(*letter));
    let line: String = kept.map(|letter| if breaks(letter) { ' ' } else { letter }).collect();
    line.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_write_is_one_line_and_turns_nothing_around() {
        assert_eq!(one_line("hi,\nit's\tme\u{2028}!\u{0}"), "hi, it's me !");
        assert_eq!(one_line("\u{202e}gnp.evil\u{2066}"), "gnp.evil");
        assert_eq!(one_line(" \r\n "), "");
        assert_eq!(mood(&"🌊".repeat(200)).chars().count(), MOOD_CHARACTERS_MAX);
    }
}
