//! `cargo xtask nightly`: what takes too long for every change.

use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::bail;

use crate::needs::{self, Purpose};
use crate::shell::{self, cargo, step};
use crate::workspace;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many seeds the simulator plays
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// How long each fuzz target runs, seconds
    #[arg(long, default_value_t = 600)]
    fuzz_seconds: u32,
}

/// A cargo subcommand that is installed when it is missing.
struct Tool {
    subcommand: &'static str,
    package: &'static str,
    version: &'static str,
}

const FUZZ: Tool = Tool { subcommand: "fuzz", package: "cargo-fuzz", version: "0.13.2" };
const DENY: Tool = Tool { subcommand: "deny", package: "cargo-deny", version: "0.20.2" };
const HACK: Tool = Tool { subcommand: "hack", package: "cargo-hack", version: "0.6.46" };

/// With a keyring of its own, which is forgotten, and never that of whoever runs this.
const KEYRING: &str = "
export XDG_DATA_HOME=$(mktemp -d)
echo -n opensesame | gnome-keyring-daemon --unlock --components=secrets &&
cargo test --locked --package ahoy-client --features keyring --lib -- --ignored the_keyring_that_answers
status=$?; rm -r $XDG_DATA_HOME; exit $status";

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    needs::meet(&[Purpose::Build, Purpose::Audio, Purpose::Keyring])?;
    step(&format!("simulator, {} seeds", args.seeds), || simulate(args.seeds))?;
    step("fuzz", || fuzz(args.fuzz_seconds))?;
    step("features", || {
        install(&HACK)?;
        // What dev-dependencies turn on is left out by cargo itself: the resolver unifies them only where tests are built.
        shell::run(cargo("hack").args(["check", "--workspace", "--feature-powerset"]))
    })?;
    step("doc", doc)?;
    step("keyring", keyring)?;
    step("bans, licences, sources", || {
        install(&DENY)?;
        shell::run(cargo("deny").args(["check", "bans", "licenses", "sources"]))
    })?;
    step("advisories", advisories)
}

/// Known holes and yanked releases. The database lies elsewhere: a night on which it can't be reached says so, and is no failure of
/// what we let in.
fn advisories() -> anyhow::Result<()> {
    if let Err(error) = shell::run(cargo("deny").args(["fetch", "db"])) {
        eprintln!(
            "\n*** SKIPPED advisories: the database can't be reached ({error}). Nobody has looked for known holes. ***\n"
        );
        return Ok(());
    }
    shell::run(cargo("deny").args(["check", "--disable-fetch", "advisories"]))
}

/// Links that lead nowhere. It would cost every change a compilation of all dependencies more.
fn doc() -> anyhow::Result<()> {
    let mut doc = cargo("doc");
    doc.args(["--workspace", "--no-deps", "--document-private-items"]).env("RUSTDOCFLAGS", "--deny warnings");
    shell::run(&mut doc)
}

/// A profile's key in a real keyring.
fn keyring() -> anyhow::Result<()> {
    let mut session = Command::new("dbus-run-session");
    shell::run(session.current_dir(workspace::root()).args(["--", "sh", "-c", KEYRING]))
}

/// Plays worlds that no night has played before; a failure names the seed, which replays it.
fn simulate(seeds: u64) -> anyhow::Result<()> {
    shell::run(cargo("build").args(["--release", "--package", "ahoy-sim", "--bins"]))?;
    let program = workspace::target()?.join("release/ahoy-sim");
    let first = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() * 1_000_000;
    for seed in first..first + seeds {
        let played = Command::new(&program).args(["--seed", &seed.to_string()]).output()?;
        if !played.status.success() {
            eprint!("{}{}", String::from_utf8_lossy(&played.stdout), String::from_utf8_lossy(&played.stderr));
            bail!("replay it with `cargo run --package ahoy-sim -- --seed {seed}`");
        }
    }
    Ok(())
}

fn fuzz(seconds: u32) -> anyhow::Result<()> {
    let folder = workspace::root().join("fuzz");
    if !folder.exists() {
        eprintln!("no fuzz targets");
        return Ok(());
    }
    install(&FUZZ)?;
    let fuzz = || {
        let mut command = Command::new("cargo");
        command.current_dir(workspace::root()).env("RUSTC_BOOTSTRAP", "1").arg("fuzz");
        command
    };
    for target in shell::output(fuzz().arg("list"))?.lines() {
        let limit = format!("-max_total_time={seconds}");
        step(&format!("fuzz {target}"), || shell::run(fuzz().args(["run", target, "--", &limit])))?;
    }
    Ok(())
}

fn install(tool: &Tool) -> anyhow::Result<()> {
    if shell::succeeds(Command::new("cargo").args([tool.subcommand, "--version"])) {
        return Ok(());
    }
    step(&format!("install {}", tool.package), || {
        shell::run(cargo("install").args([tool.package, "--version", tool.version]))
    })
}
