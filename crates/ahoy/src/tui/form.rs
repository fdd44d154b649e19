//! Sheets over the conversation: what each says and offers, as rows that are drawn and operated all alike.
//!
//! A sheet is a list of [`Row`]s made from the model each time; those that can be chosen are its *stops*.

use std::collections::BTreeSet;

use ahoy_client::driver::Device;
use ahoy_client::member::{Contact, ContactState, MessageRef, SettingsChange};
use ahoy_proto::v1::{Availability, CallsFrom};
use ahoy_proto::{AccountId, ConversationId, DeviceId, Name};

use super::field::{Field, FieldKind};
use super::message::{COMMANDS, Command, Effect};
use super::model::{Entry, Fate, Model, availability_word, last_seen_words};
use super::theme::Tone;
use crate::text::{clean, clean_line};

/// Emoji that are offered; any other can be typed.
const EMOJI: [&str; 6] = ["👍", "❤️", "😂", "🎉", "😮", "😢"];

/// A sheet.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Form {
    pub(crate) kind: FormKind,
    pub(crate) fields: Vec<Field>,
    /// Which stop is chosen.
    pub(crate) cursor: usize,
    /// People that are ticked.
    pub(crate) picks: BTreeSet<AccountId>,
}

/// What a sheet is about.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum FormKind {
    SignIn { is_new: bool, error: Option<String> },
    RecoveryCode(String),
    Help,
    Menu,
    Add { found: Option<Vec<Name>> },
    Requests,
    Person(AccountId),
    Group(ConversationId),
    NewGroup,
    Invite(ConversationId),
    Presence,
    Compare { name: Name, code: Option<Result<String, String>> },
    Settings,
    Devices(Option<Vec<Device>>),
    Line { conversation: ConversationId, reference: MessageRef },
    React { conversation: ConversationId, reference: MessageRef },
    Prompt(Prompt),
    Confirm { question: String, word: &'static str, effect: Box<Effect> },
}

/// A single thing that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Prompt {
    Alias(AccountId),
    Rename(ConversationId),
    RenameDevice(DeviceId),
    Report(AccountId),
}

/// What stands in a sheet.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Row {
    Gap,
    Text(String, Tone),
    Field { index: usize, label: &'static str },
    Item { text: String, detail: String, tone: Tone, key: Option<char>, deed: Deed },
    Button { text: &'static str, tone: Tone, deed: Deed },
}

/// What choosing a stop does.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Deed {
    Close,
    Command(Command),
    /// Done, and the sheet closes.
    Effect(Effect),
    /// Done, and the sheet stays.
    EffectHere(Effect),
    Open(FormKind),
    /// In place of this sheet.
    Turn(FormKind),
    /// Ticks somebody, or no longer.
    Pick(AccountId),
    /// Puts the name into the first field.
    Take(Name),
    /// What the fields say.
    Submit,
    Search,
    Reply(MessageRef),
    EditLine(MessageRef),
}

impl Form {
    /// A sheet as it opens.
    pub(crate) fn new(kind: FormKind, model: &Model) -> Self {
        let line = |text: &str| Field::new(FieldKind::Line, text);
        let secret = || Field::new(FieldKind::Secret, "");
        let fields = match &kind {
            FormKind::SignIn { is_new, .. } => {
                let mut fields = vec![line(&model.me.network), line(&model.me.name), secret()];
                fields.extend(is_new.then(secret));
                fields
            }
            FormKind::Add { .. } => vec![line(""), line("")],
            FormKind::NewGroup | FormKind::React { .. } => vec![line("")],
            FormKind::Presence => vec![line(&model.settings.mood)],
            FormKind::Prompt(Prompt::Rename(id)) => vec![line(&model.entry_name(Entry::Conversation(*id)))],
            FormKind::Prompt(Prompt::Alias(account)) => {
                let alias = model.contacts.get(account).and_then(|contact| contact.alias.as_deref());
                vec![line(alias.unwrap_or_default())]
            }
            FormKind::Prompt(_) => vec![line("")],
            _ => Vec::new(),
        };
        // What can't be undone is not the first choice; who has signed in before starts with what is missing.
        let cursor = match &kind {
            FormKind::Confirm { .. } => 1,
            FormKind::SignIn { .. } => {
                [&model.me.network, &model.me.name].into_iter().take_while(|text| !text.is_empty()).count()
            }
            _ => 0,
        };
        Self { kind, fields, cursor, picks: BTreeSet::new() }
    }

