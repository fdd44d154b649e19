//! The conversation: who it is with, what was said, what is being written.

use ahoy_client::member::{ConversationStanding, MessageBody, MessageRef};
use ratatui::layout::Rect;

use super::paint::{Paint, Piece, typed_rows};
use super::people::{dot, mark};
use crate::text::{clean, clean_line, cut, width, wrap};
use crate::tui::form::standing_words;
use crate::tui::message::{Command, Press};
use crate::tui::model::{Conversation, Draft, Entry, Fate, Focus, Line, Model, Older, Purpose, Reach};
use crate::tui::theme::Tone;

/// Longer lines are hard to read.
const TEXT_COLUMNS: u16 = 96;

/// Rows that what is being written may take.
const INPUT_ROWS: u16 = 6;

/// Messages of one account within this time stand under one name.
const TOGETHER_MS: u64 = 5 * 60_000;

/// Header, lines, input.
pub(super) fn draw(model: &Model, paint: &mut Paint<'_>, area: Rect) {
    header(model, paint, area);
    paint.rule(area, 1);
    let (_, rest) = super::split_top(area, 2);
    let draft = model.drafts.get(&model.open).cloned().unwrap_or_default();
    let inner = area.width.saturating_sub(4);
    let (text, cursor) = draft.field.shown();
    let (typed, at) = typed_rows(&text, cursor, inner);
    let typed_height = (typed.len() as u16).min(INPUT_ROWS).min((rest.height / 3).max(1));
    let quote = u16::from(draft.purpose != Purpose::New && rest.height > 6);
    let (rest, input) = super::split_bottom(rest, typed_height + quote);
    let (rest, rule) = super::split_bottom(rest, 1);
    let (lines_area, typing) = super::split_bottom(rest, u16::from(rest.height > 3));
    paint.rule(rule, 0);
    if area.x > 0 {
        let edge = Rect { x: area.x - 1, width: 1, ..rule };
        paint.put(edge, 0, 0, "├", Tone::Dim);
    }
    paint.region(input, Press::Focus(Focus::Input));
    draw_input(model, paint, input, &draft, (&typed, at, quote));
    match model.talk() {
        Some(talk) => {
            draw_typing(model, paint, typing, talk);
            draw_lines(model, paint, lines_area, talk);
        }
        None => draw_nothing_said(model, paint, lines_area),
    }
}

fn header(model: &Model, paint: &mut Paint<'_>, area: Rect) {
    let mut right = area.width;
    let buttons: &[(&str, Command)] = match model.peer() {
        Some(_) if model.can_write() => &[(" i about ", Command::Details), (" c call ", Command::Call)],
        _ => &[(" i about ", Command::Details)],
    };
    for (text, command) in buttons {
        if usize::from(right) > width(text) + 24 {
            let column = right - width(text) as u16;
            paint.put(area, column, 0, text, Tone::Accent);
            paint.region_of(area, 0, (column, right), Press::Command(*command));
            right = column;
        }
    }
    let left = Rect { width: right, ..area };
    let (sign, tone) = model.peer().map_or(("#", Tone::Accent), |account| dot(model, account));
    paint.put(left, 1, 0, sign, tone);
    let column =
        paint.put(left, 3, 0, &cut(&model.entry_name(model.open), usize::from(right).saturating_sub(4)), Tone::Strong);
    let words = match (model.peer(), model.talk()) {
        (Some(account), _) => standing_words(model.contacts.get(&account)),
        (None, Some(talk)) => group_words(model, talk),
        (None, None) => String::new(),
    };
    let room = usize::from(right.saturating_sub(column + 3));
    if room > 4 {
        paint.put(left, column + 2, 0, &cut(&words, room), Tone::Dim);
    }
}

fn group_words(model: &Model, talk: &Conversation) -> String {
    let names: Vec<String> = talk.members.iter().map(|member| model.name_of(member.account)).collect();
    if names.is_empty() { format!("{} members", talk.summary.members) } else { names.join(", ") }
}

fn draw_nothing_said(model: &Model, paint: &mut Paint<'_>, area: Rect) {
    let Entry::Person(account) = model.open else { return };
    let name = model.name_of(account);
    let words = if model.can_write() {
        format!("Nothing said so far. What you write here only {name} can read.")
    } else {
        format!("{name}: {}.", standing_words(model.contacts.get(&account)))
    };
    super::harbour(paint, area, &[(&words, Tone::Dim)]);
}

