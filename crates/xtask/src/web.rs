//! The browser client in `web/`: its packages, its checks, its bundle.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::Context as _;

use crate::{node, shell, workspace};

/// What the bundle is made of, below the root.
const SOURCES: [&str; 9] = [
    "schema",
    "web/app",
    "web/sdk",
    "web/voice",
    "web/public",
    "web/index.html",
    "web/vite.config.ts",
    "web/compress.mjs",
    "web/package-lock.json",
];

/// `web/` with its packages installed.
#[derive(Debug)]
pub(crate) struct Web {
    folder: PathBuf,
    /// Where Node.js lies, if not in `PATH`.
    programs: Option<PathBuf>,
}

impl Web {
    /// Installs what `package-lock.json` says, unless it is there, and generates the messages from the schema.
    pub(crate) fn ready() -> anyhow::Result<Self> {
        let web = Self { folder: workspace::root().join("web"), programs: node::folder()? };
        let lock = fs::read(web.folder.join("package-lock.json")).context("web/package-lock.json")?;
        let stamp = web.folder.join("node_modules/.installed-lock.json");
        if fs::read(&stamp).ok().as_ref() != Some(&lock) {
            shell::step("packages of the browser client", || {
                shell::run(web.npm().args(["ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]))
            })?;
            fs::write(&stamp, lock)?;
        }
        shell::run(web.npm().args(["run", "--silent", "generate"]))?;
        Ok(web)
    }

    /// Makes `web/dist`, which release builds of `ahoyd` hold and development builds read, unless nothing has changed.
    pub(crate) fn bundle(&self) -> anyhow::Result<()> {
        let root = workspace::root();
        let built = modified(&self.folder.join("dist/index.html"));
        let newest = SOURCES.iter().filter_map(|source| newest(&root.join(source))).max();
        if built.is_some() && built >= newest {
            return Ok(());
        }
        shell::step("browser client", || shell::run(self.npm().args(["run", "--silent", "build"])))
    }

    /// `npm` in `web/`, with the right Node.js.
    pub(crate) fn npm(&self) -> Command {
        let mut npm = Command::new(self.programs.as_ref().map_or_else(|| "npm".into(), |folder| folder.join("npm")));
        npm.current_dir(&self.folder);
        if let Some(folder) = &self.programs {
            let mut path = OsString::from(folder);
            path.push(":");
            path.push(std::env::var_os("PATH").unwrap_or_default());
            npm.env("PATH", path);
        }
        npm
    }
}

/// When a file, or whatever lies in a folder, was last written. What is generated from the rest does not count.
fn newest(path: &Path) -> Option<SystemTime> {
    if !path.is_dir() {
        return modified(path);
    }
    let entries = fs::read_dir(path).ok()?.flatten().map(|entry| entry.path());
    entries.filter(|entry| !entry.ends_with("sdk/proto/gen")).filter_map(|entry| newest(&entry)).max()
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().and_then(|attributes| attributes.modified()).ok()
}
