//! A text that is being typed.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use unicode_segmentation::UnicodeSegmentation;

use crate::text::clean;

/// What is typed, and where the next letter goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Field {
    text: String,
    /// A grapheme boundary of `text`.
    cursor: usize,
    kind: FieldKind,
}

/// What may be typed and how it is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum FieldKind {
    /// One line.
    #[default]
    Line,
    /// Lines, as a message may have.
    Lines,
    /// One line that is not shown.
    Secret,
}

/// Longest text that can be typed, in bytes: that of a message.
const LENGTH_MAX: usize = ahoy_proto::limits::TEXT_MAX;

impl Field {
    pub(crate) fn new(kind: FieldKind, text: &str) -> Self {
        let mut field = Self { kind, ..Self::default() };
        field.insert(text);
        field
    }

    /// What was typed.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// What is shown, and how much of it stands before the cursor, in bytes.
    pub(crate) fn shown(&self) -> (String, usize) {
        if self.kind != FieldKind::Secret {
            return (self.text.clone(), self.cursor);
        }
        let dots = |text: &str| "•".repeat(text.graphemes(true).count());
        let before = dots(&self.text[..self.cursor]);
        let length = before.len();
        (before + &dots(&self.text[self.cursor..]), length)
    }

    /// Takes the text out.
    pub(crate) fn take(&mut self) -> String {
        self.cursor = 0;
        std::mem::take(&mut self.text)
    }

    /// Puts text in where the cursor is: what is pasted may hold anything.
    pub(crate) fn insert(&mut self, text: &str) {
        let text = clean(text);
        let text = if self.kind == FieldKind::Lines { text } else { text.replace('\n', " ") };
        for grapheme in text.graphemes(true) {
            if self.text.len() + grapheme.len() > LENGTH_MAX {
                return;
            }
            self.text.insert_str(self.cursor, grapheme);
            self.cursor += grapheme.len();
        }
        self.settle();
    }

    /// Takes a key; tells whether it was one for a text field.
    pub(crate) fn handle_key(&mut self, key: KeyEvent) -> bool {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        let alt = key.modifiers.contains(KeyModifiers::ALT);
        match key.code {
            KeyCode::Char('a') if control => self.cursor = self.line_start(),
            KeyCode::Char('e') if control => self.cursor = self.line_end(),
            KeyCode::Char('u') if control => self.remove(self.line_start(), self.cursor),
            KeyCode::Char('k') if control => self.remove(self.cursor, self.line_end()),
            KeyCode::Char('w') if control => self.remove(self.word_before(), self.cursor),
            KeyCode::Backspace if control || alt => self.remove(self.word_before(), self.cursor),
            KeyCode::Char('j') if control && self.kind == FieldKind::Lines => self.insert("\n"),
            KeyCode::Char(_) if control || alt => return false,
            KeyCode::Char(c) => self.insert(c.encode_utf8(&mut [0; 4])),
            KeyCode::Backspace => self.remove(self.before(), self.cursor),
            KeyCode::Delete => self.remove(self.cursor, self.after()),
            KeyCode::Left if control => self.cursor = self.word_before(),
            KeyCode::Right if control => self.cursor = self.word_after(),
            KeyCode::Left => self.cursor = self.before(),
            KeyCode::Right => self.cursor = self.after(),
            KeyCode::Home => self.cursor = self.line_start(),
            KeyCode::End => self.cursor = self.line_end(),
            KeyCode::Up if self.line_start() > 0 => self.cursor = self.line_start() - 1,
            KeyCode::Down if self.line_end() < self.text.len() => self.cursor = self.line_end() + 1,
            _ => return false,
        }
        self.settle();
        true
    }

    fn remove(&mut self, from: usize, to: usize) {
        self.text.replace_range(from..to, "");
        self.cursor = from;
    }

    /// What was put together may have become one grapheme: the cursor moves to its end.
    fn settle(&mut self) {
        let at_boundary = |at: usize| self.text.grapheme_indices(true).any(|(index, _)| index == at);
        if self.cursor < self.text.len() && !at_boundary(self.cursor) {
            self.cursor = self.after();
        }
    }

    fn before(&self) -> usize {
        self.text
            .grapheme_indices(true)
            .map(|(index, _)| index)
            .take_while(|index| *index < self.cursor)
            .last()
            .unwrap_or(0)
    }

    fn after(&self) -> usize {
        self.text
            .grapheme_indices(true)
            .map(|(index, _)| index)
            .find(|index| *index > self.cursor)
            .unwrap_or(self.text.len())
    }

    fn word_before(&self) -> usize {
        let words = self.text.unicode_word_indices();
        words.map(|(index, _)| index).take_while(|index| *index < self.cursor).last().unwrap_or(0)
    }

    fn word_after(&self) -> usize {
        let ends = self.text.unicode_word_indices().map(|(index, word)| index + word.len());
        ends.into_iter().find(|end| *end > self.cursor).unwrap_or(self.text.len())
    }

    fn line_start(&self) -> usize {
        self.text[..self.cursor].rfind('\n').map_or(0, |index| index + 1)
    }

    fn line_end(&self) -> usize {
        self.text[self.cursor..].find('\n').map_or(self.text.len(), |index| self.cursor + index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(field: &mut Field, code: KeyCode, modifiers: KeyModifiers) {
        field.handle_key(KeyEvent::new(code, modifiers));
    }

    #[test]
    fn a_letter_of_several_characters_goes_as_one() {
        let mut field = Field::new(FieldKind::Line, "a👩‍👩‍👧‍👦");
        press(&mut field, KeyCode::Backspace, KeyModifiers::NONE);
        assert_eq!(field.text(), "a");
        press(&mut field, KeyCode::Left, KeyModifiers::NONE);
        press(&mut field, KeyCode::Char('ü'), KeyModifiers::NONE);
        assert_eq!(field.text(), "üa");
    }

    #[test]
    fn words_and_lines_go_at_once() {
        let mut field = Field::new(FieldKind::Lines, "one two\nthree four");
        press(&mut field, KeyCode::Char('w'), KeyModifiers::CONTROL);
        assert_eq!(field.text(), "one two\nthree ");
        press(&mut field, KeyCode::Char('u'), KeyModifiers::CONTROL);
        assert_eq!(field.text(), "one two\n");
    }

    #[test]
    fn what_is_pasted_is_made_harmless_and_fits() {
        let mut field = Field::new(FieldKind::Line, "");
        field.insert("a\x1b[31m\nb");
        assert_eq!(field.text(), "a[31m b");
        field.insert(&"x".repeat(LENGTH_MAX * 2));
        assert!(field.text().len() <= LENGTH_MAX);
        let mut secret = Field::new(FieldKind::Secret, "pass");
        assert_eq!(secret.shown().0, "••••");
        assert_eq!(secret.take(), "pass");
    }
}
