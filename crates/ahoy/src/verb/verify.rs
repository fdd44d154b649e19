//! `ahoy verify NAME`

use ahoy_client::driver::ClientError;
use ahoy_client::member::Refusal;
use serde_json::json;

use crate::cli::{Common, Verify};
use crate::failure::Failure;
use crate::tell::Tell;
use crate::{online, place};

pub(crate) fn run(common: &Common, arguments: &Verify, tell: Tell) -> Result<(), Failure> {
    let (profile, identity) = place::signed_in(common)?;
    let name = place::name(&arguments.name, &identity.network.name)?;
    online::run(async {
        let (client, _events) = online::ready(common, profile).await?;
        let compared = client.verify(name.clone()).await;
        let result = match (compared, arguments.accept) {
            (Ok(code), false) => Ok(code),
            (Ok(_) | Err(ClientError::Refused(Refusal::AccountKeyChanged)), true) => accept(&client, &name).await,
            (Err(error), _) => Err(error),
        };
        client.close().await;
        let code = result?;
        let groups: Vec<&str> = code.split(' ').collect();
        let lines: Vec<String> = groups.chunks(4).map(|line| format!("    {}", line.join(" "))).collect();
        tell.event(
            "verify",
            &json!({ "name": name, "code": code, "accepted": arguments.accept }),
            &format!(
                "Your keys and those of {name}:\n\n{}\n\nThe same 60 digits on the other side mean that nobody stands in between.",
                lines.join("\n")
            ),
        );
        Ok(())
    })
}

/// Accepts the change that the comparison has just announced, then compares with the new key.
async fn accept(client: &ahoy_client::driver::Client, name: &ahoy_proto::Name) -> Result<String, ClientError> {
    client.accept_key(name.clone()).await?;
    client.verify(name.clone()).await
}
