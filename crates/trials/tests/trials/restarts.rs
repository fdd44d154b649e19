//! What a daemon that dies at once, without a word, costs those whom it served.

use std::time::Duration;

use ahoy_trials::harness::{Daemon, DaemonOptions, Machine, Person, Trial, Verb, trial, unix_ms};
use ahoy_trials::quality;
use anyhow::ensure;

/// Kills of one call.
const KILLS: usize = 20;

/// From the port being open again to the first voice heard, 95 % of all times.
const RETURN_MAX: Duration = Duration::from_millis(1500);

/// Voice flows for this long between two kills, so that a session is no newer than a real one.
const CALM: Duration = Duration::from_millis(1500);

/// How long the daemon is away, in turn: a restart at once, by a service manager, and after something slow.
const AWAY: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(300), Duration::from_millis(1000), Duration::from_millis(3500)];

/// Milliseconds from the port being open again until each of the two heard the other.
fn kill_once(trial: &Trial, daemon: &mut Daemon, away: Duration, verbs: &mut [Verb; 2]) -> anyhow::Result<[u64; 2]> {
    daemon.child().kill()?;
    std::thread::sleep(away);
    daemon.restart(trial)?;
    trial.wait_for("the port to be open", || daemon.port_is_open().then_some(()))?;
    let open = unix_ms();
    let mut returned = [0; 2];
    for (verb, returned) in verbs.iter_mut().zip(&mut returned) {
        // Voice heard before belongs to what was under way when the daemon died.
        while *returned == 0 {
            let heard = verb.wait_for("voice")?;
            *returned = heard.at_ms.saturating_sub(open);
        }
    }
    Ok(returned)
}

#[test]
fn a_call_goes_on_after_kill_nine_of_its_supernode() {
    trial(Duration::from_secs(180), Machine::Alone, |trial| {
        let mut daemon = Daemon::start(trial, DaemonOptions::default())?;
        let [alice, bob] = Person::signed_up_all(trial, ["alice", "bob"], &daemon)?;
        let voice = quality::speech("it-male").into_os_string();
        let mut listening =
            bob.start(trial, ["listen".into(), "--auto-answer".into(), "--play".into(), voice.clone()])?;
        listening.wait_for("listening")?;
        let mut calling = alice.start(trial, ["call".into(), "bob".into(), "--play".into(), voice])?;
        calling.wait_for("voice")?;
        listening.wait_for("voice")?;
        let mut verbs = [calling, listening];
        let mut returns = Vec::new();
        for away in AWAY.iter().cycle().take(KILLS) {
            std::thread::sleep(CALM);
            let [alices, bobs] = kill_once(trial, &mut daemon, *away, &mut verbs)?;
            println!("away for {away:?}: voice after {alices} and {bobs} ms");
            returns.extend([alices, bobs]);
        }
        let [calling, mut listening] = verbs;
        calling.interrupt_and_finish()?.event("ended")?;
        listening.wait_for("ended")?;
        returns.sort_unstable();
        let p95 = returns[returns.len() * 95 / 100 - 1];
        println!(
            "voice after {KILLS} kills, ms from open port, both sides: median {}, p95 {p95}",
            returns[returns.len() / 2]
        );
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
