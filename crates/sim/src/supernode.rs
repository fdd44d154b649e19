//! The fleet: the shell that a real supernode is around its exchanges, the store, the ways between shards and between supernodes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ahoy_core::testing::MemoryStore;
use ahoy_core::{
    Answer, Exchange, ExchangeConfig, FleetNode, Forward, LinkId, Lists, Node, Output, PeerMessage, Question,
    Recipient, Seat, ShardId, StoreError,
};
use ahoy_proto::call_token::CallTokenKey;
use ahoy_proto::document::{Revocations, Roster};
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
use crate::plan::{Fault, Plan};
use crate::world::World;

pub(crate) const NETWORK: NetworkId = NetworkId([1; 16]);

/// The key that all credentials of the world are signed with.
pub(crate) fn authority_key() -> SigningKey {
    SigningKey::from_bytes(&[200; 32])
}

/// What the authority of the world has signed.
fn lists() -> Lists {
    let issued_at = UnixTime(START_MS / 1000);
    let expires = issued_at.plus(limits::ROSTER_LIFE);
    let (devices, accounts, supernodes) = (Vec::new(), Vec::new(), Vec::new());
    Lists {
        signing_keys: vec![authority_key().verifying_key()],
        revocations: Arc::new(Revocations { network: NETWORK, serial: 1, devices, accounts, issued_at, expires }),
        roster: Arc::new(Roster { network: NETWORK, serial: 1, supernodes, issued_at, expires }),
        certificate: String::new(),
    }
}

/// The fleet and its store. Shards are counted through: those of the first supernode, then those of the next.
#[derive(Debug)]
pub(crate) struct Fleet {
    supernodes: Vec<Supernode>,
    shards_of_each: u16,
    exchanges: BTreeMap<ShardId, Exchange>,
    wakes: BTreeMap<ShardId, Instant>,
    trunks: BTreeMap<(ShardId, ShardId), VecDeque<Said>>,
    /// Pairs of supernodes that can't reach each other now.
    cut: BTreeSet<(usize, usize)>,
    /// Changes that some supernode has not seen yet.
    unseen: usize,
    pub(crate) store: MemoryStore,
    pub(crate) store_fails: bool,
    /// Until when the store is busy with what a supernode asks about something.
    store_until: BTreeMap<(usize, [u8; 16]), Instant>,
    /// Questions of those that live, on their way.
    questions: BTreeMap<ShardId, usize>,
    /// The store as it was at the last start.
    backup: MemoryStore,
}

#[derive(Debug, Default)]
struct Supernode {
    /// Counts the lives of its process and the deaths between them; 0: it has not started yet.
    life: u64,
    is_up: bool,
    /// From a drain until its end.
    drains: bool,
    /// Whom it sees.
    sees: BTreeMap<usize, Seen>,
}

/// What one supernode knows of another, or of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    life: u64,
    drains: bool,
}

/// What one shard says to another.
#[derive(Debug)]
enum Said {
    Here(PeerMessage),
    There(Box<v1::TrunkMessage>),
}

