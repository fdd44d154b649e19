//! Tests in virtual time: a rig of one to three shards whose messages to each other arrive in seeded orders.

mod calls;
mod fleet;
mod fragments;
mod legs;
mod messages;
mod noise;
mod people;
mod presence;
mod relay;
mod requests;
mod sign_in;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ahoy_proto::call_token::CallTokenKey;
use ahoy_proto::document::{self, Confirmation, Credential, Jwk, Revocations};
use ahoy_proto::frame::{self, Assembler, Deframer};
use ahoy_proto::proof::proof_input;
use ahoy_proto::v1::client_message::Body as Ask;
use ahoy_proto::v1::supernode_message::Body as Say;
use ahoy_proto::{
    AccountId, CallId, ConversationId, DeviceId, LegId, Name, NetworkId, SupernodeId, UnixTime, limits, v1,
};
use bytes::Bytes;
use ed25519_dalek::{Signer, SigningKey};
use prost::Message;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha20Rng;

use crate::peer::Peer;
use crate::testing::{MemoryStore, origin};
use crate::*;

const NETWORK: NetworkId = NetworkId([1; 16]);
const SUPERNODE: SupernodeId = SupernodeId([2; 16]);
/// Wall time at the start, in seconds.
const START: u64 = 1_800_000_000;
const CONVERSATION: ConversationId = ConversationId([77; 16]);

pub(crate) fn instant() -> Instant {
    origin()
}

fn authority_key() -> SigningKey {
    SigningKey::from_bytes(&[42; 32])
}

fn config(shard: u16, shards: u16) -> ExchangeConfig {
    ExchangeConfig {
        network: NETWORK,
        supernode: SUPERNODE,
        shard: ShardId(shard),
        shards,
        number: 0,
        incarnation: 1,
        started: Now { instant: origin(), unix_ms: START * 1000 },
        call_token_key: CallTokenKey::new([9; 32]),
        minimum_version: 1,
        sessions_max: 100,
        half_open_max: 50,
        calls_max: 50,
    }
}

fn no_revocations() -> Revocations {
    Revocations {
        network: NETWORK,
        serial: 1,
        devices: vec![],
        accounts: vec![],
        issued_at: UnixTime(START),
        expires: UnixTime(START + 1000),
    }
}

/// What the authority has signed, with a roster of this serial.
fn lists(revocations: Revocations, serial: u64) -> Lists {
    let (issued_at, expires) = (UnixTime(START), UnixTime(START + 1000));
    let roster = document::Roster { network: NETWORK, serial, supernodes: vec![], issued_at, expires };
    Lists {
        signing_keys: vec![authority_key().verifying_key()],
        revocations: Arc::new(revocations),
        roster: Arc::new(roster),
        certificate: String::new(),
    }
}

/// One device of a person, with its key and credential.
#[derive(Debug, Clone)]
struct Member {
    account: AccountId,
    device: DeviceId,
    key: SigningKey,
}

impl Member {
    /// Ids differ in their first byte, so that members are at home on different shards.
    fn new(account: u8, device: u8) -> Self {
        let key = SigningKey::from_bytes(&[device; 32]);
        Self { account: AccountId([account; 16]), device: DeviceId([device; 16]), key }
    }

    fn credential(&self) -> Credential {
        Credential {
            network: NETWORK,
            account: self.account,
            name: Name::parse("somebody").unwrap(),
            device: self.device,
            confirmation: Confirmation { jwk: Jwk::ed25519(*self.key.verifying_key().as_bytes()) },
            issued_at: UnixTime(START),
            expires: UnixTime(START + limits::CREDENTIAL_LIFE.as_secs()),
        }
    }

    fn prove(&self, nonce: &[u8], exporter: Option<&[u8; 32]>) -> v1::Prove {
        let input = proof_input(NETWORK, SUPERNODE, nonce.try_into().unwrap(), exporter);
        v1::Prove {
            credential: document::sign(&self.credential(), &authority_key()),
            signature: self.key.sign(&input).to_bytes().to_vec().into(),
            version: 1,
            agent: "test".to_owned(),
            ..Default::default()
        }
    }
}

