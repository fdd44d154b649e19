//! `ahoy pipe`: commands as JSON lines on standard input, answers and events as JSON lines on standard output; for programs in any
//! language.
//!
//! Commands are carried out one after the other, in the order of their lines, and each gets exactly one object with `answer`. Lines are
//! read no faster than they are carried out, each has a bound, and one that is no command costs one error and nothing else.

mod deed;
mod input;
mod news;

use ahoy_client::driver::Client;
use ahoy_client::profile::Identity;
use serde_json::json;
use tokio::sync::mpsc;

use crate::cli::Common;
use crate::failure::Failure;
use crate::interrupt::Interrupts;
use crate::tell::Tell;
use crate::{online, place};

use deed::Obeying;
use input::{Command, Line};
use news::Teller;

pub(crate) fn run(common: &Common, tell: Tell) -> Result<(), Failure> {
    let (profile, identity) = place::signed_in(common)?;
    online::run(async {
        let mut interrupts = Interrupts::new()?;
        let (client, events) = tokio::select! {
            ready = online::ready(common, profile) => ready?,
            () = interrupts.next() => return Ok(()),
        };
        let teller = Teller::new(&client, &identity, tell, events).await?;
        let fields = json!({ "name": identity.name, "account": identity.account, "device": identity.device });
        tell.event("ready", &fields, "");
        let result = tokio::select! {
            result = obey(&client, &identity, tell, input::lines()) => result,
            result = teller.tell_all() => result,
            () = interrupts.next() => Ok(()),
        };
        client.close().await;
        result
    })
}

/// Carries out one line after the other until there are no more.
async fn obey(
    client: &Client,
    identity: &Identity,
    tell: Tell,
    mut lines: mpsc::Receiver<Line>,
) -> Result<(), Failure> {
    let obeying = Obeying { client, identity, tell };
    while let Some(line) = lines.recv().await {
        let Command { id, deed } = Command::parse(line);
        let done = match deed {
            Ok(deed) => obeying.carry_out(deed, &id).await,
            Err(failure) => Err(failure),
        };
        let (event, mut fields) = match done {
            Ok(answer) => answer,
            Err(failure) => ("error", json!({ "code": failure.code, "text": failure.text, "advice": failure.advice })),
        };
        fields["answer"] = id;
        tell.event(event, &fields, "");
    }
    Ok(())
}
