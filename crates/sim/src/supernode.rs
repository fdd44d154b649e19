//! The supernode: the shell that a real one is around its exchanges, with its store and the ways between its shards.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ahoy_core::testing::MemoryStore;
use ahoy_core::{
    Answer, Exchange, ExchangeConfig, Forward, LinkId, Lists, Output, PeerMessage, Question, Recipient, ShardId,
    StoreError,
};
use ahoy_proto::call_token::CallTokenKey;
use ahoy_proto::document::{KeyLogHead, Revocations, Roster};
use ahoy_proto::flow::FlowId;
use ahoy_proto::frame::Deframer;
use ahoy_proto::v1::supernode_message::Body;
use ahoy_proto::{NetworkId, SupernodeId, UnixTime, limits, v1};
use bytes::Bytes;
use ed25519_dalek::SigningKey;
use prost::Message;
use rand::{Rng, RngExt};

use crate::agenda::{Happening, START_MS};
use crate::checkers::{Checker, Finding};
use crate::network::{Way, between, one_way};
use crate::plan::Fault;
use crate::world::World;

pub(crate) const NETWORK: NetworkId = NetworkId([1; 16]);
pub(crate) const SUPERNODE: SupernodeId = SupernodeId([2; 16]);

/// The key that all credentials of the world are signed with.
pub(crate) fn authority_key() -> SigningKey {
    SigningKey::from_bytes(&[200; 32])
}

/// What the authority of the world has signed.
fn lists() -> Lists {
    let issued_at = UnixTime(START_MS / 1000);
    let expires = issued_at.plus(limits::ROSTER_LIFE);
    let (devices, accounts, supernodes) = (Vec::new(), Vec::new(), Vec::new());
    let key_log = KeyLogHead { length: 0, head: [0; 32] };
    Lists {
        signing_keys: vec![authority_key().verifying_key()],
        revocations: Arc::new(Revocations { network: NETWORK, serial: 1, devices, accounts, issued_at, expires }),
        roster: Arc::new(Roster { network: NETWORK, serial: 1, supernodes, key_log, issued_at, expires }),
        certificate: String::new(),
    }
}

#[derive(Debug)]
pub(crate) struct Supernode {
    /// Counts the lives of its process.
    pub(crate) life: u64,
    /// Empty while its process is not there.
    pub(crate) shards: Vec<Exchange>,
    wakes: Vec<Option<Instant>>,
    trunks: BTreeMap<(ShardId, ShardId), VecDeque<PeerMessage>>,
    trunk_until: Option<Instant>,
    pub(crate) store: MemoryStore,
    pub(crate) store_fails: bool,
    store_until: Option<Instant>,
    /// Questions of this life on their way.
    questions: usize,
    /// The store as it was at the last start.
    backup: MemoryStore,
}

impl Supernode {
    pub(crate) fn new(store: MemoryStore) -> Self {
        Self {
            life: 0,
            shards: Vec::new(),
            wakes: Vec::new(),
            trunks: BTreeMap::new(),
            trunk_until: None,
            backup: store.clone(),
            store,
            store_fails: false,
            store_until: None,
            questions: 0,
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        !self.shards.is_empty()
    }

    pub(crate) fn any_shard(&self, rng: &mut impl Rng) -> ShardId {
        ShardId(rng.random_range(0..self.shards.len() as u16))
    }

    /// Whether all shards have heard everything that was said to them.
    pub(crate) fn is_settled(&self) -> bool {
        self.trunks.values().all(VecDeque::is_empty)
    }
}

/// Its life.
impl World {
    pub(crate) fn supernode_starts(&mut self) {
        if self.supernode.is_up() {
            return;
        }
        let finding = self.promises.check(&self.supernode.store);
        self.note(finding);
        let (shards, now) = (self.plan.shards, self.agenda.now());
        self.supernode.life += 1;
        self.supernode.backup = self.supernode.store.clone();
        for shard in 0..shards {
            let config = ExchangeConfig {
                network: NETWORK,
                supernode: SUPERNODE,
                number: 0,
                incarnation: self.supernode.life,
                started: now,
                shard: ShardId(shard),
                shards,
                call_token_key: CallTokenKey::new([201; 32]),
                minimum_version: 1,
                links_max: 1000,
                half_open_max: 1000,
                calls_max: 1000,
            };
            let mut seed = [0; 32];
            self.rng.fill_bytes(&mut seed);
            let mut exchange = Exchange::new(config, seed);
            exchange.handle_lists(lists(), now);
            self.supernode.shards.push(exchange);
        }
        self.supernode.wakes = vec![None; usize::from(shards)];
    }

