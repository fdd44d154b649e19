//! People who never signed up, written straight into the database of an `ahoyd`: the same rows as after thousands of sign-ups, and no
//! password to stretch for each.
//!
//! Everything is as long as what clients leave there; what only clients read is noise.

use std::path::Path;
use std::time::Duration;

use ahoy_proto::{AccountId, ConversationId, v1};
use anyhow::{Context as _, ensure};
use rusqlite::{Connection, OpenFlags, params};

use crate::wire::{Identity, noise};

/// How long `ahoyd` may hold its database.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Lengths of what clients and the authority store: of the rows that two clients (`ahoy`) leave which are each other's contacts and have
/// a conversation.
mod length {
    pub(super) const KEY: usize = 32;
    pub(super) const OPAQUE_RECORD: usize = 192;
    pub(super) const SEALED_ACCOUNT_KEY: usize = 72;
    pub(super) const REQUEST_KEY: usize = 96;
    pub(super) const BINDING: usize = 176;
    pub(super) const KEY_PACKAGE: usize = 449;
    pub(super) const GROUP_INFO: usize = 991;
    pub(super) const RECEIPT: usize = 52;
}

/// The epoch that conversations are in: that of the commit which invites the second account.
pub const EPOCH: u64 = 1;

/// The generation that conversations are in.
pub const GENERATION: u32 = 1;

/// A transaction that writes people.
#[derive(Debug)]
pub struct Filling<'a>(&'a Connection);

/// Fills the database in a data folder, in one transaction, and writes it all into the file proper. Its `ahoyd` may run.
///
/// # Errors
/// When it is not there, or does not take the rows.
pub fn fill(data: &Path, write: impl FnOnce(&Filling<'_>) -> rusqlite::Result<()>) -> anyhow::Result<()> {
    let mut connection = open(data)?;
    let transaction = connection.transaction()?;
    write(&Filling(&transaction))?;
    transaction.commit()?;
    checkpoint(&connection)
}

/// Bytes of the database in a data folder, with everything in the file proper.
///
/// # Errors
/// When it is not there, or somebody reads from it for long.
pub fn size(data: &Path) -> anyhow::Result<u64> {
    checkpoint(&open(data)?)?;
    Ok(std::fs::metadata(database(data))?.len())
}

fn database(data: &Path) -> std::path::PathBuf {
    data.join("ahoy.sqlite")
}

fn open(data: &Path) -> anyhow::Result<Connection> {
    let file = database(data);
    let connection = Connection::open_with_flags(&file, OpenFlags::SQLITE_OPEN_READ_WRITE)
        .with_context(|| format!("can't open {}", file.display()))?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    Ok(connection)
}

fn checkpoint(connection: &Connection) -> anyhow::Result<()> {
    let busy: bool = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    ensure!(!busy, "somebody holds the database");
    Ok(())
}

impl Filling<'_> {
    /// An account with one device, as after sign-up.
    ///
    /// # Errors
    /// When the database does not take it.
    pub fn account(&self, identity: &Identity) -> rusqlite::Result<()> {
        let (account, key) = (identity.account.0, noise(length::KEY));
        let name = format!("{:x}", u64::from_be_bytes(rand::random()) >> 24);
        self.execute(
            "INSERT INTO accounts (account, name, account_key, opaque_record, sealed_account_key, recovery_verifier,
                recovery_sealed_account_key, calls_from, suspended, made_at, request_key)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0, 1, ?9)",
            params![
                account,
                name,
                &key[..],
                &noise(length::OPAQUE_RECORD)[..],
                &noise(length::SEALED_ACCOUNT_KEY)[..],
                &noise(length::KEY)[..],
                &noise(length::SEALED_ACCOUNT_KEY)[..],
                v1::CallsFrom::Contacts as i32,
                &noise(length::REQUEST_KEY)[..],
            ],
        )?;
        self.execute(
            "INSERT INTO account_key_log (sequence, account, account_key, at, head)
                SELECT coalesce(max(sequence), 0) + 1, ?1, ?2, 1, ?3 FROM account_key_log",
            params![account, &key[..], &noise(length::KEY)[..]],
        )?;
        self.execute(
            "INSERT INTO devices (device, account, name, device_key, binding, made_at) VALUES (?1, ?2, 'laptop', ?3, ?4, 1)",
            params![identity.device.0, account, identity.key.verifying_key().as_bytes(), &noise(length::BINDING)[..]],
        )
    }

    /// Two accounts are each other's contacts.
    ///
    /// # Errors
    /// When the database does not take it.
    pub fn contacts(&self, one: AccountId, other: AccountId) -> rusqlite::Result<()> {
        for [account, peer] in [[one, other], [other, one]] {
            self.execute(
                "INSERT INTO contacts (account, peer, state, since, note) VALUES (?1, ?2, ?3, 1, x'')",
                params![account.0, peer.0, v1::ContactState::Accepted as i32],
            )?;
        }
        Ok(())
    }

    /// A device has so many key packages, and one of last resort.
    ///
    /// # Errors
    /// When the database does not take them.
    pub fn key_packages(&self, identity: &Identity, count: usize) -> rusqlite::Result<()> {
        for place in 0..=count {
            self.execute(
                "INSERT INTO key_packages (device, last_resort, key_package) VALUES (?1, ?2, ?3)",
                params![identity.device.0, place == 0, &noise(length::KEY_PACKAGE)[..]],
            )?;
        }
        Ok(())
    }

    /// The one-to-one conversation of two accounts, whose devices stand in it and have told what they read.
    ///
    /// # Errors
    /// When the database does not take it.
    pub fn conversation(&self, id: ConversationId, members: [&Identity; 2]) -> rusqlite::Result<()> {
        let [one, other] = members.map(|member| member.account);
        let pair = [one.min(other).0, one.max(other).0].concat();
        self.execute(
            "INSERT INTO conversations (conversation, pair, generation, epoch, head, receipts_serial)
                VALUES (?1, ?2, ?3, ?4, 0, 2)",
            params![id.0, pair, GENERATION, EPOCH],
        )?;
        self.execute(
            "INSERT INTO group_infos (conversation, group_info) VALUES (?1, ?2)",
            params![id.0, &noise(length::GROUP_INFO)[..]],
        )?;
        for (place, member) in members.into_iter().enumerate() {
            self.execute(
                "INSERT INTO members (account, conversation, since) VALUES (?1, ?2, 0)",
                params![member.account.0, id.0],
            )?;
            self.execute(
                "INSERT INTO cursors (conversation, device, acknowledged, sent) VALUES (?1, ?2, 0, 0)",
                params![id.0, member.device.0],
            )?;
            self.execute(
                "INSERT INTO receipts (conversation, device, serial, sealed) VALUES (?1, ?2, ?3, ?4)",
                params![id.0, member.device.0, place + 1, &noise(length::RECEIPT)[..]],
            )?;
        }
        Ok(())
    }

    fn execute(&self, statement: &str, values: impl rusqlite::Params) -> rusqlite::Result<()> {
        self.0.prepare_cached(statement)?.execute(values)?;
        Ok(())
    }
}

