//! One world from its beginning to its end.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use ahoy_core::DropCause;
use ahoy_core::testing::MemoryStore;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha20Rng;

use crate::agenda::{Agenda, Happening};
use crate::calls::Stories;
use crate::checkers::{Broken, Checker, Finding, Flows, Promises, Sessions, Wakes};
use crate::device::{Device, Stage, Talk};
use crate::network::{Network, between};
use crate::plan::Plan;
use crate::supernode::Fleet;
use crate::writing::Letters;

/// After the storm: what was ringing has stopped (45 s) and what waited for a session has given up (60 s).
const CALM: Duration = Duration::from_secs(120);

/// In calm weather a call between any two people connects within this time, the first key exchange included.
const CONNECTS_WITHIN: Duration = Duration::from_secs(20);

/// Lines of the chronicle, and how many characters of each.
const CHRONICLE: usize = 3_000;
const CHRONICLE_WIDTH: usize = 240;

/// A world that is being played.
#[derive(Debug)]
pub struct World {
    pub(crate) plan: Plan,
    pub(crate) rng: ChaCha20Rng,
    pub(crate) agenda: Agenda,
    pub(crate) network: Network,
    pub(crate) fleet: Fleet,
    pub(crate) devices: Vec<Device>,
    /// Whether accidents happen and people act.
    pub(crate) storm: bool,
    pub(crate) sessions: Sessions,
    pub(crate) flows: Flows,
    pub(crate) promises: Promises,
    pub(crate) stories: Stories,
    pub(crate) wakes: Wakes,
    pub(crate) letters: Letters,
    /// Commands given so far.
    pub(crate) tickets: u64,
    pub(crate) summary: Summary,
    finding: Option<Finding>,
    /// The last things that happened, for whoever looks into a broken rule.
    chronicle: VecDeque<String>,
}

/// What a world has seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Sessions opened.
    pub sign_ins: u64,
    /// Links that a shard closed.
    pub closes: u64,
    /// Calls that people started.
    pub calls: u64,
    /// Calls that connected.
    pub connected: usize,
    /// Texts that stand in logs.
    pub letters: usize,
    /// Numbers of the causes that calls ended with.
    pub causes: BTreeSet<i32>,
    /// Sessions that went on on another link, asked to by their supernode.
    pub moves: u64,
    /// Legs that returned after their link was lost.
    pub legs_returned: u64,
    /// Voice packets that arrived.
    pub voice_heard: u64,
    /// Voice packets dropped, by cause.
    pub dropped: [u64; DropCause::ALL.len()],
    /// Links that died.
    pub dead_links: u64,
    /// Device processes that died.
    pub device_crashes: u64,
    /// Deaths of supernodes, drains included.
    pub supernode_deaths: u64,
    /// Times that a supernode of a fleet saw others than before.
    pub views: u64,
}

impl World {
    /// Plays a whole world.
    ///
    /// # Errors
    /// The first broken rule.
    pub fn run(plan: Plan) -> Result<Summary, Broken> {
        let mut world = Self::new(plan);
        world.play().map_err(|(checker, what)| Broken {
            seed: world.plan.seed,
            checker,
            at: world.agenda.elapsed(),
            what,
            chronicle: world.chronicle.iter().cloned().collect(),
        })?;
        world.summary.connected = world.stories.connected_ever();
        world.summary.letters = world.letters.placed();
        world.summary.causes = world.stories.causes();
        Ok(world.summary)
    }

