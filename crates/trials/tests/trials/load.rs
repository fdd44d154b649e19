//! `ahoy load` on a real daemon: small, so that what it counts can be checked.

use std::process::Command;
use std::time::Duration;

use ahoy_proto::limits::CALL_SILENCE;
use ahoy_trials::harness::{Child, Daemon, DaemonOptions, Machine, Trial, binary, trial, unix_ms};
use ahoy_trials::plot::{Second, svg};
use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::fleet::Fleet;

/// A load that runs to its end.
struct Run {
    /// One a second.
    seconds: Vec<Value>,
    result: Value,
}

fn load(trial: &Trial, network: &str, words: &[&str]) -> anyhow::Result<Run> {
    let mut command = Command::new(binary("ahoy")?);
    command.args(["--json", "load", network, "--accounts"]).arg(accounts(trial)).args(words);
    let mut child = Child::start(trial, "load", &command)?;
    let mut objects: Vec<Value> = Vec::new();
    while let Some(line) = child.next_line()? {
        objects.push(serde_json::from_str(&line.text).with_context(|| line.text.clone())?);
    }
    let status = child.wait()?;
    ensure!(status.success(), "the load ended with {status}: {:?} {}", objects.last(), child.errors());
    let result = objects.pop().context("a load says how it was")?;
    ensure!(result["event"] == json!("load"), "{result}");
    objects.retain(|object| object["event"] == json!("second"));
    Ok(Run { seconds: objects, result })
}

/// Where a load keeps what it has to delete.
fn accounts(trial: &Trial) -> std::path::PathBuf {
    trial.folder().join("load")
}

/// By the daemon's own books nobody of a load has an account any more.
fn nobody_is_left(trial: &Trial, daemon: &Daemon) -> anyhow::Result<()> {
    let file = trial.folder().join("books.toml");
    let (data, listen) = (daemon.data(), daemon.address());
    std::fs::write(&file, format!("name = \"localhost\"\ndata = {data:?}\nlisten = [\"{listen}\"]\n"))?;
    let mut command = Command::new(binary("ahoyd")?);
    command.args(["account", "list", "--json", "--config"]).arg(&file);
    let mut child = Child::start(trial, "books", &command)?;
    let mut names = Vec::new();
    while let Some(line) = child.next_line()? {
        let account: Value = serde_json::from_str(&line.text).with_context(|| line.text.clone())?;
        names.push(account["name"].as_str().context("a name")?.to_owned());
    }
    let status = child.wait()?;
    ensure!(status.success(), "the books are read: {status} {}", child.errors());
    ensure!(names.iter().any(|name| name == "echo"), "these are the books of another network: {names:?}");
    ensure!(!names.iter().any(|name| name.starts_with("load-")), "accounts are left: {names:?}");
    ensure!(std::fs::read_dir(accounts(trial))?.next().is_none(), "there is nothing to delete any more");
    Ok(())
}

impl Run {
    fn number(&self, field: &str) -> anyhow::Result<u64> {
        self.result[field].as_u64().with_context(|| format!("{field} in {}", self.result))
    }

    /// Of what was told by the second.
    fn sum(&self, field: &str) -> u64 {
        self.seconds.iter().filter_map(|second| second[field].as_u64()).sum()
    }

    /// Everybody was there, and everything that was written has come, once.
    fn is_whole(&self, clients: u64) -> anyhow::Result<()> {
        ensure!(self.number("signed_in")? == clients, "somebody is missing: {}", self.result);
        ensure!(self.result["times"]["sign_in"]["count"] == json!(clients), "{}", self.result);
        let due = self.number("messages_due")?;
        for field in ["messages_acknowledged", "messages_received"] {
            ensure!(self.number(field)? == due, "{field}: {}", self.result);
        }
        for field in ["messages_lost", "messages_doubled", "messages_failed", "messages_not_sent", "clients_stopped"] {
            ensure!(self.number(field)? == 0, "{field}: {}", self.result);
        }
        ensure!(self.result["times"]["message"]["count"] == json!(due), "{}", self.result);
        Ok(())
    }
}

