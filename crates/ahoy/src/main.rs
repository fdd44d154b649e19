//! Ahoy for people and bots: the command line.
//!
//! One file a verb under `verb`; each ends with success or with one [`Failure`](failure::Failure), which is said in one place, below.

mod ask;
mod cli;
mod failure;
mod interrupt;
mod online;
mod place;
mod sound;
mod talk;
mod tell;
mod verb;

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use cli::Cli;
use tell::Tell;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_env("AHOY_LOG").unwrap_or_else(|_| EnvFilter::new("off"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let tell = Tell::new(cli.common.json);
    match verb::run(&cli, &tell) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tell.failure(&failure);
            failure.exit.into()
        }
    }
}
