//! Kills clients and their daemon while they talk, and looks whether anything is lost; see `ahoy_trials::kills`.

use std::time::Duration;

use ahoy_trials::harness::Trial;
use ahoy_trials::kills::{self, Plan};
use clap::Parser;

/// Clients write to each other while kill -9 hits them and their daemon. Fails if a message that was acknowledged is lost, comes
/// twice, out of order, or was sent by nobody.
#[derive(Debug, Parser)]
struct Arguments {
    /// Half of them hit ahoyd, half a client
    #[arg(long, default_value_t = 200)]
    kills: usize,
    /// In groups of four and a ring of pairs
    #[arg(long, default_value_t = 20)]
    clients: usize,
    /// Of all that is drawn by lot
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Give up after so many seconds
    #[arg(long, default_value_t = 1_800)]
    limit: u64,
}

fn main() -> anyhow::Result<()> {
    let Arguments { kills, clients, seed, limit } = Arguments::parse();
    let folder = tempfile::Builder::new().prefix("ahoy-kills-").tempdir()?;
    let trial = Trial::in_folder(folder.path(), Duration::from_secs(limit));
    match kills::run(&trial, Plan { kills, clients, seed }) {
        Ok(report) => println!("{report:#?}"),
        Err(error) => {
            eprintln!("logs and profiles are kept in {}", folder.keep().display());
            return Err(error);
        }
    }
    Ok(())
}
