//! `ahoy search PREFIX`, and whether others find this account so

use ahoy_client::member::SettingsChange;
use serde_json::json;

use crate::cli::{Common, Search, Switch};
use crate::failure::Failure;
use crate::tell::Tell;
use crate::{online, place};

pub(crate) fn run(common: &Common, arguments: &Search, tell: Tell) -> Result<(), Failure> {
    let (profile, identity) = place::signed_in(common)?;
    online::run(async {
        let (client, _events) = online::ready(common, profile).await?;
        let result = async {
            if let Some(listed) = arguments.listed {
                let listed = listed == Switch::On;
                client.change_settings(SettingsChange { listed: Some(listed), ..SettingsChange::default() }).await?;
                let text = if listed { "is found by a search from now on" } else { "is not found by a search" };
                tell.event("listed", &json!({ "listed": listed }), &format!("{} {text}.", identity.full_name()));
                return Ok(());
            }
            let prefix = arguments.prefix.as_deref().unwrap_or_default().to_lowercase();
            let found = client.search(&prefix).await?;
            for person in &found {
                tell.event("found", &json!({ "name": person.name, "account": person.account }), person.name.as_str());
            }
            if found.is_empty() {
                tell.note("Nobody who wishes to be found has a name that begins so.");
            }
            Ok(())
        };
        let result = result.await;
        client.close().await;
        result
    })
}
