//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::config::{self, Config, Layers};

/// The Ahoy daemon: a voice network that anyone can host.
///
/// It is the network's authority (accounts, sign-in) and a supernode (presence, calls, voice) in one process. It
/// forwards sealed bytes: no password, no message and no voice ever reaches it in the clear.
#[derive(Parser)]
#[command(version, disable_help_subcommand = true, after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER_HELP: &str = "\
Try it on this machine:
  ahoyd dev                       then, in another terminal:
  ahoy sign-up alice
  ahoy call echo

Run it for others:
  ahoyd config sample > ahoy.toml
  ahoyd config check --config ahoy.toml
  ahoyd serve --config ahoy.toml
  ahoyd invite --config ahoy.toml

Grow: a further machine as supernode, by a one-time token:
  ahoyd enrol --config ahoy.toml           where the authority is; it prints what to run on the new machine

Beside the running daemon: invite, account, reports, enrol, supernodes, backup. What they change, it takes up within two seconds.
Of the running daemon, on its machine and by its account: fleet, drain, undrain.

Signals: SIGTERM and SIGINT end the process cleanly, a second one at once; SIGHUP reads the certificate again.
Exit codes: 0 ended as asked, 1 something failed, 2 wrong command line or configuration, 130 ended at once.";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run a whole network on this machine, for trying and developing: loopback only, sign-up open, with the echo account
    Dev(DevArgs),
    /// Run for others, by a configuration file
    Serve(ConfigArgs),
    /// Look at the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Make codes that let one person each sign up within a week, where `sign_up` is "invite"
    Invite(InviteArgs),
    /// Look at accounts, shut them out, delete them
    #[command(subcommand)]
    Account(AccountCommand),
    /// Read what people complain of
    #[command(subcommand)]
    Reports(ReportsCommand),
    /// Make a token that lets one machine join as a supernode within a day, and say what to run there
    Enrol(EnrolArgs),
    /// Make this machine a supernode, by a token of `ahoyd enrol`; then run `ahoyd serve`
    Join(JoinArgs),
    /// Look at supernodes, change what the roster says of them, revoke them
    #[command(subcommand)]
    Supernodes(SupernodesCommand),
    /// Let the running daemon hand its sessions and calls to other supernodes, and end when it has none, or at the deadline
    Drain(DrainArgs),
    /// Call a drain off: the daemon takes sessions and calls again
    Undrain(OperatorArgs),
    /// All supernodes that live, as the one of this machine sees them
    Fleet(OperatorArgs),
    /// Copy the database, consistent although the daemon runs
    Backup(BackupArgs),
    /// Put a backup into an empty data folder, or make a PostgreSQL database fit that pg_restore has put back
    Restore(RestoreArgs),
    /// Move the database from SQLite to PostgreSQL, while no daemon runs; once more after an interruption goes on from there
    Migrate(MigrateArgs),
}

/// `ahoyd dev`
#[derive(clap::Args)]
pub(crate) struct DevArgs {
    /// Where accounts, conversations and keys are kept between runs [default: ~/.local/share/ahoyd/dev]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// UDP and TCP, on 127.0.0.1 and ::1; metrics and health are on the next one
    #[arg(long, value_name = "N", default_value_t = 8080)]
    pub(crate) port: u16,
    /// Set a key of the configuration; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

/// Where the configuration comes from: file, then AHOY_… in the environment, then --set.
#[derive(clap::Args)]
pub(crate) struct ConfigArgs {
    /// The configuration file; `ahoyd config sample` prints one
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Set a key, over what the file and the environment say; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

impl ConfigArgs {
    /// The configuration, read but not checked.
    pub(crate) fn load(&self) -> anyhow::Result<Config> {
        config::load(Layers {
            file: Some(&self.config),
            environment: environment(),
            settings: &self.set,
            ..Layers::default()
        })
    }

    /// The configuration, checked.
    pub(crate) fn checked(&self) -> anyhow::Result<Config> {
        let config = self.load()?;
        config.check()?;
        config.check_tls()?;
        Ok(config)
    }
}

/// What every command has that works beside the daemon.
#[derive(clap::Args)]
pub(crate) struct OperatorArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Say it for programs: one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

/// `ahoyd invite`
#[derive(clap::Args)]
pub(crate) struct InviteArgs {
    #[command(flatten)]
    pub(crate) operator: OperatorArgs,
    /// How many
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) count: u32,
}

#[derive(Subcommand)]
pub(crate) enum AccountCommand {
    /// All accounts, by name
    List(OperatorArgs),
    /// What is kept of one account
    Show(NamedArgs),
    /// Shut an account out: its sessions close within seconds, and it can't sign in
    Suspend(NamedArgs),
    /// Let a suspended account in again
    Restore(NamedArgs),
    /// Delete an account for good
    Delete(DeleteArgs),
}

/// A command about one account.
#[derive(clap::Args)]
pub(crate) struct NamedArgs {
    /// The account's name
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) operator: OperatorArgs,
}

