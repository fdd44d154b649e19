//! How calls sound.

use std::ffi::OsString;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use ahoy_trials::harness::{Daemon, DaemonOptions, Machine, Person, metric, trial};
use ahoy_trials::quality::{self, CLEAN};
use anyhow::ensure;

/// Calls at once. Each costs two clients' coding, sealing and playout; two slow cores carry this many without being late, which would
/// cost acknowledgements on the wire and frames in the score.
const AT_ONCE: usize = 2;

/// Seeds of the impaired networks: with two voices a call, the medians are over eight recordings.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=4;

#[test]
fn a_newcomer_calls_echo_and_hears_herself() {
    trial(Duration::from_secs(60), Machine::Alone, |trial| {
        let daemon = Daemon::start(trial, DaemonOptions::default())?;
        let alice = Person::signed_up(trial, "alice", &daemon)?;
        let recorded = trial.folder().join("back.wav");
        alice.run(trial, call_echo(&recorded))?.succeeded()?;
        hears_itself(&alice, &recorded)
    });
}

#[test]
fn a_call_by_web_socket_sounds_as_one_by_quic_where_nothing_is_lost() {
    trial(Duration::from_secs(60), Machine::Alone, |trial| {
        let daemon = Daemon::start(trial, DaemonOptions::default())?;
        let alice = Person::signed_up(trial, "alice", &daemon)?;
        let recorded = trial.folder().join("back.wav");
        let mut arguments: Vec<OsString> = vec!["--transport".into(), "websocket".into()];
        arguments.extend(call_echo(&recorded));
        alice.run(trial, arguments)?.succeeded()?;
        let by_web_socket = metric(&daemon.metrics()?, "ahoy_links_by_transport_total", "transport=\"websocket\"");
        ensure!(by_web_socket >= 1.0, "the call went by something else");
        hears_itself(&alice, &recorded)
    });
}

#[test]
fn where_no_udp_gets_through_a_call_goes_by_web_socket_by_itself() {
    trial(Duration::from_secs(60), Machine::Alone, |trial| {
        let daemon = Daemon::start(trial, DaemonOptions::default())?;
        let alice = Person::signed_up(trial, "alice", &daemon)?;
        let only_tcp = forward_tcp(daemon.address())?;
        let elsewhere = || ["--supernode".to_owned(), only_tcp.to_string()].map(OsString::from);
        let status = alice.run(trial, elsewhere().into_iter().chain(["status".into()]))?.succeeded()?;
        let transport = status.event("status")?.text("transport").to_owned();
        ensure!(transport == "websocket", "{transport}");
        let refused =
            alice.run(trial, elsewhere().into_iter().chain(["--transport".into(), "quic".into(), "status".into()]))?;
        ensure!(refused.succeeded().is_err(), "there is no UDP at {only_tcp}");
        let recorded = trial.folder().join("back.wav");
        alice.run(trial, elsewhere().into_iter().chain(call_echo(&recorded)))?.succeeded()?;
        hears_itself(&alice, &recorded)
    });
}

/// An address of which only the TCP side leads to a daemon, for as long as this process lives.
fn forward_tcp(to: SocketAddr) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for from in listener.incoming().flatten() {
            let Ok(onward) = TcpStream::connect(to) else { continue };
            let ways = [(from.try_clone(), onward.try_clone()), (Ok(onward), Ok(from))];
            for (from, to) in ways {
                let (Ok(mut from), Ok(mut to)) = (from, to) else { continue };
                let _ = to.set_nodelay(true);
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Write);
                });
            }
        }
    });
    Ok(address)
}

/// A call to `echo` in which one's own voice is recorded as it comes back.
fn call_echo(recorded: &Path) -> [OsString; 8] {
    let played = quality::speech("it-male").into_os_string();
    let recorded = recorded.as_os_str().to_owned();
    ["call".into(), "echo".into(), "--play".into(), played, "--record".into(), recorded, "--for".into(), "13s".into()]
}

fn hears_itself(person: &Person, recorded: &Path) -> anyhow::Result<()> {
    let score = quality::score(&quality::speech("it-male"), recorded)?;
    println!("PESQ-WB of {}'s own voice through echo: {score:.2}", person.name());
    ensure!(score >= 4.2, "PESQ-WB {score:.2}, wanted 4.20");
    Ok(())
}

#[test]
fn several_who_call_echo_at_once_all_hear_themselves() {
    trial(Duration::from_secs(120), Machine::Alone, |trial| {
        let daemon = Daemon::start(trial, DaemonOptions::default())?;
        let people = Person::signed_up_all(trial, ["alice", "bob", "carol"], &daemon)?;
        for people in [&people[..2], &people[..]] {
            let recorded: Vec<_> = people.iter().map(|person| person.profile().with_extension("wav")).collect();
            let mut calls = Vec::new();
            for (person, recorded) in people.iter().zip(&recorded) {
                calls.push(person.start(trial, call_echo(recorded))?);
            }
            let mut last_heard = 0;
            for call in &mut calls {
                last_heard = last_heard.max(call.wait_for("voice")?.at_ms);
            }
            for call in calls {
                let ended = call.finish()?.succeeded()?.event("ended")?.at_ms;
                ensure!(last_heard < ended, "the calls were not at the same time");
            }
            for (person, recorded) in people.iter().zip(&recorded) {
                hears_itself(person, recorded)?;
            }
        }
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
    trial(Duration::from_secs(300), Machine::Alone, |trial| {
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
