//! The sans-IO member: everything that a signed-in device decides.
//!
//! A [`Member`] keeps this device's people, conversations (MLS groups) and its call. It has no clock, socket or
//! random source: time and a seed are inputs. The contract: give it one input (`handle_*` or a command), then take
//! outputs by [`Member::poll_output`] until [`Output::Idle`]. An [`Output::Persist`] batch is committed, in one
//! transaction, before any later output leaves; whoever does so may stop at any moment and go on from what was
//! committed.

mod event;
mod identity;
mod sign_in;

use std::collections::VecDeque;
use std::time::Instant;

use ahoy_proto::{CallId, Name, v1};

pub use event::{Batch, Ending, Event, Output, OwnLeg, PeerLeg, Person, Refusal, VoiceKey};
pub use identity::Identity;
pub use sign_in::{SignIn, SignInError, SignInStep};

/// Why a command was not taken up at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// There is no session; commands that need one are not kept for later.
    #[error("not signed in to a supernode at the moment")]
    NotSignedIn,
    /// A device has one call at a time.
    #[error("this device is in a call already")]
    InCall,
    /// No such call, or not in a state in which this can be done.
    #[error("there is no such call any more")]
    NoSuchCall,
    /// The name is this account's own.
    #[error("this is your own name")]
    OwnName,
    /// Nothing has changed about this person's key.
    #[error("there is no changed key to accept for this name")]
    NothingToAccept,
}

/// What a signed-in device knows and decides. See the module's description for the contract.
pub struct Member {
    identity: Identity,
    outputs: VecDeque<Output>,
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member").field("device", &self.identity.device).finish_non_exhaustive()
    }
}

impl Member {
    /// A member as its persisted key/value pairs left it; empty for a new device.
    pub fn new(identity: Identity, _state: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>, _seed: [u8; 32]) -> Self {
        Self { identity, outputs: VecDeque::new() }
    }

    /// A session is up: after [`SignInStep::SignedIn`], on a new link.
    pub fn handle_session_up(&mut self, _now: Instant) {}

    /// The session is lost. A call in progress is kept for a while, to be taken up again with the next session.
    pub fn handle_session_down(&mut self, _now: Instant) {}

    /// A message of the session that is up.
    pub fn handle_message(&mut self, _message: &v1::SupernodeMessage, _now: Instant) {}

    /// The moment named by [`Output::Idle`] has come.
    pub fn handle_timeout(&mut self, _now: Instant) {}

    /// Calls somebody. What comes of it is told by events about the call.
    ///
    /// # Errors
    /// When there is no session, this device is in a call, or the name is one's own.
    pub fn call(&mut self, _name: &Name, _now: Instant) -> Result<CallId, CommandError> {
        Err(CommandError::NotSignedIn)
    }

    /// Answers an incoming call.
    ///
    /// # Errors
    /// When it does not ring any more, or there is no session.
    pub fn answer(&mut self, _call: CallId, _now: Instant) -> Result<(), CommandError> {
        Err(CommandError::NoSuchCall)
    }

    /// Declines an incoming call with `DECLINED`, `BUSY` or `INCOMPATIBLE`, on behalf of all devices of the account.
    ///
    /// # Errors
    /// When it does not ring any more, or there is no session.
    pub fn decline(&mut self, _call: CallId, _cause: v1::Cause, _now: Instant) -> Result<(), CommandError> {
        Err(CommandError::NoSuchCall)
    }

    /// Ends a call, answered or not; works without a session too.
    ///
    /// # Errors
    /// When there is no such call.
    pub fn hang_up(&mut self, _call: CallId, _now: Instant) -> Result<(), CommandError> {
        Err(CommandError::NoSuchCall)
    }

    /// Asks for the comparison code with somebody; [`Event::Comparison`] brings it.
    ///
    /// # Errors
    /// When the name is one's own, or the person is not known yet and there is no session.
    pub fn verify(&mut self, _name: &Name, _now: Instant) -> Result<(), CommandError> {
        Err(CommandError::NotSignedIn)
    }

    /// Accepts the changed account that [`Event::AccountKeyChanged`] announced: from now on it is the pinned one.
    ///
    /// # Errors
    /// When no change was announced for this name.
    pub fn accept_key(&mut self, _name: &Name, _now: Instant) -> Result<(), CommandError> {
        Err(CommandError::NothingToAccept)
    }

    /// Says who may ring this account; [`Event::CallsFromSet`] confirms it.
    ///
    /// # Errors
    /// When there is no session.
    pub fn set_calls_from(&mut self, _calls_from: v1::CallsFrom, _now: Instant) -> Result<(), CommandError> {
        Err(CommandError::NotSignedIn)
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Output {
        self.outputs.pop_front().unwrap_or(Output::Idle { wake: None })
    }
}
