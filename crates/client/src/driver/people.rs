//! What a client can do about people: the directory, contacts, settings.

use ahoy_proto::{AccountId, ConversationId, Name, v1};

use super::order::View;
use super::{Client, ClientError};
use crate::member::{Answer, Contact, MessageBody, MessageRef, Person, Refusal, Settings, SettingsChange};

impl Client {
    /// Looks a name up, and pins its account key at first contact.
    ///
    /// # Errors
    /// When nobody has this name, its key has changed, it is one's own, or there is no session.
    pub async fn find(&self, name: &Name) -> Result<Person, ClientError> {
        let name = name.clone();
        let answer = self.order(move |member, ticket, now| member.find(&name, ticket, now)).await?;
        found(answer).pop().ok_or(ClientError::Refused(Refusal::NoSuchName))
    }

    /// Names in the directory that begin with at least three letters; ten at most. Only accounts that wish to be listed are found.
    ///
    /// # Errors
    /// When the beginning is too short, too many names were looked up within the hour, or there is no session.
    pub async fn search(&self, prefix: &str) -> Result<Vec<Person>, ClientError> {
        let prefix = prefix.to_owned();
        Ok(found(self.order(move |member, ticket, now| member.search(&prefix, ticket, now)).await?))
    }

    /// Everybody that this account has to do with, by name: contacts, requests both ways, blocked accounts. Known from the profile also
    /// while there is no session; [`Event::Contact`](super::Event::Contact) tells what changes afterwards.
    ///
    /// # Errors
    /// When the client has stopped.
    pub async fn contacts(&self) -> Result<Vec<Contact>, ClientError> {
        self.look(|view| view.member.contacts()).await
    }

    /// One of [`contacts`](Self::contacts).
    ///
    /// # Errors
    /// When the client has stopped.
    pub async fn contact(&self, name: &Name) -> Result<Option<Contact>, ClientError> {
        let name = name.clone();
        self.look(move |view| view.member.contact(&name)).await
    }

    /// Asks somebody to become a contact, with a note of at most 280 characters or an empty one. Only the devices of the one asked can
    /// read it. Whether and what they answer is told by [`Event::Contact`](super::Event::Contact).
    ///
    /// # Errors
    /// When nobody has this name, it is a contact already, the note is too long, or there is no session.
    pub async fn request_contact(&self, name: &Name, note: &str) -> Result<(), ClientError> {
        let (name, note) = (name.clone(), note.to_owned());
        done(self.order(move |member, ticket, now| member.request_contact(&name, &note, ticket, now)).await?);
        Ok(())
    }

    /// Says yes or no to somebody who asks. A no is not told; for 30 days they ask in vain.
    ///
    /// # Errors
    /// When nobody of this name asks, or there is no session.
    pub async fn answer_contact(&self, name: &Name, accept: bool) -> Result<(), ClientError> {
        let name = name.clone();
        done(self.order(move |member, ticket, now| member.answer_contact(&name, accept, ticket, now)).await?);
        Ok(())
    }

    /// Ends a contact on both sides, or takes a request back.
    ///
    /// # Errors
    /// When nobody of this name is a contact or was asked, or there is no session.
    pub async fn remove_contact(&self, name: &Name) -> Result<(), ClientError> {
        let name = name.clone();
        done(self.order(move |member, ticket, now| member.remove_contact(&name, ticket, now)).await?);
        Ok(())
    }

    /// Blocks somebody, contact or not, or does so no longer. They see the same as when nobody is there.
    ///
    /// # Errors
    /// When nobody has this name, or nobody of this name is blocked, or there is no session.
    pub async fn block(&self, name: &Name, block: bool) -> Result<(), ClientError> {
        let name = name.clone();
        done(self.order(move |member, ticket, now| member.block(&name, block, ticket, now)).await?);
        Ok(())
    }

    /// Calls a contact something else, on this device only; `None`: no longer.
    ///
    /// # Errors
    /// When there is no such contact.
    pub async fn set_alias(&self, name: &Name, alias: Option<&str>) -> Result<(), ClientError> {
        let (name, alias) = (name.clone(), alias.map(str::to_owned));
        Ok(self.act(move |member, _| member.set_alias(&name, alias.as_deref())).await??)
    }