    /// The process is gone with all that it knew; the store is not.
    pub(crate) fn supernode_dies(&mut self) {
        if !self.supernode.is_up() {
            return;
        }
        self.summary.supernode_deaths += 1;
        self.chronicle("the supernode dies");
        let supernode = &mut self.supernode;
        supernode.shards.clear();
        supernode.trunks.clear();
        (supernode.trunk_until, supernode.questions) = (None, 0);
        // Whatever of the dead process is still on its way is void.
        supernode.life += 1;
        if self.plan.fault == Some(Fault::StoreForgets) {
            supernode.store = supernode.backup.clone();
        }
        self.sessions.close_all();
        for link in self.network.carrying() {
            self.break_link(link);
        }
        for device in 0..self.devices.len() {
            self.mark_away(device);
        }
        let pause = between(Duration::from_millis(200), Duration::from_secs(3), &mut self.rng);
        self.agenda.after(pause, Happening::SupernodeStarts);
    }

    pub(crate) fn supernode_drains(&mut self) {
        for shard in 0..self.supernode.shards.len() {
            self.supernode.shards[shard].drain(Duration::from_millis(500), Duration::from_secs(2));
            self.drain_shard(ShardId(shard as u16));
        }
        self.agenda.after(Duration::from_secs(2), Happening::SupernodeDies);
    }

    /// Nothing gets through any more; each end learns of it in its own time.
    pub(crate) fn break_link(&mut self, id: LinkId) {
        let Some(link) = self.network.link_mut(id).filter(|link| link.carries) else { return };
        link.carries = false;
        let device = link.device;
        if self.devices[device].link.as_ref().is_some_and(|current| current.id == id) {
            self.mark_away(device);
            let silence = limits::CALL_SILENCE;
            let pause = between(Duration::from_millis(50), silence, &mut self.rng);
            self.agenda.after(pause, Happening::DeviceLosesLink(id));
        }
        let idle = between(Duration::from_millis(50), Duration::from_secs(20), &mut self.rng);
        self.agenda.after(idle, Happening::ShardLosesLink(id));
    }
}

/// Inputs of its shards.
impl World {
    /// Whether a link is one that its shard, in its present life, knows of.
    fn shard_of(&self, id: LinkId) -> Option<ShardId> {
        let link = self.network.link(id)?;
        (link.at_shard && link.life == self.supernode.life).then_some(link.shard)
    }

    fn exchange(&mut self, shard: ShardId) -> &mut Exchange {
        &mut self.supernode.shards[usize::from(shard.0)]
    }

    pub(crate) fn link_up(&mut self, id: LinkId) {
        let life = self.supernode.life;
        let up = self.supernode.is_up();
        let Some(link) = self.network.link_mut(id) else { return };
        if !up || link.life != life || !link.carries {
            return self.device_loses(id);
        }
        link.at_shard = true;
        let (shard, now) = (link.shard, self.agenda.now());
        self.exchange(shard).handle_link_up(id, None, now);
        self.drain_shard(shard);
    }

