//! Conversations on the command line: which one is meant, whose line it is, and how a line is shown.

use std::collections::BTreeMap;

use ahoy_client::driver::{Client, Conversation};
use ahoy_client::member::{Contact, Kind, MemberOf, MessageBody, MessageRef, Person, Summary};
use ahoy_client::profile::{Identity, LINES_MAX, Line, Position};
use ahoy_proto::{AccountId, ConversationId, Name};
use serde_json::{Value, json};

use crate::failure::{Exit, Failure};
use crate::place;
use crate::text::{clean, clean_line};
use crate::when::Clock;

/// Digits of an id that lists show: one in four billion others begins alike.
pub(crate) const ID_DIGITS: usize = 8;

/// Digits that an id has to be named by, at least.
const ID_DIGITS_MIN: usize = 4;

/// Who everybody is, as far as it is known here.
#[derive(Debug, Default)]
pub(crate) struct Names {
    own: Option<AccountId>,
    people: BTreeMap<AccountId, Known>,
    titles: BTreeMap<ConversationId, Place>,
}

#[derive(Debug, Clone)]
struct Known {
    name: Name,
    alias: Option<String>,
}

/// What a conversation is called.
#[derive(Debug, Clone)]
enum Place {
    With(AccountId),
    Group(String),
}

impl Names {
    /// What is known at this moment.
    pub(crate) async fn read(client: &Client, identity: &Identity) -> Result<Self, Failure> {
        let mut names = Self { own: Some(identity.account), ..Self::default() };
        names.know(Person { account: identity.account, name: identity.name.clone() });
        for contact in client.contacts().await? {
            names.take_contact(&contact);
        }
        for entry in client.conversations().await? {
            names.take_summary(&entry.summary);
            for MemberOf { person, .. } in client.members(entry.summary.conversation).await? {
                person.into_iter().for_each(|person| names.know(person));
            }
        }
        Ok(names)
    }

    pub(crate) fn know(&mut self, person: Person) {
        self.people.entry(person.account).or_insert(Known { name: person.name, alias: None });
    }

    pub(crate) fn take_contact(&mut self, contact: &Contact) {
        let Person { account, name } = contact.person.clone();
        self.people.insert(account, Known { name, alias: contact.alias.clone() });
    }

    pub(crate) fn take_summary(&mut self, summary: &Summary) {
        let place = match &summary.kind {
            Kind::Pair(account, person) => {
                person.clone().into_iter().for_each(|person| self.know(person));
                Place::With(*account)
            }
            Kind::Group { title } => Place::Group(title.clone()),
        };
        self.titles.insert(summary.conversation, place);
    }

    pub(crate) fn is_own(&self, account: AccountId) -> bool {
        self.own == Some(account)
    }

    /// The name on the network; empty where it is not known.
    pub(crate) fn name(&self, account: AccountId) -> String {
        self.people.get(&account).map(|known| known.name.to_string()).unwrap_or_default()
    }

    /// For people: the alias, or the name.
    pub(crate) fn shown(&self, account: AccountId) -> String {
        if self.is_own(account) {
            return "you".to_owned();
        }
        match self.people.get(&account) {
            Some(Known { alias: Some(alias), .. }) => clean_line(alias),
            Some(known) => known.name.to_string(),
            None => "somebody".to_owned(),
        }
    }

