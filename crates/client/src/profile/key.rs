//! Where a profile's key is: in the system's keyring, or in a file of mode 0600 beside what it opens.
//!
//! The file `key` always exists and says which: `{"file":"<the key>"}` or `{"keyring":"<the entry>"}`. So a keyring that is
//! locked or gone is an error that says so, and never a second key.

use std::fs;
use std::io;
use std::path::Path;

use ahoy_proto::api::Base64Url;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::seal::ProfileKey;
use super::{ProfileError, replace};

/// What the file `key` holds.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Record {
    /// The key itself.
    File(Base64Url),
    /// The name of the keyring's entry.
    Keyring(String),
}

/// The key that was kept; `None` if none was.
pub(super) fn load(path: &Path) -> Result<Option<ProfileKey>, ProfileError> {
    let json = match fs::read(path) {
        Ok(json) => Zeroizing::new(json),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(ProfileError::File { path: path.to_owned(), error }),
    };
    let damaged = |cause: String| ProfileError::Damaged { path: path.to_owned(), cause };
    match serde_json::from_slice(&json).map_err(|error| damaged(error.to_string()))? {
        Record::File(key) => {
            let key = Zeroizing::new(key.0);
            ProfileKey::of_bytes(&key).map(Some).ok_or_else(|| damaged("a key is 32 bytes".to_owned()))
        }
        Record::Keyring(entry) => keyring::load(&entry).map(Some).map_err(ProfileError::Keyring),
    }
}

/// Makes a key and keeps it durably: in the keyring where this build knows one and it answers, else in the file.
pub(super) fn make(path: &Path) -> Result<ProfileKey, ProfileError> {
    let key = ProfileKey::random();
    let record = match keyring::keep(&key) {
        Some(entry) => Record::Keyring(entry),
        None => Record::File(key.bytes().as_slice().into()),
    };
    let json = Zeroizing::new(serde_json::to_vec(&record).expect("a record has string keys only"));
    if let Record::File(mut copy) = record {
        zeroize::Zeroize::zeroize(&mut copy.0);
    }
    replace(path, &json).map_err(|error| ProfileError::File { path: path.to_owned(), error })?;
    Ok(key)
}

/// Removes the keyring's entry, if that is where the key is. The file is the caller's to remove.
pub(super) fn forget(path: &Path) {
    let record = fs::read(path).ok().and_then(|json| serde_json::from_slice(&json).ok());
    if let Some(Record::Keyring(entry)) = record {
        keyring::forget(&entry);
    }
}

/// The desktop's Secret Service. Its client blocks on a runtime of its own, so each question has a thread of its own.
#[cfg(feature = "keyring")]
mod keyring {
    use std::thread;

    use keyring::{Entry, Error};

    use super::ProfileKey;

    /// What the entries of all profiles belong to.
    const SERVICE: &str = "ahoy";

    pub(super) fn load(entry: &str) -> Result<ProfileKey, String> {
        let secret = ask(entry, |entry| entry.get_secret()).map_err(|error| error.to_string())?;
        ProfileKey::of_bytes(&secret).ok_or_else(|| "its entry for this profile is not a key".to_owned())
    }

    /// The entry's name; `None` where there is no keyring, or it keeps nothing.
    pub(super) fn keep(key: &ProfileKey) -> Option<String> {
        let name = format!("profile {:016x}", rand::random::<u64>());
        let secret = key.clone();
        ask(&name, move |entry| entry.set_secret(secret.bytes())).ok()?;
        // Some services accept what they do not keep.
        (load(&name).as_ref() == Ok(key)).then_some(name)
    }

    pub(super) fn forget(entry: &str) {
        // Without the file that it opens the key opens nothing.
        let _ = ask(entry, |entry| entry.delete_credential());
    }

    fn ask<T: Send + 'static>(
        name: &str,
        verb: impl FnOnce(&Entry) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let name = name.to_owned();
        thread::spawn(move || verb(&Entry::new(SERVICE, &name)?))
            .join()
            .unwrap_or_else(|_| Err(Error::Invalid("keyring".to_owned(), "its client failed".to_owned())))
    }
}

/// A build without a keyring.
#[cfg(not(feature = "keyring"))]
mod keyring {
    use super::ProfileKey;

    pub(super) fn load(_: &str) -> Result<ProfileKey, String> {
        Err("this program was built without the feature `keyring`".to_owned())
    }

    pub(super) fn keep(_: &ProfileKey) -> Option<String> {
        None
    }

    pub(super) fn forget(_: &str) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "keyring")]
    #[test]
    #[ignore = "needs a Secret Service; cargo xtask nightly starts one for it"]
    fn a_key_lies_in_the_keyring_that_answers_and_is_gone_with_the_profile() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let key = make(&path).unwrap();
        let record = fs::read_to_string(&path).unwrap();
        assert!(record.starts_with(r#"{"keyring":"profile "#), "{record}");
        assert_eq!(load(&path).unwrap(), Some(key));
        forget(&path);
        assert!(matches!(load(&path), Err(ProfileError::Keyring(_))));
    }

    #[cfg(not(feature = "keyring"))]
    #[test]
    fn a_key_is_kept_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        assert_eq!(load(&path).unwrap(), None);
        let key = make(&path).unwrap();
        assert_eq!(load(&path).unwrap(), Some(key));
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions()) & 0o777, 0o600);
    }

    #[test]
    fn a_keyring_that_does_not_have_the_key_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, br#"{"keyring":"profile of nobody"}"#).unwrap();
        let error = load(&path).unwrap_err();
        assert!(matches!(error, ProfileError::Keyring(_)));
        assert!(error.to_string().contains("keyring"), "{error}");
    }

    #[test]
    fn a_damaged_key_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        for text in ["", "{", r#"{"file":"AAAA"}"#] {
            fs::write(&path, text).unwrap();
            assert!(matches!(load(&path), Err(ProfileError::Damaged { .. })), "{text}");
        }
    }
}
