//! `quality`: prints how calls sound on each network, as a table for docs/benchmarks.md.

use std::path::PathBuf;
use std::time::Duration;

use ahoy_trials::bench;
use ahoy_trials::harness::{Daemon, DaemonOptions, Trial};
use ahoy_trials::quality::{self, CLEAN, Condition};
use anyhow::bail;
use clap::Parser;

/// Scores calls between two real clients through a real supernode, on a clean and on impaired networks (PESQ-WB, medians).
#[derive(Debug, Parser)]
struct Arguments {
    /// Seeds of the impairment; each gives one call, and so two recordings.
    #[arg(long, default_value_t = 10)]
    seeds: u64,
    /// Calls at once. More than two cores can carry distorts what is measured.
    #[arg(long, default_value_t = 4)]
    at_once: usize,
    /// Every recording as JSON, in place of the table.
    #[arg(long)]
    json: bool,
    /// Puts the table into the section `quality` of this file too.
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let folder = tempfile::tempdir()?;
    let trial = Trial::in_folder(folder.path(), Duration::from_secs(600));
    let daemon = Daemon::start(&trial, DaemonOptions::default())?;
    let conditions: Vec<Condition> = std::iter::once(CLEAN).chain(quality::impaired()).collect();
    let wanted: Vec<_> =
        conditions.iter().flat_map(|condition| (1..=arguments.seeds).map(|seed| (*condition, seed))).collect();
    let heard = quality::calls(&trial, &daemon, &wanted, arguments.at_once)?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&heard)?);
    }
    let summaries =
        conditions.iter().map(|condition| quality::summary(condition, &heard)).collect::<Result<Vec<_>, _>>()?;
    let table = quality::table(&summaries);
    if !arguments.json {
        print!("{table}");
    }
    if let Some(file) = &arguments.write {
        bench::write_section(file, "quality", &table)?;
    }
    let shortfalls: Vec<_> =
        conditions.iter().zip(&summaries).flat_map(|(condition, row)| row.shortfalls(condition)).collect();
    if !shortfalls.is_empty() {
        bail!("not reached:\n  {}", shortfalls.join("\n  "));
    }
    Ok(())
}
