//! One device: the shell that a real driver is around a [`Member`], and the person in front of it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ahoy_client::member::{Event, Identity, Member, Output, OwnLeg, SignIn, SignInStep};
use ahoy_core::LinkId;
use ahoy_proto::document::{self, Confirmation, Credential, Jwk};
use ahoy_proto::flow::FlowId;
use ahoy_proto::frame::{self, Deframer};
use ahoy_proto::placement::{self, Candidate};
use ahoy_proto::request_key::RequestSecret;
use ahoy_proto::{AccountId, CallId, DeviceId, Name, UnixTime, binding, limits, v1};
use bytes::Bytes;
use ed25519_dalek::SigningKey;
use prost::Message;
use rand::{Rng, RngExt};

use crate::agenda::{Happening, START_MS};
use crate::calls::Act;
use crate::checkers::{Checker, Finding};
use crate::history::History;
use crate::network::{Way, between, one_way};
use crate::supernode::{NETWORK, authority_key, supernode_id};
use crate::world::World;

#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) identity: Identity,
    credential: String,
    /// What its process has committed.
    disk: BTreeMap<Vec<u8>, Vec<u8>>,
    /// What was said, as far as its process has committed it.
    pub(crate) history: History,
    /// Whether its person has gone away from it; true until it says otherwise.
    pub(crate) away: bool,
    /// Counts the lives of its process.
    pub(crate) life: u64,
    /// `None` while its process is not there, and for the stranger.
    pub(crate) member: Option<Box<Member>>,
    pub(crate) is_stranger: bool,
    pub(crate) link: Option<DeviceLink>,
    /// Another one, which is to be its link once it is signed in there.
    moving: Option<DeviceLink>,
    wake: Option<Instant>,
    pub(crate) ready: bool,
    pub(crate) talk: Option<Talk>,
    /// Since when nothing reaches it.
    away_since: Option<Instant>,
}

/// A device's end of a link.
#[derive(Debug)]
pub(crate) struct DeviceLink {
    pub(crate) id: LinkId,
    deframer: Deframer,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    SigningIn(Box<SignIn>),
    Online,
}

/// A call, as the person in front of the device knows it.
#[derive(Debug)]
pub(crate) struct Talk {
    pub(crate) call: CallId,
    pub(crate) stage: Stage,
}

#[derive(Debug)]
pub(crate) enum Stage {
    Outgoing,
    Incoming,
    Answering,
    Connected { flow: FlowId, peers: BTreeMap<DeviceId, FlowId>, heard: Option<Instant> },
}

/// How often a device in a call sends; a fifth of the real rate is enough to see where packets go.
pub(crate) const VOICE_EVERY: Duration = Duration::from_millis(100);

impl Device {
    /// A device of the person with this number.
    pub(crate) fn new(person: u8, device: u8, rng: &mut impl Rng) -> Self {
        let mut random = || {
            let mut bytes = [0; 32];
            rng.fill_bytes(&mut bytes);
            bytes
        };
        let account_key = SigningKey::from_bytes(&[person; 32]);
        let device_key = SigningKey::from_bytes(&random());
        let id = |seed: [u8; 32]| -> [u8; 16] { std::array::from_fn(|byte| seed[byte]) };
        let mut account = [person; 16];
        // Homes of accounts spread over the shards.
        account[0] = person.wrapping_mul(37);
        let account = AccountId(account);
        let mut device_id = id(random());
        device_id[15] = device;
        let device = DeviceId(device_id);
        let binding =
            binding::make(account, device, &device_key.verifying_key(), &account_key, UnixTime(START_MS / 1000));
        let name = Name::parse(&format!("person{person}")).expect("a name of letters and digits");
        let credential = Credential {
            network: NETWORK,
            account,
            name: name.clone(),
            device,
            confirmation: Confirmation { jwk: Jwk::ed25519(*device_key.verifying_key().as_bytes()) },
            issued_at: UnixTime(START_MS / 1000),
            expires: UnixTime(START_MS / 1000).plus(limits::CREDENTIAL_LIFE),
        };
        let request_secret = Some(RequestSecret::of_account_key(&account_key));
        let account_key = *account_key.verifying_key().as_bytes();
        let network = NETWORK;
        Self {
            identity: Identity { network, account, name, device, device_key, account_key, request_secret, binding },
            credential: document::sign(&credential, &authority_key()),
            disk: BTreeMap::new(),
            history: History::default(),
            away: true,
            life: 0,
            member: None,
            is_stranger: false,
            link: None,
            moving: None,
            wake: None,
            ready: false,
            talk: None,
            away_since: None,
        }
    }

