//! What is printed: sentences for people, or one JSON object a line for programs.

use std::io::{self, IsTerminal, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

use crate::failure::Failure;

/// Says things, in one of two languages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tell {
    json: bool,
}

impl Tell {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether a line that changes in place can be shown: somebody looks at a terminal.
    pub(crate) fn is_live(self) -> bool {
        !self.json && io::stderr().is_terminal()
    }

    /// Whether a program reads.
    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// Something happened: `text` for a person, `event` with `fields` (an object) for a program.
    pub(crate) fn event(self, event: &str, fields: &Value, text: &str) {
        if self.json {
            self.object(event, fields);
        } else if !text.is_empty() {
            self.line(text);
        }
    }

    /// Something that only a person at the terminal needs.
    pub(crate) fn note(self, text: &str) {
        if !self.json {
            eprintln!("{text}");
        }
    }

    /// What went wrong and what to do next, on standard error for a person.
    pub(crate) fn failure(self, failure: &Failure) {
        if self.json {
            let fields = serde_json::json!({
                "code": failure.code,
                "text": failure.text,
                "advice": failure.advice,
            });
            self.object("error", &fields);
            return;
        }
        let mut stderr = io::stderr().lock();
        // Nobody is left to tell when standard error is closed.
        let _ = writeln!(stderr, "ahoy: {}", failure.text);
        if !failure.advice.is_empty() {
            let _ = writeln!(stderr, "      {}", failure.advice);
        }
    }

    fn object(self, event: &str, fields: &Value) {
        let mut object = Map::new();
        object.insert("event".to_owned(), event.into());
        object.insert("at_ms".to_owned(), unix_ms().into());
        if let Value::Object(fields) = fields {
            object.extend(fields.clone());
        }
        self.line(&Value::Object(object).to_string());
    }

    fn line(self, text: &str) {
        let mut stdout = io::stdout().lock();
        // Whoever closed standard output does not want to know; the exit code still tells.
        let _ = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
    }
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
