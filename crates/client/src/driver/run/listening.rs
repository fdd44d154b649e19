//! Whether anything still comes on the session's link, and what follows when nothing does.

use std::time::{Duration, Instant};

use ahoy_proto::limits::CALL_SILENCE;

use super::pulse::Beat;
use super::{Driver, Event, online};

/// Since when nothing has come on the session's link.
pub(super) struct Silence {
    pub(super) packets: u64,
    pub(super) since: Instant,
}

impl Driver {
    /// In a call: whether anything still comes on the link. 800 ms without a packet start a parallel dial; the old link is
    /// kept, and wins if it comes back to life first.
    pub(super) fn listen_to_link(&mut self, now: Instant) {
        let Some(session) = self.serving() else { return };
        let packets = session.link.stats().packets_received;
        if packets != self.silence.packets {
            self.silence = Silence { packets, since: now };
            self.link_lives();
        } else if now.saturating_duration_since(self.silence.since) >= CALL_SILENCE {
            self.link_is_silent(now);
        }
    }

    /// In a call and outside of one: pings, or looks whether anything has come since.
    pub(super) fn take_pulse(&mut self, now: Instant) {
        let Some(session) = &self.session else { return };
        let keepalive = Duration::from_millis(session.welcome.keepalive_ms.into());
        let packets = session.link.stats().packets_received;
        match self.pulse.beat(packets, keepalive, now) {
            Beat::Ask => session.link.ping(),
            Beat::Lives => self.link_lives(),
            Beat::Silent => {
                session.link.ping();
                self.link_is_silent(now);
            }
        }
    }

    /// The silent link has come back to life: what was dialled in its place is not needed.
    fn link_lives(&mut self) {
        let Some(session) = self.session.as_ref().filter(|_| self.lost_told) else { return };
        let online = online(session);
        (self.connecting, self.retry_at) = (None, None);
        self.lost_told = false;
        self.tell(Event::LinkUp(online));
    }

    /// Nothing comes on the link any more: another session is dialled for beside it. What waits for an answer waits on.
    fn link_is_silent(&mut self, now: Instant) {
        if !self.lost_told {
            if let Some(session) = &self.session {
                self.pulse.fall_silent(session.link.stats().packets_received, now);
            }
            self.tell_lost();
            self.dial_at_once();
        }
    }
}
