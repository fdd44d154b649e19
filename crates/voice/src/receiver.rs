//! The receiver: payloads in, in any order and at any time; one frame out whenever asked.
//!
//! Every frame number has a slot; a payload fills the slot of its own frame and of those that it helps to repair. Playout walks the slots at a delay
//! behind the fastest packets that jitter, and the reach of the repairs while packets are lost, demand; the delay grows and shrinks by time-stretching.
//!
//! Invariant: at most [`SLOTS_MAX`] slots and [`PENDING_MAX`] samples are held, and `pull_frame` always gives a whole frame.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::FRAME_SAMPLES;
use crate::arrivals::{Arrivals, FRAME_MS, LossWindow};
use crate::codec::{CodecError, Decoder, is_20_ms_frame};
use crate::level::{SILENCE_DBOV, level};
use crate::payload::{Payload, PayloadError, Report, Window};
use crate::repair::Repairer;
use crate::stretch::{self, LAG_MAX, OVERLAP};

/// 20 ms to play.
#[derive(Debug, Clone)]
pub struct Frame {
    /// 48 kHz mono, -1 to 1.
    pub samples: [f32; FRAME_SAMPLES],
    /// Where the latest of them came from.
    pub origin: Origin,
}

/// Where a frame came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Its own packet.
    Decoded,
    /// Repaired from later packets.
    Repaired,
    /// Invented from what came before.
    Concealed,
    /// Nothing to play: not begun, or nothing came for long.
    Silence,
}

/// How the receiver fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Packets lost on the way since the beginning, in hundredths of a percent.
    pub loss_basis_points: u16,
    /// Time that frames wait between the arrival of the fastest packets and being played, at present.
    pub delay: Duration,
    /// The same, mean over all frames played.
    pub delay_mean: Duration,
    /// Frames played from their own packets.
    pub decoded: u64,
    /// Frames repaired.
    pub repaired: u64,
    /// Frames invented.
    pub concealed: u64,
    /// Payloads that came after their frame was due and held nothing else of use.
    pub late: u64,
    /// Level of the frame played last, -dBov (RFC 6464).
    pub level: u8,
}

/// Turns payloads into frames for a speaker.
#[derive(Debug)]
pub struct Receiver {
    decoder: Decoder,
    /// When the first call came: the origin of all times below.
    epoch: Option<Instant>,
    arrivals: Arrivals,
    losses: LossWindow,
    repairer: Repairer,
    slots: BTreeMap<i64, Slot>,
    /// Highest frame number seen.
    newest: i64,
    /// Window of the repairs that come, and how many payloads in a row had a shorter one.
    window: Window,
    shorter: u32,
    playout: Option<Playout>,
    /// Decoded and not yet played.
    pending: Vec<f32>,
    late_in_a_row: u32,
    /// Frames in a row that are quiet against what was loud before.
    pause_frames: u32,
    /// Level of what is loud, falling slowly, -dBov.
    loud: f32,
    counts: Statistics,
    report_at: f64,
    delay_sum_ms: f64,
    delay_frames: u64,
}

/// Where playout stands.
#[derive(Debug, Clone, Copy)]
struct Playout {
    /// The frame to decode next.
    next: i64,
    /// Whether the first frame was played.
    begun: bool,
    /// Frames invented in a row.
    invented: u32,
    origin: Origin,
}

#[derive(Debug)]
struct Slot {
    frame: Vec<u8>,
    origin: Origin,
}

impl Receiver {
    /// A new receiver that knows nothing of the path.
    ///
    /// # Errors
    /// When memory is out.
    pub fn new() -> Result<Self, CodecError> {
        Ok(Self {
            decoder: Decoder::new()?,
            epoch: None,
            arrivals: Arrivals::new(),
            losses: LossWindow::default(),
            repairer: Repairer::default(),
            slots: BTreeMap::new(),
            newest: 0,
            window: WINDOW_AT_START,
            shorter: 0,
            playout: None,
            pending: Vec::with_capacity(PENDING_MAX),
            late_in_a_row: 0,
            pause_frames: 0,
            loud: f32::from(SILENCE_DBOV),
            counts: Statistics { level: SILENCE_DBOV, ..Statistics::default() },
            report_at: 0.0,
            delay_sum_ms: 0.0,
            delay_frames: 0,
        })
    }

    /// A receiver for the next leg of the same call: it begins with the delay that `self` learned.
    ///
    /// # Errors
    /// When memory is out.
    pub fn for_new_leg(&self) -> Result<Self, CodecError> {
        Ok(Self { arrivals: self.arrivals.for_new_leg(), ..Self::new()? })
    }

