//! `ahoy send NAME|GROUP TEXT`

use std::io::Read;

use ahoy_client::driver::{Client, Draft};
use ahoy_client::member::{MessageBody, MessageRef};
use ahoy_client::profile::{Identity, LINES_MAX};
use ahoy_proto::ConversationId;
use ahoy_proto::limits::TEXT_MAX;
use serde_json::json;

use crate::cli::{Common, Send};
use crate::failure::{Exit, Failure};
use crate::said::{self, Meant, Names};
use crate::tell::Tell;
use crate::{online, place};

pub(crate) fn run(common: &Common, arguments: &Send, tell: Tell) -> Result<(), Failure> {
    let (profile, identity) = place::signed_in(common)?;
    let text = text(&arguments.text)?;
    online::run(async {
        let (client, _events) = online::ready(common, profile).await?;
        let sent = send(&client, &identity, arguments, text, tell).await;
        client.close().await;
        sent
    })
}

async fn send(client: &Client, identity: &Identity, arguments: &Send, text: String, tell: Tell) -> Result<(), Failure> {
    let conversation = conversation(client, identity, &arguments.to).await?;
    let names = Names::read(client, identity).await?;
    let reply_to = match arguments.reply_to {
        Some(number) => Some(answered(client, &names, conversation, number).await?),
        None => None,
    };
    let sent = client.send(conversation, Draft { text, reply_to }).await?;
    tell.event(
        "sent",
        &json!({ "conversation": conversation.to_hex(), "id": said::id(sent.reference), "sequence": sent.sequence }),
        &format!("Sent to {}.", crate::text::clean_line(&arguments.to)),
    );
    Ok(())
}

/// The conversation that is meant, which is made if it is one with somebody.
async fn conversation(client: &Client, identity: &Identity, to: &str) -> Result<ConversationId, Failure> {
    let (conversations, contacts) = (client.conversations().await?, client.contacts().await?);
    match said::meant(&conversations, &contacts, &identity.network.name, to)? {
        Meant::Conversation(conversation) => Ok(conversation),
        Meant::Person(name) => {
            Ok(client.conversation_with(&name).await.map_err(|error| Failure::about(error, &name))?)
        }
    }
}

/// A message of somebody else, counted from the last.
async fn answered(
    client: &Client,
    names: &Names,
    conversation: ConversationId,
    number: u32,
) -> Result<MessageRef, Failure> {
    let lines = client.history(conversation, None, LINES_MAX).await?;
    let of_others = lines.iter().filter(|line| {
        !line.deleted && !names.is_own(line.message.account) && matches!(line.message.body, MessageBody::Text { .. })
    });
    let line = of_others.into_iter().nth(number.saturating_sub(1) as usize);
    line.map(|line| line.message.reference).ok_or_else(|| {
        Failure::new(
            Exit::Refused,
            "no-such-message",
            "there is no such message to answer",
            "1 is the last message of others in this conversation; `ahoy history` shows it.",
        )
    })
}

/// As given, or all of standard input without the line end.
fn text(argument: &str) -> Result<String, Failure> {
    if argument != "-" {
        return Ok(argument.to_owned());
    }
    let mut text = String::new();
    let limit = TEXT_MAX as u64 + 2;
    std::io::stdin().lock().take(limit).read_to_string(&mut text).map_err(|error| {
        Failure::new(
            Exit::Other,
            "input",
            format!("standard input can't be read: {error}"),
            "A message is text in UTF-8.",
        )
    })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