    /// The rows that can be chosen.
    pub(crate) fn stops(&self, model: &Model) -> Vec<Row> {
        self.rows(model).into_iter().filter(Row::is_stop).collect()
    }

    /// The field that is being typed in.
    pub(crate) fn field_index(&self, model: &Model) -> Option<usize> {
        match self.stops(model).get(self.cursor) {
            Some(Row::Field { index, .. }) => Some(*index),
            _ => None,
        }
    }

    pub(crate) fn is_in_field(&self, model: &Model) -> bool {
        self.field_index(model).is_some()
    }

    pub(crate) fn text(&self, index: usize) -> &str {
        self.fields.get(index).map_or("", Field::text)
    }

    pub(crate) fn title(&self, model: &Model) -> String {
        match &self.kind {
            FormKind::SignIn { is_new: false, .. } => "Welcome aboard".to_owned(),
            FormKind::SignIn { is_new: true, .. } => "A new account".to_owned(),
            FormKind::RecoveryCode(_) => "Your recovery code".to_owned(),
            FormKind::Help => "Help".to_owned(),
            FormKind::Menu => "Menu".to_owned(),
            FormKind::Add { .. } => "Add a contact".to_owned(),
            FormKind::Requests => "Contact requests".to_owned(),
            FormKind::Person(account) => model.name_of(*account),
            FormKind::Group(id) => model.entry_name(Entry::Conversation(*id)),
            FormKind::NewGroup => "New group".to_owned(),
            FormKind::Invite(_) => "Invite".to_owned(),
            FormKind::Presence => "How others see you".to_owned(),
            FormKind::Compare { name, .. } => format!("Your keys and those of {name}"),
            FormKind::Settings => "Settings".to_owned(),
            FormKind::Devices(_) => "Your devices".to_owned(),
            FormKind::Line { .. } => "Message".to_owned(),
            FormKind::React { .. } => "Reaction".to_owned(),
            FormKind::Prompt(Prompt::Alias(account)) => format!("Your name for {}", model.name_of(*account)),
            FormKind::Prompt(Prompt::Rename(_)) => "Title of the group".to_owned(),
            FormKind::Prompt(Prompt::RenameDevice(_)) => "Name of the device".to_owned(),
            FormKind::Prompt(Prompt::Report(account)) => format!("Report {}", model.name_of(*account)),
            FormKind::Confirm { .. } => "Are you sure?".to_owned(),
        }
    }

    /// Everything that the sheet says and offers.
    pub(crate) fn rows(&self, model: &Model) -> Vec<Row> {
        match &self.kind {
            FormKind::SignIn { is_new, error } => sign_in_rows(*is_new, error.as_deref()),
            FormKind::RecoveryCode(code) => code_rows(code),
            FormKind::Help => help_rows(),
            FormKind::Menu => menu_rows(),
            FormKind::Add { found } => add_rows(found.as_deref()),
            FormKind::Requests => request_rows(model),
            FormKind::Person(account) => person_rows(model, *account),
            FormKind::Group(id) => group_rows(model, *id),
            FormKind::NewGroup => {
                let mut rows = vec![Row::Field { index: 0, label: "Title" }, Row::Gap];
                rows.extend(self.pick_rows(model, &BTreeSet::new()));
                rows.push(Row::Button { text: "Make the group", tone: Tone::Good, deed: Deed::Submit });
                rows
            }
            FormKind::Invite(id) => {
                let members = model.conversations.get(id).map(|talk| &talk.members[..]).unwrap_or_default();
                let mut rows = self.pick_rows(model, &members.iter().map(|member| member.account).collect());
                rows.push(Row::Button { text: "Invite", tone: Tone::Good, deed: Deed::Submit });
                rows
            }
            FormKind::Presence => presence_rows(model),
            FormKind::Compare { name, code } => compare_rows(name, code.as_ref()),
            FormKind::Settings => settings_rows(model),
            FormKind::Devices(devices) => device_rows(devices.as_deref()),
            FormKind::Line { conversation, reference } => line_rows(model, *conversation, *reference),
            FormKind::React { conversation, reference } => react_rows(model, *conversation, *reference),
            FormKind::Prompt(prompt) => prompt_rows(prompt),
            FormKind::Confirm { question, word, effect } => vec![
                text(question, Tone::Normal),
                Row::Gap,
                Row::Button { text: word, tone: Tone::Bad, deed: Deed::Effect((**effect).clone()) },
                Row::Button { text: "No, go back", tone: Tone::Normal, deed: Deed::Close },
            ],
        }
    }

