//! The contact table: how each account has each other one, as section 6.2 of docs/protocol.md says.

use std::collections::BTreeMap;

use ahoy_proto::{AccountId, UnixTime, limits, v1};
use bytes::Bytes;

use super::{Account, Accounts, last_seen, page};
use crate::{Answer, CallWelcome, ContactChange, Day, Question};

/// Rows by who has whom; no row: neither contact nor request.
#[derive(Debug, Clone, Default)]
pub(super) struct Contacts(BTreeMap<(AccountId, AccountId), Row>);

#[derive(Debug, Clone)]
struct Row {
    state: State,
    since: UnixTime,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Asked,
    Asks {
        note: Bytes,
    },
    Accepted,
    Blocked,
    /// Not shown: keeps the other from asking again for a while.
    Declined,
}

/// Two rows of the table: of the account that asks for a change, and of the other one.
#[derive(Debug, Clone, Copy)]
struct Pair {
    account: AccountId,
    peer: AccountId,
}

impl Pair {
    fn own(self) -> (AccountId, AccountId) {
        (self.account, self.peer)
    }

    fn other(self) -> (AccountId, AccountId) {
        (self.peer, self.account)
    }
}

impl Contacts {
    pub(super) fn befriend(&mut self, one: AccountId, other: AccountId) {
        for pair in [(one, other), (other, one)] {
            self.0.insert(pair, Row { state: State::Accepted, since: UnixTime(0) });
        }
    }

    pub(super) fn state(&self, account: AccountId, peer: AccountId) -> v1::ContactState {
        self.0.get(&(account, peer)).map_or(v1::ContactState::None, |row| row.state.shown())
    }

    pub(super) fn is_accepted(&self, account: AccountId, peer: AccountId) -> bool {
        self.state(account, peer) == v1::ContactState::Accepted
    }

    /// What a call comes to.
    pub(super) fn welcome(&self, caller: AccountId, callee: AccountId, calls_from: v1::CallsFrom) -> CallWelcome {
        let accepted = self.is_accepted(caller, callee);
        if calls_from == v1::CallsFrom::Nobody {
            return CallWelcome::Unreachable;
        }
        if self.state(callee, caller) == v1::ContactState::Blocked {
            let silent = accepted || calls_from == v1::CallsFrom::Anyone;
            return if silent { CallWelcome::Unreachable } else { CallWelcome::BecomesRequest };
        }
        match calls_from {
            v1::CallsFrom::Anyone => CallWelcome::Rings,
            _ if self.is_accepted(callee, caller) => CallWelcome::Rings,
            _ if accepted => CallWelcome::Unreachable,
            _ => CallWelcome::BecomesRequest,
        }
    }

    pub(super) fn answer(&mut self, accounts: &mut Accounts, question: Question) -> Answer {
        match question {
            Question::ListContacts { account, after, today } => self.list(accounts, account, after, today),
            Question::RequestContact { account, peer, note, at } => {
                self.request(accounts, Pair { account, peer }, note, at)
            }
            Question::AnswerContact { account, peer, accept, at } => {
                self.reply(accounts, Pair { account, peer }, accept, at)
            }
            Question::RemoveContact { account, peer } => self.remove(accounts, Pair { account, peer }),
            Question::BlockAccount { account, peer, block: true, at } => {
                self.block(accounts, Pair { account, peer }, at)
            }
            Question::BlockAccount { account, peer, block: false, at } => {
                self.unblock(accounts, Pair { account, peer }, at)
            }
            _ => Answer::NotFound,
        }
    }

    fn list(&self, accounts: &Accounts, account: AccountId, after: Option<AccountId>, today: Day) -> Answer {
        let Some(own) = accounts.get(&account) else { return Answer::NotFound };
        let later = self.rows(account).filter(|(peer, _)| after.is_none_or(|after| *peer > after));
        let contacts = later.filter_map(|(peer, row)| {
            let of_peer = accounts.get(&peer)?;
            Some(row.shown(peer, of_peer, self.seen(account, peer, of_peer.seen, today)))
        });
        let (contacts, more) = page(contacts);
        let settings = after.is_none().then(|| own.settings.clone());
        Answer::Contacts(v1::Contacts { contacts, more, serial: own.serial, settings })
    }

