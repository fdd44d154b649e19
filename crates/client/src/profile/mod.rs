//! A profile: the folder that holds one identity, and the state of its member.
//!
//! ```text
//! identity.json   network, account, device and their keys; replaced as a whole, atomically
//! state.db        what the member keeps (MLS, pins, cursors): SQLite, one transaction a batch
//! lock            held by the process that uses the profile
//! ```
//!
//! The folder has mode 0700 and every file 0600. A process that dies at any moment leaves either the old or the new
//! state of each file. Encryption of the files at rest will live in this module too: everything is read and written here.

mod identity;
mod state;

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

pub use identity::{DeviceKey, Identity};
pub use state::{Pair, State};

const IDENTITY: &str = "identity.json";
const STATE: &str = "state.db";
const LOCK: &str = "lock";

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
pub struct Profile {
    folder: PathBuf,
    // Closing the file gives the lock back, also when the process is killed.
    _lock: File,
}

impl Profile {
    /// Takes the profile in this folder, which is made if need be.
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
            Ok(()) => Ok(Self { folder: folder.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(ProfileError::InUse(folder.to_owned())),
            Err(TryLockError::Error(error)) => Err(ProfileError::File { path, error }),
        }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Who this profile is; `None` when nobody has signed in.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn identity(&self) -> Result<Option<Identity>, ProfileError> {
        read_identity(&self.folder)
    }

    /// Keeps an identity, durably.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn keep(&self, identity: &Identity) -> Result<(), ProfileError> {
        let path = self.folder.join(IDENTITY);
        let json = serde_json::to_vec_pretty(identity).expect("an identity has string keys only");
        replace(&path, &json).map_err(|error| ProfileError::File { path, error })
    }

    /// Forgets the identity and everything that its member kept.
    ///
    /// # Errors
    /// When a file can't be removed.
    pub fn forget(&self) -> Result<(), ProfileError> {
        // The identity last: what is left of a half-done removal is an identity without state, which works.
        for name in ["state.db-wal", "state.db-shm", STATE, IDENTITY] {
            let path = self.folder.join(name);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(ProfileError::File { path, error });
                }
                _ => {}
            }
        }
        sync_folder(&self.folder).map_err(|error| ProfileError::File { path: self.folder.clone(), error })
    }

    /// What the member keeps.
    ///
    /// # Errors
    /// When the file can't be opened.
    pub fn state(&self) -> Result<State, ProfileError> {
        let path = self.folder.join(STATE);
        private()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|error| ProfileError::File { path: path.clone(), error })?;
        State::open(&path)
    }
}

/// Reads who a profile is, without taking it; `None` when nobody has signed in.
///
/// # Errors
/// When the file can't be read.
pub fn read_identity(folder: &Path) -> Result<Option<Identity>, ProfileError> {
    let path = folder.join(IDENTITY);
    let json = match fs::read(&path) {
        Ok(json) => json,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(ProfileError::File { path, error }),
    };
    serde_json::from_slice(&json).map(Some).map_err(|error| ProfileError::Damaged { path, cause: error.to_string() })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn an_identity_survives_and_is_forgotten_when_asked() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("deep/er");
        let identity = identity::tests::sample();
        {
            let profile = Profile::open(&folder).unwrap();
            assert!(profile.identity().unwrap().is_none());
            profile.keep(&identity).unwrap();
            profile.state().unwrap();
        }
        let profile = Profile::open(&folder).unwrap();
        assert_eq!(profile.identity().unwrap().unwrap(), identity);
        profile.forget().unwrap();
        assert!(profile.identity().unwrap().is_none());
    }

    #[test]
    fn nobody_else_can_read_a_profile() {
        let folder = tempfile::tempdir().unwrap();
        let profile = Profile::open(folder.path()).unwrap();
        profile.keep(&identity::tests::sample()).unwrap();
        let _state = profile.state().unwrap();
        assert_eq!(mode(folder.path()), 0o700);
        for file in fs::read_dir(folder.path()).unwrap() {
            let path = file.unwrap().path();
            assert_eq!(mode(&path), 0o600, "{}", path.display());
        }
    }

    #[test]
    fn two_processes_do_not_use_one_profile() {
        let folder = tempfile::tempdir().unwrap();
        let first = Profile::open(folder.path()).unwrap();
        assert!(matches!(Profile::open(folder.path()), Err(ProfileError::InUse(_))));
        drop(first);
        assert!(Profile::open(folder.path()).is_ok());
    }

    #[test]
    fn a_half_written_draft_does_not_matter() {
        let folder = tempfile::tempdir().unwrap();
        let profile = Profile::open(folder.path()).unwrap();
        profile.keep(&identity::tests::sample()).unwrap();
        fs::write(folder.path().join("identity.new"), b"{\"netw").unwrap();
        assert!(profile.identity().unwrap().is_some());
    }

    #[test]
    fn a_damaged_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let profile = Profile::open(folder.path()).unwrap();
        fs::write(folder.path().join(IDENTITY), b"{").unwrap();
        let error = profile.identity().unwrap_err();
        assert!(error.to_string().contains("identity.json is damaged"), "{error}");
    }
}
