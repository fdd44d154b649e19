//! What the owner of this device wishes of contacts, settings and the directory, and what comes of it.
//!
//! A stranger's name is looked up first: only a name whose account key is the pinned one, or is pinned by this, is asked.
//! Blocking needs no key: whoever has taken a name over can be blocked too.

use std::time::Instant;

use ahoy_proto::limits::{MOOD_CHARACTERS_MAX, NOTE_CHARACTERS_MAX, SEARCH_PREFIX_MIN, SEARCH_RESULTS_MAX};
use ahoy_proto::note::{self, NoteError};
use ahoy_proto::report::{self, ReportError};
use ahoy_proto::request_key;
use ahoy_proto::{AccountId, Name, v1};
use bytes::Bytes;
use v1::client_message::Body as Ask;
use v1::supernode_message::Body;

use super::super::event::{Answer, ContactState, Person, Refusal, SettingsChange, Ticket};
use super::super::requests::Request;
use super::super::{CommandError, Member, find, refusal};
use super::{Activity, CONTACT_PREFIX, can_be_set, one_line};

/// What a response about people is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::member) enum ContactRequest {
    List,
    /// Whose name this is.
    Find(Name, Ticket),
    Search(Ticket),
    /// Who is to be asked, with this note.
    FindToAsk {
        name: Name,
        note: String,
        ticket: Ticket,
    },
    /// Who is to be blocked.
    FindToBlock(Ticket),
    /// Any change of a contact.
    Change(Ticket),
    /// Asked in place of a call or a conversation.
    AskInstead,
    Settings(Ticket),
    Report(Ticket),
}

impl ContactRequest {
    /// Whose answer it brings.
    pub(in crate::member) fn ticket(&self) -> Option<Ticket> {
        match self {
            Self::List | Self::AskInstead => None,
            Self::Find(_, ticket)
            | Self::Search(ticket)
            | Self::FindToAsk { ticket, .. }
            | Self::FindToBlock(ticket)
            | Self::Change(ticket)
            | Self::Settings(ticket)
            | Self::Report(ticket) => Some(*ticket),
        }
    }
}

impl Member {
    /// Looks a name up: [`Answer::Found`] with one person.
    ///
    /// # Errors
    /// When there is no session or the name is one's own.
    pub fn find(&mut self, name: &Name, ticket: Ticket, _now: Instant) -> Result<(), CommandError> {
        self.check_other(name)?;
        self.ask_people(ContactRequest::Find(name.clone(), ticket), find(name));
        Ok(())
    }

    /// Searches the directory for names that begin like this: [`Answer::Found`].
    ///
    /// # Errors
    /// When there is no session.
    pub fn search(&mut self, prefix: &str, ticket: Ticket, _now: Instant) -> Result<(), CommandError> {
        self.check_session()?;
        let prefix = prefix.to_ascii_lowercase();
        if prefix.chars().count() < SEARCH_PREFIX_MIN {
            self.answer_ticket(ticket, Err(Refusal::Length));
        } else if !prefix.bytes().all(in_names) {
            // No name can begin like this.
            self.answer_ticket(ticket, Ok(Answer::Found(Vec::new())));
        } else {
            let body = Ask::SearchDirectory(v1::SearchDirectory { prefix });
            self.ask_people(ContactRequest::Search(ticket), body);
        }
        Ok(())
    }

    /// Asks somebody to become a contact, with a few words or none: [`Answer::Done`] once they have been asked.
    ///
    /// # Errors
    /// When there is no session or the name is one's own.
    pub fn request_contact(
        &mut self,
        name: &Name,
        note: &str,
        ticket: Ticket,
        _now: Instant,
    ) -> Result<(), CommandError> {
        self.check_other(name)?;
        if note.chars().count() > NOTE_CHARACTERS_MAX {
            self.answer_ticket(ticket, Err(Refusal::Length));
        } else if self.contacts.find(name).is_some_and(|(_, row)| row.state == ContactState::Accepted) {
            self.answer_ticket(ticket, Err(Refusal::AlreadyContact));
        } else {
            let request = ContactRequest::FindToAsk { name: name.clone(), note: note.to_owned(), ticket };
            self.ask_people(request, find(name));
        }
        Ok(())
    }

