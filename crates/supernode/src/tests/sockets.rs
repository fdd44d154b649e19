//! Links by WebSocket: the same sessions and calls as by QUIC, over a seam of queues.

use ahoy_proto::{limits::OUTBOUND_QUEUE_MAX, limits::PROOF_TIMEOUT, v1::ErrorCode, websocket::PIECE_MAX};
use bytes::Bytes;

use super::{
    calls::{connect, voice},
    fleet::Fleet,
    link::{Link, Socket},
    *,
};
use crate::Outgoing;

impl Client {
    /// By WebSocket, challenged and not proven.
    pub(super) fn by_socket(supernode: &Supernode) -> Self {
        let link = Link::Socket(Socket::new(supernode.sockets().accept()));
        Self { link: Arc::new(link), requests: 0, events: VecDeque::new() }
    }

    pub(super) async fn sign_in_by_socket(supernode: &Supernode, person: &Person) -> Self {
        let mut client = Self::by_socket(supernode);
        client.prove(&person.credential(), &person.device_key).await;
        client.event(|event| matches!(event, Say::Welcome(_)).then_some(())).await;
        client
    }
}

#[tokio::test]
async fn voice_goes_both_ways_between_a_web_socket_and_a_quic_link() {
    let rig = Rig::start(2);
    let (alice, bob) = rig.two_people().await;
    // Links by WebSocket take turns at the shards, so that both ways are among four.
    for number in 1..=4 {
        let by_socket = Client::sign_in_by_socket(&rig.supernode, &alice).await;
        let mut call = connect(by_socket, rig.sign_in(&bob).await, number).await;
        call.talk().await;
        call.hang_up(number).await;
    }
    let both = connect(
        Client::sign_in_by_socket(&rig.supernode, &alice).await,
        Client::sign_in_by_socket(&rig.supernode, &bob).await,
        5,
    )
    .await;
    both.talk().await;
}

#[tokio::test]
async fn a_call_by_web_socket_crosses_a_trunk() {
    let fleet = Fleet::start(2).await;
    let (alice, bob, on_a, on_b) = fleet.two_people().await;
    drop((on_a, on_b));
    let by_socket = Client::sign_in_by_socket(fleet.seats[0].supernode(), &alice).await;
    let by_quic = fleet.sign_in(1, &bob).await;
    connect(by_socket, by_quic, fleet.number(0, 30)).await.talk().await;
}

#[tokio::test]
async fn a_ping_comes_back_before_proof() {
    let rig = Rig::start(1);
    let client = Client::by_socket(&rig.supernode);
    client.link.send_datagram(Bytes::new()).unwrap();
    assert_eq!(in_time("a ping", client.link.next_datagram()).await, Ok(Bytes::new()));
}

#[tokio::test]
async fn a_web_socket_that_does_not_prove_itself_is_closed_with_the_code() {
    let rig = Rig::start(1);
    let client = Client::by_socket(&rig.supernode);
    client.next().await.unwrap();
    rig.pass(PROOF_TIMEOUT);
    assert_eq!(client.end().await, LinkEnd::Closed(ErrorCode::ProofTimeout));
}

#[tokio::test]
async fn a_proof_over_an_exporter_that_no_web_socket_has_is_refused() {
    let rig = Rig::start(1);
    let person = Person::new("alice", 10);
    let mut client = Client::by_socket(&rig.supernode);
    client.prove_with(&person.credential(), &person.device_key, Some(&[0; 32])).await;
    assert_eq!(client.end().await, LinkEnd::Closed(ErrorCode::ProofInvalid));
}

