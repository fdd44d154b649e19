//! Shards and clients on real loopback sockets.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::JoinHandle,
};

use ahoy_proto::{
    SupernodeId,
    document::{Jwk, RosterEntry},
    frame,
    limits::OUTBOUND_QUEUE_MAX,
    v1,
};
use ed25519_dalek::SigningKey;
use prost::Message as _;

use super::{socket::Sent, *};
use crate::{
    client::{self, ClientLink, DialOptions, LinkEnd, dial},
    listen, tls,
};

mod trunk;
mod web;

const RESET_KEY: [u8; 32] = [5; 32];

fn roster_key() -> SigningKey {
    SigningKey::from_bytes(&[4; 32])
}

fn server_tls() -> ServerTls {
    ServerTls::new(&roster_key(), Some(web::web()), false).unwrap()
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn entry(address: SocketAddr) -> RosterEntry {
    let key = *roster_key().verifying_key().as_bytes();
    RosterEntry {
        supernode: SupernodeId::of_roster_key(&key),
        key: Jwk::ed25519(key),
        addresses: vec![address.to_string()],
        region: String::new(),
        number: 0,
        weight: 1,
    }
}

/// A message with a marked length.
fn message(length: usize) -> Bytes {
    frame::encode(&v1::CallToken { call: vec![1; 16].into(), call_token: vec![7; length].into() })
}

/// Shards on threads of their own. Each sends its exporter when a link comes up, returns what it receives, and does as
/// the first byte of a datagram says.
struct Rig {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    wakers: Vec<Arc<Waker>>,
    threads: Vec<JoinHandle<Counters>>,
    lost: Arc<Mutex<Vec<LostCause>>>,
}

const FLOOD: u8 = 1;
const FLUSH_AND_CLOSE: u8 = 2;

impl Rig {
    fn start(shards: u16, port: u16) -> Self {
        Self::of(server_tls(), shards, port)
    }

    fn of(tls: ServerTls, shards: u16, port: u16) -> Self {
        let sets = listen::bind(&[loopback(port).into()], shards).unwrap();
        let address = sets[0][0].local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let lost = Arc::new(Mutex::new(Vec::new()));
        let quic: Vec<_> = sets
            .into_iter()
            .zip(0..)
            .map(|(sockets, shard)| {
                QuicShard::new(ShardConfig { shard, shards, sockets, tls: tls.clone(), reset_key: RESET_KEY }).unwrap()
            })
            .collect();
        let wakers: Vec<_> = quic.iter().map(QuicShard::waker).collect();
        let (senders, receivers): (Vec<_>, Vec<_>) = quic.iter().map(|_| mpsc::sync_channel(64)).unzip();
        let threads = quic
            .into_iter()
            .zip(receivers)
            .map(|(shard, foreign)| {
                let (stop, lost) = (Arc::clone(&stop), Arc::clone(&lost));
                let (senders, wakers) = (senders.clone(), wakers.clone());
                std::thread::spawn(move || serve(shard, &foreign, &senders, &wakers, &stop, &lost))
            })
            .collect();
        Self { address, stop, wakers, threads, lost }
    }

    /// Stops without a word to the clients, like a process that is killed. Gives what was counted and which links were lost.
    fn kill(self) -> (Counters, Vec<LostCause>) {
        self.stop.store(true, Ordering::SeqCst);
        self.wakers.iter().for_each(|waker| waker.wake().unwrap());
        let mut sum = Counters::default();
        for thread in self.threads {
            let counters = thread.join().unwrap();
            sum.packets_handed_over += counters.packets_handed_over;
            sum.packets_taken_over += counters.packets_taken_over;
            sum.resets_sent += counters.resets_sent;
            sum.packets_ignored += counters.packets_ignored;
            sum.datagrams_displaced += counters.datagrams_displaced;
        }
        (sum, std::mem::take(&mut self.lost.lock().unwrap()))
    }
}

fn serve(
    mut shard: QuicShard,
    foreign: &mpsc::Receiver<ForeignPacket>,
    senders: &[mpsc::SyncSender<ForeignPacket>],
    wakers: &[Arc<Waker>],
    stop: &AtomicBool,
    lost: &Mutex<Vec<LostCause>>,
) -> Counters {
    while !stop.load(Ordering::SeqCst) {
        shard.turn(None).unwrap();
        while let Ok(packet) = foreign.try_recv() {
            shard.handle_foreign(packet);
        }
        while let Some(event) = shard.poll_event() {
            match event {
                LinkEvent::Up { link, exporter } => {
                    let nonce = exporter.map_or_else(Vec::new, |exporter| exporter.to_vec());
                    shard.send(link, frame::encode(&v1::Challenge { nonce: nonce.into(), ..Default::default() }));
                }
                LinkEvent::Bytes { link, bytes } => shard.send(link, bytes),
                LinkEvent::Datagram { link, bytes } if bytes[0] == FLOOD => {
                    for _ in 0..=OUTBOUND_QUEUE_MAX / 60_000 + 4 {
                        shard.send(link, message(60_000));
                    }
                }
                LinkEvent::Datagram { link, bytes } if bytes[0] == FLUSH_AND_CLOSE => {
                    for _ in 0..10 {
                        shard.send(link, message(60_000));
                    }
                    shard.close(link, ErrorCode::SessionReplaced);
                }
                LinkEvent::Datagram { link, bytes } => shard.send_datagram(link, bytes),
                LinkEvent::Lost { cause, .. } => lost.lock().unwrap().push(cause),
                LinkEvent::Foreign { shard, packet } => {
                    // One that has been killed already takes nothing.
                    if senders[usize::from(shard)].send(packet).is_ok() {
                        wakers[usize::from(shard)].wake().unwrap();
                    }
                }
            }
        }
    }
    *shard.counters()
}

async fn connect(rig: &Rig) -> ClientLink {
    dial(&entry(rig.address), &DialOptions::default()).await.unwrap()
}

async fn echo(link: &ClientLink, word: &'static [u8]) {
    link.send_datagram(Bytes::from_static(word)).unwrap();
    assert_eq!(link.next_datagram().await.unwrap(), word);
}

#[tokio::test]
async fn the_server_speaks_first_and_both_ends_export_the_same_key() {
    let rig = Rig::start(1, 0);
    let link = connect(&rig).await;
    let challenge = v1::Challenge::decode(link.next_message().await.unwrap()).unwrap();
    assert_eq!(challenge.nonce, link.exporter().unwrap()[..]);
    rig.kill();
}

#[tokio::test]
async fn messages_and_datagrams_go_there_and_back() {
    let rig = Rig::start(1, 0);
    let link = connect(&rig).await;
    link.next_message().await.unwrap();
    for length in [0, 1, 1_000, 60_000] {
        link.send(message(length)).unwrap();
        let back = v1::CallToken::decode(link.next_message().await.unwrap()).unwrap();
        assert_eq!(back.call_token.len(), length);
    }
    echo(&link, b"\x10voice").await;
    rig.kill();
}

#[tokio::test]
async fn a_ping_comes_back_without_anybody_above_hearing_of_it() {
    let rig = Rig::start(1, 0);
    let link = connect(&rig).await;
    link.next_message().await.unwrap();
    for _ in 0..3 {
        link.ping();
        assert!(link.next_datagram().await.unwrap().is_empty());
    }
    assert_eq!(rig.kill().0.datagrams_sent, 0);
}

#[tokio::test]
async fn a_burst_of_datagrams_in_one_turn_is_not_cut_down_to_the_buffer() {
    let rig = Rig::start(1, 0);
    let link = connect(&rig).await;
    for _ in 0..40 {
        link.connection().send_datagram_wait(Bytes::from_static(&[9; 200])).await.unwrap();
    }
    for _ in 0..40 {
        link.next_datagram().await.unwrap();
    }
    assert_eq!(rig.kill().0.datagrams_displaced, 0);
}

#[tokio::test]
async fn a_supernode_with_another_key_is_not_trusted() {
    let rig = Rig::start(1, 0);
    let mut entry = entry(rig.address);
    entry.key = Jwk::ed25519(*SigningKey::from_bytes(&[6; 32]).verifying_key().as_bytes());
    let dialled = dial(&entry, &DialOptions::default()).await;
    assert!(matches!(dialled, Err(client::DialError::NotTheSupernode)), "{dialled:?}");
    rig.kill();
}

#[tokio::test]
async fn dialling_takes_the_address_that_answers() {
    let rig = Rig::start(1, 0);
    let silent = UdpSocket::bind(loopback(0)).unwrap();
    let mut entry = entry(rig.address);
    entry.addresses.insert(0, silent.local_addr().unwrap().to_string());
    let link = dial(&entry, &DialOptions::default()).await.unwrap();
    assert_eq!(link.remote_address(), rig.address);
    rig.kill();
}

#[tokio::test]
async fn dialling_nobody_ends_in_time_and_says_so() {
    let silent = UdpSocket::bind(loopback(0)).unwrap();
    let options = DialOptions { timeout: Duration::from_millis(300), ..Default::default() };
    let dialled = dial(&entry(silent.local_addr().unwrap()), &options).await;
    assert!(matches!(dialled, Err(client::DialError::NoAnswer)), "{dialled:?}");
}

#[tokio::test]
async fn what_was_sent_before_a_close_arrives_before_it() {
    let rig = Rig::start(1, 0);
    let link = connect(&rig).await;
    link.next_message().await.unwrap();
    link.send_datagram(Bytes::from_static(&[FLUSH_AND_CLOSE])).unwrap();
    for _ in 0..10 {
        link.next_message().await.unwrap();
    }
    assert_eq!(link.next_message().await, Err(LinkEnd::Closed(ErrorCode::SessionReplaced)));
    assert_eq!(rig.kill().1, []);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off() {
    let rig = Rig::start(1, 0);
    let link = connect(&rig).await;
    link.send_datagram(Bytes::from_static(&[FLOOD])).unwrap();
    assert_eq!(link.ended().await, LinkEnd::Closed(ErrorCode::SlowReader));
    assert_eq!(rig.kill().1, [LostCause::SlowReader]);
}

#[tokio::test]
async fn a_stream_that_the_client_opens_ends_the_link() {
    for bidirectional in [true, false] {
        let rig = Rig::start(1, 0);
        let link = connect(&rig).await;
        let mut stream = match bidirectional {
            true => link.connection().open_bi().await.unwrap().0,
            false => link.connection().open_uni().await.unwrap(),
        };
        stream.write_all(b"hello").await.unwrap();
        assert_eq!(link.ended().await, LinkEnd::Closed(ErrorCode::UnexpectedStream));
        assert_eq!(rig.kill().1, [LostCause::UnexpectedStream]);
    }
}

#[tokio::test]
async fn a_client_that_says_goodbye_is_lost_at_once() {
    let rig = Rig::start(1, 0);
    let link = connect(&rig).await;
    link.close(ErrorCode::Unspecified);
    link.flush_close().await;
    let other = connect(&rig).await;
    echo(&other, b"\x10voice").await;
    assert_eq!(rig.kill().1, [LostCause::ByPeer]);
}

#[tokio::test]
async fn a_restarted_server_resets_the_links_of_its_predecessor() {
    for shards in [1, 2] {
        let rig = Rig::start(shards, 0);
        let address = rig.address;
        let link = connect(&rig).await;
        echo(&link, b"\x10voice").await;
        rig.kill();
        let rig = Rig::start(shards, address.port());
        link.send_datagram(Bytes::from_static(b"\x10voice")).unwrap();
        let end = tokio::time::timeout(Duration::from_secs(5), link.ended()).await;
        assert_eq!(end, Ok(LinkEnd::Reset));
        assert_eq!(rig.kill().0.resets_sent, 1);
    }
}

#[tokio::test]
async fn a_client_whose_packets_reach_another_shard_goes_on() {
    let rig = Rig::start(2, 0);
    let link = connect(&rig).await;
    // The kernel picks a shard by the client's port: of 24 ports, all pick the same once in 2^23 runs.
    for _ in 0..24 {
        link.rebind().unwrap();
        link.connection().send_datagram_wait(Bytes::from_static(b"\x10voice")).await.unwrap();
        link.next_datagram().await.unwrap();
    }
    let (counters, _) = rig.kill();
    assert!(counters.packets_handed_over > 0);
    assert_eq!(counters.packets_handed_over, counters.packets_taken_over);
}

#[tokio::test]
async fn a_mebibyte_of_noise_harms_nobody() {
    let rig = Rig::start(2, 0);
    let link = connect(&rig).await;
    let noise = UdpSocket::bind(loopback(0)).unwrap();
    let mut sent = 0;
    while sent < 1 << 20 {
        let mut packet = vec![0; rand::random_range(1..1472)];
        rand::fill(&mut packet[..]);
        noise.send_to(&packet, rig.address).unwrap();
        sent += packet.len();
    }
    echo(&link, b"\x10voice").await;
    let other = connect(&rig).await;
    echo(&other, b"\x10voice").await;
    assert!(rig.kill().0.packets_ignored > 0);
}

/// A shard that is turned by the test itself, and first packets of clients that go no further.
struct Still {
    shard: QuicShard,
    clients: Vec<(Endpoint, Connection)>,
    socket: UdpSocket,
    address: SocketAddr,
}

impl Still {
    fn new() -> Self {
        let mut sets = listen::bind(&[loopback(0).into()], 1).unwrap();
        let sockets = sets.remove(0);
        let address = sockets[0].local_addr().unwrap();
        let config = ShardConfig { shard: 0, shards: 1, sockets, tls: server_tls(), reset_key: RESET_KEY };
        let socket = UdpSocket::bind(loopback(0)).unwrap();
        Self { shard: QuicShard::new(config).unwrap(), clients: Vec::new(), socket, address }
    }

    fn half_open(&mut self) {
        let tls = tls::client(&roster_key().verifying_key(), false).unwrap();
        let mut endpoint = Endpoint::new(Arc::new(EndpointConfig::default()), None, false, None);
        let config = quinn_proto::ClientConfig::new(Arc::new(tls));
        let (_, mut connection) = endpoint.connect(Instant::now(), config, self.address, tls::NAME).unwrap();
        let mut packet = Vec::new();
        let _ = connection.poll_transmit(Instant::now(), 1, &mut packet).expect("a first packet");
        self.socket.send_to(&packet, self.address).unwrap();
        self.clients.push((endpoint, connection));
        self.turn();
    }

    /// Until the shard has taken what was sent.
    fn turn(&mut self) {
        let seen = self.shard.counters.packets_received;
        while self.shard.counters.packets_received == seen {
            self.shard.turn(None).unwrap();
        }
    }

    /// The newest client takes one packet of the shard's, and answers it.
    fn answer(&mut self) {
        let (endpoint, connection) = self.clients.last_mut().unwrap();
        let mut packet = [0; 1500];
        let (length, from) = self.socket.recv_from(&mut packet).unwrap();
        let (now, data) = (Instant::now(), BytesMut::from(&packet[..length]));
        let event = endpoint.handle(now, from, None, None, data, &mut Vec::new());
        let Some(DatagramEvent::ConnectionEvent(_, event)) = event else { panic!("nothing for the client") };
        connection.handle_event(event);
        let mut answer = Vec::new();
        let _ = connection.poll_transmit(now, 1, &mut answer).expect("an answer");
        self.socket.send_to(&answer, self.address).unwrap();
        self.turn();
    }

    /// As after a storm that goes on.
    fn use_up_the_budget(&mut self) {
        let later = Instant::now() + Duration::from_secs(60);
        while self.shard.budget.take(later) {}
    }
}

#[test]
fn a_handshake_that_is_not_finished_in_time_is_dropped() {
    let mut still = Still::new();
    still.half_open();
    assert_eq!(still.shard.handshakes(), 1);
    still.shard.handle_timeouts(Instant::now() + PROOF_TIMEOUT);
    assert_eq!(still.shard.handshakes(), 0);
    assert_eq!(still.shard.counters().handshakes_failed, 1);
    assert!(still.shard.poll_event().is_none());
    // Quinn keeps a closed connection for three probe timeouts, then nothing of it is left.
    let later = Instant::now() + 2 * PROOF_TIMEOUT;
    still.shard.flush(later);
    still.shard.handle_timeouts(later);
    still.shard.flush(later);
    assert_eq!(still.shard.connections(), 0);
}

#[test]
fn under_load_an_address_must_be_shown_to_receive() {
    let mut still = Still::new();
    for _ in 0..limits::HANDSHAKES_BEFORE_RETRY {
        still.half_open();
    }
    assert_eq!(still.shard.counters().retries_sent, 0);
    still.half_open();
    assert_eq!(still.shard.counters().retries_sent, 1);
    assert_eq!(still.shard.handshakes(), limits::HANDSHAKES_BEFORE_RETRY);
}

#[test]
fn in_a_storm_an_address_must_be_shown_to_receive_and_then_wait_its_turn() {
    let mut still = Still::new();
    still.use_up_the_budget();
    still.half_open();
    assert_eq!((still.shard.counters().retries_sent, still.shard.counters().handshakes_refused), (1, 0));
    still.answer();
    assert_eq!((still.shard.counters().retries_sent, still.shard.counters().handshakes_refused), (1, 1));
    assert_eq!(still.shard.connections(), 0);
}

#[test]
fn beyond_the_bound_no_handshake_is_begun() {
    let mut still = Still::new();
    still.shard.handshakes = limits::HANDSHAKES_MAX;
    still.half_open();
    assert_eq!(still.shard.counters().handshakes_refused, 1);
    assert_eq!(still.shard.connections(), 0);
}

fn transmit(destination: SocketAddr, size: usize) -> quinn_proto::Transmit {
    quinn_proto::Transmit { destination, ecn: None, size, segment_size: None, src_ip: None }
}

#[test]
fn a_packet_that_can_not_be_sent_is_counted_and_forgotten() {
    let mut still = Still::new();
    let socket = &mut still.shard.sockets[0];
    let mut counters = Counters::default();
    // A socket of the loopback address reaches no other.
    let elsewhere = SocketAddr::from(([192, 0, 2, 1], 9));
    assert_eq!(socket.send(&transmit(elsewhere, 3), b"abc", &mut counters), Sent::Yes);
    assert_eq!((counters.sends_failed, counters.packets_sent), (1, 0));
    assert!(!socket.is_stuck());
}

#[test]
fn a_full_socket_holds_packets_back_and_loses_none() {
    let mut still = Still::new();
    still.half_open();
    let here = still.socket.local_addr().unwrap();
    let sent = still.shard.counters().packets_sent;
    still.shard.sockets[0].stick(&transmit(here, 3), b"abc");
    still.shard.abort(0, ErrorCode::Unspecified, LostCause::Closed, Instant::now());
    still.shard.flush(Instant::now());
    assert_eq!(still.shard.counters().packets_sent, sent);

    assert!(still.shard.sockets[0].unstick());
    still.shard.resume();
    still.shard.flush(Instant::now());
    assert_eq!(still.shard.counters().packets_sent, sent + 1);
    let mut packet = [0; 1500];
    let lengths: Vec<_> = (0..=sent + 1).map(|_| still.socket.recv(&mut packet).unwrap()).collect();
    assert_eq!(lengths[sent as usize], 3);
}
