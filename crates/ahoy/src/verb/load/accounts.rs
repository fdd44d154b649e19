//! The accounts of a load: signed up for it, deleted after it.
//!
//! Their names and password are in a file before the first of them is made, and the file is there until the last one is gone: a load that
//! was killed leaves nothing on the network that the next one does not delete. Whoever runs a load holds a lock on its file.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use ahoy_client::account::{AccountError, Network, NewAccount, Password, contact, delete_by_password, sign_up};
use ahoy_client::profile::Identity;
use ahoy_proto::api::{ApiErrorCode, SignUpPolicy};
use ahoy_proto::{Name, NetworkId};
use serde::{Deserialize, Serialize};

use super::wipe;
use crate::cli::{Common, Load};
use crate::failure::{Exit, Failure};
use crate::place;
use crate::tell::Tell;

/// Requests to the authority at the same time: it has a thread or two for them.
const AT_ONCE: usize = 8;

/// How many more accounts are worth a word on the terminal.
const SAY_EVERY: usize = 50;

/// Accounts that are this program's to delete.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    network: NetworkId,
    /// What all names begin with.
    tag: String,
    accounts: usize,
    password: String,
}

/// The accounts of this load.
#[derive(Debug)]
pub(super) struct Ledger {
    entry: Entry,
    network: Network,
    path: PathBuf,
    // Closing the file gives the lock back, also when the process is killed.
    _lock: File,
}

impl Ledger {
    /// Meets the network, deletes what earlier loads left there, and writes down what this one is going to make.
    pub(super) fn open(common: &Common, arguments: &Load, tell: Tell) -> Result<Self, Failure> {
        let said = contact(&arguments.target, None, place::now())?;
        if said.sign_up != SignUpPolicy::Open {
            return Err(Failure::new(
                Exit::Refused,
                "sign-up-refused",
                "a load signs accounts up, and this network does not let everybody sign up",
                "The operator of a network for tests sets `sign_up = \"open\"`.",
            ));
        }
        let folder = match &arguments.accounts {
            Some(folder) => folder.clone(),
            None => place::folder(common)?.with_file_name("load"),
        };
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error: std::io::Error| {
                Failure::new(
                    Exit::Other,
                    "accounts",
                    format!("{}: {error}", path.display()),
                    "Name another folder with --accounts DIR.",
                )
            }
        };
        fs::create_dir_all(&folder).map_err(failed(&folder))?;
        delete_leftovers(&folder, &said.network, tell)?;
        let tag = format!("load-{:08x}", rand::random::<u32>());
        let path = folder.join(format!("{tag}.json"));
        let entry = Entry {
            network: said.network.network,
            tag,
            accounts: arguments.clients,
            password: format!("{:032x}", rand::random::<u128>()),
        };
        let json = serde_json::to_vec(&entry).expect("an entry has string keys only");
        let mut file =
            OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path).map_err(failed(&path))?;
        file.try_lock().map_err(|error| failed(&path)(error.into()))?;
        file.write_all(&json).and_then(|()| file.sync_all()).map_err(failed(&path))?;
        Ok(Self { entry, network: said.network, path, _lock: file })
    }

    /// The name of one of the accounts.
    pub(super) fn name(&self, index: usize) -> Name {
        self.entry.name(index)
    }

    /// Makes them all.
    pub(super) fn sign_up(&self, tell: Tell) -> Result<Vec<Identity>, Failure> {
        let made = Mutex::new(Vec::with_capacity(self.entry.accounts));
        each(self.entry.accounts, "signing up accounts", tell, |index| {
            let name = self.name(index);
            let new = NewAccount { name: &name, password: self.entry.password(), invite: None, device_name: "load" };
            let identity = sign_up(&self.network, new, place::now())?.identity;
            made.lock().expect("nobody panics while it is held").push((index, identity));
            Ok(())
        })
        .map_err(limited)?;
        let mut made = made.into_inner().expect("nobody panics while it is held");
        made.sort_by_key(|(index, _)| *index);
        Ok(made.into_iter().map(|(_, identity)| identity).collect())
    }

    /// Deletes them all, and then forgets them.
    pub(super) fn delete_accounts(&self, tell: Tell) -> Result<(), Failure> {
        self.entry.delete(&self.network, tell).map_err(limited)?;
        // What is left is deleted, in vain, by the next load.
        let _ = fs::remove_file(&self.path);
        Ok(())
    }
}

impl Entry {
    fn name(&self, index: usize) -> Name {
        Name::parse(&format!("{}-{index}", self.tag)).expect("at most 32 of what a name may have")
    }

    /// Drawn, so it needs no stretching: a quarter of a second for each account is what a load can't spare.
    fn password(&self) -> Password<'_> {
        Password::Drawn(&self.password)
    }

    fn delete(&self, network: &Network, tell: Tell) -> Result<(), AccountError> {
        each(self.accounts, "deleting the accounts", tell, |index| {
            match delete_by_password(network, &self.name(index), self.password()) {
                // It was never made, or is deleted already.
                Err(AccountError::WrongPassword) => Ok(()),
                result => result,
            }
        })
    }
}

/// Deletes the accounts of loads that were killed.
fn delete_leftovers(folder: &Path, network: &Network, tell: Tell) -> Result<(), Failure> {
    let Ok(files) = fs::read_dir(folder) else { return Ok(()) };
    for path in files.flatten().map(|file| file.path()) {
        let Ok(mut file) = File::open(&path) else { continue };
        match file.try_lock() {
            Ok(()) => {}
            // A load that runs.
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => continue,
        }
        let mut json = Vec::new();
        let entry = file.read_to_end(&mut json).ok().and_then(|_| serde_json::from_slice::<Entry>(&json).ok());
        let Some(entry) = entry.filter(|entry| entry.network == network.network) else { continue };
        tell.note(&format!("an earlier load left {} accounts", entry.accounts));
        entry.delete(network, tell).map_err(limited)?;
        let _ = fs::remove_file(&path);
    }
    Ok(())
}

/// Does something for each of so many, a few at the same time, until one fails.
fn each(
    count: usize,
    what: &str,
    tell: Tell,
    act: impl Fn(usize) -> Result<(), AccountError> + Sync,
) -> Result<(), AccountError> {
    let (next, failure) = (AtomicUsize::new(0), Mutex::new(None));
    let failed = || failure.lock().expect("nobody panics while it is held");
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count || failed().is_some() {
                        return;
                    }
                    if let Err(error) = act(index) {
                        failed().get_or_insert(error);
                    }
                    if tell.is_live() && index.is_multiple_of(SAY_EVERY) {
                        eprint!("\r\x1b[K{what}: {index} of {count}");
                    }
                }
            });
        }
    });
    wipe(tell);
    failure.into_inner().expect("nobody panics while it is held").map_or(Ok(()), Err)
}

/// Says what the operator can do about limits.
fn limited(error: AccountError) -> Failure {
    let is_limit = matches!(&error, AccountError::Refused(refusal) if refusal.code == ApiErrorCode::RateLimited);
    let mut failure = Failure::from(error);
    if is_limit {
        failure.advice = "The authority limits what one address may ask. Its operator names this machine in \
            `unlimited = [\"ADDRESS\"]`; what was made so far is deleted by the next load."
            .to_owned();
    }
    failure
}
