//! `ahoyd enrol` and `ahoyd supernodes`: what the operator does about supernodes, beside the authority's daemon, which takes it up
//! within two seconds.

use ahoy_authority::{ENROLMENT_LIFE, Granted, check_granted, make_enrolment, wall_clock};
use ahoy_proto::SupernodeId;
use ahoy_store::{ChangeSupernode, Enrolled, ListSupernodes, RevokeSupernode, StoreError};
use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use crate::args::{ChangeArgs, EnrolArgs, OperatorArgs, PlaceArgs, RevokeArgs, SupernodesCommand};
use crate::config::{Config, Role};
use crate::membership;
use crate::operator::{Books, agrees, date, printable, say};
use crate::{daemon, folder};

pub(crate) fn operator_args(command: &SupernodesCommand) -> &OperatorArgs {
    match command {
        SupernodesCommand::List(args) => args,
        SupernodesCommand::Revoke(args) => &args.which.operator,
        SupernodesCommand::Change(args) => &args.which.operator,
    }
}

pub(crate) fn run(config: &Config, command: &SupernodesCommand) -> anyhow::Result<()> {
    let books = open(config)?;
    match command {
        SupernodesCommand::List(args) => list(&books, args.json),
        SupernodesCommand::Revoke(args) => revoke(config, &books, args),
        SupernodesCommand::Change(args) => change(&books, args),
    }
}

/// The database, where the authority is: who reaches a shared one from elsewhere could write, but not sign.
fn open(config: &Config) -> anyhow::Result<Books> {
    if !config.is(Role::Authority) {
        bail!("this is a supernode alone: supernodes are enrolled, changed and revoked where the authority is");
    }
    Books::open(config)
}

pub(crate) fn enrol(config: &Config, args: &EnrolArgs) -> anyhow::Result<()> {
    let granted = granted(&args.place)?;
    let books = open(config)?;
    let now = wall_clock();
    let token = books.wait(make_enrolment(books.store(), granted, now))?;
    let authority = daemon::own_url(config);
    let object = json!({ "token": token, "authority": authority, "expires": now.plus(ENROLMENT_LIFE).0 });
    // One line that can be copied; what is to be known about it goes elsewhere.
    let text = format!("ahoyd join --config /etc/ahoy/ahoy.toml --authority {authority} --token {token}");
    say(args.operator.json, &object, &text);
    if !args.operator.json {
        eprintln!("ahoyd: run this on the new machine within a day; whoever has the token can join, once");
    }
    Ok(())
}

fn granted(place: &PlaceArgs) -> anyhow::Result<Granted> {
    let PlaceArgs { region, weight, addresses } = place;
    let addresses = Some(addresses).filter(|addresses| !addresses.is_empty()).cloned();
    let granted = Granted { addresses, region: region.clone(), weight: *weight };
    check_granted(&granted)?;
    Ok(granted)
}

fn list(books: &Books, json: bool) -> anyhow::Result<()> {
    for supernode in &books.ask(ListSupernodes)?.supernodes {
        say(json, &object(supernode), &line(supernode));
    }
    Ok(())
}

fn line(enrolled: &Enrolled) -> String {
    let Enrolled { supernode, number, place, enrolled_at, revoked_at, .. } = enrolled;
    let since = date(enrolled_at.0);
    let revoked = revoked_at.map_or_else(String::new, |at| format!(", revoked {}", date(at.0)));
    let region = if place.region.is_empty() { String::new() } else { format!(", {}", printable(&place.region)) };
    format!(
        "{}  {number:5} since {since}, weight {}, {}{region}{revoked}",
        supernode.to_hex(),
        place.weight,
        place.addresses.join(" ")
    )
}

fn object(enrolled: &Enrolled) -> Value {
    let Enrolled { supernode, number, place, enrolled_at, revoked_at, .. } = enrolled;
    json!({
        "supernode": supernode.to_hex(),
        "number": number,
        "addresses": place.addresses,
        "region": place.region,
        "weight": place.weight,
        "enrolled_at": enrolled_at.0,
        "revoked_at": revoked_at.map(|at| at.0),
    })
}

/// The one whose id begins so.
fn find(books: &Books, text: &str) -> anyhow::Result<Enrolled> {
    let wanted = text.to_ascii_lowercase();
    let all = books.ask(ListSupernodes)?.supernodes;
    let mut found = all.into_iter().filter(|one| !wanted.is_empty() && one.supernode.to_hex().starts_with(&wanted));
    let first = found.next().with_context(|| format!("there is no supernode {text:?}: see `ahoyd supernodes list`"))?;
    if found.next().is_some() {
        bail!("several supernodes begin with {text:?}: say more of the id");
    }
    Ok(first)
}

fn revoke(config: &Config, books: &Books, args: &RevokeArgs) -> anyhow::Result<()> {
    let Enrolled { supernode, number, .. } = find(books, &args.which.supernode)?;
    let own = membership::roster_key(&folder::keys(&config.data)).ok();
    let own = own.map(|key| SupernodeId::of_roster_key(key.verifying_key().as_bytes()));
    if config.is(Role::Supernode) && own == Some(supernode) {
        bail!("this is the supernode of this very machine: set `roles = [\"authority\"]` and start again first");
    }
    let question = format!("Revoke supernode {} (number {number}) for good?", supernode.to_hex());
    if !args.yes && !agrees(&question)? {
        bail!("nothing was revoked");
    }
    books.ask(RevokeSupernode { supernode, at: wall_clock() })?;
    let object = json!({ "supernode": supernode.to_hex(), "number": number, "revoked": true });
    let text = format!("{} is no supernode any more: all hear of it within seconds", supernode.to_hex());
    say(args.which.operator.json, &object, &text);
    Ok(())
}

fn change(books: &Books, args: &ChangeArgs) -> anyhow::Result<()> {
    let change = granted(&args.place)?;
    if change == Granted::default() {
        bail!("say what is to change: --region, --weight or --address");
    }
    let Enrolled { supernode, .. } = find(books, &args.which.supernode)?;
    let changed = match books.ask(ChangeSupernode { supernode, change }) {
        Err(StoreError::NotFound) => bail!("{} has been revoked", supernode.to_hex()),
        changed => changed?,
    };
    say(args.which.operator.json, &object(&changed), &line(&changed));
    Ok(())
}
