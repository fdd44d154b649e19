//! Two and three supernodes on real loopback sockets, with real trunks between them.

use std::sync::atomic::{AtomicBool, AtomicU64};

use ahoy_net::QuicShard;
use ahoy_proto::{
    LegId, TRUNK_VERSION,
    document::{SupernodeCertificate, SupernodePolicy},
    flow::FlowId,
    limits::CALL_SILENCE,
    placement::{self, Candidate},
    proof::trunk_input,
    v1::ErrorCode,
};
use tokio::{task::JoinHandle, time::Instant};

use super::calls::{Call, attached, connect, voice};
use super::*;
use crate::Member;

/// A supernode of the fleet: what the authority says of it, and itself while it runs.
pub(super) struct Seat {
    key: SigningKey,
    certificate: String,
    pub(super) entry: RosterEntry,
    supernode: Option<Supernode>,
}

impl Seat {
    fn id(&self) -> SupernodeId {
        self.entry.supernode
    }

    pub(super) fn supernode(&self) -> &Supernode {
        self.supernode.as_ref().unwrap()
    }

    pub(super) fn scrape(&self) -> Scrape {
        let mut registry = Registry::default();
        self.supernode().register(&mut registry);
        Scrape(registry)
    }

    pub(super) fn metric(&self, name: &str) -> f64 {
        self.scrape().metric(name)
    }
}

/// Supernodes in the order of their ids, on one store.
pub(super) struct Fleet {
    pub(super) seats: Vec<Seat>,
    store: Store,
    _folder: TempDir,
}

fn entry(key: &SigningKey, number: u32) -> RosterEntry {
    let key = key.verifying_key().to_bytes();
    RosterEntry {
        supernode: SupernodeId::of_roster_key(&key),
        key: Jwk::ed25519(key),
        addresses: Vec::new(),
        region: String::new(),
        weight: 1,
        number,
    }
}

fn certificate(entry: &RosterEntry) -> SupernodeCertificate {
    SupernodeCertificate {
        network: network(),
        supernode: entry.supernode,
        confirmation: Confirmation { jwk: entry.key.clone() },
        number: entry.number,
        policy: SupernodePolicy::Hosted,
        issued_at: unix_now(),
        expires: unix_now().plus(Duration::from_secs(3600)),
    }
}

fn signed(certificate: &SupernodeCertificate) -> String {
    document::sign(certificate, &authority_key())
}

/// Waits for what must come.
pub(super) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        let mut look = tokio::time::interval(Duration::from_millis(2));
        while !holds() {
            look.tick().await;
        }
    };
    in_time(what, wait).await;
}

impl Fleet {
    /// A fleet that is complete.
    pub(super) async fn start(size: usize) -> Self {
        let fleet = Self::of(size, |_, _| {});
        fleet.complete(size).await;
        fleet
    }