/// `ahoyd account delete`
#[derive(clap::Args)]
pub(crate) struct DeleteArgs {
    #[command(flatten)]
    pub(crate) named: NamedArgs,
    /// Don't ask
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Subcommand)]
pub(crate) enum ReportsCommand {
    /// All reports, the oldest first
    List(OperatorArgs),
    /// Who complains of whom, why, and the messages that the reporter shows
    Show(NumberedArgs),
    /// Delete a report that has been dealt with
    Forget(NumberedArgs),
}

/// A command about one report.
#[derive(clap::Args)]
pub(crate) struct NumberedArgs {
    /// The report's number, from `ahoyd reports list`
    pub(crate) number: u64,
    #[command(flatten)]
    pub(crate) operator: OperatorArgs,
}

/// What the operator decides of a supernode.
#[derive(clap::Args)]
pub(crate) struct PlaceArgs {
    /// Where it stands, in your words; shown in the roster
    #[arg(long, value_name = "TEXT")]
    pub(crate) region: Option<String>,
    /// Its share of new sessions, relative to the others; 0 takes none
    #[arg(long, value_name = "N")]
    pub(crate) weight: Option<u32>,
    /// Where clients find it, as host:port, best first; may be repeated
    #[arg(long = "address", value_name = "HOST:PORT")]
    pub(crate) addresses: Vec<String>,
}

/// `ahoyd enrol`
#[derive(clap::Args)]
pub(crate) struct EnrolArgs {
    #[command(flatten)]
    pub(crate) operator: OperatorArgs,
    /// What is not said here, the new machine says by its own configuration
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
}

/// `ahoyd join`
#[derive(clap::Args)]
pub(crate) struct JoinArgs {
    #[command(flatten)]
    pub(crate) operator: OperatorArgs,
    /// Where the authority is found; the same as --set authority=URL
    #[arg(long, value_name = "URL")]
    pub(crate) authority: Option<String>,
    /// What `ahoyd enrol` printed; the same as --set enrolment_token=TOKEN
    #[arg(long, value_name = "TOKEN")]
    pub(crate) token: Option<String>,
}

#[derive(Subcommand)]
pub(crate) enum SupernodesCommand {
    /// All that have enrolled, by number
    List(OperatorArgs),
    /// Take one out of the roster for good: within seconds others close their trunks to it, and clients leave it
    Revoke(RevokeArgs),
    /// Change what the roster says of one
    Change(ChangeArgs),
}

/// A command about one supernode.
#[derive(clap::Args)]
pub(crate) struct SupernodeArgs {
    /// Its id, or the beginning of it, from `ahoyd supernodes list`
    pub(crate) supernode: String,
    #[command(flatten)]
    pub(crate) operator: OperatorArgs,
}

/// `ahoyd supernodes revoke`
#[derive(clap::Args)]
pub(crate) struct RevokeArgs {
    #[command(flatten)]
    pub(crate) which: SupernodeArgs,
    /// Don't ask
    #[arg(long)]
    pub(crate) yes: bool,
}

/// `ahoyd supernodes change`
#[derive(clap::Args)]
pub(crate) struct ChangeArgs {
    #[command(flatten)]
    pub(crate) which: SupernodeArgs,
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
}

/// `ahoyd drain`
#[derive(clap::Args)]
pub(crate) struct DrainArgs {
    #[command(flatten)]
    pub(crate) operator: OperatorArgs,
    /// End after so many seconds, whoever is still there
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub(crate) deadline: u32,
    /// Don't end: be ready for `undrain`
    #[arg(long, conflicts_with = "deadline")]
    pub(crate) stay: bool,
}

/// `ahoyd backup`
#[derive(clap::Args)]
pub(crate) struct BackupArgs {
    #[command(flatten)]
    pub(crate) operator: OperatorArgs,
    /// A folder that does not exist or is empty
    #[arg(long, value_name = "FOLDER")]
    pub(crate) to: PathBuf,
    /// Copy the network's secrets too: whoever has them can speak for the network
    #[arg(long)]
    pub(crate) with_keys: bool,
}

/// `ahoyd restore`
#[derive(clap::Args)]
pub(crate) struct RestoreArgs {
    #[command(flatten)]
    pub(crate) operator: OperatorArgs,
    /// A folder that `ahoyd backup` made; with PostgreSQL none: pg_restore has brought the database back
    #[arg(long, value_name = "FOLDER")]
    pub(crate) from: Option<PathBuf>,
}

/// `ahoyd migrate`
#[derive(clap::Args)]
pub(crate) struct MigrateArgs {
    #[command(flatten)]
    pub(crate) operator: OperatorArgs,
    /// An empty PostgreSQL database [default: what `store` says; there a password is for nobody's eyes]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) to: Option<String>,
}

/// Variables of the environment that are text.
pub(crate) fn environment() -> Vec<(String, String)> {
    let text = |(key, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((key.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(text).collect()
}

#[derive(Subcommand)]
pub(crate) enum ConfigCommand {
    /// Say what is wrong with it, if anything
    Check(ConfigArgs),
    /// Print what is in force: defaults, file, environment and --set together
    Show(ConfigArgs),
    /// Print a file with every key, explained
    Sample,
}
