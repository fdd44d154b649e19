//! Many idle sessions: what each holds in the server's memory, and what opening it cost the server.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ahoy_proto::v1;
use anyhow::{Context as _, ensure};

use super::filled;
use crate::harness::{Daemon, DaemonOptions, Trial, cpu_time, metric, resident_bytes};
use crate::wire::{self, Identity, Link, NetworkKeys, Request, Response, Session};

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

/// Contacts of each account that has some, all of whom are there.
const CONTACTS: usize = 50;

/// Starts a server, opens sessions of accounts that nobody knows, weighs it.
///
/// # Errors
/// When a session can't be opened, or one is lost.
pub fn round(trial: &Trial, sessions: usize) -> anyhow::Result<Round> {
    let daemon = start(trial)?;
    let keys = NetworkKeys::read(daemon.data())?;
    let identities: Arc<[Identity]> = (0..sessions).map(|_| keys.identity()).collect();
    weigh(&daemon, &keys, identities, First::Nothing)
}

/// Growth of the server's memory by session, in bytes, where each account has listed 50 contacts and is told how they are.
///
/// # Errors
/// When a session can't be opened, or one is lost.
pub fn bytes_with_contacts(trial: &Trial, sessions: usize) -> anyhow::Result<f64> {
    let daemon = start(trial)?;
    let keys = NetworkKeys::read(daemon.data())?;
    let identities: Arc<[Identity]> = (0..sessions).map(|_| keys.identity()).collect();
    filled::fill(daemon.data(), |filling| {
        identities.iter().try_for_each(|identity| filling.account(identity))?;
        filled::in_circle(sessions, CONTACTS, |one, other| {
            filling.contacts(identities[one].account, identities[other].account)
        })
    })?;
    Ok(weigh(&daemon, &keys, identities, First::ListContacts)?.bytes_per_session)
}

fn start(trial: &Trial) -> anyhow::Result<Daemon> {
    let data = trial.folder().join(format!("sessions-{}", rand::random::<u32>()));
    Daemon::start(trial, DaemonOptions { data: Some(data), ..DaemonOptions::default() })
}

/// What a session does before it idles.
#[derive(Debug, Clone, Copy)]
enum First {
    Nothing,
    ListContacts,
}

fn weigh(daemon: &Daemon, keys: &NetworkKeys, identities: Arc<[Identity]>, first: First) -> anyhow::Result<Round> {
    let sessions = identities.len();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        // What is allocated once, however many come.
        let strangers = (0..SOCKETS).map(|_| keys.identity()).collect();
        let _warm = sign_in_all(daemon.address(), strangers).await?;
        tokio::time::sleep(SETTLE).await;
        // The echo account has a session too.
        let before = metric(&daemon.metrics()?, "ahoy_sessions", "") as usize;
        let (memory, cpu) = (resident_bytes(daemon.id())?, cpu_time(daemon.id())?);
        let mut held = sign_in_all(daemon.address(), identities).await?;
        let spent = cpu_time(daemon.id())? - cpu;
        if let First::ListContacts = first {
            list_contacts(&mut held).await?;
        }
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

async fn list_contacts(sessions: &mut [Session]) -> anyhow::Result<()> {
    for session in sessions {
        let Response::Contacts(page) = session.granted(Request::ListContacts(v1::ListContacts::default())).await?
        else {
            anyhow::bail!("ListContacts was answered with something else");
        };
        ensure!(page.contacts.len() == CONTACTS, "{} contacts are listed", page.contacts.len());
    }
    Ok(())
}

/// Signs all in, some at a time, from several sockets. The sessions come in the order of the identities.
pub(super) async fn sign_in_all(
    supernode: std::net::SocketAddr,
    identities: Arc<[Identity]>,
) -> anyhow::Result<Vec<Session>> {
    let endpoints = (0..SOCKETS).map(|_| wire::endpoint(None)).collect::<anyhow::Result<Vec<_>>>()?;
    let next = Arc::new(AtomicUsize::new(0));
    let workers: Vec<_> = (0..AT_ONCE)
        .map(|worker| {
            let (identities, next, endpoint) = (identities.clone(), next.clone(), endpoints[worker % SOCKETS].clone());
            tokio::spawn(async move {
                let mut sessions = Vec::new();
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some(identity) = identities.get(place) else { return anyhow::Ok(sessions) };
                    let link = Link::connect(&endpoint, supernode).await?;
                    sessions.push((place, link.sign_in(identity).await?));
                }
            })
        })
        .collect();
    let mut sessions = Vec::with_capacity(identities.len());
    for worker in workers {
        sessions.extend(worker.await?.context("a sign-in of the load")?);
    }
    sessions.sort_unstable_by_key(|(place, _)| *place);
    Ok(sessions.into_iter().map(|(_, session)| session).collect())
}
