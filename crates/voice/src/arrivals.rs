//! When packets arrive: the fastest path, how late the others are against it, and which never came.
//!
//! Invariant: fixed memory, whatever arrives.

use std::collections::VecDeque;

use crate::payload::Report;

/// Milliseconds of one frame.
pub(crate) const FRAME_MS: f64 = 20.0;

/// Arrival times, all in ms since the receiver's first payload.
#[derive(Debug, Clone)]
pub(crate) struct Arrivals {
    fastest: Option<Fastest>,
    /// Weight of each lateness, [`BIN_MS`] wide; the last takes all above.
    bins: [f32; BINS],
    seen: u32,
}

/// The lowest transit (arrival minus frame time) of this span of time and of the one before. Two spans forget
/// an old path, and follow drifting clocks, within 10 s, yet always hold at least 5 s of history.
#[derive(Debug, Clone, Copy)]
struct Fastest {
    since: f64,
    now: f64,
    before: f64,
}

impl Arrivals {
    pub(crate) fn new() -> Self {
        let mut bins = [0.0; BINS];
        bins[(JITTER_AT_START_MS / BIN_MS) as usize] = WEIGHT_AT_START;
        Self { fastest: None, bins, seen: 0 }
    }

    /// What is known of jitter, without the path's transit: for a new leg.
    pub(crate) fn for_new_leg(&self) -> Self {
        Self { fastest: None, ..self.clone() }
    }

    /// Takes the arrival of frame `index` at `at`.
    pub(crate) fn record(&mut self, index: i64, at: f64) {
        let transit = at - index as f64 * FRAME_MS;
        let fastest = self.fastest.get_or_insert(Fastest { since: at, now: transit, before: transit });
        if at - fastest.since > FASTEST_SPAN_MS {
            *fastest = Fastest { since: at, now: transit, before: fastest.now };
        }
        fastest.now = fastest.now.min(transit);
        let lateness = transit - fastest.now.min(fastest.before);
        self.seen = self.seen.saturating_add(1);
        let share = (1.0 / (self.seen as f32 + WEIGHT_AT_START)).max(SHARE_MIN);
        let total: f32 = self.bins.iter().sum();
        let keep = (1.0 - share) / total;
        for bin in &mut self.bins {
            *bin *= keep;
        }
        self.bins[((lateness / BIN_MS) as usize).min(BINS - 1)] += share;
    }

    /// Forgets the path, not its jitter: after a jump of the sender's or the path's time.
    pub(crate) fn restart(&mut self) {
        self.fastest = None;
    }

    /// Transit of the fastest packets of late, in ms; `None` before any.
    pub(crate) fn base(&self) -> Option<f64> {
        self.fastest.map(|fastest| fastest.now.min(fastest.before))
    }

    /// The lateness that `share` of all packets keep within, in ms.
    pub(crate) fn quantile(&self, share: f32) -> f64 {
        let total: f32 = self.bins.iter().sum();
        let mut below = 0.0;
        for (bin, weight) in self.bins.iter().enumerate() {
            below += weight;
            if below >= share * total {
                return (bin + 1) as f64 * BIN_MS;
            }
        }
        BINS as f64 * BIN_MS
    }
}

/// 5 ms: a quarter of a frame, finer than any jitter that matters.
const BIN_MS: f64 = 5.0;

/// Up to 500 ms; what is later than that is lost.
const BINS: usize = 100;

/// A packet's least share in the histogram: the past fades over 500 packets, 10 s.
const SHARE_MIN: f32 = 0.002;

/// Jitter assumed before anything is known, in ms, and the number of packets which that assumption is worth.
const JITTER_AT_START_MS: f64 = 30.0;
const WEIGHT_AT_START: f32 = 25.0;

const FASTEST_SPAN_MS: f64 = 5_000.0;

/// Which of the last packets came and which did not.
#[derive(Debug, Clone, Default)]
pub(crate) struct LossWindow {
    highest: Option<i64>,
    /// Bit k: whether `highest - k` came.
    recent: u64,
    /// Outcomes older than [`REORDER_PACKETS`], oldest first, `true` for lost; at most [`WINDOW_PACKETS`].
    outcomes: VecDeque<bool>,
    expected: u64,
    lost: u64,
}

impl LossWindow {
    /// Takes the arrival of packet `index`.
    pub(crate) fn record(&mut self, index: i64) {
        let Some(highest) = self.highest else {
            self.highest = Some(index);
            self.recent = u64::MAX;
            return;
        };
        let behind = highest - index;
        if (0..64).contains(&behind) {
            self.recent |= 1 << behind;
            return;
        }
        if !(-PAUSE_PACKETS..0).contains(&behind) {
            // The sender paused or began anew: nothing was lost between.
            self.highest = Some(index);
            self.recent = u64::MAX;
            return;
        }
        for _ in 0..-behind {
            self.recent <<= 1;
            self.settle(self.recent >> REORDER_PACKETS & 1 == 0);
        }
        self.recent |= 1;
        self.highest = Some(index);
    }

    fn settle(&mut self, lost: bool) {
        self.expected += 1;
        self.lost += u64::from(lost);
        self.outcomes.push_back(lost);
        if self.outcomes.len() > WINDOW_PACKETS {
            self.outcomes.pop_front();
        }
    }

    /// Packets expected and lost since the beginning.
    pub(crate) const fn totals(&self) -> (u64, u64) {
        (self.expected, self.lost)
    }

    /// The window's counts; jitter and delay are left at 0.
    pub(crate) fn report(&self) -> Report {
        let mut report = Report::default();
        let mut previous = false;
        for &lost in &self.outcomes {
            report.expected += 1;
            report.lost += u8::from(lost);
            report.runs += u8::from(lost && !previous);
            previous = lost;
        }
        report
    }

    /// Whether more than one packet in a hundred is lost of late.
    pub(crate) fn lossy(&self) -> bool {
        let report = self.report();
        u32::from(report.lost) * 100 > u32::from(report.expected)
    }

    /// Whether enough is known to call the path clean or not.
    pub(crate) fn mature(&self) -> bool {
        self.outcomes.len() >= MATURE_PACKETS
    }
}

/// 5 s: long enough to tell bursts from single losses, short enough to relax soon.
const WINDOW_PACKETS: usize = 250;

/// 2 s without loss: what a sender waits too before it relaxes.
const MATURE_PACKETS: usize = 100;

/// A packet overtaken by three others counts as lost; waiting longer only delays protection.
const REORDER_PACKETS: u32 = 3;

/// A gap of 1 s is no loss but a pause: a muted sender, a new leg.
const PAUSE_PACKETS: i64 = 50;