    pub(crate) fn is_online(&self) -> bool {
        self.link.as_ref().is_some_and(|link| matches!(link.phase, Phase::Online))
    }

    /// Its end of a link, if it has not given it up.
    pub(crate) fn end_of(&mut self, link: LinkId) -> Option<&mut DeviceLink> {
        [&mut self.link, &mut self.moving].into_iter().flatten().find(|end| end.id == link)
    }

    pub(crate) fn runs(&self) -> bool {
        self.member.is_some() || self.is_stranger && self.life > 0
    }
}

/// Processes and links.
impl World {
    pub(crate) fn device_starts(&mut self, device: usize) {
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        let now = self.agenda.now();
        let this = &mut self.devices[device];
        this.life += 1;
        this.away = true;
        if !this.is_stranger {
            let mut member = Member::new(this.identity.clone(), this.disk.clone(), seed);
            member.set_clock(now.unix_ms, now.instant);
            this.member = Some(Box::new(member));
        }
        self.drain_member(device);
        self.dial_soon(device, Duration::from_millis(1));
    }

    /// The process is gone, in the middle of whatever it did; what it has committed stays.
    pub(crate) fn device_dies(&mut self, device: usize) {
        self.chronicle(&format!("device {device} dies"));
        self.mark_away(device);
        self.stories.unheard(device, true, self.agenda.now().instant);
        let this = &mut self.devices[device];
        (this.member, this.wake, this.ready) = (None, None, false);
        this.life += 1;
        let links = [this.link.take(), this.moving.take()];
        if let Some(talk) = this.talk.take() {
            // It will never be back in this call.
            self.stories.disturbed(talk.call);
            self.stories.away(talk.call, limits::LEG_RETURN);
        }
        for link in links.into_iter().flatten() {
            self.break_link(link.id);
        }
        let pause = between(Duration::from_millis(50), Duration::from_secs(3), &mut self.rng);
        self.agenda.after(pause, Happening::DeviceStarts { device });
    }

    fn dial_soon(&mut self, device: usize, least: Duration) {
        let life = self.devices[device].life;
        let pause = between(least, least + Duration::from_millis(500), &mut self.rng);
        self.agenda.after(pause, Happening::Dial { device, life });
    }

    pub(crate) fn dial(&mut self, device: usize, life: u64) {
        let this = &self.devices[device];
        if this.life != life || this.link.is_some() || !this.runs() {
            return;
        }
        let Some(supernode) = self.choose_supernode(device) else {
            return self.dial_soon(device, Duration::from_millis(100));
        };
        self.devices[device].link = Some(self.dial_supernode(device, supernode));
    }

    fn dial_supernode(&mut self, device: usize, supernode: usize) -> DeviceLink {
        let now = self.agenda.now().instant;
        let shard = self.fleet.any_shard_of(supernode, &mut self.rng);
        let id = self.network.dial(device, shard, self.fleet.life_of(shard), now);
        let agent = "sim/1".to_owned();
        let this = &self.devices[device];
        let sign_in = SignIn::new(&this.identity, this.credential.clone(), supernode_id(supernode), None, agent);
        self.chronicle(&format!("device {device} dials link {}", id.0));
        // A handshake is a round trip and a half.
        let handshake = one_way(&self.plan, &mut self.rng) * 3;
        self.agenda.after(handshake, Happening::LinkUp(id));
        DeviceLink { id, deframer: Deframer::default(), phase: Phase::SigningIn(Box::new(sign_in)) }
    }