/// What a test sees of one link.
#[derive(Debug, Default)]
struct Seen {
    deframer: Deframer,
    assembler: Assembler,
    messages: VecDeque<v1::SupernodeMessage>,
    closed: Option<v1::ErrorCode>,
}

impl Seen {
    fn read(&mut self) {
        while let Some(frame) = self.deframer.next(limits::MESSAGE_MAX).unwrap() {
            let message = v1::SupernodeMessage::decode(frame).unwrap();
            let Some(Say::Fragment(fragment)) = &message.body else {
                self.messages.push_back(message);
                continue;
            };
            if let Some(whole) = self.assembler.push(fragment, limits::LARGE_MESSAGE_MAX).unwrap() {
                self.messages.push_back(v1::SupernodeMessage::decode(whole).unwrap());
            }
        }
    }
}

type Answered = (QueryId, Result<Answer, StoreError>);

/// What can happen next.
#[derive(Clone, Copy)]
enum Ready {
    Trunk((ShardId, ShardId)),
    Store,
    Answer(ShardId),
}

/// A supernode of some shards with its store, and the links to it.
struct Rig {
    shards: Vec<Exchange>,
    store: MemoryStore,
    store_fails: bool,
    now: Now,
    rng: ChaCha20Rng,
    /// Whether each shard is on a supernode of its own.
    fleet: bool,
    trunks: BTreeMap<(ShardId, ShardId), VecDeque<Trunked>>,
    asked: VecDeque<(ShardId, QueryId, Question)>,
    answered: BTreeMap<ShardId, VecDeque<Answered>>,
    /// Messages about presence that went from one shard to another.
    presence_tells: usize,
    /// Questions put to the store so far.
    questions: Vec<Question>,
    seen: BTreeMap<Recipient, Seen>,
    lost: BTreeSet<Recipient>,
    next_link: u64,
    next_request: u64,
}

impl Rig {
    fn new(shards: u16, seed: u64) -> Self {
        Self::of(shards, seed, false)
    }

    fn of(shards: u16, seed: u64, fleet: bool) -> Self {
        let mut rig = Self {
            shards: Vec::new(),
            store: MemoryStore::default(),
            store_fails: false,
            now: Now { instant: origin(), unix_ms: START * 1000 },
            rng: ChaCha20Rng::seed_from_u64(seed),
            fleet,
            trunks: BTreeMap::new(),
            asked: VecDeque::new(),
            answered: BTreeMap::new(),
            presence_tells: 0,
            questions: Vec::new(),
            seen: BTreeMap::new(),
            lost: BTreeSet::new(),
            next_link: 1,
            next_request: 1,
        };
        rig.start(shards);
        rig
    }

    fn start(&mut self, shards: u16) {
        let config = |shard: u16| match self.fleet {
            true => ExchangeConfig { number: shard.into(), started: self.now, ..config(0, 1) },
            false => ExchangeConfig { started: self.now, ..config(shard, shards) },
        };
        self.shards = (0..shards).map(|shard| Exchange::new(config(shard), [shard as u8; 32])).collect();
        for shard in &mut self.shards {
            shard.handle_lists(lists(no_revocations(), 3), self.now);
        }
        if self.fleet {
            let all: Vec<_> = (0..shards).collect();
            all.iter().for_each(|shard| self.sees(*shard, &all));
        }
    }

    /// In a fleet: these supernodes live, as that one sees it.
    fn sees(&mut self, seer: u16, living: &[u16]) {
        self.sees_draining(seer, living, &[]);
    }

    /// The same, and that some of them drain.
    fn sees_draining(&mut self, seer: u16, living: &[u16], draining: &[u16]) {
        let node = |shard: u16| FleetNode {
            node: node(seer, shard),
            supernode: SupernodeId([shard as u8 + 1; 16]),
            incarnation: 1,
            shards: 1,
            weight: if draining.contains(&shard) { 0 } else { 1 },
            near: false,
        };
        let fleet = Fleet::new(living.iter().copied().map(node).collect());
        self.shards[usize::from(seer)].handle_fleet(Arc::new(fleet), self.now);
    }

