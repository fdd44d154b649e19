//! The Python that scores speech: a venv in the target folder with what `scripts/requirements.txt` names.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::{shell, workspace};

/// Makes or refreshes the venv and gives its interpreter.
pub(crate) fn venv() -> anyhow::Result<PathBuf> {
    let requirements = workspace::root().join("scripts/requirements.txt");
    let wanted =
        std::fs::read_to_string(&requirements).with_context(|| format!("can't read {}", requirements.display()))?;
    let venv = workspace::target()?.join("venv");
    let python = venv.join("bin/python");
    let stamp = venv.join("requirements.txt");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) && python.exists() {
        return Ok(python);
    }
    shell::step("Python for the scorer", || fill(&venv, &python, &requirements))?;
    std::fs::write(&stamp, wanted)?;
    Ok(python)
}

fn fill(venv: &Path, python: &Path, requirements: &Path) -> anyhow::Result<()> {
    shell::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(venv))?;
    let pip = || {
        let mut command = Command::new(python);
        command.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        command
    };
    shell::run(pip().arg("--requirement").arg(requirements))
}

/// Whether `python3` can make a venv with pip in it.
pub(crate) fn has_venv() -> bool {
    shell::succeeds(Command::new("python3").args(["-c", "import venv, ensurepip"]))
}

/// Whether extensions for `python3` can be compiled.
pub(crate) fn has_headers() -> bool {
    let check = "import os, sysconfig; assert os.path.exists(os.path.join(sysconfig.get_path('include'), 'Python.h'))";
    shell::succeeds(Command::new("python3").args(["-c", check]))
}
