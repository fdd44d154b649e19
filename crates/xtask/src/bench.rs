//! `cargo xtask bench`: builds in release and lets the trials crate measure real processes and write docs/benchmarks.md.

use std::process::Command;

use crate::needs::{self, Purpose};
use crate::{python, shell, test, workspace};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this part
    #[arg(value_enum)]
    part: Option<Part>,
    /// Handed to the program of that part; `-- --help` shows what it takes
    #[arg(last = true, requires = "part")]
    rest: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// How a call sounds on good and bad networks
    Quality,
    /// What a supernode costs: sessions, voice, messages, presence
    Cost,
    /// How soon voice is back after the death of the supernode
    Returns,
}

/// Where all parts have a section.
const REPORT: &str = "docs/benchmarks.md";

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    needs::meet(&[Purpose::Build, Purpose::Score])?;
    let python = python::venv()?;
    shell::step("release build", || {
        let packages = ["--package", "ahoyd", "--package", "ahoy", "--package", "ahoy-trials"];
        shell::run(shell::cargo("build").args(["--release", "--bins"]).args(packages))
    })?;
    let binaries = workspace::target()?.join("release");
    for (part, program) in [(Part::Quality, "quality"), (Part::Cost, "bench"), (Part::Returns, "returns")] {
        if args.part.is_some_and(|wanted| wanted != part) {
            continue;
        }
        let mut command = Command::new(binaries.join(program));
        command.current_dir(workspace::root()).args(["--write", REPORT]).args(&args.rest);
        shell::step(program, || shell::run(test::with_parts(&mut command, &binaries, &python)))?;
    }
    Ok(())
}