fn draw_typing(model: &Model, paint: &mut Paint<'_>, area: Rect, talk: &Conversation) {
    if model.scrolled > 0 {
        let text = format!("▼ newer messages below ({} rows)", model.scrolled);
        paint.put(area, 2, 0, &cut(&text, usize::from(area.width).saturating_sub(2)), Tone::Accent);
        return;
    }
    let names: Vec<String> = talk.typing.keys().map(|account| model.name_of(*account)).collect();
    let text = match (&talk.summary.standing, names.len()) {
        (ConversationStanding::Refused(why), _) => format!("closed: {why}"),
        (ConversationStanding::Joining, _) => "on the way in …".to_owned(),
        (_, 0) => return,
        (_, 1) => format!("{} types …", names[0]),
        (_, count) => format!("{count} people type …"),
    };
    paint.put(area, 2, 0, &cut(&text, usize::from(area.width).saturating_sub(2)), Tone::Good);
}

fn draw_input(model: &Model, paint: &mut Paint<'_>, area: Rect, draft: &Draft, typed: (&[String], (u16, u16), u16)) {
    let (rows, (column, row), quote) = typed;
    let focused = model.focus == Focus::Input && model.forms.is_empty();
    if quote > 0 {
        let (sign, reference) = match draft.purpose {
            Purpose::Reply(reference) => ("↳", reference),
            Purpose::Edit(reference) => ("✎", reference),
            Purpose::New => return,
        };
        let line = model.talk().and_then(|talk| talk.line(reference));
        let text =
            line.map(|line| format!("{sign} {}: {}", model.name_of(line.message.account), model.line_text(line)));
        let text = text.unwrap_or_else(|| sign.to_owned());
        paint.put(area, 1, 0, &cut(&text, usize::from(area.width).saturating_sub(2)), Tone::Dim);
    }
    let (_, area) = super::split_top(area, quote);
    paint.put(area, 1, 0, "›", if focused { Tone::Accent } else { Tone::Dim });
    if draft.field.is_empty() && !focused {
        let hint = if model.can_write() { "Write …" } else { "Nothing can be written here." };
        paint.put(area, 3, 0, hint, Tone::Dim);
    }
    let first = (row + 1).saturating_sub(area.height);
    for (at, text) in rows.iter().skip(first.into()).enumerate().take(area.height.into()) {
        paint.put(area, 3, at as u16, text, Tone::Normal);
    }
    if focused {
        paint.set_cursor(area, column + 3, row - first);
    }
}

/// One row of a conversation.
struct TalkRow {
    pieces: Vec<Piece>,
    /// At the right edge.
    mark: Option<Piece>,
    /// Belongs to this message.
    reference: Option<MessageRef>,
}

/// Draws from the newest line up, and no more lines than there is room for.
fn draw_lines(model: &Model, paint: &mut Paint<'_>, area: Rect, talk: &Conversation) {
    paint.drawn.lines = area;
    let height = usize::from(area.height);
    let columns = area.width.saturating_sub(5).min(TEXT_COLUMNS);
    // Upside down: the lowest row first.
    let mut rows: Vec<TalkRow> = Vec::new();
    let mut all = true;
    let mut missing = model.reveal;
    for at in (0..talk.lines.len()).rev() {
        if rows.len() >= model.scrolled + height && missing.is_none() {
            all = false;
            break;
        }
        rows.extend(line_rows(model, paint, talk, (at, columns)).into_iter().rev());
        missing = missing.filter(|reference| talk.lines[at].message.reference != *reference);
    }
    let max = rows.len().saturating_sub(height);
    let mut scrolled = model.scrolled.min(max);
    if let Some(reference) = model.reveal {
        let of_line = |row: &TalkRow| row.reference == Some(reference);
        if let (Some(low), Some(high)) = (rows.iter().position(of_line), rows.iter().rposition(of_line)) {
            scrolled = scrolled.min(low).max((high + 1).saturating_sub(height));
        }
    }
    paint.drawn.scrolled = scrolled;
    paint.drawn.scroll_max = all.then_some(max);
    paint.drawn.at_top = all && scrolled >= max && talk.older == Older::There;
    for (index, row) in rows.iter().skip(scrolled).take(height).enumerate() {
        let y = (height - 1 - index) as u16;
        draw_talk_row(model, paint, area, y, row);
    }
}

fn draw_talk_row(model: &Model, paint: &mut Paint<'_>, area: Rect, y: u16, row: &TalkRow) {
    paint.put_pieces(area, 1, y, &row.pieces);
    let columns = area.width.min(TEXT_COLUMNS + 5);
    if let Some(mark) = &row.mark {
        let column = columns.saturating_sub(width(&mark.text) as u16 + 1);
        paint.put_styled(area, column, y, &mark.text, mark.style);
    }
    let Some(reference) = row.reference else { return };
    paint.region_of(area, y, (0, area.width), Press::Line(reference));
    if model.focus == Focus::Lines && model.picked == Some(reference) {
        paint.put(area, 0, y, "▌", Tone::Accent);
    }
}

