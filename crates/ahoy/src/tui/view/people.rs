//! The list: those who ask, conversations, contacts.

use ahoy_client::member::ContactState;
use ahoy_proto::AccountId;
use ahoy_proto::v1::Availability;
use ratatui::layout::Rect;

use super::paint::Paint;
use crate::text::{clean_line, cut, width};
use crate::tui::message::{Command, Press};
use crate::tui::model::{Conversation, Entry, Fate, Focus, Model, Reach};
use crate::tui::theme::Tone;

/// Below this height of the list a conversation has one row instead of two.
const ROOMY: u16 = 12;

/// The list.
pub(super) fn draw(model: &Model, paint: &mut Paint<'_>, area: Rect) {
    paint.region(area, Press::Focus(Focus::People));
    let column = paint.put(area, 1, 0, "⚓ ", Tone::Accent);
    let column = paint.put(area, column, 0, "Ahoy", Tone::Accent);
    let unread = model.unread();
    if unread > 0 {
        paint.put(area, column + 1, 0, &format!("({})", badge(unread)), Tone::Warn);
    }
    let add = paint.put_right(area, 0, "+ add ", Tone::Dim);
    paint.region_of(area, 0, (add, area.width), Press::Command(Command::Add));
    paint.rule(area, 1);
    let (_, list) = super::split_top(area, 2);
    let rows = rows(model, list.height);
    let chosen = rows.iter().position(|row| row.entry() == Some(model.open));
    let heights: Vec<u16> = rows.iter().map(ListRow::height).collect();
    let mut skip = 0;
    // Scrolls no farther than it takes to show what is chosen.
    while let Some(chosen) = chosen
        && heights[skip..=chosen].iter().sum::<u16>() > list.height
        && skip < chosen
    {
        skip += 1;
    }
    let mut top = 0;
    for row in &rows[skip..] {
        if top >= list.height {
            break;
        }
        draw_row(model, paint, list, top, row);
        top += row.height();
    }
}

enum ListRow {
    Heading(&'static str),
    Entry { entry: Entry, height: u16 },
}

impl ListRow {
    fn height(&self) -> u16 {
        match self {
            Self::Heading(_) => 1,
            Self::Entry { height, .. } => *height,
        }
    }

