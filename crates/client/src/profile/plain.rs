//! The plain layout of the first versions, taken over once: `identity.json`, and `state.db` with a table of keys and values.
//!
//! Everything is taken over in one transaction; only then is `identity.json` removed. A process that dies in between finds
//! the sealed file and removes what is left.

use std::fs;
use std::io;
use std::path::Path;

use rusqlite::Connection;
use zeroize::Zeroizing;

use super::state::{Write, write_pairs};
use super::vault::{Layout, RowError, Vault, look, put_own};
use super::{IDENTITY_ROW, Identity, ProfileError, create, key};

/// Where the first versions kept who a profile is.
pub(super) const IDENTITY: &str = "identity.json";

/// The identity that lies in the open, if one does.
pub(super) fn identity(folder: &Path) -> Result<Option<Identity>, ProfileError> {
    let Some(json) = read(&folder.join(IDENTITY))? else { return Ok(None) };
    let damaged =
        |error: serde_json::Error| ProfileError::Damaged { path: folder.join(IDENTITY), cause: error.to_string() };
    serde_json::from_slice(&json).map(Some).map_err(damaged)
}

/// Seals what lies in the open, if anything does.
pub(super) fn take_over(folder: &Path) -> Result<(), ProfileError> {
    let path = folder.join(super::STATE);
    let identity_path = folder.join(IDENTITY);
    let identity = identity(folder)?;
    if identity.is_none() && !path.exists() {
        return Ok(());
    }
    create(&path)?;
    match (look(&path), &identity) {
        (Ok((_, Layout::Sealed)), Some(_)) => {}
        (Err(error), Some(_)) => return Err(error),
        // What can't be opened is named to whoever uses it, who may also wish to forget it.
        (Ok((_, Layout::Sealed | Layout::Empty)) | Err(_), None) => return Ok(()),
        (Ok((connection, layout)), _) => seal(folder, &path, connection, layout, identity.as_ref())?,
    }
    match fs::remove_file(&identity_path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(ProfileError::File { path: identity_path, error }),
        _ => Ok(()),
    }
}

fn seal(
    folder: &Path,
    path: &Path,
    connection: Connection,
    layout: Layout,
    identity: Option<&Identity>,
) -> Result<(), ProfileError> {
    let key_path = folder.join(super::KEY);
    let key = match key::load(&key_path)? {
        Some(key) => key,
        None => key::make(&key_path)?,
    };
    let pairs = match layout {
        Layout::Plain => pairs(&connection).map_err(|error| super::vault::failed(path, error.into()))?,
        Layout::Empty | Layout::Sealed => Vec::new(),
    };
    let vault = Vault::make(path, connection, &key, |transaction, seal| {
        write_pairs(transaction, seal, &pairs)?;
        if let Some(identity) = identity {
            put_own(transaction, seal, IDENTITY_ROW, &super::encoded(identity))?;
        }
        // `secure_delete` overwrites what it held.
        transaction.execute_batch("DROP TABLE IF EXISTS state")?;
        Ok(())
    })?;
    let wiped = vault.connection.execute_batch("VACUUM").map_err(RowError::Sql).and_then(|()| vault.wipe_log());
    wiped.map_err(|error| vault.failed(error))
}

/// Everything kept in the open, to be written anew.
fn pairs(connection: &Connection) -> rusqlite::Result<Vec<Write>> {
    let mut statement = connection.prepare("SELECT key, value FROM state")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, Some(row.get(1)?))))?;
    rows.collect()
}

fn read(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, ProfileError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(Zeroizing::new(bytes))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ProfileError::File { path: path.to_owned(), error }),
    }
}
