//! How sheets are operated.

use ahoy_client::member::SettingsChange;
use ahoy_proto::Name;
use ahoy_proto::limits::{MOOD_CHARACTERS_MAX, NOTE_CHARACTERS_MAX, SEARCH_PREFIX_MIN, TITLE_CHARACTERS_MAX};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::tui::form::{Deed, Form, FormKind, Prompt, Row};
use crate::tui::message::{Effect, Entrance};
use crate::tui::model::{Model, Stage, ToastKind};

impl Model {
    pub(super) fn handle_form_key(&mut self, key: KeyEvent, effects: &mut Vec<Effect>) {
        let Some(form) = self.forms.last() else { return };
        let field = form.field_index(self);
        match key.code {
            KeyCode::Esc => self.close_form(),
            KeyCode::Down | KeyCode::Tab => self.move_stop(true),
            KeyCode::Up | KeyCode::BackTab => self.move_stop(false),
            KeyCode::PageDown => (0..10).for_each(|_| self.move_stop(true)),
            KeyCode::PageUp => (0..10).for_each(|_| self.move_stop(false)),
            KeyCode::Enter => self.act(effects),
            KeyCode::Char(' ') if field.is_none() => self.act(effects),
            KeyCode::Char(letter) if field.is_none() && !key.modifiers.contains(KeyModifiers::CONTROL) => {
                self.act_by_letter(letter, effects);
            }
            _ => {
                let text = field.and_then(|index| self.forms.last_mut()?.fields.get_mut(index));
                if let Some(text) = text {
                    text.handle_key(key);
                }
            }
        }
    }

    /// Closes the topmost sheet, if it may be.
    pub(super) fn close_form(&mut self) {
        if self.can_close() {
            self.forms.pop();
        }
    }

    pub(super) fn move_stop(&mut self, forward: bool) {
        let Some(form) = self.forms.last() else { return };
        let count = form.stops(self).len().max(1);
        let Some(form) = self.forms.last_mut() else { return };
        form.cursor = if forward { (form.cursor + 1) % count } else { (form.cursor + count - 1) % count };
    }

    fn act_by_letter(&mut self, letter: char, effects: &mut Vec<Effect>) {
        let Some(form) = self.forms.last() else { return };
        let stops = form.stops(self);
        let found = stops.iter().position(|row| matches!(row, Row::Item { key: Some(key), .. } if *key == letter));
        if let (Some(at), Some(form)) = (found, self.forms.last_mut()) {
            form.cursor = at;
            self.act(effects);
        }
    }

    /// What Enter and a click do.
    pub(super) fn act(&mut self, effects: &mut Vec<Effect>) {
        let Some(form) = self.forms.last() else { return };
        let stops = form.stops(self);
        match stops.get(form.cursor) {
            Some(Row::Field { index, .. }) => {
                if index + 1 == form.fields.len() {
                    self.submit(effects);
                } else {
                    self.move_stop(true);
                }
            }
            Some(Row::Item { deed, .. } | Row::Button { deed, .. }) => self.perform(deed.clone(), effects),
            Some(Row::Gap | Row::Text(..)) | None => self.close_form(),
        }
    }

    fn perform(&mut self, deed: Deed, effects: &mut Vec<Effect>) {
        match deed {
            Deed::Close => self.close_form(),
            Deed::Command(command) => {
                self.close_form();
                self.run(command, effects);
            }
            Deed::Effect(effect) => {
                self.forms.pop();
                self.carry_out(effect, effects);
            }
            Deed::EffectHere(effect) => self.carry_out(effect, effects),
            Deed::Open(kind) => {
                if let FormKind::Compare { name, .. } = &kind {
                    effects.push(Effect::Compare(name.clone()));
                }
                self.push_form(Form::new(kind, self));
            }
            Deed::Turn(kind) => {
                let typed = self.forms.pop().map(|form| form.fields).unwrap_or_default();
                let mut form = Form::new(kind, self);
                for (field, typed) in form.fields.iter_mut().zip(typed) {
                    *field = typed;
                }
                self.push_form(form);
            }
            Deed::Pick(account) => {
                if let Some(form) = self.forms.last_mut()
                    && !form.picks.remove(&account)
                {
                    form.picks.insert(account);
                }
            }
            Deed::Take(name) => {
                if let Some(form) = self.forms.last_mut() {
                    form.fields[0].take();
                    form.fields[0].insert(name.as_str());
                    form.cursor = 1;
                }
            }
            Deed::Submit => self.submit(effects),
            Deed::Search => self.search(effects),
            Deed::Reply(reference) => {
                self.close_form();
                self.reply(reference);
            }
            Deed::EditLine(reference) => {
                self.close_form();
                self.edit(reference);
            }
        }
    }

    /// An effect, with what of it is seen at once.
    fn carry_out(&mut self, effect: Effect, effects: &mut Vec<Effect>) {
        match effect {
            Effect::Call(name) => self.place(Some(name), effects),
            Effect::Leave(_) | Effect::Remove(_) | Effect::Block { .. } => {
                // The sheet under the question is about somebody who is gone now.
                if self.stage == Stage::Running
                    && !matches!(self.forms.last(), Some(Form { kind: FormKind::Requests, .. }))
                {
                    self.forms.clear();
                }
                effects.push(effect);
            }
            Effect::AcceptKey(_) => {
                self.forms.clear();
                effects.push(effect);
            }
            effect => effects.push(effect),
        }
    }

