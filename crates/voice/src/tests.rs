//! Sender and receiver together over scripted paths, in virtual time.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use crate::payload::{PAYLOAD_BYTES, Report};
use crate::{FRAME_SAMPLES, Frame, Origin, Protection, Receiver, Sender};

const FRAME: Duration = Duration::from_millis(20);

/// A talker, a listener and the packets between them.
struct Line {
    sender: Sender,
    receiver: Receiver,
    epoch: Instant,
    sent: u32,
    pulled: u32,
    in_flight: Vec<(Duration, Vec<u8>)>,
    /// The sender's frame, stretched by clock drift.
    sender_frame: Duration,
}

impl Line {
    #[expect(clippy::disallowed_methods, reason = "an arbitrary origin for virtual time; `Instant` offers no other")]
    fn new() -> Self {
        Self {
            sender: Sender::new().unwrap(),
            receiver: Receiver::new().unwrap(),
            epoch: Instant::now(),
            sent: 0,
            pulled: 0,
            in_flight: Vec::new(),
            sender_frame: FRAME,
        }
    }

    /// Runs `frames` frames; `path` says how long packet n is under way, or `None` for lost.
    fn run(&mut self, frames: u32, mut path: impl FnMut(u32) -> Option<u64>) -> Vec<Frame> {
        let mut played = Vec::new();
        for _ in 0..frames {
            let at = FRAME * self.pulled;
            while self.sender_frame * self.sent <= at {
                let sent_at = self.sender_frame * self.sent;
                let payload = self.sender.push_frame(&voice(self.sent), None).unwrap();
                assert_eq!(payload.len(), PAYLOAD_BYTES);
                if let Some(ms) = path(self.sent) {
                    self.in_flight.push((sent_at + Duration::from_millis(ms), payload));
                }
                self.sent += 1;
            }
            self.in_flight.sort_by_key(|(arrival, _)| *arrival);
            while self.in_flight.first().is_some_and(|(arrival, _)| *arrival <= at) {
                let (arrival, payload) = self.in_flight.remove(0);
                self.receiver.handle_payload(&payload, self.epoch + arrival).unwrap();
            }
            played.push(self.receiver.pull_frame(self.epoch + at));
            self.pulled += 1;
        }
        played
    }

    fn delay_ms(&self) -> u128 {
        self.receiver.statistics().delay.as_millis()
    }
}

/// Half a second of a 150 Hz buzz, 300 ms of silence, and so on.
fn voice(frame: u32) -> [f32; FRAME_SAMPLES] {
    std::array::from_fn(|at| {
        let sample = frame as usize * FRAME_SAMPLES + at;
        let phase = (sample % 320) as f32 / 320.0;
        if frame % 40 < 25 { (phase - 0.5) * 0.3 } else { 0.0 }
    })
}

/// Frames that were played as they were sent, by whatever way they came.
fn whole(frames: &[Frame]) -> usize {
    count(frames, Origin::Decoded) + count(frames, Origin::Repaired)
}

fn count(frames: &[Frame], origin: Origin) -> usize {
    frames.iter().filter(|frame| frame.origin == origin).count()
}

#[test]
fn on_a_still_path_every_frame_is_decoded_once_playout_has_begun() {
    let played = Line::new().run(200, |_| Some(40));
    let silent = played.iter().take_while(|frame| frame.origin == Origin::Silence).count();
    assert!((2..10).contains(&silent), "{silent}");
    assert_eq!(count(&played, Origin::Decoded), 200 - silent);
}

#[test]
fn packets_that_overtake_each_other_are_played_in_order() {
    let played = Line::new().run(300, |n| Some(if n % 7 == 3 { 75 } else { 40 }));
    assert_eq!(whole(&played[20..]), 280);
}

#[test]
fn duplicates_change_nothing() {
    let mut line = Line::new();
    line.run(50, |_| Some(40));
    let (now, twice) = (line.epoch + FRAME * 50, line.sender.push_frame(&voice(50), None).unwrap());
    line.sent += 1;
    for _ in 0..100 {
        line.receiver.handle_payload(&twice, now).unwrap();
    }
    assert_eq!(whole(&line.run(100, |_| Some(20))), 100);
    assert_eq!(line.receiver.statistics().loss_basis_points, 0);
}

#[test]
fn single_losses_are_repaired_and_counted() {
    let mut line = Line::new();
    let played = line.run(400, |n| (n % 10 != 5).then_some(40));
    assert_eq!(count(&played[20..], Origin::Concealed), 0);
    assert!(count(&played, Origin::Repaired) >= 38);
    assert!((950..=1_050).contains(&line.receiver.statistics().loss_basis_points));
}

#[test]
fn a_burst_of_six_is_repaired_once_bursts_were_reported() {
    let mut line = Line::new();
    let path = |n: u32| (n % 50 < 44).then_some(40);
    for _ in 0..30 {
        line.run(10, path);
        if let Some(report) = line.receiver.poll_report(line.epoch + FRAME * line.pulled) {
            line.sender.handle_report(&report);
        }
    }
    assert_eq!(line.sender.protection(), Protection::Spaced);
    let played = line.run(250, path);
    assert_eq!(count(&played, Origin::Concealed), 0);
    assert!(count(&played, Origin::Repaired) >= 28);
}