impl Fleet {
    pub(crate) fn new(store: MemoryStore, plan: &Plan) -> Self {
        Self {
            supernodes: (0..plan.supernodes).map(|_| Supernode::default()).collect(),
            shards_of_each: plan.shards,
            exchanges: BTreeMap::new(),
            wakes: BTreeMap::new(),
            trunks: BTreeMap::new(),
            cut: BTreeSet::new(),
            unseen: 0,
            backup: store.clone(),
            store,
            store_fails: false,
            store_until: BTreeMap::new(),
            questions: BTreeMap::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.supernodes.len()
    }

    pub(crate) fn is_up(&self, supernode: usize) -> bool {
        self.supernodes[supernode].is_up
    }

    /// Those that live.
    pub(crate) fn up(&self) -> Vec<usize> {
        (0..self.len()).filter(|supernode| self.is_up(*supernode)).collect()
    }

    pub(crate) fn exchanges(&self) -> impl Iterator<Item = (ShardId, &Exchange)> {
        self.exchanges.iter().map(|(shard, exchange)| (*shard, exchange))
    }

    pub(crate) fn supernode_of(&self, shard: ShardId) -> usize {
        usize::from(shard.0 / self.shards_of_each)
    }

    /// The present life of a shard's supernode.
    pub(crate) fn life_of(&self, shard: ShardId) -> u64 {
        self.supernodes[self.supernode_of(shard)].life
    }

    pub(crate) fn any_shard_of(&self, supernode: usize, rng: &mut impl Rng) -> ShardId {
        self.shard(supernode, rng.random_range(0..self.shards_of_each))
    }

    fn shard(&self, supernode: usize, number: u16) -> ShardId {
        ShardId(supernode as u16 * self.shards_of_each + number)
    }

    fn shards_of(&self, supernode: usize) -> impl Iterator<Item = ShardId> + use<> {
        let first = supernode as u16 * self.shards_of_each;
        (first..first + self.shards_of_each).map(ShardId)
    }

    /// How a supernode calls a life of another.
    fn node(&self, seer: usize, seen: usize, life: u64) -> Node {
        if seer == seen { Node::OWN } else { Node(1 + seen as u32 + self.len() as u32 * life as u32) }
    }

    /// How a supernode stands now.
    fn seen(&self, supernode: usize) -> Seen {
        let Supernode { life, drains, .. } = self.supernodes[supernode];
        Seen { life, drains }
    }

    fn is_cut(&self, one: usize, other: usize) -> bool {
        self.cut.contains(&(one.min(other), one.max(other)))
    }

    /// Whether all shards have heard everything that was said to them, and see who lives.
    pub(crate) fn is_settled(&self) -> bool {
        self.trunks.values().all(VecDeque::is_empty) && self.unseen == 0 && self.cut.is_empty()
    }

    fn forget_trunks_of(&mut self, supernode: usize) {
        let each = self.shards_of_each;
        let of = |shard: &ShardId| usize::from(shard.0 / each) == supernode;
        self.trunks.retain(|(from, to), _| !of(from) && !of(to));
    }
}

/// The id of a supernode of the fleet.
pub(crate) fn supernode_id(supernode: usize) -> SupernodeId {
    SupernodeId([2 + supernode as u8; 16])
}

/// Their lives.
impl World {
    pub(crate) fn supernode_starts(&mut self, supernode: usize) {
        if self.fleet.is_up(supernode) {
            return;
        }
        let finding = self.promises.check(&self.fleet.store);
        self.note(finding);
        let now = self.agenda.now();
        let this = &mut self.fleet.supernodes[supernode];
        this.life += 1;
        (this.is_up, this.drains, this.sees) = (true, false, BTreeMap::new());
        let life = this.life;
        self.fleet.backup = self.fleet.store.clone();
        let shards = self.plan.shards;
        for number in 0..shards {
            let config = ExchangeConfig {
                network: NETWORK,
                supernode: supernode_id(supernode),
                number: supernode as u32,
                incarnation: life,
                started: now,
                shard: ShardId(number),
                shards,
                call_token_key: CallTokenKey::new([201; 32]),
                minimum_version: 1,
                sessions_max: 1000,
                half_open_max: 1000,
                calls_max: 1000,
            };
            let mut seed = [0; 32];
            self.rng.fill_bytes(&mut seed);
            let mut exchange = Exchange::new(config, seed);
            exchange.handle_lists(lists(), now);
            let shard = self.fleet.shard(supernode, number);
            self.fleet.exchanges.insert(shard, exchange);
        }
        self.chronicle(&format!("supernode {supernode} starts"));
        self.fleet_changes(Duration::from_millis(50), Duration::from_secs(1));
    }

