//! WAV files: any common rate, width and number of channels in; 48 kHz, 16 bit, mono out.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};

use ahoy_voice::{FRAME_SAMPLES, SAMPLE_RATE};
use hound::{SampleFormat, WavReader, WavSpec, WavWriter};
use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Async, FixedAsync, Indexing, Resampler, SincInterpolationParameters, WindowFunction};

use super::{Flow, Frame, Sink, SinkError, Source};

/// Rates that are read, in Hz.
const RATES: std::ops::RangeInclusive<u32> = 4_000..=384_000;

/// Frames between two updates of a recording's header: whatever ends the process, at most this much (200 ms) is lost.
const FRAMES_PER_FLUSH: u32 = 10;

/// Why a WAV file can't be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {cause}", .path.display())]
pub struct WavError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub cause: String,
}

/// Plays a WAV file, once.
pub struct WavSource {
    samples: Box<dyn Iterator<Item = f32> + Send>,
    resampling: Option<Resampling>,
}

impl fmt::Debug for WavSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WavSource").field("resampled", &self.resampling.is_some()).finish_non_exhaustive()
    }
}

impl WavSource {
    /// Opens a file.
    ///
    /// # Errors
    /// When it can't be read, is no WAV file, or has a rate or sample format that is not read.
    pub fn open(path: &Path) -> Result<Self, WavError> {
        let failed = |cause: String| WavError { path: path.to_owned(), cause };
        let reader = WavReader::open(path).map_err(|error| failed(error.to_string()))?;
        let spec = reader.spec();
        if spec.channels == 0 || !RATES.contains(&spec.sample_rate) {
            return Err(failed(format!("{} channels at {} Hz can't be played", spec.channels, spec.sample_rate)));
        }
        let resampling = match spec.sample_rate {
            SAMPLE_RATE => None,
            rate => Some(Resampling::new(rate).map_err(failed)?),
        };
        Ok(Self { samples: mono(reader, spec), resampling })
    }
}

impl Source for WavSource {
    fn next_frame(&mut self, frame: &mut Frame) -> Flow {
        let filled = match &mut self.resampling {
            None => fill(frame, &mut self.samples),
            Some(resampling) => resampling.fill(frame, &mut self.samples),
        };
        frame[filled..].fill(0.0);
        if filled == 0 { Flow::Ended } else { Flow::Goes }
    }
}

/// The file's samples, -1 to 1, all channels mixed into one.
fn mono(reader: WavReader<BufReader<File>>, spec: WavSpec) -> Box<dyn Iterator<Item = f32> + Send> {
    let channels = usize::from(spec.channels);
    match spec.sample_format {
        SampleFormat::Float => Box::new(mixed(reader.into_samples::<f32>().map_while(Result::ok), channels)),
        SampleFormat::Int => {
            let scale = 1.0 / (1_i64 << (spec.bits_per_sample - 1)) as f32;
            let samples = reader.into_samples::<i32>().map_while(Result::ok).map(move |sample| sample as f32 * scale);
            Box::new(mixed(samples, channels))
        }
    }
}

fn mixed(mut samples: impl Iterator<Item = f32>, channels: usize) -> impl Iterator<Item = f32> {
    std::iter::from_fn(move || {
        let first = samples.next()?;
        let rest: f32 = samples.by_ref().take(channels - 1).sum();
        Some((first + rest) / channels as f32)
    })
}

/// Takes as many samples as there are and fit.
fn fill(frame: &mut [f32], samples: &mut impl Iterator<Item = f32>) -> usize {
    frame.iter_mut().zip(samples).map(|(slot, sample)| *slot = sample).count()
}

/// Turns another rate into 48 kHz, with the filter's own delay cut off at the start and made up for at the end.
struct Resampling {
    resampler: Async<f32>,
    ratio: f64,
    input: Vec<f32>,
    ready: VecDeque<f32>,
    /// Still to be cut off at the start.
    trim: usize,
    read: usize,
    given: usize,
}

/// Taps of the filter: flat to 0.95 of the lower rate's band, and 150 µs of one core for 20 ms.
const TAPS: usize = 128;

impl Resampling {
    fn new(rate: u32) -> Result<Self, String> {
        let ratio = f64::from(SAMPLE_RATE) / f64::from(rate);
        let parameters = SincInterpolationParameters::new(TAPS, WindowFunction::BlackmanHarris2);
        let resampler = Async::new_sinc(ratio, 1.0, &parameters, FRAME_SAMPLES, 1, FixedAsync::Output)
            .map_err(|error| error.to_string())?;
        let trim = resampler.output_delay();
        Ok(Self { resampler, ratio, input: Vec::new(), ready: VecDeque::new(), trim, read: 0, given: 0 })
    }

    fn fill(&mut self, frame: &mut Frame, samples: &mut impl Iterator<Item = f32>) -> usize {
        while self.ready.len() < FRAME_SAMPLES {
            let ended = self.step(samples);
            if ended && self.given + self.ready.len() >= self.total() {
                break;
            }
        }
        let left = self.total().saturating_sub(self.given);
        let more = if left < FRAME_SAMPLES { left } else { FRAME_SAMPLES };
        let filled = fill(&mut frame[..more], &mut self.ready.drain(..more.min(self.ready.len())));
        self.given += filled;
        filled
    }

    /// Samples that what was read so far amounts to.
    fn total(&self) -> usize {
        (self.read as f64 * self.ratio).round() as usize
    }

