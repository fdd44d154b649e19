//! What inputs do to the model. Pure: what is to be done outside comes out as effects.

mod forms;
mod news;

use ahoy_client::member::{MessageBody, MessageRef};
use ratatui::crossterm::event::{
    KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};
use ratatui::layout::Position;

use super::form::{Form, FormKind, Prompt};
use super::message::{COMMANDS, Command, Effect, Input, Press};
use super::model::{Call, CallStage, Draft, Drawn, Entry, Fate, Focus, Model, Older, Purpose, Stage, ToastKind};

/// Rows that one turn of the wheel moves.
const WHEEL: usize = 3;

/// Without a key for this long nobody is taken to sit here.
const AWAY_AFTER_MS: u64 = 5 * 60_000;

/// Others are told again that one types after this long.
const TYPING_AGAIN_MS: u64 = 5_000;

/// Takes in one input.
pub(crate) fn update(model: &mut Model, input: Input) -> Vec<Effect> {
    let mut effects = Vec::new();
    match input {
        Input::Key(key) if key.kind != KeyEventKind::Release => {
            model.stir(&mut effects);
            model.handle_key(key, &mut effects);
        }
        Input::Key(_) => {}
        Input::Mouse(mouse) => {
            if matches!(mouse.kind, MouseEventKind::Down(_)) {
                model.stir(&mut effects);
            }
            model.handle_mouse(mouse, &mut effects);
        }
        Input::Pasted(text) => model.handle_pasted(&text, &mut effects),
        Input::Drawn(drawn) => model.handle_drawn(drawn, &mut effects),
        Input::Tick(now_ms) => model.handle_tick(now_ms, &mut effects),
        Input::News(news) => model.handle_news(news, &mut effects),
    }
    model.settle();
    model.read(&mut effects);
    effects
}

impl Model {
    /// Somebody is here.
    fn stir(&mut self, effects: &mut Vec<Effect>) {
        self.pressed_ms = self.clock.now_ms;
        if self.is_away {
            self.is_away = false;
            effects.push(Effect::Activity { away: false });
        }
    }

    fn handle_tick(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        self.clock.now_ms = now_ms;
        self.toasts.retain(|toast| toast.until_ms > now_ms);
        for talk in self.conversations.values_mut() {
            talk.typing.retain(|_, until_ms| *until_ms > now_ms);
        }
        let in_call = matches!(self.call, Some(Call { stage: CallStage::Running { .. }, .. }));
        let idle = now_ms.saturating_sub(self.pressed_ms) >= AWAY_AFTER_MS;
        if self.stage == Stage::Running && idle && !in_call && !self.is_away {
            self.is_away = true;
            effects.push(Effect::Activity { away: true });
        }
    }

    fn handle_drawn(&mut self, drawn: Drawn, effects: &mut Vec<Effect>) {
        self.scrolled = drawn.scrolled;
        self.reveal = None;
        if drawn.at_top {
            self.want_older(effects);
        }
        self.drawn = drawn;
    }

    fn want_older(&mut self, effects: &mut Vec<Effect>) {
        let Entry::Conversation(id) = self.open else { return };
        let Some(talk) = self.conversations.get_mut(&id) else { return };
        let Some(first) = talk.lines.front() else { return };
        if talk.older == Older::There {
            talk.older = Older::Asked;
            effects.push(Effect::Older { conversation: id, before: first.message.reference });
        }
    }

    /// What is shown to somebody who looks at it is read.
    fn read(&mut self, effects: &mut Vec<Effect>) {
        let looks =
            self.stage == Stage::Running && self.focus != Focus::People && self.forms.is_empty() && !self.is_away;
        let (Entry::Conversation(id), true, 0) = (self.open, looks, self.scrolled) else { return };
        let Some(talk) = self.conversations.get_mut(&id) else { return };
        let newest = talk.newest();
        if newest > talk.summary.read {
            talk.summary.read = newest;
            effects.push(Effect::Read { conversation: id, up_to: newest });
        }
    }

