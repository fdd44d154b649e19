//! Two supernodes on real loopback sockets, all their shards turned by the test's own thread.

use std::{collections::BTreeSet, net::Ipv6Addr};

use super::*;
use crate::{ListenAddress, connection_id::TRUNK_LENGTH};

/// Far more than anything here takes but the timeouts that are tested.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the shell would be told.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Up([u8; 32]),
    Lost(LostCause),
}

#[derive(Debug, Default)]
struct Talk {
    seen: Vec<Seen>,
    bytes: Vec<u8>,
    datagrams: Vec<Bytes>,
}

/// A supernode: says hello on every link that it accepts, as the real one sends its challenge.
struct Node {
    shards: Vec<QuicShard>,
    address: SocketAddr,
    /// By shard and link.
    talks: std::collections::BTreeMap<(usize, LinkId), Talk>,
    dialled: BTreeSet<(usize, LinkId)>,
}

const HELLO: &[u8] = b"hello";

impl Node {
    fn start(shards: u16, listen: ListenAddress) -> Self {
        let sets = listen::bind(&[listen], shards).unwrap();
        let address = sets[0][0].local_addr().unwrap();
        let tls = server_tls();
        let shards = sets
            .into_iter()
            .zip(0..)
            .map(|(sockets, shard)| {
                QuicShard::new(ShardConfig { shard, shards, sockets, tls: tls.clone(), reset_key: RESET_KEY }).unwrap()
            })
            .collect();
        Self { shards, address, talks: Default::default(), dialled: BTreeSet::new() }
    }

    fn dial(&mut self, shard: usize, remote: SocketAddr) -> (usize, LinkId) {
        let link = self.shards[shard].dial(remote, &roster_key().verifying_key()).unwrap();
        self.dialled.insert((shard, link));
        (shard, link)
    }

    fn turn(&mut self) {
        for index in 0..self.shards.len() {
            self.shards[index].turn(Some(Instant::now())).unwrap();
            self.take_events(index);
        }
    }

    fn take_events(&mut self, index: usize) {
        while let Some(event) = self.shards[index].poll_event() {
            match event {
                LinkEvent::Up { link, exporter } => {
                    if !self.dialled.contains(&(index, link)) {
                        self.shards[index].send(link, Bytes::from_static(HELLO));
                    }
                    self.talks.entry((index, link)).or_default().seen.push(Seen::Up(exporter.unwrap()));
                }
                LinkEvent::Lost { link, cause } => {
                    self.talks.entry((index, link)).or_default().seen.push(Seen::Lost(cause));
                }
                LinkEvent::Bytes { link, bytes } => {
                    self.talks.get_mut(&(index, link)).unwrap().bytes.extend_from_slice(&bytes);
                }
                LinkEvent::Datagram { link, bytes } => {
                    self.talks.get_mut(&(index, link)).unwrap().datagrams.push(bytes);
                }
                LinkEvent::Foreign { shard, packet } => {
                    self.shards[usize::from(shard)].handle_foreign(packet);
                    self.take_events(usize::from(shard));
                }
            }
        }
    }

    fn talk(&self, (shard, link): (usize, LinkId)) -> &Talk {
        static NONE: Talk = Talk { seen: Vec::new(), bytes: Vec::new(), datagrams: Vec::new() };
        self.talks.get(&(shard, link)).unwrap_or(&NONE)
    }

    fn lost(&self, link: (usize, LinkId)) -> Option<LostCause> {
        self.talk(link).seen.iter().find_map(|seen| match seen {
            Seen::Lost(cause) => Some(*cause),
            Seen::Up(_) => None,
        })
    }

    /// The links that were accepted and are up.
    fn accepted(&self) -> Vec<(usize, LinkId)> {
        self.talks.keys().filter(|link| !self.dialled.contains(link)).copied().collect()
    }

    fn send(&mut self, (shard, link): (usize, LinkId), bytes: Vec<u8>) {
        self.shards[shard].send(link, bytes.into());
    }

    fn send_datagram(&mut self, (shard, link): (usize, LinkId), bytes: Bytes) {
        self.shards[shard].send_datagram(link, bytes);
    }

    fn sum(&self, counter: impl Fn(&Counters) -> u64) -> u64 {
        self.shards.iter().map(|shard| counter(shard.counters())).sum()
    }
}

/// Turns both until `done`.
fn run(a: &mut Node, b: &mut Node, done: impl Fn(&Node, &Node) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done(a, b) {
        assert!(Instant::now() < deadline, "it takes too long");
        a.turn();
        b.turn();
    }
}

