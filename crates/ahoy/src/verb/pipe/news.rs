//! What happens beside the answers, as objects.

use ahoy_client::driver::{Client, ClientError, Event, Events};
use ahoy_client::member::{Change, ConversationStanding, Kind, MemberOf, MessageBody, Summary};
use ahoy_client::profile::{Identity, Line};
use ahoy_proto::ConversationId;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::said::Names;
use crate::tell::Tell;
use crate::verb::contacts::{availability_code, last_seen_code, object as contact_object};

/// Tells what happens.
pub(super) struct Teller<'a> {
    client: &'a Client,
    names: Names,
    tell: Tell,
    events: Events,
}

impl<'a> Teller<'a> {
    /// Knows the names that are known at this moment.
    pub(super) async fn new(
        client: &'a Client,
        identity: &Identity,
        tell: Tell,
        events: Events,
    ) -> Result<Self, Failure> {
        Ok(Self { client, names: Names::read(client, identity).await?, tell, events })
    }

    /// Tells everything, until the client ends.
    pub(super) async fn tell_all(mut self) -> Result<(), Failure> {
        loop {
            match self.events.next().await {
                Some(Event::Stopped(error)) => return Err(error.into()),
                Some(event) => self.take(event).await?,
                None => return Err(ClientError::Stopped.into()),
            }
        }
    }

    async fn take(&mut self, event: Event) -> Result<(), Failure> {
        match event {
            Event::LinkLost => self.say("link-lost", &json!({})),
            Event::LinkUp(_) => self.say("link-up", &json!({})),
            Event::Behind => self.say("behind", &json!({})),
            Event::AccountKeyChanged(name) => self.say("account-key-changed", &json!({ "name": name })),
            Event::Contact(contact) => {
                self.names.take_contact(&contact);
                self.say("contact", &contact_object(&contact));
            }
            Event::Presence { account, presence } => {
                let fields = json!({
                    "name": self.names.name(account),
                    "account": account,
                    "availability": availability_code(presence.availability),
                    "mood": presence.mood,
                    "last_seen": last_seen_code(presence.last_seen),
                });
                self.say("presence", &fields);
            }
            Event::Conversation(summary) => {
                self.names.take_summary(&summary);
                for MemberOf { person, .. } in self.client.members(summary.conversation).await? {
                    person.into_iter().for_each(|person| self.names.know(person));
                }
                self.say("conversation", &conversation_object(&self.names, &summary));
            }
            Event::ConversationLeft { conversation, by } => {
                let by = by.map(|account| self.names.name(account));
                self.say("conversation-left", &json!({ "conversation": conversation.to_hex(), "by": by }));
            }
            Event::History { conversation, change, .. } => self.take_change(conversation, change).await?,
            _ => {}
        }
        Ok(())
    }

    async fn take_change(&self, conversation: ConversationId, change: Change) -> Result<(), Failure> {
        let (event, reference) = match change {
            // Own messages are told by their answers, and when they are placed.
            Change::Put(message) if message.sequence.is_none() => return Ok(()),
            Change::Put(message) if matches!(message.body, MessageBody::Text { .. }) => ("message", message.reference),
            Change::Put(message) => ("changed", message.reference),
            Change::Placed { reference, .. } => ("placed", reference),
            Change::Failed { reference } => ("failed", reference),
            Change::Edited { target, .. } | Change::Deleted { target, .. } | Change::Reacted { target, .. } => {
                ("changed", target)
            }
            Change::Forget => return Ok(()),
        };
        if let Some(line) = self.client.line(conversation, reference).await? {
            self.say(event, &line_object(&self.names, conversation, &line));
        }
        Ok(())
    }

    fn say(&self, event: &str, fields: &Value) {
        self.tell.event(event, fields, "");
    }
}

/// A line, with its place in the log and the account that wrote it.
pub(super) fn line_object(names: &Names, conversation: ConversationId, line: &Line) -> Value {
    let mut object = names.object(conversation, line);
    object["sequence"] = json!(line.message.sequence);
    object["account"] = json!(line.message.account);
    object
}

pub(super) fn conversation_object(names: &Names, summary: &Summary) -> Value {
    let standing = match summary.standing {
        ConversationStanding::Inside => "inside",
        ConversationStanding::Joining => "joining",
        ConversationStanding::Refused(_) => "refused",
    };
    let mut object = json!({
        "conversation": summary.conversation.to_hex(),
        "standing": standing,
        "members": summary.members,
        "head": summary.head,
        "read": summary.read,
    });
    match &summary.kind {
        Kind::Pair(account, _) => object["with"] = json!(names.name(*account)),
        Kind::Group { title } => object["group"] = json!(title),
    }
    object
}
