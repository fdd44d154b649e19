//! Reports: what accounts have to say to the operator about others, sealed until the operator reads it.

use ahoy_proto::limits::REPORTS_PER_DAY_MAX;
use ahoy_proto::{AccountId, UnixTime};
use bytes::Bytes;

use crate::sql::{Row, Transaction, params};
use crate::verb::{Key, Verb};
use crate::{StoreError, accounts, lists};

crate::statements::statements! {
    COUNT = "SELECT count(*) FROM reports WHERE reporter = ?1 AND at > ?2";
    INSERT = "INSERT INTO reports (arrival, reporter, about, at, sealed) VALUES (?1, ?2, ?3, ?4, ?5)";
    AFTER = "SELECT arrival, reporter, about, at, sealed FROM reports WHERE arrival > ?1 ORDER BY arrival LIMIT ?2";
    FORGET = "DELETE FROM reports WHERE arrival = ?1";
    FORGET_BY = "DELETE FROM reports WHERE reporter = ?1";
    FORGET_ABOUT = "DELETE FROM reports WHERE about = ?1";
}

/// What counts as a day, in seconds.
const DAY: u64 = 86_400;

/// Reports on one page: at 32 KiB each, 3.2 MiB.
const PAGE_MAX: usize = 100;

/// Keeps a report. Fails with [`StoreError::NotFound`] when there is no such account, or [`StoreError::LimitReached`].
#[derive(Debug)]
pub struct Report {
    /// Who reports.
    pub account: AccountId,
    /// The account complained of.
    pub about: AccountId,
    /// To the operator's report key.
    pub sealed: Bytes,
    /// Now.
    pub at: UnixTime,
}

impl Verb for Report {
    type Output = ();

    fn key(&self) -> Key {
        self.account.into()
    }

    fn run(&self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        if !accounts::exists(transaction, self.about)? {
            return Err(StoreError::NotFound);
        }
        let since = self.at.0.saturating_sub(DAY);
        let count: usize = transaction.one(COUNT, params![self.account, since], |row| row.get(0))?;
        if count >= REPORTS_PER_DAY_MAX {
            return Err(StoreError::LimitReached);
        }
        let arrival = lists::next_report(transaction)?;
        let report = params![arrival, self.account, self.about, self.at, self.sealed];
        transaction.execute(INSERT, report)?;
        Ok(())
    }
}

/// A report as the operator gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reported {
    /// Names it, and counts up.
    pub arrival: u64,
    /// Who reports.
    pub reporter: AccountId,
    /// The account complained of.
    pub about: AccountId,
    /// When.
    pub at: UnixTime,
    /// To the operator's report key.
    pub sealed: Bytes,
}

/// A page of reports, oldest first. The last one is an empty page.
#[derive(Debug)]
pub struct ListReports {
    /// The last arrival of the page before; 0 for the first.
    pub after: u64,
}

impl Verb for ListReports {
    type Output = Vec<Reported>;
    fn run(&self, transaction: &Transaction<'_>) -> Result<Vec<Reported>, StoreError> {
        let after = i64::try_from(self.after).unwrap_or(i64::MAX);
        let report = |row: &Row<'_>| {
            Ok(Reported {
                arrival: row.get(0)?,
                reporter: row.get(1)?,
                about: row.get(2)?,
                at: row.get(3)?,
                sealed: row.get(4)?,
            })
        };
        transaction.all(AFTER, params![after, PAGE_MAX], report)
    }
}

/// Forgets a report that the operator has dealt with; [`StoreError::NotFound`] when there is none.
#[derive(Debug)]
pub struct ForgetReport {
    /// Which.
    pub arrival: u64,
}

impl Verb for ForgetReport {
    type Output = ();
    fn run(&self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        let arrival = i64::try_from(self.arrival).map_err(|_| StoreError::NotFound)?;
        accounts::found(transaction.execute(FORGET, params![arrival])?)
    }
}

/// Forgets what an account has reported, and what was reported about it.
pub(crate) fn forget_account(transaction: &Transaction<'_>, account: AccountId) -> Result<(), StoreError> {
    transaction.execute(FORGET_BY, params![account])?;
    transaction.execute(FORGET_ABOUT, params![account])?;
    Ok(())
}