    /// Puts right what the last change may have left hanging.
    fn settle(&mut self) {
        if matches!(self.open, Entry::Conversation(_) | Entry::Person(_) | Entry::Requests) {
            let entries = self.entries();
            if !entries.contains(&self.open) {
                // A person has become a conversation, or the other way round.
                let account = self.peer();
                let with = account
                    .and_then(|account| self.conversation_with(account))
                    .map(|talk| Entry::Conversation(talk.id()));
                let before = self.open;
                self.open = with.filter(|entry| entries.contains(entry)).unwrap_or(Entry::Nothing);
                if let Some(draft) = self.drafts.remove(&before).filter(|_| self.open != Entry::Nothing) {
                    self.drafts.insert(self.open, draft);
                }
                if self.open == Entry::Nothing {
                    self.focus = Focus::People;
                }
            }
        }
        if self.picked.is_some_and(|reference| self.talk().is_none_or(|talk| talk.line(reference).is_none())) {
            self.picked = None;
        }
        let Some(form) = self.forms.last() else { return };
        let last = form.stops(self).len().saturating_sub(1);
        if let Some(form) = self.forms.last_mut() {
            form.cursor = form.cursor.min(last);
        }
    }

    fn handle_key(&mut self, key: KeyEvent, effects: &mut Vec<Effect>) {
        if key.modifiers.contains(KeyModifiers::CONTROL) && matches!(key.code, KeyCode::Char('c' | 'q')) {
            self.quit(effects);
            return;
        }
        // A call can't wait until a sheet is closed.
        if key.modifiers.contains(KeyModifiers::ALT) && matches!(key.code, KeyCode::Char('y' | 'n' | 'h')) {
            let KeyCode::Char(letter) = key.code else { return };
            self.run_letter(letter, effects);
            return;
        }
        if !self.forms.is_empty() {
            self.handle_form_key(key, effects);
            return;
        }
        match self.stage {
            Stage::Running => {}
            Stage::SignedOut | Stage::Starting(_) | Stage::Entering { .. } => return,
            Stage::Stopped(_) => {
                effects.push(Effect::Quit);
                return;
            }
        }
        if key.code == KeyCode::F(1) {
            self.run(Command::Help, effects);
        } else if let (KeyCode::Char(letter), true) = (key.code, key.modifiers.contains(KeyModifiers::ALT)) {
            self.run_letter(letter, effects);
        } else if !self.handle_everywhere(key, effects) {
            match self.focus {
                Focus::People => self.handle_people_key(key, effects),
                Focus::Lines => self.handle_lines_key(key, effects),
                Focus::Input => self.handle_input_key(key, effects),
            }
        }
    }

    /// Leaving ends a call, so that is asked about; asked twice, it is meant.
    fn quit(&mut self, effects: &mut Vec<Effect>) {
        let asked = matches!(self.forms.last(), Some(Form { kind: FormKind::Confirm { effect, .. }, .. }) if **effect == Effect::Quit);
        if self.call.is_none() || asked {
            effects.push(Effect::Quit);
            return;
        }
        let question = "A call goes on. Hang up and leave?".to_owned();
        let kind = FormKind::Confirm { question, word: "Hang up and leave", effect: Box::new(Effect::Quit) };
        self.push_form(Form::new(kind, self));
    }

    fn run_letter(&mut self, letter: char, effects: &mut Vec<Effect>) -> bool {
        let found = COMMANDS.into_iter().find(|(_, key, _)| *key == letter);
        if let Some((command, ..)) = found {
            self.run(command, effects);
        }
        found.is_some()
    }

    /// Keys that mean the same wherever the focus is.
    fn handle_everywhere(&mut self, key: KeyEvent, effects: &mut Vec<Effect>) -> bool {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        let page = usize::from(self.drawn.lines.height.saturating_sub(2)).max(1);
        match key.code {
            KeyCode::PageUp => self.scroll_up(page),
            KeyCode::PageDown => self.scrolled = self.scrolled.saturating_sub(page),
            KeyCode::Char('n') if control => self.step(1, effects),
            KeyCode::Char('p') if control => self.step(-1, effects),
            KeyCode::Tab => self.turn_focus(true),
            KeyCode::BackTab => self.turn_focus(false),
            _ => return false,
        }
        true
    }

    fn scroll_up(&mut self, rows: usize) {
        let max = self.drawn.scroll_max.unwrap_or(usize::MAX);
        self.scrolled = self.scrolled.saturating_add(rows).min(max);
    }

    /// The next entry of the list, or the one before.
    fn step(&mut self, by: isize, effects: &mut Vec<Effect>) {
        let entries = self.entries();
        let Some(last) = entries.len().checked_sub(1) else { return };
        let at = entries.iter().position(|entry| *entry == self.open);
        let next = match at {
            Some(at) => at.saturating_add_signed(by).min(last),
            None => 0,
        };
        self.choose(entries[next], effects);
    }