    pub(crate) fn bytes_to_shard(&mut self, id: LinkId, bytes: &Bytes) {
        if !self.network.link(id).is_some_and(|link| link.carries) {
            return;
        }
        let Some(shard) = self.shard_of(id) else { return };
        let mut deframer = Deframer::default();
        deframer.push(bytes);
        if let Ok(Some(message)) = deframer.next(limits::MESSAGE_MAX)
            && let Ok(v1::ClientMessage { body: Some(body), .. }) = v1::ClientMessage::decode(message)
        {
            self.flows.asked(id, &body);
            self.chronicle(&format!("link {} up: {body:?}", id.0));
        }
        let now = self.agenda.now();
        self.exchange(shard).handle_bytes(id, bytes, now);
        self.drain_shard(shard);
    }

    pub(crate) fn shard_loses(&mut self, id: LinkId) {
        let Some(shard) = self.shard_of(id) else { return };
        if let Some(link) = self.network.link_mut(id) {
            link.at_shard = false;
        }
        if self.plan.fault == Some(Fault::ForgetLostLinks) {
            return;
        }
        self.sessions.close(id);
        let now = self.agenda.now();
        self.exchange(shard).handle_link_lost(id, now);
        self.drain_shard(shard);
    }

    pub(crate) fn trunk(&mut self, life: u64, from: ShardId, to: ShardId) {
        if life != self.supernode.life {
            return;
        }
        let Some(message) = self.supernode.trunks.get_mut(&(from, to)).and_then(VecDeque::pop_front) else { return };
        let now = self.agenda.now();
        self.exchange(to).handle_peer(from, message, now);
        self.drain_shard(to);
    }

    pub(crate) fn wake_shard(&mut self, life: u64, shard: ShardId) -> Result<(), Finding> {
        let mut now = self.agenda.now();
        let index = usize::from(shard.0);
        if life != self.supernode.life || self.supernode.wakes[index].is_none_or(|at| at > now.instant) {
            return Ok(());
        }
        self.supernode.wakes[index] = None;
        self.wakes.count(format!("shard {}", shard.0), self.agenda.elapsed())?;
        if self.plan.fault == Some(Fault::EarlyTimers) {
            now.instant -= Duration::from_millis(1);
        }
        self.exchange(shard).handle_timeout(now);
        self.drain_shard(shard);
        self.take_finding()
    }

    /// A question reaches the store, or its process has died meanwhile: then the store may have it or not.
    pub(crate) fn store(&mut self, happening: Happening) {
        let Happening::Store { life, shard, query, question } = happening else { return };
        let alive = life == self.supernode.life;
        if !alive {
            if self.rng.random() {
                self.carry_out(question);
            }
            return;
        }
        self.supernode.questions -= usize::from(is_waited_for(&question));
        let answer =
            if self.supernode.store_fails { Err(StoreError::Unavailable) } else { Ok(self.carry_out(question)) };
        let now = self.agenda.now();
        self.exchange(shard).handle_answer(query, answer, now);
        self.drain_shard(shard);
    }

    /// Carries out a verb, as well as the planted fault lets the store.
    fn carry_out(&mut self, mut question: Question) -> Answer {
        let fault = self.plan.fault;
        let before = (fault == Some(Fault::ForgetMessages)).then(|| self.supernode.store.clone());
        if let Question::SendMessage { conversation, device, number, .. } = &mut question {
            let (_, sent) = self.supernode.store.cursor(*conversation, *device).unwrap_or_default();
            if fault == Some(Fault::AppendTwice) && *number <= sent {
                *number = sent + 1;
            }
        }
        let answer = self.supernode.store.answer(question.clone());
        self.promises.made(&question, &answer);
        if let Answer::Appended { entry, .. } | Answer::Committed { entry, .. } = &answer {
            self.letters.logged(entry);
        }
        if let Question::LeaveConversation { conversation, .. } = question
            && !self.supernode.store.has_conversation(conversation)
        {
            self.promises.emptied(conversation);
        }
        let sent = matches!(question, Question::SendMessage { .. }) && matches!(answer, Answer::Appended { .. });
        if let Some(before) = before.filter(|_| sent)
            && self.rng.random_bool(1.0 / 8.0)
        {
            self.supernode.store = before;
        }
        answer
    }

