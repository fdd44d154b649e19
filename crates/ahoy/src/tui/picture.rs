//! The screen as a picture for the documentation: SVG, one rectangle a background and one text a run of letters.

use std::fmt::Write;

use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};

use super::theme::Theme;

/// Size of a cell.
const WIDE: usize = 9;
const HIGH: usize = 19;

/// Space around the screen.
const EDGE: usize = 14;

/// Colours of a terminal, as `Color` counts them.
const PALETTE: [(Color, &str, &str); 16] = [
    (Color::Black, "#16181d", "#16181d"),
    (Color::Red, "#d16969", "#b3261e"),
    (Color::Green, "#7fb77e", "#2e7d32"),
    (Color::Yellow, "#e0b65c", "#8a6100"),
    (Color::Blue, "#6a9fd8", "#1f5fa8"),
    (Color::Magenta, "#c08ac7", "#8e3a9d"),
    (Color::Cyan, "#5fb8c2", "#0b7285"),
    (Color::Gray, "#c9ccd3", "#c9ccd3"),
    (Color::DarkGray, "#7a808c", "#767c88"),
    (Color::LightRed, "#ec8079", "#b3261e"),
    (Color::LightGreen, "#9bd39a", "#2e7d32"),
    (Color::LightYellow, "#f0cf85", "#8a6100"),
    (Color::LightBlue, "#8ab8ec", "#1f5fa8"),
    (Color::LightMagenta, "#d6a9dc", "#8e3a9d"),
    (Color::LightCyan, "#86d3db", "#0b7285"),
    (Color::White, "#ffffff", "#ffffff"),
];

/// Draws what is on a screen.
pub(super) fn svg(buffer: &Buffer, theme: Theme) -> String {
    let (columns, rows) = (usize::from(buffer.area.width), usize::from(buffer.area.height));
    let (width, height) = (columns * WIDE + 2 * EDGE, rows * HIGH + 2 * EDGE);
    let paper = if theme == Theme::Light { "#fbfaf7" } else { "#1b1e24" };
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"'DejaVu Sans Mono','Menlo','Consolas',monospace\" font-size=\"15\">\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"10\" fill=\"{paper}\"/>\n"
    );
    for y in 0..rows {
        draw_row(&mut svg, buffer, y, theme);
    }
    svg.push_str("</svg>\n");
    svg
}

fn draw_row(svg: &mut String, buffer: &Buffer, y: usize, theme: Theme) {
    let mut x = 0;
    while x < usize::from(buffer.area.width) {
        let cell = cell(buffer, x, y);
        let (start, look) = (x, look(cell, theme));
        let mut text = String::new();
        // A run of the same look; letters that are not one cell wide stand alone, so that the rest stays in place.
        loop {
            let symbol = self::cell(buffer, x, y).symbol();
            let wide = crate::text::width(symbol).max(1);
            let alone = wide > 1 || symbol.len() > 1;
            if alone && x > start {
                break;
            }
            text.push_str(symbol);
            x += wide;
            if alone || x >= usize::from(buffer.area.width) || self::look(self::cell(buffer, x, y), theme) != look {
                break;
            }
        }
        draw_run(svg, (start, y, x - start), &text, &look);
    }
}

fn draw_run(svg: &mut String, place: (usize, usize, usize), text: &str, look: &Look) {
    let (x, y, cells) = place;
    let (left, top, width) = (EDGE + x * WIDE, EDGE + y * HIGH, cells * WIDE);
    if let Some(paper) = look.paper {
        let _ = writeln!(svg, "<rect x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{HIGH}\" fill=\"{paper}\"/>");
    }
    if draw_line(svg, (left, top, width), text, look) || text.trim().is_empty() {
        return;
    }
    let weight = if look.bold { " font-weight=\"bold\"" } else { "" };
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    // Letters of other fonts keep their own shape.
    let fit = if text.is_ascii() { format!(" textLength=\"{width}\"") } else { String::new() };
    let (bottom, ink) = (top + 14, look.ink);
    let _ = writeln!(
        svg,
        "<text x=\"{left}\" y=\"{bottom}\"{fit} xml:space=\"preserve\" fill=\"{ink}\"{weight}>{escaped}</text>"
    );
}

/// Lines of a frame are drawn, not written: fonts leave gaps between rows.
fn draw_line(svg: &mut String, place: (usize, usize, usize), text: &str, look: &Look) -> bool {
    let (left, top, width) = place;
    let (middle, center, right, bottom) = (top + HIGH / 2, left + WIDE / 2, left + width, top + HIGH);
    let path = match text {
        "│" => format!("M{center} {top}V{bottom}"),
        "─" => format!("M{left} {middle}H{right}"),
        "┼" => format!("M{left} {middle}H{right}M{center} {top}V{bottom}"),
        "├" => format!("M{center} {middle}H{right}M{center} {top}V{bottom}"),
        "╭" => format!("M{right} {middle}H{center}V{bottom}"),
        "╮" => format!("M{left} {middle}H{center}V{bottom}"),
        "╰" => format!("M{right} {middle}H{center}V{top}"),
        "╯" => format!("M{left} {middle}H{center}V{top}"),
        "▌" => {
            let _ =
                writeln!(svg, "<rect x=\"{left}\" y=\"{top}\" width=\"4\" height=\"{HIGH}\" fill=\"{}\"/>", look.ink);
            return true;
        }
        _ => return false,
    };
    let _ = writeln!(svg, "<path d=\"{path}\" fill=\"none\" stroke=\"{}\"/>", look.ink);
    true
}

/// How a cell looks.
#[derive(PartialEq, Eq)]
struct Look {
    ink: &'static str,
    paper: Option<&'static str>,
    bold: bool,
}

fn look(cell: &Cell, theme: Theme) -> Look {
    let light = theme == Theme::Light;
    let colour = |wanted: Color| {
        let found = PALETTE.iter().find(|(colour, ..)| *colour == wanted);
        found.map(|(_, dark, on_light)| if light { *on_light } else { *dark })
    };
    let ink = colour(cell.fg).unwrap_or(if light { "#22252b" } else { "#d7dae0" });
    Look { ink, paper: colour(cell.bg), bold: cell.modifier.contains(Modifier::BOLD) }
}

fn cell(buffer: &Buffer, x: usize, y: usize) -> &Cell {
    &buffer[(x as u16, y as u16)]
}