    fn entry(&self) -> Option<Entry> {
        match self {
            Self::Heading(_) => None,
            Self::Entry { entry, .. } => Some(*entry),
        }
    }
}

fn rows(model: &Model, height: u16) -> Vec<ListRow> {
    let mut rows = Vec::new();
    let mut in_contacts = false;
    for entry in model.entries() {
        if matches!(entry, Entry::Person(_)) && !in_contacts {
            in_contacts = true;
            rows.push(ListRow::Heading("Contacts"));
        }
        let is_talk = matches!(entry, Entry::Conversation(_));
        rows.push(ListRow::Entry { entry, height: if is_talk && height >= ROOMY { 2 } else { 1 } });
    }
    rows
}

fn draw_row(model: &Model, paint: &mut Paint<'_>, area: Rect, top: u16, row: &ListRow) {
    let (entry, height) = match row {
        ListRow::Heading(text) => {
            paint.put(area, 1, top, text, Tone::Dim);
            return;
        }
        ListRow::Entry { entry, height } => (*entry, *height),
    };
    let place = Rect { y: area.y + top, height: height.min(area.height - top), ..area };
    paint.region(place, Press::Entry(entry));
    match entry {
        Entry::Nothing => {}
        Entry::Requests => {
            paint.put(place, 1, 0, "✉ ", Tone::Warn);
            paint.put(
                place,
                3,
                0,
                &cut(&model.entry_name(entry), usize::from(area.width).saturating_sub(4)),
                Tone::Warn,
            );
        }
        Entry::Person(account) => draw_person(model, paint, place, account),
        Entry::Conversation(id) => {
            if let Some(talk) = model.conversations.get(&id) {
                draw_talk(model, paint, place, talk);
            }
        }
    }
    if model.open == entry {
        if model.focus == Focus::People && model.forms.is_empty() {
            paint.tint(place, 0, Tone::Chosen);
        }
        for row in 0..place.height {
            paint.put(place, 0, row, "▌", Tone::Accent);
        }
    }
}

fn draw_person(model: &Model, paint: &mut Paint<'_>, area: Rect, account: AccountId) {
    let (dot, tone) = dot(model, account);
    paint.put(area, 1, 0, dot, tone);
    let state = model.contacts.get(&account).map(|contact| contact.state);
    let room = usize::from(area.width).saturating_sub(4);
    let name = cut(&model.name_of(account), room);
    let faint = state != Some(ContactState::Accepted) || tone == Tone::Dim;
    let column = paint.put(area, 3, 0, &name, if faint { Tone::Dim } else { Tone::Normal });
    let words = match state {
        Some(ContactState::Asked) => "asked".to_owned(),
        Some(ContactState::Blocked) => "blocked".to_owned(),
        _ => model.presence(account).map(|presence| clean_line(&presence.mood)).unwrap_or_default(),
    };
    let room = room.saturating_sub(width(&name) + 2);
    if !words.is_empty() && room > 4 {
        paint.put(area, column + 2, 0, &cut(&words, room), Tone::Dim);
    }
}

fn draw_talk(model: &Model, paint: &mut Paint<'_>, area: Rect, talk: &Conversation) {
    let entry = Entry::Conversation(talk.id());
    let (dot, tone) = match model_peer(talk) {
        Some(account) => dot(model, account),
        None => ("#", Tone::Accent),
    };
    paint.put(area, 1, 0, dot, tone);
    let time = talk.lines.back().map(|line| model.clock.short(line.message.at_ms)).unwrap_or_default();
    let unread = talk.unread(model.me.account);
    let strong = if unread > 0 { Tone::Strong } else { Tone::Normal };
    let room = usize::from(area.width).saturating_sub(width(&time) + 5);
    paint.put(area, 3, 0, &cut(&model.entry_name(entry), room), strong);
    let right = Rect { width: area.width.saturating_sub(1), ..area };
    if area.height == 1 && unread > 0 {
        let badge = badge(unread);
        paint.put_right(right, 0, &badge, Tone::Warn);
    } else {
        paint.put_right(right, 0, &time, Tone::Dim);
    }
    if area.height < 2 {
        return;
    }
    let mut room = usize::from(area.width).saturating_sub(4);
    if unread > 0 {
        let badge = badge(unread);
        room = room.saturating_sub(width(&badge) + 1);
        paint.put_right(right, 1, &badge, Tone::Warn);
    }
    let typist = talk.typing.keys().next();
    if let Some(account) = typist {
        paint.put(area, 3, 1, &cut(&format!("{} types …", model.name_of(*account)), room), Tone::Good);
    } else {
        paint.put(area, 3, 1, &cut(&last_words(model, talk), room), Tone::Dim);
    }
}

fn last_words(model: &Model, talk: &Conversation) -> String {
    let Some(line) = talk.lines.back() else { return "nothing said so far".to_owned() };
    let text = model.line_text(line);
    if !line.is_text() || line.fate == Fate::Deleted {
        return text;
    }
    if line.message.account == model.me.account {
        return format!("{} {text}", mark(talk.reach(line)));
    }
    if talk.is_group() { format!("{}: {text}", model.name_of(line.message.account)) } else { text }
}

/// How far an own message has come.
pub(super) fn mark(reach: Reach) -> &'static str {
    match reach {
        Reach::Underway => "…",
        Reach::Nobody => "✗",
        Reach::Sent => "·",
        Reach::Delivered => "✓",
        Reach::Read => "✓✓",
    }
}

fn badge(unread: usize) -> String {
    if unread > 99 { "99+".to_owned() } else { unread.to_string() }
}

fn model_peer(talk: &Conversation) -> Option<AccountId> {
    match talk.summary.kind {
        ahoy_client::member::Kind::Pair(account, _) => Some(account),
        ahoy_client::member::Kind::Group { .. } => None,
    }
}

/// Somebody's presence as one letter.
pub(super) fn dot(model: &Model, account: AccountId) -> (&'static str, Tone) {
    match model.contacts.get(&account).map(|contact| contact.state) {
        Some(ContactState::Accepted) => {}
        Some(ContactState::Asked) => return ("?", Tone::Dim),
        Some(ContactState::Blocked) => return ("×", Tone::Dim),
        _ => return ("·", Tone::Dim),
    }
    availability_dot(model.presence(account).map_or(Availability::Offline, |presence| presence.availability))
}

/// An availability as one letter: the shapes differ, too, for who can't tell the colours apart.
pub(super) fn availability_dot(availability: Availability) -> (&'static str, Tone) {
    match availability {
        Availability::Online => ("●", Tone::Good),
        Availability::Away => ("◐", Tone::Warn),
        Availability::DoNotDisturb => ("■", Tone::Bad),
        Availability::Invisible | Availability::Offline | Availability::Unspecified => ("○", Tone::Dim),
    }
}
