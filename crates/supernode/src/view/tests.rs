//! The view as a machine: events in, orders out, in made-up time.

use ahoy_proto::{NetworkId, UnixTime, document::Jwk};
use ed25519_dalek::SigningKey;

use super::*;

/// A fleet of three by their ids; this supernode is the one in the middle, so that it dials the last.
struct World {
    view: View,
    ids: [SupernodeId; 3],
    now: Instant,
}

fn entries() -> Vec<RosterEntry> {
    let entry = |seed| {
        let key = SigningKey::from_bytes(&[seed; 32]).verifying_key().to_bytes();
        RosterEntry {
            supernode: SupernodeId::of_roster_key(&key),
            key: Jwk::ed25519(key),
            addresses: vec!["127.0.0.1:1".to_owned(), "[::1]:2".to_owned()],
            region: String::new(),
            weight: 10,
            number: 0,
        }
    };
    let mut entries: Vec<_> = [1, 2, 3].map(entry).into();
    entries.sort_by_key(|entry| entry.supernode);
    entries
}

fn roster(supernodes: Vec<RosterEntry>) -> Arc<Roster> {
    Arc::new(Roster {
        network: NetworkId([1; 16]),
        serial: 1,
        supernodes,
        issued_at: UnixTime(0),
        expires: UnixTime(1),
    })
}

fn at(link: u64) -> At {
    At { shard: ShardId(0), link: LinkId(link) }
}

impl World {
    fn new() -> Self {
        let entries = entries();
        let ids = [0, 1, 2].map(|index| entries[index].supernode);
        let mut view = View::new(ids[1], 7, 2, roster(entries));
        view.settle(Instant::now());
        view.orders.clear();
        Self { view, ids, now: Instant::now() }
    }

    fn tell(&mut self, event: Event) -> Vec<Order> {
        self.view.handle(event, self.now);
        self.view.orders.drain(..).collect()
    }

    fn members(&mut self, of: &[usize]) -> Vec<Order> {
        let member = |index: &usize| Member { supernode: self.ids[*index], draining: false };
        let members = of.iter().map(member).collect();
        self.tell(Event::Members { members, stale: false })
    }

    fn accepted(&mut self, link: u64) -> Vec<Order> {
        let peer = self.ids[0];
        self.tell(Event::Up { at: at(link), peer, incarnation: 1, shards: 1, attempt: None })
    }

    fn pass(&mut self, time: Duration) -> Vec<Order> {
        self.now += time;
        self.view.settle(self.now);
        self.view.orders.drain(..).collect()
    }

    fn nodes(&self) -> Vec<(usize, u32)> {
        let index = |node: &FleetNode| self.ids.iter().position(|id| *id == node.supernode).unwrap();
        self.view.nodes.iter().map(|node| (index(node), node.node.0)).collect()
    }
}

fn attempts(orders: &[Order]) -> Vec<Dial> {
    orders.iter().filter_map(|order| if let Order::Dial(_, dial) = order { Some(**dial) } else { None }).collect()
}

#[test]
fn only_those_with_a_lease_and_a_greater_id_are_dialled() {
    let mut world = World::new();
    assert_eq!(world.members(&[0, 1]), []);
    let orders = world.members(&[0, 1, 2]);
    let [dial] = attempts(&orders)[..] else { panic!("{orders:?}") };
    assert_eq!(dial.peer, world.ids[2]);
    assert_eq!(world.members(&[0, 1, 2]), [], "one attempt at a time");
}

#[test]
fn a_trunk_enters_with_its_lease_and_leaves_when_it_is_lost_whatever_the_lease() {
    let mut world = World::new();
    assert_eq!(world.accepted(5), [], "no lease yet");
    let orders = world.members(&[0, 1]);
    assert!(matches!(&orders[..], [Order::Fleet(..), Order::Open(opened, Node(1))] if *opened == at(5)), "{orders:?}");
    assert_eq!(world.nodes(), [(1, 0), (0, 1)]);
    assert_eq!(world.members(&[1]), [], "the lease is gone, the trunk is there");
    let orders = world.tell(Event::Lost(at(5)));
    assert!(matches!(&orders[..], [Order::Fleet(..)]), "{orders:?}");
    assert_eq!(world.nodes(), [(1, 0)]);
}

#[test]
fn a_trunk_alone_decides_while_leases_cannot_be_asked_for() {
    let mut world = World::new();
    world.tell(Event::Members { members: Vec::new(), stale: true });
    world.accepted(5);
    assert_eq!(world.nodes(), [(1, 0), (0, 1)]);
}

#[test]
fn the_whole_roster_is_dialled_while_leases_cannot_be_asked_for() {
    let mut world = World::new();
    let orders = world.tell(Event::Members { members: Vec::new(), stale: true });
    let [dial] = attempts(&orders)[..] else { panic!("{orders:?}") };
    assert_eq!(dial.peer, world.ids[2]);
}

#[test]
fn a_trunk_without_a_lease_is_closed_in_time() {
    let mut world = World::new();
    world.members(&[1]);
    world.accepted(5);
    assert_eq!(world.pass(LEASE_MAX), [Order::Close(at(5), ErrorCode::Unavailable)]);
}

