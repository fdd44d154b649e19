//! Every metric is exported, documented and moves.

use std::{
    collections::BTreeSet,
    net::UdpSocket,
    sync::{Mutex, mpsc},
};

use ahoy_net::DialError;
use ahoy_proto::{CallId, LegId, document::Revoked, v1::ErrorCode};
use ahoy_store::{StoreError, Transaction, Verb};

use super::{
    calls::{call, connect, voice},
    fleet::{Fleet, Shown, misbehave, resynced, until},
    *,
};

/// Metrics that nothing on a loopback interface moves, and who shows that they count.
const MOVED_ELSEWHERE: &[&str] = &[
    // ahoy-net's own tests have more handshakes under way than a test of the whole can.
    "ahoy_quic_handshakes",
    "ahoy_handshakes_refused",
    "ahoy_retries",
    // The loopback interface takes every packet at once; ahoy-net tests what happens when a socket does not.
    "ahoy_udp_sends_failed",
    "ahoy_udp_sends_stalled",
    // ahoy-net's tests of trunks dial where nobody is, dial in numbers, and fill a trunk.
    "ahoy_trunks_failed",
    "ahoy_trunks_kept_small",
    "ahoy_trunk_packets_displaced",
    // Two supernodes that see the fleet differently for a moment; the exchange's tests have three that do.
    "ahoy_trunk_messages_forwarded",
    // Five hundred would have to sign in at the same moment; the exchange's tests have them.
    "ahoy_sign_ins_put_off",
    // 65,536 messages would have to wait; the inbox's test fills a smaller queue.
    "ahoy_signals_dropped",
];

/// Names of metrics that have been seen above zero.
#[derive(Default)]
struct Moved(BTreeSet<String>);

impl Moved {
    fn look(&mut self, scrape: &Scrape) {
        self.0.extend(scrape.series().into_iter().filter(|(_, number)| *number > 0.0).map(|(name, _)| name));
    }
}

#[tokio::test]
async fn every_metric_moves() {
    let mut moved = Moved::default();
    let rig = Rig::start(2);
    let (alice, bob) = rig.two_people().await;
    calls_and_sessions(&rig, &alice, &bob, &mut moved).await;
    people_and_messages(&rig, &alice, &bob, &mut moved).await;
    refusals(&rig, &alice, &mut moved).await;
    busy_store(&rig, &alice, &mut moved).await;
    let rig = restart(rig, &alice, &bob, &mut moved).await;
    rig.supernode.drain(Duration::ZERO, Duration::ZERO);
    assert_eq!(Client::turned_away(&rig.entry(), &alice).await, LinkEnd::Closed(ErrorCode::ShuttingDown));
    let scrape = rig.stop();
    moved.look(&scrape);
    moved.look(&full().await);
    fleet(&mut moved).await;
    clogged(&mut moved);

    let all: BTreeSet<String> = scrape.series().into_iter().map(|(name, _)| name).collect();
    let still: Vec<_> = all.difference(&moved.0).filter(|name| !MOVED_ELSEWHERE.contains(&name.as_str())).collect();
    assert_eq!(still, Vec::<&String>::new());
}

#[test]
fn every_metric_says_what_it_counts() {
    let text = Rig::start(1).stop().text();
    let helps = text.lines().filter_map(|line| line.strip_prefix("# HELP "));
    let types = text.lines().filter(|line| line.starts_with("# TYPE "));
    assert_eq!(helps.clone().count(), types.count());
    for help in helps {
        let (name, words) = help.split_once(' ').unwrap();
        assert!(words.len() > 4, "{name} does not say what it counts");
    }
}

async fn calls_and_sessions(rig: &Rig, alice: &Person, bob: &Person, moved: &mut Moved) {
    let half_open = rig.dial().await;
    let by_socket = Client::by_socket(&rig.supernode);
    by_socket.next().await.unwrap();
    for number in 1..=16 {
        let mut call = call(rig, alice, bob, number).await;
        call.callee.link.send_datagram(voice(call.caller_sends, b"forged")).unwrap();
        call.caller.link.rebind().unwrap();
        call.talk().await;
        moved.look(&rig.scrape);
        call.hang_up(number).await;
    }
    half_open.link.close(ErrorCode::Unspecified);
    half_open.link.flush_close().await;
    let noise = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    noise.send_to(&[0xff; 9], rig.supernode.addresses()[0]).unwrap();
}