    /// Shows an entry of the list.
    fn choose(&mut self, entry: Entry, effects: &mut Vec<Effect>) {
        if self.open == entry {
            return;
        }
        self.open = entry;
        self.scrolled = 0;
        self.picked = None;
        if matches!(entry, Entry::Nothing | Entry::Requests) {
            self.focus = Focus::People;
        }
        if let Some(talk) = self.talk()
            && talk.is_group()
            && talk.members.is_empty()
        {
            effects.push(Effect::Members(talk.id()));
        }
    }

    /// Goes into what is chosen.
    fn go_in(&mut self, effects: &mut Vec<Effect>) {
        match self.open {
            Entry::Nothing => {}
            Entry::Requests => self.run(Command::Requests, effects),
            Entry::Conversation(_) | Entry::Person(_) if self.can_write() => self.focus = Focus::Input,
            Entry::Conversation(_) => self.focus = Focus::Lines,
            Entry::Person(_) => self.run(Command::Details, effects),
        }
    }

    fn turn_focus(&mut self, forward: bool) {
        if !matches!(self.open, Entry::Conversation(_) | Entry::Person(_)) {
            self.focus = Focus::People;
            return;
        }
        let next = match (self.focus, forward) {
            (Focus::People, true) | (Focus::Input, false) => Focus::Lines,
            (Focus::Lines, true) | (Focus::People, false) => Focus::Input,
            (Focus::Input, true) | (Focus::Lines, false) => Focus::People,
        };
        self.focus = if next == Focus::Input && !self.can_write() { Focus::People } else { next };
        if self.focus == Focus::Lines && self.picked.is_none() {
            self.pick(-1);
        }
    }

    fn handle_people_key(&mut self, key: KeyEvent, effects: &mut Vec<Effect>) {
        match key.code {
            KeyCode::Up => self.step(-1, effects),
            KeyCode::Down => self.step(1, effects),
            KeyCode::Home => self.step(isize::MIN / 2, effects),
            KeyCode::End => self.step(isize::MAX / 2, effects),
            KeyCode::Enter | KeyCode::Right => self.go_in(effects),
            KeyCode::Char(letter) => {
                self.run_letter(letter, effects);
            }
            _ => {}
        }
    }

    fn handle_lines_key(&mut self, key: KeyEvent, effects: &mut Vec<Effect>) {
        match key.code {
            KeyCode::Up => self.pick(-1),
            KeyCode::Down => self.pick(1),
            KeyCode::Home => self.pick(isize::MIN / 2),
            KeyCode::End => self.pick(isize::MAX / 2),
            KeyCode::Esc | KeyCode::Left => self.focus = Focus::People,
            KeyCode::Enter => self.open_line(None),
            KeyCode::Char(letter @ ('r' | 'e' | 'x' | '+')) if self.picked.is_some() => self.open_line(Some(letter)),
            KeyCode::Char(letter) => {
                self.run_letter(letter, effects);
            }
            _ => {}
        }
    }

    /// Chooses another line.
    fn pick(&mut self, by: isize) {
        let Some(talk) = self.talk() else { return };
        let texts: Vec<MessageRef> =
            talk.lines.iter().filter(|line| line.is_text()).map(|line| line.message.reference).collect();
        let Some(last) = texts.len().checked_sub(1) else { return };
        let at = self.picked.and_then(|reference| texts.iter().position(|other| *other == reference));
        let next = at.map_or(last, |at| at.saturating_add_signed(by).min(last));
        self.picked = Some(texts[next]);
        self.reveal = self.picked;
    }

    /// The sheet of the chosen line, or at once what the letter stands for.
    fn open_line(&mut self, letter: Option<char>) {
        let (Entry::Conversation(conversation), Some(reference)) = (self.open, self.picked) else { return };
        let Some(line) = self.talk().and_then(|talk| talk.line(reference)) else { return };
        let own = line.message.account == self.me.account;
        let alive = line.is_text() && line.fate != Fate::Deleted;
        match letter {
            Some('r') if alive => self.reply(reference),
            Some('e') if alive && own => self.edit(reference),
            Some('+') if alive => self.push_form(Form::new(FormKind::React { conversation, reference }, self)),
            Some('x') if alive && own => {
                let effect = Box::new(Effect::Delete { conversation, target: reference });
                let question = "Take this message back? It disappears from everybody's device.".to_owned();
                self.push_form(Form::new(FormKind::Confirm { question, word: "Delete", effect }, self));
            }
            Some(_) => {}
            None => self.push_form(Form::new(FormKind::Line { conversation, reference }, self)),
        }
    }

