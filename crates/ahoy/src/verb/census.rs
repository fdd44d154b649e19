//! `ahoy census`: which supernodes a network has, seen from outside, or what they carry, as their operator sees it.

mod fleet;
mod outside;
mod plot;

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use ratatui::crossterm::terminal;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use crate::cli::{Census, Common};
use crate::failure::Failure;
use crate::interrupt::Interrupts;
use crate::online;
use crate::tell::Tell;
use crate::text::cut;

/// Columns and rows of a terminal that does not say.
const SCREEN: (u16, u16) = (80, 24);

pub(crate) fn run(common: &Common, arguments: &Census, tell: Tell) -> Result<(), Failure> {
    let mut looker = Looker::new(common, arguments)?;
    online::run(async {
        match arguments.watch {
            None => {
                let picture = looker.look().await?;
                picture.tell(tell);
                picture.verdict
            }
            Some(every) => watch(&mut looker, every, tell).await,
        }
    })
}

/// One of the two views.
enum Looker {
    Outside(Box<outside::Outside>),
    Fleet(fleet::Fleet),
}

impl Looker {
    fn new(common: &Common, arguments: &Census) -> Result<Self, Failure> {
        match &arguments.operator {
            Some(folder) => Ok(Self::Fleet(fleet::Fleet::new(folder, arguments.plot.clone()))),
            None => Ok(Self::Outside(Box::new(outside::Outside::new(common)?))),
        }
    }

    async fn look(&mut self) -> Result<Picture, Failure> {
        match self {
            Self::Outside(outside) => outside.look().await,
            Self::Fleet(fleet) => fleet.look().await,
        }
    }
}

/// What one look has shown.
struct Picture {
    /// For programs: names and fields, in order.
    events: Vec<(&'static str, Value)>,
    /// For people.
    text: String,
    /// Whether everything is as it should be.
    verdict: Result<(), Failure>,
}

impl Picture {
    fn tell(&self, tell: Tell) {
        if tell.is_json() {
            for (name, fields) in &self.events {
                tell.event(name, fields, "");
            }
        } else {
            tell.event("", &json!({}), &self.text);
        }
    }

    /// In the place of one, where a look came to nothing.
    fn of_failure(failure: Failure) -> Self {
        let fields = json!({ "ok": false, "code": failure.code, "text": failure.text });
        Self { events: vec![("census", fields)], text: String::new(), verdict: Err(failure) }
    }

    /// One of many: what is wrong comes first, where the end of a screen does not cut it off.
    fn with_verdict(mut self) -> Self {
        if let Err(failure) = &self.verdict {
            let text = format!("{}\n{}\n\n{}", failure.text, failure.advice, self.text);
            self.text = text.trim_end().to_owned();
        }
        self
    }
}

/// Looks until Ctrl-C, which is how it ends well.
async fn watch(looker: &mut Looker, every: Duration, tell: Tell) -> Result<(), Failure> {
    let mut interrupts = Interrupts::new()?;
    let on_screen = !tell.is_json() && io::stdout().is_terminal();
    loop {
        let next = Instant::now() + every;
        let picture = tokio::select! {
            picture = looker.look() => picture.unwrap_or_else(Picture::of_failure).with_verdict(),
            () = interrupts.next() => return Ok(()),
        };
        if on_screen {
            redraw(&picture.text);
        } else {
            picture.tell(tell);
        }
        tokio::select! {
            () = sleep_until(next) => {}
            () = interrupts.next() => return Ok(()),
        }
    }
}

/// Puts a picture in the place of the one before, without a moment in which there is none.
fn redraw(text: &str) {
    let (columns, rows) = terminal::size().unwrap_or(SCREEN);
    let mut screen = "\x1b[H".to_owned();
    for line in text.lines().take(usize::from(rows).saturating_sub(1)) {
        screen += &cut(line, columns.into());
        screen += "\x1b[K\n";
    }
    screen += "\x1b[J";
    let mut stdout = io::stdout().lock();
    // Whoever closed it does not look.
    let _ = stdout.write_all(screen.as_bytes()).and_then(|()| stdout.flush());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Exit;

    #[test]
    fn who_watches_sees_first_what_is_wrong_and_sees_it_once() {
        let failure = || Failure::new(Exit::Unreachable, "missing", "one is missing", "Start it.");
        let picture = Picture { events: Vec::new(), text: "the table".to_owned(), verdict: Err(failure()) };
        assert_eq!(picture.with_verdict().text, "one is missing\nStart it.\n\nthe table");
        assert_eq!(Picture::of_failure(failure()).with_verdict().text, "one is missing\nStart it.");
    }
}