    pub(crate) fn voice_to_shard(&mut self, id: LinkId, datagram: &[u8]) -> Result<(), Finding> {
        let Some(shard) = self.shard_of(id).filter(|_| self.network.link(id).is_some_and(|link| link.carries)) else {
            return Ok(());
        };
        let Some((flow, _)) = FlowId::split(datagram) else { return Ok(()) };
        let now = self.agenda.now();
        let mut recipients = match self.exchange(shard).forward(id, datagram, now) {
            Forward::To(recipients) => recipients.to_vec(),
            Forward::Drop(cause) => {
                self.summary.dropped[cause.index()] += 1;
                Vec::new()
            }
        };
        if recipients.is_empty() && self.plan.fault == Some(Fault::FlowOwnership) {
            recipients = self.forward_as_owner(shard, flow, datagram);
        }
        if recipients.is_empty() {
            return Ok(());
        }
        let account = |link| self.network.link(link).map(|link: &crate::network::Link| link.device);
        let account = |link| account(link).map(|device| self.devices[device].identity.account);
        self.flows.check(id, flow.number(), &recipients, account, &self.supernode.store)?;
        for Recipient { link, .. } in recipients {
            if !self.rng.random_bool(self.plan.loss) {
                let delay = one_way(&self.plan, &mut self.rng);
                self.agenda.after(delay, Happening::VoiceToDevice(link, datagram.to_vec()));
            }
        }
        Ok(())
    }

    /// What a relay would do that looks flows up and does not ask whose they are.
    fn forward_as_owner(&mut self, shard: ShardId, flow: FlowId, datagram: &[u8]) -> Vec<Recipient> {
        let owner = self.flows.given().rfind(|(_, given, _)| *given == flow.number());
        let Some((owner, ..)) = owner else { return Vec::new() };
        let now = self.agenda.now();
        match self.exchange(shard).forward(owner, datagram, now) {
            Forward::To(recipients) => recipients.to_vec(),
            Forward::Drop(_) => Vec::new(),
        }
    }
}

/// Outputs of its shards.
impl World {
    pub(crate) fn drain_shard(&mut self, shard: ShardId) {
        let life = self.supernode.life;
        loop {
            match self.exchange(shard).poll_output() {
                Output::Send { link, bytes } => self.send_down(link, bytes),
                Output::Close { link, code } => self.close(link, code),
                Output::Ask { query, question } => {
                    self.supernode.questions += usize::from(is_waited_for(&question));
                    let pause = between(Duration::from_micros(200), Duration::from_millis(20), &mut self.rng);
                    let at = self.agenda.now().instant + pause;
                    let at = self.supernode.store_until.map_or(at, |until| at.max(until));
                    self.supernode.store_until = Some(at);
                    self.agenda.at(at, Happening::Store { life, shard, query, question });
                }
                Output::Tell { shard: to, message } => {
                    self.supernode.trunks.entry((shard, to)).or_default().push_back(message);
                    let pause = between(Duration::ZERO, Duration::from_millis(2), &mut self.rng);
                    self.agenda.after(pause, Happening::Trunk { life, from: shard, to });
                }
                Output::Trunk { .. } | Output::Joined { .. } => unreachable!("there is one supernode"),
                Output::Idle { wake } => {
                    let set = &mut self.supernode.wakes[usize::from(shard.0)];
                    if let Some((at, _)) = wake.filter(|(at, _)| set.is_none_or(|set| *at < set)) {
                        *set = Some(at);
                        self.agenda.at(at, Happening::WakeShard { life, shard });
                    }
                    return;
                }
            }
        }
    }