    /// When a contact was last there, as far as the account may know: not after the contact has blocked it.
    fn seen(&self, account: AccountId, peer: AccountId, seen: Option<Day>, today: Day) -> v1::LastSeen {
        let theirs = self.0.get(&(peer, account)).filter(|row| row.state == State::Blocked);
        let blocked = theirs.map(|row| Day(u32::try_from(row.since.0 / 86_400).unwrap_or(u32::MAX)));
        last_seen(seen.map(|seen| blocked.map_or(seen, |blocked| seen.min(blocked))), today)
    }

    fn request(&mut self, accounts: &mut Accounts, pair: Pair, note: Bytes, at: UnixTime) -> Answer {
        if !accounts.contains_key(&pair.peer) {
            return Answer::NotFound;
        }
        let own = self.0.get(&pair.own()).map(|row| row.state.clone());
        let other = self.0.get(&pair.other()).map(|row| row.state.clone());
        match own {
            Some(State::Blocked) => return Answer::Forbidden,
            Some(State::Accepted) => return self.changed(accounts, pair, [false, false]),
            None | Some(State::Declined) if self.rows(pair.account).count() >= limits::CONTACTS_MAX => {
                return Answer::LimitReached;
            }
            _ => {}
        }
        if other == Some(State::Asked) {
            self.set(pair.own(), State::Accepted, at);
            self.set(pair.other(), State::Accepted, at);
            return self.changed(accounts, pair, [true, true]);
        }
        if own != Some(State::Asked) {
            let asked = self.rows(pair.account).filter(|(_, row)| row.state == State::Asked).count();
            if asked >= limits::CONTACT_REQUESTS_OUT_MAX {
                return Answer::LimitReached;
            }
            self.set(pair.own(), State::Asked, at);
        }
        let told = self.hears_of(pair, at);
        if told {
            self.set(pair.other(), State::Asks { note }, at);
        }
        self.changed(accounts, pair, [own != Some(State::Asked), told])
    }

    /// Whether a request gets through to the other account.
    fn hears_of(&self, pair: Pair, at: UnixTime) -> bool {
        let asking = |row: &Row| matches!(row.state, State::Asks { .. });
        let has_room = || {
            let waiting = self.rows(pair.peer).filter(|(_, row)| asking(row)).count();
            waiting < limits::CONTACT_REQUESTS_IN_MAX && self.rows(pair.peer).count() < limits::CONTACTS_MAX
        };
        match self.0.get(&pair.other()) {
            None => has_room(),
            Some(row) if asking(row) => true,
            Some(Row { state: State::Declined, since }) => since.plus(limits::DECLINE_LASTS) <= at && has_room(),
            Some(_) => false,
        }
    }

    fn reply(&mut self, accounts: &mut Accounts, pair: Pair, accept: bool, at: UnixTime) -> Answer {
        let asks = self.0.get(&pair.own()).is_some_and(|row| matches!(row.state, State::Asks { .. }));
        if !asks || !accounts.contains_key(&pair.peer) {
            return Answer::NotFound;
        }
        if !accept {
            self.set(pair.own(), State::Declined, at);
            return self.changed(accounts, pair, [true, false]);
        }
        self.set(pair.own(), State::Accepted, at);
        self.set(pair.other(), State::Accepted, at);
        self.changed(accounts, pair, [true, true])
    }

    fn remove(&mut self, accounts: &mut Accounts, pair: Pair) -> Answer {
        let own = self.0.get(&pair.own()).map(|row| &row.state);
        if !matches!(own, Some(State::Asked | State::Accepted)) || !accounts.contains_key(&pair.peer) {
            return Answer::NotFound;
        }
        self.0.remove(&pair.own());
        let other = self.0.get(&pair.other()).map(|row| &row.state);
        let told = matches!(other, Some(State::Asks { .. } | State::Accepted));
        if told {
            self.0.remove(&pair.other());
        }
        self.changed(accounts, pair, [true, told])
    }