    fn draft(&mut self) -> &mut Draft {
        self.drafts.entry(self.open).or_default()
    }

    fn reply(&mut self, reference: MessageRef) {
        if self.can_write() {
            self.draft().purpose = Purpose::Reply(reference);
            self.focus = Focus::Input;
        }
    }

    fn edit(&mut self, reference: MessageRef) {
        let line = self.talk().and_then(|talk| talk.line(reference));
        let Some(MessageBody::Text { text, .. }) = line.map(|line| line.message.body.clone()) else { return };
        if self.can_write() {
            let draft = self.draft();
            draft.field.take();
            draft.field.insert(&text);
            draft.purpose = Purpose::Edit(reference);
            self.focus = Focus::Input;
        }
    }

    fn handle_input_key(&mut self, key: KeyEvent, effects: &mut Vec<Effect>) {
        if !self.can_write() {
            self.focus = Focus::People;
            return;
        }
        match key.code {
            KeyCode::Enter if key.modifiers.is_empty() => self.send(effects),
            KeyCode::Enter => self.draft().field.insert("\n"),
            KeyCode::Esc => match self.draft().purpose {
                Purpose::New => self.focus = Focus::People,
                Purpose::Reply(_) => self.draft().purpose = Purpose::New,
                Purpose::Edit(_) => *self.draft() = Draft::default(),
            },
            KeyCode::Up if self.draft().field.is_empty() => {
                self.focus = Focus::Lines;
                self.pick(-1);
            }
            _ => {
                if self.draft().field.handle_key(key) {
                    self.tell_typing(effects);
                }
            }
        }
    }

    fn tell_typing(&mut self, effects: &mut Vec<Effect>) {
        let Entry::Conversation(conversation) = self.open else { return };
        let now_ms = self.clock.now_ms;
        if !self.draft().field.is_empty() && now_ms.saturating_sub(self.typed_ms) >= TYPING_AGAIN_MS {
            self.typed_ms = now_ms;
            effects.push(Effect::Typing { conversation, typing: true });
        }
    }

    fn send(&mut self, effects: &mut Vec<Effect>) {
        let to = self.open;
        let text = self.draft().field.text().trim_end().to_owned();
        if text.trim().is_empty() {
            return;
        }
        let Draft { purpose, .. } = self.drafts.remove(&to).unwrap_or_default();
        self.scrolled = 0;
        self.typed_ms = 0;
        match (purpose, to) {
            (Purpose::Edit(target), Entry::Conversation(conversation)) => {
                effects.push(Effect::Edit { conversation, target, text });
            }
            (Purpose::Reply(reference), _) => effects.push(Effect::Send { to, text, reply_to: Some(reference) }),
            _ => effects.push(Effect::Send { to, text, reply_to: None }),
        }
    }

    fn handle_pasted(&mut self, text: &str, effects: &mut Vec<Effect>) {
        if let Some(form) = self.forms.last() {
            let Some(index) = form.field_index(self) else { return };
            if let Some(field) = self.forms.last_mut().and_then(|form| form.fields.get_mut(index)) {
                field.insert(text);
            }
        } else if self.stage == Stage::Running && self.focus == Focus::Input && self.can_write() {
            self.draft().field.insert(text);
            self.tell_typing(effects);
        }
    }

    fn handle_mouse(&mut self, mouse: MouseEvent, effects: &mut Vec<Effect>) {
        let at = Position::new(mouse.column, mouse.row);
        match mouse.kind {
            MouseEventKind::ScrollUp => self.wheel(at, true, effects),
            MouseEventKind::ScrollDown => self.wheel(at, false, effects),
            MouseEventKind::Down(button @ (MouseButton::Left | MouseButton::Right)) => {
                let press =
                    self.drawn.regions.iter().rev().find(|(area, _)| area.contains(at)).map(|(_, press)| press.clone());
                self.press(press.unwrap_or(Press::Nothing), button, effects);
            }
            _ => {}
        }
    }

    fn wheel(&mut self, at: Position, up: bool, effects: &mut Vec<Effect>) {
        if !self.forms.is_empty() {
            self.move_stop(!up);
        } else if self.drawn.lines.contains(at) {
            if up { self.scroll_up(WHEEL) } else { self.scrolled = self.scrolled.saturating_sub(WHEEL) }
        } else if self.stage == Stage::Running {
            self.step(if up { -1 } else { 1 }, effects);
        }
    }