    /// Supernodes whose certificates are changed.
    fn of(size: usize, change: impl Fn(usize, &mut SupernodeCertificate)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("ahoy.db")).unwrap();
        let mut seats: Vec<_> =
            (0..size).map(|index| key(101 + index as u8)).map(|key| (entry(&key, 0), key)).collect();
        seats.sort_by_key(|(entry, _)| entry.supernode);
        let seats = seats.into_iter().enumerate().map(|(index, (entry, key))| {
            let mut entry = RosterEntry { number: index as u32 + 1, ..entry };
            let mut certificate = certificate(&entry);
            change(index, &mut certificate);
            let certificate = signed(&certificate);
            let own = SupernodeConfig { roster_key: key.clone(), number: entry.number, ..config(&store, 2, 0) };
            let keys = CredentialKeys { certificate: certificate.clone(), ..keys(no_revocations()) };
            let supernode = Supernode::start(own, keys).unwrap();
            entry.addresses = supernode.addresses().iter().map(ToString::to_string).collect();
            Seat { key, certificate, entry, supernode: Some(supernode) }
        });
        let fleet = Self { seats: seats.collect(), store: store.clone(), _folder: folder };
        fleet.tell(&fleet.entries(), &fleet.ids());
        fleet
    }

    fn entries(&self) -> Vec<RosterEntry> {
        self.seats.iter().map(|seat| seat.entry.clone()).collect()
    }

    fn ids(&self) -> Vec<SupernodeId> {
        self.seats.iter().map(Seat::id).collect()
    }

    /// Hands out a roster, and who has a lease.
    fn tell(&self, roster: &[RosterEntry], leases: &[SupernodeId]) {
        // Those that are dialled hear of it first: a dialler that finds the old certificate once more waits for the next word.
        for seat in self.seats.iter().rev().filter(|seat| seat.supernode.is_some()) {
            let mut keys = CredentialKeys { certificate: seat.certificate.clone(), ..keys(no_revocations()) };
            Arc::make_mut(&mut keys.roster).supernodes = roster.to_vec();
            seat.supernode().update_keys(keys);
            let member = |supernode: &SupernodeId| Member { supernode: *supernode, draining: false };
            seat.supernode().update_members(leases.iter().map(member).collect(), false);
        }
    }

    async fn complete(&self, size: usize) {
        let living = || self.seats.iter().filter(|seat| seat.supernode.is_some());
        until("a view", || living().all(|seat| seat.supernode().figures().supernodes == size)).await;
    }

    /// Ends a supernode without a word.
    pub(super) async fn kill(&mut self, seat: usize) {
        let supernode = self.seats[seat].supernode.take();
        tokio::task::spawn_blocking(move || drop(supernode)).await.unwrap();
    }

    /// Where an account or a call is at home.
    fn home(&self, id: u8) -> usize {
        let candidate = |seat: &Seat| Candidate { supernode: seat.id(), weight: 1 };
        let candidates: Vec<_> = self.seats.iter().map(candidate).collect();
        placement::best(&[id; 16], &candidates).unwrap()
    }

    /// A number from `from` on whose account or call is at home there.
    pub(super) fn number(&self, home: usize, from: u8) -> u8 {
        (from..=u8::MAX).step_by(2).find(|id| self.home(*id) == home).unwrap()
    }

    pub(super) async fn sign_in(&self, seat: usize, person: &Person) -> Client {
        Client::sign_in(&self.seats[seat].entry, person).await
    }

    /// Alice on the first supernode and Bob on the second, each at home where the other is, with a conversation.
    pub(super) async fn two_people(&self) -> (Person, Person, Client, Client) {
        let alice = Person::new("alice", self.number(1, 10));
        let bob = Person::new("bob", self.number(0, 11));
        befriend(&self.store, &alice, &bob).await;
        let (mut on_a, on_b) = (self.sign_in(0, &alice).await, self.sign_in(1, &bob).await);
        on_a.converse(&bob).await;
        (alice, bob, on_a, on_b)
    }
}

fn message(number: u64) -> Ask {
    let sealed = Bytes::from_static(b"hello");
    Ask::SendMessage(v1::SendMessage { conversation: CONVERSATION.to_bytes(), number, generation: 1, epoch: 1, sealed })
}

fn wants_entry(event: Say) -> Option<()> {
    matches!(event, Say::LogEntry(_)).then_some(())
}

#[tokio::test]
async fn a_message_reaches_a_device_on_another_supernode_at_once() {
    let fleet = Fleet::start(2).await;
    let (_, _, mut alice, mut bob) = fleet.two_people().await;
    for number in 1..=20 {
        let told = alice.ask(message(number)).await;
        assert!(matches!(told, Say::MessageAccepted(_)), "{told:?}");
        bob.event(wants_entry).await;
    }
    assert!(fleet.seats[0].metric("ahoy_trunk_messages_sent") > 20.0);
    assert_eq!(fleet.seats[0].metric("ahoy_trunk_messages_dropped"), 0.0);
    assert_eq!(fleet.seats[1].metric("ahoy_trunk_messages_dropped"), 0.0);
}

/// Asks how the contacts are.
async fn watch(client: &mut Client) {
    let listed = client.ask(Ask::ListContacts(v1::ListContacts::default())).await;
    assert!(matches!(listed, Say::Contacts(_)), "{listed:?}");
}

async fn hears(client: &mut Client, availability: v1::Availability) {
    let how = |event| match event {
        Say::PresenceChanged(changed) => changed.presence.map(|presence| presence.availability()),
        _ => None,
    };
    client.event(|event| how(event).filter(|how| *how == availability)).await;
}

#[tokio::test]
async fn contacts_on_two_supernodes_see_each_other_come_and_go() {
    let fleet = Fleet::start(2).await;
    let (alice, _, mut on_a, mut on_b) = fleet.two_people().await;
    watch(&mut on_a).await;
    watch(&mut on_b).await;
    // Devices are away until they say otherwise.
    on_a.ask(Ask::SetActivity(v1::SetActivity { away: false })).await;
    hears(&mut on_b, v1::Availability::Online).await;
    on_b.ask(Ask::SetActivity(v1::SetActivity { away: false })).await;
    hears(&mut on_a, v1::Availability::Online).await;
    on_a.link.close(ErrorCode::Unspecified);
    hears(&mut on_b, v1::Availability::Offline).await;
    let mut again = fleet.sign_in(1, &alice).await;
    watch(&mut again).await;
    hears(&mut again, v1::Availability::Online).await;
}

