//! `ahoyd reports`: what people complain of. They are sealed to the network's report key, and opened here only.
//!
//! A report is its reporter's word: nothing proves that the messages in it were ever sent.

use ahoy_authority::{Keys, wall_clock};
use ahoy_proto::report::{self, ReportSecret};
use ahoy_proto::{AccountId, v1};
use ahoy_store::{AccountOf, ForgetReport, ListReports, Reported, StoreError};
use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use crate::args::{NumberedArgs, OperatorArgs, ReportsCommand};
use crate::config::Config;
use crate::folder;
use crate::operator::{Books, moment, printable, say};

/// Characters of a reason that a list shows.
const GLIMPSE: usize = 60;

pub(crate) fn operator_args(command: &ReportsCommand) -> &OperatorArgs {
    match command {
        ReportsCommand::List(args) => args,
        ReportsCommand::Show(numbered) | ReportsCommand::Forget(numbered) => &numbered.operator,
    }
}

pub(crate) fn run(config: &Config, command: &ReportsCommand) -> anyhow::Result<()> {
    let books = Books::open(config)?;
    match command {
        ReportsCommand::List(args) => list(&books, &secret(config)?, args.json),
        ReportsCommand::Show(numbered) => show(&books, &secret(config)?, numbered),
        ReportsCommand::Forget(numbered) => forget(&books, numbered),
    }
}

fn secret(config: &Config) -> anyhow::Result<ReportSecret> {
    let folder = folder::keys(&config.data);
    if !folder.exists() {
        bail!("{} is missing: reports can't be opened without it", folder.display());
    }
    Ok(Keys::load_or_create(&folder, wall_clock())?.report_secret().clone())
}

fn list(books: &Books, secret: &ReportSecret, json: bool) -> anyhow::Result<()> {
    let mut after = 0;
    loop {
        let page = books.ask(ListReports { after })?;
        for reported in &page {
            let opened = Opened::of(books, secret, reported)?;
            say(json, &opened.object(), &opened.line());
        }
        let Some(last) = page.last() else { return Ok(()) };
        after = last.arrival;
    }
}

fn show(books: &Books, secret: &ReportSecret, numbered: &NumberedArgs) -> anyhow::Result<()> {
    let number = numbered.number;
    let page = books.ask(ListReports { after: number.saturating_sub(1) })?;
    let reported = page.first().filter(|reported| reported.arrival == number);
    let opened = Opened::of(books, secret, reported.with_context(|| unknown(number))?)?;
    say(numbered.operator.json, &opened.object(), &opened.text());
    Ok(())
}

fn forget(books: &Books, numbered: &NumberedArgs) -> anyhow::Result<()> {
    let number = numbered.number;
    match books.ask(ForgetReport { arrival: number }) {
        Err(StoreError::NotFound) => bail!(unknown(number)),
        forgotten => forgotten?,
    }
    say(
        numbered.operator.json,
        &json!({ "report": number, "forgotten": true }),
        &format!("report {number} is forgotten"),
    );
    Ok(())
}

fn unknown(number: u64) -> String {
    format!("there is no report {number}")
}

/// A report with names in the place of ids, as far as it opens.
struct Opened {
    number: u64,
    at: u64,
    reporter: String,
    about: String,
    /// `None`: sealed to another key, or not a report.
    content: Option<Content>,
}

struct Content {
    reason: String,
    messages: Vec<Message>,
}

/// What the reporter says that somebody wrote.
struct Message {
    by: String,
    at: u64,
    text: String,
}

impl Opened {
    fn of(books: &Books, secret: &ReportSecret, reported: &Reported) -> anyhow::Result<Self> {
        let Reported { arrival, reporter, about, at, ref sealed } = *reported;
        let content = match report::open(sealed, reporter, about, secret) {
            Ok(content) => Some(Content::of(books, content)?),
            Err(report::NotOpened) => None,
        };
        let (reporter, about) = (name_of(books, reporter)?, name_of(books, about)?);
        Ok(Self { number: arrival, at: at.0, reporter, about, content })
    }

    fn object(&self) -> Value {
        let message = |message: &Message| json!({ "by": message.by, "at": message.at, "text": message.text });
        json!({
            "report": self.number,
            "at": self.at,
            "reporter": self.reporter,
            "about": self.about,
            "reason": self.content.as_ref().map(|content| &content.reason),
            "messages": self.content.as_ref().map(|content| content.messages.iter().map(message).collect::<Vec<_>>()),
        })
    }

    fn line(&self) -> String {
        let reason = match &self.content {
            None => "(does not open with this report.key)".to_owned(),
            Some(content) => content.reason.chars().take(GLIMPSE).map(|c| if c == '\n' { ' ' } else { c }).collect(),
        };
        format!("{}  {}  {} about {}: {}", self.number, moment(self.at), self.reporter, self.about, printable(&reason))
    }

    fn text(&self) -> String {
        let head =
            format!("report {}, {}\n{} complains of {}", self.number, moment(self.at), self.reporter, self.about);
        let Some(content) = &self.content else { return format!("{head}\nIt does not open with this report.key.") };
        let mut text = format!("{head}:\n\n{}\n", indented(&content.reason));
        if !content.messages.is_empty() {
            text.push_str("\nWhat the reporter shows (nothing proves it):\n");
        }
        for message in &content.messages {
            text.push_str(&format!("\n{}, {}:\n{}\n", message.by, moment(message.at), indented(&message.text)));
        }
        text.trim_end().to_owned()
    }
}

/// So that no line of a stranger's looks like one of ours.
fn indented(text: &str) -> String {
    printable(text).lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

impl Content {
    fn of(books: &Books, content: v1::ReportContent) -> anyhow::Result<Self> {
        let message = |message: v1::RevealedMessage| {
            let by = match AccountId::try_from(&message.account[..]) {
                Ok(account) => name_of(books, account)?,
                Err(_) => "somebody".to_owned(),
            };
            Ok(Message { by, at: message.at_ms / 1_000, text: message.text })
        };
        let messages = content.messages.into_iter().map(message).collect::<anyhow::Result<_>>()?;
        Ok(Self { reason: content.reason, messages })
    }
}

/// The account's name, or its id when it is gone.
fn name_of(books: &Books, account: AccountId) -> anyhow::Result<String> {
    match books.ask(AccountOf { account }) {
        Ok(account) => Ok(account.name.as_str().to_owned()),
        Err(StoreError::NotFound) => Ok(format!("account {}, which is gone", account.to_hex())),
        Err(error) => Err(error.into()),
    }
}
