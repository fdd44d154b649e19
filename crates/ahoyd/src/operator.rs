//! What the operator's commands share: the database, beside a daemon that may run, and two languages of output.
//!
//! They open the database for themselves, and its locks keep the two processes apart. What one changes, the other reads in its
//! next transaction.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;

use ahoy_proto::Name;
use ahoy_store::{AccountByName, Store, StoreError, Verb};
use anyhow::{Context as _, bail};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::config::Config;
use crate::{folder, store};

/// The database, for one command.
#[derive(Debug)]
pub(crate) struct Books {
    store: Store,
    runtime: Runtime,
}

impl Books {
    /// Opens the database of a network that there is.
    ///
    /// # Errors
    /// When no daemon has made one yet, or it can't be opened.
    pub(crate) fn open(config: &Config) -> anyhow::Result<Self> {
        let exists = config.store.is_some() || folder::database(&config.data).exists();
        if !exists {
            bail!("there is no network in {} yet: start `ahoyd serve` once", config.data.display());
        }
        Self::of(store::open(config)?)
    }

    /// Opens a database.
    ///
    /// # Errors
    /// When it can't be opened.
    pub(crate) fn at(database: &Path) -> anyhow::Result<Self> {
        Self::of(Store::open(database).with_context(|| database.display().to_string())?)
    }

    fn of(store: Store) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { store, runtime })
    }

    /// Carries out a verb and waits until it is durable.
    ///
    /// # Errors
    /// As the verb says.
    pub(crate) fn ask<V: Verb>(&self, verb: V) -> Result<V::Output, StoreError> {
        self.runtime.block_on(self.store.call(verb))
    }

    /// The account of a name as typed.
    ///
    /// # Errors
    /// When it is no name, or nobody's.
    pub(crate) fn account(&self, name: &str) -> anyhow::Result<ahoy_store::Account> {
        let name = Name::parse(name).with_context(|| format!("{name:?}"))?;
        self.ask(AccountByName { name: name.clone() })?.with_context(|| format!("there is no account {name}"))
    }

    /// Waits for something that the store does.
    pub(crate) fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// The store, for what takes more than one verb.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }
}

/// Says something to a person, or as one JSON object to a program.
pub(crate) fn say(json: bool, object: &Value, text: &str) {
    let line = if json { object.to_string() } else { text.to_owned() };
    // Whoever closed standard output does not want to know; the exit code still tells.
    let _ = writeln!(io::stdout().lock(), "{line}");
}

/// Whether a person agrees. Nobody is asked where nobody could answer.
///
/// # Errors
/// When standard input is no terminal.
pub(crate) fn agrees(question: &str) -> anyhow::Result<bool> {
    if !io::stdin().is_terminal() {
        bail!("this can't be undone: say --yes if you are sure");
    }
    eprint!("{question} [y/N] ");
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// A day as people write it. Days are counted in UTC from the Unix epoch; the sum is that of the proleptic Gregorian
/// calendar, in eras of 400 years that begin on 1 March.
pub(crate) fn date(seconds: u64) -> String {
    let days = seconds / 86_400 + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// Date and time, in UTC.
pub(crate) fn moment(seconds: u64) -> String {
    let of_day = seconds % 86_400;
    format!("{} {:02}:{:02}:{:02} UTC", date(seconds), of_day / 3_600, of_day / 60 % 60, of_day % 60)
}

/// Text of strangers, fit for a terminal: what would move its cursor, change its colours or turn its direction is shown as an
/// escape.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if turns || c.is_control() && c != '\n' { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

/// Bytes as people read them.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} bytes"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        let day = |days: u64| date(days * 86_400 + 86_399);
        assert_eq!(
            [0, 59, 11_016, 11_017, 20_782].map(day),
            ["1970-01-01", "1970-03-01", "2000-02-29", "2000-03-01", "2026-11-25"]
        );
        assert_eq!(moment(1_800_000_000), "2027-01-15 08:00:00 UTC");
    }

    #[test]
    fn strangers_do_not_write_on_the_terminal() {
        assert_eq!(printable("a\u{1b}[31mb\nc\u{9b}ö"), "a\\u{1b}[31mb\nc\\u{9b}ö");
        assert_eq!(printable("\u{202e}evil"), "\\u{202e}evil");
    }
}
