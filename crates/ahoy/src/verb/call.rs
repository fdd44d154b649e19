//! `ahoy call NAME`

use ahoy_client::member::{Ending, Refusal};
use ahoy_proto::Name;
use ahoy_proto::v1::Cause;
use serde_json::json;

use crate::cli::{Call, Common};
use crate::failure::{Exit, Failure};
use crate::interrupt::Interrupts;
use crate::talk::{Ended, Talk, cause_name, ending_text};
use crate::tell::Tell;
use crate::{online, place, sound};

pub(crate) fn run(common: &Common, arguments: &Call, tell: Tell) -> Result<(), Failure> {
    let (profile, identity) = place::signed_in(common)?;
    let peer = place::name(&arguments.name, &identity.network.name)?;
    let speaker = sound::speaker(&arguments.audio, peer.as_str())?;
    if let Some(note) = sound::note(&arguments.audio) {
        tell.note(note);
    }
    online::run(async {
        let mut interrupts = Interrupts::new()?;
        let (client, mut events) = tokio::select! {
            ready = online::ready(common, profile) => ready?,
            () = interrupts.next() => return Ok(()),
        };
        let call = client.call(peer.clone(), speaker).await?;
        tell.event("calling", &json!({ "to": peer }), &format!("Calling {peer} …"));
        let (events, interrupts, length) = (&mut events, &mut interrupts, arguments.length);
        let ended = Talk { client: &client, events, interrupts, tell, call, peer: &peer, length }.follow().await;
        client.close().await;
        outcome(&ended?, &peer)
    })
}

/// An answered call is a success however it ended, but for a loss; one cancelled by its own caller is, too.
fn outcome(ended: &Ended, peer: &Name) -> Result<(), Failure> {
    let good = match &ended.ending {
        Ending::Cause(Cause::Lost | Cause::Incompatible) => false,
        Ending::Cause(Cause::Cancelled) => ended.interrupted,
        Ending::Cause(_) => ended.answered,
        Ending::Refused(_) => false,
    };
    if good {
        return Ok(());
    }
    let (exit, advice) = match &ended.ending {
        Ending::Cause(Cause::Busy | Cause::NoAnswer | Cause::Unreachable | Cause::Declined) => {
            (Exit::NotAnswered, "Try again later.".to_owned())
        }
        Ending::Cause(Cause::Requested) | Ending::Refused(Refusal::Requested) => {
            (Exit::NotAnswered, "Call again when they have accepted; `ahoy contacts` shows it.".to_owned())
        }
        Ending::Cause(Cause::Incompatible) => (
            Exit::NotAnswered,
            format!("Update ahoy on both sides; if that does not help, compare keys: `ahoy verify {peer}`."),
        ),
        Ending::Cause(_) | Ending::Refused(Refusal::SessionLost) => {
            (Exit::NotAnswered, "Call again; `ahoy status` checks the way to the network.".to_owned())
        }
        Ending::Refused(Refusal::NoSuchName) => (Exit::NotAnswered, "Check the spelling.".to_owned()),
        Ending::Refused(Refusal::AccountKeyChanged | Refusal::ConversationRefused) => (
            Exit::Refused,
            format!(
                "Compare keys by another way with `ahoy verify {peer}`; if they are the same, `ahoy verify {peer} --accept`."
            ),
        ),
        Ending::Refused(Refusal::Supernode { retry_after_ms: ms, .. }) if *ms == 0 => {
            (Exit::NotAnswered, "Check the name; `ahoy contacts` shows whom you can call.".to_owned())
        }
        Ending::Refused(Refusal::Supernode { retry_after_ms, .. }) => {
            (Exit::NotAnswered, format!("Try again in {} s.", retry_after_ms.div_ceil(1_000).max(1)))
        }
        Ending::Refused(_) => (Exit::NotAnswered, "Try again later.".to_owned()),
    };
    let mut text = ending_text(&ended.ending, peer);
    if let Some(first) = text.get(..4).filter(|first| *first == "The ").map(str::to_lowercase) {
        text.replace_range(..4, &first);
    }
    Err(Failure::new(exit, cause_name(&ended.ending), text, advice))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit_after(ending: Ending, answered: bool) -> Option<Exit> {
        let ended = Ended { ending, answered, interrupted: false, meanwhile: Vec::new() };
        outcome(&ended, &Name::parse("bob").unwrap()).err().map(|failure| failure.exit)
    }

    #[test]
    fn the_exit_code_tells_whether_the_call_was_answered() {
        assert_eq!(exit_after(Ending::Cause(Cause::HungUp), true), None);
        assert_eq!(exit_after(Ending::Cause(Cause::Busy), false), Some(Exit::NotAnswered));
        assert_eq!(exit_after(Ending::Cause(Cause::Unreachable), false), Some(Exit::NotAnswered));
        assert_eq!(exit_after(Ending::Cause(Cause::Lost), true), Some(Exit::NotAnswered));
        assert_eq!(exit_after(Ending::Cause(Cause::Requested), false), Some(Exit::NotAnswered));
        assert_eq!(exit_after(Ending::Refused(Refusal::NoSuchName), false), Some(Exit::NotAnswered));
        assert_eq!(exit_after(Ending::Refused(Refusal::AccountKeyChanged), false), Some(Exit::Refused));
    }
}