/// Turns both for a time, so that everything is acknowledged or the silence is long.
fn run_for(a: &mut Node, b: &mut Node, time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        a.turn();
        b.turn();
    }
}

/// Turns one until its link is lost; gives the cause and how long that took.
fn run_until_lost(node: &mut Node, link: (usize, LinkId)) -> (LostCause, Duration) {
    let start = Instant::now();
    loop {
        node.turn();
        if let Some(cause) = node.lost(link) {
            return (cause, start.elapsed());
        }
        assert!(start.elapsed() < PATIENCE, "nothing was lost");
    }
}

fn is_up(node: &Node, link: (usize, LinkId)) -> bool {
    node.talk(link).bytes == HELLO
}

/// Two supernodes and a trunk from a shard of the first.
fn trunk(shards: u16, from: usize) -> (Node, (usize, LinkId), Node, (usize, LinkId)) {
    let (mut a, mut b) = (Node::start(shards, loopback(0).into()), Node::start(shards, loopback(0).into()));
    let here = a.dial(from, b.address);
    run(&mut a, &mut b, |a, _| is_up(a, here));
    let there = b.accepted()[0];
    (a, here, b, there)
}

#[test]
fn every_shard_can_dial_whichever_shard_the_answers_reach() {
    for shards in [1, 2, 4] {
        let (mut a, mut b) = (Node::start(shards, loopback(0).into()), Node::start(shards, loopback(0).into()));
        let links: Vec<_> = (0..usize::from(shards)).map(|shard| a.dial(shard, b.address)).collect();
        let back: Vec<_> = (0..usize::from(shards)).map(|shard| b.dial(shard, a.address)).collect();
        run(&mut a, &mut b, |a, b| links.iter().all(|link| is_up(a, *link)) && back.iter().all(|link| is_up(b, *link)));
        let exporters = |node: &Node, links: &[(usize, LinkId)]| -> BTreeSet<[u8; 32]> {
            let up = |link: &(usize, LinkId)| match node.talk(*link).seen[..] {
                [Seen::Up(exporter)] => exporter,
                ref other => panic!("{other:?}"),
            };
            links.iter().map(up).collect()
        };
        assert_eq!(exporters(&a, &links), exporters(&b, &b.accepted()));
        assert_eq!(exporters(&b, &back), exporters(&a, &a.accepted()));
        // All links between two addresses reach one shard of each, so the others hear only by way of it.
        let handed_over = [a.sum(|c| c.packets_handed_over), b.sum(|c| c.packets_handed_over)];
        assert!(handed_over.iter().all(|count| (*count > 0) == (shards > 1)), "{handed_over:?}");
    }
}

#[test]
fn the_stream_of_a_trunk_carries_much_both_ways() {
    for shards in [2, 4] {
        for from in 0..usize::from(shards) {
            let (mut a, here, mut b, there) = trunk(shards, from);
            let sent: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
            for chunk in sent.chunks(50_000) {
                a.send(here, chunk.to_vec());
                b.send(there, chunk.to_vec());
            }
            let all = sent.len();
            run(&mut a, &mut b, |a, b| {
                a.talk(here).bytes.len() == HELLO.len() + all && b.talk(there).bytes.len() == all
            });
            assert!(a.talk(here).bytes[HELLO.len()..] == sent && b.talk(there).bytes == sent);
        }
    }
}

/// A voice packet of usual length.
fn voice(number: usize) -> Bytes {
    let mut bytes = vec![0; 130];
    bytes[..8].copy_from_slice(&(number as u64).to_be_bytes());
    bytes.into()
}

fn number_of(datagram: &Bytes) -> usize {
    u64::from_be_bytes(*datagram.first_chunk().unwrap()) as usize
}

#[test]
fn ten_thousand_datagrams_go_both_ways_and_share_packets() {
    const ALL: usize = 10_000;
    for shards in [2, 4] {
        let (mut a, here, mut b, there) = trunk(shards, 1);
        let before = a.sum(|c| c.packets_sent);
        for batch in 0..ALL / 100 {
            for number in batch * 100..(batch + 1) * 100 {
                a.send_datagram(here, voice(number));
                b.send_datagram(there, voice(number));
            }
            let so_far = (batch + 1) * 100;
            run(&mut a, &mut b, |a, b| {
                a.talk(here).datagrams.len() == so_far && b.talk(there).datagrams.len() == so_far
            });
        }
        for (node, link) in [(&a, here), (&b, there)] {
            assert!(node.talk(link).datagrams.iter().map(number_of).eq(0..ALL));
            assert_eq!(node.sum(|c| c.trunk_datagrams_sent), ALL as u64);
            assert_eq!(node.sum(|c| c.trunk_datagrams_displaced), 0);
        }
        // Eight of them fit into one packet of 1,200 bytes; acknowledgements come on top.
        let packets = a.sum(|c| c.packets_sent) - before;
        assert!(packets < ALL as u64 / 4, "{packets} packets");
    }
}