    /// The account's settings; `None` until they have been heard of for the first time.
    ///
    /// # Errors
    /// When the client has stopped.
    pub async fn settings(&self) -> Result<Option<Settings>, ClientError> {
        self.look(|view| view.member.settings()).await
    }

    /// Changes settings, for all devices of the account.
    ///
    /// # Errors
    /// When the mood is too long, or there is no session.
    pub async fn change_settings(&self, change: SettingsChange) -> Result<(), ClientError> {
        done(self.order(move |member, ticket, now| member.change_settings(change, ticket, now)).await?);
        Ok(())
    }

    /// Says who may ring this account: one of [`change_settings`](Self::change_settings).
    ///
    /// # Errors
    /// When there is no session.
    pub async fn set_calls_from(&self, calls_from: v1::CallsFrom) -> Result<(), ClientError> {
        self.change_settings(SettingsChange { calls_from: Some(calls_from), ..SettingsChange::default() }).await
    }

    /// Says whether somebody sits at this device. Contacts see AWAY while that is so of all devices of the account; a device counts as
    /// away until it says otherwise.
    ///
    /// # Errors
    /// When the client has stopped.
    pub async fn set_activity(&self, away: bool) -> Result<(), ClientError> {
        self.act(move |member, now| member.set_activity(away, now)).await
    }

    /// Says what this device tells others of messages: that they have arrived, and that they have been read. Both, until this is
    /// called; it is remembered.
    ///
    /// # Errors
    /// When the client has stopped.
    pub async fn set_receipts(&self, delivered: bool, read: bool) -> Result<(), ClientError> {
        self.act(move |member, _| member.set_receipts(delivered, read)).await
    }

    /// Tells the operator about somebody. The texts of the messages named are revealed to him, and nothing else; those that are not kept
    /// here are left out.
    ///
    /// # Errors
    /// When nobody has this name, the network takes no reports, all of it is too long, or there is no session.
    pub async fn report(
        &self,
        name: &Name,
        reason: &str,
        messages: &[(ConversationId, MessageRef)],
    ) -> Result<(), ClientError> {
        let account = self.account_of(name).await?;
        let messages = messages.to_vec();
        let (key, revealed) =
            self.look(move |view| Ok::<_, ClientError>((report_key(view), revealed(view, &messages)?))).await??;
        let key = key.ok_or(ClientError::Refused(Refusal::NoKey))?;
        let reason = reason.to_owned();
        done(self.order(move |member, ticket, _| member.report(account, reason, revealed, &key, ticket)).await?);
        Ok(())
    }

    /// The account of a name: as the contacts have it, else looked up.
    pub(super) async fn account_of(&self, name: &Name) -> Result<AccountId, ClientError> {
        match self.contact(name).await? {
            Some(contact) => Ok(contact.person.account),
            None => Ok(self.find(name).await?.account),
        }
    }
}

fn report_key(view: &View<'_>) -> Option<[u8; 32]> {
    view.identity.network.report_key.0.as_slice().try_into().ok()
}

fn revealed(
    view: &View<'_>,
    messages: &[(ConversationId, MessageRef)],
) -> Result<Vec<v1::RevealedMessage>, ClientError> {
    let mut revealed = Vec::new();
    for (conversation, reference) in messages {
        let Some(line) = view.state.line(*conversation, *reference)? else { continue };
        let MessageBody::Text { text, .. } = line.message.body else { continue };
        let (account, at_ms) = (line.message.account.to_bytes(), line.message.at_ms);
        revealed.push(v1::RevealedMessage { account, text, at_ms });
    }
    Ok(revealed)
}

/// Of a command that is answered by names.
fn found(answer: Answer) -> Vec<Person> {
    match answer {
        Answer::Found(found) => found,
        other => unreachable!("a look-up is answered by names, not by {other:?}"),
    }
}

/// Of a command that has nothing to tell.
pub(super) fn done(answer: Answer) {
    assert!(matches!(answer, Answer::Done), "a change is answered by Done, not by {answer:?}");
}
