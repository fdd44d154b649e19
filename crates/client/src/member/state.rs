//! The state serial: how a device that was copied, or restored from a backup, is kept from using its secrets twice.
//!
//! The first request in the life of a process is `CheckIn` with the serial raised by one; the new serial is in the batch
//! in front of it. Until the supernode has answered, all other requests wait. A serial that has been seen before means that
//! another process has gone on from this state: nothing more is sent, ever.
//!
//! The answer brings the account's devices. A leaf of a device that is gone is taken out of all groups; that it is not on a
//! list proves it only when the list was asked for after the leaf was seen.

use std::collections::BTreeSet;
use std::time::Instant;

use ahoy_proto::limits::DEVICES_MAX;
use ahoy_proto::{ConversationId, DeviceId, v1};
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

/// The devices of this account.
#[derive(Default)]
pub(super) struct OwnDevices {
    /// As the supernode listed them last.
    listed: BTreeSet<DeviceId>,
    /// Stood in a group and were not on a list asked for after that, or were revoked here. No device id is used twice.
    gone: BTreeSet<DeviceId>,
}

impl OwnDevices {
    /// Devices whose leaves stand for nobody.
    pub(super) fn gone(&self) -> &BTreeSet<DeviceId> {
        &self.gone
    }

    /// This device has revoked another one.
    pub(super) fn revoke(&mut self, device: DeviceId) {
        self.listed.remove(&device);
        self.gone.insert(device);
    }

    /// Whether it was the account's when the supernode last said.
    pub(super) fn is_listed(&self, device: DeviceId) -> bool {
        self.listed.contains(&device)
    }

    fn knows(&self, device: DeviceId) -> bool {
        self.listed.contains(&device) || self.gone.contains(&device)
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
        let ids = devices.iter().take(DEVICES_MAX).filter_map(|record| DeviceId::try_from(&record.device[..]).ok());
        let ids: BTreeSet<DeviceId> = ids.collect();
        // A list without this device is not its account's.
        if ids.contains(&self.identity.device) {
            self.see_first_devices(&ids);
            self.devices.listed = ids;
            // What stands in groups may be told of now.
            self.touched.extend(self.conversations.keys());
            self.advance_all(now);
        }
    }

    /// Asks about devices of this account in a group that the last list did not have: they may be newer than it. Once in a
    /// session for each.
    pub(super) fn doubt_devices(&mut self, id: ConversationId) {
        let own = self.identity.account;
        let (Some(session), Some(entry)) = (&mut self.session, self.conversations.get(&id)) else { return };
        if !self.state.is_newest() {
            return;
        }
        let ours = entry.roll.leaves.iter().filter(|(account, _)| *account == own).map(|(_, device)| *device);
        let unknown = ours.filter(|device| !self.devices.knows(*device));
        let doubted: Vec<DeviceId> = unknown.filter(|device| session.doubted.insert(*device)).collect();
        if !doubted.is_empty() {
            self.ask(Request::ListDoubted(doubted), Ask::ListDevices(v1::ListDevices {}));
        }
    }

    /// Those that are not on a list which was asked for after they were seen are gone.
    pub(super) fn doubted_listed(&mut self, doubted: &[DeviceId], body: &Body, now: Instant) {
        let Body::CheckedIn(listed) = body else { return };
        let is_listed = |device: DeviceId| listed.devices.iter().any(|record| record.device == device.0[..]);
        if is_listed(self.identity.device) {
            self.devices.gone.extend(doubted.iter().filter(|device| !is_listed(**device)));
            self.take_devices(&listed.devices, now);
        }
    }
}