    /// Dials elsewhere, and goes there once it is signed in.
    pub(crate) fn device_moves(&mut self, device: usize, link: LinkId, to: Option<usize>) {
        let this = &self.devices[device];
        let is_here = this.is_online() && this.link.as_ref().is_some_and(|current| current.id == link);
        if !is_here || this.moving.is_some() {
            return;
        }
        let from = self.network.link(link).map(|link| self.fleet.supernode_of(link.shard));
        let mut others = self.fleet.up();
        others.retain(|supernode| Some(*supernode) != from);
        if !others.is_empty() {
            let any = others[self.rng.random_range(0..others.len())];
            let to = to.filter(|to| others.contains(to)).unwrap_or(any);
            self.devices[device].moving = Some(self.dial_supernode(device, to));
        }
    }

    /// Mostly the one that its account is at home on, if that lives.
    fn choose_supernode(&mut self, device: usize) -> Option<usize> {
        let up = self.fleet.up();
        let candidates: Vec<_> = up.iter().map(|up| Candidate { supernode: supernode_id(*up), weight: 1 }).collect();
        let best = placement::best(&self.devices[device].identity.account.0, &candidates)?;
        let other = self.rng.random_bool(0.3);
        Some(if other { up[self.rng.random_range(0..up.len())] } else { up[best] })
    }

    /// The device tells everything anew, as after signing in.
    pub(crate) fn resync(&mut self, device: usize, link: LinkId) {
        let now = self.agenda.now().instant;
        let this = &mut self.devices[device];
        if !this.is_online() || this.link.as_ref().is_none_or(|current| current.id != link) {
            return;
        }
        if let Some(member) = &mut this.member {
            member.resync(now);
        }
        self.chronicle(&format!("device {device} tells everything anew"));
        self.drain_member(device);
    }

    /// The device gives a link up and dials again.
    pub(crate) fn device_loses(&mut self, link: LinkId) {
        let Some(device) = self.network.link(link).map(|link| link.device) else { return };
        if let Some(moving) = self.devices[device].moving.take_if(|moving| moving.id == link) {
            return self.give_up(moving.id);
        }
        if self.devices[device].link.as_ref().is_none_or(|current| current.id != link) {
            return;
        }
        self.mark_away(device);
        self.chronicle(&format!("device {device} loses link {}", link.0));
        self.devices[device].link = None;
        self.devices[device].ready = false;
        self.give_up(link);
        let now = self.agenda.now().instant;
        if let Some(member) = &mut self.devices[device].member {
            member.handle_session_down(now);
        }
        self.drain_member(device);
        // What is under way elsewhere is the next session.
        self.devices[device].link = self.devices[device].moving.take();
        if self.devices[device].link.is_none() {
            self.dial_soon(device, Duration::from_millis(1));
        }
    }

    fn give_up(&mut self, link: LinkId) {
        if let Some(link) = self.network.link_mut(link) {
            link.at_device = false;
        }
        self.break_link(link);
    }

    /// From now on, until it is attached or idle again, the device is without a link.
    pub(crate) fn mark_away(&mut self, device: usize) {
        let now = self.agenda.now().instant;
        let this = &mut self.devices[device];
        this.away_since.get_or_insert(now);
        if let Some(talk) = &this.talk {
            self.stories.disturbed(talk.call);
        }
        self.stories.unheard(device, false, now);
    }

    fn mark_back(&mut self, device: usize) {
        let now = self.agenda.now().instant;
        let this = &mut self.devices[device];
        if let (Some(since), Some(talk)) = (this.away_since.take(), &this.talk) {
            self.stories.away(talk.call, now - since);
        }
    }

    pub(crate) fn bytes_to_device(&mut self, link: LinkId, bytes: &Bytes) -> Result<(), Finding> {
        let Some(entry) = self.network.link_mut(link) else { return Ok(()) };
        entry.queued -= bytes.len();
        let (device, carries) = (entry.device, entry.carries);
        let Some(current) = self.devices[device].end_of(link).filter(|_| carries) else { return Ok(()) };
        current.deframer.push(bytes);
        loop {
            let Some(current) = self.devices[device].end_of(link) else { return Ok(()) };
            let Ok(Some(message)) = current.deframer.next(limits::OUTBOUND_QUEUE_MAX) else { return Ok(()) };
            let Ok(message) = v1::SupernodeMessage::decode(message) else { return Ok(()) };
            self.message_to_device(device, link, &message)?;
        }
    }

