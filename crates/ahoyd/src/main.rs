//! The Ahoy daemon: authority and supernode in one process, put together here and nowhere else.

mod admin;
mod args;
mod config;
mod daemon;
mod dev;
mod echo;
mod folder;
mod http;
mod invite;
mod log;
mod signals;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Args, Command, ConfigCommand};

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
        Command::Invite(layers) => {
            let config = layers.checked().map_err(Failure::Usage)?;
            invite::run(&config).map_err(Failure::Running)
        }
    }
}

fn configuration(command: &ConfigCommand) -> anyhow::Result<()> {
    match command {
        ConfigCommand::Check(layers) => {
            layers.checked()?;
            println!("the configuration is good");
        }
        ConfigCommand::Show(layers) => print!("{}", toml::to_string(&layers.load()?)?),
        ConfigCommand::Sample => print!("{}", config::SAMPLE),
    }
    Ok(())
}
