//! One call, from the moment it is placed or answered to its end: what is shown and when it is hung up.

use std::io::{self, Write};
use std::time::Duration;

use ahoy_client::driver::{Client, Event, Events};
use ahoy_client::member::{Ending, Refusal};
use ahoy_client::voice::CallStatistics;
use ahoy_proto::v1::Cause;
use ahoy_proto::{CallId, Name};
use serde_json::json;
use tokio::time::{Instant, interval, sleep_until};

use crate::failure::Failure;
use crate::interrupt::Interrupts;
use crate::tell::Tell;

/// How often the live line changes.
const LIVE_EVERY: Duration = Duration::from_millis(250);

/// What comes in beside a call and is told after it, at most; the profile keeps all of it in any case.
const MEANWHILE: usize = 256;

/// A call in progress, as its user sees it.
pub(crate) struct Talk<'a> {
    pub(crate) client: &'a Client,
    pub(crate) events: &'a mut Events,
    pub(crate) interrupts: &'a mut Interrupts,
    pub(crate) tell: Tell,
    pub(crate) call: CallId,
    pub(crate) peer: &'a Name,
    /// Hang up this long after the answer.
    pub(crate) length: Option<Duration>,
}

/// How a call ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) ending: Ending,
    pub(crate) answered: bool,
    /// Its user wanted to stop, not only to hang up.
    pub(crate) interrupted: bool,
    /// What came in beside the call: messages, contacts, conversations.
    pub(crate) meanwhile: Vec<Event>,
}

impl Talk<'_> {
    /// Follows the call to its end.
    pub(crate) async fn follow(mut self) -> Result<Ended, Failure> {
        let mut live = interval(LIVE_EVERY);
        let mut answered = None;
        let mut interrupted = false;
        let mut meanwhile = Vec::new();
        loop {
            let until = answered.zip(self.length).map(|(at, length): (Instant, Duration)| at + length);
            tokio::select! {
                event = self.events.next() => match event {
                    Some(Event::Connected { call, .. }) if call == self.call => {
                        answered = Some(Instant::now());
                        self.tell.event("connected", &json!({ "peer": self.peer }), &format!("Connected with {}.", self.peer));
                    }
                    Some(Event::Ended { call, ending, statistics }) if call == self.call => {
                        self.clear_line();
                        self.tell_end(&ending, statistics);
                        return Ok(Ended { ending, answered: answered.is_some(), interrupted, meanwhile });
                    }
                    Some(Event::Stopped(error)) => {
                        self.clear_line();
                        return Err(error.into());
                    }
                    Some(event @ (Event::Contact(_) | Event::Conversation(_) | Event::History { .. })) => {
                        if meanwhile.len() < MEANWHILE {
                            meanwhile.push(event);
                        }
                    }
                    Some(event) => self.tell_event(event),
                    None => return Err(ahoy_client::driver::ClientError::Stopped.into()),
                },
                () = self.interrupts.next() => {
                    interrupted = true;
                    self.hang_up().await;
                }
                () = reached(until) => {
                    self.length = None;
                    self.hang_up().await;
                }
                _ = live.tick(), if answered.is_some() && self.tell.is_live() => {
                    if let Some(now) = self.client.statistics(self.call) {
                        self.show(&now);
                    }
                }
            }
        }
    }

    async fn hang_up(&self) {
        // The end that follows, or has come already, says what there is to say.
        let _ = self.client.hang_up(self.call).await;
    }

    fn tell_event(&self, event: Event) {
        let tell = self.tell;
        match event {
            Event::Ringing(call) if call == self.call => {
                tell.event("ringing", &json!({ "to": self.peer }), &format!("{} rings …", self.peer));
            }
            Event::Voice { silent, .. } => tell.event("voice", &json!({ "silent_ms": millis(silent) }), ""),
            Event::LinkLost => self.say("link-lost", "The connection is lost; taking it up again …"),
            Event::LinkUp(_) => self.say("link-up", "The connection is back."),
            Event::PeerLost { .. } => {
                self.say("peer-lost", &format!("{} has lost the connection; waiting …", self.peer))
            }
            Event::SourceEnded { .. } => self.say("played", "The file is played to its end; silence follows."),
            Event::SinkFailed { error, .. } => {
                tell.event(
                    "record-failed",
                    &json!({ "text": error.to_string() }),
                    &format!("Recording stopped: {error}"),
                );
            }
            Event::AccountKeyChanged(name) => tell_key_change(tell, &name),
            _ => {}
        }
    }

    fn say(&self, event: &str, text: &str) {
        self.clear_line();
        self.tell.event(event, &json!({}), text);
    }

    fn tell_end(&self, ending: &Ending, statistics: Option<CallStatistics>) {
        let cause = cause_name(ending);
        let mut fields = json!({ "cause": cause, "peer": self.peer, "answered": statistics.is_some() });
        // Of a call that was not answered, its verb says more.
        let mut text = String::new();
        if let Some(end) = statistics {
            fields["seconds"] = json!(seconds(end.elapsed));
            fields["sent"] = json!(end.sent);
            fields["sent_bytes"] = json!(end.sent_bytes);
            fields["received"] = json!(end.received);
            fields["received_bytes"] = json!(end.received_bytes);
            fields["refused"] = json!(end.refused);
            fields["loss"] = json!(end.loss);
            fields["concealed"] = json!(end.concealed);
            fields["playout_delay_ms"] = json!(millis(end.delay_mean));
            fields["round_trip_ms"] = json!(millis_exact(end.round_trip));
            text = format!(
                "{}. {}, round trip {} ms, loss {:.1} %, playout delay {} ms, {} packets sent, {} received.",
                ending_text(ending, self.peer),
                clock(end.elapsed),
                millis(end.round_trip),
                end.loss * 100.0,
                millis(end.delay_mean),
                end.sent,
                end.received,
            );
        }
        self.tell.event("ended", &fields, &text);
    }

    /// The line that changes in place.
    fn show(&self, now: &CallStatistics) {
        let line = format!(
            "\r\x1b[K{}  round trip {} ms  loss {:.1} %  delay {} ms  you {}  {} {}",
            clock(now.elapsed),
            millis(now.round_trip),
            now.loss * 100.0,
            millis(now.delay),
            meter(now.level_said),
            self.peer,
            meter(now.level_heard),
        );
        let mut stderr = io::stderr().lock();
        // A terminal that has gone needs no line.
        let _ = stderr.write_all(line.as_bytes()).and_then(|()| stderr.flush());
    }

    fn clear_line(&self) {
        if self.tell.is_live() {
            eprint!("\r\x1b[K");
        }
    }
}

