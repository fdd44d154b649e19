//! `ahoy listen`

use std::io::BufRead;

use ahoy_client::driver::{Client, ClientError, Event, Events};
use ahoy_client::member::{Change, CommandError, ContactState, Ending, MessageBody, Person};
use ahoy_client::voice::Speaker;
use ahoy_proto::CallId;
use ahoy_proto::v1::Cause;
use serde_json::json;
use tokio::sync::mpsc;

use crate::cli::{Common, Listen};
use crate::failure::Failure;
use crate::interrupt::Interrupts;
use crate::said::Names;
use crate::talk::{Talk, cause_name, missed_text, tell_key_change};
use crate::tell::Tell;
use crate::when::Clock;
use crate::{online, place, sound};

use super::inbox::tell_request;

pub(crate) fn run(common: &Common, arguments: &Listen, tell: Tell) -> Result<(), Failure> {
    let (profile, identity) = place::signed_in(common)?;
    sound::check(&arguments.audio)?;
    if let Some(note) = sound::note(&arguments.audio) {
        tell.note(note);
    }
    online::run(async {
        let mut interrupts = Interrupts::new()?;
        let (client, mut events) = tokio::select! {
            ready = online::ready(common, profile) => ready?,
            () = interrupts.next() => return Ok(()),
        };
        tell.event(
            "listening",
            &json!({ "name": identity.name }),
            &format!("Listening as {}. Ctrl-C stops.", identity.full_name()),
        );
        let names = Names::read(&client, &identity).await?;
        let keyboard = if arguments.auto_answer { None } else { Some(keyboard()) };
        let (events, interrupts) = (&mut events, &mut interrupts);
        let result = Listener { client: &client, events, interrupts, keyboard, arguments, tell, names }.listen().await;
        client.close().await;
        result
    })
}

struct Listener<'a> {
    client: &'a Client,
    events: &'a mut Events,
    interrupts: &'a mut Interrupts,
    /// Lines as they are typed, where calls are asked about.
    keyboard: Option<mpsc::Receiver<String>>,
    arguments: &'a Listen,
    tell: Tell,
    names: Names,
}

/// What comes after a call that rang.
#[derive(PartialEq, Eq)]
enum After {
    Answered,
    NotAnswered,
    Stop,
}

/// What becomes of a call that rings.
enum Decision {
    Answer,
    Decline,
    /// It stopped ringing by itself.
    Over,
    /// Stop listening altogether.
    Stop,
}