    fn search(&mut self, effects: &mut Vec<Effect>) {
        let Some(form) = self.forms.last() else { return };
        let prefix = form.text(0).trim().to_lowercase();
        if prefix.chars().count() < SEARCH_PREFIX_MIN {
            return self
                .toast(ToastKind::Bad, format!("A search needs at least {SEARCH_PREFIX_MIN} letters of the name."));
        }
        effects.push(Effect::Search(prefix));
    }

    /// What the fields of the topmost sheet say is to be done.
    fn submit(&mut self, effects: &mut Vec<Effect>) {
        let Some(form) = self.forms.last().cloned() else { return };
        let result = match &form.kind {
            FormKind::SignIn { is_new, .. } => return self.enter(&form, *is_new, effects),
            FormKind::Add { .. } => self.request(&form),
            FormKind::NewGroup => self.create(&form),
            FormKind::Invite(conversation) => {
                self.picked_names(&form).map(|names| Effect::Invite { conversation: *conversation, names })
            }
            FormKind::Presence => within(form.text(0), 0, MOOD_CHARACTERS_MAX, "The mood")
                .map(|mood| Effect::Change(SettingsChange { mood: Some(mood), ..SettingsChange::default() })),
            FormKind::React { conversation, reference } => within(form.text(0), 1, 8, "The reaction")
                .map(|emoji| Effect::React { conversation: *conversation, target: *reference, emoji, set: true }),
            FormKind::Prompt(prompt) => self.prompted(&form, prompt),
            _ => return,
        };
        match result {
            Ok(effect) => {
                self.close_form();
                effects.push(effect);
            }
            Err(why) => self.toast(ToastKind::Bad, why),
        }
    }

    fn request(&self, form: &Form) -> Result<Effect, String> {
        let text = form.text(0).trim();
        let text = match text.split_once('@') {
            Some((name, network)) if network.eq_ignore_ascii_case(&self.me.network) => name,
            Some(_) => return Err(format!("Contacts are of {}: other networks are separate.", self.me.network)),
            None => text,
        };
        let name = Name::parse(text).map_err(|error| format!("{error}."))?;
        if name.as_str() == self.me.name {
            return Err("That is your own name.".to_owned());
        }
        let note = within(form.text(1), 0, NOTE_CHARACTERS_MAX, "The note")?;
        Ok(Effect::Ask { name, note })
    }

    fn create(&self, form: &Form) -> Result<Effect, String> {
        let title = within(form.text(0), 1, TITLE_CHARACTERS_MAX, "The title")?;
        Ok(Effect::CreateGroup { title, names: self.picked_names(form)? })
    }

    fn picked_names(&self, form: &Form) -> Result<Vec<Name>, String> {
        let names: Vec<Name> = form.picks.iter().filter_map(|account| self.account_name(*account)).collect();
        if names.is_empty() { Err("Tick at least one contact.".to_owned()) } else { Ok(names) }
    }

    fn prompted(&self, form: &Form, prompt: &Prompt) -> Result<Effect, String> {
        let name = || self.prompt_name(prompt).ok_or_else(|| "This name is not known here.".to_owned());
        match prompt {
            Prompt::Alias(_) => {
                let alias = within(form.text(0), 0, TITLE_CHARACTERS_MAX, "The alias")?;
                Ok(Effect::Alias { name: name()?, alias: Some(alias).filter(|alias| !alias.is_empty()) })
            }
            Prompt::Rename(conversation) => within(form.text(0), 1, TITLE_CHARACTERS_MAX, "The title")
                .map(|title| Effect::Rename { conversation: *conversation, title }),
            Prompt::RenameDevice(device) => within(form.text(0), 1, TITLE_CHARACTERS_MAX, "The name")
                .map(|name| Effect::RenameDevice { device: *device, name }),
            Prompt::Report(_) => {
                let reason = within(form.text(0), 1, NOTE_CHARACTERS_MAX, "The report")?;
                Ok(Effect::Report { name: name()?, reason })
            }
        }
    }

    fn enter(&mut self, form: &Form, is_new: bool, effects: &mut Vec<Effect>) {
        let [network, name, password] = [0, 1, 2].map(|index| form.text(index).to_owned());
        let error = if Name::parse(name.trim()).is_err() {
            Some("A name has 3 to 32 of a-z, 0-9, dot, underscore, hyphen.")
        } else if password.is_empty() {
            Some("A password is needed.")
        } else if is_new && password != form.text(3) {
            Some("The two passwords differ.")
        } else {
            None
        };
        if let Some(error) = error {
            if let Some(form) = self.forms.last_mut() {
                form.kind = FormKind::SignIn { is_new, error: Some(error.to_owned()) };
            }
            return;
        }
        self.me.network.clone_from(&network);
        name.trim().clone_into(&mut self.me.name);
        self.forms.clear();
        self.stage = Stage::Entering { is_new };
        let entrance = Entrance { network, name: name.trim().to_owned(), password, is_new };
        effects.push(Effect::Enter(Box::new(entrance)));
    }
}

/// What was typed, if its length is in order.
fn within(text: &str, min: usize, max: usize, what: &str) -> Result<String, String> {
    let text = text.trim();
    let count = text.chars().count();
    if count < min {
        Err(format!("{what} is missing."))
    } else if count > max {
        Err(format!("{what} is too long: {count} characters, {max} at most."))
    } else {
        Ok(text.to_owned())
    }
}
