//! `ahoyd invite`: codes that let one person each sign up. Works beside a running daemon.

use ahoy_authority::{Admission, INVITE_LIFE, make_invite, wall_clock};
use serde_json::json;

use crate::args::InviteArgs;
use crate::config::Config;
use crate::operator::{Books, say};

pub(crate) fn run(config: &Config, args: &InviteArgs) -> anyhow::Result<()> {
    let books = Books::open(config)?;
    for _ in 0..args.count {
        let now = wall_clock();
        let invite = books.wait(make_invite(books.store(), Admission::Invited, now))?;
        let object = json!({ "invite": invite, "expires": now.plus(INVITE_LIFE).0 });
        say(args.operator.json, &object, &invite);
    }
    Ok(())
}