    fn new(plan: Plan) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(plan.seed);
        let mut store = MemoryStore::default();
        let mut devices = Vec::new();
        // The last account is the stranger's.
        for person in 0..=plan.people as u8 {
            for device in 0..if person == 0 { 2 } else { 1 } {
                let mut made = Device::new(person, device, &mut rng);
                made.is_stranger = usize::from(person) == plan.people;
                let identity = &made.identity;
                if device == 0 {
                    store.add_account(identity.account, identity.name.clone(), identity.account_key);
                }
                store.add_device(identity.account, identity.device);
                devices.push(made);
            }
        }
        let known: Vec<_> = devices.iter().filter(|device| !device.is_stranger).map(|of| of.identity.account).collect();
        for (at, one) in known.iter().enumerate() {
            for other in known[..at].iter().filter(|other| *other != one) {
                store.add_contact(*one, *other);
            }
        }
        Self {
            rng,
            agenda: Agenda::new(),
            network: Network::default(),
            fleet: Fleet::new(store, &plan),
            devices,
            storm: true,
            sessions: Sessions::default(),
            flows: Flows::default(),
            promises: Promises::default(),
            stories: Stories::default(),
            wakes: Wakes::default(),
            letters: Letters::default(),
            tickets: 0,
            summary: Summary::default(),
            finding: None,
            chronicle: VecDeque::new(),
            plan,
        }
    }

    fn play(&mut self) -> Result<(), Finding> {
        (0..self.fleet.len()).for_each(|supernode| self.supernode_starts(supernode));
        for device in 0..self.devices.len() {
            let pause = between(Duration::ZERO, Duration::from_secs(1), &mut self.rng);
            self.agenda.after(pause, Happening::DeviceStarts { device });
            self.agenda.after(pause * 2, Happening::Act { device });
        }
        self.agenda.after(self.plan.accidents, Happening::Accident);
        self.pass(self.plan.storm)?;
        self.storm = false;
        self.plan.loss = 0.0;
        self.pass(CALM)?;
        self.check_calm()?;
        for device in 0..self.devices.len() {
            self.hang_up(device);
        }
        self.pass(Duration::from_secs(5))?;
        self.check_quiet()?;
        self.make_peace()?;
        self.check_presence()?;
        self.call_everybody()?;
        self.check_quiet()?;
        self.check_letters()?;
        self.check_presence()?;
        self.promises.check(&self.fleet.store)
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, time: Duration) -> Result<(), Finding> {
        let end = self.agenda.now().instant + time;
        while let Some(happening) = self.agenda.next_before(end) {
            self.happen(happening)?;
            self.take_finding()?;
        }
        Ok(())
    }

    fn happen(&mut self, happening: Happening) -> Result<(), Finding> {
        match happening {
            Happening::VoiceToShard(link, datagram) => return self.voice_to_shard(link, &datagram),
            Happening::VoiceToDevice(link, datagram) => return self.voice_to_device(link, &datagram),
            Happening::Voice { device } => {
                self.voice(device);
                return Ok(());
            }
            Happening::Dial { device, life } => self.dial(device, life),
            Happening::LinkUp(link) => self.link_up(link),
            Happening::ToShard(link, bytes) => self.bytes_to_shard(link, &bytes),
            Happening::ToDevice(link, bytes) => self.bytes_to_device(link, &bytes)?,
            Happening::Closed(link) | Happening::DeviceLosesLink(link) => self.device_loses(link),
            Happening::ShardLosesLink(link) => self.shard_loses(link),
            Happening::Trunk { life, from, to } => self.trunk(life, from, to),
            Happening::Store { .. } => self.store(happening),
            Happening::StoreAnswers { .. } => self.store_answers(happening),
            Happening::WakeShard { life, shard } => self.wake_shard(life, shard)?,
            Happening::WakeDevice { device, life } => self.wake_device(device, life)?,
            Happening::Act { device } => self.act(device),
            Happening::Accident => self.accident(),
            Happening::StoreRecovers => self.fleet.store_fails = false,
            Happening::SupernodeStarts(supernode) => self.supernode_starts(supernode),
            Happening::SupernodeDies(supernode) => self.supernode_dies(supernode),
            Happening::SeesFleet { supernode, life } => self.sees_fleet(supernode, life),
            Happening::TrunkReturns(one, other) => self.trunk_returns(one, other),
            Happening::Resync { device, link } => self.resync(device, link),
            Happening::Move { device, link, to } => self.device_moves(device, link, to),
            Happening::DeviceStarts { device } => self.device_starts(device),
        }
        if !self.fleet.is_settled() || self.fleet.up().len() < self.fleet.len() {
            return Ok(());
        }
        self.sessions.check()?;
        self.check_bounds()
    }

    fn accident(&mut self) {
        if !self.storm {
            return;
        }
        let pause = between(Duration::ZERO, self.plan.accidents * 2, &mut self.rng);
        self.agenda.after(pause, Happening::Accident);
        match self.rng.random_range(0..100) {
            0..70 => {
                let links = self.network.carrying();
                if !links.is_empty() {
                    self.summary.dead_links += 1;
                    let link = links[self.rng.random_range(0..links.len())];
                    self.break_link(link);
                }
            }
            70..80 => {
                let device = self.rng.random_range(0..self.devices.len());
                if self.devices[device].runs() {
                    self.summary.device_crashes += 1;
                    self.device_dies(device);
                }
            }
            80..90 => {
                self.fleet.store_fails = true;
                let pause = between(Duration::ZERO, Duration::from_secs(4), &mut self.rng);
                self.agenda.after(pause, Happening::StoreRecovers);
            }
            90..93 => {
                let supernode = self.any_supernode();
                self.supernode_drains(supernode);
            }
            93..96 => self.trunk_breaks(),
            _ => {
                let supernode = self.any_supernode();
                self.supernode_dies(supernode);
            }
        }
    }

    fn any_supernode(&mut self) -> usize {
        self.rng.random_range(0..self.fleet.len())
    }

    pub(crate) fn chronicle(&mut self, what: &str) {
        if self.chronicle.len() >= CHRONICLE {
            self.chronicle.pop_front();
        }
        let at = self.agenda.elapsed().as_secs_f64();
        self.chronicle.push_back(format!("{at:9.3} {}", what.chars().take(CHRONICLE_WIDTH).collect::<String>()));
    }

    /// Keeps what a checker saw where nothing can be returned.
    pub(crate) fn note(&mut self, seen: Result<(), Finding>) {
        if let Err(finding) = seen {
            self.finding.get_or_insert(finding);
        }
    }

    pub(crate) fn take_finding(&mut self) -> Result<(), Finding> {
        self.finding.take().map_or(Ok(()), Err)
    }
}

