//! What an answer of the store means: the response to whoever asked, and what others hear of it.

use std::time::Instant;

use ahoy_proto::v1::supernode_message::Body;
use ahoy_proto::{AccountId, v1};
use bytes::Bytes;

use crate::outbox::{Outbox, Refusal, framed};
use crate::peer::{Devices, Party, Peer};
use crate::{Answer, ContactChange, Delivery, FoundAccount, StoreError};

/// What others hear of a change in the store, once whoever asked has its response.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// An event for all devices of these accounts but the one that asked.
    event: Option<(Vec<AccountId>, Bytes)>,
    deliveries: Vec<Delivery>,
    contact: Option<Box<ContactChange>>,
}

impl Effects {
    /// `asker` is spared what its response says already.
    pub(crate) fn carry_out(self, asker: Party, now: Instant, outbox: &mut Outbox) {
        if let Some((members, event)) = self.event {
            outbox.tell_lasting(members, Devices::AllBut(asker.device), event, now);
        }
        for Delivery { account, device, entry } in self.deliveries {
            outbox.tell_lasting(vec![account], Devices::One(device), framed(0, Body::InboxEntry(entry)), now);
        }
        if let Some(contact) = self.contact {
            tell_contact(asker.account, Devices::AllBut(asker.device), *contact, outbox);
        }
    }
}

/// Tells both homes how a contact stands.
pub(crate) fn tell_contact(account: AccountId, devices: Devices, change: ContactChange, outbox: &mut Outbox) {
    let ContactChange { own, other } = change;
    let peer = own.contact.as_ref().and_then(|contact| AccountId::try_from(&contact.account[..]).ok());
    outbox.counters.contact_changes += 1;
    outbox.tell_account(account, Peer::ContactChanged { account, devices, change: Box::new(own) });
    if let (Some(peer), Some(other)) = (peer, other) {
        outbox
            .tell_account(peer, Peer::ContactChanged { account: peer, devices: Devices::All, change: Box::new(other) });
    }
}

/// The response that an answer makes, and what follows from it for others.
pub(crate) fn respond(answer: Result<Answer, StoreError>, outbox: &mut Outbox) -> (Body, Effects) {
    let mut effects = Effects::default();
    let body = match answer {
        Err(StoreError::Busy | StoreError::Unavailable) => STORE_UNAVAILABLE.body(),
        Ok(Answer::Created { conversation, deliveries }) => {
            effects.deliveries = deliveries;
            one_conversation(conversation)
        }
        Ok(Answer::Committed { entry, members, deliveries }) => {
            outbox.counters.commits += 1;
            let sequence = entry.sequence;
            effects.event = Some((members, framed(0, Body::LogEntry(entry))));
            effects.deliveries = deliveries;
            Body::CommitAccepted(v1::CommitAccepted { sequence })
        }
        Ok(Answer::Appended { entry, members }) => {
            let body = appended(&entry, outbox);
            effects.event = Some((members, framed(0, Body::LogEntry(entry))));
            body
        }
        Ok(Answer::Repeated { newest }) => {
            // Whoever was to hear of the message may not have, if the reply to it was lost.
            effects.event = newest.map(|(entry, members)| (members, framed(0, Body::LogEntry(*entry))));
            Body::MessageAccepted(v1::MessageAccepted { sequence: 0, at_ms: 0 })
        }
        Ok(Answer::ReceiptSet { receipt, members }) => {
            outbox.counters.receipts += 1;
            effects.event = Some((members, framed(0, Body::Receipt(receipt))));
            Body::Done(v1::Done {})
        }
        Ok(Answer::Contact(change)) => {
            let own = change.own.clone();
            effects.contact = Some(change);
            Body::ContactChanged(own)
        }
        Ok(answer) => said(answer),
    };
    (body, effects)
}

/// Answers that concern nobody else.
fn said(answer: Answer) -> Body {
    match answer {
        Answer::Done => Body::Done(v1::Done {}),
        Answer::NotFound => NOT_FOUND.body(),
        Answer::Forbidden => FORBIDDEN.body(),
        Answer::AlreadyExists => ALREADY_EXISTS.body(),
        Answer::Conflict => CONFLICT.body(),
        Answer::LimitReached => LIMIT_REACHED.body(),
        Answer::StateTooOld => STATE_TOO_OLD.body(),
        Answer::Devices(devices) => Body::CheckedIn(v1::CheckedIn { devices }),
        Answer::Settings(settings) => Body::SettingsChanged(settings),
        Answer::Contacts(contacts) => Body::Contacts(contacts),
        Answer::KeyPackages(packages) => Body::KeyPackages(packages),
        Answer::Conversations(conversations) => Body::Conversations(conversations),
        Answer::Existing { conversation } => one_conversation(conversation),
        Answer::GroupInfo(info) => Body::GroupInfo(info),
        Answer::LogEntries(entries) => Body::LogEntries(entries),
        Answer::InboxEntries(entries) => Body::InboxEntries(entries),
        Answer::Members(members) => Body::Members(members),
        Answer::Receipts(receipts) => Body::Receipts(receipts),
        // What is left was asked for by the exchange itself, and has been served.
        _ => STORE_UNAVAILABLE.body(),
    }
}

/// Accounts, as the one who looked for a name, or for names, hears of them.
pub(crate) fn found(accounts: Vec<FoundAccount>, searched: bool) -> Body {
    let found = |FoundAccount { account, name, account_key, request_key }| v1::AccountFound {
        account: account.to_bytes(),
        name: String::from(name),
        account_key: Bytes::copy_from_slice(&account_key),
        request_key,
    };
    let mut accounts = accounts.into_iter().map(found);
    if searched {
        return Body::AccountsFound(v1::AccountsFound { accounts: accounts.collect() });
    }
    accounts.next().map_or_else(|| NOT_FOUND.body(), Body::AccountFound)
}

/// A message was accepted; or somebody has left, which says no more than that it is done.
fn appended(entry: &v1::LogEntry, outbox: &mut Outbox) -> Body {
    if let Some(v1::log_entry::Body::Departed(_)) = entry.body {
        return Body::Done(v1::Done {});
    }
    outbox.counters.messages += 1;
    Body::MessageAccepted(v1::MessageAccepted { sequence: entry.sequence, at_ms: entry.at_ms })
}

fn one_conversation(conversation: v1::Conversation) -> Body {
    Body::Conversations(v1::Conversations { conversations: vec![conversation], more: false })
}

pub(crate) const STORE_UNAVAILABLE: Refusal = Refusal::unavailable("the store can't be reached: try again");
const NOT_FOUND: Refusal =
    Refusal::new(v1::ErrorCode::NotFound, "there is no such thing, or it is not for you to know");
const FORBIDDEN: Refusal = Refusal::new(v1::ErrorCode::Forbidden, "that is not for you to do");
const ALREADY_EXISTS: Refusal = Refusal::new(v1::ErrorCode::AlreadyExists, "that id is taken");
const CONFLICT: Refusal = Refusal::new(v1::ErrorCode::Conflict, "the conversation has moved on: fetch its log");
const LIMIT_REACHED: Refusal = Refusal::new(v1::ErrorCode::LimitReached, "there is no room for more");
const STATE_TOO_OLD: Refusal =
    Refusal::new(v1::ErrorCode::StateTooOld, "what this device holds is a copy, or restored from one: sign in anew");