    /// Resamples one chunk; says whether the input has ended.
    fn step(&mut self, samples: &mut impl Iterator<Item = f32>) -> bool {
        let wanted = self.resampler.input_frames_next();
        self.input.clear();
        self.input.extend(samples.take(wanted));
        let read = self.input.len();
        self.read += read;
        self.input.resize(wanted, 0.0);
        let mut output = [0.0; FRAME_SAMPLES];
        let source = InterleavedSlice::new(&self.input, 1, wanted).expect("the slice has this many frames");
        let mut target = InterleavedSlice::new_mut(&mut output, 1, FRAME_SAMPLES).expect("and so has this one");
        let (_, made) = self
            .resampler
            .process_into_buffer(&source, &mut target, Some(&Indexing::new().partial_len(wanted)))
            .expect("both buffers are as long as the resampler asked");
        let cut = self.trim.min(made);
        self.trim -= cut;
        self.ready.extend(&output[cut..made]);
        read < wanted
    }
}

/// Records a WAV file. The header is valid at every moment.
pub struct WavSink {
    path: PathBuf,
    writer: WavWriter<BufWriter<File>>,
    frames: u32,
}

impl fmt::Debug for WavSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WavSink").field("path", &self.path).finish_non_exhaustive()
    }
}

impl WavSink {
    /// Makes the file, or empties it.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn create(path: &Path) -> Result<Self, WavError> {
        let failed = |error: hound::Error| WavError { path: path.to_owned(), cause: error.to_string() };
        let spec =
            WavSpec { channels: 1, sample_rate: SAMPLE_RATE, bits_per_sample: 16, sample_format: SampleFormat::Int };
        let mut writer = WavWriter::create(path, spec).map_err(failed)?;
        writer.flush().map_err(failed)?;
        Ok(Self { path: path.to_owned(), writer, frames: 0 })
    }

    fn write(&mut self, frame: &Frame) -> Result<(), hound::Error> {
        for sample in frame {
            let sample = (sample.clamp(-1.0, 1.0) * f32::from(i16::MAX)).round() as i16;
            self.writer.write_sample(sample)?;
        }
        self.frames += 1;
        if self.frames.is_multiple_of(FRAMES_PER_FLUSH) { self.writer.flush() } else { Ok(()) }
    }
}

impl Sink for WavSink {
    fn take_frame(&mut self, frame: &Frame) -> Result<(), SinkError> {
        self.write(frame).map_err(|error| SinkError { path: self.path.clone(), cause: error.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Half a second of a 440 Hz tone at half of full scale.
    fn tone(path: &Path, rate: u32, channels: u16, bits: u16, format: SampleFormat) {
        let spec = WavSpec { channels, sample_rate: rate, bits_per_sample: bits, sample_format: format };
        let mut writer = WavWriter::create(path, spec).unwrap();
        for index in 0..rate / 2 {
            let value = 0.5 * (std::f32::consts::TAU * 440.0 * index as f32 / rate as f32).sin();
            for _ in 0..channels {
                match format {
                    SampleFormat::Float => writer.write_sample(value).unwrap(),
                    SampleFormat::Int => {
                        writer.write_sample((value * ((1_i64 << (bits - 1)) - 1) as f32).round() as i32).unwrap();
                    }
                }
            }
        }
        writer.finalize().unwrap();
    }

    fn played(path: &Path) -> Vec<f32> {
        let mut source = WavSource::open(path).unwrap();
        let mut all = Vec::new();
        let mut frame = [0.0; FRAME_SAMPLES];
        while source.next_frame(&mut frame) == Flow::Goes {
            all.extend_from_slice(&frame);
        }
        all
    }

    #[test]
    fn every_common_format_sounds_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tone.wav");
        for rate in [8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000] {
            for (bits, format) in
                [(8, SampleFormat::Int), (16, SampleFormat::Int), (24, SampleFormat::Int), (32, SampleFormat::Float)]
            {
                for channels in [1, 2] {
                    tone(&path, rate, channels, bits, format);
                    let heard = played(&path);
                    assert_eq!(heard.len(), 25 * FRAME_SAMPLES, "{rate} Hz, {bits} bit");
                    // Both ends of a cut tone ring; in between it must be the tone itself, at most a sample (0.029) off its place.
                    for (index, sample) in heard.iter().enumerate().take(22_000).skip(2_000) {
                        let wanted = 0.5 * (std::f32::consts::TAU * 440.0 * index as f32 / 48_000.0).sin();
                        assert!(
                            (sample - wanted).abs() < 0.035,
                            "{rate} Hz, {bits} bit, sample {index}: {sample} {wanted}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_recording_can_be_read_whatever_ends_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("back.wav");
        let mut sink = WavSink::create(&path).unwrap();
        assert_eq!(WavReader::open(&path).unwrap().duration(), 0);
        for _ in 0..FRAMES_PER_FLUSH {
            sink.take_frame(&[0.25; FRAME_SAMPLES]).unwrap();
        }
        // As `kill -9` leaves it: nothing is finished, nothing dropped.
        let reader = WavReader::open(&path).unwrap();
        assert_eq!(reader.duration(), FRAMES_PER_FLUSH * FRAME_SAMPLES as u32);
        assert_eq!(reader.spec().sample_rate, SAMPLE_RATE);
        std::mem::forget(sink);
    }

    #[test]
    fn what_is_no_wav_file_is_refused_with_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("song.mp3");
        std::fs::write(&path, b"ID3 this is not RIFF at all").unwrap();
        assert!(WavSource::open(&path).unwrap_err().to_string().contains("song.mp3"));
        assert!(WavSource::open(&folder.path().join("none.wav")).is_err());
    }
}