    /// A line as an object; `more` is put into it.
    pub(crate) fn object(&self, conversation: ConversationId, line: &Line) -> Value {
        let message = &line.message;
        let mut object = json!({
            "conversation": conversation.to_hex(),
            "id": id(message.reference),
            "from": self.name(message.account),
            "own": self.is_own(message.account),
            "sent_ms": message.at_ms,
            "edited": line.edited,
            "deleted": line.deleted,
        });
        match self.titles.get(&conversation) {
            Some(Place::With(account)) => object["with"] = json!(self.name(*account)),
            Some(Place::Group(title)) => object["group"] = json!(title),
            None => {}
        }
        if self.is_own(message.account) {
            let state = if line.failed {
                "failed"
            } else if message.sequence.is_some() {
                "sent"
            } else {
                "waiting"
            };
            object["state"] = json!(state);
        }
        let names = |accounts: &[AccountId]| accounts.iter().map(|account| self.name(*account)).collect::<Vec<_>>();
        match &message.body {
            MessageBody::Text { text, reply_to } => {
                object["text"] = json!(text);
                if let Some(reply_to) = reply_to {
                    object["reply_to"] = json!(id(*reply_to));
                }
            }
            MessageBody::Renamed { title } => object["title"] = json!(title),
            MessageBody::Membership { joined, left } => {
                object["joined"] = json!(names(joined));
                object["left"] = json!(names(left));
            }
            MessageBody::Gap => object["gap"] = json!(true),
            _ => {}
        }
        if !line.reactions.is_empty() {
            let reaction =
                |(account, emoji): &(AccountId, String)| json!({ "by": self.name(*account), "emoji": emoji });
            object["reactions"] = line.reactions.iter().map(reaction).collect();
        }
        object
    }

    /// A line for people, without the name of its conversation.
    pub(crate) fn text(&self, clock: &Clock, line: &Line) -> String {
        self.written(clock, line, None)
    }

    /// A line for people, with the group that it was said in.
    pub(crate) fn text_in(&self, clock: &Clock, conversation: ConversationId, line: &Line) -> String {
        let group = match self.titles.get(&conversation) {
            Some(Place::Group(title)) => Some(clean_line(title)),
            Some(Place::With(account)) if self.is_own(line.message.account) => Some(self.shown(*account)),
            _ => None,
        };
        self.written(clock, line, group)
    }

    fn written(&self, clock: &Clock, line: &Line, place: Option<String>) -> String {
        let message = &line.message;
        let who = self.shown(message.account);
        let who = place.map_or_else(|| who.clone(), |place| format!("{who} ({place})"));
        let time = format!("{:<12}", clock.exact(message.at_ms));
        let names = |accounts: &[AccountId]| {
            let names: Vec<String> = accounts.iter().map(|account| self.shown(*account)).collect();
            names.join(", ")
        };
        let said = match &message.body {
            MessageBody::Text { .. } if line.deleted => format!("{who}: (deleted)"),
            MessageBody::Text { text, .. } => {
                let mark = match (line.failed, line.edited) {
                    (true, _) => " (not sent)",
                    (false, true) => " (edited)",
                    (false, false) => "",
                };
                format!("{who}: {}{mark}", clean(text).trim_end().replace('\n', "\n              "))
            }
            MessageBody::Renamed { title } => format!("{who} named the group “{}”", clean_line(title)),
            MessageBody::Membership { joined, left } => match (joined.is_empty(), left.is_empty()) {
                (false, true) => format!("{} joined", names(joined)),
                (true, _) => format!("{} left", names(left)),
                (false, false) => format!("{} joined, {} left", names(joined), names(left)),
            },
            MessageBody::Gap => "something may be missing here".to_owned(),
            _ => "something that this version can't show".to_owned(),
        };
        let reactions: Vec<String> = line.reactions.iter().map(|(_, emoji)| clean_line(emoji)).collect();
        if reactions.is_empty() {
            format!("{time}  {said}")
        } else {
            format!("{time}  {said}  [{}]", reactions.join(" "))
        }
    }
}

/// A message for programs: the sending device, and that device's number of it.
pub(crate) fn id(reference: MessageRef) -> String {
    format!("{}:{}", reference.device.to_hex(), reference.number)
}

/// Which conversation is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Meant {
    /// One that there is.
    Conversation(ConversationId),
    /// Somebody with whom there is none yet.
    Person(Name),
}