    fn message_to_device(&mut self, device: usize, id: LinkId, message: &v1::SupernodeMessage) -> Result<(), Finding> {
        let now = self.agenda.now();
        let this = &mut self.devices[device];
        let Some(link) = this.end_of(id) else { return Ok(()) };
        match &mut link.phase {
            Phase::SigningIn(sign_in) => match sign_in.handle_message(message, now.unix_ms) {
                Ok(SignInStep::Send(message)) => self.send_up(id, frame::encode(&message)),
                Ok(SignInStep::SignedIn(_)) => {
                    link.phase = Phase::Online;
                    if let Some(moved) = this.moving.take_if(|moving| moving.id == id) {
                        return self.has_moved(device, moved);
                    }
                    if this.talk.is_none() {
                        this.away_since = None;
                    }
                    if let Some(member) = &mut this.member {
                        member.handle_session_up(now.instant);
                    }
                }
                Err(_) => self.device_loses(id),
            },
            Phase::Online => {
                if let Some(v1::supernode_message::Body::Resync(resync)) = &message.body {
                    let pause = Duration::from_millis(resync.spread_ms.into()).mul_f64(self.rng.random());
                    self.agenda.after(pause, Happening::Resync { device, link: id });
                    return Ok(());
                }
                if let Some(v1::supernode_message::Body::GoAway(away)) = &message.body {
                    let [least, spread] =
                        [away.reconnect_in_ms, away.spread_ms].map(|ms| Duration::from_millis(ms.into()));
                    let to = (0..self.fleet.len()).find(|to| away.supernode == supernode_id(*to).0[..]);
                    let pause = least + spread.mul_f64(self.rng.random());
                    self.agenda.after(pause, Happening::Move { device, link: id, to });
                    return Ok(());
                }
                if let Some(member) = &mut this.member {
                    member.handle_message(message, now.instant);
                }
            }
        }
        self.drain_member(device);
        self.take_finding()
    }

    /// The session goes on on another link; the one before is closed.
    fn has_moved(&mut self, device: usize, moved: DeviceLink) -> Result<(), Finding> {
        let now = self.agenda.now().instant;
        self.summary.moves += 1;
        let this = &mut self.devices[device];
        let before = this.link.replace(moved);
        if let Some(member) = &mut this.member {
            member.handle_session_moved(now);
        }
        if let Some(before) = before {
            self.give_up(before.id);
        }
        self.drain_member(device);
        self.take_finding()
    }

    pub(crate) fn send_up(&mut self, link: LinkId, bytes: Bytes) {
        let now = self.agenda.now().instant;
        if let Some(at) = self.network.stream_arrival(link, Way::Up, &self.plan, now, &mut self.rng) {
            self.agenda.at(at, Happening::ToShard(link, bytes));
        }
    }

    pub(crate) fn wake_device(&mut self, device: usize, life: u64) -> Result<(), Finding> {
        let now = self.agenda.now().instant;
        let this = &mut self.devices[device];
        if this.life != life || this.wake.is_none_or(|at| at > now) {
            return Ok(());
        }
        this.wake = None;
        self.wakes.count(format!("device {device}"), self.agenda.elapsed())?;
        if let Some(member) = &mut self.devices[device].member {
            member.handle_timeout(now);
        }
        self.drain_member(device);
        self.take_finding()
    }

