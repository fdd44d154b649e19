//! The timeouts of a shard's connections: a binary heap with one entry a connection, moved in place.
//!
//! A timeout that moves to later (with every packet of an idle timer) is left where it is: the entry comes up early and
//! is set anew then. So the heap is touched a few times a second for a busy link and twice a minute for an idle one.

use std::time::Instant;

const NOWHERE: u32 = u32::MAX;

#[derive(Debug, Default)]
pub(crate) struct Timers {
    heap: Vec<(Instant, u32)>,
    /// Where in `heap` each key stands.
    places: Vec<u32>,
}

impl Timers {
    /// The key comes up at `at` or before.
    pub(crate) fn set(&mut self, key: usize, at: Instant) {
        if self.places.len() <= key {
            self.places.resize(key + 1, NOWHERE);
        }
        let place = self.places[key];
        if place == NOWHERE {
            let key = u32::try_from(key).expect("a shard holds fewer than 2^32 links");
            self.heap.push((at, key));
            self.rise(self.heap.len() - 1);
        } else if at < self.heap[place as usize].0 {
            self.heap[place as usize].0 = at;
            self.rise(place as usize);
        }
    }

    /// Forgets a key.
    pub(crate) fn remove(&mut self, key: usize) {
        let Some(place) = self.places.get(key).copied().filter(|place| *place != NOWHERE) else { return };
        self.remove_at(place as usize);
    }

    /// When the next key comes up.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.first().map(|(at, _)| *at)
    }

    /// Takes out the next key that is due.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<usize> {
        let (at, key) = *self.heap.first()?;
        if at > now {
            return None;
        }
        self.remove_at(0);
        Some(key as usize)
    }

    fn remove_at(&mut self, place: usize) {
        let (_, key) = self.heap.swap_remove(place);
        self.places[key as usize] = NOWHERE;
        if place < self.heap.len() {
            self.rise(place);
            self.sink(place);
        }
    }

    fn rise(&mut self, mut place: usize) {
        while place > 0 && self.heap[place].0 < self.heap[(place - 1) / 2].0 {
            self.swap(place, (place - 1) / 2);
            place = (place - 1) / 2;
        }
        self.settle(place);
    }

    fn sink(&mut self, mut place: usize) {
        loop {
            let children = 2 * place + 1..(2 * place + 3).min(self.heap.len());
            let Some(least) = children.min_by_key(|child| self.heap[*child].0) else { break };
            if self.heap[place].0 <= self.heap[least].0 {
                break;
            }
            self.swap(place, least);
            place = least;
        }
        self.settle(place);
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        self.settle(a);
        self.settle(b);
    }

    fn settle(&mut self, place: usize) {
        let key = self.heap[place].1 as usize;
        self.places[key] = u32::try_from(place).expect("a shard holds fewer than 2^32 links");
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Set(usize, u64),
        Remove(usize),
        PopUntil(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..20usize, 0..100u64).prop_map(|(key, at)| Step::Set(key, at)),
            1 => (0..20usize).prop_map(Step::Remove),
            1 => (0..100u64).prop_map(Step::PopUntil),
        ]
    }

    proptest! {
        #[test]
        fn keys_come_up_at_the_earliest_time_set_for_them(steps in proptest::collection::vec(step(), 0..200)) {
            let start = Instant::now();
            let at = |ms| start + Duration::from_millis(ms);
            let mut timers = Timers::default();
            let mut model = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Set(key, ms) => {
                        timers.set(key, at(ms));
                        let earliest = model.entry(key).or_insert(ms);
                        *earliest = (*earliest).min(ms);
                    }
                    Step::Remove(key) => {
                        timers.remove(key);
                        model.remove(&key);
                    }
                    Step::PopUntil(ms) => {
                        let mut popped: Vec<_> = std::iter::from_fn(|| timers.pop_due(at(ms))).collect();
                        popped.sort_unstable();
                        let due: Vec<_> = model.extract_if(.., |_, due| *due <= ms).map(|(key, _)| key).collect();
                        prop_assert_eq!(popped, due);
                    }
                }
                prop_assert_eq!(timers.next(), model.values().min().map(|ms| at(*ms)));
            }
        }
    }
}