    /// Takes a payload that arrived; gives the report for our own sender that it carried, if any.
    ///
    /// # Errors
    /// When the bytes are no payload; nothing has changed then.
    pub fn handle_payload(&mut self, payload: &[u8], now: Instant) -> Result<Option<Report>, PayloadError> {
        let payload = Payload::parse(payload)?;
        let at = self.ms(now);
        let index = self.index_of(payload.timestamp);
        let window = payload.window.unwrap_or(Window { near: 1, far: 1 });
        if self.jumped(index) {
            self.restart(index);
        }
        self.newest = self.newest.max(index);
        self.follow(window);
        self.arrivals.record(index, at);
        self.losses.record(index);
        if self.playout.is_none() {
            self.playout = Some(Playout { next: index, begun: false, invented: 0, origin: Origin::Silence });
        }
        let mut useful = self.store(index, payload.primary, Origin::Decoded);
        for (number, frame) in self.repairer.handle(index, payload.primary, window, &payload.repairs) {
            useful |= self.store(number, &frame, Origin::Repaired);
        }
        self.counts.late += u64::from(!useful);
        Ok(payload.report)
    }

    /// The next 20 ms to play. Ask every 20 ms by the speaker's clock.
    pub fn pull_frame(&mut self, now: Instant) -> Frame {
        let at = self.ms(now);
        let mut samples = [0.0; FRAME_SAMPLES];
        let origin = self.fill(at, &mut samples);
        self.counts.level = level(&samples);
        match origin {
            Origin::Decoded => self.counts.decoded += 1,
            Origin::Repaired => self.counts.repaired += 1,
            Origin::Concealed => self.counts.concealed += 1,
            Origin::Silence => {}
        }
        Frame { samples, origin }
    }

    /// The report to send, when one is due.
    pub fn poll_report(&mut self, now: Instant) -> Option<Report> {
        let at = self.ms(now);
        let report = self.losses.report();
        if at < self.report_at || report.expected == 0 {
            return None;
        }
        self.report_at = at + REPORT_INTERVAL_MS;
        let jitter_ms = self.arrivals.quantile(0.95).min(255.0) as u8;
        Some(Report { jitter_ms, ..report })
    }