#[test]
fn a_load_counts_everybody_and_loses_nothing() {
    trial(Duration::from_secs(120), Machine::Shared, |trial| {
        let daemon = Daemon::start(trial, DaemonOptions::default())?;
        let run = load(
            trial,
            &daemon.network(),
            &["--clients", "60", "--ramp", "60", "--calls", "6", "--messages", "20", "--for", "8s"],
        )?;
        run.is_whole(60)?;
        ensure!(run.number("messages_due")? == 160, "20 a second for 8 s: {}", run.result);
        ensure!(run.number("calls_due")? == 6 && run.number("calls_set_up")? == 6, "{}", run.result);
        ensure!(run.number("calls_failed")? + run.number("calls_dropped")? == 0, "{}", run.result);
        ensure!(run.number("voice_refused")? == 0, "a packet did not open: {}", run.result);
        let (sent, received) = (run.number("voice_sent")?, run.number("voice_received")?);
        // 6 calls, both ways, begin within 1.6 s of 8 s, and have 50 packets a second: half of these at least.
        ensure!(sent > 6 * 2 * 50 * 64 / 10 / 2, "only {sent} packets were sent");
        ensure!(received <= sent && received * 100 >= sent * 95, "{received} packets came of {sent}");
        // What falls into the last second or two is told by the result alone.
        let by_second = run.sum("messages_due");
        ensure!((120..=160).contains(&by_second), "{by_second} messages by the second");
        ensure!(run.sum("sign_ins") == 60, "{} sign-ins by the second", run.sum("sign_ins"));
        ensure!(run.seconds.iter().any(|second| second["calls_up"] == json!(6)), "all calls were up at once");
        nobody_is_left(trial, &daemon)
    });
}

#[test]
fn a_load_finds_its_way_back_after_a_strike_and_nothing_acknowledged_is_lost() {
    trial(Duration::from_secs(180), Machine::Shared, |trial| {
        let mut daemon = Daemon::start(trial, DaemonOptions::default())?;
        let flag = trial.folder().join("struck");
        let strike = format!("touch {}", flag.display());
        let (network, folder) = (daemon.network(), accounts(trial));
        let mut command = Command::new(binary("ahoy")?);
        command.args(["--json", "load", &network, "--storm", "--clients", "20", "--calls", "4", "--messages", "10"]);
        command.args(["--for", "20s", "--strike-after", "4s", "--strike", &strike, "--accounts"]).arg(&folder);
        let mut child = Child::start(trial, "load", &command)?;
        trial.wait_for("the strike", || flag.exists().then_some(()))?;
        daemon.kill_and_restart(trial)?;
        let mut last = Value::Null;
        while let Some(line) = child.next_line()? {
            last = serde_json::from_str(&line.text)?;
        }
        let status = child.wait()?;
        ensure!(status.success(), "the load ended with {status}: {last} {}", child.errors());
        let run = Run { seconds: Vec::new(), result: last };
        run.is_whole(20)?;
        ensure!(run.number("links_lost")? >= 20, "everybody's link was lost: {}", run.result);
        ensure!(
            run.result["times"]["back"]["count"] == run.result["links_lost"],
            "somebody is not back: {}",
            run.result
        );
        ensure!(run.number("calls_dropped")? == 0, "a call has ended: {}", run.result);
        Ok(())
    });
}

#[test]
fn accounts_of_a_load_that_was_killed_are_deleted_by_the_next() {
    trial(Duration::from_secs(120), Machine::Shared, |trial| {
        let daemon = Daemon::start(trial, DaemonOptions::default())?;
        let mut command = Command::new(binary("ahoy")?);
        command.args(["--json", "load", &daemon.network(), "--clients", "10", "--accounts"]).arg(accounts(trial));
        let mut child = Child::start(trial, "killed", &command)?;
        let first = child.next_line()?.context("it says something once somebody signs in")?;
        child.kill()?;
        ensure!(std::fs::read_dir(accounts(trial))?.count() == 1, "nothing is left by {}", first.text);
        load(trial, &daemon.network(), &["--clients", "2", "--for", "1s"])?;
        nobody_is_left(trial, &daemon)
    });
}

