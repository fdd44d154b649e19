//! Changes of a group that this device makes: inviting, removing, and taking out leaves that stand for nobody.
//!
//! One commit at a time in each conversation. It takes effect when the supernode has accepted it; on a conflict the log is
//! fetched, and what is still wanted is tried again on top, a bounded number of times. What the owner of this device wants
//! ends with the session, with an answer: whoever asked is there to ask again.

use std::time::{Duration, Instant};

use ahoy_proto::limits::GROUP_MEMBERS_MAX;
use ahoy_proto::{AccountId, ConversationId, DeviceId, v1};
use openmls::prelude::KeyPackage;
use sha2::{Digest as _, Sha256};
use v1::client_message::Body as Ask;
use v1::supernode_message::Body;

use crate::mls::MlsError;

use super::conversation::{Conversation, Staged, Sync};
use super::event::{Answer, Refusal, Ticket};
use super::log::COURTESY_MS;
use super::people::Standing;
use super::requests::Request;
use super::sync::{FAILURES_MAX, Failure};
use super::{CommandError, Member, Timer, passes, refusal};

/// Changes of one group that wait at once.
const WISHES_MAX: usize = 16;

/// Accounts of one invitation whose key packages are asked for at once: a quarter of what a session may ask at once.
const CLAIMS_MAX: usize = 8;

/// A change that the owner of this device wants.
pub(super) struct Wish {
    id: u64,
    ticket: Ticket,
    aim: Aim,
    /// Conflicts so far.
    tries: u32,
}

enum Aim {
    Add {
        accounts: Vec<AccountId>,
        /// Accounts whose key packages have not been asked for.
        unclaimed: Vec<AccountId>,
        /// Accounts whose key packages have not come yet.
        claims: usize,
        packages: Vec<(AccountId, DeviceId, KeyPackage)>,
    },
    Remove(AccountId),
}

/// A commit of this device that is with the supernode.
pub(super) struct Change {
    wish: Option<Wish>,
    added: Vec<AccountId>,
    removed: Vec<AccountId>,
}

impl Wish {
    fn is_ready(&self) -> bool {
        !matches!(&self.aim, Aim::Add { claims, unclaimed, .. } if *claims > 0 || !unclaimed.is_empty())
    }
}

impl Change {
    pub(super) fn into_wish(self) -> Option<Wish> {
        self.wish
    }
}

impl Member {
    /// Brings accounts into a group; [`Answer::Done`] when they are in it. Their account keys must be pinned.
    ///
    /// # Errors
    /// When there is no session or no such group, or nobody or too many are named.
    pub fn invite(
        &mut self,
        conversation: ConversationId,
        mut accounts: Vec<AccountId>,
        ticket: Ticket,
        now: Instant,
    ) -> Result<(), CommandError> {
        accounts.sort_unstable();
        accounts.dedup();
        let entry = self.changeable(conversation)?;
        if accounts.is_empty() || accounts.len() + entry.roll.members.len() > GROUP_MEMBERS_MAX {
            return Err(CommandError::Length);
        }
        if accounts.iter().any(|account| self.people.pin(*account).is_none()) {
            self.answer_ticket(ticket, Err(Refusal::NoSuchContact));
            return Ok(());
        }
        let aim = Aim::Add { unclaimed: accounts.clone(), accounts, claims: 0, packages: Vec::new() };
        self.wish(conversation, ticket, aim);
        self.claim_for_wishes(conversation, now);
        Ok(())
    }

    /// Takes an account out of a group; [`Answer::Done`] when it is. Only a group's owner may.
    ///
    /// # Errors
    /// When there is no session or no such group, or the account is one's own.
    pub fn remove_member(
        &mut self,
        conversation: ConversationId,
        account: AccountId,
        ticket: Ticket,
        now: Instant,
    ) -> Result<(), CommandError> {
        self.changeable(conversation)?;
        if account == self.identity.account {
            return Err(CommandError::OwnName);
        }
        self.wish(conversation, ticket, Aim::Remove(account));
        self.advance(conversation, now);
        Ok(())
    }

    /// Takes this account out of a group, on all its devices; [`Answer::Done`] when it is.
    ///
    /// # Errors
    /// When there is no session or no such group.
    pub fn leave(&mut self, conversation: ConversationId, ticket: Ticket, _now: Instant) -> Result<(), CommandError> {
        self.changeable(conversation)?;
        let body = Ask::LeaveConversation(v1::LeaveConversation { conversation: conversation.to_bytes() });
        self.ask(Request::Leave(conversation, ticket), body);
        Ok(())
    }