    fn send_down(&mut self, id: LinkId, bytes: Bytes) {
        if self.observe(id, &bytes) {
            return;
        }
        let now = self.agenda.now().instant;
        let Some(at) = self.network.stream_arrival(id, Way::Down, &self.plan, now, &mut self.rng) else { return };
        if let Some(link) = self.network.link_mut(id) {
            link.queued += bytes.len();
            if link.queued > limits::OUTBOUND_QUEUE_MAX {
                let what = format!("{} bytes wait on one link", link.queued);
                self.note(Err((Checker::Bounds, what)));
            }
        }
        self.agenda.at(at, Happening::ToDevice(id, bytes));
    }

    /// Shows checkers what a message says. Whether a planted fault swallows it.
    fn observe(&mut self, id: LinkId, bytes: &Bytes) -> bool {
        let mut deframer = Deframer::default();
        deframer.push(bytes);
        let message =
            deframer.next(usize::MAX).ok().flatten().and_then(|bytes| v1::SupernodeMessage::decode(bytes).ok());
        let Some(body) = message.and_then(|message| message.body) else {
            self.note(Err((Checker::Bounds, "an exchange sends what is no message".to_owned())));
            return false;
        };
        self.flows.told(id, &body);
        self.chronicle(&format!("link {} down: {body:?}", id.0));
        match body {
            Body::Welcome(_) => {
                let device = self.network.link(id).map(|link| self.devices[link.device].identity.device);
                if let Some(device) = device {
                    self.sessions.open(id, device);
                    self.summary.sign_ins += 1;
                }
                false
            }
            Body::CallEnded(_) => self.plan.fault == Some(Fault::SwallowCallEnded) && self.rng.random_bool(1.0 / 3.0),
            Body::PresenceChanged(_) => {
                self.plan.fault == Some(Fault::SwallowPresence) && self.rng.random_bool(1.0 / 3.0)
            }
            Body::LegUp(_) => self.plan.fault == Some(Fault::SwallowLegUp) && self.summary.legs_returned > 0,
            _ => false,
        }
    }

    fn close(&mut self, id: LinkId, code: v1::ErrorCode) {
        if self.plan.fault == Some(Fault::KeepReplaced) && code == v1::ErrorCode::SessionReplaced {
            return;
        }
        self.sessions.close(id);
        self.summary.closes += 1;
        let now = self.agenda.now().instant;
        let arrival = self.network.stream_arrival(id, Way::Down, &self.plan, now, &mut self.rng);
        if let Some(link) = self.network.link_mut(id) {
            link.at_shard = false;
        }
        if let Some(at) = arrival {
            self.agenda.at(at, Happening::Closed(id));
        }
    }

    /// What every shard holds is what the world knows of. To be asked when no message between shards is under way.
    pub(crate) fn check_bounds(&self) -> Result<(), Finding> {
        let gauges: Vec<_> = self.supernode.shards.iter().map(Exchange::gauges).collect();
        let sum = |of: fn(&ahoy_core::Gauges) -> usize| gauges.iter().map(of).sum::<usize>();
        let (calls, flows, links, accounts, timers) =
            (sum(|g| g.calls), sum(|g| g.flows), sum(|g| g.links), sum(|g| g.accounts), sum(|g| g.timers));
        let broken = |what: String| Err((Checker::Bounds, what));
        for (shard, gauges) in gauges.iter().enumerate() {
            let links = self.network.at_shard(ShardId(shard as u16), self.supernode.life);
            if gauges.links != links {
                return broken(format!("shard {shard} holds {} links of {links}", gauges.links));
            }
        }
        if sum(|g| g.queries) != self.supernode.questions {
            return broken(format!("{} queries wait for {} questions", sum(|g| g.queries), self.supernode.questions));
        }
        // A link has one, to its proof or to its credential's end; an account has one while it has learnt names.
        if flows > 2 * calls || timers > links + accounts + 3 * calls {
            return broken(format!(
                "{flows} flows and {timers} timers for {calls} calls, {links} links and {accounts} accounts"
            ));
        }
        Ok(())
    }
}

/// Whether its exchange does something with the answer: of a sign-out it only wants that the store knows.
fn is_waited_for(question: &Question) -> bool {
    !matches!(question, Question::MarkSeen { .. })
}
