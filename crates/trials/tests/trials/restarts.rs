//! What a daemon that dies at once, without a word, costs those whom it served.

use std::time::Duration;

use ahoy_trials::harness::{Daemon, DaemonOptions, Machine, Person, trial};
use ahoy_trials::returns::{self, Summary};
use anyhow::ensure;

/// Kills of one call: three times each way to be away. `cargo xtask bench returns` has more.
const KILLS: usize = 12;

/// From the port being open again to the first voice heard, 95 % of all times.
const RETURN_MAX: Duration = Duration::from_millis(1500);

#[test]
fn a_call_goes_on_after_kill_nine_of_its_supernode() {
    trial(Duration::from_secs(180), Machine::Alone, |trial| {
        let returns = returns::measure(trial, KILLS)?.both();
        let Summary { median, p95, worst } = returns::summary(&returns)?;
        println!("voice after {KILLS} kills, ms from open port, both sides: median {median}, p95 {p95}, worst {worst}");
        ensure!(u128::from(p95) <= RETURN_MAX.as_millis(), "p95 is {p95} ms: {returns:?}");
        Ok(())
    });
}

#[test]
fn what_was_acknowledged_is_there_after_kill_nine() {
    trial(Duration::from_secs(90), Machine::Shared, |trial| {
        let mut daemon = Daemon::start(trial, DaemonOptions::default())?;
        let mut people = Vec::new();
        for name in ["carol", "dave", "erin"] {
            people.push(Person::signed_up(trial, name, &daemon)?);
            // The very moment after the answer.
            daemon.kill_and_restart(trial)?;
            daemon.wait_until_ready(trial)?;
        }
        for person in &people {
            person.on_another_device().sign_in(trial)?.succeeded()?;
        }
        let [carol, dave, _] = &people[..] else { unreachable!("three have signed up") };
        let before = carol.run(trial, ["verify", "dave"])?.succeeded()?;
        carol.befriend(trial, dave)?;
        dave.run(trial, ["rings", "nobody"])?.succeeded()?;
        daemon.kill_and_restart(trial)?;
        daemon.wait_until_ready(trial)?;
        let after = carol.run(trial, ["verify", "dave"])?.succeeded()?;
        let code =
            |outcome: &ahoy_trials::harness::Outcome| outcome.events.last().map(|event| event.text("code").to_owned());
        ensure!(code(&before).is_some() && code(&before) == code(&after), "{before:?} became {after:?}");
        let mut listening = dave.start(trial, ["listen", "--auto-answer"])?;
        listening.wait_for("listening")?;
        let call = carol.run(trial, ["call", "dave", "--for", "1s"])?;
        ensure!(call.code == 5, "dave's wish that nobody rings him is forgotten: {call:?}");
        Ok(())
    });
}
