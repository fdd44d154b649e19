//! What word from the network does to the model.

use ahoy_client::member::{Change, ContactState, Kind};
use ahoy_proto::CallId;
use ahoy_proto::v1::Availability;

use crate::talk::{ending_text, missed_text};
use crate::text::clean_line;
use crate::tui::form::{Form, FormKind};
use crate::tui::message::{Effect, Everything, News};
use crate::tui::model::{
    Call, CallStage, Conversation, Entry, Figures, Focus, Link, Model, Stage, TYPING_MS, ToastKind,
};
use crate::when::lasted;

impl Model {
    pub(super) fn handle_news(&mut self, news: News, effects: &mut Vec<Effect>) {
        match news {
            News::SignedOut { network } => {
                self.stage = Stage::SignedOut;
                self.me.network = network;
                self.forms = vec![Form::new(FormKind::SignIn { is_new: false, error: None }, self)];
            }
            News::Starting(what) => self.stage = Stage::Starting(what),
            News::RecoveryCode(code) => self.forms = vec![Form::new(FormKind::RecoveryCode(code), self)],
            News::SignedIn { me, round_trip_ms } => {
                self.me = me;
                self.link = Link::Up { round_trip_ms };
                self.stage = Stage::Running;
                self.forms.clear();
                let talk = self.entries().into_iter().find(|entry| matches!(entry, Entry::Conversation(_)));
                self.open = talk.unwrap_or(Entry::Nothing);
            }
            News::Everything(everything) => self.take_everything(*everything),
            News::LinkUp { round_trip_ms } => self.link = Link::Up { round_trip_ms },
            News::LinkLost => self.link = Link::Lost,
            News::Stopped(why) => {
                self.forms.clear();
                self.call = None;
                self.stage = Stage::Stopped(why);
            }
            News::Done(text) => self.toast(ToastKind::Good, text),
            News::Failed { text, advice } => self.fail(&text, &advice),
            News::NewOwnDevice => self.toast(
                ToastKind::Bad,
                "A device that was not known here signed in to your account. If it is not yours, sign it out (d) and change the password.",
            ),
            News::KeyChanged(name) => self.toast(
                ToastKind::Bad,
                format!("The account key of {name} has changed. Ask {name} by another way, and compare keys (v), before anything else."),
            ),
            news => self.handle_people_news(news, effects),
        }
    }

    fn handle_people_news(&mut self, news: News, effects: &mut Vec<Effect>) {
        match news {
            News::Contact(contact) => self.take_contact(contact),
            News::Presence(account, presence) => {
                if let Some(contact) = self.contacts.get_mut(&account) {
                    contact.presence = presence;
                }
            }
            News::Settings(settings) => self.settings = settings,
            News::Found(names) => self.turn_form(|kind| {
                if let FormKind::Add { found } = kind {
                    *found = Some(names);
                }
            }),
            News::Devices(records) => self.turn_form(|kind| {
                if let FormKind::Devices(devices) = kind {
                    *devices = Some(records);
                }
            }),
            News::Comparison { name, code } => self.turn_form(|kind| match kind {
                FormKind::Compare { name: asked, code: answer } if *asked == name => *answer = Some(code),
                _ => {}
            }),
            News::Calling { .. }
            | News::Ringing { .. }
            | News::Incoming { .. }
            | News::Connected { .. }
            | News::Figures(_)
            | News::CallTrouble(_)
            | News::CallWell
            | News::CallEnded { .. } => self.handle_call_news(news, effects),
            news => self.handle_talk_news(news, effects),
        }
    }

