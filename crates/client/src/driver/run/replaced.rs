//! A session that another one of the same device has taken over: one of this process, or of a copy of the profile.

use std::time::{Duration, Instant};

use ahoy_net::LinkEnd;
use ahoy_proto::limits::{CALL_SILENCE, PING_TIMEOUT};
use ahoy_proto::v1;

use super::{Driver, Session};

impl Driver {
    /// Whether the session ends because somebody else holds this device's keys. Whoever came back then would be thrown out in turn: two
    /// processes would take the session from each other for ever.
    pub(super) fn is_taken_over(&self, end: &LinkEnd, now: Instant) -> bool {
        is_replaced(end) && !self.seeks() && !self.fleet.has_abandoned(now)
    }

    /// Whether the session ends because its successor is welcome, of which this device has not heard yet: the old supernode's word may come
    /// before the new one's. Nothing is lost, and what is under way goes on.
    pub(super) fn gives_way(&self, end: &LinkEnd) -> bool {
        is_replaced(end) && self.seeks()
    }

    /// The session, unless it has given way.
    pub(super) fn serving(&self) -> Option<&Session> {
        self.session.as_ref().filter(|_| self.superseded.is_none())
    }

    /// How long a welcome is waited for while there is no session: as long as a link may say nothing.
    pub(super) fn patience(&self) -> Duration {
        if self.is_speaking() { CALL_SILENCE } else { PING_TIMEOUT }
    }

    /// What was under way has come to nothing: a session that gave way to it is lost, and what is next is settled. `false`: none has.
    pub(super) fn lose_superseded(&mut self, now: Instant) -> bool {
        let loses = self.superseded.is_some() && !self.seeks();
        if loses {
            self.lose_session(None, now, "it gave way to a session that did not come about");
        }
        loses
    }

    fn seeks(&self) -> bool {
        self.connecting.is_some() || self.moving.is_some()
    }

    /// A link was left, or ended in another way than that the supernode said so: it may have the session for a while.
    pub(super) fn leave_behind(&self, end: Option<&LinkEnd>, now: Instant) {
        if !matches!(end, Some(LinkEnd::Closed(_) | LinkEnd::Reset)) {
            self.fleet.abandon_session(now);
        }
    }
}

fn is_replaced(end: &LinkEnd) -> bool {
    *end == LinkEnd::Closed(v1::ErrorCode::SessionReplaced)
}
