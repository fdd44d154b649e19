//! `ahoy contacts`

use std::time::Duration;

use ahoy_client::driver::{Client, Events};
use ahoy_client::member::{Contact, ContactState};
use ahoy_client::profile::Identity;
use ahoy_proto::Name;
use ahoy_proto::v1::{Availability, LastSeen};
use serde_json::json;
use tokio::time::timeout;

use crate::cli::{Common, ContactDeed, Contacts};
use crate::failure::Failure;
use crate::tell::Tell;
use crate::text::{clean_line, columns, cut};
use crate::when::Clock;
use crate::{online, place};

/// Columns of a note or mood in a list.
const WORDS: usize = 60;

/// How long a list waits for word of who is there.
const PRESENCE_WITHIN: Duration = Duration::from_millis(500);

pub(crate) fn run(common: &Common, arguments: &Contacts, tell: Tell) -> Result<(), Failure> {
    let (profile, identity) = place::signed_in(common)?;
    let deed = arguments.deed.as_ref().unwrap_or(&ContactDeed::List);
    online::run(async {
        let (client, mut events) = online::ready(common, profile).await?;
        if matches!(deed, ContactDeed::List) {
            hear_presence(&mut events).await;
        }
        let result = act(&client, &identity, deed, tell).await;
        client.close().await;
        result
    })
}

/// Presence comes right after the list, and nothing comes of those who are offline: the client takes in what is told meanwhile.
async fn hear_presence(events: &mut Events) {
    let told = async { while events.next().await.is_some() {} };
    // The time being over is how this ends.
    let _ = timeout(PRESENCE_WITHIN, told).await;
}

async fn act(client: &Client, identity: &Identity, deed: &ContactDeed, tell: Tell) -> Result<(), Failure> {
    let named = |name: &str| place::name(name, &identity.network.name);
    match deed {
        ContactDeed::List => {
            list(client.contacts().await?, tell);
            Ok(())
        }
        ContactDeed::Add { name, note } => {
            let name = named(name)?;
            client.request_contact(&name, note).await.map_err(|error| Failure::about(error, &name))?;
            let contact = client.contact(&name).await?;
            let accepted = contact.is_some_and(|contact| contact.state == ContactState::Accepted);
            let text = if accepted {
                format!("{name} is a contact now.")
            } else {
                format!("{name} is asked to become a contact.")
            };
            tell.event(
                "contact",
                &json!({ "name": name, "state": if accepted { "accepted" } else { "asked" } }),
                &text,
            );
            Ok(())
        }
        ContactDeed::Accept(name) => {
            let name = named(&name.name)?;
            client.answer_contact(&name, true).await.map_err(|error| Failure::about(error, &name))?;
            say(tell, &name, "accepted", "is a contact now");
            Ok(())
        }
        ContactDeed::Decline(name) => {
            let name = named(&name.name)?;
            client.answer_contact(&name, false).await.map_err(|error| Failure::about(error, &name))?;
            say(tell, &name, "none", "is declined, and is not told");
            Ok(())
        }
        ContactDeed::Remove(name) => {
            let name = named(&name.name)?;
            client.remove_contact(&name).await.map_err(|error| Failure::about(error, &name))?;
            say(tell, &name, "none", "is no contact any more");
            Ok(())
        }
        ContactDeed::Block(name) => {
            let name = named(&name.name)?;
            client.block(&name, true).await.map_err(|error| Failure::about(error, &name))?;
            say(tell, &name, "blocked", "is blocked");
            Ok(())
        }
        ContactDeed::Unblock(name) => {
            let name = named(&name.name)?;
            client.block(&name, false).await.map_err(|error| Failure::about(error, &name))?;
            let contact = client.contact(&name).await?;
            let state = contact.map_or(ContactState::None, |contact| contact.state);
            say(tell, &name, state_word(state), "is not blocked any more");
            Ok(())
        }
        ContactDeed::Alias { name, alias } => {
            let name = named(name)?;
            client.set_alias(&name, alias.as_deref()).await.map_err(|error| Failure::about(error, &name))?;
            let text = match alias {
                Some(alias) => format!("{name} is called {} on this device.", clean_line(alias)),
                None => format!("{name} is called by their own name again."),
            };
            tell.event("alias", &json!({ "name": name, "alias": alias }), &text);
            Ok(())
        }
    }
}