    fn handle_talk_news(&mut self, news: News, effects: &mut Vec<Effect>) {
        match news {
            News::Conversation(summary) => {
                let id = summary.conversation;
                match self.conversations.get_mut(&id) {
                    Some(talk) => {
                        let read = talk.summary.read.max(summary.read);
                        if talk.summary.members != summary.members {
                            talk.members.clear();
                        }
                        talk.summary = summary;
                        talk.summary.read = read;
                        if talk.is_group() && talk.members.is_empty() && self.open == Entry::Conversation(id) {
                            effects.push(Effect::Members(id));
                        }
                    }
                    None => {
                        if let Kind::Pair(_, Some(person)) = &summary.kind {
                            self.names.insert(person.account, person.name.clone());
                        }
                        self.conversations.insert(id, Conversation::new(summary));
                        if self.awaited == Some(id) {
                            self.open_made(id);
                        }
                    }
                }
            }
            News::ConversationLeft { conversation, by } => self.drop_conversation(conversation, by),
            News::Lines { conversation, lines, are_more } => {
                if let Some(talk) = self.conversations.get_mut(&conversation) {
                    talk.prepend(lines, are_more);
                }
            }
            News::History { conversation, change } => self.take_change(conversation, &change, effects),
            News::Receipt { conversation, account, receipt } => {
                if let Some(talk) = self.conversations.get_mut(&conversation) {
                    let known = talk.receipts.entry(account).or_default();
                    known.delivered = known.delivered.max(receipt.delivered);
                    known.read = known.read.max(receipt.read);
                }
            }
            News::Typing { conversation, account, typing } => {
                let until_ms = self.clock.now_ms + TYPING_MS;
                if let Some(talk) = self.conversations.get_mut(&conversation) {
                    if typing {
                        talk.typing.insert(account, until_ms)
                    } else {
                        talk.typing.remove(&account)
                    };
                }
            }
            News::Members { conversation, members } => {
                let people = members.iter().filter_map(|member| member.person.as_ref());
                self.names.extend(people.map(|person| (person.account, person.name.clone())));
                if let Some(talk) = self.conversations.get_mut(&conversation) {
                    talk.members = members;
                }
            }
            News::Opened(conversation) => self.open_made(conversation),
            _ => {}
        }
    }

    /// Opens a conversation that was asked for, or remembers to.
    fn open_made(&mut self, conversation: ahoy_proto::ConversationId) {
        if !self.conversations.contains_key(&conversation) {
            self.awaited = Some(conversation);
            return;
        }
        self.awaited = None;
        self.open = Entry::Conversation(conversation);
        self.picked = None;
        self.scrolled = 0;
        if self.can_write() {
            self.focus = Focus::Input;
        }
    }

    fn take_everything(&mut self, everything: Everything) {
        let Everything { settings, contacts, conversations } = everything;
        if let Some(settings) = settings {
            self.settings = settings;
        }
        self.contacts = contacts.into_iter().map(|contact| (contact.person.account, contact)).collect();
        for talk in &conversations {
            let people = talk.members.iter().filter_map(|member| member.person.as_ref());
            self.names.extend(people.map(|person| (person.account, person.name.clone())));
        }
        self.conversations = conversations.into_iter().map(|talk| (talk.id(), talk)).collect();
    }

    fn take_contact(&mut self, contact: ahoy_client::member::Contact) {
        let account = contact.person.account;
        let name = contact.person.name.clone();
        let before = self.contacts.get(&account).map(|contact| contact.state);
        self.names.insert(account, name.clone());
        let state = contact.state;
        if state == ContactState::None {
            self.contacts.remove(&account);
        } else {
            self.contacts.insert(account, contact);
        }
        if self.stage != Stage::Running {
            return;
        }
        match (before, state) {
            (Some(ContactState::Asks), ContactState::Asks) => {}
            (_, ContactState::Asks) => self.toast(ToastKind::Good, format!("{name} asks to become a contact (r).")),
            (Some(ContactState::Asked), ContactState::Accepted) => {
                self.toast(ToastKind::Good, format!("{name} is a contact now."))
            }
            _ => {}
        }
    }

    fn take_change(&mut self, conversation: ahoy_proto::ConversationId, change: &Change, effects: &mut Vec<Effect>) {
        let me = self.me.account;
        let Some(talk) = self.conversations.get_mut(&conversation) else { return };
        let before = talk.lines.len();
        talk.apply(change);
        let is_new = talk.lines.len() > before;
        let Change::Put(message) = change else { return };
        let elsewhere = self.open != Entry::Conversation(conversation) || self.is_away || self.focus == Focus::People;
        if is_new && message.account != me && self.stage == Stage::Running && elsewhere && self.bells() {
            effects.push(Effect::Bell);
        }
    }