impl Listener<'_> {
    async fn listen(mut self) -> Result<(), Failure> {
        loop {
            tokio::select! {
                event = self.events.next() => match event {
                    Some(Event::Incoming { call, from, quiet }) => {
                        match self.take(call, &from, quiet).await? {
                            After::Answered if self.arguments.once => return Ok(()),
                            After::Stop => return Ok(()),
                            After::Answered | After::NotAnswered => {}
                        }
                    }
                    Some(Event::Stopped(error)) => return Err(error.into()),
                    Some(Event::LinkLost) => self.tell.event("link-lost", &json!({}), "The connection is lost; trying to reconnect …"),
                    Some(Event::LinkUp(_)) => self.tell.event("link-up", &json!({}), "Connected again."),
                    Some(Event::AccountKeyChanged(name)) => tell_key_change(self.tell, &name),
                    Some(event) => self.announce(event).await?,
                    None => return Err(ClientError::Stopped.into()),
                },
                () = self.interrupts.next() => return Ok(()),
            }
        }
    }

    /// Says what came in beside calls. It stays unread.
    async fn announce(&mut self, event: Event) -> Result<(), Failure> {
        match event {
            Event::Contact(contact) => {
                self.names.take_contact(&contact);
                if contact.state == ContactState::Asks {
                    tell_request(self.tell, &contact);
                }
            }
            Event::Conversation(summary) => self.names.take_summary(&summary),
            Event::History { conversation, change: Change::Put(message), .. }
                if !self.names.is_own(message.account) =>
            {
                let Some(line) = self.client.line(conversation, message.reference).await? else { return Ok(()) };
                if matches!(line.message.body, MessageBody::Text { .. }) && !line.deleted {
                    let text = self.names.text_in(&Clock::here(), conversation, &line);
                    self.tell.event("message", &self.names.object(conversation, &line), &text);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Deals with a call that rings.
    async fn take(&mut self, call: CallId, from: &Person, quiet: bool) -> Result<After, Failure> {
        let bell = if !quiet && self.tell.is_live() { "\x07" } else { "" };
        self.tell.event("incoming", &json!({ "from": from.name }), &format!("{bell}{} calls.", from.name));
        let decision = if self.arguments.auto_answer { Decision::Answer } else { self.decide(call, from).await? };
        match decision {
            Decision::Answer => {
                let speaker = sound::speaker(&self.arguments.audio, from.name.as_str())?;
                self.talk(call, from, speaker).await
            }
            Decision::Decline => {
                // It may have ended this very moment, for another reason.
                if self.client.decline(call, Cause::Declined).await.is_ok() {
                    self.tell_missed(&Ending::Cause(Cause::Declined), from);
                }
                Ok(After::NotAnswered)
            }
            Decision::Over => Ok(After::NotAnswered),
            // It rings on for the account's other devices.
            Decision::Stop => Ok(After::Stop),
        }
    }

    async fn talk(&mut self, call: CallId, from: &Person, speaker: Speaker) -> Result<After, Failure> {
        match self.client.answer(call, speaker).await {
            Ok(()) => {}
            // It was over before the answer.
            Err(ClientError::Command(CommandError::NoSuchCall | CommandError::NotSignedIn)) => {
                self.tell_missed(&Ending::Cause(Cause::Cancelled), from);
                return Ok(After::NotAnswered);
            }
            Err(error) => return Err(error.into()),
        }
        let talk = Talk {
            client: self.client,
            events: self.events,
            interrupts: self.interrupts,
            tell: self.tell,
            call,
            peer: &from.name,
            length: self.arguments.length,
        };
        let ended = talk.follow().await?;
        self.interrupts.settle();
        if !ended.answered {
            self.tell.note(&missed_text(&ended.ending, &from.name));
        }
        for event in ended.meanwhile {
            self.announce(event).await?;
        }
        Ok(if ended.answered { After::Answered } else { After::NotAnswered })
    }

    fn tell_missed(&self, ending: &Ending, from: &Person) {
        let fields = json!({ "cause": cause_name(ending), "peer": from.name, "answered": false });
        self.tell.event("ended", &fields, &missed_text(ending, &from.name));
    }

    /// Asks at the terminal until there is an answer or the caller gives up.
    async fn decide(&mut self, call: CallId, from: &Person) -> Result<Decision, Failure> {
        if let Some(keyboard) = &mut self.keyboard {
            // What was typed before the question is no answer to it.
            while keyboard.try_recv().is_ok() {}
        }
        self.tell.note(&format!("Answer {}? Type y or n.", from.name));
        loop {
            tokio::select! {
                line = typed(&mut self.keyboard) => match line.to_ascii_lowercase().as_str() {
                    "y" | "yes" | "a" | "answer" => return Ok(Decision::Answer),
                    "n" | "no" | "d" | "decline" => return Ok(Decision::Decline),
                    _ => self.tell.note("Type y to answer or n to decline."),
                },
                event = self.events.next() => match event {
                    Some(Event::Ended { call: ended, ending, .. }) if ended == call => {
                        self.tell_missed(&ending, from);
                        return Ok(Decision::Over);
                    }
                    Some(Event::Stopped(error)) => return Err(error.into()),
                    Some(event) => self.announce(event).await?,
                    None => return Err(ClientError::Stopped.into()),
                },
                () = self.interrupts.next() => return Ok(Decision::Stop),
            }
        }
    }
}

/// Lines typed at the terminal. A thread of its own waits for them, because reading can't be called off; it ends with the process.
fn keyboard() -> mpsc::Receiver<String> {
    let (lines, typed) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if lines.blocking_send(line.trim().to_owned()).is_err() {
                return;
            }
        }
    });
    typed
}

/// The next line; never, where nobody can type.
async fn typed(keyboard: &mut Option<mpsc::Receiver<String>>) -> String {
    if let Some(lines) = keyboard {
        if let Some(line) = lines.recv().await {
            return line;
        }
        *keyboard = None;
    }
    std::future::pending().await
}
