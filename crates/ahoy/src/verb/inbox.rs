//! `ahoy inbox`: what is unread, oldest first, and with --follow what comes in.

use std::collections::BTreeMap;

use ahoy_client::driver::{Client, ClientError, Event, Events};
use ahoy_client::member::{ContactState, MessageBody};
use ahoy_client::profile::{Identity, LINES_MAX, Line};
use ahoy_proto::ConversationId;
use serde_json::json;

use crate::cli::{Common, Inbox};
use crate::failure::Failure;
use crate::interrupt::Interrupts;
use crate::said::Names;
use crate::talk::tell_key_change;
use crate::tell::Tell;
use crate::text::clean;
use crate::when::Clock;
use crate::{online, place};

pub(crate) fn run(common: &Common, arguments: &Inbox, tell: Tell) -> Result<(), Failure> {
    let (profile, identity) = place::signed_in(common)?;
    online::run(async {
        let mut interrupts = Interrupts::new()?;
        let (client, mut events) = tokio::select! {
            ready = online::ready(common, profile) => ready?,
            () = interrupts.next() => return Ok(()),
        };
        let result = look(&client, &mut events, &mut interrupts, (arguments, &identity, tell)).await;
        client.close().await;
        result
    })
}

async fn look(
    client: &Client,
    events: &mut Events,
    interrupts: &mut Interrupts,
    how: (&Inbox, &Identity, Tell),
) -> Result<(), Failure> {
    let (arguments, identity, tell) = how;
    let dealt_with = client.last_change().await?;
    let names = Names::read(client, identity).await?;
    let mut reader = Reader { client, arguments, tell, names, shown: BTreeMap::new(), dealt_with };
    let count = reader.show_unread().await?;
    if !arguments.follow {
        if count == 0 {
            tell.note("Nothing is unread.");
        }
        return Ok(());
    }
    tell.event("following", &json!({ "name": identity.name }), "");
    tell.note("Waiting for more. Ctrl-C stops.");
    loop {
        tokio::select! {
            event = events.next() => reader.take(event).await?,
            () = interrupts.next() => return Ok(()),
        }
    }
}

struct Reader<'a> {
    client: &'a Client,
    arguments: &'a Inbox,
    tell: Tell,
    names: Names,
    /// Up to which place lines of a conversation were shown.
    shown: BTreeMap<ConversationId, u64>,
    /// Number of the last change that was dealt with.
    dealt_with: u64,
}

impl Reader<'_> {
    /// Everything unread; gives how much it was.
    async fn show_unread(&mut self) -> Result<usize, Failure> {
        let mut unread: Vec<(ConversationId, Line)> = Vec::new();
        for entry in self.client.conversations().await? {
            let (conversation, read) = (entry.summary.conversation, entry.summary.read);
            self.shown.insert(conversation, read);
            if entry.unread == 0 {
                continue;
            }
            let mut before = None;
            loop {
                let page = self.client.history(conversation, before, LINES_MAX).await?;
                before = page.last().map(|line| line.position);
                let fresh = |line: &Line| line.message.sequence.is_none_or(|place| place > read);
                let more = before.is_some() && page.iter().all(fresh);
                unread.extend(page.into_iter().filter(fresh).map(|line| (conversation, line)));
                if !more {
                    break;
                }
            }
        }
        unread.sort_by_key(|(_, line)| (line.message.at_ms, line.position));
        let mut count = 0;
        for (conversation, line) in &unread {
            count += usize::from(self.show(*conversation, line).await?);
        }
        Ok(count)
    }

    async fn take(&mut self, event: Option<Event>) -> Result<(), Failure> {
        match event {
            Some(Event::History { .. } | Event::Behind) => self.catch_up().await?,
            Some(Event::Conversation(summary)) => self.names.take_summary(&summary),
            Some(Event::Contact(contact)) => {
                self.names.take_contact(&contact);
                if contact.state == ContactState::Asks {
                    tell_request(self.tell, &contact);
                }
            }
            Some(Event::AccountKeyChanged(name)) => tell_key_change(self.tell, &name),
            Some(Event::LinkLost) => {
                self.tell.event("link-lost", &json!({}), "");
                self.tell.note("The connection is lost; trying to reconnect …");
            }
            Some(Event::LinkUp(_)) => self.tell.event("link-up", &json!({}), ""),
            Some(Event::Stopped(error)) => return Err(error.into()),
            Some(_) => {}
            None => return Err(ClientError::Stopped.into()),
        }
        Ok(())
    }

    /// Shows what has changed since last time.
    async fn catch_up(&mut self) -> Result<(), Failure> {
        loop {
            let changed = self.client.lines_after(self.dealt_with, LINES_MAX).await?;
            let Some((_, last)) = changed.last() else { return Ok(()) };
            self.dealt_with = last.local;
            for (conversation, line) in &changed {
                self.show(*conversation, line).await?;
            }
        }
    }

    /// Shows a line that is worth it; tells whether it was.
    async fn show(&mut self, conversation: ConversationId, line: &Line) -> Result<bool, Failure> {
        // What the network has not taken yet comes again when it has.
        let Some(place) = line.message.sequence else { return Ok(false) };
        let shown = self.shown.entry(conversation).or_default();
        let is_new = place > *shown;
        *shown = place.max(*shown);
        let is_text = matches!(line.message.body, MessageBody::Text { .. }) && !line.deleted;
        let wanted = is_new && is_text && !self.names.is_own(line.message.account) || self.arguments.all;
        if wanted {
            let event = if is_new { "message" } else { "changed" };
            let text = self.names.text_in(&Clock::here(), conversation, line);
            self.tell.event(event, &self.names.object(conversation, line), &text);
        }
        if is_new && !self.arguments.peek {
            self.client.mark_read(conversation, place).await?;
        }
        Ok(wanted)
    }
}

/// Somebody asks to become a contact.
pub(crate) fn tell_request(tell: Tell, contact: &ahoy_client::member::Contact) {
    let name = &contact.person.name;
    let note = contact.note.as_deref().unwrap_or_default();
    let said = if note.is_empty() { String::new() } else { format!("\n    {}", clean(note).replace('\n', "\n    ")) };
    tell.event(
        "contact-request",
        &json!({ "from": name, "note": note }),
        &format!("{name} asks to become a contact: `ahoy contacts accept {name}`, or decline, or block.{said}"),
    );
}