/// Minutes long, and it measures: docs/benchmarks.md says how these are run. `AHOY_LOAD` are words for the load.
#[test]
#[ignore = "measures, for minutes; see docs/benchmarks.md"]
fn a_fleet_under_load_loses_a_supernode_and_nobody() {
    let dies = |trial: &Trial, fleet: &mut Fleet| {
        println!("{}", fleet.census(trial)?);
        fleet.supernodes[0].kill()
    };
    measure("", Duration::from_secs(30), dies, |run| {
        ensure!(run.number("links_lost")? > 0, "the strike has hit nobody: {}", run.result);
        ensure!(run.result["times"]["back"]["count"] == run.result["links_lost"], "somebody is not back");
        Ok(())
    });
}

#[test]
#[ignore = "measures, for minutes; see docs/benchmarks.md"]
fn a_fleet_under_load_is_without_redis_for_a_minute_and_nobody_notices() {
    let goes = |fleet: &mut Fleet| {
        fleet.redis.kill();
        Ok(())
    };
    let comes_back = |_: &Trial, fleet: &mut Fleet| {
        fleet.redis.restart();
        Ok(())
    };
    a_minute_without(Duration::from_secs(15), goes, comes_back);
}

#[test]
#[ignore = "measures, for minutes; see docs/benchmarks.md"]
fn a_fleet_under_load_is_without_postgresql_for_a_minute_and_messages_wait() {
    let goes = |fleet: &mut Fleet| {
        fleet.postgres.kill();
        Ok(())
    };
    let comes_back = |_: &Trial, fleet: &mut Fleet| {
        fleet.postgres.start_again();
        Ok(())
    };
    a_minute_without(Duration::from_secs(30), goes, comes_back);
}

#[test]
#[ignore = "measures, for minutes; see docs/benchmarks.md"]
fn a_fleet_under_load_is_without_its_authority_for_a_minute_and_nobody_notices() {
    let comes_back = |trial: &Trial, fleet: &mut Fleet| fleet.authority.start(trial);
    a_minute_without(Duration::from_secs(15), |fleet| fleet.authority.kill(), comes_back);
}

#[test]
#[ignore = "measures, for minutes; see docs/benchmarks.md"]
fn a_fleet_under_load_is_restarted_one_supernode_after_the_other() {
    let restart = |trial: &Trial, fleet: &mut Fleet| {
        for index in 0..fleet.supernodes.len() {
            let since = unix_ms();
            fleet.drain(trial, index)?;
            println!("supernode {} was empty after {} ms", index + 1, fleet.restart_drained(trial, index)? - since);
        }
        Ok(())
    };
    measure("", Duration::from_secs(150), restart, |_| Ok(()));
}

/// Four fifths of the sessions that a fleet has room for are there when a third of the room is gone: the rest comes in when it is back.
#[test]
#[ignore = "measures, for minutes; see docs/benchmarks.md"]
fn a_fleet_that_loses_a_third_of_its_room_serves_as_many_as_it_can_and_all_when_it_is_back() {
    let dies = |trial: &Trial, fleet: &mut Fleet| {
        fleet.supernodes[0].kill()?;
        std::thread::sleep(AWAY / 2);
        fleet.supernodes[0].start(trial)
    };
    let clients = clients();
    // Of each of three, so that all have four fifths of the room.
    let room = clients * 5 / 12;
    measure(&format!("sessions_max = {room}\n"), AWAY + Duration::from_secs(30), dies, |run| {
        // While a load settles its people leave.
        let seconds: Vec<Second> = run
            .seconds
            .iter()
            .filter(|second| second["phase"] != json!("settling"))
            .filter_map(|second| {
                let number = |field: &str| second[field].as_u64();
                Some(Second { signed_in: number("signed_in")?, sign_ins: number("sign_ins")? + number("links_back")? })
            })
            .collect();
        if let Some(file) = std::env::var_os("AHOY_PLOT") {
            let first = run.seconds.iter().position(|second| second["phase"] == json!("load")).context("it began")?;
            let struck = first + BEFORE.as_secs() as usize;
            let marks =
                [(struck, "kill -9 of one of three"), (struck + AWAY.as_secs() as usize / 2, "it is started again")];
            std::fs::write(
                file,
                svg(&format!("{clients} clients, three supernodes with room for {room} each"), &seconds, &marks),
            )?;
        }
        let least = seconds.iter().skip_while(|second| second.signed_in < clients).map(|second| second.signed_in).min();
        println!("at least {least:?} of {clients} were signed in at any second");
        ensure!(seconds.last().is_some_and(|second| second.signed_in == clients), "not all are back: {seconds:?}");
        Ok(())
    });
}