    /// Contacts to be ticked.
    fn pick_rows(&self, model: &Model, without: &BTreeSet<AccountId>) -> Vec<Row> {
        let mut rows = Vec::new();
        for contact in model.friends() {
            let account = contact.person.account;
            if without.contains(&account) {
                continue;
            }
            let mark = if self.picks.contains(&account) { "[x]" } else { "[ ]" };
            rows.push(item(&format!("{mark} {}", model.name_of(account)), "", Deed::Pick(account)));
        }
        if rows.is_empty() {
            rows.push(text("None of your contacts is left to choose from.", Tone::Dim));
        }
        rows.push(Row::Gap);
        rows
    }
}

impl Row {
    fn is_stop(&self) -> bool {
        matches!(self, Self::Field { .. } | Self::Item { .. } | Self::Button { .. })
    }
}

fn text(text: &str, tone: Tone) -> Row {
    Row::Text(text.to_owned(), tone)
}

fn item(text: &str, detail: &str, deed: Deed) -> Row {
    Row::Item { text: text.to_owned(), detail: detail.to_owned(), tone: Tone::Normal, key: None, deed }
}

fn keyed(key: char, text: &str, tone: Tone, deed: Deed) -> Row {
    Row::Item { text: text.to_owned(), detail: String::new(), tone, key: Some(key), deed }
}

fn confirm(question: String, word: &'static str, effect: Effect) -> Deed {
    Deed::Open(FormKind::Confirm { question, word, effect: Box::new(effect) })
}

fn sign_in_rows(is_new: bool, error: Option<&str>) -> Vec<Row> {
    let mut rows = vec![Row::Field { index: 0, label: "Network" }, Row::Field { index: 1, label: "Name" }];
    rows.push(Row::Field { index: 2, label: "Password" });
    if is_new {
        rows.push(Row::Field { index: 3, label: "Once more" });
    }
    rows.push(Row::Gap);
    rows.extend(error.map(|error| text(error, Tone::Bad)));
    if is_new {
        rows.push(Row::Button { text: "Make the account", tone: Tone::Good, deed: Deed::Submit });
        let turn = Deed::Turn(FormKind::SignIn { is_new: false, error: None });
        rows.push(Row::Button { text: "I have an account", tone: Tone::Normal, deed: turn });
    } else {
        rows.push(Row::Button { text: "Sign in", tone: Tone::Good, deed: Deed::Submit });
        let turn = Deed::Turn(FormKind::SignIn { is_new: true, error: None });
        rows.push(Row::Button { text: "I am new here", tone: Tone::Normal, deed: turn });
    }
    rows.push(Row::Button { text: "Leave", tone: Tone::Normal, deed: Deed::Command(Command::Quit) });
    rows
}

fn code_rows(code: &str) -> Vec<Row> {
    vec![
        text(
            "Write it down and keep it away from this computer. It is the only way back in when the password is lost; nobody else has it, and it is not shown again.",
            Tone::Normal,
        ),
        Row::Gap,
        text(code, Tone::Accent),
        Row::Gap,
        Row::Button { text: "I have written it down", tone: Tone::Good, deed: Deed::Effect(Effect::CodeKept) },
    ]
}

