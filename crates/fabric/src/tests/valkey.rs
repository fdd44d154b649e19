//! What Valkey's loss does, and what it can't do.

use std::time::Instant;

use super::*;
use crate::{
    ANSWER_MAX,
    testing::{RedisCluster, RedisSentinel, RedisServer},
};

fn fleet_on(url: &str) -> Fleet {
    Fleet::new(&Fabric::Valkey(url.parse().unwrap()))
}

async fn until_stale(fleet: &Fleet, membership: &Membership, lives: &[(usize, u64)]) {
    let members = until(&mut membership.members(), |members| !members.fresh).await;
    assert!(fleet.are(&members, lives), "those who were known are kept: {members:?}");
}

#[tokio::test]
async fn a_lost_valkey_costs_no_member_and_one_that_comes_back_empty_costs_none_either() {
    let mut server = RedisServer::start();
    let fleet = fleet_on(&server.url());
    let both = [(0, 1), (1, 1)];
    let (first, second) = (fleet.join(0), fleet.join(1));
    fleet.until(&first, &both).await;
    fleet.until(&second, &both).await;
    server.kill();
    until_stale(&fleet, &first, &both).await;
    until_stale(&fleet, &second, &both).await;
    let mut members = first.members();
    server.restart();
    let back = until(&mut members, |members| members.fresh).await;
    assert!(fleet.are(&back, &both), "the other may not have renewed its lease yet: {back:?}");
    // What is said from now on is heard again.
    second.set_draining(true);
    until(&mut members, |members| members.leases[&fleet.roster[1]].draining).await;
}

#[tokio::test]
async fn who_died_while_valkey_was_away_is_gone_soon_after() {
    let mut server = RedisServer::start();
    let fleet = fleet_on(&server.url());
    let (first, second) = (fleet.join(0), fleet.join(1));
    fleet.until(&first, &[(0, 1), (1, 1)]).await;
    server.kill();
    until_stale(&fleet, &first, &[(0, 1), (1, 1)]).await;
    drop(second);
    server.restart();
    fleet.until(&first, &[(0, 1)]).await;
}

#[tokio::test]
async fn a_valkey_that_does_not_answer_is_as_good_as_lost() {
    let server = RedisServer::start();
    let fleet = fleet_on(&server.url());
    let first = fleet.join(0);
    fleet.until(&first, &[(0, 1)]).await;
    server.freeze();
    until_stale(&fleet, &first, &[(0, 1)]).await;
    let started = Instant::now();
    let second = fleet.join(1);
    second.set_draining(true);
    second.leave().await;
    assert!(started.elapsed() < ANSWER_MAX * 2, "whoever leaves waits for a second at most: {:?}", started.elapsed());
    server.thaw();
    fleet.until(&first, &[(0, 1)]).await;
}

#[tokio::test]
async fn what_is_no_lease_is_counted_and_dropped() {
    let server = RedisServer::start();
    let fleet = fleet_on(&server.url());
    let first = fleet.join(0);
    fleet.until(&first, &[(0, 1)]).await;
    let key = |number: usize| format!("ahoy:{{{}}}:lease:{}", fleet.network.to_hex(), fleet.roster[number].to_hex());
    let set = |key: String, value: &[u8]| -> () { server.ask(redis::cmd("SET").arg(key).arg(value)) };
    set(key(1), &fleet.lease(2, 1).encode());
    set(key(2), &vec![b'f'; 100_000]);
    // Of no type that a lease has: as good as none.
    let _: () = server.ask(redis::cmd("RPUSH").arg(key(3)).arg("x"));
    // In the way of the owner, who is not impressed.
    set(key(0), b"zzzzzzzzzzzzzzzzz");
    let (mut members, counted) = (first.members(), first.counters.invalid.get());
    first.set_draining(true);
    let seen = until(&mut members, |members| members.leases[&fleet.roster[0]].draining).await;
    assert!(fleet.are(&seen, &[(0, 1)]), "{seen:?}");
    assert!(first.counters.invalid.get() >= counted + 2);
    let (second, third, fourth) = (fleet.join(1), fleet.join(2), fleet.join(3));
    for membership in [&first, &second, &third, &fourth] {
        fleet.until(membership, &[(0, 1), (1, 1), (2, 1), (3, 1)]).await;
    }
}

#[tokio::test]
async fn a_failover_by_sentinels_is_followed() {
    let mut servers = RedisSentinel::start();
    let fleet = fleet_on(&servers.url());
    let both = [(0, 1), (1, 1)];
    let (first, second) = (fleet.join(0), fleet.join(1));
    fleet.until(&first, &both).await;
    servers.primary.kill();
    second.set_draining(true);
    let drained = |members: &Members| members.fresh && members.leases[&fleet.roster[1]].draining;
    let members = until(&mut first.members(), drained).await;
    assert!(fleet.are(&members, &both));
    let role: redis::Value = servers.replica.ask(&redis::cmd("ROLE"));
    assert!(format!("{role:?}").contains("master"), "{role:?}");
}

#[tokio::test]
async fn any_node_of_a_cluster_shows_the_way() {
    let servers = RedisCluster::start();
    let ports = servers.nodes.iter().map(RedisServer::port);
    let fleets: Vec<Fleet> = ports.map(|port| fleet_on(&format!("redis-cluster://127.0.0.1:{port}"))).collect();
    let network = fleets[0].network;
    // Two of the three at least are not the one that has the keys.
    let joined: Vec<Membership> =
        fleets.iter().enumerate().map(|(number, fleet)| Fleet { network, ..fleet.clone() }.join(number)).collect();
    for membership in &joined {
        fleets[0].until(membership, &[(0, 1), (1, 1), (2, 1)]).await;
    }
}

#[tokio::test]
async fn a_password_is_shown_to_valkey_and_a_wrong_one_holds_up_nobody() {
    let server = RedisServer::start_with(&["--requirepass", "sesame seeds"]);
    let right = fleet_on(&format!("redis://:sesame%20seeds@127.0.0.1:{}", server.port()));
    let first = right.join(0);
    right.until(&first, &[(0, 1)]).await;
    let wrong = fleet_on(&format!("redis://:sesame@127.0.0.1:{}", server.port()));
    let second = wrong.join(1);
    let failures = || async {
        while second.counters.failures.get() == 0 {
            tokio::task::yield_now().await
        }
    };
    tokio::time::timeout(DEADLINE, failures()).await.expect("it is refused");
    assert!(!second.members().borrow().fresh);
    second.leave().await;
}

#[tokio::test]
async fn metrics_tell_how_it_is() {
    let mut server = RedisServer::start();
    let fleet = fleet_on(&server.url());
    let (first, _second) = (fleet.join(0), fleet.join(1));
    let mut registry = prometheus_client::registry::Registry::default();
    first.register(&mut registry);
    let shown = || {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    };
    fleet.until(&first, &[(0, 1), (1, 1)]).await;
    assert!(shown().contains("ahoy_fabric_fresh 1\n") && shown().contains("ahoy_fabric_leases 2\n"), "{}", shown());
    server.kill();
    until_stale(&fleet, &first, &[(0, 1), (1, 1)]).await;
    assert!(shown().contains("ahoy_fabric_fresh 0\n") && !shown().contains("ahoy_fabric_failures_total 0\n"));
}
