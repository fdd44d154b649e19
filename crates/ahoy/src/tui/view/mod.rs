//! Draws the model. What is drawn where comes back, so that the mouse finds it.

mod bars;
mod paint;
mod people;
mod sheet;
mod talk;

use ratatui::Frame;
use ratatui::layout::Rect;

use super::message::Command;
use super::model::{Drawn, Entry, Focus, Model, Stage};
use super::theme::Tone;
use paint::Paint;

/// Below this nothing useful can be shown.
const COLUMNS_MIN: u16 = 24;
const ROWS_MIN: u16 = 7;

/// Below this list and conversation take turns.
const COLUMNS_BOTH: u16 = 64;

/// A ship, for where there is nothing else.
const SHIP: [&str; 7] = [
    r"       |\      ",
    r"       | \     ",
    r"      /|  \    ",
    r"     / |   \   ",
    r"    /__|____\  ",
    r"  \_____|_____/",
    r" ~~~~~~~~~~~~~~~~",
];

/// Draws everything.
pub(crate) fn view(model: &Model, frame: &mut Frame<'_>) -> Drawn {
    let area = frame.area();
    let mut paint = Paint::new(model.theme, frame.buffer_mut());
    if area.width < COLUMNS_MIN || area.height < ROWS_MIN {
        paint.put(area, 0, 0, "Ahoy needs a larger window.", Tone::Normal);
    } else {
        match &model.stage {
            Stage::Running => running(model, &mut paint, area),
            Stage::SignedOut => harbour(&mut paint, above_sheet(model, area), &[]),
            Stage::Starting(what) => harbour(&mut paint, area, &[(what, Tone::Normal)]),
            Stage::Entering { is_new } => {
                let what = if *is_new { "Making the account …" } else { "Signing in …" };
                let words = if model.forms.is_empty() { &[(what, Tone::Normal)][..] } else { &[] };
                harbour(&mut paint, above_sheet(model, area), words);
            }
            Stage::Stopped(why) => {
                harbour(&mut paint, area, &[(why, Tone::Bad), ("", Tone::Normal), ("Any key leaves.", Tone::Dim)]);
            }
        }
        if let Some(form) = model.forms.last() {
            sheet::draw(model, form, &mut paint, area);
        }
        bars::toasts(model, &mut paint, area);
    }
    let (drawn, cursor) = paint.finish();
    if let Some(at) = cursor {
        frame.set_cursor_position(at);
    }
    drawn
}

/// What a sheet leaves free at the top.
fn above_sheet(model: &Model, area: Rect) -> Rect {
    let Some(form) = model.forms.last() else { return area };
    Rect { height: sheet::place(model, form, area).y.saturating_sub(area.y), ..area }
}

/// List, conversation, bars.
fn running(model: &Model, paint: &mut Paint<'_>, area: Rect) {
    let bar = bars::call_height(model, area.height);
    let (call, rest) = split_top(area, bar);
    bars::call(model, paint, call);
    let (body, status) = split_bottom(rest, 1);
    bars::status(model, paint, status);
    if body.width < COLUMNS_BOTH {
        if model.focus == Focus::People || matches!(model.open, Entry::Nothing | Entry::Requests) {
            people::draw(model, paint, body);
        } else {
            talk::draw(model, paint, body);
        }
        return;
    }
    let list = (body.width * 32 / 100).clamp(24, 40);
    let left = Rect { width: list, ..body };
    let right = Rect { x: body.x + list + 1, width: body.width - list - 1, ..body };
    for row in 0..body.height {
        paint.put(body, list, row, if row == 1 { "┼" } else { "│" }, Tone::Dim);
    }
    people::draw(model, paint, left);
    if matches!(model.open, Entry::Nothing | Entry::Requests) {
        empty(model, paint, right);
    } else {
        talk::draw(model, paint, right);
    }
}

/// Where no conversation is open.
fn empty(model: &Model, paint: &mut Paint<'_>, area: Rect) {
    paint.rule(area, 1);
    paint.put(area, 1, 0, &model.me.network, Tone::Dim);
    let (_, rest) = split_top(area, 2);
    let words: &[(&str, Tone)] = match model.open {
        Entry::Requests => {
            &[("Somebody would like to become a contact.", Tone::Normal), ("Enter shows who.", Tone::Dim)]
        }
        _ if model.contacts.is_empty() => &[
            ("Nobody is aboard yet.", Tone::Normal),
            ("", Tone::Normal),
            ("a  adds a contact", Tone::Normal),
            ("?  shows what else there is", Tone::Normal),
        ],
        _ => &[("Choose somebody in the list.", Tone::Normal), ("? shows what else there is.", Tone::Dim)],
    };
    harbour(paint, rest, words);
    if model.contacts.is_empty() {
        paint.region(rest, super::message::Press::Command(Command::Add));
    }
}

/// The ship, and words under it.
fn harbour(paint: &mut Paint<'_>, area: Rect, words: &[(&str, Tone)]) {
    let width = area.width.saturating_sub(2).clamp(1, 60);
    let lines: Vec<(String, Tone)> = words
        .iter()
        .flat_map(|(text, tone)| crate::text::wrap(text, width.into()).into_iter().map(|line| (line, *tone)))
        .collect();
    let ship = if area.height > lines.len() as u16 + SHIP.len() as u16 + 1 { &SHIP[..] } else { &[] };
    let height = ship.len() as u16 + 1 + lines.len() as u16;
    let mut row = area.height.saturating_sub(height) / 3;
    for line in ship {
        let column = area.width.saturating_sub(17) / 2;
        paint.put(area, column, row, line, Tone::Accent);
        row += 1;
    }
    row += 1;
    for (line, tone) in lines {
        let column = area.width.saturating_sub(crate::text::width(&line) as u16) / 2;
        paint.put(area, column, row, &line, tone);
        row += 1;
    }
}

fn split_top(area: Rect, height: u16) -> (Rect, Rect) {
    let height = height.min(area.height);
    (Rect { height, ..area }, Rect { y: area.y + height, height: area.height - height, ..area })
}

fn split_bottom(area: Rect, height: u16) -> (Rect, Rect) {
    let height = height.min(area.height);
    let top = Rect { height: area.height - height, ..area };
    (top, Rect { y: area.y + top.height, height, ..area })
}
