//! A profile: the folder that holds one identity, the state of its member, and what was said.
//!
//! ```text
//! state.db   identity, what the member keeps (MLS, pins, cursors), history: SQLite, every row sealed, one transaction a batch
//! key        what opens it, or the name of the keyring's entry that does
//! lock       held by the process that uses the profile
//! ```
//!
//! The folder has mode 0700 and every file 0600. A process that dies at any moment leaves whole batches. Without the key the file shows
//! how much there is and in what order, and nothing else; a row that was changed or moved does not open. That the whole file
//! is a copy, or comes from a backup, is for the supernode to find (docs/protocol.md section 5): a disk can't tell.
//!
//! A profile in memory is the same without the folder, for devices that do not outlive their process.

mod history;
mod identity;
mod key;
mod plain;
mod seal;
mod state;
#[cfg(test)]
pub(crate) mod tests;
mod vault;

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ahoy_proto::{AccountId, SupernodeId, UnixTime};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use vault::{Layout, RowError, Vault, look, put_own};

pub use history::{LINES_MAX, Line, Position, REACTIONS_OF_ACCOUNT_MAX};
pub use identity::{DeviceKey, Identity};
pub use state::{Pair, State};

const STATE: &str = "state.db";
const KEY: &str = "key";
const LOCK: &str = "lock";

/// In the profile's own rows: who it is.
const IDENTITY_ROW: &str = "identity";

/// In the profile's own rows: how far supernodes are.
const ROUND_TRIPS_ROW: &str = "round trips";

/// How far a supernode is from this device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoundTrip {
    /// Which.
    pub supernode: SupernodeId,
    /// In milliseconds.
    pub ms: u32,
    /// When it was measured.
    pub at: UnixTime,
}

/// Why a profile can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// Another process uses it.
    #[error("the profile {} is in use by another ahoy", .0.display())]
    InUse(PathBuf),
    /// A file can't be read or written.
    #[error("{}: {error}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{} is damaged: {cause}", .path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// How.
        cause: String,
    },
    /// Something in `state.db` does not open.
    #[error("{} is damaged, or the key beside it is not this profile's", .path.display())]
    NotOpened {
        /// Which.
        path: PathBuf,
    },
    /// There is a `state.db`, but no `key`.
    #[error("{} is missing: without it the profile can't be opened", .0.display())]
    NoKey(PathBuf),
    /// The key is in the system's keyring, which does not give it.
    #[error("the profile's key is in the system's keyring, which does not give it: {0}")]
    Keyring(String),
    /// `state.db` can't be read or written.
    #[error("{}: {error}", .path.display())]
    State {
        /// Which.
        path: PathBuf,
        /// Why.
        error: rusqlite::Error,
    },
}

/// A profile that this process, and no other, uses.
#[derive(Debug)]
pub struct Profile(Place);

#[derive(Debug)]
enum Place {
    Folder {
        folder: PathBuf,
        // Closing the file gives the lock back, also when the process is killed.
        _lock: File,
    },
    Memory(Box<Mutex<Kept>>),
}

/// What a profile in memory keeps beside the member's state.
#[derive(Debug, Default)]
struct Kept {
    identity: Option<Identity>,
    round_trips: Vec<RoundTrip>,
}