    fn press(&mut self, press: Press, button: MouseButton, effects: &mut Vec<Effect>) {
        match press {
            Press::Nothing => {}
            Press::Command(command) => self.run(command, effects),
            Press::Entry(entry) => {
                self.choose(entry, effects);
                self.go_in(effects);
            }
            Press::Line(reference) => {
                self.focus = Focus::Lines;
                let again = self.picked.replace(reference) == Some(reference);
                if again || button == MouseButton::Right {
                    self.open_line(None);
                }
            }
            Press::Focus(Focus::Input) if !self.can_write() => {}
            Press::Focus(focus) => self.focus = focus,
            Press::Stop(index) => {
                if let Some(form) = self.forms.last_mut() {
                    form.cursor = index;
                }
                self.settle();
                let in_field = self.forms.last().is_some_and(|form| form.is_in_field(self));
                if !in_field {
                    self.act(effects);
                }
            }
        }
    }

    /// Does what was asked for, as far as it makes sense now.
    fn run(&mut self, command: Command, effects: &mut Vec<Effect>) {
        let peer = self.peer().and_then(|account| self.account_name(account));
        let kind = match command {
            Command::Quit => return self.quit(effects),
            Command::Close => {
                self.close_form();
                return;
            }
            Command::Answer => return self.answer(effects),
            Command::Decline => return self.decline(effects),
            Command::HangUp => return self.hang_up(effects),
            _ if self.stage != Stage::Running => return,
            Command::Call => return self.place(peer, effects),
            Command::Compare => {
                let Some(name) = peer else { return self.say_no_person() };
                effects.push(Effect::Compare(name.clone()));
                FormKind::Compare { name, code: None }
            }
            Command::Details => match (self.open, self.peer()) {
                (_, Some(account)) => FormKind::Person(account),
                (Entry::Conversation(id), None) => {
                    effects.push(Effect::Members(id));
                    FormKind::Group(id)
                }
                _ => return self.say_no_person(),
            },
            Command::Devices => {
                effects.push(Effect::Devices);
                FormKind::Devices(None)
            }
            Command::Help => FormKind::Help,
            Command::Menu => FormKind::Menu,
            Command::Add => FormKind::Add { found: None },
            Command::Group => FormKind::NewGroup,
            Command::Requests => FormKind::Requests,
            Command::Presence => FormKind::Presence,
            Command::Settings => FormKind::Settings,
        };
        if self.forms.last().is_none_or(|form| form.kind != kind) {
            self.push_form(Form::new(kind, self));
        }
    }

    fn say_no_person(&mut self) {
        self.toast(ToastKind::Bad, "Choose somebody in the list first.");
    }

    fn place(&mut self, peer: Option<ahoy_proto::Name>, effects: &mut Vec<Effect>) {
        let Some(peer) = peer else {
            return self.toast(ToastKind::Bad, "Calls are between two: choose somebody in the list first.");
        };
        if self.call.is_some() {
            return self.toast(ToastKind::Bad, "There is a call already: hang up first.");
        }
        self.call = Some(Call { peer: peer.clone(), stage: CallStage::Placing });
        effects.push(Effect::Call(peer));
    }

    fn answer(&self, effects: &mut Vec<Effect>) {
        if let Some(Call { stage: CallStage::Incoming { call }, peer }) = &self.call {
            effects.push(Effect::Answer { call: *call, peer: peer.clone() });
        }
    }

    fn decline(&mut self, effects: &mut Vec<Effect>) {
        if let Some(Call { stage: CallStage::Incoming { call }, .. }) = self.call {
            self.call = None;
            effects.push(Effect::Decline(call));
        }
    }

    fn hang_up(&mut self, effects: &mut Vec<Effect>) {
        match &self.call {
            Some(Call { stage: CallStage::Calling { call, .. } | CallStage::Running { call, .. }, .. }) => {
                effects.push(Effect::HangUp(*call));
            }
            Some(Call { stage: CallStage::Incoming { .. }, .. }) => self.decline(effects),
            Some(Call { stage: CallStage::Placing, .. }) | None => {}
        }
    }

    /// What a prompt asks for belongs to this.
    fn prompt_name(&self, prompt: &Prompt) -> Option<ahoy_proto::Name> {
        match prompt {
            Prompt::Alias(account) | Prompt::Report(account) => self.account_name(*account),
            Prompt::Rename(_) | Prompt::RenameDevice(_) => None,
        }
    }
}
