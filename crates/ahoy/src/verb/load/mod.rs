//! `ahoy load URL`: thousands of real clients in this process, which put a load on a network and measure how it fares.
//!
//! Each client is the SDK's, with a profile in memory; all share a few UDP sockets. Arrivals are open-loop: sign-ins, messages and calls
//! fall due by the clock, whatever the network does, and are timed from the moment at which they were due.

mod accounts;
mod agenda;
mod crowd;
mod figures;
mod person;
mod strike;

use std::process::exit;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ahoy_client::profile::Identity;
use serde_json::json;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval, sleep_until, timeout};

use crate::cli::{Common, Load};
use crate::failure::{Exit, Failure};
use crate::interrupt::{INTERRUPTED, Interrupts};
use crate::online;
use crate::tell::Tell;
use accounts::Ledger;
use crowd::Crowd;

/// How long may pass until everybody is signed in, beyond the time in which they fall due.
const SIGNED_IN_WITHIN: Duration = Duration::from_secs(120);

/// How long messages under way at the end are waited for.
const SETTLE: Duration = Duration::from_secs(20);

/// How often the live line is drawn and a JSON object printed.
const TICK: Duration = Duration::from_secs(1);

pub(crate) fn run(common: &Common, arguments: &Load, tell: Tell) -> Result<(), Failure> {
    check(arguments)?;
    let ledger = Ledger::open(common, arguments, tell)?;
    let outcome = ledger.sign_up(tell).and_then(|identities| {
        let crowd = Arc::new(Crowd::new(&ledger, arguments, online::options(common)));
        online::run(on_network(&crowd, identities, arguments, tell))
    });
    // Whatever came of the load, its accounts are of no more use.
    let deleted = online::run(delete_accounts(ledger, tell));
    match (outcome, deleted) {
        (Err(failure), Err(also)) => {
            let text = format!("{}; besides, its accounts are not deleted: {}", failure.text, also.text);
            Err(Failure { text, ..failure })
        }
        (outcome, deleted) => outcome.and(deleted),
    }
}

/// Deletes them all, or ends the process: the next load does the rest.
async fn delete_accounts(ledger: Ledger, tell: Tell) -> Result<(), Failure> {
    let mut interrupts = Interrupts::new()?;
    let deleted = spawn_blocking(move || ledger.delete_accounts(tell));
    tokio::select! {
        deleted = deleted => {
            deleted.unwrap_or_else(|panic| Err(Failure::new(Exit::Other, "accounts", panic.to_string(), "")))
        }
        () = interrupts.next() => {
            wipe(tell);
            tell.note("the next load deletes the accounts that are left");
            exit(INTERRUPTED)
        }
    }
}

fn check(arguments: &Load) -> Result<(), Failure> {
    let wrong = |text: &str| Err(Failure::new(Exit::Refused, "load", text, "See `ahoy load --help`."));
    if arguments.clients == 0 {
        return wrong("a load has at least one client");
    }
    if arguments.ramp <= 0.0 || !arguments.ramp.is_finite() {
        return wrong("clients come at a rate above zero; for all of them at once there is --storm");
    }
    if arguments.calls.saturating_mul(2) > arguments.clients {
        return wrong("each call takes two clients: --clients must be at least twice --calls");
    }
    if arguments.messages > 0.0 && arguments.clients < 2 {
        return wrong("messages take two clients");
    }
    if !(0.0..=MESSAGES_A_SECOND_MAX).contains(&arguments.messages) {
        return wrong("that is more than one process can send: at most 100000 messages a second");
    }
    if arguments.strike.is_some() && arguments.strike_after >= arguments.length {
        return wrong("--strike-after must be less than --for");
    }
    Ok(())
}

/// Far beyond what a machine does; keeps the table of messages within memory.
const MESSAGES_A_SECOND_MAX: f64 = 100_000.0;

