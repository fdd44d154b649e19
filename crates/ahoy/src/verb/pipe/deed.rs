//! What a command does, and what it is answered with.

use ahoy_client::driver::{Client, Conversation};
use ahoy_client::member::{ContactState, SettingsChange};
use ahoy_client::profile::Identity;
use ahoy_proto::{ConversationId, Name, v1};
use serde_json::{Value, json};

use crate::failure::{Exit, Failure};
use crate::place;
use crate::said::{self, Meant, Names};
use crate::tell::Tell;
use crate::verb::contacts::{availability_code, object as contact_object, state_word};
use crate::verb::send;

use super::input::{Availability, Deed};
use super::news::{conversation_object, line_object};

/// The event that answers, and its fields.
type Answer = (&'static str, Value);

/// Carries out commands.
pub(super) struct Obeying<'a> {
    pub(super) client: &'a Client,
    pub(super) identity: &'a Identity,
    pub(super) tell: Tell,
}

impl Obeying<'_> {
    /// Does what is asked; what is a list is told before, an object for each, with the command's id in `of`.
    pub(super) async fn carry_out(&self, deed: Deed, id: &Value) -> Result<Answer, Failure> {
        match deed {
            Deed::Send { to, text } => self.send(&to, text).await,
            Deed::Post { to, text } => self.post(&to, text).await,
            Deed::History { with, last } => self.history(&with, last, id).await,
            Deed::MarkRead { with, sequence } => self.mark_read(&with, sequence).await,
            Deed::Conversations {} => {
                let names = Names::read(self.client, self.identity).await?;
                let conversations = self.client.conversations().await?;
                let object = |entry: &Conversation| {
                    let mut object = conversation_object(&names, &entry.summary);
                    object["unread"] = json!(entry.unread);
                    object
                };
                Ok(self.list("conversation", conversations.iter().map(object), id))
            }
            Deed::Members { group } => self.members(&group, id).await,
            Deed::Contacts {} => {
                let contacts = self.client.contacts().await?;
                Ok(self.list("contact", contacts.iter().map(contact_object), id))
            }
            Deed::ContactsAdd { name, note } => self.add_contact(&name, &note).await,
            Deed::ContactsAccept { name } => self.answer_contact(&name, true).await,
            Deed::ContactsDecline { name } => self.answer_contact(&name, false).await,
            Deed::ContactsRemove { name } => {
                let name = self.name(&name)?;
                self.client.remove_contact(&name).await.map_err(|error| Failure::about(error, &name))?;
                Ok(("contact", json!({ "name": name, "state": "none" })))
            }
            Deed::Presence { availability, mood } => self.presence(availability, mood).await,
            of_group => self.change_group(of_group).await,
        }
    }

    async fn change_group(&self, deed: Deed) -> Result<Answer, Failure> {
        match deed {
            Deed::GroupCreate { title, names } => {
                let conversation = self.client.create_group(&title, &self.names(&names)?).await?;
                Ok(("group", json!({ "conversation": conversation.to_hex(), "title": title })))
            }
            Deed::Invite { group, names } => {
                let (conversation, names) = (self.group(&group).await?, self.names(&names)?);
                self.client.invite(conversation, &names).await?;
                Ok(("invited", json!({ "conversation": conversation.to_hex(), "names": names })))
            }
            Deed::Remove { group, name } => {
                let (conversation, name) = (self.group(&group).await?, self.name(&name)?);
                let removed = self.client.remove_member(conversation, &name).await;
                removed.map_err(|error| Failure::about(error, &name))?;
                Ok(("removed", json!({ "conversation": conversation.to_hex(), "name": name })))
            }
            Deed::Leave { group } => {
                let conversation = self.group(&group).await?;
                self.client.leave(conversation).await?;
                Ok(("left", json!({ "conversation": conversation.to_hex() })))
            }
            Deed::Rename { group, title } => {
                let conversation = self.group(&group).await?;
                self.client.rename(conversation, &title).await?;
                Ok(("renamed", json!({ "conversation": conversation.to_hex(), "title": title })))
            }
            other => unreachable!("{other:?} changes no group"),
        }
    }

    async fn send(&self, to: &str, text: String) -> Result<Answer, Failure> {
        let conversation = self.conversation(to).await?;
        let sent = self.client.send(conversation, text).await?;
        let id = said::id(sent.reference);
        Ok(("sent", json!({ "conversation": conversation.to_hex(), "id": id, "sequence": sent.sequence })))
    }

    async fn post(&self, to: &str, text: String) -> Result<Answer, Failure> {
        let conversation = self.conversation(to).await?;
        let reference = self.client.post(conversation, text).await?;
        Ok(("posted", json!({ "conversation": conversation.to_hex(), "id": said::id(reference) })))
    }

    async fn history(&self, with: &str, last: u32, id: &Value) -> Result<Answer, Failure> {
        let conversation = self.known(with).await?;
        let names = Names::read(self.client, self.identity).await?;
        let lines = said::last_lines(self.client, conversation, last as usize).await?;
        Ok(self.list("line", lines.iter().map(|line| line_object(&names, conversation, line)), id))
    }

    async fn mark_read(&self, with: &str, sequence: u64) -> Result<Answer, Failure> {
        let conversation = self.known(with).await?;
        self.client.mark_read(conversation, sequence).await?;
        Ok(("marked-read", json!({ "conversation": conversation.to_hex(), "sequence": sequence })))
    }

    async fn members(&self, group: &str, id: &Value) -> Result<Answer, Failure> {
        let conversation = self.group(group).await?;
        let names = Names::read(self.client, self.identity).await?;
        let members = self.client.members(conversation).await?;
        let object = |member: &ahoy_client::member::MemberOf| {
            json!({
                "name": names.name(member.account),
                "account": member.account,
                "owner": member.is_owner,
                "devices": member.devices,
            })
        };
        Ok(self.list("member", members.iter().map(object), id))
    }

    async fn add_contact(&self, name: &str, note: &str) -> Result<Answer, Failure> {
        let name = self.name(name)?;
        self.client.request_contact(&name, note).await.map_err(|error| Failure::about(error, &name))?;
        let contact = self.client.contact(&name).await?;
        let state = contact.map_or(ContactState::Asked, |contact| contact.state);
        Ok(("contact", json!({ "name": name, "state": state_word(state) })))
    }

    async fn answer_contact(&self, name: &str, accept: bool) -> Result<Answer, Failure> {
        let name = self.name(name)?;
        self.client.answer_contact(&name, accept).await.map_err(|error| Failure::about(error, &name))?;
        Ok(("contact", json!({ "name": name, "state": if accept { "accepted" } else { "none" } })))
    }

    async fn presence(&self, availability: Option<Availability>, mood: Option<String>) -> Result<Answer, Failure> {
        let availability = availability.map(|wish| match wish {
            Availability::Online => v1::Availability::Online,
            Availability::Away => v1::Availability::Away,
            Availability::Dnd => v1::Availability::DoNotDisturb,
            Availability::Invisible => v1::Availability::Invisible,
        });
        if availability.is_some() || mood.is_some() {
            let change = SettingsChange { availability, mood, ..SettingsChange::default() };
            self.client.change_settings(change).await?;
        }
        let settings = self.client.settings().await?.ok_or_else(|| {
            Failure::new(Exit::Unreachable, "no-settings", "the network has not said what is set", "Try again.")
        })?;
        let availability = availability_code(settings.availability);
        Ok(("presence", json!({ "availability": availability, "mood": settings.mood })))
    }

    /// Tells each of a list, and gives what ends it.
    fn list(&self, event: &str, objects: impl Iterator<Item = Value>, id: &Value) -> Answer {
        let mut count = 0_u64;
        for mut object in objects {
            object["of"] = id.clone();
            self.tell.event(event, &object, "");
            count += 1;
        }
        ("end", json!({ "count": count }))
    }

    fn name(&self, name: &str) -> Result<Name, Failure> {
        place::name(name, &self.identity.network.name)
    }

    fn names(&self, names: &[String]) -> Result<Vec<Name>, Failure> {
        names.iter().map(|name| self.name(name)).collect()
    }

    /// The conversation that is meant, which is made if it is one with somebody.
    async fn conversation(&self, to: &str) -> Result<ConversationId, Failure> {
        match by_id(to) {
            Some(conversation) => Ok(conversation),
            None => send::conversation(self.client, self.identity, to).await,
        }
    }

    /// A conversation that there is, or was: what was said in a group stays here after leaving it.
    async fn known(&self, with: &str) -> Result<ConversationId, Failure> {
        if let Some(conversation) = by_id(with) {
            return Ok(conversation);
        }
        let (conversations, contacts) = (self.client.conversations().await?, self.client.contacts().await?);
        match said::meant(&conversations, &contacts, &self.identity.network.name, with)? {
            Meant::Conversation(conversation) => Ok(conversation),
            Meant::Person(name) => Err(Failure::new(
                Exit::Refused,
                "no-such-conversation",
                format!("nothing was said with {name} so far"),
                "A `send` or `post` begins.",
            )),
        }
    }

    async fn group(&self, text: &str) -> Result<ConversationId, Failure> {
        match by_id(text) {
            Some(conversation) => Ok(conversation),
            None => said::group(&self.client.conversations().await?, text),
        }
    }
}

/// A conversation named by all of its id.
fn by_id(text: &str) -> Option<ConversationId> {
    text.parse().ok()
}
