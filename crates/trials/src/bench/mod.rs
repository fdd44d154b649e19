//! What a supernode costs: bytes an idle session, processor time a sign-in, a relayed packet beside a bare forwarder's, and a message
//! beside bare SQLite's.
//!
//! The server is the real `ahoyd dev`, a process of its own; the load speaks the wire by hand. Figures are ratios or per item, over
//! several rounds, so that a busy machine shows as spread and not as a better or worse result.

pub mod bare;
pub mod filled;
pub mod forwarder;
pub mod messages;
pub mod presence;
pub mod relay;
pub mod rest;
pub mod sessions;

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;

use crate::quality::median;

/// One figure, measured several times.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    /// What, with its unit.
    pub name: &'static str,
    /// What is wanted: at most, or at least.
    pub target: Option<Target>,
    /// One a round.
    pub rounds: Vec<f64>,
}

/// What is wanted of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub enum Target {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
}

impl Figure {
    /// The middle of all rounds.
    pub fn median(&self) -> f64 {
        median(self.rounds.clone())
    }

    /// Whether the median is where it should be; a figure without target always is.
    pub fn is_met(&self) -> bool {
        match self.target {
            None => true,
            Some(Target::AtMost(most)) => self.median() <= most,
            Some(Target::AtLeast(least)) => self.median() >= least,
        }
    }
}

/// A Markdown table of figures.
pub fn table(figures: &[Figure]) -> String {
    let mut text = "| | median | spread | target | |\n|---|---|---|---|---|\n".to_owned();
    for figure in figures {
        let low = figure.rounds.iter().copied().fold(f64::INFINITY, f64::min);
        let high = figure.rounds.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let (target, met) = match figure.target {
            None => (String::new(), ""),
            Some(target) => {
                let text = match target {
                    Target::AtMost(most) => format!("≤ {}", digits(most)),
                    Target::AtLeast(least) => format!("≥ {}", digits(least)),
                };
                (text, if figure.is_met() { "met" } else { "missed" })
            }
        };
        let (name, median, low, high) = (figure.name, digits(figure.median()), digits(low), digits(high));
        let _ = writeln!(text, "| {name} | {median} | {low} – {high} | {target} | {met} |");
    }
    text
}

/// Microseconds by item.
fn micros(spent: Duration, items: usize) -> f64 {
    spent.as_secs_f64() * 1e6 / items as f64
}

/// Three digits that matter, and no more behind the point than two.
fn digits(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// The machine, in one line: processor, cores, kernel.
pub fn machine() -> String {
    let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let model = model.trim_start_matches(['\t', ' ', ':']);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{model}, {cores} cores, Linux {}", read("/proc/sys/kernel/osrelease").trim())
}

/// How much the machine does besides: processes that ran or wanted to in the last minute, on average. Asked before a measurement.
pub fn load() -> String {
    let averages = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    averages.split(' ').next().unwrap_or_default().to_owned()
}

/// A sentence that says what figures are worth: where they were measured, beside what load, and by which build.
pub fn circumstances(load_before: &str) -> String {
    let build = if cfg!(debug_assertions) {
        "by a development build: to be repeated by a release build on an idle machine"
    } else {
        "by a release build"
    };
    format!("Measured on {}, which had a load of {load_before} before, {build}.", machine())
}

/// Puts a text between `<!-- NAME begin -->` and `<!-- NAME end -->` of a file.
///
/// # Errors
/// When the file has no such place.
pub fn write_section(file: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    let old = std::fs::read_to_string(file).with_context(|| format!("can't read {}", file.display()))?;
    let (begin, end) = (format!("<!-- {name} begin -->\n"), format!("<!-- {name} end -->"));
    let missing = || format!("{} has no section {name}", file.display());
    let (head, rest) = old.split_once(&begin).with_context(missing)?;
    let (_, tail) = rest.split_once(&end).with_context(missing)?;
    Ok(std::fs::write(file, format!("{head}{begin}\n{text}\n{end}{tail}"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_met_by_the_median() {
        let figure = |target| Figure { name: "x", target: Some(target), rounds: vec![1.0, 9.0, 2.0] };
        assert!(figure(Target::AtMost(2.0)).is_met());
        assert!(!figure(Target::AtMost(1.9)).is_met());
        assert!(figure(Target::AtLeast(2.0)).is_met());
        assert!(table(&[figure(Target::AtLeast(2.5))]).contains("| x | 2.00 | 1.00 – 9.00 | ≥ 2.50 | missed |"));
    }

    #[test]
    fn figures_of_a_development_build_say_so() {
        assert_eq!(circumstances("9.5").contains("to be repeated"), cfg!(debug_assertions));
        assert!(circumstances("9.5").contains("a load of 9.5 before"));
        assert!(load().parse::<f64>().is_ok_and(|load| load >= 0.0));
    }

    #[test]
    fn a_section_is_replaced_and_the_rest_kept() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "a\n<!-- x begin -->\nold\n<!-- x end -->\nb\n").unwrap();
        for _ in 0..2 {
            write_section(file.path(), "x", "new\n").unwrap();
            let text = std::fs::read_to_string(file.path()).unwrap();
            assert_eq!(text, "a\n<!-- x begin -->\n\nnew\n\n<!-- x end -->\nb\n");
        }
        assert!(write_section(file.path(), "y", "").is_err());
    }
}
