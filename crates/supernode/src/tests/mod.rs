//! A supernode with a store on real loopback sockets, and clients that speak the protocol by hand.

mod calls;
mod fleet;
mod link;
mod metrics;
mod sessions;
mod sockets;

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ahoy_core::Now;
use ahoy_net::{DialOptions, LinkEnd, dial};
use ahoy_proto::{
    AccountId, ConversationId, DeviceId, Name, NetworkId, SupernodeId, UnixTime,
    call_token::CallTokenKey,
    document::{self, Confirmation, Credential, Jwk, Revocations, Roster, RosterEntry},
    frame,
    proof::proof_input,
    v1::{self, client_message::Body as Ask, supernode_message::Body as Say},
};
use ahoy_store::{Admission, Device, NewAccount, Recovery, Store};
use bytes::Bytes;
use ed25519_dalek::{Signer, SigningKey};
use link::Link;
use prometheus_client::registry::Registry;
use prost::Message;
use tempfile::TempDir;

use crate::{CredentialKeys, Supernode, SupernodeConfig, shard};

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn authority_key() -> SigningKey {
    key(1)
}

fn roster_key() -> SigningKey {
    key(2)
}

fn network() -> NetworkId {
    NetworkId([7; 16])
}

fn unix_now() -> UnixTime {
    std::time::SystemTime::now().into()
}

fn no_revocations() -> Revocations {
    let now = unix_now();
    let expires = now.plus(Duration::from_secs(3600));
    Revocations { network: network(), serial: 1, devices: vec![], accounts: vec![], issued_at: now, expires }
}

/// The metrics of a supernode, as a scrape sees them.
struct Scrape(Registry);

impl Scrape {
    fn text(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.0).unwrap();
        text
    }

    /// Every series: its metric's name and its number.
    fn series(&self) -> Vec<(String, f64)> {
        let series = |line: &str| {
            let (series, number) = line.rsplit_once(' ')?;
            let name = series.split('{').next()?.trim_end_matches("_total");
            Some((name.to_owned(), number.parse().ok()?))
        };
        self.text().lines().filter(|line| !line.starts_with('#')).filter_map(series).collect()
    }

    /// The sum of a metric over its labels.
    fn metric(&self, name: &str) -> f64 {
        self.series().iter().filter(|(series, _)| series == name).map(|(_, number)| number).sum()
    }
}

/// A supernode whose clock can be put forward.
struct Rig {
    supernode: Supernode,
    store: Store,
    _folder: TempDir,
    scrape: Scrape,
    ahead_ms: Arc<AtomicU64>,
}

impl Rig {
    fn start(shards: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("ahoy.db")).unwrap();
        Self::on(store, folder, shards, 0)
    }

    fn on(store: Store, folder: TempDir, shards: u16, port: u16) -> Self {
        Self::of(config(&store, shards, port), store, folder)
    }

    fn of(config: SupernodeConfig, store: Store, folder: TempDir) -> Self {
        let ahead_ms = Arc::new(AtomicU64::new(0));
        let ahead = Arc::clone(&ahead_ms);
        let clock = move || {
            let (now, ahead) = (shard::moment(), ahead.load(Ordering::SeqCst));
            Now { instant: now.instant + Duration::from_millis(ahead), unix_ms: now.unix_ms + ahead }
        };
        Self::with_clock(config, store, folder, Arc::new(clock), ahead_ms)
    }

    fn with_clock(
        config: SupernodeConfig,
        store: Store,
        folder: TempDir,
        clock: shard::Clock,
        ahead_ms: Arc<AtomicU64>,
    ) -> Self {
        let supernode = Supernode::start_with_clock(config, keys(no_revocations()), clock).unwrap();
        let mut registry = Registry::default();
        supernode.register(&mut registry);
        Self { supernode, store, _folder: folder, scrape: Scrape(registry), ahead_ms }
    }

    /// Lets time pass for the shards, and makes them look at it.
    fn pass(&self, time: Duration) {
        self.ahead_ms.fetch_add(time.as_millis() as u64, Ordering::SeqCst);
        self.supernode.update_keys(keys(no_revocations()));
    }

    /// Stops without a word to the clients and gives the final numbers.
    fn stop(self) -> Scrape {
        drop(self.supernode);
        self.scrape
    }

    async fn dial(&self) -> Client {
        Client::dial(&self.entry()).await
    }

    fn entry(&self) -> RosterEntry {
        let key = *roster_key().verifying_key().as_bytes();
        RosterEntry {
            supernode: SupernodeId::of_roster_key(&key),
            key: Jwk::ed25519(key),
            addresses: self.supernode.addresses().iter().map(ToString::to_string).collect(),
            region: String::new(),
            weight: 1,
            number: 0,
        }
    }

    async fn sign_in(&self, person: &Person) -> Client {
        Client::sign_in(&self.entry(), person).await
    }

    /// Makes two accounts and their conversation.
    async fn two_people(&self) -> (Person, Person) {
        let (alice, bob) = (Person::new("alice", 10), Person::new("bob", 20));
        befriend(&self.store, &alice, &bob).await;
        self.sign_in(&alice).await.converse(&bob).await;
        (alice, bob)
    }
}