fn help_rows() -> Vec<Row> {
    let mut rows =
        vec![text("In the list a letter is enough; anywhere else, Alt and the letter.", Tone::Normal), Row::Gap];
    for (command, key, what) in COMMANDS {
        rows.push(keyed(key, what, Tone::Normal, Deed::Command(command)));
    }
    let keys = [
        "↑ ↓ choose · Enter goes in · Esc goes back",
        "Tab goes from list to messages to writing",
        "Ctrl-N Ctrl-P next and previous conversation",
        "PgUp PgDn scroll, wherever you are",
        "Alt-Enter or Ctrl-J starts a new line",
        "On a message: r reply · e edit · x delete · + react",
        "The mouse works, too: click, and turn the wheel",
    ];
    rows.push(Row::Gap);
    rows.extend(keys.map(|line| text(line, Tone::Normal)));
    rows.push(Row::Gap);
    rows.push(text("sent ·   received ✓   read ✓✓", Tone::Dim));
    rows
}

fn menu_rows() -> Vec<Row> {
    let shown = COMMANDS.into_iter().filter(|(command, ..)| !matches!(command, Command::Menu));
    shown.map(|(command, key, what)| keyed(key, what, Tone::Normal, Deed::Command(command))).collect()
}

fn add_rows(found: Option<&[Name]>) -> Vec<Row> {
    let mut rows = vec![
        Row::Field { index: 0, label: "Name" },
        Row::Field { index: 1, label: "A note for them" },
        text("Plain text of at most 280 characters; only they can read it.", Tone::Dim),
        Row::Gap,
        Row::Button { text: "Ask to become a contact", tone: Tone::Good, deed: Deed::Submit },
        Row::Button { text: "Search for names that begin so", tone: Tone::Normal, deed: Deed::Search },
    ];
    let Some(found) = found else { return rows };
    rows.push(Row::Gap);
    if found.is_empty() {
        rows.push(text("Nobody who wishes to be found has such a name.", Tone::Dim));
    }
    rows.extend(found.iter().map(|name| item(name.as_str(), "", Deed::Take(name.clone()))));
    rows
}

fn request_rows(model: &Model) -> Vec<Row> {
    let mut rows = Vec::new();
    for contact in model.requests() {
        let name = &contact.person.name;
        rows.push(text(name.as_str(), Tone::Strong));
        match contact.note.as_deref().map(clean).filter(|note| !note.trim().is_empty()) {
            Some(note) => rows.push(Row::Text(note, Tone::Normal)),
            None => rows.push(text("wrote nothing", Tone::Dim)),
        }
        let answer = |accept| Deed::EffectHere(Effect::AnswerRequest { name: name.clone(), accept });
        rows.push(Row::Item {
            text: "Accept".to_owned(),
            detail: String::new(),
            tone: Tone::Good,
            key: None,
            deed: answer(true),
        });
        rows.push(item("Decline", "they are not told", answer(false)));
        let question = format!("Block {name}? To them it looks as if you were never there.");
        rows.push(item("Block", "", confirm(question, "Block", Effect::Block { name: name.clone(), block: true })));
        rows.push(Row::Gap);
    }
    if rows.is_empty() {
        rows.push(text("Nobody asks at the moment.", Tone::Dim));
        rows.push(Row::Gap);
    }
    rows.push(Row::Button { text: "Close", tone: Tone::Normal, deed: Deed::Close });
    rows
}