    /// How it fares.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let (expected, lost) = self.losses.totals();
        let mean = self.delay_sum_ms / self.delay_frames.max(1) as f64;
        Statistics {
            loss_basis_points: (lost * 10_000).checked_div(expected).unwrap_or(0) as u16,
            delay_mean: Duration::from_secs_f64(mean.max(0.0) / 1_000.0),
            ..self.counts
        }
    }

    #[cfg(test)]
    pub(crate) fn is_bounded(&self) -> bool {
        self.slots.len() <= SLOTS_MAX && self.pending.len() <= PENDING_MAX
    }

    fn ms(&mut self, now: Instant) -> f64 {
        let epoch = *self.epoch.get_or_insert(now);
        now.saturating_duration_since(epoch).as_secs_f64() * 1_000.0
    }

    /// The frame number nearest to the newest that `timestamp` can mean.
    fn index_of(&self, timestamp: u16) -> i64 {
        let distance = timestamp.wrapping_sub(self.newest as u16).cast_signed();
        self.newest + i64::from(distance)
    }

    /// Whether the sender's time has left the one that we play by.
    fn jumped(&self, index: i64) -> bool {
        let Some(playout) = self.playout else { return false };
        let ahead = index - playout.next;
        let starving = playout.begun && playout.invented > STARVING_FRAMES;
        !(-AHEAD_MAX..=AHEAD_MAX).contains(&ahead)
            || (ahead < 0 && (starving || self.late_in_a_row > LATE_IN_A_ROW_MAX))
            || (starving && ahead > STARVED_AHEAD_MAX)
    }

    fn restart(&mut self, index: i64) {
        self.arrivals.restart();
        self.repairer.clear();
        self.slots.clear();
        self.playout = None;
        self.newest = index;
        self.late_in_a_row = 0;
    }

    /// Keeps a frame for its time; says whether it is of use.
    fn store(&mut self, index: i64, frame: &[u8], origin: Origin) -> bool {
        let Some(playout) = &mut self.playout else { return false };
        if !playout.begun && index < playout.next {
            playout.next = index;
        }
        if index < playout.next {
            if origin == Origin::Decoded {
                self.late_in_a_row += 1;
            }
            return false;
        }
        if origin == Origin::Decoded {
            self.late_in_a_row = 0;
        }
        if !is_20_ms_frame(frame) {
            return false;
        }
        let known = self.slots.contains_key(&index);
        self.slots.entry(index).or_insert_with(|| Slot { frame: frame.to_vec(), origin });
        while self.slots.len() > SLOTS_MAX {
            self.slots.pop_first();
        }
        !known
    }

    /// Grows at once; shrinks only when it is for good, not while a sender begins its window anew.
    fn follow(&mut self, window: Window) {
        self.shorter = if window.far < self.window.far { self.shorter + 1 } else { 0 };
        if window.far >= self.window.far || self.shorter > SHORTER_MAX {
            (self.window, self.shorter) = (window, 0);
        }
    }

    /// The delay that the path demands, in ms.
    fn target_ms(&self) -> f64 {
        if self.losses.lossy() || !self.losses.mature() {
            let reach = f64::from(self.window.far) * FRAME_MS;
            let once = self.window.near == self.window.far;
            let share = if once { ONCE_SHARE } else { BRISK_SHARE };
            return (reach + self.arrivals.quantile(share)).min(TARGET_MAX_MS);
        }
        (self.arrivals.quantile(PATIENT_SHARE) + PATIENT_MARGIN_MS).min(TARGET_MAX_MS)
    }

    fn fill(&mut self, at: f64, samples: &mut [f32; FRAME_SAMPLES]) -> Origin {
        let (Some(mut playout), Some(base)) = (self.playout, self.arrivals.base()) else { return Origin::Silence };
        let target = self.target_ms();
        if !playout.begun {
            if at - base - (playout.next as f64 * FRAME_MS) < target - FRAME_MS {
                return Origin::Silence;
            }
            playout.begun = true;
        }
        // Delay of a frame decoded now; with what is pending before it, of a frame played now.
        let mut delay = at - base - playout.next as f64 * FRAME_MS;
        let mut stretched = false;
        while self.pending.len() < FRAME_SAMPLES {
            self.decode_next(&mut playout, delay < target);
            delay = at - base - playout.next as f64 * FRAME_MS + self.pending.len() as f64 / SAMPLES_PER_MS;
            if !stretched {
                stretched = self.stretch(&mut playout, delay, target);
                delay = at - base - playout.next as f64 * FRAME_MS + self.pending.len() as f64 / SAMPLES_PER_MS;
            }
        }
        samples.copy_from_slice(&self.pending[..FRAME_SAMPLES]);
        self.pending.drain(..FRAME_SAMPLES);
        self.playout = Some(playout);
        self.counts.delay = Duration::from_secs_f64(delay.max(0.0) / 1_000.0);
        self.delay_sum_ms += delay;
        self.delay_frames += 1;
        playout.origin
    }

    /// Decodes or invents one frame onto `pending`. `early`: the delay is below its target, so it may grow.
    fn decode_next(&mut self, playout: &mut Playout, early: bool) {
        let mut decoded = [0.0; FRAME_SAMPLES];
        let slot = self.slots.remove(&playout.next);
        let origin = match slot {
            Some(slot) if self.decoder.decode(&slot.frame, &mut decoded).is_ok() => slot.origin,
            _ => self.invent(playout, early, &mut decoded),
        };
        if matches!(origin, Origin::Decoded | Origin::Repaired) {
            playout.invented = 0;
            playout.next += 1;
        }
        playout.origin = origin;
        let level = f32::from(level(&decoded));
        self.loud = (self.loud + LOUD_FALL).min(level);
        self.pause_frames =
            if level > self.loud + PAUSE_BELOW_LOUD || level > PAUSE_LEVEL { self.pause_frames + 1 } else { 0 };
        self.pending.extend(decoded);
    }

    /// Conceals, fading out; steps on unless nothing newer came and there is delay to gain.
    fn invent(&mut self, playout: &mut Playout, early: bool, decoded: &mut [f32; FRAME_SAMPLES]) -> Origin {
        let starved = self.slots.is_empty();
        let hold = starved && playout.invented < HOLD_FRAMES_MAX && (early || !self.losses.lossy());
        if !hold {
            playout.next += 1;
        }
        playout.invented += 1;
        if playout.invented > FADE_FRAMES.1 || self.decoder.conceal(decoded).is_err() {
            decoded.fill(0.0);
            return Origin::Silence;
        }
        let span = ((FADE_FRAMES.1 - FADE_FRAMES.0) as usize * FRAME_SAMPLES) as f32;
        let into = playout.invented.saturating_sub(FADE_FRAMES.0 + 1) as usize * FRAME_SAMPLES;
        if playout.invented > FADE_FRAMES.0 {
            for (at, sample) in decoded.iter_mut().enumerate() {
                *sample *= 1.0 - (into + at) as f32 / span;
            }
        }
        Origin::Concealed
    }

    /// Brings the delay nearer to its target, where the sound allows; says whether it did.
    fn stretch(&mut self, playout: &mut Playout, delay: f64, target: f64) -> bool {
        let excess = delay - target - (self.pending.len() % FRAME_SAMPLES) as f64 / SAMPLES_PER_MS;
        let pause = self.pause_frames >= PAUSE_FRAMES;
        let tolerance = match excess > 0.0 {
            _ if !pause => FAR_MS,
            true if self.pause_frames < LONG_PAUSE_FRAMES => SLACK_SHORT_PAUSE_MS,
            true => SLACK_MS,
            false if self.losses.lossy() => LACK_MS,
            false => PATIENT_MARGIN_MS,
        };
        if playout.invented > 0 || excess.abs() < tolerance {
            return false;
        }
        if excess > 0.0 {
            // One more frame in hand, so that a whole one is left after the cut.
            while self.pending.len() < FRAME_SAMPLES + LAG_MAX {
                if !self.slots.contains_key(&playout.next) {
                    return false;
                }
                self.decode_next(playout, false);
            }
        }
        let lag_max = ((excess.abs() * SAMPLES_PER_MS) as usize).min(self.pending.len() - OVERLAP);
        let seam = stretch::find_seam(&self.pending, lag_max);
        if !pause && seam.likeness < LIKENESS_IN_SPEECH {
            return false;
        }
        if excess > 0.0 {
            stretch::shorten(&mut self.pending, seam);
        } else {
            stretch::lengthen(&mut self.pending, seam);
        }
        true
    }
}