    /// Carries out what a member wants, in its order: nothing leaves before what was to be committed is.
    pub(crate) fn drain_member(&mut self, device: usize) {
        // A process can die between any two outputs.
        while let Some(member) = &mut self.devices[device].member {
            match member.poll_output() {
                Output::Send(message) => {
                    if self.devices[device].is_online()
                        && let Some(link) = self.devices[device].link.as_ref().map(|link| link.id)
                    {
                        self.send_up(link, frame::encode(&message));
                    }
                }
                Output::Persist(batch) => {
                    for (key, value) in batch.pairs {
                        match value {
                            Some(value) => self.devices[device].disk.insert(key, value),
                            None => self.devices[device].disk.remove(&key),
                        };
                    }
                    for change in &batch.history {
                        self.letters.committed(change);
                        let kept = self.devices[device].history.apply(change);
                        self.note(kept);
                    }
                }
                Output::Event(event) => self.told(device, event),
                Output::Idle { wake } => {
                    let this = &mut self.devices[device];
                    if let Some(at) = wake.filter(|at| this.wake.is_none_or(|set| *at < set)) {
                        this.wake = Some(at);
                        self.agenda.at(at, Happening::WakeDevice { device, life: this.life });
                    }
                    return;
                }
            }
            if self.storm && self.rng.random_bool(1.0 / 5_000.0) {
                self.summary.device_crashes += 1;
                return self.device_dies(device);
            }
        }
    }

    /// A member tells its person something.
    fn told(&mut self, device: usize, event: Event) {
        let now = self.agenda.now().instant;
        self.chronicle(&format!("device {device} is told {event:?}"));
        let this = &mut self.devices[device];
        match event {
            Event::Ready => this.ready = true,
            Event::Incoming { call, .. } => {
                this.talk = Some(Talk { call, stage: Stage::Incoming });
                self.stories.rang(call, device);
            }
            Event::Connected { call, own: OwnLeg { flow, .. }, legs, .. } => {
                let peers = legs.iter().map(|leg| (leg.device, leg.flow)).collect();
                let stage = Stage::Connected { flow, peers, heard: None };
                this.talk = Some(Talk { call, stage });
                self.stories.connected(call, device);
                self.mark_back(device);
                self.agenda.after(VOICE_EVERY, Happening::Voice { device });
            }
            Event::OwnLegChanged { own, .. } => {
                if let Some(Talk { stage: Stage::Connected { flow, .. }, .. }) = &mut this.talk {
                    *flow = own.flow;
                }
                self.summary.legs_returned += 1;
                self.mark_back(device);
            }
            Event::PeerLegChanged { leg, .. } => {
                if let Some(Talk { stage: Stage::Connected { peers, .. }, .. }) = &mut this.talk {
                    peers.insert(leg.device, leg.flow);
                }
            }
            Event::PeerLost { .. } | Event::Ringing { .. } => {}
            Event::Ended { call, ending } => {
                this.talk = None;
                let away = |this: &Device| this.away_since.map(|since| now - since);
                let longest = self.devices.iter().filter_map(away).max().unwrap_or_default();
                self.stories.away(call, longest);
                let agreed = self.stories.ended(call, device, now, ending);
                self.note(agreed);
                if self.devices[device].is_online() {
                    self.devices[device].away_since = None;
                }
            }
            Event::Answer { .. }
            | Event::Contact(_)
            | Event::Presence { .. }
            | Event::Settings(_)
            | Event::Conversation(_)
            | Event::ConversationLeft { .. }
            | Event::History { .. }
            | Event::Receipt { .. }
            | Event::Typing { .. }
            | Event::NewOwnDevice { .. } => {}
            other => self.note(Err((Checker::Calls, format!("device {device} was told {other:?}")))),
        }
    }
}

/// The person in front of it.
impl World {
    pub(crate) fn act(&mut self, device: usize) {
        let pause = between(Duration::from_millis(300), Duration::from_secs(8), &mut self.rng);
        self.agenda.after(pause, Happening::Act { device });
        if !self.storm || !self.devices[device].runs() {
            return;
        }
        if self.devices[device].is_stranger {
            return self.attack(device);
        }
        self.write(device);
        let roll = self.rng.random_range(0..100);
        match self.devices[device].talk.as_ref().map(|talk| &talk.stage) {
            None if roll < 50 => {
                let people: Vec<_> = self.names(device);
                let name = people[self.rng.random_range(0..people.len())].clone();
                self.call(device, &name);
            }
            Some(Stage::Incoming) if roll < 55 => self.answer(device),
            Some(Stage::Incoming) if roll < 70 => self.decline(device),
            Some(Stage::Outgoing) if roll < 8 => self.hang_up(device),
            Some(Stage::Connected { .. }) if roll < 12 => self.hang_up(device),
            _ => {}
        }
    }

