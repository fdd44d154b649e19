//! Clients on real loopback sockets, and several supernodes that know nothing of each other: what a client does where one of a fleet is
//! dead, full, goes down, or is not what it says.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ahoy_proto::api::Base64Url;
use ahoy_proto::call_token::CallTokenKey;
use ahoy_proto::document::{
    self, Confirmation, Credential, Jwk, Revocations, Roster, RosterEntry, SigningKeyCertificate, SupernodeCertificate,
    SupernodePolicy,
};
use ahoy_proto::placement::{Candidate, rank};
use ahoy_proto::{NetworkId, SupernodeId, UnixTime, binding};
use ahoy_store::{Admission, Device as NewDevice, NewAccount, Recovery, Store};
use ahoy_supernode::{CredentialKeys, Member, Supernode, SupernodeConfig};
use ed25519_dalek::SigningKey;
use prost::Message;
use tempfile::TempDir;

use super::*;
use crate::account::{Network as NetworkDocuments, NetworkUrl};
use crate::audio::{Flow, Frame, Sink, Source};
use crate::census;
use crate::member::CertificateError;
use crate::profile::{DeviceKey, Identity};

/// Longest wait for anything that is to happen.
const SOON: Duration = Duration::from_secs(30);

const LIFE: Duration = Duration::from_secs(3600);

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn jwk(key: &SigningKey) -> Jwk {
    Jwk::ed25519(*key.verifying_key().as_bytes())
}

fn now() -> UnixTime {
    connect::wall_clock()
}

fn network() -> NetworkId {
    NetworkId::of_root_key(key(1).verifying_key().as_bytes())
}

/// How a supernode of the roster is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    Well,
    /// Takes packets and answers none.
    Dead,
    /// Refuses sign-ins.
    Full,
    /// Its certificate has expired.
    Uncertified,
}

/// A store, supernodes on it, and the roster that lists them in the order of their placement for Alice and Bob alike.
struct Net {
    store: Store,
    folder: TempDir,
    supernodes: Vec<Option<Supernode>>,
    _dead: Vec<UdpSocket>,
    entries: Vec<RosterEntry>,
    accounts: [AccountId; 2],
}

