//! A congestion controller whose window never falls below a floor.
//!
//! Loss on radio links says little about congestion, and voice can't slow down anyway: below a few packets of window it
//! only grows stale. NewReno decides everything above the floor.

use std::{any::Any, sync::Arc, time::Instant};

use quinn_proto::{
    RttEstimator,
    congestion::{Controller, ControllerFactory, NewReno, NewRenoConfig},
};

/// NewReno above `BYTES`.
#[derive(Debug, Clone)]
struct Floor<const BYTES: u64>(NewReno);

/// Builds the controller for each connection, with `BYTES` as its floor.
#[derive(Debug)]
pub(crate) struct FloorConfig<const BYTES: u64> {
    reno: Arc<NewRenoConfig>,
}

impl<const BYTES: u64> FloorConfig<BYTES> {
    pub(crate) fn new() -> Self {
        let mut reno = NewRenoConfig::default();
        reno.initial_window(BYTES);
        Self { reno: Arc::new(reno) }
    }
}

impl<const BYTES: u64> ControllerFactory for FloorConfig<BYTES> {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(Floor::<BYTES>(NewReno::new(Arc::clone(&self.reno), now, current_mtu)))
    }
}

impl<const BYTES: u64> Controller for Floor<BYTES> {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.0.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, rtt: &RttEstimator) {
        self.0.on_ack(now, sent, bytes, app_limited, rtt);
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool, largest: Option<u64>) {
        self.0.on_end_acks(now, in_flight, app_limited, largest);
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, persistent: bool, lost_bytes: u64) {
        self.0.on_congestion_event(now, sent, persistent, lost_bytes);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.0.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        self.0.window().max(BYTES)
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        BYTES
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::WINDOW_FLOOR;

    #[test]
    fn repeated_congestion_leaves_room_for_voice() {
        let now = Instant::now();
        let mut controller = Arc::new(FloorConfig::<WINDOW_FLOOR>::new()).build(now, 1200);
        for _ in 0..20 {
            controller.on_congestion_event(now, now, true, 1200);
        }
        assert_eq!(controller.window(), WINDOW_FLOOR);
    }
}