    /// Says yes or no to somebody who asks: [`Answer::Done`].
    ///
    /// # Errors
    /// When there is no session.
    pub fn answer_contact(
        &mut self,
        name: &Name,
        accept: bool,
        ticket: Ticket,
        _now: Instant,
    ) -> Result<(), CommandError> {
        self.check_session()?;
        let asking = self.contacts.find(name).filter(|(_, row)| row.state == ContactState::Asks);
        let Some((account, row)) = asking else {
            self.answer_ticket(ticket, Err(Refusal::NoSuchContact));
            return Ok(());
        };
        let key = row.key;
        if accept && !self.pin_contact(name, account, key) {
            self.answer_ticket(ticket, Err(Refusal::AccountKeyChanged));
            return Ok(());
        }
        let body = Ask::AnswerContact(v1::AnswerContact { account: account.to_bytes(), accept });
        self.ask_people(ContactRequest::Change(ticket), body);
        Ok(())
    }

    /// Ends a contact on both sides, or withdraws a request: [`Answer::Done`].
    ///
    /// # Errors
    /// When there is no session.
    pub fn remove_contact(&mut self, name: &Name, ticket: Ticket, _now: Instant) -> Result<(), CommandError> {
        self.check_session()?;
        match self.contacts.find(name) {
            Some((account, row)) if matches!(row.state, ContactState::Asked | ContactState::Accepted) => {
                let body = Ask::RemoveContact(v1::RemoveContact { account: account.to_bytes() });
                self.ask_people(ContactRequest::Change(ticket), body);
            }
            _ => self.answer_ticket(ticket, Err(Refusal::NoSuchContact)),
        }
        Ok(())
    }

    /// Blocks somebody, contact or not, or does so no longer: [`Answer::Done`].
    ///
    /// # Errors
    /// When there is no session or the name is one's own.
    pub fn block(&mut self, name: &Name, block: bool, ticket: Ticket, _now: Instant) -> Result<(), CommandError> {
        self.check_other(name)?;
        let known = self.contacts.find(name).map(|(account, row)| (account, row.state));
        match known {
            Some((account, _)) if block => self.ask_block(account, true, ticket),
            Some((account, ContactState::Blocked)) => self.ask_block(account, false, ticket),
            None if block => self.ask_people(ContactRequest::FindToBlock(ticket), find(name)),
            Some(_) | None => self.answer_ticket(ticket, Err(Refusal::NoSuchContact)),
        }
        Ok(())
    }

    /// Calls a contact something else, on this device only; `None`: no longer.
    ///
    /// # Errors
    /// When there is no such contact.
    pub fn set_alias(&mut self, name: &Name, alias: Option<&str>) -> Result<(), CommandError> {
        let account = self.contacts.find(name).map(|(account, _)| account).ok_or(CommandError::NoSuchContact)?;
        let Some(row) = self.contacts.rows.get_mut(&account) else { return Err(CommandError::NoSuchContact) };
        row.alias = alias.map(super::mood).filter(|alias| !alias.is_empty());
        self.outbox.write([CONTACT_PREFIX, &account.0].concat(), row);
        let row = row.clone();
        let told = self.contacts.contact(account, &row);
        self.outbox.event(super::Event::Contact(told));
        Ok(())
    }

    /// Changes settings of the account: [`Answer::Done`] once it is durable.
    ///
    /// # Errors
    /// When there is no session.
    pub fn change_settings(
        &mut self,
        change: SettingsChange,
        ticket: Ticket,
        _now: Instant,
    ) -> Result<(), CommandError> {
        self.check_session()?;
        let mood = change.mood.as_deref().map(one_line);
        if mood.as_ref().is_some_and(|mood| mood.chars().count() > MOOD_CHARACTERS_MAX) {
            self.answer_ticket(ticket, Err(Refusal::Length));
            return Ok(());
        }
        let body = Ask::ChangeSettings(v1::ChangeSettings {
            calls_from: change.calls_from.map(Into::into),
            availability: change.availability.filter(|availability| can_be_set(*availability)).map(Into::into),
            mood,
            listed: change.listed,
        });
        self.ask_people(ContactRequest::Settings(ticket), body);
        Ok(())
    }

