//! What was sent on to where a home had moved, for as long as it may turn out that it was the wrong place, or that nobody was there;
//! and what was sent on to this supernode before it has seen that it is the home.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::fleet::Node;
use crate::outbox::Outbox;
use crate::peer::Peer;

/// A supernode that died is seen to be gone within 3 s.
const LIFE: Duration = Duration::from_secs(5);

/// Messages kept. When a supernode of 40,000 sessions joins a fleet of three, a quarter of them move, and what is said of them while
/// views differ passes here once; each is some 300 bytes, so these are 5 MB.
const MAX: usize = 16_384;

#[derive(Debug)]
struct Sent {
    at: Instant,
    from: Node,
    /// [`Node::OWN`]: it waits here.
    to: Node,
    message: Peer,
}

/// The messages, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Forwarded(VecDeque<Sent>);

impl Forwarded {
    /// A message of `from` goes on to `to`, or waits here for [`Node::OWN`] to be its home. The oldest is forgotten where there is no room.
    pub(crate) fn keep(&mut self, from: Node, to: Node, message: Peer, now: Instant) {
        self.forget_old(now);
        if self.0.len() >= MAX {
            self.0.pop_front();
        }
        self.0.push_back(Sent { at: now, from, to, message });
    }

    /// Takes out, in order, what went where by the present view nobody is or the home is not, with whom it came from; but what
    /// comes from those who are gone is nothing any more. What is left has its home where it went, and so do the messages that will
    /// follow it: none overtakes another.
    pub(crate) fn take_astray(&mut self, outbox: &Outbox, now: Instant) -> Vec<(Node, Peer)> {
        self.forget_old(now);
        let is_right = |sent: &Sent| {
            outbox.elsewhere(&sent.message).is_some_and(|home| sent.to == Node::OWN || sent.to == home.node)
        };
        let (kept, astray): (VecDeque<_>, VecDeque<_>) = std::mem::take(&mut self.0).into_iter().partition(is_right);
        self.0 = kept;
        let said = astray.into_iter().filter(|sent| outbox.fleet().node(sent.from).is_some());
        said.map(|sent| (sent.from, sent.message)).collect()
    }

    fn forget_old(&mut self, now: Instant) {
        while self.0.front().is_some_and(|sent| sent.at + LIFE <= now) {
            self.0.pop_front();
        }
    }
}