#[tokio::test]
async fn a_call_between_two_supernodes_rings_and_carries_voice_both_ways() {
    let fleet = Fleet::start(2).await;
    let (_, _, mut alice, mut bob) = fleet.two_people().await;
    for (number, home) in [(fleet.number(0, 30), 0), (fleet.number(1, 30), 1)] {
        let mut call = connect(alice, bob, number).await;
        assert_ne!(call.caller_sends, call.callee_sends, "home {home}");
        for _ in 0..10 {
            call.talk().await;
        }
        call.hang_up(number).await;
        call.callee.event(|event| matches!(event, Say::CallEnded(_)).then_some(())).await;
        Call { caller: alice, callee: bob, .. } = call;
    }
    assert_eq!(fleet.seats[0].metric("ahoy_trunk_voice_packets_sent"), 20.0);
    assert_eq!(fleet.seats[0].metric("ahoy_trunk_voice_packets_received"), 20.0);
}

/// Voice at the pace of a call, until it is told to stop; on a flow that may change.
struct Stream {
    flow: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    longest_gap: JoinHandle<Duration>,
}

impl Stream {
    fn start(from: &Client, to: &Client, flow: FlowId) -> Self {
        let (from, to) = (Arc::clone(&from.link), Arc::clone(&to.link));
        let (flow, over) = (Arc::new(AtomicU64::new(flow.number())), Arc::new(AtomicBool::new(false)));
        let (sending, stop) = (Arc::clone(&flow), Arc::clone(&over));
        let send = async move {
            let mut pace = tokio::time::interval(Duration::from_millis(20));
            loop {
                pace.tick().await;
                let flow = FlowId::new(sending.load(Ordering::SeqCst)).unwrap();
                let _ = from.send_datagram(voice(flow, b"voice"));
            }
        };
        let hear = async move {
            let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
            while !stop.load(Ordering::SeqCst) {
                in_time("voice", to.next_datagram()).await.unwrap();
                longest = longest.max(last.elapsed());
                last = Instant::now();
            }
            longest
        };
        let longest_gap = tokio::spawn(async {
            tokio::select! { gap = hear => gap, () = send => Duration::MAX }
        });
        Self { flow, over, longest_gap }
    }

    async fn end(self) -> Duration {
        self.over.store(true, Ordering::SeqCst);
        self.longest_gap.await.unwrap()
    }
}

pub(super) async fn resynced(client: &mut Client) {
    client.event(|event| matches!(event, Say::Resync(_)).then_some(())).await;
}

async fn attach(client: &mut Client, call_token: &Bytes, leg: u8, stream: &Stream) {
    let attach =
        v1::AttachLeg { call_token: call_token.clone(), leg: LegId([leg; 16]).to_bytes(), sealed: vec![1].into() };
    let mut said = client.ask(Ask::AttachLeg(attach.clone())).await;
    // It may have been on its way when the supernode that it was for was gone.
    if matches!(&said, Say::Error(error) if error.code() == ErrorCode::Unavailable) {
        said = client.ask(Ask::AttachLeg(attach)).await;
    }
    let (flow, _) = attached(said.clone()).unwrap_or_else(|| panic!("{said:?}"));
    stream.flow.store(flow.number(), Ordering::SeqCst);
}

#[tokio::test]
async fn voice_goes_on_when_the_home_of_its_call_dies_and_the_call_can_be_ended() {
    let mut fleet = Fleet::start(3).await;
    let (_, _, alice, bob) = fleet.two_people().await;
    let number = fleet.number(2, 30);
    let mut call = connect(alice, bob, number).await;
    call.talk().await;
    let there = Stream::start(&call.caller, &call.callee, call.caller_sends);
    let back = Stream::start(&call.callee, &call.caller, call.callee_sends);
    let died = Instant::now();
    fleet.kill(2).await;
    resynced(&mut call.caller).await;
    let noticed = died.elapsed();
    resynced(&mut call.callee).await;
    attach(&mut call.caller, &call.caller_token, 3, &there).await;
    attach(&mut call.callee, &call.callee_token, 4, &back).await;
    call.caller.event(|event| matches!(event, Say::LegUp(_)).then_some(())).await;
    call.callee.event(|event| matches!(event, Say::LegUp(_)).then_some(())).await;
    let gaps = [there.end().await, back.end().await];
    println!("the death was noticed after {noticed:?}; the longest silences were {gaps:?}");
    assert!(noticed < Duration::from_secs(4), "{noticed:?}");
    assert!(gaps.iter().all(|gap| *gap < CALL_SILENCE), "{gaps:?}");
    call.hang_up(number).await;
    call.callee.event(|event| matches!(event, Say::CallEnded(_)).then_some(())).await;
}

