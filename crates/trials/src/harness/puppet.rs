//! A device that does what it is told: a running `ahoy pipe`.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};

use super::{Child, Event, Person, Trial};

/// One device, driven line by line.
#[derive(Debug)]
pub struct Puppet {
    person: Person,
    child: Child,
    device: String,
    last: u64,
}

/// What a command was answered with.
#[derive(Debug, Clone)]
pub struct Answer {
    /// What stands with the command's number.
    pub event: Event,
    /// What was listed before.
    pub list: Vec<Event>,
}

/// A command was refused.
#[derive(Debug)]
pub struct Refused(pub Event);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "refused ({}): {}", self.0.text("code"), self.0.text("text"))
    }
}

impl std::error::Error for Refused {}

impl Puppet {
    /// Starts it and waits until it takes commands.
    ///
    /// # Errors
    /// When it ends instead, or at the trial's deadline.
    pub fn start(trial: &Trial, person: &Person) -> anyhow::Result<Self> {
        Self::start_unready(trial, person)?.wait_until_ready()
    }

    /// Starts it and does not wait.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start_unready(trial: &Trial, person: &Person) -> anyhow::Result<Self> {
        let stem = person.profile().file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let ending = person.profile().extension().unwrap_or_default().to_string_lossy().into_owned();
        let child = Child::start_driven(trial, &format!("{stem}-{ending}"), &person.command(vec!["pipe".into()])?)?;
        Ok(Self { person: person.clone(), child, device: String::new(), last: 0 })
    }

    /// Waits until it takes commands.
    ///
    /// # Errors
    /// When it ends instead, or at the trial's deadline.
    pub fn wait_until_ready(mut self) -> anyhow::Result<Self> {
        let ready = self.wait_for(|event| event.name == "ready")?;
        ready.text("device").clone_into(&mut self.device);
        Ok(self)
    }

    /// Its id, as 32 digits, once it takes commands.
    pub fn device(&self) -> &str {
        &self.device
    }

    /// Whose device it is.
    pub fn person(&self) -> &Person {
        &self.person
    }

    /// Its process.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Waits for an event; what comes before is dropped.
    ///
    /// # Errors
    /// When it ends first, or at the trial's deadline.
    pub fn wait_for(&self, wanted: impl Fn(&Event) -> bool) -> anyhow::Result<Event> {
        loop {
            let event = self.next_event()?;
            if wanted(&event) {
                return Ok(event);
            }
        }
    }

    fn next_event(&self) -> anyhow::Result<Event> {
        while let Some(line) = self.child.next_line()? {
            if let Some(event) = Event::parse(&line.text) {
                return Ok(event);
            }
        }
        bail!("{} has ended: {}", self.child.name(), self.child.errors())
    }

    /// Gives a command, an object with `do`, and waits for its answer.
    ///
    /// # Errors
    /// [`Refused`] when that is an error; else when it ends first, or at the trial's deadline.
    pub fn ask(&mut self, mut command: Value) -> anyhow::Result<Answer> {
        self.last += 1;
        let id = self.last;
        command["id"] = json!(id);
        self.child.write_line(&command.to_string())?;
        let mut list = Vec::new();
        loop {
            let event = self.next_event()?;
            if event.fields.get("of") == Some(&command["id"]) {
                list.push(event);
            } else if event.fields.get("answer") == Some(&command["id"]) {
                ensure!(event.name != "error", Refused(event));
                return Ok(Answer { event, list });
            }
        }
    }

    /// The same, for one that must be refused: gives the error.
    ///
    /// # Errors
    /// When it is done.
    pub fn refusal(&mut self, command: Value) -> anyhow::Result<Event> {
        match self.ask(command.clone()) {
            Ok(answer) => bail!("{command} was done: {:?}", answer.event),
            Err(error) => Ok(error.downcast::<Refused>().context("it was not refused")?.0),
        }
    }

    /// `send`; gives the place in the log.
    ///
    /// # Errors
    /// As [`ask`](Self::ask).
    pub fn send(&mut self, to: &str, text: &str) -> anyhow::Result<u64> {
        let answer = self.ask(json!({ "do": "send", "to": to, "text": text }))?;
        answer.event.fields["sequence"].as_u64().context("what was sent has a place")
    }

    /// `history`: all lines of a conversation.
    ///
    /// # Errors
    /// As [`ask`](Self::ask).
    pub fn history(&mut self, with: &str) -> anyhow::Result<Vec<Event>> {
        Ok(self.ask(json!({ "do": "history", "with": with }))?.list)
    }

    /// Gives a command again and again until its answer is as wanted.
    ///
    /// # Errors
    /// At the trial's deadline, or when it ends.
    pub fn ask_until(
        &mut self,
        trial: &Trial,
        command: &Value,
        wanted: impl Fn(&anyhow::Result<Answer>) -> bool,
    ) -> anyhow::Result<Answer> {
        loop {
            let answer = self.ask(command.clone());
            let refused = answer.as_ref().is_err_and(|error| error.is::<Refused>());
            if wanted(&answer) || (answer.is_err() && !refused) {
                return answer;
            }
            ensure!(Instant::now() < trial.deadline(), "gave up waiting for {command}: {answer:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Makes the two people contacts.
    ///
    /// # Errors
    /// When the network refuses.
    pub fn befriend(&mut self, trial: &Trial, other: &mut Self) -> anyhow::Result<()> {
        self.ask(json!({ "do": "contacts-add", "name": other.person.name() }))?;
        // The request is on its way.
        let accept = json!({ "do": "contacts-accept", "name": self.person.name() });
        other.ask_until(trial, &accept, |answer| answer.is_ok())?;
        Ok(())
    }

    /// Ends its input, and waits for its end.
    ///
    /// # Errors
    /// At the trial's deadline.
    pub fn finish(mut self) -> anyhow::Result<()> {
        self.child.end_input();
        while self.child.next_line()?.is_some() {}
        let status = self.child.wait()?;
        ensure!(status.success(), "{} ended with {status}: {}", self.child.name(), self.child.errors());
        Ok(())
    }
}
