//! A session that another one of the same device has taken over: one of this process, or of a copy of the profile.

use std::time::Instant;

use ahoy_net::LinkEnd;
use ahoy_proto::v1;

use super::Driver;

impl Driver {
    /// Whether the session ends because somebody else holds this device's keys. Whoever came back then would be thrown out in turn: two
    /// processes would take the session from each other for ever.
    pub(super) fn is_taken_over(&self, end: &LinkEnd, now: Instant) -> bool {
        let seeks = self.connecting.is_some() || self.moving.is_some();
        *end == LinkEnd::Closed(v1::ErrorCode::SessionReplaced) && !seeks && !self.fleet.has_abandoned(now)
    }

    /// A link was left, or ended in another way than that the supernode said so: it may have the session for a while.
    pub(super) fn leave_behind(&self, end: Option<&LinkEnd>, now: Instant) {
        if !matches!(end, Some(LinkEnd::Closed(_) | LinkEnd::Reset)) {
            self.fleet.abandon_session(now);
        }
    }
}
