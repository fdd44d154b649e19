//! A bot that answers calls with a WAV file, and writes a message to the caller afterwards.
//!
//! With a network on this machine (`cargo xtask dev` in another terminal):
//!
//! ```sh
//! cargo run -p ahoy-client --example answering_bot -- testdata/speech/it-male.wav
//! ```
//!
//! Then call `answering-bot` as somebody who is its contact: it says yes to everybody who asks.

mod account;

use std::collections::HashMap;
use std::path::PathBuf;

use ahoy_client::audio::{Silence, WavSource};
use ahoy_client::driver::{Client, ClientError, ClientOptions, Event};
use ahoy_client::member::ContactState;
use ahoy_client::voice::Speaker;
use ahoy_proto::Name;
use anyhow::Context as _;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let greeting: PathBuf = std::env::args_os().nth(1).context("name a WAV file")?.into();
    let profile = tokio::task::spawn_blocking(|| account::signed_in("answering-bot")).await??;
    let (client, mut events) = Client::start(profile, ClientOptions::default()).await?;
    let mut callers = HashMap::new();
    while let Some(event) = events.next().await {
        match event {
            Event::Ready => println!("{} can be called", client.own().name),
            Event::Contact(contact) if contact.state == ContactState::Asks => {
                complain(client.answer_contact(&contact.person.name, true).await);
            }
            Event::Incoming { call, from, .. } => {
                println!("{} calls", from.name);
                let source = Box::new(WavSource::open(&greeting)?);
                complain(client.answer(call, Speaker::Person { source, sink: Box::new(Silence) }).await);
                callers.insert(call, from.name);
            }
            Event::SourceEnded { call } => complain(client.hang_up(call).await),
            // With statistics: the call was answered.
            Event::Ended { call, statistics, .. } => {
                if let (Some(name), Some(_)) = (callers.remove(&call), statistics) {
                    complain(write_to(&client, &name).await);
                }
            }
            Event::Stopped(error) => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

async fn write_to(client: &Client, name: &Name) -> Result<(), ClientError> {
    let conversation = client.conversation_with(name).await?;
    let sent = client.send(conversation, "Thank you for calling. Write here what you wanted to say.").await?;
    println!("told {name} so, as number {} of the conversation", sent.sequence);
    Ok(())
}

/// What one person causes does not end the bot.
fn complain(result: Result<(), ClientError>) {
    if let Err(error) = result {
        eprintln!("{error}");
    }
}
