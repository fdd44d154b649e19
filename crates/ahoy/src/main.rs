//! Ahoy for people and bots: the command line, and without a verb the full-screen client of `tui`.
//!
//! One file a verb under `verb`; each ends with success or with one [`Failure`](failure::Failure), which is said in one place, below.

mod ask;
mod cli;
mod failure;
mod interrupt;
mod online;
mod place;
mod said;
mod sound;
mod talk;
mod tell;
mod text;
mod tui;
mod verb;
mod when;

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use tracing_subscriber::EnvFilter;

use cli::{Cli, Verb};
use tell::Tell;

/// As clap's own usage errors.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_env("AHOY_LOG").unwrap_or_else(|_| EnvFilter::new("off"));
    let full_screen = cli.verb.is_none() && !cli.common.json && tui::is_possible();
    // A log on the same terminal would be drawn into the picture.
    let filter = if full_screen && io::stderr().is_terminal() { EnvFilter::new("off") } else { filter };
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
    let json = cli.common.json || matches!(cli.verb, Some(Verb::Pipe));
    let tell = Tell::new(json);
    let result = match &cli.verb {
        Some(verb) => verb::run(verb, &cli.common, &tell),
        None if full_screen => tui::run(&cli.common, cli.theme),
        None => {
            eprintln!("{}", Cli::command().render_help());
            return USAGE.into();
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tell.failure(&failure);
            failure.exit.into()
        }
    }
}
