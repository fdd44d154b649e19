//! `cargo xtask bench`: builds everything in release and lets the trials crate measure it.

use std::process::Command;

use crate::needs::{self, Purpose};
use crate::{python, shell, test, workspace};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Handed to the bench; see `cargo xtask bench --help-bench`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    bench: Vec<String>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    needs::meet(&[Purpose::Build, Purpose::Score])?;
    let python = python::venv()?;
    shell::step("release build", || {
        let packages = ["--package", "ahoyd", "--package", "ahoy", "--package", "ahoy-trials"];
        shell::run(shell::cargo("build").args(["--release", "--bins"]).args(packages))
    })?;
    let binaries = workspace::target()?.join("release");
    let mut bench = Command::new(binaries.join("bench"));
    bench.current_dir(workspace::root()).args(&args.bench);
    shell::step("bench", || shell::run(test::with_parts(&mut bench, &binaries, &python)))
}
