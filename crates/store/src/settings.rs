//! What an account has set for all of its devices.

use ahoy_proto::limits::MOOD_CHARACTERS_MAX;
use ahoy_proto::{AccountId, v1};

use crate::StoreError;
use crate::sql::{Row, Transaction, params};
use crate::verb::{Key, Verb};

crate::statements::statements! {
    SETTINGS = "SELECT calls_from, availability, mood, listed, contacts_serial FROM accounts WHERE account = ?1";
    CHANGE = "UPDATE accounts SET calls_from = coalesce(?2, calls_from), availability = coalesce(?3, availability),
        mood = coalesce(?4, mood), listed = coalesce(?5, listed), contacts_serial = contacts_serial + 1
        WHERE account = ?1";
}

/// Changes those settings that are there. [`StoreError::Invalid`] for a value that is none.
#[derive(Debug)]
pub struct ChangeSettings {
    /// Whose.
    pub account: AccountId,
    /// What is to change.
    pub change: v1::ChangeSettings,
}

impl Verb for ChangeSettings {
    type Output = v1::SettingsChanged;

    fn key(&self) -> Key {
        self.account.into()
    }

    fn run(&self, transaction: &Transaction<'_>) -> Result<v1::SettingsChanged, StoreError> {
        let v1::ChangeSettings { calls_from, availability, mood, listed } = &self.change;
        let sound = calls_from.is_none_or(|value| value != 0 && v1::CallsFrom::try_from(value).is_ok())
            && availability.is_none_or(is_setting)
            && mood.as_ref().is_none_or(|mood| mood.chars().count() <= MOOD_CHARACTERS_MAX);
        if !sound {
            return Err(StoreError::Invalid);
        }
        let change = params![self.account, calls_from, availability, mood, listed];
        transaction.execute(CHANGE, change)?;
        settings(transaction, self.account)
    }
}

/// Whether an availability is one that can be set; OFFLINE is not.
fn is_setting(availability: i32) -> bool {
    use v1::Availability as A;
    matches!(A::try_from(availability), Ok(A::Online | A::Away | A::DoNotDisturb | A::Invisible))
}

/// An account's settings as they are now, with the serial of its contacts; [`StoreError::NotFound`] when there is no such account.
pub(crate) fn settings(transaction: &Transaction<'_>, account: AccountId) -> Result<v1::SettingsChanged, StoreError> {
    let settings = |row: &Row<'_>| {
        let settings =
            v1::Settings { calls_from: row.get(0)?, availability: row.get(1)?, mood: row.get(2)?, listed: row.get(3)? };
        Ok(v1::SettingsChanged { settings: Some(settings), serial: row.get(4)? })
    };
    transaction.one(SETTINGS, params![account], settings)
}