    /// Everybody else, by name.
    pub(crate) fn names(&self, device: usize) -> Vec<Name> {
        let own = &self.devices[device].identity.name;
        let people = self.devices.iter().filter(|other| !other.is_stranger);
        let mut names: Vec<_> = people.map(|other| &other.identity.name).filter(|name| *name != own).cloned().collect();
        names.dedup();
        names
    }

    pub(crate) fn call(&mut self, device: usize, name: &Name) {
        let now = self.agenda.now().instant;
        let this = &mut self.devices[device];
        let Some(Ok(call)) = this.member.as_mut().map(|member| member.call(name, now)) else { return };
        this.talk = Some(Talk { call, stage: Stage::Outgoing });
        self.summary.calls += 1;
        self.drain_member(device);
    }

    pub(crate) fn answer(&mut self, device: usize) {
        self.command(device, Act::Answered, |member, call, now| member.answer(call, now).is_ok());
    }

    fn decline(&mut self, device: usize) {
        self.command(device, Act::Declined, |member, call, now| member.decline(call, v1::Cause::Declined, now).is_ok());
    }

    pub(crate) fn hang_up(&mut self, device: usize) {
        self.command(device, Act::HungUp, |member, call, now| member.hang_up(call, now).is_ok());
    }

    fn command(&mut self, device: usize, act: Act, command: impl FnOnce(&mut Member, CallId, Instant) -> bool) {
        let now = self.agenda.now().instant;
        let this = &mut self.devices[device];
        let (Some(member), Some(talk)) = (&mut this.member, &mut this.talk) else { return };
        let call = talk.call;
        if command(member, call, now) {
            if act == Act::Answered {
                talk.stage = Stage::Answering;
            }
            self.stories.acted(call, device, act, now);
        }
        self.drain_member(device);
    }

    /// Sends a packet that names its call, and goes on while the call does.
    pub(crate) fn voice(&mut self, device: usize) {
        let Some(Talk { call, stage: Stage::Connected { flow, .. } }) = &self.devices[device].talk else { return };
        let mut datagram = Vec::new();
        flow.encode(&mut datagram);
        datagram.extend_from_slice(&call.0);
        self.agenda.after(VOICE_EVERY, Happening::Voice { device });
        if let Some(link) = self.devices[device].link.as_ref().map(|link| link.id) {
            self.send_voice(link, datagram);
        }
    }

    pub(crate) fn send_voice(&mut self, link: LinkId, datagram: Vec<u8>) {
        if !self.rng.random_bool(self.plan.loss) {
            let delay = one_way(&self.plan, &mut self.rng);
            self.agenda.after(delay, Happening::VoiceToShard(link, datagram));
        }
    }

    pub(crate) fn voice_to_device(&mut self, link: LinkId, datagram: &[u8]) -> Result<(), Finding> {
        let Some(entry) = self.network.link(link).filter(|link| link.carries) else { return Ok(()) };
        let now = self.agenda.now().instant;
        let this = &mut self.devices[entry.device];
        if this.link.as_ref().is_none_or(|current| current.id != link) {
            return Ok(());
        }
        if this.is_stranger {
            return Err((Checker::Authorised, "the stranger hears voice".to_owned()));
        }
        let Some((flow, prefix)) = FlowId::split(datagram) else { return Ok(()) };
        let Some(Talk { call, stage: Stage::Connected { peers, heard, .. } }) = &mut this.talk else { return Ok(()) };
        if !peers.values().any(|peer| *peer == flow) {
            return Ok(());
        }
        if datagram[prefix..] != call.0 {
            return Err((Checker::Authorised, format!("voice of another call arrives in {call}")));
        }
        *heard = Some(now);
        self.summary.voice_heard += 1;
        Ok(())
    }
}
