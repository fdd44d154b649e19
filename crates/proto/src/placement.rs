//! Placement: which supernode an account or a call is at home on, and in what order a client tries supernodes.
//!
//! Weighted rendezvous hashing: every candidate gets a score for the key from its id and weight alone, and the lowest wins.
//! So whoever knows the same candidates comes to the same answer without asking; when one goes away only its keys move, and
//! one that comes takes its share and nothing else. docs/protocol.md section 4.1 says the same to the bit.

use std::cmp::Ordering;
use std::time::Duration;

use crate::{AccountId, SupernodeId};

/// Round trips that differ from the best by no more than this count as equally good. It is 15 ms each way, less than a frame
/// of voice (20 ms), which nobody hears; supernodes of one region lie within it and other continents do not. Wider sends
/// people farther away than they need to go; narrower lets the chance of a measurement decide, and parts an account's devices.
pub const NEAR: Duration = Duration::from_millis(30);

/// A supernode that may be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Which.
    pub supernode: SupernodeId,
    /// Its share, relative to the others; 0: it takes nothing.
    pub weight: u32,
}

/// The index of the best candidate for a key (an account's or call's id), `None` when none takes anything. Allocates nothing.
pub fn best(key: &[u8; 16], candidates: &[Candidate]) -> Option<usize> {
    let key = mix_key(key);
    let mut best: Option<(usize, Score)> = None;
    for (index, candidate) in candidates.iter().enumerate().filter(|(_, candidate)| candidate.weight > 0) {
        let draw = draw(key, candidate.supernode);
        if best.as_ref().is_some_and(|(_, best)| best.surely_beats(draw, candidate.weight)) {
            continue;
        }
        let score = Score::new(draw, *candidate);
        if best.as_ref().is_none_or(|(_, best)| score.order(best).is_lt()) {
            best = Some((index, score));
        }
    }
    best.map(|(index, _)| index)
}

/// The indices of all candidates that take something, the best for the key first.
pub fn rank(key: &[u8; 16], candidates: &[Candidate]) -> Vec<usize> {
    let key = mix_key(key);
    let taking = candidates.iter().enumerate().filter(|(_, candidate)| candidate.weight > 0);
    let mut scores: Vec<(usize, Score)> =
        taking.map(|(index, candidate)| (index, Score::new(draw(key, candidate.supernode), *candidate))).collect();
    scores.sort_by(|(_, a), (_, b)| a.order(b));
    scores.into_iter().map(|(index, _)| index).collect()
}

/// The order in which a client of this account tries supernodes, given the round trips that it has measured: those within
/// [`NEAR`] of the best by rank, then those not measured by rank, then the others, nearest first. Leaves out those that take
/// nothing. Nothing measured: by rank.
pub fn choose(account: &AccountId, known: &[(Candidate, Option<Duration>)]) -> Vec<usize> {
    let candidates: Vec<Candidate> = known.iter().map(|(candidate, _)| *candidate).collect();
    let mut order = rank(&account.0, &candidates);
    let nearest = order.iter().filter_map(|&index| known[index].1).min();
    // Stable: what compares as equal stays by rank.
    order.sort_by_key(|&index| match (known[index].1, nearest) {
        (Some(round_trip), Some(nearest)) if round_trip > nearest.saturating_add(NEAR) => (2, round_trip),
        (Some(_), _) => (0, Duration::ZERO),
        (None, _) => (1, Duration::ZERO),
    });
    order
}

/// A candidate's score for a key is `cost / weight`; a fraction is kept so that comparing is exact.
struct Score {
    cost: u32,
    draw: u64,
    candidate: Candidate,
}

impl Score {
    fn new(draw: u64, candidate: Candidate) -> Self {
        Self { cost: cost(draw), draw, candidate }
    }

    /// The better score first. Equal ones (one comparison in millions) go by the draw, and the same supernode twice is a tie.
    fn order(&self, other: &Self) -> Ordering {
        let own = u64::from(self.cost) * u64::from(other.candidate.weight);
        let theirs = u64::from(other.cost) * u64::from(self.candidate.weight);
        own.cmp(&theirs).then(other.draw.cmp(&self.draw)).then(self.candidate.supernode.cmp(&other.candidate.supernode))
    }

