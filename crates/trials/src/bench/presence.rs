//! Presence: processor time by contact that is told of a change, beside a request that changes nothing.

use std::sync::Arc;
use std::time::Duration;

use ahoy_proto::{AccountId, v1};

use super::sessions::sign_in_all;
use super::{filled, micros};
use crate::harness::{Daemon, DaemonOptions, Trial, cpu_time};
use crate::wire::{Identity, NetworkKeys, Request, Response, Session};

/// What one round gives, in microseconds of processor time.
#[derive(Debug, Clone, Copy)]
pub struct Round {
    /// By `PresenceChanged` delivered, each in a packet of its own, with its share of the request that set it off.
    pub told: f64,
    /// By `SetActivity` that changes nothing, and its response.
    pub request: f64,
}

/// Contacts of each account: all of the others.
const CONTACTS: usize = 50;

/// Changes of each account: as many as a session may say at once.
const CHANGES: usize = 10;

/// Sessions that ask for nothing, so that there are enough requests to measure.
const STRANGERS: usize = 10 * CONTACTS;

/// Time for the last acknowledgements to pass.
const SETTLE: Duration = Duration::from_millis(300);

/// Measures both.
///
/// # Errors
/// When something is refused, or somebody is not told.
pub fn round(trial: &Trial) -> anyhow::Result<Round> {
    let data = trial.folder().join(format!("presence-{}", rand::random::<u32>()));
    let daemon = Daemon::start(trial, DaemonOptions { data: Some(data), ..DaemonOptions::default() })?;
    let keys = NetworkKeys::read(daemon.data())?;
    let made = |count| (0..count).map(|_| keys.identity()).collect::<Arc<[Identity]>>();
    let (friends, strangers) = (made(CONTACTS + 1), made(STRANGERS));
    filled::fill(daemon.data(), |filling| {
        friends.iter().try_for_each(|friend| filling.account(friend))?;
        filled::in_circle(friends.len(), CONTACTS, |one, other| {
            filling.contacts(friends[one].account, friends[other].account)
        })
    })?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let strangers = sign_in_all(daemon.address(), strangers).await?;
        let request = requests(&daemon, strangers).await?;
        let told = changes(&daemon, &friends).await?;
        Ok(Round { told, request })
    })
}

/// As many sessions at once as are told of a change ask for nothing, then the next ones.
async fn requests(daemon: &Daemon, mut sessions: Vec<Session>) -> anyhow::Result<f64> {
    tokio::time::sleep(SETTLE).await;
    let before = cpu_time(daemon.id())?;
    for _ in 0..CHANGES {
        let mut asked = Vec::with_capacity(sessions.len());
        while !sessions.is_empty() {
            let group = sessions.split_off(sessions.len().saturating_sub(CONTACTS));
            let asking = group.into_iter().map(|mut session| {
                tokio::spawn(async move {
                    session.granted(activity(true)).await?;
                    anyhow::Ok(session)
                })
            });
            for session in asking.collect::<Vec<_>>() {
                asked.push(session.await??);
            }
        }
        sessions = asked;
    }
    tokio::time::sleep(SETTLE).await;
    Ok(micros(cpu_time(daemon.id())? - before, CHANGES * sessions.len()))
}

/// One after the other comes back, or goes away again, and all the others are told.
async fn changes(daemon: &Daemon, friends: &Arc<[Identity]>) -> anyhow::Result<f64> {
    let mut sessions = sign_in_all(daemon.address(), friends.clone()).await?;
    for session in &mut sessions {
        session.granted(Request::ListContacts(v1::ListContacts::default())).await?;
    }
    tokio::time::sleep(SETTLE).await;
    let before = cpu_time(daemon.id())?;
    for change in 0..CHANGES {
        // A device that has said nothing counts as away.
        let away = change % 2 == 1;
        for (place, friend) in friends.iter().enumerate() {
            sessions[place].granted(activity(away)).await?;
            for (_, session) in sessions.iter_mut().enumerate().filter(|(other, _)| *other != place) {
                session.event(|event| is_told(event, friend.account, away).then_some(())).await?;
            }
        }
    }
    tokio::time::sleep(SETTLE).await;
    Ok(micros(cpu_time(daemon.id())? - before, CHANGES * friends.len() * CONTACTS))
}

fn activity(away: bool) -> Request {
    Request::SetActivity(v1::SetActivity { away })
}

/// Whether an event says that an account has gone away, or has come back.
fn is_told(event: &Response, account: AccountId, away: bool) -> bool {
    let Response::PresenceChanged(changed) = event else { return false };
    let wanted = if away { v1::Availability::Away } else { v1::Availability::Online };
    changed.account == account.to_bytes() && changed.presence.as_ref().is_some_and(|now| now.availability() == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_change_of_the_right_account_counts() {
        let of = |id, availability: v1::Availability| {
            let presence = v1::Presence { availability: availability.into(), ..v1::Presence::default() };
            let account = AccountId([id; 16]).to_bytes();
            Response::PresenceChanged(v1::PresenceChanged { account, presence: Some(presence) })
        };
        let one = AccountId([1; 16]);
        assert!(is_told(&of(1, v1::Availability::Away), one, true));
        assert!(is_told(&of(1, v1::Availability::Online), one, false));
        assert!(!is_told(&of(1, v1::Availability::Online), one, true));
        assert!(!is_told(&of(2, v1::Availability::Away), one, true));
        assert!(!is_told(&Response::Done(v1::Done {}), one, true));
    }
}