/// A warning that must not be missed.
pub(crate) fn tell_key_change(tell: Tell, name: &Name) {
    tell.event(
        "account-key-changed",
        &json!({ "name": name }),
        &format!(
            "WARNING: the account key of {name} has changed. Either {name} made a new account, or somebody stands in between.\n\
             Ask {name} by another way, compare with `ahoy verify {name}`, then `ahoy verify {name} --accept`."
        ),
    );
}

async fn reached(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// For programs.
pub(crate) fn cause_name(ending: &Ending) -> &'static str {
    match ending {
        Ending::Cause(cause) => match cause {
            Cause::Unspecified => "unspecified",
            Cause::HungUp => "hung-up",
            Cause::Cancelled => "cancelled",
            Cause::Declined => "declined",
            Cause::Busy => "busy",
            Cause::NoAnswer => "no-answer",
            Cause::Unreachable => "unreachable",
            Cause::AnsweredElsewhere => "answered-elsewhere",
            Cause::DeclinedElsewhere => "declined-elsewhere",
            Cause::Lost => "lost",
            Cause::Incompatible => "incompatible",
            Cause::ShuttingDown => "shutting-down",
            Cause::Requested => "requested",
        },
        Ending::Refused(refusal) => match refusal {
            Refusal::NoSuchName => "no-such-name",
            Refusal::AccountKeyChanged => "account-key-changed",
            Refusal::ConversationRefused => "conversation-refused",
            Refusal::SessionLost => "session-lost",
            Refusal::Requested => "requested",
            _ => "refused",
        },
    }
}

/// An incoming call that was not answered here, for people.
pub(crate) fn missed_text(ending: &Ending, caller: &Name) -> String {
    match ending {
        Ending::Cause(Cause::Cancelled) => format!("{caller} has given up."),
        Ending::Cause(Cause::NoAnswer) => format!("You missed a call from {caller}."),
        Ending::Cause(Cause::Declined) => format!("You declined the call from {caller}."),
        ending => format!("{}.", ending_text(ending, caller)),
    }
}

/// For people; without a full stop.
pub(crate) fn ending_text(ending: &Ending, peer: &Name) -> String {
    match ending {
        Ending::Cause(cause) => match cause {
            Cause::HungUp => "The call has ended".to_owned(),
            Cause::Cancelled => "The call was cancelled before an answer".to_owned(),
            Cause::Declined => format!("{peer} declined the call"),
            Cause::Busy => format!("{peer} is in another call"),
            Cause::NoAnswer => format!("{peer} does not answer"),
            Cause::Unreachable => format!("{peer} can't be reached at the moment"),
            Cause::AnsweredElsewhere => "Answered on another device".to_owned(),
            Cause::DeclinedElsewhere => "Declined on another device".to_owned(),
            Cause::Lost => "The call was lost: the connection did not come back in time".to_owned(),
            Cause::Incompatible => format!("The call with {peer} could not be set up safely"),
            Cause::ShuttingDown => "The call ended because the supernode shut down".to_owned(),
            Cause::Requested => requested_text(peer),
            Cause::Unspecified => "The call ended for an unknown reason".to_owned(),
        },
        Ending::Refused(Refusal::NoSuchName) => format!("nobody on this network is called {peer}"),
        Ending::Refused(Refusal::AccountKeyChanged) => format!("the account key of {peer} has changed"),
        Ending::Refused(Refusal::Requested) => requested_text(peer),
        Ending::Refused(refusal) => refusal.to_string(),
    }
}

fn requested_text(peer: &Name) -> String {
    format!("{peer} takes calls from contacts only, and was asked to become one")
}

fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    format!("{:02}:{:02}", seconds / 60, seconds % 60)
}

fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1_000.0).round() / 1_000.0
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn millis_exact(time: Duration) -> f64 {
    (time.as_secs_f64() * 1_000_000.0).round() / 1_000.0
}

/// Five steps of 12 dB, from -60 dBov up.
fn meter(level: u8) -> &'static str {
    match level {
        0..=11 => "▮▮▮▮▮",
        12..=23 => "▮▮▮▮▯",
        24..=35 => "▮▮▮▯▯",
        36..=47 => "▮▮▯▯▯",
        48..=59 => "▮▯▯▯▯",
        _ => "▯▯▯▯▯",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_levels_are_readable() {
        assert_eq!(clock(Duration::from_secs(3_725)), "62:05");
        assert_eq!(meter(127), "▯▯▯▯▯");
        assert_eq!(meter(20), "▮▮▮▮▯");
    }
}
