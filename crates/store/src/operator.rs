//! What the operator sees of accounts.

use ahoy_proto::{AccountId, Name, UnixTime};

use crate::sql::{Row, Transaction, params};
use crate::verb::{Key, Verb};
use crate::{Day, StoreError, accounts};

crate::statements::statements! {
    ONE = "SELECT account, name, suspended, made_at,
        (SELECT count(*) FROM devices WHERE devices.account = accounts.account), last_seen_day
        FROM accounts WHERE account = ?1";
    LIST = "SELECT account, name, suspended, made_at,
        (SELECT count(*) FROM devices WHERE devices.account = accounts.account), last_seen_day
        FROM accounts WHERE name > ?1 ORDER BY name LIMIT ?2";
}

/// Accounts on one page.
const PAGE_MAX: usize = 500;

/// One account, as the operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountSummary {
    /// Its id.
    pub account: AccountId,
    /// Its name.
    pub name: Name,
    /// Shut out by the operator.
    pub suspended: bool,
    /// When it was made.
    pub made_at: UnixTime,
    /// How many devices it has.
    pub devices: usize,
    /// When a device of it was last there; `None`: never.
    pub last_seen: Option<Day>,
}

/// A page of accounts, by name. The last one is an empty page.
#[derive(Debug)]
pub struct ListAccounts {
    /// The last name of the page before.
    pub after: Option<Name>,
}

impl Verb for ListAccounts {
    type Output = Vec<AccountSummary>;
    fn run(&self, transaction: &Transaction<'_>) -> Result<Vec<AccountSummary>, StoreError> {
        // Every name is greater than the empty string.
        let after = self.after.as_ref().map_or("", Name::as_str);
        transaction.all(LIST, params![after, PAGE_MAX], summary)
    }
}

/// One account, or [`StoreError::NotFound`].
#[derive(Debug)]
pub struct SummaryOf {
    /// Which.
    pub account: AccountId,
}

impl Verb for SummaryOf {
    type Output = AccountSummary;

    fn key(&self) -> Key {
        self.account.into()
    }

    fn run(&self, transaction: &Transaction<'_>) -> Result<AccountSummary, StoreError> {
        transaction.one(ONE, params![self.account], summary)
    }
}

fn summary(row: &Row<'_>) -> Result<AccountSummary, StoreError> {
    let day: u32 = row.get(5)?;
    Ok(AccountSummary {
        account: row.get(0)?,
        name: accounts::name(row, 1)?,
        suspended: row.get(2)?,
        made_at: row.get(3)?,
        devices: row.get(4)?,
        last_seen: (day > 0).then_some(Day(day)),
    })
}
