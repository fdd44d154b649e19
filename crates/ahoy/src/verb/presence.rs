//! `ahoy presence`

use ahoy_client::driver::Client;
use ahoy_client::member::{Settings, SettingsChange};
use ahoy_proto::v1::Availability;
use serde_json::json;

use super::contacts::availability_code;
use crate::cli::{Common, Presence, PresenceState};
use crate::failure::{Exit, Failure};
use crate::tell::Tell;
use crate::text::clean_line;
use crate::{online, place};

pub(crate) fn run(common: &Common, arguments: &Presence, tell: Tell) -> Result<(), Failure> {
    let (profile, _identity) = place::signed_in(common)?;
    online::run(async {
        let (client, _events) = online::ready(common, profile).await?;
        let result = change(&client, arguments).await;
        let settings = match result {
            Ok(()) => client.settings().await.map_err(Failure::from),
            Err(failure) => Err(failure),
        };
        client.close().await;
        let settings = settings?.ok_or_else(|| {
            Failure::new(Exit::Unreachable, "no-settings", "the network has not said what is set", "Try again.")
        })?;
        show(tell, &settings);
        Ok(())
    })
}

async fn change(client: &Client, arguments: &Presence) -> Result<(), Failure> {
    let availability = match arguments.state {
        PresenceState::Show => None,
        PresenceState::Online => Some(Availability::Online),
        PresenceState::Away => Some(Availability::Away),
        PresenceState::Dnd => Some(Availability::DoNotDisturb),
        PresenceState::Invisible => Some(Availability::Invisible),
    };
    if availability.is_none() && arguments.mood.is_none() {
        return Ok(());
    }
    let change = SettingsChange { availability, mood: arguments.mood.clone(), ..SettingsChange::default() };
    Ok(client.change_settings(change).await?)
}

fn show(tell: Tell, settings: &Settings) {
    let word = crate::tui::availability_word(settings.availability);
    let mood = clean_line(&settings.mood);
    let text =
        if mood.is_empty() { format!("You are set to {word}.") } else { format!("You are set to {word}: {mood}") };
    let fields = json!({ "availability": availability_code(settings.availability), "mood": settings.mood });
    tell.event("presence", &fields, &text);
}
