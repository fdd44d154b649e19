//! Voice goes between the legs of one answered call and nowhere else; every drop has its cause.

use ahoy_proto::flow::FlowId;

use super::calls::*;
use super::legs::{Talk, attach, talk};
use super::*;
use crate::relay::{Peers, Relay};

const HOME: Seat = Seat { node: Node::OWN, shard: ShardId(0) };

fn datagram(flow: u64, length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    FlowId::new(flow).unwrap().encode(&mut bytes);
    bytes.resize(length.max(bytes.len()), 0xee);
    bytes
}

pub(super) fn voice(rig: &mut Rig, link: Recipient, flow: u64) -> Result<Vec<Recipient>, DropCause> {
    send(rig, link, &datagram(flow, 120))
}

fn send(rig: &mut Rig, link: Recipient, datagram: &[u8]) -> Result<Vec<Recipient>, DropCause> {
    let now = rig.now;
    match rig.shard(link).forward(link.link, datagram, now) {
        Forward::To(recipients) => {
            let recipients = recipients.to_vec();
            Ok(recipients.into_iter().map(|recipient| rig.as_named(link.shard, recipient)).collect())
        }
        Forward::Drop(cause) => Err(cause),
    }
}

#[test]
fn voice_reaches_the_other_leg_on_any_shard_and_is_counted() {
    in_all_orders(|rig| {
        let Talk { links, attached, .. } = talk(rig);
        for side in [0, 1] {
            assert_eq!(voice(rig, links[side], attached[side].flow), Ok(vec![links[1 - side]]));
        }
        assert_eq!((rig.counters(|c| c.forwarded), rig.counters(|c| c.forwarded_bytes)), (2, 240));
    });
}

#[test]
fn every_drop_is_counted_by_its_cause() {
    in_all_orders(|rig| {
        let Talk { call, members, links, attached } = talk(rig);
        let [alice, bob] = links;
        let flow = attached[0].flow;
        let stranger = rig.sign_in(&Member::new(3, 33));
        let unproven = rig.link_up();
        assert_eq!(send(rig, alice, &[]), Err(DropCause::Malformed));
        assert_eq!(send(rig, alice, &[0xc0, 1]), Err(DropCause::Malformed));
        assert_eq!(send(rig, alice, &datagram(flow, limits::DATAGRAM_MAX + 1)), Err(DropCause::TooLong));
        assert_eq!(voice(rig, alice, flow + 64 * 64), Err(DropCause::NoFlow));
        assert_eq!(voice(rig, unproven, flow), Err(DropCause::Unproven));
        // The peer's flow, and a stranger's attempt: foreign where the flow's shard is asked, else not known.
        for (link, flow) in [(bob, flow), (stranger, flow)] {
            let expected = if link.shard == alice.shard { DropCause::ForeignFlow } else { DropCause::NoFlow };
            assert_eq!(voice(rig, link, flow), Err(expected));
        }
        rig.pass(Duration::from_secs(1));
        let burst = (0..100).filter(|_| voice(rig, alice, flow).is_ok()).count();
        assert_eq!(burst, limits::VOICE_PACKETS_BURST as usize);
        assert_eq!(voice(rig, alice, flow), Err(DropCause::RateLimited));
        rig.lose(bob);
        rig.pass(Duration::from_secs(1));
        assert_eq!(voice(rig, alice, flow), Err(DropCause::NoPeer));
        rig.request(alice, hang_up(call, v1::Cause::HungUp));
        assert_eq!(voice(rig, alice, flow), Err(DropCause::NoFlow));
        for cause in DropCause::ALL {
            let foreign = cause == DropCause::ForeignFlow;
            assert!(foreign || rig.counters(|c| c.drops[cause.index()]) > 0, "{cause:?} is not counted");
        }
        let reply = {
            let again = rig.sign_in(&members[1]);
            rig.request(again, attach(&attached[1].call_token, 7))
        };
        assert_eq!(error_code(&reply), v1::ErrorCode::NotFound);
    });
}

#[test]
fn a_leg_sends_75_packets_a_second_and_no_more() {
    let mut rig = Rig::new(1, 0);
    let Talk { links, attached, .. } = talk(&mut rig);
    let mut sent = 0;
    for _ in 0..10_000 {
        rig.now.instant += Duration::from_millis(1);
        sent += u32::from(voice(&mut rig, links[0], attached[0].flow).is_ok());
    }
    let sustained = limits::VOICE_PACKETS_PER_SECOND * 10;
    assert!((sustained - 10..=sustained + limits::VOICE_PACKETS_BURST).contains(&sent), "{sent}");
}

#[test]
fn nothing_is_relayed_before_the_answer() {
    in_all_orders(|rig| {
        let People { alice, bob, .. } = people(rig);
        let (caller, _) = (rig.sign_in(&alice), rig.sign_in(&bob));
        rig.request(caller, start(call_id(1), 1));
        for flow in 0..300 {
            let dropped = voice(rig, caller, flow);
            assert!(matches!(dropped, Err(DropCause::NoFlow | DropCause::NoPeer | DropCause::RateLimited)));
        }
    });
}

#[test]
fn a_flow_id_of_an_ended_call_reaches_nobody_in_the_next_one() {
    in_all_orders(|rig| {
        let mut before = BTreeSet::new();
        for _ in 0..3 {
            let Talk { call, links, attached, .. } = talk(rig);
            for flow in &before {
                assert_eq!(voice(rig, links[0], *flow), Err(DropCause::NoFlow));
            }
            assert!(attached.iter().all(|attached| before.insert(attached.flow)));
            rig.request(links[0], hang_up(call, v1::Cause::HungUp));
            rig.lose(links[0]);
            rig.lose(links[1]);
        }
    });
}

#[test]
fn flow_ids_are_short_and_never_come_back() {
    let mut relay = Relay::new(ShardId(2), 3, 0);
    let mut seen = BTreeSet::new();
    for round in 0..2_000 {
        let open: Vec<_> =
            (0..5).map(|_| relay.open(LinkId(1), CallId([1; 16]), DeviceId([1; 16]), HOME).unwrap()).collect();
        for flow in open {
            let mut bytes = Vec::new();
            flow.encode(&mut bytes);
            assert!(bytes.len() <= 4 || round > 500, "{} bytes in round {round}", bytes.len());
            assert!(seen.insert(flow));
            assert!(relay.close(flow).is_some());
            assert!(relay.close(flow).is_none());
        }
    }
    assert_eq!(relay.len(), 0);
}

#[test]
fn peers_of_a_closed_flow_can_not_be_set() {
    let mut relay = Relay::new(ShardId(0), 1, 0);
    let (call, device) = (CallId([1; 16]), DeviceId([1; 16]));
    let old = relay.open(LinkId(1), call, device, HOME).unwrap();
    relay.close(old);
    let new = relay.open(LinkId(2), call, device, HOME).unwrap();
    let peer = Recipient { node: Node::OWN, shard: ShardId(0), link: LinkId(9) };
    relay.set_peers(old, Peers::from_slice(&[peer]));
    let dropped = relay.forward(LinkId(2), &datagram(new.number(), 50), origin());
    assert_eq!(dropped, Err(DropCause::NoPeer));
}
