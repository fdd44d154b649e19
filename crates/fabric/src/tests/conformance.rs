//! One suite, run on every kind of fabric.

use std::{collections::BTreeSet, time::Instant};

use ahoy_proto::NetworkId;

use super::*;
use crate::{
    LEASE, RENEW_EVERY,
    testing::{RedisCluster, RedisSentinel, RedisServer},
};

/// Makes each behaviour a test of its own on the fabrics that start at once, and one test of them all on those that take seconds.
macro_rules! conformance {
    ($($behaviour:ident)*) => {
        mod local {
            $(#[tokio::test] async fn $behaviour() { super::$behaviour(Fleet::new(&Fabric::default())).await; })*
            use super::*;
        }

        mod single {
            $(#[tokio::test] async fn $behaviour() {
                let server = RedisServer::start();
                super::$behaviour(Fleet::new(&valkey(&server.url()))).await;
            })*
            use super::*;
        }

        /// Side by side, each in a network of its own.
        async fn all(fabric: Fabric) {
            tokio::join!($($behaviour(Fleet::new(&fabric))),*);
        }
    };
}

conformance! {
    members_see_each_other
    changes_are_seen_at_once
    figures_are_seen_with_the_next_renewal
    a_leave_is_seen_at_once
    who_dies_is_gone_when_its_lease_is_over
    a_later_life_takes_the_place_of_an_earlier
    an_earlier_life_neither_replaces_nor_ends_a_later
    only_the_roster_counts
    networks_do_not_see_each_other
}

#[tokio::test]
async fn the_same_holds_behind_sentinels() {
    let servers = RedisSentinel::start();
    all(valkey(&servers.url())).await;
}

#[tokio::test]
async fn the_same_holds_on_a_cluster() {
    let servers = RedisCluster::start();
    all(valkey(&servers.url())).await;
}

fn valkey(url: &str) -> Fabric {
    Fabric::Valkey(url.parse().unwrap())
}

async fn members_see_each_other(fleet: Fleet) {
    let (first, second, third) = (fleet.join(0), fleet.join(1), fleet.join(2));
    for membership in [&first, &second, &third] {
        let members = fleet.until(membership, &[(0, 1), (1, 1), (2, 1)]).await;
        assert_eq!(members.leases[&fleet.roster[1]], fleet.lease(1, 1));
    }
}

/// Were they seen with the next look only, each would take about a second.
async fn changes_are_seen_at_once(fleet: Fleet) {
    let (first, second) = (fleet.join(0), fleet.join(1));
    fleet.until(&first, &[(0, 1), (1, 1)]).await;
    let started = Instant::now();
    for round in 1..=10 {
        second.set_draining(round % 2 == 1);
        until(&mut first.members(), |members| members.leases[&fleet.roster[1]].draining == (round % 2 == 1)).await;
    }
    assert!(started.elapsed() < RENEW_EVERY * 5, "{:?}", started.elapsed());
}

async fn figures_are_seen_with_the_next_renewal(fleet: Fleet) {
    let (first, second) = (fleet.join(0), fleet.join(1));
    fleet.until(&first, &[(0, 1), (1, 1)]).await;
    let figures =
        Figures { sessions: 7, sessions_max: 100, calls: 3, legs: 5, supernodes: 2, load_permille: 1, lag_ms: 9 };
    second.set_figures(figures);
    until(&mut first.members(), |members| members.leases[&fleet.roster[1]].figures == figures).await;
}

/// By itself, a lease that was renewed a moment ago would last for two seconds more at least.
async fn a_leave_is_seen_at_once(fleet: Fleet) {
    let (first, second) = (fleet.join(0), fleet.join(1));
    fleet.until(&first, &[(0, 1), (1, 1)]).await;
    let started = Instant::now();
    second.leave().await;
    fleet.until(&first, &[(0, 1)]).await;
    assert!(started.elapsed() < LEASE - RENEW_EVERY, "{:?}", started.elapsed());
}

async fn who_dies_is_gone_when_its_lease_is_over(fleet: Fleet) {
    let (first, second) = (fleet.join(0), fleet.join(1));
    fleet.until(&first, &[(0, 1), (1, 1)]).await;
    fleet.until(&second, &[(0, 1), (1, 1)]).await;
    let started = Instant::now();
    drop(second);
    fleet.until(&first, &[(0, 1)]).await;
    // A lease, the look after it, and a second that a busy machine may take.
    assert!(started.elapsed() < LEASE + RENEW_EVERY * 2, "{:?}", started.elapsed());
}

async fn a_later_life_takes_the_place_of_an_earlier(fleet: Fleet) {
    let (first, second) = (fleet.join(0), fleet.join(1));
    fleet.until(&first, &[(0, 1), (1, 1)]).await;
    let later = fleet.join_as(1, 2);
    for membership in [&first, &second, &later] {
        fleet.until(membership, &[(0, 1), (1, 2)]).await;
    }
}

async fn an_earlier_life_neither_replaces_nor_ends_a_later(fleet: Fleet) {
    let later = fleet.join_as(1, u64::MAX);
    fleet.until(&later, &[(1, u64::MAX)]).await;
    let earlier = fleet.join_as(1, 2);
    fleet.until(&earlier, &[(1, u64::MAX)]).await;
    earlier.leave().await;
    // Whoever comes new believes nothing but what is there.
    let first = fleet.join(0);
    let members = until(&mut first.members(), |members| members.fresh).await;
    assert!(fleet.are(&members, &[(0, 1), (1, u64::MAX)]), "{members:?}");
}

async fn only_the_roster_counts(fleet: Fleet) {
    let (first, second) = (fleet.join(0), fleet.join(1));
    fleet.until(&first, &[(0, 1), (1, 1)]).await;
    first.set_roster([fleet.roster[0], fleet.roster[2]]);
    fleet.until(&first, &[(0, 1)]).await;
    fleet.until(&second, &[(0, 1), (1, 1)]).await;
    first.set_roster(fleet.roster.clone());
    fleet.until(&first, &[(0, 1), (1, 1)]).await;
    // Nobody is cut off from itself: it is in the roster in a moment.
    second.set_roster(BTreeSet::new());
    fleet.until(&second, &[(1, 1)]).await;
}

async fn networks_do_not_see_each_other(fleet: Fleet) {
    let other = Fleet { network: NetworkId(rand::random()), ..fleet.clone() };
    let (first, stranger, second) = (fleet.join(0), other.join(2), fleet.join(1));
    fleet.until(&first, &[(0, 1), (1, 1)]).await;
    other.until(&stranger, &[(2, 1)]).await;
    fleet.until(&second, &[(0, 1), (1, 1)]).await;
}