fn say(tell: Tell, name: &Name, state: &str, what: &str) {
    tell.event("contact", &json!({ "name": name, "state": state }), &format!("{name} {what}."));
}

fn list(mut contacts: Vec<Contact>, tell: Tell) {
    if contacts.is_empty() {
        tell.note("No contacts so far: `ahoy contacts add NAME` asks somebody.");
    }
    // Those who wait for an answer first, then contacts, then the rest.
    let rank = |state| match state {
        ContactState::Asks => 0,
        ContactState::Accepted => 1,
        ContactState::Asked => 2,
        ContactState::Blocked | ContactState::None => 3,
    };
    contacts.sort_by_key(|contact| (rank(contact.state), contact.person.name.to_string()));
    for contact in &contacts {
        tell.event("contact", &object(contact), "");
    }
    if !tell.is_json() {
        let clock = Clock::here();
        let rows: Vec<Vec<String>> = contacts.iter().map(|contact| row(contact, &clock)).collect();
        tell.event("", &json!({}), &columns(&rows));
    }
}

/// For programs.
pub(crate) fn object(contact: &Contact) -> serde_json::Value {
    json!({
        "name": contact.person.name,
        "account": contact.person.account,
        "state": state_word(contact.state),
        "since": contact.since,
        "note": contact.note,
        "alias": contact.alias,
        "availability": availability_code(contact.presence.availability),
        "mood": contact.presence.mood,
        "last_seen": last_seen_code(contact.presence.last_seen),
    })
}

fn row(contact: &Contact, clock: &Clock) -> Vec<String> {
    let since = clock.short(contact.since.saturating_mul(1_000));
    let presence = &contact.presence;
    let (sign, words) = match contact.state {
        ContactState::Asks => {
            let note = contact.note.as_deref().map(clean_line).unwrap_or_default();
            ("!", if note.is_empty() { format!("asks since {since}") } else { format!("asks since {since}: {note}") })
        }
        ContactState::Asked => ("?", format!("asked {since}, has not answered")),
        ContactState::Blocked => ("×", "blocked".to_owned()),
        ContactState::None => (" ", String::new()),
        ContactState::Accepted => {
            let sign = match presence.availability {
                Availability::Online => "●",
                Availability::Away => "◐",
                Availability::DoNotDisturb => "■",
                _ => "○",
            };
            let mut words = vec![crate::tui::availability_word(presence.availability).to_owned()];
            if sign == "○" {
                words.push(crate::tui::last_seen_words(presence.last_seen).to_owned());
            }
            words.push(clean_line(&presence.mood));
            words.retain(|word| !word.is_empty());
            (sign, words.join(", "))
        }
    };
    let alias = contact.alias.as_deref().map(clean_line).unwrap_or_default();
    vec![format!("{sign} {}", contact.person.name), cut(&alias, 24), cut(&words, WORDS)]
}

/// For programs.
pub(crate) fn state_word(state: ContactState) -> &'static str {
    match state {
        ContactState::None => "none",
        ContactState::Asked => "asked",
        ContactState::Asks => "asks",
        ContactState::Accepted => "accepted",
        ContactState::Blocked => "blocked",
    }
}

/// For programs.
pub(crate) fn availability_code(availability: Availability) -> &'static str {
    match availability {
        Availability::Online => "online",
        Availability::Away => "away",
        Availability::DoNotDisturb => "dnd",
        Availability::Invisible => "invisible",
        Availability::Offline | Availability::Unspecified => "offline",
    }
}

/// For programs.
pub(crate) fn last_seen_code(last_seen: LastSeen) -> Option<&'static str> {
    match last_seen {
        LastSeen::Unspecified => None,
        LastSeen::Today => Some("today"),
        LastSeen::ThisWeek => Some("this-week"),
        LastSeen::Earlier => Some("earlier"),
    }
}
