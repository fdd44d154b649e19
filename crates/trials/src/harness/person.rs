//! Somebody with a profile, who runs `ahoy`.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use super::{Child, Daemon, Trial, binary};

/// One identity.
#[derive(Debug, Clone)]
pub struct Person {
    name: String,
    profile: PathBuf,
    password_file: PathBuf,
    network: String,
    /// Dials here in place of the roster's addresses.
    pub supernode: Option<SocketAddr>,
    /// A command to put in front of `ahoy`, such as `ip netns exec NAME`.
    pub prefix: Vec<OsString>,
    /// Where `ahoy` writes TLS secrets.
    pub keylog: Option<PathBuf>,
}

/// What a finished `ahoy` left.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Exit code; -1 when a signal ended it.
    pub code: i32,
    /// The objects that it printed.
    pub events: Vec<Event>,
    /// Standard error.
    pub errors: String,
}

/// One object that `ahoy --json` printed.
#[derive(Debug, Clone)]
pub struct Event {
    /// Its `event`; empty where a verb prints a plain object.
    pub name: String,
    /// Unix time in milliseconds, as `ahoy` says; 0 where it does not.
    pub at_ms: u64,
    /// All fields.
    pub fields: Value,
}

impl Event {
    pub(super) fn parse(line: &str) -> Option<Self> {
        let fields: Value = serde_json::from_str(line).ok()?;
        let name = fields.get("event").and_then(Value::as_str).unwrap_or_default().to_owned();
        let at_ms = fields.get("at_ms").and_then(Value::as_u64).unwrap_or_default();
        fields.is_object().then_some(Self { name, at_ms, fields })
    }

    /// A field that is a number.
    ///
    /// # Errors
    /// When it is not there.
    pub fn number(&self, field: &str) -> anyhow::Result<f64> {
        self.fields.get(field).and_then(Value::as_f64).with_context(|| format!("no number {field} in {}", self.fields))
    }

    /// A field that is a text; empty when it is not there.
    pub fn text(&self, field: &str) -> &str {
        self.fields.get(field).and_then(Value::as_str).unwrap_or_default()
    }
}

impl Outcome {
    /// The first object of a name.
    ///
    /// # Errors
    /// When there is none.
    pub fn event(&self, name: &str) -> anyhow::Result<&Event> {
        let found = self.events.iter().find(|event| event.name == name);
        found.with_context(|| format!("ahoy printed no {name}; it ended with {}: {}", self.code, self.errors))
    }

    /// All that a person would have read: standard error, and the texts of printed errors.
    pub fn said(&self) -> String {
        let errors = self.events.iter().filter(|event| event.name == "error").map(|event| event.text("text"));
        [self.errors.as_str()].into_iter().chain(errors).collect::<Vec<_>>().join("\n")
    }
}

impl Person {
    /// Somebody who has no account yet.
    ///
    /// # Errors
    /// When the password file can't be written.
    pub fn new(trial: &Trial, name: &str, network: &str) -> anyhow::Result<Self> {
        let password_file = trial.folder().join(format!("{name}.password"));
        std::fs::write(&password_file, format!("correct horse {name}\n"))?;
        Ok(Self {
            name: name.to_owned(),
            profile: trial.folder().join(format!("{name}.profile")),
            password_file,
            network: network.to_owned(),
            supernode: None,
            prefix: Vec::new(),
            keylog: None,
        })
    }

    /// Somebody who has just signed up.
    ///
    /// # Errors
    /// When signing up fails.
    pub fn signed_up(trial: &Trial, name: &str, daemon: &Daemon) -> anyhow::Result<Self> {
        let person = Self::new(trial, name, &daemon.network())?;
        person.sign_up(trial)?.succeeded()?;
        Ok(person)
    }

    /// Several people, signed up one after the other.
    ///
    /// # Errors
    /// When signing up fails.
    pub fn signed_up_all<const N: usize>(
        trial: &Trial,
        names: [&str; N],
        daemon: &Daemon,
    ) -> anyhow::Result<[Self; N]> {
        let people =
            names.iter().map(|name| Self::signed_up(trial, name, daemon)).collect::<anyhow::Result<Vec<_>>>()?;
        Ok(people.try_into().expect("as many people as names"))
    }

    /// Makes two people contacts: calls and conversations between strangers begin with that.
    ///
    /// # Errors
    /// When the network refuses.
    pub fn befriend(&self, trial: &Trial, other: &Self) -> anyhow::Result<()> {
        self.run(trial, ["contacts", "add", other.name()])?.succeeded()?;
        other.run(trial, ["contacts", "accept", self.name()])?.succeeded()?;
        Ok(())
    }

    /// The account's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The profile's folder.
    pub fn profile(&self) -> &Path {
        &self.profile
    }

    /// The same person on another device: a profile of its own.
    #[must_use]
    pub fn on_another_device(&self) -> Self {
        self.on_device("other")
    }