fn person_rows(model: &Model, account: AccountId) -> Vec<Row> {
    let Some(name) = model.account_name(account) else { return vec![text("This name is not known here.", Tone::Dim)] };
    let contact = model.contacts.get(&account);
    let state = contact.map_or(ContactState::None, |contact| contact.state);
    let mut rows = vec![
        text(&format!("{name}@{}", model.me.network), Tone::Dim),
        text(&standing_words(contact), Tone::Normal),
        Row::Gap,
    ];
    if state == ContactState::Accepted {
        rows.push(keyed('c', "Call", Tone::Normal, Deed::Effect(Effect::Call(name.clone()))));
    }
    rows.push(keyed(
        'v',
        "Compare keys",
        Tone::Normal,
        Deed::Open(FormKind::Compare { name: name.clone(), code: None }),
    ));
    match state {
        ContactState::None => {
            let ask = Effect::Ask { name: name.clone(), note: String::new() };
            rows.push(keyed('a', "Ask to become a contact", Tone::Normal, Deed::Effect(ask)));
        }
        ContactState::Asks => rows.push(keyed('r', "Answer the request", Tone::Normal, Deed::Open(FormKind::Requests))),
        ContactState::Blocked => {
            let effect = Effect::Block { name: name.clone(), block: false };
            rows.push(keyed('u', "Unblock", Tone::Normal, Deed::Effect(effect)));
        }
        ContactState::Asked | ContactState::Accepted => {
            rows.push(keyed('l', "Give an alias", Tone::Normal, Deed::Open(FormKind::Prompt(Prompt::Alias(account)))));
            let question = format!("Remove {name} from your contacts? You disappear from theirs, too.");
            rows.push(keyed('x', "Remove", Tone::Bad, confirm(question, "Remove", Effect::Remove(name.clone()))));
        }
    }
    if state != ContactState::Blocked {
        let question = format!("Block {name}? To them it looks as if you were never there.");
        rows.push(keyed(
            'b',
            "Block",
            Tone::Bad,
            confirm(question, "Block", Effect::Block { name: name.clone(), block: true }),
        ));
    }
    rows.push(keyed('o', "Report to the operator", Tone::Bad, Deed::Open(FormKind::Prompt(Prompt::Report(account)))));
    rows.push(Row::Gap);
    rows.push(Row::Button { text: "Close", tone: Tone::Normal, deed: Deed::Close });
    rows
}

/// How somebody stands, and what they show of themselves.
pub(crate) fn standing_words(contact: Option<&Contact>) -> String {
    let Some(contact) = contact else { return "not a contact".to_owned() };
    match contact.state {
        ContactState::None => "not a contact".to_owned(),
        ContactState::Asked => "asked, has not answered".to_owned(),
        ContactState::Asks => "asks to become a contact".to_owned(),
        ContactState::Blocked => "blocked".to_owned(),
        ContactState::Accepted => {
            let presence = &contact.presence;
            let mut words = vec![availability_word(presence.availability).to_owned()];
            if presence.availability == Availability::Offline {
                words.push(last_seen_words(presence.last_seen).to_owned());
            }
            words.push(clean_line(&presence.mood));
            words.retain(|word| !word.is_empty());
            words.join(" · ")
        }
    }
}

fn group_rows(model: &Model, id: ConversationId) -> Vec<Row> {
    let Some(talk) = model.conversations.get(&id) else { return vec![text("The group is gone.", Tone::Dim)] };
    let is_owner = talk.members.iter().any(|member| member.is_owner && member.account == model.me.account);
    let mut rows = vec![text(&format!("{} members", talk.summary.members), Tone::Dim)];
    for member in &talk.members {
        let account = member.account;
        let role = if member.is_owner { "owner" } else { "" };
        let label = match &member.person {
            Some(person) if account != model.me.account => {
                let alias = model.name_of(account);
                if alias == person.name.as_str() || alias == "somebody" {
                    person.name.to_string()
                } else {
                    format!("{alias} ({})", person.name)
                }
            }
            _ => model.name_of(account),
        };
        match &member.person {
            Some(person) if is_owner && account != model.me.account => {
                let effect = Effect::RemoveMember { conversation: id, name: person.name.clone() };
                let question = format!("Remove {} from the group?", person.name);
                rows.push(item(&label, "Enter removes", confirm(question, "Remove", effect)));
            }
            Some(_) if account != model.me.account => {
                rows.push(item(&label, role, Deed::Open(FormKind::Person(account))))
            }
            _ => rows.push(Row::Text(if role.is_empty() { label } else { format!("{label} ({role})") }, Tone::Normal)),
        }
    }
    if talk.members.is_empty() {
        rows.push(text("Asking who they are …", Tone::Dim));
    }
    rows.push(Row::Gap);
    rows.push(keyed('i', "Invite", Tone::Normal, Deed::Open(FormKind::Invite(id))));
    rows.push(keyed('t', "Change the title", Tone::Normal, Deed::Open(FormKind::Prompt(Prompt::Rename(id)))));
    let question = "Leave the group? To come back you have to be invited again.".to_owned();
    rows.push(keyed('x', "Leave the group", Tone::Bad, confirm(question, "Leave", Effect::Leave(id))));
    rows.push(Row::Gap);
    rows.push(Row::Button { text: "Close", tone: Tone::Normal, deed: Deed::Close });
    rows
}

