//! One child: its output by line and by time, its end.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal};

use super::Trial;

/// A process of ours. It is killed when this is dropped, and when the thread that started it ends.
#[derive(Debug)]
pub struct Child {
    name: String,
    child: std::process::Child,
    input: Option<ChildStdin>,
    lines: Receiver<Line>,
    deadline: Instant,
    errors: PathBuf,
}

/// A line of standard output.
#[derive(Debug, Clone)]
pub struct Line {
    /// When it was read.
    pub at: Instant,
    /// Without its end.
    pub text: String,
}

impl Child {
    /// Starts a command. Its output goes to `NAME.out.log` and `NAME.err.log` in the trial's folder as well.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start(trial: &Trial, name: &str, command: &Command) -> anyhow::Result<Self> {
        Self::start_with(trial, name, command, Stdio::null())
    }

    /// The same, for one that is written to with [`write_line`](Self::write_line).
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start_driven(trial: &Trial, name: &str, command: &Command) -> anyhow::Result<Self> {
        Self::start_with(trial, name, command, Stdio::piped())
    }

    fn start_with(trial: &Trial, name: &str, command: &Command, input: Stdio) -> anyhow::Result<Self> {
        let errors = trial.folder().join(format!("{name}.err.log"));
        let error_file = File::options().create(true).append(true).open(&errors)?;
        let mut log = File::options().create(true).append(true).open(trial.folder().join(format!("{name}.out.log")))?;
        // `setpriv` replaces itself by the command, so the process id is the command's.
        let mut guarded = Command::new("setpriv");
        guarded.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            if let Some(value) = value {
                guarded.env(key, value);
            }
        }
        guarded.stdin(input).stdout(Stdio::piped()).stderr(error_file);
        let mut child = guarded.spawn().with_context(|| format!("can't start {command:?}"))?;
        let output = BufReader::new(child.stdout.take().context("standard output is piped")?);
        let (sender, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for text in output.lines().map_while(Result::ok) {
                let _ = writeln!(log, "{text}");
                if sender.send(Line { at: Instant::now(), text }).is_err() {
                    return;
                }
            }
        });
        let input = child.stdin.take();
        Ok(Self { name: name.to_owned(), child, input, lines, deadline: trial.deadline(), errors })
    }

    /// Writes a line to its standard input.
    ///
    /// # Errors
    /// When it has ended, or is not driven.
    pub fn write_line(&mut self, line: &str) -> anyhow::Result<()> {
        let input = self.input.as_mut().with_context(|| format!("nobody writes to {}", self.name))?;
        Ok(input.write_all(format!("{line}\n").as_bytes())?)
    }

    /// Ends its standard input.
    pub fn end_input(&mut self) {
        self.input = None;
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it is called in logs.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The next line of its output; `None` when it has closed it.
    ///
    /// # Errors
    /// At the trial's deadline.
    pub fn next_line(&self) -> anyhow::Result<Option<Line>> {
        match self.lines.recv_timeout(self.deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => Ok(Some(line)),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => bail!("gave up waiting for a line of {}", self.name),
        }
    }

    /// The next line if there is one already.
    pub fn line_so_far(&self) -> Option<Line> {
        self.lines.try_recv().ok()
    }

    /// Whether it runs.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// At the trial's deadline.
    pub fn wait(&mut self) -> anyhow::Result<ExitStatus> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() >= self.deadline {
                bail!("gave up waiting for {} to end", self.name);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Sends SIGINT, as Ctrl-C does.
    ///
    /// # Errors
    /// When it has ended already.
    pub fn interrupt(&self) -> anyhow::Result<()> {
        let id = Pid::from_child(&self.child);
        rustix::process::kill_process(id, Signal::INT).with_context(|| format!("{} has ended", self.name))
    }

    /// kill -9.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// All that it wrote to standard error.
    pub fn errors(&self) -> String {
        let bytes = std::fs::read(&self.errors).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended before; then there is nothing to do.
        let _ = self.kill();
    }
}

/// Time that a process's threads have spent on processors, user and kernel together, to the nanosecond. Threads that have ended
/// do not count.
///
/// # Errors
/// When there is no such process.
pub fn cpu_time(process: u32) -> anyhow::Result<Duration> {
    let mut nanoseconds = 0;
    for thread in std::fs::read_dir(format!("/proc/{process}/task"))? {
        let Ok(text) = std::fs::read_to_string(thread?.path().join("schedstat")) else { continue };
        nanoseconds +=
            text.split(' ').next().and_then(|time| time.parse::<u64>().ok()).context("schedstat has a time")?;
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// Memory that a process holds, in bytes.
///
/// # Errors
/// When there is no such process.
pub fn resident_bytes(process: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("a process has a size")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}
