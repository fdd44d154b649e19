//! Receipts: the newest of each device, in the order of their changes.

use ahoy_proto::{AccountId, ConversationId, DeviceId, v1};
use bytes::Bytes;

use crate::members::{self, check_member};
use crate::sql::{Row, Transaction, params};
use crate::verb::{Key, Verb};
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

    fn key(&self) -> Key {
        self.conversation.into()
    }

    fn run(&self, transaction: &Transaction<'_>) -> Result<ReceiptSet, StoreError> {
        let (account, device, id) = (self.account, self.device, self.conversation);
        check_member(transaction, account, id)?;
        let serial = transaction.one(NEXT_SERIAL, params![id], |row| row.get(0))?;
        let row = params![id, device, serial, self.sealed];
        transaction.execute(SET, row)?;
        let receipt = v1::Receipt {
            conversation: id.to_bytes(),
            account: account.to_bytes(),
            device: device.to_bytes(),
            sealed: self.sealed.clone(),
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

    fn key(&self) -> Key {
        self.conversation.into()
    }

    fn run(&self, transaction: &Transaction<'_>) -> Result<v1::Receipts, StoreError> {
        let id = self.conversation;
        check_member(transaction, self.account, id)?;
        let after = i64::try_from(self.after).unwrap_or(i64::MAX);
        let receipt = |row: &Row<'_>| {
            Ok(v1::Receipt {
                conversation: id.to_bytes(),
                account: row.get(0)?,
                device: row.get(1)?,
                sealed: row.get(2)?,
                serial: row.get(3)?,
            })
        };
        let (receipts, more) = inbox::page(transaction, AFTER, params![id, after], receipt)?;
        Ok(v1::Receipts { receipts, more })
    }
}

/// Forgets the receipts of an account that is a member no more.
pub(crate) fn drop_of_account(
    transaction: &Transaction<'_>,
    conversation: ConversationId,
    account: AccountId,
) -> Result<(), StoreError> {
    transaction.execute(DROP_OF_ACCOUNT, params![conversation, account])?;
    Ok(())
}
