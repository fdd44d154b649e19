//! The data folder: ours alone, and only one process at a time.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use rustix::fs::Mode;

/// A data folder that this process has to itself until the value is dropped.
#[derive(Debug)]
pub(crate) struct DataFolder {
    path: PathBuf,
    _lock: File,
}

impl DataFolder {
    /// Makes the folder if there is none, and claims it.
    ///
    /// # Errors
    /// When it can't be made or written, or another process has it.
    pub(crate) fn claim(path: &Path) -> anyhow::Result<Self> {
        make(path)?;
        let lock_path = path.join("lock");
        let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&lock_path);
        let lock = lock.with_context(|| {
            format!("the data folder {} is not writable: give it to the account that runs ahoyd", path.display())
        })?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => {
                bail!("another ahoyd runs on the data folder {}: stop it, or use another folder", path.display())
            }
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("can't lock {}", lock_path.display()))
            }
        }
    }

    /// The database.
    pub(crate) fn database(&self) -> PathBuf {
        database(&self.path)
    }

    /// The operator's socket.
    pub(crate) fn control(&self) -> PathBuf {
        control(&self.path)
    }

    /// Where the network's secrets lie.
    pub(crate) fn keys(&self) -> PathBuf {
        keys(&self.path)
    }

    /// Where the echo account's profile and password lie.
    pub(crate) fn echo(&self) -> PathBuf {
        self.path.join("echo")
    }
}

/// Whatever this process writes from now on is ours alone; SQLite asks for no mode of its own.
pub(crate) fn keep_to_ourselves() {
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
}

/// The database of a data folder.
pub(crate) fn database(data: &Path) -> PathBuf {
    data.join("ahoy.sqlite")
}

/// The socket at which a running daemon takes the operator's requests.
pub(crate) fn control(data: &Path) -> PathBuf {
    data.join(ahoy_proto::control::SOCKET)
}

/// The secrets of a data folder.
pub(crate) fn keys(data: &Path) -> PathBuf {
    data.join("keys")
}

/// The echo account's password, which is all that it takes to sign it in again.
pub(crate) fn echo_password(data: &Path) -> PathBuf {
    data.join("echo/password")
}

/// Makes a folder that only we can look into, if there is none. What lies in one that exists has modes of its own.
///
/// # Errors
/// When it can't be made.
pub(crate) fn make(path: &Path) -> anyhow::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("can't make the folder {}", path.display()))
}

/// Writes a secret that only we can read, whole or not at all.
///
/// # Errors
/// When the disk refuses.
pub(crate) fn write_secret(path: &Path, secret: &[u8]) -> io::Result<()> {
    let draft = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(secret)?;
    file.sync_all()?;
    std::fs::rename(&draft, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn a_folder_belongs_to_one_process_at_a_time() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        let first = DataFolder::claim(&path).unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o700);
        let error = DataFolder::claim(&path).unwrap_err().to_string();
        assert!(error.contains("another ahoyd"), "{error}");
        drop(first);
        assert!(DataFolder::claim(&path).is_ok());
    }

    #[test]
    fn a_secret_is_for_our_eyes_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        write_secret(&path, b"first").unwrap();
        write_secret(&path, b"second").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"second");
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
    }
}
