//! `bench`: measures what a supernode costs and prints tables for docs/benchmarks.md.

use std::path::PathBuf;
use std::time::Duration;

use ahoy_trials::bench::{self, Figure, Target, forwarder, messages, presence, relay, rest, sessions};
use ahoy_trials::harness::Trial;
use anyhow::bail;
use clap::{Parser, Subcommand};

/// Measures a real ahoyd: bytes by idle session, sign-ins by core-second, the cost of relaying beside a bare UDP forwarder, and of messages
/// beside bare SQLite.
///
/// Wants a machine that does nothing else, and release builds. Each figure is the median of all rounds.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    part: Option<Part>,
    /// Rounds of each measurement.
    #[arg(long, default_value_t = 5, global = true)]
    rounds: usize,
    /// Idle sessions.
    #[arg(long, default_value_t = 20_000, global = true)]
    sessions: usize,
    /// Idle sessions with contacts and without, and accounts at rest.
    #[arg(long, default_value_t = 5_000, global = true)]
    accounts: usize,
    /// Calls at once while relaying, on one shard and on two.
    #[arg(long, default_value_t = 250, global = true)]
    calls: usize,
    /// Seconds that relaying is measured, each time.
    #[arg(long, default_value_t = 5, global = true)]
    seconds: u64,
    /// Pairs of accounts that send and receive messages.
    #[arg(long, default_value_t = 300, global = true)]
    pairs: usize,
    /// Waves of 20 messages by each sender, each time that messages are measured.
    #[arg(long, default_value_t = 5, global = true)]
    waves: usize,
    /// Every round as JSON, in place of the tables.
    #[arg(long, global = true)]
    json: bool,
    /// Puts the tables into the sections `bench` and `messages` of this file too.
    #[arg(long, value_name = "FILE", global = true)]
    write: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
enum Part {
    /// Only idle sessions and sign-ins.
    Sessions,
    /// Only relaying.
    Relay,
    /// Only messages, presence, and accounts that idle and rest.
    Messages,
    /// Be the bare forwarder.
    #[command(hide = true)]
    Forwarder,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if arguments.part == Some(Part::Forwarder) {
        return forwarder::serve();
    }
    let folder = tempfile::tempdir()?;
    let trial = Trial::in_folder(folder.path(), Duration::from_secs(3600));
    let load_before = bench::load();
    let wanted = |part| arguments.part.is_none_or(|only| only == part);
    let (mut voice, mut people) = (Vec::new(), Vec::new());
    if wanted(Part::Sessions) {
        voice.extend(idle(&trial, &arguments)?);
    }
    if wanted(Part::Relay) {
        voice.extend(relaying(&trial, &arguments)?);
    }
    if wanted(Part::Messages) {
        people.extend(messaging(&trial, &arguments)?);
        people.extend(telling(&trial, &arguments)?);
        people.extend(knowing(&trial, &arguments)?);
        people.push(resting(&trial, &arguments)?);
    }
    for (section, figures) in [("bench", &voice), ("messages", &people)] {
        show(section, figures, &load_before, &arguments)?;
    }
    let missed: Vec<_> =
        voice.iter().chain(&people).filter(|figure| !figure.is_met()).map(|figure| figure.name).collect();
    if !missed.is_empty() {
        bail!("missed: {}", missed.join(", "));
    }
    Ok(())
}

/// Prints a table, and puts it into its section of the file.
fn show(section: &str, figures: &[Figure], load_before: &str, arguments: &Arguments) -> anyhow::Result<()> {
    if figures.is_empty() {
        return Ok(());
    }
    let text = format!("{}\n{}\n", bench::table(figures), bench::circumstances(load_before));
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(figures)?);
    } else {
        print!("{text}");
    }
    if let Some(file) = &arguments.write {
        bench::write_section(file, section, &text)?;
    }
    Ok(())
}

fn idle(trial: &Trial, arguments: &Arguments) -> anyhow::Result<[Figure; 2]> {
    let mut rounds = Vec::new();
    for number in 1..=arguments.rounds {
        let round = sessions::round(trial, arguments.sessions)?;
        eprintln!("idle sessions, round {number}: {round:?}");
        rounds.push(round);
    }
    let column = |value: fn(&sessions::Round) -> f64| rounds.iter().map(value).collect();
    Ok([
        Figure {
            name: "idle session, KB of server memory",
            target: Some(Target::AtMost(25.0)),
            rounds: column(|round| round.bytes_per_session / 1e3),
        },
        Figure {
            name: "sign-ins by server core-second",
            target: Some(Target::AtLeast(2200.0)),
            rounds: column(|round| round.sign_ins_per_core_second),
        },
    ])
}

