//! Accounts at rest: bytes of the database by account when nobody has anything to fetch.

use ahoy_proto::ConversationId;

use super::filled;
use crate::harness::{Daemon, DaemonOptions, Trial};
use crate::wire::NetworkKeys;

/// Key packages that each device has at the supernode, and one of last resort.
const KEY_PACKAGES: usize = 20;

/// Contacts of each account.
const CONTACTS: usize = 50;

/// One-to-one conversations of each account, each of which two accounts share.
const CONVERSATIONS: usize = 10;

/// Bytes by account, of so many accounts with one device each.
///
/// # Errors
/// When the server does not start, or its database does not take the accounts.
pub fn bytes_per_account(trial: &Trial, accounts: usize) -> anyhow::Result<f64> {
    let data = trial.folder().join(format!("rest-{}", rand::random::<u32>()));
    let daemon = Daemon::start(trial, DaemonOptions { data: Some(data), ..DaemonOptions::default() })?;
    let keys = NetworkKeys::read(daemon.data())?;
    let people: Vec<_> = (0..accounts).map(|_| keys.identity()).collect();
    let empty = filled::size(daemon.data())?;
    filled::fill(daemon.data(), |filling| {
        people.iter().try_for_each(|person| filling.account(person))?;
        people.iter().try_for_each(|person| filling.key_packages(person, KEY_PACKAGES))?;
        filled::in_circle(accounts, CONTACTS, |one, other| {
            filling.contacts(people[one].account, people[other].account)
        })?;
        filled::in_circle(accounts, CONVERSATIONS, |one, other| {
            filling.conversation(ConversationId(rand::random()), [&people[one], &people[other]])
        })
    })?;
    Ok((filled::size(daemon.data())? - empty) as f64 / accounts as f64)
}
