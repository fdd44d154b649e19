//! A sheet over everything else.

use ratatui::layout::Rect;

use super::paint::{Paint, typed_rows};
use crate::text::{cut, width, wrap};
use crate::tui::form::{Form, Row};
use crate::tui::message::{Command, Press};
use crate::tui::model::{Model, Stage};
use crate::tui::theme::Tone;

/// Columns that a sheet takes at most, its edges included.
const COLUMNS: u16 = 66;

/// A row of the sheet as it is drawn.
struct SheetRow<'a> {
    row: &'a Row,
    text: String,
    /// Which stop it is.
    stop: Option<usize>,
}

/// Where the sheet lies: in the middle, but where nobody is signed in below the ship.
pub(super) fn place(model: &Model, form: &Form, area: Rect) -> Rect {
    let columns = COLUMNS.min(area.width.saturating_sub(2));
    let rows = sheet_rows(&form.rows(model), columns.saturating_sub(4)).len() as u16;
    let height = (rows + 2).min(area.height.saturating_sub(1)).max(3);
    let free = area.height.saturating_sub(height);
    let top = if model.stage == Stage::Running { free / 2 } else { free.min(area.height * 2 / 5 + 1) };
    Rect { x: area.x + (area.width - columns) / 2, y: area.y + top, width: columns, height }
}

/// Draws the sheet.
pub(super) fn draw(model: &Model, form: &Form, paint: &mut Paint<'_>, area: Rect) {
    let source = form.rows(model);
    let place = place(model, form, area);
    let (inner_columns, height) = (place.width.saturating_sub(4), place.height);
    let rows = sheet_rows(&source, inner_columns);
    paint.region(area, Press::Nothing);
    paint.clear(place);
    frame(paint, place, &form.title(model), model.can_close());
    let inner = Rect { x: place.x + 2, y: place.y + 1, width: inner_columns, height: height - 2 };
    let chosen = rows.iter().rposition(|row| row.stop == Some(form.cursor)).unwrap_or(0);
    // A text above the first stop is worth showing, too.
    let first = if form.cursor == 0 { 0 } else { (chosen + 2).saturating_sub(inner.height.into()) };
    let first =
        first.min(rows.len().saturating_sub(inner.height.into())).max((chosen + 1).saturating_sub(inner.height.into()));
    for (at, row) in rows.iter().skip(first).take(inner.height.into()).enumerate() {
        draw_row(form, paint, inner, at as u16, row);
    }
    let more = |paint: &mut Paint<'_>, row, sign| {
        paint.put(place, place.width.saturating_sub(4), row, sign, Tone::Accent);
    };
    if first > 0 {
        more(paint, 0, "▲");
    }
    if first + usize::from(inner.height) < rows.len() {
        more(paint, place.height - 1, "▼");
    }
}

fn frame(paint: &mut Paint<'_>, place: Rect, title: &str, closes: bool) {
    let across = "─".repeat(usize::from(place.width).saturating_sub(2));
    paint.put(place, 0, 0, &format!("╭{across}╮"), Tone::Dim);
    for row in 1..place.height - 1 {
        paint.put(place, 0, row, "│", Tone::Dim);
        paint.put(place, place.width - 1, row, "│", Tone::Dim);
    }
    paint.put(place, 0, place.height - 1, &format!("╰{across}╯"), Tone::Dim);
    let title = cut(title, usize::from(place.width).saturating_sub(14));
    paint.put(place, 2, 0, &format!(" {title} "), Tone::Accent);
    if closes && place.width > 30 {
        let esc = " Esc ";
        let column = place.width - width(esc) as u16 - 5;
        paint.put(place, column, 0, esc, Tone::Dim);
        paint.region_of(place, 0, (column, column + width(esc) as u16), Press::Command(Command::Close));
    }
}

fn sheet_rows(rows: &[Row], columns: u16) -> Vec<SheetRow<'_>> {
    let mut drawn = Vec::new();
    let mut stop = 0;
    for row in rows {
        if let Row::Text(text, _) = row {
            drawn.extend(wrap(text, columns.into()).into_iter().map(|text| SheetRow { row, text, stop: None }));
            continue;
        }
        let is_stop = !matches!(row, Row::Gap);
        drawn.push(SheetRow { row, text: String::new(), stop: is_stop.then_some(stop) });
        stop += usize::from(is_stop);
    }
    drawn
}

fn draw_row(form: &Form, paint: &mut Paint<'_>, area: Rect, y: u16, row: &SheetRow<'_>) {
    let chosen = row.stop == Some(form.cursor);
    match row.row {
        Row::Gap => {}
        Row::Text(_, tone) => {
            paint.put(area, 0, y, &row.text, *tone);
        }
        Row::Field { index, label } => draw_field(form, paint, area, (y, chosen), (*index, label)),
        Row::Item { text, detail, tone, key, .. } => {
            let column = match key {
                Some(key) => {
                    paint.put(area, 1, y, &key.to_string(), Tone::Accent);
                    4
                }
                None => 1,
            };
            let room = usize::from(area.width.saturating_sub(column));
            let end = paint.put(area, column, y, &cut(text, room), *tone);
            let room = usize::from(area.width.saturating_sub(end + 2));
            if !detail.is_empty() && room > 4 {
                paint.put(area, end + 2, y, &cut(detail, room), Tone::Dim);
            }
            if chosen {
                paint.tint(area, y, Tone::Chosen);
            }
        }
        Row::Button { text, tone, .. } => {
            let text = format!("[ {text} ]");
            paint.put(area, 0, y, &text, if chosen { Tone::Chosen } else { *tone });
        }
    }
    if let Some(stop) = row.stop {
        paint.region_of(area, y, (0, area.width), Press::Stop(stop));
    }
}

fn draw_field(form: &Form, paint: &mut Paint<'_>, area: Rect, place: (u16, bool), field: (usize, &str)) {
    let ((y, chosen), (index, label)) = (place, field);
    let Some(typed) = form.fields.get(index) else { return };
    let start = width(label).max(9) as u16 + 2;
    paint.put(area, 0, y, label, if chosen { Tone::Accent } else { Tone::Dim });
    let room = area.width.saturating_sub(start);
    let (text, cursor) = typed.shown();
    let (rows, (column, row)) = typed_rows(&text, cursor, room);
    let shown = rows.get(usize::from(row)).cloned().unwrap_or_default();
    paint.put(area, start, y, &"_".repeat(room.into()), Tone::Dim);
    paint.put(area, start, y, &shown, Tone::Normal);
    if chosen {
        paint.set_cursor(area, start + column, y);
    }
}
