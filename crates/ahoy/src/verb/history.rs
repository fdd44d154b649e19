//! `ahoy history NAME|GROUP`

use serde_json::json;

use crate::cli::{Common, History};
use crate::failure::{Exit, Failure};
use crate::said::{self, Meant, Names};
use crate::tell::Tell;
use crate::when::Clock;
use crate::{online, place};

pub(crate) fn run(common: &Common, arguments: &History, tell: Tell) -> Result<(), Failure> {
    let (profile, identity) = place::signed_in(common)?;
    online::run(async {
        let (client, _events) = online::ready(common, profile).await?;
        let result = async {
            let (conversations, contacts) = (client.conversations().await?, client.contacts().await?);
            let meant = said::meant(&conversations, &contacts, &identity.network.name, &arguments.with)?;
            let Meant::Conversation(conversation) = meant else {
                return Err(Failure::new(
                    Exit::Refused,
                    "no-such-conversation",
                    format!("nothing was said with {} so far", crate::text::clean_line(&arguments.with)),
                    "`ahoy send NAME TEXT` begins.",
                ));
            };
            let names = Names::read(&client, &identity).await?;
            let clock = Clock::here();
            let lines = said::last_lines(&client, conversation, arguments.last as usize).await?;
            if lines.is_empty() {
                tell.note("Nothing was said here so far.");
            }
            for line in &lines {
                tell.event("line", &names.object(conversation, line), &names.text(&clock, line));
            }
            let read = conversations.iter().find(|entry| entry.summary.conversation == conversation);
            tell.event("end", &json!({ "unread": read.map_or(0, |entry| entry.unread) }), "");
            Ok(())
        };
        let result = result.await;
        client.close().await;
        result
    })
}
