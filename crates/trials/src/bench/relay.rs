//! Relayed voice: processor time by delivered packet, in a supernode and in a bare forwarder that carries the same load.
//!
//! The load is the same for both: as many legs, from as many sockets, each with a packet of 120 bytes every 20 ms. How the legs' moments
//! lie decides how much a batch can save, so two patterns are measured: as callers come who know nothing of each other, and in step.
//! Calls come up by call tokens, so no store has a part in it.

use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ahoy_proto::CallId;
use ahoy_proto::flow::FlowId;
use anyhow::{Context as _, ensure};

use super::forwarder::FLOW;
use crate::harness::{Child, Daemon, DaemonOptions, Trial, cpu_time};
use crate::wire::{self, Link, NetworkKeys, Session};

/// Microseconds of processor time by delivered packet.
#[derive(Debug, Clone, Copy)]
pub struct Costs {
    /// The bare forwarder.
    pub forwarder: f64,
    /// Both legs of each call on one shard.
    pub one_shard: f64,
    /// The legs of each call on different shards.
    pub two_shards: f64,
}

/// What one round gives.
#[derive(Debug, Clone, Copy)]
pub struct Round {
    /// Packets come one by one: few or none share a batch.
    pub apart: Costs,
    /// Packets come in bursts, one a millisecond: the most that batches can save.
    pub in_step: Costs,
}

/// How much load.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Calls at once; each is two legs.
    pub calls: usize,
    /// How long it is measured.
    pub time: Duration,
}

/// Length of a voice packet as a client hands it over, flow id included.
const PACKET: usize = 120;

/// Between two packets of a leg.
const FRAME: Duration = Duration::from_millis(20);

/// Groups of legs, each with its own moment of the 20 ms: one every 0.1 ms, as fine as a sleeping sender can be.
const APART: usize = 200;

/// The same, one every millisecond.
const IN_STEP: usize = 20;

/// Packets whose time is taken, one by one.
const ALONE: usize = 200;

/// Client sockets.
const SOCKETS: usize = 16;

/// Calls that are set up for each call measured, so that enough of them lie on one shard, and on two: half of all are either.
const SPARE: usize = 4;

/// Least share of packets that has to arrive for a round to count.
const DELIVERED_MIN: f64 = 0.99;

/// Time for the first packets to pass before counting begins.
const WARM_UP: Duration = Duration::from_secs(1);

/// Measures all of them, one after the other.
///
/// # Errors
/// When a process fails or packets are lost.
pub fn round(trial: &Trial, load: Load) -> anyhow::Result<Round> {
    let data = trial.folder().join(format!("relay-{}", rand::random::<u32>()));
    let settings = vec!["shards=2".to_owned()];
    let daemon = Daemon::start(trial, DaemonOptions { data: Some(data), settings, ..DaemonOptions::default() })?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let calls = runtime.block_on(Calls::set_up(&daemon, load.calls))?;
    let costs = |groups| -> anyhow::Result<Costs> {
        let forwarder = forwarder(trial, load, groups)?;
        let _inside = runtime.enter();
        let one_shard = calls.one_shard.measure(&[daemon.id()], load, groups)?;
        let two_shards = calls.two_shards.measure(&[daemon.id()], load, groups)?;
        Ok(Costs { forwarder, one_shard, two_shards })
    };
    Ok(Round { apart: costs(APART)?, in_step: costs(IN_STEP)? })
}

/// Calls whose legs are each on a supernode of its own, and such whose both legs are on the first of the two.
#[derive(Debug, Clone, Copy)]
pub struct Fleet {
    /// Microseconds of processor time by delivered packet, of all supernodes together, where both legs are on one.
    pub one: f64,
    /// The same where each is on another, and a trunk in between.
    pub two: f64,
    /// From handing a packet over to hearing it, the median, where both legs are on one.
    pub delay_one: Duration,
    /// The same across the trunk.
    pub delay_two: Duration,
}

