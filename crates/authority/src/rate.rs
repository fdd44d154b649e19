//! Token buckets, in tables of fixed size.
//!
//! A bucket is found by a hash with a key that only this process knows, so that neither an address nor a name is kept
//! and nobody can aim at another's bucket. Two that meet in one bucket share it: with 6,500 active ones of 65,536, one
//! in ten has a companion.

use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ahoy_proto::{Name, UnixTime};

/// Buckets of one kind. Six kinds at 16 bytes each are 6 MiB.
const BUCKETS: usize = 65_536;

/// A burst, and how long one more takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// At once.
    pub burst: u32,
    /// From then on, one in this time.
    pub every: Duration,
}

/// How often whom may ask what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimits {
    /// Any request with a body, by address: a sign-in and its device are three, and a household shares an address.
    pub requests: Rate,
    /// Sign-ups, by address.
    pub sign_ups: Rate,
    /// Sign-ins and recoveries, by address.
    pub sign_ins: Rate,
    /// Sign-ins and recoveries of one name, by address: less than by name alone, so that one stranger can't use up
    /// what the owner needs.
    pub sign_ins_of_name_at_address: Rate,
    /// Sign-ins and recoveries of one name, from everywhere: 8,640 guesses a day at the most.
    pub sign_ins_of_name: Rate,
    /// Enrolments and renewals of supernodes, by address: a hall full of them behind one address renews hourly.
    pub supernodes: Rate,
}

impl Default for RateLimits {
    fn default() -> Self {
        let rate = |burst, every| Rate { burst, every: Duration::from_secs(every) };
        Self {
            requests: Rate { burst: 300, every: Duration::from_millis(200) },
            sign_ups: rate(20, 30),
            sign_ins: rate(30, 3),
            sign_ins_of_name_at_address: rate(10, 60),
            sign_ins_of_name: rate(30, 10),
            supernodes: rate(30, 10),
        }
    }
}

/// Refused; the same would be let through after this time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooMany {
    pub(crate) retry_after: Duration,
}

pub(crate) struct Limiter {
    /// Addresses that no limit of addresses holds for.
    unlimited: Vec<IpAddr>,
    requests: Buckets,
    sign_ups: Buckets,
    sign_ins: Buckets,
    sign_ins_of_name_at_address: Buckets,
    sign_ins_of_name: Buckets,
    supernodes: Buckets,
}

impl Limiter {
    pub(crate) fn new(limits: RateLimits, unlimited: Vec<IpAddr>) -> Self {
        Self {
            unlimited,
            requests: Buckets::new(limits.requests),
            sign_ups: Buckets::new(limits.sign_ups),
            sign_ins: Buckets::new(limits.sign_ins),
            sign_ins_of_name_at_address: Buckets::new(limits.sign_ins_of_name_at_address),
            sign_ins_of_name: Buckets::new(limits.sign_ins_of_name),
            supernodes: Buckets::new(limits.supernodes),
        }
    }

    pub(crate) fn request(&self, from: Option<IpAddr>, now: UnixTime) -> Result<(), TooMany> {
        self.by_address(&self.requests, from, now)
    }

    pub(crate) fn sign_up(&self, from: Option<IpAddr>, now: UnixTime) -> Result<(), TooMany> {
        self.by_address(&self.sign_ups, from, now)
    }

    pub(crate) fn sign_in(&self, from: Option<IpAddr>, name: &Name, now: UnixTime) -> Result<(), TooMany> {
        self.by_address(&self.sign_ins, from, now)?;
        self.sign_ins_of_name_at_address.take((network(from), name), now)?;
        self.sign_ins_of_name.take(name, now)
    }

    pub(crate) fn supernode(&self, from: Option<IpAddr>, now: UnixTime) -> Result<(), TooMany> {
        self.by_address(&self.supernodes, from, now)
    }

    fn by_address(&self, buckets: &Buckets, from: Option<IpAddr>, now: UnixTime) -> Result<(), TooMany> {
        let is_unlimited = from.is_some_and(|from| self.unlimited.contains(&from.to_canonical()));
        if is_unlimited { Ok(()) } else { buckets.take(network(from), now) }
    }
}

