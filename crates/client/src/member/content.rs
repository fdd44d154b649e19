//! What messages say, and what becomes of it in the history.

use ahoy_proto::limits::{REACTION_MAX, TEXT_MAX, TITLE_CHARACTERS_MAX};
use ahoy_proto::{AccountId, DeviceId, v1};
use v1::content::Body as Say;

use super::history::{Change, Message, MessageBody, MessageRef};

/// What a message comes to.
pub(super) enum Taken {
    /// A change of the history.
    Change(Change),
    /// The group has this title, perhaps as before.
    Title(Message),
    /// Somebody does not know the title.
    TitleWanted,
}

/// What a message of another device says; `None` where it breaks a bound, or is of a kind that a newer client knows.
pub(super) fn read(
    content: v1::Content,
    reference: MessageRef,
    by: AccountId,
    sequence: u64,
    at_ms: u64,
) -> Option<Taken> {
    let line = |body| Message { reference, account: by, sequence: Some(sequence), at_ms, body };
    let change = match content.body? {
        Say::Text(v1::Text { text, reply_to }) => {
            let reply_to = reply_to.as_ref().and_then(from_wire);
            fits(&text).then_some(Change::Put(line(MessageBody::Text { text, reply_to })))?
        }
        Say::Edit(v1::Edit { target, text }) => {
            let target = from_wire(&target?)?;
            fits(&text).then_some(Change::Edited { target, by, text, at_ms })?
        }
        Say::Deletion(deletion) => Change::Deleted { target: from_wire(&deletion.target?)?, by },
        Say::Reaction(v1::Reaction { target, emoji, removed }) => {
            let target = from_wire(&target?)?;
            let fits = !emoji.is_empty() && emoji.len() <= REACTION_MAX;
            fits.then_some(Change::Reacted { target, by, emoji, set: !removed })?
        }
        Say::Details(v1::GroupDetails { title }) => {
            let fits = !title.is_empty() && title.chars().count() <= TITLE_CHARACTERS_MAX;
            return fits.then(|| Taken::Title(line(MessageBody::Renamed { title })));
        }
        Say::DetailsWanted(_) => return Some(Taken::TitleWanted),
    };
    Some(Taken::Change(change))
}

/// What something that this device says changes in its own history before it stands in the log.
pub(super) fn own(reference: MessageRef, by: AccountId, said: &Say, at_ms: u64) -> Option<Change> {
    match said {
        Say::Text(v1::Text { text, reply_to }) => {
            let body = MessageBody::Text { text: text.clone(), reply_to: reply_to.as_ref().and_then(from_wire) };
            Some(Change::Put(Message { reference, account: by, sequence: None, at_ms, body }))
        }
        Say::Edit(v1::Edit { target, text }) => {
            let target = target.as_ref().and_then(from_wire)?;
            Some(Change::Edited { target, by, text: text.clone(), at_ms })
        }
        Say::Deletion(deletion) => Some(Change::Deleted { target: deletion.target.as_ref().and_then(from_wire)?, by }),
        Say::Reaction(v1::Reaction { target, emoji, removed }) => {
            let target = target.as_ref().and_then(from_wire)?;
            Some(Change::Reacted { target, by, emoji: emoji.clone(), set: !removed })
        }
        Say::Details(_) | Say::DetailsWanted(_) => None,
    }
}

pub(super) fn to_wire(reference: MessageRef) -> v1::MessageRef {
    v1::MessageRef { device: reference.device.to_bytes(), number: reference.number }
}

fn from_wire(reference: &v1::MessageRef) -> Option<MessageRef> {
    Some(MessageRef { device: DeviceId::try_from(&reference.device[..]).ok()?, number: reference.number })
}

fn fits(text: &str) -> bool {
    !text.is_empty() && text.len() <= TEXT_MAX
}
