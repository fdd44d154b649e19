//! Durable truth: accounts, devices, contacts, conversations with their logs, inboxes, and what the authority has signed away.
//!
//! A [`Store`] is a handle to one SQLite database on a thread of its own. Work arrives as a [`Verb`]: a small typed
//! transaction that takes effect whole or not at all. Verbs run one after the other, each in a savepoint of a batch,
//! and *no reply leaves before its batch is on the disk*: what was answered survives a `kill -9` and a power cut.

mod accounts;
pub mod backup;
mod batch;
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
mod operator;
mod receipts;
mod reports;
mod restoration;
mod schema;
mod settings;
mod sql;
mod statements;
mod supernodes;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};

use ahoy_proto::{AccountId, DeviceId, v1};
use tokio::sync::oneshot;

pub use accounts::{
    Account, AccountByName, AccountOf, AddAccount, ChangePassword, FindAccount, FoundAccount, KeyLogHead,
    KeyLogHeadNow, NewAccount, Recovery, SearchDirectory, SetRequestKey, Suspend,
};
pub use batch::{Key, Transaction, Verb};
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
pub use operator::{AccountSummary, ListAccounts, SummaryOf};
pub use receipts::{FetchReceipts, ReceiptSet, SetReceipt};
pub use reports::{ForgetReport, ListReports, Report, Reported};
pub use restoration::AfterRestore;
pub use settings::ChangeSettings;
pub use supernodes::{
    AddEnrolment, ChangeSupernode, Enrol, EnrolOwn, Enrolled, Enrolling, Granted, ListSupernodes, Place, Publication,
    Publications, Publish, Published, PublishedList, RevokeSupernode, SupernodeOf, Supernodes,
};

/// What arrived in an inbox, and whose inbox it is, so that a device that is online gets it at once.
pub type Delivery = (AccountId, DeviceId, v1::InboxEntry);

/// Verbs that wait for the thread. At 30,000 verbs a second, 8,192 are a quarter of a second; a caller refused before that
/// is better off than one kept waiting longer. Each holds at most one message (64 KiB),
/// a large one (2.25 MiB) only where the bound on those of a shard allows.
pub const QUEUE_MAX: usize = 8_192;

/// A handle to the database; clones share it. When the last one is dropped, everything submitted is carried out first.
#[derive(Clone)]
pub struct Store(Arc<Thread>);

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Store")
    }
}

impl Store {
    /// Opens or creates the database file and brings its schema up to date.
    ///
    /// # Errors
    /// When the file can't be opened, is no database, or was written by a newer version of this software.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Self::start(schema::open(path)?, path.to_owned())
    }

    fn start(connection: rusqlite::Connection, path: PathBuf) -> Result<Self, OpenError> {
        let (sender, queue) = sync_channel(QUEUE_MAX);
        let thread = thread::Builder::new().name("store".to_owned()).spawn(move || batch::run(&connection, &queue))?;
        Ok(Self(Arc::new(Thread { path, sender: Some(sender), handle: Some(thread) })))
    }

    /// Queues a verb. `reply` is called exactly once: on the store's thread once the verb is durable or has failed, or
    /// at once, on this thread, when the queue is full. It must not block.
    pub fn submit<V: Verb>(&self, verb: V, reply: impl FnOnce(Result<V::Output, StoreError>) + Send + 'static) {
        let sender = self.0.sender.as_ref().expect("the sender is only taken when the last handle is dropped");
        match sender.try_send(batch::job(verb, reply)) {
            Ok(()) => {}
            Err(TrySendError::Full(job)) => job.reply(Err(StoreError::Busy)),
            Err(TrySendError::Disconnected(job)) => job.reply(Err(StoreError::Unavailable)),
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
    /// disk; on any failure there is none.
    ///
    /// # Errors
    /// When there is a file of that name already, or the copy can't be written.
    pub fn backup(&self, to: &Path, mut progress: impl FnMut(backup::Progress)) -> Result<(), backup::BackupError> {
        backup::make(&self.0.path, to, &mut progress)
    }
}

struct Thread {
    path: PathBuf,
    sender: Option<SyncSender<Box<dyn batch::Job>>>,
    handle: Option<JoinHandle<()>>,
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.sender.take();
        let Some(handle) = self.handle.take() else { return };
        // A reply may hold the last handle; the thread can't wait for itself and ends right after.
        if handle.thread().id() != thread::current().id() && handle.join().is_err() {
            tracing::error!("the store's thread panicked");
        }
    }
}
