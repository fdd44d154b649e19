//! What the store promises, on real files and at real servers.
//!
//! The conformance suite is compiled once for each engine, and holds for both.

#![allow(clippy::duplicate_mod, reason = "each of the two is about another engine, by the World beside it")]

mod backup;
mod disk;
mod kill;
mod migrate;
mod migration;
mod on_postgres;
mod on_sqlite;
mod plans;
mod postgres;
mod power;
mod tls;

use std::path::PathBuf;
use std::sync::mpsc;

use ahoy_proto::{AccountId, ConversationId, DeviceId, Name, UnixTime, v1};
use bytes::Bytes;
use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::sql::params;

const NOW: UnixTime = UnixTime(1_000_000);

/// Where a store of a test lives, and with what of it.
trait Home {
    /// Tables and columns of bytes or text.
    const COLUMNS: &str;

    /// An empty one.
    fn new() -> Self;

    /// A store there, beside those that there may be.
    fn open(&self) -> Store;
}

/// A file in a folder of its own.
struct File(TempDir);

impl File {
    fn path(&self) -> PathBuf {
        self.0.path().join("ahoy.db")
    }
}

impl Home for File {
    const COLUMNS: &str = "SELECT tables.name, columns.name FROM sqlite_schema AS tables
        JOIN pragma_table_info(tables.name) AS columns WHERE tables.type = 'table' AND columns.type IN ('BLOB', 'TEXT')";

    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn open(&self) -> Store {
        Store::open(&self.path()).unwrap()
    }
}

impl Home for testing::Database {
    const COLUMNS: &str = "SELECT CAST(table_name AS TEXT), CAST(column_name AS TEXT) FROM information_schema.columns
        WHERE table_schema = 'public' AND data_type IN ('bytea', 'text')";

    fn new() -> Self {
        Self::new()
    }

    fn open(&self) -> Store {
        Store::connect(self.address()).unwrap()
    }
}

/// A store of its own.
struct World<H> {
    // Closed before its home goes.
    store: Store,
    home: H,
}

impl<H: Home> World<H> {
    const COLUMNS: &str = H::COLUMNS;

    fn new() -> Self {
        let home = H::new();
        Self { store: home.open(), home }
    }

    fn run<V: Verb>(&self, verb: V) -> Result<V::Output, StoreError> {
        run(&self.store, verb)
    }

    /// An account named after its number, with one device of the same number.
    fn account(&self, number: u8) -> AccountId {
        self.run(sign_up(number, &format!("name{number}"), Admission::Anyone, None)).unwrap();
        AccountId([number; 16])
    }

    /// Two accounts that are each other's contacts.
    fn contacts(&self, one: u8, other: u8) -> (AccountId, AccountId) {
        let (account, peer) = (self.account(one), self.account(other));
        self.befriend(account, peer);
        (account, peer)
    }

    fn befriend(&self, account: AccountId, peer: AccountId) {
        let ask = |account, peer| RequestContact { account, peer, note: Bytes::new(), at: NOW };
        self.run(ask(account, peer)).unwrap();
        self.run(ask(peer, account)).unwrap();
    }

    /// Does something that no verb does.
    fn behind<T: Send + 'static>(
        &self,
        work: impl Fn(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> T {
        self.run(Behind(work)).unwrap()
    }

    /// Looks at what no verb shows.
    fn number(&self, query: &str) -> u64 {
        let query: &str = format!("SELECT CAST(({query}) AS BIGINT)").leak();
        self.behind(move |transaction| transaction.one(query, params![], |row| row.get(0)))
    }

    /// So many accounts more, `crowd0001` and so on; what no test looks at is empty.
    fn crowd(&self, count: usize) {
        const INSERT: &str = "INSERT INTO accounts (account, name, account_key, opaque_record, sealed_account_key,
            recovery_verifier, recovery_sealed_account_key, calls_from, suspended, made_at)
            VALUES (?1, ?2, ?3, ?4, ?4, ?3, ?4, 3, 0, 0)";
        for_each_of(count, |numbers| {
            self.behind(move |transaction| {
                for number in numbers.clone() {
                    let name = format!("crowd{number:04}");
                    transaction.execute(INSERT, params![numbered(number), name, [0; 32], [0; 0]])?;
                }
                Ok(())
            });
        });
    }
}

/// What a verb may not take too long for, in portions.
fn for_each_of(count: usize, mut work: impl FnMut(std::ops::Range<usize>)) {
    for first in (0..count).step_by(500) {
        work(first..count.min(first + 500));
    }
}

/// Ids in the order of their numbers.
fn numbered(number: usize) -> [u8; 16] {
    (number as u128 + 1_000).to_be_bytes()
}

struct Behind<F>(F);

impl<T: Send + 'static, F: Fn(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static> Verb for Behind<F> {
    type Output = T;

    fn run(&self, transaction: &Transaction<'_>) -> Result<T, StoreError> {
        (self.0)(transaction)
    }
}

fn run<V: Verb>(store: &Store, verb: V) -> Result<V::Output, StoreError> {
    let (reply, answer) = mpsc::channel();
    store.submit(verb, move |result| _ = reply.send(result));
    answer.recv().unwrap()
}

fn sign_up(number: u8, name: &str, admission: Admission, invite: Option<[u8; 32]>) -> AddAccount {
    let recovery = Recovery { verifier: [number; 32], sealed_account_key: vec![2; 72] };
    AddAccount {
        account: NewAccount {
            account: AccountId([number; 16]),
            name: Name::parse(name).unwrap(),
            account_key: [number; 32],
            request_key: None,
            opaque_record: vec![number; 192],
            sealed_account_key: vec![201; 72],
            recovery,
        },
        device: device(number),
        admission,
        invite,
        at: NOW,
    }
}

fn device(number: u8) -> Device {
    Device {
        device: DeviceId([number; 16]),
        name: "telephone".to_owned(),
        device_key: [number; 32],
        binding: vec![3; 200],
    }
}

fn add_device(account: AccountId, number: u8) -> AddDevice {
    AddDevice { account, device: device(number), at: NOW }
}
