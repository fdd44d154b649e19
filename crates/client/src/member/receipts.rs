//! Receipts and signals: how far devices have received and read, and who types.
//!
//! Both are sealed under a key of the epoch's that every member has, and do not move the ratchet. A receipt leaves at most
//! every two seconds and says nothing that its owner does not tell.

use std::time::{Duration, Instant};

use ahoy_proto::limits::SIGNAL_SEALED_MAX;
use ahoy_proto::{AccountId, ConversationId, DeviceId, v1};
use bytes::Bytes;
use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use prost::Message as _;
use serde::{Deserialize, Serialize};
use v1::client_message::Body as Ask;
use v1::supernode_message::Body;

use crate::mls::signal_key;

use super::conversation::Conversation;
use super::event::Event;
use super::requests::Request;
use super::{CommandError, Member, Timer, passes};

/// How long a receipt waits for what may come after it.
const RECEIPT_AFTER: Duration = Duration::from_secs(2);

/// Accounts of a group beyond which nobody sends receipts: each would go to all others.
const RECEIPTS_MEMBERS_MAX: usize = 32;

/// How long somebody types who has said so.
const TYPING_LASTS: Duration = Duration::from_secs(10);

/// People who type at once, in all conversations; more are not shown.
const TYPING_MAX: usize = 64;

const RECEIPT: u8 = 1;
const SIGNAL: u8 = 2;

pub(super) const TELLS_KEY: &[u8] = b"tells";

/// What this device tells of what it received and read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tells {
    delivered: bool,
    read: bool,
}

impl Default for Tells {
    fn default() -> Self {
        Self { delivered: true, read: true }
    }
}

impl Member {
    /// Says what others are told by this device, from now on and in sessions to come: how far messages have arrived here, and
    /// how far they have been read. Both, until this is called.
    pub fn set_receipts(&mut self, delivered: bool, read: bool) {
        self.tells = Tells { delivered, read };
        self.outbox.write(TELLS_KEY.to_vec(), &self.tells);
    }

    /// How far each other account has received and read, on the furthest of its devices; 0: not told.
    pub fn receipts(&self, conversation: ConversationId) -> Vec<(AccountId, u64, u64)> {
        self.conversations.get(&conversation).map_or_else(Vec::new, |entry| entry.record.receipts.clone())
    }

    /// The owner of this device has read up to a sequence number.
    ///
    /// # Errors
    /// When there is no such conversation.
    pub fn mark_read(&mut self, conversation: ConversationId, sequence: u64, now: Instant) -> Result<(), CommandError> {
        let entry = self.conversations.get_mut(&conversation).ok_or(CommandError::NoSuchConversation)?;
        let sequence = sequence.min(entry.record.head);
        if sequence <= entry.record.read {
            return Ok(());
        }
        entry.record.read = sequence;
        entry.write_record(&mut self.outbox);
        self.touched.insert(conversation);
        if self.tells.read {
            self.receipt_due(conversation, now);
        }
        Ok(())
    }

    /// Says that the owner of this device types, or no longer; to be said again every 5 seconds while it lasts. Without a
    /// session it goes nowhere.
    ///
    /// # Errors
    /// When there is no such conversation.
    pub fn typing(&mut self, conversation: ConversationId, typing: bool, _now: Instant) -> Result<(), CommandError> {
        let entry = self.conversations.get(&conversation).ok_or(CommandError::NoSuchConversation)?;
        let content = v1::SignalContent { typing }.encode_to_vec();
        let sealed = self.seal_beside(entry, SIGNAL, &content).filter(|_| entry.is_current());
        if let Some(sealed) = sealed {
            let body = Ask::SendSignal(v1::SendSignal { conversation: conversation.to_bytes(), sealed });
            self.ask(Request::Unminded, body);
        }
        Ok(())
    }