/// A name of somebody, a title, or the first digits of an id.
pub(crate) fn meant(
    conversations: &[Conversation],
    contacts: &[Contact],
    network: &str,
    text: &str,
) -> Result<Meant, Failure> {
    let groups = groups_called(conversations, text);
    let known = |name: &Name| contacts.iter().any(|contact| contact.person.name == *name);
    let name = place::name(text, network);
    match (&groups[..], &name) {
        ([group], Ok(name)) if !known(name) => Ok(Meant::Conversation(*group)),
        ([group], Err(_)) => Ok(Meant::Conversation(*group)),
        ([_, ..], _) => Err(ambiguous(text)),
        ([], Ok(name)) => {
            Ok(with(conversations, name).map_or_else(|| Meant::Person(name.clone()), Meant::Conversation))
        }
        ([], Err(_)) => Err(unknown(text)),
    }
}

/// A group by its title or the first digits of its id.
pub(crate) fn group(conversations: &[Conversation], text: &str) -> Result<ConversationId, Failure> {
    match &groups_called(conversations, text)[..] {
        [group] => Ok(*group),
        [] => Err(unknown(text)),
        _ => Err(ambiguous(text)),
    }
}

fn groups_called(conversations: &[Conversation], text: &str) -> Vec<ConversationId> {
    let groups = || conversations.iter().filter(|entry| matches!(entry.summary.kind, Kind::Group { .. }));
    let called = |entry: &&Conversation| matches!(&entry.summary.kind, Kind::Group { title } if clean_line(title) == clean_line(text));
    let titled: Vec<_> = groups().filter(called).map(|entry| entry.summary.conversation).collect();
    if !titled.is_empty() || text.len() < ID_DIGITS_MIN {
        return titled;
    }
    let digits = text.to_ascii_lowercase();
    groups().map(|entry| entry.summary.conversation).filter(|id| id.to_hex().starts_with(&digits)).collect()
}

fn with(conversations: &[Conversation], name: &Name) -> Option<ConversationId> {
    let with =
        |entry: &&Conversation| matches!(&entry.summary.kind, Kind::Pair(_, Some(person)) if person.name == *name);
    conversations.iter().find(with).map(|entry| entry.summary.conversation)
}

fn unknown(text: &str) -> Failure {
    Failure::new(
        Exit::Refused,
        "no-such-conversation",
        format!("there is no conversation called {}", clean_line(text)),
        "`ahoy contacts` and `ahoy group list` show whom you can write to.",
    )
}

fn ambiguous(text: &str) -> Failure {
    Failure::new(
        Exit::Refused,
        "ambiguous",
        format!("more than one conversation is called {}", clean_line(text)),
        "Use the first digits of its id, as `ahoy group list` shows them.",
    )
}