#[tokio::test]
async fn a_trunk_that_is_revoked_is_closed_and_does_not_come_back() {
    let fleet = Fleet::start(2).await;
    let revoked = Instant::now();
    fleet.tell(&fleet.entries()[..1], &fleet.ids());
    until("the view without it", || fleet.seats[0].supernode().figures().supernodes == 1).await;
    assert!(revoked.elapsed() < Duration::from_secs(2), "{:?}", revoked.elapsed());
    fleet.tell(&fleet.entries(), &fleet.ids());
    fleet.complete(2).await;
}

#[tokio::test]
async fn nobody_is_in_the_view_whose_certificate_does_not_convince_the_one_that_dials() {
    type Change = fn(&mut SupernodeCertificate);
    let changes: [Change; 3] = [
        |certificate| certificate.network = NetworkId([8; 16]),
        |certificate| certificate.expires = UnixTime(certificate.issued_at.0 - 1),
        |certificate| certificate.confirmation.jwk = Jwk::ed25519(key(99).verifying_key().to_bytes()),
    ];
    for change in changes {
        let mut fleet = Fleet::of(2, |index, certificate| {
            if index == 1 {
                change(certificate)
            }
        });
        until("an attempt", || fleet.seats[1].metric("ahoy_links_up") > 0.0).await;
        until("its end", || fleet.seats[1].metric("ahoy_links_half_open") == 0.0).await;
        let dialled = fleet.seats[0].metric("ahoy_trunks_dialled");
        assert_eq!((dialled, fleet.seats[0].supernode().figures().supernodes), (1.0, 1));
        // The authority says something new, and it has a good one.
        let good = signed(&certificate(&fleet.seats[1].entry));
        fleet.seats[1].certificate = good;
        fleet.tell(&fleet.entries(), &fleet.ids());
        fleet.complete(2).await;
    }
}

/// What a stranger shows.
pub(super) struct Shown {
    certificate: String,
    key: SigningKey,
    incarnation: u64,
    signature: Option<Bytes>,
}

impl Shown {
    pub(super) fn good(of: &Seat) -> Self {
        Self { certificate: of.certificate.clone(), key: of.key.clone(), incarnation: 1, signature: None }
    }

    fn join(&self, challenge: &v1::Challenge, exporter: &[u8; 32]) -> v1::JoinTrunk {
        let dialler = SupernodeId::of_roster_key(self.key.verifying_key().as_bytes());
        let dialled = SupernodeId::try_from(&challenge.supernode[..]).unwrap();
        let nonce = challenge.nonce[..].try_into().unwrap();
        let input = trunk_input(network(), dialled, dialler, self.incarnation, nonce, exporter);
        let signature = self.signature.clone();
        v1::JoinTrunk {
            certificate: self.certificate.clone(),
            signature: signature.unwrap_or_else(|| self.key.sign(&input).to_bytes().to_vec().into()),
            version: TRUNK_VERSION,
            incarnation: self.incarnation,
            shards: 1,
        }
    }
}

/// Dials as a stranger does, and gives what comes of it and what was signed.
async fn intrude(at: &RosterEntry, shown: &Shown) -> (LinkEnd, Bytes) {
    let mut client = Client::dial(at).await;
    let Some(Say::Challenge(challenge)) = client.next().await.unwrap().body else { panic!("no challenge") };
    let join = shown.join(&challenge, client.link.quic().exporter().unwrap());
    let signature = join.signature.clone();
    client.send(Ask::JoinTrunk(join));
    (client.end().await, signature)
}

