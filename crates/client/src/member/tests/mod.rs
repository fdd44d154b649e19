//! Members against a real exchange and its in-memory store, in virtual time.

mod calls;
mod contacts;
mod conversations;
mod groups;
mod history;
mod hostile;
mod messages;
mod people;
mod receipts;
mod restarts;
mod resync;
mod scripted;
mod sign_in;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use ahoy_core::testing::{MemoryStore, origin};
use ahoy_core::{Exchange, ExchangeConfig, LinkId, Lists, Now, ShardId};
use ahoy_proto::call_token::CallTokenKey;
use ahoy_proto::document::{self, Confirmation, Credential, Jwk, Revocations, Roster};
use ahoy_proto::frame::{self, Assembler, Deframer};
use ahoy_proto::request_key::{self, RequestSecret};
use ahoy_proto::{AccountId, CallId, DeviceId, Name, NetworkId, SupernodeId, UnixTime, binding, limits, v1};
use bytes::Bytes;
use ed25519_dalek::SigningKey;
use prost::Message;

use super::*;
use history::History;

const NETWORK: NetworkId = NetworkId([1; 16]);
const SUPERNODE: SupernodeId = SupernodeId([2; 16]);
/// Wall time at the start, in seconds.
const START: u64 = 1_800_000_000;

fn authority_key() -> SigningKey {
    SigningKey::from_bytes(&[42; 32])
}

