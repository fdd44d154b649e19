//! The end of an account: everything of it goes, but the key log, which is never rewritten.
//!
//! What it said in groups waits in their logs for the other members, as long as any entry does.

use std::time::Duration;

use ahoy_proto::{AccountId, ConversationId, DeviceId, UnixTime, v1};
use bytes::Bytes;

use crate::log::Appended;
use crate::sql::{Transaction, params};
use crate::verb::{Key, TIME_MAX_OF_MANY, Verb};
use crate::{AccountOf, StoreError, contacts, conversations, inbox, lists, members, reports};

crate::statements::statements! {
    DEVICES = "SELECT device FROM devices WHERE account = ?1 ORDER BY device";
    CONVERSATIONS = "SELECT conversation FROM members WHERE account = ?1 ORDER BY conversation";
    DROP_DEVICES = "DELETE FROM devices WHERE account = ?1";
    DROP = "DELETE FROM accounts WHERE account = ?1";
    KEEP_NAME = "INSERT INTO departed_names (name, until) VALUES (?1, ?2)
        ON CONFLICT (name) DO UPDATE SET until = excluded.until";
}

/// How long nobody may take the name: those who knew the account would take somebody else for it.
const NAME_KEPT: Duration = Duration::from_secs(30 * 86_400);

/// Whom the end of an account concerns.
#[derive(Debug, Clone, PartialEq)]
pub struct AccountDeleted {
    /// Its devices, whose sessions are to be closed.
    pub devices: Vec<DeviceId>,
    /// The entries in the logs of its groups, and who remains in each.
    pub departures: Vec<Appended>,
    /// Its one-to-one conversations, which are gone, and the other member of each.
    pub ended: Vec<(ConversationId, AccountId)>,
    /// Those who had it among their contacts, and what they have now.
    pub contacts: Vec<(AccountId, v1::ContactChanged)>,
}

/// Deletes an account with everything of it, and voids its credentials. [`StoreError::NotFound`] when there is none.
#[derive(Debug)]
pub struct DeleteAccount {
    /// Which.
    pub account: AccountId,
    /// Now: credentials signed until this second are void.
    pub at: UnixTime,
}

impl Verb for DeleteAccount {
    type Output = AccountDeleted;

    fn key(&self) -> Key {
        self.account.into()
    }

    fn time_max(&self) -> Duration {
        TIME_MAX_OF_MANY
    }

    fn run(&self, transaction: &Transaction<'_>) -> Result<AccountDeleted, StoreError> {
        let Self { account, at } = *self;
        let name = AccountOf { account }.run(transaction)?.name;
        let contacts = contacts::forget(transaction, account)?;
        let (mut departures, mut ended) = (Vec::new(), Vec::new());
        for id in ids(transaction, CONVERSATIONS, account)?.into_iter().map(ConversationId) {
            if conversations::is_pair(transaction, id)? {
                let others = members::members(transaction, id)?.into_iter().filter(|member| *member != account);
                ended.extend(others.map(|other| (id, other)));
                conversations::forget(transaction, id)?;
            } else {
                let at_ms = at.0.saturating_mul(1_000);
                departures.push(members::depart(transaction, account, Bytes::new(), id, at_ms)?);
            }
        }
        departures.retain(|departure| !departure.members.is_empty());
        let devices: Vec<DeviceId> = ids(transaction, DEVICES, account)?.into_iter().map(DeviceId).collect();
        for device in &devices {
            inbox::forget_all(transaction, *device)?;
        }
        reports::forget_account(transaction, account)?;
        transaction.execute(DROP_DEVICES, params![account])?;
        transaction.execute(DROP, params![account])?;
        transaction.execute(KEEP_NAME, params![name.as_str(), at.plus(NAME_KEPT).0])?;
        lists::revoke_account(transaction, account, at)?;
        Ok(AccountDeleted { devices, departures, ended, contacts })
    }
}

fn ids(
    transaction: &Transaction<'_>,
    statement: &'static str,
    account: AccountId,
) -> Result<Vec<[u8; 16]>, StoreError> {
    transaction.all(statement, params![account], |row| row.get(0))
}
