//! `cargo xtask test`: every test of the workspace, on the real binaries where a test wants them.

use std::path::Path;
use std::process::Command;

use crate::needs::{self, Purpose};
use crate::web::Web;
use crate::{python, shell, workspace};

/// What tests need beside Rust.
pub(crate) const NEEDED: [Purpose; 6] =
    [Purpose::Build, Purpose::Score, Purpose::Capture, Purpose::Databases, Purpose::Web, Purpose::Browser];

#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// Handed to `cargo test` in place of `--workspace`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    cargo_test: Vec<String>,
}

/// What becomes of a lint's findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lints {
    /// Only the compiler's are shown.
    Allow,
    /// Clippy's are looked for as well, and one of either fails the build.
    Deny,
}

impl Lints {
    /// Puts Clippy in the compiler's place where it is to look: it compiles too, so nothing is compiled once to be looked at and once to run.
    /// `cargo clippy` does the same for `cargo check`, with these variables.
    fn apply(self, command: &mut Command) -> &mut Command {
        match self {
            Self::Allow => command,
            Self::Deny => command
                .env("RUSTC_WORKSPACE_WRAPPER", "clippy-driver")
                .env("CLIPPY_ARGS", "--deny__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__"),
        }
    }
}

pub(crate) fn run(args: &Args, lints: Lints) -> anyhow::Result<()> {
    needs::meet(&NEEDED)?;
    let python = python::venv()?;
    let web = Web::ready()?;
    web.bundle()?;
    // All that `cargo test` below compiles, so that features unify alike and nothing is compiled twice.
    shell::step("build", || {
        let mut build = shell::cargo("build");
        build.args(["--workspace", "--all-targets"]);
        shell::run(lints.apply(&mut build))
    })?;
    let binaries = workspace::target()?.join("debug");
    let mut tests = shell::cargo("test");
    if args.cargo_test.is_empty() {
        tests.arg("--workspace");
    } else {
        tests.args(&args.cargo_test);
    }
    shell::step("test", || shell::run(with_parts(lints.apply(&mut tests), &binaries, &python)))?;
    let script = |name: &str| {
        let mut npm = web.npm();
        // Node.js has a WebSocket of its own only from 22 on.
        npm.args(["run", "--silent", name]).env("NODE_OPTIONS", "--experimental-websocket");
        shell::run(with_parts(&mut npm, &binaries, &python))
    };
    shell::step("test of the browser client's parts", || script("test"))?;
    shell::step("test of the interface", || script("interface"))?;
    shell::step("trials in a browser", || script("trials"))
}

/// Tells trials where the real parts lie.
pub(crate) fn with_parts<'a>(command: &'a mut Command, binaries: &Path, python: &Path) -> &'a mut Command {
    command.env("AHOYD_BIN", binaries.join("ahoyd")).env("AHOY_BIN", binaries.join("ahoy")).env("AHOY_PYTHON", python)
}