/// The account key of an account, as made at sign-up.
fn account_key(account: u8) -> SigningKey {
    SigningKey::from_bytes(&[account ^ 0x80; 32])
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn identity(account: u8, named: &str, device: u8, key: &SigningKey) -> Identity {
    let device_key = SigningKey::from_bytes(&[device; 32]);
    let (account, device) = (AccountId([account; 16]), DeviceId([device; 16]));
    let binding = binding::make(account, device, &device_key.verifying_key(), key, UnixTime(START));
    let account_key = *key.verifying_key().as_bytes();
    let request_secret = Some(RequestSecret::of_account_key(key));
    Identity { network: NETWORK, account, name: name(named), device, device_key, account_key, binding, request_secret }
}

/// Changes what the supernode says to a client.
type Tamper = Box<dyn FnMut(&mut v1::SupernodeMessage)>;

/// A device: its member, its disk and its link.
struct Client {
    identity: Identity,
    member: Member,
    disk: BTreeMap<Vec<u8>, Vec<u8>>,
    history: History,
    link: Option<LinkId>,
    sign_in: Option<SignIn>,
    deframer: Deframer,
    assembler: Assembler,
    from_supernode: VecDeque<v1::SupernodeMessage>,
    events: VecDeque<Event>,
    /// Of contacts and conversations, and what is said in them.
    tidings: VecDeque<Event>,
    tamper: Option<Tamper>,
    accident: Option<resync::Accident>,
    /// The session moves to the link that signs in.
    moves: bool,
    /// Outputs carried out so far, and after how many the device dies.
    outputs: usize,
    dies_after: Option<usize>,
    /// Key packages that it has sent to be published.
    published: usize,
    seed: u8,
}

/// A supernode with its store, and devices.
struct World {
    exchange: Exchange,
    store: MemoryStore,
    now: Now,
    clients: Vec<Client>,
    next_link: u64,
}

/// Index of a client.
type Who = usize;

impl World {
    fn new() -> Self {
        let now = Now { instant: origin(), unix_ms: START * 1000 };
        Self { exchange: exchange(now, 0), store: MemoryStore::default(), now, clients: Vec::new(), next_link: 1 }
    }

    /// Alice and Bob with a device each, signed in; neither has heard of the other.
    fn of_two() -> (Self, Who, Who) {
        let mut world = Self::new();
        let alice = world.newcomer(1, "alice", 11);
        let bob = world.newcomer(2, "bob", 21);
        (world, alice, bob)
    }

    /// An account that anybody may call, as the authority has it.
    fn account(&mut self, account: u8, named: &str, key: &SigningKey) {
        let account = AccountId([account; 16]);
        self.store.add_account(account, name(named), *key.verifying_key().as_bytes());
        self.store.set_calls_from(account, v1::CallsFrom::Anyone);
    }

    /// A new account with its first device, signed in.
    fn newcomer(&mut self, account: u8, named: &str, device: u8) -> Who {
        let key = account_key(account);
        self.account(account, named, &key);
        self.device(account, named, device)
    }

    /// A new account with its first device, signed in; takes notes, and calls of contacts only.
    fn stranger(&mut self, account: u8, named: &str, device: u8) -> Who {
        let (id, key) = (AccountId([account; 16]), account_key(account));
        self.store.add_account(id, name(named), *key.verifying_key().as_bytes());
        self.store.set_request_key(id, request_key::publish(id, &key).to_vec().into());
        self.device(account, named, device)
    }

    /// Another device of an account, signed in.
    fn device(&mut self, account: u8, named: &str, device: u8) -> Who {
        let who = self.add(identity(account, named, device, &account_key(account)));
        self.sign_in(who);
        who
    }

    fn add(&mut self, identity: Identity) -> Who {
        self.store.add_device(identity.account, identity.device);
        let mut member = Member::new(identity.clone(), [], [identity.device.0[0]; 32]);
        member.set_clock(self.now.unix_ms, self.now.instant);
        self.clients.push(Client {
            identity,
            member,
            disk: BTreeMap::new(),
            history: History::default(),
            link: None,
            sign_in: None,
            deframer: Deframer::default(),
            assembler: Assembler::default(),
            from_supernode: VecDeque::new(),
            events: VecDeque::new(),
            tidings: VecDeque::new(),
            tamper: None,
            accident: None,
            moves: false,
            outputs: 0,
            dies_after: None,
            published: 0,
            seed: 0,
        });
        self.clients.len() - 1
    }

    fn sign_in(&mut self, who: Who) {
        self.dial(who);
        self.settle();
    }

    fn dial(&mut self, who: Who) {
        let link = LinkId(self.next_link);
        self.next_link += 1;
        let client = &mut self.clients[who];
        let credential = document::sign(&credential(&client.identity), &authority_key());
        client.sign_in = Some(SignIn::new(&client.identity, credential, SUPERNODE, None, "test".to_owned()));
        client.deframer = Deframer::default();
        client.assembler = Assembler::default();
        client.link = Some(link);
        self.exchange.handle_link_up(link, None, self.now);
    }

    fn lose_link(&mut self, who: Who) {
        self.drop_link(who);
        self.settle();
    }

    fn drop_link(&mut self, who: Who) {
        let now = self.now;
        let client = &mut self.clients[who];
        client.from_supernode.clear();
        client.sign_in = None;
        if let Some(link) = client.link.take() {
            client.member.handle_session_down(now.instant);
            self.exchange.handle_link_lost(link, now);
        }
    }

    /// The session goes on on another link; the old one is good until then.
    fn move_link(&mut self, who: Who) {
        self.clients[who].moves = true;
        self.sign_in(who);
    }

    /// The device's program dies and starts again from its disk.
    fn restart(&mut self, who: Who) {
        self.drop_link(who);
        let client = &mut self.clients[who];
        client.seed += 1;
        client.dies_after = None;
        client.events.clear();
        client.tidings.clear();
        let seed = [client.identity.device.0[0] ^ client.seed << 5; 32];
        client.member = Member::new(client.identity.clone(), client.disk.clone(), seed);
        client.member.set_clock(self.now.unix_ms, self.now.instant);
        self.sign_in(who);
    }

    /// The supernode dies and starts again: links, sessions and calls are gone, the store is not.
    fn restart_supernode(&mut self) {
        for who in 0..self.clients.len() {
            let client = &mut self.clients[who];
            client.from_supernode.clear();
            if client.link.take().is_some() {
                client.member.handle_session_down(self.now.instant);
            }
        }
        self.exchange = exchange(self.now, 7);
        self.settle();
    }

    /// The device loses what it has kept, but for the serial of its state: without that it would be taken for a copy.
    fn lose_state(&mut self, who: Who) {
        self.clients[who].disk.retain(|key, _| key == b"state-serial");
    }

    fn member(&mut self, who: Who) -> &mut Member {
        &mut self.clients[who].member
    }

    fn call(&mut self, who: Who, callee: &str) -> CallId {
        let now = self.now.instant;
        let call = self.member(who).call(&name(callee), now).unwrap();
        self.settle();
        call
    }

    fn answer(&mut self, who: Who, call: CallId) {
        let now = self.now.instant;
        self.member(who).answer(call, now).unwrap();
        self.settle();
    }

    fn hang_up(&mut self, who: Who, call: CallId) {
        let now = self.now.instant;
        self.member(who).hang_up(call, now).unwrap();
        self.settle();
    }

    fn events(&mut self, who: Who) -> Vec<Event> {
        self.clients[who].events.drain(..).collect()
    }

    /// What was told of contacts and conversations since the last time.
    fn tidings(&mut self, who: Who) -> Vec<Event> {
        self.clients[who].tidings.drain(..).collect()
    }

    /// What came of the command with this ticket.
    fn answer_to(&mut self, who: Who, ticket: Ticket) -> Result<Answer, Refusal> {
        let events = &mut self.clients[who].events;
        let at = events.iter().position(|event| matches!(event, Event::Answer { ticket: of, .. } if *of == ticket));
        match at.and_then(|at| events.remove(at)) {
            Some(Event::Answer { answer, .. }) => answer,
            _ => panic!("no answer; but {events:?}"),
        }
    }

    fn forget_events(&mut self) {
        for client in &mut self.clients {
            client.events.clear();
            client.tidings.clear();
        }
    }

    /// Calls, rings, answers; asserts that both sides have each other's keys.
    fn connect(&mut self, caller: Who, callee: Who) -> CallId {
        self.forget_events();
        let callee_name = self.clients[callee].identity.name.clone();
        let caller_name = self.clients[caller].identity.name.clone();
        let call = self.call(caller, callee_name.as_str());
        let caller_account = self.clients[caller].identity.account;
        let from = Person { account: caller_account, name: caller_name };
        let incoming = Event::Incoming { call, from, quiet: false };
        let seen = self.events(callee);
        assert!(seen.contains(&incoming), "callee saw {seen:?}, caller {:?}", self.events(caller));
        assert!(self.events(caller).contains(&Event::Ringing { call }));
        self.answer(callee, call);
        let (theirs, ours) = (connected(&self.events(callee), call), connected(&self.events(caller), call));
        assert_keys_agree(&theirs, &ours);
        call
    }

    /// Moves time on, stopping at every timer; asserts that none of them spins.
    fn pass(&mut self, time: Duration) {
        self.settle();
        let end = self.now.instant + time;
        for _ in 0..1000 {
            let mut wakes = vec![end];
            if let ahoy_core::Output::Idle { wake: Some((at, _)) } = self.exchange.poll_output() {
                wakes.push(at);
            }
            for client in &mut self.clients {
                if let Output::Idle { wake: Some(at) } = client.member.poll_output() {
                    wakes.push(at);
                }
            }
            let next = wakes.into_iter().min().unwrap().max(self.now.instant);
            self.now.unix_ms += next.duration_since(self.now.instant).as_millis() as u64;
            self.now.instant = next;
            self.exchange.handle_timeout(self.now);
            for client in &mut self.clients {
                client.member.handle_timeout(next);
            }
            self.settle();
            if next == end {
                return;
            }
        }
        panic!("a timer spins");
    }

    /// Lets everything happen that needs no time to pass.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            let mut busy = self.drain_exchange();
            for who in 0..self.clients.len() {
                busy |= self.drain_member(who);
                busy |= self.deliver(who);
            }
            if !busy {
                return;
            }
        }
        panic!("never settles");
    }

    fn drain_exchange(&mut self) -> bool {
        let mut busy = false;
        loop {
            match self.exchange.poll_output() {
                ahoy_core::Output::Idle { .. } => return busy,
                ahoy_core::Output::Send { link, bytes } => {
                    if let Some(client) = self.clients.iter_mut().find(|client| client.link == Some(link)) {
                        client.deframer.push(&bytes);
                        while let Some(bytes) = client.deframer.next(limits::MESSAGE_MAX).unwrap() {
                            let mut message = v1::SupernodeMessage::decode(bytes).unwrap();
                            if let Some(Body::Fragment(fragment)) = &message.body {
                                match client.assembler.push(fragment, limits::LARGE_MESSAGE_MAX).unwrap() {
                                    Some(whole) => message = v1::SupernodeMessage::decode(whole).unwrap(),
                                    None => continue,
                                }
                            }
                            if let Some(tamper) = &mut client.tamper {
                                tamper(&mut message);
                            }
                            client.take_from_supernode(message);
                        }
                    }
                }
                ahoy_core::Output::Close { link, code } => {
                    if let Some(who) = self.clients.iter().position(|client| client.link == Some(link)) {
                        assert_eq!(code, v1::ErrorCode::SessionReplaced, "client {who} broke a rule");
                        self.drop_link(who);
                    }
                }
                ahoy_core::Output::Ask { query, question } => {
                    let answer = self.store.answer(question);
                    self.exchange.handle_answer(query, Ok(answer), self.now);
                }
                ahoy_core::Output::Tell { .. } => panic!("there is one shard"),
                ahoy_core::Output::Trunk { .. } | ahoy_core::Output::Joined { .. } => {
                    panic!("there is one supernode")
                }
            }
            busy = true;
        }
    }

    /// Takes one message in.
    fn deliver(&mut self, who: Who) -> bool {
        let (now, client) = (self.now, &mut self.clients[who]);
        let Some(message) = client.from_supernode.pop_front() else { return false };
        if let Some(mut sign_in) = client.sign_in.take() {
            match sign_in.handle_message(&message, now.unix_ms).unwrap() {
                SignInStep::Send(message) => {
                    client.sign_in = Some(sign_in);
                    let link = client.link.unwrap();
                    self.exchange.handle_bytes(link, &frame::encode(&message), now);
                }
                SignInStep::SignedIn(_) if std::mem::take(&mut client.moves) => {
                    client.member.handle_session_moved(now.instant);
                }
                SignInStep::SignedIn(_) => client.member.handle_session_up(now.instant),
            }
        } else if let Some(Body::Resync(_)) = &message.body {
            client.member.resync(now.instant);
        } else {
            client.member.handle_message(&message, now.instant);
        }
        self.drain_member(who);
        true
    }

    fn drain_member(&mut self, who: Who) -> bool {
        let mut busy = false;
        loop {
            let client = &mut self.clients[who];
            if client.dies_after.is_some_and(|limit| client.outputs >= limit) {
                // Dead: nothing leaves, nothing arrives.
                client.from_supernode.clear();
                if let Some(link) = client.link.take() {
                    self.exchange.handle_link_lost(link, self.now);
                }
                return busy;
            }
            match client.member.poll_output() {
                Output::Idle { .. } => return busy,
                Output::Persist(batch) => {
                    for (key, value) in batch.pairs {
                        match value {
                            Some(value) => client.disk.insert(key, value),
                            None => client.disk.remove(&key),
                        };
                    }
                    client.history.apply(batch.history);
                }
                Output::Event(event) => match event {
                    Event::Contact(_)
                    | Event::Presence { .. }
                    | Event::Settings(_)
                    | Event::Conversation(_)
                    | Event::ConversationLeft { .. }
                    | Event::History { .. }
                    | Event::Receipt { .. }
                    | Event::Typing { .. }
                    | Event::NewOwnDevice { .. } => client.tidings.push_back(event),
                    event => client.events.push_back(event),
                },
                Output::Send(message) => {
                    if let Some(Ask::PublishKeyPackages(publish)) = &message.body {
                        client.published += publish.key_packages.len();
                    }
                    if let Some(link) = client.link.filter(|_| client.meet_accident(message.request)) {
                        let bytes = frame::encode_message(&message);
                        self.exchange.handle_bytes(link, &bytes, self.now);
                    }
                }
            }
            self.clients[who].outputs += 1;
            busy = true;
        }
    }
}

