//! A bad network in user space: a UDP proxy that delays, jitters and loses packets, the same way for the same seed.
//!
//! This module decides the fate of each packet and is pure; [`proxy`] moves the bytes.

pub mod proxy;

use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

pub use proxy::Proxy;

/// What one direction of the network does to packets. The default does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Impairment {
    /// Every packet takes at least this long.
    pub delay: Duration,
    /// Mean of the exponentially distributed time on top. Packets are held back so that they keep their order.
    pub jitter: Duration,
    /// Which packets are lost.
    pub loss: Loss,
}

impl Impairment {
    /// The wire that voice quality is measured on: 40 ms, exponential jitter of mean 10 ms, order kept.
    pub fn measured_wire(loss: Loss) -> Self {
        Self { delay: Duration::from_millis(40), jitter: Duration::from_millis(10), loss }
    }
}

/// Which packets are lost.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub enum Loss {
    /// None.
    #[default]
    None,
    /// Each with the same probability, whatever happened to the others.
    Random(f64),
    /// In runs (Gilbert's model): a share of all packets, in runs of a mean length.
    Bursts {
        /// Of all packets, 0 to below 1.
        share: f64,
        /// Packets lost in a row, 1 or more.
        mean_length: f64,
    },
}

/// Decides loss packet by packet.
#[derive(Debug)]
struct LossProcess {
    loss: Loss,
    in_burst: bool,
}

impl LossProcess {
    fn loses(&mut self, rng: &mut ChaCha8Rng) -> bool {
        match self.loss {
            Loss::None => false,
            Loss::Random(share) => rng.random::<f64>() < share,
            Loss::Bursts { share, mean_length } => {
                let leave = 1.0 / mean_length;
                let enter = leave * share / (1.0 - share);
                let change = if self.in_burst { leave } else { enter };
                self.in_burst ^= rng.random::<f64>() < change;
                self.in_burst
            }
        }
    }
}

/// One direction between one client and the far end.
#[derive(Debug)]
pub struct Path {
    impairment: Impairment,
    loss: LossProcess,
    rng: ChaCha8Rng,
    last_delivery: Option<Instant>,
}

impl Path {
    /// A direction whose packets meet the same fate, one after the other, for the same seed.
    pub fn new(impairment: Impairment, seed: u64) -> Self {
        let loss = LossProcess { loss: impairment.loss, in_burst: false };
        Self { impairment, loss, rng: ChaCha8Rng::seed_from_u64(seed), last_delivery: None }
    }

    /// When the packet that came at `now` is to be delivered; `None`: it is lost. Never before an earlier packet.
    pub fn fate(&mut self, now: Instant) -> Option<Instant> {
        // Both are drawn for every packet, so that one setting does not change another's draws.
        let lost = self.loss.loses(&mut self.rng);
        let jitter = self.impairment.jitter.mul_f64(-(1.0 - self.rng.random::<f64>()).ln());
        if lost {
            return None;
        }
        let delivery = now + self.impairment.delay + jitter;
        let delivery = self.last_delivery.map_or(delivery, |last| last.max(delivery));
        self.last_delivery = Some(delivery);
        Some(delivery)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKETS: usize = 100_000;

    /// For each packet sent every 20 ms: its time on the way.
    fn fates(impairment: Impairment, seed: u64) -> Vec<Option<Duration>> {
        let start = Instant::now();
        let mut path = Path::new(impairment, seed);
        let sent = |n: usize| start + Duration::from_millis(20) * u32::try_from(n).unwrap();
        (0..PACKETS).map(|n| path.fate(sent(n)).map(|delivery| delivery - sent(n))).collect()
    }

    fn lost_share(fates: &[Option<Duration>]) -> f64 {
        fates.iter().filter(|fate| fate.is_none()).count() as f64 / fates.len() as f64
    }

    #[test]
    fn random_loss_takes_its_share() {
        let share = lost_share(&fates(Impairment::measured_wire(Loss::Random(0.2)), 1));
        assert!((0.195..0.205).contains(&share), "{share}");
    }

    #[test]
    fn bursts_have_their_share_and_mean_length() {
        let fates = fates(Impairment::measured_wire(Loss::Bursts { share: 0.1, mean_length: 3.0 }), 2);
        let share = lost_share(&fates);
        let bursts = fates.windows(2).filter(|pair| pair[0].is_some() && pair[1].is_none()).count();
        let mean = share * PACKETS as f64 / bursts as f64;
        assert!((0.095..0.105).contains(&share), "{share}");
        assert!((2.85..3.15).contains(&mean), "{mean}");
    }

    #[test]
    fn delay_is_40_ms_and_jitter_of_mean_10_ms_that_keeps_the_order() {
        let start = Instant::now();
        let fates = fates(Impairment::measured_wire(Loss::None), 3);
        let least = fates.iter().flatten().min().unwrap();
        let mean = fates.iter().flatten().sum::<Duration>() / u32::try_from(PACKETS).unwrap();
        assert!(*least >= Duration::from_millis(40));
        // Holding back for order adds a little to 50 ms.
        assert!((49.0..53.0).contains(&(mean.as_secs_f64() * 1e3)), "{mean:?}");
        let mut path = Path::new(Impairment::measured_wire(Loss::None), 3);
        let burst: Vec<_> = (0..1000).filter_map(|_| path.fate(start)).collect();
        assert!(burst.is_sorted());
    }

    #[test]
    fn the_same_seed_gives_the_same_network() {
        let impairment = Impairment::measured_wire(Loss::Random(0.1));
        assert_eq!(fates(impairment, 7), fates(impairment, 7));
        assert_ne!(fates(impairment, 7), fates(impairment, 8));
    }
}
