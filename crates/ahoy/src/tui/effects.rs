//! What effects mean to the client, and what the client's events mean to the model.

use std::collections::BTreeMap;

use ahoy_client::account::{NetworkUrl, NewAccount, contact, sign_in, sign_up};
use ahoy_client::driver::{Client, ClientError, Draft, Event, Events};
use ahoy_client::member::{Kind, Refusal};
use ahoy_client::profile::{self, Identity};
use ahoy_proto::v1::Cause;
use ahoy_proto::{ConversationId, Name};

use super::message::{Effect, Entrance, Everything, News};
use super::model::{Conversation, Entry, Fate, Line, Reaction, Receipt};
use crate::cli::{Audio, Common};
use crate::failure::{Exit, Failure};
use crate::{place, sound};

/// Lines that are read at a time: some pages.
const PAGE: usize = 60;

/// Lines that go with a report.
const REPORTED: usize = 20;

/// What a task has to say.
pub(super) enum Told {
    News(News),
    /// Nothing can go on.
    Stopped(Failure),
    /// Somebody is signed in.
    Entered(Identity),
    /// And the session is up.
    Online {
        identity: Identity,
        client: Client,
        events: Events,
        everything: Box<Everything>,
    },
}

/// Whether the order of effects matters: one after the other.
pub(super) fn is_written(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::Send { .. }
            | Effect::Edit { .. }
            | Effect::Delete { .. }
            | Effect::React { .. }
            | Effect::Typing { .. }
            | Effect::Read { .. }
            | Effect::Activity { .. }
    )
}

/// Signs in or up; blocks.
pub(super) fn enter(common: &Common, entrance: &Entrance) -> Result<Told, Failure> {
    let profile = place::vacant(common)?;
    let url = NetworkUrl::parse(entrance.network.trim()).map_err(|error| {
        Failure::new(Exit::Refused, "network", error.to_string(), "An address looks like https://example.org.")
    })?;
    let said = contact(&url, None, place::now())?;
    let network = said.network;
    let name = place::name(&entrance.name, &network.name)?;
    let device_name = place::device_name();
    if entrance.is_new {
        let new = NewAccount {
            name: &name,
            password: entrance.password.as_str().into(),
            invite: None,
            device_name: &device_name,
        };
        let made = sign_up(&network, new, place::now())?;
        profile.keep(&made.identity)?;
        return Ok(Told::News(News::RecoveryCode(made.recovery_code.to_text().as_str().to_owned())));
    }
    let identity = sign_in(&network, &name, &entrance.password, &device_name, place::now())?;
    profile.keep(&identity)?;
    Ok(Told::Entered(identity))
}

/// What is known at this moment.
pub(super) async fn everything(client: &Client) -> Result<Box<Everything>, ClientError> {
    let mut conversations = Vec::new();
    for entry in client.conversations().await? {
        let id = entry.summary.conversation;
        let wanted = PAGE.max(usize::try_from(entry.unread).unwrap_or(PAGE)).min(profile::LINES_MAX);
        let mut talk = Conversation::new(entry.summary);
        let (lines, are_more) = page(client.history(id, None, wanted).await?, wanted);
        talk.prepend(lines, are_more);
        let receipts = client.receipts(id).await?;
        let receipt = |told: &ahoy_client::driver::Receipt| Receipt { delivered: told.delivered, read: told.read };
        talk.receipts = receipts.iter().map(|told| (told.account, receipt(told))).collect::<BTreeMap<_, _>>();
        if talk.is_group() {
            talk.members = client.members(id).await?;
        }
        conversations.push(talk);
    }
    Ok(Box::new(Everything { settings: client.settings().await?, contacts: client.contacts().await?, conversations }))
}

/// Lines as the profile gives them, newest first, in the order in which they are shown.
fn page(lines: Vec<profile::Line>, wanted: usize) -> (Vec<Line>, bool) {
    let are_more = lines.len() == wanted;
    (lines.into_iter().rev().map(line).collect(), are_more)
}

fn line(kept: profile::Line) -> Line {
    let mut reactions: Vec<Reaction> = Vec::new();
    for (account, emoji) in kept.reactions {
        match reactions.iter_mut().find(|reaction| reaction.emoji == emoji) {
            Some(reaction) => reaction.by.push(account),
            None => reactions.push(Reaction { emoji, by: vec![account] }),
        }
    }
    let fate = match (kept.deleted, kept.failed, kept.edited) {
        (true, ..) => Fate::Deleted,
        (_, true, _) => Fate::Failed,
        (_, _, true) => Fate::Edited,
        _ => Fate::Plain,
    };
    Line { message: kept.message, fate, reactions }
}

