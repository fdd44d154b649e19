//! A bot that answers every message with its text, and every call with the caller's own voice.
//!
//! With a network on this machine (`cargo xtask dev` in another terminal):
//!
//! ```sh
//! cargo run -p ahoy-client --example echo_bot
//! ```
//!
//! Then call or write to `echo-bot` as somebody else. Its profile is the folder `echo-bot.profile`.

mod account;

use ahoy_client::driver::{Client, ClientError, ClientOptions, Draft, Event};
use ahoy_client::member::{ContactState, MessageBody, SettingsChange};
use ahoy_client::profile::LINES_MAX;
use ahoy_client::voice::Speaker;
use ahoy_proto::v1::CallsFrom;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let profile = tokio::task::spawn_blocking(|| account::signed_in("echo-bot")).await??;
    let (client, mut events) = Client::start(profile, ClientOptions::default()).await?;
    // The number of the last line that was dealt with. A bot that must not miss what is said while it is down keeps it on disk.
    let mut dealt_with = client.last_change().await?;
    while let Some(event) = events.next().await {
        match event {
            Event::Ready => {
                println!("{} can be called", client.own().name);
                let anyone = SettingsChange { calls_from: Some(CallsFrom::Anyone), ..SettingsChange::default() };
                complain(client.change_settings(anyone).await);
                for contact in client.contacts().await? {
                    if contact.state == ContactState::Asks {
                        complain(client.answer_contact(&contact.person.name, true).await);
                    }
                }
            }
            Event::Contact(contact) if contact.state == ContactState::Asks => {
                complain(client.answer_contact(&contact.person.name, true).await);
            }
            Event::Incoming { call, .. } => complain(client.answer(call, Speaker::Echo).await),
            // Events may be left out when there are many; the profile leaves nothing out.
            Event::History { .. } | Event::Behind => dealt_with = answer_lines(&client, dealt_with).await?,
            Event::Stopped(error) => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

/// Answers every text of others after this number; gives the number of the last.
async fn answer_lines(client: &Client, before: u64) -> Result<u64, ClientError> {
    let mut dealt_with = before;
    for (conversation, line) in client.lines_after(before, LINES_MAX).await? {
        dealt_with = line.local;
        let is_own = line.message.account == client.own().account;
        // A line comes again when somebody edits it or reacts to it.
        let is_new = line.arrived() > before && !line.deleted;
        if let (MessageBody::Text { text, .. }, false, true) = (line.message.body, is_own, is_new) {
            let answer = Draft { text, reply_to: Some(line.message.reference) };
            complain(client.post(conversation, answer).await);
        }
        if let Some(sequence) = line.message.sequence.filter(|_| !is_own) {
            complain(client.mark_read(conversation, sequence).await);
        }
    }
    Ok(dealt_with)
}

/// What one person causes does not end the bot.
fn complain<T>(result: Result<T, ClientError>) {
    if let Err(error) = result {
        eprintln!("{error}");
    }
}
