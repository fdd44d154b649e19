//! Receipts: the newest of each device, in the order of their changes.

use ahoy_proto::{AccountId, ConversationId, DeviceId, v1};
use bytes::Bytes;
use rusqlite::{Row, params};

use crate::batch::{Transaction, Verb};
use crate::members::{self, check_member};
use crate::{StoreError, inbox};

crate::statements::statements! {
    NEXT_SERIAL = "UPDATE conversations SET receipts_serial = receipts_serial + 1 WHERE conversation = ?1
        RETURNING receipts_serial";
    SET = "INSERT INTO receipts (conversation, device, serial, sealed) VALUES (?1, ?2, ?3, ?4)
        ON CONFLICT (conversation, device) DO UPDATE SET serial = excluded.serial, sealed = excluded.sealed";
    AFTER = "SELECT devices.account, receipts.device, receipts.sealed, receipts.serial
        FROM receipts JOIN devices ON devices.device = receipts.device
        WHERE receipts.conversation = ?1 AND receipts.serial > ?2 ORDER BY receipts.serial";
    DROP_OF_ACCOUNT = "DELETE FROM receipts WHERE conversation = ?1
        AND device IN (SELECT device FROM devices WHERE account = ?2)";
}

/// A receipt that was replaced.
#[derive(Debug, Clone, PartialEq)]
pub struct ReceiptSet {
    /// As it stands.
    pub receipt: v1::Receipt,
    /// Whose devices are to hear of it, the sender's included.
    pub members: Vec<AccountId>,
}

/// Replaces a device's receipt. [`StoreError::NotFound`] for those who are no members.
#[derive(Debug)]
pub struct SetReceipt {
    /// Who asks.
    pub account: AccountId,
    /// On which device.
    pub device: DeviceId,
    /// Where.
    pub conversation: ConversationId,
    /// The receipt.
    pub sealed: Bytes,
}

impl Verb for SetReceipt {
    type Output = ReceiptSet;
    fn run(self, transaction: &Transaction<'_>) -> Result<ReceiptSet, StoreError> {
        let (account, device, id) = (self.account, self.device, self.conversation);
        check_member(transaction, account, id)?;
        let serial = transaction.0.prepare_cached(NEXT_SERIAL)?.query_row([id.0], |row| row.get(0))?;
        let row = params![id.0, device.0, serial, &self.sealed[..]];
        transaction.0.prepare_cached(SET)?.execute(row)?;
        let receipt = v1::Receipt {
            conversation: id.to_bytes(),
            account: account.to_bytes(),
            device: device.to_bytes(),
            sealed: self.sealed,
            serial,
        };
        Ok(ReceiptSet { receipt, members: members::members(transaction, id)? })
    }
}

/// A page of receipts in the order of their serials, for members.
#[derive(Debug)]
pub struct FetchReceipts {
    /// Who asks.
    pub account: AccountId,
    /// Of which conversation.
    pub conversation: ConversationId,
    /// The last serial of the page before.
    pub after: u64,
}

impl Verb for FetchReceipts {
    type Output = v1::Receipts;
    fn run(self, transaction: &Transaction<'_>) -> Result<v1::Receipts, StoreError> {
        let id = self.conversation;
        check_member(transaction, self.account, id)?;
        let after = i64::try_from(self.after).unwrap_or(i64::MAX);
        let receipt = |row: &Row<'_>| {
            Ok(v1::Receipt {
                conversation: id.to_bytes(),
                account: Bytes::from(row.get::<_, Vec<u8>>(0)?),
                device: Bytes::from(row.get::<_, Vec<u8>>(1)?),
                sealed: Bytes::from(row.get::<_, Vec<u8>>(2)?),
                serial: row.get(3)?,
            })
        };
        let mut statement = transaction.0.prepare_cached(AFTER)?;
        let mut rows = statement.query(params![id.0, after])?;
        let (receipts, more) = inbox::page(&mut rows, receipt)?;
        Ok(v1::Receipts { receipts, more })
    }
}

/// Forgets the receipts of an account that is a member no more.
pub(crate) fn drop_of_account(
    transaction: &Transaction<'_>,
    conversation: ConversationId,
    account: AccountId,
) -> Result<(), StoreError> {
    transaction.0.prepare_cached(DROP_OF_ACCOUNT)?.execute([conversation.0, account.0])?;
    Ok(())
}
