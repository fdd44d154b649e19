//! `cargo xtask ci`: what has to pass before a change is merged, cheapest first.

use crate::needs::{self, Purpose};
use crate::shell::{self, cargo, step};
use crate::test::Lints;
use crate::web::Web;
use crate::{deps, licences, test, tidy};

pub(crate) fn run() -> anyhow::Result<()> {
    needs::meet(&[Purpose::Repository])?;
    needs::meet(&test::NEEDED)?;
    step("format", || shell::run(cargo("fmt").args(["--all", "--check"])))?;
    step("tidy", tidy::run)?;
    step("deps", deps::run)?;
    step("licences", licences::run)?;
    step("types of the browser client", || shell::run(Web::ready()?.npm().args(["run", "--silent", "check"])))?;
    test::run(&test::Args::default(), Lints::Deny)?;
    step("nothing regenerated differs", tidy::unchanged)
}