/// A line as rows from top to bottom, with the day and the name above it where they change.
fn line_rows(model: &Model, paint: &Paint<'_>, talk: &Conversation, place: (usize, u16)) -> Vec<TalkRow> {
    let (at, columns) = place;
    let line = &talk.lines[at];
    let before = at.checked_sub(1).map(|at| &talk.lines[at]);
    let mut rows = Vec::new();
    let bare = |pieces| TalkRow { pieces, mark: None, reference: None };
    let date = |line: &Line| model.clock.date(line.message.at_ms);
    let fresh_day = before.is_none_or(|before| date(before) != date(line));
    if fresh_day && before.is_some() {
        rows.push(bare(Vec::new()));
    }
    if fresh_day {
        let day = format!("── {} ", model.clock.day(line.message.at_ms));
        let rest = usize::from(columns + 2).saturating_sub(width(&day));
        rows.push(bare(vec![paint.piece(day + &"─".repeat(rest), Tone::Dim)]));
    }
    if !line.is_text() {
        for text in wrap(&model.line_text(line), columns.into()) {
            rows.push(bare(vec![paint.piece(format!("  {text}"), Tone::Dim)]));
        }
        return rows;
    }
    let together = before.is_some_and(|before| {
        before.is_text()
            && before.message.account == line.message.account
            && line.message.at_ms.saturating_sub(before.message.at_ms) < TOGETHER_MS
    });
    let reference = Some(line.message.reference);
    if fresh_day || !together {
        if !fresh_day {
            rows.push(bare(Vec::new()));
        }
        let account = line.message.account;
        let name = cut(&model.name_of(account), usize::from(columns).saturating_sub(8));
        let style = if account == model.me.account {
            paint.theme.style(Tone::Accent)
        } else {
            paint.theme.name_style(account.0[0])
        };
        let time = paint.piece(format!("  {}", model.clock.time(line.message.at_ms)), Tone::Dim);
        rows.push(TalkRow { pieces: vec![Piece { text: name, style }, time], mark: None, reference });
    }
    rows.extend(text_rows(model, paint, talk, (line, columns)));
    rows
}

fn text_rows(model: &Model, paint: &Paint<'_>, talk: &Conversation, line: (&Line, u16)) -> Vec<TalkRow> {
    let (line, columns) = line;
    let reference = Some(line.message.reference);
    let row = |pieces| TalkRow { pieces, mark: None, reference };
    let mut rows = Vec::new();
    let MessageBody::Text { text, reply_to } = &line.message.body else { return rows };
    if let Some(reply_to) = reply_to {
        let quoted = talk.line(*reply_to).map_or_else(
            || "an earlier message".to_owned(),
            |line| format!("{}: {}", model.name_of(line.message.account), model.line_text(line)),
        );
        rows.push(row(vec![
            paint.piece(format!("  ┃ {}", cut(&quoted, usize::from(columns).saturating_sub(2))), Tone::Dim),
        ]));
    }
    let (said, tone) = match line.fate {
        Fate::Deleted => ("message deleted".to_owned(), Tone::Dim),
        Fate::Failed => (clean(text), Tone::Bad),
        Fate::Plain | Fate::Edited => (clean(text), Tone::Normal),
    };
    // The mark of an own message, and a space before it, fit into what is left of the last row.
    let own = line.message.account == model.me.account && line.fate != Fate::Deleted;
    let columns = columns.saturating_sub(if own { 3 } else { 0 });
    for text in wrap(&said, columns.into()) {
        rows.push(row(vec![paint.piece(format!("  {text}"), tone)]));
    }
    let last = rows.last_mut().expect("a text has a row");
    match line.fate {
        Fate::Edited => last.pieces.push(paint.piece(" (edited)", Tone::Dim)),
        Fate::Failed => last.pieces.push(paint.piece(" (not sent)", Tone::Bad)),
        Fate::Plain | Fate::Deleted => {}
    }
    if own {
        let reach = talk.reach(line);
        let tone = match reach {
            Reach::Read => Tone::Accent,
            Reach::Nobody => Tone::Bad,
            Reach::Underway | Reach::Sent | Reach::Delivered => Tone::Dim,
        };
        last.mark = Some(paint.piece(mark(reach), tone));
    }
    if !line.reactions.is_empty() {
        rows.push(row(reaction_pieces(model, paint, line)));
    }
    rows
}

fn reaction_pieces(model: &Model, paint: &Paint<'_>, line: &Line) -> Vec<Piece> {
    let mut pieces = vec![paint.piece("  ", Tone::Normal)];
    for reaction in &line.reactions {
        let mine = reaction.by.contains(&model.me.account);
        let tone = if mine { Tone::Accent } else { Tone::Dim };
        let emoji = cut(&clean_line(&reaction.emoji), 8);
        let count = if reaction.by.len() > 1 { format!(" {}", reaction.by.len()) } else { String::new() };
        pieces.push(paint.piece(format!("{emoji}{count}  "), tone));
    }
    pieces
}