    /// There is something to tell about a conversation.
    pub(super) fn receipt_due(&mut self, id: ConversationId, now: Instant) {
        let own = self.identity.account;
        let few = |entry: &&mut Conversation| entry.members(own).len() <= RECEIPTS_MEMBERS_MAX;
        let Some(entry) = self.conversations.get_mut(&id).filter(few) else { return };
        if self.tells.delivered || self.tells.read {
            entry.record.receipt_owed = true;
            entry.write_record(&mut self.outbox);
            self.timers.entry(Timer::Receipt(id)).or_insert(now + RECEIPT_AFTER);
        }
    }

    /// Takes up what was to be told when there was no session.
    pub(super) fn resume_receipt(&mut self, id: ConversationId, now: Instant) {
        if self.conversations.get(&id).is_some_and(|entry| entry.record.receipt_owed) {
            self.timers.entry(Timer::Receipt(id)).or_insert(now + RECEIPT_AFTER);
        }
    }

    pub(super) fn send_receipt(&mut self, id: ConversationId) {
        let usable = |entry: &&mut Conversation| entry.is_inside() && entry.refused.is_none();
        let Some(entry) = self.conversations.get_mut(&id).filter(usable).filter(|_| self.session.is_some()) else {
            return;
        };
        entry.record.receipt_owed = false;
        entry.write_record(&mut self.outbox);
        let told = |tells: bool, sequence: u64| if tells { sequence } else { 0 };
        let content = v1::ReceiptContent {
            delivered: told(self.tells.delivered, entry.record.head),
            read: told(self.tells.read, entry.record.read),
        };
        let Some(entry) = self.conversations.get(&id) else { return };
        if let Some(sealed) = self.seal_beside(entry, RECEIPT, &content.encode_to_vec()) {
            let body = Ask::SetReceipt(v1::SetReceipt { conversation: id.to_bytes(), sealed });
            self.ask(Request::SetReceipt(id), body);
        }
    }

    pub(super) fn receipt_answered(&mut self, id: ConversationId, body: &Body, now: Instant) {
        if passes(body) {
            self.receipt_due(id, now);
        }
    }

    /// Asks for the receipts that have changed since the last one taken in.
    pub(super) fn fetch_receipts(&mut self, id: ConversationId) {
        let Some(entry) = self.conversations.get_mut(&id) else { return };
        let after = entry.record.receipts_serial;
        if entry.receipts_known <= after {
            return;
        }
        // Asked once for what is known by then; whatever changes later comes as an event.
        entry.receipts_known = 0;
        let body = Ask::FetchReceipts(v1::FetchReceipts { conversation: id.to_bytes(), after });
        self.ask(Request::FetchReceipts(id), body);
    }

    pub(super) fn receipts_fetched(&mut self, id: ConversationId, body: &Body) {
        let Body::Receipts(page) = body else { return };
        for receipt in &page.receipts {
            self.take_receipt(receipt);
        }
        if let (true, Some(last)) = (page.more, page.receipts.last())
            && let Some(entry) = self.conversations.get_mut(&id)
            && entry.record.receipts_serial >= last.serial
        {
            entry.receipts_known = u64::MAX;
            self.fetch_receipts(id);
        }
    }

    pub(super) fn take_receipt(&mut self, receipt: &v1::Receipt) {
        let ids = (
            ConversationId::try_from(&receipt.conversation[..]),
            AccountId::try_from(&receipt.account[..]),
            DeviceId::try_from(&receipt.device[..]),
        );
        let (Ok(id), Ok(account), Ok(device)) = ids else { return };
        let plain = self.open_beside(id, RECEIPT, account, device, &receipt.sealed);
        let Some(entry) = self.conversations.get_mut(&id) else { return };
        if receipt.serial <= entry.record.receipts_serial {
            return;
        }
        entry.record.receipts_serial = receipt.serial;
        let content = plain.and_then(|plain| v1::ReceiptContent::decode(&plain[..]).ok());
        if let Some(content) = content {
            let head = entry.record.head.max(entry.known_head);
            let (delivered, read) = (content.delivered.min(head), content.read.min(head));
            if account == self.identity.account {
                entry.record.read = entry.record.read.max(read);
                self.touched.insert(id);
            } else {
                let (delivered, read) = entry.record.receive(account, delivered, read);
                if !self.is_blocked(account) {
                    self.outbox.event(Event::Receipt { conversation: id, account, delivered, read });
                }
            }
        }
        if let Some(entry) = self.conversations.get(&id) {
            entry.write_record(&mut self.outbox);
        }
    }