#[tokio::test]
async fn strangers_that_dial_are_refused_each_with_its_code() {
    let fleet = Fleet::of(2, |_, _| {});
    // Nobody has a lease, so that the seat of the first is free.
    fleet.tell(&fleet.entries(), &[]);
    let (first, target) = (&fleet.seats[0], &fleet.seats[1].entry);
    let unlisted = entry(&key(99), 9);
    let of_first = certificate(&first.entry);
    let good = || Shown::good(first);
    let credential = document::sign(&Person::new("mallory", 66).credential(), &authority_key());
    let elsewhere = SupernodeCertificate { network: NetworkId([8; 16]), ..of_first.clone() };
    let expired = SupernodeCertificate { expires: UnixTime(of_first.issued_at.0 - 1), ..of_first.clone() };
    let forged = document::sign(&of_first, &key(99));
    // What the first has signed for another link.
    let (_, signature) = intrude(target, &Shown { incarnation: 2, ..good() }).await;
    let cases = [
        (
            "not in the roster",
            ErrorCode::CredentialRevoked,
            Shown { certificate: signed(&certificate(&unlisted)), key: key(99), ..good() },
        ),
        ("of another network", ErrorCode::WrongNetwork, Shown { certificate: signed(&elsewhere), ..good() }),
        ("expired", ErrorCode::CredentialExpired, Shown { certificate: signed(&expired), ..good() }),
        ("by another authority", ErrorCode::CredentialForged, Shown { certificate: forged, ..good() }),
        ("a copied certificate", ErrorCode::ProofInvalid, Shown { key: key(99), ..good() }),
        (
            "a replayed signature",
            ErrorCode::ProofInvalid,
            Shown { incarnation: 2, signature: Some(signature), ..good() },
        ),
        ("a client's credential", ErrorCode::CredentialForged, Shown { certificate: credential, ..good() }),
    ];
    for (what, code, shown) in cases {
        assert_eq!(intrude(target, &shown).await.0, LinkEnd::Closed(code), "{what}");
        assert_eq!(fleet.seats[1].supernode().figures().supernodes, 1, "{what}");
    }
}

#[tokio::test]
async fn a_session_cannot_become_a_trunk() {
    let fleet = Fleet::start(2).await;
    let (_, _, mut alice, _) = fleet.two_people().await;
    alice.send(Ask::JoinTrunk(v1::JoinTrunk::default()));
    assert_eq!(alice.end().await, LinkEnd::Closed(ErrorCode::OutOfOrder));
}

