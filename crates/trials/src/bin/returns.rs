//! `returns`: prints how soon voice is back after the death of a supernode, as a table for docs/benchmarks.md.

use std::path::PathBuf;
use std::time::Duration;

use ahoy_trials::harness::Trial;
use ahoy_trials::{bench, returns};
use clap::Parser;

/// Kills a real ahoyd (-9) in the middle of a call of two real clients, again and again, and measures when each hears the other again.
#[derive(Debug, Parser)]
struct Arguments {
    /// Kills, after each of which ahoyd comes back: at once, or after 0.3, 1 or 3.5 s, in turn.
    #[arg(long, default_value_t = 20)]
    kills: usize,
    /// Puts the table into the section `returns` of this file too.
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let folder = tempfile::tempdir()?;
    let trial = Trial::in_folder(folder.path(), Duration::from_secs(600));
    let returns = returns::measure(&trial, arguments.kills)?;
    let text = format!("{}\nMeasured on {}.\n", returns::table(&returns)?, bench::machine());
    print!("{text}");
    if let Some(file) = &arguments.write {
        bench::write_section(file, "returns", &text)?;
    }
    Ok(())
}