    /// Whether anything may sound.
    fn bells(&self) -> bool {
        self.settings.availability != Availability::DoNotDisturb
    }

    fn drop_conversation(&mut self, conversation: ahoy_proto::ConversationId, by: Option<ahoy_proto::AccountId>) {
        let name = self.entry_name(Entry::Conversation(conversation));
        if self.conversations.remove(&conversation).is_some() {
            let text = match by {
                Some(account) => format!("{} removed you from {name}.", self.name_of(account)),
                None => format!("You are not in {name} any more."),
            };
            self.toast(ToastKind::Good, text);
        }
        self.drafts.remove(&Entry::Conversation(conversation));
        self.forms
            .retain(|form| !matches!(form.kind, FormKind::Group(id) | FormKind::Invite(id) if id == conversation));
    }

    fn handle_call_news(&mut self, news: News, effects: &mut Vec<Effect>) {
        match news {
            News::Calling { call } => {
                if let Some(running) = &mut self.call {
                    running.stage = CallStage::Calling { call, rings: false };
                }
            }
            News::Ringing { call } => {
                if let Some(running) = self.call_of(call) {
                    running.stage = CallStage::Calling { call, rings: true };
                }
            }
            News::Incoming { call, from, quiet } => {
                self.call = Some(Call { peer: from, stage: CallStage::Incoming { call } });
                if !quiet {
                    effects.push(Effect::Bell);
                }
            }
            News::Connected { call, peer } => {
                let stage = CallStage::Running { call, figures: Figures::default(), trouble: None };
                self.call = Some(Call { peer, stage });
                if !self.has_sound {
                    self.toast(
                        ToastKind::Bad,
                        "This ahoy is built without microphone and loudspeaker: you send silence and hear nothing.",
                    );
                }
            }
            News::Figures(now) => self.change_call(|figures, _| *figures = now),
            News::CallTrouble(text) => self.change_call(|_, trouble| *trouble = Some(text)),
            News::CallWell => self.change_call(|_, trouble| *trouble = None),
            News::CallEnded { call, ending } => {
                let same = call.is_none_or(|call| self.call_of(call).is_some());
                let Some(Call { peer, stage }) = self.call.take_if(|_| same) else { return };
                let text = match (ending, stage) {
                    (None, _) => return,
                    (Some(ending), CallStage::Incoming { .. }) => missed_text(&ending, &peer),
                    (Some(ending), CallStage::Running { figures, .. }) => {
                        format!("{} after {}.", ending_text(&ending, &peer), lasted(figures.seconds))
                    }
                    (Some(ending), _) => format!("{}.", ending_text(&ending, &peer)),
                };
                self.toast(ToastKind::Good, text);
            }
            _ => {}
        }
    }

    fn call_of(&mut self, wanted: CallId) -> Option<&mut Call> {
        self.call.as_mut().filter(|running| match running.stage {
            CallStage::Placing => true,
            CallStage::Calling { call, .. } | CallStage::Incoming { call } | CallStage::Running { call, .. } => {
                call == wanted
            }
        })
    }

    fn change_call(&mut self, change: impl FnOnce(&mut Figures, &mut Option<&'static str>)) {
        if let Some(Call { stage: CallStage::Running { figures, trouble, .. }, .. }) = &mut self.call {
            change(figures, trouble);
        }
    }

    /// Changes what the topmost sheet knows, if it still is the one that asked.
    fn turn_form(&mut self, change: impl FnOnce(&mut FormKind)) {
        if let Some(form) = self.forms.last_mut() {
            change(&mut form.kind);
        }
    }

    fn fail(&mut self, text: &str, advice: &str) {
        let mut text = clean_line(text);
        if let Some(first) = text.get(..1).map(str::to_uppercase) {
            text.replace_range(..1, &first);
        }
        let sentence = if advice.is_empty() { format!("{text}.") } else { format!("{text}. {advice}") };
        if let Stage::Entering { is_new } = self.stage {
            self.stage = Stage::SignedOut;
            self.forms = vec![Form::new(FormKind::SignIn { is_new, error: Some(sentence) }, self)];
            return;
        }
        self.toast(ToastKind::Bad, sentence);
    }
}