    /// The process dies and comes back: links and all memory are gone, the store is not.
    fn restart(&mut self) {
        self.trunks.clear();
        self.asked.clear();
        self.answered.clear();
        self.lost.extend(self.seen.keys().copied());
        self.start(self.shards.len() as u16);
    }

    fn introduce(&mut self, members: &[&Member]) {
        for member in members {
            let name = Name::parse(&format!("member{}", member.account.0[0])).unwrap();
            self.store.add_account(member.account, name, [3; 32]);
            self.store.add_device(member.account, member.device);
        }
    }

    fn link_up(&mut self) -> Recipient {
        let shard = self.rng.random_range(0..self.shards.len());
        self.link_up_on(shard)
    }

    fn link_up_on(&mut self, shard: usize) -> Recipient {
        let link = self.link_up_quietly(shard);
        self.settle();
        link
    }

    fn link_up_quietly(&mut self, shard: usize) -> Recipient {
        let link = Recipient { node: Node::OWN, shard: ShardId(shard as u16), link: LinkId(self.next_link) };
        self.next_link += 1;
        self.seen.insert(link, Seen::default());
        self.shards[shard].handle_link_up(link.link, None, self.now);
        self.drain_outputs(shard);
        link
    }

    fn nonce(&mut self, link: Recipient) -> Bytes {
        match self.take(link).pop_front() {
            Some(v1::SupernodeMessage { in_reply_to: 0, body: Some(Say::Challenge(challenge)) }) => challenge.nonce,
            other => panic!("no challenge but {other:?}"),
        }
    }

    /// A link that has proven itself; nothing is left to be seen on it.
    fn sign_in(&mut self, member: &Member) -> Recipient {
        let link = self.link_up();
        let nonce = self.nonce(link);
        let request = self.ask(link, Ask::Prove(member.prove(&nonce, None)));
        assert!(matches!(self.reply(link, request), Say::Welcome(_)));
        link
    }

    fn shard(&mut self, link: Recipient) -> &mut Exchange {
        &mut self.shards[usize::from(link.shard.0)]
    }

    fn bytes(&mut self, link: Recipient, bytes: &[u8]) {
        let now = self.now;
        self.shard(link).handle_bytes(link.link, bytes, now);
        self.settle();
    }

    fn send(&mut self, link: Recipient, request: u64, body: Option<Ask>) {
        self.bytes(link, &frame::encode_message(&v1::ClientMessage { request, body }));
    }

    /// Sends a request without letting anything happen yet.
    fn ask_quietly(&mut self, link: Recipient, body: Ask) -> u64 {
        let (request, now) = (self.next_request, self.now);
        self.next_request += 1;
        let bytes = frame::encode_message(&v1::ClientMessage { request, body: Some(body) });
        self.shard(link).handle_bytes(link.link, &bytes, now);
        self.drain_outputs(usize::from(link.shard.0));
        request
    }

    fn ask(&mut self, link: Recipient, body: Ask) -> u64 {
        let request = self.ask_quietly(link, body);
        self.settle();
        request
    }

    /// Takes the one response to a request; events stay.
    fn reply(&mut self, link: Recipient, request: u64) -> Say {
        let messages = &mut self.seen.get_mut(&link).unwrap().messages;
        let place = messages.iter().position(|message| message.in_reply_to == request);
        let reply = messages.remove(place.expect("a request gets a response")).unwrap();
        assert!(messages.iter().all(|message| message.in_reply_to != request), "two responses");
        reply.body.unwrap()
    }

    fn request(&mut self, link: Recipient, body: Ask) -> Say {
        let request = self.ask(link, body);
        self.reply(link, request)
    }

    fn take(&mut self, link: Recipient) -> VecDeque<v1::SupernodeMessage> {
        std::mem::take(&mut self.seen.get_mut(&link).unwrap().messages)
    }

