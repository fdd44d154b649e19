//! The Ahoy daemon: authority, supernode, or both in one process, put together here and nowhere else.

mod account;
mod admin;
mod args;
mod backup;
mod certificate;
mod config;
mod control;
mod daemon;
mod dev;
mod echo;
mod folder;
mod http;
mod invite;
mod join;
mod log;
mod membership;
mod operator;
mod reports;
mod restore;
mod retention;
mod session;
mod signals;
mod store;
mod supernodes;
mod web;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Args, Command, ConfigCommand, OperatorArgs};
use config::Config;

/// The command line or the configuration is wrong; nothing was started. clap ends with the same.
const EXIT_USAGE: u8 = 2;

/// Something failed while starting or running.
const EXIT_FAILURE: u8 = 1;

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let (code, error) = match failure {
                Failure::Usage(error) => (EXIT_USAGE, error),
                Failure::Running(error) => (EXIT_FAILURE, error),
            };
            eprintln!("ahoyd: {error:#}");
            ExitCode::from(code)
        }
    }
}

/// Why the program ends badly.
enum Failure {
    Usage(anyhow::Error),
    Running(anyhow::Error),
}

fn run(args: Args) -> Result<(), Failure> {
    match args.command {
        Command::Dev(args) => {
            let config = dev::config(&args).map_err(Failure::Usage)?;
            daemon::run(&config, Some(&dev::Banner::new(&config))).map_err(Failure::Running)
        }
        Command::Serve(layers) => {
            let config = layers.checked().map_err(Failure::Usage)?;
            daemon::run(&config, None).map_err(Failure::Running)
        }
        Command::Config(command) => configuration(&command).map_err(Failure::Usage),
        Command::Invite(args) => beside(&args.operator, |config| invite::run(config, &args)),
        Command::Account(command) => beside(account::operator_args(&command), |config| account::run(config, &command)),
        Command::Reports(command) => beside(reports::operator_args(&command), |config| reports::run(config, &command)),
        Command::Enrol(args) => beside(&args.operator, |config| supernodes::enrol(config, &args)),
        Command::Join(args) => join::run(&args),
        Command::Supernodes(command) => {
            beside(supernodes::operator_args(&command), |config| supernodes::run(config, &command))
        }
        Command::Drain(args) => beside(&args.operator, |config| control::drain(config, &args)),
        Command::Undrain(args) => beside(&args, |config| control::undrain(config, &args)),
        Command::Fleet(args) => beside(&args, |config| control::fleet(config, &args)),
        Command::Backup(args) => beside(&args.operator, |config| backup::run(config, &args)),
        Command::Restore(args) => beside(&args.operator, |config| restore::run(config, &args)),
        Command::Migrate(args) => beside(&args.operator, |config| store::migrate(config, &args)),
    }
}

/// Something that the operator does beside the daemon.
fn beside(args: &OperatorArgs, verb: impl FnOnce(&Config) -> anyhow::Result<()>) -> Result<(), Failure> {
    let config = args.config.checked().map_err(Failure::Usage)?;
    folder::keep_to_ourselves();
    verb(&config).map_err(Failure::Running)
}

fn configuration(command: &ConfigCommand) -> anyhow::Result<()> {
    match command {
        ConfigCommand::Check(layers) => {
            layers.checked()?;
            println!("the configuration is good");
        }
        ConfigCommand::Show(layers) => print!("{}", toml::to_string(&layers.load()?.without_secrets())?),
        ConfigCommand::Sample => print!("{}", config::SAMPLE),
    }
    Ok(())
}
