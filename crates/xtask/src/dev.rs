//! `cargo xtask dev`: from a fresh clone to a running network.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::Context as _;

use crate::needs::{self, Purpose};
use crate::{shell, web::Web, workspace};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Handed to `ahoyd dev`; see `ahoyd dev --help`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    ahoyd: Vec<String>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    needs::meet(&[Purpose::Build, Purpose::Web])?;
    Web::ready()?.bundle()?;
    eprintln!("Building ahoyd and ahoy; the first time takes some minutes.");
    shell::run(shell::cargo("build").args(["--package", "ahoyd", "--package", "ahoy"]))?;
    let ahoyd = workspace::target()?.join("debug/ahoyd");
    let failure = Command::new(&ahoyd).arg("dev").args(&args.ahoyd).exec();
    Err(failure).with_context(|| format!("can't start {}", ahoyd.display()))
}
