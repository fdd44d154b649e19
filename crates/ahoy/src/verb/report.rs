//! `ahoy report NAME --reason TEXT`

use serde_json::json;

use crate::cli::{Common, Report};
use crate::failure::Failure;
use crate::tell::Tell;
use crate::{online, place, tui};

pub(crate) fn run(common: &Common, arguments: &Report, tell: Tell) -> Result<(), Failure> {
    let (profile, identity) = place::signed_in(common)?;
    let name = place::name(&arguments.name, &identity.network.name)?;
    online::run(async {
        let (client, _events) = online::ready(common, profile).await?;
        let reported = tui::report(&client, &name, &arguments.reason, arguments.last as usize).await;
        client.close().await;
        let messages = reported.map_err(|error| Failure::about(error, &name))?;
        let text = match messages {
            0 => format!("The operator is told about {name}."),
            _ => format!("The operator is told about {name}, with {messages} messages."),
        };
        tell.event("reported", &json!({ "name": name, "messages": messages }), &text);
        Ok(())
    })
}