/// Does what is to be done, and tells what came of it.
pub(super) async fn perform(client: &Client, effect: Effect) -> Vec<News> {
    let quiet = matches!(effect, Effect::Typing { .. } | Effect::Activity { .. } | Effect::Read { .. });
    let placing = matches!(effect, Effect::Call(_));
    match act(client, effect).await {
        Ok(news) => news,
        // What nobody asked for is not complained of.
        Err(_) if quiet => Vec::new(),
        Err(failure) if placing => vec![News::CallEnded { call: None, ending: None }, failed(failure)],
        Err(failure) => vec![failed(failure)],
    }
}

pub(super) fn failed(failure: Failure) -> News {
    News::Failed { text: failure.text, advice: failure.advice }
}

fn done(text: impl Into<String>) -> Vec<News> {
    vec![News::Done(text.into())]
}

async fn act(client: &Client, effect: Effect) -> Result<Vec<News>, Failure> {
    match effect {
        Effect::Send { to, text, reply_to } => send(client, to, Draft { text, reply_to }).await,
        Effect::Edit { conversation, target, text } => {
            client.edit(conversation, target, &text).await?;
            Ok(Vec::new())
        }
        Effect::Delete { conversation, target } => {
            client.delete(conversation, target).await?;
            Ok(Vec::new())
        }
        Effect::React { conversation, target, emoji, set } => {
            client.react(conversation, target, &emoji, set).await?;
            Ok(Vec::new())
        }
        Effect::Typing { conversation, typing } => {
            client.typing(conversation, typing).await?;
            Ok(Vec::new())
        }
        Effect::Read { conversation, up_to } => {
            client.mark_read(conversation, up_to).await?;
            Ok(Vec::new())
        }
        Effect::Older { conversation, before } => {
            let before = client.line(conversation, before).await?.map(|line| line.position);
            let (lines, are_more) = page(client.history(conversation, before, PAGE).await?, PAGE);
            Ok(vec![News::Lines { conversation, lines, are_more }])
        }
        Effect::Members(conversation) => {
            Ok(vec![News::Members { conversation, members: client.members(conversation).await? }])
        }
        Effect::Call(_) | Effect::Answer { .. } | Effect::Decline(_) | Effect::HangUp(_) => call(client, effect).await,
        effect => act_on_people(client, effect).await,
    }
}

async fn send(client: &Client, to: Entry, draft: Draft) -> Result<Vec<News>, Failure> {
    let (conversation, news) = match to {
        Entry::Conversation(conversation) => (conversation, Vec::new()),
        Entry::Person(account) => {
            let contacts = client.contacts().await?;
            let contact = contacts.into_iter().find(|contact| contact.person.account == account);
            let contact = contact.ok_or(ClientError::Refused(Refusal::NoSuchContact))?;
            let conversation = client.conversation_with(&contact.person.name).await?;
            (conversation, vec![News::Opened(conversation)])
        }
        Entry::Nothing | Entry::Requests => return Ok(Vec::new()),
    };
    client.post(conversation, draft).await?;
    Ok(news)
}

async fn call(client: &Client, effect: Effect) -> Result<Vec<News>, Failure> {
    let audio = Audio { play: None, record: None };
    match effect {
        Effect::Call(name) => {
            let speaker = sound::speaker(&audio, name.as_str())?;
            let call = client.call(name, speaker).await?;
            Ok(vec![News::Calling { call }])
        }
        Effect::Answer { call, peer } => {
            let speaker = sound::speaker(&audio, peer.as_str())?;
            client.answer(call, speaker).await?;
            Ok(Vec::new())
        }
        Effect::Decline(call) => {
            client.decline(call, Cause::Declined).await?;
            Ok(Vec::new())
        }
        Effect::HangUp(call) => {
            client.hang_up(call).await?;
            Ok(Vec::new())
        }
        _ => Ok(Vec::new()),
    }
}