    pub(super) fn left(&mut self, id: ConversationId, ticket: Ticket, body: &Body, now: Instant) {
        let answer = match body {
            Body::Done(_) => Ok(Answer::Done),
            Body::Error(error) if error.code() == v1::ErrorCode::NotFound => Err(Refusal::NoSuchConversation),
            body => return self.answer_ticket(ticket, Err(refusal(body))),
        };
        self.forget(id, None, now);
        self.answer_ticket(ticket, answer);
    }

    /// A device of this account was revoked, by this one: its leaves are taken out of all groups at once.
    pub fn remove_device(&mut self, device: DeviceId, now: Instant) {
        if device == self.identity.device {
            return;
        }
        self.devices.revoke(device);
        for conversation in self.conversations.values_mut() {
            conversation.sweep_now |= conversation.roll.leaves.iter().any(|(_, leaf)| *leaf == device);
        }
        self.advance_all(now);
    }

    fn changeable(&self, id: ConversationId) -> Result<&Conversation, CommandError> {
        if self.session.is_none() {
            return Err(CommandError::NotSignedIn);
        }
        let entry = self.conversations.get(&id).filter(|entry| entry.is_group());
        let entry = entry.ok_or(CommandError::NoSuchConversation)?;
        if entry.wishes.len() >= WISHES_MAX { Err(CommandError::TooManyWaiting) } else { Ok(entry) }
    }

    fn wish(&mut self, id: ConversationId, ticket: Ticket, aim: Aim) {
        self.wishes_made += 1;
        let wish = Wish { id: self.wishes_made, ticket, aim, tries: 0 };
        if let Some(conversation) = self.conversations.get_mut(&id) {
            conversation.wishes.push_back(wish);
        }
    }

    /// Asks for key packages that are wanted, a few at a time.
    pub(super) fn claim_for_wishes(&mut self, id: ConversationId, now: Instant) {
        let Some(conversation) = self.conversations.get_mut(&id) else { return };
        let mut asks = Vec::new();
        for wish in &mut conversation.wishes {
            let Aim::Add { unclaimed, claims, .. } = &mut wish.aim else { continue };
            while *claims < CLAIMS_MAX
                && let Some(account) = unclaimed.pop()
            {
                *claims += 1;
                asks.push(Request::ClaimForWish(id, wish.id, account));
            }
        }
        for ask in asks {
            if let Request::ClaimForWish(_, _, account) = ask {
                let body = Ask::ClaimKeyPackages(v1::ClaimKeyPackages { account: account.to_bytes() });
                self.ask(ask, body);
            }
        }
        self.advance(id, now);
    }

    pub(super) fn claimed_for_wish(
        &mut self,
        id: ConversationId,
        wish_id: u64,
        account: AccountId,
        body: &Body,
        now: Instant,
    ) {
        let checked = match body {
            Body::KeyPackages(offered) => self.check_packages(account, &offered.packages),
            body => Err(refusal(body)),
        };
        let Some(conversation) = self.conversations.get_mut(&id) else { return };
        let Some(at) = conversation.wishes.iter().position(|wish| wish.id == wish_id) else { return };
        match (checked, &mut conversation.wishes[at].aim) {
            (Err(_), Aim::Add { claims, unclaimed, .. }) if passes(body) => {
                *claims = claims.saturating_sub(1);
                unclaimed.push(account);
                return self.pause(Timer::Claim(id), 1, body, now);
            }
            (Ok(checked), Aim::Add { claims, packages, .. }) => {
                *claims = claims.saturating_sub(1);
                packages.extend(checked.into_iter().map(|(device, package)| (account, device, package)));
            }
            (Err(why), _) => {
                if let Some(wish) = conversation.wishes.remove(at) {
                    self.answer_ticket(wish.ticket, Err(why));
                }
            }
            (Ok(_), Aim::Remove(_)) => {}
        }
        self.claim_for_wishes(id, now);
    }

