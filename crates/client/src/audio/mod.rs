//! Where voice comes from and goes to: files, silence, and devices (feature `audio`).
//!
//! A [`Source`] gives and a [`Sink`] takes one frame of 20 ms at a time, 48 kHz mono, at the pace of the call. Neither may
//! block for longer than a disk's cache takes.

#[cfg(feature = "audio")]
mod device;
mod wav;

use std::path::PathBuf;

use ahoy_voice::FRAME_SAMPLES;

#[cfg(feature = "audio")]
pub use device::{DeviceError, Loudspeaker, Microphone};
pub use wav::{WavError, WavSink, WavSource};

/// 20 ms, 48 kHz, mono; -1 to 1.
pub type Frame = [f32; FRAME_SAMPLES];

/// Whether a source has more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// The frame is filled.
    Goes,
    /// There is nothing any more; the frame is silence.
    Ended,
}

/// Gives what is said.
pub trait Source: Send {
    /// Fills the next frame.
    fn next_frame(&mut self, frame: &mut Frame) -> Flow;
}

/// Takes what is heard.
pub trait Sink: Send {
    /// Takes the next frame.
    ///
    /// # Errors
    /// When it can't; the call goes on without it.
    fn take_frame(&mut self, frame: &Frame) -> Result<(), SinkError>;
}

/// Why a sink takes no more.
#[derive(Debug, thiserror::Error)]
#[error("{}: {cause}", .path.display())]
pub struct SinkError {
    /// The file or device.
    pub path: PathBuf,
    /// Why.
    pub cause: String,
}

/// Says nothing and hears nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silence;

impl Source for Silence {
    fn next_frame(&mut self, frame: &mut Frame) -> Flow {
        frame.fill(0.0);
        Flow::Goes
    }
}

impl Sink for Silence {
    fn take_frame(&mut self, _frame: &Frame) -> Result<(), SinkError> {
        Ok(())
    }
}
