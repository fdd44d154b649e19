//! How a [`Client`](super::Client) reaches the member: orders travel to its task as closures, and each brings its own reply.
//!
//! A caller may go at any moment: what was ordered is done all the same, and its answer is dropped. So no method of the
//! client leaves anything half done when it is cancelled.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Instant;

use tokio::sync::oneshot;

use super::ClientError;
use crate::member::{Answer, CommandError, Member, Refusal, Ticket};
use crate::profile::{Identity, State};

/// Orders that wait for what comes of them: at 1 KB each a megabyte. Most wait a round trip; a message that is sent while there is no
/// session waits for one.
const WAITING_MAX: usize = 1_024;

/// Gives the member a command with a ticket.
pub(super) type Give = Box<dyn FnOnce(&mut Member, Ticket, Instant) -> Result<(), CommandError> + Send>;

/// Gives the member a command that has a result at once.
pub(super) type Act = Box<dyn FnOnce(&mut Member, Instant) -> Reply + Send>;

/// What is to be told once everything that the member said is done: durable, and on its way.
pub(super) type Reply = Box<dyn FnOnce() + Send>;

/// Where the answer to a command with a ticket goes.
pub(super) type Asker = oneshot::Sender<Result<Answer, ClientError>>;

/// Something that a client wants of its task.
pub(super) enum Order {
    /// A command that is answered later.
    Give(Give, Asker),
    /// A command whose result is there at once, and told once it is durable.
    Act(Act),
    /// A question that changes nothing.
    Look(Box<dyn FnOnce(&View<'_>) + Send>),
}

/// What the task knows, at one moment.
#[derive(Debug)]
pub(super) struct View<'a> {
    pub(super) member: &'a Member,
    pub(super) state: &'a State,
    pub(super) identity: &'a Identity,
}

/// Whoever waits for an answer.
#[derive(Default)]
pub(super) struct Tickets {
    last: u64,
    waiting: BTreeMap<Ticket, Asker>,
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").field("last", &self.last).field("waiting", &self.waiting.len()).finish()
    }
}

impl Tickets {
    /// Gives a command, and remembers who waits for its answer.
    pub(super) fn give(&mut self, member: &mut Member, give: Give, asker: Asker, now: Instant) {
        if self.waiting.len() >= WAITING_MAX {
            self.waiting.retain(|_, asker| !asker.is_closed());
        }
        // Whoever asked may have gone meanwhile: a reply that nobody takes is no error.
        if self.waiting.len() >= WAITING_MAX {
            return drop(asker.send(Err(ClientError::Busy)));
        }
        self.last += 1;
        let ticket = Ticket(self.last);
        match give(member, ticket, now) {
            Ok(()) => drop(self.waiting.insert(ticket, asker)),
            Err(error) => drop(asker.send(Err(error.into()))),
        }
    }

    /// An answer has come.
    pub(super) fn answer(&mut self, ticket: Ticket, answer: Result<Answer, Refusal>) {
        if let Some(asker) = self.waiting.remove(&ticket) {
            let _ = asker.send(answer.map_err(ClientError::from));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member() -> Member {
        Member::new(crate::profile::tests::sample().member().unwrap(), [], [0; 32])
    }

    fn idle() -> Give {
        Box::new(|_, _, _| Ok(()))
    }

    #[test]
    fn each_answer_finds_the_one_who_asked() {
        let (mut tickets, mut member, now) = (Tickets::default(), member(), Instant::now());
        let (first, mut first_answer) = oneshot::channel();
        let (second, mut second_answer) = oneshot::channel();
        tickets.give(&mut member, idle(), first, now);
        tickets.give(&mut member, idle(), second, now);
        tickets.answer(Ticket(2), Err(Refusal::NoSuchName));
        tickets.answer(Ticket(1), Ok(Answer::Done));
        tickets.answer(Ticket(3), Ok(Answer::Done));
        assert!(matches!(first_answer.try_recv(), Ok(Ok(Answer::Done))));
        assert!(matches!(second_answer.try_recv(), Ok(Err(ClientError::Refused(Refusal::NoSuchName)))));
    }

    #[test]
    fn a_command_that_is_not_taken_up_is_answered_at_once() {
        let (mut tickets, mut member) = (Tickets::default(), member());
        let (asker, mut answer) = oneshot::channel();
        tickets.give(&mut member, Box::new(|_, _, _| Err(CommandError::NotSignedIn)), asker, Instant::now());
        assert!(matches!(answer.try_recv(), Ok(Err(ClientError::Command(CommandError::NotSignedIn)))));
        assert!(tickets.waiting.is_empty());
    }

    #[test]
    fn those_who_wait_are_bounded_and_those_who_left_make_room() {
        let (mut tickets, mut member, now) = (Tickets::default(), member(), Instant::now());
        let mut waiting = Vec::new();
        for _ in 0..WAITING_MAX {
            let (asker, answer) = oneshot::channel();
            tickets.give(&mut member, idle(), asker, now);
            waiting.push(answer);
        }
        let (asker, mut answer) = oneshot::channel();
        tickets.give(&mut member, idle(), asker, now);
        assert!(matches!(answer.try_recv(), Ok(Err(ClientError::Busy))));
        waiting.pop();
        let (asker, mut answer) = oneshot::channel();
        tickets.give(&mut member, idle(), asker, now);
        assert!(answer.try_recv().is_err(), "it waits");
    }
}