/// Measures what a trunk between two supernodes of a fleet adds. `processes` are those of all supernodes, so that wherever the calls are
/// at home counts.
///
/// # Errors
/// When packets are lost.
pub fn across(keys: &NetworkKeys, supernodes: [SocketAddr; 2], processes: &[u32], load: Load) -> anyhow::Result<Fleet> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let legs = |second: SocketAddr| -> anyhow::Result<Legs> {
        runtime.block_on(async {
            let endpoints = (0..SOCKETS).map(|_| wire::endpoint(None)).collect::<anyhow::Result<Vec<_>>>()?;
            let mut legs = Legs::default();
            for number in 0..load.calls {
                let places = [number % SOCKETS, (number / SOCKETS + number) % SOCKETS].map(|place| &endpoints[place]);
                legs.0.extend(call([supernodes[0], second], keys, places).await?);
            }
            Ok(legs)
        })
    };
    let measured = |legs: Legs| -> anyhow::Result<(f64, Duration)> {
        let delay = runtime.block_on(legs.delay())?;
        let _inside = runtime.enter();
        Ok((legs.measure(processes, load, APART)?, delay))
    };
    let (one, delay_one) = measured(legs(supernodes[0])?)?;
    let (two, delay_two) = measured(legs(supernodes[1])?)?;
    Ok(Fleet { one, two, delay_one, delay_two })
}

/// One participant.
struct Leg {
    session: Session,
    flow: FlowId,
}

#[derive(Default)]
struct Legs(Vec<Leg>);

struct Calls {
    one_shard: Legs,
    two_shards: Legs,
}

impl Calls {
    async fn set_up(daemon: &Daemon, wanted: usize) -> anyhow::Result<Self> {
        let keys = NetworkKeys::read(daemon.data())?;
        let endpoints = (0..SOCKETS).map(|_| wire::endpoint(None)).collect::<anyhow::Result<Vec<_>>>()?;
        let mut calls = Self { one_shard: Legs::default(), two_shards: Legs::default() };
        for number in 0..wanted * SPARE {
            let places = [number % SOCKETS, (number / SOCKETS + number) % SOCKETS];
            let legs = call([daemon.address(); 2], &keys, places.map(|place| &endpoints[place])).await?;
            // The lowest bit of a flow id names one of two shards.
            let same = legs[0].flow.number() % 2 == legs[1].flow.number() % 2;
            let set = if same { &mut calls.one_shard } else { &mut calls.two_shards };
            if set.0.len() < 2 * wanted {
                set.0.extend(legs);
            }
            if calls.one_shard.0.len() == 2 * wanted && calls.two_shards.0.len() == 2 * wanted {
                return Ok(calls);
            }
        }
        anyhow::bail!("the kernel put all sockets on one shard: run it again")
    }
}

async fn call(
    supernodes: [SocketAddr; 2],
    keys: &NetworkKeys,
    endpoints: [&quinn::Endpoint; 2],
) -> anyhow::Result<[Leg; 2]> {
    let identities = [keys.identity(), keys.identity()];
    let id = CallId(rand::random());
    let mut legs = Vec::with_capacity(2);
    for (own, endpoint) in [0, 1].into_iter().zip(endpoints) {
        let link = Link::connect(endpoint, supernodes[own]).await?;
        let mut session = link.sign_in(&identities[own]).await?;
        let flow = wire::attach(&mut session, keys.call_token(id, &identities[own], &identities[1 - own])).await?;
        legs.push(Leg { session, flow });
    }
    legs.try_into().map_err(|_| anyhow::anyhow!("a call has two legs"))
}

impl Legs {
    /// The median time of packets that go alone from the first leg to the second.
    async fn delay(&self) -> anyhow::Result<Duration> {
        let [from, to, ..] = &self.0[..] else { anyhow::bail!("there is no call") };
        let mut packet = Vec::with_capacity(PACKET);
        from.flow.encode(&mut packet);
        packet.resize(PACKET, 7);
        let mut times = Vec::new();
        for _ in 0..ALONE {
            let sent = Instant::now();
            from.session.connection().send_datagram(packet.clone().into())?;
            to.session.connection().read_datagram().await?;
            times.push(sent.elapsed());
            tokio::time::sleep(FRAME).await;
        }
        times.sort_unstable();
        Ok(times[ALONE / 2])
    }