#[test]
fn a_second_trunk_of_a_supernode_takes_the_place_of_the_first_under_another_number() {
    let mut world = World::new();
    world.members(&[0, 1]);
    world.accepted(5);
    let orders = world.accepted(6);
    let expected = [ErrorCode::SessionReplaced];
    let closed = |order: &Order| if let Order::Close(_, code) = order { Some(*code) } else { None };
    assert_eq!(orders.iter().filter_map(closed).collect::<Vec<_>>(), expected);
    let fleets = orders.iter().filter(|order| matches!(order, Order::Fleet(..))).count();
    assert_eq!((fleets, world.nodes()), (2, vec![(1, 0), (0, 2)]), "it leaves before it comes anew");
    assert_eq!(world.tell(Event::Lost(at(5))), [], "of the first nothing counts any more");
}

#[test]
fn pauses_between_attempts_grow_up_to_two_seconds_and_addresses_take_turns() {
    let mut world = World::new();
    let mut orders = world.members(&[2]);
    let mut addresses = Vec::new();
    for failure in 0..40 {
        let [Dial { attempt, address, .. }] = attempts(&orders)[..] else { panic!("{orders:?}") };
        addresses.push(address.port());
        world.tell(Event::Failed { attempt, why: Failure::Unreached("nobody".to_owned()) });
        let pause = world.view.next_deadline().unwrap().saturating_duration_since(world.now);
        assert!(pause <= PAUSE_MAX.min(PAUSE_MIN * (1 << failure.min(8))), "{failure}: {pause:?}");
        orders = world.pass(pause);
    }
    assert_eq!(addresses[..4], [1, 2, 1, 2]);
}

#[test]
fn an_attempt_that_takes_too_long_is_given_up() {
    let mut world = World::new();
    let [Dial { attempt, .. }] = attempts(&world.members(&[2]))[..] else { panic!("no attempt") };
    let orders = world.pass(ATTEMPT_MAX);
    assert!(matches!(orders[..], [Order::GiveUp(_, given_up)] if given_up == attempt), "{orders:?}");
    let peer = world.ids[2];
    let late = world.tell(Event::Up { at: at(9), peer, incarnation: 1, shards: 1, attempt: Some(attempt) });
    assert_eq!(late, [Order::Close(at(9), ErrorCode::OutOfOrder)]);
}

#[test]
fn who_is_not_what_the_authority_says_is_left_alone_for_a_while_or_until_it_says_something_new() {
    let mut world = World::new();
    let [Dial { attempt, .. }] = attempts(&world.members(&[2]))[..] else { panic!("no attempt") };
    world.tell(Event::Failed { attempt, why: Failure::Untrusted("forged".to_owned()) });
    assert_eq!(world.pass(UNTRUSTED_PAUSE - Duration::from_millis(1)), []);
    // It may have a new certificate by now.
    let [Dial { attempt, .. }] = attempts(&world.pass(Duration::from_millis(1)))[..] else { panic!("no attempt") };
    world.tell(Event::Failed { attempt, why: Failure::Untrusted("forged".to_owned()) });
    assert_eq!(attempts(&world.tell(Event::Roster(roster(entries())))).len(), 1);
}

#[test]
fn a_verdict_on_what_the_authority_had_said_before_does_not_outlive_its_next_word() {
    let mut world = World::new();
    let [Dial { attempt, .. }] = attempts(&world.members(&[2]))[..] else { panic!("no attempt") };
    // It is still under way when the word comes.
    world.tell(Event::Roster(roster(entries())));
    world.tell(Event::Failed { attempt, why: Failure::Untrusted("forged".to_owned()) });
    assert_eq!(attempts(&world.pass(PAUSE_MAX)).len(), 1);
}

#[test]
fn whoever_leaves_the_roster_loses_its_trunk_and_gets_no_other() {
    let mut world = World::new();
    world.members(&[0, 1]);
    world.accepted(5);
    let orders = world.tell(Event::Roster(roster(entries().split_off(1))));
    assert!(
        matches!(&orders[..], [Order::Close(closed, ErrorCode::CredentialRevoked), Order::Fleet(..)] if *closed == at(5))
    );
    assert_eq!(world.accepted(6), [Order::Close(at(6), ErrorCode::CredentialRevoked)]);
}

#[test]
fn whoever_drains_is_home_of_nothing() {
    let mut world = World::new();
    world.members(&[0, 1]);
    world.accepted(5);
    let weights = |world: &World| world.view.nodes.iter().map(|node| node.weight).collect::<Vec<_>>();
    assert_eq!(weights(&world), [10, 10]);
    world.tell(Event::Draining(true));
    assert_eq!(weights(&world), [0, 10]);
    world.tell(Event::Draining(false));
    let supernode = world.ids[0];
    world.tell(Event::Members { members: vec![Member { supernode, draining: true }], stale: false });
    assert_eq!(weights(&world), [10, 0]);
}
