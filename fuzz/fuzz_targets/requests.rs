//! Any requests of three sessions, two of contacts with a conversation: each of them is answered by a store, and nothing that
//! comes of it breaks the exchange.
#![no_main]

use std::time::{Duration, Instant};

use ahoy_core::testing::MemoryStore;
use ahoy_core::{Exchange, ExchangeConfig, LinkId, Now, Output, ShardId};
use ahoy_proto::call_token::CallTokenKey;
use ahoy_proto::document::{self, Confirmation, Credential, Jwk, Revocations};
use ahoy_proto::frame::Deframer;
use ahoy_proto::proof::proof_input;
use ahoy_proto::v1::{client_message, supernode_message};
use ahoy_proto::{AccountId, ConversationId, DeviceId, Name, NetworkId, SupernodeId, UnixTime, frame, v1};
use ed25519_dalek::{Signer, SigningKey};
use libfuzzer_sys::fuzz_target;
use prost::Message;

const NETWORK: NetworkId = NetworkId([1; 16]);
const SUPERNODE: SupernodeId = SupernodeId([2; 16]);
const START: u64 = 1_800_000_000;

struct World {
    exchange: Exchange,
    store: MemoryStore,
    now: Now,
    /// What was sent last.
    sent: Vec<u8>,
}

impl World {
    fn new() -> Self {
        let config = ExchangeConfig {
            network: NETWORK,
            supernode: SUPERNODE,
            shard: ShardId(0),
            shards: 1,
            call_token_key: CallTokenKey::new([3; 32]),
            minimum_version: 1,
            links_max: 4,
            half_open_max: 4,
            calls_max: 4,
        };
        let now = Now { instant: Instant::now(), unix_ms: START * 1000 };
        let mut exchange = Exchange::new(config, [4; 32]);
        let revocations = Revocations {
            network: NETWORK,
            serial: 1,
            devices: vec![],
            accounts: vec![],
            issued_at: UnixTime(START),
            expires: UnixTime(START + 1_000),
        };
        exchange.handle_keys(vec![key(42).verifying_key()], &revocations, 1, now);
        Self { exchange, store: MemoryStore::default(), now, sent: Vec::new() }
    }

    /// Does what the exchange wants done, until it wants nothing.
    fn drain(&mut self) {
        loop {
            match self.exchange.poll_output() {
                Output::Idle { .. } => return,
                Output::Ask { query, question } => {
                    let answer = self.store.answer(question);
                    self.exchange.handle_answer(query, Ok(answer), self.now);
                }
                Output::Send { bytes, .. } => self.sent = bytes.to_vec(),
                _ => {}
            }
        }
    }

    fn sign_in(&mut self, number: u8) {
        let (account, device, link) = (AccountId([number; 16]), DeviceId([number; 16]), LinkId(number.into()));
        let name = Name::parse(&format!("member{number}")).expect("a name");
        self.store.add_account(account, name.clone(), [3; 32]);
        self.store.add_device(account, device);
        self.exchange.handle_link_up(link, None, self.now);
        self.drain();
        let mut deframer = Deframer::default();
        deframer.push(&self.sent);
        let challenge = deframer.next(4_096).ok().flatten().and_then(|bytes| v1::SupernodeMessage::decode(bytes).ok());
        let Some(supernode_message::Body::Challenge(challenge)) = challenge.and_then(|message| message.body) else {
            panic!("no challenge");
        };
        let nonce = challenge.nonce[..].try_into().expect("32 bytes");
        let credential = Credential {
            network: NETWORK,
            account,
            name,
            device,
            confirmation: Confirmation { jwk: Jwk::ed25519(*key(number).verifying_key().as_bytes()) },
            issued_at: UnixTime(START),
            expires: UnixTime(START + 600_000),
        };
        let signature = key(number).sign(&proof_input(NETWORK, SUPERNODE, nonce, None));
        let prove = v1::Prove {
            credential: document::sign(&credential, &key(42)),
            signature: signature.to_bytes().to_vec().into(),
            version: 1,
            agent: String::new(),
        };
        let body = Some(client_message::Body::Prove(prove));
        let bytes = frame::encode(&v1::ClientMessage { request: 1, body });
        self.exchange.handle_bytes(link, &bytes, self.now);
        self.drain();
    }
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fuzz_target!(|noise: &[u8]| {
    let mut world = World::new();
    (1..=3).for_each(|number| world.sign_in(number));
    world.store.add_contact(AccountId([1; 16]), AccountId([2; 16]));
    world.store.add_conversation(ConversationId([7; 16]), [AccountId([1; 16]), AccountId([2; 16])]);
    // Each request is told by a byte from whom it comes, and by another how long it is.
    let mut rest = noise;
    while let [who, length, more @ ..] = rest {
        let (request, left) = more.split_at(usize::from(*length).min(more.len()));
        rest = left;
        let mut bytes = vec![];
        prost::encoding::encode_varint(request.len() as u64, &mut bytes);
        bytes.extend_from_slice(request);
        world.exchange.handle_bytes(LinkId(u64::from(who % 3) + 1), &bytes, world.now);
        world.drain();
        world.now.instant += Duration::from_millis(50);
        world.now.unix_ms += 50;
        world.exchange.handle_timeout(world.now);
        world.drain();
    }
});