async fn people_and_messages(rig: &Rig, alice: &Person, bob: &Person, moved: &mut Moved) {
    let (mut client, mut other) = (rig.sign_in(alice).await, rig.sign_in(bob).await);
    for client in [&mut client, &mut other] {
        let listed = client.ask(Ask::ListContacts(v1::ListContacts::default())).await;
        assert!(matches!(&listed, Say::Contacts(contacts) if contacts.contacts.len() == 1), "{listed:?}");
    }
    other.event(|event| matches!(event, Say::PresenceChanged(_)).then_some(())).await;
    for block in [true, false] {
        let changed = client.ask(Ask::BlockAccount(v1::BlockAccount { account: bob.account.to_bytes(), block })).await;
        assert!(matches!(changed, Say::ContactChanged(_)), "{changed:?}");
    }
    let conversation = || CONVERSATION.to_bytes();
    let sealed = || Bytes::from_static(b"sealed");
    let message =
        v1::SendMessage { conversation: conversation(), number: 1, generation: 1, epoch: 1, sealed: sealed() };
    let accepted = client.ask(Ask::SendMessage(message)).await;
    assert!(matches!(accepted, Say::MessageAccepted(_)), "{accepted:?}");
    let [commit, group_info] = [sealed(), sealed()];
    let commit =
        v1::Commit { conversation: conversation(), generation: 1, epoch: 1, commit, group_info, ..Default::default() };
    let accepted = client.ask(Ask::Commit(commit)).await;
    assert!(matches!(accepted, Say::CommitAccepted(_)), "{accepted:?}");
    client.ask(Ask::SetReceipt(v1::SetReceipt { conversation: conversation(), sealed: sealed() })).await;
    client.ask(Ask::SendSignal(v1::SendSignal { conversation: conversation(), sealed: sealed() })).await;
    other.event(|event| matches!(event, Say::Signal(_)).then_some(())).await;
    unfinished(rig, client, moved).await;
    names(rig, alice).await;
}

/// A long message that has begun, and goes on as it may not.
async fn unfinished(rig: &Rig, client: Client, moved: &mut Moved) {
    for piece in [Bytes::from_static(b"begun"), Bytes::new()] {
        let body = Some(Ask::Fragment(v1::Fragment { piece, last: false }));
        client.link.send(frame::encode(&v1::ClientMessage { request: 0, body })).unwrap();
        while rig.scrape.metric("ahoy_long_message_bytes") + rig.scrape.metric("ahoy_fragments_refused") == 0.0 {
            tokio::task::yield_now().await;
        }
        moved.look(&rig.scrape);
    }
    assert_eq!(client.end().await, LinkEnd::Closed(ErrorCode::Malformed));
}

/// More names than an account may learn, on as many links as it takes.
async fn names(rig: &Rig, person: &Person) {
    while rig.scrape.metric("ahoy_names_refused") == 0.0 {
        let mut client = rig.sign_in(person).await;
        for _ in 0..20 {
            client.ask(Ask::SearchDirectory(v1::SearchDirectory { prefix: "nobody".to_owned() })).await;
        }
    }
}

async fn refusals(rig: &Rig, alice: &Person, moved: &mut Moved) {
    let mut forger = rig.dial().await;
    forger.prove(&alice.credential(), &key(99)).await;
    assert_eq!(forger.end().await, LinkEnd::Closed(ErrorCode::ProofInvalid));
    let mut entry = rig.entry();
    entry.key = Jwk::ed25519(*key(98).verifying_key().as_bytes());
    let stranger = dial(&entry, &DialOptions::default()).await;
    assert!(matches!(stranger, Err(DialError::NotTheSupernode)), "{stranger:?}");

    let replaced = rig.sign_in(alice).await;
    let mut client = rig.sign_in(alice).await;
    assert_eq!(replaced.end().await, LinkEnd::Closed(ErrorCode::SessionReplaced));
    let leg = LegId([8; 16]).to_bytes();
    let attach = v1::AttachLeg { call_token: vec![1; 60].into(), leg, sealed: vec![1].into() };
    let refused = client.ask(Ask::AttachLeg(attach)).await;
    assert!(matches!(&refused, Say::Error(error) if error.code() == ErrorCode::CallTokenRefused), "{refused:?}");
    while rig.scrape.metric("ahoy_requests_rate_limited") == 0.0 {
        client.ask(Ask::ListConversations(v1::ListConversations::default())).await;
    }
    moved.look(&rig.scrape);
}

/// Keeps the store from its work until something comes.
struct Wait(mpsc::Receiver<()>);

impl Verb for Wait {
    type Output = ();
    fn run(&self, _: &Transaction<'_>) -> Result<(), StoreError> {
        _ = self.0.recv();
        Ok(())
    }
}

