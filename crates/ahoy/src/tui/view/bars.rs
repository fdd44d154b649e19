//! The bars: a call, the state of things, toasts.

use ahoy_proto::v1::Availability;
use ratatui::layout::Rect;

use super::paint::Paint;
use super::people::availability_dot;
use crate::text::{clean_line, cut, width, wrap};
use crate::tui::message::{Command, Press};
use crate::tui::model::{Call, CallStage, Entry, Figures, Focus, Link, Model, Stage, ToastKind, availability_word};
use crate::tui::theme::Tone;
use crate::when::lasted;

/// Rows that the bar of a call takes.
pub(super) fn call_height(model: &Model, height: u16) -> u16 {
    match &model.call {
        None => 0,
        Some(Call { stage: CallStage::Incoming { .. }, .. }) if height >= 16 => 3,
        Some(_) => 1,
    }
}

/// The call, if there is one.
pub(super) fn call(model: &Model, paint: &mut Paint<'_>, area: Rect) {
    let Some(call) = &model.call else { return };
    let incoming = matches!(call.stage, CallStage::Incoming { .. });
    let tone = if incoming { Tone::WarnBar } else { Tone::GoodBar };
    for row in 0..area.height {
        paint.put(area, 0, row, &" ".repeat(area.width.into()), tone);
    }
    let row = area.height / 2;
    let buttons: &[(&str, Command)] = if incoming {
        &[("  Alt-n decline  ", Command::Decline), ("  Alt-y answer  ", Command::Answer)]
    } else {
        &[("  Alt-h hang up  ", Command::HangUp)]
    };
    let mut right = area.width;
    for (text, command) in buttons {
        let wide = width(text) as u16;
        if right > wide {
            let from = right - wide;
            paint.put(area, from, row, text, Tone::BarButton);
            paint.region_of(area, row, (from, right), Press::Command(*command));
            right = from.saturating_sub(1);
        }
    }
    let left = Rect { width: right, ..area };
    paint.put(left, 1, row, &cut(&call_words(call, usize::from(right)), usize::from(right).saturating_sub(1)), tone);
}

fn call_words(call: &Call, room: usize) -> String {
    let peer = &call.peer;
    match &call.stage {
        CallStage::Placing => format!("☎ calling {peer} …"),
        CallStage::Calling { rings: false, .. } => format!("☎ calling {peer} …"),
        CallStage::Calling { rings: true, .. } => format!("☎ {peer} rings …"),
        CallStage::Incoming { .. } => format!("☎ {peer} calls you"),
        CallStage::Running { figures, trouble, .. } => {
            let long = running_words(peer.as_str(), figures, *trouble);
            if width(&long) < room {
                return long;
            }
            format!("☎ {peer} {}  {}", lasted(figures.seconds), trouble.unwrap_or(meter(figures.heard)))
        }
    }
}

fn running_words(peer: &str, figures: &Figures, trouble: Option<&str>) -> String {
    let time = lasted(figures.seconds);
    if let Some(trouble) = trouble {
        return format!("☎ {peer}  {time}  {trouble}");
    }
    format!(
        "☎ {peer} {}  {time}  loss {:.1} %  delay {} ms  you {}",
        meter(figures.heard),
        figures.loss * 100.0,
        figures.delay_ms,
        meter(figures.said),
    )
}

/// Five steps of 12 dB, from -60 dBov up.
fn meter(level: u8) -> &'static str {
    match level {
        0..=11 => "▮▮▮▮▮",
        12..=23 => "▮▮▮▮▯",
        24..=35 => "▮▮▮▯▯",
        36..=47 => "▮▮▯▯▯",
        48..=59 => "▮▯▯▯▯",
        _ => "▯▯▯▯▯",
    }
}

