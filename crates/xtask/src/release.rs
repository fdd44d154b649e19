//! `cargo xtask release`: what an operator runs.

use crate::needs::{self, Purpose};
use crate::shell;
use crate::web::Web;

pub(crate) fn run() -> anyhow::Result<()> {
    needs::meet(&[Purpose::Build, Purpose::Web])?;
    Web::ready()?.bundle()?;
    shell::step("programs", || {
        shell::run(shell::cargo("build").args(["--release", "--package", "ahoyd", "--package", "ahoy"]))
    })
}