    /// Sends on all legs, counts what arrives, and divides the servers' time by it.
    fn measure(&self, processes: &[u32], load: Load, groups: usize) -> anyhow::Result<f64> {
        let (delivered, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let receivers: Vec<_> = self
            .0
            .iter()
            .map(|leg| {
                let (connection, delivered) = (leg.session.connection().clone(), delivered.clone());
                tokio::spawn(async move {
                    while connection.read_datagram().await.is_ok() {
                        delivered.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        let packets: Vec<_> = self
            .0
            .iter()
            .map(|leg| {
                let mut packet = Vec::with_capacity(PACKET);
                leg.flow.encode(&mut packet);
                packet.resize(PACKET, 7);
                (leg.session.connection().clone(), bytes::Bytes::from(packet))
            })
            .collect();
        let told = stop.clone();
        let sender = std::thread::spawn(move || {
            pace(&told, groups, |group| {
                for (connection, packet) in packets.iter().skip(group).step_by(groups) {
                    // A lost link shows as packets that were not delivered.
                    let _ = connection.send_datagram(packet.clone());
                }
            });
        });
        let cost = measure(processes, self.0.len(), load, &delivered);
        stop.store(true, Ordering::Relaxed);
        sender.join().map_err(|_| anyhow::anyhow!("the sender panicked"))?;
        receivers.iter().for_each(tokio::task::JoinHandle::abort);
        cost
    }
}

/// Calls `send` for each group in turn, all groups once every 20 ms, until told to stop.
fn pace(stop: &AtomicBool, groups: usize, mut send: impl FnMut(usize)) {
    let start = Instant::now();
    let mut tick: u32 = 0;
    while !stop.load(Ordering::Relaxed) {
        send(tick as usize % groups);
        tick += 1;
        let due = FRAME * tick / u32::try_from(groups).expect("there are few groups");
        std::thread::sleep(due.saturating_sub(start.elapsed()));
    }
}

/// Lets the load run and gives the processes' time by delivered packet, in microseconds.
fn measure(processes: &[u32], legs: usize, load: Load, delivered: &AtomicU64) -> anyhow::Result<f64> {
    let spent = || processes.iter().map(|process| cpu_time(*process)).sum::<anyhow::Result<Duration>>();
    std::thread::sleep(WARM_UP);
    let (cpu, count) = (spent()?, delivered.load(Ordering::Relaxed));
    std::thread::sleep(load.time);
    let spent = spent()? - cpu;
    let count = delivered.load(Ordering::Relaxed) - count;
    let expected = legs as f64 * load.time.as_secs_f64() / FRAME.as_secs_f64();
    ensure!(count as f64 >= expected * DELIVERED_MIN, "only {count} of {expected:.0} packets were delivered");
    Ok(spent.as_secs_f64() * 1e6 / count as f64)
}

/// The same load through the bare forwarder.
fn forwarder(trial: &Trial, load: Load, groups: usize) -> anyhow::Result<f64> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("forwarder");
    let child = Child::start(trial, "forwarder", &command)?;
    let address: SocketAddr = child.next_line()?.context("the forwarder prints its address")?.text.parse()?;
    let sockets = (0..SOCKETS).map(|_| UdpSocket::bind("127.0.0.1:0")).collect::<Result<Vec<_>, _>>()?;
    let (delivered, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    for socket in &sockets {
        let _ = socket2::SockRef::from(socket).set_recv_buffer_size(1 << 20);
        socket.connect(address)?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let (socket, delivered, stop) = (socket.try_clone()?, delivered.clone(), stop.clone());
        std::thread::spawn(move || {
            let mut buffer = [0; 1500];
            while !stop.load(Ordering::Relaxed) {
                if socket.recv(&mut buffer).is_ok() {
                    delivered.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    }
    let legs = 2 * load.calls;
    let flow = |leg: usize| u32::try_from(leg).expect("there are few legs").to_be_bytes();
    // A leg hears the flow of the other leg of its call.
    for leg in 0..legs {
        sockets[leg % SOCKETS].send(&flow(leg ^ 1))?;
    }
    let told = stop.clone();
    let sender = std::thread::spawn(move || {
        let packets: Vec<Vec<u8>> = (0..legs).map(|leg| [&flow(leg)[..], &[7; PACKET - FLOW]].concat()).collect();
        pace(&told, groups, |group| {
            for (leg, packet) in packets.iter().enumerate().skip(group).step_by(groups) {
                let _ = sockets[leg % SOCKETS].send(packet);
            }
        });
    });
    let cost = measure(&[child.id()], legs, load, &delivered);
    stop.store(true, Ordering::Relaxed);
    sender.join().map_err(|_| anyhow::anyhow!("the sender panicked"))?;
    cost
}