#[test]
fn datagrams_wait_for_a_turn_and_leave_in_few_packets() {
    let (mut a, here, _b, _) = trunk(1, 0);
    let before = *a.shards[0].counters();
    for number in 0..800 {
        a.send_datagram(here, voice(number));
    }
    assert_eq!(a.shards[0].counters().packets_sent, before.packets_sent);
    a.turn();
    let packets = a.shards[0].counters().packets_sent - before.packets_sent;
    assert!((1..=101).contains(&packets), "{packets} packets");
}

#[test]
fn a_full_trunk_displaces_its_oldest_datagrams_and_counts_them() {
    const ALL: usize = 20_000;
    let (mut a, here, mut b, there) = trunk(1, 0);
    for number in 0..ALL {
        a.send_datagram(here, voice(number));
    }
    // What is in flight and what waits are bounded; the rest is gone.
    let displaced = a.shards[0].counters().trunk_datagrams_displaced as usize;
    let kept = ALL - displaced;
    let waiting = limits::TRUNK_DATAGRAM_SEND_BUFFER / (130 + 32);
    assert!(kept >= waiting && kept <= waiting + 4 * limits::TRUNK_WINDOW_FLOOR as usize / 130, "{kept} were kept");
    assert_eq!(a.shards[0].counters().datagrams_displaced as usize, displaced);

    // The way itself may lose some of a burst like this.
    run(&mut a, &mut b, |_, b| b.talk(there).datagrams.iter().any(|datagram| number_of(datagram) >= ALL - waiting));
    assert!(b.talk(there).datagrams.len() <= kept);
}

#[test]
fn a_supernode_with_another_key_gets_no_trunk() {
    let (mut a, mut b) = (Node::start(2, loopback(0).into()), Node::start(2, loopback(0).into()));
    let other = SigningKey::from_bytes(&[6; 32]).verifying_key();
    let link = (1, a.shards[1].dial(b.address, &other).unwrap());
    run(&mut a, &mut b, |a, _| a.lost(link).is_some());
    assert_eq!(a.talk(link).seen, [Seen::Lost(LostCause::WrongKey)]);
    assert_eq!((a.shards[1].dials, a.sum(|c| c.trunks_failed)), (0, 1));
    assert!(b.talks.is_empty());
}

