//! Prints who of the contacts is there, and every change of it.
//!
//! With a network on this machine (`cargo xtask dev` in another terminal):
//!
//! ```sh
//! cargo run -p ahoy-client --example presence_watcher -- alice
//! ```
//!
//! It asks the names on the command line to become contacts of `presence-watcher`; once they have accepted, their presence is
//! shown.

mod account;

use std::collections::BTreeMap;

use ahoy_client::driver::{Client, ClientError, ClientOptions, Event};
use ahoy_client::member::{Contact, ContactState, Presence};
use ahoy_proto::{AccountId, Name};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let profile = tokio::task::spawn_blocking(|| account::signed_in("presence-watcher")).await??;
    let (client, mut events) = Client::start(profile, ClientOptions::default()).await?;
    let mut names = BTreeMap::new();
    while let Some(event) = events.next().await {
        match event {
            Event::Ready => {
                for name in std::env::args().skip(1) {
                    ask(&client, &Name::parse(&name)?).await;
                }
            }
            // A snapshot at first, and whenever changes were left out.
            Event::LinkUp(_) | Event::Behind => {
                for contact in client.contacts().await? {
                    show_contact(&mut names, contact);
                }
            }
            Event::Contact(contact) => show_contact(&mut names, contact),
            Event::Presence { account, presence } => {
                if let Some(name) = names.get(&account) {
                    show(name, &presence);
                }
            }
            Event::Stopped(error) => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

async fn ask(client: &Client, name: &Name) {
    match client.request_contact(name, "May I see whether you are there?").await {
        Ok(()) => println!("{name} has been asked"),
        // It may be a contact already.
        Err(ClientError::Refused(why)) => println!("{name}: {why}"),
        Err(error) => eprintln!("{name}: {error}"),
    }
}

fn show_contact(names: &mut BTreeMap<AccountId, Name>, contact: Contact) {
    if contact.state == ContactState::Accepted {
        show(&contact.person.name, &contact.presence);
        names.insert(contact.person.account, contact.person.name);
    } else {
        names.remove(&contact.person.account);
    }
}

fn show(name: &Name, presence: &Presence) {
    println!("{name:32} {:?} {}", presence.availability, presence.mood);
}