/// Signs two people up and makes them contacts.
async fn befriend(store: &Store, alice: &Person, bob: &Person) {
    for person in [alice, bob] {
        person.sign_up(store).await;
    }
    for (account, peer) in [(alice.account, bob.account), (bob.account, alice.account)] {
        let verb = ahoy_store::RequestContact { account, peer, note: Bytes::new(), at: unix_now() };
        store.call(verb).await.unwrap();
    }
}

fn config(store: &Store, shards: u16, port: u16) -> SupernodeConfig {
    SupernodeConfig {
        network: network(),
        roster_key: roster_key(),
        number: 0,
        listen: vec![SocketAddr::from(([127, 0, 0, 1], port)).into()],
        web: None,
        shards: Some(shards),
        call_token_key: CallTokenKey::new([3; 32]),
        reset_key: [4; 32],
        minimum_version: 1,
        shard_sessions_max: 1_000,
        key_log: false,
        store: store.clone(),
    }
}

fn keys(revocations: Revocations) -> CredentialKeys {
    let roster = Roster {
        network: network(),
        serial: 1,
        supernodes: Vec::new(),
        issued_at: revocations.issued_at,
        expires: revocations.expires,
    };
    CredentialKeys {
        signing_keys: vec![authority_key().verifying_key()],
        revocations: Arc::new(revocations),
        roster: Arc::new(roster),
        certificate: String::new(),
    }
}

const CONVERSATION: ConversationId = ConversationId([9; 16]);

struct Person {
    name: &'static str,
    account: AccountId,
    device: DeviceId,
    device_key: SigningKey,
}

impl Person {
    fn new(name: &'static str, seed: u8) -> Self {
        Self { name, account: AccountId([seed; 16]), device: DeviceId([seed + 1; 16]), device_key: key(seed) }
    }

    fn credential(&self) -> Credential {
        let now = unix_now();
        Credential {
            network: network(),
            account: self.account,
            name: Name::parse(self.name).unwrap(),
            device: self.device,
            confirmation: Confirmation { jwk: Jwk::ed25519(*self.device_key.verifying_key().as_bytes()) },
            issued_at: now,
            expires: now.plus(Duration::from_secs(3600)),
        }
    }

    async fn sign_up(&self, store: &Store) {
        let account = NewAccount {
            account: self.account,
            name: Name::parse(self.name).unwrap(),
            account_key: [self.account.0[0]; 32],
            request_key: None,
            opaque_record: vec![1],
            sealed_account_key: vec![2],
            recovery: Recovery { verifier: [3; 32], sealed_account_key: vec![4] },
        };
        let device_key = *self.device_key.verifying_key().as_bytes();
        let device = Device { device: self.device, name: "test".to_owned(), device_key, binding: vec![5] };
        let at = unix_now();
        let verb = ahoy_store::AddAccount { account, device, admission: Admission::Anyone, invite: None, at };
        store.call(verb).await.unwrap();
    }
}

