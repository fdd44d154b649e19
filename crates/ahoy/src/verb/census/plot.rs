//! Who carries how much, as a drawing: one column for each supernode, the fullest first.

use std::fmt::Write as _;

use ahoy_proto::control::table::Escaped;
use ahoy_proto::control::{Fleet, Supernode};

/// In units of the drawing.
const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 380.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 740.0;
const TOP: f64 = 84.0;
const BOTTOM: f64 = 310.0;

/// A column is no wider than this, however few there are.
const COLUMN_MAX: f64 = 90.0;

/// Columns that have their names under them; more would touch.
const NAMED_MAX: usize = 8;

/// Of the distance between columns, what is filled.
const FILLED: f64 = 0.72;

/// Lines across.
const STEPS: u32 = 4;

/// Colours stand there twice, because not every program that draws knows variables.
const STYLE: &str = "\
text{font:13px system-ui,sans-serif;fill:#57606a}.t{font-size:18px;font-weight:600}.t,.n{fill:#1b1f24}.p{fill:#fff}.l{stroke:#d8dee4}\
.u{fill:#2f6fdf}.d{fill:#c98a1b}.m{stroke:#b42318;stroke-dasharray:6 4}.mt{fill:#b42318}\n\
@media(prefers-color-scheme:dark){text{fill:#9aa5b1}.t,.n{fill:#e6edf3}.p{fill:#0d1117}.l{stroke:#30363d}\
.u{fill:#6ea8fe}.d{fill:#d9a53a}.m{stroke:#ff7b72}.mt{fill:#ff7b72}}";

/// The drawing. `at` is when the figures were true, for people.
pub(super) fn svg(fleet: &Fleet, at: &str) -> String {
    let mut supernodes: Vec<&Supernode> = fleet.supernodes.iter().collect();
    supernodes.sort_by_key(|supernode| std::cmp::Reverse(supernode.sessions));
    let sum = fleet.sum();
    let top = nice(sum.sessions_highest.max(STEPS));
    let height = |sessions: f64| (BOTTOM - TOP) * sessions / f64::from(top);
    let limit = supernodes.iter().map(|supernode| supernode.sessions_max).max().unwrap_or(0);
    let mut drawing = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
         aria-label=\"Users signed in on each supernode\">\n<style>{STYLE}</style>\n\
         <rect class=\"p\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>\n\
         <text class=\"t\" x=\"20\" y=\"32\">Users signed in on each supernode</text>\n\
         <text x=\"20\" y=\"54\">{network}, {at}: {count} supernodes, {draining} draining; {sessions} signed in, limit {limit} each; \
         {calls} calls</text>\n",
        network = Escaped(&fleet.network),
        at = Escaped(at),
        count = sum.supernodes,
        draining = sum.draining,
        sessions = grouped(sum.sessions),
        limit = grouped(limit.into()),
        calls = grouped(sum.calls),
    );
    for step in 0..=STEPS {
        let sessions = top / STEPS * step;
        let y = BOTTOM - height(sessions.into());
        let _ = writeln!(
            drawing,
            "<line class=\"l\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text x=\"{x}\" y=\"{below:.1}\" text-anchor=\"end\">{label}</text>",
            x = LEFT - 8.0,
            below = y + 4.0,
            label = grouped(sessions.into()),
        );
    }
    let step = (RIGHT - LEFT) / supernodes.len().max(1) as f64;
    for (place, supernode) in supernodes.iter().enumerate() {
        let middle = LEFT + step * (place as f64 + 0.5);
        drawing += &column(supernode, middle, (step * FILLED).min(COLUMN_MAX), height(supernode.sessions.into()));
        if supernodes.len() <= NAMED_MAX {
            drawing += &label(supernode, middle, height(supernode.sessions.into()));
        }
    }
    if !supernodes.is_empty() {
        let y = BOTTOM - height(sum.sessions_mean);
        let _ = writeln!(
            drawing,
            "<line class=\"m\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text class=\"mt\" x=\"{RIGHT}\" y=\"{above:.1}\" text-anchor=\"end\">mean {mean:.1}</text>",
            above = y - 6.0,
            mean = sum.sessions_mean,
        );
    }
    drawing + "</svg>\n"
}

fn column(supernode: &Supernode, middle: f64, wide: f64, high: f64) -> String {
    let class = if supernode.draining { "d" } else { "u" };
    let (x, y) = (middle - wide / 2.0, BOTTOM - high);
    format!("<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{wide:.1}\" height=\"{high:.1}\"/>\n")
}

fn label(supernode: &Supernode, middle: f64, high: f64) -> String {
    let id = Escaped(supernode.supernode.get(..8).unwrap_or(&supernode.supernode));
    let state = if supernode.draining { "draining".to_owned() } else { format!("{} calls", supernode.calls) };
    let sessions = grouped(supernode.sessions.into());
    let (above, name, below) = (BOTTOM - high - 7.0, BOTTOM + 20.0, BOTTOM + 38.0);
    format!(
        "<text class=\"n\" x=\"{middle:.1}\" y=\"{above:.1}\" text-anchor=\"middle\">{sessions}</text>\
         <text class=\"n\" x=\"{middle:.1}\" y=\"{name}\" text-anchor=\"middle\">{id}</text>\
         <text x=\"{middle:.1}\" y=\"{below}\" text-anchor=\"middle\">{state}</text>\n"
    )
}

/// The next number from here on that divides well into steps: 4, 8, 12, 20, 40, 80, 120, 200, …
fn nice(number: u32) -> u32 {
    let mut unit = 1_u32;
    loop {
        for factor in [4, 8, 12, 20] {
            match unit.checked_mul(factor) {
                Some(top) if top >= number => return top,
                Some(_) => {}
                None => return number,
            }
        }
        // Ends: after ten turns at most the product is too large for the type.
        unit = unit.saturating_mul(10);
    }
}

/// With a comma at each thousand.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(sessions: u32) -> Supernode {
        Supernode { supernode: "0123456789ab".to_owned(), sessions, sessions_max: 100_000, ..Supernode::default() }
    }

    #[test]
    fn scales_end_above_what_they_show() {
        assert_eq!([4, 5, 13, 20, 21, 100, 121, 1_234].map(nice), [4, 8, 20, 20, 40, 120, 200, 2_000]);
        assert!(nice(u32::MAX) >= u32::MAX / 2);
    }

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn each_supernode_has_a_column_and_what_it_is_called_is_text() {
        let supernodes = vec![of(10), of(30), Supernode { supernode: "<b>&".to_owned(), ..of(0) }];
        let drawing = svg(&Fleet { supernodes, ..Fleet::default() }, "today");
        assert_eq!(drawing.matches("<rect class=\"u\"").count(), 3);
        assert!(drawing.contains("&lt;b&gt;&amp;"), "{drawing}");
        assert!(drawing.contains("mean 13.3"));
    }

    #[test]
    fn a_fleet_of_none_and_a_large_one_are_drawn() {
        assert!(svg(&Fleet::default(), "today").ends_with("</svg>\n"));
        let large = Fleet { supernodes: (0..512).map(of).collect(), ..Fleet::default() };
        assert_eq!(svg(&large, "today").matches("<rect class=\"u\"").count(), 512);
    }
}