/// Calls `meet` for pairs of `people`, who sit in a circle, so that each is paired with `count` others: those nearest on both sides.
///
/// # Errors
/// The first one of `meet`.
pub fn in_circle<E>(people: usize, count: usize, mut meet: impl FnMut(usize, usize) -> Result<(), E>) -> Result<(), E> {
    for place in 0..people {
        for step in 1..=count / 2 {
            meet(place, (place + step) % people)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ahoy_proto::NetworkId;
    use ahoy_store::{Day, ListContacts, SendMessage, Sent, Store};
    use ed25519_dalek::SigningKey;

    use super::*;

    #[test]
    fn everybody_in_a_circle_meets_as_many_others() {
        let mut met = vec![Vec::new(); 9];
        in_circle(9, 4, |one, other| {
            met[one].push(other);
            met[other].push(one);
            Ok::<_, ()>(())
        })
        .unwrap();
        for (own, mut others) in met.into_iter().enumerate() {
            others.sort_unstable();
            others.dedup();
            assert_eq!(others.len(), 4);
            assert!(!others.contains(&own));
        }
    }

    #[tokio::test]
    async fn the_store_takes_written_people_for_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("ahoy.sqlite")).unwrap();
        let signing = SigningKey::from_bytes(&[1; 32]);
        let people = [2, 3].map(|id| Identity::made(NetworkId([9; 16]), AccountId([id; 16]), &signing));
        let conversation = ConversationId([4; 16]);
        let empty = size(folder.path()).unwrap();
        fill(folder.path(), |filling| {
            people.iter().try_for_each(|person| filling.account(person))?;
            filling.contacts(people[0].account, people[1].account)?;
            filling.key_packages(&people[0], 20)?;
            filling.conversation(conversation, [&people[0], &people[1]])
        })
        .unwrap();
        assert!(size(folder.path()).unwrap() > empty);

        let account = people[0].account;
        let listed = store.call(ListContacts { account, after: None, today: Day(1) }).await.unwrap();
        assert_eq!(listed.contacts[0].account, people[1].account.to_bytes());
        assert_eq!(listed.contacts[0].state(), v1::ContactState::Accepted);
        let message = SendMessage {
            account,
            device: people[0].device,
            conversation,
            number: 1,
            generation: GENERATION,
            epoch: EPOCH,
            sealed: noise(400),
            at_ms: 1,
        };
        let Sent::Appended(appended) = store.call(message).await.unwrap() else { panic!("it is a first one") };
        assert_eq!(appended.members.len(), 2);
    }
}