/// Who one is, how one is seen, how the connection is, and which keys help here.
pub(super) fn status(model: &Model, paint: &mut Paint<'_>, area: Rect) {
    let seen = match (model.settings.availability, model.is_away) {
        (Availability::Online, true) => Availability::Away,
        (availability, _) => availability,
    };
    let (dot, tone) = availability_dot(seen);
    let column = paint.put(area, 1, 0, dot, tone);
    let column = paint.put(area, column + 1, 0, &model.me.name, Tone::Strong);
    let (link, tone) = match &model.link {
        Link::Connecting => ("connecting …".to_owned(), Tone::Warn),
        Link::Up { round_trip_ms } => (format!("{} ms", (*round_trip_ms).max(1)), Tone::Dim),
        Link::Lost => ("connection lost, trying again …".to_owned(), Tone::Bad),
    };
    let mut words = availability_word(seen).to_owned();
    let mood = clean_line(&model.settings.mood);
    if !mood.is_empty() && area.width > 100 {
        words = format!("{words} · {}", cut(&mood, 40));
    }
    let end = paint.put(area, column + 1, 0, &words, Tone::Dim);
    paint.region_of(area, 0, (0, end), Press::Command(Command::Presence));
    let end = paint.put(area, end + 2, 0, &link, tone);
    let hints = hints(model);
    let mut right = area.width.saturating_sub(1);
    let rest = Rect { width: right, ..area };
    for (key, what, command) in hints.iter().rev() {
        let wide = (width(key) + 1 + width(what)) as u16;
        if right.saturating_sub(wide + 2) <= end {
            break;
        }
        let from = right - wide;
        let column = paint.put(rest, from, 0, key, Tone::Strong);
        paint.put(rest, column + 1, 0, what, Tone::Dim);
        if let Some(command) = command {
            paint.region_of(rest, 0, (from, right), Press::Command(*command));
        }
        right = from.saturating_sub(2);
    }
}

/// The most useful one last: the ones before it go first where there is no room.
fn hints(model: &Model) -> Vec<(&'static str, &'static str, Option<Command>)> {
    match model.focus {
        Focus::People => match model.open {
            Entry::Nothing => vec![
                ("↑↓", "choose", None),
                ("a", "add", Some(Command::Add)),
                ("m", "menu", Some(Command::Menu)),
                ("?", "help", Some(Command::Help)),
            ],
            _ => vec![
                ("c", "call", Some(Command::Call)),
                ("a", "add", Some(Command::Add)),
                ("Enter", "open", None),
                ("m", "menu", Some(Command::Menu)),
                ("?", "help", Some(Command::Help)),
            ],
        },
        Focus::Lines => vec![
            ("r", "reply", None),
            ("+", "react", None),
            ("e", "edit", None),
            ("x", "delete", None),
            ("Esc", "back", None),
            ("?", "help", Some(Command::Help)),
        ],
        Focus::Input => vec![
            ("↑", "messages", None),
            ("Enter", "send", None),
            ("Esc", "back", None),
            ("Alt-m", "menu", Some(Command::Menu)),
            ("F1", "help", Some(Command::Help)),
        ],
    }
}

/// Toasts, from the lower right corner up.
pub(super) fn toasts(model: &Model, paint: &mut Paint<'_>, area: Rect) {
    let columns = (area.width.saturating_sub(6)).min(56);
    let lift = if model.stage == Stage::Running { 4 } else { 1 };
    let mut bottom = area.height.saturating_sub(lift);
    for toast in model.toasts.iter().rev() {
        let lines = wrap(&toast.text, usize::from(columns));
        let wide = lines.iter().map(|line| width(line)).max().unwrap_or(0) as u16 + 4;
        let height = lines.len() as u16;
        if height + 1 > bottom {
            return;
        }
        bottom -= height;
        let tone = match toast.kind {
            ToastKind::Good => Tone::Good,
            ToastKind::Bad => Tone::Bad,
        };
        let place = Rect { x: area.right().saturating_sub(wide + 1), y: area.y + bottom, width: wide, height };
        paint.clear(place);
        for (row, line) in lines.iter().enumerate() {
            let row = row as u16;
            paint.put(place, 0, row, "▌", tone);
            paint.put(place, 2, row, line, Tone::Strong);
        }
        paint.region(place, Press::Nothing);
        bottom = bottom.saturating_sub(1);
    }
}
