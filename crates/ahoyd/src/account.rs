//! `ahoyd account`: what the operator does about accounts. Works beside a running daemon, which closes the sessions of whoever
//! is suspended or deleted within two seconds.

use ahoy_authority::wall_clock;
use ahoy_proto::Name;
use ahoy_store::{Account, AccountSummary, Day, DeleteAccount, ListAccounts, ListDevices, SummaryOf, Suspend};
use anyhow::bail;
use serde_json::{Value, json};

use crate::args::{AccountCommand, DeleteArgs, NamedArgs, OperatorArgs};
use crate::config::Config;
use crate::operator::{Books, agrees, date, printable, say};

const SECONDS_OF_DAY: u64 = 86_400;

pub(crate) fn operator_args(command: &AccountCommand) -> &OperatorArgs {
    match command {
        AccountCommand::List(args) => args,
        AccountCommand::Show(named) | AccountCommand::Suspend(named) | AccountCommand::Restore(named) => {
            &named.operator
        }
        AccountCommand::Delete(args) => &args.named.operator,
    }
}

pub(crate) fn run(config: &Config, command: &AccountCommand) -> anyhow::Result<()> {
    let books = Books::open(config)?;
    match command {
        AccountCommand::List(args) => list(&books, args.json),
        AccountCommand::Show(named) => show(&books, named),
        AccountCommand::Suspend(named) => suspend(&books, named, true),
        AccountCommand::Restore(named) => suspend(&books, named, false),
        AccountCommand::Delete(args) => delete(config, &books, args),
    }
}

fn list(books: &Books, json: bool) -> anyhow::Result<()> {
    let mut after = None;
    loop {
        let page = books.ask(ListAccounts { after })?;
        for account in &page {
            say(json, &object(account), &line(account));
        }
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.name.clone());
    }
}

fn line(account: &AccountSummary) -> String {
    let devices = match account.devices {
        1 => "1 device".to_owned(),
        some => format!("{some} devices"),
    };
    let seen = account.last_seen.map_or_else(|| "never seen".to_owned(), |day| format!("seen {}", date(seconds(day))));
    let suspended = if account.suspended { ", suspended" } else { "" };
    format!("{:32} since {}, {devices}, {seen}{suspended}", account.name.as_str(), date(account.made_at.0))
}

/// Days of the past are told as days: nothing finer is kept.
fn object(account: &AccountSummary) -> Value {
    json!({
        "name": account.name,
        "account": account.account.to_hex(),
        "suspended": account.suspended,
        "made_at": account.made_at.0,
        "devices": account.devices,
        "last_seen": account.last_seen.map(|day| date(seconds(day))),
    })
}

fn seconds(day: Day) -> u64 {
    u64::from(day.0) * SECONDS_OF_DAY
}

fn show(books: &Books, named: &NamedArgs) -> anyhow::Result<()> {
    let Account { account, .. } = books.account(&named.name)?;
    let summary = books.ask(SummaryOf { account })?;
    let devices = books.ask(ListDevices { account, today: Day::of(wall_clock()) })?;
    let mut object = object(&summary);
    object["devices"] =
        devices.iter().map(|device| json!({ "name": device.name, "made_at": device.made_at })).collect();
    let mut text = format!("{}\n  account {}", line(&summary), account.to_hex());
    for device in &devices {
        text.push_str(&format!("\n  since {}: {}", date(device.made_at), printable(&device.name)));
    }
    say(named.operator.json, &object, &text);
    Ok(())
}

fn suspend(books: &Books, named: &NamedArgs, suspended: bool) -> anyhow::Result<()> {
    let Account { account, name, .. } = books.account(&named.name)?;
    books.ask(Suspend { account, suspended, at: wall_clock() })?;
    let text = if suspended {
        format!("{name} is shut out: its sessions close within seconds")
    } else {
        format!("{name} may come in again")
    };
    say(named.operator.json, &json!({ "name": name, "suspended": suspended }), &text);
    Ok(())
}

fn delete(config: &Config, books: &Books, args: &DeleteArgs) -> anyhow::Result<()> {
    let Account { account, name, .. } = books.account(&args.named.name)?;
    if Name::parse(&config.echo).is_ok_and(|echo| echo == name) {
        bail!("{name} is this network's echo account: set `echo = \"\"` and start the daemon again first");
    }
    let question = format!("Delete {name}, with its devices, contacts and one-to-one conversations, for good?");
    if !args.yes && !agrees(&question)? {
        bail!("nothing was deleted");
    }
    books.ask(DeleteAccount { account, at: wall_clock() })?;
    let text = format!("{name} is gone; nobody can take the name for 30 days");
    say(args.named.operator.json, &json!({ "name": name, "deleted": true }), &text);
    Ok(())
}