/// What does not come fails the test rather than to hold it up.
async fn in_time<T>(what: &str, comes: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), comes).await.unwrap_or_else(|_| panic!("{what}: not within 20 s"))
}

struct Client {
    link: Arc<Link>,
    requests: u64,
    events: VecDeque<Say>,
}

impl Client {
    async fn next(&self) -> Result<v1::SupernodeMessage, LinkEnd> {
        Ok(v1::SupernodeMessage::decode(in_time("a message", self.link.next_message()).await?).unwrap())
    }

    async fn dial(entry: &RosterEntry) -> Self {
        let link = dial(entry, &DialOptions::default()).await.unwrap();
        Self { link: Arc::new(Link::Quic(link)), requests: 0, events: VecDeque::new() }
    }

    async fn sign_in(entry: &RosterEntry, person: &Person) -> Self {
        let mut client = Self::dial(entry).await;
        client.prove(&person.credential(), &person.device_key).await;
        client.event(|event| matches!(event, Say::Welcome(_)).then_some(())).await;
        client
    }

    /// How a link ends on which somebody wants to sign in who is not taken.
    async fn turned_away(entry: &RosterEntry, person: &Person) -> LinkEnd {
        let mut client = Self::dial(entry).await;
        client.prove(&person.credential(), &person.device_key).await;
        client.end().await
    }

    /// Makes a conversation with somebody.
    async fn converse(&mut self, with: &Person) {
        let made = self
            .ask(Ask::CreateConversation(v1::CreateConversation {
                conversation: CONVERSATION.to_bytes(),
                peer: with.account.to_bytes(),
                epoch: 1,
                group_info: vec![1].into(),
                welcomes: vec![v1::Welcoming { devices: vec![with.device.to_bytes()], welcome: vec![2].into() }],
            }))
            .await;
        assert!(matches!(made, Say::Conversations(_)), "{made:?}");
    }

    /// Answers the challenge.
    async fn prove(&mut self, credential: &Credential, device_key: &SigningKey) {
        let exporter = self.link.exporter().copied();
        self.prove_with(credential, device_key, exporter.as_ref()).await;
    }

    async fn prove_with(&mut self, credential: &Credential, device_key: &SigningKey, exporter: Option<&[u8; 32]>) {
        let Some(Say::Challenge(challenge)) = self.next().await.unwrap().body else { panic!("no challenge") };
        let nonce = challenge.nonce[..].try_into().unwrap();
        let supernode = SupernodeId::try_from(&challenge.supernode[..]).unwrap();
        let input = proof_input(network(), supernode, nonce, exporter);
        let prove = v1::Prove {
            credential: document::sign(credential, &authority_key()),
            signature: device_key.sign(&input).to_bytes().to_vec().into(),
            version: 1,
            agent: "test".to_owned(),
            ..Default::default()
        };
        self.send(Ask::Prove(prove));
    }

    fn send(&mut self, body: Ask) {
        self.requests += 1;
        let message = v1::ClientMessage { request: self.requests, body: Some(body) };
        self.link.send(frame::encode(&message)).unwrap();
    }

    /// Sends a request and gives its response; events that come before are kept.
    async fn ask(&mut self, body: Ask) -> Say {
        self.send(body);
        loop {
            let message = self.next().await.unwrap();
            let body = message.body.unwrap();
            if message.in_reply_to == self.requests {
                return body;
            }
            self.events.push_back(body);
        }
    }

    /// The first message that is wanted; others are thrown away.
    async fn event<T>(&mut self, wanted: impl Fn(Say) -> Option<T>) -> T {
        loop {
            let event = match self.events.pop_front() {
                Some(event) => event,
                None => self.next().await.unwrap().body.unwrap(),
            };
            if let Some(event) = wanted(event) {
                return event;
            }
        }
    }

    /// Reads on until the link ends.
    async fn end(&self) -> LinkEnd {
        loop {
            if let Err(end) = self.next().await {
                return end;
            }
        }
    }
}
