//! Durable truth: accounts, devices, contacts, conversations with their logs, inboxes, and what the authority has signed away.
//!
//! A [`Store`] is a handle to one database: SQLite in a file ([`Store::open`]), or PostgreSQL ([`Store::connect`]). Work arrives
//! as a [`Verb`]: a small typed transaction that takes effect whole or not at all. *No reply leaves before what it tells is on the
//! disk*: what was answered survives a `kill -9` and a power cut. Both engines run the same verbs and pass the same tests.

mod accounts;
pub mod backup;
mod commits;
mod contacts;
mod conversations;
mod cursors;
mod deletion;
mod devices;
mod error;
mod expiry;
mod inbox;
mod invites;
mod key_packages;
mod lists;
mod log;
mod members;
mod migrate;
mod operator;
mod postgres;
mod receipts;
mod reports;
mod restoration;
mod settings;
mod sql;
mod sqlite;
mod statements;
mod supernodes;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod thread;
mod verb;

use std::path::Path;
use std::sync::Arc;

use ahoy_proto::{AccountId, DeviceId, v1};
use tokio::sync::oneshot;

pub use accounts::{
    Account, AccountByName, AccountOf, AddAccount, ChangePassword, FindAccount, FoundAccount, KeyLogHead,
    KeyLogHeadNow, NewAccount, Recovery, SearchDirectory, SetRequestKey, Suspend,
};
pub use commits::{Commit, Committed};
pub use contacts::{AnswerContact, BlockAccount, ContactChange, ListContacts, RemoveContact, RequestContact};
pub use conversations::{CreateConversation, Created, FetchGroupInfo, ListConversations};
pub use cursors::Acknowledge;
pub use deletion::{AccountDeleted, DeleteAccount};
pub use devices::{AddDevice, CheckIn, Day, Device, DeviceOf, ListDevices, MarkSeen, RenameDevice, RevokeDevice};
pub use error::{OpenError, StoreError};
pub use expiry::{Expire, Expired};
pub use inbox::{FetchInbox, Welcoming};
pub use invites::{AddInvite, Admission, CheckAdmission};
pub use key_packages::{ClaimKeyPackages, PublishKeyPackages};
pub use lists::{ListSerials, PruneRevocations, RevocationLists, Revocations, Serials};
pub use log::{Appended, FetchLog, SendMessage, Sent};
pub use members::{CallWelcome, Callee, Callees, FetchMembers, LeaveConversation, ListMemberIds};
pub use migrate::{MoveError, MoveProgress, MoveStep, migrate};
pub use operator::{AccountSummary, ListAccounts, SummaryOf};
pub use postgres::CONNECTIONS;
pub use receipts::{FetchReceipts, ReceiptSet, SetReceipt};
pub use reports::{ForgetReport, ListReports, Report, Reported};
pub use restoration::AfterRestore;
pub use settings::ChangeSettings;
pub use sql::Transaction;
pub use supernodes::{
    AddEnrolment, ChangeSupernode, Enrol, EnrolOwn, Enrolled, Enrolling, Granted, ListSupernodes, Place, Publication,
    Publications, Publish, Published, PublishedList, RevokeSupernode, SupernodeOf, Supernodes,
};
pub use verb::{Key, Verb};

/// What arrived in an inbox, and whose inbox it is, so that a device that is online gets it at once.
pub type Delivery = (AccountId, DeviceId, v1::InboxEntry);

/// Verbs that wait. At 30,000 verbs a second, 8,192 are a quarter of a second; a caller refused before that is better off
/// than one kept waiting longer. Each holds at most one message (64 KiB), a large one (2.25 MiB) only where the bound on those
/// of a shard allows.
pub const QUEUE_MAX: usize = 8_192;

/// A handle to the database; clones share it. When the last one is dropped, everything submitted is carried out first.
#[derive(Debug, Clone)]
pub struct Store(Arc<Engine>);

#[derive(Debug)]
enum Engine {
    Sqlite(sqlite::Sqlite),
    Postgres(postgres::Postgres),
}

impl Store {
    /// Opens or creates the database file and brings its schema up to date.
    ///
    /// # Errors
    /// When the file can't be opened, is no database, or was written by a newer version of this software.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Ok(Self(Arc::new(Engine::Sqlite(sqlite::Sqlite::open(path)?))))
    }

    /// Connects to a PostgreSQL database, `postgres://user:password@host/database`, and brings its schema up to date. It has to be
    /// there, empty or ours, in UTF8. With `?sslmode=require` connections are encrypted, and the server has to prove its name by a
    /// certificate that the system trusts; without, nothing is encrypted, which suits a Unix socket
    /// (`postgres:///database?host=/run/postgresql`). Several hosts may be named (`host1,host2`), with
    /// `target_session_attrs=read-write` to find the one that leads. Takes [`CONNECTIONS`] connections and wants them directly, not
    /// through a pooler.
    ///
    /// Blocks for some seconds at most.
    ///
    /// # Errors
    /// When the server can't be reached or refuses us, or the database is no fit one or was written by a newer version of this
    /// software.
    pub fn connect(address: &str) -> Result<Self, OpenError> {
        Ok(Self(Arc::new(Engine::Postgres(postgres::Postgres::connect(address)?))))
    }

    /// Whether connections to this address of a PostgreSQL database cross a network unencrypted: to a host that is not this machine,
    /// without `sslmode=require`.
    pub fn is_in_the_clear(address: &str) -> bool {
        postgres::address::is_in_the_clear(address)
    }

    /// Queues a verb. `reply` is called exactly once: on a thread of the store once the verb is durable or has failed, or
    /// at once, on this thread, when the queue is full. It must not block.
    pub fn submit<V: Verb>(&self, verb: V, reply: impl FnOnce(Result<V::Output, StoreError>) + Send + 'static) {
        let key = verb.key();
        let job = verb::job(verb, reply);
        match &*self.0 {
            Engine::Sqlite(sqlite) => sqlite.submit(job),
            Engine::Postgres(postgres) => postgres.submit(key, job),
        }
    }

    /// Carries out a verb and waits until it is durable.
    ///
    /// # Errors
    /// As the verb says, or [`StoreError::Busy`], [`StoreError::Full`] and [`StoreError::Unavailable`].
    pub async fn call<V: Verb>(&self, verb: V) -> Result<V::Output, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.submit(verb, |result| _ = reply.send(result));
        answer.await.unwrap_or(Err(StoreError::Unavailable))
    }

    /// Copies the database as it is in this moment, on this thread, while the store goes on. Returns once the copy is on the
    /// disk; on any failure there is none. SQLite's only: PostgreSQL has its own tools.
    ///
    /// # Errors
    /// When there is a file of that name already, or the copy can't be written.
    pub fn backup(&self, to: &Path, mut progress: impl FnMut(backup::Progress)) -> Result<(), backup::BackupError> {
        match &*self.0 {
            Engine::Sqlite(sqlite) => backup::make(sqlite.path(), to, &mut progress),
            Engine::Postgres(_) => Err(backup::BackupError::Postgres),
        }
    }
}