    /// Those key packages of an account's devices that are good; a device under another account key than the pinned one
    /// spoils them all.
    pub(super) fn check_packages(
        &mut self,
        account: AccountId,
        offered: &[v1::DeviceKeyPackage],
    ) -> Result<Vec<(DeviceId, KeyPackage)>, Refusal> {
        let mut good: Vec<(DeviceId, KeyPackage)> = Vec::new();
        for offered in offered.iter().take(ahoy_proto::limits::DEVICES_MAX) {
            let Ok((package, leaf)) = self.mls.check_key_package(&offered.key_package) else { continue };
            let twice = good.iter().any(|(device, _)| *device == leaf.device);
            if leaf.account != account || leaf.device.0[..] != offered.device || twice {
                continue;
            }
            if account == self.identity.account {
                if leaf.account_key != self.identity.account_key {
                    return Err(Refusal::ConversationRefused);
                }
            } else if self.people.standing(account, &leaf.account_key) != Standing::Pinned {
                self.key_changed(account, leaf.account_key);
                return Err(Refusal::AccountKeyChanged);
            }
            good.push((leaf.device, package));
        }
        Ok(good)
    }

    /// Makes the next commit that is wanted, if there is one. The conversation is current.
    pub(super) fn next_change(&mut self, id: ConversationId, now: Instant) {
        self.doubt_devices(id);
        let account = self.identity.account;
        let Some(conversation) = self.conversations.get_mut(&id) else { return };
        let strangers = conversation.strangers(account, self.devices.gone());
        let wish = loop {
            let Some(at) = conversation.wishes.iter().position(Wish::is_ready) else { break None };
            let Some(mut wish) = conversation.wishes.remove(at) else { break None };
            if wish.prune(&conversation.roll.members) {
                break Some(wish);
            }
            // Somebody else has done it.
            self.outbox.event(super::Event::Answer { ticket: wish.ticket, answer: Ok(Answer::Done) });
        };
        if wish.is_none() {
            if strangers.is_empty() {
                conversation.sweep_now = false;
                self.timers.remove(&Timer::Sweep(id));
                return;
            }
            if !conversation.sweep_now && conversation.queue.is_empty() {
                let pause = Duration::from_millis(self.mls.random_below(COURTESY_MS));
                self.timers.entry(Timer::Sweep(id)).or_insert(now + pause);
                return;
            }
        }
        // A wish that can't be fulfilled says nothing of the group.
        let wished = wish.is_some();
        match self.commit(id, wish, strangers) {
            Ok(()) => {}
            Err(why) if wished && why != MlsError::NoGroup => {}
            Err(_) => self.lose_group(id, now),
        }
    }

    /// The courteous pause is over, and the leaves are still there.
    pub(super) fn sweep(&mut self, id: ConversationId, now: Instant) {
        if let Some(conversation) = self.conversations.get_mut(&id) {
            conversation.sweep_now = true;
        }
        self.advance(id, now);
    }

    fn commit(&mut self, id: ConversationId, wish: Option<Wish>, mut remove: Vec<DeviceId>) -> Result<(), MlsError> {
        let conversation = self.conversations.get_mut(&id).ok_or(MlsError::NoGroup)?;
        let (mut added, mut removed, mut packages, mut devices) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        match wish.as_ref().map(|wish| &wish.aim) {
            Some(Aim::Add { accounts, packages: offered, .. }) => {
                added.clone_from(accounts);
                for (account, device, package) in offered {
                    let inside = conversation.roll.leaves.iter().any(|(_, leaf)| leaf == device);
                    if accounts.contains(account) && !inside {
                        packages.push(package.clone());
                        devices.push(device.to_bytes());
                    }
                }
            }
            Some(Aim::Remove(account)) => {
                removed.push(*account);
                let leaves = conversation.roll.leaves.iter().filter(|(of, _)| of == account);
                remove.extend(leaves.map(|(_, device)| *device));
            }
            None => {}
        }
        let mut group = conversation.group(&self.mls)?;
        let made = group.commit(&self.mls, packages, &remove);
        let change = Change { wish, added: added.clone(), removed: removed.clone() };
        let made = match made {
            Ok(made) => made,
            Err(why) => {
                if let Some(wish) = change.wish {
                    self.answer_ticket(wish.ticket, Err(Refusal::ConversationRefused));
                }
                return Err(why);
            }
        };
        conversation.record.pending = Some(Sha256::digest(&made.commit).into());
        conversation.keep(group, &mut self.outbox);
        conversation.write_record(&mut self.outbox);
        let welcomes = made.welcome.map(|welcome| v1::Welcoming { devices, welcome });
        let ids = |accounts: Vec<AccountId>| accounts.into_iter().map(AccountId::to_bytes).collect();
        let body = v1::Commit {
            conversation: id.to_bytes(),
            generation: conversation.record.generation,
            epoch: conversation.record.epoch,
            commit: made.commit,
            group_info: made.group_info,
            welcomes: welcomes.into_iter().collect(),
            add: ids(added),
            remove: ids(removed),
        };
        conversation.sync = Sync::Committing(change);
        self.ask(Request::Commit(id), Ask::Commit(body));
        Ok(())
    }

