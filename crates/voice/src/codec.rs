//! The seam to libopus: the only module with `unsafe`, because an FFI call can't be written without it.
//!
//! Invariant: a pointer held here is non-null, came from libopus' own constructor, is owned by one value, and is
//! freed once, on drop. Every buffer handed over carries its true length, so libopus never reads or writes past it.
#![allow(unsafe_code, reason = "libopus is a C library; this module is the whole seam")]

use std::ffi::c_int;
use std::ptr::NonNull;

use opusic_sys as opus;

use crate::{FRAME_SAMPLES, SAMPLE_RATE};

/// Largest Opus frame that we make or accept, in bytes (RFC 6716 section 3.4).
pub const OPUS_FRAME_BYTES_MAX: usize = 1_275;

/// Bits a second that one byte in every 20 ms frame makes.
const BITS_PER_BYTE_SECOND: c_int = 8 * 50;

/// libopus refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("libopus error {0}")]
pub struct CodecError(c_int);

/// Encodes 20 ms frames of 48 kHz mono.
#[derive(Debug)]
pub struct Encoder {
    state: NonNull<opus::OpusEncoder>,
}

// SAFETY: the state is plain memory owned by this value alone; libopus keeps no thread-local reference to it.
unsafe impl Send for Encoder {}

impl Encoder {
    /// libopus' encoder complexity, all of it: 0.3 ms a frame, where bytes are what is short. Tests judge no sound and take the least.
    const COMPLEXITY: c_int = if cfg!(test) { 0 } else { 10 };

    /// A new encoder for speech: SILK at 8 kHz of bandwidth, constant bit rate.
    ///
    /// # Errors
    /// When memory is out.
    pub fn new() -> Result<Self, CodecError> {
        let mut error = opus::OPUS_OK;
        // SAFETY: `error` outlives the call; rate, channels and application are valid constants.
        let state =
            unsafe { opus::opus_encoder_create(SAMPLE_RATE as i32, 1, opus::OPUS_APPLICATION_VOIP, &raw mut error) };
        let state = NonNull::new(state).ok_or(CodecError(error))?;
        let mut encoder = Self { state };
        encoder.set(opus::OPUS_SET_SIGNAL_REQUEST, opus::OPUS_SIGNAL_VOICE)?;
        encoder.set(opus::OPUS_SET_BANDWIDTH_REQUEST, opus::OPUS_BANDWIDTH_WIDEBAND)?;
        encoder.set(opus::OPUS_SET_VBR_REQUEST, 0)?;
        encoder.set(opus::OPUS_SET_COMPLEXITY_REQUEST, Self::COMPLEXITY)?;
        Ok(encoder)
    }

    /// Encodes one frame into exactly `length` bytes.
    ///
    /// # Errors
    /// When `length` is too small for any frame.
    pub fn encode(&mut self, samples: &[f32; FRAME_SAMPLES], length: usize) -> Result<Vec<u8>, CodecError> {
        let mut frame = vec![0; length.min(OPUS_FRAME_BYTES_MAX)];
        let bitrate = frame.len() as c_int * BITS_PER_BYTE_SECOND;
        self.set(opus::OPUS_SET_BITRATE_REQUEST, bitrate)?;
        // SAFETY: `samples` holds the stated count and `frame` the stated length.
        let written = unsafe {
            opus::opus_encode_float(
                self.state.as_ptr(),
                samples.as_ptr(),
                FRAME_SAMPLES as c_int,
                frame.as_mut_ptr(),
                frame.len() as i32,
            )
        };
        frame.truncate(usize::try_from(written).map_err(|_| CodecError(written))?);
        Ok(frame)
    }

    fn set(&mut self, request: c_int, value: c_int) -> Result<(), CodecError> {
        // SAFETY: every request passed in this module takes exactly one `int`.
        check(unsafe { opus::opus_encoder_ctl(self.state.as_ptr(), request, value) })
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        // SAFETY: made by `opus_encoder_create`, freed here only.
        unsafe { opus::opus_encoder_destroy(self.state.as_ptr()) }
    }
}

