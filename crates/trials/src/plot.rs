//! What a load told by the second, as a drawing: who is signed in, as a line, and sign-ins, as columns.

use std::fmt::Write as _;

/// One second of a load.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Second {
    /// Clients that have a session.
    pub signed_in: u64,
    /// Sessions that came up in it.
    pub sign_ins: u64,
}

/// Something that happened: at which second, and what.
pub type Mark<'a> = (usize, &'a str);

const WIDTH: f64 = 880.0;
const HEIGHT: f64 = 340.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 824.0;
const TOP: f64 = 72.0;
const BOTTOM: f64 = 296.0;
/// Lines across, beside the lowest.
const STEPS: u64 = 4;

const STYLE: &str = "text{font:12px system-ui,sans-serif;fill:#57606a}.t{font-size:16px;fill:#1f2328}.p{fill:#fff}.l{stroke:#d8dee4}\
.s{fill:none;stroke:#2f6fdf;stroke-width:2}.c{fill:#c98a1b}.m{stroke:#b42318;stroke-dasharray:6 4}.mt{fill:#b42318}\
.st{fill:#2f6fdf}.ct{fill:#c98a1b}\
@media(prefers-color-scheme:dark){text{fill:#9aa5b1}.t{fill:#e6edf3}.p{fill:#0d1117}.l{stroke:#30363d}\
.s{stroke:#6ea8fe}.st{fill:#6ea8fe}.c,.ct{fill:#d9a53a}.m{stroke:#ff7b72}.mt{fill:#ff7b72}}";

/// The drawing. `title` holds nothing that XML would misread.
pub fn svg(title: &str, seconds: &[Second], marks: &[Mark<'_>]) -> String {
    let most = |of: fn(&Second) -> u64| seconds.iter().map(of).max().unwrap_or(0).max(1).next_multiple_of(STEPS);
    let (signed_in, sign_ins) = (most(|second| second.signed_in), most(|second| second.sign_ins));
    let wide = (RIGHT - LEFT) / seconds.len().max(1) as f64;
    let x = |second: usize| LEFT + wide * second as f64;
    let high = |count: u64, most: u64| (BOTTOM - TOP) * count as f64 / most as f64;
    let mut drawing = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">\n\
         <style>{STYLE}</style>\n<rect class=\"p\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>\n\
         <text class=\"t\" x=\"20\" y=\"32\">{title}</text>\n\
         <text class=\"st\" x=\"{LEFT}\" y=\"58\" text-anchor=\"middle\">signed in</text>\
         <text class=\"ct\" x=\"{RIGHT}\" y=\"58\" text-anchor=\"middle\">sign-ins a second</text>\n"
    );
    for step in 0..=STEPS {
        let y = BOTTOM - (BOTTOM - TOP) * step as f64 / STEPS as f64;
        let _ = writeln!(
            drawing,
            "<line class=\"l\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text class=\"st\" x=\"{left}\" y=\"{below:.1}\" text-anchor=\"end\">{one}</text>\
             <text class=\"ct\" x=\"{right}\" y=\"{below:.1}\">{other}</text>",
            left = LEFT - 8.0,
            right = RIGHT + 8.0,
            below = y + 4.0,
            one = signed_in / STEPS * step,
            other = sign_ins / STEPS * step,
        );
    }
    for (number, second) in seconds.iter().enumerate().filter(|(_, second)| second.sign_ins > 0) {
        let high = high(second.sign_ins, sign_ins);
        let _ = write!(
            drawing,
            "<rect class=\"c\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{high:.1}\"/>",
            x(number),
            BOTTOM - high,
            wide * 0.8,
        );
    }
    let point = |(number, second): (usize, &Second)| {
        format!("{:.1},{:.1}", x(number) + wide / 2.0, BOTTOM - high(second.signed_in, signed_in))
    };
    let points: Vec<String> = seconds.iter().enumerate().map(point).collect();
    let _ = writeln!(drawing, "\n<polyline class=\"s\" points=\"{}\"/>", points.join(" "));
    for (second, what) in marks {
        let x = x(*second);
        let _ = writeln!(
            drawing,
            "<line class=\"m\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{BOTTOM}\"/>\
             <text class=\"mt\" x=\"{:.1}\" y=\"{:.1}\">{what}</text>",
            x + 4.0,
            TOP - 2.0,
        );
    }
    for second in (0..=seconds.len()).step_by(10) {
        let _ = writeln!(
            drawing,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{second} s</text>",
            x(second),
            BOTTOM + 20.0
        );
    }
    drawing + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_is_drawn_second_by_second_and_an_empty_one_is_no_fault() {
        let seconds = [(0, 0), (3, 3), (3, 0)].map(|(signed_in, sign_ins)| Second { signed_in, sign_ins });
        let drawing = svg("a load", &seconds, &[(1, "kill -9")]);
        assert_eq!(drawing.matches("<rect class=\"c\"").count(), 1, "seconds without sign-ins have no column");
        assert_eq!(drawing.matches("<line class=\"m\"").count(), 1);
        assert!(svg("nothing", &[], &[]).ends_with("</svg>\n"));
    }
}
