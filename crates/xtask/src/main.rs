//! All automation of the repository: `cargo xtask dev`, `test`, `ci` and the rest.
//!
//! One subcommand, one module. It builds with Rust and a linker alone; what else a command needs it installs
//! itself, or says how.

mod bench;
mod ci;
mod deps;
mod dev;
mod licences;
mod needs;
mod nightly;
mod node;
mod python;
mod release;
mod shell;
mod test;
mod tidy;
mod web;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// All automation of the repository.
#[derive(Parser)]
#[command(name = "cargo xtask", disable_help_subcommand = true)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build Ahoy and run a whole network on this machine: authority, supernode and the echo account
    Dev(dev::Args),
    /// Build the programs that are given to others: optimised, the browser client inside
    Release,
    /// Run every test, installing what they need
    Test(test::Args),
    /// Exactly what has to pass before a change is merged
    Ci,
    /// What takes too long for every change: long seeds, fuzzing, feature powerset, advisories
    Nightly(nightly::Args),
    /// Check the dependency law of ARCHITECTURE.md
    Deps,
    /// Check licences, sources and banned crates against deny.toml
    Licences,
    /// Check file lengths, names and paths
    Tidy,
    /// Measure, and write docs/benchmarks.md
    Bench(bench::Args),
}

fn main() -> ExitCode {
    match run(Args::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Dev(args) => dev::run(&args),
        Command::Release => release::run(),
        Command::Test(args) => test::run(&args, test::Lints::Allow),
        Command::Ci => ci::run(),
        Command::Nightly(args) => nightly::run(&args),
        Command::Deps => deps::run(),
        Command::Licences => licences::run(),
        Command::Tidy => tidy::run(),
        Command::Bench(args) => bench::run(&args),
    }
}
