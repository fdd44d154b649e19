//! The machine's microphone and loudspeaker, through cpal.
//!
//! The device's clock is not the call's: between the two lies a [`Buffer`] of bounded length that drops its oldest samples when the
//! reading side is slower, and gives silence when it is faster.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use ahoy_voice::{FRAME_SAMPLES, SAMPLE_RATE};
use cpal::traits::{DeviceTrait, HostTrait, StreamTrait};
use cpal::{Device, Sample, SampleFormat, Stream, StreamConfig, SupportedStreamConfig};

use super::{Flow, Frame, Sink, SinkError, Source};

/// Samples that wait between device and call: 120 ms, three device buffers of the common 40 ms.
const BUFFER_SAMPLES: usize = 6 * FRAME_SAMPLES;

/// Why a device can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The machine has none.
    #[error("this machine has no {0}")]
    None(&'static str),
    /// It has no mode of 48 kHz with 32 bit floating or 16 bit samples.
    #[error("the {0} can't do 48 kHz")]
    Rate(&'static str),
    /// The system refuses.
    #[error("the {what} can't be opened: {cause}")]
    Refused {
        /// Which.
        what: &'static str,
        /// Why.
        cause: String,
    },
}

/// The default microphone. Dropping it gives it back.
pub struct Microphone {
    buffer: Buffer,
    _stream: Stream,
}

/// The default loudspeaker or headphones. Dropping it gives it back.
pub struct Loudspeaker {
    buffer: Buffer,
    _stream: Stream,
}

impl fmt::Debug for Microphone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Microphone")
    }
}

impl fmt::Debug for Loudspeaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Loudspeaker")
    }
}

impl Microphone {
    /// Opens and starts it.
    ///
    /// # Errors
    /// When there is none, or it can't be used.
    pub fn open() -> Result<Self, DeviceError> {
        const WHAT: &str = "microphone";
        let device = cpal::default_host().default_input_device().ok_or(DeviceError::None(WHAT))?;
        let modes = device.supported_input_configs().map_err(|error| refused(WHAT, &error))?;
        let mode = mode(modes, WHAT)?;
        let buffer = Buffer::default();
        let stream = match mode.sample_format() {
            SampleFormat::I16 => listen::<i16>(&device, mode.config(), buffer.clone()),
            _ => listen::<f32>(&device, mode.config(), buffer.clone()),
        };
        Ok(Self { buffer, _stream: started(stream, WHAT)? })
    }
}

impl Source for Microphone {
    fn next_frame(&mut self, frame: &mut Frame) -> Flow {
        self.buffer.take(frame);
        Flow::Goes
    }
}

impl Loudspeaker {
    /// Opens and starts it.
    ///
    /// # Errors
    /// When there is none, or it can't be used.
    pub fn open() -> Result<Self, DeviceError> {
        const WHAT: &str = "loudspeaker";
        let device = cpal::default_host().default_output_device().ok_or(DeviceError::None(WHAT))?;
        let modes = device.supported_output_configs().map_err(|error| refused(WHAT, &error))?;
        let mode = mode(modes, WHAT)?;
        let buffer = Buffer::default();
        let stream = match mode.sample_format() {
            SampleFormat::I16 => play::<i16>(&device, mode.config(), buffer.clone()),
            _ => play::<f32>(&device, mode.config(), buffer.clone()),
        };
        Ok(Self { buffer, _stream: started(stream, WHAT)? })
    }
}

impl Sink for Loudspeaker {
    fn take_frame(&mut self, frame: &Frame) -> Result<(), SinkError> {
        self.buffer.give(frame.iter().copied());
        Ok(())
    }
}

/// The device's mode of 48 kHz that is nearest to ours: floating point rather than 16 bit, then the fewest channels.
fn mode(
    modes: impl Iterator<Item = cpal::SupportedStreamConfigRange>,
    what: &'static str,
) -> Result<SupportedStreamConfig, DeviceError> {
    modes
        .filter(|mode| matches!(mode.sample_format(), SampleFormat::F32 | SampleFormat::I16))
        .filter_map(|mode| mode.try_with_sample_rate(SAMPLE_RATE))
        .min_by_key(|mode| (mode.sample_format() != SampleFormat::F32, mode.channels()))
        .ok_or(DeviceError::Rate(what))
}

fn listen<T>(device: &Device, config: StreamConfig, buffer: Buffer) -> Result<Stream, cpal::Error>
where
    T: cpal::SizedSample,
    f32: cpal::FromSample<T>,
{
    let channels = usize::from(config.channels.max(1));
    let heard = move |samples: &[T], _: &cpal::InputCallbackInfo| {
        let mixed = |group: &[T]| group.iter().map(|sample| f32::from_sample(*sample)).sum::<f32>() / channels as f32;
        buffer.give(samples.chunks(channels).map(mixed));
    };
    device.build_input_stream(config, heard, report, None)
}

fn play<T>(device: &Device, config: StreamConfig, buffer: Buffer) -> Result<Stream, cpal::Error>
where
    T: cpal::SizedSample + cpal::FromSample<f32>,
{
    let channels = usize::from(config.channels.max(1));
    let wanted = move |samples: &mut [T], _: &cpal::OutputCallbackInfo| {
        let mut mono = vec![0.0; samples.len() / channels];
        buffer.take(&mut mono);
        for (group, sample) in samples.chunks_mut(channels).zip(mono) {
            group.fill(T::from_sample(sample));
        }
    };
    device.build_output_stream(config, wanted, report, None)
}

fn started(stream: Result<Stream, cpal::Error>, what: &'static str) -> Result<Stream, DeviceError> {
    let stream = stream.map_err(|error| refused(what, &error))?;
    stream.play().map_err(|error| refused(what, &error))?;
    Ok(stream)
}

fn refused(what: &'static str, error: &cpal::Error) -> DeviceError {
    DeviceError::Refused { what, cause: error.to_string() }
}

fn report(error: cpal::Error) {
    tracing::warn!(%error, "an audio device falters");
}

/// Samples between a device's thread and the call's. Each side holds the lock for as long as it takes to copy one frame.
#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<VecDeque<f32>>>);

impl Buffer {
    fn give(&self, samples: impl Iterator<Item = f32>) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.extend(samples);
        let surplus = waiting.len().saturating_sub(BUFFER_SAMPLES);
        waiting.drain(..surplus);
    }

    fn take(&self, samples: &mut [f32]) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for sample in samples {
            *sample = waiting.pop_front().unwrap_or(0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_reader_hears_the_newest_and_a_fast_one_silence() {
        let buffer = Buffer::default();
        buffer.give((0..BUFFER_SAMPLES + 5).map(|index| index as f32));
        let mut samples = vec![0.0; BUFFER_SAMPLES + 1];
        buffer.take(&mut samples);
        assert_eq!(samples[0], 5.0);
        assert_eq!(samples[BUFFER_SAMPLES], 0.0);
    }
}
