//! `ahoy group`

use ahoy_client::driver::{Client, Conversation};
use ahoy_client::member::Kind;
use ahoy_client::profile::Identity;
use ahoy_proto::{ConversationId, Name};
use serde_json::json;

use crate::cli::{Common, Group, GroupDeed};
use crate::failure::Failure;
use crate::said::{ID_DIGITS, Names, group};
use crate::tell::Tell;
use crate::text::{clean_line, columns};
use crate::when::Clock;
use crate::{online, place};

pub(crate) fn run(common: &Common, arguments: &Group, tell: Tell) -> Result<(), Failure> {
    let (profile, identity) = place::signed_in(common)?;
    online::run(async {
        let (client, _events) = online::ready(common, profile).await?;
        let result = act(&client, &identity, &arguments.deed, tell).await;
        client.close().await;
        result
    })
}

async fn act(client: &Client, identity: &Identity, deed: &GroupDeed, tell: Tell) -> Result<(), Failure> {
    let named = |name: &String| place::name(name, &identity.network.name);
    let conversations = client.conversations().await?;
    match deed {
        GroupDeed::List => list(&conversations, tell),
        GroupDeed::Create { title, names } => {
            let names = names.iter().map(named).collect::<Result<Vec<Name>, Failure>>()?;
            let conversation = client.create_group(title, &names).await?;
            let fields = json!({ "conversation": conversation.to_hex(), "title": title });
            tell.event("group", &fields, &format!("“{}” is there: {}.", clean_line(title), short(conversation)));
        }
        GroupDeed::Members { group: text } => members(client, identity, group(&conversations, text)?, tell).await?,
        GroupDeed::Invite { group: text, names } => {
            let conversation = group(&conversations, text)?;
            let names = names.iter().map(named).collect::<Result<Vec<Name>, Failure>>()?;
            client.invite(conversation, &names).await?;
            let list: Vec<&str> = names.iter().map(Name::as_str).collect();
            let fields = json!({ "conversation": conversation.to_hex(), "names": names });
            tell.event("invited", &fields, &format!("{} can read from now on.", list.join(", ")));
        }
        GroupDeed::Remove { group: text, name } => {
            let (conversation, name) = (group(&conversations, text)?, named(name)?);
            client.remove_member(conversation, &name).await.map_err(|error| Failure::about(error, &name))?;
            let fields = json!({ "conversation": conversation.to_hex(), "name": name });
            tell.event("removed", &fields, &format!("{name} is not in the group any more."));
        }
        GroupDeed::Leave { group: text } => {
            let conversation = group(&conversations, text)?;
            client.leave(conversation).await?;
            let fields = json!({ "conversation": conversation.to_hex() });
            tell.event("left", &fields, "You are not in the group any more. What was said stays on this device.");
        }
        GroupDeed::Rename { group: text, title } => {
            let conversation = group(&conversations, text)?;
            client.rename(conversation, title).await?;
            let fields = json!({ "conversation": conversation.to_hex(), "title": title });
            tell.event("renamed", &fields, &format!("The group is called “{}” now.", clean_line(title)));
        }
    }
    Ok(())
}

fn short(conversation: ConversationId) -> String {
    conversation.to_hex()[..ID_DIGITS].to_owned()
}

fn list(conversations: &[Conversation], tell: Tell) {
    let clock = Clock::here();
    let mut rows = Vec::new();
    for Conversation { summary, unread, last } in conversations {
        let Kind::Group { title } = &summary.kind else { continue };
        let fields = json!({
            "conversation": summary.conversation.to_hex(),
            "title": title,
            "members": summary.members,
            "unread": unread,
        });
        tell.event("group", &fields, "");
        let last = last.as_ref().map(|line| clock.short(line.message.at_ms)).unwrap_or_default();
        let unread = if *unread > 0 { format!("{unread} unread") } else { String::new() };
        rows.push(vec![
            short(summary.conversation),
            clean_line(title),
            format!("{} members", summary.members),
            last,
            unread,
        ]);
    }
    if rows.is_empty() {
        tell.note("No groups so far: `ahoy group create TITLE NAME …` makes one.");
    } else if !tell.is_json() {
        tell.event("", &json!({}), &columns(&rows));
    }
}

async fn members(
    client: &Client,
    identity: &Identity,
    conversation: ConversationId,
    tell: Tell,
) -> Result<(), Failure> {
    let names = Names::read(client, identity).await?;
    let mut rows = Vec::new();
    for member in client.members(conversation).await? {
        let fields = json!({
            "name": names.name(member.account),
            "account": member.account,
            "owner": member.is_owner,
            "devices": member.devices,
        });
        tell.event("member", &fields, "");
        let role = if member.is_owner { "owner" } else { "" };
        let shown = names.shown(member.account);
        let name = names.name(member.account);
        let shown = if shown == name { String::new() } else { shown };
        rows.push(vec![name, shown, role.to_owned()]);
    }
    if !tell.is_json() {
        tell.event("", &json!({}), &columns(&rows));
    }
    Ok(())
}
