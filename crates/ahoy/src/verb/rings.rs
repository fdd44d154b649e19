//! `ahoy rings contacts|anyone|nobody`

use ahoy_proto::v1::CallsFrom;
use serde_json::json;

use crate::cli::{Common, Rings, RingsFrom};
use crate::failure::Failure;
use crate::tell::Tell;
use crate::{online, place};

pub(crate) fn run(common: &Common, arguments: &Rings, tell: Tell) -> Result<(), Failure> {
    let (profile, identity) = place::signed_in(common)?;
    let (calls_from, word, text) = match arguments.from {
        RingsFrom::Contacts => (CallsFrom::Contacts, "contacts", "Contacts may ring"),
        RingsFrom::Anyone => (CallsFrom::Anyone, "anyone", "Everybody with an account here may ring"),
        RingsFrom::Nobody => (CallsFrom::Nobody, "nobody", "Nobody may ring"),
    };
    online::run(async {
        let (client, _events) = online::ready(common, profile).await?;
        let set = client.set_calls_from(calls_from).await;
        client.close().await;
        set?;
        tell.event("rings", &json!({ "from": word }), &format!("{text} {}.", identity.full_name()));
        Ok(())
    })
}