    /// Whether this score is better than one of that draw and weight, without computing its cost: -log2(u) is at least
    /// 1 - u, and at equal weights the draw alone decides. Only saves time: `true` is what `order` would say as well.
    fn surely_beats(&self, draw: u64, weight: u32) -> bool {
        if weight == self.candidate.weight && draw != self.draw {
            return draw < self.draw;
        }
        let least = !draw >> (64 - FRACTION);
        u64::from(self.cost) * u64::from(weight) < least * u64::from(self.candidate.weight)
    }
}

/// SplitMix64's step and finalizer: 64 bits to 64 bits, each bit of the input moving each of the output half of the time.
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn halves(id: &[u8; 16]) -> (u64, u64) {
    let id = u128::from_be_bytes(*id);
    ((id >> 64) as u64, id as u64)
}

fn mix_key(key: &[u8; 16]) -> u64 {
    let (high, low) = halves(key);
    mix(mix(high) ^ low)
}

/// A number of 64 bits that looks random, the same for the same key and supernode.
fn draw(mixed_key: u64, supernode: SupernodeId) -> u64 {
    let (high, low) = halves(&supernode.0);
    mix(mix(mixed_key ^ high) ^ low)
}

/// Bits of [`cost`] after the point. With 24 a cost fits 30 bits and a comparison 62; of 1,000 candidates each gets its share to
/// 1 in 10,000.
const FRACTION: u32 = 24;