/// The last lines of a conversation, oldest first.
pub(crate) async fn last_lines(
    client: &Client,
    conversation: ConversationId,
    wanted: usize,
) -> Result<Vec<Line>, Failure> {
    let mut lines: Vec<Line> = Vec::new();
    while lines.len() < wanted {
        let before: Option<Position> = lines.last().map(|line| line.position);
        let page = client.history(conversation, before, (wanted - lines.len()).min(LINES_MAX)).await?;
        if page.is_empty() {
            break;
        }
        lines.extend(page);
    }
    lines.reverse();
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use ahoy_client::member::{ContactState, ConversationStanding, Message, Presence};

    use super::*;

    fn conversation(id: u8, kind: Kind) -> Conversation {
        let conversation = ConversationId([id; 16]);
        let standing = ConversationStanding::Inside;
        let summary = Summary { conversation, kind, standing, members: 2, head: 0, read: 0 };
        Conversation { summary, unread: 0, last: None }
    }

    fn titled(id: u8, title: &str) -> Conversation {
        conversation(id, Kind::Group { title: title.to_owned() })
    }

    fn person(id: u8, name: &str) -> Person {
        Person { account: AccountId([id; 16]), name: Name::parse(name).unwrap() }
    }

    fn contact(person: Person) -> Contact {
        let presence = Presence::default();
        Contact { person, state: ContactState::Accepted, since: 0, note: None, alias: None, presence }
    }

    #[test]
    fn a_conversation_is_meant_by_name_by_title_or_by_the_first_digits_of_its_id() {
        let bob = person(9, "bob");
        let all = [
            titled(0xab, "Crew"),
            titled(0xcd, "crew two"),
            conversation(1, Kind::Pair(bob.account, Some(bob.clone()))),
        ];
        let meant = |text| meant(&all, &[contact(bob.clone())], "example.org", text);
        assert_eq!(meant("Crew").unwrap(), Meant::Conversation(ConversationId([0xab; 16])));
        assert_eq!(meant("CDCD").unwrap(), Meant::Conversation(ConversationId([0xcd; 16])));
        assert_eq!(meant("bob@example.org").unwrap(), Meant::Conversation(ConversationId([1; 16])));
        assert_eq!(meant("carol").unwrap(), Meant::Person(Name::parse("carol").unwrap()));
        assert_eq!(meant("No such crew").unwrap_err().code, "no-such-conversation");
    }

    fn line(body: MessageBody) -> Line {
        let reference = MessageRef { device: ahoy_proto::DeviceId([7; 16]), number: 3 };
        let message =
            Message { reference, account: AccountId([9; 16]), sequence: Some(4), at_ms: 1_764_079_500_000, body };
        Line {
            message,
            position: serde_json::from_value(json!({ "sequence": 4, "born": 4 })).unwrap(),
            edited: true,
            deleted: false,
            reactions: vec![(AccountId([1; 16]), "👍".to_owned())],
            failed: false,
            local: 4,
        }
    }

    fn names() -> Names {
        let mut names = Names { own: Some(AccountId([1; 16])), ..Names::default() };
        names.know(person(1, "alice"));
        names.take_contact(&contact(person(9, "bob")));
        names.take_summary(&titled(0xab, "Crew").summary);
        names
    }

    #[test]
    fn a_line_is_an_object_for_programs_as_it_was_written() {
        let text = "a\u{1b}[31m".to_owned();
        let object = names().object(ConversationId([0xab; 16]), &line(MessageBody::Text { text, reply_to: None }));
        assert_eq!(object["group"], "Crew");
        assert_eq!(object["from"], "bob");
        assert_eq!(object["text"], "a\u{1b}[31m");
        assert_eq!(object["id"], format!("{}:3", "07".repeat(16)));
        assert_eq!(object["reactions"], json!([{ "by": "alice", "emoji": "👍" }]));
        assert!(object.get("state").is_none(), "it is not an own message");
        let joined = vec![AccountId([9; 16])];
        let object =
            names().object(ConversationId([0xab; 16]), &line(MessageBody::Membership { joined, left: vec![] }));
        assert_eq!(object["joined"], json!(["bob"]));
    }

    #[test]
    fn a_line_for_people_has_no_escape_sequences_and_its_lines_are_indented() {
        let clock = Clock { now_ms: 1_764_079_500_000, zone: jiff::tz::TimeZone::UTC };
        let text = "one\u{1b}]0;x\u{7}\ntwo\n".to_owned();
        let text =
            names().text_in(&clock, ConversationId([0xab; 16]), &line(MessageBody::Text { text, reply_to: None }));
        assert_eq!(text, "14:05         bob (Crew): one]0;x\n              two (edited)  [👍]");
    }

    #[test]
    fn what_could_be_two_things_is_asked_about() {
        let bob = contact(person(9, "bob"));
        let all = [titled(1, "Crew"), titled(2, "Crew"), titled(3, "bob")];
        assert_eq!(meant(&all, &[], "example.org", "Crew").unwrap_err().code, "ambiguous");
        assert_eq!(meant(&all, &[bob], "example.org", "bob").unwrap_err().code, "ambiguous");
        assert_eq!(meant(&all, &[], "example.org", "bob").unwrap(), Meant::Conversation(ConversationId([3; 16])));
        assert_eq!(group(&all, "0101").unwrap(), ConversationId([1; 16]));
        assert_eq!(group(&all, "010").unwrap_err().code, "no-such-conversation");
    }
}