    /// Takes the events of a link; there must be no response among them.
    fn events(&mut self, link: Recipient) -> Vec<Say> {
        let messages = self.take(link).into_iter();
        messages.map(|message| (message.in_reply_to == 0).then_some(message.body.unwrap()).expect("an event")).collect()
    }

    fn closed(&self, link: Recipient) -> Option<v1::ErrorCode> {
        self.seen[&link].closed
    }

    fn lose(&mut self, link: Recipient) {
        self.lose_quietly(link);
        self.settle();
    }

    fn lose_quietly(&mut self, link: Recipient) {
        let now = self.now;
        self.lost.insert(link);
        self.shard(link).handle_link_lost(link.link, now);
        self.drain_outputs(usize::from(link.shard.0));
    }

    /// Moves time on, stopping at every timer; asserts that none of them spins.
    fn pass(&mut self, time: Duration) {
        let end = self.now.instant + time;
        for _ in 0..1000 {
            let wake = |shard: &mut Exchange| match shard.poll_output() {
                Output::Idle { wake } => wake,
                other => panic!("not settled: {other:?}"),
            };
            let next = self.shards.iter_mut().filter_map(wake).map(|(at, _)| at).min().unwrap_or(end).min(end);
            self.now.unix_ms += next.duration_since(self.now.instant).as_millis() as u64;
            self.now.instant = next;
            for shard in &mut self.shards {
                shard.handle_timeout(self.now);
            }
            self.settle();
            if next == end {
                return;
            }
        }
        panic!("a timer spins");
    }

    /// Lets everything happen, in an order that the seed decides: the store, its answers to each shard, and each trunk keep
    /// theirs.
    fn settle(&mut self) {
        for _ in 0..100_000 {
            if !self.step() {
                return;
            }
        }
        panic!("never settles");
    }

    /// Lets one thing happen; `false`: there is nothing left.
    fn step(&mut self) -> bool {
        for shard in 0..self.shards.len() {
            self.drain_outputs(shard);
        }
        let trunks = self.trunks.iter().filter(|(_, queue)| !queue.is_empty());
        let mut ready: Vec<_> = trunks.map(|(trunk, _)| Ready::Trunk(*trunk)).collect();
        let answered = self.answered.iter().filter(|(_, queue)| !queue.is_empty());
        ready.extend(answered.map(|(shard, _)| Ready::Answer(*shard)));
        ready.extend((!self.asked.is_empty()).then_some(Ready::Store));
        if ready.is_empty() {
            return false;
        }
        match ready[self.rng.random_range(0..ready.len())] {
            Ready::Trunk(trunk) => {
                let message = self.trunks.get_mut(&trunk).unwrap().pop_front().unwrap();
                let shard = &mut self.shards[usize::from(trunk.1.0)];
                match message {
                    Trunked::Peer(message) => shard.handle_peer(trunk.0, message, self.now),
                    Trunked::Wire(message) => shard.handle_trunk(node(trunk.1.0, trunk.0.0), *message, self.now),
                }
            }
            Ready::Store => {
                let (shard, query, question) = self.asked.pop_front().unwrap();
                let answer =
                    if self.store_fails { Err(StoreError::Unavailable) } else { Ok(self.store.answer(question)) };
                self.answered.entry(shard).or_default().push_back((query, answer));
            }
            Ready::Answer(shard) => {
                let (query, answer) = self.answered.get_mut(&shard).unwrap().pop_front().unwrap();
                self.shards[usize::from(shard.0)].handle_answer(query, answer, self.now);
            }
        }
        for shard in 0..self.shards.len() {
            self.drain_outputs(shard);
        }
        true
    }