/// From the first sign-in to the last word.
async fn on_network(
    crowd: &Arc<Crowd>,
    identities: Vec<Identity>,
    arguments: &Load,
    tell: Tell,
) -> Result<(), Failure> {
    let mut interrupts = Interrupts::new()?;
    let ticking = tokio::spawn(tick(Arc::clone(crowd), tell));
    let (played, interrupted) = tokio::select! {
        played = play(crowd, identities, arguments, tell) => (played, false),
        () = interrupts.next() => (Ok(()), true),
    };
    crowd.stop();
    tokio::select! {
        () = crowd.gone() => {}
        () = interrupts.next() => {}
    }
    ticking.abort();
    // It may be telling of a second right now.
    let _ = ticking.await;
    wipe(tell);
    let result = crowd.result(interrupted);
    tell.event("load", &result.json(), &result.table());
    // Where nobody is signed in, nobody has met either.
    result.verdict().and(played)
}

/// Takes the live line away.
fn wipe(tell: Tell) {
    if tell.is_live() {
        eprint!("\r\x1b[K");
    }
}

/// The whole piece: everybody signs in, meets, and then calls and writes for as long as was wished.
async fn play(crowd: &Arc<Crowd>, identities: Vec<Identity>, arguments: &Load, tell: Tell) -> Result<(), Failure> {
    crowd.phase("signing in");
    let due_within = if arguments.storm {
        Duration::ZERO
    } else {
        Duration::from_secs_f64((arguments.clients as f64 / arguments.ramp).min(86_400.0))
    };
    let begin = Instant::now();
    for (index, identity) in identities.into_iter().enumerate() {
        crowd.enter(index, identity, begin_at(begin, due_within, index, arguments.clients));
    }
    if timeout(due_within + SIGNED_IN_WITHIN, crowd.complete()).await.is_err() {
        tell.note("not everybody could sign in; the load goes on with those who did");
    }
    crowd.phase("meeting");
    crowd.meet().await?;
    crowd.phase("load");
    let begin = Instant::now();
    let end = begin + arguments.length;
    crowd.begin(begin, end);
    tell.event("load-begins", &json!({ "signed_in": crowd.signed_in(), "pairs": crowd.pairs() }), "");
    let messages = agenda::write(crowd, begin, end, arguments.messages);
    let strike = strike::strike(crowd, begin, end, arguments, tell);
    tokio::join!(messages, strike, sleep_until(end.into()));
    crowd.phase("settling");
    // Those that do not arrive within the time are lost, and counted so.
    let _ = timeout(SETTLE, crowd.settled()).await;
    Ok(())
}

/// When somebody is to sign in: evenly over the time.
fn begin_at(begin: Instant, within: Duration, index: usize, clients: usize) -> Instant {
    begin + within.mul_f64(index as f64 / clients as f64)
}

/// Says once a second how it goes.
async fn tick(crowd: Arc<Crowd>, tell: Tell) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let second = crowd.second();
        if tell.is_live() {
            eprint!("\r\x1b[K{}", second.line());
        }
        tell.event("second", &second.json(), "");
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Verb};

    #[test]
    fn what_can_t_be_done_is_refused_for_what_it_is() {
        let refusal = |words: &[&str]| {
            let cli = Cli::parse_from(["ahoy", "load", "http://localhost:8080"].iter().chain(words));
            let Some(Verb::Load(load)) = cli.verb else { panic!("{words:?}") };
            check(&load).err().map(|failure| failure.text)
        };
        assert_eq!(refusal(&[]), None);
        assert_eq!(refusal(&["--storm"]), None);
        for (words, about) in [
            (["--clients", "0"], "at least one client"),
            (["--ramp", "inf"], "--storm"),
            (["--ramp", "NaN"], "--storm"),
            (["--ramp", "0"], "--storm"),
            (["--calls", "51"], "two clients"),
            (["--messages", "1e6"], "messages a second"),
        ] {
            let text = refusal(&words).unwrap_or_default();
            assert!(text.contains(about), "{words:?}: {text}");
        }
    }
}