fn relaying(trial: &Trial, arguments: &Arguments) -> anyhow::Result<[Figure; 10]> {
    let load = relay::Load { calls: arguments.calls, time: Duration::from_secs(arguments.seconds) };
    let mut rounds = Vec::new();
    for number in 1..=arguments.rounds {
        let round = relay::round(trial, load)?;
        eprintln!("relaying, round {number}: {round:?}");
        rounds.push(round);
    }
    let column = |value: fn(&relay::Round) -> f64| rounds.iter().map(value).collect();
    let plain = |name, value| Figure { name, target: None, rounds: column(value) };
    let ratio = |name, most, value| Figure { name, target: Some(Target::AtMost(most)), rounds: column(value) };
    Ok([
        plain("bare UDP forwarder, µs by packet", |round| round.apart.forwarder),
        plain("relay, both legs on one shard, µs by packet", |round| round.apart.one_shard),
        plain("relay, legs on two shards, µs by packet", |round| round.apart.two_shards),
        ratio("relay on one shard, times the forwarder", 2.5, |round| round.apart.one_shard / round.apart.forwarder),
        ratio("relay across shards, times the forwarder", 3.5, |round| round.apart.two_shards / round.apart.forwarder),
        plain("in step: bare UDP forwarder, µs by packet", |round| round.in_step.forwarder),
        plain("in step: relay on one shard, µs by packet", |round| round.in_step.one_shard),
        plain("in step: relay across shards, µs by packet", |round| round.in_step.two_shards),
        plain("in step: relay on one shard, times the forwarder", |round| {
            round.in_step.one_shard / round.in_step.forwarder
        }),
        plain("in step: relay across shards, times the forwarder", |round| {
            round.in_step.two_shards / round.in_step.forwarder
        }),
    ])
}

fn messaging(trial: &Trial, arguments: &Arguments) -> anyhow::Result<[Figure; 12]> {
    let load = messages::Load { pairs: arguments.pairs, waves: arguments.waves };
    let mut rounds = Vec::new();
    for number in 1..=arguments.rounds {
        let round = messages::round(trial, load)?;
        eprintln!("messages, round {number}: {round:?}");
        rounds.push(round);
    }
    let figure = |name, value: &dyn Fn(&messages::Round) -> f64| Figure {
        name,
        target: None,
        rounds: rounds.iter().map(value).collect(),
    };
    let by_second = |name, micros: fn(&messages::Round) -> f64| figure(name, &|round| 1e6 / micros(round));
    let times = |name, micros: fn(&messages::Round) -> f64| figure(name, &|round| micros(round) / round.bare.written);
    Ok([
        by_second("bare SQLite, rows written by core-second", |round| round.bare.written),
        by_second("online, messages by server core-second", |round| round.online),
        by_second("online, 20 at once, messages by server core-second", |round| round.online_at_once),
        by_second("to a mailbox, messages by server core-second", |round| round.mailbox),
        by_second("to a mailbox, 20 at once, messages by server core-second", |round| round.mailbox_at_once),
        times("online, times a bare row", |round| round.online),
        times("online, 20 at once, times a bare row", |round| round.online_at_once),
        times("to a mailbox, times a bare row", |round| round.mailbox),
        times("to a mailbox, 20 at once, times a bare row", |round| round.mailbox_at_once),
        by_second("bare SQLite, rows read by core-second", |round| round.bare.read),
        by_second("mailbox drained, entries by server core-second", |round| round.drained),
        figure("mailbox drained, times a bare row read", &|round| round.drained / round.bare.read),
    ])
}

fn telling(trial: &Trial, arguments: &Arguments) -> anyhow::Result<[Figure; 3]> {
    let mut rounds = Vec::new();
    for number in 1..=arguments.rounds {
        let round = presence::round(trial)?;
        eprintln!("presence, round {number}: {round:?}");
        rounds.push(round);
    }
    let plain = |name, value: fn(&presence::Round) -> f64| Figure {
        name,
        target: None,
        rounds: rounds.iter().map(value).collect(),
    };
    Ok([
        plain("a request that changes nothing, µs", |round| round.request),
        plain("a change of presence, µs by contact told, of 50", |round| round.told),
        plain("a contact told, times a request", |round| round.told / round.request),
    ])
}

fn knowing(trial: &Trial, arguments: &Arguments) -> anyhow::Result<[Figure; 2]> {
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for number in 1..=arguments.rounds {
        let alone = sessions::round(trial, arguments.accounts)?.bytes_per_session;
        let bytes = sessions::bytes_with_contacts(trial, arguments.accounts)?;
        eprintln!("idle sessions, round {number}: {alone:.0} bytes, with contacts {bytes:.0} bytes");
        without.push(alone / 1e3);
        with.push(bytes / 1e3);
    }
    let figure = |name, rounds| Figure { name, target: None, rounds };
    Ok([
        figure("idle session, KB of server memory", without),
        figure("idle session that has listed 50 contacts, KB of server memory", with),
    ])
}

fn resting(trial: &Trial, arguments: &Arguments) -> anyhow::Result<Figure> {
    let mut rounds = Vec::new();
    for number in 1..=arguments.rounds {
        let bytes = rest::bytes_per_account(trial, arguments.accounts)?;
        eprintln!("accounts at rest, round {number}: {bytes:.0} bytes");
        rounds.push(bytes / 1e3);
    }
    Ok(Figure { name: "account at rest, KB of database", target: None, rounds })
}
