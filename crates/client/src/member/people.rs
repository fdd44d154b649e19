//! People: which account a name is, and which account key was seen first for it.
//!
//! An account key is pinned when the authority names it for the first time. Another one later, from the authority or
//! from a device, is remembered as offered and counts for nothing until the owner of this device accepts it.

use std::collections::BTreeMap;

use ahoy_proto::{AccountId, Name};
use serde::{Deserialize, Serialize};

use super::outbox::Outbox;

pub(super) const PIN_PREFIX: &[u8] = b"pin/";
pub(super) const NAME_PREFIX: &[u8] = b"name/";

/// An account whose key is pinned.
#[derive(Serialize, Deserialize)]
pub(super) struct Pin {
    pub(super) name: Name,
    pub(super) key: [u8; 32],
    /// Accepted earlier: devices bound by them may still stand in groups.
    past: Vec<[u8; 32]>,
    offered: Option<[u8; 32]>,
}

/// Which account a name is.
#[derive(Serialize, Deserialize)]
struct NameRecord {
    account: AccountId,
    /// The name has come to be another account's.
    offered: Option<(AccountId, [u8; 32])>,
}

/// What an account key shown to this device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// The pinned one, or one accepted before it.
    Pinned,
    /// Nothing is pinned.
    Unknown,
    /// Another than the pinned one.
    Changed,
}

/// Everybody this device knows. Bounded by what its owner calls and who calls them: one entry each.
#[derive(Default)]
pub(super) struct People {
    pins: BTreeMap<AccountId, Pin>,
    names: BTreeMap<Name, NameRecord>,
}

impl People {
    /// Takes over one persisted pair.
    pub(super) fn restore(&mut self, key: &[u8], value: &[u8]) {
        if let Some(account) = key.strip_prefix(PIN_PREFIX).and_then(|id| AccountId::try_from(id).ok()) {
            if let Ok(pin) = serde_json::from_slice(value) {
                self.pins.insert(account, pin);
            }
        } else if let Some(name) = key.strip_prefix(NAME_PREFIX) {
            let name = std::str::from_utf8(name).ok().and_then(|name| Name::parse(name).ok());
            if let (Some(name), Ok(record)) = (name, serde_json::from_slice(value)) {
                self.names.insert(name, record);
            }
        }
    }

    /// The account and pinned key of a name; `None` while unknown or changed.
    pub(super) fn find(&self, name: &Name) -> Option<(AccountId, &Pin)> {
        let record = self.names.get(name).filter(|record| record.offered.is_none())?;
        let pin = self.pins.get(&record.account).filter(|pin| pin.offered.is_none())?;
        Some((record.account, pin))
    }

    /// The pin of an account.
    pub(super) fn pin(&self, account: AccountId) -> Option<&Pin> {
        self.pins.get(&account)
    }

    /// Whether a change waits to be accepted.
    pub(super) fn has_changed(&self, name: &Name) -> bool {
        self.names.get(name).is_some_and(|record| {
            record.offered.is_some() || self.pins.get(&record.account).is_some_and(|pin| pin.offered.is_some())
        })
    }

    /// What this key is for this account.
    pub(super) fn standing(&self, account: AccountId, key: &[u8; 32]) -> Standing {
        match self.pins.get(&account) {
            None => Standing::Unknown,
            Some(pin) if pin.key == *key || pin.past.contains(key) => Standing::Pinned,
            Some(_) => Standing::Changed,
        }
    }

    /// Remembers a key that a device showed for a pinned account.
    pub(super) fn offer(&mut self, account: AccountId, key: [u8; 32], outbox: &mut Outbox) -> Option<Name> {
        let pin = self.pins.get_mut(&account)?;
        pin.offered = Some(key);
        outbox.write([PIN_PREFIX, &account.0].concat(), pin);
        Some(pin.name.clone())
    }

    /// Takes the authority's word for a name: pins what is new, and says whether something changed.
    pub(super) fn learn(&mut self, name: &Name, account: AccountId, key: [u8; 32], outbox: &mut Outbox) -> Standing {
        if let Some(record) = self.names.get_mut(name)
            && record.account != account
        {
            record.offered = Some((account, key));
            outbox.write([NAME_PREFIX, name.as_str().as_bytes()].concat(), record);
            return Standing::Changed;
        }
        match self.pins.get_mut(&account) {
            Some(pin) if pin.key != key => {
                pin.offered = Some(key);
                outbox.write([PIN_PREFIX, &account.0].concat(), pin);
                return Standing::Changed;
            }
            Some(pin) if pin.offered.is_some() => return Standing::Changed,
            Some(_) => {}
            None => self.pin_new(name, account, key, outbox),
        }
        if !self.names.contains_key(name) {
            self.name_new(name, account, outbox);
        }
        Standing::Pinned
    }

    /// Makes what was offered for a name the pinned account and key. False when nothing was.
    pub(super) fn accept(&mut self, name: &Name, outbox: &mut Outbox) -> bool {
        let Some(record) = self.names.get(name) else { return false };
        if let Some((account, key)) = record.offered {
            self.name_new(name, account, outbox);
            if !self.pins.contains_key(&account) {
                self.pin_new(name, account, key, outbox);
            }
            return true;
        }
        let account = record.account;
        let Some(pin) = self.pins.get_mut(&account) else { return false };
        let Some(key) = pin.offered.take() else { return false };
        let old = std::mem::replace(&mut pin.key, key);
        pin.past.retain(|past| *past != key);
        pin.past.push(old);
        outbox.write([PIN_PREFIX, &account.0].concat(), pin);
        true
    }

    fn pin_new(&mut self, name: &Name, account: AccountId, key: [u8; 32], outbox: &mut Outbox) {
        let pin = Pin { name: name.clone(), key, past: Vec::new(), offered: None };
        outbox.write([PIN_PREFIX, &account.0].concat(), &pin);
        self.pins.insert(account, pin);
    }

    fn name_new(&mut self, name: &Name, account: AccountId, outbox: &mut Outbox) {
        let record = NameRecord { account, offered: None };
        outbox.write([NAME_PREFIX, name.as_str().as_bytes()].concat(), &record);
        self.names.insert(name.clone(), record);
    }
}
