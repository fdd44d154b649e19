//! `cargo xtask ci`: what has to pass before a change is merged, cheapest first.

use crate::needs::{self, Purpose};
use crate::shell::{self, cargo, step};
use crate::{deps, licences, test, tidy};

pub(crate) fn run() -> anyhow::Result<()> {
    needs::meet(&[Purpose::Build, Purpose::Repository, Purpose::Score, Purpose::Capture, Purpose::Databases])?;
    step("format", || shell::run(cargo("fmt").args(["--all", "--check"])))?;
    step("tidy", tidy::run)?;
    step("deps", deps::run)?;
    step("licences", licences::run)?;
    step("clippy", || shell::run(cargo("clippy").args(["--workspace", "--all-targets", "--", "--deny", "warnings"])))?;
    step("doc", || {
        let mut doc = cargo("doc");
        doc.args(["--workspace", "--no-deps", "--document-private-items"]).env("RUSTDOCFLAGS", "--deny warnings");
        shell::run(&mut doc)
    })?;
    test::run(&test::Args::default())?;
    step("nothing regenerated differs", tidy::unchanged)
}