/// -log2(draw / 2^64) in fixed point, rounded up: from 1 to 64 · 2^24. Draws being uniform, costs are exponentially
/// distributed, and then the lowest of `cost / weight` falls to each in proportion to its weight. The logarithm comes digit
/// by digit: squaring doubles it, so whether the square reaches 2 is its next digit.
fn cost(draw: u64) -> u32 {
    let draw = draw.max(1);
    let zeros = draw.leading_zeros();
    let mut mantissa = u128::from(draw << zeros);
    let mut logarithm = 63 - zeros;
    for _ in 0..FRACTION {
        mantissa = (mantissa * mantissa) >> 63;
        let digit = (mantissa >> 64) as u32;
        mantissa >>= digit;
        logarithm = 2 * logarithm + digit;
    }
    (64 << FRACTION) - logarithm
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn candidates(weights: &[u32]) -> Vec<Candidate> {
        let named = |(number, &weight): (usize, &u32)| Candidate {
            supernode: SupernodeId::of_roster_key(&[number as u8; 32]),
            weight,
        };
        weights.iter().enumerate().map(named).collect()
    }

    fn key(number: u64) -> [u8; 16] {
        (u128::from(mix(2 * number)) << 64 | u128::from(mix(2 * number + 1))).to_be_bytes()
    }

    /// How many of the keys 0.. fall to each.
    fn shares(keys: u64, candidates: &[Candidate]) -> Vec<u64> {
        let mut shares = vec![0; candidates.len()];
        for number in 0..keys {
            shares[best(&key(number), candidates).unwrap()] += 1;
        }
        shares
    }

    /// Within five standard deviations: a right hash fails in one of 1.7 million.
    fn assert_share(share: u64, keys: u64, part: f64) {
        let (expected, spread) = (keys as f64 * part, (keys as f64 * part * (1.0 - part)).sqrt());
        assert!((share as f64 - expected).abs() <= 5.0 * spread, "{share} of {keys}, expected {expected}");
    }

    #[test]
    fn each_gets_its_share_by_weight() {
        let weights = [100, 0, 200, 50, 1, 649];
        for (share, weight) in shares(200_000, &candidates(&weights)).into_iter().zip(weights) {
            assert_share(share, 200_000, f64::from(weight) / 1000.0);
        }
    }

    #[test]
    fn a_hundred_alike_share_alike() {
        for share in shares(200_000, &candidates(&[7; 100])) {
            assert_share(share, 200_000, 0.01);
        }
    }

    /// Keys that people would take for tests, and that attackers would try.
    #[test]
    fn keys_that_are_counted_up_are_spread_like_others() {
        let all = candidates(&[1, 1, 1, 1]);
        let mut shares = [0; 4];
        for number in 0..40_000u128 {
            shares[best(&number.to_be_bytes(), &all).unwrap()] += 1;
        }
        for share in shares {
            assert_share(share, 40_000, 0.25);
        }
    }

    #[test]
    fn a_cost_is_the_logarithm_rounded_up() {
        for number in 0..10_000 {
            let draw = mix(number) >> (number % 64);
            let exact = (64.0 - (draw.max(1) as f64).log2()) * f64::from(1 << FRACTION);
            let error = f64::from(cost(draw)) - exact;
            assert!((-0.01..1.01).contains(&error), "cost({draw:#x}) is off by {error}");
        }
        assert_eq!(cost(0), 64 << FRACTION);
        assert_eq!(cost(1 << 63), 1 << FRACTION);
        assert_eq!(cost(u64::MAX), 1);
    }

    #[test]
    fn when_none_takes_anything_there_is_no_best() {
        assert_eq!(best(&key(1), &[]), None);
        assert_eq!(best(&key(1), &candidates(&[0, 0])), None);
        assert_eq!(rank(&key(1), &candidates(&[0, 0])), [0usize; 0]);
    }

    #[test]
    fn the_near_come_by_rank_then_the_unmeasured_then_the_far() {
        let all = candidates(&[1; 7]);
        let ms = |ms| Some(Duration::from_millis(ms));
        let times = [ms(90), ms(20), None, ms(50), ms(51), None, ms(35)];
        let known: Vec<_> = all.iter().copied().zip(times).collect();
        let account = AccountId(key(3));
        let by_rank = |of: &[usize]| -> Vec<usize> {
            rank(&account.0, &all).into_iter().filter(|index| of.contains(index)).collect()
        };
        let expected = [by_rank(&[1, 3, 6]), by_rank(&[2, 5]), vec![4, 0]].concat();
        assert_eq!(choose(&account, &known), expected);
        assert_ne!(
            by_rank(&[1, 3, 6]),
            [1, 6, 3],
            "an account for which rank and round trip say the same shows nothing"
        );
    }

    #[test]
    fn what_takes_nothing_is_neither_chosen_nor_a_measure() {
        let all = candidates(&[0, 1, 1]);
        let ms = |ms| Some(Duration::from_millis(ms));
        let known: Vec<_> = all.iter().copied().zip([ms(1), ms(100), ms(120)]).collect();
        let key = (0..).map(key).find(|key| rank(key, &all) == [2, 1]).unwrap();
        assert_eq!(choose(&AccountId(key), &known), [2, 1]);
    }

    prop_compose! {
        fn fleet()(weights in prop::collection::vec(prop_oneof![0..4u32, 0..1000u32], 1..20)) -> Vec<Candidate> {
            candidates(&weights)
        }
    }

    proptest! {
        #[test]
        fn the_best_is_the_first_of_the_rank(key: [u8; 16], fleet in fleet()) {
            prop_assert_eq!(best(&key, &fleet), rank(&key, &fleet).first().copied());
        }

        #[test]
        fn order_does_not_matter(key: [u8; 16], fleet in fleet(), turn in 0..20usize) {
            let mut turned = fleet.clone();
            turned.rotate_left(turn % fleet.len());
            let ids = |fleet: &[Candidate]| -> Vec<_> {
                rank(&key, fleet).into_iter().map(|index| fleet[index].supernode).collect()
            };
            prop_assert_eq!(ids(&fleet), ids(&turned));
        }

        /// Read from left to right one leaves, from right to left one comes.
        #[test]
        fn only_the_keys_of_who_leaves_or_comes_move(key: [u8; 16], fleet in fleet(), who in 0..20usize) {
            let who = fleet[who % fleet.len()].supernode;
            let without: Vec<_> = fleet.iter().copied().filter(|candidate| candidate.supernode != who).collect();
            let before = best(&key, &fleet).map(|index| fleet[index].supernode);
            let after = best(&key, &without).map(|index| without[index].supernode);
            prop_assert!(before == Some(who) || before == after);
        }

        #[test]
        fn more_weight_takes_keys_and_loses_none(key: [u8; 16], fleet in fleet(), who in 0..20usize, more in 1..1000u32) {
            let who = who % fleet.len();
            let mut heavier = fleet.clone();
            heavier[who].weight += more;
            let (before, after) = (best(&key, &fleet), best(&key, &heavier));
            prop_assert!(after == Some(who) || (after == before && before != Some(who)));
        }
    }
}
