//! Many idle sessions: what each holds in the server's memory, and what opening it cost the server.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::harness::{Daemon, DaemonOptions, Trial, cpu_time, metric, resident_bytes};
use crate::wire::{self, Link, NetworkKeys, Session};

/// What one round gives.
#[derive(Debug, Clone, Copy)]
pub struct Round {
    /// Growth of the server's resident memory by session, in bytes.
    pub bytes_per_session: f64,
    /// Sign-ins (handshake, challenge, proof, welcome) by second of the server's processor time.
    pub sign_ins_per_core_second: f64,
}

/// Client sockets. The kernel spreads them over the server's shards.
const SOCKETS: usize = 16;

/// Sign-ins under way at once.
const AT_ONCE: usize = 64;

/// Time for acknowledgements and timers of the last sign-ins to pass.
const SETTLE: Duration = Duration::from_secs(3);

/// Starts a server, opens sessions, weighs it.
///
/// # Errors
/// When a session can't be opened, or one is lost.
pub fn round(trial: &Trial, sessions: usize) -> anyhow::Result<Round> {
    let data = trial.folder().join(format!("sessions-{}", rand::random::<u32>()));
    let daemon = Daemon::start(trial, DaemonOptions { data: Some(data), ..DaemonOptions::default() })?;
    let keys = Arc::new(NetworkKeys::read(daemon.data())?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        // What is allocated once, however many come.
        let _warm = open(&daemon, &keys, SOCKETS).await?;
        tokio::time::sleep(SETTLE).await;
        // The echo account has a session too.
        let before = metric(&daemon.metrics()?, "ahoy_sessions", "") as usize;
        let (memory, cpu) = (resident_bytes(daemon.id())?, cpu_time(daemon.id())?);
        let held = open(&daemon, &keys, sessions).await?;
        let spent = cpu_time(daemon.id())? - cpu;
        tokio::time::sleep(SETTLE).await;
        let grown = resident_bytes(daemon.id())? - memory;
        let counted = metric(&daemon.metrics()?, "ahoy_sessions", "") as usize;
        ensure!(counted == before + held.len(), "the server counts {counted} sessions, {before} of them from before");
        Ok(Round {
            bytes_per_session: grown as f64 / sessions as f64,
            sign_ins_per_core_second: sessions as f64 / spent.as_secs_f64(),
        })
    })
}

async fn open(daemon: &Daemon, keys: &Arc<NetworkKeys>, count: usize) -> anyhow::Result<Vec<Session>> {
    let endpoints = (0..SOCKETS).map(|_| wire::endpoint(None)).collect::<anyhow::Result<Vec<_>>>()?;
    let next = Arc::new(AtomicUsize::new(0));
    let supernode = daemon.address();
    let workers: Vec<_> = (0..AT_ONCE)
        .map(|worker| {
            let (keys, next, endpoint) = (keys.clone(), next.clone(), endpoints[worker % SOCKETS].clone());
            tokio::spawn(async move {
                let mut sessions = Vec::new();
                while next.fetch_add(1, Ordering::Relaxed) < count {
                    let link = Link::connect(&endpoint, supernode).await?;
                    sessions.push(link.sign_in(&keys.identity()).await?);
                }
                anyhow::Ok(sessions)
            })
        })
        .collect();
    let mut sessions = Vec::with_capacity(count);
    for worker in workers {
        sessions.extend(worker.await?.context("a sign-in of the load")?);
    }
    Ok(sessions)
}