struct Buckets {
    rate: Rate,
    hasher: RandomState,
    /// When each bucket will be full again, in time since the Unix epoch. Those in the past are full.
    full_at: Mutex<Box<[Duration]>>,
}

impl Buckets {
    fn new(rate: Rate) -> Self {
        let full_at = Mutex::new(vec![Duration::ZERO; BUCKETS].into_boxed_slice());
        Self { rate, hasher: RandomState::new(), full_at }
    }

    fn take(&self, key: impl Hash, now: UnixTime) -> Result<(), TooMany> {
        let now = Duration::from_secs(now.0);
        let empty = self.rate.every * self.rate.burst;
        let bucket = self.hasher.hash_one(key) as usize % BUCKETS;
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        // No later than an empty bucket's, or a clock that was put back would lock people out.
        full_at[bucket] = full_at[bucket].clamp(now, now + empty);
        let full = full_at[bucket] + self.rate.every;
        let retry_after = full.saturating_sub(now + empty);
        if !retry_after.is_zero() {
            return Err(TooMany { retry_after });
        }
        full_at[bucket] = full;
        Ok(())
    }
}

/// Whoever has one address of an IPv6 network has them all: its first 64 bits count.
fn network(address: Option<IpAddr>) -> Option<u64> {
    match address? {
        IpAddr::V4(address) => Some(u64::from(address.to_bits())),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(address) => Some(u64::from(address.to_bits())),
            None => Some((address.to_bits() >> 64) as u64),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { burst: 3, every: Duration::from_secs(10) };

    fn wait(buckets: &Buckets, key: u32, now: u64) -> u64 {
        buckets.take(key, UnixTime(now)).map_or_else(|refused| refused.retry_after.as_secs(), |()| 0)
    }

    #[test]
    fn a_burst_passes_and_then_one_at_a_time() {
        let buckets = Buckets::new(RATE);
        assert_eq!([1000, 1000, 1000, 1000].map(|now| wait(&buckets, 1, now)), [0, 0, 0, 10]);
        assert_eq!([1004, 1010, 1010].map(|now| wait(&buckets, 1, now)), [6, 0, 10]);
        assert_eq!(wait(&buckets, 2, 1010), 0, "another's bucket");
        assert_eq!([2000; 4].map(|now| wait(&buckets, 1, now)), [0, 0, 0, 10], "full again, and no fuller");
    }

    #[test]
    fn a_clock_that_was_put_back_locks_nobody_out_for_longer_than_a_burst() {
        let buckets = Buckets::new(RATE);
        assert_eq!([1_000_000; 3].map(|now| wait(&buckets, 1, now)), [0; 3]);
        assert_eq!([1000, 1010].map(|now| wait(&buckets, 1, now)), [10, 0]);
    }

    #[test]
    fn addresses_of_one_ipv6_network_share_a_bucket_and_others_do_not() {
        let key = |text: &str| network(Some(text.parse().unwrap()));
        assert_eq!(key("2001:db8:0:1::1"), key("2001:db8:0:1:ffff::2"));
        assert_ne!(key("2001:db8:0:1::1"), key("2001:db8:0:2::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
    }

    #[test]
    fn an_address_that_is_unlimited_can_still_not_guess_at_one_name() {
        let limits = RateLimits { sign_ups: RATE, sign_ins: RATE, requests: RATE, ..RateLimits::default() };
        let from = |text: &str| Some(text.parse().unwrap());
        let (known, now) = (from("192.0.2.1").unwrap(), UnixTime(1_000));
        let limiter = Limiter::new(limits, vec![known]);
        for address in ["192.0.2.1", "::ffff:192.0.2.1"].map(from) {
            assert!(
                (0..100).all(|_| limiter.sign_up(address, now).and_then(|()| limiter.request(address, now)).is_ok())
            );
        }
        assert!((0..100).any(|_| limiter.sign_up(from("192.0.2.2"), now).is_err()));
        assert!((0..100).any(|_| limiter.sign_up(None, now).is_err()));
        let name = Name::parse("alice").unwrap();
        assert!((0..100).any(|_| limiter.sign_in(Some(known), &name, now).is_err()));
    }
}