    pub(super) fn take_signal(&mut self, signal: &v1::Signal, now: Instant) {
        let ids = (
            ConversationId::try_from(&signal.conversation[..]),
            AccountId::try_from(&signal.account[..]),
            DeviceId::try_from(&signal.device[..]),
        );
        let (Ok(id), Ok(account), Ok(device)) = ids else { return };
        let Some(plain) = self.open_beside(id, SIGNAL, account, device, &signal.sealed) else { return };
        let Ok(content) = v1::SignalContent::decode(&plain[..]) else { return };
        if account == self.identity.account || self.is_blocked(account) {
            return;
        }
        if !content.typing {
            return self.stop_typing(id, account);
        }
        let timer = Timer::Typing(id, account);
        let typing = self.timers.keys().filter(|timer| matches!(timer, Timer::Typing(..))).count();
        if !self.timers.contains_key(&timer) {
            if typing >= TYPING_MAX {
                return;
            }
            self.outbox.event(Event::Typing { conversation: id, account, typing: true });
        }
        self.timers.insert(timer, now + TYPING_LASTS);
    }

    /// Somebody types no longer.
    pub(super) fn stop_typing(&mut self, id: ConversationId, account: AccountId) {
        if self.timers.remove(&Timer::Typing(id, account)).is_some() {
            self.outbox.event(Event::Typing { conversation: id, account, typing: false });
        }
    }

    /// The session is lost: nobody is seen to type.
    pub(super) fn stop_all_typing(&mut self) {
        let timers = self.timers.keys().filter_map(|timer| match timer {
            Timer::Typing(id, account) => Some((*id, *account)),
            _ => None,
        });
        for (id, account) in timers.collect::<Vec<_>>() {
            self.stop_typing(id, account);
        }
    }

    /// Seals something that does not move the ratchet.
    fn seal_beside(&self, entry: &Conversation, kind: u8, plain: &[u8]) -> Option<Bytes> {
        let (epoch, device) = (entry.record.epoch, self.identity.device);
        let cipher = XChaCha20Poly1305::new(&signal_key(entry.voice_secret(epoch)?, device).into());
        let nonce = self.mls.random_nonce();
        let aad = beside(kind, entry.id, device);
        let sealed = cipher.encrypt(XNonce::from_slice(&nonce), Payload { msg: plain, aad: &aad }).ok()?;
        Some([&epoch.to_be_bytes()[..], &nonce, &sealed].concat().into())
    }

    /// Opens what a device of the group sealed; `None` too when the device is none of this account's in the group.
    fn open_beside(
        &self,
        id: ConversationId,
        kind: u8,
        account: AccountId,
        device: DeviceId,
        sealed: &[u8],
    ) -> Option<Vec<u8>> {
        let entry = self.conversations.get(&id).filter(|entry| entry.refused.is_none())?;
        if sealed.len() > SIGNAL_SEALED_MAX || !entry.roll.leaves.contains(&(account, device)) {
            return None;
        }
        let (epoch, rest) = sealed.split_first_chunk::<8>()?;
        let (nonce, sealed) = rest.split_first_chunk::<24>()?;
        let secret = entry.voice_secret(u64::from_be_bytes(*epoch))?;
        let cipher = XChaCha20Poly1305::new(&signal_key(secret, device).into());
        let aad = beside(kind, id, device);
        cipher.decrypt(XNonce::from_slice(nonce), Payload { msg: sealed, aad: &aad }).ok()
    }
}

/// What is sealed with, and not in, a receipt or signal.
fn beside(kind: u8, conversation: ConversationId, device: DeviceId) -> Vec<u8> {
    [&[kind][..], &conversation.0, &device.0].concat()
}
