//! What comes in: lines with a bound, and the commands that they say.

use std::io::{BufRead, Read};

use serde::Deserialize;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::failure::{Exit, Failure};

/// Longest line, in bytes: the longest text is 16 KiB, and JSON may write each of its bytes as `\u00xx`.
pub(super) const LINE_MAX: usize = 128 * 1024;

/// Lines read and not carried out yet; whoever writes more waits.
const LINES: usize = 4;

/// Lines of a conversation that a history gives at once, at most; as `ahoy history`.
const HISTORY_MAX: u32 = 10_000;

/// A line of standard input.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Without its end.
    Bytes(Vec<u8>),
    /// It is passed over.
    TooLong,
}

/// Lines as they are written. A thread of its own waits for them, because reading can't be called off; it ends with the process.
pub(super) fn lines() -> mpsc::Receiver<Line> {
    let (lines, written) = mpsc::channel(LINES);
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        // An input that can't be read has ended.
        while let Ok(Some(line)) = next_line(&mut input) {
            if lines.blocking_send(line).is_err() {
                return;
            }
        }
    });
    written
}

/// The next line that is not empty; `None` at the end.
fn next_line(input: &mut impl BufRead) -> std::io::Result<Option<Line>> {
    loop {
        let mut bytes = Vec::new();
        let limit = LINE_MAX as u64 + 1;
        if input.by_ref().take(limit).read_until(b'\n', &mut bytes)? == 0 {
            return Ok(None);
        }
        if bytes.len() > LINE_MAX && bytes.last() != Some(&b'\n') {
            input.skip_until(b'\n')?;
            return Ok(Some(Line::TooLong));
        }
        let bytes = bytes.trim_ascii();
        if !bytes.is_empty() {
            return Ok(Some(Line::Bytes(bytes.to_vec())));
        }
    }
}

/// A command, or why a line is none.
#[derive(Debug)]
pub(super) struct Command {
    /// Chosen by whoever gives it, to know the answer by; null where there is none.
    pub(super) id: Value,
    pub(super) deed: Result<Deed, Failure>,
}

/// What can be asked for.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Deed {
    Send {
        to: String,
        text: String,
    },
    Post {
        to: String,
        text: String,
    },
    History {
        with: String,
        #[serde(default = "all")]
        last: u32,
    },
    MarkRead {
        with: String,
        sequence: u64,
    },
    Conversations {},
    Members {
        group: String,
    },
    GroupCreate {
        title: String,
        names: Vec<String>,
    },
    Invite {
        group: String,
        names: Vec<String>,
    },
    Remove {
        group: String,
        name: String,
    },
    Leave {
        group: String,
    },
    Rename {
        group: String,
        title: String,
    },
    Contacts {},
    ContactsAdd {
        name: String,
        #[serde(default)]
        note: String,
    },
    ContactsAccept {
        name: String,
    },
    ContactsDecline {
        name: String,
    },
    ContactsRemove {
        name: String,
    },
    Presence {
        availability: Option<Availability>,
        mood: Option<String>,
    },
}

/// How others are to see the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Availability {
    Online,
    Away,
    Dnd,
    Invisible,
}

fn all() -> u32 {
    HISTORY_MAX
}

impl Command {
    pub(super) fn parse(line: Line) -> Self {
        let Line::Bytes(bytes) = line else {
            let text = format!("a line has at most {} KiB", LINE_MAX / 1024);
            let advice = "A message has at most 16 KiB of text.";
            return Self { id: Value::Null, deed: Err(Failure::new(Exit::Refused, "line-too-long", text, advice)) };
        };
        let mut object: Value = match serde_json::from_slice(&bytes) {
            Ok(object @ Value::Object(_)) => object,
            Ok(_) => return Self { id: Value::Null, deed: Err(no_command("a command is a JSON object")) },
            Err(error) => return Self { id: Value::Null, deed: Err(no_command(&format!("this is no JSON: {error}"))) },
        };
        let id = object.as_object_mut().and_then(|object| object.remove("id")).unwrap_or_default();
        if !(id.is_null() || id.is_number() || id.is_string()) {
            return Self { id: Value::Null, deed: Err(no_command("an id is a number or a text")) };
        }
        let deed = Deed::deserialize(object).map_err(|error| no_command(&error.to_string()));
        let too_much = |deed: &Deed| matches!(deed, Deed::History { last, .. } if *last > HISTORY_MAX);
        let deed = match deed {
            Ok(deed) if too_much(&deed) => {
                Err(no_command(&format!("a history gives at most {HISTORY_MAX} lines at once")))
            }
            deed => deed,
        };
        Self { id, deed }
    }
}

fn no_command(text: &str) -> Failure {
    Failure::new(Exit::Refused, "no-command", text, "`ahoy pipe --help` shows what a command looks like.")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(text: &str) -> Command {
        Command::parse(Line::Bytes(text.as_bytes().to_vec()))
    }

    #[test]
    fn a_command_is_an_object_with_do() {
        let Command { id, deed } = parse(r#"{"id":1,"do":"send","to":"bob","text":"hello"}"#);
        assert_eq!(id, json!(1));
        assert_eq!(deed.unwrap(), Deed::Send { to: "bob".to_owned(), text: "hello".to_owned() });
        let deed = parse(r#"{"do":"history","with":"Crew"}"#).deed.unwrap();
        assert_eq!(deed, Deed::History { with: "Crew".to_owned(), last: HISTORY_MAX });
        assert_eq!(parse(r#"{"id":"x","do":"conversations"}"#).deed.unwrap(), Deed::Conversations {});
    }

    #[test]
    fn what_is_no_command_is_said_with_its_id_where_there_is_one() {
        let said = |text: &str| {
            let Command { id, deed } = parse(text);
            let failure = deed.unwrap_err();
            assert_eq!(failure.code, "no-command", "{text}");
            (id, failure.text)
        };
        assert_eq!(said("hello").0, Value::Null);
        assert_eq!(said("[1]").0, Value::Null);
        assert_eq!(said(r#"{"id":[],"do":"contacts"}"#).0, Value::Null);
        let (id, text) = said(r#"{"id":7,"do":"sing"}"#);
        assert!(id == json!(7) && text.contains("`sing`") && text.contains("`send`"), "{text}");
        assert!(said(r#"{"id":7,"do":"send","to":"bob"}"#).1.contains("`text`"));
        assert!(said(r#"{"id":7,"do":"send","to":"bob","text":"x","tone":"y"}"#).1.contains("`tone`"));
        assert!(said(r#"{"do":"history","with":"bob","last":10001}"#).1.contains("10000"));
    }

    #[test]
    fn a_line_has_a_bound_and_the_next_one_is_read() {
        let mut input = Vec::new();
        input.extend_from_slice(b"first\n\n \r\n");
        input.extend(std::iter::repeat_n(b'x', 1 << 20));
        input.push(b'\n');
        let longest = vec![b'y'; LINE_MAX];
        input.extend_from_slice(&longest);
        input.extend_from_slice(b"\nlast");
        let mut input = &input[..];
        let mut next = || next_line(&mut input).unwrap();
        assert_eq!(next(), Some(Line::Bytes(b"first".to_vec())));
        assert_eq!(next(), Some(Line::TooLong));
        assert_eq!(next(), Some(Line::Bytes(longest)));
        assert_eq!(next(), Some(Line::Bytes(b"last".to_vec())));
        assert_eq!(next(), None);
    }
}