#[test]
fn a_long_loss_fades_to_silence_and_speech_comes_back() {
    let mut line = Line::new();
    line.run(100, |_| Some(40));
    let gap = line.run(100, |_| None);
    assert!(gap.last().unwrap().samples.iter().all(|sample| *sample == 0.0));
    let back = line.run(100, |_| Some(40));
    assert_eq!(whole(&back[20..]), 80);
}

#[test]
fn delay_grows_with_jitter_and_shrinks_when_it_is_gone() {
    let mut line = Line::new();
    line.run(500, |_| Some(40));
    let still = line.delay_ms();
    line.run(1_000, |n| Some(if n % 9 == 0 { 160 } else { 40 }));
    let rough = line.delay_ms();
    line.run(2_000, |_| Some(40));
    let again = line.delay_ms();
    assert!(rough > 110 && still < 90 && again < 90, "{still} {rough} {again}");
}

#[test]
fn delay_shrinks_when_bursts_are_gone() {
    let mut line = Line::new();
    for _ in 0..30 {
        line.run(10, |n| (n % 30 < 27).then_some(40));
        if let Some(report) = line.receiver.poll_report(line.epoch + FRAME * line.pulled) {
            line.sender.handle_report(&report);
        }
    }
    let lossy = line.delay_ms();
    line.sender.handle_report(&Report { expected: 250, ..Report::default() });
    line.run(2_000, |_| Some(40));
    assert!(lossy > 120 && line.delay_ms() < 90, "{lossy} {}", line.delay_ms());
}

#[test]
fn a_window_that_begins_anew_leaves_the_delay_alone() {
    let mut line = Line::new();
    let path = |n: u32| (n % 8 != 5).then_some(40);
    line.run(700, path);
    let before = line.delay_ms();
    for lost in [60, 25, 60, 25] {
        line.sender.handle_report(&Report { expected: 250, lost, runs: lost, jitter_ms: 0 });
        line.run(20, path);
        assert!(line.delay_ms().abs_diff(before) < 5, "{before} {}", line.delay_ms());
    }
}

#[test]
fn clocks_that_drift_as_far_apart_as_200_ppm_do_in_four_minutes_keep_the_delay() {
    // 1,000 ppm for 50 s.
    for drifted in [20_020, 19_980] {
        let mut line = Line { sender_frame: Duration::from_micros(drifted), ..Line::new() };
        line.run(500, |_| Some(40));
        let played = line.run(2_500, |_| Some(40));
        assert!((20..100).contains(&line.delay_ms()), "{}", line.delay_ms());
        assert!(count(&played, Origin::Concealed) <= 2, "{}", count(&played, Origin::Concealed));
    }
}

#[test]
fn a_call_handed_over_resumes_wherever_the_senders_time_has_gone() {
    for skipped in [0, 1, 100, 20_000, 40_000, 65_000] {
        let mut line = Line::new();
        line.run(200, |_| Some(40));
        line.run(100, |_| None);
        for _ in 0..skipped % 1_000 {
            line.sender.push_frame(&voice(0), None).unwrap();
        }
        line.sender.skip(skipped - skipped % 1_000);
        let back = line.run(150, |_| Some(90));
        assert!(whole(&back[50..]) >= 95, "{skipped}");
    }
}

#[test]
fn a_path_that_becomes_longer_for_good_is_followed() {
    let mut line = Line::new();
    line.run(200, |_| Some(40));
    line.run(300, |_| Some(900));
    assert_eq!(whole(&line.run(100, |_| Some(900))), 100);
}

#[test]
fn a_new_leg_begins_with_the_delay_that_the_old_one_learned() {
    let mut line = Line::new();
    line.run(1_500, |n| Some(if n % 9 == 0 { 160 } else { 40 }));
    line.receiver = line.receiver.for_new_leg().unwrap();
    let back = line.run(100, |n| Some(if n % 9 == 0 { 160 } else { 40 }));
    assert!(whole(&back[20..]) >= 78);
    assert!(line.delay_ms() > 110);
}

#[test]
fn protection_rises_at_once_and_falls_slowly() {
    let mut sender = Sender::new().unwrap();
    let mut after = |expected, lost, runs| {
        sender.handle_report(&Report { expected, lost, runs, jitter_ms: 0 });
        sender.protection()
    };
    assert_eq!(after(50, 0, 0), Protection::Cautious);
    assert_eq!(after(50, 10, 8), Protection::Cautious);
    assert_eq!(after(100, 0, 0), Protection::Light);
    assert_eq!(after(120, 2, 2), Protection::Close);
    assert_eq!(after(250, 60, 48), Protection::Dense);
    assert_eq!(after(250, 25, 8), Protection::Spaced);
    assert_eq!(after(250, 3, 3), Protection::Close);
    assert_eq!(after(250, 2, 2), Protection::Light);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn hostile_payloads_neither_panic_nor_grow_the_receiver(
        payloads in prop::collection::vec((0_u8..32, prop::collection::vec(any::<u8>(), 0..150), 0_u64..50), 1..200),
    ) {
        let mut line = Line::new();
        line.run(10, |_| Some(0));
        let mut now = line.epoch + FRAME * 10;
        for (flags, bytes, ms) in payloads {
            now += Duration::from_millis(ms);
            let payload = [&[flags][..], &bytes].concat();
            let _ = line.receiver.handle_payload(&payload, now);
            let frame = line.receiver.pull_frame(now);
            prop_assert!(frame.samples.iter().all(|sample| sample.is_finite()));
            prop_assert!(line.receiver.is_bounded());
        }
    }
}