impl Net {
    /// Supernodes of these healths in these regions.
    fn of(healths: &[(Health, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("ahoy.db")).unwrap();
        let (mut supernodes, mut dead, mut entries) = (Vec::new(), Vec::new(), Vec::new());
        let keys: Vec<SigningKey> = (0..healths.len()).map(|at| key(100 + at as u8)).collect();
        let candidate = |key: &SigningKey| Candidate {
            supernode: SupernodeId::of_roster_key(key.verifying_key().as_bytes()),
            weight: 1,
        };
        let candidates: Vec<_> = keys.iter().map(candidate).collect();
        let in_order = |account: &AccountId| rank(&account.0, &candidates).is_sorted();
        let mut accounts = (0u128..).map(|number| AccountId(number.to_be_bytes())).filter(in_order);
        let accounts = [accounts.next().unwrap(), accounts.next().unwrap()];
        for (at, (health, region)) in healths.iter().enumerate() {
            let (supernode, address) = if *health == Health::Dead {
                let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                let address = socket.local_addr().unwrap();
                dead.push(socket);
                (None, address)
            } else {
                let supernode = supernode(&store, &keys[at], *health);
                let address = supernode.addresses()[0];
                (Some(supernode), address)
            };
            supernodes.push(supernode);
            entries.push(RosterEntry {
                supernode: candidates[at].supernode,
                key: jwk(&keys[at]),
                addresses: vec![address.to_string()],
                region: (*region).to_owned(),
                weight: 1,
                number: at as u32,
            });
        }
        Self { store, folder, supernodes, _dead: dead, entries, accounts }
    }

    fn of_one_region(healths: &[Health]) -> Self {
        Self::of(&healths.iter().map(|health| (*health, "here")).collect::<Vec<_>>())
    }

    /// Lets all supernodes know of each other, as those of a fleet do, and that the first is about to drain.
    async fn unite(&self) {
        let member = |(at, entry): (usize, &RosterEntry)| Member { supernode: entry.supernode, draining: at == 0 };
        let members: Vec<Member> = self.entries.iter().enumerate().map(member).collect();
        for (at, supernode) in self.supernodes.iter().enumerate() {
            let supernode = supernode.as_ref().expect("all of a fleet are well");
            supernode.update_keys(keys(&key(100 + at as u8), Health::Well, &self.entries));
            supernode.update_members(members.clone(), false);
        }
        let is_whole = |supernode: &Supernode| supernode.figures().supernodes == members.len();
        tokio::time::timeout(SOON, async {
            while !self.supernodes.iter().flatten().all(is_whole) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
        .expect("trunks come up");
    }

    /// A profile of a new account: 0 for Alice, 1 for Bob.
    async fn profile(&self, who: usize) -> Profile {
        let (account, name) = (self.accounts[who], Name::parse(["alice", "bob"][who]).unwrap());
        let (device, seed) = (DeviceId([who as u8 + 1; 16]), who as u8 + 10);
        let (device_key, account_key) = (key(seed), key(seed + 10));
        let binding = binding::make(account, device, &device_key.verifying_key(), &account_key, now()).encode_to_vec();
        let verb = ahoy_store::AddAccount {
            account: NewAccount {
                account,
                name: name.clone(),
                account_key: *account_key.verifying_key().as_bytes(),
                request_key: None,
                opaque_record: vec![1],
                sealed_account_key: vec![2],
                recovery: Recovery { verifier: [3; 32], sealed_account_key: vec![4] },
            },
            device: NewDevice {
                device,
                name: "test".to_owned(),
                device_key: *device_key.verifying_key().as_bytes(),
                binding: binding.clone(),
            },
            admission: Admission::Anyone,
            invite: None,
            at: now(),
        };
        self.store.call(verb).await.unwrap();
        let credential = Credential {
            network: network(),
            account,
            name: name.clone(),
            device,
            confirmation: Confirmation { jwk: jwk(&device_key) },
            issued_at: now(),
            expires: now().plus(LIFE),
        };
        let identity = Identity {
            network: self.documents(),
            account,
            name,
            account_key: jwk(&account_key),
            device,
            device_key: DeviceKey::new(device_key),
            binding: Base64Url(binding),
            credential: document::sign(&credential, &key(2)),
            request_secret: None,
        };
        let profile = Profile::open(&self.folder.path().join(identity.name.as_str())).unwrap();
        profile.keep(&identity).unwrap();
        profile
    }

    /// What the authority, which can't be reached, has said before.
    fn documents(&self) -> NetworkDocuments {
        let certificate = SigningKeyCertificate {
            network: network(),
            key: jwk(&key(2)),
            issued_at: now(),
            expires: now().plus(LIFE),
        };
        let roster = Roster {
            network: network(),
            serial: 1,
            supernodes: self.entries.clone(),
            issued_at: now(),
            expires: now().plus(LIFE),
        };
        NetworkDocuments {
            url: NetworkUrl::parse("http://127.0.0.1:9").unwrap(),
            name: "example.org".to_owned(),
            network: network(),
            root_key: jwk(&key(1)),
            signing_keys: vec![document::sign(&certificate, &key(1))],
            roster: document::sign(&roster, &key(2)),
            report_key: Base64Url::default(),
        }
    }

    async fn start(&self, who: usize) -> Device {
        let mut device = Device::of(self.profile(who).await).await;
        device.until(|event| matches!(event, Event::Ready).then_some(())).await;
        device
    }

    /// Alice calls Bob, who sends back what he hears; she has heard it.
    async fn call(&self) -> (Device, Device, CallId) {
        let (mut alice, mut bob) = (self.start(0).await, self.start(1).await);
        bob.client.set_calls_from(v1::CallsFrom::Anyone).await.unwrap();
        let speaker = Speaker::Person { source: Box::new(Hum), sink: Box::new(Nowhere) };
        let call = alice.client.call(bob.client.own().name.clone(), speaker).await.unwrap();
        bob.until(|event| matches!(event, Event::Incoming { .. }).then_some(())).await;
        bob.client.answer(call, Speaker::Echo).await.unwrap();
        alice.until(|event| matches!(event, Event::Voice { .. }).then_some(())).await;
        bob.until(|event| matches!(event, Event::Voice { .. }).then_some(())).await;
        (alice, bob, call)
    }
}

fn supernode(store: &Store, roster_key: &SigningKey, health: Health) -> Supernode {
    let config = SupernodeConfig {
        network: network(),
        roster_key: roster_key.clone(),
        number: 1,
        web: None,
        listen: vec![SocketAddr::from(([127, 0, 0, 1], 0)).into()],
        shards: Some(1),
        call_token_key: CallTokenKey::new([3; 32]),
        reset_key: [4; 32],
        minimum_version: 1,
        shard_sessions_max: if health == Health::Full { 0 } else { 100 },
        key_log: false,
        store: store.clone(),
    };
    Supernode::start(config, keys(roster_key, health, &[])).unwrap()
}

/// What the authority says to a supernode, with the roster of all.
fn keys(roster_key: &SigningKey, health: Health, roster: &[RosterEntry]) -> CredentialKeys {
    let (issued_at, expires) = (now(), now().plus(LIFE));
    let ends = if health == Health::Uncertified { UnixTime(issued_at.0 - 1) } else { expires };
    let certificate = SupernodeCertificate {
        network: network(),
        supernode: SupernodeId::of_roster_key(roster_key.verifying_key().as_bytes()),
        confirmation: Confirmation { jwk: jwk(roster_key) },
        number: 1,
        policy: SupernodePolicy::Hosted,
        issued_at,
        expires: ends,
    };
    let revocations =
        Revocations { network: network(), serial: 1, devices: vec![], accounts: vec![], issued_at, expires };
    let roster = Roster { network: network(), serial: 1, supernodes: roster.to_vec(), issued_at, expires };
    CredentialKeys {
        signing_keys: vec![key(2).verifying_key()],
        revocations: Arc::new(revocations),
        roster: Arc::new(roster),
        certificate: document::sign(&certificate, &key(2)),
    }
}

/// A wire to a supernode that can be cut without anybody being told.
struct Wire {
    address: SocketAddr,
    is_whole: Arc<AtomicBool>,
}

impl Wire {
    async fn to(supernode: SocketAddr) -> Self {
        Self::with_delay(supernode, Duration::ZERO).await
    }

    /// What the supernode says comes later by this.
    async fn with_delay(supernode: SocketAddr, delay: Duration) -> Self {
        let near = Arc::new(tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let wire = Self { address: near.local_addr().unwrap(), is_whole: Arc::new(AtomicBool::new(true)) };
        tokio::spawn(Self::carry(near, supernode, Arc::clone(&wire.is_whole), delay));
        wire
    }

    async fn carry(
        near: Arc<tokio::net::UdpSocket>,
        supernode: SocketAddr,
        is_whole: Arc<AtomicBool>,
        delay: Duration,
    ) {
        let mut far = BTreeMap::new();
        let mut packet = [0; 2_048];
        while let Ok((length, client)) = near.recv_from(&mut packet).await {
            let far = match far.entry(client) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    let socket = Arc::new(tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap());
                    socket.connect(supernode).await.unwrap();
                    tokio::spawn(Self::carry_back(
                        Arc::clone(&socket),
                        Arc::clone(&near),
                        client,
                        Arc::clone(&is_whole),
                        delay,
                    ));
                    new.insert(socket)
                }
            };
            if is_whole.load(Ordering::Relaxed) {
                let _ = far.send(&packet[..length]).await;
            }
        }
    }

    async fn carry_back(
        far: Arc<tokio::net::UdpSocket>,
        near: Arc<tokio::net::UdpSocket>,
        client: SocketAddr,
        is_whole: Arc<AtomicBool>,
        delay: Duration,
    ) {
        let mut packet = [0; 2_048];
        while let Ok(length) = far.recv(&mut packet).await {
            let (near, packet) = (Arc::clone(&near), packet[..length].to_vec());
            let is_whole = Arc::clone(&is_whole);
            tokio::spawn(async move {
                tokio::time::sleep(delay).await;
                if is_whole.load(Ordering::Relaxed) {
                    let _ = near.send_to(&packet, client).await;
                }
            });
        }
    }

    fn cut(&self) {
        self.is_whole.store(false, Ordering::Relaxed);
    }

    fn mend(&self) {
        self.is_whole.store(true, Ordering::Relaxed);
    }
}

struct Hum;

impl Source for Hum {
    fn next_frame(&mut self, frame: &mut Frame) -> Flow {
        for (at, sample) in frame.iter_mut().enumerate() {
            *sample = (at as f32 / 10.0).sin() / 4.0;
        }
        Flow::Goes
    }
}

struct Nowhere;

impl Sink for Nowhere {
    fn take_frame(&mut self, _: &Frame) -> Result<(), SinkError> {
        Ok(())
    }
}

struct Device {
    client: Client,
    events: Events,
    /// Events that were passed over, and when each came.
    past: Vec<(Instant, Event)>,
}

impl Device {
    async fn of(profile: Profile) -> Self {
        let (client, events) = Client::start(profile, ClientOptions::default()).await.unwrap();
        Self { client, events, past: Vec::new() }
    }

    /// The first event that is wanted; those before are kept.
    async fn until<T>(&mut self, wanted: impl Fn(&Event) -> Option<T>) -> T {
        let found = async {
            loop {
                let event = self.events.next().await.expect("the client goes on");
                let found = wanted(&event);
                self.past.push((Instant::now(), event));
                if let Some(found) = found {
                    return found;
                }
            }
        };
        match tokio::time::timeout(SOON, found).await {
            Ok(found) => found,
            Err(_) => panic!("only {:?}", self.past),
        }
    }

    async fn is_up_again(&mut self) -> SupernodeId {
        self.until(|event| if let Event::LinkUp(online) = event { Some(online.supernode) } else { None }).await
    }

    fn has_lost_its_link(&self) -> bool {
        self.past.iter().any(|(_, event)| matches!(event, Event::LinkLost))
    }
}

/// Until it has been heard for as long as this again that voice comes, without a pause: the longest pause before.
async fn longest_silence(device: &mut Device, call: CallId, steady: Duration) -> Duration {
    let deadline = Instant::now() + SOON;
    let mut longest = Duration::ZERO;
    let mut received = 0;
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    let (mut last, mut since) = (Instant::now(), Instant::now());
    while since.elapsed() < steady {
        assert!(Instant::now() < deadline, "voice does not come back");
        tokio::select! {
            event = device.events.next() => {
                let event = event.expect("the client goes on");
                if let Event::Voice { silent, .. } = &event {
                    longest = longest.max(*silent);
                }
                device.past.push((Instant::now(), event));
            }
            _ = ticks.tick() => {
                let statistics = device.client.statistics(call).expect("the call goes on");
                if statistics.received > received {
                    received = statistics.received;
                    last = Instant::now();
                } else if last.elapsed() > Duration::from_millis(500) {
                    since = Instant::now();
                }
            }
        }
    }
    longest
}

#[tokio::test]
async fn the_census_tells_a_supernode_that_is_full_from_one_that_takes_people() {
    for (health, state) in [
        (Health::Well, census::State::Up),
        (Health::Full, census::State::Full),
        (Health::Uncertified, census::State::NotCertified),
    ] {
        let net = Net::of_one_region(&[health]);
        let entry = net.entries[0].clone();
        let seen = census::visit(&entry, &[key(2).verifying_key()], network()).await;
        assert_eq!(census::Sighting { entry, seen }.state(), state, "{health:?}");
    }
}

#[tokio::test]
async fn a_client_goes_to_its_best_supernode_and_past_one_that_is_dead_full_or_uncertified() {
    let net = Net::of_one_region(&[Health::Well, Health::Well]);
    assert_eq!(net.start(0).await.client.online().supernode, net.entries[0].supernode);
    for health in [Health::Dead, Health::Full, Health::Uncertified] {
        let net = Net::of_one_region(&[health, Health::Well]);
        assert_eq!(net.start(0).await.client.online().supernode, net.entries[1].supernode, "{health:?}");
    }
}

#[tokio::test]
async fn a_supernode_without_the_authoritys_word_is_refused_by_name() {
    let net = Net::of_one_region(&[Health::Uncertified]);
    let refused = Client::start(net.profile(0).await, ClientOptions::default()).await.unwrap_err();
    let why = CertificateError::Document(document::DocumentError::Expired);
    let supernode = net.entries[0].supernode;
    let ClientError::Connect(ConnectError::SignIn(refused)) = refused else { panic!("{refused}") };
    assert_eq!(refused, SignInError::NotCertified { supernode, why });
}

#[tokio::test]
async fn regions_are_measured_at_the_first_sign_in_and_remembered() {
    let net = Net::of(&[(Health::Dead, "far"), (Health::Well, "here"), (Health::Well, "near")]);
    let alice = net.start(0).await;
    assert_ne!(alice.client.online().supernode, net.entries[0].supernode);
    alice.client.close().await;
    let profile = Profile::open(&net.folder.path().join("alice")).unwrap();
    let mut measured: Vec<_> = profile.round_trips().unwrap().into_iter().map(|trip| trip.supernode).collect();
    measured.sort();
    let mut alive = vec![net.entries[1].supernode, net.entries[2].supernode];
    alive.sort();
    assert_eq!(measured, alive);
}

#[tokio::test]
async fn a_client_whose_supernode_dies_without_a_call_goes_to_the_next() {
    let mut net = Net::of_one_region(&[Health::Well, Health::Dead, Health::Well]);
    let mut alice = net.start(0).await;
    net.supernodes[0].take().unwrap().shut_down(Duration::ZERO, Duration::ZERO);
    assert_eq!(alice.is_up_again().await, net.entries[2].supernode);
}

#[tokio::test]
async fn a_client_that_has_nothing_to_say_goes_on_elsewhere_long_before_its_link_times_out() {
    let mut net = Net::of_one_region(&[Health::Well, Health::Well]);
    let wire = Wire::to(net.supernodes[0].as_ref().unwrap().addresses()[0]).await;
    net.entries[0].addresses = vec![wire.address.to_string()];
    let mut alice = net.start(0).await;
    let start = Instant::now();
    wire.cut();
    assert_eq!(alice.is_up_again().await, net.entries[1].supernode);
    assert!(start.elapsed() < ahoy_proto::limits::IDLE_TIMEOUT / 2);
    alice.client.devices().await.unwrap();
}

#[tokio::test]
async fn a_silent_link_that_comes_back_to_life_serves_as_before() {
    let mut net = Net::of_one_region(&[Health::Well]);
    let wire = Wire::to(net.supernodes[0].as_ref().unwrap().addresses()[0]).await;
    net.entries[0].addresses = vec![wire.address.to_string()];
    let mut alice = net.start(0).await;
    wire.cut();
    alice.until(|event| matches!(event, Event::LinkLost).then_some(())).await;
    wire.mend();
    alice.is_up_again().await;
    assert_eq!(alice.client.devices().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_client_whose_profile_another_process_has_a_copy_of_gives_way_to_it_for_good() {
    let net = Net::of_one_region(&[Health::Well, Health::Well]);
    let profile = net.profile(0).await;
    let copy = Profile::open(&net.folder.path().join("copy")).unwrap();
    copy.keep(&profile.identity().unwrap().unwrap()).unwrap();
    let mut first = Device::of(profile).await;
    first.until(|event| matches!(event, Event::Ready).then_some(())).await;
    let _second = Device::of(copy).await;
    first.until(|event| matches!(event, Event::Stopped(ClientError::Replaced)).then_some(())).await;
    assert!(!first.has_lost_its_link(), "it says nothing of reconnecting: {:?}", first.past);
}

#[tokio::test]
async fn who_is_asked_to_go_has_the_new_session_before_the_old_one_ends() {
    let net = Net::of_one_region(&[Health::Well, Health::Dead, Health::Well]);
    let mut alice = net.start(0).await;
    alice.past.clear();
    net.supernodes[0].as_ref().unwrap().drain(Duration::ZERO, Duration::ZERO);
    // Past the dead one, which takes a while: the session goes on meanwhile.
    alice.client.devices().await.unwrap();
    assert_eq!(alice.is_up_again().await, net.entries[2].supernode);
    alice.client.devices().await.unwrap();
    assert!(!alice.has_lost_its_link(), "{:?}", alice.past);
}

/// Alice has been asked to go where what she is told comes later than elsewhere.
async fn on_her_way() -> (Net, Wire, Device) {
    let mut net = Net::of_one_region(&[Health::Well, Health::Well]);
    let far = net.supernodes[1].as_ref().unwrap().addresses()[0];
    let wire = Wire::with_delay(far, Duration::from_millis(300)).await;
    net.entries[1].addresses = vec![wire.address.to_string()];
    let alice = net.start(0).await;
    net.unite().await;
    net.supernodes[0].as_ref().unwrap().drain(Duration::ZERO, Duration::ZERO);
    (net, wire, alice)
}

#[tokio::test]
async fn a_session_whose_end_is_heard_before_its_successors_welcome_is_not_lost() {
    let (net, _wire, mut alice) = on_her_way().await;
    assert_eq!(alice.is_up_again().await, net.entries[1].supernode);
    assert!(!alice.has_lost_its_link(), "{:?}", alice.past);
    alice.client.devices().await.unwrap();
}

#[tokio::test]
async fn a_successor_whose_welcome_does_not_come_is_not_waited_for_in_silence() {
    let (net, wire, mut alice) = on_her_way().await;
    let replaced = async {
        while net.supernodes[0].as_ref().unwrap().figures().sessions > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(SOON, replaced).await.expect("the new session takes the place of the old one");
    // The welcome is on the wire.
    wire.cut();
    alice.until(|event| matches!(event, Event::LinkLost).then_some(())).await;
    wire.mend();
    assert_eq!(alice.is_up_again().await, net.entries[1].supernode);
}

#[tokio::test]
async fn a_call_moves_without_a_gap_that_is_heard() {
    let net = Net::of_one_region(&[Health::Well, Health::Well]);
    let (mut alice, mut bob, call) = net.call().await;
    net.supernodes[0].as_ref().unwrap().drain(Duration::ZERO, Duration::ZERO);
    assert_eq!(alice.is_up_again().await, net.entries[1].supernode);
    assert_eq!(bob.is_up_again().await, net.entries[1].supernode);
    let silence = longest_silence(&mut alice, call, Duration::from_secs(3)).await;
    println!("moved: {silence:?}");
    assert!(silence < Duration::from_millis(200), "{silence:?}");
    assert!(!alice.has_lost_its_link() && !bob.has_lost_its_link());
    alice.client.hang_up(call).await.unwrap();
    bob.until(|event| matches!(event, Event::Ended { .. }).then_some(())).await;
}

#[tokio::test]
async fn a_call_outlives_its_supernode_with_another_dead_one_next_in_line() {
    let mut net = Net::of_one_region(&[Health::Well, Health::Dead, Health::Well]);
    let (mut alice, mut bob, call) = net.call().await;
    // Without a word: the process is gone.
    drop(net.supernodes[0].take());
    let silence = longest_silence(&mut alice, call, Duration::from_secs(2)).await;
    println!("handed over: {silence:?}");
    // 800 ms until it is noticed, and 2 s.
    assert!(silence < Duration::from_millis(2_800), "{silence:?}");
    let on = |device: &Device| {
        let up = device.past.iter().rev().find_map(|(_, event)| match event {
            Event::LinkUp(online) => Some(online.supernode),
            _ => None,
        });
        up.unwrap()
    };
    assert_eq!(on(&alice), net.entries[2].supernode);
    alice.client.hang_up(call).await.unwrap();
    bob.until(|event| matches!(event, Event::Ended { .. }).then_some(())).await;
    assert_eq!(on(&bob), net.entries[2].supernode);
}
