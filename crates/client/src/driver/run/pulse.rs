//! Whether a session's link lives: what was asked, and whether anything has come since. Pure; docs/protocol.md, section 4, *Pings*.

use std::time::{Duration, Instant};

use ahoy_proto::limits::{KEEPALIVE, KEEPALIVE_MIN, PING_TIMEOUT};

/// How often a link that answers no ping is asked again: it may have come back to life.
const PING_AGAIN: Duration = Duration::from_secs(1);

/// When the session's supernode is pinged next, or must have answered.
pub(super) struct Pulse {
    at: Instant,
    /// Packets that had come when it was asked, while that is unanswered.
    asked: Option<u64>,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Beat {
    /// Ping.
    Ask,
    /// Nothing: something has come since.
    Lives,
    /// Ping again: nothing has come.
    Silent,
}

impl Pulse {
    /// Of a new session. Those that came up in the same moment and have nothing to ask do not ping in the same. `random`: from 0 to 1.
    pub(super) fn begin(now: Instant, random: f64) -> Self {
        Self { at: now + KEEPALIVE_MIN.mul_f64(random), asked: None }
    }

    /// When [`Self::beat`] is due.
    pub(super) fn at(&self) -> Instant {
        self.at
    }

    /// A request goes out when so many packets have come: somebody waits for what follows, so it is as good as a ping. `false`: one is
    /// out already.
    pub(super) fn ask(&mut self, packets: u64, now: Instant) -> bool {
        if self.asked.is_some() {
            return false;
        }
        *self = Self { at: now + PING_TIMEOUT, asked: Some(packets) };
        true
    }

    /// Nothing came for so long, when so many packets had come, that the link counts as silent: only what comes from now on is a sign of life.
    pub(super) fn fall_silent(&mut self, packets: u64, now: Instant) {
        *self = Self { at: now + PING_AGAIN, asked: Some(packets) };
    }

    /// It is time. `keepalive`: as the supernode says.
    pub(super) fn beat(&mut self, packets: u64, keepalive: Duration, now: Instant) -> Beat {
        let (wait, beat) = match self.asked.replace(packets) {
            Some(before) if packets != before => {
                self.asked = None;
                (keepalive.clamp(KEEPALIVE_MIN, KEEPALIVE) - PING_TIMEOUT, Beat::Lives)
            }
            Some(_) => (PING_AGAIN, Beat::Silent),
            None => (PING_TIMEOUT, Beat::Ask),
        };
        self.at = now + wait;
        beat
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_asked_at_its_pace_and_silent_two_seconds_after_a_ping_that_nothing_follows() {
        let now = Instant::now();
        let mut pulse = Pulse::begin(now, 0.5);
        assert_eq!(pulse.at(), now + KEEPALIVE_MIN / 2);
        let beat = |pulse: &mut Pulse, packets| {
            let at = pulse.at();
            let beat = pulse.beat(packets, KEEPALIVE_MIN, at);
            (beat, pulse.at() - at)
        };
        assert_eq!(beat(&mut pulse, 7), (Beat::Ask, PING_TIMEOUT));
        assert_eq!(beat(&mut pulse, 8), (Beat::Lives, KEEPALIVE_MIN - PING_TIMEOUT));
        assert_eq!(beat(&mut pulse, 8), (Beat::Ask, PING_TIMEOUT));
        assert_eq!(beat(&mut pulse, 8), (Beat::Silent, PING_AGAIN));
        assert_eq!(beat(&mut pulse, 8), (Beat::Silent, PING_AGAIN));
        assert_eq!(beat(&mut pulse, 9), (Beat::Lives, KEEPALIVE_MIN - PING_TIMEOUT));
    }

    #[test]
    fn what_came_before_a_link_fell_silent_is_no_sign_of_life() {
        let now = Instant::now();
        let mut pulse = Pulse::begin(now, 1.0);
        assert!(pulse.ask(7, now));
        // Two more packets, and then none for the 800 ms that count in a call.
        let silent = now + Duration::from_secs(1);
        pulse.fall_silent(9, silent);
        assert_eq!(pulse.at(), silent + PING_AGAIN);
        assert_eq!(pulse.beat(9, KEEPALIVE_MIN, pulse.at()), Beat::Silent);
    }

    #[test]
    fn a_request_that_nothing_follows_shows_as_soon_as_a_ping_would() {
        let now = Instant::now();
        let mut pulse = Pulse::begin(now, 1.0);
        assert!(pulse.ask(7, now));
        assert_eq!(pulse.at(), now + PING_TIMEOUT);
        // More of them put nothing off.
        assert!(!pulse.ask(7, now + Duration::from_secs(1)));
        assert_eq!(pulse.at(), now + PING_TIMEOUT);
        assert_eq!(pulse.beat(7, KEEPALIVE_MIN, now + PING_TIMEOUT), Beat::Silent);
    }
}
