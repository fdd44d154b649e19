//! `cargo xtask bench`: builds everything in release and lets the trials crate measure it and write docs/benchmarks.md.

use std::process::Command;

use crate::needs::{self, Purpose};
use crate::{python, shell, test, workspace};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Handed to the bench, such as `--rounds 1` or `--help`
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
    let part = |name: &str, more: &[String]| {
        let mut part = Command::new(binaries.join(name));
        part.current_dir(workspace::root()).args(["--write", "docs/benchmarks.md"]).args(more);
        shell::step(name, || shell::run(test::with_parts(&mut part, &binaries, &python)))
    };
    part("quality", &[])?;
    part("bench", &args.bench)
}