fn presence_rows(model: &Model) -> Vec<Row> {
    let choices = [
        (Availability::Online, 'o', "Online", "away by itself when no key is pressed"),
        (Availability::Away, 'a', "Away", ""),
        (Availability::DoNotDisturb, 'd', "Do not disturb", "calls don't ring aloud"),
        (Availability::Invisible, 'i', "Invisible", "others see you offline"),
    ];
    let mut rows: Vec<Row> = Vec::new();
    for (availability, key, word, detail) in choices {
        let change = SettingsChange { availability: Some(availability), ..SettingsChange::default() };
        let mark = if model.settings.availability == availability { "(•)" } else { "( )" };
        let deed = Deed::EffectHere(Effect::Change(change));
        rows.push(Row::Item {
            text: format!("{mark} {word}"),
            detail: detail.to_owned(),
            tone: Tone::Normal,
            key: Some(key),
            deed,
        });
    }
    rows.push(Row::Gap);
    rows.push(Row::Field { index: 0, label: "Mood" });
    rows.push(text("At most 140 characters, for your contacts.", Tone::Dim));
    rows.push(Row::Gap);
    rows.push(Row::Button { text: "Set the mood", tone: Tone::Good, deed: Deed::Submit });
    rows.push(Row::Button { text: "Close", tone: Tone::Normal, deed: Deed::Close });
    rows
}

fn compare_rows(name: &Name, code: Option<&Result<String, String>>) -> Vec<Row> {
    let mut rows = Vec::new();
    match code {
        None => rows.push(text("Asking for the keys …", Tone::Dim)),
        Some(Ok(code)) => {
            let groups: Vec<&str> = code.split(' ').collect();
            rows.extend(groups.chunks(4).map(|line| text(&line.join("  "), Tone::Accent)));
            rows.push(Row::Gap);
            rows.push(text(
                "Read the digits to each other, by voice or face to face. If they are the same, nobody stands in between.",
                Tone::Normal,
            ));
        }
        Some(Err(why)) => {
            rows.push(text(why, Tone::Bad));
            rows.push(Row::Gap);
            let question =
                format!("Accept the new key of {name}? Do so only if {name} told you by another way that it changed.");
            rows.push(keyed(
                'k',
                "Accept the new key",
                Tone::Bad,
                confirm(question, "Accept", Effect::AcceptKey(name.clone())),
            ));
        }
    }
    rows.push(Row::Gap);
    rows.push(Row::Button { text: "Close", tone: Tone::Normal, deed: Deed::Close });
    rows
}

fn settings_rows(model: &Model) -> Vec<Row> {
    let mut rows = vec![text("Who may ring", Tone::Strong)];
    let choices = [
        (CallsFrom::Contacts, "Contacts", "others ask to become one"),
        (CallsFrom::Anyone, "Anyone", "everybody with an account"),
        (CallsFrom::Nobody, "Nobody", "it looks as if you were away"),
    ];
    for (calls_from, word, detail) in choices {
        let mark = if model.settings.calls_from == calls_from { "(•)" } else { "( )" };
        let change = SettingsChange { calls_from: Some(calls_from), ..SettingsChange::default() };
        rows.push(item(&format!("{mark} {word}"), detail, Deed::EffectHere(Effect::Change(change))));
    }
    rows.push(Row::Gap);
    let listed = model.settings.listed;
    let change = SettingsChange { listed: Some(!listed), ..SettingsChange::default() };
    let mark = if listed { "[x]" } else { "[ ]" };
    rows.push(item(&format!("{mark} The directory shows my name"), "", Deed::EffectHere(Effect::Change(change))));
    rows.push(Row::Gap);
    rows.push(text(
        "The password, the recovery code and the end of the account are for the command line: `ahoy --help`.",
        Tone::Dim,
    ));
    rows.push(Row::Gap);
    rows.push(Row::Button { text: "Close", tone: Tone::Normal, deed: Deed::Close });
    rows
}