    /// Its process is gone with all that it knew; the store is not.
    pub(crate) fn supernode_dies(&mut self, supernode: usize) {
        if !self.fleet.is_up(supernode) {
            return;
        }
        self.summary.supernode_deaths += 1;
        self.chronicle(&format!("supernode {supernode} dies"));
        let this = &mut self.fleet.supernodes[supernode];
        // Whatever of the dead process is still on its way is void.
        this.life += 1;
        this.is_up = false;
        for shard in self.fleet.shards_of(supernode) {
            self.fleet.exchanges.remove(&shard);
            self.fleet.wakes.remove(&shard);
            self.fleet.questions.remove(&shard);
        }
        self.fleet.forget_trunks_of(supernode);
        if self.plan.fault == Some(Fault::StoreForgets) {
            self.fleet.store = self.fleet.backup.clone();
        }
        for link in self.network.carrying() {
            if self.network.link(link).is_some_and(|link| self.fleet.supernode_of(link.shard) == supernode) {
                self.sessions.close(link);
                let device = self.network.link(link).map(|link| link.device);
                self.break_link(link);
                device.into_iter().for_each(|device| self.mark_away(device));
            }
        }
        self.sessions.close_where(|link| {
            self.network.link(link).is_some_and(|link| self.fleet.supernode_of(link.shard) == supernode)
        });
        self.disturb_all();
        self.fleet_changes(Duration::from_millis(300), Duration::from_millis(2_500));
        let pause = between(Duration::from_millis(200), Duration::from_secs(3), &mut self.rng);
        self.agenda.after(pause, Happening::SupernodeStarts(supernode));
    }

    /// It knows at once that it is home of nothing any more, and the others hear of it.
    pub(crate) fn supernode_drains(&mut self, supernode: usize) {
        if !self.fleet.is_up(supernode) {
            return;
        }
        self.chronicle(&format!("supernode {supernode} drains"));
        let this = &mut self.fleet.supernodes[supernode];
        this.drains = true;
        let mut seen = this.sees.clone();
        seen.entry(supernode).and_modify(|own| own.drains = true);
        self.see(supernode, seen);
        self.fleet_changes(Duration::from_millis(10), Duration::from_millis(500));
        for shard in self.fleet.shards_of(supernode) {
            self.exchange(shard).drain(Duration::from_millis(500), Duration::from_secs(2));
            self.drain_shard(shard);
        }
        self.agenda.after(Duration::from_secs(2), Happening::SupernodeDies(supernode));
    }

    /// Two supernodes lose each other for a while; what was under way between them is lost.
    pub(crate) fn trunk_breaks(&mut self) {
        let up = self.fleet.up();
        let [one, .., other] = up[..] else { return };
        if self.fleet.is_cut(one, other) {
            return;
        }
        self.chronicle(&format!("supernodes {one} and {other} lose each other"));
        self.fleet.cut.insert((one, other));
        let each = self.fleet.shards_of_each;
        let of = |shard: &ShardId| usize::from(shard.0 / each);
        self.fleet.trunks.retain(|(from, to), _| {
            let ends = [of(from), of(to)];
            ends != [one, other] && ends != [other, one]
        });
        self.disturb_all();
        self.fleet_changes(Duration::ZERO, Duration::from_millis(1));
        let pause = between(Duration::from_millis(200), Duration::from_secs(4), &mut self.rng);
        self.agenda.after(pause, Happening::TrunkReturns(one, other));
    }

    pub(crate) fn trunk_returns(&mut self, one: usize, other: usize) {
        self.fleet.cut.remove(&(one, other));
        self.fleet_changes(Duration::ZERO, Duration::from_millis(1));
    }

    /// Whoever is in a call may lose it now, though its link stands.
    fn disturb_all(&mut self) {
        for device in &self.devices {
            if let Some(talk) = &device.talk {
                self.stories.disturbed(talk.call);
            }
        }
    }

    /// All supernodes will see who lives, each in its own time.
    fn fleet_changes(&mut self, least: Duration, most: Duration) {
        if self.fleet.len() == 1 {
            return;
        }
        for supernode in 0..self.fleet.len() {
            let life = self.fleet.supernodes[supernode].life;
            self.fleet.unseen += 1;
            let pause = between(least, most, &mut self.rng);
            self.agenda.after(pause, Happening::SeesFleet { supernode, life });
        }
    }

    pub(crate) fn sees_fleet(&mut self, supernode: usize, life: u64) {
        self.fleet.unseen -= 1;
        let this = &self.fleet.supernodes[supernode];
        if this.life != life || !this.is_up {
            return;
        }
        let seen = self.fleet.up().into_iter().filter(|other| !self.fleet.is_cut(supernode, *other));
        let seen = seen.map(|other| (other, self.fleet.seen(other))).collect();
        self.see(supernode, seen);
    }

