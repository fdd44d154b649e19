//! The worlds that every change is tried in. `AHOY_SIM_SEEDS` says how many; a failure names its seed.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use ahoy_core::DropCause;
use ahoy_proto::v1::Cause;
use ahoy_sim::{Broken, Checker, Fault, Plan, Summary, World};

/// Worlds in a usual run: a tenth of a second each.
const SEEDS: u64 = 100;

fn seeds() -> u64 {
    std::env::var("AHOY_SIM_SEEDS").map_or(SEEDS, |seeds| seeds.parse().expect("AHOY_SIM_SEEDS is a number"))
}

/// Plays the plans of the seeds on as many threads as there are.
fn play(seeds: u64, plan: impl Fn(u64) -> Plan + Sync) -> Vec<Result<Summary, Broken>> {
    let next = AtomicU64::new(0);
    let worker = || {
        let mut played = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return played;
            }
            played.push(World::run(plan(seed)));
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a world does not panic")).collect()
    })
}

#[test]
fn every_rule_holds_in_every_world_and_the_worlds_are_eventful() {
    let mut all = Summary::default();
    for played in play(seeds(), Plan::of_seed) {
        let seen = played.unwrap_or_else(|broken| {
            let chronicle = broken.chronicle.join("\n");
            panic!("{chronicle}\n{broken}\nreplay: cargo run -p ahoy-sim -- --seed {}", broken.seed)
        });
        all.connected += seen.connected;
        all.letters += seen.letters;
        all.causes.extend(seen.causes);
        all.legs_returned += seen.legs_returned;
        all.supernode_deaths += seen.supernode_deaths;
        all.device_crashes += seen.device_crashes;
        for cause in DropCause::ALL {
            all.dropped[cause.index()] += seen.dropped[cause.index()];
        }
    }
    // A world in which nothing happens proves nothing.
    let causes = [
        Cause::HungUp,
        Cause::Cancelled,
        Cause::Declined,
        Cause::Busy,
        Cause::NoAnswer,
        Cause::Unreachable,
        Cause::AnsweredElsewhere,
        Cause::DeclinedElsewhere,
        Cause::Lost,
    ];
    let missing: Vec<_> = causes.into_iter().filter(|cause| !all.causes.contains(&i32::from(*cause))).collect();
    assert!(missing.is_empty(), "no call ended with {missing:?}");
    assert!(all.connected as u64 > 5 * seeds() && all.letters as u64 > 20 * seeds(), "{all:?}");
    assert!(all.legs_returned > seeds() && all.supernode_deaths > 10 && all.device_crashes > 10, "{all:?}");
    for cause in [DropCause::NoFlow, DropCause::ForeignFlow, DropCause::NoPeer] {
        assert!(all.dropped[cause.index()] > 0, "nothing was dropped as {cause:?}");
    }
}

#[test]
fn a_seed_replays() {
    for seed in [3, 8] {
        assert_eq!(World::run(Plan::of_seed(seed)), World::run(Plan::of_seed(seed)));
    }
}

/// Every planted mistake is found by one of the checkers that it is planted for.
fn found(fault: Fault, by: &[Checker]) {
    // Of one supernode: in a fleet the same mistake may show as another rule's breach first.
    let played = play(24, |seed| Plan { supernodes: 1, ..Plan::of_seed(seed) }.with(fault));
    let found: BTreeSet<_> = played.into_iter().filter_map(Result::err).map(|broken| broken.checker).collect();
    assert!(!found.is_empty() && found.iter().all(|checker| by.contains(checker)), "{fault:?} is found by {found:?}");
}

#[test]
fn a_relay_that_forgets_to_check_who_owns_a_flow_is_caught() {
    found(Fault::FlowOwnership, &[Checker::Authorised]);
}

#[test]
fn a_session_that_is_replaced_and_stays_is_caught() {
    found(Fault::KeepReplaced, &[Checker::OneSession, Checker::Bounds]);
}

#[test]
fn a_call_whose_end_is_not_told_is_caught() {
    found(Fault::SwallowCallEnded, &[Checker::Calls]);
}

#[test]
fn a_returned_leg_that_is_not_connected_is_caught() {
    found(Fault::SwallowLegUp, &[Checker::Calls]);
}

#[test]
fn a_timer_that_spins_is_caught() {
    found(Fault::EarlyTimers, &[Checker::NoSpin]);
}

#[test]
fn links_that_are_never_forgotten_are_caught() {
    found(Fault::ForgetLostLinks, &[Checker::Bounds, Checker::Presence]);
}

#[test]
fn a_store_that_forgets_is_caught() {
    found(Fault::StoreForgets, &[Checker::NothingLost]);
}

#[test]
fn a_message_that_is_appended_again_is_caught() {
    // A device that finds another entry where its own message was to be falls out of the group and never gets ready.
    found(Fault::AppendTwice, &[Checker::NothingTwice, Checker::NothingLost, Checker::Calls]);
}

#[test]
fn a_message_that_is_forgotten_after_its_acknowledgement_is_caught() {
    found(Fault::ForgetMessages, &[Checker::NothingLost, Checker::NothingTwice, Checker::Calls]);
}

#[test]
fn a_presence_that_is_not_told_is_caught() {
    found(Fault::SwallowPresence, &[Checker::Presence]);
}
