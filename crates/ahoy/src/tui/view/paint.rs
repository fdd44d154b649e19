//! Letters into cells: every write is clipped to its area and to the screen.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::Style;
use unicode_segmentation::UnicodeSegmentation;

use crate::text::width;
use crate::tui::message::Press;
use crate::tui::model::Drawn;
use crate::tui::theme::{Theme, Tone};

/// A piece of a row.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub(super) text: String,
    pub(super) style: Style,
}

/// The picture as it grows.
pub(super) struct Paint<'a> {
    pub(super) theme: Theme,
    buffer: &'a mut Buffer,
    pub(super) drawn: Drawn,
    cursor: Option<Position>,
}

impl<'a> Paint<'a> {
    pub(super) fn new(theme: Theme, buffer: &'a mut Buffer) -> Self {
        Self { theme, buffer, drawn: Drawn::default(), cursor: None }
    }

    pub(super) fn finish(self) -> (Drawn, Option<Position>) {
        (self.drawn, self.cursor)
    }

    pub(super) fn piece(&self, text: impl Into<String>, tone: Tone) -> Piece {
        Piece { text: text.into(), style: self.theme.style(tone) }
    }

    /// Writes at a place of an area; gives the column behind it.
    pub(super) fn put(&mut self, area: Rect, column: u16, row: u16, text: &str, tone: Tone) -> u16 {
        self.put_styled(area, column, row, text, self.theme.style(tone))
    }

    /// As [`put`](Self::put).
    pub(super) fn put_styled(&mut self, area: Rect, column: u16, row: u16, text: &str, style: Style) -> u16 {
        let area = area.intersection(self.buffer.area);
        if row >= area.height {
            return column;
        }
        let mut column = column;
        for grapheme in text.graphemes(true) {
            let wide = width(grapheme) as u16;
            if wide == 0 {
                continue;
            }
            if column.saturating_add(wide) > area.width {
                break;
            }
            self.buffer.set_stringn(area.x + column, area.y + row, grapheme, wide.into(), style);
            column += wide;
        }
        column
    }

    /// Writes pieces one after the other; gives the column behind them.
    pub(super) fn put_pieces(&mut self, area: Rect, column: u16, row: u16, pieces: &[Piece]) -> u16 {
        pieces.iter().fold(column, |column, piece| self.put_styled(area, column, row, &piece.text, piece.style))
    }

    /// Writes so that it ends at the right edge; gives the column where it starts.
    pub(super) fn put_right(&mut self, area: Rect, row: u16, text: &str, tone: Tone) -> u16 {
        let column = area.width.saturating_sub(width(text) as u16);
        self.put(area, column, row, text, tone);
        column
    }

    /// A line across an area.
    pub(super) fn rule(&mut self, area: Rect, row: u16) {
        self.put(area, 0, row, &"─".repeat(area.width.into()), Tone::Dim);
    }

    /// Colours a row as a whole.
    pub(super) fn tint(&mut self, area: Rect, row: u16, tone: Tone) {
        if row < area.height {
            let row = Rect { y: area.y + row, height: 1, ..area }.intersection(self.buffer.area);
            self.buffer.set_style(row, self.theme.style(tone));
        }
    }

    /// Wipes an area.
    pub(super) fn clear(&mut self, area: Rect) {
        let area = area.intersection(self.buffer.area);
        // A wide letter that is cut in half by the left edge would show its other half over what comes here.
        if area.x > 0 {
            for row in area.top()..area.bottom() {
                let beside = &mut self.buffer[(area.x - 1, row)];
                if width(beside.symbol()) > 1 {
                    beside.set_symbol(" ");
                }
            }
        }
        for position in area.positions() {
            self.buffer[position].reset();
        }
    }

    /// A click in this area does that.
    pub(super) fn region(&mut self, area: Rect, press: Press) {
        self.drawn.regions.push((area, press));
    }

    /// A click on this row, from one column to another.
    pub(super) fn region_of(&mut self, area: Rect, row: u16, columns: (u16, u16), press: Press) {
        let (from, to) = columns;
        if row < area.height {
            self.region(Rect { x: area.x + from, y: area.y + row, width: to.saturating_sub(from), height: 1 }, press);
        }
    }

    /// Where the next letter goes.
    pub(super) fn set_cursor(&mut self, area: Rect, column: u16, row: u16) {
        if column < area.width && row < area.height {
            self.cursor = Some(Position::new(area.x + column, area.y + row));
        }
    }
}

/// A text that is being typed, in rows of `columns`, and the cursor's column and row in them.
pub(super) fn typed_rows(text: &str, cursor: usize, columns: u16) -> (Vec<String>, (u16, u16)) {
    let columns = columns.max(2);
    let mut rows = vec![String::new()];
    let (mut column, mut at) = (0, (0, 0));
    for (index, grapheme) in text.grapheme_indices(true) {
        let wide = if grapheme == "\n" { 0 } else { width(grapheme) as u16 };
        if column + wide > columns {
            rows.push(String::new());
            column = 0;
        }
        if index == cursor {
            at = (column, rows.len() as u16 - 1);
        }
        if grapheme == "\n" {
            rows.push(String::new());
            column = 0;
        } else {
            rows.last_mut().expect("there is a first row").push_str(grapheme);
            column += wide;
        }
    }
    if cursor >= text.len() {
        if column >= columns {
            rows.push(String::new());
            column = 0;
        }
        at = (column, rows.len() as u16 - 1);
    }
    (rows, at)
}