/// Decodes to 20 ms frames of 48 kHz mono and invents what is missing.
#[derive(Debug)]
pub struct Decoder {
    state: NonNull<opus::OpusDecoder>,
}

// SAFETY: as for `Encoder`.
unsafe impl Send for Decoder {}

impl Decoder {
    /// libopus' decoder complexity: 5 switches deep concealment on, 6 and 7 add the LACE and NoLACE enhancers of coded speech.
    const COMPLEXITY: c_int = if cfg!(test) { 0 } else { 7 };

    /// A new decoder with deep concealment.
    ///
    /// # Errors
    /// When memory is out.
    pub fn new() -> Result<Self, CodecError> {
        let mut error = opus::OPUS_OK;
        // SAFETY: `error` outlives the call; rate and channels are valid constants.
        let state = unsafe { opus::opus_decoder_create(SAMPLE_RATE as i32, 1, &raw mut error) };
        let state = NonNull::new(state).ok_or(CodecError(error))?;
        let decoder = Self { state };
        // SAFETY: this request takes one `int`.
        check(unsafe {
            opus::opus_decoder_ctl(decoder.state.as_ptr(), opus::OPUS_SET_COMPLEXITY_REQUEST, Self::COMPLEXITY)
        })?;
        Ok(decoder)
    }

    /// Decodes the frame that is due.
    ///
    /// # Errors
    /// When `frame` is no Opus frame of 20 ms; the decoder is then as it was before.
    pub fn decode(&mut self, frame: &[u8], samples: &mut [f32; FRAME_SAMPLES]) -> Result<(), CodecError> {
        self.run(Some(frame), samples)
    }

    /// Invents the frame that is due from what came before. Fades by itself over about 100 ms.
    ///
    /// # Errors
    /// Never in practice; the type says so because libopus does.
    pub fn conceal(&mut self, samples: &mut [f32; FRAME_SAMPLES]) -> Result<(), CodecError> {
        self.run(None, samples)
    }

    fn run(&mut self, frame: Option<&[u8]>, samples: &mut [f32; FRAME_SAMPLES]) -> Result<(), CodecError> {
        // An empty slice would mean "conceal" to libopus; an oversized one can't be an Opus frame.
        if let Some(frame) = frame
            && !is_20_ms_frame(frame)
        {
            return Err(CodecError(opus::OPUS_INVALID_PACKET));
        }
        let (pointer, length) = frame.map_or((std::ptr::null(), 0), |frame| (frame.as_ptr(), frame.len() as i32));
        // SAFETY: pointer and length describe `frame` (or null and 0: conceal); `samples` holds the stated count.
        let decoded = unsafe {
            opus::opus_decode_float(
                self.state.as_ptr(),
                pointer,
                length,
                samples.as_mut_ptr(),
                FRAME_SAMPLES as c_int,
                0,
            )
        };
        if decoded == FRAME_SAMPLES as c_int { Ok(()) } else { Err(CodecError(decoded)) }
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: made by `opus_decoder_create`, freed here only.
        unsafe { opus::opus_decoder_destroy(self.state.as_ptr()) }
    }
}

/// Whether `frame` is one well-formed Opus packet that decodes to exactly 20 ms.
pub fn is_20_ms_frame(frame: &[u8]) -> bool {
    if frame.is_empty() || frame.len() > OPUS_FRAME_BYTES_MAX {
        return false;
    }
    // SAFETY: the slice is not empty and its length is stated.
    let samples = unsafe { opus::opus_packet_get_nb_samples(frame.as_ptr(), frame.len() as i32, SAMPLE_RATE as i32) };
    samples == FRAME_SAMPLES as c_int
}

fn check(code: c_int) -> Result<(), CodecError> {
    if code == opus::OPUS_OK { Ok(()) } else { Err(CodecError(code)) }
}