async fn act_on_people(client: &Client, effect: Effect) -> Result<Vec<News>, Failure> {
    match effect {
        Effect::Ask { name, note } => {
            client.request_contact(&name, &note).await?;
            Ok(done(format!("{name} is asked.")))
        }
        Effect::AnswerRequest { name, accept } => {
            client.answer_contact(&name, accept).await?;
            Ok(done(if accept { format!("{name} is a contact now.") } else { format!("{name} is declined.") }))
        }
        Effect::Remove(name) => {
            client.remove_contact(&name).await?;
            Ok(done(format!("{name} is no contact any more.")))
        }
        Effect::Block { name, block } => {
            client.block(&name, block).await?;
            Ok(done(if block { format!("{name} is blocked.") } else { format!("{name} is not blocked any more.") }))
        }
        Effect::Alias { name, alias } => {
            client.set_alias(&name, alias.as_deref()).await?;
            Ok(Vec::new())
        }
        Effect::Search(prefix) => {
            let found = client.search(&prefix).await?;
            Ok(vec![News::Found(found.into_iter().map(|person| person.name).collect())])
        }
        Effect::Change(change) => {
            client.change_settings(change).await?;
            Ok(Vec::new())
        }
        Effect::Activity { away } => {
            client.set_activity(away).await?;
            Ok(Vec::new())
        }
        Effect::Compare(name) => {
            let code = match client.verify(name.clone()).await {
                Ok(code) => Ok(code),
                Err(ClientError::Refused(why @ Refusal::AccountKeyChanged)) => Err(format!("{why}.")),
                Err(error) => return Err(error.into()),
            };
            Ok(vec![News::Comparison { name, code }])
        }
        Effect::AcceptKey(name) => {
            client.accept_key(name.clone()).await?;
            Ok(done(format!("The new key of {name} is accepted.")))
        }
        Effect::Report { name, reason } => {
            report(client, &name, &reason, REPORTED).await?;
            Ok(done(format!("{name} is reported to the operator.")))
        }
        effect => act_on_groups(client, effect).await,
    }
}

async fn act_on_groups(client: &Client, effect: Effect) -> Result<Vec<News>, Failure> {
    match effect {
        Effect::CreateGroup { title, names } => Ok(vec![News::Opened(client.create_group(&title, &names).await?)]),
        Effect::Invite { conversation, names } => {
            client.invite(conversation, &names).await?;
            Ok(vec![News::Members { conversation, members: client.members(conversation).await? }])
        }
        Effect::RemoveMember { conversation, name } => {
            client.remove_member(conversation, &name).await?;
            Ok(vec![News::Members { conversation, members: client.members(conversation).await? }])
        }
        Effect::Leave(conversation) => {
            client.leave(conversation).await?;
            Ok(Vec::new())
        }
        Effect::Rename { conversation, title } => {
            client.rename(conversation, &title).await?;
            Ok(Vec::new())
        }
        Effect::Devices => Ok(vec![News::Devices(client.devices().await?)]),
        Effect::RenameDevice { device, name } => {
            client.rename_device(device, &name).await?;
            Ok(vec![News::Devices(client.devices().await?)])
        }
        Effect::RevokeDevice(device) => {
            client.revoke_device(device).await?;
            Ok(vec![News::Devices(client.devices().await?), News::Done("The device is signed out.".to_owned())])
        }
        _ => Ok(Vec::new()),
    }
}

/// Tells the operator about somebody, with the last texts of the conversation with them.
pub(crate) async fn report(client: &Client, name: &Name, reason: &str, last: usize) -> Result<usize, ClientError> {
    let mut messages = Vec::new();
    for entry in client.conversations().await? {
        let Kind::Pair(_, Some(person)) = &entry.summary.kind else { continue };
        if person.name == *name && last > 0 {
            let conversation: ConversationId = entry.summary.conversation;
            let lines = client.history(conversation, None, last.min(profile::LINES_MAX)).await?;
            messages.extend(lines.into_iter().rev().map(|line| (conversation, line.message.reference)));
        }
    }
    client.report(name, reason, &messages).await?;
    Ok(messages.len())
}

/// What an event of the client means.
pub(super) fn news(event: Event) -> Option<News> {
    Some(match event {
        Event::LinkUp(online) => News::LinkUp { round_trip_ms: online.round_trip.as_millis() as u64 },
        Event::LinkLost => News::LinkLost,
        Event::Ringing(call) => News::Ringing { call },
        Event::Incoming { call, from, quiet } => News::Incoming { call, from: from.name, quiet },
        Event::Connected { call, peer } => News::Connected { call, peer: peer.name },
        Event::Voice { .. } => News::CallWell,
        Event::SinkFailed { .. } => News::CallTrouble("the loudspeaker failed"),
        Event::PeerLost { .. } => News::CallTrouble("the other side lost the connection; waiting …"),
        Event::Ended { call, ending, .. } => News::CallEnded { call: Some(call), ending: Some(ending) },
        Event::AccountKeyChanged(name) => News::KeyChanged(name),
        Event::Contact(contact) => News::Contact(contact),
        Event::Presence { account, presence } => News::Presence(account, presence),
        Event::Settings(settings) => News::Settings(settings),
        Event::Conversation(summary) => News::Conversation(summary),
        Event::ConversationLeft { conversation, by } => News::ConversationLeft { conversation, by },
        Event::History { conversation, change, .. } => News::History { conversation, change },
        Event::Receipt { conversation, account, delivered, read } => {
            News::Receipt { conversation, account, receipt: Receipt { delivered, read } }
        }
        Event::Typing { conversation, account, typing } => News::Typing { conversation, account, typing },
        Event::NewOwnDevice { .. } => News::NewOwnDevice,
        _ => return None,
    })
}