#[test]
fn dialling_nobody_is_lost_in_time() {
    let silent = UdpSocket::bind(loopback(0)).unwrap();
    let mut a = Node::start(2, loopback(0).into());
    let link = a.dial(0, silent.local_addr().unwrap());
    let (cause, took) = run_until_lost(&mut a, link);
    assert_eq!(cause, LostCause::TimedOut);
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn an_acceptor_that_never_speaks_is_lost_at_the_deadline() {
    let (mut a, mut b) = (Node::start(1, loopback(0).into()), Node::start(1, loopback(0).into()));
    let link = a.dial(0, b.address);
    // It is let connect, and its event is left lying about.
    while b.shards[0].counters().handshakes_finished == 0 {
        a.turn();
        b.shards[0].turn(Some(Instant::now())).unwrap();
    }
    a.turn();
    assert!(a.talk(link).seen.is_empty());
    // At once: QUIC's own timers, which a peer that keeps the link alive moves away, are told of with the next turn only.
    a.shards[0].handle_timeouts(Instant::now() + PROOF_TIMEOUT);
    assert_eq!(a.shards[0].dials, 0);
    a.take_events(0);
    assert_eq!(a.talk(link).seen, [Seen::Lost(LostCause::TimedOut)]);
}

#[test]
fn a_trunk_is_given_up_without_a_word_when_it_is_closed_while_dialling() {
    let silent = UdpSocket::bind(loopback(0)).unwrap();
    let mut a = Node::start(1, loopback(0).into());
    let (_, link) = a.dial(0, silent.local_addr().unwrap());
    a.shards[0].close(link, ErrorCode::Unspecified);
    assert_eq!(a.shards[0].dials, 0);
    let deadline = Instant::now() + PATIENCE;
    while a.shards[0].connections() > 0 {
        assert!(Instant::now() < deadline, "it is never forgotten");
        a.turn();
    }
    assert!(a.talks.is_empty());
}

#[test]
fn a_peer_that_dies_silently_is_lost_within_two_seconds_from_either_end() {
    for shards in [1, 4] {
        let (mut a, here, b, _) = trunk(shards, 0);
        drop(b);
        let (cause, took) = run_until_lost(&mut a, here);
        assert_eq!(cause, LostCause::TimedOut);
        assert!(took < Duration::from_secs(2), "{took:?}");

        // The accepting end, which speaks again only when it has nearly given up: that alone would start its timer anew.
        let (mut a, _, mut b, there) = trunk(shards, 0);
        run_for(&mut a, &mut b, 2 * limits::ACK_DELAY_MAX);
        drop(a);
        let start = Instant::now();
        while start.elapsed() < limits::TRUNK_IDLE_TIMEOUT - 4 * limits::ACK_DELAY_MAX {
            b.turn();
        }
        b.send_datagram(there, voice(0));
        let (cause, _) = run_until_lost(&mut b, there);
        assert_eq!(cause, LostCause::TimedOut);
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    }
}

#[test]
fn an_idle_trunk_stays() {
    let (mut a, here, mut b, there) = trunk(2, 0);
    run_for(&mut a, &mut b, 2 * limits::TRUNK_IDLE_TIMEOUT);
    assert_eq!((a.lost(here), b.lost(there)), (None, None));
}

#[test]
fn a_peer_that_restarts_resets_its_trunks_at_once_from_either_end() {
    for shards in [1, 2, 4] {
        for from in 0..usize::from(shards) {
            let (mut a, here, b, _) = trunk(shards, from);
            let address = b.address;
            drop(b);
            let mut b = Node::start(shards, address.into());
            a.send_datagram(here, voice(0));
            // One reset is enough, whichever shard it reaches.
            run(&mut a, &mut b, |_, b| b.sum(|c| c.resets_sent) > 0);
            assert_eq!(run_until_lost(&mut a, here).0, LostCause::Reset);
            let here = a.dial(from, b.address);
            run(&mut a, &mut b, |a, _| is_up(a, here));

            let (a, _, mut b, there) = trunk(shards, from);
            let address = a.address;
            drop(a);
            let mut a = Node::start(shards, address.into());
            b.send_datagram(there, voice(0));
            run(&mut b, &mut a, |_, a| a.sum(|c| c.resets_sent) > 0);
            assert_eq!(run_until_lost(&mut b, there).0, LostCause::Reset);
        }
    }
}

#[test]
fn packets_that_nobody_knows_go_round_once_and_not_often() {
    let mut node = Node::start(4, loopback(0).into());
    let noise = UdpSocket::bind(loopback(0)).unwrap();
    let start = Instant::now();
    const PACKETS: u64 = 200;
    for _ in 0..PACKETS {
        let mut packet = [0; 100];
        rand::fill(&mut packet[..]);
        packet[0] = 0x40;
        noise.send_to(&packet, node.address).unwrap();
    }
    while node.sum(|c| c.packets_received) < PACKETS {
        node.turn();
    }
    node.turn();
    let searches = 4 * (1 + start.elapsed().as_millis() as u64 / limits::RESET_SEARCH_INTERVAL.as_millis() as u64);
    let handed_over = node.sum(|c| c.packets_handed_over);
    assert!(handed_over <= PACKETS + 3 * searches, "{handed_over} packets handed over");
    assert_eq!(handed_over, node.sum(|c| c.packets_taken_over));
}

#[test]
fn strangers_who_ask_for_a_trunk_beyond_the_bound_get_a_clients_link() {
    let (mut a, mut b) = (Node::start(1, loopback(0).into()), Node::start(1, loopback(0).into()));
    let links: Vec<_> = (0..limits::UNPROVEN_TRUNKS_MAX).map(|_| a.dial(0, b.address)).collect();
    run(&mut a, &mut b, |a, _| links.iter().all(|link| is_up(a, *link)));
    assert_eq!((b.shards[0].unproven_trunks, b.sum(|c| c.trunks_kept_small)), (limits::UNPROVEN_TRUNKS_MAX, 0));
    let before: BTreeSet<_> = b.accepted().into_iter().collect();
    let last = a.dial(0, b.address);
    run(&mut a, &mut b, |a, _| is_up(a, last));
    assert_eq!(b.sum(|c| c.trunks_kept_small), 1);

    let room = |node: &mut Node, (shard, link): (usize, LinkId)| {
        let link = node.shards[shard].links[link.key()].as_mut().unwrap();
        link.connection.datagrams().send_buffer_space()
    };
    let (_, small) = b.accepted().into_iter().find(|link| !before.contains(link)).unwrap();
    assert!(room(&mut b, (0, small)) < limits::DATAGRAM_SEND_BUFFER);
    assert!(!b.shards[0].confirm_trunk(small));
    let (_, large) = *before.first().unwrap();
    assert!(room(&mut b, (0, large)) > limits::DATAGRAM_SEND_BUFFER);

    // One that proves itself and one that goes away make room for two.
    assert!(b.shards[0].confirm_trunk(large) && b.shards[0].confirm_trunk(large));
    assert_eq!(b.shards[0].unproven_trunks, limits::UNPROVEN_TRUNKS_MAX - 1);
    let (_, gone) = *before.last().unwrap();
    b.shards[0].abort(gone.key(), ErrorCode::ProofTimeout, LostCause::Closed, Instant::now());
    assert_eq!(b.shards[0].unproven_trunks, limits::UNPROVEN_TRUNKS_MAX - 2);
    assert!(!b.shards[0].confirm_trunk(gone));
}

#[tokio::test]
async fn a_clients_link_has_the_bounds_of_a_client() {
    let mut b = Node::start(1, loopback(0).into());
    let entry = entry(b.address);
    let dialling = tokio::spawn(async move { dial(&entry, &DialOptions::default()).await.unwrap() });
    while b.accepted().is_empty() {
        b.turn();
        tokio::task::yield_now().await;
    }
    let (_, link) = b.accepted()[0];
    assert_eq!(b.shards[0].links[link.key()].as_ref().unwrap().bounds, Bounds::Client);
    assert_eq!(b.shards[0].unproven_trunks, 0);
    dialling.abort();
}

#[test]
fn a_retry_does_not_make_a_trunk_small() {
    let (mut a, mut b) = (Node::start(2, loopback(0).into()), Node::start(2, loopback(0).into()));
    b.shards.iter_mut().for_each(|shard| shard.handshakes = limits::HANDSHAKES_BEFORE_RETRY);
    let here = a.dial(1, b.address);
    run(&mut a, &mut b, |a, _| is_up(a, here));
    assert_eq!(b.sum(|c| c.retries_sent), 1);
    let (shard, link) = b.accepted()[0];
    assert!(b.shards[shard].confirm_trunk(link));
}

#[test]
fn trunks_go_over_ipv6_and_from_a_socket_of_both_families() {
    let v6 = ListenAddress { address: (Ipv6Addr::LOCALHOST, 0).into(), dual_stack: false };
    let (mut a, mut b) = (Node::start(4, v6), Node::start(4, v6));
    let here = a.dial(2, b.address);
    run(&mut a, &mut b, |a, _| is_up(a, here));

    let both = ListenAddress { address: (Ipv6Addr::UNSPECIFIED, 0).into(), dual_stack: true };
    let (mut a, mut b) = (Node::start(4, both), Node::start(4, loopback(0).into()));
    let here = a.dial(2, b.address);
    run(&mut a, &mut b, |a, _| is_up(a, here));
    let (mut a, mut b) = (b, a);
    let here = a.dial(1, loopback(b.address.port()));
    run(&mut a, &mut b, |a, _| is_up(a, here));
}

#[test]
fn dialling_needs_a_socket_of_the_family_an_address_and_room() {
    let key = roster_key().verifying_key();
    let mut v4 = Node::start(1, loopback(0).into());
    let v6_address = SocketAddr::from((Ipv6Addr::LOCALHOST, 443));
    assert!(matches!(v4.shards[0].dial(v6_address, &key), Err(DialError::Family("IPv6"))));
    let mut v6 = Node::start(1, SocketAddr::from((Ipv6Addr::LOCALHOST, 0)).into());
    assert!(matches!(v6.shards[0].dial(loopback(443), &key), Err(DialError::Family("IPv4"))));
    assert!(matches!(v4.shards[0].dial(loopback(0), &key), Err(DialError::Address)));
    let silent = UdpSocket::bind(loopback(0)).unwrap().local_addr().unwrap();
    for _ in 0..limits::DIALS_MAX {
        v4.dial(0, silent);
    }
    assert!(matches!(v4.shards[0].dial(silent, &key), Err(DialError::TooMany)));
    assert_eq!(v4.shards[0].handshakes(), 0);
}

#[test]
fn the_first_packet_asks_for_a_trunk() {
    let silent = UdpSocket::bind(loopback(0)).unwrap();
    let mut a = Node::start(1, loopback(0).into());
    a.dial(0, silent.local_addr().unwrap());
    a.turn();
    let mut packet = [0; 1500];
    silent.recv(&mut packet).unwrap();
    assert_eq!(usize::from(packet[5]), TRUNK_LENGTH);
}