/// The load's words, unless `AHOY_LOAD` has others.
const WORDS: &str = "--clients 300 --calls 20 --messages 20";

fn words() -> String {
    std::env::var("AHOY_LOAD").unwrap_or_else(|_| WORDS.to_owned())
}

fn clients() -> u64 {
    let words = words();
    let number = words.split_whitespace().skip_while(|word| *word != "--clients").nth(1);
    number.and_then(|number| number.parse().ok()).expect("the load says how many --clients there are")
}

/// How long something is away.
const AWAY: Duration = Duration::from_secs(60);

/// How long a load goes on before something happens.
const BEFORE: Duration = Duration::from_secs(10);

/// Something goes, and comes back after a minute; the load goes on for as long as this then.
fn a_minute_without(
    then: Duration,
    goes: impl FnOnce(&mut Fleet) -> anyhow::Result<()>,
    comes_back: impl FnOnce(&Trial, &mut Fleet) -> anyhow::Result<()>,
) {
    let away = |trial: &Trial, fleet: &mut Fleet| {
        goes(fleet)?;
        std::thread::sleep(AWAY);
        comes_back(trial, fleet)
    };
    measure("", AWAY + then, away, nobody_has_moved);
}

fn nobody_has_moved(run: &Run) -> anyhow::Result<()> {
    let moved = run.number("links_lost")? + run.number("links_moved")? + run.number("clients_stopped")?;
    ensure!(moved == 0, "somebody had to go elsewhere: {}", run.result);
    let gap = run.result["times"]["voice_gap"]["max_ms"].as_f64().unwrap_or(0.0);
    // Less is no silence to a client, and a machine that starts a database may hold voice up.
    ensure!(gap < CALL_SILENCE.as_secs_f64() * 1_000.0, "voice has stopped for {gap} ms: {}", run.result);
    Ok(())
}

/// A load on a fleet with `more` in its configuration, to which something happens meanwhile and is over in this time. Whatever it is,
/// calls go on, and what was taken comes, once.
fn measure(
    more: &str,
    within: Duration,
    happens: impl FnOnce(&Trial, &mut Fleet) -> anyhow::Result<()>,
    check: impl FnOnce(&Run) -> anyhow::Result<()>,
) {
    trial(Duration::from_secs(1_200), Machine::Alone, |trial| {
        let mut fleet = Fleet::start_with(trial, more)?;
        let begun = trial.folder().join("begun");
        let strike = format!("touch {}", begun.display());
        let (lasts, before) = (format!("{}s", (BEFORE + within).as_secs()), format!("{}s", BEFORE.as_secs()));
        let url = fleet.url();
        let words = words();
        let mut words: Vec<&str> = words.split_whitespace().collect();
        words.extend(["--for", &lasts, "--strike-after", &before, "--strike", &strike]);
        let run = std::thread::scope(|scope| {
            let load = scope.spawn(|| load(trial, &url, &words));
            let happened = trial.wait_for("the load", || (begun.exists() || load.is_finished()).then_some(()));
            let happened = happened.and_then(|()| happens(trial, &mut fleet));
            let run = load.join().expect("a load is watched without panic");
            happened.and(run)
        })?;
        for second in &run.seconds {
            println!("{second}");
        }
        println!("{:#}", run.result);
        check(&run)?;
        ensure!(run.number("calls_dropped")? == 0, "a call has ended: {}", run.result);
        let due = run.number("messages_due")?;
        ensure!(run.number("messages_received")? == due, "not all of {due} messages have come: {}", run.result);
        ensure!(run.number("messages_doubled")? == 0, "{}", run.result);
        Ok(())
    });
}