/// A question waits behind a store that is held up, and another one finds its queue full.
async fn busy_store(rig: &Rig, alice: &Person, moved: &mut Moved) {
    let mut client = rig.sign_in(alice).await;
    let (release, wait) = mpsc::channel();
    rig.store.submit(Wait(wait), |_| {});
    client.send(Ask::ListConversations(v1::ListConversations::default()));
    while rig.scrape.metric("ahoy_store_questions_waiting") == 0.0 {
        tokio::task::yield_now().await;
    }
    moved.look(&rig.scrape);
    let full = Arc::new(Mutex::new(false));
    while !*full.lock().unwrap() {
        let full = Arc::clone(&full);
        rig.store.submit(ahoy_store::KeyLogHeadNow, move |result| {
            *full.lock().unwrap() |= result == Err(StoreError::Busy);
        });
    }
    let refused = client.ask(Ask::FetchInbox(v1::FetchInbox { after: 0 })).await;
    assert!(matches!(&refused, Say::Error(error) if error.code() == ErrorCode::Unavailable), "{refused:?}");
    release.send(()).unwrap();
    moved.look(&rig.scrape);
}

/// The process dies in a call; its successor takes the call up again. Then the caller's device is revoked.
async fn restart(rig: Rig, alice: &Person, bob: &Person, moved: &mut Moved) -> Rig {
    let call = call(&rig, alice, bob, 30).await;
    let port = rig.supernode.addresses()[0].port();
    let Rig { supernode, store, _folder: folder, scrape, .. } = rig;
    drop(supernode);
    moved.look(&scrape);
    let rig = Rig::on(store, folder, 2, port);
    call.caller.link.send_datagram(voice(call.caller_sends, &[0; 40])).unwrap();
    assert_eq!(call.caller.link.ended().await, LinkEnd::Reset);
    let mut caller = rig.sign_in(alice).await;
    let leg = LegId([31; 16]).to_bytes();
    let attach = v1::AttachLeg { call_token: call.caller_token, leg, sealed: vec![1].into() };
    let attached = caller.ask(Ask::AttachLeg(attach)).await;
    assert!(matches!(&attached, Say::LegAttached(leg) if leg.call == CallId([30; 16]).to_bytes()), "{attached:?}");
    let mut revocations = no_revocations();
    revocations.serial = 2;
    revocations.devices.push(Revoked { id: alice.device, at: unix_now().plus(Duration::from_secs(1)) });
    rig.supernode.update_keys(keys(revocations));
    assert_eq!(caller.end().await, LinkEnd::Closed(ErrorCode::CredentialRevoked));
    moved.look(&rig.scrape);
    rig
}

/// A supernode that has room for one session.
async fn full() -> Scrape {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("ahoy.db")).unwrap();
    let config = SupernodeConfig { shard_sessions_max: 1, ..config(&store, 1, 0) };
    let rig = Rig::of(config, store, folder);
    let (alice, bob) = rig.two_people().await;
    let _first = rig.sign_in(&alice).await;
    assert_eq!(Client::turned_away(&rig.entry(), &bob).await, LinkEnd::Closed(ErrorCode::Overloaded));
    rig.stop()
}

/// Two supernodes with a call between them, of which one dies, and then a peer that says what nobody can read.
async fn fleet(moved: &mut Moved) {
    let mut fleet = Fleet::start(2).await;
    let (_, _, alice, bob) = fleet.two_people().await;
    let number = fleet.number(0, 30);
    let mut call = connect(alice, bob, number).await;
    call.talk().await;
    for seat in &fleet.seats {
        moved.look(&seat.scrape());
    }
    fleet.kill(0).await;
    resynced(&mut call.callee).await;
    let (dead, living) = (Shown::good(&fleet.seats[0]), &fleet.seats[1]);
    let messages = [0, 77].map(|to_shard| frame::encode(&v1::TrunkMessage { to_shard, ..Default::default() }));
    misbehave(living.entry.clone(), dead, messages.concat().into()).await.unwrap();
    // The numbers are published after the turn that ended the trunk.
    until("what was dropped", || living.metric("ahoy_trunk_messages_dropped") > 0.0).await;
    moved.look(&living.scrape());
}

/// A supernode whose second shard does not get on, so that packets for it pile up at the first.
fn clogged(moved: &mut Moved) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("ahoy.db")).unwrap();
    let gate = Arc::new(Mutex::new(()));
    let closed = Arc::clone(&gate);
    let clock = move || {
        if std::thread::current().name() == Some("shard-1") {
            drop(closed.lock().unwrap());
        }
        shard::moment()
    };
    let held = gate.lock().unwrap();
    let rig = Rig::with_clock(config(&store, 2, 0), store, folder, Arc::new(clock), Arc::default());
    // Short packets whose connection id belongs to the second shard. Some ports lead to the first: all but once in 65,536.
    let packet = [0x41; 40];
    let sockets: Vec<_> = (0..16).map(|_| UdpSocket::bind(("127.0.0.1", 0)).unwrap()).collect();
    while rig.scrape.metric("ahoy_handovers_dropped") == 0.0 {
        for socket in &sockets {
            socket.send_to(&packet, rig.supernode.addresses()[0]).unwrap();
        }
    }
    moved.look(&rig.scrape);
    drop(held);
}