    /// The same person on a device called so: a profile of its own.
    #[must_use]
    pub fn on_device(&self, called: &str) -> Self {
        Self { profile: self.profile.with_extension(format!("{called}-profile")), ..self.clone() }
    }

    /// Writes a new password into the password file, and tells nobody.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn forget_password(&self) -> anyhow::Result<()> {
        Ok(std::fs::write(&self.password_file, "battery staple\n")?)
    }

    /// `ahoy sign-up`
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn sign_up(&self, trial: &Trial) -> anyhow::Result<Outcome> {
        self.run(trial, [OsString::from("sign-up"), self.name.clone().into()])
    }

    /// `ahoy sign-in`
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn sign_in(&self, trial: &Trial) -> anyhow::Result<Outcome> {
        self.run(trial, [OsString::from("sign-in"), self.name.clone().into()])
    }

    /// Runs a verb to its end.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn run<A: Into<OsString>>(
        &self,
        trial: &Trial,
        arguments: impl IntoIterator<Item = A>,
    ) -> anyhow::Result<Outcome> {
        self.start(trial, arguments)?.finish()
    }

    /// Runs a verb that reads its standard input.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn run_with_input<A: Into<OsString>>(
        &self,
        trial: &Trial,
        arguments: impl IntoIterator<Item = A>,
        input: &str,
    ) -> anyhow::Result<Outcome> {
        let command = self.command(arguments.into_iter().map(Into::into).collect())?;
        let mut child = Child::start_driven(trial, &format!("{}-input", self.name), &command)?;
        // It may end before everything is written.
        let _ = child.write_line(input);
        child.end_input();
        Verb { child, events: Vec::new() }.finish()
    }

    /// Starts a verb.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start<A: Into<OsString>>(
        &self,
        trial: &Trial,
        arguments: impl IntoIterator<Item = A>,
    ) -> anyhow::Result<Verb> {
        let arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
        let verb = arguments.first().map(|verb| verb.to_string_lossy().into_owned()).unwrap_or_default();
        let child = Child::start(trial, &format!("{}-{verb}", self.name), &self.command(arguments)?)?;
        Ok(Verb { child, events: Vec::new() })
    }

    /// `ahoy` with this profile.
    pub(super) fn command(&self, arguments: Vec<OsString>) -> anyhow::Result<Command> {
        let ahoy = binary("ahoy")?.into_os_string();
        let mut words = self.prefix.iter().chain([&ahoy]);
        let mut command = Command::new(words.next().expect("there is ahoy at least"));
        command.args(words).args(["--json", "--network", &self.network, "--profile"]).arg(&self.profile);
        command.arg("--password-file").arg(&self.password_file);
        if let Some(supernode) = self.supernode {
            command.args(["--supernode", &supernode.to_string()]);
        }
        if let Some(keylog) = &self.keylog {
            command.env("SSLKEYLOGFILE", keylog);
        }
        command.args(arguments);
        Ok(command)
    }
}

impl Outcome {
    /// Itself, if the exit code is 0.
    ///
    /// # Errors
    /// With all that was said, otherwise.
    pub fn succeeded(self) -> anyhow::Result<Self> {
        ensure!(self.code == 0, "ahoy ended with {}: {}", self.code, self.said());
        Ok(self)
    }
}

/// A running `ahoy`.
#[derive(Debug)]
pub struct Verb {
    child: Child,
    events: Vec<Event>,
}

impl Verb {
    /// Its process.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Waits for the next object of a name; the ones before it stay in [`events`](Self::events).
    ///
    /// # Errors
    /// When `ahoy` ends first, or at the trial's deadline.
    pub fn wait_for(&mut self, name: &str) -> anyhow::Result<Event> {
        while let Some(line) = self.child.next_line()? {
            let Some(event) = Event::parse(&line.text) else { continue };
            self.events.push(event.clone());
            if event.name == name {
                return Ok(event);
            }
        }
        bail!("{} ended before it printed {name}: {}", self.child.name(), self.child.errors())
    }

    /// All objects printed so far.
    pub fn events(&mut self) -> &[Event] {
        while let Some(line) = self.child.line_so_far() {
            self.events.extend(Event::parse(&line.text));
        }
        &self.events
    }

    /// Ctrl-C, then waits for its end.
    ///
    /// # Errors
    /// When it has ended already, or at the trial's deadline.
    pub fn interrupt_and_finish(self) -> anyhow::Result<Outcome> {
        self.child.interrupt()?;
        self.finish()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// At the trial's deadline.
    pub fn finish(mut self) -> anyhow::Result<Outcome> {
        while let Some(line) = self.child.next_line()? {
            self.events.extend(Event::parse(&line.text));
        }
        let status = self.child.wait()?;
        let errors = self.child.errors();
        Ok(Outcome { code: status.code().unwrap_or(-1), events: std::mem::take(&mut self.events), errors })
    }
}

/// Unix time now, in milliseconds.
pub fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