    /// What came of a commit of this device as a member.
    pub(super) fn change_answered(&mut self, id: ConversationId, change: Change, body: &Body, now: Instant) {
        let at_ms = self.clock_ms(now);
        let Some(conversation) = self.conversations.get_mut(&id) else { return };
        match body {
            Body::CommitAccepted(accepted) => {
                let head = conversation.record.head;
                let next = accepted.sequence == head + 1;
                conversation.known_head = conversation.known_head.max(accepted.sequence);
                if self.merge(id, if next { accepted.sequence } else { head }).is_err() {
                    return self.lose_group(id, now);
                }
                self.change_members(id, &change.added, &change.removed);
                // Otherwise the log brings it in its turn.
                if next {
                    let own = self.identity.account;
                    self.tell_members(id, own, accepted.sequence, at_ms, (&change.added, &change.removed));
                    self.mark_taken(id, now);
                }
                self.change_made(id, change, now);
            }
            Body::Error(error) if error.code() == v1::ErrorCode::NotFound => {
                conversation.wishes.extend(change.wish);
                return self.forget(id, None, now);
            }
            body => self.change_refused(id, change, body, now),
        }
        self.advance(id, now);
    }

    fn change_made(&mut self, id: ConversationId, change: Change, now: Instant) {
        let Some(wish) = change.wish else { return };
        self.answer_ticket(wish.ticket, Ok(Answer::Done));
        // Newcomers are told the title.
        if !change.added.is_empty() {
            self.tell_title(id, now);
        }
    }

    fn change_refused(&mut self, id: ConversationId, change: Change, body: &Body, now: Instant) {
        let Some(conversation) = self.conversations.get_mut(&id) else { return };
        let conflict = matches!(body, Body::Error(error) if error.code() == v1::ErrorCode::Conflict);
        let again = conflict || passes(body);
        // It may have been carried out, and only the answer is missing: the log knows.
        conversation.doubt |= again;
        let tries = match change.wish {
            Some(mut wish) if again && wish.tries < FAILURES_MAX => {
                wish.tries += 1;
                let tries = wish.tries;
                conversation.wishes.push_front(wish);
                tries
            }
            Some(wish) => return self.answer_ticket(wish.ticket, Err(refusal(body))),
            None => {
                conversation.sweep_now = false;
                conversation.failures += 1;
                conversation.failures
            }
        };
        // The first conflict is most likely over by now.
        if conflict && tries == 1 {
            return;
        }
        if let Some(conversation) = self.conversations.get_mut(&id) {
            conversation.sync = Sync::Waiting;
        }
        self.pause(Timer::Conversation(id), tries, body, now);
    }

    /// Moves on by this device's own commit, which the supernode has accepted; `head` is the last entry taken in then.
    pub(super) fn merge(&mut self, id: ConversationId, head: u64) -> Result<(), Failure> {
        let conversation = self.conversations.get_mut(&id).ok_or(MlsError::NoGroup)?;
        let mut group = conversation.group(&self.mls)?;
        group.merge()?;
        let leaves = group.leaves()?;
        let staged = Staged::of(group, &leaves, &conversation.record, head)?;
        conversation.adopt(staged, &mut self.outbox);
        Ok(())
    }

    /// Ends everything that is wanted of a conversation.
    pub(super) fn fail_wishes(&mut self, id: ConversationId, why: &Refusal) {
        let Some(conversation) = self.conversations.get_mut(&id) else { return };
        let mut wishes: Vec<Wish> = conversation.wishes.drain(..).collect();
        if matches!(conversation.sync, Sync::Committing(_))
            && let Sync::Committing(change) = std::mem::replace(&mut conversation.sync, Sync::Idle)
        {
            wishes.extend(change.into_wish());
        }
        for wish in wishes {
            self.answer_ticket(wish.ticket, Err(why.clone()));
        }
    }
}

impl Wish {
    /// Leaves out what is so already; `false` when nothing is left.
    fn prune(&mut self, members: &[AccountId]) -> bool {
        match &mut self.aim {
            Aim::Add { accounts, .. } => {
                accounts.retain(|account| !members.contains(account));
                !accounts.is_empty()
            }
            Aim::Remove(account) => members.contains(account),
        }
    }
}
