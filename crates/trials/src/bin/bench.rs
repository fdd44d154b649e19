//! `bench`: measures what a supernode costs and prints a table for docs/benchmarks.md.

use std::path::PathBuf;
use std::time::Duration;

use ahoy_trials::bench::{self, Figure, Target, forwarder, relay, sessions};
use ahoy_trials::harness::Trial;
use anyhow::bail;
use clap::{Parser, Subcommand};

/// Measures a real ahoyd: bytes by idle session, sign-ins by core-second, and the cost of relaying beside a bare UDP forwarder.
///
/// Wants a machine that does nothing else, and release builds. Each figure is the median of all rounds.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    part: Option<Part>,
    /// Rounds of each measurement.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Idle sessions.
    #[arg(long, default_value_t = 20_000)]
    sessions: usize,
    /// Calls at once while relaying, on one shard and on two.
    #[arg(long, default_value_t = 250)]
    calls: usize,
    /// Seconds that relaying is measured, each time.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Every round as JSON, in place of the table.
    #[arg(long)]
    json: bool,
    /// Puts the table into the section `bench` of this file too.
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// Only idle sessions and sign-ins.
    Sessions,
    /// Only relaying.
    Relay,
    /// Be the bare forwarder.
    #[command(hide = true)]
    Forwarder,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if matches!(arguments.part, Some(Part::Forwarder)) {
        return forwarder::serve();
    }
    let folder = tempfile::tempdir()?;
    let trial = Trial::in_folder(folder.path(), Duration::from_secs(3600));
    let mut figures = Vec::new();
    if !matches!(arguments.part, Some(Part::Relay)) {
        figures.extend(idle(&trial, &arguments)?);
    }
    if !matches!(arguments.part, Some(Part::Sessions)) {
        figures.extend(relaying(&trial, &arguments)?);
    }
    let text = format!("{}\nMeasured on {}.\n", bench::table(&figures), bench::machine());
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&figures)?);
    } else {
        print!("{text}");
    }
    if let Some(file) = &arguments.write {
        bench::write_section(file, "bench", &text)?;
    }
    let missed: Vec<_> = figures.iter().filter(|figure| !figure.is_met()).map(|figure| figure.name).collect();
    if !missed.is_empty() {
        bail!("missed: {}", missed.join(", "));
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
