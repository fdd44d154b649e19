//! How calls sound.

use std::ffi::OsString;
use std::time::Duration;

use ahoy_trials::harness::{Daemon, DaemonOptions, Machine, Person, trial};
use ahoy_trials::quality::{self, CLEAN};
use anyhow::ensure;

/// Calls at once. Each costs two clients' coding, sealing and playout; two cores carry this many without being late.
const AT_ONCE: usize = 4;

/// Seeds of the impaired networks: with two voices a call, the medians are over eight recordings.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=4;

#[test]
fn a_newcomer_calls_echo_and_hears_herself() {
    trial(Duration::from_secs(60), Machine::Alone, |trial| {
        let daemon = Daemon::start(trial, DaemonOptions::default())?;
        let alice = Person::signed_up(trial, "alice", &daemon)?;
        let played = quality::speech("it-male");
        let recorded = trial.folder().join("back.wav");
        let call: [OsString; 8] = [
            "call".into(),
            "echo".into(),
            "--play".into(),
            played.clone().into(),
            "--record".into(),
            recorded.clone().into(),
            "--for".into(),
            "13s".into(),
        ];
        alice.run(trial, call)?.succeeded()?;
        let score = quality::score(&played, &recorded)?;
        println!("PESQ-WB of one's own voice through echo: {score:.2}");
        ensure!(score >= 4.2, "PESQ-WB {score:.2}, wanted 4.20");
        Ok(())
    });
}

#[test]
fn two_people_talk_at_once_and_each_hears_the_other() {
    trial(Duration::from_secs(60), Machine::Alone, |trial| {
        let daemon = Daemon::start(trial, DaemonOptions::default())?;
        let heard = quality::calls(trial, &daemon, &[(CLEAN, 1)], 1)?;
        for heard in &heard {
            println!("{}: PESQ-WB {:.2}, playout delay {:.0} ms", heard.voice, heard.pesq, heard.playout_ms);
            ensure!(heard.pesq >= CLEAN.pesq_min, "{}: PESQ-WB {:.2}, wanted 4.20", heard.voice, heard.pesq);
        }
        Ok(())
    });
}

#[test]
fn speech_stays_good_on_bad_networks() {
    trial(Duration::from_secs(240), Machine::Alone, |trial| {
        let daemon = Daemon::start(trial, DaemonOptions::default())?;
        let conditions = quality::impaired();
        let wanted: Vec<_> = conditions.iter().flat_map(|condition| SEEDS.map(|seed| (*condition, seed))).collect();
        let heard = quality::calls(trial, &daemon, &wanted, AT_ONCE)?;
        let rows =
            conditions.iter().map(|condition| quality::summary(condition, &heard)).collect::<Result<Vec<_>, _>>()?;
        println!("{}", quality::table(&rows));
        let short: Vec<_> =
            conditions.iter().zip(&rows).flat_map(|(condition, row)| row.shortfalls(condition)).collect();
        ensure!(short.is_empty(), "{}\n{heard:#?}", short.join("\n"));
        Ok(())
    });
}