    fn block(&mut self, accounts: &mut Accounts, pair: Pair, at: UnixTime) -> Answer {
        if !accounts.contains_key(&pair.peer) {
            return Answer::NotFound;
        }
        match self.0.get(&pair.own()).map(|row| &row.state) {
            Some(State::Blocked) => return self.changed(accounts, pair, [false, false]),
            None | Some(State::Declined) if self.rows(pair.account).count() >= limits::CONTACTS_MAX => {
                return Answer::LimitReached;
            }
            _ => {}
        }
        self.set(pair.own(), State::Blocked, at);
        let asks = matches!(self.0.get(&pair.other()), Some(Row { state: State::Asks { .. }, .. }));
        if asks {
            self.0.remove(&pair.other());
        }
        self.changed(accounts, pair, [true, asks])
    }

    fn unblock(&mut self, accounts: &mut Accounts, pair: Pair, at: UnixTime) -> Answer {
        if !accounts.contains_key(&pair.peer) {
            return Answer::NotFound;
        }
        let blocked = self.state(pair.account, pair.peer) == v1::ContactState::Blocked;
        if blocked && self.is_accepted(pair.peer, pair.account) {
            self.set(pair.own(), State::Accepted, at);
        } else if blocked {
            self.0.remove(&pair.own());
        }
        self.changed(accounts, pair, [blocked, false])
    }

    /// Both sides of a pair as they stand now; the serial of a side whose row has changed goes up.
    fn changed(&self, accounts: &mut Accounts, pair: Pair, changed: [bool; 2]) -> Answer {
        let Pair { account, peer } = pair;
        let [Some(own), other] =
            [(account, peer, changed[0]), (peer, account, changed[1])].map(|(of, peer, changed)| {
                let serial = accounts.get_mut(&of).map(|of| if changed { of.change() } else { of.serial })?;
                let of_peer = accounts.get(&peer)?;
                let none = || Row { state: State::Declined, since: UnixTime(0) };
                let row = self.0.get(&(of, peer)).cloned().unwrap_or_else(none);
                Some(v1::ContactChanged { contact: Some(row.shown(peer, of_peer, v1::LastSeen::Unspecified)), serial })
            })
        else {
            return Answer::NotFound;
        };
        Answer::Contact(Box::new(ContactChange { own, other: other.filter(|_| changed[1]) }))
    }

    fn set(&mut self, pair: (AccountId, AccountId), state: State, since: UnixTime) {
        self.0.insert(pair, Row { state, since });
    }

    /// The rows of an account, but those that it has declined.
    fn rows(&self, account: AccountId) -> impl Iterator<Item = (AccountId, &Row)> {
        let all = self.0.range((account, AccountId([0; 16]))..=(account, AccountId([0xff; 16])));
        all.filter(|(_, row)| row.state != State::Declined).map(|((_, peer), row)| (*peer, row))
    }
}

impl State {
    fn shown(&self) -> v1::ContactState {
        match self {
            Self::Asked => v1::ContactState::Asked,
            Self::Asks { .. } => v1::ContactState::Asks,
            Self::Accepted => v1::ContactState::Accepted,
            Self::Blocked => v1::ContactState::Blocked,
            Self::Declined => v1::ContactState::None,
        }
    }
}

impl Row {
    fn shown(&self, peer: AccountId, of_peer: &Account, seen: v1::LastSeen) -> v1::Contact {
        let seen = if self.state == State::Accepted { seen } else { v1::LastSeen::Unspecified };
        v1::Contact {
            account: peer.to_bytes(),
            name: of_peer.name.clone().into(),
            account_key: Bytes::copy_from_slice(&of_peer.account_key),
            state: self.state.shown().into(),
            since: self.since.0,
            note: match &self.state {
                State::Asks { note } => note.clone(),
                _ => Bytes::new(),
            },
            last_seen: seen.into(),
        }
    }
}