    fn see(&mut self, supernode: usize, seen: BTreeMap<usize, Seen>) {
        if self.fleet.supernodes[supernode].sees == seen {
            return;
        }
        let node = |(other, seen): (&usize, &Seen)| FleetNode {
            node: self.fleet.node(supernode, *other, seen.life),
            supernode: supernode_id(*other),
            incarnation: seen.life,
            shards: self.plan.shards,
            weight: u32::from(!seen.drains),
            near: self.plan.near,
        };
        let view = Arc::new(ahoy_core::Fleet::new(seen.iter().map(node).collect()));
        self.fleet.supernodes[supernode].sees = seen;
        self.summary.views += 1;
        let now = self.agenda.now();
        for shard in self.fleet.shards_of(supernode) {
            self.exchange(shard).handle_fleet(Arc::clone(&view), now);
            self.drain_shard(shard);
        }
    }

    /// Nothing gets through any more; each end learns of it in its own time.
    pub(crate) fn break_link(&mut self, id: LinkId) {
        let Some(link) = self.network.link_mut(id).filter(|link| link.carries) else { return };
        link.carries = false;
        let device = link.device;
        if self.devices[device].link.as_ref().is_some_and(|current| current.id == id) {
            self.mark_away(device);
        }
        if self.devices[device].end_of(id).is_some() {
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
        (link.at_shard && link.life == self.fleet.life_of(link.shard)).then_some(link.shard)
    }

    /// Of a supernode that lives.
    fn exchange(&mut self, shard: ShardId) -> &mut Exchange {
        self.fleet.exchanges.get_mut(&shard).expect("its supernode lives")
    }

    pub(crate) fn link_up(&mut self, id: LinkId) {
        let Some(shard) = self.network.link(id).map(|link| link.shard) else { return };
        let (life, up) = (self.fleet.life_of(shard), self.fleet.exchanges.contains_key(&shard));
        let Some(link) = self.network.link_mut(id) else { return };
        if !up || link.life != life || !link.carries {
            return self.device_loses(id);
        }
        link.at_shard = true;
        let now = self.agenda.now();
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
        if life != self.fleet.life_of(to) || !self.fleet.exchanges.contains_key(&to) {
            return;
        }
        let Some(said) = self.fleet.trunks.get_mut(&(from, to)).and_then(VecDeque::pop_front) else { return };
        let now = self.agenda.now();
        match said {
            Said::Here(message) => self.exchange(to).handle_peer(from, message, now),
            Said::There(message) => {
                let (sender, receiver) = (self.fleet.supernode_of(from), self.fleet.supernode_of(to));
                // Whoever is heard lives.
                let life = self.fleet.supernodes[sender].life;
                let mut seen = self.fleet.supernodes[receiver].sees.clone();
                for other in [receiver, sender] {
                    let alive = |seen: &&Seen| seen.life == self.fleet.supernodes[other].life;
                    if seen.get(&other).filter(alive).is_none() {
                        seen.insert(other, self.fleet.seen(other));
                    }
                }
                self.see(receiver, seen);
                let from = self.fleet.node(receiver, sender, life);
                self.exchange(to).handle_trunk(from, *message, now);
            }
        }
        self.drain_shard(to);
    }

    pub(crate) fn wake_shard(&mut self, life: u64, shard: ShardId) -> Result<(), Finding> {
        let mut now = self.agenda.now();
        if life != self.fleet.life_of(shard) || self.fleet.wakes.get(&shard).is_none_or(|at| *at > now.instant) {
            return Ok(());
        }
        self.fleet.wakes.remove(&shard);
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
        let Happening::Store { life, shard, query, question, answered } = happening else { return };
        if life != self.fleet.life_of(shard) {
            if self.rng.random() {
                self.carry_out(question);
            }
            return;
        }
        let is_waited_for = is_waited_for(&question);
        let answer = if self.fleet.store_fails { Err(StoreError::Unavailable) } else { Ok(self.carry_out(question)) };
        self.agenda.at(answered, Happening::StoreAnswers { life, shard, query, answer, is_waited_for });
    }

    /// An answer may be older by then than others that came before it.
    pub(crate) fn store_answers(&mut self, happening: Happening) {
        let Happening::StoreAnswers { life, shard, query, answer, is_waited_for } = happening else { return };
        if life != self.fleet.life_of(shard) {
            return;
        }
        *self.fleet.questions.entry(shard).or_default() -= usize::from(is_waited_for);
        let now = self.agenda.now();
        self.exchange(shard).handle_answer(query, answer, now);
        self.drain_shard(shard);
    }

    /// Carries out a verb, as well as the planted fault lets the store.
    fn carry_out(&mut self, mut question: Question) -> Answer {
        let fault = self.plan.fault;
        let before = (fault == Some(Fault::ForgetMessages)).then(|| self.fleet.store.clone());
        if let Question::SendMessage { conversation, device, number, .. } = &mut question {
            let (_, sent) = self.fleet.store.cursor(*conversation, *device).unwrap_or_default();
            if fault == Some(Fault::AppendTwice) && *number <= sent {
                *number = sent + 1;
            }
        }
        let answer = self.fleet.store.answer(question.clone());
        self.promises.made(&question, &answer);
        if let Answer::Appended { entry, .. } | Answer::Committed { entry, .. } = &answer {
            self.letters.logged(entry);
        }
        if let Question::LeaveConversation { conversation, .. } = question
            && !self.fleet.store.has_conversation(conversation)
        {
            self.promises.emptied(conversation);
        }
        let sent = matches!(question, Question::SendMessage { .. }) && matches!(answer, Answer::Appended { .. });
        if let Some(before) = before.filter(|_| sent)
            && self.rng.random_bool(1.0 / 8.0)
        {
            self.fleet.store = before;
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
        self.flows.check(id, flow.number(), &recipients, account, &self.fleet.store)?;
        for Recipient { link, node, .. } in recipients {
            if node == Node::NOWHERE {
                continue;
            }
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
        let life = self.fleet.life_of(shard);
        loop {
            // A message to a device may have ended its process, never one of ours.
            match self.exchange(shard).poll_output() {
                Output::Send { link, bytes } => self.send_down(link, bytes),
                Output::Close { link, code } => self.close(link, code),
                Output::Ask { query, question } => {
                    *self.fleet.questions.entry(shard).or_default() += usize::from(is_waited_for(&question));
                    // What one supernode asks about one thing keeps its order, and nothing else does.
                    let key = (self.fleet.supernode_of(shard), subject(&question));
                    let [there, back] = [0, 1].map(|_| {
                        let slow = self.rng.random_bool(1.0 / 8.0);
                        let most = if slow { self.plan.store } else { Duration::from_millis(20) };
                        between(Duration::from_micros(200), most, &mut self.rng)
                    });
                    let there = self.agenda.now().instant + there;
                    let at = self.fleet.store_until.get(&key).map_or(there, |busy| there.max(*busy));
                    let answered = at + back;
                    self.fleet.store_until.insert(key, answered);
                    self.agenda.at(at, Happening::Store { life, shard, query, question, answered });
                }
                Output::Tell { shard: to, message } => {
                    let to = self.fleet.shard(self.fleet.supernode_of(shard), to.0);
                    self.say(shard, to, Said::Here(message));
                }
                Output::Trunk { to, bytes } => self.send_over(shard, to, &bytes),
                Output::Joined { .. } => unreachable!("no device joins a trunk"),
                Output::Idle { wake } => {
                    let set = self.fleet.wakes.get(&shard);
                    if let Some((at, _)) = wake.filter(|(at, _)| set.is_none_or(|set| at < set)) {
                        self.fleet.wakes.insert(shard, at);
                        self.agenda.at(at, Happening::WakeShard { life, shard });
                    }
                    return;
                }
            }
        }
    }

    fn say(&mut self, from: ShardId, to: ShardId, said: Said) {
        let life = self.fleet.life_of(to);
        let most = if matches!(said, Said::There(_)) { self.plan.trunk } else { Duration::from_millis(2) };
        self.fleet.trunks.entry((from, to)).or_default().push_back(said);
        let pause = between(Duration::ZERO, most, &mut self.rng);
        self.agenda.after(pause, Happening::Trunk { life, from, to });
    }

    /// Over the trunk to another supernode, if it is there.
    fn send_over(&mut self, from: ShardId, to: Seat, bytes: &Bytes) {
        let mut deframer = Deframer::default();
        deframer.push(bytes);
        let message = deframer.next(limits::TRUNK_MESSAGE_MAX).ok().flatten();
        let Some(message) = message.and_then(|message| v1::TrunkMessage::decode(message).ok()) else {
            return self.note(Err((Checker::Bounds, "an exchange tells another what is no message".to_owned())));
        };
        let sender = self.fleet.supernode_of(from);
        let named = |other: &usize| self.fleet.node(sender, *other, self.fleet.supernodes[*other].life) == to.node;
        let there = self.fleet.up().into_iter().filter(|other| !self.fleet.is_cut(sender, *other)).find(named);
        if let Some(there) = there {
            let to = self.fleet.shard(there, to.shard.0);
            self.say(from, to, Said::There(Box::new(message)));
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
        let gauges: Vec<_> = self.fleet.exchanges().map(|(shard, exchange)| (shard, exchange.gauges())).collect();
        let sum = |of: fn(&ahoy_core::Gauges) -> usize| gauges.iter().map(|(_, gauges)| of(gauges)).sum::<usize>();
        let (calls, flows, links, accounts, timers) =
            (sum(|g| g.calls), sum(|g| g.flows), sum(|g| g.links), sum(|g| g.accounts), sum(|g| g.timers));
        let broken = |what: String| Err((Checker::Bounds, what));
        for (shard, gauges) in &gauges {
            let links = self.network.at_shard(*shard, self.fleet.life_of(*shard));
            if gauges.links != links {
                return broken(format!("{shard:?} holds {} links of {links}", gauges.links));
            }
        }
        let questions = self.fleet.questions.values().sum::<usize>();
        if sum(|g| g.queries) != questions {
            return broken(format!("{} queries wait for {questions} questions", sum(|g| g.queries)));
        }
        // A flow may outlive its call's home for a while.
        let flows_fit = self.fleet.len() > 1 || flows <= 2 * calls;
        // A link has one, to its proof or to its credential's end; an account has one while it has learnt names, wherever it was
        // at home then; a shard has one while accounts there are in calls, or were by what it last heard; and one of a fleet two more.
        let names = self.fleet.len() * self.devices.len();
        let of_fleet = if self.fleet.len() > 1 { 2 * gauges.len() + names } else { 0 };
        if !flows_fit || timers > links + accounts + 3 * calls + gauges.len() + of_fleet {
            return broken(format!(
                "{flows} flows and {timers} timers for {calls} calls, {links} links and {accounts} accounts"
            ));
        }
        Ok(())
    }
}

/// What a question is about, as the store's verbs have it.
fn subject(question: &Question) -> [u8; 16] {
    match question {
        Question::FindAccount { .. } | Question::SearchDirectory { .. } => [0; 16],
        Question::CheckIn { account, .. }
        | Question::ListDevices { account, .. }
        | Question::MarkSeen { account, .. }
        | Question::ChangeSettings { account, .. }
        | Question::ListContacts { account, .. }
        | Question::RequestContact { account, .. }
        | Question::AnswerContact { account, .. }
        | Question::RemoveContact { account, .. }
        | Question::BlockAccount { account, .. }
        | Question::Report { account, .. }
        | Question::ClaimKeyPackages { account }
        | Question::ListConversations { account, .. } => account.0,
        Question::PublishKeyPackages { device, .. }
        | Question::FetchInbox { device, .. }
        | Question::Acknowledge { device, .. } => device.0,
        Question::CreateConversation { conversation, .. }
        | Question::FetchGroupInfo { conversation, .. }
        | Question::SendMessage { conversation, .. }
        | Question::FetchLog { conversation, .. }
        | Question::ListMemberIds { conversation, .. }
        | Question::FetchMembers { conversation, .. }
        | Question::SetReceipt { conversation, .. }
        | Question::FetchReceipts { conversation, .. }
        | Question::LeaveConversation { conversation, .. }
        | Question::Callees { conversation, .. } => conversation.0,
        Question::Commit(commit) => commit.conversation.0,
    }
}

/// Whether its exchange does something with the answer: of a sign-out it only wants that the store knows.
fn is_waited_for(question: &Question) -> bool {
    !matches!(question, Question::MarkSeen { .. })
}
