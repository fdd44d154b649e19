//! The queue between a client's task and whoever takes its events.
//!
//! Nobody who is slow loses the meaning of what happened. What a snapshot tells as well (contacts, conversations, history) is left out
//! while much is waiting, and one [`Event::Behind`] stands in its place; what can't be read again has the rest of the queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;

use super::{EVENTS, Event};

/// Places that are kept for events that can't be read again.
const RESERVE: usize = EVENTS / 4;

/// What happens to a client, in order.
#[derive(Debug)]
pub struct Events {
    queue: mpsc::Receiver<Event>,
    behind: Arc<AtomicBool>,
}

impl Events {
    /// The next event; `None` when the client has ended. Cancel-safe.
    pub async fn next(&mut self) -> Option<Event> {
        let event = self.queue.recv().await;
        if let Some(Event::Behind) = event {
            // Whatever was left out until this moment is there to be read.
            self.behind.store(false, Ordering::SeqCst);
        }
        event
    }
}

/// The task's end.
#[derive(Debug)]
pub(super) struct Outlet {
    queue: mpsc::Sender<Event>,
    /// [`Event::Behind`] waits in the queue.
    behind: Arc<AtomicBool>,
}

/// Both ends of a queue.
pub(super) fn queue() -> (Outlet, Events) {
    let (sender, receiver) = mpsc::channel(EVENTS);
    let behind = Arc::new(AtomicBool::new(false));
    (Outlet { queue: sender, behind: behind.clone() }, Events { queue: receiver, behind })
}

impl Outlet {
    /// Puts an event into the queue, if it is worth a place there.
    pub(super) fn tell(&self, event: Event) {
        let event = match worth(&event) {
            Worth::Always => event,
            Worth::Now if self.is_crowded() => return,
            Worth::UntilRead if self.behind.load(Ordering::SeqCst) => return,
            Worth::UntilRead if self.is_crowded() => {
                self.behind.store(true, Ordering::SeqCst);
                Event::Behind
            }
            Worth::Now | Worth::UntilRead => event,
        };
        if let Err(mpsc::error::TrySendError::Full(event)) = self.queue.try_send(event) {
            tracing::error!(?event, "nobody takes the client's events; one is lost");
        }
    }

    fn is_crowded(&self) -> bool {
        self.queue.capacity() <= RESERVE
    }
}

/// What it would mean to lose an event.
enum Worth {
    /// Nothing else tells it.
    Always,
    /// A snapshot tells it too.
    UntilRead,
    /// Soon it means nothing.
    Now,
}

fn worth(event: &Event) -> Worth {
    match event {
        Event::Typing { .. } => Worth::Now,
        Event::Contact(_)
        | Event::Presence { .. }
        | Event::Settings(_)
        | Event::Conversation(_)
        | Event::ConversationLeft { .. }
        | Event::History { .. }
        | Event::Receipt { .. } => Worth::UntilRead,
        _ => Worth::Always,
    }
}

#[cfg(test)]
mod tests {
    use ahoy_proto::ConversationId;

    use super::*;
    use crate::member::Change;

    fn history(local: u64) -> Event {
        Event::History { conversation: ConversationId([1; 16]), change: Change::Forget, local }
    }

    fn take_all(events: &mut Events) -> Vec<Event> {
        let mut taken = Vec::new();
        while let Ok(event) = events.queue.try_recv() {
            taken.push(event);
        }
        taken
    }

    #[test]
    fn whoever_is_slow_is_told_once_to_read_again_and_misses_nothing_else() {
        let (outlet, mut events) = queue();
        for local in 0..10 * EVENTS as u64 {
            outlet.tell(history(local));
        }
        outlet.tell(Event::LinkLost);
        let taken = take_all(&mut events);
        let (behind, rest): (Vec<_>, Vec<_>) = taken.iter().partition(|event| matches!(event, Event::Behind));
        assert_eq!(behind.len(), 1);
        assert!(matches!(rest.last(), Some(Event::LinkLost)));
        assert_eq!(rest.len(), EVENTS - RESERVE + 1);
    }

    #[tokio::test]
    async fn after_reading_again_events_flow_as_before() {
        let (outlet, mut events) = queue();
        for local in 0..2 * EVENTS as u64 {
            outlet.tell(history(local));
        }
        while !matches!(events.next().await, Some(Event::Behind)) {}
        outlet.tell(history(7));
        assert!(matches!(events.next().await, Some(Event::History { local: 7, .. })));
    }

    #[test]
    fn who_types_does_not_matter_to_somebody_who_is_behind() {
        let (outlet, mut events) = queue();
        for local in 0..EVENTS as u64 {
            outlet.tell(history(local));
        }
        let account = ahoy_proto::AccountId([1; 16]);
        outlet.tell(Event::Typing { conversation: ConversationId([1; 16]), account, typing: true });
        assert!(!take_all(&mut events).iter().any(|event| matches!(event, Event::Typing { .. })));
    }
}