/// What must have come right.
impl World {
    /// Everybody is online, and every call has ended or talks, both ways.
    fn check_calm(&self) -> Result<(), Finding> {
        let now = self.agenda.now().instant;
        let lately = Duration::from_secs(2);
        for (index, device) in self.devices.iter().enumerate().filter(|(_, device)| !device.is_stranger) {
            if !device.ready {
                return Err((Checker::Calls, format!("device {index} is not ready in calm weather")));
            }
            let Some(Talk { call, stage }) = &device.talk else { continue };
            match stage {
                Stage::Connected { heard: Some(heard), .. } if now - *heard < lately => {}
                Stage::Connected { .. } => {
                    return Err((Checker::Calls, format!("device {index} hears nothing in {call}")));
                }
                stage => return Err((Checker::Calls, format!("{call} neither ends nor talks: {stage:?}"))),
            }
        }
        Ok(())
    }

    /// No call leaves anything behind.
    fn check_quiet(&self) -> Result<(), Finding> {
        if let Some(talk) = self.devices.iter().find_map(|device| device.talk.as_ref()) {
            return Err((Checker::Calls, format!("{talk:?} goes on after it was hung up")));
        }
        let gauges: Vec<_> = self.fleet.exchanges().map(|(_, exchange)| exchange.gauges()).collect();
        let left: usize = gauges.iter().map(|g| g.calls + g.calls_answered + g.flows + g.queries + g.half_open).sum();
        let accounts: usize = gauges.iter().map(|g| g.accounts).sum();
        let online = self.devices.iter().filter(|device| device.is_online());
        let online: BTreeSet<_> = online.map(|device| device.identity.account).collect();
        // An account is remembered for a while after it has looked up names.
        let all: BTreeSet<_> = self.devices.iter().map(|device| device.identity.account).collect();
        if left > 0 || !(online.len()..=all.len()).contains(&accounts) {
            return Err((Checker::Bounds, format!("{left} things and {accounts} accounts are left: {gauges:?}")));
        }
        Ok(())
    }

    /// Whatever the storm did to them, all can still call each other.
    fn call_everybody(&mut self) -> Result<(), Finding> {
        for caller in 0..self.devices.len() {
            if self.devices[caller].is_stranger {
                continue;
            }
            for name in self.names(caller) {
                self.call(caller, &name);
                let Some(call) = self.devices[caller].talk.as_ref().map(|talk| talk.call) else {
                    return Err((Checker::Calls, format!("device {caller} can't call {name}")));
                };
                let connected = self.answered_and_heard(caller)?;
                if !connected {
                    let talks: Vec<_> = self.devices.iter().map(|device| &device.talk).collect();
                    return Err((Checker::Calls, format!("{call} from device {caller} does not connect: {talks:?}")));
                }
                self.hang_up(caller);
                self.pass(Duration::from_secs(2))?;
            }
        }
        Ok(())
    }

    /// The first device that rings answers; then both must hear each other.
    fn answered_and_heard(&mut self, caller: usize) -> Result<bool, Finding> {
        let step = Duration::from_millis(500);
        let mut passed = Duration::ZERO;
        while passed < CONNECTS_WITHIN {
            self.pass(step)?;
            passed += step;
            let rings = |device: &Device| matches!(&device.talk, Some(Talk { stage: Stage::Incoming, .. }));
            if let Some(callee) = self.devices.iter().position(rings) {
                self.answer(callee);
            }
            let hears = |device: &&Device| {
                matches!(&device.talk, Some(Talk { stage: Stage::Connected { heard: Some(_), .. }, .. }))
            };
            if hears(&&self.devices[caller]) && self.devices.iter().filter(hears).count() == 2 {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
