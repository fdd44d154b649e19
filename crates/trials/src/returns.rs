//! How soon voice is back after the death of a supernode: kill -9 in mid-call, again and again, and both sides stay in the call.

use std::time::Duration;

use anyhow::ensure;

use crate::harness::{Daemon, DaemonOptions, Person, Trial, Verb, unix_ms};
use crate::quality::{VOICES, speech};

/// Voice flows for this long between two kills, so that a session is no newer than a real one.
const CALM: Duration = Duration::from_millis(1500);

/// How long the daemon is away, in turn: a restart at once, by a service manager, and after something slow.
const AWAY: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(300), Duration::from_millis(1000), Duration::from_millis(3500)];

/// Milliseconds from the port being open again to the first voice heard, one for each kill.
#[derive(Debug, Clone, Default)]
pub struct Returns {
    /// At the caller's.
    pub caller: Vec<u64>,
    /// At the other's.
    pub callee: Vec<u64>,
}

/// What many times come to, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// The middle one, the later of two.
    pub median: u64,
    /// 95 % are not longer.
    pub p95: u64,
    /// The longest.
    pub worst: u64,
}

/// Two people talk; their supernode is killed so many times and comes back each time.
///
/// # Errors
/// When the call does not go on.
pub fn measure(trial: &Trial, kills: usize) -> anyhow::Result<Returns> {
    let mut daemon = Daemon::start(trial, DaemonOptions::default())?;
    let [alice, bob] = Person::signed_up_all(trial, ["alice", "bob"], &daemon)?;
    alice.befriend(trial, &bob)?;
    let [mine, theirs] = VOICES.map(|voice| speech(voice).into_os_string());
    let mut listening = bob.start(trial, ["listen".into(), "--auto-answer".into(), "--play".into(), theirs])?;
    listening.wait_for("listening")?;
    let mut calling = alice.start(trial, ["call".into(), "bob".into(), "--play".into(), mine])?;
    calling.wait_for("voice")?;
    listening.wait_for("voice")?;
    let mut verbs = [calling, listening];
    let mut returns = Returns::default();
    for away in AWAY.iter().cycle().take(kills) {
        std::thread::sleep(CALM);
        let [caller, callee] = kill_once(trial, &mut daemon, *away, &mut verbs)?;
        eprintln!("away for {away:?}: voice after {caller} and {callee} ms");
        returns.caller.push(caller);
        returns.callee.push(callee);
    }
    let [calling, mut listening] = verbs;
    calling.interrupt_and_finish()?.event("ended")?;
    listening.wait_for("ended")?;
    Ok(returns)
}

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

impl Returns {
    /// Both sides' times together.
    pub fn both(&self) -> Vec<u64> {
        [&self.caller[..], &self.callee[..]].concat()
    }
}

/// Sums up times.
///
/// # Errors
/// When there are none.
pub fn summary(times: &[u64]) -> anyhow::Result<Summary> {
    ensure!(!times.is_empty(), "nothing was measured");
    let mut times = times.to_vec();
    times.sort_unstable();
    let p95 = times[(times.len() * 95).div_ceil(100) - 1];
    Ok(Summary { median: times[times.len() / 2], p95, worst: times[times.len() - 1] })
}

/// A Markdown table of both sides.
///
/// # Errors
/// When nothing was measured.
pub fn table(returns: &Returns) -> anyhow::Result<String> {
    let mut text =
        "| voice is heard again after, ms | median | p95 | worst | kills |\n|---|---|---|---|---|\n".to_owned();
    for (side, times) in [("caller", &returns.caller), ("callee", &returns.callee)] {
        let Summary { median, p95, worst } = summary(times)?;
        text += &format!("| {side} | {median} | {p95} | {worst} | {} |\n", times.len());
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_95th_percentile_is_a_time_that_95_percent_do_not_exceed() {
        let times: Vec<u64> = (1..=20).rev().collect();
        assert_eq!(summary(&times).unwrap(), Summary { median: 11, p95: 19, worst: 20 });
        assert_eq!(summary(&[7]).unwrap(), Summary { median: 7, p95: 7, worst: 7 });
        assert!(summary(&[]).is_err());
    }
}
