//! Any bytes as a voice payload, in any order and at any pace.
#![no_main]

use std::time::{Duration, Instant};

use ahoy_voice::Receiver;
use ahoy_voice::payload::{self, Payload};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|noise: &[u8]| {
    let mut now = Instant::now();
    let mut receiver = Receiver::new().expect("libopus makes a decoder");
    for piece in noise.split(|byte| *byte == 0xff) {
        let _ = Payload::parse(piece);
        let _ = payload::reflect(piece);
        let _ = receiver.handle_payload(piece, now);
        now += Duration::from_millis(u64::from(piece.first().copied().unwrap_or(20)));
        let frame = receiver.pull_frame(now);
        assert!(frame.samples.iter().all(|sample| sample.is_finite()));
        let _ = receiver.poll_report(now);
    }
});