fn device_rows(devices: Option<&[Device]>) -> Vec<Row> {
    let mut rows = Vec::new();
    let Some(devices) = devices else { return vec![text("Asking which there are …", Tone::Dim)] };
    for Device { device, name, last_seen, is_own, .. } in devices {
        let (device, name) = (*device, clean_line(name));
        let here = if *is_own { "this one" } else { last_seen_words(*last_seen) };
        rows.push(Row::Text(format!("{name}  {here}"), Tone::Strong));
        rows.push(item("Rename", "", Deed::Open(FormKind::Prompt(Prompt::RenameDevice(device)))));
        if *is_own {
            rows.push(Row::Gap);
            continue;
        }
        let question = format!("Sign out the device “{name}” for good? It can't read or call any more.");
        rows.push(item("Sign out", "", confirm(question, "Sign it out", Effect::RevokeDevice(device))));
        rows.push(Row::Gap);
    }
    rows.push(Row::Button { text: "Close", tone: Tone::Normal, deed: Deed::Close });
    rows
}

fn line_rows(model: &Model, conversation: ConversationId, reference: MessageRef) -> Vec<Row> {
    let line = model.conversations.get(&conversation).and_then(|talk| talk.line(reference));
    let Some(line) = line else { return vec![text("The message is gone.", Tone::Dim)] };
    let mut rows = vec![Row::Text(
        format!("{}  {}", model.name_of(line.message.account), model.clock.exact(line.message.at_ms)),
        Tone::Dim,
    )];
    rows.push(Row::Text(model.line_text(line), Tone::Normal));
    for reaction in &line.reactions {
        let names: Vec<String> = reaction.by.iter().map(|account| model.name_of(*account)).collect();
        rows.push(Row::Text(format!("{} {}", clean_line(&reaction.emoji), names.join(", ")), Tone::Dim));
    }
    rows.push(Row::Gap);
    if line.is_text() && line.fate != Fate::Deleted {
        rows.push(keyed('r', "Reply", Tone::Normal, Deed::Reply(reference)));
        rows.push(keyed('+', "React", Tone::Normal, Deed::Turn(FormKind::React { conversation, reference })));
        if line.message.account == model.me.account {
            rows.push(keyed('e', "Edit", Tone::Normal, Deed::EditLine(reference)));
            let effect = Effect::Delete { conversation, target: reference };
            let question = "Take this message back? It disappears from everybody's device.".to_owned();
            rows.push(keyed('x', "Delete", Tone::Bad, confirm(question, "Delete", effect)));
        }
    }
    rows.push(Row::Gap);
    rows.push(Row::Button { text: "Close", tone: Tone::Normal, deed: Deed::Close });
    rows
}

fn react_rows(model: &Model, conversation: ConversationId, reference: MessageRef) -> Vec<Row> {
    let line = model.conversations.get(&conversation).and_then(|talk| talk.line(reference));
    let is_set = |emoji: &str| {
        line.is_some_and(|line| {
            line.reactions.iter().any(|reaction| reaction.emoji == emoji && reaction.by.contains(&model.me.account))
        })
    };
    let mut rows = Vec::new();
    for (emoji, key) in EMOJI.into_iter().zip('1'..) {
        let effect = Effect::React { conversation, target: reference, emoji: emoji.to_owned(), set: !is_set(emoji) };
        let text = if is_set(emoji) { format!("{emoji} (take back)") } else { emoji.to_owned() };
        rows.push(keyed(key, &text, Tone::Normal, Deed::Effect(effect)));
    }
    rows.push(Row::Field { index: 0, label: "Another" });
    rows
}

fn prompt_rows(prompt: &Prompt) -> Vec<Row> {
    let (label, advice, word) = match prompt {
        Prompt::Alias(_) => ("Alias", "Only on this device. Empty: their own name again.", "Give"),
        Prompt::Rename(_) => ("Title", "All members see it.", "Change"),
        Prompt::RenameDevice(_) => ("Name", "Only you see it.", "Change"),
        Prompt::Report(_) => (
            "What happened",
            "The operator gets your words and the last 20 messages of your conversation with them, sealed; nobody else does.",
            "Report",
        ),
    };
    vec![
        Row::Field { index: 0, label },
        text(advice, Tone::Dim),
        Row::Gap,
        Row::Button { text: word, tone: Tone::Good, deed: Deed::Submit },
        Row::Button { text: "Go back", tone: Tone::Normal, deed: Deed::Close },
    ]
}