/// A peer that is who it says and then does as it likes: dials, joins, and sends these bytes. Gives how its link ended, and
/// whether it had joined.
pub(super) fn misbehave(at: RosterEntry, shown: Shown, bytes: Bytes) -> JoinHandle<(bool, ahoy_net::LostCause)> {
    tokio::task::spawn_blocking(move || {
        let sockets = vec![std::net::UdpSocket::bind("127.0.0.1:0").unwrap()];
        let tls = ahoy_net::ServerTls::new(&shown.key, None, false).unwrap();
        let config = ahoy_net::ShardConfig { shard: 0, shards: 1, sockets, tls, reset_key: [5; 32] };
        let mut quic = QuicShard::new(config).unwrap();
        let link = quic.dial(at.addresses[0].parse().unwrap(), &at.key.verifying_key().unwrap()).unwrap();
        let (mut exporter, mut deframer, mut joined) = ([0; 32], frame::Deframer::default(), false);
        loop {
            quic.turn(None).unwrap();
            while let Some(event) = quic.poll_event() {
                match event {
                    ahoy_net::LinkEvent::Up { exporter: ours, .. } => exporter = ours.unwrap(),
                    ahoy_net::LinkEvent::Bytes { bytes, .. } => deframer.push(&bytes),
                    ahoy_net::LinkEvent::Lost { cause, .. } => return (joined, cause),
                    _ => {}
                }
            }
            while !joined && let Ok(Some(message)) = deframer.next(65_536) {
                match v1::SupernodeMessage::decode(message).unwrap().body {
                    Some(Say::Challenge(challenge)) => {
                        let body = Some(Ask::JoinTrunk(shown.join(&challenge, &exporter)));
                        quic.send(link, frame::encode(&v1::ClientMessage { request: 1, body }));
                    }
                    Some(Say::TrunkJoined(_)) => {
                        joined = true;
                        quic.send(link, bytes.clone());
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    })
}

#[tokio::test]
async fn a_peer_whose_bytes_cannot_be_read_loses_its_trunk() {
    let fleet = Fleet::of(2, |_, _| {});
    fleet.tell(&fleet.entries(), &[]);
    let (first, second) = (&fleet.seats[0], &fleet.seats[1]);
    let lease = Member { supernode: first.id(), draining: false };
    second.supernode().update_members(vec![lease], false);
    let nonsense = Bytes::from(vec![0x07; 100_000]);
    let to_no_shard = frame::encode(&v1::TrunkMessage { to_shard: 77, ..Default::default() });
    let too_long = Bytes::from_static(&[0xff, 0xff, 0xff, 0x7f]);
    for bytes in [nonsense, to_no_shard, too_long] {
        let ended = misbehave(second.entry.clone(), Shown::good(first), bytes).await.unwrap();
        assert_eq!(ended, (true, ahoy_net::LostCause::ByPeer));
        fleet.complete(1).await;
    }
    // Its life goes on.
    fleet.tell(&fleet.entries(), &fleet.ids());
    fleet.complete(2).await;
}

#[tokio::test]
async fn a_peer_that_is_not_in_the_view_is_held_within_bounds() {
    let fleet = Fleet::of(2, |_, _| {});
    fleet.tell(&fleet.entries(), &[]);
    let (first, second) = (&fleet.seats[0], &fleet.seats[1]);
    let flood = Bytes::from(vec![0; 2 * 1024 * 1024]);
    let ended = misbehave(second.entry.clone(), Shown::good(first), flood).await.unwrap();
    assert_eq!(ended, (true, ahoy_net::LostCause::ByPeer));
    assert_eq!(second.metric("ahoy_trunk_messages_received"), 0.0);
}

#[tokio::test]
async fn a_supernode_that_drains_refuses_sign_ins_until_it_is_told_to_take_them_again() {
    let fleet = Fleet::start(2).await;
    let (alice, _, mut on_a, _) = fleet.two_people().await;
    let first = fleet.seats[0].supernode();
    first.drain(Duration::from_secs(1), Duration::from_secs(2));
    on_a.event(|event| matches!(event, Say::GoAway(_)).then_some(())).await;
    let refused = Client::turned_away(&fleet.seats[0].entry, &Person::new("late", 99)).await;
    assert_eq!(refused, LinkEnd::Closed(ErrorCode::ShuttingDown));
    assert_eq!((first.figures().sessions, first.figures().supernodes), (1, 2));
    first.undrain();
    fleet.sign_in(0, &alice).await;
}

#[tokio::test]
async fn a_trunk_that_breaks_while_its_ends_drain_is_dialled_anew() {
    let fleet = Fleet::start(2).await;
    for seat in &fleet.seats {
        seat.supernode().drain(Duration::from_secs(60), Duration::ZERO);
    }
    // The second is not listed for a moment, so that the first ends what there is between them.
    fleet.tell(&fleet.entries()[..1], &fleet.ids());
    until("the view without it", || fleet.seats[0].supernode().figures().supernodes == 1).await;
    fleet.tell(&fleet.entries(), &fleet.ids());
    fleet.complete(2).await;
}

#[tokio::test]
async fn a_supernode_of_a_fleet_that_shuts_down_leaves_its_calls_to_the_others() {
    let mut fleet = Fleet::start(3).await;
    let (_, _, alice, bob) = fleet.two_people().await;
    let number = fleet.number(2, 30);
    let mut call = connect(alice, bob, number).await;
    let there = Stream::start(&call.caller, &call.callee, call.caller_sends);
    let back = Stream::start(&call.callee, &call.caller, call.callee_sends);
    let third = fleet.seats[2].supernode.take().unwrap();
    let id = fleet.seats[2].id();
    for seat in &fleet.seats[..2] {
        // As its lease says.
        let member = |supernode: &SupernodeId| Member { supernode: *supernode, draining: *supernode == id };
        seat.supernode().update_members(fleet.ids().iter().map(member).collect(), false);
    }
    let ended = tokio::task::spawn_blocking(move || third.shut_down(Duration::from_secs(1), Duration::from_secs(1)));
    resynced(&mut call.caller).await;
    attach(&mut call.caller, &call.caller_token, 3, &there).await;
    resynced(&mut call.callee).await;
    attach(&mut call.callee, &call.callee_token, 4, &back).await;
    ended.await.unwrap();
    fleet.complete(2).await;
    let gaps = [there.end().await, back.end().await];
    println!("the longest silences were {gaps:?}");
    assert!(gaps.iter().all(|gap| *gap < CALL_SILENCE), "{gaps:?}");
    call.hang_up(number).await;
    call.callee.event(|event| matches!(event, Say::CallEnded(_)).then_some(())).await;
}
