//! Any bytes as voice payloads, in any order and at any pace.
//!
//! A payload has one length, of which short inputs know nothing: each piece says when it comes and how its payload begins, and the
//! rest of that is zeros.
#![no_main]

use std::time::{Duration, Instant};

use ahoy_voice::Receiver;
use ahoy_voice::payload::{self, PAYLOAD_BYTES, Payload};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|noise: &[u8]| {
    let _ = Payload::parse(noise);
    let _ = payload::reflect(noise);
    let mut now = Instant::now();
    let mut receiver = Receiver::new().expect("libopus makes a decoder");
    let mut rest = noise;
    while let [pace, length, tail @ ..] = rest {
        let (start, tail) = tail.split_at(usize::from(*length).min(PAYLOAD_BYTES).min(tail.len()));
        rest = tail;
        let mut bytes = [0; PAYLOAD_BYTES];
        bytes[..start.len()].copy_from_slice(start);
        let _ = Payload::parse(&bytes);
        let _ = payload::reflect(&bytes);
        let _ = receiver.handle_payload(&bytes, now);
        now += Duration::from_millis(u64::from(*pace));
        let frame = receiver.pull_frame(now);
        assert!(frame.samples.iter().all(|sample| sample.is_finite()));
        let _ = receiver.poll_report(now);
    }
});
