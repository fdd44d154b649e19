//! The state serial: how a device that was copied, or restored from a backup, is kept from using its secrets twice.
//!
//! The first request in the life of a process is `CheckIn` with the serial raised by one; the new serial is in the batch
//! in front of it. Until the supernode has answered, all other requests wait. A serial that has been seen before means that
//! another process has gone on from this state: nothing more is sent, ever.

use std::time::Instant;

use ahoy_proto::{DeviceId, v1};
use v1::client_message::Body as Ask;
use v1::supernode_message::Body;

use super::event::{Answer, Ending, Event, Output, Ticket};
use super::outbox::Outbox;
use super::requests::Request;
use super::{CommandError, Member, Timer, refusal};

const SERIAL_KEY: &[u8] = b"state-serial";

/// Which state this device goes on from.
#[derive(Default)]
pub(super) struct State {
    /// The last serial that was shown, or may have been.
    serial: u64,
    standing: Standing,
}

/// What the supernode has said of the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Standing {
    /// Nothing in the life of this process.
    #[default]
    Unchecked,
    /// It is the newest.
    Newest,
    /// It is a copy, or comes from one.
    TooOld,
}

impl State {
    /// Takes over one persisted pair.
    pub(super) fn restore(&mut self, key: &[u8], value: &[u8]) {
        if key == SERIAL_KEY {
            self.serial = serde_json::from_slice(value).unwrap_or_default();
        }
    }

    /// Whether the supernode has accepted this state in the life of this process.
    pub(super) fn is_newest(&self) -> bool {
        self.standing == Standing::Newest
    }

    /// Whether this state must not be used.
    pub(super) fn is_too_old(&self) -> bool {
        self.standing == Standing::TooOld
    }

    /// A serial that was not shown before. Also a check-in that got no answer may have been seen.
    fn raise(&mut self, outbox: &mut Outbox) -> u64 {
        self.serial = self.serial.saturating_add(1);
        outbox.write(SERIAL_KEY.to_vec(), &self.serial);
        self.serial
    }
}

impl Member {
    /// Shows the state serial; whatever is asked until the answer comes waits for it.
    pub(super) fn check_in(&mut self) {
        let Some(session) = &mut self.session else { return };
        let state_serial = self.state.raise(&mut self.outbox);
        let message = session.requests.ask_alone(Request::CheckIn, Ask::CheckIn(v1::CheckIn { state_serial }));
        self.outbox.push(Output::Send(message));
    }

    pub(super) fn checked_in(&mut self, body: &Body, now: Instant) {
        match body {
            Body::CheckedIn(checked) => {
                self.state.standing = Standing::Newest;
                self.begin(now);
                self.release_requests();
                self.take_devices(&checked.devices, now);
            }
            Body::Error(error) if error.code() == v1::ErrorCode::StateTooOld => self.retire(now),
            body => self.pause_session(Timer::CheckIn, body, now),
        }
    }

    /// This state is a copy, or comes from one: everything ends, and nothing is sent any more.
    pub(super) fn retire(&mut self, now: Instant) {
        if self.state.is_too_old() {
            return;
        }
        self.state.standing = Standing::TooOld;
        self.handle_session_down(now);
        for call in self.call_ids() {
            self.end_call(call, Ending::Cause(v1::Cause::Lost), now);
        }
        self.timers.clear();
        self.outbox.event(Event::StateTooOld);
    }

    /// Asks for the account's devices: [`Answer::Devices`].
    ///
    /// # Errors
    /// When there is no session.
    pub fn list_devices(&mut self, ticket: Ticket, _now: Instant) -> Result<(), CommandError> {
        if self.session.is_none() {
            return Err(CommandError::NotSignedIn);
        }
        self.ask(Request::ListDevices(ticket), Ask::ListDevices(v1::ListDevices {}));
        Ok(())
    }

    pub(super) fn devices_listed(&mut self, ticket: Ticket, body: &Body, now: Instant) {
        let Body::CheckedIn(listed) = body else { return self.answer_ticket(ticket, Err(refusal(body))) };
        self.answer_ticket(ticket, Ok(Answer::Devices(listed.devices.clone())));
        self.take_devices(&listed.devices, now);
    }

    /// All requests that waited for the check-in may leave.
    fn release_requests(&mut self) {
        let Some(session) = &mut self.session else { return };
        session.requests.open();
        while let Some(message) = session.requests.next() {
            self.outbox.push(Output::Send(message));
        }
    }

    fn take_devices(&mut self, devices: &[v1::DeviceRecord], now: Instant) {
        let ids = devices.iter().filter_map(|record| DeviceId::try_from(&record.device[..]).ok());
        let ids: Vec<DeviceId> = ids.collect();
        // A list without this device is not its account's.
        if ids.contains(&self.identity.device) {
            self.own_devices(&ids, now);
        }
    }
}