    /// Says whether somebody sits at this device; away until it is said. It is remembered for sessions to come.
    pub fn set_activity(&mut self, away: bool, _now: Instant) {
        let activity = if away { Activity::Away } else { Activity::Here };
        if std::mem::replace(&mut self.contacts.activity, activity) != activity {
            self.ask(Request::Unminded, Ask::SetActivity(v1::SetActivity { away }));
        }
    }

    /// Tells a supernode that does not know it yet.
    pub(in crate::member) fn tell_activity(&mut self) {
        if self.contacts.activity == Activity::Here {
            self.ask(Request::Unminded, Ask::SetActivity(v1::SetActivity { away: false }));
        }
    }

    /// Tells the operator, whose report key this is, about an account: [`Answer::Done`]. The messages given are revealed.
    ///
    /// # Errors
    /// When there is no session.
    pub fn report(
        &mut self,
        account: AccountId,
        reason: String,
        messages: Vec<v1::RevealedMessage>,
        report_key: &[u8; 32],
        ticket: Ticket,
    ) -> Result<(), CommandError> {
        self.check_session()?;
        let content = v1::ReportContent { reason, messages };
        let seed = self.mls.random_seed();
        let body = match report::seal(&content, self.identity.account, account, report_key, seed) {
            Ok(sealed) => Ask::Report(v1::Report { account: account.to_bytes(), sealed: sealed.into() }),
            Err(ReportError::TooLong) => {
                self.answer_ticket(ticket, Err(Refusal::Length));
                return Ok(());
            }
            Err(ReportError::Key) => {
                self.answer_ticket(ticket, Err(Refusal::NoKey));
                return Ok(());
            }
        };
        self.ask_people(ContactRequest::Report(ticket), body);
        Ok(())
    }

    /// Asks, without a word, an account that takes calls and messages of contacts only; `body` says so. One that was asked
    /// before keeps the note that came with it. Gives what that comes to for whoever wanted to call or write.
    pub(in crate::member) fn ask_instead(&mut self, account: AccountId, body: &Body) -> Refusal {
        match self.contacts.rows.get(&account).map(|row| row.state) {
            Some(ContactState::Blocked) => return refusal(body),
            Some(ContactState::Asked) => {}
            _ => self.ask_people(ContactRequest::AskInstead, request(account, Bytes::new())),
        }
        Refusal::Requested
    }

    pub(in crate::member) fn handle_contact_response(&mut self, request: ContactRequest, body: &Body, now: Instant) {
        match request {
            ContactRequest::List => self.contacts_listed(body, now),
            ContactRequest::Find(name, ticket) => self.found(name, ticket, body),
            ContactRequest::Search(ticket) => {
                let found = if let Body::AccountsFound(found) = body { Ok(persons(found)) } else { Err(refusal(body)) };
                self.answer_ticket(ticket, found.map(Answer::Found));
            }
            ContactRequest::FindToAsk { name, note, ticket } => self.found_to_ask(&name, &note, ticket, body),
            ContactRequest::FindToBlock(ticket) => self.found_to_block(ticket, body),
            ContactRequest::Change(ticket) => match body {
                Body::ContactChanged(changed) => {
                    self.contact_changed(changed, body, now);
                    self.answer_ticket(ticket, Ok(Answer::Done));
                }
                body => self.answer_ticket(ticket, Err(contact_refusal(body))),
            },
            ContactRequest::AskInstead => {
                if let Body::ContactChanged(changed) = body {
                    self.contact_changed(changed, body, now);
                }
            }
            ContactRequest::Settings(ticket) => match body {
                Body::SettingsChanged(changed) => {
                    self.settings_changed(changed, body, now);
                    self.answer_ticket(ticket, Ok(Answer::Done));
                }
                body => self.answer_ticket(ticket, Err(refusal(body))),
            },
            ContactRequest::Report(ticket) => {
                let done = if let Body::Done(_) = body { Ok(Answer::Done) } else { Err(refusal(body)) };
                self.answer_ticket(ticket, done);
            }
        }
    }

