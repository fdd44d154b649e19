//! Which source and sink a call gets: files where they are named, else devices (feature `audio`), else silence.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use ahoy_client::audio::{Sink, Source, WavError, WavSink, WavSource};
use ahoy_client::voice::Speaker;

use crate::cli::Audio;
use crate::failure::{Exit, Failure};

/// Opens everything for one call; `peer` names the recording where `--record` is a folder.
pub(crate) fn speaker(audio: &Audio, peer: &str) -> Result<Speaker, Failure> {
    let source: Box<dyn Source> = match &audio.play {
        Some(file) => Box::new(WavSource::open(file).map_err(|error| unplayable(&error))?),
        None => device::source()?,
    };
    let sink: Box<dyn Sink> = match &audio.record {
        Some(path) => Box::new(WavSink::create(&recording(path, peer)).map_err(|error| unrecordable(&error))?),
        None => device::sink()?,
    };
    Ok(Speaker::Person { source, sink })
}

/// Checks files before anybody is called.
pub(crate) fn check(audio: &Audio) -> Result<(), Failure> {
    if let Some(file) = &audio.play {
        WavSource::open(file).map_err(|error| unplayable(&error))?;
    }
    Ok(())
}

/// What a person should know of the sound of the next calls.
pub(crate) fn note(audio: &Audio) -> Option<&'static str> {
    match (&audio.play, &audio.record) {
        _ if cfg!(feature = "audio") => None,
        (None, None) => Some(
            "This ahoy is built without microphone and loudspeaker: you send silence and hear nothing. See --play and --record.",
        ),
        (None, Some(_)) => Some("This ahoy is built without microphone: you send silence. See --play."),
        (Some(_), None) => Some("This ahoy is built without loudspeaker: you hear nothing. See --record."),
        (Some(_), Some(_)) => None,
    }
}

fn recording(path: &Path, peer: &str) -> PathBuf {
    if !path.is_dir() {
        return path.to_owned();
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    path.join(format!("{peer}-{}.wav", since.as_millis()))
}

fn unplayable(error: &WavError) -> Failure {
    Failure::new(
        Exit::Other,
        "play",
        error.to_string(),
        "--play takes a WAV file, such as `ffmpeg -i IN OUT.wav` makes.",
    )
}

fn unrecordable(error: &WavError) -> Failure {
    Failure::new(Exit::Other, "record", error.to_string(), "--record takes the name of a file that can be written.")
}

#[cfg(feature = "audio")]
mod device {
    use ahoy_client::audio::{DeviceError, Loudspeaker, Microphone, Sink, Source};

    use crate::failure::{Exit, Failure};

    pub(super) fn source() -> Result<Box<dyn Source>, Failure> {
        Ok(Box::new(Microphone::open().map_err(|error| failure(&error, "--play FILE"))?))
    }

    pub(super) fn sink() -> Result<Box<dyn Sink>, Failure> {
        Ok(Box::new(Loudspeaker::open().map_err(|error| failure(&error, "--record FILE"))?))
    }

    fn failure(error: &DeviceError, option: &str) -> Failure {
        Failure::new(
            Exit::Other,
            "device",
            error.to_string(),
            format!("Plug one in and make it the default, or use {option}."),
        )
    }
}

#[cfg(not(feature = "audio"))]
mod device {
    use ahoy_client::audio::{Silence, Sink, Source};

    use crate::failure::Failure;

    // As the other `device`, which can fail.
    #[allow(clippy::unnecessary_wraps)]
    pub(super) fn source() -> Result<Box<dyn Source>, Failure> {
        Ok(Box::new(Silence))
    }

    #[allow(clippy::unnecessary_wraps)]
    pub(super) fn sink() -> Result<Box<dyn Sink>, Failure> {
        Ok(Box::new(Silence))
    }
}