#[tokio::test]
async fn a_client_that_does_not_read_loses_its_link_and_its_session() {
    let rig = Rig::start(1);
    let (alice, bob) = rig.two_people().await;
    let (mut there, mut here) = (rig.sign_in(&bob).await, Client::sign_in_by_socket(&rig.supernode, &alice).await);
    // Each question asks for a page; nothing of it is read.
    let sealed = Bytes::from(vec![7; 30_000]);
    for number in 1..=20 {
        let message = v1::SendMessage {
            conversation: CONVERSATION.to_bytes(),
            number,
            generation: 1,
            epoch: 1,
            sealed: sealed.clone(),
        };
        let accepted = there.ask(Ask::SendMessage(message)).await;
        assert!(matches!(accepted, Say::MessageAccepted(_)), "{accepted:?}");
    }
    let is_lost = || rig.scrape.text().contains("cause=\"slow_reader\"} 1");
    // 4 MiB are some 70 pages.
    for _ in 0..100 {
        let before = rig.scrape.metric("ahoy_requests");
        let fetch = v1::FetchLog { conversation: CONVERSATION.to_bytes(), after: 0 };
        here.requests += 1;
        let message = v1::ClientMessage { request: here.requests, body: Some(Ask::FetchLog(fetch)) };
        here.link.socket().bytes(frame::encode(&message)).await;
        rig.pass(Duration::from_millis(100));
        let is_answered =
            || rig.scrape.metric("ahoy_requests") > before && rig.scrape.metric("ahoy_store_questions_waiting") == 0.0;
        while !is_answered() && !is_lost() {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(here.end().await, LinkEnd::Closed(ErrorCode::SlowReader));
}

#[tokio::test]
async fn of_voice_that_is_not_taken_the_newest_is_kept_and_the_rest_counted() {
    let rig = Rig::start(1);
    let (alice, bob) = rig.two_people().await;
    let by_socket = Client::sign_in_by_socket(&rig.supernode, &alice).await;
    let call = connect(rig.sign_in(&bob).await, by_socket, 1).await;
    for number in 0..12 {
        call.caller.link.send_datagram(voice(call.caller_sends, &[number; 50])).unwrap();
    }
    while rig.scrape.metric("ahoy_voice_packets_sent") < 12.0 {
        tokio::task::yield_now().await;
    }
    for number in 4..12 {
        assert_eq!(call.callee.link.next_datagram().await, Ok(voice(call.caller_sends, &[number; 50])));
    }
    assert!(rig.scrape.text().contains("cause=\"displaced\"} 4"), "{}", rig.scrape.text());
}

#[tokio::test]
async fn a_web_socket_that_ends_gives_its_place_back() {
    let rig = Rig::start(2);
    for _ in 0..4 {
        let client = Client::by_socket(&rig.supernode);
        client.next().await.unwrap();
    }
    // A shard tells its numbers after it has told its clients: until then none may have come up.
    let have_come_and_gone = || {
        let text = rig.scrape.text();
        let is = |line| text.lines().any(|said| said == line);
        is("ahoy_links_by_transport_total{transport=\"websocket\"} 4") && is("ahoy_links 0") && is("ahoy_web_sockets 0")
    };
    while !have_come_and_gone() {
        rig.pass(Duration::ZERO);
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_supernode_that_ends_tells_web_sockets_and_waits_until_they_have_heard_it() {
    let rig = Rig::start(2);
    let (alice, _) = rig.two_people().await;
    let mut client = Client::sign_in_by_socket(&rig.supernode, &alice).await;
    let ended = tokio::task::spawn_blocking(move || {
        rig.supernode.shut_down(Duration::from_secs(1), Duration::ZERO);
        rig.scrape
    });
    client.event(|event| matches!(event, Say::GoAway(_)).then_some(())).await;
    assert_eq!(client.end().await, LinkEnd::Closed(ErrorCode::ShuttingDown));
    drop(client);
    ended.await.unwrap();
}

#[tokio::test]
async fn a_supernode_that_is_gone_leaves_nobody_waiting() {
    let rig = Rig::start(1);
    let (_sender, receiver) = rig.supernode.sockets().accept();
    assert!(matches!(receiver.next().await, Some(Outgoing::Bytes(_))), "the challenge");
    rig.stop();
    assert_eq!(in_time("the end", receiver.next()).await, None);
}

#[test]
fn what_leaves_is_cut_so_that_voice_waits_behind_no_more_than_a_piece() {
    const { assert!(PIECE_MAX * 8 < OUTBOUND_QUEUE_MAX) };
    let outbound = crate::sockets::Outbound::default();
    assert!(outbound.send(vec![1; 2 * PIECE_MAX + 1].into()));
    let lengths: Vec<_> = std::iter::from_fn(|| match outbound.next() {
        Some(Some(Outgoing::Bytes(bytes))) => Some(bytes.len()),
        _ => None,
    })
    .collect();
    assert_eq!(lengths, [PIECE_MAX, PIECE_MAX, 1]);
    assert!(outbound.send(vec![1; OUTBOUND_QUEUE_MAX].into()), "all room is back");
    assert!(!outbound.send(vec![1].into()));
}
