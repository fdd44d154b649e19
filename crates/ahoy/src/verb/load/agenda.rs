//! Messages: when each is due, who writes it, and what became of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep_until, timeout};

use super::crowd::Crowd;

/// Messages under way at the same time. What falls due beyond them is not sent, and counted: the network is long past its limit then.
const UNDER_WAY_MAX: usize = 20_000;

/// How long a message may take until it stands in the log. A client without a session keeps it until it has one again.
const PLACED_WITHIN: Duration = Duration::from_secs(120);

/// All messages of a load.
#[derive(Debug)]
pub(super) struct Letters {
    /// What all texts begin with, so that nothing else is taken for one.
    tag: u32,
    all: Mutex<All>,
    /// Counts those that are placed, have arrived or were given up.
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct All {
    letters: Vec<Letter>,
    counts: LetterCounts,
}

/// One message.
#[derive(Debug, Clone, Copy)]
struct Letter {
    due: Instant,
    acknowledged: bool,
    received: bool,
}

/// How messages fare.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct LetterCounts {
    /// Fell due.
    pub(super) due: u64,
    /// Of those, not handed to a client, because too many were under way or nobody was signed in.
    pub(super) not_sent: u64,
    /// Of those, given up by the client or refused.
    pub(super) failed: u64,
    /// Stand in the network's log.
    pub(super) acknowledged: u64,
    /// Have come to the other side.
    pub(super) received: u64,
    /// Came once more.
    pub(super) doubled: u64,
    /// Stand in the log and have not come.
    pub(super) missing: u64,
}

impl LetterCounts {
    /// Handed to a client, which still waits for an answer.
    pub(super) fn unanswered(&self) -> u64 {
        self.due - self.acknowledged - self.failed - self.not_sent
    }
}

impl Letters {
    pub(super) fn new() -> Self {
        Self { tag: rand::random(), all: Mutex::default(), changes: watch::Sender::new(0) }
    }

    /// Another one is due; gives its text.
    fn fall_due(&self, due: Instant) -> (usize, String) {
        let mut all = self.all();
        all.letters.push(Letter { due, acknowledged: false, received: false });
        all.counts.due += 1;
        let number = all.letters.len() - 1;
        (number, format!("{:08x} {number}", self.tag))
    }

    fn not_sent(&self) {
        self.all().counts.not_sent += 1;
    }

    fn failed(&self) {
        self.all().counts.failed += 1;
        self.changes.send_modify(|count| *count += 1);
    }

    /// It stands in the log; gives how long that took.
    fn acknowledged(&self, number: usize, now: Instant) -> Duration {
        let mut all = self.all();
        let All { letters, counts } = &mut *all;
        let letter = &mut letters[number];
        letter.acknowledged = true;
        counts.acknowledged += 1;
        counts.missing += u64::from(!letter.received);
        let took = now.saturating_duration_since(letter.due);
        drop(all);
        self.changes.send_modify(|count| *count += 1);
        took
    }

    /// A text has come; gives how long it took, if it is one of these and comes for the first time.
    pub(super) fn received(&self, text: &str, now: Instant) -> Option<Duration> {
        let (tag, number) = text.split_once(' ')?;
        let number: usize = number.parse().ok().filter(|_| u32::from_str_radix(tag, 16) == Ok(self.tag))?;
        let mut all = self.all();
        let All { letters, counts } = &mut *all;
        let letter = letters.get_mut(number)?;
        if std::mem::replace(&mut letter.received, true) {
            counts.doubled += 1;
            return None;
        }
        counts.received += 1;
        counts.missing -= u64::from(letter.acknowledged);
        let took = now.saturating_duration_since(letter.due);
        drop(all);
        self.changes.send_modify(|count| *count += 1);
        Some(took)
    }

    pub(super) fn counts(&self) -> LetterCounts {
        self.all().counts
    }

    /// Waits until nothing is under way.
    pub(super) async fn settled(&self) {
        let mut changes = self.changes.subscribe();
        loop {
            let counts = self.counts();
            if counts.unanswered() == 0 && counts.missing == 0 {
                return;
            }
            // The sender lives as long as this.
            let _ = changes.changed().await;
        }
    }

    fn all(&self) -> MutexGuard<'_, All> {
        // Whoever panics leaves whole counts behind.
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Has messages written at a rate, each at its moment, whatever became of those before: by all pairs in turn, both ways.
pub(super) async fn write(crowd: &Arc<Crowd>, begin: Instant, end: Instant, by_second: f64) {
    let pairs = crowd.writing();
    if pairs.is_empty() || by_second <= 0.0 {
        return;
    }
    let under_way = Arc::new(Semaphore::new(UNDER_WAY_MAX));
    for number in 0_usize.. {
        let due = begin + Duration::from_secs_f64(number as f64 / by_second);
        if due >= end {
            return;
        }
        sleep_until(due.into()).await;
        let (place, text) = crowd.letters.fall_due(due);
        let pair = pairs[number % pairs.len()];
        let writer = &crowd.people[2 * pair + (number / pairs.len()) % 2];
        let permit = Arc::clone(&under_way).try_acquire_owned();
        let (Ok(permit), Some(client), Some(conversation)) = (permit, writer.client(), writer.conversation()) else {
            crowd.letters.not_sent();
            continue;
        };
        let (crowd, mut stopped) = (Arc::clone(crowd), crowd.stopped());
        tokio::spawn(async move {
            let placed = tokio::select! {
                placed = timeout(PLACED_WITHIN, client.send(conversation, text)) => placed,
                // A client that is still held can't say goodbye.
                _ = stopped.wait_for(|stopped| *stopped) => return,
            };
            match placed {
                Ok(Ok(_)) => {
                    let took = crowd.letters.acknowledged(place, Instant::now());
                    crowd.figures().acknowledged.record(took);
                }
                Ok(Err(error)) => {
                    tracing::debug!(%error, "a message of the load was not placed");
                    crowd.letters.failed();
                }
                Err(_) => crowd.letters.failed(),
            }
            drop(permit);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOMENT: Duration = Duration::from_millis(30);

    #[test]
    fn a_message_is_timed_from_when_it_was_due_and_counted_once() {
        let (letters, due) = (Letters::new(), Instant::now());
        let (number, text) = letters.fall_due(due);
        assert_eq!(letters.counts().unanswered(), 1);
        assert_eq!(letters.acknowledged(number, due + MOMENT), MOMENT);
        assert_eq!((letters.counts().missing, letters.counts().unanswered()), (1, 0));
        assert_eq!(letters.received(&text, due + 2 * MOMENT), Some(2 * MOMENT));
        assert_eq!(letters.received(&text, due + 3 * MOMENT), None);
        let counts = letters.counts();
        assert_eq!((counts.received, counts.doubled, counts.missing), (1, 1, 0));
    }

    #[test]
    fn a_message_may_arrive_before_its_sender_knows_that_it_is_placed() {
        let (letters, due) = (Letters::new(), Instant::now());
        let (number, text) = letters.fall_due(due);
        assert!(letters.received(&text, due + MOMENT).is_some());
        letters.acknowledged(number, due + MOMENT);
        assert_eq!(letters.counts().missing, 0);
    }

    #[test]
    fn what_others_write_is_none_of_them() {
        let letters = Letters::new();
        for text in ["hello", "", "00000000 0", "zz 1", "1 99999999999999999999999"] {
            assert_eq!(letters.received(text, Instant::now()), None, "{text}");
        }
    }
}