/// Frames kept for later: 2 s, and the reach of the repairs before them.
const SLOTS_MAX: usize = 120;

/// Samples decoded ahead: a frame, a lag, and the frame that completes them.
const PENDING_MAX: usize = 2 * FRAME_SAMPLES + 2 * LAG_MAX;

const SAMPLES_PER_MS: f64 = 48.0;

/// A report's place is kept free in every payload, so reporting often costs nothing, and a lost report little.
const REPORT_INTERVAL_MS: f64 = 40.0;

/// A frame 2 s from the one due belongs to another time.
const AHEAD_MAX: i64 = 100;

/// Nothing came for 500 ms: what comes next may set the time anew.
const STARVING_FRAMES: u32 = 25;

/// After starving, a frame that is more than this ahead sets the time anew: 500 ms.
const STARVED_AHEAD_MAX: i64 = 25;

/// 500 ms of nothing but late packets: the path has become longer.
const LATE_IN_A_ROW_MAX: u32 = 25;

/// Frames invented without stepping on, at most: 200 ms of a stalled path.
const HOLD_FRAMES_MAX: u32 = 10;

/// Concealment fades between these counts of invented frames: 200 ms and 500 ms.
const FADE_FRAMES: (u32, u32) = (10, 25);

/// Share of packets to wait for on a clean path, and a margin in ms: a late packet is a hole that is heard, and a path that
/// keeps order delays those behind it too.
const PATIENT_SHARE: f32 = 0.99;
const PATIENT_MARGIN_MS: f64 = 25.0;

/// Share of packets to wait for when they carry the last repair of a lost frame: both chances failing is rare.
const BRISK_SHARE: f32 = 0.9;

/// The same where a frame is repaired by one packet alone.
const ONCE_SHARE: f32 = 0.97;

/// The largest delay aimed at.
const TARGET_MAX_MS: f64 = 400.0;

/// A sender's window that begins anew is whole again after four payloads; 1 s of less is for good.
const SHORTER_MAX: u32 = 50;

/// What a sender begins with: so the first delay is one that need not change once the path is known to lose.
const WINDOW_AT_START: Window = Window { near: 1, far: 4 };

/// What may be missing from the target on a lossy path before the delay grows: each cut costs more than so little delay. On a
/// clean path the margin may be used up.
const LACK_MS: f64 = 15.0;

/// What the delay may have above its target before it shrinks: in a long pause, between phrases, and in a short one.
const SLACK_MS: f64 = 25.0;
const SLACK_SHORT_PAUSE_MS: f64 = 60.0;

/// Deviations that don't wait for a pause, and how alike both sides of a cut must then be.
const FAR_MS: f64 = 70.0;
const LIKENESS_IN_SPEECH: f32 = 0.9;

/// Quiet frames that make a pause, the best place to stretch: within speech even a whole pitch period is heard.
const PAUSE_FRAMES: u32 = 3;

/// 240 ms: a pause between phrases, where no one can tell that it became shorter.
const LONG_PAUSE_FRAMES: u32 = 12;

/// A frame is quiet so many dB below what was loud of late, or below this level in -dBov.
const PAUSE_BELOW_LOUD: f32 = 25.0;
const PAUSE_LEVEL: f32 = 50.0;

/// How fast the memory of what was loud falls, in dB a frame: 1 dB/s.
const LOUD_FALL: f32 = 0.02;