fn exchange(now: Now, seed: u8) -> Exchange {
    let config = ExchangeConfig {
        network: NETWORK,
        supernode: SUPERNODE,
        number: 0,
        incarnation: 1,
        started: now,
        shard: ShardId(0),
        shards: 1,
        call_token_key: CallTokenKey::new([9; 32]),
        minimum_version: 1,
        sessions_max: 300,
        half_open_max: 50,
        calls_max: 50,
    };
    let (issued_at, expires) = (UnixTime(START), UnixTime(START + 1000));
    let (devices, accounts, supernodes) = (vec![], vec![], vec![]);
    let lists = Lists {
        signing_keys: vec![authority_key().verifying_key()],
        revocations: Arc::new(Revocations { network: NETWORK, serial: 1, devices, accounts, issued_at, expires }),
        roster: Arc::new(Roster { network: NETWORK, serial: 1, supernodes, issued_at, expires }),
        certificate: String::new(),
    };
    let mut exchange = Exchange::new(config, [seed; 32]);
    exchange.handle_lists(lists, now);
    exchange
}

fn credential(identity: &Identity) -> Credential {
    Credential {
        network: NETWORK,
        account: identity.account,
        name: identity.name.clone(),
        device: identity.device,
        confirmation: Confirmation { jwk: Jwk::ed25519(*identity.device_key.verifying_key().as_bytes()) },
        issued_at: UnixTime(START),
        expires: UnixTime(START + limits::CREDENTIAL_LIFE.as_secs()),
    }
}

/// What a side of a call sends and receives with.
#[derive(Debug)]
struct Side {
    own: OwnLeg,
    legs: Vec<PeerLeg>,
}

fn connected(events: &[Event], call: CallId) -> Side {
    let found = events.iter().find_map(|event| match event {
        Event::Connected { call: of, own, legs, .. } if *of == call => {
            Some(Side { own: own.clone(), legs: legs.clone() })
        }
        _ => None,
    });
    found.unwrap_or_else(|| panic!("not connected, but {events:?}"))
}

fn assert_keys_agree(a: &Side, b: &Side) {
    for (sender, receiver) in [(a, b), (b, a)] {
        let leg = receiver.legs.last().expect("a leg of the other");
        assert_eq!((leg.leg, leg.flow), (sender.own.leg, sender.own.flow));
        assert!(leg.key == sender.own.key, "keys differ");
    }
    assert!(a.own.key != b.own.key, "one key for two legs");
}

fn ended(call: CallId, cause: v1::Cause) -> Event {
    Event::Ended { call, ending: Ending::Cause(cause) }
}

fn some_bytes(length: usize) -> Bytes {
    (0..length).map(|at| (at * 37 + 11) as u8).collect::<Vec<u8>>().into()
}
