//! What a member keeps, and what was said: one transaction a batch.

use ahoy_proto::AccountId;
use rusqlite::Transaction;
use zeroize::Zeroizing;

use super::ProfileError;
use super::history::{self, Applied};
use super::seal::{Place, RowName, Seal, Table};
use super::vault::{RowError, Vault, put_own};
use crate::member::Batch;

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// A write (`Some`) or removal (`None`) of a key.
pub(super) type Write = (Vec<u8>, Option<Vec<u8>>);

/// In the profile's own rows: the number of the last change of the history.
const LAST_CHANGE: &str = "last change";

/// The member's store, and the history of its conversations. A batch that [`commit`](Self::commit) has acknowledged is on the disk.
#[derive(Debug)]
pub struct State {
    pub(super) vault: Vault,
    /// Whose lines do not count as unread.
    account: AccountId,
    /// Number of the last change of the history.
    last_change: u64,
}

impl State {
    pub(super) fn new(vault: Vault, account: AccountId) -> Result<Self, ProfileError> {
        let last_change = match vault.own(LAST_CHANGE) {
            Ok(Some(bytes)) => bytes.as_slice().try_into().map(u64::from_be_bytes).map_err(|_| RowError::Sealed),
            Ok(None) => Ok(0),
            Err(error) => Err(error),
        };
        match last_change {
            Ok(last_change) => Ok(Self { vault, account, last_change }),
            Err(error) => Err(vault.failed(error)),
        }
    }

    /// Everything that the member keeps, in the order of the keys. The history is not part of it.
    ///
    /// # Errors
    /// When the file can't be read, or is damaged.
    pub fn load(&self) -> Result<Vec<Pair>, ProfileError> {
        let read = || {
            let mut statement = self.vault.connection.prepare("SELECT name, sealed FROM pairs")?;
            let mut rows = statement.query([])?;
            let mut pairs = Vec::new();
            while let Some(row) = rows.next()? {
                pairs.push(opened_pair(&self.vault.seal, &row.get(0)?, row.get_ref(1)?.as_blob().unwrap_or_default())?);
            }
            pairs.sort_unstable();
            Ok(pairs)
        };
        read().map_err(|error| self.vault.failed(error))
    }

    /// Makes everything in a batch durable, or nothing. Gives the number of each change of the history, in the batch's order; `None`
    /// for those that changed nothing, such as an edit by somebody else.
    ///
    /// # Errors
    /// When the disk does not take them, or a line to be changed is damaged.
    pub fn commit(&mut self, batch: &Batch) -> Result<Vec<Option<u64>>, ProfileError> {
        let (account, mut last) = (self.account, self.last_change);
        let mut erased = false;
        let written = self.vault.write(|transaction, seal| {
            write_pairs(transaction, seal, &batch.pairs)?;
            let mut numbers = Vec::with_capacity(batch.history.len());
            for (conversation, change) in &batch.history {
                let applied = history::apply(transaction, seal, account, *conversation, change, last + 1)?;
                erased |= applied == Applied::Erased;
                numbers.push((applied != Applied::Nothing).then_some(last + 1));
                last += u64::from(applied != Applied::Nothing);
            }
            if last != self.last_change {
                put_own(transaction, seal, LAST_CHANGE, &last.to_be_bytes())?;
            }
            Ok(numbers)
        });
        let numbers = written.map_err(|error| self.vault.failed(error))?;
        self.last_change = last;
        if erased {
            self.vault.wipe_log().map_err(|error| self.vault.failed(error))?;
        }
        Ok(numbers)
    }

    /// The number of the last change of the history; 0 before the first.
    pub fn last_change(&self) -> u64 {
        self.last_change
    }
}

/// Writes and removes pairs.
pub(super) fn write_pairs(transaction: &Transaction<'_>, seal: &Seal, pairs: &[Write]) -> Result<(), RowError> {
    let mut put = transaction.prepare_cached("INSERT OR REPLACE INTO pairs (name, sealed) VALUES (?1, ?2)")?;
    let mut remove = transaction.prepare_cached("DELETE FROM pairs WHERE name = ?1")?;
    for (key, value) in pairs {
        let name = seal.name(Table::Pairs, key);
        match value {
            Some(value) => put.execute((name, sealed_pair(seal, &name, key, value)))?,
            None => remove.execute((name,))?,
        };
    }
    Ok(())
}

/// length of the key (4 bytes) ‖ key ‖ value
fn sealed_pair(seal: &Seal, name: &RowName, key: &[u8], value: &[u8]) -> Vec<u8> {
    let length = u32::try_from(key.len()).expect("a member's keys are short");
    let content = Zeroizing::new([&length.to_be_bytes()[..], key, value].concat());
    seal.seal(&Place::new(Table::Pairs, name), &content)
}

fn opened_pair(seal: &Seal, name: &RowName, sealed: &[u8]) -> Result<Pair, RowError> {
    let content = seal.open(&Place::new(Table::Pairs, name), sealed).ok_or(RowError::Sealed)?;
    let (length, rest) = content.split_first_chunk::<4>().ok_or(RowError::Sealed)?;
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| RowError::Sealed)?;
    let (key, value) = rest.split_at_checked(length).ok_or(RowError::Sealed)?;
    Ok((key.to_vec(), value.to_vec()))
}
