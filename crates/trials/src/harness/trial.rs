//! One trial: folder, deadline, share of the machine, and what is shown when it fails.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::fs::FlockOperation;

/// How much of the machine a trial wants. Measured audio must not share two cores with a password hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    /// Does next to nothing, for long: runs beside everything.
    Idle,
    /// Runs beside others that share.
    Shared,
    /// Runs alone: it measures time, or sound.
    Alone,
}

/// What a running trial may use.
#[derive(Debug)]
pub struct Trial {
    folder: PathBuf,
    deadline: Instant,
}

/// Lines of each log that a failure shows.
const LOG_LINES: usize = 60;

/// Runs one trial. Its failure shows the end of every log and keeps the folder.
///
/// # Panics
/// When the trial fails: it is what a test is.
pub fn trial(limit: Duration, machine: Machine, body: impl FnOnce(&Trial) -> anyhow::Result<()>) {
    let lock = machine_lock(machine).expect("the machine's lock file can be made");
    let folder = tempfile::Builder::new().prefix("ahoy-trial-").tempdir().expect("a temporary folder can be made");
    let trial = Trial { folder: folder.path().to_owned(), deadline: Instant::now() + limit };
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| body(&trial)));
    drop(lock);
    let failure = match outcome {
        Ok(Ok(())) => return,
        Ok(Err(error)) => format!("{error:#}"),
        Err(_) => "it panicked, see above".to_owned(),
    };
    eprintln!("{}", trial.logs());
    panic!("{failure}\n(logs and profiles are kept in {})", folder.keep().display());
}

impl Trial {
    /// A trial without a share of the machine, for the programs of this crate that measure.
    pub fn in_folder(folder: &Path, limit: Duration) -> Self {
        Self { folder: folder.to_owned(), deadline: Instant::now() + limit }
    }

    /// A place for files; gone after success.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// When the trial has to be over.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Looks again and again until there is an answer: after as long as the last look took, within 1 to 50 ms, because a look may be a process
    /// and take from those whom it is about.
    ///
    /// # Errors
    /// At the trial's deadline; `what` says what was waited for.
    pub fn wait_for<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> anyhow::Result<T> {
        loop {
            let begins = Instant::now();
            if let Some(found) = look() {
                return Ok(found);
            }
            if Instant::now() >= self.deadline {
                bail!("gave up waiting for {what}");
            }
            std::thread::sleep(begins.elapsed().clamp(Duration::from_millis(1), Duration::from_millis(50)));
        }
    }

    fn logs(&self) -> String {
        let mut text = String::new();
        let Ok(entries) = std::fs::read_dir(&self.folder) else { return text };
        let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        files.sort();
        for file in files.iter().filter(|file| file.extension().is_some_and(|end| end == "log")) {
            let log = std::fs::read(file).unwrap_or_default();
            let log = String::from_utf8_lossy(&log);
            let lines: Vec<_> = log.lines().collect();
            let end = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
            text += &format!("──── {} ({} lines)\n{end}\n", file.display(), lines.len());
        }
        text
    }
}

/// Trials are spread over several test programs; a lock file orders them all.
fn machine_lock(machine: Machine) -> anyhow::Result<File> {
    let file = File::create(std::env::temp_dir().join("ahoy-trials.lock"))?;
    match machine {
        Machine::Idle => {}
        Machine::Shared => rustix::fs::flock(&file, FlockOperation::LockShared)?,
        Machine::Alone => rustix::fs::flock(&file, FlockOperation::LockExclusive)?,
    }
    Ok(file)
}

/// One of our programs: named by the variable (`AHOY_BIN`, `AHOYD_BIN`), else beside the running program.
///
/// # Errors
/// When it is not there: trials never skip what they can't find.
pub fn binary(name: &str) -> anyhow::Result<PathBuf> {
    let variable = format!("{}_BIN", name.to_uppercase());
    if let Some(path) = std::env::var_os(&variable) {
        let path = PathBuf::from(path);
        return if path.is_file() { Ok(path) } else { bail!("{variable} is {}: no such file", path.display()) };
    }
    let own = std::env::current_exe().context("the running program has a path")?;
    let found = own.ancestors().skip(1).take(2).map(|folder| folder.join(name)).find(|path| path.is_file());
    found.with_context(|| {
        format!("no `{name}` beside {}: run `cargo build --workspace --bins` first, or set {variable}", own.display())
    })
}

/// The root of the repository.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