    fn drain_outputs(&mut self, shard: usize) {
        let here = ShardId(shard as u16);
        loop {
            match self.shards[shard].poll_output() {
                Output::Idle { .. } => return,
                Output::Ask { query, question } => {
                    self.questions.push(question.clone());
                    self.asked.push_back((here, query, question));
                }
                Output::Tell { shard, message } => {
                    assert_ne!(shard, here, "a message to oneself left the exchange");
                    let presence = matches!(message.0, Peer::Presence { .. } | Peer::Presences { .. });
                    self.presence_tells += usize::from(presence);
                    self.trunks.entry((here, shard)).or_default().push_back(Trunked::Peer(message));
                }
                Output::Trunk { to, bytes } => {
                    let mut deframer = Deframer::default();
                    deframer.push(&bytes);
                    let whole = deframer.next(limits::TRUNK_MESSAGE_MAX).unwrap().unwrap();
                    let message = v1::TrunkMessage::decode(whole).unwrap();
                    assert_eq!((message.from_shard, message.to_shard), (0, 0));
                    let presence = matches!(
                        message.body,
                        Some(v1::trunk_message::Body::Presence(_) | v1::trunk_message::Body::Presences(_))
                    );
                    self.presence_tells += usize::from(presence);
                    let there = (0..self.shards.len() as u16).find(|shard| node(here.0, *shard) == to.node).unwrap();
                    self.trunks.entry((here, ShardId(there))).or_default().push_back(Trunked::Wire(Box::new(message)));
                }
                Output::Joined { link, .. } => panic!("{link:?} has become a trunk"),
                Output::Send { link, bytes } => {
                    let link = Recipient { node: Node::OWN, shard: here, link };
                    assert!(!self.lost.contains(&link), "sent to a lost link");
                    let seen = self.seen.get_mut(&link).unwrap();
                    assert_eq!(seen.closed, None, "sent after close");
                    seen.deframer.push(&bytes);
                    seen.read();
                }
                Output::Close { link, code } => {
                    let seen = self.seen.get_mut(&Recipient { node: Node::OWN, shard: here, link }).unwrap();
                    assert_eq!(seen.closed.replace(code), None, "closed twice");
                }
            }
        }
    }

    /// A link as the tests name it, by the shard that it is on, from the name that the supernode of another shard has for it.
    fn as_named(&self, by: ShardId, link: Recipient) -> Recipient {
        if !self.fleet {
            return link;
        }
        let shard = (0..self.shards.len() as u16).find(|shard| node(by.0, *shard) == link.node).unwrap();
        Recipient { node: Node::OWN, shard: ShardId(shard), link: link.link }
    }

    fn counters(&self, count: impl Fn(&Counters) -> u64) -> u64 {
        self.shards.iter().map(|shard| count(shard.counters())).sum()
    }

    fn gauges(&self, gauge: impl Fn(Gauges) -> usize) -> usize {
        self.shards.iter().map(|shard| gauge(shard.gauges())).sum()
    }

    /// Nothing of calls is left behind; each session has the timer of its credential.
    fn assert_no_calls(&self) {
        assert_eq!(self.gauges(|g| g.calls + g.calls_answered + g.flows), 0);
        assert_eq!(self.gauges(|g| g.timers), self.gauges(|g| g.sessions));
    }
}

/// Runs a scenario on one to three shards, and on as many supernodes, in many orders of arrival.
fn in_all_orders(scenario: impl Fn(&mut Rig)) {
    for (shards, seeds, fleet) in [(1, 1, false), (2, 20, false), (3, 40, false), (2, 20, true), (3, 40, true)] {
        for seed in 0..seeds {
            scenario(&mut Rig::of(shards, seed, fleet));
        }
    }
}

/// What is under way between two shards.
#[derive(Debug)]
enum Trunked {
    Peer(PeerMessage),
    Wire(Box<v1::TrunkMessage>),
}

/// How the supernode of one shard calls that of another.
fn node(seer: u16, shard: u16) -> Node {
    if seer == shard { Node::OWN } else { Node(u32::from(shard) + 1) }
}

fn error_code(say: &Say) -> v1::ErrorCode {
    match say {
        Say::Error(error) => error.code(),
        other => panic!("no error but {other:?}"),
    }
}
