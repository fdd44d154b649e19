//! `ahoy send NAME|GROUP TEXT`

use std::io::Read;
use std::time::Duration;

use ahoy_client::driver::{Client, ClientError, Draft};
use ahoy_client::member::{CommandError, MessageBody, MessageRef};
use ahoy_client::profile::{Identity, LINES_MAX};
use ahoy_proto::ConversationId;
use ahoy_proto::limits::TEXT_MAX;
use serde_json::json;
use tokio::time::timeout;

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
    let sent = taken(client.send(conversation, Draft { text, reply_to }), TAKEN_WITHIN).await?;
    tell.event(
        "sent",
        &json!({ "conversation": conversation.to_hex(), "id": said::id(sent.reference), "sequence": sent.sequence }),
        &format!("Sent to {}.", crate::text::clean_line(&arguments.to)),
    );
    Ok(())
}

/// How long the network may take to take a message before this command ends without it.
const TAKEN_WITHIN: Duration = Duration::from_secs(15);

/// What becomes of a message within that time. Whoever stops waiting has not taken it back.
async fn taken<T>(sending: impl Future<Output = Result<T, ClientError>>, within: Duration) -> Result<T, Failure> {
    let Ok(sent) = timeout(within, sending).await else {
        return Err(Failure::new(
            Exit::Unreachable,
            "waits",
            "the network has not taken the message yet",
            "Do not write it again: it is kept here, and leaves with the next command once the network takes it.",
        ));
    };
    Ok(sent?)
}

/// The conversation that is meant, which is made if it is one with somebody.
pub(crate) async fn conversation(client: &Client, identity: &Identity, to: &str) -> Result<ConversationId, Failure> {
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
    read_text(std::io::stdin().lock())
}

/// All of a text that somebody pipes in. One that is too long is never cut: it is refused.
fn read_text(input: impl Read) -> Result<String, Failure> {
    let unreadable = |error: &dyn std::fmt::Display| {
        Failure::new(
            Exit::Other,
            "input",
            format!("standard input can't be read: {error}"),
            "A message is text in UTF-8.",
        )
    };
    let mut bytes = Vec::new();
    input.take(INPUT_MAX + 1).read_to_end(&mut bytes).map_err(|error| unreadable(&error))?;
    if bytes.len() as u64 > INPUT_MAX {
        return Err(ClientError::Command(CommandError::Length).into());
    }
    let text = String::from_utf8(bytes).map_err(|error| unreadable(&error.utf8_error()))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// Bytes of standard input: the longest text, and some line ends after it.
const INPUT_MAX: u64 = TEXT_MAX as u64 + 64;

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test]
    async fn a_message_that_nobody_takes_is_not_waited_for_without_end_and_is_said_to_be_kept() {
        let failure = taken(pending::<Result<(), _>>(), Duration::ZERO).await.unwrap_err();
        assert_eq!((failure.code, failure.exit), ("waits", Exit::Unreachable));
        assert!(taken(ready(Ok(())), TAKEN_WITHIN).await.is_ok());
        let refused = ready(Err::<(), _>(ClientError::Command(CommandError::Length)));
        assert_eq!(taken(refused, TAKEN_WITHIN).await.unwrap_err().code, "length");
    }

    #[test]
    fn a_text_that_is_piped_in_is_taken_whole_or_not_at_all() {
        assert_eq!(read_text(&b"hello\r\n\n"[..]).unwrap(), "hello");
        let longest = "x".repeat(TEXT_MAX);
        assert_eq!(read_text(format!("{longest}\n").as_bytes()).unwrap(), longest);
        let tail = format!("{longest}\n\nand more, {}", "y".repeat(100));
        assert_eq!(read_text(tail.as_bytes()).unwrap_err().code, "length");
        assert_eq!(read_text("ü".repeat(1 << 19).as_bytes()).unwrap_err().code, "length");
        assert_eq!(read_text(&[0xff][..]).unwrap_err().code, "input");
    }
}