impl Profile {
    /// Takes the profile in this folder, which is made if need be. What a first version of Ahoy left there in the open is sealed.
    ///
    /// # Errors
    /// When another process has it, or the folder can't be used.
    pub fn open(folder: &Path) -> Result<Self, ProfileError> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |error| ProfileError::File { path, error }
        };
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(at(folder))?;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).map_err(at(folder))?;
        let path = folder.join(LOCK);
        let lock = private().create(true).truncate(false).write(true).open(&path).map_err(at(&path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(ProfileError::InUse(folder.to_owned())),
            Err(TryLockError::Error(error)) => return Err(ProfileError::File { path, error }),
        }
        plain::take_over(folder)?;
        Ok(Self(Place::Folder { folder: folder.to_owned(), _lock: lock }))
    }

    /// A profile that is gone with this process, and with it its device's conversations: for accounts that serve one run of a program.
    pub fn in_memory() -> Self {
        Self(Place::Memory(Box::default()))
    }

    /// Who this profile is; `None` when nobody has signed in.
    ///
    /// # Errors
    /// When the file can't be read or opened.
    pub fn identity(&self) -> Result<Option<Identity>, ProfileError> {
        match &self.0 {
            Place::Folder { folder, .. } => read_identity(folder),
            Place::Memory(kept) => Ok(locked(kept).identity.clone()),
        }
    }

    /// Keeps an identity, durably.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn keep(&self, identity: &Identity) -> Result<(), ProfileError> {
        let folder = match &self.0 {
            Place::Folder { folder, .. } => folder,
            Place::Memory(kept) => {
                locked(kept).identity = Some(identity.clone());
                return Ok(());
            }
        };
        let mut vault = vault(folder)?;
        let content = encoded(identity);
        vault
            .write(|transaction, seal| put_own(transaction, seal, IDENTITY_ROW, &content))
            .map_err(|error| vault.failed(error))
    }

    /// How far supernodes were in earlier sessions; nothing where that can't be read: it is measured anew.
    ///
    /// # Errors
    /// When the file can't be opened.
    pub fn round_trips(&self) -> Result<Vec<RoundTrip>, ProfileError> {
        let folder = match &self.0 {
            Place::Folder { folder, .. } => folder,
            Place::Memory(kept) => return Ok(locked(kept).round_trips.clone()),
        };
        let row = vault(folder)?.own(ROUND_TRIPS_ROW);
        Ok(row.ok().flatten().and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default())
    }

    /// Keeps how far supernodes are.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn keep_round_trips(&self, round_trips: &[RoundTrip]) -> Result<(), ProfileError> {
        let folder = match &self.0 {
            Place::Folder { folder, .. } => folder,
            Place::Memory(kept) => {
                locked(kept).round_trips = round_trips.to_vec();
                return Ok(());
            }
        };
        let mut vault = vault(folder)?;
        let content = serde_json::to_vec(round_trips).expect("numbers and ids are always JSON");
        vault
            .write(|transaction, seal| put_own(transaction, seal, ROUND_TRIPS_ROW, &content))
            .map_err(|error| vault.failed(error))
    }

    /// Forgets the identity, everything that its member kept, all that was said, and the key.
    ///
    /// # Errors
    /// When a file can't be removed.
    pub fn forget(&self) -> Result<(), ProfileError> {
        let folder = match &self.0 {
            Place::Folder { folder, .. } => folder,
            Place::Memory(kept) => {
                *locked(kept) = Kept::default();
                return Ok(());
            }
        };
        // First all rows at once: what is left of a half-done removal is a profile of nobody. Where that fails, the removal counts.
        if let Ok((connection, Layout::Sealed)) = look(&folder.join(STATE)) {
            let _ = connection.execute_batch(vault::EMPTY);
        }
        key::forget(&folder.join(KEY));
        for name in ["state.db-wal", "state.db-shm", STATE, plain::IDENTITY, KEY] {
            let path = folder.join(name);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(ProfileError::File { path, error });
                }
                _ => {}
            }
        }
        sync_folder(folder).map_err(|error| ProfileError::File { path: folder.clone(), error })
    }

    /// What the member of this account keeps, and what was said. In memory it begins empty, so it is to be asked for once.
    ///
    /// # Errors
    /// When the file can't be opened.
    pub fn state(&self, account: AccountId) -> Result<State, ProfileError> {
        let vault = match &self.0 {
            Place::Folder { folder, .. } => vault(folder)?,
            Place::Memory(_) => Vault::in_memory()?,
        };
        State::new(vault, account)
    }
}

fn locked(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    // Every change is one assignment: a panic elsewhere leaves nothing half done.
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A folder's open file; made, with its key, if there is none.
fn vault(folder: &Path) -> Result<Vault, ProfileError> {
    let path = folder.join(STATE);
    create(&path)?;
    let (connection, layout) = look(&path)?;
    let key_path = folder.join(KEY);
    match (layout, key::load(&key_path)?) {
        (Layout::Sealed, Some(key)) => Vault::open(&path, connection, &key),
        (Layout::Sealed, None) => Err(ProfileError::NoKey(key_path)),
        (Layout::Empty | Layout::Plain, key) => {
            let key = key.map_or_else(|| key::make(&key_path), Ok)?;
            Vault::make(&path, connection, &key, |_, _| Ok(()))
        }
    }
}

/// Reads who a profile is, without taking it; `None` when nobody has signed in.
///
/// # Errors
/// When the file can't be read or opened.
pub fn read_identity(folder: &Path) -> Result<Option<Identity>, ProfileError> {
    let path = folder.join(STATE);
    if !path.exists() {
        return plain::identity(folder);
    }
    let (connection, layout) = look(&path)?;
    if layout != Layout::Sealed {
        return plain::identity(folder);
    }
    let key_path = folder.join(KEY);
    let key = key::load(&key_path)?.ok_or(ProfileError::NoKey(key_path))?;
    let vault = Vault::open(&path, connection, &key)?;
    let Some(json) = vault.own(IDENTITY_ROW).map_err(|error| vault.failed(error))? else { return Ok(None) };
    serde_json::from_slice(&json).map(Some).map_err(|_| vault.failed(RowError::Sealed))
}

fn encoded(identity: &Identity) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(serde_json::to_vec(identity).expect("an identity has string keys only"))
}

/// Makes a file that its owner alone can read, if there is none.
fn create(path: &Path) -> Result<(), ProfileError> {
    let made = private().create(true).truncate(false).write(true).open(path);
    made.map(drop).map_err(|error| ProfileError::File { path: path.to_owned(), error })
}

/// Replaces a file as a whole: after a crash at any moment it holds the old or the new bytes.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = path.with_extension("new");
    let mut file = private().create(true).truncate(true).write(true).open(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    path.parent().map_or(Ok(()), sync_folder)
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}