    fn found(&mut self, name: Name, ticket: Ticket, body: &Body) {
        let found = self.learn(&name, body);
        self.answer_ticket(ticket, found.map(|account| Answer::Found(vec![Person { account, name }])));
    }

    fn found_to_ask(&mut self, name: &Name, note: &str, ticket: Ticket, body: &Body) {
        let account = match self.learn(name, body) {
            Ok(account) => account,
            Err(why) => return self.answer_ticket(ticket, Err(why)),
        };
        let sealed = if note.is_empty() { Ok(Bytes::new()) } else { self.seal_note(note, account, body) };
        match sealed {
            Ok(sealed) => self.ask_people(ContactRequest::Change(ticket), request(account, sealed)),
            Err(why) => self.answer_ticket(ticket, Err(why)),
        }
    }

    /// Seals a note to the request key in the response that this account was found by. One that the pinned account key
    /// has not signed counts as none.
    fn seal_note(&self, text: &str, account: AccountId, body: &Body) -> Result<Bytes, Refusal> {
        let Body::AccountFound(found) = body else { return Err(refusal(body)) };
        let pin = self.people.pin(account).ok_or(Refusal::AccountKeyChanged)?;
        let key = request_key::verify(&found.request_key, account, &pin.key).map_err(|_| Refusal::NoKey)?;
        match note::seal(text, self.identity.account, account, &key, self.mls.random_seed()) {
            Ok(sealed) => Ok(sealed.into()),
            Err(NoteError::TooLong) => Err(Refusal::Length),
            Err(NoteError::Key) => Err(Refusal::NoKey),
        }
    }

    fn found_to_block(&mut self, ticket: Ticket, body: &Body) {
        let found = match body {
            Body::AccountFound(found) => AccountId::try_from(&found.account[..]).map_err(|_| refusal(body)),
            Body::Error(error) if error.code() == v1::ErrorCode::NotFound => Err(Refusal::NoSuchName),
            body => Err(refusal(body)),
        };
        match found {
            Ok(account) => self.ask_block(account, true, ticket),
            Err(why) => self.answer_ticket(ticket, Err(why)),
        }
    }

    fn ask_block(&mut self, account: AccountId, block: bool, ticket: Ticket) {
        let body = Ask::BlockAccount(v1::BlockAccount { account: account.to_bytes(), block });
        self.ask_people(ContactRequest::Change(ticket), body);
    }

    fn ask_people(&mut self, request: ContactRequest, body: Ask) {
        self.ask(Request::Contacts(request), body);
    }

    fn check_session(&self) -> Result<(), CommandError> {
        if self.session.is_some() { Ok(()) } else { Err(CommandError::NotSignedIn) }
    }

    fn check_other(&self, name: &Name) -> Result<(), CommandError> {
        self.check_session()?;
        if *name == self.identity.name { Err(CommandError::OwnName) } else { Ok(()) }
    }
}

fn request(account: AccountId, note: Bytes) -> Ask {
    Ask::RequestContact(v1::RequestContact { account: account.to_bytes(), note })
}

fn contact_refusal(body: &Body) -> Refusal {
    match body {
        Body::Error(error) if error.code() == v1::ErrorCode::NotFound => Refusal::NoSuchContact,
        body => refusal(body),
    }
}

/// What a search found. Nothing is pinned by it: a name is looked up when it is asked or called.
fn persons(found: &v1::AccountsFound) -> Vec<Person> {
    let accounts = found.accounts.iter().take(SEARCH_RESULTS_MAX);
    let persons = accounts.filter_map(|found| {
        let name = Name::parse(&found.name).ok().filter(|name| name.as_str() == found.name)?;
        Some(Person { account: AccountId::try_from(&found.account[..]).ok()?, name })
    });
    persons.collect()
}

/// Whether names are made of this byte.
fn in_names(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'-')
}
